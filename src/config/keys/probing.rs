//! Keys about how proxies are probed, now and then and before an update.

use super::Presence::{Default, Optional, Required};
use super::{HOUR, Key, MINUTE, SECOND, Shape, key};

pub(super) const PREFLIGHT: &[Key] = &[
    key("samples", Shape::Count(1, 50), Default("5"), "how many cold probes each address gets"),
    key("concurrency", Shape::Count(1, 64), Default("4"), "how many pre-flights run at once"),
    key("timeout", Shape::Duration(SECOND, 5 * MINUTE), Default("\"30s\""), "how long a whole pre-flight may take"),
    key("addresses", Shape::Count(1, 64), Default("16"), "how many addresses of one name are probed"),
    key(
        "ca_files",
        Shape::Texts(16),
        Default("[]"),
        "roots to trust instead of the public ones, PEM; marks every report as lab",
    ),
    key(
        "kms_trusted_roots",
        Shape::Text,
        Optional,
        "the file TrustedCertificateAuthorities as AWS publishes it, to compare roots with the exact list",
    ),
    key(
        "resolver",
        Shape::Texts(8),
        Default("[]"),
        "name servers to ask instead of the machine's, IP:PORT or IP; KMS resolves from its own place",
    ),
    key("promote", Shape::Texts(100), Default("[]"), "checks of level should that block as if they were must"),
    key(
        "capacity_allow",
        Shape::Texts(100),
        Default("[]"),
        "hosts of endpoints whose proxies may be put under load by POST /v1/preflights",
    ),
    key(
        "endpoint_hosts",
        Shape::Texts(100),
        Default("[]"),
        "hosts that endpoints may have, each with all below it; none means any host of the internet",
    ),
    key(
        "vpc_networks",
        Shape::Texts(64),
        Default("[]"),
        "private IPv4 networks in which the names of VPC endpoints may be probed; none means that none are",
    ),
    key(
        "quorum",
        Shape::Count(1, 16),
        Optional,
        "how many of the perspectives must find the same as this daemon; all of them, if it is not said",
    ),
    key("routes", Shape::Sections(ROUTE, 1_000), Optional, "hosts to reach elsewhere than DNS says"),
    key("waivers", Shape::Sections(WAIVER, 100), Optional, "failing checks that are accepted for a time"),
];

const ROUTE: &[Key] = &[
    key("host", Shape::Text, Required, "the host of an XksProxyUriEndpoint"),
    key("connect_to", Shape::Texts(64), Required, "addresses with port to connect to instead"),
];

const WAIVER: &[Key] = &[
    key("check", Shape::Text, Required, "the check, by its id in the catalogue"),
    key("key_store", Shape::Text, Optional, "the CustomKeyStoreId it is waived for, if not all"),
    key("owner", Shape::Text, Required, "who answers for it; shown in every report"),
    key("approved_by", Shape::Text, Optional, "the second person, needed for input.* and key.continuity"),
    key("reason", Shape::Text, Required, "why this is acceptable; shown in every report"),
    key("until", Shape::Text, Required, "when the waiver ends, RFC 3339"),
];

pub(super) const MONITOR: &[Key] = &[
    key(
        "interval",
        Shape::Duration(SECOND, 24 * HOUR),
        Default("\"60s\""),
        "the time between two probes of a key store",
    ),
    key("jitter_percent", Shape::Count(0, 50), Default("20"), "how far that time varies, so that probes spread out"),
    key("samples", Shape::Count(1, 20), Default("1"), "how many cold probes each address gets each time"),
    key("concurrency", Shape::Count(1, 1024), Default("64"), "how many key stores are probed at once"),
    key("per_host", Shape::Count(1, 64), Default("4"), "how many key stores behind one host are probed at once"),
    key("history", Shape::Count(1, 10_000), Default("100"), "how many reports are kept for each key store"),
    key("history_age", Shape::Duration(HOUR, 365 * 24 * HOUR), Default("\"30d\""), "how old a kept report may become"),
    key(
        "check_series",
        Shape::Choice(&["every", "failing"]),
        Default("\"every\""),
        "whether every check of a key store has a series in the metrics, or only those that fail",
    ),
    key(
        "enumerate_every",
        Shape::Duration(SECOND, 24 * HOUR),
        Default("\"15m\""),
        "how often the KMS keys of the key stores are looked for",
    ),
    key(
        "canary_interval",
        Shape::Duration(MINUTE, 30 * 24 * HOUR),
        Default("\"6h\""),
        "how often a canary is encrypted with the test key, to prove the keys by when the proxy is gone",
    ),
    key(
        "discovered",
        Shape::Choice(&["watch", "show"]),
        Default("\"watch\""),
        "whether external key stores that KMS tells of and nobody configured are probed, if a credential fits",
    ),
];
