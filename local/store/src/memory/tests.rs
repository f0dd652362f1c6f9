use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use duet_core::{
    Clock, Env, Random, Timestamp,
    contract::memories::{World, direction, fact, model, run_of},
    domain::{Bar, NewMemory, Provenance, RecallMode, Role, Visibility},
    ids::{AgentId, ConversationId, MessageId, RunId, UserId},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::{LocalStore, OpenOptions, key::FileKey};

/// Time that stands still, and bytes that never repeat.
pub(super) struct Still {
    time: AtomicI64,
    bytes: AtomicU64,
}

#[async_trait]
impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.time.load(Ordering::SeqCst))
    }
    async fn sleep(&self, _: Duration) {}
}

impl Random for Still {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let next = self.bytes.fetch_add(1, Ordering::SeqCst).wrapping_add(1).to_be_bytes();
            let length = chunk.len();
            chunk.copy_from_slice(&next[8 - length..]);
        }
    }
}

pub(super) fn still() -> (Env, Arc<Still>) {
    let still = Arc::new(Still {
        time: AtomicI64::new(1_700_000_000_000),
        bytes: AtomicU64::new(0),
    });
    (Env::new(still.clone(), still.clone()), still)
}

fn options(path: &Path, env: &Env, cache: usize) -> OpenOptions {
    OpenOptions {
        path: path.to_owned(),
        key: FileKey::new([7; 32]),
        env: env.clone(),
        vector_cache_bytes: cache,
    }
}

pub(super) fn open(path: &Path, env: &Env, cache: usize) -> LocalStore {
    LocalStore::open(options(path, env, cache)).unwrap()
}

/// The agent in every workspace here.
pub(super) fn the_agent() -> AgentId {
    duet_core::ids::Id::from_uuid(uuid::Uuid::from_u128(0xa9))
}

/// People, workspaces and their agent, as rows: their own stores are tested elsewhere.
pub(super) async fn populate(store: &LocalStore, env: &Env) -> [Caller; 3] {
    let people: [UserId; 3] = [env.id(), env.id(), env.id()];
    let workspaces: [WorkspaceId; 2] = [env.id(), env.id()];
    store
        .db
        .write(move |conn| {
            for person in people {
                let email = format!("{person}@example.org");
                conn.execute(
                    "INSERT INTO user (id, email, display_name, created_at) VALUES (?1, ?2, 'P', 0)",
                    params![blob(person), email],
                )?;
            }
            for (workspace, owner) in workspaces.iter().zip([people[0], people[2]]) {
                conn.execute(
                    "INSERT INTO workspace (id, name, created_by, created_at) VALUES (?1, 'W', ?2, 0)",
                    params![blob(*workspace), blob(owner)],
                )?;
                conn.execute(
                    "INSERT INTO agent (workspace_id, id, kind, name, prompt, capabilities, memory_scopes, tools, active, version, created_at, updated_at)
                     VALUES (?1, ?2, 'specialist', 'A', '', '[]', '{}', '[]', 1, 1, 0, 0)",
                    params![blob(*workspace), blob(the_agent())],
                )?;
            }
            for (person, workspace) in people.iter().zip([workspaces[0], workspaces[0], workspaces[1]]) {
                conn.execute(
                    "INSERT INTO member (workspace_id, user_id, role, joined_at) VALUES (?1, ?2, 'member', 0)",
                    params![blob(workspace), blob(*person)],
                )?;
            }
            Ok(())
        })
        .await
        .unwrap();
    [
        Caller::person(people[0], workspaces[0], Role::Owner),
        Caller::person(people[1], workspaces[0], Role::Member),
        Caller::person(people[2], workspaces[1], Role::Owner),
    ]
}

