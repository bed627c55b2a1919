//! Reads another daemon's report, and trusts nothing in it.

use std::collections::BTreeSet;

use http::StatusCode;
use serde::Deserialize;

use crate::check::{Fleet, Remark, RemoteReport, Subject, Verdict, View};
use crate::id::ReportId;
use crate::key_store::{ConnectionErrorCode, KmsException, KmsOutcome};
use crate::xks::HealthStatus;

/// The schema that is understood.
const SCHEMA: &str = "xks-preflight/report/1";

/// How much of a text from elsewhere is kept, in characters.
const LONGEST: usize = 500;

/// The longest check id or problem kind, in bytes: longer than any of ours.
const LONGEST_WORD: usize = 64;

/// The most certificates and key managers that are compared.
const MOST: usize = 128;

/// What was asked, and of whom.
pub(super) struct Asked<'a> {
    pub(super) perspective: &'a str,
    pub(super) subject: &'a Subject,
}

/// The members of a report that are looked at; a report has more.
#[derive(Deserialize)]
struct Document {
    schema: String,
    id: ReportId,
    verdict: Verdict,
    lab: bool,
    perspective: String,
    subject: Echo,
    kms: Told,
    findings: Vec<FindingTold>,
    addresses: Vec<AddressTold>,
    health: Option<HealthStatus>,
}

#[derive(Deserialize)]
struct Echo {
    endpoint: String,
    path: String,
    connectivity: String,
    vpc_endpoint_service: Option<String>,
    region: String,
    access_key_id: String,
    settings_digest: String,
}

#[derive(Deserialize)]
struct Told {
    exception: Option<String>,
    connection_error_code: Option<String>,
    retryable: Option<bool>,
}

#[derive(Deserialize)]
struct FindingTold {
    check: String,
    level: String,
    outcome: String,
    problem: Option<String>,
    detail: String,
    kms: Option<Told>,
}

#[derive(Deserialize)]
struct AddressTold {
    certificate: Option<CertificateTold>,
}

#[derive(Deserialize)]
struct CertificateTold {
    sha256: String,
}

/// Reads a report; the error says why it does not count.
pub(super) fn read(body: &[u8], asked: &Asked<'_>) -> Result<RemoteReport, String> {
    // The error's place is told and not its text, which may quote the answer.
    let document: Document = serde_json::from_slice(body).map_err(|error| {
        format!("its answer is no report that is understood here (line {}, column {})", error.line(), error.column())
    })?;
    if document.schema != SCHEMA {
        return Err(format!("its report has the schema {:?}, and {SCHEMA} is understood here", word(&document.schema)));
    }
    if document.perspective != asked.perspective {
        return Err(format!(
            "it calls itself {:?} and was expected to be {:?}: a misconfiguration is likely; compare its --perspective with \
             the name under perspectives",
            printable(&document.perspective),
            asked.perspective
        ));
    }
    document.subject.is(asked.subject)?;
    if document.verdict == Verdict::Ready
        && let Some(contrary) = document.contrary()
    {
        return Err(format!("its report contradicts itself: it says ready, and {contrary}"));
    }
    if document.lab && !asked.subject.lab && document.verdict == Verdict::Ready {
        return Err("it finds it ready with the roots of a laboratory, which KMS does not trust".to_owned());
    }
    let decisive = document.decisive();
    let view = View {
        perspective: asked.perspective.to_owned(),
        verdict: document.verdict,
        decisive,
        certificates: document.certificates(),
        fleet: document.health.map(fleet),
    };
    Ok(RemoteReport { id: document.id, lab: document.lab, kms: document.kms.outcome(), view })
}

/// What an answer that is no report tells.
pub(super) fn refusal(status: StatusCode, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct ProblemTold {
        reason: Option<String>,
        detail: Option<String>,
    }
    let told: Option<ProblemTold> = serde_json::from_slice(body).ok();
    let reason = told.as_ref().and_then(|told| told.reason.as_deref()).map(word);
    let detail = told.as_ref().and_then(|told| told.detail.as_deref()).map(printable);
    match (reason, detail) {
        (Some(reason), Some(detail)) => format!("it answers {} {reason}: {detail}", status.as_u16()),
        _ => format!("it answers {}", status.as_u16()),
    }
}

