//! The result of the pass as tables: each weight before and after, what it earns over the average with its interval as
//! a bar, and why.

use std::fmt::Write as _;

use super::effect::Share;
use super::gate::Subject;
use super::pass::Body;
use super::plan::{ArmPlan, Plan, SubjectPlan};
use crate::report::model::PassReport;
use crate::report::table::{self, Look, clean, cut};

/// Characters of an interval's bar.
const BAR: usize = 17;
/// Arms of one subject that a table shows; `--format json` has all.
const ROWS: usize = 30;

/// The tables of a pass.
pub fn tables(report: &PassReport<Body>, look: Look) -> String {
    let mut out = table::head(report);
    if report.status == "skipped" {
        return out;
    }
    out.push('\n');
    out.push_str(&table::checks(report, look));
    if let Some(plan) = &report.body.plan {
        out.push_str(&figures(plan, look));
    }
    let mut steps = Vec::new();
    if let Some(harmed) = report.body.performance_changes.iter().flatten().find(|change| change.outcome.harmed) {
        steps.push(format!("take the harmful change back: {}", harmed.undo));
    }
    if report.dry_run && report.counts.planned > 0 {
        steps.push("carry it out: healer optimize content".to_owned());
    }
    if let Some(run) = report.run_id
        && report.counts.applied.unwrap_or(1) > 0
    {
        steps.push(format!("take it back: healer undo {run} --dry-run"));
    }
    if !steps.is_empty() {
        out.push('\n');
    }
    for step in steps {
        let _ = writeln!(out, "→ {step}");
    }
    out.push_str(&table::notes(report));
    out
}

/// What was read, and the weights of each subject: also for reports.
pub fn figures(plan: &Plan, look: Look) -> String {
    let mut out = String::new();
    let number = |value: Option<f64>| value.map_or_else(|| "not measured".to_owned(), |value| format!("{value:.2}"));
    let _ = writeln!(
        out,
        "\n{}: {} (raw mean {}), {} posts, {} in 7 days, {} in 30 days; hours in {}",
        clean(&plan.objective),
        number(plan.typical),
        number(plan.raw_mean),
        plan.posts,
        plan.posts_last_7_days,
        plan.posts_last_30_days,
        plan.zone
    );
    let left_out = left_out(plan);
    if !left_out.is_empty() {
        let _ = writeln!(out, "left out: {left_out}");
    }
    for subject in [&plan.generators, &plan.formats, &plan.hours] {
        if subject.arms.is_empty() {
            continue;
        }
        out.push('\n');
        out.push_str(&arms(subject, look));
    }
    for warning in &plan.warnings {
        let _ = writeln!(out, "note: {}", clean(warning));
    }
    out
}

/// What was read and not used, by reason.
pub fn left_out(plan: &Plan) -> String {
    let left = &plan.left_out;
    let parts: Vec<String> = [
        (left.immature, "too young"),
        (left.collected_early, "collected too early"),
        (left.no_outcome, "without outcome"),
        (left.unmeasured, "not measured"),
        (left.no_impressions, "without impressions"),
        (left.simulated, "simulated"),
        (left.test, "test posts"),
        (left.placeholder_id, "without a real id"),
        (left.impossible, "with impossible figures"),
        (left.no_generator, "without generator"),
        (left.too_many_generators, "of further generators"),
        (left.outside_window, "outside the window"),
        (left.no_time, "without time"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, why)| format!("{count} {why}"))
    .collect();
    parts.join(", ")
}

fn arms(subject: &SubjectPlan, look: Look) -> String {
    let effects = || subject.arms.iter().filter_map(|arm| arm.effect);
    // One scale for all bars of a subject; nothing lies outside it.
    let reach = effects().map(|effect| effect.low.abs().max(effect.high.abs())).fold(0.05_f64, f64::max);
    let singular = match subject.subject {
        Subject::Generator => "generator",
        Subject::Format => "format",
        Subject::Hour => "hour",
    };
    let scale = format!("−{0:.0} % … +{0:.0} %", reach * 100.0);
    let mut rows = table::plain(look, &[singular, "old", "new", "posts", &scale, "over average", "why"]);
    for arm in subject.arms.iter().take(ROWS) {
        rows.add_row(vec![
            cut(&arm.name, 24),
            format!("{:.4}", arm.old_weight),
            if arm.changes() { format!("{:.4}", arm.new_weight) } else { "=".to_owned() },
            arm.posts.to_string(),
            arm.effect.map(|effect| bar(&effect, reach)).unwrap_or_default(),
            arm.effect.map(|effect| format!("{:+.1} %", effect.mean * 100.0)).unwrap_or_default(),
            clean(&why(arm)),
        ]);
    }
    let mut out = table::text(&rows);
    if subject.arms.len() > ROWS {
        let _ = writeln!(out, "… {} more (--format json lists them)", subject.arms.len() - ROWS);
    }
    out
}

fn why(arm: &ArmPlan) -> String {
    match &arm.new_status {
        Some(_) => format!("{} (testing → active)", arm.reason),
        None => arm.reason.clone(),
    }
}

/// An interval as a bar on the scale from −`reach` to +`reach`: `│` is the average, `●` the best guess.
fn bar(effect: &Share, reach: f64) -> String {
    let middle = BAR / 2;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // within 0 to BAR − 1 by the clamp
    let place = |value: f64| {
        let share = (value / reach).clamp(-1.0, 1.0);
        (middle as f64 * (1.0 + if share.is_finite() { share } else { 0.0 })).round() as usize
    };
    let (low, mean, high) = (place(effect.low), place(effect.mean), place(effect.high));
    (0..BAR)
        .map(|at| match at {
            _ if at == mean => '●',
            _ if at == middle => '│',
            _ if at >= low && at <= high => '─',
            _ => '·',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_where_the_interval_lies() {
        assert_eq!(bar(&Share { low: 0.5, mean: 0.75, high: 1.0 }, 1.0), "········│···──●──");
        assert_eq!(bar(&Share { low: -1.0, mean: 0.0, high: 1.0 }, 1.0), "────────●────────");
        assert_eq!(bar(&Share { low: f64::NAN, mean: f64::NAN, high: f64::NAN }, 1.0).chars().count(), BAR);
    }
}
