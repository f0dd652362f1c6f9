//! Hostile arguments for every function that people or agents may execute, generated from its signature: nothing changes except what
//! `matrix.txt` allows under `call`, and no error is an internal one of the database.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::{
    Actor,
    attempt::{Effects, Outcome, Stage, shortened},
    calls::{self, Call},
    catalogue::{self, Function},
    knowledge::Knowledge,
    matrix::Table,
    suite::Report,
    words::{self, Place},
};

const CHECK: &str = "hostile";
const WORLD: &str = include_str!("../../world.sql");
/// What holds whatever is called.
const INVARIANTS: &str = include_str!("../../invariants.sql");

/// Who attacks with everything. `matrix`, `cases` and `tells` cover the lesser rights of the others.
const ATTACKERS: [Actor; 7] = [
    Actor::Stranger,
    Actor::ExMember,
    Actor::Member,
    Actor::Owner,
    Actor::Agent,
    Actor::Demoted,
    Actor::Scoped,
];

/// Finds forbidden changes, answers that reveal what others wrote, and errors of the wrong kind. `chosen` selects the functions,
/// `attacker` the actor by name, or all.
pub async fn hostile(
    stage: &mut Stage,
    tables: &[Table],
    chosen: impl Fn(&str) -> bool,
    attacker: &str,
    report: &mut Report,
) -> Result<()> {
    let there = catalogue::tables(stage).await?;
    let tables: Vec<&Table> = tables.iter().filter(|table| there.contains(&table.name)).collect();
    let declared = calls::declared()?;
    let mut functions = catalogue::functions(stage, "public").await?;
    functions.extend(catalogue::functions(stage, "private").await?);
    functions.retain(|function| chosen(&function.name));
    for actor in ATTACKERS
        .into_iter()
        .filter(|actor| attacker.is_empty() || actor.name() == attacker)
    {
        stage.begin(actor).await?;
        let digest = digest(&tables, actor);
        let mut world = World {
            knowledge: Knowledge::of(stage, &tables, actor).await?,
            before: stage.rows(&digest).await?,
            held: stage.rows(INVARIANTS).await?,
            digest,
            actor,
        };
        stage.rollback().await?;
        for function in functions.iter().filter(|function| may(function, actor)) {
            let call = declared
                .iter()
                .find(|call| function.schema == "public" && call.name == function.name)
                .cloned()
                .unwrap_or_else(|| improvised(function));
            stage.begin_as(actor).await?;
            for attack in attacks(function, &call, actor) {
                report.tried += 1;
                let outcome = stage.attempt(&attack, Effects::Stay).await?;
                if let Outcome::Refused { code, message } = &outcome
                    && !allowed(code)
                {
                    let who = actor.name();
                    report.find(CHECK, format!("{who} gets {code} ({message}) from {}", shortened(&attack)));
                }
                world.read(&attack, &outcome, report);
            }
            let through = format!("{}.{}", function.schema, function.name);
            world.end(stage, &through, report).await?;
        }
        sequels(stage, &functions, &declared, &mut world, report).await?;
    }
    Ok(())
}

/// What an actor finds before an attack.
struct World {
    actor: Actor,
    knowledge: Knowledge,
    digest: String,
    before: Vec<String>,
    held: Vec<String>,
}

impl World {
    /// Inspects an answer.
    fn read(&self, attack: &str, outcome: &Outcome, report: &mut Report) {
        let answer = match outcome {
            Outcome::Rows(rows) => rows.join("\n"),
            Outcome::Refused { message, .. } => message.clone(),
        };
        if let Some(leak) = self.knowledge.leak(attack, &answer) {
            report.find(CHECK, format!("{} reads {leak} by {}", self.actor.name(), shortened(attack)));
        }
    }

