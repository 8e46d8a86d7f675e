//! Measures the forecasting core on simulated jobs whose truth is known.
//!
//! `cargo bench --bench forecast -- [--seed N] [--replications N] [--intervals 5,15,…] [--horizon N] [--rhythm 0.2]
//! [--score-runs N]`
//!
//! The simulator. A job runs every 5, 15, 20, 120, 240 or 360 minutes (`--intervals`), each start late or early by up to
//! a tenth of that. Durations are log-normal: median log-uniform from 5 to 150 s, spread of the log uniform from 0.3 to
//! 0.8; its time limit is 300 s. Every second job has its interval configured,
//! the others' is learned. A run fails with a probability uniform from 0.5 to 5 %. The history before monitoring
//! begins has 20 to 200 runs (uniform). A fault begins 0 to 20 runs into monitoring and is watched for `--horizon` runs.
//!
//! Faults: *failing* (2 % of runs fail, then 30 %), *drift* (3 % longer each run), *step* (× 1.6), *spread* (the spread of
//! the log doubles), *missed* (every second run, at random, does not start), *silent* (no run starts any more), *flapping*
//! (failing and working take turns, changing at each run with a probability of 35 %).
//! Healthy: *plain*; *tails* (log-durations with Student's t of 3 degrees, same spread of the middle);
//! *daily* (durations × exp(`--rhythm` · sin of the hour)); *few* (a history of 8 to 19 runs).
//!
//! Delay: runs (slots, where runs are missing) from the fault's first run to the first alarm that *begins* then, counting
//! from 1; the horizon if none does. The fixed rules ("mean above 5 min in 24 h", "more than half failed in 24 h") are
//! taken as having seen the fault as soon as they hold at all, even if they held before it. False alarms are the
//! beginnings of alarms of any method in healthy jobs while monitored. The plain EWMA has weight 0.2 and limits of 3
//! standard deviations, over durations and over failures, its mean and deviation taken from the history.
//!
//! Brier: the forecast of the next run's failure, for each monitored run. The reference is the running frequency k/n of
//! the job. The oracle knows the true probability of each run (in flapping jobs that of a change). The learned model is
//! trained on another fleet of the same kind, drawn with another seed (six jobs of each kind and frequency); the line
//! "few jobs" shows the same with one job of each kind at one frequency to learn from.
//!
//! Capacity: 40 to 300 samples, one every 15 minutes, in shares of the limit. *Gauge*: a line with normal noise of 0.5
//! to 3 % of the limit, from up to half of the value to 40–90 %; *leak*: the same, level at first, the rise beginning in
//! the first 60 %; *sequence*: exponential steps. Not to be foretold: *flat* (noise), *backlog* (falls back to its mean,
//! correlation 0.9), *wander* (a random walk without drift), *saw* (rises and is emptied at 70 %). The truth is the first
//! sample at or above the limit.

// Counts of slots and simulated times stay far below 2^52.
#![expect(clippy::cast_possible_wrap, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

use healer::forecast::capacity::{self, Sample};
use healer::forecast::history::{History, Job, Outcome, Run};
use healer::forecast::monitor::Monitor;
use healer::forecast::{Knowledge, forecast};
use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, StandardNormal, StudentT};
use std::collections::VecDeque;
use std::time::Instant;

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 86_400_000_000;
const LIMIT_S: f64 = 300.0;
/// 2026-01-05 00:00 UTC, a Monday.
const START: i64 = 1_767_571_200_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Failing,
    Drift,
    Step,
    Spread,
    Missed,
    Silent,
    Flapping,
    Plain,
    Tails,
    Daily,
    Few,
}

const FAULTS: [Kind; 7] =
    [Kind::Failing, Kind::Drift, Kind::Step, Kind::Spread, Kind::Missed, Kind::Silent, Kind::Flapping];
const HEALTHY: [Kind; 4] = [Kind::Plain, Kind::Tails, Kind::Daily, Kind::Few];

#[derive(Clone)]
struct Arguments {
    seed: u64,
    replications: usize,
    intervals: Vec<i64>,
    horizon: usize,
    score_runs: usize,
    rhythm: f64,
}

