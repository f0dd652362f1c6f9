//! Ingests a data set's turns through the ordinary store and asks its questions through the ordinary recall.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::{Question, Summary, Tally, Turn, mark};
use crate::{
    caller::Caller,
    clock::{Env, Timestamp},
    domain::{Egress, EmbeddingProgress, Locality, MemoryDomain, NewMemory, Position, Provenance, RecallMode, Taint, Visibility},
    error::StoreResult,
    ids::{ConversationId, MemoryId},
    memory::Memories,
};

/// A pause after which turns belong to another conversation, scored as a separate sitting.
const PAUSE: Duration = Duration::from_secs(3 * 3600);

/// Concurrent writes; they share commits.
const WRITES: usize = 64;

/// The name of unasked recall among the modes.
const UNASKED: &str = "unasked";

/// How many memories are counted in the answer to an off-topic question: as many as a turn recalls.
const LOOKED_AT: usize = 8;

/// The result of running a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The embedder's model.
    pub model: String,
    /// Turns ingested.
    pub turns: usize,
    /// Questions with evidence.
    pub questions: usize,
    /// Summaries by mode and category.
    pub modes: BTreeMap<String, BTreeMap<String, Summary>>,
    /// By mode: how many memories, of at most eight, are recalled for questions without evidence, on average; fewer is better.
    pub off_topic: BTreeMap<String, f64>,
    /// Whether `hybrid` found at least as much among the first ten as `fts` in every category.
    pub hybrid_at_least_fts: bool,
}

/// Reports a run's progress: `(step, done, total)`.
pub type Progress<'a> = &'a (dyn Fn(&str, u64, u64) + Send + Sync);

/// Runs a data set. All conversations go into the caller's workspace, which should be empty. `elapsed` is a running clock for latencies.
pub async fn run(
    memories: &Memories,
    caller: &Caller,
    env: &Env,
    data: (&[Turn], &[Question]),
    elapsed: &(dyn Fn() -> Duration + Send + Sync),
    progress: Progress<'_>,
) -> StoreResult<Report> {
    let (turns, questions) = data;
    let ids = ingest(memories, caller, env, turns, progress).await?;
    let embedding = |done: EmbeddingProgress| progress("embedded", done.embedded, done.total);
    memories.embed_backlog(&embedding).await?;

    let mut modes = BTreeMap::new();
    let mut off_topic = BTreeMap::new();
    let mut asked = 0;
    let recalling = [
        Some(RecallMode::Fts),
        Some(RecallMode::Vector),
        Some(RecallMode::Hybrid),
        None,
    ];
    for mode in recalling {
        let name = mode.map_or(UNASKED, RecallMode::as_str);
        let mut tally = Tally::default();
        let mut strangers = Vec::new();
        asked = 0;
        for question in questions {
            let evidence: Vec<MemoryId> = question
                .evidence
                .iter()
                .filter_map(|id| ids.get(&(question.conversation.as_str(), id.as_str())).copied())
                .collect();
            let start = elapsed();
            let text = question.text.as_str();
            let answer = match mode {
                Some(mode) => memories.recall(caller, text, mode, 20, None, Locality::Local).await?,
                None => memories.recall_unasked(caller, text, 20, Locality::Local).await?,
            };
            let millis = elapsed().saturating_sub(start).as_secs_f64() * 1000.0;
            let found: Vec<MemoryId> = answer.items.iter().map(|item| item.memory.id).collect();
            match mark(&found, &evidence) {
                Some(marks) => {
                    tally.add(question.category.as_ref(), marks, millis);
                    asked += 1;
                }
                None => strangers.push(found.len().min(LOOKED_AT)),
            }
            progress(name, asked as u64, questions.len() as u64);
        }
        modes.insert(name.to_owned(), tally.summaries());
        if !strangers.is_empty() {
            #[expect(clippy::cast_precision_loss, reason = "small counts")]
            let average = strangers.iter().sum::<usize>() as f64 / strangers.len() as f64;
            off_topic.insert(name.to_owned(), average);
        }
    }
    let hybrid_at_least_fts = modes["fts"].iter().all(|(category, fts)| {
        modes["hybrid"]
            .get(category)
            .is_some_and(|hybrid| hybrid.recall_10 >= fts.recall_10 - 1e-9)
    });
    Ok(Report {
        model: memories.model().map_or_else(|| "none".to_owned(), |model| model.id),
        turns: turns.len(),
        questions: asked,
        modes,
        off_topic,
        hybrid_at_least_fts,
    })
}

