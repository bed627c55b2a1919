//! What AWS tells of the VPC endpoint services of watched key stores, read now and then.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::patrol::Beat;
use crate::check::VpcEvidence;
use crate::check::vpc::ServiceSight;
use crate::preflight::Candidate;
use crate::vpc::VpcReader;

/// From one look at a service to the next: a dozen reads each time, of limits that the whole account shares.
const EVERY: Duration = Duration::from_mins(5);

/// What was told may stand in for so long while AWS does not answer: its silence says nothing about the service.
const KEPT: Duration = Duration::from_hours(1);

/// The latest that was told of the service of each store, and of each candidate.
#[derive(Default)]
pub(super) struct ServiceWatch {
    told: Mutex<BTreeMap<Beat, (Instant, VpcEvidence)>>,
}

impl ServiceWatch {
    /// What AWS tells of the candidate's service, at most five minutes old, or an hour while AWS does not answer. `reader`
    /// asks where the key store is.
    pub(super) async fn look(
        &self,
        reader: Option<&dyn VpcReader>,
        beat: &Beat,
        candidate: &Candidate,
    ) -> Option<VpcEvidence> {
        let reader = reader?;
        let earlier = self.told(beat).filter(|(_, seen)| {
            candidate.vpc_endpoint_service.as_deref() == Some(seen.name.as_str())
                && candidate.vpc_endpoint_service_owner == seen.stated_owner
        });
        if let Some((at, seen)) = &earlier
            && at.elapsed() < EVERY
        {
            return Some(seen.clone());
        }
        let now = candidate.endpoint_service(reader).await?;
        if let ServiceSight::Untold(problem) = &now.sight {
            tracing::warn!(key_store = %beat.key_store, why = problem.detail, "its VPC endpoint service cannot be read");
            return Some(earlier.filter(|(at, _)| at.elapsed() < KEPT).map_or(now, |(_, seen)| seen));
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(beat.clone(), (Instant::now(), now.clone()));
        Some(now)
    }

    fn told(&self, beat: &Beat) -> Option<(Instant, VpcEvidence)> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).get(beat).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::check::{Problem, ProblemKind};
    use crate::key_store::{AccountId, ConnectivityKind, CustomKeyStoreId, Region, VpcEndpointServiceName};
    use crate::preflight::{CandidateKeys, OfferedCredential};

    #[derive(Default)]
    struct Counting {
        asked: AtomicUsize,
        silent: AtomicBool,
    }

    #[async_trait]
    impl VpcReader for Counting {
        async fn endpoint_service(
            &self,
            name: &VpcEndpointServiceName,
            stated_owner: Option<&AccountId>,
        ) -> VpcEvidence {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let sight = if self.silent.load(Ordering::Relaxed) {
                ServiceSight::Untold(Problem::own(ProblemKind::Unread, "silence"))
            } else {
                ServiceSight::Absent
            };
            VpcEvidence { name: name.clone(), stated_owner: stated_owner.cloned(), sight }
        }
    }

    fn candidate(service: &str) -> Candidate {
        Candidate {
            endpoint: "https://xks.example.com".into(),
            path: "/kms/xks/v1".into(),
            connectivity: ConnectivityKind::VpcEndpointService,
            vpc_endpoint_service: Some(format!("com.amazonaws.vpce.us-east-1.{service}")),
            vpc_endpoint_service_owner: None,
            region: Region::parse("us-east-1").unwrap(),
            credential: OfferedCredential::new("AKIAI2SFODNN7EXAMPLE", "short"),
            connect_to: Vec::new(),
            keys: CandidateKeys::default(),
            baseline: None,
            kms_operation: "KmsHealthCheck".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_is_read_every_five_minutes_and_silence_changes_nothing_for_an_hour() {
        let reader = Arc::new(Counting::default());
        let watch = ServiceWatch::default();
        let id = Beat { key_store: CustomKeyStoreId::parse("cks-1").unwrap(), candidate: None };
        let one = candidate("vpce-svc-1");
        let is_untold = |seen: Option<VpcEvidence>| matches!(seen.unwrap().sight, ServiceSight::Untold(_));
        for _ in 0..3 {
            assert!(!is_untold(watch.look(Some(&*reader), &id, &one).await));
        }
        assert_eq!(reader.asked.load(Ordering::Relaxed), 1);
        // Another service is another matter.
        assert!(!is_untold(watch.look(Some(&*reader), &id, &candidate("vpce-svc-2")).await));
        assert_eq!(reader.asked.load(Ordering::Relaxed), 2);
        assert!(!is_untold(watch.look(Some(&*reader), &id, &one).await));
        reader.silent.store(true, Ordering::Relaxed);
        tokio::time::advance(EVERY).await;
        assert!(!is_untold(watch.look(Some(&*reader), &id, &one).await));
        assert_eq!(reader.asked.load(Ordering::Relaxed), 4);
        tokio::time::advance(KEPT).await;
        assert!(is_untold(watch.look(Some(&*reader), &id, &one).await));
        let public = Candidate { connectivity: ConnectivityKind::PublicEndpoint, ..candidate("vpce-svc-1") };
        assert!(watch.look(Some(&*reader), &id, &public).await.is_none());
    }
}