impl Arguments {
    fn read() -> Self {
        let mut found = Self {
            seed: 1,
            replications: 200,
            intervals: vec![5, 15, 20, 120, 240, 360],
            horizon: 100,
            score_runs: 1_000_000,
            rhythm: 0.2,
        };
        let mut words = std::env::args().skip(1).filter(|w| w != "--bench");
        while let Some(word) = words.next() {
            let value = words.next().unwrap_or_else(|| stop(&format!("{word} needs a value")));
            let number = || value.parse::<usize>().unwrap_or_else(|_| stop(&format!("{word}: not a number: {value}")));
            match word.as_str() {
                "--seed" => found.seed = number() as u64,
                "--replications" => found.replications = number().max(1),
                "--horizon" => found.horizon = number().max(10),
                "--score-runs" => found.score_runs = number(),
                "--rhythm" => found.rhythm = value.parse().unwrap_or_else(|_| stop(&format!("--rhythm: {value}"))),
                "--intervals" => {
                    found.intervals = value
                        .split(',')
                        .map(|v| {
                            v.parse().ok().filter(|m| *m > 0).unwrap_or_else(|| stop(&format!("--intervals: {v}")))
                        })
                        .collect();
                }
                _ => stop(&format!("unknown argument {word}")),
            }
        }
        found
    }
}

fn stop(why: &str) -> ! {
    eprintln!("{why}");
    std::process::exit(2)
}

/// One slot of a simulated job's schedule.
struct Slot {
    /// When it was due (µs).
    due: i64,
    run: Option<Run>,
    /// True probability of failure of this run.
    truth: f64,
}

struct Simulated {
    kind: Kind,
    slots: Vec<Slot>,
    /// Slots before monitoring.
    history: usize,
    /// Slot in which the fault begins.
    onset: usize,
    interval: i64,
    /// Slots watched; beyond them the slots only tell how it goes on.
    end: usize,
}

fn simulate(kind: Kind, minutes: i64, a: &Arguments, beyond: usize, rng: &mut ChaCha8Rng) -> Simulated {
    let interval = minutes * MINUTE;
    let history = if kind == Kind::Few { rng.random_range(8..20) } else { rng.random_range(20..=200) };
    let onset = history + rng.random_range(0..=20_usize);
    let end = onset + a.horizon;
    let middle = (5.0_f64.ln() + rng.random::<f64>() * 30.0_f64.ln()) + 1000.0_f64.ln();
    let spread = rng.random_range(0.3..0.8);
    let usual = if kind == Kind::Failing { 0.02 } else { rng.random_range(0.005..0.05) };
    let begin = START + rng.random_range(0..DAY);
    // Three degrees: the heaviest tails that still have a variance.
    let tails = StudentT::new(3.0).expect("three degrees are valid");
    let mut down = false;
    let mut slots = Vec::with_capacity(end + beyond);
    for i in 0..end + beyond {
        let due = begin + interval * i as i64;
        let late = (rng.random_range(-0.1..0.1) * interval as f64) as i64;
        let faulty = i >= onset;
        let noise: f64 = if kind == Kind::Tails { tails.sample(rng) * 0.88 } else { StandardNormal.sample(rng) };
        let mut log = middle + spread * if faulty && kind == Kind::Spread { 2.0 * noise } else { noise };
        if faulty && kind == Kind::Drift {
            log += 1.03_f64.ln() * (i + 1 - onset) as f64;
        }
        if faulty && kind == Kind::Step {
            log += 1.6_f64.ln();
        }
        if kind == Kind::Daily {
            log += a.rhythm * ((due % DAY) as f64 / DAY as f64 * std::f64::consts::TAU).sin();
        }
        let truth = match kind {
            Kind::Failing if faulty => 0.3,
            Kind::Flapping if faulty && i == onset => 1.0,
            Kind::Flapping if faulty => {
                if down {
                    0.65
                } else {
                    0.35
                }
            }
            _ => usual,
        };
        let failed = rng.random::<f64>() < truth;
        down = failed;
        let lost = faulty && (kind == Kind::Silent || kind == Kind::Missed && rng.random::<f64>() < 0.5);
        let outcome = if failed { Outcome::Failure } else { Outcome::Success };
        let run = (!lost).then(|| Run::new(due + late, Some(log.exp()), outcome));
        slots.push(Slot { due, run, truth });
    }
    Simulated { kind, slots, history, onset, interval, end }
}

fn job(minutes: i64, sim: &Simulated) -> Job {
    let configured = sim.history.is_multiple_of(2);
    Job {
        name: format!("{:?}", sim.kind),
        expected_interval_s: configured.then_some(minutes as f64 * 60.0),
        time_limit_s: LIMIT_S,
        blind: Vec::new(),
    }
}

