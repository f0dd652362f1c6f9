//! Seeded scripts: what the model says and calls in a turn.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::fuse::Fuse;
use crate::{
    domain::{EffectClass, ToolCall, ToolOutput},
    policy::ToolCategory,
    tools::{Tool, ToolContext, ToolError, Verdict},
};

/// One model call of a turn.
pub(super) struct ScriptStep {
    /// Attempts that fail first, each after some of the text.
    pub failures: usize,
    /// The text, in the pieces in which it arrives.
    pub pieces: Vec<String>,
    /// The calls that follow.
    pub calls: Vec<ToolCall>,
}

impl ScriptStep {
    pub fn text(&self) -> String {
        self.pieces.concat()
    }
}

/// A turn.
pub(super) struct Script {
    pub steps: Vec<ScriptStep>,
}

const WORDS: [&str; 12] = [
    "amber", "brook", "café", "delta", "ember", "fjord", "größe", "harbour", "iris", "日本", "kestrel", "lichen",
];

impl Script {
    /// One to four steps; the last has text and no calls. At most one rings the bell.
    pub fn seeded(seed: u64) -> Self {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let count = chance.random_range(1..=4);
        let mut bell = chance.random_bool(0.5);
        let steps = (1..=count)
            .map(|step| {
                let last = step == count;
                let pieces = if last || chance.random_bool(0.5) {
                    pieces(&mut chance)
                } else {
                    Vec::new()
                };
                let calls = if last {
                    Vec::new()
                } else {
                    calls(&mut chance, step, &mut bell)
                };
                ScriptStep {
                    failures: chance.random_range(0..4_usize).saturating_sub(2),
                    pieces,
                    calls,
                }
            })
            .collect();
        Self { steps }
    }

    /// How often an undisturbed turn calls this tool.
    pub fn uses(&self, tool: &str) -> usize {
        let calls = self.steps.iter().flat_map(|step| &step.calls);
        calls.filter(|call| call.name == tool).count()
    }

    /// The whole reply: the steps' texts, a blank line between them.
    pub fn reply(&self) -> String {
        self.steps
            .iter()
            .map(ScriptStep::text)
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join("\n\n")
    }
}

fn pieces(chance: &mut ChaCha8Rng) -> Vec<String> {
    let count = chance.random_range(2..=8);
    (0..count)
        .map(|index| {
            format!(
                "{}{}",
                if index == 0 { "" } else { " " },
                WORDS[chance.random_range(0..WORDS.len())]
            )
        })
        .collect()
}

fn calls(chance: &mut ChaCha8Rng, step: usize, bell: &mut bool) -> Vec<ToolCall> {
    let count = chance.random_range(1..=4);
    (0..count)
        .map(|index| {
            let word = WORDS[chance.random_range(0..WORDS.len())];
            let (name, arguments) = match chance.random_range(0..8) {
                0..=2 => ("recall", json!({ "query": format!("{word} {step}.{index}") })),
                3 => ("no_such_tool", json!({})),
                4 if std::mem::take(bell) => (RingBell::NAME, json!({})),
                5 => (PostLetter::NAME, json!({ "text": format!("Letter {step}.{index}") })),
                6 => (Pay::NAME, json!({ "text": format!("Bill {step}.{index}") })),
                _ => (
                    "remember",
                    json!({ "text": format!("Fact {step}.{index} is about {word}."), "kind": "fact" }),
                ),
            };
            ToolCall {
                id: format!("c{index}"),
                name: name.into(),
                arguments,
            }
        })
        .collect()
}

/// The world outside: what has happened there, each time that it happened.
#[derive(Default)]
pub(super) struct Outside {
    rings: AtomicUsize,
    letters: Mutex<Vec<String>>,
    payments: Mutex<BTreeSet<String>>,
}

impl Outside {
    /// How often the bell has rung.
    pub fn rings(&self) -> usize {
        self.rings.load(Ordering::SeqCst)
    }

