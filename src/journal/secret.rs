//! What secrets are kept for, and until when.

use crate::update::Ending;

/// What a secret is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretPurpose {
    /// The RawSecretAccessKey to change to.
    NewCredential,
    /// The RawSecretAccessKey to go back to.
    FormerCredential,
    /// The KeyStorePassword to change to.
    NewPassword,
    /// The KeyStorePassword to go back to.
    FormerPassword,
}

impl SecretPurpose {
    /// Every purpose.
    pub const ALL: [Self; 4] = [Self::NewCredential, Self::FormerCredential, Self::NewPassword, Self::FormerPassword];

    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NewCredential => "new_credential",
            Self::FormerCredential => "former_credential",
            Self::NewPassword => "new_password",
            Self::FormerPassword => "former_password",
        }
    }
}

/// Which secrets nobody needs any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obsolete {
    /// None of the update's.
    None,
    /// All of the update's, but the credential that KMS was told; and all of the key store's earlier updates, if there is
    /// such a credential.
    AllButTheNewCredential,
    /// All of the update's.
    All,
}

impl Obsolete {
    /// Once an update has ended so.
    pub(super) fn after(ending: &Ending) -> Self {
        match ending {
            Ending::Verified | Ending::Unproven { .. } => Self::AllButTheNewCredential,
            // Whoever sorts it out may need them.
            Ending::Stuck { .. } => Self::None,
            Ending::RolledBack { .. } | Ending::Abandoned { .. } | Ending::Blocked { .. } | Ending::Refused { .. } => {
                Self::All
            }
        }
    }
}
