//! A file, its log and its mark that do not belong together: restored one by one, or moved while Duet runs.

use std::{fs, path::Path};

use duet_core::contract::{TestEnv, memories::fact};
use duet_sqlite::{LocalStore, OpenError};

use crate::{beside, closed_with, entries, killed, open, options, readable, refused, remember, set_up};

fn put(from: &Path, to: &Path) {
    fs::write(to, fs::read(from).unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_not_put_into_an_older_copy() {
    let (folder, path, caller, _) = closed_with(3).await;
    let older = folder.path().join("older.db");
    put(&path, &older);
    let store = open(&path);
    let ids = remember(&store, &caller, 40).await;
    let (_copy, copy) = killed(&path);
    let newer = folder.path().join("newer.db");
    put(&copy, &newer);
    put(&older, &copy);
    let (file, log) = (fs::read(&copy).unwrap(), fs::read(beside(&copy, "-wal")).unwrap());
    for _ in 0..2 {
        let error = refused(&copy).to_string();
        assert!(
            error.contains("belongs to another") && error.contains("duet.db-wal"),
            "{error}"
        );
        assert!(error.contains("Nothing was changed") && error.contains("move"), "{error}");
        let refused = LocalStore::accept_loss(&options(&copy)).unwrap_err().to_string();
        assert!(refused.contains("belongs to another"), "{refused}");
        assert!(fs::read(&copy).unwrap() == file && fs::read(beside(&copy, "-wal")).unwrap() == log);
    }
    // Either way out.
    let (_other, other) = killed(&copy);
    fs::remove_file(beside(&other, "-wal")).unwrap();
    assert!(matches!(refused(&other), OpenError::Lost { .. }));
    LocalStore::accept_loss(&options(&other)).unwrap().expect("a loss");
    assert_eq!(readable(&open(&other), &caller, &ids).await, 0);
    put(&newer, &copy);
    assert_eq!(readable(&open(&copy), &caller, &ids).await, ids.len());
}

/// Whenever the copy was made: with a later log it is whole, or refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_under_a_later_log_is_whole_or_refused() {
    let (_folder, path, caller, ids) = closed_with(3).await;
    let env = TestEnv::new(21).env();
    let store = open(&path);
    let copies = tempfile::tempdir().unwrap();
    let (mut made, mut whole, mut refusals) = (Vec::new(), 0, 0);
    for round in 0..24 {
        let copy = copies.path().join(format!("{round}.db"));
        put(&path, &copy);
        made.push(copy);
        remember(&store, &caller, 3).await;
        // Empties the log.
        if round == 9 {
            store.stores().memories.redact(&caller, ids[0], env.id()).await.unwrap();
        }
        if round % 6 != 5 {
            continue;
        }
        let written = entries(&store, &caller).await;
        for older in &made {
            let (_copy, copy) = killed(&path);
            put(older, &copy);
            match LocalStore::open(options(&copy)) {
                Ok(store) => {
                    assert_eq!(entries(&store, &caller).await, written, "{older:?} in round {round}");
                    assert_eq!(
                        store.check_pages().await.unwrap(),
                        Vec::<String>::new(),
                        "{older:?} in round {round}"
                    );
                    whole += 1;
                }
                Err(error) => {
                    let said = error.to_string();
                    assert!(said.contains("belongs to another"), "{older:?} in round {round}: {said}");
                    refusals += 1;
                }
            }
        }
    }
    assert!(whole > 0 && refusals > 0, "{whole} whole, {refusals} refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_another_file_is_not_put_into_this_one() {
    let (_folder, path, caller, ids) = closed_with(10).await;
    let other = tempfile::tempdir().unwrap();
    let other = other.path().join("duet.db");
    let store = open(&other);
    let stranger = set_up(&store).await;
    remember(&store, &stranger, 5).await;
    put(&beside(&other, "-wal"), &beside(&path, "-wal"));
    let file = fs::read(&path).unwrap();
    let error = refused(&path).to_string();
    assert!(error.contains("belongs to another"), "{error}");
    assert!(fs::read(&path).unwrap() == file);
    fs::remove_file(beside(&path, "-wal")).unwrap();
    assert_eq!(readable(&open(&path), &caller, &ids).await, ids.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_new_file_is_made_where_one_was() {
    for left in [".mark", ".tombstones"] {
        let (folder, path, caller, ids) = closed_with(2).await;
        let env = TestEnv::new(11).env();
        open(&path).stores().memories.redact(&caller, ids[0], env.id()).await.unwrap();
        let away = folder.path().join("away.db");
        fs::rename(&path, &away).unwrap();
        for suffix in [".mark", ".tombstones"] {
            if suffix != left {
                fs::rename(beside(&path, suffix), beside(&away, suffix)).unwrap();
            }
        }
        let error = refused(&path).to_string();
        assert!(error.contains(left) && error.contains("Put the file back"), "{error}");
        assert!(!path.exists());
        fs::rename(beside(&path, left), beside(&away, left)).unwrap();
        drop(open(&path));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_moved_or_replaced_meanwhile_takes_no_more() {
    for replaced in [false, true] {
        let (folder, path, caller, _) = closed_with(3).await;
        let (copy, away) = (folder.path().join("copy.db"), folder.path().join("away.db"));
        put(&path, &copy);
        let store = open(&path);
        let ids = remember(&store, &caller, 5).await;
        let written = entries(&store, &caller).await;
        fs::rename(&path, &away).unwrap();
        if replaced {
            fs::rename(&copy, &path).unwrap();
        }
        let there = fs::read(&path).ok();
        let env = TestEnv::new(9).env();
        let stores = store.stores();
        let refused = stores.memories.remember(&caller, fact(&env, "Lost"), None).await.unwrap_err();
        assert!(refused.to_string().contains("moved away or replaced"), "{refused}");
        stores.system.prove_writable().await.unwrap_err();
        drop((stores, store));
        assert!(fs::metadata(beside(&path, "-wal")).unwrap().len() > 0, "the log stays");
        assert!(fs::read(&path).ok() == there, "what stands there now is left alone");

        fs::rename(&away, &path).unwrap();
        let store = open(&path);
        assert_eq!(entries(&store, &caller).await, written);
        assert_eq!(readable(&store, &caller, &ids).await, ids.len());
    }
}

/// What its mark does not know of came with a log, which is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_use_that_is_ahead_of_its_mark_lacks_its_log() {
    let (_folder, path, caller, ids) = closed_with(3).await;
    let env = TestEnv::new(21).env();
    let store = open(&path);
    remember(&store, &caller, 2).await;
    let mark = fs::read(beside(&path, ".mark")).unwrap();
    remember(&store, &caller, 2).await;
    // Empties the log.
    store.stores().memories.redact(&caller, ids[0], env.id()).await.unwrap();
    let (_copy, copy) = killed(&path);
    assert_eq!(fs::metadata(beside(&copy, "-wal")).unwrap().len(), 0);
    let (_whole, whole) = killed(&path);
    drop(open(&whole));
    fs::write(beside(&copy, ".mark"), mark).unwrap();
    let error = refused(&copy).to_string();
    assert!(error.contains("the log with the newest changes is gone"), "{error}");
    LocalStore::accept_loss(&options(&copy)).unwrap().expect("a loss");
    drop(open(&copy));
}
