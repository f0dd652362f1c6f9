//! Policy: every tool call is decided here and nowhere else. Default deny: a call that no rule allows is denied.

use serde::{Deserialize, Serialize};

use crate::{
    caller::Caller,
    domain::{Capability, Decider, Role, word_enum},
    ids::AgentId,
    refusal::Refusal,
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
        /// Asks the person.
        Question = "question",
        /// Acts on the outside world.
        External = "external",
    }
}

impl ToolCategory {
    /// What is done, in the middle of a sentence.
    fn deed(self) -> &'static str {
        match self {
            Self::MemoryRead => "memories are read",
            Self::MemoryWrite => "a memory is saved",
            Self::ConversationRead => "conversations are searched",
            Self::Question => "a question is asked",
            Self::External => "something is done outside of Duet",
        }
    }

    /// The capability that an agent needs for it, if it needs one.
    pub fn capability(self) -> Option<Capability> {
        match self {
            Self::MemoryRead | Self::ConversationRead => Some(Capability::ReadMemory),
            Self::MemoryWrite => Some(Capability::WriteMemory),
            Self::Question => None,
            Self::External => Some(Capability::ExternalAction),
        }
    }
}

word_enum! {
    /// What a rule says of the calls that it matches.
    Say {
        /// They may happen.
        Allow = "allow",
        /// They may happen once a person approves.
        Ask = "ask",
        /// They may not happen.
        Deny = "deny",
    }
}

/// One rule: which calls it matches, and what it says of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The category of the tool.
    pub category: ToolCategory,
    /// Only this tool; absent means all of the category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Only for people of this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Only for this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// What it says.
    pub say: Say,
    /// Who approves, where it says `ask`; absent means the person whose run asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decider: Option<Decider>,
    /// Why, as people and the agent are told: one short sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Rule {
    /// Most rules of a policy.
    pub const MOST: usize = 200;
    /// Longest sentence and longest name of a tool, in bytes.
    pub const MAX_TEXT: usize = 200;

    /// A rule about a whole category, for everybody.
    pub fn of(category: ToolCategory, say: Say) -> Self {
        Self {
            category,
            tool: None,
            role: None,
            agent: None,
            say,
            decider: None,
            why: None,
        }
    }

    fn matches(&self, call: &Call<'_>) -> bool {
        self.category == call.category
            && self.tool.as_deref().is_none_or(|tool| tool == call.tool)
            && self.role.is_none_or(|role| role == call.role)
            && self.agent.is_none_or(|agent| agent == call.agent)
    }

    fn is_well_formed(&self) -> bool {
        let fits = |text: &Option<String>| {
            text.as_ref()
                .is_none_or(|text| text.len() <= Self::MAX_TEXT && !text.trim().is_empty())
        };
        fits(&self.tool) && fits(&self.why) && (self.decider.is_none() || self.say == Say::Ask)
    }
}

/// What policy is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The tool.
    pub tool: &'a str,
    /// Its category.
    pub category: ToolCategory,
    /// The role of the person on whose behalf it happens.
    pub role: Role,
    /// The agent.
    pub agent: AgentId,
}

/// Whether a call may happen, and what says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Yes.
    Allow,
    /// Only after a person approves.
    Ask {
        /// Who.
        decider: Decider,
        /// Why, as a sentence.
        why: String,
    },
    /// No, and why: the end of a sentence.
    Deny(String),
}

/// A list of rules; the strictest that matches wins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Policy {
    rules: Vec<Rule>,
}

impl From<Vec<Rule>> for Policy {
    fn from(rules: Vec<Rule>) -> Self {
        Self { rules }
    }
}

impl Policy {
    /// The rules of a new workspace: the person's own memories and conversations, nothing else.
    pub fn starter() -> Vec<Rule> {
        use ToolCategory::{ConversationRead, MemoryRead, MemoryWrite, Question};
        [MemoryRead, MemoryWrite, ConversationRead, Question]
            .map(|category| Rule::of(category, Say::Allow))
            .into()
    }

