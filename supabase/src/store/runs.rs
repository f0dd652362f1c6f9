//! Runs as people see them.

use std::sync::Arc;

use async_trait::async_trait;
use duet_core::{
    Caller, StoreResult, cursor,
    domain::{EventPage, ListPage, LogRange, NewTurn, PageRequest, RetryTurn, Run, TurnReceipt},
    ids::{ConversationId, Id, RunId},
    ports::RunStore,
};
use serde::Deserialize;
use serde_json::json;

use super::{
    contract::{self, Contract},
    events::{self, Event},
    relay::LiveFeed,
};
use crate::rpc::Call;

/// The runs in the database.
pub struct Runs {
    pub(super) contract: Contract,
    pub(super) feed: Arc<LiveFeed>,
}

impl Runs {
    /// Queues a run together with its first event.
    async fn queue(&self, caller: &Caller, call: Call) -> StoreResult<TurnReceipt> {
        let receipt: TurnReceipt = self.contract.as_caller(caller, call).await?;
        self.feed.appended(receipt.run_id, 1);
        Ok(receipt)
    }
}

/// A page of a run's log.
#[derive(Deserialize)]
struct Log {
    events: Vec<Event>,
    last_seq: u64,
    ended: bool,
}

/// Beyond the newest event of any log, and still a JSON number that every reader keeps exactly.
const NEWEST: u64 = (1 << 53) - 1;

#[async_trait]
impl RunStore for Runs {
    async fn start_turn(&self, caller: &Caller, turn: NewTurn) -> StoreResult<TurnReceipt> {
        const ACTION: &str = "send a message";
        caller.require_person(ACTION)?;
        turn.check()?;
        let call = Call::repeatable("run_start_turn")
            .of("the conversation")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .id("p_conversation", turn.conversation_id)
            .id("p_message", turn.message_id)
            .id("p_run", turn.run_id)
            .id("p_reply", turn.reply_id)
            .arg("p_text", turn.text)
            .arg("p_after", turn.place.after().map(|message| message.uuid()))
            .arg("p_instead", turn.place.instead().map(|message| message.uuid()))
            .arg("p_key", turn.idempotency_key)
            .arg("p_limits", json!(turn.limits));
        self.queue(caller, call).await
    }

    async fn retry_turn(&self, caller: &Caller, retry: RetryTurn) -> StoreResult<TurnReceipt> {
        const ACTION: &str = "have a message answered again";
        caller.require_person(ACTION)?;
        let call = Call::repeatable("run_retry_turn")
            .of("the message")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .id("p_message", retry.message_id)
            .id("p_run", retry.run_id)
            .id("p_reply", retry.reply_id)
            .arg("p_mode", retry.mode.as_str())
            .arg("p_limits", json!(retry.limits));
        self.queue(caller, call).await
    }

    async fn run(&self, caller: &Caller, id: RunId) -> StoreResult<Option<Run>> {
        let call = Call::repeatable("run_read")
            .id("p_workspace", caller.workspace)
            .id("p_id", id);
        self.contract.as_caller(caller, call).await
    }

    async fn runs(&self, caller: &Caller, conversation: ConversationId, request: PageRequest) -> StoreResult<ListPage<Run>> {
        let (before, before_id) = contract::moment(&request)?;
        let call = Call::repeatable("run_list")
            .of("the conversation")
            .id("p_workspace", caller.workspace)
            .id("p_conversation", conversation)
            .arg("p_before", before)
            .arg("p_before_id", before_id)
            .arg("p_limit", contract::limit(&request));
        let runs: Vec<Run> = self.contract.as_caller(caller, call).await?;
        Ok(cursor::page(runs, request.size(), |run| {
            cursor::after(run.created_at.millis(), run.id)
        }))
    }

    async fn events(&self, caller: &Caller, id: RunId, range: LogRange) -> StoreResult<EventPage> {
        let call = Call::repeatable("run_events")
            .of("the run")
            .id("p_workspace", caller.workspace)
            .id("p_run", id)
            .arg("p_after", contract::long(range.after))
            .arg("p_limit", i32::try_from(range.limit).unwrap_or(i32::MAX))
            .arg("p_closed_by", contract::long(range.closed_by.min(NEWEST)));
        let log: Log = self.contract.as_caller(caller, call).await?;
        Ok(EventPage {
            events: events::stored(log.events),
            last_seq: log.last_seq,
            ended: log.ended,
        })
    }

    async fn cancel(&self, caller: &Caller, id: RunId) -> StoreResult<Run> {
        const ACTION: &str = "stop a run";
        caller.require_person(ACTION)?;
        let call = Call::repeatable("run_cancel")
            .of("the run")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .id("p_id", id);
        let run: Run = self.contract.as_caller(caller, call).await?;
        self.feed.appended(id, run.last_seq);
        Ok(run)
    }

    async fn pause(&self, caller: &Caller, id: RunId, pause: bool) -> StoreResult<Run> {
        const ACTION: &str = "pause a run";
        caller.require_person(ACTION)?;
        let call = Call::repeatable("run_pause")
            .of("the run")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .id("p_id", id)
            .arg("p_pause", pause);
        let run: Run = self.contract.as_caller(caller, call).await?;
        self.feed.appended(id, run.last_seq);
        Ok(run)
    }
}
