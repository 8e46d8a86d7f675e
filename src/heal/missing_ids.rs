//! `missing-ids`: posts that were posted lately and have no external id, or a placeholder for one.
//!
//! Fills the id in from a ledger, else enters the post in `healer.id_recovery`, the queue that the application's own
//! recovery job reads. Never queues a post again, and never touches one that is older than the window.
//! Limits: an id is as right as the ledger it came from; healer does not ask the platform.

use chrono::{DateTime, Utc};

use super::{
    Check, CheckResult, Room, Shared, Status, ago, held_code, listed_ids, only_a_person_ends, orphan_id, stream,
    with_ledgers,
};
use crate::change::plan::{Action, Change, Outcome, Plan, Values};
use crate::database::session::Row;
use crate::database::statement;
use crate::error::Error;
use crate::posts::evidence::{Fact, Kind};
use crate::posts::verdict::{self, Judgement, Subject, Trust, Verdict};
use crate::settings::Settings;

/// The check.
pub struct MissingIds;

/// One posted post without a real id, as read.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its id.
    pub id: String,
    /// When it was posted.
    pub posted_at: Option<DateTime<Utc>>,
    /// The same in seconds.
    pub age_s: Option<i64>,
    /// The earliest time at which a ledger can know it.
    pub first_time: Option<DateTime<Utc>>,
    /// An id saved aside.
    pub orphan: Option<String>,
    /// The ids of its parts, as text.
    pub thread_ids: Option<String>,
    /// All that the row says of having been sent, as one number.
    pub marks: i64,
}

impl Candidate {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.text("id")?,
            posted_at: row.optional_time("posted_at")?,
            age_s: row.optional_int("age_s")?,
            first_time: row.optional_time("first_time")?,
            orphan: row.optional_text("orphan")?,
            thread_ids: row.optional_text("thread_ids")?,
            marks: row.int("marks")?,
        })
    }
}

/// Decides on one post without id. Pure: `None` for one that is held or already waits for recovery.
pub fn judge(candidate: &Candidate, facts: &[Fact]) -> (Option<Change>, Judgement) {
    // How many parts a ledger lists does not matter here: the post is posted, and the id is that of its first part.
    let (_, listed_id) = listed_ids(candidate.thread_ids.as_deref());
    let subject = Subject { orphan: orphan_id(candidate.orphan.as_deref()), listed_id, ..Subject::default() };
    let judgement = verdict::judge(&subject, facts, &[], Trust::NOBODY);
    let waiting = facts.iter().any(|fact| fact.kind == Kind::Waiting);
    let change = match (held_code(facts), judgement.verdict, &judgement.external_id) {
        (Some(code), _, _) if only_a_person_ends(code) => None,
        (_, Verdict::Posted, Some(_)) => Some(Change::FillId),
        _ if waiting => None,
        _ => Some(Change::EnterRecovery),
    };
    (change, judgement)
}

impl Check for MissingIds {
    fn name(&self) -> &'static str {
        "missing-ids"
    }

    fn enabled(&self, settings: &Settings) -> bool {
        settings.heal.missing_ids.enabled
    }

    fn run(&self, room: &mut Room<'_>, plan: &mut Plan) -> Result<CheckResult, Error> {
        if !room.mapping.has_posted_at {
            let mut result =
                CheckResult::new(self.name(), Status::Unknown, None, "no column tells when a post was posted".into());
            result.details.push("set posts.posted_at in healer.toml".into());
            return Ok(result);
        }
        with_ledgers(room, plan, detect)
    }
}

