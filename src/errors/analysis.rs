//! The document of an analysis: the keys that dashboards read, and beside them all that was found; the checks that call
//! for action; and what a person should hear of.

use serde::Serialize;

use super::causes::Retry;
use super::fingerprint::Severity;
use super::health::{Health, Measured, Part, health};
use super::pattern::{Pattern, Patterns, RecoveryView};
use super::recovery::Jobs;
use super::source::{Sources, State};
use super::stamp;
use super::tally::Span;
use super::trend::Standing;
use crate::change::plan;
use crate::heal::{CheckResult, Status, ago};
use crate::report::model::Concern;

/// Keys that the document lists, the most frequent first.
const KEYS: usize = 100;
/// Patterns that the document lists. All are stored.
pub const LISTED: usize = 100;
/// Failures that are called the top ones.
const TOP: usize = 10;
/// Jobs that the document lists, those that failed most first.
const JOBS: usize = 100;
/// Occurrences of the first key above which it calls for action.
const FREQUENT: u64 = 10;
/// Share of recovered errors below which it calls for action.
const RECOVERY: f64 = 0.8;
/// Health below which it calls for action.
const HEALTH: u8 = 70;
/// Health below which it is critical: more is lost than is left.
const HEALTH_CRITICAL: u8 = 40;
/// Concerns that one pass raises at most: a person reads no more, and the patterns are all stored.
const CONCERNS: usize = 20;
/// Recommendations at most.
const RECOMMENDATIONS: usize = 10;

/// How often one key occurred.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyCount {
    /// `component:error_type`.
    pub error_key: String,
    /// How often.
    pub count: u64,
    /// The gravest of them.
    pub severity: Severity,
}

/// How errors recovered, by the names that dashboards know.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryMetrics {
    /// Errors in the window; `None` where nothing could be read.
    pub total_errors: Option<u64>,
    /// Those of them that recovered.
    pub recovered_errors: Option<u64>,
    /// Share, 0 to 1, of those that can be followed to their end; `None` without any.
    pub recovery_rate: Option<f64>,
    /// Mean, in milliseconds, of the recoveries of which the time is known.
    pub average_recovery_time: Option<i64>,
    /// Median of the same.
    pub median_recovery_time: Option<i64>,
    /// 95 of 100 took at most this.
    pub p95_recovery_time: Option<i64>,
    /// Recoveries of which the time is known.
    pub timed_recoveries: u64,
    /// Those that have not recovered.
    pub open_errors: Option<u64>,
    /// Those that cannot be followed to their end.
    pub unmeasured_errors: Option<u64>,
}

/// One of the top failures.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopFailure {
    /// `component:error_type`.
    pub error_key: String,
    /// How often.
    pub count: u64,
    /// How grave.
    pub severity: Severity,
    /// Its text with `<*>` where it varies.
    pub pattern: String,
    /// Its key.
    pub key: String,
    /// New, known, regressed, growing, falling.
    pub standing: &'static str,
    /// What probably lies behind it.
    pub cause: Option<String>,
    /// What to do.
    pub action: Option<String>,
    /// Whether the failed attempt may be repeated.
    pub retry: Option<Retry>,
}

/// A source as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceView {
    /// Its name.
    pub name: &'static str,
    /// `read`, `absent` or `unreadable`.
    pub state: &'static str,
    /// Rows that it gave, of all the time that was read; `None` where it was not read.
    pub rows: Option<u64>,
    /// Why it was not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A job that failed in the window.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    /// Its name.
    pub name: String,
    /// Failures.
    pub failures: u64,
    /// How they ended.
    pub recovery: RecoveryView,
    /// Runs of failures that a success ended.
    pub episodes: u64,
    /// Whether it fails and recovers again and again.
    pub flapping: bool,
    /// Since when it has been failing, where no success followed.
    pub open_since: Option<String>,
}

