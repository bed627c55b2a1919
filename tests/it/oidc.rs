//! Signed tokens of identity providers: real keys, from real servers, and everything that can be wrong with either.

pub(crate) mod people;
pub(crate) mod provider;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use xks_preflight::access::{Grant, Pattern, Role, Scope};
use xks_preflight::clock::Timestamp;
use xks_preflight::oidc::{Issuer, IssuerSettings, JwtRefused, KeySource, KeyUrl, Pace, issuer_of};

use self::provider::{Provider, Signer, parts};

pub(crate) const ISSUER: &str = "https://idp.example.com/realm";
pub(crate) const AUDIENCE: &str = "xks-preflight";
const NOW: i64 = 1_800_000_000;

/// Keys that come whenever they are asked for, so that tests need not wait.
const EAGER: Pace = Pace {
    refresh: Duration::from_mins(5),
    keep: Duration::from_hours(1),
    pause: Duration::ZERO,
    within: Duration::from_secs(10),
};

pub(crate) fn settings(keys: KeySource, pace: Pace) -> IssuerSettings {
    let payments = Scope::from(vec![Pattern::parse("payments-*").unwrap()]);
    IssuerSettings {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        keys,
        principal_claim: "email".to_owned(),
        groups_claim: "groups".to_owned(),
        groups: vec![
            ("watchers".to_owned(), Grant { role: Role::Viewer, scope: Scope::All }),
            ("payments".to_owned(), Grant { role: Role::Operator, scope: payments }),
        ],
        pace,
        sign_in: None,
    }
}

pub(crate) fn url(text: &str) -> KeySource {
    KeySource::Url(KeyUrl::parse(text, Arc::new(rustls::RootCertStore::empty())).unwrap())
}

/// The claims of a good token at this instant.
pub(crate) fn claims(now: i64) -> Value {
    json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "7", "email": "ann@example.com", "groups": ["watchers", "others"],
            "iat": now, "nbf": now, "exp": now + 600 })
}

fn without(mut value: Value, name: &str) -> Value {
    value.as_object_mut().unwrap().remove(name);
    value
}

fn with(mut value: Value, name: &str, member: Value) -> Value {
    value[name] = member;
    value
}

async fn told(issuer: &Issuer, token: &str) -> Result<(String, Vec<String>), JwtRefused> {
    let principal = issuer.verify(token, Timestamp::from_unix(NOW)).await?;
    Ok((principal.name, principal.grants.iter().map(ToString::to_string).collect()))
}

#[tokio::test]
async fn tokens_of_every_algorithm_that_is_taken_are_good() {
    let provider = Provider::start(&Signer::all()).await;
    let issuer = Issuer::new(settings(url(&provider.url()), EAGER));
    for signer in Signer::all() {
        let good = (String::from("ann@example.com"), vec![String::from("viewer of all key stores")]);
        assert_eq!(told(&issuer, &signer.token(&claims(NOW))).await, Ok(good), "{}", signer.alg);
    }
    assert_eq!(provider.asked(), 1, "once is enough for all keys");
    let signer = Signer::ed("ed");
    for (groups, grants) in [
        (json!("payments"), vec!["operator of payments-*"]),
        (json!(["payments", "watchers"]), vec!["viewer of all key stores", "operator of payments-*"]),
        (json!(["Watchers", "payments-*", ""]), vec![]),
        (json!([]), vec![]),
        (Value::Null, vec![]),
    ] {
        let token = signer.token(&with(claims(NOW), "groups", groups.clone()));
        assert_eq!(told(&issuer, &token).await.unwrap().1, grants, "{groups}");
    }
    let several = with(claims(NOW), "aud", json!(["other", AUDIENCE]));
    assert!(told(&issuer, &signer.token(&several)).await.is_ok());
}

