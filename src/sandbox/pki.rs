//! The sandbox's public key infrastructure: a root, an intermediate, and server certificates right and wrong.
//!
//! Everything is made anew at start, with ECDSA P-256 unless told otherwise so that it takes milliseconds, and dated
//! relative to the instant given to [`Pki::new`]. Keys live in memory only. RSA keys under 2048 bits are absent: the
//! cryptography below makes none.

mod chain;
mod sha1;
mod weak;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

pub use self::chain::Chain;

const DAY: Duration = Duration::from_hours(24);

/// A certificate could not be made: a name is not a DNS name, or the key generator failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the certificate of {subject}")]
pub struct PkiError {
    /// Whose certificate.
    subject: String,
    source: rcgen::Error,
}

/// The certificate authority of one sandbox.
pub struct Pki {
    now: SystemTime,
    trusted: Hierarchy,
    stranger: Hierarchy,
    /// Bears the names of the trusted one and has keys of its own.
    forger: Hierarchy,
    /// What several servers present together.
    shared: Mutex<HashMap<Leaf, Arc<IssuedCertificate>>>,
}

/// What to put into a server certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leaf {
    /// The DNS names of the subject alternative name extension; without any, the extension is left out.
    pub dns_names: Vec<String>,
    /// The common name of the subject, if it shall have one.
    pub common_name: Option<String>,
    /// The organisation of the subject, if it shall have one.
    pub organization: Option<String>,
    /// What it may be used for.
    pub purpose: Purpose,
    /// The kind of its key.
    pub key: KeyKind,
    /// Not valid before this instant.
    pub not_before: SystemTime,
    /// Not valid after this instant.
    pub not_after: SystemTime,
    /// How it is signed and what is sent along.
    pub chain: Chain,
}

/// What a certificate says that it may be used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// TLS servers: right.
    #[default]
    Server,
    /// TLS clients only.
    Client,
    /// Signing certificates.
    Authority,
}

/// The kind of a leaf's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// ECDSA with P-256.
    #[default]
    P256,
    /// RSA with 2048 bits, which takes a while to make.
    Rsa2048,
}

/// A certificate chain with the private key of its leaf.
pub struct IssuedCertificate {
    /// In the order of the handshake message.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key of the leaf.
    pub key: PrivateKeyDer<'static>,
    chain_pem: String,
    key_pem: String,
}

impl Pki {
    /// Makes a fresh authority, in which a root is a year and an intermediate half a year old at `now`.
    pub fn new(now: SystemTime) -> Result<Self, PkiError> {
        Ok(Self {
            now,
            trusted: Hierarchy::new("Sandbox", now)?,
            stranger: Hierarchy::new("Stranger", now)?,
            forger: Hierarchy::new("Sandbox", now)?,
            shared: Mutex::default(),
        })
    }

    /// The instant that the certificates' dates are relative to.
    pub const fn now(&self) -> SystemTime {
        self.now
    }

    /// The root to trust, in PEM.
    pub fn root_pem(&self) -> &str {
        &self.trusted.root_pem
    }

