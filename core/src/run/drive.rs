//! Driving one claimed run until it ends or waits: the effects that its machine asks for are kept under way side by side, and
//! whatever they say is written to the log, under the lease, before anything acts on it.

use std::{sync::Arc, task::Poll, time::Duration};

use futures::{
    FutureExt, StreamExt,
    channel::mpsc,
    future::{BoxFuture, poll_fn},
    pin_mut,
};
use tokio::sync::watch;
use tracing::{Instrument, info_span};

use super::{
    claimed::{Claimed, DriveError, DriverParts},
    journal::{Entry, Journal},
    machine::{Effect, Machine, Next, Replay},
    reply, tool_call,
    turn::Turn,
};
use crate::{
    caller::Caller,
    domain::{
        Claim, Commit, EffectId, EventKind, NewEvent, NewRequest, RunEvent, RunOutcome, RunStatus, Settlement, StoredEvent,
        Suspension, Then, UsedApproval,
    },
    error::StoreError,
    ids::LeaseToken,
    memory::Memories,
};

/// Drives a claimed run until it ends or waits, and returns its status then. `newest` is the newest `seq` that is known of its log.
pub(super) async fn to_end(
    parts: &DriverParts,
    memories: &Memories,
    claim: Claim,
    newest: watch::Receiver<u64>,
) -> Result<RunStatus, DriveError> {
    let replay = Replay::<Turn>::of(&claim.log);
    let taken_up = taken_up(&claim);
    let env = parts.env.clone();
    let left = Duration::from_secs(replay.machine.work.limits.max_seconds.into()).saturating_sub(replay.worked);
    let time = async move { env.sleep(left).await }.boxed().shared();
    let caller = Caller::person(claim.run.user_id, claim.run.workspace_id, claim.role);
    let claimed = Claimed::new(parts, memories, claim.run, caller, time);
    let (sender, entries) = mpsc::unbounded();
    let mut drive = Drive {
        claimed: &claimed,
        lease: claim.lease,
        _hold: claim.hold,
        replay,
        newest,
        entries,
        sender,
        under_way: UnderWay::default(),
    };
    if let Some(event) = taken_up {
        drive.write(vec![event.into()]).await?;
    }
    drive.run().await
}

/// What to put on record when a run is not claimed for the first time: it waited, or its last worker was lost.
fn taken_up(claim: &Claim) -> Option<RunEvent> {
    let attempt = claim.run.attempt;
    let worked = |stored: &&StoredEvent| stored.event.as_ref().is_none_or(|event| !event.is_from_outside());
    match claim.log.iter().rev().find(worked)?.kind {
        EventKind::Suspended => Some(RunEvent::Resumed { attempt }),
        _ => Some(RunEvent::Recovered { attempt }),
    }
}

struct Drive<'a> {
    claimed: &'a Claimed<'a>,
    lease: LeaseToken,
    /// While this drive lives, the run is held.
    _hold: Arc<()>,
    replay: Replay<Turn>,
    newest: watch::Receiver<u64>,
    /// What the effects have to say.
    entries: mpsc::UnboundedReceiver<Entry>,
    sender: mpsc::UnboundedSender<Entry>,
    under_way: UnderWay<'a>,
}

impl<'a> Drive<'a> {
    async fn run(&mut self) -> Result<RunStatus, DriveError> {
        loop {
            let parted = match self.replay.machine.next() {
                Next::Do(effects) if effects.is_empty() => return Err(DriveError::NoProgress),
                Next::Do(effects) => self.attend(effects).await.map(|()| None)?,
                Next::Wait(_) => self.suspend().await?,
                Next::End(outcome) => self.settle(outcome).await?,
            };
            if let Some(status) = parted {
                return Ok(status);
            }
        }
    }

    /// Keeps these effects under way, and takes in the next thing that happens.
    async fn attend(&mut self, effects: Vec<(EffectId, Effect)>) -> Result<(), DriveError> {
        self.under_way.keep(&effects);
        if let Some(events) = self.start(effects) {
            return self.write(events).await;
        }
        futures::select_biased! {
            entry = self.entries.next() => {
                let Some(Entry { events, asks, uses, written }) = entry else { return Err(DriveError::NoProgress) };
                // The effect was dropped before it was heard.
                if written.is_canceled() {
                    return Ok(());
                }
                // Nothing else that an effect says can be refused.
                let may_be_refused = asks.is_some() || uses.is_some();
                let answer = match self.enter(events, asks, uses).await {
                    Ok(()) => Ok(()),
                    Err(DriveError::Store(StoreError::Conflict(refusal))) if may_be_refused => Err(refusal),
                    Err(error) => return Err(error),
                };
                // The effect has been dropped if the log came to say something else meanwhile.
                let _ = written.send(answer);
            }
            changed = std::pin::pin!(self.newest.changed().fuse()) => {
                changed.map_err(|_| DriveError::LostLease)?;
                if *self.newest.borrow_and_update() > self.replay.last_seq {
                    self.write(Vec::new()).await?;
                }
            }
            (id, effect, ended) = self.under_way.ended().fuse() => {
                ended?;
                if self.replay.machine.next().wants(id, &effect) {
                    return Err(DriveError::NoProgress);
                }
            }
        }
        Ok(())
    }

