//! The hour of the day at which a post appeared, where its readers live.
//!
//! Engagement follows the clock on people's walls, so hours are counted in a named zone and not in UTC. The zone's own
//! rules decide on the days on which clocks change: in spring one hour has no posts, in autumn one hour happens twice
//! and both count as the same hour of the day. An instant always has exactly one local hour, so nothing is guessed.

use chrono::{DateTime, Timelike, Utc};

use super::settings::SettingsError;
use crate::zone::Zone;

/// Hours of a day, as an array length.
pub const HOURS: usize = 24;

/// Turns instants into hours of the day of one zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HourClock {
    zone: Zone,
}

impl HourClock {
    /// A clock for an IANA zone name such as `Europe/Berlin`, `America/New_York` or `UTC`.
    pub fn new(zone: &str) -> Result<Self, SettingsError> {
        Zone::named(zone).map(|zone| Self { zone }).ok_or_else(|| SettingsError::UnknownZone { zone: zone.to_owned() })
    }

    /// The local hour of the day, 0 to 23.
    pub fn hour_of(&self, at: DateTime<Utc>) -> u8 {
        // An hour is below 24 by definition, so the cast loses nothing.
        #[allow(clippy::cast_possible_truncation)]
        let hour = self.zone.local(at).hour() as u8;
        hour
    }

    /// The zone's IANA name, for the output.
    pub fn zone_name(&self) -> &str {
        self.zone.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a valid instant")
    }

    #[test]
    fn the_hour_that_spring_skips_never_appears() {
        let clock = HourClock::new("Europe/Berlin").expect("zone");
        // 2026-03-29: 01:59 CET is followed by 03:00 CEST.
        assert_eq!(clock.hour_of(at("2026-03-29T00:59:59Z")), 1);
        assert_eq!(clock.hour_of(at("2026-03-29T01:00:00Z")), 3);
    }

    #[test]
    fn the_hour_that_autumn_repeats_is_one_hour_of_the_day() {
        let clock = HourClock::new("America/New_York").expect("zone");
        // 2026-11-01: 01:30 happens at 05:30Z (EDT) and again at 06:30Z (EST).
        assert_eq!(clock.hour_of(at("2026-11-01T05:30:00Z")), 1);
        assert_eq!(clock.hour_of(at("2026-11-01T06:30:00Z")), 1);
        assert_eq!(clock.hour_of(at("2026-11-01T07:00:00Z")), 2);
    }

    #[test]
    fn zones_with_half_hours_count_their_own_hours() {
        let clock = HourClock::new("Asia/Kolkata").expect("zone");
        assert_eq!(clock.hour_of(at("2026-01-01T18:29:59Z")), 23);
        assert_eq!(clock.hour_of(at("2026-01-01T18:30:00Z")), 0);
    }

    #[test]
    fn an_unknown_zone_is_named_in_the_error() {
        let error = HourClock::new("Europe/Atlantis").expect_err("no such zone");
        assert!(error.to_string().contains("Europe/Atlantis"));
        assert!(error.hint().contains("IANA"));
    }
}
