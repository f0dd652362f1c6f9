//! `duet bench memory`: a data set against the ordinary store, in a separate encrypted file that is deleted afterwards.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result, anyhow};
use duet_core::{
    Caller, Env,
    domain::{OwnerSetup, Role},
    ids::UserId,
    memory::{
        Memories,
        quality::{self, Progress, Report},
    },
    ports::{Embedder, Stores},
};

use duet_sqlite::{LocalStore, OpenOptions, key::FileKey};

/// Measures a data set (JSON lines) with this embedder, in a file at `path`, which must not exist.
pub async fn measure(
    jsonl: &str,
    path: &std::path::Path,
    env: &Env,
    embedder: Arc<dyn Embedder>,
    vector_cache_bytes: usize,
    progress: Progress<'_>,
) -> Result<Report> {
    let (turns, questions) = quality::parse(jsonl).map_err(|problem| anyhow!(problem))?;
    let store = LocalStore::open(OpenOptions {
        path: path.to_owned(),
        key: FileKey::new(env.bytes()),
        env: env.clone(),
        vector_cache_bytes,
    })
    .context("A file for the measurement cannot be made")?;
    let stores = store.stores();
    let caller = owner(&stores, env).await?;
    let memories = Memories::new(env.clone(), stores.memories, stores.system, Some(embedder));
    let start = started();
    let elapsed = move || start.elapsed();
    Ok(quality::run(&memories, &caller, env, (&turns, &questions), &elapsed, progress).await?)
}

#[expect(clippy::disallowed_methods, reason = "latencies are real time")]
fn started() -> Instant {
    Instant::now()
}

/// An owner with a workspace in a new file.
pub async fn owner(stores: &Stores, env: &Env) -> Result<Caller> {
    let token_hash = env.bytes();
    stores.accounts.put_setup_token(token_hash).await?;
    let setup = OwnerSetup {
        token_hash,
        email: format!("{}@example.org", env.id::<UserId>()),
        display_name: "Owner".into(),
        // In the form that every store takes, but matching no password.
        password_hash: "$argon2id$none".into(),
        workspace_name: "Measurement".into(),
        companion_name: "Duet".into(),
    };
    let (user, workspace) = stores.accounts.create_owner(setup).await?;
    Ok(Caller::person(user.id, workspace.id, Role::Owner))
}
