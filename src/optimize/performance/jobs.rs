//! `jobs`: how long the system's jobs run and how they end; which are slow, slower than they were, or ever slower.
//!
//! Reads the heartbeat table where it keeps one row a run, else the runs that healer noted (`healer.job_run`: by a pass
//! what had changed, by the trigger of `init --track-jobs` every run with its duration). healer's own lines are left out.
//! Never starts, ends or changes a job.
//! Limits: without the trigger the heartbeats tell no durations, and a run is only known if it was the last one when a pass looked.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Level, Room, Scene, Told, check_of, figure, lasting, part_of, settings, share};
use crate::change::plan::Severity;
use crate::database::session::Row;
use crate::database::statement::{self, Names};
use crate::error::Error;
use crate::heal::{CheckResult, Status};
use crate::report::model::Concern;
use crate::settings::Settings;

/// The room's name.
pub const NAME: &str = "jobs";

/// Runs of the last day from which they can be compared with the past: the median of fewer is one run's luck.
const RECENT_FROM: u64 = 5;

/// Runs of the past from which it is one: below, its 90th percentile is its greatest value.
const PAST_FROM: u64 = 20;

/// Milliseconds by which a job must have become slower at least: below a second nobody waits for it.
const SLOWER_BY_MS: f64 = 1_000.0;

/// Days with runs from which a trend can be told at all: fewer give no significant one.
const TREND_DAYS: usize = 6;

/// What the Mann-Kendall statistic must exceed: one steady job in 200 does by chance, and most of those grow too little.
const TREND_Z: f64 = 2.576;

/// Runs below which their share of failures says nothing.
const FAILURES_FROM: u64 = 10;

/// Jobs that the document lists.
const LISTED: usize = 100;

/// Runs of one span of time. Times in ms; `None` where no run told its duration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Span {
    /// Runs that ended or were skipped.
    pub runs: u64,
    /// Of those, succeeded.
    pub succeeded: u64,
    /// Failed.
    pub failed: u64,
    /// Skipped.
    pub skipped: u64,
    /// Runs with a usable duration.
    pub measured: u64,
    /// Mean duration.
    pub mean: Option<f64>,
    /// Longest.
    pub max: Option<f64>,
    /// Median, p95 and p99; of the past: median and p90.
    pub percentiles: Option<Vec<Option<f64>>>,
}

impl Span {
    fn percentile(&self, place: usize) -> Option<f64> {
        self.percentiles.as_ref().and_then(|list| list.get(place).copied().flatten())
    }

    /// Median duration.
    pub fn median(&self) -> Option<f64> {
        self.percentile(0)
    }

    fn told(&self) -> Value {
        json!({
            "runs": self.runs, "succeeded": self.succeeded, "failed": self.failed, "skipped": self.skipped,
            "measured": self.measured, "mean": figure(self.mean), "median": figure(self.median()),
            "p95": figure(self.percentile(1)), "p99": figure(self.percentile(2)), "max": figure(self.max),
        })
    }
}

/// One job, as read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// The last 24 hours.
    pub day: Span,
    /// The last 7 days.
    pub week: Span,
    /// The 13 days before the last one.
    pub past: Span,
    /// Longest row of failures in 7 days.
    pub streak: u64,
    /// Durations that cannot be: set aside.
    pub odd: u64,
    /// Runs without a duration.
    pub unmeasured: u64,
    /// Runs that lie in the future: set aside.
    pub future: u64,
    /// Median of each day with runs, the oldest first: age in days, median in ms, runs.
    pub days: Vec<(f64, f64, u64)>,
}

/// What is wrong with a job's durations.
#[derive(Debug, Clone, PartialEq)]
pub enum Slowness {
    /// Its mean is above the limit: mean in ms, and over how long it was taken.
    Slow(f64, &'static str),
    /// Its last day against its past: medians in ms.
    Slower(f64, f64),
    /// A steady rise: medians at its beginning and its end in ms, by the fitted line.
    Creeping(f64, f64),
}

/// A job with what is wrong with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Slow {
    /// The job.
    pub name: String,
    /// Mean duration in ms: of the last day, else of the week.
    pub mean: f64,
    /// What is wrong, the gravest first.
    pub why: Vec<Slowness>,
}

