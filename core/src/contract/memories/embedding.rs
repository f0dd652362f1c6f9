//! The backlog of vectors.

use std::sync::Arc;

use super::{World, fact, model, vector};
use crate::{
    domain::{Egress, EmbeddingModel, Locality, NewMemory, RecallMode},
    ids::MemoryId,
};

rules! {
    /// M3: a question by another model meets no vectors until the memories are embedded again.
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
}
