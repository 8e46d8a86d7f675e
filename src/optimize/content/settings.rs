//! What `[optimize.content]` in the configuration may say, with its defaults and their reasons.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::clock::HourClock;
use super::objective::Objective;

/// Settings of the content pass. Every field has a default, so an empty section works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What a post is judged by.
    pub objective: Objective,
    /// Table of what posts earned; empty for none.
    pub outcomes_table: String,
    /// Table of the generator weights; empty for none.
    pub weights_table: String,
    /// Table in which applied changes are noted for the system; empty for none.
    pub events_table: String,
    /// IANA zone in which hours are counted.
    pub zone: String,
    /// Days of posts that are looked at. Three half-lives: what is older counts less than an eighth.
    pub window_days: u32,
    /// Days after which a post counts half. Where the newest posts have shown that a third of it foretells them better,
    /// that is used.
    pub half_life_days: f64,
    /// Hours that engagement needs before it is judged. A day covers every reader's time zone once.
    pub mature_hours: f64,
    /// Where outcomes are collected more than once, that time is learned from them instead.
    pub learn_maturity: bool,
    /// Posts measured in the last 7 days below which nothing is changed.
    pub min_posts: u32,
    /// Measured posts below which a generator keeps its weight.
    pub min_posts_per_generator: u32,
    /// Least weight of a generator. Keeps every one measured; the column's CHECK refuses less than 0.01.
    pub generator_floor: f64,
    /// Greatest weight of a generator, so that one voice never becomes the whole feed.
    pub generator_cap: f64,
    /// Least weight of a format.
    pub format_floor: f64,
    /// Greatest weight of a format.
    pub format_cap: f64,
    /// Least weight of an hour.
    pub hour_floor: f64,
    /// Greatest weight of an hour, so that not everything is posted at once.
    pub hour_cap: f64,
    /// A weight may grow or shrink at most by this factor within four hours.
    pub step_factor: f64,
    /// Or at most by this much within four hours, whichever lets more.
    pub step_points: f64,
    /// Without proof of a difference a weight may lean at most this far from where it stood. Leaning costs nothing
    /// if there is no difference, and earns a little early if there is one.
    pub lean_points: f64,
    /// Weights follow the probability to be the best to this power. 1 explores most; above it the favourite is preferred
    /// more strongly, which pays because the floor already keeps every arm measured.
    pub greed: f64,
    /// Chance of ever moving weights further although nothing differs, over all looks and all three subjects together.
    pub false_move_rate: f64,
    /// Random draws from the model; 4,096 gives probabilities to within about 0.8 points.
    pub draws: u32,
    /// Seed of the random draws: the same data gives the same answer.
    pub seed: u64,
    /// F/1K above which a generator is viral.
    pub viral_f_per_1k: f64,
    /// Measured posts a viral generator needs.
    pub viral_min_posts: u32,
    /// Measured posts without a single new follower that make a generator failing.
    pub failing_min_posts: u32,
    /// Weight that a new generator is given to show itself in (never more than an equal share).
    pub fair_start: f64,
    /// Days after which a testing generator is tried again.
    pub testing_rest_days: u32,
    /// Days for which weights that a person took back by `healer undo` are left alone.
    pub undo_rest_days: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            objective: Objective::default(),
            outcomes_table: "outcomes".to_owned(),
            weights_table: "generator_weights".to_owned(),
            events_table: "optimization_events".to_owned(),
            zone: "UTC".to_owned(),
            window_days: 90,
            half_life_days: 30.0,
            mature_hours: 24.0,
            learn_maturity: true,
            min_posts: 20,
            min_posts_per_generator: 3,
            generator_floor: 0.01,
            generator_cap: 0.95,
            format_floor: 0.02,
            format_cap: 0.98,
            hour_floor: 0.0005,
            hour_cap: 0.50,
            step_factor: 1.5,
            step_points: 0.10,
            lean_points: 0.029,
            greed: 4.0,
            false_move_rate: 0.05,
            draws: 4_096,
            seed: 20_240_229,
            viral_f_per_1k: 5.0,
            viral_min_posts: 5,
            failing_min_posts: 10,
            fair_start: 0.05,
            testing_rest_days: 14,
            undo_rest_days: 7,
        }
    }
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// The zone is not in the IANA database.
    #[error("optimize.content.zone: `{zone}` is not a known time zone")]
    UnknownZone {
        /// What was given.
        zone: String,
    },
    /// A number lies outside its range.
    #[error("optimize.content.{key}: {value} is out of range ({range})")]
    OutOfRange {
        /// Name of the setting.
        key: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        range: &'static str,
    },
    /// A floor lies above its cap.
    #[error("optimize.content.{floor_key} is above its cap")]
    FloorAboveCap {
        /// Name of the floor's setting.
        floor_key: &'static str,
    },
}

