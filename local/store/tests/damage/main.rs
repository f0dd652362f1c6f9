//! A data file after an accident: a full disk, a second name, a damaged or missing log, a bad page. What was acknowledged is
//! there, or its loss is reported.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod copies;
mod salvage;
mod tombstones;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use duet_core::{
    Caller, StoreResult,
    contract::{TestEnv, Writes, memories::fact},
    domain::{
        Bar, EmbeddingModel, EventKind, LeasePolicy, ListPage, Locality, MemoryFilter, NewTurn, OwnerSetup, PageRequest,
        RecallMode, RecallQuery, Role, RunStatus, Settlement,
    },
    ids::MemoryId,
    ports::ChainCheck,
};
use duet_sqlite::{LocalStore, OpenError, OpenOptions, key::FileKey};
use proptest::{prelude::*, test_runner::TestRunner};
use rusqlite::Connection;

/// Bytes of a page, and of a frame of the log before its page.
const PAGE: usize = 8192;
const FRAME: usize = PAGE + 24;

fn options(path: &Path) -> OpenOptions {
    OpenOptions {
        path: path.to_owned(),
        key: FileKey::new([1; 32]),
        env: TestEnv::new(5).env(),
        vector_cache_bytes: 0,
    }
}

fn open(path: &Path) -> LocalStore {
    LocalStore::open(options(path)).unwrap()
}

