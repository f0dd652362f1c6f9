//! Receiving a model's reply: context, call, retries, text coalesced into events.

use std::{sync::Arc, time::Duration};

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, Either},
};
use tracing::{debug, warn};

use super::{
    context,
    drive::Drive,
    driver::{Advice, DriveError},
    machine::TurnState,
};
use crate::{
    domain::{Agent, ModelFailure, ModelRef, NewEvent, RunEvent, StopReason, ToolCall, TurnLimits, Usage},
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

impl Drive<'_> {
    pub(super) async fn assemble(&mut self) -> Result<(), DriveError> {
        let Some(speaker) = self.speaker().await? else {
            return self.model_failed(1, 1, no_agent()).await;
        };
        let (name, _) = match self.model(&speaker.agent) {
            Ok(found) => found,
            Err(error) => return self.model_failed(1, 1, error).await,
        };
        // The continued reply may have been written from text that only a local model may read.
        let locality = speaker.locality();
        if !self.state.labels().allows(locality) {
            return self.model_failed(1, 1, stays_here()).await;
        }
        // A run keeps its restrictions even if its person has since cleared labels of the reply.
        let earlier = match self.earlier(&speaker).await {
            Err(DriveError::Store(StoreError::NotFound(_))) => return self.model_failed(1, 1, stays_here()).await,
            found => found?,
        };
        let (stores, memories, run) = (self.stores(), &self.driver.memories, &self.run);
        let event = self
            .insist(|| context::gather(&speaker.caller, run, stores, memories, &name, locality, &earlier))
            .await?;
        let mentions = match &event {
            RunEvent::Context { recalled, .. } => recalled.clone(),
            _ => Vec::new(),
        };
        self.append(vec![NewEvent { event, mentions }]).await
    }

    pub(super) async fn call_model(&mut self, step: u32, attempt: u32, with_tools: bool) -> Result<(), DriveError> {
        let Some(speaker) = self.speaker().await? else {
            return self.model_failed(step, attempt, no_agent()).await;
        };
        let (_, model) = match self.model(&speaker.agent) {
            Ok(found) => found,
            Err(error) => return self.model_failed(step, attempt, error).await,
        };
        // The turn may have read text for local models only, and its model may have become remote since (a continued reply, a moved
        // model).
        let locality = speaker.locality();
        if !self.state.labels().allows(locality) {
            return self.model_failed(step, attempt, stays_here()).await;
        }
        self.append(vec![RunEvent::ModelCalled { step, attempt }.into()]).await?;
        if self.state.is_finishing() {
            return Ok(());
        }
        let registry = &self.driver.parts.tools;
        let offered = registry
            .entries()
            .filter(|entry| with_tools && speaker.agent.tools.contains(&entry.spec.name));
        let tools = offered.map(|entry| entry.spec.clone()).collect();
        let earlier = self.earlier(&speaker).await?;
        let (run, stores, state) = (&self.run, self.stores(), &self.state);
        let persona = || context::Persona {
            agent: &speaker.agent,
            soul: &speaker.soul,
            tools: Vec::clone(&tools),
        };
        let request = self
            .insist(|| context::prompt(&speaker.caller, run, stores, state, &earlier, persona(), locality))
            .await?;
        self.receive(step, attempt, &*model, model.stream(request)).await
    }

    pub(super) async fn wait(&mut self, step: u32, delay: Duration) -> Result<(), DriveError> {
        let env = self.driver.parts.env.clone();
        let time = self.time.clone();
        let wait = async {
            futures::select_biased! {
                () = time.fuse() => false,
                () = env.sleep(delay).fuse() => true,
            }
        };
        match self.unless_cancelled(wait).await? {
            Some(true) => self.append(vec![RunEvent::RetryDue { step }.into()]).await,
            Some(false) => self.out_of_time().await,
            None => Ok(()),
        }
    }

    /// Receives a reply, coalescing its text into events.
    async fn receive(
        &mut self,
        step: u32,
        attempt: u32,
        model: &dyn ChatModel,
        opening: impl Future<Output = Result<ModelStream, ModelError>>,
    ) -> Result<(), DriveError> {
        let time = self.time.clone();
        let opening = async {
            futures::select_biased! {
                () = time.clone().fuse() => None,
                opened = opening.fuse() => Some(opened),
            }
        };
        let Some(opened) = self.unless_cancelled(opening).await? else {
            return Ok(());
        };
        let mut stream = match opened {
            Some(Ok(stream)) => stream,
            Some(Err(error)) => return self.model_failed(step, attempt, error).await,
            None => return self.out_of_time().await,
        };
        // A continued reply resumes where it stopped, mid-word if need be: only this run's own steps are separated by a blank line.
        let before = if step > 1 { self.state.text() } else { String::new() };
        let mut incoming = Incoming::new(before, Room::of(&self.state));
        let env = self.driver.parts.env.clone();
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
                () = time.clone().fuse() => {
                    let limit = out_of_time(&self.state);
                    let events = incoming.limited(step, limit, model);
                    return self.append(events).await;
                }
                event = stream.next().fuse() => Either::Left(event),
                () = closing => Either::Right(false),
                changed = std::pin::pin!(self.newest.changed().fuse()) => match changed {
                    Ok(()) => Either::Right(true),
                    Err(_) => return Err(DriveError::LostLease),
                },
            };
            match next {
                Either::Left(Some(Ok(ModelEvent::Text(text)))) => {
                    if let Err(limit) = incoming.push(&text) {
                        let events = incoming.limited(step, limit, model);
                        return self.append(events).await;
                    }
                    if window.is_some() && incoming.buffer.len() < COALESCE_CHARS {
                        continue;
                    }
                }
                Either::Left(Some(Ok(ModelEvent::ToolCall(call)))) => {
                    if let Err(limit) = incoming.call(call) {
                        let events = incoming.limited(step, limit, model);
                        return self.append(events).await;
                    }
                    continue;
                }
                Either::Left(Some(Ok(ModelEvent::Usage(usage)))) => {
                    incoming.usage = usage.within_reason();
                    continue;
                }
                Either::Left(Some(Ok(ModelEvent::Stop(stop)))) => {
                    let events = incoming.replied(step, stop, model);
                    return self.append(events).await;
                }
                Either::Left(Some(Err(error))) if error.failure == ModelFailure::Limited => {
                    let events = incoming.limited(step, error.message, model);
                    return self.append(events).await;
                }
                Either::Left(broken) => {
                    let broke_off = || ModelError::new(ModelFailure::Malformed, "The model's reply broke off before its end.");
                    let error = broken.and_then(Result::err).unwrap_or_else(broke_off);
                    let mut events = incoming.flushed(step);
                    events.push(failed(step, attempt, error, self.driver.parts.advice));
                    return self.append(events).await;
                }
                Either::Right(true) => {
                    if self.catch_up().await? {
                        return Ok(());
                    }
                    continue;
                }
                Either::Right(false) => {}
            }
            if incoming.buffer.is_empty() {
                window = None;
                continue;
            }
            let env = env.clone();
            window = Some(async move { env.sleep(COALESCE_TIME).await }.boxed());
            self.append(incoming.flushed(step)).await?;
            if self.state.is_finishing() {
                return Ok(());
            }
        }
    }

    /// The model that a turn uses: the one its context was gathered for, else the agent's, else the default.
    pub(super) fn model(&self, agent: &Agent) -> Result<(ModelRef, Arc<dyn ChatModel>), ModelError> {
        let models = &self.driver.parts.models;
        let name = match &self.state.context {
            Some(context) => context.model.clone(),
            None => agent.model.clone().unwrap_or_else(|| models.default_model()),
        };
        let model = models.model(&name)?;
        Ok((name, model))
    }

    async fn model_failed(&mut self, step: u32, attempt: u32, error: ModelError) -> Result<(), DriveError> {
        self.append(vec![failed(step, attempt, error, self.driver.parts.advice)])
            .await
    }

    /// Ends a turn that takes too long while no model call is under way.
    pub(super) async fn out_of_time(&mut self) -> Result<(), DriveError> {
        let limit = RunEvent::LimitReached {
            message: out_of_time(&self.state),
            usage: Usage::default(),
            cost_micros: Some(0),
        };
        self.append(vec![limit.into()]).await
    }
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

