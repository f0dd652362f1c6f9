//! Postgres over its own protocol passes the suites that every adapter has to pass.

mod world;

use duet_supabase::testing::TestDatabase;

duet_core::contract_suite!(TestDatabase::fresh);

mod memories {
    use duet_core::contract::{TestEnv, memories::World};

    use super::*;

    async fn world() -> World {
        let time = TestEnv::new(1).standing_still();
        let database = TestDatabase::telling(time.clone()).await;
        let owner = database.owner().await;
        super::world::of(database, owner, time).await
    }
    duet_core::memory_contract!(world);
}
