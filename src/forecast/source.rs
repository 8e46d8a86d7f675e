//! Where the histories of jobs come from: the heartbeat table, in both of its shapes, and `healer.job_run`.
//!
//! What is read is brought into runs with a start, a duration and an outcome; nothing is judged here. A history that
//! only the passes noted is coarse: it holds the last run before each pass, without durations, so gaps in which no pass
//! ran are marked as blind and intervals below two passes are not believed. Limits: [`JOBS`] jobs, the newest
//! [`MAX_RUNS`] runs of each, of 30 days.

use std::collections::BTreeMap;

use serde_json::Value;

use super::history::{Conditions, History, Job, MAX_DURATION_MS, MAX_RUNS, MICROS_PER_SECOND, Outcome, Run, SetAside};
use crate::database::catalog::{Catalog, Column};
use crate::database::session::{Param, Session};
use crate::database::statement::{self, Names};
use crate::error::Error;
use crate::heal::job_heartbeats::{FAILURE_WORDS, SUCCESS_WORDS};
use crate::posts::mapping::{self, Mapping};
use crate::settings::Settings;

/// Jobs that are looked at: such a system has about a dozen, and their histories are held in memory at once.
pub const JOBS: usize = 200;

/// A run that was noted as running and one that ended are the same if the second began within this much (µs) of the first.
const SAME_RUN_US: i64 = 2 * MICROS_PER_SECOND;

/// One job with all that is known of it.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The job, as the settings see it.
    pub job: Job,
    /// Its runs, cleaned.
    pub history: History,
    /// Its first run that is kept anywhere (µs); tells a new job from one whose older runs were not read.
    pub first_at: Option<i64>,
    /// Whether older runs than those read are kept.
    pub truncated: bool,
    /// Whether every run was noted with its duration, and not only what the passes happened to see.
    pub exact: bool,
}

/// All histories.
#[derive(Debug, Clone, Default)]
pub struct Histories {
    /// The jobs, by name.
    pub jobs: Vec<Watched>,
    /// Whether there may be more jobs than [`JOBS`].
    pub left_out: bool,
    /// Why there is nothing, where no source can be read.
    pub missing: Option<String>,
}

/// One run as it was noted.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Noted {
    /// When the line was written (µs): the end, or the start of one that runs.
    at: i64,
    /// How long it took (ms), where that was noted.
    ms: Option<f64>,
    outcome: Option<Outcome>,
    /// Whether it was noted when it happened.
    exact: bool,
}

/// The word of a status as an outcome; `None` for one that is not known.
fn outcome(word: &str) -> Option<Outcome> {
    match word {
        "running" | "started" => Some(Outcome::Running),
        "skipped" => Some(Outcome::Skipped),
        word if SUCCESS_WORDS.contains(&word) => Some(Outcome::Success),
        word if FAILURE_WORDS.contains(&word) => Some(Outcome::Failure),
        _ => None,
    }
}

/// Reads the histories, in READ ONLY transactions.
pub fn read(
    session: &mut Session,
    settings: &Settings,
    mapping: &Mapping,
    catalog: &Catalog,
    now: i64,
) -> Result<Histories, Error> {
    let with_schema = catalog.schema_readable();
    let heartbeats = mapping.heartbeats.as_ref().filter(|table| table.readable());
    if heartbeats.is_none() && !with_schema {
        return Ok(Histories {
            missing: Some(format!(
                "table {} cannot be read and there is no schema healer: no runs of jobs are known",
                settings.heartbeats.table
            )),
            ..Histories::default()
        });
    }
    let from_table = mapping.heartbeats_history && heartbeats.is_some();
    let mut found: BTreeMap<String, Raw> = BTreeMap::new();
    session.read()?;
    if let Some(table) = heartbeats.filter(|_| from_table) {
        let zone = catalog.literal(&settings.posts.timezone)?;
        let names = history_names(&mapping.names, table.column("created_at"), table.column("execution_time_ms"), zone);
        gather(session, &statement::FORECAST_RUNS_HISTORY.fill(&names), &mut found)?;
    } else {
        if with_schema {
            gather(session, &statement::FORECAST_RUNS.fill(&mapping.names), &mut found)?;
        }
        if heartbeats.is_some() {
            lines(session, mapping, &mut found, now)?;
        }
    }
    let left_out = found.len() > JOBS;
    let coarse = found.values().any(|raw| !raw.exact());
    let blind = if with_schema && coarse { blind(session, settings)? } else { Vec::new() };
    let conditions = if with_schema { conditions(session)? } else { Vec::new() };
    let believed = settings.heal.browser_queue.signal_max_age.as_seconds().saturating_mul(MICROS_PER_SECOND);
    let jobs = found
        .into_iter()
        .take(JOBS)
        .map(|(name, raw)| watch(&name, raw, settings, &blind, (&conditions, believed), now))
        .collect();
    let mut histories = Histories { jobs, left_out, missing: None };
    if histories.jobs.is_empty() && heartbeats.is_none() && mapping.heartbeats.is_some() {
        histories.missing =
            Some(format!("table {} cannot be read: no runs of jobs are known", settings.heartbeats.table));
    }
    Ok(histories)
}

