//! Keys about what is served, and to how many.

use super::Presence::{Default, Optional};
use super::{Key, MINUTE, SECOND, Shape, key};

pub(super) const LISTEN: &[Key] = &[
    key("api", Shape::Text, Default("\"127.0.0.1:8480\""), "the address and port of API, page and metrics"),
    key(
        "kms",
        Shape::Text,
        Default("\"127.0.0.1:8481\""),
        "the address and port of the KMS drop-in endpoint, which is open if there are kms_credentials",
    ),
    key("tls_certificate_file", Shape::Text, Optional, "the server's certificate chain, PEM, leaf first"),
    key("tls_key_file", Shape::Text, Optional, "the private key of that certificate, PEM"),
    key(
        "client_ca_file",
        Shape::Text,
        Optional,
        "the authorities of client certificates, PEM: who shows one of theirs is looked for in client_certificates",
    ),
    key(
        "allow_insecure",
        Shape::Flag,
        Default("false"),
        "whether an address that others can reach may go without TLS or without tokens",
    ),
];

pub(super) const HTTP: &[Key] = &[
    key("connections", Shape::Count(1, 10_000), Default("256"), "how many connections are served at once"),
    key(
        "header_timeout",
        Shape::Duration(100, MINUTE),
        Default("\"5s\""),
        "how long a caller may take to send the head of a request",
    ),
    key(
        "request_timeout",
        Shape::Duration(SECOND, 10 * MINUTE),
        Default("\"60s\""),
        "how long a request may take to be received and answered; event streams may stay longer",
    ),
    key("body_limit", Shape::Size(1_024, 1_048_576), Default("\"64KiB\""), "the largest body of a request"),
    key(
        "requests_per_second",
        Shape::Count(1, 100_000),
        Default("500"),
        "how many requests a second each caller may send in the long run",
    ),
    key("burst", Shape::Count(1, 100_000), Default("1000"), "how many it may send at once after a while of quiet"),
    key(
        "failures_per_minute",
        Shape::Count(1, 100_000),
        Default("60"),
        "how many requests a minute without a good token or certificate one address may send before it must wait",
    ),
];

pub(super) const TRACES: &[Key] = &[
    key(
        "url",
        Shape::Private,
        Optional,
        "an OTLP collector: https, or http on loopback; /v1/traces below it takes spans",
    ),
    key("ca_file", Shape::Text, Optional, "the authorities of its certificate instead of the public ones, PEM"),
    key("token", Shape::Secret, Optional, "where the token is that it knows us by"),
];
