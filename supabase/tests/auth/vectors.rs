//! Tokens that must be rejected, one per line, each a valid token with one flaw; and valid ones that must not.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use duet_core::ids::{Id, UserId};
use duet_supabase::auth::{TokenError, Verified};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::issuer::*;

/// A project with a key of each kind, and its tokens.
pub struct World {
    pub project: Project,
    pub ec: Ec,
    pub rsa: Rsa,
}

impl World {
    pub async fn new() -> Self {
        let (ec, rsa) = (Ec::new(), Rsa::new());
        let project = Project::start(Keys::Publish(vec![ec.jwk("ec"), rsa.jwk("rsa")])).await;
        Self { project, ec, rsa }
    }
    pub fn claims(&self) -> Value {
        self.project.claims()
    }
    pub fn es256(&self, claims: &Value) -> String {
        self.ec.token(&header("ES256", "ec"), claims)
    }
}

/// Claims with one flaw.
fn bad_claims(claims: &Value) -> Vec<(String, Value)> {
    let mut bad = Vec::new();
    for field in ["iss", "aud", "sub", "role", "session_id", "iat", "exp"] {
        bad.push((format!("{field} missing"), with(claims, field, json!(null))));
        bad.push((format!("{field} in a list"), with(claims, field, json!([claims[field]]))));
        bad.push((format!("{field} an object"), with(claims, field, json!({}))));
        bad.push((format!("{field} empty"), with(claims, field, json!(""))));
    }
    let issuer = claims["iss"].as_str().unwrap();
    for (field, value) in [
        ("iss", json!("supabase")),
        ("iss", json!("https://other.supabase.co/auth/v1")),
        ("iss", json!(format!("{issuer}/"))),
        ("iss", json!(issuer.to_uppercase())),
        ("iss", json!(issuer.trim_end_matches("/auth/v1"))),
        ("iss", json!(format!("{issuer}.evil.example"))),
        ("aud", json!("anon")),
        ("aud", json!("Authenticated")),
        ("aud", json!(["authenticated", "evil"])),
        ("aud", json!("duet-api")),
        ("role", json!("anon")),
        ("role", json!("service_role")),
        ("role", json!("postgres")),
        ("role", json!("duet_worker")),
        ("role", json!("authenticated ")),
        ("sub", json!("owner")),
        ("sub", json!(1)),
        ("sub", json!(USER.to_uppercase())),
        ("sub", json!(USER.replace('-', ""))),
        ("sub", json!(format!("{{{USER}}}"))),
        ("sub", json!(format!("urn:uuid:{USER}"))),
        ("sub", json!("00000000-0000-0000-0000-000000000000")),
        ("sub", json!(format!("{USER}' or 1=1 --"))),
        ("session_id", json!("x")),
        ("session_id", json!(SESSION.to_uppercase())),
        ("exp", json!((NOW + 3600).to_string())),
        ("exp", json!((NOW + 3600) as f64 + 0.5)),
        ("exp", json!(0)),
        ("exp", json!(-1)),
        ("exp", json!(i64::MAX)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(1e300)),
        ("exp", json!(true)),
        ("exp", json!(NOW + 604_800 + 60)),
        ("iat", json!(NOW.to_string())),
        ("iat", json!(NOW + 61)),
        ("iat", json!(NOW + 3601)),
        ("iat", json!(i64::MIN)),
        ("nbf", json!(NOW + 61)),
        ("nbf", json!("soon")),
        ("is_anonymous", json!(true)),
        ("is_anonymous", json!("no")),
    ] {
        bad.push((format!("{field} = {value}"), with(claims, field, value)));
    }
    bad
}

