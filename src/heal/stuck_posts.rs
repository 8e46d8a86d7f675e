//! `stuck-posts`: posts that have been posting for longer than their type's limit.
//!
//! Detects by the claim time, never by the time of writing. Decides by what the ledgers say: proved as sent → posted;
//! proved as not sent → queued again, or failed after too many rescues; anything else is held for a person.
//! Never queues a post that a readable ledger shows as sent, and never one that is too old to be sent now.
//! Limits: a post that was published by a worker which died before it left any trace looks like one that was not;
//! how far the ledgers' silence can be trusted is measured, and stands in every action.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::{
    Check, CheckResult, Room, Shared, Status, ago, doubt, held_code, listed_ids, only_a_person_ends, orphan_id, stream,
    with_ledgers,
};
use crate::change::plan::{Action, Change, Outcome, Plan, Values};
use crate::database::catalog::Relation;
use crate::database::session::{Row, Session};
use crate::database::statement;
use crate::error::Error;
use crate::posts::evidence::{Fact, Kind, Ledger};
use crate::posts::mapping::ClaimSource;
use crate::posts::verdict::{self, Judgement, Subject, Trust, Verdict};
use crate::settings::{OnUnproven, Settings, StuckPosts as Limits};

/// The check.
pub struct StuckPosts;

/// Stuck posts above which the result shows what stood beside them.
const CONTEXT_FROM: u64 = 5;

/// Finished posts from which their durations are called normal.
const DURATIONS_FROM: i64 = 20;

/// One post that is stuck, as read.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its id.
    pub id: String,
    /// Since when it has been posting.
    pub claimed_at: Option<DateTime<Utc>>,
    /// The same in seconds.
    pub age_s: Option<i64>,
    /// How long ago it was planned, in seconds.
    pub planned_age_s: Option<i64>,
    /// The earliest time at which a ledger can know it.
    pub first_time: Option<DateTime<Utc>>,
    /// Its type.
    pub kind: Option<String>,
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
            claimed_at: row.optional_time("claimed_at")?,
            age_s: row.optional_int("age_s")?,
            planned_age_s: row.optional_int("planned_age_s")?,
            first_time: row.optional_time("first_time")?,
            kind: row.optional_text("type")?,
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

    fn subject(&self) -> Subject<'_> {
        let (listed_parts, listed_id) = listed_ids(self.thread_ids.as_deref());
        let open = doubt(self.external_id.as_deref(), self.real, self.orphan.as_deref(), self.flag.as_deref());
        let after = self.error.as_deref().is_some_and(verdict::possibly_live);
        Subject {
            own_id: self.external_id.as_deref().filter(|_| self.real),
            orphan: orphan_id(self.orphan.as_deref()),
            parts: self.parts,
            listed_parts,
            listed_id,
            doubt: open.or(after.then_some("its last error came after the submit, so the post may be live")),
            marks: self.marks,
        }
    }
}

/// How long posts normally take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Durations {
    /// 95 of 100 take at most this, in seconds; `None` where it is not known.
    pub p95_s: Option<i64>,
    /// 99 of 100.
    pub p99_s: Option<i64>,
}

/// What a candidate calls for.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The change; `None` for a post that is held already and stays so.
    pub change: Option<Change>,
    /// A word for the reason.
    pub code: &'static str,
    /// The reason.
    pub reason: String,
    /// The verdict and what it stands on.
    pub judgement: Judgement,
}

/// What the decision on one post depends on, beside the post.
#[derive(Debug, Clone, Copy)]
pub struct Grounds<'a> {
    /// The settings of the check.
    pub limits: &'a Limits,
    /// The ledgers.
    pub ledgers: &'a [Ledger],
    /// What to do with an unproven post: `true` requeues.
    pub requeue_unproven: bool,
    /// How long posts normally take.
    pub durations: Durations,
}