/// Stores the turns as episodic memories, without vectors yet, and returns their ids by conversation and turn.
async fn ingest<'a>(
    memories: &Memories,
    caller: &Caller,
    env: &Env,
    turns: &'a [Turn],
    progress: Progress<'_>,
) -> StoreResult<HashMap<(&'a str, &'a str), MemoryId>> {
    let mut ids = HashMap::new();
    let mut sittings: HashMap<&str, Sitting<'a>> = HashMap::new();
    let mut stored = Vec::with_capacity(turns.len());
    for turn in turns {
        let id: MemoryId = env.id();
        ids.insert((turn.conversation.as_str(), turn.id.as_str()), id);
        let sitting = sittings.entry(&turn.conversation).or_insert_with(|| Sitting::new(env));
        let (position, at) = sitting.place(turn, env);
        stored.push(NewMemory {
            id,
            domain: MemoryDomain::Episodic,
            text: turn.text.clone(),
            speaker: turn.speaker.clone(),
            visibility: Visibility::Shared,
            sensitive: false,
            egress: Egress::Any,
            taint: Taint::Trusted,
            provenance: Provenance::default(),
            position: Some(position),
            occurred_at: at,
            expires_at: None,
            supersedes: None,
        });
    }
    let total = stored.len() as u64;
    stream::iter(stored.into_iter().filter(|memory| !memory.text.trim().is_empty()))
        .map(|memory| memories.store().remember(caller, memory, None))
        .buffer_unordered(WRITES)
        .try_fold(0u64, |done, _| async move {
            progress("stored", done + 1, total);
            Ok(done + 1)
        })
        .await?;
    Ok(ids)
}

/// A conversation of the data set while it is being ingested.
struct Sitting<'a> {
    conversation: ConversationId,
    ordinal: i64,
    time: Option<&'a str>,
    at: Option<Timestamp>,
}

impl<'a> Sitting<'a> {
    fn new(env: &Env) -> Self {
        Self {
            conversation: env.id(),
            ordinal: 0,
            time: None,
            at: None,
        }
    }

    fn place(&mut self, turn: &'a Turn, env: &Env) -> (Position, Timestamp) {
        let time = turn.time.as_deref();
        let at = time.and_then(parse_time);
        let apart = match (self.at, at) {
            (Some(before), Some(at)) => at.since(before).max(before.since(at)) > PAUSE,
            _ => self.ordinal > 0 && time != self.time,
        };
        if apart {
            self.conversation = env.id();
            self.ordinal = 0;
        }
        self.ordinal += 1;
        (self.time, self.at) = (time, at.or(self.at));
        let position = Position {
            conversation_id: self.conversation,
            ordinal: self.ordinal,
        };
        (position, at.unwrap_or_else(|| env.now()))
    }
}

/// RFC 3339, or a date with or without a time of day.
fn parse_time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    let civil = text.parse::<jiff::civil::DateTime>().ok()?;
    let time = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp::from_millis(time.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_common_forms() {
        let noon = Some(Timestamp::from_millis(1_684_152_000_000));
        assert_eq!(parse_time("2023-05-15T12:00:00Z"), noon);
        assert_eq!(parse_time("2023-05-15T14:00:00+02:00"), noon);
        assert_eq!(parse_time("2023-05-15 12:00"), noon);
        assert!(parse_time("2023-05-15").is_some());
        assert_eq!(parse_time("last week"), None);
    }
}