async fn world(cache: usize) -> World {
    let folder = tempfile::tempdir().unwrap();
    let (env, still) = still();
    let store = open(&folder.path().join("duet.db"), &env, cache);
    let [anna, ben, carl] = populate(&store, &env).await;
    let agent = the_agent();
    let mut runs = BTreeMap::new();
    for person in [&anna, &ben] {
        runs.insert(person.user, run_of(&store.stores(), &env, person, agent).await);
    }
    World {
        memories: store.stores().memories,
        system: store.stores().system,
        agent,
        runs,
        env,
        set_time: Arc::new(move |millis| still.time.store(millis, Ordering::SeqCst)),
        anna,
        ben,
        carl,
        keep: Box::new((store, folder)),
    }
}

mod cached {
    async fn world() -> super::World {
        super::world(64 << 20).await
    }
    duet_core::memory_contract!(world);
}

mod uncached {
    async fn world() -> super::World {
        super::world(0).await
    }
    duet_core::memory_contract!(world);
}

fn question(embedding: Embedding, env: &Env) -> RecallQuery {
    RecallQuery {
        text: String::new(),
        embedding: Some(embedding),
        mode: RecallMode::Vector,
        limit: 10,
        domains: None,
        locality: Locality::Local,
        bar: Bar::NONE,
        now: env.now(),
    }
}

