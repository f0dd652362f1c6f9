//! `cargo xtask test`: every check, in order, each with its runner's own output.

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    binary,
    command::{self, Failed, Output},
    fetch, generate, judges, place,
    postgres::{self, Tested},
    supabase::{self, Served},
    tally::Tally,
    tools, tree, web,
};

/// Options of `test`.
#[derive(Args, Default)]
pub struct Options {
    /// Also the long ones: more seeds, more data.
    #[arg(long)]
    long: bool,
    /// Only this stage; may be repeated.
    #[arg(long, value_name = "STAGE")]
    only: Vec<String>,
    /// Stop at the first failing stage instead of running all.
    #[arg(long)]
    fail_fast: bool,
    /// List the stages.
    #[arg(long)]
    list: bool,
}

struct Stage {
    name: &'static str,
    about: &'static str,
    /// Whether it has to report at least one test.
    counts: bool,
    run: fn(&Options) -> Result<Output>,
}

const STAGES: &[Stage] = &[
    Stage {
        name: "fmt",
        about: "Rust formatting",
        counts: false,
        run: fmt,
    },
    Stage {
        name: "tree",
        about: "links, paths, file sizes, borders between web features",
        counts: false,
        run: |_| tree::check(&place::root()),
    },
    // The program embeds the web app: compiled before the web app is built, it would be compiled again.
    Stage {
        name: "web",
        about: "web app: types, lints, build, unit tests, bundle",
        counts: true,
        run: web,
    },
    Stage {
        name: "clippy",
        about: "Rust lints; a warning is an error",
        counts: false,
        run: clippy,
    },
    Stage {
        name: "deny",
        about: "licences and sources of the dependencies",
        counts: false,
        run: deny,
    },
    Stage {
        name: "gen",
        about: "generated files are as they would be generated now",
        counts: false,
        run: |_| generate::check(),
    },
    Stage {
        name: "rust",
        about: "all Rust tests, with the real binary",
        counts: true,
        run: rust,
    },
    Stage {
        name: "rls",
        about: "the security suite of Postgres: who may do what, attacks, planted holes, other judges",
        counts: true,
        run: rls,
    },
    Stage {
        name: "supabase",
        about: "Supabase's own tools: migrations, advisors, sign-in and the Data API",
        counts: true,
        run: |_| supabase::check(),
    },
    Stage {
        name: "doc",
        about: "examples in the documentation of the code",
        counts: false,
        run: doc,
    },
    Stage {
        name: "product",
        about: "the programs compile without the parts for tests",
        counts: false,
        run: product,
    },
    Stage {
        name: "e2e",
        about: "the built binary in a real browser",
        counts: true,
        run: e2e,
    },
];

/// The result of a stage.
struct Report {
    name: &'static str,
    took: Duration,
    output: Output,
    problem: Option<String>,
}

