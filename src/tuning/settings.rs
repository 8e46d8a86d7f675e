//! What `[tuning]` in the configuration may say, with its defaults and their reasons.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::InForce;

/// Settings of what is learned. Every field has a default.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether limits are learned and what was learned is used.
    pub enabled: bool,
    /// Names of limits that stay at what the configuration says, such as `heal.stuck-posts.limits.thread`.
    pub locked: Vec<String>,
    /// Whether a learned limit may be below the configured one. Above it healer only waits longer; below it healer
    /// acts sooner than the operator said.
    pub below_default: bool,
    /// Share of its value by which a limit moves in a day at most.
    pub step: f64,
    /// A learned limit is at most this many times the configured one.
    pub most: f64,
    /// … and at least this share of it, where `below_default` allows it to be below.
    pub least: f64,
    /// The learned limits that are in force, by name. Not of the file.
    #[serde(skip)]
    pub in_force: BTreeMap<String, InForce>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            locked: Vec::new(),
            below_default: false,
            // A week of steps is a factor of five: fast enough for a real change, slow enough to be seen and stopped.
            step: 0.25,
            most: 4.0,
            least: 0.5,
            in_force: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Whether the values make sense; the error names the setting.
    pub fn validate(&self) -> Result<(), String> {
        for (name, value, range) in [
            ("tuning.step", self.step, 0.01..=1.0),
            ("tuning.most", self.most, 1.0..=100.0),
            ("tuning.least", self.least, 0.1..=1.0),
        ] {
            if !range.contains(&value) {
                return Err(format!("{name} must be {} to {}", range.start(), range.end()));
            }
        }
        for name in &self.locked {
            let known = [super::STUCK, super::INTERVAL, super::RUNNING]
                .iter()
                .any(|prefix| name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()))
                || [super::FLOOR, super::WAITING_WARNING, super::WAITING_CRITICAL].contains(&name.as_str());
            if !known {
                return Err(
                    "tuning.locked names something that is not learned; the README lists the names of limits".into()
                );
            }
        }
        Ok(())
    }
}
