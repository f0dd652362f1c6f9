use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use duet_core::{
    StoreError, StoreResult,
    crypto::{CryptoError, DataKey, DataKeys, MasterKey, derive_key},
    ids::WorkspaceId,
};
use rusqlite::params;

use crate::{db::Db, key::FileKey, rows::blob};

/// The data keys of field encryption, unwrapped once and kept in memory.
pub struct FieldKeys {
    db: Db,
    master: MasterKey,
    unwrapped: Mutex<HashMap<WorkspaceId, DataKeys>>,
}

impl FieldKeys {
    /// The master key is derived from the file's key, which is not in the file.
    pub fn new(db: Db, key: &FileKey) -> Self {
        Self {
            db,
            master: MasterKey::new(*derive_key(key.bytes(), "field encryption")),
            unwrapped: Mutex::default(),
        }
    }

    /// The keys of a workspace, created if there are none yet.
    pub async fn of(&self, workspace: WorkspaceId) -> StoreResult<DataKeys> {
        if let Some(keys) = self.unwrapped.lock().unwrap_or_else(PoisonError::into_inner).get(&workspace) {
            return Ok(keys.clone());
        }
        let mut wrapped = self.read(workspace).await?;
        if wrapped.is_empty() {
            let env = self.db.env();
            let first = self
                .master
                .wrap(env, workspace, &DataKey::generate(env, 1))
                .map_err(|error| StoreError::unavailable(error.to_string()))?;
            let now = env.now();
            self.db
                .write(move |conn| {
                    // If two come at once, the first one's key counts.
                    conn.execute(
                        "INSERT OR IGNORE INTO workspace_key (workspace_id, version, wrapped, created_at) VALUES (?1, 1, ?2, ?3)",
                        params![blob(workspace), first, now.millis()],
                    )?;
                    Ok(())
                })
                .await?;
            wrapped = self.read(workspace).await?;
        }
        let keys: Result<Vec<DataKey>, CryptoError> =
            wrapped.iter().map(|wrapped| self.master.unwrap(workspace, wrapped)).collect();
        let keys = DataKeys::new(keys.map_err(|error| StoreError::unavailable(error.to_string()))?);
        self.unwrapped
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(workspace, keys.clone());
        Ok(keys)
    }

    async fn read(&self, workspace: WorkspaceId) -> StoreResult<Vec<Vec<u8>>> {
        self.db
            .read(move |conn| {
                let mut statement = conn.prepare_cached("SELECT wrapped FROM workspace_key WHERE workspace_id = ?1")?;
                let keys = statement.query_map([blob(workspace)], |row| row.get(0))?;
                Ok(keys.collect::<Result<_, _>>()?)
            })
            .await
    }
}
