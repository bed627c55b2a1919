//! When what a tool says names the cause.
//!
//! A tool has named the cause if the part of its output that complains has, in any case, one of the words below for the
//! kind of problem that the matrix expects. The lists hold what the libraries behind the tools say (OpenSSL, Go's
//! crypto/tls, Python's cryptography, curl, jq) and lean towards the tools: of several causes of one message all count,
//! for a wrong answer it is enough to show it and to call it unexpected, and for one without end to run out of time. The
//! measure for xks-preflight is narrower: verdict, check, problem and KMS outcome must be those of the matrix.

/// Words that name a kind of problem, in lower case.
pub(super) fn of(problem: &str) -> &'static [&'static str] {
    match problem {
        "refused" => &["refused", "connect to server", "rejected the connection"],
        "closed" => &["closed", "eof", "empty reply", "reset", "remaining", "ssl_error_syscall"],
        "reset" => &["reset", "ssl_error_syscall", "closed", "eof"],
        "timed_out" | "slow" => &["timed out", "timeout", "deadline exceeded"],
        "not_tls" => {
            &["wrong version number", "not look like a tls", "packet length", "http response to https", "not tls"]
        }
        "alert" => {
            &["alert", "handshake failure", "unrecognized name", "internal error", "could not find a tls version"]
        }
        "protocol_version" => {
            &["protocol version", "unsupported protocol", "wrong version number", "tls 1.1", "tls 1.0", "tls version"]
        }
        "no_cipher_suite" => {
            &["cipher", "handshake failure", "insufficient security", "no suite of kms", "unsupported protocol"]
        }
        "no_http1" => &["alpn", "application protocol", "http2", "http/2"],
        "client_certificate" => &["client certificate", "certificate required", "bad certificate", "handshake failure"],
        "broken_handshake" => &["signature", "decrypt error", "key mismatch", "verification error"],
        "expired" => &["expired", "not valid at validation time"],
        "not_yet_valid" => &["not yet valid", "not valid at validation time"],
        "name_mismatch" => {
            &["no alternative certificate subject name", "is valid for", "does not match", "not valid for", "subject"]
        }
        "self_signed" => &["self-signed", "self signed", "unknown authority", "issuer"],
        "unknown_issuer" => &["issuer", "unknown authority", "self-signed", "self signed", "candidates exhausted"],
        "missing_intermediate" => &["issuer", "unknown authority", "intermediate", "candidates exhausted"],
        "bad_certificate" => &[
            "certificate",
            "subject",
            "asn1",
            "asn.1",
            "x509",
            "issuer",
            "unsupported purpose",
            "candidates exhausted",
        ],
        "bad_signature" => &["signature", "issuer", "unknown authority"],
        "weak_signature" => &["sha1", "sha-1", "too weak", "insecure algorithm", "forbidden signature"],
        "too_long" => &["chain", "too long", "too many"],
        "too_large" => {
            &["too large", "exceed", "limit", "too long", "excessive", "cannot allocate", "timed out", "timeout"]
        }
        "authentication_failed" => &["authenticationfailed"],
        "not_refused" => &["invalid sigv4", "invalid uri", "status_code=200", "status code"],
        "not_http" => &["http/0.9", "unsupported http", "malformed", "http/1.x", "chunk", "1xx", "100 continue"],
        "not_json" | "schema" | "fleet_size" => {
            &["unexpected response", "did not match", "parse error", "cannot iterate", "cannot index", "false"]
        }
        "status" => &["error: 4", "error: 5", "http/1.1 4", "http/1.1 5", "status_code=4", "status_code=5"],
        "redirected" => &["http/1.1 30", "error: 30", "redirect", "status_code=30"],
        "proxy_error" | "throttled" | "not_found" => &["errorname", "exception", "status_code="],
        "unusable_key" => &["keyspec", "keyusage", "keystatus", "errorname", "exception", "enabled", "aes_256"],
        "broken_round_trip" => &["plaintext", "decrypt", "mismatch", "unexpected"],
        "unauthenticated" => &["additionalauthenticateddata", "aad", "ciphertext"],
        "integrity_value" => &["cdiv verification"],
        "all_unavailable" | "degraded" => &["unavailable", "degraded"],
        "expires_soon" => &["expire"],
        "error_message" => &["errormessage", "error message"],
        "shallow_health" => &["although", "constant", "contradict"],
        _ => &[],
    }
}
