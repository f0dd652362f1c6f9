//! `duet keys`.

use clap::{Args, Subcommand, ValueEnum};
use duet_core::{Timestamp, domain::ApiKey};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Global,
    connect::{self, Connection, Purpose},
    exit::{Failure, Outcome},
    ids,
    output::{Output, brief, local_time},
};

/// `duet keys …`.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key and print its secret, once
    Create(CreateArgs),
    /// List your keys, including revoked ones
    List,
    /// Revoke a key at once and for good
    Revoke {
        /// Its id, or the beginning of it
        id: String,
    },
}

/// What a key may be used for.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Scope {
    /// Conversations, messages, runs
    Chat,
    /// Read memories
    MemoryRead,
    /// Write, edit and redact memories
    MemoryWrite,
    /// What only owners may do
    Admin,
}

/// Options of `duet keys create`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  duet keys create editor --scope chat --scope memory_read --days 90")]
pub struct CreateArgs {
    /// A name for it
    name: String,
    /// What it may be used for; may be given several times
    #[arg(long, value_enum, required = true)]
    scope: Vec<Scope>,
    /// Expires after this many days (default: never)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: Option<u32>,
}

#[derive(Deserialize)]
struct Keys {
    items: Vec<ApiKey>,
}

pub async fn run(global: &Global, output: Output, command: KeysCommand) -> Outcome {
    let purpose = match command {
        KeysCommand::List => Purpose::Read,
        KeysCommand::Create(_) | KeysCommand::Revoke { .. } => Purpose::Write,
    };
    let connection = connect::connect(global, output, purpose).await?;
    let outcome = match command {
        KeysCommand::Create(args) => create(&connection, output, &args).await,
        KeysCommand::List => list(&connection, output).await,
        KeysCommand::Revoke { id } => revoke(&connection, output, &id).await,
    };
    connection.close().await;
    outcome
}

async fn create(connection: &Connection, output: Output, args: &CreateArgs) -> Outcome {
    let scopes: Vec<String> = args
        .scope
        .iter()
        .filter_map(ValueEnum::to_possible_value)
        .map(|value| value.get_name().to_owned())
        .collect();
    let mut body = json!({"name": args.name, "scopes": scopes});
    if let Some(days) = args.days {
        let now: Timestamp = duet_api::machine::system().now();
        body["expires_at"] = json!(now.plus(std::time::Duration::from_secs(u64::from(days) * 86_400)));
    }
    let made: Value = connection.client.post(&connection.path("/keys"), &body).await?;
    if output.json {
        return output.value(&made);
    }
    let secret = made["secret"]
        .as_str()
        .ok_or_else(|| Failure::failed("The server's answer holds no secret. Restart it and try again."))?;
    output.say("Keep this secret: it is shown once. Use it as `Authorization: Bearer …`.");
    output.line(secret)
}

async fn list(connection: &Connection, output: Output) -> Outcome {
    let keys = connection.client.get::<Keys>(&connection.path("/keys")).await?.items;
    if output.json {
        return output.value(&keys);
    }
    let rows: Vec<_> = keys
        .iter()
        .map(|key| {
            let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
            let state = match (key.revoked_at, key.expires_at) {
                (Some(_), _) => "revoked".to_owned(),
                (None, Some(time)) => format!("until {}", local_time(time)),
                (None, None) => "valid".to_owned(),
            };
            [
                key.id.to_string(),
                brief(&key.name, 30),
                format!("{}…", key.prefix),
                scopes.join(","),
                state,
            ]
        })
        .collect();
    output.table(["ID", "NAME", "SECRET", "SCOPES", "STATE"], &rows, "There are no keys.")
}

async fn revoke(connection: &Connection, output: Output, id: &str) -> Outcome {
    let keys = connection.client.get::<Keys>(&connection.path("/keys")).await?.items;
    let all = keys.iter().map(|key| key.id.to_string());
    let id = ids::only(ids::begun(all, id), "keys", id)?;
    let key: ApiKey = connection.client.delete(&connection.path(&format!("/keys/{id}"))).await?;
    match output.json {
        true => output.value(&key),
        false => {
            output.say(&format!("Revoked `{}`.", brief(&key.name, 30)));
            Ok(())
        }
    }
}
