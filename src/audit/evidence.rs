//! Everything about one update in one document, and what can be proven from it without asking anybody.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Action, Broken, Entry, Envelope, Forged, Head, Line, PublicKey, Subject, document_hash, entry_of, verify};
use crate::clock::Timestamp;
use crate::id::{ReportId, UpdateId};
use crate::key_store::CustomKeyStoreId;
use crate::update::{Event, IllegalEvent, PlanDigest, Recorded, State, Step, StepOutcome};

/// The version of the document's shape.
pub const EVIDENCE_SCHEMA: &str = "xks-preflight/evidence/1";

/// Everything about one update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// [`EVIDENCE_SCHEMA`].
    pub schema: String,
    /// Of the program that made it.
    pub version: String,
    /// When it was made.
    pub issued_at: Timestamp,
    /// The update.
    pub update: UpdateId,
    /// Its key store.
    pub key_store: CustomKeyStoreId,
    /// Its plan's digest; the plan itself is in the first event.
    pub plan_digest: PlanDigest,
    /// Its events from the first on.
    pub events: Vec<Recorded>,
    /// The reports of its pre-flights, as they were kept: each a JSON text, of which the trail has the SHA-256.
    pub reports: Vec<KeptReport>,
    /// The trail from the first line about the update to the last one, the lines about others without contents.
    pub lines: Vec<Line>,
    /// The trail's head when this was made.
    pub head: Head,
}

/// A report of a pre-flight, as it was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptReport {
    /// Its id.
    pub id: ReportId,
    /// Its JSON.
    pub document: String,
}

/// What a bundle proves.
#[derive(Clone, Debug, PartialEq)]
pub struct Proven {
    /// The document.
    pub evidence: Evidence,
    /// Who asked for the update.
    pub requested_by: String,
    /// Who approved its plan; each another person than who asked.
    pub approved_by: Vec<String>,
    /// Where the update was when the bundle was made.
    pub status: &'static str,
    /// What KMS was told, with how it ended and KMS's request id.
    pub mutations: Vec<(Step, String, Option<String>)>,
    /// Pre-flights whose report was not kept.
    pub without_report: Vec<ReportId>,
    /// Lines of the trail that put their event in other words than this version: another one wrote them.
    pub reworded: Vec<u64>,
}

