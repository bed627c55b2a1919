//! A key store that is to be made: what KMS is told of it, and the proof that it may be told.
//!
//! Making a key store takes nothing out of use and puts no key at risk: it has no keys and no connection, and KMS takes
//! a name once. So there is no plan, no way back and no approval, only a pre-flight and a permit for one call.

use std::time::Duration;

use super::Freeze;
use super::gate::{Denied, PreflightSummary, SettingsDigest};
use crate::check::Verdict;
use crate::clock::Timestamp;
use crate::id::ReportId;
use crate::key_store::{Connectivity, CustomKeyStoreName, Fingerprint, KeyStore, XksConfiguration};

/// An external key store that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// `CustomKeyStoreName`.
    pub name: CustomKeyStoreName,
    /// The proxy's settings; the secret is apart from them.
    pub settings: XksConfiguration,
}

impl Creation {
    /// Whether a key store is what was to be made. KMS shows an owner of the VPC endpoint service where none was said.
    pub fn is(&self, store: &KeyStore) -> bool {
        let Some(shown) = store.xks() else { return false };
        let mut wanted = self.settings.clone();
        if let (
            Connectivity::VpcEndpointService { owner: said @ None, .. },
            Connectivity::VpcEndpointService { owner, .. },
        ) = (&mut wanted.connectivity, &shown.connectivity)
        {
            said.clone_from(owner);
        }
        store.name == self.name && *shown == wanted
    }
}

/// Permission for one CreateCustomKeyStore with exactly these values. It is used up by the call it allows.
#[derive(Debug)]
pub struct CreationPermit {
    creation: Creation,
    credential: Fingerprint,
    report: ReportId,
}

impl CreationPermit {
    /// A pre-flight of exactly these settings with exactly this credential that passed and is at most `valid_for` old, and
    /// no freeze of every key store. A freeze of one key store says nothing about another.
    pub fn of(
        creation: Creation,
        credential: &Fingerprint,
        summary: &PreflightSummary,
        freezes: &[Freeze],
        valid_for: Duration,
        now: Timestamp,
    ) -> Result<Self, Denied> {
        Self::not_frozen(freezes, now)?;
        let report = summary.report;
        if summary.settings != SettingsDigest::of_xks(&creation.settings, Some(credential)) {
            return Err(Denied::OtherSettings { report });
        }
        if summary.verdict != Verdict::Ready {
            return Err(Denied::NotReady { report, message: summary.message.clone() });
        }
        // A pre-flight from the future (the clock was set back) is none.
        if now < summary.finished_at || now > summary.finished_at.plus(valid_for) {
            return Err(Denied::Stale { report });
        }
        Ok(Self { creation, credential: credential.clone(), report })
    }

    /// Whether nothing stops every change at `now`.
    pub fn not_frozen(freezes: &[Freeze], now: Timestamp) -> Result<(), Denied> {
        let holds = |freeze: &&Freeze| freeze.key_store.is_none() && freeze.is_in_force(now);
        match freezes.iter().find(holds) {
            Some(freeze) => Err(Denied::Frozen(Box::new(freeze.clone()))),
            None => Ok(()),
        }
    }

    /// What it allows to be made.
    pub fn creation(&self) -> &Creation {
        &self.creation
    }

    /// Tells the credential that it is for: another secret, under the same access key id, was not probed.
    pub fn credential(&self) -> &Fingerprint {
        &self.credential
    }

