//! Keys about what an update needs and how long it waits.

use super::Presence::{Default, Optional, Required};
use super::{HOUR, Key, MINUTE, SECOND, Shape, key};
use crate::update::ApprovalRule;

pub(super) const UPDATE: &[Key] = &[
    key(
        "approval",
        Shape::Choice(&ApprovalRule::NAMES),
        Default("\"none\""),
        "how many people must approve a plan besides its pre-flight, none of them the one who asked for it",
    ),
    key(
        "plan_expiry",
        Shape::Duration(MINUTE, 24 * HOUR),
        Default("\"1h\""),
        "how long after its making a plan may still be begun",
    ),
    key(
        "preflight_expiry",
        Shape::Duration(SECOND, HOUR),
        Default("\"5m\""),
        "how old a passed pre-flight may be when the first change is made",
    ),
    key(
        "disconnect_wait",
        Shape::Duration(SECOND, 2 * HOUR),
        Default("\"10m\""),
        "how long a disconnect may take before the update is rolled back",
    ),
    key(
        "connect_wait",
        Shape::Duration(SECOND, 2 * HOUR),
        Default("\"30m\""),
        "how long a connect may take before the update is rolled back",
    ),
    key(
        "poll_interval",
        Shape::Duration(100, MINUTE),
        Default("\"5s\""),
        "how often the connection state is looked at while waiting",
    ),
    key(
        "acknowledge_outage",
        Shape::Flag,
        Default("true"),
        "whether an update that disconnects must acknowledge that keys will be out of use",
    ),
    key(
        "require_green",
        Shape::Duration(0, 90 * 24 * HOUR),
        Default("\"0s\""),
        "how long a candidate with exactly the new settings must have been green before a change of the proxy; 0s asks for none",
    ),
    key(
        "green_gap",
        Shape::Duration(SECOND, 24 * HOUR),
        Default("\"5m\""),
        "the longest pause between two probes of a candidate that does not end its green",
    ),
    key("rotation", Shape::Section(ROTATION), Optional, "how the proxy's credential is rotated"),
    key(
        "windows",
        Shape::Sections(WINDOW, 100),
        Optional,
        "when keys may be taken out of use; without any at all times",
    ),
];

const ROTATION: &[Key] = &[
    key(
        "propagation_wait",
        Shape::Duration(SECOND, 24 * HOUR),
        Default("\"6m\""),
        "for how long both credentials are watched after the update, where its requester says nothing",
    ),
    key(
        "least_propagation_wait",
        Shape::Duration(SECOND, 24 * HOUR),
        Default("\"5m\""),
        "the least of it that may be asked for; less than KMS takes, 5 minutes, is for a simulated KMS",
    ),
    key(
        "watch_interval",
        Shape::Duration(100, 5 * MINUTE),
        Default("\"30s\""),
        "how often both credentials are tried meanwhile",
    ),
    key(
        "look_interval",
        Shape::Duration(100, 24 * HOUR),
        Default("\"5m\""),
        "how often the former credential is tried while somebody is to remove it",
    ),
    key(
        "removal_wait",
        Shape::Duration(SECOND, 90 * 24 * HOUR),
        Default("\"7d\""),
        "how long somebody may take to remove it, before that is told as a failure",
    ),
];

const WINDOW: &[Key] = &[
    key(
        "key_store",
        Shape::Text,
        Optional,
        "the CustomKeyStoreId it is for, if not for all that have none of their own",
    ),
    key("days", Shape::Texts(7), Required, "the days it begins on: mon, tue, wed, thu, fri, sat, sun"),
    key("from", Shape::Text, Required, "when it opens, HH:MM"),
    key("to", Shape::Text, Required, "when it closes, HH:MM; no later than from means on the next day"),
    key("time_zone", Shape::Text, Required, "the IANA time zone of both, such as Europe/Berlin"),
];
