//! The verifier against the AWS SDK's own signer, and against that signer's work with one thing changed.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use axum::http::{HeaderName, HeaderValue, Request};
use proptest::prelude::*;

use super::*;
use crate::access::{Grant, Method, Principal, Role, Scope};
use crate::kms_endpoint::{CredentialPolicy, KmsAccessKeyId, KmsSecretAccessKey};

const ID: &str = "XKSPFTESTERTESTER234";
const SECRET: &str = "TestSecretDoNotLeakEndpoint0123456789abc";
const OTHER_SECRET: &str = "TestSecretDoNotLeakEndpoint0123456789abd";
const AT: i64 = 1_700_000_000;
const INVALID: &str = "InvalidSignatureException";
const INCOMPLETE: &str = "IncompleteSignatureException";
const UNKNOWN: &str = "UnrecognizedClientException";

fn verifier(expires: Option<Timestamp>) -> Verifier {
    let credential = KmsCredential {
        principal: Principal {
            name: "tester".into(),
            how: Method::KmsCredential,
            grants: vec![Grant { role: Role::Operator, scope: Scope::All }],
        },
        access_key_id: KmsAccessKeyId::parse(ID).unwrap(),
        secret_access_key: KmsSecretAccessKey::parse(SECRET).unwrap(),
        expires,
        policy: CredentialPolicy { run_whole_sequence: false, prove_reconnect: true, create: false },
    };
    Verifier { region: Region::parse("eu-central-1").unwrap(), credentials: Arc::new(Current::new(vec![credential])) }
}

/// What a client sends, before and after it is signed.
#[derive(Clone, Debug)]
struct Sent {
    method: String,
    uri: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Sent {
    fn plain(body: &[u8]) -> Self {
        let headers = [
            ("host", "127.0.0.1:8481"),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "TrentService.UpdateCustomKeyStore"),
        ];
        Self {
            method: "POST".into(),
            uri: "/".into(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.into())).to_vec(),
            body: body.to_vec(),
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Signed by the AWS SDK's signer.
    fn signed_with(
        mut self,
        secret: &str,
        region: &str,
        service: &str,
        settings: SigningSettings,
        token: Option<&str>,
    ) -> Self {
        let token = token.map(ToOwned::to_owned);
        let identity = Credentials::new(ID, secret, token, None, "test").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service)
            .time(SystemTime::from(Timestamp::from_unix(AT)))
            .settings(settings)
            .build()
            .unwrap();
        let uri = format!("https://127.0.0.1:8481{}", self.uri);
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), std::str::from_utf8(value).unwrap()));
        let signable = SignableRequest::new(&self.method, uri, headers, SignableBody::Bytes(&self.body)).unwrap();
        let (instructions, _) = sign(signable, &params.into()).unwrap().into_parts();
        let made: Vec<(String, Vec<u8>)> =
            instructions.headers().map(|(name, value)| (name.to_owned(), value.into())).collect();
        self.headers.extend(made);
        self
    }

    fn signed(self) -> Self {
        self.signed_with(SECRET, "eu-central-1", "kms", SigningSettings::default(), None)
    }

    fn header(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.headers.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)).unwrap().1
    }

    fn replace(mut self, name: &str, from: &str, to: &str) -> Self {
        let text = String::from_utf8(self.header(name).clone()).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        *self.header(name) = text.replace(from, to).into();
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// As it arrives; `None` if no server would let it in.
    fn head(&self) -> Option<Parts> {
        let mut request = Request::builder().method(self.method.as_str()).uri(self.uri.as_str()).body(()).ok()?;
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            request.headers_mut().append(name, HeaderValue::from_bytes(value).ok()?);
        }
        Some(request.into_parts().0)
    }

    fn verified_at(&self, now: i64) -> Result<(), Failure> {
        let head = self.head().expect("a request");
        verifier(None).verify(&head, &self.body, Timestamp::from_unix(now)).map(|_| ())
    }

    fn refused(&self) -> &'static str {
        self.verified_at(AT).expect_err("a refusal").name
    }
}

#[test]
fn what_the_sdk_signs_is_accepted() {
    let mut checksum = SigningSettings::default();
    checksum.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    assert_eq!(Sent::plain(b"{}").signed().verified_at(AT), Ok(()));
    assert_eq!(Sent::plain(b"").signed().verified_at(AT), Ok(()));
    assert_eq!(Sent::plain(b"{}").signed_with(SECRET, "eu-central-1", "kms", checksum, None).verified_at(AT), Ok(()));
    // Headers that nobody signed may come on the way.
    assert_eq!(Sent::plain(b"{}").signed().with("via", "1.1 proxy").verified_at(AT), Ok(()));
    // Space is folded, values of one name are joined.
    let spaced = Sent::plain(b"{}").with("x-amz-meta", " a   b ").with("x-amz-meta", "c").signed();
    assert_eq!(spaced.verified_at(AT), Ok(()));
    let folded = spaced.clone().replace("x-amz-meta", " a   b ", "a b");
    assert_eq!(folded.verified_at(AT), Ok(()));
    let mut joined = spaced.replace("x-amz-meta", " a   b ", "a b,c");
    let second = joined.headers.iter().rposition(|(name, _)| name == "x-amz-meta").unwrap();
    joined.headers.remove(second);
    assert_eq!(joined.verified_at(AT), Ok(()));
}

