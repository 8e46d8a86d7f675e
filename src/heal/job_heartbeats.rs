//! `job-heartbeats`: whether the system's jobs live: late, running for too long, failing in a row, always skipped, or
//! never seen; and whether all of them stand still.
//!
//! Reads the heartbeat table in both of its shapes, one row a job or one row a run. How often a job runs is configured,
//! or learned from its history (`healer.job_run`, which a pass fills, or exactly the trigger of `init --track-jobs`).
//! healer's own lines are no sign of life of the system. Never starts and never ends a job.
//! Limits: what a pass notes is what it finds every 15 minutes, so a learned interval is never shorter than that.

use std::collections::BTreeMap;

use super::circuit_breaker::FUTURE_S;
use super::{Check, CheckResult, Room, Status, ago};
use crate::change::plan::Plan;
use crate::database::session::Row;
use crate::database::statement;
use crate::error::Error;
use crate::report::table::said;
use crate::settings::{JobHeartbeats as Limits, Settings};

/// The check.
pub struct JobHeartbeats;

const NAME: &str = "job-heartbeats";

/// Gaps between runs from which their median is called the job's interval.
const LEARNED_FROM: i64 = 5;

/// Characters of a job's error, as sql/heal/job_heartbeats.sql cuts it.
const SAID: usize = 160;

/// Intervals of a job after which being skipped all the time counts.
const SKIPPED_INTERVALS: f64 = 3.0;

/// Words that jobs write for the ways a run ends. The second of each list are strays that were met.
pub const SUCCESS_WORDS: &[&str] = &["success", "succeeded", "ok", "completed"];
/// See [`SUCCESS_WORDS`].
pub const FAILURE_WORDS: &[&str] = &["failure", "failed", "error"];

/// One job, as read. Ages in seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is what sql/heal/job_heartbeats.sql says of it")]
pub struct Job {
    pub name: String,
    pub status: Option<String>,
    pub success_s: Option<i64>,
    pub failure_s: Option<i64>,
    pub updated_s: Option<i64>,
    pub failures: i64,
    pub error: Option<String>,
    pub interval_s: Option<i64>,
    pub runs: i64,
}

impl Job {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            name: row.optional_text("job")?.unwrap_or_default(),
            status: row.optional_text("status")?,
            success_s: row.optional_int("success_s")?,
            failure_s: row.optional_int("failure_s")?,
            updated_s: row.optional_int("updated_s")?,
            failures: row.optional_int("failures")?.unwrap_or(0),
            // What a job says goes into the output, into alerts and so to other services: never with a secret in it.
            error: row.optional_text("error")?.map(|error| said(&error, SAID)),
            interval_s: row.optional_int("interval_s")?,
            runs: row.optional_int("runs")?.unwrap_or(0),
        })
    }

    /// The age of its last sign of life. Times in the future are none.
    fn alive_s(&self) -> Option<i64> {
        [self.success_s, self.failure_s, self.updated_s].into_iter().flatten().filter(|age| *age >= -FUTURE_S).min()
    }

    fn future(&self) -> usize {
        [self.success_s, self.failure_s, self.updated_s].into_iter().flatten().filter(|age| *age < -FUTURE_S).count()
    }

    fn interval(&self, limits: &Limits) -> Option<i64> {
        let learned = self.interval_s.filter(|_| self.runs >= LEARNED_FROM);
        limits.intervals.get(&self.name).map(|span| span.as_seconds()).or(learned)
    }
}

/// What is wrong, in one line a job that says what to do, the gravest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// How grave, and in words.
    pub lines: Vec<(Status, String)>,
    /// What was set aside, and what deserves no warning yet.
    pub notes: Vec<String>,
    /// Jobs that were looked at.
    pub jobs: usize,
}

