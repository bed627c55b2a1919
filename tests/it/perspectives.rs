//! Other daemons that look at the same candidate: agreement, disagreement, silence, and answers that must not count.

pub(crate) mod elsewhere;
mod impostors;

use serde_json::{Value, json};
use xks_preflight::sandbox::fault::Fault;

use self::elsewhere::{Authority, Elsewhere, MAIN, run, section};
use crate::daemon::stage::{BOUND, Daemon, NEW, Stage, until};

/// A daemon that asks these others.
pub(crate) async fn asking(stage: &Stage, others: &[&Elsewhere], quorum: Option<usize>) -> Daemon {
    if let Some(quorum) = quorum {
        stage.reconfigured("samples = 1\n", &format!("samples = 1\nquorum = {quorum}\n"));
    }
    stage.configured_with(&others.iter().map(|other| other.section()).collect::<String>());
    run(stage, "config.toml", MAIN).await
}

fn expired() -> Fault {
    "certificate-expired".parse().unwrap()
}

/// The report on what the update wants.
async fn report_of(daemon: &Daemon, update: &Value) -> Value {
    let id = update["report"].as_str().unwrap_or_else(|| panic!("no report: {update:#}"));
    let report = daemon.call("GET", &format!("/v1/preflights/{id}"), None).await;
    assert_eq!(report.status, 200, "{}", report.body);
    report.json()
}

