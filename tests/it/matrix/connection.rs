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
    proxy("cipher-suites-unsupported", blocked("tls.handshake", "no_cipher_suite", INVALID_TLS)),
    proxy("alpn-http2-only", blocked("tls.handshake", "alert", INVALID_TLS)),
    proxy("client-certificate-required", inconclusive("tls.client_certificate", "client_certificate", UNSAID)),
    proxy("client-certificate-requested", warned("tls.client_certificate", "client_certificate")),
    proxy("tls12-only", Permitted),
];
