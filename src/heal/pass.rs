//! The pass: detect, decide, brake, apply and record, report. A dry run is the same without the last steps.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::time::Instant;

use serde_json::Value;

use super::{CHECKS, Check, CheckResult, Room, Status, circuit_breaker};
use crate::change::batch::{Batches, Words};
use crate::change::brake::{self, Decision, State};
use crate::change::lease::{Lease, Taken};
use crate::change::plan::{Action, Change, Outcome, Plan, Why};
use crate::change::request;
use crate::database::catalog::Relation;
use crate::database::session::{Access, Param};
use crate::database::statement::{self, Names};
use crate::error::Error;
use crate::exit;
use crate::pass::{self, HEAL, Record};
use crate::posts::evidence::{Access as LedgerAccess, Ledgers};
use crate::posts::indexes;
use crate::posts::mapping::Mapping;
use crate::report::model::{Counts, Done, Frame, HEALTH_KEYS, PassReport};
use crate::scaling;
use crate::settings::{PLAN_CEILING, Settings};
use crate::start::Start;

/// The trigger that notes the runs of jobs.
pub const JOBS_TRIGGER: &str = "healer_job_run";

/// What `healer heal` was asked.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Show, write nothing.
    pub dry_run: bool,
    /// Only these checks; empty for all.
    pub only: Vec<String>,
    /// `--max-actions`.
    pub max_actions: Option<u32>,
}

/// Runs the pass.
pub fn heal(start: &mut Start, request: &Request) -> Result<Done, Error> {
    let checks = select(&request.only, start.settings())?;
    let mapping = start.mapping()?;
    if indexes::serve_everything(start.settings(), &start.catalog, &mapping) {
        start.session.keep_to_indexes();
    }
    let mut pass = Pass::new(start, mapping, request)?;
    if request.dry_run {
        pass.detect(&checks)?;
        pass.brake()?;
        for result in &mut pass.results {
            if let Some(request) = &result.request {
                result.details.push(format!("would ask the application: {} of {}", request.kind, request.target));
            }
        }
        return Ok(pass.done(None));
    }
    pass.start.catalog.require_writable()?;
    pass.require_update()?;
    let lease = match Lease::take(&mut pass.start.session, "heal", "heal", request.max_actions)? {
        Taken::Busy(who) => return Ok(pass.busy(&who)),
        Taken::Ours(lease) => lease,
    };
    pass.run = Some(lease.run);
    log::info!(target: "healer", "[SELF_HEALING] run {} began", lease.run);
    let outcome = pass.act(&checks, &lease);
    Ok(pass.close(&lease, outcome))
}

/// The checks that were asked for.
fn select(only: &[String], settings: &Settings) -> Result<Vec<&'static dyn Check>, Error> {
    let names: Vec<&str> = CHECKS.iter().map(|check| check.name()).collect();
    for name in only {
        if !names.contains(&name.as_str()) {
            let nearest = names
                .iter()
                .map(|known| (strsim::jaro_winkler(name, known), *known))
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .filter(|(likeness, _)| *likeness > 0.7);
            return Err(Error::Usage {
                message: "--only names a check that does not exist".into(),
                hint: nearest.map_or_else(
                    || format!("the checks are {}", names.join(", ")),
                    |(_, known)| format!("did you mean `{known}`? The checks are {}", names.join(", ")),
                ),
            });
        }
    }
    Ok(CHECKS
        .iter()
        .copied()
        .filter(
            |check| {
                if only.is_empty() { check.enabled(settings) } else { only.iter().any(|name| name == check.name()) }
            },
        )
        .collect())
}

struct Pass<'a> {
    start: &'a mut Start,
    mapping: Mapping,
    ledgers: Ledgers,
    request: &'a Request,
    plan: Plan,
    results: Vec<CheckResult>,
    brake: Option<Decision>,
    run: Option<i64>,
    begun: Instant,
    notes: Vec<String>,
    codes: Vec<u8>,
    applied_unknown: bool,
    /// Posts by their status, as they were left.
    by_status: Option<BTreeMap<String, i64>>,
}

