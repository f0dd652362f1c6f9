//! Every failure is reported in one sentence that says what to do, with the documented exit code, and nothing is lost.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::PathBuf,
    process::Command,
};

use serde_json::Value;

use crate::harness::Home;

/// A home with an owner and one memory, and nobody using it.
fn lived_in() -> Home {
    let home = Home::new();
    home.init();
    home.run(["memory", "add", "My bike is red."]).ok();
    home
}

/// Everything is still there.
#[track_caller]
fn nothing_lost(home: &Home) {
    let memories = home.run(["memory", "list", "--json"]).json();
    assert_eq!(memories[0]["text"], "My bike is red.", "{memories}");
}

/// The data file and its log, which remains when a process ends before it has put everything into the file.
struct Kept(Vec<(PathBuf, Vec<u8>)>);

impl Kept {
    /// Takes them away.
    fn take(home: &Home) -> Self {
        let files = ["", "-wal", "-shm", ".mark"].map(|end| PathBuf::from(format!("{}{end}", home.data().display())));
        let there = files.into_iter().filter(|path| path.exists());
        let kept = there.map(|path| {
            let bytes = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            (path, bytes)
        });
        Self(kept.collect())
    }

    /// What was in the file itself.
    fn data(&self, home: &Home) -> &[u8] {
        &self.0.iter().find(|(path, _)| *path == home.data()).unwrap().1
    }

    /// Puts them back, replacing what is there now.
    fn put_back(self, home: &Home) {
        Self::take(home);
        for (path, bytes) in self.0 {
            fs::write(path, bytes).unwrap();
        }
    }
}

