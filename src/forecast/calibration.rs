//! How good past forecasts were: each is stored as a [`Claim`], settled when its time has passed, and counted.
//!
//! A claim that cannot be settled (no run came to tell) stays open and counts for nothing. Probabilities are measured
//! by their mean squared error (Brier), by the skill against the plain frequency that was stored beside them, and in
//! bins of what was said against what came. Ranges are measured by how often they held.

use super::JobForecast;
use super::capacity::{CapacityForecast, Sample};
use super::history::{History, MICROS_PER_SECOND, Outcome, Run, seconds_between};
use super::{Estimate, SOON_S};
use serde::{Deserialize, Serialize};

/// What a probability was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The next run fails.
    NextFailure,
    /// Any run within six hours fails.
    AnyFailure6h,
    /// The next successful run takes longer than its limit.
    ExceedsLimit,
    /// No run starts in time.
    Missing,
}

/// What a range was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// The next successful run's duration in milliseconds.
    DurationMs,
    /// Runs until the first one above the limit.
    LimitInRuns,
    /// Seconds until a resource reaches its limit.
    TimeUntilS,
}

/// One checkable statement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Claim {
    /// Something happens with a probability.
    Probability {
        /// What.
        event: Event,
        /// How likely.
        p: f64,
        /// The plain frequency at that time.
        baseline: Option<f64>,
    },
    /// Something lies in a range with a probability of 80 %.
    Range {
        /// What.
        quantity: Quantity,
        /// From.
        low: f64,
        /// To.
        high: f64,
    },
}

/// A forecast as it is stored: one claim about one job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// The job.
    pub job: String,
    /// When it was made (µs since 1970).
    pub made_at: i64,
    /// Until when it is about (µs), for claims that have a time.
    pub due_at: Option<i64>,
    /// The limit at that time: of a job in milliseconds, of a resource in its own unit.
    pub limit: f64,
    /// The claim.
    pub claim: Claim,
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Settled {
    /// A probability, and whether it happened.
    Probability {
        /// What was said.
        p: f64,
        /// The plain frequency at that time.
        baseline: Option<f64>,
        /// Whether it came.
        came: bool,
    },
    /// A range, and whether it held.
    Range {
        /// Whether it held.
        inside: bool,
    },
}

/// Runs after a forecast that decide it at most; a range that was not passed by then did not hold.
const MAX_FOLLOWING: usize = 1_000;

/// The claims of a forecast made at `now` (µs) for a job with this time limit (ms).
pub fn claims(told: &JobForecast, limit_ms: f64, now: i64) -> Vec<Stored> {
    let mut all = Vec::new();
    let mut add =
        |due_at, claim| all.push(Stored { job: told.job.clone(), made_at: now, due_at, limit: limit_ms, claim });
    // Six hours in µs: exact.
    #[expect(clippy::cast_possible_truncation)]
    let soon = now.saturating_add(SOON_S as i64 * MICROS_PER_SECOND);
    let said = |event, e: &Estimate| Claim::Probability { event, p: e.p, baseline: e.baseline };
    if let Some(e) = &told.next_failure {
        add(None, said(Event::NextFailure, e));
    }
    if let Some(e) = &told.any_failure_6h {
        add(Some(soon), said(Event::AnyFailure6h, e));
    }
    if let Some(e) = &told.exceeds_limit {
        add(None, said(Event::ExceedsLimit, e));
    }
    if let (Some(e), Some(due)) = (&told.missing, told.missing_due_at) {
        add(Some(due), said(Event::Missing, e));
    }
    if let Some(e) = &told.expected_ms {
        add(None, Claim::Range { quantity: Quantity::DurationMs, low: e.low, high: e.high });
    }
    if let Some(u) = &told.limit_in_runs
        && let Some(high) = u.high
    {
        add(None, Claim::Range { quantity: Quantity::LimitInRuns, low: u.low, high });
    }
    all
}

/// The claim of a forecast of a resource made at `now` (µs), if it makes one.
pub fn resource_claim(told: &CapacityForecast, now: i64) -> Option<Stored> {
    let until = told.until_s.as_ref()?;
    let high = until.high?;
    let claim = Claim::Range { quantity: Quantity::TimeUntilS, low: until.low, high };
    Some(Stored { job: told.resource.clone(), made_at: now, due_at: None, limit: told.limit, claim })
}

