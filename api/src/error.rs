//! The one error of the HTTP interface: RFC 9457 problem details. Stores' errors become problems only here.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use duet_core::{Refusal, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::openapi::{
    Content, ObjectBuilder, Ref, RefOr, Response as DocumentedResponse, ResponseBuilder, Schema, schema::Type,
};

/// What a handler returns.
pub type ApiResult<T> = Result<T, Problem>;

/// Media type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// An error as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// `https://duet.invalid/problems/<code>`.
    #[serde(rename = "type")]
    #[schema(example = "https://duet.invalid/problems/not_found")]
    pub kind: String,
    /// What the status means, in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// One sentence that says what to do.
    pub detail: String,
    /// Stable, snake_case: the part that programs rely on.
    #[schema(value_type = ProblemCode)]
    pub code: String,
    /// The request: `urn:uuid:<request id>`, as in the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The fields that are wrong, if known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Seconds to wait, for the header `Retry-After`.
    #[serde(skip)]
    pub retry_after: Option<u64>,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldError {
    /// The field, as a path with dots.
    pub field: String,
    /// What to change.
    pub message: String,
}

/// What a problem is, for programs: a code of the HTTP interface, or the code of a store's refusal.
pub struct ProblemCode;

impl utoipa::PartialSchema for ProblemCode {
    fn schema() -> RefOr<Schema> {
        let of_stores = Refusal::CODES.iter().copied();
        let codes: BTreeSet<&str> = Code::ALL.iter().map(|code| code.parts().1).chain(of_stores).collect();
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("What a problem is, for programs."))
            .enum_values(Some(codes))
            .into()
    }
}

impl utoipa::ToSchema for ProblemCode {}

/// The codes of the HTTP interface, with their status and title. What a store refuses has a code of its own ([`Refusal`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The request cannot be understood.
    InvalidRequest,
    /// No sign-in, or no valid one.
    NotSignedIn,
    /// Not allowed.
    Denied,
    /// A sign-in with the wrong address or password.
    WrongSignIn,
    /// Absent, or not visible.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// Conflicts with what is there.
    Conflict,
    /// Based on an old version.
    Stale,
    /// Too many bytes.
    TooLarge,
    /// Not JSON.
    UnsupportedMediaType,
    /// Understood, but wrong.
    Invalid,
    /// Too often.
    TooManyRequests,
    /// A fault of the server.
    Internal,
    /// Not now.
    Unavailable,
}

impl Code {
    const ALL: [Self; 14] = [
        Self::InvalidRequest,
        Self::NotSignedIn,
        Self::WrongSignIn,
        Self::Denied,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::Stale,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Invalid,
        Self::TooManyRequests,
        Self::Internal,
        Self::Unavailable,
    ];

    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::InvalidRequest => (StatusCode::BAD_REQUEST, "invalid_request", "The request cannot be read"),
            Self::NotSignedIn => (StatusCode::UNAUTHORIZED, "not_signed_in", "Not signed in"),
            Self::WrongSignIn => (StatusCode::UNAUTHORIZED, "wrong_sign_in", "Wrong email or password"),
            Self::Denied => (StatusCode::FORBIDDEN, "denied", "Not allowed"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "Not found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed"),
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "Clashes with what is there"),
            Self::Stale => (StatusCode::PRECONDITION_FAILED, "stale", "Out of date"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", "Too large"),
            Self::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Not JSON"),
            Self::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "Not valid"),
            Self::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Too many requests"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Fault of the server"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available now"),
        }
    }
}

