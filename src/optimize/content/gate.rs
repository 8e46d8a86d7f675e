//! Whether a difference is proven, by a test that stays valid however often one looks.
//!
//! For each subject (generators, formats, hours) a wager is made on every post before it is counted: knowing only earlier
//! posts, the model says how well the post's value fits the arm that was in fact chosen, compared with the arms that might
//! have been chosen, weighed by the probabilities with which they would have been. If the subject makes no difference,
//! the choice was a lottery that knows nothing of the value, so no way of wagering gains on average: the stake is a
//! non-negative martingale that starts at 1, and the chance that it *ever* reaches 1/α is at most α (Ville), whatever
//! the distribution of the values: heavy tails, zeros, drift and one viral post included. That is why weights may be
//! looked at every four hours for ever. A fourth wager is on all three subjects at once; the weighted average of the
//! stakes is what opens the gate. It proves that *something* makes a difference. From then on each subject follows the
//! model, whose shrinkage keeps a subject without differences near even.
//!
//! It is exact where the probabilities of the choices are recorded. For posts from before healer kept records, observed
//! shares stand in for them; then it is a good approximation.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::model::Effect;

/// Share of the stake that is put back even between wagering and resting after each batch. Without it a subject that
/// made no difference for a year would have to win back all the stakes lost before a new difference could show.
const REBALANCE: f64 = 0.001;

/// A subject whose weights may be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// Who writes.
    Generator,
    /// Single or thread.
    Format,
    /// The hour of posting.
    Hour,
}

impl Subject {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Generator, Self::Format, Self::Hour];

    /// Position in arrays.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Word for the output, in the plural.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Generator => "generators",
            Self::Format => "formats",
            Self::Hour => "hours",
        }
    }
}

/// The stake on one subject.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stake {
    /// Part that wagers.
    wagered: f64,
    /// Part that rests.
    rested: f64,
}

impl Default for Stake {
    fn default() -> Self {
        Self { wagered: FIRST_WAGER, rested: 1.0 - FIRST_WAGER }
    }
}

/// Part of the first stake that is wagered. The rest insures against a subject that makes no difference for long.
const FIRST_WAGER: f64 = 0.97;

/// Weight of the wager on everything at once in the evidence.
const JOINT_WEIGHT: f64 = 0.45;
/// Weight of the wager on generators alone, which in real posts differ by several times as much as formats and hours, so
/// that a wager on all three at once pays for two that earn little. The three single ones share the rest.
const GENERATOR_WEIGHT: f64 = 0.45;

/// A stake beyond this says nothing more, and keeps sums finite.
const STAKE_LIMIT: f64 = 1e30;

impl Stake {
    /// What the stake has become: 1 at the start.
    pub fn evidence(&self) -> f64 {
        self.wagered + self.rested
    }

    /// Takes in a batch of posts: the sum of the logs of their [`odds`].
    pub fn settle(&mut self, log_odds: f64) {
        if !log_odds.is_finite() {
            return;
        }
        self.wagered = (self.wagered * log_odds.clamp(-60.0, 60.0).exp()).min(STAKE_LIMIT);
        let even = self.evidence() / 2.0;
        self.wagered += REBALANCE * (even - self.wagered);
        self.rested += REBALANCE * (even - self.rested);
    }
}

/// What is remembered of the test between runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// A stake on each subject alone, by [`Subject::index`].
    pub stakes: [Stake; 3],
    /// A stake on all three at once, which gains from small differences that add up.
    pub joint: Stake,
    /// When it was proven that something makes a difference.
    pub opened_at: Option<DateTime<Utc>>,
}

impl Gate {
    /// The evidence against "nothing makes any difference": an average of stakes, so itself a martingale that starts at 1.
    pub fn evidence(&self) -> f64 {
        let alone = self.stakes.iter().map(Stake::evidence).sum::<f64>() / 3.0;
        JOINT_WEIGHT * self.joint.evidence()
            + GENERATOR_WEIGHT * self.stakes[Subject::Generator.index()].evidence()
            + (1.0 - JOINT_WEIGHT - GENERATOR_WEIGHT) * alone
    }

    /// Whether weights may move further than they may lean.
    pub fn is_open(&self) -> bool {
        self.opened_at.is_some()
    }

    /// Opens the gate once the evidence suffices.
    pub fn judge(&mut self, false_move_rate: f64, now: DateTime<Utc>) {
        if self.opened_at.is_none() && self.evidence() >= 1.0 / false_move_rate {
            self.opened_at = Some(now);
        }
    }
}

/// How much better the value fits the chosen arm than the arms that might have been chosen.
///
/// `arms` are (probability of being chosen, effect); probabilities need not sum to 1. `unexplained` is the value less what
/// level and the other two subjects explain; `noise` its standard deviation. `None` if the chosen arm had no probability.
///
/// The value's density is Student's t with 5 degrees of freedom: close to normal in the middle and indifferent to far
/// outliers, and it needs no exponential. Any density keeps the test valid; a good one makes it fast.
pub fn odds(arms: impl Iterator<Item = (f64, Effect)>, chosen: usize, unexplained: f64, noise: f64) -> Option<f64> {
    let (mut of_chosen, mut of_all, mut total) = (0.0, 0.0, 0.0);
    for (index, (probability, effect)) in arms.enumerate() {
        if probability <= 0.0 {
            continue;
        }
        let density = t5(unexplained - effect.mean, noise * noise + effect.variance);
        of_all += probability * density;
        total += probability;
        if index == chosen {
            of_chosen = density;
        }
    }
    (of_chosen > 0.0 && of_all > 0.0).then(|| of_chosen * total / of_all)
}

