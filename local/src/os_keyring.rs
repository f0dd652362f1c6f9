//! The operating system's keyring: where there is one, and how it is asked.

use std::{env, path::Path};

use keyring::v1::{Entry, Error};
use zeroize::Zeroizing;

/// The name under which the keyring keeps what is Duet's.
const SERVICE: &str = "duet";

/// Whether there can be a keyring: on Linux it is a D-Bus service, and asking for a missing one takes time.
fn may_be_there() -> bool {
    let bus = || env::var_os("XDG_RUNTIME_DIR").is_some_and(|folder| Path::new(&folder).join("bus").exists());
    !cfg!(target_os = "linux") || env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some() || bus()
}

/// Runs on its own thread: the keyring library blocks in ways that an async runtime does not allow.
fn ask<T: Send + 'static>(account: &str, job: impl FnOnce(&Entry) -> Result<T, Error> + Send + 'static) -> Result<T, String> {
    if !may_be_there() {
        return Err("there is none in this session".into());
    }
    let account = account.to_owned();
    match std::thread::spawn(move || job(&Entry::new(SERVICE, &account)?)).join() {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it failed".into()),
    }
}

/// What is kept under this name. Fails with what the system said.
pub fn get(account: &str) -> Result<Option<Zeroizing<String>>, String> {
    ask(account, |entry| match entry.get_password() {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(Error::NoEntry) => Ok(None),
        Err(error) => Err(error),
    })
}

/// Keeps a text under this name.
pub fn put(account: &str, text: Zeroizing<String>) -> Result<(), String> {
    ask(account, move |entry| entry.set_password(&text))
}

/// Forgets what is kept under this name.
pub fn remove(account: &str) -> Result<(), String> {
    ask(account, |entry| match entry.delete_credential() {
        Err(Error::NoEntry) => Ok(()),
        done => done,
    })
}
