//! Copies what can be read of a damaged file into a new one.
//!
//! Tables are read in key order. Where a page fails, the connection is replaced (it cannot read any more), and the first key
//! after the page is searched for in steps that double and then halve, so that intact pages are read completely. Whatever is
//! derived from other rows is rebuilt.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use rusqlite::{
    Connection, params_from_iter,
    types::{Value, ValueRef},
};

use super::{
    OpenOptions,
    audit::{self, Who},
    connect::{self, Access, Connector},
    error::DbError,
    lock::FileLock,
    mark, memory,
    open::{self, OpenError},
    rows::count_at,
    schema,
};
use crate::files;

/// What was copied, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Salvaged {
    /// Every table, with gaps or without.
    pub tables: Vec<SalvagedTable>,
    /// Rows left out because they refer to lost rows.
    pub dropped: Vec<Dropped>,
    /// Rows that refer to lost rows but were kept: if nobody can sign in, the new file is there only to be read.
    pub dangling: u64,
    /// Whether an owner of a workspace can sign in.
    pub owned: bool,
}

/// Rows of one table that were left out.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Dropped {
    /// Its name.
    pub table: String,
    /// How many.
    pub rows: u64,
}

/// What was copied of one table.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SalvagedTable {
    /// Its name.
    pub name: String,
    /// Rows that were copied.
    pub rows: u64,
    /// Where rows could not be read.
    pub gaps: Vec<Gap>,
}

/// A stretch of a table that could not be read, by its keys.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Gap {
    /// The last key before it; `None` at the beginning.
    pub after: Option<String>,
    /// The first key after it; `None` at the end.
    pub before: Option<String>,
}

impl Salvaged {
    /// Whether everything could be read.
    pub fn is_whole(&self) -> bool {
        self.dangling == 0 && self.dropped.is_empty() && self.tables.iter().all(|table| table.gaps.is_empty())
    }
}

/// Tables made anew in the new file instead of being copied.
const NOT_COPIED: &[&str] = &["file_state"];

/// See [`super::LocalStore::salvage`].
pub fn salvage(options: &OpenOptions, into: &Path) -> Result<Salvaged, OpenError> {
    let path = open::resolve(&options.path)?;
    let (_lock, connector) = lock(&path, options)?;
    let into = open::resolve(into)?;
    for taken in [into.clone(), wrapped_key(&into)] {
        if taken.try_exists().map_err(|error| OpenError::from_io(&taken, &error))? {
            return Err(OpenError::NotWritable {
                path: taken,
                reason: "there is a file of that name already".into(),
            });
        }
    }
    open::is_missing(&into)?;
    let mut source = Source::open(connector)?;
    let _target_lock = FileLock::take(&into)?;
    // Under another name until it is whole.
    let draft = files::beside(&into, ".draft");
    clear(&draft)?;
    let made = fill(&mut source, &draft, options).and_then(|salvaged| {
        for beside in [memory::tombstones_beside, wrapped_key] {
            copy_beside(&beside(&path), &beside(&into)).map_err(|error| OpenError::from_io(&beside(&into), &error))?;
        }
        std::fs::rename(&draft, &into)
            .and_then(|()| files::sync_folder(&into))
            .map_err(|error| OpenError::from_io(&into, &error))?;
        Ok(salvaged)
    });
    if made.is_err() {
        // The first error is the one to report.
        let _ = clear(&draft);
    }
    made
}

/// Keeps others out of the damaged file, as far as this process may write to it, and makes the connector that reads it.
fn lock(path: &Path, options: &OpenOptions) -> Result<(FileLock, Connector), OpenError> {
    let key = options.key.clone();
    if files::unwritable(path).is_none() {
        let mut lock = FileLock::take(path)?;
        lock.hold(path)?;
        return Ok((lock, Connector::new(path.to_owned(), key)));
    }
    let lock = FileLock::share(path)?;
    let log = files::beside(path, "-wal");
    if files::has_content(&log).map_err(|error| OpenError::from_io(&log, &error))? {
        return Err(OpenError::Behind {
            path: path.to_owned(),
            beside: log,
            what: "the newest changes",
        });
    }
    Ok((lock, Connector::immutable(path.to_owned(), key)))
}

/// Removes what an interrupted salvage left.
fn clear(draft: &Path) -> Result<(), OpenError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let left = files::beside(draft, suffix);
        files::remove(&left).map_err(|error| OpenError::from_io(&left, &error))?;
    }
    Ok(())
}