    /// Ends an act, and inspects its changes.
    async fn end(&mut self, stage: &mut Stage, through: &str, report: &mut Report) -> Result<()> {
        stage.step_back().await?;
        let after = stage.rows(&self.digest).await?;
        let holds = stage.rows(INVARIANTS).await?;
        stage.rollback().await?;
        let who = self.actor.name();
        for (before, _) in self.before.iter().zip(&after).filter(|(before, after)| before != after) {
            let table = before.split(' ').next().unwrap_or_default();
            report.find(CHECK, format!("{who} changes rows of {table} through {through}"));
        }
        for broken in holds.iter().filter(|row| !self.held.contains(row)) {
            report.find(CHECK, format!("{who} leaves {broken}, through {through}"));
        }
        Ok(())
    }
}

/// One call prepares for another: all functions with the same id, twice over. Ids of one kind are tried as ids of every other; ids of
/// things in a certain state are tried where things of that kind belong.
async fn sequels(
    stage: &mut Stage,
    functions: &[Function],
    declared: &[Call],
    world: &mut World,
    report: &mut Report,
) -> Result<()> {
    let actor = world.actor;
    let words = words::words_of(WORLD);
    let words = words.iter().filter(|word| is_id(word));
    let places = [&[actor.place()], actor.victims()].concat();
    for (word, place) in words.flat_map(|word| places.iter().map(move |place| (word, place))) {
        let id = place.fill(word);
        let of_a_state = word.contains('_');
        stage.begin_as(actor).await?;
        let mut tried = false;
        for function in [functions, functions].concat() {
            let Some(call) = declared
                .iter()
                .find(|call| function.schema == "public" && call.name == function.name)
            else {
                continue;
            };
            let ids = call.arguments.iter().filter(|(name, value)| {
                let kind = function
                    .arguments
                    .iter()
                    .find(|(other, _)| other == name)
                    .map(|(_, kind)| kind.as_str());
                kind == Some("uuid") && name != "p_workspace" && (!of_a_state || words::kind(value) == words::kind(word))
            });
            for (argument, _) in ids.filter(|_| may(&function, actor)) {
                report.tried += 1;
                tried = true;
                let attack = actor.place().fill(&call.statement("public", Some((argument, &id))));
                let outcome = stage.attempt(&attack, Effects::Stay).await?;
                world.read(&attack, &outcome, report);
            }
        }
        if !tried {
            stage.rollback().await?;
            continue;
        }
        let through = format!("calls with {word} of {} in workspace {}", place.person, place.workspace);
        world.end(stage, &through, report).await?;
    }
    Ok(())
}

/// Whether a placeholder of world.sql stands for an id.
fn is_id(word: &str) -> bool {
    !["{bytes", "{name", "{mark", "{limits"]
        .iter()
        .any(|kind| word.starts_with(kind))
}

pub(super) fn may(function: &Function, actor: Actor) -> bool {
    if actor.is_agent() {
        function.for_agents
    } else {
        function.for_people
    }
}

/// For each table, the content of the rows that the actor's calls must leave alone.
fn digest(tables: &[&Table], actor: Actor) -> String {
    let parts: Vec<String> = tables
        .iter()
        .map(|table| {
            let condition = table.changeable(actor);
            format!(
                "select '{0} ' || coalesce(sum(hashtextextended(t::text, 1)), 0)
                 from {0} t where ({condition}) is not true",
                table.name
            )
        })
        .collect();
    // Private memories stay as they are, even where an owner may make a shared one private.
    let private = words::words_of(WORLD)
        .into_iter()
        .filter(|word| word.starts_with("{my:secret"));
    let secrets: Vec<String> = private
        .flat_map(|word| {
            let others = Place::ALL.iter().filter(|place| place.person != actor.place().person);
            others
                .map(move |place| place.fill(&format!("({{ws}}, {word})")))
                .collect::<Vec<_>>()
        })
        .collect();
    let private = format!(
        "select 'duet.memory(private) ' || md5(string_agg(t::text, '' order by t.id)) from duet.memory t where (t.workspace_id, t.id) in ({})",
        secrets.join(", ")
    );
    // In a workspace that the actor does not own, the set of owners stays: nobody promotes themselves or demotes others.
    let elsewhere: Vec<String> = words::WORKSPACES
        .iter()
        .filter(|name| !actor.owned().contains(name))
        .map(|name| words::workspace_id(name))
        .collect();
    let owners = format!(
        "select 'duet.member(owners) ' || coalesce(md5(string_agg(t::text, '' order by t.workspace_id, t.user_id)), '')
         from duet.member t where t.role = 'owner' and t.workspace_id = any (array[{}]::uuid[])",
        elsewhere.join(", ")
    );
    parts
        .into_iter()
        .chain([private, owners])
        .collect::<Vec<_>>()
        .join(" union all ")
}

