//! How well error texts are grouped, how fast, and in how much memory.
//!
//! `cargo bench --bench templates -- DIR` reads every CSV of DIR (columns `Content` and `EventId`, as the `LogHub` sets
//! have them), groups each set with the one fixed configuration of healer and with a Drain from crates.io under generic
//! masks, and prints grouping accuracy (GA: share of lines whose group holds exactly the lines of their true event) and
//! the F1 of exactly recovered groups (FGA). `-- DIR --wrong` lists what was grouped wrongly. `-- DIR --growth` adds how
//! time and memory grow with the number of lines, for lines that repeat and for lines that never do.
//!
//! Speed is that of one thread from the message to its group. Memory is read from `/proc` and 0 elsewhere.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use healer::errors::fingerprint::{ErrorEvent, FingerprintId, Fingerprinter};
use healer::errors::group::{Grouper, Groups};
use logdrain::{Mask, Miner, builtin_masks};

/// Lines for a measurement of speed: long enough that the clock does not matter.
const SPEED_LINES: usize = 400_000;
/// Measurements of speed, of which the fastest counts: others use the machine as well.
const SPEED_ROUNDS: usize = 3;
/// Lines of the largest step of `--growth`, and the error events of the figure in the last line.
const EVENTS: usize = 1_000_000;

struct Set {
    name: String,
    lines: Vec<String>,
    truth: Vec<String>,
}

#[derive(Default)]
struct Score {
    found: usize,
    expected: usize,
    ga: f64,
    fga: f64,
    wrong: Vec<(String, usize)>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let Some(directory) = arguments.iter().find(|argument| !argument.starts_with("--")) else {
        return Err("usage: cargo bench --bench templates -- DIR [--growth] [--wrong]".into());
    };
    let asked = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let sets = read_sets(Path::new(directory))?;
    if sets.is_empty() {
        return Err(format!("no CSV with the columns Content and EventId in {directory}").into());
    }

    println!(
        "{:<14} {:>7} | {:>6} {:>7} {:>7} | {:>6} {:>7} {:>7}",
        "set", "groups", "healer", "GA", "FGA", "drain", "GA", "FGA"
    );
    let mut sums = [0.0; 4];
    for set in &sets {
        let (own, templates) = score_healer(set);
        let peer = score_drain(set)?;
        println!(
            "{:<14} {:>7} | {:>6} {:>7.4} {:>7.4} | {:>6} {:>7.4} {:>7.4}",
            set.name, own.expected, own.found, own.ga, own.fga, peer.found, peer.ga, peer.fga
        );
        for (sum, value) in sums.iter_mut().zip([own.ga, own.fga, peer.ga, peer.fga]) {
            *sum += value;
        }
        if asked("--wrong") {
            for (event, lines) in &own.wrong {
                println!("    {event}: {lines} lines in {}", templates.get(event).map_or("", String::as_str));
            }
        }
    }
    let means = sums.map(|sum| sum / sets.len() as f64);
    println!(
        "{:<14} {:>7} | {:>6} {:>7.4} {:>7.4} | {:>6} {:>7.4} {:>7.4}",
        "mean", "", "", means[0], means[1], "", means[2], means[3]
    );

    let lines: Vec<&str> =
        sets.iter().flat_map(|set| set.lines.iter().map(String::as_str)).cycle().take(SPEED_LINES).collect();
    let own_rate = fastest(lines.len(), || {
        black_box(group_lines(lines.iter().copied()));
    });
    let peer_rate = {
        let mut best = 0.0_f64;
        for _ in 0..SPEED_ROUNDS {
            let miner = drain()?;
            let started = Instant::now();
            for line in &lines {
                black_box(miner.add(line));
            }
            best = best.max(rate(lines.len(), started.elapsed()));
        }
        best
    };
    println!("\nspeed, one thread: healer {own_rate:.0} lines/s, drain {peer_rate:.0} lines/s");
    drop(lines);

    if asked("--growth") {
        growth(&sets);
    }

