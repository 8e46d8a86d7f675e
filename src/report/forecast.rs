//! `report forecast`: what was foretold last, and how good the forecasts of the last 30 days were. Reads only what passes
//! stored. Written for people who know no statistics: chances in per cent, times in hours and days, reasons in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use super::chart::{Chart, Kind, Series};
use super::model::SCHEMA_VERSION;
use super::part::{Ask, Block, Metric, Part};
use super::table::{self, Look};
use crate::database::session::Param;
use crate::database::statement::{self, Names};
use crate::error::Error;
use crate::forecast::calibration::{Bin, Calibration, Coverage, Event, Quantity, Settled, measure};
use crate::forecast::capacity::{CapacityForecast, Silent};
use crate::forecast::outlook::{self, JOB, event, quantity};
use crate::forecast::words;
use crate::forecast::{Estimate, JobForecast, Knowledge};
use crate::heal::{Status, ago};
use crate::settings::Span;
use crate::start::Start;

/// Settled forecasts that are read at most: the newest, and more than a month of an ordinary system.
const SETTLED: i64 = 50_000;

/// Resources that are drawn, those that need a look first: the names of more have no room below the picture.
const DRAWN: usize = 6;

/// The pass that foretells, as one types it.
const COMMAND: &str = "healer optimize performance";

/// How good the forecasts of one thing were.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Score {
    /// What they were about: `next_failure`, `any_failure6h`, `exceeds_limit`, `missing`.
    pub claim: String,
    /// In words.
    pub words: String,
    /// The figures.
    pub calibration: Calibration,
}

/// How often the ranges of one thing held.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// What they were about: `duration_ms`, `limit_in_runs`, `time_until_s`.
    pub claim: String,
    /// In words.
    pub words: String,
    /// The figures.
    pub coverage: Coverage,
}

/// A limit that healer has learned.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limit {
    /// Its name in the configuration.
    pub name: String,
    /// Its last move: old, new, why.
    pub reason: String,
    /// How long ago that was.
    pub age_seconds: i64,
    /// The run that did it, for `healer undo`.
    pub run_id: i64,
    /// Whether it is kept where it is.
    pub locked: bool,
    /// Whether it is used: within the bounds of the configuration, and not locked there.
    pub in_force: bool,
}

/// The report.
#[derive(Debug, Clone, Default)]
pub struct ForecastReport {
    /// The database's clock.
    pub database_time: String,
    /// One line.
    pub verdict: String,
    /// `ok` or `partial`.
    pub status: &'static str,
    /// How long ago it was foretold; `None` for never.
    pub age_seconds: Option<i64>,
    /// The run that foretold it.
    pub run_id: Option<i64>,
    /// The jobs, those that need a look first.
    pub jobs: Vec<JobForecast>,
    /// The resources, those that need a look first.
    pub resources: Vec<CapacityForecast>,
    /// How good forecasts of probabilities were.
    pub scores: Vec<Score>,
    /// How often ranges held.
    pub held: Vec<Held>,
    /// What was learned.
    pub knowledge: Option<Knowledge>,
    /// The limits that healer has learned of its own.
    pub limits: Vec<Limit>,
    /// What could not be read, and what else should be known.
    pub notes: Vec<String>,
    /// Whether it is older than `--max-age`.
    pub too_old: bool,
    /// How things are, for `--fail-on` and Nagios.
    pub statuses: Vec<Status>,
    /// The exit code that what could not be read means.
    pub exit_code: u8,
}

/// What a claim is called in a sentence.
fn called(event: Event) -> &'static str {
    match event {
        Event::NextFailure => "the next run failing",
        Event::AnyFailure6h => "a run failing within 6 h",
        Event::ExceedsLimit => "a run taking too long",
        Event::Missing => "a run not starting in time",
    }
}

fn called_range(quantity: Quantity) -> &'static str {
    match quantity {
        Quantity::DurationMs => "how long the next run takes",
        Quantity::LimitInRuns => "how many runs until the time limit",
        Quantity::TimeUntilS => "when a resource is full",
    }
}

/// The report by itself: `--max-age` asks for the age of what was foretold.
pub fn part(start: &mut Start, ask: &Ask) -> Result<Part, Error> {
    Ok(as_part(&read(start, ask.max_age)?, ask))
}