/// The fixed rules over the last 24 hours.
#[derive(Default)]
struct Fixed {
    runs: VecDeque<(i64, f64, bool)>,
}

impl Fixed {
    fn holds(&mut self, run: Option<&Run>, now: i64) -> bool {
        if let Some(run) = run {
            self.runs.push_back((run.started_at, run.duration_ms.unwrap_or(0.0), run.outcome == Outcome::Failure));
        }
        while self.runs.front().is_some_and(|r| r.0 < now - DAY) {
            self.runs.pop_front();
        }
        let n = self.runs.len() as f64;
        let mean = self.runs.iter().map(|r| r.1).sum::<f64>() / n;
        let failed = self.runs.iter().filter(|r| r.2).count() as f64;
        !self.runs.is_empty() && (mean > LIMIT_S * 1000.0 || failed > n / 2.0)
    }
}

/// A plain EWMA chart over durations and over failures.
#[derive(Default)]
struct Ewma {
    known: Vec<(f64, f64)>,
    limits: Option<[(f64, f64); 2]>,
    values: [f64; 2],
}

impl Ewma {
    const WEIGHT: f64 = 0.2;

    fn learn(&mut self, run: &Run) {
        self.known.push((run.duration_ms.unwrap_or(0.0), f64::from(u8::from(run.outcome == Outcome::Failure))));
    }

    fn holds(&mut self, run: Option<&Run>) -> bool {
        let limits = *self.limits.get_or_insert_with(|| {
            let stat = |f: fn(&(f64, f64)) -> f64| {
                let n = self.known.len() as f64;
                let mean = self.known.iter().map(f).sum::<f64>() / n;
                let var = self.known.iter().map(|k| (f(k) - mean).powi(2)).sum::<f64>() / n;
                (mean, mean + 3.0 * (var * Self::WEIGHT / (2.0 - Self::WEIGHT)).sqrt())
            };
            let limits = [stat(|k| k.0), stat(|k| k.1)];
            self.values = [limits[0].0, limits[1].0];
            limits
        });
        let Some(run) = run else { return false };
        let now = [run.duration_ms.unwrap_or(0.0), f64::from(u8::from(run.outcome == Outcome::Failure))];
        for (value, new) in self.values.iter_mut().zip(now) {
            *value += Self::WEIGHT * (new - *value);
        }
        self.values[0] > limits[0].1 || self.values[1] > limits[1].1
    }
}

#[derive(Clone, Copy, Default)]
struct Brier {
    reference: f64,
    simple: f64,
    used: f64,
    oracle: f64,
    runs: f64,
}

impl Brier {
    fn add(&mut self, other: &Brier) {
        self.reference += other.reference;
        self.simple += other.simple;
        self.used += other.used;
        self.oracle += other.oracle;
        self.runs += other.runs;
    }

    fn skill(&self, of: f64) -> f64 {
        1.0 - of / self.reference
    }
}

#[derive(Clone, Copy, Default)]
struct Covered {
    inside: usize,
    all: usize,
}

impl Covered {
    fn note(&mut self, inside: bool) {
        self.all += 1;
        self.inside += usize::from(inside);
    }

    fn add(&mut self, other: Covered) {
        self.all += other.all;
        self.inside += other.inside;
    }

    fn share(self) -> f64 {
        if self.all == 0 { f64::NAN } else { self.inside as f64 / self.all as f64 }
    }
}

/// What one watched job showed.
#[derive(Default)]
struct Watched {
    /// Slots from the fault to the alarm: ours, fixed rules, EWMA.
    delays: [usize; 3],
    /// Alarms that began, by method: failing, skipping, missing, slower, erratic.
    began: [usize; 5],
    fixed_began: usize,
    ewma_began: usize,
    monitored: usize,
    brier: Brier,
    durations: Covered,
    until: Covered,
}

