//! Event logs: appending with gapless `seq` and chain hashes, reading, checking. All functions run inside a job.

use duet_core::{
    Env,
    crypto::{EventFields, GENESIS, Hash, event_hash, payload_hash},
    domain::{EventKind, Labels, LogRange, NewEvent, RunEvent, StoredEvent},
    ids::{RunId, WorkspaceId},
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    error::DbResult,
    rows::{blob, count, int, opt_json, time, word},
};

/// Bytes of salt in a payload's hash.
const SALT: usize = 16;

/// The end of a run's log: what the next event is chained to.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Its `seq`; 0 when there is no event yet.
    pub seq: u64,
    /// Its link.
    pub hash: Hash,
}

impl Head {
    /// The head of an empty log.
    pub const EMPTY: Self = Self { seq: 0, hash: GENESIS };
}

/// The head of a run's log, from the run's row.
pub fn head(row: &Row<'_>) -> rusqlite::Result<Head> {
    Ok(Head {
        seq: count(row, "last_seq")?,
        hash: row.get("last_hash")?,
    })
}

/// Appends events after `head`, moves the run's head, adds the labels of what the events have read to the run's, and puts one
/// hint into the outbox. There is only one writer, so nobody else moves the head in between.
pub fn append(
    tx: &Connection,
    env: &Env,
    (workspace, run): (WorkspaceId, RunId),
    mut head: Head,
    events: Vec<NewEvent>,
) -> DbResult<Vec<StoredEvent>> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let now = env.now();
    let (workspace_key, run_key) = (blob(workspace), blob(run));
    let mut header = tx.prepare_cached(
        "INSERT INTO run_event (workspace_id, run_id, seq, kind, at, payload_hash, chain_hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let mut body = tx
        .prepare_cached("INSERT INTO run_event_payload (workspace_id, run_id, seq, salt, payload) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let mut mention = tx.prepare_cached(
        "INSERT OR IGNORE INTO run_event_mention (workspace_id, memory_id, run_id, seq) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let labels = Labels::of_all(events.iter().map(|new| new.event.labels()));
    let mut stored = Vec::with_capacity(events.len());
    for NewEvent { event, mentions } in events {
        let payload = serde_json::to_string(&event)?;
        let salt: [u8; SALT] = env.bytes();
        let fields = EventFields {
            run,
            seq: head.seq + 1,
            kind: event.kind(),
            at: now,
            payload: payload_hash(&salt, payload.as_bytes()),
        };
        head = Head {
            seq: fields.seq,
            hash: event_hash(&head.hash, &fields),
        };
        header.execute(params![
            workspace_key,
            run_key,
            int(head.seq),
            fields.kind.as_str(),
            now.millis(),
            fields.payload,
            head.hash
        ])?;
        body.execute(params![workspace_key, run_key, int(head.seq), salt, payload])?;
        for memory in mentions {
            mention.execute(params![workspace_key, blob(memory), run_key, int(head.seq)])?;
        }
        stored.push(StoredEvent {
            seq: head.seq,
            kind: fields.kind,
            event: Some(event),
            at: now,
        });
    }
    tx.prepare_cached(
        "UPDATE run SET last_seq = ?3, last_hash = ?4, updated_at = ?5, labels = labels | ?6 WHERE workspace_id = ?1 AND id = ?2",
    )?
    .execute(params![
        workspace_key,
        run_key,
        int(head.seq),
        head.hash,
        now.millis(),
        labels.bits()
    ])?;
    tx.prepare_cached("INSERT INTO run_event_outbox (workspace_id, run_id, last_seq) VALUES (?1, ?2, ?3)")?
        .execute(params![workspace_key, run_key, int(head.seq)])?;
    Ok(stored)
}

/// `?3` after which `seq`, `?4` up to which `seq` the deltas are left out, `?5` how many. Both halves are read in order from an index,
/// so that the deltas left out cost nothing.
const RANGE: &str = "SELECT e.seq, e.kind, e.at, p.payload FROM (
         SELECT * FROM (
             SELECT seq, kind, at FROM run_event INDEXED BY run_event_steps
             WHERE workspace_id = ?1 AND run_id = ?2 AND seq > ?3 AND seq <= ?4 AND kind <> 'delta' ORDER BY seq LIMIT ?5)
         UNION ALL
         SELECT * FROM (
             SELECT seq, kind, at FROM run_event
             WHERE workspace_id = ?1 AND run_id = ?2 AND seq > max(?3, ?4) ORDER BY seq LIMIT ?5)
         ORDER BY seq LIMIT ?5) e
     LEFT JOIN run_event_payload p ON p.workspace_id = ?1 AND p.run_id = ?2 AND p.seq = e.seq ORDER BY e.seq";