/// Decides on one stuck post. Pure.
pub fn judge(candidate: &Candidate, facts: &[Fact], grounds: &Grounds<'_>) -> Decision {
    let trust = Trust { coverage: grounds.limits.ledger_coverage, silence: grounds.limits.trust_silence };
    let judgement = verdict::judge(&candidate.subject(), facts, grounds.ledgers, trust);
    let (change, code, reason) = choose(candidate, facts, grounds, &judgement);
    let held = held_code(facts);
    let stays = match held {
        Some(code) if only_a_person_ends(code) => true,
        Some(held) => change == Change::Hold && held == code,
        None => false,
    };
    Decision { change: (!stays).then_some(change), code, reason, judgement }
}

fn choose(
    candidate: &Candidate,
    facts: &[Fact],
    grounds: &Grounds<'_>,
    judgement: &Judgement,
) -> (Change, &'static str, String) {
    let limits = grounds.limits;
    match judgement.verdict {
        Verdict::Posted => return (Change::MarkPosted, "posted", judgement.words.clone()),
        Verdict::Uncertain => return (Change::Hold, "uncertain", judgement.words.clone()),
        Verdict::Unproven if !grounds.requeue_unproven => {
            return (Change::Hold, "unproven", judgement.words.clone());
        }
        Verdict::Unproven | Verdict::NotPosted => {}
    }
    let Some(age_s) = candidate.age_s else {
        return (Change::Hold, "no_time", "nothing tells since when it has been posting".into());
    };
    let normal = grounds.durations;
    if let (Some(p95), Some(p99)) = (normal.p95_s, normal.p99_s)
        && p95 > limits.limit.as_seconds()
        && age_s <= p99
    {
        let reason = format!("posts normally take up to {}, longer than the limit of {}", ago(p95), limits.limit);
        return (Change::Hold, "normal_duration", reason);
    }
    let rescues = facts.iter().filter(|fact| fact.kind == Kind::Rescue).map(|fact| fact.rows).sum::<i64>();
    if rescues >= i64::from(limits.rescues) {
        let reason = format!("stuck again after {rescues} rescues in {}", limits.rescue_window);
        return (Change::Fail, "exhausted", reason);
    }
    // Without a plan and a time of writing: it was planned no later than it was claimed.
    match candidate.planned_age_s.or(candidate.age_s) {
        Some(planned) if planned > limits.requeue_max_age.as_seconds() => {
            let reason = format!("planned more than {} ago: too late to be sent now", limits.requeue_max_age);
            (Change::Hold, "too_old", reason)
        }
        _ => (Change::Requeue, "requeue", judgement.words.clone()),
    }
}

/// What was counted while reading.
#[derive(Default)]
struct Tally {
    found: u64,
    known_held: u64,
    new_held: u64,
    oldest_s: i64,
    youngest_s: Option<i64>,
    no_time: u64,
}

impl Check for StuckPosts {
    fn name(&self) -> &'static str {
        "stuck-posts"
    }

    fn enabled(&self, settings: &Settings) -> bool {
        settings.heal.stuck_posts.enabled
    }

    fn run(&self, room: &mut Room<'_>, plan: &mut Plan) -> Result<CheckResult, Error> {
        if room.mapping.claim == ClaimSource::None {
            let mut result = CheckResult::new(
                self.name(),
                Status::Unknown,
                None,
                "no column tells since when a post has been posting".into(),
            );
            result.details.push("set posts.claimed_at in healer.toml".into());
            return Ok(result);
        }
        with_ledgers(room, plan, detect)
    }
}

