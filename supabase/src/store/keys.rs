//! API keys.

use async_trait::async_trait;
use duet_core::{
    Caller, StoreResult,
    domain::{ApiKey, KeyScope, NewApiKey, check_name},
    ids::ApiKeyId,
    ports::KeyStore,
    refusal::{Named, Refusal},
};

use super::contract::Contract;
use crate::rpc::Call;

/// The API keys in the database.
pub struct Keys(pub(super) Contract);

#[async_trait]
impl KeyStore for Keys {
    async fn create(&self, caller: &Caller, new: NewApiKey) -> StoreResult<ApiKey> {
        caller.require_person("make an API key")?;
        check_name(&new.name, Named::Key)?;
        if new.scopes.is_empty() {
            return Err(Refusal::NoScopes.into());
        }
        const ADMIN: &str = "make a key with the scope `admin`";
        if new.scopes.contains(&KeyScope::Admin) {
            caller.require_owner(ADMIN)?;
        }
        let scopes: Vec<String> = new.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
        let call = Call::repeatable("key_create")
            .of("the workspace")
            .to(ADMIN)
            .id("p_workspace", caller.workspace)
            .id("p_id", new.id)
            .arg("p_name", new.name)
            .arg("p_prefix", new.prefix)
            .arg("p_secret_hash", new.secret_hash)
            .arg("p_scopes", scopes)
            .arg("p_expires_at", new.expires_at);
        self.0.as_caller(caller, call).await
    }

    async fn list(&self, caller: &Caller) -> StoreResult<Vec<ApiKey>> {
        caller.require_person("see API keys")?;
        let call = Call::repeatable("key_list").id("p_workspace", caller.workspace);
        self.0.as_caller(caller, call).await
    }

    async fn revoke(&self, caller: &Caller, id: ApiKeyId) -> StoreResult<ApiKey> {
        const ACTION: &str = "revoke an API key";
        caller.require_person(ACTION)?;
        let call = Call::repeatable("key_revoke")
            .of("the key")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .id("p_id", id);
        self.0.as_caller(caller, call).await
    }
}
