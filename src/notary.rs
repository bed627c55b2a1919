//! The notary: writes decisions that no update's event tells, and hands out signed evidence.
//!
//! # How it works
//!
//! Faces tell it what they refused and what was ordered; it appends each to the [`AuditTrail`]. Refusals are bounded: of
//! each principal, and of all strangers together, only so many a minute get a line of their own, and a further line
//! counts the others. At intervals it logs the trail's head, so that whoever keeps logs elsewhere keeps heads.
//!
//! # What can go wrong
//!
//! - The trail cannot be written: a refusal stays a refusal, the log says that its line is missing. What is allowed
//!   must not go on: [`Notary::note`] gives the error.
//! - No signing key is configured: there are no bundles, and the answer says why.

mod quota;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::quota::Quotas;
use crate::audit::{
    Action, By, Decision, EVIDENCE_SCHEMA, Entry, Envelope, Evidence, Head, KeptReport, Line, PublicKey, SigningKey,
    Subject,
};
use crate::chain::Chain;
use crate::clock::Clock;
use crate::id::UpdateId;
use crate::journal::{AuditTrail, JournalError, LinesWanted};
use crate::key_store::CustomKeyStoreId;
use crate::update::{Event, Recorded};

/// Between two lines of the log that tell the head.
const HEAD_EVERY: Duration = Duration::from_hours(1);
/// How long left out refusals wait to be counted in a line.
const COUNT_EVERY: Duration = Duration::from_mins(1);
/// Lines of the trail between an update's first and last that one bundle may hold.
const LONGEST_CHAIN: usize = 50_000;
/// Lines read at once.
const PAGE: usize = 1_000;

/// What a notary is made of.
pub struct Parts {
    /// Where to write.
    pub trail: Arc<dyn AuditTrail>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Signs bundles.
    pub signing_key: Option<SigningKey>,
    /// Told how many refusals were left out.
    pub left_out: Box<dyn Fn(u64) + Send + Sync>,
}

/// Writes decisions and signs evidence.
pub struct Notary {
    parts: Parts,
    quotas: Mutex<Quotas>,
}

/// Something that was refused at a face.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Who; absent when nobody was recognised.
    pub by: Option<By>,
    /// What was wanted.
    pub action: Action,
    /// On which key store, where that is known.
    pub key_store: Option<CustomKeyStoreId>,
    /// In which update.
    pub update: Option<UpdateId>,
    /// Why; never what was presented.
    pub message: String,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// Nobody could verify it.
    #[error("no evidence is handed out unsigned: configure audit.signing_key (openssl genpkey -algorithm ed25519)")]
    NoSigningKey,
    /// The record cannot be read, or there is no such update.
    #[error("update cannot be read")]
    Journal(#[from] JournalError),
    /// Its lines are too far apart.
    #[error("more than {LONGEST_CHAIN} lines of the audit trail lie between the update's first and its last")]
    TooLong,
    /// The trail is damaged.
    #[error("audit trail cannot be read; verify it with: xks-preflight audit verify")]
    Unreadable(#[from] crate::audit::Unreadable),
    /// A fault of this program.
    #[error("evidence cannot be written")]
    Coding(#[from] serde_json::Error),
}

impl std::fmt::Debug for Notary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notary").field("signing_key", &self.parts.signing_key).finish_non_exhaustive()
    }
}

impl Notary {
    /// Ready to write.
    pub fn new(parts: Parts) -> Self {
        Self { parts, quotas: Mutex::new(Quotas::default()) }
    }

    /// The trail.
    pub fn trail(&self) -> &dyn AuditTrail {
        &*self.parts.trail
    }

    /// The key that verifies bundles, if any are signed.
    pub fn public_key(&self) -> Option<PublicKey> {
        self.parts.signing_key.as_ref().map(SigningKey::public)
    }

    /// Writes a decision. What it allows must wait for it.
    pub async fn note(&self, entry: &Entry) -> Result<Head, JournalError> {
        self.parts.trail.note(entry).await
    }

    /// Writes what this program itself did; a failure is logged.
    pub async fn note_own(&self, action: Action, message: impl Into<String>) {
        let now = self.parts.clock.now();
        let entry = Entry::new(now, Some(By::daemon()), action, Decision::Recorded, message);
        note_or_tell(&*self.parts.trail, &entry).await;
    }

    /// Writes a refusal, within bounds.
    pub async fn refused(&self, refusal: Refusal) {
        let Refusal { by, action, key_store, update, message } = refusal;
        let admitted = self.quotas.lock().unwrap_or_else(PoisonError::into_inner).admit(by.as_ref(), Instant::now());
        if !admitted {
            (self.parts.left_out)(1);
            return;
        }
        let entry = Entry::new(self.parts.clock.now(), by, action, Decision::Denied, message);
        let entry = Entry { key_store, update, ..entry };
        let trail = Arc::clone(&self.parts.trail);
        // A task of its own: who hangs up as soon as it is refused gets its line all the same.
        let written = tokio::spawn(async move { note_or_tell(&*trail, &entry).await });
        // A panic there has been told by the runtime already.
        let _ = written.await;
    }

