//! Where credentials come from, through the real daemon: files that are swapped, programs, and AWS Secrets Manager as
//! moto answers for it. What is new at a source is probed before it is used.

use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use xks_preflight::sandbox::kms::ConnectionState;

use crate::daemon::stage::{BOUND, Daemon, NEW, Stage, until};
use crate::peers::{ACCESS_KEY_ID, PATH, SECRET, output_directory};

const NEXT_ID: &str = "SANDBOXSECONDACCESSKEYID";
const OTHER: &str = "TestSecretDoNotLeakOtherone0123456789abcdefghij";
/// What is said of a secret that the proxy accepts and KMS was not told.
const UNTOLD: &str =
    "source changed, accepted by the proxy, KMS not told: rotate with update apply --credential-source proxy";
/// A monitor and a custodian that hurry.
const HURRY: &str = "[monitor]\ninterval = \"1s\"\n";

fn console(secret: &str) -> String {
    json!({
        "XksProxyUriPath": PATH,
        "XksProxyAuthenticationCredential": { "AccessKeyId": ACCESS_KEY_ID, "RawSecretAccessKey": secret },
    })
    .to_string()
}

fn halves(id: &str, secret: &str) -> String {
    json!({ "AccessKeyId": id, "RawSecretAccessKey": secret }).to_string()
}

/// What the daemon tells of the stage's key store.
async fn shown(daemon: &Daemon, stage: &Stage) -> Value {
    daemon.call("GET", &format!("/v1/key-stores/{}", stage.key_store), None).await.json()
}

async fn until_credential(daemon: &Daemon, stage: &Stage, expected: &str, detail: &str) {
    let as_expected = async || {
        let credential = &shown(daemon, stage).await["credential"];
        credential["state"] == expected && credential["detail"].as_str().unwrap_or_default().contains(detail)
    };
    until(BOUND, &format!("the credential is {expected}: {detail}"), &as_expected).await;
}

/// Until a probe that began after now has this verdict.
async fn until_probed(daemon: &Daemon, stage: &Stage, verdict: &str) {
    let before = shown(daemon, stage).await["latest"]["report"].clone();
    let probed = async || {
        let latest = &shown(daemon, stage).await["latest"];
        latest["report"] != before && latest["verdict"] == verdict
    };
    until(BOUND, &format!("a probe is {verdict}"), &probed).await;
}

async fn metric(daemon: &Daemon, name: &str) -> Option<String> {
    let metrics = daemon.call("GET", "/metrics", None).await.body;
    let line = metrics.lines().find(|line| line.starts_with(&format!("xks_preflight_{name}{{")));
    line.and_then(|line| line.rsplit_once(' ')).map(|(_, value)| value.to_owned())
}

