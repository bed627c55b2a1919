//! The floors of lib.rs hold: a file uses its own room and the floors below, and the AWS SDKs live under `aws`.

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms bottom-up; rooms of one floor are listed together, those that may use each other in order.
const FLOORS: &[&[&str]] = &[
    &["key_store", "clock", "id", "chain", "current"],
    &["xks", "access"],
    &["check"],
    &["update"],
    &["audit"],
    &["kms", "vpc", "cloudhsm", "journal"],
    &["peer", "trace"],
    &[
        "probe",
        "listener",
        "oidc",
        "perspective",
        "aws",
        "places",
        "keyring",
        "program",
        "journal/codec",
        "journal/seal",
        "journal/sqlite",
        "journal/postgres",
    ],
    &["preflight", "enumeration", "notary"],
    &["monitor", "driver", "drift"],
    &["custodian"],
    &["api", "page", "kms_endpoint", "metrics", "render", "runbooks"],
    &["cli", "app", "config", "telemetry", "main"],
];

/// Rooms of one floor that build on a neighbour, with the reason.
const NEIGHBOURS: &[(&str, &str, &str)] = &[
    ("key_store", "clock", "creation dates are instants"),
    ("id", "clock", "identifiers sort by time"),
    ("drift", "monitor", "drift is a difference that the monitor saw"),
    ("drift", "driver", "and that no update made"),
    ("api", "metrics", "the API serves the exposition"),
    ("kms_endpoint", "metrics", "the endpoint counts its answers"),
    ("api", "render", "the API answers with rendered reports"),
    ("api", "runbooks", "runbooks are served beside the API"),
    ("page", "api", "the page asks the API's own functions, so that there is one logic and one guard"),
    ("page", "render", "the page tells a report in the same words"),
    ("cli", "app", "serve runs the app"),
    ("cli", "config", "commands read configuration"),
    ("cli", "telemetry", "commands start logging"),
    ("app", "config", "the app is built from configuration"),
    ("main", "cli", "main hands over to the command line"),
    ("main", "telemetry", "main starts logging"),
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The room of a path below `src`: `journal/sqlite` where the floors tell it from `journal`, else the first part.
fn room(relative: &str) -> String {
    let stem = relative.trim_end_matches(".rs");
    let parts: Vec<&str> = stem.split('/').collect();
    let two = parts.iter().take(2).copied().collect::<Vec<_>>().join("/");
    if FLOORS.iter().flat_map(|floor| floor.iter()).any(|room| *room == two) { two } else { parts[0].to_owned() }
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn all_sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&src, &mut paths);
    assert!(paths.len() > 30, "the source tree was not found");
    paths
        .into_iter()
        .map(|path| {
            let relative = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
            (relative, fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// The code without comments and without unit tests, which may reach anywhere.
fn code(text: &str) -> String {
    let production = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    production.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The rooms named by `crate::<room>` paths.
fn used_rooms(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        let first = name(rest);
        let second = rest.get(first.len() + 2..).filter(|_| rest[first.len()..].starts_with("::")).map(name);
        rooms.push(match second {
            Some(second) => room(&format!("{first}/{second}")),
            None => first,
        });
    }
    rooms
}

#[test]
fn no_arrow_points_upward() {
    let mut upward = Vec::new();
    for (path, text) in all_sources() {
        let own = room(&path);
        if own == "lib" || own == "sandbox" || path.contains("/tests") {
            continue;
        }
        let own_floor =
            floor(&own).unwrap_or_else(|| panic!("{path}: room {own} stands on no floor; add it to FLOORS"));
        for used in used_rooms(&code(&text)) {
            // The `sandbox` command starts the simulated peers, and tests of the journal stop the process.
            if used == own || (used == "sandbox" && own == "cli") || used.starts_with('{') || used.is_empty() {
                continue;
            }
            let Some(used_floor) = floor(&used) else {
                upward.push(format!("{path} uses crate::{used}, which stands on no floor"));
                continue;
            };
            let neighbours = NEIGHBOURS.iter().any(|(from, to, _)| *from == own && *to == used);
            if used_floor > own_floor || (used_floor == own_floor && !neighbours && own != format!("{used}/x")) {
                let journal_room = used == "journal" || own.starts_with("journal/") && used.starts_with("journal");
                if !journal_room {
                    upward.push(format!("{path} (floor of {own}) uses crate::{used}"));
                }
            }
        }
    }
    assert!(upward.is_empty(), "upward arrows:\n{}", upward.join("\n"));
}

#[test]
fn aws_sdks_are_named_under_aws_alone() {
    for (path, text) in all_sources() {
        let allowed = path.starts_with("aws") || path.starts_with("sandbox");
        assert!(allowed || !code(&text).contains("aws_sdk_"), "{path} names an AWS SDK");
    }
}

#[test]
fn judgement_does_no_io() {
    for (path, text) in all_sources() {
        let judgement = ["key_store", "xks", "check", "update", "access", "audit"].contains(&room(&path).as_str());
        for forbidden in ["tokio::", "std::fs", "TcpStream", "SystemTime::now", "Instant::now"] {
            assert!(!judgement || !code(&text).contains(forbidden), "{path} uses {forbidden}");
        }
    }
}

#[test]
fn there_is_no_mod_rs_and_no_junk_drawer() {
    for (path, _) in all_sources() {
        for bad in ["mod.rs", "utils.rs", "util.rs", "common.rs", "helpers.rs", "types.rs", "misc.rs"] {
            assert!(Path::new(&path).file_name().unwrap() != bad, "{path}");
        }
    }
}

#[test]
fn the_top_level_holds_only_what_belongs_there() {
    let known = [
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "config",
        "tests",
        "deploy",
        "README.md",
        "benches",
        "clippy.toml",
        "rustfmt.toml",
        "deny.toml",
        ".ci",
        ".gitignore",
        "CHANGELOG.md",
        ".git",
        "target",
    ];
    let ignored = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".gitignore")).unwrap();
    for entry in fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_ignored = ignored.lines().any(|line| line.trim_start_matches('/') == name);
        assert!(known.contains(&name.as_str()) || is_ignored, "{name} does not belong at the top level");
    }
}
