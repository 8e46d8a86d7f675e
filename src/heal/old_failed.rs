//! `old-failed`: posts whose status became failed long ago.
//!
//! Archives them by setting the status `archived`, or, where that is switched on, by moving the whole row to
//! `healer.archived_post`. Never deletes, and never archives what may be live (an error after the submit), what a
//! ledger knows as sent, what is held or waits for its id: these it lists.
//! Limits: the age counts from the last change of the row, so any other change starts it again.

use chrono::{DateTime, Utc};

use super::{Check, CheckResult, Room, Shared, Status, doubt, held_code, listed_ids, orphan_id, stream, with_ledgers};
use crate::change::plan::{Action, Change, Outcome, Plan};
use crate::database::session::{Access as Transaction, Row, Session};
use crate::database::statement;
use crate::error::Error;
use crate::posts::evidence::{Access, Fact, Kind, Ledger};
use crate::posts::mapping::Mapping;
use crate::posts::verdict::{self, Judgement, Subject, Trust, Verdict};
use crate::settings::{ArchiveTo, Settings};

/// The check.
pub struct OldFailed;

/// Posts that are listed by name in the result.
const EXAMPLES: usize = 5;

/// One old failed post, as read.
#[derive(Debug, Clone, Default)]
pub struct Candidate {
    /// Its id.
    pub id: String,
    /// When its row last changed.
    pub changed_at: Option<DateTime<Utc>>,
    /// The earliest time at which a ledger can know it.
    pub first_time: Option<DateTime<Utc>>,
    /// Its external id as it stands in the row.
    pub external_id: Option<String>,
    /// Whether that is a real one.
    pub real: bool,
    /// An id saved aside.
    pub orphan: Option<String>,
    /// The ids of its parts, as text.
    pub thread_ids: Option<String>,
    /// How many parts it has.
    pub parts: Option<i64>,
    /// A mark of the application that something was not saved.
    pub flag: Option<String>,
    /// Its last error.
    pub error: Option<String>,
    /// All that the row says of having been sent, as one number.
    pub marks: i64,
}

impl Candidate {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.text("id")?,
            changed_at: row.optional_time("changed_at")?,
            first_time: row.optional_time("first_time")?,
            external_id: row.optional_text("external_id")?,
            real: row.bool("real")?,
            orphan: row.optional_text("orphan")?,
            thread_ids: row.optional_text("thread_ids")?,
            parts: row.optional_int("parts")?,
            flag: row.optional_text("flag")?,
            error: row.optional_text("error")?,
            marks: row.int("marks")?,
        })
    }
}

/// What an old failed post calls for.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It is put away.
    Archive(Judgement),
    /// A ledger knows it as sent: listed.
    Sent(String),
    /// It may be live: listed.
    PossiblyLive(String),
    /// It is held, or waits for its id, or a ledger cannot be read: kept.
    Kept,
}

/// Decides on one old failed post. Pure.
pub fn judge(candidate: &Candidate, facts: &[Fact], ledgers: &[Ledger]) -> Decision {
    if held_code(facts).is_some() || facts.iter().any(|fact| fact.kind == Kind::Waiting) {
        return Decision::Kept;
    }
    let (listed_parts, _) = listed_ids(candidate.thread_ids.as_deref());
    let subject = Subject {
        own_id: candidate.external_id.as_deref().filter(|_| candidate.real),
        orphan: orphan_id(candidate.orphan.as_deref()),
        parts: candidate.parts,
        listed_parts,
        listed_id: None,
        doubt: doubt(
            candidate.external_id.as_deref(),
            candidate.real,
            candidate.orphan.as_deref(),
            candidate.flag.as_deref(),
        ),
        marks: candidate.marks,
    };
    let judgement = verdict::judge(&subject, facts, ledgers, Trust::NOBODY);
    if judgement.verdict == Verdict::Posted {
        return Decision::Sent(judgement.words);
    }
    if listed_parts.is_some_and(|count| count > 0) {
        return Decision::PossiblyLive("the row lists ids of its parts".into());
    }
    if ledgers.iter().any(|ledger| ledger.access != Access::Readable) {
        return Decision::Kept;
    }
    if judgement.verdict == Verdict::Uncertain {
        return Decision::PossiblyLive(judgement.words);
    }
    match candidate.error.as_deref() {
        Some(error) if verdict::possibly_live(error) => {
            let short: String = error.chars().take(100).map(|c| if c.is_control() { ' ' } else { c }).collect();
            Decision::PossiblyLive(format!("its error: {short}"))
        }
        _ => Decision::Archive(judgement),
    }
}

