//! The crash simulator: plays seeded turns on an adapter's real stores, loses the driver at every point where a process can die,
//! lets another claim continue, and compares the outcome with the undisturbed turn.
//!
//! What must hold wherever the crash happens:
//! - apart from the marks of recovery, the log is that of an undisturbed turn, and so is the reply;
//! - except that a reply interrupted while it was being written ends as `interrupted` with exactly the text that the log shows, and
//!   continuing it gives the undisturbed text;
//! - calls that change nothing run side by side, and whichever of them was lost is made again; a call that the other side knows by
//!   its key is repeated and counts once; one that can be looked up is repeated only if it did not happen; for one
//!   that cannot the run waits until a person has looked, and it is never made twice;
//! - what `remember` wrote is stored once;
//! - a write whose answer is lost with its connection is stored once, and the turn continues as if nothing had happened.

mod asking;
mod fuse;
mod model;
mod script;

pub use self::asking::{ask_at_every_step, decide_at_every_step};

use std::{sync::Arc, time::Duration};

use futures::FutureExt;

use self::{
    fuse::{Fuse, fused},
    model::{ScriptedModel, ScriptedModels},
    script::{Outdoors, Outside, Pay, PostLetter, RingBell, Script},
};
use super::world::changes_need;
use crate::{
    caller::Caller,
    clock::Env,
    domain::{
        AgentEdit, Claim, EventKind, LeasePolicy, LogRange, MemoryFilter, Message, MessageRole, MessageStatus, ModelFailure,
        NewTurn, PageRequest, ProposedCall, RequestKind, RetryMode, RetryTurn, Role, Run, RunEvent, RunStatus, StoredEvent,
        TurnLimits, TurnReceipt,
    },
    ids::{ConversationId, MessageId, RunId, SessionId, UserId, WorkspaceId},
    policy::Say,
    ports::Stores,
    run::{Advice, Driver, DriverParts},
    tools::{Tool, ToolRegistry},
};

/// What a simulation runs on: fresh stores with one account, and a clock that can be put forward.
pub struct Host {
    /// The adapter's stores.
    pub stores: Stores,
    /// The adapter's time and randomness. `sleep` must return without real waiting.
    pub env: Env,
    /// An account that may own workspaces.
    pub user: UserId,
    /// A live sign-in of theirs.
    pub session: SessionId,
    /// Moves the clock forward.
    pub advance: Box<dyn Fn(Duration) + Send + Sync>,
}

/// The seeds to play: fifty, or as many as `DUET_TEST_SEEDS` says.
pub fn seeds() -> std::ops::Range<u64> {
    let asked = std::env::var("DUET_TEST_SEEDS").ok();
    0..asked.and_then(|seeds| seeds.parse().ok()).unwrap_or(50)
}

/// One turn in a workspace of its own.
struct Scene<'a> {
    host: &'a Host,
    caller: Caller,
    conversation: ConversationId,
    turn: TurnReceipt,
    script: Arc<Script>,
    outside: Arc<Outside>,
}

/// Plays the turn of one seed undisturbed, then once for every crash point, and panics if an outcome differs. Returns how many
/// crash points there were.
pub async fn crash_at_every_step(host: &Host, seed: u64) -> usize {
    let script = Arc::new(Script::seeded(seed));
    let calm = Scene::open(host, &script, Say::Allow).await;
    let fuse = Fuse::counting();
    assert!(calm.drive(&fuse).await, "seed {seed}: the undisturbed turn came to no end");
    let expected = calm.seen().await;
    assert_eq!(expected.run.status, RunStatus::Done, "seed {seed}: {:?}", expected.run.reason);
    assert_eq!(
        text_of(expected.reply.as_ref()),
        script.reply(),
        "seed {seed}: not what the model said"
    );
    let points = fuse.passed();
    for point in 1..=points {
        let scene = Scene::open(host, &script, Say::Allow).await;
        let fuse = Fuse::blowing_at(point);
        if !scene.drive(&fuse).await {
            (host.advance)(LeasePolicy::default().duration + Duration::from_secs(1));
            // A driver lost after the last commit leaves nothing to recover.
            let ended = scene.seen().await.run.status.is_final();
            assert!(
                scene.drive(&Fuse::counting()).await != ended,
                "seed {seed}, point {point}: ended: {ended}"
            );
        }
        scene
            .check(&expected, &format!("seed {seed}, point {point} of {points}"))
            .await;
    }
    points
}