    /// Starts what is not under way. Instead returns events that have to be on record first, if there are any: that an effect
    /// begins, or that there is no time for it.
    fn start(&mut self, effects: Vec<(EffectId, Effect)>) -> Option<Vec<NewEvent>> {
        let due: Vec<_> = effects
            .into_iter()
            .filter(|(id, effect)| !self.under_way.has(*id, effect))
            .collect();
        let turn = &self.replay.machine;
        if !due.is_empty() && !turn.work.is_ending() && self.claimed.time.clone().now_or_never().is_some() {
            // What is under way may finish first.
            return self.under_way.is_empty().then(|| vec![reply::out_of_time(turn).into()]);
        }
        let unopened: Vec<NewEvent> = due
            .iter()
            .filter(|_| !turn.work.is_called())
            .filter_map(|(id, effect)| effect.opening(*id))
            .map(NewEvent::from)
            .collect();
        if !unopened.is_empty() {
            return Some(unopened);
        }
        for (id, effect) in due {
            let span = info_span!("effect", kind = name(&effect), %id);
            let journal = Journal::new(id, self.sender.clone());
            let work = perform(self.claimed, journal, self.replay.machine.clone(), effect.clone());
            self.under_way.add(id, effect, work.instrument(span).boxed());
        }
        None
    }

    /// Appends events and folds them, after any that others appended first.
    async fn write(&mut self, events: Vec<NewEvent>) -> Result<(), DriveError> {
        self.enter(events, None, None).await
    }

    /// [`Self::write`], with what is asked and which approval is used. The beginnings of the effects that the events call for are
    /// written with them.
    async fn enter(
        &mut self,
        mut events: Vec<NewEvent>,
        asks: Option<NewRequest>,
        uses: Option<UsedApproval>,
    ) -> Result<(), DriveError> {
        self.open_next(&mut events);
        let commit = Commit {
            asks: asks.into_iter().collect(),
            uses: uses.into_iter().collect(),
            ..Commit::of(self.claimed.parts.env.id(), events)
        };
        let (claimed, after, lease) = (self.claimed, self.replay.last_seq, self.lease);
        let log = &claimed.stores().run_log;
        let write = claimed.insist(|| log.commit(claimed.run.id, lease, after, commit.clone()));
        let committed = self.under_way.beside(write).await?;
        for stored in committed.interleaved.iter().chain(&committed.own) {
            self.replay.fold(stored);
        }
        Ok(())
    }

    fn open_next(&self, events: &mut Vec<NewEvent>) {
        let decides = |new: &NewEvent| new.event.is_progress() || matches!(new.event, RunEvent::Recovered { .. });
        if !events.iter().any(decides) {
            return;
        }
        let mut then = self.replay.machine.clone();
        events.iter().for_each(|new| then.apply(&new.event));
        if let Next::Do(effects) = then.next()
            && !then.work.is_called()
        {
            let openings = effects.iter().filter_map(|(id, effect)| effect.opening(*id));
            events.extend(openings.map(NewEvent::from));
        }
    }

    /// Lets the run wait, with what it has said so far as a message. `None` if somebody has appended meanwhile.
    async fn suspend(&mut self) -> Result<Option<RunStatus>, DriveError> {
        let turn = &self.replay.machine;
        let suspension = Suspension {
            reply: turn.word(),
            next_reply: self.claimed.parts.env.id(),
        };
        let event = RunEvent::Suspended {
            reply: suspension.reply.as_ref().map(|reply| reply.status),
            next_reply: suspension.next_reply,
            usage: turn.work.usage,
            cost_micros: turn.work.cost_micros,
        };
        self.part_with(event, Then::Suspend(suspension), RunStatus::Waiting).await
    }

    /// Records the end. `None` if somebody has appended meanwhile.
    async fn settle(&mut self, outcome: RunOutcome) -> Result<Option<RunStatus>, DriveError> {
        let turn = &self.replay.machine;
        let settlement = Settlement {
            status: status_of(&outcome),
            reason: reason(&outcome),
            reply: turn.reply(&outcome),
        };
        let event = RunEvent::Finished {
            outcome,
            reply: settlement.reply.as_ref().map(|reply| reply.status),
            usage: turn.work.usage,
            cost_micros: turn.work.cost_micros,
        };
        let status = settlement.status;
        self.part_with(event, Then::Settle(settlement), status).await
    }

