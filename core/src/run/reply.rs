//! Receiving a model's reply: context, call, retries, text coalesced into events.

use std::time::Duration;

use futures::{FutureExt, StreamExt, future::BoxFuture};
use tracing::{debug, warn};

use super::{
    claimed::{Advice, Claimed, DriveError, Speaker},
    context,
    journal::Journal,
    turn::Turn,
};
use crate::{
    domain::{
        Canonical, EffectClass, ModelFailure, NewEvent, ProposedCall, RunEvent, StopReason, ToolCall, TurnLimits, Usage,
        is_deeper,
    },
    error::StoreError,
    ports::{ChatModel, ModelError, ModelEvent, ModelStream},
};

/// After an append, further text is held back until this much has arrived …
const COALESCE_CHARS: usize = 256;
/// … or for this long. Text that arrives after a pause is not held back: a person sees the first word at once.
const COALESCE_TIME: Duration = Duration::from_millis(50);
/// The most bytes of text per token. A reply longer than this for each requested token exceeds the request, whatever usage the
/// provider reports. No language averages half as many bytes per token.
const TOKEN_BYTES: u32 = 16;

pub(super) async fn assemble(claimed: &Claimed<'_>, journal: &Journal, turn: &Turn) -> Result<(), DriveError> {
    let Some(speaker) = claimed.speaker(turn).await? else {
        return model_failed(claimed, journal, 1, no_agent()).await;
    };
    let (name, _) = match claimed.model(turn, &speaker.agent) {
        Ok(found) => found,
        Err(error) => return model_failed(claimed, journal, 1, error).await,
    };
    // The continued reply may have been written from text that only a local model may read.
    let locality = speaker.locality();
    if !turn.labels().allows(locality) {
        return model_failed(claimed, journal, 1, stays_here()).await;
    }
    // A run keeps its restrictions even if its person has since cleared labels of the reply.
    let earlier = match claimed.earlier(turn, &speaker).await {
        Err(DriveError::Store(StoreError::NotFound(_))) => return model_failed(claimed, journal, 1, stays_here()).await,
        found => found?,
    };
    let (stores, memories, run) = (claimed.stores(), claimed.memories, &claimed.run);
    let (event, texts) = claimed
        .insist(|| context::gather(&speaker.caller, run, stores, memories, &name, locality, &earlier))
        .await?;
    let mentions = match &event {
        RunEvent::Context { recalled, .. } => recalled.clone(),
        _ => Vec::new(),
    };
    claimed.keep_gathered(speaker, texts);
    journal.record(vec![NewEvent { event, mentions }]).await;
    Ok(())
}

pub(super) async fn call_model(
    claimed: &Claimed<'_>,
    journal: &Journal,
    turn: Turn,
    attempt: u32,
    with_tools: bool,
) -> Result<(), DriveError> {
    // A model that has moved meanwhile may not read what was gathered for it.
    let stays = |(speaker, _): &(Speaker, context::Texts)| {
        let found = claimed.model(&turn, &speaker.agent);
        found.is_ok_and(|(_, model)| model.locality() == speaker.locality())
    };
    let (speaker, gathered) = match claimed.take_gathered().filter(stays) {
        Some((speaker, texts)) => (speaker, Some(texts)),
        None => match claimed.speaker(&turn).await? {
            Some(speaker) => (speaker, None),
            None => return model_failed(claimed, journal, attempt, no_agent()).await,
        },
    };
    let (_, model) = match claimed.model(&turn, &speaker.agent) {
        Ok(found) => found,
        Err(error) => return model_failed(claimed, journal, attempt, error).await,
    };
    // The turn may have read text for local models only, and its model may have become remote since (a continued reply, a moved
    // model).
    let locality = speaker.locality();
    if !turn.labels().allows(locality) {
        return model_failed(claimed, journal, attempt, stays_here()).await;
    }
    let offered = claimed
        .parts
        .tools
        .entries()
        .filter(|entry| with_tools && speaker.agent.tools.contains(&entry.spec.name));
    let tools: Vec<_> = offered.map(|entry| entry.spec.clone()).collect();
    let earlier = claimed.earlier(&turn, &speaker).await?;
    let persona = || context::Persona {
        agent: &speaker.agent,
        soul: &speaker.soul,
        tools: tools.clone(),
    };
    let (run, stores, texts) = (&claimed.run, claimed.stores(), gathered.as_ref());
    let request = claimed
        .insist(|| context::prompt(&speaker.caller, run, stores, &turn, &earlier, persona(), locality, texts))
        .await?;
    let opening = model.stream(request);
    Receiving {
        claimed,
        journal,
        attempt,
        model: &*model,
        time_limit: time_limit(&turn),
        // A continued reply resumes where it stopped, mid-word if need be: only this run's own steps are separated by a blank line.
        incoming: Incoming::new(
            if journal.id.step > 1 {
                turn.work.text()
            } else {
                String::new()
            },
            Room::of(&turn),
        ),
    }
    .receive(opening)
    .await
}

