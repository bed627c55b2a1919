//! Maintenance windows: when keys may be taken out of use.
//!
//! A window is told as people tell it: days, two times of day, a time zone. Where a clock is set forward or back, a
//! time of day exists not at all or twice; a window then opens at the later and closes at the earlier instant that can
//! be meant, so that nobody is surprised by an outage.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp as Instant};

use crate::clock::Timestamp;
use crate::key_store::CustomKeyStoreId;

/// Whether a window is open at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Opening {
    /// One is, or there are none to keep to.
    #[default]
    Open,
    /// None is.
    Closed {
        /// When the next one opens; absent if none does within the time that is looked at.
        opens_at: Option<Timestamp>,
    },
}

/// A window that comes again every week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Of this key store; absent means of every one that has none of its own.
    pub key_store: Option<CustomKeyStoreId>,
    days: Vec<Weekday>,
    from: Time,
    to: Time,
    time_zone: TimeZone,
}

/// The days of the week, as the configuration writes them, Monday first.
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// How many days ahead the next window is looked for: a week, and a day for what a clock change leaves out.
const AHEAD: i64 = 15;

impl Window {
    /// Reads the name of a day.
    pub fn day(text: &str) -> Result<Weekday, &'static str> {
        let number = DAYS.iter().position(|day| *day == text).and_then(|at| i8::try_from(at + 1).ok());
        number
            .and_then(|number| Weekday::from_monday_one_offset(number).ok())
            .ok_or("must be one of mon, tue, wed, thu, fri, sat, sun")
    }

    /// Reads a time of day: HH:MM.
    pub fn time(text: &str) -> Result<Time, &'static str> {
        let rule = "must be a time of day, HH:MM from 00:00 to 23:59";
        let (hour, minute) =
            text.split_once(':').filter(|(hour, minute)| hour.len() == 2 && minute.len() == 2).ok_or(rule)?;
        let number =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i8>().ok()).flatten();
        let (hour, minute) = number(hour).zip(number(minute)).ok_or(rule)?;
        Time::new(hour, minute, 0, 0).map_err(|_| rule)
    }

    /// Reads the name of a time zone in the IANA database that this program has with it.
    pub fn time_zone(text: &str) -> Result<TimeZone, &'static str> {
        TimeZone::get(text).map_err(|_| "must be a time zone of the IANA database, for example Europe/Berlin or UTC")
    }

    /// A window on these days from one time to another; a window that ends no later than it begins ends on the next day.
    pub fn new(
        key_store: Option<CustomKeyStoreId>,
        days: Vec<Weekday>,
        (from, to): (Time, Time),
        time_zone: TimeZone,
    ) -> Self {
        Self { key_store, days, from, to, time_zone }
    }

    /// The instants at which it opens and closes on the days around `now`, in order.
    fn openings(&self, now: Instant) -> Vec<(Instant, Instant)> {
        let today = self.time_zone.to_datetime(now).date();
        // One that opened yesterday may be open still.
        (-1..AHEAD)
            .filter_map(|ahead| today.checked_add(Span::new().days(ahead)).ok())
            .filter(|date| self.days.contains(&date.weekday()))
            .filter_map(|date| {
                let ends = if self.to <= self.from { date.tomorrow().ok()? } else { date };
                let opens = self.time_zone.to_ambiguous_timestamp(date.to_datetime(self.from)).later().ok()?;
                let closes = self.time_zone.to_ambiguous_timestamp(ends.to_datetime(self.to)).earlier().ok()?;
                (opens < closes).then_some((opens, closes))
            })
            .collect()
    }
}

/// The maintenance windows of all key stores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows(pub Vec<Window>);

