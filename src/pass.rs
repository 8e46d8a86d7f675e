//! What all passes share: their names, their lease, and the record of a run.
//!
//! A pass detects, decides, and (unless it is a dry run) acts; then it says what it was. [`run`] does all of that for a
//! [`Work`]; `heal`, which has a plan with a brake between detecting and acting, uses the same [`Record`].

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use crate::change::lease::{Lease, Taken};
use crate::database::catalog::Relation;
use crate::database::session::{Access, Param, Session};
use crate::database::statement;
use crate::error::Error;
use crate::exit;
use crate::posts::mapping::Mapping;
use crate::report::model::{Done, Findings, Frame, PassReport};
use crate::start::Start;

/// The names under which a pass is known.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// The command, as it is typed.
    pub command: &'static str,
    /// Its row in `healer.lease`, and its name in `healer.run`.
    pub lease: &'static str,
    /// What its log lines begin with.
    pub tag: &'static str,
    /// Its line in the heartbeats.
    pub job: &'static str,
    /// Its event.
    pub event: &'static str,
    /// The event of a run that failed itself.
    pub failure: &'static str,
}

/// `healer heal`
pub static HEAL: Kind = Kind {
    command: "heal",
    lease: "heal",
    tag: "[SELF_HEALING]",
    job: "self_healing",
    event: "self_healing_report",
    failure: "error_healing_cycle_failed",
};

/// `healer optimize performance`
pub static PERFORMANCE: Kind = Kind {
    command: "optimize performance",
    lease: "optimize-performance",
    tag: "[PERF_OPTIMIZER]",
    job: "performance_optimizer",
    event: "performance_optimization_report",
    failure: "error_optimization_failed",
};

/// `healer optimize content`
pub static CONTENT: Kind = Kind {
    command: "optimize content",
    lease: "optimize-content",
    tag: "[AUTONOMOUS_OPTIMIZER]",
    job: "autonomous_optimizer",
    event: "autonomous_optimization",
    failure: "error_optimization_failed",
};

/// `healer analyze-errors`
pub static ERRORS: Kind = Kind {
    command: "analyze-errors",
    lease: "analyze-errors",
    tag: "[ERROR_ANALYSIS]",
    job: "error_analysis",
    event: "error_analysis_complete",
    failure: "error_analysis_failed",
};

/// All passes.
pub static ALL: [&Kind; 4] = [&HEAL, &PERFORMANCE, &CONTENT, &ERRORS];

/// Time beyond `--timeout` in which a run says what it did: its record, its event, its lease.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A pass: what it looks at, and what it then does.
pub trait Work {
    /// What only this pass tells: the keys of its event that dashboards read by name, and more.
    type Body: Serialize;
    /// Its names.
    fn kind(&self) -> &'static Kind;
    /// Looks, in READ ONLY transactions, and decides. The same for a dry run and for a real one.
    fn detect(&mut self, start: &mut Start, mapping: &Mapping) -> Result<(), Error>;
    /// Carries out what was decided. A dry run never comes here.
    fn act(&mut self, start: &mut Start, mapping: &Mapping, lease: &Lease) -> Result<(), Error>;
    /// What was found and done: asked for last, also after an error.
    fn findings(&mut self, dry_run: bool) -> Findings<Self::Body>;
}

