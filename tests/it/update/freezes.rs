//! A freeze at the worst moment: between the permit for the first mutation and its sending.

use std::sync::Arc;

use async_trait::async_trait;
use xks_preflight::clock::Timestamp;
use xks_preflight::driver::{Driver, Parts};
use xks_preflight::journal::{FreezeKeeper, Journal, JournalError, SqliteJournal};
use xks_preflight::key_store::CustomKeyStoreId;
use xks_preflight::sandbox::kms::ConnectionState;
use xks_preflight::update::{Ending, Event, Freeze, Refusal, Step};

use super::bench::{Bench, OLD, ending, follow, journal};

/// Keeps freezes, and gets one from somebody else as soon as a step is intended.
struct Meanwhile {
    keeper: Arc<SqliteJournal>,
    journal: Arc<SqliteJournal>,
    step: Step,
}

impl Meanwhile {
    async fn is_intended(&self) -> Result<bool, JournalError> {
        let Some(open) = self.journal.open_updates().await?.pop() else { return Ok(false) };
        let intended = |event: &Event| matches!(event, Event::StepIntended { step, .. } if *step == self.step);
        Ok(self.journal.load(open).await?.iter().any(|recorded| intended(&recorded.event)))
    }
}

#[async_trait]
impl FreezeKeeper for Meanwhile {
    async fn freeze(&self, freeze: &Freeze) -> Result<(), JournalError> {
        self.keeper.freeze(freeze).await
    }

    async fn lift(
        &self,
        key_store: Option<&CustomKeyStoreId>,
        by: &str,
        at: Timestamp,
    ) -> Result<Option<Freeze>, JournalError> {
        self.keeper.lift(key_store, by, at).await
    }

    async fn freezes(&self) -> Result<Vec<Freeze>, JournalError> {
        if self.is_intended().await? {
            let (reason, by) = ("quarter end".to_owned(), "root".to_owned());
            self.freeze(&Freeze { key_store: None, reason, by, since: Timestamp::from_unix(0), until: None }).await?;
        }
        self.keeper.freezes().await
    }
}

async fn driven(step: Step) -> (Bench, Driver, tempfile::TempDir, Arc<SqliteJournal>) {
    let (bench, directory) = (Bench::new().await, tempfile::tempdir().unwrap());
    let journal = Arc::new(journal(directory.path()));
    let freezes = Meanwhile { keeper: bench.freezes.clone(), journal: journal.clone(), step };
    let driver = Driver::new(Parts { freezes: Arc::new(freezes), ..bench.parts(journal.clone()) });
    (bench, driver, directory, journal)
}

#[tokio::test]
async fn one_that_comes_while_the_first_step_is_being_recorded_stops_it() {
    let (bench, driver, _directory, _journal) = driven(Step::Disconnect).await;
    let id = driver.submit(bench.endpoint_request()).await.unwrap().id;
    let told = follow(&driver, id).await;
    assert!(told.iter().any(|recorded| matches!(recorded.event, Event::StepIntended { .. })), "{told:?}");
    let ended = ending(&driver, id).await;
    assert!(matches!(ended, Ending::Refused { reason: Refusal::Frozen, .. }), "{ended:?}");
    assert_eq!(bench.calls(), [""; 0]);
    assert_eq!(bench.shown(), (OLD.to_owned(), ConnectionState::Connected));
    driver.shutdown().await;
}

#[tokio::test]
async fn one_that_comes_later_strands_nothing() {
    let (bench, driver, _directory, _journal) = driven(Step::Update).await;
    let id = driver.submit(bench.endpoint_request()).await.unwrap().id;
    assert_eq!(ending(&driver, id).await, Ending::Verified);
    driver.shutdown().await;
}
