//! Signing in at an identity provider: the way there and back, whatever may go wrong on it, and in a browser.

use super::{Page, ask, browser};
use crate::daemon::stage::{Daemon, Stage};
use crate::oidc::people::{CLIENT, CLIENT_SECRET, Deviation, People};

/// A daemon at which people sign in with a provider.
async fn daemon(stage: &Stage, people: &People) -> Daemon {
    // The provider knows the page's address before the daemon has it.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    stage.reconfigured("api = \"127.0.0.1:0\"", &format!("api = \"127.0.0.1:{port}\""));
    stage.with_secret("client.secret", CLIENT_SECRET);
    let url = people.url();
    stage.configured_with(&format!(
        "[[oidc]]\nissuer = \"{url}\"\naudience = \"xks-preflight\"\njwks_url = \"{url}/keys\"\n\
         [oidc.sign_in]\nclient_id = \"{CLIENT}\"\nclient_secret = {{ file = \"client.secret\" }}\n\
         redirect_uri = \"http://127.0.0.1:{port}/sign-in/callback\"\ntitle = \"Sign in with People\"\nscopes = [\"groups\"]\n\
         [[oidc.grants]]\ngroup = \"watchers\"\nrole = \"viewer\"\n\
         [[oidc.grants]]\ngroup = \"operators\"\nrole = \"operator\"\n"
    ));
    Daemon::start(stage, None).await
}

/// Sets out; where to, and the cookie to come back with.
async fn sets_out(daemon: &Daemon, people: &People) -> (String, String) {
    let issuer: String = form_urlencoded::byte_serialize(people.url().as_bytes()).collect();
    let away = ask(daemon, &format!("GET /sign-in/provider?issuer={issuer}&next=%2Fchecks"), &[], &[]).await;
    assert_eq!(away.status, 303, "{}", away.body);
    (away.header("location").unwrap().to_owned(), away.session().to_owned())
}

/// Comes back to this address with a cookie.
async fn comes_back(daemon: &Daemon, address: &str, cookie: &str) -> Page {
    let path = address.strip_prefix(&format!("http://{}", daemon.address)).unwrap();
    ask(daemon, &format!("GET {path}"), &[("Cookie", cookie)], &[]).await
}

/// Every `Set-Cookie` of an answer.
fn cookies(page: &Page) -> Vec<&str> {
    let lines = page.head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")).map(|(_, value)| value).collect()
}

fn session(page: &Page) -> Option<&str> {
    let cookie = cookies(page).into_iter().find(|cookie| cookie.starts_with("xks_preflight_session="))?;
    cookie.split(';').next()
}

#[tokio::test]
async fn whoever_the_provider_lets_in_has_a_session_and_the_roles_of_their_groups() {
    let (stage, people) = (Stage::new("page-provider").await, People::start().await);
    let daemon = daemon(&stage, &people).await;
    let form = ask(&daemon, "GET /sign-in?next=%2Fchecks", &[], &[]).await;
    assert!(form.body.contains("Sign in with People") && form.body.contains("Or with a token"), "{}", form.body);
    let (location, cookie) = sets_out(&daemon, &people).await;
    assert!(location.starts_with(&format!("{}/authorize?response_type=code&", people.url())), "{location}");
    let away = ask(&daemon, &format!("GET /sign-in/provider?issuer={}", people.url()), &[], &[]).await;
    let told = away.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Lax", "Max-Age=600", "Path=/"] {
        assert!(told.contains(part), "{told}");
    }
    let back = people.lets_in(&location, "ann");
    let entered = comes_back(&daemon, &back, &cookie).await;
    assert_eq!((entered.status, entered.header("refresh")), (200, Some("0; url=/checks")), "{}", entered.body);
    assert!(
        cookies(&entered)
            .iter()
            .any(|cookie| cookie.starts_with("xks_preflight_login=;") && cookie.contains("Max-Age=0"))
    );
    let begun = cookies(&entered).into_iter().find(|cookie| cookie.starts_with("xks_preflight_session=")).unwrap();
    assert!(begun.contains("SameSite=Strict") && begun.contains("Max-Age=3600"), "{begun}");
    let overview = ask(&daemon, "GET /", &[("Cookie", session(&entered).unwrap())], &[]).await;
    assert!(overview.status == 200 && overview.body.contains(">ann<"), "{}", overview.body);
    assert_eq!(ask(&daemon, "GET /preflights", &[("Cookie", session(&entered).unwrap())], &[]).await.status, 403);
    // Nobody comes back twice, neither with the code nor with the cookie.
    let again = comes_back(&daemon, &back, &cookie).await;
    assert!(again.status == 401 && again.body.contains("was used already"), "{} {}", again.status, again.body);
    assert_eq!(people.redeemed(), 1);

    // In a group that is worth nothing here: known, and may do nothing.
    let (location, cookie) = sets_out(&daemon, &people).await;
    let nobody = comes_back(&daemon, &people.lets_in(&location, "nobody"), &cookie).await;
    assert_eq!((nobody.status, session(&nobody)), (403, None), "{}", nobody.body);
    daemon.terminate().await;
}

