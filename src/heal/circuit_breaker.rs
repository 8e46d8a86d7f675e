//! `circuit-breaker`: whether the application's circuit breaker is open.
//!
//! The breaker lives in the application's memory. It is known by the signal `healer.report_breaker`, else by what the
//! events of the last hours tell, else it is unknown. The brake on requeues asks here and nowhere else.
//! Never opens, closes or resets a breaker.
//! Limits: without the signal an open breaker is told from a queue that stands still for another reason only by what
//! the events say of it; a queue that claims posts and starts nothing counts as an open breaker.

use serde_json::Value;

use super::{Check, CheckResult, Room, Status, ago};
use crate::change::plan::Plan;
use crate::database::session::{Row, Session};
use crate::database::statement;
use crate::error::Error;
use crate::posts::mapping::Mapping;
use crate::settings::{CircuitBreaker as Limits, Settings};

/// The check.
pub struct CircuitBreaker;

/// Its name, by which the brake finds its result.
pub const NAME: &str = "circuit-breaker";

/// How far a clock may be ahead before a time counts as lying in the future, in seconds.
pub(super) const FUTURE_S: i64 = 60;

/// The latest signal of one breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// The breaker's name.
    pub name: String,
    /// How old the signal is; `None` where all of them lie in the future.
    pub age_s: Option<i64>,
    /// What it says; `None` where it says neither.
    pub open: Option<bool>,
    /// Since when it has been open.
    pub open_s: Option<i64>,
    /// Signals from the future, which do not count.
    pub future: u64,
}

/// One event that tells of the breaker.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its type.
    pub kind: String,
    /// Its age.
    pub age_s: i64,
    /// Its JSON.
    pub data: Value,
}

/// All that is known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evidence {
    /// The signals of the last day.
    pub signals: Vec<Signal>,
    /// The events of the window, newest first.
    pub events: Vec<Event>,
    /// Why a source is not read.
    pub missing: Vec<String>,
}

/// What follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether a breaker is open; `None` for unknown.
    pub open: Option<bool>,
    /// Since when.
    pub open_s: Option<i64>,
    /// In words.
    pub words: String,
    /// What was set aside.
    pub notes: Vec<String>,
}

/// Reads what tells of the breaker, in an open or a new READ ONLY transaction.
pub fn read(session: &mut Session, mapping: &Mapping, with_schema: bool) -> Result<Evidence, Error> {
    let mut evidence = Evidence { missing: missing_sources(mapping, with_schema), ..Evidence::default() };
    if evidence.missing.len() == 2 {
        return Ok(evidence);
    }
    session.read()?;
    for row in &session.rows(&statement::CIRCUIT_BREAKER.fill(&mapping.names), &[])? {
        let data = row.json("data")?;
        if row.text("source")? == "signal" {
            evidence.signals.push(signal(row, &data)?);
        } else {
            evidence.events.push(Event { kind: row.text("kind")?, age_s: row.int("age_s")?, data });
        }
    }
    evidence.events.sort_by_key(|event| event.age_s);
    Ok(evidence)
}

/// Why the signals or the events are not read.
pub(super) fn missing_sources(mapping: &Mapping, with_schema: bool) -> Vec<String> {
    let mut missing = Vec::new();
    if !with_schema {
        missing.push("the schema healer cannot be read (`healer init`)".to_owned());
    }
    match &mapping.events {
        None => missing.push("there is no event table".to_owned()),
        Some(events) if !events.readable() => missing.push(format!("the role may not read {}", events.quoted)),
        Some(_) => {}
    }
    missing
}

fn signal(row: &Row, data: &Value) -> Result<Signal, Error> {
    Ok(Signal {
        name: row.text("kind")?,
        age_s: row.optional_int("age_s")?,
        open: match data["open"].as_str() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        },
        open_s: data["open_s"].as_i64(),
        future: data["future"].as_u64().unwrap_or(0),
    })
}

/// A whole number of an event, written as a number or as a text.
pub(super) fn number(data: &Value, key: &str) -> Option<i64> {
    data[key].as_i64().or_else(|| data[key].as_str().and_then(|text| text.trim().parse().ok()))
}

