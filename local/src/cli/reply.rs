//! A run's event stream as text: follows it to its end, resuming where a broken stream left off.

use std::time::Duration;

use axum::http::Method;
use eventsource_stream::Eventsource;
use futures::StreamExt;
use serde_json::{Value, json};

use super::{
    client::Client,
    exit::{Failure, Outcome},
};

/// How often a broken stream is resumed before the command gives up.
const RECONNECTS: u32 = 6;

/// A reply as received so far.
#[derive(Debug, Default)]
pub struct Reply {
    /// Its text so far.
    pub text: String,
    /// What the model was given: `{model, offline, recalled, …}`.
    pub context: Value,
    /// The tools called, by name, with their status.
    pub tools: Vec<Value>,
    /// Memories written, by id.
    pub remembered: Vec<String>,
    /// The end, or where it waits: what `RUN_FINISHED` says of it.
    pub result: Option<Value>,
    /// The requests that it waits for, by id.
    pub requests: Vec<String>,
    /// The message of `RUN_ERROR`, with its code.
    pub error: Option<(String, String)>,
}

/// What an event means to someone watching.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// More text.
    Text(String),
    /// The text so far is void; the reply starts over from this.
    Again {
        /// Why.
        message: String,
        /// The text that remains.
        text: String,
    },
    /// A tool is called.
    Tool(String),
    /// The end.
    End,
    /// Nothing to show.
    Nothing,
}

impl Reply {
    /// Applies one event's data.
    pub fn take(&mut self, data: &Value) -> Step {
        let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
        match data["type"].as_str().unwrap_or_default() {
            "TEXT_MESSAGE_CONTENT" => {
                let delta = text("delta");
                self.text.push_str(&delta);
                Step::Text(delta)
            }
            "CUSTOM" if data["name"] == "context" => {
                self.context = data["value"].clone();
                Step::Nothing
            }
            "CUSTOM" if data["name"] == "pause_requested" => {
                self.text = data["value"]["text"].as_str().unwrap_or_default().to_owned();
                Step::Nothing
            }
            "CUSTOM" if data["name"] == "retry" => {
                let value = &data["value"];
                self.text = value["text"].as_str().unwrap_or_default().to_owned();
                Step::Again {
                    message: value["message"].as_str().unwrap_or_default().to_owned(),
                    text: self.text.clone(),
                }
            }
            "TOOL_CALL_START" => {
                self.tools
                    .push(json!({"id": data["toolCallId"], "name": data["toolCallName"], "status": "started"}));
                Step::Tool(text("toolCallName"))
            }
            "TOOL_CALL_RESULT" => {
                if let Some(tool) = self.tools.iter_mut().find(|tool| tool["id"] == data["toolCallId"]) {
                    tool["status"] = data["metadata"]["duet"]["status"].clone();
                }
                let ids = data["metadata"]["duet"]["remembered"].as_array().into_iter().flatten();
                self.remembered.extend(ids.filter_map(Value::as_str).map(str::to_owned));
                Step::Nothing
            }
            "RUN_FINISHED" => {
                self.result = Some(data["metadata"]["duet"].clone());
                let interrupts = data["outcome"]["interrupts"].as_array().into_iter().flatten();
                self.requests = interrupts.filter_map(|one| one["id"].as_str()).map(str::to_owned).collect();
                Step::End
            }
            "RUN_ERROR" => {
                self.error = Some((text("code"), text("message")));
                Step::End
            }
            _ => Step::Nothing,
        }
    }

    /// Whether the stream has ended.
    pub fn ended(&self) -> bool {
        self.result.is_some() || self.error.is_some()
    }
}

/// Follows a run's events after this `seq` until it ends or waits. `watch` sees each event's data and what it means.
pub async fn follow(
    client: &Client,
    run: &str,
    mut after: u64,
    mut watch: impl FnMut(&Value, &Step) -> Outcome,
) -> Outcome<Reply> {
    let mut reply = Reply::default();
    let mut failures = 0;
    loop {
        let lost = match events(client, run, after).await {
            Ok(mut stream) => loop {
                match stream.next().await {
                    Some(Ok(event)) => {
                        failures = 0;
                        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
                        let step = reply.take(&data);
                        watch(&data, &step)?;
                        // If an event becomes several objects, the last one carries the id.
                        if let Ok(seq) = event.id.parse::<u64>() {
                            after = after.max(seq);
                        }
                        if reply.ended() {
                            return Ok(reply);
                        }
                    }
                    Some(Err(error)) => break error,
                    None => break "the stream ended early".to_owned(),
                }
            },
            Err(failure @ Failure::Say(super::exit::Exit::Unavailable, _)) => failure.to_string(),
            Err(failure) => return Err(failure),
        };
        failures += 1;
        if failures > RECONNECTS {
            return Err(Failure::unavailable(format!(
                "The reply cannot be followed ({lost}). What was written is kept; see it with `duet conversation show last`."
            )));
        }
        tokio::time::sleep(Duration::from_millis(100 << failures)).await;
    }
}

type Events = futures::stream::BoxStream<'static, Result<eventsource_stream::Event, String>>;

async fn events(client: &Client, run: &str, after: u64) -> Outcome<Events> {
    let path = format!("{run}/events?brief=true&after={after}");
    let answer = client
        .send(Method::GET, &path, None, &[("accept", "text/event-stream")])
        .await?;
    let stream = answer.stream().await?;
    Ok(stream
        .eventsource()
        .map(|event| event.map_err(|error| error.to_string()))
        .boxed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, extract::Query, routing::get};
    use std::collections::HashMap;

    #[test]
    fn a_failed_attempt_voids_its_text() {
        let mut reply = Reply::default();
        reply.take(&json!({"type": "TEXT_MESSAGE_CONTENT", "delta": "Half"}));
        let step = reply.take(&json!({"type": "CUSTOM", "name": "retry", "value": {"message": "It broke off.", "text": ""}}));
        assert_eq!(
            step,
            Step::Again {
                message: "It broke off.".into(),
                text: String::new()
            }
        );
        reply.take(&json!({"type": "TEXT_MESSAGE_CONTENT", "delta": "Whole"}));
        assert_eq!(reply.text, "Whole");
        assert!(!reply.ended());
        reply.take(&json!({"type": "RUN_FINISHED", "metadata": {"duet": {"outcome": "completed"}}}));
        assert!(reply.ended());
    }

    /// A server that drops its stream after each event, so that each one takes its own request.
    #[tokio::test]
    async fn a_broken_stream_is_taken_up_where_it_ended() {
        let log = [
            r#"{"type":"RUN_STARTED"}"#,
            r#"{"type":"TEXT_MESSAGE_CONTENT","delta":"one "}"#,
            r#"{"type":"TEXT_MESSAGE_CONTENT","delta":"two"}"#,
            r#"{"type":"RUN_FINISHED","metadata":{"duet":{"outcome":"completed"}}}"#,
        ];
        let route = get(move |Query(query): Query<HashMap<String, String>>| async move {
            let after: usize = query["after"].parse().unwrap();
            format!("id: {}\ndata: {}\n\ndata: {{\"type\":\"TEXT_", after + 1, log[after])
        });
        let client = Client::inside(Router::new().route("/run/events", route), None);
        let mut seen = Vec::new();
        let reply = follow(&client, "/run", 0, |_, step| {
            if let Step::Text(text) = step {
                seen.push(text.clone());
            }
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(reply.text, "one two");
        assert_eq!(seen, ["one ", "two"]);
    }
}
