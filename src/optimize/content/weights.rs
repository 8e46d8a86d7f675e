//! New weights that keep every rule at once, or none at all.
//!
//! Weights are whole ten-thousandths, as `numeric(5,4)` holds them, so "the sum is exactly 1" is arithmetic and not hope.
//! Every arm has a lowest and a highest allowed weight: its floor and cap, the step it may take within four hours (counted
//! from where it stood four hours ago, so that running more often does not move it faster), its lock, and, as long as
//! nothing is proven, how far it may lean. The wish (mostly: the probability to be the best) is then projected onto
//! those ranges and the sum together; the nearest allowed weights are unique. Where no weights are allowed, the answer is
//! [`Infeasible`] and nothing changes.

use serde::Serialize;
use thiserror::Error;

/// Ten-thousandths in a whole.
pub const UNITS: i64 = 10_000;
/// Halvings of the search for the common shift; 100 exhaust the precision of a double.
const HALVINGS: u32 = 100;

/// A weight as ten-thousandths. Weights outside 0..1 and not-a-number become the nearest valid one.
#[allow(clippy::cast_possible_truncation)]
pub fn to_units(weight: f64) -> i64 {
    (weight.clamp(0.0, 1.0) * UNITS as f64).round() as i64
}

/// Ten-thousandths as a weight.
pub fn from_units(units: i64) -> f64 {
    units as f64 / UNITS as f64
}

/// One arm's situation, in ten-thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Weight now.
    pub now: i64,
    /// Weight four hours ago, from which the step is counted.
    pub anchor: i64,
    /// Where it stood before anything was ever moved, from which leaning is counted.
    pub stood: i64,
    /// It keeps its weight: locked, or too little is known of it.
    pub held: bool,
    /// Lowest weight.
    pub floor: i64,
    /// Highest weight.
    pub cap: i64,
}

/// How far weights may move.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steps {
    /// Greatest factor within four hours.
    pub factor: f64,
    /// Greatest change within four hours, in ten-thousandths.
    pub points: i64,
    /// Greatest distance from where it stood while nothing is proven; `None` once it is.
    pub lean: Option<i64>,
}

impl Slot {
    /// Lowest and highest weight that this arm may have now.
    #[allow(clippy::cast_possible_truncation)]
    pub fn range(&self, steps: &Steps) -> (i64, i64) {
        if self.held {
            return (self.now, self.now);
        }
        let anchor = self.anchor as f64;
        // Factor or points, whichever lets more: a factor alone would keep small weights small for days.
        let mut high = ((anchor * steps.factor + 1e-9).floor() as i64).max(self.anchor + steps.points).min(UNITS);
        let mut low = ((anchor / steps.factor - 1e-9).ceil() as i64).min(self.anchor - steps.points).max(0);
        if let Some(lean) = steps.lean {
            // An arm that stands outside (a proof has expired, a person moved it) need not come back, but goes no further.
            high = high.min((self.stood + lean).max(self.now));
            low = low.max((self.stood - lean).min(self.now));
        }
        // Outside floor or cap it heads for them as fast as its step allows.
        let floor = self.floor.min(high);
        let cap = self.cap.max(low);
        (low.max(floor), high.min(cap).max(low.max(floor)))
    }
}

/// No weights satisfy all rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error, Serialize)]
pub enum Infeasible {
    /// Even at their lowest the weights exceed the sum.
    #[error("the lowest weights that floors, locks and steps allow sum to {0:.4}, more than 1")]
    TooMuch(Points),
    /// Even at their highest they do not reach it.
    #[error("the highest weights that caps, locks and steps allow sum to {0:.4}, less than 1")]
    TooLittle(Points),
}

/// Ten-thousandths that print as a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Points(pub i64);

impl std::fmt::Display for Points {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&from_units(self.0), formatter)
    }
}

