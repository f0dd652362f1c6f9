//! Postgres behind a Data API passes the suites that every adapter has to pass: persons over PostgREST, the rest over sqlx.

mod world;

use duet_supabase::testing::ServedDatabase;

// A seed is some forty turns with a dozen calls of the person's each, at about 10 ms a call. What the simulator is about, the
// driver's writes, goes over sqlx here too, where `contract` plays all seeds.
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
