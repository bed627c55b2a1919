//! Checks of the keys behind the proxy: KMS makes none of them when a key store is updated.

use super::{Check, GUIDE, Level, Stage, cite, judge};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "key.enumerated",
    stage: Stage::Key,
    level: Level::Should,
    title: "every KMS key of the key store was found; keys that AWS does not let us describe are counted",
    citation: cite(GUIDE, "Find KMS keys and key material in external key stores"),
    remedy: "Allow kms:ListKeys on * and kms:DescribeKey on the keys to the identity used here, in its policy or in \
             the key policies; the report names the first thing that was missing.",
    kms: None,
    judge: judge::key::enumerated,
}];
