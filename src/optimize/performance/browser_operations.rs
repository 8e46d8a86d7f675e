//! `browser-operations`: what holds the browser, what waits for it, which jobs collide, and how to stagger them.
//!
//! Reads what the application reported by `healer.report_browser_op` within 7 days. An operation asked for the browser
//! at the time of its report less what it held and waited. Which operations run on a schedule is learned from the times
//! at which they asked; a stagger shifts those schedules against each other. It is chosen on the first half of the
//! recorded operations and checked by replaying the second half, which it has not seen: the waiting that is told is that
//! of the replay, and a stagger that does not lower it there is not proposed. Never changes a schedule.
//! Limits: the replay serves in the order of asking; it is told how well it explains the waiting that was recorded.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Room, Scene, Told, check_of, figure, lasting, part_of, settings, share};
use crate::change::plan::Severity;
use crate::database::statement;
use crate::error::Error;
use crate::heal::{CheckResult, Status};
use crate::report::model::Concern;
use crate::settings::Settings;

/// The room's name.
pub const NAME: &str = "browser-operations";

/// Askings from which an operation's schedule can be learned.
const LEARNED_FROM: usize = 12;

/// Share of an operation's gaps that must lie near a multiple of its period.
const REGULAR: f64 = 0.7;

/// How far from it, in parts of the period.
const NEAR: f64 = 0.1;

/// Steps in which a schedule is shifted over its period, but never less than a minute.
const STEPS: u32 = 24;

/// Rounds over all schedules: each shift changes what is best for the others.
const ROUNDS: usize = 3;

/// Operations that are staggered: those that wait and hold most.
const STAGGERED: usize = 12;

/// Newest operations that a stagger is looked for in: a week of a busy browser, and replayed some thousand times.
const REPLAYED: usize = 6_000;

/// Operations from which anything is said.
const OPERATIONS_FROM: usize = 20;

/// Waits below this are no collision: a second passes between two operations in any case.
const WAIT_FROM_S: f64 = 1.0;

/// One operation that has ended. Seconds, on an axis that rises with time.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Its name.
    pub name: String,
    /// When it asked for the browser.
    pub asked: f64,
    /// How long it waited.
    pub waited: f64,
    /// How long it held the browser.
    pub held: f64,
    /// Whether it succeeded.
    pub ok: bool,
}

/// What is told of all operations of one name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// How many.
    pub count: u64,
    /// Failed.
    pub failed: u64,
    /// Waited altogether, in seconds.
    pub waited: f64,
    /// The longest wait.
    pub longest_wait: f64,
    /// Held altogether.
    pub held: f64,
    /// The longest.
    pub longest_held: f64,
}

/// The figures by name. Pure.
pub fn figures(operations: &[Operation]) -> BTreeMap<String, Figures> {
    let mut all: BTreeMap<String, Figures> = BTreeMap::new();
    for operation in operations {
        let figures = all.entry(operation.name.clone()).or_default();
        figures.count += 1;
        figures.failed += u64::from(!operation.ok);
        figures.waited += operation.waited;
        figures.longest_wait = figures.longest_wait.max(operation.waited);
        figures.held += operation.held;
        figures.longest_held = figures.longest_held.max(operation.held);
    }
    all
}

/// Who waited for whom, in seconds: the time for which one waited while another held the browser. Pure.
pub fn collisions(operations: &[Operation]) -> Vec<(String, String, f64)> {
    let mut holding: Vec<(f64, f64, &str)> = operations
        .iter()
        .map(|operation| {
            (
                operation.asked + operation.waited,
                operation.asked + operation.waited + operation.held,
                operation.name.as_str(),
            )
        })
        .collect();
    holding.sort_by(|a, b| a.0.total_cmp(&b.0));
    // The latest end of all that began before: where nothing still holds, nothing earlier needs a look.
    let mut latest = Vec::with_capacity(holding.len());
    let mut end = f64::MIN;
    for span in &holding {
        end = end.max(span.1);
        latest.push(end);
    }
    let mut waits: BTreeMap<(String, String), f64> = BTreeMap::new();
    for operation in operations.iter().filter(|operation| operation.waited > WAIT_FROM_S) {
        let (from, to) = (operation.asked, operation.asked + operation.waited);
        let mut place = holding.partition_point(|span| span.0 < to);
        while place > 0 && latest[place - 1] > from {
            place -= 1;
            let (began, ended, name) = holding[place];
            let both = to.min(ended) - from.max(began);
            if both > 0.0 {
                *waits.entry((operation.name.clone(), name.to_owned())).or_default() += both;
            }
        }
    }
    let mut found: Vec<(String, String, f64)> = waits
        .into_iter()
        .filter(|(_, wait)| *wait >= WAIT_FROM_S)
        .map(|((who, whom), wait)| (who, whom, wait))
        .collect();
    found.sort_by(|a, b| b.2.total_cmp(&a.2));
    found
}