/// Decides on all jobs. Pure.
pub fn judge(jobs: &[Job], limits: &Limits) -> Findings {
    let mut findings = Findings { jobs: jobs.len(), ..Findings::default() };
    let future: usize = jobs.iter().map(Job::future).sum();
    if future > 0 {
        findings.notes.push(format!("{future} times lie in the future and do not count: the clocks differ"));
    }
    let newest = jobs.iter().filter_map(Job::alive_s).min();
    match newest {
        None => {
            let words = "no job has ever given a sign of life: start the system's scheduler";
            findings.lines.push((Status::Critical, words.into()));
            return findings;
        }
        Some(age) if age > limits.stale_limit.as_seconds() => {
            let words = format!(
                "all {} jobs stand still, the last sign of life is {} old: start the system's scheduler",
                jobs.len(),
                ago(age)
            );
            findings.lines.push((Status::Critical, words));
            return findings;
        }
        Some(_) => {}
    }
    let mut words: BTreeMap<&str, usize> = BTreeMap::new();
    for job in jobs {
        match of_job(job, limits) {
            Some(line) => findings.lines.push(line),
            None if is(job, FAILURE_WORDS) => {
                let error = job.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
                findings.notes.push(format!("{}: its last run failed{error}", job.name));
            }
            None => {}
        }
        match job.status.as_deref() {
            Some("running" | "skipped") | None => {}
            Some(word) if SUCCESS_WORDS.contains(&word) || FAILURE_WORDS.contains(&word) => {}
            Some(word) => *words.entry(word).or_default() += 1,
        }
    }
    for (word, number) in words {
        findings.notes.push(format!("{number} jobs have the status \"{word}\", which is not known: it does not count"));
    }
    for job in limits.intervals.keys().filter(|name| jobs.iter().all(|job| job.name != **name)) {
        findings.lines.push((
            Status::Warning,
            format!("{job}: never seen; start it, or take it out of heal.job-heartbeats.intervals"),
        ));
    }
    findings.lines.sort_by_key(|(status, _)| std::cmp::Reverse(*status));
    findings
}

fn is(job: &Job, words: &[&str]) -> bool {
    job.status.as_deref().is_some_and(|status| words.contains(&status))
}

fn of_job(job: &Job, limits: &Limits) -> Option<(Status, String)> {
    let name = &job.name;
    let since_success = |job: &Job| {
        job.success_s
            .filter(|age| *age >= -FUTURE_S)
            .map_or_else(|| "it never succeeded".to_owned(), |age| format!("its last success is {} ago", ago(age)))
    };
    let Some(alive) = job.alive_s() else {
        return Some((Status::Warning, format!("{name}: gave no usable time; see what it writes into its heartbeat")));
    };
    if job.failures >= i64::from(limits.failures_warning) {
        let critical = job.failures >= i64::from(limits.failures_critical);
        let error = job.error.as_deref().map(|error| format!(" ({error})")).unwrap_or_default();
        return Some((
            if critical { Status::Critical } else { Status::Warning },
            format!("{name}: failed {} times in a row{error}, {}: see its log", job.failures, since_success(job)),
        ));
    }
    let interval = job.interval(limits);
    // A job that runs is not late: it is slow, and has a limit of its own.
    if job.status.as_deref() == Some("running") {
        let running = job.updated_s.filter(|age| *age >= -FUTURE_S).unwrap_or(alive);
        let limit = limits.running_limits.get(name).unwrap_or(&limits.running_limit);
        return (running > limit.as_seconds()).then(|| {
            let words = format!("{name}: running for {} (limit {limit})", ago(running));
            (Status::Warning, format!("{words}: see whether it hangs, and start it again"))
        });
    }
    let late = |factor: f64| interval.is_some_and(|interval| alive as f64 > interval as f64 * factor);
    if let Some(interval) = interval.filter(|_| late(limits.late_factor)) {
        let critical = late(limits.late_critical_factor);
        return Some((
            if critical { Status::Critical } else { Status::Warning },
            format!(
                "{name}: late, the last sign of life is {} ago (it runs every {}): start it",
                ago(alive),
                ago(interval)
            ),
        ));
    }
    let patience = interval
        .map_or(0.0, |interval| interval as f64 * SKIPPED_INTERVALS)
        .max(limits.skipped_limit.as_seconds() as f64);
    let succeeded_lately = job.success_s.is_some_and(|age| age >= -FUTURE_S && age as f64 <= patience);
    if job.status.as_deref() == Some("skipped") && !succeeded_lately {
        let why = job.error.as_deref().map(|error| format!(" ({error})")).unwrap_or_default();
        return Some((
            Status::Warning,
            format!("{name}: skipped every time{why}, {}: take away what makes it skip", since_success(job)),
        ));
    }
    None
}

