//! The result of a pass: one object, printed as JSON or as tables, and written as the event of the pass.

use std::collections::BTreeMap;
use std::time::Instant;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::change::plan::{Action, Change, Outcome, Plan, Severity};
use crate::heal::{CheckResult, Status, ago};
use crate::pass::Kind;
use crate::settings::Words;

/// The version of the JSON documents.
pub const SCHEMA_VERSION: u32 = 1;

/// Checks whose findings become changes: their warnings are told by the counts.
pub const HEALED: [&str; 3] = ["stuck-posts", "missing-ids", "old-failed"];

/// The outcome of what was only observed.
pub const OBSERVED: &str = "observed";

/// Actions that a document lists; the journal has all.
pub const LISTED: usize = 1_000;

/// The keys of `systemHealth`, which dashboards read by name.
pub const HEALTH_KEYS: [&str; 5] =
    ["stuckPosts", "nullTweetIds", "browserIssues", "databaseIssues", "circuitBreakerOpen"];

/// A result and the exit code it means.
#[derive(Debug)]
pub struct Done<B = HealBody> {
    /// The result.
    pub report: PassReport<B>,
    /// The exit code, before `--fail-on`.
    pub exit_code: u8,
}

/// What was counted. `None`: not known.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counts {
    /// Actions that the plan holds.
    pub planned: u64,
    /// Done and journalled.
    pub applied: Option<u64>,
    /// Left alone because the post changed meanwhile.
    pub skipped: u64,
    /// Refused by the database.
    pub failed: u64,
    /// Posts that are held, new and known ones.
    pub held: u64,
    /// Left for a later run, or for a person.
    pub remaining: u64,
    /// Posts that wait, are posting or failed, by their status, as the pass left them: only `heal` counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posts: Option<BTreeMap<String, i64>>,
}

/// One action as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct ActionView {
    /// Its type.
    pub r#type: &'static str,
    /// In words.
    pub description: String,
    /// How grave.
    pub severity: Severity,
    /// Its name.
    pub action: &'static str,
    /// Whether it was done; `null` where it was not tried.
    pub success: Option<bool>,
    /// When, by the database's clock.
    pub timestamp: String,
    /// The check.
    pub check: &'static str,
    /// The post.
    pub target: String,
    /// Its status before; `null` for what was only observed.
    pub from: Option<String>,
    /// Its status after.
    pub to: Option<String>,
    /// Why.
    pub reason: String,
    /// For how long: posting, posted without id, or failed; in seconds.
    #[serde(rename = "ageSeconds")]
    pub age_seconds: Option<i64>,
    /// What it stands on.
    pub evidence: Value,
    /// `planned`, `applied`, `skipped`, `failed`, `remaining`, or `observed` for what is no change.
    pub outcome: &'static str,
    /// What the database said, where it refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The external id that is written.
    #[serde(rename = "externalId", skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
}

/// What only the pass `heal` tells.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealBody {
    /// The actions, at most [`LISTED`] of them, and what was only observed.
    pub actions: Vec<ActionView>,
    /// Figures for dashboards; `null` where not measured.
    pub system_health: Value,
}

/// Something that a person should hear of, whatever the exit code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Concern {
    /// The same from pass to pass for as long as it is the same thing: `job-late:posting`, `error-pattern:1f3a…`.
    pub key: String,
    /// How grave.
    pub severity: Severity,
    /// What is wrong, in a few words.
    pub title: String,
    /// What it was seen by.
    pub detail: String,
    /// What to do next.
    pub next_step: String,
}

/// The result of a pass: what all passes tell, and beside it the body of this one.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PassReport<B = HealBody> {
    /// When, by the database's clock.
    pub timestamp: String,
    /// What only this pass tells: the keys of its event that dashboards read by name, and more.
    #[serde(flatten)]
    pub body: B,
    /// One line: what is wrong, what was done, what is left.
    pub verdict: String,
    /// The version of this document.
    pub schema_version: u32,
    /// The run; `null` for a dry run.
    pub run_id: Option<i64>,
    /// The command.
    pub command: &'static str,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// `ok`, `partial`, `failed` or `skipped`.
    pub status: &'static str,
    /// When it began, by the database's clock.
    pub started_at: String,
    /// When it ended.
    pub finished_at: String,
    /// The database's clock when the pass began.
    pub database_time: String,
    /// The checks.
    pub checks: Vec<CheckResult>,
    /// What was counted.
    pub counts: Counts,
    /// Whether the document does not list all.
    pub truncated: bool,
    /// What else should be known.
    pub notes: Vec<String>,
    /// What a person should hear of.
    #[serde(skip)]
    pub concerns: Vec<Concern>,
    /// The names of the pass.
    #[serde(skip)]
    pub kind: &'static Kind,
}

