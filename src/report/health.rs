//! `report health`: what is stuck, held and recovering now, and what the last runs did. Reads only what passes stored,
//! and cheap live counts.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::model::{HEALED, SCHEMA_VERSION};
use super::table::{self, Look};
use crate::database::session::{Access, Param};
use crate::database::statement::{self, Names};
use crate::error::Error;
use crate::heal::{CHECKS, ago};
use crate::settings::Span;
use crate::start::Start;

/// Lines of each list.
const LISTED: i64 = 20;

/// The verdict where nothing needs a look.
const ALL_WELL: &str = "no post is stuck, held or without its id";

/// How long posts have been posting: a step of the histogram.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ages {
    /// Up to this many seconds; `null` for longer.
    pub up_to_seconds: Option<i64>,
    /// Posts.
    pub posts: i64,
    /// Of them beyond their limit.
    pub stuck: i64,
}

/// How a check was when it last ran.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckState {
    /// The check.
    pub name: String,
    /// `ok`, `warning`, `critical` or `unknown`.
    pub status: String,
    /// How many; `null` where it could not be measured.
    pub found: Option<i64>,
    /// In words.
    pub summary: String,
    /// How long ago that was.
    pub age_seconds: i64,
    /// The run.
    pub run_id: i64,
}

/// Posts that were found stuck on one day.
#[derive(Debug, Clone, Serialize)]
pub struct StuckDay {
    /// The day, in UTC.
    pub day: String,
    /// Posts.
    pub posts: i64,
}

/// A post whose id is being looked for.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recovering {
    /// Its id.
    pub post: String,
    /// Since how long.
    pub age_seconds: i64,
}

/// A held post.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// Its id.
    pub post: String,
    /// The check that holds it.
    pub check: String,
    /// A word for the reason.
    pub code: String,
    /// The reason.
    pub reason: String,
    /// Since how long.
    pub age_seconds: i64,
}

/// A run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Its id.
    pub run_id: i64,
    /// The pass.
    pub pass: String,
    /// The command.
    pub command: String,
    /// When it began.
    pub started_at: String,
    /// How long ago.
    pub age_seconds: i64,
    /// How long it took; `null` while it runs, or where it was killed.
    pub duration_ms: Option<i64>,
    /// `running`, `ok`, `partial`, `failed` or `abandoned`.
    pub status: String,
    /// Its exit code.
    pub exit_code: Option<i64>,
    /// What it counted.
    pub counts: Value,
    /// Why it failed.
    pub error: Option<String>,
    /// The command that takes its changes back; `null` where it changed nothing.
    pub undo: Option<String>,
}

/// When a pass last completed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastSuccess {
    /// The pass.
    pub pass: String,
    /// How long ago; `null` for never.
    pub age_seconds: Option<i64>,
    /// How long ago its first recorded run began; `null` where it was never run.
    pub first_run_seconds: Option<i64>,
}

/// The report.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthReport {
    /// The version of this document.
    pub schema_version: u32,
    /// `report`.
    pub command: &'static str,
    /// `ok` or `partial`.
    pub status: &'static str,
    /// The database's clock.
    pub database_time: String,
    /// One line.
    pub verdict: String,
    /// Posts beyond their limit; `null` where it cannot be measured.
    pub stuck_posts: Option<i64>,
    /// Posts of the last 24 hours without a real id.
    pub missing_ids: Option<i64>,
    /// How long posts have been posting.
    pub posting_ages: Option<Vec<Ages>>,
    /// Held posts in all.
    pub held_total: Option<i64>,
    /// Held posts, oldest first.
    pub held: Vec<Held>,
    /// How each check was when it last ran; `null` where that cannot be read.
    pub checks: Option<Vec<CheckState>>,
    /// Posts found stuck on each of the last 30 days, newest first; `null` where that cannot be read.
    pub stuck_per_day: Option<Vec<StuckDay>>,
    /// How long half of the stuck posts of the last 30 days stayed stuck at most; `null` where there were none, or where
    /// the journal does not tell.
    pub median_recovery_seconds: Option<i64>,
    /// Posts in id recovery, oldest first.
    pub id_recovery: Vec<Recovering>,
    /// Posts in id recovery in all.
    pub id_recovery_total: Option<i64>,
    /// Age of the oldest of them.
    pub id_recovery_oldest_seconds: Option<i64>,
    /// The last runs.
    pub runs: Vec<Run>,
    /// When each pass last completed.
    pub last_success: Vec<LastSuccess>,
    /// What could not be read, and what else should be known.
    pub notes: Vec<String>,
    /// Whether nothing needs a look.
    #[serde(skip)]
    pub well: bool,
    /// Whether a pass is older than `--max-age`.
    pub too_old: bool,
    /// The exit code that what could not be read means.
    #[serde(skip)]
    pub exit_code: u8,
}

