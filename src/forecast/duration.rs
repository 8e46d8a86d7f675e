//! How long a job's runs take: a baseline that single wild runs cannot move, two one-sided CUSUMs over it (longer, more
//! erratic), and the interval in which the next duration is expected.
//!
//! Everything works on the logarithm, since durations multiply rather than add. Both charts read *ranks* within the
//! job's own baseline and not distances, so heavy tails raise no alarm: under any unchanged distribution the ranks are
//! uniform. The baseline is frozen while a chart is off its floor, so a creeping job cannot teach it that creeping is
//! normal. A daily rhythm is taken off before the charts look ([`super::rhythm`]). Limits: one that is longer than the
//! history looks like a drift; until the history spans [`RHYTHM_DAYS`] a change must therefore be larger
//! ([`LEAST_RISE_SHORT`]) before it is called one.

use super::gauss;
use super::rhythm::{Hour, Rhythm};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Runs of baseline below which the charts keep silent: ranks among fewer say too little.
pub const MIN_BASELINE: usize = 12;
/// Runs of baseline kept: enough that its own error is small beside the charts' allowance, few enough to follow seasons.
pub const MAX_BASELINE: usize = 200;
/// Allowance of the level chart in standard deviations of the log: half of the shift that must be found (× 1.6 at a
/// spread of 0.5 is about one).
pub const LEVEL_ALLOWANCE: f64 = 0.5;
/// Limit of the level chart; set by `benches/forecast` so that it spends a fifth of the budget of one false alarm per
/// 1,000 healthy runs, and half of it where the day has a rhythm.
pub const LEVEL_LIMIT: f64 = 7.8;
/// Limit of the spread chart; set likewise, a tenth of the budget.
pub const SPREAD_LIMIT: f64 = 7.0;
/// The spread chart is the likelihood ratio of the tail score of ranks having this mean instead of one.
pub const SPREAD_RATIO: f64 = 2.2;
/// A small baseline is itself uncertain by about 1/√n: both charts' allowances grow by this much times 1/√n.
pub const BASELINE_DOUBT: f64 = 0.8;
/// Least rise of the log that is worth an alarm: a fifth longer.
pub const LEAST_RISE: f64 = 0.182;
/// Least rise while the history is shorter than [`RHYTHM_DAYS`]: half as long again, above what a daily rhythm does.
pub const LEAST_RISE_SHORT: f64 = 0.405;
/// A daily rhythm is known only when it was seen one and a half times.
pub const RHYTHM_DAYS: f64 = 1.5;
/// Least growth of the typical deviation that is worth an alarm.
pub const LEAST_SPREAD: f64 = 1.4;
/// A chart must have been off its floor for this many runs: no single run, however wild, is a change.
pub const DEBOUNCE: usize = 3;
/// Runs that wait outside the baseline without an alarm; older ones are then taken as normal.
const MAX_PENDING: usize = 60;
/// Runs after an alarm until the new state counts as the normal one and the alarm ends.
pub const NEW_NORMAL: usize = 40;
/// Ranks are cut here (normal score), so that one run moves a chart by at most 2.4 standard deviations.
const MAX_SCORE: f64 = 2.4;
/// Tail scores are cut here; exp(-3.6) is the rarest rank that 36 runs can show.
const MAX_TAIL: f64 = 3.6;
/// Runs after which the rhythm is reckoned anew: a few of the least history that shows one.
const RHYTHM_EVERY: usize = 8;
/// A run further than this many deviations from the middle teaches the rhythm as if it lay there.
const WILD: f64 = 5.0;
/// Log of durations below a millisecond: the clock's grain.
const GRAIN_MS: f64 = 1.0;
/// … of which this many are used at least: the tenth part of fewer is no run at all.
const LEAST_ERRORS: usize = 12;
/// One-step errors kept for the interval: the newest third of a long history.
pub(super) const ERRORS: usize = 60;

/// A change in a job's durations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Index of the run at which the change is reckoned to have begun.
    pub since_run: usize,
    /// Typical value before (ms for the level; log-deviation for the spread).
    pub before: f64,
    /// Typical value since, same unit.
    pub after: f64,
    /// Chart value over its limit; 1 is the limit.
    pub strength: f64,
}

