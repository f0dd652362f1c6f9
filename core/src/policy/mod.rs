//! Policy: every tool call is decided here and nowhere else. Default deny: a call that no rule allows is denied.

use std::borrow::Cow;

use crate::{
    caller::Caller,
    domain::{Capability, Role, word_enum},
};

word_enum! {
    /// What a tool does, as the policy classifies it.
    ToolCategory {
        /// Reads memories.
        MemoryRead = "memory_read",
        /// Writes memories.
        MemoryWrite = "memory_write",
        /// Reads conversations.
        ConversationRead = "conversation_read",
        /// Acts on the outside world.
        External = "external",
    }
}

impl ToolCategory {
    /// The capability that an agent needs for it.
    pub fn capability(self) -> Capability {
        match self {
            Self::MemoryRead | Self::ConversationRead => Capability::ReadMemory,
            Self::MemoryWrite => Capability::WriteMemory,
            Self::External => Capability::ExternalAction,
        }
    }
}

/// Whether a call may happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow,
    /// Only after a person approves.
    Ask(Cow<'static, str>),
    /// No.
    Deny(Cow<'static, str>),
}

/// One rule: for whom, what, and how it is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Only for this role; `None` means any.
    pub role: Option<Role>,
    /// The category.
    pub category: ToolCategory,
    /// The decision.
    pub decision: Decision,
}

/// An ordered list of rules; the strictest that matches wins.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    rules: Vec<Rule>,
}

impl Policy {
    /// A policy of these rules and nothing else.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    /// The policy of a fresh installation: the person's own memories and conversations, nothing else.
    pub fn starter() -> Self {
        let allow = |category| Rule {
            role: None,
            category,
            decision: Decision::Allow,
        };
        Self::new(vec![
            allow(ToolCategory::MemoryRead),
            allow(ToolCategory::MemoryWrite),
            allow(ToolCategory::ConversationRead),
        ])
    }

    /// Decides a call of `tool` by the caller's agent. Three things must all hold: the agent was given the tool, it has the
    /// capability, and a rule allows the category for the person's role.
    pub fn decide(&self, caller: &Caller, tool: &str, category: ToolCategory, offered: bool) -> Decision {
        if !offered {
            return Decision::Deny(format!("the tool `{tool}` was not given to this agent").into());
        }
        let capability = category.capability();
        if caller
            .agent
            .as_ref()
            .is_some_and(|acting| !acting.capabilities.contains(&capability))
        {
            return Decision::Deny(format!("the agent lacks the capability `{capability}`").into());
        }
        let matching = self
            .rules
            .iter()
            .filter(|rule| rule.category == category && rule.role.is_none_or(|role| role == caller.role));
        let strictest = matching.max_by_key(|rule| match rule.decision {
            Decision::Allow => 0,
            Decision::Ask(_) => 1,
            Decision::Deny(_) => 2,
        });
        match strictest {
            Some(rule) => rule.decision.clone(),
            None => Decision::Deny(format!("no rule allows `{category}` here").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        caller::ActingAgent,
        domain::{Locality, MemoryScopes},
        ids::{AgentId, Id, RunId, UserId, WorkspaceId},
    };

    fn caller(role: Role, capabilities: &[Capability]) -> Caller {
        let nil = uuid::Uuid::nil();
        Caller::person(UserId::from_uuid(nil), WorkspaceId::from_uuid(nil), role).with_agent(ActingAgent {
            agent: AgentId::from_uuid(nil),
            run: RunId::from_uuid(nil),
            capabilities: capabilities.iter().copied().collect::<BTreeSet<_>>(),
            memory_scopes: MemoryScopes::all(),
            locality: Locality::Local,
        })
    }

    fn rule(role: Option<Role>, category: ToolCategory, decision: Decision) -> Rule {
        Rule {
            role,
            category,
            decision,
        }
    }

    #[test]
    fn nothing_is_allowed_that_no_rule_allows() {
        let caller = caller(Role::Owner, Capability::ALL);
        for category in ToolCategory::ALL {
            assert!(
                matches!(Policy::default().decide(&caller, "t", *category, true), Decision::Deny(_)),
                "{category}"
            );
        }
        assert!(matches!(
            Policy::starter().decide(&caller, "t", ToolCategory::External, true),
            Decision::Deny(_)
        ));
    }

    #[test]
    fn decisions() {
        use ToolCategory::MemoryWrite;
        let deny = || Decision::Deny("no".into());
        let ask = || Decision::Ask("ask".into());
        let allow_all = || rule(None, MemoryWrite, Decision::Allow);
        let cases = [
            ("allowed", vec![allow_all()], Role::Member, true, true, Decision::Allow),
            (
                "not offered",
                vec![allow_all()],
                Role::Owner,
                true,
                false,
                Decision::Deny("the tool `t` was not given to this agent".into()),
            ),
            (
                "no capability",
                vec![allow_all()],
                Role::Owner,
                false,
                true,
                Decision::Deny("the agent lacks the capability `write_memory`".into()),
            ),
            (
                "stricter rule for the role",
                vec![allow_all(), rule(Some(Role::Member), MemoryWrite, ask())],
                Role::Member,
                true,
                true,
                ask(),
            ),
            (
                "rule of another role",
                vec![allow_all(), rule(Some(Role::Member), MemoryWrite, deny())],
                Role::Owner,
                true,
                true,
                Decision::Allow,
            ),
            (
                "deny beats ask, in any order",
                vec![rule(None, MemoryWrite, deny()), rule(None, MemoryWrite, ask()), allow_all()],
                Role::Owner,
                true,
                true,
                deny(),
            ),
        ];
        for (name, rules, role, capable, offered, expected) in cases {
            let capabilities: &[Capability] = if capable {
                &[Capability::WriteMemory]
            } else {
                &[Capability::ReadMemory]
            };
            assert_eq!(
                Policy::new(rules).decide(&caller(role, capabilities), "t", MemoryWrite, offered),
                expected,
                "{name}"
            );
        }
    }
}
