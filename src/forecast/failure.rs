//! How often something that can go wrong at each run does go wrong: failures, skipped runs, missed runs.
//!
//! Two views of one series of yes and no. The *chart of runs between failures* is a one-sided CUSUM of the likelihood
//! ratio "as usual" against "in trouble": each success takes a little away and each failure adds the more the rarer
//! failures have been, so its evidence depends only on the gaps between failures. The *forecast* is a Beta-Binomial
//! rate for each of the two states and the probability of being in either (a two-state filter). Trouble that
//! lasts becomes the job's own normal after [`NEW_NORMAL`] runs, unless more fails than works. Limits: it knows no cause and no clock.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF};

/// What is believed of the rate before any run was seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prior {
    /// Failures, in the usual state.
    pub bad: f64,
    /// Successes, in the usual state.
    pub good: f64,
    /// Failures, in trouble.
    pub trouble_bad: f64,
    /// Successes, in trouble.
    pub trouble_good: f64,
    /// Probability per run of getting into trouble.
    pub enter: f64,
    /// Probability per run of getting out of it.
    pub leave: f64,
}

impl Default for Prior {
    /// Jobs fail in one run of fifty, give or take; in trouble in one of three. Trouble comes once in a thousand runs
    /// and lasts for dozens.
    fn default() -> Self {
        Self { bad: 0.7, good: 34.0, trouble_bad: 2.0, trouble_good: 4.0, enter: 0.001, leave: 0.005 }
    }
}

/// Jobs from which a prior is learned; fewer say too little of how jobs differ.
const MIN_JOBS: usize = 8;
/// Trials that a learned prior is worth at least and at most: it must yield to a job's own history.
const PRIOR_TRIALS: (f64, f64) = (15.0, 40.0);

impl Prior {
    /// Whether it can be reckoned with; one that was stored may not be.
    pub fn is_sound(&self) -> bool {
        [self.bad, self.good, self.trouble_bad, self.trouble_good].iter().all(|v| v.is_finite() && *v > 0.0)
            && [self.enter, self.leave].iter().all(|v| *v > 0.0 && *v < 1.0)
    }

    /// Learns the usual rate from many jobs' rates (matching mean and variance of a Beta-Binomial), starting from `self`.
    /// Jobs that were ever in trouble do not count. With fewer than eight jobs it stays as it is.
    #[must_use]
    pub fn learn(self, rates: &[Rate]) -> Self {
        let used: Vec<(f64, f64)> = rates
            .iter()
            .filter(|r| r.alarms == 0)
            .map(|r| (r.bad, r.bad + r.good))
            .filter(|(_, n)| *n >= 8.0)
            .collect();
        let trials: f64 = used.iter().map(|(_, n)| n).sum();
        let squares: f64 = used.iter().map(|(_, n)| n * n).sum();
        if used.len() < MIN_JOBS || trials - squares / trials <= 0.0 {
            return self;
        }
        let mean = (used.iter().map(|(bad, _)| bad).sum::<f64>() / trials).clamp(0.001, 0.5);
        let within = mean * (1.0 - mean);
        let seen: f64 = used.iter().map(|(bad, n)| n * (bad / n - mean).powi(2)).sum();
        // Between jobs: what is left of the scatter after chance (analysis of variance for unequal sizes).
        let between = (seen - (used.len() as f64 - 1.0) * within) / (trials - squares / trials);
        let strength =
            if between > 0.0 { within / between - 1.0 } else { PRIOR_TRIALS.1 }.clamp(PRIOR_TRIALS.0, PRIOR_TRIALS.1);
        Self { bad: mean * strength, good: (1.0 - mean) * strength, ..self }
    }
}

/// Limit of the chart; set by `benches/forecast` so that failures spend two fifths of the budget of one false alarm per
/// 1,000 healthy runs.
pub const LIMIT: f64 = 5.9;
/// The rate that the chart looks for is at least this: less is no trouble that somebody must get up for.
const LEAST_TROUBLE: f64 = 0.28;
/// … and at least this many times the usual rate.
const LEAST_RATIO: f64 = 3.0;
/// … but never above this, since certain failure would make one success erase everything.
const MOST_TROUBLE: f64 = 0.9;
/// Failures that an alarm needs: one is never a pattern.
pub const LEAST_FAILURES: usize = 2;
/// Trouble is over when its rate would leave as many successes in a row with less than this probability.
const OVER: f64 = 0.02;
/// Runs after an alarm until the state is the normal one, where it works at least half of the time.
pub const NEW_NORMAL: usize = 60;
/// Runs of memory of the rate in trouble.
const TROUBLE_MEMORY: f64 = 25.0;
/// Runs of memory of the usual rate: seasons change.
const USUAL_MEMORY: f64 = 400.0;