/// An interval in which the next duration lies with a probability of 80 %, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// One in ten runs is shorter.
    pub low: f64,
    /// The middle.
    pub typical: f64,
    /// One in ten runs is longer.
    pub high: f64,
}

/// One chart: a sum that grows while the runs deviate and falls back to zero otherwise.
#[derive(Clone, Debug, Default)]
struct Chart {
    sum: f64,
    started: usize,
    alarm: Option<usize>,
}

impl Chart {
    /// Adds one run's evidence; ends the alarm when the sum is back at zero.
    fn add(&mut self, evidence: f64, cap: f64, run: usize) {
        if self.sum <= 0.0 {
            self.started = run;
        }
        self.sum = (self.sum + evidence).clamp(0.0, cap);
        if self.sum <= 0.0 {
            self.alarm = None;
        }
    }

    fn length(&self, run: usize) -> usize {
        if self.sum > 0.0 { run + 1 - self.started } else { 0 }
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

/// A way to say where the next log-duration will be, with the errors it made.
#[derive(Clone, Debug)]
struct Predictor {
    /// Weight of the newest run; zero means the mean of all since the last change.
    weight: f64,
    level: f64,
    seen: f64,
    loss: f64,
    errors: VecDeque<f64>,
}

impl Predictor {
    fn new(weight: f64) -> Self {
        Self { weight, level: 0.0, seen: 0.0, loss: 0.0, errors: VecDeque::with_capacity(ERRORS) }
    }

    fn observe(&mut self, y: f64) {
        if self.seen > 0.0 {
            let error = y - self.level;
            if self.errors.len() == ERRORS {
                self.errors.pop_front();
            }
            self.errors.push_back(error);
            // Ten runs of memory: a slow predictor loses its place soon after a step.
            self.loss = 0.9 * self.loss + 0.1 * error.abs();
        }
        self.seen += 1.0;
        let weight = self.weight.max(1.0 / self.seen);
        self.level += weight * (y - self.level);
    }
}

/// The charts and predictors of one job, fed run by run.
#[derive(Clone, Debug)]
pub struct Durations {
    /// Log-durations of the baseline as they were measured, in the order in which they came.
    arrived: VecDeque<(Hour, f64)>,
    /// The same without the rhythm, sorted.
    sorted: Vec<f64>,
    /// Runs that are not yet known to be normal: number, hour, log-duration as measured.
    pending: VecDeque<(usize, Hour, f64)>,
    rhythm: Rhythm,
    learned: usize,
    level: Chart,
    spread: Chart,
    predictors: [Predictor; 3],
    recent_score: f64,
    seen: usize,
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            arrived: VecDeque::new(),
            sorted: Vec::new(),
            pending: VecDeque::new(),
            rhythm: Rhythm::default(),
            learned: 0,
            level: Chart::default(),
            spread: Chart::default(),
            // The long mean, one that follows a drift, one that follows a step.
            predictors: [Predictor::new(0.02), Predictor::new(0.1), Predictor::new(0.3)],
            recent_score: 0.0,
            seen: 0,
        }
    }
}

/// What one run did to the charts: alarms that began with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Began {
    /// The level alarm began.
    pub level: bool,
    /// The spread alarm began.
    pub spread: bool,
}

impl Durations {
    /// Takes in a duration (ms, finite, not negative: see `History::clean`) of run number `run` that began at `hour`;
    /// `span_days` is how long the history reaches back.
    pub fn observe(&mut self, ms: f64, run: usize, hour: Hour, span_days: f64) -> Began {
        let measured = ms.max(GRAIN_MS).ln();
        self.seen += 1;
        for predictor in &mut self.predictors {
            predictor.observe(measured);
        }
        let n = self.sorted.len();
        if n < MIN_BASELINE {
            self.absorb(hour, measured);
            return Began::default();
        }
        let y = measured - self.rhythm.at(hour);
        let doubt = BASELINE_DOUBT / (n as f64).sqrt();
        let score = self.score(y);
        self.recent_score += 0.2 * (score - self.recent_score);
        self.level.add(score - LEVEL_ALLOWANCE - 0.5 * doubt, 1.5 * LEVEL_LIMIT, run);
        let tail = self.tail(y);
        let slope = 1.0 - 1.0 / SPREAD_RATIO;
        self.spread.add(slope * tail - SPREAD_RATIO.ln() - 0.5 * doubt, 1.5 * SPREAD_LIMIT, run);
        self.pending.push_back((run, hour, measured));
        let began = self.judge(run, span_days, doubt);
        self.settle(run);
        self.keep_time(span_days);
        began
    }

