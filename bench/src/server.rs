//! A real `duet serve` or `duet-api serve`, on its own folder or database, for one measurement.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::postgres::Database;

/// How long a server may take to answer before its start counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server; it is stopped when dropped.
pub struct Server {
    child: Child,
    /// Its address, `http://127.0.0.1:…`.
    pub url: String,
    /// The one-time token that makes the first person the owner, while there is none.
    pub setup_token: Option<String>,
}

/// The output of `duet serve --json` and `duet-api serve --json` once they listen.
#[derive(Deserialize)]
struct Announced {
    url: String,
    setup_token: Option<String>,
}

/// The output of `duet-api migrate --json`.
#[derive(Deserialize)]
struct Migrated {
    setup_token: Option<String>,
}

impl Server {
    /// Starts `duet serve` on the data in `folder` with this configuration and waits for its first answer; also returns how long that
    /// took.
    pub async fn start(program: &Path, folder: &Path, config: &str, http: &reqwest::Client) -> Result<(Self, Duration)> {
        for name in ["config/duet", "data"] {
            fs::create_dir_all(folder.join(name)).with_context(|| format!("Cannot make {name} in {}.", folder.display()))?;
        }
        fs::write(folder.join("config/duet/duet.toml"), config).context("Cannot write the configuration.")?;
        let mut command = alone(program, folder);
        command
            .env("XDG_CONFIG_HOME", folder.join("config"))
            .env("XDG_DATA_HOME", folder.join("data"));
        Self::launch(command, folder, http).await
    }

    /// Runs `duet-api migrate` as the owner of a database that has no schema yet, and returns the setup token.
    pub async fn migrate(program: &Path, folder: &Path, database: &Database) -> Result<String> {
        let mut command = alone(program, folder);
        command.env("DUET_DATABASE_OWNER_URL", database.url_as("postgres"));
        command.args(["migrate", "--json"]);
        let migrating = async {
            command
                .output()
                .with_context(|| format!("Cannot start {}.", program.display()))
        };
        let output = database.server().alone(migrating).await?;
        if !output.status.success() {
            bail!("`duet-api migrate` failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let said: Migrated = serde_json::from_slice(&output.stdout).context("`duet-api migrate` says something else.")?;
        said.setup_token.context("`duet-api migrate` made no setup token.")
    }

    /// Starts `duet-api serve` on a migrated database; like [`Server::start`].
    pub async fn start_api(
        program: &Path,
        folder: &Path,
        config: &str,
        database: &Database,
        http: &reqwest::Client,
    ) -> Result<(Self, Duration)> {
        let file = folder.join("duet-api.toml");
        fs::write(&file, config).context("Cannot write the configuration.")?;
        let mut command = alone(program, folder);
        command
            .env("DUET_CONFIG", &file)
            .env("DUET_DATABASE_URL", database.url_as("duet_worker"));
        Self::launch(command, folder, http).await
    }

    #[expect(clippy::disallowed_methods, reason = "the start-up time is what is measured")]
    async fn launch(mut command: Command, folder: &Path, http: &reqwest::Client) -> Result<(Self, Duration)> {
        let name = Path::new(command.get_program()).to_path_buf();
        let log = folder.join("server.log");
        let words = fs::File::create(&log).with_context(|| format!("Cannot write {}.", log.display()))?;
        command.args(["serve", "--json", "--bind", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(words);

        let started = Instant::now();
        let mut child = command.spawn().with_context(|| format!("Cannot start {}.", name.display()))?;
        let said = child.stdout.take().context("The server has no output.")?;
        // Owned from here on, so that a failure below stops it.
        let mut server = Self {
            child,
            url: String::new(),
            setup_token: None,
        };
        let mut line = String::new();
        BufReader::new(said)
            .read_line(&mut line)
            .context("Cannot read what the server says.")?;
        let Ok(announced) = serde_json::from_str::<Announced>(&line) else {
            bail!(
                "`{} serve` does not start. It said:\n{line}{}",
                name.display(),
                fs::read_to_string(&log).unwrap_or_default()
            );
        };
        server.url = announced.url;
        server.setup_token = announced.setup_token;
        let health = format!("{}/health", server.url);
        while started.elapsed() < PATIENCE {
            if http
                .get(&health)
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                return Ok((server, started.elapsed()));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        bail!(
            "`{} serve` does not answer. It said:\n{}",
            name.display(),
            fs::read_to_string(&log).unwrap_or_default()
        );
    }

    /// Its resident memory in bytes, if known (Linux).
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have exited already; either way nothing is left running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command isolated from the caller's own Duet: no settings, no folders, no keyring.
fn alone(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", folder);
    command
}

/// The client of all measurements: loopback, no proxy.
#[expect(
    clippy::disallowed_methods,
    reason = "the bench is a client of its own, outside the product"
)]
pub fn client() -> Result<reqwest::Client> {
    // Creating the product's client installs the TLS provider that every client of a process needs.
    drop(duet_api::http::client()?);
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(120))
        .pool_max_idle_per_host(256)
        .build()
        .context("Cannot make an HTTP client.")
}

/// The programs to measure.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Programs {
    /// The `duet` program; build it with `--release`
    #[arg(long, env = "DUET_BIN", value_name = "FILE")]
    duet: Option<PathBuf>,
    /// The `duet-api` program, to measure on Postgres
    #[arg(long, env = "DUET_API_BIN", value_name = "FILE")]
    duet_api: Option<PathBuf>,
}

impl Programs {
    /// The `duet` program.
    pub fn duet(&self) -> Result<&Path> {
        let named = self.duet.as_deref();
        named.context("Name the `duet` program with --duet or DUET_BIN, or run `cargo xtask bench`.")
    }

    /// The `duet-api` program.
    pub fn duet_api(&self) -> Result<&Path> {
        let named = self.duet_api.as_deref();
        named.context("Name the `duet-api` program with --duet-api or DUET_API_BIN, or run `cargo xtask bench … --postgres`.")
    }

    /// Both, from the tests' own build next to the tests.
    #[cfg(test)]
    pub fn of_this_build() -> Self {
        let tests = std::env::current_exe().expect("this test's file");
        let folder = tests.parent().and_then(Path::parent).expect("the folder of the build");
        let built = |name: &str| {
            let program = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
            assert!(
                program.is_file(),
                "{name} is not built: run `cargo xtask test --only rust`, which builds the whole workspace"
            );
            Some(program)
        };
        Self {
            duet: built("duet"),
            duet_api: built("duet-api"),
        }
    }
}
