//! The pass `optimize content`: looks, decides, applies, and says what it was.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};

use super::arm::Status as ArmStatus;
use super::effect::Outcome as Effect;
use super::gate::Subject;
use super::plan::{ArmPlan, NoChange, Plan, SubjectPlan};
use super::reading::{FINDINGS, FORMATS, HOURS, Look, MEMORY, look};
use super::tables::Source;
use crate::change::lease::Lease;
use crate::change::plan::Severity;
use crate::change::setting::SettingChange;
use crate::change::weights::{self, Applied, GENERATORS, Group, Outcome, WeightChange};
use crate::database::session::{Access, Param};
use crate::database::statement;
use crate::error::Error;
use crate::heal::{CheckResult, Status};
use crate::pass::{CONTENT, Kind, Work};
use crate::posts::mapping::Mapping;
use crate::report::model::{Counts, Findings};
use crate::start::Start;

/// What dashboards read of one optimization.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Optimization {
    /// `generator_weights`, `format_weights` or `hour_weights`.
    pub r#type: &'static str,
    /// In words.
    pub description: String,
    /// What the model expects of it, with its interval, in words; `null` where it cannot tell.
    pub expected_impact: Option<String>,
    /// Whether it was done and journalled.
    pub implemented: bool,
    /// Why not, where it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What an earlier change did.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PerformanceChange {
    /// The figures.
    #[serde(flatten)]
    pub outcome: Effect,
    /// In words.
    pub description: String,
    /// The command that takes it back.
    pub undo: String,
}

/// What only this pass tells.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Body {
    /// What was, or would be, changed.
    pub optimizations: Vec<Optimization>,
    /// What earlier changes did, the harmful ones first; `null` where none can be measured.
    pub performance_changes: Option<Vec<PerformanceChange>>,
    /// The zone in which hours are counted, the objective, and all figures; `null` where nothing could be decided.
    pub plan: Option<Plan>,
}

/// The pass at work.
#[derive(Debug, Default)]
pub struct Content {
    look: Option<Look>,
    applied: Option<Applied>,
    notes: Vec<String>,
    codes: Vec<u8>,
    begun: Option<Instant>,
}

/// What a subject is called in the event.
fn type_of(subject: Subject) -> &'static str {
    match subject {
        Subject::Generator => "generator_weights",
        Subject::Format => "format_weights",
        Subject::Hour => "hour_weights",
    }
}

fn subjects(plan: &Plan) -> [&SubjectPlan; 3] {
    [&plan.generators, &plan.formats, &plan.hours]
}

/// A weight as it is stored: four digits.
fn stored(weight: f64) -> String {
    format!("{weight:.4}")
}

/// Weights as a setting holds them.
fn map(arms: &[ArmPlan], weight: fn(&ArmPlan) -> f64) -> Value {
    let weights: BTreeMap<&str, f64> = arms.iter().map(|arm| (arm.name.as_str(), weight(arm))).collect();
    json!(weights)
}

impl Work for Content {
    type Body = Body;