    /// Raises alarms whose chart is above its limit and whose effect is worth it.
    fn judge(&mut self, run: usize, span_days: f64, doubt: f64) -> Began {
        let mut began = Began::default();
        let least = if span_days < RHYTHM_DAYS { LEAST_RISE_SHORT } else { LEAST_RISE };
        let raise = 1.0 + doubt;
        if self.level.alarm.is_none()
            && self.level.sum > LEVEL_LIMIT * raise
            && self.level.length(run) >= DEBOUNCE
            && self.typical_since(self.level.started) - self.middle() >= least
        {
            self.level.alarm = Some(run);
            began.level = true;
        }
        if self.spread.alarm.is_none()
            && self.spread.sum > SPREAD_LIMIT * raise
            && self.spread.length(run) >= DEBOUNCE
            && self.deviation_since(self.spread.started) >= LEAST_SPREAD * self.deviation().max(f64::MIN_POSITIVE)
            // Runs that all take a little longer or shorter are not erratic.
            && self.deviation_since(self.spread.started) >= LEAST_RISE
        {
            self.spread.alarm = Some(run);
            began.spread = true;
        }
        began
    }

    /// Moves pending runs into the baseline once they are known to be normal, or have become the normal.
    fn settle(&mut self, run: usize) {
        if self.level.sum <= 0.0 && self.spread.sum <= 0.0 {
            while let Some((_, hour, y)) = self.pending.pop_front() {
                self.absorb(hour, y);
            }
            return;
        }
        let newest = self.level.alarm.max(self.spread.alarm);
        if let Some(alarm) = newest {
            if run >= alarm + NEW_NORMAL {
                self.sorted.clear();
                self.arrived.clear();
                let keep = self.pending.len().saturating_sub(NEW_NORMAL);
                let fresh: Vec<(Hour, f64)> = self.pending.drain(..).skip(keep).map(|(_, hour, y)| (hour, y)).collect();
                for (hour, y) in fresh {
                    self.absorb(hour, y);
                }
                self.level.reset();
                self.spread.reset();
            }
        } else if self.pending.len() > MAX_PENDING
            && let Some((_, hour, y)) = self.pending.pop_front()
        {
            self.absorb(hour, y);
        }
    }

    /// Reckons the rhythm anew from time to time, and the baseline with it.
    fn keep_time(&mut self, span_days: f64) {
        if self.learned < RHYTHM_EVERY {
            return;
        }
        self.learned = 0;
        if self.rhythm.settle(span_days) {
            self.sorted.clear();
            self.sorted.extend(self.arrived.iter().map(|(hour, y)| y - self.rhythm.at(*hour)));
            self.sorted.sort_by(f64::total_cmp);
        }
    }

    fn absorb(&mut self, hour: Hour, measured: f64) {
        let n = self.sorted.len();
        let tame = if n < MIN_BASELINE {
            measured
        } else {
            let (middle, far) = (self.middle() + self.rhythm.at(hour), WILD * self.deviation());
            measured.clamp(middle - far, middle + far)
        };
        self.rhythm.learn(hour, tame);
        self.learned += 1;
        if self.arrived.len() == MAX_BASELINE
            && let Some((hour, old)) = self.arrived.pop_front()
        {
            let old = old - self.rhythm.at(hour);
            let at = self.sorted.partition_point(|v| *v < old);
            self.sorted.remove(at.min(self.sorted.len() - 1));
        }
        self.arrived.push_back((hour, measured));
        let y = measured - self.rhythm.at(hour);
        let at = self.sorted.partition_point(|v| *v < y);
        self.sorted.insert(at, y);
    }