impl Slow {
    /// In words.
    pub fn words(&self) -> String {
        let parts: Vec<String> = self
            .why
            .iter()
            .map(|why| match why {
                Slowness::Slow(mean, over) => format!("takes {} on average ({over})", lasting(*mean)),
                Slowness::Slower(now, past) => {
                    format!("took {} in the last day and {} before (medians)", lasting(*now), lasting(*past))
                }
                Slowness::Creeping(from, to) => {
                    format!("takes longer every day: from {} to {}", lasting(*from), lasting(*to))
                }
            })
            .collect();
        format!("{} {}", self.name, parts.join("; "))
    }
}

/// The mean duration of a job and over how long it was taken: the last day, where it ran then, else the week.
pub fn mean(job: &Job) -> Option<(f64, &'static str)> {
    let good = |value: Option<f64>| value.filter(|mean| mean.is_finite() && *mean >= 0.0);
    good(job.day.mean).map(|mean| (mean, "24 h")).or_else(|| good(job.week.mean).map(|mean| (mean, "7 days")))
}

/// Which jobs are slow. Pure.
pub fn judge(jobs: &[Job], limits: &settings::Jobs) -> Vec<Slow> {
    let mut slow: Vec<Slow> = jobs
        .iter()
        .filter_map(|job| {
            let mean = mean(job)?;
            let mut why = Vec::new();
            if mean.0 > limits.slow.0.as_secs_f64() * 1_000.0 {
                why.push(Slowness::Slow(mean.0, mean.1));
            }
            why.extend(slower(job, limits));
            if !why.iter().any(|why| matches!(why, Slowness::Slower(..))) {
                why.extend(creeping(&job.days, limits.creeping_factor));
            }
            (!why.is_empty()).then(|| Slow { name: job.name.clone(), mean: mean.0, why })
        })
        .collect();
    slow.sort_by(|a, b| b.mean.total_cmp(&a.mean));
    slow
}

/// Whether the last day is clearly slower than the past: beyond the factor, and beyond what one run in ten took before.
fn slower(job: &Job, limits: &settings::Jobs) -> Option<Slowness> {
    if job.day.measured < RECENT_FROM || job.past.measured < PAST_FROM {
        return None;
    }
    let (now, past, high) = (job.day.median()?, job.past.median()?, job.past.percentile(1)?);
    let clearly = now > past * limits.slower_factor && now > high && now - past > SLOWER_BY_MS;
    (clearly && now.is_finite()).then_some(Slowness::Slower(now, past))
}

