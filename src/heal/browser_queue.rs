//! `browser-queue`: how many operations wait for the browser, and whether one holds it for too long.
//!
//! The queue lives in the application's memory. It is known by the signals `healer.report_browser` and
//! `healer.report_browser_op`; without them, events of waits that ran out are shown as what they are, indirect; without
//! those it is unknown: that no event tells of a wait proves nothing.
//! Never releases the browser. Where the setting allows it, it asks the application to.
//! Limits: an operation that was reported as holding the browser and whose process died looks like one that hangs.

use std::collections::BTreeMap;

use serde_json::Value;

use super::circuit_breaker::{missing_sources, number};
use super::{Check, CheckResult, Observation, Request, Room, Status, ago};
use crate::change::plan::{Plan, Severity};
use crate::database::session::Session;
use crate::database::statement;
use crate::error::Error;
use crate::posts::mapping::Mapping;
use crate::settings::{BrowserQueue as Limits, Settings};

/// The check.
pub struct BrowserQueue;

const NAME: &str = "browser-queue";

/// One report of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Its age.
    pub age_s: i64,
    /// Operations that wait; `None` for a number that is none.
    pub queued: Option<i64>,
    /// Operations at work.
    pub active: Option<i64>,
}

/// An operation that holds the browser, by its last report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its name.
    pub operation: String,
    /// For how long by now.
    pub held_s: i64,
}

/// All that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Reports of the last day, newest first.
    pub reports: Vec<Report>,
    /// Operations that hold the browser.
    pub holders: Vec<Holder>,
    /// Events of waits: how many of each type.
    pub events: BTreeMap<String, u64>,
    /// Age of the newest of them.
    pub newest_event_s: i64,
    /// Whether the run before found the queue critical.
    pub was_critical: bool,
    /// Reports from the future.
    pub future: i64,
    /// Why a source is not read.
    pub missing: Vec<String>,
}

/// What follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How things are.
    pub status: Status,
    /// Operations that wait, or events of waits; `None` for unknown.
    pub found: Option<u64>,
    /// How many things are wrong; `None` for unknown.
    pub issues: Option<u64>,
    /// In words.
    pub summary: String,
    /// What stands beside it.
    pub notes: Vec<String>,
    /// What should be asked of the application, whatever the setting says.
    pub request: Option<Request>,
}

/// Decides. Pure.
pub fn judge(facts: &Facts, limits: &Limits) -> Verdict {
    let mut notes = facts.missing.clone();
    if facts.future > 0 {
        notes.push(format!("{} signals lie in the future and do not count: the clocks differ", facts.future));
    }
    let fresh = facts.reports.iter().take_while(|report| report.age_s <= limits.signal_max_age.as_seconds());
    let (good, odd): (Vec<&Report>, Vec<&Report>) =
        fresh.partition(|report| matches!((report.queued, report.active), (Some(q), Some(a)) if q >= 0 && a >= 0));
    if !odd.is_empty() {
        notes.push(format!("{} signals without usable numbers do not count", odd.len()));
    }
    if let Some(Report { queued: Some(queued), active: Some(active), .. }) = good.first() {
        return direct(*queued, *active, facts, limits, notes);
    }
    if let Some(report) = facts.reports.first().filter(|report| report.age_s > limits.signal_max_age.as_seconds()) {
        notes.push(format!(
            "the last signal is {} old, it is believed for {}",
            ago(report.age_s),
            limits.signal_max_age
        ));
    }
    indirect(facts, limits, notes)
}