pub(super) async fn wait(claimed: &Claimed<'_>, journal: &Journal, turn: &Turn, delay: Duration) {
    let event = futures::select_biased! {
        () = claimed.time.clone().fuse() => out_of_time(turn),
        () = claimed.parts.env.sleep(delay).fuse() => RunEvent::RetryDue { step: journal.id.step },
    };
    journal.note(event).await;
}

/// A model call under way.
struct Receiving<'a> {
    claimed: &'a Claimed<'a>,
    journal: &'a Journal,
    attempt: u32,
    model: &'a dyn ChatModel,
    /// What the person is told when the time is up.
    time_limit: String,
    incoming: Incoming,
}

impl Receiving<'_> {
    /// Receives a reply, coalescing its text into events.
    async fn receive(mut self, opening: impl Future<Output = Result<ModelStream, ModelError>>) -> Result<(), DriveError> {
        let (claimed, journal) = (self.claimed, self.journal);
        let time = claimed.time.clone();
        let opened = futures::select_biased! {
            () = time.clone().fuse() => None,
            opened = opening.fuse() => Some(opened),
        };
        let mut stream = match opened {
            Some(Ok(stream)) => stream,
            Some(Err(error)) => return model_failed(claimed, journal, self.attempt, error).await,
            None => {
                journal.record(vec![self.limited(self.time_limit.clone())]).await;
                return Ok(());
            }
        };
        // Runs while text is held back for coalescing.
        let mut window: Option<BoxFuture<'_, ()>> = None;
        loop {
            let mut closing = match &mut window {
                Some(window) => window.left_future(),
                None => std::future::pending().right_future(),
            }
            .fuse();
            let next = futures::select_biased! {
                // Polled first: a model that never stops must not starve the other branches.
                () = time.clone().fuse() => Some(Err(ModelError::new(ModelFailure::Limited, self.time_limit.clone()))),
                event = stream.next().fuse() => event,
                () = closing => {
                    window = self.flush().await;
                    continue;
                }
            };
            let last = match next {
                Some(Ok(ModelEvent::Text(text))) => match self.incoming.push(&text) {
                    Ok(()) if window.is_some() && self.incoming.buffer.len() < COALESCE_CHARS => continue,
                    Ok(()) => {
                        window = self.flush().await;
                        continue;
                    }
                    Err(limit) => self.limited(limit),
                },
                Some(Ok(ModelEvent::ToolCall(call))) => match self.incoming.call(call) {
                    Ok(()) => continue,
                    Err(limit) => self.limited(limit),
                },
                Some(Ok(ModelEvent::Usage(usage))) => {
                    self.incoming.usage = usage.within_reason();
                    continue;
                }
                Some(Ok(ModelEvent::Stop(stop))) => self.replied(stop),
                Some(Err(error)) if error.failure == ModelFailure::Limited => self.limited(error.message),
                broken => {
                    let broke_off = || ModelError::new(ModelFailure::Malformed, "The model's reply broke off before its end.");
                    let error = broken.and_then(Result::err).unwrap_or_else(broke_off);
                    failed(journal.id.step, self.attempt, error, claimed.parts.advice)
                }
            };
            let mut events = self.incoming.flushed(journal.id.step);
            events.push(last);
            journal.record(events).await;
            return Ok(());
        }
    }

    /// Puts the text so far on record. Returns the time for which what follows is held back.
    async fn flush(&mut self) -> Option<BoxFuture<'static, ()>> {
        let events = self.incoming.flushed(self.journal.id.step);
        if events.is_empty() {
            return None;
        }
        let env = self.claimed.parts.env.clone();
        let window = async move { env.sleep(COALESCE_TIME).await }.boxed();
        self.journal.record(events).await;
        Some(window)
    }

    /// The event of a reply that reached a limit of the turn. Its tool calls are dropped.
    fn limited(&self, message: String) -> NewEvent {
        debug!(%message, step = self.journal.id.step, "a bound of the turn is reached");
        RunEvent::LimitReached {
            message,
            usage: self.incoming.usage,
            cost_micros: self.cost(),
        }
        .into()
    }

    fn replied(&mut self, stop: StopReason) -> NewEvent {
        let step = self.journal.id.step;
        let tools = &self.claimed.parts.tools;
        let calls = with_unique_ids(step, std::mem::take(&mut self.incoming.calls));
        RunEvent::ModelReplied {
            step,
            text: self.incoming.whole(),
            tool_calls: calls
                .into_iter()
                .map(|call| ProposedCall {
                    class: tools.get(&call.name).map_or(EffectClass::Repeatable, |entry| entry.class),
                    call,
                })
                .collect(),
            usage: self.incoming.usage,
            cost_micros: self.cost(),
            stop,
        }
        .into()
    }

    /// Cost in micro-US-dollars, where the price is known.
    fn cost(&self) -> Option<u64> {
        self.model.price().map(|price| price.cost_micros(&self.incoming.usage))
    }
}