/// The report as a part of the whole, which itself tells how old each pass is.
pub fn part_of_whole(start: &mut Start, ask: &Ask) -> Result<Part, Error> {
    Ok(as_part(&read(start, None)?, ask))
}

fn as_part(report: &ForecastReport, ask: &Ask) -> Part {
    Part {
        name: "forecast",
        verdict: report.verdict.clone(),
        statuses: report.statuses.clone(),
        well: report.well(),
        has_data: report.age_seconds.is_some(),
        too_old: report.too_old,
        exit_code: report.exit_code,
        json: report.json(),
        text: tables(report, ask.look),
        metrics: metrics(report),
        blocks: blocks(report),
        notes: report.notes.clone(),
    }
}

fn metrics(report: &ForecastReport) -> Vec<Metric> {
    let help = "Probability that the next run of the job fails, as last foretold";
    let jobs = report.jobs.iter().map(|told| {
        let chance = told.next_failure.as_ref().map(|estimate| estimate.p);
        Metric::new("forecast_next_failure_probability", help, &[("job", &told.job)], chance)
    });
    let help = "Seconds until the resource reaches its limit, as last foretold";
    let resources = report.resources.iter().map(|told| {
        let until = told.until_s.as_ref().map(|until| until.typical);
        Metric::new("forecast_limit_reached_in_seconds", help, &[("resource", &told.resource)], until)
    });
    jobs.chain(resources).collect()
}

fn blocks(report: &ForecastReport) -> Vec<Block> {
    let texts = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let percent = |p: f64| format!("{:.0} %", p * 100.0);
    let jobs = report.jobs.iter().map(|told| {
        let (chance, range) = told.next_failure.as_ref().map_or_else(Default::default, |estimate| {
            (percent(estimate.p), format!("{} to {}", percent(estimate.low), percent(estimate.high)))
        });
        vec![told.job.clone(), chance, range, told.reasons.first().cloned().unwrap_or_default()]
    });
    let resources = report.resources.iter().map(|told| vec![told.resource.clone(), told.words.clone()]);
    let mut chances = Series::new(
        "chance, 80 of 100 times between",
        report.jobs.iter().map(|told| told.next_failure.as_ref().map(|estimate| estimate.p * 100.0)).collect(),
    );
    chances.bands = report
        .jobs
        .iter()
        .map(|told| told.next_failure.as_ref().map(|estimate| (estimate.low * 100.0, estimate.high * 100.0)))
        .collect();
    let picture = Chart {
        title: "The chance that the next run fails".into(),
        unit: "%",
        labels: report.jobs.iter().map(|told| told.job.clone()).collect(),
        kind: Kind::Points,
        series: vec![chances],
        limit: None,
    };
    let none = if report.resources.is_empty() {
        "No resource has been measured yet."
    } else {
        "No resource is foretold to reach its limit; why is told of each below."
    };
    let mut blocks = if picture.is_empty() { Vec::new() } else { vec![Block::Chart(picture)] };
    blocks.push(until_full(&report.resources).or(none));
    blocks.extend([
        Block::Table(
            "Jobs: the chance that the next run fails".into(),
            texts(&["job", "chance", "80 of 100 times between", "why"]),
            jobs.collect(),
        ),
        Block::Table("Resources".into(), texts(&["resource", "what is expected"]), resources.collect()),
    ]);
    let scores = report.scores.iter().map(|score| &score.words).chain(report.held.iter().map(|held| &held.words));
    blocks.extend(scores.map(|words| Block::Text(words.clone())));
    blocks
}

/// Seconds of a day.
const DAY: f64 = 86_400.0;
/// Below so many days all is told in hours.
const IN_HOURS: f64 = 3.0;

/// What the picture of resources is called.
const REACH: &str = "When resources reach their limit";

/// A resource as it stands below a picture, where there is little room: a sequence by its name alone.
fn name_of(resource: &str) -> &str {
    resource.strip_prefix("sequence ").map_or(resource, |name| name.strip_prefix("public.").unwrap_or(name))
}

