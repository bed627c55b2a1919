//! The other tools, each run as its own documentation says, with the sandbox's root and address.

mod blackbox;
mod sslyze;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::Instant;

use super::words;
use crate::matrix::{Row, Stage};
use crate::peers::{ACCESS_KEY_ID, HOST, SECRET};

/// A tool that says nothing for so long hangs, and is ended: its user would not wait, so
/// it has detected something.
const SILENCE: Duration = Duration::from_secs(15);

/// The longest that a tool may take: AWS's client sends 35 requests one after another, and some answers take 10 s.
const PATIENCE: Duration = Duration::from_mins(8);

/// The most of a tool's output that is kept.
const KEPT: usize = 1 << 20;

/// Body of a GetHealthStatus request.
const HEALTH: &str =
    r#"{"requestMetadata":{"kmsOperation":"KmsHealthCheck","kmsRequestId":"4b1e7d3c-1111-4222-8333-944455556666"}}"#;

/// The recipe for curl: KMS's suites, version of HTTP and time limit, and what jq can say of the answer.
const CURL: &str = r#"set -o pipefail
curl --silent --show-error --fail-with-body --dump-header /dev/stderr --max-time 0.25 --ipv4 --http1.1 --tlsv1.2 \
  --tls13-ciphers TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256 \
  --ciphers ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES256-GCM-SHA384 \
  --aws-sigv4 aws:amz:us-east-1:kms-xks-proxy --user "$ID:$SECRET" \
  --header 'Content-Type: application/json' --data-binary "$BODY" $LAB "https://$HOST$URI/health" |
  tee /dev/stderr | jq --slurp --exit-status \
  '.[0] | .xksProxyFleetSize > 0 and any(.ekmFleetDetails[]; .healthStatus != "UNAVAILABLE")'"#;

/// What a tool said of a proxy.
pub(super) struct Said {
    /// It says that all is well.
    pub(super) content: bool,
    /// It names the cause that the matrix expects.
    pub(super) right_reason: bool,
    pub(super) output: String,
}

pub(super) enum Tool {
    /// Ourselves, for the same rows.
    Preflight,
    /// aws-samples/aws-kms-xksproxy-test-client, when its directory was given.
    AwsClient {
        directory: Option<PathBuf>,
        version: String,
    },
    Curl {
        version: String,
    },
    Blackbox {
        version: String,
    },
    Sslyze {
        python: PathBuf,
        version: String,
    },
}

/// Every tool that `tests/compare` has prepared.
pub(super) async fn all() -> Vec<Tool> {
    let directory = std::env::var_os("XKS_TEST_CLIENT").filter(|path| !path.is_empty()).map(PathBuf::from);
    let python = PathBuf::from(std::env::var_os("XKS_TEST_PYTHON").unwrap());
    // "Version 1.1.0.  Sample usages:"
    let client = match &directory {
        Some(directory) => first_line(Command::new("./test-xks-proxy").arg("-h").current_dir(directory)).await,
        None => String::new(),
    };
    let curl = first_line(Command::new("curl").arg("--version")).await;
    let jq = first_line(Command::new("jq").arg("--version")).await;
    let blackbox = first_line(Command::new(blackbox::PROGRAM).arg("--version")).await;
    let print = "import importlib.metadata as m; print('sslyze', m.version('sslyze'))";
    let sslyze = first_line(Command::new(&python).args(["-c", print])).await;
    let short = |text: &str| text.split(" (").next().unwrap_or_default().to_owned();
    let client = client.split(".  ").next().unwrap_or_default().to_lowercase();
    vec![
        Tool::Preflight,
        Tool::AwsClient { directory, version: client },
        Tool::Curl { version: format!("{}, {jq}", short(&curl)) },
        Tool::Blackbox { version: short(&blackbox).replace(',', "") },
        Tool::Sslyze { python, version: sslyze },
    ]
}