/// Decides. Pure.
pub fn judge(evidence: &Evidence, limits: &Limits) -> Verdict {
    let mut notes = evidence.missing.clone();
    let future: u64 = evidence.signals.iter().map(|signal| signal.future).sum();
    if future > 0 {
        notes.push(format!("{future} signals lie in the future and do not count: the clocks differ"));
    }
    let fresh = |signal: &&Signal| signal.age_s.is_some_and(|age| age <= limits.signal_max_age.as_seconds());
    if let Some(open) = evidence.signals.iter().filter(fresh).find(|signal| signal.open == Some(true)) {
        let since = open.open_s.or(open.age_s);
        let words =
            format!("the breaker {} is open for {} (signal)", quoted(&open.name), since.map_or("?".into(), ago));
        return Verdict { open: Some(true), open_s: since, words, notes };
    }
    let known_closed = evidence.signals.iter().filter(fresh).any(|signal| signal.open == Some(false));
    // A breaker that was last said to be open and is not spoken of any more may still be open.
    let doubtful = evidence.signals.iter().find(|signal| !fresh(signal) && signal.open == Some(true));
    let silent = evidence.signals.iter().filter(fresh).find(|signal| signal.open.is_none());
    if let Some(signal) = silent {
        notes.push(format!("the signal of {} says neither open nor closed", quoted(&signal.name)));
    }
    if known_closed && doubtful.is_none() && silent.is_none() {
        return Verdict { open: Some(false), open_s: None, words: "closed (signal)".into(), notes };
    }
    if let Some(age) = evidence.signals.iter().filter(|signal| !fresh(signal)).filter_map(|signal| signal.age_s).min() {
        notes.push(format!("the last signal is {} old, it is believed for {}", ago(age), limits.signal_max_age));
    }
    by_events(evidence, limits, notes)
}

fn quoted(name: &str) -> String {
    if name.is_empty() { "without a name".to_owned() } else { format!("`{name}`") }
}

/// The newest event that tells decides: an attempt or a reset means closed, a breaker that is stuck means open, and
/// ticks in a row with ready posts and no attempt mean open too.
fn by_events(evidence: &Evidence, limits: &Limits, mut notes: Vec<String>) -> Verdict {
    let mut idle = 0_u32;
    let mut future = 0_u32;
    for event in &evidence.events {
        if event.age_s < -FUTURE_S {
            future += 1;
            continue;
        }
        if event.kind == "POSTING_QUEUE_TICK" {
            match (number(&event.data, "ready_candidates"), number(&event.data, "attempts_started")) {
                (_, Some(started)) if started > 0 => {
                    return told(Some(false), event, "attempts are being started", None, notes, future);
                }
                (Some(ready), Some(_)) if ready > 0 => {
                    idle += 1;
                    if idle >= limits.idle_ticks {
                        let words = format!("{idle} ticks in a row had posts ready and started nothing");
                        return told(Some(true), event, &words, Some(event.age_s), notes, future);
                    }
                }
                _ => {}
            }
            continue;
        }
        let reset = event.kind.to_lowercase().contains("reset") || event.kind.to_lowercase().contains("closed");
        let since = (!reset).then_some(event.age_s);
        return told(Some(!reset), event, &format!("event {}", event.kind), since, notes, future);
    }
    set_aside(&mut notes, future);
    Verdict { open: None, open_s: None, words: "neither a signal nor an event tells".into(), notes }
}

fn told(
    open: Option<bool>,
    event: &Event,
    words: &str,
    open_s: Option<i64>,
    mut notes: Vec<String>,
    future: u32,
) -> Verdict {
    set_aside(&mut notes, future);
    let word = if open == Some(true) { "open" } else { "closed" };
    let words = format!("{word} by the events: {words}, {} ago", ago(event.age_s.max(0)));
    Verdict { open, open_s, words, notes }
}

fn set_aside(notes: &mut Vec<String>, future: u32) {
    if future > 0 {
        notes.push(format!("{future} events lie in the future and do not count"));
    }
}

/// The status that a verdict means, and what to do.
pub fn assess(verdict: &Verdict, limits: &Limits) -> (Status, String) {
    match verdict.open {
        None => (Status::Unknown, format!("{}; have the application call healer.report_breaker", verdict.words)),
        Some(false) => (Status::Ok, verdict.words.clone()),
        Some(true) => {
            let long = verdict.open_s.is_some_and(|open| open > limits.open_critical.as_seconds());
            let status = if long { Status::Critical } else { Status::Warning };
            (status, format!("{}: nothing is requeued; find out why posts fail, then reset it", verdict.words))
        }
    }
}

