//! Workers and streams are cut off repeatedly until the runs have ended.

use std::time::Duration;

use duet_api::testing::{Event, text_of};
use duet_supabase::testing::EmptyDatabase;
use futures::future::join_all;

use super::turns::{gapless, installed, whole_log};

/// A small random generator, so that a failing seed can be repeated.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// The numbers in a counting text.
fn numbers(text: &str) -> Vec<u32> {
    text.split(|c: char| !c.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_cut_at_random_until_all_runs_have_ended() {
    let rounds: u64 = if std::env::var_os("DUET_TEST_LONG").is_some() { 20 } else { 2 };
    let database = EmptyDatabase::fresh().await;
    let (mut platform, ada) = installed(&database, |_| {}).await;
    platform.run("stream", 4);
    platform.run("worker", 2);
    let mut cuts = 0;
    for seed in 0..rounds {
        let mut dice = Dice(seed);
        let mut runs = Vec::new();
        for number in 0..3 {
            let talk = ada.conversation().await;
            let said = ada.say(&talk, &format!("count to {}", 60 + 70 * number)).await;
            runs.push((talk, said["run_id"].as_str().unwrap().to_owned()));
        }
        let logs = {
            let logs = join_all(runs.iter().map(|(_, run)| whole_log(&platform, &ada, run)));
            tokio::pin!(logs);
            loop {
                let pause = Duration::from_millis(200 + dice.next(1300));
                tokio::select! {
                    logs = &mut logs => break logs,
                    () = tokio::time::sleep(pause) => {
                        platform.cut(if dice.next(3) > 0 { "worker" } else { "stream" });
                        cuts += 1;
                        // The schedule runs more often than in production, because everything here is faster.
                        platform.schedule();
                    }
                }
            }
        };
        for ((talk, run), log) in runs.iter().zip(&logs) {
            check(seed, log);
            let reply = ada.reply(talk, run).await;
            let status = reply["status"].as_str().unwrap();
            assert!(matches!(status, "complete" | "interrupted"), "seed {seed}: {reply}");
            assert_eq!(*log, ada.events(run, 0).await, "seed {seed}: in pieces and whole");
        }
    }
    let attempts = database.value("select max(attempt) from duet.run").await;
    assert!(cuts >= rounds && attempts != "1", "{cuts} cuts, {attempts} attempts at most");
}

/// No event or text is missing or duplicated.
fn check(seed: u64, log: &[Event]) {
    gapless(log);
    let text = text_of(log);
    let counted = numbers(&text);
    let expected: Vec<u32> = (1..=counted.len() as u32).collect();
    assert_eq!(counted, expected, "seed {seed}: {text}");
}