#[tokio::test]
async fn claims_that_are_wrong_are_refused() {
    use JwtRefused::{Audience, Claims, Expired, NotYetValid, UnknownIssuer};

    let provider = Provider::start(&Signer::all()).await;
    let issuer = Issuer::new(settings(url(&provider.url()), EAGER));
    let good = claims(NOW);
    let cases = [
        (with(good.clone(), "iss", json!("https://idp.example.com/realm/")), UnknownIssuer),
        (with(good.clone(), "iss", json!("https://other.example.com")), UnknownIssuer),
        (without(good.clone(), "iss"), Claims),
        (with(good.clone(), "aud", json!("other")), Audience),
        (with(good.clone(), "aud", json!(["other", "xks-preflight2"])), Audience),
        (without(good.clone(), "aud"), Claims),
        (with(good.clone(), "exp", json!(NOW - 60)), Expired),
        (with(good.clone(), "exp", json!(0)), Expired),
        (without(good.clone(), "exp"), Claims),
        (with(good.clone(), "nbf", json!(NOW + 61)), NotYetValid),
        (with(good.clone(), "iat", json!(NOW + 3_600)), NotYetValid),
        (without(without(good.clone(), "nbf"), "iat"), Claims),
        (without(good.clone(), "email"), Claims),
        (with(good.clone(), "email", json!(7)), Claims),
        (with(good.clone(), "email", json!("")), Claims),
        (with(good.clone(), "email", json!("ann\nadmin")), Claims),
        (with(good.clone(), "email", json!("a".repeat(257))), Claims),
        (with(good.clone(), "groups", json!(["watchers", 7])), Claims),
        (with(good.clone(), "groups", json!({ "watchers": true })), Claims),
    ];
    for signer in Signer::all() {
        for (claims, why) in &cases {
            assert_eq!(told(&issuer, &signer.token(claims)).await, Err(*why), "{} {claims}", signer.alg);
        }
    }
}

#[tokio::test]
async fn signatures_that_are_none_are_refused() {
    let provider = Provider::start(&Signer::all()).await;
    let issuer = Issuer::new(settings(url(&provider.url()), Pace { pause: Duration::from_hours(1), ..EAGER }));
    let good = claims(NOW);
    for signer in Signer::all() {
        let token = signer.token(&good);
        // Somebody else's key under the same key id.
        let other = signer.renewed().token(&good);
        assert_eq!(told(&issuer, &other).await, Err(JwtRefused::Signature), "{}", signer.alg);
        // Cut anywhere, or changed anywhere.
        for cut in (0..token.len()).step_by(7) {
            assert!(told(&issuer, &token[..cut]).await.is_err(), "{} cut at {cut}", signer.alg);
        }
        for at in (0..token.len()).step_by(5) {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            // The last character of a part may hold bits that nobody reads.
            let same = parts(&changed) == parts(&token);
            assert!(same || told(&issuer, &changed).await.is_err(), "{} changed at {at}", signer.alg);
        }
        // No signature, by every spelling.
        for alg in ["none", "None", "NONE", "nOnE", ""] {
            let header = json!({ "alg": alg, "kid": signer.kid });
            for signature in [&b""[..], b"x"] {
                let unsigned = provider::assemble(&header, &good, |_| signature.to_vec());
                assert_eq!(told(&issuer, &unsigned).await, Err(JwtRefused::Malformed), "{alg}");
            }
        }
        // The public key, in every form that somebody might have of it, taken for a shared secret.
        for alg in ["HS256", "HS384", "HS512"] {
            let header = json!({ "alg": alg, "kid": signer.kid });
            for secret in signer.public_forms() {
                let confused = provider::assemble(&header, &good, |text| provider::hmac(alg, &secret, text));
                assert_eq!(told(&issuer, &confused).await, Err(JwtRefused::Algorithm), "{alg}");
            }
        }
        // A good signature under another algorithm's name.
        for alg in ["RS256", "PS256", "ES256", "EdDSA", "RS384", "ES384", "PS512"] {
            if alg != signer.alg {
                let header = json!({ "alg": alg, "kid": signer.kid });
                let named = provider::assemble(&header, &good, |text| signer.sign(text));
                let refused = told(&issuer, &named).await.unwrap_err();
                assert!(matches!(refused, JwtRefused::Algorithm | JwtRefused::Signature), "{alg}: {refused}");
            }
        }
        // A key that the token brings along, extensions that must be understood, no key id.
        let stranger = signer.renewed();
        let header = json!({ "alg": signer.alg, "kid": signer.kid, "jwk": stranger.jwk(), "jku": provider.url() });
        let brought = provider::assemble(&header, &good, |text| stranger.sign(text));
        assert_eq!(told(&issuer, &brought).await, Err(JwtRefused::Signature));
        for header in [
            json!({ "alg": signer.alg, "kid": signer.kid, "crit": ["exp"] }),
            json!({ "alg": signer.alg }),
            json!({ "alg": signer.alg, "kid": 7 }),
            json!([]),
        ] {
            let odd = provider::assemble(&header, &good, |text| signer.sign(text));
            assert_eq!(told(&issuer, &odd).await, Err(JwtRefused::Malformed), "{header}");
        }
    }
    assert_eq!(provider.asked(), 1, "nor do changed key ids cause a fetch each");
    let other = Arc::new(issuer);
    let stranger = Signer::ed("ed").token(&with(good, "iss", json!("https://other.example.com")));
    assert_eq!(issuer_of(&[other], &stranger).err(), Some(JwtRefused::UnknownIssuer));
}

