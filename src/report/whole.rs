//! `report` as a whole: one line on what is wrong now, open alerts, when each pass last succeeded, trends, the parts, and
//! the last runs with what takes them back.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::chart::{Chart, Kind, Series};
use super::health::{self, LastSuccess, Run};
use super::model::SCHEMA_VERSION;
use super::part::{Ask, Block, Metric, PARTS, Part};
use super::spark;
use super::table::{self, Look};
use crate::alert::PASSES;
use crate::database::session::Param;
use crate::database::statement::{self, Names};
use crate::error::Error;
use crate::exit;
use crate::heal::{Status, ago};
use crate::start::Start;

/// Steps of a trend: what fits beside a name in 80 columns.
const STEPS: usize = 28;
/// Alerts that are listed.
const LISTED: i64 = 20;
/// How grave alerts are, and that there are none of each.
const NO_ALERTS: [(&str, i64); 4] = [("critical", 0), ("error", 0), ("warning", 0), ("info", 0)];

/// An open alert.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenAlert {
    /// The pass.
    pub pass: String,
    /// What it is.
    pub key: String,
    /// How grave.
    pub severity: String,
    /// One line.
    pub title: String,
    /// What to do.
    pub next_step: String,
    /// Since how long.
    pub age_seconds: i64,
    /// In how many runs it was seen.
    pub times: i64,
    /// How often it was told again.
    pub reminders: i64,
    /// How long ago somebody was told; `null` for nobody.
    pub told_seconds: Option<i64>,
}

/// A channel that did not take the last message.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailingChannel {
    /// Its name.
    pub name: String,
    /// Since how long.
    pub since_seconds: i64,
    /// Failures on end.
    pub failures: i64,
    /// Why, the last time.
    pub error: Option<String>,
}

/// What the runs of one pass counted in each step; `null` where none ran.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PassTrend {
    /// Runs.
    pub runs: Vec<Option<f64>>,
    /// Runs that did not come to their end.
    pub failed_runs: Vec<Option<f64>>,
    /// Changes.
    pub changed: Vec<Option<f64>>,
    /// Changes that the database refused.
    pub refused: Vec<Option<f64>>,
    /// The most that was held.
    pub held: Vec<Option<f64>>,
    /// The mean duration.
    pub duration_ms: Vec<Option<f64>>,
}

/// Trends over `--since`, the oldest step first.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trends {
    /// How far back.
    pub since_seconds: i64,
    /// Length of a step.
    pub step_seconds: i64,
    /// For each pass.
    pub passes: BTreeMap<String, PassTrend>,
    /// For each check: the most it found.
    pub checks: BTreeMap<String, Vec<Option<f64>>>,
    /// Posts that were posted; `null` where that cannot be counted.
    pub posted: Option<Vec<Option<f64>>>,
    /// Posts that wait, are posting or failed, now.
    pub posts_now: Option<BTreeMap<String, i64>>,
    /// The same over time, by status: as the last `heal` of each step left them.
    pub posts_by_status: BTreeMap<String, Vec<Option<f64>>>,
    /// The share of finished posts that were posted, each of the 24 hours before the step's end; `null` where none was
    /// measured.
    pub success_rate: Vec<Option<f64>>,
    /// Below which share a pass warns.
    #[serde(skip)]
    pub success_warning: f64,
    /// The system's word for a failed post.
    #[serde(skip)]
    pub failed_word: String,
}