/// Whether daily medians rise steadily: a Mann-Kendall test says that they do, Theil and Sen's line by how much.
fn creeping(days: &[(f64, f64, u64)], factor: f64) -> Option<Slowness> {
    let points: Vec<(f64, f64)> = days
        .iter()
        .filter(|(day, median, _)| day.is_finite() && median.is_finite() && *median > 0.0)
        .map(|(day, median, _)| (-day, median.ln()))
        .collect();
    if points.len() < TREND_DAYS {
        return None;
    }
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    let mut score = 0.0_f64;
    for (place, later) in points.iter().enumerate() {
        for earlier in &points[..place] {
            let (run, rise) = (later.0 - earlier.0, later.1 - earlier.1);
            if run > 0.0 {
                slopes.push(rise / run);
                score += if rise > 0.0 {
                    1.0
                } else if rise < 0.0 {
                    -1.0
                } else {
                    0.0
                };
            }
        }
    }
    let n = points.len() as f64;
    let deviation = (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    if (score - 1.0) / deviation <= TREND_Z || slopes.is_empty() {
        return None;
    }
    let slope = median(&mut slopes);
    let mut levels: Vec<f64> = points.iter().map(|(at, level)| level - slope * at).collect();
    let level = median(&mut levels);
    let (first, last) = (points.first()?.0, points.last()?.0);
    let (from, to) = ((level + slope * first).exp(), (level + slope * last).exp());
    (to >= from * factor && to - from > SLOWER_BY_MS && to.is_finite()).then_some(Slowness::Creeping(from, to))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

/// Runs of all jobs of the last day: all, failed, and their share among those that ended one way or the other.
pub fn totals(jobs: &[Job]) -> (u64, u64, Option<f64>) {
    let runs = jobs.iter().map(|job| job.day.runs).sum();
    let failed = jobs.iter().map(|job| job.day.failed).sum();
    let ended: u64 = jobs.iter().map(|job| job.day.failed + job.day.succeeded).sum();
    (runs, failed, part_of(failed, ended))
}

/// Where the runs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Source {
    /// Nowhere.
    #[default]
    None,
    /// The heartbeats.
    History,
    /// What healer noted.
    Noted,
}

/// The room.
#[derive(Debug, Default)]
pub struct Jobs {
    source: Source,
    missing: String,
    remedy: &'static str,
    all: Vec<Job>,
    slow: Vec<Slow>,
    limits: settings::Jobs,
}

impl Jobs {
    fn source(&mut self, scene: &Scene<'_>) -> Option<statement::Template> {
        let table = &scene.settings.heartbeats.table;
        let readable = scene.mapping.heartbeats.as_ref().map(crate::database::catalog::Relation::readable);
        match (readable, scene.mapping.heartbeats_history) {
            (Some(true), true) => {
                self.source = Source::History;
                Some(statement::OPTIMIZE_JOBS_HISTORY)
            }
            _ if scene.with_schema => {
                if readable.is_none() {
                    self.missing = format!("table {table} is missing or of no known shape: no runs are noted any more");
                    self.remedy = "set heartbeats.table in healer.toml";
                } else if readable == Some(false) {
                    self.missing = format!("the role may not read {table}: no runs are noted any more");
                    self.remedy = "`healer doctor` prints the GRANT to run";
                }
                self.source = Source::Noted;
                Some(statement::OPTIMIZE_JOBS_NOTED)
            }
            (None, _) => {
                self.missing = format!("table {table} is missing or of no known shape: how long jobs run is not known");
                self.remedy = "set heartbeats.table in healer.toml";
                None
            }
            (Some(_), _) => {
                self.missing =
                    "the heartbeats keep the last run alone, and healer has noted none: run `healer init`".into();
                self.remedy = "`healer init --track-jobs` notes every run with its duration from then on";
                None
            }
        }
    }
}

fn job(row: &Row) -> Result<Job, Error> {
    let span =
        |column: &str| -> Result<Span, Error> { Ok(serde_json::from_value(row.json(column)?).unwrap_or_default()) };
    let count = |column: &str| -> Result<u64, Error> { Ok(u64::try_from(row.int(column)?).unwrap_or(0)) };
    Ok(Job {
        name: row.text("job")?,
        day: span("day")?,
        week: span("week")?,
        past: span("past")?,
        streak: count("streak")?,
        odd: count("odd")?,
        unmeasured: count("unmeasured")?,
        future: count("future")?,
        days: serde_json::from_value(row.json("days")?).unwrap_or_default(),
    })
}

/// Reads all jobs. The names are those of the mapping.
pub fn read(scene: &mut Scene<'_>, runs: statement::Template) -> Result<Vec<Job>, Error> {
    let names: &Names = &scene.mapping.names;
    let names = names.with("job_runs", runs.fill(names).sql().to_owned());
    scene.session.read()?;
    scene.session.rows(&statement::OPTIMIZE_JOBS.fill(&names), &[])?.iter().map(job).collect()
}

impl Room for Jobs {
    fn name(&self) -> &'static str {
        NAME
    }

    fn enabled(&self, settings: &Settings) -> bool {
        settings.optimize.performance.jobs.enabled
    }

    fn detect(&mut self, scene: &mut Scene<'_>) -> Result<(), Error> {
        self.limits = scene.settings.optimize.performance.jobs.clone();
        if let Some(runs) = self.source(scene) {
            self.all = read(scene, runs)?;
            self.slow = judge(&self.all, &self.limits);
        }
        Ok(())
    }

    fn tell(&self, told: &mut Told) {
        let known = self.source != Source::None && !self.all.is_empty();
        let (runs, failed, failures) = totals(&self.all);
        let number = |number: u64| if known { json!(number) } else { Value::Null };
        let slow: Vec<Value> = self
            .slow
            .iter()
            .map(|job| json!({ "name": job.name, "avgDuration": figure(Some(job.mean)), "why": job.words() }))
            .collect();
        told.metric("jobExecution", "slowJobs", if known { json!(slow) } else { Value::Null });
        told.metric("jobExecution", "failedJobs", number(failed));
        told.metric("jobExecution", "totalJobs", number(runs));
        told.metric("jobExecution", "failureRate", share(failures));
        let listed: Vec<Value> = self
            .all
            .iter()
            .take(LISTED)
            .map(|job| {
                json!({ "name": job.name, "day": job.day.told(), "week": job.week.told(), "longestStreak": job.streak })
            })
            .collect();
        told.parts.insert("jobs".into(), json!(listed));
        told.checks.push(self.check(known, runs, failures));
        if self.all.len() > LISTED {
            told.notes.push(format!("{} of {} jobs are listed", LISTED, self.all.len()));
        }
        for job in &self.slow {
            told.recommendations.push(format!(
                "{}: see what it waits for (`healer optimize performance --dossier DIR` writes a page on it)",
                job.words()
            ));
            let creeping = !job.why.iter().any(|why| matches!(why, Slowness::Slow(..) | Slowness::Slower(..)));
            told.concerns.push(Concern {
                key: format!("{}:{}", if creeping { "job-creeping" } else { "job-slow" }, job.name),
                severity: if creeping { Severity::Info } else { Severity::Warning },
                title: format!("job {} is {}", job.name, if creeping { "ever slower" } else { "slow" }),
                detail: job.words(),
                next_step: "healer optimize performance --dossier DIR".into(),
            });
        }
        if let Some(failures) = failures.filter(|share| *share > self.limits.failures_warning && runs >= FAILURES_FROM)
        {
            told.recommendations.push(format!(
                "{:.0} % of the jobs' runs of the last day failed ({failed}): `healer analyze-errors` groups their errors",
                failures * 100.0
            ));
        }
    }
}

