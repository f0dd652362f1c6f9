//! [`crate::ports::InvitationStore`].

use std::time::Duration;

use futures::future::join_all;

use super::{World, assert_refused};
use crate::{
    domain::{Invitation, InvitationStatus, ListPage, NewInvitation, Newcomer, PageRequest, Role},
    error::{StoreError, StoreResult},
    ids::InvitationId,
    refusal::{Named, Refusal},
};

fn newcomer(name: &str) -> Newcomer {
    Newcomer {
        display_name: name.into(),
        password_hash: "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g".into(),
    }
}

pub(super) async fn invite(world: &World, token: u8, email: &str) -> Invitation {
    let new = world.invitation(token, email);
    world.stores.invitations.create(&world.owner, new).await.unwrap()
}

async fn list(world: &World) -> Vec<Invitation> {
    let page = world.stores.invitations.list(&world.owner, PageRequest::first(200)).await;
    page.unwrap().items
}

pub(super) async fn status(world: &World, id: InvitationId) -> InvitationStatus {
    let all = list(world).await;
    all.into_iter().find(|invitation| invitation.id == id).unwrap().status
}

pub(super) async fn actions(world: &World) -> Vec<(String, String)> {
    let page = world
        .stores
        .audit
        .entries(&world.owner, PageRequest::first(200))
        .await
        .unwrap();
    let text: String = page.items.iter().map(|entry| entry.details.to_string()).collect();
    assert!(!text.contains('@'), "addresses stay out of the audit log");
    page.items
        .into_iter()
        .rev()
        .map(|entry| (entry.action, entry.target))
        .collect()
}

fn assert_unknown<T: std::fmt::Debug>(result: StoreResult<T>) {
    assert!(matches!(result, Err(StoreError::NotFound("the invitation"))), "{result:?}");
}

/// Created, shown to the holder of its token, accepted once by the invited address, on record.
pub async fn life_of_an_invitation(world: &World) {
    let invitations = &world.stores.invitations;
    let new = world.invitation(1, " Dora@Example.ORG ");
    let made = invitations.create(&world.owner, new.clone()).await.unwrap();
    assert_eq!((made.email.as_str(), made.role), ("dora@example.org", Role::Member));
    assert_eq!((made.status, made.created_by), (InvitationStatus::Open, world.owner.user));
    assert_eq!(made.expires_at.since(made.created_at), NewInvitation::LIFETIME);
    let again = invitations.create(&world.owner, new).await.unwrap();
    assert_eq!(again, made, "the same invitation again changes nothing");

    let told = invitations.look_up([1; 32]).await.unwrap();
    assert_eq!(
        (told.workspace_name.as_str(), told.email.as_str(), told.invited_by.as_str()),
        ("Home", "dora@example.org", "Ana")
    );
    assert!(!told.has_account && told.role == Role::Member && told.expires_at == made.expires_at);

    let dora = invitations.accept_as_newcomer([1; 32], newcomer(" Dora ")).await.unwrap();
    assert_eq!(
        (dora.email.as_str(), dora.display_name.as_str()),
        ("dora@example.org", "Dora")
    );
    assert!(world.stores.accounts.credentials("dora@example.org").await.unwrap().is_some());
    let role = world.stores.workspaces.role(dora.id, world.workspace.id).await.unwrap();
    assert_eq!(role, Some(Role::Member));
    assert_refused(invitations.look_up([1; 32]).await, Refusal::InvitationUsed);
    assert_refused(
        invitations.accept_as_newcomer([1; 32], newcomer("Eve")).await,
        Refusal::InvitationUsed,
    );
    assert_refused(invitations.accept(dora.id, [1; 32], None).await, Refusal::InvitationUsed);
    assert_refused(invitations.revoke(&world.owner, made.id).await, Refusal::InvitationAccepted);

    let here = list(world)
        .await
        .into_iter()
        .find(|invitation| invitation.id == made.id)
        .unwrap();
    assert_eq!((here.status, here.accepted_by), (InvitationStatus::Accepted, Some(dora.id)));
    assert!(here.accepted_at.is_some() && here.revoked_at.is_none());
    let target = format!("invitation:{}", made.id);
    let log = actions(world).await;
    let about: Vec<&str> = log
        .iter()
        .filter(|(_, of)| *of == target)
        .map(|(action, _)| action.as_str())
        .collect();
    assert_eq!(about, ["invitation.create", "invitation.accept"]);
}