fn refused(path: &Path) -> OpenError {
    match LocalStore::open(options(path)) {
        Ok(_) => panic!("the file was opened"),
        Err(error) => error,
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

async fn set_up(store: &LocalStore) -> Caller {
    let stores = store.stores();
    stores.accounts.put_setup_token([3; 32]).await.unwrap();
    let setup = OwnerSetup {
        token_hash: [3; 32],
        email: "ana@example.org".into(),
        display_name: "Ana".into(),
        password_hash: "hash".into(),
        workspace_name: "Home".into(),
        companion_name: "Juno".into(),
    };
    let (user, workspace) = stores.accounts.create_owner(setup).await.unwrap();
    Caller::person(user.id, workspace.id, Role::Owner)
}

async fn remember(store: &LocalStore, caller: &Caller, count: usize) -> Vec<MemoryId> {
    // Other ids each time.
    static SEED: AtomicU64 = AtomicU64::new(1000);
    let env = TestEnv::new(SEED.fetch_add(1, Ordering::Relaxed)).env();
    let memories = store.stores().memories;
    let mut ids = Vec::new();
    for number in 0..count {
        let text = format!("Fact {number} is {}", "long ".repeat(40));
        ids.push(memories.remember(caller, fact(&env, &text), None).await.unwrap().id);
    }
    ids
}

/// How many entries the audit log has.
async fn entries(store: &LocalStore, caller: &Caller) -> usize {
    let page = store.stores().audit.entries(caller, PageRequest::first(200)).await.unwrap();
    page.items.len()
}

/// The files as `kill -9` leaves them, in a folder of their own.
fn killed(path: &Path) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("duet.db");
    for suffix in ["", "-wal", ".mark", ".tombstones"] {
        if beside(path, suffix).exists() {
            fs::copy(beside(path, suffix), beside(&copy, suffix)).unwrap();
        }
    }
    (folder, copy)
}

/// A file that was killed after `count` memories, the newest of them only in the log; also returns how many audit entries it has.
async fn killed_with_log(count: usize) -> (tempfile::TempDir, PathBuf, Caller, usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("duet.db");
    let store = open(&path);
    let caller = set_up(&store).await;
    remember(&store, &caller, count).await;
    let written = entries(&store, &caller).await;
    let (folder, copy) = killed(&path);
    assert!(fs::metadata(beside(&copy, "-wal")).unwrap().len() > 3 * FRAME as u64);
    (folder, copy, caller, written)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_a_full_disk_cut_off_does_not_lock_out() {
    let (_folder, path, caller, written) = killed_with_log(5).await;
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(&[7; 5000]);
    fs::write(&path, &bytes).unwrap();
    let store = open(&path);
    assert_eq!(entries(&store, &caller).await, written);
    assert_eq!(store.check_pages().await.unwrap(), Vec::<String>::new());
    drop(store);
    assert_eq!(fs::metadata(&path).unwrap().len() % PAGE as u64, 0);
    assert_eq!(entries(&open(&path), &caller).await, written);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_its_file_is_refused_and_left_alone() {
    let (folder, path, caller, written) = killed_with_log(5).await;
    let log = fs::read(beside(&path, "-wal")).unwrap();
    let away = folder.path().join("away.db");
    fs::rename(&path, &away).unwrap();
    for _ in 0..2 {
        match refused(&path) {
            error @ OpenError::LogWithoutFile { .. } => assert!(error.to_string().contains("Put the file back"), "{error}"),
            other => panic!("{other:?}"),
        }
        assert!(!path.exists());
        assert_eq!(fs::read(beside(&path, "-wal")).unwrap(), log);
    }
    fs::rename(&away, &path).unwrap();
    assert_eq!(entries(&open(&path), &caller).await, written);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_file_has_one_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("duet.db");
    let store = open(&path);
    set_up(&store).await;
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();

    let link = other.join("link.db");
    symlink(&path, &link).unwrap();
    assert!(
        matches!(refused(&link), OpenError::InUse { pid: Some(_), .. }),
        "over a symbolic link"
    );
    let folder_link = folder.path().join("folder-link");
    symlink(folder.path(), &folder_link).unwrap();
    assert!(matches!(refused(&folder_link.join("duet.db")), OpenError::InUse { .. }));

    let hard = other.join("hard.db");
    fs::hard_link(&path, &hard).unwrap();
    assert!(matches!(refused(&hard), OpenError::InUse { .. }), "the file itself is locked");
    drop(store);
    match refused(&hard) {
        error @ OpenError::Linked { names: 2, .. } => assert!(error.to_string().contains("Remove the other names"), "{error}"),
        found => panic!("{found:?}"),
    }
    assert!(matches!(refused(&path), OpenError::Linked { names: 2, .. }));
    fs::remove_file(&hard).unwrap();

    // Another name and a single link, as when a bind mount holds the file alone: here the file moves while it is open.
    let store = open(&path);
    let moved = other.join("moved.db");
    fs::rename(&path, &moved).unwrap();
    assert!(matches!(refused(&moved), OpenError::InUse { .. }));
    fs::rename(&moved, &path).unwrap();
    drop(store);
    drop(open(&link));
    assert!(!beside(&link, "-wal").exists() && !beside(&link, ".lock").exists());

    fs::remove_file(&link).unwrap();
    symlink(folder.path().join("gone.db"), &link).unwrap();
    assert!(matches!(refused(&link), OpenError::Dangling(_)));
    assert!(link.is_symlink(), "the link is not replaced by a file");
}

/// Flips a bit, truncates the log or empties it; whatever opens afterwards has everything, or says that it does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_something_never_opens_in_silence() {
    let (_folder, path, caller, written) = killed_with_log(30).await;
    let whole = fs::read(beside(&path, "-wal")).unwrap();
    let handle = tokio::runtime::Handle::current();
    let try_with = |log: Option<&[u8]>| -> Result<bool, TestCaseError> {
        let (_copy, copy) = killed(&path);
        match log {
            Some(bytes) => fs::write(beside(&copy, "-wal"), bytes).unwrap(),
            None => fs::remove_file(beside(&copy, "-wal")).unwrap(),
        }
        match LocalStore::open(options(&copy)) {
            Err(error @ OpenError::Lost { .. }) => {
                prop_assert!(error.to_string().contains("--accept-loss"), "{error}");
                let left = fs::read(beside(&copy, "-wal")).unwrap_or_default();
                prop_assert_eq!(left.len(), log.map_or(0, <[u8]>::len), "what is left of the log stays");
                Ok(true)
            }
            Err(other) => Err(TestCaseError::fail(format!("{other:?}"))),
            Ok(store) => {
                let found = tokio::task::block_in_place(|| handle.block_on(entries(&store, &caller)));
                prop_assert_eq!(found, written);
                Ok(false)
            }
        }
    };
    assert!(!try_with(Some(&whole)).unwrap(), "the log as it was");
    assert!(try_with(None).unwrap() && try_with(Some(&[])).unwrap());
    let mut runner = TestRunner::new(ProptestConfig::with_cases(24));
    let mut noticed = 0;
    for frame in 0..(whole.len() - 32) / FRAME {
        // The head of a frame and its page.
        for place in [3, 24 + 4000] {
            let mut bytes = whole.clone();
            bytes[32 + frame * FRAME + place] ^= 1;
            noticed += usize::from(try_with(Some(&bytes)).unwrap());
        }
    }
    assert!(noticed > 10, "{noticed}");
    let places = (any::<proptest::sample::Index>(), 0_u8..8, any::<bool>());
    runner
        .run(&places, |(place, bit, cut)| {
            let mut bytes = whole.clone();
            let place = place.index(bytes.len());
            if cut {
                bytes.truncate(place);
            } else {
                bytes[place] ^= 1 << bit;
            }
            try_with(Some(&bytes)).map(|_| ())
        })
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_is_accepted_once_and_is_on_record() {
    let (_folder, path, caller, written) = killed_with_log(30).await;
    fs::write(beside(&path, "-wal"), "").unwrap();
    let error = refused(&path).to_string();
    assert!(error.contains("the audit log lacks"), "{error}");
    let loss = LocalStore::accept_loss(&options(&path)).unwrap().expect("a loss");
    assert!(loss.commits.unwrap() > 0 && loss.entries > 0, "{loss:?}");
    assert_eq!(LocalStore::accept_loss(&options(&path)).unwrap(), None);
    let store = open(&path);
    let page = store.stores().audit.entries(&caller, PageRequest::first(200)).await.unwrap();
    assert_eq!(page.items.len() as u64 + loss.entries, written as u64 + 1);
    assert_eq!(page.items[0].action, "file.loss_accepted");
    assert_eq!(page.items[0].details["entries"], loss.entries);
    assert!(matches!(
        store.stores().audit.verify(&caller).await.unwrap(),
        ChainCheck::Intact(_)
    ));
    remember(&store, &caller, 3).await;
    drop(store);
    open(&path);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_file_alone_is_known_to_lack_its_log() {
    let (_folder, path, ..) = killed_with_log(5).await;
    let other = tempfile::tempdir().unwrap();
    let copy = other.path().join("duet.db");
    fs::copy(&path, &copy).unwrap();
    let error = refused(&copy);
    assert!(
        error.to_string().contains("the log with the newest changes is gone"),
        "{error}"
    );
    LocalStore::accept_loss(&options(&copy)).unwrap().expect("a loss");
    drop(open(&copy));

    // A file that was closed in an orderly way is whole on its own.
    drop(open(&path));
    let closed = other.path().join("closed.db");
    fs::copy(&path, &closed).unwrap();
    open(&closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_in_the_place_of_the_file_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("duet.db");
    let caller = set_up(&open(&path)).await;
    let older = folder.path().join("older.db");
    fs::copy(&path, &older).unwrap();
    remember(&open(&path), &caller, 2).await;
    fs::copy(&older, &path).unwrap();
    let error = refused(&path);
    assert!(error.to_string().contains("an older copy"), "{error}");
}

/// A file with this many memories and no log.
async fn closed_with(count: usize) -> (tempfile::TempDir, PathBuf, Caller, Vec<MemoryId>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("duet.db");
    let store = open(&path);
    let caller = set_up(&store).await;
    let ids = remember(&store, &caller, count).await;
    (folder, path, caller, ids)
}

fn flip(path: &Path, page: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[page * PAGE + 1000] ^= 1;
    fs::write(path, bytes).unwrap();
}

async fn readable(store: &LocalStore, caller: &Caller, ids: &[MemoryId]) -> usize {
    let memories = store.stores().memories;
    let mut found = 0;
    for id in ids {
        if let Ok(memory) = memories.memories(caller, &[*id]).await {
            found += memory.len();
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_page_takes_only_what_is_on_it() {
    let (_folder, path, caller, ids) = closed_with(200).await;
    let pages = fs::read(&path).unwrap().len() / PAGE;
    let (mut partly, mut written) = (0, 0);
    for page in (0..pages).step_by(2) {
        let (_copy, copy) = killed(&path);
        flip(&copy, page);
        let Ok(store) = LocalStore::open(options(&copy)) else {
            continue;
        };
        let found = readable(&store, &caller, &ids).await;
        assert_eq!(found, readable(&store, &caller, &ids).await, "page {page}: the same again");
        partly += usize::from(found > 0 && found < ids.len());
        written += usize::from(store.stores().workspaces.rename(&caller, "Still here").await.is_ok());
        // A write that meets the page does not spoil later ones.
        let env = TestEnv::new(9).env();
        let stored = store.stores().memories.remember(&caller, fact(&env, "Another"), None).await;
        if stored.is_err() && store.stores().workspaces.rename(&caller, "Still").await.is_ok() {
            written += 1;
        }
    }
    assert!(
        partly >= 3 && written > pages / 4,
        "{partly} partly read, {written} written, of {pages} pages"
    );
}

fn raw(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.pragma_update(None, "key", format!("x'{}'", hex::encode([1; 32])))
        .unwrap();
    conn.execute_batch(duet_sqlite::CIPHER_SETTINGS).unwrap();
    conn.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF")
        .unwrap();
    conn
}

/// A whole list, two items at a time.
async fn listed<T, F: Future<Output = StoreResult<ListPage<T>>>>(mut page: impl FnMut(PageRequest) -> F) -> Vec<T> {
    let (mut all, mut request) = (Vec::new(), PageRequest::first(2));
    loop {
        let page = page(request).await.unwrap();
        all.extend(page.items);
        match page.next_cursor {
            Some(cursor) => {
                request = PageRequest {
                    cursor: Some(cursor),
                    limit: 2,
                }
            }
            None => return all,
        }
    }
}

/// A row that cannot be read does not hide the others, wherever it is in a list.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_is_passed_over() {
    let (_folder, path, caller, ids) = closed_with(6).await;
    let env = TestEnv::new(12).env();
    let store = open(&path);
    let stores = store.stores();
    let mut conversations = Vec::new();
    for text in ["One", "Two", "Three", "Four"] {
        let made = stores
            .conversations
            .create(&caller, env.id(), None, Some(text))
            .await
            .unwrap();
        conversations.push(made.id);
    }
    let imported = conversations[0];
    for text in ["a", "b", "c", "d"] {
        let turn = NewTurn::new(&env, imported, text);
        let run = turn.run_id;
        stores.runs.start_turn(&caller, turn).await.unwrap();
        let claim = stores
            .system
            .claim_run(LeasePolicy::default(), EventKind::ALL)
            .await
            .unwrap()
            .unwrap();
        let ended = Settlement {
            status: RunStatus::Done,
            reason: None,
            reply: None,
        };
        stores
            .run_log
            .settle(run, claim.lease, claim.run.last_seq, env.id(), Vec::new(), ended)
            .await
            .unwrap();
    }
    drop((stores, store));
    let conn = raw(&path);
    for sql in [
        "UPDATE memory_content SET taint = 'odd' WHERE memory IN (SELECT key FROM memory ORDER BY created_at, id LIMIT 2 OFFSET 2)",
        "UPDATE conversation SET title = CAST(x'ff' AS TEXT) WHERE title = 'Three'",
        "UPDATE message SET text = CAST(x'ff' AS TEXT) WHERE text = 'b'",
        "UPDATE run SET agent_id = x'ff' WHERE message_id IN (SELECT id FROM message WHERE text = 'c')",
        "DROP TRIGGER audit_entry_fixed; UPDATE audit_entry SET outcome = 'odd' WHERE seq = 2",
    ] {
        conn.execute_batch(sql).unwrap();
    }
    drop(conn);

    let store = open(&path);
    let stores = store.stores();
    let memories = listed(|page| stores.memories.list(&caller, MemoryFilter::default(), page)).await;
    let found: Vec<MemoryId> = memories.iter().rev().map(|memory| memory.id).collect();
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|id| ids.contains(id)));
    assert_eq!(readable(&store, &caller, &ids).await, 4);
    assert_eq!(stores.memories.memories(&caller, &ids).await.unwrap().len(), 4);
    let query = RecallQuery {
        text: "fact".into(),
        embedding: None,
        mode: RecallMode::Fts,
        limit: 10,
        domains: None,
        locality: Locality::Local,
        bar: Bar::NONE,
        now: env.now(),
    };
    assert_eq!(stores.memories.recall(&caller, query).await.unwrap().items.len(), 4);
    let model = EmbeddingModel {
        id: "m".into(),
        dimensions: 2,
    };
    // Also if those that cannot be read come first.
    for limit in [1, 6] {
        let waiting = stores.system.unembedded(&model, Locality::Local, limit).await.unwrap();
        assert_eq!(waiting.len(), limit.min(4));
    }
    assert_eq!(listed(|page| stores.conversations.list(&caller, false, page)).await.len(), 3);
    let said = listed(|page| stores.conversations.messages(&caller, imported, page)).await;
    assert_eq!(said.len(), 3);
    assert_eq!(
        listed(|page| stores.conversations.transcript(&caller, imported, page))
            .await
            .len(),
        3
    );
    assert_eq!(listed(|page| stores.runs.runs(&caller, imported, page)).await.len(), 3);
    let audited = listed(|page| stores.audit.entries(&caller, page)).await;
    let seqs: Vec<u64> = audited.iter().map(|entry| entry.seq).collect();
    assert!(!seqs.contains(&2) && seqs.contains(&1) && seqs.contains(&3), "{seqs:?}");
}
