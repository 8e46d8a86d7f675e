//! Compares a window with the window before: is it more than chance, did it come in bursts, is it new.
//!
//! Times are milliseconds since 1970 in the database's clock, given by the caller; nothing here reads a clock.

use serde::{Deserialize, Serialize};

/// Quantile of the normal distribution for an interval of 95 %.
const Z95: f64 = 1.959_963_984_540_054;
/// Added to both counts (Haldane and Anscombe): keeps the ratio finite where one of them is 0, and hardly moves it else.
const CONTINUITY: f64 = 0.5;
/// A bucket with fewer events is no burst, however quiet it is around it.
const MIN_BURST: u64 = 5;
/// Standard deviations above the middle from which a bucket belongs to a burst. Error counts have heavier tails than a
/// normal distribution, so the customary 3 would find bursts everywhere.
const BURST_DEVIATIONS: f64 = 6.0;

/// The rate of one window over that of the window before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RateRatio {
    /// Events in the window.
    pub count: u64,
    /// Events in the window before.
    pub count_before: u64,
    /// Rate in the window over the rate before. `None` where neither has any event.
    pub ratio: Option<f64>,
    /// Lower end of the 95 % interval of the ratio.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// What follows from the interval.
    pub direction: Direction,
}

/// Whether a rate changed beyond chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The whole interval lies above 1.
    Growing,
    /// The whole interval lies below 1.
    Falling,
    /// The interval holds 1.
    Steady,
}

/// Compares two windows given as counts in buckets of equal length; the windows may differ in length.
///
/// Errors come in clumps, so the interval of a Poisson rate would be too narrow: it is widened by the dispersion that the
/// buckets show (quasi-Poisson). One bucket a window is possible, then nothing is known of clumps.
pub fn compare(before: &[u64], window: &[u64]) -> RateRatio {
    let (count_before, count) = (total(before), total(window));
    let nothing = RateRatio { count, count_before, ratio: None, low: None, high: None, direction: Direction::Steady };
    if before.is_empty() || window.is_empty() || (count == 0 && count_before == 0) {
        return nothing;
    }
    let rate = |count: u64, buckets: usize| (count as f64 + CONTINUITY) / buckets as f64;
    let log_ratio = (rate(count, window.len()) / rate(count_before, before.len())).ln();
    let variance = 1.0 / (count as f64 + CONTINUITY) + 1.0 / (count_before as f64 + CONTINUITY);
    let margin = Z95 * (variance * dispersion(before, window)).sqrt();
    let (low, high) = ((log_ratio - margin).exp(), (log_ratio + margin).exp());
    let direction = if low > 1.0 {
        Direction::Growing
    } else if high < 1.0 {
        Direction::Falling
    } else {
        Direction::Steady
    };
    RateRatio { ratio: Some(log_ratio.exp()), low: Some(low), high: Some(high), direction, ..nothing }
}

fn total(buckets: &[u64]) -> u64 {
    buckets.iter().fold(0, |sum, count| sum.saturating_add(*count))
}

/// Pearson's statistic over its degrees of freedom, never below 1: counts cannot be more regular than chance by chance.
fn dispersion(before: &[u64], window: &[u64]) -> f64 {
    let mut statistic = 0.0;
    let mut freedom = 0_usize;
    for buckets in [before, window] {
        let mean = total(buckets) as f64 / buckets.len() as f64;
        if mean <= 0.0 || buckets.len() < 2 {
            continue;
        }
        statistic += buckets.iter().map(|&count| (count as f64 - mean).powi(2) / mean).sum::<f64>();
        freedom += buckets.len() - 1;
    }
    if freedom == 0 { 1.0 } else { (statistic / freedom as f64).max(1.0) }
}

/// A run of buckets with far more events than is usual in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Burst {
    /// First bucket.
    pub from: usize,
    /// Last bucket, inclusive.
    pub to: usize,
    /// Events in them.
    pub count: u64,
    /// Events in the fullest.
    pub peak: u64,
}

/// Bursts among buckets of equal length, in their order.
pub fn bursts(buckets: &[u64]) -> Vec<Burst> {
    if buckets.len() < 3 {
        return Vec::new();
    }
    let middle = median(buckets.iter().map(|&count| count as f64).collect());
    let spread = median(buckets.iter().map(|&count| (count as f64 - middle).abs()).collect()) * 1.4826;
    // Half of the buckets may be equal: then the spread is 0, and that of a Poisson count stands in for it.
    let limit = middle + BURST_DEVIATIONS * spread.max(middle.sqrt()).max(0.5);
    let mut found: Vec<Burst> = Vec::new();
    for (at, &count) in buckets.iter().enumerate() {
        if count < MIN_BURST || count as f64 <= limit {
            continue;
        }
        match found.last_mut() {
            Some(burst) if burst.to + 1 == at => {
                burst.to = at;
                burst.count = burst.count.saturating_add(count);
                burst.peak = burst.peak.max(count);
            }
            _ => found.push(Burst { from: at, to: at, count, peak: count }),
        }
    }
    found
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[half],
        _ => f64::midpoint(values[half - 1], values[half]),
    }
}

