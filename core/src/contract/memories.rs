//! What every [`MemoryStore`] does, and the memory part of every [`SystemStore`].
//!
//! An adapter's test is a constructor and one line: `duet_core::memory_contract!(new_world);`.

use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    caller::{ActingAgent, Caller},
    clock::{Env, Timestamp},
    domain::{
        Capability, Egress, Embedding, EmbeddingModel, Locality, Memory, MemoryDomain, MemoryEdit, MemoryFilter, MemoryScopes,
        NewMemory, PageRequest, Position, Provenance, RecallAnswer, RecallMode, RecallQuery, ReviewState, Taint, Visibility,
    },
    error::StoreError,
    ids::{AgentId, ConversationId, MemoryId, RedactionId, RunId},
    ports::{MemoryStore, SystemStore},
};

/// An empty installation with two workspaces. Time stands still unless `env`'s clock is moved.
pub struct World {
    /// The store under test.
    pub memories: Arc<dyn MemoryStore>,
    /// Its system side.
    pub system: Arc<dyn SystemStore>,
    /// Time and randomness.
    pub env: Env,
    /// Moves the clock to a time in milliseconds.
    pub set_time: Arc<dyn Fn(i64) + Send + Sync>,
    /// Owner of the first workspace.
    pub anna: Caller,
    /// Member of the first workspace.
    pub ben: Caller,
    /// Owner of the second workspace.
    pub carl: Caller,
    /// What has to stay alive meanwhile (a folder, say).
    pub keep: Box<dyn Send + Sync>,
}

/// Declares one test for each rule of the suite; `$world` is an `async fn() -> World`.
#[macro_export]
macro_rules! memory_contract {
    ($world:path) => {
        $crate::memory_contract!(@ $world:
            a_memory_comes_back_as_it_was_stored,
            the_same_id_changes_nothing,
            an_id_of_another_workspace_is_free,
            workspaces_never_meet,
            private_memories_are_their_owners_alone,
            agents_see_and_write_within_their_scopes,
            tainted_text_of_an_agent_waits_for_review,
            reviewed_memories_are_recalled_and_rejected_ones_not,
            superseded_facts_are_history,
            only_the_like_supersedes_the_like,
            a_proposal_supersedes_when_it_is_accepted,
            working_memories_expire_and_are_swept,
            local_only_memories_do_not_reach_remote_models,
            sensitive_memories_are_found_by_vector_only,
            edits_are_for_owners_of_a_memory,
            a_restricted_memory_moves_out_of_sight,
            lists_page_newest_first,
            full_text_finds_words_in_other_forms,
            neighbours_and_conversation_lift_an_episode,
            vectors_rank_exactly_like_a_full_comparison,
            filters_leave_enough_results,
            hybrid_finds_what_either_signal_finds,
            without_a_vector_hybrid_is_full_text_and_says_so,
            models_are_never_mixed_and_a_change_re_embeds,
            the_backlog_respects_egress,
            what_is_written_is_found_at_once,
            redaction_takes_everything_and_can_be_repeated,
            redaction_is_for_owners_of_a_memory,
            bad_requests_are_refused_with_a_sentence,
        );
    };
    (@ $world:path: $($rule:ident),+ $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $rule() {
            $crate::contract::memories::$rule($world().await).await;
        }
    )+};
}

/// A model of few dimensions.
pub fn model(id: &str, dimensions: u32) -> EmbeddingModel {
    EmbeddingModel {
        id: id.to_owned(),
        dimensions,
    }
}

fn vector(id: &str, components: &[f32]) -> Embedding {
    Embedding::new(model(id, u32::try_from(components.len()).unwrap_or(0)), components.to_vec()).expect("a direction")
}

/// A random direction.
pub fn direction(random: &mut ChaCha8Rng, id: &str, dimensions: u32) -> Embedding {
    let components = (0..dimensions).map(|_| random.random_range(-1.0f32..1.0)).collect();
    Embedding::new(model(id, dimensions), components).expect("a direction")
}

