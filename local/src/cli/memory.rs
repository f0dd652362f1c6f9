//! `duet memory`.

use clap::{Args, Subcommand, ValueEnum};
use duet_core::{
    Timestamp,
    domain::{Egress, Label, LabelEdit, Memory, MemoryDomain, NewMemory, RecallAnswer, RedactionReceipt, ReviewState, Taint},
};
use serde_json::{Value, json};

use super::{
    Global,
    client::encode,
    connect::{self, Connection, Purpose},
    exit::{Failure, Outcome},
    input,
    notices::{self, NoticeArgs},
    output::{Output, brief, confirm, local_day, local_time, printable},
    times,
};

/// `duet memory …`.
#[derive(Debug, Subcommand)]
pub enum MemoryCommand {
    /// Remember something
    Add(AddArgs),
    /// List memories, newest first
    List(ListArgs),
    /// Find memories by meaning and words
    Search(SearchArgs),
    /// Show one memory and where it came from
    Show {
        /// Its id, or the beginning of it
        id: String,
    },
    /// Accept proposals: they are recalled from then on
    Accept(DecideArgs),
    /// Reject proposals: they are never recalled, and kept so that they are not proposed again
    Reject(DecideArgs),
    /// Trust a memory that came from outside, or clear another of its labels
    Trust(TrustArgs),
    /// Remove a memory's text everywhere it went, for good, and print the receipt
    Redact {
        /// Its id, or the beginning of it
        id: String,
        /// Do not ask for confirmation
        #[arg(long, short)]
        yes: bool,
    },
    /// List your replies that recalled what somebody redacted, or decide about them
    Notices(NoticeArgs),
}

/// Options of `duet memory accept` and `duet memory reject`.
#[derive(Debug, Args)]
#[command(after_help = "`duet memory list --review proposed` lists what waits for a decision.")]
pub struct DecideArgs {
    /// Their ids, or the beginnings of them
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

/// Options of `duet memory trust`.
#[derive(Debug, Args)]
#[command(
    after_help = "Later replies are made with the memory as it is then; what was made of it before keeps its labels.\n\n\
    Examples:\n  \
    duet memory trust 0198…\n  \
    duet memory trust --label integrity --label egress 0198…"
)]
pub struct TrustArgs {
    /// Its id, or the beginning of it
    id: String,
    /// Which label to clear; can be given several times
    #[arg(long = "label", value_enum, default_value = "integrity", value_name = "LABEL")]
    labels: Vec<Marked>,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

/// Labels that a memory can have.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Marked {
    /// It came from a tool, a document or an import, or from text that did
    Integrity,
    /// Only local models may read it
    Egress,
    /// Its text is encrypted separately and kept out of the full-text index
    Sensitive,
}

impl Marked {
    fn word(self) -> Label {
        match self {
            Self::Integrity => Label::Integrity,
            Self::Egress => Label::Egress,
            Self::Sensitive => Label::Sensitive,
        }
    }

    fn question(self) -> &'static str {
        match self {
            Self::Integrity => "be trusted",
            Self::Egress => "be read by any model",
            Self::Sensitive => "be kept and found like other memories",
        }
    }
}

/// Kinds of memory.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Domain {
    /// Interactions and events
    Episodic,
    /// Facts and preferences
    Semantic,
    /// Short-lived; needs --expires-at
    Working,
}

impl Domain {
    fn word(self) -> MemoryDomain {
        match self {
            Self::Episodic => MemoryDomain::Episodic,
            Self::Semantic => MemoryDomain::Semantic,
            Self::Working => MemoryDomain::Working,
        }
    }
}

/// States of review.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Review {
    /// Recalled
    Accepted,
    /// Waiting for a person
    Proposed,
    /// Rejected by a person
    Rejected,
}

/// How to search.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// Words only
    Fts,
    /// Vectors only
    Vector,
    /// Both
    Hybrid,
}

/// Options of `duet memory add`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    duet memory add \"Marta is allergic to nuts.\"\n  \
    duet memory add --shared \"The boiler is serviced in October.\"\n  \
    duet memory add --sensitive --local-only - < diagnosis.txt\n  \
    duet memory add --supersedes 0198… \"Marta moved to Lisbon.\"")]