/// Refusals: of the value (0A000: an infinite time as a number), of a rule, of permission, of size, of a repeat; and what functions
/// raise for broken requests.
fn allowed(code: &str) -> bool {
    ["22", "23", "54", "PT4"].iter().any(|class| code.starts_with(class)) || matches!(code, "42501" | "40001" | "0A000")
}

/// A call of a function that has no description.
pub(super) fn improvised(function: &Function) -> Call {
    let arguments = function.arguments.iter().map(|(name, kind)| {
        let value = match kind.as_str() {
            "uuid" if name.contains("workspace") => "{ws}",
            "uuid" if name.contains("conversation") => "{my:conversation}",
            "uuid" if name.contains("agent") => "{the:agent}",
            "uuid" if name.contains("message") => "{my:message}",
            "uuid" if name.contains("run") => "{my:run}",
            "uuid" if name.contains("key") => "{my:key}",
            "uuid" if name.contains("person") || name.contains("user") => "{me}",
            "uuid" => "{my:thing}",
            "text" => likely(name),
            "jsonb" => "'{}'",
            "integer" | "bigint" => "1",
            "boolean" => "true",
            "timestamp with time zone" => "private.now() + interval '1 day'",
            _ => "null",
        };
        (name.clone(), format!("({value})::{kind}"))
    });
    Call {
        name: function.name.clone(),
        for_people: function.for_people,
        for_agents: function.for_agents,
        arguments: arguments.collect(),
        instead: Vec::new(),
        tells: Vec::new(),
        tells_within: Vec::new(),
        changes: BTreeSet::new(),
        may_change: BTreeSet::new(),
        audited: Vec::new(),
        holds: Vec::new(),
    }
}

/// A plausible text for such an argument.
fn likely(name: &str) -> &'static str {
    let known = [
        ("query", "'mark'"),
        ("domain", "'semantic'"),
        ("egress", "'any'"),
        ("visibility", "'private'"),
        ("review", "'accepted'"),
        ("role", "'owner'"),
        ("outcome", "'done'"),
        ("mode", "'restart'"),
        ("capability", "'write_memory'"),
        ("address", "'somebody@example.test'"),
        ("email", "'somebody@example.test'"),
        ("topic", "'run:' || {ws} || ':' || {my:run}"),
    ];
    let found = known.iter().find(|(part, _)| name.contains(part));
    found.map_or("'x'", |(_, value)| value)
}

/// The statements: the sensible call with another's ids, then each argument in turn made hostile.
fn attacks(function: &Function, call: &Call, actor: Actor) -> Vec<String> {
    let own = actor.place();
    let mut attacks = Vec::new();
    for (number, mut call) in call.variants().into_iter().enumerate() {
        // Ids are fresh for each statement, so that no attempt finds what an earlier one created.
        let fresh = format!("{{new:{}_", "v".repeat(number));
        for (_, value) in call.arguments.iter_mut().filter(|_| number > 0) {
            *value = value.replace("{new:", &fresh);
        }
        attacks.push(own.fill(&call.statement(&function.schema, None)));
        for victim in actor.victims() {
            attacks.push(victim.fill(&call.statement(&function.schema, None)));
            for (argument, value) in &call.arguments {
                if !words::words_of(value).is_empty() {
                    let theirs = victim.fill(value);
                    attacks.push(own.fill(&call.statement(&function.schema, Some((argument, &theirs)))));
                    let mine = own.fill(value);
                    attacks.push(victim.fill(&call.statement(&function.schema, Some((argument, &mine)))));
                }
            }
        }
    }
    for (argument, kind) in &function.arguments {
        for value in values(kind, actor.victims().first().copied().unwrap_or(own)) {
            let value = format!("({value})::{kind}");
            attacks.push(own.fill(&call.statement(&function.schema, Some((argument, &value)))));
        }
    }
    let mut seen = BTreeSet::new();
    attacks.retain(|attack| seen.insert(attack.clone()));
    // Attacks on the actor themselves come last: having left a workspace, they could no longer attack it from within.
    attacks.sort_by_key(|attack| attack.contains(&words::person_id(own.person)));
    attacks
}

