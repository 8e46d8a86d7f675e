//! How long until a series reaches its limit.
//!
//! The series is explained by every simple story at once: "level", "level, then a step", "level, then a steady rise"
//! with the change at each possible place, each weighted by how well it explains what was seen. The answer is the
//! time of the first value at or above the limit, averaged over the stories that rise, over what is not known of their
//! slope, and over the noise. Wild single values are cut first. Limits: rises are taken as straight lines (callers
//! pass logarithms where things multiply), falls are never foretold, nothing is said beyond the horizon.

use super::duration::middle_of;
use super::gauss;
use serde::{Deserialize, Serialize};

/// Points below which there is no trend to speak of.
pub const MIN_POINTS: usize = 8;
/// Places of change that are tried: a finer grid moves the answer by less than the noise.
const PLACES: usize = 60;
/// Points that a story needs after its change.
const LEAST_AFTER: usize = 4;
/// Weight of "nothing happens" before looking; the rest is shared by steps and rises.
const PRIOR_LEVEL: f64 = 0.9;
/// The same for the steps of a sum, whose heavy tails feign changes.
const PRIOR_STEADY: f64 = 0.99;
/// Stories with a smaller share change no quantile that is shown.
const LEAST_SHARE: f64 = 0.01;
/// Values further than this many deviations from their four neighbours' middle are cut to it.
const WILD: f64 = 3.5;
/// Equal slices of what is not known of a slope.
const SLICES: usize = 15;

/// Time until the limit, in the unit of the `x` that was given, in whole steps; `low` to `high` is an 80 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Until {
    /// Seldom reached earlier (one in ten times; never, if this is the next step).
    pub low: f64,
    /// The middle.
    pub typical: f64,
    /// Seldom reached later (one in ten times; one in five, if `low` is the next step); `None` beyond the horizon.
    pub high: Option<f64>,
    /// Rise per unit of `x`, the stories' mean.
    pub slope: f64,
    /// Where the rise is reckoned to have begun (`x`).
    pub since: f64,
    /// Share of the stories that rise, 0 to 1.
    pub certainty: f64,
}

/// Shape of a story after its change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Level,
    Step,
    Rise,
}

/// One story, fitted.
#[derive(Clone, Copy, Debug)]
struct Story {
    shape: Shape,
    place: f64,
    start: f64,
    slope: f64,
    /// Inverse of the normal matrix: (1,1), (1,2), (2,2).
    cov: (f64, f64, f64),
    noise: f64,
    share: f64,
}

impl Story {
    fn basis(shape: Shape, place: f64, x: f64) -> f64 {
        match shape {
            Shape::Level => 0.0,
            Shape::Step => f64::from(u8::from(x >= place)),
            Shape::Rise => (x - place).max(0.0),
        }
    }

    fn at(&self, x: f64) -> f64 {
        self.start + self.slope * Self::basis(self.shape, self.place, x)
    }

    /// Standard error of the line at `x`.
    fn doubt(&self, x: f64) -> f64 {
        let f = Self::basis(self.shape, self.place, x);
        self.noise * (self.cov.0 + 2.0 * f * self.cov.1 + f * f * self.cov.2).max(0.0).sqrt()
    }
}

/// The stories that explain a series, best shares first.
#[derive(Clone, Debug)]
pub struct Stories {
    all: Vec<Story>,
    end: f64,
}

impl Stories {
    /// Fits all stories to `y` over `x` (same length, `x` rising, all finite). `None` below [`MIN_POINTS`].
    pub fn of(x: &[f64], y: &[f64]) -> Option<Self> {
        let n = x.len().min(y.len());
        Self::told(x, &tamed(&y[..n]), &[Shape::Step, Shape::Rise], PRIOR_LEVEL)
    }

    fn told(x: &[f64], y: &[f64], shapes: &[Shape], prior_level: f64) -> Option<Self> {
        let n = x.len().min(y.len());
        if n < MIN_POINTS {
            return None;
        }
        let y = &y[..n];
        let grain = y.iter().fold(0.0_f64, |m, v| m.max(v.abs())) * 1e-9 + 1e-12;
        let mut all = vec![fit(x, y, Shape::Level, x[0], grain)?];
        let stride = (n / PLACES).max(1);
        let places: Vec<usize> = (0..n.saturating_sub(LEAST_AFTER)).step_by(stride).collect();
        let each = (1.0 - prior_level) / (shapes.len() * places.len()) as f64;
        all[0].share += prior_level.ln();
        for place in places {
            for shape in shapes.iter().copied() {
                if shape == Shape::Step && place < LEAST_AFTER {
                    continue;
                }
                if let Some(mut story) = fit(x, y, shape, x[place], grain) {
                    story.share += each.ln();
                    all.push(story);
                }
            }
        }
        let best = all.iter().map(|s| s.share).fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = all.iter().map(|s| (s.share - best).exp()).sum();
        for story in &mut all {
            story.share = (story.share - best).exp() / total;
        }
        all.retain(|s| s.share >= LEAST_SHARE / 10.0);
        Some(Self { all, end: x[n - 1] })
    }