    /// Counts left out refusals and tells the head, until `stop`; then once more.
    pub async fn run(&self, stop: CancellationToken) {
        let mut count = interval(COUNT_EVERY);
        count.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told: Option<Instant> = None;
        loop {
            let stopped = tokio::select! {
                _ = count.tick() => false,
                () = stop.cancelled() => true,
            };
            self.count_left_out().await;
            if stopped {
                self.note_own(Action::DaemonStopped, "ended as it was told").await;
            }
            if stopped || told.is_none_or(|at| at.elapsed() >= HEAD_EVERY) {
                told = Some(Instant::now());
                self.tell_head().await;
            }
            if stopped {
                return;
            }
        }
    }

    /// Everything about an update, signed.
    pub async fn evidence(&self, events: Vec<Recorded>) -> Result<Envelope, EvidenceError> {
        let key = self.parts.signing_key.as_ref().ok_or(EvidenceError::NoSigningKey)?;
        let subject = events.iter().find_map(|recorded| match &recorded.event {
            Event::Planned { plan } => Some(Subject::of(plan)),
            _ => None,
        });
        // A record always begins with its plan; see `State::replay`.
        let subject = subject.ok_or(EvidenceError::Journal(JournalError::Closed))?;
        let (lines, head) = self.lines_of(subject.update).await?;
        let reports = self.parts.trail.reports(subject.update).await?;
        let evidence = Evidence {
            schema: EVIDENCE_SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            issued_at: self.parts.clock.now(),
            update: subject.update,
            key_store: subject.key_store,
            plan_digest: subject.plan,
            events,
            reports: reports.into_iter().map(|(id, document)| KeptReport { id, document }).collect(),
            lines,
            head,
        };
        Ok(key.envelope(&evidence.payload()?))
    }

    /// The trail from the first line about an update to the last one, others withheld; and its head.
    async fn lines_of(&self, update: UpdateId) -> Result<(Vec<Line>, Head), EvidenceError> {
        let trail = &self.parts.trail;
        let mut own = LinesWanted { limit: PAGE, update: Some(update), ..LinesWanted::default() };
        let (mut first, mut last) = (None, 0);
        loop {
            let page = trail.lines(&own).await?;
            for text in &page {
                let sequence = Line::parse(text)?.sequence;
                first.get_or_insert(sequence);
                last = sequence;
            }
            if page.len() < PAGE {
                break;
            }
            own.after = last;
        }
        let Some(first) = first else { return Ok((Vec::new(), trail.head().await?)) };
        if last - first >= LONGEST_CHAIN as u64 {
            return Err(EvidenceError::TooLong);
        }
        let mut lines = Vec::new();
        let mut wanted = LinesWanted { after: first - 1, limit: PAGE, ..LinesWanted::default() };
        while wanted.after < last {
            let page = trail.lines(&wanted).await?;
            if page.is_empty() {
                break;
            }
            for text in &page {
                let line = Line::parse(text)?;
                wanted.after = line.sequence;
                if line.sequence <= last {
                    let ours = line.entry.as_ref().is_some_and(|entry| entry.update == Some(update));
                    lines.push(if ours { line } else { line.withheld() });
                }
            }
        }
        Ok((lines, trail.head().await?))
    }

    async fn count_left_out(&self) {
        let counted = self.quotas.lock().unwrap_or_else(PoisonError::into_inner).take_left_out(Instant::now());
        for (by, count) in counted {
            let message = format!("{count} refusals were not recorded one by one: there were too many in a short time");
            let entry = Entry::new(self.parts.clock.now(), by, Action::LeftOut, Decision::Denied, message);
            note_or_tell(&*self.parts.trail, &entry).await;
        }
    }

    async fn tell_head(&self) {
        match self.parts.trail.head().await {
            Ok(head) => tracing::info!(%head, "head of the audit trail; kept elsewhere, it proves what came before"),
            Err(error) => tracing::error!(error = %Chain(&error), "head of the audit trail cannot be read"),
        }
    }
}

/// Writes a decision that stands already; a failure is logged.
async fn note_or_tell(trail: &dyn AuditTrail, entry: &Entry) {
    if let Err(error) = trail.note(entry).await {
        let (action, decision) = (entry.action.as_str(), entry.decision.as_str());
        tracing::error!(error = %Chain(&error), action, decision, "a line is missing in the audit trail");
    }
}
