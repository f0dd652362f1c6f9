//! Postgres behind a Data API passes the suites that every adapter has to pass: persons over PostgREST, the rest over Postgres' own
//! protocol.

mod world;

use duet_supabase::testing::ServedDatabase;

// A seed is about forty turns with a dozen calls each by the person, at about 10 ms per call. The simulator's actual subject, the
// driver's writes, does not use the Data API here either, and `contract` plays all seeds.
duet_core::contract_suite!(ServedDatabase::fresh, seeds: 1);

mod memories {
    use duet_core::contract::{TestEnv, memories::World};

    use super::*;

    async fn world() -> World {
        let time = TestEnv::new(1).standing_still();
        let served = ServedDatabase::telling(time.clone()).await;
        let owner = served.database.owner().await;
        super::world::of(served, owner, time).await
    }
    duet_core::memory_contract!(world);
}
