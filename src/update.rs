//! The life of an update, all pure: what a change disrupts, the plan, the permit, the transition function, the
//! decision function. No I/O, no clock, no await: time is an argument.
//!
//! # How it works
//!
//! A [`Change`](crate::key_store::Change) is [planned](fn@plan) against what KMS shows. The plan says what it believed,
//! which steps it takes, how it would be undone and until when it may start; its digest binds everything that follows
//! to exactly this plan. What happens is recorded as [`Event`]s; [`State::apply`] folds them, live and after a restart
//! alike, and [`decide()`] looks at the state and at the key store and says what is next.
//!
//! ```text
//! first pre-flight -> (approval) -> second pre-flight -> Disconnect -> wait -> Update -> Connect -> wait -> verify
//!                                                        '--------- any failure from here on ----------'
//!                                                                             v
//!                              restore the former settings, connected as before, or say that it is stuck
//! ```
//!
//! A [`Rotation`] goes on after that, until the former credential is proven refused; see `rotation.rs`.
//!
//! # What can go wrong
//!
//! - Before the first mutation everything ends without a trace: blocked, refused, abandoned.
//! - After it there are three endings: new settings verified, former settings restored, or stuck with an instruction
//!   for a person. The plan's expiry no longer matters then: the right to restore never expires.
//! - A step that was intended and never settled (crash, lost reply) is settled by looking at the key store. The one
//!   thing that cannot be seen there, a secret under an unchanged access key id, is sent again with the same values.

mod approval;
mod barrier;
mod change;
mod connection;
mod creation;
mod decide;
mod event;
mod forecast;
mod freeze;
mod gate;
mod green;
mod plan;
mod policy;
mod rotation;
mod state;
mod step;
mod transition;
mod window;

#[cfg(test)]
mod lives;
#[cfg(test)]
mod proofs;

pub use approval::{Approval, ApprovalDigest, Consent, Proposal};
pub use barrier::{Barriers, BreakGlass, PassedBy};
pub use change::{Disruption, Drift, Standing, changed, disruption};
pub use connection::{ConnectionChange, plan_connection};
pub use creation::{Creation, CreationPermit};
pub use decide::{Decision, Moment, decide};
pub use event::{BlockedBy, Ending, Event, Recorded, Refusal};
pub use forecast::{Forecast, KnownKeys};
pub use freeze::Freeze;
pub use gate::{Denied, Mutation, Permit, PreflightPassed, PreflightSummary, SettingsDigest};
pub use green::{Colour, GreenRule, Lacks, Look, NotGreen, ProxyChange, Span, Vigil};
pub use plan::{Plan, PlanBody, PlanDigest, PlanRefused, Rollback, Wanted, plan};
pub use policy::{ApprovalRule, Limits, Options, Policy};
pub use rotation::{PROOFS, PROPAGATION, Rotate, Rotating, Rotation, RotationPolicy, Stage};
pub use state::{IllegalEvent, Phase, Ready, RefusedLogin, Return, Run, State, Status, StatusName, Tries};
pub use step::{Direction, How, Round, Step, StepOutcome};
pub use window::{DAYS, Opening, Window, Windows};
