//! Calls of the database's functions, over either transport.

mod arg;
mod postgrest;
mod wire;

use async_trait::async_trait;
use duet_core::{
    Caller, StoreError, StoreResult,
    domain::{Capability, Locality, MemoryScopes},
    ids::{AgentId, Id, RunId, UserId, WorkspaceId},
    refusal::Refusal,
};
use secrecy::SecretString;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

pub use self::{
    arg::Arg,
    postgrest::{InvalidSettings, PostgrestRpc, PostgrestSettings},
    wire::{WireRpc, WireSettings},
};

/// Who calls a function. Determines the database role, and with it the grants and policies that apply.
#[derive(Clone, Debug)]
pub enum Identity {
    /// A person: role `authenticated`, functions in `public`.
    Person {
        /// Who.
        user: UserId,
        /// Their own token, which PostgREST needs.
        access_token: Option<SecretString>,
    },
    /// An agent acting for a person: role `duet_agent`, functions in `public`.
    Agent(Box<AgentIdentity>),
    /// The server itself: role `duet_worker`, functions in `driver`.
    Driver,
}

/// What the database is told about a working agent. It narrows this by the agent's row.
#[derive(Clone, Debug)]
pub struct AgentIdentity {
    /// The person.
    pub user: UserId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The agent.
    pub agent: AgentId,
    /// The run that it works in.
    pub run: RunId,
    /// The most that it may do.
    pub capabilities: Vec<Capability>,
    /// The most that it may see.
    pub memory_scopes: MemoryScopes,
    /// Where its model runs.
    pub locality: Locality,
}

impl From<&Caller> for Identity {
    fn from(caller: &Caller) -> Self {
        match &caller.agent {
            None => Self::Person {
                user: caller.user,
                access_token: caller.access_token.clone(),
            },
            Some(acting) => Self::Agent(Box::new(AgentIdentity {
                user: caller.user,
                workspace: caller.workspace,
                agent: acting.agent,
                run: acting.run,
                capabilities: acting.capabilities.iter().copied().collect(),
                memory_scopes: acting.memory_scopes.clone(),
                locality: acting.locality,
            })),
        }
    }
}

/// One call: a function, its named arguments, and the wording of its refusals.
#[derive(Clone, Debug)]
pub struct Call {
    /// The function's name, without its schema.
    pub function: &'static str,
    /// Its named arguments.
    pub arguments: Vec<(&'static str, Arg)>,
    /// What is missing when the answer is "not found".
    pub what: &'static str,
    /// What is refused when the answer is "denied", as a verb phrase.
    pub action: &'static str,
    /// Whether repeating the call changes nothing: then it is retried when the connection breaks.
    pub repeatable: bool,
}

impl Call {
    /// A call without arguments, which is not repeated.
    pub fn new(function: &'static str) -> Self {
        Self {
            function,
            arguments: Vec::new(),
            what: "what was asked for",
            action: "do this",
            repeatable: false,
        }
    }

