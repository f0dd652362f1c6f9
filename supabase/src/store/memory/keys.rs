use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use duet_core::{
    Caller, StoreError, StoreResult,
    crypto::{CryptoError, DataKey, DataKeys, MasterKey},
    ids::WorkspaceId,
};

use crate::{rpc::Call, store::contract::Contract};

/// The data keys of field encryption, unwrapped once and kept in memory. The database holds only wrapped keys.
pub struct FieldKeys {
    contract: Contract,
    master: Option<MasterKey>,
    unwrapped: Mutex<HashMap<WorkspaceId, DataKeys>>,
}

impl FieldKeys {
    /// Without a master key no memory can be sealed or opened.
    pub fn new(contract: Contract, master: Option<MasterKey>) -> Self {
        Self {
            contract,
            master,
            unwrapped: Mutex::default(),
        }
    }

    /// The keys of a workspace, as its member or as the server (`None`); creates the first one if there is none yet.
    pub async fn of(&self, caller: Option<&Caller>, workspace: WorkspaceId) -> StoreResult<DataKeys> {
        let Some(master) = &self.master else {
            return Err(StoreError::unavailable(
                "This Duet has no master key, which sensitive memories are sealed with. Give it one, then try again.",
            ));
        };
        if let Some(keys) = self.unwrapped.lock().unwrap_or_else(PoisonError::into_inner).get(&workspace) {
            return Ok(keys.clone());
        }
        let mut wrapped = self.read(caller, workspace).await?;
        if wrapped.is_empty() {
            let env = &self.contract.env;
            let first = master
                .wrap(env, workspace, &DataKey::generate(env, 1))
                .map_err(|error| StoreError::unavailable(error.to_string()))?;
            let call = Call::repeatable("first_workspace_key")
                .id("p_workspace", workspace)
                .arg("p_wrapped", first);
            wrapped = self.contract.as_driver(call).await?;
        }
        let keys: Result<Vec<DataKey>, CryptoError> = wrapped
            .iter()
            .map(|wrapped| {
                let wrapped = hex::decode(wrapped).map_err(|_| CryptoError::Malformed)?;
                master.unwrap(workspace, &wrapped)
            })
            .collect();
        let keys = DataKeys::new(keys.map_err(|error| StoreError::unavailable(error.to_string()))?);
        self.unwrapped
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(workspace, keys.clone());
        Ok(keys)
    }

    async fn read(&self, caller: Option<&Caller>, workspace: WorkspaceId) -> StoreResult<Vec<String>> {
        let call = Call::repeatable("workspace_keys").id("p_workspace", workspace);
        match caller {
            Some(caller) => self.contract.as_caller(caller, call).await,
            None => self.contract.as_driver(call).await,
        }
    }
}