/// What is known of one job before it is cleaned.
#[derive(Debug, Default)]
struct Raw {
    noted: Vec<Noted>,
    first_at: Option<i64>,
    future: usize,
    truncated: bool,
}

impl Raw {
    /// Whether most of its newest runs were noted when they happened: a trigger that was set up an hour ago does not
    /// make the weeks before it exact.
    fn exact(&self) -> bool {
        let exact = self.noted.iter().filter(|noted| noted.exact).count();
        2 * exact > self.noted.len()
    }
}

fn history_names(names: &Names, at: Option<&Column>, ms: Option<&Column>, zone: &str) -> Names {
    let at = at.map_or_else(|| "NULL::timestamptz".to_owned(), |column| mapping::instant("h", column, zone));
    let number = |column: &&Column| {
        matches!(column.base_type.as_str(), "bigint" | "integer" | "smallint" | "numeric" | "double precision" | "real")
    };
    let ms = ms
        .filter(number)
        .map_or_else(|| "NULL::double precision".to_owned(), |column| format!("h.{}::double precision", column.quoted));
    names.with("run_at", at).with("run_ms", ms)
}

fn gather(
    session: &mut Session,
    statement: &statement::Statement,
    found: &mut BTreeMap<String, Raw>,
) -> Result<(), Error> {
    let (jobs, runs) = (i64::try_from(JOBS + 1).unwrap_or(1), i64::try_from(MAX_RUNS).unwrap_or(1));
    for row in &session.rows(statement, &[Param::Int(jobs), Param::Int(runs)])? {
        let raw = found.entry(row.text("job")?).or_default();
        raw.first_at = row.optional_int("first_us")?;
        raw.future = usize::try_from(row.int("future")?).unwrap_or(0);
        let list = row.json("runs")?;
        for item in list.as_array().map_or(&[] as &[Value], Vec::as_slice) {
            let Some(at) = item[0].as_i64() else { continue };
            let ms = match &item[1] {
                Value::Number(ms) => ms.as_f64(),
                // JSON knows no such numbers: they come as words.
                Value::String(_) => Some(f64::NAN),
                _ => None,
            };
            let word = item[2].as_str().unwrap_or_default();
            raw.noted.push(Noted { at, ms, outcome: outcome(word), exact: item[3].as_bool().unwrap_or(false) });
        }
        raw.truncated = raw.noted.len() >= MAX_RUNS;
    }
    Ok(())
}

/// Adds what the lines of the jobs say now, where no pass has noted it yet.
fn lines(session: &mut Session, mapping: &Mapping, found: &mut BTreeMap<String, Raw>, now: i64) -> Result<(), Error> {
    let jobs = i64::try_from(JOBS + 1).unwrap_or(1);
    for row in &session.rows(&statement::FORECAST_LINES.fill(&mapping.names), &[Param::Int(jobs)])? {
        let raw = found.entry(row.text("job")?).or_default();
        let status = row.optional_text("status")?.and_then(|word| outcome(&word));
        let updated = row.optional_int("updated_us")?;
        let told = [
            (row.optional_int("success_us")?, Outcome::Success),
            (row.optional_int("failure_us")?, Outcome::Failure),
            (updated.filter(|_| status == Some(Outcome::Skipped)), Outcome::Skipped),
            (updated.filter(|_| status == Some(Outcome::Running)), Outcome::Running),
        ];
        // A line that the trigger follows was noted when it was written.
        let exact = raw.exact();
        for (at, outcome) in told {
            let Some(at) = at else { continue };
            let known = |noted: &Noted| noted.at == at && noted.outcome == Some(outcome);
            // Older than what is read of the history: it would only open a gap that nobody knows anything of.
            if !raw.noted.iter().any(known) && at > now.saturating_sub(30 * 86_400 * MICROS_PER_SECOND) {
                raw.noted.push(Noted { at, ms: None, outcome: Some(outcome), exact });
                raw.first_at = Some(raw.first_at.map_or(at, |first| first.min(at)));
            }
        }
    }
    Ok(())
}

