//! Runs that did not come: quantiles of the gaps between starts, and a [`Rate`] over the slots that they leave empty.
//!
//! The time between two starts is counted in *slots*. A slot is the configured interval or, without one, a high
//! quantile of the job's own gaps, so that irregular jobs get long ones. A pause of weeks counts as [`MAX_EMPTY`] slots
//! and one alarm at most. Limits: it cannot tell a job that was switched off on purpose from one
//! that died, and a job that rests at weekends is reported once each weekend.

use super::duration::order_quantile;
use super::failure::{Prior, Rate, Trouble};
use super::history::{MICROS_PER_SECOND, seconds_between};
use std::collections::VecDeque;

/// Gaps from which a slot is learned: the newest of them.
const GAPS: usize = 60;
/// Gaps below which no slot is learned.
const MIN_GAPS: usize = 8;
/// A slot is this quantile of the gaps: a regular job's interval with its usual lateness, an irregular job's long pauses.
const SLOT_QUANTILE: f64 = 0.9;
/// A gap must exceed its slots by this share before one counts as empty: starts are late by half an interval at times.
const GRACE: f64 = 0.5;
/// Empty slots counted in one pause: more would say nothing new and be a storm.
pub const MAX_EMPTY: usize = 6;

/// Runs are missed less often than they fail; one in 200 is usual, and in trouble about every second is.
const PRIOR: Prior = Prior { bad: 0.4, good: 80.0, trouble_bad: 3.0, trouble_good: 3.0, enter: 0.002, leave: 0.01 };

/// The gaps and slots of one job.
#[derive(Clone, Debug)]
pub struct Gaps {
    configured_s: Option<f64>,
    arrived: VecDeque<f64>,
    sorted: Vec<f64>,
    last: Option<i64>,
    rate: Rate,
    blind: Vec<(i64, i64)>,
}

impl Gaps {
    /// No gap is known yet; `configured_s` is the expected interval in seconds, finite and positive.
    pub fn new(configured_s: Option<f64>) -> Self {
        let rate = Rate::new(PRIOR);
        Self { configured_s, arrived: VecDeque::new(), sorted: Vec::new(), last: None, rate, blind: Vec::new() }
    }

    /// The same where nobody looked in some spans (µs): gaps that touch one are neither counted nor learned from.
    #[must_use]
    pub fn blind_in(mut self, spans: &[(i64, i64)]) -> Self {
        self.blind = spans.to_vec();
        self
    }

    fn unseen(&self, from: i64, to: i64) -> bool {
        self.blind.iter().any(|(a, b)| *a < to && from < *b)
    }

    /// Seconds of one slot; `None` while too few gaps are known and none is configured.
    pub fn slot_s(&self) -> Option<f64> {
        if self.configured_s.is_some() {
            return self.configured_s;
        }
        (self.sorted.len() >= MIN_GAPS).then(|| order_quantile(&self.sorted, SLOT_QUANTILE)).filter(|s| *s > 0.0)
    }

    /// Slots left empty in a gap of `gap_s` seconds, not counting the one that a run filled.
    fn empty(&self, gap_s: f64) -> usize {
        let Some(slot) = self.slot_s() else { return 0 };
        let slots = (gap_s / slot - GRACE).floor().clamp(0.0, MAX_EMPTY as f64);
        // Clamped just above.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let empty = slots as usize;
        empty
    }

    /// Takes in a start (µs). Returns whether an alarm began.
    pub fn observe(&mut self, started_at: i64) -> bool {
        let mut began = false;
        if let Some(last) = self.last.filter(|last| !self.unseen(*last, started_at)) {
            let gap = seconds_between(last, started_at);
            for _ in 0..self.empty(gap) {
                began |= self.rate.observe(true);
            }
            began |= self.rate.observe(false);
            self.remember(gap);
        }
        self.last = Some(started_at);
        began
    }

    fn remember(&mut self, gap: f64) {
        if self.arrived.len() == GAPS
            && let Some(old) = self.arrived.pop_front()
        {
            let at = self.sorted.partition_point(|v| *v < old);
            self.sorted.remove(at.min(self.sorted.len() - 1));
        }
        self.arrived.push_back(gap);
        let at = self.sorted.partition_point(|v| *v < gap);
        self.sorted.insert(at, gap);
    }

    /// The rate as seen at `now` (µs), with the slots that are empty since the last start.
    pub fn rate_at(&self, now: i64) -> Rate {
        let mut rate = self.rate.clone();
        if let Some(last) = self.last.filter(|last| !self.unseen(*last, now)) {
            for _ in 0..self.empty(seconds_between(last, now)) {
                rate.observe(true);
            }
        }
        rate
    }