/// The bit index, the loading in the background and the cache after it all give the same ten as a full comparison; also when most
/// vectors are another person's, when vectors come and go after the index was made, and when an agent asks.
#[tokio::test(flavor = "multi_thread")]
async fn cold_loading_and_warm_answers_agree() {
    const DIMENSIONS: u32 = 768;
    let folder = tempfile::tempdir().unwrap();
    let (env, _) = still();
    let path = folder.path().join("duet.db");
    let mut random = ChaCha8Rng::seed_from_u64(3);
    // A direction that all share, as embeddings of one language do: without centring, most signs would agree.
    let common = direction(&mut random, "m", DIMENSIONS);
    let mut near_common = move || {
        let own = direction(&mut random, "m", DIMENSIONS);
        let mixed = common.vector.iter().zip(&own.vector).map(|(c, o)| 1.2 * c + o).collect();
        Embedding::new(model("m", DIMENSIONS), mixed).unwrap()
    };
    let mut truth: Vec<(MemoryId, Embedding)> = Vec::new();
    let callers;
    {
        let store = open(&path, &env, 0);
        callers = populate(&store, &env).await;
        let memories = Arc::clone(&store.memories);
        let [anna, ben, carl] = &callers;
        for number in 0..900 {
            let vector = near_common();
            let (caller, visibility) = match number % 3 {
                0 => (anna, Visibility::Shared),
                1 => (ben, Visibility::Private),
                _ => (carl, Visibility::Shared),
            };
            let memory = NewMemory {
                visibility,
                ..fact(&env, &format!("memory {number}"))
            };
            let stored = memories.remember(caller, memory, Some(vector.clone())).await.unwrap();
            if caller.user == anna.user {
                truth.push((stored.id, vector));
            }
            if number == 600 {
                memories.sweep().await.unwrap();
            }
        }
        memories.sweep().await.unwrap();
        for _ in 0..40 {
            let vector = near_common();
            let stored = memories
                .remember(anna, fact(&env, "late"), Some(vector.clone()))
                .await
                .unwrap();
            truth.push((stored.id, vector));
        }
        for gone in [5, 50, 310] {
            let (gone, _) = truth.remove(gone);
            memories.redact(anna, gone, env.id()).await.unwrap();
        }
        let indexed: i64 = store
            .db
            .read(|conn| Ok(conn.query_row("SELECT count(*) FROM memory_bits_768", [], |row| row.get(0))?))
            .await
            .unwrap();
        assert!(indexed > 500, "the bit index was filled: {indexed}");
    }
    let exact = |question: &Embedding| {
        let mut exact: Vec<(f64, MemoryId)> = truth
            .iter()
            .map(|(id, vector)| {
                (
                    vector
                        .vector
                        .iter()
                        .zip(&question.vector)
                        .map(|(a, b)| f64::from(*a) * f64::from(*b))
                        .sum(),
                    *id,
                )
            })
            .collect();
        exact.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        exact.truncate(10);
        exact.into_iter().map(|(_, id)| id).collect::<Vec<_>>()
    };
    let questions: Vec<Embedding> = (0..12).map(|_| near_common()).collect();
    let anna = &callers[0];
    let agent = anna.with_agent(duet_core::caller::ActingAgent {
        agent: the_agent(),
        run: env.id(),
        capabilities: Capability::ALL.iter().copied().collect(),
        memory_scopes: duet_core::domain::MemoryScopes::all(),
        locality: Locality::Local,
    });
    for cache in [0, 64 << 20] {
        let store = open(&path, &env, cache);
        let memories = Arc::clone(&store.memories);
        for round in 0..3 {
            for embedding in &questions {
                for caller in [anna, &agent] {
                    let answer = memories.recall(caller, question(embedding.clone(), &env)).await.unwrap();
                    let found: Vec<MemoryId> = answer.items.iter().map(|item| item.memory.id).collect();
                    assert_eq!(found, exact(embedding), "cache {cache}, round {round}");
                }
            }
            // Wait for the background loading after the first answers.
            while round == 0 && cache > 0 && store.memories.cache.bytes() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        assert_eq!(store.memories.cache.bytes() > 0, cache > 0);
    }
}

/// Rows of a conversation in which one run wrote a memory and a later one recalled it.
struct Story {
    source: MessageId,
    writer: RunId,
    knower: RunId,
    bystander: RunId,
}

const CANARY: &str = "zimtcanary77";

async fn story(store: &LocalStore, env: &Env, caller: &Caller, memory: MemoryId, status: &'static str) -> Story {
    let (agent, conversation): (AgentId, ConversationId) = (env.id(), env.id());
    let runs: [RunId; 3] = [env.id(), env.id(), env.id()];
    let messages: [MessageId; 6] = std::array::from_fn(|_| env.id());
    let (workspace, user) = (blob(caller.workspace), blob(caller.user));
    store
        .db
        .write(move |conn| {
            conn.execute(
                "INSERT INTO agent (workspace_id, id, kind, name, prompt, capabilities, memory_scopes, tools, active, version, created_at, updated_at)
                 VALUES (?1, ?2, 'companion_primary', 'A', '', '[]', '{}', '[]', 1, 1, 0, 0)",
                params![workspace, blob(agent)],
            )?;
            conn.execute(
                "INSERT INTO conversation (workspace_id, id, user_id, agent_id, title, archived, created_at, updated_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, 0)",
                params![workspace, blob(conversation), user, blob(agent), format!("I like {CANARY}")],
            )?;
            for (number, run) in runs.iter().enumerate() {
                let texts = match number {
                    0 => [format!("I like {CANARY}, you know"), format!("So you like {CANARY}")],
                    1 => ["What do I like?".into(), format!("You like {CANARY}")],
                    _ => ["Hello".into(), "Hi".into()],
                };
                for (place, text) in texts.iter().enumerate() {
                    let message = messages[2 * number + place];
                    conn.execute(
                        "INSERT INTO message (workspace_id, id, conversation_id, user_id, ordinal, role, status, text, created_at)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'complete', ?7, 0)",
                        params![workspace, blob(message), blob(conversation), user, (2 * number + place + 1) as i64, ["user", "assistant"][place], text],
                    )?;
                }
                conn.execute(
                    "INSERT INTO run (workspace_id, id, user_id, conversation_id, message_id, reply_id, agent_id, status, last_seq, last_hash, created_at, updated_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 2, x'00', 0, 0)",
                    params![workspace, blob(*run), user, blob(conversation), blob(messages[2 * number]), blob(messages[2 * number + 1]), blob(agent), if number == 1 { status } else { "done" }],
                )?;
                for seq in 1..=2 {
                    conn.execute(
                        "INSERT INTO run_event (workspace_id, run_id, seq, kind, at, payload_hash, chain_hash) VALUES (?1, ?2, ?3, 'delta', 0, x'00', x'00')",
                        params![workspace, blob(*run), seq],
                    )?;
                    // The second run names the memory only in its context, without a mention.
                    let payload = match (number, seq) {
                        (1, 1) => format!(r#"{{"type":"context","recalled":["{memory}"]}}"#),
                        (0 | 1, _) => format!(r#"{{"type":"delta","text":"{CANARY}"}}"#),
                        _ => r#"{"type":"delta","text":"Hi"}"#.to_owned(),
                    };
                    conn.execute(
                        "INSERT INTO run_event_payload (workspace_id, run_id, seq, salt, payload) VALUES (?1, ?2, ?3, x'01', ?4)",
                        params![workspace, blob(*run), seq, payload],
                    )?;
                }
                conn.execute("INSERT INTO run_event_outbox (workspace_id, run_id, last_seq) VALUES (?1, ?2, 2)", params![workspace, blob(*run)])?;
            }
            conn.execute(
                "INSERT INTO run_event_mention (workspace_id, memory_id, run_id, seq) VALUES (?1, ?2, ?3, 2)",
                params![workspace, blob(memory), blob(runs[0])],
            )?;
            Ok(())
        })
        .await
        .unwrap();
    Story {
        source: messages[0],
        writer: runs[0],
        knower: runs[1],
        bystander: runs[2],
    }
}

/// Every place in the file that contains the words, by table: all columns of all tables, including full-text and vector tables.
async fn places(store: &LocalStore, words: &'static str) -> Vec<String> {
    store
        .db
        .read(move |conn| {
            let mut tables = conn.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?;
            let names: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            let mut places = Vec::new();
            for name in names {
                let mut rows = conn.prepare(&format!("SELECT * FROM \"{name}\""))?;
                let columns = rows.column_count();
                let mut rows = rows.query([])?;
                while let Some(row) = rows.next()? {
                    for column in 0..columns {
                        let bytes = match row.get_ref(column)? {
                            rusqlite::types::ValueRef::Text(bytes) | rusqlite::types::ValueRef::Blob(bytes) => bytes,
                            _ => continue,
                        };
                        if bytes.windows(words.len()).any(|window| window == words.as_bytes()) {
                            places.push(name.clone());
                        }
                    }
                }
            }
            places.sort();
            places.dedup();
            Ok(places)
        })
        .await
        .unwrap()
}

fn canary(env: &Env, story: Option<&Story>) -> NewMemory {
    NewMemory {
        provenance: Provenance {
            message_id: story.map(|story| story.source),
            ..Provenance::default()
        },
        ..fact(env, &format!("They like {CANARY}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redacted_text_is_nowhere_and_stays_so_after_an_older_copy_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("duet.db");
    let copy = folder.path().join("copy.db");
    let (env, _) = still();
    let id = env.id::<MemoryId>();
    let redaction = env.id::<RedactionId>();
    let (anna, told): (Caller, Story);
    {
        let store = open(&path, &env, 64 << 20);
        anna = populate(&store, &env).await[0].clone();
        told = story(&store, &env, &anna, id, "done").await;
        let memories = Arc::clone(&store.memories);
        let memory = NewMemory {
            id,
            ..canary(&env, Some(&told))
        };
        let vector = Embedding::new(model("m", 2), vec![1.0, 0.5]).unwrap();
        memories.remember(&anna, memory, Some(vector.clone())).await.unwrap();
        memories.recall(&anna, question(vector, &env)).await.unwrap();
        let held = places(&store, CANARY).await;
        for table in [
            "conversation",
            "memory_content",
            "memory_term",
            "message",
            "run_event_payload",
        ] {
            assert!(
                held.iter().any(|place| place == table),
                "{table} should hold it before: {held:?}"
            );
        }
        assert!(held.iter().any(|place| place.starts_with("message_fts")), "{held:?}");
    }
    std::fs::copy(&path, &copy).unwrap();

    let receipt = {
        let store = open(&path, &env, 64 << 20);
        let memories = Arc::clone(&store.memories);
        memories
            .recall(&anna, question(Embedding::new(model("m", 2), vec![1.0, 0.5]).unwrap(), &env))
            .await
            .unwrap();
        let receipt = memories.redact(&anna, id, redaction).await.unwrap();
        assert_eq!(places(&store, CANARY).await, Vec::<String>::new());
        let (writer, knower, bystander) = (told.writer, told.knower, told.bystander);
        let kept = move |run: RunId| {
            let db = store.db.clone();
            async move {
                let count = "SELECT count(payload), count(*) FROM run_event_payload WHERE run_id = ?1";
                db.read(move |conn| {
                    Ok(conn.query_row(count, [blob(run)], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?)
                })
                .await
                .unwrap()
            }
        };
        assert_eq!(
            (kept(writer).await, kept(knower).await, kept(bystander).await),
            ((0, 2), (0, 2), (2, 2))
        );
        receipt
    };
    let count = |place: &str| {
        receipt
            .removed
            .iter()
            .find(|removed| removed.place == place)
            .map(|removed| removed.count)
            .unwrap()
    };
    assert_eq!(
        (count("memory"), count("vectors"), count("vector_codes"), count("caches")),
        (1, 1, 1, 1)
    );
    assert_eq!(
        (count("messages"), count("replies"), count("titles"), count("event_payloads")),
        (1, 2, 1, 4)
    );
    assert!(count("full_text") >= 2);
    let sidecar = std::fs::read_to_string(tombstones::sidecar(&path)).unwrap();
    assert!(!sidecar.contains(CANARY) && sidecar.contains(&id.to_string()));

    // The older copy comes back with the text in it; opening it redacts again.
    std::fs::copy(&copy, &path).unwrap();
    let accepted = LocalStore::accept_loss(&options(&path, &env, 0)).unwrap();
    assert!(accepted.is_some(), "an older copy is seen to be one");
    let store = open(&path, &env, 64 << 20);
    assert_eq!(places(&store, CANARY).await, Vec::<String>::new());
    let memories = Arc::clone(&store.memories);
    let again = memories.receipt(&anna, id).await.unwrap().expect("a receipt");
    assert_eq!((again.id, again.memory_id), (redaction, id));
    let replayed = memories
        .remember(
            &anna,
            NewMemory {
                id,
                ..canary(&env, None)
            },
            None,
        )
        .await
        .unwrap();
    assert!(replayed.text.is_empty(), "a replayed effect does not bring it back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_a_crash_cut_off_is_completed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("duet.db");
    let sidecar = tombstones::sidecar(&path);
    let mut before = String::new();
    let (env, _) = still();
    {
        let store = open(&path, &env, 0);
        let [anna, ..] = populate(&store, &env).await;
        let memories = Arc::clone(&store.memories);
        for text in ["one", "two"] {
            before = std::fs::read_to_string(&sidecar).unwrap_or_default();
            let stored = memories.remember(&anna, fact(&env, text), None).await.unwrap();
            memories.redact(&anna, stored.id, env.id()).await.unwrap();
        }
    }
    let whole = std::fs::read_to_string(&sidecar).unwrap();
    assert_eq!(whole.lines().count(), 3);
    // Cut off during the append, before it was counted.
    let cut = format!("{before}{}", &whole[before.len()..whole.len() - 30]);
    std::fs::write(&sidecar, cut).unwrap();
    drop(open(&path, &env, 0));
    let mended = std::fs::read_to_string(&sidecar).unwrap();
    assert_eq!(mended, whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_is_not_redacted_while_a_reply_that_knows_it_is_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let (env, _) = still();
    let store = open(&folder.path().join("duet.db"), &env, 0);
    let [anna, ..] = populate(&store, &env).await;
    let id = env.id::<MemoryId>();
    story(&store, &env, &anna, id, "running").await;
    let memories = Arc::clone(&store.memories);
    memories
        .remember(
            &anna,
            NewMemory {
                id,
                ..canary(&env, None)
            },
            None,
        )
        .await
        .unwrap();
    assert!(matches!(
        memories.redact(&anna, id, env.id()).await,
        Err(StoreError::Conflict(_))
    ));
    assert!(places(&store, CANARY).await.contains(&"memory_content".to_owned()));
}

/// Naming another person's message as the source does not empty it.
#[tokio::test(flavor = "multi_thread")]
async fn redaction_leaves_messages_of_others_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (env, _) = still();
    let store = open(&folder.path().join("duet.db"), &env, 0);
    let [anna, ben, _] = populate(&store, &env).await;
    let told = story(&store, &env, &anna, env.id(), "done").await;
    let memories = Arc::clone(&store.memories);
    let stored = memories.remember(&ben, canary(&env, Some(&told)), None).await.unwrap();
    let receipt = memories.redact(&ben, stored.id, env.id()).await.unwrap();
    assert!(
        receipt
            .removed
            .iter()
            .all(|removed| removed.place != "messages" || removed.count == 0)
    );
    assert!(places(&store, CANARY).await.contains(&"message".to_owned()));
}

/// Giving a memory the id of something that another person's runs name does not empty those runs.
#[tokio::test(flavor = "multi_thread")]
async fn redaction_leaves_runs_of_others_that_name_the_id_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (env, _) = still();
    let store = open(&folder.path().join("duet.db"), &env, 0);
    let [anna, ben, _] = populate(&store, &env).await;
    let id = env.id();
    story(&store, &env, &anna, id, "done").await;
    // A run mentions only memories; here the id is something else's.
    let mentions = store
        .db
        .write(|conn| Ok(conn.execute("DELETE FROM run_event_mention", [])?))
        .await;
    assert!(mentions.unwrap() > 0);
    let memories = Arc::clone(&store.memories);
    let chosen = NewMemory {
        id,
        ..canary(&env, None)
    };
    memories.remember(&ben, chosen, None).await.unwrap();
    let receipt = memories.redact(&ben, id, env.id()).await.unwrap();
    for place in ["messages", "replies", "event_payloads"] {
        let count: u64 = receipt
            .removed
            .iter()
            .filter(|removed| removed.place == place)
            .map(|removed| removed.count)
            .sum();
        assert_eq!(count, 0, "{place}");
    }
}

/// Models that were tried once do not stay forever; those in use do, and a cache of a missing partition answers nothing.
#[tokio::test(flavor = "multi_thread")]
async fn models_without_vectors_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let (env, _) = still();
    let store = open(&folder.path().join("duet.db"), &env, 64 << 20);
    let [anna, ..] = populate(&store, &env).await;
    let (memories, system) = (Arc::clone(&store.memories), store.stores().system);
    let vector = |model_id: &str| Embedding::new(model(model_id, 2), vec![1.0, 0.5]).unwrap();
    let stored = memories
        .remember(&anna, fact(&env, "Tea at four"), Some(vector("m0")))
        .await
        .unwrap();
    for number in 1..5 {
        let item = (anna.workspace, stored.id, vector(&format!("m{number}")));
        system.put_embeddings(vec![item]).await.unwrap();
    }
    let counted = async || {
        let counts = "SELECT (SELECT count(*) FROM embedding_model), (SELECT count(*) FROM memory_partition),
                             (SELECT count(*) FROM memory_code_gone)";
        let read = store.db.read(move |conn| {
            Ok(conn.query_row(counts, [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
            })?)
        });
        read.await.unwrap()
    };
    assert_eq!(counted().await, (5, 5, 4));
    system.sweep().await.unwrap();
    assert_eq!(counted().await, (1, 1, 0));
    let found = memories.recall(&anna, question(vector("m4"), &env)).await.unwrap();
    assert_eq!(found.items.len(), 1);
    system
        .put_embeddings(vec![(anna.workspace, stored.id, vector("m0"))])
        .await
        .unwrap();
    assert_eq!(
        memories
            .recall(&anna, question(vector("m0"), &env))
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    assert!(
        memories
            .recall(&anna, question(vector("m4"), &env))
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

/// The text of a sensitive memory is not in the file's tables, and its ciphertext opens in its own row only.
#[tokio::test(flavor = "multi_thread")]
async fn sensitive_text_is_sealed_to_its_row() {
    let folder = tempfile::tempdir().unwrap();
    let (env, _) = still();
    let store = open(&folder.path().join("duet.db"), &env, 0);
    let [anna, ..] = populate(&store, &env).await;
    let memories = Arc::clone(&store.memories);
    let secret = |text: &str| NewMemory {
        sensitive: true,
        ..fact(&env, text)
    };
    let one = memories.remember(&anna, secret(CANARY), None).await.unwrap();
    let two = memories.remember(&anna, secret("something else"), None).await.unwrap();
    assert_eq!(places(&store, CANARY).await, Vec::<String>::new());
    assert_eq!(memories.memories(&anna, &[one.id]).await.unwrap()[0].text, CANARY);
    store
        .db
        .write(move |conn| {
            let key =
                |id: MemoryId| conn.query_row("SELECT key FROM memory WHERE id = ?1", [blob(id)], |row| row.get::<_, i64>(0));
            let sealed: Vec<u8> =
                conn.query_row("SELECT sealed FROM memory_content WHERE memory = ?1", [key(one.id)?], |row| {
                    row.get(0)
                })?;
            conn.execute(
                "UPDATE memory_content SET sealed = ?1 WHERE memory = ?2",
                params![sealed, key(two.id)?],
            )?;
            Ok(())
        })
        .await
        .unwrap();
    assert!(matches!(
        memories.memories(&anna, &[two.id]).await,
        Err(StoreError::Unavailable(_))
    ));
    // It hides neither other people's memories nor any other memory of its person.
    assert_eq!(memories.memories(&anna, &[two.id, one.id]).await.unwrap().len(), 1);
    let listed = memories
        .list(&anna, MemoryFilter::default(), PageRequest::first(9))
        .await
        .unwrap();
    assert_eq!(listed.items.iter().map(|memory| memory.id).collect::<Vec<_>>(), [one.id]);
    let system = store.stores().system;
    let embedded = async |limit| {
        let waiting = system.unembedded(&model("m", 2), Locality::Local, limit).await.unwrap();
        waiting.into_iter().map(|memory| memory.memory).collect::<Vec<_>>()
    };
    let vector = Embedding::new(model("m", 2), vec![1.0, 0.5]).unwrap();
    assert_eq!(embedded(1).await, [one.id]);
    let both = [one.id, two.id].map(|id| (anna.workspace, id, vector.clone())).to_vec();
    system.put_embeddings(both).await.unwrap();
    let found = memories.recall(&anna, question(vector, &env)).await.unwrap();
    assert_eq!(found.items.iter().map(|item| item.memory.id).collect::<Vec<_>>(), [one.id]);
    let three = memories.remember(&anna, fact(&env, "in the clear"), None).await.unwrap();
    assert_eq!(embedded(9).await, [three.id]);
}

/// Whatever puts somebody else's run among those that a redaction reaches, it is left as it is.
#[tokio::test]
async fn runs_of_others_are_not_erased() {
    let folder = tempfile::tempdir().unwrap();
    let (env, _) = still();
    let store = open(&folder.path().join("duet.db"), &env, 0);
    let [anna, ben, _] = populate(&store, &env).await;
    let run = run_of(&store.stores(), &env, &ben, the_agent()).await.run.id;
    let (workspace, now) = (blob(anna.workspace), env.now());
    for (whose, left) in [(Some(anna.user), true), (Some(ben.user), false)] {
        let kept = store.db.write(move |conn| {
            let runs = [run].into();
            redact::erase_runs(conn, workspace, &runs, whose, now, &mut redact::Removed::default())?;
            let mut payloads = conn.prepare("SELECT 1 FROM run_event_payload WHERE run_id = ?1 AND payload IS NOT NULL")?;
            Ok(payloads.exists([blob(run)])?)
        });
        assert_eq!(kept.await.unwrap(), left);
    }
}
