//! The outlook: foretells every job and resource of the database, settles what was claimed before, and stores both.
//!
//! `detect` reads and decides, in READ ONLY transactions, the same in a dry run; `act` stores. What is shown stands in
//! `healer.outlook`, every checkable claim in `healer.forecast`, what was learned in `healer.setting`. It changes nothing
//! of the system. Limits: those of [`super::source`]; a claim that nothing settled for [`OPEN_DAYS`] is given up. What could
//! not be read stays as it was last foretold and learned, and its claims stay open.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::calibration::{Claim, Event, Quantity, Settled, Stored, claims, resource_claim};
use super::capacity::{self, CapacityForecast};
use super::history::{History, Job, MICROS_PER_SECOND, seconds_between};
use super::resource::{self, Resource};
use super::source::{self, Histories, Watched};
use super::{Abstained, Alarm, AlarmKind, JobForecast, Knowledge, forecast_cleaned, words};
use crate::change::lease::Lease;
use crate::change::plan::Severity;
use crate::database::catalog::Catalog;
use crate::database::session::{Param, Session};
use crate::database::statement::{self, Names};
use crate::error::Error;
use crate::heal::{CheckResult, Status};
use crate::posts::mapping::Mapping;
use crate::report::model::Concern;
use crate::settings::Settings;

/// The check of the jobs, in the output.
pub const JOBS: &str = "job-forecast";
/// The check of the resources.
pub const RESOURCES: &str = "capacity-forecast";

/// The kind of a job's rows in `healer.outlook` and `healer.forecast`.
pub const JOB: &str = "job";
/// The kind of a resource's rows.
pub const RESOURCE: &str = "resource";

/// Days after which a claim that nothing settled is given up: as long as histories are kept.
const OPEN_DAYS: i64 = 30;

/// A resource that is full within this many days is a warning: enough to act in working hours, and a whole week ahead.
const SOON_DAYS: f64 = 7.0;
/// A sequence or the ids of transactions take a migration, or days of vacuuming: they are told a month ahead.
const SLOW_TO_MEND_DAYS: f64 = 30.0;
/// … and within this many, critical.
const NOW_DAYS: f64 = 1.0;

/// A job that is alarmed as missing was probably renamed if another one began when it fell silent and runs as often: by
/// this factor at most.
const SAME_RHYTHM: f64 = 1.5;

/// Everything that was foretold by one pass.
#[derive(Debug, Clone, Default)]
pub struct Outlook {
    /// The jobs.
    pub jobs: Vec<JobForecast>,
    /// The resources.
    pub resources: Vec<CapacityForecast>,
    /// What was learned over all jobs.
    pub knowledge: Knowledge,
    /// What became of claims that were open: their ids, and whether they came (`None`: it can no longer be told).
    pub settled: Vec<(i64, Option<bool>)>,
    /// Jobs that are silent, and the job that has probably taken their place.
    pub renamed: BTreeMap<String, String>,
    /// Why there are no jobs.
    pub missing: Option<String>,
    /// What else should be known.
    pub notes: Vec<String>,
    /// What could not be read because a query failed, and why.
    failed: Vec<(&'static str, CheckResult)>,
    /// The kinds that were read: only of these it is known what is gone.
    read: Vec<&'static str>,
    claims: Vec<Value>,
    now: Option<DateTime<Utc>>,
    names: Names,
}

/// What was stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// New claims.
    pub claims: u64,
    /// Claims that were settled.
    pub settled: u64,
}

/// Foretells. Reads only.
pub fn detect(
    session: &mut Session,
    settings: &Settings,
    mapping: &Mapping,
    catalog: &Catalog,
) -> Result<Outlook, Error> {
    let at = catalog.server.now;
    let now = at.timestamp_micros();
    let mut outlook = Outlook { now: Some(at), ..Outlook::default() };
    if !settings.forecast.enabled {
        outlook.missing = Some("switched off (forecast.enabled)".into());
        return Ok(outlook);
    }
    outlook.names = resource::names(settings, mapping, catalog);
    let mut histories = Histories::default();
    match source::read(session, settings, mapping, catalog, now) {
        Ok(read) => {
            if read.missing.is_none() {
                outlook.read.push(JOB);
            }
            histories = read;
        }
        Err(error) if error.stops_the_pass() => return Err(error),
        Err(error) => {
            session.check_stop()?;
            outlook.failed.push((JOBS, CheckResult::failed(JOBS, &error)));
        }
    }
    let mut resources = Vec::new();
    match resource::read(session, &outlook.names, catalog, now) {
        Ok(read) => {
            outlook.read.push(RESOURCE);
            resources = read;
        }
        Err(error) if error.stops_the_pass() => return Err(error),
        Err(error) => {
            session.check_stop()?;
            outlook.failed.push((RESOURCES, CheckResult::failed(RESOURCES, &error)));
        }
    }
    outlook.foretell(&histories, &resources, now);
    if catalog.schema_readable() {
        outlook.settle(session, &histories, &resources, now)?;
    }
    session.rollback();
    Ok(outlook)
}

