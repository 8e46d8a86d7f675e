//! A job's run history, cleaned: what is fit to learn from, and a count of what was set aside.
//!
//! It never guesses a value: a duration that cannot be true is dropped and the run keeps its outcome; a run whose
//! time cannot be true is dropped whole. Its limits: it keeps the newest [`MAX_RUNS`] runs and cannot tell a job that
//! was renamed from a new one.

use serde::{Deserialize, Serialize};

/// How a run of a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The run did its work.
    Success,
    /// The run failed.
    Failure,
    /// The run started and decided to do nothing. A sign of life, neither success nor failure.
    Skipped,
    /// The run has not ended.
    Running,
}

/// What was known of the surroundings when a run began. Unknown is `None`, never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// Entries waiting in the browser queue.
    pub queue: Option<f64>,
    /// Whether the circuit breaker was open.
    pub breaker_open: Option<bool>,
}

/// One run of a job.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Start, in microseconds since 1970-01-01 00:00 UTC.
    pub started_at: i64,
    /// Duration in milliseconds, where it is known.
    pub duration_ms: Option<f64>,
    /// How it ended.
    pub outcome: Outcome,
    /// The surroundings at its start.
    #[serde(default)]
    pub conditions: Conditions,
}

impl Run {
    /// A run of whose surroundings nothing is known.
    pub fn new(started_at: i64, duration_ms: Option<f64>, outcome: Outcome) -> Self {
        Self { started_at, duration_ms, outcome, conditions: Conditions::default() }
    }
}

/// A job, as far as forecasting needs to know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its name in `job_heartbeats`.
    pub name: String,
    /// Seconds from one start to the next, where configured; learned from the gaps otherwise.
    pub expected_interval_s: Option<f64>,
    /// Seconds that a run may take.
    pub time_limit_s: f64,
    /// Spans (µs) in which nobody looked whether it ran: a gap that touches one says nothing of missed runs.
    #[serde(default)]
    pub blind: Vec<(i64, i64)>,
}

impl Job {
    /// A job with no configured interval and the time limit [`DEFAULT_TIME_LIMIT_S`].
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), expected_interval_s: None, time_limit_s: DEFAULT_TIME_LIMIT_S, blind: Vec::new() }
    }

    /// The configured interval in seconds, if it is one that can be reckoned with.
    pub fn usable_interval_s(&self) -> Option<f64> {
        self.expected_interval_s.filter(|s| s.is_finite() && *s > 0.0)
    }

    /// The time limit in seconds; the default where the configured one is no positive number.
    pub fn usable_limit_s(&self) -> f64 {
        if self.time_limit_s.is_finite() && self.time_limit_s > 0.0 { self.time_limit_s } else { DEFAULT_TIME_LIMIT_S }
    }
}

/// "Slow job: mean above 5 minutes" is the rule the system has always had.
pub const DEFAULT_TIME_LIMIT_S: f64 = 300.0;

/// Newest runs kept for one job: two and a half times the longest history that the methods were measured on.
pub const MAX_RUNS: usize = 500;

/// A start may lie this far (µs) ahead of the database's clock: hosts differ, and above 60 s skew is a finding itself.
pub const CLOCK_SKEW_US: i64 = 60 * MICROS_PER_SECOND;

/// Microseconds in a second.
pub const MICROS_PER_SECOND: i64 = 1_000_000;

/// No run of a job lasts 30 days; such a value is a wrong unit or a lost end.
pub const MAX_DURATION_MS: f64 = 30.0 * 86_400_000.0;

/// What was not used, by reason. Every number is a count of runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// Durations that were NaN or infinite.
    pub not_finite: usize,
    /// Negative durations.
    pub negative: usize,
    /// Durations above [`MAX_DURATION_MS`].
    pub implausible: usize,
    /// Further runs with the same start.
    pub duplicates: usize,
    /// Runs that start in the future.
    pub future: usize,
    /// Runs that never ended although a later one began.
    pub unfinished: usize,
    /// Runs with a status that is not known.
    #[serde(default)]
    pub unknown_status: usize,
    /// Runs older than the newest [`MAX_RUNS`].
    pub older: usize,
}

impl SetAside {
    /// Whether nothing was set aside.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Notes why a duration is unusable; returns it if it is usable. Zero is usable: it means "below the clock's grain".
    fn usable_duration(&mut self, ms: f64) -> Option<f64> {
        if !ms.is_finite() {
            self.not_finite += 1;
        } else if ms < 0.0 {
            self.negative += 1;
        } else if ms > MAX_DURATION_MS {
            self.implausible += 1;
        } else {
            return Some(ms);
        }
        None
    }
}

/// A cleaned history: ordered by start, one run a start, durations finite and not negative.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// The runs, oldest first.
    pub runs: Vec<Run>,
    /// Start (µs) of a run that has not ended yet, if the newest one has not.
    pub in_flight: Option<i64>,
    /// What was not used.
    pub set_aside: SetAside,
}

