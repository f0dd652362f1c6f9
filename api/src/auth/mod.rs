//! Who is asking. [`Authenticated`] is a person or their key; [`In`] is that person in the workspace of the path, with their
//! current role.

pub mod cookie;
pub mod device;
pub mod issuer;
pub mod key;
pub mod origin;
pub mod password;
pub mod secret;
pub mod setup;
pub mod token;

use std::{marker::PhantomData, ops::Deref};

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::{HeaderMap, header, request::Parts},
};
use duet_core::{
    Caller, Refusal,
    domain::{ApiKey, KeyScope, Role, Session, User},
    ids::{UserId, WorkspaceId},
};

use secrecy::{ExposeSecret, SecretString};

use self::issuer::{Issuer, SignedIn};
use crate::{
    error::{ApiResult, Code, Problem},
    state::AppState,
};

/// What a request proved.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A sign-in, by its cookie; or a device's, as a bearer token.
    Session(Session, User),
    /// A sign-in, by an access token made from it: valid for a short while, and not for anything that lasts longer.
    Token(Session, User),
    /// A sign-in at the outside issuer, by its access token.
    Issued(Session, User, SecretString),
    /// An API key, with its person's role in the key's workspace.
    Key(ApiKey, Role),
}

/// A person, or one of their keys.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// The person.
    pub user: UserId,
    /// How they proved it.
    pub credential: Credential,
    /// SHA-256 of the session's secret, the key or the outside issuer's token, by which sign-ins and keys are looked up.
    pub secret_hash: [u8; 32],
}

/// The text after `Bearer `, if there is one. The scheme's case does not matter (RFC 9110); a second header is refused.
fn bearer(headers: &HeaderMap) -> ApiResult<Option<&str>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Problem::new(
            Code::InvalidRequest,
            "Send one `Authorization` header, not several.",
        ));
    }
    let text = value.to_str().map_err(|_| Problem::not_signed_in())?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token)),
        _ => Err(Problem::not_signed_in()),
    }
}

impl Authenticated {
    /// Checks a request's credentials. Cookies are valid for writes only with the proofs of [`origin::check_cookie_write`].
    pub async fn from_parts(parts: &Parts, state: &AppState) -> ApiResult<Self> {
        let token = bearer(&parts.headers)?;
        // With an outside issuer we set no cookies: one that is sent is ignored.
        let cookie = match state.issuer() {
            Some(_) => None,
            None => cookie::read(&parts.headers, state.origins().secure())?,
        };
        let found = match (token, cookie) {
            (Some(_), Some(_)) => {
                return Err(Problem::new(
                    Code::InvalidRequest,
                    "Send the session cookie or an `Authorization` header, not both.",
                ));
            }
            (None, None) => return Err(Problem::not_signed_in()),
            (None, Some(secret)) => {
                if !parts.method.is_safe() {
                    origin::check_cookie_write(parts, state.origins())?;
                }
                let found = Self::by_session(state, secret::hash(secret)).await?;
                // A device's sign-in is a bearer's: no page can be made to send it.
                match &found.credential {
                    Credential::Session(session, _) if session.by_device => return Err(Problem::not_signed_in()),
                    _ => found,
                }
            }
            (Some(token), None) => Self::by_bearer(state, token).await?,
        };
        let span = tracing::Span::current();
        span.record("user", tracing::field::display(found.user));
        Ok(found)
    }

    async fn by_session(state: &AppState, secret_hash: [u8; 32]) -> ApiResult<Self> {
        match state.stores().accounts.session(secret_hash).await? {
            Some((session, user)) if session.expires_at > state.env().now() => Ok(Self {
                user: user.id,
                credential: Credential::Session(session, user),
                secret_hash,
            }),
            _ => Err(Problem::not_signed_in()),
        }
    }