/// Wishes in proportion to `preference` as far as `ranges` allow: what one arm may not take goes to the others in
/// proportion, and not evenly to arms that nobody prefers. Ranges are in ten-thousandths, wishes in wholes.
pub fn fill(preference: &[f64], ranges: &[(i64, i64)]) -> Vec<f64> {
    let share = |preference: f64| if preference.is_finite() { preference.max(0.0) } else { 0.0 };
    let filled = |scale: f64| -> Vec<f64> {
        preference
            .iter()
            .zip(ranges)
            .map(|(wish, range)| {
                let (low, high) = (from_units(range.0), from_units(range.1));
                (low + scale * share(*wish)).clamp(low, high.max(low))
            })
            .collect()
    };
    // The scale's decimal logarithm is halved, because it may lie anywhere: preferences are probabilities to a power.
    let (mut low, mut high) = (-9.0_f64, 70.0_f64);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if filled(10.0_f64.powf(middle)).iter().sum::<f64>() > 1.0 {
            high = middle;
        } else {
            low = middle;
        }
    }
    filled(10.0_f64.powf(low))
}

/// The weights nearest to `wish` (least squares) within `ranges` that sum to [`UNITS`].
pub fn project(wish: &[f64], ranges: &[(i64, i64)]) -> Result<Vec<i64>, Infeasible> {
    let lowest: i64 = ranges.iter().map(|range| range.0).sum();
    let highest: i64 = ranges.iter().map(|range| range.1).sum();
    if lowest > UNITS {
        return Err(Infeasible::TooMuch(Points(lowest)));
    }
    if highest < UNITS {
        return Err(Infeasible::TooLittle(Points(highest)));
    }
    let placed = |shift: f64| -> Vec<f64> {
        wish.iter()
            .zip(ranges)
            .map(|(wish, range)| {
                let wish = if wish.is_finite() { *wish } else { 0.0 };
                (wish * UNITS as f64 - shift).clamp(range.0 as f64, range.1 as f64)
            })
            .collect()
    };
    // The solution is "wish less a common shift, cut to the range"; its sum falls as the shift grows.
    let reach = UNITS as f64
        * (2.0 + wish.iter().filter(|wish| wish.is_finite()).fold(0.0_f64, |most, wish| most.max(wish.abs())));
    let (mut low, mut high) = (-reach, reach);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if placed(middle).iter().sum::<f64>() > UNITS as f64 {
            low = middle;
        } else {
            high = middle;
        }
    }
    let exact = placed(high);
    #[allow(clippy::cast_possible_truncation)]
    let mut whole: Vec<i64> = exact.iter().map(|weight| (weight + 1e-7).floor() as i64).collect();
    // What rounding down has lost goes to the largest remainders; ranges are whole, so rounding up stays inside them.
    let mut order: Vec<usize> = (0..whole.len()).collect();
    order.sort_by(|&a, &b| {
        let rest = |index: usize| exact[index] - whole[index] as f64;
        rest(b).total_cmp(&rest(a)).then(a.cmp(&b))
    });
    let mut missing = UNITS - whole.iter().sum::<i64>();
    // One pass is enough up to the noise of the search; the feasibility check above makes the loop end.
    while missing != 0 {
        for &index in &order {
            if missing > 0 && whole[index] < ranges[index].1 {
                whole[index] += 1;
                missing -= 1;
            } else if missing < 0 && whole[index] > ranges[index].0 {
                whole[index] -= 1;
                missing += 1;
            }
        }
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slot(now: i64) -> Slot {
        Slot { now, anchor: now, stood: now, held: false, floor: 200, cap: 9_000 }
    }

    const STEPS: Steps = Steps { factor: 1.5, points: 1_000, lean: None };

    #[test]
    fn a_step_is_at_most_half_again_or_ten_points() {
        assert_eq!(slot(400).range(&STEPS), (200, 1_400));
        assert_eq!(slot(4_000).range(&STEPS), (2_667, 6_000));
    }

    #[test]
    fn running_again_within_four_hours_moves_nothing_further() {
        let moved = Slot { now: 1_400, anchor: 400, ..slot(1_400) };
        assert_eq!(moved.range(&STEPS).1, 1_400);
    }

    #[test]
    fn a_locked_arm_has_one_weight() {
        assert_eq!(Slot { held: true, ..slot(123) }.range(&STEPS), (123, 123));
    }

    #[test]
    fn leaning_is_counted_from_where_it_stood() {
        let steps = Steps { lean: Some(250), ..STEPS };
        assert_eq!(Slot { now: 2_200, anchor: 2_200, ..slot(2_000) }.range(&steps), (1_750, 2_250));
    }

    #[test]
    fn below_its_floor_an_arm_climbs_by_its_step() {
        let steps = Steps { points: 0, ..STEPS };
        assert_eq!(slot(100).range(&steps), (150, 150));
    }

    #[test]
    fn impossible_sums_are_said_and_not_forced() {
        assert_eq!(project(&[0.5, 0.5], &[(6_000, 6_000), (5_000, 5_000)]), Err(Infeasible::TooMuch(Points(11_000))));
        let error = project(&[0.5, 0.5], &[(0, 3_000), (0, 3_000)]).expect_err("too little");
        assert!(error.to_string().contains("0.6000"), "{error}");
    }

    #[test]
    fn what_one_arm_may_not_take_goes_to_the_next_preferred() {
        let wish = fill(&[0.9, 0.09, 0.0001, 0.0], &[(0, 5_000), (0, 6_000), (0, 9_000), (0, 9_000)]);
        assert!((wish[0] - 0.5).abs() < 1e-6 && (wish[1] - 0.499).abs() < 2e-3 && wish[3] < 1e-9, "{wish:?}");
    }

    #[test]
    fn a_wish_inside_the_ranges_is_granted() {
        assert_eq!(project(&[0.3, 0.7], &[(0, 9_000), (0, 9_000)]), Ok(vec![3_000, 7_000]));
    }

    proptest! {
        #[test]
        fn weights_always_sum_to_one_within_their_ranges(
            arms in proptest::collection::vec((-1.0_f64..2.0, 0_i64..3_000, 0_i64..9_000), 1..40)
        ) {
            let wish: Vec<f64> = arms.iter().map(|arm| arm.0).collect();
            let ranges: Vec<(i64, i64)> = arms.iter().map(|arm| (arm.1, arm.1 + arm.2)).collect();
            match project(&wish, &ranges) {
                Ok(weights) => {
                    prop_assert_eq!(weights.iter().sum::<i64>(), UNITS);
                    for (weight, range) in weights.iter().zip(&ranges) {
                        prop_assert!(range.0 <= *weight && *weight <= range.1);
                    }
                }
                Err(Infeasible::TooMuch(_)) => prop_assert!(ranges.iter().map(|range| range.0).sum::<i64>() > UNITS),
                Err(Infeasible::TooLittle(_)) => prop_assert!(ranges.iter().map(|range| range.1).sum::<i64>() < UNITS),
            }
        }

        #[test]
        fn no_allowed_weights_are_nearer_to_the_wish(
            wish in proptest::collection::vec(0.0_f64..1.0, 3),
            other in proptest::collection::vec(0_i64..5_000, 2),
        ) {
            let ranges = [(200, 5_000), (1_000, 6_000), (0, 9_000)];
            let found = project(&wish, &ranges).expect("feasible");
            let other = [other[0].max(200), other[1].max(1_000)];
            let third = UNITS - other[0] - other[1];
            prop_assume!((0..=9_000).contains(&third));
            let distance = |weights: [i64; 3]| -> f64 {
                weights.iter().zip(&wish).map(|(weight, wish)| (from_units(*weight) - wish).powi(2)).sum()
            };
            // Rounding to ten-thousandths may cost a little.
            prop_assert!(distance([found[0], found[1], found[2]]) <= distance([other[0], other[1], third]) + 1e-3);
        }

        #[test]
        fn odd_wishes_give_valid_weights(wish in proptest::collection::vec(any::<f64>(), 4)) {
            let wish: Vec<f64> = wish.iter().map(|w| if w.is_finite() { w.clamp(-1e6, 1e6) } else { *w }).collect();
            let weights = project(&wish, &[(0, UNITS); 4]).expect("feasible");
            prop_assert_eq!(weights.iter().sum::<i64>(), UNITS);
        }
    }
}