    let before = resident_mb("VmRSS");
    let events = Storm { number: 0, left: EVENTS };
    let started = Instant::now();
    let groups = group_owned(events);
    let million_s = started.elapsed().as_secs_f64();
    let counted: u64 = groups.groups.iter().map(|group| group.tally).sum::<u64>() + groups.rest.unwrap_or_default();
    println!(
        "\none million distinct error events: {million_s:.2} s, {} groups, {counted} counted, {:.0} MB more than before, peak of the process {:.0} MB",
        groups.groups.len(),
        resident_mb("VmRSS") - before,
        resident_mb("VmHWM"),
    );
    println!(
        "RESULT ga_mean={:.4} fga_mean={:.4} lines_per_s={own_rate:.0} peer_ga_mean={:.4} peer_fga_mean={:.4} peer_lines_per_s={peer_rate:.0} speed_ratio={:.2} million_events_s={million_s:.2} peak_mb={:.0}",
        means[0],
        means[1],
        means[2],
        means[3],
        own_rate / peer_rate,
        resident_mb("VmHWM"),
    );
    Ok(())
}

fn read_sets(directory: &Path) -> Result<Vec<Set>, Box<dyn Error>> {
    let mut paths: Vec<_> = fs::read_dir(directory)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "csv"));
    paths.sort();
    let mut sets = Vec::new();
    for path in paths {
        let mut reader = csv::Reader::from_path(&path)?;
        let headers = reader.headers()?.clone();
        let column = |name: &str| headers.iter().position(|header| header == name);
        let (Some(content), Some(event)) = (column("Content"), column("EventId")) else { continue };
        let mut set = Set {
            name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            lines: Vec::new(),
            truth: Vec::new(),
        };
        for record in reader.byte_records() {
            let record = record?;
            set.lines.push(String::from_utf8_lossy(&record[content]).into_owned());
            set.truth.push(String::from_utf8_lossy(&record[event]).into_owned());
        }
        if !set.lines.is_empty() {
            sets.push(set);
        }
    }
    Ok(sets)
}

fn group_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Groups<u64> {
    let mut fingerprinter = Fingerprinter::new();
    let mut grouper: Grouper<u64> = Grouper::new();
    for message in lines {
        grouper.add(fingerprinter.fingerprint(&ErrorEvent { message, ..ErrorEvent::default() }), 1);
    }
    grouper.groups()
}

fn group_owned(lines: impl Iterator<Item = String>) -> Groups<u64> {
    let mut fingerprinter = Fingerprinter::new();
    let mut grouper: Grouper<u64> = Grouper::new();
    for message in lines {
        grouper.add(fingerprinter.fingerprint(&ErrorEvent { message: &message, ..ErrorEvent::default() }), 1);
    }
    grouper.groups()
}

fn score_healer(set: &Set) -> (Score, BTreeMap<String, String>) {
    let mut fingerprinter = Fingerprinter::new();
    let mut grouper: Grouper<u64> = Grouper::new();
    let mut ids = Vec::with_capacity(set.lines.len());
    for message in &set.lines {
        let fingerprint = fingerprinter.fingerprint(&ErrorEvent { message, ..ErrorEvent::default() });
        ids.push(fingerprint.id);
        grouper.add(fingerprint, 1);
    }
    let groups = grouper.groups();
    let mut group_of: BTreeMap<FingerprintId, usize> = BTreeMap::new();
    for (number, group) in groups.groups.iter().enumerate() {
        for fingerprint in &group.fingerprints {
            group_of.insert(fingerprint.id, number);
        }
    }
    let found: Vec<usize> = ids.iter().map(|id| group_of.get(id).copied().unwrap_or(usize::MAX)).collect();
    let mut templates: BTreeMap<String, String> = BTreeMap::new();
    for (event, &number) in set.truth.iter().zip(&found) {
        let Some(group) = groups.groups.get(number) else { continue };
        let listed = templates.entry(event.clone()).or_default();
        if !listed.contains(&group.template) && listed.len() < 400 {
            // Writing to a String cannot fail.
            let _ = write!(listed, "\n        {}", group.template);
        }
    }
    (score(set, &found), templates)
}

