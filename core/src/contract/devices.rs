//! [`crate::ports::DeviceStore`].

use std::time::Duration;

use futures::future::join_all;

use super::{World, assert_refused};
use crate::{
    Caller,
    domain::{DeviceDecision, DeviceLogin, DeviceSession, DeviceState, NewDeviceLogin, Session, User},
    error::{StoreError, StoreResult},
    ids::SessionId,
    refusal::Refusal,
};

const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

fn device(byte: u8) -> NewDeviceLogin {
    NewDeviceLogin {
        device_hash: [byte; 32],
        user_hash: [byte ^ 0xff; 32],
        client: "duet on ana-laptop".into(),
        address: "2001:db8::7".into(),
    }
}

async fn ask(world: &World, byte: u8) -> DeviceLogin {
    world.stores.devices.create(device(byte)).await.unwrap()
}

async fn look(world: &World, byte: u8) -> DeviceState {
    world.stores.devices.look_up([byte ^ 0xff; 32]).await.unwrap().state
}

/// A sign-in by password, of now.
async fn sign_in(world: &World, caller: &Caller) -> SessionId {
    let now = world.env.now();
    let session = Session {
        id: world.env.id(),
        user_id: caller.user,
        created_at: now,
        expires_at: now.plus(LIFETIME),
        by_device: false,
        by_machine: false,
    };
    let id = session.id;
    let made = world.stores.accounts.create_session(session, world.env.bytes()).await;
    made.unwrap();
    id
}

async fn decide(world: &World, caller: &Caller, session: SessionId, byte: u8, approve: bool) -> StoreResult<DeviceLogin> {
    let decision = DeviceDecision {
        user: caller.user,
        session,
        user_hash: [byte ^ 0xff; 32],
        approve,
    };
    world.stores.devices.decide(decision).await
}

/// Asks for the sign-in, whose secret has this hash, after the time that a device waits.
async fn redeem(world: &World, byte: u8, secret: u8) -> StoreResult<(Session, User)> {
    world.time.advance(DeviceLogin::INTERVAL);
    redeem_now(world, byte, secret).await
}

async fn redeem_now(world: &World, byte: u8, secret: u8) -> StoreResult<(Session, User)> {
    let session = DeviceSession {
        id: world.env.id(),
        secret_hash: [secret; 32],
        lifetime: LIFETIME,
    };
    world.stores.devices.redeem([byte; 32], session).await
}

/// Asked for, shown, confirmed, fetched once; then a sign-in like others, which ends with them.
pub async fn life_of_a_device(world: &World) {
    let made = ask(world, 1).await;
    assert_eq!(
        (made.client.as_str(), made.address.as_str()),
        ("duet on ana-laptop", "2001:db8::7")
    );
    assert_eq!(made.state, DeviceState::Waiting);
    assert_eq!(made.expires_at.since(made.created_at), DeviceLogin::LIFETIME);
    assert_refused(world.stores.devices.create(device(1)).await, Refusal::Clash);
    assert_eq!(world.stores.devices.look_up([0xfe; 32]).await.unwrap(), made);
    let unknown = world.stores.devices.look_up([1; 32]).await;
    assert!(matches!(unknown, Err(StoreError::NotFound("the code"))), "{unknown:?}");
    assert_refused(redeem(world, 1, 11).await, Refusal::AuthorizationPending);

    let own = sign_in(world, &world.member).await;
    let approved = decide(world, &world.member, own, 1, true).await.unwrap();
    assert_eq!(approved.state, DeviceState::Approved);
    assert_eq!(
        decide(world, &world.member, own, 1, true).await.unwrap(),
        approved,
        "the same again"
    );
    for (caller, approve) in [(&world.member, false), (&world.owner, true)] {
        let session = sign_in(world, caller).await;
        let state = DeviceState::Approved;
        assert_refused(
            decide(world, caller, session, 1, approve).await,
            Refusal::DeviceDecided { state },
        );
    }

    let (session, user) = redeem(world, 1, 11).await.unwrap();
    assert_eq!((session.user_id, user.id), (world.member.user, world.member.user));
    assert_eq!(user.email, "ben@example.org");
    assert!(session.by_device);
    assert_eq!(session.expires_at.since(session.created_at), LIFETIME);
    let accounts = &world.stores.accounts;
    assert_eq!(accounts.session([11; 32]).await.unwrap(), Some((session, user)));
    assert_eq!(look(world, 1).await, DeviceState::Used);
    assert_refused(redeem(world, 1, 12).await, Refusal::ExpiredToken);
    assert!(accounts.session([12; 32]).await.unwrap().is_none());
    let state = DeviceState::Used;
    assert_refused(
        decide(world, &world.member, own, 1, true).await,
        Refusal::DeviceDecided { state },
    );
    accounts.end_session(world.member.user, own).await.unwrap();
    assert!(
        accounts.session([11; 32]).await.unwrap().is_some(),
        "a device that has its sign-in keeps it"
    );
    accounts.end_all_sessions(world.member.user).await.unwrap();
    assert!(accounts.session([11; 32]).await.unwrap().is_none());
}

