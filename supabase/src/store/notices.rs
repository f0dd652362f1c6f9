//! Notices.

use async_trait::async_trait;
use duet_core::{
    Caller, StoreResult, cursor,
    domain::{ListPage, Notice, NoticeAction, PageRequest},
    ids::NoticeId,
    ports::NoticeStore,
};

use super::contract::{self, Contract};
use crate::rpc::Call;

/// The notices in the database.
pub struct Notices(pub(super) Contract);

#[async_trait]
impl NoticeStore for Notices {
    async fn list(&self, caller: &Caller, page: PageRequest) -> StoreResult<ListPage<Notice>> {
        const ACTION: &str = "see the notices";
        caller.require_person(ACTION)?;
        let (before, before_id) = contract::moment(&page)?;
        let call = Call::repeatable("notice_list")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .arg("p_before", before)
            .arg("p_before_id", before_id)
            .arg("p_limit", contract::limit(&page));
        let notices = self.0.as_caller(caller, call).await?;
        Ok(cursor::page(notices, page.size(), |notice: &Notice| {
            cursor::after(notice.created_at.millis(), notice.id)
        }))
    }

    async fn settle(&self, caller: &Caller, id: NoticeId, action: NoticeAction) -> StoreResult<Notice> {
        const ACTION: &str = "settle this notice";
        caller.require_person(ACTION)?;
        let call = Call::repeatable("notice_settle")
            .of("the notice")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .id("p_id", id)
            .arg("p_action", action.as_str());
        self.0.as_caller(caller, call).await
    }
}
