//! What a generator, a format and an hour each add, fitted together.
//!
//! On the log scale a post's value is `level + generator + format + hour + noise`. The three confound each other (a
//! generator that runs in the evening looks good because the evening is good), so they are fitted in one system and not
//! one after the other. Each effect is drawn towards "no effect" as strongly as the data allow: the spread of each group
//! of effects is unknown, so the fit is averaged over a grid of spreads, each weighed by how well it explains the posts.
//! Hours are a smooth curve around the clock (23 and 0 are neighbours), a sum of five waves whose size falls with their
//! frequency. Generators may differ in noise; each one's own noise is drawn towards the common one.
//!
//! The fit sees only sums a (generator, format, hour) cell, so its time and memory do not depend on the number of posts.
//! It contains no randomness: equal sums give equal answers. Limits: effects add up on the log scale (no generator that
//! is good in the morning only), and a post's fading is a weight, not a model of how tastes change.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use super::clock::HOURS;
use super::observation::Kind;

/// Waves of the hour curve; five resolve a peak about five hours wide.
const WAVES: usize = 5;
/// Coefficients of the hour curve: a cosine and a sine for each wave.
const WAVE_TERMS: usize = 2 * WAVES;
/// Sizes that a group's effects may have, as multiples of the noise: from "practically none" to "larger than the noise".
const GENERATOR_SPREADS: [f64; 4] = [0.1, 0.25, 0.5, 1.0];
/// The same for formats, of which there are few, so a coarser grid loses nothing.
const FORMAT_SPREADS: [f64; 3] = [0.06, 0.2, 0.6];
/// The same for hours.
const HOUR_SPREADS: [f64; 4] = [0.04, 0.12, 0.35, 0.8];
/// The spreads used while the noise is still being estimated: the middle of each grid.
const MIDDLE_SPREADS: [f64; 3] = [0.3, 0.3, 0.25];
/// How many posts' worth of belief each generator's noise equals the common noise.
const NOISE_PRIOR_POSTS: f64 = 10.0;
/// How many posts' worth of belief the common noise equals the whole spread of the values. It only matters for the first
/// dozen posts, of which the model could otherwise explain everything and believe that there is no noise.
const SPREAD_PRIOR_POSTS: f64 = 4.0;
/// Rounds of estimating noise and effects in turn. The second changes the noise by a percent or two, a third by less.
const NOISE_ROUNDS: usize = 2;
/// Prior variance of the level, in units of the noise: wide enough to say nothing.
const LEVEL_VARIANCE: f64 = 1e4;
/// Grid points with less than this share are left out: together they cannot move a result by its third digit.
const NEGLIGIBLE_SHARE: f64 = 1e-3;
/// Noise below this is none: every value is the same and there is nothing to learn.
pub const NO_NOISE: f64 = 1e-9;

/// Faded sums over the posts of one (generator, format, hour).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cell {
    /// Posts, unfaded.
    pub posts: f64,
    /// Σ λ, where λ is 1 for a new post and ½ after a half-life.
    pub weight: f64,
    /// Σ λ².
    pub weight_squared: f64,
    /// Σ λ·z.
    pub sum: f64,
    /// Σ λ·z².
    pub squares: f64,
}

impl Cell {
    /// Adds one post of weight `lambda` and log value `z`.
    pub fn add(&mut self, lambda: f64, z: f64) {
        self.posts += 1.0;
        self.weight += lambda;
        self.weight_squared += lambda * lambda;
        self.sum += lambda * z;
        self.squares += lambda * z * z;
    }
}

/// All cells of a pass: generators × formats × hours. Generators are numbered by the reader.
#[derive(Debug, Clone, Default)]
pub struct Cells {
    cells: Vec<Cell>,
}

/// Cells of one generator.
const PER_GENERATOR: usize = Kind::ALL.len() * HOURS;

impl Cells {
    /// Number of generators that have room in the table.
    pub fn generators(&self) -> usize {
        self.cells.len() / PER_GENERATOR
    }

