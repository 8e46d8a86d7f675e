//! What `[forecast]` in the configuration may say, with its defaults and their reasons.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::history::{DEFAULT_TIME_LIMIT_S, Job};
use crate::settings::Span;

/// Settings of what is foretold. Every field has a default.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether anything is foretold.
    pub enabled: bool,
    /// How long a run of a job may take: what "too long" means. The system has always called a mean above it slow.
    pub time_limit: Span,
    /// The same for one job: `time_limits = { plan = "15m" }`.
    pub time_limits: BTreeMap<String, Span>,
    /// MB that the event table may take with its indexes. It grows for ever, and no server tells how large its disk is.
    pub events_limit_mb: u32,
    /// Due posts that may wait; 0 for as many as are posted in a day: more are sent a day late, and then held.
    pub backlog_limit: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            // Whole, and far below what a float holds exactly.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            time_limit: Span::seconds(DEFAULT_TIME_LIMIT_S as u64),
            time_limits: BTreeMap::new(),
            events_limit_mb: 10_240,
            backlog_limit: 0,
        }
    }
}

impl Settings {
    /// Seconds that a run of a job may take.
    pub fn limit_s(&self, job: &str) -> f64 {
        self.time_limits.get(job).unwrap_or(&self.time_limit).0.as_secs_f64()
    }

    /// A job as these settings see it.
    pub fn job(&self, name: &str) -> Job {
        Job { time_limit_s: self.limit_s(name), ..Job::named(name) }
    }

    /// Whether the values make sense; the error names the setting.
    pub fn validate(&self) -> Result<(), String> {
        let named = self.time_limits.iter().map(|(job, span)| (format!("forecast.time_limits.{job}"), *span));
        for (name, span) in named.chain([("forecast.time_limit".to_owned(), self.time_limit)]) {
            if span.as_seconds() < 1 {
                return Err(format!("{name} must be at least 1s"));
            }
        }
        if self.events_limit_mb == 0 {
            return Err("forecast.events_limit_mb must be at least 1".into());
        }
        Ok(())
    }
}
