//! Marks by which a browser that has signed in before is recognised. A mark grants nothing: it only keeps other people's attempts
//! on an account apart from those of its person.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use duet_core::Env;
use ring::hmac;

/// Random bytes in a new mark.
const NONCE: usize = 16;
/// Most marks that are checked; a browser has one.
const MOST: usize = 4;

/// Makes and recognises marks.
pub struct Devices {
    key: hmac::Key,
}

impl Devices {
    /// With a key derived from the installation's signing key, so that marks outlive the process.
    pub fn new(signing_key: &[u8; 32]) -> Self {
        let derived = ring::digest::digest(&ring::digest::SHA256, &[b"duet device".as_slice(), signing_key].concat());
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()),
        }
    }

    /// A new mark for a browser that has just signed in with this address (in lower case).
    pub fn mark(&self, env: &Env, email: &str) -> String {
        let nonce = env.bytes::<NONCE>();
        let tag = hmac::sign(&self.key, &signed(&nonce, email));
        format!("{}.{}", URL_SAFE_NO_PAD.encode(nonce), URL_SAFE_NO_PAD.encode(tag.as_ref()))
    }

    /// The first of these marks that was made for this address.
    pub fn known<'a>(&self, marks: impl Iterator<Item = &'a str>, email: &str) -> Option<&'a str> {
        marks.take(MOST).find(|mark| {
            let parts = mark
                .split_once('.')
                .and_then(|(nonce, tag)| Some((URL_SAFE_NO_PAD.decode(nonce).ok()?, URL_SAFE_NO_PAD.decode(tag).ok()?)));
            parts
                .is_some_and(|(nonce, tag)| nonce.len() == NONCE && hmac::verify(&self.key, &signed(&nonce, email), &tag).is_ok())
        })
    }
}

/// What the tag is computed over. The nonce has a fixed length, so none of it can pass for part of the address.
fn signed(nonce: &[u8], email: &str) -> Vec<u8> {
    [nonce, email.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::env;

    #[test]
    fn a_mark_is_of_one_installation_and_one_address() {
        let (here, elsewhere) = (Devices::new(&[1; 32]), Devices::new(&[2; 32]));
        let mark = here.mark(&env(), "ada@example.org");
        let known = |devices: &Devices, mark: &str, email: &str| devices.known([mark].into_iter(), email).is_some();
        assert!(known(&here, &mark, "ada@example.org"));
        assert!(
            known(&Devices::new(&[1; 32]), &mark, "ada@example.org"),
            "after a restart as well"
        );
        assert!(!known(&here, &mark, "bob@example.org"));
        assert!(!known(&elsewhere, &mark, "ada@example.org"));
        for bad in ["", ".", "a.b", &mark[1..], &mark.replace('.', ""), &format!("{mark}A")] {
            assert!(!known(&here, bad, "ada@example.org"), "{bad}");
        }
        let many = ["x", "y", "z", "w", mark.as_str()];
        assert_eq!(
            here.known(many.into_iter(), "ada@example.org"),
            None,
            "only the first few are looked at"
        );
    }
}