    fn rising(&self) -> impl Iterator<Item = &Story> {
        self.all.iter().filter(|s| s.shape == Shape::Rise && s.slope > 0.0)
    }

    /// Share of the stories that rise.
    pub fn certainty(&self) -> f64 {
        self.rising().map(|s| s.share).sum()
    }

    /// Mean slope and mean beginning of the rising stories.
    pub fn rise(&self) -> Option<(f64, f64)> {
        let total = self.certainty();
        (total > 0.0).then(|| {
            let mean = |f: fn(&Story) -> f64| self.rising().map(|s| s.share * f(s)).sum::<f64>() / total;
            (mean(|s| s.slope), mean(|s| s.place))
        })
    }

    /// When the first value reaches `limit`, looking `steps` steps of `step` ahead; given that the series does rise.
    /// `None` if nothing rises, or the middle lies beyond the horizon.
    pub fn until(&self, limit: f64, step: f64, steps: usize) -> Option<Until> {
        let (slope, since) = self.rise()?;
        let certainty = self.certainty();
        let mut paths: Vec<Path> = Vec::new();
        for story in self.rising().filter(|s| s.share >= LEAST_SHARE * certainty) {
            for slice in 0..SLICES {
                let z = gauss::quantile((slice as f64 + 0.5) / SLICES as f64);
                paths.push(Path { story: *story, z, left: 1.0, share: story.share / SLICES as f64 });
            }
        }
        let total: f64 = paths.iter().map(|p| p.share).sum();
        // Probability that it is reached by step i + 1.
        let mut by: Vec<f64> = Vec::new();
        for i in 1..=steps {
            let x = self.end + step * i as f64;
            let mut reached = 0.0;
            for path in &mut paths {
                path.walk(x, limit);
                reached += path.share * (1.0 - path.left);
            }
            by.push(reached / total);
            if reached / total > 0.95 {
                break;
            }
        }
        interval(&by, step, Until { low: 0.0, typical: 0.0, high: None, slope, since, certainty })
    }
}

/// A series that adds up steps: the steps are level, or changed their mean once, and their scatter adds up as well.
#[derive(Clone, Debug)]
pub struct Wander {
    stories: Stories,
    latest: f64,
}

impl Wander {
    /// Reads the steps of `y` over `x` (same length, `x` rising, all finite). `None` below [`MIN_POINTS`] steps.
    pub fn of(x: &[f64], y: &[f64]) -> Option<Self> {
        let steps: Vec<f64> = x.windows(2).zip(y.windows(2)).map(|(x, y)| (y[1] - y[0]) / (x[1] - x[0])).collect();
        // Steps are not tamed: rare large ones carry much of the sum.
        let mut stories = Stories::told(x.get(1..)?, &steps, &[Shape::Step], PRIOR_STEADY)?;
        stories.end = *x.last()?;
        Some(Self { stories, latest: *y.last()? })
    }

    /// Probability that the mean step is upwards.
    pub fn certainty(&self) -> f64 {
        let total: f64 = self.stories.all.iter().map(|s| s.share).sum();
        let end = self.stories.end;
        self.stories
            .all
            .iter()
            .map(|s| s.share * gauss::above(-s.at(end) / s.doubt(end).max(f64::MIN_POSITIVE)))
            .sum::<f64>()
            / total
    }

    /// When the sum first reaches `limit`, looking `steps` units of `x` ahead. `None` if the middle lies beyond.
    pub fn until(&self, limit: f64, steps: usize) -> Option<Until> {
        let end = self.stories.end;
        let room = limit - self.latest;
        let mut drifts = Vec::new();
        for story in self.stories.all.iter().filter(|s| s.share >= LEAST_SHARE) {
            for slice in 0..SLICES {
                let z = gauss::quantile((slice as f64 + 0.5) / SLICES as f64);
                drifts.push((story.share, story.at(end) + z * story.doubt(end), story.noise));
            }
        }
        let total: f64 = drifts.iter().map(|d| d.0).sum();
        let mut by: Vec<f64> = Vec::new();
        for i in 1..=steps {
            let reached: f64 =
                drifts.iter().map(|(share, drift, noise)| share * passed(room, *drift, *noise, i as f64)).sum();
            by.push(reached / total);
            if reached / total > 0.95 {
                break;
            }
        }
        let slope = drifts.iter().map(|d| d.0 * d.1).sum::<f64>() / total;
        let best = self.stories.all.iter().max_by(|a, b| a.share.total_cmp(&b.share))?;
        interval(
            &by,
            1.0,
            Until { low: 0.0, typical: 0.0, high: None, slope, since: best.place, certainty: self.certainty() },
        )
    }
}

