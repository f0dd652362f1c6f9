//! Whether hints about runs reach Supabase Realtime, if the database has it.

use serde::Deserialize;
use sqlx::{PgConnection, types::Json};

use super::{Finding, MIGRATE};

/// The answer of `driver.realtime_state`.
#[derive(Deserialize)]
struct State {
    /// Realtime's tables and functions exist.
    here: bool,
    /// Runs send hints.
    trigger: bool,
    /// Everyone who may see a run may join its topic.
    policy: bool,
    /// Row level security is on for Realtime's messages.
    secured: bool,
    /// A test hint arrived.
    arrives: bool,
    /// Policies that let others than the server send.
    senders: Vec<String>,
    /// Published tables of Duet, which bypass every function.
    published: Vec<String>,
}

/// Realtime swallows errors when a hint is sent, so this sends one and looks for it.
pub async fn state(connection: &mut PgConnection) -> Result<Finding, sqlx::Error> {
    const NAME: &str = "realtime";
    let Json(answer): Json<serde_json::Value> = sqlx::query_scalar("select driver.realtime_state()")
        .persistent(false)
        .fetch_one(connection)
        .await?;
    let state: State = serde_json::from_value(answer["ok"].clone()).map_err(|error| sqlx::Error::Decode(error.into()))?;
    if !state.published.is_empty() {
        return Ok(Finding::problem(
            NAME,
            format!(
                "the publication `supabase_realtime` has duet.{}",
                state.published.join(", duet.")
            ),
            "As the owner: `alter publication supabase_realtime drop table …` for the tables named; Duet sends hints instead of rows.",
        ));
    }
    if !state.here {
        return Ok(Finding::ok(
            NAME,
            "not in this database; live updates come from Duet's own server",
        ));
    }
    Ok(match state {
        State { secured: false, .. } => Finding::problem(
            NAME,
            "row level security of realtime.messages is off: everyone can join every topic",
            "As the owner: `alter table realtime.messages enable row level security`.",
        ),
        State { trigger: false, .. } | State { policy: false, .. } => {
            Finding::problem(NAME, "runs send no hints, or nobody may join their topics", MIGRATE)
        }
        State { arrives: false, .. } => Finding::problem(
            NAME,
            "a hint was sent and did not arrive: a partition of realtime.messages for today or a grant of the owner's is missing",
            "Restart Realtime in the project's settings, which makes the partitions; as the owner: `grant insert on realtime.messages to postgres`.",
        ),
        State { senders, .. } if !senders.is_empty() => Finding::warning(
            NAME,
            format!("people can send messages by the policies {}", senders.join(", ")),
            "Duet needs no policy for insert on realtime.messages. A forged hint makes a browser look at the log once more, nothing else.",
        ),
        _ => Finding::ok(NAME, "hints arrive, and only a run's own person may join its topic"),
    })
}
