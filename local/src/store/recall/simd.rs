//! Products of vectors, by the vector instructions that this processor has, chosen at run time.

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

/// Sixteen products a step, pairs of them added by the multiplication itself (`vpmaddwd`). Written out because the compiler
/// makes shuffles and 32-bit multiplications of the plain loop, five times as slow (2026-11).
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn product_avx2(question: &[i16], code: &[i8]) -> i32 {
    use std::arch::x86_64::{
        __m128i, __m256i, _mm_loadu_si128, _mm256_add_epi32, _mm256_cvtepi8_epi16, _mm256_loadu_si256, _mm256_madd_epi16,
        _mm256_setzero_si256,
    };
    let (questions, _) = question.as_chunks::<LANES>();
    let (codes, _) = code.as_chunks::<LANES>();
    let mut sums = [_mm256_setzero_si256(); 2];
    for (q, c) in questions.iter().zip(codes) {
        for (half, sum) in sums.iter_mut().enumerate() {
            #[allow(unsafe_code)]
            // SAFETY: both arrays have LANES = 32 elements; half `half` of them starts at 16 × `half` and is read whole.
            let (q, c) = unsafe {
                (
                    _mm256_loadu_si256(q.as_ptr().add(16 * half).cast::<__m256i>()),
                    _mm_loadu_si128(c.as_ptr().add(16 * half).cast::<__m128i>()),
                )
            };
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(q, _mm256_cvtepi8_epi16(c)));
        }
    }
    let mut lanes = [0i32; 8];
    #[allow(unsafe_code)]
    // SAFETY: eight 32-bit lanes are 256 bits.
    unsafe {
        std::arch::x86_64::_mm256_storeu_si256(lanes.as_mut_ptr().cast::<__m256i>(), _mm256_add_epi32(sums[0], sums[1]));
    }
    lanes.iter().sum()
}

/// In chunks that the compiler turns into what vector instructions there are.
fn chunked(question: &[i16], code: &[i8]) -> i32 {
    let mut sums = [0i32; LANES];
    let (questions, _) = question.as_chunks::<LANES>();
    let (codes, _) = code.as_chunks::<LANES>();
    for (q, c) in questions.iter().zip(codes) {
        for lane in 0..LANES {
            sums[lane] += i32::from(q[lane]) * i32::from(c[lane]);
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
