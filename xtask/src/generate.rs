//! `cargo xtask gen`: files generated from the code, and the check that they are up to date.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    binary::{self, TestBuild},
    command::{self, Output},
    compatibility, place, web,
};

/// Options of `gen`.
#[derive(Args)]
pub struct Options {
    /// Change nothing; fail when a file is not as it would be generated.
    #[arg(long)]
    check: bool,
}

/// Writes the generated files.
pub fn run(options: &Options) -> Result<ExitCode> {
    if options.check {
        check()?;
        return Ok(ExitCode::SUCCESS);
    }
    for (path, text) in generate(&binary::test_build()?)? {
        let file = place::root().join(&path);
        if fs::read_to_string(&file).is_ok_and(|there| there == text) {
            println!("as it was  {}", path.display());
            continue;
        }
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(|| format!("Cannot make {}.", folder.display()))?;
        }
        fs::write(&file, text).with_context(|| format!("Cannot write {}.", file.display()))?;
        println!("written    {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Fails if a generated file is out of date.
pub fn check() -> Result<Output> {
    let built = binary::test_build()?;
    compatibility::check(&built.duet()?)?;
    let old: Vec<String> = generate(&built)?
        .into_iter()
        .filter(|(path, text)| fs::read_to_string(place::root().join(path)).ok().as_ref() != Some(text))
        .map(|(path, _)| path.display().to_string())
        .collect();
    if !old.is_empty() {
        bail!(
            "{} would be generated differently now. Run `cargo xtask gen` and commit the result.",
            old.join(", ")
        );
    }
    println!("The generated files are up to date.");
    Ok(Output::default())
}

/// Every generated file with its text.
fn generate(built: &TestBuild) -> Result<Vec<(PathBuf, String)>> {
    let references = built.example("references")?;
    let openapi = ask(&built.duet()?, "openapi")?;
    let types = types(&openapi)?;
    Ok(vec![
        (
            "docs/cli.md".into(),
            ask(&references, "cli")? + &ask(&built.example("server_reference")?, "cli")?,
        ),
        ("docs/configuration.md".into(), ask(&references, "configuration")?),
        (
            "docs/security/rls-matrix.md".into(),
            ask(&built.example("rls_matrix")?, "markdown")?,
        ),
        ("web/openapi.json".into(), openapi),
        ("web/src/api/schema.gen.ts".into(), types),
    ])
}

/// The web app's API types, generated with its own packages.
fn types(openapi: &str) -> Result<String> {
    web::install()?;
    let folder = env::temp_dir().join(format!("duet-gen-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("Cannot make {}.", folder.display()))?;
    let (from, to) = (folder.join("openapi.json"), folder.join("schema.gen.ts"));
    let made = fs::write(&from, openapi)
        .context("Cannot write the OpenAPI document.")
        .and_then(|()| {
            let mut generator = web::npm(&["exec", "--no", "--", "openapi-typescript"]);
            generator.arg(&from).arg("-o").arg(&to);
            command::watch(&mut generator)?;
            fs::read_to_string(&to).context("The generator of the API types wrote nothing.")
        });
    fs::remove_dir_all(&folder).with_context(|| format!("Cannot remove {}.", folder.display()))?;
    made
}

/// A program's answer, independent of the environment's settings.
fn ask(program: &Path, about: &str) -> Result<String> {
    let mut program = command::command(program);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DUET_")) {
        program.env_remove(name);
    }
    command::capture(program.arg(about).env("COLUMNS", "100").env("NO_COLOR", "1"))
}
