//! IAM policies allow exactly what the code calls, and the Terraform example holds together.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use regex::Regex;
use serde_json::Value;

use super::{deployed, run, said, text};

/// Changes, or is about changes.
const OF_OPERATORS: [&str; 5] = [
    "iam:SimulatePrincipalPolicy",
    "kms:ConnectCustomKeyStore",
    "kms:CreateCustomKeyStore",
    "kms:DisconnectCustomKeyStore",
    "kms:UpdateCustomKeyStore",
];

/// The IAM prefix of each SDK client below `src/aws`.
const CLIENTS: [(&str, &str); 4] = [
    ("aws_sdk_kms", "kms"),
    ("aws_sdk_elasticloadbalancingv2", "elasticloadbalancing"),
    ("aws_sdk_cloudhsmv2", "cloudhsm"),
    ("aws_sdk_secretsmanager", "secretsmanager"),
];

/// `describe_key` is `DescribeKey`.
fn operation(method: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    method.split('_').map(capital).collect()
}

/// Every AWS call in the code: methods of the SDKs' clients, and the actions that the query clients name.
fn called() -> BTreeSet<String> {
    let method = Regex::new(r"\bclient\s*\.([a-z]+(?:_[a-z]+)+)\(\)").unwrap();
    let named = Regex::new(r#""((?:ec2|iam|sts|secretsmanager):[A-Z]\w+)""#).unwrap();
    let (mut called, mut left) = (BTreeSet::new(), vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/aws")]);
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            called.extend(named.captures_iter(code).map(|found| found[1].to_owned()));
            let sdk = CLIENTS.iter().find(|(sdk, _)| code.contains(sdk));
            let name = path.file_name().unwrap().to_str().unwrap();
            // The keys of KMS are asked for through the client of kms.rs.
            let prefix = sdk.map(|(_, prefix)| *prefix).or(name.starts_with("kms").then_some("kms"));
            // The SDK's own provider calls it.
            called.extend(code.contains("AssumeRoleProvider::builder(").then(|| "sts:AssumeRole".to_owned()));
            let Some(prefix) = prefix else { continue };
            called.extend(method.captures_iter(code).map(|found| format!("{prefix}:{}", operation(&found[1]))));
        }
    }
    called
}

/// The actions that a policy allows.
fn allowed(policy: &str) -> BTreeSet<String> {
    let policy: Value = serde_json::from_str(&text(policy)).unwrap();
    let mut actions = BTreeSet::new();
    for statement in policy["Statement"].as_array().unwrap() {
        assert_eq!(statement["Effect"], "Allow");
        let of_statement = match &statement["Action"] {
            Value::String(action) => vec![action.clone()],
            several => several.as_array().unwrap().iter().map(|action| action.as_str().unwrap().to_owned()).collect(),
        };
        for action in of_statement {
            assert!(!action.contains('*') && actions.insert(action.clone()), "{action}");
        }
    }
    actions
}

#[test]
fn the_policies_allow_what_the_code_calls_and_nothing_else() {
    let called = called();
    assert!(called.len() > 15 && called.contains("kms:DescribeKey"), "{called:?}");
    let operator = allowed("iam/operator.json");
    assert_eq!(operator, called);
    let observer = allowed("iam/observer.json");
    let changes: BTreeSet<String> = OF_OPERATORS.iter().map(|&action| action.to_owned()).collect();
    assert_eq!(observer, called.difference(&changes).cloned().collect());
    // The README tells the same.
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    for action in &called {
        assert!(readme.contains(&format!("`{action}`")), "the README does not tell of {action}");
    }
}

/// Only the daemon's role is let in, and only with the external id that the configuration of the README has.
#[test]
fn the_trust_policy_lets_in_the_daemon_with_its_external_id_alone() {
    let policy: Value = serde_json::from_str(&text("iam/trust.json")).unwrap();
    let [statement] = policy["Statement"].as_array().unwrap().as_slice() else { panic!("{policy}") };
    assert_eq!((&statement["Effect"], &statement["Action"]), (&"Allow".into(), &"sts:AssumeRole".into()));
    assert_eq!(statement["Principal"], serde_json::json!({ "AWS": "arn:aws:iam::111122223333:role/xks-preflight" }));
    let external_id = statement["Condition"]["StringEquals"]["sts:ExternalId"].as_str().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["README.md", "config/full.toml"] {
        let told = std::fs::read_to_string(root.join(file)).unwrap();
        assert!(told.contains(&format!("external_id = \"{external_id}\"")), "{file}");
    }
    // It enters the accounts that are named, and no others: the one of the samples stands for them.
    let full = std::fs::read_to_string(root.join("config/full.toml")).unwrap();
    for policy in ["iam/observer.json", "iam/operator.json"] {
        let policy: Value = serde_json::from_str(&text(policy)).unwrap();
        let mut statements = policy["Statement"].as_array().unwrap().iter();
        let entering = statements.find(|statement| statement["Action"] == "sts:AssumeRole").unwrap();
        let role = entering["Resource"].as_str().unwrap();
        assert!(!role.contains('*') && full.contains(&format!("role_arn = \"{role}\"")), "{role}");
    }
}

