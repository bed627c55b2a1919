//! Who agreed to what: a person agrees to exactly one plan together with what its first pre-flight found, nobody to
//! their own plan, and nobody twice.

use std::fmt;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use super::gate::{Denied, PreflightPassed, PreflightSummary};
use super::plan::{Plan, PlanDigest, hexadecimal};
use super::policy::ApprovalRule;
use super::{Disruption, PlanRefused};

/// SHA-256 over a plan's digest and what is kept of the report of its first pre-flight, 64 hexadecimal digits: what
/// whoever approves must state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ApprovalDigest(String);

impl ApprovalDigest {
    /// A digest as somebody states it, to be compared; any text is possible and simply does not match.
    pub fn stated(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(plan: &Plan, first: &PreflightSummary) -> Result<Self, PlanRefused> {
        // Canonical for the same reason as a plan: serde writes the members in their declared order.
        let summary = serde_json::to_vec(first).map_err(|_| PlanRefused::NotRecordable)?;
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"xks-preflight/approval/1\0");
        context.update(plan.digest().as_str().as_bytes());
        context.update(b"\0");
        context.update(&summary);
        Ok(Self(hexadecimal(context.finish().as_ref())))
    }
}

impl fmt::Display for ApprovalDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether two names are of one person. Upper and lower case are not told apart, nor is how somebody authenticated: a
/// name is one person's, whether it comes from a token, a certificate or an identity provider.
fn same_person(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

/// A plan whose first pre-flight passed, with those who have agreed so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    passed: PreflightPassed,
    digest: ApprovalDigest,
    consents: Vec<String>,
}

impl Proposal {
    /// Of a first pre-flight that passed.
    pub(super) fn of(plan: &Plan, first: &PreflightSummary) -> Result<Self, Denied> {
        let passed = PreflightPassed::of(plan, first)?;
        let digest = ApprovalDigest::of(plan, first).map_err(|_| Denied::OtherPlan)?;
        Ok(Self { passed, digest, consents: Vec::new() })
    }

    /// The pre-flight that passed.
    pub fn passed(&self) -> &PreflightPassed {
        &self.passed
    }

    /// What whoever approves must state.
    pub fn digest(&self) -> &ApprovalDigest {
        &self.digest
    }

    /// Who has agreed so far, in order.
    pub fn consents(&self) -> &[String] {
        &self.consents
    }

    /// With one more person's yes.
    pub(super) fn with(mut self, plan: &Plan, consent: &Consent<'_>) -> Result<Self, Denied> {
        let Consent { by, digest, outage_acknowledged } = *consent;
        if by.trim().is_empty() || same_person(by, &plan.requested_by) {
            return Err(Denied::AuthorMayNotApprove { by: by.to_owned() });
        }
        if *digest != self.digest {
            return Err(Denied::OtherPlan);
        }
        if self.consents.iter().any(|earlier| same_person(earlier, by)) {
            return Err(Denied::AlreadyApproved { by: by.to_owned() });
        }
        if matches!(plan.disruption, Disruption::Disconnect { .. }) && !outage_acknowledged {
            return Err(Denied::OutageNotAcknowledged);
        }
        self.consents.push(by.to_owned());
        Ok(self)
    }

    /// The proof, once as many people as the plan demands have agreed.
    pub(super) fn approval(&self, plan: &Plan) -> Option<Approval> {
        let enough = plan.approval != ApprovalRule::None && self.consents.len() >= plan.approval.people();
        enough.then(|| Approval { digest: plan.digest().clone(), by: self.consents.clone() })
    }
}

/// One person's yes, as stated.
#[derive(Clone, Copy, Debug)]
pub struct Consent<'a> {
    /// Who.
    pub by: &'a str,
    /// To what.
    pub digest: &'a ApprovalDigest,
    /// Whether they know that a change which disconnects the key store takes its keys out of use.
    pub outage_acknowledged: bool,
}

/// Proof that whoever must agree to the plan has agreed to exactly it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    digest: PlanDigest,
    by: Vec<String>,
}

impl Approval {
    /// For a plan that needs no approval.
    pub(super) fn not_required(plan: &Plan) -> Option<Self> {
        (plan.approval == ApprovalRule::None).then(|| Self { digest: plan.digest().clone(), by: Vec::new() })
    }

    /// For a plan that says that it passes by approval, with who answers for that.
    pub(super) fn by_break_glass(plan: &Plan, by: &str) -> Option<Self> {
        let stated = plan.break_glass.is_some() && by == plan.requested_by;
        stated.then(|| Self { digest: plan.digest().clone(), by: Vec::new() })
    }

    /// Whether it is of this plan.
    pub(super) fn is_of(&self, plan: &Plan) -> bool {
        self.digest == *plan.digest()
    }

    /// Who agreed; nobody when nobody had to, or when somebody broke the glass.
    pub fn by(&self) -> &[String] {
        &self.by
    }
}
