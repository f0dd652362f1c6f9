//! Nobody can silence others: after hostile arguments, everybody's lists, their recall and the server's backlog still answer, with
//! what the server understands. A single row that it cannot parse would keep everybody from their own.

use anyhow::Result;
use duet_core::domain::{
    Agent, ApiKey, Conversation, Invitation, Member, Membership, Memory, Notice, PolicyVersion, Request, Run, SoulVersion,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::hostile::{improvised, may, values};
use crate::{
    Actor,
    attempt::{Effects, Outcome, Stage, shortened},
    calls::{self, Call},
    catalogue::{self, Function},
    suite::Report,
};

const CHECK: &str = "silence";

/// Actors that share a workspace with others.
const ATTACKERS: [Actor; 3] = [Actor::Member, Actor::Agent, Actor::Owner];

/// Finds functions after which somebody gets no answer.
///
/// `chosen` selects the functions.
pub async fn silence(stage: &mut Stage, chosen: impl Fn(&str) -> bool, report: &mut Report) -> Result<()> {
    let declared = calls::declared()?;
    let mut functions = catalogue::functions(stage, "public").await?;
    functions.extend(catalogue::functions(stage, "private").await?);
    for actor in ATTACKERS {
        // The functions behind a person's calls are the same for every person.
        let tried = |function: &&Function| {
            chosen(&function.name) && may(function, actor) && (function.schema == "public" || actor == Actor::Member)
        };
        for function in functions.iter().filter(tried) {
            let call = declared
                .iter()
                .find(|call| function.schema == "public" && call.name == function.name)
                .cloned()
                .unwrap_or_else(|| improvised(function));
            stage.begin_as(actor).await?;
            for attack in attacks(function, &call, actor) {
                report.tried += 1;
                stage.attempt(&attack, Effects::Stay).await?;
            }
            stage.step_back().await?;
            let through = format!("{} through {}.{}", actor.name(), function.schema, function.name);
            for listener in [Actor::Owner, Actor::Member, Actor::Worker] {
                listen(stage, listener, &through, report).await?;
            }
            stage.rollback().await?;
        }
    }
    Ok(())
}

/// Makes each argument in turn unsuitable, and each field of a JSON argument; a call that creates something gets a new id each time.
fn attacks(function: &Function, call: &Call, actor: Actor) -> Vec<String> {
    let own = actor.place();
    let mut call = call.clone();
    for (name, value) in &mut call.arguments {
        if value.starts_with("{new:") {
            *value = "gen_random_uuid()".into();
        } else if name == "p_version" {
            // Each write increments the version, and the next one has to know it.
            *value = match call.name.as_str() {
                "soul_write" => "(select max(s.version)::int from duet.soul_version s where s.workspace_id = {ws})".into(),
                "policy_write" => "(select max(p.version)::int from duet.policy_version p where p.workspace_id = {ws})".into(),
                _ => "(select a.version from duet.agent a where a.workspace_id = {ws} and a.id = {the:agent})".into(),
            };
        }
    }
    let statement = |argument: &str, value: &str| own.fill(&call.statement(&function.schema, Some((argument, value))));
    let mut attacks = vec![own.fill(&call.statement(&function.schema, None))];
    for (argument, kind) in &function.arguments {
        attacks.extend(
            values(kind, own)
                .iter()
                .map(|value| statement(argument, &format!("({value})::{kind}"))),
        );
        if kind == "jsonb" {
            let sensible = call.arguments.iter().find(|(name, _)| name == argument);
            let sensible = sensible.map_or("'{}'", |(_, value)| value);
            for path in paths(sensible) {
                let changed = |field: &str| {
                    statement(
                        argument,
                        &format!("jsonb_set(({sensible})::jsonb, string_to_array('{path}', ','), {field})"),
                    )
                };
                attacks.extend(FIELDS.iter().map(|field| changed(field)));
            }
        }
    }
    attacks
}

/// What an attacker may put into a field.
const FIELDS: [&str; 20] = [
    "'null'",
    "'true'",
    "'[]'",
    "'{}'",
    "'[null]'",
    "'[[]]'",
    "'-1'",
    "'1e400'",
    "'9223372036854775808'",
    "'999999999999999999'",
    r#"'""'"#,
    r#"'" "'"#,
    r#"'"NaN"'"#,
    r#"'"infinity"'"#,
    r#"'"-infinity"'"#,
    r#"'"294276-12-31T00:00:00Z"'"#,
    r#"'"4713-01-01 BC"'"#,
    r#"'{"conversation_id": "00000000-0000-0000-0000-000000000000", "ordinal": 999999999999999999}'"#,
    "to_jsonb(repeat('00', 40))",
    "to_jsonb(repeat('x', 70000))",
];

/// The fields of a sensible argument, and the fields of a memory that it omits.
fn paths(sensible: &str) -> Vec<String> {
    let text = sensible.trim_matches('\'');
    let mut paths = Vec::new();
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        below("", &value, &mut paths);
    }
    let more = ["speaker", "sealed", "position", "expires_at", "supersedes", "provenance"];
    if paths.iter().any(|path| path == "occurred_at") {
        paths.extend(
            more.iter()
                .filter(|more| !text.contains(**more))
                .map(|more| (*more).to_owned()),
        );
    }
    paths
}

