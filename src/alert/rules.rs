//! The rules: what of a pass a person should hear of. They need no configuration.
//!
//! A check that is critical, silence and late jobs also when they are a warning, a check that an error kept from being
//! measured, an action that failed, the brake, a pass that failed, a pass that has not succeeded for long, and what the
//! passes themselves name (a job foretold to fail, a new or growing error pattern).

use std::collections::BTreeSet;

use serde::Serialize;

use super::model::Seen;
use crate::change::plan::Severity;
use crate::error::Error;
use crate::heal::{CheckResult, Status, ago};
use crate::report::model::{Concern, Done};

/// The name under which every pass judges the others.
pub const HEALER: &str = "healer";
/// The beginning of the key of a pass that failed.
pub const FAILED: &str = "pass-failed:";

/// Checks that are told from a warning on: nothing else notices these before it is late.
const FROM_WARNING: [&str; 2] = ["silence", "job-heartbeats"];

/// Checks whose findings are repaired; that something of it failed, or was braked, is told by itself.
const REPAIRED: [&str; 3] = ["stuck-posts", "missing-ids", "old-failed"];

/// What a pass gave, as far as alerts are made of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The pass.
    pub pass: &'static str,
    /// Its run.
    pub run_id: Option<i64>,
    /// Whether it only showed what it would do.
    pub dry_run: bool,
    /// Its exit code, before `--fail-on`.
    pub exit_code: u8,
    /// Its checks.
    pub checks: Vec<CheckResult>,
    /// Whether all checks of the pass were asked for.
    pub all_checks: bool,
    /// Actions that the database refused.
    pub failed_actions: u64,
    /// Why the brake holds, where it does.
    pub brake: Option<String>,
    /// What the pass itself names.
    pub concerns: Vec<Concern>,
    /// One line.
    pub headline: String,
    /// Why it stopped before its end.
    pub error: Option<String>,
    /// Whether there was no database to look at.
    pub unreachable: bool,
}

impl Outcome {
    /// What a pass gave, for the alerts. Whether all its checks were asked for only the command knows.
    pub fn of<B: Serialize>(done: &Done<B>) -> Self {
        let report = &done.report;
        let brake =
            report.checks.iter().flat_map(|check| &check.details).find_map(|detail| detail.strip_prefix("brake: "));
        Self {
            pass: report.kind.lease,
            run_id: report.run_id,
            dry_run: report.dry_run,
            exit_code: done.exit_code,
            checks: report.checks.clone(),
            // A run that found another at work looked at nothing.
            all_checks: report.status != "skipped",
            failed_actions: report.counts.failed,
            brake: brake.map(str::to_owned),
            concerns: report.concerns.clone(),
            headline: report.verdict.clone(),
            error: (report.status == "failed").then(|| report.verdict.clone()),
            unreachable: false,
        }
    }

    /// Whether the pass came to its end, whatever it met on the way: a ledger that stays hidden makes every run exit 77,
    /// and what it did look at is known all the same.
    fn completed(&self) -> bool {
        self.error.is_none()
    }
}

/// How long ago a pass last succeeded.
#[derive(Debug, Clone)]
pub struct LastSuccess {
    /// The pass.
    pub pass: String,
    /// Seconds; `None` for never.
    pub age_s: Option<i64>,
    /// Seconds since its first recorded run; `None` where there is none.
    pub first_s: Option<i64>,
    /// How often it runs, in seconds.
    pub interval_s: i64,
}

/// What a pass looked at: only that is ever resolved by it.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The pass.
    pub pass: String,
    /// Whether it came to its end.
    pub completed: bool,
    /// Whether it looked at everything, and nothing of it stayed unmeasured.
    pub whole: bool,
    /// The checks that were measured.
    pub measured: BTreeSet<String>,
    /// Whether the other passes could be judged.
    pub passes_known: bool,
}

/// What to do about a check: a line of the runbook.
fn runbook(check: &str) -> &'static str {
    match check {
        "stuck-posts" | "missing-ids" => "healer report health, then healer resolve POST for what is held",
        "old-failed" => "healer heal --dry-run --only old-failed",
        "browser-queue" => "look at the browser of the posting service; restart it where an operation never ends",
        "database" => "healer heal --dry-run --only database names the sessions; healer doctor the missing indexes",
        "circuit-breaker" => "find out why posting fails (healer report), then close the breaker in the application",
        "job-heartbeats" => "look at the scheduler and the log of the jobs that are named",
        "silence" => "healer heal --dry-run --only silence says where posts stop; look at the posting job",
        _ => "healer report",
    }
}

