//! `duet memory notices`.

use clap::Args;
use duet_core::domain::{Notice, NoticeAction};
use serde_json::json;

use super::{
    connect::Connection,
    exit::Outcome,
    ids,
    output::{Output, brief, local_time},
};

/// Options of `duet memory notices`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  duet memory notices\n  duet memory notices --blank 0198…")]
pub struct NoticeArgs {
    /// Remove the replies of this notice, named by its id or the beginning of it, for good
    #[arg(long, value_name = "ID", conflicts_with = "dismiss")]
    blank: Option<String>,
    /// Keep the replies of this notice, named by its id or the beginning of it
    #[arg(long, value_name = "ID")]
    dismiss: Option<String>,
}

impl NoticeArgs {
    /// The decision, and the notice it is about.
    pub fn decision(&self) -> Option<(&str, NoticeAction)> {
        match (&self.blank, &self.dismiss) {
            (Some(id), _) => Some((id, NoticeAction::Blank)),
            (None, Some(id)) => Some((id, NoticeAction::Dismiss)),
            (None, None) => None,
        }
    }
}

/// Most notices listed.
const MOST_NOTICES: usize = 1_000;

pub async fn run(connection: &Connection, output: Output, args: &NoticeArgs) -> Outcome {
    if let Some((id, action)) = args.decision() {
        let id = whole_id(connection, id).await?;
        let path = connection.path(&format!("/notices/{id}"));
        let notice: Notice = connection.client.post(&path, &json!({"action": action})).await?;
        return match output.json {
            true => output.value(&notice),
            false => output.line(match notice.settled {
                Some(NoticeAction::Blank) => "The replies were removed.",
                Some(NoticeAction::Dismiss) | None => "The replies stay.",
            }),
        };
    }
    let notices: Vec<Notice> = connection.pages("/notices", "", MOST_NOTICES).await?;
    if output.json {
        return output.value(&notices);
    }
    let rows: Vec<_> = notices
        .iter()
        .map(|notice| {
            let titles: Vec<&str> = notice.replies.iter().map(|reply| reply.title.as_str()).collect();
            [
                notice.id.to_string(),
                local_time(notice.created_at),
                notice.replies.len().to_string(),
                brief(&titles.join(", "), 80),
            ]
        })
        .collect();
    output.table(["ID", "REDACTED", "REPLIES", "CONVERSATIONS"], &rows, "There are no notices.")
}

/// The full id of an open notice; an id given in full may also be that of a settled one.
async fn whole_id(connection: &Connection, given: &str) -> Outcome<String> {
    if let Some(whole) = ids::whole(given) {
        return Ok(whole);
    }
    let notices: Vec<Notice> = connection.pages("/notices", "", MOST_NOTICES).await?;
    let all = notices.iter().map(|notice| notice.id.to_string());
    ids::only(ids::begun(all, given), "notices", given)
}
