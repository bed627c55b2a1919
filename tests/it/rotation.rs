//! Two addresses behind one name, two credentials, and the real daemon: from both accepted to the former one proven
//! refused, and every way in which that goes wrong.

mod command;

use std::path::PathBuf;

use serde_json::{Value, json};
use xks_preflight::sandbox::kms::ConnectionState;
use xks_preflight::sandbox::proxy::SandboxProxy;

use crate::daemon::stage::{BOUND, Daemon, OLD, Stage, until};
use crate::peers::ACCESS_KEY_ID as FORMER_ID;

const NEW_ID: &str = "SANDBOXSECONDACCESSKEYID";
const NEW_SECRET: &str = "TestSecretDoNotLeakSecond0123456789abcdefghijklm";

const UPDATE: &str = "UpdateCustomKeyStore";

/// Short enough for tests; the daemon takes it only because its KMS is simulated.
pub(crate) const QUICK: &str = "[update.rotation]\npropagation_wait = \"1s\"\nleast_propagation_wait = \"1s\"\n\
    watch_interval = \"100ms\"";
/// Long enough that nothing in a test ends by itself.
const PATIENT: &str = "[update.rotation]\nwatch_interval = \"100ms\"";

/// A key store whose proxy has two addresses, and a daemon.
pub(crate) struct Scene {
    stage: Stage,
    beside: SandboxProxy,
    pub(crate) daemon: Daemon,
}

impl Scene {
    /// Both addresses accept both credentials.
    pub(crate) async fn new(name: &str, rotation: &str) -> Self {
        let scene = Self::with_former_alone(name, rotation).await;
        for proxy in scene.proxies() {
            proxy.add_credential(NEW_ID, NEW_SECRET.to_owned());
        }
        scene
    }

    async fn with_former_alone(name: &str, rotation: &str) -> Self {
        let stage = Stage::new(name).await;
        let beside = stage.beside_the_old().await;
        stage.configured_with(rotation);
        let daemon = Daemon::start(&stage, None).await;
        Self { stage, beside, daemon }
    }

    fn proxies(&self) -> [&SandboxProxy; 2] {
        [&self.stage.old, &self.beside]
    }

    fn remove_everywhere(&self, access_key_id: &str) {
        for proxy in self.proxies() {
            assert!(proxy.remove_credential(access_key_id), "{access_key_id} was not there");
        }
    }

    fn request(&self) -> Value {
        json!({
            "CustomKeyStoreId": self.stage.key_store,
            "XksProxyAuthenticationCredential": { "AccessKeyId": NEW_ID, "RawSecretAccessKey": NEW_SECRET },
            "options": { "rotate": true },
        })
    }

    pub(crate) async fn submit(&self) -> String {
        let answer = self.daemon.call("POST", "/v1/updates", Some(&self.request())).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    async fn shown(&self, id: &str) -> Value {
        self.daemon.call("GET", &format!("/v1/updates/{id}"), None).await.json()
    }

    /// Waits for a step; the update as it is then.
    pub(crate) async fn at_step(&self, id: &str, step: &str) -> Value {
        until(BOUND, step, || async {
            let shown = self.shown(id).await;
            assert!(matches!(shown["status"].as_str(), Some("planned" | "preflighting" | "running")), "{shown:#}");
            shown["step"] == step
        })
        .await;
        self.shown(id).await
    }

    /// Waits until the latest look has told this of the former credential.
    async fn former_is(&self, id: &str, told: &str) {
        until(BOUND, told, || async { self.shown(id).await["rotation"]["former_credential"] == told }).await;
    }

    async fn order(&self, id: &str, name: &str) -> (u16, Value) {
        let answer = self.daemon.call("POST", &format!("/v1/updates/{id}/{name}"), None).await;
        (answer.status, answer.json())
    }

    /// SIGKILL, and a new process on the same journal.
    async fn killed_and_back(self) -> Self {
        let Self { stage, beside, daemon } = self;
        daemon.kill().await;
        let daemon = Daemon::start(&stage, None).await;
        Self { stage, beside, daemon }
    }

    /// Ends the daemon. The key store was connected all the time, KMS applied these updates and nothing else, and no secret
    /// is in any file that the daemon wrote.
    async fn leave(self, updates: usize) {
        self.daemon.terminate().await;
        assert_eq!(self.stage.mutations(), vec![UPDATE; updates]);
        assert_eq!(self.stage.mutating_calls(), vec![UPDATE; updates]);
        assert_eq!(self.stage.shown(), (OLD.to_owned(), ConnectionState::Connected));
        let written = std::fs::read_dir(&self.stage.directory).unwrap().map(|entry| entry.unwrap().path());
        let written: Vec<PathBuf> = written.filter(|path| !path.to_string_lossy().contains("secret")).collect();
        assert!(written.len() >= 3, "{written:?}");
        for path in written {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(9).any(|window| window == b"DoNotLeak"), "a secret is in {}", path.display());
        }
    }

