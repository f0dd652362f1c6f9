//! The ports over the database's functions, the same for both transports.

mod accounts;
mod agents;
mod audit;
mod contract;
mod conversations;
mod devices;
mod events;
mod invitations;
mod keys;
mod memory;
mod notices;
mod policies;
mod recall;
mod relay;
mod requests;
mod run_log;
mod runs;
mod system;
mod workspaces;

use std::sync::Arc;

use duet_core::{
    Env, StoreResult,
    crypto::MasterKey,
    domain::TurnLimits,
    ports::{EventFeed, MemoryStore, Stores},
};
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use zeroize::Zeroizing;

use self::relay::LiveFeed;
use crate::rpc::{Call, Rpc, mismatch};

/// All stores on one database.
pub struct PostgresStore {
    contract: contract::Contract,
    feed: Arc<LiveFeed>,
    master: Option<MasterKey>,
}

impl PostgresStore {
    /// `people` carries the calls of persons, `server` those of agents and the server itself (always over Postgres' own protocol).
    pub fn new(people: Arc<dyn Rpc>, server: Arc<dyn Rpc>, env: Env) -> Self {
        Self {
            contract: contract::Contract { people, server, env },
            feed: Arc::default(),
            master: None,
        }
    }

    /// Sets the key that wraps the workspaces' keys of sensitive memories; without it, sensitive memories are refused.
    #[must_use]
    pub fn sealing_with(self, master: MasterKey) -> Self {
        Self {
            master: Some(master),
            ..self
        }
    }

    /// Enables live hints from and to other processes, by database notifications on a connection of their own, which has to be
    /// direct. Call it on the runtime that the process serves on.
    #[must_use]
    pub fn listening(self, connect: PgConnectOptions) -> Self {
        let feed = Arc::new(LiveFeed::listening(self.contract.clone(), connect));
        Self { feed, ..self }
    }

    /// The signing key of access tokens, the same for every process of an installation; stored in the database.
    pub async fn signing_key(&self) -> StoreResult<Zeroizing<[u8; 32]>> {
        let candidate: [u8; 32] = self.contract.env.bytes();
        let call = Call::repeatable("signing_key").arg("p_candidate", candidate);
        let kept: Zeroizing<String> = Zeroizing::new(self.contract.as_driver(call).await?);
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(kept.as_bytes(), &mut key[..]).map_err(|_| mismatch())?;
        Ok(key)
    }

    /// Tells the database the limits of a turn, so that callers who bypass the server cannot exceed them.
    pub async fn set_turn_limits(&self, limits: &TurnLimits) -> StoreResult<()> {
        let call = Call::repeatable("set_turn_limits").arg("p_limits", json!(limits));
        self.contract.as_driver(call).await
    }

    /// The stores as the ports of the core.
    pub fn stores(&self) -> Stores {
        let contract = || self.contract.clone();
        let memories = Arc::new(memory::Memories::new(contract(), self.master.clone()));
        Stores {
            accounts: Arc::new(accounts::Accounts(contract())),
            devices: Arc::new(devices::Devices(contract())),
            workspaces: Arc::new(workspaces::Workspaces(contract())),
            invitations: Arc::new(invitations::Invitations(contract())),
            agents: Arc::new(agents::Agents(contract())),
            conversations: Arc::new(conversations::Conversations(contract())),
            memories: Arc::clone(&memories) as Arc<dyn MemoryStore>,
            notices: Arc::new(notices::Notices(contract())),
            policies: Arc::new(policies::Policies {
                contract: contract(),
                feed: Arc::clone(&self.feed),
            }),
            requests: Arc::new(requests::Requests {
                contract: contract(),
                feed: Arc::clone(&self.feed),
            }),
            runs: Arc::new(runs::Runs {
                contract: contract(),
                feed: Arc::clone(&self.feed),
            }),
            run_log: Arc::new(run_log::Log {
                contract: contract(),
                feed: Arc::clone(&self.feed),
            }),
            keys: Arc::new(keys::Keys(contract())),
            audit: Arc::new(audit::Audit(contract())),
            system: Arc::new(system::System {
                contract: contract(),
                memories,
                feed: Arc::clone(&self.feed),
            }),
            feed: Arc::clone(&self.feed) as Arc<dyn EventFeed>,
        }
    }
}