    fn kind(&self) -> &'static Kind {
        &CONTENT
    }

    fn detect(&mut self, start: &mut Start, mapping: &Mapping) -> Result<(), Error> {
        self.begun = Some(Instant::now());
        self.look = Some(look(start, mapping)?);
        Ok(())
    }

    fn act(&mut self, start: &mut Start, _: &Mapping, lease: &Lease) -> Result<(), Error> {
        let Some(look) = &self.look else { return Ok(()) };
        let Some(plan) = &look.plan else { return Ok(()) };
        let mut group = group(look, plan);
        if let Err(lacks) = &look.tables.may_write
            && !group.generators.is_empty()
        {
            group.generators.clear();
            self.notes.push(lacks.clone());
            self.codes.push(77);
        }
        let applied = weights::apply(&mut start.session, &look.tables.names, lease, &group, |with_generators| {
            vec![(MEMORY, memory(look, plan, with_generators))]
        })?;
        if let Outcome::Failed(why) = &applied.generators {
            log::warn!(target: "healer", "{} {why}", CONTENT.tag);
            self.codes.push(3);
        }
        let updated = applied.generators == Outcome::Applied;
        self.applied = Some(applied);
        if updated {
            self.tell_history(start, &group)?;
        }
        Ok(())
    }

    fn findings(&mut self, dry_run: bool) -> Findings<Body> {
        let mut notes = std::mem::take(&mut self.notes);
        let Some(look) = self.look.take() else {
            return Findings {
                body: Body { optimizations: Vec::new(), performance_changes: None, plan: None },
                headline: "nothing was read".into(),
                checks: Vec::new(),
                counts: Counts { applied: Some(0), ..Counts::default() },
                notes,
                codes: std::mem::take(&mut self.codes),
                truncated: false,
                concerns: Vec::new(),
            };
        };
        notes.extend(look.notes.iter().cloned());
        if dry_run && look.noted.is_empty() {
            notes.push("no earlier weights are known: steps are counted from those of now".into());
        }
        let checks = checks(&look, self.applied.as_ref(), dry_run);
        let mut concerns = Vec::new();
        let (mut optimizations, mut changes) = (Vec::new(), None);
        let mut counts = Counts { applied: Some(0), ..Counts::default() };
        if let Some(plan) = &look.plan {
            optimizations = subjects(plan)
                .into_iter()
                .filter(|subject| moves(&look, subject))
                .map(|subject| optimization(subject, self.applied.as_ref(), dry_run, &mut counts))
                .collect();
            changes = performance(plan);
            for outcome in plan.outcomes.iter().filter(|outcome| outcome.harmed) {
                concerns.push(crate::report::model::Concern {
                    key: format!("content-harmed:{}:{}", outcome.subject.plural(), outcome.run_id),
                    severity: Severity::Warning,
                    title: format!("an earlier change of {} earns less", outcome.subject.plural()),
                    detail: outcome.describe(),
                    next_step: format!("healer undo {} --dry-run", outcome.run_id),
                });
            }
        }
        for source in [&look.tables.outcomes, &look.tables.weights] {
            if matches!(source, Source::Closed(_)) {
                self.codes.push(77);
            }
        }
        let headline = headline(&look, &counts, dry_run);
        Findings {
            body: Body { optimizations, performance_changes: changes, plan: look.plan },
            headline,
            checks,
            counts,
            notes,
            codes: std::mem::take(&mut self.codes),
            truncated: false,
            concerns,
        }
    }
}

impl Content {
    /// A row for the table in which the system keeps its optimizations. It tells, and nothing rests on it.
    fn tell_history(&mut self, start: &mut Start, group: &Group) -> Result<(), Error> {
        let Some((look, history)) = self.look.as_ref().and_then(|look| Some((look, look.tables.history.as_ref()?)))
        else {
            return Ok(());
        };
        if let Err(why) = history {
            self.notes.push(why.clone());
            return Ok(());
        }
        let Some(plan) = &look.plan else { return Ok(()) };
        let rated: Vec<(&str, f64)> =
            plan.generators.arms.iter().filter_map(|arm| Some((arm.name.as_str(), arm.f_per_1k?))).collect();
        let best = rated.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        let worst = rated.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        // The table has numeric(8,4) for it.
        let rate = |arm: Option<&(&str, f64)>| {
            arm.map(|arm| format!("{:.4}", arm.1.clamp(-9_999.0, 9_999.0))).unwrap_or_default()
        };
        let name = |arm: Option<&(&str, f64)>| arm.map(|arm| arm.0.to_owned()).unwrap_or_default();
        let changes: Vec<Value> = plan
            .generators
            .arms
            .iter()
            .filter(|arm| arm.changes())
            .map(|arm| json!({ "generator": arm.name, "from": arm.old_weight, "to": arm.new_weight, "reason": arm.reason }))
            .collect();
        let took = self.begun.map_or(0, |begun| i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX));
        let session = &mut start.session;
        session.begin(Access::ReadWrite, "")?;
        let written = session.rows(
            &statement::OPTIMIZATION_EVENT.fill(&look.tables.names),
            &[
                Param::Int(i64::try_from(plan.posts).unwrap_or(i64::MAX)),
                Param::Int(i64::from(look.settings.window_days)),
                Param::Int(i64::try_from(group.generators.len()).unwrap_or(i64::MAX)),
                Param::Text(&name(best)),
                Param::Text(&rate(best)),
                Param::Text(&name(worst)),
                Param::Text(&rate(worst)),
                Param::Text(&json!(changes).to_string()),
                Param::Int(took),
            ],
        );
        match written {
            Ok(_) => session.commit(),
            Err(error) if error.stops_the_pass() => Err(error),
            Err(error) => {
                session.rollback();
                self.notes.push(format!("the change is not noted in {}: {error}", look.settings.events_table));
                Ok(())
            }
        }
    }
}

