use async_trait::async_trait;

use crate::{
    domain::{DeviceDecision, DeviceLogin, DeviceSession, NewDeviceLogin, Session, User},
    error::StoreResult,
};

/// Devices that are signed in by a code, for the built-in issuer. Like [`super::AccountStore`] it takes no [`crate::Caller`]: devices
/// are nobody yet, and a sign-in belongs to no workspace.
#[async_trait]
pub trait DeviceStore: Send + Sync {
    /// Keeps a device's wish for [`DeviceLogin::LIFETIME`]. `Conflict` when [`DeviceLogin::MOST_WAITING`] of them wait, or when one
    /// of its codes is another's.
    async fn create(&self, new: NewDeviceLogin) -> StoreResult<DeviceLogin>;

    /// The device that shows this code, for up to [`DeviceLogin::KEPT`] after the code expired.
    async fn look_up(&self, user_hash: [u8; 32]) -> StoreResult<DeviceLogin>;

    /// Confirms or refuses a device; the same decision by the same person again changes nothing. `NotFound` for a code of no device,
    /// `Conflict` when the code was decided otherwise, used, or has expired. `Denied` unless the sign-in is this person's and has not
    /// ended; a yes also takes one of the last [`Session::RECENT`] that is not a device's own.
    async fn decide(&self, decision: DeviceDecision) -> StoreResult<DeviceLogin>;

    /// Makes the sign-in of a confirmed device, once: of many at once one gets it. Until then `Conflict` says to go on waiting
    /// (`authorization_pending`), to ask less often (`slow_down`), or to stop (`expired_token`); `Denied` that a person refused.
    async fn redeem(&self, device_hash: [u8; 32], session: DeviceSession) -> StoreResult<(Session, User)>;
}