/// The time that was analysed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowView {
    /// What was asked for.
    pub since: String,
    /// Its beginning.
    pub from: String,
    /// Its end.
    pub to: String,
    /// How far back was read, for what was before.
    pub read_from: String,
}

/// The document: first the keys that are fixed, then the others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Analysis {
    /// The most frequent keys.
    pub error_frequency: Vec<KeyCount>,
    /// How errors recovered.
    pub recovery_metrics: RecoveryMetrics,
    /// 0 to 100; `None` where nothing could be read.
    pub system_health: Option<u8>,
    /// Components with critical errors, or with many of which most stay open.
    pub critical_systems: Vec<String>,
    /// The patterns that occurred most.
    pub top_failures: Vec<TopFailure>,
    /// What to do, the most urgent first.
    pub recommendations: Vec<String>,
    /// What the health is made of.
    pub health_parts: Vec<Part>,
    /// The time.
    pub window: Option<WindowView>,
    /// Patterns in the window.
    pub patterns_in_window: u64,
    /// Errors that several sources told, counted once.
    pub duplicates_merged: u64,
    /// Errors in the window that are in none of the patterns that are described: texts beyond all bounds.
    pub undescribed_errors: u64,
    /// The patterns.
    pub patterns: Vec<Pattern>,
    /// The jobs that failed.
    pub jobs: Vec<JobView>,
    /// The sources.
    pub sources: Vec<SourceView>,
}

/// What an analysis is made of.
pub struct Material<'a> {
    /// What was asked for, as it was asked.
    pub since: &'a str,
    /// The time.
    pub span: Span,
    /// The patterns.
    pub patterns: &'a Patterns,
    /// The jobs.
    pub jobs: &'a Jobs,
    /// The sources.
    pub sources: &'a Sources,
    /// Errors that several sources told.
    pub duplicates: u64,
    /// Why nothing can be said of recovery, where something failed.
    pub recovery_failed: Option<&'a CheckResult>,
}

/// An analysis, its checks, its concerns, and its one line.
#[derive(Debug, Clone)]
pub struct Result {
    /// The document.
    pub analysis: Analysis,
    /// The checks.
    pub checks: Vec<CheckResult>,
    /// What a person should hear of.
    pub concerns: Vec<Concern>,
    /// The line.
    pub headline: String,
    /// Whether the document leaves patterns out.
    pub truncated: bool,
}

impl Analysis {
    /// One of which nothing is known: of a run that was not at work, or failed before it had read anything.
    pub fn nothing() -> Self {
        Self {
            error_frequency: Vec::new(),
            recovery_metrics: RecoveryMetrics {
                total_errors: None,
                recovered_errors: None,
                recovery_rate: None,
                average_recovery_time: None,
                median_recovery_time: None,
                p95_recovery_time: None,
                timed_recoveries: 0,
                open_errors: None,
                unmeasured_errors: None,
            },
            system_health: None,
            critical_systems: Vec::new(),
            top_failures: Vec::new(),
            recommendations: Vec::new(),
            health_parts: Vec::new(),
            window: None,
            patterns_in_window: 0,
            duplicates_merged: 0,
            undescribed_errors: 0,
            patterns: Vec::new(),
            jobs: Vec::new(),
            sources: Vec::new(),
        }
    }
}

