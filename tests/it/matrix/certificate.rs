//! The certificate chain.

use super::row::Expected::Permitted;
use super::row::*;

pub(super) const ROWS: &[Row] = &[
    proxy("certificate-expired", blocked("tls.validity", "expired", INVALID_TLS)),
    proxy("certificate-not-yet-valid", blocked("tls.validity", "not_yet_valid", INVALID_TLS)),
    proxy("certificate-wrong-name", blocked("tls.name_matches", "name_mismatch", INVALID_TLS)),
    proxy("certificate-self-signed", blocked("tls.chain_trusted", "self_signed", INVALID_TLS)),
    proxy("certificate-unknown-root", blocked("tls.chain_trusted", "unknown_issuer", INVALID_TLS)),
    proxy("certificate-missing-intermediate", blocked("tls.chain_complete", "missing_intermediate", INVALID_TLS)),
    proxy("certificate-expired-intermediate", blocked("tls.validity", "expired", INVALID_TLS)),
    proxy("certificate-chain-reversed", blocked("tls.chain_trusted", "bad_certificate", INVALID_TLS)),
    proxy("certificate-sha1-signature", blocked("tls.chain_trusted", "weak_signature", INVALID_TLS)),
    proxy("certificate-expiring-soon", warned("tls.expiry_margin", "expires_soon")),
    proxy("certificate-common-name-only", Permitted),
    proxy("certificate-chain-unordered", Permitted),
    proxy("certificate-surplus", Permitted),
    proxy("certificate-sha1-intermediate", blocked("tls.signature_algorithm", "weak_signature", INVALID_TLS)),
    proxy("certificate-wildcard-too-deep", blocked("tls.name_matches", "name_mismatch", INVALID_TLS)),
    proxy("certificate-common-name-beside", blocked("tls.name_matches", "name_mismatch", INVALID_TLS)),
    proxy("certificate-of-authority", blocked("tls.chain_trusted", "bad_certificate", INVALID_TLS)),
    proxy("certificate-for-clients", blocked("tls.chain_trusted", "bad_certificate", INVALID_TLS)),
    proxy("certificate-forged", blocked("tls.chain_trusted", "bad_signature", INVALID_TLS)),
    proxy("certificate-foreign-key", blocked("tls.handshake", "broken_handshake", INVALID_TLS)),
    proxy("certificate-not-yet-valid-intermediate", blocked("tls.validity", "not_yet_valid", INVALID_TLS)),
    proxy("certificate-garbage-intermediate", blocked("tls.chain_trusted", "bad_certificate", INVALID_TLS)),
    proxy("certificate-root-without-intermediate", blocked("tls.chain_complete", "missing_intermediate", INVALID_TLS)),
    proxy("certificate-chain-long", blocked("tls.chain_complete", "too_long", INVALID_TLS)),
    proxy("certificate-chain-huge", blocked("tls.handshake", "too_large", INVALID_TLS)),
    proxy("certificate-no-common-name", warned("tls.common_name", "name_mismatch")),
    proxy("certificate-no-subject", warned("tls.common_name", "name_mismatch")),
    proxy("certificate-wildcard", Permitted),
    proxy("certificate-thousand-names", Permitted),
    proxy("certificate-rsa", Permitted),
    proxy("certificate-reissued", Permitted),
    proxy("certificate-ocsp-staple", Permitted),
];