impl Stored {
    /// What became of it, by the job's later history as seen at `now` (µs); `None` while that cannot be said.
    pub fn settle(&self, history: &History, now: i64) -> Option<Settled> {
        let from = history.runs.partition_point(|r| r.started_at <= self.made_at);
        let later = &history.runs[from..];
        match self.claim {
            Claim::Probability { event, p, baseline } => {
                let came = self.came(event, later, now)?;
                Some(Settled::Probability { p, baseline, came })
            }
            Claim::Range { quantity, low, high } => {
                let inside = match quantity {
                    Quantity::DurationMs => (low..=high).contains(&timed(later).next()?),
                    Quantity::LimitInRuns => self.passed_in_time(later, low, high)?,
                    // Of a resource: no run of a job tells.
                    Quantity::TimeUntilS => return None,
                };
                Some(Settled::Range { inside })
            }
        }
    }

    /// What became of a range of the time until a resource reaches its limit, by its later samples (any order) as seen
    /// at `now` (µs); `None` while it may still hold, and for every other claim.
    pub fn settle_resource(&self, samples: &[Sample], now: i64) -> Option<Settled> {
        let Claim::Range { quantity: Quantity::TimeUntilS, low, high } = self.claim else { return None };
        let reached = samples
            .iter()
            .filter(|s| s.at > self.made_at && s.at <= now && s.value >= self.limit)
            .map(|s| seconds_between(self.made_at, s.at))
            .min_by(f64::total_cmp);
        match reached {
            // It is seen only at the next sample: what was reached just before the range is not told from inside.
            Some(after) => Some(Settled::Range { inside: (low..=high).contains(&after) }),
            None => (seconds_between(self.made_at, now) > high).then_some(Settled::Range { inside: false }),
        }
    }

    fn came(&self, event: Event, later: &[Run], now: i64) -> Option<bool> {
        let decided = |r: &&Run| matches!(r.outcome, Outcome::Success | Outcome::Failure);
        match event {
            Event::NextFailure => later.iter().find(decided).map(|r| r.outcome == Outcome::Failure),
            Event::AnyFailure6h => {
                let due = self.due_at?;
                let mut within = later.iter().filter(decided).take_while(|r| r.started_at <= due).peekable();
                if now < due {
                    return None;
                }
                within.peek()?;
                Some(within.any(|r| r.outcome == Outcome::Failure))
            }
            Event::ExceedsLimit => timed(later).next().map(|ms| ms > self.limit),
            Event::Missing => {
                let due = self.due_at?;
                match later.first() {
                    Some(next) => Some(next.started_at > due),
                    None => (now > due).then_some(true),
                }
            }
        }
    }

    /// Whether the first run above the limit came within the range; `None` while it may still.
    fn passed_in_time(&self, later: &[Run], low: f64, high: f64) -> Option<bool> {
        let over = |r: &Run| r.outcome == Outcome::Success && r.duration_ms.is_some_and(|ms| ms > self.limit);
        match later.iter().take(MAX_FOLLOWING).position(over) {
            Some(i) => Some((low..=high).contains(&(i as f64 + 1.0))),
            None => (later.len() as f64 > high).then_some(false),
        }
    }
}

/// Durations (ms) of successful runs.
fn timed(runs: &[Run]) -> impl Iterator<Item = f64> + '_ {
    runs.iter().filter(|r| r.outcome == Outcome::Success).filter_map(|r| r.duration_ms)
}

/// What was said in one bin, and what came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Lower end of the probabilities in it.
    pub from: f64,
    /// Upper end.
    pub to: f64,
    /// Forecasts in it.
    pub forecasts: usize,
    /// Mean of what was said; `None` if it is empty.
    pub said: Option<f64>,
    /// Share that came; `None` if it is empty.
    pub came: Option<f64>,
}

/// How good forecasts of probabilities were.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Settled forecasts.
    pub forecasts: usize,
    /// How many came true.
    pub happened: usize,
    /// How many should have, by what was said.
    pub expected: f64,
    /// Mean squared error, 0 is perfect; `None` without forecasts.
    pub brier: Option<f64>,
    /// The same of the plain frequency, over the forecasts that had one.
    pub brier_baseline: Option<f64>,
    /// 1 - error / error of the plain frequency, over the forecasts that had one; `None` where that made no error.
    pub skill: Option<f64>,
    /// What was said against what came.
    pub bins: Vec<Bin>,
}

/// How often ranges held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Settled forecasts.
    pub forecasts: usize,
    /// How many held.
    pub inside: usize,
}

/// Ends of the bins: narrow where failures of healthy jobs lie.
const BINS: [f64; 8] = [0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0];