/// How long the operations would wait altogether, in seconds, served in the order of asking, with each shifted by what
/// `shift` says of its name. Pure.
pub fn replay(operations: &[Operation], capacity: usize, shift: &dyn Fn(&str) -> f64) -> f64 {
    let mut asked: Vec<(f64, f64)> =
        operations.iter().map(|operation| (operation.asked + shift(&operation.name), operation.held)).collect();
    asked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free = vec![f64::MIN; capacity.max(1)];
    let mut waited = 0.0;
    for (at, held) in asked {
        let Some(next) = free.iter_mut().min_by(|a, b| a.total_cmp(b)) else { break };
        let begins = at.max(*next);
        waited += begins - at;
        *next = begins + held;
    }
    waited
}

/// How often an operation asks, in seconds, where it does so on a schedule. Pure.
pub fn period(asked: &[f64]) -> Option<f64> {
    if asked.len() < LEARNED_FROM {
        return None;
    }
    let mut gaps: Vec<f64> = asked.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap >= 30.0).collect();
    if gaps.len() + 1 < LEARNED_FROM {
        return None;
    }
    gaps.sort_by(f64::total_cmp);
    // Schedules are whole minutes.
    let period = (gaps[gaps.len() / 2] / 60.0).round() * 60.0;
    let near = |gap: &&f64| {
        let times = (*gap / period).round();
        times >= 1.0 && (*gap - times * period).abs() <= NEAR * period
    };
    (period >= 60.0 && gaps.iter().filter(near).count() as f64 >= REGULAR * gaps.len() as f64).then_some(period)
}

/// One schedule that should be shifted.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shift {
    /// The operation.
    pub operation: String,
    /// How often it runs, in minutes.
    pub every_minutes: f64,
    /// By how many minutes it should run later.
    pub later_minutes: f64,
}

/// A proposed stagger and what a replay of recorded operations says of it. Seconds of waiting, of the second half.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stagger {
    /// What is shifted.
    pub shifts: Vec<Shift>,
    /// Recorded.
    pub recorded_seconds: f64,
    /// Replayed as it was.
    pub replayed_seconds: f64,
    /// Replayed with the stagger.
    pub expected_seconds: f64,
    /// Operations of the second half.
    pub operations: usize,
}

