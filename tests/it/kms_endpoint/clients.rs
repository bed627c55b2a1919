//! The clients that people have: AWS CLI, boto3, and the AWS SDK for JavaScript v3. `tests/run` installs them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;
use xks_preflight::sandbox::kms::ConnectionState;
use xks_preflight::sandbox::pki::Pki;

use super::{BOUND, COLD, DEPLOY, expired};
use crate::daemon::stage::{Daemon, KMS_SECRET, NEW, Stage};
use crate::peers::wall_clock;

/// A client that can be run.
#[derive(Clone, Copy, Debug)]
enum Tool {
    Cli,
    Boto3,
    JavaScript,
}

const TOOLS: [Tool; 3] = [Tool::Cli, Tool::Boto3, Tool::JavaScript];

/// How a client is set up, where not as it should be.
#[derive(Clone, Copy, Debug)]
struct Setup<'a> {
    secret: &'a str,
    /// How far its clock is off, in seconds.
    skew: i64,
    attempts: u32,
    /// How many times the call is made, as long as it is answered.
    calls: u32,
    /// `https` or `http`.
    scheme: &'a str,
    /// The authorities that it trusts, where not the usual ones.
    ca_bundle: Option<&'a Path>,
}

const RIGHT: Setup<'_> = Setup { secret: KMS_SECRET, skew: 0, attempts: 3, calls: 1, scheme: "http", ca_bundle: None };

/// What came of a call, in the form that the scripts print.
#[derive(Debug)]
struct Outcome(Value);

impl Outcome {
    fn exception(&self) -> Option<&str> {
        self.0["exception"].as_str()
    }
}

/// The Python with the clients in it; `None` outside `tests/run`.
fn python() -> Option<PathBuf> {
    let python = std::env::var_os("XKS_TEST_PYTHON").map(PathBuf::from);
    assert!(python.is_some() || std::env::var_os("XKS_TEST_OUTPUT").is_none(), "tests/run sets XKS_TEST_PYTHON");
    python
}

/// `update-custom-key-store` and `updateCustomKeyStore` for `UpdateCustomKeyStore`, as the tools spell it.
fn spelled(operation: &str, with: char) -> String {
    operation.chars().enumerate().fold(String::new(), |mut name, (at, letter)| {
        if letter.is_ascii_uppercase() && at > 0 {
            name.push(with);
        }
        name.push(letter.to_ascii_lowercase());
        name
    })
}

