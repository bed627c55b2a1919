//! Checks of the keys behind the proxy: KMS makes none of them when a key store is updated.

use super::{Check, GUIDE, Level, OURS, SPEC, Stage, cite, judge};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "key.enumerated",
        stage: Stage::Key,
        level: Level::Should,
        title: "every KMS key of the key store was found; keys that AWS does not let us describe are counted",
        citation: cite(GUIDE, "Find KMS keys and key material in external key stores"),
        remedy: "Allow kms:ListKeys on * and kms:DescribeKey on the keys to the identity used here, in its policy or in \
                 the key policies; the report names the first thing that was missing.",
        kms: None,
        judge: judge::key::enumerated,
    },
    Check {
        id: "key.metadata",
        stage: Stage::Key,
        level: Level::Must,
        title: "every external key is there, enabled, AES_256, usable to ENCRYPT and DECRYPT, and lists at most 10 usages",
        citation: cite(SPEC, "GetKeyMetadata, Response"),
        remedy: "Bring the named keys to the candidate's key manager and enable them there before the change: KMS does not look at them when it updates a key store, and operations with their KMS keys would fail afterwards.",
        kms: None,
        judge: judge::key::metadata,
    },
    Check {
        id: "key.round_trip",
        stage: Stage::Key,
        level: Level::Must,
        title: "what the test key encrypts comes back as it was, with its additional data, and an answer that KMS would keep",
        citation: cite(SPEC, "Encrypt and Decrypt; appendix C: ciphertextDataIntegrityValue"),
        remedy: "Repair the proxy's Encrypt or Decrypt, or name a test key that exists there: KMS does not try either when it updates a key store, and data keys would be lost or refused afterwards.",
        kms: None,
        judge: judge::key::round_trip,
    },
    Check {
        id: "key.continuity",
        stage: Stage::Key,
        level: Level::Must,
        title: "what was encrypted through the current proxy decrypts through the candidate to the same plaintext",
        citation: cite(OURS, "nobody else checks that the keys behind the new settings are the same keys"),
        remedy: "Do not make this change: bring the same key material behind the candidate first. Everything encrypted under the key store's keys could not be decrypted any more, and KMS would not notice.",
        kms: None,
        judge: judge::key::continuity,
    },
    Check {
        id: "key.continuity_back",
        stage: Stage::Key,
        level: Level::Should,
        title: "what is encrypted through the candidate decrypts through the current proxy, so that going back stays possible",
        citation: cite(OURS, "a rollback must not lose what was encrypted in between"),
        remedy: "Find out why the current proxy does not decrypt what the candidate encrypts; until then a rollback loses whatever is encrypted in between.",
        kms: None,
        judge: judge::key::continuity_back,
    },
];