fn direct(queued: i64, active: i64, facts: &Facts, limits: &Limits, mut notes: Vec<String>) -> Verdict {
    let mut status = if queued > i64::from(limits.waiting_critical) {
        Status::Critical
    } else if queued > i64::from(limits.waiting_warning) {
        Status::Warning
    } else {
        Status::Ok
    };
    let mut issues = u64::from(status != Status::Ok);
    let critical = status == Status::Critical;
    // Nothing is at work: then what was last reported as holding the browser does not hold it any more.
    let holder = facts
        .holders
        .iter()
        .filter(|holder| active > 0 && holder.held_s > limits.hold_limit.as_seconds())
        .max_by_key(|holder| holder.held_s);
    let mut summary = format!("{queued} operations wait for the browser, {active} active");
    if critical && active == 0 {
        summary.push_str(": suspected deadlock; restart the browser's worker");
    } else if let Some(holder) = holder {
        issues += 1;
        status = status.max(Status::Warning);
        summary.push_str(&format!(
            "; {} has held it for {} (limit {}): see whether it hangs, and end it",
            holder.operation,
            ago(holder.held_s),
            limits.hold_limit
        ));
    } else if status != Status::Ok {
        summary.push_str(": look at what keeps it busy, or give it more capacity");
    }
    let mut request = None;
    if let Some(holder) = holder.filter(|_| critical && facts.was_critical) {
        let reason = format!(
            "critical in two runs on end: {queued} operations wait, {} has held the browser for {}",
            holder.operation,
            ago(holder.held_s)
        );
        if !limits.request_release {
            notes.push("critical in two runs on end; with heal.browser-queue.request_release healer would ask the application to release the browser".into());
        }
        request = Some(Request { kind: "release_browser", target: holder.operation.clone(), reason });
    }
    let found = Some(u64::try_from(queued).unwrap_or(0));
    Verdict { status, found, issues: Some(issues), summary, notes, request }
}

fn indirect(facts: &Facts, limits: &Limits, notes: Vec<String>) -> Verdict {
    let number: u64 = facts.events.values().sum();
    let ask = "have the application call healer.report_browser";
    if number == 0 {
        let summary = format!("neither a signal nor an event tells of the queue; {ask}");
        return Verdict { status: Status::Unknown, found: None, issues: None, summary, notes, request: None };
    }
    let told: Vec<String> = facts.events.iter().map(|(kind, number)| format!("{number} × {kind}")).collect();
    let summary = format!(
        "indirectly, by the events of the last {}: {}, the newest {} ago: operations wait too long; see what holds the browser, and {ask}",
        limits.window,
        told.join(", "),
        ago(facts.newest_event_s)
    );
    Verdict { status: Status::Warning, found: Some(number), issues: Some(1), summary, notes, request: None }
}

/// Reads what is known.
pub fn read(session: &mut Session, mapping: &Mapping, with_schema: bool) -> Result<Facts, Error> {
    let mut facts = Facts { missing: missing_sources(mapping, with_schema), ..Facts::default() };
    if facts.missing.len() == 2 {
        return Ok(facts);
    }
    session.read()?;
    let mut newest = i64::MAX;
    for row in &session.rows(&statement::BROWSER_QUEUE.fill(&mapping.names), &[])? {
        let (age_s, kind, data) =
            (row.int("age_s")?, row.optional_text("kind")?.unwrap_or_default(), row.json("data")?);
        match row.text("source")?.as_str() {
            "queue" => {
                facts.reports.push(Report { age_s, queued: number(&data, "queued"), active: number(&data, "active") });
            }
            "op" => {
                let held_s = number(&data, "held_ms").unwrap_or(0).max(0) / 1_000;
                facts.holders.push(Holder { operation: kind, held_s: held_s.saturating_add(age_s.max(0)) });
            }
            "future" => facts.future += age_s,
            "run" => facts.was_critical = kind == "critical",
            _ if age_s < -super::circuit_breaker::FUTURE_S => {}
            _ => {
                newest = newest.min(age_s);
                *facts.events.entry(kind).or_default() += 1;
            }
        }
    }
    facts.newest_event_s = if newest == i64::MAX { 0 } else { newest };
    facts.reports.sort_by_key(|report| report.age_s);
    Ok(facts)
}

