//! The process that owns a test server. It starts the server, prints its address, and when standard input ends, it stops the server
//! and removes its files. The process that wanted the server may have been killed by then.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{
    Options,
    user::{self, User},
};

/// The superuser's name, as on hosted Supabase.
const SUPERUSER: &str = "supabase_admin";
/// How often a free port is tried: another program may take it before Postgres does.
const ATTEMPTS: usize = 5;
/// The polling interval.
const LOOK: Duration = Duration::from_millis(20);
/// 60 seconds: an empty recovery takes one; a machine that is busy compiling takes longer.
const LOOKS: usize = 3000;

/// Who may log in without a password when passwords are required; the rest is left to the server's own file.
const PASSWORDS: &str = "\
host all supabase_admin 127.0.0.1/32 trust
host all postgres 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
";

/// Starts a server, prints its address on one line, and keeps it running until standard input ends. A line `stop` stops it, `start`
/// starts it again on the same port; each is answered with a line.
pub fn keep(install: &Path, bin: &Path, passwords: bool, options: &Options) -> Result<ExitCode> {
    let mut cluster = Cluster::new(install, bin, options)?;
    if passwords {
        let file = cluster.path("data/pg_hba.conf");
        fs::write(&file, PASSWORDS).with_context(|| format!("Cannot write {}.", file.display()))?;
    }
    let words = words();
    let port = cluster.start(options)?;
    let address = format!("postgres://{SUPERUSER}@127.0.0.1:{port}/postgres");
    println!("{address}");
    loop {
        match words.recv_timeout(LOOK * 5) {
            Ok(word) if word == "stop" => {
                cluster.stop()?;
                println!("stopped");
            }
            Ok(word) if word == "start" => {
                cluster.start(&Options {
                    port: Some(port),
                    ..options.clone()
                })?;
                println!("{address}");
            }
            Ok(word) => bail!("The keeper of Postgres does not know the word `{word}`."),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(status) = cluster.ended()? {
            bail!(
                "Postgres ended by itself ({status}). Its last words:\n{}",
                cluster.last_words()
            );
        }
    }
    cluster.stop()?;
    cluster.remove()?;
    Ok(ExitCode::SUCCESS)
}

/// The lines of standard input; the channel closes at its end. An error counts as the end.
fn words() -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let Ok(line) = line else { return };
            if sender.send(line.trim().to_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A cluster in a temporary folder of its own, and its server.
struct Cluster {
    /// `None` once it was removed.
    folder: Option<tempfile::TempDir>,
    programs: PathBuf,
    user: Option<User>,
    server: Option<Child>,
}

impl Cluster {
    /// Creates an empty cluster.
    fn new(install: &Path, bin: &Path, options: &Options) -> Result<Self> {
        let user = User::instead_of_root()?;
        let made = tempfile::Builder::new().prefix("duet-postgres-").tempdir();
        let folder = made.context("Cannot make a temporary folder. Set TMPDIR to a folder with space.")?;
        user::give(folder.path(), user)?;
        let mut programs = install.join(bin);
        if !user::can_start(&programs.join("initdb"), user) {
            // The programs expect their libraries next to them, so the whole folder is copied.
            let copy = folder.path().join("install");
            user::copy_for(user, install, &copy)?;
            programs = copy.join(bin);
            if !user::can_start(&programs.join("initdb"), user) {
                bail!(
                    "Postgres cannot be started from {}. Set TMPDIR to a folder that every user can enter and run programs from.",
                    programs.display()
                );
            }
        }
        let cluster = Self {
            folder: Some(folder),
            programs,
            user,
            server: None,
        };
        cluster.init(options)?;
        Ok(cluster)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder
            .as_ref()
            .map(|folder| folder.path().join(name))
            .unwrap_or_default()
    }

    /// One of Postgres's programs, run as the right user, with its output in the log.
    fn program(&self, name: &str) -> Result<Command> {
        let log = self.path("log");
        let log = File::options().create(true).append(true).open(&log);
        let log = log.context("Cannot write Postgres's log.")?;
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(self.path("")).stdin(Stdio::null());
        // The caller's locale and connection settings do not apply to this cluster.
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("TZ", "UTC");
        command
            .stdout(log.try_clone().context("Cannot write Postgres's log.")?)
            .stderr(log);
        user::run_as(&mut command, self.user);
        Ok(command)
    }

    fn init(&self, options: &Options) -> Result<()> {
        let mut initdb = self.program("initdb")?;
        initdb.arg("--pgdata").arg(self.path("data"));
        initdb.args([
            "--username",
            SUPERUSER,
            "--auth",
            "trust",
            "--encoding",
            "UTF8",
            "--data-checksums",
        ]);
        // The same text order everywhere, independent of the machine's C library.
        initdb.args(["--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]);
        if !options.durable {
            initdb.arg("--no-sync");
        }
        let status = initdb.status().context("Cannot start initdb.")?;
        if !status.success() {
            bail!("`initdb` failed ({status}). Its last words:\n{}", self.last_words());
        }
        Ok(())
    }

    /// Starts the server and waits until it accepts connections. Returns its port.
    fn start(&mut self, options: &Options) -> Result<u16> {
        for _ in 0..ATTEMPTS {
            let port = match options.port {
                Some(port) => port,
                None => free_port()?,
            };
            let server = self.program("postgres")?.args(self.settings(port, options)).spawn();
            self.server = Some(server.context("Cannot start Postgres.")?);
            match self.wait_until_ready()? {
                None => return Ok(port),
                Some(_) if options.port.is_none() && self.last_words().contains("could not bind") => {}
                Some(status) => bail!("Postgres did not start ({status}). Its last words:\n{}", self.last_words()),
            }
        }
        bail!("Postgres found no free port in {ATTEMPTS} attempts.")
    }

    fn settings(&self, port: u16, options: &Options) -> Vec<String> {
        let folder = self.path("");
        let mut settings = vec![
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", folder.display()),
            "unix_socket_permissions=0700".to_owned(),
            "max_connections=200".to_owned(),
            format!("shared_buffers={}MB", options.shared_buffers_mb.unwrap_or(256)),
            // As on hosted Supabase.
            "wal_level=logical".to_owned(),
            "timezone=UTC".to_owned(),
            "log_timezone=UTC".to_owned(),
        ];
        if let Some(megabytes) = options.shared_buffers_mb {
            // Further settings of a server tuned for its machine: rare checkpoints, and a planner that knows the cache size.
            settings.push(format!("effective_cache_size={}MB", 2 * megabytes));
            settings.push("max_wal_size=2GB".to_owned());
        }
        if !options.durable {
            settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"].map(str::to_owned));
        }
        let mut arguments = vec!["-D".to_owned(), self.path("data").display().to_string()];
        arguments.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
        arguments
    }

    /// Waits until the server's lock file says that it is ready. If the server exits instead, returns its status.
    fn wait_until_ready(&mut self) -> Result<Option<ExitStatus>> {
        let lock = self.path("data/postmaster.pid");
        for _ in 0..LOOKS {
            if let Some(status) = self.ended()? {
                self.server = None;
                return Ok(Some(status));
            }
            // The eighth line is the state; until the server has written it, the file is short or missing.
            let lines = fs::read_to_string(&lock).unwrap_or_default();
            if lines.lines().nth(7).is_some_and(|state| state.trim() == "ready") {
                return Ok(None);
            }
            sleep(LOOK);
        }
        bail!(
            "Postgres was not ready after {} s. Its last words:\n{}",
            (LOOK * LOOKS as u32).as_secs(),
            self.last_words()
        )
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        match &mut self.server {
            Some(server) => server.try_wait().context("Cannot look after Postgres."),
            None => Ok(None),
        }
    }

    /// Stops the server: cuts connections, keeps what was committed.
    fn stop(&mut self) -> Result<()> {
        let Some(mut server) = self.server.take() else {
            return Ok(());
        };
        // SIGINT is Postgres's fast shutdown. A process that has not been waited for keeps its number.
        let asked = Command::new("kill").args(["-INT", &server.id().to_string()]).status();
        if !asked.is_ok_and(|status| status.success()) {
            server.kill().context("Cannot stop Postgres.")?;
        }
        for _ in 0..LOOKS {
            if server.try_wait().context("Cannot wait for Postgres.")?.is_some() {
                return Ok(());
            }
            sleep(LOOK);
        }
        server.kill().context("Cannot stop Postgres.")?;
        server.wait().context("Cannot wait for Postgres.")?;
        Ok(())
    }

    fn remove(&mut self) -> Result<()> {
        match self.folder.take() {
            Some(folder) => folder.close().context("Cannot remove Postgres's temporary folder."),
            None => Ok(()),
        }
    }

    /// The end of the log.
    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.path("log")).unwrap_or_else(|error| format!("(no log: {error})"));
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{error:#}");
        }
    }
}

/// A port of 127.0.0.1 that is free now.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("No free port on 127.0.0.1.")?;
    Ok(listener.local_addr().context("A listener without an address.")?.port())
}
