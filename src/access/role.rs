//! Roles and the permissions that they are made of: the one table.

use std::fmt;

use serde::Serialize;

/// One kind of thing that somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// See key stores, their keys and reports, updates and the audit trail.
    Read,
    /// Run pre-flights: they send requests to a proxy and change nothing.
    Probe,
    /// Ask for updates and rotations, cancel them, roll them back.
    Change,
    /// Approve what somebody else asked for.
    Approve,
    /// Stop changes for a time, and lift that again.
    Freeze,
    /// Pass by approval, freeze and windows, with a reason and an alarm.
    BreakGlass,
    /// Run the service itself, such as reading the configuration anew.
    Administer,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 7] =
        [Self::Read, Self::Probe, Self::Change, Self::Approve, Self::Freeze, Self::BreakGlass, Self::Administer];

    /// Its word in answers and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Probe => "probe",
            Self::Change => "change",
            Self::Approve => "approve",
            Self::Freeze => "freeze",
            Self::BreakGlass => "break_glass",
            Self::Administer => "administer",
        }
    }

    /// What it allows, for tables and help.
    pub fn about(self) -> &'static str {
        match self {
            Self::Read => "see key stores, their keys and reports, updates and the audit trail",
            Self::Probe => "run pre-flights",
            Self::Change => "ask for updates and rotations, cancel them and roll them back",
            Self::Approve => "approve what somebody else asked for",
            Self::Freeze => "stop changes for a time, and lift that",
            Self::BreakGlass => "pass by approval, freeze and windows, with a reason and an alarm",
            Self::Administer => "run the service itself",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of permissions under a name. No rank: see [`Role::permissions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads and probes.
    Prober,
    /// Reads, probes and changes.
    Operator,
    /// Reads, probes and approves.
    Approver,
    /// May do everything.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Viewer, Self::Prober, Self::Operator, Self::Approver, Self::Admin];

    /// Every role, by its word in the configuration.
    pub const NAMES: [&'static str; 5] = ["viewer", "prober", "operator", "approver", "admin"];

    /// Reads the word of the configuration.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Prober => "prober",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Admin => "admin",
        }
    }

    /// What it may do; nothing else.
    pub fn permissions(self) -> &'static [Permission] {
        use Permission::{Approve, Change, Probe, Read};
        match self {
            Self::Viewer => &[Read],
            Self::Prober => &[Read, Probe],
            Self::Operator => &[Read, Probe, Change],
            Self::Approver => &[Read, Probe, Approve],
            Self::Admin => &Permission::ALL,
        }
    }

    /// Whether it may do this.
    pub fn allows(self, permission: Permission) -> bool {
        self.permissions().contains(&permission)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
