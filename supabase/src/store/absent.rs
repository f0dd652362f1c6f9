//! Not on main: stands in for ports that are not written yet.
use async_trait::async_trait;
use duet_core::{caller::Caller, clock::Timestamp, domain::*, error::*, ids::*, ports::*};
use tokio::sync::broadcast;
pub struct Absent;
fn absent<T>() -> StoreResult<T> {
    Err(StoreError::unavailable("absent"))
}
#[async_trait]
#[allow(unused_variables)]
impl AgentStore for Absent {
    async fn agents(&self, caller: &Caller) -> StoreResult<Vec<Agent>> {
        absent()
    }
    async fn agent(&self, caller: &Caller, id: AgentId) -> StoreResult<Option<Agent>> {
        absent()
    }
    async fn edit_agent(&self, caller: &Caller, id: AgentId, version: u32, edit: AgentEdit) -> StoreResult<Agent> {
        absent()
    }
    async fn soul(&self, caller: &Caller) -> StoreResult<SoulVersion> {
        absent()
    }
    async fn soul_versions(&self, caller: &Caller, page: PageRequest) -> StoreResult<Page<SoulVersion>> {
        absent()
    }
    async fn write_soul(&self, caller: &Caller, version: u32, soul: Soul) -> StoreResult<SoulVersion> {
        absent()
    }
}
#[async_trait]
#[allow(unused_variables)]
impl ConversationStore for Absent {
    async fn create(
        &self,
        caller: &Caller,
        id: ConversationId,
        agent: Option<AgentId>,
        title: Option<&str>,
    ) -> StoreResult<Conversation> {
        absent()
    }
    async fn conversation(&self, caller: &Caller, id: ConversationId) -> StoreResult<Option<Conversation>> {
        absent()
    }
    async fn list(&self, caller: &Caller, archived: bool, page: PageRequest) -> StoreResult<Page<Conversation>> {
        absent()
    }
    async fn edit(&self, caller: &Caller, id: ConversationId, edit: ConversationEdit) -> StoreResult<Conversation> {
        absent()
    }
    async fn messages(&self, caller: &Caller, id: ConversationId, page: PageRequest) -> StoreResult<Page<Message>> {
        absent()
    }
    async fn messages_by_id(&self, caller: &Caller, ids: &[MessageId]) -> StoreResult<Vec<Message>> {
        absent()
    }
    async fn search(&self, caller: &Caller, query: &str, page: PageRequest) -> StoreResult<Page<MessageHit>> {
        absent()
    }
}
#[async_trait]
#[allow(unused_variables)]
impl MemoryStore for Absent {
    async fn remember(&self, caller: &Caller, memory: NewMemory, embedding: Option<Embedding>) -> StoreResult<Memory> {
        absent()
    }
    async fn memories(&self, caller: &Caller, ids: &[MemoryId]) -> StoreResult<Vec<Memory>> {
        absent()
    }
    async fn list(&self, caller: &Caller, filter: MemoryFilter, page: PageRequest) -> StoreResult<Page<Memory>> {
        absent()
    }
    async fn edit(&self, caller: &Caller, id: MemoryId, edit: MemoryEdit) -> StoreResult<Memory> {
        absent()
    }
    async fn recall(&self, caller: &Caller, query: RecallQuery) -> StoreResult<RecallAnswer> {
        absent()
    }
    async fn redact(&self, caller: &Caller, id: MemoryId, redaction: RedactionId) -> StoreResult<RedactionReceipt> {
        absent()
    }
    async fn receipt(&self, caller: &Caller, id: MemoryId) -> StoreResult<Option<RedactionReceipt>> {
        absent()
    }
}
#[async_trait]
#[allow(unused_variables)]
impl RunStore for Absent {
    async fn start_turn(&self, caller: &Caller, turn: NewTurn) -> StoreResult<TurnReceipt> {
        absent()
    }
    async fn retry_turn(&self, caller: &Caller, retry: RetryTurn) -> StoreResult<TurnReceipt> {
        absent()
    }
    async fn run(&self, caller: &Caller, id: RunId) -> StoreResult<Option<Run>> {
        absent()
    }
    async fn runs(&self, caller: &Caller, conversation: ConversationId, page: PageRequest) -> StoreResult<Page<Run>> {
        absent()
    }
    async fn events(&self, caller: &Caller, id: RunId, after: u64, limit: usize) -> StoreResult<EventPage> {
        absent()
    }
    async fn cancel(&self, caller: &Caller, id: RunId) -> StoreResult<Run> {
        absent()
    }
}
#[async_trait]
#[allow(unused_variables)]
impl RunLog for Absent {
    async fn append(&self, run: RunId, lease: LeaseToken, after: u64, events: Vec<NewEvent>) -> StoreResult<Appended> {
        absent()
    }
    async fn heartbeat(&self, run: RunId, lease: LeaseToken) -> StoreResult<(Timestamp, u64)> {
        absent()
    }
    async fn settle(&self, run: RunId, lease: LeaseToken, after: u64, settlement: Settlement) -> StoreResult<Run> {
        absent()
    }
    async fn hand_back(&self, run: RunId, lease: LeaseToken) -> StoreResult<()> {
        absent()
    }
}
#[async_trait]
#[allow(unused_variables)]
impl KeyStore for Absent {
    async fn create(&self, caller: &Caller, key: NewApiKey) -> StoreResult<ApiKey> {
        absent()
    }
    async fn list(&self, caller: &Caller) -> StoreResult<Vec<ApiKey>> {
        absent()
    }
    async fn revoke(&self, caller: &Caller, id: ApiKeyId) -> StoreResult<ApiKey> {
        absent()
    }
}
#[async_trait]
#[allow(unused_variables)]
impl SystemStore for Absent {
    async fn claim_run(&self, policy: LeasePolicy) -> StoreResult<Option<Claim>> {
        absent()
    }
    async fn api_key(&self, secret_hash: [u8; 32]) -> StoreResult<Option<(ApiKey, Role)>> {
        absent()
    }
    async fn unembedded(&self, model: &EmbeddingModel, locality: Locality, limit: usize) -> StoreResult<Vec<Unembedded>> {
        absent()
    }
    async fn put_embeddings(&self, embeddings: Vec<(WorkspaceId, MemoryId, Embedding)>) -> StoreResult<()> {
        absent()
    }
    async fn embedding_progress(&self, model: &EmbeddingModel, locality: Locality) -> StoreResult<EmbeddingProgress> {
        absent()
    }
    async fn take_outbox(&self, limit: usize) -> StoreResult<Vec<EventHint>> {
        absent()
    }
    async fn sweep(&self) -> StoreResult<u64> {
        absent()
    }
}
impl EventFeed for Absent {
    fn subscribe(&self, _run: RunId) -> broadcast::Receiver<EventHint> {
        broadcast::channel(1).1
    }
}
