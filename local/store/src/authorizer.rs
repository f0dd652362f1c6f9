//! What an agent's connection may touch. SQLite asks when it prepares a statement, so an agent's code path cannot do anything
//! that is not listed here, whatever the code above intends.

use std::cell::Cell;

use rusqlite::{
    Connection,
    hooks::{AuthAction, AuthContext, Authorization},
};

/// Tables that an agent's connection cannot read: secrets, what lets one act as a person, and what agents have no business with.
pub const AGENT_UNREADABLE: &[&str] = &[
    "api_key",
    "audit_entry",
    "audit_head",
    "credential",
    "device_login",
    "file_state",
    "idempotency_key",
    "installation",
    "invitation",
    "memory_refusal",
    "notice",
    "policy_version",
    "request",
    "run_event_outbox",
    "session",
    "workspace_key",
];

/// Text columns that an agent's connection reads only through a view, as `(table, column, view)`: the view leaves out what must
/// not reach the agent's model.
pub const AGENT_READS_THROUGH: &[(&str, &str, &str)] = &[
    ("message", "text", "message_shown"),
    ("message", "trace", "message_shown"),
    ("memory_content", "text", "memory_content_shown"),
    ("memory_content", "sealed", "memory_content_shown"),
    ("memory_content", "speaker", "memory_content_shown"),
];

/// Tables into which an agent may insert rows. Everything else written inside a run goes through the driver's port.
pub const AGENT_INSERTS: &[&str] = &[
    "embedding_model",
    "memory",
    "memory_class",
    "memory_code",
    "memory_code_gone",
    "memory_content",
    "memory_partition",
    "memory_term",
    "memory_thread",
    "memory_vector",
];

/// Columns that an agent may update, as `(table, column)`.
pub const AGENT_UPDATES: &[(&str, &str)] = &[
    ("memory", "embedded"),
    ("memory", "length"),
    ("memory", "live"),
    ("memory_class", "documents"),
    ("memory_class", "length"),
    ("memory_content", "superseded_by"),
    ("memory_content", "terms"),
    ("memory_content", "valid_to"),
    ("memory_partition", "generation"),
    ("memory_partition", "vectors"),
    ("memory_thread", "documents"),
    ("memory_thread", "length"),
];

/// Tables from which an agent's connection may delete rows.
pub const AGENT_DELETES: &[&str] = &["memory_code", "memory_term", "memory_vector"];

thread_local! {
    /// Whether this thread is writing the audit entry of an agent's action.
    static RECORDING: Cell<bool> = const { Cell::new(false) };
}

/// Lets `work` write an audit entry on an agent's connection: the entry belongs in the transaction of the agent's action, and an
/// agent's code path must not reach the log on its own. The statements of `work` must not be cached: SQLite does not ask again
/// about a prepared statement.
pub fn recording<T>(work: impl FnOnce() -> T) -> T {
    struct Done;
    impl Drop for Done {
        fn drop(&mut self) {
            RECORDING.set(false);
        }
    }
    RECORDING.set(true);
    let _done = Done;
    work()
}

/// What it takes to write an audit entry and to count its commit.
fn records(action: AuthAction<'_>) -> bool {
    match action {
        AuthAction::Read { table_name, .. } => ["audit_head", "file_state"].contains(&table_name),
        AuthAction::Insert { table_name } => ["audit_entry", "audit_head"].contains(&table_name),
        AuthAction::Update {
            table_name: "file_state",
            column_name,
        } => ["commits", "base", "closed"].contains(&column_name),
        AuthAction::Update { table_name, .. } => table_name == "audit_head",
        _ => false,
    }
}

/// Installs the rules on a connection; they hold until it closes.
pub fn narrow(conn: &Connection) -> rusqlite::Result<()> {
    conn.authorizer(Some(|context: AuthContext<'_>| decide(context.action, context.accessor)))
}

/// Whether a column may be read in the innermost view or trigger that a statement runs through.
fn reads(table: &str, column: &str, through: Option<&str>) -> bool {
    let view = AGENT_READS_THROUGH
        .iter()
        .find(|(of, named, _)| (*of, *named) == (table, column));
    !AGENT_UNREADABLE.contains(&table) && view.is_none_or(|(_, _, view)| through == Some(*view))
}

fn decide(action: AuthAction<'_>, through: Option<&str>) -> Authorization {
    let allowed = match action {
        AuthAction::Select | AuthAction::Recursive | AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => true,
        AuthAction::Read { table_name, column_name } => reads(table_name, column_name, through),
        AuthAction::Function { function_name } => !function_name.eq_ignore_ascii_case("load_extension"),
        AuthAction::Insert { table_name } => AGENT_INSERTS.contains(&table_name),
        AuthAction::Update { table_name, column_name } => AGENT_UPDATES.contains(&(table_name, column_name)),
        AuthAction::Delete { table_name } => AGENT_DELETES.contains(&table_name),
        // FTS5 asks for this pragma before each read.
        AuthAction::Pragma {
            pragma_name: "data_version",
            pragma_value: None,
        } => true,
        _ => false,
    };
    if allowed || (RECORDING.get() && records(action)) {
        Authorization::Allow
    } else {
        Authorization::Deny
    }
}
