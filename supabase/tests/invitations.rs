//! Whose address counts as proved when people sign in with Supabase Auth: only what `auth.users` says, nothing from a token.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use duet_core::{
    StoreError,
    contract::{World, assert_refused},
    domain::{Newcomer, Role},
    ids::{Id, UserId},
    refusal::Refusal,
};
use duet_supabase::testing::TestDatabase;

/// Creates the part of Supabase's table that Duet reads, with the grants that projects give to the database's owner.
async fn with_supabase_auth(db: &TestDatabase) {
    let mut superuser = db.superuser().await;
    sqlx::raw_sql(
        "create table auth.users (id uuid primary key, email text, email_confirmed_at timestamptz, raw_user_meta_data jsonb,
             is_anonymous boolean not null default false, banned_until timestamptz, deleted_at timestamptz);
         grant all on auth.users to postgres",
    )
    .execute(&mut superuser)
    .await
    .unwrap();
}

async fn signed_up(db: &TestDatabase, id: UserId, email: &str, confirmed: bool) {
    sqlx::query("insert into auth.users values ($1, $2, case when $3 then now() end, '{\"email\": \"dora@example.org\"}')")
        .bind(id.uuid())
        .bind(email)
        .bind(confirmed)
        .execute(&mut db.owner().await)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_confirmed_address_lets_in_and_makes_the_account() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    with_supabase_auth(&db).await;
    let invitations = &world.stores.invitations;
    let (dora, eve): (UserId, UserId) = (world.env.id(), world.env.id());
    signed_up(&db, dora, "Dora@Example.org", false).await;
    // A person whose metadata claims the address.
    signed_up(&db, eve, "eve@example.org", true).await;
    invitations
        .create(&world.owner, world.invitation(1, "dora@example.org"))
        .await
        .unwrap();

    assert_refused(
        invitations.accept(dora, [1; 32], Some("Dora")).await,
        Refusal::EmailUnconfirmed,
    );
    assert_refused(invitations.accept(eve, [1; 32], Some("Eve")).await, Refusal::EmailDiffers);
    let nobody: UserId = world.env.id();
    assert_refused(
        invitations.accept(nobody, [1; 32], Some("Nobody")).await,
        Refusal::EmailUnconfirmed,
    );
    sqlx::query("update auth.users set email_confirmed_at = now() where id = $1")
        .bind(dora.uuid())
        .execute(&mut db.owner().await)
        .await
        .unwrap();
    let nameless = invitations.accept(dora, [1; 32], None).await;
    assert!(matches!(nameless, Err(StoreError::Invalid(_))), "{nameless:?}");
    let joined = invitations.accept(dora, [1; 32], Some(" Dora ")).await.unwrap();
    assert_eq!((joined.workspace.id, joined.role), (world.workspace.id, Role::Member));
    let (email, name): (String, String) = sqlx::query_as("select email, display_name from duet.account where id = $1")
        .bind(dora.uuid())
        .fetch_one(&mut db.owner().await)
        .await
        .unwrap();
    assert_eq!((email.as_str(), name.as_str()), ("dora@example.org", "Dora"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_one_account() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    let invitations = &world.stores.invitations;
    // A person of the built-in issuer: their invitation proved their address, whatever Auth knows.
    invitations
        .create(&world.owner, world.invitation(1, "dora@example.org"))
        .await
        .unwrap();
    let newcomer = Newcomer {
        display_name: "Dora".into(),
        password_hash: "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g".into(),
    };
    let dora = invitations.accept_as_newcomer([1; 32], newcomer).await.unwrap();
    world.stores.workspaces.remove_member(&world.owner, dora.id).await.unwrap();
    with_supabase_auth(&db).await;
    invitations
        .create(&world.owner, world.invitation(2, "dora@example.org"))
        .await
        .unwrap();
    // The same address again at Auth, as another person's id.
    let twin: UserId = world.env.id();
    signed_up(&db, twin, "dora@example.org", true).await;
    let refused = invitations.accept(twin, [2; 32], Some("Dora")).await;
    assert_refused(refused, Refusal::AccountDiffers);
    invitations.accept(dora.id, [2; 32], None).await.unwrap();
}
