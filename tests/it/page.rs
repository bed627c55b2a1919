//! The page as its bytes: signing in and out, what answers forbid a browser, whose orders are taken. What a browser makes
//! of it is in `browser`.

mod browser;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::daemon::stage::{BOUND, Daemon, Stage, TOKEN, until};

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