/// A yes takes a sign-in that is the person's own, live, recent, and no device's; a no takes a live one.
pub async fn only_a_recent_password_lets_a_device_in(world: &World) {
    ask(world, 1).await;
    let owners = sign_in(world, &world.owner).await;
    for approve in [true, false] {
        assert_refused(decide(world, &world.member, owners, 1, approve).await, Refusal::NotLive);
        let nobodys = world.env.id();
        assert_refused(decide(world, &world.owner, nobodys, 1, approve).await, Refusal::NotLive);
    }
    decide(world, &world.owner, owners, 1, true).await.unwrap();
    let (by_device, _) = redeem(world, 1, 11).await.unwrap();
    ask(world, 2).await;
    assert_refused(decide(world, &world.owner, by_device.id, 2, true).await, Refusal::SignInAgain);
    world.time.advance(Session::RECENT);
    ask(world, 3).await;
    assert_refused(decide(world, &world.owner, owners, 3, true).await, Refusal::SignInAgain);
    assert_eq!(look(world, 3).await, DeviceState::Waiting);
    let denied = decide(world, &world.owner, owners, 3, false).await.unwrap();
    assert_eq!(denied.state, DeviceState::Denied);
    let accounts = &world.stores.accounts;
    accounts.end_session(world.owner.user, owners).await.unwrap();
    ask(world, 4).await;
    assert_refused(decide(world, &world.owner, owners, 4, false).await, Refusal::NotLive);
}

/// The device is told, and the no is final.
pub async fn a_device_that_is_refused(world: &World) {
    ask(world, 1).await;
    let own = sign_in(world, &world.owner).await;
    decide(world, &world.owner, own, 1, false).await.unwrap();
    decide(world, &world.owner, own, 1, false).await.unwrap();
    for _ in 0..2 {
        assert_refused(redeem(world, 1, 11).await, Refusal::AccessDenied);
    }
    let state = DeviceState::Denied;
    assert_refused(
        decide(world, &world.owner, own, 1, true).await,
        Refusal::DeviceDecided { state },
    );
    assert!(world.stores.accounts.session([11; 32]).await.unwrap().is_none());
}

/// A code that nobody used in time is good for nothing, confirmed or not.
pub async fn codes_end(world: &World) {
    ask(world, 1).await;
    ask(world, 2).await;
    let own = sign_in(world, &world.owner).await;
    decide(world, &world.owner, own, 2, true).await.unwrap();
    world.time.advance(DeviceLogin::LIFETIME);
    let own = sign_in(world, &world.owner).await;
    let state = DeviceState::Expired;
    for byte in [1, 2] {
        assert_eq!(look(world, byte).await, state);
        assert_refused(redeem(world, byte, 11).await, Refusal::ExpiredToken);
        for approve in [true, false] {
            assert_refused(
                decide(world, &world.owner, own, byte, approve).await,
                Refusal::DeviceDecided { state },
            );
        }
    }
    assert_refused(redeem(world, 9, 11).await, Refusal::ExpiredToken);
    assert!(world.stores.accounts.session([11; 32]).await.unwrap().is_none());
}

/// Each question counts, the ones that came too soon too.
pub async fn asking_too_often(world: &World) {
    ask(world, 1).await;
    assert_refused(redeem_now(world, 1, 11).await, Refusal::AuthorizationPending);
    let own = sign_in(world, &world.owner).await;
    decide(world, &world.owner, own, 1, true).await.unwrap();
    for _ in 0..2 {
        world.time.advance(DeviceLogin::INTERVAL - Duration::from_secs(1));
        assert_refused(redeem_now(world, 1, 11).await, Refusal::SlowDown);
    }
    redeem(world, 1, 11).await.unwrap();
}

