//! Checks of the signature and of what the proxy makes of it.

use super::{Check, Code, GUIDE, KmsOutcome, Level, Raises, SPEC, Stage, cite, judge};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "sigv4.accepted",
        stage: Stage::Sigv4,
        level: Level::Must,
        title: "the proxy accepts the signature",
        citation: cite(SPEC, "Authentication"),
        remedy: "If the finding names clock, Region or Host, mend that at the proxy. Otherwise give KMS exactly the credential that the proxy has for this path; if it is, look for a middlebox that rewrites Host or the path.",
        kms: Some(
            KmsOutcome::of(Raises::XksProxyIncorrectAuthenticationCredential, Code::InvalidCredentials)
                .retryable(false),
        ),
        judge: judge::sigv4::accepted,
    },
    Check {
        id: "sigv4.clock_skew",
        stage: Stage::Sigv4,
        level: Level::Should,
        title: "our clock and the proxy's differ by less than 60 s (the window is 5 minutes)",
        citation: cite(SPEC, "Authentication"),
        remedy: "Synchronise the clocks (NTP) of the proxy and of this machine.",
        kms: None,
        judge: judge::sigv4::clock_skew,
    },
    Check {
        id: "sigv4.refuses_unsigned",
        stage: Stage::Sigv4,
        level: Level::Must,
        title: "a request without Authorization header is refused with 401 (if refusals are asked for)",
        citation: cite(SPEC, "Authentication"),
        remedy: "Make the proxy verify SigV4 on every request: as it is, anybody who reaches it can use the keys.",
        kms: None,
        judge: judge::sigv4::refuses_unsigned,
    },
    Check {
        id: "sigv4.refuses_wrong_secret",
        stage: Stage::Sigv4,
        level: Level::Must,
        title: "a request signed with a wrong secret is refused with 401 (if refusals are asked for)",
        citation: cite(SPEC, "Authentication"),
        remedy: "Make the proxy compare the signature: as it is, anybody who knows the access key id can use the keys.",
        kms: None,
        judge: judge::sigv4::refuses_wrong_secret,
    },
    Check {
        id: "sigv4.refuses_unknown_key_id",
        stage: Stage::Sigv4,
        level: Level::Must,
        title: "a request under an unknown access key id is refused with 401 (if refusals are asked for)",
        citation: cite(SPEC, "Authentication"),
        remedy: "Make the proxy accept only the access key ids that it gave out.",
        kms: None,
        judge: judge::sigv4::refuses_unknown_key_id,
    },
    Check {
        id: "sigv4.refuses_stale",
        stage: Stage::Sigv4,
        level: Level::Should,
        title: "a request signed ten minutes ago is refused with 401 (if refusals are asked for)",
        citation: cite(SPEC, "Authentication"),
        remedy: "Make the proxy refuse signatures that are more than 5 minutes off: as it is, recorded requests can be replayed.",
        kms: None,
        judge: judge::sigv4::refuses_stale,
    },
    Check {
        id: "sigv4.old_credential_still_accepted",
        stage: Stage::Sigv4,
        level: Level::Should,
        title: "while credential or path change, those that KMS has now still work",
        citation: cite(GUIDE, "Edit external key store properties: rotate the proxy authentication credential"),
        remedy: "Let the proxy accept the old credential and path besides the new ones until 5 minutes after the update.",
        kms: None,
        judge: judge::sigv4::old_credential_still_accepted,
    },
];
