//! Single requests besides the samples, on a fresh connection each: such as a proxy must refuse, such as tell why it
//! refuses, and such as tell what else it speaks.
//!
//! None of them is held against KMS's limit. Like every request they go out only on a connection that the judgement of
//! the server's certificates handed out.

use std::time::Duration;

use aws_lc_rs::rand;
use http::Method;
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::deadline::Deadline;
use super::draft::Draft;
use super::egress::Destination;
use super::exchange;
use super::tls::{self, Alpn, Secured, Unsecured};
use super::{Prober, Target, tcp};
use crate::check::{
    Deviation, ExchangeEvidence, Fault, Guess, OfferEvidence, Problem, ProblemKind, Stage, Stop, Trial,
};
use crate::clock::Timestamp;
use crate::id::RequestId;
use crate::key_store::{AccessKeyId, ProxyCredential, RawSecretAccessKey};
use crate::xks::{XksOperation, health_request};

/// Twice the window in which signatures are valid (XKS proxy API, Authentication).
const STALE: Duration = Duration::from_mins(10);

/// What an access key id that nobody gave out begins with, so that the proxy's owner knows it for ours.
const UNKNOWN_ID_PREFIX: &str = "XKSPREFLIGHTUNKNOWN";

/// The alphabet of access key ids.
const ID_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

impl Prober {
    /// Sends one request that differs from a right one in exactly one thing. Each attempt has `patience`; a time-out
    /// is tried once more.
    pub async fn trial(
        &self,
        target: &Target,
        address: Destination,
        deviation: Deviation,
        patience: Duration,
    ) -> Trial {
        let draft = || {
            let mut draft = self.marked(target, &format!("refusal-{}", deviation.as_str()));
            draft.remark = Some(draft.request_id.clone());
            deviate(&mut draft, deviation)?;
            Ok(draft)
        };
        Trial { address: address.address(), deviation, answer: self.ask(draft, address, Alpn::Http1, patience).await }
    }

    /// Asks for health, signed as `guess` says; with an empty guess, as `target` says. Each attempt has `patience`; a
    /// time-out is tried once more.
    pub async fn guess(
        &self,
        target: &Target,
        address: Destination,
        guess: &Guess,
        patience: Duration,
    ) -> Result<ExchangeEvidence, Stop> {
        let draft = || {
            let mut draft = self.marked(target, "diagnosis");
            draft.signed_host.clone_from(&guess.host);
            if let Some(region) = &guess.region {
                draft.region = region.clone();
            }
            if let Some(ahead) = guess.clock {
                draft.signed_at = moved(draft.signed_at, ahead);
            }
            Ok(draft)
        };
        self.ask(draft, address, Alpn::Http1, patience).await
    }

    /// Looks what the server makes of a handshake without ALPN, and of one that offers HTTP/2.
    pub async fn offers(&self, target: &Target, address: Destination, patience: Duration) -> OfferEvidence {
        let draft = || Ok(self.marked(target, "alpn"));
        let without_alpn = self.ask(draft, address, Alpn::None, patience).await;
        let preferred = self.preferred_protocol(target.endpoint.host(), address, patience).await;
        OfferEvidence { address: address.address(), without_alpn, preferred }
    }

    async fn preferred_protocol(&self, host: &str, address: Destination, patience: Duration) -> Option<String> {
        let deadline = Deadline::after(patience);
        let (_, connected) = tcp::connect(address, deadline).await;
        let secured = self.secure(connected.ok()?, host, Alpn::Http2OrHttp1, deadline).await;
        secured.ok()?.evidence.alpn
    }

    /// The right request for health, with a mark in its `kmsRequestId`.
    fn marked(&self, target: &Target, mark: &str) -> Draft {
        let now = self.clock.now();
        let request_id = RequestId::new(&self.ids, now).marked(mark);
        let body = health_request(&target.kms_operation, &request_id);
        Draft::right(target, XksOperation::GetHealthStatus, body, request_id, now)
    }

    async fn secure(
        &self,
        socket: TcpStream,
        host: &str,
        alpn: Alpn,
        deadline: Deadline,
    ) -> Result<Secured, Box<Unsecured>> {
        let client = self.terms.client_certificate();
        tls::secure_offering(&self.terms, socket, host, client, alpn, deadline).await.1
    }