/// Runs the stages and prints their results.
pub fn test(options: &Options) -> Result<ExitCode> {
    if options.list {
        for stage in STAGES {
            println!("{:8} {}", stage.name, stage.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(unknown) = options
        .only
        .iter()
        .find(|name| STAGES.iter().all(|stage| stage.name != **name))
    {
        let known: Vec<&str> = STAGES.iter().map(|stage| stage.name).collect();
        bail!("There is no stage `{unknown}`. Choose from: {}.", known.join(", "));
    }
    tools::for_testing()?;

    let mut reports = Vec::new();
    for stage in STAGES
        .iter()
        .filter(|stage| options.only.is_empty() || options.only.iter().any(|name| name == stage.name))
    {
        println!("\n=== {}: {}", stage.name, stage.about);
        let report = perform(stage, options);
        let failed = report.problem.is_some();
        reports.push(report);
        if failed && options.fail_fast {
            break;
        }
    }
    Ok(summary(&reports))
}

#[expect(clippy::disallowed_methods, reason = "the real time that a stage takes is what is reported")]
fn perform(stage: &Stage, options: &Options) -> Report {
    let started = Instant::now();
    let (output, problem) = match (stage.run)(options) {
        Ok(output) if output.tally.failed > 0 => (output, Some("tests failed".to_owned())),
        Ok(output) if stage.counts && output.tally.passed == 0 => (output, Some("no test ran".to_owned())),
        Ok(output) => (output, None),
        Err(error) => {
            let problem = format!("{error:#}");
            println!("{}: {problem}", stage.name);
            let output = error.downcast::<Failed>().map(|failed| failed.output).unwrap_or_default();
            (output, Some(problem))
        }
    };
    Report {
        name: stage.name,
        took: started.elapsed(),
        output,
        problem,
    }
}

fn summary(reports: &[Report]) -> ExitCode {
    for report in reports.iter().filter(|report| report.problem.is_some()) {
        println!("\n--- {} failed; its last words:", report.name);
        for line in &report.output.last {
            println!("    {line}");
        }
    }
    println!("\n=== summary");
    let mut total = Tally::default();
    for report in reports {
        total += report.output.tally;
        let verdict = report.problem.as_deref().unwrap_or("ok");
        let verdict = verdict.lines().next().unwrap_or_default();
        println!("{:8} {:>7.1} s  {verdict}", report.name, report.took.as_secs_f64());
        for line in &report.output.closing {
            println!("         {line}");
        }
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    if reports.iter().all(|report| report.problem.is_none()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn fmt(_: &Options) -> Result<Output> {
    command::watch(command::command("cargo").args(["fmt", "--all", "--check"]))
}

fn clippy(_: &Options) -> Result<Output> {
    let mut clippy = command::command("cargo");
    clippy
        .args(["clippy", "--locked", "--all-targets"])
        .args(binary::SELECTION)
        .args(["--", "-D", "warnings"]);
    command::watch(&mut clippy)
}

fn deny(_: &Options) -> Result<Output> {
    let program = fetch::cargo_deny()?;
    println!("Advisories are left out here: their database comes over git. `cargo deny check advisories` checks them.");
    let mut deny = command::command(program);
    deny.args([
        "--workspace",
        "check",
        "--hide-inclusion-graph",
        "licenses",
        "bans",
        "sources",
    ]);
    command::watch(&mut deny)
}

fn web(_: &Options) -> Result<Output> {
    web::install()?;
    let mut output = Output::default();
    for script in ["typecheck", "lint"] {
        output.add(web::script(script)?);
    }
    web::build()?;
    output.add(web::script("test")?);
    Ok(output)
}

fn rust(options: &Options) -> Result<Output> {
    // The security suite has its own stage if tests can be selected by package.
    let mut cargo = tests(options, "not package(duet-rls-tests)");
    cargo.env("DUET_TEST_MINILM", minilm()?);
    // One server for all tests, each with its own databases. One Supabase stand-in for the tests that need it.
    let postgres = Tested::new()?;
    cargo.env(postgres::URL, postgres.url());
    cargo.env(postgres::KEEPER, postgres::keeper_program()?);
    for tool in fetch::Tool::ALL {
        cargo.env(tool.variable(), fetch::tool(tool)?);
    }
    let served = Served::start(postgres.url())?;
    cargo.env(supabase::SERVED, served.line());
    command::watch(&mut cargo)
}

/// The tests selected by a nextest filter; all of them without nextest.
fn tests(options: &Options, filter: &str) -> Command {
    let mut cargo = command::command("cargo");
    if place::which("cargo-nextest").is_some() {
        cargo
            .args(["nextest", "run", "--locked", "--no-fail-fast"])
            .args(binary::SELECTION);
        cargo.args([
            "--status-level",
            "slow",
            "--final-status-level",
            "slow",
            "--filterset",
            filter,
        ]);
        if options.long {
            cargo.args(["--profile", "long"]);
        }
    } else {
        cargo
            .args(["test", "--locked", "--no-fail-fast", "--lib", "--bins", "--tests"])
            .args(binary::SELECTION);
    }
    if options.long {
        cargo.env("DUET_TEST_LONG", "1").env("DUET_TEST_SEEDS", "1000");
    }
    cargo
}

fn rls(options: &Options) -> Result<Output> {
    let postgres = Tested::new()?;
    let mut cargo = tests(options, "package(duet-rls-tests)");
    let output = command::watch(cargo.env(postgres::URL, postgres.url()))?;
    judges::ask(postgres.url())?;
    Ok(output)
}

/// Builds the programs as people do: without the parts enabled only for tests.
fn product(_: &Options) -> Result<Output> {
    let mut output = Output::default();
    let duet: &[&str] = &["--package", "duet-local", "--bin", "duet"];
    let postgres = &[
        "--package",
        "duet-functions",
        "--package",
        "duet-api",
        "--features",
        "duet-api/supabase",
        "--bins",
    ];
    for programs in [duet, postgres] {
        output.add(command::watch(
            command::command("cargo").args(["check", "--locked"]).args(programs),
        )?);
    }
    Ok(output)
}

/// The tests' sentence-transformer: the environment's, else the pinned one.
fn minilm() -> Result<PathBuf> {
    match std::env::var_os("DUET_TEST_MINILM") {
        Some(folder) => Ok(folder.into()),
        None => fetch::minilm(),
    }
}

fn doc(_: &Options) -> Result<Output> {
    command::watch(
        command::command("cargo")
            .args(["test", "--locked", "--doc"])
            .args(binary::SELECTION),
    )
}

fn e2e(options: &Options) -> Result<Output> {
    let chromium = fetch::chromium()?;
    web::build()?;
    supabase::install()?;
    let postgres = Tested::new()?;
    let built = binary::test_build()?;
    let mut npm = web::npm(&["run", "--silent", "e2e"]);
    npm.env("DUET_BIN", built.duet()?)
        .env("DUET_API_BIN", built.duet_api()?)
        .env("DUET_CHROMIUM", chromium)
        .env(postgres::URL, postgres.url());
    if options.long {
        npm.env("DUET_TEST_LONG", "1");
    }
    command::watch(&mut npm)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(run: fn(&Options) -> Result<Output>, counts: bool) -> Report {
        perform(
            &Stage {
                name: "stage",
                about: "",
                counts,
                run,
            },
            &Options::default(),
        )
    }

    fn passing(passed: u64, failed: u64) -> Output {
        Output {
            tally: Tally { passed, failed },
            ..Output::default()
        }
    }

    #[test]
    fn a_stage_without_tests_fails_where_tests_belong() {
        assert_eq!(report(|_| Ok(passing(0, 0)), true).problem.as_deref(), Some("no test ran"));
        assert_eq!(report(|_| Ok(passing(0, 0)), false).problem, None);
        assert_eq!(report(|_| Ok(passing(2, 0)), true).problem, None);
    }

    #[test]
    fn a_failed_test_fails_its_stage_whatever_the_exit_code() {
        assert_eq!(report(|_| Ok(passing(2, 1)), true).problem.as_deref(), Some("tests failed"));
        assert_eq!(report(|_| bail!("it broke"), true).problem.as_deref(), Some("it broke"));
    }
}
