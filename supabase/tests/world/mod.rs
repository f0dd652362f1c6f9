//! The people of the memory suites, on any transport.

use std::{collections::BTreeMap, sync::Arc};

use duet_core::{
    contract::{
        Harness, TestEnv,
        memories::{World, run_of},
    },
    ids::{AgentId, Id},
};
use sqlx::PgConnection;

/// Populates a fresh database. `time` is its clock, `owner` a connection that bypasses row level security.
pub async fn of(database: impl Harness + 'static, mut owner: PgConnection, time: TestEnv) -> World {
    let people = duet_core::contract::World::new(&database).await;
    let agent: AgentId = people.env.id();
    sqlx::query(
        "insert into duet.agent values ($1, $2, 'specialist', 'All', '', null, array['read_memory', 'write_memory'],
            '{\"domains\": [\"episodic\", \"semantic\", \"working\"], \"private\": true}', '{}', true, 1, now(), now())",
    )
    .bind(people.owner.workspace.uuid())
    .bind(agent.uuid())
    .execute(&mut owner)
    .await
    .expect("an agent");
    let mut runs = BTreeMap::new();
    for person in [&people.owner, &people.member] {
        runs.insert(person.user, run_of(&people.stores, &people.env, person, agent).await);
    }
    World {
        memories: people.stores.memories.clone(),
        system: people.stores.system.clone(),
        env: people.env,
        set_time: Arc::new(move |millis| time.set(millis)),
        anna: people.owner,
        ben: people.member,
        carl: people.stranger,
        agent,
        runs,
        keep: Box::new(database),
    }
}
