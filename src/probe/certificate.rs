//! Reading certificates for evidence: what a person wants to know of them, whether or not they are any good.

mod ocsp;

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2sn};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey as ParsedKey;
use x509_parser::signature_algorithm::SignatureAlgorithm;
use x509_parser::x509::{AlgorithmIdentifier, X509Name};

pub(super) use self::ocsp::read as read_staple;
use crate::check::{Certificate, PublicKey};
use crate::clock::Timestamp;

/// Signatures that rest on MD2, MD4, MD5 or SHA-1, with their names (RFC 3279, RFC 8017; OIW for the last one).
const WEAK_SIGNATURES: &[(&str, &str)] = &[
    ("1.2.840.113549.1.1.2", "md2WithRSAEncryption"),
    ("1.2.840.113549.1.1.3", "md4WithRSAEncryption"),
    ("1.2.840.113549.1.1.4", "md5WithRSAEncryption"),
    ("1.2.840.113549.1.1.5", "sha1WithRSAEncryption"),
    ("1.2.840.10040.4.3", "dsa-with-sha1"),
    ("1.2.840.10045.4.1", "ecdsa-with-SHA1"),
    ("1.3.14.3.2.29", "sha1WithRSASignature"),
];

/// Object identifiers of the hash functions SHA-1 and MD5, where a signature names its hash apart (RSASSA-PSS).
const WEAK_HASHES: &[&str] = &["1.3.14.3.2.26", "1.2.840.113549.2.5"];

/// Bytes that are no X.509 certificate; where the parser gave up.
#[derive(Debug, thiserror::Error)]
#[error("not an X.509 certificate")]
pub(super) struct Unreadable;

/// Reads one certificate.
pub(super) fn read(der: &CertificateDer<'_>) -> Result<Certificate, Unreadable> {
    let (_, parsed) = X509Certificate::from_der(der).map_err(|_| Unreadable)?;
    let validity = parsed.validity();
    Ok(Certificate {
        subject: name(parsed.subject()),
        common_name: common_name(parsed.subject()),
        san: subject_alternative_names(&parsed),
        issuer: name(parsed.issuer()),
        not_before: Timestamp::from_unix(validity.not_before.timestamp()),
        not_after: Timestamp::from_unix(validity.not_after.timestamp()),
        sha256: sha256(der),
        key: public_key(&parsed),
        signature_algorithm: algorithm_name(&parsed.signature_algorithm),
        weak_signature: is_weak(&parsed.signature_algorithm),
    })
}

/// The fingerprint of a certificate, hexadecimal.
pub(super) fn sha256(der: &[u8]) -> String {
    hexadecimal(digest::digest(&digest::SHA256, der).as_ref())
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        for nibble in [byte >> 4, byte & 0xf] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('?'));
        }
        text
    })
}

/// Control characters in a name must not reach a terminal or a log.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn name(name: &X509Name<'_>) -> String {
    printable(&name.to_string())
}

fn common_name(subject: &X509Name<'_>) -> Option<String> {
    // Of several, the last one is the most specific (RFC 4514 prints it first).
    subject.iter_common_name().last()?.as_str().ok().map(printable)
}

fn subject_alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    extension.value.general_names.iter().filter_map(general_name).collect()
}

fn general_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(dns) => Some(printable(dns)),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from);
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

fn public_key(certificate: &X509Certificate<'_>) -> PublicKey {
    let key = certificate.public_key();
    match key.parsed() {
        Ok(ParsedKey::RSA(rsa)) => PublicKey::Rsa(rsa.key_size()),
        // Coordinates are padded to whole bytes: P-521 shows as 528.
        Ok(ParsedKey::EC(point)) => PublicKey::Ec(match point.key_size() {
            528 => 521,
            bits => bits,
        }),
        Ok(_) | Err(_) => PublicKey::Other(algorithm_name(&key.algorithm)),
    }
}

fn algorithm_name(algorithm: &AlgorithmIdentifier<'_>) -> String {
    if let Some((_, name)) = weak_signature(algorithm) {
        return name.to_owned();
    }
    oid2sn(&algorithm.algorithm, oid_registry()).map_or_else(|_| algorithm.algorithm.to_id_string(), ToOwned::to_owned)
}

fn is_weak(algorithm: &AlgorithmIdentifier<'_>) -> bool {
    match SignatureAlgorithm::try_from(algorithm) {
        Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) => {
            WEAK_HASHES.contains(&parameters.hash_algorithm_oid().to_id_string().as_str())
        }
        _ => weak_signature(algorithm).is_some(),
    }
}

fn weak_signature(algorithm: &AlgorithmIdentifier<'_>) -> Option<(&'static str, &'static str)> {
    let identifier = algorithm.algorithm.to_id_string();
    WEAK_SIGNATURES.iter().copied().find(|(weak, _)| *weak == identifier)
}

#[cfg(test)]
mod tests;