impl Tool {
    async fn call(
        self,
        python: &Path,
        daemon: &Daemon,
        setup: Setup<'_>,
        operation: &str,
        parameters: &Value,
    ) -> Outcome {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        let parameters = parameters.to_string();
        // The certificate is for a name.
        let port = daemon.kms_endpoint.rsplit_once(':').unwrap().1;
        let (endpoint, skew) = (format!("{}://localhost:{port}", setup.scheme), setup.skew.to_string());
        let (program, arguments): (OsString, Vec<OsString>) = match self {
            Self::Cli => {
                let operation = spelled(operation, '-');
                let arguments = ["-m", "awscli", "kms", &operation, "--cli-input-json", &parameters];
                let mut arguments = arguments.map(OsString::from).to_vec();
                if setup.skew == 0 {
                    (python.into(), arguments)
                } else {
                    let clock = ["-f".into(), format!("{:+}s", setup.skew).into(), python.as_os_str().to_owned()];
                    arguments.splice(0..0, clock);
                    ("faketime".into(), arguments)
                }
            }
            Self::Boto3 => {
                let script = scripts.join("boto.py").into_os_string();
                (python.into(), vec![script, spelled(operation, '_').into(), parameters.into(), skew.into()])
            }
            Self::JavaScript => {
                let script = scripts.join("sdk.mjs").into_os_string();
                ("node".into(), vec![script, operation.into(), parameters.into(), skew.into()])
            }
        };
        let mut command = Command::new(program);
        if let Some(bundle) = setup.ca_bundle {
            command.env("AWS_CA_BUNDLE", bundle).env("NODE_EXTRA_CA_CERTS", bundle);
        }
        let run = command
            .args(arguments)
            .env("ENDPOINT", &endpoint)
            .env("AWS_ENDPOINT_URL_KMS", &endpoint)
            .env("AWS_ACCESS_KEY_ID", DEPLOY)
            .env("AWS_SECRET_ACCESS_KEY", setup.secret)
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            // Nothing of whoever runs the tests.
            .env("AWS_CONFIG_FILE", "/nonexistent")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
            .env("AWS_MAX_ATTEMPTS", setup.attempts.to_string())
            .env("MAX_ATTEMPTS", setup.attempts.to_string())
            .env("CALLS", setup.calls.to_string())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let ran = tokio::time::timeout(BOUND, run).await.unwrap().unwrap();
        let (stdout, stderr) = (String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap());
        match self {
            // "An error occurred (NAME) when calling the OPERATION operation: MESSAGE"
            Self::Cli => match stderr.split_once("An error occurred (") {
                Some((_, told)) => {
                    let (name, message) = told.split_once(')').unwrap();
                    Outcome(json!({ "exception": name, "modelled": true, "message": message }))
                }
                None if ran.status.success() => {
                    let answer = if stdout.trim().is_empty() { "{}" } else { &stdout };
                    Outcome(json!({ "answer": serde_json::from_str::<Value>(answer).unwrap() }))
                }
                None => Outcome(json!({ "failed": stderr })),
            },
            Self::Boto3 | Self::JavaScript => {
                let told = serde_json::from_str(&stdout);
                Outcome(told.unwrap_or_else(|error| panic!("{self:?}: {error}: {stdout}{stderr}")))
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_catches_the_exception_of_a_bad_candidate_and_sees_a_good_one_through() {
    let Some(python) = python() else { return };
    for tool in TOOLS {
        let stage = Stage::new("drop-in-client").await;
        let daemon = Daemon::start(&stage, None).await;
        let parameters = json!({ "CustomKeyStoreId": stage.key_store, "XksProxyUriEndpoint": NEW });
        let call = |setup, operation, parameters: Value| {
            let (python, daemon) = (&python, &daemon);
            async move { tool.call(python, daemon, setup, operation, &parameters).await }
        };
        stage.new.set_fault(expired()).await;
        let bad = call(RIGHT, "UpdateCustomKeyStore", parameters.clone()).await;
        assert_eq!(bad.exception(), Some("XksProxyUriUnreachableException"), "{tool:?}: {bad:?}");
        assert_eq!(bad.0["modelled"], true, "{tool:?}: {bad:?}");
        assert!(bad.0["message"].as_str().unwrap().contains("/v1/preflights/"), "{tool:?}: {bad:?}");
        let wrong = Setup { secret: "KmsEndpointSecretDoNotLeak0123456789abce", ..RIGHT };
        let wrong = call(wrong, "UpdateCustomKeyStore", parameters.clone()).await;
        assert_eq!(wrong.exception(), Some("InvalidSignatureException"), "{tool:?}: {wrong:?}");
        let unknown = call(RIGHT, "ListAliases", json!({})).await;
        assert_eq!(unknown.exception(), Some("AccessDeniedException"), "{tool:?}: {unknown:?}");
        for (skew, words) in [(-600, "Signature expired: "), (600, "Signature not yet current: ")] {
            let off = Setup { skew, attempts: 1, ..RIGHT };
            let off = call(off, "UpdateCustomKeyStore", parameters.clone()).await;
            assert_eq!(off.exception(), Some("InvalidSignatureException"), "{tool:?}: {off:?}");
            assert!(off.0["message"].as_str().unwrap().contains(words), "{tool:?}: {off:?}");
        }
        assert!(stage.mutating_calls().is_empty(), "{tool:?}: {:?}", stage.mutating_calls());
        stage.new.set_fault(None).await;
        let good = call(RIGHT, "UpdateCustomKeyStore", parameters).await;
        assert_eq!(good.0["answer"], json!({}), "{tool:?}: {good:?}");
        assert_eq!(stage.mutating_calls(), COLD, "{tool:?}");
        assert_eq!(stage.shown(), (NEW.to_owned(), ConnectionState::Connected), "{tool:?}");
        let seen = call(RIGHT, "DescribeCustomKeyStores", json!({ "CustomKeyStoreId": stage.key_store })).await;
        let endpoint = &seen.0["answer"]["CustomKeyStores"][0]["XksProxyConfiguration"]["UriEndpoint"];
        assert_eq!(endpoint, NEW, "{tool:?}: {seen:?}");
        daemon.terminate().await;
    }
}

/// The SDK for JavaScript corrects its clock by the `Date` of the refusal: a gate that sends one heals it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_clock_is_off_corrects_it_by_the_answer() {
    let Some(python) = python() else { return };
    let stage = Stage::new("drop-in-skew").await;
    let daemon = Daemon::start(&stage, None).await;
    let late = Setup { skew: -600, ..RIGHT };
    let told = Tool::JavaScript.call(&python, &daemon, late, "DescribeCustomKeyStores", &json!({})).await;
    assert_eq!(told.0["answer"]["CustomKeyStores"].as_array().map(Vec::len), Some(1), "{told:?}");
    assert_eq!(told.0["attempts"], 2, "{told:?}");
    daemon.terminate().await;
}

/// What a client cannot verify, it sends nothing to; with the authority that it needs, the same endpoint serves it.
#[tokio::test(flavor = "multi_thread")]
async fn each_verifies_the_certificate_of_the_endpoint() {
    let Some(python) = python() else { return };
    let stage = Stage::new("drop-in-tls").await;
    let authority = stage.listening_with_tls("localhost");
    let stranger = stage.directory.join("stranger.pem");
    std::fs::write(&stranger, Pki::new(wall_clock()()).unwrap().root_pem()).unwrap();
    let daemon = Daemon::start(&stage, None).await;
    let store = json!({ "CustomKeyStoreId": stage.key_store });
    for tool in TOOLS {
        let describe = |setup| tool.call(&python, &daemon, setup, "DescribeCustomKeyStores", &store);
        let secure = Setup { scheme: "https", attempts: 1, ..RIGHT };
        let told = describe(Setup { ca_bundle: Some(&authority), ..secure }).await;
        assert_eq!(told.0["answer"]["CustomKeyStores"].as_array().map(Vec::len), Some(1), "{tool:?}: {told:?}");
        let foreign = describe(Setup { ca_bundle: Some(&stranger), ..secure }).await;
        let words = foreign.0["failed"].as_str().unwrap_or_default().to_ascii_lowercase();
        assert!(words.contains("certificate"), "{tool:?}: {foreign:?}");
        let plain = describe(Setup { attempts: 1, ..RIGHT }).await;
        assert!(plain.0["failed"].is_string(), "{tool:?}: {plain:?}");
    }
    // And a whole update, the whole way.
    let secure = Setup { scheme: "https", ca_bundle: Some(&authority), ..RIGHT };
    let parameters = json!({ "CustomKeyStoreId": stage.key_store, "XksProxyUriEndpoint": NEW });
    let good = Tool::Boto3.call(&python, &daemon, secure, "UpdateCustomKeyStore", &parameters).await;
    assert_eq!(good.0["answer"], json!({}), "{good:?}");
    assert_eq!(stage.mutating_calls(), COLD);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_waits_and_asks_again_when_it_is_throttled() {
    let Some(python) = python() else { return };
    let stage = Stage::new("drop-in-throttled").await;
    stage.limited("requests_per_second = 1\nburst = 1");
    let daemon = Daemon::start(&stage, None).await;
    let all = json!({});
    for tool in [Tool::Boto3, Tool::JavaScript] {
        let describe = |setup| tool.call(&python, &daemon, setup, "DescribeCustomKeyStores", &all);
        let hasty = describe(Setup { attempts: 1, calls: 20, ..RIGHT }).await;
        assert_eq!(hasty.exception(), Some("ThrottlingException"), "{tool:?}: {hasty:?}");
        assert_eq!(hasty.0["status"], 400, "{tool:?}: {hasty:?}");
        let patient = describe(Setup { attempts: 10, calls: 3, ..RIGHT }).await;
        assert!(patient.0["answer"].is_object(), "{tool:?}: {patient:?}");
        assert!(patient.0["attempts"].as_u64() > Some(3), "{tool:?}: {patient:?}");
    }
    daemon.terminate().await;
}
