//! How likely each arm is to be the best one, and how far its effect may lie: answered by drawing from the fitted model.
//!
//! A draw is one way the world may be, given the posts. The share of draws in which an arm comes out on top is its
//! probability to be the best; the middle 90 % of what it adds over the average arm is its interval. The draws are
//! seeded, so the same posts give the same answer.

use nalgebra::DVector;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

use super::clock::HOURS;
use super::model::Fit;
use super::observation::Kind;

/// Share of the draws below the lower and above the upper end of an interval: 5 % each leaves 90 % between them.
pub const TAIL: f64 = 0.05;

/// Draws of every effect, one row an arm.
#[derive(Debug, Clone)]
pub struct Draws {
    /// Generators, in the reader's numbering.
    pub generators: Vec<Vec<f64>>,
    /// Formats, in the order of [`Kind::ALL`].
    pub formats: Vec<Vec<f64>>,
    /// Hours 0 to 23.
    pub hours: Vec<Vec<f64>>,
    /// The level.
    pub level: Vec<f64>,
}

/// Middle and ends of a 90 % interval, on the log scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end (5 %).
    pub low: f64,
    /// Mean.
    pub mean: f64,
    /// Upper end (95 %).
    pub high: f64,
}

impl Draws {
    /// Draws `count` times.
    pub fn new(fit: &Fit, count: usize, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let size = fit.layout.len();
        let generators = fit.layout.format(0) - fit.layout.generator(0);
        let mut draws = Self {
            generators: vec![Vec::new(); generators],
            formats: vec![Vec::new(); Kind::ALL.len()],
            hours: vec![Vec::new(); HOURS],
            level: Vec::with_capacity(count),
        };
        let mut cumulated = 0.0;
        let mut taken = 0;
        for (index, component) in fit.components.iter().enumerate() {
            cumulated += component.share;
            // Each grid point gets its share of the draws, rounded on the running sum so that none is lost.
            let until =
                if index + 1 == fit.components.len() { count } else { rounded(cumulated * count as f64).min(count) };
            for _ in taken..until {
                let step = DVector::from_fn(size, |_, _| StandardNormal.sample(&mut random));
                // With precision L·Lᵀ, the solution of Lᵀ·x = step has the covariance wanted.
                let Some(step) = component.factor.l_dirty().tr_solve_lower_triangular(&step) else { continue };
                let world = &component.mean + step;
                draws.level.push(world[0]);
                for (generator, row) in draws.generators.iter_mut().enumerate() {
                    row.push(world[fit.layout.generator(generator)]);
                }
                for (format, row) in draws.formats.iter_mut().enumerate() {
                    row.push(world[fit.layout.format(format)]);
                }
                for (row, effect) in draws.hours.iter_mut().zip(fit.hours(&world)) {
                    row.push(effect);
                }
            }
            taken = until.max(taken);
        }
        draws
    }
}

impl Draws {
    /// Replaces each draw by `own · draw + others · other's draw`.
    pub fn combine(&mut self, own: f64, other: &Self, others: f64) {
        let rows = self.generators.iter_mut().chain(&mut self.formats).chain(&mut self.hours).chain([&mut self.level]);
        let added = other.generators.iter().chain(&other.formats).chain(&other.hours).chain([&other.level]);
        for (row, added) in rows.zip(added) {
            for (value, added) in row.iter_mut().zip(added) {
                *value = own * *value + others * added;
            }
        }
    }
}

/// A small non-negative number to the nearest count.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn rounded(value: f64) -> usize {
    value.round().max(0.0) as usize
}

/// For each of `arms` (rows of `draws`), the share of draws in which it is the greatest. Ties go to the first.
pub fn best_probabilities(draws: &[Vec<f64>], arms: &[usize]) -> Vec<f64> {
    let mut wins = vec![0.0_f64; arms.len()];
    let count = arms.first().and_then(|&arm| draws.get(arm)).map_or(0, Vec::len);
    let rows: Vec<&[f64]> = arms.iter().filter_map(|&arm| draws.get(arm)).map(Vec::as_slice).collect();
    for draw in 0..count {
        let mut best = 0;
        for (place, row) in rows.iter().enumerate() {
            if row[draw] > rows[best][draw] {
                best = place;
            }
        }
        wins[best] += 1.0;
    }
    for win in &mut wins {
        *win /= count.max(1) as f64;
    }
    wins
}

/// What arm `of` adds over the plain average of `among`, with its interval.
pub fn over_average(draws: &[Vec<f64>], of: usize, among: &[usize]) -> Option<Interval> {
    let weights: Vec<(usize, f64)> = among.iter().map(|&arm| (arm, -1.0 / among.len() as f64)).collect();
    combination(draws, std::iter::once((of, 1.0)).chain(weights))
}

/// A weighted sum of arms, with its interval. `None` without draws.
pub fn combination(draws: &[Vec<f64>], weights: impl IntoIterator<Item = (usize, f64)>) -> Option<Interval> {
    let count = draws.first().map_or(0, Vec::len);
    let mut values = vec![0.0; count];
    for (arm, weight) in weights {
        for (value, draw) in values.iter_mut().zip(draws.get(arm)?) {
            *value += weight * draw;
        }
    }
    interval(&mut values)
}

/// Mean and 90 % interval of values, which are reordered.
pub fn interval(values: &mut [f64]) -> Option<Interval> {
    if values.is_empty() {
        return None;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let last = values.len() - 1;
    let low_at = rounded(TAIL * last as f64).min(last);
    let low = *values.select_nth_unstable_by(low_at, f64::total_cmp).1;
    let high = *values.select_nth_unstable_by(last - low_at, f64::total_cmp).1;
    Some(Interval { low, mean, high })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimize::content::model::Cells;

    fn fit(gap: f64) -> Fit {
        let mut cells = Cells::default();
        for index in 0..400_usize {
            let wobble = [0.5, -0.5, 0.2, -0.2][index / 2 % 4];
            let lead = if index % 2 == 0 { gap } else { 0.0 };
            cells.add(index % 2, Kind::Single, u8::try_from(index / 8 % 24).expect("hour"), 1.0, 2.0 + lead + wobble);
        }
        Fit::new(&cells).expect("fit")
    }

    #[test]
    fn the_same_posts_and_seed_give_the_same_draws() {
        let fit = fit(0.1);
        assert_eq!(Draws::new(&fit, 500, 7).generators, Draws::new(&fit, 500, 7).generators);
        assert_ne!(Draws::new(&fit, 500, 7).generators, Draws::new(&fit, 500, 8).generators);
    }

    #[test]
    fn a_clear_lead_is_near_certain_and_no_lead_is_even() {
        let clear = best_probabilities(&Draws::new(&fit(0.8), 2_000, 1).generators, &[0, 1]);
        assert!(clear[0] > 0.99, "{clear:?}");
        let even = best_probabilities(&Draws::new(&fit(0.0), 2_000, 1).generators, &[0, 1]);
        assert!((even[0] - 0.5).abs() < 0.08, "{even:?}");
        assert!((even.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_interval_holds_the_known_difference() {
        let draws = Draws::new(&fit(0.4), 4_000, 3);
        let found = over_average(&draws.generators, 0, &[0, 1]).expect("draws");
        assert!(found.low < 0.2 && 0.2 < found.high, "{found:?}");
        assert!(found.low < found.mean && found.mean < found.high);
    }

    #[test]
    fn every_draw_is_taken_once() {
        for count in [200, 333, 1_000] {
            assert_eq!(Draws::new(&fit(0.3), count, 1).level.len(), count);
        }
    }
}
