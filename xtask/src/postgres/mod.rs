//! A real Postgres with pgvector for tests and development: its own data, its own port, removed when no longer needed.

mod database;
#[cfg(unix)]
mod keeper;
#[cfg(unix)]
mod user;

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, ExitCode, Stdio},
};

use anyhow::{Context, Result, bail};
use clap::Args;

pub use database::Database;

/// The URL of a server to test against instead of starting one here.
pub const URL: &str = "DUET_TEST_POSTGRES_URL";

/// Options of `postgres`.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Wait for the disk at each commit, as a server that keeps data does. Measure with this.
    #[arg(long)]
    pub durable: bool,
    /// Megabytes of the server's own cache; `effective_cache_size` becomes twice as much. Without it 256.
    #[arg(long, value_name = "MB")]
    pub shared_buffers_mb: Option<u32>,
    /// Listen on this port of 127.0.0.1 instead of a free one.
    #[arg(long)]
    pub port: Option<u16>,
}

/// A running server. It stops, and its data is deleted, when this is dropped or this process ends in any way: the server belongs to a
/// second process, the keeper, which waits for the end of a pipe that only this process holds.
#[derive(Debug)]
pub struct Server {
    keeper: Child,
    url: String,
}

impl Server {
    /// Fetches Postgres if missing, creates an empty cluster and starts it.
    pub fn start(options: &Options) -> Result<Self> {
        if cfg!(not(unix)) {
            bail!("Postgres is started on Linux and macOS only. Start one with pgvector yourself and name it in {URL}.");
        }
        let (install, bin) = crate::fetch::postgres()?;
        let mut keeper = Command::new(own_program()?);
        keeper.arg("postgres-keeper").arg(install).arg(bin);
        if options.durable {
            keeper.arg("--durable");
        }
        if let Some(megabytes) = options.shared_buffers_mb {
            keeper.args(["--shared-buffers-mb", &megabytes.to_string()]);
        }
        if let Some(port) = options.port {
            keeper.args(["--port", &port.to_string()]);
        }
        // Ctrl-C in the terminal is for the commands; the keeper cleans up after them.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut keeper, 0);
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped());
        let keeper = keeper.spawn().context("Cannot start the process that keeps Postgres.")?;
        let mut server = Self {
            keeper,
            url: String::new(),
        };
        let said = server.keeper.stdout.take().context("The keeper of Postgres has no output.")?;
        BufReader::new(said)
            .read_line(&mut server.url)
            .context("Cannot read what the keeper of Postgres says.")?;
        server.url.truncate(server.url.trim_end().len());
        if server.url.is_empty() {
            bail!("Postgres could not be started; the lines above say why. Or name a server of your own in {URL}.");
        }
        Ok(server)
    }

    /// Its URL, as its superuser `supabase_admin`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether it has exited on its own.
    #[cfg(unix)]
    fn ended(&mut self) -> Result<bool> {
        Ok(self.keeper.try_wait().context("Cannot look after Postgres.")?.is_some())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        if let Err(error) = self.keeper.wait() {
            eprintln!("Cannot wait for the end of Postgres: {error}");
        }
    }
}

/// The server for the tests: the one named by the environment, else one that lives as long as this value.
pub enum Tested {
    /// Named by the environment.
    Named(String),
    /// Started here.
    Started(Server),
}

impl Tested {
    /// Uses the named server, or starts one.
    pub fn new() -> Result<Self> {
        match env::var(URL) {
            Ok(url) if !url.is_empty() => Ok(Self::Named(url)),
            Err(env::VarError::NotUnicode(_)) => bail!("{URL} is not UTF-8."),
            _ => Server::start(&Options::default()).map(Self::Started),
        }
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        match self {
            Self::Named(url) => url,
            Self::Started(server) => server.url(),
        }
    }
}

/// Starts a server in this terminal and waits for Ctrl-C.
#[cfg(unix)]
pub fn run(options: &Options) -> Result<ExitCode> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    crate::tools::for_testing()?;
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]).context("Cannot wait for Ctrl-C.")?;
    let mut server = Server::start(options)?;
    println!("{}", server.url());
    eprintln!("Postgres 18 with pgvector listens there until Ctrl-C; its data goes with it.");
    eprintln!("To test against it: export {URL}={}", server.url());
    while signals.pending().next().is_none() {
        if server.ended()? {
            bail!("Postgres has ended; the lines above say why.");
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts a server in this terminal and waits for Ctrl-C.
#[cfg(not(unix))]
pub fn run(options: &Options) -> Result<ExitCode> {
    Server::start(options).map(|_| ExitCode::SUCCESS)
}

/// Options of the keeper, the other side of [`Server`].
#[derive(Args, Debug)]
pub struct KeeperOptions {
    /// The folder that Postgres was unpacked to; without it, Postgres is fetched when it is not there yet.
    install: Option<std::path::PathBuf>,
    /// Its programs, from there.
    #[arg(requires = "install")]
    bin: Option<std::path::PathBuf>,
    /// Ask every login but the superuser's and the owner's for a password (SCRAM), as servers of people do.
    #[arg(long)]
    passwords: bool,
    #[command(flatten)]
    options: Options,
}

/// Keeps a server until standard input ends. A line `stop` there stops it, a line `start` starts it again on the same port.
#[cfg(unix)]
pub fn keep(options: &KeeperOptions) -> Result<ExitCode> {
    let (install, bin) = match (&options.install, &options.bin) {
        (Some(install), Some(bin)) => (install.clone(), bin.clone()),
        _ => crate::fetch::postgres().map(|(install, bin)| (install, bin.to_path_buf()))?,
    };
    keeper::keep(&install, &bin, options.passwords, &options.options)
}

/// Keeps a server until standard input ends.
#[cfg(not(unix))]
pub fn keep(_: &KeeperOptions) -> Result<ExitCode> {
    bail!("Postgres is started on Linux and macOS only.")
}

/// The path of this program for tests that start servers of their own with it (servers that are stopped, or that require passwords).
pub const KEEPER: &str = "DUET_TEST_XTASK";

/// This program, as long as this process runs. A build during the tests may replace its file.
pub fn keeper_program() -> Result<std::path::PathBuf> {
    if cfg!(target_os = "linux") {
        return Ok(format!("/proc/{}/exe", std::process::id()).into());
    }
    env::current_exe().context("Cannot find this program's own file.")
}

/// This program's executable. A build during the tests may have replaced its file; Linux still finds it.
fn own_program() -> Result<std::path::PathBuf> {
    if cfg!(target_os = "linux") {
        return Ok("/proc/self/exe".into());
    }
    env::current_exe().context("Cannot find this program's own file.")
}