/// The same for all subjects at once: `subjects` are the arms of generator, format and hour, `chosen` their places.
/// `None` if the chosen combination had no probability. One variance serves all combinations of a generator, which keeps it fast.
pub fn joint_odds(subjects: [&[(f64, Effect)]; 3], chosen: [usize; 3], unexplained: f64, noise: f64) -> Option<f64> {
    let mut common = noise * noise;
    let mut total = 1.0;
    for (subject, arms) in subjects.into_iter().enumerate() {
        let sum: f64 = arms.iter().map(|arm| arm.0).sum();
        if subject > 0 {
            common += arms.iter().map(|arm| arm.0 * arm.1.variance).sum::<f64>() / sum;
        }
        total *= sum;
    }
    let mut all = 0.0;
    for generator in subjects[0] {
        let density = spread_out(common + generator.1.variance);
        for format in subjects[1] {
            let base = unexplained - generator.1.mean - format.1.mean;
            let hours: f64 = subjects[2].iter().map(|hour| hour.0 * density(base - hour.1.mean)).sum();
            all += generator.0 * format.0 * hours;
        }
    }
    let mut own = unexplained;
    for (arms, place) in subjects.iter().zip(chosen) {
        let arm = arms.get(place).filter(|arm| arm.0 > 0.0)?;
        own -= arm.1.mean;
    }
    let density = spread_out(common + subjects[0].get(chosen[0])?.1.variance);
    let odds = density(own) * total / all;
    (odds.is_finite() && odds > 0.0).then_some(odds)
}

/// Density of Student's t with 5 degrees of freedom and the given variance, up to a constant factor.
pub fn t5(distance: f64, variance: f64) -> f64 {
    spread_out(variance)(distance)
}

/// The same, with what depends on the variance worked out once.
fn spread_out(variance: f64) -> impl Fn(f64) -> f64 {
    // The variance of t with 5 degrees of freedom is 5/3 of its squared scale.
    let (height, per_five) = (1.0 / (variance * 0.6).sqrt(), 1.0 / (3.0 * variance));
    move |distance| {
        let q = 1.0 + distance * distance * per_five;
        height / (q * q * q)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now() -> DateTime<Utc> {
        "2026-01-01T00:00:00Z".parse().expect("instant")
    }

    #[test]
    fn a_stake_starts_at_one_and_nothing_is_proven() {
        let mut gate = Gate::default();
        gate.judge(0.05, now());
        assert!(!gate.is_open());
        assert!((gate.evidence() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_gate_opens_at_the_inverse_of_the_rate_and_stays_open() {
        let mut gate = Gate::default();
        gate.joint.wagered = 43.1;
        gate.judge(0.05, now());
        assert!(gate.opened_at.is_none(), "0.45 · 43.13 + 0.55 · 1 is below 20");
        gate.joint.wagered = 43.3;
        gate.judge(0.05, now());
        gate.joint.wagered = 0.0;
        gate.judge(0.05, now());
        assert_eq!(gate.opened_at, Some(now()));
    }

    #[test]
    fn an_impossible_wager_changes_nothing() {
        let mut stake = Stake::default();
        stake.settle(f64::NAN);
        assert_eq!(stake, Stake::default());
    }

    #[test]
    fn a_stake_never_runs_out_because_a_part_of_it_rests() {
        let mut stake = Stake::default();
        for _ in 0..1_000 {
            stake.settle(-0.01);
        }
        assert!(stake.evidence() > 1e-3, "{}", stake.evidence());
    }

    proptest! {
        /// The heart of the test's validity: over the lottery of the choice, the expected odds are exactly 1.
        #[test]
        fn no_way_of_wagering_gains_on_a_lottery(
            arms in proptest::collection::vec((0.01_f64..1.0, -3.0_f64..3.0, 0.0_f64..2.0), 2..8),
            value in -10.0_f64..10.0,
            noise in 0.05_f64..3.0,
        ) {
            let total: f64 = arms.iter().map(|arm| arm.0).sum();
            let list = || arms.iter().map(|arm| (arm.0, Effect { mean: arm.1, variance: arm.2 }));
            let expected: f64 = (0..arms.len())
                .map(|chosen| arms[chosen].0 / total * odds(list(), chosen, value, noise).expect("odds"))
                .sum();
            prop_assert!((expected - 1.0).abs() < 1e-9, "expected odds {expected}");
        }

        #[test]
        fn nor_does_a_wager_on_everything_at_once(
            arms in proptest::collection::vec((0.01_f64..1.0, -3.0_f64..3.0, 0.0_f64..2.0), 7),
            value in -10.0_f64..10.0,
            noise in 0.05_f64..3.0,
        ) {
            let list: Vec<(f64, Effect)> = arms.iter().map(|arm| (arm.0, Effect { mean: arm.1, variance: arm.2 })).collect();
            let subjects = [&list[..2], &list[2..4], &list[4..]];
            let mut expected = 0.0;
            for (a, first) in subjects[0].iter().enumerate() {
                for (b, second) in subjects[1].iter().enumerate() {
                    for (c, third) in subjects[2].iter().enumerate() {
                        expected += first.0 * second.0 * third.0 * joint_odds(subjects, [a, b, c], value, noise).expect("odds");
                    }
                }
            }
            let total: f64 = subjects.iter().map(|arms| arms.iter().map(|arm| arm.0).sum::<f64>()).product();
            prop_assert!((expected / total - 1.0).abs() < 1e-9, "expected odds {}", expected / total);
        }
    }
}
