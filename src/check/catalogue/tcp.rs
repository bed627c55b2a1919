//! Checks of the connection.

use super::{API, Check, GUIDE, Level, Stage, UNREACHABLE, cite, judge};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "tcp.connects",
        stage: Stage::Tcp,
        level: Level::Must,
        title: "every address accepts connections on port 443",
        citation: cite(API, "UpdateCustomKeyStore, XksProxyUriUnreachableException"),
        remedy: "Start the proxy there, open firewall and security group for port 443, or remove the address from DNS.",
        kms: UNREACHABLE,
        judge: judge::tcp::connects,
    },
    Check {
        id: "tcp.round_trip",
        stage: Stage::Tcp,
        level: Level::Should,
        title: "connecting takes 35 ms at most",
        citation: cite(GUIDE, "External key stores: round-trip time"),
        remedy: "Move the proxy closer to the AWS Region, or look from where the Region is: seen from elsewhere this says little.",
        kms: None,
        judge: judge::tcp::round_trip,
    },
];
