//! The room `self-tuning`: limits that healer learns and uses, see [`crate::tuning`]. Moves at most one step a day, by the
//! hands of [`crate::change::setting`], so that every move is journalled and can be undone.

use serde_json::json;

use super::{Hand, Optimization, Room, Scene, Told};
use crate::error::Error;
use crate::settings::Settings;
use crate::tuning::learn::{self, Tuning};
use crate::tuning::shown;

/// The room.
#[derive(Debug, Default)]
pub struct SelfTuning {
    tuning: Tuning,
}

impl Room for SelfTuning {
    fn name(&self) -> &'static str {
        learn::NAME
    }

    fn enabled(&self, settings: &Settings) -> bool {
        settings.tuning.enabled
    }

    fn detect(&mut self, scene: &mut Scene<'_>) -> Result<(), Error> {
        self.tuning = learn::detect(scene.session, scene.settings, scene.mapping, scene.catalog)?;
        Ok(())
    }

    fn act(&mut self, hand: &mut Hand<'_>) -> Result<(), Error> {
        learn::act(hand.session, hand.lease, &mut self.tuning)
    }

    fn tell(&self, told: &mut Told) {
        told.checks.push(self.tuning.check());
        for (name, from, to, change) in &self.tuning.moves {
            told.optimizations.push(Optimization {
                r#type: learn::TYPE,
                description: format!("{name}: {} → {}", shown(name, *from), shown(name, *to)),
                impact: "heal uses it from its next run on".into(),
                implemented: self.tuning.was_done(name),
                reason: change.reason.clone(),
            });
        }
        let moves: Vec<_> = self
            .tuning
            .moves
            .iter()
            .map(|(name, from, to, change)| {
                json!({ "limit": name, "from": from, "to": to, "reason": change.reason, "done": self.tuning.was_done(name) })
            })
            .collect();
        let stays: Vec<_> =
            self.tuning.stays.iter().map(|(name, why)| json!({ "limit": name, "reason": why })).collect();
        told.parts.insert("tuning".into(), json!({ "moves": moves, "stays": stays }));
    }
}
