//! `duet member`.

use clap::{Args, Subcommand, ValueEnum};
use duet_core::domain::{Invitation, Member};
use serde_json::{Value, json};

use super::{
    Global,
    connect::{self, Connection, Purpose},
    exit::{Failure, Outcome},
    ids,
    output::{Output, brief, local_day, local_time},
};

/// Most rows in a list.
const MOST: usize = 10_000;

/// `duet member …`.
#[derive(Debug, Subcommand)]
pub enum MemberCommand {
    /// List who is in the workspace
    List,
    /// Invite somebody and print the link to pass on, once
    Invite(InviteArgs),
    /// List the invitations, including those that are over
    Invitations,
    /// Revoke an invitation, at once and for good
    Revoke {
        /// Its id, or the beginning of it
        id: String,
    },
    /// Give a member another role
    Role {
        /// The member: their email address, or their id or its beginning
        member: String,
        /// The role
        #[arg(value_enum)]
        role: MemberRole,
    },
    /// End somebody's access, at once
    Remove {
        /// The member: their email address, or their id or its beginning
        member: String,
    },
}

/// What a member may do.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum MemberRole {
    /// Creates and edits agents, invites and removes people
    Owner,
    /// Chats, keeps memories
    #[default]
    Member,
}

impl MemberRole {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Member => "member",
        }
    }
}

/// Options of `duet member invite`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  duet member invite bea@example.org --days 3")]
pub struct InviteArgs {
    /// The email address; only an account with it can accept
    email: String,
    /// The role that they will have
    #[arg(long, value_enum, default_value_t)]
    role: MemberRole,
    /// How many days the link works
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=30))]
    days: u32,
}

pub async fn run(global: &Global, output: Output, command: MemberCommand) -> Outcome {
    let purpose = match command {
        MemberCommand::List | MemberCommand::Invitations => Purpose::Read,
        MemberCommand::Invite(_) | MemberCommand::Revoke { .. } | MemberCommand::Role { .. } | MemberCommand::Remove { .. } => {
            Purpose::Write
        }
    };
    let connection = connect::connect(global, output, purpose).await?;
    let outcome = match command {
        MemberCommand::List => list(&connection, output).await,
        MemberCommand::Invite(args) => invite(&connection, output, &args).await,
        MemberCommand::Invitations => invitations(&connection, output).await,
        MemberCommand::Revoke { id } => revoke(&connection, output, &id).await,
        MemberCommand::Role { member, role } => change_role(&connection, output, &member, role).await,
        MemberCommand::Remove { member } => remove(&connection, output, &member).await,
    };
    connection.close().await;
    outcome
}

async fn members(connection: &Connection) -> Outcome<Vec<Member>> {
    connection.pages("/members", "", MOST).await
}

async fn list(connection: &Connection, output: Output) -> Outcome {
    let members = members(connection).await?;
    if output.json {
        return output.value(&members);
    }
    let rows: Vec<_> = members
        .iter()
        .map(|member| {
            [
                member.user_id.to_string(),
                brief(&member.display_name, 30),
                brief(&member.email, 40),
                member.role.to_string(),
                local_day(member.joined_at),
            ]
        })
        .collect();
    output.table(["ID", "NAME", "EMAIL", "ROLE", "SINCE"], &rows, "There are no members.")
}

async fn invite(connection: &Connection, output: Output, args: &InviteArgs) -> Outcome {
    let body = json!({"email": args.email, "role": args.role.as_str(), "expires_in_hours": args.days * 24});
    let made: Value = connection.client.post(&connection.path("/invitations"), &body).await?;
    if output.json {
        return output.value(&made);
    }
    let link = made["link"]
        .as_str()
        .ok_or_else(|| Failure::failed("The server's answer holds no link. Restart it and try again."))?;
    output.say("Pass this link on: it is shown once, and works once, for that address alone.");
    output.line(link)
}

async fn invitations(connection: &Connection, output: Output) -> Outcome {
    let invitations: Vec<Invitation> = connection.pages("/invitations", "", MOST).await?;
    if output.json {
        return output.value(&invitations);
    }
    let rows: Vec<_> = invitations
        .iter()
        .map(|invitation| {
            [
                invitation.id.to_string(),
                brief(&invitation.email, 40),
                invitation.role.to_string(),
                invitation.status.to_string(),
                local_time(invitation.expires_at),
            ]
        })
        .collect();
    output.table(
        ["ID", "EMAIL", "ROLE", "STATE", "UNTIL"],
        &rows,
        "Nobody has been invited. `duet member invite` does.",
    )
}

async fn revoke(connection: &Connection, output: Output, id: &str) -> Outcome {
    let invitations: Vec<Invitation> = connection.pages("/invitations", "", MOST).await?;
    let all = invitations.iter().map(|invitation| invitation.id.to_string());
    let id = ids::only(ids::begun(all, id), "invitations", id)?;
    let path = connection.path(&format!("/invitations/{id}"));
    let invitation: Invitation = connection.client.delete(&path).await?;
    match output.json {
        true => output.value(&invitation),
        false => {
            output.say(&format!("Revoked the invitation of {}.", brief(&invitation.email, 60)));
            Ok(())
        }
    }
}

/// The member with that address or id.
async fn pick(connection: &Connection, who: &str) -> Outcome<Member> {
    let wanted = who.trim().to_lowercase();
    let mut members = members(connection).await?;
    let place = match members.iter().position(|member| member.email == wanted) {
        Some(place) => Some(place),
        None => {
            let begun = ids::begun(members.iter().map(|member| member.user_id.to_string()), &wanted);
            match begun[..] {
                [] => None,
                _ => {
                    let id = ids::only(begun, "members", &wanted)?;
                    members.iter().position(|member| member.user_id.to_string() == id)
                }
            }
        }
    };
    place.map(|place| members.swap_remove(place)).ok_or_else(|| {
        Failure::not_found(format!(
            "Nobody here is `{}`. `duet member list` shows who is.",
            brief(who, 60)
        ))
    })
}

async fn change_role(connection: &Connection, output: Output, who: &str, role: MemberRole) -> Outcome {
    let member = pick(connection, who).await?;
    let path = connection.path(&format!("/members/{}", member.user_id));
    let changed: Member = connection.client.patch(&path, &json!({"role": role.as_str()})).await?;
    match output.json {
        true => output.value(&changed),
        false => {
            output.say(&format!("{} is {} now.", brief(&changed.email, 60), changed.role));
            Ok(())
        }
    }
}

async fn remove(connection: &Connection, output: Output, who: &str) -> Outcome {
    let member = pick(connection, who).await?;
    let path = connection.path(&format!("/members/{}", member.user_id));
    connection.client.remove(&path).await?;
    match output.json {
        true => output.value(&member),
        false => {
            output.say(&format!("Removed {}.", brief(&member.email, 60)));
            Ok(())
        }
    }
}