/// What one run of a pass was: all that its document tells beside its own findings.
#[derive(Debug)]
pub struct Frame {
    /// The names of the pass.
    pub kind: &'static Kind,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// `ok`, `partial`, `failed` or `skipped`.
    pub status: &'static str,
    /// The run; `None` for a dry run.
    pub run_id: Option<i64>,
    /// The database's clock when the pass began.
    pub database_time: DateTime<Utc>,
    /// When it began, by the clock that measures.
    pub begun: Instant,
}

impl Frame {
    /// The end, by the database's clock: that of the beginning and the time passed since. No second clock enters.
    fn finished(&self) -> DateTime<Utc> {
        let passed = chrono::Duration::from_std(self.begun.elapsed()).unwrap_or_default();
        self.database_time.checked_add_signed(passed).unwrap_or(self.database_time)
    }
}

/// What a pass found and did.
#[derive(Debug)]
pub struct Findings<B> {
    /// What only this pass tells: the keys of its event that dashboards read by name, and more.
    pub body: B,
    /// One line: what is wrong, what was done, what is left.
    pub headline: String,
    /// The checks.
    pub checks: Vec<CheckResult>,
    /// What was counted.
    pub counts: Counts,
    /// What else should be known.
    pub notes: Vec<String>,
    /// The exit codes that it earned; the strongest is taken.
    pub codes: Vec<u8>,
    /// Whether the document does not list all.
    pub truncated: bool,
    /// What a person should hear of.
    pub concerns: Vec<Concern>,
}

fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl<B: Serialize> PassReport<B> {
    /// Puts a result together.
    pub fn new(frame: &Frame, findings: Findings<B>) -> Self {
        let finished = stamp(frame.finished());
        Self {
            timestamp: finished.clone(),
            body: findings.body,
            verdict: findings.headline,
            schema_version: SCHEMA_VERSION,
            run_id: frame.run_id,
            command: frame.kind.command,
            dry_run: frame.dry_run,
            status: frame.status,
            started_at: stamp(frame.database_time),
            finished_at: finished,
            database_time: stamp(frame.database_time),
            checks: findings.checks,
            counts: findings.counts,
            truncated: findings.truncated,
            notes: findings.notes,
            concerns: findings.concerns,
            kind: frame.kind,
        }
    }

    /// The event of the pass.
    pub fn event(&self) -> Value {
        serde_json::to_value(self).unwrap_or_else(|_| json!({ "timestamp": self.timestamp }))
    }

    /// Whether nothing needs a look.
    pub fn all_well(&self) -> bool {
        self.status == "ok" && self.checks.iter().all(|check| check.status == Status::Ok)
    }

    /// The severity of the event: that of the gravest check.
    pub fn severity(&self) -> &'static str {
        let worst = self.checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok);
        match (worst, self.status) {
            (_, "failed") => "error",
            (Status::Ok, _) => "info",
            (Status::Warning | Status::Unknown, _) => "warning",
            (Status::Critical, _) => "critical",
        }
    }

    /// The document as JSON with another key beside it.
    pub fn json(&self, exit_code: u8, error: Option<Value>) -> Value {
        let mut value = self.event();
        if let Some(object) = value.as_object_mut() {
            object.insert("exitCode".into(), json!(exit_code));
            if let Some(error) = error {
                object.insert("error".into(), error);
            }
        }
        value
    }
}

impl PassReport {
    /// The result of `heal`.
    pub fn heal(
        frame: &Frame,
        plan: &Plan,
        checks: &[CheckResult],
        counts: Counts,
        system_health: Value,
        notes: Vec<String>,
        words: &Words,
    ) -> Self {
        let at = stamp(frame.finished());
        let actions = plan.actions.iter().take(LISTED).map(|action| view(action, &at, frame.database_time, words));
        // What was only observed stands beside the changes and is not counted among them.
        let observed = checks.iter().filter_map(|check| observed(check, &at));
        let body = HealBody { actions: actions.chain(observed).collect(), system_health };
        let findings = Findings {
            body,
            headline: heal_verdict(frame, checks, &counts, &notes),
            checks: checks.to_vec(),
            counts,
            notes,
            codes: Vec::new(),
            truncated: plan.actions.len() > LISTED || plan.overflow > 0,
            concerns: Vec::new(),
        };
        Self::new(frame, findings)
    }
}