fn out_of_time(state: &TurnState) -> String {
    format!("This reply took all of its {} seconds.", state.limits.max_seconds)
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
    fn of(state: &TurnState) -> Self {
        let limits = state.limits.clone();
        let most = |bound: u32| usize::try_from(bound).unwrap_or(usize::MAX);
        Self {
            reply: most(limits.max_reply_bytes).saturating_sub(state.text().len()),
            tokens: most(limits.max_output_tokens.saturating_mul(TOKEN_BYTES)),
            arguments: most(limits.max_argument_bytes),
            calls: most(limits.max_calls).saturating_sub(state.calls()),
            limits,
        }
    }
}

/// A reply being received.
struct Incoming {
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
        self.room.arguments -= bytes;
        self.calls.push(call);
        Ok(())
    }

    /// The events for a reply that reached a limit of the turn: its remaining text and the limit. Its tool calls are dropped.
    fn limited(&mut self, step: u32, message: String, model: &dyn ChatModel) -> Vec<NewEvent> {
        debug!(%message, step, "a bound of the turn is reached");
        let mut events = self.flushed(step);
        events.push(
            RunEvent::LimitReached {
                message,
                usage: self.usage,
                cost_micros: model.price().map(|price| price.cost_micros(&self.usage)),
            }
            .into(),
        );
        events
    }

    fn flushed(&mut self, step: u32) -> Vec<NewEvent> {
        let text = std::mem::take(&mut self.buffer);
        if text.is_empty() {
            Vec::new()
        } else {
            vec![RunEvent::Delta { step, text }.into()]
        }
    }

    fn replied(&mut self, step: u32, stop: StopReason, model: &dyn ChatModel) -> Vec<NewEvent> {
        let mut events = self.flushed(step);
        let tool_calls = with_unique_ids(step, std::mem::take(&mut self.calls));
        let cost_micros = model.price().map(|price| price.cost_micros(&self.usage));
        events.push(
            RunEvent::ModelReplied {
                step,
                tool_calls,
                usage: self.usage,
                cost_micros,
                stop,
            }
            .into(),
        );
        events
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
            let mut incoming = Incoming::new(before.into(), Room::of(&TurnState::default()));
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
        let mut silent = Incoming::new("one.".into(), Room::of(&TurnState::default()));
        silent.push("").unwrap();
        assert_eq!(silent.flushed(2), [], "no text, no gap");
    }

    #[test]
    fn what_is_more_than_a_turn_may_have_is_cut_between_characters() {
        let limited = |limits: TurnLimits, before: &str| {
            let mut state = TurnState::default();
            (state.limits, state.prefix) = (limits, before.into());
            let mut incoming = Incoming::new(String::new(), Room::of(&state));
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
            let mut state = TurnState::default();
            (state.limits, state.prefix) = (limits, String::new());
            let mut incoming = Incoming::new(String::new(), Room::of(&state));
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