/// When the resources that rise reach their limit, each with its interval; 0 for those that have.
fn until_full(resources: &[CapacityForecast]) -> Chart {
    let told: Vec<&CapacityForecast> =
        resources.iter().filter(|told| told.reached || told.until_s.is_some()).take(DRAWN).collect();
    let until = || told.iter().map(|told| told.until_s.filter(|_| !told.reached));
    let longest = until().flatten().map(|until| until.high.unwrap_or(until.typical)).fold(0.0, f64::max);
    let (unit, seconds) = if longest < IN_HOURS * DAY { ("hours", 3_600.0) } else { ("days", DAY) };
    let mut series = Series::new(
        format!("{unit}, 80 of 100 times between"),
        until().map(|until| Some(until.map_or(0.0, |until| until.typical / seconds))).collect(),
    );
    series.bands = until()
        .map(|until| until.map(|until| (until.low / seconds, until.high.map_or(f64::INFINITY, |high| high / seconds))))
        .collect();
    Chart {
        title: if told.is_empty() { REACH.to_owned() } else { format!("{REACH}, in {unit}") },
        unit,
        labels: told.iter().map(|told| name_of(&told.resource).to_owned()).collect(),
        kind: Kind::Points,
        series: vec![series],
        limit: None,
    }
}

/// Reads the report.
pub fn read(start: &mut Start, max_age: Option<Span>) -> Result<ForecastReport, Error> {
    let mut report = ForecastReport {
        database_time: start.catalog.server.now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        status: "ok",
        ..ForecastReport::default()
    };
    if start.catalog.schema_readable() {
        match stored(start, &mut report) {
            Ok(()) => {}
            Err(error) if error.stops_the_pass() => return Err(error),
            Err(error) => {
                report.notes.push(format!("what was foretold could not be read: {error}"));
                report.status = "partial";
                report.exit_code = if matches!(error.exit_code(), 77 | 78 | 75) { error.exit_code() } else { 3 };
                report.statuses.push(Status::Unknown);
            }
        }
    } else {
        report.notes.push(
            "the schema healer is missing, of another version or not readable: nothing foretold is known (`healer init`)"
                .into(),
        );
        report.statuses.push(Status::Unknown);
    }
    start.session.rollback();
    report.too_old = max_age.is_some_and(|limit| report.age_seconds.is_none_or(|age| age > limit.as_seconds()));
    if report.too_old {
        report.statuses.push(Status::Critical);
    }
    report.verdict = verdict(&report);
    Ok(report)
}

fn stored(start: &mut Start, report: &mut ForecastReport) -> Result<(), Error> {
    let names = Names::default();
    let session = &mut start.session;
    session.read()?;
    let mut unread = 0;
    let mut runs: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for row in &session.rows(&statement::REPORT_OUTLOOK.fill(&names), &[])? {
        let (age, run) = (row.int("age_s")?, row.int("run")?);
        runs.entry(row.text("kind")?).or_insert((age, run));
        if report.age_seconds.is_none_or(|known| age > known) {
            (report.age_seconds, report.run_id) = (Some(age), Some(run));
        }
        let told = row.json("told")?;
        // Told by another version of healer: left out, and said.
        if row.text("kind")? == JOB {
            serde_json::from_value(told).map_or_else(|_| unread += 1, |job| report.jobs.push(job));
        } else {
            serde_json::from_value(told).map_or_else(|_| unread += 1, |resource| report.resources.push(resource));
        }
    }
    // A run tells of both anew, or could not read one of them.
    let newest = runs.values().map(|(_, run)| *run).max();
    for (kind, (age, _)) in runs.iter().filter(|(_, (_, run))| Some(*run) != newest) {
        let what = if kind == JOB { "the jobs" } else { "the resources" };
        report.notes.push(format!("{what} were last foretold {} ago: they could not be read since", ago(*age)));
        report.statuses.push(Status::Unknown);
    }
    if unread > 0 {
        report.notes.push(format!("{unread} forecasts were stored by another version of healer and are not shown"));
    }
    report.jobs.sort_by_key(|job| (!outlook::needs_a_look(job), job.abstained.is_some()));
    report.resources.sort_by_key(|told| std::cmp::Reverse(outlook::urgency(told)));
    report
        .statuses
        .extend(report.jobs.iter().map(|job| if outlook::needs_a_look(job) { Status::Warning } else { Status::Ok }));
    report.statuses.extend(report.resources.iter().map(outlook::urgency));
    let mut probabilities: BTreeMap<String, Vec<Settled>> = BTreeMap::new();
    let rows = session.rows(&statement::REPORT_SETTLED.fill(&names), &[Param::Int(SETTLED)])?;
    if i64::try_from(rows.len()).unwrap_or(0) >= SETTLED {
        report.notes.push(format!("only the newest {SETTLED} settled forecasts are counted"));
    }
    for row in &rows {
        let Some(came) = row.optional_bool("came")? else { continue };
        let settled = match row.optional_float("probability")? {
            Some(p) => Settled::Probability { p, baseline: row.optional_float("baseline")?, came },
            None => Settled::Range { inside: came },
        };
        probabilities.entry(row.text("claim")?).or_default().push(settled);
    }
    for (claim, settled) in probabilities {
        let (calibration, coverage) = measure(&settled);
        if let Some(event) = event(&claim) {
            report.scores.push(Score { words: words::calibration(called(event), &calibration), claim, calibration });
        } else if let Some(quantity) = quantity(&claim) {
            report.held.push(Held { words: words::coverage(called_range(quantity), &coverage), claim, coverage });
        }
    }
    for row in &session.rows(&statement::REPORT_TUNED.fill(&names), &[])? {
        let name = row.text("name")?;
        let name = name.strip_prefix(crate::tuning::PREFIX).unwrap_or(&name).to_owned();
        report.limits.push(Limit {
            in_force: start.origin.settings.tuning.in_force.contains_key(&name),
            name,
            reason: row.text("reason")?,
            age_seconds: row.int("age_s")?,
            run_id: row.int("run")?,
            locked: row.bool("locked")?,
        });
    }
    let learned = crate::change::setting::read(session, "forecast_knowledge")?;
    report.knowledge =
        learned.get("forecast_knowledge").and_then(|setting| serde_json::from_value(setting.value.clone()).ok());
    Ok(())
}

