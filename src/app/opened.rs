//! The journal of the configuration, opened.

use std::sync::Arc;

use super::{BuildError, Parts};
use crate::config;
use crate::journal::{
    AuditTrail, CanaryKeeper, FreezeKeeper, Journal, OrderDesk, PostgresJournal, PostgresOptions, SealingKey,
    SqliteJournal, SqliteOptions, VigilKeeper,
};

/// The journal, under all its ports.
pub(super) struct Opened {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) canaries: Arc<dyn CanaryKeeper>,
    pub(super) freezes: Arc<dyn FreezeKeeper>,
    pub(super) vigils: Arc<dyn VigilKeeper>,
    pub(super) trail: Arc<dyn AuditTrail>,
    /// Where replicas meet, if there may be several.
    pub(super) desk: Option<Arc<dyn OrderDesk>>,
}

/// Opens the journal that is configured.
pub(super) async fn open_journal(settings: config::JournalSettings, parts: &Parts) -> Result<Opened, BuildError> {
    let sealing_key = settings.sealing_key.map(|key| SealingKey::from_bytes(key.expose())).transpose()?;
    #[cfg(not(feature = "sandbox"))]
    let _ = parts;
    if let Some(postgres) = settings.postgres {
        let journal = PostgresJournal::open(PostgresOptions {
            address: postgres.address,
            roots: postgres.roots,
            sealing_key,
            #[cfg(feature = "sandbox")]
            crash_after_writes: parts.crash_after_journal_writes,
        })
        .await?;
        let journal = Arc::new(journal);
        return Ok(Opened {
            canaries: journal.clone(),
            freezes: journal.clone(),
            vigils: journal.clone(),
            trail: journal.clone(),
            desk: Some(journal.clone()),
            journal,
        });
    }
    let journal = SqliteJournal::open(SqliteOptions {
        path: settings.path,
        sealing_key,
        #[cfg(feature = "sandbox")]
        crash_after_writes: parts.crash_after_journal_writes,
    })?;
    let journal = Arc::new(journal);
    Ok(Opened {
        canaries: journal.clone(),
        freezes: journal.clone(),
        vigils: journal.clone(),
        trail: journal.clone(),
        journal,
        desk: None,
    })
}