async fn first_line(command: &mut Command) -> String {
    let output = command.output().await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

impl Tool {
    /// Every name, in the order of [`all`].
    pub(super) const NAMES: [&str; 5] =
        ["xks-preflight check", "AWS's test client", "curl --aws-sigv4", "blackbox_exporter", "sslyze"];

    pub(super) fn name(&self) -> &'static str {
        Self::NAMES[match self {
            Self::Preflight => 0,
            Self::AwsClient { .. } => 1,
            Self::Curl { .. } => 2,
            Self::Blackbox { .. } => 3,
            Self::Sslyze { .. } => 4,
        }]
    }

    /// Version and how it was run, as a sentence without its full stop.
    pub(super) fn about(&self) -> String {
        match self {
            Self::Preflight => {
                let version = env!("CARGO_PKG_VERSION");
                format!(
                    "{version}, `--samples 2` and the arguments that the row has in the matrix; content is exit code \
                     0, the right reason is verdict, check, problem and KMS outcome as the matrix has them"
                )
            }
            Self::AwsClient { directory: None, .. } => {
                "not run: `git clone https://github.com/aws-samples/aws-kms-xksproxy-test-client` and give its \
                 directory as `XKS_TEST_CLIENT`"
                    .to_owned()
            }
            Self::AwsClient { version, .. } => format!(
                "{version}, `./test-xks-proxy` with `SECURE=\"--show-error --cacert ... --resolve ...\"`, no time limit \
                 as it has none; content is \"All ... tests PASSED\", reasons are sought in the tests that FAILED"
            ),
            Self::Curl { version } => format!(
                "{version}: a signed GetHealthStatus with KMS's suites, HTTP/1.1 and `--max-time 0.25`, its answer \
                 judged by `jq -e` (fleet size above 0, a key manager that is not UNAVAILABLE); content is exit code 0"
            ),
            Self::Blackbox { version } => format!(
                "{version}: POST of the health body, 250 ms; it cannot sign, so what it must get is 401 with \
                 AuthenticationFailedException; content is `probe_success 1`, reasons are those of its debug log"
            ),
            Self::Sslyze { version, .. } => format!(
                "{version}: `--certinfo` with the root, `--tlsv1_2 --tlsv1_3`; content is a chain that verifies for \
                 the host, a suite of KMS's four, no client certificate demanded, no scan failed. Met with rows of \
                 connection and TLS only. It and blackbox_exporter look up names themselves and take one address, so \
                 they were not run on names with two"
            ),
        }
    }

    /// Whether the tool can be run on the row, and the row is what the tool is for.
    pub(super) fn has_subject(&self, row: &Row) -> bool {
        let second = matches!(row.how, crate::matrix::How::SecondAddress);
        match self {
            Self::AwsClient { directory, .. } => directory.is_some(),
            Self::Sslyze { .. } => super::is_about_tls(row) && !second,
            Self::Blackbox { .. } => !second,
            Self::Preflight | Self::Curl { .. } => true,
        }
    }

    /// Lets the tool judge the stage's proxies, which misbehave as the row says.
    pub(super) async fn probe(&self, stage: &Stage, row: Option<&Row>) -> Said {
        let ca = stage.directory.join("ca.pem");
        // As if the name had these addresses, and 443 led to the sandbox's port.
        let port = stage.proxies[0].address().port();
        let addresses: Vec<String> = stage.proxies.iter().map(|proxy| proxy.address().ip().to_string()).collect();
        let resolve = format!("--connect-to {HOST}:443:{HOST}:{port} --resolve {HOST}:{port}:{}", addresses.join(","));
        let lab = format!("--cacert {} {resolve}", ca.display());
        let mut shell = Command::new("bash");
        shell.arg("-c").env("LC_ALL", "C.UTF-8");
        let (content, output) = match self {
            Self::Preflight => {
                let seen = stage.check(row.map_or(&[], |row| row.arguments)).await;
                let right_reason = row.is_some_and(|row| row.expected.compare(&seen).is_ok());
                return Said { content: seen.exit == Some(0), right_reason, output: seen.report.to_string() };
            }
            // Left out of the tables by `has_subject`; what is not run has nothing to say of a healthy proxy either.
            Self::AwsClient { directory: None, .. } => (true, String::new()),
            Self::AwsClient { directory: Some(directory), .. } => {
                // It keeps in memory whatever it is sent.
                shell
                    .arg("ulimit -v 4194304; exec ./test-xks-proxy 2>&1")
                    .current_dir(directory)
                    .env("XKS_PROXY_HOST", HOST)
                    .env("URI_PREFIX", "example")
                    .env("SIGV4_ACCESS_KEY_ID", ACCESS_KEY_ID)
                    .env("SIGV4_SECRET_ACCESS_KEY", SECRET)
                    .env("ANSI_ESCAPE", "0")
                    .env("SECURE", format!("--show-error {lab}"));
                let (_, output) = run(shell, SILENCE).await;
                let ended = output.lines().rev().find(|line| !line.is_empty()).unwrap_or_default();
                let content = ended.contains("All ") && ended.contains(" tests PASSED");
                (content, if content { output } else { failed_tests(&output) })
            }
            Self::Curl { .. } => {
                shell
                    .arg(format!("exec 2>&1; {CURL}"))
                    .env("ID", ACCESS_KEY_ID)
                    .env("SECRET", SECRET)
                    .env("BODY", HEALTH)
                    .env("LAB", &lab)
                    .env("HOST", HOST)
                    .env("URI", crate::peers::PATH);
                run(shell, SILENCE).await
            }
            Self::Blackbox { .. } => blackbox::probe(stage).await,
            Self::Sslyze { python, .. } => sslyze::probe(stage, python).await,
        };
        let told = output.to_lowercase();
        let problem = row.and_then(|row| row.expected.finding()).map(|(_, problem)| problem);
        let named = problem.is_some_and(|problem| words::of(problem).iter().any(|word| told.contains(word)));
        Said { content, right_reason: named && !content, output }
    }
}

