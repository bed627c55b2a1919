//! A rotation: an update of the credential alone that goes on after it was verified, until the former credential is
//! proven refused.
//!
//! # How it works
//!
//! ```text
//! update verified -> propagate -------------------> await_removal <-------> prove_refused -> verified
//!                    both credentials are watched;   a person removes        refused everywhere,
//!                    KMS may use either one          the former one          several looks in a row
//! ```
//!
//! Nothing in here changes the key store. What goes wrong leads to the way back of every update, or to a named end.
//!
//! # What can go wrong
//!
//! - The proxy refuses the new credential: back to the former one, if that one is accepted everywhere; otherwise, after
//!   a few more looks, stuck.
//! - The former one is refused too early: nothing is gained by going back to it. It is told, and the time goes on.
//! - Nobody removes the former one: it ends unproven, which is no success and no fault of the key store either.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::gate::PreflightSummary;
use super::plan::Plan;
use super::state::{Return, Run, Tries};
use super::{Decision, Ending, Moment, Round, Standing};
use crate::check::{Acceptance, CredentialsSeen, Verdict};
use crate::clock::Timestamp;
use crate::key_store::{ConnectionState, KeyStore};

/// For how long KMS may go on using the former credential after an update (developer guide, edit external key store
/// properties).
pub const PROPAGATION: Duration = Duration::from_mins(5);

/// How many looks in a row must find the former credential refused everywhere. One address may stand for several
/// proxies, and one look meets one of them.
pub const PROOFS: u32 = 3;

/// How rotations are run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationPolicy {
    /// How long the former credential stays accepted after the update, if the requester says nothing; default 6 minutes.
    pub propagation: Duration,
    /// The least that a requester may ask for; less than [`PROPAGATION`] in a laboratory only.
    pub least_propagation: Duration,
    /// Between two looks while the update propagates; default 30 seconds.
    pub watch_every: Duration,
    /// Between two looks while a person is to remove the former credential; default 5 minutes.
    pub look_every: Duration,
    /// How long a person may take for that; default 7 days.
    pub removal_wait: Duration,
}

impl Default for RotationPolicy {
    fn default() -> Self {
        Self {
            propagation: Duration::from_mins(6),
            least_propagation: PROPAGATION,
            watch_every: Duration::from_secs(30),
            look_every: Duration::from_mins(5),
            removal_wait: Duration::from_hours(7 * 24),
        }
    }
}

/// What the requester of a rotation chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// How long the former credential stays accepted after the update, in seconds; that of the policy by default.
    #[serde(default)]
    pub propagation_seconds: Option<u64>,
}

/// The terms of one rotation, taken from policy and request when its plan was made. Milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the unit belongs to what is recorded")]
pub struct Rotation {
    propagation_ms: u64,
    watch_ms: u64,
    look_ms: u64,
    removal_ms: u64,
}

impl Rotation {
    /// The terms; what rule the asked ones break, to follow the member's name.
    pub(super) fn of(asked: &Rotate, policy: &RotationPolicy) -> Result<Self, &'static str> {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let propagation = asked.propagation_seconds.map_or(policy.propagation, Duration::from_secs);
        if propagation < policy.least_propagation {
            return Err(if policy.least_propagation == PROPAGATION {
                "must be at least 300: KMS may use the former credential for 5 minutes after the update"
            } else {
                "must be at least update.rotation.least_propagation_wait of the daemon's configuration"
            });
        }
        if propagation > Duration::from_hours(24) {
            return Err("must be at most 86400");
        }
        Ok(Self {
            propagation_ms: ms(propagation),
            watch_ms: ms(policy.watch_every),
            look_ms: ms(policy.look_every),
            removal_ms: ms(policy.removal_wait),
        })
    }

    /// How long both credentials are watched after the update.
    pub fn propagation(&self) -> Duration {
        Duration::from_millis(self.propagation_ms)
    }

    /// How long a person may take to remove the former credential.
    pub fn removal_wait(&self) -> Duration {
        Duration::from_millis(self.removal_ms)
    }

    fn watch_every(&self) -> Duration {
        Duration::from_millis(self.watch_ms)
    }

    fn look_every(&self) -> Duration {
        Duration::from_millis(self.look_ms)
    }
}

/// The update is done and verified; the former credential is on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotating {
    terms: Rotation,
    stage: Stage,
    /// The latest look that told something new.
    last: Option<PreflightSummary>,
    /// Looks in a row that found the new settings failing.
    failing: u32,
    /// As in [`Run`].
    blind: bool,
    rollback_wanted: Option<String>,
}

