//! The pass `heal`: its checks, and what a check is given and gives.
//!
//! A check is a room of its own: it reads (`detect`), and says purely (`judge`) what each thing it found calls for. It
//! never writes. A new check is one file here, its SQL beside it in `sql/heal/`, and one line in [`CHECKS`].

pub mod browser_queue;
pub mod circuit_breaker;
pub mod database;
pub mod job_heartbeats;
pub mod missing_ids;
pub mod old_failed;
pub mod pass;
pub mod silence;
pub mod stuck_posts;

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use crate::change::plan::{Plan, Severity, Why};
use crate::database::catalog::Server;
use crate::database::session::{Access, Row, Session};
use crate::database::statement::{Names, Statement, Template};
use crate::error::Error;
use crate::posts::evidence::{Fact, Kind, Ledgers};
use crate::posts::mapping::Mapping;
use crate::posts::verdict::Judgement;
use crate::settings::Settings;

/// How a check found things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing to tell.
    Ok,
    /// Somebody should know.
    Warning,
    /// Somebody must act.
    Critical,
    /// It could not be measured.
    Unknown,
}

/// What a check found.
#[derive(Debug, Clone, Serialize)]
pub struct CheckResult {
    /// The check.
    pub name: &'static str,
    /// How things are.
    pub status: Status,
    /// How many; `None` where it could not be measured.
    pub found: Option<u64>,
    /// One line for a person.
    pub summary: String,
    /// Lines that stand beside it: context, lists of what was left alone, the SQL to run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// Posts of this check that are held, new and known ones.
    #[serde(skip)]
    pub held: u64,
    /// What the check found and did not plan because of a limit.
    #[serde(skip)]
    pub remaining: u64,
    /// Whether the check itself is incomplete (a refusal, not a finding).
    #[serde(skip)]
    pub incomplete: bool,
    /// The exit code of the error that kept it from being measured; 0 for none.
    #[serde(skip)]
    pub error_code: u8,
    /// Its figure for the dashboards: the key in `systemHealth`, and the value.
    #[serde(skip)]
    pub health: Option<(&'static str, Value)>,
    /// What it tells dashboards beside the changes of the plan.
    #[serde(skip)]
    pub observed: Option<Observation>,
    /// What it asks of the application.
    #[serde(skip)]
    pub request: Option<Request>,
}

/// Something that was seen and is told as an action of the event, as dashboards expect it. Nothing is changed by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The `type` of the action.
    pub r#type: &'static str,
    /// Its name.
    pub action: &'static str,
    /// How grave.
    pub severity: Severity,
}

/// Something that only the application can do, left for it in `healer.request`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What it is asked to do.
    pub kind: &'static str,
    /// With what.
    pub target: String,
    /// Why.
    pub reason: String,
}

impl CheckResult {
    /// A result with nothing held or left over.
    pub fn new(name: &'static str, status: Status, found: Option<u64>, summary: String) -> Self {
        Self {
            name,
            status,
            found,
            summary,
            details: Vec::new(),
            held: 0,
            remaining: 0,
            incomplete: false,
            error_code: 0,
            health: None,
            observed: None,
            request: None,
        }
    }

    /// The result of a check that has nothing to measure by: why, and what would change that.
    pub fn unknown(name: &'static str, why: impl Into<String>, remedy: &str) -> Self {
        let mut result = Self::new(name, Status::Unknown, None, why.into());
        if !remedy.is_empty() {
            result.details.push(remedy.to_owned());
        }
        result
    }

    /// The result of a check that an error kept from measuring.
    pub fn failed(name: &'static str, error: &Error) -> Self {
        let mut result = Self::new(name, Status::Unknown, None, format!("could not be measured: {error}"));
        result.details.push(error.hint());
        result.incomplete = true;
        result.error_code = error.exit_code();
        result
    }
}

/// What a check is given.
pub struct Room<'a> {
    /// The connection.
    pub session: &'a mut Session,
    /// The settings.
    pub settings: &'a Settings,
    /// The posts table.
    pub mapping: &'a Mapping,
    /// The ledgers.
    pub ledgers: &'a mut Ledgers,
    /// The database's clock.
    pub now: DateTime<Utc>,
    /// Whether the tables of the schema `healer` can be read.
    pub with_schema: bool,
    /// `--max-actions`.
    pub max_actions: Option<u32>,
    /// How long connecting took.
    pub connected_in: Duration,
    /// What tells that this connection goes through a pooler, not straight to the server.
    pub pooled: bool,
    /// What the server is.
    pub server: &'a Server,
}

