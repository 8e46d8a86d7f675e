//! Batches: how a plan is carried out. Each is one transaction of at most 1,000 posts in the order of their ids:
//! renew the lease, lock the posts that still are what the plan saw, then, in a new statement that sees what was
//! committed while waiting, change those of which no ledger has newer evidence, and write the journal with them.
//!
//! A batch that runs into a time-out is halved, one that meets a deadlock is tried once more, and one that the
//! database refuses for the sake of a row is bisected until the bad row stands alone.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::lease::Lease;
use super::plan::{Action, Change, Outcome};
use crate::database::session::{Param, Session};
use crate::database::statement::{self, Names, Template};
use crate::error::Error;

/// What carries a plan out.
pub struct Batches<'a> {
    /// The connection.
    pub session: &'a mut Session,
    /// The lease, and with it the run.
    pub lease: &'a Lease,
    /// Names, with what the ledgers need.
    pub names: &'a Names,
    /// Posts in one transaction; halved after a time-out.
    pub size: usize,
    /// Status words: posting, posted, failed.
    pub words: Words<'a>,
}

/// The status words that holds are noted with.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    /// The word for posting.
    pub posting: &'a str,
    /// The word for posted.
    pub posted: &'a str,
    /// The word for failed.
    pub failed: &'a str,
}

impl Words<'_> {
    /// The status that a post of this check has before healer changes it.
    pub fn from(&self, check: &str) -> &str {
        match check {
            "missing-ids" => self.posted,
            "old-failed" => self.failed,
            _ => self.posting,
        }
    }
}

/// How an error of a batch is answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Split it: the bad row must stand alone.
    Bisect,
    /// Make the batches smaller.
    Halve,
    /// Try the same once more.
    Retry,
    /// Give it up.
    GiveUp,
}

pub(super) fn answer(sqlstate: Option<&str>) -> Answer {
    match sqlstate {
        Some("40P01" | "40001") => Answer::Retry,
        Some("57014" | "55P03") => Answer::Halve,
        Some(state) if ["22", "23", "44"].iter().any(|class| state.starts_with(class)) || state == "P0001" => {
            Answer::Bisect
        }
        _ => Answer::GiveUp,
    }
}