impl<'a> Pass<'a> {
    fn new(start: &'a mut Start, mapping: Mapping, request: &'a Request) -> Result<Self, Error> {
        let ledgers = Ledgers::find(start.settings(), &start.catalog, &mapping)?;
        let kept = request.max_actions.unwrap_or(0).max(start.settings().heal.max_actions).min(PLAN_CEILING);
        let notes = mapping.warnings.clone();
        Ok(Self {
            start,
            mapping,
            ledgers,
            request,
            plan: Plan::new(kept as usize),
            results: Vec::new(),
            brake: None,
            run: None,
            begun: Instant::now(),
            notes,
            codes: Vec::new(),
            applied_unknown: false,
            by_status: None,
        })
    }

    fn with_schema(&self) -> bool {
        self.start.catalog.schema_readable()
    }

    /// Fails early where the role may not update the posts at all.
    fn require_update(&self) -> Result<(), Error> {
        let posts = &self.mapping.posts;
        let settings = &self.start.settings().posts;
        let missing: Vec<&str> = [&settings.status, &settings.external_id]
            .into_iter()
            .filter(|name| posts.column(name).is_none_or(|column| !column.may_update))
            .map(String::as_str)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let role = &self.start.catalog.server.role;
        if posts.may_update && !posts.updatable {
            return Err(Error::Missing {
                what: format!("an updatable posts table ({} is a view that cannot be updated)", posts.quoted),
                hint: format!("set posts.table in healer.toml to the table below it ({})", posts.base),
            });
        }
        Err(Error::Permission {
            message: format!("role {role} may not update {} ({})", posts.quoted, missing.join(", ")),
            hint: format!("GRANT SELECT, UPDATE ON {} TO \"{role}\";", posts.quoted),
        })
    }

