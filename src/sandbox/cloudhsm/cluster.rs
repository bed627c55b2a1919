//! What exists: clusters with their HSMs and their `kmsuser`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::sandbox::kms::Secret;

/// How many wrong passwords in a row lock a user out.
pub const WRONG_PASSWORDS: u32 = 5;

/// An HSM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hsm {
    /// `HsmId`.
    pub id: String,
    /// `AvailabilityZone`.
    pub zone: String,
    /// `State`; `ACTIVE` is the one that works.
    pub state: String,
}

/// The user as which KMS logs in to every HSM of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsUser {
    /// The password in the HSMs. KMS changes it at every connect.
    pub password: Secret,
    /// Wrong passwords since the last right one; [`WRONG_PASSWORDS`] lock the user out.
    pub wrong: u32,
    /// Whether somebody else is logged in as this user.
    pub logged_in: bool,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// `ClusterId`.
    pub id: String,
    /// `State`; `ACTIVE` is the one that KMS uses.
    pub state: String,
    /// `Hsms`.
    pub hsms: Vec<Hsm>,
    /// `SubnetMapping`, subnet by Availability Zone.
    pub subnets: BTreeMap<String, String>,
    /// `SecurityGroup`.
    pub security_group: String,
    /// Whether the group admits TCP 2223-2225 from and to itself.
    pub ports_open: bool,
    /// `Certificates.ClusterCertificate`, PEM.
    pub certificate: String,
    /// `kmsuser`, if it exists.
    pub kmsuser: Option<KmsUser>,
    /// Whether it was deleted: nobody shows it any more, but KMS remembers the certificate.
    pub deleted: bool,
}

impl Cluster {
    /// An active cluster with two HSMs in two zones, as KMS wants it. `certificate` is the PEM that all clusters of one
    /// backup history share.
    pub fn active(id: &str, certificate: &str, password: &str) -> Self {
        let zones = ["us-east-1a", "us-east-1b"];
        let hsm = |zone: &&str| Hsm {
            id: format!("hsm-{}", zone.trim_start_matches("us-east-")),
            zone: (*zone).to_owned(),
            state: "ACTIVE".to_owned(),
        };
        Self {
            id: id.to_owned(),
            state: "ACTIVE".to_owned(),
            hsms: zones.iter().map(hsm).collect(),
            subnets: zones.iter().map(|zone| ((*zone).to_owned(), format!("subnet-{zone}"))).collect(),
            security_group: "sg-0123456789abcdef0".to_owned(),
            ports_open: true,
            certificate: certificate.to_owned(),
            kmsuser: Some(KmsUser { password: Secret::new(password), wrong: 0, logged_in: false }),
            deleted: false,
        }
    }

    fn active_hsms(&self) -> impl Iterator<Item = &Hsm> {
        self.hsms.iter().filter(|hsm| hsm.state == "ACTIVE")
    }
}

/// Why KMS does not take a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) enum Refusal {
    NotFound,
    NotActive,
    InvalidConfiguration,
    NotRelated,
}

/// The clusters of one account and Region. A handle; clones are the same clusters.
#[derive(Clone, Debug, Default)]
pub struct Clusters(Arc<Mutex<BTreeMap<String, Cluster>>>);

impl Clusters {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Cluster>> {
        // A panic under the lock is a failing test; the clusters behind it are still the best there are.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a cluster in place; one with the same id makes room.
    pub fn put(&self, cluster: Cluster) {
        self.lock().insert(cluster.id.clone(), cluster);
    }

    /// The cluster as it is now.
    pub fn find(&self, id: &str) -> Option<Cluster> {
        self.lock().get(id).cloned()
    }

    /// Changes a cluster; `false` if there is none of this id.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut Cluster)) -> bool {
        self.lock().get_mut(id).map(change).is_some()
    }

    /// Those that DescribeClusters shows, by id.
    pub(super) fn shown(&self) -> Vec<Cluster> {
        self.lock().values().filter(|cluster| !cluster.deleted).cloned().collect()
    }

    /// Whether KMS takes the cluster for an update of a key store that has `present`, if it has one.
    pub(in crate::sandbox) fn fit_for_update(&self, id: &str, present: Option<&str>) -> Result<(), Refusal> {
        let clusters = self.lock();
        let cluster = clusters.get(id).filter(|cluster| !cluster.deleted).ok_or(Refusal::NotFound)?;
        if cluster.state != "ACTIVE" {
            return Err(Refusal::NotActive);
        }
        let zones: BTreeSet<&str> = cluster.active_hsms().map(|hsm| hsm.zone.as_str()).collect();
        if zones.len() < 2 || cluster.subnets.len() < 2 || !cluster.ports_open {
            return Err(Refusal::InvalidConfiguration);
        }
        let related = |present: &Cluster| present.certificate == cluster.certificate;
        if present.and_then(|present| clusters.get(present)).is_none_or(related) {
            Ok(())
        } else {
            Err(Refusal::NotRelated)
        }
    }

    /// Whether KMS takes a Connect at all; what it finds out later is [`Self::log_in`].
    pub(in crate::sandbox) fn fit_for_connect(&self, id: &str) -> Result<(), Refusal> {
        match self.lock().get(id) {
            Some(cluster) if !cluster.deleted && cluster.state != "ACTIVE" => Err(Refusal::NotActive),
            _ => Ok(()),
        }
    }

    /// Logs in as `kmsuser` and changes the password, as KMS does when it connects: the new password, or the
    /// `ConnectionErrorCode`.
    pub(in crate::sandbox) fn log_in(&self, id: &str, password: &Secret) -> Result<Secret, &'static str> {
        let mut clusters = self.lock();
        let cluster = clusters.get_mut(id).filter(|cluster| !cluster.deleted).ok_or("CLUSTER_NOT_FOUND")?;
        if cluster.active_hsms().next().is_none() {
            return Err("INSUFFICIENT_CLOUDHSM_HSMS");
        }
        if cluster.subnets.is_empty() {
            return Err("SUBNET_NOT_FOUND");
        }
        let user = cluster.kmsuser.as_mut().ok_or("USER_NOT_FOUND")?;
        if user.wrong >= WRONG_PASSWORDS {
            return Err("USER_LOCKED_OUT");
        }
        if user.logged_in {
            return Err("USER_LOGGED_IN");
        }
        if user.password != *password {
            user.wrong += 1;
            return Err("INVALID_CREDENTIALS");
        }
        user.wrong = 0;
        user.password = Secret::new(format!("RotatedDoNotLeak{:08x}", rand::random::<u32>()));
        Ok(user.password.clone())
    }
}