fn watch(sim: &Simulated, minutes: i64, knowledge: &Knowledge) -> Watched {
    let job = job(minutes, sim);
    let mut monitor = Monitor::new(&job, knowledge.prior);
    let mut fixed = Fixed::default();
    let mut ewma = Ewma::default();
    let mut seen = Watched { delays: [sim.end - sim.onset; 3], ..Watched::default() };
    let mut found = [false; 3];
    let mut before = [false; 5];
    let (mut fixed_before, mut ewma_before) = (false, false);
    let mut past = Vec::new();
    for (i, slot) in sim.slots[..sim.end].iter().enumerate() {
        let monitored = i >= sim.history;
        let now = slot.due + sim.interval * 3 / 4;
        if let (Some(run), true) = (&slot.run, monitored) {
            let came = f64::from(u8::from(run.outcome == Outcome::Failure));
            let frequency = monitor.failure().frequency().unwrap_or(0.0);
            seen.brier.add(&Brier {
                reference: (frequency - came).powi(2),
                simple: (monitor.failure().next() - came).powi(2),
                used: (knowledge.next_failure(&monitor, run.started_at) - came).powi(2),
                oracle: (slot.truth - came).powi(2),
                runs: 1.0,
            });
            if let (Some(e), Some(ms), Outcome::Success) =
                (monitor.durations().expected(), run.duration_ms, run.outcome)
            {
                seen.durations.note((e.low..=e.high).contains(&ms));
            }
        }
        if let Some(run) = &slot.run {
            monitor.observe(run);
            past.push(*run);
            if !monitored {
                ewma.learn(run);
            }
        }
        let fixed_now = fixed.holds(slot.run.as_ref(), now);
        let active = [
            monitor.failing().is_some(),
            monitor.skipping().is_some(),
            monitor.missing_at(now).is_some(),
            monitor.slower().is_some(),
            monitor.durations().erratic().is_some(),
        ];
        if monitored {
            seen.monitored += usize::from(slot.run.is_some());
            let ewma_now = ewma.holds(slot.run.as_ref());
            let mut began = false;
            for (k, (now, was)) in active.iter().zip(before).enumerate() {
                if *now && !was {
                    began = true;
                    seen.began[k] += 1;
                }
            }
            seen.fixed_began += usize::from(fixed_now && !fixed_before);
            seen.ewma_began += usize::from(ewma_now && !ewma_before);
            ewma_before = ewma_now;
            if i >= sim.onset {
                for (k, now) in [began, fixed_now, ewma_now].into_iter().enumerate() {
                    if now && !found[k] {
                        found[k] = true;
                        seen.delays[k] = i + 1 - sim.onset;
                    }
                }
                if sim.kind == Kind::Drift && (i - sim.onset) % 5 == 4 {
                    note_until(sim, i, &job, &past, knowledge, now, &mut seen.until);
                }
            }
        }
        before = active;
        fixed_before = fixed_now;
    }
    seen
}

/// Compares the forecast time until the limit with when the limit is really passed.
fn note_until(
    sim: &Simulated,
    at: usize,
    job: &Job,
    past: &[Run],
    knowledge: &Knowledge,
    now: i64,
    covered: &mut Covered,
) {
    let Some(until) = forecast(job, past, knowledge, now).limit_in_runs else { return };
    let Some(high) = until.high else { return };
    let truth = sim.slots[at + 1..].iter().position(|s| {
        s.run.is_some_and(|r| r.outcome == Outcome::Success && r.duration_ms.is_some_and(|ms| ms > LIMIT_S * 1000.0))
    });
    let Some(truth) = truth else { return };
    let truth = truth as f64 + 1.0;
    covered.note(until.low <= truth && truth <= high);
}

fn median(values: &mut [usize]) -> f64 {
    values.sort_unstable();
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2] as f64,
        n => f64::midpoint(values[n / 2 - 1] as f64, values[n / 2] as f64),
    }
}

/// A fleet of every kind and frequency.
fn fleet(a: &Arguments, each: usize, beyond: usize, seed: u64) -> Vec<(i64, Simulated)> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut jobs = Vec::new();
    for kind in FAULTS.into_iter().chain(HEALTHY) {
        for minutes in &a.intervals {
            for _ in 0..each {
                let beyond = if kind == Kind::Drift { beyond } else { 0 };
                jobs.push((*minutes, simulate(kind, *minutes, a, beyond, &mut rng)));
            }
        }
    }
    jobs
}

fn train(a: &Arguments, each: usize, seed: u64) -> Knowledge {
    let histories: Vec<(Job, History)> = fleet(a, each, 0, seed)
        .into_iter()
        .map(|(minutes, sim)| {
            let runs: Vec<Run> = sim.slots.iter().filter_map(|s| s.run).collect();
            (job(minutes, &sim), History::clean(&runs, i64::MAX))
        })
        .collect();
    Knowledge::learn(histories.iter().map(|(j, h)| (j, h)))
}

