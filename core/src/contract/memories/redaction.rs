//! Redaction, as far as memories go.

use super::{World, fact, model, vector};
use crate::contract::world::assert_refused;
use crate::{
    domain::{
        Locality, Memory, MemoryEdit, MemoryFilter, NewMemory, PageRequest, RecallMode, RedactionReceipt, ReviewState, Visibility,
    },
    error::StoreError,
    ids::RedactionId,
    refusal::{Named, Refusal},
};

rules! {
    /// M8 as far as memories go: the text is nowhere, a tombstone stays, and repeating returns the first receipt.
    async fn redaction_takes_everything_and_can_be_repeated(w) {
        let old = w.memories.remember(&w.anna, fact(&w.env, "Canary lives in Bonn"), Some(vector("m", &[1.0, 0.0]))).await.expect("stored");
        let other = w.remember(&w.carl, fact(&w.env, "Canary is a bird")).await;
        let new = NewMemory { supersedes: Some(old.id), ..fact(&w.env, "Canary lives in Mainz") };
        let new = w.memories.remember(&w.anna, new, Some(vector("m", &[1.0, 0.0]))).await.expect("stored");
        assert_eq!(w.memories.receipt(&w.anna, new.id).await.expect("read"), None);
        let redaction = w.env.id::<RedactionId>();
        let receipt = w.memories.redact(&w.anna, new.id, redaction).await.expect("redacted");
        assert_eq!((receipt.id, receipt.memory_id, receipt.redacted_by), (redaction, new.id, w.anna.user));
        let count = |place: &str| receipt.removed.iter().find(|removed| removed.place == place).map(|removed| removed.count);
        assert_eq!(count("memory"), Some(2), "it and the one it superseded");
        let places: Vec<&str> = receipt.removed.iter().map(|removed| removed.place.as_str()).collect();
        assert_eq!(places, RedactionReceipt::PLACES, "the same on every backend");
        assert!(count("full_text") > Some(0) && count("vectors") == Some(1) && count("event_payloads") == Some(0));
        assert!(w.found(&w.anna, "canary Mainz Bonn").await.is_empty());
        let by_vector = w.query("", Some(vector("m", &[1.0, 0.0])), RecallMode::Vector);
        assert!(w.memories.recall(&w.anna, by_vector).await.expect("an answer").items.is_empty());
        for memory in w.memories.memories(&w.anna, &[old.id, new.id]).await.expect("read") {
            assert!(memory.text.is_empty() && memory.redacted_at.is_some());
        }
        let history = MemoryFilter { history: true, ..MemoryFilter::default() };
        assert!(w.memories.list(&w.anna, history, PageRequest::first(9)).await.expect("listed").items.iter().all(|m| m.text.is_empty()));
        assert_eq!(w.memories.redact(&w.anna, new.id, w.env.id()).await.expect("again"), receipt);
        assert_eq!(w.memories.receipt(&w.anna, new.id).await.expect("read"), Some(receipt.clone()));
        assert_eq!(w.memories.receipt(&w.anna, old.id).await.expect("read"), Some(receipt));
        let again = NewMemory { id: new.id, ..fact(&w.env, "Canary again") };
        assert!(w.remember(&w.anna, again).await.text.is_empty(), "a replayed effect does not bring it back");
        let edit = MemoryEdit { visibility: Some(Visibility::Private), ..MemoryEdit::default() };
        assert_refused(w.memories.edit(&w.anna, new.id, edit).await, Refusal::Redacted { what: Named::Memory });
        assert_eq!(w.found(&w.carl, "canary").await, [other.id], "another workspace is untouched");
        assert!(w.system.unembedded(&model("m", 2), Locality::Local, 9).await.expect("read").iter().all(|m| m.memory == other.id));
    }

    /// A redaction's id is unique per person: notices and receipts are found by it.
    async fn a_redaction_id_is_used_once(w) {
        let first = w.remember(&w.anna, fact(&w.env, "Canary lives in Bonn")).await;
        let second = w.remember(&w.anna, fact(&w.env, "Canary sings")).await;
        let bens = w.remember(&w.ben, fact(&w.env, "Canary is yellow")).await;
        let redaction = w.env.id::<RedactionId>();
        let receipt = w.memories.redact(&w.anna, first.id, redaction).await.expect("redacted");
        let again = w.memories.redact(&w.anna, second.id, redaction).await;
        assert_refused(again, Refusal::RedactionDone);
        assert_eq!(w.found(&w.anna, "sings").await, [second.id]);
        assert_eq!(w.memories.redact(&w.anna, first.id, redaction).await.expect("repeated"), receipt);
        w.memories.redact(&w.ben, bens.id, redaction).await.expect("nothing is told of others' ids");
    }

    /// Naming a memory as superseded does not get it emptied: redaction follows only actual replacements, and only into memories
    /// that the caller may redact.
    async fn redaction_follows_only_what_it_replaced(w) {
        let kept = w.remember(&w.anna, fact(&w.env, "The canary is called Kiwi")).await;
        let over = |old: &Memory, text: &str| NewMemory { supersedes: Some(old.id), ..fact(&w.env, text) };
        let text = async |memory: &Memory| w.memories.memories(&w.anna, &[memory.id]).await.expect("read").remove(0).text;

        let proposed = w.remember(&w.ben, over(&kept, "The canary is called Coco")).await;
        w.memories.redact(&w.ben, proposed.id, w.env.id()).await.expect("redacted");
        assert_eq!((text(&proposed).await, text(&kept).await), (String::new(), kept.text.clone()), "a proposal has replaced nothing");
        let rejected = w.remember(&w.ben, over(&kept, "The canary is called Lori")).await;
        let reject = MemoryEdit { review: Some(ReviewState::Rejected), ..MemoryEdit::default() };
        w.memories.edit(&w.anna, rejected.id, reject).await.expect("rejected");
        w.memories.redact(&w.anna, rejected.id, w.env.id()).await.expect("redacted");
        assert_eq!(w.found(&w.anna, "canary").await, [kept.id]);

        let accept = MemoryEdit { review: Some(ReviewState::Accepted), ..MemoryEdit::default() };
        let taken = w.remember(&w.ben, over(&kept, "The canary is called Pico")).await;
        w.memories.edit(&w.anna, taken.id, accept).await.expect("accepted");
        w.memories.redact(&w.ben, taken.id, w.env.id()).await.expect("redacted");
        assert_eq!((text(&taken).await, text(&kept).await), (String::new(), kept.text.clone()), "it is Anna's still");

        let bens = w.remember(&w.ben, fact(&w.env, "Ben's canary sings")).await;
        let annas = w.remember(&w.anna, over(&bens, "Ben's canary is silent")).await;
        w.memories.redact(&w.anna, annas.id, w.env.id()).await.expect("redacted");
        assert_eq!((text(&annas).await, text(&bens).await), (String::new(), String::new()), "an owner redacts any shared one");
    }

    /// Members redact their own, owners any shared one; the refusal names the role.
    async fn redaction_is_for_owners_of_a_memory(w) {
        let annas = w.remember(&w.anna, fact(&w.env, "Anna's fact")).await;
        let bens = w.remember(&w.ben, fact(&w.env, "Ben's fact")).await;
        assert_refused(w.memories.redact(&w.ben, annas.id, w.env.id()).await, Refusal::OthersMemory);
        assert_eq!(w.found(&w.ben, "Anna").await, [annas.id]);
        w.memories.redact(&w.anna, bens.id, w.env.id()).await.expect("redacted by the owner");
        let own = w.remember(&w.ben, NewMemory { visibility: Visibility::Private, ..fact(&w.env, "Ben's own") }).await;
        w.memories.redact(&w.ben, own.id, w.env.id()).await.expect("redacted by its owner");
        assert!(matches!(w.memories.redact(&w.ben, w.env.id(), w.env.id()).await, Err(StoreError::NotFound(_))));
    }
}
