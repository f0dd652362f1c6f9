//! Extractors whose refusals are problems.

use axum::{
    extract::{FromRequest, FromRequestParts, Request, rejection::JsonRejection},
    http::request::Parts,
};
use duet_core::domain::PageRequest;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    error::{Code, Problem},
    state::AppState,
};

/// A JSON body.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<AppState> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(JsonRejection::MissingJsonContentType(_)) => Err(Problem::new(
                Code::UnsupportedMediaType,
                "Send the body as JSON with `Content-Type: application/json`.",
            )),
            Err(JsonRejection::JsonSyntaxError(error)) => Err(Problem::new(
                Code::InvalidRequest,
                format!("The body is not JSON in UTF-8: {}.", cause(&error)),
            )),
            Err(JsonRejection::JsonDataError(error)) => Err(Problem::invalid(format!(
                "The body does not have the expected fields: {}.",
                cause(&error)
            ))),
            Err(other) if other.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE => Err(Problem::new(
                Code::TooLarge,
                format!(
                    "A body has at most {} bytes. Send less at once.",
                    state.config().limits.max_body_bytes
                ),
            )),
            Err(_) => Err(Problem::new(
                Code::InvalidRequest,
                "The body could not be read. Send it again.",
            )),
        }
    }
}

/// The innermost reason of a rejection, in one line.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let line = innermost.to_string();
    let line = line.lines().next().unwrap_or_default();
    let mut short: String = line.chars().take(240).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short
}

/// The query string.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<AppState> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(error) => Err(Problem::new(
                Code::InvalidRequest,
                format!("The query string is wrong: {}.", cause(&error)),
            )),
        }
    }
}

/// Parameters of the path. An id that does not parse matches nothing: 404, as for an unknown id.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<AppState> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(_) => Err(Problem::not_found("what this path names")),
        }
    }
}

/// `?limit=&cursor=` of every list.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// Maximum number of items, 1 to 200; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// The `next_cursor` of the previous page.
    pub cursor: Option<String>,
}

impl PageQuery {
    /// The page asked for.
    pub fn request(self) -> Result<PageRequest, Problem> {
        page(self.limit, self.cursor)
    }
}

/// Checks the parameters of a page.
pub fn page(limit: Option<u32>, cursor: Option<String>) -> Result<PageRequest, Problem> {
    let limit = limit.unwrap_or(50);
    if !(1..=PageRequest::MAX).contains(&limit) {
        return Err(Problem::invalid_field(
            "limit",
            format!("`limit` is between 1 and {}.", PageRequest::MAX),
        ));
    }
    Ok(PageRequest { cursor, limit })
}
