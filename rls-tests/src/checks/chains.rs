//! Tries to change rows that are written once: nobody can change or empty them, not even their owner; and after the triggers are
//! dropped, the chains reveal the change, whichever column, row or end was touched.

use anyhow::Result;
use sqlx::Row;

use crate::{
    Actor,
    attempt::{Effects, Outcome, Stage, shortened},
    suite::Report,
    words::Place,
};

const FIXED: &str = "fixed";
const CHAINS: &str = "chains";

/// Tables whose rows are written once.
const WRITTEN_ONCE: [&str; 6] = [
    "duet.audit_entry",
    "duet.run_event",
    "duet.run_event_payload",
    "duet.soul_version",
    "duet.policy_version",
    "duet.memory_tombstone",
];

/// What the triggers of `duet` raise.
const RESTRICTED: &str = "23001";

/// Finds rows that can be changed.
pub async fn fixed(stage: &mut Stage, report: &mut Report) -> Result<()> {
    for table in WRITTEN_ONCE {
        let mut changes: Vec<(String, String)> = forgeries(stage, table, &[])
            .await?
            .into_iter()
            .map(|(column, value)| (format!("update {table} t set {column} = {value} where"), "true".to_owned()))
            .collect();
        changes.push((format!("delete from {table} t where"), "true".to_owned()));
        if table == "duet.run_event_payload" {
            // Only a complete redaction is allowed, and it cannot be undone.
            let whole = "set payload = null, salt = null, redacted_at = now()";
            changes.extend(
                [
                    ("set payload = 'null'".to_owned(), "t.redacted_at is null"),
                    (
                        "set payload = '{}', salt = decode(repeat('ab', 16), 'hex'), redacted_at = null".to_owned(),
                        "t.redacted_at is not null",
                    ),
                    (format!("{whole}, seq = t.seq + 1000"), "t.redacted_at is null"),
                    (format!("{whole}, run_id = gen_random_uuid()"), "t.redacted_at is null"),
                    (format!("{whole}, workspace_id = gen_random_uuid()"), "t.redacted_at is null"),
                ]
                .map(|(what, rows)| (format!("update {table} t {what} where"), rows.to_owned())),
            );
        }
        let mut attempts: Vec<String> = changes.iter().map(|(change, rows)| row_by_row(table, change, rows)).collect();
        attempts.push(format!("truncate {table} cascade"));
        // As the owner of the schema, and as the connection's own role: grants do not bind one of them.
        for role in ["postgres", "none"] {
            stage.begin(Actor::Anon).await?;
            stage.run(&format!("set local role {role}")).await?;
            for attempt in &attempts {
                report.tried += 1;
                let outcome = stage.attempt(attempt, Effects::TakenBack).await?;
                if !matches!(&outcome, Outcome::Refused { code, .. } if code == RESTRICTED) {
                    report.find(FIXED, format!("{} is answered with {outcome:?}", shortened(attempt)));
                }
            }
            stage.rollback().await?;
        }
    }
    Ok(())
}

/// Changes each row separately: one protected row would protect all. Raises the triggers' error if every row was protected.
fn row_by_row(table: &str, change: &str, rows: &str) -> String {
    format!(
        "do $rows$
         declare
             one tid;
         begin
             for one in select t.ctid from {table} t where {rows} loop
                 begin
                     {change} t.ctid = one;
                     raise exception 'a row was changed by: %', $change${change}$change$;
                 exception when restrict_violation then
                     null;
                 end;
             end loop;
             raise exception 'nothing was changed' using errcode = 'restrict_violation';
         end;
         $rows$"
    )
}

