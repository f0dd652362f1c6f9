//! `duet inbox`.

mod words;

use std::collections::BTreeMap;

use clap::{Args, Subcommand, ValueEnum};
use duet_core::{
    Refusal,
    domain::{Decision, Field, FieldKind, InboxItem, InboxKind, Memory, Request, RequestKind, RequestState, ReviewState, Run},
    tools::ToolRegistry,
};
use serde_json::{Value, json};

use super::{
    Global,
    ask::{self, Shown},
    client::encode,
    connect::{self, Connection, Purpose},
    exit::{Exit, Failure, Outcome},
    ids, input,
    output::{Output, brief, local_time, quoted},
    password,
};
pub use words::{asked, tell};
use words::{described, form, owns, takes, ways, what};

/// `duet inbox …`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct InboxArgs {
    #[command(subcommand)]
    command: Option<InboxCommand>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum InboxCommand {
    /// List what waits for you, newest first
    List(ListArgs),
    /// Show what is asked, and how to answer
    Show {
        /// The request's or the memory's id, or the beginning of it
        id: String,
    },
    /// Let a call happen, once; or accept a proposed memory
    Approve(ApproveArgs),
    /// Refuse a call, or reject a proposed memory
    Reject {
        /// The request's or the memory's id, or the beginning of it
        id: String,
        /// What the agent is told about it
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Answer a question, or say a word instead of yes or no
    Respond(RespondArgs),
    /// Decide nothing: the reply goes on without an answer
    Dismiss {
        /// The request's id, or the beginning of it
        id: String,
    },
    /// Say that a call took place whose outcome was lost
    Happened {
        /// The request's id, or the beginning of it
        id: String,
    },
    /// Say that it did not: it is due again
    DidNot {
        /// The request's id, or the beginning of it
        id: String,
    },
}

/// Options of `duet inbox list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only this kind
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// At most this many
    #[arg(long, short = 'n', default_value = "50", value_parser = input::count, value_name = "COUNT")]
    limit: usize,
}

/// Kinds of entries.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Calls that need a yes
    Approval,
    /// Questions
    Question,
    /// Calls that may have happened
    Review,
    /// Proposed memories
    Memory,
}

impl Kind {
    fn word(self) -> InboxKind {
        match self {
            Self::Approval => InboxKind::Approval,
            Self::Question => InboxKind::Question,
            Self::Review => InboxKind::Review,
            Self::Memory => InboxKind::Memory,
        }
    }
}

/// Options of `duet inbox approve`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    duet inbox approve 0198fe12-3\n  \
    duet inbox approve 0198fe12-3 --arguments '{\"text\": \"The boiler is serviced in May.\"}'\n\n\
    A request takes your password, typed at the terminal; at a server where you signed in with `duet login`, that is enough. Then the reply goes on and is shown, and the exit code is that of `duet ask`. \
    Accepting a memory takes no password.")]
pub struct ApproveArgs {
    /// The request's or the memory's id, or the beginning of it
    id: String,
    /// Other arguments for the call than it was asked for with, all of them, as a JSON object
    #[arg(long, value_name = "JSON")]
    arguments: Option<String>,
}

/// Options of `duet inbox respond`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    duet inbox respond 0198fe12-3 In the afternoon, please\n  \
    duet inbox respond 0198fe12-3 --field day=2026-05-09 --field urgent=no\n\n\
    `duet inbox show` names the fields of a form.")]
pub struct RespondArgs {
    /// The request's id, or the beginning of it
    id: String,
    /// The answer, where the form has one field, or none
    #[arg(value_name = "TEXT", required_unless_present = "field", conflicts_with = "field")]
    text: Vec<String>,
    /// The answer to a field of the form; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    field: Vec<String>,
}

pub async fn run(global: &Global, output: Output, args: InboxArgs) -> Outcome {
    let command = args.command.unwrap_or(InboxCommand::List(args.list));
    let purpose = match command {
        InboxCommand::List(_) | InboxCommand::Show { .. } => Purpose::Read,
        _ => Purpose::Write,
    };
    let mut connection = connect::connect(global, output, purpose).await?;
    let outcome = match command {
        InboxCommand::List(args) => list(&connection, output, &args).await,
        InboxCommand::Show { id } => show(&connection, output, &id).await,
        InboxCommand::Approve(args) => approve(&mut connection, output, &args).await,
        InboxCommand::Reject { id, reason } => reject(&mut connection, output, &id, reason).await,
        InboxCommand::Respond(args) => respond(&mut connection, output, &args).await,
        InboxCommand::Dismiss { id } => on_request(&mut connection, output, &id, Decision::Dismiss).await,
        InboxCommand::Happened { id } => on_request(&mut connection, output, &id, Decision::Happened).await,
        InboxCommand::DidNot { id } => on_request(&mut connection, output, &id, Decision::DidNot).await,
    };
    connection.close().await;
    outcome
}

