//! Which of KMS's cipher suites a server accepts, with each version of TLS.
//!
//! A handshake tells what a server prefers of an offer, never what else it would take. So each version is offered
//! alone, with the suites that KMS offers in it; where the server refuses without a reason, it is offered every suite
//! that we can, and then those of former days, to tell a lack of common suites from whatever else it did not like.

use std::time::Duration;

use super::classify;
use super::deadline::Deadline;
use super::egress::Destination;
use super::old_suites::{self, OldChoice};
use super::tcp;
use super::tls::{self, Breadth, Choice, Terms, Versions};
use crate::check::{Problem, ProblemKind, SuiteEvidence, SuiteTrial, TlsEvidence};

/// As the versions of TLS are numbered in its messages.
const TLS12: [u8; 2] = [3, 3];

/// Tries both versions at once, but for what a handshake that finished showed already.
pub(super) async fn try_both(
    terms: &Terms,
    host: &str,
    address: Destination,
    showed: Option<&TlsEvidence>,
    limit: Duration,
) -> SuiteEvidence {
    let shown = |version: &str| {
        let showed = showed.filter(|showed| showed.version.as_deref() == Some(version))?;
        showed.cipher_suite.clone().map(|suite| SuiteTrial::Accepted(Some(suite)))
    };
    let trial = async |shown: Option<SuiteTrial>, versions| match shown {
        Some(shown) => shown,
        None => try_one(terms, host, address, versions, limit).await,
    };
    let (tls13, tls12) =
        tokio::join!(trial(shown("TLSv1.3"), Versions::Tls13), trial(shown("TLSv1.2"), Versions::Tls12));
    SuiteEvidence { tls13, tls12 }
}

async fn try_one(terms: &Terms, host: &str, address: Destination, versions: Versions, limit: Duration) -> SuiteTrial {
    match choice(terms, host, address, (Breadth::Kms, versions), limit).await {
        Choice::Made(suite) => SuiteTrial::Accepted(suite),
        Choice::Broken(problem) => match problem.kind {
            ProblemKind::ProtocolVersion => SuiteTrial::VersionRefused,
            ProblemKind::NoCipherSuite => SuiteTrial::OtherSuites { chosen: None },
            _ => SuiteTrial::Untold(problem),
        },
        Choice::Refused(problem) => match choice(terms, host, address, (Breadth::Wide, versions), limit).await {
            Choice::Made(chosen) => SuiteTrial::OtherSuites { chosen },
            Choice::Refused(_) if versions == Versions::Tls12 => match old_choice(host, address, limit).await {
                Some(OldChoice { version: TLS12, suite }) => {
                    SuiteTrial::OtherSuites { chosen: classify::iana_name(suite) }
                }
                Some(_) => SuiteTrial::VersionRefused,
                None => SuiteTrial::Untold(problem),
            },
            Choice::Refused(_) | Choice::Broken(_) => SuiteTrial::Untold(problem),
        },
    }
}

/// The server refused our offer without a reason; whether it was the suites shows when it is offered more.
pub(super) async fn beyond_kms(terms: &Terms, host: &str, address: Destination, limit: Duration) -> Option<Problem> {
    match choice(terms, host, address, (Breadth::Wide, Versions::Both), limit).await {
        // Offered more, it chose: so it was the suites that it did not like.
        Choice::Made(chosen) => Some(classify::no_common_suite(chosen.as_deref())),
        Choice::Refused(_) => old_choice(host, address, limit).await.map(|chosen| match chosen {
            OldChoice { version: TLS12, suite } => classify::no_common_suite(classify::iana_name(suite).as_deref()),
            OldChoice { .. } => classify::old_version(),
        }),
        Choice::Broken(_) => None,
    }
}

async fn old_choice(host: &str, address: Destination, limit: Duration) -> Option<OldChoice> {
    let deadline = Deadline::after(limit);
    old_suites::choice(tcp::connect(address, deadline).await.1.ok()?, host, deadline).await
}

async fn choice(
    terms: &Terms,
    host: &str,
    address: Destination,
    offer: (Breadth, Versions),
    limit: Duration,
) -> Choice {
    let deadline = Deadline::after(limit);
    match tcp::connect(address, deadline).await.1 {
        Ok(socket) => tls::choice(terms, socket, host, offer, deadline).await,
        Err(stop) => Choice::Broken(stop.problem),
    }
}
