//! Whether the list of bad tokens would notice a hole: a verifier that omits one check accepts some of them, one that omits none does
//! not.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::Value;

use crate::{
    issuer::{NOW, with},
    vectors::{World, bad_tokens},
};

/// The checks that can be omitted.
const HOLES: [&str; 13] = [
    "aud",
    "iss",
    "role",
    "sub",
    "session_id",
    "exp",
    "exp is a number",
    "iat",
    "nbf",
    "signature",
    "crit",
    "typ",
    "kid",
];

fn part(text: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

fn number(value: &Value, hole: &str) -> Option<i64> {
    match (hole, value) {
        ("exp is a number", Value::String(text)) => text.parse().ok(),
        _ => value.as_i64(),
    }
}

/// A simple verifier of tokens with asymmetric keys, except for the hole.
fn accepts(world: &World, token: &str, hole: &str) -> Option<()> {
    let check = |name: &str, holds: bool| (hole == name || holds).then_some(());
    let parts: Vec<&str> = token.split('.').collect();
    let [head, body, signature] = parts[..] else { return None };
    let (header, claims) = (part(head)?, part(body)?);
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(body).ok()?).ok()?;
    // Each claim once, and no token that is too long.
    for name in ["exp", "sub", "role", "iss"] {
        (text.matches(&format!("\"{name}\":")).count() <= 1 + usize::from(name == "role" || name == "sub")).then_some(())?;
    }
    (serde_json::to_string(&claims).ok()? == text && token.len() <= 16 * 1024).then_some(())?;
    check("typ", header["typ"] == "JWT")?;
    for name in ["jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "b64", "zip", "enc", "cty"] {
        header.get(name).is_none().then_some(())?;
    }
    check("crit", header.get("crit").is_none())?;
    let kid = match hole {
        "kid" if header["alg"] == "RS256" => "rsa",
        "kid" => "ec",
        _ => header["kid"].as_str()?,
    };
    let message = &token[..head.len() + 1 + body.len()];
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let signed = match (header["alg"].as_str()?, kid) {
        ("ES256", "ec") => {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, world.ec.public()).verify(message.as_bytes(), &signature)
        }
        ("RS256", "rsa") => {
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, world.rsa.public()).verify(message.as_bytes(), &signature)
        }
        _ => return None,
    };
    check("signature", signed.is_ok())?;
    let good = world.claims();
    check("aud", claims["aud"] == good["aud"])?;
    check("iss", claims["iss"] == good["iss"])?;
    check("role", claims["role"] == "authenticated")?;
    check("sub", claims["sub"] == good["sub"])?;
    check("session_id", claims["session_id"] == good["session_id"])?;
    claims
        .get("is_anonymous")
        .is_none_or(|is| *is == Value::Bool(false))
        .then_some(())?;
    let (iat, exp) = (number(&claims["iat"], hole), number(&claims["exp"], hole));
    check("iat", iat.is_some_and(|iat| (NOW - 604_800..=NOW + 60).contains(&iat)))?;
    check("exp", exp.is_some_and(|exp| exp > NOW && exp <= NOW + 604_800))?;
    check(
        "nbf",
        claims
            .get("nbf")
            .is_none_or(|nbf| nbf.as_i64().is_some_and(|nbf| nbf <= NOW + 60)),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_check_that_is_left_out_lets_a_bad_token_through() {
    let world = World::new().await;
    let mut tokens = bad_tokens(&world);
    // The last letter of these contains bits outside any byte: they are the same signature.
    tokens.retain(|(name, _)| !name.starts_with("signature's"));
    let through = |hole: &str| -> Vec<&str> {
        tokens
            .iter()
            .filter(|(_, token)| accepts(&world, token, hole).is_some())
            .map(|(name, _)| name.as_str())
            .collect()
    };
    assert_eq!(accepts(&world, &world.es256(&world.claims()), "none"), Some(()));
    let unusual = world.es256(&with(&world.claims(), "nbf", serde_json::json!(NOW)));
    assert_eq!(accepts(&world, &unusual, "none"), Some(()));
    assert_eq!(through("none"), Vec::<&str>::new());
    for hole in HOLES {
        assert!(!through(hole).is_empty(), "no bad token tells that `{hole}` is not checked");
    }
}
