//! The room `forecast`: what will fail, be late or be full. Reads the histories, stores what it foretells and settles what
//! it foretold; see [`crate::forecast::outlook`]. Never changes anything of the system.

use serde_json::json;

use super::{Hand, Optimization, Room, Scene, Told};
use crate::error::Error;
use crate::forecast::outlook::{self, Kept, Outlook};
use crate::settings::Settings;

/// The room.
#[derive(Debug, Default)]
pub struct Foretelling {
    outlook: Outlook,
    kept: Option<Kept>,
}

impl Room for Foretelling {
    fn name(&self) -> &'static str {
        outlook::JOBS
    }

    fn enabled(&self, settings: &Settings) -> bool {
        settings.forecast.enabled
    }

    fn detect(&mut self, scene: &mut Scene<'_>) -> Result<(), Error> {
        self.outlook = outlook::detect(scene.session, scene.settings, scene.mapping, scene.catalog)?;
        Ok(())
    }

    fn act(&mut self, hand: &mut Hand<'_>) -> Result<(), Error> {
        self.kept = Some(outlook::act(hand.session, hand.lease, &self.outlook)?);
        Ok(())
    }

    fn tell(&self, told: &mut Told) {
        told.checks.extend(self.outlook.checks());
        let concerns = self.outlook.concerns();
        told.recommendations.extend(concerns.iter().map(|concern| format!("{}: {}", concern.title, concern.next_step)));
        told.concerns.extend(concerns);
        told.notes.extend(self.outlook.notes.iter().cloned());
        let model = self.outlook.knowledge.model.as_ref();
        told.parts.insert(
            "forecast".into(),
            json!({
                "jobs": self.outlook.jobs.len(),
                "resources": self.outlook.resources.len(),
                "claims": self.kept.map(|kept| kept.claims),
                "settled": self.kept.map(|kept| kept.settled),
                "modelInUse": model.map(crate::forecast::hazard::Model::in_use),
            }),
        );
        if let (Some(kept), Some(model)) = (self.kept, model) {
            told.optimizations.push(Optimization {
                r#type: "forecast_model",
                description: format!("trained on {} runs of the jobs, {} of them failures", model.rows, model.failures),
                impact: format!(
                    "error {:.4} on {} runs that it had not seen, against {:.4} of the simple method",
                    model.held_out.brier_model, model.held_out.runs, model.held_out.brier_simple
                ),
                implemented: model.in_use(),
                reason: if model.in_use() {
                    format!("better by more than chance; {} claims stored, {} settled", kept.claims, kept.settled)
                } else {
                    "not better by more than chance: the simple method is used".into()
                },
            });
        }
    }
}