pub struct AddArgs {
    /// What to remember; `-` or nothing reads the standard input
    #[arg(value_name = "TEXT")]
    text: Vec<String>,
    /// What kind of memory
    #[arg(long, value_enum, default_value = "semantic")]
    domain: Domain,
    /// Every member of the workspace sees it (default: only you)
    #[arg(long)]
    shared: bool,
    /// Encrypt its text separately and keep it out of the full-text index
    #[arg(long)]
    sensitive: bool,
    /// Never show it to a model that is not on your machine or network
    #[arg(long)]
    local_only: bool,
    /// When it happened: a date such as 2026-05-01, or a time such as 2026-05-01T14:00Z (without the Z, in your time zone)
    #[arg(long, value_parser = times::given, value_name = "TIME")]
    occurred_at: Option<Timestamp>,
    /// When it expires (working memories only)
    #[arg(long, value_parser = times::given, value_name = "TIME")]
    expires_at: Option<Timestamp>,
    /// The memory it replaces, by its id or the beginning of it; the old one is kept as history
    #[arg(long, value_name = "ID")]
    supersedes: Option<String>,
}

/// Options of `duet memory list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only this kind
    #[arg(long, value_enum)]
    domain: Option<Domain>,
    /// Only this state of review
    #[arg(long, value_enum)]
    review: Option<Review>,
    /// Also memories that no longer hold, and redacted ones
    #[arg(long)]
    history: bool,
    /// At most this many
    #[arg(long, short = 'n', default_value = "50", value_parser = input::count, value_name = "COUNT")]
    limit: usize,
}

/// Options of `duet memory search`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  duet memory search -n 5 \"what is Marta allergic to\"")]
pub struct SearchArgs {
    /// What to look for; `-` reads the standard input
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,
    /// At most this many (1 to 100)
    #[arg(long, short = 'n', default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100), value_name = "COUNT")]
    limit: u32,
    /// By words, vectors, or both
    #[arg(long, value_enum, default_value = "hybrid")]
    mode: Mode,
}

pub async fn run(global: &Global, output: Output, command: MemoryCommand) -> Outcome {
    let text = match &command {
        MemoryCommand::Add(args) => input::something(&args.text, "the memory", NewMemory::MAX_TEXT)?,
        MemoryCommand::Search(args) => input::something(&args.text, "the question", NewMemory::MAX_TEXT)?,
        _ => String::new(),
    };
    let purpose = match &command {
        MemoryCommand::List(_) | MemoryCommand::Search(_) | MemoryCommand::Show { .. } => Purpose::Read,
        MemoryCommand::Notices(args) if args.decision().is_none() => Purpose::Read,
        MemoryCommand::Add(_)
        | MemoryCommand::Accept(_)
        | MemoryCommand::Reject(_)
        | MemoryCommand::Trust(_)
        | MemoryCommand::Redact { .. }
        | MemoryCommand::Notices(_) => Purpose::Write,
    };
    let connection = connect::connect(global, output, purpose).await?;
    let outcome = match command {
        MemoryCommand::Add(args) => add(&connection, output, &args, &text).await,
        MemoryCommand::List(args) => list(&connection, output, &args).await,
        MemoryCommand::Search(args) => search(&connection, output, &args, &text).await,
        MemoryCommand::Show { id } => show(&connection, output, &id).await,
        MemoryCommand::Accept(args) => decide(&connection, output, &args.ids, ReviewState::Accepted).await,
        MemoryCommand::Reject(args) => decide(&connection, output, &args.ids, ReviewState::Rejected).await,
        MemoryCommand::Trust(args) => trust(&connection, output, &args).await,
        MemoryCommand::Redact { id, yes } => redact(&connection, output, &id, yes).await,
        MemoryCommand::Notices(args) => notices::run(&connection, output, &args).await,
    };
    connection.close().await;
    outcome
}

