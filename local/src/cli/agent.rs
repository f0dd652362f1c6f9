//! `duet agent`.

use clap::{Args, Subcommand};
use duet_core::domain::{Agent, AgentEdit};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Global,
    connect::{self, Connection, Purpose},
    exit::{Failure, Outcome},
    ids, input,
    output::{Output, brief, local_time, printable},
};

/// `duet agent …`.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// List the agents
    List,
    /// Show an agent: what it may do, and its instructions
    Show {
        /// The agent: its kind, its name if no other has it, or its id or the beginning of it
        agent: String,
    },
    /// Change an agent; anything not named stays as it is
    Edit(EditArgs),
}

/// Options of `duet agent edit`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    duet agent edit companion_primary --model ollama/llama3.2\n  \
    duet agent edit companion_primary --prompt - < prompt.md\n  \
    duet agent edit executor_primary --inactive")]
pub struct EditArgs {
    /// The agent: its kind, its name if no other has it, or its id or the beginning of it
    agent: String,
    /// A new name
    #[arg(long)]
    name: Option<String>,
    /// New instructions; `-` reads the standard input
    #[arg(long)]
    prompt: Option<String>,
    /// The model it talks through, as provider/name
    #[arg(long, value_name = "MODEL", conflicts_with = "default_model")]
    model: Option<String>,
    /// Go back to the default model
    #[arg(long)]
    default_model: bool,
    /// What it may do, separated by commas: read_memory, write_memory, run_tool, delegate, external_action
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    capabilities: Option<Vec<String>>,
    /// The tools it is offered, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    tools: Option<Vec<String>>,
    /// Activate it
    #[arg(long, conflicts_with = "inactive")]
    active: bool,
    /// Deactivate it; one primary agent always stays active
    #[arg(long)]
    inactive: bool,
}

#[derive(Deserialize)]
struct Agents {
    items: Vec<Agent>,
}

pub async fn run(global: &Global, output: Output, command: AgentCommand) -> Outcome {
    let edit = match &command {
        AgentCommand::List | AgentCommand::Show { .. } => None,
        AgentCommand::Edit(args) => Some(edit_body(args)?),
    };
    let purpose = match edit {
        None => Purpose::Read,
        Some(_) => Purpose::Write,
    };
    let connection = connect::connect(global, output, purpose).await?;
    let outcome = match (command, edit) {
        (AgentCommand::Edit(args), Some(edit)) => change(&connection, output, &args.agent, edit).await,
        (AgentCommand::Show { agent }, _) => show(&connection, output, &agent).await,
        _ => list(&connection, output).await,
    };
    connection.close().await;
    outcome
}

async fn agents(connection: &Connection) -> Outcome<Vec<Agent>> {
    Ok(connection.client.get::<Agents>(&connection.path("/agents")).await?.items)
}

async fn list(connection: &Connection, output: Output) -> Outcome {
    let agents = agents(connection).await?;
    if output.json {
        return output.value(&agents);
    }
    let rows: Vec<_> = agents
        .iter()
        .map(|agent| {
            [
                agent.id.to_string(),
                brief(&agent.name, 30),
                agent.kind.to_string(),
                model(agent),
                state(agent).to_owned(),
            ]
        })
        .collect();
    output.table(["ID", "NAME", "KIND", "MODEL", "STATE"], &rows, "There are no agents.")
}

fn model(agent: &Agent) -> String {
    agent
        .model
        .as_ref()
        .map_or_else(|| "(default)".to_owned(), ToString::to_string)
}

fn state(agent: &Agent) -> &'static str {
    if agent.active { "active" } else { "inactive" }
}

