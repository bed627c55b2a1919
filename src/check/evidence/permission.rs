//! What the identity used here may do at KMS.

use std::collections::BTreeMap;

/// The actions of an update that identity policies decide about: those on key stores, whose resource is `*`.
/// (DescribeKey is left to the keys' own policies.)
pub const SIMULATED_ACTIONS: [&str; 5] = [
    "kms:DescribeCustomKeyStores",
    "kms:UpdateCustomKeyStore",
    "kms:DisconnectCustomKeyStore",
    "kms:ConnectCustomKeyStore",
    "kms:ListKeys",
];

/// What IAM's simulation of an identity's policies gave (SimulatePrincipalPolicy).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// ARN of the identity.
    pub of: String,
    /// `EvalDecision` by action: `allowed`, `explicitDeny` or `implicitDeny`.
    pub decisions: BTreeMap<String, String>,
}
