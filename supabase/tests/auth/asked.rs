//! Tokens of the legacy shared secret: Auth is asked only about plausible ones, and answers are cached for seconds.

use std::{sync::atomic::Ordering, time::Duration};

use duet_supabase::auth::TokenError;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::issuer::*;

fn legacy(claims: &Value) -> String {
    hs256(SECRET, &json!({"alg": "HS256", "typ": "JWT"}), claims)
}

impl Project {
    /// A token that the server considers valid.
    fn known(&self, claims: &Value) -> SecretString {
        let token = legacy(claims);
        self.known
            .lock()
            .unwrap()
            .insert(token.clone(), (200, json!({"id": USER, "email": "ana@example.org"})));
        token.into()
    }

    fn forget(&self) {
        self.known.lock().unwrap().clear();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_is_asked_once_in_ten_seconds() {
    let project = Project::start(Keys::Publish(Vec::new())).await;
    let auth = project.auth();
    let token = project.known(&project.claims());
    for _ in 0..5 {
        assert_eq!(auth.verify(&token).await.unwrap().user.to_string(), USER);
    }
    assert_eq!(project.counters.users(), 1);
    assert_eq!(project.counters.key_sets(), 0, "no key is needed for it");
    // Signed out: noticed within ten seconds.
    project.forget();
    project.time.advance(Duration::from_secs(9));
    assert!(auth.verify(&token).await.is_ok());
    project.time.advance(Duration::from_secs(1));
    assert!(matches!(auth.verify(&token).await, Err(TokenError::NotValid(_))));
    assert_eq!(project.counters.users(), 2);
    // The refusal is cached as well.
    assert!(auth.verify(&token).await.is_err());
    assert_eq!(project.counters.users(), 2);
    // An old token has no issuer; Auth vouches only for its own.
    let token = project.known(&with(&project.claims(), "iss", json!(null)));
    assert!(auth.verify(&token).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_to_begin_with_is_not_asked_about() {
    let project = Project::start(Keys::Publish(Vec::new())).await;
    let auth = project.auth();
    for (field, value) in [
        ("aud", json!("anon")),
        ("role", json!("service_role")),
        ("role", json!("anon")),
        ("iss", json!("https://other.supabase.co/auth/v1")),
        ("iss", json!("supabase")),
        ("sub", json!("x")),
        ("session_id", json!(null)),
        ("exp", json!((NOW + 60).to_string())),
        ("exp", json!(NOW)),
        ("iat", json!(NOW + 600)),
        ("is_anonymous", json!(true)),
    ] {
        let token = project.known(&with(&project.claims(), field, value.clone()));
        assert!(auth.verify(&token).await.is_err(), "{field} = {value}");
    }
    for header in [
        json!({"alg": "HS256"}),
        json!({"alg": "HS256", "typ": "JWT", "crit": ["exp"]}),
        json!({"alg": "HS384", "typ": "JWT"}),
        json!({"alg": "none", "typ": "JWT"}),
    ] {
        assert!(
            auth.verify(&hs256(SECRET, &header, &project.claims()).into()).await.is_err(),
            "{header}"
        );
    }
    assert_eq!(project.counters.users(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_has_to_be_about_the_same_person() {
    let project = Project::start(Keys::Publish(Vec::new())).await;
    let auth = project.auth();
    let token = legacy(&project.claims());
    let other = json!({"id": "0199d6a0-0000-7000-8000-0000000000cc"});
    project.known.lock().unwrap().insert(token.clone(), (200, other));
    assert_eq!(
        auth.verify(&token.into()).await,
        Err(TokenError::NotValid("another person's"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_in_trouble_refuses_nobody_for_good() {
    let project = Project::start(Keys::Publish(Vec::new())).await;
    let auth = project.auth();
    let token = legacy(&project.claims());
    for (status, body) in [
        (500, json!({"message": "trouble"})),
        (503, json!({})),
        (429, json!({"code": "over_request_rate_limit"})),
        (200, json!({"name": "nobody"})),
        (200, json!([])),
        (404, json!({})),
    ] {
        project.known.lock().unwrap().insert(token.clone(), (status, body.clone()));
        let verdict = auth.verify(&token.clone().into()).await;
        assert!(
            matches!(verdict, Err(TokenError::Unavailable(_))),
            "{status} {body}: {verdict:?}"
        );
    }
    // And nothing of it was cached.
    let good = project.known(&project.claims());
    assert!(auth.verify(&good).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_publishable_key_is_told_apart_from_a_wrong_token() {
    let project = Project::start(Keys::Publish(Vec::new())).await;
    let settings = duet_supabase::auth::AuthSettings {
        publishable_key: "sb_publishable_other".into(),
        ..project.settings(Duration::from_secs(5))
    };
    let auth = duet_supabase::auth::Auth::new(settings, project.time.env());
    let token = project.known(&project.claims());
    let Err(TokenError::Unavailable(sentence)) = auth.verify(&token).await else {
        panic!("a wrong key refuses nobody for good");
    };
    assert!(sentence.contains("supabase.publishable_key"), "{sentence}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_is_asked_about_in_turn_and_pushes_nobody_out() {
    let project = Project::start(Keys::Publish(Vec::new())).await;
    let auth = project.auth();
    let good = project.known(&project.claims());
    assert!(auth.verify(&good).await.is_ok());
    let flood: Vec<SecretString> = (0..200)
        .map(|index| legacy(&with(&project.claims(), "aal", json!(index))).into())
        .collect();
    let verdicts = futures::future::join_all(flood.iter().map(|token| auth.verify(token))).await;
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Err(TokenError::NotValid(_)))));
    assert!(project.counters.most_at_once.load(Ordering::SeqCst) <= 16);
    assert_eq!(project.counters.users(), 201);
    assert!(auth.verify(&good).await.is_ok());
    assert_eq!(project.counters.users(), 201, "the good one is still remembered");
}