/// What of an outcome is told, and what the pass looked at.
pub fn judge(outcome: &Outcome, passes: Option<&[LastSuccess]>) -> (Vec<Seen>, Scope) {
    let mut seen = Vec::new();
    let alert = |key: String, check: Option<&str>, severity, title: String, detail: String, step: &str| Seen {
        pass: outcome.pass.to_owned(),
        key,
        check: check.map(str::to_owned),
        severity,
        title,
        detail,
        next_step: step.to_owned(),
    };
    let undo = outcome.run_id.map_or_else(|| "healer report".to_owned(), |run| format!("healer undo {run} --dry-run"));
    if let Some(reason) = &outcome.brake {
        seen.push(alert(
            "brake".into(),
            None,
            Severity::Critical,
            format!("the brake holds: {reason}"),
            outcome.headline.clone(),
            "find out why so many posts are stuck, then: healer heal --max-actions N",
        ));
    }
    if outcome.failed_actions > 0 {
        seen.push(alert(
            "actions-failed".into(),
            None,
            Severity::Error,
            format!("{} changes were refused by the database", outcome.failed_actions),
            outcome.headline.clone(),
            &format!("healer report health lists them as held; what was done is taken back by {undo}"),
        ));
    }
    let told_otherwise = outcome.brake.is_some() || outcome.failed_actions > 0;
    for check in &outcome.checks {
        let severity = match check.status {
            Status::Critical if told_otherwise && REPAIRED.contains(&check.name) => continue,
            Status::Critical => Severity::Critical,
            Status::Warning if FROM_WARNING.contains(&check.name) => Severity::Warning,
            Status::Unknown if check.error_code != 0 => Severity::Warning,
            _ => continue,
        };
        let unmeasured = check.status == Status::Unknown;
        seen.push(alert(
            format!("{}:{}", if unmeasured { "unmeasured" } else { "check" }, check.name),
            // An unmeasured check is not resolved by being unmeasured; it is by being measured.
            Some(check.name),
            severity,
            format!("{}: {}", check.name, check.summary),
            check.details.join("\n"),
            if unmeasured { "healer doctor" } else { runbook(check.name) },
        ));
    }
    if let Some(error) = outcome.error.as_ref().filter(|_| outcome.unreachable) {
        // One thing for all passes: the first one tells it, and the first that gets through ends it.
        seen.push(Seen {
            pass: HEALER.into(),
            key: "database-unreachable".into(),
            check: None,
            severity: Severity::Critical,
            title: format!("healer cannot reach the database (exit {})", outcome.exit_code),
            detail: error.clone(),
            next_step: "look at the database and the way to it; healer doctor".into(),
        });
    } else if let Some(error) = outcome.error.as_ref().filter(|_| !matches!(outcome.exit_code, 3 | 4 | 130 | 143)) {
        seen.push(alert(
            format!("{FAILED}{}", outcome.pass),
            None,
            Severity::Critical,
            format!("healer {} failed (exit {})", outcome.pass, outcome.exit_code),
            error.clone(),
            "healer doctor",
        ));
    }
    for concern in &outcome.concerns {
        seen.push(alert(
            concern.key.clone(),
            None,
            concern.severity,
            concern.title.clone(),
            concern.detail.clone(),
            &concern.next_step,
        ));
    }
    for pass in passes.unwrap_or_default() {
        seen.extend(late(pass, outcome));
    }
    // A check without any source to measure by is no failure: it stays as it is for good.
    let incomplete = outcome.checks.iter().any(|check| check.incomplete || check.error_code != 0);
    let scope = Scope {
        pass: outcome.pass.to_owned(),
        completed: outcome.completed(),
        whole: outcome.all_checks && !incomplete,
        measured: outcome
            .checks
            .iter()
            .filter(|check| check.status != Status::Unknown)
            .map(|check| check.name.to_owned())
            .collect(),
        passes_known: passes.is_some(),
    };
    (seen, scope)
}

