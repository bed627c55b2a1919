//! The README's tables are those of the code. `UPDATE_README=1 cargo test --test it readme` writes them anew.

use std::fmt::Write as _;
use std::path::Path;

use xks_preflight::access::{Permission, Role};
use xks_preflight::metrics::METRICS;
use xks_preflight::render;

fn metrics_table() -> String {
    let mut table = String::from("| metric | kind | labels | tells |\n|---|---|---|---|\n");
    for metric in METRICS {
        let kind = format!("{:?}", metric.kind).to_lowercase();
        writeln!(table, "| `{}` | {kind} | {} | {} |", metric.full_name(), metric.labels.join(", "), metric.help)
            .unwrap();
    }
    table
}

fn at_start_table() -> String {
    let mut table = String::from("| key, with all below it | because |\n|---|---|\n");
    for (key, why) in xks_preflight::config::AT_START {
        writeln!(table, "| `{key}` | {why} |").unwrap();
    }
    table
}

fn roles_table() -> String {
    let permissions = Permission::ALL.map(Permission::as_str);
    let mut table = format!("| role | {} |\n|---|{}\n", permissions.join(" | "), "---|".repeat(permissions.len()));
    for role in Role::ALL {
        let marks = Permission::ALL.map(|permission| if role.allows(permission) { "yes" } else { "" });
        writeln!(table, "| `{role}` | {} |", marks.join(" | ")).unwrap();
    }
    table
}

/// The README with the block of this name replaced.
pub(crate) fn with_block(readme: &str, name: &str, table: &str) -> String {
    let begin = readme.find(&format!("<!-- {name}: ")).unwrap_or_else(|| panic!("README has no block {name}"));
    let begin = begin + readme[begin..].find('\n').unwrap() + 1;
    let end = readme.find(&format!("<!-- /{name} -->")).unwrap();
    format!("{}{table}{}", &readme[..begin], &readme[end..])
}

#[test]
fn its_tables_are_those_of_the_code() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&file).unwrap();
    let fresh = with_block(&readme, "catalogue", &render::catalogue::markdown());
    let fresh = with_block(&fresh, "metrics", &metrics_table());
    let fresh = with_block(&fresh, "roles", &roles_table());
    let fresh = with_block(&fresh, "at start", &at_start_table());
    let fresh = with_block(&fresh, "fault matrix", &crate::matrix::markdown());
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(&file, &fresh).unwrap();
        return;
    }
    assert!(readme == fresh, "the README's tables are old: UPDATE_README=1 cargo test --test it readme");
}

#[test]
fn every_subcommand_is_in_it() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let help = std::process::Command::new(crate::peers::BINARY).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names: Vec<&str> = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        assert!(readme.contains(&format!("`xks-preflight {name}")), "README says nothing of {name}");
    }
}

#[test]
fn every_family_of_a_probe_is_in_it() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    for family in xks_preflight::metrics::blackbox::FAMILIES {
        assert!(readme.contains(&format!("`{family}")), "README says nothing of {family}");
    }
}
