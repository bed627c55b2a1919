//! What another daemon finds, and what this one does not.

use serde_json::json;
use xks_preflight::sandbox::proxy::SandboxProxy;

use super::row::*;
use crate::daemon::stage::{NEW, Stage};
use crate::perspectives::elsewhere::{Authority, Elsewhere, MAIN, run};

pub(super) const ROWS: &[Row] = &[
    run_by(
        |_| Box::pin(two(Found::Right, &[], 2)),
        "two other daemons that find the same, where both are needed",
        Expected::Permitted,
    ),
    run_by(
        |_| Box::pin(two(Found::Faulty("certificate-expired"), &[], 1)),
        "one of two other daemons is presented an expired certificate, where one is enough",
        blocked("perspective.agreement", "disagreement", INVALID_TLS),
    ),
    run_by(
        |_| Box::pin(two(Found::Faulty("certificate-expired"), &["perspective.agreement"], 2)),
        "the same, where both are needed and somebody waived the disagreement",
        blocked("perspective.quorum", "disagreement", UNSAID),
    ),
    run_by(
        |_| Box::pin(two(Found::Faulty("stall-after-request"), &[], 2)),
        "the proxy keeps still towards one of two other daemons",
        blocked("perspective.agreement", "disagreement", TIMED_OUT),
    ),
    run_by(
        |_| Box::pin(two(Found::Nobody, &[], 2)),
        "one of two other daemons is gone, where both are needed",
        inconclusive("perspective.quorum", "too_few_perspectives", UNSAID),
    ),
    run_by(
        |_| Box::pin(two(Found::Nobody, &[], 1)),
        "one of two other daemons is gone, where one is enough",
        warned("perspective.answers", "refused"),
    ),
    run_by(
        |_| Box::pin(two(Found::Stranger, &[], 2)),
        "one of two other daemons reaches another fleet, which is well, behind the same name",
        warned("perspective.same_proxy", "different_fleet"),
    ),
];

/// What the second of the other daemons finds.
#[derive(Clone, Copy)]
enum Found {
    /// The proxy that everybody finds.
    Right,
    /// One that misbehaves so.
    Faulty(&'static str),
    /// One of another fleet.
    Stranger,
    /// It is gone itself.
    Nobody,
}

/// A pre-flight of the candidate with two other daemons, of which the first finds what is found from here.
async fn two(found: Found, waived: &[&str], quorum: usize) -> Seen {
    let stage = Stage::new("matrix-perspectives").await;
    let _authority = Authority::new(&stage);
    let stranger: SandboxProxy = match found {
        Found::Stranger => stage.another_fleet(NEW).await,
        Found::Right | Found::Faulty(_) | Found::Nobody => stage.another(NEW).await,
    };
    if let Found::Faulty(fault) = found {
        stranger.set_fault(fault.parse::<xks_preflight::sandbox::fault::Fault>().unwrap()).await;
    }
    let same = Elsewhere::start(&stage, "eu").await;
    let other = Elsewhere::start_before(&stage, "us", stranger, "").await;
    let waivers = waived.iter().map(|check| {
        format!(
            "[[preflight.waivers]]\ncheck = \"{check}\"\nowner = \"ann\"\nreason = \"a test\"\nuntil = \"2100-01-01T00:00:00Z\"\n"
        )
    });
    let waivers: String = waivers.collect();
    stage.reconfigured("samples = 1\n", &format!("samples = 1\nquorum = {quorum}\n"));
    stage.configured_with(&[same.section(), other.section(), waivers].concat());
    if matches!(found, Found::Nobody) {
        other.daemon.kill().await;
    }
    let daemon = run(&stage, "config.toml", MAIN).await;
    let body = stage.body(json!({ "XksProxyUriEndpoint": NEW }));
    let answer = daemon.call("POST", "/v1/preflights", Some(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    Seen { exit: None, report: answer.json() }
}
