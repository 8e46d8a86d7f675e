//! One learned model over all jobs: a ridge-regularised logistic regression for "the next run fails".
//!
//! It starts from the simple forecast (a feature) and learns what the simple one cannot know: how trouble looks in this
//! system. It is trained from all runs, tried on jobs (or, with few jobs, on newer runs) that it has not seen, and
//! used only where it beat the simple forecast there by more than chance. Limits: it is linear in its features, and
//! training uses at most [`MAX_ROWS`] rows.

use super::failure::Prior;
use super::history::{History, Job, Outcome};
use super::monitor::{FEATURE_NAMES, FEATURES, Monitor};
use serde::{Deserialize, Serialize};

/// Version of the features and of the meaning of the weights; a stored model of another version is not used.
pub const VERSION: u32 = 1;
/// Rows below which nothing is learned: sixteen weights need at least that.
pub const MIN_ROWS: usize = 400;
/// Failures below which nothing is learned, for the same reason.
pub const MIN_FAILURES: usize = 20;
/// Newest rows used: training stays below a second.
pub const MAX_ROWS: usize = 100_000;
/// Runs of a job before its rows are used: the abstention limit.
pub const WARM_UP: usize = 8;
/// Ridge on standardised features: worth four rows against each weight.
const RIDGE: f64 = 4.0;
/// The model's word counts this much, the simple forecast's the rest: the squared error of a mean is never above the
/// mean of the errors, and the simple forecast holds the model back on jobs in which nothing ever happened.
const LEARNED_SHARE: f64 = 0.6;
/// Newton steps; it converges in six to eight.
const STEPS: usize = 25;
/// Jobs from which on whole jobs are held out; below, the newest part of each.
const MIN_JOBS: usize = 12;
/// Every fourth job, or the newest quarter of the runs, is held out.
const HELD_OUT: usize = 4;

/// How a model did on runs that it had not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Runs.
    pub runs: usize,
    /// Mean squared error of the simple forecast.
    pub brier_simple: f64,
    /// Mean squared error of the model.
    pub brier_model: f64,
    /// Standard error of the difference.
    pub doubt: f64,
}

impl HeldOut {
    /// Whether the model was better by more than one standard error.
    pub fn is_better(&self) -> bool {
        self.runs > 0 && self.brier_simple - self.brier_model > self.doubt
    }
}

/// A trained model, as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// [`VERSION`] at training.
    pub version: u32,
    /// Names of the features at training.
    pub features: Vec<String>,
    /// Rows it was trained on.
    pub rows: usize,
    /// Failures among them.
    pub failures: usize,
    /// Weight of each standardised feature.
    pub weights: Vec<f64>,
    /// Weight of the constant.
    pub intercept: f64,
    /// Mean of each feature.
    pub means: Vec<f64>,
    /// Standard deviation of each feature.
    pub scales: Vec<f64>,
    /// How it did on runs that it had not seen.
    pub held_out: HeldOut,
}

/// One row: what was known before a run, the simple forecast and what came.
#[derive(Clone, Debug)]
struct Row {
    job: usize,
    at: i64,
    seen: [f64; FEATURES],
    simple: f64,
    failed: bool,
}