async fn list(connection: &Connection, output: Output, args: &ListArgs) -> Outcome {
    let query = args.kind.map(|kind| format!("&kind={}", kind.word())).unwrap_or_default();
    let items: Vec<InboxItem> = connection.pages("/inbox", &query, args.limit).await?;
    if output.json {
        return output.value(&items);
    }
    let rows: Vec<_> = items
        .iter()
        .map(|item| match item {
            InboxItem::Request { request } => [
                request.id.to_string(),
                local_time(request.created_at),
                request.kind.to_string(),
                brief(&what(request), 80),
            ],
            InboxItem::Memory { memory } => [
                memory.id.to_string(),
                local_time(memory.created_at),
                InboxKind::Memory.to_string(),
                brief(&memory.text, 80),
            ],
        })
        .collect();
    output.table(["ID", "SINCE", "KIND", "WHAT"], &rows, "Nothing waits for you.")
}

async fn show(connection: &Connection, output: Output, id: &str) -> Outcome {
    let found = find(connection, id).await?;
    if output.json {
        return output.value(&found);
    }
    match found {
        InboxItem::Request { request } => output.raw(&described(output, &request, owns(connection, &request).await)),
        InboxItem::Memory { memory } => {
            let mut text = format!("{}\n\nid          {}\n", quoted(&memory.text), memory.id);
            text.push_str(&format!("kind        memory, {}\n", memory.review));
            if memory.review == ReviewState::Proposed {
                text.push_str(&ways(&memory.id.to_string(), &["approve", "reject"], ""));
            }
            output.raw(&text)
        }
    }
}

/// The request or the proposed memory that is meant.
async fn find(connection: &Connection, given: &str) -> Outcome<InboxItem> {
    let id = match ids::whole(given) {
        Some(id) => id,
        None => ids::only(begun(connection, given).await?, "requests or memories", given)?,
    };
    match connection.client.get(&connection.path(&format!("/requests/{id}"))).await {
        Ok(request) => Ok(InboxItem::Request { request }),
        Err(Failure::Say(Exit::NotFound, _)) => {
            let memory = connection.client.get(&connection.path(&format!("/memories/{id}"))).await;
            match memory {
                Ok(memory) => Ok(InboxItem::Memory { memory }),
                Err(Failure::Say(Exit::NotFound, _)) => Err(Failure::not_found(format!(
                    "Neither a request nor a memory has the id {id}. `duet inbox` lists what waits for you."
                ))),
                Err(failure) => Err(failure),
            }
        }
        Err(failure) => Err(failure),
    }
}

/// Ids of requests, and of memories in the Inbox, that begin like this.
async fn begun(connection: &Connection, given: &str) -> Outcome<Vec<String>> {
    // What is no beginning of an id matches nothing, and the API would only refuse it.
    if given.parse::<duet_core::ids::IdPrefix>().is_err() {
        return Ok(Vec::new());
    }
    let path = connection.path(&format!("/requests/ids?prefix={}", encode(given)));
    let mut found: Vec<String> = connection.client.list(&path).await?;
    let memories: Vec<InboxItem> = connection.pages("/inbox", "&kind=memory", MOST).await?;
    let ids = memories.iter().filter_map(|item| match item {
        InboxItem::Memory { memory } => Some(memory.id.to_string()),
        InboxItem::Request { .. } => None,
    });
    found.extend(ids::begun(ids, given));
    Ok(found)
}

/// Most proposed memories that are looked through.
const MOST: usize = 1_000;

async fn request(connection: &Connection, given: &str) -> Outcome<Request> {
    match find(connection, given).await? {
        InboxItem::Request { request } => Ok(request),
        InboxItem::Memory { memory } => Err(Failure::usage(format!(
            "{} is a proposed memory: it is approved or rejected.",
            memory.id
        ))),
    }
}

async fn approve(connection: &mut Connection, output: Output, args: &ApproveArgs) -> Outcome {
    let arguments: Option<Value> = match &args.arguments {
        Some(text) => {
            Some(serde_json::from_str(text).map_err(|error| Failure::usage(format!("--arguments is not JSON: {error}.")))?)
        }
        None => None,
    };
    match find(connection, &args.id).await? {
        InboxItem::Request { request } => decide(connection, output, request, Decision::Approve { arguments }).await,
        InboxItem::Memory { .. } if arguments.is_some() => {
            Err(Failure::usage("A memory has no arguments. Leave out --arguments."))
        }
        InboxItem::Memory { memory } => review(connection, output, &memory, ReviewState::Accepted).await,
    }
}