#[test]
fn the_window_is_five_minutes() {
    let sent = Sent::plain(b"{}").signed();
    for now in [AT - 300, AT, AT + 300] {
        assert_eq!(sent.verified_at(now), Ok(()));
    }
    for (now, words) in [
        (
            AT - 301,
            "Signature not yet current: 20231114T221320Z is still later than 20231114T221319Z (20231114T220819Z + 5 min.)",
        ),
        (
            AT + 301,
            "Signature expired: 20231114T221320Z is now earlier than 20231114T221321Z (20231114T221821Z - 5 min.)",
        ),
    ] {
        let failure = sent.verified_at(now).unwrap_err();
        assert_eq!((failure.name, failure.message.as_str()), ("InvalidSignatureException", words));
    }
}

#[test]
fn an_expired_credential_is_told_to_whoever_holds_it() {
    let sent = Sent::plain(b"{}").signed();
    let head = sent.head().unwrap();
    let now = Timestamp::from_unix(AT);
    let expired = verifier(Some(now));
    assert_eq!(expired.verify(&head, b"{}", now).unwrap_err().name, "ExpiredTokenException");
    let wrong = Sent::plain(b"{}").signed_with(OTHER_SECRET, "eu-central-1", "kms", SigningSettings::default(), None);
    let failure = expired.verify(&wrong.head().unwrap(), b"{}", now).unwrap_err();
    assert_eq!(failure.name, "InvalidSignatureException");
    let later = verifier(Some(Timestamp::from_unix(AT + 1)));
    assert!(later.verify(&head, b"{}", now).is_ok());
}

