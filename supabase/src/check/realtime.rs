//! Whether hints of runs get to Supabase Realtime, where the database has it.

use serde::Deserialize;
use sqlx::{PgConnection, types::Json};

use super::{Finding, MIGRATE};

/// What `driver.realtime_state` answers.
#[derive(Deserialize)]
struct State {
    /// Realtime's tables and functions are there.
    here: bool,
    /// Runs send hints.
    trigger: bool,
    /// Whoever may see a run may join its topic.
    policy: bool,
    /// Row level security of Realtime's messages is on.
    secured: bool,
    /// A hint sent for the look was there.
    arrives: bool,
    /// Policies by which others than the server could send.
    senders: Vec<String>,
    /// Tables of Duet's that are published, past every function.
    published: Vec<String>,
}

/// Realtime swallows what goes wrong when a hint is sent, so one is sent and looked for.
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
