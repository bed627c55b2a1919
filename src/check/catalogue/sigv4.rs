//! Checks of the signature and of what the proxy makes of it.

use super::{Check, Code, KmsOutcome, Level, Raises, SPEC, Stage, cite, judge};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "sigv4.accepted",
        stage: Stage::Sigv4,
        level: Level::Must,
        title: "the proxy accepts the signature",
        citation: cite(SPEC, "Authentication"),
        remedy: "Give KMS exactly the credential that the proxy has for this path; if it is, look for a middlebox that rewrites Host or the path.",
        kms: Some(
            KmsOutcome::of(Raises::XksProxyIncorrectAuthenticationCredential, Code::InvalidCredentials)
                .retryable(false),
        ),
        judge: judge::http::accepted,
    },
    Check {
        id: "sigv4.clock_skew",
        stage: Stage::Sigv4,
        level: Level::Should,
        title: "our clock and the proxy's differ by less than 60 s (the window is 5 minutes)",
        citation: cite(SPEC, "Authentication"),
        remedy: "Synchronise the clocks (NTP) of the proxy and of this machine.",
        kms: None,
        judge: judge::http::clock_skew,
    },
];
