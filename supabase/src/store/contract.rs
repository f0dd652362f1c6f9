use std::sync::Arc;

use duet_core::{Caller, Env, StoreResult, Timestamp, cursor, domain::PageRequest, ids::UserId};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::rpc::{self, Call, Identity, Rpc};

/// The way to the functions, and which transport serves whom.
#[derive(Clone)]
pub struct Contract {
    pub people: Arc<dyn Rpc>,
    pub server: Arc<dyn Rpc>,
    pub env: Env,
}

impl Contract {
    /// As the caller: a person, or an agent for them.
    pub async fn as_caller<T: DeserializeOwned>(&self, caller: &Caller, call: Call) -> StoreResult<T> {
        let identity = Identity::from(caller);
        let rpc = match identity {
            // Without a token (built-in issuer, API keys, the run driver) PostgREST would not know the person.
            Identity::Person {
                access_token: Some(_), ..
            } => &self.people,
            _ => &self.server,
        };
        rpc::ask(&**rpc, &identity, call).await
    }

    /// As a person before there is a caller.
    pub async fn as_user<T: DeserializeOwned>(&self, user: UserId, call: Call) -> StoreResult<T> {
        let identity = Identity::Person {
            user,
            access_token: None,
        };
        rpc::ask(&*self.server, &identity, call).await
    }

    /// As the server itself.
    pub async fn as_driver<T: DeserializeOwned>(&self, call: Call) -> StoreResult<T> {
        rpc::ask(&*self.server, &Identity::Driver, call).await
    }
}

/// Where a list that is ordered by time and id goes on.
pub fn moment(request: &PageRequest) -> StoreResult<(Option<Timestamp>, Option<Uuid>)> {
    let place = cursor::moment(request.cursor.as_deref())?;
    Ok(place
        .map(|(millis, id)| (Timestamp::from_millis(millis), Uuid::from_bytes(id)))
        .unzip())
}

/// A page's size as an argument; the function asks for one row more.
pub fn limit(request: &PageRequest) -> i32 {
    count(request.size())
}

/// A number as an argument.
pub fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A count as an argument.
pub fn long(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
