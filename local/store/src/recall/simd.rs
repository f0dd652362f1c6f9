//! Vector products, by the vector instructions that this processor has, chosen at run time.

/// Codes are padded to a multiple of this.
pub const LANES: usize = 64;

/// The length of a code with its padding.
pub fn padded(dimensions: usize) -> usize {
    dimensions.next_multiple_of(LANES)
}

/// Four bits per dimension, two dimensions per byte: of each [`LANES`] dimensions the first half is in the low nibbles.
pub fn pack(nibbles: impl ExactSizeIterator<Item = u8>, into: &mut Vec<u8>) {
    let start = into.len();
    into.resize(start + nibbles.len() / 2, 0);
    for (place, nibble) in nibbles.enumerate() {
        let (lane, chunk) = (place % LANES, place / LANES);
        let byte = &mut into[start + chunk * (LANES / 2) + lane % (LANES / 2)];
        *byte |= if lane < LANES / 2 { nibble } else { nibble << 4 };
    }
}

/// The nibbles of [`pack`], in order.
fn unpack(packed: &[u8]) -> impl Iterator<Item = u8> {
    packed.chunks_exact(LANES / 2).flat_map(|chunk| {
        let low = chunk.iter().map(|byte| byte & 15);
        low.chain(chunk.iter().map(|byte| byte >> 4))
    })
}

/// The product of a question's steps with packed nibbles. Both have the same number of dimensions, a multiple of [`LANES`].
#[inline]
pub fn nibble_product(question: &[i8], packed: &[u8]) -> i32 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[allow(unsafe_code)]
        // SAFETY: the processor has AVX2, which is all that the function needs beyond the baseline.
        return unsafe { nibble_product_avx2(question, packed) };
    }
    nibble_product_plain(question, packed)
}

fn nibble_product_plain(question: &[i8], packed: &[u8]) -> i32 {
    let products = question.iter().zip(unpack(packed));
    products.map(|(step, nibble)| i32::from(*step) * i32::from(nibble)).sum()
}

/// Bytes times bytes; the multiplication itself adds pairs of neighbours (`vpmaddubsw`). A pair is at most 2 × 15 × 127, so the
/// four pairs of two rounds of both halves stay within 16 bits.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn nibble_product_avx2(question: &[i8], packed: &[u8]) -> i32 {
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi16, _mm256_add_epi32, _mm256_and_si256, _mm256_loadu_si256, _mm256_madd_epi16,
        _mm256_maddubs_epi16, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_setzero_si256, _mm256_srli_epi16, _mm256_storeu_si256,
    };
    let (questions, _) = question.as_chunks::<LANES>();
    let (codes, _) = packed.as_chunks::<{ LANES / 2 }>();
    let (nibble, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    let mut sum = _mm256_setzero_si256();
    for (questions, codes) in questions.chunks(2).zip(codes.chunks(2)) {
        let mut pairs = _mm256_setzero_si256();
        for (q, c) in questions.iter().zip(codes) {
            #[allow(unsafe_code)]
            // SAFETY: `c` has 32 bytes and `q` 64: all three loads of 32 bytes are within them.
            let (bytes, first, second) = unsafe {
                (
                    _mm256_loadu_si256(c.as_ptr().cast::<__m256i>()),
                    _mm256_loadu_si256(q.as_ptr().cast::<__m256i>()),
                    _mm256_loadu_si256(q.as_ptr().add(LANES / 2).cast::<__m256i>()),
                )
            };
            let low = _mm256_and_si256(bytes, nibble);
            let high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble);
            let both = _mm256_add_epi16(_mm256_maddubs_epi16(low, first), _mm256_maddubs_epi16(high, second));
            pairs = _mm256_add_epi16(pairs, both);
        }
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
    }
    let mut lanes = [0i32; 8];
    #[allow(unsafe_code)]
    // SAFETY: eight 32-bit lanes are 256 bits.
    unsafe {
        _mm256_storeu_si256(lanes.as_mut_ptr().cast::<__m256i>(), sum);
    }
    lanes.iter().sum()
}

/// The product of a question's finer steps with a code, whose bytes are split into the packed halves `high` and `low`: a byte is
/// 16 × (high − 8) + low.
#[inline]
pub fn product(question: &[i16], high: &[u8], low: &[u8]) -> i32 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[allow(unsafe_code)]
        // SAFETY: the processor has AVX2, which is all that the function needs beyond the baseline.
        return unsafe { product_avx2(question, high, low) };
    }
    product_chunked(question, high, low)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn product_avx2(question: &[i16], high: &[u8], low: &[u8]) -> i32 {
    product_chunked(question, high, low)
}

/// In chunks that the compiler turns into vector instructions.
#[inline(always)]
fn product_chunked(question: &[i16], high: &[u8], low: &[u8]) -> i32 {
    const HALF: usize = LANES / 2;
    let ((questions, _), (highs, _), (lows, _)) = (
        question.as_chunks::<LANES>(),
        high.as_chunks::<HALF>(),
        low.as_chunks::<HALF>(),
    );
    let mut sums = [0i32; HALF];
    for ((q, high), low) in questions.iter().zip(highs).zip(lows) {
        for lane in 0..HALF {
            let first = i32::from((16 * (high[lane] & 15)) | (low[lane] & 15)) - 128;
            let second = i32::from((high[lane] & 0xf0) | (low[lane] >> 4)) - 128;
            sums[lane] += i32::from(q[lane]) * first + i32::from(q[HALF + lane]) * second;
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
        fn all_ways_give_the_plain_sum(triples in prop::collection::vec((-127i8..=127, -2047i16..=2047, -127i8..=127), 1..300)) {
            let width = padded(triples.len());
            let mut coarse: Vec<i8> = triples.iter().map(|(coarse, ..)| *coarse).collect();
            let mut fine: Vec<i16> = triples.iter().map(|(_, fine, _)| *fine).collect();
            let mut code: Vec<i8> = triples.iter().map(|(.., code)| *code).collect();
            coarse.resize(width, 0);
            fine.resize(width, 0);
            code.resize(width, 0);
            let (mut high, mut low) = (Vec::new(), Vec::new());
            pack(code.iter().map(|code| ((code >> 4) + 8).cast_unsigned()), &mut high);
            pack(code.iter().map(|code| code.cast_unsigned() & 15), &mut low);
            let plain: i32 = fine.iter().zip(&code).map(|(q, c)| i32::from(*q) * i32::from(*c)).sum();
            prop_assert_eq!(product(&fine, &high, &low), plain);
            let plain: i32 = coarse.iter().zip(&code).map(|(q, c)| i32::from(*q) * (i32::from(c >> 4) + 8)).sum();
            prop_assert_eq!(nibble_product(&coarse, &high), plain);
            prop_assert_eq!(nibble_product_plain(&coarse, &high), plain);
        }

        #[test]
        fn the_largest_products_do_not_overflow(chunks in 1usize..40, sign in prop::sample::select(vec![1i8, -1])) {
            let question = vec![127 * sign; chunks * LANES];
            let packed = vec![0xff; chunks * LANES / 2];
            prop_assert_eq!(nibble_product(&question, &packed), nibble_product_plain(&question, &packed));
        }
    }
}