fn main() {
    let a = Arguments::read();
    let began = Instant::now();
    let knowledge = train(&a, 6, a.seed.wrapping_add(1_000_003));
    match &knowledge.model {
        Some(m) => println!(
            "learned model: {} runs, {} failures; held out {} runs: Brier {:.5} simple, {:.5} model ± {:.5}; in use: {} ({:.1} s)",
            m.rows,
            m.failures,
            m.held_out.runs,
            m.held_out.brier_simple,
            m.held_out.brier_model,
            m.held_out.doubt,
            m.in_use(),
            began.elapsed().as_secs_f64()
        ),
        None => println!("learned model: too little to learn from"),
    }
    println!("prior learned: {:?}", knowledge.prior);
    let watched: Vec<(Kind, i64, Watched)> = fleet(&a, a.replications, 1500, a.seed)
        .into_iter()
        .map(|(minutes, sim)| (sim.kind, minutes, watch(&sim, minutes, &knowledge)))
        .collect();

    let false_per_1000 = print_false(&watched, &a.intervals);
    let (speedup, never_later) = print_delays(&a, &watched);
    let (share, nothing) = print_brier(&watched);
    let few = Arguments { intervals: vec![60], ..a.clone() };
    let small = train(&few, 1, a.seed.wrapping_add(2_000_003));
    println!(
        "few jobs: learned model in use: {}",
        small.model.as_ref().is_some_and(healer::forecast::hazard::Model::in_use)
    );
    let rewatched: Vec<(Kind, i64, Watched)> = fleet(&a, a.replications.div_ceil(10), 0, a.seed)
        .into_iter()
        .map(|(minutes, sim)| (sim.kind, minutes, watch(&sim, minutes, &small)))
        .collect();
    print_brier(&rewatched);
    let (durations, jobs_until) = print_coverage(&watched);
    let capacity_until = print_capacity(&a);
    let mut both = jobs_until;
    both.add(capacity_until);
    let until = both.share();
    println!("times until, both     {until:>8.3} of {}", both.all);
    let seconds = score(&a, &knowledge);
    println!("all in {:.1} s", began.elapsed().as_secs_f64());
    println!(
        "RESULT false_per_1000={false_per_1000:.3} speedup_median={speedup:.2} later_on_faults={never_later} brier_share_of_oracle={share:.3} brier_skill_nothing={nothing:.4} coverage80={durations:.3} coverage80_until={until:.3} score_1m_s={seconds:.2}"
    );
}

fn print_false(watched: &[(Kind, i64, Watched)], intervals: &[i64]) -> f64 {
    println!(
        "\nfalse alarms per 1,000 healthy runs\n{:<10}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>10}",
        "", "all", "failing", "skipping", "missing", "slower", "erratic", "fixed", "EWMA", "runs"
    );
    let line = |name: &str, of: &dyn Fn(Kind, i64) -> bool| {
        let chosen: Vec<&Watched> = watched.iter().filter(|w| of(w.0, w.1)).map(|w| &w.2).collect();
        let runs: usize = chosen.iter().map(|w| w.monitored).sum();
        let per = |count: usize| count as f64 * 1000.0 / runs as f64;
        let all = per(chosen.iter().map(|w| w.began.iter().sum::<usize>()).sum());
        print!("{name:<10}{all:>9.3}");
        for k in 0..5 {
            print!("{:>9.3}", per(chosen.iter().map(|w| w.began[k]).sum()));
        }
        println!(
            "{:>9.3}{:>9.3}{runs:>10}",
            per(chosen.iter().map(|w| w.fixed_began).sum()),
            per(chosen.iter().map(|w| w.ewma_began).sum())
        );
        all
    };
    for kind in HEALTHY {
        line(&format!("{kind:?}"), &|k, _| k == kind);
    }
    for minutes in intervals {
        line(&format!("{minutes} min"), &|k, m| m == *minutes && HEALTHY.contains(&k));
    }
    line("all", &|k, _| HEALTHY.contains(&k))
}