/// A shared fact.
pub fn fact(env: &Env, text: &str) -> NewMemory {
    NewMemory {
        id: env.id(),
        domain: MemoryDomain::Semantic,
        text: text.to_owned(),
        speaker: None,
        visibility: Visibility::Shared,
        sensitive: false,
        egress: Egress::Any,
        taint: Taint::Trusted,
        provenance: Provenance::default(),
        position: None,
        occurred_at: env.now(),
        expires_at: None,
        supersedes: None,
    }
}

fn turn(env: &Env, conversation: ConversationId, ordinal: i64, text: &str) -> NewMemory {
    NewMemory {
        domain: MemoryDomain::Episodic,
        speaker: Some("Dora".into()),
        position: Some(Position {
            conversation_id: conversation,
            ordinal,
        }),
        ..fact(env, text)
    }
}

fn agent_of(env: &Env, person: &Caller, capabilities: &[Capability], domains: &[MemoryDomain], private: bool) -> Caller {
    person.with_agent(ActingAgent {
        agent: env.id::<AgentId>(),
        run: env.id::<RunId>(),
        capabilities: capabilities.iter().copied().collect(),
        memory_scopes: MemoryScopes {
            domains: domains.iter().copied().collect(),
            private,
        },
    })
}

impl World {
    async fn remember(&self, caller: &Caller, memory: NewMemory) -> Memory {
        self.memories.remember(caller, memory, None).await.expect("stored")
    }

    fn query(&self, text: &str, embedding: Option<Embedding>, mode: RecallMode) -> RecallQuery {
        RecallQuery {
            text: text.to_owned(),
            embedding,
            mode,
            limit: 10,
            domains: None,
            locality: Locality::Local,
            now: self.env.now(),
        }
    }

    async fn ask(&self, caller: &Caller, text: &str) -> RecallAnswer {
        self.memories
            .recall(caller, self.query(text, None, RecallMode::Fts))
            .await
            .expect("an answer")
    }

    async fn found(&self, caller: &Caller, text: &str) -> Vec<MemoryId> {
        ids(&self.ask(caller, text).await)
    }
}

fn ids(answer: &RecallAnswer) -> Vec<MemoryId> {
    answer.items.iter().map(|item| item.memory.id).collect()
}

fn assert_denied<T: std::fmt::Debug>(result: Result<T, StoreError>, word: &str) {
    match result {
        Err(StoreError::Denied(refusal)) => assert!(refusal.to_string().contains(word), "`{refusal}` does not name `{word}`"),
        other => panic!("expected a refusal that names `{word}`, got {other:?}"),
    }
}

