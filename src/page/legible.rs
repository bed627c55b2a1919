//! Text of strangers made fit to be shown: cut to a length, and without characters that hide or turn text around.
//! Escaping is done by the templates.

use std::time::Duration;

use maud::{Markup, html};

use crate::clock::Timestamp;

/// The longest text of a stranger that is shown in a line.
const LINE: usize = 120;
/// The longest that is shown where there is room, in characters.
const PARAGRAPH: usize = 600;

/// A short text, such as a name that a proxy gives itself.
pub(super) fn line(text: &str) -> Markup {
    cut(text, LINE)
}

/// A longer text, such as the detail of a finding.
pub(super) fn paragraph(text: &str) -> Markup {
    cut(text, PARAGRAPH)
}

fn cut(text: &str, most: usize) -> Markup {
    let shown: String = text.chars().take(most).map(visible).collect();
    // Counted only where it is needed: such a text may be a megabyte.
    let rest = text.chars().skip(most).count();
    html! {
        (shown)
        @if rest > 0 { "…" span.muted { " (" (rest) " more characters)" } }
    }
}

/// Controls, and what changes the direction of writing or has no width, become a mark.
fn visible(character: char) -> char {
    match character {
        '\n' | '\t' => ' ',
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{ad}' => {
            '\u{fffd}'
        }
        _ if character.is_control() => '\u{fffd}',
        _ => character,
    }
}

/// An instant: how far away it is, and exactly when in the title.
pub(super) fn instant(at: Timestamp, now: Timestamp) -> Markup {
    let exact = at.to_string();
    html! { time datetime=(exact) title=(exact) { (distance(at, now)) } }
}

/// "3 min ago", "in 2 h".
fn distance(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.unix().saturating_sub(at.unix());
    let (away, past) = (seconds.unsigned_abs(), seconds >= 0);
    let amount = match away {
        0..5 if past => return "just now".to_owned(),
        0..60 => format!("{away} s"),
        60..3_600 => format!("{} min", away / 60),
        3_600..86_400 => format!("{} h", away / 3_600),
        _ => format!("{} d", away / 86_400),
    };
    if past { format!("{amount} ago") } else { format!("in {amount}") }
}

/// Milliseconds with as many digits as mean something: `4.2 ms`, `187 ms`.
pub(super) fn milliseconds(took: Duration) -> String {
    let milliseconds = took.as_secs_f64() * 1e3;
    if milliseconds < 100.0 { format!("{milliseconds:.1} ms") } else { format!("{milliseconds:.0} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_strangers_is_escaped_cut_and_visible() {
        let shown = line("<script>alert(1)</script>").into_string();
        assert_eq!(shown, "&lt;script&gt;alert(1)&lt;/script&gt;");
        let shown = line(&"é".repeat(1_000_000)).into_string();
        assert!(shown.len() < 400 && shown.contains("999880 more characters"), "{}", shown.len());
        assert_eq!(line("a\u{202e}b\u{0}c\nd").into_string(), "a\u{fffd}b\u{fffd}c d");
    }

    #[test]
    fn distances_are_told_in_one_unit() {
        let at = |seconds| distance(Timestamp::from_unix(seconds), Timestamp::from_unix(1_000_000));
        let told = [999_998, 999_959, 999_400, 990_000, 700_000, 1_000_090].map(at);
        assert_eq!(told, ["just now", "41 s ago", "10 min ago", "2 h ago", "3 d ago", "in 1 min"]);
    }
}
