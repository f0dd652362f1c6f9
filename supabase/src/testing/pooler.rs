//! PgBouncer in transaction mode in front of a test's server.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use super::{EmptyDatabase, tool};

/// A running PgBouncer. Dropping this stops it.
pub struct Pooler {
    process: Child,
    port: u16,
    folder: std::path::PathBuf,
}

impl Pooler {
    /// Starts one in front of a database's server, with this many connections shared by all clients.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(database: &EmptyDatabase, connections: u32) -> Self {
        let program = tool::tool("pgbouncer");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let folder = std::env::temp_dir().join(format!("duet-pooler-{}-{port}", std::process::id()));
        fs::create_dir(&folder).expect("a folder");
        let (host, server_port) = database
            .address()
            .rsplit_once(':')
            .map(|(host, port)| (host.to_owned(), port.to_owned()))
            .expect("an address");
        let (config, list) = (folder.join("pgbouncer.ini"), folder.join("users"));
        // A configuration that nobody adapted to Duet: no session parameter is ignored or kept.
        let settings = format!(
            "[databases]\n* = host={host} port={server_port}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {list}\n\
             pool_mode = transaction\ndefault_pool_size = {connections}\nmax_client_conn = 200\nserver_reset_query_always = 0\n",
            list = list.display()
        );
        // Without passwords, only logins in this list are passed on to the server.
        let users = "\"duet_worker\" \"\"\n\"postgres\" \"\"\n";
        fs::write(&config, settings).expect("settings");
        fs::write(&list, users).expect("a list of logins");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("a folder for another user");
        let mut command = Command::new(&program);
        // If it was only unpacked, its own libraries are next to it.
        if let Some(beside) = program.parent().filter(|folder| !folder.starts_with("/usr")) {
            command.env("LD_LIBRARY_PATH", beside);
        }
        // It refuses to run as root, but drops its privileges if told to which user.
        if fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
            command.args(["-u", "nobody"]);
        }
        let log = fs::File::create(folder.join("log")).expect("a log");
        let process = command
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("PgBouncer starts");
        let mut pooler = Self { process, port, folder };
        pooler.wait_until_it_listens();
        pooler
    }

    fn wait_until_it_listens(&mut self) {
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            if let Ok(Some(status)) = self.process.try_wait() {
                panic!("PgBouncer ended ({status}): {}", self.log());
            }
            sleep(Duration::from_millis(20));
        }
        panic!("PgBouncer does not listen: {}", self.log());
    }

    /// The `HOST:PORT` on which it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its log.
    pub fn log(&self) -> String {
        fs::read_to_string(Path::new(&self.folder).join("log")).unwrap_or_default()
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let ended = self.process.kill().and_then(|()| self.process.wait());
        if let Err(error) = ended {
            eprintln!("PgBouncer could not be ended: {error}.");
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("PgBouncer's folder could not be removed: {error}.");
        }
    }
}
