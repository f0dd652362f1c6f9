//! Products of vectors, in chunks that the compiler turns into vector instructions; the widest that this processor has
//! is chosen at run time.

/// Codes are padded to a multiple of this.
pub const LANES: usize = 32;

/// The length of a code with its padding.
pub fn padded(dimensions: usize) -> usize {
    dimensions.next_multiple_of(LANES)
}

/// The product of a question's code with a vector's. Both have the same length, a multiple of [`LANES`].
#[inline]
pub fn product(question: &[i16], code: &[i8]) -> i32 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[allow(unsafe_code)]
        // SAFETY: the processor has AVX2, which is all that the function needs beyond the baseline.
        return unsafe { product_avx2(question, code) };
    }
    chunked(question, code)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn product_avx2(question: &[i16], code: &[i8]) -> i32 {
    chunked(question, code)
}

#[inline(always)]
fn chunked(question: &[i16], code: &[i8]) -> i32 {
    let mut sums = [0i32; LANES / 2];
    let (questions, _) = question.as_chunks::<LANES>();
    let (codes, _) = code.as_chunks::<LANES>();
    for (q, c) in questions.iter().zip(codes) {
        for lane in 0..LANES / 2 {
            // Pairs of neighbours: one multiply-and-add instruction.
            sums[lane] +=
                i32::from(q[2 * lane]) * i32::from(c[2 * lane]) + i32::from(q[2 * lane + 1]) * i32::from(c[2 * lane + 1]);
        }
    }
    sums.iter().sum()
}

/// The cosine of two vectors of unit length: their product, summed in double precision.
#[expect(clippy::cast_possible_truncation, reason = "cosines are single precision")]
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f64; 8];
    let (a_chunks, a_rest) = a.as_chunks::<8>();
    let (b_chunks, b_rest) = b.as_chunks::<8>();
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..8 {
            sums[lane] += f64::from(x[lane]) * f64::from(y[lane]);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
    (sums.iter().sum::<f64>() + rest) as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn both_ways_give_the_plain_sum(pairs in prop::collection::vec((-2047i16..=2047, -127i8..=127), 0..200)) {
            let mut question: Vec<i16> = pairs.iter().map(|pair| pair.0).collect();
            let mut code: Vec<i8> = pairs.iter().map(|pair| pair.1).collect();
            let plain: i32 = pairs.iter().map(|(q, c)| i32::from(*q) * i32::from(*c)).sum();
            question.resize(padded(pairs.len()), 0);
            code.resize(padded(pairs.len()), 0);
            prop_assert_eq!(product(&question, &code), plain);
            prop_assert_eq!(chunked(&question, &code), plain);
        }
    }
}