/// An action that AWS does not have, or one for every resource that could be narrower.
#[test]
fn a_linter_of_iam_policies_finds_nothing() {
    let python = std::env::var_os("XKS_TEST_PYTHON").expect("XKS_TEST_PYTHON: tests/run sets it");
    let script = "import sys, parliament\n\
                  found = parliament.analyze_policy_string(open(sys.argv[1]).read()).findings\n\
                  print([(each.issue, each.detail) for each in found])\n\
                  sys.exit(len(found))";
    let lint = |path: &Path| run(Command::new(&python).args(["-W", "ignore", "-c", script]).arg(path));
    for policy in ["observer", "operator"] {
        let ran = lint(&deployed(&format!("iam/{policy}.json")));
        assert!(ran.status.success(), "{policy}: {}", said(&ran));
    }
    let directory = tempfile::tempdir().unwrap();
    let wrong = directory.path().join("wrong.json");
    std::fs::write(&wrong, text("iam/observer.json").replace("DescribeCustomKeyStores", "DescribeCustomKeyStore"))
        .unwrap();
    assert!(!lint(&wrong).status.success());
}

/// All files of the example.
fn example() -> String {
    let directory = std::fs::read_dir(deployed("terraform")).unwrap();
    let files = directory.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "tf"));
    files.map(|path| std::fs::read_to_string(path).unwrap()).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_terraform_example_is_hcl_and_its_references_lead_somewhere() {
    let python = std::env::var_os("XKS_TEST_PYTHON").expect("XKS_TEST_PYTHON: tests/run sets it");
    for entry in std::fs::read_dir(deployed("terraform")).unwrap() {
        let path = entry.unwrap().path();
        let ran = run(Command::new(&python).args(["-c", "import sys, hcl2; hcl2.load(open(sys.argv[1]))"]).arg(&path));
        assert!(ran.status.success(), "{}: {}", path.display(), said(&ran));
    }
    let text = example();
    let all = |pattern: &str| -> BTreeSet<String> {
        let found = Regex::new(pattern).unwrap();
        found
            .captures_iter(&text)
            .map(|found| found.iter().skip(1).flatten().map(|part| part.as_str()).collect::<Vec<_>>().join("."))
            .collect()
    };
    let variables = all(r#"(?m)^variable "(\w+)""#);
    assert_eq!(all(r"\bvar\.(\w+)"), variables, "variables that are used, and those that there are");
    let resources = all(r#"(?m)^resource "(\w+)" "(\w+)""#);
    for used in all(r"\b(aws_\w+)\.(\w+)\b") {
        assert!(resources.contains(&used) || text.contains(&format!("data.{used}.")), "{used} is nowhere");
    }
    for file in all(r#"\$\{path\.module\}/([^"$]+)"#) {
        assert!(deployed("terraform").join(file).exists());
    }
}

/// The service of the example is as the `vpc.*` checks want it, and every API that the code calls can be reached.
#[test]
fn the_terraform_example_makes_what_the_checks_ask_for() {
    let text = example();
    for line in [
        "acceptance_required        = false",
        "supported_ip_address_types = [\"ipv4\"]",
        "private_dns_name           = var.proxy_private_dns_name",
        "allowed_principals         = [\"cks.kms.${var.region}.amazonaws.com\"]",
        "load_balancer_type               = \"network\"",
        "enforce_security_group_inbound_rules_on_private_link_traffic = \"off\"",
        "proxy_protocol_v2 = false",
        "condition     = length(var.private_subnet_ids) >= 2",
    ] {
        assert!(text.contains(line), "{line}");
    }
    let apis = text.lines().find(|line| line.trim_start().starts_with("apis = ")).unwrap();
    for action in called() {
        let api = match action.split_once(':').unwrap().0 {
            // One for the whole partition, asked only if somebody wants it.
            "iam" => continue,
            "cloudhsm" => "cloudhsmv2",
            other => other,
        };
        assert!(apis.contains(&format!("\"{api}\"")), "{action} is called through the endpoint of {api}");
    }
}