/// Stores the outlook, its claims, what was settled and learned, and a sample of each resource.
pub fn act(session: &mut Session, lease: &Lease, outlook: &Outlook) -> Result<Kept, Error> {
    let (Some(now), Some(_)) = (outlook.now, outlook.names.get("resources")) else { return Ok(Kept::default()) };
    let mut kept = Kept::default();
    let empty = Names::default();
    let settled: Vec<Value> = outlook.settled.iter().map(|(id, came)| json!({ "id": id, "came": came })).collect();
    let told = outlook.documents();
    session.check_stop()?;
    lease.begin_batch(session)?;
    if !settled.is_empty() {
        let list = Value::from(settled).to_string();
        let row = session.row(&statement::FORECAST_SETTLE.fill(&empty), &[Param::Text(&list)])?;
        kept.settled = u64::try_from(row.int("settled")?).unwrap_or(0);
    }
    let row = session.row(
        &statement::FORECAST_STORE.fill(&empty),
        &[
            Param::Int(lease.run),
            Param::Text(&Value::from(told).to_string()),
            Param::Text(&Value::from(outlook.claims.clone()).to_string()),
            Param::Time(Some(now)),
            Param::Texts(&outlook.read),
        ],
    )?;
    kept.claims = u64::try_from(row.int("claims")?).unwrap_or(0);
    if outlook.read.contains(&JOB) {
        let knowledge = serde_json::to_string(&outlook.knowledge).unwrap_or_else(|_| "null".into());
        session.rows(&statement::KNOWLEDGE_STORE.fill(&empty), &[Param::Text(&knowledge)])?;
    }
    session.commit()?;
    // Apart from what was foretold: a resource that cannot be measured after all must not take that with it.
    session.transaction(&[resource::note(&outlook.names), statement::FORECAST_PRUNE.fill(&empty)])?;
    Ok(kept)
}

impl Outlook {
    fn foretell(&mut self, histories: &Histories, resources: &[Resource], now: i64) {
        let pairs: Vec<(&Job, &History)> = histories.jobs.iter().map(|w| (&w.job, &w.history)).collect();
        self.knowledge = Knowledge::learn(pairs);
        self.missing.clone_from(&histories.missing);
        self.renamed = renamed(histories, now);
        if histories.left_out {
            self.notes.push(format!("more than {} jobs: the others are not foretold", source::JOBS));
        }
        let coarse = histories.jobs.iter().filter(|watched| !watched.exact).count();
        if coarse > 0 {
            self.notes.push(format!(
                "{coarse} jobs are known only by what each pass finds, without durations; `healer init --track-jobs` \
                 notes every run"
            ));
        }
        for watched in &histories.jobs {
            let mut told = forecast_cleaned(&watched.job, &watched.history, &self.knowledge, now);
            if let Some(other) = self.renamed.get(&watched.job.name) {
                told.alarms.retain(|alarm| alarm.kind != AlarmKind::Missing);
                told.reasons.insert(0, format!("silent since {other} began, which runs as often: renamed?"));
            }
            let limit_ms = watched.job.usable_limit_s() * 1000.0;
            let claimed = claims(&told, limit_ms, now);
            self.claims.extend(claimed.iter().filter_map(|claim| row(JOB, claim, told.model)));
            self.jobs.push(told);
        }
        for resource in resources {
            // 0 is no limit; a number that is none could not be stored.
            let limit = resource.limit.filter(|limit| limit.is_finite()).unwrap_or(0.0);
            let told = capacity::forecast(&resource.name, limit, &resource.samples, now);
            if resource.measured {
                self.claims.extend(resource_claim(&told, now).and_then(|claim| row(RESOURCE, &claim, None)));
            }
            self.resources.push(told);
        }
    }

