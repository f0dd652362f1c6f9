//! A model that says what the script has for the current step, with a crash point before every piece.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, stream};

use super::{TRANSIENT, fuse::Fuse, script::Script};
use crate::{
    caller::Caller,
    domain::{Locality, LogRange, ModelRef, Price, RunEvent, StopReason, Usage},
    ids::RunId,
    ports::{ChatMessage, ChatModel, ChatRequest, ModelDirectory, ModelError, ModelEvent, ModelStream, RunStore},
};

pub(super) struct ScriptedModel {
    pub script: Arc<Script>,
    pub runs: Arc<dyn RunStore>,
    pub caller: Caller,
    pub run: RunId,
    pub fuse: Arc<Fuse>,
}

pub(super) struct ScriptedModels(pub Arc<ScriptedModel>);

impl ModelDirectory for ScriptedModels {
    fn default_model(&self) -> ModelRef {
        "script/seeded".parse().expect("a model's name")
    }
    fn model(&self, _: &ModelRef) -> Result<Arc<dyn ChatModel>, ModelError> {
        Ok(self.0.clone())
    }
}

impl ScriptedModel {
    /// How many failed attempts of this step the log has: the script fails by the log, so that a crash changes nothing.
    async fn failed(&self, step: usize) -> usize {
        let page = self
            .runs
            .events(&self.caller, self.run, LogRange::whole(0, 10_000))
            .await
            .expect("events");
        let failed = |event: &RunEvent| matches!(event, RunEvent::ModelFailed { step: of, .. } if *of as usize == step);
        page.events
            .iter()
            .filter_map(|stored| stored.event.as_ref())
            .filter(|event| failed(event))
            .count()
    }

    async fn answer(&self, request: &ChatRequest) -> Vec<Result<ModelEvent, ModelError>> {
        let stop = |reason| {
            [
                Ok(ModelEvent::Usage(Usage {
                    input_tokens: 10,
                    ..Usage::default()
                })),
                Ok(ModelEvent::Stop(reason)),
            ]
        };
        if let Some(ChatMessage::Assistant { .. }) = request.messages.last() {
            let whole = self.script.reply();
            let said = request
                .messages
                .iter()
                .filter_map(|message| match message {
                    ChatMessage::Assistant { text, .. } => Some(text.as_str()),
                    _ => None,
                })
                .collect::<String>();
            let rest = whole
                .strip_prefix(said.as_str())
                .expect("a part of the reply to go on from")
                .to_owned();
            return std::iter::once(Ok(ModelEvent::Text(rest)))
                .chain(stop(StopReason::End))
                .collect();
        }
        let answered = request
            .messages
            .iter()
            .rev()
            .take_while(|message| !matches!(message, ChatMessage::User(_)));
        let index = answered
            .filter(|message| matches!(message, ChatMessage::Assistant { .. }))
            .count();
        let step = &self.script.steps[index];
        let pieces = step.pieces.iter().map(|piece| Ok(ModelEvent::Text(piece.clone())));
        if self.failed(index + 1).await < step.failures {
            let error = ModelError::new(TRANSIENT, "The model is busy.");
            return pieces.take(step.pieces.len() / 2).chain([Err(error)]).collect();
        }
        let calls = step.calls.iter().map(|call| Ok(ModelEvent::ToolCall(call.clone())));
        let reason = if step.calls.is_empty() {
            StopReason::End
        } else {
            StopReason::ToolUse
        };
        pieces.chain(calls).chain(stop(reason)).collect()
    }
}

#[async_trait]
impl ChatModel for ScriptedModel {
    async fn stream(&self, request: ChatRequest) -> Result<ModelStream, ModelError> {
        self.fuse.point().await;
        let events = self.answer(&request).await;
        let fuse = self.fuse.clone();
        Ok(stream::iter(events)
            .then(move |event| {
                let fuse = fuse.clone();
                async move {
                    fuse.point().await;
                    // Lets the driver's coalescing time run out between pieces.
                    yield_once().await;
                    event
                }
            })
            .boxed())
    }
    fn locality(&self) -> Locality {
        Locality::Local
    }
    fn price(&self) -> Option<Price> {
        Some(Price {
            input: 1_000_000,
            ..Price::default()
        })
    }
}

/// Resolves at the next poll.
async fn yield_once() {
    let mut yielded = false;
    futures::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
