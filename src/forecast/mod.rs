//! Foretelling, from short and noisy histories, which job will fail, overrun or not come, and when a resource is full.
//!
//! Pure: histories go in, [`JobForecast`]s and [`capacity::CapacityForecast`]s come out; no database, no clock, no
//! randomness (only [`source`], [`resource`] and [`outlook`] talk to the database). The way of the data: runs →
//! [`history::History::clean`] → [`monitor::Monitor::replay`] → [`forecast`].
//! Everything shown carries its interval, the number of runs behind it, the plain frequency beside it and its reasons
//! in words. Below [`MIN_RUNS`] runs it abstains and says so.

pub mod calibration;
pub mod capacity;
pub mod duration;
pub mod failure;
mod gauss;
pub mod hazard;
pub mod history;
pub mod missing;
pub mod monitor;
pub mod outlook;
pub mod resource;
pub mod rhythm;
pub mod settings;
pub mod source;
pub mod until;
pub mod words;

use failure::{Prior, beta_interval};
use hazard::Model;
use history::{History, Job, Outcome, Run, SetAside};
use monitor::Monitor;
use serde::{Deserialize, Serialize};
use until::{Stories, Until};

/// Runs below which nothing is foretold.
pub const MIN_RUNS: usize = 8;
/// The span of "any failure soon".
pub const SOON_S: f64 = 6.0 * 3600.0;
/// Runs in [`SOON_S`] are counted up to this many: a job every five seconds would otherwise make any rate certain.
const MOST_RUNS_SOON: f64 = 500.0;
/// Share of the explanations of a series that must rise before a time until the limit is told.
pub const LEAST_CERTAINTY: f64 = 0.8;
/// Runs ahead that a job's time until its limit is looked for.
const RUNS_AHEAD: usize = 300;
/// Newest runs of which none may be above the limit already: then the question is no longer when.
const ALREADY: usize = 5;
/// Newest runs from which a job's rise is read.
const RISE_RUNS: usize = 240;

/// A probability with its 80 % interval and what the plain frequency would have said.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Probability, 0 to 1.
    pub p: f64,
    /// Lower end of its 80 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How often it happened so far; `None` where it could not have.
    pub baseline: Option<f64>,
}

impl Estimate {
    fn new(p: f64, (low, high): (f64, f64), baseline: Option<f64>) -> Self {
        let p = p.clamp(0.0, 1.0);
        Self { p, low: low.clamp(0.0, p), high: high.clamp(p, 1.0), baseline }
    }
}

/// Why nothing is foretold of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Abstained {
    /// Fewer than [`MIN_RUNS`] usable runs.
    TooFewRuns {
        /// Usable runs.
        runs: usize,
        /// Runs needed.
        needed: usize,
    },
    /// It has not run for [`GONE_S`] and many intervals: switched off or renamed, and no longer foretold.
    Gone {
        /// Whole seconds since its last start.
        silent_s: u64,
    },
}

/// A job that is silent for this long (and for [`GONE_SLOTS`]) was alarmed about for two weeks; now it is history.
pub const GONE_S: f64 = 14.0 * 86_400.0;
/// Intervals that a job must have been silent for before it counts as gone.
pub const GONE_SLOTS: f64 = 20.0;

/// What an alarm is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// Fails more often than it used to.
    Failing,
    /// Is skipped more often than it used to be.
    Skipping,
    /// Runs did not start.
    Missing,
    /// Takes longer than it used to.
    Slower,
    /// Its durations vary more than they used to.
    Erratic,
}

/// A change for the worse that is going on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    /// What it is about.
    pub kind: AlarmKind,
    /// Number of runs since it is reckoned to have begun.
    pub since_run: usize,
    /// Evidence over the limit for an alarm; falls below 1 while it fades, at most 1.5.
    pub strength: f64,
    /// The reason.
    pub words: String,
}