impl Batches<'_> {
    /// Carries out all planned actions of one kind, and notes in each what became of it. An error means that the pass
    /// must stop; what was committed before stands.
    pub fn apply(&mut self, change: Change, actions: &mut [&mut Action]) -> Result<(), Error> {
        let mut start = 0;
        while start < actions.len() {
            self.session.check_stop()?;
            let end = (start + self.size).min(actions.len());
            start += self.step(change, &mut actions[start..end], true)?;
        }
        Ok(())
    }

    /// Carries out one batch and gives how many actions are settled (all of them, but after a time-out).
    fn step(&mut self, change: Change, actions: &mut [&mut Action], may_retry: bool) -> Result<usize, Error> {
        let error = match self.run(change, actions) {
            Ok(done) => {
                for action in actions.iter_mut() {
                    action.outcome =
                        if done.contains(action.target.as_ref()) { Outcome::Applied } else { Outcome::Skipped };
                }
                return Ok(actions.len());
            }
            Err(error) => error,
        };
        if error.connection_lost() || matches!(error, Error::LeaseLost { .. }) {
            return Err(error);
        }
        self.session.rollback();
        match answer(error.sqlstate()) {
            Answer::Retry if may_retry => self.step(change, actions, false),
            Answer::Halve if actions.len() > 1 => {
                self.size = (actions.len() / 2).max(1);
                log::info!(target: "healer", "{error}: going on with batches of {}", self.size);
                Ok(0)
            }
            Answer::Bisect if actions.len() > 1 => {
                let middle = actions.len() / 2;
                let (left, right) = actions.split_at_mut(middle);
                let mut settled = 0;
                for half in [left, right] {
                    let mut from = 0;
                    while from < half.len() {
                        self.session.check_stop()?;
                        let to = (from + self.size).min(half.len());
                        from += self.step(change, &mut half[from..to], true)?;
                    }
                    settled += half.len();
                }
                Ok(settled)
            }
            Answer::GiveUp if error.stops_the_pass() => Err(error),
            _ => {
                let reason = error.to_string();
                log::warn!(target: "healer", "[SELF_HEALING] {}: {reason}", change.action_name());
                for action in actions.iter_mut() {
                    action.outcome = Outcome::Failed(reason.as_str().into());
                }
                Ok(actions.len())
            }
        }
    }

    /// One transaction. Gives the ids that were changed.
    fn run(&mut self, change: Change, actions: &mut [&mut Action]) -> Result<HashSet<String>, Error> {
        self.lease.begin_batch(self.session)?;
        #[cfg(feature = "chaos-controls")]
        crate::control::before_changes(self.session)?;
        let done = match change {
            Change::Hold => self.hold(actions)?,
            Change::EnterRecovery => self.enter_recovery(actions)?,
            _ => self.change_posts(change, actions)?,
        };
        if let Err(error) = self.session.commit() {
            if error.connection_lost() {
                // The server may have carried it out or not: the journal tells, later.
                for action in actions.iter_mut() {
                    action.outcome =
                        if done.contains(action.target.as_ref()) { Outcome::InDoubt } else { Outcome::Skipped };
                }
            }
            return Err(error);
        }
        #[cfg(feature = "chaos-controls")]
        crate::control::after_changes(self.session)?;
        Ok(done)
    }

    fn change_posts(&mut self, change: Change, actions: &[&mut Action]) -> Result<HashSet<String>, Error> {
        let (template, from, seen) = match change {
            Change::Requeue => (statement::REQUEUE, "posting", "claimed_at"),
            Change::MarkPosted => (statement::MARK_POSTED, "posting", "claimed_at"),
            Change::Fail => (statement::MARK_FAILED, "posting", "claimed_at"),
            Change::FillId => (statement::FILL_ID, "posted", "posted_at"),
            Change::Archive => (statement::ARCHIVE, "failed", "changed_at"),
            _ => (statement::MOVE_TO_ARCHIVE, "failed", "changed_at"),
        };
        let locked = self.lock(actions, from, seen)?;
        let kept: Vec<&Action> =
            actions.iter().map(|action| &**action).filter(|action| locked.contains(action.target.as_ref())).collect();
        if kept.is_empty() {
            return Ok(HashSet::new());
        }
        self.write(template, &kept)
    }

    fn lock(&mut self, actions: &[&mut Action], from: &str, seen: &str) -> Result<HashSet<String>, Error> {
        let ids: Vec<&str> = actions.iter().map(|action| action.target.as_ref()).collect();
        let times: Vec<Option<DateTime<Utc>>> = actions.iter().map(|action| action.seen).collect();
        let marks: Vec<i64> = actions.iter().map(|action| action.marks).collect();
        let names = self
            .names
            .with("from", self.names.get(from).unwrap_or_default().to_owned())
            .with("seen", self.names.get(seen).unwrap_or_default().to_owned());
        let rows = self
            .session
            .rows(&statement::LOCK.fill(&names), &[Param::Texts(&ids), Param::Times(&times), Param::Ints(&marks)])?;
        rows.iter().map(|row| row.text("id")).collect()
    }

    fn write(&mut self, template: Template, actions: &[&Action]) -> Result<HashSet<String>, Error> {
        let ids: Vec<&str> = actions.iter().map(|action| action.target.as_ref()).collect();
        let reasons: Vec<&str> = actions.iter().map(|action| action.why.reason.as_ref()).collect();
        let evidence: Vec<String> = actions.iter().map(|action| action.why.evidence.to_string()).collect();
        let evidence: Vec<&str> = evidence.iter().map(String::as_str).collect();
        let decided: Vec<Option<DateTime<Utc>>> = actions.iter().map(|action| action.decided_at()).collect();
        let external: Vec<Option<&str>> = actions.iter().map(|action| action.external_id()).collect();
        let posted: Vec<Option<DateTime<Utc>>> = actions.iter().map(|action| action.posted_at()).collect();
        let oldest = actions.iter().filter_map(|action| action.first_time).min();
        let rows = self.session.rows(
            &template.fill(self.names),
            &[
                Param::Texts(&ids),
                Param::Texts(&reasons),
                Param::Texts(&evidence),
                Param::Times(&decided),
                Param::OptionalTexts(&external),
                Param::Times(&posted),
                Param::Time(oldest),
                Param::Int(self.lease.run),
            ],
        )?;
        rows.iter().map(|row| row.text("id")).collect()
    }

    fn hold(&mut self, actions: &[&mut Action]) -> Result<HashSet<String>, Error> {
        // One statement notes the holds of one check; a batch may mix them, so it goes check by check.
        let mut done = HashSet::new();
        let checks: HashSet<&'static str> = actions.iter().map(|action| action.check).collect();
        for check in checks {
            let of_check: Vec<&Action> =
                actions.iter().map(|action| &**action).filter(|action| action.check == check).collect();
            let ids: Vec<&str> = of_check.iter().map(|action| action.target.as_ref()).collect();
            let status: Vec<&str> = of_check.iter().map(|_| self.words.from(check)).collect();
            let codes: Vec<&str> = of_check.iter().map(|action| action.code).collect();
            let reasons: Vec<&str> = of_check.iter().map(|action| action.why.reason.as_ref()).collect();
            let evidence: Vec<String> = of_check.iter().map(|action| action.why.evidence.to_string()).collect();
            let evidence: Vec<&str> = evidence.iter().map(String::as_str).collect();
            let rows = self.session.rows(
                &statement::HOLD.fill(self.names),
                &[
                    Param::Texts(&ids),
                    Param::Texts(&status),
                    Param::Texts(&codes),
                    Param::Texts(&reasons),
                    Param::Texts(&evidence),
                    Param::Text(check),
                    Param::Int(self.lease.run),
                ],
            )?;
            for row in &rows {
                done.insert(row.text("id")?);
            }
        }
        Ok(done)
    }

    fn enter_recovery(&mut self, actions: &[&mut Action]) -> Result<HashSet<String>, Error> {
        let ids: Vec<&str> = actions.iter().map(|action| action.target.as_ref()).collect();
        let rows = self.session.rows(&statement::ENTER_RECOVERY.fill(self.names), &[Param::Texts(&ids)])?;
        rows.iter().map(|row| row.text("id")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_row_is_to_blame_for_is_bisected() {
        for state in ["22P02", "23505", "23514", "44000", "P0001"] {
            assert_eq!(answer(Some(state)), Answer::Bisect, "{state}");
        }
    }

    #[test]
    fn time_outs_halve_deadlocks_retry_and_the_rest_is_given_up() {
        assert_eq!(answer(Some("57014")), Answer::Halve);
        assert_eq!(answer(Some("55P03")), Answer::Halve);
        assert_eq!(answer(Some("40P01")), Answer::Retry);
        assert_eq!(answer(Some("42501")), Answer::GiveUp);
        assert_eq!(answer(None), Answer::GiveUp);
    }
}
