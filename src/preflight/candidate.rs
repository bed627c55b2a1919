//! A candidate: settings that somebody wants KMS to use, as text, because text that KMS would refuse is judged, too.

use secrecy::{ExposeSecret, SecretString};

use crate::check::{CurrentProxy, Enumeration, SecretEvidence, Subject, VpcEvidence};
use crate::journal::Canary;
use crate::key_store::{
    AccessKeyId, AccountId, ConnectivityKind, ExternalKeyId, ProxyCredential, RawSecretAccessKey, Region,
    VpcEndpointServiceName, XksProxyUriEndpoint, XksProxyUriPath,
};
use crate::perspective::Question;
use crate::probe::Target;
use crate::vpc::VpcReader;

/// Examples that AWS's documents print; whoever copied one has a secret that everybody knows.
const DOCUMENTED_SECRETS: [&str; 3] = [
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "DXjSUawnel2fr6SKC7G25CNxTyWKE5PF9XX6H/u9pSo=",
    "PleaseReplaceThisWithSomeSecretOfLength43To64",
];

/// Settings to be probed.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// `XksProxyUriEndpoint`
    pub endpoint: String,
    /// `XksProxyUriPath`
    pub path: String,
    /// `XksProxyConnectivity`
    pub connectivity: ConnectivityKind,
    /// `XksProxyVpcEndpointServiceName`
    pub vpc_endpoint_service: Option<String>,
    /// `XksProxyVpcEndpointServiceOwner`
    pub vpc_endpoint_service_owner: Option<AccountId>,
    /// The Region of KMS.
    pub region: Region,
    /// `XksProxyAuthenticationCredential`
    pub credential: OfferedCredential,
    /// HOST:PORT to connect to instead of the endpoint's addresses; SNI, Host and signature stay the endpoint's.
    pub connect_to: Vec<String>,
    /// What is known of the keys behind it, and which of them may be used.
    pub keys: CandidateKeys,
    /// The current settings, for comparison.
    pub baseline: Option<Box<Baseline>>,
    /// `kmsOperation` of the requests: what KMS would be doing.
    pub kms_operation: String,
}

/// The keys that a candidate must have.
#[derive(Clone, Debug, Default)]
pub struct CandidateKeys {
    /// The KMS keys of the store, if they were asked for.
    pub enumeration: Option<Enumeration>,
    /// External keys named one by one, besides those of the enumeration.
    pub named: Vec<ExternalKeyId>,
    /// A key for test operations.
    pub test: Option<ExternalKeyId>,
    /// Whether to make test operations with every key that is known, by the operator's explicit wish.
    pub prove_every_key: bool,
    /// What its maker knows of the proxy behind the current settings; [`CurrentProxy::NotGiven`] leaves it to the
    /// baseline.
    pub current: CurrentProxy,
    /// What the current proxy encrypted earlier, newest first: stands in for it when it does not answer.
    pub canaries: Vec<Canary>,
}

impl CandidateKeys {
    /// Length of the longest external key id of the store; `None` while not all of its keys are known.
    pub fn longest_id(&self) -> Option<usize> {
        let all = self.enumeration.as_ref().filter(|enumeration| enumeration.is_complete())?;
        Some(all.keys.iter().map(|key| key.external_key_id.as_str().len()).max().unwrap_or(0))
    }
}

/// A credential as it was offered; may be malformed.
#[derive(Clone)]
pub struct OfferedCredential {
    /// `AccessKeyId`
    pub access_key_id: String,
    secret: SecretString,
}

impl std::fmt::Debug for OfferedCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OfferedCredential").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

impl OfferedCredential {
    /// Takes what was offered as it is.
    pub fn new(access_key_id: impl Into<String>, secret_access_key: impl Into<String>) -> Self {
        Self { access_key_id: access_key_id.into(), secret: SecretString::from(secret_access_key.into()) }
    }

    /// The credential, if both halves are as KMS accepts them.
    pub fn parse(&self) -> Option<ProxyCredential> {
        Some(ProxyCredential {
            access_key_id: AccessKeyId::parse(&self.access_key_id).ok()?,
            secret_access_key: RawSecretAccessKey::parse(self.secret.expose_secret()).ok()?,
        })
    }

    fn evidence(&self) -> SecretEvidence {
        match RawSecretAccessKey::parse(self.secret.expose_secret()) {
            Err(invalid) => SecretEvidence::Malformed(invalid.to_string()),
            Ok(secret) => SecretEvidence::WellFormed {
                estimated_bits: secret.estimated_bits(),
                documented_example: DOCUMENTED_SECRETS.contains(&secret.expose()),
                fingerprint: self.parse().map(|credential| credential.fingerprint().to_string()).unwrap_or_default(),
            },
        }
    }
}

