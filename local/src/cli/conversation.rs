//! `duet conversation`.

use std::{io::IsTerminal, path::PathBuf};

use axum::http::Method;
use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use duet_core::domain::{Agent, Conversation, Label, LabelEdit, Message, MessageRole, MessageStatus};
use futures::{Stream, StreamExt};
use serde_json::{Value, json};

use super::{
    Global,
    connect::{self, Connection, Purpose},
    exit::{Failure, Outcome},
    ids, input,
    output::{Output, brief, closed, confirm, local_time, printable},
};

/// `duet conversation …`.
#[derive(Debug, Subcommand)]
pub enum ConversationCommand {
    /// List conversations, latest first
    List {
        /// Only archived ones
        #[arg(long)]
        archived: bool,
        /// At most this many
        #[arg(long, short = 'n', default_value = "50", value_parser = input::count, value_name = "COUNT")]
        limit: usize,
    },
    /// Print a conversation's messages, oldest first
    Show {
        /// Its id or the beginning of it, or `last`
        #[arg(default_value = "last")]
        id: String,
        /// How many of the newest messages
        #[arg(long, short = 'n', default_value = "50", value_parser = input::count, value_name = "COUNT")]
        limit: usize,
    },
    /// Show the branch of another version of a message
    Switch {
        /// The conversation's id or the beginning of it, or `last`
        id: String,
        /// The message's whole id, as `duet conversation show` names other versions
        message: String,
    },
    /// Write what a conversation shows as a file
    Export(ExportArgs),
    /// Give a conversation a new title
    Rename {
        /// Its id or the beginning of it, or `last`
        id: String,
        /// The title, 1 to 200 characters
        #[arg(required = true, value_name = "TITLE")]
        title: Vec<String>,
    },
    /// Archive a conversation, or bring it back
    Archive {
        /// Its id or the beginning of it, or `last`
        id: String,
        /// Bring it back
        #[arg(long)]
        undo: bool,
    },
    /// Trust messages that contain text from outside, or clear another of their labels
    Trust(TrustArgs),
    /// Delete a conversation with all its messages, for good; what was remembered from it stays
    Delete {
        /// Its id or the beginning of it, or `last`
        id: String,
        /// Do not ask for confirmation
        #[arg(long, short)]
        yes: bool,
    },
}

/// Options of `duet conversation trust`.
#[derive(Debug, Args)]
#[command(
    after_help = "Later replies are made with the messages as they are then; what was made of them before keeps its labels.\n\n\
    Examples:\n  \
    duet conversation trust last\n  \
    duet conversation trust last --message 0198… --label others"
)]
pub struct TrustArgs {
    /// Its id or the beginning of it, or `last`
    id: String,
    /// Only this message, by its id or the beginning of it (`duet conversation show --json` has the ids)
    #[arg(long, short, value_name = "ID")]
    message: Option<String>,
    /// Which label to clear; can be given several times
    #[arg(long = "label", value_enum, default_value = "integrity", value_name = "LABEL")]
    labels: Vec<Marked>,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

/// Labels that a message can have.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Marked {
    /// It contains text from a tool, a document or an import
    Integrity,
    /// Only local models may read it
    Egress,
    /// It contains text of a sensitive memory
    Sensitive,
    /// It contains another member's memory
    Others,
}

impl Marked {
    fn word(self) -> Label {
        match self {
            Self::Integrity => Label::Integrity,
            Self::Egress => Label::Egress,
            Self::Sensitive => Label::Sensitive,
            Self::Others => Label::Others,
        }
    }
}

/// How a message with this label is described.
fn mark(label: Label) -> &'static str {
    match label {
        Label::Integrity => "untrusted",
        Label::Egress => "for local models only",
        Label::Sensitive => "sensitive",
        Label::Others => "with others\u{2019} memories",
    }
}

/// Export formats.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For reading
    Markdown,
    /// For processing
    Json,
}

