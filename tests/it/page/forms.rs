//! The forms that freeze, lift and break the glass, sent by whoever has no browser and no scruples.

use serde_json::{Value, json};

use super::{OURS, ask, sign_in};
use crate::daemon::stage::{Daemon, NEW, Stage, TOKEN};

const ADMIN: &str = "xkspf_TestFormsAdminDoNotLeak012345678901234567";
const A: usize = 0;
const OPERATOR: usize = 1;
const V: usize = 2;
const VIEWER: &str = "xkspf_TestFormsViewerDoNotLeak01234567890123456";

#[tokio::test]
async fn forms_give_nobody_more_than_the_api_and_lift_what_they_name_alone() {
    let stage = Stage::guarded("page-forms", "none", &[("admin", ADMIN, "admin"), ("viewer", VIEWER, "viewer")]).await;
    let daemon = Daemon::start(&stage, None).await;
    let authorization = format!("Bearer {ADMIN}");
    let look =
        async |path: &str| ask(&daemon, &format!("GET {path}"), &[("Authorization", &authorization)], &[]).await.body;
    let frozen = async || serde_json::from_str::<Value>(&look("/v1/freeze").await).unwrap()["freezes"].clone();
    let all = [("key_store", "*"), ("reason", "quarter end"), ("for", ""), ("until", "")];
    let mut visitors = Vec::new();
    for who in [ADMIN, TOKEN, VIEWER] {
        let entered = sign_in(&daemon, who, "/freezes").await;
        let cookie = entered.session().to_owned();
        let mark = ask(&daemon, "GET /freezes", &[("Cookie", &cookie)], &[]).await.mark().to_owned();
        visitors.push((cookie, mark));
    }
    let send = async |who: usize, path: &str, mark: Option<&str>, fields: &[(&str, &str)]| {
        let (cookie, own) = &visitors[who];
        let mut form = fields.to_vec();
        form.push(("mark", mark.unwrap_or(own)));
        ask(&daemon, &format!("POST {path}"), &[("Cookie", cookie), OURS], &form).await.status
    };
    // Without its mark, with that of another session, and from another site: nothing.
    assert_eq!(send(A, "/freezes", Some("guessed"), &all).await, 403);
    assert_eq!(send(A, "/freezes", Some(&visitors[V].1), &all).await, 403);
    let foreign = [("Cookie", visitors[A].0.as_str()), ("Sec-Fetch-Site", "cross-site")];
    let mut marked = all.to_vec();
    marked.push(("mark", &visitors[A].1));
    assert_eq!(ask(&daemon, "POST /freezes", &foreign, &marked).await.status, 403);
    // Whoever may not freeze, may not by a form, nor break the glass.
    for who in [OPERATOR, V] {
        assert_eq!(send(who, "/freezes", None, &all).await, 403);
    }
    assert_eq!(frozen().await, json!([]));
    let update = [
        ("CustomKeyStoreId", stage.key_store.as_str()),
        ("XksProxyUriEndpoint", NEW),
        ("break_glass", "true"),
        ("glass_reason", "the proxy burns"),
    ];
    for who in [OPERATOR, V] {
        assert_eq!(send(who, "/updates", None, &update).await, 403);
    }
    let trail = look("/v1/audit").await;
    assert!(trail.contains("POST /freezes") && trail.contains("POST /updates"), "{trail}");
    // Two freezes; a form that names neither lifts neither.
    let one = [("key_store", stage.key_store.as_str()), ("reason", "incident"), ("for", "1"), ("until", "")];
    assert_eq!(send(A, "/freezes", None, &all).await, 303);
    assert_eq!(send(A, "/freezes", None, &one).await, 303);
    for nothing in [&[][..], &[("key_store", "")]] {
        assert_eq!(send(A, "/freezes/lift", None, nothing).await, 422);
    }
    assert_eq!(send(OPERATOR, "/freezes/lift", None, &[("key_store", "*")]).await, 403);
    assert_eq!(frozen().await.as_array().unwrap().len(), 2);
    assert_eq!(send(A, "/freezes/lift", None, &[("key_store", &stage.key_store)]).await, 303);
    let left = frozen().await;
    assert!(left.as_array().unwrap().len() == 1 && left[0]["key_store"].is_null(), "{left}");
    assert_eq!(send(A, "/freezes/lift", None, &[("key_store", "*")]).await, 303);
    assert_eq!(frozen().await, json!([]));
    daemon.terminate().await;
}
