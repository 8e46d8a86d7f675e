//! `healer optimize performance`: where the system loses time, and what is done about it.
//!
//! Each subject is a room: it reads (`detect`), judges purely, does what may be done (`act`, by the hands of
//! [`crate::change`]), and tells what it found and did (`tell`). A new room is one file here, its SQL beside it in
//! `sql/optimize/`, and one line in [`ROOMS`]. A room that fails is unknown and takes no other down.
//!
//! All times in the figures are milliseconds. What was not measured is `null`, never 0.

pub mod browser_operations;
pub mod dossier;
pub mod event_retention;
pub mod foretelling;
pub mod hygiene;
pub mod jobs;
pub mod migration;
pub mod pass;
pub mod posting;
pub mod queries;
pub mod resources;
pub mod settings;
pub mod tuning;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::change::lease::Lease;
use crate::database::catalog::Catalog;
use crate::database::session::Session;
use crate::heal::{CheckResult, Status};
use crate::posts::mapping::Mapping;
use crate::report::model::Concern;
use crate::settings::Settings;

/// What a room reads with.
pub struct Scene<'a> {
    /// The connection.
    pub session: &'a mut Session,
    /// The settings.
    pub settings: &'a Settings,
    /// The tables as found.
    pub mapping: &'a Mapping,
    /// The server and what it allows this role.
    pub catalog: &'a Catalog,
    /// The database's clock.
    pub now: DateTime<Utc>,
    /// Whether the tables of the schema `healer` can be read.
    pub with_schema: bool,
    /// Whether the connection looks like one through a pooler.
    pub pooled: bool,
}

/// What a room changes things with. Every change is journalled under this run.
pub struct Hand<'a> {
    /// Where the connection came from, for what needs one of its own.
    pub origin: &'a crate::start::Origin,
    /// The connection.
    pub session: &'a mut Session,
    /// The settings.
    pub settings: &'a Settings,
    /// The tables as found.
    pub mapping: &'a Mapping,
    /// The server and what it allows this role.
    pub catalog: &'a Catalog,
    /// The lease, which each change renews.
    pub lease: &'a Lease,
    /// Whether the connection looks like one through a pooler.
    pub pooled: bool,
    /// Changes that this run may still make.
    pub left: u32,
}

/// A room of the pass. It keeps what it found until it tells it.
pub trait Room {
    /// Its name, which is that of its check.
    fn name(&self) -> &'static str;
    /// Whether the settings switch it on.
    fn enabled(&self, settings: &Settings) -> bool;
    /// Looks. Writes nothing: it runs in a transaction that the database itself keeps read-only.
    fn detect(&mut self, scene: &mut Scene<'_>) -> Result<(), Error>;
    /// Does what may be done, and notes what the next run needs. Never called in a dry run.
    fn act(&mut self, _hand: &mut Hand<'_>) -> Result<(), Error> {
        Ok(())
    }
    /// Tells what was found and done.
    fn tell(&self, told: &mut Told);
}

use crate::error::Error;

/// The rooms, in the order in which they look, act and tell.
pub const ROOMS: &[fn() -> Box<dyn Room>] = &[
    || Box::<jobs::Jobs>::default(),
    || Box::<posting::Posting>::default(),
    || Box::<resources::Resources>::default(),
    || Box::<browser_operations::BrowserOperations>::default(),
    || Box::<queries::Queries>::default(),
    || Box::<hygiene::Hygiene>::default(),
    || Box::<foretelling::Foretelling>::default(),
    || Box::<tuning::SelfTuning>::default(),
    || Box::<event_retention::EventRetention>::default(),
];

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know; nothing suffers.
    Info,
    /// Something suffers, or soon will.
    Warning,
    /// It must be dealt with now.
    Critical,
}

