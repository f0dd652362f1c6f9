//! The backlog of vectors.

use std::sync::Arc;

use async_trait::async_trait;

use super::{World, fact, model, vector};
use crate::{
    domain::{Egress, Embedding, EmbeddingModel, Locality, Memory, NewMemory, RecallMode},
    ids::MemoryId,
    memory::Memories,
    ports::{EmbedError, EmbedPurpose, Embedder},
};

/// Refuses every call that has a text asking for it, in one of two ways.
struct Choosy;

#[async_trait]
impl Embedder for Choosy {
    fn model(&self) -> EmbeddingModel {
        model("choosy", 2)
    }
    fn locality(&self) -> Locality {
        Locality::Local
    }
    async fn embed(&self, _: EmbedPurpose, texts: &[String]) -> Result<Vec<Embedding>, EmbedError> {
        if texts.iter().any(|text| text.contains("Refused")) {
            return Err(EmbedError::Misconfigured("too long".into()));
        }
        if texts.iter().any(|text| text.contains("Breaks")) {
            return Err(EmbedError::Unavailable("the connection was cut".into()));
        }
        Ok(texts.iter().map(|text| vector("choosy", &[1.0, text.len() as f32])).collect())
    }
}

/// Refuses everything.
struct Broken;

#[async_trait]
impl Embedder for Broken {
    fn model(&self) -> EmbeddingModel {
        Choosy.model()
    }
    fn locality(&self) -> Locality {
        Locality::Local
    }
    async fn embed(&self, _: EmbedPurpose, _: &[String]) -> Result<Vec<Embedding>, EmbedError> {
        Err(EmbedError::Misconfigured("no such model".into()))
    }
}

fn memories(w: &World, embedder: impl Embedder + 'static) -> Memories {
    let (memories, system) = (Arc::clone(&w.memories), Arc::clone(&w.system));
    Memories::new(w.env.clone(), memories, system, Some(Arc::new(embedder)))
}

async fn waiting(w: &World, limit: usize) -> Vec<MemoryId> {
    let found = w
        .system
        .unembedded(&Choosy.model(), Locality::Local, limit)
        .await
        .expect("read");
    found.into_iter().map(|memory| memory.memory).collect()
}