fn blind(session: &mut Session, settings: &Settings) -> Result<Vec<(i64, i64)>, Error> {
    // Three intervals: one pass that was missed, or came late, loses nothing that matters.
    let usual = settings.heal.interval.as_seconds().saturating_mul(3);
    let rows = session.rows(&statement::FORECAST_BLIND.fill(&Names::default()), &[Param::Int(usual)])?;
    rows.iter().map(|row| Ok((row.optional_int("from_us")?.unwrap_or(i64::MIN), row.int("to_us")?))).collect()
}

/// Reports of the queue and of the breaker, oldest first.
fn conditions(session: &mut Session) -> Result<Vec<(i64, Conditions)>, Error> {
    let rows = session.rows(&statement::FORECAST_CONDITIONS.fill(&Names::default()), &[])?;
    rows.iter()
        .map(|row| {
            let told = Conditions { queue: row.optional_float("queued")?, breaker_open: row.optional_bool("open")? };
            Ok((row.int("at_us")?, told))
        })
        .collect()
}

/// What had been reported when a run began, as far as it is still believed.
fn surroundings(reports: &[(i64, Conditions)], believed_us: i64, at: i64) -> Conditions {
    let before = reports.partition_point(|(reported, _)| *reported <= at);
    let mut known = Conditions::default();
    for (reported, told) in reports[..before].iter().rev() {
        let complete = known.queue.is_some() && known.breaker_open.is_some();
        if complete || at.saturating_sub(*reported) > believed_us {
            break;
        }
        known.queue = known.queue.or(told.queue);
        known.breaker_open = known.breaker_open.or(told.breaker_open);
    }
    known
}

fn watch(
    name: &str,
    raw: Raw,
    settings: &Settings,
    blind: &[(i64, i64)],
    (reports, believed): (&[(i64, Conditions)], i64),
    now: i64,
) -> Watched {
    let exact = raw.exact();
    let mut job = settings.forecast.job(name);
    job.expected_interval_s = settings.heal.job_heartbeats.intervals.get(name).map(|span| span.0.as_secs_f64());
    if !exact {
        // A pass sees the last run only: nothing shorter than two passes can be told from a run that was overlooked.
        let seen_every = 2.0 * settings.heal.interval.0.as_secs_f64();
        job.expected_interval_s = job.expected_interval_s.map(|interval| interval.max(seen_every));
        job.blind = blind.to_vec();
    }
    let mut set_aside = SetAside { future: raw.future, ..SetAside::default() };
    let mut runs = paired(raw.noted, &mut set_aside.unknown_status);
    for run in &mut runs {
        run.conditions = surroundings(reports, believed, run.started_at);
    }
    let mut history = History::clean(&runs, now);
    history.set_aside.future += set_aside.future;
    history.set_aside.unknown_status = set_aside.unknown_status;
    Watched { job, history, first_at: raw.first_at, truncated: raw.truncated, exact }
}

