//! `kill -9` of the server at any moment between a question and the act, on a database that stays: with a yes it happens exactly once,
//! just as it was approved; without one it never does.
//!
//! Eight kills by default, forty with `cargo xtask test --long` (`DUET_TEST_LONG=1`), any number with `DUET_TEST_KILLS`. Most cost a
//! lease.

// The same turns as on one machine.
#[path = "../../../local/tests/cli/approvals/play.rs"]
mod play;

use duet_api::testing::ScriptedModel;
use duet_supabase::testing::EmptyDatabase;
use play::{Play, Running};

use crate::support::{Program, Served};

impl Running for Served {
    fn url(&self) -> &str {
        &self.url
    }
    fn kill(self) {
        self.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn approvals_survive_kill_9_between_asking_and_acting() {
    let usual = if std::env::var_os("DUET_TEST_LONG").is_some() { 40 } else { 8 };
    let kills: u64 = std::env::var("DUET_TEST_KILLS").map_or(usual, |count| count.parse().unwrap());
    let model = ScriptedModel::start().await.unwrap();
    model.choose(play::answer);
    let database = EmptyDatabase::fresh().await;
    let duet = Program::of(&database)
        .with("DUET_MODELS__DEFAULT", "test/scripted")
        .with("DUET_MODELS__PROVIDERS__TEST__KIND", "openai")
        .with("DUET_MODELS__PROVIDERS__TEST__BASE_URL", &format!("{}/v1", model.url()))
        .with("DUET_WORKER__LEASE_SECONDS", "3")
        .with("DUET_LOG__LEVEL", "warn");
    let token = duet.migrate();
    let play = Play::begin(duet.serve(), &token, || duet.serve()).await;
    let server = play.until_killed(kills).await;
    assert_eq!(server.stop().await.code(), Some(0));
}