/// Plays the turn of one seed and breaks the connection after each write of its log, so that the answer is lost and the write is
/// repeated: nothing may be stored twice.
pub async fn lose_answers_at_every_write(host: &Host, seed: u64) {
    let script = Arc::new(Script::seeded(seed));
    let calm = Scene::open(host, &script, Say::Allow).await;
    let fuse = Fuse::counting();
    assert!(calm.drive(&fuse).await, "seed {seed}: the undisturbed turn came to no end");
    let expected = calm.seen().await;
    for write in 1..=fuse.written() {
        let place = format!("seed {seed}, the answer of write {write} lost");
        let scene = Scene::open(host, &script, Say::Allow).await;
        assert!(scene.drive(&Fuse::losing_answer(write)).await, "{place}: came to no end");
        let seen = scene.seen().await;
        assert_eq!(seen.run.status, RunStatus::Done, "{place}: {:?}", seen.run.reason);
        let shown = shown_text(&seen.log);
        assert_eq!(
            text_of(seen.reply.as_ref()),
            shown,
            "{place}: the reply is not what was shown"
        );
        scene.check(&expected, &place).await;
    }
}

/// Plays the turn of one seed and has the person cancel it at every point; the reply must be exactly the text that the
/// log shows.
pub async fn cancel_at_every_step(host: &Host, seed: u64) {
    let script = Arc::new(Script::seeded(seed));
    let calm = Scene::open(host, &script, Say::Allow).await;
    let fuse = Fuse::counting();
    assert!(calm.drive(&fuse).await);
    for point in 1..=fuse.passed() {
        let place = format!("seed {seed}, cancelled at point {point}");
        let scene = Scene::open(host, &script, Say::Allow).await;
        let (runs, caller, run) = (host.stores.runs.clone(), scene.caller.clone(), scene.turn.run_id);
        let fuse = Fuse::calling_at(
            point,
            Box::new(move || {
                let (runs, caller) = (runs.clone(), caller.clone());
                async move { runs.cancel(&caller, run).await.map(|_| ()).expect("cancel") }.boxed()
            }),
        );
        assert!(scene.drive(&fuse).await, "{place}: came to no end");
        let seen = scene.seen().await;
        assert!(
            matches!(seen.run.status, RunStatus::Cancelled | RunStatus::Done),
            "{place}: {:?}",
            seen.run.status
        );
        let shown = shown_text(&seen.log);
        let stored = seen.reply.map(|reply| reply.text).unwrap_or_default();
        assert_eq!(stored.trim(), shown.trim(), "{place}: the reply is not what was shown");
        assert!(!scene.outside.is_overdone(&script), "{place}: something was done twice");
    }
}

/// What is visible of a turn afterwards.
struct Seen {
    run: Run,
    log: Vec<StoredEvent>,
    reply: Option<Message>,
    memories: Vec<String>,
}

impl<'a> Scene<'a> {
    /// `say` is what policy says of calls that change something.
    async fn open(host: &'a Host, script: &Arc<Script>, say: Say) -> Self {
        let env = &host.env;
        let workspace: WorkspaceId = env.id();
        host.stores
            .workspaces
            .create(host.user, workspace, "Simulation", "Sim")
            .await
            .expect("workspace");
        let caller = Caller::person(host.user, workspace, Role::Owner);
        changes_need(&host.stores, &caller, say).await;
        let conversation = host
            .stores
            .conversations
            .create(&caller, env.id(), None, None)
            .await
            .expect("conversation");
        let agent = host
            .stores
            .agents
            .agent(&caller, conversation.agent_id)
            .await
            .expect("agent")
            .expect("the companion");
        let mut tools = agent.tools.clone();
        tools.extend([RingBell::NAME, PostLetter::NAME, Pay::NAME].map(str::to_owned));
        let mut capabilities = agent.capabilities.clone();
        capabilities.extend(crate::domain::Capability::ALL.iter().copied());
        let edit = AgentEdit {
            tools: Some(tools),
            capabilities: Some(capabilities),
            ..AgentEdit::default()
        };
        host.stores
            .agents
            .edit_agent(&caller, agent.id, agent.version, edit)
            .await
            .expect("agent with a bell");
        let turn = NewTurn::new(env, conversation.id, "Please go through your script.");
        let turn = host.stores.runs.start_turn(&caller, turn).await.expect("turn");
        Self {
            host,
            caller,
            conversation: conversation.id,
            turn,
            script: script.clone(),
            outside: Arc::default(),
        }
    }

