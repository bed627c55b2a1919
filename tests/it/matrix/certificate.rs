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
];
