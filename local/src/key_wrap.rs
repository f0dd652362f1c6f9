//! A data file's key under a passphrase: argon2id makes the wrapping key, AES-256-GCM wraps.
//!
//! The text form is `duet-key-1$<memory KiB>$<passes>$<salt>$<nonce and ciphertext>`, the last two in hex. Everything before the
//! ciphertext is authenticated with it.

use argon2::{Algorithm, Argon2, Params, Version};
use duet_core::Env;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::{Zeroize, Zeroizing};

use duet_sqlite::key::FileKey;

const MAGIC: &str = "duet-key-1";
/// 64 MiB and 3 passes (RFC 9106, second recommendation): about 0.2 s at start.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
/// The most that a file may ask for: a forged one must not exhaust the machine.
const MOST_KIB: u32 = 1024 * 1024;
const MOST_PASSES: u32 = 64;

/// The key as text that only the passphrase opens.
pub fn wrap(key: &FileKey, passphrase: &str, env: &Env) -> String {
    let salt: [u8; 16] = env.bytes();
    let nonce: [u8; 12] = env.bytes();
    let head = format!("{MAGIC}${MEMORY_KIB}${PASSES}${}", hex::encode(salt));
    let sealed = wrapping_key(passphrase, &salt, MEMORY_KIB, PASSES).and_then(|wrapping| {
        let mut text = key.bytes().to_vec();
        wrapping
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(head.as_bytes()), &mut text)
            .ok()?;
        Some(text)
    });
    // The parameters are constants within the libraries' bounds; nothing here depends on the input.
    assert!(sealed.is_some(), "the parameters are within bounds");
    let sealed = sealed.unwrap_or_default();
    format!("{head}${}{}", hex::encode(nonce), hex::encode(sealed))
}

/// Recovers the key; `None` if the passphrase is wrong or the text was changed.
pub fn unwrap(text: &str, passphrase: &str) -> Option<FileKey> {
    let (head, sealed) = text.trim().rsplit_once('$')?;
    let mut parts = head.split('$');
    let magic = parts.next()? == MAGIC;
    let memory: u32 = parts.next()?.parse().ok().filter(|kib| *kib <= MOST_KIB)?;
    let passes: u32 = parts.next()?.parse().ok().filter(|passes| *passes <= MOST_PASSES)?;
    let salt = hex::decode(parts.next()?).ok()?;
    if !magic || parts.next().is_some() {
        return None;
    }
    let mut sealed = hex::decode(sealed).ok()?;
    let nonce: [u8; 12] = sealed.get(..12)?.try_into().ok()?;
    let wrapping = wrapping_key(passphrase, &salt, memory, passes)?;
    let opened = wrapping
        .open_in_place(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(head.as_bytes()),
            &mut sealed[12..],
        )
        .ok()?;
    let mut bytes: [u8; 32] = (&*opened).try_into().ok()?;
    let key = FileKey::new(bytes);
    bytes.zeroize();
    sealed.zeroize();
    Some(key)
}

fn wrapping_key(passphrase: &str, salt: &[u8], memory: u32, passes: u32) -> Option<LessSafeKey> {
    let mut bytes = Zeroizing::new([0; 32]);
    let params = Params::new(memory, passes, 1, Some(32)).ok()?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, &mut *bytes)
        .ok()?;
    UnboundKey::new(&AES_256_GCM, &*bytes).ok().map(LessSafeKey::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_passphrase_and_the_whole_text_open_it() {
        let env = duet_api::machine::system();
        let key = FileKey::new(env.bytes());
        let text = wrap(&key, "correct horse", &env);
        assert_eq!(unwrap(&text, "correct horse").unwrap().bytes(), key.bytes());
        assert!(unwrap(&text, "correct horsf").is_none());
        for position in (0..text.len()).step_by(7) {
            let mut changed = text.clone().into_bytes();
            changed[position] = if changed[position] == b'1' { b'2' } else { b'1' };
            assert!(
                unwrap(&String::from_utf8(changed).unwrap(), "correct horse").is_none(),
                "byte {position}"
            );
        }
        assert!(unwrap(&text[..text.len() - 2], "correct horse").is_none());
        assert!(unwrap("", "x").is_none());
    }
}
