//! Tokens that must be refused, one per line, each a valid token with one thing wrong; and the valid one, which is accepted.

use serde_json::{Value, json};

use super::*;
use crate::testing::env;

const KEY: [u8; 32] = [42; 32];
const SESSION: [u8; 32] = [9; 32];
/// A time that does not move.
const NOW: i64 = 1_790_000_000;

fn now() -> Timestamp {
    Timestamp::from_millis(NOW * 1000)
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn hmac(algorithm: ring::hmac::Algorithm, key: &[u8], message: &str) -> String {
    URL_SAFE_NO_PAD.encode(ring::hmac::sign(&ring::hmac::Key::new(algorithm, key), message.as_bytes()))
}

/// Signed with the right key, whatever it says.
fn signed(header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    format!("{message}.{}", hmac(ring::hmac::HMAC_SHA256, &KEY, &message))
}

fn header() -> Value {
    json!({"alg": "HS256", "typ": "at+jwt", "kid": Tokens::new(&KEY).kid})
}

fn claims(user: UserId) -> Value {
    json!({"iss": "duet", "aud": "duet-api", "sub": user, "sid": URL_SAFE_NO_PAD.encode(SESSION), "iat": NOW - 10, "exp": NOW + 600})
}

/// The object with one field changed, or removed with `null`.
fn with(object: &Value, field: &str, value: Value) -> Value {
    let mut object = object.clone();
    if value.is_null() {
        object.as_object_mut().unwrap().remove(field);
    } else {
        object[field] = value;
    }
    object
}

/// `(what is wrong, the token)`.
fn bad_tokens(user: UserId) -> Vec<(String, String)> {
    let (header, claims) = (header(), claims(user));
    let good = signed(&header, &claims);
    let pieces: Vec<&str> = good.split('.').collect();
    let (head, body, signature) = (pieces[0], pieces[1], pieces[2]);
    let mut bad: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, token: String| bad.push((name.to_owned(), token));

    for alg in [
        "none", "None", "NONE", "nOnE", "HS384", "HS512", "RS256", "RS512", "ES256", "PS256", "EdDSA", "hs256", "", "A128KW",
    ] {
        let header = with(&header, "alg", json!(alg));
        add(&format!("alg {alg}, signed by HS256"), signed(&header, &claims));
        add(&format!("alg {alg}, no signature"), format!("{}.{body}.", part(&header)));
    }
    for (alg, algorithm) in [("HS384", ring::hmac::HMAC_SHA384), ("HS512", ring::hmac::HMAC_SHA512)] {
        let message = format!("{}.{body}", part(&with(&header, "alg", json!(alg))));
        add(
            &format!("really signed by {alg}"),
            format!("{message}.{}", hmac(algorithm, &KEY, &message)),
        );
    }
    add("alg missing", signed(&with(&header, "alg", json!(null)), &claims));
    add("alg a number", signed(&with(&header, "alg", json!(256)), &claims));
    add("alg a list", signed(&with(&header, "alg", json!(["HS256"])), &claims));

    for typ in ["JWT", "jwt", "at+JWT", "id+jwt", ""] {
        add(&format!("typ {typ:?}"), signed(&with(&header, "typ", json!(typ)), &claims));
    }
    add("typ missing", signed(&with(&header, "typ", json!(null)), &claims));
    for kid in ["", "0", "../../dev/null", "' or 1=1 --"] {
        add(&format!("kid {kid:?}"), signed(&with(&header, "kid", json!(kid)), &claims));
    }
    add("kid missing", signed(&with(&header, "kid", json!(null)), &claims));
    add(
        "jku",
        signed(&with(&header, "jku", json!("https://evil.example/keys")), &claims),
    );
    add(
        "jwk",
        signed(
            &with(&header, "jwk", json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(KEY)})),
            &claims,
        ),
    );
    add(
        "x5u",
        signed(&with(&header, "x5u", json!("https://evil.example/cert")), &claims),
    );
    add("x5c", signed(&with(&header, "x5c", json!(["AAAA"])), &claims));
    add("crit", signed(&with(&header, "crit", json!(["exp"])), &claims));

    for field in ["iss", "aud", "sub", "sid", "iat", "exp"] {
        add(
            &format!("{field} missing"),
            signed(&header, &with(&claims, field, json!(null))),
        );
        add(
            &format!("{field} a list"),
            signed(&header, &with(&claims, field, json!([claims[field]]))),
        );
        add(
            &format!("{field} an object"),
            signed(&header, &with(&claims, field, json!({}))),
        );
    }
    for (field, value) in [
        ("iss", json!("supabase")),
        ("iss", json!("Duet")),
        ("iss", json!("")),
        ("aud", json!("duet")),
        ("aud", json!("authenticated")),
        ("aud", json!(["duet-api", "evil"])),
        ("sub", json!("owner")),
        ("sub", json!("")),
        ("sub", json!(1)),
        ("sid", json!("")),
        ("sid", json!("short")),
        ("sid", json!(URL_SAFE_NO_PAD.encode([9; 31]))),
        ("exp", json!("1790000600")),
        ("exp", json!((NOW + 600) as f64 + 0.5)),
        ("exp", json!(NOW)),
        ("exp", json!(NOW - 1)),
        ("exp", json!(0)),
        ("exp", json!(-1)),
        ("exp", json!(i64::MAX)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(1e300)),
        ("exp", json!(true)),
        ("exp", json!(NOW + 901)),
        ("iat", json!("1790000000")),
        ("iat", json!(NOW + 60)),
        ("iat", json!(0)),
        ("iat", json!(i64::MIN)),
        ("nbf", json!(NOW + 60)),
        ("nbf", json!("soon")),
        ("role", json!("owner")),
    ] {
        add(
            &format!("{field} = {value}"),
            signed(&header, &with(&claims, field, value.clone())),
        );
    }

    let message = format!("{head}.{body}");
    add(
        "signed by another key",
        format!("{message}.{}", hmac(ring::hmac::HMAC_SHA256, &[43; 32], &message)),
    );
    add(
        "signed by an empty key",
        format!("{message}.{}", hmac(ring::hmac::HMAC_SHA256, &[], &message)),
    );
    add("no signature", format!("{message}."));
    add("signature left out", message.clone());
    add("signature cut by a letter", good[..good.len() - 1].to_owned());
    add("signature with a letter more", format!("{good}A"));
    add("signature padded", format!("{good}="));
    let other = if signature.starts_with('A') { "B" } else { "A" };
    add(
        "signature's first letter changed",
        format!("{message}.{other}{}", &signature[1..]),
    );
    add("signature of zeros", format!("{message}.{}", URL_SAFE_NO_PAD.encode([0; 32])));
    let altered = with(&claims, "sub", json!(UserId::new(&env())));
    add("another person's payload", format!("{head}.{}.{signature}", part(&altered)));
    let longer = with(&claims, "exp", json!(NOW + 800));
    add("a longer life", format!("{head}.{}.{signature}", part(&longer)));
    add("header and payload swapped", format!("{body}.{head}.{signature}"));
    add("a fourth part", format!("{good}.{signature}"));
    add("a leading dot", format!(".{good}"));
    add("payload empty", format!("{head}..{signature}"));
    add("header empty", format!(".{body}.{signature}"));
    add("only dots", "..".into());
    add("nothing", String::new());
    add("a space before", format!(" {good}"));
    add("a space after", format!("{good} "));
    add("a line break within", good.replacen('.', ".\n", 1));
    add("a zero byte", format!("{good}\0"));
    add("in upper case", good.to_uppercase());
    add("standard base64", good.replace('-', "+").replace('_', "/") + "==");
    add("payload no JSON", {
        let message = format!("{head}.{}", URL_SAFE_NO_PAD.encode("{"));
        format!("{message}.{}", hmac(ring::hmac::HMAC_SHA256, &KEY, &message))
    });
    add("payload a list", signed(&header, &json!([1, 2])));
    add("claims twice", {
        let text = claims.to_string();
        let twice = format!("{},\"exp\":{}}}", &text[..text.len() - 1], NOW + 700);
        let message = format!("{head}.{}", URL_SAFE_NO_PAD.encode(twice));
        format!("{message}.{}", hmac(ring::hmac::HMAC_SHA256, &KEY, &message))
    });
    add("huge", format!("{good}{}", "A".repeat(4096)));
    add("an API key", crate::auth::key::generate(&env()));
    add("the signing key itself", hex::encode(KEY));
    bad
}