fn verdict(report: &ForecastReport) -> String {
    let Some(age) = report.age_seconds else {
        return format!("nothing has been foretold yet; `{COMMAND}` does it");
    };
    let told = report.jobs.iter().filter(|job| job.abstained.is_none()).count();
    let worse = report.jobs.iter().filter(|job| outlook::needs_a_look(job)).count();
    let near = report.resources.iter().filter(|told| outlook::urgency(told) != Status::Ok).count();
    let jobs = match (told, worse) {
        (0, _) => format!("{} jobs, none with enough runs to foretell anything", report.jobs.len()),
        (told, 0) => format!("none of {told} jobs is getting worse"),
        (told, worse) => format!("{worse} of {told} jobs {} getting worse", if worse == 1 { "is" } else { "are" }),
    };
    let all = report.resources.len();
    let resources = match near {
        _ if all == 0 => "no resource could be measured".to_owned(),
        0 => format!("none of {all} resources is near its limit"),
        near => format!(
            "{near} of {all} resources {} near {} limit",
            if near == 1 { "is" } else { "are" },
            if near == 1 { "its" } else { "their" }
        ),
    };
    let old = if report.too_old { ", older than --max-age" } else { "" };
    format!("{jobs}, {resources} (foretold {} ago{old})", ago(age))
}

impl ForecastReport {
    /// Whether nothing needs a look.
    pub fn well(&self) -> bool {
        self.exit_code == 0 && !self.too_old && self.statuses.iter().all(|status| *status == Status::Ok)
    }

    /// The document.
    pub fn json(&self) -> Value {
        let told = json!({
            "schema_version": SCHEMA_VERSION,
            "command": "report",
            "part": "forecast",
            "status": self.status,
            "database_time": self.database_time,
            "verdict": self.verdict,
            "age_seconds": self.age_seconds,
            "run_id": self.run_id,
            "jobs": self.jobs,
            "resources": self.resources,
            "last30_days": { "chances": self.scores, "ranges": self.held },
            "model": self.knowledge.as_ref().and_then(|known| known.model.as_ref()).map(|model| json!({
                "version": model.version, "rows": model.rows, "failures": model.failures,
                "held_out": model.held_out, "in_use": model.in_use(),
            })),
            "learned_limits": self.limits,
            "too_old": self.too_old,
            "notes": self.notes,
        });
        camel(told)
    }
}

