//! Short-lived access tokens: JWT, HS256 only, every claim required, and valid only while their sign-in lives.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use duet_core::{Timestamp, ids::UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

/// `iss`: this installation's own issuer.
pub const ISSUER: &str = "duet";
/// `aud`: the HTTP interface.
pub const AUDIENCE: &str = "duet-api";
/// `typ` of the header (RFC 9068).
pub const TYPE: &str = "at+jwt";
/// Clocks of one machine differ by this much at most, in seconds.
const LEEWAY: i64 = 5;
/// No token lives longer, whatever it says.
pub const MAX_SECONDS: u32 = 900;

/// Makes and checks access tokens.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    kid: String,
    validation: Validation,
}

/// What a valid token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The person.
    pub user: UserId,
    /// SHA-256 of the secret of the sign-in that it was made from: by it the sign-in is found, or found to be over.
    pub session_hash: [u8; 32],
}

/// Why a token is refused; not told to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the access token is not valid: {0}")]
pub struct TokenError(&'static str);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    aud: String,
    sub: UserId,
    sid: String,
    iat: i64,
    exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
}

impl Tokens {
    /// With the installation's signing key.
    pub fn new(key: &[u8; 32]) -> Self {
        // Derived from the key, not stored with it: another key has another id.
        let digest = ring::digest::digest(&ring::digest::SHA256, &[b"duet kid".as_slice(), key].concat());
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Times are checked below, more strictly and against this process's clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self {
            encoding: EncodingKey::from_secret(key),
            decoding: DecodingKey::from_secret(key),
            kid: hex::encode(&digest.as_ref()[..8]),
            validation,
        }
    }

    /// A token for a sign-in.
    pub fn issue(&self, user: UserId, session_hash: [u8; 32], now: Timestamp, seconds: u32) -> Result<String, TokenError> {
        let iat = now.millis().div_euclid(1000);
        let claims = Claims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: user,
            sid: URL_SAFE_NO_PAD.encode(session_hash),
            iat,
            exp: iat + i64::from(seconds.min(MAX_SECONDS)),
            nbf: None,
        };
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TYPE.into());
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, &claims, &self.encoding).map_err(|_| TokenError("it could not be signed"))
    }

    /// Checks everything about a token except whether its sign-in still lives.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Verified, TokenError> {
        if token.len() > 2048 {
            return Err(TokenError("too long"));
        }
        if token.bytes().filter(|byte| *byte == b'.').count() != 2 {
            return Err(TokenError("not three parts"));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError("header"))?;
        if header.alg != Algorithm::HS256 {
            return Err(TokenError("algorithm"));
        }
        if header.typ.as_deref() != Some(TYPE) {
            return Err(TokenError("type"));
        }
        if header.kid.as_deref() != Some(self.kid.as_str()) {
            return Err(TokenError("key id"));
        }
        let foreign =
            header.jku.is_some() || header.jwk.is_some() || header.x5u.is_some() || header.x5c.is_some() || header.crit.is_some();
        if foreign {
            return Err(TokenError("header names another key"));
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation)
            .map_err(|_| TokenError("signature or claims"))?
            .claims;
        let now = now.millis().div_euclid(1000);
        if claims.exp <= now {
            return Err(TokenError("expired"));
        }
        if claims.iat > now.saturating_add(LEEWAY) || claims.nbf.is_some_and(|nbf| nbf > now.saturating_add(LEEWAY)) {
            return Err(TokenError("not yet valid"));
        }
        if claims.exp.saturating_sub(claims.iat) > i64::from(MAX_SECONDS) || claims.exp < claims.iat {
            return Err(TokenError("lifetime"));
        }
        let session_hash = URL_SAFE_NO_PAD
            .decode(&claims.sid)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(TokenError("session"))?;
        Ok(Verified {
            user: claims.sub,
            session_hash,
        })
    }
}

#[cfg(test)]
#[path = "token_vectors.rs"]
mod vectors;