    /// Claims the queued run and drives it; `false` when the fuse blew first and the driver was lost.
    async fn drive(&self, fuse: &Arc<Fuse>) -> bool {
        let stores = fused(&self.host.stores, fuse);
        let model = ScriptedModel {
            script: self.script.clone(),
            runs: self.host.stores.runs.clone(),
            caller: self.caller.clone(),
            run: self.turn.run_id,
            fuse: fuse.clone(),
        };
        let outdoors = Outdoors {
            outside: self.outside.clone(),
            fuse: fuse.clone(),
        };
        let driver = Driver::new(DriverParts {
            env: self.host.env.clone(),
            stores: stores.clone(),
            models: Arc::new(ScriptedModels(Arc::new(model))),
            embedder: None,
            tools: Arc::new(
                ToolRegistry::companion()
                    .with(RingBell(outdoors.clone()))
                    .with(PostLetter(outdoors.clone()))
                    .with(Pay(outdoors)),
            ),
            lease: LeasePolicy::default(),
            advice: Advice::Logged,
        });
        let Some(claim) = self.claim().await else {
            return false;
        };
        let ended = driver.drive(claim).fuse();
        let lost = fuse.blown().fuse();
        futures::pin_mut!(ended, lost);
        futures::select_biased! {
            status = ended => { status.expect("the drive"); true }
            () = lost => false,
        }
    }

    /// Claims the run, if there is something to do in it. A write that was on its way when its driver was lost may still hold the run
    /// for a moment.
    async fn claim(&self) -> Option<Claim> {
        const TRIES: usize = 10_000;
        for _ in 0..TRIES {
            let system = &self.host.stores.system;
            let claim = system.claim_run(LeasePolicy::default(), EventKind::ALL).await.expect("claim");
            let due = matches!(self.run().await.status, RunStatus::Queued | RunStatus::Running);
            if claim.is_some() || !due {
                return claim;
            }
        }
        None
    }

    async fn run(&self) -> Run {
        let runs = &self.host.stores.runs;
        runs.run(&self.caller, self.turn.run_id).await.expect("run").expect("the run")
    }

    async fn memories(&self) -> Vec<String> {
        let memories = &self.host.stores.memories;
        let page = memories
            .list(&self.caller, MemoryFilter::default(), PageRequest::first(200))
            .await;
        let mut texts: Vec<String> = page.expect("memories").items.into_iter().map(|memory| memory.text).collect();
        texts.sort();
        texts
    }

    async fn seen(&self) -> Seen {
        let conversations = &self.host.stores.conversations;
        let messages = conversations
            .messages(&self.caller, self.conversation, PageRequest::first(50))
            .await;
        let replies: Vec<Message> = messages
            .expect("messages")
            .items
            .into_iter()
            .filter(|message| message.role == MessageRole::Assistant)
            .collect();
        assert!(replies.len() <= 1, "{} replies to one message", replies.len());
        Seen {
            log: self.log(self.turn.run_id).await,
            run: self.run().await,
            reply: replies.into_iter().next(),
            memories: self.memories().await,
        }
    }

    async fn log(&self, run: RunId) -> Vec<StoredEvent> {
        let page = self
            .host
            .stores
            .runs
            .events(&self.caller, run, LogRange::whole(0, 10_000))
            .await
            .expect("events");
        for (index, stored) in page.events.iter().enumerate() {
            assert_eq!(stored.seq, index as u64 + 1, "the log has a gap");
        }
        page.events
    }

    async fn check(&self, expected: &Seen, place: &str) {
        let seen = self.seen().await;
        assert!(!self.outside.is_overdone(&self.script), "{place}: something was done twice");
        match seen.run.status {
            RunStatus::Done => {
                assert_eq!(story(&seen.log), story(&expected.log), "{place}: another story");
                assert_eq!(
                    text_of(seen.reply.as_ref()),
                    text_of(expected.reply.as_ref()),
                    "{place}: another reply"
                );
                assert_eq!(seen.reply.map(|reply| reply.status), Some(MessageStatus::Complete), "{place}");
                assert_eq!(seen.memories, expected.memories, "{place}: other memories");
                assert!(self.outside.is_done(&self.script), "{place}: something was not done");
            }
            RunStatus::Interrupted => {
                let reply = seen.reply.unwrap_or_else(|| panic!("{place}: interrupted without a reply"));
                assert_eq!(reply.status, MessageStatus::Interrupted, "{place}");
                assert_eq!(reply.text, shown_text(&seen.log), "{place}: the reply is not what was shown");
                let whole = text_of(expected.reply.as_ref());
                // The whole reply, if only the record of its end was lost.
                assert!(whole.starts_with(&reply.text), "{place}: not a part of the whole reply");
                self.go_on(reply.id, &whole, place).await;
            }
            RunStatus::Waiting => {
                let review = |stored: &StoredEvent| {
                    matches!(
                        &stored.event,
                        Some(RunEvent::Asked {
                            kind: RequestKind::Review,
                            ..
                        })
                    )
                };
                assert!(seen.log.iter().any(review), "{place}: a wait without a reason");
            }
            status => panic!("{place}: ended as {status} ({:?})", seen.run.reason),
        }
    }