/// One line: what is wrong, what was done, what is left.
fn heal_verdict(frame: &Frame, checks: &[CheckResult], counts: &Counts, notes: &[String]) -> String {
    if frame.status == "skipped" {
        return notes.first().cloned().unwrap_or_else(|| "nothing was done".into());
    }
    let failed = if frame.status == "failed" { "stopped before its end; " } else { "" };
    if frame.status == "ok" && counts.planned == 0 && checks.iter().all(|check| check.status == Status::Ok) {
        return "all is well".into();
    }
    let done = if counts.planned == 0 {
        "nothing to change".to_owned()
    } else if frame.dry_run {
        format!("{} changes planned", counts.planned)
    } else {
        match counts.applied {
            Some(applied) => format!("{applied} of {} planned changes done", counts.planned),
            None => format!("{} changes planned, how many were done is not known", counts.planned),
        }
    };
    let mut parts = vec![done];
    for (number, what) in [
        (counts.failed, "failed"),
        (counts.skipped, "skipped"),
        (counts.held, "held for a person"),
        (counts.remaining, "left"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    // What the plan takes care of needs no second word here.
    let told = checks.iter().filter(|check| check.status != Status::Warning || !HEALED.contains(&check.name));
    parts.extend(statuses(&told));
    format!("{failed}{}", parts.join(", "))
}

/// The checks that are not well, gravest first: `critical: a, b`, `look at c`, `could not measure d`.
pub fn statuses<'a>(checks: &(impl Iterator<Item = &'a CheckResult> + Clone)) -> Vec<String> {
    [(Status::Critical, "critical:"), (Status::Warning, "look at"), (Status::Unknown, "could not measure")]
        .into_iter()
        .filter_map(|(status, what)| {
            let names: Vec<&str> =
                checks.clone().filter(|check| check.status == status).map(|check| check.name).collect();
            (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")))
        })
        .collect()
}

/// The JSON object of a command that failed before it had a result.
pub fn failure(command: &str, error: &crate::error::Error) -> Value {
    let mut object = Map::new();
    object.insert("schemaVersion".into(), json!(SCHEMA_VERSION));
    object.insert("command".into(), json!(command));
    object.insert("status".into(), json!("failed"));
    object.insert("exitCode".into(), json!(error.exit_code()));
    object.insert(
        "error".into(),
        json!({ "message": error.to_string(), "hint": error.hint(), "sqlstate": error.sqlstate() }),
    );
    Value::Object(object)
}

fn view(action: &Action, at: &str, now: DateTime<Utc>, words: &Words) -> ActionView {
    let (from, to) = match action.change {
        Change::MarkPosted => (&words.posting, &words.posted),
        Change::Requeue => (&words.posting, &words.queued),
        Change::Fail => (&words.posting, &words.failed),
        Change::FillId | Change::EnterRecovery => (&words.posted, &words.posted),
        Change::Archive | Change::MoveToArchive => (&words.failed, &words.archived),
        Change::Hold => match action.check {
            "missing-ids" => (&words.posted, &words.posted),
            "old-failed" => (&words.failed, &words.failed),
            _ => (&words.posting, &words.posting),
        },
    };
    let (outcome, success, error) = match &action.outcome {
        Outcome::Planned => ("planned", None, None),
        Outcome::Applied => ("applied", Some(true), None),
        Outcome::Skipped => ("skipped", Some(false), None),
        Outcome::Failed(reason) => ("failed", Some(false), Some(reason.to_string())),
        Outcome::Remaining => ("remaining", None, None),
        Outcome::InDoubt => ("in_doubt", None, None),
    };
    let age = action.seen.map(|seen| now.signed_duration_since(seen).num_seconds());
    ActionView {
        r#type: action.change.type_name(),
        description: describe(action, age),
        severity: action.change.severity(),
        action: action.change.action_name(),
        success,
        timestamp: at.to_owned(),
        check: action.check,
        target: action.target.to_string(),
        from: Some(from.clone()),
        to: Some(to.clone()),
        reason: action.why.reason.to_string(),
        age_seconds: age,
        evidence: action.why.evidence.clone(),
        outcome,
        error,
        external_id: action.external_id().map(str::to_owned),
    }
}

fn observed(check: &CheckResult, at: &str) -> Option<ActionView> {
    let seen = check.observed.as_ref()?;
    Some(ActionView {
        r#type: seen.r#type,
        description: check.summary.clone(),
        severity: seen.severity,
        action: seen.action,
        success: Some(check.status != Status::Unknown),
        timestamp: at.to_owned(),
        check: check.name,
        target: check.name.to_owned(),
        from: None,
        to: None,
        reason: check.summary.clone(),
        age_seconds: None,
        evidence: json!({ "found": check.found, "details": check.details }),
        outcome: OBSERVED,
        error: None,
        external_id: None,
    })
}

fn describe(action: &Action, age: Option<i64>) -> String {
    let age = age.map_or_else(|| "for an unknown time".to_owned(), ago);
    match action.change {
        Change::MarkPosted => format!("posting for {age}, and it was sent: marked as posted"),
        Change::Requeue => format!("posting for {age}: queued again"),
        Change::Fail => format!("posting for {age} and rescued too often: failed"),
        Change::Hold => format!("left for a person after {age}"),
        Change::FillId => format!("posted {age} ago without an id: filled in"),
        Change::EnterRecovery => format!("posted {age} ago without an id: entered for recovery"),
        Change::Archive => format!("failed {age} ago: archived"),
        Change::MoveToArchive => format!("failed {age} ago: moved to healer.archived_post"),
    }
}
