//! Charts, drawn by the server as SVG with attributes alone: the content security policy forbids styles within the page.

use std::fmt::Write as _;
use std::time::Duration;

use maud::{Markup, html};

use super::legible::milliseconds;
use crate::check::{Attempt, KMS_TIME_LIMIT, Verdict};
use crate::monitor::Glance;

const WIDTH: f64 = 132.0;
const HEIGHT: f64 = 30.0;
/// What the height stands for: KMS's limit and a little more.
const CEILING_MS: f64 = 300.0;

fn in_ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

/// The slowest attempt of each probe against KMS's limit.
pub(super) fn sparkline<'a>(glances: impl ExactSizeIterator<Item = &'a Glance>) -> Markup {
    let count = glances.len();
    if count == 0 {
        return html! { span.muted { "no probe yet" } };
    }
    let step = (WIDTH - 6.0) / (count.max(2) - 1) as f64;
    let height = |ms: f64| HEIGHT - 2.0 - ms.min(CEILING_MS) / CEILING_MS * (HEIGHT - 4.0);
    let (mut line, mut marks, mut end) = (String::new(), Vec::new(), None);
    let (mut bad, mut slowest, mut latest) = (0, 0.0_f64, None);
    for (at, glance) in glances.enumerate() {
        let x = 3.0 + at as f64 * step;
        let y = glance.slowest.map(|took| height(in_ms(took)));
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
    let limit = height(in_ms(KMS_TIME_LIMIT));
    let label = format!(
        "Slowest attempt of the last {count} probes: latest {}, highest {slowest:.0} ms, KMS's limit is {} ms; {bad} not ready",
        latest.map_or_else(|| "none".to_owned(), milliseconds),
        KMS_TIME_LIMIT.as_millis()
    );
    html! {
        svg.spark role="img" aria-label=(label) viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) width=(WIDTH) height=(HEIGHT) {
            title { (label) }
            line.limit x1="0" x2=(WIDTH) y1=(format!("{limit:.1}")) y2=(format!("{limit:.1}")) vector-effect="non-scaling-stroke" {}
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
        assert!(drawn.contains("d=\"M3.0 27.0L66.0 2.0\""), "{drawn}");
        assert_eq!(drawn.matches("class=\"mark\"").count(), 2);
        assert!(!drawn.contains("circle"), "the latest probe has nothing to show");
        assert!(drawn.contains("latest none, highest 90000 ms, KMS's limit is 250 ms; 2 not ready"), "{drawn}");
    }
}
