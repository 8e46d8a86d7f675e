//! Maintenance of the database: ANALYZE, and where it is switched on VACUUM and the repair of invalid indexes.
//!
//! None of these can be taken back, and most cannot run in a transaction: each is journalled as started before it runs
//! and with its outcome after, and the next run settles what was left started. Done means seen to be done: the time of
//! the last ANALYZE or VACUUM has moved, the index is valid, the index is gone. A role that may not maintain a table is
//! only warned by the server, so nothing else proves it.
//! Never: creating or dropping a valid index, VACUUM FULL, ALTER SYSTEM.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::lease::Lease;
use crate::database::connect;
use crate::database::session::{Access, Limits, Param, Session};
use crate::database::statement::{self, Names};
use crate::database::url::Secret;
use crate::error::Error;
use crate::optimize::performance::settings::Actions as Settings;
use crate::start::Origin;

/// How long is waited for the statistics to show what was done: up to Postgres 14 a collector writes them twice a second.
const SEEN_WITHIN: Duration = Duration::from_secs(3);

/// Between two looks at them.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The planner's statistics of a table.
    Analyze,
    /// Dead rows of a table.
    Vacuum,
    /// An invalid index is built again.
    Reindex,
    /// An invalid index is dropped.
    DropInvalid,
}

impl Kind {
    /// Its name in the journal.
    pub fn action_name(self) -> &'static str {
        match self {
            Self::Analyze => "analyze_table",
            Self::Vacuum => "vacuum_table",
            Self::Reindex => "reindex_invalid",
            Self::DropInvalid => "drop_invalid",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Analyze, Self::Vacuum, Self::Reindex, Self::DropInvalid]
            .into_iter()
            .find(|kind| kind.action_name() == name)
    }

    /// Its type among the optimizations.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Analyze => "stale_statistics",
            Self::Vacuum => "dead_rows",
            Self::Reindex | Self::DropInvalid => "invalid_index",
        }
    }

    /// The kind of finding that it mends.
    pub fn mends(self) -> &'static str {
        match self {
            Self::Analyze => "stale-statistics",
            Self::Vacuum => "dead-rows",
            Self::Reindex | Self::DropInvalid => "invalid-index",
        }
    }

    /// The setting that switches it on.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Analyze => "optimize.performance.actions.analyze",
            Self::Vacuum => "optimize.performance.actions.vacuum",
            Self::Reindex | Self::DropInvalid => "optimize.performance.actions.invalid_indexes",
        }
    }

    fn in_transaction(self) -> bool {
        self == Self::Analyze
    }
}

/// One action that is proposed.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// What.
    pub kind: Kind,
    /// The table or index, quoted by the server.
    pub target: String,
    /// Why.
    pub reason: String,
    /// The figures before.
    pub before: Value,
    /// Whether the settings allow it.
    pub wanted: bool,
    /// Whether the role may do it.
    pub allowed: bool,
}

impl Action {
    /// The statement.
    pub fn sql(&self) -> String {
        match self.kind {
            Kind::Analyze => format!("ANALYZE {}", self.target),
            // Locks that somebody holds are not waited for.
            Kind::Vacuum => format!("VACUUM (ANALYZE, SKIP_LOCKED) {}", self.target),
            Kind::Reindex => format!("REINDEX INDEX CONCURRENTLY {}", self.target),
            Kind::DropInvalid => format!("DROP INDEX CONCURRENTLY {}", self.target),
        }
    }
}

/// What became of an action.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Done and seen to be done, with the figures after.
    Done(Value),
    /// It ran, and nothing shows that it was done.
    NotDone(String),
    /// The database refused.
    Failed(String),
    /// It was not tried.
    Left(String),
}

impl Outcome {
    fn journal(&self) -> Value {
        match self {
            Self::Done(after) => json!({ "outcome": "done", "figures": after }),
            Self::NotDone(why) => json!({ "outcome": "not_done", "why": why }),
            Self::Failed(why) => json!({ "outcome": "failed", "why": why }),
            Self::Left(why) => json!({ "outcome": "left", "why": why }),
        }
    }
}

