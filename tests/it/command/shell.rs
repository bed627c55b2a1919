//! Completions, in a real bash, and manual pages.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::peers::{BINARY, output_directory};

fn stdout(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What bash offers for the last word.
fn completed(line: &str) -> BTreeSet<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let script = r#"
        eval "$("$1" completions bash)"; shift
        function=$(complete -p xks-preflight | sed -n 's/.* -F \([^ ]*\) .*/\1/p')
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; COMPREPLY=()
        "$function" xks-preflight "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let offered = stdout(Command::new("bash").args(["-c", script, "bash", BINARY]).args(words));
    offered.lines().map(ToOwned::to_owned).collect()
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The subcommands of the binary, with those below, as on a command line.
fn commands() -> Vec<String> {
    fn below(path: &[&str], all: &mut Vec<String>) {
        let help = stdout(Command::new(BINARY).args(path).arg("--help"));
        let Some((_, list)) = help.split_once("Commands:\n") else { return };
        let list = list.lines().take_while(|line| !line.is_empty());
        let names = list.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        for name in names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
            let path = [path, &[name]].concat();
            all.push(path.join(" "));
            below(&path, all);
        }
    }
    let mut all = Vec::new();
    below(&[], &mut all);
    assert!(all.len() > 20, "{all:?}");
    all
}

#[test]
fn bash_completes_subcommands_and_options() {
    assert_eq!(completed("xks-preflight upd"), set(&["update"]));
    assert_eq!(completed("xks-preflight update app"), set(&["apply", "approve"]));
    assert_eq!(completed("xks-preflight update apply --break"), set(&["--break-glass"]));
    assert_eq!(completed("xks-preflight freeze li"), set(&["lift"]));
    assert_eq!(completed("xks-preflight check --connectivity v"), set(&["vpc"]));
}

#[test]
fn every_shell_has_a_script_that_knows_every_subcommand() {
    let commands = commands();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = stdout(Command::new(BINARY).args(["completions", shell]));
        for command in &commands {
            let name = command.rsplit(' ').next().unwrap();
            assert!(script.contains(name), "{shell} does not know {command}");
        }
    }
    let unknown = Command::new(BINARY).args(["completions", "tcsh"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn every_subcommand_has_a_manual_page() {
    let directory = output_directory("man");
    stdout(Command::new(BINARY).args(["man", "--directory"]).arg(&directory));
    let whole = stdout(Command::new(BINARY).arg("man"));
    assert_eq!(whole, std::fs::read_to_string(directory.join("xks-preflight.1")).unwrap());
    for command in commands() {
        let name = format!("xks-preflight-{}", command.replace(' ', "-"));
        let page = std::fs::read_to_string(directory.join(format!("{name}.1")))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(page.starts_with(".ie") && page.contains(&format!(".TH {name}")), "{page}");
        assert!(page.contains("Example"), "{name} has no example");
    }
    let nowhere = Command::new(BINARY).args(["man", "--directory", "/nonexistent"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(!Path::new("/nonexistent").exists());
}
