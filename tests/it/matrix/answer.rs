//! The answer as bytes and as HTTP.

use super::row::Expected::Permitted;
use super::row::*;

pub(super) const ROWS: &[Row] = &[
    proxy("stall-after-request", blocked("http.answers", "timed_out", TIMED_OUT)),
    proxy("slow-answer", blocked("http.answers", "timed_out", TIMED_OUT)),
    proxy("drip-answer", blocked("http.answers", "timed_out", TIMED_OUT)),
    proxy("close-without-answer", blocked("http.answers", "closed", NOT_REACHABLE)),
    proxy("reset-without-answer", blocked("http.answers", "reset", NOT_REACHABLE)),
    proxy("status-line-garbage", blocked("http.answers", "not_http", INVALID_RESPONSE)),
    proxy("http09-answer", blocked("http.answers", "not_http", INVALID_RESPONSE)),
    proxy("truncated-body", blocked("http.answers", "closed", NOT_REACHABLE)),
    proxy("chunked-garbage", blocked("http.answers", "not_http", INVALID_RESPONSE)),
    proxy("huge-headers", blocked("http.body_size", "too_large", INVALID_RESPONSE)),
    proxy("endless-headers", blocked("http.body_size", "too_large", INVALID_RESPONSE)),
    proxy("gzip-bomb", blocked("health.schema", "not_json", INVALID_RESPONSE)),
    proxy("informational-flood", blocked("http.answers", "not_http", INVALID_RESPONSE)),
    proxy("huge-body", blocked("http.body_size", "too_large", INVALID_RESPONSE)),
    proxy("endless-body", blocked("http.body_size", "too_large", INVALID_RESPONSE)),
    proxy("empty-body", blocked("health.schema", "not_json", INVALID_RESPONSE)),
    proxy("html-200", blocked("health.schema", "not_json", INVALID_RESPONSE)),
    proxy("html-403", blocked("http.status", "status", INVALID_RESPONSE)),
    proxy("html-404", blocked("http.status", "status", INVALID_RESPONSE)),
    proxy("html-502", blocked("http.status", "status", INVALID_RESPONSE)),
    proxy("redirect-301", blocked("http.no_redirect", "redirected", INVALID_RESPONSE)),
    proxy("redirect-302", blocked("http.no_redirect", "redirected", INVALID_RESPONSE)),
    proxy("redirect-307", blocked("http.no_redirect", "redirected", INVALID_RESPONSE)),
    proxy("status-500-good-body", blocked("http.status", "status", INVALID_RESPONSE)),
    proxy("body-not-utf8", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("json-nested-deep", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("json-trailing-garbage", blocked("health.schema", "not_json", INVALID_RESPONSE)),
    proxy("json-truncated", blocked("health.schema", "not_json", INVALID_RESPONSE)),
    proxy("json-not-object", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("content-type-wrong", warned("http.content_type", "content_type")),
    proxy("connection-close-after-each", Permitted),
    proxy("html-400", blocked("http.status", "status", INVALID_RESPONSE)),
];
