//! Numbers in words that need no knowledge of statistics.

use super::calibration::{Calibration, Coverage};
use super::capacity::{CapacityForecast, Silent};
use super::duration::Change;
use super::failure::Trouble;
use super::history::SetAside;
use super::until::Until;

/// A duration in milliseconds, in the unit that a person would choose.
pub fn duration(ms: f64) -> String {
    let s = ms / 1000.0;
    if s < 1.0 { format!("{ms:.0} ms") } else { span(s) }
}

/// A span in seconds, in the unit that a person would choose.
pub fn span(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s < 10.0 => return format!("{s:.1} s"),
        s if s < 600.0 => (s, "s"),
        s if s < 2.0 * 3600.0 => (s / 60.0, "min"),
        s if s < 2.0 * 86_400.0 => (s / 3600.0, "h"),
        s => (s / 86_400.0, "days"),
    };
    format!("{value:.0} {unit}")
}

/// A probability: never a false certainty, never more digits than it deserves.
pub fn chance(p: f64) -> String {
    match p * 100.0 {
        c if c < 1.0 => "below 1 %".to_owned(),
        c if c > 99.0 => "above 99 %".to_owned(),
        c => format!("{c:.0} %"),
    }
}

/// "3 of 40", with the verb that fits.
fn of(count: usize, all: usize) -> String {
    format!("{count} of the last {all}")
}

/// How often, for rates that may be tiny.
fn usually(rate: f64) -> String {
    if rate >= 0.5 {
        format!("usually {}", chance(rate))
    } else {
        format!("usually about 1 in {:.0}", 1.0 / rate.max(1e-4))
    }
}

/// Words for the next run's failure, beside how it went so far.
pub fn next_failure(p: f64, low: f64, high: f64, failures: usize, runs: usize) -> String {
    let range = if high < 0.01 { String::new() } else { format!(" ({} to {})", chance(low), chance(high)) };
    format!("the next run fails with a probability of {}{range}; {failures} of {runs} runs failed so far", chance(p))
}

/// Words for a run of failures.
pub fn failing(t: &Trouble) -> String {
    format!("{} runs failed; {}", of(t.failures, t.trials), usually(t.usual))
}

/// Words for a run of skips.
pub fn skipping(t: &Trouble) -> String {
    format!("{} runs were skipped; {}", of(t.failures, t.trials), usually(t.usual))
}

/// Words for missed runs; `silent_s` is the time since the last start.
pub fn missing(t: &Trouble, silent_s: Option<f64>, typical_s: Option<f64>) -> String {
    let missed = format!("{} expected runs did not start", of(t.failures, t.trials));
    match (silent_s, typical_s) {
        (Some(silent), Some(typical)) => {
            format!("{missed}; the last start was {} ago, normally every {}", span(silent), span(typical))
        }
        _ => missed,
    }
}

/// Words for longer durations.
pub fn slower(c: &Change, runs: usize) -> String {
    format!(
        "takes {} now, {} before: {:.1} times as long, for {} runs",
        duration(c.after),
        duration(c.before),
        c.after / c.before.max(f64::MIN_POSITIVE),
        runs.saturating_sub(c.since_run)
    )
}

/// Words for durations that vary more.
pub fn erratic(c: &Change, runs: usize) -> String {
    let times = if c.before > 0.0 {
        format!("{:.1} times as much as before", c.after / c.before)
    } else {
        "where they did not before".to_owned()
    };
    format!("its durations vary {times}, for {} runs", runs.saturating_sub(c.since_run))
}

/// Words for a job's rise: `until.slope` is of the log per run.
pub fn rise(until: &Until, runs: usize, limit_ms: f64) -> String {
    let since = runs as f64 - 1.0 - until.since;
    let range = match until.high {
        Some(high) => format!("{:.0}–{high:.0}", until.low),
        None => format!("{:.0} or more", until.low),
    };
    let growth = until.slope.exp_m1() * 100.0;
    // Half a per cent a run doubles a duration in 140 runs: it is not "0 %".
    let growth = if growth < 1.0 { format!("{growth:.1}") } else { format!("{growth:.0}") };
    format!(
        "duration rose {growth} % a run over {since:.0} runs; first run above {} in about {:.0} runs ({range})",
        duration(limit_ms),
        until.typical
    )
}

