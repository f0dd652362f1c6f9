//! The whole HTTP interface as one router.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request},
    http::StatusCode,
    middleware,
    routing::{any, get},
};
use tower_http::timeout::TimeoutLayer;

use crate::{
    error::{Code, Problem},
    observability::request::observe,
    openapi, routes,
    state::AppState,
};

/// The interface, with the web app (or whatever `web` is) at every address that the interface does not use.
pub fn router(state: AppState, web: Option<Router>) -> Router {
    let (api, _) = routes::all().split_for_parts();
    let document = serde_json::to_value(openapi::document()).unwrap_or_default();
    let api = api
        .route("/openapi.json", get(move || async move { Json(document) }))
        // Unknown addresses under /v1 never belong to the web app.
        .route("/v1", any(not_found))
        .route("/v1/{*rest}", any(not_found))
        .method_not_allowed_fallback(method_not_allowed);
    let api = match web {
        Some(web) => api.fallback_service(web),
        None => api.fallback(not_found),
    };
    api.layer(DefaultBodyLimit::max(state.config().limits.max_body_bytes))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            Duration::from_secs(state.config().limits.request_seconds),
        ))
        .layer(middleware::from_fn_with_state(state.clone(), observe))
        .with_state(state)
}

async fn not_found() -> Problem {
    Problem::new(
        Code::NotFound,
        "There is nothing at this address. The addresses are listed in /openapi.json.",
    )
}

async fn method_not_allowed(request: Request) -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        format!(
            "{} is not allowed at this address. /openapi.json lists what is.",
            request.method()
        ),
    )
}
