//! When a resource reaches its limit: connections, sequences, transaction ids, queues, tables.
//!
//! Two kinds of series need two answers. A *gauge* scatters around a line (connections): its trend is read by
//! [`Stories`]. A *count* adds up steps (sequences, ids): its errors add up too, and [`Wander`] reads the steps. Which of
//! them it is shows in the steps themselves: around a line a step up is followed by a step down. What falls back by
//! itself time and again (vacuumed ids, a drained queue) is not foretold to overflow. Limits: one direction (up),
//! straight lines, nothing beyond three times the time that was seen.

use super::history::{CLOCK_SKEW_US, seconds_between};
use super::until::{Stories, Until, Wander};
use super::words;
use serde::{Deserialize, Serialize};

/// One measurement of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When (µs since 1970, the database's clock).
    pub at: i64,
    /// How much, in the unit of the limit.
    pub value: f64,
}

/// Measurements that were not used, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unused {
    /// NaN or infinite values.
    pub not_finite: usize,
    /// Dated in the future.
    pub future: usize,
    /// Further samples of the same moment.
    pub duplicates: usize,
    /// Older than the newest [`MAX_SAMPLES`].
    pub older: usize,
}

/// Why no time is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Silent {
    /// Fewer than [`MIN_SAMPLES`] since the last fall.
    TooFewSamples,
    /// The limit is no positive number.
    NoLimit,
    /// It does not rise.
    NoTrend,
    /// It rises, but will not be there within three times the time that was seen.
    TooFarOff,
    /// It was brought down again and again well below the limit.
    FallsBack,
}

/// What is foretold of one resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CapacityForecast {
    /// Its name.
    pub resource: String,
    /// Samples behind it.
    pub samples: usize,
    /// Latest value; `None` without samples.
    pub value: Option<f64>,
    /// Its limit.
    pub limit: f64,
    /// It is at or above its limit now.
    pub reached: bool,
    /// Seconds until the limit, counted from the latest sample.
    pub until_s: Option<Until>,
    /// Why `until_s` is `None`, if the limit is not reached.
    pub silent: Option<Silent>,
    /// In words.
    pub words: String,
    /// What was not used.
    pub unused: Unused,
}

/// Samples below which nothing is foretold.
pub const MIN_SAMPLES: usize = 12;
/// Newest samples used: five days of a pass every 15 minutes.
pub const MAX_SAMPLES: usize = 480;
/// A fall by this share of the value is a reset, not noise.
const RESET: f64 = 0.3;
/// Resets that show that something brings it down.
const HABIT: usize = 2;
/// … if its highest peak stayed below this share of the limit.
const HABIT_BELOW: f64 = 0.9;
/// Steps ahead, in lengths of the history.
const HORIZON: usize = 3;
/// Least share of the explanations that rise.
const LEAST_CERTAINTY: f64 = 0.95;
/// Neighbouring steps of pure noise around a line correlate by -0.5, those of a count by 0; the border leans to
/// counts, whose longer ranges do less harm where they are wrong.
const GAUGE_BELOW: f64 = -0.32;

/// Foretells one resource from its samples (any order) as seen at `now` (µs since 1970).
pub fn forecast(resource: &str, limit: f64, samples: &[Sample], now: i64) -> CapacityForecast {
    let mut unused = Unused::default();
    let kept = clean(samples, now, &mut unused);
    let value = kept.last().map(|s| s.value);
    let mut told = CapacityForecast {
        resource: resource.to_owned(),
        samples: kept.len(),
        value,
        limit,
        reached: value.is_some_and(|v| limit.is_finite() && limit > 0.0 && v >= limit),
        until_s: None,
        silent: None,
        words: String::new(),
        unused,
    };
    if !told.reached {
        match time(limit, &kept) {
            Ok(until) => told.until_s = Some(until),
            Err(why) => told.silent = Some(why),
        }
    }
    told.words = words::capacity(&told);
    told
}

fn clean(samples: &[Sample], now: i64, unused: &mut Unused) -> Vec<Sample> {
    let latest = now.saturating_add(CLOCK_SKEW_US);
    let mut kept = Vec::with_capacity(samples.len());
    for s in samples {
        if !s.value.is_finite() {
            unused.not_finite += 1;
        } else if s.at > latest {
            unused.future += 1;
        } else {
            kept.push(*s);
        }
    }
    kept.sort_by_key(|s| s.at);
    let before = kept.len();
    kept.dedup_by_key(|s| s.at);
    unused.duplicates = before - kept.len();
    unused.older = kept.len().saturating_sub(MAX_SAMPLES);
    kept.drain(..unused.older);
    kept
}