    /// When (µs) the next run counts as missed, seen at `now`: the end of the first slot that has not been counted yet.
    pub fn due_at(&self, now: i64) -> Option<i64> {
        let last = self.last?;
        let slot = self.slot_s()?;
        let late = (self.empty(seconds_between(last, now)) as f64 + 1.0 + GRACE) * slot;
        // Bounded: seven slots of at most a few weeks.
        #[expect(clippy::cast_possible_truncation)]
        let micros = (late * MICROS_PER_SECOND as f64) as i64;
        Some(last.saturating_add(micros))
    }

    /// The trouble with missed runs at `now` (µs), if any.
    pub fn trouble_at(&self, now: i64) -> Option<Trouble> {
        self.rate_at(now).trouble()
    }

    /// Seconds since the last start at `now` (µs).
    pub fn since_last_s(&self, now: i64) -> Option<f64> {
        self.last.map(|last| seconds_between(last, now).max(0.0))
    }

    /// Median gap in seconds: how often the job really runs.
    pub fn typical_s(&self) -> Option<f64> {
        if self.sorted.len() < MIN_GAPS {
            self.configured_s
        } else {
            Some(order_quantile(&self.sorted, 0.5)).filter(|s| *s > 0.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60 * MICROS_PER_SECOND;
    const DAY: i64 = 1440 * MINUTE;

    fn regular(n: i64, every: i64, gaps: &mut Gaps, from: i64) -> i64 {
        for i in 0..n {
            gaps.observe(from + i * every);
        }
        from + n * every
    }

    #[test]
    fn a_job_that_is_in_time_is_not_missing_and_one_slot_late_is_no_alarm_yet() {
        let mut gaps = Gaps::new(Some(300.0));
        let next = regular(50, 5 * MINUTE, &mut gaps, 0);
        assert!(gaps.trouble_at(next + MINUTE).is_none());
        assert!(gaps.trouble_at(next + 4 * MINUTE).is_none());
    }

    #[test]
    fn a_gap_in_which_nobody_looked_is_no_missed_run_and_teaches_nothing() {
        let blind = |gaps: Gaps, from| gaps.blind_in(&[(from, from + 3 * DAY)]);
        let mut gaps = blind(Gaps::new(Some(300.0)), 50 * 5 * MINUTE);
        let next = regular(50, 5 * MINUTE, &mut gaps, 0);
        assert!(gaps.trouble_at(next + 2 * DAY).is_none());
        assert!(!gaps.observe(next + 4 * DAY));
        assert!((gaps.typical_s().expect("learned") - 300.0).abs() < 1.0);
    }

    #[test]
    fn a_job_that_stopped_is_missing_after_a_few_slots() {
        let mut gaps = Gaps::new(Some(300.0));
        let next = regular(50, 5 * MINUTE, &mut gaps, 0);
        assert!(gaps.trouble_at(next + 15 * MINUTE).is_some());
    }

    #[test]
    fn the_slot_is_learned_where_none_is_configured() {
        let mut gaps = Gaps::new(None);
        regular(8, 20 * MINUTE, &mut gaps, 0);
        assert!(gaps.slot_s().is_none());
        regular(40, 20 * MINUTE, &mut gaps, 8 * 20 * MINUTE);
        assert!((gaps.slot_s().expect("learned") - 1200.0).abs() < 1.0);
    }

    #[test]
    fn a_pause_of_weeks_is_one_alarm_that_ends_soon_after_the_job_is_back() {
        let mut gaps = Gaps::new(Some(300.0));
        let next = regular(50, 5 * MINUTE, &mut gaps, 0);
        let back = next + 21 * DAY;
        let mut alarms = 0;
        for i in 0..60 {
            alarms += usize::from(gaps.observe(back + i * 5 * MINUTE));
            if i > 8 {
                assert!(gaps.trouble_at(back + i * 5 * MINUTE).is_none(), "still alarmed after {i} runs");
            }
        }
        assert_eq!(alarms, 1);
    }

    #[test]
    fn an_irregular_job_is_given_the_time_that_it_takes_at_times() {
        let mut gaps = Gaps::new(None);
        let mut at = 0;
        for i in 0..60 {
            at += [3, 50, 10, 7, 30, 55, 2, 40][i % 8] * MINUTE;
            gaps.observe(at);
        }
        assert!(gaps.trouble_at(at + 100 * MINUTE).is_none());
        assert!(gaps.trouble_at(at + 10 * 60 * MINUTE).is_some());
    }

    #[test]
    fn the_next_slot_to_be_judged_lies_ahead() {
        let mut gaps = Gaps::new(Some(300.0));
        let next = regular(20, 5 * MINUTE, &mut gaps, 0);
        for late in 0..20 {
            let now = next + late * MINUTE;
            assert!(gaps.due_at(now).expect("known") > now);
        }
    }
}