/// As Kubernetes does it: the files of a Secret are links to `..data/`, a link to a directory that another one replaces.
fn mounted(stage: &Stage, generation: &str, secret: &str) {
    let mount = stage.directory.join("mount.secret");
    std::fs::create_dir_all(mount.join(generation)).unwrap();
    stage.with_secret(&format!("mount.secret/{generation}/main.secret.json"), &console(secret));
    let link = mount.join("..data_tmp");
    std::os::unix::fs::symlink(generation, &link).unwrap();
    std::fs::rename(link, mount.join("..data")).unwrap();
    let file = mount.join("main.secret.json");
    if !file.is_symlink() {
        std::os::unix::fs::symlink("..data/main.secret.json", file).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_swapped_is_not_what_kms_has_whatever_the_proxy_accepts() {
    let stage = Stage::new("secrets-file").await;
    mounted(&stage, "..1", SECRET);
    stage.configured_with(HURRY);
    stage.reconfigured("\"proxy.secret.json\"", "\"mount.secret/main.secret.json\"\nrefresh = \"1s\"");
    let daemon = Daemon::start(&stage, None).await;
    until_probed(&daemon, &stage, "ready").await;
    until_credential(&daemon, &stage, "accepted", "accepted").await;
    let set = metric(&daemon, "credential_set_timestamp_seconds").await;
    assert_eq!(metric(&daemon, "credential_pending_timestamp_seconds").await, None);
    // Another one at the source, which the proxy does not know: the former one goes on being used.
    mounted(&stage, "..2", OTHER);
    let problem = format!("source changed, not accepted yet: {}: the proxy refuses its signature", stage.key_store);
    until_credential(&daemon, &stage, "pending", &problem).await;
    until_probed(&daemon, &stage, "ready").await;
    assert!(metric(&daemon, "credential_pending_timestamp_seconds").await.is_some());
    let page = daemon.call("GET", &format!("/key-stores/{}", stage.key_store), None).await;
    assert!(page.body.contains("ource changed, not accepted yet"), "{}: {}", page.status, page.body);
    // The proxy takes it over and refuses the former one, which KMS goes on signing with: that is what is told.
    stage.old.add_credential(ACCESS_KEY_ID, OTHER.to_owned());
    until_credential(&daemon, &stage, "pending", UNTOLD).await;
    until_probed(&daemon, &stage, "blocked").await;
    assert_eq!(metric(&daemon, "credential_set_timestamp_seconds").await, set, "KMS has learnt nothing");
    assert!(metric(&daemon, "credential_pending_timestamp_seconds").await.is_some());
    let page = daemon.call("GET", &format!("/key-stores/{}", stage.key_store), None).await;
    assert!(page.body.contains(&UNTOLD[1..]), "{}: {}", page.status, page.body);
    // A file that is no good changes nothing.
    mounted(&stage, "..3", "DoNotLeak");
    until_credential(&daemon, &stage, "unread", "RawSecretAccessKey must be 43 to 64").await;
    assert_eq!(metric(&daemon, "credential_source_read").await.as_deref(), Some("0"));
    until_probed(&daemon, &stage, "blocked").await;
    daemon.terminate().await;
}

/// KMS shows no secrets: only an update of ours tells which one it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_changes_under_its_access_key_id_is_used_when_an_update_has_told_kms() {
    let stage = Stage::new("secrets-same-id").await;
    mounted(&stage, "..1", SECRET);
    stage.configured_with(HURRY);
    stage.reconfigured("\"proxy.secret.json\"", "\"mount.secret/main.secret.json\"\nrefresh = \"1s\"");
    let daemon = Daemon::start(&stage, None).await;
    until_probed(&daemon, &stage, "ready").await;
    stage.old.add_credential(ACCESS_KEY_ID, OTHER.to_owned());
    mounted(&stage, "..2", OTHER);
    until_credential(&daemon, &stage, "pending", UNTOLD).await;
    // A proxy that knows the new secret alone: KMS, which has the former one, could not use it.
    stage.new.add_credential(ACCESS_KEY_ID, OTHER.to_owned());
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    let ended = daemon.follow(&id).await;
    assert_eq!(ended["status"], "blocked", "{ended:#}");
    assert!(stage.mutating_calls().is_empty(), "{:?}", stage.mutating_calls());
    let id = daemon.submit(&stage, json!({ "XksProxyAuthenticationCredential": { "Source": "proxy" } })).await;
    let ended = daemon.follow(&id).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    until_credential(&daemon, &stage, "accepted", "accepted").await;
    until_probed(&daemon, &stage, "ready").await;
    until(BOUND, "it is used everywhere", || async { daemon.has_told("another credential is accepted and used") })
        .await;
    // From now on a change of the endpoint alone means the new one.
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    let ended = daemon.follow(&id).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    daemon.terminate().await;
}

/// Nobody sees which secret KMS has; the journal knows which one it was told, and a source may change while nobody looks.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_changed_while_the_daemon_was_down_is_not_taken_for_what_kms_has() {
    let stage = Stage::new("secrets-down").await;
    stage.configured_with(HURRY);
    stage.reconfigured("\"proxy.secret.json\"", "\"proxy.secret.json\"\nrefresh = \"1s\"");
    let daemon = Daemon::start(&stage, None).await;
    until_probed(&daemon, &stage, "ready").await;
    stage.old.add_credential(ACCESS_KEY_ID, OTHER.to_owned());
    stage.with_secret("proxy.secret.json", &console(OTHER));
    until_credential(&daemon, &stage, "pending", UNTOLD).await;
    let id = daemon.submit(&stage, json!({ "XksProxyAuthenticationCredential": { "Source": "proxy" } })).await;
    assert_eq!(daemon.follow(&id).await["status"], "verified");
    until_credential(&daemon, &stage, "accepted", "accepted").await;
    daemon.terminate().await;

    // The source goes back to the former one, and so does the proxy: KMS cannot use it any more, whatever we would find.
    stage.with_secret("proxy.secret.json", &console(SECRET));
    stage.old.add_credential(ACCESS_KEY_ID, SECRET.to_owned());
    let daemon = Daemon::start(&stage, None).await;
    until_credential(&daemon, &stage, "pending", "KMS was told another secret under this access key id").await;
    let told = async || shown(&daemon, &stage).await;
    until(BOUND, "it is not probed", || async { told().await["not_probed"].is_string() }).await;
    let store = told().await;
    assert!(store["not_probed"].as_str().unwrap().contains("KMS was told another secret"), "{store:#}");
    assert_eq!(store["latest"], Value::Null, "{store:#}");
    assert!(metric(&daemon, "credential_pending_timestamp_seconds").await.is_some());
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    assert_eq!(daemon.follow(&id).await["status"], "blocked");
    // An update that names it tells KMS, and then it is what KMS has.
    let id = daemon.submit(&stage, json!({ "XksProxyAuthenticationCredential": { "Source": "proxy" } })).await;
    let ended = daemon.follow(&id).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    until_credential(&daemon, &stage, "accepted", "accepted").await;
    until_probed(&daemon, &stage, "ready").await;
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_of_another_access_key_id_is_accepted_and_then_rotated_to() {
    let stage = Stage::new("secrets-rotated").await;
    stage.with_secret("printed.secret", &halves(ACCESS_KEY_ID, SECRET));
    let file = stage.directory.join("printed.secret");
    let exec = format!("exec = [\"/bin/cat\", \"{}\"]\nrefresh = \"1s\"", file.display());
    stage.reconfigured("console_file = \"proxy.secret.json\"", &exec);
    stage.configured_with(&format!(
        "{HURRY}[update.rotation]\npropagation_wait = \"1s\"\nleast_propagation_wait = \"1s\"\nwatch_interval = \"100ms\"\n"
    ));
    let daemon = Daemon::start(&stage, None).await;
    until_probed(&daemon, &stage, "ready").await;
    for proxy in [&stage.old, &stage.new] {
        proxy.add_credential(NEXT_ID, OTHER.to_owned());
    }
    stage.with_secret("printed.secret", &halves(NEXT_ID, OTHER));
    until(BOUND, "it is accepted", || async { daemon.has_told("another credential is accepted and used") }).await;
    until_probed(&daemon, &stage, "ready").await;
    // The former one, which KMS has, is held for whatever leaves it as it is.
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    let ended = daemon.follow(&id).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    // And for the proof that the proxy refuses it in the end.
    let request = json!({
        "CustomKeyStoreId": stage.key_store,
        "XksProxyAuthenticationCredential": { "Source": "proxy" },
        "options": { "rotate": true },
    });
    let answer = daemon.call("POST", "/v1/updates", Some(&request)).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    until(BOUND, "await_removal", || async {
        daemon.call("GET", &format!("/v1/updates/{id}"), None).await.json()["step"] == "await_removal"
    })
    .await;
    assert!(stage.new.remove_credential(ACCESS_KEY_ID));
    daemon.call("POST", &format!("/v1/updates/{id}/removed"), None).await;
    let ended = daemon.follow(&id).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    until_probed(&daemon, &stage, "ready").await;
    daemon.terminate().await;
}

/// The secret of the plan is sent although its source shows another one since.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_never_uses_what_came_to_its_source_after_it_was_planned() {
    let stage = Stage::new("secrets-planned").await;
    let planned = "TestSecretDoNotLeakPlanned0123456789abcdefghijk";
    stage.new.add_credential(NEXT_ID, planned.to_owned());
    stage.with_secret("next.secret", &halves(NEXT_ID, planned));
    let file = stage.directory.join("next.secret");
    stage.configured_with(&format!(
        "[credentials.next]\nexec = [\"/bin/cat\", \"{}\"]\nrefresh = \"1s\"\n",
        file.display()
    ));
    stage.kms.set_delays(Duration::from_millis(100), Duration::from_secs(5));
    let daemon = Daemon::start(&stage, None).await;
    let change = json!({ "XksProxyUriEndpoint": NEW, "XksProxyAuthenticationCredential": { "Source": "next" } });
    let id = daemon.submit(&stage, change).await;
    until(BOUND, "DISCONNECTING", || async { stage.shown().1 == ConnectionState::Disconnecting }).await;
    stage.with_secret("next.secret", &halves(NEXT_ID, OTHER));
    // It is no key store's own, so that nobody has to accept it first; which of the two KMS has is another matter.
    until(BOUND, "the other one is seen", || async {
        daemon.has_told("another secret under the same access key id is accepted")
    })
    .await;
    assert_eq!(stage.mutations(), ["DisconnectCustomKeyStore"], "the secret is not sent yet");
    let ended = daemon.follow(&id).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_prints_the_credential_and_what_it_says_besides_is_not_told() {
    let stage = Stage::new("secrets-exec").await;
    stage.with_secret("printed.secret", &console(SECRET));
    let file = stage.directory.join("printed.secret");
    stage.with_secret("noise.secret", "DoNotLeakOnStandardError");
    let script = format!("cat {} >&2; cat {}", stage.directory.join("noise.secret").display(), file.display());
    stage.configured_with(HURRY);
    let exec = format!("exec = [\"/bin/sh\", \"-c\", \"{script}\"]\nrefresh = \"1s\"");
    stage.reconfigured("console_file = \"proxy.secret.json\"", &exec);
    let daemon = Daemon::start(&stage, None).await;
    until_probed(&daemon, &stage, "ready").await;
    std::fs::remove_file(&file).unwrap();
    until_credential(&daemon, &stage, "unread", "exit code 1").await;
    until_probed(&daemon, &stage, "ready").await;
    stage.with_secret("printed.secret", &format!("[\"{SECRET}\"]"));
    until_credential(&daemon, &stage, "unread", "what the program prints is no credential").await;
    stage.with_secret("printed.secret", &halves(ACCESS_KEY_ID, SECRET));
    until_credential(&daemon, &stage, "accepted", "").await;
    assert!(!daemon.has_told("DoNotLeak"), "its standard error is not read");
    daemon.terminate().await;
}

/// The server, ended when dropped.
struct Moto(Child);

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One call of boto3: `client` is that of Secrets Manager, `text` the last argument.
async fn arrange(python: &std::ffi::OsStr, url: &str, call: &str, text: &str) -> String {
    let program = format!(
        "import sys, boto3\nclient = boto3.client('secretsmanager', endpoint_url=sys.argv[1], region_name='us-east-1', \
         aws_access_key_id='moto', aws_secret_access_key='moto')\ntext = sys.stdin.read()\nprint({call})"
    );
    let mut command = tokio::process::Command::new(python);
    command.args(["-c", &program, url]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut input, text.as_bytes()).await.unwrap();
    drop(input);
    let arranged = child.wait_with_output().await.unwrap();
    assert!(arranged.status.success(), "{}", String::from_utf8_lossy(&arranged.stderr));
    String::from_utf8(arranged.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_manager_is_read_stage_by_stage() {
    let Some(python) = std::env::var_os("XKS_TEST_PYTHON") else {
        assert!(std::env::var_os("XKS_TEST_OUTPUT").is_none(), "tests/run sets XKS_TEST_PYTHON");
        return;
    };
    // The port is free now and moto takes it at once.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    // moto's own log names the requests; the secrets of this test are in it.
    let log = std::fs::File::create(output_directory("moto-secrets").join("moto.secret.log")).unwrap();
    let moto = std::process::Command::new(&python)
        .args(["-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", &port.to_string()])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn();
    let _moto = Moto(moto.unwrap());
    until(BOUND, "moto listens", || async { tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() }).await;
    let create = "client.create_secret(Name='xks-preflight/main', SecretString=text)['VersionId']";
    let first = arrange(&python, &url, create, &console(SECRET)).await;

    let stage = Stage::new("secrets-aws").await;
    stage.configured_with(HURRY);
    let kept = |name: &str, more: &str| {
        format!(
            "[credentials.{name}]\nrefresh = \"1s\"\n[credentials.{name}.secrets_manager]\nsecret_id = \"xks-preflight/main\"\n\
             endpoint_url = \"{url}\"\n{more}"
        )
    };
    stage.reconfigured("[credentials.proxy]\nconsole_file = \"proxy.secret.json\"", &kept("proxy", ""));
    stage.configured_with(&kept("pending", "stage = \"AWSPENDING\"\n"));
    let daemon = Daemon::start(&stage, None).await;
    until_probed(&daemon, &stage, "ready").await;
    assert!(daemon.has_told("no value at stage AWSPENDING"), "the other credential has none yet");
    // A rotation puts the next version at AWSPENDING. What is AWSCURRENT stays, and is used.
    let put = "client.put_secret_value(SecretId='xks-preflight/main', SecretString=text, VersionStages=['AWSPENDING'])['VersionId']";
    let second = arrange(&python, &url, put, &halves(ACCESS_KEY_ID, OTHER)).await;
    until(BOUND, "AWSPENDING is read", || async {
        daemon.has_told("source of a credential is read credential=\"pending\"")
    })
    .await;
    until_credential(&daemon, &stage, "accepted", "accepted").await;
    // It becomes AWSCURRENT; the proxy does not know it yet, and then it does.
    let moved = format!(
        "client.update_secret_version_stage(SecretId='xks-preflight/main', VersionStage='AWSCURRENT', \
         MoveToVersionId='{second}', RemoveFromVersionId='{first}')['Name']"
    );
    arrange(&python, &url, &moved, "").await;
    until_credential(&daemon, &stage, "pending", "the proxy refuses its signature").await;
    until_probed(&daemon, &stage, "ready").await;
    stage.old.add_credential(ACCESS_KEY_ID, OTHER.to_owned());
    until_credential(&daemon, &stage, "pending", UNTOLD).await;
    until_probed(&daemon, &stage, "blocked").await;
    // Other shapes say what is missing, and nothing of what is there.
    let delete = "client.delete_secret(SecretId='xks-preflight/main', ForceDeleteWithoutRecovery=True)['Name']";
    // Made anew each time: moto does not move AWSCURRENT any more once it was moved by hand.
    for (text, told) in [
        (json!({ "AccessKeyId": ACCESS_KEY_ID, "password": "DoNotLeak" }).to_string(), "RawSecretAccessKey is missing"),
        (
            json!({ "AccessKeyId": "DoNotLeak", "RawSecretAccessKey": OTHER }).to_string(),
            "AccessKeyId must be 20 to 30",
        ),
        ("DoNotLeak".to_owned(), "is not JSON"),
    ] {
        arrange(&python, &url, delete, "").await;
        arrange(&python, &url, create, &text).await;
        until_credential(&daemon, &stage, "unread", told).await;
    }
    arrange(&python, &url, delete, "").await;
    until_credential(&daemon, &stage, "unread", "knows no secret xks-preflight/main").await;
    until_probed(&daemon, &stage, "blocked").await;
    assert!(!daemon.has_told("DoNotLeak"));
    daemon.terminate().await;
}
