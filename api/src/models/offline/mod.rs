//! `offline/rules`: answers by rules when no language model is configured. It stores what a person tells it, finds it again and
//! quotes it with its source; it says plainly that it cannot do anything else. Every reply begins with [`LABEL`].
//!
//! It is deterministic: the same request gives the same reply, so a reply that was cut off can be continued exactly.

mod answers;
mod phrases;
mod sentences;
mod words;
mod writing;

use std::{collections::VecDeque, time::Duration};

use async_trait::async_trait;
use duet_core::{
    domain::{Locality, Price, StopReason, ToolCall, Usage},
    ports::{ChatMessage, ChatModel, ChatRequest, ContextItem, ModelError, ModelEvent, ModelStream},
};
use futures::StreamExt;
use serde_json::json;

use self::sentences::{Kind, Sentence};
use super::prompt;

pub use duet_core::domain::OFFLINE_LABEL as LABEL;

/// Most memories made from one message.
const MAX_FACTS: usize = 12;

/// The rule-based model.
pub(super) struct Offline {
    pause: Duration,
}

impl Offline {
    /// Waits `pause` between two words.
    pub fn new(pause: Duration) -> Self {
        Self { pause }
    }
}

#[async_trait]
impl ChatModel for Offline {
    async fn stream(&self, request: ChatRequest) -> Result<ModelStream, ModelError> {
        let pause = self.pause;
        let events: VecDeque<ModelEvent> = events(&request).into();
        let stream = futures::stream::unfold(events, move |mut events| async move {
            let event = events.pop_front()?;
            if matches!(event, ModelEvent::Text(_)) && !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            Some((Ok(event), events))
        });
        Ok(stream.boxed())
    }

    fn locality(&self) -> Locality {
        Locality::Local
    }

    fn price(&self) -> Option<Price> {
        Some(Price::default())
    }
}

/// The whole reply to a request, word by word.
fn events(request: &ChatRequest) -> Vec<ModelEvent> {
    let (text, calls) = reply(request);
    let mut events: Vec<ModelEvent> = words_with_spaces(&text)
        .map(|word| ModelEvent::Text(word.to_owned()))
        .collect();
    let stop = if calls.is_empty() {
        StopReason::End
    } else {
        StopReason::ToolUse
    };
    events.extend(calls.into_iter().map(ModelEvent::ToolCall));
    // No language model reads or writes anything, so nothing is counted.
    events.push(ModelEvent::Usage(Usage::default()));
    events.push(ModelEvent::Stop(stop));
    events
}

/// Words, each with the white space before it, so that joining them gives the text back.
fn words_with_spaces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let word = rest.find(|c: char| !c.is_whitespace())?;
        let end = rest[word..]
            .find(char::is_whitespace)
            .map_or(rest.len(), |length| word + length);
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

/// The content of the current turn.
struct Turn<'a> {
    said: &'a str,
    recalled: &'a [ContextItem],
    /// Results since the person spoke: tool, text, whether it failed.
    results: Vec<(&'a str, &'a str, bool)>,
    /// What calls to `remember` asked to keep.
    asked_to_keep: Vec<&'a str>,
    partial: Option<&'a str>,
}

impl<'a> Turn<'a> {
    fn of(request: &'a ChatRequest) -> Self {
        let messages = &request.messages;
        let start = messages.iter().rposition(|message| matches!(message, ChatMessage::User(_)));
        let since = start.map_or(messages.as_slice(), |at| &messages[at..]);
        let said = match since.first() {
            Some(ChatMessage::User(text)) => text.as_str(),
            _ => "",
        };
        let recalled = messages.iter().rev().find_map(|message| match message {
            ChatMessage::Context(items) => Some(items.as_slice()),
            _ => None,
        });
        let mut turn = Self {
            said,
            recalled: recalled.unwrap_or_default(),
            results: Vec::new(),
            asked_to_keep: Vec::new(),
            partial: prompt::partial(request),
        };
        for message in since {
            match message {
                ChatMessage::ToolResult { name, text, failed, .. } => turn.results.push((name, text, *failed)),
                ChatMessage::Assistant { tool_calls, .. } => turn.asked_to_keep.extend(
                    tool_calls
                        .iter()
                        .filter(|call| call.name == "remember")
                        .filter_map(|call| call.arguments.get("text")?.as_str()),
                ),
                _ => {}
            }
        }
        turn
    }

    fn result_of(&self, tool: &str) -> Option<&str> {
        self.results
            .iter()
            .rfind(|(name, _, failed)| *name == tool && !failed)
            .map(|(_, text, _)| *text)
    }
}