impl SettingsError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::UnknownZone { .. } => "use an IANA name such as `Europe/Berlin`, `America/New_York` or `UTC`",
            Self::OutOfRange { .. } => "choose a value in the range, or remove the line to use the default",
            Self::FloorAboveCap { .. } => "lower the floor or raise the cap",
        }
    }
}

impl Settings {
    /// Checks all values and gives the clock for the zone.
    pub fn validated(&self) -> Result<HourClock, SettingsError> {
        let clock = HourClock::new(&self.zone)?;
        let within = |key, value: f64, low: f64, high: f64, range| {
            // Written so that NaN fails too.
            if value >= low && value <= high {
                Ok(())
            } else {
                Err(SettingsError::OutOfRange { key, value: value.to_string(), range })
            }
        };
        within("window_days", f64::from(self.window_days), 7.0, 730.0, "7 to 730")?;
        within("half_life_days", self.half_life_days, 1.0, 3_650.0, "1 to 3650")?;
        within("mature_hours", self.mature_hours, 0.0, 336.0, "0 to 336")?;
        within("generator_floor", self.generator_floor, 0.01, 1.0, "0.01 to 1")?;
        within("format_floor", self.format_floor, 0.0, 1.0, "0 to 1")?;
        within("hour_floor", self.hour_floor, 0.0, 1.0, "0 to 1")?;
        within("generator_cap", self.generator_cap, 0.01, 1.0, "0.01 to 1")?;
        within("format_cap", self.format_cap, 0.0, 1.0, "0 to 1")?;
        within("hour_cap", self.hour_cap, 0.0, 1.0, "0 to 1")?;
        within("step_factor", self.step_factor, 1.0, 10.0, "1 to 10")?;
        within("step_points", self.step_points, 0.0, 1.0, "0 to 1")?;
        within("lean_points", self.lean_points, 0.0, 1.0, "0 to 1")?;
        within("greed", self.greed, 0.5, 10.0, "0.5 to 10")?;
        within("false_move_rate", self.false_move_rate, 1e-6, 0.5, "0.000001 to 0.5")?;
        within("testing_rest_days", f64::from(self.testing_rest_days), 0.0, 3_650.0, "0 to 3650")?;
        within("undo_rest_days", f64::from(self.undo_rest_days), 0.0, 365.0, "0 to 365")?;
        within("draws", f64::from(self.draws), 200.0, 100_000.0, "200 to 100000")?;
        within("viral_f_per_1k", self.viral_f_per_1k, 0.0, 1e6, "0 to 1000000")?;
        within("fair_start", self.fair_start, 0.01, 1.0, "0.01 to 1")?;
        for (floor_key, floor, cap) in [
            ("generator_floor", self.generator_floor, self.generator_cap),
            ("format_floor", self.format_floor, self.format_cap),
            ("hour_floor", self.hour_floor, self.hour_cap),
        ] {
            if floor > cap {
                return Err(SettingsError::FloorAboveCap { floor_key });
            }
        }
        self.objective.validated()?;
        Ok(clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert!(Settings::default().validated().is_ok());
    }

    #[test]
    fn a_floor_that_the_column_would_refuse_is_refused_here() {
        let settings = Settings { generator_floor: 0.005, ..Settings::default() };
        let error = settings.validated().expect_err("below CHECK 0.01");
        assert!(error.to_string().contains("generator_floor"));
        assert!(!error.hint().is_empty());
    }

    #[test]
    fn a_value_that_is_not_a_number_is_refused() {
        let settings = Settings { half_life_days: f64::NAN, ..Settings::default() };
        assert!(settings.validated().is_err());
    }

    #[test]
    fn a_floor_above_its_cap_is_refused() {
        let settings = Settings { hour_floor: 0.3, hour_cap: 0.2, ..Settings::default() };
        assert_eq!(settings.validated(), Err(SettingsError::FloorAboveCap { floor_key: "hour_floor" }));
    }
}
