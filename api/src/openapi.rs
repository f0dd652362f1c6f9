//! The description of the interface, generated from the handlers themselves.

use utoipa::{
    Modify, OpenApi,
    openapi::{
        Ref, RefOr, Schema,
        schema::Discriminator,
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
    },
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
    components(schemas(Problem, duet_core::domain::InboxKind)),
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
        (name = "inbox", description = "What waits for a person's decision"),
        (name = "policy", description = "What agents may do, and what is asked first"),
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
            Some("For programs: an API key (`duet_…`), an access token or the sign-in of a device (`device_…`). Never together with the cookie.".into());
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// The whole description.
pub fn document() -> utoipa::openapi::OpenApi {
    let (_, mut document) = routes::all().split_for_parts();
    document.info.version = env!("CARGO_PKG_VERSION").into();
    name_variants(&mut document, "AguiEvent", "type");
    document
}

/// Gives each variant of a tagged union a schema of its own, and the union a discriminator, which can only point to named schemas.
fn name_variants(document: &mut utoipa::openapi::OpenApi, union: &str, tag: &str) {
    let schemas = &mut document.components.get_or_insert_default().schemas;
    let Some(RefOr::T(Schema::OneOf(mut variants))) = schemas.remove(union) else {
        return;
    };
    let mut discriminator = Discriminator::new(tag);
    for variant in &mut variants.items {
        let Some(word) = word_of(variant, tag) else { continue };
        let name = format!("{}Event", pascal_case(&word));
        let reference = Ref::from_schema_name(&name);
        discriminator.mapping.insert(word, reference.ref_location.clone());
        schemas.insert(name, std::mem::replace(variant, reference.into()));
    }
    variants.discriminator = Some(discriminator);
    schemas.insert(union.to_owned(), Schema::OneOf(variants).into());
}

/// The word that tells a variant apart from the others.
fn word_of(variant: &RefOr<Schema>, tag: &str) -> Option<String> {
    match variant {
        RefOr::T(Schema::Object(object)) => match object.properties.get(tag)? {
            RefOr::T(Schema::Object(tag)) => tag.enum_values.as_ref()?.first()?.as_str().map(str::to_owned),
            _ => None,
        },
        RefOr::T(Schema::AllOf(parts)) => parts.items.iter().find_map(|part| word_of(part, tag)),
        _ => None,
    }
}

/// `RUN_STARTED` as `RunStarted`.
fn pascal_case(word: &str) -> String {
    let mut name = String::with_capacity(word.len());
    for part in word.split('_') {
        let (first, rest) = part.split_at(part.len().min(1));
        name.push_str(&first.to_uppercase());
        name.push_str(&rest.to_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_of_a_stream_has_a_named_schema() {
        let document = serde_json::to_value(document()).unwrap();
        let schemas = &document["components"]["schemas"];
        let union = &schemas["AguiEvent"];
        assert_eq!(union["discriminator"]["propertyName"], "type");
        let mapping = union["discriminator"]["mapping"].as_object().unwrap();
        assert_eq!(mapping["RUN_STARTED"], "#/components/schemas/RunStartedEvent");
        let variants: Vec<_> = union["oneOf"].as_array().unwrap().iter().map(|one| &one["$ref"]).collect();
        assert!(mapping.values().all(|schema| variants.contains(&schema)));
        assert_eq!(mapping.len(), variants.len());
    }
}
