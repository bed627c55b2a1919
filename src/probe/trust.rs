//! Verdicts on a presented chain: where it leads, whether it is valid now, whom it is for.
//!
//! rustls-webpki builds the path, with every served certificate as a possible intermediate. It reports one error only,
//! so it is asked at several instants: a chain that leads to a root at *some* instant is trusted, and whether it is
//! valid *now* is a question of its own. An expired chain of a public authority and a chain that nobody trusts are
//! different mistakes, made by different people.

mod kms_list;

use std::fmt;
use std::time::Duration;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath, anchor_from_trusted_cert};

pub use self::kms_list::{KmsTrustList, KmsTrustListError};
use super::certificate;
use crate::check::{Certificate, KmsListing, Problem, ProblemKind, PublicKey, Trust, certificate_name_covers};
use crate::clock::Timestamp;

/// Instants at which a path is tried. Each costs signature checks, and a server chooses how many certificates it sends.
const MOST_INSTANTS: usize = 8;

/// A root that may end a chain.
#[derive(Clone, Debug, Default)]
struct Root {
    subject: String,
    sha256: String,
}

/// The roots that KMS is taken to trust: Mozilla's, or those of a laboratory, with names for the evidence.
#[derive(Clone)]
pub struct TrustRoots {
    /// `anchors[i]` is `roots[i]`.
    anchors: Vec<TrustAnchor<'static>>,
    roots: Vec<Root>,
    lab: bool,
    /// The list that AWS publishes, in one form or another.
    list: Option<KmsTrustList>,
    /// Those of the anchors that are on it.
    listed: Vec<TrustAnchor<'static>>,
}

/// Roots that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustRootsError {
    /// The text is not PEM.
    #[error("the file of roots is not PEM")]
    NotPem(#[source] rustls::pki_types::pem::Error),
    /// There is no certificate in it.
    #[error("the file of roots holds no certificate")]
    Empty,
    /// A certificate cannot be read.
    #[error("certificate {position} in the file of roots cannot be read")]
    Unreadable {
        /// Counted from 1.
        position: usize,
    },
}

impl TrustRoots {
    /// Mozilla's roots for TLS servers, as compiled in: the closest published likeness of what KMS trusts.
    pub fn mozilla() -> Self {
        let mut known = Self::none(false);
        for der in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
            // Each is readable, which a test holds; one that were not could not be trusted anyway.
            known.add(der);
        }
        let list = KmsTrustList::compiled_in(&known.roots);
        known.with_kms_list(list)
    }

    /// The roots of a laboratory, in PEM, and no others. Whatever is judged by them holds for the laboratory only.
    pub fn laboratory(pem: &[u8]) -> Result<Self, TrustRootsError> {
        let mut known = Self::none(true);
        for (index, der) in CertificateDer::pem_slice_iter(pem).enumerate() {
            let der = der.map_err(TrustRootsError::NotPem)?;
            known.add(&der).ok_or(TrustRootsError::Unreadable { position: index + 1 })?;
        }
        if known.roots.is_empty() { Err(TrustRootsError::Empty) } else { Ok(known) }
    }

    /// The same roots, each compared with this list of those that KMS trusts.
    #[must_use]
    pub fn with_kms_list(mut self, list: KmsTrustList) -> Self {
        let anchors = self.anchors.iter().zip(&self.roots);
        self.listed = anchors.filter(|(_, root)| list.holds(root)).map(|(anchor, _)| anchor.clone()).collect();
        self.list = Some(list);
        self
    }

    /// Whether these are the roots of a laboratory.
    pub fn is_lab(&self) -> bool {
        self.lab
    }

    fn none(lab: bool) -> Self {
        Self { anchors: Vec::new(), roots: Vec::new(), lab, list: None, listed: Vec::new() }
    }

    fn add(&mut self, der: &CertificateDer<'_>) -> Option<()> {
        let facts = certificate::read(der).ok()?;
        let anchor = anchor_from_trusted_cert(der).ok()?.to_owned();
        self.anchors.push(anchor);
        self.roots.push(Root { subject: facts.subject, sha256: facts.sha256 });
        Some(())
    }

    fn named(&self, anchor: &TrustAnchor<'_>) -> Option<&Root> {
        self.anchors.iter().position(|known| known == anchor).and_then(|index| self.roots.get(index))
    }

    fn listing(&self, root: &Root) -> Option<KmsListing> {
        self.list.as_ref().map(|list| list.listing(root))
    }

    fn has(&self, subject: &str) -> bool {
        self.roots.iter().any(|root| root.subject == subject)
    }
}

