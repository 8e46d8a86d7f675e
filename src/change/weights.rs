//! Weights of generators, formats and hours: changed all together in one transaction, or not at all, and taken back.
//!
//! The weights of generators are one group: their sum is what counts, so one that somebody has changed since it was seen
//! keeps all of them as they are. Formats and hours are one setting each. With every change, and with every undo, the
//! weights in force are noted in `healer.content_weights`: from then on posts are chosen by them.

use serde_json::Value;

use super::lease::Lease;
use super::setting::{self, SettingChange};
use crate::database::session::{Access, Param, Row, Session};
use crate::database::statement::{self, Names};
use crate::error::Error;

/// The check under which generators are journalled.
pub const GENERATORS: &str = "generators";
/// The type of all these changes in the journal.
pub const TYPE: &str = "weight_update";

/// A row of the weights table as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenWeight {
    /// Its name.
    pub name: String,
    /// Its weight as stored; `None` for NULL.
    pub weight: Option<String>,
    /// Its status.
    pub status: Option<String>,
    /// Whether a person has locked it.
    pub locked: bool,
}

/// One weight that moves.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightChange {
    /// The generator.
    pub name: String,
    /// Its new weight, as it is to be stored.
    pub weight: String,
    /// Its new status, if that changes.
    pub status: Option<&'static str>,
    /// Why.
    pub reason: String,
    /// What it stands on.
    pub evidence: Value,
}

/// All that a run changes.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// The whole weights table as it was seen.
    pub seen: Vec<SeenWeight>,
    /// The generators that move; empty where none does.
    pub generators: Vec<WeightChange>,
    /// Settings (formats, hours) that move, each with its check.
    pub settings: Vec<(&'static str, SettingChange)>,
    /// The weights of formats, and of hours, from which the first step goes where none are stored yet; else null.
    pub begin: [Value; 2],
    /// What is kept beside them and is not journalled: name and JSON.
    pub kept: Vec<(&'static str, Value)>,
}

/// No weights to begin from.
const NOTHING: [Value; 2] = [Value::Null, Value::Null];

/// What became of a part of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing of it was to change.
    Unchanged,
    /// Done and journalled.
    Applied,
    /// Somebody changed it meanwhile: left alone.
    Skipped,
    /// The database refused it: why.
    Failed(String),
}

/// What became of the whole group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The generators.
    pub generators: Outcome,
    /// The checks whose settings were changed.
    pub settings: Vec<&'static str>,
}

/// Notes the weights that are in force, where they are others than those noted last; in the running transaction.
fn note(session: &mut Session, names: &Names, run: i64, begin: &[Value; 2]) -> Result<(), Error> {
    let begin = begin.each_ref().map(|weights| if weights.is_null() { String::new() } else { weights.to_string() });
    let params = [Param::Int(run), Param::Text(&begin[0]), Param::Text(&begin[1])];
    session.rows(&statement::WEIGHTS_RECORD.fill(names), &params).map(|_| ())
}