fn detect(room: &mut Room<'_>, plan: &mut Plan) -> Result<CheckResult, Error> {
    let settings = room.settings;
    let limits = &settings.heal.stuck_posts;
    let mapping = room.mapping;
    let ledgers = &mut *room.ledgers;
    let now = room.now;
    let mut tally = Tally::default();
    let mut shared = Shared::default();
    let mut durations = None;
    stream(room.session, statement::STUCK, &mapping.names, |session, rows| {
        let normal = match durations {
            Some(known) => known,
            None => {
                ledgers.measure_coverage(session, mapping, now)?;
                *durations.insert(measure_durations(session, room.mapping, ledgers)?)
            }
        };
        let candidates: Vec<Candidate> = rows.iter().map(Candidate::read).collect::<Result<_, _>>()?;
        let ids: Vec<&str> = candidates.iter().map(|candidate| candidate.id.as_str()).collect();
        let oldest = candidates.iter().filter_map(|candidate| candidate.first_time).min();
        let facts = ledgers.read(session, &ids, oldest)?;
        let grounds = Grounds {
            limits,
            ledgers: &ledgers.all,
            requeue_unproven: requeue_unproven(limits.on_unproven, &ledgers.all, &facts),
            durations: normal,
        };
        for candidate in candidates {
            let of_post = facts.get(&candidate.id).map_or(&[] as &[Fact], Vec::as_slice);
            let decision = judge(&candidate, of_post, &grounds);
            tally.count(&candidate, &decision, held_code(of_post).is_some());
            if let Some(change) = decision.change {
                let why = shared.of(&decision.judgement, &decision.reason);
                let without_id = change == Change::MarkPosted && decision.judgement.external_id.is_none();
                let action = Action {
                    check: "stuck-posts",
                    change,
                    seen: candidate.claimed_at,
                    marks: candidate.marks,
                    values: values(change, &candidate, &decision.judgement, of_post).boxed(),
                    first_time: candidate.first_time,
                    target: candidate.id.into_boxed_str(),
                    code: decision.code,
                    known: held_code(of_post).is_some(),
                    why,
                    outcome: Outcome::Planned,
                };
                // It is a posted post without an id from then on: its id is looked for at once.
                let look_for_id = without_id && settings.heal.missing_ids.enabled;
                let entry = look_for_id.then(|| Action { change: Change::EnterRecovery, ..action.clone() });
                plan.add(action);
                if let Some(entry) = entry {
                    plan.add(entry);
                }
            }
        }
        Ok(true)
    })?;
    let mut result = summarise(&tally, limits, durations);
    if tally.found >= CONTEXT_FROM && mapping.events.as_ref().is_some_and(Relation::readable) {
        result.details.extend(context(room.session, mapping)?);
    }
    Ok(result)
}

impl Tally {
    fn count(&mut self, candidate: &Candidate, decision: &Decision, held: bool) {
        self.found += 1;
        match decision.change {
            None => self.known_held += 1,
            Some(Change::Hold) if held => self.known_held += 1,
            Some(Change::Hold) => self.new_held += 1,
            Some(_) => {}
        }
        match candidate.age_s {
            Some(age) => {
                self.oldest_s = self.oldest_s.max(age);
                self.youngest_s = Some(self.youngest_s.map_or(age, |youngest| youngest.min(age)));
            }
            None => self.no_time += 1,
        }
    }
}

/// What is written beside the status: the proof's id and time, and for what a person decided, when that was.
fn values(change: Change, candidate: &Candidate, judgement: &Judgement, facts: &[Fact]) -> Values {
    let proved = change == Change::MarkPosted;
    Values {
        external_id: judgement.external_id.as_deref().map(Box::from),
        posted_at: if proved {
            judgement.posted_at.or(candidate.claimed_at.filter(|_| candidate.age_s.is_some()))
        } else {
            None
        },
        decided_at: facts.iter().filter(|fact| fact.kind == Kind::Decided).filter_map(|fact| fact.at).max(),
    }
}