/// Probability that a random walk with this drift and noise per step has climbed `room` within `time` steps (the inverse
/// Gaussian distribution).
fn passed(room: f64, drift: f64, noise: f64, time: f64) -> f64 {
    let scale = noise * time.sqrt();
    let reach = gauss::above((room - drift * time) / scale);
    let z = (room + drift * time) / scale;
    let back = if z > 5.0 {
        // Both factors leave the range of numbers; their product does not.
        (-(room - drift * time).powi(2) / (2.0 * scale * scale)).exp() / (z * (2.0 * std::f64::consts::PI).sqrt())
    } else {
        (2.0 * drift * room / (noise * noise)).exp() * gauss::above(z)
    };
    (reach + back).clamp(0.0, 1.0)
}

/// Fills in low, middle and high from the probabilities `by` of having arrived by each step.
fn interval(by: &[f64], step: f64, told: Until) -> Option<Until> {
    let typical = 1 + by.iter().position(|p| *p >= 0.5)?;
    let low = 1 + nearest(by, 0.1).map_or(0, |i| i + 1);
    // Where the first step is inside, nothing is cut off below, and all of the fifth that is left out lies above.
    let cut = if low > 1 { by[low - 2] } else { 0.0 };
    let high = if by.last().is_some_and(|p| *p >= cut + 0.8) { nearest(by, cut + 0.8).map(|i| i + 1) } else { None };
    let time = |i: usize| step * i as f64;
    Some(Until {
        low: time(low.min(typical)),
        typical: time(typical),
        high: high.map(|h| time(h.max(typical))),
        ..told
    })
}

/// Index of the value in rising `by` that is nearest to `p`; `None` if zero, before all of them, is nearer.
fn nearest(by: &[f64], p: f64) -> Option<usize> {
    let at = by.partition_point(|v| *v < p);
    let below = if at == 0 { 0.0 } else { by[at - 1] };
    let above = by.get(at).copied().unwrap_or(f64::INFINITY);
    if above - p <= p - below { Some(at) } else { at.checked_sub(1) }
}

/// One slice of one story on its way ahead.
struct Path {
    story: Story,
    z: f64,
    /// Probability that the limit has not been reached.
    left: f64,
    share: f64,
}

impl Path {
    fn walk(&mut self, x: f64, limit: f64) {
        if self.left < 1e-3 {
            self.left = 0.0;
            return;
        }
        let line = self.story.at(x) + self.z * self.story.doubt(x);
        self.left *= 1.0 - gauss::above((limit - line) / self.story.noise);
    }
}

/// Least squares of one story; its `share` is the log of how well it explains (by the Bayesian information criterion).
fn fit(x: &[f64], y: &[f64], shape: Shape, place: f64, grain: f64) -> Option<Story> {
    let n = y.len() as f64;
    let (mut sf, mut sff, mut sy, mut sfy) = (0.0, 0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let f = Story::basis(shape, place, *x);
        sf += f;
        sff += f * f;
        sy += y;
        sfy += f * y;
    }
    let (start, slope, cov, used) = if shape == Shape::Level {
        (sy / n, 0.0, (1.0 / n, 0.0, 0.0), 1.0)
    } else {
        let det = n * sff - sf * sf;
        if det.is_nan() || det <= n * sff * 1e-9 {
            return None;
        }
        let slope = (n * sfy - sf * sy) / det;
        ((sy - slope * sf) / n, slope, (sff / det, -sf / det, n / det), 2.0)
    };
    let sse: f64 = x
        .iter()
        .zip(y)
        .map(|(x, y)| {
            let e = y - start - slope * Story::basis(shape, place, *x);
            e * e
        })
        .sum();
    let noise = (sse / (n - used)).sqrt().max(grain);
    let explains = -0.5 * n * (sse + n * grain * grain).ln() - 0.5 * used * n.ln();
    Some(Story { shape, place, start, slope, cov, noise, share: explains })
}

