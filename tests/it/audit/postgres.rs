//! Freezes, kept reports, evidence and the trail with the journal in PostgreSQL, through the real daemon; and the trail read
//! from the database without it.

use serde_json::{Value, json};
use tokio::process::Command;

use super::{command, entries, head};
use crate::daemon::stage::{Daemon, NEW, Stage, TOKEN};
use crate::postgres::{PASSWORD, USER, program, shared};

const BOSS: &str = "xkspf_BossTokenDoNotLeak012345678901234567890123456";

/// How the README says that an auditor reads the trail without the daemon.
const LINES: &str = r#"SELECT format('{"sequence":%s,"entry":%s,"digest":"%s","previous":"%s","hash":"%s"}', sequence, entry, digest, previous, hash) FROM xks_preflight.audit ORDER BY sequence"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_the_daemon_decides_is_kept_in_postgresql() {
    let database = shared().database().await;
    let stage = Stage::on_postgres("audit-postgres", &database.url()).await;
    stage.with_people(&[("boss", BOSS, "admin")]);
    stage.with_signing_key();
    let daemon = Daemon::start(&stage, None).await;
    let boss = async |daemon: &Daemon, method, path, body: Option<Value>| {
        daemon.try_call_as(BOSS, method, path, body.as_ref()).await.unwrap()
    };
    let update = stage.body(json!({ "XksProxyUriEndpoint": NEW }));

    // A freeze holds, over a restart, too, until it is lifted.
    let frozen = boss(&daemon, "POST", "/v1/freeze", Some(json!({ "reason": "audit week" }))).await;
    assert_eq!(frozen.status, 201, "{}", frozen.body);
    let refused = daemon.call("POST", "/v1/updates", Some(&update)).await;
    assert_eq!((refused.status, refused.json()["reason"].clone()), (423, json!("frozen")), "{}", refused.body);
    daemon.kill().await;
    let daemon = Daemon::start(&stage, None).await;
    assert_eq!(daemon.call("POST", "/v1/updates", Some(&update)).await.status, 423);
    let lifted = boss(&daemon, "DELETE", "/v1/freeze", None).await;
    assert_eq!((lifted.status, lifted.json()["reason"].clone()), (200, json!("audit week")), "{}", lifted.body);

    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    assert_eq!(daemon.follow(&id).await["status"], "verified");
    daemon.kill().await;
    let daemon = Daemon::start(&stage, None).await;
    let server = format!("http://{}", daemon.address);

    // What is told of the orders, by whom.
    let exported = command(&["audit", "export", "--server", &server]).await;
    assert_eq!(exported.code, 0, "{}", exported.err);
    let told = entries(&exported.out);
    for action in ["freeze", "lift_freeze"] {
        let orders: Vec<&Value> = told.iter().filter(|entry| entry["action"] == action).collect();
        assert_eq!(orders.len(), 1, "{told:#?}");
        assert_eq!((&orders[0]["by"]["name"], &orders[0]["decision"]), (&json!("boss"), &json!("allowed")));
        assert!(orders[0]["message"].as_str().unwrap().contains("audit week"), "{}", orders[0]);
    }
    let refusals = told.iter().filter(|entry| entry["action"] == "submit_update" && entry["decision"] == "denied");
    assert_eq!(refusals.count(), 2, "{told:#?}");

    // The reports of the update outlive the process that made them.
    let kept: Vec<&Value> = told.iter().filter(|entry| entry["action"] == "report_kept").collect();
    assert_eq!(kept.len(), 3, "{told:#?}");
    for entry in kept {
        let path = format!("/v1/preflights/{}", entry["report"].as_str().unwrap());
        let report = daemon.call("GET", &path, None).await;
        assert_eq!((report.status, report.json()["verdict"].clone()), (200, json!("ready")), "{}", report.body);
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, report.body.as_bytes());
        let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        assert_eq!(entry["document"], hash.as_str(), "it is shown as it was kept");
    }

    // Evidence.
    let key = command(&["audit", "key", "--server", &server]).await;
    let bundle = command(&["audit", "evidence", &id, "--server", &server]).await;
    assert_eq!((key.code, bundle.code), (0, 0), "{}{}", key.err, bundle.err);
    let (key_file, bundle_file) = (stage.directory.join("gate.pem"), stage.directory.join("evidence.json"));
    std::fs::write(&key_file, key.out).unwrap();
    std::fs::write(&bundle_file, bundle.out).unwrap();
    let (key, bundle) = (key_file.to_str().unwrap(), bundle_file.to_str().unwrap());
    let proven = command(&["audit", "verify-evidence", bundle, "--public-key", key]).await;
    assert_eq!(proven.code, 0, "{}{}", proven.out, proven.err);
    assert!(proven.out.contains("3 reports of its pre-flights"), "{}", proven.out);
    let verified = command(&["audit", "verify", "--server", &server]).await;
    assert_eq!(verified.code, 0, "{}", verified.out);
    let head = head(&verified.out);
    daemon.terminate().await;

    // Nobody's word but the database's, and then not even that.
    let file = stage.directory.join("trail.jsonl");
    let sql = |sql: &str| {
        let psql = Command::new(program("psql"))
            .args(["-h", "127.0.0.1", "-p", &database.port.to_string(), "-U", USER, "-d", &database.name])
            .args(["-v", "ON_ERROR_STOP=1", "-At", "-c", sql, "-o"])
            .arg(&file)
            .env("PGPASSWORD", PASSWORD)
            .status();
        async { assert!(psql.await.unwrap().success()) }
    };
    let offline = async || command(&["audit", "verify", file.to_str().unwrap(), "--head", &head]).await;
    sql(LINES).await;
    let told = offline().await;
    assert_eq!(told.code, 0, "{}{}", told.out, told.err);
    assert!(told.out.contains("the remembered head"), "{}", told.out);
    assert!(include_str!("../../../README.md").contains(LINES), "the README says so");
    sql("DROP TRIGGER audit_keeps_lines ON xks_preflight.audit; \
         UPDATE xks_preflight.audit SET entry = replace(entry, 'audit week', 'whatever  ') \
         WHERE entry LIKE '%lift_freeze%'")
    .await;
    sql(LINES).await;
    let told = offline().await;
    assert_eq!(told.code, 1, "{}", told.out);
    assert!(told.out.contains(" was changed"), "{}", told.out);
    assert!(!std::fs::read_to_string(&file).unwrap().contains(TOKEN));
}
