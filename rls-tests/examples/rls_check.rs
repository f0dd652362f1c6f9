//! Runs checks of the security suite by their names on a fresh world, on some functions alone if any are named; with `--plant FOLDER`, plants
//! the holes of a folder one after the other and says which are found, by which check.
//!
//!     cargo run --example rls_check -- tells hostile --through run_cancel
//!     cargo run --example rls_check -- --plant rls-tests/mutants 30_

use std::path::Path;

use anyhow::Result;
use duet_rls_tests::{Arena, mutants, suite};

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arena = Arena::fresh().await?;
    if let [plant, folder, only @ ..] = arguments.as_slice()
        && plant == "--plant"
    {
        for mutant in mutants::planted(Path::new(folder))? {
            if !only.is_empty() && only.iter().all(|name| !mutant.name.contains(name.as_str())) {
                continue;
            }
            let copy = arena.copy().await?;
            let mut stage = copy.stage().await?;
            match suite::plant(&mut stage, &mutant).await {
                Ok(report) => {
                    let found = report
                        .findings
                        .iter()
                        .find(|finding| mutant.finder.split(", ").any(|check| check == finding.check));
                    match found {
                        Some(finding) => println!("found   {}: {finding} ({:?})", mutant.name, report.checks()),
                        None => println!("MISSED  {}: {:?}", mutant.name, report.findings),
                    }
                }
                Err(error) => println!("BROKEN  {}: {error:#}", mutant.name),
            }
            drop(stage);
            copy.remove().await?;
        }
        return arena.remove().await;
    }
    let mut parts = arguments.splitn(2, |argument| argument == "--through");
    let checks = parts.next().unwrap_or_default();
    let functions: Vec<&str> = parts.next().unwrap_or_default().iter().map(String::as_str).collect();
    let mut stage = arena.stage().await?;
    #[expect(clippy::disallowed_methods, reason = "how long a check takes is for who waits for it")]
    for check in checks {
        let mut report = suite::Report::default();
        let start = std::time::Instant::now();
        suite::one(&mut stage, check, &functions, &mut report).await?;
        println!(
            "{check}: {} statements, {} findings, {:.1} s",
            report.tried,
            report.findings.len(),
            start.elapsed().as_secs_f64()
        );
        for finding in &report.findings {
            println!("    {finding}");
        }
    }
    drop(stage);
    arena.remove().await
}
