//! All methods of one job together, fed run by run in the order of time.
//!
//! The same code watches a job for years and replays its history in one pass, so what was measured on replayed
//! histories is what is shown. Bounded: a monitor keeps a few hundred numbers, whatever the length of the history.

use super::duration::{Change, Durations};
use super::failure::{Prior, Rate, Trouble};
use super::history::{Conditions, History, Job, Outcome, Run, seconds_between};
use super::missing::Gaps;
use super::rhythm::Hour;
use std::collections::VecDeque;

/// Number of features of the learned model.
pub const FEATURES: usize = 18;

/// Names of the features, in order; part of a model's version.
pub const FEATURE_NAMES: [&str; FEATURES] = [
    "log_odds_simple",
    "last_failed",
    "failed_of_5",
    "failed_of_20",
    "streak",
    "log_runs_since_failure",
    "in_trouble",
    "in_trouble_and_last_failed",
    "flips_of_8",
    "flips_and_last_failed",
    "in_trouble_and_flips",
    "failed_of_20_and_last_failed",
    "duration_score",
    "duration_pressure",
    "hour_sin",
    "hour_cos",
    "queue",
    "breaker_open",
];

/// Outcomes kept for the features.
const RECENT: usize = 20;

/// Usual rate of skipped runs is not known beforehand: some jobs skip for a living.
const SKIP_PRIOR: Prior = Prior { bad: 0.5, good: 8.0, trouble_bad: 4.0, trouble_good: 1.0, enter: 0.002, leave: 0.02 };

/// Alarms that began with a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
// Five independent yes-or-no answers, not states of one thing.
#[expect(clippy::struct_excessive_bools)]
pub struct Raised {
    /// It fails more often.
    pub failing: bool,
    /// It skips more often.
    pub skipping: bool,
    /// Runs are missing.
    pub missing: bool,
    /// It takes longer.
    pub slower: bool,
    /// Its durations vary more.
    pub erratic: bool,
}

impl Raised {
    /// How many began.
    pub fn count(self) -> usize {
        [self.failing, self.skipping, self.missing, self.slower, self.erratic].into_iter().filter(|b| *b).count()
    }
}

/// The state of all methods of one job.
#[derive(Clone, Debug)]
pub struct Monitor {
    limit_ms: f64,
    failure: Rate,
    skipped: Rate,
    gaps: Gaps,
    durations: Durations,
    recent: VecDeque<bool>,
    since_failure: usize,
    over_limit: usize,
    first: Option<i64>,
    runs: usize,
    conditions: Conditions,
    decided: usize,
}

impl Monitor {
    /// A job of which no run was seen; `prior` is what is known of failures over all jobs.
    pub fn new(job: &Job, prior: Prior) -> Self {
        Self {
            limit_ms: job.usable_limit_s() * 1000.0,
            failure: Rate::new(prior),
            skipped: Rate::new(SKIP_PRIOR),
            gaps: Gaps::new(job.usable_interval_s()).blind_in(&job.blind),
            durations: Durations::default(),
            recent: VecDeque::with_capacity(RECENT),
            since_failure: 0,
            over_limit: 0,
            first: None,
            runs: 0,
            conditions: Conditions::default(),
            decided: 0,
        }
    }

    /// A monitor that has seen a whole cleaned history.
    pub fn replay(job: &Job, history: &History, prior: Prior) -> Self {
        let mut monitor = Self::new(job, prior);
        for run in &history.runs {
            monitor.observe(run);
        }
        monitor
    }