impl Problem {
    /// A problem with its sentence.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let (status, word, title) = code.parts();
        Self {
            kind: String::new(),
            title: title.into(),
            status: status.as_u16(),
            detail: detail.into().into_owned(),
            code: String::new(),
            instance: None,
            errors: Vec::new(),
            retry_after: match code {
                Code::Unavailable => Some(2),
                _ => None,
            },
        }
        .called(word)
    }

    fn called(self, code: &str) -> Self {
        Self {
            kind: format!("https://duet.invalid/problems/{code}"),
            code: code.into(),
            ..self
        }
    }

    /// Names the field that the problem is about.
    #[must_use]
    pub fn of_field(mut self, field: &str) -> Self {
        self.errors.push(FieldError {
            field: field.into(),
            message: self.detail.clone(),
        });
        self
    }

    /// Nothing there, or nothing that this person may see.
    pub fn not_found(what: &'static str) -> Self {
        StoreError::NotFound(what).into()
    }

    /// No valid sign-in.
    pub fn not_signed_in() -> Self {
        Self::new(
            Code::NotSignedIn,
            "Sign in first, or send a valid API key or access token as `Authorization: Bearer …`.",
        )
    }

    /// A sign-in that is no longer valid.
    pub fn sign_in_expired() -> Self {
        Self::new(
            Code::NotSignedIn,
            "The access token has expired. Get another with the refresh token, or sign in again.",
        )
    }

    /// Wrong content.
    pub fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Invalid, detail)
    }

    /// Wrong content of one field.
    pub fn invalid_field(field: &str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::invalid(detail).of_field(field)
    }

    /// Too often; says when to come back.
    pub fn too_many(detail: impl Into<Cow<'static, str>>, retry_after: u64) -> Self {
        Self {
            retry_after: Some(retry_after.max(1)),
            ..Self::new(Code::TooManyRequests, detail)
        }
    }

    /// A fault that the client cannot fix.
    pub fn internal() -> Self {
        Self::new(
            Code::Internal,
            "Something went wrong in Duet. Try again; if it happens again, look for this request's id in the server's log.",
        )
    }

    /// The problem's status.
    pub fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::NotFound(_) => Code::NotFound,
            StoreError::Denied(..) => Code::Denied,
            StoreError::Conflict(_) => Code::Conflict,
            StoreError::Stale(_) => Code::Stale,
            StoreError::Invalid(Refusal::MessageLength { .. } | Refusal::MemoryLength { .. }) => Code::TooLarge,
            StoreError::Invalid(_) => Code::Invalid,
            StoreError::Unavailable(_) => Code::Unavailable,
        };
        let mut detail = error.to_string();
        if let StoreError::NotFound(_) = error {
            // "the conversation was not found" as a sentence of its own.
            if let Some(first) = detail.get(..1) {
                detail = format!("{}{}.", first.to_uppercase(), &detail[1..]);
            }
        }
        let problem = Self::new(code, detail);
        match error.refusal() {
            Some(refusal) => problem.called(refusal.code()),
            None => problem,
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        StoreError::from(refusal).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status_code();
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"duet\""));
        }
        // The request's middleware adds its id to the body: the id is known only there.
        response.extensions_mut().insert(self);
        response
    }
}

fn document(codes: &[Code]) -> BTreeMap<String, RefOr<DocumentedResponse>> {
    codes
        .iter()
        .map(|code| {
            let (status, word, title) = code.parts();
            let response = ResponseBuilder::new()
                .description(format!("{title} (`{word}`, or a more specific code)."))
                .content(PROBLEM_JSON, Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem")))))
                .build();
            (status.as_str().to_owned(), RefOr::T(response))
        })
        .collect()
}

/// The problems that any operation without sign-in can answer with.
pub struct OpenProblems;

impl utoipa::IntoResponses for OpenProblems {
    fn responses() -> BTreeMap<String, RefOr<DocumentedResponse>> {
        document(&[
            Code::InvalidRequest,
            Code::Denied,
            Code::Conflict,
            Code::TooLarge,
            Code::UnsupportedMediaType,
            Code::Invalid,
            Code::TooManyRequests,
            Code::Internal,
            Code::Unavailable,
        ])
    }
}

/// The problems of an operation that only reads.
pub struct ReadProblems;

impl utoipa::IntoResponses for ReadProblems {
    fn responses() -> BTreeMap<String, RefOr<DocumentedResponse>> {
        document(&[
            Code::InvalidRequest,
            Code::NotSignedIn,
            Code::Denied,
            Code::NotFound,
            Code::Invalid,
            Code::TooManyRequests,
            Code::Internal,
            Code::Unavailable,
        ])
    }
}

/// The problems of an operation that writes.
pub struct WriteProblems;

impl utoipa::IntoResponses for WriteProblems {
    fn responses() -> BTreeMap<String, RefOr<DocumentedResponse>> {
        document(&[
            Code::InvalidRequest,
            Code::NotSignedIn,
            Code::Denied,
            Code::NotFound,
            Code::Conflict,
            Code::Stale,
            Code::TooLarge,
            Code::UnsupportedMediaType,
            Code::Invalid,
            Code::TooManyRequests,
            Code::Internal,
            Code::Unavailable,
        ])
    }
}