    fn in_force(&self) -> String {
        self.stage.kms.store(&self.stage.key_store).unwrap().external().unwrap().access_key_id.clone()
    }
}

/// The instruction and the reason as they are shown.
fn told(shown: &Value) -> String {
    assert!(!shown.to_string().contains("DoNotLeak"), "{shown:#}");
    format!("{} {}", shown["message"].as_str().unwrap_or_default(), shown["instruction"].as_str().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_ends_verified_when_the_former_credential_is_refused_everywhere() {
    let scene = Scene::new("rotation", QUICK).await;
    let id = scene.submit().await;
    let waiting = scene.at_step(&id, "await_removal").await;
    assert!(told(&waiting).contains(&format!("remove access key id {FORMER_ID}")), "{waiting:#}");
    assert_eq!(scene.in_force(), NEW_ID);
    let metrics = scene.daemon.call("GET", "/metrics", None).await.body;
    let store = &scene.stage.key_store;
    for (step, value) in [("propagate", 0), ("await_removal", 1), ("prove_refused", 0)] {
        let sample = format!("xks_preflight_rotation_step{{key_store=\"{store}\",step=\"{step}\"}} {value}\n");
        assert!(metrics.contains(&sample), "{sample}{metrics}");
    }
    assert!(
        metrics.contains(&format!("xks_preflight_rotation_removal_awaited_seconds{{key_store=\"{store}\"}} 0.")),
        "{metrics}"
    );

    // Said and not done, then done at one of two addresses: told, and it goes on waiting.
    for (left, seen) in [(2, "accepted"), (1, "differs")] {
        if left == 1 {
            assert!(scene.beside.remove_credential(FORMER_ID));
        }
        let (status, shown) = scene.order(&id, "removed").await;
        assert_eq!((status, &shown["step"]), (202, &json!("prove_refused")), "{shown:#}");
        let waiting = scene.at_step(&id, "await_removal").await;
        scene.former_is(&id, seen).await;
        assert_eq!(waiting["rotation"]["new_credential"], "accepted", "{waiting:#}");
    }

    assert!(scene.stage.old.remove_credential(FORMER_ID));
    let (status, shown) = scene.order(&id, "removed").await;
    // What differs is looked at often: it may have ended by itself.
    assert!(status == 202 || shown["reason"] == "not_now", "{shown:#}");
    let ended = scene.daemon.follow(&id).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    assert!(told(&ended).contains("proven refused"), "{ended:#}");
    let events = scene.daemon.call("GET", &format!("/v1/updates/{id}/events"), None).await.body;
    let events: Vec<Value> = events
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let looks = |round: &str| -> Vec<&Value> {
        events.iter().filter(|event| event["event"] == "watched" && event["round"] == round).collect()
    };
    let watched: u64 = looks("propagation").iter().map(|look| look["waited_ms"].as_u64().unwrap()).sum();
    assert!(watched >= 1_000, "{watched} ms");
    let proofs = looks("removal");
    let proofs = proofs.iter().rev().take(3).map(|look| &look["summary"]["credentials"]);
    assert!(
        proofs.clone().count() == 3
            && proofs.clone().all(|seen| *seen == json!({ "new": "accepted", "former": "refused" }))
    );
    scene.leave(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_one_address_does_not_know_is_never_told_to_kms() {
    let scene = Scene::new("rotation-unknown", QUICK).await;
    assert!(scene.beside.remove_credential(NEW_ID));
    let id = scene.submit().await;
    let ended = scene.daemon.follow(&id).await;
    assert_eq!(ended["status"], "blocked", "{ended:#}");
    assert!(told(&ended).contains("sigv4.accepted"), "{ended:#}");
    assert_eq!(scene.in_force(), FORMER_ID);
    scene.leave(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_credential_that_is_refused_already_blocks_it() {
    let scene = Scene::new("rotation-late", QUICK).await;
    assert!(scene.beside.remove_credential(FORMER_ID));
    let id = scene.submit().await;
    let ended = scene.daemon.follow(&id).await;
    assert_eq!(ended["status"], "blocked", "{ended:#}");
    assert!(told(&ended).contains("sigv4.old_credential"), "{ended:#}");
    scene.leave(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_each_of_its_steps_it_goes_on() {
    let scene = Scene::new("rotation-killed", QUICK).await;
    let id = scene.submit().await;
    scene.at_step(&id, "propagate").await;
    let scene = scene.killed_and_back().await;
    scene.at_step(&id, "await_removal").await;
    let scene = scene.killed_and_back().await;
    assert_eq!(scene.shown(&id).await["step"], "await_removal");
    // Slow enough that the proof takes longer than the kill.
    for proxy in scene.proxies() {
        proxy.set_latency(std::time::Duration::from_millis(100));
    }
    scene.remove_everywhere(FORMER_ID);
    let (status, shown) = scene.order(&id, "removed").await;
    assert_eq!((status, &shown["step"]), (202, &json!("prove_refused")), "{shown:#}");
    let scene = scene.killed_and_back().await;
    let ended = scene.daemon.follow(&id).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    scene.leave(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_propagates_nobody_may_remove_or_cancel_but_go_back() {
    let scene = Scene::new("rotation-patient", PATIENT).await;
    let id = scene.submit().await;
    let shown = scene.at_step(&id, "propagate").await;
    assert!(told(&shown).contains("leave both credentials at the proxy"), "{shown:#}");
    assert_eq!(shown["rotation"]["propagation_seconds"], 360);
    for order in ["removed", "cancel"] {
        let (status, refused) = scene.order(&id, order).await;
        assert_eq!((status, &refused["reason"]), (409, &json!("not_now")), "{order}: {refused:#}");
    }
    let short = json!({ "rotate": true, "propagation_seconds": 299 });
    let mut request = scene.request();
    request["options"] = short;
    let refused = scene.daemon.call("POST", "/v1/updates", Some(&request)).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert_eq!(scene.order(&id, "rollback").await.0, 202);
    let ended = scene.daemon.follow(&id).await;
    assert_eq!(ended["status"], "rolled_back", "{ended:#}");
    assert_eq!(scene.in_force(), FORMER_ID);
    scene.leave(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_credential_that_goes_too_early_is_told_and_nothing_is_sent() {
    let scene = Scene::new("rotation-early", PATIENT).await;
    let id = scene.submit().await;
    scene.at_step(&id, "propagate").await;
    assert!(scene.beside.remove_credential(FORMER_ID));
    scene.former_is(&id, "differs").await;
    assert!(scene.stage.old.remove_credential(FORMER_ID));
    scene.former_is(&id, "refused").await;
    // There is nothing to go back to.
    let (status, refused) = scene.order(&id, "rollback").await;
    assert_eq!((status, &refused["reason"]), (409, &json!("not_now")), "{refused:#}");

    // With the new one gone as well, KMS has a credential that nobody accepts, and nothing that could be sent helps.
    scene.remove_everywhere(NEW_ID);
    let ended = scene.daemon.follow(&id).await;
    assert_eq!(ended["status"], "stuck", "{ended:#}");
    assert!(told(&ended).contains("give the new credential back to every proxy"), "{ended:#}");
    assert_eq!(scene.in_force(), NEW_ID);
    scene.leave(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_credential_that_dies_leads_back_while_the_former_one_lives() {
    for (name, rotation, step) in
        [("rotation-dies", PATIENT, "propagate"), ("rotation-wrong-one", QUICK, "await_removal")]
    {
        let scene = Scene::new(name, rotation).await;
        let id = scene.submit().await;
        scene.at_step(&id, step).await;
        assert!(scene.beside.remove_credential(NEW_ID));
        if step == "await_removal" {
            // Whoever removed the wrong one says that it is done.
            assert_eq!(scene.order(&id, "removed").await.0, 202);
        }
        let ended = scene.daemon.follow(&id).await;
        assert_eq!(ended["status"], "rolled_back", "{ended:#}");
        assert!(told(&ended).contains("the proxy refuses the new credential"), "{ended:#}");
        assert_eq!(scene.in_force(), FORMER_ID);
        scene.leave(2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_nobody_makes_is_told_in_the_end() {
    let scene =
        Scene::new("rotation-forgotten", &format!("{QUICK}\nlook_interval = \"100ms\"\nremoval_wait = \"1s\"")).await;
    let id = scene.submit().await;
    let ended = scene.daemon.follow(&id).await;
    assert_eq!(ended["status"], "stuck", "{ended:#}");
    assert!(told(&ended).contains("nobody removed the former credential in time"), "{ended:#}");
    assert_eq!(scene.in_force(), NEW_ID);
    scene.leave(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_wait_is_refused_before_a_real_kms() {
    let stage = Stage::new("rotation-hasty").await;
    let file = stage.directory.join("config.toml");
    let real = std::fs::read_to_string(&file).unwrap();
    let real = real.lines().filter(|line| !line.starts_with("endpoint_url") && !line.starts_with("ca_files"));
    std::fs::write(&file, real.collect::<Vec<_>>().join("\n")).unwrap();
    stage.configured_with(QUICK);
    let told = Daemon::refuses_to_start(&stage).await;
    assert!(told.contains("update.rotation.least_propagation_wait is less than 5 minutes"), "{told}");
}
