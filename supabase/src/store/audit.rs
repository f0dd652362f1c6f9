//! The audit log.

use async_trait::async_trait;
use duet_core::{
    Caller, StoreResult, cursor,
    domain::{AuditEntry, ListPage, NewAuditEntry, PageRequest},
    ids::Id,
    ports::{AuditLog, ChainCheck},
};
use serde::Deserialize;

use super::contract::{self, Contract};
use crate::rpc::Call;

/// The audit log in the database.
pub struct Audit(pub(super) Contract);

/// The first invalid row, or the number of valid rows.
#[derive(Deserialize)]
#[serde(untagged)]
enum Verified {
    Broken { chain: String, seq: u64 },
    Intact { rows: u64 },
}

#[async_trait]
impl AuditLog for Audit {
    async fn append(&self, caller: &Caller, entry: NewAuditEntry) -> StoreResult<AuditEntry> {
        let call = Call::new("audit_append")
            .id("p_workspace", caller.workspace)
            .id("p_actor", caller.user)
            .arg("p_agent", caller.agent.as_ref().map(|acting| acting.agent.uuid()))
            .arg("p_action", entry.action)
            .arg("p_target", entry.target)
            .arg("p_outcome", entry.outcome.as_str())
            .arg("p_details", entry.details.to_string());
        self.0.as_driver(call).await
    }

    async fn entries(&self, caller: &Caller, request: PageRequest) -> StoreResult<ListPage<AuditEntry>> {
        const ACTION: &str = "read the audit log";
        caller.require_person(ACTION)?;
        let call = Call::repeatable("audit_entries")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .arg("p_before", cursor::number(request.cursor.as_deref())?)
            .arg("p_limit", contract::limit(&request));
        let entries: Vec<AuditEntry> = self.0.as_caller(caller, call).await?;
        Ok(cursor::page(entries, request.size(), |entry| entry.seq.to_string()))
    }

    async fn verify(&self, caller: &Caller) -> StoreResult<ChainCheck> {
        const ACTION: &str = "verify the audit log";
        caller.require_person(ACTION)?;
        let call = Call::repeatable("audit_verify")
            .to(ACTION)
            .id("p_workspace", caller.workspace);
        Ok(match self.0.as_caller(caller, call).await? {
            Verified::Broken { chain, seq } => ChainCheck::Broken { chain, seq },
            Verified::Intact { rows } => ChainCheck::Intact(rows),
        })
    }
}
