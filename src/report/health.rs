//! `report health`: what is stuck, held and recovering now, and what the last runs did. Reads only what passes stored,
//! and cheap live counts.

use std::fmt::Write as _;

use comfy_table::{ColumnConstraint, Width};
use serde::Serialize;
use serde_json::Value;

use super::chart::{Chart, Kind, Series};
use super::checks::{self, CheckState};
use super::model::{HEALED, SCHEMA_VERSION};
use super::part::{Ask, Block, Metric, Part};
use super::table::{self, Look};
use crate::alert::{PASSES, interval};
use crate::database::session::{Access, Param};
use crate::database::statement::{self, Names};
use crate::error::Error;
use crate::heal::{CHECKS, Status, ago};
use crate::pass::HEAL;
use crate::settings::{Settings, Span};
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
    /// Its last run that ended.
    pub last_run_id: Option<i64>,
    /// How long ago that was.
    pub last_run_seconds: Option<i64>,
    /// How long it took.
    pub last_duration_ms: Option<i64>,
    /// Its exit code.
    pub last_exit_code: Option<i64>,
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
        report.too_old = too_old(&report.last_success, start.settings(), max_age);
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

/// Whether a pass has not completed for too long: by default twice its interval, as one run that was missed is no news
/// yet. A pass that runs more rarely than the limit that was asked for is given twice its interval. Where a pass was
/// never run at all nobody may have meant it to, unless a limit was asked for.
fn too_old(passes: &[LastSuccess], settings: &Settings, max_age: Option<Span>) -> bool {
    passes.iter().any(|pass| {
        let usual = interval(settings, &pass.pass).saturating_mul(2);
        let limit = match max_age {
            Some(limit) if pass.pass == "heal" => limit.as_seconds(),
            Some(limit) => limit.as_seconds().max(usual),
            None => usual,
        };
        match (pass.age_seconds, pass.first_run_seconds) {
            (Some(age), _) => age > limit,
            // A first run that is at work just now has not had the time to complete.
            (None, Some(first)) => first > limit,
            (None, None) => max_age.is_some(),
        }
    })
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
    let mut checks = checks::read(session, HEAL.lease)?;
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
    for row in &session.rows(&statement::REPORT_LAST_SUCCESS.fill(&names), &[Param::Texts(&PASSES)])? {
        report.last_success.push(LastSuccess {
            pass: row.text("pass")?,
            age_seconds: row.optional_int("age_s")?,
            first_run_seconds: row.optional_int("first_s")?,
            last_run_id: row.optional_int("run")?,
            last_run_seconds: row.optional_int("run_age_s")?,
            last_duration_ms: row.optional_int("duration_ms")?,
            last_exit_code: row.optional_int("exit_code")?,
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

/// The part, as it is read alone.
pub fn part(start: &mut Start, ask: &Ask) -> Result<Part, Error> {
    Ok(as_part(&read(start, ask.since, ask.max_age)?, ask, false))
}

/// The part of a report that was read. `within`: it stands in the whole report, which tells of passes and runs itself.
pub fn as_part(report: &HealthReport, ask: &Ask, within: bool) -> Part {
    Part {
        name: "health",
        verdict: report.verdict.clone(),
        statuses: statuses(report),
        well: report.exit_code == 0 && !report.too_old && report.well,
        has_data: true,
        too_old: report.too_old,
        exit_code: report.exit_code,
        json: serde_json::to_value(report).unwrap_or(Value::Null),
        text: tables(report, ask.look, within),
        metrics: metrics(report),
        blocks: blocks(report),
        notes: report.notes.clone(),
    }
}

/// How things are: what was counted just now, and each check as it last was.
fn statuses(report: &HealthReport) -> Vec<Status> {
    let open = [report.stuck_posts, report.missing_ids, report.held_total];
    let mut statuses: Vec<Status> = open
        .iter()
        .map(|posts| match posts {
            None => Status::Unknown,
            Some(0) => Status::Ok,
            Some(_) => Status::Warning,
        })
        .collect();
    if report.too_old {
        statuses.push(Status::Critical);
    }
    statuses.extend(report.checks.iter().flatten().map(CheckState::is));
    statuses
}

fn metrics(report: &HealthReport) -> Vec<Metric> {
    let number = |value: Option<i64>| value.map(|value| value as f64);
    let mut metrics = Vec::new();
    for check in report.checks.iter().flatten() {
        let labels = [("check", check.name.as_str())];
        let level = match check.is() {
            Status::Ok => Some(0.0),
            Status::Warning => Some(1.0),
            Status::Critical => Some(2.0),
            Status::Unknown => None,
        };
        metrics.push(Metric::new(
            "check_status",
            "How a check was when it last ran: 0 ok, 1 warning, 2 critical. Absent: unknown.",
            &labels,
            level,
        ));
        metrics.push(Metric::new(
            "check_findings",
            "What a check found when it last ran.",
            &labels,
            number(check.found),
        ));
    }
    let found =
        |name: &str| report.checks.iter().flatten().find(|check| check.name == name).and_then(|check| check.found);
    // The figures of `systemHealth` in the events: what can be counted now is, the rest is as the last run found it.
    for (key, value) in [
        ("stuckPosts", report.stuck_posts),
        ("nullTweetIds", report.missing_ids),
        ("browserIssues", found("browser-queue")),
        ("databaseIssues", found("database")),
        ("circuitBreakerOpen", found("circuit-breaker")),
    ] {
        metrics.push(Metric::new("system_health", "The figures of systemHealth.", &[("key", key)], number(value)));
    }
    let heal = report.runs.iter().find(|run| run.pass == "heal" && run.duration_ms.is_some());
    for outcome in ["planned", "applied", "skipped", "failed", "held", "remaining"] {
        let value = heal.and_then(|run| run.counts[outcome].as_f64());
        metrics.push(Metric::new(
            "actions",
            "Actions of the last heal, by what became of them.",
            &[("outcome", outcome)],
            value,
        ));
    }
    metrics.push(Metric::new("held_posts", "Posts held for a person.", &[], number(report.held_total)));
    metrics.push(Metric::new(
        "id_recovery_posts",
        "Posts that wait for their id.",
        &[],
        number(report.id_recovery_total),
    ));
    metrics
}

fn blocks(report: &HealthReport) -> Vec<Block> {
    let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let mut blocks = Vec::new();
    if let Some(ages) = report.posting_ages.as_ref().filter(|ages| !ages.is_empty()) {
        let fine = ages.iter().map(|step| Some((step.posts - step.stuck) as f64)).collect();
        let stuck = ages.iter().map(|step| Some(step.stuck as f64)).collect();
        blocks.push(Block::Chart(Chart {
            title: "How long posts have been posting".into(),
            unit: "posts",
            labels: ages
                .iter()
                .map(|step| step.up_to_seconds.map_or_else(|| "longer".into(), |to| format!("< {}", ago(to))))
                .collect(),
            kind: Kind::Bars,
            series: vec![
                Series::new("within their limit", fine).toned("ok"),
                Series::new("stuck", stuck).toned("critical"),
            ],
            limit: None,
        }));
    }
    if let Some(days) = report.stuck_per_day.as_ref().filter(|days| !days.is_empty()) {
        blocks.push(Block::Chart(Chart {
            title: "Found stuck, by day".into(),
            unit: "posts",
            labels: days.iter().rev().map(|day| day.day.clone()).collect(),
            kind: Kind::Bars,
            series: vec![
                Series::new("stuck", days.iter().rev().map(|day| Some(day.posts as f64)).collect()).toned("warning"),
            ],
            limit: None,
        }));
    }
    if let Some(checks) = report.checks.as_ref().filter(|checks| !checks.is_empty()) {
        blocks.push(Block::Table(
            "Checks, as they last ran".into(),
            text(&["check", "status", "seen", "what was found"]),
            checks
                .iter()
                .map(|check| {
                    vec![
                        check.name.clone(),
                        check.status.clone(),
                        format!("{} ago", ago(check.age_seconds)),
                        check.summary.clone(),
                    ]
                })
                .collect(),
        ));
    }
    if !report.held.is_empty() {
        blocks.push(Block::Table(
            format!("Held for a person: {}", report.held_total.unwrap_or(0)),
            text(&["post", "since", "why"]),
            report
                .held
                .iter()
                .map(|held| vec![held.post.clone(), ago(held.age_seconds), held.reason.clone()])
                .collect(),
        ));
        blocks.push(Block::Text("Decide: healer resolve POST (--posted ID | --queue | --fail)".into()));
    }
    if let (Some(total), Some(oldest)) = (report.id_recovery_total, report.id_recovery_oldest_seconds) {
        blocks.push(Block::Text(format!("{total} posts wait for their id, the oldest for {}.", ago(oldest))));
    }
    if let Some(median) = report.median_recovery_seconds {
        blocks.push(Block::Text(format!(
            "Half of the stuck posts of the last 30 days were settled within {}.",
            ago(median)
        )));
    }
    blocks
}

/// What is open now, in numbers: `3 stuck, 5 without a real id`; empty where nothing is.
pub fn open_now(report: &HealthReport) -> String {
    let counts = [
        (report.stuck_posts, "stuck"),
        (report.missing_ids, "without a real id"),
        (report.held_total, "held for a person"),
    ];
    let parts: Vec<String> = counts
        .iter()
        .filter_map(|(number, what)| number.filter(|number| *number > 0).map(|number| format!("{number} {what}")))
        .collect();
    parts.join(", ")
}

/// The last runs as a block of a page.
pub fn runs_block(runs: &[Run]) -> Block {
    let header = ["run", "command", "began", "took", "status", "changed", "failed", "take it back"];
    let rows = runs
        .iter()
        .map(|run| {
            let number = |key: &str| run.counts[key].as_i64().map_or_else(|| "–".into(), |n| n.to_string());
            vec![
                run.run_id.to_string(),
                run.command.clone(),
                format!("{} ago", ago(run.age_seconds)),
                run.duration_ms.map_or_else(|| "–".into(), |ms| format!("{ms} ms")),
                run.status.clone(),
                number("applied"),
                number("failed"),
                run.undo.clone().unwrap_or_default(),
            ]
        })
        .collect();
    Block::Table("What each changed, and what takes it back".into(), header.map(str::to_owned).to_vec(), rows)
}

/// The last runs as a table.
pub fn runs_table(runs: &[Run], look: Look) -> String {
    let mut table = table::plain(look, &["run", "command", "began", "status", "changed", "failed", "take it back"]);
    for run in runs {
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
    table::text(&table)
}

/// When each pass last completed, a line each.
pub fn passes_text(passes: &[LastSuccess], out: &mut String) {
    for pass in passes {
        let age =
            pass.age_seconds.map_or_else(|| "never completed".into(), |age| format!("completed {} ago", ago(age)));
        let _ = writeln!(out, "pass {}: {age}", pass.pass);
    }
}

/// The report as tables; `within` the whole report without what that tells itself.
fn tables(report: &HealthReport, look: Look, within: bool) -> String {
    let mut out = table::wrapped(&format!("healer report health: {}", report.verdict), look);
    if !within {
        passes_text(&report.last_success, &mut out);
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
        if let Some(column) = table.column_mut(0) {
            // A uuid and its margins: an id that is broken cannot be copied.
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(38)));
        }
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
    if !within && !report.runs.is_empty() {
        out.push('\n');
        out.push_str(&runs_table(&report.runs, look));
    }
    for note in &report.notes {
        out.push_str(&table::wrapped(&format!("note: {}", table::clean(note)), look));
    }
    out
}