async fn show(connection: &Connection, output: Output, name: &str) -> Outcome {
    let agents = agents(connection).await?;
    let agent = pick(&agents, name)?;
    if output.json {
        return output.value(agent);
    }
    let join = |words: Vec<&str>| match words.is_empty() {
        true => "none".to_owned(),
        false => words.join(", "),
    };
    let scopes = &agent.memory_scopes;
    let mut domains = join(scopes.domains.iter().map(|domain| domain.as_str()).collect());
    if !scopes.private {
        domains.push_str("; none that are private");
    }
    let lines = [
        ("id", agent.id.to_string()),
        ("kind", format!("{}, {}", agent.kind, state(agent))),
        ("model", model(agent)),
        ("may", join(agent.capabilities.iter().map(|one| one.as_str()).collect())),
        ("tools", join(agent.tools.iter().map(String::as_str).collect())),
        ("memories", domains),
        (
            "changed",
            format!("{}, version {}", local_time(agent.updated_at), agent.version),
        ),
    ];
    let mut text = format!("{}\n\n", output.strong(&brief(&agent.name, 80)));
    for (name, value) in lines {
        text.push_str(&format!("{name:<10}{value}\n"));
    }
    if !agent.prompt.trim().is_empty() {
        text.push_str(&format!("\n{}\n", printable(agent.prompt.trim_end())));
    }
    output.raw(&text)
}

/// The edit in the API's form, without the version.
fn edit_body(args: &EditArgs) -> Outcome<Value> {
    let mut body = json!({});
    if let Some(name) = &args.name {
        body["name"] = json!(name);
    }
    if let Some(prompt) = &args.prompt {
        body["prompt"] = json!(input::text(
            std::slice::from_ref(prompt),
            "the prompt",
            AgentEdit::MAX_PROMPT
        )?);
    }
    if let Some(model) = &args.model {
        body["model"] = json!(model);
    }
    if args.default_model {
        body["model"] = Value::Null;
    }
    if let Some(capabilities) = &args.capabilities {
        body["capabilities"] = json!(words(capabilities));
    }
    if let Some(tools) = &args.tools {
        body["tools"] = json!(words(tools));
    }
    if args.active || args.inactive {
        body["active"] = json!(args.active);
    }
    match body.as_object().is_some_and(serde_json::Map::is_empty) {
        true => Err(Failure::usage(
            "There is nothing to change. Name what to set; `duet agent edit --help` lists it.",
        )),
        false => Ok(body),
    }
}

fn words(list: &[String]) -> Vec<&str> {
    list.iter().map(|word| word.trim()).filter(|word| !word.is_empty()).collect()
}

async fn change(connection: &Connection, output: Output, name: &str, mut edit: Value) -> Outcome {
    let agents = agents(connection).await?;
    let agent = pick(&agents, name)?;
    edit["version"] = json!(agent.version);
    let changed: Agent = connection
        .client
        .patch(&connection.path(&format!("/agents/{}", agent.id)), &edit)
        .await?;
    match output.json {
        true => output.value(&changed),
        false => {
            output.say(&format!("{} is at version {} now.", changed.kind, changed.version));
            Ok(())
        }
    }
}

/// Finds an agent by kind, unique name or id.
pub fn pick<'a>(agents: &'a [Agent], name: &str) -> Outcome<&'a Agent> {
    let named = |agent: &&Agent| agent.kind.as_str() == name || agent.name == name;
    let mut found: Vec<&Agent> = agents.iter().filter(named).collect();
    if found.is_empty() {
        let begun = ids::begun(agents.iter().map(|agent| agent.id.to_string()), name);
        found = agents.iter().filter(|agent| begun.contains(&agent.id.to_string())).collect();
    }
    match found[..] {
        [one] => Ok(one),
        [] => Err(Failure::not_found(format!(
            "There is no agent `{name}`. `duet agent list` shows them."
        ))),
        _ => {
            let each: Vec<String> = found.iter().map(|agent| format!("{} ({})", agent.kind, agent.id)).collect();
            Err(Failure::usage(format!(
                "Several agents go by `{name}`: {}. Name the kind where only one has it, or the id.",
                each.join(", ")
            )))
        }
    }
}
