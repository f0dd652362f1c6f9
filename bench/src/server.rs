//! A real `duet serve` of its own, on a folder of its own, for one measurement.

use std::{
    fs,
    net::TcpListener,
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
    data: PathBuf,
    log: PathBuf,
}

/// The parts of the runtime file that a measurement needs.
#[derive(Deserialize)]
struct Runtime {
    setup_token: Option<String>,
}

impl Server {
    /// Starts `duet serve` on the data in `folder` with these extra settings and returns when it has answered for the first
    /// time, with how long that took.
    #[expect(clippy::disallowed_methods, reason = "the start-up time is what is measured")]
    pub async fn start(
        program: &Path,
        folder: &Path,
        settings: &[(&str, String)],
        http: &reqwest::Client,
    ) -> Result<(Self, Duration)> {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|free| free.local_addr())
            .context("There is no free port.")?
            .port();
        let url = format!("http://127.0.0.1:{port}");
        let data = folder.join("duet.db");
        let log = folder.join("server.log");
        let words = fs::File::create(&log).with_context(|| format!("Cannot write {}.", log.display()))?;
        let mut command = Command::new(program);
        // Nothing of the caller's own Duet is seen or touched: no settings, no folders, no keyring.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DUET_")) {
            command.env_remove(name);
        }
        for (name, inside) in [
            ("HOME", ""),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_DATA_HOME", "data"),
            ("XDG_CACHE_HOME", "cache"),
        ] {
            command.env(name, folder.join(inside));
        }
        command.env_remove("XDG_RUNTIME_DIR").env_remove("DBUS_SESSION_BUS_ADDRESS");
        command.env("DUET_BIND", format!("127.0.0.1:{port}"));
        command.envs(settings.iter().map(|(name, value)| (*name, value)));
        command.arg("serve").arg("--data").arg(&data).stdin(Stdio::null());
        command
            .stdout(words.try_clone().context("Cannot copy a file handle.")?)
            .stderr(words);

        let started = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("Cannot start {}.", program.display()))?;
        let mut server = Self { child, url, data, log };
        let health = format!("{}/health", server.url);
        loop {
            if http
                .get(&health)
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                return Ok((server, started.elapsed()));
            }
            if let Some(status) = server.child.try_wait()? {
                bail!("`duet serve` ended ({status}). It said:\n{}", server.words());
            }
            if started.elapsed() > PATIENCE {
                bail!("`duet serve` does not answer. It said:\n{}", server.words());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The one-time token that makes the first person the owner.
    pub fn setup_token(&self) -> Result<String> {
        let file = PathBuf::from(format!("{}.server.json", self.data.display()));
        let text = fs::read_to_string(&file).with_context(|| format!("Cannot read {}.", file.display()))?;
        let runtime: Runtime =
            serde_json::from_str(&text).with_context(|| format!("{} is not a runtime file.", file.display()))?;
        runtime.setup_token.context("The server has an owner already.")
    }

    /// What it has printed.
    pub fn words(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
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
