//! `kill -9` at any moment between a question and the act: with a yes it happens exactly once, just as it was approved; without one
//! it never does.
//!
//! Twenty kills by default, 150 with `cargo xtask test --long` (`DUET_TEST_LONG=1`), any number with `DUET_TEST_KILLS`; the
//! simulator in the core covers the single steps.

mod play;

use duet_api::testing::ScriptedModel;
use play::{Play, Running};

use crate::harness::{Home, Served};

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
    let usual = if std::env::var_os("DUET_TEST_LONG").is_some() {
        150
    } else {
        20
    };
    let kills: u64 = std::env::var("DUET_TEST_KILLS").map_or(usual, |count| count.parse().unwrap());
    let model = ScriptedModel::start().await.unwrap();
    model.choose(play::answer);
    let home = Home::with_config(&format!(
        "[models]\ndefault = \"test/scripted\"\n[models.providers.test]\nkind = \"openai\"\nbase_url = \"{}/v1\"\n",
        model.url()
    ));
    let server = home.serve();
    let token = server.setup_token.clone().unwrap();
    let server = Play::begin(server, &token, || home.serve()).await.until_killed(kills).await;
    let verified = home.run(["audit", "verify", "--json"]).json();
    assert_eq!(verified["intact"], true, "{verified}");
    assert_eq!(server.stop().code(), Some(0));
}
