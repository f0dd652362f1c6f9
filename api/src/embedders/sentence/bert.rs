//! BERT's arithmetic on one text: embeddings, layers of attention and feed-forward, then one vector.

use ndarray::{Array1, Array2, ArrayView1, Axis, s};
use serde::Deserialize;

use super::weights::Weights;

/// `config.json` of the model.
#[derive(Deserialize)]
pub(super) struct Shape {
    /// Must be `bert`.
    pub model_type: String,
    /// Width of a token.
    pub hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    /// Longest text, in tokens.
    pub max_position_embeddings: usize,
    hidden_act: Activation,
    #[serde(default = "usual_epsilon")]
    layer_norm_eps: f32,
}

fn usual_epsilon() -> f32 {
    1e-12
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Activation {
    Gelu,
    Relu,
}

struct Linear {
    /// Output × input, as saved.
    weight: Array2<f32>,
    bias: Array1<f32>,
}

impl Linear {
    fn read(weights: &Weights<'_>, name: &str, output: usize, input: usize) -> Result<Self, String> {
        Ok(Self {
            weight: weights.matrix(&format!("{name}.weight"), output, input)?,
            bias: weights.vector(&format!("{name}.bias"), output)?,
        })
    }

    fn apply(&self, x: &Array2<f32>) -> Array2<f32> {
        x.dot(&self.weight.t()) + &self.bias
    }
}

struct Norm {
    weight: Array1<f32>,
    bias: Array1<f32>,
    epsilon: f32,
}

impl Norm {
    fn read(weights: &Weights<'_>, name: &str, shape: &Shape) -> Result<Self, String> {
        Ok(Self {
            weight: weights.vector(&format!("{name}.weight"), shape.hidden_size)?,
            bias: weights.vector(&format!("{name}.bias"), shape.hidden_size)?,
            epsilon: shape.layer_norm_eps,
        })
    }

    fn apply(&self, mut x: Array2<f32>) -> Array2<f32> {
        #[expect(clippy::cast_precision_loss, reason = "a few hundred dimensions")]
        let width = x.ncols() as f32;
        for mut row in x.rows_mut() {
            let mean = row.sum() / width;
            row -= mean;
            let deviation = (row.iter().map(|v| v * v).sum::<f32>() / width + self.epsilon).sqrt();
            row.zip_mut_with(&self.weight, |v, weight| *v = *v / deviation * weight);
            row += &self.bias;
        }
        x
    }
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attended: Linear,
    attended_norm: Norm,
    up: Linear,
    down: Linear,
    norm: Norm,
}

/// A model, ready to compute.
pub(super) struct Bert {
    words: Array2<f32>,
    positions: Array2<f32>,
    /// The segment embedding: all texts are of the first segment.
    segment: Array1<f32>,
    norm: Norm,
    layers: Vec<Layer>,
    heads: usize,
    activation: Activation,
}

impl Bert {
    /// Reads the weights; the error names the one that is missing or has another shape.
    pub fn read(weights: &Weights<'_>, shape: &Shape) -> Result<Self, String> {
        let width = shape.hidden_size;
        if shape.num_attention_heads == 0 || !width.is_multiple_of(shape.num_attention_heads) || width == 0 {
            return Err("its `config.json` does not fit together".into());
        }
        let inner = weights.rows("encoder.layer.0.intermediate.dense.weight")?;
        let layer = |at: usize| -> Result<Layer, String> {
            let name = |part: &str| format!("encoder.layer.{at}.{part}");
            Ok(Layer {
                query: Linear::read(weights, &name("attention.self.query"), width, width)?,
                key: Linear::read(weights, &name("attention.self.key"), width, width)?,
                value: Linear::read(weights, &name("attention.self.value"), width, width)?,
                attended: Linear::read(weights, &name("attention.output.dense"), width, width)?,
                attended_norm: Norm::read(weights, &name("attention.output.LayerNorm"), shape)?,
                up: Linear::read(weights, &name("intermediate.dense"), inner, width)?,
                down: Linear::read(weights, &name("output.dense"), width, inner)?,
                norm: Norm::read(weights, &name("output.LayerNorm"), shape)?,
            })
        };
        let rows = weights.rows("embeddings.word_embeddings.weight")?;
        let segments = weights.rows("embeddings.token_type_embeddings.weight")?;
        let segments = weights.matrix("embeddings.token_type_embeddings.weight", segments, width)?;
        if segments.nrows() == 0 {
            return Err("`embeddings.token_type_embeddings.weight` is empty".into());
        }
        Ok(Self {
            words: weights.matrix("embeddings.word_embeddings.weight", rows, width)?,
            positions: weights.matrix("embeddings.position_embeddings.weight", shape.max_position_embeddings, width)?,
            segment: segments.row(0).to_owned(),
            norm: Norm::read(weights, "embeddings.LayerNorm", shape)?,
            layers: (0..shape.num_hidden_layers).map(layer).collect::<Result<_, _>>()?,
            heads: shape.num_attention_heads,
            activation: shape.hidden_act,
        })
    }

    /// How many tokens it knows.
    pub fn vocabulary(&self) -> usize {
        self.words.nrows()
    }

    /// The vector of a text: the mean over its tokens, or its first token. One text at a time, so that nothing is padded
    /// and no mask is needed. Tokens are below [`Bert::vocabulary`], their number within the positions.
    pub fn vector(&self, tokens: &[u32], first_token: bool) -> Vec<f32> {
        let mut x = Array2::zeros((tokens.len(), self.words.ncols()));
        for ((mut row, token), position) in x.rows_mut().into_iter().zip(tokens).zip(self.positions.rows()) {
            row.assign(&self.words.row(*token as usize));
            row += &position;
            row += &self.segment;
        }
        let mut x = self.norm.apply(x);
        for layer in &self.layers {
            let attended = layer.attended.apply(&self.attention(layer, &x));
            let between = layer.attended_norm.apply(x + attended);
            let mut up = layer.up.apply(&between);
            up.mapv_inplace(|v| match self.activation {
                Activation::Gelu => 0.5 * v * (1.0 + erf(v * std::f32::consts::FRAC_1_SQRT_2)),
                Activation::Relu => v.max(0.0),
            });
            let down = layer.down.apply(&up);
            x = layer.norm.apply(between + down);
        }
        let pooled = if first_token {
            x.row(0).to_owned()
        } else {
            x.mean_axis(Axis(0)).unwrap_or_default()
        };
        pooled.to_vec()
    }

    fn attention(&self, layer: &Layer, x: &Array2<f32>) -> Array2<f32> {
        let (query, key, value) = (layer.query.apply(x), layer.key.apply(x), layer.value.apply(x));
        let part = x.ncols() / self.heads;
        #[expect(clippy::cast_precision_loss, reason = "a few dozen dimensions")]
        let scale = (part as f32).sqrt();
        let mut out = Array2::zeros(x.raw_dim());
        for head in 0..self.heads {
            let columns = s![.., head * part..(head + 1) * part];
            let mut shares = query.slice(columns).dot(&key.slice(columns).t()) / scale;
            for mut row in shares.rows_mut() {
                let most = largest(row.view());
                row.mapv_inplace(|v| (v - most).exp());
                let sum = row.sum();
                row /= sum;
            }
            out.slice_mut(columns).assign(&shares.dot(&value.slice(columns)));
        }
        out
    }
}

fn largest(row: ArrayView1<'_, f32>) -> f32 {
    row.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// The error function, to within 1.5e-7 (Abramowitz and Stegun 7.1.26).
fn erf(x: f32) -> f32 {
    let z = f64::from(x.abs());
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let poly = ((((1.061_405_429 * t - 1.453_152_027) * t + 1.421_413_741) * t - 0.284_496_736) * t + 0.254_829_592) * t;
    #[expect(clippy::cast_possible_truncation, reason = "single precision is all that is needed")]
    let y = (1.0 - poly * (-z * z).exp()) as f32;
    y.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::erf;

    #[test]
    fn the_error_function() {
        for (x, y) in [
            (0.0, 0.0),
            (0.5, 0.520_499_9),
            (1.0, 0.842_700_8),
            (-1.0, -0.842_700_8),
            (2.0, 0.995_322_3),
            (6.0, 1.0),
        ] {
            assert!((erf(x) - y).abs() < 1e-6, "{x}");
        }
    }
}