impl Windows {
    /// Whether one is open for this key store at `now`. A key store with windows of its own keeps to those, another one
    /// to those of all; without any it is always open.
    pub fn opening(&self, key_store: &CustomKeyStoreId, now: Timestamp) -> Opening {
        let own = self.0.iter().any(|window| window.key_store.as_ref() == Some(key_store));
        let of = own.then_some(key_store);
        let windows: Vec<&Window> = self.0.iter().filter(|window| window.key_store.as_ref() == of).collect();
        if windows.is_empty() {
            return Opening::Open;
        }
        let Ok(instant) = Instant::from_millisecond(now.unix_millis()) else {
            return Opening::Closed { opens_at: None };
        };
        let mut next: Option<Instant> = None;
        for (opens, closes) in windows.iter().flat_map(|window| window.openings(instant)) {
            if opens <= instant && instant < closes {
                return Opening::Open;
            }
            if instant < opens && next.is_none_or(|next| opens < next) {
                next = Some(opens);
            }
        }
        Opening::Closed { opens_at: next.map(|at| Timestamp::from_unix_millis(at.as_millisecond())) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(key_store: Option<&str>, days: &[&str], from: &str, to: &str, zone: &str) -> Window {
        let days = days.iter().map(|day| Window::day(day).unwrap()).collect();
        let times = (Window::time(from).unwrap(), Window::time(to).unwrap());
        let key_store = key_store.map(|id| CustomKeyStoreId::parse(id).unwrap());
        Window::new(key_store, days, times, Window::time_zone(zone).unwrap())
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn opening(windows: &[Window], now: &str) -> Opening {
        Windows(windows.to_vec()).opening(&CustomKeyStoreId::parse("cks-1").unwrap(), at(now))
    }

    fn closed_until(text: &str) -> Opening {
        Opening::Closed { opens_at: Some(at(text)) }
    }

    #[test]
    fn a_window_is_open_from_its_beginning_to_just_before_its_end() {
        // 2026-11-28 is a Saturday; Berlin is an hour ahead of UTC then.
        let nights = [window(None, &["sat"], "22:00", "04:00", "Europe/Berlin")];
        assert_eq!(opening(&nights, "2026-11-28T20:59:59Z"), closed_until("2026-11-28T21:00:00Z"));
        assert_eq!(opening(&nights, "2026-11-28T21:00:00Z"), Opening::Open);
        assert_eq!(opening(&nights, "2026-11-29T02:59:59Z"), Opening::Open);
        assert_eq!(opening(&nights, "2026-11-29T03:00:00Z"), closed_until("2026-12-05T21:00:00Z"));
        assert_eq!(opening(&[], "2026-11-28T12:00:00Z"), Opening::Open);
        // From a time to the same is a whole day.
        let day = [window(None, &["sun"], "00:00", "00:00", "UTC")];
        assert_eq!(opening(&day, "2026-11-29T23:59:59Z"), Opening::Open);
        assert_eq!(opening(&day, "2026-11-30T00:00:00Z"), closed_until("2026-12-06T00:00:00Z"));
    }

    #[test]
    fn a_key_store_with_windows_of_its_own_keeps_to_those() {
        let both =
            [window(None, &["sat"], "00:00", "23:00", "UTC"), window(Some("cks-1"), &["sun"], "00:00", "23:00", "UTC")];
        assert_eq!(opening(&both, "2026-11-28T12:00:00Z"), closed_until("2026-11-29T00:00:00Z"));
        let other = CustomKeyStoreId::parse("cks-2").unwrap();
        assert_eq!(Windows(both.to_vec()).opening(&other, at("2026-11-28T12:00:00Z")), Opening::Open);
        assert_eq!(Windows(both[1..].to_vec()).opening(&other, at("2026-11-28T12:00:00Z")), Opening::Open);
    }

    /// On 2026-03-29 the clocks of Berlin go from 02:00 to 03:00 at 01:00 UTC.
    #[test]
    fn a_time_that_does_not_exist_opens_late_and_closes_early() {
        let opens = [window(None, &["sun"], "02:30", "05:00", "Europe/Berlin")];
        assert_eq!(opening(&opens, "2026-03-29T01:29:59Z"), closed_until("2026-03-29T01:30:00Z"));
        assert_eq!(opening(&opens, "2026-03-29T01:30:00Z"), Opening::Open);
        let closes = [window(None, &["sun"], "00:00", "02:30", "Europe/Berlin")];
        assert_eq!(opening(&closes, "2026-03-29T00:29:59Z"), Opening::Open);
        assert_eq!(opening(&closes, "2026-03-29T00:30:00Z"), closed_until("2026-04-04T22:00:00Z"));
        // All of it falls into the gap.
        let gone = [window(None, &["sun"], "02:10", "02:50", "Europe/Berlin")];
        assert_eq!(opening(&gone, "2026-03-29T00:59:59Z"), closed_until("2026-04-05T00:10:00Z"));
    }

    /// On 2026-10-25 the clocks of Berlin go from 03:00 to 02:00 at 01:00 UTC.
    #[test]
    fn a_time_that_exists_twice_opens_at_the_second_and_closes_at_the_first() {
        let opens = [window(None, &["sun"], "02:30", "05:00", "Europe/Berlin")];
        assert_eq!(opening(&opens, "2026-10-25T01:29:59Z"), closed_until("2026-10-25T01:30:00Z"));
        assert_eq!(opening(&opens, "2026-10-25T01:30:00Z"), Opening::Open);
        let closes = [window(None, &["sun"], "00:00", "02:30", "Europe/Berlin")];
        assert_eq!(opening(&closes, "2026-10-25T00:29:59Z"), Opening::Open);
        assert_eq!(opening(&closes, "2026-10-25T00:30:00Z"), closed_until("2026-10-31T23:00:00Z"));
    }

    #[test]
    fn what_is_no_day_time_or_zone() {
        for bad in ["", "Mon", "monday"] {
            assert!(Window::day(bad).is_err(), "{bad}");
        }
        for bad in ["", "24:00", "7:00", "07:60", "07:00:00", "+7:00", "-1:00"] {
            assert!(Window::time(bad).is_err(), "{bad}");
        }
        for bad in ["", "Berlin", "CEST+1", "Europe/Nowhere"] {
            assert!(Window::time_zone(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        /// Whatever the hour and the zone, the clock changes included: at the instant that is told it opens, and just
        /// before it does not.
        #[test]
        fn it_opens_when_it_says(
            day in 0..7_usize,
            from in 0..24_u8,
            to in 0..24_u8,
            zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
            now in 1_700_000_000_i64..1_900_000_000,
        ) {
            let windows = Windows(vec![window(None, &[DAYS[day]], &format!("{from:02}:30"), &format!("{to:02}:00"), zone)]);
            let id = CustomKeyStoreId::parse("cks-1").unwrap();
            if let Opening::Closed { opens_at } = windows.opening(&id, Timestamp::from_unix(now)) {
                let opens_at = opens_at.unwrap();
                prop_assert!(opens_at.unix() > now && opens_at.unix() - now <= 15 * 86_400);
                prop_assert_eq!(windows.opening(&id, opens_at), Opening::Open);
                let before = Timestamp::from_unix(opens_at.unix() - 1);
                prop_assert_eq!(windows.opening(&id, before), Opening::Closed { opens_at: Some(opens_at) });
            }
        }
    }
}
