//! The Helm chart, rendered by helm: its objects are Kubernetes' own, its configuration is one that the daemon takes, and
//! values that cannot work are refused, all at once.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{deployed, run, said, yaml};
use crate::peers::{BINARY, PATH, SECRET, write_console_file};

const SITE: &str = "https://xks-preflight.example.com";

/// `tests/run` puts helm there.
fn helm() -> Command {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools/helm");
    let path = std::env::var_os("XKS_TEST_HELM").map_or(own, PathBuf::from);
    assert!(path.exists(), "{}: tests/run installs helm there", path.display());
    Command::new(path)
}

fn template(values: &Value) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("values.json");
    std::fs::write(&file, values.to_string()).unwrap();
    run(helm()
        .args(["template", "release", "--namespace", "kms", "--values"])
        .arg(&file)
        .arg(deployed("helm/xks-preflight")))
}

/// The rendered objects.
fn rendered(values: &Value) -> Vec<Value> {
    let ran = template(values);
    assert!(ran.status.success(), "{}", said(&ran));
    let text = String::from_utf8(ran.stdout).unwrap();
    let documents = text.split("\n---\n").filter(|document| document.contains("kind:"));
    documents.map(|document| serde_saphyr::from_str(document.trim_start_matches("---")).unwrap()).collect()
}

fn one<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

/// One replica, on a volume.
fn small() -> Value {
    json!({ "tls": { "allowInsecure": true } })
}

/// As the README shows them.
fn shown() -> Value {
    let readme = std::fs::read_to_string(deployed("../README.md")).unwrap();
    let block = readme.split("```yaml\n").find(|block| block.starts_with("replicas:")).unwrap();
    let values = block.split("```").next().unwrap().replace("\"...\"", &format!("\"{}\"", "0".repeat(64)));
    serde_saphyr::from_str(&values).unwrap()
}

/// Three replicas with everything.
fn large() -> Value {
    json!({
        "replicas": 3,
        "secretName": "xks-preflight-secrets",
        "tls": { "secretName": "xks-preflight-tls" },
        "config": "[kms]\nregion = \"eu-central-1\"\n\n[credentials.main]\nconsole_file = \"secrets/main.json\"\n\n\
                   [[key_stores]]\nid = \"cks-1234567890abcdef0\"\ncredential = \"main\"\n\n[[tokens]]\nname = \"prometheus\"\n\
                   role = \"viewer\"\nsha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\n",
        "journal": {
            "sealingKey": "sealing-key",
            "postgres": {
                "url": "postgresql://xks_preflight@db.example.com:6432/xks_preflight",
                "passwordKey": "postgres-password",
                "caKey": "ca.pem",
            },
        },
        "kmsEndpoint": true,
        "serviceAccount": { "annotations": { "eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/xks-preflight" } },
        "serviceMonitor": { "enabled": true, "token": { "secretName": "viewer" }, "caKey": "ca.crt" },
        "prometheusRule": { "enabled": true },
        "runbooks": { "url": format!("{SITE}/") },
        "dashboard": { "enabled": true },
        "networkPolicy": { "clients": [{ "namespaceSelector": { "matchLabels": { "team": "kms" } } }] },
    })
}