#[test]
fn refusals_have_kms_s_names() {
    let signed = || Sent::plain(b"{}").signed();
    let by = |secret, region, service| {
        Sent::plain(b"{}").signed_with(secret, region, service, SigningSettings::default(), None)
    };
    let token = Sent::plain(b"{}").signed_with(SECRET, "eu-central-1", "kms", SigningSettings::default(), Some("t"));
    let scope = ";x-amz-target";
    for (what, sent, name) in [
        ("not signed", Sent::plain(b"{}"), "MissingAuthenticationTokenException"),
        ("another secret", by(OTHER_SECRET, "eu-central-1", "kms"), INVALID),
        ("another region", by(SECRET, "us-east-1", "kms"), INVALID),
        ("another service", by(SECRET, "eu-central-1", "kms-xks-proxy"), INVALID),
        ("another id", signed().replace("authorization", ID, "XKSPFTESTERTESTER235"), UNKNOWN),
        ("a session token", token, UNKNOWN),
        ("two signatures", signed().with("authorization", "AWS4-HMAC-SHA256 "), INCOMPLETE),
        ("SigV4A", signed().replace("authorization", "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), INCOMPLETE),
        ("basic", signed().replace("authorization", "AWS4-HMAC-SHA256", "Basic"), INCOMPLETE),
        ("no date", signed().without("x-amz-date"), INCOMPLETE),
        ("two dates", signed().with("x-amz-date", "20231114T221320Z"), INCOMPLETE),
        (
            "another form of date",
            signed().replace("x-amz-date", "20231114T221320Z", "2023-11-14T22:13:20Z"),
            INCOMPLETE,
        ),
        ("the next day", signed().replace("x-amz-date", "20231114T", "20231115T"), INVALID),
        ("a header less", signed().replace("authorization", scope, ""), INVALID),
        ("an unsigned x-amz-", signed().with("x-amz-more", "1"), INVALID),
        ("host not signed", signed().replace("authorization", "host;", ""), INVALID),
        ("two hosts", signed().with("host", "127.0.0.1:8481"), INVALID),
        ("a header that is not there", signed().without("content-type"), INVALID),
        ("out of order", signed().replace("authorization", "content-type;host", "host;content-type"), INVALID),
        ("twice", signed().replace("authorization", "host;", "host;host;"), INVALID),
        ("upper case", signed().replace("authorization", "=content-type", "=Content-Type"), INVALID),
        ("a parameter more", signed().replace("authorization", ", Signature", ", X=1, Signature"), INCOMPLETE),
        ("a parameter twice", signed().replace("authorization", ", Signature", ", Signature=0, Signature"), INCOMPLETE),
        ("a scope too long", signed().replace("authorization", "aws4_request", "aws4_request/x"), INCOMPLETE),
        ("a scope too short", signed().replace("authorization", "/aws4_request", ""), INCOMPLETE),
        ("no signature", signed().replace("authorization", ", Signature=", ", Sig="), INCOMPLETE),
        ("another checksum", Sent::plain(b"{}").with("x-amz-content-sha256", &"0".repeat(64)).signed(), INVALID),
        ("unsigned payload", Sent::plain(b"{}").with("x-amz-content-sha256", "UNSIGNED-PAYLOAD").signed(), INVALID),
        (
            "chunked",
            Sent::plain(b"{}").with("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD").signed(),
            INVALID,
        ),
    ] {
        assert_eq!(sent.refused(), name, "{what}");
    }
    let presigned = Sent { uri: "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00".into(), ..Sent::plain(b"") };
    assert_eq!(presigned.refused(), INCOMPLETE);
}

/// Another visible byte, which folding does not hide.
fn altered(byte: u8) -> u8 {
    if byte == b'~' { b'!' } else { byte + 1 }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["x-amz-[a-z]{1,8}", "[a-z]{3,8}-[a-z]{1,8}"].prop_filter("has a meaning of its own", |name| {
        let known = ["x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "x-amz-target"];
        !known.contains(&name.as_str()) && !name.starts_with("x-amz-decoded") && name != "user-agent"
    })
}

fn requests() -> impl Strategy<Value = Sent> {
    let value = "[!-~]{0,12}( {0,3}[!-~]{1,8}){0,3} {0,2}";
    let query = proptest::collection::vec(("[a-zA-Z0-9._~-]{1,6}", "[a-zA-Z0-9._~/:-]{0,6}"), 0..4);
    (proptest::collection::vec((name(), value), 0..6), query, proptest::collection::vec(any::<u8>(), 0..300)).prop_map(
        |(headers, query, body)| {
            let mut sent = Sent::plain(&body);
            let pairs: Vec<String> = query.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
            if !pairs.is_empty() {
                sent.uri = format!("/?{}", pairs.join("&"));
            }
            for (name, value) in headers {
                sent = sent.with(&name, &value);
            }
            sent
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_sdk_s_signatures_hold_and_fall_with_any_byte(sent in requests(), place in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let sent = sent.signed();
        prop_assert_eq!(sent.verified_at(AT), Ok(()));
        let mut other = sent.clone();
        other.method = "PUT".into();
        prop_assert!(other.verified_at(AT).is_err());
        // The body, one bit.
        if !sent.body.is_empty() {
            let mut other = sent.clone();
            let at = place.index(other.body.len());
            other.body[at] ^= 1 << bit;
            prop_assert!(other.verified_at(AT).is_err());
        }
        let mut longer = sent.clone();
        longer.body.push(b' ');
        prop_assert!(longer.verified_at(AT).is_err());
        // Every header that is signed, one byte, and whether it is there at all.
        for at in 0..sent.headers.len() {
            let name = sent.headers[at].0.clone();
            let mut other = sent.clone();
            let visible: Vec<usize> = (0..other.headers[at].1.len()).filter(|i| other.headers[at].1[*i] != b' ').collect();
            if !visible.is_empty() {
                let byte = visible[place.index(visible.len())];
                other.headers[at].1[byte] = altered(other.headers[at].1[byte]);
                prop_assert!(other.head().is_none() || other.verified_at(AT).is_err(), "{} at {byte}", name);
            }
            let mut other = sent.clone();
            other.headers.remove(at);
            prop_assert!(other.verified_at(AT).is_err(), "without {}", name);
        }
        // The query, one byte.
        if sent.uri.len() > 2 {
            let mut other = sent.clone();
            let at = 2 + place.index(other.uri.len() - 2);
            let mut uri = other.uri.clone().into_bytes();
            uri[at] = if uri[at] == b'x' { b'y' } else { b'x' };
            other.uri = String::from_utf8(uri).unwrap();
            prop_assert!(other.head().is_none() || other.verified_at(AT).is_err(), "{}", other.uri);
        }
        // The order of the query's parameters is no part of what is signed.
        if let Some(query) = sent.uri.strip_prefix("/?") {
            let mut pairs: Vec<&str> = query.split('&').collect();
            pairs.reverse();
            let other = Sent { uri: format!("/?{}", pairs.join("&")), ..sent.clone() };
            prop_assert_eq!(other.verified_at(AT), Ok(()));
        }
    }

    #[test]
    fn no_byte_of_the_authorization_is_idle(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let sent = Sent::plain(b"{}").signed();
        let mut other = sent.clone();
        let header = other.header("authorization");
        let at = at.index(header.len());
        prop_assume!(header[at] != to);
        header[at] = to;
        prop_assert!(other.head().is_none() || other.verified_at(AT).is_err());
    }

    #[test]
    fn nothing_that_is_sent_makes_it_fail_otherwise(authorization in "\\PC{0,120}", date in "\\PC{0,20}", query in "[ -~]{0,40}") {
        let sent = Sent { uri: format!("/?{query}"), ..Sent::plain(b"") };
        let sent = sent.with("authorization", &format!("AWS4-HMAC-SHA256 {authorization}")).with("x-amz-date", &date);
        prop_assert!(sent.head().is_none() || sent.verified_at(AT).is_err());
    }
}
