//! `duet doctor`: checks everything that Duet needs, and says how to fix what is wrong.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::http::Method;
use clap::Args;
use duet_core::{
    Caller, StoreResult,
    domain::{Embedding, ModelRef},
    ids::UserId,
    ports::{ChatMessage, ChatRequest, EmbedPurpose, Embedder, ModelDirectory, ModelEvent, Stores},
};
use futures::StreamExt;
use serde::Serialize;

use super::{
    Global,
    client::Client,
    connect,
    exit::{Exit, Failure, Outcome},
    inside, mend,
    output::Output,
    settings::{self, Settings},
};
use duet_sqlite::LocalStore;

use crate::{key_source, runtime};

/// How long a model or embedder may take to respond.
const PATIENCE: Duration = Duration::from_secs(30);
/// Less free space than this gets a warning.
const LITTLE_SPACE: u64 = 512 << 20;

/// Options of `duet doctor`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 0 when all is well (warnings allowed), 1 when something has to be fixed.\n\
    The default model is sent one word, and so are the models that agents name (unless a server has the data file) and the embedder. \
    --no-network sends nothing."
)]
pub struct DoctorArgs {
    /// Do not call the models and the embedder
    #[arg(long)]
    no_network: bool,
    /// Also read and check every page of the data file; takes a while for a large one
    #[arg(long)]
    deep: bool,
    /// Copy what can be read of a damaged data file into this new one, and list what cannot
    #[arg(long, value_name = "NEW_FILE", conflicts_with_all = ["no_network", "deep"])]
    salvage: Option<PathBuf>,
    /// Continue without the changes that the data file has lost (otherwise Duet refuses to start, and says what is missing)
    #[arg(long, conflicts_with_all = ["no_network", "deep", "salvage"])]
    accept_loss: bool,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Warning,
    Problem,
}

/// One check and what it found.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            verdict: Verdict::Ok,
            found: found.into(),
            fix: None,
        }
    }
    fn warning(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            name,
            verdict: Verdict::Warning,
            found: found.into(),
            fix: Some(fix.into()),
        }
    }
    fn problem(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Problem,
            ..Self::warning(name, found, fix)
        }
    }
}

pub async fn run(global: &Global, output: Output, args: DoctorArgs) -> Outcome {
    if let Some(into) = &args.salvage {
        return mend::salvage(&settings::read(global, &[])?, output, into);
    }
    if args.accept_loss {
        return mend::accept_loss(&settings::read(global, &[])?, output);
    }
    let mut checks = Vec::new();
    match settings::read(global, &[]) {
        Err(failure) => checks.push(Check::problem(
            "configuration",
            failure.to_string(),
            "Fix it, then run `duet doctor` again for the other checks.",
        )),
        Ok(settings) => examine(&settings, &args, &mut checks).await,
    }
    let problems = checks.iter().filter(|check| check.verdict == Verdict::Problem).count();
    if output.json {
        output.value(&serde_json::json!({"healthy": problems == 0, "checks": checks}))?;
    } else {
        print(output, &checks)?;
    }
    match problems {
        0 => Ok(()),
        _ => Err(Failure::Silent(Exit::Failed)),
    }
}

fn print(output: Output, checks: &[Check]) -> Outcome {
    for check in checks {
        let mark = match check.verdict {
            Verdict::Ok => "ok      ",
            Verdict::Warning => "warning ",
            Verdict::Problem => "PROBLEM ",
        };
        output.line(&format!("{mark} {:<17} {}", check.name, check.found))?;
        if let Some(fix) = &check.fix {
            output.line(&format!("{:<27}{fix}", ""))?;
        }
    }
    Ok(())
}

async fn examine(settings: &Settings, args: &DoctorArgs, checks: &mut Vec<Check>) {
    checks.push(Check::ok("configuration", "read and understood"));
    checks.push(match duet_api::web::WebAssets::embedded() {
        Some(_) => Check::ok("web app", "in this build"),
        None => Check::warning(
            "web app",
            "not in this build: only the HTTP API is served",
            "Build the web app before the program (`cargo xtask run` does both).",
        ),
    });
    permissions(settings, checks);
    checks.push(space(&settings.data));
    let mut named = file(settings, args.deep, checks).await;
    let http = match inside::http() {
        Ok(http) => http,
        Err(failure) => return checks.push(Check::problem("network", failure.to_string(), "Fix the proxy settings.")),
    };
    match inside::models(settings, &http) {
        Ok(models) => {
            checks.push(default_model(&models, args.no_network).await);
            named.remove(&models.default_model());
            for other in &named {
                checks.push(model(&models, other, args.no_network).await);
            }
        }
        Err(failure) => checks.push(Check::problem(
            "model",
            failure.to_string(),
            "Fix `[models]` in the configuration.",
        )),
    }
    checks.push(match inside::embedder(settings, &http) {
        Ok(embedder) => embed(&embedder, args.no_network).await,
        Err(failure) => Check::problem("embedder", failure.to_string(), "Fix `[embedder]` in the configuration."),
    });
}