async fn model_failed(claimed: &Claimed<'_>, journal: &Journal, attempt: u32, error: ModelError) -> Result<(), DriveError> {
    let step = journal.id.step.max(1);
    journal.record(vec![failed(step, attempt, error, claimed.parts.advice)]).await;
    Ok(())
}

/// The end of a turn that takes too long.
pub(super) fn out_of_time(turn: &Turn) -> RunEvent {
    RunEvent::LimitReached {
        message: time_limit(turn),
        usage: Usage::default(),
        cost_micros: Some(0),
    }
}

fn time_limit(turn: &Turn) -> String {
    format!("This reply took all of its {} seconds.", turn.work.limits.max_seconds)
}

fn failed(step: u32, attempt: u32, error: ModelError, told: Advice) -> NewEvent {
    debug!(failure = %error.failure, step, attempt, "the model call failed");
    let ModelError {
        failure,
        mut message,
        advice,
        retry_after_ms,
    } = error;
    if let Some(advice) = advice {
        warn!(%failure, advice, "{message}");
        message.push(' ');
        message.push_str(match told {
            Advice::Logged => "Duet's log says what to do.",
            Advice::Told => &advice,
        });
    }
    RunEvent::ModelFailed {
        step,
        attempt,
        failure,
        message,
        retry_after_ms,
    }
    .into()
}

/// How much one model call may still produce.
struct Room {
    limits: TurnLimits,
    /// Bytes of text, by the limit on the reply and by the limit on its tokens.
    reply: usize,
    tokens: usize,
    /// Bytes of tool calls.
    arguments: usize,
    /// Tool calls, by the limit on the turn.
    calls: usize,
}

impl Room {
    fn of(turn: &Turn) -> Self {
        let limits = turn.work.limits.clone();
        let most = |bound: u32| usize::try_from(bound).unwrap_or(usize::MAX);
        Self {
            reply: most(limits.max_reply_bytes).saturating_sub(turn.work.text().len()),
            tokens: most(limits.max_output_tokens.saturating_mul(TOKEN_BYTES)),
            arguments: most(limits.max_argument_bytes),
            calls: most(limits.max_calls).saturating_sub(turn.work.calls().count()),
            limits,
        }
    }
}

