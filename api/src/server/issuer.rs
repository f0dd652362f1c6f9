//! Supabase Auth as the issuer of the HTTP interface.

use async_trait::async_trait;
use duet_core::{
    Env,
    domain::{Session, User},
    ids::{Id, SessionId},
};
use duet_supabase::auth::{Auth, AuthError, AuthSettings, Claim, SignIns, SignedUp, TokenError, TokenPair};
use secrecy::SecretString;

use crate::{
    auth::issuer::{Issuer, IssuerInfo, OwnerClaim, SignedIn, Tokens},
    error::{ApiResult, Code, Problem},
};

/// Supabase Auth, and what the database knows about its people.
pub struct SupabaseIssuer {
    info: IssuerInfo,
    auth: Auth,
    sign_ins: SignIns,
}

impl SupabaseIssuer {
    /// For one project. Nothing is requested from it yet.
    pub fn new(settings: AuthSettings, sign_ins: SignIns, env: Env) -> Self {
        Self {
            info: IssuerInfo {
                mode: "supabase",
                url: settings.url.as_str().trim_end_matches('/').to_owned(),
                publishable_key: settings.publishable_key.clone(),
            },
            auth: Auth::new(settings, env),
            sign_ins,
        }
    }
}

#[async_trait]
impl Issuer for SupabaseIssuer {
    fn info(&self) -> IssuerInfo {
        self.info.clone()
    }

    async fn signed_in(&self, token: &SecretString) -> ApiResult<SignedIn> {
        let verified = self.auth.verify(token).await.map_err(refused)?;
        let Some(known) = self.sign_ins.known(&verified).await? else {
            tracing::debug!(
                "the database does not know the sign-in of a good access token: it is over, or the token is of another project"
            );
            return Err(Problem::new(
                Code::NotSignedIn,
                "This sign-in has ended, or its email address is not confirmed. Sign in again.",
            ));
        };
        let session = Session {
            id: SessionId::from_uuid(verified.session),
            user_id: verified.user,
            created_at: known.since,
            expires_at: verified.expires_at,
            by_device: false,
            by_machine: false,
        };
        // A person without an account is not a member anywhere: they can only accept an invitation or claim the installation.
        let user = known.account.unwrap_or_else(|| User {
            id: verified.user,
            display_name: known.email.clone(),
            email: known.email,
            created_at: known.since,
        });
        Ok(SignedIn { session, user })
    }

    async fn sign_in(&self, email: &str, password: &SecretString) -> ApiResult<Tokens> {
        self.auth.client().sign_in(email, password).await.map(tokens).map_err(problem)
    }

    async fn sign_up(&self, email: &str, password: &SecretString) -> ApiResult<Option<Tokens>> {
        match self.auth.client().sign_up(email, password).await.map_err(problem)? {
            SignedUp::In(pair) => Ok(Some(tokens(pair))),
            SignedUp::ToConfirm => Ok(None),
        }
    }

    async fn refresh(&self, refresh_token: &SecretString) -> ApiResult<Tokens> {
        self.auth.client().refresh(refresh_token).await.map(tokens).map_err(problem)
    }

    async fn sign_out(&self, token: &SecretString, everywhere: bool) -> ApiResult<()> {
        self.auth.client().sign_out(token, everywhere).await.map_err(problem)
    }

    async fn claim(&self, token: &SecretString, claim: OwnerClaim) -> ApiResult<User> {
        let verified = self.auth.verify(token).await.map_err(refused)?;
        let claim = Claim {
            token_hash: claim.token_hash,
            display_name: claim.display_name,
            workspace_name: claim.workspace_name,
            companion_name: claim.companion_name,
        };
        let (user, _) = self.sign_ins.claim(verified.user, token.clone(), claim).await?;
        Ok(user)
    }
}

fn tokens(pair: TokenPair) -> Tokens {
    Tokens {
        access_token: pair.access_token,
        refresh_token: pair.refresh_token,
        expires_in: pair.expires_in,
    }
}

fn refused(error: TokenError) -> Problem {
    match error {
        TokenError::Expired => Problem::sign_in_expired(),
        TokenError::NotValid(reason) => {
            tracing::debug!(reason, "an access token is refused");
            Problem::not_signed_in()
        }
        TokenError::Unavailable(sentence) => Problem::new(Code::Unavailable, sentence),
    }
}

fn problem(error: AuthError) -> Problem {
    let code = match &error {
        AuthError::Credentials => Code::WrongSignIn,
        AuthError::NotConfirmed | AuthError::SignedOut => Code::NotSignedIn,
        AuthError::MayNotSignUp | AuthError::SignUpsOff => Code::Denied,
        AuthError::WeakPassword => return Problem::invalid_field("password", error.to_string()),
        AuthError::BadAddress => return Problem::invalid_field("email", error.to_string()),
        AuthError::TooMany(seconds) => return Problem::too_many(error.to_string(), *seconds),
        AuthError::BadKey | AuthError::Unavailable(_) | AuthError::Foreign(_) => {
            tracing::warn!(%error, "Supabase Auth did not do what was asked");
            Code::Unavailable
        }
    };
    Problem::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_status_and_says_what_to_do() {
        for (error, status, word) in [
            (TokenError::Expired, 401, "sign in again"),
            (TokenError::NotValid("issuer"), 401, "Sign in"),
            (TokenError::Unavailable("Auth is away.".into()), 503, "away"),
        ] {
            let problem = refused(error);
            assert_eq!(problem.status, status, "{problem:?}");
            assert!(problem.detail.contains(word), "{problem:?}");
            assert_eq!(problem.retry_after.is_some(), status == 503);
        }
        for (error, status, word) in [
            (AuthError::Credentials, 401, "Wrong"),
            (AuthError::NotConfirmed, 401, "link"),
            (AuthError::SignedOut, 401, "Sign in again"),
            (AuthError::MayNotSignUp, 403, "invitation"),
            (AuthError::SignUpsOff, 403, "turn them on"),
            (AuthError::WeakPassword, 422, "longer"),
            (AuthError::BadAddress, 422, "Check"),
            (AuthError::TooMany(7), 429, "7 s"),
            (AuthError::BadKey, 503, "supabase.publishable_key"),
            (AuthError::Unavailable("it takes too long"), 503, "again"),
            (AuthError::Foreign("no tokens"), 503, "duet-api check"),
        ] {
            let problem = problem(error);
            assert_eq!(problem.status, status, "{problem:?}");
            assert!(problem.detail.contains(word), "{problem:?}");
        }
    }
}