/// Turns noted lines (any order) into runs: an end with its duration has its start; a line "running" and the end that
/// follows it are one run.
fn paired(mut noted: Vec<Noted>, unknown: &mut usize) -> Vec<Run> {
    noted.sort_by_key(|line| line.at);
    let mut runs: Vec<Run> = Vec::with_capacity(noted.len());
    for line in noted {
        let Some(outcome) = line.outcome else {
            *unknown += 1;
            continue;
        };
        let long = line.ms.filter(|ms| ms.is_finite() && (0.0..=MAX_DURATION_MS).contains(ms));
        // At most 30 days in µs: exact.
        #[expect(clippy::cast_possible_truncation)]
        let start = line.at.saturating_sub(long.map_or(0, |ms| (ms * 1000.0) as i64));
        let begun = runs.last().filter(|run| run.outcome == Outcome::Running).map(|run| run.started_at);
        match begun {
            Some(begun) if outcome != Outcome::Running && line.ms.is_none() => {
                runs.pop();
                let ms = super::history::seconds_between(begun, line.at) * 1000.0;
                runs.push(Run::new(begun, Some(ms).filter(|_| outcome != Outcome::Skipped), outcome));
            }
            Some(begun) if outcome != Outcome::Running && (start - begun).abs() <= SAME_RUN_US => {
                runs.pop();
                runs.push(Run::new(begun, line.ms, outcome));
            }
            _ => runs.push(Run::new(start, line.ms, outcome)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: i64 = 60 * MICROS_PER_SECOND;

    fn line(minute: i64, ms: Option<f64>, word: &str) -> Noted {
        Noted { at: minute * MINUTE, ms, outcome: outcome(word), exact: true }
    }

    fn of(lines: &[Noted]) -> Vec<Run> {
        paired(lines.to_vec(), &mut 0)
    }

    #[test]
    fn an_end_with_its_duration_has_its_start() {
        let runs = of(&[line(10, Some(120_000.0), "success")]);
        assert_eq!(runs, [Run::new(8 * MINUTE, Some(120_000.0), Outcome::Success)]);
    }

    #[test]
    fn a_line_that_runs_and_the_end_after_it_are_one_run() {
        let both = of(&[line(8, None, "running"), line(10, Some(120_000.0), "failed")]);
        assert_eq!(both, [Run::new(8 * MINUTE, Some(120_000.0), Outcome::Failure)]);
        let untimed = of(&[line(8, None, "running"), line(10, None, "ok")]);
        assert_eq!(untimed, [Run::new(8 * MINUTE, Some(120_000.0), Outcome::Success)]);
    }

    #[test]
    fn a_run_that_never_ended_stays_beside_the_next_one() {
        let runs = of(&[line(1, None, "running"), line(20, Some(60_000.0), "success"), line(30, None, "running")]);
        let outcomes: Vec<Outcome> = runs.iter().map(|run| run.outcome).collect();
        assert_eq!(outcomes, [Outcome::Running, Outcome::Success, Outcome::Running]);
    }

    #[test]
    fn an_impossible_duration_moves_no_start_and_is_set_aside_later() {
        for ms in [f64::NAN, f64::INFINITY, -5.0, 1e18] {
            let runs = of(&[line(10, Some(ms), "success")]);
            assert_eq!(runs[0].started_at, 10 * MINUTE);
            assert_eq!(History::clean(&runs, 11 * MINUTE).runs[0].duration_ms, None);
        }
    }

    #[test]
    fn a_status_that_is_not_known_is_counted_and_no_run() {
        let mut unknown = 0;
        assert!(paired(vec![line(1, None, "whatever"), line(2, None, "")], &mut unknown).is_empty());
        assert_eq!(unknown, 2);
    }

    #[test]
    fn only_what_had_been_reported_and_is_believed_surrounds_a_run() {
        let queue = |minute: i64, queue| (minute * MINUTE, Conditions { queue: Some(queue), breaker_open: None });
        let breaker = |minute: i64, open| (minute * MINUTE, Conditions { queue: None, breaker_open: Some(open) });
        let reports = [queue(1, 2.0), breaker(3, true), queue(10, 7.0)];
        let at = |minute: i64| surroundings(&reports, 15 * MINUTE, minute * MINUTE);
        assert_eq!(at(0), Conditions::default());
        assert_eq!(at(9), Conditions { queue: Some(2.0), breaker_open: Some(true) });
        assert_eq!(at(10), Conditions { queue: Some(7.0), breaker_open: Some(true) });
        assert_eq!(at(20), Conditions { queue: Some(7.0), breaker_open: None });
        assert_eq!(at(60), Conditions::default());
    }

    proptest! {
        #[test]
        fn no_lines_give_more_runs_than_lines(
            lines in proptest::collection::vec((0_i64..10_000, proptest::option::of(any::<f64>()), 0_usize..5), 0..60)
        ) {
            let words = ["success", "failure", "running", "skipped", "?"];
            let noted: Vec<Noted> = lines.iter().map(|(at, ms, word)| line(*at, *ms, words[*word])).collect();
            prop_assert!(of(&noted).len() <= noted.len());
        }
    }
}
