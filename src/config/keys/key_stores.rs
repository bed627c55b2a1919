//! Keys about the key stores, and what their proxies share with KMS.

use super::Presence::{Default, Optional, Required};
use super::{HOUR, Key, SECOND, Shape, key};
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
    key(
        "exec",
        Shape::Texts(32),
        Optional,
        "a program, by its absolute path, and its arguments: it prints both halves, as JSON",
    ),
    key("secrets_manager", Shape::Table(SECRETS_MANAGER), Optional, "a secret of AWS Secrets Manager with both halves"),
    key(
        "refresh",
        Shape::Duration(SECOND, 24 * HOUR),
        Default("\"1m\""),
        "how often its source is looked at: what is new there is probed before it is used",
    ),
    key(
        "key_stores",
        Shape::Texts(100),
        Optional,
        "which key stores it may be given by whoever may change them: ids (cks-...) or names, with * for any characters; \
         absent means those that have it, and all for callers with a role for all",
    ),
];

const SECRETS_MANAGER: &[Key] = &[
    key("secret_id", Shape::Private, Required, "the name or the ARN of the secret"),
    key("region", Shape::Text, Optional, "its AWS Region, if not kms.region"),
    key(
        "stage",
        Shape::Choice(&["AWSCURRENT", "AWSPENDING"]),
        Default("\"AWSCURRENT\""),
        "the staging label of the version that is read",
    ),
    key(
        "access_key_id_member",
        Shape::Text,
        Default("\"AccessKeyId\""),
        "the member of the secret's JSON with the AccessKeyId, where it is not the file of the KMS console",
    ),
    key(
        "secret_member",
        Shape::Text,
        Default("\"RawSecretAccessKey\""),
        "the member of the secret's JSON with the RawSecretAccessKey",
    ),
    key("endpoint_url", Shape::Private, Optional, "another endpoint than AWS's own, such as a VPC endpoint"),
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
    key(
        "require_green",
        Shape::Duration(0, 90 * 24 * HOUR),
        Optional,
        "how long a candidate must have been green before a change of its proxy, if not as update.require_green says",
    ),
    key(
        "candidates",
        Shape::Sections(CANDIDATE, 10),
        Optional,
        "settings planned for it, probed from now on; what is left out stays as KMS shows it",
    ),
];

const CANDIDATE: &[Key] = &[
    key("name", Shape::Text, Required, "what you call it, such as tuesday"),
    key("endpoint", Shape::Text, Optional, "the XksProxyUriEndpoint, https://HOST"),
    key("path", Shape::Text, Optional, "the XksProxyUriPath"),
    key("connectivity", Shape::Choice(&["public", "vpc"]), Optional, "the XksProxyConnectivity"),
    key("vpc_endpoint_service", Shape::Text, Optional, "the XksProxyVpcEndpointServiceName"),
    key("vpc_endpoint_service_owner", Shape::Text, Optional, "the XksProxyVpcEndpointServiceOwner"),
    key("credential", Shape::Text, Optional, "which of the credentials KMS is to be told"),
];
