//! What every [`MemoryStore`] does, and the memory part of every [`SystemStore`].
//!
//! An adapter's test is a constructor and one line: `duet_core::memory_contract!(new_world);`.

use std::{collections::BTreeMap, sync::Arc};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::{
    caller::{ActingAgent, Caller},
    clock::Env,
    domain::{
        Bar, Capability, Claim, Egress, Embedding, EmbeddingModel, EventKind, LeasePolicy, Locality, Memory, MemoryDomain,
        MemoryScopes, NewMemory, NewTurn, Position, Provenance, RecallAnswer, RecallMode, RecallQuery, Taint, Visibility,
    },
    ids::{AgentId, ConversationId, MemoryId, UserId},
    ports::{MemoryStore, Stores, SystemStore},
};

/// Declares public checks; `w` is a fresh [`World`] for each.
macro_rules! rules {
    ($($(#[$doc:meta])* async fn $name:ident($world:ident) $body:block)+) => {$(
        $(#[$doc])*
        pub async fn $name($world: World) $body
    )+};
}

mod access;
mod embedding;
mod proposals;
mod recalling;
mod redaction;
mod storing;
mod validity;

pub use self::{access::*, embedding::*, proposals::*, recalling::*, redaction::*, storing::*, validity::*};

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
    /// An agent of the first workspace that may do everything with memories; the rules restrict it.
    pub agent: AgentId,
    /// For each person of the first workspace, the run that the agent works in: [`run_of`].
    pub runs: BTreeMap<UserId, Claim>,
    /// Keeps something alive meanwhile (a folder, say).
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
            refused_texts_keep_nothing_from_its_vector,
            a_broken_embedder_puts_nothing_off,
            what_is_put_off_comes_back,
            the_backlog_is_fair_between_workspaces,
            what_is_written_is_found_at_once,
            redaction_takes_everything_and_can_be_repeated,
            a_redaction_id_is_used_once,
            redaction_follows_only_what_it_replaced,
            superseding_anothers_memory_is_a_proposal,
            an_author_decides_on_what_takes_the_place_of_theirs,
            what_has_become_private_is_not_replaced,
            untrusted_notes_take_the_place_of_nothing,
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

/// A model with this id and few dimensions.
pub fn model(id: &str, dimensions: u32) -> EmbeddingModel {
    EmbeddingModel {
        id: id.to_owned(),
        dimensions,
    }
}

/// A vector of the model with this direction.
pub fn vector(id: &str, components: &[f32]) -> Embedding {
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

fn agent_of(w: &World, person: &Caller, capabilities: &[Capability], domains: &[MemoryDomain], private: bool) -> Caller {
    person.with_agent(ActingAgent {
        agent: w.agent,
        run: w.runs[&person.user].run.id,
        capabilities: capabilities.iter().copied().collect(),
        memory_scopes: MemoryScopes {
            domains: domains.iter().copied().collect(),
            private,
        },
        locality: Locality::Local,
    })
}

/// A run of this person, active for as long as its claim lives, in which the agent works: an agent can write in no other.
pub async fn run_of(stores: &Stores, env: &Env, person: &Caller, agent: AgentId) -> Claim {
    let conversation = stores.conversations.create(person, env.id(), Some(agent), None).await;
    let turn = NewTurn::new(env, conversation.expect("a conversation").id, "Go on");
    let run = stores.runs.start_turn(person, turn).await.expect("a turn").run_id;
    let claim = stores
        .system
        .claim_run(LeasePolicy::default(), EventKind::ALL)
        .await
        .expect("claimed");
    let claim = claim.expect("a run to claim");
    assert_eq!(claim.run.id, run, "no other run waits");
    claim
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
            bar: Bar::NONE,
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

fn cosine(a: &Embedding, b: &Embedding) -> f64 {
    a.vector
        .iter()
        .zip(&b.vector)
        .map(|(x, y)| f64::from(*x) * f64::from(*y))
        .sum()
}