/// Looks for shifts that lower the waiting. `None` where none is worth it. Pure.
pub fn stagger(operations: &[Operation], capacity: usize, gain: f64) -> Option<Stagger> {
    if operations.len() < OPERATIONS_FROM {
        return None;
    }
    let mut sorted = operations.to_vec();
    sorted.sort_by(|a, b| a.asked.total_cmp(&b.asked));
    let sorted = &sorted[sorted.len().saturating_sub(REPLAYED)..];
    let (learn, check) = sorted.split_at(sorted.len() / 2);
    let by_name = figures(learn);
    let mut busiest: Vec<(&String, &Figures)> = by_name.iter().collect();
    busiest.sort_by(|a, b| (b.1.waited + b.1.held).total_cmp(&(a.1.waited + a.1.held)));
    let scheduled: Vec<(String, f64)> = busiest
        .into_iter()
        .take(STAGGERED)
        .filter_map(|(name, _)| {
            let asked: Vec<f64> = sorted.iter().filter(|o| o.name == *name).map(|o| o.asked).collect();
            Some((name.clone(), period(&asked)?))
        })
        .collect();
    if scheduled.is_empty() {
        return None;
    }
    let mut shifts: BTreeMap<String, f64> = BTreeMap::new();
    let waiting = |part: &[Operation], shifts: &BTreeMap<String, f64>| {
        replay(part, capacity, &|name| shifts.get(name).copied().unwrap_or(0.0))
    };
    let mut best = waiting(learn, &shifts);
    for _ in 0..ROUNDS {
        let before = best;
        for (name, period) in &scheduled {
            let step = (period / f64::from(STEPS) / 60.0).ceil().max(1.0) * 60.0;
            let mut at = 0.0;
            while at < *period {
                let mut tried = shifts.clone();
                tried.insert(name.clone(), at);
                let waits = waiting(learn, &tried);
                // A shift must pay: at least a hundredth, so that nothing is moved for nothing.
                if waits < best * 0.99 {
                    best = waits;
                    shifts = tried;
                }
                at += step;
            }
        }
        if best >= before {
            break;
        }
    }
    shifts.retain(|_, shift| *shift > 0.0);
    let (replayed, expected) = (waiting(check, &BTreeMap::new()), waiting(check, &shifts));
    if shifts.is_empty() || replayed - expected < gain * replayed || replayed <= 0.0 {
        return None;
    }
    Some(Stagger {
        shifts: scheduled
            .iter()
            .filter_map(|(name, period)| {
                let shift = shifts.get(name)?;
                Some(Shift { operation: name.clone(), every_minutes: period / 60.0, later_minutes: shift / 60.0 })
            })
            .collect(),
        recorded_seconds: check.iter().map(|operation| operation.waited).sum(),
        replayed_seconds: replayed,
        expected_seconds: expected,
        operations: check.len(),
    })
}

/// The room.
#[derive(Debug, Default)]
pub struct BrowserOperations {
    operations: Vec<Operation>,
    odd: u64,
    capacity: usize,
    with_schema: bool,
    collisions: Vec<(String, String, f64)>,
    stagger: Option<Stagger>,
    limits: settings::BrowserOperations,
}

