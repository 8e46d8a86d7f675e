//! `event-retention`: lets old events leave the event table, where `[optimize.performance.retention]` switches that on.
//!
//! Off by default. What ledgers, reports and alerts need stays, whatever its age (see [`crate::change::retention`]); the
//! least age is 30 days, further than any pass looks back. In batches of 1,000, at most `per_run` in a run.
//! Moved rows stand whole in `healer.archived_event`; deleted ones are gone.

use serde_json::json;

use super::{Hand, Optimization, Room, Scene, Told};
use crate::change::retention;
use crate::database::session::Param;
use crate::database::statement;
use crate::error::Error;
use crate::heal::{CheckResult, Status, ago};
use crate::settings::Settings;

/// The room's name.
pub const NAME: &str = "event-retention";

/// The room.
#[derive(Debug, Default)]
pub struct EventRetention {
    table: String,
    refused: Option<String>,
    events: u64,
    oldest_s: i64,
    left: Option<u64>,
    settings: super::settings::Retention,
}

impl EventRetention {
    fn word(&self) -> &'static str {
        match self.settings.to {
            super::settings::RetentionTo::Table => "moved to healer.archived_event",
            super::settings::RetentionTo::Delete => "deleted",
        }
    }
}

impl Room for EventRetention {
    fn name(&self) -> &'static str {
        NAME
    }

    fn enabled(&self, settings: &Settings) -> bool {
        settings.optimize.performance.retention.enabled
    }

    fn detect(&mut self, scene: &mut Scene<'_>) -> Result<(), Error> {
        self.settings = scene.settings.optimize.performance.retention.clone();
        let Some(events) = scene.mapping.events.as_ref().filter(|events| events.readable()) else {
            self.refused = Some("there is no event table that this role may read".into());
            return Ok(());
        };
        self.table.clone_from(&events.quoted);
        self.refused = retention::refused(events);
        if self.refused.is_some() {
            return Ok(());
        }
        let names = scene.mapping.names.with("keep_types", retention::kept(&self.settings, scene.catalog)?);
        scene.session.read()?;
        let row = scene.session.row(
            &statement::OPTIMIZE_OLD_EVENTS.fill(&names),
            &[Param::Int(self.settings.keep.as_seconds()), Param::Int(i64::from(self.settings.per_run) + 1)],
        )?;
        self.events = u64::try_from(row.int("events")?).unwrap_or(0);
        self.oldest_s = row.optional_int("oldest_s")?.unwrap_or(0);
        Ok(())
    }

    fn act(&mut self, hand: &mut Hand<'_>) -> Result<(), Error> {
        if self.refused.is_some() || self.events == 0 {
            return Ok(());
        }
        let names = hand.mapping.names.with("keep_types", retention::kept(&self.settings, hand.catalog)?);
        self.left = Some(retention::carry_out(hand.session, hand.lease, &names, &self.table, &self.settings)?);
        Ok(())
    }

    fn tell(&self, told: &mut Told) {
        if let Some(why) = &self.refused {
            let mut check = CheckResult::new(NAME, Status::Warning, None, format!("no event may leave: {why}"));
            check
                .details
                .push("switch optimize.performance.retention.enabled off, or take away what is in the way".into());
            told.checks.push(check);
            return;
        }
        let more = self.events > u64::from(self.settings.per_run);
        let found = self.events.min(u64::from(self.settings.per_run));
        let at_least = if more { "more than " } else { "" };
        told.checks.push(CheckResult::new(
            NAME,
            Status::Ok,
            Some(found),
            if self.events == 0 {
                format!("no event that may leave is older than {}", self.settings.keep)
            } else {
                format!(
                    "{at_least}{found} events are older than {}, the oldest is {} old",
                    self.settings.keep,
                    ago(self.oldest_s)
                )
            },
        ));
        if self.events > 0 {
            let left = self.left.unwrap_or(0);
            told.optimizations.push(Optimization {
                r#type: "event_retention",
                description: format!("old events of {} are {}", self.table, self.word()),
                impact: json!({ "events": left }).to_string(),
                implemented: left > 0,
                reason: format!("older than {}", self.settings.keep),
            });
        }
    }
}