fn print_delays(a: &Arguments, watched: &[(Kind, i64, Watched)]) -> (f64, usize) {
    println!("\nmedian delay in runs (a fault not seen counts {}): ours / fixed rules / EWMA", a.horizon);
    print!("{:<10}", "");
    for minutes in &a.intervals {
        print!("{:>18}", format!("{minutes} min"));
    }
    println!("{:>18}{:>9}{:>8}", "all", "speedup", "seen");
    let mut later = 0;
    for kind in FAULTS {
        print!("{:<10}", format!("{kind:?}"));
        let of = |minutes: Option<i64>, k: usize| {
            let mut d: Vec<usize> = watched
                .iter()
                .filter(|w| w.0 == kind && minutes.is_none_or(|m| m == w.1))
                .map(|w| w.2.delays[k])
                .collect();
            median(&mut d)
        };
        for minutes in &a.intervals {
            print!("{:>18}", format!("{}/{}/{}", of(Some(*minutes), 0), of(Some(*minutes), 1), of(Some(*minutes), 2)));
        }
        let (ours, fixed) = (of(None, 0), of(None, 1));
        later += usize::from(ours > fixed);
        let mine: Vec<&Watched> = watched.iter().filter(|w| w.0 == kind).map(|w| &w.2).collect();
        let seen = mine.iter().filter(|w| w.delays[0] < a.horizon).count() as f64 / mine.len() as f64;
        println!("{:>18}{:>9.2}{:>7.0}%", format!("{ours}/{fixed}/{}", of(None, 2)), fixed / ours, seen * 100.0);
    }
    let pooled = |k: usize| {
        let mut d: Vec<usize> = watched.iter().filter(|w| FAULTS.contains(&w.0)).map(|w| w.2.delays[k]).collect();
        median(&mut d)
    };
    let (ours, fixed, ewma) = (pooled(0), pooled(1), pooled(2));
    println!("over all faults: {ours} / {fixed} / {ewma}; later than the fixed rules on {later} faults");
    (fixed / ours, later)
}

fn print_brier(watched: &[(Kind, i64, Watched)]) -> (f64, f64) {
    println!(
        "\nBrier of the next run's failure\n{:<12}{:>10}{:>10}{:>10}{:>10}{:>14}{:>14}{:>14}",
        "", "frequency", "simple", "used", "oracle", "skill used", "skill oracle", "share"
    );
    let line = |name: &str, of: &dyn Fn(Kind) -> bool| {
        let mut b = Brier::default();
        for w in watched.iter().filter(|w| of(w.0)) {
            b.add(&w.2.brier);
        }
        println!(
            "{name:<12}{:>10.5}{:>10.5}{:>10.5}{:>10.5}{:>14.4}{:>14.4}{:>14.3}   (simple {:.3})",
            b.reference / b.runs,
            b.simple / b.runs,
            b.used / b.runs,
            b.oracle / b.runs,
            b.skill(b.used),
            b.skill(b.oracle),
            b.skill(b.used) / b.skill(b.oracle),
            b.skill(b.simple) / b.skill(b.oracle)
        );
        b
    };
    line("Failing", &|k| k == Kind::Failing);
    line("Flapping", &|k| k == Kind::Flapping);
    let something = line("foretellable", &|k| k == Kind::Failing || k == Kind::Flapping);
    let nothing = line("nothing", &|k| HEALTHY.contains(&k));
    line("everything", &|_| true);
    (something.skill(something.used) / something.skill(something.oracle), nothing.skill(nothing.used))
}

fn print_coverage(watched: &[(Kind, i64, Watched)]) -> (f64, Covered) {
    println!("\ncoverage of 80 % intervals");
    let sum = |of: &dyn Fn(Kind) -> bool, what: fn(&Watched) -> Covered| {
        let mut c = Covered::default();
        for w in watched.iter().filter(|w| of(w.0)) {
            c.add(what(&w.2));
        }
        c
    };
    for kind in FAULTS.into_iter().chain(HEALTHY) {
        let c = sum(&|k| k == kind, |w| w.durations);
        println!("duration, {:<12}{:>8.3} of {}", format!("{kind:?}"), c.share(), c.all);
    }
    let durations = sum(&|_| true, |w| w.durations);
    let until = sum(&|_| true, |w| w.until);
    println!("duration, all         {:>8.3} of {}", durations.share(), durations.all);
    println!("runs until the limit  {:>8.3} of {}", until.share(), until.all);
    (durations.share(), until)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Gauge,
    Leak,
    Sequence,
    Flat,
    Backlog,
    Wander,
    Saw,
}

