//! A test server ends with the process that started it, however that ends.
#![cfg(unix)]

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

/// Starts `cargo xtask postgres` with a folder for its temporary files; returns it and the server's address.
fn start(temporary: &Path) -> (Child, SocketAddr) {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask
        .arg("postgres")
        .env("TMPDIR", temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut xtask = xtask.spawn().expect("xtask starts");
    let said = BufReader::new(xtask.stdout.take().expect("its output"));
    let url = said
        .lines()
        .map(|line| line.expect("a line"))
        .find(|line| line.starts_with("postgres://"))
        .expect("it prints its address");
    let address = url
        .strip_prefix("postgres://supabase_admin@")
        .and_then(|rest| rest.strip_suffix("/postgres"))
        .expect("the address of a superuser and a database");
    (xtask, address.parse().expect("a loopback address"))
}

/// A folder that Postgres's user may enter.
fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("an open folder");
    folder
}

/// Waits until nothing listens there and no file is left.
fn gone(address: SocketAddr, temporary: &Path) -> bool {
    (0..600).any(|_| {
        sleep(Duration::from_millis(100));
        let empty = fs::read_dir(temporary).expect("the folder").next().is_none();
        empty && TcpStream::connect(address).is_err()
    })
}

#[test]
fn a_killed_owner_leaves_no_server_and_no_files() {
    let temporary = open_folder();
    let (mut xtask, address) = start(temporary.path());
    assert!(address.ip().is_loopback(), "{address}");
    TcpStream::connect(address).expect("Postgres listens");
    assert!(fs::read_dir(temporary.path()).expect("the folder").next().is_some());
    xtask.kill().expect("SIGKILL");
    xtask.wait().expect("its end");
    assert!(gone(address, temporary.path()), "Postgres or its files are still there");
}

#[test]
fn ctrl_c_ends_it_well() {
    let temporary = open_folder();
    let (mut xtask, address) = start(temporary.path());
    let asked = Command::new("kill")
        .args(["-INT", &xtask.id().to_string()])
        .status()
        .expect("kill");
    assert!(asked.success());
    assert!(xtask.wait().expect("its end").success());
    // No waiting: it is gone when the command returns.
    assert!(TcpStream::connect(address).is_err());
    assert!(fs::read_dir(temporary.path()).expect("the folder").next().is_none());
}