/// A pass that has not succeeded for more than three of its intervals. One run that is missed is no news yet.
fn late(pass: &LastSuccess, outcome: &Outcome) -> Option<Seen> {
    // This very run came to its end; the age that was read is from before it.
    let this_one = pass.pass == outcome.pass && outcome.completed();
    let age = pass.age_s.or(pass.first_s)?;
    if this_one || age <= pass.interval_s.saturating_mul(3) {
        return None;
    }
    let how = pass.age_s.map_or_else(|| "has never succeeded".into(), |age| format!("last succeeded {} ago", ago(age)));
    Some(Seen {
        pass: HEALER.into(),
        key: format!("pass-late:{}", pass.pass),
        check: None,
        severity: Severity::Error,
        title: format!("healer itself: the pass {} {how}", pass.pass),
        detail: format!("it should run every {}", ago(pass.interval_s)),
        next_step: "look at its schedule and its log; healer doctor says whether it can work".into(),
    })
}

/// The outcome of a pass that failed before it could look at anything.
pub fn failure(pass: &'static str, error: &Error) -> Outcome {
    Outcome {
        pass,
        exit_code: error.exit_code(),
        error: Some(format!("{error}\n{}", error.hint())),
        unreachable: matches!(error, Error::Connect(_)),
        ..Outcome::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &'static str, status: Status) -> CheckResult {
        CheckResult::new(name, status, Some(1), "one line".into())
    }

    fn keys(seen: &[Seen]) -> Vec<&str> {
        seen.iter().map(|seen| seen.key.as_str()).collect()
    }

    #[test]
    fn a_pass_that_came_to_its_end_is_completed_whatever_it_could_not_see() {
        let hidden = Outcome { pass: "heal", exit_code: 77, all_checks: true, ..Outcome::default() };
        assert!(judge(&hidden, None).1.completed, "a ledger stays hidden in every run");
        let stopped = Outcome { error: Some("no such table".into()), ..hidden };
        assert!(!judge(&stopped, None).1.completed);
    }

    #[test]
    fn critical_checks_are_told_and_warnings_only_of_silence_and_jobs() {
        let checks = vec![
            check("database", Status::Critical),
            check("browser-queue", Status::Warning),
            check("silence", Status::Warning),
            check("circuit-breaker", Status::Unknown),
        ];
        let outcome = Outcome { pass: "heal", checks, all_checks: true, ..Outcome::default() };
        let (seen, scope) = judge(&outcome, Some(&[]));
        assert_eq!(keys(&seen), ["check:database", "check:silence"]);
        assert!(scope.completed && scope.whole, "what has no source is no failure");
        assert!(!scope.measured.contains("circuit-breaker"));
    }

    #[test]
    fn the_brake_and_what_failed_are_told_once_not_as_a_critical_check_too() {
        let checks = vec![check("stuck-posts", Status::Critical), check("database", Status::Critical)];
        let outcome = Outcome {
            pass: "heal",
            exit_code: 3,
            checks,
            failed_actions: 2,
            brake: Some("30 wanted".into()),
            ..Outcome::default()
        };
        assert_eq!(keys(&judge(&outcome, None).0), ["brake", "actions-failed", "check:database"]);
    }

    #[test]
    fn a_pass_that_failed_is_told_and_one_that_was_interrupted_is_not() {
        let error = Error::ReadOnly { reason: "a standby".into() };
        let (seen, scope) = judge(&failure("heal", &error), None);
        assert_eq!(keys(&seen), ["pass-failed:heal"]);
        assert!(!scope.completed && !scope.passes_known);
        assert!(judge(&failure("heal", &Error::Interrupted { signal: 15 }), None).0.is_empty());
        assert!(judge(&failure("heal", &Error::Timeout), None).0.is_empty(), "the rest waits for the next run");
    }

    #[test]
    fn a_pass_is_late_after_three_intervals_unless_it_succeeds_just_now() {
        let pass = |age_s, first_s| LastSuccess { pass: "heal".into(), age_s, first_s, interval_s: 900 };
        let other = Outcome { pass: "analyze-errors", ..Outcome::default() };
        assert!(late(&pass(Some(2_700), Some(9_000)), &other).is_none());
        assert!(late(&pass(Some(2_701), Some(9_000)), &other).is_some());
        assert!(late(&pass(None, None), &other).is_none(), "nobody ever ran it");
        assert!(late(&pass(None, Some(3_000)), &other).is_some());
        let itself = Outcome { pass: "heal", ..Outcome::default() };
        assert!(late(&pass(Some(9_000), Some(90_000)), &itself).is_none());
    }
}