fn summarise(tally: &Tally, limits: &Limits, durations: Option<Durations>) -> CheckResult {
    let status = if tally.found == 0 { Status::Ok } else { Status::Warning };
    let mut summary = match (tally.found, tally.youngest_s) {
        (0, _) => "no post is stuck".to_owned(),
        (found, Some(youngest)) => {
            format!("{found} stuck, for {} to {}", ago(youngest), ago(tally.oldest_s))
        }
        (found, None) => format!("{found} stuck"),
    };
    if tally.known_held > 0 {
        summary.push_str(&format!(", {} of them held already", tally.known_held));
    }
    if tally.no_time > 0 {
        summary.push_str(&format!(", {} without a claim time", tally.no_time));
    }
    let mut result = CheckResult::new("stuck-posts", status, Some(tally.found), summary);
    result.health = Some(("stuckPosts", tally.found.into()));
    result.held = tally.known_held + tally.new_held;
    match durations {
        Some(Durations { p95_s: Some(p95), .. }) if p95 > limits.limit.as_seconds() => result.details.push(format!(
            "the limit of {} is below normal durations: 95 of 100 posts take up to {}; raise heal.stuck-posts.limit",
            limits.limit,
            ago(p95)
        )),
        Some(Durations { p95_s: None, .. }) => {
            result.details.push("how long posts normally take is unknown: no claim column or attempts tell it".into());
        }
        _ => {}
    }
    result
}

fn requeue_unproven(setting: OnUnproven, ledgers: &[Ledger], facts: &HashMap<String, Vec<Fact>>) -> bool {
    match setting {
        OnUnproven::Requeue => true,
        OnUnproven::Hold => false,
        OnUnproven::Auto => {
            // The event table is a ledger only where events of success were ever written to it.
            let written = |ledger: &Ledger| {
                ledger.coverage.is_some_and(|share| share > 0.0)
                    || facts.values().flatten().any(|fact| fact.ledger == ledger.name)
            };
            !ledgers.iter().any(|ledger| ledger.name != "success_events" || written(ledger))
        }
    }
}

fn measure_durations(
    session: &mut Session,
    mapping: &crate::posts::mapping::Mapping,
    ledgers: &crate::posts::evidence::Ledgers,
) -> Result<Durations, Error> {
    let attempts = ledgers.has_durations();
    let claim = matches!(mapping.claim, ClaimSource::Claim(_)) && mapping.has_posted_at;
    let statement = if attempts {
        statement::DURATIONS_ATTEMPTS.fill(ledgers.names())
    } else if claim {
        statement::DURATIONS_POSTS.fill(&mapping.names)
    } else {
        return Ok(Durations::default());
    };
    let row = session.row(&statement, &[])?;
    if row.int("posts")? < DURATIONS_FROM {
        return Ok(Durations::default());
    }
    Ok(Durations { p95_s: row.optional_int("p95_s")?, p99_s: row.optional_int("p99_s")? })
}