/// One thing that was found, with what it stands on and what would mend it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// Stable over runs: the kind and its object, for example `duplicate-index:public.posts_status_2`.
    pub key: String,
    /// The kind.
    pub kind: &'static str,
    /// How grave.
    pub level: Level,
    /// One line.
    pub title: String,
    /// Why it matters.
    pub detail: String,
    /// Figures it stands on.
    pub evidence: Value,
    /// What would mend it, as SQL.
    pub remedy: Option<String>,
}

/// Something done, or proposed: an entry of `optimizations` as dashboards read it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Optimization {
    /// Its kind.
    pub r#type: &'static str,
    /// In words.
    pub description: String,
    /// What it brings, in words, with figures where they were measured.
    pub impact: String,
    /// True only where it was done and seen to be done.
    pub implemented: bool,
    /// Why it was done, or why not.
    pub reason: String,
}

/// What the rooms tell, put together.
#[derive(Debug, Default)]
pub struct Told {
    /// Whether nothing was to be written.
    pub dry_run: bool,
    /// The fixed keys of `metrics` and further ones beside them.
    pub metrics: Map<String, Value>,
    /// Further parts of the document, each under its key.
    pub parts: Map<String, Value>,
    /// One for each room.
    pub checks: Vec<CheckResult>,
    /// What was found in the database, the gravest first.
    pub findings: Vec<Finding>,
    /// What was done or proposed.
    pub optimizations: Vec<Optimization>,
    /// What a person should do.
    pub recommendations: Vec<String>,
    /// What somebody should hear of.
    pub concerns: Vec<Concern>,
    /// What else should be known.
    pub notes: Vec<String>,
    /// Changes that failed, and those left for later.
    pub failed: u64,
    /// Changes left for a later run.
    pub remaining: u64,
    /// Exit codes that follow from what happened.
    pub codes: Vec<u8>,
}

impl Told {
    /// Sets a figure of `metrics`: its group and its key.
    pub fn metric(&mut self, group: &str, key: &str, value: Value) {
        if let Value::Object(map) = self.metrics.entry(group.to_owned()).or_insert_with(|| json!({})) {
            map.insert(key.to_owned(), value);
        }
    }
}

/// What a room could not read because a query failed. The rest of the room is told all the same, and its check says that
/// it is not the whole: what was not measured is never well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gaps {
    lines: Vec<String>,
    hint: String,
    code: u8,
}

impl Gaps {
    /// Notes what a query would have told, and why it did not.
    pub fn note(&mut self, what: &str, error: &Error) {
        self.lines.push(format!("{what}: {error}"));
        self.hint = error.hint();
        self.code = crate::exit::strongest([self.code, error.exit_code()]);
    }

    /// Whether every query was answered.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Enters the gaps in the check of the room: it is incomplete, which fails the pass in part and ends no alert, and
    /// where nothing else is wrong it is unknown.
    pub fn mark(&self, check: &mut CheckResult) {
        let Some((first, more)) = self.lines.split_first() else { return };
        check.incomplete = true;
        check.error_code = self.code;
        if matches!(check.status, Status::Ok | Status::Unknown) {
            check.status = Status::Unknown;
            check.found = None;
            let told = std::mem::replace(&mut check.summary, first.clone());
            check.details.insert(0, told);
            check.details.extend(more.iter().cloned());
        } else {
            check.details.extend(self.lines.iter().cloned());
        }
        check.details.push(self.hint.clone());
    }
}

/// A figure in ms, or any other measured number: one decimal, and `null` for what is no number.
pub fn figure(value: Option<f64>) -> Value {
    value.filter(|value| value.is_finite()).map_or(Value::Null, |value| json!((value * 10.0).round() / 10.0))
}

/// A share with four decimals; `null` for what is none.
pub fn share(value: Option<f64>) -> Value {
    value.filter(|value| value.is_finite()).map_or(Value::Null, |value| json!((value * 10_000.0).round() / 10_000.0))
}

