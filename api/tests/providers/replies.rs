//! What comes back: text, tool calls, usage and ends, in every way that bytes can be cut.

use duet_api::{
    models::ProviderKind,
    testing::{Scripted, ScriptedModel},
};
use duet_core::{
    domain::{StopReason, ToolCall, Usage},
    ports::ModelEvent,
};
use serde_json::json;

use super::support::{KINDS, ask, collect, model, text_of};

fn usage_of(events: &[ModelEvent]) -> Usage {
    let last = events.iter().rev().find_map(|event| match event {
        ModelEvent::Usage(usage) => Some(*usage),
        _ => None,
    });
    last.unwrap_or_default()
}

fn calls_of(events: &[ModelEvent]) -> Vec<ToolCall> {
    let calls = events.iter().filter_map(|event| match event {
        ModelEvent::ToolCall(call) => Some(call.clone()),
        _ => None,
    });
    calls.collect()
}

#[tokio::test]
async fn text_calls_usage_and_stop_arrive_however_the_bytes_are_cut() {
    let server = ScriptedModel::start().await.unwrap();
    let arguments = json!({"query": "le prénom d’Ana – 名前", "limit": 3});
    for kind in KINDS {
        let model = model(&server, kind);
        for shape in 0..6 {
            let script = Scripted::text(["Grüße ", "aus 東京 ", "🙂\nzweite Zeile"]).call("call_0", "recall", arguments.clone());
            server.push(match shape {
                0 => script,
                1 => script.crlf(),
                2 => script.chunk_bytes(1),
                3 => script.chunk_bytes(7).crlf(),
                4 => script.chunk_bytes(4096),
                _ => script.pause(std::time::Duration::from_millis(5)),
            });
            let (events, error) = collect(&*model, ask("Hi")).await;
            assert_eq!(error, None, "{kind:?} {shape}");
            assert_eq!(text_of(&events), "Grüße aus 東京 🙂\nzweite Zeile", "{kind:?} {shape}");
            let call = ToolCall {
                id: "call_0".into(),
                name: "recall".into(),
                arguments: arguments.clone(),
            };
            assert_eq!(calls_of(&events), [call], "{kind:?} {shape}");
            assert_eq!(
                (usage_of(&events).input_tokens, usage_of(&events).output_tokens),
                (100, 20),
                "{kind:?} {shape}"
            );
            assert_eq!(
                events.last(),
                Some(&ModelEvent::Stop(StopReason::ToolUse)),
                "{kind:?} {shape}"
            );
        }
    }
}

#[tokio::test]
async fn stop_reasons_are_told_apart() {
    let server = ScriptedModel::start().await.unwrap();
    for kind in KINDS {
        let mut reasons = vec![StopReason::End, StopReason::Length];
        if kind != ProviderKind::Ollama {
            reasons.push(StopReason::Filtered);
        }
        for reason in reasons {
            server.push(Scripted::text(["x"]).stop(reason));
            let (events, _) = collect(&*model(&server, kind), ask("Hi")).await;
            assert_eq!(events.last(), Some(&ModelEvent::Stop(reason)), "{kind:?}");
        }
    }
}

#[tokio::test]
async fn an_empty_reply_is_a_reply() {
    let server = ScriptedModel::start().await.unwrap();
    for kind in KINDS {
        server.push(Scripted::text(Vec::<String>::new()));
        let (events, error) = collect(&*model(&server, kind), ask("Hi")).await;
        assert_eq!((text_of(&events).as_str(), error), ("", None), "{kind:?}");
    }
}

#[tokio::test]
async fn cached_tokens_are_within_the_input() {
    let server = ScriptedModel::start().await.unwrap();
    let usage = Usage {
        input_tokens: 1_000,
        output_tokens: 7,
        cached_input_tokens: 600,
        cache_write_tokens: 300,
    };
    server.push(Scripted::text(["x"]).usage(usage));
    let (events, _) = collect(&*model(&server, ProviderKind::Anthropic), ask("Hi")).await;
    assert_eq!(usage_of(&events), usage);
    server.push(Scripted::text(["x"]).usage(usage));
    let (events, _) = collect(&*model(&server, ProviderKind::OpenAi), ask("Hi")).await;
    assert_eq!(
        usage_of(&events),
        Usage {
            cache_write_tokens: 0,
            ..usage
        }
    );
}