    /// The root to trust, in DER.
    pub const fn root_der(&self) -> &CertificateDer<'static> {
        &self.trusted.root
    }

    /// The intermediate of the complete chain, in DER.
    pub const fn intermediate_der(&self) -> &CertificateDer<'static> {
        &self.trusted.intermediate
    }

    /// A right leaf for these names: valid from yesterday for 90 days, the first name also as common name.
    pub fn leaf<S: Into<String>>(&self, dns_names: impl IntoIterator<Item = S>) -> Leaf {
        let dns_names: Vec<String> = dns_names.into_iter().map(Into::into).collect();
        Leaf {
            common_name: dns_names.first().cloned(),
            dns_names,
            organization: None,
            purpose: Purpose::Server,
            key: KeyKind::P256,
            not_before: self.now - DAY,
            not_after: self.now + 90 * DAY,
            chain: Chain::Complete,
        }
    }

    /// Makes a key and a server certificate.
    pub fn issue(&self, leaf: &Leaf) -> Result<IssuedCertificate, PkiError> {
        let subject = leaf.common_name.as_ref().or(leaf.dns_names.first()).cloned().unwrap_or_default();
        let failed = |source| PkiError { subject: subject.clone(), source };
        let key = match leaf.key {
            KeyKind::P256 => KeyPair::generate(),
            KeyKind::Rsa2048 => KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256),
        };
        let key = key.map_err(failed)?;
        let mut params = leaf.params().map_err(failed)?;
        let hierarchy = match leaf.chain {
            Chain::UnknownRoot => &self.stranger,
            Chain::Forged => &self.forger,
            _ => &self.trusted,
        };
        let end = if leaf.chain == Chain::SelfSigned {
            params.self_signed(&key)
        } else {
            params.use_authority_key_identifier_extension = true;
            params.signed_by(&key, &hierarchy.issuer)
        };
        let end = end.map_err(failed)?.der().clone();
        let served = chain::served(leaf.chain, end, hierarchy, &self.stranger).map_err(failed)?;
        Ok(IssuedCertificate::new(served, &key))
    }

    /// The same for everybody who asks for the same leaf, as servers behind one name share a certificate.
    pub fn issue_shared(&self, leaf: &Leaf) -> Result<Arc<IssuedCertificate>, PkiError> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(issued) = shared.get(leaf) {
            return Ok(Arc::clone(issued));
        }
        let issued = Arc::new(self.issue(leaf)?);
        shared.insert(leaf.clone(), Arc::clone(&issued));
        Ok(issued)
    }

    /// Makes a key and a client certificate such as KMS presents when it is asked for one, where the common name is
    /// `cks.kms.<Region>.amazonaws.com` (XKS spec, Authentication).
    pub fn issue_client(&self, common_name: &str) -> Result<IssuedCertificate, PkiError> {
        let failed = |source| PkiError { subject: common_name.to_owned(), source };
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new(vec![common_name.to_owned()]).map_err(failed)?;
        params.distinguished_name = distinguished(common_name);
        (params.not_before, params.not_after) = ((self.now - DAY).into(), (self.now + 90 * DAY).into());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let end = params.signed_by(&key, &self.trusted.issuer).map_err(failed)?.der().clone();
        Ok(IssuedCertificate::new(vec![end, self.trusted.intermediate.clone()], &key))
    }
}

impl Leaf {
    fn params(&self) -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::new(self.dns_names.clone())?;
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = &self.common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        if let Some(name) = &self.organization {
            params.distinguished_name.push(DnType::OrganizationName, name);
        }
        (params.not_before, params.not_after) = (self.not_before.into(), self.not_after.into());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        match self.purpose {
            Purpose::Server => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
            Purpose::Client => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            Purpose::Authority => {
                params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
                params.key_usages.push(KeyUsagePurpose::KeyCertSign);
            }
        }
        Ok(params)
    }
}

impl fmt::Debug for Pki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pki").field("now", &self.now).finish_non_exhaustive()
    }
}

impl IssuedCertificate {
    fn new(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Self {
        let chain_pem = chain.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect();
        let key_pem = key.serialize_pem();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Self { chain, key, chain_pem, key_pem }
    }

    /// The chain in PEM, in the order of the handshake message.
    pub fn chain_pem(&self) -> &str {
        &self.chain_pem
    }

    /// The private key in PEM (PKCS #8).
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }
}

impl fmt::Debug for IssuedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedCertificate").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

/// A root and the intermediate below it.
struct Hierarchy {
    root: CertificateDer<'static>,
    root_pem: String,
    root_issuer: Issuer<'static, KeyPair>,
    intermediate: CertificateDer<'static>,
    /// The intermediate's key once more, in a certificate of the past and in one of the future.
    expired_intermediate: CertificateDer<'static>,
    early_intermediate: CertificateDer<'static>,
    /// Another intermediate, whose key has 1024 bits.
    weak_intermediate: CertificateDer<'static>,
    /// Signs leaves: name and key of the intermediate.
    issuer: Issuer<'static, KeyPair>,
}

impl Hierarchy {
    fn new(owner: &str, now: SystemTime) -> Result<Self, PkiError> {
        let year = 365 * DAY;
        let subject = format!("{owner} Root CA");
        let failed = |source| PkiError { subject: subject.clone(), source };
        let root_key = KeyPair::generate().map_err(failed)?;
        let root_params = authority(&subject, now - year, now + 10 * year, BasicConstraints::Unconstrained);
        let root = root_params.self_signed(&root_key).map_err(failed)?;
        let (root, root_pem) = (root.der().clone(), root.pem());
        let root_issuer = Issuer::new(root_params, root_key);

        let subject = format!("{owner} Intermediate CA");
        let failed = |source| PkiError { subject: subject.clone(), source };
        let key = KeyPair::generate().map_err(failed)?;
        let signed = |from, until| {
            let mut params = authority(&subject, from, until, BasicConstraints::Constrained(0));
            params.use_authority_key_identifier_extension = true;
            let certificate = params.signed_by(&key, &root_issuer).map_err(failed)?;
            Ok((certificate.der().clone(), params))
        };
        let (expired_intermediate, _) = signed(now - year / 2, now - DAY)?;
        let (early_intermediate, _) = signed(now + DAY, now + 5 * year)?;
        let (intermediate, params) = signed(now - year / 2, now + 5 * year)?;
        let weak_intermediate = weak::intermediate(&params, &root_issuer).map_err(failed)?;
        Ok(Self {
            root,
            root_pem,
            intermediate,
            expired_intermediate,
            early_intermediate,
            weak_intermediate,
            issuer: Issuer::new(params, key),
            root_issuer,
        })
    }
}

