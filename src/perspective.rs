//! Other places to look from: daemons that are asked to pre-flight the same candidate.
//!
//! # Background
//!
//! Certificate authorities validate domains from several places, because one place on a network can be led astray. So
//! it is here: a name resolves differently inside a VPC and outside, a firewall lets one through and not the other,
//! and none of these places is the one that KMS comes from.
//!
//! # How it works
//!
//! Each [`Perspective`] is another daemon's API. All are asked at once, by the same request that a person would make
//! (`POST /v1/preflights` with free-standing settings), while the candidate is looked at from here. They ask nobody in
//! their turn. Which addresses they connect to is their own matter: their resolver, their routes, their guard.
//!
//! # What can go wrong
//!
//! An answer counts only if it is a whole report of the known schema, comes under the expected name, is about exactly
//! the settings that were asked about (the digest says so, the secret's fingerprint included) and does not contradict
//! itself. Everything else is no answer, and never a yes. Text from elsewhere is cut and made printable before anybody
//! else sees it. The secret travels in the body, over verified TLS or within this machine, and is wiped afterwards.

mod answer;
mod attendance;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, StatusCode, header};
use http_body_util::Full;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use tracing::Instrument as _;
use zeroize::Zeroizing;

use self::answer::Asked;
pub use self::attendance::{Attendance, Attended, EVERY};
use crate::chain::Chain;
use crate::check::{OtherPerspective, OtherPerspectives, Problem, ProblemKind, RemoteReport, Subject};
use crate::key_store::{AccountId, ConnectivityKind, Region};
use crate::peer::{CallError, Peer};
use crate::trace::{self, TraceContext};

/// The largest answer that is read, in bytes: a report on a proxy with 64 addresses has less.
const LARGEST: usize = 1024 * 1024;

/// Another daemon.
#[derive(Clone, Debug)]
pub struct Perspective {
    /// What it calls itself in its reports.
    pub name: String,
    /// Where it is, and how it lets us in.
    pub peer: Peer,
    /// For the whole call; less than a pre-flight may take here, so that this is what is told.
    pub timeout: Duration,
}

/// Everybody who is asked, and how many must agree.
#[derive(Clone, Debug)]
pub struct Perspectives {
    /// At least one.
    pub all: Vec<Perspective>,
    /// At least one, at most all of them.
    pub quorum: usize,
}

/// What is asked. The secret is in no `Debug`.
pub struct Question {
    /// The settings.
    pub subject: Subject,
    /// `XksProxyVpcEndpointServiceOwner`
    pub vpc_endpoint_service_owner: Option<AccountId>,
    /// `RawSecretAccessKey`
    pub secret: SecretString,
}

impl Perspectives {
    /// Asks everybody at once.
    pub async fn ask(&self, question: Option<&Question>) -> OtherPerspectives {
        let asked = match question {
            Some(question) => join_all(self.all.iter().map(|perspective| perspective.asked(question))).await,
            None => Vec::new(),
        };
        OtherPerspectives { quorum: self.quorum, asked }
    }
}

impl Perspective {
    async fn asked(&self, question: &Question) -> OtherPerspective {
        let span = tracing::debug_span!("perspective", perspective = self.name, kind = "client");
        self.ask(question).instrument(span).await
    }

    async fn ask(&self, question: &Question) -> OtherPerspective {
        let begun = tokio::time::Instant::now();
        let answer = tokio::time::timeout(self.timeout, self.report(question)).await.unwrap_or_else(|_| {
            let detail = format!("no answer within {} s", self.timeout.as_secs_f64());
            Err(Problem::own(ProblemKind::TimedOut, detail))
        });
        let took = begun.elapsed();
        match &answer {
            Ok(report) => tracing::info!(
                perspective = self.name,
                verdict = %report.view.verdict,
                report = %report.id,
                took_ms = took.as_millis(),
                "another perspective answered"
            ),
            Err(problem) => tracing::warn!(
                perspective = self.name,
                why = problem.detail,
                took_ms = took.as_millis(),
                "another perspective gave no answer that counts"
            ),
        }
        OtherPerspective {
            name: self.name.clone(),
            url: self.peer.url().trim_end_matches('/').to_owned(),
            took,
            answer,
        }
    }