async fn reject(connection: &mut Connection, output: Output, id: &str, reason: Option<String>) -> Outcome {
    match find(connection, id).await? {
        InboxItem::Request { request } => decide(connection, output, request, Decision::Reject { reason }).await,
        InboxItem::Memory { .. } if reason.is_some() => {
            Err(Failure::usage("Nobody is told about a rejected memory. Leave out --reason."))
        }
        InboxItem::Memory { memory } => review(connection, output, &memory, ReviewState::Rejected).await,
    }
}

async fn respond(connection: &mut Connection, output: Output, args: &RespondArgs) -> Outcome {
    let request = request(connection, &args.id).await?;
    let answers = filled(&form(&request), args)?;
    decide(connection, output, request, Decision::Respond { answers }).await
}

/// The answers by field, in the form that each field takes. What does not fit is left to the server to refuse.
fn filled(form: &[Field], args: &RespondArgs) -> Outcome<BTreeMap<String, Value>> {
    let given: Vec<(&str, String)> = match (&args.text[..], form) {
        ([], _) => {
            let pairs = args.field.iter().map(|pair| match pair.split_once('=') {
                Some((name, value)) => Ok((name.trim(), value.to_owned())),
                None => Err(Failure::usage(format!(
                    "`--field {pair}` names no value. Write --field NAME=VALUE."
                ))),
            });
            let pairs: Vec<(&str, String)> = pairs.collect::<Outcome<_>>()?;
            let twice = |(index, (name, _)): (usize, &(&str, String))| pairs[..index].iter().any(|(earlier, _)| earlier == name);
            if let Some((_, (name, _))) = pairs.iter().enumerate().find(|pair| twice(*pair)) {
                return Err(Failure::usage(format!("The field `{name}` is answered twice.")));
            }
            pairs
        }
        (words, [one]) => vec![(one.name.as_str(), words.join(" "))],
        (_, several) => {
            let names: Vec<&str> = several.iter().map(|field| field.name.as_str()).collect();
            return Err(Failure::usage(format!(
                "This form has several fields: {}. Answer each with --field NAME=VALUE.",
                names.join(", ")
            )));
        }
    };
    let typed = |name: &str, value: String| {
        let kind = form.iter().find(|field| field.name == name).map(|field| field.kind);
        match (kind, value.trim().to_lowercase().as_str()) {
            (Some(FieldKind::YesNo), "yes" | "y" | "true") => json!(true),
            (Some(FieldKind::YesNo), "no" | "n" | "false") => json!(false),
            (Some(FieldKind::Number), number) => serde_json::from_str(number).unwrap_or_else(|_| json!(value)),
            _ => json!(value),
        }
    };
    Ok(given
        .into_iter()
        .map(|(name, value)| (name.to_owned(), typed(name, value)))
        .collect())
}

async fn on_request(connection: &mut Connection, output: Output, id: &str, decision: Decision) -> Outcome {
    let request = request(connection, id).await?;
    decide(connection, output, request, decision).await
}

async fn review(connection: &Connection, output: Output, memory: &Memory, review: ReviewState) -> Outcome {
    let path = connection.path(&format!("/memories/{}", memory.id));
    let memory: Memory = connection.client.patch(&path, &json!({"review": review})).await?;
    match output.json {
        true => output.value(&memory),
        false => {
            output.say(&format!(
                "It is {}: \u{201c}{}\u{201d}",
                memory.review,
                brief(&memory.text, 60)
            ));
            Ok(())
        }
    }
}

/// Checks a decision before the password is asked for.
fn check(request: &Request, decision: &Decision) -> Outcome {
    let Err(refusal) = decision.check(request.kind, request.arguments.as_ref()) else {
        return match (decision, ToolRegistry::companion().get(&request.tool)) {
            (
                Decision::Approve {
                    arguments: Some(changed),
                },
                Some(tool),
            ) => tool.check(changed).map_err(Failure::usage),
            _ => Ok(()),
        };
    };
    let form = form(request);
    let named = |name: &str| form.iter().find(|field| field.name == name);
    let sentence = match &refusal {
        Refusal::AnswerForm { field, .. } => named(field).map(|known| match known.kind {
            FieldKind::Text => format!("The field `{field}` takes words, at most {} bytes.", Decision::MAX_TEXT),
            _ => format!("The field `{field}` takes {}.", takes(known)),
        }),
        Refusal::AnswerMissing { field } => named(field).map(|known| format!("{refusal} It takes {}.", takes(known))),
        Refusal::AnswerUnknown { .. } => {
            let names: Vec<&str> = form.iter().map(|field| field.name.as_str()).collect();
            Some(format!("{refusal} It has: {}.", names.join(", ")))
        }
        _ => None,
    };
    Err(Failure::usage(sentence.unwrap_or_else(|| refusal.to_string())))
}

