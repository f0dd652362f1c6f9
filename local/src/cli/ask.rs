//! `duet ask`: one turn with the companion.

use std::io::IsTerminal;

use clap::Args;
use duet_core::domain::{Conversation, ListPage, Memory, Message, MessageRole, MessageStatus, NewTurn, Request, TurnReceipt};
use serde_json::{Value, json};

use super::{
    Global,
    connect::{self, Connection, Purpose},
    conversation,
    exit::{Exit, Failure, Outcome},
    inbox, input,
    output::{Output, brief, printable},
    reply::{self, Reply, Step},
};

/// How many recalled memories are listed after a reply.
const SOURCES: usize = 5;

/// Options of `duet ask`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    duet ask \"My sister's name is Marta.\"\n  \
    duet ask -c last \"What is my sister's name?\"\n  \
    git diff | duet ask -\n  \
    duet ask --continue                       go on with an interrupted reply\n  \
    duet ask --instead 0198fe12-3 \"My sister's name is Mara.\"\n  \
    duet ask --json \"Hello\" | jq -r .text\n\n\
    The reply streams to the standard output; which model wrote it and which memories it drew on are told on the standard \
    error. --json writes one object when the reply is whole, --events one JSON object a line as things happen. \
    Ctrl-C stops the reply and keeps what was written (exit code 130). When the reply waits for a decision of yours, it says so and \
    ends with exit code 6; `duet inbox` decides, and shows how the reply goes on.")]
pub struct AskArgs {
    /// What to say; `-` or nothing reads the standard input
    #[arg(value_name = "TEXT")]
    text: Vec<String>,
    /// Conversation to speak in: an id or its beginning, `last`, or `new`
    #[arg(long, short, value_name = "ID", default_value = "new")]
    conversation: String,
    /// Continue a reply that was interrupted or stopped (in the last conversation unless one is named)
    #[arg(long = "continue", conflicts_with_all = ["text", "again"])]
    go_on: bool,
    /// Answer the last message again, or the one named with --message (in the last conversation unless one is named)
    #[arg(long, conflicts_with = "text")]
    again: bool,
    /// Which message to answer again: its id or the beginning of it
    #[arg(long, value_name = "ID", requires = "again")]
    message: Option<String>,
    /// Say it after this message, by its id or the beginning of it: a branch begins there (in the last conversation unless one is named)
    #[arg(long, value_name = "ID", conflicts_with_all = ["again", "go_on"])]
    after: Option<String>,
    /// Say it instead of this message of yours, by its id or the beginning of it; the old version is kept (in the last conversation
    /// unless one is named)
    #[arg(long, value_name = "ID", conflicts_with_all = ["again", "go_on", "after"])]
    instead: Option<String>,
    /// Write each event as a line of JSON, as it happens
    #[arg(long, conflicts_with = "json")]
    events: bool,
}

pub async fn run(global: &Global, output: Output, args: AskArgs) -> Outcome {
    let text = match args.go_on || args.again {
        true => None,
        false => Some(input::something(&args.text, "the message", NewTurn::MAX_TEXT)?),
    };
    let mut connection = connect::connect(global, output, Purpose::Write).await?;
    connection.drive();
    let outcome = turn(&connection, output, &args, text).await;
    connection.close().await;
    outcome
}

async fn turn(connection: &Connection, output: Output, args: &AskArgs, text: Option<String>) -> Outcome {
    let (conversation, receipt) = match text {
        Some(text) => start(connection, output, args, &text).await?,
        None => retry(connection, args).await?,
    };
    let (reply, stopped) = watch(connection, Shown::new(output, args.events), &receipt.run_id.to_string(), 0).await?;
    let asked = inbox::asked(connection, &reply).await;
    tell(connection, output, args, (&conversation, &receipt), &reply, &asked).await?;
    inbox::tell(connection, output, &asked).await;
    verdict(connection, &conversation, &reply, stopped).await
}

/// Shows a reply as it arrives after this `seq`, until the run ends or waits; returns whether it was stopped by Ctrl-C, too.
pub async fn watch(connection: &Connection, mut shown: Shown, run: &str, after: u64) -> Outcome<(Reply, bool)> {
    let run = connection.path(&format!("/runs/{run}"));
    let mut followed = Box::pin(reply::follow(&connection.client, &run, after, |data, step| {
        shown.watch(data, step)
    }));
    let mut stopped = false;
    let reply = loop {
        tokio::select! {
            reply = &mut followed => break reply?,
            _ = tokio::signal::ctrl_c() => {
                if stopped {
                    return Err(Failure::Silent(Exit::Interrupted));
                }
                stopped = true;
                connection.client.post::<Value>(&format!("{run}/cancel"), &json!({})).await?;
            }
        }
    };
    drop(followed);
    shown.end()?;
    Ok((reply, stopped))
}

