//! What goes wrong at a provider (BARS 22): the right kind of failure, one sentence that says what to do, and nothing of
//! the prompt, the reply, the key or the provider's own words in it.

use std::time::Duration;

use duet_api::{
    models::{ProviderConfig, ProviderKind},
    secret::SecretPointer,
    testing::{Fault, Scripted, ScriptedModel},
};
use duet_core::{
    domain::ModelFailure,
    ports::{ModelError, ModelEvent},
};
use serde_json::json;

use super::support::{KINDS, ask, collect, model, model_of, models, text_of};

fn check(error: &ModelError, failure: ModelFailure, context: &str) {
    assert_eq!(error.failure, failure, "{context}: {}", error.message);
    assert!(
        error.message.ends_with('.') && error.message.len() < 400,
        "{context}: {}",
        error.message
    );
    for secret in ["CANARY", "canary", "You are Duet", "PROMPT"] {
        assert!(!error.in_full().contains(secret), "{context}: {}", error.in_full());
    }
    // Whoever chats may not be the one who can edit the settings.
    for setting in ["`", "http://", "models.providers", "api_key", "base_url", "timeout_seconds"] {
        assert!(!error.message.contains(setting), "{context}: {}", error.message);
    }
}

#[tokio::test]
async fn statuses_become_kinds_of_failure() {
    let server = ScriptedModel::start().await.unwrap();
    let table = [
        (400, ModelFailure::Rejected),
        (401, ModelFailure::Unauthorized),
        (403, ModelFailure::Unauthorized),
        (404, ModelFailure::UnknownModel),
        (408, ModelFailure::TimedOut),
        (413, ModelFailure::Rejected),
        (429, ModelFailure::Busy),
        (500, ModelFailure::Unreachable),
        (502, ModelFailure::Unreachable),
        (503, ModelFailure::Busy),
        (504, ModelFailure::TimedOut),
        (529, ModelFailure::Busy),
        (307, ModelFailure::Rejected),
    ];
    for kind in KINDS {
        for (status, failure) in table {
            server.push(Scripted::status(status));
            let (events, error) = collect(&*model(&server, kind), ask("PROMPT")).await;
            assert!(events.is_empty());
            let error = error.unwrap();
            check(&error, failure, &format!("{kind:?} {status}"));
            assert!(error.message.contains(&format!("HTTP {status}")), "{}", error.message);
        }
    }
}

#[tokio::test]
async fn the_wait_that_a_provider_asks_for_is_passed_on() {
    let server = ScriptedModel::start().await.unwrap();
    for kind in KINDS {
        for (status, asked, millis) in [(429, "3", Some(3_000)), (529, "0.25", Some(250)), (503, "nonsense", None)] {
            server.push(Scripted::text([""; 0]).fault(Fault::Status {
                status,
                retry_after: Some(asked.into()),
                body: None,
            }));
            let error = collect(&*model(&server, kind), ask("Hi")).await.1.unwrap();
            assert_eq!(
                (error.failure, error.retry_after_ms),
                (ModelFailure::Busy, millis),
                "{kind:?} {status}"
            );
        }
    }
}

#[tokio::test]
async fn what_the_body_says_decides_between_refusals() {
    let server = ScriptedModel::start().await.unwrap();
    let table = [
        (
            400,
            json!({"error": {"code": "context_length_exceeded", "message": "CANARY"}}),
            ModelFailure::Rejected,
            "too long",
        ),
        (
            400,
            json!({"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: CANARY"}}),
            ModelFailure::Rejected,
            "too long",
        ),
        (
            429,
            json!({"error": {"code": "insufficient_quota", "message": "CANARY"}}),
            ModelFailure::Rejected,
            "no credit",
        ),
        (
            400,
            json!({"error": {"code": "model_not_found", "message": "CANARY"}}),
            ModelFailure::UnknownModel,
            "does not know the model scripted",
        ),
    ];
    for (status, body, failure, words) in table {
        server.push(Scripted::text([""; 0]).fault(Fault::Status {
            status,
            retry_after: None,
            body: Some(body),
        }));
        let error = collect(&*model(&server, ProviderKind::OpenAi), ask("PROMPT"))
            .await
            .1
            .unwrap();
        check(&error, failure, words);
        assert!(error.message.contains(words), "{}", error.message);
    }
    server.push(Scripted::status(404));
    let error = collect(&*model(&server, ProviderKind::Ollama), ask("PROMPT"))
        .await
        .1
        .unwrap();
    assert!(error.in_full().contains("ollama pull scripted"), "{}", error.in_full());
}

