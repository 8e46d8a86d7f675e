//! `healer undo RUN`: brings back what a run changed, where the post still holds what healer wrote.
//!
//! A post that somebody changed since is left alone and listed. What was undone is held, so that the next pass does
//! not do it again; a rescue that was undone does not count against the post.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::batch::{Answer, answer};
use super::{lease, weights};
use crate::database::session::{Access, Param, Session};
use crate::database::statement::{self, Names};
use crate::error::Error;
use crate::optimize::content::tables::Tables;
use crate::posts::evidence::{Fact, Kind, Ledgers};
use crate::posts::mapping::Mapping;
use crate::posts::verdict::possibly_live;
use crate::report::model::SCHEMA_VERSION;
use crate::start::Start;

/// Why a post is not queued by taking an undo back.
const SENT: &str = "a ledger shows it as sent or begun, or cannot be read: left alone";

/// Why a change is not taken back.
const CHANGED: &str = "changed since, or somebody holds it: left alone";

/// One change to be taken back.
#[derive(Debug, Clone)]
struct Step {
    id: i64,
    target: String,
    action: String,
    /// Whether taking it back queues the post.
    queues: bool,
}

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
    pub outcome: Cow<'static, str>,
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
    let taken_back = take_back(start, &mapping, &mut report, &only);
    let known = match taken_back {
        Ok(known) => known,
        Err(error) => {
            // What was restored before it stopped stands, and the run says so.
            if let Some(run) = report.run_id {
                log::warn!(target: "healer", "undo run {run} stopped after {} changes were restored", report.restored);
                crate::pass::recover_session(start, run, &error);
                if let Err(failure) = record(start, run, "failed", i64::from(error.exit_code()), &counts(&report)) {
                    log::error!(target: "healer", "undo run {run} could not be recorded: {failure}");
                }
            }
            return Err(error);
        }
    };
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
    if let Some(run) = report.run_id {
        let exit_code = if report.changed_since > 0 { 3 } else { 0 };
        record(start, run, report.status, exit_code, &counts(&report))?;
    }
    Ok(report)
}

/// Takes back the changes of posts, settings and weights. Whether the run had changed any.
fn take_back(start: &mut Start, mapping: &Mapping, report: &mut UndoReport, only: &[&str]) -> Result<bool, Error> {
    let ledgers = Ledgers::find(start.settings(), &start.catalog, mapping)?;
    let (mut last, mut known) = (0_i64, false);
    loop {
        start.session.check_stop()?;
        start.session.begin(Access::ReadOnly, "")?;
        let rows = start.session.rows(
            &statement::UNDO_PLAN.fill(&mapping.names),
            &[Param::Int(report.undoes), Param::Texts(only), Param::Int(last)],
        )?;
        let mut steps = Vec::new();
        for row in &rows {
            known = true;
            last = row.int("action_id")?;
            let step = Step {
                id: last,
                target: row.text("target")?,
                action: row.text("action")?,
                queues: row.bool("queues")?,
            };
            if row.bool("undone")? {
                report.undone_before += 1;
                list(report, step.target, step.action, "taken back before");
            } else if row.bool("intact")? || (step.action == "move_to_archive" && !row.bool("present")?) {
                steps.push(step);
            } else {
                report.changed_since += 1;
                list(report, step.target, step.action, CHANGED);
            }
        }
        // Taking back an undo can queue a post: never one that a ledger shows as sent by now, or begun.
        let sent = sent_by_now(&mut start.session, &ledgers, steps.iter().filter(|step| step.queues))?;
        start.session.rollback();
        let (left, steps): (Vec<Step>, Vec<Step>) =
            steps.into_iter().partition(|step| step.queues && sent.contains(&step.target));
        for step in left {
            report.changed_since += 1;
            list(report, step.target, step.action, SENT);
        }
        if report.dry_run {
            for step in steps {
                report.restored += 1;
                list(report, step.target, step.action, "would be restored");
            }
        } else if !steps.is_empty() {
            restore(start, mapping, &ledgers, report, &steps)?;
        }
        if rows.len() < 1_000 {
            break;
        }
    }
    known |= settings(start, report, only)?;
    known |= generators(start, mapping, report, only)?;
    Ok(known)
}

