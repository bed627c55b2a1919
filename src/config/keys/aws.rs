//! Keys about how AWS is asked and told.

use super::Presence::{Default, Optional, Required};
use super::{HOUR, Key, MINUTE, SECOND, Shape, key};

pub(super) const KMS: &[Key] = &[
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
    key(
        "credentials",
        Shape::Texts(100),
        Default("[]"),
        "which credentials key stores there may be probed with that are not in key_stores",
    ),
    key("observe_only", Shape::Flag, Default("false"), "never change a key store: updates end at the plan"),
];

pub(super) const ACCOUNT: &[Key] = &[
    key(
        "name",
        Shape::Text,
        Required,
        "what it is called here and in metrics; home for further Regions of the account of kms",
    ),
    key("regions", Shape::Texts(40), Required, "its AWS Regions with key stores"),
    key(
        "profile",
        Shape::Text,
        Optional,
        "a profile of the AWS configuration files, in place of the default credentials",
    ),
    key(
        "role_arn",
        Shape::Text,
        Optional,
        "a role to assume through STS, with the credentials of the profile if one is set",
    ),
    key("external_id", Shape::Private, Optional, "the sts:ExternalId that the role's trust policy demands"),
    key(
        "session_name",
        Shape::Text,
        Default("\"xks-preflight\""),
        "the name of the role's session, which CloudTrail shows",
    ),
    key("sts_endpoint_url", Shape::Private, Optional, "an STS endpoint instead of that of kms.region"),
    key(
        "permissions_of",
        Shape::Text,
        Optional,
        "the ARN of the IAM user or role that is used in it: its policies are simulated before an update",
    ),
    key("iam_endpoint_url", Shape::Private, Optional, "an IAM endpoint instead of AWS's own, for permissions_of"),
    key(
        "credentials",
        Shape::Texts(100),
        Default("[]"),
        "which credentials key stores in its Regions may be probed with that are not in key_stores",
    ),
    key("endpoints", Shape::Sections(ENDPOINTS, 40), Optional, "endpoints instead of AWS's own, by Region"),
];

const ENDPOINTS: &[Key] = &[
    key("region", Shape::Text, Required, "one of the account's Regions"),
    key("kms", Shape::Private, Optional, "a KMS endpoint, such as a VPC endpoint"),
    key("ec2", Shape::Private, Optional, "an EC2 endpoint"),
    key("elbv2", Shape::Private, Optional, "an Elastic Load Balancing endpoint"),
    key("cloudhsm", Shape::Private, Optional, "a CloudHSM endpoint"),
];

pub(super) const VPC: &[Key] = &[
    key(
        "check_service",
        Shape::Flag,
        Default("true"),
        "whether EC2 and Elastic Load Balancing are asked about the VPC endpoint services of key stores",
    ),
    key("ec2_endpoint_url", Shape::Private, Optional, "an EC2 endpoint instead of AWS's own, such as a VPC endpoint"),
    key("elbv2_endpoint_url", Shape::Private, Optional, "an Elastic Load Balancing endpoint instead of AWS's own"),
];

pub(super) const CLOUDHSM: &[Key] =
    &[key("endpoint_url", Shape::Private, Optional, "a CloudHSM endpoint instead of AWS's own, such as a simulation")];
