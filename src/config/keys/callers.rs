//! Keys about who may call.

use super::Presence::{Optional, Required};
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

pub(super) const TOKEN: &[Key] = &[
    key("name", Shape::Text, Required, "who it is, for the journal"),
    ROLE,
    KEY_STORES,
    key("expires", Shape::Text, Optional, "from when on it is worth nothing, RFC 3339; absent means never"),
    key("sha256", Shape::Private, Required, "the hash of the token, as printed by: xks-preflight token new"),
];
