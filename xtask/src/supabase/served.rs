//! The stand-in for Supabase's Auth and Data API over every database of a test server.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{place, supabase};

/// The variable that tells tests its address.
pub const SERVED: &str = "DUET_TEST_SUPABASE_SERVED";

/// A running stand-in; it ends with this value, or with this process, which closes its standard input.
pub struct Served {
    node: Child,
    line: String,
}

impl Served {
    /// Starts it for a server, given by its superuser's URL.
    pub fn start(postgres: &str) -> Result<Self> {
        supabase::install()?;
        let mut node = Command::new("node");
        node.current_dir(place::root()).arg("supabase/testbed/serve.mjs");
        node.args(["--each", "--postgres", postgres]);
        node.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut node = node.spawn().context("Cannot start Node.")?;
        let said = node.stdout.take().context("The stand-in for Supabase has no output.")?;
        let mut line = String::new();
        BufReader::new(said)
            .read_line(&mut line)
            .context("Cannot read what the stand-in for Supabase says.")?;
        let line = line.trim_end().to_owned();
        let served = Self { node, line };
        if served.line.is_empty() {
            bail!("The stand-in for Supabase could not be started; the lines above say why.");
        }
        Ok(served)
    }

    /// Its address and keys, in the form that tests expect.
    pub fn line(&self) -> &str {
        &self.line
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.node.stdin.take());
        if let Err(error) = self.node.wait() {
            eprintln!("Cannot wait for the end of the stand-in for Supabase: {error}");
        }
    }
}