impl Room for BrowserOperations {
    fn name(&self) -> &'static str {
        NAME
    }

    fn enabled(&self, settings: &Settings) -> bool {
        settings.optimize.performance.browser_operations.enabled
    }

    fn detect(&mut self, scene: &mut Scene<'_>) -> Result<(), Error> {
        self.limits = scene.settings.optimize.performance.browser_operations.clone();
        self.with_schema = scene.with_schema;
        if !scene.with_schema {
            return Ok(());
        }
        scene.session.read()?;
        let names = &scene.mapping.names;
        let told =
            scene.session.row(&statement::OPTIMIZE_BROWSER_CAPACITY.fill(names), &[])?.optional_int("capacity")?;
        self.capacity = told
            .and_then(|told| usize::try_from(told).ok())
            .filter(|told| (1..=64).contains(told))
            .unwrap_or(self.limits.capacity as usize);
        for row in scene.session.rows(&statement::OPTIMIZE_BROWSER_OPS.fill(names), &[])? {
            let (ended, waited, held) =
                (row.optional_float("ended_s")?, row.optional_float("waited_ms")?, row.optional_float("held_ms")?);
            // A day is longer than any operation: what is beyond it, or below zero, is no measurement.
            let good = |ms: Option<f64>| ms.filter(|ms| (0.0..=86_400_000.0).contains(ms)).map(|ms| ms / 1_000.0);
            let (Some(ended), Some(waited), Some(held)) = (ended, good(waited), good(held)) else {
                self.odd += 1;
                continue;
            };
            self.operations.push(Operation {
                name: row.text("operation")?,
                asked: -ended - held - waited,
                waited,
                held,
                ok: row.optional_bool("ok")?.unwrap_or(true),
            });
        }
        self.collisions = collisions(&self.operations);
        self.stagger = stagger(&self.operations, self.capacity, self.limits.stagger_gain);
        Ok(())
    }

    fn tell(&self, told: &mut Told) {
        let by_name = figures(&self.operations);
        let held: f64 = by_name.values().map(|figures| figures.held).sum();
        let waited: f64 = by_name.values().map(|figures| figures.waited).sum();
        let mut list: Vec<(&String, &Figures)> = by_name.iter().collect();
        list.sort_by(|a, b| b.1.held.total_cmp(&a.1.held));
        let list: Vec<Value> = list
            .into_iter()
            .take(50)
            .map(|(name, of)| {
                let n = of.count.max(1) as f64;
                json!({
                    "operation": name, "count": of.count, "failed": of.failed, "failureRate": share(part_of(of.failed, of.count)),
                    "meanWaitedMs": figure(Some(of.waited / n * 1_000.0)), "longestWaitedMs": figure(Some(of.longest_wait * 1_000.0)),
                    "meanHeldMs": figure(Some(of.held / n * 1_000.0)), "longestHeldMs": figure(Some(of.longest_held * 1_000.0)),
                    "shareOfBrowser": share((held > 0.0).then(|| of.held / held)),
                })
            })
            .collect();
        let collide: Vec<Value> = self
            .collisions
            .iter()
            .take(20)
            .map(|(who, whom, wait)| json!({ "waits": who, "for": whom, "seconds": figure(Some(*wait)) }))
            .collect();
        told.parts.insert(
            "browserOperations".into(),
            json!({
                "capacity": self.capacity, "operations": list, "collisions": collide,
                "waitedSeconds": figure(Some(waited)), "heldSeconds": figure(Some(held)), "stagger": self.stagger,
            }),
        );
        let mut lines = Vec::new();
        let much =
            self.operations.len() >= OPERATIONS_FROM && held > 0.0 && waited > self.limits.waiting_warning * held;
        if much {
            let worst = self
                .collisions
                .first()
                .map(|(who, whom, wait)| format!(": {who} waited {} for {whom}", lasting(wait * 1_000.0)))
                .unwrap_or_default();
            lines.push((
                Status::Warning,
                format!(
                    "operations waited {} for the browser in 7 days while it was held for {}{worst}",
                    lasting(waited * 1_000.0),
                    lasting(held * 1_000.0)
                ),
            ));
        }
        if let (true, Some(stagger)) = (much, &self.stagger) {
            let shifts: Vec<String> = stagger
                .shifts
                .iter()
                .map(|shift| {
                    format!(
                        "{} {:.0} min later (it runs every {:.0} min)",
                        shift.operation, shift.later_minutes, shift.every_minutes
                    )
                })
                .collect();
            let words = format!(
                "run {}: a replay of {} recorded operations waits {} instead of {} (recorded: {})",
                shifts.join(", "),
                stagger.operations,
                lasting(stagger.expected_seconds * 1_000.0),
                lasting(stagger.replayed_seconds * 1_000.0),
                lasting(stagger.recorded_seconds * 1_000.0)
            );
            told.recommendations.push(words);
        }
        if let Some((_, line)) = lines.first() {
            told.concerns.push(Concern {
                key: "browser-collisions".into(),
                severity: Severity::Warning,
                title: "operations collide at the browser".into(),
                detail: line.clone(),
                next_step: "stagger the schedules: healer optimize performance proposes how".into(),
            });
            if self.stagger.is_none() {
                told.recommendations.push(format!("{line}: give it more capacity, or shorten what holds it longest"));
            }
        }
        told.checks.push(self.check(&lines));
    }
}

