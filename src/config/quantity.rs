//! Durations and sizes as people write them: a whole number and a unit.

use std::time::Duration;

/// Units of time in milliseconds, the largest first.
const TIME: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
/// Units of size in bytes, the largest first.
const SIZE: &[(&str, u64)] = &[("MiB", 1_048_576), ("KiB", 1_024), ("B", 1)];

/// What [`duration`] reads, for the JSON Schema.
pub(super) const DURATION_PATTERN: &str = "^[0-9]{1,15}(ms|s|m|h|d)$";
/// What [`size`] reads, for the JSON Schema.
pub(super) const SIZE_PATTERN: &str = "^[0-9]{1,15}(B|KiB|MiB)$";

/// Reads `250ms`, `30s`, `5m`, `2h` or `1d`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    quantity(text, TIME).map(Duration::from_millis)
}

/// Reads `512B`, `64KiB` or `1MiB`.
pub(super) fn size(text: &str) -> Option<u64> {
    quantity(text, SIZE)
}

/// The shortest form that [`duration`] reads back.
pub(super) fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), TIME)
}

/// The shortest form that [`size`] reads back.
pub(super) fn show_size(bytes: u64) -> String {
    show(bytes, SIZE)
}

fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at(end);
    // 15 digits of days still fit 128 bits many times over, so nothing can wrap before it is refused.
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn show(amount: u64, units: &[(&str, u64)]) -> String {
    let fits = units.iter().find(|(_, factor)| amount >= *factor && amount.is_multiple_of(*factor));
    let (unit, factor) = fits.or(units.last()).copied().unwrap_or(("", 1));
    format!("{}{unit}", amount / factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn durations_survive_show_and_read(ms in 0_u64..10_000_000_000) {
            prop_assert_eq!(duration(&show_duration(Duration::from_millis(ms))), Some(Duration::from_millis(ms)));
        }

        #[test]
        fn sizes_survive_show_and_read(bytes in 0_u64..10_000_000_000) {
            prop_assert_eq!(size(&show_size(bytes)), Some(bytes));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,30}|[0-9]{0,30}(d|MiB)?") {
            let _read_or_not = (duration(&text), size(&text));
        }
    }

    #[test]
    fn units() {
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("1d"), Some(Duration::from_hours(24)));
        assert_eq!(size("64KiB"), Some(65_536));
        for bad in ["", "s", "5", "5 s", "-5s", "1.5s", "5S", "99999999999999999s", "999999999999999d"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        assert_eq!(show_duration(Duration::from_secs(90)), "90s");
        assert_eq!(show_duration(Duration::from_hours(1)), "1h");
        assert_eq!(show_duration(Duration::ZERO), "0ms");
    }
}
