//! Notices and redactions when an older copy of the file comes back, and when several happen at once.

use std::path::{Path, PathBuf};

use duet_core::{
    contract::{
        Harness, TestEnv, World,
        memories::fact,
        notices::{open, recalled, redact, remember, speaks},
    },
    domain::NoticeAction,
    ids::UserId,
    ports::Stores,
};
use futures::future::join_all;

use super::*;
use crate::{LocalStore, OpenOptions, key::FileKey, rows::blob};

struct OnFile {
    path: PathBuf,
    time: TestEnv,
    store: LocalStore,
}

fn options(path: &Path, time: &TestEnv) -> OpenOptions {
    OpenOptions {
        path: path.to_owned(),
        key: FileKey::new([7; 32]),
        env: time.env(),
        vector_cache_bytes: 0,
    }
}

impl OnFile {
    fn new(folder: &tempfile::TempDir) -> Self {
        let (path, time) = (folder.path().join("duet.db"), TestEnv::new(1));
        let store = LocalStore::open(options(&path, &time)).unwrap();
        Self { path, time, store }
    }

    /// Closes the file with everything that keeps it open, lets `meanwhile` change it, and opens it again.
    fn reopened(self, world: World, meanwhile: impl FnOnce(&Path)) -> (Self, World) {
        let Self { path, time, store } = self;
        let World {
            stores,
            env,
            owner,
            member,
            stranger,
            workspace,
            ..
        } = world;
        drop((stores, store));
        meanwhile(&path);
        LocalStore::accept_loss(&options(&path, &time)).unwrap();
        let store = LocalStore::open(options(&path, &time)).unwrap();
        let world = World {
            sign_ins: std::collections::BTreeMap::new(),
            stores: store.stores(),
            env,
            time: time.clone(),
            owner,
            member,
            stranger,
            workspace,
        };
        (Self { path, time, store }, world)
    }
}

#[async_trait]
impl Harness for OnFile {
    fn stores(&self) -> Stores {
        self.store.stores()
    }

    fn env(&self) -> TestEnv {
        self.time.clone()
    }

    async fn account(&self, email: &str) -> UserId {
        let (id, email): (UserId, _) = (self.time.env().id(), email.to_owned());
        let job = move |conn: &rusqlite::Connection| {
            conn.execute(
                "INSERT INTO user (id, email, display_name, created_at) VALUES (?1, ?2, ?2, 0)",
                params![blob(id), email],
            )?;
            Ok(())
        };
        self.store.db.write(job).await.unwrap();
        id
    }
}

/// What a person blanked stays blank, and whoever was told is told again, whichever older copy comes back.
#[tokio::test(flavor = "multi_thread")]
async fn notices_hold_for_older_copies() {
    let folder = tempfile::tempdir().unwrap();
    let file = OnFile::new(&folder);
    let copy = |name: &str| {
        let to = folder.path().join(name);
        move |path: &Path| {
            std::fs::copy(path, to).unwrap();
        }
    };
    let restore = |name: &str| {
        let from = folder.path().join(name);
        move |path: &Path| {
            std::fs::copy(from, path).unwrap();
        }
    };
    let world = World::new(&file).await;
    let memory = remember(&world, &world.member, "The canary is called Kiwi").await;
    let turn = recalled(&world, &world.owner, &memory, true).await;
    let (file, world) = file.reopened(world, copy("before.db"));
    redact(&world, &world.member, &memory).await;
    let told = open(&world, &world.owner).await;
    assert_eq!((told.len(), told[0].replies.len()), (1, 1));

    // Before anybody has decided, the copy from before the redaction comes back.
    let (file, world) = file.reopened(world, copy("told.db"));
    let (file, world) = file.reopened(world, restore("before.db"));
    assert_eq!(open(&world, &world.owner).await, told, "told again, of the same");
    assert!(open(&world, &world.member).await.is_empty());
    assert_eq!(speaks(&world, &world.owner, &turn).await, (true, true));

    let blanked = world
        .stores
        .notices
        .settle(&world.owner, told[0].id, NoticeAction::Blank)
        .await
        .unwrap();
    assert_eq!(speaks(&world, &world.owner, &turn).await, (false, false));
    let (mut file, mut world) = (file, world);
    for copy in ["told.db", "before.db"] {
        (file, world) = file.reopened(world, restore(copy));
        assert_eq!(speaks(&world, &world.owner, &turn).await, (false, false), "{copy}");
        assert!(open(&world, &world.owner).await.is_empty(), "{copy}");
        let again = world
            .stores
            .notices
            .settle(&world.owner, told[0].id, NoticeAction::Dismiss)
            .await
            .unwrap();
        assert_eq!(
            (again.settled, again.settled_at),
            (blanked.settled, blanked.settled_at),
            "{copy}"
        );
    }

    // If a crash kept it out of the list beside the file, the file has it, and writes it there.
    let lines = |path: &Path| std::fs::read_to_string(tombstones::sidecar(path)).unwrap().lines().count();
    assert_eq!(lines(&file.path), 3);
    let (file, _) = file.reopened(world, |path| std::fs::remove_file(tombstones::sidecar(path)).unwrap());
    assert_eq!(lines(&file.path), 3);
}

/// Concurrent redactions are all recorded beside the data file, each line with the sum over the one before.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redactions_at_once_are_all_written_down() {
    const MANY: usize = 24;
    let folder = tempfile::tempdir().unwrap();
    let file = OnFile::new(&folder);
    let world = World::new(&file).await;
    let mut memories = Vec::new();
    for number in 0..MANY {
        let memory = fact(&world.env, &format!("Fact {number}"));
        memories.push(world.stores.memories.remember(&world.owner, memory, None).await.unwrap().id);
    }
    let together = Arc::new(tokio::sync::Barrier::new(MANY));
    let redactions = memories.iter().map(|memory| {
        let (stores, owner, memory) = (world.stores.clone(), world.owner.clone(), *memory);
        let (redaction, together) = (world.env.id(), Arc::clone(&together));
        tokio::spawn(async move {
            together.wait().await;
            stores.memories.redact(&owner, memory, redaction).await
        })
    });
    for redacted in join_all(redactions.collect::<Vec<_>>()).await {
        redacted.unwrap().unwrap();
    }
    let written = tombstones::read(&file.store.connector).unwrap();
    let mut found: Vec<MemoryId> = written.iter().filter_map(Entry::redacted).map(|one| one.memory_id).collect();
    found.sort();
    memories.sort();
    assert_eq!(found, memories);
}
