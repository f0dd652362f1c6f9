//! The fuse: counts the points at which a process can die (before and after every write and every recall, at every piece of a reply, in every tool), and at
//! the chosen one stops the driver for good, or calls something.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::sync::Notify;

use crate::{
    caller::Caller,
    domain::{
        Commit, Committed, Embedding, HandBack, LabelEdit, ListPage, Memory, MemoryEdit, MemoryFilter, NewMemory, PageRequest,
        RecallAnswer, RecallQuery, RedactionReceipt,
    },
    error::{StoreError, StoreResult},
    ids::{IdPrefix, LeaseToken, MemoryId, RedactionId, RunId},
    ports::{MemoryStore, RunLog, Stores},
};

enum At {
    Nothing,
    Blow(usize),
    /// Loses the answer to this write of the run's log, and to its repetition.
    Lose(usize),
    Call(usize, Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>),
}

pub(super) struct Fuse {
    at: At,
    passed: AtomicUsize,
    written: AtomicUsize,
    blown: Notify,
}

impl Fuse {
    fn new(at: At) -> Arc<Self> {
        Arc::new(Self {
            at,
            passed: AtomicUsize::new(0),
            written: AtomicUsize::new(0),
            blown: Notify::new(),
        })
    }
    pub fn counting() -> Arc<Self> {
        Self::new(At::Nothing)
    }
    pub fn blowing_at(point: usize) -> Arc<Self> {
        Self::new(At::Blow(point))
    }
    pub fn losing_answer(write: usize) -> Arc<Self> {
        Self::new(At::Lose(write))
    }
    pub fn calling_at(point: usize, call: Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>) -> Arc<Self> {
        Self::new(At::Call(point, call))
    }
    pub fn passed(&self) -> usize {
        self.passed.load(Ordering::SeqCst)
    }
    /// How many writes of the run's log there were.
    pub fn written(&self) -> usize {
        self.written.load(Ordering::SeqCst)
    }
    /// Counts a write and returns whether its answer gets lost.
    fn loses_answer(&self) -> bool {
        let here = self.written.fetch_add(1, Ordering::SeqCst) + 1;
        matches!(self.at, At::Lose(write) if here == write || here == write + 1)
    }
    pub async fn blown(&self) {
        self.blown.notified().await;
    }

    /// A point at which the process can die. A blown fuse never lets the driver on.
    pub async fn point(&self) {
        let here = self.passed.fetch_add(1, Ordering::SeqCst) + 1;
        match &self.at {
            At::Blow(point) if here >= *point => {
                self.blown.notify_one();
                std::future::pending::<()>().await;
            }
            At::Call(point, call) if here == *point => call().await,
            At::Nothing | At::Blow(_) | At::Call(..) | At::Lose(_) => {}
        }
    }
}

/// The same stores, with a point before and after every write of the driver.
pub(super) fn fused(stores: &Stores, fuse: &Arc<Fuse>) -> Stores {
    Stores {
        run_log: Arc::new(Fused {
            inner: stores.run_log.clone(),
            fuse: fuse.clone(),
        }),
        memories: Arc::new(Fused {
            inner: stores.memories.clone(),
            fuse: fuse.clone(),
        }),
        ..stores.clone()
    }
}

struct Fused<T: ?Sized> {
    fuse: Arc<Fuse>,
    inner: Arc<T>,
}

impl<T: ?Sized> Fused<T> {
    async fn around<R>(&self, work: impl Future<Output = R>) -> R {
        self.fuse.point().await;
        let result = work.await;
        self.fuse.point().await;
        result
    }

    /// The same for a write whose answer the connection may lose.
    async fn committed<R>(&self, work: impl Future<Output = StoreResult<R>>) -> StoreResult<R> {
        let result = self.around(work).await;
        if self.fuse.loses_answer() {
            return Err(StoreError::unavailable("the connection broke before the answer was there"));
        }
        result
    }
}

#[async_trait]
impl RunLog for Fused<dyn RunLog> {
    async fn commit(&self, run: RunId, lease: LeaseToken, after: u64, commit: Commit) -> StoreResult<Committed> {
        self.committed(self.inner.commit(run, lease, after, commit)).await
    }
    async fn heartbeat(&self, run: RunId, lease: LeaseToken) -> StoreResult<u64> {
        self.inner.heartbeat(run, lease).await
    }
    async fn hand_back(&self, run: RunId, lease: LeaseToken, why: HandBack) -> StoreResult<()> {
        self.inner.hand_back(run, lease, why).await
    }
}

#[async_trait]
impl MemoryStore for Fused<dyn MemoryStore> {
    async fn remember(&self, caller: &Caller, memory: NewMemory, embedding: Option<Embedding>) -> StoreResult<Memory> {
        self.around(self.inner.remember(caller, memory, embedding)).await
    }
    async fn memories(&self, caller: &Caller, ids: &[MemoryId]) -> StoreResult<Vec<Memory>> {
        self.inner.memories(caller, ids).await
    }
    async fn ids(&self, caller: &Caller, prefix: IdPrefix) -> StoreResult<Vec<MemoryId>> {
        self.inner.ids(caller, prefix).await
    }
    async fn list(&self, caller: &Caller, filter: MemoryFilter, page: PageRequest) -> StoreResult<ListPage<Memory>> {
        self.inner.list(caller, filter, page).await
    }
    async fn edit(&self, caller: &Caller, id: MemoryId, edit: MemoryEdit) -> StoreResult<Memory> {
        self.inner.edit(caller, id, edit).await
    }
    async fn clear_labels(&self, caller: &Caller, id: MemoryId, edit: LabelEdit) -> StoreResult<Memory> {
        self.inner.clear_labels(caller, id, edit).await
    }
    async fn recall(&self, caller: &Caller, query: RecallQuery) -> StoreResult<RecallAnswer> {
        self.around(self.inner.recall(caller, query)).await
    }
    async fn redact(&self, caller: &Caller, id: MemoryId, redaction: RedactionId) -> StoreResult<RedactionReceipt> {
        self.inner.redact(caller, id, redaction).await
    }
    async fn receipt(&self, caller: &Caller, id: MemoryId) -> StoreResult<Option<RedactionReceipt>> {
        self.inner.receipt(caller, id).await
    }
}
