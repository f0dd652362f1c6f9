//! Who attacks, and where they belong in the world.

use crate::{attempt::Host, words::Place};

/// Somebody who queries the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// Nobody: not signed in.
    Anon,
    /// The owner of another workspace.
    Stranger,
    /// A former member who left rows behind.
    ExMember,
    /// A member.
    Member,
    /// The owner.
    Owner,
    /// An agent that acts for the member.
    Agent,
    /// The server's login before it assumes a role.
    Worker,
    /// The owner, made a member while signed in.
    Demoted,
    /// The member, made an owner while signed in.
    Promoted,
    /// The member, removed while signed in.
    Removed,
    /// An agent whose row lets it read shared semantic memories and nothing else, whatever its run was granted.
    Narrow,
    /// An agent whose row allows more than its run was granted: reading shared semantic memories.
    Scoped,
    /// An agent without any capability.
    Bare,
    /// An agent that is deactivated while it acts.
    Off,
}

/// A run grant that restricts its agent in nothing.
const WIDE: &str = r#"{"capabilities": ["read_memory", "write_memory"], "memory_scopes": {"domains": ["episodic", "semantic", "working"], "private": true}}"#;
/// A run grant that allows only reading what everybody may know.
const TIGHT: &str = r#"{"capabilities": ["read_memory"], "memory_scopes": {"domains": ["semantic"], "private": false}}"#;

impl Actor {
    /// The actors with a column in the matrix, in column order.
    pub const COLUMNS: [Self; 7] = [
        Self::Anon,
        Self::Stranger,
        Self::ExMember,
        Self::Member,
        Self::Owner,
        Self::Agent,
        Self::Worker,
    ];

    /// Actors like another one, with fewer rights: what they may do is derived from the other's column.
    pub const DERIVED: [Self; 7] = [
        Self::Demoted,
        Self::Promoted,
        Self::Removed,
        Self::Narrow,
        Self::Scoped,
        Self::Bare,
        Self::Off,
    ];

