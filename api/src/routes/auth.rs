use std::net::IpAddr;

use axum::{
    Json as Answer,
    extract::{FromRequest, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use duet_core::{
    Timestamp,
    domain::{Membership, Session, User},
    ids::SessionId,
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{
        Authenticated, Credential, cookie,
        issuer::{Issuer, SignedIn, Tokens},
        origin, password, secret,
    },
    error::{ApiResult, Code, OpenProblems, Problem, ReadProblems, WriteProblems},
    extract::{Json, Query},
    limits::{Attempt, client_address},
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(sign_in))
        .routes(routes!(sign_up))
        .routes(routes!(refresh))
        .routes(routes!(get_session))
        .routes(routes!(create_token))
        .routes(routes!(sign_out))
}

/// Who is signed in, and where they are a member.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionAnswer {
    /// The person.
    pub user: User,
    /// Their sign-in.
    pub session: SessionInfo,
    /// Their workspaces, oldest first.
    pub workspaces: Vec<Membership>,
    /// What Supabase Auth returned for a sign-in or sign-up through this server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<IssuedTokens>,
}

/// Tokens of Supabase Auth.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct IssuedTokens {
    /// For `Authorization: Bearer`.
    pub access_token: String,
    /// `bearer`.
    #[schema(example = "bearer")]
    pub token_type: String,
    /// How long the access token lasts, in seconds.
    pub expires_in: u32,
    /// What the next access token is obtained with; works once.
    pub refresh_token: String,
}

impl From<&Tokens> for IssuedTokens {
    fn from(tokens: &Tokens) -> Self {
        Self {
            access_token: tokens.access_token.expose_secret().to_owned(),
            token_type: "bearer".into(),
            expires_in: tokens.expires_in,
            refresh_token: tokens.refresh_token.expose_secret().to_owned(),
        }
    }
}

/// One sign-in.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionInfo {
    /// Its id.
    pub id: SessionId,
    /// After this the person has to sign in again.
    pub expires_at: Timestamp,
}

async fn session_answer(state: &AppState, user: User, session: &Session) -> ApiResult<SessionAnswer> {
    Ok(SessionAnswer {
        workspaces: state.stores().workspaces.memberships(user.id).await?,
        user,
        session: SessionInfo {
            id: session.id,
            expires_at: session.expires_at,
        },
        tokens: None,
    })
}

/// The answer for a sign-in at the outside issuer: no cookie.
pub(super) async fn issued_answer(
    state: &AppState,
    user: User,
    session: &Session,
    tokens: Option<&Tokens>,
    status: StatusCode,
) -> ApiResult<Response> {
    let answer = SessionAnswer {
        tokens: tokens.map(IssuedTokens::from),
        ..session_answer(state, user, session).await?
    };
    Ok((status, Answer(answer)).into_response())
}

async fn issued(state: &AppState, issuer: &dyn Issuer, tokens: Tokens, status: StatusCode) -> ApiResult<Response> {
    let SignedIn { session, user } = issuer.signed_in(&tokens.access_token).await?;
    issued_answer(state, user, &session, Some(&tokens), status).await
}

/// The outside issuer, for an operation that needs one.
fn outside<'a>(state: &'a AppState, otherwise: &'static str) -> ApiResult<&'a dyn Issuer> {
    match state.issuer() {
        Some(issuer) => Ok(issuer.as_ref()),
        None => Err(Problem::new(Code::Conflict, otherwise)),
    }
}

/// The headers that give a browser its new sign-in.
pub(super) type SignInHeaders = AppendHeaders<[(header::HeaderName, HeaderValue); 2]>;

/// Makes a sign-in for a person who has proved who they are, from this network address.
pub(super) async fn new_session(state: &AppState, user: &User, from: IpAddr) -> ApiResult<(SignInHeaders, Session)> {
    let now = state.env().now();
    let lifetime = state.session_lifetime();
    let session = Session {
        id: state.env().id(),
        user_id: user.id,
        created_at: now,
        expires_at: now.plus(lifetime),
        by_device: false,
        by_machine: false,
    };
    let secret = secret::random(state.env());
    state
        .stores()
        .accounts
        .create_session(session.clone(), secret::hash(&secret))
        .await?;
    state.limits().signed_in(from, &user.email, now);
    let secure = state.origins().secure();
    let cookie = cookie::set(&secret, lifetime.as_secs(), secure);
    let mark = cookie::remember(&state.devices().mark(state.env(), &user.email), secure);
    let headers = AppendHeaders([(header::SET_COOKIE, cookie), (header::SET_COOKIE, mark)]);
    Ok((headers, session))
}