/// Headers with one flaw.
fn bad_headers(good: &Value) -> Vec<(String, Value)> {
    let mut bad = Vec::new();
    for typ in [
        json!("at+jwt"),
        json!("jwt"),
        json!("id_token"),
        json!(""),
        json!(null),
        json!(1),
    ] {
        bad.push((format!("typ {typ}"), with(good, "typ", typ)));
    }
    for kid in ["", "rsa", "EC", "ec ", "../../dev/null", "' or 1=1 --"] {
        bad.push((format!("kid {kid:?}"), with(good, "kid", json!(kid))));
    }
    bad.push(("no kid".into(), with(good, "kid", json!(null))));
    for (field, value) in [
        ("jku", json!("https://evil.example/keys")),
        ("jwk", json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"})),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["AAAA"])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
        ("cty", json!("JWT")),
    ] {
        bad.push((format!("{field} in the header"), with(good, field, value)));
    }
    bad
}

/// `(the flaw, the token)`.
pub fn bad_tokens(world: &World) -> Vec<(String, String)> {
    let claims = world.claims();
    let good_header = header("ES256", "ec");
    let good = world.es256(&claims);
    let pieces: Vec<&str> = good.split('.').collect();
    let (head, body, signature) = (pieces[0], pieces[1], pieces[2]);
    let message = format!("{head}.{body}");
    let mut bad: Vec<(String, String)> = Vec::new();
    for (name, claims) in bad_claims(&claims) {
        bad.push((name, world.es256(&claims)));
    }
    for (name, header) in bad_headers(&good_header) {
        bad.push((name, world.ec.token(&header, &claims)));
    }
    for alg in [
        "none", "None", "NONE", "nOnE", "HS384", "HS512", "RS512", "ES384", "PS256", "EdDSA", "es256", "",
    ] {
        let header = with(&good_header, "alg", json!(alg));
        bad.push((format!("alg {alg}, signed by ES256"), world.ec.token(&header, &claims)));
        bad.push((format!("alg {alg}, no signature"), format!("{}.{body}.", part(&header))));
    }
    // The published key used as a shared secret, in all its forms.
    let jwk = world.ec.jwk("ec").to_string();
    for (name, secret) in [
        ("the point", world.ec.public()),
        ("its JWK", jwk.into_bytes()),
        ("the RSA key", world.rsa.public()),
    ] {
        for alg in ["HS256", "ES256", "RS256"] {
            let header = header(alg, "ec");
            bad.push((format!("{name} as the secret of {alg}"), hs256(&secret, &header, &claims)));
        }
    }
    let mut add = |name: &str, token: String| bad.push((name.to_owned(), token));
    add("ES256 for RS256", world.ec.token(&header("RS256", "ec"), &claims));
    add("ES256 with the other's key", world.ec.token(&header("RS256", "rsa"), &claims));
    add(
        "ES256 under the other's name",
        world.ec.token(&header("ES256", "rsa"), &claims),
    );
    add(
        "RS256 under the other's name",
        world.rsa.token(&header("RS256", "ec"), &claims),
    );
    add("RS256 for ES256", world.rsa.token(&header("ES256", "rsa"), &claims));
    add(
        "really signed by RS512",
        world.rsa.token_512(&header("RS512", "rsa"), &claims),
    );
    add("RS512 for RS256", world.rsa.token_512(&header("RS256", "rsa"), &claims));
    add("signed by another key", Ec::new().token(&good_header, &claims));
    add("no signature", format!("{message}."));
    add("signature left out", message.clone());
    add("signature cut by a letter", good[..good.len() - 1].to_owned());
    add("signature with a letter more", format!("{good}A"));
    add("signature padded", format!("{good}="));
    add("signature of zeros", format!("{message}.{}", URL_SAFE_NO_PAD.encode([0; 64])));
    add(
        "signature in DER",
        format!("{message}.{}", URL_SAFE_NO_PAD.encode([&[0x30, 0x44][..], &[1; 68]].concat())),
    );
    let other = if signature.starts_with('A') { "B" } else { "A" };
    add(
        "signature's first letter changed",
        format!("{message}.{other}{}", &signature[1..]),
    );
    let altered = with(&claims, "sub", json!("0199d6a0-0000-7000-8000-0000000000cc"));
    add("another person's payload", format!("{head}.{}.{signature}", part(&altered)));
    let longer = with(&claims, "exp", json!(NOW + 7200));
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
    add(
        "huge",
        world.es256(&with(&claims, "user_metadata", json!("x".repeat(20_000)))),
    );
    add("payload no JSON", {
        let message = format!("{head}.{}", URL_SAFE_NO_PAD.encode("{"));
        format!("{message}.{}", world.ec.sign(&message))
    });
    add("payload a list", world.es256(&json!([1, 2])));
    for field in ["exp", "sub", "role", "iss"] {
        let text = claims.to_string();
        let twice = format!("{},\"{field}\":{}}}", &text[..text.len() - 1], claims[field]);
        let message = format!("{head}.{}", URL_SAFE_NO_PAD.encode(twice));
        add(&format!("{field} twice"), format!("{message}.{}", world.ec.sign(&message)));
    }
    add("the publishable key", KEY.into());
    bad
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_least_sixty_bad_tokens_are_refused_and_good_ones_are_not() {
    let world = World::new().await;
    let auth = world.project.auth();
    let good = Verified {
        user: UserId::from_uuid(USER.parse().unwrap()),
        session: SESSION.parse().unwrap(),
        issued_at: duet_core::Timestamp::from_millis((NOW - 10) * 1000),
        expires_at: duet_core::Timestamp::from_millis((NOW + 3600) * 1000),
    };
    let claims = world.claims();
    for token in [
        world.es256(&claims),
        world.rsa.token(&header("RS256", "rsa"), &claims),
        world.es256(&with(&claims, "nbf", json!(NOW))),
        world.es256(&with(&claims, "is_anonymous", json!(null))),
    ] {
        assert_eq!(auth.verify(&SecretString::from(token)).await, Ok(good.clone()));
    }
    let bad = bad_tokens(&world);
    assert!(bad.len() >= 120, "{}", bad.len());
    for (name, token) in bad {
        let verdict = auth.verify(&SecretString::from(token.clone())).await;
        assert!(matches!(verdict, Err(TokenError::NotValid(_))), "{name}: {verdict:?} {token}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_good_until_it_expires_and_then_says_so() {
    let world = World::new().await;
    let auth = world.project.auth();
    let token = SecretString::from(world.es256(&world.claims()));
    for (second, good) in [(0, true), (3599, true), (3600, false), (9999, false)] {
        world.project.time.set((NOW + second) * 1000);
        let verdict = auth.verify(&token).await;
        match good {
            true => assert!(verdict.is_ok(), "{second}: {verdict:?}"),
            false => assert_eq!(verdict, Err(TokenError::Expired), "{second}"),
        }
    }
    world.project.time.set((NOW - 60) * 1000);
    assert!(auth.verify(&token).await.is_ok(), "a clock that is a little behind");
    world.project.time.set((NOW - 600) * 1000);
    assert_eq!(auth.verify(&token).await, Err(TokenError::NotValid("not yet valid")));
    // A forged token is not reported as expired.
    world.project.time.set((NOW + 9999) * 1000);
    let forged = SecretString::from(Ec::new().token(&header("ES256", "ec"), &world.claims()));
    assert!(matches!(auth.verify(&forged).await, Err(TokenError::NotValid(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_another_project_is_refused_whoever_it_names() {
    let (here, there) = (World::new().await, World::new().await);
    let auth = here.project.auth();
    // Unchanged; with this project's issuer; and with this project's key name as well.
    for claims in [there.claims(), here.claims()] {
        let token = SecretString::from(there.es256(&claims));
        assert!(matches!(auth.verify(&token).await, Err(TokenError::NotValid(_))));
    }
    // The other way round: this project's key, the other's issuer.
    let token = SecretString::from(here.es256(&there.claims()));
    assert_eq!(auth.verify(&token).await, Err(TokenError::NotValid("issuer")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_issuer_may_have_another_name_than_the_url() {
    let world = World::new().await;
    let settings = duet_supabase::auth::AuthSettings {
        issuer: Some("https://people.example/auth/v1".into()),
        ..world.project.settings(std::time::Duration::from_secs(5))
    };
    let auth = duet_supabase::auth::Auth::new(settings, world.project.time.env());
    let own = world.es256(&with(&world.claims(), "iss", json!("https://people.example/auth/v1")));
    assert!(auth.verify(&SecretString::from(own)).await.is_ok());
    let by_url = world.es256(&world.claims());
    assert_eq!(
        auth.verify(&SecretString::from(by_url)).await,
        Err(TokenError::NotValid("issuer"))
    );
}
