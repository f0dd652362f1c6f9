//! What Postgres stores of a password (SCRAM-SHA-256, RFC 5802 and 7677), computed here so that the password is in no statement
//! and no log.

use std::num::NonZeroU32;

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{digest, hmac, pbkdf2};

/// Postgres' own number of rounds.
const ROUNDS: NonZeroU32 = NonZeroU32::new(4096).expect("more than none");
/// A machine's password: long enough that guessing is hopeless.
const SHORTEST: usize = 16;

/// The verifier of a password for `alter role … password`, or what is wrong with the password.
pub fn verifier(password: &str, salt: [u8; 16]) -> Result<String, String> {
    if password.len() < SHORTEST {
        return Err(format!(
            "The password of duet_worker has fewer than {SHORTEST} characters: take a random one, such as `openssl rand -hex 24` makes."
        ));
    }
    // Other characters would have to be normalised as clients do it.
    if !password.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("The password of duet_worker may have ASCII letters, digits and signs only, and no spaces.".into());
    }
    let (stored, server) = keys(password.as_bytes(), &salt);
    Ok(format!(
        "SCRAM-SHA-256${ROUNDS}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored),
        STANDARD.encode(server)
    ))
}

/// `StoredKey` and `ServerKey`.
fn keys(password: &[u8], salt: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, salt, password, &mut salted);
    let salted = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let client = hmac::sign(&salted, b"Client Key");
    let stored = digest::digest(&digest::SHA256, client.as_ref());
    (stored.as_ref().to_vec(), hmac::sign(&salted, b"Server Key").as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_of_the_standard() {
        // The exchange of RFC 7677, section 3: user "user", password "pencil".
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let (stored, server) = keys(b"pencil", &salt);
        let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let sign = |key: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes());
        assert_eq!(STANDARD.encode(sign(&server)), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let client: Vec<u8> = proof.iter().zip(sign(&stored).as_ref()).map(|(a, b)| a ^ b).collect();
        assert_eq!(digest::digest(&digest::SHA256, &client).as_ref(), stored);
    }

    #[test]
    fn weak_and_unclear_passwords_are_refused() {
        for password in ["", "short", "with a space in it, long", "pässwörter-sind-lang"] {
            assert!(verifier(password, [1; 16]).is_err(), "{password}");
        }
        let made = verifier("0123456789abcdef", [1; 16]).unwrap();
        assert!(
            made.starts_with("SCRAM-SHA-256$4096:") && !made.contains("0123456789abcdef"),
            "{made}"
        );
    }
}