    async fn ask(
        &self,
        draft: impl Fn() -> Result<Draft, Stop>,
        address: Destination,
        alpn: Alpn,
        patience: Duration,
    ) -> Result<ExchangeEvidence, Stop> {
        match self.ask_once(draft()?, address, alpn, patience).await {
            Err(stop) if stop.problem.kind == ProblemKind::TimedOut && stop.problem.fault != Fault::Own => {
                self.ask_once(draft()?, address, alpn, patience).await
            }
            first => first,
        }
    }

    async fn ask_once(
        &self,
        draft: Draft,
        address: Destination,
        alpn: Alpn,
        patience: Duration,
    ) -> Result<ExchangeEvidence, Stop> {
        let deadline = Deadline::after(patience);
        let socket = tcp::connect(address, deadline).await.1?;
        let secured = self.secure(socket, &draft.host, alpn, deadline).await.map_err(|unsecured| unsecured.stop)?;
        let (mut connection, _) = exchange::open(secured).await.map_err(|failed| failed.0)?;
        self.send_draft(&mut connection, draft, deadline).await.1
    }
}

/// Makes the one thing wrong.
fn deviate(draft: &mut Draft, deviation: Deviation) -> Result<(), Stop> {
    match deviation {
        Deviation::Unsigned => draft.authorized = false,
        Deviation::WrongSecret => draft.credential = with_wrong_secret(&draft.credential)?,
        Deviation::UnknownAccessKeyId => draft.credential.access_key_id = unknown_access_key_id()?,
        Deviation::Stale => draft.signed_at = draft.signed_at.minus(STALE),
        Deviation::Get => {
            draft.method = Method::GET;
            draft.body = Vec::new();
        }
        Deviation::UnknownPath => draft.path.push_str("-of-xks-preflight"),
    }
    Ok(())
}

/// The right secret with another character in its middle: not at an end, where a proxy that takes it for base64 might
/// overlook the difference.
fn with_wrong_secret(credential: &ProxyCredential) -> Result<ProxyCredential, Stop> {
    let right = credential.secret_access_key.expose();
    let middle = right.len() / 2;
    let mut wrong = Zeroizing::new(String::with_capacity(right.len()));
    wrong.extend(right.chars().enumerate().map(|(at, c)| match c {
        'A' if at == middle => 'B',
        _ if at == middle => 'A',
        _ => c,
    }));
    let secret_access_key = RawSecretAccessKey::parse(&wrong).map_err(|invalid| not_made(&invalid))?;
    Ok(ProxyCredential { access_key_id: credential.access_key_id.clone(), secret_access_key })
}

fn unknown_access_key_id() -> Result<AccessKeyId, Stop> {
    let mut random = [0_u8; 8];
    rand::fill(&mut random).map_err(|_| not_made(&"this machine has no random numbers"))?;
    let tail = random.iter().map(|byte| char::from(ID_ALPHABET[usize::from(byte % 32)]));
    let text: String = UNKNOWN_ID_PREFIX.chars().chain(tail).collect();
    AccessKeyId::parse(&text).map_err(|invalid| not_made(&invalid))
}

fn not_made(why: &dyn std::fmt::Display) -> Stop {
    let problem = Problem::own(ProblemKind::LocalResources, format!("the request could not be made ({why})"));
    Stop { stage: Stage::Http, problem }
}

fn moved(at: Timestamp, seconds: f64) -> Timestamp {
    let distance = Duration::try_from_secs_f64(seconds.abs()).unwrap_or(Duration::MAX);
    if seconds < 0.0 { at.minus(distance) } else { at.plus(distance) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrong_secret_differs_in_one_character() {
        for text in
            ["TestSecretDoNotLeak0123456789012345678901234567", "TestSecretDoNotLeakAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
        {
            let right = ProxyCredential {
                access_key_id: AccessKeyId::parse("AKIAI2SFODNN7EXAMPLE").unwrap(),
                secret_access_key: RawSecretAccessKey::parse(text).unwrap(),
            };
            let wrong = with_wrong_secret(&right).unwrap();
            let pairs = text.chars().zip(wrong.secret_access_key.expose().chars());
            assert_eq!(pairs.filter(|(right, wrong)| right != wrong).count(), 1);
            assert_eq!(wrong.access_key_id, right.access_key_id);
        }
    }

    #[test]
    fn unknown_access_key_ids_are_well_formed_and_new_each_time() {
        let [one, other] = [unknown_access_key_id().unwrap(), unknown_access_key_id().unwrap()];
        assert_ne!(one, other);
        assert!(one.as_str().starts_with(UNKNOWN_ID_PREFIX));
    }
}