/// Measures settled claims: the probabilities and the ranges among them.
pub fn measure<'a>(settled: impl IntoIterator<Item = &'a Settled>) -> (Calibration, Coverage) {
    let mut c = Calibration::default();
    let mut coverage = Coverage::default();
    let mut bins = [(0_usize, 0.0, 0_usize); BINS.len() - 1];
    let (mut all, mut with, mut plain, mut compared) = (0.0, 0.0, 0.0, 0_usize);
    for one in settled {
        match *one {
            Settled::Range { inside } => {
                coverage.forecasts += 1;
                coverage.inside += usize::from(inside);
            }
            Settled::Probability { p, baseline, came } => {
                if !p.is_finite() {
                    continue;
                }
                let truth = f64::from(u8::from(came));
                c.forecasts += 1;
                c.happened += usize::from(came);
                c.expected += p;
                all += (p - truth).powi(2);
                if let Some(b) = baseline.filter(|b| b.is_finite()) {
                    compared += 1;
                    with += (p - truth).powi(2);
                    plain += (b - truth).powi(2);
                }
                let at = BINS[1..].iter().position(|to| p < *to).unwrap_or(bins.len() - 1);
                bins[at].0 += 1;
                bins[at].1 += p;
                bins[at].2 += usize::from(came);
            }
        }
    }
    if c.forecasts > 0 {
        c.brier = Some(all / c.forecasts as f64);
    }
    if compared > 0 {
        c.brier_baseline = Some(plain / compared as f64);
    }
    if plain > 0.0 {
        c.skill = Some(1.0 - with / plain);
    }
    c.bins = bins
        .iter()
        .zip(BINS.windows(2))
        .map(|((n, said, came), ends)| Bin {
            from: ends[0],
            to: ends[1],
            forecasts: *n,
            said: (*n > 0).then(|| said / *n as f64),
            came: (*n > 0).then(|| *came as f64 / *n as f64),
        })
        .collect();
    (c, coverage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: i64 = 60 * MICROS_PER_SECOND;

    fn run(minute: i64, ms: f64, outcome: Outcome) -> Run {
        Run::new(minute * MINUTE, Some(ms), outcome)
    }

    fn said(event: Event, due_minute: Option<i64>) -> Stored {
        Stored {
            job: "posting".to_owned(),
            made_at: 10 * MINUTE,
            due_at: due_minute.map(|m| m * MINUTE),
            limit: 300_000.0,
            claim: Claim::Probability { event, p: 0.3, baseline: Some(0.1) },
        }
    }

    fn came(stored: &Stored, runs: &[Run], now_minute: i64) -> Option<bool> {
        let now = now_minute * MINUTE;
        stored.settle(&History::clean(runs, now), now).map(|s| match s {
            Settled::Probability { came, .. } => came,
            Settled::Range { inside } => inside,
        })
    }

    #[test]
    fn only_runs_after_the_forecast_decide_it() {
        let before = run(9, 1.0, Outcome::Failure);
        let claim = said(Event::NextFailure, None);
        assert_eq!(came(&claim, &[before], 20), None);
        assert_eq!(came(&claim, &[before, run(11, 1.0, Outcome::Skipped)], 20), None);
        assert_eq!(
            came(&claim, &[before, run(15, 1.0, Outcome::Success), run(16, 1.0, Outcome::Failure)], 20),
            Some(false)
        );
        assert_eq!(came(&claim, &[run(15, 1.0, Outcome::Failure)], 20), Some(true));
    }

    #[test]
    fn a_claim_about_six_hours_waits_for_their_end() {
        let claim = said(Event::AnyFailure6h, Some(370));
        let runs = [run(15, 1.0, Outcome::Success), run(369, 1.0, Outcome::Failure), run(371, 1.0, Outcome::Success)];
        assert_eq!(came(&claim, &runs, 369), None);
        assert_eq!(came(&claim, &runs, 371), Some(true));
        assert_eq!(came(&claim, &[runs[0], run(371, 1.0, Outcome::Failure)], 400), Some(false));
        assert_eq!(came(&claim, &[], 400), None, "no run, nothing to tell");
    }

    #[test]
    fn a_missing_run_is_one_that_starts_late_or_not_at_all() {
        let claim = said(Event::Missing, Some(30));
        assert_eq!(came(&claim, &[], 30), None);
        assert_eq!(came(&claim, &[], 31), Some(true));
        assert_eq!(came(&claim, &[run(29, 1.0, Outcome::Success)], 40), Some(false));
        assert_eq!(came(&claim, &[run(31, 1.0, Outcome::Success)], 40), Some(true));
    }

    #[test]
    fn a_limit_is_exceeded_only_by_more_than_it() {
        let claim = said(Event::ExceedsLimit, None);
        assert_eq!(came(&claim, &[run(15, 300_000.0, Outcome::Success)], 20), Some(false));
        assert_eq!(came(&claim, &[run(15, 300_001.0, Outcome::Success)], 20), Some(true));
    }

    #[test]
    fn a_range_of_runs_holds_fails_or_stays_open() {
        let claim = Stored {
            claim: Claim::Range { quantity: Quantity::LimitInRuns, low: 2.0, high: 3.0 },
            ..said(Event::Missing, None)
        };
        let short = |m| run(m, 1.0, Outcome::Success);
        let long = |m| run(m, 400_000.0, Outcome::Success);
        assert_eq!(came(&claim, &[long(11)], 60), Some(false));
        assert_eq!(came(&claim, &[short(11), long(12)], 60), Some(true));
        assert_eq!(came(&claim, &[short(11), short(12), short(13)], 60), None);
        assert_eq!(came(&claim, &[short(11), short(12), short(13), short(14)], 60), Some(false));
    }

    #[test]
    fn a_time_until_holds_when_the_limit_is_reached_in_it() {
        let claim = Stored {
            limit: 100.0,
            claim: Claim::Range { quantity: Quantity::TimeUntilS, low: 600.0, high: 1200.0 },
            ..said(Event::Missing, None)
        };
        let at = |minute: i64, value: f64| Sample { at: minute * MINUTE, value };
        let came = |samples: &[Sample], now: i64| {
            claim.settle_resource(samples, now * MINUTE).map(|s| s == Settled::Range { inside: true })
        };
        assert_eq!(came(&[at(15, 99.0)], 20), None);
        assert_eq!(came(&[at(9, 100.0), at(15, 99.0), at(25, 100.0)], 26), Some(true));
        assert_eq!(came(&[at(15, 100.0)], 26), Some(false), "too early");
        assert_eq!(came(&[at(15, 99.0)], 31), Some(false), "not at all");
    }

    #[test]
    fn perfect_forecasts_have_no_error_and_full_skill() {
        let settled: Vec<Settled> = (0..20)
            .map(|i| Settled::Probability {
                p: f64::from(u8::from(i % 4 == 0)),
                baseline: Some(0.25),
                came: i % 4 == 0,
            })
            .collect();
        let (c, _) = measure(&settled);
        assert_eq!((c.brier, c.skill, c.forecasts, c.happened), (Some(0.0), Some(1.0), 20, 5));
        assert_eq!(c.bins.iter().map(|b| b.forecasts).sum::<usize>(), 20);
    }

    #[test]
    fn of_no_forecasts_nothing_is_said_and_nothing_is_nan() {
        let (c, coverage) = measure(&[]);
        assert_eq!((c.brier, c.skill, c.brier_baseline), (None, None, None));
        assert!(c.bins.iter().all(|b| b.said.is_none() && b.came.is_none()));
        assert_eq!(coverage, Coverage::default());
    }

    #[test]
    fn forecasts_without_a_baseline_do_not_count_for_the_skill() {
        let settled = [
            Settled::Probability { p: 0.9, baseline: None, came: false },
            Settled::Probability { p: 0.5, baseline: Some(0.0), came: true },
        ];
        let (c, _) = measure(&settled);
        assert_eq!(c.skill, Some(0.75));
    }

    proptest! {
        #[test]
        fn every_forecast_lies_in_one_bin_and_bins_agree_with_what_came(
            all in proptest::collection::vec((0.0..=1.0_f64, any::<bool>()), 1..200)
        ) {
            let settled: Vec<Settled> = all.iter().map(|(p, came)| Settled::Probability { p: *p, baseline: None, came: *came }).collect();
            let (c, _) = measure(&settled);
            prop_assert_eq!(c.bins.iter().map(|b| b.forecasts).sum::<usize>(), all.len());
            for bin in c.bins.iter().filter(|b| b.forecasts > 0) {
                let mean = bin.said.expect("not empty");
                prop_assert!(bin.from - 1e-9 <= mean && mean <= bin.to + 1e-9);
            }
            prop_assert!(c.brier.is_some_and(|b| (0.0..=1.0).contains(&b)));
        }
    }
}