impl Model {
    /// Trains on cleaned histories; `None` if there is too little to learn from.
    pub fn train<'a>(jobs: impl IntoIterator<Item = (&'a Job, &'a History)>, prior: Prior) -> Option<Self> {
        let mut rows = Vec::new();
        let mut count = 0;
        for (number, (job, history)) in jobs.into_iter().enumerate() {
            gather(number, job, history, prior, &mut rows);
            count = number + 1;
        }
        rows.sort_by_key(|r| (r.at, r.job));
        let excess = rows.len().saturating_sub(MAX_ROWS);
        rows.drain(..excess);
        let failures = rows.iter().filter(|r| r.failed).count();
        if rows.len() < MIN_ROWS || failures < MIN_FAILURES {
            return None;
        }
        let newest = rows.len() - rows.len() / HELD_OUT;
        let mut known = Vec::new();
        let mut unseen = Vec::new();
        for (i, row) in rows.iter().enumerate() {
            let out = if count >= MIN_JOBS { row.job % HELD_OUT == HELD_OUT - 1 } else { i >= newest };
            if out { unseen.push(row) } else { known.push(row) }
        }
        let trial = Self::fit(&known)?;
        let held_out = trial.compare(&unseen);
        let all: Vec<&Row> = rows.iter().collect();
        let mut model = Self::fit(&all)?;
        model.held_out = held_out;
        Some(model)
    }

    /// Whether it may be used: same version and features, finite, and better than the simple forecast on unseen runs.
    pub fn in_use(&self) -> bool {
        self.version == VERSION
            && self.features.iter().map(String::as_str).eq(FEATURE_NAMES)
            && [&self.weights, &self.means, &self.scales]
                .iter()
                .all(|v| v.len() == FEATURES && v.iter().all(|x| x.is_finite()))
            && self.scales.iter().all(|s| *s > 0.0)
            && self.intercept.is_finite()
            && self.held_out.is_better()
    }

    /// Probability that the next run fails, of the features before it.
    pub fn probability(&self, seen: &[f64; FEATURES]) -> f64 {
        let sum: f64 = seen
            .iter()
            .zip(&self.means)
            .zip(self.scales.iter().zip(&self.weights))
            .map(|((x, mean), (scale, weight))| weight * ((x - mean) / scale).clamp(-8.0, 8.0))
            .sum();
        let learned = 1.0 / (1.0 + (-(self.intercept + sum)).exp());
        let simple = 1.0 / (1.0 + (-seen[0]).exp());
        LEARNED_SHARE * learned + (1.0 - LEARNED_SHARE) * simple
    }

    fn compare(&self, rows: &[&Row]) -> HeldOut {
        let n = rows.len() as f64;
        if rows.is_empty() {
            return HeldOut::default();
        }
        let (mut simple, mut model, mut squares) = (0.0, 0.0, 0.0);
        for row in rows {
            let came = f64::from(u8::from(row.failed));
            let a = (row.simple - came).powi(2);
            let b = (self.probability(&row.seen) - came).powi(2);
            simple += a;
            model += b;
            squares += (a - b).powi(2);
        }
        let mean = (simple - model) / n;
        let doubt = ((squares / n - mean * mean).max(0.0) / n).sqrt();
        HeldOut { runs: rows.len(), brier_simple: simple / n, brier_model: model / n, doubt }
    }

    /// Newton's method on the penalised likelihood.
    fn fit(rows: &[&Row]) -> Option<Self> {
        const SIZE: usize = FEATURES + 1;
        let n = rows.len() as f64;
        let mut means = vec![0.0; FEATURES];
        let mut scales = vec![0.0; FEATURES];
        for row in rows {
            for (mean, x) in means.iter_mut().zip(&row.seen) {
                *mean += x / n;
            }
        }
        for row in rows {
            for (i, x) in row.seen.iter().enumerate() {
                scales[i] += (x - means[i]).powi(2) / n;
            }
        }
        for scale in &mut scales {
            // A feature that never varies gets weight 0, whatever its scale.
            *scale = if *scale > 1e-12 { scale.sqrt() } else { 1.0 };
        }
        let standard: Vec<[f64; SIZE]> = rows
            .iter()
            .map(|row| {
                let mut x = [1.0; SIZE];
                for i in 0..FEATURES {
                    x[i + 1] = ((row.seen[i] - means[i]) / scales[i]).clamp(-8.0, 8.0);
                }
                x
            })
            .collect();
        let mut beta = [0.0; SIZE];
        for _ in 0..STEPS {
            let mut gradient = [0.0; SIZE];
            let mut hessian = [[0.0; SIZE]; SIZE];
            for (x, row) in standard.iter().zip(rows) {
                let sum: f64 = x.iter().zip(&beta).map(|(x, b)| x * b).sum();
                let p = 1.0 / (1.0 + (-sum).exp());
                let error = f64::from(u8::from(row.failed)) - p;
                let weight = (p * (1.0 - p)).max(1e-9);
                for i in 0..SIZE {
                    gradient[i] += x[i] * error;
                    for j in 0..=i {
                        hessian[i][j] += weight * x[i] * x[j];
                    }
                }
            }
            for i in 1..SIZE {
                gradient[i] -= RIDGE * beta[i];
                hessian[i][i] += RIDGE;
            }
            let step = solve(&mut hessian, gradient)?;
            let mut largest = 0.0_f64;
            for (b, s) in beta.iter_mut().zip(step) {
                // A long step from a flat start would overshoot.
                *b += s.clamp(-2.0, 2.0);
                largest = largest.max(s.abs());
            }
            if largest < 1e-7 {
                break;
            }
        }
        Some(Self {
            version: VERSION,
            features: FEATURE_NAMES.iter().map(ToString::to_string).collect(),
            rows: rows.len(),
            failures: rows.iter().filter(|r| r.failed).count(),
            weights: beta[1..].to_vec(),
            intercept: beta[0],
            means,
            scales,
            held_out: HeldOut::default(),
        })
    }
}

