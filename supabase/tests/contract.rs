//! Postgres over sqlx passes the suites that every adapter has to pass.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use async_trait::async_trait;
use duet_core::{
    contract::{Harness, TestEnv},
    ids::UserId,
    ports::Stores,
};
use duet_supabase::testing::TestDatabase;

struct OnPostgres(TestDatabase);

async fn fresh() -> OnPostgres {
    OnPostgres(TestDatabase::fresh().await)
}

#[async_trait]
impl Harness for OnPostgres {
    fn stores(&self) -> Stores {
        self.0.stores()
    }

    fn env(&self) -> TestEnv {
        self.0.time()
    }

    async fn account(&self, email: &str) -> UserId {
        self.0.account(email).await
    }
}

duet_core::contract_suite!(fresh);
