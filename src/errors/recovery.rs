//! Recovery as it happened, instead of a flag that nobody sets: a failed job recovered at its next success, a failed post
//! when it was posted, a breaker when it closed. Where an event says itself that it recovered, that counts.
//!
//! What cannot be followed (an error of no post, no job and no breaker) is unmeasured: it is neither recovered nor open.
//! Where only a job's last success is known, that it recovered is known and how long it took is not.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::gather::Source;
use super::tally::{Ending, Recovery};

/// Episodes of one job that are told apart; a job that fails more often in a window fails all the time.
const MAX_EPISODES: usize = 1_000;
/// Jobs that are kept; the heartbeats are read up to as many.
const MAX_JOBS: usize = 1_000;
/// Recovered episodes in a window from which a job flaps: one or two are mishaps.
pub const FLAPPING: u64 = 3;

/// The successes of one job, in milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Successes {
    /// Each that was noted, ascending.
    pub each: Vec<i64>,
    /// The last, from its heartbeat.
    pub last: Option<i64>,
    /// Whether every success is among `each`.
    pub complete: bool,
}

/// What is known of the ways in which errors end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The jobs.
    pub jobs: HashMap<String, Successes>,
    /// When the breaker opened (`true`) and closed, ascending.
    pub breaker: Vec<(i64, bool)>,
}

/// What became of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// Whether it is posted now.
    pub posted: bool,
    /// When it was.
    pub posted_at: Option<i64>,
}

/// An error whose end is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Failure<'a> {
    /// When it happened.
    pub at: i64,
    /// Who tells of it.
    pub source: Source,
    /// What it says of its recovery itself.
    pub recovered: Option<&'a str>,
    /// How long that took, as it says.
    pub recovery_ms: Option<&'a str>,
    /// The post that failed.
    pub post: Option<Fate>,
    /// The job that failed.
    pub job: Option<&'a str>,
    /// Whether it tells of an open breaker.
    pub breaker: bool,
}

impl Facts {
    /// How an error ended.
    pub fn ending(&self, failure: &Failure<'_>) -> Ending {
        let said = failure.recovery_ms.and_then(milliseconds);
        let says = failure.recovered.map(|word| word.trim().eq_ignore_ascii_case("true"));
        if says == Some(true) || (says.is_none() && said.is_some()) {
            return Ending::Recovered(said);
        }
        let measured = self.measured(failure);
        // That it had not recovered when it was written says nothing of later; without a measurement it stays open.
        if measured == Ending::Unmeasured && says == Some(false) { Ending::Open } else { measured }
    }

    fn measured(&self, failure: &Failure<'_>) -> Ending {
        let at = failure.at;
        if let Some(fate) = failure.post {
            return match fate {
                Fate { posted: false, .. } => Ending::Open,
                Fate { posted_at: Some(posted), .. } if posted > at => Ending::Recovered(Some(posted - at)),
                // The row keeps the error of an attempt before: it was posted after that, and when it failed is not known.
                Fate { .. } if failure.source == Source::Posts => Ending::Recovered(None),
                // It went wrong after the post was out: posting it is no recovery of that.
                Fate { .. } => Ending::Unmeasured,
            };
        }
        if let Some(successes) = failure.job.and_then(|job| self.jobs.get(job)) {
            return match (next_after(&successes.each, at), successes.last) {
                (Some(next), _) => {
                    // Was anything noted by the time it failed? If not, an earlier success may be missing.
                    let told = successes.complete
                        || failure.source == Source::JobRuns
                        || successes.each.first().is_some_and(|first| *first <= at);
                    Ending::Recovered(told.then_some(next - at))
                }
                (None, Some(last)) if last > at => Ending::Recovered(None),
                _ => Ending::Open,
            };
        }
        if failure.breaker && !self.breaker.is_empty() {
            let closed = self.breaker.iter().find(|(moved, open)| !open && *moved >= at);
            return closed.map_or(Ending::Open, |(moved, _)| Ending::Recovered(Some(moved - at)));
        }
        Ending::Unmeasured
    }

    /// The success that ended a failure of a job.
    fn next_success(&self, job: &str, at: i64) -> Option<i64> {
        let successes = self.jobs.get(job)?;
        next_after(&successes.each, at).or(successes.last.filter(|last| *last > at))
    }
}

fn next_after(ascending: &[i64], at: i64) -> Option<i64> {
    ascending.get(ascending.partition_point(|time| *time <= at)).copied()
}

/// A length of time that an event gives: a number, never negative.
fn milliseconds(text: &str) -> Option<i64> {
    let number: f64 = text.trim().parse().ok()?;
    // A century: beyond it, it is no length of time.
    #[allow(clippy::cast_possible_truncation, reason = "at most a century of milliseconds")]
    (number.is_finite() && (0.0..3.2e12).contains(&number)).then_some(number as i64)
}

/// How the jobs fared in the window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Jobs(BTreeMap<String, JobFailures>);

/// The failures of one job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFailures {
    /// How many.
    pub failures: u64,
    /// How they ended.
    pub recovery: Recovery,
    /// The last one.
    pub last: i64,
    ended: HashSet<i64>,
    since: Option<i64>,
}

impl JobFailures {
    /// Runs of failures that ended with a success.
    pub fn episodes(&self) -> u64 {
        self.ended.len() as u64
    }

    /// Whether it fails and recovers again and again.
    pub fn flaps(&self) -> bool {
        self.episodes() >= FLAPPING
    }

