//! Postgres over sqlx passes the suites that every adapter has to pass.

use duet_supabase::testing::TestDatabase;

duet_core::contract_suite!(TestDatabase::fresh);

mod memories {
    use std::sync::Arc;

    use duet_core::{
        contract::{TestEnv, memories::World},
        ids::{AgentId, Id},
    };

    use super::*;

    async fn world() -> World {
        let time = TestEnv::new(1).standing_still();
        let database = TestDatabase::telling(time.clone()).await;
        let people = duet_core::contract::World::new(&database).await;
        let agent: AgentId = people.env.id();
        sqlx::query(
            "insert into duet.agent values ($1, $2, 'specialist', 'All', '', null, array['read_memory', 'write_memory'],
                '{\"domains\": [\"episodic\", \"semantic\", \"working\"], \"private\": true}', '{}', true, 1, now(), now())",
        )
        .bind(people.owner.workspace.uuid())
        .bind(agent.uuid())
        .execute(&mut database.owner().await)
        .await
        .expect("an agent");
        World {
            memories: people.stores.memories.clone(),
            system: people.stores.system.clone(),
            env: people.env,
            set_time: Arc::new(move |millis| time.set(millis)),
            anna: people.owner,
            ben: people.member,
            carl: people.stranger,
            agent,
            keep: Box::new(database),
        }
    }
    duet_core::memory_contract!(world);
}