/// Solves a symmetric positive system by Cholesky; the lower triangle of `a` is given and overwritten.
fn solve<const N: usize>(a: &mut [[f64; N]; N], mut b: [f64; N]) -> Option<[f64; N]> {
    for i in 0..N {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| a[i][k] * a[j][k]).sum();
            let rest = a[i][j] - dot;
            if i == j {
                if rest.is_nan() || rest <= 0.0 {
                    return None;
                }
                a[i][i] = rest.sqrt();
            } else {
                a[i][j] = rest / a[j][j];
            }
        }
    }
    for i in 0..N {
        let dot: f64 = (0..i).map(|k| a[i][k] * b[k]).sum();
        b[i] = (b[i] - dot) / a[i][i];
    }
    for i in (0..N).rev() {
        let dot: f64 = (i + 1..N).map(|k| a[k][i] * b[k]).sum();
        b[i] = (b[i] - dot) / a[i][i];
    }
    Some(b)
}

/// Replays one job and notes a row for each decided run after the warm-up.
fn gather(number: usize, job: &Job, history: &History, prior: Prior, rows: &mut Vec<Row>) {
    let mut monitor = Monitor::new(job, prior);
    for run in &history.runs {
        let decided = matches!(run.outcome, Outcome::Success | Outcome::Failure);
        if decided && monitor.decided() >= WARM_UP {
            rows.push(Row {
                job: number,
                at: run.started_at,
                seen: monitor.features(run.started_at),
                simple: monitor.failure().next(),
                failed: run.outcome == Outcome::Failure,
            });
        }
        monitor.observe(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::history::Run;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const MINUTE: i64 = 60_000_000;

    /// Jobs in which a failure is followed by another with probability `again`, and otherwise comes in one of 25 runs.
    fn fleet(jobs: usize, runs: usize, again: f64, seed: u64) -> Vec<(Job, History)> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..jobs)
            .map(|j| {
                let mut failed = false;
                let runs: Vec<Run> = (0..runs)
                    .map(|i| {
                        failed = rng.random::<f64>() < if failed { again } else { 0.04 };
                        let outcome = if failed { Outcome::Failure } else { Outcome::Success };
                        let at = i64::try_from(i).expect("small") * 15 * MINUTE;
                        Run::new(at, Some(rng.random_range(900.0..1100.0)), outcome)
                    })
                    .collect();
                (Job::named(format!("job {j}")), History::clean(&runs, i64::MAX))
            })
            .collect()
    }

    fn train(fleet: &[(Job, History)]) -> Option<Model> {
        Model::train(fleet.iter().map(|(j, h)| (j, h)), Prior::default())
    }

    #[test]
    fn it_learns_what_the_simple_forecast_does_not_know_and_is_then_used() {
        let model = train(&fleet(24, 200, 0.8, 1)).expect("enough to learn from");
        assert!(model.held_out.brier_model < model.held_out.brier_simple);
        assert!(model.in_use());
    }

    #[test]
    fn with_too_little_to_learn_from_there_is_no_model() {
        assert!(train(&[]).is_none());
        assert!(train(&fleet(2, 100, 0.5, 2)).is_none());
    }

    #[test]
    fn jobs_that_never_fail_teach_nothing() {
        let mut jobs = fleet(20, 200, 0.0, 3);
        for run in jobs.iter_mut().flat_map(|(_, h)| h.runs.iter_mut()) {
            run.outcome = Outcome::Success;
        }
        assert!(train(&jobs).is_none());
    }

    #[test]
    fn a_model_that_did_not_beat_the_simple_forecast_is_not_used() {
        let mut model = train(&fleet(24, 200, 0.8, 4)).expect("enough to learn from");
        model.held_out.brier_model = model.held_out.brier_simple;
        assert!(!model.in_use());
    }

    #[test]
    fn it_survives_being_stored_and_another_version_is_not_used() {
        let model = train(&fleet(24, 200, 0.8, 5)).expect("enough to learn from");
        let text = serde_json::to_string(&model).expect("serialises");
        let mut back: Model = serde_json::from_str(&text).expect("is read back");
        assert!(back.in_use());
        back.version += 1;
        assert!(!back.in_use());
        back.version -= 1;
        back.weights.pop();
        assert!(!back.in_use());
    }

    #[test]
    fn few_jobs_are_tried_on_their_newest_runs() {
        let model = train(&fleet(4, 400, 0.8, 6)).expect("enough to learn from");
        assert_eq!(model.held_out.runs, model.rows / HELD_OUT);
    }

    #[test]
    fn the_solver_solves() {
        let mut a = [[4.0, 0.0], [1.0, 3.0]];
        let x = solve(&mut a, [1.0, 2.0]).expect("positive");
        assert!((4.0 * x[0] + x[1] - 1.0).abs() < 1e-12 && (x[0] + 3.0 * x[1] - 2.0).abs() < 1e-12);
        assert!(solve(&mut [[1.0, 0.0], [2.0, 1.0]], [1.0, 1.0]).is_none());
    }
}
