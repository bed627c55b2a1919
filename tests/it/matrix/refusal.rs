//! Every error name of the API, and errors that are none of it.

use super::row::*;

pub(super) const ROWS: &[Row] = &[
    proxy("validation-exception", blocked("http.status", "proxy_error", INVALID_RESPONSE)),
    proxy("invalid-state-exception", blocked("http.status", "proxy_error", UNSAID)),
    proxy("invalid-ciphertext-exception", blocked("http.status", "proxy_error", INVALID_RESPONSE)),
    proxy("invalid-key-usage-exception", blocked("http.status", "proxy_error", INVALID_RESPONSE)),
    proxy("authentication-failed-exception", blocked("sigv4.accepted", "authentication_failed", INCORRECT_CREDENTIAL)),
    proxy("access-denied-exception", blocked("http.status", "proxy_error", ACCESS_DENIED)),
    proxy("key-not-found-exception", blocked("http.status", "proxy_error", INVALID_RESPONSE)),
    proxy("invalid-uri-path-exception", blocked("http.status", "proxy_error", INVALID_CONFIGURATION)),
    proxy("throttling-exception", blocked("http.status", "proxy_error", UNREACHABLE)),
    proxy("throttling-every-second", blocked("http.status", "proxy_error", UNREACHABLE)),
    proxy("internal-exception", blocked("http.status", "proxy_error", BAD_RESPONSE)),
    proxy("unsupported-operation-exception", blocked("http.status", "proxy_error", UNSAID)),
    proxy("dependency-timeout-exception", blocked("http.status", "proxy_error", TIMED_OUT)),
    proxy("error-with-status-200", blocked("http.status", "proxy_error", BAD_RESPONSE)),
    proxy("error-name-unknown", blocked("http.status", "proxy_error", INVALID_RESPONSE)),
    proxy("error-name-missing", blocked("http.status", "status", INVALID_RESPONSE)),
    proxy("error-message-overlong", blocked("http.status", "proxy_error", BAD_RESPONSE)),
    proxy("error-message-not-ascii", blocked("http.error_message", "error_message", BAD_RESPONSE)),
];
