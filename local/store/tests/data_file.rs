//! The data file on the disk: who gets in, what can be seen from outside, and what happens when it is damaged.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::{
    fs,
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use duet_core::{
    Caller, StoreError,
    contract::{TestEnv, Writes, memories::fact},
    domain::{
        AgentEdit, EventKind, LeasePolicy, ListPage, MessageStatus, MessageTrace, NewApiKey, NewMemory, NewTurn, OwnerSetup,
        PageRequest, Reply, Role, RunEvent, RunStatus, Session, Settlement, Soul, Visibility,
    },
    ids::ConversationId,
};
use duet_sqlite::{LocalStore, OpenError, OpenOptions, key::FileKey};

/// A text that does not occur by chance.
const CANARY: &str = "xylophone-marmalade-7731";

fn options(path: &Path, key: u8) -> OpenOptions {
    OpenOptions {
        path: path.to_owned(),
        key: FileKey::new([key; 32]),
        env: TestEnv::new(5).env(),
        vector_cache_bytes: 1 << 20,
    }
}

fn open(path: &Path) -> LocalStore {
    LocalStore::open(options(path, 1)).unwrap()
}

fn refused(path: &Path, key: u8) -> OpenError {
    match LocalStore::open(options(path, key)) {
        Ok(_) => panic!("the file was opened"),
        Err(error) => error,
    }
}

/// A folder with a data file that has a person in it.
async fn made() -> (tempfile::TempDir, PathBuf, Caller) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("duet.db");
    let caller = set_up(&open(&path)).await;
    (folder, path, caller)
}

async fn set_up(store: &LocalStore) -> Caller {
    let stores = store.stores();
    stores.accounts.put_setup_token([3; 32]).await.unwrap();
    let setup = OwnerSetup {
        token_hash: [3; 32],
        email: format!("{CANARY}@example.org"),
        display_name: CANARY.into(),
        password_hash: CANARY.into(),
        workspace_name: CANARY.into(),
        companion_name: CANARY.into(),
    };
    let (user, workspace) = stores.accounts.create_owner(setup).await.unwrap();
    Caller::person(user.id, workspace.id, Role::Owner)
}

