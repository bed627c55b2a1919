//! The sandbox command: its story, told by its own commands, ends as it says.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::peers::{BINARY, output_directory};

/// The commands of the story in its order: exit code, and what they say.
const STORY: &[(i32, &[&str])] = &[
    (0, &["READY", "KMS would accept these settings"]),
    (1, &["XKS_PROXY_TIMED_OUT", "latency.within_limit"]),
    (0, &["tls.validity", "XksProxyUriUnreachableException"]),
    (1, &["key.continuity", "the candidate does not decrypt what the current proxy encrypts"]),
    (0, &["key.continuity", "canary", "blocked"]),
    (0, &["vpc.principal_allowed", "XksProxyVpcEndpointServiceNotFoundException", "blocked"]),
    (0, &["status        verified", "\nDisconnectCustomKeyStore", "\nUpdateCustomKeyStore", "\nConnectCustomKeyStore"]),
    (1, &["cloudhsm.related", "CloudHsmClusterNotRelatedException"]),
    (0, &["CloudHsmClusterId: cluster-present2345 -> cluster-related2345", "status        verified"]),
    (
        0,
        &[
            "status        running: await_removal",
            "remove access key id SANDBOXPROXYACCESSKEYID",
            "update removed update-",
        ],
    ),
    (0, &["refuses SANDBOXPROXYACCESSKEYID from now on", "status        verified", "proven refused at every address"]),
    (0, &["xks_preflight_updates_total{outcome=\"blocked\"} 5", "xks_preflight_updates_total{outcome=\"verified\"} 3"]),
];

/// A running sandbox, with the story it told.
struct Sandbox {
    story: String,
    commands: Vec<String>,
    setting: Vec<(String, String)>,
    _process: Child,
}

impl Sandbox {
    async fn start() -> Self {
        Self::start_with("sandbox", &[], STORY.len()).await
    }

    /// With further options, which give so many commands.
    async fn start_with(name: &str, options: &[&str], count: usize) -> Self {
        let directory = output_directory(name).join("state");
        let mut process = Command::new(BINARY)
            .args([
                "sandbox",
                "--first-port",
                "0",
                "--api",
                "127.0.0.1:0",
                "--kms-endpoint",
                "127.0.0.1:0",
                "--state-directory",
            ])
            .arg(&directory)
            .args(options)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut story = String::new();
        while !story.contains(&format!("# {count}. ")) || !story.ends_with("\n\n") {
            story.push_str(
                &lines.next_line().await.unwrap().unwrap_or_else(|| panic!("the story ends early:\n{story}")),
            );
            story.push('\n');
        }
        let exported = story.lines().find_map(|line| line.strip_prefix("export ")).unwrap();
        let setting = exported.split(' ').map(|pair| pair.split_once('=').unwrap());
        let setting = setting.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let commands = story.lines().skip_while(|line| !line.starts_with("# 1. "));
        let commands = commands.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let commands = commands.map(ToOwned::to_owned).collect();
        Self { story, commands, setting, _process: process }
    }

    async fn shell(&self, command: &str) -> (i32, String) {
        let mut bash = Command::new("bash");
        bash.args(["-c", command]).envs(self.setting.iter().map(|(name, value)| (name, value)));
        let output = bash.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    }

