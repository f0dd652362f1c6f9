//! `duet init`.

use std::io::IsTerminal;

use clap::Args;
use duet_api::auth::{password, setup};
use duet_core::{
    domain::{check_name, email_address},
    refusal::Named,
    run::Advice,
};
use serde_json::{Value, json};

use super::{
    Global,
    client::Client,
    connect::{self, Purpose, Reached},
    exit::{Failure, Outcome},
    input,
    inside::{self, Inside, stored},
    output::Output,
    settings,
};

/// Longest password that is read.
const MAX_PASSWORD: usize = 4096;

/// Options of `duet init`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    printf %s \"$PASSWORD\" | duet init --email ada@example.org --password-stdin --workspace Home --name Ada\n\n\
    Makes the data file and its key where there are none, then the owner's account, the first workspace and its companion. \
    The same can be done in the browser with the link that `duet serve` prints.")]
pub struct InitArgs {
    /// Email address to sign in with
    #[arg(long)]
    email: String,
    /// Read the password from the standard input (first line, at least 10 characters)
    #[arg(long, required = true)]
    password_stdin: bool,
    /// The name you go by (default: the address's first part)
    #[arg(long)]
    name: Option<String>,
    /// The companion's name
    #[arg(long, default_value = "Duet")]
    companion: String,
}

pub async fn run(global: &Global, output: Output, args: InitArgs) -> Outcome {
    // First what can be refused without reading or making anything; no file and no key is left behind.
    stored(email_address(&args.email).map_err(Into::into))?;
    let password = piped_password()?;
    let settings = settings::read(global, &[])?;
    let name = args
        .name
        .as_deref()
        .or_else(|| args.email.split('@').next())
        .unwrap_or_default();
    let workspace = global.workspace.as_deref().unwrap_or("Home");
    password::check(&password).map_err(Failure::usage)?;
    for (name, what) in [
        (name, Named::Person),
        (workspace, Named::Workspace),
        (args.companion.as_str(), Named::Companion),
    ] {
        stored(check_name(name, what).map_err(Into::into))?;
    }
    let mut body = json!({
        "email": args.email,
        "password": password,
        "display_name": name,
        "workspace_name": workspace,
        "companion_name": args.companion,
    });
    let answer: Value = match connect::server_or_file(&settings, output, Purpose::Write).await? {
        Reached::Server(runtime) => {
            let token = runtime.setup_token.ok_or_else(|| Failure::failed(DONE))?;
            body["token"] = json!(token);
            let http = inside::http()?;
            Client::server(http, &runtime.url, None).post("/v1/setup", &body).await?
        }
        Reached::File(opened) => {
            let inside = Inside::start(&settings, opened, Advice::Told).await?;
            output.say(&format!("  data   {} (encrypted)", settings.data.display()));
            output.say(&format!("  key    {}", inside.key().notice));
            let answer = set_up(&inside, &mut body).await;
            inside.close().await;
            answer?
        }
    };
    let workspace = &answer["workspaces"][0]["workspace"];
    if output.json {
        return output.value(&json!({"user": answer["user"], "workspace": workspace}));
    }
    output.say(&format!(
        "{} owns the workspace {}. Say hello with `duet ask`, or start `duet serve`.",
        args.email, workspace["name"]
    ));
    Ok(())
}

const DONE: &str = "Duet is already set up. Sign in in the browser, or talk with `duet ask`.";

async fn set_up(inside: &Inside, body: &mut Value) -> Outcome<Value> {
    if inside.has_owner() {
        return Err(Failure::failed(DONE));
    }
    let (token, hash) = setup::new_token(&inside.env);
    stored(inside.state.stores().accounts.put_setup_token(hash).await)?;
    body["token"] = json!(token);
    inside.client().post("/v1/setup", body).await
}

fn piped_password() -> Outcome<String> {
    if std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "The password is read from the standard input so that it is not shown. Pipe it in: printf %s \"$PASSWORD\" | duet init …",
        ));
    }
    let text = input::piped("the password", MAX_PASSWORD)?;
    let first = text.lines().next().unwrap_or_default();
    match first.is_empty() {
        true => Err(Failure::usage(
            "The password on the standard input is empty. Pipe in one of at least 10 characters.",
        )),
        false => Ok(first.to_owned()),
    }
}
