//! Checks of what other perspectives find, where some are configured.

use super::{Check, Level, OURS, Stage, cite, judge};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "perspective.answers",
        stage: Stage::Perspective,
        level: Level::Should,
        title: "every other perspective answers, under its own name, about these very settings",
        citation: cite(OURS, "one place in a network is not what KMS sees"),
        remedy: "Look at the daemon that is named: whether it runs, whom it trusts, and what perspectives and its --perspective call it.",
        kms: None,
        judge: judge::perspective::answers,
    },
    Check {
        id: "perspective.agreement",
        stage: Stage::Perspective,
        level: Level::Must,
        title: "no perspective finds the candidate blocked that another finds ready",
        citation: cite(
            OURS,
            "KMS may come by any way; CA/Browser Forum Baseline Requirements 3.2.2.9 (multi-perspective corroboration) for the idea",
        ),
        remedy: "Compare the reports of the two perspectives that are named: names that resolve differently, a firewall that lets one of them through, a proxy that only one of them reaches.",
        kms: None,
        judge: judge::perspective::agreement,
    },
    Check {
        id: "perspective.quorum",
        stage: Stage::Perspective,
        level: Level::Must,
        title: "as many other perspectives as preflight.quorum says find the same",
        citation: cite(
            OURS,
            "preflight.quorum; CA/Browser Forum Baseline Requirements 3.2.2.9 (quorum of perspectives) for the idea",
        ),
        remedy: "Bring the perspectives to the same finding; a lower preflight.quorum accepts that fewer of them agree.",
        kms: None,
        judge: judge::perspective::quorum,
    },
    Check {
        id: "perspective.same_proxy",
        stage: Stage::Perspective,
        level: Level::Should,
        title: "every perspective is presented the same certificates and answered by the same fleet",
        citation: cite(OURS, "behind one name there may be one proxy in one network and another in the next"),
        remedy: "Find out which proxy each perspective reaches and which of them KMS would; names that resolve differently inside and outside are the usual cause.",
        kms: None,
        judge: judge::perspective::same_proxy,
    },
];