    /// Runs the checks; a check that fails is unknown and takes no other down.
    fn detect(&mut self, checks: &[&'static dyn Check]) -> Result<(), Error> {
        let now = self.start.catalog.server.now;
        let with_schema = self.with_schema();
        for check in checks {
            let settings = self.start.origin.settings.clone();
            let target = &self.start.origin.target;
            let mut room = Room {
                session: &mut self.start.session,
                settings: &settings,
                mapping: &self.mapping,
                ledgers: &mut self.ledgers,
                now,
                with_schema,
                max_actions: self.request.max_actions,
                connected_in: self.start.connected_in,
                pooled: target.pooler_hint,
                server: &self.start.catalog.server,
            };
            match check.run(&mut room, &mut self.plan) {
                Ok(result) => self.results.push(result),
                Err(error) if error.stops_the_pass() => return Err(error),
                Err(error) => {
                    // A statement that the deadline cut off says nothing of the check.
                    self.start.session.check_stop()?;
                    log::warn!(target: "healer", "[SELF_HEALING] {}: {error}", check.name());
                    // What an error left half planned is not carried out.
                    let name = check.name();
                    self.plan.actions.retain(|action| action.check != name);
                    let code = error.exit_code();
                    self.codes.push(if matches!(code, 77 | 78 | 75) { code } else { 3 });
                    self.results.push(CheckResult::failed(name, &error));
                }
            }
        }
        for ledger in self.ledgers.unreadable() {
            let why = match &ledger.access {
                LedgerAccess::Hidden => "row-level security hides its rows".to_owned(),
                LedgerAccess::Forbidden => "the role may not read it".to_owned(),
                LedgerAccess::Broken(reason) => reason.clone(),
                LedgerAccess::Readable => continue,
            };
            self.codes.push(if matches!(ledger.access, LedgerAccess::Broken(_)) { 3 } else { 77 });
            self.notes.push(format!("ledger {} exists and cannot be read: {why}; its posts are held", ledger.name));
        }
        Ok(())
    }

    /// Asks the brake about the requeues of the plan, and marks those that must wait.
    fn brake(&mut self) -> Result<(), Error> {
        let wanted = self.plan.count(|action| action.change == Change::Requeue);
        let state = self.brake_state(wanted)?;
        let settings = &self.start.settings().heal.brake;
        let decision = brake::decide(wanted, &state, settings, self.request.max_actions.map(u64::from));
        self.limit(&decision);
        self.brake = Some(decision);
        Ok(())
    }

    fn brake_state(&mut self, wanted: u64) -> Result<State, Error> {
        let mut state = State::default();
        if !self.with_schema() && wanted == 0 {
            return Ok(state);
        }
        let names = self.mapping.names.clone();
        let session = &mut self.start.session;
        if wanted > 0 {
            session.begin(Access::ReadOnly, "")?;
            let bound = i64::try_from(wanted.saturating_mul(20).max(1_000)).unwrap_or(i64::MAX);
            state.open_posts =
                count(session.row(&statement::OPEN_POSTS.fill(&names), &[Param::Int(bound)])?.int("posts")?);
            if self.start.catalog.schema_readable() {
                let row = session.row(&statement::BRAKE_STATE.fill(&names), &[])?;
                state.requeued_day = count(row.int("requeued_day")?);
                state.latched = row.optional_time("braked_at")?.is_some();
                let row = session.row(&statement::RESCUES_GONE_WRONG.fill(&names), &[])?;
                state.rescued = count(row.int("rescued")?);
                state.gone_wrong = count(row.int("gone_wrong")?);
            }
            state.breaker_open = self.breaker_open()?;
        }
        Ok(state)
    }

    /// Whether the circuit breaker is open, in words: what its check found, or what it would find where it did not run.
    /// That it could not be asked stops requeues like an open one; that nobody tells of it does not.
    fn breaker_open(&mut self) -> Result<Option<String>, Error> {
        if let Some(result) = self.results.iter().find(|result| result.name == circuit_breaker::NAME)
            && !result.incomplete
        {
            let open = result.health.as_ref().is_some_and(|(_, value)| *value == Value::Bool(true));
            return Ok(open.then(|| format!("the circuit breaker is open ({})", result.summary)));
        }
        let with_schema = self.with_schema();
        let limits = &self.start.origin.settings.heal.circuit_breaker;
        match circuit_breaker::read(&mut self.start.session, &self.mapping, with_schema) {
            Ok(evidence) => {
                let verdict = circuit_breaker::judge(&evidence, limits);
                let open = verdict.open == Some(true);
                Ok(open.then(|| format!("the circuit breaker is open ({})", verdict.words)))
            }
            Err(error) if error.stops_the_pass() => Err(error),
            Err(error) => Ok(Some(format!("whether the circuit breaker is open could not be measured: {error}"))),
        }
    }

    /// Marks as remaining what the brake or `--max-actions` keeps back.
    fn limit(&mut self, decision: &Decision) {
        let mut requeues = decision.allowed;
        let mut changes = self.request.max_actions.map_or(u64::MAX, u64::from);
        for action in &mut self.plan.actions {
            if !action.change.changes_posts() {
                continue;
            }
            let blocked = action.change == Change::Requeue && requeues == 0;
            if blocked || changes == 0 {
                action.outcome = Outcome::Remaining;
                continue;
            }
            changes -= 1;
            if action.change == Change::Requeue {
                requeues -= 1;
            }
        }
    }

    fn act(&mut self, checks: &[&'static dyn Check], lease: &Lease) -> Result<(), Error> {
        self.detect(checks)?;
        self.brake()?;
        self.apply(lease)?;
        self.hold_refused(lease)?;
        self.ask(lease)?;
        self.tidy(lease)
    }

    fn apply(&mut self, lease: &Lease) -> Result<(), Error> {
        for change in Change::ORDER {
            let mut actions: Vec<&mut Action> = self
                .plan
                .actions
                .iter_mut()
                .filter(|action| action.change == change && action.outcome == Outcome::Planned)
                .collect();
            if actions.is_empty() {
                continue;
            }
            batches(self.start, &self.ledgers, lease).apply(change, &mut actions)?;
        }
        Ok(())
    }

    /// Notes the posts that the database refused to change as held: the next runs leave them alone.
    fn hold_refused(&mut self, lease: &Lease) -> Result<(), Error> {
        let refused: Vec<Action> = self
            .plan
            .actions
            .iter()
            .filter(|action| action.change.changes_posts() && matches!(action.outcome, Outcome::Failed(_)))
            .filter(|action| {
                // Only what the row is to blame for; what a missing grant or a time-out failed is tried again.
                matches!(&action.outcome, Outcome::Failed(reason) if
                    ["SQLSTATE 22", "SQLSTATE 23", "SQLSTATE 44", "SQLSTATE P0001"].iter().any(|class| reason.contains(class)))
            })
            .map(|action| {
                let mut hold = action.clone();
                if let Outcome::Failed(reason) = &action.outcome {
                    let reason = format!("the database refuses the change: {reason}").into();
                    hold.why = Rc::new(Why { reason, evidence: action.why.evidence.clone() });
                }
                hold.change = Change::Hold;
                hold.code = "refused";
                hold.outcome = Outcome::Planned;
                hold
            })
            .collect();
        if refused.is_empty() {
            return Ok(());
        }
        let mut refused = refused;
        let mut actions: Vec<&mut Action> = refused.iter_mut().collect();
        batches(self.start, &self.ledgers, lease).apply(Change::Hold, &mut actions)?;
        for hold in &refused {
            if hold.outcome == Outcome::Applied
                && let Some(result) = self.results.iter_mut().find(|result| result.name == hold.check)
            {
                result.held += 1;
            }
        }
        Ok(())
    }

    /// Leaves what the checks ask of the application, and says whether it did.
    fn ask(&mut self, lease: &Lease) -> Result<(), Error> {
        let seconds = self.start.settings().heal.interval.as_seconds().saturating_mul(2);
        for result in &mut self.results {
            let Some(request) = &result.request else { continue };
            let (kind, target) = (request.kind, &request.target);
            let said = match request::leave(&mut self.start.session, lease, request, seconds) {
                Ok(Some(id)) => format!("asked the application: {kind} of {target} (healer.request {id})"),
                Ok(None) => format!("{kind} of {target} is asked for already, and the application has not taken it up"),
                Err(error) if error.stops_the_pass() => return Err(error),
                Err(error) => {
                    self.codes.push(3);
                    format!("{kind} of {target} could not be asked for: {error}")
                }
            };
            result.details.push(said);
        }
        Ok(())
    }

    /// Closes holds and recoveries whose reason has gone, and prunes healer's own tables once a day.
    fn tidy(&mut self, lease: &Lease) -> Result<(), Error> {
        let names = &self.mapping.names;
        let session = &mut self.start.session;
        session.check_stop()?;
        // Every pass looks at the load, so that what follows it (an autoscaler, a forecast) is never older than that.
        let (settings, catalog) = (&self.start.origin.settings, &self.start.catalog);
        let advice = scaling::look(session, settings, &self.mapping, catalog)?;
        self.by_status = advice.as_ref().map(|advice| advice.by_status.clone());
        let mut statements = vec![
            statement::RELEASE_HOLDS.fill(names),
            statement::CLOSE_RECOVERY.fill(names),
            statement::DATABASE_COUNTERS.fill(names),
        ];
        // The trigger of `init --track-jobs` notes runs exactly; without it a pass notes what has changed.
        let tracked = |table: &Relation| table.triggers.iter().any(|trigger| trigger.name == JOBS_TRIGGER);
        if let Some(table) = self.mapping.heartbeats.as_ref().filter(|table| table.readable() && !tracked(table))
            && !self.mapping.heartbeats_history
        {
            log::debug!(target: "healer", "noting the runs that {} tells of", table.quoted);
            statements.push(statement::JOB_RUNS.fill(names));
        }
        if lease.prune {
            statements.push(statement::PRUNE.fill(names));
        }
        // One round trip: what a pass costs on a slow line is its round trips.
        let Some(advice) = advice else { return session.transaction(&statements) };
        let tidying = statements.len();
        statements.extend(scaling::notes(settings, &self.mapping, catalog, &advice));
        match session.transaction(&statements) {
            // What is only noted for later takes nothing down with it.
            Err(error) if !error.stops_the_pass() => {
                log::warn!(target: "healer", "with the load noted: {error}");
                session.transaction(&statements[..tidying])
            }
            done => done,
        }
    }

    /// Writes the event, healer's heartbeat and the end of the run. What can no longer be written is said, not hidden.
    fn close(mut self, lease: &Lease, outcome: Result<(), Error>) -> Done {
        let error = outcome.err();
        if let Some(error) = &error {
            self.codes.push(error.exit_code());
            log::error!(target: "healer", "[SELF_HEALING] {error}");
            pass::recover_session(self.start, lease.run, error);
            self.settle_doubts(lease);
        }
        self.notes.extend(pass::unseen(&self.mapping));
        let mut done = self.done(error.as_ref());
        // The report has what is told of it. Of 100,000 actions the room is needed for the event.
        self.plan = Plan::new(0);
        let brake = self.brake.as_ref().is_some_and(|brake| brake.latches);
        let record =
            Record { kind: &HEAL, lease, mapping: &self.mapping, begun: self.begun, brake, error: error.as_ref() };
        record.write(self.start, &mut done);
        done
    }

    /// After a connection was cut in a COMMIT: the journal tells what was done.
    fn settle_doubts(&mut self, lease: &Lease) {
        if self.plan.count(|action| action.outcome == Outcome::InDoubt) == 0 {
            return;
        }
        match self.ask_journal(lease) {
            Ok(done) => {
                for action in &mut self.plan.actions {
                    if action.outcome == Outcome::InDoubt {
                        action.outcome = if done.contains(action.target.as_ref()) {
                            Outcome::Applied
                        } else {
                            Outcome::Failed("the connection was cut before the COMMIT".into())
                        };
                    }
                }
            }
            Err(error) => {
                self.applied_unknown = true;
                self.notes.push(format!(
                    "the connection was cut in a COMMIT and the journal cannot be asked ({error}): how many changes were \
                     made is in healer.action, run {}",
                    lease.run
                ));
            }
        }
    }

    fn ask_journal(&mut self, lease: &Lease) -> Result<HashSet<String>, Error> {
        let session = &mut self.start.session;
        // The batch in doubt holds the row of the lease until it has ended: renewing it waits for that.
        session.begin(Access::ReadWrite, &lease.renewal())?;
        let rows = session.rows(&statement::RUN_TARGETS.fill(&Names::default()), &[Param::Int(lease.run)])?;
        let done = rows.iter().map(|row| row.text("target")).collect();
        session.commit()?;
        done
    }

    fn busy(self, who: &str) -> Done {
        let mut report = self.report("skipped");
        report.verdict = format!("another run is at work: {who}; nothing was done");
        report.notes = vec![report.verdict.clone()];
        Done { report, exit_code: 0 }
    }

    fn done(&mut self, error: Option<&Error>) -> Done {
        let brake_on = self.brake.as_ref().and_then(|brake| brake.reason.clone());
        if let Some(reason) = &brake_on
            && let Some(result) = self.results.iter_mut().find(|result| result.name == "stuck-posts")
        {
            result.status = result.status.max(Status::Critical);
            let latches = self.brake.as_ref().is_some_and(|brake| brake.latches);
            result.details.push(if latches {
                format!("brake: {reason}; nothing more is requeued until `healer heal --max-actions N`")
            } else {
                format!("not all are queued again: {reason}; the next run tries again")
            });
        }
        for result in &mut self.results {
            let failed = self
                .plan
                .actions
                .iter()
                .filter(|action| action.check == result.name && matches!(action.outcome, Outcome::Failed(_)))
                .count();
            if failed > 0 && result.status != Status::Unknown {
                result.status = Status::Critical;
                result.summary.push_str(&format!(", {failed} could not be changed"));
            }
        }
        let mut codes = self.codes.clone();
        if !self.request.dry_run {
            let new_holds = self
                .plan
                .count(|action| action.change == Change::Hold && action.outcome == Outcome::Applied && !action.known);
            let failed = self.plan.count(|action| matches!(action.outcome, Outcome::Failed(_)));
            if new_holds > 0 || failed > 0 || brake_on.is_some() {
                codes.push(3);
            }
        }
        if self.results.iter().any(|result| result.incomplete && result.error_code == 0) {
            codes.push(3);
        }
        let exit_code = exit::strongest(codes);
        let status = match (error, exit_code) {
            (None, 0) => "ok",
            (None | Some(Error::Timeout), _) => "partial",
            (Some(_), _) => "failed",
        };
        Done { report: self.report(status), exit_code }
    }

    fn report(&self, status: &'static str) -> PassReport {
        let words = &self.start.settings().posts.words;
        let mut notes = self.notes.clone();
        if self.request.dry_run && !self.with_schema() {
            notes.push("the schema healer does not exist yet (or is of another version): earlier rescues and holds are not known; `healer init` creates it".into());
        }
        let frame = Frame {
            kind: &HEAL,
            dry_run: self.request.dry_run,
            status,
            run_id: self.run,
            database_time: self.start.catalog.server.now,
            begun: self.begun,
        };
        PassReport::heal(&frame, &self.plan, &self.results, self.counts(), self.system_health(), notes, words)
    }

    /// The figures that dashboards read: those that were measured, `null` for the others.
    fn system_health(&self) -> Value {
        let mut health: serde_json::Map<String, Value> =
            HEALTH_KEYS.iter().map(|key| ((*key).to_owned(), Value::Null)).collect();
        for (key, value) in self.results.iter().filter_map(|result| result.health.clone()) {
            health.insert(key.to_owned(), value);
        }
        Value::Object(health)
    }

    fn counts(&self) -> Counts {
        let outcome = |wanted: fn(&Outcome) -> bool| self.plan.count(|action| wanted(&action.outcome));
        let acted = !self.request.dry_run;
        Counts {
            planned: self.plan.actions.len() as u64 + self.plan.overflow,
            applied: (!self.applied_unknown).then(|| outcome(|o| matches!(o, Outcome::Applied))),
            skipped: outcome(|o| matches!(o, Outcome::Skipped)),
            failed: outcome(|o| matches!(o, Outcome::Failed(_))),
            held: self.results.iter().map(|result| result.held).sum(),
            remaining: outcome(|o| matches!(o, Outcome::Remaining))
                + if acted { outcome(|o| matches!(o, Outcome::Planned)) } else { 0 }
                + self.plan.overflow
                + self.results.iter().map(|result| result.remaining).sum::<u64>(),
            posts: self.by_status.clone(),
        }
    }
}

/// What carries actions out in batches.
fn batches<'a>(start: &'a mut Start, ledgers: &'a Ledgers, lease: &'a Lease) -> Batches<'a> {
    let settings = &start.origin.settings;
    let words = &settings.posts.words;
    Batches {
        session: &mut start.session,
        lease,
        names: ledgers.names(),
        size: settings.database.batch as usize,
        words: Words { posting: &words.posting, posted: &words.posted, failed: &words.failed },
    }
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