/// The newest `reply` up to this `seq`; 0 if there is none.
fn closed(conn: &Connection, workspace: WorkspaceId, run: RunId, by: u64) -> DbResult<u64> {
    if by == 0 {
        return Ok(0);
    }
    let mut statement = conn.prepare_cached(
        "SELECT seq FROM run_event INDEXED BY run_event_steps
         WHERE workspace_id = ?1 AND run_id = ?2 AND seq <= ?3 AND kind <> 'delta' AND kind = 'reply' ORDER BY seq DESC LIMIT 1",
    )?;
    let found = statement.query_row(params![blob(workspace), blob(run), int(by)], |row| count(row, "seq"));
    Ok(found.optional()?.unwrap_or(0))
}

/// The events of a range, in order.
pub fn read(conn: &Connection, workspace: WorkspaceId, run: RunId, range: LogRange) -> DbResult<Vec<StoredEvent>> {
    let closed = closed(conn, workspace, run, range.closed_by)?;
    let mut statement = conn.prepare_cached(RANGE)?;
    let limit = i64::try_from(range.limit).unwrap_or(i64::MAX);
    let place = params![blob(workspace), blob(run), int(range.after), int(closed), limit];
    let rows = statement.query_map(place, event)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What folding a whole log takes; or the first `seq` that cannot be read.
pub fn log(conn: &Connection, workspace: WorkspaceId, run: RunId) -> DbResult<Result<Vec<StoredEvent>, u64>> {
    let closed = closed(conn, workspace, run, u64::MAX)?;
    let mut statement = conn.prepare_cached(RANGE)?;
    let mut rows = statement.query(params![blob(workspace), blob(run), 0, int(closed), i64::MAX])?;
    let mut log = Vec::new();
    while let Some(row) = rows.next()? {
        match strict(row) {
            Ok(stored) => log.push(stored),
            Err(_) => return Ok(Err(count(row, "seq")?)),
        }
    }
    Ok(Ok(log))
}

fn strict(row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
    Ok(StoredEvent {
        seq: count(row, "seq")?,
        kind: word(row, "kind")?,
        event: opt_json::<RunEvent>(row, "payload")?,
        at: time(row, "at")?,
    })
}

/// An event for its readers: one whose payload cannot be read looks redacted, and hides no other.
fn event(row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
    strict(row).or_else(|_| {
        let (seq, kind): (_, EventKind) = (count(row, "seq")?, word(row, "kind")?);
        tracing::error!(seq, %kind, "a stored event cannot be read");
        Ok(StoredEvent {
            seq,
            kind,
            event: None,
            at: time(row, "at")?,
        })
    })
}

/// Whether all events of the log are of these kinds, or deltas, which every version knows.
pub fn all_of(conn: &Connection, workspace: WorkspaceId, run: RunId, kinds: &[EventKind]) -> DbResult<bool> {
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    let mut statement = conn.prepare_cached(
        "SELECT 1 FROM run_event INDEXED BY run_event_steps
         WHERE workspace_id = ?1 AND run_id = ?2 AND kind <> 'delta' AND kind NOT IN (SELECT value FROM json_each(?3))",
    )?;
    Ok(!statement.exists(params![blob(workspace), blob(run), serde_json::to_string(&kinds)?])?)
}

/// The newest event of that kind, which is not `delta` (the index has no deltas); `None` too when its payload is gone.
pub fn newest(conn: &Connection, workspace: WorkspaceId, run: RunId, kind: EventKind) -> DbResult<Option<RunEvent>> {
    let mut statement = conn.prepare_cached(
        "SELECT p.payload FROM run_event e INDEXED BY run_event_steps
         JOIN run_event_payload p ON p.workspace_id = e.workspace_id AND p.run_id = e.run_id AND p.seq = e.seq
         WHERE e.workspace_id = ?1 AND e.run_id = ?2 AND e.kind <> 'delta' AND e.kind = ?3 ORDER BY e.seq DESC LIMIT 1",
    )?;
    let found: Option<Option<String>> = statement
        .query_row(params![blob(workspace), blob(run), kind.as_str()], |row| row.get(0))
        .optional()?;
    Ok(found.flatten().and_then(|payload| serde_json::from_str(&payload).ok()))
}

/// Whether the log holds an event of that kind, which is not `delta`.
pub fn has(conn: &Connection, workspace: WorkspaceId, run: RunId, kind: EventKind) -> DbResult<bool> {
    let mut statement = conn.prepare_cached(
        "SELECT 1 FROM run_event INDEXED BY run_event_steps
         WHERE workspace_id = ?1 AND run_id = ?2 AND kind <> 'delta' AND kind = ?3",
    )?;
    Ok(statement.exists(params![blob(workspace), blob(run), kind.as_str()])?)
}

/// Recomputes a run's chain: how many events hold, or the first `seq` that does not.
pub fn verify(conn: &Connection, workspace: WorkspaceId, run: RunId) -> DbResult<Result<u64, u64>> {
    let key = params![blob(workspace), blob(run)];
    let head: Option<(u64, Hash)> = conn
        .prepare_cached("SELECT last_seq, last_hash FROM run WHERE workspace_id = ?1 AND id = ?2")?
        .query_row(key, |row| Ok((count(row, "last_seq")?, row.get("last_hash")?)))
        .optional()?;
    // A message names a run that is gone with all its events.
    let Some(head) = head else { return Ok(Err(1)) };
    let mut statement = conn.prepare_cached(
        "SELECT e.*, p.salt, p.payload, p.seq IS NULL AS gone FROM run_event e
         LEFT JOIN run_event_payload p ON p.workspace_id = e.workspace_id AND p.run_id = e.run_id AND p.seq = e.seq
         WHERE e.workspace_id = ?1 AND e.run_id = ?2 ORDER BY e.seq",
    )?;
    let mut rows = statement.query(key)?;
    let mut last = Head::EMPTY;
    while let Some(row) = rows.next()? {
        let seq = count(row, "seq")?;
        if seq != last.seq + 1 {
            return Ok(Err(last.seq + 1));
        }
        let (Ok(kind), at) = (word(row, "kind"), time(row, "at")?) else {
            return Ok(Err(seq));
        };
        let payload: Hash = row.get("payload_hash")?;
        let (salt, text): (Option<Vec<u8>>, Option<String>) = (row.get("salt")?, row.get("payload")?);
        let untouched = match (salt, text) {
            (Some(salt), Some(text)) => payload_hash(&salt, text.as_bytes()) == payload,
            // A redacted payload is marked in its row; a missing one was taken away.
            _ => !row.get::<_, bool>("gone")?,
        };
        let hash = event_hash(
            &last.hash,
            &EventFields {
                run,
                seq,
                kind,
                at,
                payload,
            },
        );
        if !untouched || hash != row.get::<_, Hash>("chain_hash")? {
            return Ok(Err(seq));
        }
        last = Head { seq, hash };
    }
    Ok(if head == (last.seq, last.hash) {
        Ok(last.seq)
    } else {
        Err(last.seq + 1)
    })
}
