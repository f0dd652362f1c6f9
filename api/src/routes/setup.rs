use axum::{
    extract::{FromRequest, Request, State},
    http::StatusCode,
    response::Response,
};
use duet_core::domain::OwnerSetup;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::auth::{SessionAnswer, check_email, sign_in_person};
use crate::{
    auth::{origin, password, setup},
    error::{ApiResult, Code, OpenProblems, Problem},
    extract::Json,
    limits::client_address,
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(set_up))
}

/// The first owner.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetupRequest {
    /// The one-time token that the server printed.
    token: String,
    /// E-mail address to sign in with.
    email: String,
    /// At least 10 characters.
    #[schema(min_length = 10, format = Password)]
    password: String,
    /// The name they go by.
    display_name: String,
    /// Name of the first workspace.
    workspace_name: String,
    /// Name of the companion.
    companion_name: String,
}

/// Trims a name and checks its length.
pub(super) fn check_name(field: &'static str, name: &str, most: usize) -> ApiResult<String> {
    let name = name.trim();
    let length = name.chars().count();
    if length == 0 || length > most || name.chars().any(char::is_control) {
        return Err(Problem::invalid_field(
            field,
            format!("`{field}` has 1 to {most} characters on one line."),
        ));
    }
    Ok(name.to_owned())
}

/// Become the first owner
///
/// Makes the account, its workspace and the companion, and signs the person in. The token works once.
#[utoipa::path(
    post, path = "/v1/setup", tag = "setup", security(()), request_body = SetupRequest,
    responses((status = 201, description = "The owner is signed in.", body = SessionAnswer), OpenProblems)
)]
async fn set_up(State(state): State<AppState>, request: Request) -> ApiResult<Response> {
    let (parts, body) = request.into_parts();
    origin::check_page(&parts, &state)?;
    let address = client_address(&parts, &state.config().server);
    let Json(setup) = Json::<SetupRequest>::from_request(Request::from_parts(parts, body), &state).await?;
    let accounts = &state.stores().accounts;
    if !accounts.needs_owner().await? {
        return Err(Problem::new(Code::Conflict, "Duet is set up already. Sign in instead."));
    }
    state.limits().setup(address)?;
    let email = check_email(&setup.email)?;
    password::check(&setup.password).map_err(|message| Problem::invalid_field("password", message))?;
    let owner = OwnerSetup {
        token_hash: setup::hash_token(&setup.token),
        email,
        display_name: check_name("display_name", &setup.display_name, 80)?,
        workspace_name: check_name("workspace_name", &setup.workspace_name, 80)?,
        companion_name: check_name("companion_name", &setup.companion_name, 80)?,
        password_hash: password::hash(state.env(), setup.password).await?,
    };
    let (user, _) = accounts.create_owner(owner).await?;
    sign_in_person(&state, user, StatusCode::CREATED).await
}