/// Makes the new file under its draft's name.
fn fill(source: &mut Source, draft: &Path, options: &OpenOptions) -> Result<Salvaged, OpenError> {
    let target = Connector::new(draft.to_owned(), options.key.clone());
    open::create(&target)?;
    let mut conn = target.connect(Access::Write)?;
    let salvaged = copy(source, &mut conn, options).map_err(|error| OpenError::from_db(draft, error))?;
    let failed = |error| OpenError::from_sqlite(draft, error);
    if !connect::empty_log(&conn).map_err(failed)? {
        return Err(OpenError::InUse {
            path: draft.to_owned(),
            pid: None,
        });
    }
    conn.close().map_err(|(_, error)| failed(error))?;
    Ok(salvaged)
}

/// The wrapped key, if a passphrase protects it: the new file has the same.
fn wrapped_key(database: &Path) -> PathBuf {
    files::beside(database, ".key")
}

fn copy_beside(from: &Path, to: &Path) -> std::io::Result<()> {
    match std::fs::File::open(from) {
        Ok(mut file) => {
            let draft = files::beside(to, ".draft");
            let mut copy = files::private().write(true).create(true).truncate(true).open(&draft)?;
            std::io::copy(&mut file, &mut copy)?;
            copy.sync_all()?;
            std::fs::rename(draft, to)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn copy(source: &mut Source, target: &mut Connection, options: &OpenOptions) -> Result<Salvaged, DbError> {
    target.execute_batch("PRAGMA foreign_keys = OFF")?;
    let transaction = target.transaction()?;
    let names = |sql: &str| -> rusqlite::Result<Vec<(String, String)>> {
        transaction
            .prepare(sql)?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    };
    // Triggers keep new rows consistent with the rest; here the rest is copied too.
    let triggers = names("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")?;
    for (name, _) in &triggers {
        transaction.execute_batch(&format!("DROP TRIGGER \"{name}\""))?;
    }
    let mut salvaged = Salvaged::default();
    let tables = names(
        "SELECT name, name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
         ORDER BY name",
    )?;
    for (name, _) in tables.iter().filter(|(name, _)| !NOT_COPIED.contains(&name.as_str())) {
        let table = Table::of(&transaction, name)?;
        salvaged.tables.push(source.copy(&table, &transaction)?);
    }
    // A lost vector is computed again; a chain that lost its head ends where its entries end; a file with an owner is not set up
    // again.
    transaction.execute_batch(
        "UPDATE installation SET owner_since = (SELECT min(joined_at) FROM member WHERE role = 'owner') WHERE owner_since IS NULL;
         UPDATE memory SET embedded = NULL
         WHERE embedded IS NOT NULL AND NOT EXISTS (SELECT 1 FROM memory_vector v WHERE v.memory = memory.key);
         INSERT OR IGNORE INTO audit_head (workspace_id, seq, hash)
         SELECT workspace_id, max(seq), chain_hash FROM audit_entry GROUP BY workspace_id;
         SAVEPOINT dropping;",
    )?;
    let all: Vec<&str> = tables.iter().map(|(name, _)| name.as_str()).collect();
    salvaged.dropped = drop_dangling(&transaction, &all)?;
    salvaged.owned = is_owned(&transaction)?;
    if !salvaged.owned {
        // Without the account or the membership, everything would be dropped with it.
        salvaged.dropped.clear();
        transaction.execute_batch("ROLLBACK TO dropping")?;
    }
    transaction.execute_batch("RELEASE dropping")?;
    for (_, sql) in &triggers {
        transaction.execute_batch(sql)?;
    }
    let indexes = names("SELECT name, name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%USING fts5%'")?;
    for (name, _) in &indexes {
        transaction.execute_batch(&format!("INSERT INTO \"{name}\" (\"{name}\") VALUES ('rebuild')"))?;
    }
    salvaged.dangling = transaction.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| count_at(row, 0))?;
    let gaps: usize = salvaged.tables.iter().map(|table| table.gaps.len()).sum();
    let dropped: u64 = salvaged.dropped.iter().map(|dropped| dropped.rows).sum();
    let details = serde_json::json!({"gaps": gaps, "dropped": dropped, "dangling": salvaged.dangling});
    for (workspace, owner) in mark::owners(&transaction)? {
        let entry = audit::done("file.salvaged", "file".to_owned(), details.clone());
        // If entries remain after a lost head, the new entry has no place; then the gap is all that is reported.
        match audit::record(&transaction, &options.env, Who::person(workspace, owner), entry) {
            Ok(_) => {}
            Err(error) => tracing::warn!(?error, "the audit log of a workspace could not be continued"),
        }
    }
    transaction.commit()?;
    Ok(salvaged)
}

/// Whether an owner of a workspace has an account to sign in with.
fn is_owned(conn: &Connection) -> rusqlite::Result<bool> {
    conn.prepare(
        "SELECT 1 FROM member m JOIN workspace w ON w.id = m.workspace_id JOIN user u ON u.id = m.user_id
         JOIN credential c ON c.user_id = u.id WHERE m.role = 'owner'",
    )?
    .exists([])
}

/// Columns that name a row of another table without a foreign key, as `(table, column, other table)`; they hold the other row's
/// `key`.
const NAMES: &[(&str, &str, &str)] = &[
    ("memory_term", "memory", "memory"),
    ("memory_term", "class", "memory_class"),
    ("memory_thread", "class", "memory_class"),
    ("memory_code", "memory", "memory"),
    ("memory_code", "partition", "memory_partition"),
    ("memory_code", "vector", "memory_vector"),
    ("memory_code_gone", "partition", "memory_partition"),
    ("memory_refusal", "memory", "memory"),
];

/// Leaves out rows that refer to lost rows, and what refers to those; a nullable reference is set to null instead.
fn drop_dangling(conn: &Connection, tables: &[&str]) -> rusqlite::Result<Vec<Dropped>> {
    let mut statements = Vec::new();
    for table in tables {
        for (nulls, condition) in references(conn, table)? {
            if let Some(nulls) = nulls {
                statements.push((*table, format!("UPDATE OR IGNORE \"{table}\" SET {nulls} WHERE {condition}")));
            }
            statements.push((*table, format!("DELETE FROM \"{table}\" WHERE {condition}")));
        }
    }
    for (table, column, other) in NAMES {
        let sql = format!("DELETE FROM \"{table}\" WHERE \"{column}\" NOT IN (SELECT key FROM \"{other}\")");
        statements.push((*table, sql));
    }
    let mut dropped = BTreeMap::new();
    loop {
        let mut changed = 0;
        for (table, sql) in &statements {
            let rows = conn.execute(sql, [])?;
            changed += rows;
            if rows > 0 && sql.starts_with("DELETE") {
                *dropped.entry((*table).to_owned()).or_insert(0) += rows as u64;
            }
        }
        if changed == 0 {
            return Ok(dropped.into_iter().map(|(table, rows)| Dropped { table, rows }).collect());
        }
    }
}

/// The foreign keys of a table: the assignment that empties one, if it is nullable, and the condition that its target is lost.
fn references(conn: &Connection, table: &str) -> rusqlite::Result<Vec<(Option<String>, String)>> {
    let mut keys: BTreeMap<i64, Vec<(String, String, String, bool)>> = BTreeMap::new();
    let mut statement = conn.prepare(
        "SELECT f.id, f.\"table\", f.\"from\", coalesce(f.\"to\", 'key'), t.\"notnull\" = 0 AND t.pk = 0
         FROM pragma_foreign_key_list(?1) f JOIN pragma_table_info(?1) t ON t.name = f.\"from\" ORDER BY f.id, f.seq",
    )?;
    let mut rows = statement.query([table])?;
    while let Some(row) = rows.next()? {
        let column = (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
        keys.entry(row.get(0)?).or_default().push(column);
    }
    let reference = |columns: Vec<(String, String, String, bool)>| {
        let other = columns.first().map(|(other, ..)| other.clone()).unwrap_or_default();
        let join = |parts: Vec<String>, with: &str| parts.join(with);
        let own = |(_, from, ..): &(String, String, String, bool)| format!("\"{table}\".\"{from}\"");
        let set = join(
            columns.iter().map(|column| format!("{} IS NOT NULL", own(column))).collect(),
            " AND ",
        );
        let same = columns.iter().map(|column| format!("o.\"{}\" = {}", column.2, own(column)));
        let condition = format!(
            "{set} AND NOT EXISTS (SELECT 1 FROM \"{other}\" o WHERE {})",
            join(same.collect(), " AND ")
        );
        let empty = columns.iter().filter(|(.., nullable)| *nullable);
        let nulls: Vec<String> = empty.map(|(_, from, ..)| format!("\"{from}\" = NULL")).collect();
        ((!nulls.is_empty()).then(|| join(nulls, ", ")), condition)
    };
    Ok(keys.into_values().map(reference).collect())
}

/// A table to copy.
struct Table {
    name: String,
    columns: Vec<String>,
    /// The columns its rows are sorted by.
    keys: Vec<String>,
}

impl Table {
    fn of(conn: &Connection, name: &str) -> rusqlite::Result<Self> {
        let mut columns = Vec::new();
        let mut keys = Vec::new();
        let mut statement = conn.prepare("SELECT name, pk FROM pragma_table_info(?1) ORDER BY cid")?;
        let mut rows = statement.query([name])?;
        while let Some(row) = rows.next()? {
            let column: String = row.get(0)?;
            match row.get::<_, i64>(1)? {
                0 => {}
                place => keys.push((place, column.clone())),
            }
            columns.push(column);
        }
        keys.sort();
        let mut keys: Vec<String> = keys.into_iter().map(|(_, name)| name).collect();
        let without_rowid: bool = conn.query_row("SELECT wr FROM pragma_table_list WHERE name = ?1", [name], |row| row.get(0))?;
        if !without_rowid {
            keys = vec!["rowid".into()];
        }
        Ok(Self {
            name: name.to_owned(),
            columns,
            keys,
        })
    }

    /// Rows from a place on; the key comes first, then the columns.
    fn select(&self, from: Option<&Place>, limit: &str) -> String {
        let list = |names: &[String]| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let keys = list(&self.keys);
        let condition = from.map_or_else(String::new, |place| {
            let names = list(&self.keys[..place.key.len()]);
            let marks = vec!["?"; place.key.len()].join(", ");
            let sign = if place.itself { ">=" } else { ">" };
            format!("WHERE ({names}) {sign} ({marks})")
        });
        format!(
            "SELECT {keys}, {} FROM \"{}\" {condition} ORDER BY {keys} {limit}",
            list(&self.columns),
            self.name
        )
    }

    fn insert(&self) -> String {
        let columns = self
            .columns
            .iter()
            .map(|name| format!("\"{name}\""))
            .collect::<Vec<_>>()
            .join(", ");
        let marks = vec!["?"; self.columns.len()].join(", ");
        // The installation's single row exists from the start.
        format!("INSERT OR REPLACE INTO \"{}\" ({columns}) VALUES ({marks})", self.name)
    }
}

/// A place in a table's order: a key, or the first columns of one.
#[derive(Clone)]
struct Place {
    key: Vec<Value>,
    /// Whether the row with this key is included.
    itself: bool,
}

/// The damaged file.
struct Source {
    connector: Connector,
    conn: Connection,
}

impl Source {
    fn open(connector: Connector) -> Result<Self, OpenError> {
        let conn = connector.connect_keeping_log(Access::Salvage).map_err(|error| match error {
            OpenError::Damaged(path) => OpenError::Unlisted(path),
            other => other,
        })?;
        schema::check_parts(&conn)?;
        schema::check_owner(connector.path(), &conn)?;
        schema::check_version(connector.path(), &conn)?;
        Ok(Self { connector, conn })
    }

    fn renew(&mut self) -> Result<(), DbError> {
        self.conn = self
            .connector
            .connect_keeping_log(Access::Salvage)
            .map_err(|error| duet_core::StoreError::unavailable(error.to_string()))?;
        Ok(())
    }

    fn copy(&mut self, table: &Table, target: &Connection) -> Result<SalvagedTable, DbError> {
        let mut done = SalvagedTable {
            name: table.name.clone(),
            rows: 0,
            gaps: Vec::new(),
        };
        let mut place: Option<Place> = None;
        while self.read(table, &mut place, target, &mut done.rows)?.is_err() {
            self.renew()?;
            let next = self.behind(table, place.as_ref())?;
            done.gaps.push(Gap {
                after: place.filter(|place| !place.itself).map(|place| shown(&place.key)),
                before: next.as_ref().map(|next| shown(next)),
            });
            match next {
                Some(key) => place = Some(Place { key, itself: true }),
                None => break,
            }
        }
        Ok(done)
    }

    /// Copies from the place on, as far as rows can be read, and moves the place along. An error in the new file ends everything.
    fn read(
        &self,
        table: &Table,
        place: &mut Option<Place>,
        target: &Connection,
        rows: &mut u64,
    ) -> Result<rusqlite::Result<()>, DbError> {
        let mut insert = target.prepare(&table.insert())?;
        let mut statement = match self.conn.prepare(&table.select(place.as_ref(), "")) {
            Ok(statement) => statement,
            Err(error) => return Ok(Err(error)),
        };
        let from = place.iter().flat_map(|place| place.key.clone());
        let mut found = match statement.query(params_from_iter(from)) {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let keys = table.keys.len();
        loop {
            let row = match found.next() {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            };
            let values: rusqlite::Result<Vec<Value>> = (0..keys + table.columns.len()).map(|column| row.get(column)).collect();
            let values = match values {
                Ok(values) => values,
                Err(error) => return Ok(Err(error)),
            };
            insert.execute(params_from_iter(&values[keys..]))?;
            *rows += 1;
            *place = Some(Place {
                key: values[..keys].to_vec(),
                itself: false,
            });
        }
    }

    /// The first key after the damage that begins at the place. Steps go up from its key, in the last column first: if every step
    /// of a column fails, or it has no steps, the column before it is tried.
    fn behind(&mut self, table: &Table, place: Option<&Place>) -> Result<Option<Vec<Value>>, DbError> {
        let start = place.map(|place| place.key.as_slice());
        for column in (0..table.keys.len()).rev() {
            // If nothing has been read yet, any key of the column's kind will do as a start.
            let kinds: Vec<Value> = match start {
                Some(key) => vec![key[column].clone()],
                None if column == 0 => vec![Value::Integer(i64::MIN), Value::Blob(vec![0; 16])],
                None => continue,
            };
            for first in kinds {
                let prefix = start.map(|key| &key[..column]).unwrap_or_default();
                if let Some(found) = self.climb(table, prefix, &first)? {
                    return Ok(found);
                }
            }
        }
        Ok(None)
    }

    /// Doubles the step until something can be read, then halves what was skipped. `None` if nothing can be read this way;
    /// `Some(None)` if what can be read is that there are no more rows.
    fn climb(&mut self, table: &Table, prefix: &[Value], first: &Value) -> Result<Option<Option<Vec<Value>>>, DbError> {
        let place = |step: u128| {
            let mut key = prefix.to_vec();
            key.push(stepped(first, step)?);
            Some(Place { key, itself: true })
        };
        let (mut fails, mut reads) = (0, None);
        for bit in 0..128 {
            let Some(place) = place(1 << bit) else { break };
            if let Some(found) = self.probe(table, &place)? {
                reads = Some((1_u128 << bit, found));
                break;
            }
            fails = 1 << bit;
        }
        let Some((mut step, mut found)) = reads else { return Ok(None) };
        while step - fails > 1 {
            let middle = fails + (step - fails) / 2;
            let Some(place) = place(middle) else { break };
            match self.probe(table, &place)? {
                Some(nearer) => (step, found) = (middle, nearer),
                None => fails = middle,
            }
        }
        Ok(Some(found))
    }

    /// The first row from the place on; `None` if it cannot be read.
    fn probe(&mut self, table: &Table, place: &Place) -> Result<Option<Option<Vec<Value>>>, DbError> {
        let keys = table.keys.len();
        let ask = |conn: &Connection| -> rusqlite::Result<Option<Vec<Value>>> {
            let mut statement = conn.prepare(&table.select(Some(place), "LIMIT 1"))?;
            let mut rows = statement.query(params_from_iter(&place.key))?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let values: Vec<Value> = (0..keys + table.columns.len())
                .map(|column| row.get(column))
                .collect::<Result<_, _>>()?;
            Ok(Some(values[..keys].to_vec()))
        };
        if let Ok(found) = ask(&self.conn) {
            return Ok(Some(found));
        }
        self.renew()?;
        Ok(None)
    }
}

/// A key column moved on by this many steps; `None` past its end, or if it has no steps.
fn stepped(value: &Value, step: u128) -> Option<Value> {
    match value {
        Value::Integer(number) => {
            let further = i128::from(*number).checked_add(i128::try_from(step).ok()?)?;
            Some(Value::Integer(i64::try_from(further).ok()?))
        }
        Value::Blob(bytes) => {
            let number = u128::from_be_bytes(bytes.as_slice().try_into().ok()?);
            Some(Value::Blob(number.checked_add(step)?.to_be_bytes().to_vec()))
        }
        _ => None,
    }
}

/// A key for people.
fn shown(key: &[Value]) -> String {
    let one = |value: &Value| match ValueRef::from(value) {
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Blob(bytes) => uuid::Uuid::from_slice(bytes).map_or_else(|_| hex::encode(bytes), |id| id.to_string()),
        // A word of the index, or a person's own words: not to be shown.
        _ => "…".to_owned(),
    };
    key.iter().map(one).collect::<Vec<_>>().join(" ")
}
