//! Did an earlier change help?
//!
//! After a change, each post was chosen with known new probabilities, and would have been chosen with known old ones. What
//! the posts would have earned *without* the change is estimated from the very same posts and days: the model's
//! expectation under the old weights, corrected by the posts that came out differently from it, each counted by how much
//! likelier the change made it. A month in which everything rises is therefore not mistaken for success, and a wrong
//! model only widens the interval. The expectation for a post uses earlier posts only, so the interval is honest.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::arm::Record;
use super::gate::Subject;

/// Half-width of a 90 % interval in standard errors.
const NINETY_PERCENT: f64 = 1.645;
/// A post counts at most this many times for the old weights. Steps are limited, so more means that many changes lie
/// between; the cut trades a little bias for an interval that one post cannot ruin.
const RATIO_LIMIT: f64 = 10.0;
/// Posts below which no effect is shown: the interval itself is not to be trusted.
const MIN_POSTS: f64 = 10.0;
/// Changes that are followed at the same time; older ones are not measured any more.
pub const CHANGES_FOLLOWED: usize = 18;

/// An earlier change of weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The run that made it, as `undo` wants it.
    pub run_id: String,
    /// When.
    pub at: DateTime<Utc>,
    /// What was moved.
    pub subject: Subject,
    /// Weights before it (only those of the subject are looked at).
    pub before: Record,
}

/// Running sums over the posts chosen since a change.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    posts: f64,
    sum: f64,
    squares: f64,
}

impl Tally {
    /// Takes in one post: `expected_gain` is what the model expects of the present weights over the old ones, `surprise`
    /// the post's value less what the model expected of it, `ratio` its old probability over its present one.
    pub fn add(&mut self, expected_gain: f64, surprise: f64, ratio: f64) {
        let gain = expected_gain + (1.0 - ratio.clamp(0.0, RATIO_LIMIT)) * surprise;
        if gain.is_finite() {
            self.posts += 1.0;
            self.sum += gain;
            self.squares += gain * gain;
        }
    }

    /// The verdict on `change`.
    pub fn outcome(&self, change: &Change) -> Outcome {
        let mut outcome = Outcome {
            run_id: change.run_id.clone(),
            at: change.at,
            subject: change.subject,
            posts: self.posts,
            gain: None,
            harmed: false,
        };
        if self.posts >= MIN_POSTS {
            let mean = self.sum / self.posts;
            let variance = (self.squares - self.sum * mean).max(0.0) / (self.posts - 1.0);
            let half = NINETY_PERCENT * (variance / self.posts).sqrt();
            outcome.gain =
                Some(Share { low: (mean - half).exp_m1(), mean: mean.exp_m1(), high: (mean + half).exp_m1() });
            outcome.harmed = mean + half < 0.0;
        }
        outcome
    }
}

/// A relative change with its 90 % interval: 0.08 is 8 % more.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// Lower end.
    pub low: f64,
    /// Best guess.
    pub mean: f64,
    /// Upper end.
    pub high: f64,
}

impl std::fmt::Display for Share {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:+.1} % ({:+.1} to {:+.1})", self.mean * 100.0, self.low * 100.0, self.high * 100.0)
    }
}

/// What an earlier change did, up to now and including what later changes of the same subject made of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The run that made the change.
    pub run_id: String,
    /// When it was made.
    pub at: DateTime<Utc>,
    /// What was moved.
    pub subject: Subject,
    /// Measured posts chosen since.
    pub posts: f64,
    /// Typical value with the change over that without it; `None` with too few posts.
    pub gain: Option<Share>,
    /// The whole interval lies below zero.
    pub harmed: bool,
}

impl Outcome {
    /// One sentence for people.
    pub fn describe(&self) -> String {
        let subject = self.subject.plural();
        match (&self.gain, self.harmed) {
            (None, _) => {
                format!("run {}: too few posts since the change of {subject} to tell ({})", self.run_id, self.posts)
            }
            (Some(gain), true) => format!(
                "run {}: the change of {subject} HARMED: {gain} over {} posts; `healer undo {}` takes it back",
                self.run_id, self.posts, self.run_id
            ),
            (Some(gain), false) => {
                format!("run {}: the change of {subject} brought {gain} over {} posts", self.run_id, self.posts)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> Change {
        let at = "2026-01-01T00:00:00Z".parse().expect("instant");
        Change {
            run_id: "41".to_owned(),
            at,
            subject: Subject::Generator,
            before: Record { at, generators: vec![], formats: vec![], hours: vec![] },
        }
    }

    /// Two arms worth 1 and 0; the change moved the first from 0.5 to `weight`; posts arrive in exact proportion.
    fn after_moving_to(weight: f64, known: bool) -> Outcome {
        let mut tally = Tally::default();
        for index in 0..200_u32 {
            let first = f64::from(index % 20) < weight * 20.0;
            let value = if first { 1.0 } else { 0.0 } + [0.3, -0.3][index as usize / 20 % 2];
            let present = if first { weight } else { 1.0 - weight };
            // A model that knows the arms, and one that believes them equal.
            let expected = if known { if first { 1.0 } else { 0.0 } } else { 0.5 };
            let gain = if known { weight - 0.5 } else { 0.0 };
            tally.add(gain, value - expected, 0.5 / present);
        }
        tally.outcome(&change())
    }

    #[test]
    fn a_change_towards_the_better_arm_is_seen_to_help_even_by_a_model_that_knows_nothing() {
        for known in [true, false] {
            let gain = after_moving_to(0.8, known).gain.expect("gain");
            assert!((gain.mean.ln_1p() - 0.3).abs() < 0.05, "{gain}");
            assert!(gain.low > 0.0, "{gain}");
        }
    }

    #[test]
    fn a_change_towards_the_worse_arm_is_called_harmful_and_names_the_undo() {
        let outcome = after_moving_to(0.2, true);
        assert!(outcome.harmed);
        assert!(outcome.describe().contains("healer undo 41"), "{}", outcome.describe());
    }

    #[test]
    fn few_posts_give_no_verdict() {
        let mut tally = Tally::default();
        tally.add(-1.0, 0.0, 1.0);
        let outcome = tally.outcome(&change());
        assert_eq!((outcome.gain, outcome.harmed), (None, false));
    }

    #[test]
    fn an_odd_number_is_not_counted() {
        let mut tally = Tally::default();
        tally.add(f64::NAN, 0.0, 1.0);
        tally.add(0.0, f64::INFINITY, 0.0);
        assert_eq!(tally, Tally::default());
    }
}