/// All that is foretold of one job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobForecast {
    /// The job's name.
    pub job: String,
    /// Usable runs behind it.
    pub runs: usize,
    /// Set if nothing is foretold; then all estimates are `None` and there are no alarms.
    pub abstained: Option<Abstained>,
    /// The next run fails.
    pub next_failure: Option<Estimate>,
    /// Any run within six hours fails.
    pub any_failure_6h: Option<Estimate>,
    /// The next run takes longer than the job's limit.
    pub exceeds_limit: Option<Estimate>,
    /// The next run does not start when it should.
    pub missing: Option<Estimate>,
    /// When (µs) the next run counts as missed.
    pub missing_due_at: Option<i64>,
    /// Where the next duration is expected, in milliseconds.
    pub expected_ms: Option<duration::Expected>,
    /// Runs until the first one above the limit, if durations rise.
    pub limit_in_runs: Option<Until>,
    /// Changes for the worse that are going on.
    pub alarms: Vec<Alarm>,
    /// Everything in words, the worst first.
    pub reasons: Vec<String>,
    /// What was not used.
    pub set_aside: SetAside,
    /// Version of the learned model, where it was used for `next_failure`.
    pub model: Option<u32>,
}

/// What is known over all jobs: the prior of failures, and the learned model if there is one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Knowledge {
    /// Prior of failures.
    pub prior: Prior,
    /// The learned model; used only while [`Model::in_use`].
    pub model: Option<Model>,
}

impl Knowledge {
    /// Learns from the cleaned histories of all jobs.
    pub fn learn<'a>(jobs: impl IntoIterator<Item = (&'a Job, &'a History)> + Clone) -> Self {
        let start = Prior::default();
        let rates: Vec<_> =
            jobs.clone().into_iter().map(|(j, h)| Monitor::replay(j, h, start).failure().clone()).collect();
        let prior = start.learn(&rates);
        Self { prior, model: Model::train(jobs, prior) }
    }

    /// Probability that the next run of a job fails: the model's where it is in use, the simple one otherwise.
    pub fn next_failure(&self, monitor: &Monitor, at: i64) -> f64 {
        match self.used() {
            Some(model) => model.probability(&monitor.features(at)),
            None => monitor.failure().next(),
        }
    }

    /// The prior of failures; the built-in one where the stored one cannot be reckoned with.
    pub fn prior(&self) -> Prior {
        if self.prior.is_sound() { self.prior } else { Prior::default() }
    }

    fn used(&self) -> Option<&Model> {
        self.model.as_ref().filter(|m| m.in_use())
    }
}

/// Foretells one job from its runs (any order, any quality) as seen at `now` (µs since 1970, the database's clock).
pub fn forecast(job: &Job, runs: &[Run], knowledge: &Knowledge, now: i64) -> JobForecast {
    let history = History::clean(runs, now);
    forecast_cleaned(job, &history, knowledge, now)
}

/// Foretells one job from a cleaned history.
pub fn forecast_cleaned(job: &Job, history: &History, knowledge: &Knowledge, now: i64) -> JobForecast {
    let mut told = JobForecast {
        job: job.name.clone(),
        runs: history.runs.len(),
        abstained: None,
        next_failure: None,
        any_failure_6h: None,
        exceeds_limit: None,
        missing: None,
        missing_due_at: None,
        expected_ms: None,
        limit_in_runs: None,
        alarms: Vec::new(),
        reasons: Vec::new(),
        set_aside: history.set_aside,
        model: None,
    };
    if history.runs.len() < MIN_RUNS {
        told.abstained = Some(Abstained::TooFewRuns { runs: history.runs.len(), needed: MIN_RUNS });
        told.reasons
            .push(format!("{} usable runs; at least {MIN_RUNS} are needed to foretell anything", history.runs.len()));
        told.reasons.extend(words::set_aside(&history.set_aside));
        return told;
    }
    let monitor = Monitor::replay(job, history, knowledge.prior());
    // A run in flight has started: it is not missing, however it ends.
    let waited_until = history.in_flight.unwrap_or(now);
    if let Some(silent) = monitor.gaps().since_last_s(waited_until)
        && silent > monitor.gaps().typical_s().map_or(GONE_S, |s| (GONE_SLOTS * s).max(GONE_S))
    {
        // Not negative, and far below 2^63 microseconds.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let silent_s = silent as u64;
        told.abstained = Some(Abstained::Gone { silent_s });
        told.reasons.push(format!("has not run for {}: switched off or renamed?", words::span(silent)));
        told.reasons.extend(words::set_aside(&history.set_aside));
        return told;
    }
    alarms(&monitor, waited_until, &mut told);
    estimates(job, &monitor, knowledge, waited_until, now, &mut told);
    rise(job, history, &monitor, &mut told);
    told.reasons.extend(words::set_aside(&history.set_aside));
    told
}