/// An action of an earlier run.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    /// The run.
    pub run: i64,
    /// Its name in the journal.
    pub action: String,
    /// The table or index.
    pub target: String,
    /// How long ago.
    pub age_s: i64,
    /// The figures before.
    pub before: Value,
    /// How it ended.
    pub after: Value,
}

/// The maintenance of the last 3 days.
pub fn past(session: &mut Session) -> Result<Vec<Past>, Error> {
    let rows = session.rows(&statement::OPTIMIZE_ACTIONS_BEFORE.fill(&Names::default()), &[])?;
    rows.iter()
        .map(|row| {
            Ok(Past {
                run: row.int("run")?,
                action: row.text("action")?,
                target: row.text("target")?,
                age_s: row.int("age_s")?,
                before: row.json("before")?,
                after: row.json("after")?,
            })
        })
        .collect()
}

/// How many actions there were in 24 hours.
pub fn today(session: &mut Session) -> Result<u32, Error> {
    let row = session.row(&statement::MAINTENANCE_TODAY.fill(&Names::default()), &[])?;
    Ok(u32::try_from(row.int("actions")?).unwrap_or(u32::MAX))
}

/// What shows whether something was done: times for tables, validity for indexes.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    /// The object is gone.
    Gone,
    /// Seconds since the epoch of the last ANALYZE and VACUUM, with the rows that changed and that are dead.
    Table { analyzed: Option<i64>, vacuumed: Option<i64>, figures: Value },
    /// Whether it is valid.
    Index(bool),
}

fn look(session: &mut Session, kind: Kind, target: &str) -> Result<Seen, Error> {
    // A transaction of its own: statistics are fixed from the first look in one on.
    session.begin(Access::ReadOnly, "")?;
    let table = matches!(kind, Kind::Analyze | Kind::Vacuum);
    let template = if table { statement::MAINTENANCE_TABLE } else { statement::MAINTENANCE_INDEX };
    let rows = session.rows(&template.fill(&Names::default()), &[Param::Text(target)])?;
    session.rollback();
    let Some(row) = rows.first() else { return Ok(Seen::Gone) };
    if !table {
        return Ok(Seen::Index(row.bool("valid")?));
    }
    let at = |column: &str| -> Result<Option<i64>, Error> {
        Ok(row.optional_time(column)?.map(|time| time.timestamp_micros()))
    };
    Ok(Seen::Table {
        analyzed: at("analyzed")?,
        vacuumed: at("vacuumed")?,
        figures: json!({ "changedRows": row.optional_int("changed")?, "deadRows": row.optional_int("dead")? }),
    })
}

/// What two looks prove. Pure.
fn proved(kind: Kind, before: &Seen, after: &Seen) -> Option<Value> {
    match (kind, before, after) {
        (Kind::Analyze, Seen::Table { analyzed: before, .. }, Seen::Table { analyzed: after, figures, .. })
        | (Kind::Vacuum, Seen::Table { vacuumed: before, .. }, Seen::Table { vacuumed: after, figures, .. }) => {
            (after > before).then(|| figures.clone())
        }
        (Kind::Reindex, _, Seen::Index(true)) => Some(json!({ "valid": true })),
        (Kind::DropInvalid, Seen::Index(_), Seen::Gone) => Some(json!({ "dropped": true })),
        _ => None,
    }
}