impl BrowserOperations {
    fn check(&self, lines: &[(Status, String)]) -> CheckResult {
        let report = "have the application call healer.report_browser_op after each operation";
        let mut check = if !self.with_schema {
            CheckResult::unknown(
                NAME,
                "what the application reports is kept in the schema healer: run `healer init`",
                report,
            )
        } else if self.operations.is_empty() {
            CheckResult::unknown(NAME, "no data: no operation of the browser was reported in 7 days", report)
        } else {
            check_of(NAME, lines, format!("{} operations in 7 days", self.operations.len()))
        };
        if self.odd > 0 {
            check.details.push(format!("{} reports without usable times were set aside", self.odd));
        }
        check
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs of one operation: how many, how often and from when on (minutes), and for how long each holds the browser (seconds).
    fn runs(name: &str, count: u32, every: f64, from: f64, held: f64) -> Vec<Operation> {
        (0..count)
            .map(|n| Operation {
                name: name.into(),
                asked: (from + f64::from(n) * every) * 60.0,
                waited: 0.0,
                held,
                ok: true,
            })
            .collect()
    }

    /// The operations with the waits that a browser of one place makes of them.
    fn recorded(mut operations: Vec<Operation>) -> Vec<Operation> {
        operations.sort_by(|a, b| a.asked.total_cmp(&b.asked));
        let mut free = f64::MIN;
        for operation in &mut operations {
            let begins = operation.asked.max(free);
            operation.waited = begins - operation.asked;
            free = begins + operation.held;
        }
        operations
    }

    fn colliding() -> Vec<Operation> {
        recorded([runs("scraper", 100, 20.0, 0.0, 240.0), runs("posting", 100, 20.0, 0.0, 120.0)].concat())
    }

    #[test]
    fn two_that_ask_at_the_same_time_collide_and_a_stagger_ends_that() {
        let operations = colliding();
        let found = collisions(&operations);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].2 > 100.0 * 100.0);
        let stagger = stagger(&operations, 1, 0.25).expect("a stagger");
        assert!(stagger.expected_seconds < 1.0, "{stagger:?}");
        assert!((stagger.replayed_seconds - stagger.recorded_seconds).abs() < 1.0, "{stagger:?}");
    }

    #[test]
    fn where_nothing_waits_or_nothing_runs_on_a_schedule_nothing_is_proposed() {
        let apart = recorded([runs("a", 50, 20.0, 0.0, 60.0), runs("b", 50, 20.0, 10.0, 60.0)].concat());
        assert_eq!((collisions(&apart), stagger(&apart, 1, 0.25)), (vec![], None));
        // Gaps that grow without a period.
        let odd: Vec<Operation> = (1..60_u32)
            .map(|n| Operation {
                name: "odd".into(),
                asked: f64::from(n * n) * 47.0,
                waited: 0.0,
                held: 90.0,
                ok: true,
            })
            .collect();
        assert_eq!(stagger(&recorded(odd), 1, 0.25), None);
        assert_eq!(stagger(&colliding()[..10], 1, 0.25), None, "too few");
        assert_eq!(stagger(&colliding(), 2, 0.25), None, "with two places nothing waits");
    }

    #[test]
    fn a_schedule_is_learned_with_its_jitter_and_its_missing_runs() {
        let asked: Vec<f64> =
            (0..40).filter(|n| n % 7 != 3).map(|n| f64::from(n) * 900.0 + f64::from(n % 5) * 12.0).collect();
        assert_eq!(period(&asked), Some(900.0));
        assert_eq!(period(&asked[..11]), None);
        assert_eq!(period(&[]), None);
    }

    proptest! {
        #[test]
        fn a_replay_never_waits_less_than_nothing_and_more_places_never_wait_longer(
            all in prop::collection::vec((0.0_f64..10_000.0, 0.0_f64..500.0), 0..60), capacity in 1_usize..4,
        ) {
            let operations: Vec<Operation> = all
                .iter()
                .map(|(asked, held)| Operation { name: "a".into(), asked: *asked, waited: 0.0, held: *held, ok: true })
                .collect();
            let still = |_: &str| 0.0;
            let waits = replay(&operations, capacity, &still);
            prop_assert!(waits >= 0.0 && waits.is_finite());
            prop_assert!(replay(&operations, capacity + 1, &still) <= waits + 1e-6);
            let moved = |_: &str| 777.0;
            prop_assert!((replay(&operations, capacity, &moved) - waits).abs() < 1e-3, "all shifted alike is no shift");
        }

        #[test]
        fn who_waited_for_whom_is_never_more_than_was_waited(
            all in prop::collection::vec((0.0_f64..10_000.0, 0.0_f64..500.0), 0..60),
        ) {
            let operations = recorded(
                all.iter()
                    .enumerate()
                    .map(|(n, (asked, held))| Operation { name: format!("{}", n % 4), asked: *asked, waited: 0.0, held: *held, ok: true })
                    .collect(),
            );
            let waited: f64 = operations.iter().map(|operation| operation.waited).sum();
            let told: f64 = collisions(&operations).iter().map(|(_, _, wait)| wait).sum();
            prop_assert!(told <= waited + 1e-3, "{told} of {waited}");
        }
    }
}
