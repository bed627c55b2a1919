//! The container image: its file tree is laid out by the script that the image is built with, and run as the image would
//! be - an ordinary user without capabilities, the root read-only, nothing but the journal's directory to write to.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::{deployed, run, said, text, yaml};
use crate::daemon::stage::{Daemon, NEW, Stage};
use crate::peers::{BINARY, PATH, SECRET, write_console_file};

/// The user of the image.
const USER: &str = "65532";

/// Everything in a tree, with mode and length.
fn listing(tree: &Path) -> BTreeMap<PathBuf, (u32, u64)> {
    let (mut found, mut left) = (BTreeMap::new(), vec![tree.to_owned()]);
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let length = if metadata.is_file() { metadata.len() } else { 0 };
            found.insert(path.strip_prefix(tree).unwrap().to_owned(), (metadata.mode(), length));
            if metadata.is_dir() {
                left.push(path);
            }
        }
    }
    found
}

fn laid_out(directory: &Path) -> PathBuf {
    let tree = directory.join("tree");
    let ran = run(Command::new(deployed("container/tree.sh")).arg(BINARY).arg(&tree));
    assert!(ran.status.success(), "{}", said(&ran));
    tree
}

#[test]
fn the_tree_holds_the_binary_its_libraries_authorities_and_a_user() {
    let directory = tempfile::tempdir().unwrap();
    for (path, (mode, _)) in listing(&laid_out(directory.path())) {
        let name = path.to_str().unwrap();
        let is_directory = mode & 0o170_000 == 0o040_000;
        let is_library = name.contains(".so") && (name.starts_with("lib") || name.starts_with("usr/lib"));
        let expected = [
            "usr/bin/xks-preflight",
            "etc/ssl/certs/ca-certificates.crt",
            "etc/passwd",
            "etc/group",
            "etc/nsswitch.conf",
        ];
        assert!(is_directory || is_library || expected.contains(&name), "{name} is in the image");
        assert_eq!(mode & 0o7000, 0, "{name} has special bits");
        assert!(name.starts_with("var/lib/") || mode & 0o022 == 0, "{name} can be written to by others");
    }
}

/// Everything below, and itself.
fn give_away(path: &Path) {
    let ran = run(Command::new("chown").args(["-R", &format!("{USER}:{USER}")]).arg(path));
    assert!(ran.status.success(), "{}", said(&ran));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_runs_as_an_ordinary_user_on_a_read_only_root() {
    let stage = Stage::new("tree").await;
    let directory = tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    let tree = laid_out(directory.path());
    let (etc, written) = (directory.path().join("etc"), directory.path().join("written"));
    std::fs::create_dir(&etc).unwrap();
    std::fs::create_dir(&written).unwrap();
    for name in ["ca.pem", "proxy.secret.json", "sealing-key.secret", "kms-endpoint.secret"] {
        std::fs::copy(stage.directory.join(name), etc.join(name)).unwrap();
    }
    let configuration = std::fs::read_to_string(stage.directory.join("config.toml")).unwrap();
    let changed = configuration.replace("\"journal.sqlite\"", "\"/var/lib/xks-preflight/journal.sqlite\"");
    assert_ne!(configuration, changed);
    std::fs::write(etc.join("config.toml"), changed).unwrap();
    // Under root the sandbox is entered as the image's user; anybody else stays who they are.
    let is_root = std::fs::metadata(&etc).unwrap().uid() == 0;
    let mut command = if is_root {
        give_away(&etc);
        give_away(&written);
        give_away(&tree.join("var/lib/xks-preflight"));
        let mut command = tokio::process::Command::new("setpriv");
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "bwrap"]);
        command
    } else {
        tokio::process::Command::new("bwrap")
    };
    command.args(["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup"]);
    command.args(["--uid", USER, "--gid", USER, "--cap-drop", "ALL", "--die-with-parent", "--new-session"]);
    command.arg("--ro-bind").arg(&tree).arg("/");
    command.arg("--ro-bind").arg(&etc).arg("/etc/xks-preflight");
    command.arg("--bind").arg(&written).arg("/var/lib/xks-preflight");
    command.args(["--proc", "/proc", "--dev", "/dev", "--chdir", "/var/lib/xks-preflight"]);
    // As the Containerfile says, and more to read.
    command.args(["/usr/bin/xks-preflight", "--log-level", "trace", "serve", "--config"]);
    command.arg("/etc/xks-preflight/config.toml");
    let before = listing(&tree);
    let daemon = Daemon::run(&stage, command).await;
    for path in ["/-/healthy", "/-/ready", "/runbooks"] {
        assert_eq!(daemon.call("GET", path, None).await.status, 200, "{path}");
    }
    let process = innermost(daemon.process());
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert!(!field("Uid:").split_whitespace().any(|id| id == "0"), "{status}");
    assert_eq!(field("CapEff:"), "0000000000000000");
    assert_eq!(field("CapBnd:"), "0000000000000000");
    assert_eq!(field("NoNewPrivs:"), "1");
    let mounts = std::fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap();
    let options = |place: &str| {
        let mut lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        lines.find(|fields| fields[4] == place).unwrap_or_else(|| panic!("{place}: {mounts}"))[5].to_owned()
    };
    assert!(options("/").starts_with("ro,") && options("/etc/xks-preflight").starts_with("ro,"), "{mounts}");
    assert!(options("/var/lib/xks-preflight").starts_with("rw,"), "{mounts}");
    // It does its whole work there.
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    let ended = daemon.follow(&id).await;
    assert_eq!(ended["status"], "verified", "{ended:#}");
    assert!(written.join("journal.sqlite").exists());
    let signalled = run(Command::new("kill").args(["-TERM", &process.to_string()]));
    assert!(signalled.status.success(), "{}", said(&signalled));
    daemon.ends_well().await;
    assert_eq!(listing(&tree), before, "something was written elsewhere");
}

