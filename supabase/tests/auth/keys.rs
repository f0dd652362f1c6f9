//! How the published keys are fetched: cached, refetched for an unknown name, rate-limited, and what happens during an outage.

use std::time::Duration;

use duet_supabase::auth::{Auth, TokenError};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::issuer::*;

fn token(project: &Project, key: &Ec, kid: &str) -> SecretString {
    let mut claims = project.claims();
    // Longer than these tests' clock runs.
    claims["exp"] = json!(NOW + 100_000);
    key.token(&header("ES256", kid), &claims).into()
}

fn unavailable(verdict: &Result<duet_supabase::auth::Verified, TokenError>) -> bool {
    matches!(verdict, Err(TokenError::Unavailable(_)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_asked_for_once_and_again_after_ten_minutes() {
    let key = Ec::new();
    let project = Project::start(Keys::Publish(vec![key.jwk("one")])).await;
    let auth = project.auth();
    assert_eq!(project.counters.key_sets(), 0, "nothing is asked before it is needed");
    let token = token(&project, &key, "one");
    let verdicts = futures::future::join_all((0..50).map(|_| auth.verify(&token))).await;
    assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
    assert_eq!(project.counters.key_sets(), 1, "fifty at once ask once");
    project.time.advance(Duration::from_secs(599));
    assert!(auth.verify(&token).await.is_ok());
    assert_eq!(project.counters.key_sets(), 1);
    project.time.advance(Duration::from_secs(2));
    assert!(auth.verify(&token).await.is_ok());
    assert_eq!(project.counters.key_sets(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_is_found_at_once_and_an_old_one_ends() {
    let (old, new) = (Ec::new(), Ec::new());
    let project = Project::start(Keys::Publish(vec![old.jwk("old")])).await;
    let auth = project.auth();
    assert!(auth.verify(&token(&project, &old, "old")).await.is_ok());
    project.time.advance(Duration::from_secs(11));
    project.publish(Keys::Publish(vec![old.jwk("old"), new.jwk("new")]));
    assert!(auth.verify(&token(&project, &new, "new")).await.is_ok());
    assert!(
        auth.verify(&token(&project, &old, "old")).await.is_ok(),
        "until it is taken back"
    );
    assert_eq!(project.counters.key_sets(), 2);
    project.publish(Keys::Publish(vec![new.jwk("new")]));
    project.time.advance(Duration::from_secs(601));
    assert!(auth.verify(&token(&project, &new, "new")).await.is_ok());
    assert_eq!(
        auth.verify(&token(&project, &old, "old")).await,
        Err(TokenError::NotValid("unknown key"))
    );
    // The same name with another key: the old key's tokens become invalid.
    project.time.advance(Duration::from_secs(601));
    project.publish(Keys::Publish(vec![old.jwk("new")]));
    assert!(auth.verify(&token(&project, &old, "new")).await.is_ok());
    assert!(auth.verify(&token(&project, &new, "new")).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_names_are_asked_about_once_in_ten_seconds() {
    let key = Ec::new();
    let project = Project::start(Keys::Publish(vec![key.jwk("one")])).await;
    let auth = project.auth();
    for round in 1..=5 {
        let tokens: Vec<SecretString> = (0..100)
            .map(|index| token(&project, &key, &format!("made-up-{round}-{index}")))
            .collect();
        let verdicts = futures::future::join_all(tokens.iter().map(|token| auth.verify(token))).await;
        for verdict in verdicts {
            assert_eq!(verdict, Err(TokenError::NotValid("unknown key")));
        }
        assert_eq!(project.counters.key_sets(), round, "a hundred unknown names ask once");
        assert!(
            auth.verify(&token(&project, &key, "one")).await.is_ok(),
            "and keep nobody out"
        );
        project.time.advance(Duration::from_secs(10));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_keys_nobody_is_refused_for_good() {
    let key = Ec::new();
    for broken in [
        Keys::Break,
        Keys::Answer(500, "trouble".into()),
        Keys::Answer(503, String::new()),
        Keys::Answer(404, "not here".into()),
        Keys::Answer(302, String::new()),
        Keys::Answer(200, "<html>".into()),
        Keys::Answer(200, "{}".into()),
        Keys::Answer(200, r#"{"keys": 1}"#.into()),
        Keys::Answer(200, format!(r#"{{"keys": [], "more": "{}"}}"#, "x".repeat(400_000))),
        Keys::Slowly(Duration::from_secs(300), vec![key.jwk("one")]),
    ] {
        let project = Project::start(broken).await;
        let auth = project.auth_within(Duration::from_secs(2));
        let token = token(&project, &key, "one");
        let verdict = auth.verify(&token).await;
        assert!(unavailable(&verdict), "{verdict:?}");
        // Not asked again at once, but as soon as it answers all is well.
        assert!(unavailable(&auth.verify(&token).await));
        assert_eq!(project.counters.key_sets(), 1);
        project.publish(Keys::Publish(vec![key.jwk("one")]));
        project.time.advance(Duration::from_secs(10));
        assert!(auth.verify(&token).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_signs_nobody_out_for_an_hour() {
    let key = Ec::new();
    let project = Project::start(Keys::Publish(vec![key.jwk("one")])).await;
    let auth = project.auth();
    let token_one = token(&project, &key, "one");
    assert!(auth.verify(&token_one).await.is_ok());
    project.publish(Keys::Break);
    project.time.advance(Duration::from_secs(3599));
    assert!(auth.verify(&token_one).await.is_ok());
    assert_eq!(project.counters.key_sets(), 2, "asked, in vain");
    // An unknown name may be a new key's, so it is not rejected as invalid now.
    assert!(unavailable(&auth.verify(&token(&project, &key, "two")).await));
    project.time.advance(Duration::from_secs(2));
    assert!(
        unavailable(&auth.verify(&token_one).await),
        "a key that was taken back does not live for ever"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_a_key_that_will_do_does_not_wait_for_a_slow_answer() {
    let key = Ec::new();
    let project = Project::start(Keys::Publish(vec![key.jwk("one")])).await;
    let auth = project.auth_within(Duration::from_secs(300));
    let token = token(&project, &key, "one");
    assert!(auth.verify(&token).await.is_ok());
    // Slower than the test waits: the request for keys is still pending when all others have their answer.
    project.publish(Keys::Slowly(Duration::from_secs(300), vec![key.jwk("one")]));
    project.time.advance(Duration::from_secs(700));
    let mut all: futures::stream::FuturesUnordered<_> = (0..20).map(|_| auth.verify(&token)).collect();
    for _ in 0..19 {
        let verdict = futures::StreamExt::next(&mut all).await.expect("another one");
        assert!(verdict.is_ok(), "all but the one who asks");
    }
    // This caller has no answer yet, but has asked.
    let asked = async {
        while project.counters.key_sets() < 2 {
            tokio::task::yield_now().await;
        }
    };
    let asked = Box::pin(asked);
    let first = futures::future::select(asked, futures::StreamExt::next(&mut all)).await;
    assert!(matches!(first, futures::future::Either::Left(_)), "it was answered");
}

/// Whether a token is accepted with a set of only this key.
async fn takes(jwk: Value, token: impl Fn(&Project) -> String) -> bool {
    let project = Project::start(Keys::Publish(vec![json!("no key"), json!({}), jwk])).await;
    let auth: Auth = project.auth();
    auth.verify(&SecretString::from(token(&project))).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_public_signature_keys_of_the_two_kinds_are_used() {
    let (ec, rsa) = (Ec::new(), Rsa::new());
    let es256 = |project: &Project| ec.token(&header("ES256", "k"), &project.claims());
    let rs256 = |project: &Project| rsa.token(&header("RS256", "k"), &project.claims());
    assert!(takes(ec.jwk("k"), es256).await, "beside entries that are no keys");
    assert!(takes(rsa.jwk("k"), rs256).await);
    for field in ["alg", "use", "key_ops"] {
        assert!(
            takes(with(&ec.jwk("k"), field, json!(null)), es256).await,
            "{field} may be missing"
        );
    }
    for (field, value) in [
        ("kty", json!("oct")),
        ("kty", json!("OKP")),
        ("alg", json!("ES384")),
        ("alg", json!("HS256")),
        ("alg", json!("none")),
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("crv", json!("P-384")),
        ("crv", json!(null)),
        ("x", json!("AA")),
        ("y", json!(null)),
        ("kid", json!(null)),
        ("kid", json!(1)),
    ] {
        assert!(
            !takes(with(&ec.jwk("k"), field, value.clone()), es256).await,
            "{field} = {value}"
        );
    }
    for (field, value) in [
        ("n", json!("AQAB")),
        ("e", json!("AQ")),
        ("e", json!("")),
        ("alg", json!("RS512")),
        ("alg", json!("PS256")),
        ("use", json!("enc")),
    ] {
        assert!(
            !takes(with(&rsa.jwk("k"), field, value.clone()), rs256).await,
            "{field} = {value}"
        );
    }
    // A published shared secret, should anybody be so careless, is not used.
    let oct = json!({"kty": "oct", "alg": "HS256", "kid": "k", "k": "c2VjcmV0"});
    assert!(!takes(oct, |project| hs256(b"secret", &header("HS256", "k"), &project.claims())).await);
    // Two keys with one name: neither is used.
    let other = Ec::new();
    let project = Project::start(Keys::Publish(vec![ec.jwk("k"), other.jwk("k")])).await;
    let auth = project.auth();
    for key in [&ec, &other] {
        assert!(auth.verify(&token(&project, key, "k")).await.is_err());
    }
}