fn authority(subject: &str, from: SystemTime, until: SystemTime, constraints: BasicConstraints) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished(subject);
    (params.not_before, params.not_after) = (OffsetDateTime::from(from), OffsetDateTime::from(until));
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn distinguished(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name.push(DnType::OrganizationName, "XKS sandbox");
    name
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(|line| format!("{}\n", String::from_utf8_lossy(line)));
    format!("-----BEGIN {label}-----\n{}-----END {label}-----\n", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use rustls::{
        RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
        pki_types::{ServerName, UnixTime},
    };

    use super::*;

    fn verdict(pki: &Pki, leaf: &Leaf) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(pki.root_der().clone()).unwrap();
        let provider = rustls::crypto::aws_lc_rs::default_provider().into();
        let verifier =
            WebPkiServerVerifier::builder_with_provider(std::sync::Arc::new(roots), provider).build().unwrap();
        let issued = pki.issue(leaf).unwrap();
        let name = ServerName::try_from("xks.example.com").unwrap();
        let now = UnixTime::since_unix_epoch(pki.now().duration_since(SystemTime::UNIX_EPOCH).unwrap());
        verifier.verify_server_cert(&issued.chain[0], &issued.chain[1..], &name, &[], now).map(drop)
    }

    #[test]
    fn a_right_leaf_verifies_and_each_wrong_one_fails_for_its_own_reason() {
        let pki = Pki::new(SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)).unwrap();
        let right = pki.leaf(["xks.example.com"]);
        let with = |chain| Leaf { chain, ..right.clone() };
        for good in [Chain::Complete, Chain::Surplus, Chain::Unordered, Chain::Long] {
            assert_eq!(verdict(&pki, &with(good)), Ok(()), "{good:?}");
        }
        let failures = [
            (with(Chain::MissingIntermediate), "UnknownIssuer"),
            (with(Chain::UnknownRoot), "UnknownIssuer"),
            (with(Chain::ExpiredIntermediate), "Expired"),
            (with(Chain::SelfSigned), "UnknownIssuer"),
            (with(Chain::EarlyIntermediate), "NotValidYet"),
            (with(Chain::RootInsteadOfIntermediate), "UnknownIssuer"),
            (with(Chain::Forged), "BadSignature"),
            (with(Chain::Sha1Signature), "UnsupportedSignatureAlgorithm"),
            (with(Chain::Sha1Intermediate), "UnsupportedSignatureAlgorithm"),
            (Leaf { purpose: Purpose::Client, ..right.clone() }, "Purpose"),
            (Leaf { purpose: Purpose::Authority, ..right.clone() }, "CaUsedAsEndEntity"),
            (with(Chain::Reversed), "CaUsedAsEndEntity"),
            (Leaf { dns_names: vec!["other.example.com".into()], ..right.clone() }, "NotValidForName"),
            (Leaf { dns_names: Vec::new(), ..right.clone() }, "NotValidForName"),
            (Leaf { not_after: pki.now() - DAY, not_before: pki.now() - 2 * DAY, ..right.clone() }, "Expired"),
            (Leaf { not_before: pki.now() + DAY, ..right.clone() }, "NotValidYet"),
        ];
        for (leaf, reason) in failures {
            let error = format!("{:?}", verdict(&pki, &leaf).unwrap_err());
            assert!(error.contains(reason), "{leaf:?}: {error}");
        }
    }

    #[test]
    fn what_is_shared_is_made_once() {
        let pki = Pki::new(SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)).unwrap();
        let leaf = pki.leaf(["xks.example.com"]);
        let one = pki.issue_shared(&leaf).unwrap();
        assert_eq!(one.chain, pki.issue_shared(&leaf).unwrap().chain);
        assert_ne!(one.chain, pki.issue(&leaf).unwrap().chain);
    }

    #[test]
    fn debug_shows_no_key() {
        let pki = Pki::new(SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)).unwrap();
        let issued = pki.issue(&pki.leaf(["xks.example.com"])).unwrap();
        assert_eq!(format!("{issued:?}"), "IssuedCertificate { certificates: 2, .. }");
        assert!(issued.key_pem().contains("PRIVATE KEY"));
        assert!(issued.chain_pem().matches("BEGIN CERTIFICATE").count() == 2);
    }
}