/// Where a rotation is, after its update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// KMS may use either credential.
    Propagate {
        /// For how long both were watched, by a clock that nobody sets. Time in which nobody watched does not count.
        watched: Duration,
    },
    /// A person is to remove the former credential at the proxy.
    AwaitRemoval {
        /// How long that is waited for.
        until: Timestamp,
    },
    /// The former credential seems to be removed.
    ProveRefused {
        /// As before.
        until: Timestamp,
        /// Looks in a row that found it refused everywhere.
        proofs: u32,
    },
}

impl Stage {
    /// The step's name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Propagate { .. } => "propagate",
            Self::AwaitRemoval { .. } => "await_removal",
            Self::ProveRefused { .. } => "prove_refused",
        }
    }

    /// Every step's name, for labels.
    pub const NAMES: [&'static str; 3] = ["propagate", "await_removal", "prove_refused"];
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// The new credential is accepted everywhere and all else is well.
    Well,
    /// The new credential is refused somewhere.
    NewRefused,
    /// Something else blocks.
    Blocked,
    /// It could not be told.
    Unclear,
}

fn found(look: &PreflightSummary) -> Found {
    let new = look.credentials.map_or(Acceptance::Unclear, |seen| seen.new);
    match look.verdict {
        _ if new.is_refused_somewhere() => Found::NewRefused,
        Verdict::Ready if new == Acceptance::Accepted => Found::Well,
        Verdict::Blocked => Found::Blocked,
        Verdict::Ready | Verdict::Inconclusive => Found::Unclear,
    }
}

fn former(look: &PreflightSummary) -> Acceptance {
    look.credentials.map_or(Acceptance::Unclear, |seen| seen.former)
}

/// Whether a look proves what a rotation is for: the new credential works and the former one does not, everywhere.
fn proves(look: &PreflightSummary) -> bool {
    found(look) == Found::Well && former(look) == Acceptance::Refused
}

// --- transitions ---

impl Rotating {
    /// The update was verified; from here on both credentials are watched.
    pub(super) fn begin(terms: Rotation, run: &Run) -> Self {
        let stage = Stage::Propagate { watched: Duration::ZERO };
        let rollback_wanted = run.rollback_wanted.clone();
        Self { terms, stage, last: None, failing: 0, blind: run.blind, rollback_wanted }
    }

    /// Where it is.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Its terms.
    pub fn terms(&self) -> &Rotation {
        &self.terms
    }

    /// What the latest look told of both credentials.
    pub fn seen(&self) -> Option<CredentialsSeen> {
        self.last.as_ref()?.credentials
    }

    /// What the latest look said, in a sentence, if it is anything but well.
    pub fn trouble(&self) -> Option<&str> {
        let last = self.last.as_ref()?;
        (found(last) != Found::Well).then_some(last.message.as_str())
    }