/// Whether only the owner can read the data file.
fn permissions(settings: &Settings, checks: &mut Vec<Check>) {
    if !settings.data.exists() {
        return checks.push(Check::ok("data file", format!("{} (not made yet)", settings.data.display())));
    }
    let opened = std::fs::File::open(&settings.data).and_then(|file| duet_sqlite::files::readable_by_others(&file));
    checks.push(match opened {
        Ok(false) => Check::ok("data file", settings.data.display().to_string()),
        Ok(true) => Check::warning(
            "data file",
            format!(
                "{} can be read by other users of this machine (it is encrypted all the same)",
                settings.data.display()
            ),
            format!("chmod 600 {}", settings.data.display()),
        ),
        Err(error) => Check::problem(
            "data file",
            format!("{} cannot be read: {error}", settings.data.display()),
            "Give yourself the right to read and write it, or name another file with --data.",
        ),
    });
}

#[cfg(unix)]
fn space(data: &Path) -> Check {
    let folder = data
        .ancestors()
        .skip(1)
        .find(|folder| folder.is_dir())
        .unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(folder) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let text = format!("{} MiB free for {}", free >> 20, folder.display());
            match free {
                0..=LITTLE_SPACE => Check::warning(
                    "disk space",
                    text,
                    "Free some space: when the disk is full, nothing new can be remembered.",
                ),
                _ => Check::ok("disk space", text),
            }
        }
        Err(error) => Check::warning("disk space", format!("cannot be told: {error}"), "Look at it with `df`."),
    }
}

#[cfg(not(unix))]
fn space(_: &Path) -> Check {
    Check::ok("disk space", "not checked on this platform")
}

/// Checks key, cipher, extensions and lock by opening the file, or by asking the server that has it. Returns the models that the
/// agents of an open file name.
async fn file(settings: &Settings, deep: bool, checks: &mut Vec<Check>) -> BTreeSet<ModelRef> {
    let none = BTreeSet::new();
    if let Some(running) = runtime::find(&settings.data) {
        checks.push(server(&running).await);
        checks.push(key(settings));
        parts(checks);
        return none;
    }
    if let Some(holder) = runtime::holder(&settings.data) {
        let who = holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
        checks.push(Check::warning(
            "lock",
            format!("the data file is in use by {who}, which is no server that can be asked"),
            "Wait until it is done, or stop it, and run `duet doctor` again.",
        ));
        return none;
    }
    if !settings.data.exists() {
        parts(checks);
        return none;
    }
    match inside::open(settings) {
        Ok(opened) => {
            checks.push(Check::ok("lock", "nobody else uses the data file"));
            checks.push(Check::ok("key", opened.key.notice.clone()));
            inspect(&opened.store, checks);
            if deep {
                checks.push(pages(&opened.store).await);
            }
            match opened.store.owner().await {
                Ok(Some(owner)) => {
                    checks.push(Check::ok("owner", "set up"));
                    match named_models(&opened.store.stores(), owner).await {
                        Ok(named) => return named,
                        Err(error) => checks.push(Check::problem("agents", error.to_string(), "Restore the newest backup.")),
                    }
                }
                Ok(None) => checks.push(Check::warning(
                    "owner",
                    "nobody owns this installation yet",
                    connect::NO_OWNER,
                )),
                Err(error) => checks.push(Check::problem("owner", error.to_string(), "Restore the newest backup.")),
            }
        }
        Err(failure) => checks.push(Check::problem(
            "data file",
            Failure::from(failure).to_string(),
            "Until this is fixed, no command that needs the data works.",
        )),
    }
    none
}

/// The models named by agents in the owner's workspaces.
async fn named_models(stores: &Stores, owner: UserId) -> StoreResult<BTreeSet<ModelRef>> {
    let mut named = BTreeSet::new();
    for membership in stores.workspaces.memberships(owner).await? {
        let caller = Caller::person(owner, membership.workspace.id, membership.role);
        let agents = stores.agents.agents(&caller).await?;
        named.extend(agents.into_iter().filter_map(|agent| agent.model));
    }
    Ok(named)
}

/// Where the key is, for a file that another process has open. The file exists, so no key is made.
fn key(settings: &Settings) -> Check {
    let env = duet_api::machine::system();
    let setting = settings.config.data.key.as_deref();
    match key_source::locate(setting, &settings.data, settings.config_folder.as_deref(), &env) {
        Ok(found) => Check::ok("key", found.notice),
        Err(error) => Check::problem(
            "key",
            error.to_string(),
            "Fix it before the server is started again: it holds the key only while it runs.",
        ),
    }
}

/// What the open file reports about itself.
fn inspect(store: &Arc<LocalStore>, checks: &mut Vec<Check>) {
    match store.inspect() {
        Ok(found) => {
            checks.push(Check::ok(
                "cipher",
                format!("SQLCipher {} on SQLite {}", found.cipher_version, found.sqlite_version),
            ));
            checks.push(Check::ok("vector extension", format!("sqlite-vec {}", found.vector_version)));
            checks.push(Check::ok("full text", "FTS5"));
            checks.push(Check::ok("schema", format!("version {}", found.schema_version)));
            checks.push(Check::ok("size", format!("{} KiB", found.bytes >> 10)));
        }
        Err(error) => checks.push(Check::problem("data file", error.to_string(), "Restore the newest backup.")),
    }
}

