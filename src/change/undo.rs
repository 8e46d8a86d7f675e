//! `healer undo RUN`: brings back what a run changed, where the post still holds what healer wrote.
//!
//! A post that somebody changed since is left alone and listed. What was undone is held, so that the next pass does
//! not do it again; a rescue that was undone does not count against the post.

use serde::Serialize;

use super::{lease, weights};
use crate::database::session::{Access, Param};
use crate::database::statement::{self, Names};
use crate::error::Error;
use crate::optimize::content::tables::Tables;
use crate::posts::evidence::{Kind, Ledgers};
use crate::posts::mapping::Mapping;
use crate::report::model::SCHEMA_VERSION;
use crate::start::Start;

/// Rows of the journal that are listed in the result.
const LISTED: usize = 1_000;

/// One change that was, or would be, taken back.
#[derive(Debug, Clone, Serialize)]
pub struct Item {
    /// The post.
    pub target: String,
    /// What had been done.
    pub action: String,
    /// `restored`, `would be restored`, or why not.
    pub outcome: &'static str,
}

/// The result of an undo.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UndoReport {
    /// The version of this document.
    pub schema_version: u32,
    /// `undo`.
    pub command: &'static str,
    /// The run that is taken back.
    pub undoes: i64,
    /// The run of the undo; `null` for a dry run.
    pub run_id: Option<i64>,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// `ok` or `partial`.
    pub status: &'static str,
    /// Posts that were (or would be) restored.
    pub restored: u64,
    /// Posts that have changed since and were left alone.
    pub changed_since: u64,
    /// Changes that had been taken back before.
    pub undone_before: u64,
    /// The changes, at most 1,000.
    pub items: Vec<Item>,
    /// Whether `items` is not all.
    pub truncated: bool,
}

/// Takes a run back.
pub fn undo(start: &mut Start, run: i64, only: &[String], dry_run: bool) -> Result<UndoReport, Error> {
    let mapping = start.mapping()?;
    if !dry_run {
        start.catalog.require_writable()?;
    } else if !start.catalog.schema_readable() {
        return Err(Error::Schema {
            message: "the schema healer is missing, of another version or not readable".into(),
            hint: "without the journal nothing can be taken back; see `healer doctor`".into(),
        });
    }
    let mut report = UndoReport {
        schema_version: SCHEMA_VERSION,
        command: "undo",
        undoes: run,
        run_id: None,
        dry_run,
        status: "ok",
        restored: 0,
        changed_since: 0,
        undone_before: 0,
        items: Vec::new(),
        truncated: false,
    };
    let only: Vec<&str> = only.iter().map(String::as_str).collect();
    let ledgers = Ledgers::find(start.settings(), &start.catalog, &mapping)?;
    let mut last = 0_i64;
    let mut known = false;
    loop {
        start.session.check_stop()?;
        start.session.begin(Access::ReadOnly, "")?;
        let rows = start.session.rows(
            &statement::UNDO_PLAN.fill(&mapping.names),
            &[Param::Int(run), Param::Texts(&only), Param::Int(last)],
        )?;
        // Taking back an undo can queue a post: never one that a ledger shows as sent by now, or begun.
        let queued: Vec<String> = rows
            .iter()
            .filter(|row| row.text("action").is_ok_and(|action| action == "undo_reset_status_to_queued"))
            .map(|row| row.text("target"))
            .collect::<Result<_, _>>()?;
        let queued: Vec<&str> = queued.iter().map(String::as_str).collect();
        let facts = if queued.is_empty() {
            std::collections::HashMap::new()
        } else {
            // No bound on the events: how old the posts are is not known here.
            ledgers.read(&mut start.session, &queued, Some(chrono::DateTime::UNIX_EPOCH))?
        };
        let sent: std::collections::HashSet<&str> = facts
            .iter()
            .filter(|(_, facts)| {
                facts.iter().any(|fact| matches!(fact.kind, Kind::Sent | Kind::SentWithoutId | Kind::Open))
            })
            .map(|(post, _)| post.as_str())
            .collect();
        start.session.rollback();
        let mut batch = Vec::new();
        for row in &rows {
            known = true;
            last = row.int("action_id")?;
            let (target, action) = (row.text("target")?, row.text("action")?);
            if row.bool("undone")? {
                report.undone_before += 1;
                list(&mut report, target, action, "taken back before");
            } else if action == "undo_reset_status_to_queued" && sent.contains(target.as_str()) {
                report.changed_since += 1;
                list(&mut report, target, action, "a ledger shows it as sent or begun: left alone");
            } else if row.bool("intact")? || (action == "move_to_archive" && !row.bool("present")?) {
                batch.push((last, target, action));
            } else {
                report.changed_since += 1;
                list(&mut report, target, action, "changed since: left alone");
            }
        }
        if dry_run {
            for (_, target, action) in batch {
                report.restored += 1;
                list(&mut report, target, action, "would be restored");
            }
        } else if !batch.is_empty() {
            restore(start, &mapping, &mut report, &batch)?;
        }
        if rows.len() < 1_000 {
            break;
        }
    }
    known |= settings(start, &mut report, &only)?;
    known |= generators(start, &mapping, &mut report, &only)?;
    if !known {
        return Err(Error::Refused {
            message: format!(
                "the journal has no change of run {run}{}",
                if only.is_empty() { "" } else { " by these checks" }
            ),
            hint: "`healer report health` lists the runs".into(),
        });
    }
    if report.changed_since > 0 {
        report.status = "partial";
    }
    finish(start, &report)?;
    Ok(report)
}

