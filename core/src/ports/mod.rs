//! Ports: what the core needs from the outside, one small trait per file.
//!
//! Rules that all stores follow and the contract suites check:
//! - one method = one transaction: it happens entirely or not at all, and an `Ok` means that it is durable;
//! - the first argument is the caller; nothing outside `caller.workspace` is read, written, counted or hinted at;
//! - `Ok(None)` means absent, and what the caller may not see counts as absent;
//! - a method that takes an id chosen by the caller can be repeated: the second call changes nothing.

mod account;
mod agents;
mod audit;
mod conversations;
mod devices;
mod embedder;
mod event_feed;
mod invitations;
mod keys;
mod memories;
mod model;
mod notices;
mod policies;
mod requests;
mod run_log;
mod runs;
mod system;
mod workspaces;

use std::sync::Arc;

pub use account::*;
pub use agents::*;
pub use audit::*;
pub use conversations::*;
pub use devices::*;
pub use embedder::*;
pub use event_feed::*;
pub use invitations::*;
pub use keys::*;
pub use memories::*;
pub use model::*;
pub use notices::*;
pub use policies::*;
pub use requests::*;
pub use run_log::*;
pub use runs::*;
pub use system::*;
pub use workspaces::*;

/// All stores of one deployment.
#[derive(Clone)]
pub struct Stores {
    /// People and sign-ins of the built-in issuer.
    pub accounts: Arc<dyn AccountStore>,
    /// Devices that the built-in issuer signs in by a code.
    pub devices: Arc<dyn DeviceStore>,
    /// Workspaces and members.
    pub workspaces: Arc<dyn WorkspaceStore>,
    /// Invitations to workspaces.
    pub invitations: Arc<dyn InvitationStore>,
    /// Agents and the soul.
    pub agents: Arc<dyn AgentStore>,
    /// Conversations and messages.
    pub conversations: Arc<dyn ConversationStore>,
    /// Memories.
    pub memories: Arc<dyn MemoryStore>,
    /// Notices to people.
    pub notices: Arc<dyn NoticeStore>,
    /// What may happen.
    pub policies: Arc<dyn PolicyStore>,
    /// What runs ask of people.
    pub requests: Arc<dyn RequestStore>,
    /// Runs, as people see them.
    pub runs: Arc<dyn RunStore>,
    /// Runs, as the driver writes them.
    pub run_log: Arc<dyn RunLog>,
    /// API keys.
    pub keys: Arc<dyn KeyStore>,
    /// The audit log.
    pub audit: Arc<dyn AuditLog>,
    /// Work without a person's context.
    pub system: Arc<dyn SystemStore>,
    /// Live hints.
    pub feed: Arc<dyn EventFeed>,
}
