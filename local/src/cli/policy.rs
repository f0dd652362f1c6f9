//! `duet policy`.

use clap::{Args, Subcommand};
use duet_core::{
    domain::{Agent, Decider, PolicyVersion},
    policy::{Rule, Say},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Global, agent,
    client::encode,
    connect::{self, Connection, Purpose},
    exit::{Failure, Outcome},
    input,
    member::MemberRole,
    output::{Output, brief, local_time, printable},
};

/// Longest policy that is read, in bytes.
const MAX_FILE: usize = 1024 * 1024;

/// `duet policy …`.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: Option<PolicyCommand>,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Show the rules; the strictest that matches a call wins, and a call that none matches is denied
    Show,
    /// Say what the policy makes of a tool, and by which rule
    Why(WhyArgs),
    /// Replace the rules
    Set(SetArgs),
}

/// Options of `duet policy why`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  duet policy why remember --role member")]
pub struct WhyArgs {
    /// The tool
    tool: String,
    /// For people of this role (default: yours)
    #[arg(long, value_enum)]
    role: Option<MemberRole>,
    /// For this agent: its kind, its name if no other has it, or its id or the beginning of it (default: the companion)
    #[arg(long)]
    agent: Option<String>,
}

/// Options of `duet policy set`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    duet policy show --json > policy.json && $EDITOR policy.json && duet policy set policy.json\n\n\
    The file is a JSON array of rules, or what `duet policy show --json` prints; then it is refused if somebody has changed the policy \
    since. A rule: {\"category\": \"memory_write\", \"tool\": \"remember\", \"role\": \"member\", \"say\": \"ask\", \"decider\": \"owner\", \
    \"why\": \"An owner reads along.\"}; only `category` and `say` are needed. Approvals that were not used yet are void.")]
pub struct SetArgs {
    /// The file; `-` reads the standard input
    #[arg(value_name = "FILE")]
    file: String,
}

/// The rules as they are given.
#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    Rules(Vec<Rule>),
    Version { version: u32, rules: Vec<Rule> },
}

pub async fn run(global: &Global, output: Output, args: PolicyArgs) -> Outcome {
    let command = args.command.unwrap_or(PolicyCommand::Show);
    let given = match &command {
        PolicyCommand::Set(args) => Some(read(&args.file)?),
        PolicyCommand::Show | PolicyCommand::Why(_) => None,
    };
    let purpose = match given {
        Some(_) => Purpose::Write,
        None => Purpose::Read,
    };
    let connection = connect::connect(global, output, purpose).await?;
    let outcome = match (command, given) {
        (PolicyCommand::Why(args), _) => why(&connection, output, &args).await,
        (PolicyCommand::Set(_), Some(given)) => set(&connection, output, given).await,
        _ => show(&connection, output).await,
    };
    connection.close().await;
    outcome
}

fn read(file: &str) -> Outcome<Given> {
    let text = match file {
        "-" => input::piped("the policy", MAX_FILE)?,
        file => std::fs::read_to_string(file).map_err(|error| Failure::usage(format!("{file} cannot be read: {error}.")))?,
    };
    let json: Value = serde_json::from_str(&text).map_err(|error| Failure::usage(format!("The policy is not JSON: {error}.")))?;
    // Rule by rule, to name the wrong one.
    let rules = json.as_array().or_else(|| json["rules"].as_array());
    for (index, rule) in rules.into_iter().flatten().enumerate() {
        Rule::deserialize(rule)
            .map_err(|error| Failure::usage(format!("Rule {} of the policy is wrong: {error}.", index + 1)))?;
    }
    serde_json::from_value(json)
        .map_err(|_| Failure::usage("The policy is neither a JSON array of rules nor what `duet policy show --json` prints."))
}

async fn current(connection: &Connection) -> Outcome<PolicyVersion> {
    connection.client.get(&connection.path("/policy")).await
}

async fn show(connection: &Connection, output: Output) -> Outcome {
    let policy = current(connection).await?;
    if output.json {
        return output.value(&policy);
    }
    let agents: Vec<Agent> = connection.client.list(&connection.path("/agents")).await?;
    let rows: Vec<_> = policy
        .rules
        .iter()
        .zip(1..)
        .map(|(rule, number)| {
            let any = |word: Option<String>| word.unwrap_or_else(|| "any".to_owned());
            let agent = rule.agent.map(|id| {
                let known = agents.iter().find(|agent| agent.id == id);
                known.map_or_else(|| id.to_string(), |agent| brief(&agent.name, 30))
            });
            [
                format!("{number}"),
                rule.category.to_string(),
                any(rule.tool.as_deref().map(|tool| brief(tool, 30))),
                any(rule.role.map(|role| role.to_string())),
                any(agent),
                says(rule),
                brief(rule.why.as_deref().unwrap_or_default(), 60),
            ]
        })
        .collect();
    output.table(
        ["#", "CATEGORY", "TOOL", "ROLE", "AGENT", "SAYS", "WHY"],
        &rows,
        "There are no rules: every call is denied.",
    )?;
    output.aside(&format!(
        "version {}, written {}",
        policy.version,
        local_time(policy.created_at)
    ));
    Ok(())
}

fn says(rule: &Rule) -> String {
    match (rule.say, rule.decider) {
        (Say::Ask, Some(Decider::Owner)) => "ask an owner".to_owned(),
        (Say::Ask, Some(Decider::Asker) | None) => "ask the person".to_owned(),
        (say, _) => say.to_string(),
    }
}

async fn why(connection: &Connection, output: Output, args: &WhyArgs) -> Outcome {
    let mut path = format!("/policy/why?tool={}", encode(&args.tool));
    if let Some(role) = args.role {
        path.push_str(&format!("&role={}", role.as_str()));
    }
    if let Some(name) = &args.agent {
        let agents: Vec<Agent> = connection.client.list(&connection.path("/agents")).await?;
        path.push_str(&format!("&agent_id={}", agent::pick(&agents, name)?.id));
    }
    let answer: Value = connection.client.get(&connection.path(&path)).await?;
    if output.json {
        return output.value(&answer);
    }
    let decision = match (answer["decision"].as_str(), answer["decider"].as_str()) {
        (Some("ask"), Some("owner")) => "asks an owner first",
        (Some("ask"), _) => "asks the person first",
        (Some("allow"), _) => "allowed",
        _ => "denied",
    };
    let by = match answer["rule"]["index"].as_u64() {
        Some(index) => format!("rule {} of version {}", index + 1, answer["version"]),
        None => format!("no rule of version {} matches", answer["version"]),
    };
    let because = answer["why"]
        .as_str()
        .map(|why| format!(" {}", brief(why, 8_192)))
        .unwrap_or_default();
    output.line(&format!("{}: {decision} ({by}).{because}", printable(&args.tool)))
}

async fn set(connection: &Connection, output: Output, given: Given) -> Outcome {
    let (from, rules) = match given {
        Given::Version { version, rules } => (version, rules),
        Given::Rules(rules) => (current(connection).await?.version, rules),
    };
    let body = json!({"from": from, "rules": rules});
    let written: PolicyVersion = connection.client.put(&connection.path("/policy"), &body).await?;
    match output.json {
        true => output.value(&written),
        false => {
            output.say(&format!("The policy is at version {} now.", written.version));
            Ok(())
        }
    }
}