/// bwrap has a child that is the first process of the namespace, and that one the daemon.
fn innermost(mut process: u32) -> u32 {
    loop {
        let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
        let Some(child) = children.split_whitespace().next() else { return process };
        process = child.parse().unwrap();
    }
}

#[test]
fn the_image_is_built_from_that_tree_and_runs_as_that_user() {
    let containerfile = text("container/Containerfile");
    for line in [
        "    deploy/container/tree.sh target/dist/xks-preflight /tree && \\",
        "FROM scratch",
        "COPY --from=build /tree /",
        &format!("USER {USER}:{USER}"),
        "ENTRYPOINT [\"/usr/bin/xks-preflight\"]",
        "CMD [\"--log-level\", \"info\", \"serve\", \"--config\", \"/etc/xks-preflight/config.toml\"]",
    ] {
        assert!(containerfile.lines().any(|found| found == line), "{line}");
    }
    let last = containerfile.rsplit("FROM ").next().unwrap();
    assert!(last.starts_with("scratch\n"), "the last stage is built from nothing");
}

/// The build stage copies what cargo reads, by name: neither `target/` nor what somebody keeps beside it.
#[test]
fn the_build_stage_has_everything_that_cargo_needs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = tempfile::tempdir().unwrap();
    let containerfile = text("container/Containerfile");
    for line in containerfile.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from")) {
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        let (to, from) = words.split_last().unwrap();
        for from in from {
            let to = if to.starts_with('.') { directory.path().join(from) } else { directory.path().join(to) };
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            let ran = run(Command::new("cp").arg("-r").arg(root.join(from)).arg(to));
            assert!(ran.status.success(), "{line}: {}", said(&ran));
        }
    }
    let ran = run(Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"])
        .current_dir(&directory));
    assert!(ran.status.success(), "{}", said(&ran));
    let runbooks = std::fs::read_to_string(root.join("src/runbooks.rs")).unwrap();
    let included = runbooks.split("include_str!(\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(directory.path().join("src").join(included).exists(), "{included} is compiled in");
    assert!(!directory.path().join("target").exists());
}

#[test]
fn the_compose_file_mounts_what_is_there_and_gives_no_rights_away() {
    let compose = yaml("container/compose.yaml");
    for (name, service) in compose["services"].as_object().unwrap() {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        for port in service["ports"].as_array().unwrap() {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{name} is open to others");
        }
        for mount in service["volumes"].as_array().unwrap() {
            let from = mount.as_str().unwrap().split(':').next().unwrap();
            // Secrets and AWS's files are the user's; names without a slash are volumes.
            if from.starts_with('.') && !from.starts_with("./secrets/") {
                assert!(deployed("container").join(from).exists(), "{name} mounts {from}");
            } else if !from.contains('/') {
                assert!(compose["volumes"].as_object().unwrap().contains_key(from), "{name} mounts {from}");
            }
        }
    }
}

#[test]
fn the_configurations_of_the_compose_file_are_good() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    write_console_file(&path("main.json"), PATH, SECRET);
    std::fs::set_permissions(path("main.json"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let configuration = text("container/config.toml");
    let secrets = directory.path().display().to_string();
    std::fs::write(path("config.toml"), configuration.replace("/run/secrets", &secrets)).unwrap();
    let ran = run(Command::new(BINARY).args(["config", "check"]).arg(path("config.toml")));
    assert!(ran.status.success(), "{}", said(&ran));
    for file in ["prometheus/alerts.rules.yml", "prometheus/recording.rules.yml", "container/prometheus.yml"] {
        std::fs::copy(deployed(file), path(file.rsplit('/').next().unwrap())).unwrap();
    }
    std::fs::write(path("token"), "a token").unwrap();
    let ran = run(Command::new("promtool").args(["check", "config"]).arg(path("prometheus.yml")));
    assert!(ran.status.success(), "{}", said(&ran));
}
