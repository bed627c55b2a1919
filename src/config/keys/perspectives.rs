//! Keys about other daemons that look at the same candidates.

use super::Presence::{Default, Optional, Required};
use super::{Key, MINUTE, SECOND, Shape, key};

pub(super) const PERSPECTIVE: &[Key] = &[
    key("name", Shape::Text, Required, "what the other daemon calls itself: its --perspective"),
    key("url", Shape::Private, Required, "its address: https, or http on loopback"),
    key("ca_file", Shape::Text, Optional, "the authorities of its certificate instead of the public ones, PEM"),
    key("client_certificate_file", Shape::Text, Optional, "the certificate that it knows us by, PEM, leaf first"),
    key("client_key_file", Shape::Text, Optional, "the key of that certificate, PEM"),
    key("token", Shape::Secret, Optional, "where the token is that it knows us by"),
    key(
        "timeout",
        Shape::Duration(SECOND, 5 * MINUTE),
        Default("\"20s\""),
        "how long its answer may take; less than preflight.timeout",
    ),
];