/// A text from elsewhere, in one line and cut.
pub(super) fn printable(text: &str) -> String {
    let unseen = |character: char| {
        character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut kept: String = text.chars().take(LONGEST).map(|one| if unseen(one) { ' ' } else { one }).collect();
    if text.chars().nth(LONGEST).is_some() {
        kept.push('…');
    }
    kept
}

/// A word of a closed vocabulary that may be younger than ours.
fn word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-');
    if !text.is_empty() && text.len() <= LONGEST_WORD && text.bytes().all(plain) {
        text.to_owned()
    } else {
        "(unreadable)".to_owned()
    }
}

fn fleet(health: HealthStatus) -> Fleet {
    let whole = Fleet::from(health);
    Fleet {
        proxy: (printable(&whole.proxy.0), printable(&whole.proxy.1)),
        key_managers: whole.key_managers.iter().take(MOST).map(|id| printable(id)).collect(),
    }
}

impl Document {
    /// Something in it that does not go with `ready`.
    fn contrary(&self) -> Option<String> {
        if self.addresses.is_empty() {
            return Some("it looked at no address".to_owned());
        }
        let unheld = |finding: &&FindingTold| {
            finding.level == "must" && matches!(finding.outcome.as_str(), "failed" | "own_fault" | "not_reached")
        };
        if !self.findings.iter().any(|finding| finding.level == "must" && finding.outcome == "passed") {
            return Some("no check passed".to_owned());
        }
        self.findings
            .iter()
            .find(unheld)
            .map(|finding| format!("{} is {}", word(&finding.check), word(&finding.outcome)))
    }

    /// As [`crate::check::Report::decisive`] finds it: what fails and speaks for KMS, what fails, what could not be told.
    fn decisive(&self) -> Option<Remark> {
        let musts = || self.findings.iter().filter(|finding| finding.level == "must");
        let failed = || musts().filter(|finding| finding.outcome == "failed");
        let speaks = |finding: &&FindingTold| finding.kms.as_ref().is_some_and(|kms| kms.exception.is_some());
        let deciding = match self.verdict {
            Verdict::Ready => None,
            Verdict::Blocked => failed().find(speaks).or_else(|| failed().next()),
            Verdict::Inconclusive => musts()
                .find(|finding| finding.outcome == "own_fault")
                .or_else(|| musts().find(|finding| finding.outcome == "not_reached")),
        };
        deciding.map(|finding| Remark {
            check: word(&finding.check),
            problem: finding.problem.as_deref().map(word),
            detail: printable(&finding.detail),
        })
    }

    fn certificates(&self) -> BTreeSet<String> {
        let told = self.addresses.iter().filter_map(|address| address.certificate.as_ref());
        told.take(MOST).map(|certificate| word(&certificate.sha256)).collect()
    }
}

impl Told {
    /// What KMS would make of it, in words of AWS's that are known here.
    fn outcome(self) -> Option<KmsOutcome> {
        let known = |code: &ConnectionErrorCode| !matches!(code, ConnectionErrorCode::Unrecognized(_));
        let code = self.connection_error_code.as_deref().map(ConnectionErrorCode::from_wire).filter(known);
        let exception = self.exception.as_deref().and_then(KmsException::from_wire);
        (exception.is_some() || code.is_some()).then_some(KmsOutcome {
            exception,
            also: None,
            connection_error_code: code,
            retryable: self.retryable,
        })
    }
}

impl Echo {
    /// Whether these are the settings that were asked about; else which member is not.
    fn is(&self, asked: &Subject) -> Result<(), String> {
        let members = [
            ("endpoint", self.endpoint == asked.endpoint),
            ("path", self.path == asked.path),
            ("connectivity", self.connectivity == asked.connectivity.as_str()),
            ("vpc_endpoint_service", self.vpc_endpoint_service == asked.vpc_endpoint_service),
            ("region", self.region == asked.region.as_str()),
            ("access_key_id", self.access_key_id == asked.access_key_id),
            // The last, as it covers all of them, and the secret.
            ("settings_digest", self.settings_digest == asked.kms_settings_digest()),
        ];
        match members.into_iter().find(|(_, same)| !same) {
            None => Ok(()),
            Some((member, _)) => Err(format!("its report is about other settings than it was asked about ({member})")),
        }
    }
}