impl History {
    /// Cleans `runs` (any order) as seen at `now` (µs since 1970, the database's clock).
    pub fn clean(runs: &[Run], now: i64) -> Self {
        let mut set_aside = SetAside::default();
        let latest = now.saturating_add(CLOCK_SKEW_US);
        let mut kept: Vec<Run> = Vec::with_capacity(runs.len());
        for run in runs {
            if run.started_at > latest {
                set_aside.future += 1;
            } else {
                kept.push(*run);
            }
        }
        // Among equal starts the one that tells most comes first: ended before running, with a duration before without.
        kept.sort_by_key(|r| (r.started_at, r.outcome == Outcome::Running, r.duration_ms.is_none()));
        let before = kept.len();
        kept.dedup_by_key(|r| r.started_at);
        set_aside.duplicates = before - kept.len();
        if kept.len() > MAX_RUNS {
            set_aside.older = kept.len() - MAX_RUNS;
            kept.drain(..set_aside.older);
        }
        let in_flight = match kept.last() {
            Some(last) if last.outcome == Outcome::Running => Some(last.started_at),
            _ => None,
        };
        if in_flight.is_some() {
            kept.pop();
        }
        for run in &mut kept {
            run.duration_ms = run.duration_ms.and_then(|ms| set_aside.usable_duration(ms));
            if run.outcome == Outcome::Running {
                // It began, so it is a sign of life; how it ended nobody knows.
                set_aside.unfinished += 1;
                run.duration_ms = None;
            }
        }
        Self { runs: kept, in_flight, set_aside }
    }

    /// Runs that ended in success or failure: the number behind every forecast of failure.
    pub fn decided(&self) -> usize {
        self.runs.iter().filter(|r| matches!(r.outcome, Outcome::Success | Outcome::Failure)).count()
    }

    /// Days from the first to the last run.
    pub fn span_days(&self) -> f64 {
        match (self.runs.first(), self.runs.last()) {
            (Some(a), Some(b)) => seconds_between(a.started_at, b.started_at) / 86_400.0,
            _ => 0.0,
        }
    }
}

/// Seconds from `a` to `b`, both in µs; saturates instead of overflowing.
pub fn seconds_between(a: i64, b: i64) -> f64 {
    b.saturating_sub(a) as f64 / MICROS_PER_SECOND as f64
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_000 * 60 * MICROS_PER_SECOND;

    fn at(minute: i64, ms: f64) -> Run {
        Run::new(minute * 60 * MICROS_PER_SECOND, Some(ms), Outcome::Success)
    }

    #[test]
    fn durations_that_cannot_be_true_are_dropped_and_their_runs_kept() {
        let runs = [at(1, f64::NAN), at(2, f64::INFINITY), at(3, -5.0), at(4, 1e300), at(5, 0.0), at(6, 7.0)];
        let clean = History::clean(&runs, NOW);
        assert_eq!(clean.runs.len(), 6);
        assert_eq!(clean.runs.iter().filter_map(|r| r.duration_ms).collect::<Vec<_>>(), [0.0, 7.0]);
        assert_eq!(clean.set_aside, SetAside { not_finite: 2, negative: 1, implausible: 1, ..SetAside::default() });
    }

    #[test]
    fn of_two_runs_with_one_start_the_one_that_tells_more_is_kept() {
        let running = Run::new(at(1, 0.0).started_at, None, Outcome::Running);
        let clean = History::clean(&[running, at(1, 5.0), at(2, 5.0)], NOW);
        assert_eq!(clean.runs, [at(1, 5.0), at(2, 5.0)]);
        assert_eq!(clean.set_aside.duplicates, 1);
    }

    #[test]
    fn a_start_just_within_the_clock_skew_is_kept_and_one_just_beyond_is_not() {
        let inside = Run::new(NOW + CLOCK_SKEW_US, Some(1.0), Outcome::Success);
        let outside = Run::new(NOW + CLOCK_SKEW_US + 1, Some(1.0), Outcome::Success);
        let clean = History::clean(&[inside, outside], NOW);
        assert_eq!(clean.runs, [inside]);
        assert_eq!(clean.set_aside.future, 1);
    }

    #[test]
    fn only_the_newest_run_can_be_in_flight() {
        let running = |minute: i64| Run::new(minute * 60 * MICROS_PER_SECOND, None, Outcome::Running);
        let clean = History::clean(&[running(1), at(2, 5.0), running(3)], NOW);
        assert_eq!(clean.in_flight, Some(running(3).started_at));
        assert_eq!(clean.runs.len(), 2);
        assert_eq!(clean.set_aside.unfinished, 1);
    }

    #[test]
    fn the_oldest_runs_beyond_the_bound_are_left_out_and_counted() {
        let more = i64::try_from(MAX_RUNS).expect("small") + 3;
        let runs: Vec<Run> = (0..more).map(|i| Run::new(i, Some(1.0), Outcome::Success)).collect();
        let clean = History::clean(&runs, NOW);
        assert_eq!((clean.runs.len(), clean.set_aside.older), (MAX_RUNS, 3));
        assert_eq!(clean.runs[0].started_at, 3);
    }

    pub(crate) fn any_run() -> impl Strategy<Value = Run> {
        let outcome =
            prop_oneof![Just(Outcome::Success), Just(Outcome::Failure), Just(Outcome::Skipped), Just(Outcome::Running)];
        let start = prop_oneof![0..100_000_000_000_i64, any::<i64>()];
        let ms = prop_oneof![0.0..1e6_f64, any::<f64>()];
        (start, proptest::option::of(ms), outcome).prop_map(|(s, d, o)| Run::new(s, d, o))
    }

    proptest! {
        #[test]
        fn a_clean_history_is_ordered_unique_and_every_run_is_accounted_for(
            runs in proptest::collection::vec(any_run(), 0..60), now in any::<i64>()
        ) {
            let clean = History::clean(&runs, now);
            prop_assert!(clean.runs.windows(2).all(|w| w[0].started_at < w[1].started_at));
            prop_assert!(clean.runs.iter().filter_map(|r| r.duration_ms).all(|ms| (0.0..=MAX_DURATION_MS).contains(&ms)));
            let s = clean.set_aside;
            prop_assert_eq!(
                clean.runs.len() + usize::from(clean.in_flight.is_some()) + s.duplicates + s.future + s.older,
                runs.len()
            );
        }
    }
}
