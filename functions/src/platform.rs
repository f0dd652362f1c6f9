//! Between the platform's events and the router: the client's address, the requested host, and the time limit of an answer.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Method, Request, Response, Uri, header, uri::PathAndQuery},
    response::IntoResponse,
};
use duet_api::{
    error::{Code, Problem},
    events::follow::Pace,
};
use duet_core::Timestamp;
use lambda_http::{
    Context, RequestExt,
    request::RequestContext,
    tower::{Service, ServiceExt, service_fn},
};

use crate::app::{App, Role};

/// The duration of a stream that reaches the client only at its end: it returns what has happened until then, and the client asks for
/// the rest.
const WHOLE: Duration = Duration::from_secs(2);
/// Maximum duration of a stream. The platform's limit is 15 minutes.
const LONGEST: Duration = Duration::from_secs(14 * 60);
/// How long before the platform's limit a stream ends on its own.
const MARGIN: Duration = Duration::from_secs(5);
/// How often the log is polled without hints.
const POLL: Duration = Duration::from_millis(200);

/// The function, as the platform calls it.
pub fn service(
    app: App,
) -> impl Service<lambda_http::Request, Response = Response<Body>, Error = Infallible, Future: Send> + Clone {
    let app = Arc::new(app);
    service_fn(move |request: lambda_http::Request| {
        let app = Arc::clone(&app);
        async move { Ok(answer(&app, request).await) }
    })
}