/// Options of `duet conversation export`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  duet conversation export last -o talk.md")]
pub struct ExportArgs {
    /// Its id or the beginning of it, or `last`
    id: String,
    /// The format
    #[arg(long, value_enum, default_value = "markdown")]
    format: Format,
    /// Write to this file instead of the standard output; it must not exist yet
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub async fn run(global: &Global, output: Output, command: ConversationCommand) -> Outcome {
    let purpose = match &command {
        ConversationCommand::List { .. } | ConversationCommand::Show { .. } | ConversationCommand::Export(_) => Purpose::Read,
        ConversationCommand::Switch { .. }
        | ConversationCommand::Rename { .. }
        | ConversationCommand::Archive { .. }
        | ConversationCommand::Trust(_)
        | ConversationCommand::Delete { .. } => Purpose::Write,
    };
    let connection = connect::connect(global, output, purpose).await?;
    let outcome = match command {
        ConversationCommand::List { archived, limit } => list(&connection, output, archived, limit).await,
        ConversationCommand::Show { id, limit } => show(&connection, output, &id, limit).await,
        ConversationCommand::Switch { id, message } => switch(&connection, output, &id, &message).await,
        ConversationCommand::Export(args) => export(&connection, output, &args).await,
        ConversationCommand::Rename { id, title } => {
            let edit = json!({"title": title.join(" ")});
            let done = |one: &Conversation| format!("It is called \u{201c}{}\u{201d} now.", brief(&one.title, 200));
            change(&connection, output, &id, &edit, done).await
        }
        ConversationCommand::Archive { id, undo } => {
            let edit = json!({"archived": !undo});
            let done = |one: &Conversation| {
                let what = if one.archived { "is archived" } else { "is back" };
                format!("{} {what}.", title(one))
            };
            change(&connection, output, &id, &edit, done).await
        }
        ConversationCommand::Trust(args) => trust(&connection, output, &args).await,
        ConversationCommand::Delete { id, yes } => delete(&connection, output, &id, yes).await,
    };
    connection.close().await;
    outcome
}

async fn list(connection: &Connection, output: Output, archived: bool, limit: usize) -> Outcome {
    let query = if archived { "&archived=true" } else { "" };
    let conversations: Vec<Conversation> = connection.pages("/conversations", query, limit).await?;
    if output.json {
        return output.value(&conversations);
    }
    let rows: Vec<_> = conversations
        .iter()
        .map(|one| [one.id.to_string(), local_time(one.updated_at), brief(&one.title, 70)])
        .collect();
    output.table(["ID", "LATEST", "TITLE"], &rows, "There are no conversations.")
}

/// How a sentence names a conversation.
fn title(conversation: &Conversation) -> String {
    match conversation.title.as_str() {
        "" => "The conversation without a title".to_owned(),
        title => format!("\u{201c}{}\u{201d}", brief(title, 60)),
    }
}

async fn change(
    connection: &Connection,
    output: Output,
    id: &str,
    edit: &Value,
    done: impl FnOnce(&Conversation) -> String,
) -> Outcome {
    let id = connection.conversation(id).await?;
    let path = connection.path(&format!("/conversations/{id}"));
    let changed: Conversation = connection.client.patch(&path, edit).await?;
    match output.json {
        true => output.value(&changed),
        false => {
            output.say(&done(&changed));
            Ok(())
        }
    }
}

async fn switch(connection: &Connection, output: Output, id: &str, message: &str) -> Outcome {
    let id = connection.conversation(id).await?;
    let message = ids::whole(message).ok_or_else(|| {
        Failure::usage(format!(
            "`{message}` is not a whole id. `duet conversation show` names the other versions of a message."
        ))
    })?;
    let path = connection.path(&format!("/conversations/{id}/messages/{message}/show"));
    let shown: Conversation = connection.client.post(&path, &json!({})).await?;
    match output.json {
        true => output.value(&shown),
        false => {
            output.say(&format!("{} shows that branch now.", title(&shown)));
            Ok(())
        }
    }
}

/// The message of a conversation, among those that it shows, that is meant.
pub async fn message(connection: &Connection, conversation: &str, given: &str) -> Outcome<String> {
    if let Some(id) = ids::whole(given) {
        return Ok(id.to_string());
    }
    let path = format!("/conversations/{conversation}/messages");
    let messages: Vec<Message> = connection.pages(&path, "", usize::MAX).await?;
    let all = messages.iter().map(|message| message.id.to_string());
    ids::only(ids::begun(all, given), "messages", given)
}

/// Which version of a message this is, and where its neighbours are.
fn version(message: &Message) -> Option<String> {
    let siblings = message.siblings?;
    let near = [("before", siblings.previous), ("after", siblings.next)];
    let near: Vec<String> = near
        .into_iter()
        .filter_map(|(word, id)| Some(format!("{word}: {}", id?)))
        .collect();
    Some(format!("version {} of {}; {}", siblings.nth, siblings.of, near.join(", ")))
}

async fn delete(connection: &Connection, output: Output, id: &str, yes: bool) -> Outcome {
    let id = connection.conversation(id).await?;
    let path = connection.path(&format!("/conversations/{id}"));
    let conversation: Conversation = connection.client.get(&path).await?;
    let title = title(&conversation);
    if !yes && !confirm(&format!("Delete {title} with all its messages, for good?")) {
        return Err(Failure::failed("Nothing was deleted. Say yes to the question, or use --yes."));
    }
    connection.client.remove(&path).await?;
    match output.json {
        true => output.value(&json!({"id": id, "deleted": true})),
        false => {
            output.say(&format!(
                "{title} is deleted. What was remembered from it stays; `duet memory redact` removes it."
            ));
            Ok(())
        }
    }
}

async fn trust(connection: &Connection, output: Output, args: &TrustArgs) -> Outcome {
    let id = connection.conversation(&args.id).await?;
    let path = format!("/conversations/{id}/messages");
    let mut messages: Vec<Message> = connection.pages(&path, "", usize::MAX).await?;
    if let Some(given) = &args.message {
        let only = message(connection, &id, given).await?;
        messages.retain(|message| message.id.to_string() == only);
    }
    let edit = LabelEdit {
        clear: args.labels.iter().map(|label| label.word()).collect(),
    };
    messages.retain(|message| message.status != MessageStatus::Redacted && !edit.cleared_of(message.labels).is_empty());
    let marks: Vec<&str> = edit.clear.iter().copied().map(mark).collect();
    let (marks, count) = (marks.join(" or "), counted(messages.len()));
    if !args.yes && !messages.is_empty() && !confirm(&format!("Should {count} no longer count as {marks}?")) {
        return Err(Failure::failed("Nothing was changed. Say yes to the question, or use --yes."));
    }
    let mut cleared: Vec<Message> = Vec::with_capacity(messages.len());
    // Oldest first, as they were written.
    for message in messages.iter().rev() {
        let path = connection.path(&format!("{path}/{}/labels", message.id));
        cleared.push(connection.client.post(&path, &json!(edit)).await?);
    }
    match output.json {
        true => output.value(&cleared),
        false => {
            output.say(&match cleared.is_empty() {
                true => format!("No message counts as {marks}."),
                false => format!("Cleared: {count}."),
            });
            Ok(())
        }
    }
}

fn counted(messages: usize) -> String {
    match messages {
        1 => "1 message".to_owned(),
        several => format!("{several} messages"),
    }
}

async fn show(connection: &Connection, output: Output, id: &str, limit: usize) -> Outcome {
    let id = connection.conversation(id).await?;
    let mut messages: Vec<Message> = connection.pages(&format!("/conversations/{id}/messages"), "", limit).await?;
    messages.reverse();
    if output.json {
        return output.value(&messages);
    }
    let agents: Vec<Agent> = connection.client.list(&connection.path("/agents")).await?;
    for message in &messages {
        let who = match message.role {
            MessageRole::User => "You".to_owned(),
            MessageRole::Assistant => {
                let agent = agents.iter().find(|agent| Some(agent.id) == message.agent_id);
                agent.map_or_else(|| "Companion".to_owned(), |agent| brief(&agent.name, 80))
            }
        };
        let status = (message.status != MessageStatus::Complete).then_some(message.status.as_str());
        let said: Vec<String> = status
            .into_iter()
            .chain(message.labels.marks().into_iter().map(mark))
            .map(str::to_owned)
            .chain(version(message))
            .collect();
        let state = match said.is_empty() {
            true => String::new(),
            false => format!(" [{}]", said.join(", ")),
        };
        let who = output.strong(&format!("{who}{state}:"));
        output.line(&format!("{who} {}\n", printable(&message.text)))?;
    }
    Ok(())
}

async fn export(connection: &Connection, output: Output, args: &ExportArgs) -> Outcome {
    let id = connection.conversation(&args.id).await?;
    let format = match args.format {
        Format::Markdown => "markdown",
        Format::Json => "json",
    };
    let path = connection.path(&format!("/conversations/{id}/export?format={format}"));
    let mut parts = connection.client.send(Method::GET, &path, None, &[]).await?.stream().await?;
    let Some(file) = &args.output else {
        let mut out = std::io::stdout().lock();
        if !std::io::stdout().is_terminal() {
            return copy(&mut parts, |bytes| std::io::Write::write_all(&mut out, bytes).map_err(closed)).await;
        }
        // Collected first, because a chunk may end within a character.
        let mut whole = Vec::new();
        copy(&mut parts, |bytes| {
            whole.extend_from_slice(bytes);
            Ok(())
        })
        .await?;
        return output.raw(&printable(&String::from_utf8_lossy(&whole)));
    };
    let refused = |error: std::io::Error| {
        Failure::failed(format!(
            "{} cannot be written: {error}. Choose another name with --output.",
            file.display()
        ))
    };
    let mut open = std::fs::File::create_new(file).map_err(refused)?;
    let copied = copy(&mut parts, |bytes| {
        std::io::Write::write_all(&mut open, bytes).map_err(refused)
    })
    .await;
    if let Err(failure) = copied {
        // A partial file would pass for the whole conversation.
        std::fs::remove_file(file).map_err(refused)?;
        return Err(failure);
    }
    output.say(&format!("Wrote {}.", file.display()));
    Ok(())
}

/// Copies the chunks of a response as they arrive.
async fn copy(
    parts: &mut (impl Stream<Item = Result<Bytes, String>> + Unpin),
    mut write: impl FnMut(&[u8]) -> Outcome,
) -> Outcome {
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| Failure::unavailable(format!("The answer broke off: {error}. Repeat the command.")))?;
        write(&part)?;
    }
    Ok(())
}