async fn add(connection: &Connection, output: Output, args: &AddArgs, text: &str) -> Outcome {
    let mut body = json!({"text": text, "domain": args.domain.word()});
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            body[key] = value;
        }
    };
    set("visibility", args.shared.then(|| json!("shared")));
    set("sensitive", args.sensitive.then_some(Value::Bool(true)));
    set("egress", args.local_only.then(|| json!("local_only")));
    set("occurred_at", args.occurred_at.map(|time| json!(time)));
    set("expires_at", args.expires_at.map(|time| json!(time)));
    let supersedes = match &args.supersedes {
        Some(id) => Some(connection.whole_id("memories", id).await?),
        None => None,
    };
    set("supersedes", supersedes.map(|id| json!(id)));
    let memory: Memory = connection.client.post(&connection.path("/memories"), &body).await?;
    match output.json {
        true => output.value(&memory),
        false => output.line(&memory.id.to_string()),
    }
}

async fn list(connection: &Connection, output: Output, args: &ListArgs) -> Outcome {
    let mut query = String::new();
    if let Some(domain) = args.domain {
        query.push_str(&format!("&domain={}", domain.word()));
    }
    if let Some(review) = args.review {
        query.push_str(&format!("&review={}", format!("{review:?}").to_lowercase()));
    }
    if args.history {
        query.push_str("&history=true");
    }
    let memories: Vec<Memory> = connection.pages("/memories", &query, args.limit).await?;
    if output.json {
        return output.value(&memories);
    }
    let rows: Vec<_> = memories.iter().map(row).collect();
    output.table(["ID", "SINCE", "KIND", "STATE", "TEXT"], &rows, "There are no such memories.")
}

fn row(memory: &Memory) -> [String; 5] {
    let state = if memory.redacted_at.is_some() {
        "redacted".to_owned()
    } else if memory.superseded_by.is_some() {
        "superseded".to_owned()
    } else {
        memory.review.to_string()
    };
    [
        memory.id.to_string(),
        local_day(memory.occurred_at),
        memory.domain.to_string(),
        state,
        brief(&memory.text, 80),
    ]
}

async fn search(connection: &Connection, output: Output, args: &SearchArgs, question: &str) -> Outcome {
    let mode = format!("{:?}", args.mode).to_lowercase();
    let path = format!("/memories/search?q={}&limit={}&mode={mode}", encode(question), args.limit);
    let answer: RecallAnswer = connection.client.get(&connection.path(&path)).await?;
    if output.json {
        return output.value(&answer);
    }
    if answer.mode.as_str() != mode {
        output.say(&format!(
            "Only `{}` was possible: there are no vectors to go by.",
            answer.mode
        ));
    }
    let rows: Vec<_> = answer
        .items
        .iter()
        .map(|hit| {
            let [id, since, kind, _, text] = row(&hit.memory);
            [format!("{:.3}", hit.score), id, since, kind, text]
        })
        .collect();
    output.table(
        ["SCORE", "ID", "SINCE", "KIND", "TEXT"],
        &rows,
        "Nothing in memory answers that.",
    )
}

async fn show(connection: &Connection, output: Output, id: &str) -> Outcome {
    let id = connection.whole_id("memories", id).await?;
    let path = connection.path(&format!("/memories/{id}/provenance"));
    let provenance: Value = connection.client.get(&path).await?;
    if output.json {
        return output.value(&provenance);
    }
    let memory: Memory = serde_json::from_value(provenance["memory"].clone())
        .map_err(|error| Failure::failed(format!("The server's answer is not understood ({error}). Restart it.")))?;
    let [id, _, kind, state, _] = row(&memory);
    let mut text = format!(
        "{}\n\nid          {id}\nkind        {kind}, {state}\nseen by     ",
        printable(&memory.text)
    );
    text.push_str(&format!("{}\nlabels      {}\n", memory.visibility, standing(&memory)));
    text.push_str(&format!(
        "happened    {}\nheld since  {}\n",
        local_time(memory.occurred_at),
        local_time(memory.valid_from)
    ));
    if let Some(until) = memory.valid_to {
        text.push_str(&format!("held until  {}\n", local_time(until)));
    }
    if let Some(title) = provenance["conversation"]["title"].as_str() {
        let id = provenance["conversation"]["id"].as_str().unwrap_or_default();
        text.push_str(&format!("said in     {} ({id})\n", brief(title, 80)));
    }
    if provenance["conversation_deleted"] == true {
        text.push_str("said in     a conversation that was deleted\n");
    }
    if let Some(said) = provenance["message"]["text"].as_str() {
        text.push_str(&format!("because of  {}\n", brief(said, 200)));
    }
    if let Some(agent) = provenance["agent"]["name"].as_str() {
        text.push_str(&format!("written by  {}\n", brief(agent, 80)));
    }
    if memory.review == ReviewState::Proposed && memory.redacted_at.is_none() {
        text.push_str(&format!(
            "decide      duet memory accept {id}\n            duet memory reject {id}\n"
        ));
    }
    output.raw(&text)
}