/// Makes the document.
pub fn analyse(material: &Material<'_>) -> Result {
    let patterns = material.patterns;
    let any = material.sources.any();
    let recovery = &patterns.recovery;
    let changed = patterns.all.iter().filter(|pattern| pattern.changed() && pattern.is_grave()).count() as u64;
    let Health { score, parts } = health(&Measured {
        any_source: any,
        days: material.span.length() as f64 / 86_400_000.0,
        errors: patterns.errors,
        critical: patterns.critical,
        recovery: recovery.rate(),
        changed,
    });
    let mut keys: Vec<KeyCount> = patterns
        .keys
        .iter()
        .map(|(key, (count, severity))| KeyCount { error_key: key.clone(), count: *count, severity: *severity })
        .collect();
    keys.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.error_key.cmp(&b.error_key)));
    keys.truncate(KEYS);
    let measured = |count: u64| any.then_some(count);
    let metrics = RecoveryMetrics {
        total_errors: measured(patterns.errors),
        recovered_errors: measured(recovery.recovered),
        recovery_rate: recovery.rate(),
        average_recovery_time: recovery.times.mean(),
        median_recovery_time: recovery.times.quantile(0.5),
        p95_recovery_time: recovery.times.quantile(0.95),
        timed_recoveries: recovery.times.count(),
        open_errors: measured(recovery.open),
        unmeasured_errors: measured(recovery.unmeasured),
    };
    let shown: Vec<&Pattern> = patterns.shown(&material.span).collect();
    let mut analysis = Analysis {
        error_frequency: keys,
        recovery_metrics: metrics,
        system_health: score,
        critical_systems: critical_systems(patterns),
        top_failures: shown.iter().filter(|pattern| pattern.count > 0).take(TOP).map(|pattern| top(pattern)).collect(),
        recommendations: Vec::new(),
        health_parts: parts,
        window: Some(WindowView {
            since: material.since.to_owned(),
            from: stamp(material.span.start),
            to: stamp(material.span.end),
            read_from: stamp(material.span.since),
        }),
        patterns_in_window: patterns.in_window,
        duplicates_merged: material.duplicates,
        undescribed_errors: patterns.undescribed,
        patterns: Vec::new(),
        jobs: jobs(material.jobs),
        sources: material.sources.found.iter().map(source_view).collect(),
    };
    let checks = checks(material, &analysis, &shown);
    let (listed, truncated) = listed(&shown);
    analysis.recommendations = recommendations(&analysis, &shown);
    analysis.patterns = listed;
    let headline = headline(material, &analysis, &shown);
    let concerns = concerns(&shown);
    Result { analysis, checks, concerns, headline, truncated }
}

/// The patterns that are listed: what changed is never crowded out by what is only frequent.
fn listed(shown: &[&Pattern]) -> (Vec<Pattern>, bool) {
    let mut order: Vec<&Pattern> = shown.to_vec();
    order.sort_by_key(|pattern| (!(pattern.changed() && pattern.count > 0), pattern.count == 0));
    order.truncate(LISTED);
    let keep: std::collections::HashSet<&str> = order.iter().map(|pattern| pattern.key.as_str()).collect();
    let listed = shown.iter().filter(|pattern| keep.contains(pattern.key.as_str())).map(|&pattern| pattern.clone());
    (listed.collect(), shown.len() > LISTED)
}

fn top(pattern: &Pattern) -> TopFailure {
    TopFailure {
        error_key: pattern.error_key.clone(),
        count: pattern.count,
        severity: pattern.severity,
        pattern: pattern.template.clone(),
        key: pattern.key.clone(),
        standing: pattern.word(),
        cause: pattern.cause.as_ref().map(|cause| cause.cause.clone()),
        action: pattern.cause.as_ref().map(|cause| cause.action.clone()),
        retry: pattern.cause.as_ref().map(|cause| cause.retry),
    }
}

fn critical_systems(patterns: &Patterns) -> Vec<String> {
    let mut found: Vec<(&String, u64)> = patterns
        .components
        .iter()
        .filter(|(_, (errors, critical, recovery))| {
            *critical > 0 || (*errors > FREQUENT && recovery.rate().is_some_and(|rate| rate < 0.5))
        })
        .map(|(name, (errors, ..))| (name, *errors))
        .collect();
    found.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    found.into_iter().take(KEYS).map(|(name, _)| name.clone()).collect()
}

fn jobs(jobs: &Jobs) -> Vec<JobView> {
    let mut views: Vec<JobView> = jobs
        .iter()
        .map(|(name, job)| JobView {
            name: name.to_owned(),
            failures: job.failures,
            recovery: (&job.recovery).into(),
            episodes: job.episodes(),
            flapping: job.flaps(),
            open_since: job.open_since().map(stamp),
        })
        .collect();
    views.sort_by(|a, b| b.failures.cmp(&a.failures).then_with(|| a.name.cmp(&b.name)));
    views.truncate(JOBS);
    views
}

