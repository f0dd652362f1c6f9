use std::net::IpAddr;

use axum::{
    Json as Answer,
    extract::{FromRequest, Request, State},
    http::request::Parts,
};
use duet_core::{
    Refusal,
    domain::{DeviceDecision, DeviceLogin, DeviceSession, NewDeviceLogin, UserCode},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::requests::deciding;
use crate::{
    auth::{Authenticated, origin, secret},
    error::{ApiResult, OpenProblems, Problem, ReadProblems, WriteProblems},
    extract::{Json, Path},
    limits::{Limits, client_address},
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create_device))
        .routes(routes!(approve_device))
        .routes(routes!(deny_device))
        .routes(routes!(redeem_device))
        .routes(routes!(get_device))
}

/// The built-in issuer signs devices in; an outside one lets nobody make a sign-in for somebody else.
fn built_in(state: &AppState) -> ApiResult<()> {
    match state.issuer() {
        None => Ok(()),
        Some(_) => Err(Refusal::NoDeviceLogin.into()),
    }
}

/// A request from a device, which is nobody yet, counted against its network address.
async fn of_a_device<T: DeserializeOwned + Send>(
    state: &AppState,
    request: Request,
    count: fn(&Limits, IpAddr) -> ApiResult<()>,
) -> ApiResult<(Parts, IpAddr, T)> {
    let (parts, body) = request.into_parts();
    origin::check_page(&parts, state.origins())?;
    let from = client_address(&parts, &state.config().server);
    count(state.limits(), from)?;
    built_in(state)?;
    let again = Request::from_parts(parts.clone(), body);
    let Json(body) = Json::<T>::from_request(again, state).await?;
    Ok((parts, from, body))
}

/// A device that wants to be signed in.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceRequest {
    /// What it calls itself, for the person who decides: letters, digits, spaces and simple signs.
    #[schema(min_length = 1, max_length = 80, example = "duet on ada-laptop")]
    client: String,
}

/// What a device needs to be signed in (RFC 8628).
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeviceCodes {
    /// The secret that the device keeps and asks with.
    pub device_code: String,
    /// The code that it shows.
    #[schema(example = "BCDF-GHJK")]
    pub user_code: String,
    /// Where a person types the code.
    pub verification_uri: String,
    /// The same page with the code filled in. It comes after `#`, a part that browsers do not send.
    pub verification_uri_complete: String,
    /// How long both codes are good for, in seconds.
    pub expires_in: u64,
    /// How long to wait between two questions, in seconds.
    pub interval: u64,
}

/// Begin to sign in a device
///
/// For a program without a browser: it shows `user_code` and `verification_uri` to a person, who confirms there, and asks
/// `POST /v1/device/token` meanwhile. Where Supabase Auth signs people in, the answer is 409 `no_device_login`.
#[utoipa::path(
    post, path = "/v1/device", tag = "auth", security(()), request_body = DeviceRequest,
    responses((status = 200, description = "The codes.", body = DeviceCodes), OpenProblems)
)]
async fn create_device(State(state): State<AppState>, request: Request) -> ApiResult<Answer<DeviceCodes>> {
    let (parts, from, DeviceRequest { client }) = of_a_device(&state, request, Limits::device).await?;
    let (device_code, code) = (secret::random(state.env()), UserCode::new(state.env()));
    let new = NewDeviceLogin {
        device_hash: secret::hash(&device_code),
        user_hash: secret::hash(code.letters()),
        client,
        address: from.to_string(),
    };
    state.stores().devices.create(new).await?;
    let page = match &state.config().server.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => {
            let host = origin::authority(&parts.headers, &parts.uri).unwrap_or("localhost");
            format!("http://{host}")
        }
    };
    Ok(Answer(DeviceCodes {
        device_code,
        user_code: code.to_string(),
        verification_uri: format!("{page}/device"),
        verification_uri_complete: format!("{page}/device#code={code}"),
        expires_in: DeviceLogin::LIFETIME.as_secs(),
        interval: DeviceLogin::INTERVAL.as_secs(),
    }))
}

/// The code that a signed-in person typed. Each one counts, right or wrong, so that nobody finds others' codes by trying.
fn typed(state: &AppState, authenticated: &Authenticated, code: &str) -> ApiResult<[u8; 32]> {
    state.limits().device_code(authenticated.user)?;
    let code = UserCode::typed(code).ok_or_else(|| Problem::not_found("the code"))?;
    Ok(secret::hash(code.letters()))
}

