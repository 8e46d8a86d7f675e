//! Time zones by name, from a table of the binary's own: the container image has none, and no machine's is out of date alone.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// A zone with its rules, past and to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// UTC.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// A zone of the IANA table, such as `Europe/Berlin`, `America/New_York` or `UTC`; `None` for a name that is not in it.
    pub fn named(name: &str) -> Option<Self> {
        TimeZoneDatabase::bundled().get(name.trim()).ok().map(Self)
    }

    /// What clocks on the wall show at an instant. Years in which no calendar of ours has rules are told in UTC.
    pub fn local(&self, at: DateTime<Utc>) -> NaiveDateTime {
        let offset = Timestamp::from_second(at.timestamp()).map_or(0, |second| self.0.to_offset(second).seconds());
        at.naive_utc() + TimeDelta::seconds(i64::from(offset))
    }

    /// Its name in the table.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_table_are_known_and_others_are_not() {
        for name in ["UTC", "Etc/UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", " Pacific/Chatham\n"] {
            assert_eq!(Zone::named(name).expect(name).name(), name.trim());
        }
        for name in ["", "Europe/Atlantis", "+02:00", "../../etc/passwd", "CET/", "Local"] {
            assert_eq!(Zone::named(name), None, "{name}");
        }
        assert_eq!(Zone::UTC.name(), "UTC");
    }

    #[test]
    fn clocks_show_what_the_rules_of_the_day_say() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
        let local = |zone: &str, text: &str| Zone::named(zone).expect(zone).local(at(text)).to_string();
        assert_eq!(local("Europe/Berlin", "2026-03-29T00:59:59Z"), "2026-03-29 01:59:59");
        assert_eq!(local("Europe/Berlin", "2026-03-29T01:00:00Z"), "2026-03-29 03:00:00");
        // By the rule, which goes on when the table ends.
        assert_eq!(local("America/New_York", "2061-07-01T12:00:00Z"), "2061-07-01 08:00:00");
        // Before it was changed, by quarters of an hour, and in the south.
        assert_eq!(local("Europe/London", "1970-01-01T00:00:00Z"), "1970-01-01 01:00:00");
        assert_eq!(local("Pacific/Chatham", "2026-01-01T00:00:00Z"), "2026-01-01 13:45:00");
        assert_eq!(local("Australia/Lord_Howe", "2026-07-01T00:00:00Z"), "2026-07-01 10:30:00");
    }

    #[test]
    fn the_ends_of_time_are_no_panic() {
        let berlin = Zone::named("Europe/Berlin").expect("zone");
        for end in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            assert_eq!(berlin.local(end), end.naive_utc());
        }
    }
}