/// Runs a pass.
pub fn run<W: Work>(start: &mut Start, dry_run: bool, work: &mut W) -> Result<Done<W::Body>, Error> {
    let kind = work.kind();
    let mapping = start.mapping()?;
    let begun = Instant::now();
    let mut frame = Frame { kind, dry_run, status: "ok", run_id: None, database_time: start.catalog.server.now, begun };
    if dry_run {
        work.detect(start, &mapping)?;
        return Ok(done(&mut frame, work.findings(true), None));
    }
    start.catalog.require_writable()?;
    let lease = match Lease::take(&mut start.session, kind.lease, kind.command, None)? {
        Taken::Busy(who) => {
            let mut findings = work.findings(false);
            findings.headline = format!("another run is at work: {who}; nothing was done");
            findings.notes = vec![findings.headline.clone()];
            frame.status = "skipped";
            return Ok(Done { report: PassReport::new(&frame, findings), exit_code: 0 });
        }
        Taken::Ours(lease) => lease,
    };
    frame.run_id = Some(lease.run);
    log::info!(target: "healer", "{} run {} began", kind.tag, lease.run);
    let error = work.detect(start, &mapping).and_then(|()| work.act(start, &mapping, &lease)).err();
    // A statement that the end of the time, or a signal, cut off is no failure of its own.
    let error = error.map(|error| match (error.sqlstate(), start.session.check_stop()) {
        (Some("57014"), Err(stop)) => stop,
        _ => error,
    });
    if let Some(error) = &error {
        log::error!(target: "healer", "{} {error}", kind.tag);
        recover_session(start, lease.run, error);
    }
    let mut findings = work.findings(false);
    findings.notes.extend(unseen(&mapping));
    let mut done = done(&mut frame, findings, error.as_ref());
    let record = Record { kind, lease: &lease, mapping: &mapping, begun, brake: false, error: error.as_ref() };
    record.write(start, &mut done);
    Ok(done)
}

fn done<B: Serialize>(frame: &mut Frame, mut findings: Findings<B>, error: Option<&Error>) -> Done<B> {
    if let Some(error) = error {
        findings.codes.push(error.exit_code());
        findings.headline = format!("stopped before its end ({error}); {}", findings.headline);
    }
    for check in findings.checks.iter().filter(|check| check.incomplete) {
        // As for every check: what could not be measured because a query failed makes the pass partial, and a missing
        // grant or a wrong configuration keeps its own code.
        findings.codes.push(if matches!(check.error_code, 75 | 77 | 78) { check.error_code } else { 3 });
    }
    let exit_code = exit::strongest(findings.codes.iter().copied());
    frame.status = match (error, exit_code) {
        (None, 0) => "ok",
        (None | Some(Error::Timeout), _) => "partial",
        (Some(_), _) => "failed",
    };
    Done { report: PassReport::new(frame, findings), exit_code }
}

/// What should be known where dashboards cannot see the run.
pub fn unseen(mapping: &Mapping) -> Option<String> {
    let hidden = mapping.events.as_ref().is_some_and(|events| !events.may_insert);
    hidden.then(|| "the role may not insert into the event table: dashboards do not see this run".into())
}

/// After an error: a session that can still write what became of the run, where there can be one.
pub fn recover_session(start: &mut Start, run: i64, error: &Error) {
    if !error.connection_lost() && !start.session.is_closed() {
        start.session.rollback();
        return;
    }
    // A moment of its own: the pass may have used up its time, and the truth about what was done is still owed.
    let mut origin = start.origin.clone();
    origin.deadline = origin.deadline.max(Instant::now() + LAST_WORDS);
    match origin.connect() {
        Ok(session) => start.session = session,
        Err(again) => log::warn!(target: "healer", "run {run}: no second connection: {again}"),
    }
}

/// The record of a run: its event, healer's heartbeat, the end of its row in `healer.run`, its lease given back.
#[derive(Debug)]
pub struct Record<'a> {
    /// The names of the pass.
    pub kind: &'static Kind,
    /// Its lease.
    pub lease: &'a Lease,
    /// Where events and heartbeats are.
    pub mapping: &'a Mapping,
    /// When it began.
    pub begun: Instant,
    /// Whether the brake stays on.
    pub brake: bool,
    /// What ended it before its end.
    pub error: Option<&'a Error>,
}

