//! What `duet-api check` reports about a project, and that it finds each planted fault.

use std::time::Duration;

use duet_supabase::{
    auth::AuthSettings,
    check::{Finding, Verdict, project},
    connect::Database,
};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::issuer::*;

const SETTINGS: &str = "/auth/v1/settings";
const KNOWN: &str = "/rest/v1/rpc/workspace_memberships public";

fn told() -> Value {
    json!({"external": {"email": true, "anonymous_users": false}, "disable_signup": false, "mailer_autoconfirm": false})
}

/// A project without faults.
async fn sound() -> Project {
    let project = Project::start(Keys::Publish(vec![Ec::new().jwk("one")])).await;
    project.tell(SETTINGS, 200, told());
    project.tell(KNOWN, 401, json!({"code": "42501"}));
    for schema in ["duet", "private", "driver"] {
        let asked = format!("/rest/v1/rpc/nothing {schema}");
        project.tell(&asked, 406, json!({"code": "PGRST106"}));
    }
    project
}

async fn inspect(settings: &AuthSettings) -> Vec<Finding> {
    let url = SecretString::from("postgres://duet_worker@127.0.0.1:1/x");
    project::inspect(settings, &Database::from_url("env:X", &url).unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_in_order_has_nothing_to_mend() {
    let project = sound().await;
    let findings = inspect(&project.settings(Duration::from_secs(5))).await;
    assert!(findings.iter().all(|finding| finding.verdict == Verdict::Ok), "{findings:?}");
    assert_eq!(findings.len(), 6, "{findings:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_planted_fault_is_seen_with_its_fix() {
    let signups = |field: &str, value: bool| with(&told(), field, json!(value));
    let external =
        |email: bool, anonymous: bool| with(&told(), "external", json!({"email": email, "anonymous_users": anonymous}));
    let (problem, warning) = (Verdict::Problem, Verdict::Warning);
    for (asked, status, body, name, verdict, word) in [
        (
            SETTINGS,
            401,
            json!({"message": "Invalid API key"}),
            "project",
            problem,
            "refuses the publishable key",
        ),
        (SETTINGS, 404, json!({}), "project", problem, "no Supabase Auth"),
        (SETTINGS, 200, json!([]), "project", problem, "no Supabase Auth"),
        (SETTINGS, 503, json!({}), "project", problem, "cannot be reached"),
        (SETTINGS, 429, json!({}), "project", problem, "too many"),
        (
            SETTINGS,
            200,
            signups("disable_signup", true),
            "sign-up",
            problem,
            "no sign-ups",
        ),
        (SETTINGS, 200, external(false, false), "sign-up", problem, "no sign-ups"),
        (SETTINGS, 200, external(true, true), "sign-up", warning, "without any sign-in"),
        (
            SETTINGS,
            200,
            signups("mailer_autoconfirm", true),
            "sign-up",
            warning,
            "without proof",
        ),
        (KNOWN, 200, json!({"ok": []}), "data api", problem, "not signed in may call"),
        (KNOWN, 404, json!({"code": "PGRST202"}), "data api", problem, "does not know"),
        (KNOWN, 406, json!({"code": "PGRST106"}), "data api", problem, "`public`"),
        (KNOWN, 503, json!({}), "data api", problem, "503"),
        (
            "/rest/v1/rpc/nothing private",
            404,
            json!({"code": "PGRST202"}),
            "schemas",
            problem,
            "`private`",
        ),
        (
            "/rest/v1/rpc/nothing driver",
            404,
            json!({"code": "PGRST202"}),
            "schemas",
            problem,
            "`driver`",
        ),
    ] {
        let project = sound().await;
        project.tell(asked, status, body.clone());
        let findings = inspect(&project.settings(Duration::from_secs(5))).await;
        let wrong: Vec<&Finding> = findings.iter().filter(|finding| finding.verdict != Verdict::Ok).collect();
        assert_eq!(wrong.len(), 1, "{asked} {status} {body}: {wrong:?}");
        assert_eq!((wrong[0].name, wrong[0].verdict), (name, verdict), "{asked} {status} {body}");
        assert!(wrong[0].found.contains(word), "{word}: {:?}", wrong[0]);
        assert!(wrong[0].fix.as_ref().is_some_and(|fix| fix.len() > 15), "{:?}", wrong[0]);
    }
    for (keys, verdict) in [
        (Keys::Publish(Vec::new()), warning),
        (Keys::Answer(500, String::new()), problem),
    ] {
        let project = sound().await;
        project.publish(keys);
        let findings = inspect(&project.settings(Duration::from_secs(5))).await;
        let keys = findings.iter().find(|finding| finding.name == "token keys").unwrap();
        assert_eq!(keys.verdict, verdict, "{keys:?}");
    }
}