fn below(place: &str, value: &Value, paths: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        // The first stands for all.
        Value::Array(items) => items.iter().take(1).map(|value| ("0".to_owned(), value)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in inner {
        let path = if place.is_empty() { name } else { format!("{place},{name}") };
        below(&path, value, paths);
        paths.push(path);
    }
}

/// Whether an answer is what the server expects.
type Understood = fn(Value) -> bool;

fn list<T: DeserializeOwned>(answer: Value) -> bool {
    serde_json::from_value::<Vec<T>>(answer).is_ok()
}

fn anything(_: Value) -> bool {
    true
}

const RECALL: &str = "select public.memory_recall_bundle({ws}, '{episodic,semantic,working}', true, '{memori,new}', 1000, 50, 2,
    'world-model', '[1' || repeat(',0', 599) || ']', 1000)::text";

/// Messages are only checked for arriving: the traces of the world's messages are made up.
const PEOPLE_ASK: [(&str, Understood); 18] = [
    (
        "select public.memory_list({ws}, null, 'accepted', true, null, null, null, 200)::text",
        list::<Memory>,
    ),
    (
        "select public.memory_list({ws}, null, 'proposed', true, null, null, null, 200)::text",
        list::<Memory>,
    ),
    (RECALL, anything),
    (
        "select public.conversation_list({ws}, false, null, null, 200)::text",
        list::<Conversation>,
    ),
    (
        "select public.conversation_list({ws}, true, null, null, 200)::text",
        list::<Conversation>,
    ),
    (
        "select public.message_list({ws}, {my:conversation}, null, 200)::text",
        anything,
    ),
    ("select public.message_search({ws}, 'words', null, null, 200)::text", anything),
    (
        "select public.run_list({ws}, {my:conversation}, null, null, 200)::text",
        list::<Run>,
    ),
    ("select public.agent_list({ws})::text", list::<Agent>),
    ("select public.soul_versions({ws}, null, 200)::text", list::<SoulVersion>),
    ("select public.policy_versions({ws}, null, 200)::text", list::<PolicyVersion>),
    (
        "select public.request_list({ws}, null, false, null, null, 200)::text",
        list::<Request>,
    ),
    ("select public.inbox_list({ws}, null, null, null, 200)::text", anything),
    ("select public.workspace_members({ws}, null, null, 200)::text", list::<Member>),
    ("select public.workspace_memberships()::text", list::<Membership>),
    (
        "select public.invitation_list({ws}, null, null, 200)::text",
        list::<Invitation>,
    ),
    ("select public.key_list({ws})::text", list::<ApiKey>),
    ("select public.notice_list({ws}, null, null, 200)::text", list::<Notice>),
];

const THE_SERVER_ASKS: [(&str, Understood); 1] = [(
    "select driver.memory_unembedded('another-model', 600, true, 1000)::text",
    list::<Memory>,
)];

/// Asks for everything that a listener may have.
async fn listen(stage: &mut Stage, listener: Actor, through: &str, report: &mut Report) -> Result<()> {
    let questions: &[(&str, Understood)] = match listener {
        Actor::Worker => &THE_SERVER_ASKS,
        _ => &PEOPLE_ASK,
    };
    stage.become_actor(listener).await?;
    for (question, understood) in questions {
        report.tried += 1;
        let question = listener.place().fill(question);
        let silent = match stage.attempt(&question, Effects::TakenBack).await? {
            Outcome::Refused { code, message } => Some(format!("{code} ({message})")),
            Outcome::Rows(rows) => {
                // A number that no reader of the server holds is no JSON to it.
                let answer: Value = serde_json::from_str(rows.last().map_or("null", String::as_str)).unwrap_or_default();
                let answered = match answer.get("ok") {
                    Some(ok) => understood(ok.clone()),
                    None => answer.get("refused").is_some(),
                };
                (!answered).then(|| "an answer that is not understood".to_owned())
            }
        };
        if let Some(silent) = silent {
            let who = listener.name();
            report.find(
                CHECK,
                format!("{who} gets {silent} from {} after {through}", shortened(&question)),
            );
        }
    }
    stage.step_back().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_at_every_depth() {
        assert_eq!(paths(r#"'{"a": [{"b": 1}], "c": "x"}'"#), ["a,0,b", "a,0", "a", "c"]);
        assert!(paths(r#"'{"occurred_at": "2026-11-20T00:00:00Z"}'"#).contains(&"supersedes".to_owned()));
    }
}