/// A reply being received.
struct Incoming {
    /// All of its text.
    written: String,
    /// What of it is not on record yet.
    buffer: String,
    calls: Vec<ToolCall>,
    usage: Usage,
    /// Put before the first text, so that the texts of two steps do not run together.
    gap: &'static str,
    room: Room,
}

impl Incoming {
    fn new(before: String, room: Room) -> Self {
        let gap = if before.is_empty() || before.ends_with('\n') {
            ""
        } else {
            "\n\n"
        };
        Self {
            written: String::new(),
            buffer: String::new(),
            calls: Vec::new(),
            usage: Usage::default(),
            gap,
            room,
        }
    }

    /// Adds text. When it exceeds a limit of the turn, adds as much as fits and returns the sentence that says so.
    fn push(&mut self, text: &str) -> Result<(), String> {
        if text.is_empty() {
            return Ok(());
        }
        let gap = std::mem::take(&mut self.gap);
        let fits = self.room.reply.min(self.room.tokens).saturating_sub(gap.len());
        let taken = &text[..text.floor_char_boundary(fits)];
        if !taken.is_empty() {
            self.buffer.push_str(gap);
            self.buffer.push_str(taken);
        }
        if taken.len() < text.len() {
            let limits = &self.room.limits;
            return Err(match self.room.reply < self.room.tokens {
                true => format!(
                    "The reply reached {} bytes, the most that a turn may have.",
                    limits.max_reply_bytes
                ),
                false => format!(
                    "The model wrote more than the {} tokens it was asked for.",
                    limits.max_output_tokens
                ),
            });
        }
        self.room.reply -= gap.len() + taken.len();
        self.room.tokens -= gap.len() + taken.len();
        Ok(())
    }

    /// Adds a tool call, unless it exceeds a limit of the turn.
    fn call(&mut self, call: ToolCall) -> Result<(), String> {
        let limits = &self.room.limits;
        if self.calls.len() >= self.room.calls {
            return Err(format!("This reply used all of its {} tool calls.", limits.max_calls));
        }
        if self.calls.len() >= limits.max_calls_per_reply as usize {
            return Err(format!(
                "The model asked for more than {} tool calls at once.",
                limits.max_calls_per_reply
            ));
        }
        let bytes = call.id.len() + call.name.len() + call.arguments.to_string().len();
        if bytes > self.room.arguments {
            return Err(format!(
                "The model asked for tool calls of more than {} bytes.",
                limits.max_argument_bytes
            ));
        }
        if is_deeper(&call.arguments, Canonical::MAX_DEPTH) {
            return Err(format!(
                "The model asked for a tool call that is nested more than {} deep.",
                Canonical::MAX_DEPTH
            ));
        }
        self.room.arguments -= bytes;
        self.calls.push(call);
        Ok(())
    }

    /// The text of the step, with what is not on record yet.
    fn whole(&self) -> String {
        format!("{}{}", self.written, self.buffer)
    }

    fn flushed(&mut self, step: u32) -> Vec<NewEvent> {
        let text = std::mem::take(&mut self.buffer);
        self.written.push_str(&text);
        if text.is_empty() {
            Vec::new()
        } else {
            vec![RunEvent::Delta { step, text }.into()]
        }
    }
}

/// Some servers leave call ids empty or repeat them; results are matched by id.
fn with_unique_ids(step: u32, mut calls: Vec<ToolCall>) -> Vec<ToolCall> {
    for index in 0..calls.len() {
        let (before, rest) = calls.split_at_mut(index);
        if rest[0].id.is_empty() || before.iter().any(|call| call.id == rest[0].id) {
            rest[0].id = format!("call-{step}-{index}");
        }
    }
    calls
}