/// Whether a subject is to be written: it moves, or its weights are stored for the first time.
fn moves(look: &Look, subject: &SubjectPlan) -> bool {
    let first = match subject.subject {
        Subject::Generator => false,
        Subject::Format => look.formats.is_none() && !look.locked[0],
        Subject::Hour => look.hours.is_none() && !look.locked[1],
    };
    subject.no_change.is_none() && (first || subject.changes())
}

/// What is to be written, of a plan.
fn group(look: &Look, plan: &Plan) -> Group {
    let mut group = Group { seen: look.seen.clone(), ..Group::default() };
    if moves(look, &plan.generators) {
        for arm in plan.generators.arms.iter().filter(|arm| arm.changes()) {
            group.generators.push(WeightChange {
                name: arm.name.clone(),
                weight: stored(arm.new_weight),
                status: arm.new_status.map(|status| if status == ArmStatus::Active { "active" } else { "testing" }),
                reason: arm.reason.clone(),
                evidence: json!({
                    "posts": arm.posts, "effect": arm.effect, "pBest": arm.p_best, "objective": plan.objective,
                }),
            });
        }
    }
    let parts = [(&plan.formats, "formats", FORMATS, &look.formats), (&plan.hours, "hours", HOURS, &look.hours)];
    for (place, (subject, check, name, from)) in parts.into_iter().enumerate() {
        if moves(look, subject) {
            if from.is_none() {
                group.begin[place] = map(&subject.arms, |arm| arm.old_weight);
            }
            let change = SettingChange {
                name: name.to_owned(),
                from: from.clone(),
                to: map(&subject.arms, |arm| arm.new_weight),
                reason: describe(subject),
                evidence: json!({ "expectedImpact": subject.expected_impact, "objective": plan.objective }),
            };
            group.settings.push((check, change));
        }
    }
    let findings = |arms: &[ArmPlan]| -> Value {
        arms.iter()
            .map(|arm| {
                let effect = arm.effect;
                let figures = json!({
                    "low": effect.map(|effect| effect.low), "high": effect.map(|effect| effect.high), "posts": arm.posts,
                });
                (arm.name.clone(), figures)
            })
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    group.kept.push((
        FINDINGS,
        json!({
            "zone": plan.zone, "objective": plan.objective,
            "generators": findings(&plan.generators.arms), "formats": findings(&plan.formats.arms),
            "hours": findings(&plan.hours.arms),
        }),
    ));
    group
}

/// What is remembered for the next run. Of generators that could not be changed, what was last set stays what it was.
fn memory(look: &Look, plan: &Plan, with_generators: bool) -> Value {
    let mut memory = plan.memory.clone();
    if !with_generators && plan.generators.changes() {
        memory.set.retain(|key, _| !key.starts_with("generator:"));
        let before = look.memory.set.iter().filter(|(key, _)| key.starts_with("generator:"));
        memory.set.extend(before.map(|(key, set)| (key.clone(), *set)));
    }
    json!(memory)
}

/// What a subject's plan does, in words.
fn describe(subject: &SubjectPlan) -> String {
    let mut moved: Vec<&ArmPlan> = subject.arms.iter().filter(|arm| arm.changes()).collect();
    moved.sort_by(|a, b| (b.new_weight - b.old_weight).abs().total_cmp(&(a.new_weight - a.old_weight).abs()));
    if moved.is_empty() {
        return format!("{} as they are observed, to begin from", subject.subject.plural());
    }
    let mut words = format!("{} of {} {} move", moved.len(), subject.arms.len(), subject.subject.plural());
    for (place, arm) in moved.iter().take(3).enumerate() {
        let name = if subject.subject == Subject::Hour { format!("{}:00", arm.name) } else { arm.name.clone() };
        let _ = write!(
            words,
            "{} {name} {:.4} → {:.4}",
            if place == 0 { ":" } else { "," },
            arm.old_weight,
            arm.new_weight
        );
    }
    words
}

/// Whether a subject's plan was applied, and why not.
fn outcome(subject: &SubjectPlan, applied: Option<&Applied>, dry_run: bool) -> Result<(), String> {
    if dry_run {
        return Err("dry run".into());
    }
    let Some(applied) = applied else { return Err("the run ended before".into()) };
    if subject.subject != Subject::Generator {
        let done = applied.settings.contains(&subject.subject.plural());
        return if done { Ok(()) } else { Err("it changed meanwhile, or is locked: left alone".into()) };
    }
    match &applied.generators {
        Outcome::Applied => Ok(()),
        Outcome::Skipped => Err("somebody changed the weights meanwhile: left alone, the next run decides anew".into()),
        Outcome::Failed(why) => Err(why.clone()),
        Outcome::Unchanged => Err("the role may not change them".into()),
    }
}

fn optimization(subject: &SubjectPlan, applied: Option<&Applied>, dry_run: bool, counts: &mut Counts) -> Optimization {
    counts.planned += 1;
    let outcome = outcome(subject, applied, dry_run);
    match (&outcome, applied.map(|applied| &applied.generators)) {
        (Ok(()), _) => counts.applied = counts.applied.map(|applied| applied + 1),
        (Err(_), _) if dry_run => {}
        (Err(_), Some(Outcome::Failed(_))) if subject.subject == Subject::Generator => counts.failed += 1,
        (Err(_), None) => counts.remaining += 1,
        (Err(_), _) => counts.skipped += 1,
    }
    Optimization {
        r#type: type_of(subject.subject),
        description: describe(subject),
        expected_impact: subject.expected_impact.map(|share| share.to_string()),
        implemented: outcome.is_ok(),
        reason: outcome.err(),
    }
}

fn performance(plan: &Plan) -> Option<Vec<PerformanceChange>> {
    let changes: Vec<PerformanceChange> = plan
        .outcomes
        .iter()
        .map(|outcome| PerformanceChange {
            description: outcome.describe(),
            undo: format!("healer undo {}", outcome.run_id),
            outcome: outcome.clone(),
        })
        .collect();
    (!changes.is_empty()).then_some(changes)
}

/// The checks, one a subject and one for what earlier changes did.
fn checks(look: &Look, applied: Option<&Applied>, dry_run: bool) -> Vec<CheckResult> {
    let mut checks = Vec::new();
    let unreadable = |name: &'static str, source: &Source| {
        let why = source.why_not().unwrap_or_default().to_owned();
        let mut check = CheckResult::unknown(name, why, "");
        if matches!(source, Source::Closed(_)) {
            check.incomplete = true;
            check.error_code = 77;
            check.details.push("`healer doctor` and sql/roles.sql name the GRANT".into());
        }
        check
    };
    let Some(plan) = &look.plan else {
        for name in [GENERATORS, "formats", "hours", "earlier-changes"] {
            checks.push(unreadable(name, &look.tables.outcomes));
        }
        return checks;
    };
    for subject in subjects(plan) {
        let name = subject.subject.plural();
        if subject.subject == Subject::Generator && !look.tables.weights.is_readable() {
            checks.push(unreadable(name, &look.tables.weights));
            continue;
        }
        let moved = subject.arms.iter().filter(|arm| arm.changes()).count() as u64;
        let mut check = CheckResult::new(name, Status::Ok, Some(moved), String::new());
        check.summary = match &subject.no_change {
            Some(why) => format!("no change: {why}"),
            None if !moves(look, subject) => "no change: the weights are where they should be".to_owned(),
            None => {
                let mut words = describe(subject);
                if let Some(impact) = &subject.expected_impact {
                    let _ = write!(words, "; expected {impact}");
                }
                words
            }
        };
        if matches!(subject.no_change, Some(NoChange::Infeasible { .. })) {
            check.status = Status::Warning;
        }
        if moves(look, subject)
            && !dry_run
            && let Err(why) = outcome(subject, applied, dry_run)
        {
            check.status = Status::Warning;
            let _ = write!(check.summary, "; not applied: {why}");
        }
        if subject.subject == Subject::Generator {
            let wrong =
                plan.warnings.iter().filter(|warning| warning.contains("sum to") || warning.contains("its weight"));
            for warning in wrong {
                check.status = check.status.max(Status::Warning);
                check.details.push(warning.clone());
            }
        }
        checks.push(check);
    }
    checks.push(earlier(plan));
    checks
}