impl From<ProxyCredential> for OfferedCredential {
    fn from(credential: ProxyCredential) -> Self {
        Self::new(credential.access_key_id.to_string(), credential.secret_access_key.expose())
    }
}

/// The proxy behind the current settings.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// Its endpoint.
    pub endpoint: XksProxyUriEndpoint,
    /// Its path.
    pub path: XksProxyUriPath,
    /// Its credential.
    pub credential: ProxyCredential,
    /// How KMS reaches it, if that is known: what its name says from here may be the address of something else.
    pub connectivity: Option<ConnectivityKind>,
    /// HOST:PORT to connect to instead.
    pub connect_to: Vec<String>,
}

impl Candidate {
    /// What the probe needs, if the values are fit for the network; `None` leaves it to the checks to say why not.
    pub(super) fn target(&self) -> Option<Target> {
        let endpoint = XksProxyUriEndpoint::parse(&self.endpoint).ok()?;
        if endpoint.not_fully_qualified().is_some() {
            return None;
        }
        Some(Target {
            endpoint,
            path: XksProxyUriPath::parse(&self.path).ok()?,
            region: self.region.clone(),
            credential: self.credential.parse()?,
            kms_operation: self.kms_operation.clone(),
        })
    }

    /// What other perspectives are asked about it; `None` as for the probe's target.
    pub(super) fn question(&self, lab: bool) -> Option<Question> {
        self.target()?;
        Some(Question {
            subject: self.subject(lab),
            vpc_endpoint_service_owner: self.vpc_endpoint_service_owner.clone(),
            secret: self.credential.secret.clone(),
        })
    }

    /// What AWS tells of its VPC endpoint service; `None` if it has none, or none that AWS could know.
    pub async fn endpoint_service(&self, reader: &dyn VpcReader) -> Option<VpcEvidence> {
        if self.connectivity == ConnectivityKind::PublicEndpoint {
            return None;
        }
        let name = VpcEndpointServiceName::parse(self.vpc_endpoint_service.as_deref()?).ok()?;
        Some(reader.endpoint_service(&name, self.vpc_endpoint_service_owner.as_ref()).await)
    }

    pub(super) fn subject(&self, lab: bool) -> Subject {
        Subject {
            endpoint: self.endpoint.clone(),
            path: self.path.clone(),
            connectivity: self.connectivity,
            vpc_endpoint_service: self.vpc_endpoint_service.clone(),
            region: self.region.clone(),
            access_key_id: self.credential.access_key_id.clone(),
            secret: self.credential.evidence(),
            connect_to: self.connect_to.clone(),
            longest_key_id: self.keys.longest_id(),
            lab,
            cluster: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(secret: &str) -> Candidate {
        Candidate {
            endpoint: "https://xks.example.com".into(),
            path: "/kms/xks/v1".into(),
            connectivity: ConnectivityKind::PublicEndpoint,
            vpc_endpoint_service: None,
            vpc_endpoint_service_owner: None,
            region: Region::parse("us-east-1").unwrap(),
            credential: OfferedCredential::new("AKIAI2SFODNN7EXAMPLE", secret),
            connect_to: Vec::new(),
            keys: CandidateKeys::default(),
            baseline: None,
            kms_operation: "UpdateCustomKeyStore".into(),
        }
    }

    const SECRET: &str = "TestSecretDoNotLeak0123456789012345678901234567";

    #[test]
    fn the_digest_tells_settings_apart() {
        let digest = |candidate: Candidate| candidate.subject(false).kms_settings_digest();
        let one = digest(candidate(SECRET));
        assert_eq!(one, digest(candidate(SECRET)));
        assert_ne!(one, digest(candidate("TestSecretDoNotLeak0123456789012345678901234568")));
        assert_ne!(one, digest(Candidate { path: "/a/kms/xks/v1".into(), ..candidate(SECRET) }));
    }

    #[test]
    fn unfit_values_have_no_target() {
        assert!(candidate(SECRET).target().is_some());
        assert!(candidate("short").target().is_none());
        assert!(Candidate { endpoint: "https://10.0.0.1".into(), ..candidate(SECRET) }.target().is_none());
        assert!(!format!("{:?}", candidate(SECRET)).contains("DoNotLeak"));
    }
}