#[tokio::test]
async fn broken_streams_fail_after_what_did_arrive() {
    let server = ScriptedModel::start().await.unwrap();
    let after = 2;
    let table = [
        (Fault::Stall { after }, ModelFailure::TimedOut),
        (Fault::Cut { after }, ModelFailure::Unreachable),
        (Fault::EndEarly { after }, ModelFailure::Malformed),
        (Fault::MalformedJson { after }, ModelFailure::Malformed),
        (Fault::Garbage { after }, ModelFailure::Malformed),
    ];
    for kind in KINDS {
        for (fault, failure) in &table {
            for chunk_bytes in [None, Some(3)] {
                let script = Scripted::text(["CANARY ", "two ", "three"]).fault(fault.clone());
                server.push(Scripted { chunk_bytes, ..script });
                let (events, error) = collect(&*model(&server, kind), ask("PROMPT")).await;
                let context = format!("{kind:?} {fault:?} {chunk_bytes:?}");
                check(&error.unwrap(), *failure, &context);
                assert_eq!(text_of(&events), "CANARY two ", "{context}");
                assert!(!events.iter().any(|event| matches!(event, ModelEvent::Stop(_))), "{context}");
            }
        }
    }
}

#[tokio::test]
async fn frames_without_end_are_given_up() {
    let server = ScriptedModel::start().await.unwrap();
    for kind in KINDS {
        server.push(Scripted::text(["x"]).fault(Fault::GiantLine { bytes: 5 * 1024 * 1024 }));
        let error = collect(&*model(&server, kind), ask("PROMPT")).await.1.unwrap();
        check(&error, ModelFailure::Malformed, &format!("{kind:?}"));
    }
}

#[tokio::test]
async fn errors_inside_a_stream_are_read() {
    let server = ScriptedModel::start().await.unwrap();
    let table = [
        (ProviderKind::Anthropic, "overloaded_error", ModelFailure::Busy),
        (ProviderKind::Anthropic, "api_error", ModelFailure::Unreachable),
        (ProviderKind::Anthropic, "invalid_request_error", ModelFailure::Rejected),
        (ProviderKind::OpenAi, "server_error", ModelFailure::Unreachable),
        (ProviderKind::OpenAi, "rate_limit_exceeded", ModelFailure::Busy),
        (ProviderKind::Ollama, "x", ModelFailure::Unreachable),
    ];
    for (provider, kind, failure) in table {
        server.push(Scripted::text(["one ", "two"]).fault(Fault::ErrorInStream { after: 1, kind }));
        let (events, error) = collect(&*model(&server, provider), ask("PROMPT")).await;
        check(&error.unwrap(), failure, kind);
        assert_eq!(text_of(&events), "one ");
    }
}

#[tokio::test]
async fn a_web_page_is_no_model() {
    let server = ScriptedModel::start().await.unwrap();
    for kind in KINDS {
        server.push(Scripted::text(["x"]).fault(Fault::ContentType("text/html; charset=utf-8")));
        let error = collect(&*model(&server, kind), ask("PROMPT")).await.1.unwrap();
        check(&error, ModelFailure::Malformed, &format!("{kind:?}"));
        assert!(
            error.message.contains("web page") && error.in_full().contains("models.providers.test.base_url"),
            "{}",
            error.message
        );
    }
}