fn context(session: &mut Session, mapping: &crate::posts::mapping::Mapping) -> Result<Vec<String>, Error> {
    let rows = session.rows(&statement::STUCK_CONTEXT.fill(&mapping.names), &[])?;
    rows.iter()
        .map(|row| {
            let last = row.optional_text("last")?.unwrap_or_default();
            let last =
                if last.is_empty() { String::new() } else { format!(", last: {}", last.replace(['\n', '\r'], " ")) };
            Ok(format!("last hour: {} × {}{last}", row.int("seen")?, row.text("kind")?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::posts::evidence::Access;

    fn candidate(age_s: i64) -> Candidate {
        Candidate {
            id: "a".into(),
            claimed_at: DateTime::from_timestamp(0, 0),
            age_s: Some(age_s),
            planned_age_s: Some(age_s),
            first_time: None,
            kind: None,
            external_id: None,
            real: false,
            orphan: None,
            thread_ids: None,
            parts: None,
            flag: None,
            error: None,
            marks: 0,
        }
    }

    fn fact(kind: Kind, rows: i64, note: Option<&str>) -> Fact {
        Fact { ledger: "journal", kind, external_id: None, at: None, parts: None, rows, note: note.map(str::to_owned) }
    }

    fn decide(candidate: &Candidate, facts: &[Fact], requeue_unproven: bool, durations: Durations) -> Decision {
        let limits = Limits::default();
        judge(candidate, facts, &Grounds { limits: &limits, ledgers: &[], requeue_unproven, durations })
    }

    #[test]
    fn an_unproven_post_is_queued_or_held_as_the_setting_says() {
        assert_eq!(decide(&candidate(3_600), &[], true, Durations::default()).change, Some(Change::Requeue));
        assert_eq!(decide(&candidate(3_600), &[], false, Durations::default()).change, Some(Change::Hold));
    }

    #[test]
    fn three_rescues_fail_a_post_and_two_do_not() {
        let decide = |rescues| {
            decide(&candidate(3_600), &[fact(Kind::Rescue, rescues, None)], true, Durations::default()).change
        };
        assert_eq!(decide(2), Some(Change::Requeue));
        assert_eq!(decide(3), Some(Change::Fail));
    }

    #[test]
    fn a_post_planned_a_day_ago_is_queued_and_one_second_later_held() {
        let planned = |seconds| Candidate { planned_age_s: Some(seconds), ..candidate(3_600) };
        assert_eq!(decide(&planned(86_400), &[], true, Durations::default()).change, Some(Change::Requeue));
        assert_eq!(decide(&planned(86_401), &[], true, Durations::default()).code, "too_old");
    }

    #[test]
    fn a_post_that_is_held_for_the_same_reason_is_no_news() {
        let held = |code| [fact(Kind::Held, 1, Some(code))];
        assert_eq!(decide(&candidate(3_600), &held("unproven"), false, Durations::default()).change, None);
        assert_eq!(
            decide(&candidate(3_600), &held("unproven"), true, Durations::default()).change,
            Some(Change::Requeue),
            "the setting changed meanwhile"
        );
        assert_eq!(decide(&candidate(3_600), &held("undone"), true, Durations::default()).change, None);
    }

    #[test]
    fn a_limit_below_normal_durations_holds_what_is_still_normal() {
        let slow = Durations { p95_s: Some(2_100), p99_s: Some(2_200) };
        assert_eq!(decide(&candidate(1_860), &[], true, slow).code, "normal_duration");
        assert_eq!(decide(&candidate(2_201), &[], true, slow).change, Some(Change::Requeue));
    }

    #[test]
    fn a_post_without_a_claim_time_is_held() {
        let unknown = Candidate { age_s: None, claimed_at: None, ..candidate(0) };
        assert_eq!(decide(&unknown, &[], true, Durations::default()).code, "no_time");
    }

    proptest! {
        #[test]
        fn nothing_that_is_uncertain_or_sent_is_ever_queued(
            sent: bool, open: bool, hidden: bool, rescues in 0_i64..6, age in prop::option::of(0_i64..1_000_000),
            requeue: bool,
        ) {
            let mut facts = vec![fact(Kind::Rescue, rescues, None)];
            if sent { facts.push(Fact { ledger: "post_receipts", ..fact(Kind::Sent, 1, None) }); }
            if open { facts.push(Fact { ledger: "post_attempts", ..fact(Kind::Open, 1, None) }); }
            let access = if hidden { Access::Hidden } else { Access::Readable };
            let ledgers = [Ledger::for_test("post_receipts", access, Some(1.0), statement::STUCK)];
            let limits = Limits::default();
            let grounds = Grounds { limits: &limits, ledgers: &ledgers, requeue_unproven: requeue, durations: Durations::default() };
            let post = Candidate { age_s: age, planned_age_s: age, ..candidate(0) };
            let decision = judge(&post, &facts, &grounds);
            if sent || open || hidden {
                prop_assert!(!matches!(decision.change, Some(Change::Requeue | Change::Fail)));
            }
        }
    }
}
