//! What an agent's connection may touch: SQLite asks at every statement's preparation, so that what is not listed here
//! cannot be done by an agent's code path at all, whatever the code above intends (P4, A4).

use std::cell::Cell;

use rusqlite::{
    Connection,
    hooks::{AuthAction, AuthContext, Authorization},
};

/// Tables that an agent's connection cannot read: secrets, what lets one act as a person, and what is not an agent's business.
pub const AGENT_UNREADABLE: &[&str] = &[
    "api_key",
    "audit_entry",
    "audit_head",
    "credential",
    "idempotency_key",
    "installation",
    "invitation",
    "memory_refusal",
    "notice",
    "run_event_outbox",
    "session",
    "workspace_key",
];

/// Tables into which an agent may insert rows. Everything else that is written inside a run goes through the driver's port.
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
    /// Whether the store is writing the audit entry of what an agent has just done, on this thread.
    static RECORDING: Cell<bool> = const { Cell::new(false) };
}

/// Lets `work` write an audit entry on an agent's connection: the entry belongs into the transaction of the agent's action,
/// and an agent's code path must not reach the log by itself. The statements of `work` must not be cached: a prepared
/// statement is not asked about again.
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

/// What writing an audit entry needs.
fn records(action: AuthAction<'_>) -> bool {
    match action {
        AuthAction::Read { table_name, .. } => table_name == "audit_head",
        AuthAction::Insert { table_name } => ["audit_entry", "audit_head"].contains(&table_name),
        AuthAction::Update { table_name, .. } => table_name == "audit_head",
        _ => false,
    }
}

/// Installs the rules on a connection; they hold until it closes.
pub fn narrow(conn: &Connection) -> rusqlite::Result<()> {
    conn.authorizer(Some(|context: AuthContext<'_>| decide(context.action)))
}

fn decide(action: AuthAction<'_>) -> Authorization {
    let allowed = match action {
        AuthAction::Select | AuthAction::Recursive | AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => true,
        AuthAction::Read { table_name, .. } => !AGENT_UNREADABLE.contains(&table_name),
        AuthAction::Function { function_name } => !function_name.eq_ignore_ascii_case("load_extension"),
        AuthAction::Insert { table_name } => AGENT_INSERTS.contains(&table_name),
        AuthAction::Update { table_name, column_name } => AGENT_UPDATES.contains(&(table_name, column_name)),
        AuthAction::Delete { table_name } => AGENT_DELETES.contains(&table_name),
        // FTS5 asks for this one before each read.
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
