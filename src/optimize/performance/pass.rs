//! The pass: every room looks, then acts, then tells; one document of it all.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Finding, Hand, Level, Optimization, ROOMS, Room, Scene, Told, dossier, migration};
use crate::change::lease::Lease;
use crate::database::session::Param;
use crate::database::statement;
use crate::error::Error;
use crate::heal::{CheckResult, Status};
use crate::pass::{self, Kind, PERFORMANCE, Work};
use crate::posts::mapping::Mapping;
use crate::report::model::{Counts, Done, Findings, PassReport};
use crate::report::table::{self, Look, clean};
use crate::start::Start;

/// Findings, optimizations and recommendations that a document lists.
const LISTED: usize = 200;

/// The fixed keys of `metrics`: dashboards read them by name. What a room that is off or failed would have measured is `null`.
const FIXED: [(&str, &[&str]); 4] = [
    ("databaseQueries", &["slowQueries", "avgQueryTime", "totalQueries"]),
    ("jobExecution", &["slowJobs", "failedJobs", "totalJobs"]),
    ("resourceUsage", &["browserQueueLength", "activeBrowserJobs", "memoryPressure"]),
    ("postingEfficiency", &["successRate", "avgPostTime", "rateLimitHits"]),
];

/// What only this pass tells.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Body {
    /// The figures; those not measured are `null`.
    pub metrics: Map<String, Value>,
    /// What was done or proposed.
    pub optimizations: Vec<Optimization>,
    /// What a person should do.
    pub recommendations: Vec<String>,
    /// What was found in the database, the gravest first.
    pub findings: Vec<Finding>,
    /// Further parts, each under its key.
    #[serde(flatten)]
    pub parts: Map<String, Value>,
}

/// Runs the pass.
pub fn optimize(start: &mut Start, dry_run: bool) -> Result<Done<Body>, Error> {
    let settings = start.settings();
    let rooms = ROOMS.iter().map(|room| room()).filter(|room| room.enabled(settings)).collect();
    let mut work = Performance { rooms, failed: Vec::new(), notes: Vec::new(), codes: Vec::new() };
    pass::run(start, dry_run, &mut work)
}

/// A text for a file: the migration, or a page of the dossier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paper {
    /// The page's file name; `None` for the migration.
    pub page: Option<String>,
    /// The text.
    pub text: String,
}

/// What `--sql-out` and `--dossier` write, after the pass.
pub fn papers(start: &mut Start, done: &Done<Body>, sql: bool, pages: bool) -> Result<Vec<Paper>, Error> {
    let findings = &done.report.body.findings;
    let mut papers = Vec::new();
    if sql {
        let server = &start.catalog.server;
        let text = migration::text(findings, &server.database, &server.version_text, server.now);
        papers.push(Paper { page: None, text });
    }
    if pages {
        let mapping = start.mapping()?;
        let with_schema = start.catalog.schema_readable();
        let mut scene = Scene {
            session: &mut start.session,
            settings: &start.origin.settings,
            mapping: &mapping,
            catalog: &start.catalog,
            now: start.catalog.server.now,
            with_schema,
            pooled: start.origin.target.pooler_hint,
        };
        for page in dossier::pages(&mut scene, findings)? {
            papers.push(Paper { page: Some(page.file), text: page.text });
        }
    }
    Ok(papers)
}

struct Performance {
    rooms: Vec<Box<dyn Room>>,
    /// Rooms that an error kept from looking, by their names.
    failed: Vec<CheckResult>,
    notes: Vec<String>,
    codes: Vec<u8>,
}

