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
    key("create", Shape::Flag, Default("false"), "whether it may make external key stores, without an approval"),
];

pub(super) const TOKEN: &[Key] = &[
    key("name", Shape::Text, Required, "who it is, for the journal"),
    ROLE,
    KEY_STORES,
    key("expires", Shape::Text, Optional, "from when on it is worth nothing, RFC 3339; absent means never"),
    key("sha256", Shape::Private, Required, "the hash of the token, as printed by: xks-preflight token new"),
];

pub(super) const CLIENT_CERTIFICATE: &[Key] = &[
    key("name", Shape::Text, Required, "who it is, for the journal"),
    key("subject", Shape::Text, Optional, "the whole subject, as openssl x509 -subject -nameopt RFC2253 prints it"),
    key("dns", Shape::Text, Optional, "a DNS name among its alternative names"),
    key("uri", Shape::Text, Optional, "a URI among its alternative names, such as a SPIFFE id"),
    key("email", Shape::Text, Optional, "a mail address among its alternative names"),
    ROLE,
    KEY_STORES,
];

pub(super) const OIDC: &[Key] = &[
    key("issuer", Shape::Text, Required, "the claim iss of its tokens, to the letter"),
    key("audience", Shape::Text, Required, "what their claim aud must name"),
    key("jwks_url", Shape::Private, Optional, "where it publishes its keys: https, or http on loopback"),
    key("jwks_file", Shape::Text, Optional, "a file with its keys instead, read anew as it changes"),
    key("ca_file", Shape::Text, Optional, "the authorities of jwks_url instead of the public ones, PEM"),
    key("principal_claim", Shape::Text, Default("\"sub\""), "the claim that says who it is, for the journal"),
    key("groups_claim", Shape::Text, Default("\"groups\""), "the claim with its groups: text, or a list of texts"),
    key(
        "sign_in",
        Shape::Table(SIGN_IN),
        Optional,
        "how people sign in there to the page; absent means that nobody does",
    ),
    key("grants", Shape::Sections(GRANT, 100), Required, "what its groups may do; all others may do nothing"),
];

const SIGN_IN: &[Key] = &[
    key("client_id", Shape::Text, Required, "what the page is called there; its tokens name it as their audience"),
    key("client_secret", Shape::Secret, Optional, "where the secret of the client is; a public client has none"),
    key(
        "redirect_uri",
        Shape::Text,
        Required,
        "the page's own https://HOST/sign-in/callback, as it is registered there",
    ),
    key("title", Shape::Text, Default("\"Sign in with your organisation\""), "what stands on the button"),
    key("scopes", Shape::Texts(20), Optional, "what is asked for besides openid, such as groups, email or profile"),
];

const GRANT: &[Key] =
    &[key("group", Shape::Text, Required, "one of the texts in groups_claim, to the letter"), ROLE, KEY_STORES];
