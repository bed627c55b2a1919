//! What was seen of watched candidates, kept beside the journal: a restart does not forget how long one has been green, and
//! replicas count their looks together.

use std::time::Duration;

use async_trait::async_trait;

use super::JournalError;
use crate::check::Verdict;
use crate::clock::Timestamp;
use crate::key_store::{CandidateName, CustomKeyStoreId};
use crate::update::{Look, SettingsDigest, Vigil};

/// Keeps what was seen of candidates, durably: of each the latest look, and since when all have been ready.
#[async_trait]
pub trait VigilKeeper: Send + Sync {
    /// Takes one more look into account, as [`Vigil::after`] says, whoever made those before; gives what is known then.
    async fn look(&self, look: Look, silence: Duration) -> Result<Vigil, JournalError>;

    /// What is known of the candidates of a key store, by name.
    async fn vigils(&self, key_store: &CustomKeyStoreId) -> Result<Vec<Vigil>, JournalError>;
}

/// What nobody has looked at for so long is forgotten.
const KEPT: Duration = Duration::from_hours(90 * 24);

/// A vigil as it stands in a table.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) key_store: String,
    pub(super) candidate: String,
    pub(super) settings: String,
    pub(super) green_since: Option<String>,
    pub(super) last: String,
    pub(super) verdict: String,
    pub(super) message: String,
}

impl Stored {
    /// As the record is written.
    pub(super) fn from(vigil: &Vigil) -> Self {
        Self {
            key_store: vigil.key_store.to_string(),
            candidate: vigil.candidate.to_string(),
            settings: vigil.settings.to_string(),
            green_since: vigil.green_since.map(|since| since.to_string()),
            last: vigil.last.to_string(),
            verdict: vigil.verdict.as_str().to_owned(),
            message: vigil.message.clone(),
        }
    }

    /// Instants are written so that their texts sort as they do: whatever was last looked at before this one is forgotten.
    pub(super) fn forgotten_before(vigil: &Vigil) -> String {
        vigil.last.minus(KEPT).to_string()
    }

    /// The record, unless somebody else wrote in the table.
    pub(super) fn read(self) -> Result<Vigil, Box<dyn std::error::Error + Send + Sync>> {
        let verdict = Verdict::ALL.into_iter().find(|verdict| verdict.as_str() == self.verdict);
        Ok(Vigil {
            key_store: CustomKeyStoreId::parse(&self.key_store)?,
            candidate: CandidateName::parse(&self.candidate)?,
            settings: SettingsDigest::stated(&self.settings),
            green_since: self.green_since.map(|since| Timestamp::parse(&since)).transpose()?,
            last: Timestamp::parse(&self.last)?,
            verdict: verdict.ok_or("there is no such verdict")?,
            message: self.message,
        })
    }
}
