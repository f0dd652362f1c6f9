use ring::hkdf;
use zeroize::Zeroizing;

struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

/// Derives a key for one purpose from a key with full entropy, by HKDF-SHA-256. Different labels give unrelated keys.
pub fn derive_key(key: &[u8; 32], label: &str) -> Zeroizing<[u8; 32]> {
    let mut derived = Zeroizing::new([0; 32]);
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"duet.v1").extract(key);
    let info = [label.as_bytes()];
    let filled = extracted.expand(&info, Length).and_then(|output| output.fill(&mut *derived));
    // HKDF-SHA-256 refuses only more than 255 × 32 bytes.
    assert!(filled.is_ok(), "32 bytes are within HKDF's bounds");
    derived
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_keys_give_unrelated_keys() {
        let one = derive_key(&[1; 32], "a");
        assert_eq!(*one, *derive_key(&[1; 32], "a"));
        assert_ne!(*one, *derive_key(&[1; 32], "b"));
        assert_ne!(*one, *derive_key(&[2; 32], "a"));
        assert_ne!(*one, [1; 32]);
    }
}