/// Why a bundle proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceRefused {
    /// Its signature.
    #[error("{0}")]
    Forged(#[from] Forged),
    /// Its shape.
    #[error("the signed document cannot be read: {0}")]
    Malformed(String),
    /// Another version's shape.
    #[error("the signed document has the schema {0:?}, and this version knows {EVIDENCE_SCHEMA:?}")]
    OtherSchema(String),
    /// Events.
    #[error("the events do not begin with 1, or one is missing before {0}")]
    Gap(u64),
    /// Events that cannot have happened: also an approval by the author, twice by the same, or of another digest.
    #[error("the events cannot have happened: {0}")]
    Impossible(#[from] IllegalEvent),
    /// The plan.
    #[error("the plan is another than the one that the document names")]
    OtherPlan,
    /// The chain.
    #[error("the audit trail in it is {0}")]
    Chain(#[from] Broken),
    /// A line about something else.
    #[error("entry {0} of the audit trail is shown and is not about this update")]
    ForeignLine(u64),
    /// An event without its line.
    #[error("the audit trail has no entry for event {0}")]
    NoLine(u64),
    /// A line that says something else than its event.
    #[error("entry {line} of the audit trail says something else than event {event}")]
    OtherLine {
        /// The line.
        line: u64,
        /// The event.
        event: u64,
    },
    /// A report.
    #[error("report {0} is not the one whose SHA-256 is in the audit trail")]
    OtherReport(ReportId),
    /// A report whose verdict is not the recorded one.
    #[error("report {0} has another verdict than the one that was recorded")]
    OtherVerdict(ReportId),
}

impl Evidence {
    /// The document as it is signed.
    pub fn payload(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// Judges everything in it.
    pub fn prove(self) -> Result<Proven, EvidenceRefused> {
        let gap = self.events.iter().zip(1..).find(|(recorded, expected)| recorded.sequence != *expected);
        if let Some((_, expected)) = gap {
            return Err(EvidenceRefused::Gap(expected));
        }
        // The very function that the daemon lives by: approvals are judged in it, and a plan that was changed has
        // another digest and was not read at all.
        let state =
            State::replay(self.events.iter().map(|recorded| &recorded.event))?.ok_or(EvidenceRefused::Gap(1))?;
        let subject = Subject::of(state.plan());
        let named = Subject { update: self.update, key_store: self.key_store.clone(), plan: self.plan_digest.clone() };
        if subject != named {
            return Err(EvidenceRefused::OtherPlan);
        }
        let reworded = self.follow_chain(&subject)?;
        let without_report = self.check_reports()?;
        let approved_by = self.events.iter().filter_map(|recorded| match &recorded.event {
            Event::ApprovalGiven { by, .. } => Some(by.clone()),
            _ => None,
        });
        let mutations = self.events.iter().filter_map(|recorded| match &recorded.event {
            Event::StepSettled { step, outcome, .. } => {
                let request_id = match outcome {
                    StepOutcome::Done { request_id, .. } | StepOutcome::Refused { request_id, .. } => {
                        request_id.clone()
                    }
                    StepOutcome::NotDone { .. } | StepOutcome::NotSeen { .. } | StepOutcome::Unobservable { .. } => {
                        None
                    }
                };
                Some((*step, outcome.to_string(), request_id))
            }
            _ => None,
        });
        Ok(Proven {
            requested_by: state.plan().requested_by.clone(),
            approved_by: approved_by.collect(),
            status: state.status().status.as_str(),
            mutations: mutations.collect(),
            without_report,
            reworded,
            evidence: self,
        })
    }

    /// Every line is in its place, every event has its line, and no line is about anything else. Gives those lines whose
    /// words are other than this version's.
    fn follow_chain(&self, subject: &Subject) -> Result<Vec<u64>, EvidenceRefused> {
        let Some(first) = self.lines.first() else { return Err(EvidenceRefused::NoLine(1)) };
        let before = Head { sequence: first.sequence.saturating_sub(1), hash: first.previous };
        let last = verify(before, self.lines.iter().map(ToString::to_string), None)?.head;
        if last.sequence > self.head.sequence || (last.sequence == self.head.sequence && last != self.head) {
            return Err(EvidenceRefused::NoLine(self.head.sequence));
        }
        let shown: Vec<(u64, &Entry)> =
            self.lines.iter().filter_map(|line| Some((line.sequence, line.entry.as_ref()?))).collect();
        if let Some((line, _)) = shown.iter().find(|(_, entry)| entry.update != Some(subject.update)) {
            return Err(EvidenceRefused::ForeignLine(*line));
        }
        let same_version = self.version == env!("CARGO_PKG_VERSION");
        let mut reworded = Vec::new();
        for recorded in &self.events {
            let Some(expected) = entry_of(subject, recorded) else { continue };
            let of_event = |(_, entry): &&(u64, &Entry)| entry.event == Some(recorded.sequence);
            let (line, found) = shown.iter().find(of_event).ok_or(EvidenceRefused::NoLine(recorded.sequence))?;
            // Another version may put the same thing in other words.
            let said = Entry { message: found.message.clone(), ..expected.clone() };
            if said != **found || (same_version && expected != **found) {
                return Err(EvidenceRefused::OtherLine { line: *line, event: recorded.sequence });
            }
            if expected != **found {
                reworded.push(*line);
            }
        }
        let events = self.events.len() as u64;
        match shown.iter().find(|(_, entry)| entry.event.is_some_and(|event| event == 0 || event > events)) {
            Some((_, entry)) => Err(EvidenceRefused::Gap(entry.event.unwrap_or_default())),
            None => Ok(reworded),
        }
    }

    /// Every report is the one that was kept, and says what was recorded. Gives those that are not there.
    fn check_reports(&self) -> Result<Vec<ReportId>, EvidenceRefused> {
        for report in &self.reports {
            let kept = self
                .lines
                .iter()
                .filter_map(|line| line.entry.as_ref())
                .find(|entry| entry.action == Action::ReportKept && entry.report == Some(report.id));
            let hash = document_hash(report.document.as_bytes());
            let document: Value = serde_json::from_str(&report.document).unwrap_or_default();
            let same = kept.and_then(|entry| entry.document) == Some(hash)
                && document.get("id").and_then(Value::as_str) == Some(report.id.to_string().as_str());
            if !same {
                return Err(EvidenceRefused::OtherReport(report.id));
            }
        }
        let mut missing = BTreeSet::new();
        for recorded in &self.events {
            let Event::PreflightFinished { summary, .. } = &recorded.event else { continue };
            let Some(report) = self.reports.iter().find(|report| report.id == summary.report) else {
                missing.insert(summary.report);
                continue;
            };
            let document: Value = serde_json::from_str(&report.document).unwrap_or_default();
            if document.get("verdict").and_then(Value::as_str) != Some(summary.verdict.as_str()) {
                return Err(EvidenceRefused::OtherVerdict(report.id));
            }
        }
        Ok(missing.into_iter().collect())
    }
}

/// Opens a bundle and judges everything in it. Asks nobody.
pub fn verify_evidence(bundle: &str, key: &PublicKey) -> Result<Proven, EvidenceRefused> {
    let foreign = |error: serde_json::Error| Forged::Foreign(error.to_string());
    let envelope: Envelope = serde_json::from_str(bundle).map_err(foreign)?;
    let payload = envelope.open(key)?;
    let malformed = |error: serde_json::Error| EvidenceRefused::Malformed(error.to_string());
    let shape: Value = serde_json::from_slice(&payload).map_err(malformed)?;
    let schema = shape.get("schema").and_then(Value::as_str).unwrap_or_default();
    if schema != EVIDENCE_SCHEMA {
        return Err(EvidenceRefused::OtherSchema(schema.chars().take(100).collect()));
    }
    let evidence: Evidence = serde_json::from_slice(&payload).map_err(malformed)?;
    evidence.prove()
}