impl Record<'_> {
    /// Writes it. What can no longer be written is said, not hidden.
    pub fn write<B: Serialize>(&self, start: &mut Start, done: &mut Done<B>) {
        start.session.extend(LAST_WORDS);
        if let Err(failure) = self.try_write(&mut start.session, done) {
            log::error!(target: "healer", "{} the run could not be recorded: {failure}", self.kind.tag);
            done.report.notes.push(format!("the run could not be recorded: {failure}"));
            done.exit_code = exit::strongest([done.exit_code, failure.exit_code()]);
        }
    }

    fn try_write<B: Serialize>(&self, session: &mut Session, done: &Done<B>) -> Result<(), Error> {
        // A pass that ran out of its time did what it could, and the rest is counted: that is no failure.
        let failed = self.error.filter(|error| !matches!(error, Error::Timeout));
        let event = if failed.is_some() { self.kind.failure } else { self.kind.event };
        let mut body = done.report.event();
        if let Some(error) = failed {
            body["error_message"] = json!(error.to_string());
            body["component"] = json!("healer");
        }
        // Where the event or the heartbeat is refused the other one is written all the same, and the run in any case.
        let mut refused = None;
        for (with_event, with_heartbeat) in [(true, true), (true, false), (false, true), (false, false)] {
            let event = with_event.then_some((event, &body));
            match self.write_rows(session, done, event, with_heartbeat) {
                Ok(()) => break,
                Err(failure) if failure.stops_the_pass() => return Err(failure),
                Err(failure) => refused = refused.or(Some(failure)),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    fn write_rows<B: Serialize>(
        &self,
        session: &mut Session,
        done: &Done<B>,
        event: Option<(&str, &Value)>,
        heartbeat: bool,
    ) -> Result<(), Error> {
        let mapping = self.mapping;
        let error = self.error.map(ToString::to_string).unwrap_or_default();
        session.begin(Access::ReadWrite, "")?;
        let takes_events = mapping.events.as_ref().is_some_and(|events| events.may_insert);
        if let Some((event, body)) = event.filter(|_| takes_events) {
            session.rows(
                &statement::EVENT.fill(&mapping.names),
                &[
                    Param::Text(event),
                    Param::Text(&storable(body)),
                    Param::Text(done.report.severity()),
                    Param::Text(&done.report.verdict),
                ],
            )?;
        }
        let beats = |found: &Relation| found.may_insert && found.may_update && !found.row_security;
        if heartbeat && mapping.heartbeats.as_ref().is_some_and(beats) {
            let template = if mapping.heartbeats_history { statement::HEARTBEAT_HISTORY } else { statement::HEARTBEAT };
            let took = i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX);
            session.rows(
                &template.fill(&mapping.names),
                &[Param::Text(self.kind.job), Param::Bool(self.error.is_none()), Param::Text(&error), Param::Int(took)],
            )?;
        }
        session.rows(
            &statement::RUN_FINISH.fill(&mapping.names),
            &[
                Param::Int(self.lease.run),
                Param::Text(done.report.status),
                Param::Int(i64::from(done.exit_code)),
                Param::Text(&json!(done.report.counts).to_string()),
                Param::Text(&storable(&json!(done.report.checks))),
                Param::Bool(self.brake),
                Param::Text(&error),
                Param::Text(&self.lease.token),
            ],
        )?;
        session.commit()
    }
}

/// JSON as `jsonb` takes it: PostgreSQL has no text with a NUL in it.
pub fn storable(value: &Value) -> String {
    fn without_nul(value: &mut Value) {
        match value {
            Value::String(text) if text.contains('\0') => *text = text.replace('\0', ""),
            Value::Array(items) => items.iter_mut().for_each(without_nul),
            Value::Object(members) => members.values_mut().for_each(without_nul),
            _ => {}
        }
    }
    let mut value = value.clone();
    without_nul(&mut value);
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_left_out_and_a_text_that_only_looks_like_one_is_kept() {
        assert_eq!(storable(&json!({ "a": ["x\0y"], "b": "\\u0000" })), r#"{"a":["xy"],"b":"\\u0000"}"#);
    }
}
