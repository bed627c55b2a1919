//! The enumerations of all places: KMS keys are listed for one account and Region at a time, within its own quotas.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Enumerator;
use crate::check::{Enumeration, Problem, ProblemKind};
use crate::clock::Clock;
use crate::key_store::{CustomKeyStoreId, Place};
use crate::places::Places;

/// An [`Enumerator`] for each place; a key store is asked about where it is.
#[derive(Debug)]
pub struct Enumerators {
    places: Arc<Places>,
    each: Vec<(Place, Arc<Enumerator>)>,
    clock: Arc<dyn Clock>,
}

impl Enumerators {
    /// The enumerators of these places.
    pub fn new(
        places: Arc<Places>,
        each: impl IntoIterator<Item = (Place, Arc<Enumerator>)>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { places, each: each.into_iter().collect(), clock }
    }

    /// The one for the place of a key store; `None` if nobody knows where it is.
    pub fn of(&self, key_store: &CustomKeyStoreId) -> Option<&Enumerator> {
        let place = self.places.place_of(key_store)?;
        self.each.iter().find(|(at, _)| at == place).map(|(_, enumerator)| &**enumerator)
    }

    /// As [`Enumerator::known`]; of a key store that is nowhere, nothing is known, and that says so.
    pub fn known(&self, key_store: &CustomKeyStoreId) -> Enumeration {
        self.of(key_store).map_or_else(|| self.nowhere(key_store), |enumerator| enumerator.known(key_store))
    }

    /// As [`Enumerator::refreshed`].
    pub async fn refreshed(&self, key_store: &CustomKeyStoreId, within: Duration) -> Enumeration {
        match self.of(key_store) {
            Some(enumerator) => enumerator.refreshed(key_store, within).await,
            None => self.nowhere(key_store),
        }
    }

    /// Sweeps every place now and `every` so often, until `stop`. A slow one holds nobody up.
    pub async fn run(&self, every: Duration, stop: CancellationToken) {
        let mut sweeping = JoinSet::new();
        for (_, enumerator) in &self.each {
            let (enumerator, stop) = (Arc::clone(enumerator), stop.clone());
            sweeping.spawn(async move { enumerator.run(every, stop).await });
        }
        while let Some(ended) = sweeping.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "an enumeration of KMS keys failed, a fault of this program");
            }
        }
    }

    fn nowhere(&self, key_store: &CustomKeyStoreId) -> Enumeration {
        let detail = format!("no account and Region is known to have {key_store}: its keys cannot be looked for");
        Enumeration {
            keys: Arc::from([]),
            denied: 0,
            incomplete: Some(Problem::own(ProblemKind::Unread, detail)),
            at: self.clock.now(),
        }
    }
}