#[tokio::test]
async fn a_slow_first_byte_is_waited_for_only_so_long() {
    let server = ScriptedModel::start().await.unwrap();
    for kind in KINDS {
        let impatient = ProviderConfig {
            timeout_seconds: 1,
            ..server.provider(kind)
        };
        server.push(Scripted::text(["late"]).after(Duration::from_secs(300)));
        let error = collect(&*model_of(impatient), ask("PROMPT")).await.1.unwrap();
        check(&error, ModelFailure::TimedOut, &format!("{kind:?}"));
        assert!(
            error.in_full().contains("models.providers.test.timeout_seconds"),
            "{}",
            error.message
        );
        server.push(Scripted::text(["in time"]).after(Duration::from_millis(300)));
        let (events, error) = collect(&*model(&server, kind), ask("Hi")).await;
        assert_eq!((text_of(&events).as_str(), error), ("in time", None));
    }
}

#[tokio::test]
async fn nobody_there() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for kind in KINDS {
        let error = collect(&*model_of(ProviderConfig::at(kind, format!("http://{free}"))), ask("PROMPT"))
            .await
            .1
            .unwrap();
        check(&error, ModelFailure::Unreachable, &format!("{kind:?}"));
        assert!(
            error.message.starts_with("Could not reach test") && error.in_full().contains(&format!("http://{free}")),
            "{}",
            error.in_full()
        );
        assert!(error.message.contains("Check that it is running."), "{}", error.message);
    }
}

#[tokio::test]
async fn keys_are_sent_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "key-canary\n").unwrap();
    let server = ScriptedModel::start().await.unwrap();
    server.require_key("key-canary");
    for kind in KINDS {
        let without = collect(&*model(&server, kind), ask("PROMPT")).await.1.unwrap();
        check(&without, ModelFailure::Unauthorized, &format!("{kind:?}"));
        let provider = ProviderConfig {
            api_key: Some(SecretPointer::File(key.clone())),
            ..server.provider(kind)
        };
        let (events, error) = collect(&*model_of(provider.clone()), ask("Hi")).await;
        assert_eq!((text_of(&events).is_empty(), error), (false, None), "{kind:?}");
        // The key is read again for each call: a new one counts at once.
        std::fs::write(&key, "wrong-canary").unwrap();
        let wrong = collect(&*model_of(provider.clone()), ask("PROMPT")).await.1.unwrap();
        check(&wrong, ModelFailure::Unauthorized, &format!("{kind:?}"));
        assert!(
            wrong.in_full().contains("file:") && wrong.in_full().contains("models.providers.test.api_key"),
            "{}",
            wrong.in_full()
        );
        std::fs::write(&key, "bad\ncanary").unwrap();
        let unsendable = collect(&*model_of(provider), ask("PROMPT")).await.1.unwrap();
        check(&unsendable, ModelFailure::Unauthorized, &format!("{kind:?}"));
        std::fs::write(&key, "key-canary\n").unwrap();
    }
}

#[tokio::test]
async fn a_check_says_how_things_stand() {
    let server = ScriptedModel::start().await.unwrap();
    server.models(&["scripted:latest", "scripted", "claude-x-20260101"]);
    for kind in KINDS {
        let models = models(server.provider(kind));
        let sentence = models.check(&"test/scripted".parse().unwrap()).await.unwrap();
        assert!(sentence.contains("`test/scripted` is there"), "{sentence}");
        assert!(models.check(&"test/claude-x".parse().unwrap()).await.is_ok());
        let missing = models.check(&"test/other".parse().unwrap()).await.unwrap_err();
        check(&missing, ModelFailure::UnknownModel, "missing");
        assert!(
            models
                .check(&"offline/rules".parse().unwrap())
                .await
                .unwrap()
                .contains("built-in fallback")
        );
    }
    server.require_key("k");
    let error = models(server.provider(ProviderKind::OpenAi))
        .check(&"test/scripted".parse().unwrap())
        .await
        .unwrap_err();
    check(&error, ModelFailure::Unauthorized, "key");
}
