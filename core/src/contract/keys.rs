//! [`crate::ports::KeyStore`].

use std::time::Duration;

use futures::future::join_all;

use super::{World, assert_refused};
use crate::{
    clock::Timestamp,
    domain::{KeyScope, NewApiKey, Role},
    error::StoreError,
    refusal::{Named, Refusal},
};

fn key(world: &World, secret: u8, scopes: &[KeyScope], expires_at: Option<Timestamp>) -> NewApiKey {
    NewApiKey {
        id: world.env.id(),
        name: "Laptop".into(),
        prefix: "duet_abc".into(),
        secret_hash: [secret; 32],
        scopes: scopes.iter().copied().collect(),
        expires_at,
    }
}

/// Created, found by its hash, listed without it, revoked for good.
pub async fn life_of_a_key(world: &World) {
    let (keys, system) = (&world.stores.keys, &world.stores.system);
    let made = keys
        .create(&world.member, key(world, 1, &[KeyScope::Chat], None))
        .await
        .unwrap();
    assert_eq!((made.user_id, made.workspace_id), (world.member.user, world.workspace.id));
    let (found, role) = system.api_key([1; 32]).await.unwrap().expect("a key");
    assert_eq!((found.id, role), (made.id, Role::Member));
    assert!(system.api_key([2; 32]).await.unwrap().is_none());
    let hour = world.env.now().plus(Duration::from_secs(3600));
    keys.create(&world.member, key(world, 3, &[KeyScope::Chat], Some(hour)))
        .await
        .unwrap();
    assert_eq!(keys.list(&world.member).await.unwrap().len(), 2);
    assert!(keys.list(&world.owner).await.unwrap().is_empty(), "keys are a person's own");

    assert!(matches!(
        keys.revoke(&world.owner, made.id).await,
        Err(StoreError::NotFound(_))
    ));
    let revoked = keys.revoke(&world.member, made.id).await.unwrap();
    assert!(revoked.revoked_at.is_some());
    assert_eq!(
        keys.revoke(&world.member, made.id).await.unwrap().revoked_at,
        revoked.revoked_at
    );
    assert!(system.api_key([1; 32]).await.unwrap().is_none());
    assert!(system.api_key([3; 32]).await.unwrap().is_some());
    world.time.advance(Duration::from_secs(3601));
    assert!(system.api_key([3; 32]).await.unwrap().is_none(), "expired");
}

/// A client chooses the id: the same request again gives the same key, and another person's id is refused.
pub async fn ids_of_keys(world: &World) {
    let keys = &world.stores.keys;
    let new = key(world, 8, &[KeyScope::Chat], None);
    let at_once = join_all((0..8).map(|_| keys.create(&world.owner, new.clone()))).await;
    let made = at_once[0].as_ref().unwrap();
    assert!(at_once.iter().all(|again| again.as_ref().ok() == Some(made)), "{at_once:?}");
    let others = NewApiKey {
        id: made.id,
        ..key(world, 9, &[KeyScope::Chat], None)
    };
    assert_refused(
        keys.create(&world.member, others).await,
        Refusal::IdTaken { what: Named::Key },
    );
    assert!(keys.list(&world.member).await.unwrap().is_empty());
}

/// A key never grants more than its person has.
pub async fn scopes_of_keys(world: &World) {
    let keys = &world.stores.keys;
    assert_refused(
        keys.create(&world.member, key(world, 4, &[KeyScope::Admin], None)).await,
        Refusal::OwnersOnly,
    );
    keys.create(&world.owner, key(world, 5, &[KeyScope::Admin], None))
        .await
        .unwrap();
    assert_refused(keys.create(&world.owner, key(world, 6, &[], None)).await, Refusal::NoScopes);
    let agent = world.agent_of(&world.owner).await;
    assert_refused(
        keys.create(&agent, key(world, 7, &[KeyScope::Chat], None)).await,
        Refusal::PeopleOnly,
    );
}