fn alarms(monitor: &Monitor, now: i64, told: &mut JobForecast) {
    let runs = monitor.runs();
    let mut add = |kind, since_run, strength, words: String| {
        told.reasons.push(words.clone());
        told.alarms.push(Alarm { kind, since_run, strength, words });
    };
    if let Some(t) = monitor.missing_at(now) {
        let words = words::missing(&t, monitor.gaps().since_last_s(now), monitor.gaps().typical_s());
        add(AlarmKind::Missing, t.trials, t.strength, words);
    }
    if let Some(t) = monitor.failing() {
        add(AlarmKind::Failing, t.trials, t.strength, words::failing(&t));
    }
    if let Some(t) = monitor.skipping() {
        add(AlarmKind::Skipping, t.trials, t.strength, words::skipping(&t));
    }
    if let Some(c) = monitor.slower() {
        add(AlarmKind::Slower, runs.saturating_sub(c.since_run), c.strength, words::slower(&c, runs));
    }
    if let Some(c) = monitor.erratic() {
        add(AlarmKind::Erratic, runs.saturating_sub(c.since_run), c.strength, words::erratic(&c, runs));
    }
}

fn estimates(job: &Job, monitor: &Monitor, knowledge: &Knowledge, waited_until: i64, now: i64, told: &mut JobForecast) {
    let failure = monitor.failure();
    if monitor.decided() >= MIN_RUNS {
        let p = knowledge.next_failure(monitor, now);
        let (low, high) = failure.interval(p);
        told.next_failure = Some(Estimate::new(p, (low, high), failure.frequency()));
        told.model = knowledge.used().map(|m| m.version);
        if let Some(interval) = monitor.gaps().typical_s() {
            let trials = (SOON_S / interval).clamp(1.0, MOST_RUNS_SOON);
            let plain = failure.frequency().map(|f| 1.0 - (1.0 - f).powf(trials));
            // Over many runs it is the rate itself that is not known.
            let bounds = (1.0 - (1.0 - low).powf(trials), 1.0 - (1.0 - high).powf(trials));
            told.any_failure_6h = Some(Estimate::new(failure.any(trials, p), bounds, plain));
        }
        told.reasons.push(words::next_failure(p, low, high, failure.wrong(), failure.trials()));
    }
    let durations = monitor.durations();
    told.expected_ms = durations.expected();
    if let Some(p) = durations.exceeds(job.usable_limit_s() * 1000.0) {
        let behind = durations.seen().min(duration::ERRORS) as f64;
        told.exceeds_limit = Some(Estimate::new(p, beta_interval(p, behind), monitor.over_limit()));
    }
    if monitor.gaps().slot_s().is_some() {
        told.missing_due_at = monitor.gaps().due_at(waited_until);
        let rate = monitor.gaps().rate_at(waited_until);
        let p = rate.next();
        told.missing = Some(Estimate::new(p, rate.interval(p), rate.frequency()));
    }
}

