//! Verdicts on chains, without a connection: which of several faults is told, and the rarer ones.

use rustls::pki_types::CertificateDer;

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::*;
use crate::check::Trust;
use crate::probe::trust::{ChainVerdict, judge};
use crate::sandbox::pki::{Chain, Leaf};

fn judged(trusted: &Pki, served: &[CertificateDer<'_>], host: &str) -> ChainVerdict {
    let roots = TrustRoots::laboratory(trusted.root_pem().as_bytes()).unwrap();
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    judge(&roots, &algorithms, served, host, now())
}

fn verdict(pki: &Pki, leaf: &Leaf) -> ChainVerdict {
    judged(pki, &pki.issue(leaf).unwrap().chain, HOST)
}

fn objection(verdict: &ChainVerdict) -> Option<ProblemKind> {
    verdict.objection.as_ref().map(|problem| problem.kind)
}

fn pki() -> Pki {
    Pki::new(now().into()).unwrap()
}

const DAY: Duration = Duration::from_hours(24);

#[test]
fn distrust_comes_before_dates_and_dates_before_names() {
    let pki = pki();
    let (before, after) = (now().minus(10 * DAY).into(), now().minus(DAY).into());
    let expired = Leaf { not_before: before, not_after: after, ..pki.leaf([HOST]) };
    let elsewhere = Leaf { dns_names: vec!["other.example.com".to_owned()], ..expired.clone() };
    let stranger = Leaf { chain: Chain::UnknownRoot, ..elsewhere.clone() };
    assert_eq!(objection(&verdict(&pki, &expired)), Some(ProblemKind::Expired));
    let both = verdict(&pki, &elsewhere);
    assert_eq!((objection(&both), both.name_matches), (Some(ProblemKind::Expired), false));
    assert!(matches!(both.trust, Trust::Trusted { .. }));
    assert_eq!(objection(&verdict(&pki, &stranger)), Some(ProblemKind::UnknownIssuer));
}

#[test]
fn members_that_were_never_valid_together_are_no_chain() {
    let pki = pki();
    let late = Leaf { not_before: now().minus(DAY / 2).into(), chain: Chain::ExpiredIntermediate, ..pki.leaf([HOST]) };
    let verdict = verdict(&pki, &late);
    assert_eq!(objection(&verdict), Some(ProblemKind::Expired));
    assert!(verdict.objection.unwrap().detail.contains("never valid at the same time"));
}

#[test]
fn an_authority_of_the_same_name_with_another_key_is_a_forgery() {
    let (known, forged) = (pki(), pki());
    let served = forged.issue(&forged.leaf([HOST])).unwrap().chain;
    assert_eq!(objection(&judged(&known, &served, HOST)), Some(ProblemKind::BadSignature));
}

#[test]
fn a_clients_certificate_serves_no_server() {
    let pki = pki();
    let served = pki.issue_client(HOST).unwrap().chain;
    assert_eq!(objection(&judged(&pki, &served, HOST)), Some(ProblemKind::BadCertificate));
}

#[test]
fn wildcards_reach_one_level() {
    let pki = pki();
    let served = pki.issue(&pki.leaf(["*.example.com"])).unwrap().chain;
    for (host, covered) in
        [(HOST, true), ("XKS.example.com", true), ("a.xks.example.com", false), ("example.com", false)]
    {
        let verdict = judged(&pki, &served, host);
        assert_eq!(verdict.name_matches, covered, "{host}");
        assert_eq!(objection(&verdict), (!covered).then_some(ProblemKind::NameMismatch), "{host}");
    }
}

#[test]
fn a_common_name_does_not_help_where_there_are_alternative_names() {
    let pki = pki();
    let leaf = Leaf { common_name: Some(HOST.to_owned()), ..pki.leaf(["other.example.com"]) };
    assert_eq!(objection(&verdict(&pki, &leaf)), Some(ProblemKind::NameMismatch));
}

#[test]
fn bytes_that_are_no_certificate_are_objected_to() {
    let pki = pki();
    let mut served = pki.issue(&pki.leaf([HOST])).unwrap().chain;
    served.push(CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]));
    let verdict = judged(&pki, &served, HOST);
    assert_eq!(objection(&verdict), Some(ProblemKind::BadCertificate));
    assert!(verdict.objection.unwrap().detail.contains("certificate 3"));
    assert_eq!(verdict.chain.len(), 2);
    assert_eq!(objection(&judged(&pki, &[], HOST)), Some(ProblemKind::BadCertificate));
}

/// An authority of this name, dated like the sandbox's.
fn authority(name: &str, until: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let date = |at: Timestamp| time::OffsetDateTime::from_unix_timestamp(at.unix()).unwrap();
    (params.not_before, params.not_after) = (date(now().minus(10 * DAY)), date(until));
    params
}

#[test]
fn a_root_that_kms_knows_counts_where_browsers_take_a_shorter_way() {
    let later = now().plus(10 * DAY);
    let [old_key, new_key, leaf_key] = [(); 3].map(|()| KeyPair::generate().unwrap());
    let [old, new] = [("Old Root", &old_key), ("New Root", &new_key)]
        .map(|(name, key)| authority(name, later).self_signed(key).unwrap());
    let old_issuer = Issuer::new(authority("Old Root", later), old_key);
    let crossed = |until| authority("New Root", until).signed_by(&new_key, &old_issuer).unwrap();
    let [good_cross, expired_cross] = [crossed(later), crossed(now().minus(DAY))];
    let new_issuer = Issuer::new(authority("New Root", later), &new_key);
    let mut leaf = authority("leaf", later);
    (leaf.is_ca, leaf.subject_alt_names) =
        (IsCa::NoCa, CertificateParams::new([HOST.to_owned()]).unwrap().subject_alt_names);
    let leaf = leaf.signed_by(&leaf_key, &new_issuer).unwrap();

    let roots = TrustRoots::laboratory((old.pem() + &new.pem()).as_bytes()).unwrap();
    let pairs: Vec<String> = crate::probe::certificate::sha256(old.der())
        .as_bytes()
        .chunks(2)
        .map(|p| String::from_utf8_lossy(p).into())
        .collect();
    let list = format!("Alias name: old\nOwner: CN=Old Root\nSHA256: {}\n", pairs.join(":"));
    let roots = roots.with_kms_list(crate::probe::KmsTrustList::parse(list.as_bytes()).unwrap());
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let root_of = |served: &[&Certificate]| {
        let served: Vec<_> = served.iter().map(|certificate| certificate.der().clone()).collect();
        let verdict = judge(&roots, &algorithms, &served, HOST, now());
        assert_eq!(objection(&verdict), None);
        let Trust::Trusted { root, listing, .. } = verdict.trust else { panic!("{:?}", verdict.trust) };
        (root.contains("Old Root"), listing.unwrap().listed, verdict.surplus)
    };
    assert_eq!(root_of(&[&leaf]), (false, false, 0));
    assert_eq!(root_of(&[&leaf, &good_cross]), (true, true, 0));
    // A way that KMS cannot go today is none, and does not spoil the other one.
    assert_eq!(root_of(&[&leaf, &expired_cross]), (false, false, 1));
}
