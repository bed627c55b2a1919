//! `GET /probe`: in blackbox_exporter's words, as long as Prometheus waits, and for whoever may.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use xks_preflight::api::Callers;
use xks_preflight::listener::{Limits, Rate};
use xks_preflight::metrics::blackbox::FAMILIES;
use xks_preflight::sandbox::fault::Misbehaviour;

use super::bench::{APPROVER, BOTH, BOUND, Bench, ELSEWHERE, HERE, NEW, PATH, PROBER, token, unlimited};
use super::scrape::agrees;

/// The samples of an exposition, with their labels as they stand.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.map(|line| line.rsplit_once(' ').unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

fn of_store(bench: &Bench) -> String {
    format!("/probe?key_store={}", bench.store)
}

fn of_target() -> String {
    format!("/probe?target={NEW}&path={PATH}&credential=main")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_tells_of_exactly_this_probe_in_blackbox_exporters_words() {
    let bench = Bench::new("probe").await;
    let answer = bench.get(&of_store(&bench)).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/plain; version=0.0.4; charset=utf-8"));
    agrees(&answer.body);
    let seen = samples(&answer.body);
    for (sample, value) in [
        ("probe_success", 1.0),
        ("probe_http_status_code", 200.0),
        ("probe_http_version", 1.1),
        ("probe_http_ssl", 1.0),
        ("probe_http_redirects", 0.0),
        ("probe_ip_protocol", 4.0),
        ("probe_tls_version_info{version=\"TLS 1.3\"}", 1.0),
        ("probe_tls_cipher_info{cipher=\"TLS_AES_256_GCM_SHA384\"}", 1.0),
        ("probe_http_duration_seconds{phase=\"transfer\"}", 0.0),
    ] {
        assert_eq!(seen.get(sample), Some(&value), "{sample}: {}", answer.body);
    }
    for phase in ["connect", "tls", "processing"] {
        let took = seen[&format!("probe_http_duration_seconds{{phase=\"{phase}\"}}")];
        assert!(took > 0.0 && took < 0.25, "{phase}: {took}");
    }
    let [earliest, of_chain] = ["probe_ssl_earliest_cert_expiry", "probe_ssl_last_chain_expiry_timestamp_seconds"];
    assert_eq!(seen[earliest].to_bits(), seen[of_chain].to_bits(), "the whole chain is trusted");
    assert!(seen.keys().any(|name| name.starts_with("probe_ssl_last_chain_info{fingerprint_sha256=")));
    assert!(!answer.body.contains("probe_failure_info"), "{}", answer.body);
    let named = answer.body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let named: Vec<&str> = named.collect();
    assert!(named.iter().all(|name| FAMILIES.contains(name)), "{named:?}");
    // It is counted nowhere and kept nowhere.
    let metrics = bench.get("/metrics").await.body;
    assert!(metrics.contains("xks_preflight_preflights_total{verdict=\"ready\"} 0"), "{metrics}");
    let open = [("accept", "application/openmetrics-text;version=1.0.0")];
    let open = bench.call("GET", &of_store(&bench), Some(&bench.viewer), &open, "").await;
    assert!(open.header("content-type").starts_with("application/openmetrics-text"), "{:?}", open.headers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_tells_where_and_why_and_what_the_certificate_was() {
    let bench = Bench::new("probe-failures").await;
    for (fault, phase, reason, has_certificate, is_trusted) in [
        ("certificate-expired", "tls", "expired", true, true),
        ("certificate-wrong-name", "tls", "name_mismatch", true, true),
        ("certificate-unknown-root", "tls", "unknown_issuer", true, false),
        ("stall-after-request", "http", "timed_out", true, true),
        ("authentication-failed-exception", "sigv4", "authentication_failed", true, true),
        ("tls-stall", "tls", "timed_out", false, false),
    ] {
        bench.candidate.set_faults([fault.parse::<Misbehaviour>().unwrap()]).await;
        let answer = bench.get(&of_target()).await;
        let seen = samples(&answer.body);
        let told = format!("probe_failure_info{{phase=\"{phase}\",reason=\"{reason}\"}}");
        assert_eq!((seen["probe_success"], seen.get(&told)), (0.0, Some(&1.0)), "{fault}: {}", answer.body);
        let end = seen.get("probe_ssl_earliest_cert_expiry");
        assert_eq!(end.is_some(), has_certificate, "{fault}: {}", answer.body);
        let of_chain = seen.get("probe_ssl_last_chain_expiry_timestamp_seconds");
        assert_eq!(of_chain.is_some(), is_trusted, "{fault}: {}", answer.body);
        agrees(&answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_no_longer_than_prometheus_waits() {
    let bench = Bench::new("probe-patience").await;
    bench.candidate.set_faults(["tls-stall".parse::<Misbehaviour>().unwrap()]).await;
    let ask = async |seconds: &str| {
        let header = [("x-prometheus-scrape-timeout-seconds", seconds)];
        bench.call("GET", &of_target(), Some(&token(PROBER)), &header, "").await
    };
    let begun = tokio::time::Instant::now();
    let answer = ask("0.7").await;
    // Without it such a probe takes two attempts of 250 ms and one patient look of two seconds.
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let seen = samples(&answer.body);
    let told = "probe_failure_info{phase=\"probe\",reason=\"timed_out\"}";
    assert_eq!((answer.status, seen["probe_success"], seen.get(told)), (200, 0.0, Some(&1.0)), "{}", answer.body);
    for wrong in ["", "0", "-1", "soon", "NaN", "inf"] {
        let answer = ask(wrong).await;
        assert_eq!((answer.status, answer.json()["reason"].as_str()), (400, Some("invalid_header")), "{wrong:?}");
    }
    assert_eq!(ask("1e300").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_tells_a_person_why() {
    let bench = Bench::new("probe-debug").await;
    bench.candidate.set_faults(["certificate-expired".parse::<Misbehaviour>().unwrap()]).await;
    let answer = bench.get(&format!("{}&debug=true", of_target())).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/plain; charset=utf-8"));
    for part in ["BLOCKED", "tls.validity", "Renew", "What a scrape would be given", "probe_success 0"] {
        assert!(answer.body.contains(part), "{part}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_may_probe_a_key_store_and_whoever_probes_any_target() {
    let bench = Bench::new("probe-access").await;
    let (store, target) = (of_store(&bench), of_target());
    let ask = async |who: Option<u8>, path: &str| {
        let token = who.map(token);
        bench.call("GET", path, token.as_ref(), &[], "").await.status
    };
    let viewer = 1;
    for (who, of_store, of_target) in [
        (None, 401, 401),
        (Some(viewer), 200, 403),
        (Some(PROBER), 200, 200),
        (Some(APPROVER), 200, 200),
        (Some(ELSEWHERE), 403, 403),
        (Some(HERE), 200, 403),
        (Some(BOTH), 200, 403),
    ] {
        assert_eq!((ask(who, &store).await, ask(who, &target).await), (of_store, of_target), "{who:?}");
    }
    for (query, status) in [
        ("", 422),
        ("?key_store=cks-unknown", 404),
        ("?key_store=%2e%2e", 422),
        (&format!("?key_store={}&target={NEW}", bench.store), 422),
        (&format!("?key_store={}&path={PATH}", bench.store), 422),
        (&format!("?target={NEW}"), 422),
        (&format!("?target={NEW}&path={PATH}"), 422),
        (&format!("?target={NEW}&path={PATH}&credential=unknown"), 422),
        (&format!("?target={NEW}&path={PATH}&credential=main&region=nowhere"), 422),
        (&format!("?target={NEW}&path={PATH}&credential=main&connectivity=private"), 422),
        (&format!("?target={NEW}&path={PATH}&credential=main&debug=yes"), 422),
        (&format!("?target={NEW}&path={PATH}&credential=main&module=http_2xx"), 422),
    ] {
        let answer = bench.call("GET", &format!("/probe{query}"), Some(&token(PROBER)), &[], "").await;
        assert_eq!(answer.status, status, "{query}: {}", answer.body);
        assert!(answer.json()["detail"].is_string(), "{query}: {}", answer.body);
    }
    // Settings that KMS would refuse are probed as far as they go, and told.
    let unfit = bench.get(&format!("/probe?target=https://10.0.0.1&path={PATH}&credential=main")).await;
    assert!(
        unfit.body.contains("probe_failure_info{phase=\"input\",reason=\"not_fully_qualified\"} 1"),
        "{}",
        unfit.body
    );
    assert_eq!(bench.post(&store, &json!({})).await.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_is_known_no_page_of_another_site_may_probe() {
    let bench = Bench::new("probe-pages").await;
    bench.service.callers.replace(Callers::default());
    let connected = bench.candidate.accepted_connections();
    let ours = bench.address.to_string();
    for (host, site) in [("rebound.example.com:8480", None), (&*ours, Some("cross-site")), (&*ours, Some("same-site"))]
    {
        for path in [of_target(), of_store(&bench), format!("{}&debug=true", of_store(&bench))] {
            let (status, body) = by_page(&bench, &path, host, site).await;
            assert_eq!(status, 403, "{host} {site:?} {path}: {body}");
            assert!(body.contains("foreign_origin"), "{body}");
        }
    }
    assert_eq!(bench.candidate.accepted_connections(), connected);
    // Whoever works on this machine may, and by this the refusals above would have been seen.
    assert_eq!(by_page(&bench, &of_target(), &ours, None).await.0, 200);
    assert!(bench.candidate.accepted_connections() > connected);
}

/// Which key stores there are, and how they are, is nothing for a page that somebody on this machine happens to look at.
#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_is_known_no_page_of_another_site_reads_metrics() {
    let bench = Bench::open("metrics-pages", unlimited()).await;
    let ours = bench.address.to_string();
    let pages = [("rebound.example.com:8480", None), (&*ours, Some("cross-site"))];
    // With tokens configured they are for everybody on this machine, as ever.
    for (host, site) in pages {
        assert_eq!(by_page(&bench, "/metrics", host, site).await.0, 200, "{host} {site:?}");
    }
    bench.service.callers.replace(Callers::default());
    for (host, site) in pages {
        let (status, body) = by_page(&bench, "/metrics", host, site).await;
        assert!(status == 403 && body.contains("foreign_origin"), "{host} {site:?}: {status} {body}");
    }
    for host in [&*ours, "localhost:8480", "[::1]:8480"] {
        assert_eq!(by_page(&bench, "/metrics", host, None).await.0, 200, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_say_who_they_are_gets_what_metrics_tell_and_no_more() {
    let failures = Rate::within(Duration::from_hours(1), NonZeroU32::new(7).unwrap());
    let rate = Rate::within(Duration::from_millis(1), NonZeroU32::new(1_000_000).unwrap());
    let bench = Bench::open("probe-open", Limits::new(rate, failures)).await;
    let (store, target, ours) = (of_store(&bench), of_target(), bench.address.to_string());
    let debug = format!("{store}&debug=true");
    let connected = bench.candidate.accepted_connections();
    // Each of these counts: seven, and no more.
    assert_eq!(by_page(&bench, &store, &ours, None).await.0, 200);
    assert_eq!(by_page(&bench, &debug, &ours, None).await.0, 401);
    assert_eq!(by_page(&bench, &target, &ours, None).await.0, 401);
    assert_eq!(by_page(&bench, &store, "rebound.example.com", None).await.0, 403);
    assert_eq!(by_page(&bench, &store, &ours, Some("cross-site")).await.0, 403);
    {
        let _all = bench.service.strangers.try_acquire().unwrap();
        assert_eq!(by_page(&bench, &store, &ours, None).await.0, 503);
        // Those who say who they are have places of their own.
        assert_eq!(bench.get(&store).await.status, 200);
    }
    assert_eq!(by_page(&bench, &store, &ours, None).await.0, 200);
    assert_eq!(by_page(&bench, &store, &ours, None).await.0, 429);
    assert_eq!(bench.get(&debug).await.status, 200);
    assert_eq!(bench.call("GET", &debug, Some(&token(ELSEWHERE)), &[], "").await.status, 403);
    assert_eq!(bench.candidate.accepted_connections(), connected);
}

/// What a browser gets that has no token: with the host that its page is of, and the site that it is of.
async fn by_page(bench: &Bench, path: &str, host: &str, site: Option<&str>) -> (u16, String) {
    let site = site.map(|site| format!("Sec-Fetch-Site: {site}\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{site}Connection: close\r\n\r\n");
    let asked = async {
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::time::timeout(BOUND, asked).await.unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}
