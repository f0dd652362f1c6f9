//! Postgres over sqlx passes the suites that every adapter has to pass.

use duet_supabase::testing::TestDatabase;

duet_core::contract_suite!(TestDatabase::fresh);
