//! A real `duet serve` of its own, on a folder of its own, for one measurement.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// How long a server may take to answer before it counts as not starting.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server; it is stopped when dropped.
pub struct Server {
    child: Child,
    /// Its address, `http://127.0.0.1:…`.
    pub url: String,
    /// The one-time token that makes the first person the owner, as long as there is none.
    pub setup_token: Option<String>,
}

/// What `duet serve --json` says when it listens.
#[derive(Deserialize)]
struct Announced {
    url: String,
    setup_token: Option<String>,
}

impl Server {
    /// Starts `duet serve` on the data in `folder` with this configuration and returns when it has answered for the first
    /// time, with how long that took.
    #[expect(clippy::disallowed_methods, reason = "the start-up time is what is measured")]
    pub async fn start(program: &Path, folder: &Path, config: &str, http: &reqwest::Client) -> Result<(Self, Duration)> {
        for name in ["config/duet", "data"] {
            fs::create_dir_all(folder.join(name)).with_context(|| format!("Cannot make {name} in {}.", folder.display()))?;
        }
        fs::write(folder.join("config/duet/duet.toml"), config).context("Cannot write the configuration.")?;
        let log = folder.join("server.log");
        let words = fs::File::create(&log).with_context(|| format!("Cannot write {}.", log.display()))?;
        let mut command = Command::new(program);
        // Nothing of the caller's own Duet is seen or touched: no settings, no folders, no keyring.
        command.env_clear().env("HOME", folder);
        command
            .env("XDG_CONFIG_HOME", folder.join("config"))
            .env("XDG_DATA_HOME", folder.join("data"));
        command.args(["serve", "--json", "--bind", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(words);

        let started = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("Cannot start {}.", program.display()))?;
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
                "`duet serve` does not start. It said:\n{line}{}",
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
            "`duet serve` does not answer. It said:\n{}",
            fs::read_to_string(&log).unwrap_or_default()
        );
    }

    /// Its resident memory in bytes, where the system tells (Linux).
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing stays behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The client of all measurements: loopback, no proxy.
#[expect(
    clippy::disallowed_methods,
    reason = "the bench is a client of its own, outside the product"
)]
pub fn client() -> Result<reqwest::Client> {
    // Making the product's client installs the TLS provider that every client of a process needs.
    drop(duet_api::http::client()?);
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(120))
        .pool_max_idle_per_host(256)
        .build()
        .context("Cannot make an HTTP client.")
}

/// The `duet` program to measure: the option, else `DUET_BIN`.
#[derive(Clone, Debug, clap::Args)]
pub struct Program {
    /// The `duet` program; build it with `--release`.
    #[arg(long = "duet", env = "DUET_BIN", value_name = "FILE")]
    pub path: PathBuf,
}