/// The text and the calls that come next.
fn reply(request: &ChatRequest) -> (String, Vec<ToolCall>) {
    let turn = Turn::of(request);
    let sentences = sentences::read(turn.said);
    if let Some(partial) = turn.partial {
        return (rest_of(partial, &full_text(&turn, &sentences, request, true)), Vec::new());
    }
    let offered = |name: &str| request.tools.iter().any(|tool| tool.name == name);
    let mut calls = Vec::new();
    let mut call = |name: &str, arguments| {
        let id = format!("offline_{}", prompt::calls_so_far(request) + calls.len());
        calls.push(ToolCall {
            id,
            name: name.into(),
            arguments,
        });
    };
    if turn.results.is_empty() {
        if offered("remember") {
            for fact in facts(&sentences) {
                let mut arguments = json!({"text": fact.text, "kind": fact.kind_word()});
                if let Some(outdated) = answers::outdated_by(&fact.text, turn.recalled) {
                    arguments["supersedes"] = json!(outdated.memory);
                }
                call("remember", arguments);
            }
        }
        if offered("recall") {
            let unanswered = sentences
                .iter()
                .filter(|sentence| sentence.kind == Kind::Question)
                .find(|question| !answers::is_overview(&question.text) && answers::best(&question.text, turn.recalled).is_none());
            if let Some(query) = unanswered.and_then(|question| answers::search_words(&question.text)) {
                call("recall", json!({"query": query}));
            }
        }
    }
    if calls.is_empty() {
        (full_text(&turn, &sentences, request, false), calls)
    } else {
        (String::new(), calls)
    }
}

fn facts(sentences: &[Sentence]) -> impl Iterator<Item = &Sentence> {
    sentences
        .iter()
        .filter(|sentence| matches!(sentence.kind, Kind::Statement(_)))
        .take(MAX_FACTS)
}

/// What a reply that began with `partial` still lacks.
fn rest_of(partial: &str, whole: &str) -> String {
    match whole.strip_prefix(partial) {
        Some(rest) => rest.to_owned(),
        // The beginning was written with other memories at hand, or by another model.
        None => format!(
            " … (offline fallback: the rest of this reply cannot be made up again as it was; here is the answer as of now.)\n\n{}",
            whole.strip_prefix(LABEL).unwrap_or(whole).trim_start()
        ),
    }
}

/// The reply's whole text. With `kept`, facts count as stored although no result shows it (a continued reply).
fn full_text(turn: &Turn<'_>, sentences: &[Sentence], request: &ChatRequest, kept: bool) -> String {
    let mut parts = vec![LABEL.to_owned()];
    let told: Vec<&Sentence> = facts(sentences).collect();
    if !told.is_empty() {
        parts.push(confirmation(turn, &told, request, kept));
    }
    let found = turn.result_of("recall").map(answers::items_of_result).unwrap_or_default();
    for sentence in sentences {
        match &sentence.kind {
            Kind::Statement(_) => {}
            Kind::Question => parts.push(answers::answer(&sentence.text, turn.recalled, &found)),
            Kind::Count(to) => parts.push(writing::count(*to)),
            Kind::Story { long } => parts.push(writing::story(*long)),
            Kind::Greeting => parts.push(format!("Hello! {WHAT_IT_CAN}")),
            Kind::Help => parts.push(format!("{WHAT_IT_CAN} {HOW_TO_CONFIGURE}")),
            Kind::Thanks => parts.push("You are welcome.".into()),
            Kind::Farewell => parts.push("Goodbye. What you told me stays in memory.".into()),
            Kind::Forget => parts.push(FORGET.into()),
            Kind::SmallTalk => parts.push("I am only rules, so I take note of that and leave it there.".into()),
            Kind::Other => {}
        }
    }
    if parts.len() == 1 {
        parts.push(format!("That is beyond me. {WHAT_IT_CAN} {HOW_TO_CONFIGURE}"));
    }
    parts.dedup();
    parts.join("\n\n")
}

const WHAT_IT_CAN: &str = "I follow simple rules, without a language model: tell me facts or preferences, such as “My dog is called Rex.”, \
    and I remember them; ask me about them later, and I quote what you told me.";
const HOW_TO_CONFIGURE: &str = "For real conversation, whoever runs Duet connects a language model: Ollama on the same machine, \
    or Anthropic, OpenAI and their like with a key. The guide to Duet's models says how.";
const FORGET: &str = "I do not delete anything by myself. Whoever runs Duet can remove a memory for good, with `duet memory redact`, \
    and gets a receipt.";

fn confirmation(turn: &Turn<'_>, told: &[&Sentence], request: &ChatRequest, kept: bool) -> String {
    let quoted = |text: &str| format!("“{text}”");
    let outcomes: Vec<(&str, bool)> = turn
        .results
        .iter()
        .filter(|(name, ..)| *name == "remember")
        .map(|(_, text, failed)| (*text, *failed))
        .collect();
    if outcomes.is_empty() && !kept {
        let offered = request.tools.iter().any(|tool| tool.name == "remember");
        return if offered || !turn.results.is_empty() {
            "I could not keep that: memory gave no answer. Please tell me again.".into()
        } else {
            "I cannot keep that: this agent is not offered the `remember` tool.".into()
        };
    }
    let texts: Vec<&str> = if turn.asked_to_keep.is_empty() {
        told.iter().map(|fact| fact.text.as_str()).collect()
    } else {
        turn.asked_to_keep.clone()
    };
    let mut lines = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        lines.push(match outcomes.get(at) {
            Some((_, true)) => format!("{} could not be stored.", quoted(text)),
            Some((outcome, false)) if outcome.contains("already") => format!("{} I knew already.", quoted(text)),
            Some((outcome, false)) if outcome.contains("proposal") => {
                format!(
                    "{} waits for your review, because parts of this turn came from outside.",
                    quoted(text)
                )
            }
            _ => quoted(text),
        });
    }
    if let [line] = lines.as_slice() {
        return if line.ends_with('”') {
            format!("I will remember: {line}")
        } else {
            line.clone()
        };
    }
    format!("I will remember:\n- {}", lines.join("\n- "))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
