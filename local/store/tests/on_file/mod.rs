//! A separate file for each test, peopled as the contract suites want it.

use async_trait::async_trait;
use duet_core::{
    contract::{Harness, TestEnv},
    ids::{Id, UserId},
    ports::Stores,
};
use duet_sqlite::{LocalStore, OpenOptions, key::FileKey};

const KEY: [u8; 32] = [11; 32];

/// A separate file in a separate folder.
pub struct OnFile {
    pub store: LocalStore,
    pub time: TestEnv,
    folder: tempfile::TempDir,
}

pub async fn fresh() -> OnFile {
    // The simulator makes tens of thousands of commits; in a memory-backed folder they need not wait for a disk.
    let memory = std::path::Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    }
    .unwrap();
    let time = TestEnv::new(1);
    let store = LocalStore::open(OpenOptions {
        path: folder.path().join("duet.db"),
        key: FileKey::new(KEY),
        env: time.env(),
        vector_cache_bytes: 64 << 20,
    })
    .unwrap();
    OnFile { store, time, folder }
}

impl OnFile {
    /// A connection that bypasses the stores and their rules.
    pub fn past_the_stores(&self) -> rusqlite::Connection {
        let conn = rusqlite::Connection::open(self.folder.path().join("duet.db")).unwrap();
        conn.pragma_update(None, "key", format!("x'{}'", hex::encode(KEY))).unwrap();
        conn.execute_batch(duet_sqlite::CIPHER_SETTINGS).unwrap();
        conn.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
        conn
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

    /// Bypasses the stores: nobody makes an account without an invitation.
    async fn account(&self, email: &str) -> UserId {
        let id: UserId = self.time.env().id();
        let conn = self.past_the_stores();
        conn.execute(
            "INSERT INTO user (id, email, display_name, created_at) VALUES (?1, ?2, ?2, 0)",
            rusqlite::params![id.uuid().into_bytes(), email],
        )
        .unwrap();
        id
    }
}