/// Unsuitable values, by type. Types of Duet's own and of extensions get only null.
pub(super) fn values(kind: &str, victim: Place) -> Vec<String> {
    let fixed: &[&str] = match kind {
        "uuid" => &[
            "'00000000-0000-0000-0000-000000000000'",
            "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
        ],
        "uuid[]" => &[
            "'{}'",
            "array[null]",
            "array_fill(md5('x')::uuid, array[1001])",
            "'{{00000000-0000-0000-0000-000000000000}}'",
        ],
        "text" => &[
            "''",
            "' '",
            "'''; drop table duet.member; --'",
            "'%_\\'",
            "E'\\u202e\\u200b'",
            "'owner'",
            "'admin'",
            "'$1'",
            "'{{}}'",
            "repeat('x', 1048577)",
            "repeat('(', 5000)",
        ],
        "text[]" => &[
            "'{}'",
            "array[null]",
            "'{owner}'",
            "'{admin}'",
            "array_fill('x'::text, array[10001])",
            "'{{a,b},{c,d}}'",
        ],
        "smallint" => &["0", "-1", "32767", "-32768"],
        "integer" => &["0", "-1", "2147483647", "-2147483648"],
        "bigint" => &["0", "-1", "9223372036854775807", "-9223372036854775808"],
        "real" | "double precision" => &["0", "-1", "'NaN'", "'Infinity'", "'-Infinity'"],
        "boolean" => &["true", "false"],
        "bytea" => &[
            "''",
            "'\\x00'",
            "decode(repeat('00', 32), 'hex')",
            "decode(repeat('ff', 1048577), 'hex')",
        ],
        "timestamp with time zone" => &["'infinity'", "'-infinity'", "'4713-01-01 BC'", "'294276-12-31'", "'epoch'"],
        "jsonb" => &[
            "'null'",
            "'[]'",
            "'{}'",
            "'0'",
            "'\"x\"'",
            "'[null]'",
            "'{\"agents\": null, \"soul\": null}'",
            "'{\"agents\": 1, \"domains\": {}, \"name\": {}, \"tools\": [[]], \"capabilities\": [null]}'",
            "'{\"tools\": {}, \"active\": \"maybe\", \"version\": -1, \"memory_scopes\": []}'",
            "'{\"capabilities\": null, \"memory_scopes\": \"x\", \"active\": null, \"name\": null}'",
            "'{\"max_steps\": -1, \"max_identical_calls\": 1e400, \"max_tokens\": \"1\", \"max_attempts\": 1, \"max_output_tokens\": 1}'",
            "(repeat('[', 3000) || repeat(']', 3000))",
            "to_jsonb(repeat('x', 1048577))",
        ],
        _ => &[],
    };
    let mut values: Vec<String> = fixed.iter().map(|value| (*value).to_owned()).collect();
    values.push("null".into());
    match kind {
        "uuid" => values.extend(["{ws}", "{me}", "{my:run}", "{my:conversation}", "{the:agent}"].map(|word| victim.fill(word))),
        "text" => values.extend(["{ws}::text", "{me}::text"].map(|word| victim.fill(word))),
        "jsonb" => values.push(victim.fill(
            "jsonb_build_object('workspace_id', {ws}, 'user_id', {me}, 'id', {my:run}, 'author', {me}, 'agent_id', {the:agent})",
        )),
        _ => {}
    }
    values
}