    async fn by_key(state: &AppState, secret_hash: [u8; 32]) -> ApiResult<Self> {
        match state.stores().system.api_key(secret_hash).await? {
            Some((key, role)) => Ok(Self {
                user: key.user_id,
                credential: Credential::Key(key, role),
                secret_hash,
            }),
            None => Err(Problem::not_signed_in()),
        }
    }

    /// Whether the same credentials still open the workspace: a sign-in that has ended, a revoked key or a removed member
    /// do not.
    pub async fn still_opens(&self, state: &AppState, workspace: WorkspaceId) -> ApiResult<()> {
        let again = match &self.credential {
            Credential::Session(..) | Credential::Token(..) => Self::by_session(state, self.secret_hash).await?,
            Credential::Issued(session, _, token) => {
                // Does not depend on whether the issuer can be reached now.
                if session.expires_at <= state.env().now() {
                    return Err(Problem::sign_in_expired());
                }
                let issuer = state.issuer().ok_or_else(Problem::not_signed_in)?;
                Self::by_issuer(&**issuer, token.clone()).await?
            }
            Credential::Key(..) => Self::by_key(state, self.secret_hash).await?,
        };
        again.role(state, workspace).await.map(|_| ())
    }

    async fn by_bearer(state: &AppState, token: &str) -> ApiResult<Self> {
        if key::looks_like_key(token) {
            return Self::by_key(state, secret::hash(token)).await;
        }
        if let Some(issuer) = state.issuer() {
            return Self::by_issuer(&**issuer, token.to_owned().into()).await;
        }
        if secret::is_of_device(token) {
            return Self::by_session(state, secret::hash(token)).await;
        }
        let claims = state
            .tokens()
            .verify(token, state.env().now())
            .map_err(|_| Problem::not_signed_in())?;
        // Signing out also ends the tokens made from the sign-in.
        let found = Self::by_session(state, claims.session_hash).await?;
        match found.credential {
            Credential::Session(session, user) if user.id == claims.user => Ok(Self {
                credential: Credential::Token(session, user),
                ..found
            }),
            _ => Err(Problem::not_signed_in()),
        }
    }

    async fn by_issuer(issuer: &dyn Issuer, token: SecretString) -> ApiResult<Self> {
        let SignedIn { session, user } = issuer.signed_in(&token).await?;
        Ok(Self {
            user: user.id,
            secret_hash: secret::hash(token.expose_secret()),
            credential: Credential::Issued(session, user, token),
        })
    }

    /// What the store has to pass on so that the database itself knows the person.
    fn access_token(&self) -> Option<SecretString> {
        match &self.credential {
            Credential::Issued(_, _, token) => Some(token.clone()),
            Credential::Session(..) | Credential::Token(..) | Credential::Key(..) => None,
        }
    }

    /// The sign-in and its person; keys are refused.
    pub fn session(&self) -> ApiResult<(&Session, &User)> {
        match &self.credential {
            Credential::Session(session, user) | Credential::Token(session, user) | Credential::Issued(session, user, _) => {
                Ok((session, user))
            }
            Credential::Key(..) => Err(Problem::new(
                Code::Denied,
                "An API key cannot do this. Sign in, or use an access token.",
            )),
        }
    }

    /// The sign-in itself; an access token made from it is refused, because what it asks for would outlive it.
    pub fn sign_in(&self) -> ApiResult<&Session> {
        match &self.credential {
            Credential::Token(..) => Err(Problem::new(
                Code::Denied,
                "An access token cannot do this. Use the session cookie of the sign-in.",
            )),
            _ => self.session().map(|(session, _)| session),
        }
    }

    /// [`Self::sign_in`], for what lasts longer than the sign-in: only within [`Session::RECENT`] after the sign-in began, and not by
    /// a device's. The sign-in that the server keeps for this machine's commands counts at any time.
    pub fn recent_sign_in(&self, state: &AppState) -> ApiResult<&Session> {
        let session = self.sign_in()?;
        let recent = !session.by_device && state.env().now().since(session.created_at) <= Session::RECENT;
        match recent || state.vouches_for(session.id) {
            true => Ok(session),
            false => Err(Refusal::SignInAgain.of("do this by an older sign-in").into()),
        }
    }

