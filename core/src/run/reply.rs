//! A model's reply on its way in: context, call, retries, text coalesced into events.

use std::{sync::Arc, time::Duration};

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, Either},
};
use tracing::debug;

use super::{context, drive::Drive, driver::DriveError};
use crate::{
    domain::{Agent, ModelFailure, ModelRef, NewEvent, RunEvent, StopReason, ToolCall, Usage},
    ports::{ChatModel, ModelError, ModelEvent, ModelStream},
};

/// After text was appended, what follows waits until this much has come …
const COALESCE_CHARS: usize = 256;
/// … or for so long. Text that comes after a pause does not wait: a person sees the first word when it is there.
const COALESCE_TIME: Duration = Duration::from_millis(50);

impl Drive<'_> {
    pub(super) async fn assemble(&mut self) -> Result<(), DriveError> {
        let Some(speaker) = self.speaker().await? else {
            return self.model_failed(1, 1, no_agent()).await;
        };
        let (name, model) = match self.model(&speaker.agent) {
            Ok(found) => found,
            Err(error) => return self.model_failed(1, 1, error).await,
        };
        let (stores, memories, run) = (self.stores(), &self.driver.memories, &self.run);
        let locality = model.locality();
        let event = self
            .insist(|| context::gather(&speaker.caller, run, stores, memories, &name, locality))
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
        self.append(vec![RunEvent::ModelCalled { step, attempt }.into()]).await?;
        if self.state.is_finishing() {
            return Ok(());
        }
        let registry = &self.driver.parts.tools;
        let offered = registry
            .entries()
            .filter(|entry| with_tools && speaker.agent.tools.contains(&entry.spec.name));
        let tools = offered.map(|entry| entry.spec.clone()).collect();
        let (run, stores, state) = (&self.run, self.stores(), &self.state);
        let persona = || context::Persona {
            agent: &speaker.agent,
            soul: &speaker.soul,
            tools: Vec::clone(&tools),
        };
        let request = self
            .insist(|| context::prompt(&speaker.caller, run, stores, state, persona()))
            .await?;
        self.receive(step, attempt, &*model, model.stream(request)).await
    }

    pub(super) async fn wait(&mut self, step: u32, delay: Duration) -> Result<(), DriveError> {
        let env = self.driver.parts.env.clone();
        match self.unless_cancelled(env.sleep(delay)).await? {
            Some(()) => self.append(vec![RunEvent::RetryDue { step }.into()]).await,
            None => Ok(()),
        }
    }

    /// Takes a reply in, coalescing its text into events.
    async fn receive(
        &mut self,
        step: u32,
        attempt: u32,
        model: &dyn ChatModel,
        opening: impl Future<Output = Result<ModelStream, ModelError>>,
    ) -> Result<(), DriveError> {
        let Some(opened) = self.unless_cancelled(opening).await? else {
            return Ok(());
        };
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(error) => return self.model_failed(step, attempt, error).await,
        };
        // A reply that is continued goes on where it stopped, in mid-word if need be: only this run's own steps are set apart.
        let before = if step > 1 { self.state.text() } else { String::new() };
        let mut incoming = Incoming::new(before);
        let env = self.driver.parts.env.clone();
        // Runs while text has to wait for company.
        let mut window: Option<BoxFuture<'_, ()>> = None;
        loop {
            let mut closing = match &mut window {
                Some(window) => window.left_future(),
                None => std::future::pending().right_future(),
            }
            .fuse();
            let next = futures::select_biased! {
                event = stream.next().fuse() => Either::Left(event),
                () = closing => Either::Right(false),
                changed = std::pin::pin!(self.newest.changed().fuse()) => match changed {
                    Ok(()) => Either::Right(true),
                    Err(_) => return Err(DriveError::LostLease),
                },
            };
            match next {
                Either::Left(Some(Ok(ModelEvent::Text(text)))) => {
                    incoming.push(&text);
                    if window.is_some() && incoming.buffer.len() < COALESCE_CHARS {
                        continue;
                    }
                }
                Either::Left(Some(Ok(ModelEvent::ToolCall(call)))) => {
                    incoming.calls.push(call);
                    continue;
                }
                Either::Left(Some(Ok(ModelEvent::Usage(usage)))) => {
                    incoming.usage = usage;
                    continue;
                }
                Either::Left(Some(Ok(ModelEvent::Stop(stop)))) => {
                    let events = incoming.replied(step, stop, model);
                    return self.append(events).await;
                }
                Either::Left(Some(Err(error))) => return self.model_failed(step, attempt, error).await,
                Either::Left(None) => {
                    let error = ModelError::new(ModelFailure::Malformed, "The model's reply broke off before its end.");
                    return self.model_failed(step, attempt, error).await;
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
    fn model(&self, agent: &Agent) -> Result<(ModelRef, Arc<dyn ChatModel>), ModelError> {
        let models = &self.driver.parts.models;
        let name = match &self.state.context {
            Some(context) => context.model.clone(),
            None => agent.model.clone().unwrap_or_else(|| models.default_model()),
        };
        let model = models.model(&name)?;
        Ok((name, model))
    }

    async fn model_failed(&mut self, step: u32, attempt: u32, error: ModelError) -> Result<(), DriveError> {
        debug!(failure = %error.failure, step, attempt, "the model call failed");
        let ModelError {
            failure,
            message,
            retry_after_ms,
        } = error;
        self.append(vec![
            RunEvent::ModelFailed {
                step,
                attempt,
                failure,
                message,
                retry_after_ms,
            }
            .into(),
        ])
        .await
    }
}

/// A reply on its way in.
struct Incoming {
    buffer: String,
    calls: Vec<ToolCall>,
    usage: Usage,
    /// Put before the first text, so that the texts of two steps do not run together.
    gap: &'static str,
}

impl Incoming {
    fn new(before: String) -> Self {
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
        }
    }

    /// Takes text in.
    fn push(&mut self, text: &str) {
        if self.buffer.is_empty() && !text.is_empty() {
            self.buffer.push_str(std::mem::take(&mut self.gap));
        }
        self.buffer.push_str(text);
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
            let mut incoming = Incoming::new(before.into());
            incoming.push("next");
            incoming.push("!");
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
        assert_eq!(Incoming::new("one.".into()).flushed(2), [], "no text, no gap");
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
