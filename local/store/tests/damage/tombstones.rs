//! The list of redactions beside the file, cut off or damaged.

use std::fs;

use duet_core::{contract::TestEnv, ids::MemoryId};

use crate::{beside, closed_with, open, readable, refused};

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstones_file_with_a_flipped_bit_is_named() {
    let (_folder, path, caller, ids) = closed_with(3).await;
    let env = TestEnv::new(11).env();
    let store = open(&path);
    for id in &ids[..2] {
        store.stores().memories.redact(&caller, *id, env.id()).await.unwrap();
    }
    drop(store);
    let sidecar = beside(&path, ".tombstones");
    let mut bytes = fs::read(&sidecar).unwrap();
    let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    bytes[second + 60] ^= 1;
    fs::write(&sidecar, &bytes).unwrap();
    let error = refused(&path).to_string();
    assert!(error.contains(".tombstones") && error.contains("line 2"), "{error}");
    // The remedy that the message names.
    fs::remove_file(&sidecar).unwrap();
    drop(open(&path));
    assert_eq!(fs::read_to_string(&sidecar).unwrap().lines().count(), 3);
}

/// However its end is damaged, an older copy of the file does not bring text back in silence.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_redactions_that_lost_its_end_is_refused() {
    let (folder, path, caller, ids) = closed_with(5).await;
    let older = fs::read(&path).unwrap();
    let env = TestEnv::new(11).env();
    let redacted: Vec<MemoryId> = ids[..3].to_vec();
    let store = open(&path);
    for id in &redacted {
        store.stores().memories.redact(&caller, *id, env.id()).await.unwrap();
    }
    drop(store);
    let whole = fs::read(beside(&path, ".tombstones")).unwrap();
    let (end, last) = (
        whole.len(),
        whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1,
    );
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        bytes
    };
    let damaged = [
        ("last line removed", whole[..last].to_vec()),
        ("40 bytes cut", whole[..end - 40].to_vec()),
        ("400 bytes cut", whole[..end - 400].to_vec()),
        ("tail zeroed", with(&|bytes| bytes[end - 400..].fill(0))),
        ("zeroed", vec![0; end]),
        ("line end flipped", with(&|bytes| bytes[end - 1] ^= 1)),
        ("line end cut", whole[..end - 1].to_vec()),
        ("emptied", Vec::new()),
    ];
    for (what, bytes) in damaged {
        for file in [&older, &fs::read(&path).unwrap()] {
            let copy = folder.path().join("copy");
            fs::create_dir(&copy).unwrap();
            let copy_path = copy.join("duet.db");
            fs::write(&copy_path, file).unwrap();
            fs::write(beside(&copy_path, ".tombstones"), &bytes).unwrap();
            let error = refused(&copy_path).to_string();
            assert!(error.contains(".tombstones") && error.contains("Put back"), "{what}: {error}");
            assert!(!error.contains(".."), "{what}: {error}");
            fs::remove_dir_all(&copy).unwrap();
        }
    }
    let copy = folder.path().join("copy.db");
    fs::write(&copy, &older).unwrap();
    fs::write(beside(&copy, ".tombstones"), &whole).unwrap();
    let store = open(&copy);
    let memories = store.stores().memories.memories(&caller, &ids).await.unwrap();
    let kept = memories.iter().filter(|memory| !memory.text.is_empty()).count();
    assert_eq!((readable(&store, &caller, &ids).await, kept), (5, 2));
}
