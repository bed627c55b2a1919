//! The runbooks of the alerts, as a page: what each alert means, and what to do.
//!
//! `deploy/runbooks.md` is the one source. It is compiled in, so that a daemon always serves the runbooks of its own
//! version, and each section has the alert's name as its anchor: `/runbooks#XksProxyDown` is what alerts link to.
//!
//! The page is for everybody, without a token: whoever is woken up clicks a link, and it says nothing about the
//! installation.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::HeaderName;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, html};

/// What is served.
const SOURCE: &str = include_str!("../deploy/runbooks.md");

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:0 auto;padding:1rem}\
pre{overflow-x:auto;padding:.75rem;border:1px solid;border-radius:.25rem}\
code{font-family:ui-monospace,monospace;font-size:.9em;overflow-wrap:anywhere}\
pre code{overflow-wrap:normal}\
h2{margin-top:2.5rem}\
h2:target{border-inline-start:.4rem solid;padding-inline-start:.6rem}\
nav{columns:18rem}";

static PAGE: LazyLock<String> = LazyLock::new(render);

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// The alerts that have a section, in the page's order; each is an anchor.
pub fn sections() -> Vec<&'static str> {
    SOURCE.lines().filter_map(|line| line.strip_prefix("## ")).collect()
}

/// `GET /runbooks`.
pub async fn serve() -> impl IntoResponse {
    let headers: [(HeaderName, &str); 5] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "max-age=300"),
    ];
    (headers, PAGE.as_str())
}

/// The source as HTML, with an anchor for each section and a list of them.
fn render() -> String {
    let mut events: Vec<Event<'_>> = Parser::new_ext(SOURCE, Options::empty()).collect();
    for at in 1..events.len() {
        let (before, after) = events.split_at_mut(at);
        if let (Some(Event::Start(Tag::Heading { level: HeadingLevel::H2, id, .. })), Some(Event::Text(name))) =
            (before.last_mut(), after.first())
        {
            *id = Some(name.clone());
        }
    }
    let mut body = String::new();
    html::push_html(&mut body, events.into_iter());
    // Names of alerts are letters and digits (a test says so), so they need no escaping.
    let links: Vec<String> = sections().iter().map(|name| format!("<a href=\"#{name}\">{name}</a><br>")).collect();
    let contents = format!("</h1>\n<nav aria-label=\"Alerts\">{}</nav>", links.concat());
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>xks-preflight runbooks</title>\n<style>{STYLE}</style>\n<main>\n{}</main>\n</html>\n",
        body.replacen("</h1>", &contents, 1)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_names_that_need_no_escaping_and_are_there_once() {
        let mut sections = sections();
        assert!(sections.len() > 20 && sections.iter().all(|name| name.chars().all(|c| c.is_ascii_alphanumeric())));
        for name in &sections {
            assert_eq!(PAGE.matches(&format!("id=\"{name}\"")).count(), 1, "{name}");
            assert!(PAGE.contains(&format!("href=\"#{name}\"")), "{name}");
        }
        sections.sort_unstable();
        sections.dedup();
        assert_eq!(sections.len(), super::sections().len());
    }
}