/// Changes everything in one transaction. Where the generators cannot be changed, the rest is, in another one. What is
/// kept is given once it is known what was applied.
pub fn apply(
    session: &mut Session,
    names: &Names,
    lease: &Lease,
    group: &Group,
    kept: impl Fn(bool) -> Vec<(&'static str, Value)>,
) -> Result<Applied, Error> {
    let mut outcome = if group.generators.is_empty() { Outcome::Unchanged } else { Outcome::Applied };
    loop {
        session.check_stop()?;
        lease.begin_batch(session)?;
        let with_generators = outcome == Outcome::Applied;
        let refused = match all(session, names, lease, group, with_generators, &kept(with_generators)) {
            Ok(Some(settings)) => {
                session.commit()?;
                return Ok(Applied { generators: outcome, settings });
            }
            Ok(None) => Outcome::Skipped,
            Err(error) if error.stops_the_pass() || !with_generators => {
                return Err(error);
            }
            Err(error) => Outcome::Failed(error.to_string()),
        };
        session.rollback();
        outcome = refused;
    }
}

/// One attempt, in the running transaction: the checks whose settings were changed, or `None` where the generators are
/// no longer what was seen.
fn all(
    session: &mut Session,
    names: &Names,
    lease: &Lease,
    group: &Group,
    with_generators: bool,
    kept: &[(&'static str, Value)],
) -> Result<Option<Vec<&'static str>>, Error> {
    // What somebody else has changed since the last run is noted before it is moved on.
    note(session, names, -1, &group.begin)?;
    if with_generators && !generators(session, names, lease, group)? {
        return Ok(None);
    }
    let mut changed = Vec::new();
    for (check, change) in &group.settings {
        if !setting::write(session, lease, check, TYPE, std::slice::from_ref(change))?.is_empty() {
            changed.push(*check);
        }
    }
    note(session, names, lease.run, &NOTHING)?;
    for (name, value) in group.kept.iter().chain(kept) {
        session.rows(&statement::REMEMBER.fill(names), &[Param::Text(name), Param::Text(&value.to_string())])?;
    }
    Ok(Some(changed))
}

/// Changes the generators, if the whole table still is what was seen. Whether it was.
fn generators(session: &mut Session, names: &Names, lease: &Lease, group: &Group) -> Result<bool, Error> {
    let rows = session.rows(&statement::WEIGHTS_LOCK.fill(names), &[])?;
    if rows.iter().map(seen).collect::<Result<Vec<_>, _>>()? != group.seen {
        return Ok(false);
    }
    let changes = &group.generators;
    let of: Vec<&str> = changes.iter().map(|change| change.name.as_str()).collect();
    let new: Vec<&str> = changes.iter().map(|change| change.weight.as_str()).collect();
    let old: Vec<Option<&str>> = changes
        .iter()
        .map(|change| group.seen.iter().find(|seen| seen.name == change.name)?.weight.as_deref())
        .collect();
    let status: Vec<&str> = changes.iter().map(|change| change.status.unwrap_or_default()).collect();
    let reasons: Vec<&str> = changes.iter().map(|change| change.reason.as_str()).collect();
    let evidence: Vec<String> = changes.iter().map(|change| change.evidence.to_string()).collect();
    let evidence: Vec<&str> = evidence.iter().map(String::as_str).collect();
    let done = session.rows(
        &statement::WEIGHTS.fill(names),
        &[
            Param::Texts(&of),
            Param::Texts(&new),
            Param::OptionalTexts(&old),
            Param::Texts(&status),
            Param::Texts(&reasons),
            Param::Texts(&evidence),
            Param::Int(lease.run),
        ],
    )?;
    Ok(done.len() == changes.len())
}

/// A row of the weights table.
pub fn seen(row: &Row) -> Result<SeenWeight, Error> {
    Ok(SeenWeight {
        name: row.text("name")?,
        weight: row.optional_text("weight_text")?,
        status: row.optional_text("status")?,
        locked: row.bool("locked")?,
    })
}

/// A change of generators in the journal, as `undo` finds it.
#[derive(Debug, Clone)]
pub struct Journalled {
    /// Its row, and those of later runs that moved the same generator on.
    pub ids: Vec<i64>,
    /// The generator.
    pub target: String,
    /// What was done.
    pub action: String,
    /// Whether it was taken back before.
    pub undone: bool,
    /// Whether the generator holds what healer wrote last.
    pub intact: bool,
}

/// The generators that a run changed.
pub fn journalled(session: &mut Session, names: &Names, run: i64, only: &[&str]) -> Result<Vec<Journalled>, Error> {
    let rows = session.rows(&statement::UNDO_WEIGHTS_PLAN.fill(names), &[Param::Int(run), Param::Texts(only)])?;
    rows.iter()
        .map(|row| {
            Ok(Journalled {
                ids: row.ints("ids")?,
                target: row.text("target")?,
                action: row.text("action")?,
                undone: row.bool("undone")?,
                intact: row.bool("intact")?,
            })
        })
        .collect()
}

/// Takes a group of generators back, all of them or none. Whether it was done.
pub fn take_back(session: &mut Session, names: &Names, group: &[&Journalled], undo: i64) -> Result<bool, Error> {
    let ids: Vec<i64> = group.iter().flat_map(|change| change.ids.iter().copied()).collect();
    session.begin(Access::ReadWrite, "")?;
    let before = active_sum(session, names)?;
    let restored = session.rows(&statement::UNDO_WEIGHTS.fill(names), &[Param::Ints(&ids), Param::Int(undo)])?;
    // A generator outside the group that somebody moved since would leave a sum that is not 1.
    let breaks = (before - 1.0).abs() < SUM_TOLERANCE && (active_sum(session, names)? - 1.0).abs() >= SUM_TOLERANCE;
    if restored.len() != group.len() || breaks {
        session.rollback();
        return Ok(false);
    }
    session.commit()?;
    Ok(true)
}

/// Below the last digit of a weight.
const SUM_TOLERANCE: f64 = 5e-5;

/// Locks the weights, and sums those of active generators.
fn active_sum(session: &mut Session, names: &Names) -> Result<f64, Error> {
    let mut sum = 0.0;
    for row in session.rows(&statement::WEIGHTS_LOCK.fill(names), &[])? {
        let seen = seen(&row)?;
        if seen.status.as_deref() == Some("active") {
            sum += seen.weight.and_then(|weight| weight.parse().ok()).unwrap_or(0.0);
        }
    }
    Ok(sum)
}

/// Notes the weights that are in force after an undo.
pub fn note_undo(session: &mut Session, names: &Names) -> Result<(), Error> {
    session.begin(Access::ReadWrite, "")?;
    note(session, names, -1, &NOTHING)?;
    session.commit()
}