fn drain() -> Result<Miner, Box<dyn Error>> {
    Ok(Miner::builder()
        .masks([
            builtin_masks::uuid(),
            builtin_masks::email(),
            builtin_masks::ipv4(),
            Mask::new(r"\b0[xX][0-9a-fA-F]+\b", "<hex>")?,
            Mask::new(r"\b\d+\b", "<num>")?,
        ])
        .build()?)
}

fn score_drain(set: &Set) -> Result<Score, Box<dyn Error>> {
    let miner = drain()?;
    let mut found = Vec::with_capacity(set.lines.len());
    for line in &set.lines {
        found.push(usize::try_from(miner.add(line).cluster_id)?);
    }
    Ok(score(set, &found))
}

fn score(set: &Set, found: &[usize]) -> Score {
    let mut by_group: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut by_event: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (line, (group, event)) in found.iter().zip(&set.truth).enumerate() {
        by_group.entry(*group).or_default().push(line);
        by_event.entry(event).or_default().push(line);
    }
    let mut score = Score { found: by_group.len(), expected: by_event.len(), ..Score::default() };
    let (mut lines_right, mut groups_right) = (0, 0);
    for (event, lines) in &by_event {
        if by_group.get(&found[lines[0]]) == Some(lines) {
            lines_right += lines.len();
            groups_right += 1;
        } else {
            score.wrong.push(((*event).to_owned(), lines.len()));
        }
    }
    score.ga = lines_right as f64 / set.lines.len() as f64;
    let (precision, recall) =
        (f64::from(groups_right) / score.found as f64, f64::from(groups_right) / score.expected as f64);
    score.fga = if groups_right == 0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) };
    score
}

fn rate(lines: usize, elapsed: Duration) -> f64 {
    lines as f64 / elapsed.as_secs_f64().max(1e-9)
}

fn fastest(lines: usize, mut work: impl FnMut()) -> f64 {
    let mut best = 0.0_f64;
    for _ in 0..SPEED_ROUNDS {
        let started = Instant::now();
        work();
        best = best.max(rate(lines, started.elapsed()));
    }
    best
}

fn growth(sets: &[Set]) {
    println!("\n{:<22} {:>9} {:>9} {:>11} {:>9} {:>9}", "growth", "lines", "seconds", "lines/s", "groups", "MB after");
    let mut lines = 10_000;
    while lines <= EVENTS {
        let repeating = sets.iter().flat_map(|set| set.lines.iter().map(String::as_str)).cycle().take(lines);
        let started = Instant::now();
        let groups = group_lines(repeating);
        report_growth("lines that repeat", lines, started.elapsed(), groups.groups.len());
        drop(groups);
        let started = Instant::now();
        let groups = group_owned(Storm { number: 0, left: lines });
        report_growth("lines that never do", lines, started.elapsed(), groups.groups.len());
        lines *= 10;
    }
}

fn report_growth(what: &str, lines: usize, elapsed: Duration, groups: usize) {
    println!(
        "{what:<22} {lines:>9} {:>9.3} {:>11.0} {groups:>9} {:>9.0}",
        elapsed.as_secs_f64(),
        rate(lines, elapsed),
        resident_mb("VmRSS")
    );
}

/// Error messages no two of which mask to the same text: the worst that can come.
struct Storm {
    number: u64,
    left: usize,
}

impl Iterator for Storm {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.left = self.left.checked_sub(1)?;
        self.number += 1;
        let mut text = String::from("posting failed");
        let mut state = self.number;
        // Words of letters only, so that masking leaves them; how many and where differs as well.
        for position in 0..4 + self.number % 9 {
            text.push_str(if position % 3 == 1 { " because " } else { " " });
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (state >> 29);
            let mut letters = state;
            for _ in 0..6 {
                text.push(char::from(b'a' + (letters % 26) as u8));
                letters /= 26;
            }
        }
        Some(text)
    }
}

fn resident_mb(field: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    let kilobytes: f64 = line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default();
    kilobytes / 1024.0
}