#[test]
fn helm_and_kubernetes_find_no_fault() {
    let ran =
        run(helm().args(["lint", "--strict", "--set", "tls.allowInsecure=true"]).arg(deployed("helm/xks-preflight")));
    assert!(ran.status.success(), "{}", said(&ran));
    let directory = tempfile::tempdir().unwrap();
    for (name, values) in [("small", small()), ("large", large())] {
        for object in rendered(&values) {
            // What the Prometheus operator defines is not Kubernetes' own.
            if object["apiVersion"] != "monitoring.coreos.com/v1" {
                let file = directory
                    .path()
                    .join(format!("{name}-{}-{}.yaml", object["kind"], object["metadata"]["name"]).replace('"', ""));
                std::fs::write(file, object.to_string()).unwrap();
            }
        }
    }
    let files: Vec<PathBuf> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 11, "{files:?}");
    let python = std::env::var_os("XKS_TEST_PYTHON").expect("XKS_TEST_PYTHON: tests/run sets it");
    for version in ["1.27.0", "1.34.0"] {
        let ran = run(Command::new(&python)
            .args(["-m", "kubernetes_validate", "--strict", "--quiet", "-k", version])
            .args(&files));
        assert!(ran.status.success(), "{}", said(&ran));
    }
    // It looks: a member that Kubernetes does not know is refused.
    let wrong = directory.path().join("wrong.yaml");
    let mut deployment = one(&rendered(&small()), "Deployment").clone();
    deployment["spec"]["template"]["spec"]["containers"][0]["livenessCheck"] = json!({});
    std::fs::write(&wrong, deployment.to_string()).unwrap();
    let ran = run(Command::new(&python).args(["-m", "kubernetes_validate", "--strict", "--quiet"]).arg(&wrong));
    assert!(!ran.status.success());
}