async fn answer(app: &App, request: lambda_http::Request) -> Response<Body> {
    if let Some(problem) = misplaced(app.role, request.method(), request.uri().path()) {
        return problem.into_response();
    }
    let ready = match app.ready().await {
        Ok(ready) => ready,
        Err(failure) => {
            tracing::error!(reason = %failure, "not ready");
            return Problem::new(
                Code::Unavailable,
                "Duet cannot reach what it needs. Try again; its operator finds the reason in this function's log.",
            )
            .into_response();
        }
    };
    let now = ready.state.env().now();
    let request = request_of_platform(request, now, app.role);
    match ready.router.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// The refusal of a request that came to the wrong one of the two addresses. Writes need no stream, except the one that is answered
/// with a run's events: its client cannot ask for the rest.
fn misplaced(role: Role, method: &Method, path: &str) -> Option<Problem> {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let runs = *method == Method::POST && path.ends_with("/agui");
    match role {
        Role::Stream if !reads && !runs => Some(Problem::new(
            Code::MethodNotAllowed,
            "This address only reads and runs AG-UI turns. Send other writes to the address of the function `api`.",
        )),
        Role::Api if runs => Some(Problem::new(
            Code::MethodNotAllowed,
            "This address cannot stream. Send AG-UI turns to the address of the function `stream`.",
        )),
        _ => None,
    }
}

/// The request, as the router expects it.
fn request_of_platform(request: lambda_http::Request, now: Timestamp, role: Role) -> Request<lambda_http::Body> {
    let pace = pace(role, request.lambda_context_ref(), now);
    let client = request.request_context_ref().and_then(source);
    let (mut parts, body) = request.into_parts();
    // The platform has found this function by the requested host, so that it proves nothing. Pages of other sites are recognised by
    // their `Origin`, which has to be configured.
    parts.headers.remove(header::HOST);
    parts.uri = parts
        .uri
        .path_and_query()
        .map_or_else(Uri::default, |path: &PathAndQuery| path.clone().into());
    parts.extensions.insert(pace);
    // As for a connection: the caller according to the platform. It is never this machine.
    parts.extensions.remove::<ConnectInfo<SocketAddr>>();
    if let Some(address) = client.filter(|address| !address.is_loopback()) {
        parts.extensions.insert(ConnectInfo(SocketAddr::new(address, 0)));
    }
    Request::from_parts(parts, body)
}

/// The client's address, as seen by the platform.
fn source(context: &RequestContext) -> Option<IpAddr> {
    let RequestContext::ApiGatewayV2(context) = context else {
        return None;
    };
    context.http.source_ip.as_deref()?.parse().ok()
}

fn pace(role: Role, context: Option<&Context>, now: Timestamp) -> Pace {
    let longest = match role {
        Role::Stream => LONGEST,
        Role::Api | Role::Worker => WHOLE,
    };
    let left = context.and_then(|context| left_until(context.deadline, now));
    Pace {
        poll: POLL,
        longest: Some(left.map_or(longest, |left| left.saturating_sub(MARGIN).min(longest))),
        ..Pace::default()
    }
}

/// The time until a deadline in milliseconds since 1970. `None` without a real deadline: emulators send 0 or a few minutes after
/// 1970.
pub fn left_until(deadline: u64, now: Timestamp) -> Option<Duration> {
    const BEFORE_ANY_FUNCTION: u64 = 1_000_000_000_000;
    if deadline < BEFORE_ANY_FUNCTION {
        return None;
    }
    let now = u64::try_from(now.millis()).unwrap_or(0);
    Some(Duration::from_millis(deadline.saturating_sub(now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    /// A function URL's event, as the platform sends it, from this address.
    fn event(source: &str) -> lambda_http::Request {
        let event = serde_json::json!({
            "version": "2.0", "routeKey": "$default", "rawPath": "/v1/config", "rawQueryString": "a=1",
            "headers": {"host": "x.lambda-url.eu-central-1.on.aws", "x-forwarded-for": "192.0.2.7, 198.51.100.4"},
            "requestContext": {
                "accountId": "anonymous", "apiId": "x", "domainName": "x.lambda-url.eu-central-1.on.aws", "domainPrefix": "x",
                "http": {"method": "GET", "path": "/v1/config", "protocol": "HTTP/1.1", "sourceIp": source, "userAgent": "test"},
                "requestId": "id", "routeKey": "$default", "stage": "$default", "time": "21/Nov/2026:00:00:00 +0000", "timeEpoch": 1
            },
            "isBase64Encoded": false
        });
        lambda_http::request::from_str(&event.to_string()).unwrap()
    }

    fn context(deadline: u64) -> Context {
        let mut context = Context::default();
        context.deadline = deadline;
        context
    }

    #[test]
    fn writes_go_to_the_address_that_can_answer_them() {
        let (get, post) = (Method::GET, Method::POST);
        let agui = "/v1/workspaces/w/conversations/c/agui";
        let messages = "/v1/workspaces/w/conversations/c/messages";
        let refused = |role, method, path| misplaced(role, method, path).is_some();
        assert!(!refused(Role::Stream, &post, agui) && refused(Role::Api, &post, agui));
        assert!(refused(Role::Stream, &post, messages) && !refused(Role::Api, &post, messages));
        assert!(!refused(Role::Stream, &get, messages) && !refused(Role::Api, &get, messages));
    }

    #[test]
    fn the_client_is_whom_the_platform_names_and_never_this_machine() {
        let request = request_of_platform(event("203.0.113.9"), NOW, Role::Api);
        let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>().unwrap();
        assert_eq!(peer.ip().to_string(), "203.0.113.9");
        assert!(!request.headers().contains_key("host"));
        assert_eq!(request.uri().to_string(), "/v1/config?a=1");
        for nobody in ["127.0.0.1", "::1", "nonsense"] {
            let request = request_of_platform(event(nobody), NOW, Role::Api);
            assert!(request.extensions().get::<ConnectInfo<SocketAddr>>().is_none(), "{nobody}");
        }
    }

    #[test]
    fn a_stream_ends_before_its_time_and_a_buffered_one_soon() {
        let at = |millis: u64| context(1_800_000_000_000 + millis);
        let longest = |role, context: Option<&Context>| pace(role, context, NOW).longest.unwrap();
        assert_eq!(longest(Role::Stream, Some(&at(12_000))), Duration::from_secs(7));
        assert_eq!(longest(Role::Stream, Some(&at(900_000))), LONGEST);
        assert_eq!(longest(Role::Stream, Some(&at(3_000))), Duration::ZERO);
        assert_eq!(
            longest(Role::Stream, Some(&context(600_000))),
            LONGEST,
            "an emulator's deadline is none"
        );
        assert_eq!(longest(Role::Stream, None), LONGEST);
        assert_eq!(longest(Role::Api, Some(&at(30_000))), WHOLE);
        assert_eq!(
            left_until(1_700_000_000_000, NOW),
            Some(Duration::ZERO),
            "a deadline that has passed leaves nothing"
        );
    }
}