    /// Continues an interrupted reply: it keeps its id and is completed.
    async fn go_on(&self, reply: MessageId, whole: &str, place: &str) {
        let env = &self.host.env;
        let retry = RetryTurn {
            message_id: self.turn.message_id,
            run_id: env.id(),
            reply_id: env.id(),
            mode: RetryMode::Continue,
            limits: TurnLimits::default(),
        };
        let turn = self
            .host
            .stores
            .runs
            .retry_turn(&self.caller, retry)
            .await
            .unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(turn.reply_id, reply, "{place}: continuing keeps the reply");
        assert!(
            self.drive(&Fuse::counting()).await,
            "{place}: the continuation came to no end"
        );
        let seen = self.seen().await;
        let continued = seen.reply.unwrap_or_else(|| panic!("{place}: no reply after continuing"));
        assert_eq!(
            (continued.id, continued.text.as_str(), continued.status),
            (reply, whole, MessageStatus::Complete),
            "{place}"
        );
    }
}

fn text_of(reply: Option<&Message>) -> String {
    reply.map(|reply| reply.text.clone()).unwrap_or_default()
}

/// The reply's text as a reader of the log sees it: text of a failed attempt is discarded, unless the person had stopped the run by
/// then and keeps what was shown.
fn shown_text(log: &[StoredEvent]) -> String {
    let mut prefix = String::new();
    let mut steps: Vec<String> = Vec::new();
    let mut stopped = false;
    for stored in log {
        match &stored.event {
            Some(RunEvent::Started { prefix: continued, .. }) => prefix.clone_from(continued),
            Some(RunEvent::CancelRequested { .. }) => stopped = true,
            Some(RunEvent::Delta { step, text }) => {
                steps.resize(steps.len().max(*step as usize), String::new());
                steps[*step as usize - 1].push_str(text);
            }
            Some(RunEvent::ModelFailed { step, .. }) if !stopped => {
                steps.resize(steps.len().max(*step as usize), String::new());
                steps[*step as usize - 1].clear();
            }
            _ => {}
        }
    }
    prefix + &steps.concat()
}

/// A log without ids, times and the marks of recovery, with neighbouring deltas as one. Calls that run side by side end in any order.
fn story(log: &[StoredEvent]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut open: Option<(u32, String)> = None;
    for event in log.iter().filter_map(|stored| stored.event.as_ref()) {
        if let RunEvent::Delta { step, text } = event {
            match &mut open {
                Some((same, so_far)) if same == step => so_far.push_str(text),
                _ => open = Some((*step, text.clone())),
            }
            continue;
        }
        let line = match event {
            RunEvent::Recovered { .. }
            | RunEvent::Resumed { .. }
            | RunEvent::ModelCalled { .. }
            | RunEvent::ToolStarted { .. }
            | RunEvent::ToolNotDone { .. }
            | RunEvent::Delta { .. } => {
                continue;
            }
            RunEvent::Started { .. } => "started".to_owned(),
            RunEvent::Context { history, recalled, .. } => format!("context {} {}", history.len(), recalled.len()),
            RunEvent::ModelReplied {
                step, tool_calls, stop, ..
            } => {
                let calls: Vec<_> = tool_calls
                    .iter()
                    .map(|ProposedCall { call, .. }| format!("{}{}", call.name, call.arguments))
                    .collect();
                format!("reply {step} {stop} {}", calls.join(" "))
            }
            // Text of a failed attempt is discarded, however much of it had arrived.
            RunEvent::ModelFailed {
                step, attempt, failure, ..
            } => {
                open = None;
                format!("failed {step} {attempt} {failure}")
            }
            RunEvent::LimitReached { message, .. } => format!("limit {message}"),
            RunEvent::RetryDue { step } => format!("retry {step}"),
            RunEvent::ToolFinished { effect, status, output } => {
                format!(
                    "tool {effect} {status} {} {} {}",
                    output.text,
                    output.memories.len(),
                    output.remembered.len()
                )
            }
            RunEvent::Asked { effect, kind, .. } => format!("asked {effect} {kind}"),
            RunEvent::Decided { effect, decision, .. } => format!("decided {effect} {decision:?}"),
            RunEvent::PauseRequested { .. } => "pause".to_owned(),
            RunEvent::ResumeRequested { .. } => "resume".to_owned(),
            RunEvent::Suspended { reply, .. } => format!("suspended {reply:?}"),
            RunEvent::CancelRequested { .. } => "cancel".to_owned(),
            RunEvent::Finished { outcome, reply, .. } => format!("finished {outcome:?} {reply:?}"),
        };
        lines.extend(open.take().map(|(step, text)| format!("text {step} {text}")));
        lines.push(line);
    }
    for side_by_side in lines.chunk_by_mut(|one, next| one.starts_with("tool ") && next.starts_with("tool ")) {
        side_by_side.sort();
    }
    lines
}

/// The failure that scripts use: transient, so that the machine tries again.
const TRANSIENT: ModelFailure = ModelFailure::Busy;