/// Somebody with an account can accept only as themselves.
pub async fn invitations_are_for_one_address(world: &World) {
    let invitations = &world.stores.invitations;
    let made = invite(world, 1, "cleo@example.org").await;
    assert!(invitations.look_up([1; 32]).await.unwrap().has_account);
    assert_refused(
        invitations.accept(world.member.user, [1; 32], None).await,
        Refusal::EmailDiffers,
    );
    assert_refused(
        invitations.accept_as_newcomer([1; 32], newcomer("Eve")).await,
        Refusal::AccountExists,
    );
    assert_eq!(
        status(world, made.id).await,
        InvitationStatus::Open,
        "a refusal does not use it up"
    );
    let joined = invitations
        .accept(world.stranger.user, [1; 32], Some("Not looked at"))
        .await
        .unwrap();
    assert_eq!((joined.workspace, joined.role), (world.workspace.clone(), Role::Member));
    let mine = world.stores.workspaces.memberships(world.stranger.user).await.unwrap();
    assert_eq!(mine.len(), 2);
    let members = world
        .stores
        .workspaces
        .members(&world.owner, PageRequest::first(10))
        .await
        .unwrap();
    assert_eq!(members.items.len(), 3);
    assert!(members.items.iter().all(|member| member.display_name != "Not looked at"));
}

/// What is refused to owners, and to everybody else.
pub async fn who_invites_whom(world: &World) {
    let invitations = &world.stores.invitations;
    let new = |email: &str| world.invitation(9, email);
    let agent = world.agent_of(&world.owner).await;
    let made = invite(world, 1, "dora@example.org").await;
    for (caller, why) in [(&world.member, Refusal::OwnersOnly), (&agent, Refusal::PeopleOnly)] {
        assert_refused(invitations.create(caller, new("eve@example.org")).await, why.clone());
        assert_refused(invitations.list(caller, PageRequest::first(10)).await, why.clone());
        assert_refused(invitations.revoke(caller, made.id).await, why);
    }
    for email in ["", "nobody", "a@b@c", "a b@example.org"] {
        let refused = invitations.create(&world.owner, new(email)).await;
        assert_refused(refused, Refusal::Email);
    }
    for seconds in [0, 3599, 30 * 24 * 3600 + 1] {
        let lifetime = Duration::from_secs(seconds);
        let refused = invitations
            .create(
                &world.owner,
                NewInvitation {
                    lifetime,
                    ..new("eve@example.org")
                },
            )
            .await;
        assert_refused(refused, Refusal::InvitationLifetime);
    }
    assert_refused(
        invitations.create(&world.owner, new("BEN@example.org")).await,
        Refusal::AlreadyMember,
    );
    assert_refused(
        invitations.create(&world.owner, new("ana@example.org")).await,
        Refusal::AlreadyMember,
    );
    assert_refused(
        invitations.accept_as_newcomer([1; 32], newcomer("  ")).await,
        Refusal::NameLength { what: Named::Person },
    );
    assert_eq!(list(world).await.len(), 2, "the member's own, and the open one");
}

