//! Checks: evidence in, findings out.
//!
//! Stages do the I/O and leave [`Evidence`]; checks are pure functions of it. [`CATALOGUE`] is the one list: the
//! runner, the reports, the metrics, the README's table and the API all read it. A failed target is a value here,
//! never an `Err`.

mod catalogue;
mod evidence;
mod judge;
mod latency;
mod problem;
mod report;

pub use catalogue::{CATALOGUE, Check, Citation, Stage, find};
pub use evidence::vpc;
pub use evidence::{
    Acceptance, AddressEvidence, Attempt, AwsEvidence, CapacityEvidence, Certificate, CloudHsmEvidence, Cluster,
    ClusterSettings, ClusterState, ClusterSubject, ControlPlane, CredentialsSeen, CurrentProxy, Deviation, Enumeration,
    Evidence, ExchangeEvidence, Fleet, FormerSettings, FormerTrial, Guess, Guessed, Hsm, KMS_PORT, KMS_TIME_LIMIT,
    KeyEvidence, KeyFailure, KeyProofs, KeyTally, KeysAtAddress, KmsList, KmsListing, LARGEST_BODY, LoadEvidence,
    LoadLatency, LoadOperation, LoadOutcome, LoadStop, OcspStaple, OfferEvidence, OtherPerspective, OtherPerspectives,
    Permissions, PerspectiveEvidence, ProbedSettings, Proving, PublicKey, RECOMMENDED_ROUND_TRIP, RefusalEvidence,
    Remark, RemoteReport, Resolution, SIMULATED_ACTIONS, Sample, SampleKind, SecretEvidence, SecurityGroupRules,
    SignatureEvidence, Stop, StrangerTrial, Subject, SuiteEvidence, SuiteTrial, TOLERATED_SKEW, TlsEvidence, Trial,
    Trust, View, VpcEvidence, certificate_name_covers, is_globally_routable,
};
pub use judge::judge;
pub use latency::{Latency, Quantiles};
pub use problem::{Fault, Problem, ProblemKind};
pub use report::{Finding, JudgingPolicy, Level, Outcome, Report, Verdict, Waiver};
