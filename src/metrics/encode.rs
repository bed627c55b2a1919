//! The text formats.

use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{Encoder as _, TextEncoder};

use super::Metric;

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

/// A family in Prometheus' text format.
pub(super) struct Family {
    name: String,
    is_counter: bool,
    /// Two lines: its help text and its type.
    head: String,
    text: String,
}

impl Family {
    pub(super) fn of(family: &MetricFamily) -> Result<Self, prometheus::Error> {
        let mut bytes = Vec::new();
        TextEncoder::new().encode(std::slice::from_ref(family), &mut bytes)?;
        let mut head = String::from_utf8(bytes).map_err(|error| prometheus::Error::Msg(error.to_string()))?;
        let ends = head.match_indices('\n').nth(1).map_or(head.len(), |(at, _)| at + 1);
        let text = head.split_off(ends);
        let is_counter = family.get_field_type() == MetricType::COUNTER;
        Ok(Self { name: family.name().to_owned(), is_counter, head, text })
    }
}

/// One gauge, written as its rows come: a registry made for one scrape of ten thousand key stores spends more time on
/// its own books than all the rest takes.
pub(super) struct Gauge {
    metric: &'static Metric,
    name: String,
    text: String,
    /// A scraper refuses all of a scrape for one row that is there twice.
    #[cfg(debug_assertions)]
    rows: std::collections::HashSet<Vec<String>>,
}

impl Gauge {
    pub(super) fn new(metric: &'static Metric) -> Self {
        Self {
            metric,
            name: metric.full_name(),
            text: String::new(),
            #[cfg(debug_assertions)]
            rows: std::collections::HashSet::new(),
        }
    }

    /// `values` belong to the labels in their order, and no row may come twice.
    pub(super) fn row(&mut self, values: &[&str], value: f64) {
        debug_assert_eq!(values.len(), self.metric.labels.len(), "{}", self.metric.name);
        #[cfg(debug_assertions)]
        assert!(
            self.rows.insert(values.iter().map(ToString::to_string).collect()),
            "{} {values:?} comes twice",
            self.name
        );
        self.text.push_str(&self.name);
        let mut before = "{";
        for (label, value) in self.metric.labels.iter().zip(values) {
            self.text.extend([before, label, "=\""]);
            push_escaped(&mut self.text, value);
            self.text.push('"');
            before = ",";
        }
        self.text.push_str(if values.is_empty() { " " } else { "} " });
        push_value(&mut self.text, value);
        self.text.push('\n');
    }

    /// `None` without a row, as a registry has it.
    pub(super) fn finish(self) -> Option<Family> {
        let Self { metric, name, text, .. } = self;
        let head = format!("# HELP {name} {help}\n# TYPE {name} gauge\n", help = metric.help);
        (!text.is_empty()).then_some(Family { name, is_counter: false, head, text })
    }
}

/// Backslash, quotation mark and line feed, as the format has it.
fn push_escaped(text: &mut String, value: &str) {
    if !value.contains(['\\', '"', '\n']) {
        text.push_str(value);
        return;
    }
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

const ONE: u64 = 1.0_f64.to_bits();

fn push_value(text: &mut String, value: f64) {
    // Most are states, and need no formatting.
    match value.to_bits() {
        0 => text.push('0'),
        ONE => text.push('1'),
        _ => text.push_str(&value.to_string()),
    }
}

/// All of them in the order of their names, in the form that is asked for.
pub(super) fn encode(mut families: Vec<Family>, accept: Option<&str>) -> Exposition {
    families.sort_by(|a, b| a.name.cmp(&b.name));
    let is_open = accept.is_some_and(prefers_open_metrics);
    let length = families.iter().map(|family| family.head.len() + family.text.len()).sum::<usize>();
    let mut body = String::with_capacity(length + 8);
    for Family { name, is_counter, head, text } in &families {
        // OpenMetrics 1.0, "Counter" and "Overall Structure": for the metrics that we have, the formats differ in the
        // name of a counter's family, which has no `_total` there, and in the mark at the end.
        match name.strip_suffix("_total").filter(|_| is_open && *is_counter) {
            Some(renamed) => body.push_str(&head.replace(&format!(" {name} "), &format!(" {renamed} "))),
            None => body.push_str(head),
        }
        body.push_str(text);
    }
    if is_open {
        body.push_str("# EOF\n");
    }
    Exposition { content_type: if is_open { OPEN_METRICS } else { TEXT }, body }
}

/// Whether OpenMetrics is asked for at all: Prometheus lists it first when it wants it, others do not name it.
fn prefers_open_metrics(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/openmetrics-text"));
        named && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(name: &str, is_counter: bool, head: &str, text: &str) -> Family {
        Family { name: name.to_owned(), is_counter, head: head.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn counters_lose_their_suffix_in_the_family_name_only() {
        let families = || {
            vec![
                family("b_total", false, "# HELP b_total B.\n# TYPE b_total gauge\n", "b_total 2\n"),
                family("a_total", true, "# HELP a_total A.\n# TYPE a_total counter\n", "a_total{x=\"_total\"} 1\n"),
            ]
        };
        let open = "# HELP a A.\n# TYPE a counter\na_total{x=\"_total\"} 1\n\
                    # HELP b_total B.\n# TYPE b_total gauge\nb_total 2\n# EOF\n";
        assert_eq!(encode(families(), Some("application/openmetrics-text")).body, open);
        let plain = "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"_total\"} 1\n\
                     # HELP b_total B.\n# TYPE b_total gauge\nb_total 2\n";
        assert_eq!(encode(families(), None).body, plain);
    }

    const THINGS: Metric =
        Metric { name: "things", kind: super::super::Kind::Gauge, help: "Things.", labels: &["a", "b"] };
    const ALONE: Metric = Metric { name: "alone", kind: super::super::Kind::Gauge, help: "One.", labels: &[] };

    /// The library's own encoder is the measure.
    #[test]
    fn gauges_are_written_as_the_library_writes_them() {
        let values = [0.0, 1.0, 0.035, -2.5, 1_790_000_000.0, 1e21, f64::MAX];
        let texts = ["cks-1", "", "back\\slash", "a \"quote\"", "two\nlines", "Grüße", "{,=}"];
        let mut gauge = Gauge::new(&THINGS);
        let mut alone = Gauge::new(&ALONE);
        alone.row(&[], 3.0);
        let registry = prometheus::Registry::new();
        let library = prometheus::GaugeVec::new(prometheus::Opts::new(THINGS.full_name(), THINGS.help), THINGS.labels);
        let library = library.unwrap();
        registry.register(Box::new(library.clone())).unwrap();
        for (text, value) in texts.into_iter().zip(values) {
            gauge.row(&[text, "x"], value);
            library.with_label_values(&[text, "x"]).set(value);
        }
        let lines = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let theirs = Family::of(&registry.gather()[0]).unwrap().text;
        assert_eq!(lines(&gauge.finish().unwrap().text), lines(&theirs));
        assert_eq!(alone.finish().unwrap().text, "xks_preflight_alone 3\n");
    }

    #[test]
    fn a_gauge_without_rows_is_left_out() {
        assert!(Gauge::new(&THINGS).finish().is_none());
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "comes twice")]
    fn a_row_comes_once() {
        let mut gauge = Gauge::new(&THINGS);
        gauge.row(&["a", "x"], 1.0);
        gauge.row(&["a", "x"], 1.0);
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
