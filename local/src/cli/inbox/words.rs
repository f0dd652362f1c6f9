//! What is asked, and how to answer, in words for a terminal.

use duet_core::domain::{Decider, Decision, Field, FieldKind, Membership, Question, Request, RequestKind, RequestState, Role};

use serde_json::Value;

use crate::cli::{
    connect::Connection,
    output::{Output, brief, local_time, quoted},
    reply::Reply,
};

/// More characters than any sentence or field of a form has: these stay on one line, where no text of theirs looks like one of ours.
const MOST: usize = 8_192;

/// What a request is about, as one text.
pub fn what(request: &Request) -> String {
    match (request.kind, question(request), &request.arguments) {
        (RequestKind::Question, Some(question), _) => question.question,
        (_, _, Some(arguments)) => called(&request.tool, arguments.clone()),
        (_, _, None) => format!("{} (redacted)", request.tool),
    }
}

/// A call in words: what it is about first, where that has a name.
fn called(tool: &str, mut arguments: Value) -> String {
    let text = arguments.as_object_mut().and_then(|named| match named.get("text") {
        Some(Value::String(_)) => named.remove("text"),
        _ => None,
    });
    match text {
        Some(Value::String(text)) => format!("{tool}: {text}\n{arguments}"),
        _ => format!("{tool} {arguments}"),
    }
}

fn question(request: &Request) -> Option<Question> {
    serde_json::from_value(request.arguments.clone()?).ok()
}

/// The fields that an answer has.
pub fn form(request: &Request) -> Vec<Field> {
    let asked = (request.kind == RequestKind::Question).then(|| question(request)).flatten();
    asked.unwrap_or_default().form()
}

/// All that there is to know of a request.
pub fn described(output: Output, request: &Request, owner: bool) -> String {
    let mut text = format!("{}\n\n", output.strong(&quoted(&what(request))));
    let mut lines = vec![
        ("id", request.id.to_string()),
        ("kind", format!("{}, {}", request.kind, request.state)),
    ];
    // A question's reason is the question itself.
    if request.kind != RequestKind::Question {
        lines.push(("because", brief(&request.why, MOST)));
    }
    match request.decided_at {
        None => {
            lines.push(("waits for", decider(request, owner).to_owned()));
            lines.push(("until", local_time(request.expires_at)));
        }
        Some(at) => lines.extend(decided(request, local_time(at))),
    }
    for (name, value) in lines {
        text.push_str(&format!("{name:<12}{value}\n"));
    }
    if request.kind == RequestKind::Question {
        for field in form(request) {
            text.push_str(&format!("{:<12}{}\n", "field", described_field(&field)));
        }
    }
    if request.state == RequestState::Open {
        text.push_str(&ways_of(request));
    }
    text
}

/// What was decided, when and by whom.
fn decided(request: &Request, at: String) -> Vec<(&'static str, String)> {
    let by = match (request.decided_by, request.decider) {
        (None, _) => String::new(),
        (Some(_), Decider::Asker) => ", by you".to_owned(),
        (Some(_), Decider::Owner) => ", by an owner".to_owned(),
    };
    let mut lines = vec![("decided", format!("{at}{by}"))];
    match &request.decision {
        Some(Decision::Approve {
            arguments: Some(changed),
        }) => {
            lines.push(("changed to", brief(&called(&request.tool, changed.clone()), MOST)));
        }
        Some(Decision::Reject { reason: Some(reason) }) => lines.push(("reason", brief(reason, MOST))),
        Some(Decision::Respond { answers }) => {
            let said = answers.iter().map(|(name, value)| match value {
                Value::String(text) => format!("{name}: {text}"),
                value => format!("{name}: {value}"),
            });
            lines.extend(said.map(|line| ("answer", brief(&line, MOST))));
        }
        Some(Decision::Voided { because }) => lines.push(("because", because.sentence().to_owned())),
        _ => {}
    }
    lines
}

/// Who decides, said to a reader who is an owner or not.
fn decider(request: &Request, owner: bool) -> &'static str {
    match (request.decider, owner) {
        (Decider::Asker, _) => "you",
        (Decider::Owner, true) => "you, as an owner",
        (Decider::Owner, false) => "an owner",
    }
}

/// Whether an owner decides this and the reader is one.
pub async fn owns(connection: &Connection, request: &Request) -> bool {
    if request.decider != Decider::Owner {
        return false;
    }
    let memberships: Vec<Membership> = connection.client.list("/v1/workspaces").await.unwrap_or_default();
    memberships
        .iter()
        .any(|one| one.workspace.id.to_string() == connection.workspace() && one.role == Role::Owner)
}

fn described_field(field: &Field) -> String {
    let optional = if field.optional { "; may stay empty" } else { "" };
    brief(&format!("{}: {} ({}{optional})", field.name, field.label, takes(field)), MOST)
}

/// What a field takes, in words.
pub fn takes(field: &Field) -> String {
    match field.kind {
        FieldKind::Text => "words".to_owned(),
        FieldKind::Number => "a number".to_owned(),
        FieldKind::Choice => format!("one of: {}", field.options.join(", ")),
        FieldKind::YesNo => "yes or no".to_owned(),
        FieldKind::Date => "a date such as 2026-05-09".to_owned(),
    }
}

/// The commands that answer a request of this kind.
fn answers(kind: RequestKind) -> &'static [&'static str] {
    match kind {
        RequestKind::Approval => &["approve", "reject", "respond", "dismiss"],
        RequestKind::Question => &["respond", "dismiss"],
        RequestKind::Review => &["happened", "did-not", "dismiss"],
    }
}

/// The commands that answer this request, with the fields of its form.
fn ways_of(request: &Request) -> String {
    let given = match &form(request)[..] {
        [_] => "TEXT".to_owned(),
        several => {
            let fields: Vec<String> = several.iter().map(|field| format!("--field {}=…", field.name)).collect();
            brief(&fields.join(" "), MOST)
        }
    };
    ways(&request.id.to_string(), answers(request.kind), &given)
}

/// Commands as lines, with the id and, for an answer, what else is given.
pub fn ways(id: &str, commands: &[&str], given: &str) -> String {
    let mut text = String::new();
    for (index, command) in commands.iter().enumerate() {
        let name = if index == 0 { "answer" } else { "" };
        let more = match *command {
            "respond" => format!(" {given}"),
            _ => String::new(),
        };
        text.push_str(&format!("{name:<12}duet inbox {command} {id}{more}\n"));
    }
    text
}

/// What a reply waits for. What is decided by now, or cannot be read, is left out.
pub async fn asked(connection: &Connection, reply: &Reply) -> Vec<Request> {
    let mut asked = Vec::with_capacity(reply.requests.len());
    for id in &reply.requests {
        if let Ok(request) = connection.client.get(&connection.path(&format!("/requests/{id}"))).await {
            asked.push(request);
        }
    }
    asked
}

/// Says what a reply waits for, and how to answer.
pub async fn tell(connection: &Connection, output: Output, asked: &[Request]) {
    for request in asked {
        let who = decider(request, owns(connection, request).await);
        output.say(&format!("\nIt waits for {who}:\n{}", quoted(&what(request))));
        if request.kind != RequestKind::Question {
            output.say(&brief(&request.why, MOST));
        }
        output.say(ways_of(request).trim_end());
    }
}
