//! Keys about what is kept, and how it is proven.

use super::Presence::{Default, Optional};
use super::{HOUR, Key, SECOND, Shape, key};

pub(super) const JOURNAL: &[Key] = &[
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

pub(super) const AUDIT: &[Key] = &[key(
    "signing_key",
    Shape::Secret,
    Optional,
    "an Ed25519 private key as PKCS#8 PEM that signs the evidence of updates; without it none is handed out",
)];