#[test]
fn replicas_decide_on_journal_strategy_and_disruption() {
    let objects = rendered(&small());
    let spec = &one(&objects, "Deployment")["spec"];
    assert_eq!((&spec["replicas"], &spec["strategy"]["type"]), (&json!(1), &json!("Recreate")));
    assert_eq!(one(&objects, "PersistentVolumeClaim")["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    // With one it would only keep nodes from being drained.
    assert!(!objects.iter().any(|object| object["kind"] == "PodDisruptionBudget"));
    let objects = rendered(&large());
    let spec = &one(&objects, "Deployment")["spec"];
    assert_eq!((&spec["replicas"], &spec["strategy"]["type"]), (&json!(3), &json!("RollingUpdate")));
    assert_eq!(one(&objects, "PodDisruptionBudget")["spec"]["maxUnavailable"], 1);
    assert!(!objects.iter().any(|object| object["kind"] == "PersistentVolumeClaim"));
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let container = &pod["containers"][0]["securityContext"];
    assert_eq!(
        container,
        &json!({ "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } })
    );
    for probe in ["livenessProbe", "readinessProbe"] {
        assert_eq!(pod["containers"][0][probe]["httpGet"]["scheme"], "HTTPS");
    }
    // Everybody is kept out but those who are named.
    let policy = &one(&objects, "NetworkPolicy")["spec"];
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    assert!(policy["ingress"].as_array().unwrap().iter().all(|rule| !rule["from"].as_array().unwrap().is_empty()));
    assert_eq!(one(&rendered(&small()), "NetworkPolicy")["spec"]["ingress"], json!([]));
    let ports = policy["egress"].to_string();
    assert!(ports.contains("6432") && ports.contains("443"), "{ports}");
}

#[test]
fn the_daemon_takes_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::create_dir(path("secrets")).unwrap();
    std::fs::create_dir(path("tls")).unwrap();
    write_console_file(&path("secrets/main.json"), PATH, SECRET);
    std::fs::write(path("secrets/sealing-key"), "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=").unwrap();
    std::fs::write(path("secrets/postgres-password"), "DoNotLeak").unwrap();
    let made = rcgen::generate_simple_self_signed(["xks-preflight.example.com".to_owned()]).unwrap();
    std::fs::write(path("secrets/ca.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("tls/tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(path("tls/tls.key"), made.signing_key.serialize_pem()).unwrap();
    for secret in ["secrets/main.json", "secrets/sealing-key", "secrets/postgres-password", "tls/tls.key"] {
        // As the Deployment mounts them: for owner and group.
        std::fs::set_permissions(path(secret), std::fs::Permissions::from_mode(0o440)).unwrap();
    }
    for values in [small(), large(), shown()] {
        let objects = rendered(&values);
        let mut maps = objects.iter().filter(|object| object["kind"] == "ConfigMap");
        let configuration = maps.find_map(|map| map["data"]["config.toml"].as_str()).unwrap();
        std::fs::write(path("config.toml"), configuration).unwrap();
        let ran = run(Command::new(BINARY).args(["config", "check"]).arg(path("config.toml")));
        // Without callers or TLS a daemon that others can reach does not start; whoever installs it has some.
        assert!(ran.status.success(), "{}\n{configuration}", said(&ran));
    }
    let arguments = one(&rendered(&large()), "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"].clone();
    for option in ["--config", "--perspective"] {
        assert!(arguments.as_array().unwrap().contains(&option.into()));
    }
}

#[test]
fn its_rules_and_dashboard_are_those_of_the_files_and_lead_to_the_site() {
    let objects = rendered(&large());
    let groups = one(&objects, "PrometheusRule")["spec"]["groups"].clone();
    let mut expected = yaml("prometheus/recording.rules.yml")["groups"].as_array().unwrap().clone();
    expected.extend(yaml("prometheus/alerts.rules.yml")["groups"].as_array().unwrap().clone());
    let text = Value::Array(expected).to_string().replace("http://127.0.0.1:8480", SITE);
    assert_eq!(groups, serde_json::from_str::<Value>(&text).unwrap());
    check_rules(&groups);
    let mut maps = objects.iter().filter(|object| object["kind"] == "ConfigMap");
    let dashboard = maps.find_map(|map| map["data"]["xks-preflight.json"].as_str()).unwrap();
    let dashboard: Value = serde_json::from_str(dashboard).unwrap();
    assert_eq!(dashboard["links"][0]["url"], format!("{SITE}/runbooks"));
    let endpoint = &one(&objects, "ServiceMonitor")["spec"]["endpoints"][0];
    // The alerts go by the job's name.
    assert_eq!(endpoint["relabelings"], json!([{ "targetLabel": "job", "replacement": "xks-preflight" }]));
    assert_eq!(
        (&endpoint["scheme"], &endpoint["authorization"]["credentials"]["name"]),
        (&json!("https"), &json!("viewer"))
    );
}

fn check_rules(groups: &Value) {
    let directory = tempfile::tempdir().unwrap();
    let file: &Path = &directory.path().join("rules.yml");
    std::fs::write(file, json!({ "groups": groups }).to_string()).unwrap();
    let ran = run(Command::new("promtool").args(["check", "rules"]).arg(file));
    assert!(ran.status.success(), "{}", said(&ran));
}

#[test]
fn values_that_cannot_work_are_refused_all_at_once() {
    let wrong = json!({
        "replicas": 2,
        "config": "[listen]\napi = \"0.0.0.0:80\"\n",
        "journal": { "sealingKey": "sealing-key" },
        "prometheusRule": { "enabled": true },
        "serviceMonitor": { "enabled": true },
    });
    let ran = template(&wrong);
    assert!(!ran.status.success());
    for fault in [
        "replicas: ",
        "tls.secretName: ",
        "secretName: ",
        "config: ",
        "runbooks.url: ",
        "serviceMonitor.token.secretName: ",
    ] {
        assert!(said(&ran).contains(&format!("  - {fault}")), "{fault} in {}", said(&ran));
    }
    let ran = template(&json!({ "tls": { "secretName": "xks-preflight-tls" } }));
    assert!(!ran.status.success() && said(&ran).contains("config: without [[tokens]]"), "{}", said(&ran));
    for (wrong, place) in [
        (json!({ "replica": 2 }), "replica"),
        (json!({ "replicas": 0 }), "replicas"),
        (json!({ "journal": { "postgres": { "url": "postgresql://user:DoNotLeak@db/x" } } }), "url"),
        (json!({ "runbooks": { "url": "xks-preflight.example.com" } }), "url"),
    ] {
        let mut values = small();
        values.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        let ran = template(&values);
        assert!(!ran.status.success() && said(&ran).contains(place), "{wrong}: {}", said(&ran));
    }
}
