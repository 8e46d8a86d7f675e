//! Limits that healer learns from the data: what is kept, within which bounds, and when one is moved.
//!
//! A learned limit stands in `healer.setting` under `tuned.` and the name that it has in the configuration. It is used
//! in place of the configured one by everything that reads the settings ([`overlay`]), and moved by the pass
//! `optimize performance` ([`decide`]): at most one step a day, only with enough data, never where it is locked, and
//! never below what the configuration says unless that is allowed. Every move is journalled and can be undone.
//! Limits: what is learned is what was normal; a system that was slow all the time has taught that it is slow.

pub mod learn;
pub mod settings;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::change::setting::{Setting, SettingChange};
use crate::settings::{Settings, Span};

/// What the names in `healer.setting` begin with.
pub const PREFIX: &str = "tuned.";

/// Names of limits, as they stand in the configuration; those that end in a dot are followed by a type or a job.
pub const STUCK: &str = "heal.stuck-posts.limits.";
/// See [`STUCK`].
pub const INTERVAL: &str = "heal.job-heartbeats.intervals.";
/// See [`STUCK`].
pub const RUNNING: &str = "heal.job-heartbeats.running_limits.";
/// See [`STUCK`].
pub const FLOOR: &str = "heal.silence.floor";
/// See [`STUCK`].
pub const WAITING_WARNING: &str = "heal.browser-queue.waiting_warning";
/// See [`STUCK`].
pub const WAITING_CRITICAL: &str = "heal.browser-queue.waiting_critical";

/// A limit within this share of its target stays: it is not worth a change.
const CLOSE: f64 = 0.1;
/// Hours after a move before the next: a day, less what one pass may come early.
const REST_HOURS: i64 = 23;

/// A limit as it stands in `healer.setting`.
#[derive(Debug, Clone, PartialEq)]
pub struct Learned {
    /// Its name in the configuration.
    pub name: String,
    /// Its value: seconds, or a number of operations.
    pub value: f64,
}

/// A learned limit that is in force.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InForce {
    /// What the configuration says.
    pub configured: f64,
    /// What is used.
    pub learned: f64,
}

/// What the configuration says of a limit: seconds, or a number. `None` for a name that is none.
fn configured(settings: &Settings, name: &str) -> Option<f64> {
    if let Some(in_force) = settings.tuning.in_force.get(name) {
        return Some(in_force.configured);
    }
    let heal = &settings.heal;
    let seconds = |span: Span| span.0.as_secs_f64();
    if let Some(kind) = name.strip_prefix(STUCK) {
        return Some(seconds(*heal.stuck_posts.limits.get(kind).unwrap_or(&heal.stuck_posts.limit)));
    }
    if let Some(job) = name.strip_prefix(INTERVAL) {
        // The interval of any other job is learned anew with every look at its history.
        return heal.job_heartbeats.intervals.get(job).map(|span| seconds(*span));
    }
    if let Some(job) = name.strip_prefix(RUNNING) {
        let jobs = &heal.job_heartbeats;
        return Some(seconds(*jobs.running_limits.get(job).unwrap_or(&jobs.running_limit)));
    }
    match name {
        FLOOR => Some(seconds(heal.silence.floor)),
        WAITING_WARNING => Some(f64::from(heal.browser_queue.waiting_warning)),
        WAITING_CRITICAL => Some(f64::from(heal.browser_queue.waiting_critical)),
        _ => None,
    }
}

/// The least and the greatest value that a limit may be given.
fn bounds(settings: &Settings, name: &str, configured: f64) -> (f64, f64) {
    let tuning = &settings.tuning;
    let least = if tuning.below_default { configured * tuning.least } else { configured };
    let mut most = configured * tuning.most;
    if name == FLOOR {
        // The shortest silence that is reported is never longer than the one that is reported before anything is known.
        most = most.min(settings.heal.silence.limit.0.as_secs_f64()).max(least);
    }
    (least, most)
}

/// Whether the operator holds a limit at what the configuration says.
fn held(settings: &Settings, name: &str) -> bool {
    !settings.tuning.enabled || settings.tuning.locked.iter().any(|locked| locked == name)
}