fn earlier(plan: &Plan) -> CheckResult {
    let harmed = plan.outcomes.iter().filter(|outcome| outcome.harmed).count();
    let measured = plan.outcomes.iter().filter(|outcome| outcome.gain.is_some()).count();
    let status = if harmed > 0 { Status::Warning } else { Status::Ok };
    let summary = match plan.outcomes.first() {
        None => "no earlier change to measure".to_owned(),
        Some(first) if harmed > 0 => first.describe(),
        Some(_) => format!("{measured} of {} earlier changes measured, none did harm", plan.outcomes.len()),
    };
    let mut check = CheckResult::new("earlier-changes", status, Some(harmed as u64), summary);
    check.details = plan.outcomes.iter().skip(usize::from(harmed > 0)).map(Effect::describe).collect();
    check
}

/// One line: what earlier changes did if they harmed, what was done, by what measure.
fn headline(look: &Look, counts: &Counts, dry_run: bool) -> String {
    let Some(plan) = &look.plan else {
        return format!("nothing can be learned: {}", look.tables.outcomes.why_not().unwrap_or("no outcomes"));
    };
    let mut words = String::new();
    if let Some(harmed) = plan.outcomes.iter().find(|outcome| outcome.harmed) {
        let _ = write!(words, "{}; ", harmed.describe());
    }
    let what = |verb: &str| {
        let names: Vec<&str> = subjects(plan)
            .into_iter()
            .filter(|subject| moves(look, subject))
            .map(|subject| subject.subject.plural())
            .collect();
        format!("weights of {} {verb}", names.join(", "))
    };
    words.push_str(&match (&plan.no_change, counts.planned, counts.applied) {
        (Some(why), _, _) => format!("no change: {why}"),
        (None, 0, _) => "no change needed".to_owned(),
        (None, _, _) if dry_run => what("would change"),
        (None, planned, Some(applied)) if planned == applied => what("changed"),
        (None, planned, applied) => format!("{} of {planned} changes applied", applied.unwrap_or(0)),
    });
    let _ = write!(words, " ({} posts, {})", plan.posts, plan.objective);
    words
}
