//! A client certificate that nobody vouches for, and what a proxy made of it.
//!
//! It bears the name of KMS's own and is signed by its own key. A proxy that looks at the name alone, or at nothing,
//! takes it; one that verifies the chain does not.

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use super::client_certificate::ClientCertificate;
use crate::check::{Attempt, Problem, ProblemKind, StrangerTrial};
use crate::clock::Timestamp;
use crate::key_store::Region;

/// Valid around now for so long, so that nothing but the signature is wrong with it.
const HALF_LIFE: time::Duration = time::Duration::DAY;

/// Makes one, with a key of its own.
pub(super) fn certificate(region: &Region, now: Timestamp) -> Result<ClientCertificate, Problem> {
    let failed = |error: &dyn std::fmt::Display| {
        let detail = format!("this machine cannot make a client certificate for the refusal test ({error})");
        Problem::own(ProblemKind::LocalResources, detail)
    };
    let name = format!("cks.kms.{region}.amazonaws.com");
    let key = KeyPair::generate().map_err(|error| failed(&error))?;
    let mut params = CertificateParams::new(vec![name.clone()]).map_err(|error| failed(&error))?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = OffsetDateTime::from_unix_timestamp(now.unix()).map_err(|error| failed(&error))?;
    (params.not_before, params.not_after) = (now - HALF_LIFE, now + HALF_LIFE);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let chain = vec![params.self_signed(&key).map_err(|error| failed(&error))?.der().clone()];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    ClientCertificate::from_der(chain, key).map_err(|error| failed(&error))
}

/// What a proxy made of it. Only an answer that is the proxy's own counts: a server in front that refuses a client
/// certificate may say so with a page.
pub(super) fn outcome(attempt: &Attempt) -> StrangerTrial {
    match (&attempt.exchange, &attempt.stop) {
        (Some(exchange), _) if serde_json::from_slice::<serde_json::Map<_, _>>(&exchange.body).is_ok() => {
            StrangerTrial::Accepted
        }
        (Some(_), _) => StrangerTrial::Refused,
        (None, Some(stop)) if stop.problem.kind == ProblemKind::ClientCertificate => StrangerTrial::Refused,
        // Closed without a word, right after it was asked for a certificate and got this one.
        (None, Some(stop)) if matches!(stop.problem.kind, ProblemKind::Closed | ProblemKind::Reset) => {
            StrangerTrial::Refused
        }
        (None, Some(stop)) => StrangerTrial::Untold(stop.problem.clone()),
        (None, None) => {
            StrangerTrial::Untold(Problem::own(ProblemKind::LocalResources, "the refusal test was not made"))
        }
    }
}