/// Where a pattern stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Seen for the first time in this window.
    New,
    /// Seen before and now.
    Known,
    /// Back after a silence.
    Regressed,
    /// Not seen in this window.
    Gone,
}

/// What is known of a pattern from before the window began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// When it was seen first, ever.
    pub first_seen: i64,
    /// When it was seen last before the window began. `None` if it was not.
    pub last_seen_before: Option<i64>,
}

/// The window in which errors are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its beginning.
    pub start: i64,
    /// Silence after which a pattern that comes again is regressed instead of known.
    pub quiet: i64,
}

/// Where a pattern stands. It depends on the window and on what was before it, not on how often it was asked: a second
/// run on the same window says the same.
pub fn standing(history: Option<History>, first_in_window: Option<i64>, window: Window) -> Standing {
    match (first_in_window, history) {
        (None, _) => Standing::Gone,
        (Some(_), None) => Standing::New,
        (Some(first), Some(history)) => match history.last_seen_before {
            None if history.first_seen >= window.start => Standing::New,
            Some(last) if first.saturating_sub(last) >= window.quiet => Standing::Regressed,
            _ => Standing::Known,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn twice_as_many_of_few_is_chance_and_of_many_is_not() {
        assert_eq!(compare(&[2], &[4]).direction, Direction::Steady);
        assert_eq!(compare(&[200], &[400]).direction, Direction::Growing);
        assert_eq!(compare(&[400], &[200]).direction, Direction::Falling);
    }

    #[test]
    fn the_length_of_the_windows_is_allowed_for() {
        let ratio = compare(&[100; 6], &[100; 24]);
        assert!((ratio.ratio.expect("some events") - 1.0).abs() < 0.01);
        assert_eq!(ratio.direction, Direction::Steady);
    }

    #[test]
    fn one_clump_is_no_trend() {
        let mut window = [1_u64; 24];
        window[7] = 60;
        assert_eq!(compare(&[2; 24], &window).direction, Direction::Steady);
        assert_eq!(compare(&[2; 24], &[4; 24]).direction, Direction::Growing);
    }

    #[test]
    fn something_from_nothing_has_a_finite_ratio_and_nothing_has_none() {
        let ratio = compare(&[0; 4], &[10; 4]);
        assert!(ratio.ratio.is_some_and(f64::is_finite) && ratio.high.is_some_and(f64::is_finite));
        assert_eq!(ratio.direction, Direction::Growing);
        assert_eq!(compare(&[0; 4], &[0; 4]).ratio, None);
        assert_eq!(compare(&[], &[3]).ratio, None);
    }

    #[test]
    fn a_storm_is_a_burst_and_a_steady_drip_is_none() {
        let mut buckets = [2_u64, 1, 3, 2, 2, 1, 2, 3, 2, 2, 1, 2];
        assert_eq!(bursts(&buckets), []);
        buckets[4] = 80;
        buckets[5] = 90;
        assert_eq!(bursts(&buckets), [Burst { from: 4, to: 5, count: 170, peak: 90 }]);
        assert_eq!(bursts(&[1000; 50]), []);
        assert_eq!(bursts(&[0, 0, 0, 4, 0, 0]), [], "four events are no burst");
        assert_eq!(bursts(&[0, 0, 0, 9, 0, 0]).len(), 1);
        assert_eq!(bursts(&[]), []);
    }

    #[test]
    fn a_pattern_is_new_then_known_then_gone_then_regressed() {
        let window = Window { start: 1_000, quiet: 500 };
        assert_eq!(standing(None, Some(1_100), window), Standing::New);
        let own = History { first_seen: 1_100, last_seen_before: None };
        assert_eq!(standing(Some(own), Some(1_100), window), Standing::New, "a second run on the same window");
        let known = History { first_seen: 10, last_seen_before: Some(900) };
        assert_eq!(standing(Some(known), Some(1_100), window), Standing::Known);
        assert_eq!(standing(Some(known), None, window), Standing::Gone);
        let silent = History { first_seen: 10, last_seen_before: Some(600) };
        assert_eq!(standing(Some(silent), Some(1_099), window), Standing::Known, "just inside the silence");
        assert_eq!(standing(Some(silent), Some(1_100), window), Standing::Regressed);
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_ratio_and_is_finite(before in prop::collection::vec(0_u64..10_000, 1..40), window in prop::collection::vec(0_u64..10_000, 1..40)) {
            let found = compare(&before, &window);
            if let (Some(ratio), Some(low), Some(high)) = (found.ratio, found.low, found.high) {
                prop_assert!(low <= ratio && ratio <= high && low >= 0.0 && high.is_finite());
            }
        }

        #[test]
        fn bursts_lie_apart_inside_the_window(buckets in prop::collection::vec(0_u64..500, 0..60)) {
            let found = bursts(&buckets);
            for burst in &found {
                prop_assert!(burst.from <= burst.to && burst.to < buckets.len());
                prop_assert_eq!(burst.count, buckets[burst.from..=burst.to].iter().sum::<u64>());
            }
            for pair in found.windows(2) {
                prop_assert!(pair[0].to + 1 < pair[1].from);
            }
        }
    }
}
