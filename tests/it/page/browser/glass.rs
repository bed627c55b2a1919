//! Freezes set and lifted, and the glass broken, by clicks of whoever may; nobody else finds the buttons.

use serde_json::{Value, json};

use super::{ADMIN, VIEWER, flow, probed, reaches, shots, text};
use crate::daemon::stage::{Daemon, NEW, Stage, TOKEN};

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_is_set_and_lifted_and_the_glass_is_broken_by_clicks() {
    let Some(shots) = shots() else { return };
    let people = [("admin", ADMIN, "admin"), ("viewer", VIEWER, "viewer")];
    let stage = Stage::guarded("page-freeze", "one", &people).await;
    stage.with_people(&[("approver", super::APPROVER, "approver")]);
    let daemon = Daemon::start(&stage, None).await;
    probed(&daemon, &stage).await;
    let path = format!("/key-stores/{}", stage.key_store);
    // Whoever may not, sees no way.
    for (who, page) in [(VIEWER, "/"), (TOKEN, "/"), (VIEWER, "/freezes"), (TOKEN, "/freezes"), (TOKEN, path.as_str())]
    {
        let seen = flow(&shots, &daemon, who, &["buttons", page]).await;
        let buttons = seen["buttons"].to_string();
        assert!(!buttons.contains("Freeze") && !buttons.contains("Lift"), "{page}: {buttons}");
    }
    let form = flow(&shots, &daemon, TOKEN, &["buttons", "/preflights"]).await;
    assert!(form["buttons"].to_string().contains("Ask for this update"), "{form}");
    assert!(!form["buttons"].to_string().contains("glass"), "{form}");

    let waiting = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    reaches(&daemon, &waiting, "awaiting_approval").await;
    let frozen = flow(&shots, &daemon, ADMIN, &["freeze", &stage.key_store]).await;
    let refused: Vec<&str> = frozen["refused"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let [both, reason, until] = refused.as_slice() else { panic!("{frozen}") };
    assert!(both.contains("beside how long"), "{both}");
    assert!(reason.contains("1 to 500 characters") && until.contains("RFC 3339"), "{frozen}");
    assert_eq!(frozen["kept"], "tomorrow");
    for banner in frozen["banners"].as_array().unwrap() {
        let banner = banner.as_str().unwrap();
        assert!(banner.contains("No change may begin of any key store. Quarter <b>end</b>"), "{banner}");
        for shown in ["By admin", "; it ends in ", "Lift or change the freeze"] {
            assert!(banner.contains(shown), "{shown}: {banner}");
        }
    }
    let told = daemon.call("GET", "/v1/freeze", None).await.json();
    assert_eq!((&told["freezes"][0]["by"], &told["freezes"][0]["key_store"]), (&json!("admin"), &Value::Null));
    // Others read it, without the way to lift it; nobody else begins a change.
    let viewer = flow(&shots, &daemon, VIEWER, &["buttons", &path]).await;
    assert!(text(&viewer).contains("No change may begin") && !text(&viewer).contains("Lift or change"), "{viewer}");
    let refused = daemon.call("POST", "/v1/updates", Some(&stage.body(json!({ "XksProxyUriEndpoint": NEW })))).await;
    assert_eq!((refused.status, &refused.json()["reason"]), (423, &json!("frozen")), "{}", refused.body);
    daemon.call("POST", &format!("/v1/updates/{waiting}/cancel"), None).await;
    daemon.follow(&waiting).await;
    assert!(stage.mutating_calls().is_empty());

    let broken = flow(&shots, &daemon, ADMIN, &["glass", &stage.key_store, NEW, "INC-4711: the proxy burns"]).await;
    let refused = broken["refused"].to_string();
    assert!(refused.contains("1 to 500 characters") && refused.contains("was not pressed"), "{refused}");
    for shown in ["glass broken", "The glass is broken.", "INC-4711: the proxy burns", "approval, freeze"] {
        assert!(text(&broken).contains(shown), "{shown}: {broken}");
    }
    assert_eq!(stage.mutations(), ["DisconnectCustomKeyStore", "UpdateCustomKeyStore", "ConnectCustomKeyStore"]);
    let trail = daemon.call("GET", "/v1/audit", None).await.body;
    assert!(trail.contains("break_glass") && trail.contains("INC-4711"), "{trail}");

    flow(&shots, &daemon, ADMIN, &["lift"]).await;
    assert_eq!(daemon.call("GET", "/v1/freeze", None).await.json(), json!({ "freezes": [] }));
    daemon.terminate().await;
}
