//! The checks of an access token (RFC 7519, RFC 8725), from the cheapest to those that ask Auth.

use std::sync::Arc;

use duet_core::Env;
use jsonwebtoken::{Algorithm, Header, Validation};
use secrecy::{ExposeSecret, SecretString};

use super::{TokenError, Verified, asked::Asked, claims::Claims, client::AuthClient, jwks::Jwks};

/// Maximum length of a token, in bytes; it includes people's metadata.
const LONGEST: usize = 16 * 1024;
/// `typ` of Supabase Auth's tokens.
const TYPE: &str = "JWT";

/// Verifies the access tokens of one project.
pub struct Verifier {
    issuer: String,
    jwks: Jwks,
    asked: Asked,
    env: Env,
}

impl Verifier {
    /// For tokens of this issuer.
    pub fn new(issuer: String, jwks: Jwks, client: Arc<AuthClient>, env: Env) -> Self {
        Self {
            issuer,
            jwks,
            asked: Asked::new(client, env.clone()),
            env,
        }
    }

    /// Checks everything about a token except whether its sign-in still exists.
    pub async fn verify(&self, token: &SecretString) -> Result<Verified, TokenError> {
        let text = token.expose_secret();
        if text.len() > LONGEST {
            return Err(TokenError::NotValid("too long"));
        }
        if text.bytes().filter(|byte| *byte == b'.').count() != 2 {
            return Err(TokenError::NotValid("not three parts"));
        }
        let header = jsonwebtoken::decode_header(text).map_err(|_| TokenError::NotValid("header"))?;
        plain(&header)?;
        match header.alg {
            Algorithm::ES256 | Algorithm::RS256 => self.by_key(text, &header).await,
            Algorithm::HS256 => self.by_asking(token).await,
            _ => Err(TokenError::NotValid("algorithm")),
        }
    }

    async fn by_key(&self, text: &str, header: &Header) -> Result<Verified, TokenError> {
        let kid = header.kid.as_deref().ok_or(TokenError::NotValid("no key id"))?;
        let key = self.jwks.key(kid).await?.ok_or(TokenError::NotValid("unknown key"))?;
        // The key decides the algorithm, not the token.
        if key.algorithm != header.alg {
            return Err(TokenError::NotValid("another key's algorithm"));
        }
        let claims = jsonwebtoken::decode::<Claims>(text, &key.decoding, &signature_alone(key.algorithm))
            .map_err(|_| TokenError::NotValid("signature or claims"))?
            .claims;
        if claims.iss.as_deref() != Some(self.issuer.as_str()) {
            return Err(TokenError::NotValid("issuer"));
        }
        claims.check(self.env.now())
    }

    /// Asks Auth only about tokens whose claims are right. Auth vouches only for its own tokens, so old ones without `iss` are fine.
    async fn by_asking(&self, token: &SecretString) -> Result<Verified, TokenError> {
        let claims: Claims = jsonwebtoken::dangerous::insecure_decode(token.expose_secret())
            .map_err(|_| TokenError::NotValid("claims"))?
            .claims;
        if claims.iss.as_ref().is_some_and(|issuer| *issuer != self.issuer) {
            return Err(TokenError::NotValid("issuer"));
        }
        let verified = claims.check(self.env.now())?;
        let user = self.asked.whose(token).await?;
        if user.to_string() != claims.sub {
            return Err(TokenError::NotValid("another person's"));
        }
        Ok(verified)
    }
}

/// Accepts only header fields that Supabase writes: no embedded key, no critical extension.
fn plain(header: &Header) -> Result<(), TokenError> {
    if header.typ.as_deref() != Some(TYPE) {
        return Err(TokenError::NotValid("type"));
    }
    let more = header.jku.is_some()
        || header.jwk.is_some()
        || header.x5u.is_some()
        || header.x5c.is_some()
        || header.x5t.is_some()
        || header.x5t_s256.is_some()
        || header.crit.is_some()
        || header.cty.is_some()
        || header.enc.is_some()
        || header.zip.is_some()
        || header.extras.inner().contains_key("b64");
    match more {
        true => Err(TokenError::NotValid("header says more than it may")),
        false => Ok(()),
    }
}

/// [`Claims`] checks the claims, more strictly and against this process's clock.
fn signature_alone(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}
