use async_trait::async_trait;

use crate::{
    caller::Caller,
    domain::{ApiKey, NewApiKey},
    error::StoreResult,
    ids::ApiKeyId,
};

/// A person's own API keys; looked up at sign-in by [`super::SystemStore::api_key`].
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Stores a key (a person only). `Denied` for the scope `admin` when the person is not an owner.
    async fn create(&self, caller: &Caller, key: NewApiKey) -> StoreResult<ApiKey>;

    /// The caller's keys, newest first, including revoked ones.
    async fn list(&self, caller: &Caller) -> StoreResult<Vec<ApiKey>>;

    /// Revokes one of the caller's keys, at once and for good; repeating it changes nothing.
    async fn revoke(&self, caller: &Caller, id: ApiKeyId) -> StoreResult<ApiKey>;
}
