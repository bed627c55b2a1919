//! The port, the bytes of a connection, and the parameters of the TLS handshake.

use super::row::Expected::Permitted;
use super::row::*;

pub(super) const ROWS: &[Row] = &[
    proxy("listener-closed", blocked("tcp.connects", "refused", NOT_REACHABLE)),
    proxy("close-on-accept", blocked("tls.handshake", "closed", INVALID_TLS)),
    proxy("reset-on-accept", blocked("tls.handshake", "reset", INVALID_TLS)),
    proxy("tls-stall", blocked("tls.handshake", "timed_out", INVALID_TLS)),
    proxy("plain-http", blocked("tls.handshake", "not_tls", INVALID_TLS)),
    proxy("not-tls", blocked("tls.handshake", "not_tls", INVALID_TLS)),
    proxy("tls-alert", blocked("tls.handshake", "alert", INVALID_TLS)),
    proxy("tls11-only", blocked("tls.handshake", "protocol_version", INVALID_TLS)),
    proxy("tls-close-mid-handshake", blocked("tls.handshake", "closed", INVALID_TLS)),
    proxy("cipher-suites-unsupported", blocked("tls.cipher_suite", "no_cipher_suite", INVALID_TLS)),
    proxy("alpn-http2-only", blocked("http.http1", "no_http1", INVALID_TLS)),
    proxy("alpn-required", blocked("http.http1", "no_http1", UNSAID)),
    proxy("client-certificate-required", inconclusive("tls.client_certificate", "client_certificate", UNSAID)),
    proxy("client-certificate-requested", warned("tls.client_certificate", "client_certificate")),
    proxy("tls12-only", Permitted),
    proxy("tls10-only", blocked("tls.version", "protocol_version", INVALID_TLS)),
    proxy("tls-alert-protocol-version", blocked("tls.version", "protocol_version", INVALID_TLS)),
    proxy("tls-alert-insufficient-security", blocked("tls.cipher_suite", "no_cipher_suite", INVALID_TLS)),
    proxy("tls-alert-unrecognized-name", blocked("tls.handshake", "alert", INVALID_TLS)),
    proxy("tls-alert-internal-error", blocked("tls.handshake", "alert", INVALID_TLS)),
    proxy("tls-stall-mid-handshake", blocked("tls.handshake", "timed_out", INVALID_TLS)),
    proxy("tls-cbc-only", blocked("tls.cipher_suite", "no_cipher_suite", INVALID_TLS)),
    proxy("tls-dhe-only", blocked("tls.cipher_suite", "no_cipher_suite", INVALID_TLS)),
    proxy("tls-static-rsa-only", blocked("tls.cipher_suite", "no_cipher_suite", INVALID_TLS)),
    proxy("tls-3des-only", blocked("tls.cipher_suite", "no_cipher_suite", INVALID_TLS)),
    proxy("tls-rc4-only", blocked("tls.cipher_suite", "no_cipher_suite", INVALID_TLS)),
    proxy("tls-null-only", blocked("tls.cipher_suite", "no_cipher_suite", INVALID_TLS)),
    proxy("tls13-suites-unsupported", blocked("tls.cipher_suite", "no_cipher_suite", INVALID_TLS)),
    proxy("client-certificate-required-tls12", inconclusive("tls.client_certificate", "client_certificate", UNSAID)),
    proxy("client-certificate-unverified", inconclusive("tls.client_certificate", "client_certificate", UNSAID)),
    proxy("tls13-only", Permitted),
    proxy("tls12-suites-unsupported", Permitted),
];