    /// Settles the open claims by what has happened since.
    fn settle(
        &mut self,
        session: &mut Session,
        histories: &Histories,
        resources: &[Resource],
        now: i64,
    ) -> Result<(), Error> {
        session.read()?;
        for row in &session.rows(&statement::FORECAST_OPEN.fill(&Names::default()), &[])? {
            let kind = row.text("kind")?;
            if !self.read.contains(&kind.as_str()) {
                continue;
            }
            let id = row.int("id")?;
            let subject = row.text("subject")?;
            let made_at = row.int("made_us")?;
            let of = Told {
                claim: row.text("claim")?,
                p: row.optional_float("probability")?,
                baseline: row.optional_float("baseline")?,
                low: row.optional_float("low")?,
                high: row.optional_float("high")?,
            };
            let limit = row.optional_float("limit_value")?.unwrap_or(0.0);
            let due_at = row.optional_int("due_us")?;
            let stored = of.claim().map(|claim| Stored { job: subject.clone(), made_at, due_at, limit, claim });
            let verdict = match (stored, kind.as_str()) {
                (None, _) => Verdict::Void,
                (Some(stored), JOB) => {
                    let watched = histories.jobs.iter().find(|watched| watched.job.name == subject);
                    watched.map_or(Verdict::Open, |watched| of_job(&stored, watched, now))
                }
                (Some(stored), _) => resources
                    .iter()
                    .find(|resource| resource.name == subject)
                    .and_then(|resource| stored.settle_resource(&resource.samples, now))
                    .map_or(Verdict::Open, Verdict::Settled),
            };
            let old = seconds_between(made_at, now) > (OPEN_DAYS * 86_400) as f64;
            match verdict {
                Verdict::Settled(Settled::Probability { came, .. } | Settled::Range { inside: came }) => {
                    self.settled.push((id, Some(came)));
                }
                Verdict::Void => self.settled.push((id, None)),
                Verdict::Open if old => self.settled.push((id, None)),
                Verdict::Open => {}
            }
        }
        Ok(())
    }

    /// What is stored of each subject, for the report.
    fn documents(&self) -> Vec<Value> {
        let jobs = self.jobs.iter().map(|told| (JOB, told.job.clone(), serde_json::to_value(told)));
        let resources = self.resources.iter().map(|told| (RESOURCE, told.resource.clone(), serde_json::to_value(told)));
        let mut seen = std::collections::BTreeSet::new();
        jobs.chain(resources)
            .filter_map(|(kind, subject, told)| {
                let told = told.ok()?;
                // In a database of raw bytes two names may read the same.
                seen.insert((kind, subject.clone())).then(|| json!({ "kind": kind, "subject": subject, "told": told }))
            })
            .collect()
    }

    /// The checks, for the output.
    pub fn checks(&self) -> Vec<CheckResult> {
        let broken =
            |name: &str| self.failed.iter().find(|(check, _)| *check == name).map(|(_, result)| result.clone());
        vec![
            broken(JOBS).unwrap_or_else(|| self.jobs_check()),
            broken(RESOURCES).unwrap_or_else(|| self.capacity_check()),
        ]
    }

    fn jobs_check(&self) -> CheckResult {
        if let Some(why) = &self.missing {
            return CheckResult::unknown(JOBS, why.clone(), "");
        }
        let told = self.jobs.iter().filter(|job| job.abstained.is_none()).count();
        if told == 0 {
            let summary = if self.jobs.is_empty() {
                "no runs of jobs are known yet".to_owned()
            } else {
                format!("{} jobs, none with the {} runs that it takes", self.jobs.len(), super::MIN_RUNS)
            };
            return CheckResult::unknown(
                JOBS,
                summary,
                "it comes with the passes, faster with `healer init --track-jobs`",
            );
        }
        let worse: Vec<&JobForecast> = self.jobs.iter().filter(|job| needs_a_look(job)).collect();
        let status = if worse.is_empty() { Status::Ok } else { Status::Warning };
        let summary = match worse.as_slice() {
            [] => format!("{told} jobs are foretold, none is getting worse"),
            [one] => format!("{}: {}", one.job, one.reasons.first().map_or("", String::as_str)),
            many => format!("{} of {told} jobs are getting worse", many.len()),
        };
        let mut result = CheckResult::new(JOBS, status, Some(worse.len() as u64), summary);
        result.details =
            worse.iter().map(|job| format!("{}: {}", job.job, worst(job).collect::<Vec<_>>().join("; "))).collect();
        for (old, new) in &self.renamed {
            result.details.push(format!("{old}: silent since {new} began, which runs as often: renamed?"));
        }
        result
    }