/// Of the output of AWS's client the tests that failed, without the requests that they sent.
fn failed_tests(output: &str) -> String {
    let mut failed = String::new();
    for test in output.split("Request body ...\n").skip(1) {
        let end = test.find("\n=> Test ").map_or(test.len(), |at| at + 1);
        let end = test[end..].find('\n').map_or(test.len(), |line| end + line);
        let test = &test[..end];
        // jq ends what it prints with a brace of its own line.
        let answer = test.find("\n}\n").map_or(test, |at| &test[at + 3..]);
        if !test.contains(" PASSED with expected response") {
            failed.push_str(answer.trim());
            failed.push('\n');
        }
    }
    failed
}

/// Runs a tool; whether it exited with 0, and the beginning of its standard output.
async fn run(mut command: Command, silence: Duration) -> (bool, String) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let group = child.id().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut output, mut piece) = (Vec::new(), vec![0; 1 << 16]);
    let end = Instant::now() + PATIENCE;
    let ended = loop {
        let wait = end.min(Instant::now() + silence);
        match tokio::time::timeout_at(wait, stdout.read(&mut piece)).await {
            Ok(Ok(0) | Err(_)) => break true,
            Ok(Ok(length)) => {
                output.extend(&piece[..length]);
                // The last lines matter as much as the first.
                if output.len() > 2 * KEPT {
                    output.drain(KEPT / 2..output.len() - KEPT / 2);
                }
            }
            Err(_) => break false,
        }
    };
    if !ended {
        // With whatever it has started.
        let mut kill = Command::new("kill");
        kill.args(["-KILL", "--", &format!("-{group}")]).status().await.unwrap();
        output.extend(b"\n(It was ended: nothing came of it any more.)\n");
    }
    let success = child.wait().await.unwrap().success();
    (success && ended, String::from_utf8_lossy(&output).into_owned())
}