impl Performance {
    /// All that the rooms tell.
    fn told(&self, dry_run: bool) -> Told {
        let mut told = Told { dry_run, ..Told::default() };
        for (group, keys) in FIXED {
            for key in keys {
                told.metric(group, key, Value::Null);
            }
        }
        for room in &self.rooms {
            if let Some(failed) = self.failed.iter().find(|failed| failed.name == room.name()) {
                told.checks.push(failed.clone());
            } else {
                room.tell(&mut told);
            }
        }
        told.findings.sort_by(|a, b| b.level.cmp(&a.level).then_with(|| a.key.cmp(&b.key)));
        // What has no source to measure by is unknown as well: the report must be able to tell the two apart.
        let failed: Vec<&str> = told.checks.iter().filter(|check| check.incomplete).map(|check| check.name).collect();
        told.parts.insert("notMeasured".into(), json!(failed));
        told.notes.extend(self.notes.iter().cloned());
        told.codes.extend(self.codes.iter().copied());
        told
    }
}

impl Work for Performance {
    type Body = Body;

    fn kind(&self) -> &'static Kind {
        &PERFORMANCE
    }

    fn detect(&mut self, start: &mut Start, mapping: &Mapping) -> Result<(), Error> {
        self.notes.clone_from(&mapping.warnings);
        let with_schema = start.catalog.schema_readable();
        if !with_schema {
            self.notes.push("the schema healer does not exist yet (or is of another version): nothing is known of earlier runs; `healer init` creates it".into());
        }
        for room in &mut self.rooms {
            start.session.check_stop()?;
            let mut scene = Scene {
                session: &mut start.session,
                settings: &start.origin.settings,
                mapping,
                catalog: &start.catalog,
                now: start.catalog.server.now,
                with_schema,
                pooled: start.origin.target.pooler_hint,
            };
            match room.detect(&mut scene) {
                Ok(()) => {}
                Err(error) if error.stops_the_pass() => return Err(error),
                Err(error) => {
                    // A statement that the deadline cut off says nothing of the room.
                    start.session.check_stop()?;
                    start.session.rollback();
                    log::warn!(target: "healer", "{} {}: {error}", PERFORMANCE.tag, room.name());
                    self.failed.push(CheckResult::failed(room.name(), &error));
                }
            }
        }
        start.session.rollback();
        Ok(())
    }

    fn act(&mut self, start: &mut Start, mapping: &Mapping, lease: &Lease) -> Result<(), Error> {
        let actions = &start.origin.settings.optimize.performance.actions;
        let mut left = actions.per_run;
        for room in &mut self.rooms {
            if self.failed.iter().any(|failed| failed.name == room.name()) {
                continue;
            }
            start.session.check_stop()?;
            let mut hand = Hand {
                origin: &start.origin,
                session: &mut start.session,
                settings: &start.origin.settings,
                mapping,
                catalog: &start.catalog,
                lease,
                pooled: start.origin.target.pooler_hint,
                left,
            };
            let done = room.act(&mut hand);
            left = hand.left;
            match done {
                Ok(()) => {}
                Err(error) if error.stops_the_pass() => return Err(error),
                Err(error) => {
                    start.session.check_stop()?;
                    start.session.rollback();
                    log::warn!(target: "healer", "{} {}: {error}", PERFORMANCE.tag, room.name());
                    self.notes.push(format!("{}: what it wanted to do failed: {error}", room.name()));
                    self.codes.push(if matches!(error.exit_code(), 75 | 77 | 78) { error.exit_code() } else { 3 });
                }
            }
        }
        let told = self.told(false);
        let counters = told.parts.get("counters").cloned().unwrap_or_else(|| json!({}));
        let body = serde_json::to_value(body(&told)).unwrap_or_else(|_| json!({}));
        lease.begin_batch(&mut start.session)?;
        start.session.rows(
            &statement::PERFORMANCE_SAMPLE.fill(&mapping.names),
            &[Param::Int(lease.run), Param::Text(&pass::storable(&body)), Param::Text(&pass::storable(&counters))],
        )?;
        start.session.commit()?;
        if lease.prune {
            start.session.transaction(&[statement::PRUNE_PERFORMANCE.fill(&mapping.names)])?;
        }
        Ok(())
    }

    fn findings(&mut self, dry_run: bool) -> Findings<Body> {
        let told = self.told(dry_run);
        let done = told.optimizations.iter().filter(|done| done.implemented).count() as u64;
        let planned = told.optimizations.len() as u64;
        let truncated = told.findings.len() > LISTED || told.recommendations.len() > LISTED;
        Findings {
            headline: headline(&told, done),
            counts: Counts {
                planned,
                applied: (!dry_run).then_some(done),
                failed: told.failed,
                remaining: told.remaining,
                ..Counts::default()
            },
            body: body(&told),
            checks: told.checks,
            notes: told.notes,
            codes: told.codes,
            truncated,
            concerns: told.concerns,
        }
    }
}