/// A part of a whole; `None` for nothing of nothing.
pub fn part_of(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// A length of time in ms for people: `340 ms`, `4.2 s`, `6.5 min`, `3.1 h`.
pub fn lasting(ms: f64) -> String {
    match ms {
        ms if !ms.is_finite() => "an unknown time".into(),
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1_000.0 => format!("{ms:.0} ms"),
        ms if ms < 120_000.0 => format!("{:.1} s", ms / 1_000.0),
        ms if ms < 7_200_000.0 => format!("{:.1} min", ms / 60_000.0),
        ms => format!("{:.1} h", ms / 3_600_000.0),
    }
}

/// A number of bytes for people.
pub fn bytes(number: f64) -> String {
    match number.abs() {
        n if n < 1_024.0 * 1_024.0 => format!("{:.0} kB", number / 1_024.0),
        n if n < 1_024.0 * 1_024.0 * 1_024.0 => format!("{:.0} MB", number / 1_048_576.0),
        _ => format!("{:.1} GB", number / 1_073_741_824.0),
    }
}

/// The check of a room that found these lines: the worst status, the first line as summary where there is one alone.
pub fn check_of(name: &'static str, lines: &[(Status, String)], well: String) -> CheckResult {
    let status = lines.iter().map(|(status, _)| *status).max().unwrap_or(Status::Ok);
    let summary = match lines {
        [] => well,
        [(_, line)] => line.clone(),
        many => format!("{} things need a look; {well}", many.len()),
    };
    let found = lines.iter().filter(|(status, _)| *status != Status::Unknown).count() as u64;
    let mut result = CheckResult::new(name, status, (status != Status::Unknown).then_some(found), summary);
    if lines.len() > 1 {
        result.details = lines.iter().map(|(_, line)| line.clone()).collect();
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_null_and_nothing_of_nothing_is_no_share() {
        assert_eq!(figure(Some(f64::NAN)), Value::Null);
        assert_eq!(figure(Some(1.26)), json!(1.3));
        assert_eq!(share(Some(f64::INFINITY)), Value::Null);
        assert_eq!(part_of(0, 0), None);
        assert_eq!(part_of(1, 4), Some(0.25));
    }

    #[test]
    fn a_check_with_a_gap_is_never_well_and_keeps_what_it_found() {
        let failed = |sqlstate: &str| Error::Query {
            what: "optimize/sequences".into(),
            sqlstate: Some(sqlstate.into()),
            message: "canceled".into(),
            connection_lost: false,
        };
        let check = |status| CheckResult::new("hygiene", status, Some(2), "two things".into());
        let mut whole = check(Status::Ok);
        Gaps::default().mark(&mut whole);
        assert_eq!((whole.status, whole.incomplete, whole.error_code), (Status::Ok, false, 0), "nothing failed");
        let mut gaps = Gaps::default();
        gaps.note("sequences could not be read", &failed("57014"));
        for (status, becomes, found) in [
            (Status::Ok, Status::Unknown, None),
            (Status::Unknown, Status::Unknown, None),
            (Status::Warning, Status::Warning, Some(2)),
            (Status::Critical, Status::Critical, Some(2)),
        ] {
            let mut told = check(status);
            gaps.mark(&mut told);
            assert_eq!((told.status, told.found, told.incomplete), (becomes, found, true), "{told:?}");
            assert_eq!(told.error_code, 1);
            let words = format!("{} {}", told.summary, told.details.join(" "));
            assert!(words.contains("sequences could not be read") && words.contains("two things"), "{words}");
        }
        gaps.note("indexes could not be read", &failed("42501"));
        let mut told = check(Status::Ok);
        gaps.mark(&mut told);
        assert_eq!(told.error_code, 77, "a missing grant is the stronger reason");
    }

    #[test]
    fn times_and_sizes_read_well() {
        assert_eq!(lasting(340.2), "340 ms");
        assert_eq!(lasting(390_000.0), "6.5 min");
        assert_eq!(lasting(f64::NAN), "an unknown time");
        assert_eq!(bytes(3.0 * 1_048_576.0), "3 MB");
    }
}