impl Check for BrowserQueue {
    fn name(&self) -> &'static str {
        NAME
    }

    fn enabled(&self, settings: &Settings) -> bool {
        settings.heal.browser_queue.enabled
    }

    fn run(&self, room: &mut Room<'_>, _: &mut Plan) -> Result<CheckResult, Error> {
        let facts = read(room.session, room.mapping, room.with_schema)?;
        let limits = &room.settings.heal.browser_queue;
        let verdict = judge(&facts, limits);
        let mut result = CheckResult::new(NAME, verdict.status, verdict.found, verdict.summary);
        result.details = verdict.notes;
        result.health = verdict.issues.map(|issues| ("browserIssues", Value::from(issues)));
        result.request = verdict.request.filter(|_| limits.request_release);
        let observation = |r#type, severity| Some(Observation { r#type, action: "monitor_browser_queue", severity });
        result.observed = match verdict.status {
            Status::Warning => observation("browser_queue_health", Severity::Warning),
            Status::Critical => observation("browser_queue_critical", Severity::Critical),
            Status::Ok | Status::Unknown => None,
        };
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn facts(queued: i64, active: i64) -> Facts {
        let report = Report { age_s: 10, queued: Some(queued), active: Some(active) };
        Facts { reports: vec![report], ..Facts::default() }
    }

    fn holding(queued: i64, held_s: i64) -> Facts {
        let holders = vec![Holder { operation: "metrics_scraper".into(), held_s }];
        Facts { holders, was_critical: true, ..facts(queued, 1) }
    }

    fn status(facts: &Facts) -> Status {
        judge(facts, &Limits::default()).status
    }

    #[test]
    fn five_may_wait_ten_are_a_warning_and_more_are_critical() {
        let of = |queued| status(&facts(queued, 1));
        assert_eq!(
            [of(0), of(5), of(6), of(10), of(11)],
            [Status::Ok, Status::Ok, Status::Warning, Status::Warning, Status::Critical]
        );
    }

    #[test]
    fn critical_with_nothing_active_is_a_suspected_deadlock() {
        assert!(judge(&facts(11, 0), &Limits::default()).summary.contains("suspected deadlock"));
        assert!(!judge(&facts(11, 1), &Limits::default()).summary.contains("deadlock"));
        assert!(!judge(&facts(10, 0), &Limits::default()).summary.contains("deadlock"));
    }

    #[test]
    fn a_signal_is_believed_for_fifteen_minutes_and_no_second_longer() {
        let aged = |age_s| Facts { reports: vec![Report { age_s, ..facts(2, 1).reports[0] }], ..Facts::default() };
        assert_eq!(status(&aged(900)), Status::Ok);
        let stale = judge(&aged(901), &Limits::default());
        assert_eq!((stale.status, stale.found, stale.issues), (Status::Unknown, None, None));
    }

    #[test]
    fn an_operation_may_hold_the_browser_for_ten_minutes_and_no_second_longer() {
        assert_eq!(status(&holding(0, 600)), Status::Ok);
        assert_eq!(status(&holding(0, 601)), Status::Warning);
        assert_eq!(status(&Facts { reports: facts(0, 0).reports, ..holding(0, 601) }), Status::Ok, "nothing is active");
    }

    #[test]
    fn a_release_is_asked_for_only_when_critical_twice_and_held_too_long() {
        let asks = |facts: &Facts| judge(facts, &Limits::default()).request.is_some();
        assert!(asks(&holding(11, 601)));
        assert!(!asks(&holding(10, 601)));
        assert!(!asks(&holding(11, 600)));
        assert!(!asks(&Facts { was_critical: false, ..holding(11, 601) }));
        assert!(!asks(&Facts { reports: facts(11, 0).reports, ..holding(11, 601) }));
    }

    #[test]
    fn events_are_shown_as_indirect_and_their_silence_is_unknown() {
        let events = BTreeMap::from([("error_browser_queue_timeout".to_owned(), 6)]);
        let told = judge(&Facts { events, newest_event_s: 360, ..Facts::default() }, &Limits::default());
        assert_eq!((told.status, told.found, told.issues), (Status::Warning, Some(6), Some(1)));
        assert!(told.summary.starts_with("indirectly"));
        assert_eq!(status(&Facts::default()), Status::Unknown);
    }

    #[test]
    fn a_report_without_numbers_is_set_aside_for_the_one_before_it() {
        let odd = Report { age_s: 5, queued: None, active: Some(-1) };
        let both = Facts { reports: vec![odd, facts(7, 1).reports[0]], ..Facts::default() };
        let verdict = judge(&both, &Limits::default());
        assert_eq!(verdict.found, Some(7));
        assert!(verdict.notes[0].contains("1 signals without usable numbers"), "{:?}", verdict.notes);
        assert_eq!(status(&Facts { reports: vec![odd], ..Facts::default() }), Status::Unknown);
    }

    proptest! {
        #[test]
        fn more_waiting_is_never_better_and_nothing_stale_is_ever_ok(
            queued in -5_i64..100, more in 0_i64..100, active in -2_i64..3, age_s in 0_i64..2_000,
        ) {
            let of = |queued| {
                let report = Report { age_s, queued: Some(queued), active: Some(active) };
                status(&Facts { reports: vec![report], ..Facts::default() })
            };
            if queued >= 0 && active >= 0 && age_s <= 900 {
                prop_assert!(of(queued + more) >= of(queued));
            } else {
                prop_assert_eq!(of(queued), Status::Unknown);
            }
        }
    }
}