/// A run of trouble that is being alarmed about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trouble {
    /// Number of the trial (run, slot) at which it is reckoned to have begun.
    pub since: usize,
    /// Failures since.
    pub failures: usize,
    /// Trials since.
    pub trials: usize,
    /// The usual rate.
    pub usual: f64,
    /// Chart value over its limit; 1 is the limit.
    pub strength: f64,
}

/// The rate of one kind of event of one job, fed trial by trial.
#[derive(Clone, Debug)]
pub struct Rate {
    prior: Prior,
    bad: f64,
    good: f64,
    trouble_bad: f64,
    trouble_good: f64,
    in_trouble: f64,
    sum: f64,
    since: usize,
    failures: usize,
    alarm: Option<usize>,
    trials: usize,
    total_failures: usize,
    alarms: usize,
    quiet: usize,
}

impl Rate {
    /// A rate of which only the prior is known.
    pub fn new(prior: Prior) -> Self {
        Self {
            prior,
            bad: 0.0,
            good: 0.0,
            trouble_bad: 0.0,
            trouble_good: 0.0,
            in_trouble: prior.enter,
            sum: 0.0,
            since: 0,
            failures: 0,
            alarm: None,
            trials: 0,
            total_failures: 0,
            alarms: 0,
            quiet: 0,
        }
    }

    /// The usual rate.
    pub fn usual(&self) -> f64 {
        let bad = self.prior.bad + self.bad;
        bad / (bad + self.prior.good + self.good)
    }

    /// The rate while in trouble.
    pub fn troubled(&self) -> f64 {
        let bad = self.prior.trouble_bad + self.trouble_bad;
        (bad / (bad + self.prior.trouble_good + self.trouble_good)).max(self.usual())
    }

    /// Takes in one trial; `true` means it went wrong. Returns whether an alarm began.
    pub fn observe(&mut self, wrong: bool) -> bool {
        let usual = self.usual();
        let troubled = self.troubled();
        self.chart(wrong, usual);
        // Filter: how likely is it that this trial belongs to trouble?
        let (under_trouble, under_usual) = if wrong { (troubled, usual) } else { (1.0 - troubled, 1.0 - usual) };
        let trouble = self.in_trouble * under_trouble;
        let share = trouble / (trouble + (1.0 - self.in_trouble) * under_usual).max(f64::MIN_POSITIVE);
        let keep = 1.0 - share / TROUBLE_MEMORY;
        self.trouble_bad *= keep;
        self.trouble_good *= keep;
        let keep = 1.0 - (1.0 - share) / USUAL_MEMORY;
        self.bad *= keep;
        self.good *= keep;
        if wrong {
            self.trouble_bad += share;
            self.bad += 1.0 - share;
        } else {
            self.trouble_good += share;
            self.good += 1.0 - share;
        }
        self.in_trouble = share * (1.0 - self.prior.leave) + (1.0 - share) * self.prior.enter;
        self.trials += 1;
        self.total_failures += usize::from(wrong);
        self.alarmed()
    }

    fn chart(&mut self, wrong: bool, usual: f64) {
        let target = (LEAST_RATIO * usual).clamp(LEAST_TROUBLE, MOST_TROUBLE);
        if self.sum <= 0.0 {
            self.since = self.trials;
            self.failures = 0;
        }
        self.failures += usize::from(wrong);
        self.quiet = if wrong { 0 } else { self.quiet + 1 };
        // What nearly always goes wrong cannot get worse, and a success there must not count as evidence of trouble.
        let evidence = match wrong {
            _ if usual >= target => -LIMIT,
            true => (target / usual).ln(),
            false => ((1.0 - target) / (1.0 - usual)).ln(),
        };
        self.sum = (self.sum + evidence).clamp(0.0, 1.5 * LIMIT);
        let rate = (self.failures as f64 / (self.trials + 1 - self.since) as f64).clamp(target, MOST_TROUBLE);
        if (1.0 - rate).powf(self.quiet as f64) < OVER {
            self.sum = 0.0;
        }
    }