    fn capacity_check(&self) -> CheckResult {
        let near: Vec<(&CapacityForecast, Status)> =
            self.resources.iter().map(|told| (told, urgency(told))).filter(|(_, how)| *how != Status::Ok).collect();
        if self.resources.is_empty() {
            return CheckResult::unknown(RESOURCES, self.missing.clone().unwrap_or_else(|| "no data".into()), "");
        }
        let status = near.iter().map(|(_, how)| *how).max().unwrap_or(Status::Ok);
        let summary = match near.as_slice() {
            [] => format!("{} resources, none is near its limit", self.resources.len()),
            [(one, _)] => one.words.clone(),
            many => format!("{} of {} resources are near their limits", many.len(), self.resources.len()),
        };
        let mut result = CheckResult::new(RESOURCES, status, Some(near.len() as u64), summary);
        if near.len() > 1 {
            result.details = near.iter().map(|(told, _)| told.words.clone()).collect();
        }
        result
    }

    /// What a person should hear of.
    pub fn concerns(&self) -> Vec<Concern> {
        let told = self.jobs.iter().filter(|job| job.abstained.is_none()).count();
        let is_missing = |job: &&JobForecast| job.alarms.iter().any(|alarm| alarm.kind == AlarmKind::Missing);
        let silent: Vec<&str> = self.jobs.iter().filter(is_missing).map(|job| job.job.as_str()).collect();
        // Where most jobs fell silent it is the scheduler, and one word of that is enough.
        let all_silent = silent.len() >= 3 && 2 * silent.len() > told;
        let mut concerns = Vec::new();
        if all_silent {
            concerns.push(Concern {
                key: "forecast-missing:all".into(),
                severity: Severity::Critical,
                title: format!("{} of {told} jobs no longer start when they should", silent.len()),
                detail: silent.join(", "),
                next_step: "see whether the scheduler runs".into(),
            });
        }
        for job in self.jobs.iter().filter(|job| needs_a_look(job)) {
            for alarm in job.alarms.iter().filter(|alarm| !(all_silent && alarm.kind == AlarmKind::Missing)) {
                concerns.push(of_alarm(&job.job, alarm));
            }
            if let Some(until) = &job.limit_in_runs {
                let runs = format!("{:.0}", until.typical);
                concerns.push(Concern {
                    key: format!("forecast-limit:{}", job.job),
                    severity: Severity::Warning,
                    title: format!("{} will exceed its time limit in about {runs} runs", job.job),
                    detail: rise_words(job).unwrap_or_default(),
                    next_step: "see what it does more of from run to run (rows, pages, retries), before it is cut off"
                        .into(),
                });
            }
        }
        for told in &self.resources {
            let severity = match urgency(told) {
                Status::Critical => Severity::Critical,
                Status::Warning => Severity::Warning,
                Status::Ok | Status::Unknown => continue,
            };
            concerns.push(Concern {
                key: format!("forecast-capacity:{}", told.resource),
                severity,
                title: format!("{} will be full", told.resource),
                detail: told.words.clone(),
                next_step: next_step(&told.resource).into(),
            });
        }
        concerns
    }
}

/// Whether a job is getting worse.
pub fn needs_a_look(job: &JobForecast) -> bool {
    !job.alarms.is_empty() || job.limit_in_runs.is_some()
}

/// What is wrong with a job, in words: its alarms and its rise.
pub fn worst(job: &JobForecast) -> impl Iterator<Item = String> + '_ {
    job.alarms.iter().map(|alarm| alarm.words.clone()).chain(rise_words(job))
}

fn rise_words(job: &JobForecast) -> Option<String> {
    job.limit_in_runs.as_ref()?;
    job.reasons.iter().find(|reason| reason.starts_with("duration rose")).cloned()
}

fn of_alarm(job: &str, alarm: &Alarm) -> Concern {
    let (word, severity, title, next_step) = match alarm.kind {
        AlarmKind::Failing => (
            "failing",
            Severity::Warning,
            "fails more often than it used to",
            "read its last errors (healer report errors)",
        ),
        AlarmKind::Skipping => {
            ("skipping", Severity::Warning, "is skipped more often than it used to be", "take away what makes it skip")
        }
        AlarmKind::Missing => {
            ("missing", Severity::Warning, "does not start when it should", "see whether the scheduler still knows it")
        }
        AlarmKind::Slower => {
            ("slower", Severity::Warning, "takes longer than it used to", "see what has changed since, and its queries")
        }
        AlarmKind::Erratic => ("erratic", Severity::Info, "takes very different times", "see what it waits for"),
    };
    Concern {
        key: format!("forecast-{word}:{job}"),
        severity,
        title: format!("{job} {title}"),
        detail: alarm.words.clone(),
        next_step: next_step.into(),
    }
}

