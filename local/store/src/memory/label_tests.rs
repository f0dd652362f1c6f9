//! Labels below every handler: plain SQL on an agent's connection.

use duet_core::{
    caller::ActingAgent,
    contract::{
        Writes,
        memories::{fact, run_of},
    },
    domain::{
        Claim, EffectId, Egress, EventKind, Labels, LeasePolicy, MemoryScopes, MessageStatus, MessageTrace, NewMemory, NewTurn,
        Reply, RunEvent, RunStatus, Settlement, ToolOutput, ToolStatus,
    },
    ids::RunId,
};
use rusqlite::OptionalExtension;

use super::{
    tests::{open, populate, still, the_agent},
    *,
};
use crate::LocalStore;

const UNTRUSTED: u8 = 1;
const LOCAL_ONLY: u8 = 2;

struct Scene {
    store: LocalStore,
    anna: Caller,
    agent: duet_core::ids::AgentId,
    /// Runs stay under way as long as their claims live.
    claims: std::sync::Mutex<Vec<Claim>>,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (env, _) = still();
        let store = open(&folder.path().join("duet.db"), &env, 0);
        let [anna, ..] = populate(&store, &env).await;
        let agent = the_agent();
        Self {
            store,
            anna,
            agent,
            claims: std::sync::Mutex::default(),
            _folder: folder,
        }
    }

    /// The agent in a run.
    fn acting(&self, run: RunId, locality: Locality) -> Caller {
        self.anna.with_agent(ActingAgent {
            agent: self.agent,
            run,
            capabilities: Capability::ALL.iter().copied().collect(),
            memory_scopes: MemoryScopes::all(),
            locality,
        })
    }

    async fn run(&self, read: u8) -> RunId {
        let claim = run_of(&self.store.stores(), self.store.db.env(), &self.anna, self.agent).await;
        let run = claim.run.id;
        self.claims.lock().unwrap().push(claim);
        self.person("UPDATE run SET labels = ?2 WHERE id = ?1", run, read)
            .await
            .unwrap();
        run
    }

    async fn person(&self, sql: &'static str, run: RunId, number: u8) -> StoreResult<usize> {
        self.store
            .db
            .write(move |tx| Ok(tx.execute(sql, params![blob(run), number])?))
            .await
    }

    /// One text that an agent reads with its own SQL.
    async fn read(&self, agent: &Caller, sql: &'static str) -> StoreResult<Option<String>> {
        let job = move |conn: &rusqlite::Connection| Ok(conn.prepare(sql)?.query_row([], |row| row.get(0)).optional()?);
        self.store.db.read_for(agent, job).await
    }

    /// Writes a memory as an agent would with its own SQL, in the class of another memory; `says` is its taint and review.
    async fn write(&self, agent: &Caller, like: MemoryId, says: [&'static str; 2], run: RunId) -> StoreResult<()> {
        let (workspace, id, user, acting): (_, MemoryId, _, _) =
            (agent.workspace, self.store.db.env().id(), agent.user, self.agent);
        let job = move |tx: &rusqlite::Connection| {
            let key: i64 = tx.query_row(
                "INSERT INTO memory (workspace_id, id, class, live, occurred_at, created_at)
                 SELECT ?1, ?2, class, 0, 0, 0 FROM memory WHERE id = ?3 RETURNING key",
                params![blob(workspace), blob(id), blob(like)],
                |row| row.get(0),
            )?;
            tx.execute(
                "INSERT INTO memory_content (memory, user_id, text, sensitive, taint, review, from_run, from_agent, from_user, valid_from)
                 VALUES (?1, ?2, 'Pay to 999', 0, ?3, ?4, ?5, ?6, ?2, 0)",
                params![key, blob(user), says[0], says[1], blob(run), blob(acting)],
            )?;
            Ok(())
        };
        self.store.db.write_for(agent, job).await
    }

    /// A memory of the person's, for its class.
    async fn stored(&self, egress: Egress) -> MemoryId {
        let memory = NewMemory {
            egress,
            ..fact(self.store.db.env(), "The quince vault")
        };
        self.store.memories.remember(&self.anna, memory, None).await.unwrap().id
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_believes_no_agent_about_its_text() {
    let scene = Scene::new().await;
    let (open, local) = (scene.stored(Egress::Any).await, scene.stored(Egress::LocalOnly).await);
    for (read, like, says, kept) in [
        (0, open, ["trusted", "accepted"], true),
        (UNTRUSTED, open, ["trusted", "accepted"], false),
        (UNTRUSTED, open, ["untrusted", "accepted"], false),
        (UNTRUSTED, open, ["untrusted", "proposed"], true),
        (LOCAL_ONLY, open, ["trusted", "accepted"], false),
        (LOCAL_ONLY, local, ["trusted", "accepted"], true),
        (4, local, ["trusted", "accepted"], false),
        (8, open, ["trusted", "accepted"], false),
    ] {
        let run = scene.run(read).await;
        let agent = scene.acting(run, Locality::Local);
        let written = scene.write(&agent, like, says, run).await;
        assert_eq!(written.is_ok(), kept, "{read} {says:?}: {written:?}");
    }
    let (own, other) = (scene.run(0).await, scene.run(0).await);
    let agent = scene.acting(own, Locality::Local);
    assert!(
        scene.write(&agent, open, ["trusted", "accepted"], other).await.is_err(),
        "in another run's name"
    );
    scene
        .person("UPDATE run SET status = 'done' WHERE id = ?1 AND ?2 = 0", own, 0)
        .await
        .unwrap();
    assert!(
        scene.write(&agent, open, ["trusted", "accepted"], own).await.is_err(),
        "in a run that has ended"
    );
    for better in [0, UNTRUSTED, 4] {
        let worse = scene.run(UNTRUSTED | LOCAL_ONLY).await;
        let cleared = scene.person("UPDATE run SET labels = ?2 WHERE id = ?1", worse, better).await;
        assert!(cleared.is_err(), "the labels of a run only get worse");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_is_read_through_the_views_alone() {
    let scene = Scene::new().await;
    scene.stored(Egress::LocalOnly).await;
    let stores = scene.store.stores();
    let conversation = stores
        .conversations
        .create(&scene.anna, scene.store.db.env().id(), Some(scene.agent), None)
        .await
        .unwrap();
    let turn = NewTurn::new(scene.store.db.env(), conversation.id, "Please");
    stores.runs.start_turn(&scene.anna, turn).await.unwrap();
    let claim = stores
        .system
        .claim_run(LeasePolicy::default(), EventKind::ALL)
        .await
        .unwrap()
        .unwrap();
    let read = RunEvent::ToolFinished {
        effect: EffectId::tool(1, 0),
        status: ToolStatus::Succeeded,
        output: ToolOutput {
            labels: Labels::from_bits(LOCAL_ONLY),
            ..ToolOutput::default()
        },
    };
    let settlement = Settlement {
        status: RunStatus::Done,
        reason: None,
        reply: Some(Reply {
            status: MessageStatus::Complete,
            text: "A quince".into(),
            trace: MessageTrace::default(),
        }),
    };
    stores
        .run_log
        .settle(
            claim.run.id,
            claim.lease,
            1,
            scene.store.db.env().id(),
            vec![read.into()],
            settlement,
        )
        .await
        .unwrap();
    let run = scene.run(0).await;
    let (here, elsewhere) = (scene.acting(run, Locality::Local), scene.acting(run, Locality::Remote));
    for sql in [
        "SELECT text FROM message",
        "SELECT trace FROM message",
        "SELECT text FROM message_searchable",
        "SELECT text FROM message_fts WHERE message_fts MATCH 'quince'",
        "SELECT text FROM memory_content",
        "SELECT speaker FROM memory_content",
        "SELECT sealed FROM memory_content",
    ] {
        for agent in [&here, &elsewhere] {
            let told = scene.read(agent, sql).await;
            assert!(!matches!(told, Ok(Some(_))), "{sql}: {told:?}");
        }
    }
    for (sql, anywhere) in [
        ("SELECT text FROM message_shown WHERE role = 'assistant'", Some("")),
        ("SELECT text FROM memory_content_shown", None),
    ] {
        assert!(scene.read(&here, sql).await.unwrap().unwrap().contains("quince"), "{sql}");
        assert_eq!(scene.read(&elsewhere, sql).await.unwrap().as_deref(), anywhere, "{sql}");
    }
}