/// A closed invitation says why it is closed; one that never existed is not found.
pub async fn invitations_end(world: &World) {
    let invitations = &world.stores.invitations;
    assert_unknown(invitations.look_up([8; 32]).await);
    assert_unknown(invitations.accept(world.stranger.user, [8; 32], None).await);
    assert_unknown(invitations.accept_as_newcomer([8; 32], newcomer("Dora")).await);

    // Revoked.
    let revoked = invite(world, 1, "cleo@example.org").await;
    let gone = invitations.revoke(&world.owner, revoked.id).await.unwrap();
    assert_eq!(gone.status, InvitationStatus::Revoked);
    assert_eq!(invitations.revoke(&world.owner, revoked.id).await.unwrap(), gone);
    assert_refused(invitations.look_up([1; 32]).await, Refusal::InvitationRevoked);
    assert_refused(
        invitations.accept(world.stranger.user, [1; 32], None).await,
        Refusal::InvitationRevoked,
    );
    assert_unknown(invitations.revoke(&world.owner, world.env.id()).await);

    // Replaced by a newer one.
    let first = invite(world, 2, "cleo@example.org").await;
    let second = invite(world, 3, "cleo@example.org").await;
    assert_eq!(status(world, first.id).await, InvitationStatus::Revoked);
    assert_refused(
        invitations.accept(world.stranger.user, [2; 32], None).await,
        Refusal::InvitationRevoked,
    );

    // Expired.
    let lifetime = NewInvitation::SHORTEST;
    let new = NewInvitation {
        lifetime,
        ..world.invitation(4, "dora@example.org")
    };
    let short = invitations.create(&world.owner, new).await.unwrap();
    world.time.advance(lifetime);
    assert_eq!(status(world, short.id).await, InvitationStatus::Expired);
    assert_refused(invitations.look_up([4; 32]).await, Refusal::InvitationExpired);
    assert_refused(
        invitations.accept_as_newcomer([4; 32], newcomer("Dora")).await,
        Refusal::InvitationExpired,
    );
    let anew = invite(world, 5, "dora@example.org").await;
    assert_eq!(
        status(world, short.id).await,
        InvitationStatus::Expired,
        "it had ended before it was replaced"
    );
    assert_eq!(
        (status(world, anew.id).await, status(world, second.id).await),
        (InvitationStatus::Open, InvitationStatus::Open)
    );
    world.time.advance(NewInvitation::LIFETIME);
    assert_refused(
        invitations.accept(world.stranger.user, [3; 32], None).await,
        Refusal::InvitationExpired,
    );

    // Newest first, in pages.
    let all = list(world).await;
    assert!(all.windows(2).all(|pair| pair[0].created_at > pair[1].created_at));
    let mut paged = Vec::new();
    let mut cursor = None;
    loop {
        let ListPage { items, next_cursor } = invitations
            .list(&world.owner, PageRequest { cursor, limit: 2 })
            .await
            .unwrap();
        paged.extend(items);
        cursor = next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(paged, all);
}

/// Of fifty people who use the same link at once, one gets in.
pub async fn one_of_many_is_let_in(world: &World) {
    let invitations = &world.stores.invitations;
    invite(world, 1, "dora@example.org").await;
    let tries = join_all((0..50).map(|_| invitations.accept_as_newcomer([1; 32], newcomer("Dora")))).await;
    assert_eq!(tries.iter().filter(|tried| tried.is_ok()).count(), 1);
    invite(world, 2, "cleo@example.org").await;
    let tries = join_all((0..50).map(|_| invitations.accept(world.stranger.user, [2; 32], None))).await;
    assert_eq!(tries.iter().filter(|tried| tried.is_ok()).count(), 1);
    for refused in tries.into_iter().filter(Result::is_err) {
        assert_refused(refused, Refusal::InvitationUsed);
    }
    let members = world
        .stores
        .workspaces
        .members(&world.owner, PageRequest::first(200))
        .await
        .unwrap();
    assert_eq!(members.items.len(), 4);
}

/// The number of open invitations per workspace is limited; closed ones do not count.
pub async fn open_invitations_are_bounded(world: &World) {
    let invitations = &world.stores.invitations;
    for number in 0..NewInvitation::MOST_OPEN {
        let mut new = world.invitation(0, &format!("guest{number}@example.org"));
        new.token_hash[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
        invitations.create(&world.owner, new).await.unwrap();
    }
    assert_refused(
        invitations
            .create(&world.owner, world.invitation(200, "more@example.org"))
            .await,
        Refusal::InvitationsFull,
    );
    invitations
        .create(&world.owner, world.invitation(201, "guest7@example.org"))
        .await
        .expect("one that replaces another");
    world.time.advance(NewInvitation::LIFETIME);
    invitations
        .create(&world.owner, world.invitation(202, "more@example.org"))
        .await
        .expect("the others have expired");
}

/// Invitations of one workspace do not appear in another.
pub async fn invitations_stay_in_their_workspace(world: &World) {
    let invitations = &world.stores.invitations;
    let made = invite(world, 1, "dora@example.org").await;
    let there = invitations.list(&world.stranger, PageRequest::first(10)).await.unwrap();
    assert!(there.items.is_empty());
    let foreign = invitations.revoke(&world.stranger, made.id).await.unwrap_err();
    let absent = invitations.revoke(&world.stranger, world.env.id()).await.unwrap_err();
    assert_eq!(foreign.to_string(), absent.to_string());
    assert_eq!(status(world, made.id).await, InvitationStatus::Open);
    // The same address can be invited to both, and accepting one invitation leaves the other open.
    let other = world.invitation(2, "dora@example.org");
    invitations.create(&world.stranger, other).await.unwrap();
    let dora = invitations.accept_as_newcomer([2; 32], newcomer("Dora")).await.unwrap();
    assert_eq!(world.stores.workspaces.role(dora.id, world.workspace.id).await.unwrap(), None);
    assert_eq!(status(world, made.id).await, InvitationStatus::Open);
    invitations.accept(dora.id, [1; 32], None).await.unwrap();
}