impl Check for CircuitBreaker {
    fn name(&self) -> &'static str {
        NAME
    }

    fn enabled(&self, settings: &Settings) -> bool {
        settings.heal.circuit_breaker.enabled
    }

    fn run(&self, room: &mut Room<'_>, _: &mut Plan) -> Result<CheckResult, Error> {
        let limits = &room.settings.heal.circuit_breaker;
        let evidence = read(room.session, room.mapping, room.with_schema)?;
        let verdict = judge(&evidence, limits);
        let (status, summary) = assess(&verdict, limits);
        let mut result = CheckResult::new(NAME, status, verdict.open.map(u64::from), summary);
        result.health = verdict.open.map(|open| ("circuitBreakerOpen", Value::Bool(open)));
        result.details = verdict.notes;
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn signal(age_s: i64, open: Option<bool>) -> Signal {
        Signal { name: "posting".into(), age_s: Some(age_s), open, open_s: open.and(Some(age_s)), future: 0 }
    }

    fn signals(signals: &[Signal]) -> Evidence {
        Evidence { signals: signals.to_vec(), ..Evidence::default() }
    }

    fn event(kind: &str, age_s: i64, data: Value) -> Event {
        Event { kind: kind.into(), age_s, data }
    }

    fn tick(age_s: i64, ready: i64, started: i64) -> Event {
        event("POSTING_QUEUE_TICK", age_s, json!({ "ready_candidates": ready, "attempts_started": started }))
    }

    fn open(evidence: &Evidence) -> Option<bool> {
        judge(evidence, &Limits::default()).open
    }

    #[test]
    fn a_signal_is_believed_for_fifteen_minutes_and_no_second_longer() {
        for said in [true, false] {
            assert_eq!(open(&signals(&[signal(900, Some(said))])), Some(said));
            assert_eq!(open(&signals(&[signal(901, Some(said))])), None);
        }
    }

    #[test]
    fn one_open_breaker_of_two_is_open_and_a_doubtful_one_is_not_closed() {
        assert_eq!(open(&signals(&[signal(5, Some(false)), signal(9, Some(true))])), Some(true));
        assert_eq!(open(&signals(&[signal(5, Some(false)), signal(5_000, Some(true))])), None);
        assert_eq!(open(&signals(&[signal(5, Some(false)), signal(5_000, Some(false))])), Some(false));
    }

    #[test]
    fn a_signal_that_says_nothing_or_lies_in_the_future_is_set_aside() {
        assert_eq!(open(&signals(&[signal(5, None)])), None);
        let ahead = Signal { age_s: None, future: 2, ..signal(0, None) };
        let verdict = judge(&signals(&[ahead]), &Limits::default());
        assert_eq!(verdict.open, None);
        assert!(verdict.notes[0].contains("2 signals lie in the future"), "{:?}", verdict.notes);
    }

    #[test]
    fn an_open_breaker_is_a_warning_for_fifteen_minutes_and_critical_after() {
        let status = |open_s| {
            let limits = Limits::default();
            let evidence = signals(&[Signal { open_s: Some(open_s), ..signal(5, Some(true)) }]);
            assess(&judge(&evidence, &limits), &limits).0
        };
        assert_eq!(status(900), Status::Warning);
        assert_eq!(status(901), Status::Critical);
    }

    #[test]
    fn the_newest_event_that_tells_decides() {
        let events = |events: &[Event]| open(&Evidence { events: events.to_vec(), ..Evidence::default() });
        let stuck = event("circuit_breaker_stuck", 600, json!({}));
        let reset = event("circuit_breaker_forced_reset", 300, json!({}));
        let alert = event("posting_watchdog_alert", 100, json!({}));
        assert_eq!(events(std::slice::from_ref(&stuck)), Some(true));
        assert_eq!(events(&[reset.clone(), stuck.clone()]), Some(false));
        assert_eq!(events(&[alert, reset, stuck.clone()]), Some(true));
        assert_eq!(events(&[tick(60, 3, 1), stuck.clone()]), Some(false), "an attempt was started since");
        assert_eq!(events(&[tick(60, 0, 0), stuck]), Some(true), "nothing was ready: that says nothing");
        assert_eq!(events(&[]), None);
    }

    #[test]
    fn two_idle_ticks_say_nothing_and_three_mean_open() {
        let ticks = |number: i64| {
            open(&Evidence { events: (0..number).map(|n| tick(60 + n * 300, 2, 0)).collect(), ..Evidence::default() })
        };
        assert_eq!(ticks(2), None);
        assert_eq!(ticks(3), Some(true));
    }

    #[test]
    fn numbers_that_are_texts_count_and_odd_ones_are_passed_over() {
        let odd = event("POSTING_QUEUE_TICK", 10, json!({ "ready_candidates": "many", "attempts_started": null }));
        let text = event("POSTING_QUEUE_TICK", 20, json!({ "ready_candidates": "4", "attempts_started": "2" }));
        assert_eq!(open(&Evidence { events: vec![odd, text], ..Evidence::default() }), Some(false));
    }

    proptest! {
        #[test]
        fn a_fresh_open_signal_wins_over_everything(
            age in 0_i64..900, others in prop::collection::vec((0_i64..100_000, prop::option::of(any::<bool>())), 0..5),
            ticks in prop::collection::vec((0_i64..7_000, 0_i64..3, 0_i64..3), 0..8),
        ) {
            let mut all: Vec<Signal> = others.iter().map(|(age, said)| signal(*age, *said)).collect();
            all.push(signal(age, Some(true)));
            let events = ticks.iter().map(|(age, ready, started)| tick(*age, *ready, *started)).collect();
            prop_assert_eq!(open(&Evidence { signals: all, events, missing: vec![] }), Some(true));
        }

        #[test]
        fn what_nobody_tells_is_never_closed(ages in prop::collection::vec(901_i64..80_000, 0..4), said: bool) {
            let all: Vec<Signal> = ages.iter().map(|age| signal(*age, Some(said))).collect();
            prop_assert_eq!(open(&signals(&all)), None);
        }
    }
}