/// Settles what earlier runs left started: an index tells by itself whether it is valid or gone; of a table that was to
/// be analysed or vacuumed it is only known that nobody saw it done. Gives what was found, in words.
pub fn settle(session: &mut Session, lease: &Lease) -> Result<Vec<String>, Error> {
    session.begin(Access::ReadOnly, "")?;
    let rows = session.rows(&statement::MAINTENANCE_OPEN.fill(&Names::default()), &[Param::Int(lease.run)])?;
    let mut words = Vec::new();
    for row in &rows {
        let (id, action, target) = (row.int("id")?, row.text("action")?, row.text("target")?);
        let Some(kind) = Kind::of(&action) else { continue };
        let outcome = match (kind, look(session, kind, &target)?) {
            (Kind::Reindex, Seen::Index(true)) => Outcome::Done(json!({ "valid": true, "settledBy": lease.run })),
            (Kind::DropInvalid, Seen::Gone) => Outcome::Done(json!({ "dropped": true, "settledBy": lease.run })),
            _ => Outcome::NotDone(format!("the run ended before it was seen to be done; settled by run {}", lease.run)),
        };
        finish(session, lease, id, &outcome)?;
        let end = if matches!(outcome, Outcome::Done(_)) { "done" } else { "not seen to be done" };
        words.push(format!("an earlier run began {action} of {target} and did not say how it ended: {end}"));
    }
    session.rollback();
    Ok(words)
}

fn finish(session: &mut Session, lease: &Lease, id: i64, outcome: &Outcome) -> Result<(), Error> {
    lease.begin_batch(session)?;
    session.rows(
        &statement::MAINTENANCE_END.fill(&Names::default()),
        &[Param::Int(id), Param::Text(&outcome.journal().to_string())],
    )?;
    session.commit()
}

/// What an action is carried out with.
pub struct Work<'a> {
    /// Where the connection came from.
    pub origin: &'a Origin,
    /// The connection.
    pub session: &'a mut Session,
    /// The lease.
    pub lease: &'a Lease,
    /// How long an action may take.
    pub limits: &'a Settings,
    /// The check that proposed it.
    pub check: &'a str,
    /// Whether the connection looks like one through a pooler.
    pub pooled: bool,
}