/// Takes back what a run changed in healer's own settings, all in one transaction. Whether it changed any.
fn settings(start: &mut Start, report: &mut UndoReport, only: &[&str]) -> Result<bool, Error> {
    start.session.begin(Access::ReadOnly, "")?;
    let rows = start.session.rows(
        &statement::UNDO_SETTINGS_PLAN.fill(&Names::default()),
        &[Param::Int(report.undoes), Param::Texts(only)],
    )?;
    start.session.rollback();
    let mut intact = Vec::new();
    for row in &rows {
        let (id, target, action) = (row.int("action_id")?, row.text("target")?, row.text("action")?);
        if row.bool("undone")? {
            report.undone_before += 1;
            list(report, target, action, "taken back before");
        } else if row.bool("intact")? {
            intact.push((id, target, action));
        } else {
            report.changed_since += 1;
            list(report, target, action, "changed since: left alone");
        }
    }
    let mut done = std::collections::HashSet::new();
    if !report.dry_run && !intact.is_empty() {
        let undo = match report.run_id {
            Some(undo) => undo,
            None => *report.run_id.insert(open(start, report.undoes)?),
        };
        let ids: Vec<i64> = intact.iter().map(|(id, _, _)| *id).collect();
        start.session.begin(Access::ReadWrite, "")?;
        let restored = start
            .session
            .rows(&statement::UNDO_SETTINGS.fill(&Names::default()), &[Param::Ints(&ids), Param::Int(undo)])?;
        start.session.commit()?;
        for row in &restored {
            done.insert(row.text("id")?);
        }
    }
    for (_, target, action) in intact {
        if report.dry_run || done.contains(&target) {
            report.restored += 1;
            list(report, target, action, if report.dry_run { "would be restored" } else { "restored" });
        } else {
            report.changed_since += 1;
            list(report, target, action, "changed since: left alone");
        }
    }
    Ok(!rows.is_empty())
}

/// Takes back the generator weights that a run changed: all of them, or none, because their sum is what counts. What
/// later runs of healer made of them is taken back with them. Whether the run changed any.
fn generators(start: &mut Start, mapping: &Mapping, report: &mut UndoReport, only: &[&str]) -> Result<bool, Error> {
    let tables = Tables::find(start.settings(), &start.catalog, mapping)?;
    let session = &mut start.session;
    let found = if tables.weights.is_readable() {
        session.begin(Access::ReadOnly, "")?;
        let found = weights::journalled(session, &tables.names, report.undoes, only)?;
        session.rollback();
        found
    } else {
        Vec::new()
    };
    let (before, group): (Vec<_>, Vec<_>) = found.iter().partition(|change| change.undone);
    for change in before {
        report.undone_before += 1;
        list(report, change.target.clone(), change.action.clone(), "taken back before");
    }
    let intact = group.iter().all(|change| change.intact);
    let done = if group.is_empty() || !intact || report.dry_run {
        intact
    } else {
        let undo = match report.run_id {
            Some(undo) => undo,
            None => *report.run_id.insert(open(start, report.undoes)?),
        };
        start.session.check_stop()?;
        weights::take_back(&mut start.session, &tables.names, &group, undo)?
    };
    for change in &group {
        let outcome = match (done, report.dry_run, change.intact) {
            (true, true, _) => "would be restored",
            (true, false, _) => "restored",
            (false, _, true) => "another weight of its group changed since: left alone",
            (false, _, false) => "changed since: left alone",
        };
        if done {
            report.restored += 1;
        } else {
            report.changed_since += 1;
        }
        list(report, change.target.clone(), change.action.clone(), outcome);
    }
    let weights_moved = |item: &Item| item.action.ends_with("change_setting") && item.target.starts_with("content.");
    if !report.dry_run && report.run_id.is_some() && (!group.is_empty() || report.items.iter().any(weights_moved)) {
        weights::note_undo(&mut start.session, &tables.names)?;
    }
    Ok(!found.is_empty())
}