#[tokio::test]
async fn an_answer_that_belongs_to_nobody_who_set_out_lets_nobody_in() {
    let (stage, people) = (Stage::new("page-provider-foreign").await, People::start().await);
    let daemon = daemon(&stage, &people).await;
    let refused = |page: &Page, why: &str| {
        assert_eq!((page.status, session(page)), (401, None), "{why}: {}", page.body);
        assert!(page.body.contains(why) && page.body.contains("Sign in with People"), "{why}: {}", page.body);
    };
    // Without its cookie, as when somebody is led here with the code of another; and with the cookie of another sign-in.
    let (location, cookie) = sets_out(&daemon, &people).await;
    let (_, other) = sets_out(&daemon, &people).await;
    let back = people.lets_in(&location, "otto");
    refused(&comes_back(&daemon, &back, "").await, "was not begun in this browser");
    refused(&comes_back(&daemon, &back, &other).await, "the answer to another sign-in");
    refused(&comes_back(&daemon, &back, "xks_preflight_login=guessed").await, "was not begun in this browser");
    assert_eq!(people.redeemed(), 0, "no code of theirs was taken anywhere");
    // The right one is still good, once.
    assert_eq!(comes_back(&daemon, &back, &cookie).await.status, 200);

    for (change, why) in [
        (("state=", "state=x"), "the answer to another sign-in"),
        (("code=", "code=x"), "refuses the code that it gave: invalid_grant"),
        (("iss=http", "iss=https"), "Another identity provider answers"),
    ] {
        let (location, cookie) = sets_out(&daemon, &people).await;
        let back = people.lets_in(&location, "otto").replacen(change.0, change.1, 1);
        refused(&comes_back(&daemon, &back, &cookie).await, why);
    }
    let (_, cookie) = sets_out(&daemon, &people).await;
    let (theirs, _) = sets_out(&daemon, &people).await;
    let theirs = theirs.split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let address = format!("http://{}/sign-in/callback?error=access_denied&state={theirs}", daemon.address);
    refused(&comes_back(&daemon, &address, &cookie).await, "the answer to another sign-in");

    for (deviation, why) in [
        (Deviation::AnotherNonce, "belongs to another sign-in"),
        (Deviation::AnotherAudience, "for another audience"),
        (Deviation::AnotherParty, "for another audience"),
        (Deviation::AnotherKey, "signature does not fit"),
        (Deviation::ExpiredToken, "has expired"),
        (Deviation::NoToken, "without an id_token"),
    ] {
        let (location, cookie) = sets_out(&daemon, &people).await;
        people.deviate(Some(deviation));
        refused(&comes_back(&daemon, &people.lets_in(&location, "otto"), &cookie).await, why);
        people.deviate(None);
    }
    // Every one of them stands in the trail, and none of their codes.
    let trail = daemon.call("GET", "/v1/audit", None).await.body;
    assert!(trail.contains("authenticate") && trail.contains("GET /sign-in/callback"), "{trail}");
    assert!(!trail.contains("code=") && !daemon.telling().contains("DoNotLeak:"), "{trail}");
    daemon.terminate().await;
}

#[tokio::test]
async fn a_provider_that_cannot_be_asked_is_told_in_words() {
    let (stage, people) = (Stage::new("page-provider-silent").await, People::start().await);
    let daemon = daemon(&stage, &people).await;
    let path = format!("GET /sign-in/provider?issuer={}", people.url());
    for (deviation, why) in [
        (Deviation::DocumentOfAnother, "discovery document is of another issuer than the one that is configured"),
        (Deviation::NoDocument, "answers 404 Not Found where its discovery document should be"),
        (Deviation::EndpointInClearText, "names a token_endpoint that is not https"),
    ] {
        people.deviate(Some(deviation));
        let page = ask(&daemon, &path, &[], &[]).await;
        assert!(page.status == 502 && page.header("set-cookie").is_none(), "{why}: {}", page.status);
        assert!(page.body.contains(why) && page.body.contains("Or with a token"), "{why}: {}", page.body);
    }
    // It comes back, and is asked again at once.
    people.deviate(None);
    assert_eq!(ask(&daemon, &path, &[], &[]).await.status, 303);
    let unknown = ask(&daemon, "GET /sign-in/provider?issuer=https%3A%2F%2Fevil.example", &[], &[]).await;
    assert_eq!(unknown.status, 404, "{}", unknown.body);
    daemon.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_click_through_the_provider_and_see_what_their_role_allows() {
    let Some(shots) = browser::shots() else { return };
    let (stage, people) = (Stage::new("page-provider-clicked").await, People::start().await);
    let daemon = daemon(&stage, &people).await;
    browser::probed(&daemon, &stage).await;
    let path = format!("/key-stores/{}", stage.key_store);
    for (who, may) in [("ann", false), ("otto", true)] {
        let seen = browser::flow(&shots, &daemon, "", &["provider", &people.url(), who, &path]).await;
        assert_eq!((&seen["who"], &seen["url"]), (&serde_json::json!(who), &serde_json::json!(path)), "{seen}");
        assert_eq!(seen["buttons"].to_string().contains("Pre-flight a change"), may, "{seen}");
        assert_eq!(seen["after"], "/sign-in", "signed out: {seen}");
        assert!(seen["refused"].as_str().unwrap().contains("access_denied"), "{seen}");
    }
    daemon.terminate().await;
}