fn source_view(found: &super::source::Found) -> SourceView {
    let (state, rows, reason) = match &found.state {
        State::Ready(_) => ("read", Some(found.rows), None),
        State::Absent(reason) => ("absent", None, Some(reason.clone())),
        State::Unreadable(reason, _) => ("unreadable", None, Some(reason.clone())),
    };
    SourceView { name: found.source.name(), state, rows, reason }
}

fn checks(material: &Material<'_>, analysis: &Analysis, shown: &[&Pattern]) -> Vec<CheckResult> {
    let mut all = vec![sources_check(material)];
    if !material.sources.any() {
        for name in ["error-patterns", "error-frequency", "error-recovery", "error-health"] {
            all.push(CheckResult::unknown(name, "no source of errors could be read", ""));
        }
        return all;
    }
    all.push(patterns_check(material, shown));
    let first = analysis.error_frequency.first();
    let above = analysis.error_frequency.iter().filter(|key| key.count > FREQUENT).count() as u64;
    let status = if above > 0 { Status::Warning } else { Status::Ok };
    let words = first.map_or_else(
        || format!("no errors in {}", material.since),
        |first| format!("{} comes first with {} errors; {above} keys above {FREQUENT}", first.error_key, first.count),
    );
    all.push(CheckResult::new("error-frequency", status, Some(above), words));
    all.push(recovery_check(material, analysis));
    let parts: Vec<String> = analysis
        .health_parts
        .iter()
        .map(|part| match part.points {
            Some(points) => format!("{} {points:.0} of {:.0} ({})", part.name, part.most, part.by),
            None => format!("{} not measured ({})", part.name, part.by),
        })
        .collect();
    let mut result = match analysis.system_health {
        None => CheckResult::unknown("error-health", "no health: nothing could be read", ""),
        Some(score) => {
            let status = match score {
                score if score < HEALTH_CRITICAL => Status::Critical,
                score if score < HEALTH => Status::Warning,
                _ => Status::Ok,
            };
            CheckResult::new("error-health", status, Some(u64::from(score)), format!("health {score} of 100"))
        }
    };
    if result.status != Status::Ok {
        result.details = parts;
    }
    all.push(result);
    all
}

fn sources_check(material: &Material<'_>) -> CheckResult {
    let found = &material.sources.found;
    let read: Vec<&str> =
        found.iter().filter(|found| matches!(found.state, State::Ready(_))).map(|found| found.source.name()).collect();
    let unreadable: Vec<(&str, &String, u8)> = found
        .iter()
        .filter_map(|found| match &found.state {
            State::Unreadable(reason, code) => Some((found.source.name(), reason, *code)),
            _ => None,
        })
        .collect();
    let Some(code) = unreadable.iter().map(|(.., code)| *code).max() else {
        let status = if read.is_empty() { Status::Unknown } else { Status::Ok };
        let words = if read.is_empty() {
            "no source of errors exists here: there is no data".to_owned()
        } else {
            format!("read: {}", read.join(", "))
        };
        return CheckResult::new("error-sources", status, (!read.is_empty()).then_some(read.len() as u64), words);
    };
    let names: Vec<&str> = unreadable.iter().map(|(name, ..)| *name).collect();
    let words = format!("could not be read: {}", names.join(", "));
    let mut result = CheckResult::new("error-sources", Status::Unknown, None, words);
    result.details = unreadable.iter().map(|(name, reason, _)| format!("{name}: {reason}")).collect();
    result.details.push("`healer doctor` prints what is missing".into());
    result.incomplete = true;
    result.error_code = code;
    result
}

