//! [`crate::ports::AccountStore`].

use std::time::Duration;

use futures::future::join_all;

use super::{World, assert_refused};
use crate::{
    clock::Timestamp,
    domain::{AgentKind, Role, Session},
    refusal::Refusal,
};

/// Set-up happens once and leaves what a first conversation needs.
pub async fn one_owner(world: &World) {
    let accounts = &world.stores.accounts;
    assert!(!accounts.needs_owner().await.unwrap());
    assert_refused(accounts.put_setup_token([8; 32]).await, Refusal::SetUp);
    assert_refused(
        accounts.create_owner(World::setup([7; 32], "eve@example.org")).await,
        Refusal::SetUp,
    );
    assert!(
        accounts.credentials("eve@example.org").await.unwrap().is_none(),
        "nothing of a refused set-up stays"
    );
    assert_eq!(
        world
            .stores
            .workspaces
            .role(world.owner.user, world.workspace.id)
            .await
            .unwrap(),
        Some(Role::Owner)
    );
    let agents = world.stores.agents.agents(&world.owner).await.unwrap();
    let kinds: Vec<AgentKind> = agents.iter().map(|agent| agent.kind).collect();
    assert_eq!(kinds, [AgentKind::CompanionPrimary, AgentKind::ExecutorPrimary]);
    assert!(agents.iter().all(|agent| agent.name == "Juno"));
    assert!(
        world
            .stores
            .agents
            .soul(&world.owner)
            .await
            .unwrap()
            .soul
            .identity
            .contains("Juno")
    );
}

/// Set-up itself, on stores without an owner (every [`World`] has one): wrong tokens are refused, the newest token works once, of
/// many callers one wins.
pub async fn set_up(harness: &dyn super::Harness) {
    let accounts = harness.stores().accounts;
    assert!(accounts.needs_owner().await.unwrap());
    assert_refused(
        accounts.create_owner(World::setup([1; 32], "ana@example.org")).await,
        Refusal::WrongSetupToken,
    );
    assert_refused(accounts.check_setup_token([1; 32]).await, Refusal::WrongSetupToken);
    accounts.put_setup_token([1; 32]).await.unwrap();
    accounts.put_setup_token([2; 32]).await.unwrap();
    assert_refused(
        accounts.create_owner(World::setup([1; 32], "ana@example.org")).await,
        Refusal::WrongSetupToken,
    );
    assert_refused(accounts.check_setup_token([1; 32]).await, Refusal::WrongSetupToken);
    accounts.check_setup_token([2; 32]).await.unwrap();
    assert!(
        accounts.needs_owner().await.unwrap(),
        "a wrong token changes nothing, and checking uses none up"
    );
    let tries = (0..50).map(|index| accounts.create_owner(World::setup([2; 32], &format!("p{index}@example.org"))));
    let won = join_all(tries).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(won, 1, "exactly one becomes owner");
    assert_refused(accounts.check_setup_token([2; 32]).await, Refusal::SetUp);
    assert!(!accounts.needs_owner().await.unwrap());
}

/// Email addresses are compared in lower case.
pub async fn credentials(world: &World) {
    let accounts = &world.stores.accounts;
    let found = accounts.credentials("Ana@Example.ORG").await.unwrap().expect("the owner");
    assert_eq!(
        (found.user.id, found.user.email.as_str()),
        (world.owner.user, "ana@example.org")
    );
    assert!(found.password_hash.starts_with("$argon2id$"));
    assert!(accounts.credentials("nobody@example.org").await.unwrap().is_none());
}

/// Sign-ins expire, end one by one, and end all at once.
pub async fn sessions(world: &World) {
    let accounts = &world.stores.accounts;
    // Where the store keeps the world's own sign-in, it goes first.
    accounts.end_all_sessions(world.owner.user).await.unwrap();
    let now = world.env.now();
    let session = |user, expires_at: Timestamp| Session {
        id: world.env.id(),
        user_id: user,
        created_at: now,
        expires_at,
        by_device: false,
        by_machine: false,
    };
    let hour = now.plus(Duration::from_secs(3600));
    let (a, b, c) = (
        session(world.owner.user, hour),
        session(world.owner.user, hour),
        session(world.member.user, hour),
    );
    for (session, secret) in [(&a, 1), (&b, 2), (&c, 3)] {
        accounts.create_session(session.clone(), [secret; 32]).await.unwrap();
    }
    let (found, user) = accounts.session([1; 32]).await.unwrap().expect("signed in");
    assert_eq!((found, user.id), (a.clone(), world.owner.user));
    assert!(accounts.session([9; 32]).await.unwrap().is_none());

    accounts.end_session(world.member.user, a.id).await.unwrap();
    assert!(
        accounts.session([1; 32]).await.unwrap().is_some(),
        "nobody ends another's sign-in"
    );
    accounts.end_session(world.owner.user, a.id).await.unwrap();
    accounts.end_session(world.owner.user, a.id).await.unwrap();
    assert!(accounts.session([1; 32]).await.unwrap().is_none());

    accounts
        .create_session(session(world.owner.user, hour), [4; 32])
        .await
        .unwrap();
    assert_eq!(accounts.end_all_sessions(world.owner.user).await.unwrap(), 2);
    assert!(accounts.session([2; 32]).await.unwrap().is_none());
    assert!(
        accounts.session([3; 32]).await.unwrap().is_some(),
        "another person's sign-in goes on"
    );
    world.time.advance(Duration::from_secs(3601));
    assert!(accounts.session([3; 32]).await.unwrap().is_none(), "expired");
}
