//! The one table of keys: the reader, the JSON Schema and the tests of `config/full.toml` all walk it.

use std::time::Duration;

use super::quantity;
use crate::update::ApprovalRule;

mod callers;

/// A key of the configuration file.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) presence: Presence,
    /// What it means, in a sentence fragment.
    pub(super) about: &'static str,
}

/// What belongs at a key.
#[derive(Debug)]
pub(super) enum Shape {
    /// Text; what it must look like is the business of the type it becomes.
    Text,
    /// Text that is never shown again: secret, or where people paste secrets by mistake.
    Private,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One of these words, or a list of several different ones.
    Words(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number within these bounds.
    Count(u64, u64),
    /// A duration within these bounds, in milliseconds.
    Duration(u64, u64),
    /// A size within these bounds, in bytes.
    Size(u64, u64),
    /// At most so many texts.
    Texts(usize),
    /// `{ file = … }` or `{ env = … }`: a secret is never written into the file itself.
    Secret,
    /// A table with these keys.
    Section(&'static [Key]),
    /// At most so many tables with these keys.
    Sections(&'static [Key], usize),
    /// At most so many tables with these keys, each under a name of the operator's choice.
    Named(&'static [Key], usize),
}

/// Whether a key must be there.
#[derive(Debug)]
pub(super) enum Presence {
    Required,
    Optional,
    /// Absent means this value, in TOML.
    Default(&'static str),
}
use Presence::{Default, Optional, Required};

const fn key(name: &'static str, shape: Shape, presence: Presence, about: &'static str) -> Key {
    Key { name, shape, presence, about }
}

impl Shape {
    /// What belongs there, in words that follow "must be".
    pub(super) fn expected(&self) -> String {
        match self {
            Self::Text | Self::Private => "text in quotes".to_owned(),
            Self::Choice(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                words.join(" or ")
            }
            Self::Words(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                format!("{}, or a list of several", words.join(" or "))
            }
            Self::Flag => "true or false".to_owned(),
            Self::Count(min, max) => format!("a whole number from {min} to {max}"),
            Self::Duration(min, max) => {
                let [min, max] = [*min, *max].map(|ms| quantity::show_duration(Duration::from_millis(ms)));
                format!("a duration from \"{min}\" to \"{max}\", such as \"250ms\", \"30s\" or \"5m\"")
            }
            Self::Size(min, max) => {
                let [min, max] = [*min, *max].map(quantity::show_size);
                format!("a size from \"{min}\" to \"{max}\", such as \"64KiB\"")
            }
            Self::Texts(max) => format!("a list of at most {max} texts in quotes"),
            Self::Secret => "{ file = \"…\" } or { env = \"…\" }".to_owned(),
            Self::Section(_) => "a table".to_owned(),
            Self::Sections(_, max) => format!("a list of at most {max} tables"),
            Self::Named(_, max) => format!("a table of at most {max} tables"),
        }
    }
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// The top of the file.
pub(super) const ROOT: &[Key] = &[
    key("listen", Shape::Section(LISTEN), Optional, "where the API, the page and the metrics are served"),
    key("http", Shape::Section(HTTP), Optional, "limits on what callers of the API may use up"),
    key("journal", Shape::Section(JOURNAL), Optional, "where updates are recorded"),
    key("audit", Shape::Section(AUDIT), Optional, "how decisions can be proven to others"),
    key("kms", Shape::Section(KMS), Optional, "how AWS KMS is asked and told"),
    key("vpc", Shape::Section(VPC), Optional, "how AWS is asked about VPC endpoint services"),
    key("cloudhsm", Shape::Section(CLOUDHSM), Optional, "how AWS CloudHSM is asked about the clusters of key stores"),
    key("credentials", Shape::Named(CREDENTIAL, 1_000), Optional, "proxy credentials, by a name of your choice"),
    key("key_stores", Shape::Sections(KEY_STORE, 1_000), Optional, "the external key stores to watch and to gate"),
    key("preflight", Shape::Section(PREFLIGHT), Optional, "how a candidate is probed and judged"),
    key("monitor", Shape::Section(MONITOR), Optional, "how often the key stores are probed"),
    key("update", Shape::Section(UPDATE), Optional, "what an update needs and how long it waits"),
    key("tokens", Shape::Sections(callers::TOKEN, 100), Optional, "who may call the API by a token"),
    key(
        "client_certificates",
        Shape::Sections(callers::CLIENT_CERTIFICATE, 1_000),
        Optional,
        "who may call the API by a certificate",
    ),
    key("oidc", Shape::Sections(callers::OIDC, 10), Optional, "identity providers whose tokens are taken by the API"),
    key(
        "kms_credentials",
        Shape::Sections(callers::KMS_CREDENTIAL, 100),
        Optional,
        "who may call the KMS drop-in endpoint",
    ),
];

const LISTEN: &[Key] = &[
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

const HTTP: &[Key] = &[
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

const JOURNAL: &[Key] = &[
    key(
        "path",
        Shape::Text,
        Default("\"/var/lib/xks-preflight/journal.sqlite\""),
        "the SQLite file, where there is no postgres_url; relative to the configuration file",
    ),
    key(
        "postgres_url",
        Shape::Private,
        Optional,
        "a PostgreSQL database in place of the file, for several replicas: postgresql://USER@HOST:PORT/DATABASE",
    ),
    key("postgres_password", Shape::Secret, Optional, "the password of that user"),
    key(
        "postgres_ca_file",
        Shape::Text,
        Optional,
        "roots for the certificate of that server, PEM, instead of the public ones",
    ),
    key(
        "lease",
        Shape::Duration(2 * SECOND, HOUR),
        Default("\"60s\""),
        "how long a replica that is gone keeps its updates from the others; at least twice kms.timeout",
    ),
    key(
        "sealing_key",
        Shape::Secret,
        Optional,
        "32 bytes in base64 that seal secrets which arrive with an update; without it such updates are refused",
    ),
];

const AUDIT: &[Key] = &[key(
    "signing_key",
    Shape::Secret,
    Optional,
    "an Ed25519 private key as PKCS#8 PEM that signs the evidence of updates; without it none is handed out",
)];

const KMS: &[Key] = &[
    key("region", Shape::Text, Required, "the AWS Region of the key stores"),
    key("endpoint_url", Shape::Private, Optional, "a KMS endpoint instead of AWS's own, such as a VPC endpoint"),
    key(
        "poll_interval",
        Shape::Duration(SECOND, HOUR),
        Default("\"60s\""),
        "how often the key stores are described, to notice changes made elsewhere",
    ),
    key(
        "timeout",
        Shape::Duration(SECOND, MINUTE),
        Default("\"30s\""),
        "how long one call to KMS may take; KMS asks the proxy meanwhile",
    ),
    key(
        "describe_key_rate",
        Shape::Count(1, 2_000),
        Default("100"),
        "how many requests a second may be spent on finding the KMS keys of the key stores",
    ),
    key(
        "permissions_of",
        Shape::Text,
        Optional,
        "the ARN of the IAM user or role that this runs as: its policies are simulated before an update",
    ),
    key("iam_endpoint_url", Shape::Private, Optional, "an IAM endpoint instead of AWS's own, for permissions_of"),
    key("observe_only", Shape::Flag, Default("false"), "never change a key store: updates end at the plan"),
];

const VPC: &[Key] = &[
    key(
        "check_service",
        Shape::Flag,
        Default("true"),
        "whether EC2 and Elastic Load Balancing are asked about the VPC endpoint services of key stores",
    ),
    key("ec2_endpoint_url", Shape::Private, Optional, "an EC2 endpoint instead of AWS's own, such as a VPC endpoint"),
    key("elbv2_endpoint_url", Shape::Private, Optional, "an Elastic Load Balancing endpoint instead of AWS's own"),
];

const CLOUDHSM: &[Key] =
    &[key("endpoint_url", Shape::Private, Optional, "a CloudHSM endpoint instead of AWS's own, such as a simulation")];

const CREDENTIAL: &[Key] = &[
    key(
        "console_file",
        Shape::Text,
        Optional,
        "the JSON file that the proxy gives for the KMS console, with both halves",
    ),
    key("access_key_id", Shape::Private, Optional, "the AccessKeyId, together with secret"),
    key("secret", Shape::Secret, Optional, "where the RawSecretAccessKey is"),
];

/// The keys of [`Shape::Secret`].
pub(super) const SECRET: &[Key] = &[
    key("file", Shape::Private, Optional, "a file that holds the secret and nothing else"),
    key("env", Shape::Private, Optional, "an environment variable that holds the secret"),
];

const KEY_STORE: &[Key] = &[
    key("id", Shape::Text, Required, "the CustomKeyStoreId"),
    key("region", Shape::Text, Optional, "its AWS Region, if not kms.region"),
    key("credential", Shape::Text, Required, "which of the credentials its proxy expects"),
    key(
        "test_key_id",
        Shape::Text,
        Optional,
        "an external key that is there for tests: proves that a candidate has the same keys, and feeds the canaries",
    ),
    key(
        "continuity",
        Shape::Choice(&["test_key", "every_key"]),
        Default("\"test_key\""),
        "which keys of a candidate are proven to be the same; every_key shows in the key manager's audit log",
    ),
    key(
        "approval",
        Shape::Choice(&ApprovalRule::NAMES),
        Optional,
        "how many people must approve a plan for it, if not as update.approval says",
    ),
    key(
        "refusals",
        Shape::Flag,
        Default("false"),
        "whether pre-flights of its updates also send requests that a proxy must refuse",
    ),
];

const PREFLIGHT: &[Key] = &[
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
    key("routes", Shape::Sections(ROUTE, 100), Optional, "hosts to reach elsewhere than DNS says"),
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

const MONITOR: &[Key] = &[
    key(
        "interval",
        Shape::Duration(SECOND, 24 * HOUR),
        Default("\"60s\""),
        "the time between two probes of a key store",
    ),
    key("jitter_percent", Shape::Count(0, 50), Default("20"), "how far that time varies, so that probes spread out"),
    key("samples", Shape::Count(1, 20), Default("1"), "how many cold probes each address gets each time"),
    key("concurrency", Shape::Count(1, 256), Default("8"), "how many key stores are probed at once"),
    key("history", Shape::Count(1, 10_000), Default("100"), "how many reports are kept for each key store"),
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
];

const UPDATE: &[Key] = &[
    key(
        "approval",
        Shape::Choice(&ApprovalRule::NAMES),
        Default("\"none\""),
        "how many people must approve a plan besides its pre-flight, none of them the one who asked for it",
    ),
    key(
        "plan_expiry",
        Shape::Duration(MINUTE, 24 * HOUR),
        Default("\"1h\""),
        "how long after its making a plan may still be begun",
    ),
    key(
        "preflight_expiry",
        Shape::Duration(SECOND, HOUR),
        Default("\"5m\""),
        "how old a passed pre-flight may be when the first change is made",
    ),
    key(
        "disconnect_wait",
        Shape::Duration(SECOND, 2 * HOUR),
        Default("\"10m\""),
        "how long a disconnect may take before the update is rolled back",
    ),
    key(
        "connect_wait",
        Shape::Duration(SECOND, 2 * HOUR),
        Default("\"30m\""),
        "how long a connect may take before the update is rolled back",
    ),
    key(
        "poll_interval",
        Shape::Duration(100, MINUTE),
        Default("\"5s\""),
        "how often the connection state is looked at while waiting",
    ),
    key(
        "acknowledge_outage",
        Shape::Flag,
        Default("true"),
        "whether an update that disconnects must acknowledge that keys will be out of use",
    ),
    key(
        "windows",
        Shape::Sections(WINDOW, 100),
        Optional,
        "when keys may be taken out of use; without any at all times",
    ),
];

const WINDOW: &[Key] = &[
    key(
        "key_store",
        Shape::Text,
        Optional,
        "the CustomKeyStoreId it is for, if not for all that have none of their own",
    ),
    key("days", Shape::Texts(7), Required, "the days it begins on: mon, tue, wed, thu, fri, sat, sun"),
    key("from", Shape::Text, Required, "when it opens, HH:MM"),
    key("to", Shape::Text, Required, "when it closes, HH:MM; no later than from means on the next day"),
    key("time_zone", Shape::Text, Required, "the IANA time zone of both, such as Europe/Berlin"),
];
