//! What the suites build on: an adapter's harness, their own clock and randomness, and a small world of people.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Writes, simulator::Host};
use crate::{
    caller::{ActingAgent, Caller},
    clock::{Clock, Env, Random, Timestamp},
    domain::{
        Agent, AgentKind, Claim, Conversation, EventKind, LeasePolicy, Locality, MessageStatus, MessageTrace, NewInvitation,
        NewTurn, OwnerSetup, Reply, Role, RunStatus, Session, Settlement, TurnReceipt, Workspace,
    },
    error::{StoreError, StoreResult},
    ids::{ConversationId, RunId, SessionId, UserId, WorkspaceId},
    policy::{Rule, Say, ToolCategory},
    ports::Stores,
    refusal::Refusal,
};

/// An adapter under test: fresh, empty stores.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The stores, made with [`TestEnv::env`].
    fn stores(&self) -> Stores;
    /// The time and randomness that the stores were given.
    fn env(&self) -> TestEnv;
    /// Creates an account for somebody who was never invited, the way this deployment's sign-in does; the address counts as
    /// verified.
    async fn account(&self, email: &str) -> UserId;
    /// A live sign-in of this person.
    async fn sign_in(&self, user: UserId) -> SessionId {
        let env = self.env().env();
        let session = Session {
            id: env.id(),
            user_id: user,
            created_at: env.now(),
            expires_at: env.now().plus(Duration::from_secs(10 * 365 * 24 * 3600)),
            by_device: false,
            by_machine: false,
        };
        let id = session.id;
        let signed_in = self.stores().accounts.create_session(session, env.bytes()).await;
        signed_in.expect("a sign-in");
        id
    }
}

/// A clock that the test sets, and seeded randomness. The clock advances by a millisecond each time it is read, so that no two
/// things happen at the same time; `sleep` returns at once, except that waits of five seconds or more (heartbeats) never end.
#[derive(Clone)]
pub struct TestEnv {
    shared: Arc<Shared>,
}

struct Shared {
    millis: AtomicI64,
    step: AtomicI64,
    chance: Mutex<ChaCha8Rng>,
}

impl TestEnv {
    /// A fixed day in 2026 and this seed.
    pub fn new(seed: u64) -> Self {
        let chance = Mutex::new(ChaCha8Rng::seed_from_u64(seed));
        Self {
            shared: Arc::new(Shared {
                millis: AtomicI64::new(1_790_000_000_000),
                step: AtomicI64::new(1),
                chance,
            }),
        }
    }
    /// With a clock that moves only on demand.
    #[must_use]
    pub fn standing_still(self) -> Self {
        self.shared.step.store(0, Ordering::SeqCst);
        self
    }
    /// Sets the clock to a time in milliseconds.
    pub fn set(&self, millis: i64) {
        self.shared.millis.store(millis, Ordering::SeqCst);
    }
    /// The environment for the code under test.
    pub fn env(&self) -> Env {
        Env::new(self.shared.clone(), self.shared.clone())
    }
    /// Moves the clock forward.
    pub fn advance(&self, duration: Duration) {
        self.shared
            .millis
            .fetch_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for Shared {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.millis.fetch_add(self.step.load(Ordering::SeqCst), Ordering::SeqCst))
    }
    async fn sleep(&self, duration: Duration) {
        if duration >= Duration::from_secs(5) {
            std::future::pending::<()>().await;
        }
    }
}

impl Random for Shared {
    fn fill(&self, buffer: &mut [u8]) {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(buffer);
    }
}

/// A workspace with an owner and a member, and a stranger with a workspace of their own.
pub struct World {
    /// The adapter's stores.
    pub stores: Stores,
    /// Time and randomness.
    pub env: Env,
    /// To move the clock forward.
    pub time: TestEnv,
    /// Owner of the first workspace.
    pub owner: Caller,
    /// Member of the first workspace.
    pub member: Caller,
    /// Owner of the second workspace; not a member of the first.
    pub stranger: Caller,
    /// The first workspace.
    pub workspace: Workspace,
    /// A live sign-in of each of them.
    pub sign_ins: BTreeMap<UserId, SessionId>,
}

impl World {
    /// Populates the harness's empty stores.
    pub async fn new(harness: &dyn Harness) -> Self {
        let (stores, time) = (harness.stores(), harness.env());
        let env = time.env();
        let token = [7; 32];
        assert!(stores.accounts.needs_owner().await.expect("a fresh installation"));
        stores.accounts.put_setup_token(token).await.expect("setup token");
        let (user, workspace) = stores
            .accounts
            .create_owner(Self::setup(token, "ana@example.org"))
            .await
            .expect("owner");
        let owner = Caller::person(user.id, workspace.id, Role::Owner);
        let ben = harness.account("ben@example.org").await;
        let invitation = Self::invitation_to(&env, 255, "ben@example.org");
        stores.invitations.create(&owner, invitation).await.expect("invitation");
        stores.invitations.accept(ben, [255; 32], None).await.expect("member");
        let cleo = harness.account("cleo@example.org").await;
        let second: WorkspaceId = env.id();
        stores
            .workspaces
            .create(cleo, second, "Cleo's", "Echo")
            .await
            .expect("second workspace");
        let mut sign_ins = BTreeMap::new();
        for person in [user.id, ben, cleo] {
            sign_ins.insert(person, harness.sign_in(person).await);
        }
        Self {
            sign_ins,
            owner,
            member: Caller::person(ben, workspace.id, Role::Member),
            stranger: Caller::person(cleo, second, Role::Owner),
            workspace,
            stores,
            env,
            time,
        }
    }

