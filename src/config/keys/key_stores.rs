//! Keys about the key stores, and what their proxies share with KMS.

use super::Presence::{Default, Optional, Required};
use super::{Key, Shape, key};
use crate::update::ApprovalRule;

pub(super) const CREDENTIAL: &[Key] = &[
    key(
        "console_file",
        Shape::Text,
        Optional,
        "the JSON file that the proxy gives for the KMS console, with both halves",
    ),
    key("access_key_id", Shape::Private, Optional, "the AccessKeyId, together with secret"),
    key("secret", Shape::Secret, Optional, "where the RawSecretAccessKey is"),
];

pub(super) const KEY_STORE: &[Key] = &[
    key("id", Shape::Text, Required, "the CustomKeyStoreId"),
    key("account", Shape::Text, Optional, "which of the accounts it is in, if not that of kms"),
    key("region", Shape::Text, Optional, "its AWS Region, if not kms.region or the only one of its account"),
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