/// Accepts or rejects memories; changes none if an id matches no memory.
async fn decide(connection: &Connection, output: Output, given: &[String], review: ReviewState) -> Outcome {
    let mut ids = Vec::with_capacity(given.len());
    for id in given {
        ids.push(connection.whole_id("memories", id).await?);
    }
    let mut decided: Vec<Memory> = Vec::with_capacity(ids.len());
    for id in ids {
        let path = connection.path(&format!("/memories/{id}"));
        let memory: Memory = connection.client.patch(&path, &json!({"review": review})).await?;
        output.say(&format!(
            "It is {}: \u{201c}{}\u{201d}",
            memory.review,
            brief(&memory.text, 60)
        ));
        decided.push(memory);
    }
    match output.json {
        true => output.value(&decided),
        false => Ok(()),
    }
}

async fn trust(connection: &Connection, output: Output, args: &TrustArgs) -> Outcome {
    let id = connection.whole_id("memories", &args.id).await?;
    let path = connection.path(&format!("/memories/{id}"));
    if !args.yes {
        let memory: Memory = connection.client.get(&path).await?;
        let what: Vec<&str> = args.labels.iter().map(|label| label.question()).collect();
        if !confirm(&format!(
            "May \u{201c}{}\u{201d} {}?",
            brief(&memory.text, 60),
            what.join(" and ")
        )) {
            return Err(Failure::failed("Nothing was changed. Say yes to the question, or use --yes."));
        }
    }
    let edit = LabelEdit {
        clear: args.labels.iter().map(|label| label.word()).collect(),
    };
    let memory: Memory = connection.client.post(&format!("{path}/labels"), &json!(edit)).await?;
    if output.json {
        return output.value(&memory);
    }
    output.say(&format!("It is {}.", standing(&memory)));
    Ok(())
}

/// Describes a memory's labels, as the end of a sentence.
fn standing(memory: &Memory) -> String {
    let trust = match memory.taint {
        Taint::Trusted => "trusted",
        Taint::Untrusted => "untrusted",
    };
    let models = match memory.egress {
        Egress::Any => "open to any model",
        Egress::LocalOnly => "for local models only",
    };
    let sealed = if memory.sensitive { ", and sensitive" } else { "" };
    format!("{trust}, {models}{sealed}")
}

async fn redact(connection: &Connection, output: Output, id: &str, yes: bool) -> Outcome {
    let id = connection.whole_id("memories", id).await?;
    let path = connection.path(&format!("/memories/{id}"));
    if !yes {
        let memory: Memory = connection.client.get(&path).await?;
        let question = format!("Remove \u{201c}{}\u{201d} everywhere, for good?", brief(&memory.text, 60));
        if !confirm(&question) {
            return Err(Failure::failed(
                "Nothing was redacted. Say yes to the question, or use --yes.",
            ));
        }
    }
    let receipt: RedactionReceipt = connection.client.post(&format!("{path}/redact"), &json!({})).await?;
    if output.json {
        return output.value(&receipt);
    }
    output.line(&format!("receipt  {}", receipt.id))?;
    for place in &receipt.removed {
        output.line(&format!("{:>7}  {}", place.count, in_words(&place.place)))?;
    }
    Ok(())
}

/// A place on a receipt, in plain words.
fn in_words(place: &str) -> &str {
    match place {
        "full_text" => "full-text entries",
        "vector_codes" => "short vectors",
        "bit_index" => "entries of the index of vectors",
        "event_payloads" => "recorded steps of replies",
        "outbox" => "announcements of steps",
        "idempotency_keys" => "marks of requests",
        "caches" => "cached copies",
        other => other,
    }
}
