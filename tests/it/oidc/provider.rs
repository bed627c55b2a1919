//! An identity provider: keys of every kind, a server that publishes them, and tokens signed without the library that
//! verifies them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaEncoding, RsaKeyPair,
};
use aws_lc_rs::{digest, hmac};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Signs tokens.
#[derive(Clone)]
pub(crate) struct Signer {
    pub(crate) alg: &'static str,
    pub(crate) kid: String,
    key: Arc<Key>,
}

enum Key {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    /// One of each algorithm that is taken; the same ones each time.
    pub(crate) fn all() -> Vec<Self> {
        static ALL: LazyLock<Vec<Signer>> = LazyLock::new(|| {
            ["RS256", "PS256", "ES256"].map(|alg| Signer::new(alg, &alg.to_lowercase())).into_iter().collect()
        });
        ALL.iter().cloned().chain([Self::ed("ed")]).collect()
    }

    /// An Ed25519 key that is the same for the same key id.
    pub(crate) fn ed(kid: &str) -> Self {
        let seed = digest::digest(&digest::SHA256, kid.as_bytes());
        let key = Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).unwrap();
        Self { alg: "EdDSA", kid: kid.to_owned(), key: Arc::new(Key::Ed(key)) }
    }

    fn new(alg: &'static str, kid: &str) -> Self {
        let rsa = || RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let key = match alg {
            "RS256" => Key::Rsa(rsa(), &RSA_PKCS1_SHA256),
            "PS256" => Key::Rsa(rsa(), &RSA_PSS_SHA256),
            "ES256" => Key::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            _ => Key::Ed(Ed25519KeyPair::generate().unwrap()),
        };
        Self { alg, kid: kid.to_owned(), key: Arc::new(key) }
    }

    /// Another key of the same kind under the same key id.
    pub(crate) fn renewed(&self) -> Self {
        Self::new(self.alg, &self.kid)
    }

    pub(crate) fn sign(&self, text: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &*self.key {
            Key::Rsa(key, padding) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(*padding, &random, text, &mut signature).unwrap();
                signature
            }
            Key::Ec(key) => key.sign(&random, text).unwrap().as_ref().to_vec(),
            Key::Ed(key) => key.sign(text).as_ref().to_vec(),
        }
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        assemble(&json!({ "alg": self.alg, "typ": "JWT", "kid": self.kid }), claims, |text| self.sign(text))
    }

    pub(crate) fn jwk(&self) -> Value {
        let mut members: HashMap<&str, String> = match &*self.key {
            Key::Rsa(key, _) => {
                let public = key.public_key();
                let [n, e] = [public.modulus(), public.exponent()];
                let [n, e] = [n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero()].map(encode);
                HashMap::from([("kty", "RSA".to_owned()), ("n", n), ("e", e), ("alg", self.alg.to_owned())])
            }
            Key::Ec(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                let crv = "P-256".to_owned();
                HashMap::from([("kty", "EC".to_owned()), ("crv", crv), ("x", encode(x)), ("y", encode(y))])
            }
            Key::Ed(key) => {
                let x = encode(key.public_key().as_ref());
                HashMap::from([("kty", "OKP".to_owned()), ("crv", "Ed25519".to_owned()), ("x", x)])
            }
        };
        members.insert("kid", self.kid.clone());
        members.insert("use", "sig".to_owned());
        json!(members)
    }

    /// What somebody might take for a shared secret.
    pub(crate) fn public_forms(&self) -> Vec<Vec<u8>> {
        let jwk = self.jwk();
        let members = ["n", "x"].iter().filter_map(|name| jwk[name].as_str());
        let raw = members.clone().map(|text| URL_SAFE_NO_PAD.decode(text).unwrap());
        let text = members.map(|text| text.as_bytes().to_vec());
        raw.chain(text).chain([jwk.to_string().into_bytes(), Vec::new()]).collect()
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token of these parts.
pub(crate) fn assemble(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let text = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let signature = sign(text.as_bytes());
    format!("{text}.{}", encode(&signature))
}

/// The decoded parts of a token, as far as they can be decoded.
pub(crate) fn parts(token: &str) -> Vec<Option<Vec<u8>>> {
    token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).ok()).collect()
}

pub(crate) fn hmac(alg: &str, secret: &[u8], text: &[u8]) -> Vec<u8> {
    let algorithm = match alg {
        "HS256" => hmac::HMAC_SHA256,
        "HS384" => hmac::HMAC_SHA384,
        _ => hmac::HMAC_SHA512,
    };
    hmac::sign(&hmac::Key::new(algorithm, secret), text).as_ref().to_vec()
}

pub(crate) fn key_set(signers: &[Signer]) -> Value {
    json!({ "keys": signers.iter().map(Signer::jwk).collect::<Vec<_>>() })
}

#[derive(Default)]
struct Page {
    status: u16,
    body: String,
    asked: usize,
}

/// A server of keys on loopback.
pub(crate) struct Provider {
    address: SocketAddr,
    page: Arc<Mutex<Page>>,
}

impl Provider {
    pub(crate) async fn start(signers: &[Signer]) -> Self {
        let page = Arc::new(Mutex::new(Page::default()));
        let served = page.clone();
        let answer = async move || {
            let mut page = served.lock().unwrap();
            page.asked += 1;
            let headers = [(header::LOCATION, "/keys")];
            (StatusCode::from_u16(page.status).unwrap(), headers, page.body.clone())
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/keys", get(answer))).await });
        let provider = Self { address, page };
        provider.publish(signers);
        provider
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    pub(crate) fn publish(&self, signers: &[Signer]) {
        self.answer(200, &key_set(signers).to_string());
    }

    pub(crate) fn answer(&self, status: u16, body: &str) {
        let mut page = self.page.lock().unwrap();
        page.status = status;
        body.clone_into(&mut page.body);
    }

    pub(crate) fn asked(&self) -> usize {
        self.page.lock().unwrap().asked
    }
}
