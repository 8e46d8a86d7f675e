//! The daily rhythm of a job's durations: one wave a day on their logarithm, learned from the runs that count as normal.
//!
//! A job that scrapes at the hour when everybody is awake takes longer every evening, and no evening is a change. The wave
//! is taken off before the charts look. It is a weighted regression on sine and cosine of the hour with a memory of some
//! hundred runs, and is used only when it was seen for a day and a quarter and is far beyond chance; before that it is none.
//! Limits: one wave a day, no weekly rhythm; days are those of UTC, so a change of clocks shifts it by an hour for a while.

/// Microseconds in a day.
const DAY_US: i64 = 86_400_000_000;
/// Runs that the regression remembers: as many as a history has of a job that runs every five minutes for a day and a half.
const MEMORY: f64 = 400.0;
/// Runs below which there is no wave.
const LEAST_RUNS: f64 = 36.0;
/// Days below which a rise is as likely a drift as the first half of a wave.
pub const LEAST_DAYS: f64 = 1.25;
/// The Wald statistic (chi-squared with 2 degrees) beyond which a wave is believed: by chance once in 30,000 looks if
/// runs were independent; they are not quite, and jobs without a rhythm are many.
const BELIEVED: f64 = 20.0;
/// A change of a coefficient that is worth reckoning the baseline anew: two per cent of a duration.
const WORTH: f64 = 0.02;

/// A point of the day on the unit circle: sine and cosine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hour(f64, f64);

impl Hour {
    /// That of a time in µs since 1970.
    pub fn of(at: i64) -> Self {
        let turn = at.rem_euclid(DAY_US) as f64 / DAY_US as f64 * std::f64::consts::TAU;
        Self(turn.sin(), turn.cos())
    }
}

/// The wave and the sums that it is reckoned from.
#[derive(Clone, Debug, Default)]
pub struct Rhythm {
    n: f64,
    mean: [f64; 3],
    /// Sums of products about the means: sine², sine·cosine, cosine², sine·y, cosine·y, y².
    products: [f64; 6],
    wave: (f64, f64),
}

impl Rhythm {
    /// What the hour adds to the logarithm of a duration; 0 while no wave is believed.
    pub fn at(&self, hour: Hour) -> f64 {
        self.wave.0 * hour.0 + self.wave.1 * hour.1
    }

    /// Takes in the log-duration `y` of a normal run.
    pub fn learn(&mut self, hour: Hour, y: f64) {
        let fade = 1.0 - 1.0 / MEMORY;
        let x = [hour.0, hour.1, y];
        self.n = self.n * fade + 1.0;
        let before = [x[0] - self.mean[0], x[1] - self.mean[1], x[2] - self.mean[2]];
        for (mean, far) in self.mean.iter_mut().zip(before) {
            *mean += far / self.n;
        }
        let after = [x[0] - self.mean[0], x[1] - self.mean[1], x[2] - self.mean[2]];
        for (place, (a, b)) in [(0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2)].into_iter().enumerate() {
            self.products[place] = self.products[place] * fade + before[a] * after[b];
        }
    }

    /// Reckons the wave anew; whether it changed enough to matter. `days` is how long the history reaches back.
    pub fn settle(&mut self, days: f64) -> bool {
        let wave = if days < LEAST_DAYS || self.n < LEAST_RUNS { (0.0, 0.0) } else { self.fitted() };
        let changed = (wave.0 - self.wave.0).abs() > WORTH || (wave.1 - self.wave.1).abs() > WORTH;
        if changed {
            self.wave = wave;
        }
        changed
    }

    fn fitted(&self) -> (f64, f64) {
        let [ss, sc, cc, sy, cy, yy] = self.products;
        let determinant = ss * cc - sc * sc;
        // A job that runs at one hour alone shows no rhythm.
        if determinant <= 0.01 * self.n * self.n {
            return (0.0, 0.0);
        }
        let (sine, cosine) = ((cc * sy - sc * cy) / determinant, (ss * cy - sc * sy) / determinant);
        let explained = sine * sy + cosine * cy;
        let variance = (yy - explained).max(0.0) / (self.n - 3.0);
        let wald = explained / variance.max(1e-9);
        if !wald.is_finite() || wald < BELIEVED {
            return (0.0, 0.0);
        }
        // What noise alone explains on average is taken off.
        let kept = 1.0 - 2.0 / wald;
        (sine * kept, cosine * kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    const EVERY: i64 = DAY_US / 72;

    fn learned(height: f64, spread: f64, runs: i64) -> Rhythm {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut rhythm = Rhythm::default();
        for n in 0..runs {
            let hour = Hour::of(n * EVERY);
            let noise: f64 = StandardNormal.sample(&mut random);
            rhythm.learn(hour, 8.0 + height * hour.0 + spread * noise);
        }
        rhythm.settle(runs as f64 / 72.0);
        rhythm
    }

    #[test]
    fn a_wave_is_learned_with_its_height_and_its_hour() {
        let rhythm = learned(0.4, 0.3, 300);
        let (top, bottom) = (rhythm.at(Hour::of(DAY_US / 4)), rhythm.at(Hour::of(3 * DAY_US / 4)));
        assert!((0.3..0.5).contains(&top) && (-0.5..-0.3).contains(&bottom), "{top} {bottom}");
        assert!(rhythm.at(Hour::of(0)).abs() < 0.1);
    }

    #[test]
    fn there_is_no_wave_before_a_day_and_a_quarter_nor_in_noise_nor_at_one_hour_alone() {
        assert!(learned(0.4, 0.3, 88).at(Hour::of(DAY_US / 4)).abs() < f64::EPSILON);
        assert!(learned(0.0, 0.5, 400).at(Hour::of(DAY_US / 4)).abs() < f64::EPSILON);
        let mut rhythm = Rhythm::default();
        for n in 0..200_i32 {
            rhythm.learn(Hour::of(DAY_US / 4), f64::from(n));
        }
        assert!(!rhythm.settle(200.0));
    }

    proptest! {
        #[test]
        fn whatever_is_learned_the_wave_is_finite(values in proptest::collection::vec((0_i64..10 * DAY_US, 0.0..22.0_f64), 0..200)) {
            let mut rhythm = Rhythm::default();
            for (at, y) in values {
                rhythm.learn(Hour::of(at), y);
            }
            rhythm.settle(10.0);
            prop_assert!(rhythm.at(Hour::of(DAY_US / 3)).is_finite());
        }
    }
}