/// Reads the report.
pub fn read(start: &mut Start, since: Span, max_age: Option<Span>) -> Result<HealthReport, Error> {
    let mapping = start.mapping()?;
    let mut report = HealthReport {
        schema_version: SCHEMA_VERSION,
        command: "report",
        status: "ok",
        database_time: start.catalog.server.now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        verdict: String::new(),
        stuck_posts: None,
        missing_ids: None,
        posting_ages: None,
        held_total: None,
        held: Vec::new(),
        checks: None,
        stuck_per_day: None,
        median_recovery_seconds: None,
        id_recovery: Vec::new(),
        id_recovery_total: None,
        id_recovery_oldest_seconds: None,
        runs: Vec::new(),
        last_success: Vec::new(),
        notes: mapping.warnings.clone(),
        well: false,
        too_old: false,
        exit_code: 0,
    };
    let mut codes = Vec::new();
    let mut part = |report: &mut HealthReport, what: &str, result: Result<(), Error>| match result {
        Ok(()) => Ok(()),
        Err(error) if error.stops_the_pass() => Err(error),
        Err(error) => {
            report.notes.push(format!("{what} could not be measured: {error}"));
            report.status = "partial";
            codes.push(if matches!(error.exit_code(), 77 | 78 | 75) { error.exit_code() } else { 3 });
            Ok(())
        }
    };
    if mapping.claim != crate::posts::mapping::ClaimSource::None {
        let ages = ages(start, &mapping.names, &mut report);
        part(&mut report, "how long posts have been posting", ages)?;
    }
    if mapping.has_posted_at {
        let missing = missing(start, &mapping.names, &mut report);
        part(&mut report, "missing ids", missing)?;
    }
    if start.catalog.schema_readable() {
        let stored = stored(start, since, &mut report);
        part(&mut report, "what the runs stored", stored)?;
        let history = history(start, &mapping.names, &mut report);
        part(&mut report, "what was stuck in the last 30 days", history)?;
        // Twice the interval: one run that was missed is no news yet. Where a pass was never run at all nobody may
        // have meant it to, unless a limit was asked for.
        let usual = start.settings().heal.interval.as_seconds().saturating_mul(2);
        report.too_old = report.last_success.iter().any(|pass| match (pass.age_seconds, max_age) {
            (Some(age), limit) => age > limit.map_or(usual, Span::as_seconds),
            // A first run that is at work just now has not had the time to complete.
            (None, limit) => {
                pass.first_run_seconds.map_or(limit.is_some(), |first| first > limit.map_or(usual, Span::as_seconds))
            }
        });
    } else {
        report.notes.push(
            "the schema healer is missing, of another version or not readable: runs and held posts are unknown (`healer init`)"
                .into(),
        );
        report.too_old = max_age.is_some();
    }
    start.session.rollback();
    report.exit_code = crate::exit::strongest(codes);
    report.verdict = verdict(&report);
    report.well = report.verdict == ALL_WELL;
    Ok(report)
}

fn ages(start: &mut Start, names: &Names, report: &mut HealthReport) -> Result<(), Error> {
    start.session.begin(Access::ReadOnly, "")?;
    let rows = start.session.rows(&statement::REPORT_AGES.fill(names), &[])?;
    let mut ages = Vec::new();
    for row in &rows {
        ages.push(Ages {
            up_to_seconds: row.optional_int("bucket")?,
            posts: row.int("posts")?,
            stuck: row.int("stuck")?,
        });
    }
    report.stuck_posts = Some(ages.iter().map(|step| step.stuck).sum());
    report.posting_ages = Some(ages);
    Ok(())
}

fn missing(start: &mut Start, names: &Names, report: &mut HealthReport) -> Result<(), Error> {
    start.session.begin(Access::ReadOnly, "")?;
    report.missing_ids = Some(start.session.row(&statement::REPORT_MISSING.fill(names), &[])?.int("posts")?);
    Ok(())
}