    /// Takes in the next run, which must not be older than the last and must come from a cleaned history.
    pub fn observe(&mut self, run: &Run) -> Raised {
        let mut raised = Raised { missing: self.gaps.observe(run.started_at), ..Raised::default() };
        let first = *self.first.get_or_insert(run.started_at);
        let failed = run.outcome == Outcome::Failure;
        match run.outcome {
            Outcome::Skipped => raised.skipping = self.skipped.observe(true),
            Outcome::Running => {}
            Outcome::Success | Outcome::Failure => {
                raised.skipping = self.skipped.observe(false);
                raised.failing = self.failure.observe(failed);
                if self.recent.len() == RECENT {
                    self.recent.pop_front();
                }
                self.recent.push_back(failed);
                self.since_failure = if failed { 0 } else { self.since_failure + 1 };
                self.decided += 1;
            }
        }
        // A failed run often ends early or at a time-out: its duration says nothing about the work.
        if let (Outcome::Success, Some(ms)) = (run.outcome, run.duration_ms) {
            let span_days = seconds_between(first, run.started_at) / 86_400.0;
            let began = self.durations.observe(ms, self.runs, Hour::of(run.started_at), span_days);
            raised.slower = began.level;
            raised.erratic = began.spread;
            self.over_limit += usize::from(ms > self.limit_ms);
        }
        self.conditions = run.conditions;
        self.runs += 1;
        raised
    }

    /// What the learned model sees before a run that starts at `at` (µs).
    pub fn features(&self, at: i64) -> [f64; FEATURES] {
        let simple = self.failure.next().clamp(1e-4, 1.0 - 1e-4);
        let last = f64::from(u8::from(self.recent.back().copied().unwrap_or(false)));
        let failed_of = |n: usize| {
            let take = n.min(self.recent.len());
            self.recent.iter().rev().take(take).filter(|f| **f).count() as f64 / take.max(1) as f64
        };
        let streak = self.recent.iter().rev().take_while(|f| **f).count().min(5) as f64;
        let flips =
            self.recent.iter().rev().zip(self.recent.iter().rev().skip(1)).take(8).filter(|(a, b)| a != b).count()
                as f64
                / 8.0;
        let hour = (at.rem_euclid(86_400_000_000)) as f64 / 86_400_000_000.0 * std::f64::consts::TAU;
        let trouble = self.failure.in_trouble();
        [
            (simple / (1.0 - simple)).ln(),
            last,
            failed_of(5),
            failed_of(RECENT),
            streak,
            (1.0 + self.since_failure.min(200) as f64).ln(),
            trouble,
            trouble * last,
            flips,
            flips * last,
            trouble * flips,
            failed_of(RECENT) * last,
            self.durations.recent_score(),
            self.durations.pressure().min(1.5),
            hour.sin(),
            hour.cos(),
            self.conditions.queue.filter(|q| q.is_finite() && *q > 0.0).map_or(0.0, f64::ln_1p),
            f64::from(u8::from(self.conditions.breaker_open.unwrap_or(false))),
        ]
    }

    /// Failures of this job.
    pub fn failure(&self) -> &Rate {
        &self.failure
    }

    /// Gaps between its starts.
    pub fn gaps(&self) -> &Gaps {
        &self.gaps
    }

    /// Its durations.
    pub fn durations(&self) -> &Durations {
        &self.durations
    }

    /// Share of the durations above the time limit; `None` before the first.
    pub fn over_limit(&self) -> Option<f64> {
        (self.durations.seen() > 0).then(|| self.over_limit as f64 / self.durations.seen() as f64)
    }

    /// Trouble with failures, if it is being alarmed about.
    pub fn failing(&self) -> Option<Trouble> {
        self.failure.trouble()
    }

    /// Trouble with skipped runs, if it is being alarmed about.
    pub fn skipping(&self) -> Option<Trouble> {
        self.skipped.trouble()
    }

    /// Trouble with missed runs at `now` (µs), if any.
    pub fn missing_at(&self, now: i64) -> Option<Trouble> {
        self.gaps.trouble_at(now)
    }

    /// The rise of durations that is being alarmed about, if any.
    pub fn slower(&self) -> Option<Change> {
        self.durations.slower()
    }

    /// The growth of spread that is being alarmed about; not told where the job is slower as well, which explains it.
    pub fn erratic(&self) -> Option<Change> {
        if self.durations.slower().is_some() { None } else { self.durations.erratic() }
    }

    /// Runs seen.
    pub fn runs(&self) -> usize {
        self.runs
    }

    /// Runs seen that ended in success or failure.
    pub fn decided(&self) -> usize {
        self.decided
    }
}
