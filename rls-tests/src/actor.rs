//! Who attacks, and where they belong in the world.

use crate::{attempt::Host, words::Place};

/// Somebody who asks the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// Nobody who is signed in.
    Anon,
    /// The owner of another workspace.
    Stranger,
    /// Somebody who was a member and left rows behind.
    ExMember,
    /// A member.
    Member,
    /// The owner.
    Owner,
    /// An agent that acts for the member.
    Agent,
    /// The server's login before it takes on a role.
    Worker,
}

impl Actor {
    /// All, in the order of the matrix's columns.
    pub const ALL: [Self; 7] = [
        Self::Anon,
        Self::Stranger,
        Self::ExMember,
        Self::Member,
        Self::Owner,
        Self::Agent,
        Self::Worker,
    ];

    /// As the matrix names them.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anon => "anon",
            Self::Stranger => "stranger",
            Self::ExMember => "ex-member",
            Self::Member => "member",
            Self::Owner => "owner",
            Self::Agent => "agent",
            Self::Worker => "worker",
        }
    }

    /// The role that binds them.
    pub fn role(self) -> &'static str {
        match self {
            Self::Anon => "anon",
            Self::Agent => "duet_agent",
            Self::Worker => "duet_worker",
            _ => "authenticated",
        }
    }

    /// Where their own rows are; for those without, whose they would like to have.
    pub fn place(self) -> Place {
        match self {
            Self::Stranger => Place::STRANGER,
            Self::ExMember => Place::FORMER,
            Self::Owner => Place::OWNER,
            Self::Anon | Self::Member | Self::Agent | Self::Worker => Place::MEMBER,
        }
    }

    /// Whose rows they go after: in another workspace, and in their own.
    pub fn victims(self) -> &'static [Place] {
        match self {
            Self::Stranger => &[Place::MEMBER],
            Self::ExMember => &[Place::MEMBER, Place::STRANGER],
            Self::Anon | Self::Worker => &[Place::MEMBER],
            Self::Owner => &[Place::STRANGER, Place::MEMBER],
            Self::Member => &[Place::STRANGER, Place::OWNER],
            // Its person is in that workspace too; the agent is not.
            Self::Agent => &[Place::STRANGER, Place::OWNER, Place::ELSEWHERE],
        }
    }

    /// The workspaces that they are in.
    pub fn workspaces(self) -> &'static [&'static str] {
        match self {
            Self::Anon | Self::Worker | Self::ExMember => &[],
            Self::Stranger => &["B"],
            Self::Member | Self::Owner => &["A", "C"],
            Self::Agent => &["A"],
        }
    }

    /// The workspaces that an open invitation of world.sql lets them into.
    pub fn invited(self) -> &'static [&'static str] {
        match self {
            Self::Stranger => &["C"],
            _ => &[],
        }
    }

    /// The workspaces that they own.
    pub fn owned(self) -> &'static [&'static str] {
        match self {
            Self::Stranger => &["B"],
            Self::Owner => &["A", "C"],
            _ => &[],
        }
    }

    /// The statements that make an act theirs, in the way of the server's transport: the powerless login first, then the claims, then
    /// the role. Only a superuser can take on the login; an owner takes on the role at once.
    pub fn statements(self, host: Host) -> String {
        let mut text = String::from("set local duet.now = '2026-11-21 12:00:00+00'; ");
        match (self, host) {
            (Self::Anon, _) => return text + "set local role anon",
            (Self::Worker, Host::Superuser) => return text + "set local session authorization duet_worker",
            (Self::Worker, Host::Owner) => return text + "set local role duet_worker",
            (_, Host::Superuser) => text.push_str("set local session authorization duet_worker; "),
            (_, Host::Owner) => {}
        }
        let place = self.place();
        let mut settings = vec![(
            "request.jwt.claims".to_owned(),
            format!(
                "jsonb_build_object('sub', {}, 'role', 'authenticated', 'aud', 'authenticated')::text",
                place.fill("{me}")
            ),
        )];
        if self == Self::Agent {
            let scopes = r#"'{"capabilities": ["read_memory", "write_memory"], "memory_scopes": {"domains": ["episodic", "semantic", "working"], "private": true}}'"#;
            settings.push(("duet.workspace_id".into(), place.fill("{ws}::text")));
            settings.push(("duet.agent_id".into(), place.fill("{the:agent}::text")));
            settings.push(("duet.run_id".into(), place.fill("{my:run}::text")));
            settings.push(("duet.agent_scopes".into(), scopes.into()));
        }
        settings.push(("role".into(), format!("'{}'", self.role())));
        let columns: Vec<String> = settings
            .iter()
            .map(|(name, value)| format!("set_config('{name}', {value}, true)"))
            .collect();
        text + "select " + &columns.join(", ")
    }
}