fn stored(start: &mut Start, since: Span, report: &mut HealthReport) -> Result<(), Error> {
    let names = Names::default();
    let session = &mut start.session;
    session.begin(Access::ReadOnly, "")?;
    report.held_total = Some(0);
    for row in &session.rows(&statement::REPORT_HELD.fill(&names), &[Param::Int(LISTED)])? {
        report.held_total = Some(row.int("total")?);
        report.held.push(Held {
            post: row.text("post")?,
            check: row.text("check_name")?,
            code: row.text("code")?,
            reason: row.text("reason")?,
            age_seconds: row.int("age_s")?,
        });
    }
    report.id_recovery_total = Some(0);
    for row in &session.rows(&statement::REPORT_RECOVERY.fill(&names), &[Param::Int(LISTED)])? {
        report.id_recovery_total = Some(row.int("total")?);
        report.id_recovery.push(Recovering { post: row.text("post")?, age_seconds: row.int("age_s")? });
    }
    report.id_recovery_oldest_seconds = report.id_recovery.first().map(|post| post.age_seconds);
    let mut checks = Vec::new();
    for row in &session.rows(&statement::REPORT_CHECKS.fill(&names), &[])? {
        checks.push(CheckState {
            name: row.text("name")?,
            status: row.optional_text("status")?.unwrap_or_else(|| "unknown".into()),
            found: row.optional_int("found")?,
            summary: row.optional_text("summary")?.unwrap_or_default(),
            age_seconds: row.int("age_s")?,
            run_id: row.int("run")?,
        });
    }
    // In the order in which they run; a check that this healer does not know comes last.
    let place = |name: &str| CHECKS.iter().position(|check| check.name() == name).unwrap_or(usize::MAX);
    checks.sort_by_key(|check| place(&check.name));
    report.checks = Some(checks);
    for row in
        &session.rows(&statement::REPORT_RUNS.fill(&names), &[Param::Int(LISTED), Param::Int(since.as_seconds())])?
    {
        let run_id = row.int("run")?;
        let counts = row.json("counts")?;
        let changed = counts["applied"].as_i64().is_none_or(|applied| applied > 0);
        let abandoned = row.bool("abandoned")?;
        report.runs.push(Run {
            run_id,
            pass: row.text("pass")?,
            command: row.text("command")?,
            started_at: row.time("started_at")?.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            age_seconds: row.int("age_s")?,
            duration_ms: row.optional_int("duration_ms")?,
            status: if abandoned { "abandoned".into() } else { row.text("status")? },
            exit_code: row.optional_int("exit_code")?,
            counts,
            error: row.optional_text("error")?,
            undo: changed.then(|| format!("healer undo {run_id}")),
        });
    }
    for row in &session.rows(&statement::REPORT_LAST_SUCCESS.fill(&names), &[])? {
        report.last_success.push(LastSuccess {
            pass: row.text("pass")?,
            age_seconds: row.optional_int("age_s")?,
            first_run_seconds: row.optional_int("first_s")?,
        });
    }
    Ok(())
}

fn history(start: &mut Start, names: &Names, report: &mut HealthReport) -> Result<(), Error> {
    let session = &mut start.session;
    session.read()?;
    let mut days = Vec::new();
    for row in &session.rows(&statement::REPORT_STUCK_DAYS.fill(names), &[])? {
        days.push(StuckDay { day: row.text("day")?, posts: row.int("posts")? });
    }
    report.stuck_per_day = Some(days);
    let row = session.row(&statement::REPORT_RECOVERY_TIME.fill(names), &[])?;
    report.median_recovery_seconds = row.optional_int("median_s")?;
    Ok(())
}

fn verdict(report: &HealthReport) -> String {
    let mut parts = Vec::new();
    let mut unknown = Vec::new();
    for (number, what) in [
        (report.stuck_posts, "stuck"),
        (report.missing_ids, "without a real id"),
        (report.held_total, "held for a person"),
    ] {
        match number {
            Some(0) => {}
            Some(number) => parts.push(format!("{number} {what}")),
            None => unknown.push(what),
        }
    }
    for status in ["critical", "warning"] {
        // What is stuck and missing was counted just now; what the last run said of it is old.
        let of_status: Vec<&str> = report
            .checks
            .iter()
            .flatten()
            .filter(|check| check.status == status && !HEALED.contains(&check.name.as_str()))
            .map(|check| check.name.as_str())
            .collect();
        if !of_status.is_empty() {
            parts.push(format!("{status} at the last run: {}", of_status.join(", ")));
        }
    }
    if report.too_old {
        parts.push("healer itself has not completed a run within --max-age".into());
    }
    let mut line = if parts.is_empty() { ALL_WELL.to_owned() } else { parts.join(", ") };
    if !unknown.is_empty() {
        if parts.is_empty() {
            line = "nothing known is wrong".into();
        }
        let _ = write!(line, "; unknown: posts {}", unknown.join(", "));
    }
    line
}