fn finding(report: &Value, check: &str) -> Value {
    let findings = report["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("{check}: {report:#}")).clone()
}

/// Asks for an update to the candidate and follows it to its end; with the report of its latest pre-flight.
async fn updated(stage: &Stage, daemon: &Daemon) -> (Value, Value) {
    let id = daemon.submit(stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    let ended = daemon.follow(&id).await;
    let report = report_of(daemon, &ended).await;
    (ended, report)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_perspectives_that_disagree_block_an_update_with_a_finding_that_names_both() {
    let stage = Stage::new("disagree").await;
    let _authority = Authority::new(&stage);
    let eu = Elsewhere::start(&stage, "eu-central-1b").await;
    eu.proxy.set_fault(expired()).await;
    let daemon = asking(&stage, &[&eu], None).await;
    let (ended, report) = updated(&stage, &daemon).await;
    assert_eq!(ended["status"], "blocked", "{ended:#}");
    let message = ended["message"].as_str().unwrap();
    for named in
        ["perspective.agreement", "main finds it ready", "eu-central-1b finds it blocked by tls.validity (expired)"]
    {
        assert!(message.contains(named), "{named}: {message}");
    }
    // What KMS would raise if it came by that way.
    assert_eq!(ended["exception"], "XksProxyUriUnreachableException", "{ended:#}");
    assert!(stage.mutations().is_empty(), "{:?}", stage.mutations());
    let told = finding(&report, "perspective.agreement");
    assert_eq!((&told["outcome"], &told["problem"]), (&json!("failed"), &json!("disagreement")), "{told:#}");
    assert_eq!(told["kms"]["connection_error_code"], "XKS_PROXY_INVALID_TLS_CONFIGURATION");
    let others = &report["perspectives"];
    assert_eq!((&others[0]["verdict"], &others[0]["check"]), (&json!("blocked"), &json!("tls.validity")), "{others:#}");
    assert_eq!(finding(&report, "perspective.same_proxy")["problem"], "different_certificates");
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn perspectives_that_agree_let_an_update_through_and_are_asked_again_right_before_it() {
    let stage = Stage::new("agree").await;
    let authority = Authority::new(&stage);
    let eu = Elsewhere::start(&stage, "eu").await;
    let us = Elsewhere::start(&stage, "us").await;
    let daemon = asking(&stage, &[&eu, &us], None).await;
    // Before anybody wants anything of them.
    for name in ["eu", "us"] {
        until(BOUND, "it is looked at", || async { attended(&daemon, name).await == (Some(1.0), true) }).await;
    }
    let report = preflight(&stage, &daemon).await;
    assert_eq!(report["verdict"], "ready", "{report:#}");
    for check in ["perspective.answers", "perspective.agreement", "perspective.quorum"] {
        assert_eq!(finding(&report, check)["outcome"], "passed", "{check}: {report:#}");
    }
    // A person finds the other report where this one says.
    let theirs = &report["perspectives"][0];
    assert!(theirs["report_url"].as_str().unwrap().starts_with("https://localhost:"), "{theirs}");
    let path = format!("/v1/preflights/{}", theirs["report"].as_str().unwrap());
    let (status, theirs) = authority.get(&eu.daemon.address, &path).await;
    assert_eq!((status, &theirs["perspective"]), (200, &json!("eu")), "{theirs:#}");
    // They were asked, and asked nobody.
    assert_eq!(theirs["perspectives"], json!([]));
    // A row for each on the page.
    let page = daemon.call("GET", &format!("/preflights/{}", report["id"].as_str().unwrap()), None).await;
    for shown in ["Perspectives", "this daemon", "eu", "us", "its report"] {
        assert!(page.body.contains(shown), "{shown}: {}", page.body);
    }
    let (ended, _) = updated(&stage, &daemon).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    // Once for the pre-flight, once for the plan, once right before the first mutation, and not for the look after it,
    // nor by the monitor.
    for other in [&eu, &us] {
        let told = other.daemon.telling();
        assert_eq!(told.matches("pre-flight finished").count(), 3, "{told}");
    }
    daemon.terminate().await;
}

/// Whether a perspective is up, if that is known, and whether it ever answered.
async fn attended(daemon: &Daemon, name: &str) -> (Option<f64>, bool) {
    let metrics = daemon.call("GET", "/metrics", None).await.body;
    let value = |metric: &str| {
        let sample = format!("xks_preflight_perspective_{metric}{{perspective=\"{name}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&sample)).map(|value| value.parse::<f64>().unwrap())
    };
    (value("up"), value("last_answer_timestamp_seconds").is_some_and(|at| at > 1.7e9))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_perspective_that_falls_silent_is_seen_in_the_metrics() {
    let stage = Stage::new("silent-seen").await;
    let _authority = Authority::new(&stage);
    let eu = Elsewhere::start(&stage, "eu").await;
    // Nobody was ever there.
    stage.configured_with(&section("nowhere", "127.0.0.1:9"));
    let daemon = asking(&stage, &[&eu], Some(1)).await;
    until(BOUND, "both are looked at", || async {
        attended(&daemon, "eu").await == (Some(1.0), true) && attended(&daemon, "nowhere").await == (Some(0.0), false)
    })
    .await;
    eu.daemon.kill().await;
    let _inconclusive = preflight(&stage, &daemon).await;
    assert_eq!(attended(&daemon, "eu").await, (Some(0.0), true), "it was there once");
    daemon.terminate().await;
}

/// A pre-flight of the candidate by the API.
async fn preflight(stage: &Stage, daemon: &Daemon) -> Value {
    let body = stage.body(json!({ "XksProxyUriEndpoint": NEW }));
    let answer = daemon.call("POST", "/v1/preflights", Some(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_gone_is_missed_or_not_as_the_quorum_says() {
    let stage = Stage::new("silence").await;
    let _authority = Authority::new(&stage);
    let eu = Elsewhere::start(&stage, "eu").await;
    let us = Elsewhere::start(&stage, "us").await;
    let (there, gone) = (eu.section(), us.section());
    us.daemon.kill().await;
    stage.configured_with(&[there, gone].concat());
    let strict = run(&stage, "config.toml", MAIN).await;
    let (ended, report) = updated(&stage, &strict).await;
    assert_eq!((&ended["status"], &report["verdict"]), (&json!("blocked"), &json!("inconclusive")), "{ended:#}");
    let told = finding(&report, "perspective.quorum");
    assert_eq!((&told["outcome"], &told["problem"]), (&json!("own_fault"), &json!("too_few_perspectives")), "{told:#}");
    assert!(told["detail"].as_str().unwrap().contains("us: cannot connect"), "{told:#}");
    assert!(stage.mutations().is_empty());
    strict.terminate().await;

    stage.reconfigured("samples = 1\n", "samples = 1\nquorum = 1\n");
    let lenient = run(&stage, "config.toml", MAIN).await;
    let report = preflight(&stage, &lenient).await;
    assert_eq!(report["verdict"], "ready", "{report:#}");
    let told = finding(&report, "perspective.answers");
    assert_eq!(
        (&told["outcome"], &told["level"], &told["problem"]),
        (&json!("failed"), &json!("should"), &json!("refused"))
    );
    let (ended, _) = updated(&stage, &lenient).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    lenient.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_perspective_that_changes_its_mind_after_the_approval_stops_the_update() {
    let approver = "xkspf_TestApproverDoNotLeakA123456789012345678901";
    let stage = Stage::guarded("mind", "one", &[("ann", approver, "approver")]).await;
    let _authority = Authority::new(&stage);
    let eu = Elsewhere::start(&stage, "eu").await;
    let daemon = asking(&stage, &[&eu], None).await;
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    let shown = async || daemon.call("GET", &format!("/v1/updates/{id}"), None).await.json();
    until(BOUND, "it waits", || async { shown().await["status"] == "awaiting_approval" }).await;
    eu.proxy.set_fault(expired()).await;
    let yes = json!({ "digest": shown().await["approval_digest"], "acknowledge_outage": true });
    let answer = daemon.try_call_as(approver, "POST", &format!("/v1/updates/{id}/approve"), Some(&yes)).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    let ended = daemon.follow(&id).await;
    assert_eq!(ended["status"], "blocked", "{ended:#}");
    assert!(
        ended["message"].as_str().unwrap().starts_with("perspective.agreement: main finds it ready; eu"),
        "{ended:#}"
    );
    assert!(stage.mutations().is_empty(), "{:?}", stage.mutations());
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_known_there_gets_no_answer_and_a_daemon_is_no_perspective_of_its_own() {
    let stage = Stage::new("strangers").await;
    let _authority = Authority::new(&stage);
    let eu = Elsewhere::start(&stage, "eu").await;
    let stranger = eu.section().replace("client.", "stranger.");
    let unnamed = section("us", &eu.daemon.address).replace("localhost", "127.0.0.1");
    stage.configured_with(&[stranger, unnamed].concat());
    let daemon = run(&stage, "config.toml", MAIN).await;
    let report = preflight(&stage, &daemon).await;
    assert_eq!(report["verdict"], "inconclusive", "{report:#}");
    let why = [0, 1].map(|at| report["perspectives"][at]["detail"].as_str().unwrap().to_owned());
    assert!(why[0].contains("it answers 401 unauthenticated"), "{why:?}");
    assert!(why[1].contains("the TLS handshake failed") && why[1].contains("not valid for name"), "{why:?}");
    assert!(eu.proxy.history().is_empty(), "nobody was asked to look");
    daemon.terminate().await;
    stage.reconfigured("name = \"us\"", "name = \"xks-preflight daemon\"");
    let told = Daemon::refuses_to_start(&stage).await;
    assert!(told.contains("to look twice from one place is no second opinion"), "{told}");
}