/// Sends the text to the requested conversation.
async fn start(connection: &Connection, output: Output, args: &AskArgs, text: &str) -> Outcome<(String, TurnReceipt)> {
    let client = &connection.client;
    let placed = args.after.is_some() || args.instead.is_some();
    let (conversation, made) = match args.conversation.as_str() {
        "new" if !placed => {
            let made: Conversation = client.post(&connection.path("/conversations"), &json!({})).await?;
            (made.id.to_string(), true)
        }
        _ => {
            let id = existing(connection, args).await?;
            connection.settle(&id).await?;
            if !placed && interrupted(connection, &id).await? {
                output.say("The last reply here was interrupted; `duet ask --continue` goes on with it.");
            }
            (id, false)
        }
    };
    let path = connection.path(&format!("/conversations/{conversation}"));
    let mut message = json!({"text": text});
    for (place, given) in [("after", &args.after), ("instead", &args.instead)] {
        if let Some(given) = given {
            message[place] = json!(conversation::message(connection, &conversation, given).await?);
        }
    }
    match client.post(&format!("{path}/messages"), &message).await {
        Ok(receipt) => Ok((conversation, receipt)),
        Err(failure) => {
            // A conversation made for a refused message would stay empty. A connection failure says nothing about the message.
            if made && matches!(failure, Failure::Say(Exit::Usage | Exit::Refused, _)) {
                client.remove(&path).await?;
            }
            Err(failure)
        }
    }
}

/// Answers the last message of a conversation again, or continues its reply.
async fn retry(connection: &Connection, args: &AskArgs) -> Outcome<(String, TurnReceipt)> {
    let conversation = existing(connection, args).await?;
    connection.settle(&conversation).await?;
    let asked = match &args.message {
        Some(given) => conversation::message(connection, &conversation, given).await?,
        None => {
            let messages = newest(connection, &conversation).await?;
            let asked = messages.iter().find(|message| message.role == MessageRole::User);
            let none = "There is no message in this conversation yet. Say something with `duet ask TEXT`.";
            asked.ok_or_else(|| Failure::not_found(none))?.id.to_string()
        }
    };
    let path = connection.path(&format!("/conversations/{conversation}/messages/{asked}/retry"));
    let mode = if args.go_on { "continue" } else { "restart" };
    let receipt = connection.client.post(&path, &json!({"mode": mode})).await?;
    Ok((conversation, receipt))
}

/// The conversation that is named, or the last one.
async fn existing(connection: &Connection, args: &AskArgs) -> Outcome<String> {
    let name = match args.conversation.as_str() {
        "new" => "last",
        name => name,
    };
    connection.conversation(name).await
}

async fn newest(connection: &Connection, conversation: &str) -> Outcome<Vec<Message>> {
    let path = connection.path(&format!("/conversations/{conversation}/messages?limit=4"));
    Ok(connection.client.get::<ListPage<Message>>(&path).await?.items)
}

async fn interrupted(connection: &Connection, conversation: &str) -> Outcome<bool> {
    let messages = newest(connection, conversation).await?;
    Ok(messages
        .first()
        .is_some_and(|message| message.status == MessageStatus::Interrupted))
}

/// Whether the newest reply is partial and can be continued.
async fn can_continue(connection: &Connection, conversation: &str) -> Outcome<bool> {
    let messages = newest(connection, conversation).await?;
    Ok(messages.first().is_some_and(|message| {
        matches!(
            message.status,
            MessageStatus::Stopped | MessageStatus::Interrupted | MessageStatus::Limited
        )
    }))
}

/// Shows a reply as it arrives.
pub struct Shown {
    output: Output,
    events: bool,
    /// What is on the screen.
    text: String,
    terminal: bool,
}

impl Shown {
    /// With nothing shown yet; `events` as lines of JSON instead of the text.
    pub fn new(output: Output, events: bool) -> Self {
        Self {
            output,
            events,
            text: String::new(),
            terminal: std::io::stdout().is_terminal(),
        }
    }