    /// A call that only reads, or changes nothing when repeated.
    pub fn repeatable(function: &'static str) -> Self {
        Self {
            repeatable: true,
            ..Self::new(function)
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, name: &'static str, value: impl Into<Arg>) -> Self {
        self.arguments.push((name, value.into()));
        self
    }

    /// Adds an id as argument.
    #[must_use]
    pub fn id(self, name: &'static str, id: impl Id) -> Self {
        self.arg(name, id.uuid())
    }

    /// What is missing when the answer is "not found": "the workspace".
    #[must_use]
    pub fn of(self, what: &'static str) -> Self {
        Self { what, ..self }
    }

    /// What is refused when the answer is "denied": "rename the workspace".
    #[must_use]
    pub fn to(self, action: &'static str) -> Self {
        Self { action, ..self }
    }
}

/// A transport.
#[async_trait]
pub trait Rpc: Send + Sync {
    /// Calls a function in its own transaction and returns the function's answer.
    async fn call(&self, identity: &Identity, call: &Call) -> StoreResult<Value>;
}

/// Calls a function and unpacks its answer: `ok` as `T`, `refused` as the error that it names.
pub async fn ask<T: DeserializeOwned>(rpc: &dyn Rpc, identity: &Identity, call: Call) -> StoreResult<T> {
    let mut answer = rpc.call(identity, &call).await?;
    if let Some(refused) = answer.get("refused") {
        return Err(refusal(refused, &call));
    }
    let Some(ok) = answer.get_mut("ok").map(Value::take) else {
        tracing::error!(
            function = call.function,
            "a database function answered neither `ok` nor `refused`"
        );
        return Err(mismatch());
    };
    serde_json::from_value(ok).map_err(|error| {
        // serde names the position of the mismatch; the message does not contain the data.
        tracing::error!(function = call.function, line = error.line(), column = error.column(), category = ?error.classify(), "a database function's answer has another shape");
        mismatch()
    })
}

fn refusal(refused: &Value, call: &Call) -> StoreError {
    if refused["code"] == "not_found" {
        return StoreError::NotFound(call.what);
    }
    match Refusal::deserialize(refused) {
        Ok(refusal) => refusal.of(call.action),
        Err(_) => {
            tracing::error!(function = call.function, code = %refused["code"], "a database function refuses in a way that this version cannot read");
            mismatch()
        }
    }
}

/// The error for an answer that this version of Duet does not know.
pub(crate) fn mismatch() -> StoreError {
    StoreError::unavailable(
        "The database answers in a way that this Duet does not know. Run `duet-api migrate` of the same version, then `duet-api check`.",
    )
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, path::Path};

    use duet_core::Refusal;

    #[test]
    fn every_code_of_the_database_has_its_sentence() {
        let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
        let mut read = 0;
        for file in fs::read_dir(migrations).expect("the migrations") {
            let text = fs::read_to_string(file.expect("a file").path()).expect("its text");
            for (_, after) in text
                .match_indices("private.refused('")
                .map(|(at, call)| text.split_at(at + call.len()))
            {
                let (code, rest) = after.split_once('\'').unwrap_or_default();
                let expected = match code {
                    "not_found" => &[],
                    _ => Refusal::arguments(code).unwrap_or_else(|| panic!("`{code}` is no refusal of duet_core")),
                };
                assert_eq!(arguments(rest), expected, "the arguments of `{code}`");
                read += 1;
            }
        }
        assert!(read > 100, "only {read} refusals were found");
    }

    /// The names of the arguments in the rest of a call, after its code: those of a literal, or of `jsonb_build_object`.
    fn arguments(rest: &str) -> Vec<&str> {
        if rest.starts_with(')') {
            return Vec::new();
        }
        if let Some(json) = rest.strip_prefix(", '") {
            let json = json.split('\'').next().unwrap_or_default();
            let named: BTreeMap<&str, serde_json::Value> =
                serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"));
            return named.into_keys().collect();
        }
        let list = rest
            .strip_prefix(", jsonb_build_object(")
            .unwrap_or_else(|| panic!("arguments that this test cannot read: {rest:.80}"));
        // Names and values take turns; a value may be a call with commas and brackets of its own.
        let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
        for (at, sign) in list.char_indices() {
            match sign {
                '(' => depth += 1,
                ')' if depth > 0 => depth -= 1,
                ',' | ')' if depth == 0 => {
                    parts.push(list[start..at].trim());
                    start = at + 1;
                    if sign == ')' {
                        break;
                    }
                }
                _ => {}
            }
        }
        parts.into_iter().step_by(2).map(|name| name.trim_matches('\'')).collect()
    }

    #[test]
    fn arguments_are_read_in_each_form() {
        assert_eq!(arguments(");"), [""; 0]);
        assert_eq!(arguments(", '{\"what\": \"run\"}');"), ["what"]);
        assert_eq!(
            arguments(", jsonb_build_object('most', 9, 'has', f(a, g(b))));"),
            ["most", "has"]
        );
    }
}