/// Makes a sign-in and answers with it and its cookie.
pub(super) async fn sign_in_person(state: &AppState, user: User, from: IpAddr, status: StatusCode) -> ApiResult<Response> {
    let (headers, session) = new_session(state, &user, from).await?;
    let answer = session_answer(state, user, &session).await?;
    Ok((status, headers, Answer(answer)).into_response())
}

/// An email address in lower case, if it can be one.
pub(super) fn check_email(email: &str) -> ApiResult<String> {
    let email = email.trim().to_lowercase();
    let plausible = email.len() <= 254
        && !email.chars().any(|letter| letter.is_whitespace() || letter.is_control())
        && email
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
    match plausible {
        true => Ok(email),
        false => Err(Problem::invalid_field(
            "email",
            "`email` is an address such as `name@example.org`.",
        )),
    }
}

/// Email and password.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignInRequest {
    /// The email address.
    email: String,
    /// The password.
    #[schema(format = Password)]
    password: String,
}

/// Sign in
///
/// Sets the session cookie. A wrong email and a wrong password look the same, also in time. Where Supabase Auth signs people in,
/// there is no cookie: the answer contains its tokens.
#[utoipa::path(
    post, path = "/v1/auth/sign-in", tag = "auth", security(()), request_body = SignInRequest,
    responses(
        (status = 200, description = "Signed in; the cookie is set.", body = SessionAnswer),
        (status = 401, description = "Wrong email or password (`wrong_sign_in`).", body = Problem, content_type = "application/problem+json"),
        OpenProblems
    )
)]
async fn sign_in(State(state): State<AppState>, request: Request) -> ApiResult<Response> {
    let (parts, body) = request.into_parts();
    origin::check_page(&parts, state.origins())?;
    let address = client_address(&parts, &state.config().server);
    let headers = parts.headers.clone();
    let Json(request) = Json::<SignInRequest>::from_request(Request::from_parts(parts, body), &state).await?;
    let email = request.email.trim().to_lowercase();
    let marks = cookie::devices(&headers, state.origins().secure());
    state.limits().sign_in(Attempt {
        from: address,
        email: &email,
        device: state.devices().known(marks, &email),
    })?;
    let wrong = || Problem::new(Code::WrongSignIn, "Wrong email or password.");
    if request.password.len() > password::MAX_BYTES {
        return Err(wrong());
    }
    if let Some(issuer) = state.issuer() {
        let tokens = issuer.sign_in(&email, &request.password.into()).await?;
        state.limits().signed_in(address, &email, state.env().now());
        return issued(&state, issuer.as_ref(), tokens, StatusCode::OK).await;
    }
    let credentials = state.stores().accounts.credentials(&email).await?;
    let hash = credentials.as_ref().map(|known| known.password_hash.clone());
    let fits = password::verify(request.password, hash).await?;
    match credentials {
        Some(known) if fits => sign_in_person(&state, known.user, address, StatusCode::OK).await,
        _ => Err(wrong()),
    }
}

/// Sign up at Supabase Auth
///
/// For people with an invitation to this address, and for the person who sets Duet up. Only where Supabase Auth signs people in.
/// Signing up does not grant access: accept the invitation afterwards, or present the setup token.
#[utoipa::path(
    post, path = "/v1/auth/sign-up", tag = "auth", security(()), request_body = SignInRequest,
    responses(
        (status = 201, description = "Signed up and signed in.", body = SessionAnswer),
        (status = 202, description = "Supabase sent a message to the address: follow its link, then sign in."),
        OpenProblems
    )
)]
async fn sign_up(State(state): State<AppState>, request: Request) -> ApiResult<Response> {
    let (parts, body) = request.into_parts();
    let address = client_address(&parts, &state.config().server);
    let issuer = outside(
        &state,
        "People sign up here by accepting an invitation. Ask an owner of this Duet for one.",
    )?;
    let Json(request) = Json::<SignInRequest>::from_request(Request::from_parts(parts, body), &state).await?;
    let email = check_email(&request.email)?;
    state.limits().sign_in(Attempt {
        from: address,
        email: &email,
        device: None,
    })?;
    password::check(&request.password).map_err(|message| Problem::invalid_field("password", message))?;
    match issuer.sign_up(&email, &request.password.into()).await? {
        Some(tokens) => issued(&state, issuer, tokens, StatusCode::CREATED).await,
        None => Ok(StatusCode::ACCEPTED.into_response()),
    }
}