impl Jobs {
    fn check(&self, known: bool, runs: u64, failures: Option<f64>) -> CheckResult {
        if !known {
            let why = if self.missing.is_empty() { "no data: no run of a job is known yet" } else { &self.missing };
            let remedy = if self.remedy.is_empty() {
                "runs are noted by `healer heal`, and with their durations after `healer init --track-jobs`"
            } else {
                self.remedy
            };
            return CheckResult::unknown(NAME, why, remedy);
        }
        let mut lines: Vec<(Status, String)> = self.slow.iter().map(|job| (Status::Warning, job.words())).collect();
        if let Some(failures) = failures.filter(|share| *share > self.limits.failures_warning && runs >= FAILURES_FROM)
        {
            lines.push((Status::Warning, format!("{:.0} % of the runs of the last day failed", failures * 100.0)));
        }
        let measured: u64 = self.all.iter().map(|job| job.week.measured).sum();
        let mut check = if measured == 0 && lines.is_empty() {
            CheckResult::unknown(
                NAME,
                format!("{runs} runs of {} jobs in 24 h, and none told how long it took", self.all.len()),
                "`healer init --track-jobs` notes every run with its duration from then on",
            )
        } else {
            check_of(NAME, &lines, format!("{runs} runs of {} jobs in 24 h", self.all.len()))
        };
        if !self.missing.is_empty() {
            check.details.push(self.missing.clone());
        }
        for (number, words) in [
            (self.all.iter().map(|job| job.odd).sum::<u64>(), "durations are negative or beyond reason: set aside"),
            (self.all.iter().map(|job| job.future).sum(), "runs lie in the future: the clocks differ; set aside"),
        ] {
            if number > 0 {
                check.details.push(format!("{number} {words}"));
            }
        }
        check
    }
}