/// Checks every page against its code.
async fn pages(store: &LocalStore) -> Check {
    const FIX: &str = "Stop Duet and restore the newest backup, or copy what can be read with `duet doctor --salvage NEW_FILE`.";
    match store.check_pages().await {
        Ok(wrong) if wrong.is_empty() => Check::ok("pages", "every page is as it was written"),
        Ok(wrong) => Check::problem("pages", format!("{} faults, the first: {}", wrong.len(), wrong[0]), FIX),
        Err(error) => Check::problem("pages", error.to_string(), FIX),
    }
}

/// Without a data file: whether this build could make one.
fn parts(checks: &mut Vec<Check>) {
    checks.push(match LocalStore::check_parts() {
        Ok(found) => Check::ok(
            "cipher",
            format!(
                "SQLCipher {}, sqlite-vec {}, FTS5",
                found.cipher_version, found.vector_version
            ),
        ),
        Err(error) => Check::problem("cipher", error.to_string(), "Install an official build."),
    });
}

async fn server(running: &runtime::Runtime) -> Check {
    let name = "server";
    let http = match inside::http() {
        Ok(http) => http,
        Err(failure) => return Check::problem(name, failure.to_string(), "Fix the proxy settings."),
    };
    let client = Client::server(http, &running.url, None);
    let answer = async { client.send(Method::GET, "/ready", None, &[]).await?.bytes().await };
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(_)) => Check::ok(
            name,
            format!(
                "running at {} (process {}); it holds the data file and is ready",
                running.url, running.pid
            ),
        ),
        Ok(Err(failure)) => Check::problem(name, failure.to_string(), "Look at its log, or start it again."),
        Err(_) => Check::problem(
            name,
            format!("process {} at {} does not answer", running.pid, running.url),
            "Look at its log, or start it again.",
        ),
    }
}

async fn default_model(models: &Arc<dyn ModelDirectory>, no_network: bool) -> Check {
    let default = models.default_model();
    if default.provider() == "offline" {
        return Check::warning(
            "model",
            format!("{default}: replies come from simple rules and memory"),
            "For real conversation set `models.default`, for example to ollama/llama3.2.",
        );
    }
    model(models, &default, no_network).await
}

/// Whether a model answers.
async fn model(models: &Arc<dyn ModelDirectory>, asked: &ModelRef, no_network: bool) -> Check {
    let name = "model";
    if no_network {
        return Check::ok(name, format!("{asked} (not called)"));
    }
    let request = ChatRequest {
        system: "Answer with one word.".into(),
        messages: vec![ChatMessage::User("Hello".into())],
        tools: Vec::new(),
        max_output_tokens: 16,
    };
    let call = async {
        let mut stream = models.model(asked)?.stream(request).await?;
        while let Some(event) = stream.next().await {
            if let ModelEvent::Text(_) | ModelEvent::Stop(_) = event? {
                break;
            }
        }
        Ok::<_, duet_core::ports::ModelError>(())
    };
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(Ok(())) => Check::ok(name, format!("{asked} answers")),
        Ok(Err(error)) => {
            let fix = error
                .advice
                .as_deref()
                .unwrap_or("Check that the provider runs and that its `base_url` is right.");
            Check::problem(name, format!("{asked}: {}", error.message), fix)
        }
        Err(_) => Check::problem(
            name,
            format!("{asked} does not answer within {} seconds", PATIENCE.as_secs()),
            "Check that the provider runs and that its `base_url` is right.",
        ),
    }
}

async fn embed(embedder: &Arc<dyn Embedder>, no_network: bool) -> Check {
    let name = "embedder";
    let model = embedder.model();
    if no_network && !model.id.starts_with("builtin/") {
        return Check::ok(name, format!("{} (not called)", model.id));
    }
    let texts = ["Hello".to_owned()];
    let fix = "Until it works, recall goes by full text alone. Check `[embedder]` in the configuration.";
    match tokio::time::timeout(PATIENCE, embedder.embed(EmbedPurpose::Query, &texts)).await {
        Ok(Ok(vectors)) => match &vectors[..] {
            [Embedding { vector, .. }] => Check::ok(name, format!("{} gives {} dimensions", model.id, vector.len())),
            _ => Check::problem(
                name,
                format!("{} gives {} vectors for one text", model.id, vectors.len()),
                fix,
            ),
        },
        Ok(Err(error)) => Check::problem(name, format!("{}: {error}", model.id), fix),
        Err(_) => Check::problem(
            name,
            format!("{} does not answer within {} seconds", model.id, PATIENCE.as_secs()),
            fix,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_with_its_remedy() {
        let check = Check::problem("model", "x/y does not answer", "Start it.");
        let value = serde_json::to_value(&check).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"name": "model", "verdict": "problem", "found": "x/y does not answer", "fix": "Start it."})
        );
        assert!(serde_json::to_value(Check::ok("a", "b")).unwrap().get("fix").is_none());
    }
}