impl fmt::Debug for TrustRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustRoots").field("roots", &self.roots.len()).field("lab", &self.lab).finish_non_exhaustive()
    }
}

/// What the presented chain is worth.
#[derive(Debug)]
pub(super) struct ChainVerdict {
    /// The facts, leaf first, up to the first one that cannot be read.
    pub(super) chain: Vec<Certificate>,
    /// Where it leads, at an instant when it is valid.
    pub(super) trust: Trust,
    /// How many certificates are served that the way there does not need.
    pub(super) surplus: usize,
    /// Whether it is for the host.
    pub(super) name_matches: bool,
    /// Why no request may be sent to this server; `None` if one may.
    pub(super) objection: Option<Problem>,
}

/// Judges a chain as served, leaf first, for `host` at `now`.
pub(super) fn judge(
    roots: &TrustRoots,
    algorithms: &WebPkiSupportedAlgorithms,
    served: &[CertificateDer<'_>],
    host: &str,
    now: Timestamp,
) -> ChainVerdict {
    let mut chain = Vec::with_capacity(served.len());
    for der in served {
        match certificate::read(der) {
            Ok(facts) => chain.push(facts),
            Err(unreadable) => {
                let detail = format!("certificate {} of those served is {unreadable}", chain.len() + 1);
                return refused(chain, host, Problem::target(ProblemKind::BadCertificate, detail));
            }
        }
    }
    let Some((leaf, others)) = served.split_first().filter(|_| !chain.is_empty()) else {
        return refused(
            chain,
            host,
            Problem::target(ProblemKind::BadCertificate, "the server presented no certificate"),
        );
    };
    if let Some(problem) = wrong_order(&chain, host) {
        return refused(chain, host, problem);
    }
    let end_entity = match EndEntityCert::try_from(leaf) {
        Ok(end_entity) => end_entity,
        Err(error) => {
            let problem = untrusted(roots, &chain, &error);
            return refused(chain, host, problem);
        }
    };
    let name_matches = covers(&end_entity, &chain[0], host);
    let path = |anchors, at: Timestamp| {
        let seconds = Duration::from_secs(u64::try_from(at.unix()).unwrap_or(0));
        let time = UnixTime::since_unix_epoch(seconds);
        let usage = KeyUsage::server_auth();
        end_entity.verify_for_usage(algorithms.all, anchors, others, time, usage, None, None)
    };
    let mut surplus = 0;
    let (trust, invalid_now) = match first_path(|at| path(&roots.anchors, at), &chain, now) {
        Ok(path_of_browsers) => {
            // Cross-signed authorities: KMS may get to a root that it knows where browsers take a shorter way.
            let path = path(&roots.listed, now).unwrap_or(path_of_browsers);
            let root = roots.named(path.anchor()).cloned().unwrap_or_default();
            let used = fingerprints_of(&path);
            surplus =
                chain.iter().filter(|served| !used.contains(&served.sha256) && served.sha256 != root.sha256).count();
            let listing = roots.listing(&root);
            let trust = Trust::Trusted { root: root.subject, root_sha256: root.sha256, listing };
            (trust, invalid_member(&used, &chain, now))
        }
        Err(error) => (Trust::Untrusted(untrusted(roots, &chain, &error)), None),
    };
    let objection = match &trust {
        Trust::Untrusted(problem) => Some(problem.clone()),
        Trust::Trusted { .. } => invalid_now
            .or_else(|| (!name_matches).then(|| name_mismatch(&chain[0], host)))
            .or_else(|| weak_signature(&chain)),
    };
    ChainVerdict { chain, trust, surplus, name_matches, objection }
}

fn refused(chain: Vec<Certificate>, host: &str, problem: Problem) -> ChainVerdict {
    let name_matches = chain.first().is_some_and(|leaf| seems_for(leaf, host));
    let trust = Trust::Untrusted(problem.clone());
    ChainVerdict { chain, trust, surplus: 0, name_matches, objection: Some(problem) }
}

/// A path at `now`; failing that, at an instant when all of its members are valid. If a set of validities has an
/// instant in common, then the latest of their starts is one, so the starts are enough to try.
fn first_path<'p>(
    path: impl Fn(Timestamp) -> Result<VerifiedPath<'p>, webpki::Error>,
    chain: &[Certificate],
    now: Timestamp,
) -> Result<VerifiedPath<'p>, webpki::Error> {
    let mut failure = match path(now) {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    let leaf = &chain[0];
    let starts = chain.iter().map(|certificate| certificate.not_before);
    for at in starts.filter(|at| (leaf.not_before..=leaf.not_after).contains(at)).take(MOST_INSTANTS) {
        match path(at) {
            Ok(found) => return Ok(found),
            // What fails when the leaf is valid says more than that it is not valid now.
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The members of a path below its root.
fn fingerprints_of(path: &VerifiedPath<'_>) -> Vec<String> {
    std::iter::once(path.end_entity().der())
        .chain(path.intermediate_certificates().map(webpki::Cert::der))
        .map(|der| certificate::sha256(&der))
        .collect()
}

/// The first of these members that is not valid now. The root's own dates do not matter.
fn invalid_member(used: &[String], chain: &[Certificate], now: Timestamp) -> Option<Problem> {
    let members = chain.iter().filter(|certificate| used.contains(&certificate.sha256));
    members.into_iter().find_map(|certificate| {
        if now > certificate.not_after {
            let detail = format!("{} expired on {}", shown(&certificate.subject), certificate.not_after);
            return Some(Problem::target(ProblemKind::Expired, detail));
        }
        (now < certificate.not_before).then(|| {
            let detail = format!("{} is valid from {} only", shown(&certificate.subject), certificate.not_before);
            Problem::target(ProblemKind::NotYetValid, detail)
        })
    })
}

/// The subject alternative names decide; only where there are none, the common name does.
fn covers(end_entity: &EndEntityCert<'_>, leaf: &Certificate, host: &str) -> bool {
    if leaf.san.is_empty() {
        return leaf.common_name.as_ref().is_some_and(|name| certificate_name_covers(name, host));
    }
    ServerName::try_from(host).is_ok_and(|name| end_entity.verify_is_valid_for_subject_name(&name).is_ok())
}

/// The same by the texts alone, for certificates in places where no leaf should be.
fn seems_for(certificate: &Certificate, host: &str) -> bool {
    let mut names = certificate.san.iter();
    let common = certificate.common_name.iter().filter(|_| certificate.san.is_empty());
    names.any(|name| certificate_name_covers(name, host))
        || common.into_iter().any(|name| certificate_name_covers(name, host))
}

fn wrong_order(chain: &[Certificate], host: &str) -> Option<Problem> {
    let (first, others) = chain.split_first()?;
    if seems_for(first, host) {
        return None;
    }
    let position = others.iter().position(|certificate| seems_for(certificate, host))? + 2;
    let detail = format!(
        "the chain is served in the wrong order: first comes {}, the certificate for {host} is number {position}; \
         it must come first, then its intermediates",
        shown(&first.subject)
    );
    Some(Problem::target(ProblemKind::BadCertificate, detail))
}

fn name_mismatch(leaf: &Certificate, host: &str) -> Problem {
    let names = match (leaf.san.is_empty(), &leaf.common_name) {
        (false, _) => leaf.san.iter().take(5).cloned().collect::<Vec<_>>().join(", "),
        (true, Some(name)) => format!("CN {name}"),
        (true, None) => "no name at all".to_owned(),
    };
    Problem::target(ProblemKind::NameMismatch, format!("the host is {host}, the certificate is for {names}"))
}

/// A signature on SHA-1 or MD5 below the root. A self-issued certificate above the leaf is a root's own copy, whose
/// signature nobody verifies.
fn weak_signature(chain: &[Certificate]) -> Option<Problem> {
    let below_root = chain.iter().enumerate().filter(|(index, member)| *index == 0 || !member.is_self_issued());
    below_root.map(|(_, member)| member).find(|member| member.weak_signature).map(|member| {
        let detail = format!("{} is signed with {}", shown(&member.subject), member.signature_algorithm);
        Problem::target(ProblemKind::WeakSignature, detail)
    })
}

/// Why no path leads to a root, in the words of somebody who has to repair it.
fn untrusted(roots: &TrustRoots, chain: &[Certificate], error: &webpki::Error) -> Problem {
    use webpki::Error;
    let leaf = &chain[0];
    if leaf.is_self_issued() {
        let detail = format!("{} is signed by itself, not by an authority", shown(&leaf.subject));
        return Problem::target(ProblemKind::SelfSigned, detail);
    }
    if let (Some(problem), false) = (weak_signature(chain), matches!(error, Error::UnknownIssuer)) {
        return problem;
    }
    match error {
        Error::UnknownIssuer => unknown_issuer(roots, chain),
        Error::InvalidSignatureForPublicKey | Error::SignatureAlgorithmMismatch => {
            let detail = "a certificate in the chain is not signed by the key of the issuer that it names: the issuer \
                          that is served, or a root of that name, has another key";
            Problem::target(ProblemKind::BadSignature, detail)
        }
        Error::CertExpired { .. } | Error::CertNotValidYet { .. } => never_valid_together(chain),
        Error::RequiredEkuNotFoundContext(_) => {
            Problem::target(ProblemKind::BadCertificate, "a certificate in the chain may not be used for TLS servers")
        }
        Error::CaUsedAsEndEntity => {
            let detail = format!("{} is the certificate of an authority, not of a server", shown(&leaf.subject));
            Problem::target(ProblemKind::BadCertificate, detail)
        }
        other => {
            if let PublicKey::Rsa(bits) = leaf.key
                && bits < 2048
            {
                let detail = format!("the key of {} has {bits} bits; RSA needs 2048", shown(&leaf.subject));
                return Problem::target(ProblemKind::BadCertificate, detail);
            }
            Problem::target(ProblemKind::BadCertificate, format!("the chain cannot be used: {other}"))
        }
    }
}

fn unknown_issuer(roots: &TrustRoots, chain: &[Certificate]) -> Problem {
    let top = top_of(chain);
    let issuer = shown(&top.issuer);
    if top.is_self_issued() {
        let detail = format!("the chain ends at {issuer}, a root that is not publicly trusted (a private authority?)");
        return Problem::target(ProblemKind::UnknownIssuer, detail);
    }
    if roots.has(&top.issuer) {
        let detail = format!("the chain ends at {issuer}, a root that we know, but cannot be joined to it");
        return Problem::target(ProblemKind::UnknownIssuer, detail);
    }
    if top == &chain[0] {
        let detail = format!(
            "the certificate of the issuer, {issuer}, is not served and is no root; configure the server to send its \
             intermediates after its own certificate"
        );
        return Problem::target(ProblemKind::MissingIntermediate, detail);
    }
    let detail = format!(
        "the chain of {} ends at {issuer}, which is neither served nor a root that we know: a private authority, or \
         one more intermediate is missing",
        shown(&chain[0].subject)
    );
    Problem::target(ProblemKind::UnknownIssuer, detail)
}

/// The last certificate that is reached from the leaf by following issuers through what is served.
fn top_of(chain: &[Certificate]) -> &Certificate {
    let mut top = &chain[0];
    // As many steps as there are certificates: certificates that name each other would lead in circles.
    for _ in chain {
        match chain.iter().find(|next| next.subject == top.issuer && !top.is_self_issued()) {
            Some(next) => top = next,
            None => break,
        }
    }
    top
}

fn never_valid_together(chain: &[Certificate]) -> Problem {
    let first_end = chain.iter().min_by_key(|certificate| certificate.not_after).unwrap_or(&chain[0]);
    let detail = format!(
        "the members of the chain were never valid at the same time: {} ended on {}",
        shown(&first_end.subject),
        first_end.not_after
    );
    Problem::target(ProblemKind::Expired, detail)
}

fn shown(subject: &str) -> &str {
    if subject.is_empty() { "(a certificate without subject)" } else { subject }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_root_of_mozilla_is_known_by_name_and_fingerprint() {
        let known = TrustRoots::mozilla();
        assert_eq!(known.roots.len(), webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());
        assert!(!known.is_lab() && known.roots.iter().all(|root| !root.subject.is_empty()));
        let amazon = known.roots.iter().find(|root| root.subject.contains("CN=Amazon Root CA 1")).unwrap();
        // As published by Amazon Trust Services.
        assert_eq!(amazon.sha256, "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e");
        for (anchor, root) in known.anchors.iter().zip(&known.roots) {
            assert_eq!(known.named(anchor).map(|named| &named.sha256), Some(&root.sha256));
        }
    }

    #[test]
    fn files_of_roots_that_cannot_be_used_are_refused() {
        assert!(matches!(TrustRoots::laboratory(b""), Err(TrustRootsError::Empty)));
        let cut = b"-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert!(matches!(TrustRoots::laboratory(cut), Err(TrustRootsError::NotPem(_))));
        let junk = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(TrustRoots::laboratory(junk), Err(TrustRootsError::Unreadable { position: 1 })));
    }
}