    /// All actors.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::COLUMNS.into_iter().chain(Self::DERIVED)
    }

    /// The actors that may call functions.
    pub fn callers() -> impl Iterator<Item = Self> {
        Self::all().filter(|actor| !matches!(actor, Self::Anon | Self::Worker))
    }

    /// The name used in the files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anon => "anon",
            Self::Stranger => "stranger",
            Self::ExMember => "ex-member",
            Self::Member => "member",
            Self::Owner => "owner",
            Self::Agent => "agent",
            Self::Worker => "worker",
            Self::Demoted => "demoted",
            Self::Promoted => "promoted",
            Self::Removed => "removed",
            Self::Narrow => "narrow",
            Self::Scoped => "scoped",
            Self::Bare => "bare",
            Self::Off => "off",
        }
    }

    /// The actor with that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|actor| actor.name() == name)
    }

    /// The actor whose matrix column applies.
    pub fn column(self) -> Self {
        match self {
            Self::Demoted | Self::Promoted => Self::Owner,
            Self::Removed => Self::ExMember,
            Self::Narrow | Self::Scoped | Self::Bare | Self::Off => Self::Agent,
            other => other,
        }
    }

    /// Whether it is an agent.
    pub fn is_agent(self) -> bool {
        self.column() == Self::Agent
    }

    /// The database role that binds them.
    pub fn role(self) -> &'static str {
        match self.column() {
            Self::Anon => "anon",
            Self::Agent => "duet_agent",
            Self::Worker => "duet_worker",
            _ => "authenticated",
        }
    }

    /// Where their own rows are; for actors without rows, whose rows they would like to have.
    pub fn place(self) -> Place {
        match self {
            Self::Stranger => Place::STRANGER,
            Self::ExMember => Place::FORMER,
            Self::Owner | Self::Demoted => Place::OWNER,
            _ => Place::MEMBER,
        }
    }

    /// Whose rows they attack, in another workspace and in their own.
    pub fn victims(self) -> &'static [Place] {
        match self {
            Self::Stranger => &[Place::MEMBER],
            Self::ExMember => &[Place::MEMBER, Place::STRANGER],
            Self::Removed => &[Place::OWNER, Place::STRANGER],
            Self::Anon | Self::Worker => &[Place::MEMBER],
            Self::Owner | Self::Demoted => &[Place::STRANGER, Place::MEMBER],
            Self::Member | Self::Promoted => &[Place::STRANGER, Place::OWNER],
            // Its person is in that workspace too; the agent is not.
            Self::Agent => &[Place::STRANGER, Place::OWNER, Place::ELSEWHERE],
            Self::Narrow | Self::Scoped | Self::Bare | Self::Off => &[Place::OWNER],
        }
    }

    /// The workspaces they are in.
    pub fn workspaces(self) -> &'static [&'static str] {
        match self {
            Self::Anon | Self::Worker | Self::ExMember | Self::Off => &[],
            Self::Stranger => &["B"],
            Self::Member | Self::Owner | Self::Demoted | Self::Promoted => &["A", "C"],
            Self::Removed => &["C"],
            Self::Agent | Self::Narrow | Self::Scoped | Self::Bare => &["A"],
        }
    }

    /// The workspaces that an open invitation of world.sql lets them into.
    pub fn invited(self) -> &'static [&'static str] {
        match self {
            Self::Stranger => &["C"],
            _ => &[],
        }
    }

    /// The workspaces they own.
    pub fn owned(self) -> &'static [&'static str] {
        match self {
            Self::Stranger => &["B"],
            Self::Owner => &["A", "C"],
            Self::Demoted => &["C"],
            Self::Promoted => &["A"],
            _ => &[],
        }
    }

    /// What happened to them since they signed in, as statements of the database's owner.
    pub fn meanwhile(self) -> String {
        match self {
            Self::Demoted => Place::OWNER.fill(
                "insert into duet.member values ({ws}, md5('account/bystander')::uuid, 'owner', private.now());
                       update duet.member set role = 'member' where workspace_id = {ws} and user_id = {me}",
            ),
            Self::Promoted => {
                Place::MEMBER.fill("update duet.member set role = 'owner' where workspace_id = {ws} and user_id = {me}")
            }
            Self::Removed => Place::MEMBER.fill("delete from duet.member where workspace_id = {ws} and user_id = {me}"),
            _ => String::new(),
        }
    }

    /// The agent's row and its run's grant.
    fn acts(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Agent => Some(("{the:agent}", WIDE)),
            Self::Narrow => Some(("{the:executor}", WIDE)),
            Self::Scoped => Some(("{the:agent}", TIGHT)),
            Self::Bare => Some(("{the:agent_bare}", WIDE)),
            Self::Off => Some(("{the:agent_off}", WIDE)),
            _ => None,
        }
    }

    /// The settings they act under, each with its value as an expression; the role comes last.
    pub fn settings(self) -> Vec<(String, String)> {
        let place = self.place();
        let mut settings = Vec::new();
        if !matches!(self, Self::Anon | Self::Worker) {
            settings.push((
                "request.jwt.claims".to_owned(),
                format!(
                    "jsonb_build_object('sub', {}, 'role', 'authenticated', 'aud', 'authenticated')::text",
                    place.fill("{me}")
                ),
            ));
        }
        if let Some((agent, scopes)) = self.acts() {
            settings.push(("duet.workspace_id".into(), place.fill("{ws}::text")));
            settings.push(("duet.agent_id".into(), place.fill(&format!("{agent}::text"))));
            // An agent works in its own run, which is running.
            let run = match self {
                Self::Narrow => "{my:run_executor}",
                Self::Bare => "{my:run_bare}",
                _ => "{my:run_running}",
            };
            settings.push(("duet.run_id".into(), place.fill(&format!("{run}::text"))));
            settings.push(("duet.locality".into(), "'local'".into()));
            settings.push(("duet.agent_scopes".into(), format!("'{scopes}'")));
        }
        settings
    }

    /// The statements that start an act as this actor, the way the server's transport does it: the powerless login first, then the
    /// claims, then the role. Only a superuser can assume the login; an owner assumes the role directly.
    pub fn statements(self, host: Host) -> String {
        self.statements_with(host, &[])
    }

    /// The same with some settings replaced or added.
    pub fn statements_with(self, host: Host, instead: &[(String, String)]) -> String {
        let login = match (self, host) {
            (Self::Anon, _) => return "set local role anon".into(),
            (Self::Worker, Host::Superuser) => return "set local session authorization duet_worker".into(),
            (Self::Worker, Host::Owner) => return "set local role duet_worker".into(),
            (_, Host::Superuser) => "set local session authorization duet_worker; ",
            (_, Host::Owner) => "",
        };
        let mut settings = self.settings();
        settings.extend_from_slice(instead);
        // The last of duplicate settings wins.
        let said: Vec<(String, String)> = std::mem::take(&mut settings);
        for (place, setting) in said.iter().enumerate() {
            if said[place + 1..].iter().all(|(name, _)| *name != setting.0) {
                settings.push(setting.clone());
            }
        }
        settings.push(("role".into(), format!("'{}'", self.role())));
        let columns: Vec<String> = settings
            .iter()
            .map(|(name, value)| format!("set_config('{name}', {value}, true)"))
            .collect();
        format!("{login}select {}", columns.join(", "))
    }
}
