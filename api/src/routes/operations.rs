use axum::{
    Json as Answer,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use duet_core::domain::{KeyScope, Role};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Authenticated, Credential},
    error::{ApiResult, Code, OpenProblems, Problem, ReadProblems},
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(ready))
        .routes(routes!(metrics))
}

/// The server's health.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct Health {
    /// `ok`.
    #[schema(example = "ok")]
    pub status: String,
    /// Duet's version.
    pub version: String,
}

fn ok() -> Answer<Health> {
    Answer(Health {
        status: "ok".into(),
        version: env!("CARGO_PKG_VERSION").into(),
    })
}

/// Whether the process answers
#[utoipa::path(
    get, path = "/health", tag = "operations", security(()),
    responses((status = 200, description = "It does.", body = Health), OpenProblems)
)]
async fn health() -> Answer<Health> {
    ok()
}

/// Whether the server can work
///
/// The store answers and can be written (a full disk or a read-only database cannot), and runs are being driven. Checked at most
/// every five seconds.
#[utoipa::path(
    get, path = "/ready", tag = "operations", security(()),
    responses((status = 200, description = "It can.", body = Health), OpenProblems)
)]
async fn ready(State(state): State<AppState>) -> ApiResult<Answer<Health>> {
    state.writable().await?;
    if !state.is_working() {
        return Err(Problem::new(
            Code::Unavailable,
            "No worker drives runs in this process (yet, or any more).",
        ));
    }
    Ok(ok())
}

/// Figures for Prometheus
///
/// With an owner's key that has the scope `admin`, from anywhere: a request from this machine proves nothing, since a proxy on it
/// may forward any request.
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses((status = 200, description = "Text format.", body = String, content_type = "text/plain"), ReadProblems)
)]
async fn metrics(State(state): State<AppState>, authenticated: Authenticated) -> ApiResult<Response> {
    match &authenticated.credential {
        Credential::Key(key, Role::Owner) if key.scopes.contains(&KeyScope::Admin) => {
            let headers = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
            Ok((headers, state.metrics().render()).into_response())
        }
        _ => Err(Problem::new(
            Code::Denied,
            "Metrics need an owner's API key with the scope `admin`.",
        )),
    }
}