/// Words for what was set aside; `None` if nothing was.
pub fn set_aside(s: &SetAside) -> Option<String> {
    let parts: Vec<String> = [
        (s.not_finite, "with a duration that is no number"),
        (s.negative, "with a negative duration"),
        (s.implausible, "with a duration above 30 days"),
        (s.duplicates, "recorded twice"),
        (s.future, "dated in the future"),
        (s.unfinished, "that never ended"),
        (s.unknown_status, "with a status that is not known"),
        (s.older, "older than the newest 500"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    (!parts.is_empty()).then(|| format!("set aside: {}", parts.join(", ")))
}

/// Words for a resource.
pub fn capacity(c: &CapacityForecast) -> String {
    let Some(value) = c.value else { return format!("{}: no data", c.resource) };
    let full = if c.limit.is_finite() && c.limit > 0.0 {
        format!("{} is at {} of its limit", c.resource, share(value / c.limit))
    } else {
        format!("{} has no limit to compare with", c.resource)
    };
    let outlook = match (&c.until_s, c.silent) {
        _ if c.reached => "the limit is reached".to_owned(),
        (Some(u), _) => {
            let range = u
                .high
                .map_or_else(|| format!("{} or more", span(u.low)), |h| format!("{} to {}", span(u.low), span(h)));
            format!("reaches it in about {} ({range}) if it goes on like this", span(u.typical))
        }
        (None, Some(Silent::TooFewSamples)) => "too few measurements to foretell anything".to_owned(),
        (None, Some(Silent::NoLimit)) => return full,
        (None, Some(Silent::TooFarOff)) => "it rises, but the limit is far off".to_owned(),
        (None, Some(Silent::FallsBack)) => "it was brought down in time again and again".to_owned(),
        (None, _) => "it does not rise".to_owned(),
    };
    let u = &c.unused;
    let unused = u.not_finite + u.future + u.duplicates;
    if unused == 0 {
        format!("{full}; {outlook}")
    } else {
        format!("{full}; {outlook}; {unused} measurements set aside")
    }
}

/// A share of a limit.
pub fn share(s: f64) -> String {
    format!("{:.0} %", s * 100.0)
}

/// Words for how good past forecasts of something were; `what` completes "forecasts of …".
pub fn calibration(what: &str, c: &Calibration) -> String {
    if c.forecasts == 0 {
        return format!("no forecast of {what} has come due yet");
    }
    let verdict = match c.skill {
        None => "there is nothing to compare them with yet",
        Some(s) if s > 0.05 => "better than going by the past frequency",
        Some(s) if s >= -0.01 => "about as good as going by the past frequency",
        Some(_) => "worse than going by the past frequency",
    };
    format!(
        "of {} forecasts of {what}, {} came true where {:.0} were to be expected from what was said; {verdict}",
        c.forecasts, c.happened, c.expected
    )
}

/// Words for how often the truth lay inside the ranges that were told.
pub fn coverage(what: &str, c: &Coverage) -> String {
    if c.forecasts == 0 {
        format!("no range for {what} has come due yet")
    } else {
        format!("{} of {} ranges for {what} held; 8 in 10 should", c.inside, c.forecasts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_the_unit_that_a_person_would_choose() {
        let told = [0.25, 9.0, 90.0, 1200.0, 30_000.0, 400_000.0].map(|s| duration(s * 1000.0));
        assert_eq!(told, ["250 ms", "9.0 s", "90 s", "20 min", "8 h", "5 days"]);
    }

    #[test]
    fn chances_are_never_falsely_certain() {
        assert_eq!(
            [0.0, 0.003, 0.034, 0.5, 0.999, 1.0].map(chance),
            ["below 1 %", "below 1 %", "3 %", "50 %", "above 99 %", "above 99 %"]
        );
    }

    #[test]
    fn a_rise_reads_as_a_sentence() {
        let until = Until { low: 6.0, typical: 9.0, high: Some(15.0), slope: 0.0392, since: 169.0, certainty: 0.97 };
        assert_eq!(
            rise(&until, 200, 300_000.0),
            "duration rose 4 % a run over 30 runs; first run above 300 s in about 9 runs (6–15)"
        );
    }

    #[test]
    fn only_what_was_set_aside_is_named() {
        assert_eq!(set_aside(&SetAside::default()), None);
        let s = SetAside { negative: 1, future: 2, ..SetAside::default() };
        assert_eq!(set_aside(&s).as_deref(), Some("set aside: 1 with a negative duration, 2 dated in the future"));
    }

    #[test]
    fn calibration_reads_without_statistics() {
        let c = Calibration { forecasts: 40, happened: 12, expected: 11.6, skill: Some(0.2), ..Calibration::default() };
        assert_eq!(
            calibration("the next run's failure", &c),
            "of 40 forecasts of the next run's failure, 12 came true where 12 were to be expected from what was said; \
             better than going by the past frequency"
        );
        assert_eq!(
            coverage("durations", &Coverage { forecasts: 50, inside: 41 }),
            "41 of 50 ranges for durations held; 8 in 10 should"
        );
    }
}