    /// The first failure that no success followed.
    pub fn open_since(&self) -> Option<i64> {
        self.since
    }
}

impl Jobs {
    /// Counts a failure of a job.
    pub fn add(&mut self, facts: &Facts, job: &str, at: i64, ending: Ending) {
        if !self.0.contains_key(job) && self.0.len() >= MAX_JOBS {
            return;
        }
        let own = self.0.entry(job.to_owned()).or_default();
        own.failures += 1;
        own.last = own.last.max(at);
        own.recovery.add(ending);
        match ending {
            Ending::Recovered(_) => {
                if let Some(success) = facts.next_success(job, at)
                    && own.ended.len() < MAX_EPISODES
                {
                    own.ended.insert(success);
                }
            }
            Ending::Open => own.since = Some(own.since.map_or(at, |since| since.min(at))),
            Ending::Unmeasured => {}
        }
    }

    /// The jobs by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &JobFailures)> {
        self.0.iter().map(|(name, failures)| (name.as_str(), failures))
    }

    /// How all of them recovered.
    pub fn get(&self, job: &str) -> Option<&JobFailures> {
        self.0.get(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(at: i64) -> Failure<'static> {
        Failure {
            at,
            source: Source::Events,
            recovered: None,
            recovery_ms: None,
            post: None,
            job: None,
            breaker: false,
        }
    }

    fn facts() -> Facts {
        let successes = Successes { each: vec![100, 200, 300], last: Some(350), complete: false };
        let jobs = [
            ("scraper".to_owned(), successes),
            ("plan".to_owned(), Successes { last: Some(500), ..Successes::default() }),
            ("never".to_owned(), Successes::default()),
        ];
        Facts { jobs: jobs.into_iter().collect(), breaker: vec![(100, true), (160, false), (400, true)] }
    }

    #[test]
    fn a_job_recovers_at_its_next_success() {
        let of = |job, at| facts().ending(&Failure { job: Some(job), ..failure(at) });
        assert_eq!(of("scraper", 150), Ending::Recovered(Some(50)));
        assert_eq!(of("scraper", 100), Ending::Recovered(Some(100)), "a success at the same time is not after it");
        assert_eq!(
            of("scraper", 320),
            Ending::Recovered(None),
            "the last success is known, and it may not be the first"
        );
        assert_eq!(of("scraper", 350), Ending::Open);
        assert_eq!(of("scraper", 50), Ending::Recovered(None), "nothing was noted by then");
        assert_eq!((of("plan", 400), of("plan", 500)), (Ending::Recovered(None), Ending::Open));
        assert_eq!((of("never", 1), of("unheard of", 1)), (Ending::Open, Ending::Unmeasured));
    }

    #[test]
    fn a_post_recovers_when_it_is_posted() {
        let of = |posted, posted_at, source| {
            facts().ending(&Failure { post: Some(Fate { posted, posted_at }), source, ..failure(100) })
        };
        assert_eq!(of(true, Some(160), Source::Events), Ending::Recovered(Some(60)));
        assert_eq!(of(false, None, Source::Events), Ending::Open);
        assert_eq!(of(true, Some(90), Source::Posts), Ending::Recovered(None));
        assert_eq!(of(true, Some(90), Source::Events), Ending::Unmeasured, "it was out before");
        assert_eq!(of(true, None, Source::Posts), Ending::Recovered(None));
    }

    #[test]
    fn a_breaker_recovers_when_it_closes() {
        let of = |at| facts().ending(&Failure { breaker: true, ..failure(at) });
        assert_eq!(
            [of(100), of(160), of(400)],
            [Ending::Recovered(Some(60)), Ending::Recovered(Some(0)), Ending::Open]
        );
        assert_eq!(Facts::default().ending(&Failure { breaker: true, ..failure(1) }), Ending::Unmeasured);
    }

    #[test]
    fn what_an_event_says_of_its_recovery_counts_where_it_is_there() {
        let of = |recovered, recovery_ms| facts().ending(&Failure { recovered, recovery_ms, ..failure(1) });
        assert_eq!(of(Some("true"), Some("1500")), Ending::Recovered(Some(1_500)));
        assert_eq!(of(Some("true"), None), Ending::Recovered(None));
        assert_eq!(of(None, Some("0")), Ending::Recovered(Some(0)));
        assert_eq!(of(Some("false"), None), Ending::Open);
        for odd in ["-1", "NaN", "inf", "soon", ""] {
            assert_eq!(of(None, Some(odd)), Ending::Unmeasured, "{odd}");
        }
        let later = Failure { recovered: Some("false"), job: Some("scraper"), ..failure(150) };
        assert_eq!(facts().ending(&later), Ending::Recovered(Some(50)), "it recovered after it was written");
    }

    #[test]
    fn a_job_that_recovers_three_times_flaps_and_one_that_stays_down_does_not() {
        let facts = facts();
        let mut jobs = Jobs::default();
        for at in [50, 60, 150, 250] {
            let ending = facts.ending(&Failure { job: Some("scraper"), ..failure(at) });
            jobs.add(&facts, "scraper", at, ending);
        }
        for at in [1, 2, 3, 4] {
            jobs.add(&facts, "never", at, Ending::Open);
        }
        let of = |job: &str| jobs.get(job).map(|job| (job.failures, job.episodes(), job.flaps(), job.open_since()));
        assert_eq!(of("scraper"), Some((4, 3, true, None)));
        assert_eq!(of("never"), Some((4, 0, false, Some(1))));
    }
}