fn patterns_check(material: &Material<'_>, shown: &[&Pattern]) -> CheckResult {
    let changed: Vec<&&Pattern> =
        shown.iter().filter(|pattern| pattern.changed() && pattern.count > 0 && pattern.is_grave()).collect();
    let status = if changed.iter().any(|pattern| pattern.severity == Severity::Critical) {
        Status::Critical
    } else if changed.is_empty() {
        Status::Ok
    } else {
        Status::Warning
    };
    let words = match (material.patterns.in_window, standings(shown)) {
        (0, gone) if gone.is_empty() => format!("no errors in {}", material.since),
        (number, words) if words.is_empty() => format!("{number} patterns, all known"),
        (number, words) => format!("{number} patterns: {words}"),
    };
    let mut result = CheckResult::new("error-patterns", status, Some(changed.len() as u64), words);
    result.details = changed
        .iter()
        .take(CONCERNS)
        .map(|pattern| {
            format!("{}: {} × {}", pattern.word(), pattern.count, crate::report::table::cut(&pattern.template, 120))
        })
        .collect();
    result
}

fn standings(shown: &[&Pattern]) -> String {
    let count = |is: &dyn Fn(&Pattern) -> bool| shown.iter().filter(|pattern| is(pattern)).count();
    [
        (count(&|pattern| pattern.standing == Standing::New), "new"),
        (count(&|pattern| pattern.standing == Standing::Regressed), "regressed"),
        (count(&|pattern| pattern.standing == Standing::Known && pattern.grows()), "growing"),
        (count(&|pattern| pattern.standing == Standing::Gone), "gone"),
    ]
    .iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| format!("{count} {word}"))
    .collect::<Vec<_>>()
    .join(", ")
}

fn recovery_check(material: &Material<'_>, analysis: &Analysis) -> CheckResult {
    const NAME: &str = "error-recovery";
    if let Some(failed) = material.recovery_failed {
        return failed.clone();
    }
    let metrics = &analysis.recovery_metrics;
    let recovery = &material.patterns.recovery;
    let Some(rate) = metrics.recovery_rate else {
        return if material.patterns.errors == 0 {
            CheckResult::new(NAME, Status::Ok, Some(0), format!("no errors in {}", material.since))
        } else {
            CheckResult::unknown(
                NAME,
                "no error names a post, a job or the breaker: whether it recovered cannot be followed",
                "let errors carry decision_id, job, or recovered",
            )
        };
    };
    let status = if rate < RECOVERY { Status::Warning } else { Status::Ok };
    let mut words = format!(
        "{:.1} % of {} errors that can be followed recovered, {} are open",
        rate * 100.0,
        recovery.recovered + recovery.open,
        recovery.open
    );
    if let (Some(median), Some(p95)) = (metrics.median_recovery_time, metrics.p95_recovery_time) {
        words.push_str(&format!(
            "; it took {} (median), {} (p95) in {} of which the time is known",
            ago(median / 1_000),
            ago(p95 / 1_000),
            metrics.timed_recoveries
        ));
    }
    let mut result = CheckResult::new(NAME, status, Some(recovery.open), words);
    for job in &analysis.jobs {
        if job.flapping {
            result.details.push(format!(
                "{} flaps: {} failures, and {} times it ran again{}",
                job.name,
                job.failures,
                job.episodes,
                job.recovery.median_ms.map(|ms| format!(", after {} (median)", ago(ms / 1_000))).unwrap_or_default()
            ));
        } else if let Some(since) = &job.open_since {
            result.details.push(format!("{} has not recovered since {since}", job.name));
        }
    }
    result
}