/// A device that wants to be signed in
///
/// For a signed-in person who was shown its code. It says what became of a code until an hour after it expired.
#[utoipa::path(
    get, path = "/v1/device/{user_code}", tag = "auth",
    params(("user_code" = String, Path, description = "The code that the device shows; case, spaces and hyphens do not matter.")),
    responses((status = 200, description = "What asks, from where, and since when.", body = DeviceLogin), ReadProblems)
)]
async fn get_device(
    State(state): State<AppState>,
    authenticated: Authenticated,
    Path(code): Path<String>,
) -> ApiResult<Answer<DeviceLogin>> {
    authenticated.session()?;
    built_in(&state)?;
    let user_hash = typed(&state, &authenticated, &code)?;
    Ok(Answer(state.stores().devices.look_up(user_hash).await?))
}

/// The code of a device.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceAnswer {
    /// The code that it shows; case, spaces and hyphens do not matter.
    user_code: String,
}

async fn decide(state: &AppState, authenticated: &Authenticated, code: &str, approve: bool) -> ApiResult<Answer<DeviceLogin>> {
    // An access token is refused, because the device's sign-in would outlast it.
    authenticated.sign_in()?;
    let session = deciding(state, authenticated)?;
    built_in(state)?;
    let decision = DeviceDecision {
        user: authenticated.user,
        session,
        user_hash: typed(state, authenticated, code)?,
        approve,
    };
    Ok(Answer(state.stores().devices.decide(decision).await?))
}

/// Sign in a device
///
/// As the person who asks, who signed in with their password within the last 15 minutes: an older sign-in, and one that a device has, is
/// answered with `sign_in_again`. Never with a key, an access token, or the sign-in that a server keeps for the commands of its
/// machine. The device gets its sign-in when it asks next, if this one has not ended by then.
#[utoipa::path(
    post, path = "/v1/device/approve", tag = "auth", request_body = DeviceAnswer,
    responses((status = 200, description = "The device.", body = DeviceLogin), WriteProblems)
)]
async fn approve_device(
    State(state): State<AppState>,
    authenticated: Authenticated,
    Json(answer): Json<DeviceAnswer>,
) -> ApiResult<Answer<DeviceLogin>> {
    decide(&state, &authenticated, &answer.user_code, true).await
}

/// Refuse a device
///
/// The device is told. Any sign-in of the person's own will do.
#[utoipa::path(
    post, path = "/v1/device/deny", tag = "auth", request_body = DeviceAnswer,
    responses((status = 200, description = "The device.", body = DeviceLogin), WriteProblems)
)]
async fn deny_device(
    State(state): State<AppState>,
    authenticated: Authenticated,
    Json(answer): Json<DeviceAnswer>,
) -> ApiResult<Answer<DeviceLogin>> {
    decide(&state, &authenticated, &answer.user_code, false).await
}

/// The secret of a device.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceQuestion {
    /// The secret that it keeps.
    device_code: String,
}

/// The sign-in of a device.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeviceToken {
    /// For `Authorization: Bearer`. It is the sign-in itself: it lasts until it expires or is signed out, and is not renewed.
    pub access_token: String,
    /// `bearer`.
    #[schema(example = "bearer")]
    pub token_type: String,
    /// How long it lasts, in seconds.
    pub expires_in: u64,
}

/// Ask whether a device is signed in
///
/// Once it is confirmed, answers with its sign-in, a single time. Until then 409 `authorization_pending`, or `slow_down` when it asked
/// again before `interval` seconds were over: from then on it waits 5 seconds longer. 403 `access_denied` when a person refused,
/// 409 `expired_token` when the codes expired or were used.
#[utoipa::path(
    post, path = "/v1/device/token", tag = "auth", security(()), request_body = DeviceQuestion,
    responses((status = 200, description = "The sign-in.", body = DeviceToken), OpenProblems)
)]
async fn redeem_device(State(state): State<AppState>, request: Request) -> ApiResult<Answer<DeviceToken>> {
    let (_, _, DeviceQuestion { device_code }) = of_a_device(&state, request, Limits::device_question).await?;
    let access_token = secret::for_device(state.env());
    let new = DeviceSession {
        id: state.env().id(),
        secret_hash: secret::hash(&access_token),
        lifetime: state.session_lifetime(),
    };
    let (session, _) = state.stores().devices.redeem(secret::hash(&device_code), new).await?;
    Ok(Answer(DeviceToken {
        access_token,
        token_type: "bearer".into(),
        expires_in: session.expires_at.since(session.created_at).as_secs(),
    }))
}