/// Finds forgeries that the chains do not reveal.
pub async fn chains(stage: &mut Stage, report: &mut Report) -> Result<()> {
    let mut attempts = Vec::new();
    // The first, a middle and the last row of a chain.
    let links = [
        ("duet.audit_entry", "t.workspace_id = {ws}", "t.seq"),
        ("duet.run_event", "t.workspace_id = {ws} and t.run_id = {my:run}", "t.seq"),
        (
            "duet.run_event_payload",
            "t.workspace_id = {ws} and t.run_id = {my:run} and t.redacted_at is null",
            "t.seq",
        ),
    ];
    for (table, chain, order) in links {
        for (column, value) in forgeries(stage, table, &["workspace_id", "run_id", "redacted_at"]).await? {
            for place in [
                format!("(select min({order}) from {table} t where {chain})"),
                format!("(select min({order}) + 2 from {table} t where {chain})"),
                format!("(select max({order}) from {table} t where {chain})"),
            ] {
                attempts.push(format!(
                    "update {table} t set {column} = {value} where {chain} and {order} = {place}"
                ));
            }
        }
        for end in ["min", "max"] {
            attempts.push(format!(
                "delete from {table} t where {chain} and {order} = (select {end}({order}) from {table} t where {chain})"
            ));
        }
        attempts.push(format!("delete from {table} t where {chain} and {order} = 2"));
        attempts.push(format!("delete from {table} t where {chain}"));
    }
    attempts.extend(
        [
            "update duet.audit_head t set seq = seq + 1 where t.workspace_id = {ws}",
            "update duet.audit_head t set seq = seq - 1 where t.workspace_id = {ws}",
            "update duet.audit_head t set hash = sha256(hash) where t.workspace_id = {ws}",
            "delete from duet.audit_head t where t.workspace_id = {ws}",
            "update duet.run t set last_seq = last_seq + 1 where t.workspace_id = {ws} and t.id = {my:run}",
            "update duet.run t set last_hash = sha256(last_hash) where t.workspace_id = {ws} and t.id = {my:run}",
            "update duet.run_event_payload t set payload = '{}' where t.workspace_id = {ws} and t.run_id = {owner:run}",
            "delete from duet.run_event_payload t where t.workspace_id = {ws} and t.run_id = {my:run_parked}",
            "with one as (delete from duet.run_event t where t.workspace_id = {ws} and t.run_id = {my:run}),
                  two as (delete from duet.run_event_payload t where t.workspace_id = {ws} and t.run_id = {my:run}),
                  three as (delete from duet.run_event_mention t where t.workspace_id = {ws} and t.run_id = {my:run})
             delete from duet.run t where t.workspace_id = {ws} and t.id = {my:run}",
            "with gone as (delete from duet.audit_entry t where t.workspace_id = {ws} and t.seq > 3)
             update duet.audit_head h set seq = 3 where h.workspace_id = {ws}",
            "insert into duet.audit_entry
             select t.workspace_id, h.seq + 1, gen_random_uuid(), t.actor, t.agent_id, t.action, t.target, t.outcome, t.details, t.at,
                    t.chain_hash
             from duet.audit_entry t join duet.audit_head h using (workspace_id) where t.workspace_id = {ws} and t.seq = 1",
        ]
        .map(str::to_owned),
    );
    let verify = Place::OWNER.fill("select public.audit_verify({ws})::text");
    stage.begin_as(Actor::Owner).await?;
    let whole = stage.attempt(&verify, Effects::TakenBack).await?;
    if !matches!(&whole, Outcome::Rows(rows) if rows[0].contains("\"rows\"")) {
        report.find(CHAINS, format!("chains that nobody touched do not hold: {whole:?}"));
    }
    stage.rollback().await?;
    for attempt in attempts {
        report.tried += 1;
        stage.begin(Actor::Owner).await?;
        // Like somebody who has the whole database: drops the constraints that tie rows together, too.
        for table in ["audit_entry", "run_event", "run_event_payload"] {
            stage.run(&format!("alter table duet.{table} disable trigger user")).await?;
        }
        stage.run(LOOSE).await?;
        let outcome = stage.attempt(&Place::MEMBER.fill(&attempt), Effects::Stay).await?;
        if let Outcome::Refused { code, message } = &outcome {
            report.find(CHAINS, format!("{attempt} cannot be tried: {code} {message}"));
        }
        stage.take_on(Actor::Owner).await?;
        let told = stage.attempt(&verify, Effects::TakenBack).await?;
        stage.rollback().await?;
        if !matches!(&told, Outcome::Rows(rows) if rows[0].contains("\"chain\"")) {
            report.find(CHAINS, format!("nobody is told of {attempt}: {told:?}"));
        }
    }
    Ok(())
}

/// Drops the foreign keys of the logs, so that rows can be deleted one by one.
const LOOSE: &str = "do $$
    declare
        key record;
    begin
        for key in select conname, conrelid::regclass as of from pg_constraint
                   where contype = 'f' and conrelid in ('duet.run_event'::regclass, 'duet.run_event_payload'::regclass,
                                                        'duet.run_event_mention'::regclass, 'duet.request'::regclass) loop
            execute format('alter table %s drop constraint %I', key.of, key.conname);
        end loop;
    end;
    $$";

/// For each column of a table, a value that differs from the current one.
async fn forgeries(stage: &mut Stage, table: &str, but: &[&str]) -> Result<Vec<(String, String)>> {
    let columns = stage
        .table(&format!(
            "select a.attname::text, format_type(a.atttypid, null),
                    exists (select from pg_constraint k where k.conrelid = a.attrelid and k.contype = 'c' and k.conkey = array[a.attnum]
                                                          and pg_get_constraintdef(k.oid) ~ 'ARRAY\\[')
             from pg_attribute a where a.attrelid = '{table}'::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum"
        ))
        .await?;
    let mut forged = Vec::new();
    for column in columns {
        let (name, kind, listed): (String, String, bool) = (column.try_get(0)?, column.try_get(1)?, column.try_get(2)?);
        if but.contains(&name.as_str()) {
            continue;
        }
        let value = match kind.as_str() {
            "uuid" => "gen_random_uuid()".to_owned(),
            "bigint" | "integer" => format!("t.{name} + 1000"),
            "bytea" if table == "duet.run_event_payload" => format!("substring(sha256(t.{name}) from 1 for 16)"),
            "bytea" => format!("sha256(t.{name})"),
            "text" if listed => format!("(select x.{name} from {table} x where x.{name} <> t.{name} limit 1)"),
            "text" => format!("t.{name} || ' '"),
            "jsonb" => format!("t.{name} || '{{\"more\": \"forged\"}}'"),
            "timestamp with time zone" => format!("coalesce(t.{name}, now()) + interval '1 second'"),
            _ => continue,
        };
        forged.push((name, value));
    }
    Ok(forged)
}