fn recommendations(analysis: &Analysis, shown: &[&Pattern]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut say = |line: String| {
        if all.len() < RECOMMENDATIONS && !all.contains(&line) {
            all.push(line);
        }
    };
    let posted: u64 = shown.iter().filter(|pattern| perhaps_posted(pattern)).map(|pattern| pattern.count).sum();
    if posted > 0 {
        say(format!(
            "{posted} errors may have posted all the same: let `healer heal` look in the ledgers, queue none by hand"
        ));
    }
    // What is done against several of them is said once.
    let mut actions: Vec<(&str, Vec<String>)> = Vec::new();
    let in_window = || shown.iter().filter(|pattern| pattern.count > 0);
    let changed = in_window().filter(|pattern| pattern.changed() && pattern.is_grave());
    let frequent =
        in_window().filter(|pattern| !pattern.changed() && pattern.count > FREQUENT && pattern.cause.is_some());
    for pattern in changed.chain(frequent) {
        let since = pattern.before.first().map(|before| format!(" after {}", before.title)).unwrap_or_default();
        let who = format!("{} ({} × {}{since})", pattern.error_key, pattern.count, pattern.word());
        let action = pattern
            .cause
            .as_ref()
            .map_or("no cause is known: look at the examples, and add one to errors.cause", |cause| &cause.action);
        match actions.iter_mut().find(|(known, _)| *known == action) {
            Some((_, all)) if all.len() < 3 => all.push(who),
            Some(_) => {}
            None => actions.push((action, vec![who])),
        }
    }
    for (action, who) in actions {
        say(format!("{}: {action}", who.join(", ")));
    }
    for job in analysis.jobs.iter().filter(|job| job.flapping) {
        say(format!(
            "{} fails and recovers again and again: see its pattern, and what differs between its runs",
            job.name
        ));
    }
    all
}

/// Whether posts may be live of which it says that they failed.
fn perhaps_posted(pattern: &Pattern) -> bool {
    pattern.count > 0 && pattern.cause.as_ref().is_some_and(|cause| cause.retry == Retry::PerhapsPosted)
}

fn headline(material: &Material<'_>, analysis: &Analysis, shown: &[&Pattern]) -> String {
    if !material.sources.any() {
        return "no data: no source of errors could be read".into();
    }
    let patterns = material.patterns;
    if patterns.errors == 0 {
        let gone = standings(shown);
        let gone = if gone.is_empty() { gone } else { format!(" ({gone})") };
        return format!("no errors in {}{gone}", material.since);
    }
    let mut words = format!("{} errors in {}, {} patterns", patterns.errors, material.since, patterns.in_window);
    let standings = standings(shown);
    if !standings.is_empty() {
        words.push_str(&format!(" ({standings})"));
    }
    if let Some(rate) = analysis.recovery_metrics.recovery_rate {
        words.push_str(&format!("; {:.0} % of those that can be followed recovered", rate * 100.0));
    }
    if let Some(score) = analysis.system_health {
        words.push_str(&format!("; health {score} of 100"));
    }
    words
}

fn concerns(shown: &[&Pattern]) -> Vec<Concern> {
    shown
        .iter()
        .filter(|pattern| pattern.changed() && pattern.count > 0 && pattern.is_grave())
        .map(|pattern| Concern {
            key: format!("error-pattern:{}", pattern.first_key),
            severity: match pattern.severity {
                Severity::Critical => plan::Severity::Critical,
                Severity::Error => plan::Severity::Error,
                Severity::Warning => plan::Severity::Warning,
                Severity::Info => plan::Severity::Info,
            },
            title: format!("{} error: {}", pattern.word(), crate::report::table::cut(&pattern.template, 120)),
            detail: detail(pattern),
            next_step: pattern.cause.as_ref().map_or_else(
                || "healer analyze-errors shows its example and what happened before".to_owned(),
                |cause| cause.action.clone(),
            ),
        })
        .collect()
}

fn detail(pattern: &Pattern) -> String {
    let mut words =
        format!("{} times ({} in the window before), {}", pattern.count, pattern.trend.count_before, pattern.error_key);
    if let Some(before) = pattern.before.first() {
        words.push_str(&format!("; {} before it: {}", ago(before.seconds), before.title));
    }
    if let Some(cause) = &pattern.cause {
        words.push_str(&format!("; {}", cause.title));
        if cause.retry == Retry::PerhapsPosted {
            words.push_str(" (perhaps posted: do not repeat)");
        }
    }
    words
}