    fn watch(&mut self, data: &Value, step: &Step) -> Outcome {
        if self.events {
            return self.output.line(&data.to_string());
        }
        if self.output.json {
            return Ok(());
        }
        match step {
            Step::Text(text) => self.print(text),
            Step::Again { message, text } if *text != self.text => {
                self.end()?;
                self.output.say(&format!("({message} It starts again.)"));
                self.text.clear();
                self.print(text)
            }
            Step::Tool(name) if self.terminal => {
                self.output.aside(&format!("({name})"));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn print(&mut self, text: &str) -> Outcome {
        self.text.push_str(text);
        match self.terminal {
            true => self.output.raw(&printable(text)),
            false => self.output.raw(text),
        }
    }

    /// Ends the line that the reply left open.
    fn end(&mut self) -> Outcome {
        if self.text.is_empty() || self.text.ends_with('\n') {
            return Ok(());
        }
        self.output.raw("\n")
    }
}

/// Prints the notes or the JSON that follow a reply.
async fn tell(
    connection: &Connection,
    output: Output,
    args: &AskArgs,
    (conversation, receipt): (&str, &TurnReceipt),
    reply: &Reply,
    asked: &[Request],
) -> Outcome {
    if output.json {
        let result = reply.result.clone().unwrap_or_default();
        return output.value(&json!({
            "conversation_id": conversation,
            "message_id": receipt.message_id,
            "run_id": receipt.run_id,
            "reply_id": receipt.reply_id,
            "outcome": if reply.error.is_some() { json!("failed") } else { result["outcome"].clone() },
            "error": reply.error.as_ref().map(|(code, message)| json!({"code": code, "message": message})),
            "text": reply.text,
            "model": reply.context["model"],
            "offline": reply.context["offline"],
            "recalled": reply.context["recalled"],
            "remembered": reply.remembered,
            "tools": reply.tools,
            "requests": asked,
            "usage": result["usage"],
            "cost_micros": result["cost_micros"],
        }));
    }
    if args.events || output.quiet {
        return Ok(());
    }
    for id in reply.context["recalled"]
        .as_array()
        .into_iter()
        .flatten()
        .take(SOURCES)
        .filter_map(Value::as_str)
    {
        // A memory redacted in the meantime is not an error.
        if let Ok(memory) = connection
            .client
            .get::<Memory>(&connection.path(&format!("/memories/{id}")))
            .await
        {
            output.aside(&format!("  recalled {id}: {}", brief(&memory.text, 100)));
        }
    }
    for id in &reply.remembered {
        output.aside(&format!("  remembered {id}"));
    }
    output.aside(&format!("  {} · conversation {conversation}", written_by(reply)));
    Ok(())
}

fn written_by(reply: &Reply) -> String {
    let model = reply.context["model"].as_str().unwrap_or("no model");
    let mut words = model.to_owned();
    if reply.context["offline"] == true {
        words.push_str(" (offline: no model is configured)");
    }
    if let Some(micros) = reply.result.as_ref().and_then(|result| result["cost_micros"].as_u64())
        && micros > 0
    {
        #[expect(clippy::cast_precision_loss, reason = "costs are far below 2^53")]
        let dollars = micros as f64 / 1e6;
        words.push_str(&format!(" · ${dollars:.4}"));
    }
    words
}

/// What became of a reply.
pub async fn verdict(connection: &Connection, conversation: &str, reply: &Reply, stopped: bool) -> Outcome {
    if let Some((code, message)) = &reply.error {
        // If this cannot be checked, promise nothing.
        let kept = can_continue(connection, conversation).await.unwrap_or(false);
        let exit = match code.as_str() {
            "unknown_model" | "unauthorized" | "rejected" => Exit::Failed,
            _ => Exit::Unavailable,
        };
        let advice = match kept {
            true => {
                "What was written is kept: `duet ask --continue` goes on with it, `duet ask --again` has your message answered anew."
            }
            false => "Your message is kept; `duet ask --again` has it answered once more.",
        };
        return Err(Failure::new(exit, format!("{message} {advice}")));
    }
    let result = reply.result.clone().unwrap_or_default();
    let message = result["message"].as_str().unwrap_or_default();
    match result["outcome"].as_str().unwrap_or_default() {
        "cancelled" if stopped => Err(Failure::Silent(Exit::Interrupted)),
        "cancelled" => Err(Failure::failed(
            "The reply was stopped; what was written is kept. `duet ask --continue` goes on with it.",
        )),
        "interrupted" => Err(Failure::failed(
            "The reply was interrupted; what was written is kept. `duet ask --continue` goes on with it.",
        )),
        "waiting" => Err(Failure::Silent(Exit::Waiting)),
        "paused" => Err(Failure::new(
            Exit::Waiting,
            "The reply is paused; what was written is kept. Resume it in the browser.",
        )),
        "limited" => Err(Failure::failed(format!(
            "The reply ended at a limit: {message} `duet ask --continue` goes on with it."
        ))),
        _ => Ok(()),
    }
}