/// The report as a whole.
#[derive(Debug)]
pub struct Whole {
    /// The database's clock.
    pub database_time: String,
    /// One line.
    pub verdict: String,
    /// `ok` or `partial`.
    pub status: &'static str,
    /// Alerts, the gravest first; `None` where they cannot be read.
    pub alerts: Option<Vec<OpenAlert>>,
    /// Alerts in all.
    pub alerts_total: i64,
    /// The same by how grave they are: critical, error, warning and info.
    pub alerts_by_severity: [(&'static str, i64); 4],
    /// Channels that fail.
    pub channels: Vec<FailingChannel>,
    /// When each pass last succeeded.
    pub last_success: Vec<LastSuccess>,
    /// Trends; `None` where nothing is stored.
    pub trends: Option<Trends>,
    /// The last runs.
    pub runs: Vec<Run>,
    /// What is open now, in numbers.
    pub open_now: String,
    /// The parts.
    pub parts: Vec<Part>,
    /// What could not be read.
    pub notes: Vec<String>,
    /// The exit code that what could not be read means.
    pub exit_code: u8,
}

/// Something that is read into the whole.
type Step = fn(&mut Start, &mut Whole, &Ask) -> Result<(), Error>;

/// Reads everything.
pub fn read(start: &mut Start, ask: &Ask) -> Result<Whole, Error> {
    let mut whole = Whole {
        database_time: start.catalog.server.now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        verdict: String::new(),
        status: "ok",
        alerts: None,
        alerts_total: 0,
        alerts_by_severity: NO_ALERTS,
        channels: Vec::new(),
        last_success: Vec::new(),
        trends: None,
        runs: Vec::new(),
        open_now: String::new(),
        parts: Vec::new(),
        notes: Vec::new(),
        exit_code: 0,
    };
    let mut codes = Vec::new();
    for (name, read) in PARTS {
        if *name == "health" {
            let report = health::read(start, ask.since, ask.max_age)?;
            whole.last_success.clone_from(&report.last_success);
            whole.runs.clone_from(&report.runs);
            whole.open_now = health::open_now(&report);
            whole.parts.push(health::as_part(&report, ask, true));
        } else {
            match read(start, ask) {
                Ok(part) => whole.parts.push(part),
                Err(error) if error.stops_the_pass() => return Err(error),
                Err(error) => {
                    whole.notes.push(format!("{name} could not be read: {error}"));
                    codes.push(if matches!(error.exit_code(), 77 | 78 | 75) { error.exit_code() } else { 3 });
                }
            }
        }
    }
    codes.extend(whole.parts.iter().map(|part| part.exit_code));
    let stored: [(&str, Step); 4] =
        [("alerts", alerts), ("trends", trends), ("the success rate", success), ("what was posted", posted)];
    for (what, read) in stored {
        match read(start, &mut whole, ask) {
            Ok(()) => {}
            Err(error) if error.stops_the_pass() => return Err(error),
            Err(error) => {
                start.session.rollback();
                whole.notes.push(format!("{what} could not be read: {error}"));
                codes.push(if matches!(error.exit_code(), 77 | 78 | 75) { error.exit_code() } else { 3 });
            }
        }
    }
    start.session.rollback();
    whole.exit_code = exit::strongest(codes);
    if whole.exit_code != 0 {
        whole.status = "partial";
    }
    whole.verdict = verdict(&whole);
    Ok(whole)
}

fn alerts(start: &mut Start, whole: &mut Whole, _: &Ask) -> Result<(), Error> {
    if !start.catalog.schema_readable() {
        return Ok(());
    }
    let names = Names::default();
    let session = &mut start.session;
    session.read()?;
    let mut open = Vec::new();
    for row in &session.rows(&statement::REPORT_ALERTS.fill(&names), &[Param::Int(LISTED)])? {
        whole.alerts_total = row.int("total")?;
        for ((_, open), column) in whole.alerts_by_severity.iter_mut().zip(["critical", "errors", "warnings", "infos"])
        {
            *open = row.int(column)?;
        }
        open.push(OpenAlert {
            pass: row.text("pass")?,
            key: row.text("key")?,
            severity: row.text("severity")?,
            title: row.text("title")?,
            next_step: row.text("next_step")?,
            age_seconds: row.int("age_s")?,
            times: row.int("times")?,
            reminders: row.int("reminders")?,
            told_seconds: row.optional_int("sent_s")?,
        });
    }
    whole.alerts = Some(open);
    for row in &session.rows(&statement::REPORT_FAILING_CHANNELS.fill(&names), &[])? {
        whole.channels.push(FailingChannel {
            name: row.text("name")?,
            since_seconds: row.int("since_s")?,
            failures: row.int("failures")?,
            error: row.optional_text("last_error")?,
        });
    }
    Ok(())
}

fn trends(start: &mut Start, whole: &mut Whole, ask: &Ask) -> Result<(), Error> {
    if !start.catalog.schema_readable() {
        return Ok(());
    }
    let names = Names::default();
    let since = ask.since.as_seconds().max(1);
    let steps = i64::try_from(STEPS).unwrap_or(i64::MAX);
    let mut trends = Trends {
        since_seconds: since,
        step_seconds: (since / steps).max(1),
        success_rate: vec![None; STEPS],
        success_warning: start.settings().optimize.performance.posting.success_warning,
        failed_word: start.settings().posts.words.failed.clone(),
        ..Trends::default()
    };
    let session = &mut start.session;
    let params = [Param::Int(since), Param::Int(steps), Param::Texts(&PASSES)];
    session.read()?;
    for row in &session.rows(&statement::REPORT_TRENDS.fill(&names), &params)? {
        let Some(step) = place(row.int("step")?) else { continue };
        let trend = trends.passes.entry(row.text("pass")?).or_default();
        for (series, column) in [
            (&mut trend.runs, "runs"),
            (&mut trend.failed_runs, "failed"),
            (&mut trend.changed, "changed"),
            (&mut trend.refused, "refused"),
            (&mut trend.held, "held"),
            (&mut trend.duration_ms, "duration_ms"),
        ] {
            series.resize(STEPS, None);
            series[step] = row.optional_int(column)?.map(|value| value as f64);
        }
    }
    for row in &session.rows(&statement::REPORT_CHECK_TRENDS.fill(&names), &params)? {
        let Some(step) = place(row.int("step")?) else { continue };
        let series = trends.checks.entry(row.text("name")?).or_insert_with(|| vec![None; STEPS]);
        series[step] = row.optional_int("found")?.map(|value| value as f64);
    }
    let params = [Param::Int(since), Param::Int(steps)];
    for row in &session.rows(&statement::REPORT_STATUS_TREND.fill(&names), &params)? {
        let Some(step) = place(row.int("step")?) else { continue };
        let series = trends.posts_by_status.entry(row.text("status")?).or_insert_with(|| vec![None; STEPS]);
        series[step] = row.optional_int("posts")?.map(|value| value as f64);
    }
    // A count names the statuses that some post is in: of the others there were none.
    let counted: Vec<bool> =
        (0..STEPS).map(|step| trends.posts_by_status.values().any(|posts| posts[step].is_some())).collect();
    for posts in trends.posts_by_status.values_mut() {
        for (posts, _) in posts.iter_mut().zip(&counted).filter(|(_, counted)| **counted) {
            *posts = posts.or(Some(0.0));
        }
    }
    whole.trends = Some(trends);
    Ok(())
}

/// Where a step of a statement stands in a series.
fn place(step: i64) -> Option<usize> {
    usize::try_from(step - 1).ok().filter(|step| *step < STEPS)
}

/// How posting went, as the passes that measure it noted.
fn success(start: &mut Start, whole: &mut Whole, ask: &Ask) -> Result<(), Error> {
    let Some(trends) = &mut whole.trends else { return Ok(()) };
    let steps = i64::try_from(STEPS).unwrap_or(i64::MAX);
    let params = [Param::Int(ask.since.as_seconds().max(1)), Param::Int(steps)];
    let session = &mut start.session;
    session.read()?;
    for row in &session.rows(&statement::REPORT_SUCCESS.fill(&Names::default()), &params)? {
        let Some(step) = place(row.int("step")?) else { continue };
        let measured = row.optional_float("posted")?.zip(row.optional_float("failed")?);
        // Of nothing there is no share.
        trends.success_rate[step] = measured
            .filter(|(posted, failed)| posted + failed > 0.0)
            .map(|(posted, failed)| posted / (posted + failed));
    }
    Ok(())
}

/// What stands in the posts themselves: counted live, within bounds and by the index.
fn posted(start: &mut Start, whole: &mut Whole, ask: &Ask) -> Result<(), Error> {
    let mapping = start.mapping()?;
    let Some(trends) = &mut whole.trends else { return Ok(()) };
    let session = &mut start.session;
    session.read()?;
    let mut now = BTreeMap::new();
    for row in &session.rows(&statement::REPORT_POSTS_NOW.fill(&mapping.names), &[])? {
        now.insert(row.text("status")?, row.int("posts")?);
    }
    trends.posts_now = Some(now);
    if !mapping.has_posted_at {
        return Ok(());
    }
    let steps = i64::try_from(STEPS).unwrap_or(i64::MAX);
    let params = [Param::Int(ask.since.as_seconds().max(1)), Param::Int(steps)];
    // No post in a step is zero posts: unlike a pass, posting is always meant to go on.
    let mut series = vec![Some(0.0); STEPS];
    for row in &session.rows(&statement::REPORT_POSTED.fill(&mapping.names), &params)? {
        if row.int("total")? >= 100_000 {
            whole.notes.push("more than 100,000 posts in that time: only the newest are in the trend of posts".into());
        }
        if let Some(step) = usize::try_from(row.int("step")? - 1).ok().and_then(|step| series.get_mut(step)) {
            *step = Some(row.int("posts")? as f64);
        }
    }
    whole.notes.dedup();
    trends.posted = Some(series);
    Ok(())
}

/// Alerts that are named in the one line.
const NAMED: usize = 4;

fn verdict(whole: &Whole) -> String {
    let mut words = Vec::new();
    if let Some(alerts) = whole.alerts.as_ref().filter(|alerts| !alerts.is_empty()) {
        let count = whole.alerts_total;
        let of_both = whole.alerts_by_severity.iter().filter(|(severity, _)| matches!(*severity, "critical" | "error"));
        let critical: i64 = of_both.map(|(_, open)| open).sum();
        let grave = if critical > 0 { format!(" ({critical} grave)") } else { String::new() };
        let names: Vec<&str> =
            alerts.iter().take(NAMED).map(|alert| alert.key.strip_prefix("check:").unwrap_or(&alert.key)).collect();
        let more = if alerts.len() > NAMED { ", …" } else { "" };
        let noun = if count == 1 { "alert" } else { "alerts" };
        words.push(format!("{count} {noun} open{grave}: {}{more}", names.join(", ")));
    }
    for part in whole.parts.iter().filter(|part| !part.well && part.has_data) {
        match part.name {
            // What else its line says stands among the alerts.
            "health" if whole.alerts_total > 0 && !whole.open_now.is_empty() => words.push(whole.open_now.clone()),
            "health" if whole.alerts_total > 0 => {}
            "health" => words.push(part.verdict.clone()),
            name => words.push(format!("look at {name}")),
        }
    }
    if whole.too_old() {
        words.push("a pass has not succeeded for too long".into());
    }
    if whole.exit_code != 0 {
        words.push("something could not be read".into());
    }
    words.dedup();
    if words.is_empty() { "all is well".into() } else { words.join("; ") }
}

impl Whole {
    /// How things are, for Nagios and `--fail-on`.
    pub fn statuses(&self) -> Vec<Status> {
        let alerts = self.alerts.iter().flatten().map(|alert| match alert.severity.as_str() {
            "critical" | "error" => Status::Critical,
            _ => Status::Warning,
        });
        self.parts.iter().flat_map(|part| part.statuses.iter().copied()).chain(alerts).collect()
    }

    /// What each check found last, as a Nagios plugin tells it: ` 'stuck-posts'=3;;;0 …`, `U` for what is not known.
    pub fn performance_data(&self) -> String {
        let checks = self.parts.iter().flat_map(|part| &part.metrics).filter(|metric| metric.name == "check_findings");
        checks
            .map(|metric| {
                let name = metric.labels.first().map_or("", |(_, value)| value).replace(['\'', '='], "-");
                let value = metric.value.map_or_else(|| "U".into(), |value| value.to_string());
                format!(" '{name}'={value};;;0")
            })
            .collect()
    }

    /// Whether nothing needs a look.
    pub fn well(&self) -> bool {
        self.exit_code == 0
            && self.alerts_total == 0
            && self.parts.iter().all(|part| (part.well || !part.has_data) && !part.too_old)
    }

    /// Whether a pass has not succeeded for too long.
    pub fn too_old(&self) -> bool {
        self.parts.iter().any(|part| part.too_old)
    }

    /// The document.
    pub fn json(&self) -> Value {
        let parts: Map<String, Value> =
            self.parts.iter().map(|part| (part.name.to_owned(), part.json.clone())).collect();
        json!({
            "schemaVersion": SCHEMA_VERSION,
            "command": "report",
            "part": "all",
            "status": self.status,
            "databaseTime": self.database_time,
            "verdict": self.verdict,
            "alerts": self.alerts,
            "alertsTotal": self.alerts.as_ref().map(|_| self.alerts_total),
            "failingChannels": self.channels,
            "lastSuccess": self.last_success,
            "tooOld": self.too_old(),
            "trends": self.trends,
            "runs": self.runs,
            "parts": parts,
            "notes": self.notes,
        })
    }

    /// The same for people.
    pub fn text(&self, look: Look) -> String {
        let mut out = table::wrapped(&format!("healer report: {}", self.verdict), look);
        health::passes_text(&self.last_success, &mut out);
        self.alerts_text(look, &mut out);
        self.trends_text(look, &mut out);
        for part in self.parts.iter().filter(|part| part.has_data) {
            out.push('\n');
            out.push_str(&part.text);
        }
        let empty: Vec<&str> = self.parts.iter().filter(|part| !part.has_data).map(|part| part.name).collect();
        if !empty.is_empty() {
            let _ = writeln!(out, "\nnothing stored yet: {}", empty.join(", "));
        }
        if !self.runs.is_empty() {
            out.push('\n');
            out.push_str(&health::runs_table(&self.runs, look));
        }
        for note in &self.notes {
            out.push_str(&table::wrapped(&format!("note: {note}"), look));
        }
        out
    }

    fn alerts_text(&self, look: Look, out: &mut String) {
        let Some(alerts) = self.alerts.as_ref().filter(|alerts| !alerts.is_empty()) else { return };
        out.push('\n');
        let mut rows = table::plain(look, &["open alert", "since", "told", "what"]);
        for alert in alerts {
            rows.add_row(vec![
                alert.severity.clone(),
                ago(alert.age_seconds),
                alert.told_seconds.map_or_else(|| "nobody".into(), |age| format!("{} ago", ago(age))),
                table::cut(&alert.title, 160),
            ]);
        }
        out.push_str(&table::text(&rows));
        let more = self.alerts_total - i64::try_from(alerts.len()).unwrap_or(0);
        if more > 0 {
            let _ = writeln!(out, "… {more} more");
        }
        let mut steps: Vec<&str> =
            alerts.iter().map(|alert| alert.next_step.as_str()).filter(|step| !step.is_empty()).collect();
        steps.dedup();
        for step in steps.iter().take(5) {
            out.push_str(&table::wrapped(&format!("→ {}", table::clean(step)), look));
        }
        for channel in &self.channels {
            let why = channel.error.as_deref().unwrap_or("no reason known");
            out.push_str(&table::wrapped(
                &format!(
                    "→ channel {} fails since {}: {}",
                    channel.name,
                    ago(channel.since_seconds),
                    table::clean(why)
                ),
                look,
            ));
        }
    }

    fn trends_text(&self, look: Look, out: &mut String) {
        let Some(trends) = self.trends.as_ref().filter(|trends| !trends.passes.is_empty()) else { return };
        let _ =
            writeln!(out, "\nTRENDS of the last {}, each bar {}", ago(trends.since_seconds), ago(trends.step_seconds));
        let mut rows = table::plain(look, &["what", "oldest … now", "last", "most"]);
        let mut row = |what: &str, series: &[Option<f64>]| {
            let most = series.iter().flatten().copied().reduce(f64::max);
            // A row of nothing but zeros tells less than its absence.
            if most.is_some_and(|most| most > 0.0) {
                let last = series.iter().rev().find_map(|value| *value);
                let text = |value: Option<f64>| value.map_or_else(|| "–".into(), super::chart::short);
                rows.add_row(vec![what.to_owned(), spark::line(series), text(last), text(most)]);
            }
        };
        if let Some(posted) = &trends.posted {
            row("posted", posted);
        }
        for (status, posts) in &trends.posts_by_status {
            row(&format!("posts {}", table::clean(status)), posts);
        }
        let percent: Vec<_> = trends.success_rate.iter().map(|rate| rate.map(|rate| rate * 100.0)).collect();
        row("success %", &percent);
        for (pass, trend) in &trends.passes {
            row(&format!("{pass}: runs"), &trend.runs);
            row(&format!("{pass}: failed runs"), &trend.failed_runs);
            row(&format!("{pass}: changed"), &trend.changed);
            row(&format!("{pass}: refused"), &trend.refused);
            row(&format!("{pass}: held"), &trend.held);
            row(&format!("{pass}: ms"), &trend.duration_ms);
        }
        for (check, found) in &trends.checks {
            row(check, found);
        }
        out.push_str(&table::text(&rows));
    }

    /// A part alone, in the frame of the whole: for the page and the figures of one part.
    pub fn of(part: Part, start: &Start) -> Self {
        Self {
            database_time: start.catalog.server.now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            verdict: part.verdict.clone(),
            status: if part.exit_code == 0 { "ok" } else { "partial" },
            alerts: None,
            alerts_total: 0,
            alerts_by_severity: NO_ALERTS,
            channels: Vec::new(),
            last_success: Vec::new(),
            trends: None,
            runs: Vec::new(),
            open_now: String::new(),
            exit_code: part.exit_code,
            parts: vec![part],
            notes: Vec::new(),
        }
    }

    /// Figures for Prometheus, those of the parts included.
    pub fn metrics(&self, now: f64) -> Vec<Metric> {
        let mut metrics = pass_metrics(&self.last_success, now);
        if self.alerts.is_some() {
            for (severity, open) in self.alerts_by_severity {
                metrics.push(Metric::new(
                    "alerts_open",
                    "Alerts that are open.",
                    &[("severity", severity)],
                    Some(open as f64),
                ));
            }
            for channel in &self.channels {
                metrics.push(Metric::new(
                    "alert_channel_failures",
                    "Failures on end of a channel that did not take the last message.",
                    &[("channel", &channel.name)],
                    Some(channel.failures as f64),
                ));
            }
        }
        if let Some(now) = self.trends.as_ref().and_then(|trends| trends.posts_now.as_ref()) {
            for (status, posts) in now {
                metrics.push(Metric::new(
                    "posts",
                    "Posts in a status that is not final, and failed ones, counted up to a bound.",
                    &[("status", status)],
                    Some(*posts as f64),
                ));
            }
        }
        metrics.extend(self.parts.iter().flat_map(|part| part.metrics.iter().cloned()));
        metrics
    }

    /// The pictures of the trends.
    pub fn charts(&self) -> Vec<Block> {
        let Some(trends) = &self.trends else { return Vec::new() };
        let labels: Vec<String> = (0..STEPS)
            .map(|step| {
                let back = i64::try_from(STEPS - 1 - step).unwrap_or(0) * trends.step_seconds;
                if back == 0 { "now".into() } else { format!("{} ago", ago(back)) }
            })
            .collect();
        let chart = |title: String, unit: &'static str, kind: Kind, series: Vec<Series>| Chart {
            title,
            unit,
            labels: labels.clone(),
            kind,
            series,
            limit: None,
        };
        let mut blocks = Vec::new();
        if let Some(posted) = &trends.posted {
            let series = vec![Series::new("posted", posted.clone()).toned("ok")];
            blocks.push(Block::Chart(chart("Posted".into(), "posts", Kind::Bars, series)));
        }
        if let Some(now) = &trends.posts_now {
            blocks.push(Block::Chart(Chart {
                title: "Posts by status, now".into(),
                unit: "posts",
                labels: now.keys().cloned().collect(),
                kind: Kind::Bars,
                series: vec![Series::new("posts", now.values().map(|posts| Some(*posts as f64)).collect())],
                limit: None,
            }));
        }
        // Failed posts are kept for weeks: among the others they would hide how the queue moves.
        let counted = |failed: bool, tone: Option<&'static str>| -> Vec<Series> {
            let of = trends.posts_by_status.iter().filter(|(status, _)| (**status == trends.failed_word) == failed);
            of.map(|(status, posts)| Series { tone, ..Series::new(status.clone(), posts.clone()) }).collect()
        };
        let no_open = if trends.posts_by_status.is_empty() { NO_COUNT } else { NO_OPEN };
        blocks.extend([
            chart("Posts by status over time".into(), "posts", Kind::Bars, counted(false, None)).or(no_open),
            chart("Failed posts over time".into(), "posts", Kind::Bars, counted(true, Some("critical"))).or(NO_COUNT),
            success_chart(trends, &labels).or(NO_RATE),
        ]);
        let found = |check: &str| trends.checks.get(check).cloned();
        if let Some(stuck) = found("stuck-posts") {
            let mut series = vec![Series::new("found stuck", stuck).toned("warning")];
            if let Some(heal) = trends.passes.get("heal") {
                series.push(Series::new("changed", heal.changed.clone()).toned("ok"));
                series.push(Series::new("held", heal.held.clone()));
            }
            blocks.push(Block::Chart(chart("Stuck and healed".into(), "posts", Kind::Lines, series)));
        }
        let series: Vec<Series> =
            ["missing-ids", "old-failed"].iter().filter_map(|check| Some(Series::new(*check, found(check)?))).collect();
        blocks.push(Block::Chart(chart("Posts without id, old failures".into(), "posts", Kind::Lines, series)));
        let durations: Vec<Series> = trends
            .passes
            .iter()
            .map(|(pass, trend)| {
                let seconds = trend.duration_ms.iter().map(|ms| ms.map(|ms| ms / 1_000.0)).collect();
                Series::new(pass.clone(), seconds)
            })
            .collect();
        blocks.push(Block::Chart(chart("How long healer's own passes take".into(), "s", Kind::Lines, durations)));
        blocks.retain(|block| !matches!(block, Block::Chart(chart) if chart.is_empty()));
        blocks
    }
}

