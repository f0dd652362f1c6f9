//! `duet conversation`.

use std::{io::IsTerminal, path::PathBuf};

use axum::http::Method;
use clap::{Args, Subcommand, ValueEnum};
use duet_core::domain::{Conversation, Message, MessageRole, MessageStatus};

use super::{
    Global,
    connect::{self, Connection},
    exit::{Failure, Outcome},
    output::{Output, brief, printable},
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
        /// Its id, or `last`
        #[arg(default_value = "last")]
        id: String,
        /// The last so many messages
        #[arg(long, short = 'n', default_value_t = 50, value_name = "COUNT")]
        limit: usize,
    },
    /// Write a whole conversation as a file
    Export(ExportArgs),
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
    /// Its id, or `last`
    id: String,
    /// In which form
    #[arg(long, value_enum, default_value = "markdown")]
    format: Format,
    /// Into this file instead of the standard output; it must not exist yet
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub async fn run(global: &Global, output: Output, command: ConversationCommand) -> Outcome {
    let connection = connect::connect(global, output).await?;
    let outcome = match command {
        ConversationCommand::List { archived, limit } => list(&connection, output, archived, limit).await,
        ConversationCommand::Show { id, limit } => show(&connection, output, &id, limit).await,
        ConversationCommand::Export(args) => export(&connection, output, &args).await,
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
        .map(|one| {
            let latest: String = one.updated_at.to_string().chars().take(16).collect();
            [one.id.to_string(), latest.replace('T', " "), brief(&one.title, 70)]
        })
        .collect();
    output.table(["ID", "LATEST (UTC)", "TITLE"], &rows, "There are no conversations.")
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
        output.line(&format!("{who}{state}: {}\n", printable(&message.text)))?;
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
    let bytes = connection.client.send(Method::GET, &path, None, &[]).await?.bytes().await?;
    let Some(file) = &args.output else {
        let text = String::from_utf8_lossy(&bytes);
        return match std::io::stdout().is_terminal() {
            true => output.raw(&printable(&text)),
            false => output.raw(&text),
        };
    };
    let written = std::fs::File::create_new(file).and_then(|mut open| std::io::Write::write_all(&mut open, &bytes));
    written.map_err(|error| {
        Failure::failed(format!(
            "{} cannot be written: {error}. Choose another name with --output.",
            file.display()
        ))
    })?;
    output.say(&format!("Wrote {}.", file.display()));
    Ok(())
}