#[test]
fn at_least_sixty_bad_tokens_are_refused_and_the_good_one_is_not() {
    let tokens = Tokens::new(&KEY);
    let user = UserId::new(&env());
    let verified = Verified {
        user,
        session_hash: SESSION,
    };
    assert_eq!(tokens.verify(&signed(&header(), &claims(user)), now()), Ok(verified));
    let bad = bad_tokens(user);
    assert!(bad.len() >= 60, "{}", bad.len());
    for (name, token) in bad {
        assert!(tokens.verify(&token, now()).is_err(), "{name} was accepted: {token}");
    }
}

#[test]
fn what_is_issued_is_good_until_it_expires_and_never_longer_than_a_quarter_of_an_hour() {
    let tokens = Tokens::new(&KEY);
    let user = UserId::new(&env());
    let token = tokens.issue(user, SESSION, now(), 1_000_000).unwrap();
    let at = |seconds: i64| tokens.verify(&token, Timestamp::from_millis((NOW + seconds) * 1000));
    assert!(at(0).is_ok());
    assert!(at(899).is_ok());
    assert!(at(900).is_err());
    assert!(at(-4).is_ok(), "a clock that is a little behind");
    assert!(at(-60).is_err());
    assert!(Tokens::new(&[1; 32]).verify(&token, now()).is_err());
}
