//! heal does no harm: workers die at every step, runs of healer are killed, stopped, cut off and robbed of their lease,
//! and after every round nothing may have been sent twice that any ledger knew of, nothing be lost, nothing be changed
//! without its journal, and nothing be left that could be decided.
//!
//! The short form runs with the other tests. `scripts/chaos` runs as many rounds as one likes; the same seed gives the
//! same posts, deaths and faults (the threads still race each other).

mod ground;
mod proof;
mod round;
mod table;

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use proof::Found;
use round::{Control, Lane, Orders, Tally};

use crate::support::poster::KillPoint;

/// What many rounds together gave.
#[derive(Debug, Default)]
struct Campaign {
    rounds: u64,
    heals: u64,
    disturbed: u64,
    deaths: [u64; 5],
    found: Found,
}

impl Campaign {
    /// Runs rounds `from` to `from + rounds` in several lanes.
    fn run(from: u64, rounds: u64, lanes: u64, orders: Orders) -> Self {
        let (next, all, begun) = (AtomicU64::new(from), Mutex::new(Self::default()), Instant::now());
        thread::scope(|scope| {
            for _ in 0..lanes {
                scope.spawn(|| {
                    let mut lane = Lane::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= from + rounds {
                            return;
                        }
                        let tally = lane.run(number, orders);
                        let mut all = all.lock().expect("no lane panics");
                        all.add(&tally);
                        if all.rounds.is_multiple_of(200) {
                            let rate = all.rounds as f64 / begun.elapsed().as_secs_f64();
                            eprintln!("{} rounds, {rate:.1} a second, {} violations", all.rounds, all.found.violations);
                        }
                    }
                });
            }
        });
        all.into_inner().expect("no lane panics")
    }

    fn add(&mut self, tally: &Tally) {
        self.rounds += 1;
        self.heals += tally.heals;
        self.disturbed += tally.disturbed;
        for (sum, deaths) in self.deaths.iter_mut().zip(tally.deaths) {
            *sum += deaths;
        }
        self.found.add(&tally.found);
    }

    /// One line for machines.
    fn result(&self, orders: Orders) -> String {
        let found = &self.found;
        let mut line = format!(
            "RESULT rounds={} violations={} double_posts={} untold_double_posts={} waiting={} heals={} disturbed={}",
            self.rounds,
            found.violations,
            found.double_posts,
            found.untold_double_posts,
            found.waiting,
            self.heals,
            self.disturbed
        );
        for (point, deaths) in KillPoint::ALL.iter().zip(self.deaths) {
            let _ = write!(line, " died_{}={deaths}", point.name());
        }
        let _ = write!(line, " cut_short={} skipped={} in_doubt={}", found.cut_short, found.skipped, found.in_doubt);
        for (code, times) in &found.exits {
            let _ = write!(line, " exit_{}={times}", if *code < 0 { "killed".to_owned() } else { code.to_string() });
        }
        for (action, times) in &found.changes {
            let _ = write!(line, " {action}={times}");
        }
        let control = orders.control.map_or("none", Control::name);
        let _ = write!(line, " control={control} seed={}", orders.seed);
        line
    }

    fn words(&self) -> String {
        self.found.words.join("\n")
    }
}

const HEALTHY: Orders = Orders { seed: 1, kill_point: None, control: None };

/// Rounds of the short form: each kill point is met some hundreds of times.
const SHORT: u64 = 200;

#[test]
fn a_few_hundred_rounds_do_no_harm() {
    let campaign = Campaign::run(0, SHORT, 3, HEALTHY);
    assert_eq!(campaign.found.violations, 0, "{}\n{}", campaign.words(), campaign.result(HEALTHY));
    for (point, deaths) in KillPoint::ALL.iter().zip(campaign.deaths) {
        assert!(deaths > 0, "no worker died at {}", point.name());
    }
    for action in [
        "reset_status_to_queued",
        "mark_posted",
        "mark_failed",
        "fill_external_id",
        "archive_old_failed",
        "move_to_archive",
    ] {
        assert!(campaign.found.changes.contains_key(action), "healer never did {action}: {}", campaign.result(HEALTHY));
    }
}