/// The time until a job's durations reach its limit: told while it is alarmed as slower, or where the rise is plain.
fn rise(job: &Job, history: &History, monitor: &Monitor, told: &mut JobForecast) {
    let alarmed = monitor.slower().is_some();
    // Without any pressure on the chart there is no rise to speak of, and the fit can be saved.
    if !alarmed && monitor.durations().pressure() < 0.5 {
        return;
    }
    let logs: Vec<(usize, f64)> = history
        .runs
        .iter()
        .enumerate()
        .filter(|(_, r)| r.outcome == Outcome::Success)
        .filter_map(|(i, r)| r.duration_ms.map(|ms| (i, ms.max(1.0).ln())))
        .collect();
    let newest = &logs[logs.len().saturating_sub(RISE_RUNS)..];
    let x: Vec<f64> = newest.iter().map(|(i, _)| *i as f64).collect();
    let y: Vec<f64> = newest.iter().map(|(_, y)| *y).collect();
    let limit_ms = job.usable_limit_s() * 1000.0;
    if y.iter().rev().take(ALREADY).any(|y| *y > limit_ms.ln()) {
        return;
    }
    let Some(stories) = Stories::of(&x, &y) else { return };
    if stories.certainty() < LEAST_CERTAINTY {
        return;
    }
    told.limit_in_runs = stories.until(limit_ms.ln(), 1.0, RUNS_AHEAD);
    if let Some(until) = &told.limit_in_runs {
        told.reasons.insert(told.alarms.len(), words::rise(until, history.runs.len(), limit_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    const MINUTE: i64 = 60_000_000;
    const DAY: i64 = 1440 * MINUTE;

    fn job() -> Job {
        Job { expected_interval_s: Some(900.0), ..Job::named("metrics_scraper") }
    }

    /// Runs every 15 minutes whose durations (ms) are `f` times log-normal noise.
    fn noisy(n: usize, seed: u64, f: impl Fn(f64) -> f64) -> Vec<Run> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n)
            .map(|i| {
                let z: f64 = StandardNormal.sample(&mut rng);
                let outcome = if rng.random::<f64>() < 0.01 { Outcome::Failure } else { Outcome::Success };
                Run::new(start(i), Some(f(i as f64) * (0.3 * z).exp()), outcome)
            })
            .collect()
    }

    fn start(i: usize) -> i64 {
        i64::try_from(i).expect("small") * 15 * MINUTE
    }

    fn told(runs: &[Run]) -> JobForecast {
        let now = runs.iter().map(|r| r.started_at).max().unwrap_or(0).saturating_add(5 * MINUTE);
        forecast(&job(), runs, &Knowledge::default(), now)
    }

    #[test]
    fn below_eight_runs_it_abstains_and_says_so() {
        let f = told(&noisy(7, 1, |_| 5000.0));
        assert_eq!(f.abstained, Some(Abstained::TooFewRuns { runs: 7, needed: 8 }));
        assert_eq!(f.reasons, ["7 usable runs; at least 8 are needed to foretell anything"]);
        assert!(f.next_failure.is_none() && f.alarms.is_empty());
        assert!(told(&[]).abstained.is_some());
        assert!(told(&noisy(8, 1, |_| 5000.0)).abstained.is_none());
    }

    #[test]
    fn a_healthy_job_is_told_with_every_estimate_and_no_alarm() {
        let f = told(&noisy(150, 2, |_| 20_000.0));
        assert!(f.alarms.is_empty(), "{:?}", f.alarms);
        assert!(f.limit_in_runs.is_none());
        for e in [f.next_failure, f.any_failure_6h, f.exceeds_limit, f.missing] {
            let e = e.expect("enough runs");
            assert!(e.low <= e.p && e.p <= e.high && e.baseline.is_some());
        }
        assert!(f.exceeds_limit.is_some_and(|e| e.p < 0.01));
    }

    #[test]
    fn a_creeping_job_is_foretold_with_the_right_order_of_time() {
        // 60 s, from run 100 on 4 % more each run: it is at 180 s after 28 runs, and passes 300 s about ten later.
        let f = told(&noisy(128, 3, |i| 60_000.0 * 1.04_f64.powf((i - 99.0).max(0.0))));
        assert!(f.alarms.iter().any(|a| a.kind == AlarmKind::Slower), "{f:?}");
        let until = f.limit_in_runs.expect("it creeps");
        assert!((2.0..20.0).contains(&until.typical), "{until:?}");
        assert!(
            f.reasons.iter().any(|r| r.contains("% a run") && r.contains("first run above 300 s")),
            "{:?}",
            f.reasons
        );
    }

    #[test]
    fn one_value_equal_values_and_a_negative_one_raise_nothing() {
        let mut runs = noisy(1001, 4, |_| 1.0);
        for run in &mut runs {
            run.duration_ms = Some(1000.0);
            run.outcome = Outcome::Success;
        }
        runs[900].duration_ms = Some(-3.0);
        let f = told(&runs);
        assert!(f.alarms.is_empty());
        assert_eq!(f.set_aside.negative, 1);
        assert!(f.reasons.iter().any(|r| r.contains("1 with a negative duration")), "{:?}", f.reasons);
        assert!(told(&runs[..1]).alarms.is_empty());
    }

    #[test]
    fn bad_values_among_good_ones_change_no_verdict() {
        let good = noisy(120, 5, |_| 20_000.0);
        let mut bad = good.clone();
        for (i, ms) in [f64::NAN, f64::INFINITY, -1.0, f64::NEG_INFINITY, 1e300].into_iter().enumerate() {
            bad[100 + 2 * i].duration_ms = Some(ms);
        }
        bad.extend_from_slice(&good[20..40]);
        bad.push(Run::new(start(120) + 400 * DAY, Some(1.0), Outcome::Failure));
        let now = start(119) + 5 * MINUTE;
        let f = forecast(&job(), &bad, &Knowledge::default(), now);
        assert!(f.alarms.is_empty());
        assert_eq!((f.set_aside.duplicates, f.set_aside.future), (20, 1));
        assert_eq!(f.next_failure, forecast(&job(), &good, &Knowledge::default(), now).next_failure);
    }

    #[test]
    fn a_pause_of_three_weeks_and_a_shifted_clock_are_no_storm() {
        for shift in [21 * DAY, 9 * 60 * MINUTE, 60 * MINUTE, -60 * MINUTE] {
            let mut runs = noisy(160, 6, |_| 20_000.0);
            for run in &mut runs[100..] {
                run.started_at += shift;
            }
            let mut monitor = Monitor::new(&job(), Prior::default());
            let history = History::clean(&runs, i64::MAX);
            let raised: usize = history.runs.iter().map(|r| monitor.observe(r).count()).sum();
            assert!(raised <= 1, "{raised} alarms for a shift of {shift}");
            assert!(told(&runs).alarms.is_empty(), "shift {shift}");
        }
    }

    #[test]
    fn a_job_that_stopped_is_missing_for_two_weeks_and_then_gone() {
        let runs = noisy(100, 7, |_| 20_000.0);
        let last = start(99);
        let after = |d: i64| forecast(&job(), &runs, &Knowledge::default(), last + d);
        assert!(after(20 * MINUTE).alarms.is_empty());
        for d in [60 * MINUTE, 13 * DAY] {
            let f = after(d);
            assert_eq!(f.alarms.iter().map(|a| a.kind).collect::<Vec<_>>(), [AlarmKind::Missing]);
            assert!(f.missing.is_some_and(|e| e.p > 0.3));
        }
        let gone = after(15 * DAY);
        assert!(matches!(gone.abstained, Some(Abstained::Gone { .. })) && gone.alarms.is_empty());
    }

    #[test]
    fn a_run_in_flight_is_not_missing() {
        let mut runs = noisy(100, 8, |_| 20_000.0);
        runs.push(Run::new(start(100), None, Outcome::Running));
        let f = forecast(&job(), &runs, &Knowledge::default(), start(100) + 120 * MINUTE);
        assert!(f.alarms.is_empty(), "{:?}", f.alarms);
    }

    #[test]
    fn twelve_hours_of_skipped_runs_are_told() {
        let mut runs = noisy(150, 9, |_| 20_000.0);
        for run in &mut runs[102..] {
            run.outcome = Outcome::Skipped;
            run.duration_ms = None;
        }
        let f = told(&runs);
        assert_eq!(f.alarms.iter().map(|a| a.kind).collect::<Vec<_>>(), [AlarmKind::Skipping]);
    }

    #[test]
    fn a_failing_job_is_told_in_words() {
        let mut runs = noisy(100, 10, |_| 20_000.0);
        for (i, run) in runs.iter_mut().enumerate() {
            run.outcome = if i >= 97 { Outcome::Failure } else { Outcome::Success };
        }
        let f = told(&runs);
        assert!(f.reasons[0].starts_with("3 of the last 3 runs failed; usually about 1 in "), "{:?}", f.reasons);
        assert!(f.next_failure.is_some_and(|e| e.p > 0.2 && e.baseline == Some(0.03)));
    }

    #[test]
    fn knowledge_that_was_stored_broken_is_not_used() {
        let broken = Knowledge { prior: Prior { bad: f64::NAN, ..Prior::default() }, model: None };
        let runs = noisy(60, 11, |_| 20_000.0);
        let now = start(60);
        assert_eq!(forecast(&job(), &runs, &broken, now), forecast(&job(), &runs, &Knowledge::default(), now));
    }

    #[test]
    fn a_forecast_survives_being_stored() {
        let f = told(&noisy(128, 3, |i| 60_000.0 * 1.04_f64.powf((i - 99.0).max(0.0))));
        let text = serde_json::to_string(&f).expect("serialises");
        let back: JobForecast = serde_json::from_str(&text).expect("is read back");
        assert_eq!(back.alarms.len(), f.alarms.len());
        assert_eq!(back.job, f.job);
    }

    fn no_number_is_lost(value: &serde_json::Value, optional: &[&str]) -> bool {
        match value {
            serde_json::Value::Object(map) => map
                .iter()
                .all(|(k, v)| (!v.is_null() || optional.contains(&k.as_str())) && no_number_is_lost(v, optional)),
            serde_json::Value::Array(all) => all.iter().all(|v| no_number_is_lost(v, optional)),
            _ => true,
        }
    }

    proptest! {
        #[test]
        fn any_history_gives_numbers_and_never_nan(
            runs in proptest::collection::vec(history::tests::any_run(), 0..80), now in any::<i64>(),
            interval in proptest::option::of(any::<f64>()), limit in any::<f64>()
        ) {
            let job = Job { name: "any".to_owned(), expected_interval_s: interval, time_limit_s: limit, blind: Vec::new() };
            let f = forecast(&job, &runs, &Knowledge::default(), now);
            let json = serde_json::to_value(&f).expect("serialises");
            // A NaN would be written as null where a number must stand.
            let optional = ["abstained", "next_failure", "any_failure_6h", "exceeds_limit", "missing", "missing_due_at",
                "expected_ms", "limit_in_runs", "model", "baseline"];
            prop_assert!(no_number_is_lost(&json, &optional), "{json}");
            for e in [f.next_failure, f.any_failure_6h, f.exceeds_limit, f.missing].into_iter().flatten() {
                prop_assert!(0.0 <= e.low && e.low <= e.p && e.p <= e.high && e.high <= 1.0);
                prop_assert!(e.baseline.is_none_or(|b| (0.0..=1.0).contains(&b)));
            }
            prop_assert!(f.alarms.len() <= 5 && f.alarms.iter().all(|a| a.strength.is_finite()));
        }

        #[test]
        fn the_order_of_the_runs_does_not_matter(seed in 0..50_u64) {
            let runs = noisy(90, seed, |_| 20_000.0);
            let mut turned = runs.clone();
            turned.reverse();
            prop_assert_eq!(told(&runs), told(&turned));
        }
    }
}