    /// Until the monitor has made a canary, which takes it one interval at the most.
    async fn has_canary(&self) {
        let command = "for i in $(seq 600); do curl -s $XKS_PREFLIGHT_SERVER/metrics | \
            grep -q ^xks_preflight_canary_timestamp_seconds && exit 0; read -t 0.1 <> <(:); done; exit 1";
        assert_eq!(self.shell(command).await.0, 0, "no canary");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_ends_as_it_says() {
    let sandbox = Sandbox::start().await;
    assert_eq!(sandbox.commands.len(), STORY.len(), "{}", sandbox.story);
    sandbox.has_canary().await;
    for (command, (code, says)) in sandbox.commands.iter().zip(STORY) {
        let (exit, said) = sandbox.shell(command).await;
        assert_eq!(exit, *code, "{command}\n{said}");
        for words in *says {
            assert!(said.contains(words), "{words}\n{command}\n{said}");
        }
    }
}

/// Three accounts in two Regions, found without being configured, and one of them changed.
#[tokio::test(flavor = "multi_thread")]
async fn discovery_can_be_tried_without_an_aws_account() {
    let sandbox = Sandbox::start_with("sandbox-places", &["--accounts", "3", "--regions", "2"], STORY.len() + 2).await;
    let [.., look, update] = sandbox.commands.as_slice() else { panic!("{}", sandbox.story) };
    for place in
        ["home/eu-west-1", "payments/us-east-1", "payments/eu-west-1", "archive/us-east-1", "archive/eu-west-1"]
    {
        assert!(sandbox.story.contains(&format!(", in {place}\n")), "{place}: {}", sandbox.story);
    }
    // Six external key stores, each probed at its own proxy.
    let probed = format!(
        "for i in $(seq 600); do [ $({look} | grep -c 'probe_success.* 1$') = 6 ] && exit 0; read -t 0.1 <> <(:); done; {look}; exit 1"
    );
    let (code, said) = sandbox.shell(&probed).await;
    assert_eq!(code, 0, "{said}");
    let (_, said) = sandbox.shell(look).await;
    for account in ["home", "payments", "archive"] {
        for region in ["us-east-1", "eu-west-1"] {
            let asked = format!("xks_preflight_discovery_failing{{account=\"{account}\",region=\"{region}\"}} 0");
            assert!(said.contains(&asked), "{said}");
        }
    }
    let (code, said) = sandbox.shell(update).await;
    assert!(code == 0 && said.contains("status        verified"), "{said}");
    assert!(update.contains("https://eu-west-1-candidate.xks.example.com"), "{update}");
}

#[tokio::test(flavor = "multi_thread")]
async fn approval_can_be_tried_alone() {
    for (approval, colleagues) in [("one", 1), ("two", 2)] {
        let name = format!("sandbox-approval-{approval}");
        let sandbox = Sandbox::start_with(&name, &["--approval", approval], 2 + colleagues).await;
        let [ask, own, colleagues @ ..] = sandbox.commands.as_slice() else { panic!("{}", sandbox.story) };
        let (code, said) = sandbox.shell(ask).await;
        assert!(code == 0 && said.contains("awaiting approval") && said.contains("must approve it"), "{said}");
        let (code, said) = sandbox.shell(own).await;
        assert!(code == 4 && said.contains("author_may_not_approve"), "{code} {said}");
        for (at, agree) in colleagues.iter().enumerate() {
            let (code, said) = sandbox.shell(agree).await;
            let ended = said.contains("status        verified");
            assert!(code == 0 && ended == (at + 1 == colleagues.len()), "{agree}\n{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_misbehave_as_they_are_told() {
    let sandbox = Sandbox::start().await;
    let control = sandbox.story.split_whitespace().find(|word| word.ends_with("/proxies/current")).unwrap();
    let put = |to: &str, body: &str| {
        let command = format!("curl -s -w '%{{http_code}}' -X PUT {to} -d '{body}'");
        async { sandbox.shell(&{ command }).await.1 }
    };
    assert_eq!(put(control, "slow-answer:ms=300 wrong-region").await, "current          slow-answer wrong-region\n200");
    assert_eq!(put(control, "").await, "current          well\n200");
    let refused = put(control, "slow-answer nonsense").await;
    assert!(refused.contains("nonsense") && refused.ends_with("422"), "{refused}");
    let nobody = put(&control.replace("current", "nobody"), "slow-answer").await;
    assert!(nobody.contains("there are current, candidate") && nobody.ends_with("404"), "{nobody}");
    let faults = sandbox.shell(&format!("curl -s {}", control.replace("proxies/current", "faults"))).await.1;
    assert!(faults.lines().count() > 100 && faults.contains("certificate-expired"), "{faults}");
}

/// The README walks through the same commands, with the ports that it gets without options.
#[tokio::test(flavor = "multi_thread")]
async fn the_readme_walks_through_the_same_commands() {
    let sandbox = Sandbox::start().await;
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let ports = |text: &str| {
        let mut digits = text.split("127.0.0.1:").skip(1);
        std::iter::from_fn(|| digits.next().map(|rest| rest.chars().take_while(char::is_ascii_digit).collect()))
            .collect::<Vec<String>>()
    };
    let mut known: Vec<(String, String)> = Vec::new();
    let kms = sandbox.story.lines().find(|line| line.contains("simulated KMS")).map(|line| ports(line)[0].clone());
    known.push((kms.unwrap(), "8490".to_owned()));
    let actors = sandbox.story.lines().filter(|line| line.starts_with("  https://"));
    known.extend(actors.zip(8491..).map(|(line, port)| (ports(line)[0].clone(), port.to_string())));
    let control = sandbox.story.lines().find(|line| line.contains("/faults")).map(|line| ports(line)[0].clone());
    known.push((control.unwrap(), "8510".to_owned()));
    for command in &sandbox.commands {
        let mut expected = command.replace(BINARY, "target/release/xks-preflight");
        expected = expected.replace("target/debug/", "target/release/");
        for (here, there) in &known {
            expected = expected.replace(&format!("127.0.0.1:{here}"), &format!("127.0.0.1:{there}"));
        }
        assert!(readme.contains(&format!("$ {expected}\n")), "not in the README:\n$ {expected}");
    }
}