/// What the next access token is obtained with.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    /// The refresh token; it works once.
    refresh_token: String,
}

/// Longest refresh token, in bytes; Supabase's have 12 to 40.
const LONGEST_REFRESH_TOKEN: usize = 1024;

/// Refresh a sign-in at Supabase Auth
///
/// Answers with new tokens; the refresh token that was sent is used up.
#[utoipa::path(
    post, path = "/v1/auth/refresh", tag = "auth", security(()), request_body = RefreshRequest,
    responses(
        (status = 200, description = "New tokens.", body = IssuedTokens),
        (status = 401, description = "The sign-in is over (`not_signed_in`).", body = Problem, content_type = "application/problem+json"),
        OpenProblems
    )
)]
async fn refresh(State(state): State<AppState>, request: Request) -> ApiResult<Answer<IssuedTokens>> {
    let (parts, body) = request.into_parts();
    let address = client_address(&parts, &state.config().server);
    let issuer = outside(
        &state,
        "There are no refresh tokens here: a sign-in lasts by itself, and `POST /v1/auth/token` makes access tokens from it.",
    )?;
    let Json(request) = Json::<RefreshRequest>::from_request(Request::from_parts(parts, body), &state).await?;
    state.limits().refresh(address, &request.refresh_token)?;
    if request.refresh_token.is_empty() || request.refresh_token.len() > LONGEST_REFRESH_TOKEN {
        return Err(Problem::not_signed_in());
    }
    let tokens = issuer.refresh(&request.refresh_token.into()).await?;
    Ok(Answer(IssuedTokens::from(&tokens)))
}

/// Who is signed in
#[utoipa::path(
    get, path = "/v1/auth/session", tag = "auth",
    responses((status = 200, description = "The sign-in.", body = SessionAnswer), ReadProblems)
)]
async fn get_session(State(state): State<AppState>, authenticated: Authenticated) -> ApiResult<Answer<SessionAnswer>> {
    let (session, user) = authenticated.session()?;
    Ok(Answer(session_answer(&state, user.clone(), session).await?))
}

/// A short-lived access token.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct AccessToken {
    /// The token.
    pub access_token: String,
    /// `bearer`.
    #[schema(example = "bearer")]
    pub token_type: String,
    /// How long it lasts, in seconds.
    pub expires_in: u32,
}

/// Make an access token
///
/// For programs that act for a signed-in person for a short while. It ends with the sign-in, whose cookie is needed to ask for
/// it: a token cannot make another token, an API key or an invitation.
#[utoipa::path(
    post, path = "/v1/auth/token", tag = "auth",
    responses((status = 200, description = "The token.", body = AccessToken), WriteProblems)
)]
async fn create_token(State(state): State<AppState>, authenticated: Authenticated) -> ApiResult<Answer<AccessToken>> {
    authenticated.sign_in()?;
    if state.issuer().is_some() {
        return Err(Problem::new(
            Code::Conflict,
            "Supabase Auth makes the access tokens: use the one of your sign-in, and `POST /v1/auth/refresh` for the next.",
        ));
    }
    let seconds = state.config().auth.access_token_seconds;
    let access_token = state
        .tokens()
        .issue(authenticated.user, authenticated.secret_hash, state.env().now(), seconds)
        .map_err(|_| Problem::internal())?;
    Ok(Answer(AccessToken {
        access_token,
        token_type: "bearer".into(),
        expires_in: seconds,
    }))
}

/// Which sign-ins end.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct SignOutQuery {
    /// Every sign-in of the person, on all their devices.
    #[serde(default)]
    everywhere: bool,
}

/// Sign out
#[utoipa::path(
    post, path = "/v1/auth/sign-out", tag = "auth", params(SignOutQuery),
    responses((status = 204, description = "Signed out; the cookie is removed."), WriteProblems)
)]
async fn sign_out(
    State(state): State<AppState>,
    authenticated: Authenticated,
    Query(query): Query<SignOutQuery>,
) -> ApiResult<Response> {
    let (session, user) = authenticated.session()?;
    if let (Some(issuer), Credential::Issued(_, _, token)) = (state.issuer(), &authenticated.credential) {
        issuer.sign_out(token, query.everywhere).await?;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let accounts = &state.stores().accounts;
    if query.everywhere {
        accounts.end_all_sessions(user.id).await?;
    } else {
        accounts.end_session(user.id, session.id).await?;
    }
    let headers = [(header::SET_COOKIE, cookie::clear(state.origins().secure()))];
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}