/// The report as tables.
pub fn tables(report: &HealthReport, look: Look) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "healer report health: {}", report.verdict);
    for pass in &report.last_success {
        let age =
            pass.age_seconds.map_or_else(|| "never completed".into(), |age| format!("completed {} ago", ago(age)));
        let _ = writeln!(out, "pass {}: {age}", pass.pass);
    }
    if let Some(checks) = report.checks.as_ref().filter(|checks| !checks.is_empty()) {
        out.push('\n');
        let mut table = table::plain(look, &["check", "status", "seen", "what was found"]);
        for check in checks {
            table.add_row(vec![
                check.name.clone(),
                check.status.clone(),
                format!("{} ago", ago(check.age_seconds)),
                table::cut(&check.summary, 240),
            ]);
        }
        out.push_str(&table::text(&table));
    }
    if let Some(ages) = report.posting_ages.as_ref().filter(|ages| !ages.is_empty()) {
        out.push('\n');
        let mut table = table::plain(look, &["posting for", "posts", "stuck", ""]);
        let most = ages.iter().map(|step| step.posts).max().unwrap_or(1).max(1);
        let mut from = 0;
        for step in ages {
            let span = match step.up_to_seconds {
                Some(to) => {
                    let text =
                        if from == 0 { format!("under {}", ago(to)) } else { format!("{} to {}", ago(from), ago(to)) };
                    from = to;
                    text
                }
                None => "longer, or unknown".into(),
            };
            let bar = "█".repeat(usize::try_from(1 + step.posts * 19 / most).unwrap_or(1));
            table.add_row(vec![span, step.posts.to_string(), step.stuck.to_string(), bar]);
        }
        out.push_str(&table::text(&table));
    }
    if !report.held.is_empty() {
        out.push('\n');
        let mut table = table::plain(look, &["held post", "since", "why"]);
        for held in &report.held {
            table.add_row(vec![table::cut(&held.post, 36), ago(held.age_seconds), table::cut(&held.reason, 120)]);
        }
        out.push_str(&table::text(&table));
        let total = report.held_total.unwrap_or(0);
        if total > LISTED {
            let _ = writeln!(out, "… {} more", total - LISTED);
        }
        let _ = writeln!(out, "→ decide: healer resolve POST (--posted ID | --queue | --fail)");
    }
    if let (Some(total), Some(oldest)) = (report.id_recovery_total, report.id_recovery_oldest_seconds) {
        let _ =
            writeln!(out, "\n{total} posts wait in healer.id_recovery for their id, the oldest for {}", ago(oldest));
        for waiting in &report.id_recovery {
            let _ = writeln!(out, "   {}  {}", table::cut(&waiting.post, 36), ago(waiting.age_seconds));
        }
    }
    if let Some(days) = report.stuck_per_day.as_ref().filter(|days| !days.is_empty()) {
        out.push('\n');
        let mut table = table::plain(look, &["day", "stuck"]);
        for day in days {
            table.add_row(vec![day.day.clone(), day.posts.to_string()]);
        }
        out.push_str(&table::text(&table));
        if let Some(median) = report.median_recovery_seconds {
            let _ = writeln!(out, "half of the stuck posts of the last 30 days were settled within {}", ago(median));
        }
    }
    if !report.runs.is_empty() {
        out.push('\n');
        let mut table = table::plain(look, &["run", "command", "began", "status", "changed", "failed", "take it back"]);
        for run in &report.runs {
            let number = |key: &str| run.counts[key].as_i64().map_or_else(|| "?".into(), |n| n.to_string());
            table.add_row(vec![
                run.run_id.to_string(),
                run.command.clone(),
                format!("{} ago", ago(run.age_seconds)),
                run.status.clone(),
                number("applied"),
                number("failed"),
                run.undo.clone().unwrap_or_default(),
            ]);
        }
        out.push_str(&table::text(&table));
    }
    for note in &report.notes {
        let _ = writeln!(out, "note: {}", table::clean(note));
    }
    out
}