/// Values of a resource in shares of its limit, far beyond the history; and the length of the history.
fn resource(kind: Resource, rng: &mut ChaCha8Rng) -> (Vec<f64>, usize) {
    let n = rng.random_range(40..=300_usize);
    let end: f64 = rng.random_range(0.4..0.9);
    let start = end * rng.random_range(0.0..0.5);
    let from = if kind == Resource::Leak { n * rng.random_range(0..=60_usize) / 100 } else { 0 };
    let slope = (end - start) / (n - from) as f64;
    let noise = rng.random_range(0.005..0.03);
    let mut sum = if kind == Resource::Sequence { start } else { 0.0 };
    let values = (0..n * 12)
        .map(|i| {
            let e: f64 = StandardNormal.sample(rng);
            let step: f64 = Exp1.sample(rng);
            match kind {
                Resource::Gauge | Resource::Leak => start + slope * i.saturating_sub(from) as f64 + noise * e,
                Resource::Sequence => {
                    sum += slope * step;
                    sum
                }
                Resource::Flat => end + noise * e,
                Resource::Backlog => {
                    sum = 0.9 * sum + noise * e;
                    end + sum
                }
                Resource::Wander => {
                    sum += 0.3 * noise * e;
                    end + sum
                }
                Resource::Saw => {
                    sum += 0.03 * step;
                    if sum > 0.7 {
                        sum = 0.0;
                    }
                    sum
                }
            }
        })
        .collect();
    (values, n)
}

fn print_capacity(a: &Arguments) -> Covered {
    println!("\ncapacity: series, foretold, covered, median of high - low over the truth");
    let mut rng = ChaCha8Rng::seed_from_u64(a.seed.wrapping_add(5));
    let mut all = Covered::default();
    for kind in [
        Resource::Gauge,
        Resource::Leak,
        Resource::Sequence,
        Resource::Flat,
        Resource::Backlog,
        Resource::Wander,
        Resource::Saw,
    ] {
        let mut covered = Covered::default();
        let (mut told, mut widths) = (0, Vec::new());
        let series = a.replications * 5;
        for _ in 0..series {
            let (values, n) = resource(kind, &mut rng);
            if values[..n].iter().any(|v| *v >= 1.0) {
                continue;
            }
            let samples: Vec<Sample> = values[..n]
                .iter()
                .enumerate()
                .map(|(i, v)| Sample { at: START + 15 * MINUTE * i as i64, value: v * 400.0 })
                .collect();
            let Some(until) = capacity::forecast("r", 400.0, &samples, START + 15 * MINUTE * n as i64).until_s else {
                continue;
            };
            told += 1;
            let truth = values[n..].iter().position(|v| *v >= 1.0).map_or(f64::INFINITY, |i| (i + 1) as f64 * 900.0);
            if let Some(high) = until.high {
                covered.note(until.low <= truth && truth <= high);
                widths.push(((high - until.low) / truth * 1000.0) as usize);
            }
        }
        println!(
            "{:<10}{series:>7}{told:>7}{:>9.3}{:>9.2}",
            format!("{kind:?}"),
            covered.share(),
            median(&mut widths) / 1000.0
        );
        if matches!(kind, Resource::Gauge | Resource::Leak | Resource::Sequence) {
            all.add(covered);
        }
    }
    all
}

/// Scores job runs from raw history to forecast, as a pass does.
fn score(a: &Arguments, knowledge: &Knowledge) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(a.seed.wrapping_add(77));
    let kinds: Vec<Kind> = FAULTS.into_iter().chain(HEALTHY).collect();
    let mut jobs = Vec::new();
    let mut total = 0;
    while total < a.score_runs {
        let kind = kinds[jobs.len() % kinds.len()];
        let minutes = a.intervals[jobs.len() % a.intervals.len()];
        let sim = simulate(kind, minutes, a, 0, &mut rng);
        let runs: Vec<Run> = sim.slots.iter().filter_map(|s| s.run).take(a.score_runs - total).collect();
        total += runs.len();
        let now = sim.slots.last().map_or(START, |s| s.due);
        jobs.push((job(minutes, &sim), runs, now));
    }
    let began = Instant::now();
    let alarms: usize = jobs.iter().map(|(job, runs, now)| forecast(job, runs, knowledge, *now).alarms.len()).sum();
    let seconds = began.elapsed().as_secs_f64();
    println!("\nscored {total} runs of {} jobs in {seconds:.2} s ({alarms} alarms)", jobs.len());
    seconds
}
