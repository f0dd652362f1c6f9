//! The description of the interface, generated from the handlers themselves.

use utoipa::{
    Modify, OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
};

use crate::{error::Problem, routes};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Duet",
        description = "The companion that remembers. How sign-in, errors, pages and streams work together: docs/api.md.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    servers((url = "/", description = "The server that this description comes from")),
    components(schemas(Problem)),
    modifiers(&Security),
    security(("session" = []), ("bearer" = [])),
    tags(
        (name = "setup", description = "What this server is, and its first owner"),
        (name = "auth", description = "Signing in and out"),
        (name = "workspaces", description = "Workspaces and their members"),
        (name = "invitations", description = "How people come into a workspace"),
        (name = "agents", description = "Agents and the soul they share"),
        (name = "conversations", description = "Conversations and messages"),
        (name = "runs", description = "Turns at work, and their events"),
        (name = "memories", description = "What is remembered"),
        (name = "notices", description = "What people are told, and decide on"),
        (name = "keys", description = "API keys"),
        (name = "audit", description = "Who did what"),
        (name = "operations", description = "For operators"),
    )
)]
pub(crate) struct Document;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let cookie = ApiKeyValue::with_description(
            "duet_session",
            "For browsers. Writes also need `X-Duet-CSRF: 1` and an `Origin` of this server. Under TLS the cookie is called `__Host-duet_session`.",
        );
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
        let mut bearer = Http::new(HttpAuthScheme::Bearer);
        bearer.description =
            Some("For programs: an API key (`duet_…`) or an access token. Never together with the cookie.".into());
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// The whole description.
pub fn document() -> utoipa::openapi::OpenApi {
    let (_, mut document) = routes::all().split_for_parts();
    document.info.version = env!("CARGO_PKG_VERSION").into();
    document
}
