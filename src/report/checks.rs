//! How the checks of a pass were when it last ran, as `healer.run` holds them.

use serde::Serialize;

use super::table;
use crate::database::session::{Param, Session};
use crate::database::statement::{self, Names};
use crate::error::Error;
use crate::heal::Status;

/// How a check was when it last ran.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckState {
    /// The check.
    pub name: String,
    /// `ok`, `warning`, `critical` or `unknown`.
    pub status: String,
    /// How many; `null` where it could not be measured.
    pub found: Option<i64>,
    /// In words.
    pub summary: String,
    /// How long ago that was.
    pub age_seconds: i64,
    /// The run.
    pub run_id: i64,
    /// Whether something of that run failed.
    #[serde(skip)]
    pub incomplete: bool,
}

impl CheckState {
    /// Its status.
    pub fn is(&self) -> Status {
        match self.status.as_str() {
            "ok" => Status::Ok,
            "warning" => Status::Warning,
            "critical" => Status::Critical,
            _ => Status::Unknown,
        }
    }

    /// The same for who watches: what has no source to measure by is unknown for good, and no news; what could not be
    /// measured because a query failed is.
    pub fn news(&self) -> Status {
        match self.is() {
            Status::Unknown if !self.incomplete => Status::Ok,
            status => status,
        }
    }
}

/// Each check of a pass as it last ran, in a transaction that is open: a run looks at some of them only where that was
/// asked for.
pub fn read(session: &mut Session, pass: &str) -> Result<Vec<CheckState>, Error> {
    session
        .rows(&statement::REPORT_CHECKS.fill(&Names::default()), &[Param::Text(pass)])?
        .iter()
        .map(|row| {
            Ok(CheckState {
                name: row.text("name")?,
                status: row.optional_text("status")?.unwrap_or_else(|| "unknown".into()),
                found: row.optional_int("found")?,
                summary: row.optional_text("summary")?.unwrap_or_default(),
                age_seconds: row.int("age_s")?,
                run_id: row.int("run")?,
                incomplete: row.bool("incomplete")?,
            })
        })
        .collect()
}

/// The checks of the last run of a pass that always looks at all of them: one that is no longer looked at (it was
/// switched off) says nothing of now.
pub fn of_last_run(session: &mut Session, pass: &str) -> Result<Vec<CheckState>, Error> {
    let mut checks = read(session, pass)?;
    let last = checks.iter().map(|check| check.run_id).max();
    checks.retain(|check| Some(check.run_id) == last);
    Ok(checks)
}

/// Whether nothing needs a look.
pub fn well(checks: &[CheckState]) -> bool {
    checks.iter().all(|check| check.news() == Status::Ok)
}

/// What needs a look, the gravest first: how that is called, and the checks.
fn amiss(checks: &[CheckState]) -> impl Iterator<Item = (&'static str, Vec<&CheckState>)> {
    let words = [(Status::Critical, "critical"), (Status::Warning, "warning"), (Status::Unknown, "not measured")];
    words.into_iter().filter_map(|(status, word)| {
        let found: Vec<&CheckState> = checks.iter().filter(|check| check.news() == status).collect();
        (!found.is_empty()).then_some((word, found))
    })
}

/// What needed a look at the last run: `critical at the last run: hygiene, warning at the last run: jobs, posting`;
/// empty where nothing did.
pub fn line(checks: &[CheckState]) -> String {
    let parts: Vec<String> = amiss(checks)
        .map(|(word, found)| {
            let names: Vec<&str> = found.iter().map(|check| check.name.as_str()).collect();
            format!("{word} at the last run: {}", names.join(", "))
        })
        .collect();
    parts.join(", ")
}

/// A verdict with what needed a look before it.
pub fn headed(checks: &[CheckState], verdict: String) -> String {
    let line = line(checks);
    if line.is_empty() { verdict } else { format!("{line}; {verdict}") }
}

/// The same, a line each, with what was found.
pub fn lines(checks: &[CheckState]) -> Vec<String> {
    amiss(checks)
        .flat_map(|(word, found)| {
            found.into_iter().map(move |check| format!("{word}: {}: {}", check.name, table::cut(&check.summary, 240)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, status: &str, incomplete: bool) -> CheckState {
        let summary = format!("what {name} found");
        let status = status.into();
        CheckState { name: name.into(), status, found: None, summary, age_seconds: 1, run_id: 1, incomplete }
    }

    #[test]
    fn what_needs_a_look_is_named_the_gravest_first_and_what_has_no_source_is_no_news() {
        let all =
            [check("jobs", "warning", false), check("queries", "unknown", false), check("hygiene", "critical", false)];
        assert_eq!(line(&all), "critical at the last run: hygiene, warning at the last run: jobs");
        assert_eq!(lines(&all), ["critical: hygiene: what hygiene found", "warning: jobs: what jobs found"]);
        assert!(headed(&all, "20 jobs".into()).ends_with("jobs; 20 jobs") && headed(&[], "well".into()) == "well");
        assert!(!well(&all) && well(&[check("jobs", "ok", false), check("queries", "unknown", false)]));
        assert_eq!(check("x", "a word of another version", false).is(), Status::Unknown);
    }

    #[test]
    fn what_could_not_be_measured_in_a_run_that_failed_in_part_is_not_well() {
        let all = [check("jobs", "ok", true), check("hygiene", "unknown", true)];
        assert!(!well(&all));
        assert_eq!(line(&all), "not measured at the last run: hygiene");
        assert_eq!(all.map(|check| check.news()), [Status::Ok, Status::Unknown]);
    }
}
