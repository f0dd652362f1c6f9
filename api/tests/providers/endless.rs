//! Providers that never come to an end: whatever they send, a call is over in bounded time and holds bounded memory.

use duet_api::models::{ProviderConfig, ProviderKind};
use duet_core::{domain::ModelFailure, ports::ModelEvent};
use futures::StreamExt as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

use super::support::{KINDS, ask, collect, model_of, text_of};

/// Says a beginning to every request, then the same again and again until nobody listens any more.
struct Endless {
    url: String,
    server: JoinHandle<()>,
}

impl Endless {
    async fn start(kind: ProviderKind, beginning: &str, again: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let version = if kind == ProviderKind::OpenAi { "/v1" } else { "" };
        let url = format!("http://{}{version}", listener.local_addr().unwrap());
        let media = match kind {
            ProviderKind::Ollama => "application/x-ndjson",
            _ => "text/event-stream",
        };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {media}\r\nconnection: close\r\n\r\n{beginning}");
        let again = again.to_owned();
        let server = tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let (head, again) = (head.clone(), again.clone());
                tokio::spawn(async move {
                    let mut request = [0; 64 * 1024];
                    let _ = connection.read(&mut request).await;
                    let mut sent = connection.write_all(head.as_bytes()).await;
                    while sent.is_ok() {
                        sent = connection.write_all(again.as_bytes()).await;
                    }
                });
            }
        });
        Self { url, server }
    }

    fn provider(&self, kind: ProviderKind) -> ProviderConfig {
        ProviderConfig {
            timeout_seconds: 1,
            idle_timeout_seconds: 1,
            ..ProviderConfig::at(kind, self.url.clone())
        }
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A piece of text as the provider sends it.
fn text(kind: ProviderKind, text: &str) -> String {
    match kind {
        ProviderKind::Anthropic => format!(
            "event: content_block_delta\ndata: {{\"type\": \"content_block_delta\", \"index\": 0, \"delta\": {{\"type\": \"text_delta\", \"text\": \"{text}\"}}}}\n\n"
        ),
        ProviderKind::OpenAi => format!("data: {{\"choices\": [{{\"delta\": {{\"content\": \"{text}\"}}}}]}}\n\n"),
        ProviderKind::Ollama => format!("{{\"message\": {{\"content\": \"{text}\"}}, \"done\": false}}\n"),
    }
}

#[tokio::test]
async fn what_says_nothing_is_not_waited_for() {
    for kind in KINDS {
        let comment = match kind {
            ProviderKind::Ollama => "\n".to_owned(),
            _ => ": still here\n\n".to_owned(),
        };
        // Comments, empty pieces, and bytes that never become a frame.
        for noise in [comment, text(kind, ""), " ".to_owned()] {
            for (beginning, setting) in [
                (String::new(), "timeout_seconds"),
                (text(kind, "Hello"), "idle_timeout_seconds"),
            ] {
                let server = Endless::start(kind, &beginning, &noise).await;
                let (events, error) = collect(&*model_of(server.provider(kind)), ask("Hi")).await;
                let error = error.expect("an end");
                let context = format!("{kind:?} {noise:?} {setting}: {}", error.message);
                // A frame of blanks may reach its greatest length before the time is over.
                let failures = [ModelFailure::TimedOut, ModelFailure::Malformed];
                assert!(
                    failures[..if noise == " " { 2 } else { 1 }].contains(&error.failure),
                    "{context}"
                );
                assert!(
                    error.failure == ModelFailure::Malformed || error.in_full().contains(&format!(".{setting}")),
                    "{context}"
                );
                assert_eq!(text_of(&events), if beginning.is_empty() { "" } else { "Hello" }, "{context}");
            }
        }
    }
}

#[tokio::test]
async fn tool_calls_without_end_are_not_gathered() {
    let part = "x".repeat(4096);
    let table = [
        (
            ProviderKind::Anthropic,
            "data: {\"type\": \"content_block_start\", \"index\": 1, \"content_block\": {\"type\": \"tool_use\", \"id\": \"t\", \"name\": \"remember\"}}\n\n".to_owned(),
            format!("data: {{\"type\": \"content_block_delta\", \"index\": 1, \"delta\": {{\"type\": \"input_json_delta\", \"partial_json\": \"{part}\"}}}}\n\n"),
        ),
        (
            ProviderKind::OpenAi,
            String::new(),
            format!("data: {{\"choices\": [{{\"delta\": {{\"tool_calls\": [{{\"index\": 0, \"function\": {{\"name\": \"remember\", \"arguments\": \"{part}\"}}}}]}}}}]}}\n\n"),
        ),
    ];
    for (kind, beginning, again) in table {
        let server = Endless::start(kind, &beginning, &again).await;
        let (events, error) = collect(&*model_of(server.provider(kind)), ask("Hi")).await;
        let error = error.expect("an end");
        assert_eq!(error.failure, ModelFailure::Limited, "{kind:?}: {}", error.message);
        assert!(
            !events.iter().any(|event| matches!(event, ModelEvent::ToolCall(_))),
            "{kind:?}"
        );
    }
}

/// Who reads decides when it is enough: dropping the stream ends the call.
#[tokio::test]
async fn text_without_end_comes_as_it_is_read() {
    for kind in KINDS {
        let server = Endless::start(kind, "", &text(kind, "word ")).await;
        let mut stream = model_of(server.provider(kind)).stream(ask("Hi")).await.unwrap();
        for _ in 0..1_000 {
            assert_eq!(stream.next().await.unwrap().unwrap(), ModelEvent::Text("word ".into()));
        }
    }
}
