//! Checks of the time it takes.

use super::{Check, GUIDE, Level, SPEC, Stage, TIMED_OUT, cite, judge};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "latency.within_limit",
        stage: Stage::Latency,
        level: Level::Must,
        title: "every cold sample on every address takes 250 ms at most for connect, TLS and request together (the strict reading of KMS's limit), a late first attempt being saved by its one retry",
        citation: cite(SPEC, "Timeouts: 250 milliseconds"),
        remedy: "Look at the stage that took the time: connect is distance, TLS is CPU or distance, request is the proxy and its key manager.",
        kms: TIMED_OUT,
        judge: judge::latency::within_limit,
    },
    Check {
        id: "latency.tail",
        stage: Stage::Latency,
        level: Level::Should,
        title: "99 of 100 samples take 200 ms at most",
        citation: cite(GUIDE, "Monitoring external key stores: XksProxyLatency (AWS alarms at 200 ms)"),
        remedy: "Add capacity or move closer: what is slow now and then times out under load.",
        kms: None,
        judge: judge::latency::tail,
    },
];