fn read(room: &mut Room<'_>) -> Result<Vec<Job>, Error> {
    room.session.read()?;
    let template =
        if room.mapping.heartbeats_history { statement::JOB_HEARTBEATS_HISTORY } else { statement::JOB_HEARTBEATS };
    room.session.rows(&template.fill(&room.mapping.names), &[])?.iter().map(Job::read).collect()
}

impl Check for JobHeartbeats {
    fn name(&self) -> &'static str {
        NAME
    }

    fn enabled(&self, settings: &Settings) -> bool {
        settings.heal.job_heartbeats.enabled
    }

    fn run(&self, room: &mut Room<'_>, _: &mut Plan) -> Result<CheckResult, Error> {
        let table = &room.settings.heartbeats.table;
        if room.mapping.heartbeats.is_none() {
            return Ok(CheckResult::unknown(
                NAME,
                format!("table {table} is missing or of no known shape: whether the jobs live is not known"),
                "set heartbeats.table in healer.toml, or switch the check off (heal.job-heartbeats.enabled)",
            ));
        }
        let jobs = read(room)?;
        Ok(assess(&judge(&jobs, &room.settings.heal.job_heartbeats)))
    }
}

fn assess(findings: &Findings) -> CheckResult {
    let status = findings.lines.first().map_or(Status::Ok, |(status, _)| *status);
    let number = findings.lines.len();
    let (summary, details) = match findings.lines.as_slice() {
        [] => (format!("{} jobs give signs of life", findings.jobs), Vec::new()),
        [(_, line)] => (line.clone(), Vec::new()),
        lines => {
            let critical = lines.iter().filter(|(status, _)| *status == Status::Critical).count();
            let grave = if critical > 0 { format!(", {critical} of them critical") } else { String::new() };
            let summary = format!("{number} of {} jobs need a look{grave}", findings.jobs);
            (summary, lines.iter().map(|(_, line)| line.clone()).collect())
        }
    };
    let mut result = CheckResult::new(NAME, status, Some(number as u64), summary);
    result.details = details;
    result.details.extend(findings.notes.iter().cloned());
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::settings::Span;

    fn job(name: &str, alive_s: i64) -> Job {
        Job {
            name: name.into(),
            status: Some("success".into()),
            success_s: Some(alive_s),
            updated_s: Some(alive_s),
            ..Job::default()
        }
    }

    fn limits() -> Limits {
        let intervals = [("posting".to_owned(), Span::seconds(300))].into_iter().collect();
        Limits { intervals, ..Limits::default() }
    }

    /// What is found of one job, beside `posting`, which is well.
    fn found(job: Job) -> Option<(Status, String)> {
        let jobs = [self::job("posting", 10), job];
        judge(&jobs, &limits()).lines.into_iter().next()
    }

    fn status(job: Job) -> Option<Status> {
        found(job).map(|(status, _)| status)
    }

    #[test]
    fn a_job_is_late_after_two_intervals_and_gravely_after_six() {
        let late = |alive| judge(&[job("posting", alive), job("other", 0)], &limits()).lines.first().map(|line| line.0);
        assert_eq!(
            [late(600), late(601), late(1_800), late(1_801)],
            [None, Some(Status::Warning), Some(Status::Warning), Some(Status::Critical)]
        );
    }

    #[test]
    fn an_interval_is_learned_from_five_gaps_and_a_configured_one_wins() {
        let learned = |runs, alive| status(Job { interval_s: Some(100), runs, ..job("other", alive) });
        assert_eq!([learned(4, 300), learned(5, 200), learned(5, 201)], [None, None, Some(Status::Warning)]);
        let configured = Job { interval_s: Some(100), runs: 99, ..job("posting", 600) };
        assert_eq!(judge(&[configured], &limits()).lines, []);
    }

    #[test]
    fn three_failures_in_a_row_are_a_warning_and_ten_are_critical() {
        let failing = |failures| status(Job { status: Some("failed".into()), failures, ..job("other", 10) });
        assert_eq!(
            [failing(2), failing(3), failing(9), failing(10)],
            [None, Some(Status::Warning), Some(Status::Warning), Some(Status::Critical)]
        );
    }

    #[test]
    fn a_job_may_run_for_an_hour_and_is_not_late_meanwhile() {
        let running = |age| status(Job { status: Some("running".into()), ..job("other", age) });
        assert_eq!([running(3_600), running(3_601)], [None, Some(Status::Warning)]);
        let posting = Job { status: Some("running".into()), ..job("posting", 2_000) };
        assert_eq!(judge(&[posting], &limits()).lines, []);
    }

    #[test]
    fn being_skipped_counts_when_it_has_not_succeeded_for_two_hours_and_three_intervals() {
        let skipped = |success_s, interval_s| {
            let runs = LEARNED_FROM;
            status(Job {
                status: Some("skipped".into()),
                success_s,
                interval_s,
                runs,
                updated_s: Some(9),
                ..job("other", 9)
            })
        };
        assert_eq!([skipped(Some(7_200), None), skipped(Some(7_201), None)], [None, Some(Status::Warning)]);
        assert_eq!(
            [skipped(Some(10_800), Some(3_600)), skipped(Some(10_801), Some(3_600))],
            [None, Some(Status::Warning)]
        );
        assert_eq!(skipped(None, None), Some(Status::Warning), "it never succeeded");
    }

    #[test]
    fn an_empty_or_wholly_stale_table_is_critical_in_one_line() {
        for jobs in [vec![], vec![job("a", 3_601), job("b", 9_000)], vec![Job { name: "a".into(), ..Job::default() }]] {
            let lines = judge(&jobs, &limits()).lines;
            assert_eq!(lines.iter().map(|line| line.0).collect::<Vec<_>>(), [Status::Critical], "{lines:?}");
        }
        assert!(judge(&[job("posting", 10), job("b", 3_601)], &limits()).lines.is_empty());
    }

    #[test]
    fn a_configured_job_without_a_line_was_never_seen() {
        let lines = judge(&[job("other", 5)], &limits()).lines;
        assert!(lines[0].1.starts_with("posting: never seen"), "{lines:?}");
    }

    #[test]
    fn times_in_the_future_and_unknown_words_are_set_aside_and_counted() {
        let ahead = Job { success_s: Some(-61), updated_s: Some(-3_600), ..job("ahead", 0) };
        let odd = Job { status: Some("purple".into()), ..job("odd", 5) };
        let findings = judge(&[job("posting", 10), ahead, odd], &limits());
        assert_eq!(findings.lines.len(), 1, "{findings:?}");
        assert!(findings.lines[0].1.contains("ahead: gave no usable time"));
        assert!(findings.notes.iter().any(|note| note.contains("2 times lie in the future")), "{findings:?}");
        assert!(findings.notes.iter().any(|note| note.contains("\"purple\"")), "{findings:?}");
        assert_eq!(status(Job { success_s: Some(-60), ..job("slightly", 5) }), None);
    }

    #[test]
    fn a_stray_word_for_failure_is_one_and_a_single_failure_is_only_noted() {
        let failed = Job { status: Some("failed".into()), failures: 1, error: Some("boom".into()), ..job("other", 5) };
        let findings = judge(&[job("posting", 10), failed], &limits());
        assert_eq!(findings.lines, []);
        assert_eq!(findings.notes, ["other: its last run failed: boom"]);
    }

    proptest! {
        #[test]
        fn each_job_is_named_at_most_once_and_no_number_makes_it_panic(
            ages in prop::collection::vec(
                (prop::option::of(any::<i64>()), prop::option::of(-100_i64..100_000), any::<i64>(), prop::option::of(any::<i64>())), 0..6),
        ) {
            let jobs: Vec<Job> = ages.iter().enumerate().map(|(n, (success_s, updated_s, failures, interval_s))| Job {
                name: format!("job {n}"), status: Some(["running", "success", "skipped", "failed"][n % 4].into()),
                success_s: *success_s, updated_s: *updated_s, failures: *failures, interval_s: *interval_s, runs: 9,
                ..Job::default()
            }).collect();
            let findings = judge(&jobs, &limits());
            for job in &jobs {
                let name = format!("{}:", job.name);
                let lines = findings.lines.iter().filter(|line| line.1.starts_with(&name)).count();
                prop_assert!(lines <= 1);
            }
        }
    }
}