/// Runs rounds without a rule until the kit has noticed, at most so many.
fn is_caught(control: Control, most: u64) {
    let orders = Orders { control: Some(control), ..HEALTHY };
    let mut from = 0;
    while from < most {
        let campaign = Campaign::run(from, 10, 1, orders);
        let seen = if control.double_posts() { campaign.found.double_posts } else { campaign.found.violations };
        if seen > 0 {
            return;
        }
        from += 10;
    }
    panic!("{most} rounds with {} and nothing was noticed", control.name());
}

#[test]
fn the_rule_that_healer_replaces_is_caught() {
    is_caught(Control::OldRule, 100);
}

#[cfg(feature = "chaos-controls")]
#[test]
fn healer_without_its_status_check_is_caught() {
    is_caught(Control::StatusCheck, 1_000);
}

#[cfg(feature = "chaos-controls")]
#[test]
fn healer_without_its_ledgers_is_caught() {
    is_caught(Control::Ledgers, 100);
}

#[cfg(feature = "chaos-controls")]
#[test]
fn healer_that_does_not_ask_again_when_it_writes_is_caught() {
    is_caught(Control::LateEvidence, 1_000);
}

#[cfg(feature = "chaos-controls")]
#[test]
fn healer_without_the_transaction_of_its_journal_is_caught() {
    is_caught(Control::JournalTransaction, 100);
}

#[cfg(not(feature = "chaos-controls"))]
#[test]
fn a_healer_as_it_is_released_has_no_switch_that_takes_a_rule_out() {
    let binary = std::fs::read(env!("CARGO_BIN_EXE_healer")).expect("the binary is read");
    let switch = b"HEALER_CHAOS_CONTROL";
    assert!(!binary.windows(switch.len()).any(|window| window == switch));
}

/// What `scripts/chaos` runs. The arguments come as one variable: `rounds=… seed=… lanes=… from=… kill-point=… control=… table=…`.
#[test]
#[ignore = "the long form: scripts/chaos"]
fn the_long_form() {
    let arguments = std::env::var("HEALER_CHAOS").expect("scripts/chaos says how many rounds");
    let value = |key: &str| {
        arguments
            .split_whitespace()
            .find_map(|word| word.split_once('=').filter(|(name, _)| *name == key))
            .map(|(_, v)| v)
    };
    let number = |key: &str, default: u64| value(key).map_or(default, |text| text.parse().expect("a number"));
    let out = std::env::var("HEALER_CHAOS_RESULT").expect("scripts/chaos says where the result goes");
    let tell = |text: &str| {
        let mut file = OpenOptions::new().create(true).append(true).open(&out).expect("the result is written");
        writeln!(file, "{text}").expect("the result is written");
    };
    if let Some(posts) = value("table") {
        tell(&table::measure(posts.parse().expect("a number")));
        return;
    }
    let orders = Orders {
        seed: number("seed", 1),
        kill_point: value("kill-point")
            .map(|name| *KillPoint::ALL.iter().find(|point| point.name() == name).expect("a kill point")),
        control: value("control")
            .map(|name| *Control::ALL.iter().find(|control| control.name() == name).expect("a control")),
    };
    assert!(
        cfg!(feature = "chaos-controls") || matches!(orders.control, None | Some(Control::OldRule)),
        "this control needs the feature chaos-controls"
    );
    let campaign = Campaign::run(number("from", 0), number("rounds", 1_000), number("lanes", 2), orders);
    let words = campaign.words();
    if !words.is_empty() {
        tell(&words);
    }
    tell(&campaign.result(orders));
    match orders.control {
        None => assert_eq!(campaign.found.violations, 0),
        Some(control) if control.double_posts() => assert!(campaign.found.double_posts > 0, "it was not caught"),
        Some(_) => assert!(campaign.found.violations > 0, "it was not caught"),
    }
}