    /// The report that proves it.
    pub fn report(&self) -> ReportId {
        self.report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::IdSource;
    use crate::key_store::{
        AccessKeyId, AccountId, Configuration, ConnectionState, CustomKeyStoreId, ProxyCredential, RawSecretAccessKey,
        VpcEndpointServiceName, XksProxyUriEndpoint, XksProxyUriPath,
    };

    fn now() -> Timestamp {
        Timestamp::from_unix(1_800_000_000)
    }

    const VALID: Duration = Duration::from_mins(5);

    fn creation(endpoint: &str) -> Creation {
        Creation {
            name: CustomKeyStoreName::parse("payments").unwrap(),
            settings: XksConfiguration {
                endpoint: XksProxyUriEndpoint::parse(endpoint).unwrap(),
                path: XksProxyUriPath::parse("/kms/xks/v1").unwrap(),
                access_key_id: AccessKeyId::parse("AKIAI2SFODNN7EXAMPLE").unwrap(),
                connectivity: Connectivity::PublicEndpoint,
            },
        }
    }

    fn fingerprint(secret: &str) -> Fingerprint {
        ProxyCredential {
            access_key_id: AccessKeyId::parse("AKIAI2SFODNN7EXAMPLE").unwrap(),
            secret_access_key: RawSecretAccessKey::parse(&secret.repeat(43)).unwrap(),
        }
        .fingerprint()
    }

    fn passed(creation: &Creation) -> PreflightSummary {
        PreflightSummary {
            report: ReportId::new(&IdSource::from_seed(1), now()),
            verdict: Verdict::Ready,
            settings: SettingsDigest::of_xks(&creation.settings, Some(&fingerprint("a"))),
            exception: None,
            message: "ready".to_owned(),
            finished_at: now(),
            credentials: None,
        }
    }

    fn freeze(key_store: Option<&str>, until: Timestamp) -> Freeze {
        Freeze {
            key_store: key_store.map(|id| CustomKeyStoreId::parse(id).unwrap()),
            reason: "migration".into(),
            by: "ann".into(),
            since: now(),
            until: Some(until),
        }
    }

    #[test]
    fn what_was_made_is_known_again() {
        let owner = |text: &str| Some(AccountId::parse(text).unwrap());
        let behind = |owner| Connectivity::VpcEndpointService {
            name: VpcEndpointServiceName::parse("com.amazonaws.vpce.us-east-1.vpce-svc-0f9e8d7c6b5a43210").unwrap(),
            owner,
        };
        let wanted = |connectivity| {
            let creation = creation("https://xks.example.com");
            Creation { settings: XksConfiguration { connectivity, ..creation.settings }, ..creation }
        };
        let shown = |creation: Creation| KeyStore {
            id: CustomKeyStoreId::parse("cks-1").unwrap(),
            name: creation.name,
            created: None,
            state: ConnectionState::Disconnected,
            configuration: Configuration::Xks(creation.settings),
        };
        let (one, other) = (owner("111122223333"), owner("444455556666"));
        assert!(wanted(behind(None)).is(&shown(wanted(behind(one.clone())))), "KMS says whose it is");
        assert!(wanted(behind(one.clone())).is(&shown(wanted(behind(one.clone())))));
        assert!(!wanted(behind(other)).is(&shown(wanted(behind(one)))));
        assert!(!wanted(behind(None)).is(&shown(wanted(Connectivity::PublicEndpoint))));
        assert!(!creation("https://a.example.com").is(&shown(creation("https://b.example.com"))));
    }

    #[test]
    fn only_a_fresh_pass_of_exactly_these_settings_outside_a_freeze_permits() {
        let wanted = creation("https://xks.example.com");
        let good = passed(&wanted);
        let permit = |summary: &PreflightSummary, freezes: &[Freeze], now| {
            CreationPermit::of(wanted.clone(), &fingerprint("a"), summary, freezes, VALID, now)
        };
        let granted = permit(&good, &[], now().plus(VALID)).unwrap();
        assert_eq!((granted.creation(), granted.report()), (&wanted, good.report));
        assert_eq!(granted.credential(), &fingerprint("a"));
        let later = now().plus(Duration::from_secs(1));
        // A freeze that is over, and one of another key store, stop nothing.
        permit(&good, &[freeze(None, now()), freeze(Some("cks-1"), later)], now()).unwrap();
        let reason = |refused: Result<CreationPermit, Denied>| refused.unwrap_err().reason();
        assert_eq!(reason(permit(&good, &[freeze(None, later)], now())), "frozen");
        assert_eq!(reason(permit(&good, &[], later.plus(VALID))), "stale_preflight");
        assert_eq!(reason(permit(&good, &[], Timestamp::from_unix(1_799_999_999))), "stale_preflight");
        for verdict in [Verdict::Blocked, Verdict::Inconclusive] {
            assert_eq!(reason(permit(&PreflightSummary { verdict, ..good.clone() }, &[], now())), "not_ready");
        }
        let other = creation("https://other.example.com");
        assert_eq!(reason(permit(&passed(&other), &[], now())), "other_settings");
        // The same access key id with another secret.
        let other = CreationPermit::of(wanted.clone(), &fingerprint("b"), &good, &[], VALID, now());
        assert_eq!(reason(other), "other_settings");
    }
}