impl Check for OldFailed {
    fn name(&self) -> &'static str {
        "old-failed"
    }

    fn enabled(&self, settings: &Settings) -> bool {
        settings.heal.old_failed.enabled
    }

    fn run(&self, room: &mut Room<'_>, plan: &mut Plan) -> Result<CheckResult, Error> {
        if !room.mapping.has_changed_at {
            let mut result = CheckResult::new(
                self.name(),
                Status::Unknown,
                None,
                "no column tells when a post became failed, and the time of its creation does not count".into(),
            );
            result.details.push("set posts.updated_at in healer.toml".into());
            return Ok(result);
        }
        let way = how(room)?;
        let mut ordered = true;
        with_ledgers(room, plan, |room, plan| match detect(room, plan, &way, ordered) {
            // Sorting is for reading alone: a batch is ordered before it locks. Without it the first rows come at once.
            Err(error) if ordered && error.sqlstate() == Some("57014") => {
                ordered = false;
                let length = plan.actions.iter().take_while(|action| action.check != "old-failed").count();
                plan.reset(length, plan.overflow);
                detect(room, plan, &way, ordered)
            }
            other => other,
        })
    }
}

/// In which way posts can be archived here.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    Status,
    Table,
    /// Not at all: why, and the SQL that would allow it.
    Refused {
        why: String,
        remedy: String,
        configured: bool,
    },
}

fn how(room: &mut Room<'_>) -> Result<Way, Error> {
    match room.settings.heal.old_failed.archive_to {
        ArchiveTo::Status => status_way(room.session, room.settings, room.mapping),
        ArchiveTo::Table => Ok(table_way(room.mapping)),
    }
}

fn table_way(mapping: &Mapping) -> Way {
    let posts = &mapping.posts;
    let refuse = |why: String, remedy: &str| Way::Refused { why, remedy: remedy.into(), configured: true };
    if posts.kind != "r" {
        return refuse(format!("{} is no plain table", posts.quoted), "set heal.old-failed.archive_to = \"status\"");
    }
    if let Some(key) = posts.incoming_keys.first() {
        return refuse(
            format!("the foreign key {key} points to {}: moving a post would touch other rows", posts.quoted),
            "set heal.old-failed.archive_to = \"status\"",
        );
    }
    if let Some(trigger) = posts.triggers.iter().find(|trigger| trigger.on_delete) {
        return refuse(
            format!("the trigger {} fires when a row of {} is deleted", trigger.name, posts.quoted),
            "set heal.old-failed.archive_to = \"status\"",
        );
    }
    if let Some(column) = posts.columns.iter().find(|column| !column.may_select) {
        return refuse(
            format!("column {} cannot be read, so the row cannot be kept whole", column.name),
            "grant SELECT",
        );
    }
    Way::Table
}

/// Whether the status column takes the word for archived: its enum, and every CHECK on it alone, asked themselves.
fn status_way(session: &mut Session, settings: &Settings, mapping: &Mapping) -> Result<Way, Error> {
    let names = &mapping.names;
    let word = names.get("archived").unwrap_or_default().to_owned();
    if !mapping.archived_label {
        let kind = names.get("status_type").unwrap_or_default();
        return Ok(Way::Refused {
            why: format!("the enum {kind} has no label {word}"),
            remedy: format!("ALTER TYPE {kind} ADD VALUE {word};"),
            configured: false,
        });
    }
    for check in &mapping.posts.checks {
        if check.columns.as_deref() != Some(std::slice::from_ref(&settings.posts.status)) {
            continue;
        }
        session.begin(Transaction::ReadOnly, "")?;
        let asked = statement::STATUS_ALLOWED
            .fill(&names.with("expression", check.expression.clone()).with("word", word.clone()));
        if !session.row(&asked, &[])?.bool("allowed")? {
            return Ok(Way::Refused {
                why: format!("the constraint {} does not allow the status {word}", check.name),
                remedy: format!(
                    "ALTER TABLE {0} DROP CONSTRAINT {1}, ADD CONSTRAINT {1} CHECK (({2}) OR {3} = {word});",
                    mapping.posts.base,
                    check.quoted,
                    check.expression,
                    names.get("status").unwrap_or_default()
                ),
                configured: false,
            });
        }
    }
    Ok(Way::Status)
}

/// What was counted while reading.
#[derive(Default)]
struct Tally {
    found: u64,
    archive: u64,
    kept: u64,
    sent: u64,
    live: u64,
    examples: Vec<String>,
}

impl Tally {
    fn list(&mut self, id: &str, why: &str) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(format!("{id}: {why}"));
        }
    }
}

