//! The customer's own authority, which issues the certificate of a cluster when it is initialized.

use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

const TEN_YEARS: Duration = Duration::from_hours(24 * 3650);

/// A certificate could not be made: the key generator failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the certificate of {subject}")]
pub struct AuthorityError {
    subject: String,
    source: rcgen::Error,
}

/// The authority whose own certificate is the `TrustAnchorCertificate` of a key store.
pub struct ClusterAuthority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
    now: SystemTime,
}

fn params(subject: &str, now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, subject);
    params.not_before = now.into();
    params.not_after = (now + TEN_YEARS).into();
    params
}

impl ClusterAuthority {
    /// A new authority with this common name.
    pub fn new(name: &str, now: SystemTime) -> Result<Self, AuthorityError> {
        let failed = |source| AuthorityError { subject: name.to_owned(), source };
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = params(name, now);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).map_err(failed)?.pem();
        Ok(Self { pem, issuer: Issuer::new(params, key), now })
    }

    /// `TrustAnchorCertificate`, PEM.
    pub fn trust_anchor(&self) -> &str {
        &self.pem
    }

    /// A new cluster certificate, PEM: two clusters share one only if one was made from a backup of the other.
    pub fn cluster_certificate(&self, subject: &str) -> Result<String, AuthorityError> {
        let failed = |source| AuthorityError { subject: subject.to_owned(), source };
        let key = KeyPair::generate().map_err(failed)?;
        Ok(params(subject, self.now).signed_by(&key, &self.issuer).map_err(failed)?.pem())
    }
}
