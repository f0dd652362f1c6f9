//! Invariants of the SAM template. It was also checked by hand with AWS's own translator and linter.

use std::collections::BTreeMap;

use duet_api::config::{Backend, Config, Sources};

const TEMPLATE: &str = include_str!("../../../deploy/lambda/template.yaml");

/// The lines indented below a line with this key, without the indentation of the first.
fn below<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text
        .lines()
        .skip_while(|line| line.trim_end() != format!("{}{key}:", " ".repeat(depth(line))));
    let Some(first) = lines.next() else {
        panic!("the template has no `{key}`");
    };
    lines
        .take_while(|line| line.trim().is_empty() || depth(line) > depth(first))
        .collect()
}

/// `NAME: value` lines directly under `Variables:` of a part of the template.
fn variables(part: &str) -> BTreeMap<String, String> {
    below(part, "Variables")
        .into_iter()
        .filter_map(|line| line.trim().split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

fn function(name: &str) -> String {
    below(TEMPLATE, &format!("{name}Function")).join("\n")
}

/// The settings of a function, with the stack's values filled in, for a Supabase project or a plain Postgres.
fn settings(name: &str, supabase: bool) -> (Config, BTreeMap<String, String>) {
    let mut env = variables(&below(TEMPLATE, "Globals").join("\n"));
    env.extend(variables(&function(name)));
    let filled = env.iter().filter_map(|(name, value)| {
        let choice = value
            .strip_prefix("!If [OnSupabase, ")
            .and_then(|rest| rest.strip_suffix(']'));
        let value = match choice.and_then(|choice| choice.split_once(", ")) {
            Some((on_supabase, plain)) => {
                if supabase {
                    on_supabase
                } else {
                    plain
                }
            }
            None => value,
        };
        let value = match value {
            "!Ref PublicUrl" => "https://duet.example.org",
            "!Ref LogLevel" => "info",
            "!Ref SupabaseUrl" => "https://ref.supabase.co",
            "!Ref SupabasePublishableKey" => "sb_publishable_canary",
            "!Ref \"AWS::NoValue\"" => return None,
            value => value,
        };
        Some((name.clone(), value.to_owned()))
    });
    let sources = Sources {
        env: filled.collect(),
        ..Sources::default()
    };
    (sources.load().unwrap(), env)
}

#[test]
fn each_function_gets_settings_that_the_program_takes() {
    for (name, connections) in [("Api", 2), ("Stream", 1), ("Worker", 5)] {
        let (config, env) = settings(name, false);
        assert_eq!(config.database.backend, Backend::Postgres, "{name}");
        assert_eq!(settings(name, true).0.database.backend, Backend::Supabase, "{name}");
        assert_eq!(config.database.connections, connections, "{name}");
        assert_eq!(config.log.format, duet_api::config::LogFormat::Json, "{name}");
        assert!(env.contains_key("DUET_WORKER_FUNCTION"), "{name}");
        // Names without a section are aliases, or read by the functions themselves; anything else would be silently ignored.
        let known: Vec<&str> = duet_api::config::ALIASES.iter().map(|(alias, _)| *alias).collect();
        for name in env.keys().filter(|name| !name.contains("__")) {
            let own = ["DUET_WORKER_FUNCTION", "DUET_DATABASE_URL", "DUET_MASTER_KEY"];
            assert!(known.contains(&name.as_str()) || own.contains(&name.as_str()), "{name}");
        }
    }
}

#[test]
fn requests_are_cut_off_by_duet_before_the_platform_does_it() {
    let (config, _) = settings("Api", false);
    let timeout = |name: &str| -> u64 {
        let function = function(name);
        let line = function
            .lines()
            .find_map(|line| line.trim().strip_prefix("Timeout: "))
            .unwrap();
        line.parse().unwrap()
    };
    assert!(config.limits.request_seconds < timeout("Api"));
    assert_eq!((timeout("Stream"), timeout("Worker")), (900, 900));
}

#[test]
fn secrets_are_resolved_and_never_written_down() {
    for name in ["Api", "Stream", "Worker"] {
        let (_, env) = settings(name, true);
        for secret in ["DUET_DATABASE_URL", "DUET_MASTER_KEY"] {
            assert!(
                env[secret].starts_with("!Sub \"{{resolve:secretsmanager:${DatabaseSecret}:"),
                "{}",
                env[secret]
            );
        }
    }
    for word in ["postgres://", "postgresql://", "sb_secret", "service_role", "AKIA"] {
        assert!(!TEMPLATE.contains(word), "{word}");
    }
}

#[test]
fn functions_may_invoke_the_worker_and_nothing_else() {
    let trimmed: Vec<&str> = TEMPLATE.lines().map(str::trim).collect();
    let actions: Vec<&&str> = trimmed.iter().filter(|line| line.starts_with("Action:")).collect();
    assert_eq!(actions, [&"Action: lambda:InvokeFunction"; 3]);
    let resources: Vec<&&str> = trimmed.iter().filter(|line| line.starts_with("Resource:")).collect();
    assert_eq!(resources.len(), 3);
    assert!(
        resources
            .iter()
            .all(|line| line.ends_with(":function:${AWS::StackName}-worker\"")),
        "{resources:?}"
    );
    assert!(
        !TEMPLATE.contains("Role:") && !TEMPLATE.contains("Managed"),
        "no other rights than these"
    );
}

#[test]
fn addresses_and_the_schedule_fit_the_programs() {
    assert!(function("Api").contains("InvokeMode: BUFFERED"));
    assert!(function("Stream").contains("InvokeMode: RESPONSE_STREAM"));
    assert!(!function("Worker").contains("FunctionUrlConfig"), "`worker` has no address");
    for (name, program) in [("Api", "api"), ("Stream", "stream"), ("Worker", "worker")] {
        assert!(function(name).contains(&format!("Binary: {program} ")), "{name}");
    }
    let worker = function("Worker");
    let input = worker.lines().find_map(|line| line.trim().strip_prefix("Input: ")).unwrap();
    let event: serde_json::Value = serde_json::from_str(input.trim_matches('\'')).unwrap();
    assert_eq!(
        event,
        serde_json::json!({"task": "sweep"}),
        "what the tests of the schedule send"
    );
}
