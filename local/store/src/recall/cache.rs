//! The codes of the workspaces being asked, within a byte budget.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use tokio::sync::Semaphore;

use super::block::Block;

/// A cached block: searches share it, catching up locks it exclusively for a moment.
pub type Shared = Arc<RwLock<Block>>;

/// Shared by all readers of one file.
pub struct VectorCache {
    budget: usize,
    inner: Mutex<Inner>,
    /// Loading reads and decrypts megabytes: one at a time leaves the other processor for answers.
    pub loads: Semaphore,
}

#[derive(Default)]
struct Inner {
    blocks: HashMap<i64, Cached>,
    loading: HashSet<i64>,
    /// How often each partition was asked lately: decides who gets room when none is left.
    uses: HashMap<i64, u32>,
    asked: u32,
    clock: u64,
}

struct Cached {
    block: Shared,
    bytes: usize,
    used: u64,
}

/// The right and the duty to load one partition; others that miss it meanwhile do not load it too.
pub struct Wanted {
    cache: Arc<VectorCache>,
    /// Which partition.
    pub partition: i64,
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.cache.lock().loading.remove(&self.partition);
    }
}

impl VectorCache {
    /// With a budget in bytes; 0 keeps nothing.
    pub fn new(budget: usize) -> Arc<Self> {
        Arc::new(Self {
            budget,
            inner: Mutex::default(),
            loads: Semaphore::new(1),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The block of a partition, if it is cached. Counts as a use.
    pub fn get(&self, partition: i64) -> Option<Shared> {
        let mut inner = self.lock();
        inner.clock += 1;
        let now = inner.clock;
        inner.asked += 1;
        *inner.uses.entry(partition).or_default() += 1;
        // Halved now and then, so that partitions busy yesterday make room today.
        if inner.asked >= 1024 {
            inner.asked = 0;
            inner.uses.retain(|_, uses| {
                *uses /= 2;
                *uses > 0
            });
        }
        let cached = inner.blocks.get_mut(&partition)?;
        cached.used = now;
        Some(Arc::clone(&cached.block))
    }

    /// Whether the caller should load a partition that will take `bytes` now: not while somebody else loads it, not if it exceeds
    /// the budget, and not in place of partitions that are asked more often.
    pub fn want(self: &Arc<Self>, partition: i64, bytes: usize) -> Option<Wanted> {
        let mut inner = self.lock();
        if bytes > self.budget || inner.blocks.contains_key(&partition) || inner.loading.contains(&partition) {
            return None;
        }
        let taken: usize = inner.blocks.values().map(|cached| cached.bytes).sum();
        if taken + bytes > self.budget {
            let uses = |partition: &i64| inner.uses.get(partition).copied().unwrap_or(0);
            let oldest = inner
                .blocks
                .iter()
                .min_by_key(|(_, cached)| cached.used)
                .map(|(partition, _)| uses(partition));
            if oldest.is_some_and(|oldest| uses(&partition) <= oldest) {
                return None;
            }
        }
        inner.loading.insert(partition);
        Some(Wanted {
            cache: Arc::clone(self),
            partition,
        })
    }

    /// Keeps a block, and evicts the least recently used ones until the budget holds.
    pub fn put(&self, partition: i64, block: Block) -> Shared {
        let bytes = block.bytes();
        let block = Arc::new(RwLock::new(block));
        if bytes <= self.budget {
            let mut inner = self.lock();
            inner.clock += 1;
            let used = inner.clock;
            inner.blocks.insert(
                partition,
                Cached {
                    block: Arc::clone(&block),
                    bytes,
                    used,
                },
            );
            inner.shrink(self.budget);
        }
        block
    }

    /// Records that a block has grown.
    pub fn resized(&self, partition: i64, bytes: usize) {
        let mut inner = self.lock();
        if let Some(cached) = inner.blocks.get_mut(&partition) {
            cached.bytes = bytes;
            inner.shrink(self.budget);
        }
    }

    /// Forgets a partition; returns whether it was cached.
    pub fn forget(&self, partition: i64) -> bool {
        self.lock().blocks.remove(&partition).is_some()
    }

    /// Bytes in use.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.lock().blocks.values().map(|cached| cached.bytes).sum()
    }
}

impl Inner {
    fn shrink(&mut self, budget: usize) {
        let mut taken: usize = self.blocks.values().map(|cached| cached.bytes).sum();
        while taken > budget {
            let Some(oldest) = self
                .blocks
                .iter()
                .min_by_key(|(_, cached)| cached.used)
                .map(|(partition, _)| *partition)
            else {
                return;
            };
            if let Some(gone) = self.blocks.remove(&oldest) {
                taken -= gone.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(codes: usize) -> Block {
        let mut block = Block::new(32);
        block.reserve(codes);
        block
    }

    #[test]
    fn the_budget_holds_and_the_least_recently_used_goes() {
        let one = Block::bytes_for(32, 10);
        let cache = VectorCache::new(2 * one);
        cache.put(1, block(10));
        cache.put(2, block(10));
        assert!(cache.get(1).is_some());
        cache.put(3, block(10));
        assert!(cache.get(2).is_none() && cache.get(1).is_some() && cache.get(3).is_some());
        assert!(cache.bytes() <= 2 * one);
        assert!(cache.want(9, 3 * one).is_none(), "larger than everything");
    }

    #[test]
    fn one_loads_at_a_time_and_rare_guests_do_not_displace_regulars() {
        let one = Block::bytes_for(32, 10);
        let cache = VectorCache::new(one);
        assert!(cache.get(1).is_none());
        let wanted = cache.want(1, one).expect("room");
        assert!(cache.want(1, one).is_none(), "already being loaded");
        cache.put(1, block(10));
        drop(wanted);
        for _ in 0..3 {
            assert!(cache.get(1).is_some());
        }
        assert!(
            cache.get(2).is_none() && cache.want(2, one).is_none(),
            "asked once, against four times"
        );
        for _ in 0..5 {
            assert!(cache.get(2).is_none());
        }
        assert!(cache.want(2, one).is_some());
    }
}
