//! The commands `config` and `token`, as they are run from a shell.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const SECRET: &str = "TestSecretDoNotLeak0123456789012345678901234567";

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xks-preflight"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn shipped(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name).display().to_string()
}

#[test]
fn a_good_configuration_is_summed_up() {
    let output = run(&["config", "check", &shipped("observe-only.toml")], &[("XKS_MAIN_SECRET_ACCESS_KEY", SECRET)]);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    let printed = text(&output.stdout);
    assert!(printed.contains("is without fault\n  api         http://127.0.0.1:8480, for anyone who reaches it\n"));
    assert!(printed.contains("key stores  1, observed only"), "{printed}");
    assert!(!printed.contains("DoNotLeak"));
}

#[test]
fn a_bad_configuration_exits_2_and_tells_every_fault_on_stderr() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    fs::write(
        &file,
        format!("[kms]\nregion = \"euc1\"\n[credentials.a]\naccess_key_id = \"{SECRET}\"\nsecret = \"{SECRET}\"\n"),
    )
    .unwrap();
    let output = run(&["config", "check", &file.display().to_string(), "--log-level", "trace"], &[]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""));
    let expected = format!(
        "error: {} has 3 faults\n  line 2: kms.region: must look like an AWS Region, for example eu-central-1 (found \
         \"euc1\")\n  line 4: credentials.a.access_key_id: must be 20 to 30 of A-Z and 2-7\n  line 5: \
         credentials.a.secret: a secret is never written into this file: say where it is, as {{ file = \"…\" }}, {{ env = \
         \"…\" }} or {{ exec = [\"…\"] }}\n",
        file.display()
    );
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn secret_files_are_found_beside_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("minimal.toml");
    fs::copy(shipped("minimal.toml"), &config).unwrap();
    let console = directory.path().join("proxy-configuration.json");
    let json = format!(
        r#"{{"XksProxyUriPath":"/kms/xks/v1","XksProxyAuthenticationCredential":{{"AccessKeyId":"AKIAI2SFODNN7EXAMPLE","RawSecretAccessKey":"{SECRET}"}}}}"#
    );
    fs::write(&console, json).unwrap();
    for (mode, exit) in [(0o600, 0), (0o640, 0), (0o644, 2)] {
        fs::set_permissions(&console, fs::Permissions::from_mode(mode)).unwrap();
        let output = run(&["config", "check", &config.display().to_string()], &[]);
        assert_eq!(output.status.code(), Some(exit), "{mode:o} {}", text(&output.stderr));
    }
}

#[test]
fn the_schema_is_json() {
    let output = run(&["config", "schema"], &[]);
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["properties"]["monitor"]["properties"]["interval"]["default"], "60s");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"], serde_json::json!(["kms"]), "the one thing that has no default");
}

#[test]
fn a_new_token_is_accepted_by_the_configuration_and_differs_from_the_last() {
    let output = run(&["token", "new", "--name", "al \"ice\"", "--role", "viewer"], &[]);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    let printed = text(&output.stdout);
    let (token, lines) = printed.split_once('\n').unwrap();
    assert_eq!((token.len(), token.starts_with("xkspf_")), (49, true));
    assert!(!lines.contains(token), "the configuration holds only the hash");

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    fs::write(&file, format!("[kms]\nregion = \"eu-central-1\"\n{lines}")).unwrap();
    let check = run(&["config", "check", &file.display().to_string()], &[]);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stderr));

    let config = xks_preflight::config::Config::load(&file, &|_| None).unwrap();
    let now = xks_preflight::clock::Timestamp::from_unix(0);
    assert_eq!(xks_preflight::access::identify(&config.tokens, token, now).unwrap().name, "al \"ice\"");

    let scoped = ["--role", "operator", "--role", "approver", "--key-store", "payments-*", "--expires", "90d"];
    let scoped = text(&run(&[&["token", "new", "--name", "ci"], scoped.as_slice()].concat(), &[]).stdout);
    let (token, lines) = scoped.split_once('\n').unwrap();
    fs::write(&file, format!("[kms]\nregion = \"eu-central-1\"\n{lines}")).unwrap();
    let tokens = xks_preflight::config::Config::load(&file, &|_| None).unwrap().tokens;
    let grants = &xks_preflight::access::identify(&tokens, token, now).unwrap().grants;
    let told: Vec<String> = grants.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["operator of payments-*", "approver of payments-*"]);
    let after = xks_preflight::clock::Timestamp::from_unix(4_000_000_000);
    let late = xks_preflight::access::identify(&tokens, token, after);
    assert_eq!(late.unwrap_err(), xks_preflight::access::TokenRefused::Expired);

    let environment = [("XKS_PREFLIGHT_NAME", "bob"), ("XKS_PREFLIGHT_ROLE", "operator")];
    let another = text(&run(&["token", "new"], &environment).stdout);
    assert!(another.contains("name = \"bob\"\nrole = \"operator\"\n"), "{another}");
    assert_ne!(another.lines().next(), Some(token));
}

#[test]
fn wrong_usage_exits_2_and_says_so_on_stderr() {
    for arguments in [
        &[][..],
        &["nonsense"],
        &["config", "check"],
        &["config", "check", "/absent"],
        &["token", "new", "--name", "a", "--role", "root"],
        &["token", "new", "--name", " a", "--role", "viewer"],
        &["config", "schema", "--log-level", "noisy=loud"],
        &["config", "schema", "--log-level", "nonsense"],
        &["config", "schema", "--log-level", "info,nonsense"],
    ] {
        let output = run(arguments, &[]);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_and_version_are_results() {
    for arguments in [&["--help"][..], &["--version"], &["token", "new", "--help"]] {
        let output = run(arguments, &[]);
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{arguments:?}");
        assert!(!text(&output.stdout).contains('\u{1b}'), "colour without a terminal");
    }
}

#[test]
fn a_reader_that_has_gone_away_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = Command::new(env!("CARGO_BIN_EXE_xks-preflight"))
        .args(["config", "schema"])
        .stdout(writer)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}
