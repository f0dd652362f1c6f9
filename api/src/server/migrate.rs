//! `duet-api migrate`.

use clap::Args;
use duet_supabase::install::{Owner, Ownership};
use serde_json::json;
use tokio::io::AsyncReadExt;

use super::{
    database::{database, installing},
    password,
};
use crate::{
    auth::setup,
    command::{
        exit::{Failure, Outcome},
        output::Output,
    },
    machine,
    secret::SecretPointer,
};

/// Longest password that is read.
const MAX_PASSWORD: u64 = 1024;

/// Options of `duet-api migrate`.
#[derive(Debug, Args)]
#[command(
    after_help = "Run again it changes nothing. The owner's URL is asked for here only; no running server has it. It has to lead to the \
    database directly, not through a transaction pooler.\n\n\
    The setup token goes to the standard output, once: whoever presents it first becomes the owner of this Duet."
)]
pub struct MigrateArgs {
    /// Where the database owner's URL is, env:NAME or file:/path
    #[arg(long, value_name = "POINTER", default_value = "env:DUET_DATABASE_OWNER_URL")]
    owner_url: String,
    /// Read a password for the server's login duet_worker from the standard input and set it
    #[arg(long)]
    worker_password_stdin: bool,
    /// Make a new setup token although one was printed before, which then stops working
    #[arg(long)]
    new_setup_token: bool,
}

pub async fn run(output: Output, args: MigrateArgs) -> Outcome {
    let env = machine::system();
    let Ok(pointer) = args.owner_url.parse::<SecretPointer>();
    let owner = database("--owner-url", &pointer)?;
    let verifier = match args.worker_password_stdin {
        true => Some(password::verifier(&read_password().await?, env.bytes()).map_err(Failure::usage)?),
        false => None,
    };
    let name = owner.name().to_owned();
    let mut owner = Owner::connect(owner).await.map_err(installing)?;
    let applied = owner.migrate().await.map_err(installing)?;
    output.say(&match applied {
        0 => format!("The database at {name} is of this version already."),
        1 => format!("One migration was applied to the database at {name}."),
        count => format!("{count} migrations were applied to the database at {name}."),
    });
    if let Some(verifier) = &verifier {
        owner.set_worker_password(verifier).await.map_err(installing)?;
        output.say("The password of duet_worker is set.");
    }
    let ownership = owner.ownership().await.map_err(installing)?;
    let token = match (ownership, args.new_setup_token) {
        (Ownership::Owned, _) => None,
        (Ownership::TokenMade, false) => {
            output
                .say("A setup token was printed before. `duet-api migrate --new-setup-token` makes another, should it be lost.");
            None
        }
        (Ownership::Open, _) | (Ownership::TokenMade, true) => {
            let (token, hash) = setup::new_token(&env);
            owner.put_setup_token(hash).await.map_err(installing)?;
            Some(token)
        }
    };
    if output.json {
        return output.value(&json!({"applied": applied, "setup_token": token, "owned": ownership == Ownership::Owned}));
    }
    match token {
        Some(token) => output.line(&format!("Setup token: {token}")),
        None => Ok(()),
    }
}

async fn read_password() -> Outcome<String> {
    let mut text = String::new();
    tokio::io::stdin()
        .take(MAX_PASSWORD)
        .read_to_string(&mut text)
        .await
        .map_err(|error| Failure::usage(format!("The password cannot be read from the standard input: {error}.")))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
