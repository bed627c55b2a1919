//! The runbooks: every link leads to a section, every section is about an alert, and what it tells to type can be typed.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use regex::Regex;
use xks_preflight::runbooks::sections;

use super::{rules, run, said, text};
use crate::api::bench::Bench;
use crate::peers::{BINARY, output_directory};

const RUNBOOKS: &str = "runbooks.md";

/// What the rules take for the daemon's address.
const DEFAULT: &str = "http://127.0.0.1:8480";

#[tokio::test(flavor = "multi_thread")]
async fn every_link_of_an_alert_leads_to_its_section() {
    let bench = Bench::new("runbooks").await;
    // Without a token: whoever is woken up clicks.
    let page = bench.call("GET", "/runbooks", None, &[], "").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; style-src 'sha256-"));
    assert!(!page.body.contains("<script") && !page.body.contains("src="), "nothing is fetched or run");
    for alert in rules::alerts() {
        let name = alert["alert"].as_str().unwrap();
        let url = alert["annotations"]["runbook_url"].as_str().unwrap();
        assert_eq!(url, format!("{DEFAULT}/runbooks#{name}"));
        assert!(page.body.contains(&format!("<h2 id=\"{name}\">{name}</h2>")), "{url} leads nowhere");
    }
}

#[test]
fn every_section_is_about_an_alert_and_answers_four_questions() {
    let alerts = rules::alerts();
    let names: Vec<&str> = alerts.iter().map(|alert| alert["alert"].as_str().unwrap()).collect();
    assert_eq!(sections(), names, "the sections are not those of the alerts, in their order");
    let text = text(RUNBOOKS);
    for section in text.split("\n## ").skip(1) {
        let questions = ["**Means.**", "**What KMS does.**", "**Look at.**", "**Do.**"];
        let places: Vec<usize> = questions.iter().filter_map(|question| section.find(question)).collect();
        assert!(places.len() == 4 && places.is_sorted(), "{section}");
    }
    // Links within the page.
    for link in Regex::new(r"\]\(#(\w+)\)").unwrap().captures_iter(&text) {
        assert!(names.contains(&&link[1]), "{}", &link[0]);
    }
}

/// The lines of all code blocks.
fn typed() -> Vec<String> {
    let text = text(RUNBOOKS);
    let blocks = text.split("```").skip(1).step_by(2);
    blocks.flat_map(|block| block.trim().lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn every_command_of_ours_in_it_exists() {
    let text = text(RUNBOOKS);
    let mut commands: Vec<Vec<&str>> = Vec::new();
    for found in Regex::new(r"xks-preflight ((?:check|update|catalogue|config)(?: [a-z]+)?)([^\n`|;]*)")
        .unwrap()
        .captures_iter(&text)
    {
        let words = found.get(1).unwrap().as_str().split(' ');
        let options = found.get(2).unwrap().as_str().split_whitespace().filter(|word| word.starts_with("--"));
        commands.push(words.chain(options).collect());
    }
    assert!(commands.len() > 10, "{commands:?}");
    commands.sort();
    commands.dedup();
    for command in commands {
        let (options, words): (Vec<&str>, Vec<&str>) = command.iter().partition(|word| word.starts_with("--"));
        let help = run(Command::new(BINARY).args(&words).arg("--help"));
        assert!(help.status.success(), "{words:?}: {}", said(&help));
        let help = said(&help);
        for option in options {
            assert!(help.contains(option), "{words:?} has no {option}");
        }
    }
}

/// The questions to the daemon are asked, in a real shell, and each is answered.
#[tokio::test(flavor = "multi_thread")]
async fn what_it_tells_to_ask_the_daemon_is_answered() {
    let bench = Bench::new("runbook-commands").await;
    bench
        .until(&format!("/v1/key-stores/{}/reports", bench.store), |answer| !answer.json()["reports"][0].is_null())
        .await;
    let home = output_directory("runbook-home");
    let token = home.join(".xks-preflight-token");
    std::fs::write(&token, bench.operator.expose()).unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    let lines = typed();
    let preamble: Vec<String> = lines[..4]
        .iter()
        .map(|line| line.replace("https://xks-preflight.example.com", &format!("http://{}", bench.address)))
        .collect();
    assert!(preamble[3].starts_with("post() "), "{preamble:?}");
    let asks: Vec<&String> =
        lines[4..].iter().filter(|line| ["get ", "curl "].iter().any(|ask| line.starts_with(ask))).collect();
    assert!(asks.len() > 20, "{asks:?}");
    for ask in asks {
        let script = format!("set -euo pipefail\n{}\n{}", preamble.join("\n"), ask.replace("cks-...", &bench.store));
        let ran = tokio::task::spawn_blocking({
            let home = home.clone();
            move || run(Command::new("bash").arg("-c").arg(script).env("HOME", home))
        });
        let ran = ran.await.unwrap();
        assert!(ran.status.success() && !said(&ran).contains("\"reason\":"), "{ask}: {}", said(&ran));
    }
    std::fs::remove_file(token).unwrap();
    std::fs::remove_file(home.join(".xks-preflight-header")).unwrap();
}
