//! Makes a certificate claim a SHA-1 signature.
//!
//! The cryptography below makes no such signature, so the certificate is relabelled and signed with SHA-256: what it
//! claims is what a verifier judges first, and one that refuses SHA-1 never gets to the signature.

use rcgen::{KeyPair, SigningKey as _};
use rustls::pki_types::CertificateDer;

/// `AlgorithmIdentifier` of ecdsa-with-SHA256 (RFC 5758, section 3.2).
const ECDSA_WITH_SHA256: [u8; 12] = [0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
/// `AlgorithmIdentifier` of ecdsa-with-SHA1 (RFC 3279, section 2.2.3).
const ECDSA_WITH_SHA1: [u8; 11] = [0x30, 9, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 3;

/// The same certificate with ecdsa-with-SHA1 in both places, signed anew. A certificate that is not signed with
/// ecdsa-with-SHA256, or has no more than 255 bytes to sign, is an [`rcgen::Error::CouldNotParseCertificate`].
pub(super) fn relabelled(
    certificate: &CertificateDer<'_>,
    issuer: &KeyPair,
) -> Result<CertificateDer<'static>, rcgen::Error> {
    let refused = rcgen::Error::CouldNotParseCertificate;
    // Certificate ::= SEQUENCE { tbsCertificate SEQUENCE, ... }, both with two bytes of length.
    let [SEQUENCE, 0x82, _, _, SEQUENCE, 0x82, high, low, rest @ ..] = certificate.as_ref() else {
        return Err(refused);
    };
    let Some(to_sign) = rest.get(..usize::from(u16::from_be_bytes([*high, *low]))) else { return Err(refused) };
    let label = to_sign.windows(ECDSA_WITH_SHA256.len()).position(|window| window == ECDSA_WITH_SHA256);
    let Some(label) = label else { return Err(refused) };
    let after = &to_sign[label + ECDSA_WITH_SHA256.len()..];
    let to_sign = element(SEQUENCE, &[&to_sign[..label], &ECDSA_WITH_SHA1, after].concat());
    let signature = [&[0][..], &issuer.sign(&to_sign)?].concat();
    Ok(element(SEQUENCE, &[&to_sign, &ECDSA_WITH_SHA1[..], &element(BIT_STRING, &signature)].concat()).into())
}

/// A DER element of at most 65,535 bytes.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let head: &[u8] = match (high, low) {
        (0, 0..0x80) => &[tag, low],
        (0, _) => &[tag, 0x81, low],
        _ => &[tag, 0x82, high, low],
    };
    [head, content].concat()
}
