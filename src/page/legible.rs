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

/// With a capital at its beginning.
pub(super) fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map(|first| format!("{}{}", first.to_uppercase(), rest.as_str())).unwrap_or_default()
}

/// A longer text that follows a full stop: it begins as a sentence does, unless it begins with a name such as `tls.validity`.
pub(super) fn sentence(text: &str) -> Markup {
    let word = text.split([' ', ',', ';']).next().unwrap_or_default();
    let mut rest = text.chars();
    match rest.next() {
        Some(first) if word.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == '\'') => {
            let capital = first.to_ascii_uppercase();
            paragraph(&format!("{capital}{}", rest.as_str()))
        }
        _ => paragraph(text),
    }
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
    html! { time datetime=(exact) title=(stamp(at)) data-ago { (distance(at, now)) } }
}

/// An instant to be compared with logs: exactly when, and how far away it is in the title.
pub(super) fn moment(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at.to_string()) title=(distance(at, now)) { (stamp(at)) } }
}

/// Both: "3 min ago, 2027-01-31 00:00:00 UTC".
pub(super) fn fully(at: Timestamp, now: Timestamp) -> Markup {
    html! { (instant(at, now)) ", " (moment(at, now)) }
}

/// To the second, with its zone: `2027-01-31 00:00:00 UTC`.
fn stamp(at: Timestamp) -> String {
    let exact = at.to_string();
    let whole = exact.trim_end_matches('Z').split('.').next().unwrap_or_default();
    format!("{} UTC", whole.replacen('T', " ", 1))
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
    fn moments_are_told_to_the_second_with_their_zone() {
        assert_eq!(stamp(Timestamp::from_unix(1_800_000_000)), "2027-01-15 08:00:00 UTC");
        assert_eq!(stamp(Timestamp::parse("2027-01-15T08:00:00.999Z").unwrap()), "2027-01-15 08:00:00 UTC");
    }

    #[test]
    fn sentences_begin_with_a_capital_and_names_stay_as_they_are() {
        for (text, shown) in [
            ("nobody removed it", "Nobody removed it"),
            ("tls.validity: it expired", "tls.validity: it expired"),
            ("cks-1 is frozen", "cks-1 is frozen"),
            ("É", "É"),
            ("", ""),
        ] {
            assert_eq!(sentence(text).into_string(), shown);
        }
    }

    #[test]
    fn distances_are_told_in_one_unit() {
        let at = |seconds| distance(Timestamp::from_unix(seconds), Timestamp::from_unix(1_000_000));
        let told = [999_998, 999_959, 999_400, 990_000, 700_000, 1_000_090].map(at);
        assert_eq!(told, ["just now", "41 s ago", "10 min ago", "2 h ago", "3 d ago", "in 1 min"]);
    }
}