#[test]
fn wrong_and_missing_key() {
    let home = lived_in();
    let key = fs::read_to_string(home.key()).unwrap();
    fs::write(home.key(), "0".repeat(64)).unwrap();
    for command in [
        &["memory", "list"][..],
        &["serve", "--bind", "127.0.0.1:0"],
        &["ask", "hello"],
    ] {
        home.run(command).refused(3, &["does not open with this key", "key"]);
    }
    fs::write(home.key(), "no key").unwrap();
    home.run(["memory", "list"]).refused(3, &["duet.key", "64 hex digits"]);
    fs::remove_file(home.key()).unwrap();
    home.run(["memory", "list"]).refused(3, &["duet.key", "Restore the key"]);
    assert!(!home.key().exists(), "no new key for an old file");
    fs::write(home.key(), key).unwrap();
    #[cfg(unix)]
    fs::set_permissions(home.key(), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    nothing_lost(&home);
}

#[cfg(unix)]
#[test]
fn key_that_others_can_read() {
    let home = lived_in();
    fs::set_permissions(home.key(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    home.run(["memory", "list"]).refused(3, &["duet.key", "chmod 600"]);
    fs::set_permissions(home.key(), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    nothing_lost(&home);
}

#[test]
fn truncated_foreign_and_plain_files() {
    let home = lived_in();
    let kept = Kept::take(&home);
    let whole = kept.data(&home);
    fs::write(home.data(), &whole[..whole.len() - 100]).unwrap();
    home.run(["memory", "list"]).refused(1, &["duet.db", "cut off", "backup"]);
    fs::write(home.data(), "").unwrap();
    home.run(["memory", "list"])
        .refused(1, &["duet.db", "not a whole Duet data file"]);
    fs::write(home.data(), [&b"SQLite format 3\0"[..], &[0; 8176]].concat()).unwrap();
    home.run(["memory", "list"]).refused(1, &["unencrypted SQLite"]);
    fs::write(home.data(), [7; 16384]).unwrap();
    home.run(["memory", "list"])
        .refused(3, &["does not open with this key", "not a Duet data file"]);
    kept.put_back(&home);
    nothing_lost(&home);
}

#[test]
fn damaged_file() {
    let home = lived_in();
    let kept = Kept::take(&home);
    let mut damaged = kept.data(&home).to_vec();
    // Every page after the first: whichever is read fails its check.
    for byte in damaged[8192..].iter_mut().step_by(512) {
        *byte ^= 0x40;
    }
    fs::write(home.data(), damaged).unwrap();
    let done = home.run(["memory", "list"]);
    assert!(done.code == 1 || done.code == 5, "{}: {}", done.code, done.err);
    assert!(done.err.contains("damaged") && done.err.contains("backup"), "{}", done.err);
    kept.put_back(&home);
    nothing_lost(&home);
}

#[test]
fn port_in_use() {
    let home = lived_in();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    home.run(["serve", "--bind", &address])
        .refused(5, &[address.rsplit_once(':').unwrap().1, "in use", "--bind"]);
    home.run(["serve", "--bind", "192.0.2.1:0"])
        .refused(5, &["192.0.2.1", "--bind"]);
    let done = home.run(["serve", "--bind", "nonsense"]);
    assert_eq!(done.code, 2, "{}", done.err);
    for words in ["--bind", "nonsense", "like 127.0.0.1:7717"] {
        assert!(done.err.contains(words), "{}", done.err);
    }
    home.run(["serve", "--public-url", "duet.example"])
        .refused(2, &["--public-url", "duet.example", "like https://duet.example.org"]);
    nothing_lost(&home);
}

#[test]
fn second_server_on_the_same_file() {
    let home = lived_in();
    let server = home.serve();
    home.run(["serve", "--bind", "127.0.0.1:0"])
        .refused(5, &["already", &server.url, &server.pid().to_string()]);
    nothing_lost(&home);
    assert_eq!(server.stop().code(), Some(0));
    nothing_lost(&home);
}

#[test]
fn runtime_file_of_a_dead_server_misleads_nobody() {
    let home = lived_in();
    let server = home.serve();
    server.kill();
    nothing_lost(&home);
    let server = home.serve();
    nothing_lost(&home);
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn full_disk() {
    let home = lived_in();
    // To a process, a limit on file size looks like a full disk: writes fail.
    let script = format!(
        "ulimit -f 1; trap '' XFSZ; exec {} memory add 'This does not fit: {}'",
        env!("CARGO_BIN_EXE_duet"),
        "x".repeat(8000)
    );
    let template = home.command(["--version"]);
    let mut limited = Command::new("bash");
    limited.args(["-c", &script]).env_clear();
    for (name, value) in template.get_envs() {
        limited.env(name, value.unwrap());
    }
    let done = limited.output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(5), "{said}");
    assert!(said.contains("full") || said.contains("space"), "{said}");
    nothing_lost(&home);
}

#[test]
fn folder_that_cannot_be_written() {
    let home = Home::new();
    let blocked = home.path().join("blocked");
    fs::write(&blocked, "a file where a folder should be").unwrap();
    let data = blocked.join("duet.db");
    let done = home.run(["--data", data.to_str().unwrap(), "serve", "--bind", "127.0.0.1:0"]);
    assert!(matches!(done.code, 3 | 5), "{}: {}", done.code, done.err);
    assert!(
        done.err.contains("blocked") && done.err.contains("permissions"),
        "{}",
        done.err
    );
}

#[test]
fn unknown_and_unreachable_model() {
    let home = lived_in();
    home.run(["agent", "edit", "companion_primary", "--model", "nobody/nothing"])
        .code_is_not_zero_or_the_reply_fails(&home);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    fs::write(
        home.config(),
        format!("[turn]\nmax_attempts = 1\n[models]\ndefault = \"near/llama\"\n[models.providers.near]\nkind = \"ollama\"\nbase_url = \"{url}\"\n"),
    )
    .unwrap();
    home.run(["agent", "edit", "companion_primary", "--default-model"]).ok();
    let done = home.run(["ask", "Are you there?"]);
    assert_eq!(done.code, 5, "{}", done.err);
    assert!(
        done.err.contains("near") && done.err.contains("duet ask --again"),
        "{}",
        done.err
    );
    let kept = home.run(["conversation", "show", "--json"]).json();
    assert_eq!(kept[0]["text"], "Are you there?", "the message is kept: {kept}");
    let doctor = home.run(["doctor", "--json"]);
    assert_eq!(doctor.code, 1, "{}", doctor.out);
    assert!(doctor.out.contains("near/llama"), "{}", doctor.out);
    // With a model again, the kept message is answered.
    fs::write(home.config(), "").unwrap();
    assert!(home.run(["ask", "--again"]).ok().contains("offline"));
    nothing_lost(&home);
}

/// Serves as an Ollama whose replies break off after some words.
fn breaking_off() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut length = 0;
            let mut line = String::new();
            while stream.read_line(&mut line).unwrap() > 2 {
                if let Some(bytes) = line.to_lowercase().strip_prefix("content-length:") {
                    length = bytes.trim().parse().unwrap();
                }
                line.clear();
            }
            stream.read_exact(&mut vec![0; length]).unwrap();
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\r\n\
                {\"message\":{\"content\":\"Half of it\"},\"done\":false}\n";
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    url
}

#[test]
fn what_broke_off_is_continued_first() {
    let home = lived_in();
    fs::write(
        home.config(),
        format!(
            "[turn]\nmax_attempts = 1\n[models]\ndefault = \"near/llama\"\n[models.providers.near]\nkind = \"ollama\"\nbase_url = \"{}\"\n",
            breaking_off()
        ),
    )
    .unwrap();
    for command in [
        &["ask", "Tell me all of it."][..],
        &["ask", "--continue"],
        &["ask", "--again"],
    ] {
        let done = home.run(command);
        assert_eq!(done.code, 5, "{}", done.err);
        let at = |option: &str| done.err.find(option).unwrap_or_else(|| panic!("{option}: {}", done.err));
        assert!(at("duet ask --continue") < at("duet ask --again"), "{}", done.err);
    }
}

#[test]
fn doctor_asks_the_models_that_agents_name() {
    let home = lived_in();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    fs::write(
        home.config(),
        format!("[models.providers.near]\nkind = \"ollama\"\nbase_url = \"{url}\"\n"),
    )
    .unwrap();
    home.run(["agent", "edit", "executor_primary", "--model", "near/llama"]).ok();
    let models = |report: &Value| {
        let checks = report["checks"].as_array().unwrap().iter();
        let models = checks.filter(|check| check["name"] == "model");
        models
            .map(|check| check["found"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let done = home.run(["doctor", "--json"]);
    assert_eq!(done.code, 1, "{}", done.out);
    let found = models(&serde_json::from_str(&done.out).unwrap());
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("offline/") && found[1].starts_with("near/llama: "),
        "{found:?}"
    );
    let quiet = home.run(["doctor", "--json", "--no-network"]).json();
    assert_eq!(models(&quiet)[1], "near/llama (not called)");
}

#[test]
fn unknown_model_in_the_settings() {
    let home = lived_in();
    for (toml, words) in [
        ("[models]\ndefault = \"nobody/nothing\"\n", ["models.default", "nobody"]),
        ("[models]\ndefault = \"nothing\"\n", ["provider/name", "nothing"]),
    ] {
        fs::write(home.config(), toml).unwrap();
        home.run(["ask", "hello"]).refused(2, &words);
        home.run(["serve", "--bind", "127.0.0.1:0"]).refused(2, &words);
    }
    fs::write(home.config(), "").unwrap();
    nothing_lost(&home);
}

#[test]
fn oversize_and_empty_messages() {
    let home = lived_in();
    let long = "word ".repeat(14_000);
    home.run_with(["ask"], long.as_bytes()).refused(2, &["65536", "parts"]);
    home.run_with(["memory", "add", "-"], long.as_bytes())
        .refused(2, &["16384", "parts"]);
    home.run(["ask", "   "]).refused(2, &["text"]);
    home.run_with(["ask", "-"], b"").refused(2, &["text"]);
    for nothing in ["", " \t"] {
        home.run(["memory", "search", nothing]).refused(2, &["question", "empty"]);
    }
    nothing_lost(&home);
}

#[test]
fn none_is_no_number_to_list() {
    let home = lived_in();
    for list in [
        ["memory", "list"],
        ["conversation", "list"],
        ["conversation", "show"],
        ["audit", "list"],
    ] {
        for (number, words) in [("0", "at least 1"), ("few", "whole number")] {
            let done = home.run(list.into_iter().chain(["-n", number]));
            assert_eq!(done.code, 2, "{list:?}: {}", done.err);
            assert!(done.err.contains(words), "{list:?}: {}", done.err);
        }
    }
}

#[test]
fn invalid_utf8_on_the_input_and_in_arguments() {
    let home = lived_in();
    home.run_with(["ask", "-"], b"abc\xff\xfe").refused(2, &["UTF-8", "byte 4"]);
    home.run_with(["memory", "add"], b"\x80").refused(2, &["UTF-8", "byte 1"]);
    #[cfg(unix)]
    {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        let done = home.run([OsStr::new("ask"), OsStr::from_bytes(b"\xff\xfe")]);
        assert_eq!(done.code, 2, "{}", done.err);
        assert!(done.err.contains("UTF-8"), "{}", done.err);
    }
    nothing_lost(&home);
}

#[test]
fn bad_configuration() {
    let home = lived_in();
    for (toml, words) in [
        ("[server\n", &["duet.toml"][..]),
        ("[server]\nbnd = \"127.0.0.1:1\"\n", &["duet.toml", "bnd", "bind"]),
        ("[turn]\nmax_steps = \"many\"\n", &["duet.toml", "max_steps"]),
        ("[turn]\nmax_steps = 0\n", &["duet.toml", "turn.max_steps", "1 to 64"]),
    ] {
        fs::write(home.config(), toml).unwrap();
        home.run(["memory", "list"]).refused(2, words);
    }
    let doctor = home.run(["doctor"]);
    assert_eq!(doctor.code, 1, "{}", doctor.out);
    assert!(doctor.out.contains("PROBLEM"), "{}", doctor.out);
    fs::remove_file(home.config()).unwrap();
    home.run(["--config", "/nowhere/duet.toml", "memory", "list"])
        .refused(2, &["no configuration file /nowhere/duet.toml", "--config"]);
    nothing_lost(&home);
}

#[test]
fn nothing_set_up_yet() {
    let home = Home::new();
    for command in [&["ask", "hello"][..], &["memory", "list"], &["audit", "verify"]] {
        home.run(command).refused(4, &["duet serve", "duet init"]);
    }
    assert!(!home.data().exists() && !home.key().exists(), "looking makes nothing");
    let server = home.serve();
    home.run(["ask", "hello"]).refused(3, &["no owner yet", "duet init"]);
    drop(server);
    home.run(["ask", "hello"]).refused(3, &["no owner yet", "duet init"]);
    home.init();
    home.run_with(
        ["init", "--email", "eve@example.org", "--password-stdin"],
        b"another password\n",
    )
    .refused(1, &["already set up"]);
}

#[test]
fn set_up_with_bad_values() {
    let home = Home::new();
    let init = |email: &str, password: &str| {
        home.run_with(
            ["init", "--email", email, "--password-stdin"],
            format!("{password}\n").as_bytes(),
        )
    };
    init("ada@example.org", "short").refused(2, &["10"]);
    init("ada@example.org", "").refused(2, &["empty"]);
    for password in ["correct horse battery", "short", ""] {
        init("not-an-address", password).refused(2, &["email address"]);
    }
    home.run_with(
        ["init", "--email", "ada@example.org", "--password-stdin", "--companion", " "],
        b"correct horse battery\n",
    )
    .refused(2, &["companion"]);
    assert!(!home.data().exists() && !home.key().exists(), "what is refused makes nothing");
    init("ada@example.org", "correct horse battery").ok();
}

#[test]
fn unknown_things() {
    let home = lived_in();
    let nobody = "01980000-0000-7000-8000-000000000000";
    home.run(["memory", "show", nobody]).refused(4, &["not found"]);
    home.run(["memory", "redact", "--yes", nobody]).refused(4, &["not found"]);
    home.run(["memory", "notices", "--blank", nobody]).refused(4, &["not found"]);
    home.run(["ask", "-c", nobody, "hello"]).refused(4, &["not found"]);
    home.run(["conversation", "show", "last"]).refused(4, &["no conversation"]);
    home.run(["agent", "edit", "nobody", "--name", "x"])
        .refused(4, &["nobody", "duet agent list"]);
    home.run(["--workspace", "Elsewhere", "memory", "list"])
        .refused(4, &["Elsewhere", "Home"]);
    let done = home.run(["no-such-command"]);
    assert_eq!(done.code, 2);
    nothing_lost(&home);
}

impl crate::harness::Done {
    /// An unknown model is refused at once, or the reply says so; either way in a sentence about the model.
    #[track_caller]
    fn code_is_not_zero_or_the_reply_fails(self, home: &Home) {
        if self.code != 0 {
            assert!(self.err.contains("nobody"), "{}", self.err);
            return;
        }
        let done = home.run(["ask", "Are you there?"]);
        assert_ne!(done.code, 0, "{}", done.out);
        assert!(done.err.contains("nobody"), "{}", done.err);
    }
}
