use std::sync::Arc;

use super::{
    cache::{VectorCache, Wanted},
    vectors::{self, Partition},
};
use crate::db::Db;

/// The codes of a partition, to be loaded into the cache after an answer that did without them.
pub struct Load {
    wanted: Wanted,
    partition: Partition,
    dimensions: usize,
}

impl Load {
    /// For this partition.
    pub fn new(wanted: Wanted, partition: Partition, dimensions: usize) -> Self {
        Self {
            wanted,
            partition,
            dimensions,
        }
    }

    /// Reads them. A failure is logged: the next question tries again.
    pub async fn run(self, db: Db, cache: Arc<VectorCache>) {
        let Ok(_turn) = cache.loads.acquire().await else { return };
        let (partition, dimensions) = (self.partition, self.dimensions);
        match db.read(move |conn| vectors::load_block(conn, partition, dimensions)).await {
            Ok(block) => {
                cache.put(self.wanted.partition, block);
            }
            Err(error) => tracing::warn!(%error, "vector codes could not be loaded; answers come from the bit index meanwhile"),
        }
    }
}