    fn alarmed(&mut self) -> bool {
        if self.sum <= 0.0 {
            self.alarm = None;
        }
        match self.alarm {
            None if self.sum > LIMIT && self.failures >= LEAST_FAILURES => {
                self.alarm = Some(self.trials);
                self.alarms += 1;
                true
            }
            // A job that fails more often than not is broken, however long it has been.
            Some(at) if self.trials >= at + NEW_NORMAL && 2 * self.failures <= self.trials - self.since => {
                // What has lasted this long is how the job is, whatever other jobs are like.
                self.prior.bad = 0.5;
                self.prior.good = 0.5;
                self.bad = self.trouble_bad;
                self.good = self.trouble_good;
                self.trouble_bad = 0.0;
                self.trouble_good = 0.0;
                self.in_trouble = self.prior.enter;
                self.sum = 0.0;
                self.alarm = None;
                false
            }
            _ => false,
        }
    }

    /// The trouble that is being alarmed about, if any.
    pub fn trouble(&self) -> Option<Trouble> {
        self.alarm?;
        Some(Trouble {
            since: self.since,
            failures: self.failures,
            trials: self.trials - self.since,
            usual: self.usual(),
            strength: self.sum / LIMIT,
        })
    }

    /// Probability that the next trial goes wrong.
    pub fn next(&self) -> f64 {
        self.in_trouble * self.troubled() + (1.0 - self.in_trouble) * self.usual()
    }

    /// Probability of being in trouble at the next trial.
    pub fn in_trouble(&self) -> f64 {
        self.in_trouble
    }

    /// Probability that any of the next `trials` goes wrong, where the next one does with probability `next`.
    pub fn any(&self, trials: f64, next: f64) -> f64 {
        let (usual, troubled) = (self.usual(), self.troubled());
        // The share of trouble that explains `next`, which a learned model may have put elsewhere.
        let share = if troubled > usual { ((next - usual) / (troubled - usual)).clamp(0.0, 1.0) } else { 0.0 };
        let rest = (trials - 1.0).max(0.0);
        let later = share * (1.0 - troubled).powf(rest) + (1.0 - share) * (1.0 - usual).powf(rest);
        (1.0 - (1.0 - next) * later).clamp(next.min(1.0), 1.0)
    }

    /// 80 % interval of the rate around `p`, from as many trials as stand behind it.
    pub fn interval(&self, p: f64) -> (f64, f64) {
        let usual = self.bad + self.good + self.prior.bad + self.prior.good;
        let troubled = self.trouble_bad + self.trouble_good + self.prior.trouble_bad + self.prior.trouble_good;
        // Trials behind the estimate: those of either state, as far as each speaks.
        let weight = 1.0 / (self.in_trouble / troubled + (1.0 - self.in_trouble) / usual);
        beta_interval(p, weight)
    }

    /// Share that went wrong in all trials so far; `None` before the first.
    pub fn frequency(&self) -> Option<f64> {
        (self.trials > 0).then(|| self.total_failures as f64 / self.trials as f64)
    }

    /// Trials that went wrong.
    pub fn wrong(&self) -> usize {
        self.total_failures
    }

    /// Trials seen.
    pub fn trials(&self) -> usize {
        self.trials
    }

    /// Chart value over its limit, for the learned model.
    pub fn pressure(&self) -> f64 {
        self.sum / LIMIT
    }
}

