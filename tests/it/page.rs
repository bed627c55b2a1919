//! The page as its bytes: signing in and out, what answers forbid a browser, whose orders are taken. What a browser makes
//! of it is in `browser`.

mod browser;
mod forms;
mod signing_in;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use xks_preflight::sandbox::kms::{Backing, SeedStore};

use crate::daemon::stage::{BOUND, Daemon, NEW, OLD, Stage, TOKEN, until};
use crate::peers::{PATH, SECRET};

/// An answer with its head.
struct Page {
    status: u16,
    head: String,
    body: String,
}

impl Page {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The session that it begins, as a browser would send it.
    fn session(&self) -> &str {
        self.header("set-cookie").and_then(|cookie| cookie.split(';').next()).unwrap()
    }

    /// What marks its forms.
    fn mark(&self) -> &str {
        let (_, rest) = self.body.split_once("name=\"mark\" value=\"").unwrap();
        rest.split('"').next().unwrap()
    }
}

async fn ask(daemon: &Daemon, head: &str, headers: &[(&str, &str)], form: &[(&str, &str)]) -> Page {
    let mut body = form_urlencoded::Serializer::new(String::new());
    let body = body.extend_pairs(form).finish();
    let headers: String = headers.iter().flat_map(|(name, value)| [*name, ": ", *value, "\r\n"]).collect();
    let request = format!(
        "{head} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}Content-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{body}",
        daemon.address,
        body.len()
    );
    let mut stream = TcpStream::connect(&daemon.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(BOUND, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    Page { status, head: head.to_owned(), body: body.to_owned() }
}

const OURS: (&str, &str) = ("Sec-Fetch-Site", "same-origin");

async fn sign_in(daemon: &Daemon, token: &str, next: &str) -> Page {
    ask(daemon, "POST /sign-in", &[OURS], &[("token", token), ("next", next)]).await
}

#[tokio::test]
async fn a_session_begins_with_a_token_and_ends_with_the_visitor() {
    let stage = Stage::new("page-session").await;
    let daemon = Daemon::start(&stage, None).await;
    let stranger = ask(&daemon, "GET /?q=pay", &[], &[]).await;
    assert_eq!((stranger.status, stranger.header("location")), (303, Some("/sign-in?next=%2F%3Fq%3Dpay")));
    let looked = daemon.call("GET", "/v1/audit", None).await;
    assert!(!looked.body.contains("authenticate"), "who has tried nothing was refused nothing: {}", looked.body);
    let wrong = sign_in(&daemon, "xkspf_notatokenofthisplace", "/").await;
    assert_eq!((wrong.status, wrong.header("set-cookie")), (401, None));
    assert!(wrong.body.contains("Not signed in"), "{}", wrong.body);
    let noted = daemon.call("GET", "/v1/audit", None).await;
    assert!(noted.body.contains("authenticate") && noted.body.contains("POST /sign-in"), "{}", noted.body);

    let entered = sign_in(&daemon, TOKEN, "/?q=pay").await;
    assert_eq!((entered.status, entered.header("location")), (303, Some("/?q=pay")));
    let cookie = entered.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Max-Age=28800", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let session = ("Cookie", entered.session());
    let overview = ask(&daemon, "GET /", &[session], &[]).await;
    assert_eq!(overview.status, 200, "{}", overview.body);
    assert!(overview.body.contains(&stage.key_store) && overview.body.contains("payments"), "{}", overview.body);
    assert!(!overview.body.contains(TOKEN) && !overview.body.contains(entered.session()));
    // The session is for the page alone.
    assert_eq!(ask(&daemon, "GET /v1/key-stores", &[session], &[]).await.status, 401);

    // Another site's form, and one without its mark, change nothing.
    let foreign = [session, ("Sec-Fetch-Site", "cross-site")];
    let mark = overview.mark();
    assert_eq!(ask(&daemon, "POST /sign-out", &foreign, &[("mark", mark)]).await.status, 403);
    assert_eq!(ask(&daemon, "POST /sign-out", &[session], &[("mark", mark)]).await.status, 403);
    assert_eq!(ask(&daemon, "POST /sign-out", &[session, OURS], &[("mark", "guessed")]).await.status, 403);
    assert_eq!(ask(&daemon, "GET /", &[session], &[]).await.status, 200);

    let left = ask(&daemon, "POST /sign-out", &[session, OURS], &[("mark", mark)]).await;
    assert_eq!((left.status, left.header("location")), (303, Some("/sign-in")));
    assert_eq!(
        ask(&daemon, "GET /", &[session], &[]).await.status,
        303,
        "the session is over, whoever kept its cookie"
    );
    daemon.terminate().await;
}

#[tokio::test]
async fn answers_forbid_browsers_everything_that_the_page_does_not_need() {
    let stage = Stage::new("page-headers").await;
    let daemon = Daemon::start(&stage, None).await;
    for (path, status) in [("/sign-in", 200), ("/", 303), ("/assets/page.css", 200), ("/assets/page.js", 200)] {
        let page = ask(&daemon, &format!("GET {path}"), &[], &[]).await;
        assert_eq!(page.status, status, "{path}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("referrer-policy"), Some("same-origin"));
        assert!(!page.body.contains("style=") && !page.body.contains("onclick"), "{path}");
    }
    daemon.terminate().await;
}

#[tokio::test]
async fn a_session_ends_at_once_when_its_token_is_no_longer_configured() {
    let going = "xkspf_TestGoingDoNotLeak0123456789012345678901234";
    let stage = Stage::new("page-reloaded").await;
    let before = std::fs::read_to_string(stage.directory.join("config.toml")).unwrap();
    stage.with_people(&[("going", going, "viewer")]);
    let daemon = Daemon::start(&stage, None).await;
    let (entered, other) = (sign_in(&daemon, going, "/").await, sign_in(&daemon, TOKEN, "/").await);
    let sees = async |cookie: &str| ask(&daemon, "GET /", &[("Cookie", cookie)], &[]).await.status;
    assert_eq!((sees(entered.session()).await, sees(other.session()).await), (200, 200));
    std::fs::write(stage.directory.join("config.toml"), before).unwrap();
    daemon.signal("-HUP").await;
    until(BOUND, "the configuration is taken", || async { daemon.has_told("configuration is read anew") }).await;
    assert_eq!((sees(entered.session()).await, sees(other.session()).await), (303, 200));
    daemon.terminate().await;
}

#[tokio::test]
async fn the_overview_shows_a_hundred_key_stores_at_a_time_and_finds_the_others() {
    let stage = Stage::new("page-many").await;
    for number in 0..120 {
        let store = SeedStore::public(&format!("store {number:03}"), OLD, PATH, "ANOTHERACCESSKEYID234567", SECRET);
        stage.kms.add_store(store);
    }
    let daemon = Daemon::start(&stage, None).await;
    let entered = sign_in(&daemon, TOKEN, "/").await;
    let session = ("Cookie", entered.session());
    let shown = async |path: &str| {
        let page = ask(&daemon, &format!("GET {path}"), &[session], &[]).await;
        assert_eq!(page.status, 200, "{path}");
        (page.body.matches("<th scope=\"row\">").count(), page.body)
    };
    until(BOUND, "KMS told of all", || async { shown("/").await.1.contains("of 121") }).await;
    let (rows, first) = shown("/").await;
    assert!(rows == 100 && first.contains("1 to 100 of 121") && first.contains("href=\"/?page=2\""), "{rows}");
    assert!(!first.contains("rel=\"prev\""));
    for last in ["/?page=2", "/?page=99"] {
        let (rows, page) = shown(last).await;
        assert!(rows == 21 && page.contains("101 to 121 of 121") && !page.contains("rel=\"next\""), "{last}: {rows}");
    }
    assert_eq!(shown("/?page=none").await.0, 100);
    // The way on keeps what was looked for.
    let (rows, found) = shown("/?q=STORE+0&standing=not+watched").await;
    assert!(rows == 100 && found.contains("100 of 121") && !found.contains("rel=\"next\""), "{rows}");
    let (rows, found) = shown("/?q=store&standing=not+watched").await;
    assert!(rows == 100 && found.contains("href=\"/?q=store&amp;standing=not+watched&amp;page=2\""), "{rows}");
    let (rows, found) = shown("/?q=store+11").await;
    assert!(rows == 10 && found.contains("10 of 121"), "{rows}");
    // Whoever has many is not offered a list that nobody reads to its end, nor is the browser.
    let (_, form) = shown("/preflights").await;
    assert_eq!(form.matches("<option value=\"cks-").count(), 121);
    daemon.terminate().await;
}

#[tokio::test]
async fn a_verdict_on_former_settings_is_not_shown_as_one_on_the_present_ones() {
    let stage = Stage::new("page-former").await;
    let daemon = Daemon::start(&stage, None).await;
    let entered = sign_in(&daemon, TOKEN, "/").await;
    let session = ("Cookie", entered.session());
    let look = async |path: &str| ask(&daemon, &format!("GET {path}"), &[session], &[]).await.body;
    let path = format!("/key-stores/{}", stage.key_store);
    until(BOUND, "it is probed", || async { look(&path).await.contains("KMS would accept these settings") }).await;
    assert!(!look(&path).await.contains("former ones"));
    assert!(stage.kms.tamper(&stage.key_store, |store| {
        let Backing::External(xks) = &mut store.backing else { panic!("it is external") };
        xks.endpoint = "https://elsewhere.xks.example.com".to_owned();
    }));
    until(BOUND, "the change is seen", || async { look("/").await.contains("the former ones were ready") }).await;
    let page = look(&path).await;
    assert!(page.contains("Its settings have changed since it was probed.") && page.contains(OLD), "{page}");
    assert!(page.contains("not probed since its settings changed"), "{page}");
    assert!(!page.contains("KMS would accept these settings"), "{page}");
    let overview = look("/").await;
    assert!(overview.contains("the former ones were ready") && overview.contains("not probed"), "{overview}");
    let known = daemon.call("GET", &format!("/v1/key-stores/{}", stage.key_store), None).await.json();
    assert!(known["latest"].is_null(), "{known:#}");
    let metrics = daemon.call("GET", "/metrics", None).await.body;
    assert!(!metrics.contains("xks_preflight_probe_success{"), "{metrics}");
    daemon.terminate().await;
}

#[tokio::test]
async fn a_key_stores_page_tells_how_long_its_candidates_are_green_and_what_the_gate_asks_for() {
    let stage = Stage::with_test_key("page-candidates").await;
    stage.reconfigured("[update]", "[update]\nrequire_green = \"24h\"");
    let daemon = Daemon::start(&stage, None).await;
    let entered = sign_in(&daemon, TOKEN, "/").await;
    let session = ("Cookie", entered.session());
    let path = format!("/key-stores/{}", stage.key_store);
    let look = async |daemon: &Daemon| ask(daemon, &format!("GET {path}"), &[session], &[]).await.body;
    until(BOUND, "it is described", || async { look(&daemon).await.contains("No candidate is watched") }).await;
    assert!(look(&daemon).await.contains("needs a candidate that has been green for 24 h"));
    let candidate = format!("[[key_stores.candidates]]\nname = \"tuesday\"\nendpoint = \"{NEW}\"\n[monitor]");
    stage.reconfigured("[monitor]", &candidate);
    daemon.signal("-HUP").await;
    until(BOUND, "it is green", || async { look(&daemon).await.contains("</svg>green</span>") }).await;
    let page = look(&daemon).await;
    let (_, section) = page.split_once("aria-label=\"Candidates\"").unwrap();
    let (section, _) = section.split_once("</section>").unwrap();
    for told in ["tuesday", NEW, "data-label=\"Enough\"><time", "/preflights/report-"] {
        assert!(section.contains(told), "{told}\n{section}");
    }
    daemon.terminate().await;
}

#[tokio::test]
async fn a_browser_that_asks_for_nothing_is_told_so_in_a_page_and_a_program_in_a_document() {
    let stage = Stage::new("page-nowhere").await;
    let daemon = Daemon::start(&stage, None).await;
    let browser = ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
    for (path, accept, kind) in [
        ("/nosuch", browser, "text/html; charset=utf-8"),
        ("/nosuch", ("Accept", "*/*"), "application/problem+json"),
        ("/v1/nosuch", browser, "application/problem+json"),
    ] {
        let page = ask(&daemon, &format!("GET {path}"), &[accept], &[]).await;
        assert_eq!((page.status, page.header("content-type")), (404, Some(kind)), "{path}");
    }
    let page = ask(&daemon, "GET /nosuch-%3Cscript%3E", &[browser], &[]).await;
    assert!(page.body.contains("Nothing here") && !page.body.contains("nosuch"), "{}", page.body);
    assert!(page.header("content-security-policy").is_some());
    daemon.terminate().await;
}
