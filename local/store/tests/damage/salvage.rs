//! What is left of a damaged file, copied into a new one that works.

use std::fs;

use duet_core::{
    contract::{TestEnv, memories::fact},
    domain::PageRequest,
    ports::ChainCheck,
};
use duet_sqlite::{LocalStore, OpenError};

use crate::{PAGE, beside, closed_with, flip, killed, open, options, readable, refused};

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_read_is_salvaged() {
    let (_folder, path, caller, ids) = closed_with(200).await;
    let pages = fs::read(&path).unwrap().len() / PAGE;
    let mut partly = 0;
    for page in (1..pages).step_by(4) {
        let (_copy, copy) = killed(&path);
        flip(&copy, page);
        let into = beside(&copy, ".saved");
        let Ok(salvaged) = LocalStore::salvage(&options(&copy), &into) else {
            continue;
        };
        let store = open(&into);
        assert_eq!(store.check_pages().await.unwrap(), Vec::<String>::new());
        let found = readable(&store, &caller, &ids).await;
        if found < ids.len() {
            assert!(!salvaged.is_whole(), "page {page}: {found} and no gap is told");
        }
        partly += usize::from(found > ids.len() / 2 && !salvaged.is_whole());
    }
    assert!(partly >= 3, "{partly}");

    // An intact file is copied whole, and an existing file is not overwritten.
    let into = beside(&path, ".saved");
    let salvaged = LocalStore::salvage(&options(&path), &into).unwrap();
    assert!(salvaged.is_whole(), "{salvaged:?}");
    let store = open(&into);
    assert_eq!(readable(&store, &caller, &ids).await, ids.len());
    let audited = store.stores().audit.entries(&caller, PageRequest::first(1)).await.unwrap();
    assert_eq!(audited.items[0].action, "file.salvaged");
    assert!(matches!(
        store.stores().audit.verify(&caller).await.unwrap(),
        ChainCheck::Intact(_)
    ));
    drop(store);
    LocalStore::salvage(&options(&path), &into).unwrap_err();

    // A truncated file gives what it has.
    let cut = path.with_file_name("cut.db");
    let bytes = fs::read(&path).unwrap();
    fs::write(&cut, &bytes[..bytes.len() - 4 * PAGE]).unwrap();
    assert!(matches!(refused(&cut), OpenError::Damaged(_)));
    let into = beside(&cut, ".saved");
    let salvaged = LocalStore::salvage(&options(&cut), &into).unwrap();
    assert!(!salvaged.is_whole());
    assert!(readable(&open(&into), &caller, &ids).await > 0, "{salvaged:?}");
}

/// Whichever page is lost: the result takes new memories, or says that nobody can sign in to it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_salvaged_works_or_is_said_not_to() {
    let (_folder, path, caller, ids) = closed_with(14).await;
    let pages = fs::read(&path).unwrap().len() / PAGE;
    let (mut works, mut unowned, mut unlisted, mut dropped) = (0, 0, 0, 0);
    for page in 1..pages {
        let (_copy, copy) = killed(&path);
        flip(&copy, page);
        let into = beside(&copy, ".saved");
        let salvaged = match LocalStore::salvage(&options(&copy), &into) {
            Ok(salvaged) => serde_json::to_value(&salvaged).unwrap(),
            Err(error) => {
                assert!(error.to_string().contains("table of contents"), "page {page}: {error}");
                assert!(!into.exists(), "page {page}");
                unlisted += 1;
                continue;
            }
        };
        if salvaged["owned"] == false {
            unowned += 1;
            continue;
        }
        assert_eq!(salvaged["dangling"], 0, "page {page}: {salvaged}");
        dropped += usize::from(salvaged["dropped"] != serde_json::json!([]));
        let store = open(&into);
        let found = readable(&store, &caller, &ids).await;
        let memories = store.stores().memories;
        let env = TestEnv::new(9).env();
        for text in ["One more", "And another"] {
            let stored = memories.remember(&caller, fact(&env, text), None).await;
            assert!(stored.is_ok(), "page {page}: {stored:?} after {found} were found; {salvaged}");
        }
        works += 1;
    }
    assert!(
        works > pages / 2 && unowned > 0 && unlisted > 0 && dropped > 0,
        "{works} work, {unowned} unowned, {unlisted} unlisted, {dropped} dropped, of {pages}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_salvage_that_ends_early_leaves_no_file_of_that_name() {
    let (_folder, path, caller, ids) = closed_with(3).await;
    let into = beside(&path, ".saved");
    let list = beside(&path, ".tombstones");
    fs::create_dir(&list).unwrap();
    LocalStore::salvage(&options(&path), &into).unwrap_err();
    assert!(!into.exists());
    fs::remove_dir(&list).unwrap();
    // What a killed salvage left is replaced.
    fs::write(beside(&into, ".draft"), [7; 3 * PAGE]).unwrap();
    fs::write(beside(&into, ".draft-wal"), [7; 3 * PAGE]).unwrap();
    LocalStore::salvage(&options(&path), &into).unwrap();
    for suffix in [".draft", ".draft-wal", ".draft-shm", ".draft.lock"] {
        assert!(!beside(&into, suffix).exists(), "{suffix}");
    }
    assert_eq!(readable(&open(&into), &caller, &ids).await, 3);
}
