//! Many people's calls on two connections, cut off at random: nobody gets another's answer, and nothing is written as another.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::{sync::Arc, time::Duration};

use duet_core::{
    contract::TestEnv,
    ids::{Id, UserId},
};
use duet_rls_tests::{Arena, words};
use duet_supabase::rpc::{AgentIdentity, Arg, Call, Identity, Rpc, WireRpc, WireSettings};
use sqlx::types::Uuid;

/// Calls in all: as many as the long run makes, or what every run can afford.
fn calls() -> usize {
    if std::env::var_os("DUET_TEST_LONG").is_some() {
        10_000
    } else {
        2_000
    }
}

/// Who calls, and where they are.
struct Person {
    name: &'static str,
    id: UserId,
    workspace: Uuid,
    agent: Uuid,
}

async fn people(arena: &Arena) -> Vec<Person> {
    let mut stage = arena.stage().await.unwrap();
    let mut people = Vec::new();
    for (name, workspace) in [("owner", "A"), ("member", "A"), ("stranger", "B"), ("bystander", "B")] {
        let place = words::Place::new(workspace, name);
        let ids = stage
            .rows(&place.fill("select unnest(array[{me}, {ws}, {the:agent}])::text"))
            .await
            .unwrap();
        let id = |at: usize| -> Uuid { ids[at].parse().unwrap() };
        people.push(Person {
            name,
            id: UserId::from_uuid(id(0)),
            workspace: id(1),
            agent: id(2),
        });
    }
    people
}

impl Person {
    fn identity(&self, as_agent: bool) -> Identity {
        if !as_agent {
            return Identity::Person {
                user: self.id,
                access_token: None,
            };
        }
        Identity::Agent(Box::new(AgentIdentity {
            user: self.id,
            workspace: Id::from_uuid(self.workspace),
            agent: Id::from_uuid(self.agent),
            run: Id::from_uuid(self.agent),
            capabilities: Vec::new(),
            memory_scopes: duet_core::domain::MemoryScopes::all(),
            locality: duet_core::domain::Locality::Remote,
        }))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_anothers_answer() {
    let arena = Arena::fresh().await.unwrap();
    let people = Arc::new(people(&arena).await);
    let env = TestEnv::new(7);
    let settings = WireSettings {
        connect: arena.worker(),
        connections: 2,
        statement_timeout: Duration::from_secs(30),
        acquire_timeout: Duration::from_secs(60),
    };
    let rpc = Arc::new(WireRpc::new(settings, env.env()));
    let each = calls() / 16;
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..16_usize {
        let (people, rpc, env) = (Arc::clone(&people), Arc::clone(&rpc), env.clone());
        tasks.spawn(async move {
            let (mut answered, mut cut) = (0, 0);
            for turn in 0..each {
                let id = env.env().uuid();
                let bytes = id.as_bytes();
                let person = &people[(lane + usize::from(bytes[15])) % people.len()];
                let as_agent = bytes[14] % 4 == 0;
                let identity = person.identity(as_agent);
                let writes = !as_agent && turn % 3 == 0;
                let call = if writes {
                    Call::new("conversation_create")
                        .arg("p_workspace", person.workspace)
                        .arg("p_id", id)
                        .arg("p_agent", person.agent)
                        .arg("p_title", format!("of {}", person.name))
                } else {
                    Call::repeatable("conversation_list")
                        .arg("p_workspace", person.workspace)
                        .arg("p_archived", false)
                        .arg("p_before", Arg::Time(None))
                        .arg("p_before_id", None::<Uuid>)
                        .arg("p_limit", 200)
                };
                let asked = rpc.call(&identity, &call);
                // A third are cut off, some before they are written, some while the database is at them, some before the answer is read.
                let answer = if bytes[13] % 3 == 0 {
                    let after = Duration::from_micros(u64::from(bytes[12]) * u64::from(bytes[11]));
                    match tokio::time::timeout(after, asked).await {
                        Ok(answer) => answer,
                        Err(_) => {
                            cut += 1;
                            continue;
                        }
                    }
                } else {
                    asked.await
                };
                let answer = answer.unwrap();
                answered += 1;
                let me = person.id.to_string();
                if writes {
                    assert_eq!(answer["ok"]["user_id"], me.as_str());
                } else {
                    let list = answer["ok"].as_array().unwrap();
                    assert!(!list.is_empty(), "everybody has a conversation");
                    for conversation in list {
                        assert_eq!(conversation["user_id"], me.as_str(), "asked as {}", person.name);
                    }
                }
            }
            (answered, cut)
        });
    }
    let (mut answered, mut cut) = (0, 0);
    while let Some(lane) = tasks.join_next().await {
        let lane = lane.unwrap();
        answered += lane.0;
        cut += lane.1;
    }
    println!("{answered} calls were answered, {cut} were cut off");
    assert!(
        answered > calls() / 2 && cut > calls() / 20,
        "{answered} answered, {cut} cut off"
    );

    let mut stage = arena.stage().await.unwrap();
    let wrong = stage
        .rows(
            "select c.title || ' belongs to ' || a.display_name from duet.conversation c join duet.account a on a.id = c.user_id
             where c.title like 'of %' and c.title <> 'of ' || a.display_name",
        )
        .await
        .unwrap();
    assert!(wrong.is_empty(), "{wrong:?}");
    rpc.close().await;
    arena.remove().await.unwrap();
}