    async fn report(&self, question: &Question) -> Result<RemoteReport, Problem> {
        let body = question.body().map_err(|_| unreadable_question())?;
        let request = self.peer.request(Method::POST, "/v1/preflights");
        // What is done there belongs to this trace.
        let request = match TraceContext::current() {
            Some(context) => request.header(trace::HEADER, context.to_string()),
            None => request,
        };
        let request = request
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .body(Full::new(Bytes::from_owner(body)))
            .map_err(|error| unanswered(&CallError::Request(error)))?;
        let answer = self.peer.call(request, LARGEST).await.map_err(|error| unanswered(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(Problem::own(ProblemKind::Unanswered, answer::refusal(answer.status(), answer.body())));
        }
        answer::read(answer.body(), &Asked { perspective: &self.name, subject: &question.subject })
            .map_err(|why| Problem::own(ProblemKind::Unanswered, why))
    }
}

impl Question {
    /// Free-standing settings. The text is wiped where the last handle to it is dropped.
    fn body(&self) -> serde_json::Result<Zeroizing<Vec<u8>>> {
        let subject = &self.subject;
        let body = Body {
            endpoint: &subject.endpoint,
            path: &subject.path,
            connectivity: subject.connectivity,
            service_name: subject.vpc_endpoint_service.as_deref(),
            service_owner: self.vpc_endpoint_service_owner.as_ref(),
            region: &subject.region,
            credential: Credential {
                access_key_id: &subject.access_key_id,
                secret_access_key: self.secret.expose_secret(),
            },
            options: Options { perspectives: false },
        };
        // Room for all of it at once: a growing vector leaves copies behind that nobody wipes.
        let mut text = Zeroizing::new(Vec::with_capacity(8 * 1024));
        serde_json::to_writer(&mut *text, &body)?;
        Ok(text)
    }
}

/// `POST /v1/preflights`, in KMS's own member names.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "XksProxyUriEndpoint")]
    endpoint: &'a str,
    #[serde(rename = "XksProxyUriPath")]
    path: &'a str,
    #[serde(rename = "XksProxyConnectivity")]
    connectivity: ConnectivityKind,
    #[serde(rename = "XksProxyVpcEndpointServiceName")]
    service_name: Option<&'a str>,
    #[serde(rename = "XksProxyVpcEndpointServiceOwner")]
    service_owner: Option<&'a AccountId>,
    #[serde(rename = "Region")]
    region: &'a Region,
    #[serde(rename = "XksProxyAuthenticationCredential")]
    credential: Credential<'a>,
    options: Options,
}

#[derive(Serialize)]
struct Credential<'a> {
    #[serde(rename = "AccessKeyId")]
    access_key_id: &'a str,
    #[serde(rename = "RawSecretAccessKey")]
    secret_access_key: &'a str,
}

/// Whoever is asked asks nobody: two daemons may be each other's perspective.
#[derive(Serialize)]
struct Options {
    perspectives: bool,
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("endpoint", &self.subject.endpoint).finish_non_exhaustive()
    }
}

/// Text always becomes JSON; should it not, nobody is asked, and nothing passes.
fn unreadable_question() -> Problem {
    Problem::own(ProblemKind::Unanswered, "the question cannot be written down: a fault of xks-preflight")
}

fn unanswered(error: &CallError) -> Problem {
    let kind = match error {
        CallError::Connect(_) | CallError::NotLoopback => ProblemKind::Refused,
        CallError::Tls(_) | CallError::Http(_) | CallError::TooLarge { .. } | CallError::Request(_) => {
            ProblemKind::Unanswered
        }
    };
    Problem::own(kind, answer::printable(&Chain(error).to_string()))
}