/// Keys as in every other document: what is stored is written in another way.
fn camel(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(key, value)| {
                    let mut words = key.split('_');
                    let mut name = words.next().unwrap_or_default().to_owned();
                    for word in words {
                        let mut letters = word.chars();
                        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
                        name.push_str(letters.as_str());
                    }
                    (name, camel(value))
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(camel).collect()),
        other => other,
    }
}

/// The report as text.
pub fn tables(report: &ForecastReport, look: Look) -> String {
    let mut out = format!("healer report forecast: {}\n", report.verdict);
    let look_at: Vec<String> = report
        .jobs
        .iter()
        .filter(|job| outlook::needs_a_look(job))
        .flat_map(|job| outlook::worst(job).map(|words| format!("{}: {words}", table::clean(&job.job))))
        .chain(
            report
                .resources
                .iter()
                .filter(|told| outlook::urgency(told) != Status::Ok)
                .map(|told| table::clean(&told.words)),
        )
        .collect();
    if !look_at.is_empty() {
        out.push_str("\nWhat to look at\n");
        for line in look_at {
            let _ = writeln!(out, "→ {line}");
        }
    }
    jobs(report, look, &mut out);
    resources(report, look, &mut out);
    past(report, &mut out);
    if let Some(model) = report.knowledge.as_ref().and_then(|known| known.model.as_ref()) {
        let use_of_it = if model.in_use() { "it is used" } else { "not by more than chance, so it is not used" };
        let _ = writeln!(
            out,
            "\nA model learned from {} runs of all jobs was tried on {} runs that it had not seen: its error was {:.4}, that of \
             the simple method {:.4}; {use_of_it}.",
            model.rows, model.held_out.runs, model.held_out.brier_model, model.held_out.brier_simple
        );
    }
    if !report.limits.is_empty() {
        out.push_str("\nLimits that healer has learned\n");
    }
    for limit in &report.limits {
        let state = match (limit.in_force, limit.locked) {
            (false, _) => ", not used: the configuration says otherwise",
            (true, true) => ", locked",
            (true, false) => "",
        };
        let _ = writeln!(
            out,
            "  {} {} ({} ago, healer undo {}{state})",
            table::clean(&limit.name),
            table::clean(&limit.reason),
            ago(limit.age_seconds),
            limit.run_id
        );
    }
    for note in &report.notes {
        let _ = writeln!(out, "note: {}", table::clean(note));
    }
    // Tables keep to the width by themselves; sentences are wrapped to it.
    let width = usize::from(look.width);
    let lines = out
        .lines()
        .map(|line| if line.chars().count() > width { table::wrapped(line, look) } else { format!("{line}\n") });
    lines.collect()
}

fn jobs(report: &ForecastReport, look: Look, out: &mut String) {
    let told: Vec<&JobForecast> = report.jobs.iter().filter(|job| job.abstained.is_none()).collect();
    if !told.is_empty() {
        let mut rows = table::plain(
            look,
            &["job", "next run fails", "any fails in 6 h", "takes too long", "not in time", "usually takes", "runs"],
        );
        for job in &told {
            rows.add_row(vec![
                table::cut(&job.job, 30),
                chance(job.next_failure.as_ref()),
                chance(job.any_failure_6h.as_ref()),
                chance(job.exceeds_limit.as_ref()),
                chance(job.missing.as_ref()),
                job.expected_ms.as_ref().map_or_else(
                    || "not known".to_owned(),
                    |e| {
                        format!(
                            "{} ({} to {})",
                            words::duration(e.typical),
                            words::duration(e.low),
                            words::duration(e.high)
                        )
                    },
                ),
                job.runs.to_string(),
            ]);
        }
        let _ = write!(out, "\n{}", table::text(&rows));
        out.push_str(
            "The first number is the best guess, those behind it are how far it may be off: the fewer runs, the wider.\n",
        );
    }
    for job in report.jobs.iter().filter(|job| job.abstained.is_some()) {
        let why = job.abstained.map(outlook::abstained).unwrap_or_default();
        let _ = writeln!(out, "{}: nothing is foretold: {why}", table::clean(&job.job));
    }
    for job in &told {
        if let Some(words) = words::set_aside(&job.set_aside) {
            let _ = writeln!(out, "{}: {words}", table::clean(&job.job));
        }
    }
}

