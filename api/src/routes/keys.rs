use std::collections::BTreeSet;

use axum::{Json as Answer, extract::State, http::StatusCode};
use duet_core::{
    Timestamp,
    domain::{ApiKey, KeyScope, NewApiKey},
    ids::ApiKeyId,
};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{One, setup::check_name};
use crate::{
    auth::{In, PersonOnly, key, secret},
    error::{ApiResult, Problem, ReadProblems, WriteProblems},
    extract::{Json, Path},
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_keys, create_key))
        .routes(routes!(revoke_key))
}

/// A person's keys.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct Keys {
    /// Newest first, including revoked ones.
    pub items: Vec<ApiKey>,
}

/// The person's keys
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/keys", tag = "keys",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid)),
    responses((status = 200, description = "Never their secrets.", body = Keys), ReadProblems)
)]
async fn list_keys(State(state): State<AppState>, caller: In<PersonOnly>) -> ApiResult<Answer<Keys>> {
    let items = state.stores().keys.list(&caller).await?;
    Ok(Answer(Keys { items }))
}

/// A new key.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// What to call it.
    name: String,
    /// What it may do.
    scopes: BTreeSet<KeyScope>,
    /// When it stops working; never when absent.
    expires_at: Option<Timestamp>,
}

/// A key with its secret.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct CreatedKey {
    /// The key.
    pub key: ApiKey,
    /// Shown only this once: `Authorization: Bearer <secret>`.
    pub secret: String,
}

/// Make a key
///
/// With a sign-in of the last 15 minutes, not an access token: an older sign-in is answered with `sign_in_again`.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace_id}/keys", tag = "keys", request_body = KeyRequest,
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid)),
    responses((status = 201, description = "The key and, this once, its secret.", body = CreatedKey), WriteProblems)
)]
async fn create_key(
    State(state): State<AppState>,
    caller: In<PersonOnly>,
    Json(request): Json<KeyRequest>,
) -> ApiResult<(StatusCode, Answer<CreatedKey>)> {
    caller.authenticated().recent_sign_in(&state)?;
    let name = check_name("name", &request.name, 80)?;
    if request.scopes.is_empty() {
        return Err(Problem::invalid_field("scopes", "A key needs at least one scope."));
    }
    if request.expires_at.is_some_and(|at| at <= state.env().now()) {
        return Err(Problem::invalid_field("expires_at", "`expires_at` is in the past."));
    }
    let secret = key::generate(state.env());
    let new = NewApiKey {
        id: state.env().id(),
        name,
        prefix: key::shown_prefix(&secret),
        secret_hash: secret::hash(&secret),
        scopes: request.scopes,
        expires_at: request.expires_at,
    };
    let key = state.stores().keys.create(&caller, new).await?;
    Ok((StatusCode::CREATED, Answer(CreatedKey { key, secret })))
}

/// Revoke a key
///
/// At once and for good.
#[utoipa::path(
    delete, path = "/v1/workspaces/{workspace_id}/keys/{id}", tag = "keys",
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The key.", format = Uuid),
    ),
    responses((status = 200, description = "The revoked key.", body = ApiKey), WriteProblems)
)]
async fn revoke_key(
    State(state): State<AppState>,
    caller: In<PersonOnly>,
    Path(path): Path<One<ApiKeyId>>,
) -> ApiResult<Answer<ApiKey>> {
    Ok(Answer(state.stores().keys.revoke(&caller, path.id).await?))
}