#[tokio::test]
async fn answers_as_documented_by_the_providers() {
    let server = ScriptedModel::start().await.unwrap();
    let call = |id: &str, name: &str, arguments| ToolCall {
        id: id.into(),
        name: name.into(),
        arguments,
    };
    let table = [
        (
            ProviderKind::Anthropic,
            (
                "text/event-stream; charset=utf-8",
                include_str!("fixtures/anthropic_tool_use.sse"),
            ),
            "Okay, let me look: ",
            vec![
                call("toolu_01T1x1fJ34qAmk2tNTrN7Up6", "recall", json!({"query": "the dog’s name"})),
                call("toolu_02", "now", json!({})),
            ],
            (1_672, 89, 200, 1_000),
        ),
        (
            ProviderKind::OpenAi,
            ("text/event-stream", include_str!("fixtures/openai_tool_calls.sse")),
            "Hold on. ",
            vec![
                call("call_a", "recall", json!({"query": "dog"})),
                call("call_b", "remember", json!({"text": "x", "kind": "fact"})),
            ],
            (2_006, 300, 1_920, 0),
        ),
        (
            // No usage, no id, arguments as an object, no [DONE], no last empty line, and no content type to speak of.
            ProviderKind::OpenAi,
            ("application/octet-stream", include_str!("fixtures/openai_sparse_server.sse")),
            "Short and plain.",
            vec![call("call_0", "recall", json!({"query": "dog"}))],
            (0, 0, 0, 0),
        ),
        (
            ProviderKind::OpenAi,
            ("application/json", include_str!("fixtures/openai_not_streaming.json")),
            "All at once.",
            vec![],
            (9, 4, 0, 0),
        ),
        (
            ProviderKind::Ollama,
            ("application/x-ndjson", include_str!("fixtures/ollama_tool_calls.ndjson")),
            "One moment.",
            vec![
                call("call_0", "recall", json!({"query": "dog"})),
                call("call_1", "now", json!({})),
            ],
            (169, 15, 0, 0),
        ),
    ];
    for (kind, (content_type, body), text, calls, (input, output, cached, written)) in table {
        server.push(Scripted::raw(content_type, body).chunk_bytes(11));
        let (events, error) = collect(&*model(&server, kind), ask("Hi")).await;
        assert_eq!(error, None, "{kind:?} {text}");
        assert_eq!(text_of(&events), text);
        assert_eq!(calls_of(&events), calls);
        let usage = Usage {
            input_tokens: input,
            output_tokens: output,
            cached_input_tokens: cached,
            cache_write_tokens: written,
        };
        assert_eq!(usage_of(&events), usage, "{kind:?} {text}");
        let stop = if calls.is_empty() {
            StopReason::End
        } else {
            StopReason::ToolUse
        };
        assert_eq!(events.last(), Some(&ModelEvent::Stop(stop)), "{kind:?} {text}");
    }
}

#[tokio::test]
async fn arguments_that_are_no_json_are_kept_for_the_registry_to_refuse() {
    let server = ScriptedModel::start().await.unwrap();
    let broken = r#"data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"recall","arguments":"{\"query\": dog"}}]},"finish_reason":"tool_calls"}]}

data: [DONE]

"#;
    server.push(Scripted::raw("text/event-stream", broken));
    let (events, _) = collect(&*model(&server, ProviderKind::OpenAi), ask("Hi")).await;
    assert_eq!(calls_of(&events)[0].arguments, json!("{\"query\": dog"));
}

#[tokio::test]
async fn dropping_a_reply_ends_the_call_and_the_next_one_works() {
    use futures::StreamExt as _;
    let server = ScriptedModel::start().await.unwrap();
    for kind in KINDS {
        let model = model(&server, kind);
        server.push(Scripted::throughput(1_000, std::time::Duration::from_millis(10)));
        let mut stream = model.stream(ask("Hi")).await.unwrap();
        stream.next().await.unwrap().unwrap();
        drop(stream);
        server.push(Scripted::text(["again"]));
        assert_eq!(text_of(&collect(&*model, ask("Hi")).await.0), "again", "{kind:?}");
    }
}
