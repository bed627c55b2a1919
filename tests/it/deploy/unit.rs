//! The systemd unit, and what the daemon tells the service manager.

use std::process::Command;

use tokio::net::UnixDatagram;

use super::{run, said, text};
use crate::daemon::stage::{BOUND, Daemon, Stage};
use crate::peers::BINARY;

const UNIT: &str = "systemd/xks-preflight.service";

/// Of systemd's own scale from 0 to 10, in tenths; see the README.
const EXPOSURE: &str = "--threshold=11";

#[test]
fn systemd_finds_no_fault_and_little_exposure() {
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("xks-preflight.service");
    // The binary is where it was built.
    std::fs::write(&unit, text(UNIT).replace("/usr/bin/xks-preflight", BINARY)).unwrap();
    let ran = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
    assert!(ran.status.success() && said(&ran).is_empty(), "{}", said(&ran));
    let security = ["security", "--offline=true", "--no-pager"];
    let ran = run(Command::new("systemd-analyze").args(security).arg(EXPOSURE).arg(&unit));
    assert!(ran.status.success(), "{}", said(&ran));
    // The threshold is looked at: without its sandbox the unit does not pass.
    let open = text(UNIT).replace("/usr/bin/xks-preflight", BINARY).replace("CapabilityBoundingSet=\n", "");
    std::fs::write(&unit, open).unwrap();
    let ran = run(Command::new("systemd-analyze").args(security).arg(EXPOSURE).arg(&unit));
    assert!(!ran.status.success(), "{}", said(&ran));
}

#[test]
fn the_commands_of_the_unit_exist() {
    let text = text(UNIT);
    let commands: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("Exec")?.split_once('=')).map(|(_, c)| c).collect();
    assert_eq!(commands.len(), 4, "{commands:?}");
    // Looked at in `reload`: SIGHUP has the configuration read anew.
    let own = commands.into_iter().filter(|command| *command != "/bin/kill -HUP $MAINPID");
    for command in own {
        let words = command.strip_prefix("/usr/bin/xks-preflight ").unwrap().split(' ');
        let ran = run(Command::new(BINARY).args(words).arg("--help"));
        assert!(ran.status.success(), "{command}: {}", said(&ran));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_hears_ready_alive_and_stopping() {
    let stage = Stage::new("notify").await;
    // A socket's path has 108 bytes at most.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut command = tokio::process::Command::new(BINARY);
    command.args(["--log-level", "trace", "serve", "--config"]).arg(stage.directory.join("config.toml"));
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000");
    let daemon = Daemon::run(&stage, command).await;
    let hear = async || {
        let mut message = [0; 1024];
        let length = tokio::time::timeout(BOUND, socket.recv(&mut message)).await.unwrap().unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    let first = hear().await;
    assert!(first.starts_with("READY=1\nSTATUS=listens on 127.0.0.1:"), "{first:?}");
    let alive = daemon.call("GET", "/-/healthy", None).await;
    assert_eq!(alive.status, 200);
    for _ in 0..3 {
        assert_eq!(hear().await, "WATCHDOG=1\n");
    }
    let stopped = tokio::spawn(daemon.terminate());
    let mut message = hear().await;
    while message == "WATCHDOG=1\n" {
        message = hear().await;
    }
    assert_eq!(message, "STOPPING=1\nSTATUS=draining\n");
    stopped.await.unwrap();
}
