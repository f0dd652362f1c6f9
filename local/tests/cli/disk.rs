//! Trouble with the disk: full in the middle of a page, a log that is damaged or without its file, a second name of the file.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::harness::{Browser, Done, Home};

const CONFIG: &str = "[limits]\nsign_in_per_minute = 10000\nsign_in_per_address_per_minute = 10000\n";

fn beside(home: &Home, suffix: &str) -> PathBuf {
    home.data().with_file_name(format!("duet.db{suffix}"))
}

fn texts(home: &Home) -> BTreeSet<String> {
    let listed = home.run(["memory", "list", "-n", "200", "--json"]).json();
    let text = |memory: &Value| memory["text"].as_str().unwrap().to_owned();
    listed.as_array().unwrap().iter().map(text).collect()
}

/// Adds a memory in a process whose files may not grow past this many bytes.
fn add_within(home: &Home, bytes: u64, text: &str) -> Done {
    let duet = home.command(["memory", "add", text]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("ulimit -f {}; exec \"$0\" \"$@\"", bytes / 512)])
        .arg(duet.get_program())
        .args(duet.get_args())
        .env_clear()
        .envs(duet.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::null());
    Done::from(shell.output().unwrap())
}

#[test]
fn a_disk_that_is_full_in_the_middle_of_a_page_locks_nobody_out() {
    let home = Home::new();
    home.init();
    home.run(["memory", "add", "before"]).ok();
    let limit = fs::metadata(home.data()).unwrap().len() + 4096;
    let (mut kept, mut torn) = (BTreeSet::from(["before".to_owned()]), false);
    for number in 0..40 {
        let text = format!("{number} {}", "word ".repeat(2000));
        let done = add_within(&home, limit, &text);
        match done.code {
            0 => {
                kept.insert(text.trim().to_owned());
            }
            5 => assert!(done.err.contains("disk"), "{}", done.err),
            code => panic!("ended with {code}: {}", done.err),
        }
        torn = !fs::metadata(home.data()).unwrap().len().is_multiple_of(8192);
        if torn {
            break;
        }
    }
    assert!(torn && kept.len() > 1, "{} kept", kept.len());
    let found: BTreeSet<String> = texts(&home).into_iter().map(|text| text.trim().to_owned()).collect();
    assert!(found.is_superset(&kept), "what was acknowledged is there");
    assert_eq!(home.run(["doctor", "--deep", "--json"]).json()["healthy"], true);
}

