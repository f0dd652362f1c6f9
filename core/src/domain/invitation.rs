//! Invitations: how people come into a workspace.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Role, email_address, word_enum};
use crate::{
    clock::Timestamp,
    ids::{InvitationId, UserId, WorkspaceId},
    refusal::Refusal,
};

word_enum! {
    /// The status of an invitation.
    InvitationStatus {
        /// It can be accepted.
        Open = "open",
        /// It was accepted and cannot be used again.
        Accepted = "accepted",
        /// It was revoked, or replaced by a newer one for the same address.
        Revoked = "revoked",
        /// It has expired.
        Expired = "expired",
    }
}

/// An invitation as owners see it: never its token, which was shown once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Invitation {
    /// Its id.
    pub id: InvitationId,
    /// The workspace that it admits to.
    pub workspace_id: WorkspaceId,
    /// The address that it is for, in lower case; nobody else can accept it.
    pub email: String,
    /// The role that the guest will have.
    pub role: Role,
    /// Its status at the time of asking.
    pub status: InvitationStatus,
    /// The owner who created it.
    pub created_by: UserId,
    /// When it was created.
    pub created_at: Timestamp,
    /// It is refused from this time on.
    pub expires_at: Timestamp,
    /// When it was accepted.
    pub accepted_at: Option<Timestamp>,
    /// Who accepted it.
    pub accepted_by: Option<UserId>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl InvitationStatus {
    /// The status that an invitation's times imply at this moment. An invitation that expired before it was replaced stays expired.
    pub fn of(
        accepted_at: Option<Timestamp>,
        revoked_at: Option<Timestamp>,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> InvitationStatus {
        match (accepted_at, revoked_at) {
            (Some(_), _) => Self::Accepted,
            (None, Some(revoked)) if revoked < expires_at => Self::Revoked,
            _ if expires_at <= now => Self::Expired,
            _ => Self::Open,
        }
    }

    /// Why an invitation with this status cannot be accepted.
    pub fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Open => None,
            Self::Accepted => Some(Refusal::InvitationUsed),
            Self::Revoked => Some(Refusal::InvitationRevoked),
            Self::Expired => Some(Refusal::InvitationExpired),
        }
    }
}

/// An invitation to be stored.
#[derive(Clone, Debug)]
pub struct NewInvitation {
    /// Its id.
    pub id: InvitationId,
    /// The address that it is for.
    pub email: String,
    /// The role that the guest will have.
    pub role: Role,
    /// SHA-256 of the token, which has 256 random bits.
    pub token_hash: [u8; 32],
    /// How long it can be accepted.
    pub lifetime: Duration,
}

impl NewInvitation {
    /// The default lifetime: a week.
    pub const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
    /// The shortest lifetime.
    pub const SHORTEST: Duration = Duration::from_secs(3600);
    /// The longest lifetime.
    pub const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
    /// The most open invitations per workspace.
    pub const MOST_OPEN: usize = 100;

    /// The address as it is stored, if address and lifetime are valid.
    pub fn checked_email(&self) -> Result<String, Refusal> {
        if !(Self::SHORTEST..=Self::LONGEST).contains(&self.lifetime) {
            return Err(Refusal::InvitationLifetime);
        }
        email_address(&self.email)
    }
}

/// What an open invitation tells the holder of its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Invited {
    /// The name of the workspace.
    pub workspace_name: String,
    /// The address that it is for.
    pub email: String,
    /// The role that the guest will have.
    pub role: Role,
    /// The name of the owner who created it.
    pub invited_by: String,
    /// It is refused from this time on.
    pub expires_at: Timestamp,
    /// Whether the address has an account here: if so, the guest signs in to accept; otherwise they create one.
    pub has_account: bool,
}

/// What somebody without an account provides to accept an invitation (built-in issuer).
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// The name they go by.
    pub display_name: String,
    /// argon2id PHC string of their password.
    pub password_hash: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_follows_from_the_times() {
        let at = Timestamp::from_millis;
        let of = |accepted: Option<i64>, revoked: Option<i64>, now| {
            InvitationStatus::of(accepted.map(at), revoked.map(at), at(100), at(now))
        };
        assert_eq!(of(None, None, 99), InvitationStatus::Open);
        assert_eq!(of(None, None, 100), InvitationStatus::Expired);
        assert_eq!(of(Some(50), None, 200), InvitationStatus::Accepted);
        assert_eq!(of(None, Some(50), 200), InvitationStatus::Revoked);
        assert_eq!(of(None, Some(150), 200), InvitationStatus::Expired);
        for status in InvitationStatus::ALL {
            assert_eq!(status.refusal().is_none(), *status == InvitationStatus::Open);
        }
    }
}
