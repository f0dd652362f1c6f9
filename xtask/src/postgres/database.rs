//! Databases of a test server: created for one purpose, dropped afterwards.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, bail};

use crate::{fetch, place};

/// A database that is dropped with this value.
#[derive(Debug)]
pub struct Database {
    server: String,
    name: String,
}

impl Database {
    /// Creates an empty one on a server.
    pub fn create(server: &str, purpose: &str) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("duet_{purpose}_{}_{number}", std::process::id());
        sql(server, &format!("create database {name}"))?;
        Ok(Self {
            server: server.to_owned(),
            name,
        })
    }

    /// Its URL, as the server's superuser.
    pub fn url(&self) -> Result<String> {
        with_database(&self.server, &self.name)
    }

    /// Its URL, with another role assumed from the start: the superuser may do that, whatever that role's password is.
    pub fn url_as(&self, role: &str) -> Result<String> {
        let url = self.url()?;
        let separator = if url.contains('?') { '&' } else { '?' };
        Ok(format!("{url}{separator}options=-c%20role%3D{role}"))
    }

    /// Runs statements and returns the last one's result.
    pub fn sql(&self, statements: &str) -> Result<String> {
        sql(&self.url()?, statements)
    }

    /// Runs statements of any length.
    pub fn script(&self, statements: &str) -> Result<()> {
        let mut psql = psql(&self.url()?)?;
        psql.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut running = psql.spawn().context("Cannot start psql.")?;
        let mut input = running.stdin.take().context("psql has no input.")?;
        let written = input.write_all(statements.as_bytes());
        drop(input);
        let output = running.wait_with_output().context("Cannot wait for psql.")?;
        if !output.status.success() {
            bail!("A script failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        written.context("psql did not read the whole script.")
    }

    /// Runs a file of the checkout.
    pub fn file(&self, file: &str) -> Result<()> {
        let mut psql = psql(&self.url()?)?;
        psql.arg("--single-transaction").arg("--file").arg(place::root().join(file));
        output(psql, file).map(|_| ())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Err(error) = sql(&self.server, &format!("drop database {} with (force)", self.name)) {
            eprintln!("The database {} is left behind: {error:#}", self.name);
        }
    }
}

fn sql(url: &str, statements: &str) -> Result<String> {
    let mut psql = psql(url)?;
    psql.args(["--command", statements]);
    output(psql, statements)
}

/// Postgres's own client, which stops at the first error.
fn psql(url: &str) -> Result<Command> {
    let program = match fetch::postgres() {
        Ok((install, bin)) => install.join(bin).join("psql"),
        Err(error) => place::which("psql")
            .ok_or(error)
            .context("Install `psql`, Postgres's client.")?,
    };
    let mut psql = Command::new(program);
    psql.current_dir(place::root()).stdin(Stdio::null());
    psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]);
    psql.args(["--set", "ON_ERROR_STOP=1", "--dbname", url]);
    // Notices say that something already exists.
    psql.env("PGOPTIONS", "--client-min-messages=warning");
    Ok(psql)
}

/// A failing client's output is the error.
fn output(mut psql: Command, what: &str) -> Result<String> {
    let output = psql.output().context("Cannot start psql.")?;
    if !output.status.success() {
        bail!("`{what}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The URL of another database on the same server.
fn with_database(url: &str, name: &str) -> Result<String> {
    let (before, parameters) = url.split_once('?').map_or((url, None), |(before, rest)| (before, Some(rest)));
    let (scheme, rest) = before
        .split_once("://")
        .context("An address of Postgres begins with postgres://.")?;
    let authority = rest.split('/').next().unwrap_or(rest);
    let parameters = parameters.map(|parameters| format!("?{parameters}")).unwrap_or_default();
    Ok(format!("{scheme}://{authority}/{name}{parameters}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_database_of_the_same_server() {
        for (url, expected) in [
            ("postgres://a@127.0.0.1:1/postgres", "postgres://a@127.0.0.1:1/x"),
            ("postgresql://a:b@[::1]:1", "postgresql://a:b@[::1]:1/x"),
            ("postgres://h/db?sslmode=require", "postgres://h/x?sslmode=require"),
        ] {
            assert_eq!(with_database(url, "x").expect("an address"), expected);
        }
        assert!(with_database("host=localhost", "x").is_err());
    }
}