/// Puts what was learned in place of what is configured, within the bounds of the configuration. Doing it twice changes
/// nothing.
pub fn overlay(settings: &mut Settings, learned: &[Learned]) {
    for limit in learned {
        let name = limit.name.as_str();
        let Some(configured) = configured(settings, name).filter(|value| *value > 0.0) else { continue };
        if held(settings, name) || !limit.value.is_finite() {
            continue;
        }
        let (least, most) = bounds(settings, name, configured);
        let value = limit.value.clamp(least, most).round();
        if value < 1.0 {
            continue;
        }
        // Positive, whole, and at most a few years.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let span = Span::seconds(value as u64);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let number = value.min(f64::from(u32::MAX)) as u32;
        let heal = &mut settings.heal;
        if let Some(kind) = name.strip_prefix(STUCK) {
            heal.stuck_posts.limits.insert(kind.to_owned(), span);
        } else if let Some(job) = name.strip_prefix(INTERVAL) {
            heal.job_heartbeats.intervals.insert(job.to_owned(), span);
        } else if let Some(job) = name.strip_prefix(RUNNING) {
            heal.job_heartbeats.running_limits.insert(job.to_owned(), span);
        } else {
            match name {
                FLOOR => heal.silence.floor = span,
                WAITING_WARNING => heal.browser_queue.waiting_warning = number,
                WAITING_CRITICAL => heal.browser_queue.waiting_critical = number,
                _ => continue,
            }
        }
        settings.tuning.in_force.insert(name.to_owned(), InForce { configured, learned: value });
    }
    let browser = &mut settings.heal.browser_queue;
    browser.waiting_critical = browser.waiting_critical.max(browser.waiting_warning);
}

/// What the data says of one limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The limit's name in the configuration.
    pub name: String,
    /// The value that it should have: seconds, or a number of operations.
    pub target: f64,
    /// Observations behind it.
    pub samples: u64,
    /// Observations that it takes.
    pub needed: u64,
    /// What was seen, in words: "99 of 100 threads took up to 38 min".
    pub seen: String,
}

/// What becomes of one limit.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It is moved.
    Move {
        /// From what is in force.
        from: f64,
        /// To this.
        to: f64,
        /// The change of `healer.setting`.
        change: SettingChange,
    },
    /// It stays, and why.
    Stay(String),
}

/// Decides on one limit. Pure.
pub fn decide(evidence: &Evidence, settings: &Settings, setting: Option<&Setting>, now: DateTime<Utc>) -> Decision {
    let name = &evidence.name;
    let stay = |why: &str| Decision::Stay(why.to_owned());
    let Some(configured) = configured(settings, name).filter(|value| *value > 0.0) else {
        return stay("it is not configured");
    };
    if held(settings, name) {
        return stay("locked by the configuration");
    }
    if setting.is_some_and(|setting| setting.locked) {
        return stay("locked in healer.setting");
    }
    if evidence.samples < evidence.needed || !evidence.target.is_finite() {
        return Decision::Stay(format!("{} observations, it takes {}", evidence.samples, evidence.needed));
    }
    // A time of the last move that lies ahead is a clock that was set back: waiting for it could take for ever.
    let rested = |at: DateTime<Utc>| now - at >= TimeDelta::hours(REST_HOURS) || at > now + TimeDelta::minutes(1);
    if setting.is_some_and(|setting| !rested(setting.updated_at)) {
        return stay("moved within the last day");
    }
    let (least, most) = bounds(settings, name, configured);
    let target = evidence.target.clamp(least, most);
    let from = settings.tuning.in_force.get(name).map_or(configured, |in_force| in_force.learned);
    if (target - from).abs() <= CLOSE * from {
        return stay("it is where it should be");
    }
    let step = settings.tuning.step;
    // A number of operations moves by one at least.
    let (down, up) = ((from / (1.0 + step)).floor().min(from - 1.0), (from * (1.0 + step)).ceil().max(from + 1.0));
    let to = target.clamp(down, up).clamp(least, most).round();
    if (to - from).abs() < 0.5 {
        return stay("it is where it should be");
    }
    let bounded = if (target - evidence.target).abs() > 0.5 {
        format!(" (bounded to {})", shown(name, target))
    } else {
        String::new()
    };
    let reason = format!(
        "{} → {}: {}, which calls for {}{bounded}",
        shown(name, from),
        shown(name, to),
        evidence.seen,
        shown(name, evidence.target)
    );
    let change = SettingChange {
        name: format!("{PREFIX}{name}"),
        from: setting.map(|setting| setting.value.clone()),
        to: Value::from(whole(to)),
        reason,
        evidence: serde_json::json!({
            "configured": configured, "from": from, "to": to, "target": evidence.target, "samples": evidence.samples,
        }),
    };
    Decision::Move { from, to, change }
}

