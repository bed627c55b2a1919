//! The one table of keys: the reader, the JSON Schema and the tests of `config/full.toml` all walk it.

use std::time::Duration;

use super::quantity;

mod aws;
mod callers;
mod key_stores;
mod perspectives;
mod probing;
mod record;
mod serving;
mod update;

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
    /// `{ file = … }`, `{ env = … }` or `{ exec = … }`: a secret is never written into the file itself.
    Secret,
    /// A table with these keys, and with their defaults if it is absent.
    Section(&'static [Key]),
    /// A table with these keys, or nothing.
    Table(&'static [Key]),
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
use Presence::Optional;

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
            Self::Secret => "{ file = \"…\" }, { env = \"…\" } or { exec = [\"…\"] }".to_owned(),
            Self::Section(_) | Self::Table(_) => "a table".to_owned(),
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
    key("listen", Shape::Section(serving::LISTEN), Optional, "where the API, the page and the metrics are served"),
    key("http", Shape::Section(serving::HTTP), Optional, "limits on what callers of the API may use up"),
    key("journal", Shape::Section(record::JOURNAL), Optional, "where updates are recorded"),
    key("audit", Shape::Section(record::AUDIT), Optional, "how decisions can be proven to others"),
    key("kms", Shape::Section(aws::KMS), Optional, "how AWS KMS is asked and told"),
    key("accounts", Shape::Sections(aws::ACCOUNT, 100), Optional, "further AWS accounts and Regions with key stores"),
    key("vpc", Shape::Section(aws::VPC), Optional, "how AWS is asked about VPC endpoint services"),
    key(
        "cloudhsm",
        Shape::Section(aws::CLOUDHSM),
        Optional,
        "how AWS CloudHSM is asked about the clusters of key stores",
    ),
    key(
        "credentials",
        Shape::Named(key_stores::CREDENTIAL, 1_000),
        Optional,
        "proxy credentials, by a name of your choice",
    ),
    key(
        "key_stores",
        Shape::Sections(key_stores::KEY_STORE, 20_000),
        Optional,
        "the external key stores to watch and to gate",
    ),
    key("traces", Shape::Section(serving::TRACES), Optional, "where traces go; nowhere, unless a collector is named"),
    key("preflight", Shape::Section(probing::PREFLIGHT), Optional, "how a candidate is probed and judged"),
    key(
        "perspectives",
        Shape::Sections(perspectives::PERSPECTIVE, 16),
        Optional,
        "other daemons that look at the same candidates from elsewhere",
    ),
    key("monitor", Shape::Section(probing::MONITOR), Optional, "how often the key stores are probed"),
    key("update", Shape::Section(update::UPDATE), Optional, "what an update needs and how long it waits"),
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

/// The keys of [`Shape::Secret`].
pub(super) const SECRET: &[Key] = &[
    key("file", Shape::Private, Optional, "a file that holds the secret and nothing else"),
    key("env", Shape::Private, Optional, "an environment variable that holds the secret"),
    key(
        "exec",
        Shape::Texts(32),
        Optional,
        "a program, by its absolute path, and its arguments: what it prints is the secret",
    ),
];