fn chance(told: Option<&Estimate>) -> String {
    told.map_or_else(
        || "not known".to_owned(),
        |e| match (e.low < 0.01, e.high < 0.01) {
            // Where even the far end is tiny one word says it all.
            (_, true) => words::chance(e.p),
            (true, false) => format!("{} (up to {})", words::chance(e.p), words::chance(e.high)),
            (false, false) => {
                format!("{} ({:.0}–{})", words::chance(e.p), e.low * 100.0, words::chance(e.high).replace("above ", ""))
            }
        },
    )
}

fn resources(report: &ForecastReport, look: Look, out: &mut String) {
    if report.resources.is_empty() {
        return;
    }
    let mut rows = table::plain(look, &["resource", "now", "limit", "full", "reaches its limit in"]);
    for told in &report.resources {
        let full = match told.value {
            Some(value) if told.limit > 0.0 => words::share(value / told.limit),
            _ => "not known".to_owned(),
        };
        rows.add_row(vec![
            table::cut(&told.resource, 48),
            told.value.map_or_else(|| "not known".to_owned(), number),
            if told.limit > 0.0 { number(told.limit) } else { "none".to_owned() },
            full,
            until(told),
        ]);
    }
    let _ = write!(out, "\n{}", table::text(&rows));
}

fn until(told: &CapacityForecast) -> String {
    match (&told.until_s, told.silent) {
        _ if told.reached => "it is reached".to_owned(),
        (Some(u), _) => match u.high {
            Some(high) => format!("{} ({} to {})", words::span(u.typical), words::span(u.low), words::span(high)),
            None => format!("{} ({} or more)", words::span(u.typical), words::span(u.low)),
        },
        (None, Some(Silent::TooFewSamples)) => "too few measurements yet".to_owned(),
        (None, Some(Silent::NoLimit)) => "it has no limit".to_owned(),
        (None, Some(Silent::TooFarOff)) => "it rises, far from the limit".to_owned(),
        (None, Some(Silent::FallsBack)) => "it is brought down in time".to_owned(),
        (None, _) => "it does not rise".to_owned(),
    }
}

/// A number with a space between thousands.
fn number(value: f64) -> String {
    let digits = format!("{value:.0}");
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    format!("{sign}{out}")
}

/// How good the forecasts were.
fn past(report: &ForecastReport, out: &mut String) {
    if report.age_seconds.is_none() {
        return;
    }
    out.push_str("\nHow good the forecasts of the last 30 days were\n");
    if report.scores.is_empty() && report.held.is_empty() {
        out.push_str("  none has come due yet: they are counted when their time has passed\n");
    }
    for score in &report.scores {
        let _ = writeln!(out, "  {}", score.words);
        for bin in score.calibration.bins.iter().filter(|bin| bin.forecasts > 0) {
            let _ = writeln!(out, "    {}", said(bin));
        }
    }
    for held in &report.held {
        let _ = writeln!(out, "  {}", held.words);
    }
}

/// One bin as a sentence.
fn said(bin: &Bin) -> String {
    let came = bin.came.unwrap_or(0.0) * bin.forecasts as f64;
    format!(
        "where it said {} to {}, it came {came:.0} of {} times",
        words::share(bin.from),
        words::share(bin.to),
        bin.forecasts
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_in_every_other_document() {
        let value = camel(json!({ "next_failure": [{ "any_failure_6h": 1 }], "p": 2 }));
        assert_eq!(value, json!({ "nextFailure": [{ "anyFailure6h": 1 }], "p": 2 }));
    }

    #[test]
    fn numbers_have_a_space_between_thousands() {
        assert_eq!(
            [0.0, 999.0, 1000.0, 2_147_483_647.0, -1234.0].map(number),
            ["0", "999", "1 000", "2 147 483 647", "-1 234"]
        );
    }

    #[test]
    fn a_bin_reads_as_a_sentence() {
        let bin = Bin { from: 0.02, to: 0.05, forecasts: 80, said: Some(0.03), came: Some(0.0375) };
        assert_eq!(said(&bin), "where it said 2 % to 5 %, it came 3 of 80 times");
    }

    #[test]
    fn an_empty_report_says_what_to_run() {
        let report = ForecastReport::default();
        assert!(verdict(&report).contains("healer optimize performance"));
        assert!(!tables(&report, Look { width: 100, color: false }).contains("How good"));
    }
}