    /// Makes room for `count` generators.
    pub fn ensure(&mut self, count: usize) {
        if self.generators() < count {
            self.cells.resize(count * PER_GENERATOR, Cell::default());
        }
    }

    /// Adds one post.
    pub fn add(&mut self, generator: usize, kind: Kind, hour: u8, lambda: f64, z: f64) {
        self.ensure(generator + 1);
        self.cells[(generator * Kind::ALL.len() + kind.index()) * HOURS + usize::from(hour) % HOURS].add(lambda, z);
    }

    /// Every cell that has posts: generator, format index, hour, sums.
    pub fn filled(&self) -> impl Iterator<Item = (usize, usize, usize, &Cell)> {
        self.cells
            .iter()
            .enumerate()
            .filter(|(_, cell)| cell.posts > 0.0)
            .map(|(index, cell)| (index / PER_GENERATOR, index / HOURS % Kind::ALL.len(), index % HOURS, cell))
    }

    /// Cells whose posts count 1 where `present` does not have them, and 0 where it has.
    #[must_use]
    pub fn indicator_of_absence(&self, present: &Self) -> Self {
        let cells = self.cells.iter().enumerate().map(|(index, all)| {
            let absent = (all.weight - present.cells.get(index).map_or(0.0, |cell| cell.weight)).max(0.0);
            Cell { sum: absent, squares: absent, ..*all }
        });
        Self { cells: cells.collect() }
    }

    /// Σ λ and Σ λ·z over all cells.
    pub fn weight_and_sum(&self) -> (f64, f64) {
        self.cells.iter().fold((0.0, 0.0), |(weight, sum), cell| (weight + cell.weight, sum + cell.sum))
    }

    /// Posts in all cells.
    pub fn posts(&self) -> f64 {
        self.cells.iter().map(|cell| cell.posts).sum()
    }
}

/// Where each effect stands among the coefficients: level, generators, formats, hour waves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    generators: usize,
}

impl Layout {
    /// Number of coefficients.
    pub fn len(self) -> usize {
        1 + self.generators + Kind::ALL.len() + WAVE_TERMS
    }

    /// There is always a level.
    pub fn is_empty(self) -> bool {
        false
    }

    /// Coefficient of a generator.
    pub fn generator(self, index: usize) -> usize {
        1 + index
    }

    /// Coefficient of a format.
    pub fn format(self, index: usize) -> usize {
        1 + self.generators + index
    }

    /// First coefficient of the hour waves.
    fn waves(self) -> usize {
        1 + self.generators + Kind::ALL.len()
    }
}

/// The hour curve's waves at each hour, scaled so that a spread of 1 gives an hour effect of variance 1.
fn hour_basis() -> [[f64; WAVE_TERMS]; HOURS] {
    let total: f64 = (1..=WAVES).map(wave_share).sum();
    let mut basis = [[0.0; WAVE_TERMS]; HOURS];
    for (hour, row) in basis.iter_mut().enumerate() {
        for wave in 1..=WAVES {
            let angle = std::f64::consts::TAU * wave as f64 * hour as f64 / HOURS as f64;
            let size = (wave_share(wave) / total).sqrt();
            row[2 * wave - 2] = size * angle.cos();
            row[2 * wave - 1] = size * angle.sin();
        }
    }
    basis
}

/// Prior variance of a wave before scaling: slow waves are larger, as daily habits are.
fn wave_share(wave: usize) -> f64 {
    (wave as f64).powf(-1.5)
}

/// One grid point of the fit.
#[derive(Debug, Clone)]
pub(super) struct Component {
    /// Its share of the belief; all shares sum to 1.
    pub(super) share: f64,
    /// Coefficients.
    pub(super) mean: DVector<f64>,
    /// Cholesky factor of their precision.
    pub(super) factor: Cholesky<f64, Dyn>,
}

