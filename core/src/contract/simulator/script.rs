//! Seeded scripts: what the model says and calls in a turn.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
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
    tools::{Tool, ToolContext, ToolError},
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

    /// How often the bell rings in an undisturbed turn.
    pub fn rings(&self) -> usize {
        self.steps
            .iter()
            .flat_map(|step| &step.calls)
            .filter(|call| call.name == "ring_bell")
            .count()
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
    let count = chance.random_range(1..=2);
    (0..count)
        .map(|index| {
            let word = WORDS[chance.random_range(0..WORDS.len())];
            let (name, arguments) = match chance.random_range(0..4) {
                0 => ("recall", json!({ "query": word })),
                1 => ("no_such_tool", json!({})),
                2 if std::mem::take(bell) => ("ring_bell", json!({})),
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

/// Counts how often a side effect happened.
#[derive(Default)]
pub(super) struct Bell(AtomicUsize);

impl Bell {
    pub fn rings(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A tool that acts on the outside world and cannot be taken back.
pub(super) struct RingBell {
    pub bell: Arc<Bell>,
    pub fuse: Arc<Fuse>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RingBellInput {}

#[async_trait]
impl Tool for RingBell {
    type Input = RingBellInput;
    const NAME: &'static str = "ring_bell";
    const DESCRIPTION: &'static str = "Rings the bell, once.";
    const CATEGORY: ToolCategory = ToolCategory::External;
    const CLASS: EffectClass = EffectClass::Effect;

    async fn call(&self, _: &ToolContext<'_>, _: RingBellInput) -> Result<ToolOutput, ToolError> {
        self.fuse.point().await;
        self.bell.0.fetch_add(1, Ordering::SeqCst);
        self.fuse.point().await;
        Ok(ToolOutput {
            text: "It rang.".into(),
            ..ToolOutput::default()
        })
    }
}
