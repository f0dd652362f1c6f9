//! The database as it is shipped has no finding; a database with a hole has one.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::{fs, path::Path};

use duet_rls_tests::{Arena, suite};

#[tokio::test]
async fn nobody_gets_past_the_rules() {
    let arena = Arena::fresh().await.unwrap();
    let report = suite::run(&mut arena.stage().await.unwrap()).await.unwrap();
    println!("{} statements were tried", report.tried);
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
    assert!(report.tried > 10_000, "only {} statements were tried", report.tried);
    arena.remove().await.unwrap();
}

#[tokio::test]
async fn every_hole_in_the_catalogue_is_found() {
    let planted = plant(|finder| !ATTACKS.contains(&finder), 0, 1).await;
    assert!(planted >= 12, "only {planted} holes are planted");
}

/// Those that only attacks find, in three tests, so that none takes long.
mod every_hole_in_a_function_is_found {
    use super::*;

    async fn part(part: usize) {
        let planted = plant(|finder| ATTACKS.contains(&finder), part, 3).await;
        assert!(planted >= 2, "only {planted} holes are planted");
    }

    #[tokio::test]
    async fn first_third() {
        part(0).await;
    }

    #[tokio::test]
    async fn second_third() {
        part(1).await;
    }

    #[tokio::test]
    async fn third_third() {
        part(2).await;
    }
}

/// The checks that take long.
const ATTACKS: [&str; 2] = ["tells", "hostile"];

/// Every file of `mutants/` makes one hole; its first line says which, its second which check has to find it. Of those whose finder is
/// chosen, plants one of every `parts`, each in a database of its own, and tells how many.
async fn plant(chosen: impl Fn(&str) -> bool, part: usize, parts: usize) -> usize {
    let original = Arena::fresh().await.unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("mutants");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut planted = 0;
    let mut seen = 0;
    let mut missed = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let sql = fs::read_to_string(&file).unwrap();
        let wanted = sql
            .lines()
            .find_map(|line| line.strip_prefix("-- found by: "))
            .unwrap_or_else(|| panic!("{name} does not say what finds it"));
        if !chosen(wanted) {
            continue;
        }
        seen += 1;
        if (seen - 1) % parts != part {
            continue;
        }
        planted += 1;
        let copy = original.copy().await.unwrap();
        let mut stage = copy.stage().await.unwrap();
        // As the schema's owner, as a migration would make it.
        stage
            .run(&format!("begin; set local role postgres; {sql}; commit"))
            .await
            .unwrap();
        let mut report = suite::quick(&mut stage).await.unwrap();
        match wanted {
            "tells" => suite::tells(&mut stage, &mut report).await.unwrap(),
            "hostile" => suite::hostile(&mut stage, &mut report).await.unwrap(),
            _ => {}
        }
        println!("{name}: {}", report.checks().join(", "));
        if let Some(finding) = report.findings.iter().find(|finding| finding.check == wanted) {
            println!("    {finding}");
        } else {
            missed.push(format!("{name} (by {wanted}; found by {:?})", report.checks()));
        }
        drop(stage);
        copy.remove().await.unwrap();
    }
    assert!(missed.is_empty(), "not found: {}", missed.join(", "));
    original.remove().await.unwrap();
    planted
}