/// The fitted model.
#[derive(Debug, Clone)]
pub struct Fit {
    /// Where each coefficient stands.
    pub layout: Layout,
    pub(super) components: Vec<Component>,
    basis: [[f64; WAVE_TERMS]; HOURS],
    /// Common noise (standard deviation on the log scale).
    pub noise: f64,
    /// Each generator's own noise.
    pub generator_noise: Vec<f64>,
    /// Kish's effective number of posts after fading.
    pub effective_posts: f64,
}

/// Sums for one weighing of the cells: `XᵀWX` and `XᵀWy`.
struct Normal {
    matrix: DMatrix<f64>,
    right: DVector<f64>,
}

impl Fit {
    /// Fits the cells. `None` without posts or where all values are the same: then nothing can be learned.
    pub fn new(cells: &Cells) -> Option<Self> {
        let mut total = Cell::default();
        for (_, _, _, cell) in cells.filled() {
            total.posts += cell.posts;
            total.weight += cell.weight;
            total.weight_squared += cell.weight_squared;
            total.sum += cell.sum;
            total.squares += cell.squares;
        }
        if total.posts < 2.0 || total.weight <= 0.0 {
            return None;
        }
        // Fading must not pretend that there are fewer posts than Kish's effective number, or intervals grow too wide.
        let scale = total.weight / total.weight_squared;
        let effective_posts = total.weight * scale;
        let mean = total.sum / total.weight;
        let whole = (total.squares / total.weight - mean * mean).max(0.0).sqrt();
        let mut noise = whole;
        if noise < NO_NOISE {
            return None;
        }
        let layout = Layout { generators: cells.generators() };
        let basis = hour_basis();
        let mut generator_noise = vec![noise; layout.generators];
        for _ in 0..NOISE_ROUNDS {
            let normal = normal(cells, layout, &basis, scale, &generator_noise);
            let spreads = MIDDLE_SPREADS.map(|spread| spread * noise);
            let Some((_, mean, factor)) = solve(&normal, layout, noise, spreads) else { break };
            let used = (factor.solve(&normal.matrix)).trace();
            (noise, generator_noise) = noises(cells, layout, &basis, scale, &mean, (effective_posts, used), whole);
            if noise < NO_NOISE {
                return None;
            }
        }
        let normal = normal(cells, layout, &basis, scale, &generator_noise);
        let mut found = Vec::with_capacity(GENERATOR_SPREADS.len() * FORMAT_SPREADS.len() * HOUR_SPREADS.len());
        for generator in GENERATOR_SPREADS {
            for format in FORMAT_SPREADS {
                for hour in HOUR_SPREADS {
                    let spreads = [generator * noise, format * noise, hour * noise];
                    found.extend(solve(&normal, layout, noise, spreads));
                }
            }
        }
        let best = found.iter().map(|(likelihood, _, _)| *likelihood).fold(f64::NEG_INFINITY, f64::max);
        if !best.is_finite() {
            return None;
        }
        let sum: f64 = found.iter().map(|(likelihood, _, _)| (likelihood - best).exp()).sum();
        let mut components: Vec<Component> = found
            .into_iter()
            .map(|(likelihood, mean, factor)| Component { share: (likelihood - best).exp() / sum, mean, factor })
            .filter(|component| component.share >= NEGLIGIBLE_SHARE)
            .collect();
        let kept: f64 = components.iter().map(|component| component.share).sum();
        for component in &mut components {
            component.share /= kept;
        }
        Some(Self { layout, components, basis, noise, generator_noise, effective_posts })
    }

    /// The hour effects that belong to a vector of coefficients.
    pub fn hours(&self, coefficients: &DVector<f64>) -> [f64; HOURS] {
        let first = self.layout.waves();
        let mut hours = [0.0; HOURS];
        for (effect, row) in hours.iter_mut().zip(&self.basis) {
            *effect = row.iter().enumerate().map(|(term, size)| size * coefficients[first + term]).sum();
        }
        hours
    }

