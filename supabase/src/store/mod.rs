//! The ports over the database's functions, the same for both transports.

mod absent;
mod accounts;
mod audit;
mod contract;
mod workspaces;

use std::sync::Arc;

use duet_core::{Env, ports::Stores};

use crate::rpc::Rpc;

/// All stores on one database.
pub struct PostgresStore {
    contract: contract::Contract,
}

impl PostgresStore {
    /// `people` carries what persons call, `server` what agents and the server itself call (always sqlx).
    pub fn new(people: Arc<dyn Rpc>, server: Arc<dyn Rpc>, env: Env) -> Self {
        Self {
            contract: contract::Contract { people, server, env },
        }
    }

    /// As the rest of Duet takes them.
    pub fn stores(&self) -> Stores {
        let contract = || self.contract.clone();
        Stores {
            accounts: Arc::new(accounts::Accounts(contract())),
            workspaces: Arc::new(workspaces::Workspaces(contract())),
            agents: Arc::new(absent::Absent),
            conversations: Arc::new(absent::Absent),
            memories: Arc::new(absent::Absent),
            runs: Arc::new(absent::Absent),
            run_log: Arc::new(absent::Absent),
            keys: Arc::new(absent::Absent),
            audit: Arc::new(audit::Audit(contract())),
            system: Arc::new(absent::Absent),
            feed: Arc::new(absent::Absent),
        }
    }
}