rules! {
    /// A question embedded by another model finds no vectors until the memories are embedded again.
    async fn models_are_never_mixed_and_a_change_re_embeds(w) {
        let stored = w.memories.remember(&w.anna, fact(&w.env, "Mint grows on the balcony"), Some(vector("old", &[1.0, 0.0]))).await.expect("stored");
        let bare = w.remember(&w.anna, fact(&w.env, "Basil does not")).await;
        let new = |text: &str| vector("new", &[1.0, text.len() as f32]);
        let ask = w.query("", Some(vector("new", &[1.0, 0.0])), RecallMode::Vector);
        assert!(w.memories.recall(&w.anna, ask.clone()).await.expect("an answer").items.is_empty());
        let same_name = w.query("", Some(vector("old", &[1.0, 0.0, 0.0])), RecallMode::Vector);
        assert!(w.memories.recall(&w.anna, same_name).await.expect("an answer").items.is_empty());

        let (old_model, new_model) = (model("old", 2), model("new", 2));
        let progress = |model: EmbeddingModel| { let system = Arc::clone(&w.system); async move { system.embedding_progress(&model, Locality::Local).await.expect("counted") } };
        assert_eq!((progress(old_model.clone()).await.embedded, progress(old_model.clone()).await.total), (1, 2));
        assert_eq!(progress(new_model.clone()).await.embedded, 0);
        let left = w.system.unembedded(&old_model, Locality::Local, 10).await.expect("read");
        assert_eq!(left.iter().map(|memory| memory.memory).collect::<Vec<_>>(), [bare.id]);
        let first = w.system.unembedded(&new_model, Locality::Local, 1).await.expect("read");
        assert_eq!(first.iter().map(|memory| memory.memory).collect::<Vec<_>>(), [stored.id], "oldest first");

        let all = w.system.unembedded(&new_model, Locality::Local, 10).await.expect("read");
        let vectors = all.iter().map(|memory| (memory.workspace, memory.memory, new(&memory.text))).collect();
        w.system.put_embeddings(vectors).await.expect("stored");
        assert_eq!((progress(new_model.clone()).await.embedded, progress(new_model.clone()).await.total), (2, 2));
        assert!(w.system.unembedded(&new_model, Locality::Local, 10).await.expect("read").is_empty());
        assert_eq!(w.memories.recall(&w.anna, ask).await.expect("an answer").items.len(), 2);
        let gone = vec![(w.anna.workspace, w.env.id::<MemoryId>(), new("x")), (w.carl.workspace, stored.id, new("x"))];
        w.system.put_embeddings(gone).await.expect("passed over");
    }

    /// Local-only and sensitive texts are not offered to a remote embedder, nor counted as waiting for it.
    async fn the_backlog_respects_egress(w) {
        let open = w.remember(&w.anna, fact(&w.env, "Open")).await;
        w.remember(&w.anna, NewMemory { egress: Egress::LocalOnly, ..fact(&w.env, "Local only") }).await;
        w.remember(&w.anna, NewMemory { sensitive: true, ..fact(&w.env, "Sensitive") }).await;
        let remote = w.system.unembedded(&model("m", 2), Locality::Remote, 10).await.expect("read");
        assert_eq!(remote.iter().map(|memory| memory.memory).collect::<Vec<_>>(), [open.id]);
        assert_eq!(w.system.embedding_progress(&model("m", 2), Locality::Remote).await.expect("counted").total, 1);
        let local = w.system.unembedded(&model("m", 2), Locality::Local, 10).await.expect("read");
        assert_eq!(local.len(), 3);
        assert!(local.iter().any(|memory| memory.text.contains("Sensitive") && memory.egress == Egress::LocalOnly));
    }

    /// A page of texts that the embedder refuses does not keep other texts from their vectors, in this pass or later ones.
    async fn refused_texts_keep_nothing_from_its_vector(w) {
        for number in 0..70 {
            let word = if number % 2 == 0 { "Refused" } else { "Breaks" };
            w.remember(&w.anna, fact(&w.env, &format!("{word}, number {number}"))).await;
        }
        let own = w.remember(&w.anna, fact(&w.env, "Mint grows on the balcony")).await;
        let others = w.remember(&w.carl, fact(&w.env, "Basil does not")).await;
        let report = memories(&w, Choosy).embed_backlog(&|_| {}).await.expect("a pass");
        assert_eq!((report.embedded, report.failed), (2, 70));
        assert!(report.problem.is_some());
        for (caller, memory) in [(&w.anna, own), (&w.carl, others)] {
            let nearest = w.query("", Some(vector("choosy", &[1.0, 24.0])), RecallMode::Vector);
            let found = w.memories.recall(caller, nearest).await.expect("an answer");
            assert_eq!(found.items.into_iter().map(|item| item.memory.id).collect::<Vec<_>>(), [memory.id]);
        }
        assert_eq!(memories(&w, Choosy).embed_backlog(&|_| {}).await.expect("a pass"), Default::default(), "they are put off");
        (w.set_time)(w.env.now().millis() + 61_000);
        assert_eq!(memories(&w, Choosy).embed_backlog(&|_| {}).await.expect("a pass").failed, 70, "and tried again");
    }

    /// A broken embedder postpones nothing: as soon as it works, everything is embedded.
    async fn a_broken_embedder_puts_nothing_off(w) {
        let stored = w.remember(&w.anna, fact(&w.env, "Mint grows on the balcony")).await;
        let report = memories(&w, Broken).embed_backlog(&|_| {}).await.expect("a pass");
        assert_eq!((report.embedded, report.failed), (0, 1));
        assert_eq!(waiting(&w, 9).await, [stored.id]);
        assert_eq!(memories(&w, Choosy).embed_backlog(&|_| {}).await.expect("a pass").embedded, 1);
    }

    /// Longer each time; a vector or another model clears it.
    async fn what_is_put_off_comes_back(w) {
        let one = w.remember(&w.anna, fact(&w.env, "One")).await;
        let two = w.remember(&w.anna, fact(&w.env, "Two")).await;
        let put_off = |memory: &Memory| {
            let (system, named) = (Arc::clone(&w.system), vec![(memory.workspace_id, memory.id)]);
            async move { system.put_off_embeddings(&Choosy.model(), named).await.expect("put off") }
        };
        put_off(&one).await;
        assert_eq!(waiting(&w, 9).await, [two.id]);
        assert_eq!(w.system.unembedded(&model("other", 2), Locality::Local, 9).await.expect("read").len(), 2);
        (w.set_time)(w.env.now().millis() + 60_000);
        assert_eq!(waiting(&w, 9).await, [one.id, two.id]);
        put_off(&one).await;
        (w.set_time)(w.env.now().millis() + 60_000);
        assert_eq!(waiting(&w, 9).await, [two.id], "twice as long");
        (w.set_time)(w.env.now().millis() + 60_000);
        assert_eq!(waiting(&w, 9).await, [one.id, two.id]);
        for _ in 0..40 {
            put_off(&one).await;
        }
        (w.set_time)(w.env.now().millis() + 86_400_000);
        assert_eq!(waiting(&w, 9).await, [one.id, two.id], "a day at most");
        put_off(&one).await;
        w.system.put_embeddings(vec![(one.workspace_id, one.id, vector("choosy", &[1.0, 0.0]))]).await.expect("stored");
        assert_eq!(waiting(&w, 9).await, [two.id]);
        w.memories.redact(&w.anna, one.id, w.env.id()).await.expect("redacted");
    }

    /// A workspace with many memories to embed does not get ahead of all others.
    async fn the_backlog_is_fair_between_workspaces(w) {
        let mut annas = Vec::new();
        for number in 0..5 {
            annas.push(w.remember(&w.anna, fact(&w.env, &format!("Number {number}"))).await.id);
        }
        let carls = w.remember(&w.carl, fact(&w.env, "Just one")).await.id;
        assert_eq!(waiting(&w, 2).await, [annas[0], carls]);
        assert_eq!(waiting(&w, 4).await, [annas[0], carls, annas[1], annas[2]]);
    }
}
