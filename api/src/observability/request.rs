//! One span per request: its id, method, route template and status. Never the path itself, the query, headers or bodies.

use std::panic::AssertUnwindSafe;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use tracing::{Instrument, field::Empty};

use super::measured::Stopwatch;
use crate::{
    auth::origin,
    error::{Code, PROBLEM_JSON, Problem},
    state::AppState,
    unread,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

fn method_word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

/// Wraps every request: id, span, measurement, panics as problems, cache headers, and the unread rest of its body.
pub async fn observe(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let id = state.env().uuid();
    let method = method_word(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "(none)".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!("request", %id, method, route, status = Empty, user = Empty, workspace = Empty);
    let watch = Stopwatch::start();
    let health = matches!(route.as_str(), "/health" | "/ready");
    let (request, unread) = unread::watch(request);
    let mut response = async {
        // Host names that an attacker's DNS may point here are refused before anything looks at the request.
        let known = health
            || origin::authority(request.headers(), request.uri())
                .is_none_or(|authority| state.origins().accepts_host(authority));
        if !known {
            return Problem::new(
                Code::Denied,
                "Duet does not answer under this host name. Use its address, or set `server.public_url` to the name.",
            )
            .into_response();
        }
        match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            Err(_) => {
                // The panic's message may quote anything: the panic hook wrote it to standard error, and it is not logged here.
                tracing::error!("a handler panicked");
                Problem::internal().into_response()
            }
        }
    }
    .instrument(span.clone())
    .await;

    let status = response.status();
    let took = watch.elapsed();
    span.record("status", status.as_u16());
    let millis = took.as_secs_f64() * 1000.0;
    if status.is_server_error() {
        span.in_scope(|| tracing::error!(millis, "failed"));
    } else if health {
        span.in_scope(|| tracing::debug!(millis, "answered"));
    } else {
        span.in_scope(|| tracing::info!(millis, "answered"));
    }
    state.metrics().request(method, route, status.as_u16(), took);

    if let Some(mut problem) = response.extensions_mut().remove::<Problem>() {
        problem.instance = Some(format!("urn:uuid:{id}"));
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let (mut parts, _) = response.into_parts();
        parts.headers.remove(header::CONTENT_LENGTH);
        response = Response::from_parts(parts, body.into());
    } else if (status.is_client_error() || status.is_server_error()) && !is_problem(&response) {
        // The framework words its own refusals (an oversize body, say) differently; ours are the same everywhere.
        response = framework_problem(&response, &id.to_string());
    }
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
        .headers_mut()
        .entry(header::X_CONTENT_TYPE_OPTIONS)
        .or_insert(HeaderValue::from_static("nosniff"));
    // Answers with personal data must not be cached; files of the web app set their own header.
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if let Some(unread) = unread {
        unread.settle(&mut response, state.config().limits.max_body_bytes).await;
    }
    response
}

fn is_problem(response: &Response) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(PROBLEM_JSON.as_bytes()))
}

fn framework_problem(response: &Response, id: &str) -> Response {
    let mut problem = match response.status().as_u16() {
        404 => Problem::not_found("this address"),
        405 => Problem::new(Code::MethodNotAllowed, "That method is not allowed at this address."),
        408 | 504 => Problem::new(Code::Unavailable, "The answer took too long. Try again."),
        413 => Problem::new(Code::TooLarge, "The body is too large. Send less at once."),
        415 => Problem::new(
            Code::UnsupportedMediaType,
            "Send the body as JSON with `Content-Type: application/json`.",
        ),
        status if status < 500 => Problem::new(Code::InvalidRequest, "The request cannot be read."),
        _ => Problem::internal(),
    };
    problem.instance = Some(format!("urn:uuid:{id}"));
    let allow = response.headers().get(header::ALLOW).cloned();
    let mut answer = problem.into_response();
    answer.extensions_mut().remove::<Problem>();
    if let Some(allow) = allow {
        answer.headers_mut().insert(header::ALLOW, allow);
    }
    answer
}
