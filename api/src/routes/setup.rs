use axum::{
    extract::{FromRequest, Request, State},
    http::StatusCode,
    response::Response,
};
use duet_core::{Refusal, domain::OwnerSetup};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::auth::{SessionAnswer, check_email, issued_answer, sign_in_person};
use crate::{
    auth::{
        Authenticated, Credential,
        issuer::{Issuer, OwnerClaim},
        origin, password, setup,
    },
    error::{ApiResult, OpenProblems, Problem},
    extract::Json,
    limits::client_address,
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(set_up)).routes(routes!(check_token))
}

/// The first owner.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetupRequest {
    /// The one-time token that the server printed.
    token: String,
    /// Email address to sign in with. Omitted where Supabase Auth signs people in: sign up there first.
    email: Option<String>,
    /// At least 10 characters. Omitted where Supabase Auth signs people in.
    #[schema(min_length = 10, format = Password)]
    password: Option<String>,
    /// The name they go by.
    display_name: String,
    /// Name of the first workspace.
    workspace_name: String,
    /// Name of the companion.
    companion_name: String,
}

/// A setup token to check.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetupToken {
    /// The one-time token that the server printed.
    token: String,
}

/// Check the setup token
///
/// Says whether this is the token that makes the first owner, without using it up: a page can reject a wrong token where it is
/// typed. Counts as an attempt, as set-up itself does.
#[utoipa::path(
    post, path = "/v1/setup/token", tag = "setup", security(()), request_body = SetupToken,
    responses((status = 204, description = "It is the token."), OpenProblems)
)]
async fn check_token(State(state): State<AppState>, request: Request) -> ApiResult<StatusCode> {
    let (parts, body) = request.into_parts();
    origin::check_page(&parts, state.origins())?;
    let address = client_address(&parts, &state.config().server);
    let Json(SetupToken { token }) = Json::from_request(Request::from_parts(parts, body), &state).await?;
    let accounts = &state.stores().accounts;
    if accounts.needs_owner().await? {
        state.limits().setup(address)?;
    }
    accounts.check_setup_token(setup::hash_token(&token)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Trims a name and checks its length.
pub(super) fn check_name(field: &'static str, name: &str, most: usize) -> ApiResult<String> {
    let name = name.trim();
    let length = name.chars().count();
    if length == 0 || length > most || name.chars().any(char::is_control) {
        return Err(Problem::invalid_field(
            field,
            format!("A name has 1 to {most} characters, on one line."),
        ));
    }
    Ok(name.to_owned())
}

/// Become the first owner
///
/// Creates the account, its workspace and the companion, and signs the person in. The token works once. Where Supabase Auth signs
/// people in, send its access token along; the person's address must be confirmed.
#[utoipa::path(
    post, path = "/v1/setup", tag = "setup", security(()), request_body = SetupRequest,
    responses((status = 201, description = "The owner is signed in.", body = SessionAnswer), OpenProblems)
)]
async fn set_up(State(state): State<AppState>, request: Request) -> ApiResult<Response> {
    let (parts, body) = request.into_parts();
    origin::check_page(&parts, state.origins())?;
    let address = client_address(&parts, &state.config().server);
    let signed_in = match state.issuer() {
        Some(_) => Some(Authenticated::from_parts(&parts, &state).await?),
        None => None,
    };
    let Json(setup) = Json::<SetupRequest>::from_request(Request::from_parts(parts, body), &state).await?;
    let accounts = &state.stores().accounts;
    if !accounts.needs_owner().await? {
        return Err(Refusal::SetUp.into());
    }
    state.limits().setup(address)?;
    if let (Some(issuer), Some(signed_in)) = (state.issuer(), signed_in) {
        return claim(&state, issuer.as_ref(), signed_in, setup).await;
    }
    let needed = |field: &'static str| Problem::invalid_field(field, format!("`{field}` is missing."));
    let email = check_email(&setup.email.ok_or_else(|| needed("email"))?)?;
    let password = setup.password.ok_or_else(|| needed("password"))?;
    password::check(&password).map_err(|message| Problem::invalid_field("password", message))?;
    let owner = OwnerSetup {
        token_hash: setup::hash_token(&setup.token),
        email,
        display_name: check_name("display_name", &setup.display_name, 80)?,
        workspace_name: check_name("workspace_name", &setup.workspace_name, 80)?,
        companion_name: check_name("companion_name", &setup.companion_name, 80)?,
        password_hash: password::hash(state.env(), password).await?,
    };
    let (user, _) = accounts.create_owner(owner).await?;
    sign_in_person(&state, user, address, StatusCode::CREATED).await
}

/// For a person who has signed in at the outside issuer.
async fn claim(state: &AppState, issuer: &dyn Issuer, signed_in: Authenticated, setup: SetupRequest) -> ApiResult<Response> {
    for (field, given) in [("email", setup.email.is_some()), ("password", setup.password.is_some())] {
        if given {
            return Err(Problem::invalid_field(
                field,
                format!("Supabase Auth signs people in: leave `{field}` out, and send the access token of your sign-in there."),
            ));
        }
    }
    let Credential::Issued(session, _, token) = signed_in.credential else {
        return Err(Problem::not_signed_in());
    };
    let claim = OwnerClaim {
        token_hash: setup::hash_token(&setup.token),
        display_name: check_name("display_name", &setup.display_name, 80)?,
        workspace_name: check_name("workspace_name", &setup.workspace_name, 80)?,
        companion_name: check_name("companion_name", &setup.companion_name, 80)?,
    };
    let user = issuer.claim(&token, claim).await?;
    issued_answer(state, user, &session, None, StatusCode::CREATED).await
}