macro_rules! rules {
    ($($(#[$doc:meta])* async fn $name:ident($world:ident) $body:block)+) => {$(
        $(#[$doc])*
        pub async fn $name($world: World) $body
    )+};
}

rules! {
    /// Every attribute survives; the store fills in whose it is and that no agent wrote it.
    async fn a_memory_comes_back_as_it_was_stored(w) {
        let asked = NewMemory {
            visibility: Visibility::Private,
            egress: Egress::LocalOnly,
            taint: Taint::Untrusted,
            occurred_at: Timestamp::from_millis(w.env.now().millis() - 5_000),
            ..turn(&w.env, w.env.id(), 3, "Rote Grütze 🍓 with cream")
        };
        let stored = w.remember(&w.anna, asked.clone()).await;
        assert_eq!(stored.text, asked.text);
        assert_eq!((stored.id, stored.domain, stored.position), (asked.id, asked.domain, asked.position));
        assert_eq!((stored.visibility, stored.egress, stored.taint), (asked.visibility, asked.egress, asked.taint));
        assert_eq!((stored.workspace_id, stored.user_id), (w.anna.workspace, w.anna.user));
        assert_eq!((stored.review, stored.speaker.as_deref()), (ReviewState::Accepted, Some("Dora")));
        assert_eq!((stored.occurred_at, stored.valid_from, stored.valid_to), (asked.occurred_at, asked.occurred_at, None));
        assert_eq!(stored.provenance.user_id, Some(w.anna.user));
        assert_eq!((stored.provenance.agent_id, stored.provenance.run_id), (None, None));
        assert_eq!(stored.created_at, w.env.now());
        assert_eq!(w.memories.memories(&w.anna, &[stored.id]).await.expect("read"), [stored]);
    }

    /// Replaying an effect gives the first memory, whatever comes with it.
    async fn the_same_id_changes_nothing(w) {
        let asked = fact(&w.env, "The bakery opens at seven");
        let first = w.remember(&w.anna, asked.clone()).await;
        let again = w.remember(&w.anna, NewMemory { text: "Something else".into(), ..asked }).await;
        assert_eq!(first, again);
        assert_eq!(w.found(&w.anna, "bakery").await, [first.id]);
        assert!(w.found(&w.anna, "something else").await.is_empty());
    }

    /// Ids are unique within a workspace only: a taken id elsewhere can neither be noticed nor blocked.
    async fn an_id_of_another_workspace_is_free(w) {
        let asked = fact(&w.env, "Anna's secret garden");
        w.remember(&w.anna, asked.clone()).await;
        let other = w.remember(&w.carl, NewMemory { text: "Carl's balcony".into(), ..asked.clone() }).await;
        assert_eq!(other.text, "Carl's balcony");
        assert_eq!(w.memories.memories(&w.anna, &[asked.id]).await.expect("read")[0].text, "Anna's secret garden");
        assert_eq!(w.found(&w.carl, "garden balcony").await, [asked.id]);
    }

    /// The same texts in both: nothing crosses, and neither scores nor order of the one move when the other fills.
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

    /// Not even the owner of the workspace sees, counts or moves them.
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

    /// Domains and private memories outside an agent's scopes are not there for it, to read or to write.
    async fn agents_see_and_write_within_their_scopes(w) {
        let both = [Capability::ReadMemory, Capability::WriteMemory];
        let semantic = agent_of(&w.env, &w.anna, &both, &[MemoryDomain::Semantic], false);
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
        assert_denied(w.memories.remember(&semantic, turn(&w.env, w.env.id(), 1, "Episode"), None).await, "episodic");
        let hidden = NewMemory { visibility: Visibility::Private, ..fact(&w.env, "Private") };
        assert_denied(w.memories.remember(&semantic, hidden, None).await, "private");
        let over = NewMemory { supersedes: Some(private.id), ..fact(&w.env, "Over") };
        assert!(matches!(w.memories.remember(&semantic, over, None).await, Err(StoreError::NotFound(_))));

        let mute = agent_of(&w.env, &w.anna, &[Capability::ReadMemory], MemoryDomain::ALL, true);
        assert_denied(w.memories.remember(&mute, fact(&w.env, "No"), None).await, "write_memory");
        assert_eq!(w.found(&mute, "tea").await.len(), 3);
        let deaf = agent_of(&w.env, &w.anna, &[Capability::WriteMemory], MemoryDomain::ALL, true);
        assert_denied(w.memories.recall(&deaf, w.query("tea", None, RecallMode::Fts)).await, "read_memory");
        assert_denied(w.memories.edit(&mute, shared.id, MemoryEdit::default()).await, "person");
        assert_denied(w.memories.redact(&mute, shared.id, w.env.id()).await, "person");
    }

    /// M7, at the store: whatever the agent asks for.
    async fn tainted_text_of_an_agent_waits_for_review(w) {
        let agent = agent_of(&w.env, &w.anna, &[Capability::ReadMemory, Capability::WriteMemory], MemoryDomain::ALL, true);
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
        let agent = agent_of(&w.env, &w.anna, &[Capability::WriteMemory], MemoryDomain::ALL, true);
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

    /// M6: the old fact keeps its text, gets an end and a successor, and is recalled no more.
    async fn superseded_facts_are_history(w) {
        let old = w.memories.remember(&w.anna, fact(&w.env, "Ben lives in Bonn"), Some(vector("m", &[1.0, 0.1]))).await.expect("stored");
        (w.set_time)(w.env.now().millis() + 1_000);
        let new = NewMemory { supersedes: Some(old.id), ..fact(&w.env, "Ben lives in Mainz") };
        let new = w.memories.remember(&w.ben, new, Some(vector("m", &[1.0, 0.2]))).await.expect("stored");
        assert_eq!(w.found(&w.anna, "Where does Ben live?").await, [new.id]);
        let by_vector = w.memories.recall(&w.anna, w.query("", Some(vector("m", &[1.0, 0.1])), RecallMode::Vector)).await;
        assert_eq!(ids(&by_vector.expect("an answer")), [new.id]);
        let read = w.memories.memories(&w.anna, &[old.id]).await.expect("read").remove(0);
        assert_eq!((read.text.as_str(), read.superseded_by, read.valid_to), ("Ben lives in Bonn", Some(new.id), Some(new.valid_from)));
        let now = MemoryFilter::default();
        assert_eq!(w.memories.list(&w.anna, now, PageRequest::first(9)).await.expect("listed").items.len(), 1);
        let history = MemoryFilter { history: true, ..MemoryFilter::default() };
        assert_eq!(w.memories.list(&w.anna, history, PageRequest::first(9)).await.expect("listed").items.len(), 2);
        let late = NewMemory { supersedes: Some(old.id), ..fact(&w.env, "Ben lives in Trier") };
        assert!(matches!(w.memories.remember(&w.anna, late, None).await, Err(StoreError::Conflict(_))));
    }

    /// A private memory in place of a shared one would take it from the others.
    async fn only_the_like_supersedes_the_like(w) {
        let shared = w.remember(&w.anna, fact(&w.env, "The key is under the mat")).await;
        let private = NewMemory { supersedes: Some(shared.id), visibility: Visibility::Private, ..fact(&w.env, "The key is in the safe") };
        assert!(matches!(w.memories.remember(&w.ben, private, None).await, Err(StoreError::Invalid(_))));
        assert_eq!(w.found(&w.anna, "key").await, [shared.id]);
    }

    /// Until a person accepts it, what it would replace holds.
    async fn a_proposal_supersedes_when_it_is_accepted(w) {
        let agent = agent_of(&w.env, &w.anna, &[Capability::ReadMemory, Capability::WriteMemory], MemoryDomain::ALL, true);
        let old = w.remember(&w.anna, fact(&w.env, "The train leaves at eight")).await;
        let new = NewMemory { supersedes: Some(old.id), taint: Taint::Untrusted, ..fact(&w.env, "The train leaves at ten") };
        let new = w.remember(&agent, new).await;
        assert_eq!(w.found(&w.anna, "train").await, [old.id]);
        let accept = MemoryEdit { review: Some(ReviewState::Accepted), ..MemoryEdit::default() };
        w.memories.edit(&w.anna, new.id, accept).await.expect("edited");
        assert_eq!(w.found(&w.anna, "train").await, [new.id]);
    }

    /// From its time on it is gone for everyone; the sweep deletes it.
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

    /// M9: readable by who may see them, absent from full text.
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
        assert_denied(w.memories.edit(&w.ben, annas.id, reject.clone()).await, "owner");
        assert_eq!(w.memories.edit(&w.ben, bens.id, reject.clone()).await.expect("edited").review, ReviewState::Rejected);
        let accept = MemoryEdit { review: Some(ReviewState::Accepted), ..MemoryEdit::default() };
        assert_eq!(w.memories.edit(&w.anna, bens.id, accept).await.expect("edited").review, ReviewState::Accepted);
    }

    /// Making a shared memory private takes it, its words and its vector from the others.
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

    /// Pages follow each other without gap or double; a foreign cursor is refused.
    async fn lists_page_newest_first(w) {
        let mut stored = Vec::new();
        for number in 0..7 {
            (w.set_time)(w.env.now().millis() + 10);
            let text = format!("Fact {number}");
            stored.push(if number % 2 == 0 { w.remember(&w.anna, fact(&w.env, &text)).await } else { w.remember(&w.anna, turn(&w.env, w.env.id(), 1, &text)).await }.id);
        }
        stored.reverse();
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = PageRequest { cursor, limit: 3 };
            let page = w.memories.list(&w.anna, MemoryFilter::default(), page).await.expect("listed");
            seen.extend(page.items.iter().map(|memory| memory.id));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, stored);
        let semantic = MemoryFilter { domain: Some(MemoryDomain::Semantic), ..MemoryFilter::default() };
        assert_eq!(w.memories.list(&w.anna, semantic, PageRequest::first(50)).await.expect("listed").items.len(), 4);
        let foreign = PageRequest { cursor: Some("nonsense".into()), limit: 3 };
        assert!(matches!(w.memories.list(&w.anna, MemoryFilter::default(), foreign).await, Err(StoreError::Invalid(_))));
    }

    /// Word forms, case and accents do not matter; any text is a valid question.
    async fn full_text_finds_words_in_other_forms(w) {
        let cafe = w.remember(&w.anna, fact(&w.env, "We were running to the Café in 2023")).await;
        for question in ["Who runs?", "CAFE", "2023", "café?"] {
            assert_eq!(w.found(&w.anna, question).await, [cafe.id], "{question}");
        }
        for question in ["", "   ", "the of and", "\"*^ OR NEAR(", "'; DROP TABLE memory; --", "\u{0}\u{202e}"] {
            assert!(w.found(&w.anna, question).await.is_empty(), "{question:?}");
        }
        let best = w.remember(&w.anna, fact(&w.env, "Zanzibar Zanzibar spices")).await;
        w.remember(&w.anna, fact(&w.env, "We talked a long time about many places and also Zanzibar and other islands far away")).await;
        let answer = w.ask(&w.anna, "Zanzibar").await;
        assert_eq!(answer.items[0].memory.id, best.id);
        assert!(answer.items[0].score > answer.items[1].score && answer.items[0].text_score.is_some());
    }

    /// The answer without a common word stands next to the question that has them.
    async fn neighbours_and_conversation_lift_an_episode(w) {
        let (here, there) = (w.env.id::<ConversationId>(), w.env.id::<ConversationId>());
        w.remember(&w.anna, turn(&w.env, here, 1, "Good morning")).await;
        w.remember(&w.anna, turn(&w.env, here, 2, "Which instrument do you play in the orchestra?")).await;
        let answer = w.remember(&w.anna, turn(&w.env, here, 3, "Cello, since I was nine!")).await;
        for number in 1..6 {
            w.remember(&w.anna, turn(&w.env, there, number, "The weather is dull again")).await;
        }
        let found = w.found(&w.anna, "instrument in the orchestra").await;
        assert!(found.contains(&answer.id), "the neighbour of the best match is a candidate");
        let lone = w.remember(&w.anna, turn(&w.env, there, 40, "The orchestra was mentioned")).await;
        let found = w.found(&w.anna, "instrument orchestra").await;
        let place = |id| found.iter().position(|found| *found == id).expect("found");
        assert!(place(answer.id) > 0 && place(lone.id) > 0);
    }

    /// Top k against a comparison with every vector, for narrow and wide models, again while memories come and go.
    async fn vectors_rank_exactly_like_a_full_comparison(w) {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        for (id, dimensions) in [("narrow", 24), ("wide", 640)] {
            let mut kept: Vec<(MemoryId, Embedding)> = Vec::new();
            for round in 0..3 {
                for number in 0..40 {
                    let embedding = direction(&mut random, id, dimensions);
                    let text = format!("{id} {round} {number}");
                    let stored = w.memories.remember(&w.anna, fact(&w.env, &text), Some(embedding.clone())).await.expect("stored");
                    kept.push((stored.id, embedding));
                }
                let (gone, _) = kept.remove(random.random_range(0..kept.len()));
                w.memories.redact(&w.anna, gone, w.env.id::<RedactionId>()).await.expect("redacted");
                for _ in 0..5 {
                    let question = direction(&mut random, id, dimensions);
                    let answer = w.memories.recall(&w.anna, w.query("", Some(question.clone()), RecallMode::Vector)).await.expect("an answer");
                    let mut exact: Vec<(f64, MemoryId)> = kept.iter().map(|(id, vector)| (cosine(&question, vector), *id)).collect();
                    exact.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                    assert_eq!(ids(&answer), exact.iter().take(10).map(|(_, id)| *id).collect::<Vec<_>>());
                    for (item, (cosine, _)) in answer.items.iter().zip(&exact) {
                        assert!((f64::from(item.vector_score.expect("a cosine")) - cosine).abs() < 1e-5);
                    }
                }
            }
        }
    }

    /// When most vectors are not for the asker, the full number of results still comes back.
    async fn filters_leave_enough_results(w) {
        let mut random = ChaCha8Rng::seed_from_u64(8);
        for dimensions in [16, 600] {
            let id = format!("m{dimensions}");
            let question = direction(&mut random, &id, dimensions);
            for number in 0..12 {
                let embedding = direction(&mut random, &id, dimensions);
                w.memories.remember(&w.anna, fact(&w.env, &format!("shared {number}")), Some(embedding)).await.expect("stored");
            }
            for number in 0..60 {
                // Nearer than all of Anna's, but Ben's own.
                let mut near = question.clone();
                near.vector[0] += 0.001 * number as f32;
                let near = Embedding::new(near.model.clone(), near.vector).expect("a direction");
                let private = NewMemory { visibility: Visibility::Private, ..fact(&w.env, &format!("private {number}")) };
                w.memories.remember(&w.ben, private, Some(near)).await.expect("stored");
            }
            let answer = w.memories.recall(&w.anna, w.query("", Some(question.clone()), RecallMode::Vector)).await.expect("an answer");
            assert_eq!(answer.items.len(), 10);
            assert!(answer.items.iter().all(|item| item.memory.text.starts_with("shared")));
        }
    }

    /// Fusion loses neither.
    async fn hybrid_finds_what_either_signal_finds(w) {
        let words = w.memories.remember(&w.anna, fact(&w.env, "The plumber is called Oskar"), Some(vector("m", &[0.0, 1.0]))).await.expect("stored");
        let meaning = w.memories.remember(&w.anna, fact(&w.env, "Handyman for pipes: Mr Weber"), Some(vector("m", &[1.0, 0.05]))).await.expect("stored");
        for number in 0..5 {
            let text = format!("Unrelated note {number}");
            w.memories.remember(&w.anna, fact(&w.env, &text), Some(vector("m", &[-1.0, number as f32]))).await.expect("stored");
        }
        let query = w.query("Who is the plumber?", Some(vector("m", &[1.0, 0.0])), RecallMode::Hybrid);
        let answer = w.memories.recall(&w.anna, query).await.expect("an answer");
        assert_eq!(answer.mode, RecallMode::Hybrid);
        let mut best = ids(&answer)[..2].to_vec();
        best.sort();
        let mut expected = vec![words.id, meaning.id];
        expected.sort();
        assert_eq!(best, expected);
        assert!(answer.items.windows(2).all(|pair| pair[0].score >= pair[1].score));
        let by_words = answer.items.iter().find(|item| item.memory.id == words.id).expect("found");
        assert!(by_words.text_score.is_some() && by_words.vector_score.is_some());
    }

    /// S7.
    async fn without_a_vector_hybrid_is_full_text_and_says_so(w) {
        let stored = w.remember(&w.anna, fact(&w.env, "Saffron is in the blue tin")).await;
        let answer = w.memories.recall(&w.anna, w.query("saffron", None, RecallMode::Hybrid)).await.expect("an answer");
        assert_eq!((answer.mode, ids(&answer)), (RecallMode::Fts, vec![stored.id]));
        assert!(answer.items[0].vector_score.is_none());
        let refused = w.memories.recall(&w.anna, w.query("saffron", None, RecallMode::Vector)).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))));
    }

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

    /// Read your writes, between other recalls that may have filled a cache.
    async fn what_is_written_is_found_at_once(w) {
        let mut random = ChaCha8Rng::seed_from_u64(9);
        for dimensions in [8, 520] {
            for number in 0..30 {
                let embedding = direction(&mut random, &format!("w{dimensions}"), dimensions);
                let stored = w.memories.remember(&w.anna, fact(&w.env, &format!("note {number}")), Some(embedding.clone())).await.expect("stored");
                let answer = w.memories.recall(&w.anna, w.query("", Some(embedding), RecallMode::Vector)).await.expect("an answer");
                assert_eq!(answer.items[0].memory.id, stored.id);
            }
        }
    }

    /// M8 as far as memories go: the text is nowhere, a tombstone stays, the receipt is the first one's.
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
        assert!(matches!(w.memories.edit(&w.anna, new.id, edit).await, Err(StoreError::Conflict(_))));
        assert_eq!(w.found(&w.carl, "canary").await, [other.id], "another workspace is untouched");
        assert!(w.system.unembedded(&model("m", 2), Locality::Local, 9).await.expect("read").iter().all(|m| m.memory == other.id));
    }

    /// Members their own, owners any shared one; the refusal names the role.
    async fn redaction_is_for_owners_of_a_memory(w) {
        let annas = w.remember(&w.anna, fact(&w.env, "Anna's fact")).await;
        let bens = w.remember(&w.ben, fact(&w.env, "Ben's fact")).await;
        assert_denied(w.memories.redact(&w.ben, annas.id, w.env.id()).await, "owner");
        assert_eq!(w.found(&w.ben, "Anna").await, [annas.id]);
        w.memories.redact(&w.anna, bens.id, w.env.id()).await.expect("redacted by the owner");
        let own = w.remember(&w.ben, NewMemory { visibility: Visibility::Private, ..fact(&w.env, "Ben's own") }).await;
        w.memories.redact(&w.ben, own.id, w.env.id()).await.expect("redacted by its owner");
        assert!(matches!(w.memories.redact(&w.ben, w.env.id(), w.env.id()).await, Err(StoreError::NotFound(_))));
    }

    /// Each says what to mend; nothing is stored.
    async fn bad_requests_are_refused_with_a_sentence(w) {
        let bad = [
            fact(&w.env, "  "),
            fact(&w.env, &"x".repeat(NewMemory::MAX_TEXT + 1)),
            NewMemory { domain: MemoryDomain::Working, ..fact(&w.env, "Without an end") },
            NewMemory { expires_at: Some(w.env.now()), ..fact(&w.env, "A fact with an end") },
        ];
        for memory in bad {
            let refused = w.memories.remember(&w.anna, memory, None).await;
            assert!(matches!(&refused, Err(StoreError::Invalid(sentence)) if sentence.ends_with('.')), "{refused:?}");
        }
        let short = Embedding { model: model("m", 3), vector: vec![1.0] };
        assert!(matches!(w.memories.remember(&w.anna, fact(&w.env, "Short"), Some(short)).await, Err(StoreError::Invalid(_))));
        for limit in [0, 101] {
            let query = RecallQuery { limit, ..w.query("x", None, RecallMode::Fts) };
            assert!(matches!(w.memories.recall(&w.anna, query).await, Err(StoreError::Invalid(_))));
        }
        assert!(w.memories.list(&w.anna, MemoryFilter::default(), PageRequest::first(9)).await.expect("listed").items.is_empty());
    }
}

fn cosine(a: &Embedding, b: &Embedding) -> f64 {
    a.vector
        .iter()
        .zip(&b.vector)
        .map(|(x, y)| f64::from(*x) * f64::from(*y))
        .sum()
}
