//! Who sees, writes and changes what.

use std::sync::Arc;

use super::{World, agent_of, fact, ids, turn, vector};
use crate::contract::world::assert_refused;
use crate::{
    caller::Caller,
    domain::{
        Capability, Egress, Locality, MemoryDomain, MemoryEdit, MemoryFilter, NewMemory, PageRequest, Provenance, RecallMode,
        RecallQuery, ReviewState, Visibility,
    },
    error::StoreError,
    ids::MemoryId,
    refusal::Refusal,
};

rules! {
    /// The same texts in both workspaces: nothing crosses, and filling one changes neither scores nor order in the other.
    async fn workspaces_never_meet(w) {
        for text in ["The red house by the lake", "A red bicycle", "Lake swimming on Sundays"] {
            let embedding = vector("m", &[1.0, text.len() as f32, 3.0]);
            w.memories.remember(&w.anna, fact(&w.env, text), Some(embedding)).await.expect("stored");
        }
        let ask = |caller: Caller| {
            let query = w.query("red lake", Some(vector("m", &[1.0, 20.0, 3.0])), RecallMode::Hybrid);
            let memories = Arc::clone(&w.memories);
            async move { memories.recall(&caller, query).await.expect("an answer") }
        };
        let before = ask(w.anna.clone()).await;
        assert_eq!(before.items.len(), 3);
        assert!(ask(w.carl.clone()).await.items.is_empty());
        for number in 0..40 {
            let text = format!("The red house by the lake, number {number}");
            w.memories.remember(&w.carl, fact(&w.env, &text), Some(vector("m", &[1.0, 20.0, 3.0]))).await.expect("stored");
        }
        assert_eq!(ask(w.anna.clone()).await, before);
        let mine: Vec<MemoryId> = before.items.iter().map(|item| item.memory.id).collect();
        assert!(w.memories.memories(&w.carl, &mine).await.expect("read").is_empty());
        assert!(ask(w.carl.clone()).await.items.iter().all(|item| item.memory.workspace_id == w.carl.workspace));
        let crossing = NewMemory { supersedes: Some(mine[0]), ..fact(&w.env, "Mine now") };
        assert!(matches!(w.memories.remember(&w.carl, crossing, None).await, Err(StoreError::NotFound(_))));
        assert!(matches!(w.memories.redact(&w.carl, mine[0], w.env.id()).await, Err(StoreError::NotFound(_))));
        assert!(matches!(w.memories.edit(&w.carl, mine[0], MemoryEdit::default()).await, Err(StoreError::NotFound(_))));
    }

    /// Not even the workspace's owner sees or changes them, and they do not affect anybody else's scores.
    async fn private_memories_are_their_owners_alone(w) {
        let shared = w.remember(&w.anna, fact(&w.env, "The wifi password is on the fridge")).await;
        let before = w.ask(&w.anna, "wifi").await;
        let private = NewMemory { visibility: Visibility::Private, ..fact(&w.env, "My wifi at the office is slow, wifi!") };
        let private = w.remember(&w.ben, private).await;
        assert_eq!(w.ask(&w.anna, "wifi").await, before, "another's private memory must not move a score");
        assert_eq!(w.found(&w.ben, "wifi").await.len(), 2);
        assert!(w.memories.memories(&w.anna, &[private.id]).await.expect("read").is_empty());
        let listed = w.memories.list(&w.anna, MemoryFilter::default(), PageRequest::first(50)).await.expect("listed");
        assert_eq!(listed.items, [shared]);
        assert!(matches!(w.memories.edit(&w.anna, private.id, MemoryEdit::default()).await, Err(StoreError::NotFound(_))));
        assert!(matches!(w.memories.redact(&w.anna, private.id, w.env.id()).await, Err(StoreError::NotFound(_))));
        assert_eq!(w.memories.receipt(&w.anna, private.id).await.expect("read"), None);
    }

    /// Domains and private memories outside an agent's scopes do not exist for it, to read or to write.
    async fn agents_see_and_write_within_their_scopes(w) {
        let both = [Capability::ReadMemory, Capability::WriteMemory];
        let semantic = agent_of(&w, &w.anna, &both, &[MemoryDomain::Semantic], false);
        let shared = w.remember(&w.anna, fact(&w.env, "Tea at four")).await;
        let private = w.remember(&w.anna, NewMemory { visibility: Visibility::Private, ..fact(&w.env, "Tea with rum at night") }).await;
        let episode = w.remember(&w.anna, turn(&w.env, w.env.id(), 1, "We had tea together")).await;
        assert_eq!(w.found(&semantic, "tea").await, [shared.id]);
        let all = [shared.id, private.id, episode.id];
        assert_eq!(w.memories.memories(&semantic, &all).await.expect("read").len(), 1);
        assert_eq!(w.memories.list(&semantic, MemoryFilter::default(), PageRequest::first(9)).await.expect("listed").items.len(), 1);
        let query = RecallQuery { domains: Some(vec![MemoryDomain::Episodic]), ..w.query("tea", None, RecallMode::Fts) };
        assert!(w.memories.recall(&semantic, query).await.expect("an answer").items.is_empty());

        let written = w.remember(&semantic, NewMemory { provenance: Provenance { run_id: Some(w.env.id()), ..Provenance::default() }, ..fact(&w.env, "Anna likes Assam") }).await;
        let acting = semantic.agent.clone().expect("an agent");
        assert_eq!((written.provenance.agent_id, written.provenance.run_id), (Some(acting.agent), Some(acting.run)));
        assert_eq!(written.user_id, w.anna.user);
        assert_refused(w.memories.remember(&semantic, turn(&w.env, w.env.id(), 1, "Episode"), None).await, Refusal::NoDomain { domain: MemoryDomain::Episodic });
        let hidden = NewMemory { visibility: Visibility::Private, ..fact(&w.env, "Private") };
        assert_refused(w.memories.remember(&semantic, hidden, None).await, Refusal::NoPrivateMemories);
        let over = NewMemory { supersedes: Some(private.id), ..fact(&w.env, "Over") };
        assert!(matches!(w.memories.remember(&semantic, over, None).await, Err(StoreError::NotFound(_))));

        let mute = agent_of(&w, &w.anna, &[Capability::ReadMemory], MemoryDomain::ALL, true);
        assert_refused(w.memories.remember(&mute, fact(&w.env, "No"), None).await, Refusal::NoCapability { capability: Capability::WriteMemory });
        assert_eq!(w.found(&mute, "tea").await.len(), 3);
        let deaf = agent_of(&w, &w.anna, &[Capability::WriteMemory], MemoryDomain::ALL, true);
        assert_refused(w.memories.recall(&deaf, w.query("tea", None, RecallMode::Fts)).await, Refusal::NoCapability { capability: Capability::ReadMemory });
        assert_refused(w.memories.edit(&mute, shared.id, MemoryEdit::default()).await, Refusal::PeopleOnly);
        assert_refused(w.memories.redact(&mute, shared.id, w.env.id()).await, Refusal::PeopleOnly);
    }

    /// M10, by words and by vector.
    async fn local_only_memories_do_not_reach_remote_models(w) {
        let local = NewMemory { egress: Egress::LocalOnly, ..fact(&w.env, "My diagnosis is private") };
        let local = w.memories.remember(&w.anna, local, Some(vector("m", &[1.0, 0.0]))).await.expect("stored");
        for (mode, embedding) in [(RecallMode::Fts, None), (RecallMode::Vector, Some(vector("m", &[1.0, 0.0])))] {
            let query = w.query("diagnosis", embedding, mode);
            assert_eq!(ids(&w.memories.recall(&w.anna, query.clone()).await.expect("an answer")), [local.id]);
            let remote = RecallQuery { locality: Locality::Remote, ..query };
            assert!(w.memories.recall(&w.anna, remote).await.expect("an answer").items.is_empty());
        }
        let open = MemoryEdit { egress: Some(Egress::Any), ..MemoryEdit::default() };
        w.memories.edit(&w.anna, local.id, open).await.expect("edited");
        let remote = RecallQuery { locality: Locality::Remote, ..w.query("diagnosis", Some(vector("m", &[1.0, 0.0])), RecallMode::Hybrid) };
        assert_eq!(ids(&w.memories.recall(&w.anna, remote).await.expect("an answer")), [local.id]);
    }

    /// Sensitive memories are readable by those who may see them, absent from full text.
    async fn sensitive_memories_are_found_by_vector_only(w) {
        let secret = NewMemory { sensitive: true, ..fact(&w.env, "The alarm code is 4711") };
        let secret = w.memories.remember(&w.anna, secret, Some(vector("m", &[0.5, 0.5]))).await.expect("stored");
        assert_eq!(secret.text, "The alarm code is 4711");
        assert!(w.found(&w.anna, "alarm code 4711").await.is_empty());
        let answer = w.memories.recall(&w.anna, w.query("alarm", Some(vector("m", &[0.5, 0.5])), RecallMode::Hybrid)).await.expect("an answer");
        assert_eq!(answer.items[0].memory, secret);
        assert_eq!(w.memories.memories(&w.ben, &[secret.id]).await.expect("read"), [secret]);
    }

    /// A member changes their own, an owner any shared one.
    async fn edits_are_for_owners_of_a_memory(w) {
        let annas = w.remember(&w.anna, fact(&w.env, "Anna's fact")).await;
        let bens = w.remember(&w.ben, fact(&w.env, "Ben's fact")).await;
        let reject = MemoryEdit { review: Some(ReviewState::Rejected), ..MemoryEdit::default() };
        assert_refused(w.memories.edit(&w.ben, annas.id, reject.clone()).await, Refusal::OthersMemory);
        assert_eq!(w.memories.edit(&w.ben, bens.id, reject.clone()).await.expect("edited").review, ReviewState::Rejected);
        let accept = MemoryEdit { review: Some(ReviewState::Accepted), ..MemoryEdit::default() };
        assert_eq!(w.memories.edit(&w.anna, bens.id, accept).await.expect("edited").review, ReviewState::Accepted);
    }

    /// Making a shared memory private hides it, its words and its vector from the others.
    async fn a_restricted_memory_moves_out_of_sight(w) {
        let diary = w.memories.remember(&w.ben, fact(&w.env, "Dear diary, the violin"), Some(vector("m", &[0.2, 0.8]))).await.expect("stored");
        let before = w.memories.recall(&w.anna, w.query("violin", Some(vector("m", &[0.2, 0.8])), RecallMode::Hybrid)).await.expect("an answer");
        assert_eq!(ids(&before), [diary.id]);
        let hide = MemoryEdit { visibility: Some(Visibility::Private), ..MemoryEdit::default() };
        w.memories.edit(&w.ben, diary.id, hide).await.expect("edited");
        for mode in [RecallMode::Fts, RecallMode::Vector, RecallMode::Hybrid] {
            let query = w.query("violin", Some(vector("m", &[0.2, 0.8])), mode);
            assert!(w.memories.recall(&w.anna, query.clone()).await.expect("an answer").items.is_empty());
            assert_eq!(ids(&w.memories.recall(&w.ben, query).await.expect("an answer")), [diary.id]);
        }
    }
}