    pub(super) fn watched(
        mut self,
        plan: &Plan,
        round: Round,
        waited: Duration,
        look: &PreflightSummary,
    ) -> Result<Self, &'static str> {
        // A look at other settings tells nothing, whatever it says.
        let look = if look.settings == plan.settings() {
            look.clone()
        } else {
            PreflightSummary { verdict: Verdict::Inconclusive, credentials: None, ..look.clone() }
        };
        self.stage = match (self.stage, round) {
            (Stage::Propagate { watched }, Round::Propagation) => {
                Stage::Propagate { watched: watched.saturating_add(waited) }
            }
            (Stage::AwaitRemoval { until }, Round::Removal) if proves(&look) => {
                Stage::ProveRefused { until, proofs: 1 }
            }
            (Stage::ProveRefused { until, proofs }, Round::Removal) if proves(&look) => {
                Stage::ProveRefused { until, proofs: proofs.saturating_add(1) }
            }
            (Stage::AwaitRemoval { until } | Stage::ProveRefused { until, .. }, Round::Removal) => {
                Stage::AwaitRemoval { until }
            }
            _ => return Err("this look does not come now"),
        };
        self.failing = match found(&look) {
            Found::Well => 0,
            Found::NewRefused | Found::Blocked => self.failing.saturating_add(1),
            Found::Unclear => self.failing,
        };
        self.last = Some(look);
        Ok(self)
    }

    /// Whether a look tells anything that is not known: what is no news is not recorded, of which there would be
    /// thousands.
    pub(super) fn is_news(&self, round: Round, look: &PreflightSummary) -> bool {
        let same = |last: &PreflightSummary| found(last) == found(look) && last.credentials == look.credentials;
        let waits = matches!(self.stage, Stage::AwaitRemoval { .. }) && round == Round::Removal;
        !waits || proves(look) || found(look) == Found::NewRefused || !self.last.as_ref().is_some_and(same)
    }

    pub(super) fn removal_awaited(mut self, until: Timestamp) -> Result<Self, &'static str> {
        if !self.has_propagated() {
            return Err("the update has not been watched for long enough");
        }
        self.stage = Stage::AwaitRemoval { until };
        Ok(self)
    }

    pub(super) fn removal_reported(mut self) -> Result<Self, &'static str> {
        self.stage = match self.stage {
            Stage::Propagate { .. } => {
                return Err(
                    "KMS may still use the former credential: leave it at the proxy until the step await_removal",
                );
            }
            Stage::AwaitRemoval { until } => Stage::ProveRefused { until, proofs: 0 },
            proving @ Stage::ProveRefused { .. } => proving,
        };
        Ok(self)
    }

    pub(super) fn rollback_requested(mut self, by: &str) -> Result<Self, &'static str> {
        if self.last.as_ref().is_some_and(|last| former(last).is_refused_somewhere()) {
            return Err(
                "the proxy refuses the former credential: put it back there first, or ask for another update later",
            );
        }
        self.rollback_wanted = Some(by.to_owned());
        Ok(self)
    }

    /// Only the waiting for a person can be ended by one; the new credential stays.
    pub(super) fn may_be_cancelled(&self) -> Result<(), &'static str> {
        match self.stage {
            Stage::Propagate { .. } => {
                Err("the new credential is in force: roll it back, or cancel once the step is await_removal")
            }
            Stage::AwaitRemoval { .. } | Stage::ProveRefused { .. } => Ok(()),
        }
    }

    pub(super) fn going_back(&self, why: &str) -> Return {
        Return {
            why: why.to_owned(),
            unsettled: None,
            maybe_applied: true,
            maybe_blind: self.blind,
            restored: false,
            login_refused: None,
            tries: Tries::default(),
            failure: None,
        }
    }

    /// Watched for long enough, and well when it was last looked at.
    fn has_propagated(&self) -> bool {
        let well = self.last.as_ref().is_some_and(|last| found(last) == Found::Well);
        matches!(self.stage, Stage::Propagate { watched } if watched >= self.terms.propagation()) && well
    }
}

// --- decisions ---

/// What is next after the update of a rotation.
pub(super) fn decide(
    plan: &Plan,
    rotating: &Rotating,
    cancelled: Option<&str>,
    store: &KeyStore,
    moment: Moment,
) -> Decision {
    if !matches!(plan.standing(store), Standing::New | Standing::Indistinguishable) {
        return stuck(
            "somebody else changed the key store's settings in the middle of the rotation; they are left as they are"
                .to_owned(),
            "find out who changed it (CloudTrail, UpdateCustomKeyStore) and which credential KMS has now; leave both at the \
             proxy until that is known",
        );
    }
    if store.state != ConnectionState::Connected {
        // Whoever disconnected it has a reason, and may connect it again.
        return within(moment, plan.limits.connect(), || {
            stuck(
                format!(
                    "the key store is {}, which is not our doing; it has the new credential, and whether the former one \
                     is refused is not proven",
                    store.state
                ),
                "find out who disconnected it (CloudTrail, DisconnectCustomKeyStore) and connect it; then remove the former \
                 credential at the proxy",
            )
        });
    }
    if let Some(by) = &rotating.rollback_wanted {
        return Decision::RollBack { why: format!("{by} asked for it") };
    }
    if let Some(decision) = rotating.last.as_ref().and_then(|last| troubled(plan, rotating, last, moment)) {
        return decision;
    }
    match rotating.stage {
        Stage::Propagate { .. } if rotating.has_propagated() => {
            Decision::AwaitRemoval { until: moment.now.plus(rotating.terms.removal_wait()) }
        }
        Stage::Propagate { watched } => {
            // The last look comes when the time is over, not an interval later.
            let left = rotating.terms.propagation().saturating_sub(watched);
            let every = rotating.terms.watch_every();
            let pause = if left.is_zero() { every } else { left.min(every) };
            look_after(pause, Round::Propagation, moment)
        }
        Stage::AwaitRemoval { until } => match cancelled {
            Some(by) => Decision::Conclude(unproven(plan, rotating, Some(by))),
            None if moment.now > until => Decision::Conclude(unproven(plan, rotating, None)),
            None => look_after(patience(rotating), Round::Removal, moment),
        },
        Stage::ProveRefused { proofs, .. } if proofs >= PROOFS => Decision::Conclude(Ending::Verified),
        Stage::ProveRefused { proofs, .. } => match cancelled {
            Some(by) => Decision::Conclude(unproven(plan, rotating, Some(by))),
            None => look_after(plan.limits.pause_after(proofs), Round::Removal, moment),
        },
    }
}

