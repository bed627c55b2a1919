//! Keys about who may call.

use super::Presence::{Default, Optional, Required};
use super::{Key, Shape, key};
use crate::access::Role;

/// One role or several.
const ROLE: Key = key("role", Shape::Words(&Role::NAMES), Required, "what it may do: a role, or a list of roles");

/// The scope of every role beside it.
const KEY_STORES: Key = key(
    "key_stores",
    Shape::Texts(100),
    Optional,
    "on which key stores: ids (cks-...) or names, with * for any characters; absent means all",
);

pub(super) const KMS_CREDENTIAL: &[Key] = &[
    key("name", Shape::Text, Required, "who it is, for the journal"),
    key("access_key_id", Shape::Private, Required, "the access key id, as printed by: xks-preflight token new-kms"),
    key("secret", Shape::Secret, Required, "where the secret access key is, which was printed with it"),
    ROLE,
    KEY_STORES,
    key("expires", Shape::Text, Optional, "from when on it is worth nothing, RFC 3339; absent means never"),
    key(
        "run_whole_sequence",
        Shape::Flag,
        Default("false"),
        "whether an update that needs the key store disconnected makes the gate disconnect and connect it",
    ),
    key(
        "prove_reconnect",
        Shape::Flag,
        Default("true"),
        "whether a disconnect is refused unless connecting again would work",
    ),
];

pub(super) const TOKEN: &[Key] = &[
    key("name", Shape::Text, Required, "who it is, for the journal"),
    ROLE,
    KEY_STORES,
    key("expires", Shape::Text, Optional, "from when on it is worth nothing, RFC 3339; absent means never"),
    key("sha256", Shape::Private, Required, "the hash of the token, as printed by: xks-preflight token new"),
];