impl Work<'_> {
    /// Carries out one action and looks whether it was done. An error is one that ends the pass.
    pub fn carry_out(&mut self, action: &Action) -> Result<Outcome, Error> {
        let mut own = None;
        if !action.kind.in_transaction() {
            match self.connection() {
                Ok(session) => own = Some(session),
                Err(why) => return Ok(Outcome::Left(why)),
            }
        }
        let before = look(self.session, action.kind, &action.target)?;
        if before == Seen::Gone {
            return Ok(Outcome::Left("it is gone".into()));
        }
        if action.kind == Kind::DropInvalid && before != Seen::Index(false) {
            return Ok(Outcome::Left("it is valid by now: a valid index is never dropped".into()));
        }
        let id = self.begin(action)?;
        let ran = match &mut own {
            None => self.in_transaction(action),
            Some(session) => session.batch(action.kind.action_name(), &action.sql()),
        };
        let outcome = match ran {
            Ok(()) => self.await_proof(action, &before)?,
            Err(error) if error.stops_the_pass() && own.is_none() => return Err(error),
            Err(error) => Outcome::Failed(error.to_string()),
        };
        self.session.rollback();
        finish(self.session, self.lease, id, &outcome)?;
        if let Outcome::Done(_) = outcome {
            log::info!(target: "healer", "[PERF_OPTIMIZER] done: {}", action.sql());
        }
        Ok(outcome)
    }

    /// Journals that an action begins, with the lease held for as long as it may take.
    fn begin(&mut self, action: &Action) -> Result<i64, Error> {
        self.lease.begin_batch(self.session)?;
        let row = self.session.row(
            &statement::MAINTENANCE_START.fill(&Names::default()),
            &[
                Param::Int(self.lease.run),
                Param::Text(self.check),
                Param::Text(action.kind.action_name()),
                Param::Text(&action.target),
                Param::Text(&action.before.to_string()),
                Param::Text(&action.reason),
                Param::Text(&json!({ "statement": action.sql() }).to_string()),
            ],
        )?;
        let id = row.int("id")?;
        let limit = self.limits.maintenance_limit.max(self.limits.analyze_limit).as_seconds().saturating_add(60);
        self.session.batch("lease", &self.lease.extension(limit))?;
        self.session.commit()?;
        Ok(id)
    }

    fn in_transaction(&mut self, action: &Action) -> Result<(), Error> {
        let limit = self.limits.analyze_limit.0.as_millis().max(1);
        self.session.begin(Access::ReadWrite, &format!("SET LOCAL statement_timeout = {limit}"))?;
        self.session.batch(action.kind.action_name(), &action.sql())?;
        self.session.commit()
    }

    /// A connection of its own, for what cannot run in a transaction: its limits stand in its start-up packet, which a
    /// pooler refuses, so that nothing is ever left on a connection that somebody else gets next.
    fn connection(&self) -> Result<Session, String> {
        if self.pooled {
            return Err("needs a direct connection, and this one goes through a pooler".into());
        }
        let limit = self.limits.maintenance_limit.0;
        let limits = Limits { statement: limit, lock: self.origin.settings.database.lock_timeout.0 };
        let mut target = self.origin.target.clone();
        target.options = Some(Secret::new(format!(
            "-c statement_timeout={} -c lock_timeout={} -c TimeZone=UTC",
            limits.statement.as_millis().max(1),
            limits.lock.as_millis().max(1)
        )));
        let deadline = self.origin.deadline;
        if Instant::now() + limit > deadline {
            return Err("left for a later run: --timeout would come before its limit".into());
        }
        match connect::connect_until_stopped(&target, deadline, &self.origin.stop, Duration::ZERO) {
            Ok(client) => Ok(Session::new(client, limits, deadline, self.origin.stop.clone())),
            Err(error) => Err(format!("needs a direct connection: {error}")),
        }
    }

    fn await_proof(&mut self, action: &Action, before: &Seen) -> Result<Outcome, Error> {
        let until = Instant::now() + SEEN_WITHIN;
        loop {
            let after = look(self.session, action.kind, &action.target)?;
            if let Some(figures) = proved(action.kind, before, &after) {
                return Ok(Outcome::Done(figures));
            }
            if Instant::now() >= until {
                return Ok(Outcome::NotDone(match action.kind {
                    Kind::Analyze => {
                        "the time of the last ANALYZE has not moved: the role may not analyse the table".into()
                    }
                    Kind::Vacuum => {
                        "the time of the last VACUUM has not moved: the table is locked, or the role may not".into()
                    }
                    Kind::Reindex => "the index is still invalid".into(),
                    Kind::DropInvalid => "the index is still there".into(),
                }));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(analyzed: Option<i64>, vacuumed: Option<i64>) -> Seen {
        Seen::Table { analyzed, vacuumed, figures: json!({}) }
    }

    #[test]
    fn done_means_that_the_time_has_moved_or_that_the_index_is_what_it_should_be() {
        let analyze = |before, after| proved(Kind::Analyze, &table(before, None), &table(after, None)).is_some();
        assert!(analyze(None, Some(1)) && analyze(Some(1), Some(2)));
        assert!(!analyze(Some(1), Some(1)) && !analyze(None, None) && !analyze(Some(1), None));
        assert!(proved(Kind::Vacuum, &table(Some(1), Some(1)), &table(Some(2), Some(1))).is_none());
        assert!(proved(Kind::Reindex, &Seen::Index(false), &Seen::Index(true)).is_some());
        assert!(proved(Kind::Reindex, &Seen::Index(false), &Seen::Index(false)).is_none());
        assert!(proved(Kind::DropInvalid, &Seen::Index(false), &Seen::Gone).is_some());
        assert!(proved(Kind::Analyze, &table(None, None), &Seen::Gone).is_none());
    }

    #[test]
    fn no_statement_locks_a_table_for_long_or_drops_what_is_valid() {
        for kind in [Kind::Analyze, Kind::Vacuum, Kind::Reindex, Kind::DropInvalid] {
            let action = Action {
                kind,
                target: "public.x".into(),
                reason: String::new(),
                before: Value::Null,
                wanted: true,
                allowed: true,
            };
            let sql = action.sql();
            assert!(!sql.contains("FULL") && !sql.contains("SYSTEM") && !sql.contains("CREATE"), "{sql}");
            assert!(!sql.contains("INDEX") || sql.contains("CONCURRENTLY"), "{sql}");
            assert_eq!(Kind::of(kind.action_name()), Some(kind));
        }
    }
}
