//! The tool registry: every entry is `{name, description, input_schema, handler}`; to add a tool, add an entry. Handlers are typed;
//! the erasure is private. The policy decides whether a call may happen, not the handler.

mod ask_user;
mod recall;
mod remember;
mod search_conversations;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde::de::DeserializeOwned;

use crate::{
    caller::Caller,
    clock::Env,
    domain::{EffectClass, Labels, Locality, Question, ToolOutput},
    error::StoreError,
    ids::{ConversationId, MemoryId, MessageId, RunId},
    memory::Memories,
    policy::ToolCategory,
    ports::{Stores, ToolSpec},
};

pub use ask_user::AskUserTool;
pub use recall::RecallTool;
pub use remember::{RememberInput, RememberKind, RememberTool};
pub use search_conversations::SearchConversationsTool;

/// What a handler knows about the call.
pub struct ToolContext<'a> {
    /// The acting agent, on behalf of a person.
    pub caller: &'a Caller,
    /// Time and randomness.
    pub env: &'a Env,
    /// The stores.
    pub stores: &'a Stores,
    /// Memory with its embedder.
    pub memories: &'a Memories,
    /// The run.
    pub run: RunId,
    /// The call's idempotency key within the run: the same when it is repeated after a crash.
    pub key: String,
    /// The conversation.
    pub conversation: ConversationId,
    /// The person's message that is being answered.
    pub message: MessageId,
    /// Where the calling model computes.
    pub locality: Locality,
    /// Memories that are already in the model's prompt.
    pub recalled: &'a [MemoryId],
    /// The joined labels of all that the model has read in this turn, which also apply to its arguments.
    pub labels: Labels,
}

/// Why a tool gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The model is told, and may try again.
    #[error("{0}")]
    Tell(String),
    /// The store cannot answer now: the run waits and tries again.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for ToolError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Stale(_) => Self::Store(error),
            StoreError::NotFound(_) | StoreError::Denied(..) | StoreError::Conflict(_) | StoreError::Invalid(_) => {
                Self::Tell(error.to_string())
            }
        }
    }
}

/// What a tool finds out about a call of its own whose outcome was lost.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It acted; this is its result.
    Happened(ToolOutput),
    /// It did not act, and will not any more.
    DidNot,
    /// The tool cannot know: a person has to look.
    CannotTell,
}

/// A tool with typed arguments.
#[async_trait]
pub trait Tool: Send + Sync + 'static {
    /// Its arguments; the JSON Schema that the model sees is derived from them.
    type Input: DeserializeOwned + JsonSchema + Send;
    /// Its name, as the model calls it.
    const NAME: &'static str;
    /// What it is for, as told to the model.
    const DESCRIPTION: &'static str;
    /// Its category, for the policy.
    const CATEGORY: ToolCategory;
    /// What a call means, and so what happens to one whose outcome was lost.
    const CLASS: EffectClass;

    /// Runs the tool.
    async fn call(&self, context: &ToolContext<'_>, input: Self::Input) -> Result<ToolOutput, ToolError>;

    /// Finds out whether a call with this context acted. Asked where it must not simply be repeated.
    async fn verify(&self, context: &ToolContext<'_>, input: Self::Input) -> Verdict {
        let _ = (context, input);
        Verdict::CannotTell
    }

    /// What is wrong with arguments that fit the schema, as the model and whoever changes them are told.
    fn check(input: &Self::Input) -> Result<(), String> {
        let _ = input;
        Ok(())
    }

    /// What the call asks the person; the answer is then its result, and it is never made. `None` for all tools that do something
    /// themselves.
    fn question(input: &Self::Input) -> Option<Question> {
        let _ = input;
        None
    }
}

/// A tool in the registry.
pub struct Entry {
    /// What the model sees.
    pub spec: ToolSpec,
    /// Its category, for the policy.
    pub category: ToolCategory,
    /// What a call means.
    pub class: EffectClass,
    handler: Box<dyn Handler>,
}

impl Entry {
    /// Checks the arguments and runs the tool. Invalid arguments are reported to the model with the reason.
    pub async fn call(&self, context: &ToolContext<'_>, arguments: serde_json::Value) -> Result<ToolOutput, ToolError> {
        self.handler.call(context, arguments).await
    }

