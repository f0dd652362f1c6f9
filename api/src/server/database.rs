//! The database of the settings.

use duet_core::crypto::MasterKey;
use duet_supabase::{
    check::Refusal,
    connect::{ConnectError, Database},
    install::InstallError,
};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use crate::{
    command::exit::{Failure, Outcome},
    config::DatabaseConfig,
    secret::{EnvAndFiles, SecretError, SecretPointer, SecretResolver},
};

/// The ordinary connection to the database, and the direct one.
pub struct Databases {
    /// For every call; may go through a pooler.
    pub ordinary: Database,
    /// For live hints.
    pub direct: Database,
}

/// Reads both URLs. Does not connect yet.
pub fn of_settings(config: &DatabaseConfig) -> Outcome<Databases> {
    let unset = || SecretPointer::Env("DUET_DATABASE_URL".into());
    let url = config.url.clone().unwrap_or_else(unset);
    let ordinary = database("database.url", &url)?;
    let direct = match &config.direct_url {
        Some(pointer) => database("database.direct_url", pointer)?,
        None => ordinary.clone(),
    };
    Ok(Databases { ordinary, direct })
}

/// The database whose URL the pointer names; `setting` is the one to fix.
pub fn database(setting: &str, pointer: &SecretPointer) -> Outcome<Database> {
    let url = EnvAndFiles.resolve(pointer).map_err(|error| match error {
        SecretError::Literal => Failure::usage(format!("`{setting}` holds no pointer: {error}.")),
        error => Failure::usage(format!("The database's URL (`{setting}`) is not there: {error}.")),
    })?;
    Database::from_url(&pointer.to_string(), &url).map_err(connecting)
}

/// The key that sensitive memories are sealed with, if there is one.
pub fn master_key(config: &DatabaseConfig) -> Outcome<Option<MasterKey>> {
    let Some(pointer) = &config.master_key else {
        return Ok(None);
    };
    let text = EnvAndFiles
        .resolve(pointer)
        .map_err(|error| Failure::usage(format!("The key of `database.master_key` is not there: {error}.")))?;
    let mut key = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.expose_secret(), &mut key[..]).map_err(|_| {
        Failure::usage(format!(
            "{pointer} (`database.master_key`) does not hold 64 hexadecimal digits: `openssl rand -hex 32` makes such a key."
        ))
    })?;
    Ok(Some(MasterKey::new(*key)))
}

/// How a command ends that cannot connect.
pub fn connecting(error: ConnectError) -> Failure {
    match error {
        ConnectError::NoUrl(_) => Failure::usage(error.to_string()),
        ConnectError::Refused(_) => Failure::refused(error.to_string()),
        ConnectError::Unreachable { .. } => Failure::unavailable(error.to_string()),
    }
}

/// How a server ends that must not start.
pub fn refusing(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Connect(error) => connecting(error),
        Refusal::Unfit(_) => Failure::failed(refusal.to_string()),
        Refusal::Unavailable(_) => Failure::unavailable(refusal.to_string()),
    }
}

/// How the owner's command ends.
pub fn installing(error: InstallError) -> Failure {
    match error {
        InstallError::Connect(error) => connecting(error),
        InstallError::Pooled => Failure::usage(error.to_string()),
        error => Failure::failed(error.to_string()),
    }
}
