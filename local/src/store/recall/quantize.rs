//! One byte a dimension, and how far that is off.

/// A vector as bytes: component `i` is about `scale × code[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Code {
    /// What a step is worth.
    pub scale: f32,
    /// Length of the difference to the true vector, rounded up.
    pub error: f32,
    /// The steps.
    pub code: Vec<i8>,
}

impl Code {
    /// Encodes a vector.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "within -127..=127, and an error rounded up on purpose"
    )]
    pub fn of(vector: &[f32]) -> Self {
        let largest = vector.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        let code: Vec<i8> = vector
            .iter()
            .map(|x| (x / scale).round().clamp(-127.0, 127.0) as i8)
            .collect();
        // The step that fits best: what is left then is at right angles to the code.
        let (mut along, mut steps) = (0.0f64, 0.0f64);
        for (x, c) in vector.iter().zip(&code) {
            along += f64::from(*x) * f64::from(*c);
            steps += f64::from(*c) * f64::from(*c);
        }
        let scale = if steps > 0.0 { (along / steps) as f32 } else { scale };
        let squares: f64 = vector
            .iter()
            .zip(&code)
            .map(|(x, c)| {
                let off = f64::from(*x) - f64::from(scale) * f64::from(*c);
                off * off
            })
            .sum();
        Self {
            scale,
            error: (squares.sqrt() * (1.0 + 1e-6)) as f32 + f32::EPSILON,
            code,
        }
    }
}

/// A question's vector in finer steps, so that products with codes stay in 32-bit integers.
#[derive(Clone, Debug)]
pub struct QuestionCode {
    scale: f32,
    /// Length of what was rounded off.
    error: f32,
    /// Length of what is left.
    length: f32,
    /// The steps, padded with zeros to a whole number of [`super::simd::LANES`].
    pub code: Vec<i16>,
}

impl QuestionCode {
    /// Steps on either side of zero. With codes of at most 127 and up to 8,192 dimensions, sums stay below 2^31.
    const STEPS: f32 = 2047.0;

    /// Encodes a question's vector.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "within the steps, and lengths rounded up on purpose"
    )]
    pub fn of(vector: &[f32]) -> Self {
        let largest = vector.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        let scale = if largest > 0.0 { largest / Self::STEPS } else { 1.0 };
        let mut code: Vec<i16> = vector
            .iter()
            .map(|x| (x / scale).round().clamp(-Self::STEPS, Self::STEPS) as i16)
            .collect();
        let (mut off, mut kept) = (0.0f64, 0.0f64);
        for (x, c) in vector.iter().zip(&code) {
            let near = f64::from(scale) * f64::from(*c);
            off += (f64::from(*x) - near).powi(2);
            kept += near * near;
        }
        code.resize(super::simd::padded(vector.len()), 0);
        Self {
            scale,
            error: (off.sqrt() * (1.0 + 1e-6)) as f32,
            length: (kept.sqrt() * (1.0 + 1e-6)) as f32,
            code,
        }
    }

    /// What the cosine is about, from the integer product with a code, and how far it can be off.
    ///
    /// With question q = d + f and vector v = c + e (d, c as encoded): q·v = d·c + d·e + f·v, and v has length one. As e is at
    /// right angles to c, only that part of d counts in d·e that is so too, whose square is at most |d|² − (d·c)² because c is no
    /// longer than v. The constants cover single-precision rounding and vectors that are of unit length to within 1e-5 only.
    #[inline]
    pub fn interval(&self, product: i32, scale: f32, error: f32) -> (f32, f32) {
        #[expect(clippy::cast_precision_loss, reason = "covered by the constant")]
        let estimate = product as f32 * self.scale * scale;
        let across = (self.length * self.length - estimate * estimate * (1.0 - 4e-5))
            .max(0.0)
            .sqrt();
        (estimate, across * error + self.error + 2e-5)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::recall::simd;

    fn unit(raw: &[f32]) -> Option<Vec<f32>> {
        let length = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
        (length > 1e-3).then(|| raw.iter().map(|x| x / length).collect())
    }

    proptest! {
        #[test]
        fn the_true_cosine_is_within_the_interval(
            a in prop::collection::vec(-1.0f32..1.0, 96), b in prop::collection::vec(-1.0f32..1.0, 96),
        ) {
            if let (Some(a), Some(b)) = (unit(&a), unit(&b)) {
                let question = QuestionCode::of(&a);
                let code = Code::of(&b);
                let (estimate, width) = question.interval(simd::product(&question.code, &code.code), code.scale, code.error);
                let cosine = simd::cosine(&a, &b);
                prop_assert!((cosine - estimate).abs() <= width, "{cosine} is not {estimate} ± {width}");
                prop_assert!(width < 0.05);
            }
        }
    }
}