/// Writes the canary through every store.
async fn fill(store: &LocalStore, caller: &Caller) -> ConversationId {
    let (stores, env) = (store.stores(), TestEnv::new(6).env());
    let session = Session {
        id: env.id(),
        user_id: caller.user,
        created_at: env.now(),
        expires_at: env.now().plus(std::time::Duration::from_secs(60)),
        by_device: false,
        by_machine: false,
    };
    stores.accounts.create_session(session, [4; 32]).await.unwrap();
    stores.workspaces.rename(caller, &format!("{CANARY} two")).await.unwrap();
    let agent = stores.agents.agents(caller).await.unwrap().remove(0);
    let edit = AgentEdit {
        prompt: Some(CANARY.into()),
        ..AgentEdit::default()
    };
    stores.agents.edit_agent(caller, agent.id, 1, edit).await.unwrap();
    stores.agents.write_soul(caller, 1, Soul::starter(CANARY)).await.unwrap();
    let key = NewApiKey {
        id: env.id(),
        name: CANARY.into(),
        prefix: "duet_xylo".into(),
        secret_hash: [5; 32],
        scopes: [duet_core::domain::KeyScope::Chat].into(),
        expires_at: None,
    };
    stores.keys.create(caller, key).await.unwrap();
    let conversation = stores
        .conversations
        .create(caller, env.id(), None, Some(CANARY))
        .await
        .unwrap();
    let turn = NewTurn {
        idempotency_key: Some(CANARY.into()),
        ..NewTurn::new(&env, conversation.id, format!("Remember {CANARY}, please"))
    };
    stores.runs.start_turn(caller, turn).await.unwrap();
    let claim = stores
        .system
        .claim_run(LeasePolicy::default(), EventKind::ALL)
        .await
        .unwrap()
        .unwrap();
    let delta = RunEvent::Delta {
        step: 1,
        text: CANARY.into(),
    };
    stores
        .run_log
        .append(claim.run.id, claim.lease, 1, env.id(), vec![delta.into()])
        .await
        .unwrap();
    let settlement = Settlement {
        status: RunStatus::Done,
        reason: Some(CANARY.into()),
        reply: Some(Reply {
            status: MessageStatus::Complete,
            text: format!("It is {CANARY}"),
            trace: MessageTrace::default(),
        }),
    };
    stores
        .run_log
        .settle(claim.run.id, claim.lease, 2, env.id(), Vec::new(), settlement)
        .await
        .unwrap();
    for sensitive in [false, true] {
        let memory = NewMemory {
            speaker: Some(CANARY.into()),
            visibility: Visibility::Private,
            sensitive,
            ..fact(&env, &format!("The word is {CANARY}"))
        };
        stores.memories.remember(caller, memory, None).await.unwrap();
    }
    conversation.id
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    [text.as_bytes(), &utf16]
        .iter()
        .any(|needle| bytes.windows(needle.len()).any(|window| window == *needle))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_written_can_be_read_from_the_disk() {
    let (folder, path, caller) = made().await;
    let store = open(&path);
    fill(&store, &caller).await;
    let while_open = files(folder.path());
    assert!(while_open.iter().any(|file| file.ends_with("duet.db-wal")), "{while_open:?}");
    for file in &while_open {
        let bytes = fs::read(file).unwrap();
        // Without this, an empty log would pass.
        assert!(!file.ends_with("duet.db-wal") || bytes.len() > 8192);
        assert!(!holds(&bytes, CANARY), "the text is readable in {}", file.display());
        assert!(
            !holds(&bytes, "CREATE TABLE") && !holds(&bytes, "SQLite format"),
            "{}",
            file.display()
        );
    }
    drop(store);
    for file in files(folder.path()) {
        assert!(
            !holds(&fs::read(&file).unwrap(), CANARY),
            "the text is readable in {}",
            file.display()
        );
    }
    // The same search finds the text where it must be: in a file that was not encrypted.
    let plain = folder.path().join("plain");
    let conn = rusqlite::Connection::open(&plain).unwrap();
    conn.execute_batch("CREATE TABLE t (x)").unwrap();
    conn.execute("INSERT INTO t VALUES (?1)", [CANARY]).unwrap();
    drop(conn);
    assert!(holds(&fs::read(&plain).unwrap(), CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_there_after_a_restart() {
    let (_folder, path, caller) = made().await;
    let conversation = fill(&open(&path), &caller).await;
    let store = open(&path);
    let stores = store.stores();
    let ListPage { items, .. } = stores
        .conversations
        .messages(&caller, conversation, PageRequest::first(10))
        .await
        .unwrap();
    let texts: Vec<&str> = items.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(texts, [format!("It is {CANARY}"), format!("Remember {CANARY}, please")]);
    assert!(!stores.accounts.needs_owner().await.unwrap());
    assert_eq!(store.check_pages().await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_a_crash_cut_off_is_claimed_at_once_after_opening_again() {
    let (_folder, path, caller) = made().await;
    let env = TestEnv::new(8).env();
    let store = open(&path);
    let stores = store.stores();
    let conversation = stores.conversations.create(&caller, env.id(), None, None).await.unwrap();
    let turn = NewTurn::new(&env, conversation.id, "Hello");
    stores.runs.start_turn(&caller, turn).await.unwrap();
    let lost = stores
        .system
        .claim_run(LeasePolicy::default(), EventKind::ALL)
        .await
        .unwrap()
        .unwrap();
    assert!(
        stores
            .system
            .claim_run(LeasePolicy::default(), EventKind::ALL)
            .await
            .unwrap()
            .is_none()
    );
    drop((stores, store));
    let stores = open(&path).stores();
    let again = stores
        .system
        .claim_run(LeasePolicy::default(), EventKind::ALL)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((again.run.id, again.run.attempt), (lost.run.id, 2));
    let late = stores.run_log.heartbeat(lost.run.id, lost.lease).await;
    assert!(matches!(late, Err(StoreError::Stale(_))), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_owner_can_read_the_files() {
    let (folder, path, caller) = made().await;
    let store = open(&path);
    fill(&store, &caller).await;
    for file in files(folder.path()) {
        let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_opener_is_told_who_has_the_file() {
    let (_folder, path, _) = made().await;
    let store = open(&path);
    match refused(&path, 1) {
        error @ OpenError::InUse { pid, .. } => {
            assert_eq!(pid, Some(std::process::id()));
            assert!(error.to_string().contains("Stop it"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    drop(store);
    open(&path);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_and_other_files_are_refused_and_left_alone() {
    let (folder, path, caller) = made().await;
    let before = fs::read(&path).unwrap();
    assert!(matches!(refused(&path, 2), OpenError::WrongKey(_)));
    assert_eq!(fs::read(&path).unwrap(), before, "a refused file is not touched");

    let plain = folder.path().join("plain.db");
    rusqlite::Connection::open(&plain)
        .unwrap()
        .execute_batch("CREATE TABLE t (x)")
        .unwrap();
    assert!(matches!(refused(&plain, 1), OpenError::PlainFile(_)));

    let text = folder.path().join("notes.txt");
    fs::write(&text, "Dear diary").unwrap();
    assert!(matches!(refused(&text, 1), OpenError::Truncated(_)));

    let noise = folder.path().join("noise.db");
    fs::write(&noise, vec![0x5a; 8192 * 4]).unwrap();
    assert!(matches!(refused(&noise, 1), OpenError::WrongKey(_)));

    let empty = folder.path().join("empty.db");
    fs::write(&empty, "").unwrap();
    assert!(matches!(refused(&empty, 1), OpenError::Truncated(_)));

    let foreign = folder.path().join("foreign.db");
    let conn = rusqlite::Connection::open(&foreign).unwrap();
    conn.pragma_update(None, "key", format!("x'{}'", "01".repeat(32))).unwrap();
    conn.execute_batch(duet_sqlite::CIPHER_SETTINGS).unwrap();
    conn.execute_batch("CREATE TABLE t (x)").unwrap();
    drop(conn);
    assert!(matches!(refused(&foreign, 1), OpenError::NotDuet(_)));

    let newer = folder.path().join("newer.db");
    drop(open(&newer));
    let conn = rusqlite::Connection::open(&newer).unwrap();
    conn.pragma_update(None, "key", format!("x'{}'", "01".repeat(32))).unwrap();
    conn.execute_batch(duet_sqlite::CIPHER_SETTINGS).unwrap();
    conn.pragma_update(None, "user_version", 999).unwrap();
    drop(conn);
    assert!(matches!(refused(&newer, 1), OpenError::NewerSchema { found: 999, .. }));

    let stores = open(&path).stores();
    assert_eq!(stores.workspaces.memberships(caller.user).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_and_damaged_files_are_noticed() {
    let (folder, path, caller) = made().await;
    fill(&open(&path), &caller).await;
    let whole = fs::read(&path).unwrap();
    let copy = folder.path().join("copy.db");

    fs::write(&copy, &whole[..whole.len() - 100]).unwrap();
    assert!(matches!(refused(&copy, 1), OpenError::Truncated(_)));
    fs::write(&copy, &whole[..whole.len() / 2 / 8192 * 8192]).unwrap();
    assert!(matches!(refused(&copy, 1), OpenError::Damaged(_)), "cut at a page");

    // A flipped bit in any page is noticed: on opening, or when the pages are checked.
    for page in 0..whole.len() / 8192 {
        fs::write(&copy, &whole).unwrap();
        let mut file = fs::OpenOptions::new().read(true).write(true).open(&copy).unwrap();
        let place = (page * 8192 + 1000) as u64;
        let mut byte = [0];
        file.seek(SeekFrom::Start(place)).unwrap();
        file.read_exact(&mut byte).unwrap();
        file.seek(SeekFrom::Start(place)).unwrap();
        file.write_all(&[byte[0] ^ 1]).unwrap();
        drop(file);
        let noticed = match LocalStore::open(options(&copy, 1)) {
            Err(OpenError::Damaged(_) | OpenError::WrongKey(_)) => true,
            Err(other) => panic!("page {page}: {other:?}"),
            Ok(store) => match store.check_pages().await {
                Ok(wrong) => !wrong.is_empty(),
                Err(error) => error.to_string().contains("damaged"),
            },
        };
        assert!(noticed, "a flipped bit in page {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = refused(&file.join("duet.db"), 1);
    assert!(error.to_string().contains("duet.db"), "{error}");
    assert!(
        matches!(error, OpenError::NotWritable { .. } | OpenError::Other { .. }),
        "{error:?}"
    );
}

#[test]
fn this_build_encrypts_and_has_its_parts() {
    let found = LocalStore::check_parts().unwrap();
    assert!(found.cipher_version.starts_with('4'), "{found:?}");
    assert!(found.vector_version.starts_with('v'), "{found:?}");
}
