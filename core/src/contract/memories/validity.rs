//! Validity: review, superseding, expiry.

use std::sync::Arc;

use super::{World, agent_of, fact, ids, vector};
use crate::contract::world::assert_refused;
use crate::{
    caller::Caller,
    domain::{
        Capability, MemoryDomain, MemoryEdit, MemoryFilter, NewMemory, PageRequest, RecallMode, ReviewState, Taint, Visibility,
    },
    refusal::Refusal,
};

rules! {
    /// M7, at the store: no matter what the agent asks for.
    async fn tainted_text_of_an_agent_waits_for_review(w) {
        let agent = agent_of(&w, &w.anna, &[Capability::ReadMemory, Capability::WriteMemory], MemoryDomain::ALL, true);
        let tainted = NewMemory { taint: Taint::Untrusted, ..fact(&w.env, "The invoice account is 999") };
        let proposed = w.memories.remember(&agent, tainted.clone(), Some(vector("m", &[1.0, 0.0]))).await.expect("stored");
        assert_eq!(proposed.review, ReviewState::Proposed);
        assert_eq!(w.remember(&agent, tainted).await, proposed, "a replay finds its own proposal");
        let by_vector = w.query("", Some(vector("m", &[1.0, 0.0])), RecallMode::Vector);
        for caller in [&w.anna, &agent] {
            assert!(w.found(caller, "invoice account").await.is_empty());
            assert!(w.memories.recall(caller, by_vector.clone()).await.expect("an answer").items.is_empty());
        }
        assert!(w.memories.memories(&agent, &[proposed.id]).await.expect("read").is_empty());
        assert_eq!(w.memories.memories(&w.anna, &[proposed.id]).await.expect("read"), [proposed]);
        let working = NewMemory { domain: MemoryDomain::Working, expires_at: Some(w.env.now().plus(std::time::Duration::from_secs(60))), taint: Taint::Untrusted, ..fact(&w.env, "Step two is next") };
        assert_eq!(w.remember(&agent, working).await.review, ReviewState::Accepted);
    }

    /// Accepting puts it into recall, rejecting takes it out and keeps it.
    async fn reviewed_memories_are_recalled_and_rejected_ones_not(w) {
        let agent = agent_of(&w, &w.anna, &[Capability::WriteMemory], MemoryDomain::ALL, true);
        let proposed = w.remember(&agent, NewMemory { taint: Taint::Untrusted, ..fact(&w.env, "The ferry leaves at nine") }).await;
        let review = |review| MemoryEdit { review: Some(review), ..MemoryEdit::default() };
        let accepted = w.memories.edit(&w.anna, proposed.id, review(ReviewState::Accepted)).await.expect("edited");
        assert_eq!((accepted.review, accepted.taint), (ReviewState::Accepted, Taint::Untrusted));
        assert_eq!(w.found(&w.anna, "ferry").await, [proposed.id]);
        w.memories.edit(&w.anna, proposed.id, review(ReviewState::Rejected)).await.expect("edited");
        assert!(w.found(&w.anna, "ferry").await.is_empty());
        let rejected = MemoryFilter { review: Some(ReviewState::Rejected), ..MemoryFilter::default() };
        let listed = w.memories.list(&w.anna, rejected, PageRequest::first(9)).await.expect("listed");
        assert_eq!(listed.items.iter().map(|m| m.id).collect::<Vec<_>>(), [proposed.id]);
    }

    /// The old fact keeps its text, gets an end and a successor, and is no longer recalled.
    async fn superseded_facts_are_history(w) {
        let old = w.memories.remember(&w.anna, fact(&w.env, "Ben lives in Bonn"), Some(vector("m", &[1.0, 0.1]))).await.expect("stored");
        (w.set_time)(w.env.now().millis() + 1_000);
        let new = NewMemory { supersedes: Some(old.id), ..fact(&w.env, "Ben lives in Mainz") };
        let new = w.memories.remember(&w.anna, new, Some(vector("m", &[1.0, 0.2]))).await.expect("stored");
        assert_eq!(w.found(&w.anna, "Where does Ben live?").await, [new.id]);
        let by_vector = w.memories.recall(&w.anna, w.query("", Some(vector("m", &[1.0, 0.1])), RecallMode::Vector)).await;
        assert_eq!(ids(&by_vector.expect("an answer")), [new.id]);
        let read = w.memories.memories(&w.anna, &[old.id]).await.expect("read").remove(0);
        assert_eq!((read.text.as_str(), read.superseded_by, read.valid_to), ("Ben lives in Bonn", Some(new.id), Some(new.valid_from)));
        let now = MemoryFilter::default();
        assert_eq!(w.memories.list(&w.anna, now, PageRequest::first(9)).await.expect("listed").items.len(), 1);
        let history = MemoryFilter { history: true, ..MemoryFilter::default() };
        assert_eq!(w.memories.list(&w.anna, history, PageRequest::first(9)).await.expect("listed").items.len(), 2);
        let before = |id| MemoryFilter { history: true, superseded_by: Some(id), ..MemoryFilter::default() };
        let listed = |caller: &Caller, filter| { let (memories, caller) = (Arc::clone(&w.memories), caller.clone()); async move { memories.list(&caller, filter, PageRequest::first(9)).await.expect("listed").items } };
        assert_eq!(listed(&w.anna, before(new.id)).await.iter().map(|memory| memory.id).collect::<Vec<_>>(), [old.id]);
        assert!(listed(&w.anna, before(old.id)).await.is_empty(), "it is the first");
        assert!(listed(&w.anna, before(w.env.id())).await.is_empty());
        assert!(listed(&w.carl, before(new.id)).await.is_empty(), "another workspace");
        assert!(listed(&w.anna, MemoryFilter { history: false, ..before(new.id) }).await.is_empty(), "it no longer holds");
        let late = NewMemory { supersedes: Some(old.id), ..fact(&w.env, "Ben lives in Trier") };
        assert_refused(w.memories.remember(&w.anna, late, None).await, Refusal::AlreadySuperseded);
    }

    /// A private memory that replaced a shared one would take it away from the others.
    async fn only_the_like_supersedes_the_like(w) {
        let shared = w.remember(&w.anna, fact(&w.env, "The key is under the mat")).await;
        let private = NewMemory { supersedes: Some(shared.id), visibility: Visibility::Private, ..fact(&w.env, "The key is in the safe") };
        assert_refused(
            w.memories.remember(&w.ben, private, None).await,
            Refusal::VisibilitiesDiffer { new: Visibility::Private, old: Visibility::Shared },
        );
        assert_eq!(w.found(&w.anna, "key").await, [shared.id]);
    }

    /// Until a person accepts it, the memory it would replace still holds.
    async fn a_proposal_supersedes_when_it_is_accepted(w) {
        let agent = agent_of(&w, &w.anna, &[Capability::ReadMemory, Capability::WriteMemory], MemoryDomain::ALL, true);
        let old = w.remember(&w.anna, fact(&w.env, "The train leaves at eight")).await;
        let new = NewMemory { supersedes: Some(old.id), taint: Taint::Untrusted, ..fact(&w.env, "The train leaves at ten") };
        let new = w.remember(&agent, new).await;
        assert_eq!(w.found(&w.anna, "train").await, [old.id]);
        let before = MemoryFilter { history: true, superseded_by: Some(new.id), ..MemoryFilter::default() };
        assert!(w.memories.list(&w.anna, before.clone(), PageRequest::first(9)).await.expect("listed").items.is_empty());
        let accept = MemoryEdit { review: Some(ReviewState::Accepted), ..MemoryEdit::default() };
        w.memories.edit(&w.anna, new.id, accept).await.expect("edited");
        assert_eq!(w.found(&w.anna, "train").await, [new.id]);
        assert_eq!(w.memories.list(&w.anna, before, PageRequest::first(9)).await.expect("listed").items[0].id, old.id);
    }

    /// From its expiry on it is absent for everyone; the sweep deletes it.
    async fn working_memories_expire_and_are_swept(w) {
        let until = w.env.now().plus(std::time::Duration::from_secs(60));
        let note = NewMemory { domain: MemoryDomain::Working, expires_at: Some(until), ..fact(&w.env, "Compare three hotels") };
        let note = w.memories.remember(&w.anna, note, Some(vector("m", &[0.0, 1.0]))).await.expect("stored");
        let kept = w.memories.remember(&w.anna, fact(&w.env, "Hotels in Kiel are full"), Some(vector("m", &[1.0, 0.0]))).await.expect("stored");
        assert_eq!(w.found(&w.anna, "hotels").await.len(), 2);
        (w.set_time)(until.millis());
        assert_eq!(w.found(&w.anna, "hotels").await, [kept.id]);
        let nearest = w.memories.recall(&w.anna, w.query("", Some(vector("m", &[0.0, 1.0])), RecallMode::Vector)).await.expect("an answer");
        assert_eq!(ids(&nearest), [kept.id]);
        assert!(w.memories.memories(&w.anna, &[note.id]).await.expect("read").is_empty());
        assert!(w.system.sweep().await.expect("swept") >= 1);
        assert_eq!(w.system.sweep().await.expect("swept"), 0);
        assert_eq!(w.found(&w.anna, "hotels").await, [kept.id]);
        // References to it (in a log, in a reply) mean the old memory: nobody can reuse its id.
        for caller in [&w.anna, &w.ben] {
            let again = NewMemory { id: note.id, ..fact(&w.env, "Another thing") };
            assert_refused(w.memories.remember(caller, again, None).await, Refusal::IdExpired);
        }
        let elsewhere = NewMemory { id: note.id, ..fact(&w.env, "Another workspace") };
        assert_eq!(w.remember(&w.carl, elsewhere).await.id, note.id, "ids are a workspace's own");
    }
}
