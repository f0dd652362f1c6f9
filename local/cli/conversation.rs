//! `duet conversation`.

use std::{io::IsTerminal, path::PathBuf};

use axum::http::Method;
use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use duet_core::domain::{Conversation, Message, MessageRole, MessageStatus};
use futures::{Stream, StreamExt};
use serde_json::{Value, json};

use super::{
    Global,
    connect::{self, Connection, Purpose},
    exit::{Failure, Outcome},
    output::{Output, brief, closed, confirm, local_time, printable},
};

/// `duet conversation …`.
#[derive(Debug, Subcommand)]
pub enum ConversationCommand {
    /// List conversations, latest first
    List {
        /// The archived ones instead
        #[arg(long)]
        archived: bool,
        /// At most so many
        #[arg(long, short = 'n', default_value_t = 50, value_name = "COUNT")]
        limit: usize,
    },
    /// Print a conversation's messages, oldest first
    Show {
        /// Its id or the beginning of it, or `last`
        #[arg(default_value = "last")]
        id: String,
        /// The last so many messages
        #[arg(long, short = 'n', default_value_t = 50, value_name = "COUNT")]
        limit: usize,
    },
    /// Write a whole conversation as a file
    Export(ExportArgs),
    /// Give a conversation another title
    Rename {
        /// Its id or the beginning of it, or `last`
        id: String,
        /// The title, 1 to 200 characters
        #[arg(required = true, value_name = "TITLE")]
        title: Vec<String>,
    },
    /// Put a conversation out of the way, or bring it back
    Archive {
        /// Its id or the beginning of it, or `last`
        id: String,
        /// Bring it back
        #[arg(long)]
        undo: bool,
    },
    /// Delete a conversation with all its messages, for good; what was remembered from it stays
    Delete {
        /// Its id or the beginning of it, or `last`
        id: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Forms of an export.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// To read
    Markdown,
    /// To process
    Json,
}

/// Options of `duet conversation export`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  duet conversation export last -o talk.md")]
pub struct ExportArgs {
    /// Its id or the beginning of it, or `last`
    id: String,
    /// In which form
    #[arg(long, value_enum, default_value = "markdown")]
    format: Format,
    /// Into this file instead of the standard output; it must not exist yet
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub async fn run(global: &Global, output: Output, command: ConversationCommand) -> Outcome {
    let purpose = match &command {
        ConversationCommand::List { .. } | ConversationCommand::Show { .. } | ConversationCommand::Export(_) => Purpose::Read,
        ConversationCommand::Rename { .. } | ConversationCommand::Archive { .. } | ConversationCommand::Delete { .. } => {
            Purpose::Write
        }
    };
    let connection = connect::connect(global, output, purpose).await?;
    let outcome = match command {
        ConversationCommand::List { archived, limit } => list(&connection, output, archived, limit).await,
        ConversationCommand::Show { id, limit } => show(&connection, output, &id, limit).await,
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

/// What a conversation is called in a sentence.
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

async fn show(connection: &Connection, output: Output, id: &str, limit: usize) -> Outcome {
    let id = connection.conversation(id).await?;
    let mut messages: Vec<Message> = connection.pages(&format!("/conversations/{id}/messages"), "", limit).await?;
    messages.reverse();
    if output.json {
        return output.value(&messages);
    }
    for message in &messages {
        let who = match message.role {
            MessageRole::User => "You",
            MessageRole::Assistant => "Duet",
        };
        let state = match message.status {
            MessageStatus::Complete => String::new(),
            other => format!(" [{other}]"),
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
        // Gathered, because a part may end within a character.
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
        // A part would pass for the whole.
        std::fs::remove_file(file).map_err(refused)?;
        return Err(failure);
    }
    output.say(&format!("Wrote {}.", file.display()));
    Ok(())
}

/// Hands the parts of an answer on as they come.
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
