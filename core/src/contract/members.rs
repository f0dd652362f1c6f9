//! What ends with a membership, and who may end it.

use std::time::Duration;

use futures::future::join_all;

use super::{
    World, Writes, assert_refused,
    invitations::{actions, invite, status},
};
use crate::{
    caller::Caller,
    domain::{
        EventKind, InvitationStatus, KeyScope, LeasePolicy, LogRange, NewApiKey, NewInvitation, Role, RunEvent, RunStatus,
        Session,
    },
    error::StoreError,
    refusal::Refusal,
};

/// A removed member's open work ends with the membership; sign-ins and other workspaces are unaffected; returning works.
pub async fn removal(world: &World) {
    let (stores, ben) = (&world.stores, &world.member);
    let conversation = world.conversation(ben).await;
    let turn = world.ask(ben, conversation.id, "Think long").await;
    let running = world.claim().await.expect("the run");
    let waiting = world.ask(ben, world.conversation(ben).await.id, "Wait").await;
    let others = world
        .ask(&world.owner, world.conversation(&world.owner).await.id, "Mine")
        .await;
    let key = |secret: u8| NewApiKey {
        id: world.env.id(),
        name: "Laptop".into(),
        prefix: "duet_abc".into(),
        secret_hash: [secret; 32],
        scopes: [KeyScope::Chat].into(),
        expires_at: None,
    };
    stores.keys.create(ben, key(1)).await.unwrap();
    stores.keys.create(&world.owner, key(2)).await.unwrap();
    let now = world.env.now();
    let session = Session {
        id: world.env.id(),
        user_id: ben.user,
        created_at: now,
        expires_at: now.plus(Duration::from_secs(3600)),
        by_device: false,
        by_machine: false,
    };
    stores.accounts.create_session(session, [3; 32]).await.unwrap();
    let own = world.env.id();
    stores.workspaces.create(ben.user, own, "Ben's", "Bo").await.unwrap();

    assert_refused(
        stores.workspaces.remove_member(ben, world.owner.user).await,
        Refusal::OwnersOnly,
    );
    let agent = world.agent_of(&world.owner).await;
    assert_refused(stores.workspaces.remove_member(&agent, ben.user).await, Refusal::PeopleOnly);
    assert!(matches!(
        stores.workspaces.remove_member(&world.owner, world.stranger.user).await,
        Err(StoreError::NotFound("the member"))
    ));
    stores.workspaces.remove_member(&world.owner, ben.user).await.unwrap();

    assert_eq!(stores.workspaces.role(ben.user, world.workspace.id).await.unwrap(), None);
    assert!(stores.system.api_key([1; 32]).await.unwrap().is_none(), "their key is dead");
    assert!(stores.system.api_key([2; 32]).await.unwrap().is_some());
    assert!(
        stores.accounts.session([3; 32]).await.unwrap().is_some(),
        "they are signed in still"
    );
    let theirs = Caller::person(ben.user, own, Role::Owner);
    assert_eq!(stores.workspaces.workspace(&theirs).await.unwrap().name, "Ben's");

    // Their active run no longer belongs to a worker, and none of their runs is claimed again.
    let late = stores
        .run_log
        .append(running.run.id, running.lease, running.run.last_seq, world.env.id(), vec![])
        .await;
    assert_refused(late, Refusal::LeaseLost);
    assert_eq!(world.claim().await.map(|claim| claim.run.id), Some(others.run_id));
    world.outlive_leases();
    assert_eq!(world.claim().await.map(|claim| claim.run.id), Some(others.run_id));

    // After a new invitation their data is back, and the runs say why they ended.
    invite(world, 5, "ben@example.org").await;
    stores.invitations.accept(ben.user, [5; 32], None).await.unwrap();
    for run in [turn.run_id, waiting.run_id] {
        let run = stores.runs.run(ben, run).await.unwrap().expect("their run");
        assert_eq!(run.status, RunStatus::Parked);
        assert!(run.reason.is_some_and(|reason| reason.contains("no longer a member")));
        let page = stores.runs.events(ben, run.id, LogRange::whole(0, 100)).await.unwrap();
        assert!(page.ended && page.events.last().is_some_and(|last| last.kind == EventKind::Done));
        assert!(matches!(page.events[0].event, Some(RunEvent::Started { .. })));
    }
    assert!(stores.system.api_key([1; 32]).await.unwrap().is_none(), "revoked for good");
    world.ask(ben, conversation.id, "Again").await;
    let removed = ("member.remove".to_owned(), format!("user:{}", ben.user));
    assert!(actions(world).await.contains(&removed));
}

