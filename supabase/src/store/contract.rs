use std::sync::Arc;

use duet_core::{Caller, Env, StoreResult, Timestamp, cursor, domain::PageRequest, ids::UserId};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::rpc::{self, Call, Identity, Rpc};

/// The access to the functions, and which transport serves whom.
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
            // Without a token (built-in issuer, API keys, the run driver) PostgREST would not recognise the person.
            Identity::Person {
                access_token: Some(_), ..
            } => &self.people,
            _ => &self.server,
        };
        rpc::ask(&**rpc, &identity, call).await
    }

    /// As a person, before there is a caller.
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

/// Where a list ordered by time and id continues.
pub fn moment(request: &PageRequest) -> StoreResult<(Option<Timestamp>, Option<Uuid>)> {
    let place = cursor::moment(request.cursor.as_deref())?;
    Ok(place
        .map(|(millis, id)| (Timestamp::from_millis(millis), Uuid::from_bytes(id)))
        .unzip())
}

/// A page's size as an argument; the function fetches one row more.
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Mutex};

    use async_trait::async_trait;
    use duet_core::{
        caller::ActingAgent,
        contract::TestEnv,
        domain::{Locality, MemoryScopes, Role},
        ids::Id,
    };
    use serde_json::{Value, json};

    use super::*;

    /// Remembers who was served.
    #[derive(Default)]
    struct Transport(Mutex<Vec<&'static str>>);

    #[async_trait]
    impl Rpc for Transport {
        async fn call(&self, identity: &Identity, _: &Call) -> StoreResult<Value> {
            let who = match identity {
                Identity::Person {
                    access_token: Some(_), ..
                } => "person with a token",
                Identity::Person { access_token: None, .. } => "person without a token",
                Identity::Agent(_) => "agent",
                Identity::Driver => "driver",
            };
            self.0.lock().unwrap().push(who);
            Ok(json!({"ok": null}))
        }
    }

    #[tokio::test]
    async fn persons_with_a_token_go_one_way_and_all_else_the_other() {
        let (people, server) = (Arc::new(Transport::default()), Arc::new(Transport::default()));
        let env = TestEnv::new(1).env();
        let contract = Contract {
            people: people.clone(),
            server: server.clone(),
            env: env.clone(),
        };
        let key = Caller::person(env.id(), env.id(), Role::Owner);
        let person = Caller {
            access_token: Some("token".to_owned().into()),
            ..key.clone()
        };
        let agent = person.with_agent(ActingAgent {
            agent: Id::from_uuid(env.uuid()),
            run: Id::from_uuid(env.uuid()),
            capabilities: BTreeSet::new(),
            memory_scopes: MemoryScopes::all(),
            locality: Locality::Local,
        });
        for caller in [&person, &key, &agent] {
            contract.as_caller::<()>(caller, Call::new("f")).await.unwrap();
        }
        contract.as_user::<()>(key.user, Call::new("f")).await.unwrap();
        contract.as_driver::<()>(Call::new("f")).await.unwrap();
        assert_eq!(*people.0.lock().unwrap(), ["person with a token"]);
        assert_eq!(
            *server.0.lock().unwrap(),
            ["person without a token", "agent", "person without a token", "driver"]
        );
    }
}
