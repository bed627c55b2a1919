//! The whole rotation from the command line, as the README tells it.

use std::process::Stdio;

use tokio::process::Command;

use super::{BOUND, FORMER_ID, NEW_ID, NEW_SECRET, QUICK, Scene};
use crate::daemon::stage::TOKEN;
use crate::peers::{BINARY, PATH, Run, write_console_file};

async fn run(scene: &Scene, arguments: &[&str]) -> Run {
    let mut command = Command::new(BINARY);
    command
        .arg("update")
        .args(arguments)
        .env("XKS_PREFLIGHT_SERVER", format!("http://{}", scene.daemon.address))
        .env("XKS_PREFLIGHT_TOKEN", TOKEN)
        .current_dir(&scene.stage.directory)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let run = Run::from(tokio::time::timeout(BOUND, command.output()).await.unwrap().unwrap());
    assert!(!run.stdout.contains("DoNotLeak") && !run.stderr.contains("DoNotLeak"), "{}\n{}", run.stdout, run.stderr);
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_leads_through_a_rotation() {
    let scene = Scene::new("rotation-command", QUICK).await;
    let next = scene.stage.directory.join("next.secret.json");
    write_console_file(&next, PATH, NEW_SECRET);
    let file = std::fs::read_to_string(&next).unwrap().replace(FORMER_ID, NEW_ID);
    std::fs::write(&next, file).unwrap();

    let change = ["--key-store", &scene.stage.key_store, "--proxy-config", "next.secret.json", "--rotate"];
    let begun = run(&scene, &[&["apply"], &change[..], &["--wait"]].concat()).await;
    assert_eq!(begun.code, 3, "{}\n{}", begun.stdout, begun.stderr);
    let id = begun.stdout.split_whitespace().find(|word| word.starts_with("update-")).unwrap().to_owned();
    let next_command = format!("xks-preflight update removed {id} --wait");
    for told in ["status        running: await_removal", &format!("remove access key id {FORMER_ID}"), &next_command] {
        assert!(begun.stdout.contains(told), "{told}\n{}", begun.stdout);
    }
    assert!(begun.stderr.contains("REMOVE the former credential at every proxy now"), "{}", begun.stderr);

    // Said and not done.
    let untrue = run(&scene, &["removed", &id, "--wait"]).await;
    assert_eq!(untrue.code, 3, "{}\n{}", untrue.stdout, untrue.stderr);
    assert!(untrue.stdout.contains("former one    accepted"), "{}", untrue.stdout);

    scene.remove_everywhere(FORMER_ID);
    let proven = run(&scene, &["removed", &id, "--wait"]).await;
    assert_eq!(proven.code, 0, "{}\n{}", proven.stdout, proven.stderr);
    assert!(proven.stdout.contains("status        verified"), "{}", proven.stdout);
    scene.leave(1).await;
}