/// How soon somebody must act on a resource.
pub fn urgency(told: &CapacityForecast) -> Status {
    let slow = told.resource.starts_with("sequence ") || told.resource == "transaction ids";
    if told.reached {
        // The other resources have a check of their own that tells how full they are now.
        return if slow { Status::Critical } else { Status::Warning };
    }
    let days = told.until_s.as_ref().map(|until| until.typical / 86_400.0);
    let horizon = if slow { SLOW_TO_MEND_DAYS } else { SOON_DAYS };
    match days {
        Some(days) if days <= NOW_DAYS => Status::Critical,
        Some(days) if days <= horizon => Status::Warning,
        _ => Status::Ok,
    }
}

fn next_step(resource: &str) -> &'static str {
    match resource {
        "connections" => "see who holds them (pg_stat_activity), and lower the pools or raise max_connections",
        "transaction ids" => "VACUUM FREEZE the oldest tables, and end what holds them back (old transactions, slots)",
        "browser queue" => "give the browser more capacity, or stagger the jobs that use it",
        "posts waiting" => "plan fewer posts, or post more of them: more workers, see healer.scaling",
        "event table (MB)" => "keep fewer events, or raise forecast.events_limit_mb if the disk allows",
        _ => "change its column to bigint in a migration, before it is full",
    }
}

enum Verdict {
    Settled(Settled),
    Void,
    Open,
}

fn of_job(stored: &Stored, watched: &Watched, now: i64) -> Verdict {
    // What came right after the claim is not known any more.
    let first = watched.history.runs.first().map(|run| run.started_at);
    if watched.truncated && first.is_some_and(|first| first > stored.made_at) {
        return Verdict::Void;
    }
    let unseen = watched.job.blind.iter().any(|(from, to)| *from < now && stored.made_at < *to);
    if unseen && matches!(stored.claim, Claim::Probability { event: Event::Missing, .. }) {
        return Verdict::Void;
    }
    stored.settle(&watched.history, now).map_or(Verdict::Open, Verdict::Settled)
}

/// A claim as it is stored.
struct Told {
    claim: String,
    p: Option<f64>,
    baseline: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
}

impl Told {
    fn claim(&self) -> Option<Claim> {
        if let Some(quantity) = quantity(&self.claim) {
            return Some(Claim::Range { quantity, low: self.low?, high: self.high? });
        }
        Some(Claim::Probability { event: event(&self.claim)?, p: self.p?, baseline: self.baseline })
    }
}

/// An event by its word in `healer.forecast`.
pub fn event(word: &str) -> Option<Event> {
    serde_json::from_value(Value::from(word)).ok()
}

/// A quantity by its word in `healer.forecast`.
pub fn quantity(word: &str) -> Option<Quantity> {
    serde_json::from_value(Value::from(word)).ok()
}

/// The row of a claim; `None` for one with a number that is none.
fn row(kind: &str, stored: &Stored, model: Option<u32>) -> Option<Value> {
    let due_at = stored.due_at.and_then(DateTime::from_timestamp_micros);
    let due_at = due_at.map(|at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Micros, true));
    let mut row = json!({ "kind": kind, "subject": stored.job, "due_at": due_at, "limit_value": stored.limit });
    let (word, numbers) = match stored.claim {
        Claim::Probability { event, p, baseline } => {
            row["probability"] = json!(p);
            row["baseline"] = json!(baseline);
            row["model"] = json!(model.filter(|_| event == Event::NextFailure));
            (serde_json::to_value(event), [p, 0.0])
        }
        Claim::Range { quantity, low, high } => {
            row["low"] = json!(low);
            row["high"] = json!(high);
            (serde_json::to_value(quantity), [low, high])
        }
    };
    row["claim"] = word.ok()?;
    (numbers.iter().all(|number| number.is_finite()) && stored.limit.is_finite()).then_some(row)
}