fn stays_here() -> ModelError {
    ModelError::new(
        ModelFailure::Rejected,
        "This reply holds text that may not leave your own machines, and the agent's model computes elsewhere. Choose a local model, or start the answer anew.",
    )
}

fn no_agent() -> ModelError {
    ModelError::new(
        ModelFailure::Rejected,
        "The agent of this conversation is switched off. Ask an owner to switch it on, or start a new conversation.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_two_steps_do_not_run_together() {
        let gap = |before: &str| {
            let mut incoming = Incoming::new(before.into(), Room::of(&Turn::default()));
            incoming.push("next").unwrap();
            incoming.push("!").unwrap();
            incoming.flushed(2)
        };
        let delta = |text: &str| {
            vec![NewEvent::from(RunEvent::Delta {
                step: 2,
                text: text.into(),
            })]
        };
        assert_eq!(gap("one."), delta("\n\nnext!"));
        assert_eq!(gap("one.\n"), delta("next!"));
        assert_eq!(gap(""), delta("next!"));
        let mut silent = Incoming::new("one.".into(), Room::of(&Turn::default()));
        silent.push("").unwrap();
        assert_eq!(silent.flushed(2), [], "no text, no gap");
    }

    #[test]
    fn the_whole_text_has_what_is_not_on_record_yet() {
        let mut incoming = Incoming::new(String::new(), Room::of(&Turn::default()));
        incoming.push("Once ").unwrap();
        incoming.flushed(1);
        incoming.push("more.").unwrap();
        assert_eq!(incoming.whole(), "Once more.");
    }

    #[test]
    fn what_is_more_than_a_turn_may_have_is_cut_between_characters() {
        let limited = |limits: TurnLimits, before: &str| {
            let mut turn = Turn::default();
            (turn.work.limits, turn.work.prefix) = (limits, before.into());
            let mut incoming = Incoming::new(String::new(), Room::of(&turn));
            let sentence = (0..1_000_000).find_map(|_| incoming.push("äöü").err()).unwrap();
            (incoming.buffer, sentence)
        };
        let bytes = TurnLimits {
            max_reply_bytes: 20,
            ..TurnLimits::default()
        };
        let (kept, sentence) = limited(bytes, "four");
        assert_eq!(
            (kept.as_str(), sentence.contains("20 bytes")),
            ("äöüäöüäö", true),
            "{sentence}"
        );
        let tokens = TurnLimits {
            max_output_tokens: 1,
            ..TurnLimits::default()
        };
        let (kept, sentence) = limited(tokens, "");
        assert_eq!((kept.len(), sentence.contains("1 tokens")), (16, true), "{sentence}");
    }

    #[test]
    fn calls_are_counted_and_measured() {
        let call = |size: usize| ToolCall {
            id: "c".into(),
            name: "t".into(),
            arguments: serde_json::Value::String("x".repeat(size)),
        };
        let after = |limits: TurnLimits, size: usize| {
            let mut turn = Turn::default();
            (turn.work.limits, turn.work.prefix) = (limits, String::new());
            let mut incoming = Incoming::new(String::new(), Room::of(&turn));
            let sentence = (0..1_000_000).find_map(|_| incoming.call(call(size)).err()).unwrap();
            (incoming.calls.len(), sentence)
        };
        assert_eq!(after(TurnLimits::default(), 0).0, 16);
        let few = TurnLimits {
            max_calls: 3,
            ..TurnLimits::default()
        };
        assert_eq!(after(few, 0), (3, "This reply used all of its 3 tool calls.".into()));
        assert_eq!(after(TurnLimits::default(), 60_000).0, 1);
    }

    #[test]
    fn every_call_has_an_id_of_its_own() {
        let call = |id: &str| ToolCall {
            id: id.into(),
            name: "t".into(),
            arguments: serde_json::Value::Null,
        };
        let ids: Vec<String> = with_unique_ids(3, vec![call("a"), call(""), call("a"), call("b")])
            .into_iter()
            .map(|call| call.id)
            .collect();
        assert_eq!(ids, ["a", "call-3-1", "call-3-2", "b"]);
    }
}
