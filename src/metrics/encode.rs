//! The text formats.

use prometheus::proto::MetricFamily;
use prometheus::{Encoder, TextEncoder};

/// Prometheus' own text format, version 0.0.4.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// OpenMetrics 1.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a scraper is sent.
#[derive(Clone, Debug)]
pub struct Exposition {
    /// Its media type.
    pub content_type: &'static str,
    /// The text.
    pub body: String,
}

pub(super) fn encode(families: &[MetricFamily], accept: Option<&str>) -> Result<Exposition, prometheus::Error> {
    let mut bytes = Vec::new();
    TextEncoder::new().encode(families, &mut bytes)?;
    let text = String::from_utf8(bytes).map_err(|error| prometheus::Error::Msg(error.to_string()))?;
    if accept.is_some_and(prefers_open_metrics) {
        Ok(Exposition { content_type: OPEN_METRICS, body: as_open_metrics(&text) })
    } else {
        Ok(Exposition { content_type: TEXT, body: text })
    }
}

/// Whether OpenMetrics is asked for at all: Prometheus lists it first when it wants it, others do not name it.
fn prefers_open_metrics(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/openmetrics-text"));
        named && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0"))
    })
}

/// The two formats differ, for the metrics we have, in the family name of a counter (without `_total`) and in the mark
/// at the end (OpenMetrics 1.0, "Counter", "Overall Structure").
fn as_open_metrics(text: &str) -> String {
    let counters: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")?.strip_suffix("_total"))
        .collect();
    let mut open = String::with_capacity(text.len() + 8);
    for line in text.lines() {
        let renamed = ["# HELP ", "# TYPE "].into_iter().find_map(|lead| {
            let (name, rest) = line.strip_prefix(lead)?.split_once(' ')?;
            let family = name.strip_suffix("_total").filter(|family| counters.contains(family))?;
            Some(format!("{lead}{family} {rest}"))
        });
        open.push_str(renamed.as_deref().unwrap_or(line));
        open.push('\n');
    }
    open.push_str("# EOF\n");
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_lose_their_suffix_in_the_family_name_only() {
        let text = "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"_total\"} 1\n";
        let open = "# HELP a Things.\n# TYPE a counter\na_total{x=\"_total\"} 1\n# EOF\n";
        assert_eq!(as_open_metrics(text), open);
    }

    #[test]
    fn what_scrapers_ask_for() {
        for (accept, open) in [
            ("application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5", true),
            ("text/plain;version=0.0.4", false),
            ("application/openmetrics-text;q=0, */*", false),
            ("*/*", false),
            ("", false),
        ] {
            assert_eq!(prefers_open_metrics(accept), open, "{accept}");
        }
    }
}