    /// The letters that were posted, by their calls.
    pub fn letters(&self) -> Vec<String> {
        locked(&self.letters).clone()
    }

    /// How many bills have been paid. Whoever is paid knows a payment by its key.
    pub fn payments(&self) -> usize {
        locked(&self.payments).len()
    }

    /// Whether something happened more often than it was asked for.
    pub fn is_overdone(&self, script: &Script) -> bool {
        let letters = self.letters();
        let twice = letters
            .iter()
            .enumerate()
            .any(|(index, letter)| letters[..index].contains(letter));
        twice || self.rings() > script.uses(RingBell::NAME) || self.payments() > script.uses(Pay::NAME)
    }

    /// Whether all that was asked for has happened.
    pub fn is_done(&self, script: &Script) -> bool {
        let done = [self.rings(), self.letters().len(), self.payments()];
        done == [RingBell::NAME, PostLetter::NAME, Pay::NAME].map(|tool| script.uses(tool))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the tools of the simulation have in common.
#[derive(Clone)]
pub(super) struct Outdoors {
    pub outside: Arc<Outside>,
    pub fuse: Arc<Fuse>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Paper {
    #[expect(dead_code, reason = "only its schema counts")]
    text: String,
}

fn told(text: &str) -> ToolOutput {
    ToolOutput {
        text: text.into(),
        ..ToolOutput::default()
    }
}

/// Cannot be taken back, and nobody can tell afterwards whether it happened.
pub(super) struct RingBell(pub Outdoors);

#[async_trait]
impl Tool for RingBell {
    type Input = Nothing;
    const NAME: &'static str = "ring_bell";
    const DESCRIPTION: &'static str = "Rings the bell, once.";
    const CATEGORY: ToolCategory = ToolCategory::External;
    const CLASS: EffectClass = EffectClass::Irreversible;

    async fn call(&self, _: &ToolContext<'_>, _: Nothing) -> Result<ToolOutput, ToolError> {
        self.0.fuse.point().await;
        self.0.outside.rings.fetch_add(1, Ordering::SeqCst);
        self.0.fuse.point().await;
        Ok(told("It rang."))
    }
}

/// Must not happen twice, and the letter box shows whether it happened.
pub(super) struct PostLetter(pub Outdoors);

#[async_trait]
impl Tool for PostLetter {
    type Input = Paper;
    const NAME: &'static str = "post_letter";
    const DESCRIPTION: &'static str = "Posts a letter.";
    const CATEGORY: ToolCategory = ToolCategory::External;
    const CLASS: EffectClass = EffectClass::Reversible;

    async fn call(&self, context: &ToolContext<'_>, _: Paper) -> Result<ToolOutput, ToolError> {
        self.0.fuse.point().await;
        locked(&self.0.outside.letters).push(context.key.clone());
        self.0.fuse.point().await;
        Ok(told("It is posted."))
    }

    async fn verify(&self, context: &ToolContext<'_>, _: Paper) -> Verdict {
        self.0.fuse.point().await;
        match locked(&self.0.outside.letters).contains(&context.key) {
            true => Verdict::Happened(told("It is posted.")),
            false => Verdict::DidNot,
        }
    }
}

/// May be repeated with the same key.
pub(super) struct Pay(pub Outdoors);

#[async_trait]
impl Tool for Pay {
    type Input = Paper;
    const NAME: &'static str = "pay";
    const DESCRIPTION: &'static str = "Pays a bill.";
    const CATEGORY: ToolCategory = ToolCategory::External;
    const CLASS: EffectClass = EffectClass::Idempotent;

    async fn call(&self, context: &ToolContext<'_>, _: Paper) -> Result<ToolOutput, ToolError> {
        self.0.fuse.point().await;
        locked(&self.0.outside.payments).insert(context.key.clone());
        self.0.fuse.point().await;
        Ok(told("It is paid."))
    }
}