    /// Abandons what is under way and writes the last event of this claim. `None` if somebody has appended meanwhile: that is
    /// folded now, and the machine has to be asked again.
    async fn part_with(&mut self, event: RunEvent, then: Then, status: RunStatus) -> Result<Option<RunStatus>, DriveError> {
        self.under_way.keep(&[]);
        let (claimed, after, lease) = (self.claimed, self.replay.last_seq, self.lease);
        let commit = Commit {
            then,
            ..Commit::of(claimed.parts.env.id(), vec![event.into()])
        };
        let log = &claimed.stores().run_log;
        match claimed
            .insist(|| log.commit(claimed.run.id, lease, after, commit.clone()))
            .await
        {
            Ok(_) => Ok(Some(status)),
            // Either the lease is lost, which writing reports, or the log has grown.
            Err(DriveError::LostLease) => self.write(Vec::new()).await.map(|()| None),
            Err(error) => Err(error),
        }
    }
}

/// Performs one effect for the run as it is now. Ends with the effect's outcome on record, or with the reason why there is none.
async fn perform(claimed: &Claimed<'_>, journal: Journal, turn: Turn, effect: Effect) -> Result<(), DriveError> {
    match effect {
        Effect::AssembleContext => reply::assemble(claimed, &journal, &turn).await,
        Effect::CallModel { attempt, with_tools } => reply::call_model(claimed, &journal, turn, attempt, with_tools).await,
        Effect::WaitForRetry { delay } => {
            reply::wait(claimed, &journal, &turn, delay).await;
            Ok(())
        }
        Effect::RunTool { call } => tool_call::run(claimed, &journal, &turn, call).await,
        Effect::VerifyTool { call } => tool_call::verify(claimed, &journal, &turn, call).await.map(drop),
        Effect::RefuseTool { reason } => {
            tool_call::refuse(&journal, reason).await;
            Ok(())
        }
    }
}

type Work<'a> = BoxFuture<'a, Result<(), DriveError>>;

/// The effects under way. One that is dropped is abandoned.
#[derive(Default)]
struct UnderWay<'a> {
    effects: Vec<(EffectId, Effect, Work<'a>)>,
    /// Ended while something was written.
    ended: Vec<Ended>,
}

type Ended = (EffectId, Effect, Result<(), DriveError>);

impl<'a> UnderWay<'a> {
    fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    fn has(&self, id: EffectId, effect: &Effect) -> bool {
        self.effects
            .iter()
            .any(|(known, under_way, _)| *known == id && under_way == effect)
    }

    fn add(&mut self, id: EffectId, effect: Effect, work: Work<'a>) {
        self.effects.push((id, effect, work));
    }

    /// Drops whatever is not wanted any more.
    fn keep(&mut self, wanted: &[(EffectId, Effect)]) {
        self.effects
            .retain(|(id, effect, _)| wanted.iter().any(|(wanted, what)| wanted == id && what == effect));
    }

    /// Resolves when an effect has ended; never while there is none.
    async fn ended(&mut self) -> Ended {
        if let Some(ended) = self.ended.pop() {
            return ended;
        }
        poll_fn(|context| {
            let polled = self.effects.iter_mut().enumerate();
            let ended = polled.filter_map(|(index, (_, _, work))| match work.poll_unpin(context) {
                Poll::Ready(result) => Some((index, result)),
                Poll::Pending => None,
            });
            match ended.into_iter().next() {
                Some((index, result)) => {
                    let (id, effect, _) = self.effects.swap_remove(index);
                    Poll::Ready((id, effect, result))
                }
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Waits for `other` while the effects continue: suspended in the middle of a call, one could hold on to the very connection
    /// that `other` waits for.
    async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        let other = other.fuse();
        pin_mut!(other);
        let mut ended = Vec::new();
        let done = loop {
            futures::select_biased! {
                done = other => break done,
                one = self.ended().fuse() => ended.push(one),
            }
        };
        self.ended.append(&mut ended);
        done
    }
}

fn status_of(outcome: &RunOutcome) -> RunStatus {
    match outcome {
        RunOutcome::Completed | RunOutcome::Limited { .. } => RunStatus::Done,
        RunOutcome::Cancelled => RunStatus::Cancelled,
        RunOutcome::Interrupted => RunStatus::Interrupted,
        RunOutcome::Failed { .. } => RunStatus::Failed,
        RunOutcome::NeedsReview { .. } => RunStatus::NeedsReview,
    }
}

fn reason(outcome: &RunOutcome) -> Option<String> {
    match outcome {
        RunOutcome::Limited { message } | RunOutcome::Failed { message, .. } => Some(message.clone()),
        RunOutcome::NeedsReview { tool } => Some(format!(
            "Duet went down while “{tool}” was running. Say in the Inbox whether it happened; it was not repeated."
        )),
        RunOutcome::Completed | RunOutcome::Cancelled | RunOutcome::Interrupted => None,
    }
}

fn name(effect: &Effect) -> &'static str {
    match effect {
        Effect::AssembleContext => "assemble_context",
        Effect::CallModel { .. } => "call_model",
        Effect::WaitForRetry { .. } => "wait_for_retry",
        Effect::RunTool { .. } => "run_tool",
        Effect::VerifyTool { .. } => "verify_tool",
        Effect::RefuseTool { .. } => "refuse_tool",
    }
}