    /// Normal score of the rank of `y` in the baseline; ties take the middle of their ranks, so a constant series scores 0.
    fn score(&self, y: f64) -> f64 {
        let below = self.sorted.partition_point(|v| *v < y);
        let up_to = self.sorted.partition_point(|v| *v <= y);
        let rank = f64::midpoint(below as f64, up_to as f64) + 0.5;
        gauss::quantile(rank / (self.sorted.len() as f64 + 1.0)).clamp(-MAX_SCORE, MAX_SCORE)
    }

    /// Exponential score of how far out `y` lies: 1 on average while nothing changes, more when the spread grows.
    fn tail(&self, y: f64) -> f64 {
        let middle = self.middle();
        let far = (y - middle).abs();
        let n = self.sorted.len();
        let nearer = self
            .sorted
            .partition_point(|v| *v < middle + far)
            .saturating_sub(self.sorted.partition_point(|v| *v <= middle - far));
        let up_to =
            self.sorted.partition_point(|v| *v <= middle + far) - self.sorted.partition_point(|v| *v < middle - far);
        let rank = f64::midpoint(nearer as f64, up_to as f64) + 0.5;
        let beyond = 1.0 - rank / (n as f64 + 1.0);
        -beyond.max((-MAX_TAIL).exp()).ln()
    }

    fn middle(&self) -> f64 {
        middle_of(&self.sorted)
    }

    /// Median distance from the baseline's middle, as half of the range of its middle half.
    fn deviation(&self) -> f64 {
        let n = self.sorted.len();
        if n == 0 { 0.0 } else { (self.sorted[(3 * n) / 4] - self.sorted[n / 4]) / 2.0 }
    }

    /// Log-durations without the rhythm of the runs from `run` on that are not known to be normal.
    fn since(&self, run: usize) -> impl Iterator<Item = f64> + '_ {
        self.pending.iter().filter(move |(r, _, _)| *r >= run).map(|(_, hour, y)| y - self.rhythm.at(*hour))
    }

    fn typical_since(&self, run: usize) -> f64 {
        let mut values: Vec<f64> = self.since(run).collect();
        values.sort_by(f64::total_cmp);
        middle_of(&values)
    }

    fn deviation_since(&self, run: usize) -> f64 {
        let middle = self.middle();
        let mut values: Vec<f64> = self.since(run).map(|y| (y - middle).abs()).collect();
        values.sort_by(f64::total_cmp);
        middle_of(&values)
    }

    /// The rise that is being alarmed about, if one is (ms).
    pub fn slower(&self) -> Option<Change> {
        self.level.alarm?;
        Some(Change {
            since_run: self.level.started,
            before: self.middle().exp(),
            after: self.typical_since(self.level.started).exp(),
            strength: self.level.sum / LEVEL_LIMIT,
        })
    }

    /// The growth of the spread that is being alarmed about, if one is (median distance of the log from the middle).
    pub fn erratic(&self) -> Option<Change> {
        self.spread.alarm?;
        Some(Change {
            since_run: self.spread.started,
            before: self.deviation(),
            after: self.deviation_since(self.spread.started),
            strength: self.spread.sum / SPREAD_LIMIT,
        })
    }

    /// Smoothed normal score of the last runs, for the learned model.
    pub fn recent_score(&self) -> f64 {
        self.recent_score
    }

    /// Level chart over its limit, for the learned model.
    pub fn pressure(&self) -> f64 {
        self.level.sum / LEVEL_LIMIT
    }

    /// Durations seen.
    pub fn seen(&self) -> usize {
        self.seen
    }

    fn best(&self) -> &Predictor {
        self.predictors.iter().min_by(|a, b| a.loss.total_cmp(&b.loss)).unwrap_or(&self.predictors[0])
    }

    /// Sorted errors of a predictor; since the change only, while one is being alarmed about.
    fn errors(&self, of: &Predictor) -> Vec<f64> {
        let since = [&self.level, &self.spread].iter().filter(|c| c.alarm.is_some()).map(|c| c.started).min();
        let fresh = match since {
            Some(since) => self.pending.iter().filter(|(r, _, _)| *r >= since).count().max(LEAST_ERRORS),
            None => ERRORS,
        };
        let mut errors: Vec<f64> = of.errors.iter().rev().take(fresh).copied().collect();
        errors.sort_by(f64::total_cmp);
        errors
    }

    /// Where the next duration is expected; `None` with fewer than eight.
    pub fn expected(&self) -> Option<Expected> {
        let best = self.best();
        if best.errors.len() < 7 {
            return None;
        }
        let errors = self.errors(best);
        let at = |p: f64| (best.level + order_quantile(&errors, p)).exp().clamp(0.0, f64::MAX);
        Some(Expected { low: at(0.1), typical: at(0.5), high: at(0.9) })
    }

    /// Probability that the next run takes longer than `limit_ms`; `None` with fewer than eight durations.
    ///
    /// The errors made so far, each blurred by a third of their spread so that a never-seen length is rare, not impossible.
    pub fn exceeds(&self, limit_ms: f64) -> Option<f64> {
        let best = self.best();
        if best.errors.len() < 7 {
            return None;
        }
        let errors = self.errors(best);
        let n = errors.len();
        let blur = ((errors[(3 * n) / 4] - errors[n / 4]) / 1.349 * 0.4).max(0.02);
        let room = limit_ms.max(GRAIN_MS).ln() - best.level;
        Some(errors.iter().map(|e| gauss::above((room - e) / blur)).sum::<f64>() / n as f64)
    }
}

