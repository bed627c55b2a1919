//! schemathesis (PyPI) against the real daemon: whatever is sent to what the description names is answered as it says,
//! and never by a 5xx. Seeded and bounded; `tests/run` installs the tool.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::daemon::stage::{BOUND, Daemon, NEW, Stage, until};
use crate::peers::{Run, keep};

const ROOT: &str = "xkspf_TestAdministratorDoNotLeak123456789012345";
const ANN: &str = "xkspf_TestApproverDoNotLeakA123456789012345678901";

/// The tool beside the Python of the tests; without them it is skipped, but never by `tests/run`.
fn tool() -> Option<PathBuf> {
    let Some(python) = std::env::var_os("XKS_TEST_PYTHON") else {
        assert!(std::env::var_os("XKS_TEST_OUTPUT").is_none(), "tests/run sets XKS_TEST_PYTHON");
        return None;
    };
    let tool = Path::new(&python).with_file_name("st");
    assert!(tool.exists(), "{} is missing: tests/run installs schemathesis", tool.display());
    Some(tool)
}

/// What the tool is told, with ids that lead somewhere.
fn settings(stage: &Stage, update: &str, over: &str, report: &str) -> String {
    let checks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi/checks.py");
    format!(
        r#"
hooks = "{checks}"
seed = 20261127
suppress-health-check = ["all"]
continue-on-failure = true
headers = {{ Authorization = "${{XKS_TEST_AUTHORIZATION}}" }}
[generation]
max-examples = 6
database = "none"
[phases.stateful]
enabled = false
[reports.json]
enabled = true
path = "report.json"
[checks]
# What is well-formed may still be wrong as a whole, or for the moment; every 422 must say why (tests/openapi/checks.py).
positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "412", "422", "423", "424", "429"]
# A stale If-Match is told before a body that is missing.
negative_data_rejection.expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "412", "413", "415", "422", "423", "428", "429"]
[[operations]]
include-path-regex = "^/v1/updates/.id.$"
parameters = {{ "path.id" = "{update}" }}
[[operations]]
include-path-regex = "^/v1/updates/.id./(approve|cancel|removed|rollback)$"
parameters = {{ "path.id" = "{update}" }}
[[operations]]
include-path-regex = "^/v1/updates/.id./evidence$"
parameters = {{ "path.id" = "{over}" }}
[[operations]]
include-path-regex = "^/v1/preflights/"
parameters = {{ "path.id" = "{report}" }}
[[operations]]
include-path-regex = "^/v1/key-stores/"
parameters = {{ "path.id" = "{key_store}" }}
"#,
        checks = checks.display(),
        key_store = stage.key_store,
    )
}

/// One run; its report.
async fn fuzz(tool: &Path, stage: &Stage, daemon: &Daemon, token: Option<&str>, more: &[&str]) -> Value {
    let url = format!("http://{}", daemon.address);
    let directory = stage.directory.join(if token.is_some() { "known" } else { "anonymous" });
    std::fs::create_dir_all(&directory).unwrap();
    let mut command = tokio::process::Command::new(tool);
    command.current_dir(&directory).stdin(Stdio::null()).kill_on_drop(true);
    command.args(["--config-file", "../schemathesis.toml", "run", &format!("{url}/openapi.json")]);
    // A busy machine may take long to answer; that it answers at all is the subject.
    command.args(["--url", &url, "--no-color", "--request-timeout", "60"]).args(more);
    // Server-sent events are followed by tests of their own.
    command.args(["--exclude-operation-id", "followUpdate"]);
    // Nobody's token is something that is sent and means nothing.
    command.env("XKS_TEST_AUTHORIZATION", token.map_or("Bearer".to_owned(), |token| format!("Bearer {token}")));
    command.env("XKS_TEST_ANONYMOUS", if token.is_some() { "0" } else { "1" });
    let run = Run::from(tokio::time::timeout(2 * BOUND, command.output()).await.unwrap().unwrap());
    keep(&directory, &run);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    serde_json::from_str(&std::fs::read_to_string(directory.join("report.json")).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_answers_as_its_description_says() {
    let Some(tool) = tool() else { return };
    let stage = Stage::guarded("openapi", "one", &[("root", ROOT, "admin"), ("ann", ANN, "approver")]).await;
    let file = stage.directory.join("config.toml");
    let configuration = std::fs::read_to_string(&file).unwrap();
    // Invented hosts are neither asked for nor connected to.
    let bounded = configuration.replace("[preflight]\n", "[preflight]\nendpoint_hosts = [\"xks.example.com\"]\n");
    assert_ne!(bounded, configuration);
    std::fs::write(&file, bounded).unwrap();
    let daemon = Daemon::start(&stage, None).await;
    // One that is over, whose stream of events ends, and one that waits.
    stage.new.set_fault("certificate-expired".parse::<xks_preflight::sandbox::fault::Fault>().unwrap()).await;
    let over = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    let report = daemon.follow(&over).await["report"].as_str().unwrap().to_owned();
    stage.new.set_fault(None).await;
    let update = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    let path = format!("/v1/updates/{update}");
    until(BOUND, "it waits", || async {
        daemon.call("GET", &path, None).await.json()["status"] == "awaiting_approval"
    })
    .await;
    std::fs::write(stage.directory.join("schemathesis.toml"), settings(&stage, &update, &over, &report)).unwrap();
    let document = serde_json::to_value(xks_preflight::api::document()).unwrap();
    let methods = |path: &Value| path.as_object().unwrap().keys().filter(|key| *key != "parameters").count();
    let operations: usize = document["paths"].as_object().unwrap().values().map(methods).sum();
    let few = ["--phases", "fuzzing", "--max-examples", "3"];
    for (who, token, more, least) in [("nobody", None, &few[..], 40), ("an admin", Some(ROOT), &[], 300)] {
        let report = fuzz(&tool, &stage, &daemon, token, more).await;
        let (tested, cases) = (&report["operations"]["tested"], &report["test_cases"]["generated"]);
        let (failures, seconds) = (report["failures"].as_array().unwrap().len(), &report["running_time"]);
        println!("as {who}: {tested} operations, {cases} cases, {failures} failures in {seconds} s");
        assert_eq!((tested, failures, &report["errors"]), (&json!(operations - 1), 0, &json!([])));
        assert!(cases.as_u64().is_some_and(|cases| cases >= least), "only {cases} cases");
    }
    daemon.terminate().await;
}