#[tokio::test]
async fn unknown_key_ids_cause_a_fetch_only_now_and_then() {
    let provider = Provider::start(&[Signer::ed("old")]).await;
    let issuer = Issuer::new(settings(url(&provider.url()), Pace { pause: Duration::from_hours(1), ..EAGER }));
    for number in 0..50 {
        let stranger = Signer::ed(&format!("guess-{number}")).token(&claims(NOW));
        assert_eq!(told(&issuer, &stranger).await, Err(JwtRefused::UnknownKey));
    }
    assert_eq!(provider.asked(), 1);
    assert!(told(&issuer, &Signer::ed("old").token(&claims(NOW))).await.is_ok());

    // A new key is found when it is first used, and an old one that is gone is not believed any more.
    let eager = Issuer::new(settings(url(&provider.url()), EAGER));
    assert!(told(&eager, &Signer::ed("old").token(&claims(NOW))).await.is_ok());
    provider.publish(&[Signer::ed("new")]);
    assert!(told(&eager, &Signer::ed("new").token(&claims(NOW))).await.is_ok());
    assert_eq!(told(&eager, &Signer::ed("old").token(&claims(NOW))).await, Err(JwtRefused::UnknownKey));
}

#[tokio::test]
async fn keys_that_cannot_be_had_let_nobody_in() {
    let token = Signer::ed("ed").token(&claims(NOW));
    let provider = Provider::start(&[Signer::ed("ed")]).await;
    for (status, body) in [
        (200, "no JSON".to_owned()),
        (200, "{\"keys\": []}".to_owned()),
        (200, format!("{{\"keys\": [], \"x\": \"{}\"}}", "x".repeat(300_000))),
        (404, String::new()),
        (302, String::new()),
        (500, String::new()),
    ] {
        provider.answer(status, &body);
        let issuer = Issuer::new(settings(url(&provider.url()), EAGER));
        assert_eq!(told(&issuer, &token).await, Err(JwtRefused::KeysUnavailable), "{status}");
    }
    // Nobody answers, and nobody is there.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let impatient = Pace { within: Duration::from_millis(50), ..EAGER };
    let issuer = Issuer::new(settings(url(&format!("http://{address}/keys")), impatient));
    assert_eq!(told(&issuer, &token).await, Err(JwtRefused::KeysUnavailable));
    drop(silent);
    assert_eq!(told(&issuer, &token).await, Err(JwtRefused::KeysUnavailable));
    // It comes back.
    provider.publish(&[Signer::ed("ed")]);
    let issuer = Issuer::new(settings(url(&provider.url()), EAGER));
    assert!(told(&issuer, &token).await.is_ok());
}

#[tokio::test]
async fn known_keys_are_good_for_a_bounded_time_while_the_provider_is_down() {
    let provider = Provider::start(&[Signer::ed("ed")]).await;
    let issuer = Issuer::new(settings(url(&provider.url()), EAGER));
    let token = Signer::ed("ed").token(&claims(NOW));
    assert!(told(&issuer, &token).await.is_ok());
    provider.answer(503, "");
    let later = async |duration| {
        tokio::time::pause();
        tokio::time::advance(duration).await;
        tokio::time::resume();
    };
    later(Duration::from_mins(30)).await;
    assert!(told(&issuer, &token).await.is_ok(), "the keys are asked for again, and used meanwhile");
    later(Duration::from_mins(31)).await;
    assert_eq!(told(&issuer, &token).await, Err(JwtRefused::KeysUnavailable));
    provider.publish(&[Signer::ed("ed")]);
    assert!(told(&issuer, &token).await.is_ok());
}

#[tokio::test]
async fn a_file_of_keys_is_read_anew() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.json");
    let write =
        |signer: &Signer| std::fs::write(&file, provider::key_set(std::slice::from_ref(signer)).to_string()).unwrap();
    write(&Signer::ed("old"));
    let issuer = Issuer::new(settings(KeySource::File(file.clone()), EAGER));
    assert!(told(&issuer, &Signer::ed("old").token(&claims(NOW))).await.is_ok());
    write(&Signer::ed("new"));
    assert!(told(&issuer, &Signer::ed("new").token(&claims(NOW))).await.is_ok());
    std::fs::remove_file(&file).unwrap();
    let nobody = Issuer::new(settings(KeySource::File(file), EAGER));
    assert_eq!(told(&nobody, &Signer::ed("new").token(&claims(NOW))).await, Err(JwtRefused::KeysUnavailable));
}