/// A check of the pass.
pub trait Check {
    /// Its name in the output and in `--only`.
    fn name(&self) -> &'static str;
    /// Whether the settings switch it on.
    fn enabled(&self, settings: &Settings) -> bool;
    /// Looks, and adds what it proposes to the plan.
    fn run(&self, room: &mut Room<'_>, plan: &mut Plan) -> Result<CheckResult, Error>;
}

/// The checks, in the order in which they run.
pub const CHECKS: &[&dyn Check] = &[
    &stuck_posts::StuckPosts,
    &missing_ids::MissingIds,
    &browser_queue::BrowserQueue,
    &database::Database,
    &circuit_breaker::CircuitBreaker,
    &old_failed::OldFailed,
    &job_heartbeats::JobHeartbeats,
    &silence::Silence,
];

/// Rows that one FETCH brings, and so posts that one statement asks the ledgers about.
const CHUNK: usize = 1_000;

/// Rows that are counted at once: a signal is answered between two such steps.
const LONGEST_STEP: u64 = 1_000_000;

/// Runs a query through a cursor in a READ ONLY transaction and hands its rows on, 1,000 at a time. `each` may send
/// other statements meanwhile; it says whether to go on. Returns how many rows were left when it said no.
fn stream(
    session: &mut Session,
    template: Template,
    names: &Names,
    mut each: impl FnMut(&mut Session, &[Row]) -> Result<bool, Error>,
) -> Result<u64, Error> {
    let query = template.fill(names);
    let sql = query.sql();
    // A cursor is run when it is first asked. The second one tells whether there is anything at all in the round trip
    // that begins: most often there is nothing, and the pass of a healthy system ends a round trip earlier.
    let found = session.begin_counting(
        Access::ReadOnly,
        &format!(
            "DECLARE candidates NO SCROLL CURSOR FOR {sql}; DECLARE probe NO SCROLL CURSOR FOR {sql}; MOVE FORWARD 1 IN probe"
        ),
    )?;
    log::trace!(target: "healer::sql", "{}", template.name);
    if found == 0 {
        return Ok(0);
    }
    let fetch = Statement::fixed(template.name, format!("FETCH {CHUNK} FROM candidates"));
    loop {
        session.check_stop()?;
        let rows = session.rows(&fetch, &[])?;
        let last = rows.len() < CHUNK;
        if !rows.is_empty() && !each(session, &rows)? {
            return count_rest(session, template.name);
        }
        if last {
            return Ok(0);
        }
    }
}

/// Counts what is left behind the cursor, in steps: each is a statement with a limit of its own, so that many rows do not
/// need a long one.
fn count_rest(session: &mut Session, name: &'static str) -> Result<u64, Error> {
    let (mut step, mut left) = (CHUNK as u64, 0);
    loop {
        session.check_stop()?;
        let begun = Instant::now();
        let moved = session.batch_counts(name, &format!("MOVE FORWARD {step} IN candidates"))?;
        let moved = moved.last().copied().unwrap_or(0);
        left += moved;
        if moved < step {
            return Ok(left);
        }
        // Twice as many take twice as long: no step comes near the limit, and few round trips count millions.
        if begun.elapsed() < session.limits().statement / 8 && step < LONGEST_STEP {
            step *= 2;
        }
    }
}

/// Runs `attempt`; when it fails because a ledger cannot be read after all, sets that ledger aside and runs it again.
fn with_ledgers(
    room: &mut Room<'_>,
    plan: &mut Plan,
    mut attempt: impl FnMut(&mut Room<'_>, &mut Plan) -> Result<CheckResult, Error>,
) -> Result<CheckResult, Error> {
    let (length, overflow) = (plan.actions.len(), plan.overflow);
    loop {
        match attempt(room, plan) {
            Err(error) if !error.stops_the_pass() => {
                plan.reset(length, overflow);
                let with_schema = room.with_schema;
                if !room.ledgers.set_broken_aside(room.session, with_schema)? {
                    return Err(error);
                }
            }
            other => return other,
        }
    }
}

/// The real ids that a text lists for the parts of a post (`["1","2"]`, `1,2`): how many, and the first.
fn listed_ids(text: Option<&str>) -> (Option<i64>, Option<&str>) {
    let Some(text) = text else { return (None, None) };
    let real = |id: &&str| id.len() > 1 && id.chars().all(|c| c.is_ascii_digit());
    let mut ids = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(real);
    let Some(first) = ids.next() else { return (Some(0), None) };
    let all: std::collections::HashSet<&str> = ids.chain([first]).collect();
    (i64::try_from(all.len()).ok(), Some(first))
}

/// What in a post's own row leaves it open whether it was sent. The application writes a placeholder where it posted and
/// did not learn the id, and a mark where it could not save what it had done.
fn doubt(external_id: Option<&str>, real: bool, orphan: Option<&str>, flag: Option<&str>) -> Option<&'static str> {
    if external_id.is_some_and(|id| !real && !id.trim().is_empty()) {
        return Some("the row carries a placeholder for an id, so the post may be live");
    }
    if orphan.is_some_and(|id| !id.trim().is_empty()) && orphan_id(orphan).is_none() {
        return Some("the row carries an orphan id that is a placeholder, so the post may be live");
    }
    match flag? {
        "receipt_write_failed" => {
            Some("its receipt could not be written (receipt_write_failed), so the post may be live")
        }
        _ => Some("the application marked it for reconciliation (needs_reconciliation), so the post may be live"),
    }
}

/// An orphan id, if it looks like one.
pub(crate) fn orphan_id(text: Option<&str>) -> Option<&str> {
    text.filter(|id| !id.is_empty() && id.chars().all(|c| c.is_ascii_digit()))
}

/// Whether a post is held in a way that only a person ends, or held at all.
fn held_code(facts: &[Fact]) -> Option<&str> {
    facts.iter().find(|fact| fact.kind == Kind::Held).map(|fact| fact.note.as_deref().unwrap_or_default())
}

/// Codes of holds that only a person ends: what was undone, and what the database refused.
fn only_a_person_ends(code: &str) -> bool {
    matches!(code, "undone" | "refused")
}

/// Reasons and evidence, shared between the many actions that have the same.
#[derive(Default)]
struct Shared(HashMap<String, Rc<Why>>);

impl Shared {
    fn of(&mut self, judgement: &Judgement, reason: &str) -> Rc<Why> {
        if let Some(known) = self.0.get(reason) {
            return Rc::clone(known);
        }
        let evidence = json!({
            "verdict": judgement.verdict.word(),
            "ledger": judgement.ledger,
            "coverage": judgement.coverage,
            "words": judgement.words,
        });
        let why = Rc::new(Why { reason: reason.into(), evidence });
        // Reasons repeat; a bound keeps one that does not from growing the memory.
        if self.0.len() < 1_000 {
            self.0.insert(reason.to_owned(), Rc::clone(&why));
        }
        why
    }
}

/// A length of time for people: `47 min`, `3 h`, `12 d`.
pub fn ago(seconds: i64) -> String {
    match seconds {
        s if s < 0 => format!("{} in the future", ago(s.saturating_neg())),
        s if s < 120 => format!("{s} s"),
        s if s < 2 * 3_600 => format!("{} min", s / 60),
        s if s < 2 * 86_400 => format!("{} h", s / 3_600),
        s => format!("{} d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_parts_are_counted_in_whatever_way_they_are_listed() {
        assert_eq!(listed_ids(Some("[\"123\", \"456\"]")), (Some(2), Some("123")));
        assert_eq!(listed_ids(Some("123,456,456")), (Some(2), Some("123")));
        assert_eq!(listed_ids(Some("posted_123")), (Some(0), None));
        assert_eq!(listed_ids(None), (None, None));
    }

    #[test]
    fn a_placeholder_or_a_mark_leaves_it_open_and_an_id_or_nothing_does_not() {
        assert_eq!(doubt(None, false, None, None), None);
        assert_eq!(doubt(Some("17"), true, Some("17"), None), None);
        assert_eq!(doubt(Some(" "), false, Some(""), None), None);
        assert!(doubt(Some("posted_17"), false, None, None).is_some());
        assert!(doubt(None, false, Some("posted_17"), None).is_some());
        assert!(doubt(None, false, None, Some("needs_reconciliation")).is_some());
    }

    #[test]
    fn lengths_of_time_read_well() {
        assert_eq!(ago(47 * 60), "47 min");
        assert_eq!(ago(-90), "90 s in the future");
        assert_eq!(ago(i64::MIN), ago(-i64::MAX));
    }
}