    /// Checks rules before they are stored.
    pub fn check(rules: &[Rule]) -> Result<(), Refusal> {
        if rules.len() > Rule::MOST {
            return Err(Refusal::PolicyLength {
                most: Rule::MOST,
                has: rules.len(),
            });
        }
        match rules.iter().position(|rule| !rule.is_well_formed()) {
            Some(index) => Err(Refusal::PolicyForm { rule: index + 1 }),
            None => Ok(()),
        }
    }

    /// Decides a call by the caller's agent. Three things must all hold: the agent was given the tool, it has the capability, and a
    /// rule allows the category for the person's role.
    pub fn decide(&self, caller: &Caller, tool: &str, category: ToolCategory, offered: bool) -> Ruling {
        let Some(acting) = &caller.agent else {
            return Ruling::Deny("only an agent calls tools".into());
        };
        if !offered {
            return Ruling::Deny(format!("the tool `{tool}` was not given to this agent"));
        }
        if let Some(capability) = category.capability().filter(|needed| !acting.capabilities.contains(needed)) {
            return Ruling::Deny(format!("the agent lacks the capability `{capability}`"));
        }
        let call = Call {
            tool,
            category,
            role: caller.role,
            agent: acting.agent,
        };
        self.explain(&call).0
    }

    /// What the rules say of a call, and the place of the rule that decides it, from 0.
    pub fn explain(&self, call: &Call<'_>) -> (Ruling, Option<usize>) {
        let matching = self.rules.iter().enumerate().filter(|(_, rule)| rule.matches(call));
        // Of equally strict ones the first; that an owner decides is stricter than that the person does.
        let strictest = matching.rev().max_by_key(|(_, rule)| (rule.say, rule.decider));
        let Some((place, rule)) = strictest else {
            return (Ruling::Deny(format!("no rule allows `{}` here", call.category)), None);
        };
        let ruling = match rule.say {
            Say::Allow => Ruling::Allow,
            Say::Ask => Ruling::Ask {
                decider: rule.decider.unwrap_or(Decider::Asker),
                why: rule
                    .why
                    .clone()
                    .unwrap_or_else(|| format!("The rules ask before {}.", call.category.deed())),
            },
            Say::Deny => Ruling::Deny(
                rule.why
                    .clone()
                    .unwrap_or_else(|| format!("the policy denies `{}` here", call.category)),
            ),
        };
        (ruling, Some(place))
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

    fn rule(role: Option<Role>, category: ToolCategory, say: Say) -> Rule {
        Rule {
            role,
            ..Rule::of(category, say)
        }
    }

    fn policy(rules: Vec<Rule>) -> Policy {
        rules.into()
    }

    #[test]
    fn nothing_is_allowed_that_no_rule_allows() {
        let caller = caller(Role::Owner, Capability::ALL);
        for category in ToolCategory::ALL {
            let ruling = Policy::default().decide(&caller, "t", *category, true);
            assert!(matches!(ruling, Ruling::Deny(_)), "{category}");
        }
        let starter = policy(Policy::starter());
        assert!(matches!(
            starter.decide(&caller, "t", ToolCategory::External, true),
            Ruling::Deny(_)
        ));
    }

    #[test]
    fn rulings() {
        use ToolCategory::MemoryWrite;
        let deny = |why: &str| Ruling::Deny(why.into());
        let ask = |decider| Ruling::Ask {
            decider,
            why: "The rules ask before a memory is saved.".into(),
        };
        let allow_all = || rule(None, MemoryWrite, Say::Allow);
        let asking = |tool: Option<&str>, agent, decider| Rule {
            tool: tool.map(str::to_owned),
            agent,
            decider,
            ..Rule::of(MemoryWrite, Say::Ask)
        };
        let (this, other) = (AgentId::from_uuid(uuid::Uuid::nil()), AgentId::from_uuid(uuid::Uuid::max()));
        let cases = [
            ("allowed", vec![allow_all()], Role::Member, true, true, Ruling::Allow),
            (
                "not offered",
                vec![allow_all()],
                Role::Owner,
                true,
                false,
                deny("the tool `t` was not given to this agent"),
            ),
            (
                "no capability",
                vec![allow_all()],
                Role::Owner,
                false,
                true,
                deny("the agent lacks the capability `write_memory`"),
            ),
            (
                "stricter rule for the role",
                vec![allow_all(), rule(Some(Role::Member), MemoryWrite, Say::Ask)],
                Role::Member,
                true,
                true,
                ask(Decider::Asker),
            ),
            (
                "rule of another role",
                vec![allow_all(), rule(Some(Role::Member), MemoryWrite, Say::Deny)],
                Role::Owner,
                true,
                true,
                Ruling::Allow,
            ),
            (
                "deny beats ask, in any order",
                vec![
                    rule(None, MemoryWrite, Say::Deny),
                    rule(None, MemoryWrite, Say::Ask),
                    allow_all(),
                ],
                Role::Owner,
                true,
                true,
                deny("the policy denies `memory_write` here"),
            ),
            (
                "rules of this tool and this agent, and of others",
                vec![allow_all(), asking(Some("t"), Some(this), None), rule_of_another("u", other)],
                Role::Owner,
                true,
                true,
                ask(Decider::Asker),
            ),
            (
                "an owner decides before the person does",
                vec![
                    asking(None, None, Some(Decider::Owner)),
                    asking(None, None, Some(Decider::Asker)),
                    allow_all(),
                ],
                Role::Owner,
                true,
                true,
                ask(Decider::Owner),
            ),
        ];
        for (name, rules, role, capable, offered, expected) in cases {
            let capabilities: &[Capability] = if capable {
                &[Capability::WriteMemory]
            } else {
                &[Capability::ReadMemory]
            };
            assert_eq!(
                policy(rules).decide(&caller(role, capabilities), "t", MemoryWrite, offered),
                expected,
                "{name}"
            );
        }
    }

    fn rule_of_another(tool: &str, agent: AgentId) -> Rule {
        Rule {
            tool: Some(tool.into()),
            agent: Some(agent),
            ..Rule::of(ToolCategory::MemoryWrite, Say::Deny)
        }
    }

    #[test]
    fn the_rule_that_decides_is_named() {
        let rules = policy(vec![
            Rule::of(ToolCategory::MemoryRead, Say::Allow),
            Rule::of(ToolCategory::MemoryWrite, Say::Ask),
            Rule {
                why: Some("Asks twice.".into()),
                ..Rule::of(ToolCategory::MemoryWrite, Say::Ask)
            },
        ]);
        let call = |category| Call {
            tool: "t",
            category,
            role: Role::Owner,
            agent: AgentId::from_uuid(uuid::Uuid::nil()),
        };
        assert_eq!(rules.explain(&call(ToolCategory::MemoryWrite)).1, Some(1));
        assert_eq!(rules.explain(&call(ToolCategory::External)).1, None);
    }

    #[test]
    fn rules_have_a_form() {
        assert_eq!(Policy::check(&Policy::starter()), Ok(()));
        let odd = Rule {
            decider: Some(Decider::Owner),
            ..Rule::of(ToolCategory::MemoryRead, Say::Allow)
        };
        let empty = Rule {
            tool: Some(" ".into()),
            ..Rule::of(ToolCategory::MemoryRead, Say::Ask)
        };
        for wrong in [odd, empty] {
            assert_eq!(
                Policy::check(&[Rule::of(ToolCategory::MemoryRead, Say::Allow), wrong]),
                Err(Refusal::PolicyForm { rule: 2 })
            );
        }
    }
}
