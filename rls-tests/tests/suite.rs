//! The database as it is shipped has no finding; a database with a hole has one.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::{
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use duet_rls_tests::{
    Arena,
    mutants::{self, CLASSES, Mutant},
    suite::{self, Report},
};

/// Nothing is found by these checks, and they try at least so much.
async fn nothing_is_found(checks: &[&str], at_least: usize) {
    let arena = Arena::fresh().await.unwrap();
    let mut stage = arena.stage().await.unwrap();
    let mut report = Report::default();
    for check in checks {
        let before = report.tried;
        suite::one(&mut stage, check, &[], &mut report).await.unwrap();
        println!("{check}: {} statements were tried", report.tried - before);
    }
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
    assert!(report.tried > at_least, "only {} statements were tried", report.tried);
    drop(stage);
    arena.remove().await.unwrap();
}

/// The checks in parts that take about as long.
mod nobody_gets_past_the_rules {
    use super::*;

    #[tokio::test]
    async fn by_what_is_declared() {
        nothing_is_found(&suite::QUICK, 3_000).await;
    }

    #[tokio::test]
    async fn by_disguise_or_by_waiting() {
        nothing_is_found(&["claims", "locks"], 3_000).await;
    }

    #[tokio::test]
    async fn by_asking() {
        nothing_is_found(&["tells"], 5_000).await;
    }

    #[tokio::test]
    async fn by_hostile_calls_from_outside() {
        nothing_is_found(
            &["hostile stranger", "hostile ex-member", "hostile agent", "hostile scoped"],
            5_000,
        )
        .await;
    }

    #[tokio::test]
    async fn by_hostile_calls_from_within() {
        nothing_is_found(&["hostile member", "hostile owner", "hostile demoted"], 5_000).await;
    }

    #[tokio::test]
    async fn by_silencing() {
        nothing_is_found(&["silence"], 3_000).await;
    }

    #[tokio::test]
    async fn by_coming_at_once() {
        nothing_is_found(&["races"], 8).await;
    }

    #[test]
    fn these_are_all_checks() {
        let attacks = ["claims", "locks", "tells", "hostile", "silence", "races"];
        assert_eq!(attacks, suite::ATTACKS);
    }
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/mutants"))
}

/// Runs a future on a runtime of this thread's own.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

/// Each hole in a database of its own, two at a time.
#[test]
fn every_hole_is_found() {
    let mutants = mutants::planted(folder()).unwrap();
    assert!(mutants.len() >= 45, "only {} holes are planted", mutants.len());
    let original = block_on(Arena::fresh()).unwrap();
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = block_on(plant(&original, mutant));
                    results.lock().unwrap().push((mutant, found));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    for class in CLASSES {
        let of_it: Vec<_> = results.iter().filter(|(mutant, _)| mutant.class == class).collect();
        let found = of_it.iter().filter(|(_, found)| found.is_some()).count();
        println!("{class}: {found} of {} holes are found", of_it.len());
    }
    let missed: Vec<&str> = results
        .iter()
        .filter(|(_, found)| found.is_none())
        .map(|(mutant, _)| mutant.name.as_str())
        .collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
    block_on(original.remove()).unwrap();
}

async fn plant(original: &Arena, mutant: &Mutant) -> Option<String> {
    let copy = original.copy().await.unwrap();
    let mut stage = copy.stage().await.unwrap();
    let report = suite::plant(&mut stage, mutant).await.unwrap();
    let finding = report.findings.iter().find(|finding| finding.check == mutant.finder);
    let finding = finding.map(ToString::to_string);
    println!("{}: {}", mutant.name, finding.as_deref().unwrap_or("nothing"));
    drop(stage);
    copy.remove().await.unwrap();
    finding
}

/// The README says how many holes of each class there are, and each class has two at least.
#[test]
fn the_readme_counts_the_holes() {
    let readme = include_str!("../README.md");
    let mutants = mutants::planted(folder()).unwrap();
    for mutant in &mutants {
        assert!(
            CLASSES.contains(&mutant.class.as_str()),
            "{}: `{}` is no class",
            mutant.name,
            mutant.class
        );
    }
    for class in CLASSES {
        let count = mutants.iter().filter(|mutant| mutant.class == class).count();
        assert!(count >= 2, "{class}: {count}");
        let row = format!("| {class} | {count} |");
        assert!(readme.contains(&row), "README.md lacks `{row}`");
    }
}