/// Why there is no picture of posts by status.
const NO_COUNT: &str =
    "No count is stored for this time: each `healer heal` notes one at its end, unless scaling.enabled is false.";
/// … where they were counted, and there were none.
const NO_OPEN: &str = "Whenever it was counted in this time, no post waited and none was posting.";
/// Why there is no picture of the success rate.
const NO_RATE: &str = "No rate is stored for this time: each `healer optimize performance` notes that of the 24 hours \
                       before it, where a post was finished in them.";

/// The share of finished posts that were posted, and below which share a pass warns.
fn success_chart(trends: &Trends, labels: &[String]) -> Chart {
    let percent = trends.success_rate.iter().map(|rate| rate.map(|rate| rate * 100.0)).collect();
    let warning = trends.success_warning * 100.0;
    Chart {
        title: "Success rate over time, of 24 h each".into(),
        unit: "% of finished posts",
        labels: labels.to_vec(),
        kind: Kind::Lines,
        series: vec![Series::new("posted, of all finished", percent).toned("ok")],
        limit: Some((format!("warned below {} %", super::chart::short(warning)), warning)),
    }
}

/// Figures on the passes themselves.
pub fn pass_metrics(passes: &[LastSuccess], now: f64) -> Vec<Metric> {
    let mut metrics = Vec::new();
    for pass in passes {
        let labels = [("pass", pass.pass.as_str())];
        let mut add = |name, help, value: Option<f64>| metrics.push(Metric::new(name, help, &labels, value));
        add(
            "last_run_timestamp_seconds",
            "When the last run of a pass ended, in seconds since 1970.",
            pass.last_run_seconds.map(|age| (now - age as f64).round()),
        );
        add(
            "last_success_timestamp_seconds",
            "When a pass last came to its end, in seconds since 1970.",
            pass.age_seconds.map(|age| (now - age as f64).round()),
        );
        add(
            "last_run_duration_seconds",
            "How long the last run of a pass took.",
            pass.last_duration_ms.map(|ms| ms as f64 / 1_000.0),
        );
        add(
            "last_run_exit_code",
            "The exit code of the last run of a pass.",
            pass.last_exit_code.map(|code| code as f64),
        );
    }
    metrics
}
