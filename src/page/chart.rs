//! Charts, drawn by the server as SVG with attributes alone: the content security policy forbids styles within the page.

use std::fmt::Write as _;
use std::time::Duration;

use maud::{Markup, html};

use super::legible::milliseconds;
use crate::check::{Attempt, KMS_TIME_LIMIT, Verdict};
use crate::monitor::Glance;

/// What the height stands for: KMS's limit and a little more.
const CEILING_MS: f64 = 300.0;
/// Probes that have room without getting closer; fewer keep to the right, where the present is.
const PLACES: usize = 24;

/// A line of probes, in pixels.
#[derive(Clone, Copy, Debug)]
struct Frame {
    class: &'static str,
    width: f64,
    height: f64,
    /// Room below KMS's limit for its name; 0 leaves it out.
    named: f64,
}

const SPARK: Frame = Frame { class: "spark", width: 132.0, height: 30.0, named: 0.0 };
const TREND: Frame = Frame { class: "spark large", width: 380.0, height: 120.0, named: 12.0 };

fn in_ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

/// The slowest attempt of each probe against KMS's limit, in a row of a table.
pub(super) fn sparkline<'a>(glances: impl ExactSizeIterator<Item = &'a Glance>) -> Markup {
    drawn(glances, SPARK)
}

/// The same with room for it.
pub(super) fn trend<'a>(glances: impl ExactSizeIterator<Item = &'a Glance>) -> Markup {
    drawn(glances, TREND)
}

fn drawn<'a>(glances: impl ExactSizeIterator<Item = &'a Glance>, frame: Frame) -> Markup {
    let count = glances.len();
    if count == 0 {
        return html! { span.muted { "no probe yet" } };
    }
    let Frame { class, width, height, named } = frame;
    let places = count.max(PLACES) - 1;
    let step = (width - 6.0) / places as f64;
    let first = (places + 1 - count) as f64;
    let up = |ms: f64| height - 2.0 - ms.min(CEILING_MS) / CEILING_MS * (height - 4.0);
    let (mut line, mut marks, mut end) = (String::new(), Vec::new(), None);
    let (mut bad, mut slowest, mut latest) = (0, 0.0_f64, None);
    for (at, glance) in glances.enumerate() {
        let x = 3.0 + (first + at as f64) * step;
        let y = glance.slowest.map(|took| up(in_ms(took)));
        if let Some(y) = y {
            // Writing to a String cannot fail.
            let _ = write!(line, "{}{x:.1} {y:.1}", if line.is_empty() { "M" } else { "L" });
        }
        end = y.map(|y| (x, y));
        slowest = slowest.max(glance.slowest.map(in_ms).unwrap_or_default());
        latest = glance.slowest;
        if glance.verdict != Verdict::Ready {
            bad += 1;
            marks.push((x, y.unwrap_or(3.0)));
        }
    }
    let limit = up(in_ms(KMS_TIME_LIMIT));
    let label = format!(
        "Slowest attempt of the last {count} probes: latest {}, highest {slowest:.0} ms, KMS's limit is {} ms; {bad} not ready",
        latest.map_or_else(|| "none".to_owned(), milliseconds),
        KMS_TIME_LIMIT.as_millis()
    );
    html! {
        svg class=(class) role="img" aria-label=(label) viewBox=(format!("0 0 {width} {height}")) width=(width) height=(height) {
            title { (label) }
            line.limit x1="0" x2=(width) y1=(format!("{limit:.1}")) y2=(format!("{limit:.1}")) vector-effect="non-scaling-stroke" {}
            @if named > 0.0 { text.limit x="0" y=(format!("{:.1}", limit + named)) { (KMS_TIME_LIMIT.as_millis()) " ms" } }
            path.line d=(line) {}
            @if let Some((x, y)) = end { circle.now cx=(format!("{x:.1}")) cy=(format!("{y:.1}")) r="2.5" {} }
            @for (x, y) in &marks {
                path.mark d=(format!("M{:.1} {:.1}l5 5m0-5l-5 5", x - 2.5, y - 2.5)) {}
            }
        }
    }
}

/// One attempt as a bar of its stages, against KMS's limit. All bars of a chart share `scale_ms`.
pub(super) fn bar(attempt: &Attempt, scale_ms: f64) -> Markup {
    let mut from = 0.0;
    let stages = [("connect", attempt.connect), ("tls", attempt.tls), ("request", attempt.request)];
    let parts: Vec<_> = stages
        .into_iter()
        .filter_map(|(name, took)| {
            let width = in_ms(took?);
            let x = from;
            from += width;
            Some((name, x, width))
        })
        .collect();
    let limit = in_ms(KMS_TIME_LIMIT);
    html! {
        svg.bar aria-hidden="true" viewBox=(format!("0 0 {scale_ms:.1} 10")) preserveAspectRatio="none" {
            rect.track x="0" y="0" width=(format!("{scale_ms:.1}")) height="10" {}
            @for (name, x, width) in &parts {
                rect class=(name) x=(format!("{x:.2}")) y="1" width=(format!("{:.2}", width.max(scale_ms / 400.0))) height="8" {}
            }
            line.limit x1=(limit) x2=(limit) y1="0" y2="10" vector-effect="non-scaling-stroke" {}
        }
    }
}

/// What the bars of a chart stand for, in milliseconds: KMS's limit, or the slowest attempt.
pub(super) fn scale<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> f64 {
    attempts.map(|attempt| in_ms(attempt.total()) * 1.05).fold(CEILING_MS, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn a_chart_stays_within_itself_whatever_was_measured() {
        let glance = |ms: Option<u64>, verdict| Glance {
            at: Timestamp::from_unix(0),
            slowest: ms.map(Duration::from_millis),
            verdict,
        };
        let glances = [
            glance(Some(12), Verdict::Ready),
            glance(Some(90_000), Verdict::Blocked),
            glance(None, Verdict::Inconclusive),
        ];
        let drawn = sparkline(glances.iter()).into_string();
        assert!(drawn.contains("d=\"M118.0 27.0L123.5 2.0\""), "{drawn}");
        assert_eq!(drawn.matches("class=\"mark\"").count(), 2);
        assert!(!drawn.contains("circle"), "the latest probe has nothing to show");
        assert!(drawn.contains("latest none, highest 90000 ms, KMS's limit is 250 ms; 2 not ready"), "{drawn}");
    }
}