fn detect(room: &mut Room<'_>, plan: &mut Plan) -> Result<CheckResult, Error> {
    let ledgers = &*room.ledgers;
    let (mut found, mut fill, mut waiting, mut oldest_s) = (0_u64, 0_u64, 0_u64, 0_i64);
    let mut shared = Shared::default();
    stream(room.session, statement::MISSING_IDS, &room.mapping.names, |session, rows| {
        let candidates: Vec<Candidate> = rows.iter().map(Candidate::read).collect::<Result<_, _>>()?;
        let ids: Vec<&str> = candidates.iter().map(|candidate| candidate.id.as_str()).collect();
        let oldest = candidates.iter().filter_map(|candidate| candidate.first_time).min();
        let facts = ledgers.read(session, &ids, oldest)?;
        for candidate in candidates {
            found += 1;
            oldest_s = oldest_s.max(candidate.age_s.unwrap_or(0));
            let of_post = facts.get(&candidate.id).map_or(&[] as &[Fact], Vec::as_slice);
            let (change, judgement) = judge(&candidate, of_post);
            let Some(change) = change else {
                waiting += 1;
                continue;
            };
            let words = if change == Change::FillId {
                fill += 1;
                judgement.words.clone()
            } else {
                "posted, and no ledger knows its id".to_owned()
            };
            let why = shared.of(&judgement, &words);
            plan.add(Action {
                check: "missing-ids",
                change,
                seen: candidate.posted_at,
                marks: candidate.marks,
                values: Values { external_id: judgement.external_id.as_deref().map(Box::from), ..Values::default() }
                    .boxed(),
                first_time: candidate.first_time,
                target: candidate.id.into_boxed_str(),
                code: "missing_id",
                known: false,
                why,
                outcome: Outcome::Planned,
            });
        }
        Ok(true)
    })?;
    let window = room.settings.heal.missing_ids.window;
    let (status, summary) = if found == 0 {
        (Status::Ok, format!("every post of the last {window} has its id"))
    } else {
        let mut summary =
            format!("{found} posted in the last {window} without a real id, the oldest {} ago", ago(oldest_s));
        summary.push_str(&format!(": {fill} known to a ledger, {waiting} wait already"));
        (Status::Warning, summary)
    };
    let mut result = CheckResult::new("missing-ids", status, Some(found), summary);
    result.health = Some(("nullTweetIds", found.into()));
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(orphan: Option<&str>) -> Candidate {
        Candidate {
            id: "a".into(),
            marks: 0,
            posted_at: None,
            age_s: None,
            first_time: None,
            orphan: orphan.map(str::to_owned),
            thread_ids: None,
        }
    }

    fn fact(ledger: &'static str, kind: Kind, id: Option<&str>, note: Option<&str>) -> Fact {
        Fact {
            ledger,
            kind,
            external_id: id.map(str::to_owned),
            at: None,
            parts: None,
            rows: 1,
            note: note.map(str::to_owned),
        }
    }

    #[test]
    fn an_id_in_a_ledger_is_filled_in() {
        let (change, judgement) = judge(&candidate(None), &[fact("post_receipts", Kind::Sent, Some("5"), None)]);
        assert_eq!((change, judgement.external_id.as_deref()), (Some(Change::FillId), Some("5")));
    }

    #[test]
    fn an_orphan_id_is_filled_in_and_a_placeholder_is_not() {
        assert_eq!(judge(&candidate(Some("77")), &[]).0, Some(Change::FillId));
        assert_eq!(judge(&candidate(Some("posted_77")), &[]).0, Some(Change::EnterRecovery));
    }

    #[test]
    fn the_first_id_that_the_row_lists_is_filled_in() {
        let listed = Candidate { thread_ids: Some("[\"21\",\"22\"]".into()), ..candidate(None) };
        assert_eq!(judge(&listed, &[]).1.external_id.as_deref(), Some("21"));
    }

    #[test]
    fn what_waits_already_or_was_undone_is_left_alone() {
        assert_eq!(judge(&candidate(None), &[fact("id_recovery", Kind::Waiting, None, None)]).0, None);
        let undone = fact("held", Kind::Held, None, Some("undone"));
        assert_eq!(judge(&candidate(None), &[undone, fact("post_receipts", Kind::Sent, Some("5"), None)]).0, None);
    }
}
