//! A project's Data API as seen by people who were not admitted: without a sign-in, and with one but without a workspace. Calls every
//! function of `calls.txt` and reads every table of `matrix.txt`, whatever the project contains.

use anyhow::{Context, Result};
use duet_supabase::testing::SupabaseProject;
use reqwest::{RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::{
    calls::{self, Call},
    matrix,
    suite::Report,
};

const CHECK: &str = "data api";

/// An id that does not exist.
const NOTHING: &str = "0191d3a2-0000-7000-8000-00000000dead";

/// A person who signed up with Auth, which admitted them.
pub struct Newcomer {
    /// Their id.
    pub id: String,
    /// Their access token.
    pub token: SecretString,
}

/// Finds answers that should not be given.
pub async fn strangers(project: &SupabaseProject, newcomer: &Newcomer, report: &mut Report) -> Result<()> {
    let api = Api { project, newcomer };
    for call in calls::declared()? {
        for arguments in arguments(&call) {
            report.tried += 2;
            let (status, body) = api.call(&call.name, &arguments, false).await?;
            if !status.is_client_error() {
                report.find(CHECK, format!("anon calls {}: {status} {body}", call.name));
            }
            let (status, body) = api.call(&call.name, &arguments, true).await?;
            if status.is_server_error() {
                report.find(CHECK, format!("a newcomer breaks {}: {status} {body}", call.name));
            }
            if let Some(id) = ids(&body).find(|id| *id != NOTHING && *id != newcomer.id) {
                report.find(CHECK, format!("a newcomer learns of {id} from {}", call.name));
            }
        }
    }
    for table in matrix::declared()? {
        let (schema, name) = table.name.split_once('.').context("Tables have a schema.")?;
        for profile in [schema, "public"] {
            for signed_in in [false, true] {
                report.tried += 1;
                let (status, _) = api.rows(profile, name, signed_in).await?;
                if !status.is_client_error() {
                    let who = if signed_in { "a newcomer" } else { "anon" };
                    report.find(CHECK, format!("{who} reads {profile}.{name}: {status}"));
                }
            }
        }
    }
    Ok(())
}

struct Api<'a> {
    project: &'a SupabaseProject,
    newcomer: &'a Newcomer,
}

impl Api<'_> {
    async fn call(&self, function: &str, arguments: &Map<String, Value>, signed_in: bool) -> Result<(StatusCode, String)> {
        let settings = self.project.settings();
        let url = self.url(&format!("rpc/{function}"));
        self.send(settings.client.post(url).json(arguments), signed_in).await
    }

    async fn rows(&self, schema: &str, table: &str, signed_in: bool) -> Result<(StatusCode, String)> {
        let settings = self.project.settings();
        let url = self.url(&format!("{table}?limit=1"));
        self.send(settings.client.get(url).header("accept-profile", schema), signed_in)
            .await
    }

    fn url(&self, path: &str) -> String {
        format!("{}/rest/v1/{path}", self.project.url.as_str().trim_end_matches('/'))
    }

    async fn send(&self, request: RequestBuilder, signed_in: bool) -> Result<(StatusCode, String)> {
        let request = request.header("apikey", &self.project.publishable_key);
        let request = match signed_in {
            true => request.bearer_auth(self.newcomer.token.expose_secret()),
            false => request,
        };
        let answer = request.send().await.context("The Data API does not answer.")?;
        Ok((answer.status(), answer.text().await?))
    }
}

/// The call without values, and with ids that do not exist where it takes ids.
fn arguments(call: &Call) -> [Map<String, Value>; 2] {
    let with = |id: Value| {
        let arguments = call.arguments.iter();
        arguments
            .map(|(name, value)| (name.clone(), if value.starts_with('{') { id.clone() } else { Value::Null }))
            .collect()
    };
    [with(Value::Null), with(json!(NOTHING))]
}

/// Everything in a text that has the form of a UUID.
fn ids(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
    words.filter(|word| word.len() == 36 && word.bytes().filter(|byte| *byte == b'-').count() == 4)
}