/// Decides by a sign-in of the person's own that lasts no longer than that.
async fn decide_by_password(connection: &Connection, output: Output, path: &str, decision: &Decision) -> Outcome<Request> {
    let session: Value = connection.client.get("/v1/auth/session").await?;
    let email = session["user"]["email"].as_str().unwrap_or_default();
    let own = match connection.client.sign_in(email, &password::ask(email)?).await {
        Err(Failure::Say(Exit::Refused, _)) => return Err(Failure::refused("Wrong password. Nothing was decided.")),
        signed_in => signed_in?,
    };
    let decided = own.post(path, &json!(decision)).await;
    let ended = own.sign_out().await;
    if decided.is_ok()
        && let Err(failure) = ended
    {
        output.say(&format!(
            "The sign-in for this could not be ended ({failure}) It expires by itself."
        ));
    }
    decided
}

/// Decides by a sign-in of the person's own, and shows how their reply goes on.
async fn decide(connection: &mut Connection, output: Output, request: Request, decision: Decision) -> Outcome {
    if request.state != RequestState::Open {
        return Err(Failure::failed(format!("This is {} already.", request.state)));
    }
    check(&request, &decision)?;
    let run = match request.conversation_id {
        Some(_) => Some(
            connection
                .client
                .get::<Run>(&connection.path(&format!("/runs/{}", request.run_id)))
                .await?,
        ),
        // Somebody else's: an owner decides, and sees no more of it.
        None => None,
    };
    output.say(&quoted(&what(&request)));
    let path = connection.path(&format!("/requests/{}/decide", request.id));
    let decided: Request = match connection.decides() {
        true => connection.client.post(&path, &json!(decision)).await?,
        false => decide_by_password(connection, output, &path, &decision).await?,
    };
    output.say(
        match (&decided.decision, decided.kind) {
            (Some(Decision::Respond { .. }), RequestKind::Approval) => "It is not done; the agent reads your words.".to_owned(),
            _ => format!("It is {}.", decided.state),
        }
        .as_str(),
    );
    if output.json {
        output.value(&decided)?;
    }
    match run {
        Some(run) => go_on(connection, output, &run).await,
        None => Ok(()),
    }
}

/// Shows how a reply goes on. Without a server, it is this process that lets it.
async fn go_on(connection: &mut Connection, output: Output, run: &Run) -> Outcome {
    connection.drive();
    let connection = &*connection;
    let (reply, stopped) = ask::watch(connection, Shown::new(output, false), &run.id.to_string(), run.last_seq).await?;
    tell(connection, output, &asked(connection, &reply).await).await;
    ask::verdict(connection, &run.conversation_id.to_string(), &reply, stopped).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, kind: FieldKind) -> Field {
        Field {
            name: name.into(),
            label: name.into(),
            kind,
            options: Vec::new(),
            optional: false,
        }
    }

    fn given(text: &[&str], fields: &[&str]) -> RespondArgs {
        RespondArgs {
            id: String::new(),
            text: text.iter().map(|word| (*word).to_owned()).collect(),
            field: fields.iter().map(|pair| (*pair).to_owned()).collect(),
        }
    }

    #[test]
    fn answers_take_the_form_of_their_field() {
        let one = [field("answer", FieldKind::Text)];
        let answers = filled(&one, &given(&["In", "May"], &[])).unwrap();
        assert_eq!(json!(answers), json!({"answer": "In May"}));

        let several = [
            field("day", FieldKind::Date),
            field("count", FieldKind::Number),
            field("urgent", FieldKind::YesNo),
        ];
        let answers = filled(
            &several,
            &given(&[], &["day=2026-05-09", "count=2.5", "urgent=No", "other=a=b"]),
        )
        .unwrap();
        assert_eq!(
            json!(answers),
            json!({"day": "2026-05-09", "count": 2.5, "urgent": false, "other": "a=b"})
        );
        for (wrong, words) in [
            (given(&["May"], &[]), "day, count, urgent"),
            (given(&[], &["day"]), "NAME=VALUE"),
            (given(&[], &["day=2026-05-09", "day=2026-05-10"]), "twice"),
        ] {
            let said = filled(&several, &wrong).unwrap_err().to_string();
            assert!(said.contains(words), "{said}");
        }
    }
}
