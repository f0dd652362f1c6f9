//! Signing in a device that has no browser: it shows a short code, and a person confirms it where they are signed in.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::word_enum;
use crate::{
    clock::{Env, Timestamp},
    ids::{SessionId, UserId},
    refusal::Refusal,
};

word_enum! {
    /// How far the sign-in of a device has come.
    DeviceState {
        /// Nobody has decided yet.
        Waiting = "waiting",
        /// A person confirmed it; the device has not fetched its sign-in yet.
        Approved = "approved",
        /// A person refused it.
        Denied = "denied",
        /// The device has its sign-in.
        Used = "used",
        /// It was not used in time.
        Expired = "expired",
    }
}

/// A device that asks to be signed in, as the person sees it who decides; never its codes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeviceLogin {
    /// What the device calls itself. Anybody can call themselves anything.
    pub client: String,
    /// The network address that it asked from.
    pub address: String,
    /// When it asked.
    pub created_at: Timestamp,
    /// Its codes are refused from this time on.
    pub expires_at: Timestamp,
    /// Its state at the time of asking.
    pub state: DeviceState,
}

impl DeviceLogin {
    /// How long the codes are good for. The databases say the same.
    pub const LIFETIME: Duration = Duration::from_secs(10 * 60);
    /// How long the device waits between two questions. The databases say the same.
    pub const INTERVAL: Duration = Duration::from_secs(5);
    /// How long it can be told after that what became of a code. The databases say the same.
    pub const KEPT: Duration = Duration::from_secs(3600);
    /// Most devices that wait at a time, in the whole installation. The databases say the same.
    pub const MOST_WAITING: usize = 1000;
    /// Longest name of a device, in characters. The databases say the same.
    pub const MAX_CLIENT: usize = 80;
}

/// A device's wish to be signed in.
#[derive(Clone, Debug)]
pub struct NewDeviceLogin {
    /// SHA-256 of the secret that the device keeps.
    pub device_hash: [u8; 32],
    /// SHA-256 of the code that it shows.
    pub user_hash: [u8; 32],
    /// What it calls itself.
    pub client: String,
    /// The network address that it asks from.
    pub address: String,
}

impl NewDeviceLogin {
    /// Checks the name, which a person reads before they decide: without characters that are invisible or turn the text around.
    pub fn check(&self) -> Result<(), Refusal> {
        // Letters by their class, and blank to the eye.
        let blank = |letter: char| matches!(letter, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}');
        let legible = |letter: char| letter.is_alphanumeric() && !blank(letter) || " .,:_-+@/()'".contains(letter);
        let length = self.client.chars().count();
        if (1..=DeviceLogin::MAX_CLIENT).contains(&length)
            && self.client.trim() == self.client
            && self.client.chars().all(legible)
        {
            Ok(())
        } else {
            Err(Refusal::DeviceName)
        }
    }
}

/// A person's answer to a device.
#[derive(Clone, Copy, Debug)]
pub struct DeviceDecision {
    /// Whose.
    pub user: UserId,
    /// The sign-in by which they decide; an approval holds only as long as it.
    pub session: SessionId,
    /// SHA-256 of the code that the device shows.
    pub user_hash: [u8; 32],
    /// Yes or no.
    pub approve: bool,
}

/// The sign-in that a device gets once a person has confirmed it.
#[derive(Clone, Debug)]
pub struct DeviceSession {
    /// Its id.
    pub id: SessionId,
    /// SHA-256 of its secret.
    pub secret_hash: [u8; 32],
    /// How long it lasts.
    pub lifetime: Duration,
}

/// The code that a person types: eight letters that are not mistaken for each other and spell no words (RFC 8628, 6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCode(String);

impl UserCode {
    const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
    const LENGTH: usize = 8;

    /// A fresh code; each letter is as likely as any other.
    pub fn new(env: &Env) -> Self {
        let mut letters = String::with_capacity(Self::LENGTH);
        while letters.len() < Self::LENGTH {
            let [byte] = env.bytes::<1>();
            // 240 is the largest multiple of 20 in a byte.
            if byte < 240 {
                letters.push(char::from(Self::LETTERS[usize::from(byte) % Self::LETTERS.len()]));
            }
        }
        Self(letters)
    }

    /// A code as somebody typed it: in any case, with spaces and hyphens anywhere.
    pub fn typed(text: &str) -> Option<Self> {
        if text.len() > 64 {
            return None;
        }
        let letters: String = text
            .chars()
            .filter(|letter| !matches!(letter, ' ' | '-'))
            .map(|letter| letter.to_ascii_uppercase())
            .collect();
        let good = letters.len() == Self::LENGTH && letters.bytes().all(|letter| Self::LETTERS.contains(&letter));
        good.then_some(Self(letters))
    }

    /// The letters alone.
    pub fn letters(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for UserCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (first, second) = self.0.split_at(Self::LENGTH / 2);
        write!(f, "{first}-{second}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::contract::TestEnv;

    #[test]
    fn codes_are_read_as_people_type_them() {
        let env = TestEnv::new(1).env();
        let code = UserCode::new(&env);
        let shown = code.to_string();
        assert_eq!((shown.len(), shown.as_bytes()[4]), (9, b'-'));
        for typed in [shown.clone(), shown.to_lowercase(), format!(" {} ", shown.replace('-', " "))] {
            assert_eq!(UserCode::typed(&typed).as_ref(), Some(&code), "{typed}");
        }
        for wrong in [
            "",
            "BCDF-GHJ",
            "BCDF-GHJKL",
            "BCDF-GHJA",
            "BCDF-GH1K",
            "BCDF-GHJÄ",
            &"-".repeat(70),
        ] {
            assert_eq!(UserCode::typed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_letter_comes_and_codes_differ() {
        let env = TestEnv::new(2).env();
        let codes: BTreeSet<String> = (0..500).map(|_| UserCode::new(&env).letters().to_owned()).collect();
        assert_eq!(codes.len(), 500);
        let letters: BTreeSet<u8> = codes.iter().flat_map(|code| code.bytes()).collect();
        assert_eq!(letters.into_iter().collect::<Vec<_>>(), UserCode::LETTERS);
    }

    #[test]
    fn names_are_legible() {
        let named = |client: &str| NewDeviceLogin {
            device_hash: [1; 32],
            user_hash: [2; 32],
            client: client.into(),
            address: "192.0.2.1".into(),
        };
        let longest = "x".repeat(DeviceLogin::MAX_CLIENT);
        for good in ["duet on ada-laptop", "Adas Rechner (Büro)", "端末", &longest] {
            assert_eq!(named(good).check(), Ok(()), "{good}");
        }
        let longer = format!("{longest}x");
        for bad in [
            "",
            " ",
            " duet",
            "\u{3164}",
            "duet\u{115f}",
            "a\nb",
            "a\u{202e}b",
            "a\u{200b}b",
            "<b>",
            "\u{1b}[2J",
            &longer,
        ] {
            assert_eq!(named(bad).check(), Err(Refusal::DeviceName), "{bad:?}");
        }
    }
}