    /// Finds out whether a call whose outcome was lost has acted.
    pub async fn verify(&self, context: &ToolContext<'_>, arguments: serde_json::Value) -> Verdict {
        self.handler.verify(context, arguments).await
    }

    /// What is wrong with these arguments, as the model and whoever changes them are told.
    pub fn check(&self, arguments: &serde_json::Value) -> Result<(), String> {
        self.handler.check(arguments)
    }

    /// What the call asks the person, if that is what it does.
    pub fn question(&self, arguments: &serde_json::Value) -> Option<Question> {
        self.handler.question(arguments)
    }
}

#[async_trait]
trait Handler: Send + Sync {
    async fn call(&self, context: &ToolContext<'_>, arguments: serde_json::Value) -> Result<ToolOutput, ToolError>;
    async fn verify(&self, context: &ToolContext<'_>, arguments: serde_json::Value) -> Verdict;
    fn check(&self, arguments: &serde_json::Value) -> Result<(), String>;
    fn question(&self, arguments: &serde_json::Value) -> Option<Question>;
}

struct Typed<T>(T);

#[async_trait]
impl<T: Tool> Handler for Typed<T> {
    async fn call(&self, context: &ToolContext<'_>, arguments: serde_json::Value) -> Result<ToolOutput, ToolError> {
        let input = read::<T>(arguments).map_err(ToolError::Tell)?;
        self.0.call(context, input).await
    }

    async fn verify(&self, context: &ToolContext<'_>, arguments: serde_json::Value) -> Verdict {
        match serde_json::from_value(arguments) {
            Ok(input) => self.0.verify(context, input).await,
            // An earlier version of the tool may have understood them.
            Err(_) => Verdict::CannotTell,
        }
    }

    fn check(&self, arguments: &serde_json::Value) -> Result<(), String> {
        read::<T>(arguments.clone()).map(|_| ())
    }

    fn question(&self, arguments: &serde_json::Value) -> Option<Question> {
        // Arguments that do not fit fail when the tool is called.
        T::question(&serde_json::from_value(arguments.clone()).ok()?)
    }
}

fn read<T: Tool>(arguments: serde_json::Value) -> Result<T::Input, String> {
    let input =
        serde_json::from_value(arguments).map_err(|error| format!("The arguments do not fit the tool's schema: {error}."))?;
    T::check(&input)?;
    Ok(input)
}

/// All tools by name.
#[derive(Clone, Default)]
pub struct ToolRegistry {
    entries: BTreeMap<&'static str, Arc<Entry>>,
}

impl ToolRegistry {
    /// The companion's tools: `ask_user`, `recall`, `remember`, `search_conversations`.
    pub fn companion() -> Self {
        Self::default()
            .with(AskUserTool)
            .with(RecallTool)
            .with(RememberTool)
            .with(SearchConversationsTool)
    }

    /// Adds a tool; one of the same name is replaced.
    #[must_use]
    pub fn with<T: Tool>(mut self, tool: T) -> Self {
        let entry = Entry {
            spec: ToolSpec {
                name: T::NAME.into(),
                description: T::DESCRIPTION.into(),
                input_schema: schema::<T::Input>(),
            },
            category: T::CATEGORY,
            class: T::CLASS,
            handler: Box::new(Typed(tool)),
        };
        self.entries.insert(T::NAME, Arc::new(entry));
        self
    }

    /// The tool with this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Entry>> {
        self.entries.get(name)
    }

    /// All tools, by name.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.values()
    }
}

/// The JSON Schema of a tool's arguments, self-contained: some providers do not follow references.
fn schema<I: JsonSchema>() -> serde_json::Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = SchemaGenerator::new(settings).into_root_schema_for::<I>();
    schema.remove("title");
    schema.to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_are_closed_objects_without_references() {
        for entry in ToolRegistry::companion().entries() {
            let schema = &entry.spec.input_schema;
            assert_eq!(schema["type"], "object", "{}", entry.spec.name);
            assert_eq!(schema["additionalProperties"], false, "{}", entry.spec.name);
            assert!(!schema.to_string().contains("$ref"), "{}: {schema}", entry.spec.name);
        }
    }
}