/// Everybody but the last owner may leave; of owners who remove each other at once, one stays.
pub async fn leaving(world: &World) {
    let (workspaces, invitations) = (&world.stores.workspaces, &world.stores.invitations);
    assert_refused(
        workspaces.remove_member(&world.owner, world.owner.user).await,
        Refusal::LastOwner,
    );
    workspaces.remove_member(&world.member, world.member.user).await.unwrap();
    assert!(
        workspaces.remove_member(&world.member, world.member.user).await.is_err(),
        "gone already"
    );
    let left = ("member.leave".to_owned(), format!("user:{}", world.member.user));
    assert!(actions(world).await.contains(&left));

    for round in 0..5 {
        let new = NewInvitation {
            role: Role::Owner,
            ..world.invitation(10 + round, "cleo@example.org")
        };
        invitations.create(&world.owner, new).await.unwrap();
        invitations.accept(world.stranger.user, [10 + round; 32], None).await.unwrap();
        let cleo = Caller::person(world.stranger.user, world.workspace.id, Role::Owner);
        let (one, other) = futures::join!(
            workspaces.remove_member(&world.owner, cleo.user),
            workspaces.remove_member(&cleo, world.owner.user)
        );
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
        let (stays, gone) = if one.is_ok() {
            (&world.owner, &cleo)
        } else {
            (&cleo, &world.owner)
        };
        assert_eq!(workspaces.role(gone.user, world.workspace.id).await.unwrap(), None);
        assert_refused(workspaces.remove_member(stays, stays.user).await, Refusal::LastOwner);
        if one.is_err() {
            let new = NewInvitation {
                role: Role::Owner,
                ..world.invitation(30 + round, "ana@example.org")
            };
            invitations.create(&cleo, new).await.unwrap();
            invitations.accept(world.owner.user, [30 + round; 32], None).await.unwrap();
            workspaces.remove_member(&world.owner, cleo.user).await.unwrap();
        }
    }
}

/// Owners change roles; there is always at least one owner. Somebody who is no longer an owner has no open invitations.
pub async fn roles(world: &World) {
    let (workspaces, invitations) = (&world.stores.workspaces, &world.stores.invitations);
    assert_refused(
        workspaces.change_role(&world.member, world.member.user, Role::Owner).await,
        Refusal::OwnersOnly,
    );
    let agent = world.agent_of(&world.owner).await;
    assert_refused(
        workspaces.change_role(&agent, world.member.user, Role::Owner).await,
        Refusal::PeopleOnly,
    );
    assert!(matches!(
        workspaces.change_role(&world.owner, world.stranger.user, Role::Owner).await,
        Err(StoreError::NotFound("the member"))
    ));
    assert_refused(
        workspaces.change_role(&world.owner, world.owner.user, Role::Member).await,
        Refusal::LastOwner,
    );
    for _ in 0..2 {
        let ben = workspaces
            .change_role(&world.owner, world.member.user, Role::Owner)
            .await
            .unwrap();
        assert_eq!((ben.user_id, ben.role), (world.member.user, Role::Owner));
    }
    let ben = Caller::person(world.member.user, world.workspace.id, Role::Owner);
    let his = invitations
        .create(&ben, world.invitation(1, "dora@example.org"))
        .await
        .unwrap();
    let hers = invite(world, 2, "eve@example.org").await;
    workspaces.change_role(&world.owner, ben.user, Role::Member).await.unwrap();
    assert_eq!(status(world, his.id).await, InvitationStatus::Revoked);
    assert_eq!(status(world, hers.id).await, InvitationStatus::Open);
    // Their caller was made before the change; the store checks again.
    assert_refused(
        invitations.create(&ben, world.invitation(3, "dora@example.org")).await,
        Refusal::OwnersOnly,
    );
    assert_refused(workspaces.remove_member(&ben, world.owner.user).await, Refusal::OwnersOnly);
    let changes = actions(world)
        .await
        .into_iter()
        .filter(|(action, _)| action == "member.role")
        .count();
    assert_eq!(changes, 2, "what changes nothing is not on record");
}

/// A turn started at the moment of a removal is either refused or ends with the membership.
pub async fn no_turn_slips_through(world: &World) {
    let (stores, ben) = (&world.stores, &world.member);
    for round in 0..10 {
        let mut conversations = Vec::new();
        for _ in 0..5 {
            conversations.push(world.conversation(ben).await.id);
        }
        let turns = join_all(
            conversations
                .into_iter()
                .map(|conversation| stores.runs.start_turn(ben, world.turn(conversation, "Quick"))),
        );
        let claims = join_all((0..3).map(|_| stores.system.claim_run(LeasePolicy::default(), EventKind::ALL)));
        let (turns, claims, removed) = futures::join!(turns, claims, stores.workspaces.remove_member(&world.owner, ben.user));
        removed.unwrap();
        for claim in claims.into_iter().filter_map(|claim| claim.unwrap()) {
            let late = stores
                .run_log
                .append(claim.run.id, claim.lease, claim.run.last_seq, world.env.id(), vec![])
                .await;
            // No run continues without its person.
            assert_refused(late, Refusal::LeaseLost);
        }
        assert!(world.claim().await.is_none());
        invite(world, 20 + round, "ben@example.org").await;
        stores.invitations.accept(ben.user, [20 + round; 32], None).await.unwrap();
        for turn in turns.into_iter().flatten() {
            let run = stores.runs.run(ben, turn.run_id).await.unwrap().expect("a run");
            assert_eq!(run.status, RunStatus::Parked);
        }
    }
}