/// Who signs out after a yes has not let the device in.
pub async fn a_yes_ends_with_its_sign_in(world: &World) {
    let accounts = &world.stores.accounts;
    let own = sign_in(world, &world.owner).await;
    for byte in [1, 2] {
        ask(world, byte).await;
    }
    decide(world, &world.owner, own, 1, true).await.unwrap();
    accounts.end_session(world.owner.user, own).await.unwrap();
    assert_refused(redeem(world, 1, 11).await, Refusal::ExpiredToken);
    let own = sign_in(world, &world.owner).await;
    decide(world, &world.owner, own, 2, true).await.unwrap();
    accounts.end_all_sessions(world.owner.user).await.unwrap();
    assert_refused(redeem(world, 2, 11).await, Refusal::ExpiredToken);
    // A short sign-in runs out before the code does.
    ask(world, 3).await;
    let now = world.env.now();
    let short = Session {
        id: world.env.id(),
        user_id: world.owner.user,
        created_at: now,
        expires_at: now.plus(Duration::from_secs(60)),
        by_device: false,
        by_machine: false,
    };
    accounts.create_session(short.clone(), [3; 32]).await.unwrap();
    decide(world, &world.owner, short.id, 3, true).await.unwrap();
    world.time.advance(Duration::from_secs(60));
    assert_refused(redeem(world, 3, 11).await, Refusal::ExpiredToken);
    assert!(accounts.session([11; 32]).await.unwrap().is_none());
}

/// Two questions, or two answers, at once count as one.
pub async fn of_many_questions_one_is_answered(world: &World) {
    ask(world, 1).await;
    let (owner, member) = (sign_in(world, &world.owner).await, sign_in(world, &world.member).await);
    let answers = (0..10).map(|number| match number % 2 {
        0 => decide(world, &world.owner, owner, 1, true),
        _ => decide(world, &world.member, member, 1, true),
    });
    let answers: Vec<_> = join_all(answers).await;
    assert_eq!(
        answers.iter().filter(|answer| answer.is_ok()).count(),
        5,
        "one person's: {answers:?}"
    );
    world.time.advance(DeviceLogin::INTERVAL);
    let questions = (0..10).map(|number| redeem_now(world, 1, 100 + number));
    let won: Vec<_> = join_all(questions).await.into_iter().filter_map(Result::ok).collect();
    assert_eq!(won.len(), 1);
    let mut open = 0;
    for number in 0..10 {
        open += usize::from(world.stores.accounts.session([100 + number; 32]).await.unwrap().is_some());
    }
    assert_eq!(open, 1);
}

/// Only so many wait at a time; the others make room as they are decided or expire.
pub async fn devices_are_bounded(world: &World) {
    let numbered = |number: usize| {
        let (mut device_hash, mut user_hash) = ([0; 32], [1; 32]);
        device_hash[..8].copy_from_slice(&number.to_be_bytes());
        user_hash[..8].copy_from_slice(&number.to_be_bytes());
        NewDeviceLogin {
            device_hash,
            user_hash,
            ..device(0)
        }
    };
    let devices = &world.stores.devices;
    for number in 0..DeviceLogin::MOST_WAITING {
        devices.create(numbered(number)).await.unwrap();
    }
    assert_refused(devices.create(device(77)).await, Refusal::DeviceLoginsFull);
    let own = sign_in(world, &world.owner).await;
    let decision = |approve| DeviceDecision {
        user: world.owner.user,
        session: own,
        user_hash: numbered(0).user_hash,
        approve,
    };
    devices.decide(decision(false)).await.unwrap();
    ask(world, 77).await;
    assert_refused(devices.create(device(78)).await, Refusal::DeviceLoginsFull);
    world.time.advance(DeviceLogin::LIFETIME);
    ask(world, 78).await;
}

/// What a device calls itself is read by the person who decides.
pub async fn names_of_devices(world: &World) {
    for client in ["", " ", " duet", "a\u{202e}b", &"x".repeat(DeviceLogin::MAX_CLIENT + 1)] {
        let named = NewDeviceLogin {
            client: client.into(),
            ..device(1)
        };
        assert_refused(world.stores.devices.create(named).await, Refusal::DeviceName);
    }
}

/// An hour after its code expired, nothing of a device is left.
pub async fn devices_are_swept(world: &World) {
    ask(world, 1).await;
    world
        .time
        .advance(DeviceLogin::LIFETIME + DeviceLogin::KEPT - Duration::from_secs(10));
    world.stores.system.sweep().await.unwrap();
    assert_eq!(look(world, 1).await, DeviceState::Expired);
    world.time.advance(Duration::from_secs(10));
    let gone = world.stores.devices.look_up([0xfe; 32]).await;
    assert!(matches!(gone, Err(StoreError::NotFound("the code"))), "{gone:?}");
    assert_eq!(world.stores.system.sweep().await.unwrap(), 1);
    ask(world, 1).await;
}