    /// What a first owner provides.
    pub fn setup(token_hash: [u8; 32], email: &str) -> OwnerSetup {
        OwnerSetup {
            token_hash,
            email: email.into(),
            display_name: "Ana".into(),
            password_hash: "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g".into(),
            workspace_name: "Home".into(),
            companion_name: "Juno".into(),
        }
    }

    /// An invitation for this address, with this byte as its token's hash.
    pub fn invitation(&self, token: u8, email: &str) -> NewInvitation {
        Self::invitation_to(&self.env, token, email)
    }

    fn invitation_to(env: &Env, token: u8, email: &str) -> NewInvitation {
        NewInvitation {
            id: env.id(),
            email: email.into(),
            role: Role::Member,
            token_hash: [token; 32],
            lifetime: NewInvitation::LIFETIME,
        }
    }

    /// The active companion of the caller's workspace.
    pub async fn companion(&self, caller: &Caller) -> Agent {
        let agents = self.stores.agents.agents(caller).await.expect("agents");
        agents
            .into_iter()
            .find(|agent| agent.kind == AgentKind::CompanionPrimary)
            .expect("a companion")
    }

    /// The companion acting for a person, in an arbitrary run.
    pub async fn agent_of(&self, caller: &Caller) -> Caller {
        self.agent_in(caller, self.env.id()).await
    }

    /// The companion acting for a person, in a run that is active for as long as its claim lives: it may write memories.
    pub async fn agent_at_work(&self, caller: &Caller) -> (Claim, Caller) {
        let agent = self.companion(caller).await;
        let claim = super::memories::run_of(&self.stores, &self.env, caller, agent.id).await;
        let agent = self.agent_in(caller, claim.run.id).await;
        (claim, agent)
    }

    /// The companion acting for a person in this run.
    pub async fn agent_in(&self, caller: &Caller, run: RunId) -> Caller {
        let agent = self.companion(caller).await;
        caller.with_agent(ActingAgent {
            agent: agent.id,
            run,
            capabilities: agent.capabilities,
            memory_scopes: agent.memory_scopes,
            locality: Locality::Local,
        })
    }

    /// A new conversation.
    pub async fn conversation(&self, caller: &Caller) -> Conversation {
        self.stores
            .conversations
            .create(caller, self.env.id(), None, None)
            .await
            .expect("conversation")
    }

    /// A turn with fresh ids.
    pub fn turn(&self, conversation: ConversationId, text: &str) -> NewTurn {
        NewTurn::new(&self.env, conversation, text)
    }

    /// Starts a turn.
    pub async fn ask(&self, caller: &Caller, conversation: ConversationId, text: &str) -> TurnReceipt {
        self.stores
            .runs
            .start_turn(caller, self.turn(conversation, text))
            .await
            .expect("turn")
    }

    /// Claims the next run under the default policy.
    pub async fn claim(&self) -> Option<Claim> {
        self.stores
            .system
            .claim_run(LeasePolicy::default(), EventKind::ALL)
            .await
            .expect("claim")
    }

    /// Starts a turn in a new conversation of the owner and claims its run.
    pub async fn claimed(&self) -> Claim {
        let conversation = self.conversation(&self.owner).await;
        self.ask(&self.owner, conversation.id, "Hello").await;
        self.claim().await.expect("a run to claim")
    }

    /// Ends a claimed run whose log ends at `last_seq` as done, with this reply.
    pub async fn end(&self, claim: &Claim, last_seq: u64, reply: Option<&str>) {
        let settlement = Settlement {
            status: RunStatus::Done,
            reason: None,
            reply: reply.map(|text| Reply {
                status: MessageStatus::Complete,
                text: text.into(),
                trace: MessageTrace::default(),
            }),
        };
        self.stores
            .run_log
            .settle(claim.run.id, claim.lease, last_seq, self.env.id(), Vec::new(), settlement)
            .await
            .expect("an end");
    }

    /// Moves the clock beyond every lease. Where leases do not expire, a run counts as lost if its claim was dropped before.
    pub fn outlive_leases(&self) {
        self.time.advance(LeasePolicy::default().duration + Duration::from_secs(1));
    }

    /// The host for the simulator.
    pub fn host(&self) -> Host {
        let time = self.time.clone();
        Host {
            stores: self.stores.clone(),
            env: self.env.clone(),
            user: self.owner.user,
            session: self.sign_ins[&self.owner.user],
            advance: Box::new(move |duration| time.advance(duration)),
        }
    }
}

/// Lets the agents of the owner's workspace do all that their capabilities allow, without asking anybody.
pub(super) async fn allow_all(stores: &Stores, owner: &Caller) {
    changes_need(stores, owner, Say::Allow).await;
}

/// The same, but with this rule for calls that change something.
pub(super) async fn changes_need(stores: &Stores, owner: &Caller, say: Say) {
    let rule = |category: &ToolCategory| match category {
        ToolCategory::MemoryWrite | ToolCategory::External => Rule::of(*category, say),
        ToolCategory::MemoryRead | ToolCategory::ConversationRead | ToolCategory::Question => Rule::of(*category, Say::Allow),
    };
    let rules: Vec<Rule> = ToolCategory::ALL.iter().map(rule).collect();
    let newest = stores.policies.policy(owner).await.expect("the policy");
    // One world may see several plays.
    if newest.rules != rules {
        let written = stores.policies.write_policy(owner, newest.version, rules).await;
        written.expect("another policy");
    }
}

/// Asserts a refusal for this reason.
pub fn assert_refused<T: std::fmt::Debug>(result: StoreResult<T>, why: Refusal) {
    assert_eq!(result.as_ref().err().and_then(StoreError::refusal), Some(&why), "{result:?}");
}