fn time(limit: f64, samples: &[Sample]) -> Result<Until, Silent> {
    if !limit.is_finite() || limit <= 0.0 {
        return Err(Silent::NoLimit);
    }
    let mut from = 0;
    let mut falls = 0;
    let mut peak = f64::NEG_INFINITY;
    for (i, pair) in samples.windows(2).enumerate() {
        // Small values jump about: a fall counts from a twentieth of the limit on.
        if pair[0].value - pair[1].value > (RESET * pair[0].value.abs()).max(0.05 * limit) {
            from = i + 1;
            falls += 1;
            peak = peak.max(pair[0].value);
        }
    }
    let rest = &samples[from..];
    let (Some(first), Some(last)) = (rest.first(), rest.last()) else { return Err(Silent::TooFewSamples) };
    if falls >= HABIT && peak < HABIT_BELOW * limit && last.value <= peak {
        return Err(Silent::FallsBack);
    }
    if rest.len() < MIN_SAMPLES {
        return Err(Silent::TooFewSamples);
    }
    let mut gaps: Vec<f64> = rest.windows(2).map(|w| seconds_between(w[0].at, w[1].at)).collect();
    gaps.sort_by(f64::total_cmp);
    let step = gaps[gaps.len() / 2];
    // In typical steps and shares of the limit, so that neither nanoseconds nor billions spoil the arithmetic.
    let x: Vec<f64> = rest.iter().map(|s| seconds_between(first.at, s.at) / step).collect();
    let y: Vec<f64> = rest.iter().map(|s| s.value / limit).collect();
    let steps = rest.len() * HORIZON;
    let (certainty, until) = if is_gauge(&x, &y) {
        let stories = Stories::of(&x, &y).ok_or(Silent::TooFewSamples)?;
        (stories.certainty(), stories.until(1.0, 1.0, steps))
    } else {
        let wander = Wander::of(&x, &y).ok_or(Silent::TooFewSamples)?;
        (wander.certainty(), wander.until(1.0, steps))
    };
    if certainty < LEAST_CERTAINTY {
        return Err(Silent::NoTrend);
    }
    let until = until.ok_or(Silent::TooFarOff)?;
    Ok(Until {
        low: until.low * step,
        typical: until.typical * step,
        high: until.high.map(|h| h * step),
        slope: until.slope * limit / step,
        since: until.since * step,
        certainty,
    })
}

/// Whether the series scatters around a line (or lies on it exactly) instead of adding up steps.
fn is_gauge(x: &[f64], y: &[f64]) -> bool {
    let steps: Vec<f64> = x.windows(2).zip(y.windows(2)).map(|(x, y)| (y[1] - y[0]) / (x[1] - x[0])).collect();
    let mean = steps.iter().sum::<f64>() / steps.len() as f64;
    let power: f64 = steps.iter().map(|s| (s - mean).powi(2)).sum();
    let together: f64 = steps.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum();
    power <= 1e-18 * steps.len() as f64 || together / power < GAUGE_BELOW
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QUARTER: i64 = 15 * 60_000_000;

    fn series(n: usize, f: impl Fn(f64) -> f64) -> Vec<Sample> {
        (0..n).map(|i| Sample { at: i64::try_from(i).expect("small") * QUARTER, value: f(i as f64) }).collect()
    }

    fn told(limit: f64, samples: &[Sample]) -> CapacityForecast {
        forecast("connections", limit, samples, 1_000 * QUARTER)
    }

    #[test]
    fn a_filling_sequence_is_foretold_with_the_right_time() {
        let c = told(2_147_483_647.0, &series(100, |i| 1.5e9 + 3e6 * i + 1e5 * (i * 7.0 % 5.0)));
        let until = c.until_s.expect("it fills");
        let truth = (2_147_483_647.0 - 1.5e9 - 3e6 * 99.0) / 3e6 * 900.0;
        assert!((until.typical / truth - 1.0).abs() < 0.05, "{until:?} {truth}");
        assert!(c.words.contains("reaches it in about"), "{}", c.words);
    }

    #[test]
    fn what_stays_or_falls_is_not_foretold_to_overflow() {
        for f in [|_: f64| 50.0, |i: f64| 50.0 + (i * 13.0 % 7.0), |i: f64| 90.0 - 0.4 * i] {
            let c = told(100.0, &series(100, f));
            assert_eq!((c.until_s, c.silent), (None, Some(Silent::NoTrend)));
        }
    }

    #[test]
    fn what_is_emptied_again_and_again_is_not_foretold_to_overflow() {
        let c = told(100.0, &series(100, |i| i % 30.0));
        assert_eq!(c.silent, Some(Silent::FallsBack));
    }

    #[test]
    fn a_slow_rise_is_said_to_be_far_off() {
        let c = told(1e6, &series(50, |i| 10.0 + 3.0 * i));
        assert_eq!(c.silent, Some(Silent::TooFarOff));
    }

    #[test]
    fn a_limit_that_is_reached_is_said_to_be() {
        let c = told(100.0, &series(30, |i| 80.0 + i));
        assert!(c.reached && c.until_s.is_none() && c.silent.is_none());
        assert_eq!(c.words, "connections is at 109 % of its limit; the limit is reached");
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        assert_eq!(told(100.0, &[]).words, "connections: no data");
        for limit in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(told(limit, &series(50, |i| i)).silent, Some(Silent::NoLimit));
        }
        assert_eq!(told(100.0, &series(MIN_SAMPLES - 1, |i| i)).silent, Some(Silent::TooFewSamples));
    }

    #[test]
    fn bad_samples_are_set_aside_and_said_to_be() {
        let mut samples = series(40, |i| 10.0 + i);
        samples.push(Sample { at: 0, value: 1.0 });
        samples.push(Sample { at: QUARTER / 2, value: f64::NAN });
        samples.push(Sample { at: i64::MAX, value: 1.0 });
        let c = told(100.0, &samples);
        assert_eq!(c.unused, Unused { not_finite: 1, future: 1, duplicates: 1, older: 0 });
        assert!(c.words.ends_with("3 measurements set aside"), "{}", c.words);
    }

    proptest! {
        #[test]
        fn any_samples_give_ordered_finite_times_or_none(
            samples in proptest::collection::vec((any::<i64>(), prop_oneof![any::<f64>(), 0.0..200.0_f64]), 0..60),
            even in any::<bool>(), limit in any::<f64>()
        ) {
            let samples: Vec<Sample> = samples
                .into_iter()
                .enumerate()
                .map(|(i, (at, value))| Sample { at: if even { i64::try_from(i).expect("small") * QUARTER } else { at }, value })
                .collect();
            if let Some(u) = told(limit, &samples).until_s {
                prop_assert!(u.low <= u.typical && u.typical.is_finite() && u.slope.is_finite() && !u.certainty.is_nan());
            }
        }
    }
}