/// 80 % interval of a probability `p` that stands on `trials` trials (Jeffreys' half a success and half a failure are
/// added, so that "never so far" is not "never"). Contains `p`; never leaves 0 to 1.
pub fn beta_interval(p: f64, trials: f64) -> (f64, f64) {
    match Beta::new(p * trials + 0.5, (1.0 - p) * trials + 0.5) {
        Ok(beta) => (beta.inverse_cdf(0.1).clamp(0.0, p), beta.inverse_cdf(0.9).clamp(p, 1.0)),
        Err(_) => (0.0, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fed(outcomes: impl IntoIterator<Item = bool>) -> (Rate, usize) {
        let mut rate = Rate::new(Prior::default());
        let alarms = outcomes.into_iter().map(|w| usize::from(rate.observe(w))).sum();
        (rate, alarms)
    }

    fn good(n: usize) -> impl Iterator<Item = bool> {
        std::iter::repeat_n(false, n)
    }

    #[test]
    fn one_failure_after_many_successes_is_no_alarm() {
        let (rate, alarms) = fed(good(200).chain([true]));
        assert_eq!(alarms, 0);
        assert!(rate.trouble().is_none());
    }

    #[test]
    fn three_failures_in_a_row_are_an_alarm_and_are_counted() {
        let (rate, alarms) = fed(good(60).chain([true; 3]));
        assert_eq!(alarms, 1);
        let trouble = rate.trouble().expect("it goes on");
        assert_eq!((trouble.failures, trouble.trials, trouble.since), (3, 3, 60));
        assert!(rate.next() > 0.2);
    }

    #[test]
    fn the_alarm_ends_after_a_row_of_successes() {
        let (rate, alarms) = fed(good(60).chain([true; 4]).chain(good(14)));
        assert_eq!(alarms, 1);
        assert!(rate.trouble().is_none());
    }

    #[test]
    fn failures_that_come_as_rarely_as_ever_are_no_alarm() {
        let (_, alarms) = fed((0..600).map(|i| i % 30 == 29));
        assert_eq!(alarms, 0);
    }

    #[test]
    fn a_job_that_always_fails_is_reported_once_and_stays_reported() {
        let (rate, alarms) = fed(good(40).chain([true; 400]));
        assert_eq!(alarms, 1);
        assert!(rate.trouble().is_some());
        assert!(rate.next() > 0.8);
    }

    #[test]
    fn a_job_that_long_fails_two_times_in_five_is_then_how_it_is() {
        let (rate, alarms) = fed(good(40).chain((0..400).map(|i| i % 5 < 2)));
        assert_eq!(alarms, 1);
        assert!(rate.trouble().is_none());
        assert!((0.3..0.6).contains(&rate.next()), "{}", rate.next());
    }

    #[test]
    fn a_success_of_a_job_that_always_failed_is_no_alarm() {
        let (rate, alarms) = fed([true; 300].into_iter().chain([false, false, false]));
        assert_eq!(alarms, 1, "only the one of its beginning");
        assert!(rate.trouble().is_none(), "three successes in a row end it");
    }

    #[test]
    fn the_prior_is_learned_from_many_jobs_and_leaves_out_those_in_trouble() {
        let healthy: Vec<Rate> = (0..20).map(|j| fed((0..200).map(|i| (i + j) % 40 == 0)).0).collect();
        let mut all = healthy.clone();
        all.extend((0..10).map(|_| fed(good(30).chain([true; 100])).0));
        let learned = Prior::default().learn(&all);
        let mean = learned.bad / (learned.bad + learned.good);
        assert!((0.018..0.032).contains(&mean), "{mean}");
        assert_eq!(Prior::default().learn(&healthy[..5]), Prior::default());
    }

    #[test]
    fn a_stored_prior_that_is_no_prior_is_recognised() {
        assert!(Prior::default().is_sound());
        for broken in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            assert!(!Prior { bad: broken, ..Prior::default() }.is_sound());
            assert!(!Prior { enter: broken, ..Prior::default() }.is_sound());
        }
    }

    #[test]
    fn what_never_happened_in_sixty_trials_is_not_said_never_to_happen() {
        let (low, high) = beta_interval(0.0, 60.0);
        assert!(low.abs() < 1e-12 && (0.01..0.04).contains(&high), "{high}");
        assert!(beta_interval(1.0, 60.0).0 < 0.99);
    }

    proptest! {
        #[test]
        fn probabilities_stay_probabilities(outcomes in proptest::collection::vec(any::<bool>(), 0..400), trials in 0.0..1e4_f64) {
            let (rate, _) = fed(outcomes);
            let p = rate.next();
            prop_assert!(p > 0.0 && p < 1.0);
            let (low, high) = rate.interval(p);
            prop_assert!(0.0 <= low && low <= p && p <= high && high <= 1.0);
            let any = rate.any(trials, p);
            prop_assert!(any >= p - 1e-12 && any <= 1.0);
            prop_assert!(rate.any(trials + 1.0, p) >= any - 1e-12);
        }

        #[test]
        fn a_failure_never_makes_the_next_one_less_likely_than_a_success_does(outcomes in proptest::collection::vec(prop::bool::weighted(0.1), 0..200)) {
            let (rate, _) = fed(outcomes);
            let (mut bad, mut good) = (rate.clone(), rate);
            bad.observe(true);
            good.observe(false);
            prop_assert!(bad.next() >= good.next());
        }
    }
}