    /// What the model expects of the next post, with how sure it is.
    pub fn prediction(&self) -> Prediction {
        let size = self.layout.len();
        let mut mean = DVector::zeros(size);
        for component in &self.components {
            mean += component.share * &component.mean;
        }
        let mut covariance = DMatrix::zeros(size, size);
        for component in &self.components {
            let off = &component.mean - &mean;
            covariance += component.share * (component.factor.inverse() + &off * off.transpose());
        }
        let effect = |index: usize| Effect { mean: mean[index], variance: covariance[(index, index)] };
        let hour_means = self.hours(&mean);
        let first = self.layout.waves();
        let waves = covariance.view((first, first), (WAVE_TERMS, WAVE_TERMS));
        let mut hours = [Effect::default(); HOURS];
        for (hour, row) in self.basis.iter().enumerate() {
            let row = DVector::from_row_slice(row);
            hours[hour] = Effect { mean: hour_means[hour], variance: (row.transpose() * waves * &row)[(0, 0)] };
        }
        let mut formats = [Effect::default(); Kind::ALL.len()];
        for (index, format) in formats.iter_mut().enumerate() {
            *format = effect(self.layout.format(index));
        }
        Prediction {
            level: mean[0],
            generators: (0..self.layout.generators).map(|index| effect(self.layout.generator(index))).collect(),
            with_level: (0..self.layout.generators)
                .map(|index| {
                    let place = self.layout.generator(index);
                    covariance[(0, 0)] + 2.0 * covariance[(0, place)] + covariance[(place, place)]
                })
                .collect(),
            formats,
            hours,
            noise: self.noise,
        }
    }
}

/// Mean and variance of one effect on the log scale.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Effect {
    /// Mean.
    pub mean: f64,
    /// Variance.
    pub variance: f64,
}

/// What the model expects of a post.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Level on the log scale.
    pub level: f64,
    /// Effect of each generator, in the reader's numbering.
    pub generators: Vec<Effect>,
    /// Variance of level and generator's effect together: how well the generator itself is known.
    pub with_level: Vec<f64>,
    /// Effect of each format.
    pub formats: [Effect; Kind::ALL.len()],
    /// Effect of each hour.
    pub hours: [Effect; HOURS],
    /// Noise of a single post (standard deviation).
    pub noise: f64,
}

impl Prediction {
    /// A generator's effect; one that the model has not met is expected to be average.
    pub fn generator(&self, index: usize) -> Effect {
        self.generators.get(index).copied().unwrap_or(Effect { mean: 0.0, variance: self.noise * self.noise * 0.1 })
    }

    /// A generator's effect with the variance of what its posts are expected to be worth. One that the model has not met
    /// is as uncertain as the least known one.
    pub fn worth(&self, index: usize) -> Effect {
        let widest = || self.with_level.iter().copied().fold(self.noise * self.noise * 0.1, f64::max);
        let variance = self.with_level.get(index).copied().unwrap_or_else(widest).max(0.0);
        Effect { mean: self.generator(index).mean, variance }
    }

    /// Expected log value of a post.
    pub fn of(&self, generator: usize, kind: Kind, hour: u8) -> f64 {
        self.level
            + self.generator(generator).mean
            + self.formats[kind.index()].mean
            + self.hours[usize::from(hour) % HOURS].mean
    }
}

/// Sums the cells into the normal equations.
fn normal(
    cells: &Cells,
    layout: Layout,
    basis: &[[f64; WAVE_TERMS]; HOURS],
    scale: f64,
    generator_noise: &[f64],
) -> Normal {
    let size = layout.len();
    let mut matrix = DMatrix::zeros(size, size);
    let mut right = DVector::zeros(size);
    let mut row: Vec<(usize, f64)> = Vec::with_capacity(3 + WAVE_TERMS);
    for (generator, kind, hour, cell) in cells.filled() {
        let precision = scale / (generator_noise[generator] * generator_noise[generator]);
        row.clear();
        row.extend([(0, 1.0), (layout.generator(generator), 1.0), (layout.format(kind), 1.0)]);
        row.extend(basis[hour].iter().enumerate().map(|(term, size)| (layout.waves() + term, *size)));
        for &(i, x) in &row {
            right[i] += x * cell.sum * precision;
            for &(j, y) in &row {
                matrix[(i, j)] += x * y * cell.weight * precision;
            }
        }
    }
    Normal { matrix, right }
}