/// Cuts values that stand far out from their neighbours.
fn tamed(y: &[f64]) -> Vec<f64> {
    let mut steps: Vec<f64> = y.windows(2).map(|w| (w[1] - w[0]).abs()).collect();
    steps.sort_by(f64::total_cmp);
    // Median absolute step of normal noise: 0.954 deviations.
    let deviation = middle_of(&steps) / 0.954;
    if deviation <= 0.0 {
        return y.to_vec();
    }
    (0..y.len())
        .map(|i| {
            let from = i.saturating_sub(2);
            let mut near: Vec<f64> = y[from..y.len().min(i + 3)].to_vec();
            near.sort_by(f64::total_cmp);
            let middle = middle_of(&near);
            y[i].clamp(middle - WILD * deviation, middle + WILD * deviation)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    fn noisy(seed: u64, n: usize, f: impl Fn(f64) -> f64) -> (Vec<f64>, Vec<f64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n)
            .map(|i| {
                let e: f64 = StandardNormal.sample(&mut rng);
                (i as f64, f(i as f64) + 0.1 * e)
            })
            .unzip()
    }

    #[test]
    fn a_rise_that_began_midway_is_dated_and_its_end_foretold() {
        let (x, y) = noisy(1, 100, |x| 0.03 * (x - 60.0).max(0.0));
        let stories = Stories::of(&x, &y).expect("enough points");
        assert!(stories.certainty() > 0.95);
        // The line is at 1.17 now and at 3 after 61 more steps.
        let until = stories.until(3.0, 1.0, 300).expect("it rises");
        let high = until.high.expect("within the horizon");
        assert!((50.0..=61.0).contains(&until.typical), "{until:?}");
        assert!(until.low < until.typical && until.typical < high && high < 75.0, "{until:?}");
        assert!((50.0..70.0).contains(&until.since), "{until:?}");
    }

    #[test]
    fn a_level_series_has_no_certain_rise() {
        for seed in 0..40 {
            let (x, y) = noisy(seed, 80, |_| 1.0);
            assert!(Stories::of(&x, &y).expect("enough points").certainty() < 0.8);
        }
    }

    #[test]
    fn a_step_is_not_taken_for_a_rise() {
        let (x, y) = noisy(3, 100, |x| if x < 50.0 { 0.0 } else { 1.0 });
        assert!(Stories::of(&x, &y).expect("enough points").certainty() < 0.1);
    }

    #[test]
    fn wild_values_do_not_make_a_rise() {
        let (x, mut y) = noisy(4, 80, |_| 0.0);
        y[70] = 1e6;
        y[79] = 1e6;
        assert!(Stories::of(&x, &y).expect("enough points").certainty() < 0.8);
    }

    #[test]
    fn an_exact_line_is_foretold_exactly() {
        let x: Vec<f64> = (0..50).map(f64::from).collect();
        let y: Vec<f64> = x.iter().map(|x| 10.0 + 2.0 * x).collect();
        let until = Stories::of(&x, &y).expect("enough points").until(208.0, 1.0, 200).expect("it rises");
        assert!((until.typical - 50.0).abs() <= 1.0, "{until:?}");
    }

    #[test]
    fn constant_values_and_too_few_points_tell_nothing() {
        let x: Vec<f64> = (0..50).map(f64::from).collect();
        assert!(Stories::of(&x, &[5.0; 50]).expect("enough points").until(10.0, 1.0, 100).is_none());
        assert!(Stories::of(&x[..7], &[5.0; 7]).is_none());
        assert!(Wander::of(&x[..1], &[5.0]).is_none());
        assert!(Wander::of(&[], &[]).is_none());
    }

    #[test]
    fn a_sum_of_steps_is_foretold_within_a_wide_range() {
        let x: Vec<f64> = (0..=100).map(f64::from).collect();
        let mut sum = 0.0;
        let y: Vec<f64> = (0..=100)
            .map(|i| {
                sum += if i % 3 == 0 { 2.5 } else { 0.25 };
                sum
            })
            .collect();
        let until = Wander::of(&x, &y).expect("enough points").until(y[100] + 50.0, 300).expect("it rises");
        assert!((45.0..56.0).contains(&until.typical), "{until:?}");
    }

    proptest! {
        #[test]
        fn the_chance_of_having_passed_is_a_probability_and_grows(room in 0.01..100.0_f64, drift in -2.0..2.0_f64, noise in 0.01..5.0_f64, time in 1.0..500.0_f64) {
            let p = passed(room, drift, noise, time);
            prop_assert!((0.0..=1.0).contains(&p));
            prop_assert!(passed(room, drift, noise, time * 1.2) >= p - 1e-9);
        }

        #[test]
        fn any_series_gives_ordered_finite_times_or_none(y in proptest::collection::vec(-1e6..1e6_f64, 8..60), limit in -1e6..2e6_f64) {
            let x: Vec<f64> = (0..y.len()).map(|i| i as f64).collect();
            let told = [Stories::of(&x, &y).and_then(|s| s.until(limit, 1.0, 100)), Wander::of(&x, &y).and_then(|w| w.until(limit, 100))];
            for until in told.into_iter().flatten() {
                prop_assert!(until.low >= 1.0 && until.low <= until.typical && until.typical <= 100.0);
                prop_assert!(until.high.is_none_or(|h| h >= until.typical && h <= 100.0));
                prop_assert!(until.slope.is_finite() && (0.0..=1.000_001).contains(&until.certainty));
            }
        }
    }
}
