//! A test's database behind a Data API: persons' calls use PostgREST, the rest Postgres' own protocol, as with
//! `DUET_BACKEND=supabase`.

use std::sync::Arc;

use async_trait::async_trait;
use duet_core::{
    StoreResult,
    contract::{Harness, TestEnv},
    crypto::MasterKey,
    ids::{Id, SessionId, UserId},
    ports::Stores,
};
use reqwest::Url;
use serde_json::Value;
use sqlx::{ConnectOptions, postgres::PgConnectOptions};

use super::{SupabaseProject, TestDatabase};
use crate::{
    rpc::{Call, Identity, PostgrestRpc, Rpc, WireRpc},
    store::PostgresStore,
};

/// A database for one test with its project.
pub struct ServedDatabase {
    /// The underlying database.
    pub database: TestDatabase,
    /// The stand-in over it.
    pub project: SupabaseProject,
    store: PostgresStore,
}

impl ServedDatabase {
    /// Creates one.
    ///
    /// # Panics
    /// Without a server, with a sentence that says how to get one.
    pub async fn fresh() -> Self {
        Self::telling(TestEnv::new(1)).await
    }

    /// One whose stores and database follow this clock.
    ///
    /// # Panics
    /// As [`ServedDatabase::fresh`].
    pub async fn telling(time: TestEnv) -> Self {
        Self::make(time, async |url| url).await
    }

    /// One that is reached through another address, which `proxy` derives from its own.
    ///
    /// # Panics
    /// As [`ServedDatabase::fresh`].
    pub async fn behind(proxy: impl AsyncFnOnce(Url) -> Url) -> Self {
        Self::make(TestEnv::new(1), proxy).await
    }

    async fn make(time: TestEnv, proxy: impl AsyncFnOnce(Url) -> Url) -> Self {
        let database = TestDatabase::served(time).await;
        let mut project = SupabaseProject::serving(&database.url, &database.name).await;
        project.url = proxy(project.url).await;
        let people = Arc::new(project.rpc(database.time.env()).telling_time());
        let server = Arc::new(SigningIn {
            people: people.clone(),
            server: super::server_rpc(&database.worker, &database.time),
            project: project.clone(),
            auth: database.worker.clone().username("supabase_admin"),
        });
        let store = PostgresStore::new(people, server, database.time.env())
            .sealing_with(MasterKey::new([9; 32]))
            .listening(database.worker.clone());
        Self {
            database,
            project,
            store,
        }
    }
}

impl ServedDatabase {
    /// Bans a person in Auth, as its dashboard would.
    ///
    /// # Panics
    /// If there is no such person.
    pub async fn ban(&self, email: &str) {
        let banned = sqlx::query("update auth.users set banned_until = now() + interval '1 hour' where email = $1")
            .bind(email)
            .execute(&mut self.database.superuser().await)
            .await
            .expect("the ban");
        assert_eq!(banned.rows_affected(), 1, "one person has that address");
    }
}

#[async_trait]
impl Harness for ServedDatabase {
    fn stores(&self) -> Stores {
        self.store.stores()
    }

    fn env(&self) -> TestEnv {
        self.database.env()
    }

    async fn account(&self, email: &str) -> UserId {
        let id = self.database.account(email).await;
        // A person known to Auth, with a confirmed address.
        sqlx::query("insert into auth.users (id, email, email_confirmed_at) values ($1, $2, now())")
            .bind(id.uuid())
            .bind(email)
            .execute(&mut self.database.superuser().await)
            .await
            .expect("a user of Auth");
        id
    }

    /// The sign-in that this person's tokens name.
    async fn sign_in(&self, user: UserId) -> SessionId {
        sqlx::query("insert into auth.sessions (id, user_id, created_at) values ($1, $1, now()) on conflict do nothing")
            .bind(user.uuid())
            .execute(&mut self.database.superuser().await)
            .await
            .expect("a sign-in at Auth");
        SessionId::from_uuid(user.uuid())
    }
}

/// Signs in every person who makes a call: the suites, which know nothing of tokens, are then served over the Data API like the web
/// app's users.
struct SigningIn {
    people: Arc<PostgrestRpc>,
    server: Arc<WireRpc>,
    project: SupabaseProject,
    auth: PgConnectOptions,
}

/// Calls that require a recent sign-in.
const ASKING_FOR_A_RECENT_SIGN_IN: [&str; 3] = ["key_create", "invitation_create", "workspace_change_role"];

impl SigningIn {
    /// Records the sign-in of this person's tokens in Auth as just begun, for the calls that require a recent one.
    async fn sign_in(&self, user: UserId) {
        let mut auth = self.auth.connect().await.expect("the database answers");
        for statement in [
            "insert into auth.users (id, email) values ($1, $1::text || '@example.test') on conflict do nothing",
            "insert into auth.sessions (id, user_id, created_at) values ($1, $1, '2100-01-01') on conflict do nothing",
        ] {
            let signed_in = sqlx::query(statement).bind(user.uuid()).execute(&mut auth).await;
            signed_in.expect("a sign-in at Auth");
        }
    }
}

#[async_trait]
impl Rpc for SigningIn {
    async fn call(&self, identity: &Identity, call: &Call) -> StoreResult<Value> {
        let Identity::Person { user, .. } = identity else {
            return self.server.call(identity, call).await;
        };
        if ASKING_FOR_A_RECENT_SIGN_IN.contains(&call.function) {
            self.sign_in(*user).await;
        }
        let person = Identity::Person {
            user: *user,
            access_token: Some(self.project.token(*user)),
        };
        self.people.call(&person, call).await
    }
}