/// A value as a whole number.
fn whole(value: f64) -> i64 {
    // Bounded by the configuration: a century at most.
    #[expect(clippy::cast_possible_truncation)]
    let number = value.round().clamp(0.0, 4e9) as i64;
    number
}

/// A value with its unit, as one would write it in the configuration.
pub fn shown(name: &str, value: f64) -> String {
    if name == WAITING_WARNING || name == WAITING_CRITICAL {
        return format!("{value:.0}");
    }
    humantime::format_duration(std::time::Duration::from_secs(u64::try_from(whole(value)).unwrap_or(0))).to_string()
}

/// The learned limits of rows of `healer.setting`: name without the prefix, and value as JSON text. What is no positive
/// number is left out: a value that was undone is null.
pub fn read(rows: &BTreeMap<String, String>) -> Vec<Learned> {
    rows.iter()
        .filter_map(|(name, value)| {
            let value = value.parse::<f64>().ok().filter(|value| value.is_finite() && *value > 0.0)?;
            Some(Learned { name: name.clone(), value })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const THREAD: &str = "heal.stuck-posts.limits.thread";

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("a time")
    }

    fn evidence(target: f64) -> Evidence {
        Evidence { name: THREAD.into(), target, samples: 100, needed: 50, seen: "seen".into() }
    }

    fn with(name: &str, value: f64) -> Settings {
        let mut settings = Settings::default();
        overlay(&mut settings, &[Learned { name: name.into(), value }]);
        settings
    }

    fn setting(hours_ago: i64, locked: bool) -> Setting {
        Setting { value: json!(1800), updated_at: now() - TimeDelta::hours(hours_ago), locked }
    }

    fn to(evidence: &Evidence, settings: &Settings, setting: Option<&Setting>) -> Option<f64> {
        match decide(evidence, settings, setting, now()) {
            Decision::Move { to, .. } => Some(to),
            Decision::Stay(_) => None,
        }
    }

    #[test]
    fn a_learned_limit_is_used_in_place_of_the_configured_one() {
        let settings = with(THREAD, 2_700.0);
        assert_eq!(settings.heal.stuck_posts.limits.get("thread"), Some(&Span::seconds(2_700)));
        assert_eq!(settings.heal.stuck_posts.limit, Span::seconds(1_800), "the others keep theirs");
        assert_eq!(with(FLOOR, 3_600.0).heal.silence.floor, Span::seconds(3_600));
        assert_eq!(
            with("heal.job-heartbeats.intervals.posting", 600.0).heal.job_heartbeats.intervals["posting"],
            Span::seconds(600)
        );
        assert_eq!(
            with("heal.job-heartbeats.running_limits.plan", 5_400.0).heal.job_heartbeats.running_limits["plan"],
            Span::seconds(5_400)
        );
        let browser = with(WAITING_WARNING, 12.0).heal.browser_queue;
        assert_eq!(
            (browser.waiting_warning, browser.waiting_critical),
            (12, 12),
            "critical is never below the warning"
        );
    }

    #[test]
    fn it_is_never_below_the_configured_one_unless_that_is_allowed_and_never_beyond_its_bounds() {
        assert_eq!(with(THREAD, 600.0).heal.stuck_posts.limits["thread"], Span::seconds(1_800));
        assert_eq!(with(THREAD, 1e9).heal.stuck_posts.limits["thread"], Span::seconds(7_200));
        let mut allowed = Settings::default();
        allowed.tuning.below_default = true;
        overlay(&mut allowed, &[Learned { name: THREAD.into(), value: 600.0 }]);
        assert_eq!(allowed.heal.stuck_posts.limits["thread"], Span::seconds(900));
        assert_eq!(with(FLOOR, 1e9).heal.silence.floor, Span::seconds(7_200), "never longer than the limit");
    }

    #[test]
    fn what_is_locked_switched_off_or_no_limit_changes_nothing() {
        for (locked, enabled) in [(true, true), (false, false)] {
            let mut settings = Settings::default();
            settings.tuning.enabled = enabled;
            settings.tuning.locked = if locked { vec![THREAD.into()] } else { Vec::new() };
            overlay(&mut settings, &[Learned { name: THREAD.into(), value: 2_700.0 }]);
            assert!(settings.heal.stuck_posts.limits.is_empty());
            assert!(matches!(decide(&evidence(2_700.0), &settings, None, now()), Decision::Stay(_)));
        }
        assert!(with("heal.nonsense", 5.0).tuning.in_force.is_empty());
        assert!(with("heal.job-heartbeats.intervals.unknown", 5.0).tuning.in_force.is_empty());
        assert!(with(THREAD, f64::NAN).tuning.in_force.is_empty());
    }

    #[test]
    fn doing_it_twice_changes_nothing_and_never_takes_the_learned_for_the_configured() {
        let mut settings = with(THREAD, 7_000.0);
        let learned = [Learned { name: THREAD.into(), value: 20_000.0 }];
        overlay(&mut settings, &learned);
        overlay(&mut settings, &learned);
        assert_eq!(settings.heal.stuck_posts.limits["thread"], Span::seconds(7_200));
        assert!((settings.tuning.in_force[THREAD].configured - 1_800.0).abs() < 1e-9);
    }

    #[test]
    fn it_moves_one_step_a_day() {
        let settings = Settings::default();
        assert_eq!(to(&evidence(3_600.0), &settings, None), Some(2_250.0));
        let next = with(THREAD, 2_250.0);
        assert_eq!(to(&evidence(3_600.0), &next, Some(&setting(22, false))), None);
        assert_eq!(to(&evidence(3_600.0), &next, Some(&setting(24, false))), Some(2_813.0));
        assert_eq!(to(&evidence(3_600.0), &with(THREAD, 3_500.0), Some(&setting(24, false))), None, "it is there");
        assert_eq!(
            to(&evidence(600.0), &with(THREAD, 2_250.0), Some(&setting(24, false))),
            Some(1_800.0),
            "and back, no further"
        );
        assert_eq!(
            to(&evidence(3_600.0), &next, Some(&setting(-5, false))),
            Some(2_813.0),
            "a clock that was set back"
        );
    }

    #[test]
    fn it_needs_enough_data_and_a_lock_stops_it() {
        let few = Evidence { samples: 49, ..evidence(3_600.0) };
        assert_eq!(
            decide(&few, &Settings::default(), None, now()),
            Decision::Stay("49 observations, it takes 50".into())
        );
        assert_eq!(to(&evidence(3_600.0), &Settings::default(), Some(&setting(48, true))), None);
        assert_eq!(to(&evidence(f64::NAN), &Settings::default(), None), None);
    }

    #[test]
    fn a_number_of_operations_moves_by_one_at_least_and_is_told_without_a_unit() {
        let queue = Evidence {
            name: WAITING_WARNING.into(),
            target: 6.0,
            samples: 900,
            needed: 500,
            seen: "95 of 100 reports had up to 6".into(),
        };
        match decide(&queue, &Settings::default(), None, now()) {
            Decision::Move { to, change, .. } => {
                assert!((to - 6.0).abs() < 1e-9);
                assert_eq!(change.reason, "5 → 6: 95 of 100 reports had up to 6, which calls for 6");
                assert_eq!((change.to, change.from), (json!(6), None));
            }
            Decision::Stay(why) => panic!("{why}"),
        }
    }

    proptest! {
        #[test]
        fn wherever_it_stands_it_moves_towards_its_target_by_one_step_and_within_its_bounds(
            stands in 100.0..20_000.0_f64, target in 0.0..1e6_f64, below in any::<bool>()
        ) {
            let mut settings = Settings::default();
            settings.tuning.below_default = below;
            overlay(&mut settings, &[Learned { name: THREAD.into(), value: stands }]);
            let from = settings.tuning.in_force[THREAD].learned;
            if let Some(to) = to(&evidence(target), &settings, Some(&setting(48, false))) {
                let (least, most) = if below { (900.0, 7_200.0) } else { (1_800.0, 7_200.0) };
                prop_assert!((least..=most).contains(&to));
                prop_assert!(to <= (from * 1.25).ceil() && to >= (from / 1.25).floor());
                prop_assert!((target.clamp(least, most) - to).abs() < (target.clamp(least, most) - from).abs() + 0.5);
            }
        }
    }
}