fn body(told: &Told) -> Body {
    Body {
        metrics: told.metrics.clone(),
        optimizations: told.optimizations.iter().take(LISTED).cloned().collect(),
        recommendations: told.recommendations.iter().take(LISTED).cloned().collect(),
        findings: told.findings.iter().take(LISTED).cloned().collect(),
        parts: told.parts.clone(),
    }
}

/// One line: what is wrong, what was done, what is left.
fn headline(told: &Told, done: u64) -> String {
    let of = |status: Status| -> Vec<&str> {
        told.checks.iter().filter(|check| check.status == status).map(|check| check.name).collect()
    };
    let mut parts = Vec::new();
    if told.dry_run {
        if !told.optimizations.is_empty() {
            parts.push(format!("{} changes proposed", told.optimizations.len()));
        }
    } else if !told.optimizations.is_empty() {
        parts.push(format!("{done} of {} changes done", told.optimizations.len()));
    }
    for (status, words) in
        [(Status::Critical, "critical:"), (Status::Warning, "look at"), (Status::Unknown, "could not measure")]
    {
        let names = of(status);
        if !names.is_empty() {
            parts.push(format!("{words} {}", names.join(", ")));
        }
    }
    if parts.is_empty() { "all is well".into() } else { parts.join(", ") }
}

/// Recommendations that a table lists.
const ROWS: usize = 20;

/// The result as tables.
pub fn tables(report: &PassReport<Body>, look: Look) -> String {
    let mut out = table::head(report);
    if report.status == "skipped" || (table::told_by_head(report) && report.body.findings.is_empty()) {
        return out;
    }
    out.push('\n');
    out.push_str(&table::checks(report, look));
    let body = &report.body;
    if !body.optimizations.is_empty() {
        out.push('\n');
        let mut rows = table::plain(look, &["done", "what", "why"]);
        for done in &body.optimizations {
            let word = match (done.implemented, report.dry_run) {
                (true, _) => "yes",
                (false, true) => "dry run",
                (false, false) => "no",
            };
            rows.add_row(vec![word.to_owned(), clean(&done.description), clean(&done.reason)]);
        }
        out.push_str(&table::text(&rows));
    }
    if !body.findings.is_empty() {
        out.push('\n');
        let mut rows = table::plain(look, &["level", "found", "remedy"]);
        for finding in body.findings.iter().take(ROWS) {
            let level = match finding.level {
                Level::Info => "info",
                Level::Warning => "warning",
                Level::Critical => "critical",
            };
            rows.add_row(vec![
                level.to_owned(),
                clean(&finding.title),
                finding.remedy.as_deref().map(clean).unwrap_or_default(),
            ]);
        }
        out.push_str(&table::text(&rows));
        if body.findings.len() > ROWS {
            let _ = writeln!(out, "… {} more (--format json lists them)", body.findings.len() - ROWS);
        }
    }
    if !body.recommendations.is_empty() {
        out.push('\n');
    }
    for recommendation in body.recommendations.iter().take(ROWS) {
        let _ = writeln!(out, "→ {}", clean(recommendation));
    }
    if body.recommendations.len() > ROWS {
        let _ = writeln!(out, "… {} more (--format json lists them)", body.recommendations.len() - ROWS);
    }
    out.push_str(&table::notes(report));
    out
}
