//! What AWS tells of a CloudHSM cluster, and what identifies a candidate that is one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::digest_of;
use crate::check::Problem;
use crate::id::UpdateId;
use crate::key_store::{CertificateIdentity, CloudHsmClusterId, CustomKeyStoreId};

/// What AWS tells of the CloudHSM clusters that a key store has and shall have.
#[derive(Clone, Debug)]
pub struct CloudHsmEvidence {
    /// DescribeClusters for the present cluster and the one asked for, which may be the same; those that do not exist
    /// in account and Region are absent. Or why CloudHSM could not be asked.
    pub clusters: Result<Vec<Cluster>, Problem>,
    /// What EC2 tells of the security group of the cluster asked for; `None` if the cluster shows none, or if there is
    /// no EC2 to ask: before a simulated KMS.
    pub security_group: Option<Result<SecurityGroupRules, Problem>>,
}

impl CloudHsmEvidence {
    /// The cluster with this id, if CloudHSM told of it.
    pub fn cluster(&self, id: &CloudHsmClusterId) -> Option<&Cluster> {
        self.clusters.as_ref().ok()?.iter().find(|cluster| cluster.id == *id)
    }
}

/// A CloudHSM cluster as DescribeClusters shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// `ClusterId`
    pub id: CloudHsmClusterId,
    /// `State`
    pub state: ClusterState,
    /// `Hsms`
    pub hsms: Vec<Hsm>,
    /// `SubnetMapping`: subnet by Availability Zone; CloudHSM has at most one for each zone.
    pub subnets: BTreeMap<String, String>,
    /// `SecurityGroup`: the id of `cloudhsm-cluster-<id>-sg`.
    pub security_group: Option<String>,
    /// `Certificates.ClusterCertificate`: the same for all clusters made from backups of one another. Absent before
    /// the cluster is initialized.
    pub certificate: Option<CertificateIdentity>,
}

impl Cluster {
    /// The HSMs that work.
    pub fn active_hsms(&self) -> impl Iterator<Item = &Hsm> {
        self.hsms.iter().filter(|hsm| hsm.state == "ACTIVE")
    }

    /// The Availability Zones that have an HSM that works.
    pub fn active_zones(&self) -> BTreeSet<&str> {
        self.active_hsms().filter_map(|hsm| hsm.zone.as_deref()).collect()
    }
}

/// `ClusterState`, as far as it matters: KMS uses active clusters only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterState {
    /// `ACTIVE`
    Active,
    /// Any other, by AWS's word; those that AWS adds later, too.
    Other(String),
}

/// One HSM of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hsm {
    /// `HsmId`
    pub id: String,
    /// `State`, AWS's word.
    pub state: String,
    /// `AvailabilityZone`
    pub zone: Option<String>,
}

/// Which TCP ports the rules of a security group open between its own members, over IPv4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityGroupRules {
    /// The group's id.
    pub id: String,
    /// Inbound, from the group itself.
    pub inbound: Vec<RangeInclusive<u16>>,
    /// Outbound, to the group itself.
    pub outbound: Vec<RangeInclusive<u16>>,
}

/// A candidate that is a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSubject {
    /// The key store that has the cluster or shall have it.
    pub key_store: CustomKeyStoreId,
    /// `CloudHsmClusterId` after the change.
    pub cluster: CloudHsmClusterId,
    /// The update that has a new `KeyStorePassword` sealed beside it; see [`ClusterSettings::password`].
    pub password: Option<UpdateId>,
}

impl ClusterSubject {
    /// The settings that KMS would be given.
    pub fn settings(&self) -> ClusterSettings<'_> {
        ClusterSettings { cluster: &self.cluster, password: self.password }
    }
}

/// The settings of a CloudHSM key store that a pre-flight is about.
#[derive(Clone, Copy, Debug)]
pub struct ClusterSettings<'a> {
    /// `CloudHsmClusterId`
    pub cluster: &'a CloudHsmClusterId,
    /// What stands for a new `KeyStorePassword`: the update it is sealed beside. A digest of 7 to 32 letters and
    /// digits, however it were keyed or slowed, would go into reports and records where somebody has all the time
    /// in the world to try passwords on it. The seal opens for its update and purpose alone, so the update names
    /// exactly one password and tells nothing of it.
    pub password: Option<UpdateId>,
}

impl ClusterSettings<'_> {
    /// SHA-256 over the members; 64 hexadecimal digits.
    pub fn digest(&self) -> String {
        let password = self.password.map(|update| update.to_string());
        digest_of("xks-preflight/cluster-settings/1", &[Some(self.cluster.as_str()), password.as_deref()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::id::IdSource;

    #[test]
    fn the_digest_tells_clusters_and_passwords_apart() {
        let ids = IdSource::from_seed(1);
        let [one, other] =
            ["cluster-abcdefghijk", "cluster-zyxwvutsrqp"].map(|id| CloudHsmClusterId::parse(id).unwrap());
        let [first, second] = [1, 2].map(|at| UpdateId::new(&ids, Timestamp::from_unix(at)));
        let digest = |cluster, password| ClusterSettings { cluster, password }.digest();
        let all = [digest(&one, None), digest(&other, None), digest(&one, Some(first)), digest(&one, Some(second))];
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert_eq!(all[2], digest(&one, Some(first)));
    }
}