/// The posts of `steps` that a ledger shows as sent or begun; all of them where a ledger cannot be read.
fn sent_by_now<'a>(
    session: &mut Session,
    ledgers: &Ledgers,
    steps: impl Iterator<Item = &'a Step>,
) -> Result<HashSet<String>, Error> {
    let posts: Vec<&str> = steps.map(|step| step.target.as_str()).collect();
    if posts.is_empty() {
        return Ok(HashSet::new());
    }
    if ledgers.unreadable().next().is_some() {
        return Ok(posts.into_iter().map(str::to_owned).collect());
    }
    // No bound on the events: how old the posts are is not known here.
    let facts = ledgers.read(session, &posts, Some(chrono::DateTime::UNIX_EPOCH))?;
    let tells = |fact: &Fact| match fact.kind {
        Kind::Sent | Kind::SentWithoutId | Kind::Open => true,
        Kind::Failed => fact.note.as_deref().is_some_and(possibly_live),
        _ => false,
    };
    Ok(facts.into_iter().filter(|(_, facts)| facts.iter().any(tells)).map(|(post, _)| post).collect())
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
    let mut done = HashSet::new();
    if !report.dry_run && !intact.is_empty() {
        let undo = opened(start, report)?;
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
        let undo = opened(start, report)?;
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

fn list(report: &mut UndoReport, target: String, action: String, outcome: impl Into<Cow<'static, str>>) {
    if report.items.len() < LISTED {
        report.items.push(Item { target, action, outcome: outcome.into() });
    } else {
        report.truncated = true;
    }
}

/// Takes back steps in batches, each in one transaction with its journal.
fn restore(
    start: &mut Start,
    mapping: &Mapping,
    ledgers: &Ledgers,
    report: &mut UndoReport,
    steps: &[Step],
) -> Result<(), Error> {
    let run = opened(start, report)?;
    let size = start.settings().database.batch as usize;
    for part in steps.chunks(size) {
        let mut work = Restoring { start: &mut *start, mapping, ledgers, run, outcomes: HashMap::new() };
        let ended = work.part(part, true);
        let outcomes = work.outcomes;
        for step in part {
            // What was not reached before an error stays as it was, and is not told as anything.
            let Some(outcome) = outcomes.get(&step.id) else { continue };
            if outcome == RESTORED {
                report.restored += 1;
            } else {
                report.changed_since += 1;
            }
            list(report, step.target.clone(), step.action.clone(), outcome.clone());
        }
        ended?;
    }
    Ok(())
}

/// What stands beside a change that was taken back.
const RESTORED: &str = "restored";

/// One batch at work: what the database refuses is narrowed down to the rows that it refuses.
struct Restoring<'a> {
    start: &'a mut Start,
    mapping: &'a Mapping,
    ledgers: &'a Ledgers,
    run: i64,
    /// By journal row.
    outcomes: HashMap<i64, Cow<'static, str>>,
}

impl Restoring<'_> {
    fn part(&mut self, steps: &[Step], may_retry: bool) -> Result<(), Error> {
        self.start.session.check_stop()?;
        let error = match self.transaction(steps) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if error.connection_lost() {
            return Err(error);
        }
        self.start.session.rollback();
        match answer(error.sqlstate()) {
            Answer::Retry if may_retry => self.part(steps, false),
            Answer::Retry | Answer::Halve | Answer::Bisect if steps.len() > 1 => {
                let (left, right) = steps.split_at(steps.len() / 2);
                self.part(left, true)?;
                self.part(right, true)
            }
            Answer::GiveUp if error.stops_the_pass() => Err(error),
            _ => {
                log::warn!(target: "healer", "undo: {error}");
                for step in steps {
                    self.outcomes.insert(step.id, format!("refused: {error}").into());
                }
                Ok(())
            }
        }
    }

    fn transaction(&mut self, steps: &[Step]) -> Result<(), Error> {
        let mut sent = HashSet::new();
        loop {
            let session = &mut self.start.session;
            session.begin(Access::ReadWrite, "")?;
            let mut done = HashSet::new();
            for archived in [false, true] {
                let ids: Vec<i64> = steps
                    .iter()
                    .filter(|step| (step.action == "move_to_archive") == archived && !sent.contains(&step.target))
                    .map(|step| step.id)
                    .collect();
                if ids.is_empty() {
                    continue;
                }
                let template = if archived { statement::UNDO_ARCHIVE } else { statement::UNDO };
                let rows =
                    session.rows(&template.fill(&self.mapping.names), &[Param::Ints(&ids), Param::Int(self.run)])?;
                for row in &rows {
                    done.insert(row.text("id")?);
                }
            }
            // Asked again with the rows locked: a receipt may have come since the plan was made.
            let queued = steps.iter().filter(|step| step.queues && done.contains(&step.target));
            let late = sent_by_now(session, self.ledgers, queued)?;
            if !late.is_empty() {
                session.rollback();
                sent.extend(late);
                continue;
            }
            session.commit()?;
            for step in steps {
                let outcome = match (done.contains(&step.target), sent.contains(&step.target)) {
                    (true, _) => RESTORED,
                    (false, true) => SENT,
                    (false, false) => CHANGED,
                };
                self.outcomes.insert(step.id, outcome.into());
            }
            return Ok(());
        }
    }
}

/// The run of this undo, whose record is opened with the first change.
fn opened(start: &mut Start, report: &mut UndoReport) -> Result<i64, Error> {
    match report.run_id {
        Some(run) => Ok(run),
        None => Ok(*report.run_id.insert(open(start, report.undoes)?)),
    }
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

fn counts(report: &UndoReport) -> serde_json::Value {
    serde_json::json!({
        "planned": report.restored + report.changed_since,
        "applied": report.restored,
        "skipped": report.changed_since,
        "failed": 0, "held": report.restored, "remaining": 0,
    })
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
