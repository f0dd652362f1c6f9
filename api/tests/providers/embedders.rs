//! Embedders behind HTTP: batches, checks, failures.

use std::sync::Arc;

use duet_api::{
    embedders::{self, EmbedderConfig, EmbedderKind},
    http,
    testing::{EmbedFault, ScriptedModel},
};
use duet_core::{
    domain::Locality,
    ports::{EmbedError, EmbedPurpose, Embedder},
};

const KINDS: [EmbedderKind; 2] = [EmbedderKind::OpenAi, EmbedderKind::Ollama];

fn config(server: &ScriptedModel, kind: EmbedderKind) -> EmbedderConfig {
    let url = if kind == EmbedderKind::OpenAi {
        format!("{}/v1", server.url())
    } else {
        server.url()
    };
    EmbedderConfig {
        kind,
        model: Some("scripted".into()),
        dimensions: Some(8),
        base_url: Some(url),
        timeout_seconds: Some(5),
        ..EmbedderConfig::default()
    }
}

fn embedder(config: &EmbedderConfig) -> Arc<dyn Embedder> {
    embedders::from_config(config, http::client().unwrap()).unwrap()
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("Text number {at} about something.")).collect()
}

#[tokio::test]
async fn texts_come_back_in_order_as_unit_vectors_in_batches() {
    for kind in KINDS {
        let server = ScriptedModel::start().await.unwrap();
        let one_by_one = embedder(&EmbedderConfig {
            batch: Some(1),
            ..config(&server, kind)
        });
        let in_batches = embedder(&EmbedderConfig {
            batch: Some(3),
            ..config(&server, kind)
        });
        let single = one_by_one.embed(EmbedPurpose::Document, &texts(7)).await.unwrap();
        let before = server.requests().len();
        assert_eq!(before, 7);
        if kind == EmbedderKind::OpenAi {
            server.push_embed_fault(EmbedFault::Reversed);
        }
        let batched = in_batches.embed(EmbedPurpose::Document, &texts(7)).await.unwrap();
        assert_eq!(server.requests().len() - before, 3);
        assert_eq!(single, batched);
        for embedding in &batched {
            assert_eq!((embedding.model.dimensions, embedding.vector.len()), (8, 8));
            let norm: f32 = embedding.vector.iter().map(|x| x * x).sum();
            assert!((norm - 1.0).abs() < 1e-5);
        }
        assert_eq!(in_batches.locality(), Locality::Local);
        assert!(in_batches.embed(EmbedPurpose::Query, &[]).await.unwrap().is_empty());
        assert!(embedders::check(&*in_batches).await.unwrap().contains("8 dimensions"));
    }
}

#[tokio::test]
async fn prefixes_and_empty_texts() {
    for kind in KINDS {
        let server = ScriptedModel::start().await.unwrap();
        let embedder = embedder(&EmbedderConfig {
            document_prefix: "search_document: ".into(),
            query_prefix: "search_query: ".into(),
            ..config(&server, kind)
        });
        embedder
            .embed(EmbedPurpose::Document, &["a".into(), String::new()])
            .await
            .unwrap();
        embedder.embed(EmbedPurpose::Query, &["a".into()]).await.unwrap();
        let sent: Vec<_> = server
            .requests()
            .into_iter()
            .map(|request| request.body["input"].clone())
            .collect();
        assert_eq!(sent[0][0], "search_document: a");
        assert_eq!(sent[1][0], "search_query: a");
        let plain = embedders::from_config(&config(&server, kind), http::client().unwrap()).unwrap();
        assert_eq!(plain.embed(EmbedPurpose::Document, &[String::new()]).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_is_no_embedding_is_refused() {
    let table = [
        (EmbedFault::TooFew, "1 vectors for 2 texts"),
        (EmbedFault::WrongDimensions, "embedder.dimensions"),
        (EmbedFault::Zero, "without a direction"),
        (EmbedFault::Malformed, "no list of embeddings"),
        (EmbedFault::Status(401), "refused Duet's key"),
        (EmbedFault::Status(404), "does not know the model scripted"),
        (EmbedFault::Status(400), "refused the request"),
    ];
    for kind in KINDS {
        let server = ScriptedModel::start().await.unwrap();
        let embedder = embedder(&config(&server, kind));
        for (fault, words) in table {
            server.push_embed_fault(fault);
            match embedder.embed(EmbedPurpose::Document, &texts(2)).await {
                Err(EmbedError::Misconfigured(message)) => {
                    assert!(message.contains(words) && !message.contains("CANARY"), "{fault:?}: {message}")
                }
                other => panic!("{kind:?} {fault:?}: {other:?}"),
            }
        }
        for status in [429, 500, 503, 529] {
            server.push_embed_fault(EmbedFault::Status(status));
            let result = embedder.embed(EmbedPurpose::Document, &texts(2)).await;
            assert!(matches!(result, Err(EmbedError::Unavailable(_))), "{status}: {result:?}");
        }
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = ScriptedModel::start().await.unwrap();
    let gone = EmbedderConfig {
        base_url: Some(format!("http://{free}")),
        ..config(&server, EmbedderKind::Ollama)
    };
    match embedder(&gone).embed(EmbedPurpose::Query, &texts(1)).await {
        Err(EmbedError::Unavailable(message)) => assert!(message.contains("Could not reach ollama"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn configurations_that_cannot_work_are_refused() {
    let table = [
        ("kind = \"openai\"\ndimensions = 8", "needs `model`"),
        ("kind = \"ollama\"\nmodel = \"x\"", "`dimensions` is needed"),
        (
            "kind = \"openai\"\nmodel = \"x\"\ndimensions = 8\napi_key = \"sk-canary\"",
            "env:NAME",
        ),
        ("kind = \"openai\"\nmodel = \"x\"\ndimensions = 8\nbatch = 0", "`batch`"),
        ("model = \"nomic-embed-text\"", "set `kind`"),
        ("kind = \"ollama\"\nmodel = \"x\"\ndimensions = 8\npath = \"/x\"", "`path`"),
        ("kind = \"folder\"", "`path`"),
        ("kind = \"folder\"\npath = \"/nowhere\"", "config.json"),
    ];
    for (toml, words) in table {
        let config: EmbedderConfig = toml::from_str(toml).unwrap();
        let message = embedders::from_config(&config, http::client().unwrap())
            .err()
            .unwrap()
            .to_string();
        assert!(
            message.starts_with("`embedder`") && message.contains(words) && !message.contains("canary"),
            "{toml}: {message}"
        );
    }
    let default = embedders::from_config(&EmbedderConfig::default(), http::client().unwrap()).unwrap();
    assert_eq!(default.model().id, "builtin/lexical-v1");
}