fn detect(room: &mut Room<'_>, plan: &mut Plan, way: &Way, ordered: bool) -> Result<CheckResult, Error> {
    let ledgers = &*room.ledgers;
    let settings = &room.settings.heal.old_failed;
    let order = format!("ORDER BY p.{}", room.mapping.names.get("id").unwrap_or_default());
    let names = room.mapping.names.with("order", if ordered { order } else { String::new() });
    let limit = room.max_actions.map_or(settings.limit, |given| given.min(settings.limit));
    let mut tally = Tally::default();
    let mut shared = Shared::default();
    let left = stream(room.session, statement::OLD_FAILED, &names, |session, rows| {
        let candidates: Vec<Candidate> = rows.iter().map(Candidate::read).collect::<Result<_, _>>()?;
        let ids: Vec<&str> = candidates.iter().map(|candidate| candidate.id.as_str()).collect();
        let oldest = candidates.iter().filter_map(|candidate| candidate.first_time).min();
        let facts = ledgers.read(session, &ids, oldest)?;
        for candidate in candidates {
            tally.found += 1;
            let of_post = facts.get(&candidate.id).map_or(&[] as &[Fact], Vec::as_slice);
            match judge(&candidate, of_post, &ledgers.all) {
                Decision::Kept => tally.kept += 1,
                Decision::Sent(why) => {
                    tally.sent += 1;
                    tally.list(&candidate.id, &format!("known as sent ({why})"));
                }
                Decision::PossiblyLive(why) => {
                    tally.live += 1;
                    tally.list(&candidate.id, &format!("possibly live ({why})"));
                }
                Decision::Archive(judgement) => {
                    tally.archive += 1;
                    let change = match way {
                        Way::Status => Change::Archive,
                        Way::Table => Change::MoveToArchive,
                        Way::Refused { .. } => continue,
                    };
                    if tally.archive > u64::from(limit) {
                        continue;
                    }
                    let why = shared.of(&judgement, &format!("failed more than {} ago", settings.after));
                    plan.add(Action {
                        check: "old-failed",
                        change,
                        seen: candidate.changed_at,
                        marks: candidate.marks,
                        values: None,
                        first_time: candidate.first_time,
                        target: candidate.id.into_boxed_str(),
                        code: "archive",
                        known: false,
                        why,
                        outcome: Outcome::Planned,
                    });
                }
            }
        }
        Ok(tally.archive <= u64::from(limit))
    })?;
    Ok(summarise(&tally, left, u64::from(limit), way, room.settings))
}

fn summarise(tally: &Tally, left: u64, limit: u64, way: &Way, settings: &Settings) -> CheckResult {
    let after = settings.heal.old_failed.after;
    let found = tally.found + left;
    let archivable = tally.archive;
    let mut summary = if found == 0 {
        format!("no post has been failed for more than {after}")
    } else {
        format!("{found} failed for more than {after}: {} to archive", archivable.min(limit))
    };
    for (number, what) in
        [(tally.sent, "known as sent"), (tally.live, "possibly live"), (tally.kept, "held or not to be judged")]
    {
        if number > 0 {
            summary.push_str(&format!(", {number} {what}"));
        }
    }
    let remaining = archivable.saturating_sub(limit) + left;
    if remaining > 0 {
        summary.push_str(&format!(", {remaining} left for the next runs"));
    }
    let status = if tally.sent + tally.live > 0 { Status::Warning } else { Status::Ok };
    let mut result = CheckResult::new("old-failed", status, Some(found), summary);
    result.remaining = remaining;
    result.details.append(&mut tally.examples.clone());
    if let Way::Refused { why, remedy, configured } = way
        && (archivable > 0 || *configured)
    {
        result.summary = format!("{found} failed for more than {after}, none archived: {why}");
        result.details.push(format!("to allow it: {remedy}"));
        result.status = Status::Warning;
        result.incomplete = *configured;
        result.remaining = 0;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(kind: Kind) -> Fact {
        Fact { ledger: "post_receipts", kind, external_id: None, at: None, parts: None, rows: 1, note: None }
    }

    fn failed(error: &str) -> Candidate {
        Candidate { id: "a".into(), error: Some(error.into()), ..Candidate::default() }
    }

    #[test]
    fn a_plain_failure_is_archived() {
        assert!(matches!(judge(&failed("Invalid media"), &[], &[]), Decision::Archive(_)));
    }

    #[test]
    fn a_failure_after_the_submit_is_listed_and_kept() {
        assert!(matches!(judge(&failed("Timeout after submit"), &[], &[]), Decision::PossiblyLive(_)));
    }

    #[test]
    fn what_a_ledger_or_the_row_knows_as_sent_is_listed_and_kept() {
        assert!(matches!(judge(&failed("x"), &[fact(Kind::Sent)], &[]), Decision::Sent(_)));
        let own = Candidate { external_id: Some("17".into()), real: true, ..failed("x") };
        assert!(matches!(judge(&own, &[], &[]), Decision::Sent(_)));
    }

    #[test]
    fn what_is_held_or_waits_or_cannot_be_judged_is_kept() {
        assert_eq!(judge(&failed("x"), &[fact(Kind::Held)], &[]), Decision::Kept);
        assert_eq!(judge(&failed("x"), &[fact(Kind::Waiting)], &[]), Decision::Kept);
        let hidden = [Ledger::for_test("post_receipts", Access::Hidden, None, statement::STUCK)];
        assert_eq!(judge(&failed("x"), &[], &hidden), Decision::Kept);
    }
}