/// The level of a job's slowness, for the dossier.
pub fn level(slow: &Slow) -> Level {
    if slow.why.iter().any(|why| matches!(why, Slowness::Creeping(..))) && slow.why.len() == 1 {
        Level::Info
    } else {
        Level::Warning
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(measured: u64, mean: f64, percentiles: &[f64]) -> Span {
        Span {
            runs: measured,
            succeeded: measured,
            measured,
            mean: Some(mean),
            max: Some(mean),
            percentiles: Some(percentiles.iter().map(|value| Some(*value)).collect()),
            ..Span::default()
        }
    }

    fn of(day: Span, past: Span) -> Vec<Slow> {
        let job = Job { name: "a".into(), day, past, ..Job::default() };
        judge(&[job], &settings::Jobs::default())
    }

    #[test]
    fn a_job_is_slow_above_five_minutes_on_average() {
        let slow = |mean| !of(span(10, mean, &[mean]), Span::default()).is_empty();
        assert_eq!([slow(300_000.0), slow(300_001.0)], [false, true]);
    }

    #[test]
    fn a_job_is_slower_than_its_past_beyond_the_factor_and_beyond_its_spread() {
        let found = |day, past: &[f64]| of(span(5, day, &[day]), span(20, 10_000.0, past)).len();
        assert_eq!(found(15_001.0, &[10_000.0, 12_000.0]), 1);
        assert_eq!(found(14_999.0, &[10_000.0, 12_000.0]), 0, "within the factor");
        assert_eq!(found(16_000.0, &[10_000.0, 17_000.0]), 0, "one run in ten took as long before");
        assert_eq!(found(90.0, &[10.0, 20.0]), 0, "80 ms: nobody waits for that");
        assert_eq!(of(span(4, 16_000.0, &[16_000.0]), span(20, 1.0, &[1.0, 1.0])).len(), 0, "four runs");
        assert_eq!(of(span(5, 16_000.0, &[16_000.0]), span(19, 1.0, &[1.0, 1.0])).len(), 0, "no past");
    }

    fn days(medians: &[f64]) -> Vec<(f64, f64, u64)> {
        let last = medians.len() as f64 - 1.0;
        medians.iter().enumerate().map(|(n, median)| (last - n as f64, *median, 10)).collect()
    }

    #[test]
    fn a_steady_rise_is_creeping_and_noise_a_step_back_or_a_small_rise_is_not() {
        let rise: Vec<f64> = (0..10).map(|n| 10_000.0 * 1.06_f64.powi(n)).collect();
        assert!(creeping(&days(&rise), 1.3).is_some());
        let noise = [10_000.0, 12_000.0, 9_000.0, 11_000.0, 10_500.0, 12_500.0, 9_500.0, 11_500.0, 10_000.0, 12_000.0];
        assert_eq!(creeping(&days(&noise), 1.3), None);
        let small: Vec<f64> = (0..10).map(|n| 10_000.0 * 1.01_f64.powi(n)).collect();
        assert_eq!(creeping(&days(&small), 1.3), None);
        assert_eq!(creeping(&days(&rise[..5]), 1.3), None, "too few days");
        let falling: Vec<f64> = rise.iter().rev().copied().collect();
        assert_eq!(creeping(&days(&falling), 1.3), None);
    }

    #[test]
    fn a_thousand_equal_durations_one_value_and_no_value_are_no_alarm() {
        assert!(of(span(1_000, 7_000.0, &[7_000.0; 3]), span(1_000, 7_000.0, &[7_000.0, 7_000.0])).is_empty());
        assert!(of(span(1, 7_000.0, &[7_000.0; 3]), Span::default()).is_empty());
        assert!(of(Span::default(), Span::default()).is_empty());
        assert_eq!(creeping(&days(&[7_000.0; 14]), 1.3), None);
        assert_eq!(totals(&[Job::default()]), (0, 0, None));
    }

    proptest! {
        #[test]
        fn no_numbers_make_it_panic_or_tell_what_is_no_number(
            mean in prop::option::of(any::<f64>()), medians in prop::collection::vec(any::<f64>(), 0..15),
            measured in 0_u64..100,
        ) {
            let span = Span { measured, mean, percentiles: Some(medians.iter().map(|m| Some(*m)).collect()), ..Span::default() };
            let job = Job { name: "a".into(), day: span.clone(), past: span, days: days(&medians), ..Job::default() };
            for slow in judge(&[job], &settings::Jobs::default()) {
                prop_assert!(slow.mean.is_finite());
                prop_assert!(!slow.words().contains("NaN") && !slow.words().contains("inf"));
            }
        }

        #[test]
        fn the_same_durations_scaled_are_judged_the_same(factor in 1.0_f64..50.0) {
            let rise: Vec<f64> = (0..10).map(|n| 10_000.0 * 1.06_f64.powi(n) * factor).collect();
            prop_assert!(creeping(&days(&rise), 1.3).is_some());
        }
    }
}