/// Solves for given spreads: log of the marginal likelihood (up to a constant), coefficients, factor of the precision.
fn solve(
    normal: &Normal,
    layout: Layout,
    noise: f64,
    spreads: [f64; 3],
) -> Option<(f64, DVector<f64>, Cholesky<f64, Dyn>)> {
    let mut precision = normal.matrix.clone();
    let mut prior_log_determinant = 0.0;
    for index in 0..layout.len() {
        let variance = if index == 0 {
            LEVEL_VARIANCE * noise * noise
        } else if index < layout.format(0) {
            spreads[0] * spreads[0]
        } else if index < layout.waves() {
            spreads[1] * spreads[1]
        } else {
            spreads[2] * spreads[2]
        };
        precision[(index, index)] += 1.0 / variance;
        prior_log_determinant -= variance.ln();
    }
    let factor = Cholesky::new(precision)?;
    let mean = factor.solve(&normal.right);
    let log_determinant: f64 = 2.0 * factor.l_dirty().diagonal().iter().map(|entry| entry.ln()).sum::<f64>();
    let likelihood = 0.5 * (prior_log_determinant - log_determinant + normal.right.dot(&mean));
    likelihood.is_finite().then_some((likelihood, mean, factor))
}

/// Common and own noise from what the coefficients leave unexplained: `used` of the effective posts went into fitting them.
fn noises(
    cells: &Cells,
    layout: Layout,
    basis: &[[f64; WAVE_TERMS]; HOURS],
    scale: f64,
    mean: &DVector<f64>,
    (effective_posts, used): (f64, f64),
    whole: f64,
) -> (f64, Vec<f64>) {
    let mut left = vec![0.0; layout.generators];
    let mut posts = vec![0.0; layout.generators];
    for (generator, kind, hour, cell) in cells.filled() {
        let curve: f64 = basis[hour].iter().enumerate().map(|(term, size)| size * mean[layout.waves() + term]).sum();
        let expected = mean[0] + mean[layout.generator(generator)] + mean[layout.format(kind)] + curve;
        let unexplained = cell.squares - 2.0 * expected * cell.sum + expected * expected * cell.weight;
        left[generator] += (scale * unexplained).max(0.0);
        posts[generator] += scale * cell.weight;
    }
    // What the coefficients fitted away is given back, in proportion.
    let given_back = effective_posts / (effective_posts - used).max(effective_posts * 0.2);
    let pooled = SPREAD_PRIOR_POSTS * whole * whole + left.iter().sum::<f64>() * given_back;
    let common = (pooled / (SPREAD_PRIOR_POSTS + effective_posts)).sqrt();
    let own = left
        .iter()
        .zip(&posts)
        .map(|(left, posts)| {
            let pooled = NOISE_PRIOR_POSTS * common * common + left * given_back;
            (pooled / (NOISE_PRIOR_POSTS + posts)).sqrt().max(common * 0.05)
        })
        .collect();
    (common, own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Cells with a known structure and a fixed pattern of disturbance that averages out.
    fn known(posts: usize) -> Cells {
        let mut cells = Cells::default();
        cells.ensure(3);
        for index in 0..posts {
            let generator = index % 3;
            let kind = if index / 3 % 2 == 0 { Kind::Single } else { Kind::Thread };
            let hour = u8::try_from(index / 6 % HOURS).expect("below 24");
            let wobble = [0.5, -0.5, 0.2, -0.2, 0.0][index / 144 % 5];
            let value = 3.0 + [0.4, 0.0, -0.4][generator] + [0.1, -0.1, 0.0][kind.index()] + wobble;
            cells.add(generator, kind, hour, 1.0, value);
        }
        cells
    }

    #[test]
    fn known_effects_are_found() {
        let prediction = Fit::new(&known(1_440)).expect("fit").prediction();
        let difference = prediction.generators[0].mean - prediction.generators[2].mean;
        assert!((difference - 0.8).abs() < 0.05, "difference {difference}");
        let format = prediction.formats[0].mean - prediction.formats[1].mean;
        assert!((format - 0.2).abs() < 0.05, "format {format}");
        assert!(prediction.hours.iter().all(|hour| hour.mean.abs() < 0.05));
    }

    #[test]
    fn confounded_effects_are_told_apart() {
        // Generator 0 posts nearly always in the evening, and only the evening is good.
        let mut cells = Cells::default();
        for index in 0..1_200_usize {
            let evening = if index % 2 == 0 { index % 10 != 0 } else { index % 10 == 1 };
            let hour = if evening { 20 } else { 8 };
            let wobble = [0.3, -0.3, 0.1, -0.1][index / 10 % 4];
            cells.add(index % 2, Kind::Single, hour, 1.0, 2.0 + if evening { 1.0 } else { 0.0 } + wobble);
        }
        let prediction = Fit::new(&cells).expect("fit").prediction();
        let generators = prediction.generators[0].mean - prediction.generators[1].mean;
        let hours = prediction.hours[20].mean - prediction.hours[8].mean;
        assert!(generators.abs() < 0.1, "generators {generators}");
        assert!((hours - 1.0).abs() < 0.15, "hours {hours}");
    }

    #[test]
    fn midnight_is_next_to_eleven_at_night() {
        let mut cells = Cells::default();
        for hour in 0..24_u8 {
            for index in 0..20 {
                let peak = if hour == 23 || hour <= 1 { 1.0 } else { 0.0 };
                cells.add(0, Kind::Single, hour, 1.0, peak + f64::from(index % 5) * 0.1);
            }
        }
        let hours = Fit::new(&cells).expect("fit").prediction().hours;
        assert!(hours[0].mean > hours[4].mean && hours[0].mean > hours[20].mean);
        assert!((hours[23].mean - hours[1].mean).abs() < 0.05);
    }

    #[test]
    fn equal_values_teach_nothing() {
        let mut cells = Cells::default();
        for index in 0..50 {
            cells.add(index % 3, Kind::Single, 3, 1.0, 1.5);
        }
        assert!(Fit::new(&cells).is_none());
        assert!(Fit::new(&Cells::default()).is_none());
    }

    #[test]
    fn fading_alone_does_not_make_the_model_unsure() {
        let (mut faded, mut fresh) = (Cells::default(), Cells::default());
        for index in 0..600_usize {
            let z = 2.0 + [0.3, -0.3, 0.1][index / 2 % 3];
            fresh.add(index % 2, Kind::Single, 5, 1.0, z);
            faded.add(index % 2, Kind::Single, 5, 0.25, z);
        }
        let fresh = Fit::new(&fresh).expect("fit").prediction();
        let faded = Fit::new(&faded).expect("fit").prediction();
        assert!((fresh.generators[0].variance - faded.generators[0].variance).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn whatever_the_values_the_fit_is_finite(
            posts in proptest::collection::vec((0_usize..4, 0_usize..3, 0_u8..24, 0.01_f64..1.0, -20.0_f64..20.0), 0..60)
        ) {
            let mut cells = Cells::default();
            for (generator, kind, hour, lambda, z) in posts {
                cells.add(generator, Kind::ALL[kind], hour, lambda, z);
            }
            if let Some(fit) = Fit::new(&cells) {
                let prediction = fit.prediction();
                prop_assert!(prediction.level.is_finite() && prediction.noise.is_finite());
                for effect in prediction.generators.iter().chain(&prediction.formats).chain(&prediction.hours) {
                    prop_assert!(effect.mean.is_finite() && effect.variance >= 0.0);
                }
            }
        }
    }
}
