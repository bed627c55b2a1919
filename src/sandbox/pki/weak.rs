//! A public key that is too short. Nobody has its private half: nothing here can sign with 1024 bits.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData, SignatureAlgorithm};
use rustls::pki_types::CertificateDer;

/// RSAPublicKey (RFC 8017) with a modulus of 1024 bits.
const RSA_1024: &str = "MIGJAoGBAKdSh/gWFi5bFzBsLLeJr+eGJtLKUiHYnKS17R7O9VeIWzbSmskQSeegJeLzeSYCBsjtC55/D8GLRCxXwRvTxpSNl9Z9\
                        kp5PTJL7Pd4UNjI/8l/RfiL8V2/5xWVoMXM/B1joFG+2A+B/3rfSDOtJXkS7SU6VJE1CQ36jKVm3DiPjAgMBAAE=";

struct ShortKey(Vec<u8>);

impl PublicKeyData for ShortKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

/// An intermediate with that key, valid as long as `like`, signed by the root.
pub(super) fn intermediate(
    like: &CertificateParams,
    root: &Issuer<'static, KeyPair>,
) -> Result<CertificateDer<'static>, rcgen::Error> {
    let key = ShortKey(STANDARD.decode(RSA_1024).map_err(|_| rcgen::Error::CouldNotParseKeyPair)?);
    let mut params = like.clone();
    params.distinguished_name = super::distinguished("Former CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    Ok(params.signed_by(&key, root)?.der().clone())
}