/// How long nobody looks while a person is to remove the former credential. What is unclear is looked at sooner.
fn patience(rotating: &Rotating) -> Duration {
    match &rotating.last {
        Some(last) if proves(last) => Duration::ZERO,
        Some(last) if found(last) == Found::Well && former(last) == Acceptance::Accepted => rotating.terms.look_every(),
        _ => rotating.terms.look_every().min(rotating.terms.watch_every()),
    }
}

/// What follows from a look that found the new settings failing.
fn troubled(plan: &Plan, rotating: &Rotating, last: &PreflightSummary, moment: Moment) -> Option<Decision> {
    let enough = rotating.failing >= plan.limits.attempts;
    let way_back = former(last) == Acceptance::Accepted;
    let new = || plan.change.credential.as_ref().map(|new| new.access_key_id.to_string()).unwrap_or_default();
    match (found(last), rotating.stage) {
        (Found::NewRefused, _) if way_back => Some(Decision::RollBack {
            why: format!(
                "the proxy refuses the new credential (access key id {}) and accepts the former one: was the wrong one \
                 removed? {}",
                new(),
                last.message
            ),
        }),
        (Found::NewRefused, _) if enough => Some(stuck(
            format!(
                "the proxy refuses the new credential (access key id {}), which KMS has, and does not accept the former one \
                 everywhere either: {}",
                new(),
                last.message
            ),
            "give the new credential back to every proxy at once: KMS keys of this key store fail until then",
        )),
        (Found::NewRefused, stage) => {
            let round = match stage {
                Stage::Propagate { .. } => Round::Propagation,
                Stage::AwaitRemoval { .. } | Stage::ProveRefused { .. } => Round::Removal,
            };
            Some(look_after(plan.limits.pause_after(rotating.failing), round, moment))
        }
        (Found::Blocked, Stage::Propagate { .. }) if enough && way_back => Some(Decision::RollBack {
            why: format!("the new settings failed in {} looks in a row: {}", rotating.failing, last.message),
        }),
        // Later the former credential is about to go: what is no matter of credentials is not mended by going back.
        (Found::Blocked | Found::Well | Found::Unclear, _) => None,
    }
}

fn unproven(plan: &Plan, rotating: &Rotating, by: Option<&str>) -> Ending {
    let id = plan.former_credential.as_ref().map(|former| former.access_key_id.to_string()).unwrap_or_default();
    let seen = rotating.seen().map_or(Acceptance::Unclear, |seen| seen.former);
    let ended = match by {
        Some(by) => format!("{by} ended the rotation"),
        None => "nobody removed the former credential in time".to_owned(),
    };
    Ending::Unproven {
        by: by.map(ToOwned::to_owned),
        why: format!(
            "{ended}: KMS has the new credential, which was verified, but the former one (access key id {id}) is not proven \
             refused; when last looked at it was: {}",
            seen.as_str()
        ),
        instruction: format!(
            "remove access key id {id} at every proxy, and see with `xks-preflight check` and that credential that \
             sigv4.accepted fails at every address"
        ),
    }
}

fn look_after(pause: Duration, round: Round, moment: Moment) -> Decision {
    match pause.checked_sub(moment.waited).filter(|left| !left.is_zero()) {
        Some(left) => Decision::Rest(left),
        None => Decision::Watch(round),
    }
}

fn within(moment: Moment, bound: Duration, otherwise: impl FnOnce() -> Decision) -> Decision {
    if moment.waited < bound { Decision::Wait } else { otherwise() }
}

fn stuck(why: String, instruction: &str) -> Decision {
    Decision::Conclude(Ending::Stuck { why, instruction: instruction.to_owned() })
}

#[cfg(test)]
mod tests;
