//! The sentence-transformer against real weights: `all-MiniLM-L6-v2` in the folder that `DUET_TEST_MINILM` names. Built only
//! with the feature `minilm-tests`, which `cargo xtask test` sets together with the folder.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{path::PathBuf, sync::Arc};

use duet_api::{
    embedders::{self, EmbedderConfig, EmbedderKind},
    http,
};
use duet_core::{
    domain::Locality,
    ports::{EmbedPurpose, Embedder},
};

fn folder() -> PathBuf {
    let Some(folder) = std::env::var_os("DUET_TEST_MINILM") else {
        panic!("set DUET_TEST_MINILM to the folder of all-MiniLM-L6-v2 (config.json, tokenizer.json, model.safetensors)");
    };
    PathBuf::from(folder)
}

fn load(path: PathBuf) -> anyhow::Result<Arc<dyn Embedder>> {
    let config = EmbedderConfig {
        kind: EmbedderKind::Folder,
        path: Some(path),
        ..EmbedderConfig::default()
    };
    embedders::from_config(&config, http::client()?)
}

async fn vectors(embedder: &dyn Embedder, texts: &[&str]) -> Vec<Vec<f32>> {
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    let embeddings = embedder.embed(EmbedPurpose::Document, &texts).await.unwrap();
    embeddings.into_iter().map(|embedding| embedding.vector).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// The similarities that the library's own documentation prints for this model.
#[tokio::test]
async fn similarities_are_those_of_the_reference_implementation() {
    let embedder = load(folder()).unwrap();
    assert_eq!((embedder.model().dimensions, embedder.locality()), (384, Locality::Local));
    assert!(embedder.model().id.starts_with("folder/"));
    let v = vectors(
        &*embedder,
        &[
            "The weather is lovely today.",
            "It's so sunny outside!",
            "He drove to the stadium.",
        ],
    )
    .await;
    for (a, b, expected) in [(0, 1, 0.6660), (0, 2, 0.1046), (1, 2, 0.1411)] {
        let found = cosine(&v[a], &v[b]);
        assert!((found - expected).abs() < 1e-3, "{a} {b}: {found} instead of {expected}");
    }
}

#[tokio::test]
async fn meaning_is_closer_than_words() {
    let embedder = load(folder()).unwrap();
    // A question, what answers it, and a sentence that only shares its words.
    let triples = [
        (
            "What is the name of her pet?",
            "Her puppy is called Rex.",
            "What is the name of her street?",
        ),
        ("The film was dreadful.", "I hated that movie.", "The film was on Friday."),
        (
            "Which city is home for me?",
            "I live in Lyon.",
            "Which spoon is clean for me?",
        ),
    ];
    for (question, near, far) in triples {
        let v = vectors(&*embedder, &[question, near, far]).await;
        let (near_score, far_score) = (cosine(&v[0], &v[1]), cosine(&v[0], &v[2]));
        assert!(near_score > far_score, "{question}: {near_score} against {far_score}");
    }
}

#[tokio::test]
async fn long_and_strange_texts_have_vectors() {
    let embedder = load(folder()).unwrap();
    let long = "A long text about nothing in particular. ".repeat(400);
    let v = vectors(&*embedder, &["", "🙂", "日本語", &long]).await;
    for vector in &v {
        let norm: f32 = vector.iter().map(|x| x * x).sum();
        assert!((norm - 1.0).abs() < 1e-4);
    }
}

#[test]
fn folders_that_are_no_model_are_refused_by_name() {
    let empty = tempfile::tempdir().unwrap();
    let message = load(empty.path().to_owned()).err().unwrap().to_string();
    assert!(
        message.contains("config.json") && message.starts_with("`embedder`"),
        "{message}"
    );
    let copy = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json"] {
        std::fs::copy(folder().join(file), copy.path().join(file)).unwrap();
    }
    let message = load(copy.path().to_owned()).err().unwrap().to_string();
    assert!(message.contains("model.safetensors"), "{message}");
    std::fs::write(copy.path().join("model.safetensors"), b"nonsense").unwrap();
    assert!(
        load(copy.path().to_owned())
            .err()
            .unwrap()
            .to_string()
            .contains("does not hold the weights")
    );
}
