//! Somebody who has the key edits the file: the logs refuse it, and `verify` finds what is forced.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::path::{Path, PathBuf};

use duet_core::{
    Caller,
    contract::{TestEnv, Writes},
    domain::{EventKind, LeasePolicy, NewTurn, OwnerSetup, Role, RunEvent, RunStatus, Settlement},
    ports::ChainCheck,
};
use duet_sqlite::{LocalStore, OpenOptions, key::FileKey};
use rusqlite::Connection;

const KEY: [u8; 32] = [9; 32];

fn open(path: &Path) -> LocalStore {
    LocalStore::open(OpenOptions {
        path: path.to_owned(),
        key: FileKey::new(KEY),
        env: TestEnv::new(2).env(),
        vector_cache_bytes: 0,
    })
    .unwrap()
}

/// A closed file with six audit rows and one run of five events.
async fn made(folder: &Path) -> (PathBuf, Caller) {
    let path = folder.join("duet.db");
    let store = open(&path);
    let (stores, env) = (store.stores(), TestEnv::new(3).env());
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
    let caller = Caller::person(user.id, workspace.id, Role::Owner);
    for name in ["One", "Two", "Three", "Four"] {
        stores.workspaces.rename(&caller, name).await.unwrap();
    }
    let conversation = stores.conversations.create(&caller, env.id(), None, None).await.unwrap();
    let turn = NewTurn::new(&env, conversation.id, "Hello");
    stores.runs.start_turn(&caller, turn).await.unwrap();
    let claim = stores
        .system
        .claim_run(LeasePolicy::default(), EventKind::ALL)
        .await
        .unwrap()
        .unwrap();
    let deltas = ["a", "b", "c", "d"].map(|text| RunEvent::Delta {
        step: 1,
        text: text.into(),
    });
    let events = deltas.into_iter().map(Into::into).collect();
    stores
        .run_log
        .append(claim.run.id, claim.lease, 1, env.id(), events)
        .await
        .unwrap();
    let settlement = Settlement {
        status: RunStatus::Done,
        reason: None,
        reply: None,
    };
    stores
        .run_log
        .settle(claim.run.id, claim.lease, 5, env.id(), Vec::new(), settlement)
        .await
        .unwrap();
    (path, caller)
}

fn raw(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.pragma_update(None, "key", format!("x'{}'", hex::encode(KEY))).unwrap();
    conn.execute_batch(duet_sqlite::CIPHER_SETTINGS).unwrap();
    conn
}

async fn verify(path: &Path, caller: &Caller) -> ChainCheck {
    open(path).stores().audit.verify(caller).await.unwrap()
}

const AUDIT_TRIGGERS: &str = "DROP TRIGGER audit_entry_fixed; DROP TRIGGER audit_entry_kept;";
const EVENT_TRIGGERS: &str = "DROP TRIGGER run_event_fixed; DROP TRIGGER run_event_kept;
    DROP TRIGGER run_event_payload_fixed; DROP TRIGGER run_event_payload_kept;";

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_refuses_to_change_what_was_logged() {
    let folder = tempfile::tempdir().unwrap();
    let (path, caller) = made(folder.path()).await;
    assert_eq!(verify(&path, &caller).await, ChainCheck::Intact(6 + 5));
    let conn = raw(&path);
    for sql in [
        "UPDATE audit_entry SET action = 'x'",
        "DELETE FROM audit_entry",
        "UPDATE run_event SET at = 0",
        "DELETE FROM run_event",
        "UPDATE run_event_payload SET payload = '{}'",
        "DELETE FROM run_event_payload",
    ] {
        let error = conn.execute_batch(sql).expect_err(sql).to_string();
        assert!(
            error.contains("append-only") || error.contains("only be redacted"),
            "{sql}: {error}"
        );
    }
    drop(conn);
    assert_eq!(verify(&path, &caller).await, ChainCheck::Intact(6 + 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn forced_changes_of_the_audit_log_are_found_where_they_are() {
    for (sql, expected) in [
        ("UPDATE audit_entry SET details = '{\"x\":1}' WHERE seq = 3", 3),
        ("UPDATE audit_entry SET actor = zeroblob(16) WHERE seq = 2", 2),
        ("UPDATE audit_entry SET outcome = 'refused' WHERE seq = 4", 4),
        ("UPDATE audit_entry SET outcome = 'nonsense' WHERE seq = 4", 4),
        ("UPDATE audit_entry SET at = at + 1 WHERE seq = 1", 1),
        ("DELETE FROM audit_entry WHERE seq = 3", 3),
        ("DELETE FROM audit_entry WHERE seq = 6", 6),
        ("DELETE FROM audit_entry WHERE seq > 2", 3),
        ("DELETE FROM audit_entry", 1),
        ("DELETE FROM audit_entry; DELETE FROM audit_head", 1),
        (
            "UPDATE audit_entry SET seq = 99 WHERE seq = 3; UPDATE audit_entry SET seq = 3 WHERE seq = 4;
             UPDATE audit_entry SET seq = 4 WHERE seq = 99",
            3,
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (path, caller) = made(folder.path()).await;
        raw(&path).execute_batch(&format!("{AUDIT_TRIGGERS} {sql}")).unwrap();
        let expected = ChainCheck::Broken {
            chain: "audit".into(),
            seq: expected,
        };
        assert_eq!(verify(&path, &caller).await, expected, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forced_changes_of_an_event_log_are_found_where_they_are() {
    for (sql, expected) in [
        (
            "UPDATE run_event_payload SET payload = replace(payload, 'b', 'z') WHERE seq = 3",
            3,
        ),
        ("DELETE FROM run_event_payload WHERE seq = 3", 3),
        ("UPDATE run_event SET kind = 'done' WHERE seq = 2", 2),
        ("UPDATE run_event SET at = at + 1 WHERE seq = 4", 4),
        (
            "DELETE FROM run_event_payload WHERE seq = 3; DELETE FROM run_event WHERE seq = 3",
            3,
        ),
        (
            "DELETE FROM run_event_payload WHERE seq = 5; DELETE FROM run_event WHERE seq = 5",
            5,
        ),
        ("DELETE FROM run_event_payload; DELETE FROM run_event", 1),
        ("DELETE FROM run_event_payload; DELETE FROM run_event; DELETE FROM run", 1),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (path, caller) = made(folder.path()).await;
        raw(&path).execute_batch(&format!("{EVENT_TRIGGERS} {sql}")).unwrap();
        match verify(&path, &caller).await {
            ChainCheck::Broken { chain, seq } => {
                assert!(chain.starts_with("run "), "{sql}: {chain}");
                assert_eq!(seq, expected, "{sql}");
            }
            intact @ ChainCheck::Intact(_) => panic!("{sql}: {intact:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redacted_payload_leaves_the_chain_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (path, caller) = made(folder.path()).await;
    raw(&path)
        .execute_batch("UPDATE run_event_payload SET payload = NULL, salt = NULL, redacted_at = 1 WHERE seq IN (2, 5)")
        .unwrap();
    assert_eq!(verify(&path, &caller).await, ChainCheck::Intact(6 + 5));
}
