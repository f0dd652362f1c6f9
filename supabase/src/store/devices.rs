//! Devices that are signed in by a code.

use async_trait::async_trait;
use duet_core::{
    StoreResult,
    domain::{DeviceDecision, DeviceLogin, DeviceSession, NewDeviceLogin, Session, User},
    ports::DeviceStore,
};

use super::{
    accounts::SignedIn,
    contract::{self, Contract},
};
use crate::rpc::Call;

/// The devices in the database.
pub struct Devices(pub(super) Contract);

const WHAT: &str = "the code";

#[async_trait]
impl DeviceStore for Devices {
    async fn create(&self, new: NewDeviceLogin) -> StoreResult<DeviceLogin> {
        new.check()?;
        let call = Call::new("device_create")
            .arg("p_device_hash", new.device_hash)
            .arg("p_user_hash", new.user_hash)
            .arg("p_client", new.client)
            .arg("p_address", new.address);
        self.0.as_driver(call).await
    }

    async fn look_up(&self, user_hash: [u8; 32]) -> StoreResult<DeviceLogin> {
        let call = Call::repeatable("device").of(WHAT).arg("p_user_hash", user_hash);
        self.0.as_driver(call).await
    }

    async fn decide(&self, decision: DeviceDecision) -> StoreResult<DeviceLogin> {
        let call = Call::repeatable("device_decide")
            .of(WHAT)
            .to("answer a device")
            .id("p_user", decision.user)
            .id("p_session", decision.session)
            .arg("p_user_hash", decision.user_hash)
            .arg("p_approve", decision.approve);
        self.0.as_driver(call).await
    }

    async fn redeem(&self, device_hash: [u8; 32], session: DeviceSession) -> StoreResult<(Session, User)> {
        let call = Call::new("device_redeem")
            .to("sign in this device")
            .arg("p_device_hash", device_hash)
            .id("p_session", session.id)
            .arg("p_secret_hash", session.secret_hash)
            .arg("p_seconds", contract::long(session.lifetime.as_secs()));
        let made: SignedIn = self.0.as_driver(call).await?;
        Ok(made.into())
    }
}