fn list(report: &mut UndoReport, target: String, action: String, outcome: &'static str) {
    if report.items.len() < LISTED {
        report.items.push(Item { target, action, outcome });
    } else {
        report.truncated = true;
    }
}

fn restore(
    start: &mut Start,
    mapping: &Mapping,
    report: &mut UndoReport,
    batch: &[(i64, String, String)],
) -> Result<(), Error> {
    let undo = match report.run_id {
        Some(undo) => undo,
        None => *report.run_id.insert(open(start, report.undoes)?),
    };
    let size = start.settings().database.batch as usize;
    for part in batch.chunks(size) {
        start.session.check_stop()?;
        let mut done = std::collections::HashSet::new();
        start.session.begin(Access::ReadWrite, "")?;
        for archived in [false, true] {
            let ids: Vec<i64> = part
                .iter()
                .filter(|(_, _, action)| (action == "move_to_archive") == archived)
                .map(|(id, _, _)| *id)
                .collect();
            if ids.is_empty() {
                continue;
            }
            let template = if archived { statement::UNDO_ARCHIVE } else { statement::UNDO };
            let rows = start.session.rows(&template.fill(&mapping.names), &[Param::Ints(&ids), Param::Int(undo)])?;
            for row in &rows {
                done.insert(row.text("id")?);
            }
        }
        start.session.commit()?;
        for (_, target, action) in part {
            if done.contains(target) {
                report.restored += 1;
                list(report, target.clone(), action.clone(), "restored");
            } else {
                report.changed_since += 1;
                list(report, target.clone(), action.clone(), "changed since: left alone");
            }
        }
    }
    Ok(())
}

fn open(start: &mut Start, undoes: i64) -> Result<i64, Error> {
    let session = &mut start.session;
    session.begin(Access::ReadWrite, "")?;
    let run = session
        .row(
            &statement::RUN_START.fill(&Names::default()),
            &[
                Param::Text("undo"),
                Param::Text(&format!("undo {undoes}")),
                Param::Text(env!("CARGO_PKG_VERSION")),
                Param::Text(&lease::holder()),
                Param::Int(undoes),
            ],
        )?
        .int("run")?;
    session.commit()?;
    Ok(run)
}

fn finish(start: &mut Start, report: &UndoReport) -> Result<(), Error> {
    let Some(run) = report.run_id else { return Ok(()) };
    let counts = serde_json::json!({
        "planned": report.restored + report.changed_since,
        "applied": report.restored,
        "skipped": report.changed_since,
        "failed": 0, "held": report.restored, "remaining": 0,
    });
    record(start, run, report.status, if report.changed_since > 0 { 3 } else { 0 }, &counts)
}

/// Closes the record of a run that has no lease.
pub(super) fn record(
    start: &mut Start,
    run: i64,
    status: &str,
    exit_code: i64,
    counts: &serde_json::Value,
) -> Result<(), Error> {
    let session = &mut start.session;
    session.begin(Access::ReadWrite, "")?;
    session.rows(
        &statement::RUN_FINISH.fill(&Names::default()),
        &[
            Param::Int(run),
            Param::Text(status),
            Param::Int(exit_code),
            Param::Text(&counts.to_string()),
            Param::Text("[]"),
            Param::Bool(false),
            Param::Text(""),
            // No lease is held: no token matches this one.
            Param::Text("none"),
        ],
    )?;
    session.commit()
}
