//! One byte per dimension, with a bound on the error.

/// A vector as bytes: component `i` is about `scale × code[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Code {
    /// The value of one step.
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
        // The best-fitting step: what remains is then orthogonal to the code.
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

/// The upper nibble of a step, from 0.
pub fn upper(step: i8) -> u8 {
    ((step >> 4) + 8).cast_unsigned()
}

/// The lower nibble of a step.
pub fn lower(step: i8) -> u8 {
    step.cast_unsigned() & 15
}

/// A vector as nibbles: component `i` is about `scale × (16 × (nibble[i] − 8) + 7.5)`.
#[derive(Clone, Copy, Debug)]
pub struct Coarse {
    /// The value of one step.
    pub scale: f32,
    /// Length of the difference to the [`Code`] that it was made from, rounded up; it is orthogonal to the nibbles.
    pub error: f32,
}

/// The distance from the first of a nibble's byte values to their middle.
const MIDDLE: f64 = 7.5;

impl Coarse {
    /// From a code's upper nibbles, the code padded as in a block.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "single precision, and an error rounded up on purpose"
    )]
    pub fn of(code: &Code) -> Self {
        let middle = |step: i8| f64::from(i32::from(step >> 4) * 16) + MIDDLE;
        let (mut along, mut steps, mut whole) = (0.0f64, 0.0f64, 0.0f64);
        for step in &code.code {
            let exact = f64::from(*step);
            along += exact * middle(*step);
            steps += middle(*step) * middle(*step);
            whole += exact * exact;
        }
        // Never zero: no middle is.
        let fit = along / steps.max(f64::MIN_POSITIVE);
        let left = (whole - fit * along).max(0.0).sqrt();
        Self {
            scale: (f64::from(code.scale) * fit) as f32,
            error: (f64::from(code.scale) * left * (1.0 + 1e-6)) as f32 + f32::EPSILON,
        }
    }
}

/// A question's vector in steps, coarse for the first pass and finer for the second, so that products with codes stay in 32-bit
/// integers.
#[derive(Clone, Debug)]
pub struct QuestionCode {
    coarse: Steps,
    fine: Steps,
    /// The coarse steps, padded with zeros to a whole number of [`super::simd::LANES`].
    pub coarse_steps: Vec<i8>,
    /// Their sum; the padding adds nothing to it.
    coarse_sum: i32,
    /// The finer steps, padded likewise.
    pub fine_steps: Vec<i16>,
}

#[derive(Clone, Copy, Debug)]
struct Steps {
    scale: f32,
    /// Length of what was rounded off.
    error: f32,
    /// Length of what is left.
    length: f32,
}

impl QuestionCode {
    /// Encodes a question's vector. With codes of at most 127 and up to 8,192 dimensions, sums with finer steps stay below 2^31.
    pub fn of(vector: &[f32]) -> Self {
        let (coarse, steps) = Steps::of(vector, 127.0);
        let (fine, fine_steps) = Steps::of(vector, 2047.0);
        #[expect(clippy::cast_possible_truncation, reason = "within ±127")]
        let coarse_steps: Vec<i8> = steps.iter().map(|step| *step as i8).collect();
        Self {
            coarse,
            fine,
            coarse_sum: steps.iter().map(|step| i32::from(*step)).sum(),
            coarse_steps,
            fine_steps,
        }
    }

    /// The approximate cosine from the integer product with a code's upper nibbles, and how far off it can be. `code_error` is
    /// the [`Code`]'s own.
    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "covered by the constant")]
    pub fn coarse_interval(&self, product: i32, coarse: Coarse, code_error: f32) -> (f32, f32) {
        // 16 × (nibble − 8) + 7.5, summed with the question's steps.
        let sum = 16.0 * product as f32 - 120.5 * self.coarse_sum as f32;
        let estimate = sum * self.coarse.scale * coarse.scale;
        let width = self.coarse.across(estimate) * coarse.error + self.coarse.length * code_error;
        (estimate, width + self.coarse.error + 2e-5)
    }

    /// The same from the product with the whole code: much closer.
    ///
    /// With question q = d + f and vector v = c + e (d, c as encoded): q·v = d·c + d·e + f·v, and v has length one. As e is
    /// orthogonal to c, only the part of d orthogonal to c counts in d·e; its square is at most |d|² − (d·c)² because c is no
    /// longer than v. The constants cover single-precision rounding and vectors that are of unit length only to within 1e-5.
    #[inline]
    pub fn interval(&self, product: i32, scale: f32, error: f32) -> (f32, f32) {
        #[expect(clippy::cast_precision_loss, reason = "covered by the constant")]
        let estimate = product as f32 * self.fine.scale * scale;
        (estimate, self.fine.across(estimate) * error + self.fine.error + 2e-5)
    }
}

impl Steps {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "within the steps, and lengths rounded up on purpose"
    )]
    fn of(vector: &[f32], most: f32) -> (Self, Vec<i16>) {
        let largest = vector.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        let scale = if largest > 0.0 { largest / most } else { 1.0 };
        let mut steps: Vec<i16> = vector.iter().map(|x| (x / scale).round().clamp(-most, most) as i16).collect();
        let (mut off, mut kept) = (0.0f64, 0.0f64);
        for (x, step) in vector.iter().zip(&steps) {
            let near = f64::from(scale) * f64::from(*step);
            off += (f64::from(*x) - near).powi(2);
            kept += near * near;
        }
        steps.resize(super::simd::padded(vector.len()), 0);
        let length = Self {
            scale,
            error: (off.sqrt() * (1.0 + 1e-6)) as f32,
            length: (kept.sqrt() * (1.0 + 1e-6)) as f32,
        };
        (length, steps)
    }

    /// The length of the part orthogonal to the vector whose product with the question is `estimate`.
    #[inline]
    fn across(self, estimate: f32) -> f32 {
        (self.length * self.length - estimate * estimate * (1.0 - 4e-5))
            .max(0.0)
            .sqrt()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::recall::simd;

    fn unit(raw: &[f32]) -> Option<Vec<f32>> {
        let length = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
        (length > 1e-3).then(|| raw.iter().map(|x| x / length).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn the_true_cosine_is_within_both_intervals(
            a in prop::collection::vec(-1.0f32..1.0, 96), b in prop::collection::vec(-1.0f32..1.0, 96), near in 0.0f32..1.0,
        ) {
            // Near neighbours too: their intervals are the narrowest.
            let b: Vec<f32> = a.iter().zip(&b).map(|(a, b)| near * a + (1.0 - near) * b).collect();
            if let (Some(a), Some(b)) = (unit(&a), unit(&b)) {
                let question = QuestionCode::of(&a);
                let mut code = Code::of(&b);
                code.code.resize(simd::padded(b.len()), 0);
                let cosine = simd::cosine(&a, &b);

                let (mut high, mut low) = (Vec::new(), Vec::new());
                simd::pack(code.code.iter().map(|step| upper(*step)), &mut high);
                simd::pack(code.code.iter().map(|step| lower(*step)), &mut low);
                let product = simd::product(&question.fine_steps, &high, &low);
                let (estimate, width) = question.interval(product, code.scale, code.error);
                prop_assert!((cosine - estimate).abs() <= width, "{cosine} is not {estimate} ± {width}");
                prop_assert!(width < 0.05);

                let product = simd::nibble_product(&question.coarse_steps, &high);
                let (estimate, width) = question.coarse_interval(product, Coarse::of(&code), code.error);
                prop_assert!((cosine - estimate).abs() <= width, "{cosine} is not coarsely {estimate} ± {width}");
                prop_assert!(width < 0.3);
            }
        }
    }
}