/// A home with 20 memories, whose server was killed: the newest are in the log.
async fn killed() -> Home {
    let home = Home::with_config(CONFIG);
    let server = home.serve();
    let ada = Browser::set_up(&server).await;
    for number in 0..20 {
        ada.post("{ws}/memories", &json!({"text": format!("Memory {number}")})).await;
    }
    server.kill();
    assert!(fs::metadata(beside(&home, "-wal")).unwrap().len() > 0);
    home
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_damaged_after_kill_9_is_told_and_can_be_put_back_or_done_without() {
    let home = killed().await;
    let log = beside(&home, "-wal");
    let whole = fs::read(&log).unwrap();
    let mut damaged = whole.clone();
    damaged[32 + 24 + 100] ^= 1;
    for content in [&damaged[..], &[]] {
        fs::write(&log, content).unwrap();
        home.run(["memory", "list"])
            .refused(1, &["not as Duet left it", "--accept-loss"]);
        home.run(["serve", "--bind", "127.0.0.1:0"]).refused(1, &["--accept-loss"]);
        assert!(home.run(["doctor", "--no-network"]).out.contains("--accept-loss"));
        assert_eq!(fs::read(&log).unwrap(), content, "what is left stays as it is");
    }
    fs::write(&log, &whole).unwrap();
    assert_eq!(texts(&home).len(), 20);

    let home = killed().await;
    fs::remove_file(beside(&home, "-wal")).unwrap();
    home.run(["memory", "list"]).refused(1, &["--accept-loss"]);
    let said = home.run(["doctor", "--accept-loss"]).ok();
    assert!(said.contains("the audit log lacks"), "{said}");
    assert!(texts(&home).len() < 20);
    assert!(home.run(["audit", "list"]).ok().contains("file.loss_accepted"));
    assert!(home.run(["doctor", "--accept-loss"]).ok().contains("lost nothing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_moved_away_for_a_moment_keeps_its_log() {
    let home = killed().await;
    let away = beside(&home, ".away");
    fs::rename(home.data(), &away).unwrap();
    for command in [
        &["serve", "--bind", "127.0.0.1:0"][..],
        &["memory", "list"],
        &["doctor", "--accept-loss"],
    ] {
        home.run(command).refused(1, &["Put the file back"]);
    }
    fs::rename(&away, home.data()).unwrap();
    assert_eq!(texts(&home).len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_found_over_a_link_and_a_second_name_is_refused() {
    let home = Home::with_config(CONFIG);
    let server = home.serve();
    let ada = Browser::set_up(&server).await;
    ada.post("{ws}/memories", &json!({"text": "Over a link"})).await;
    let link = home.path().join("link.db");
    std::os::unix::fs::symlink(home.data(), &link).unwrap();
    let found = home.run(["--data", link.to_str().unwrap(), "memory", "list"]).ok();
    assert!(found.contains("Over a link"), "{found}");

    let hard = home.path().join("hard.db");
    fs::hard_link(home.data(), &hard).unwrap();
    let doctor = home.run(["--data", hard.to_str().unwrap(), "doctor", "--no-network"]);
    assert_eq!(doctor.code, 1);
    assert!(doctor.out.contains("Another Duet is using"), "{}", doctor.out);
    assert_eq!(server.stop().code(), Some(0));
    home.run(["--data", hard.to_str().unwrap(), "memory", "list"])
        .refused(1, &["2 names", "Remove the other names"]);
    fs::remove_file(&hard).unwrap();
    assert_eq!(texts(&home).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_beside_that_cannot_be_used_is_named() {
    let home = killed().await;
    let shm = beside(&home, "-shm");
    let shelf = Shelf::put(&home);
    shelf.allow(0o600, 0o700);
    fs::set_permissions(&shm, fs::Permissions::from_mode(0o400)).unwrap();
    shelf.run(&["memory", "list"]).refused(5, &["duet.db-shm"]);
    drop(shelf);
    fs::remove_file(&shm).unwrap();
    fs::create_dir(&shm).unwrap();
    home.run(["memory", "list"]).refused(5, &["duet.db-shm"]);
    fs::remove_dir(&shm).unwrap();
    assert_eq!(texts(&home).len(), 20);
}

/// The exit code 0 promises that the log is in the file.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_leaves_the_log_behind_says_so() {
    let home = Home::with_config(CONFIG);
    let server = home.serve();
    Browser::set_up(&server).await;
    assert_eq!(server.stop().code(), Some(0));
    let limit = fs::metadata(home.data()).unwrap().len() + 4096;
    let server = home.serve_limited(&format!("-f {}", limit / 512));
    let ada = Browser::sign_in(&server.url).await;
    let mut kept = BTreeSet::new();
    for number in 0..8 {
        let text = format!("{number} {}", "word ".repeat(1000));
        let body = json!({"text": text});
        let answer = ada.request(reqwest::Method::POST, "{ws}/memories", Some(&body)).await;
        if answer.status().is_success() {
            kept.insert(text.trim().to_owned());
        }
    }
    assert!(!kept.is_empty());
    assert_eq!(server.stop().code(), Some(5), "{}", home.log());
    assert!(fs::metadata(beside(&home, "-wal")).unwrap().len() > 0);
    let log = home.log();
    assert!(log.contains("duet.db-wal") && log.contains("belongs to the file"), "{log}");
    assert!(
        texts(&home)
            .iter()
            .map(|text| text.trim().to_owned())
            .collect::<BTreeSet<_>>()
            == kept
    );
    assert_eq!(home.serve().stop().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_moved_away_from_a_server_is_not_lost() {
    let home = Home::with_config(CONFIG);
    let server = home.serve();
    let ada = Browser::set_up(&server).await;
    ada.post("{ws}/memories", &json!({"text": "Before"})).await;
    let away = beside(&home, ".away");
    fs::rename(home.data(), &away).unwrap();
    let body = json!({"text": "Meanwhile"});
    let answer = ada.request(reqwest::Method::POST, "{ws}/memories", Some(&body)).await;
    assert_eq!(answer.status(), 503);
    let said = answer.text().await.unwrap();
    assert!(said.contains("moved away or replaced"), "{said}");
    assert_eq!(ada.request(reqwest::Method::GET, "/ready", None).await.status(), 503);
    assert_eq!(server.stop().code(), Some(5), "{}", home.log());
    assert!(!home.data().exists());
    assert!(home.log().contains("moved away or replaced"), "{}", home.log());
    fs::rename(&away, home.data()).unwrap();
    assert_eq!(texts(&home), BTreeSet::from(["Before".to_owned()]));
}

#[test]
fn a_file_on_a_read_only_medium_is_salvaged_into_another_folder() {
    let home = Home::new();
    home.init();
    home.run(["memory", "add", "Kept"]).ok();
    let shelf = Shelf::put(&home);
    let before = (shelf.files(), fs::read(home.data()).unwrap());
    let saved = home.path().join("saved.db");
    let name = saved.to_str().unwrap();
    shelf.run(&["doctor", "--salvage", name]).ok();
    assert_eq!((shelf.files(), fs::read(home.data()).unwrap()), before);
    assert!(shelf.run(&["--data", name, "memory", "list"]).ok().contains("Kept"));
}

#[test]
fn what_cannot_be_used_is_what_is_named() {
    let home = Home::new();
    home.init();
    let shelf = Shelf::put(&home);
    for suffix in [".lock", ".mark"] {
        shelf.allow(0o600, 0o700);
        fs::set_permissions(beside(&home, suffix), fs::Permissions::from_mode(0o0)).unwrap();
        let named = format!("duet.db{suffix} cannot be");
        shelf.run(&["memory", "list"]).refused(5, &[&named]);
    }
    shelf.allow(0o600, 0o700);
    let key = home.key();
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    fs::write(home.config(), format!("[data]\nkey = \"file:{}\"\n", key.display())).unwrap();
    home.run(["memory", "list"]).refused(3, &["is a folder"]);
}

#[test]
fn a_damaged_page_is_left_behind_by_salvage() {
    let home = Home::new();
    home.init();
    for number in 0..3 {
        home.run(["memory", "add", &format!("Memory {number}")]).ok();
    }
    let saved = home.path().join("saved.db");
    let salvaged = home.run(["doctor", "--salvage", saved.to_str().unwrap(), "--json"]).json();
    assert_eq!(salvaged["dangling"], 0, "{salvaged}");
    let name = saved.to_str().unwrap();
    let listed = home.run(["--data", name, "memory", "list"]).ok();
    assert!(listed.contains("Memory 2"), "{listed}");
    home.run(["doctor", "--salvage", name]).refused(5, &["already"]);
}

/// A home whose data folder cannot be written, as on a read-only medium. A superuser could write to it, so another user is asked.
struct Shelf<'a> {
    home: &'a Home,
    user: Option<u32>,
}

/// A user without rights.
const NOBODY: u32 = 65_534;

impl<'a> Shelf<'a> {
    fn put(home: &'a Home) -> Self {
        let superuser = tempfile::tempfile().unwrap().metadata().unwrap().uid() == 0;
        let shelf = Self {
            home,
            user: superuser.then_some(NOBODY),
        };
        if let Some(user) = shelf.user {
            let folder = home.path().to_str().unwrap();
            let owned = Command::new("chown")
                .args(["-R", &user.to_string(), folder])
                .status()
                .unwrap();
            assert!(owned.success());
            // That user may not be able to reach the build folder.
            fs::copy(env!("CARGO_BIN_EXE_duet"), shelf.program()).unwrap();
        }
        shelf.allow(0o400, 0o500);
        shelf
    }

    fn folder(&self) -> PathBuf {
        self.home.data().parent().unwrap().to_owned()
    }

    fn allow(&self, file: u32, folder: u32) {
        for entry in fs::read_dir(self.folder()).unwrap() {
            fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(file)).unwrap();
        }
        fs::set_permissions(self.folder(), fs::Permissions::from_mode(folder)).unwrap();
    }

    fn run(&self, args: &[&str]) -> Done {
        let Some(user) = self.user else {
            return self.home.run(args);
        };
        let asked = self.home.command(args);
        let mut command = Command::new(self.program());
        command.args(asked.get_args()).env_clear();
        command.envs(asked.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Done::from(command.uid(user).stdin(Stdio::null()).output().unwrap())
    }

    /// The program, where the other user finds it.
    fn program(&self) -> PathBuf {
        self.home.path().join("duet")
    }

    /// The names of what is there.
    fn files(&self) -> BTreeSet<OsString> {
        let names = fs::read_dir(self.folder()).unwrap();
        names.map(|entry| entry.unwrap().file_name()).collect()
    }
}

impl Drop for Shelf<'_> {
    fn drop(&mut self) {
        self.allow(0o600, 0o700);
    }
}

#[test]
fn a_file_that_cannot_be_written_can_be_read() {
    let home = Home::new();
    home.init();
    home.run(["memory", "add", "The book is on the shelf"]).ok();
    home.run(["ask", "Where is the book?"]).ok();
    let shelf = Shelf::put(&home);
    let before = (shelf.files(), fs::read(home.data()).unwrap());
    let listed = shelf.run(&["memory", "list", "--json"]).json();
    assert_eq!(listed[0]["text"], "The book is on the shelf", "{listed}");
    let id = listed[0]["id"].as_str().unwrap();
    for args in [&["memory", "search", "book"][..], &["memory", "show", id]] {
        let found = shelf.run(args).ok();
        assert!(found.contains("on the shelf"), "{args:?}: {found}");
    }
    for args in [
        &["conversation", "list"][..],
        &["conversation", "show", "last"],
        &["conversation", "export", "last"],
    ] {
        let found = shelf.run(args).ok();
        assert!(found.contains("Where is the book?"), "{args:?}: {found}");
    }
    assert!(shelf.run(&["audit", "list"]).ok().contains("setup.owner"));
    assert!(shelf.run(&["audit", "verify"]).ok().contains("intact"));
    for args in [
        &["agent", "list"][..],
        &["member", "list"],
        &["keys", "list"],
        &["memory", "notices"],
    ] {
        shelf.run(args).ok();
    }
    for args in [
        &["serve", "--bind", "127.0.0.1:0"][..],
        &["memory", "add", "Another"],
        &["memory", "redact", "--yes", id],
        &["conversation", "rename", "last", "Books"],
        &["ask", "And now?"],
        &["keys", "create", "k", "--scope", "chat"],
    ] {
        shelf
            .run(args)
            .refused(5, &["nothing can be written", "duet memory list", "Copy"]);
    }
    assert_eq!(
        (shelf.files(), fs::read(home.data()).unwrap()),
        before,
        "nothing was made or changed"
    );
    drop(shelf);
    assert_eq!(texts(&home).len(), 1);
}

#[test]
fn a_log_beside_a_file_that_cannot_be_written_is_not_passed_over() {
    let home = Home::new();
    home.init();
    home.run(["memory", "add", "Before"]).ok();
    fs::write(beside(&home, "-wal"), [7; 5000]).unwrap();
    let shelf = Shelf::put(&home);
    shelf
        .run(&["memory", "list"])
        .refused(5, &["duet.db-wal", "newest changes", "Copy"]);
    drop(shelf);
    fs::remove_file(beside(&home, "-wal")).unwrap();

    // An older copy does not show what was redacted since.
    let older = fs::read(home.data()).unwrap();
    let id = home.run(["memory", "list", "--json"]).json()[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    home.run(["memory", "redact", "--yes", &id]).ok();
    fs::write(home.data(), older).unwrap();
    fs::remove_file(beside(&home, ".mark")).unwrap();
    let shelf = Shelf::put(&home);
    shelf.run(&["memory", "list"]).refused(5, &["duet.db.tombstones", "Copy"]);
    drop(shelf);
    assert_eq!(texts(&home).len(), 0);
}

#[test]
fn marks_that_turn_text_round_are_shown() {
    let home = Home::new();
    home.init();
    home.run(["memory", "add", "pay \u{202e}evil\u{2069} now"]).ok();
    let listed = home.run(["memory", "list"]).ok();
    assert!(listed.contains("pay \\u202eevil\\u2069 now"), "{listed}");
    assert_eq!(texts(&home), BTreeSet::from(["pay \u{202e}evil\u{2069} now".to_owned()]));
    let raw = home.run(["memory", "list", "--json"]).ok();
    assert!(!raw.contains('\u{202e}'), "{raw}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_end_was_cut_off_does_not_bear_out_its_anchors() {
    let home = Home::new();
    let file = home.path().join("anchors");
    fs::write(home.config(), format!("{CONFIG}[audit]\nanchors = {file:?}\n")).unwrap();
    let server = home.serve();
    let ada = Browser::set_up(&server).await;
    ada.post("{ws}/memories", &json!({"text": "Before"})).await;
    assert_eq!(server.stop().code(), Some(0));
    let older = fs::read(home.data()).unwrap();
    home.run(["memory", "add", "After"]).ok();
    let name = file.to_str().unwrap();
    let said = home.run(["audit", "verify", "--anchors", name]).ok();
    assert!(said.contains("intact") && said.contains("hold"), "{said}");

    // The machine's owner restores an older state, with everything beside it; the chain holds.
    fs::write(home.data(), older).unwrap();
    fs::remove_file(beside(&home, ".mark")).unwrap();
    fs::write(home.config(), CONFIG).unwrap();
    assert!(home.run(["audit", "verify"]).ok().contains("intact"));
    home.run(["audit", "verify", "--anchors", name])
        .refused(1, &["does not bear out", "cut"]);
    home.run(["audit", "verify", "--anchors", "/nowhere"])
        .refused(5, &["/nowhere"]);
}