    /// Whether a key of this scope, or a person, is asking: what a key may not read is left out of its answers too.
    pub fn may(&self, scope: KeyScope) -> bool {
        match &self.credential {
            Credential::Key(key, _) => key.scopes.contains(&scope),
            Credential::Session(..) | Credential::Token(..) | Credential::Issued(..) => true,
        }
    }

    /// Their role in a workspace; a workspace they are not in looks like one that does not exist.
    pub async fn role(&self, state: &AppState, workspace: WorkspaceId) -> ApiResult<Role> {
        let role = match &self.credential {
            Credential::Key(key, role) => (key.workspace_id == workspace).then_some(*role),
            Credential::Session(..) | Credential::Token(..) | Credential::Issued(..) => {
                state.stores().workspaces.role(self.user, workspace).await?
            }
        };
        role.ok_or_else(|| Problem::not_found("the workspace"))
    }
}

impl FromRequestParts<AppState> for Authenticated {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        Self::from_parts(parts, state).await
    }
}

/// What an API key needs for a route. People need no scope: their role says what they may do.
pub trait Needs: Send + Sync + 'static {
    /// The scope, `Some(None)` for any key, `None` where no key will do.
    const SCOPE: Option<Option<KeyScope>>;
}

macro_rules! needs {
    ($($(#[$doc:meta])* $name:ident = $scope:expr),+ $(,)?) => {$(
        $(#[$doc])*
        pub struct $name;
        impl Needs for $name {
            const SCOPE: Option<Option<KeyScope>> = $scope;
        }
    )+};
}

needs! {
    /// Any key of the workspace.
    AnyKey = Some(None),
    /// A key with `chat`.
    Chat = Some(Some(KeyScope::Chat)),
    /// A key with `memory_read`.
    MemoryRead = Some(Some(KeyScope::MemoryRead)),
    /// A key with `memory_write`.
    MemoryWrite = Some(Some(KeyScope::MemoryWrite)),
    /// A key with `admin`.
    Admin = Some(Some(KeyScope::Admin)),
    /// No key: the person themselves.
    PersonOnly = None,
}

/// A person in the workspace of the path.
pub struct In<N: Needs> {
    caller: Caller,
    authenticated: Authenticated,
    needs: PhantomData<N>,
}

impl<N: Needs> In<N> {
    /// How the person proved who they are, to check their role again later.
    pub fn authenticated(&self) -> &Authenticated {
        &self.authenticated
    }
}

impl<N: Needs> Deref for In<N> {
    type Target = Caller;
    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl<N: Needs> FromRequestParts<AppState> for In<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let authenticated = Authenticated::from_parts(parts, state).await?;
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::not_found("the workspace"))?;
        let workspace: WorkspaceId = params
            .iter()
            .find(|(name, _)| *name == "workspace_id")
            .and_then(|(_, value)| value.parse().ok())
            .ok_or_else(|| Problem::not_found("the workspace"))?;
        let role = authenticated.role(state, workspace).await?;
        if let Credential::Key(key, _) = &authenticated.credential {
            match N::SCOPE {
                None => {
                    authenticated.session()?;
                }
                Some(Some(scope)) if !key.scopes.contains(&scope) => {
                    return Err(Problem::new(
                        Code::Denied,
                        format!("This API key lacks the scope `{scope}`. Make one that has it."),
                    ));
                }
                Some(_) => {}
            }
        }
        tracing::Span::current().record("workspace", tracing::field::display(workspace));
        Ok(Self {
            caller: Caller {
                access_token: authenticated.access_token(),
                ..Caller::person(authenticated.user, workspace, role)
            },
            authenticated,
            needs: PhantomData,
        })
    }
}
