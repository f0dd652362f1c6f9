//! The requirements on the claims of a Supabase Auth access token.

use duet_core::{
    Timestamp,
    ids::{Id, UserId},
};
use serde::Deserialize;
use uuid::Uuid;

use super::{TokenError, Verified};

/// `aud` and `role` of every signed-in person.
const AUTHENTICATED: &str = "authenticated";
/// Maximum difference between the clocks of Auth and this machine, in seconds.
const LEEWAY: i64 = 60;
/// Supabase's maximum lifetime of a token, in seconds (a week).
const LONGEST: i64 = 604_800;

/// The claims that matter; Supabase adds others. Each may appear once.
#[derive(Deserialize)]
pub struct Claims {
    pub iss: Option<String>,
    aud: String,
    pub sub: String,
    role: String,
    session_id: String,
    iat: i64,
    exp: i64,
    nbf: Option<i64>,
    #[serde(default)]
    is_anonymous: bool,
}

impl Claims {
    /// Checks everything except the issuer and the signature.
    pub fn check(&self, now: Timestamp) -> Result<Verified, TokenError> {
        if self.aud != AUTHENTICATED {
            return Err(TokenError::NotValid("audience"));
        }
        if self.role != AUTHENTICATED {
            return Err(TokenError::NotValid("role"));
        }
        if self.is_anonymous {
            return Err(TokenError::NotValid("anonymous"));
        }
        let user = uuid(&self.sub).ok_or(TokenError::NotValid("subject"))?;
        let session = uuid(&self.session_id).ok_or(TokenError::NotValid("session"))?;
        let now = now.millis().div_euclid(1000);
        let lifetime = self.exp.saturating_sub(self.iat);
        if !(0..=LONGEST).contains(&lifetime) {
            return Err(TokenError::NotValid("lifetime"));
        }
        let latest = now.saturating_add(LEEWAY);
        if self.iat > latest || self.nbf.is_some_and(|nbf| nbf > latest) {
            return Err(TokenError::NotValid("not yet valid"));
        }
        if self.exp <= now {
            return Err(TokenError::Expired);
        }
        Ok(Verified {
            user: UserId::from_uuid(user),
            session,
            issued_at: seconds(self.iat),
            expires_at: seconds(self.exp),
        })
    }
}

fn seconds(since_epoch: i64) -> Timestamp {
    Timestamp::from_millis(since_epoch.saturating_mul(1000))
}

/// Accepts only the form that Supabase writes: other spellings that the database would read as the same id are rejected.
fn uuid(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok()?;
    (id.hyphenated().to_string() == text && !id.is_nil()).then_some(id)
}