/// Median of sorted values; 0 for none.
pub(super) fn middle_of(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// Quantile of sorted values at position p·(n+1): the next value lies below it with probability p, whatever the distribution.
pub(super) fn order_quantile(sorted: &[f64], p: f64) -> f64 {
    let n = sorted.len();
    if n == 0 {
        return 0.0;
    }
    let position = (p * (n as f64 + 1.0) - 1.0).clamp(0.0, n as f64 - 1.0);
    // In range by the clamp above.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let low = position.floor() as usize;
    let high = (low + 1).min(n - 1);
    sorted[low] + (position - low as f64) * (sorted[high] - sorted[low])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, LogNormal, StandardNormal};

    fn fed(values: impl IntoIterator<Item = f64>) -> (Durations, Vec<(usize, Began)>) {
        let mut durations = Durations::default();
        let mut began = Vec::new();
        for (i, ms) in values.into_iter().enumerate() {
            let b = durations.observe(ms, i, Hour::of(0), 10.0);
            if b != Began::default() {
                began.push((i, b));
            }
        }
        (durations, began)
    }

    fn noise(seed: u64, n: usize, median: f64, spread: f64) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let d = LogNormal::new(f64::ln(median), spread).expect("spread is positive");
        (0..n).map(|_| d.sample(&mut rng)).collect()
    }

    #[test]
    fn a_thousand_equal_durations_raise_nothing_and_are_expected_again() {
        let (d, began) = fed(std::iter::repeat_n(1234.0, 1000));
        assert!(began.is_empty());
        let e = d.expected().expect("enough runs");
        assert!((e.low - 1234.0).abs() < 0.01 && (e.high - 1234.0).abs() < 0.01);
        assert!(d.exceeds(300_000.0).expect("enough runs") < 1e-6);
    }

    #[test]
    fn a_constant_job_that_takes_a_millisecond_more_raises_nothing() {
        let (_, began) = fed(std::iter::repeat_n(1000.0, 100).chain(std::iter::repeat_n(1001.0, 100)));
        assert!(began.is_empty());
    }

    #[test]
    fn one_wild_run_raises_nothing() {
        let mut values = noise(1, 120, 5000.0, 0.4);
        values[80] = 5e8;
        let (_, began) = fed(values);
        assert!(began.is_empty());
    }

    #[test]
    fn a_lasting_step_is_found_and_dated() {
        let values = noise(2, 100, 5000.0, 0.4).into_iter().chain(noise(3, 30, 10_000.0, 0.4));
        let (d, began) = fed(values);
        let (run, _) = *began.iter().find(|b| b.1.level).expect("the step is found");
        assert!((100..125).contains(&run), "found at {run}");
        let change = d.slower().expect("it goes on");
        assert!((90..106).contains(&change.since_run), "dated {}", change.since_run);
        assert!((1.4..3.0).contains(&(change.after / change.before)));
    }

    #[test]
    fn a_step_down_raises_no_alarm_of_being_slower() {
        let values = noise(4, 100, 9000.0, 0.4).into_iter().chain(noise(5, 30, 3000.0, 0.4));
        let (d, began) = fed(values);
        assert!(began.iter().all(|b| !b.1.level));
        assert!(d.slower().is_none());
    }

    #[test]
    fn a_job_that_takes_twice_as_long_every_evening_raises_nothing_and_a_step_is_found_all_the_same() {
        let mut durations = Durations::default();
        let mut began = Vec::new();
        let values = noise(11, 500, 5_000.0, 0.3).into_iter().chain(noise(12, 30, 10_000.0, 0.3));
        for (i, ms) in values.enumerate() {
            let at = i64::try_from(i).expect("small") * 1_200_000_000;
            let evening = (0.45 * (at as f64 / 86_400_000_000.0 * std::f64::consts::TAU).sin()).exp();
            let b = durations.observe(ms * evening, i, Hour::of(at), i as f64 / 72.0);
            if b.level {
                began.push(i);
            }
        }
        // The first two evenings cannot be known to be a rhythm.
        let later: Vec<usize> = began.into_iter().filter(|run| *run > 2 * 72 + 40).collect();
        assert!(matches!(later[..], [found] if (500..530).contains(&found)), "{later:?}");
    }

    #[test]
    fn a_grown_spread_is_found() {
        let values = noise(6, 100, 5000.0, 0.3).into_iter().chain(noise(7, 60, 5000.0, 0.9));
        assert!(fed(values).1.iter().any(|b| b.1.spread));
    }

    #[test]
    fn what_lasts_becomes_the_normal() {
        let values = noise(8, 100, 5000.0, 0.3).into_iter().chain(noise(9, 150, 20_000.0, 0.3));
        let (d, began) = fed(values);
        assert_eq!(began.iter().filter(|b| b.1.level).count(), 1, "{began:?}");
        assert!(d.slower().is_none());
    }

    #[test]
    fn the_charts_keep_silent_until_there_is_a_baseline() {
        let (_, began) = fed((0..MIN_BASELINE).map(|i| 10.0_f64.powi(i32::try_from(i % 7).expect("small"))));
        assert!(began.is_empty());
    }

    #[test]
    fn four_of_five_durations_fall_into_the_expected_range() {
        let mut rng = ChaCha8Rng::seed_from_u64(10);
        let mut d = Durations::default();
        let (mut inside, mut all) = (0_usize, 0_usize);
        for i in 0..20_000 {
            let z: f64 = StandardNormal.sample(&mut rng);
            let ms = (9.0 + 0.6 * z).exp();
            if let Some(e) = d.expected() {
                all += 1;
                inside += usize::from((e.low..=e.high).contains(&ms));
            }
            d.observe(ms, i, Hour::of(0), 10.0);
        }
        let share = inside as f64 / all as f64;
        assert!((0.77..0.83).contains(&share), "{share}");
    }

    proptest! {
        #[test]
        fn everything_stays_finite_for_any_durations(values in proptest::collection::vec(0.0..2.6e9_f64, 0..150)) {
            let (d, _) = fed(values);
            if let Some(e) = d.expected() {
                prop_assert!(e.low <= e.typical && e.typical <= e.high && e.high.is_finite() && e.low >= 0.0);
            }
            if let Some(p) = d.exceeds(300_000.0) {
                prop_assert!((0.0..=1.0).contains(&p));
            }
            prop_assert!(d.pressure().is_finite() && d.recent_score().is_finite());
        }

        #[test]
        fn a_longer_limit_is_never_exceeded_more_often(values in proptest::collection::vec(1.0..1e6_f64, 10..60), limit in 1.0..1e6_f64) {
            let (d, _) = fed(values);
            let (short, long) = (d.exceeds(limit), d.exceeds(limit * 1.5));
            prop_assert!(short >= long);
        }
    }
}
