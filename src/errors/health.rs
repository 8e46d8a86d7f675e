//! The health of the system as its errors tell it: a number from 0 to 100, from a stated formula whose parts are shown.
//!
//! | part | at most | points |
//! |---|---|---|
//! | frequency | 30 | 30 / (1 + errors a day / 100) |
//! | recovery | 40 | 40 × share of the measured errors that recovered; 40 without any error |
//! | gravity | 20 | 20 / (1 + critical errors a day / 5) |
//! | change | 10 | 10 less 5 for each pattern that is new, regressed or growing and at least an error |
//!
//! A part that could not be measured has no points, and the others are taken for the whole. Where no source could be read
//! there is no number.

use serde::Serialize;

/// Errors a day at which half the points of the frequency are gone: one in a quarter of an hour.
const FREQUENT: f64 = 100.0;
/// Critical errors a day at which half the points of the gravity are gone.
const GRAVE: f64 = 5.0;

/// One part of the number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// Its points; `None` where it could not be measured.
    pub points: Option<f64>,
    /// Its points at most.
    pub most: f64,
    /// What it was measured by, in words.
    pub by: String,
}

/// The number and its parts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Health {
    /// 0 to 100; `None` where nothing could be read.
    pub score: Option<u8>,
    /// The parts.
    pub parts: Vec<Part>,
}

/// What the number is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Whether any source could be read.
    pub any_source: bool,
    /// Days of the window.
    pub days: f64,
    /// Errors in the window.
    pub errors: u64,
    /// Critical ones among them.
    pub critical: u64,
    /// Share of those measured that recovered.
    pub recovery: Option<f64>,
    /// Patterns that are new, regressed or growing.
    pub changed: u64,
}

/// The health.
pub fn health(measured: &Measured) -> Health {
    if !measured.any_source {
        return Health { score: None, parts: Vec::new() };
    }
    let days = measured.days.max(f64::MIN_POSITIVE);
    let (errors, critical) = (measured.errors as f64 / days, measured.critical as f64 / days);
    let recovery = if measured.errors == 0 { Some(1.0) } else { measured.recovery };
    let parts = vec![
        Part {
            name: "frequency",
            points: Some(round(30.0 / (1.0 + errors / FREQUENT))),
            most: 30.0,
            by: format!("{errors:.1} errors a day"),
        },
        Part {
            name: "recovery",
            points: recovery.map(|rate| round(40.0 * rate)),
            most: 40.0,
            by: match measured.recovery {
                Some(rate) => format!("{:.1} % of the errors that can be followed recovered", rate * 100.0),
                None if measured.errors == 0 => "no error".into(),
                None => "no error can be followed to its end".into(),
            },
        },
        Part {
            name: "gravity",
            points: Some(round(20.0 / (1.0 + critical / GRAVE))),
            most: 20.0,
            by: format!("{critical:.1} critical errors a day"),
        },
        Part {
            name: "change",
            points: Some((10.0 - 5.0 * measured.changed as f64).max(0.0)),
            most: 10.0,
            by: format!("{} patterns new, regressed or growing", measured.changed),
        },
    ];
    let known = parts.iter().filter_map(|part| part.points.map(|points| (points, part.most)));
    let (points, most) = known.fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
    let score = (100.0 * points / most).round().clamp(0.0, 100.0) as u8;
    Health { score: Some(score), parts }
}

fn round(points: f64) -> f64 {
    (points * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WELL: Measured = Measured { any_source: true, days: 1.0, errors: 0, critical: 0, recovery: None, changed: 0 };

    #[test]
    fn without_errors_it_is_full_and_without_sources_it_is_unknown() {
        assert_eq!(health(&WELL).score, Some(100));
        assert_eq!(health(&Measured { any_source: false, ..WELL }), Health { score: None, parts: Vec::new() });
    }

    #[test]
    fn a_part_that_was_not_measured_is_left_out_and_not_taken_for_nought() {
        let found = health(&Measured { errors: 100, ..WELL });
        assert_eq!(found.parts[1].points, None);
        assert_eq!(found.score, Some(75), "15 + 20 + 10 of 60");
        assert_eq!(health(&Measured { errors: 100, recovery: Some(0.0), ..WELL }).score, Some(45));
    }

    proptest! {
        #[test]
        fn it_lies_between_0_and_100_and_more_errors_never_raise_it(errors in 0_u64..1_000_000, critical in 0_u64..1_000, rate in 0.0_f64..=1.0, changed in 0_u64..50, days in 0.01_f64..90.0) {
            let measured = Measured { any_source: true, days, errors, critical, recovery: Some(rate), changed };
            let score = health(&measured).score.expect("something was read");
            prop_assert!(score <= 100);
            for worse in [
                Measured { errors: errors + 1_000, ..measured },
                Measured { critical: critical + 10, ..measured },
                Measured { recovery: Some(rate / 2.0), ..measured },
                Measured { changed: changed + 1, ..measured },
            ] {
                prop_assert!(health(&worse).score.expect("read") <= score);
            }
        }
    }
}