/// Jobs that fell silent when another one, that runs as often, was seen for the first time.
fn renamed(histories: &Histories, now: i64) -> BTreeMap<String, String> {
    let typical = |watched: &Watched| {
        let mut gaps: Vec<f64> = watched
            .history
            .runs
            .windows(2)
            .map(|pair| seconds_between(pair[0].started_at, pair[1].started_at))
            .filter(|gap| *gap > 0.0)
            .collect();
        gaps.sort_by(f64::total_cmp);
        gaps.get(gaps.len() / 2).copied()
    };
    let mut found = BTreeMap::new();
    for old in &histories.jobs {
        let (Some(last), Some(usual)) = (old.history.runs.last(), typical(old)) else { continue };
        let silent = seconds_between(last.started_at, now);
        if silent < 3.0 * usual || old.history.in_flight.is_some() {
            continue;
        }
        let slack = (2.0 * usual * MICROS_PER_SECOND as f64).min(86_400.0 * 7.0 * MICROS_PER_SECOND as f64);
        let successor = histories.jobs.iter().find(|new| {
            let began = new.first_at.is_some_and(|first| {
                new.job.name != old.job.name
                    && (first.saturating_sub(last.started_at) as f64).abs() <= slack
                    && first > last.started_at
            });
            began && typical(new).is_some_and(|every| every <= usual * SAME_RHYTHM && every >= usual / SAME_RHYTHM)
        });
        if let Some(new) = successor {
            found.insert(old.job.name.clone(), new.job.name.clone());
        }
    }
    found
}

/// Why nothing is foretold of a job, in words.
pub fn abstained(why: Abstained) -> String {
    match why {
        Abstained::TooFewRuns { runs, needed } => format!("{runs} runs so far, it takes {needed}"),
        // Below 2^52 seconds.
        Abstained::Gone { silent_s } => format!("has not run for {}", words::span(silent_s as f64)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::{Outcome, Run};
    use super::*;

    const MINUTE: i64 = 60 * MICROS_PER_SECOND;

    fn watched(name: &str, from: i64, to: i64, every: i64) -> Watched {
        let runs: Vec<Run> = (from..to)
            .step_by(usize::try_from(every).expect("small"))
            .map(|minute| Run::new(minute * MINUTE, Some(1000.0), Outcome::Success))
            .collect();
        Watched {
            job: Job::named(name),
            history: History::clean(&runs, 100_000 * MINUTE),
            first_at: runs.first().map(|run| run.started_at),
            truncated: false,
            exact: true,
        }
    }

    #[test]
    fn a_job_that_another_one_follows_at_once_was_renamed() {
        let all = |jobs: Vec<Watched>| renamed(&Histories { jobs, ..Histories::default() }, 4_000 * MINUTE);
        let old = watched("scrape", 0, 2_000, 20);
        let found = all(vec![old.clone(), watched("scrape_v2", 2_000, 4_000, 20)]);
        assert_eq!(found.get("scrape").map(String::as_str), Some("scrape_v2"));
        assert!(all(vec![old.clone(), watched("older", 0, 4_000, 20)]).is_empty(), "it ran all the time");
        assert!(all(vec![old.clone(), watched("plan", 2_000, 4_000, 120)]).is_empty(), "another rhythm");
        assert!(all(vec![old, watched("late", 3_000, 4_000, 20)]).is_empty(), "it began much later");
    }

    #[test]
    fn a_claim_is_the_same_when_it_comes_back() {
        let claims = [
            Claim::Probability { event: Event::AnyFailure6h, p: 0.3, baseline: None },
            Claim::Range { quantity: Quantity::TimeUntilS, low: 1.0, high: 2.0 },
        ];
        for claim in claims {
            let stored = Stored { job: "a".into(), made_at: 0, due_at: Some(1_500_000), limit: 3.0, claim };
            let row = row(JOB, &stored, Some(1)).expect("finite");
            let told = Told {
                claim: row["claim"].as_str().expect("a word").into(),
                p: row["probability"].as_f64(),
                baseline: row["baseline"].as_f64(),
                low: row["low"].as_f64(),
                high: row["high"].as_f64(),
            };
            assert_eq!(told.claim(), Some(claim));
        }
        assert_eq!(event("nonsense"), None);
    }

    #[test]
    fn what_takes_a_migration_is_told_a_month_ahead() {
        let told = |resource: &str, days: f64| {
            let until = super::super::until::Until {
                low: 1.0,
                typical: days * 86_400.0,
                high: None,
                slope: 1.0,
                since: 0.0,
                certainty: 1.0,
            };
            let mut told = capacity::forecast(resource, 100.0, &[], 0);
            told.until_s = Some(until);
            urgency(&told)
        };
        assert_eq!(told("sequence public.a", 20.0), Status::Warning);
        assert_eq!(told("connections", 20.0), Status::Ok);
        assert_eq!(told("connections", 6.0), Status::Warning);
        assert_eq!(told("sequence public.a", 0.5), Status::Critical);
    }
}
