//! One turn: a message, and the events of the run that answers it until `done`.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use serde_json::json;

use super::people::{self, Person};

/// The kind of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One model call.
    Chat,
    /// A model call, two tool calls, another model call.
    Tools,
}

impl Kind {
    /// The marker in its message that tells the scripted model.
    pub fn marker(self) -> &'static str {
        match self {
            Self::Chat => "tell me about it",
            Self::Tools => "look it up and keep it",
        }
    }
}

/// A turn, as seen by the person.
#[derive(Debug)]
pub struct Turn {
    /// Part of its message, so that the model's calls can be matched.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// When it should have begun.
    pub due: Instant,
    /// When the message was sent.
    pub sent: Instant,
    /// When it was accepted.
    pub accepted: Instant,
    /// When the first text arrived.
    pub first_delta: Option<Instant>,
    /// When the run's end arrived.
    pub done: Instant,
    /// Events of its run.
    pub events: u64,
}

/// The name of the turn in a message's text.
pub fn name_in(text: &str) -> Option<String> {
    let start = text.rfind("[turn ")?;
    let end = text[start..].find(']')?;
    Some(text[start + 6..start + end].to_owned())
}

impl Person {
    /// Sends a message and follows the reply to its end.
    #[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
    pub(super) async fn say(&self, person: usize, turn: usize, kind: Kind, due: Instant) -> Result<Turn> {
        let name = format!("{person}-{turn}");
        let text = format!("The hut above the lake: {}. [turn {name}]", kind.marker());
        let sent = Instant::now();
        let send = self
            .http
            .post(format!("{}/conversations/{}/messages", self.base, self.conversation));
        let receipt = people::ask(send.bearer_auth(&self.secret).json(&json!({"text": text}))).await?;
        let accepted = Instant::now();
        let run = people::text(&receipt, "/run_id")?;

        let listen = self
            .http
            .get(format!("{}/runs/{run}/events", self.base))
            .bearer_auth(&self.secret);
        let stream = listen
            .header("accept", "text/event-stream")
            .send()
            .await
            .context("The stream did not open.")?;
        if !stream.status().is_success() {
            bail!(
                "The stream of {run} in {} was refused: {}",
                self.workspace,
                stream.text().await.unwrap_or_default()
            );
        }
        let mut bytes = stream.bytes_stream();
        let mut seen = Seen::default();
        while let Some(chunk) = bytes.next().await {
            seen.read(&chunk.context("The stream broke off.")?)?;
            let now = Instant::now();
            if seen.delta && seen.first_delta.is_none() {
                seen.first_delta = Some(now);
            }
            if seen.done {
                return Ok(Turn {
                    name,
                    kind,
                    due,
                    sent,
                    accepted,
                    first_delta: seen.first_delta,
                    done: now,
                    events: seen.last_seq,
                });
            }
        }
        bail!("The stream of {run} ended without `done`.")
    }
}

/// The parsed part of an event stream.
#[derive(Default)]
struct Seen {
    rest: Vec<u8>,
    delta: bool,
    first_delta: Option<Instant>,
    done: bool,
    last_seq: u64,
    failing: bool,
}

impl Seen {
    /// Reads a chunk; lines may be split anywhere.
    fn read(&mut self, chunk: &[u8]) -> Result<()> {
        self.rest.extend_from_slice(chunk);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            if let Some(kind) = line.strip_prefix("event:") {
                match kind.trim() {
                    "delta" => self.delta = true,
                    "done" => self.done = true,
                    "error" => self.failing = true,
                    _ => {}
                }
            } else if let Some(seq) = line.strip_prefix("id:") {
                self.last_seq = seq.trim().parse().unwrap_or(self.last_seq);
            } else if self.failing && line.starts_with("data:") {
                bail!("A turn failed: {line}");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_across_chunks() {
        let mut seen = Seen::default();
        for chunk in [
            "id: 3\neve",
            "nt: delta\ndata: {}\n\n: keep",
            "-alive\n\nid: 4\nevent: done\ndata: {}\n\n",
        ] {
            seen.read(chunk.as_bytes()).expect("a stream");
        }
        assert!(seen.delta && seen.done);
        assert_eq!(seen.last_seq, 4);
    }

    #[test]
    fn a_failed_run_is_an_error() {
        let mut seen = Seen::default();
        let failed = seen.read(b"event: error\ndata: {\"message\":\"no\"}\n\n");
        assert!(failed.unwrap_err().to_string().contains("no"));
    }

    #[test]
    fn the_last_name_counts() {
        assert_eq!(name_in("earlier [turn 1-2] and [turn 3-4]").as_deref(), Some("3-4"));
        assert_eq!(name_in("none"), None);
    }
}
