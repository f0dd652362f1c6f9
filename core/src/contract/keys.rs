//! [`crate::ports::KeyStore`].

use std::time::Duration;

use super::{World, assert_refused};
use crate::{
    clock::Timestamp,
    domain::{KeyScope, NewApiKey, Role},
    error::StoreError,
    refusal::Refusal,
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
    assert!(
        matches!(
            keys.create(&world.owner, key(world, 6, &[], None)).await,
            Err(StoreError::Invalid(_))
        ),
        "a key for nothing"
    );
    let agent = world.agent_of(&world.owner).await;
    assert_refused(
        keys.create(&agent, key(world, 7, &[KeyScope::Chat], None)).await,
        Refusal::PeopleOnly,
    );
}
