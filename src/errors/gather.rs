//! Brings together what the sources tell: the same failure told by several of them counts once.
//!
//! Two tellings are of one failure when they are of the same post or the same job, say the same (masked text, SQLSTATE and
//! HTTP status: what a source knows of component and severity differs), come from different sources, and lie at most
//! [`SAME_FAILURE`] apart. A source that tells the same twice tells of two failures. The telling that knows most speaks
//! for all: an event, then a job's run, then an attempt, then the post itself.
//!
//! Tellings must come in the order of time. At most [`MAX_PENDING`] wait for what others tell of them; in a storm that is
//! denser the oldest wait shorter.

use std::collections::{HashMap, VecDeque};

use super::fingerprint::{ErrorEvent, Fingerprinter, Fnv, Severity, http_status_in, sqlstate_in};
use super::group::{Grouper, Groups, StoredFingerprint};
use super::recovery::{Facts, Jobs};
use super::tally::{BUCKETS, Ending, Occurrence, Span, Tally};

/// Milliseconds between two tellings of one failure.
pub const SAME_FAILURE: i64 = 5 * 60 * 1_000;
/// Failures that wait for other tellings. With messages of a kilobyte this is 16 MB.
pub const MAX_PENDING: usize = 16_384;

/// Where an error was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A row of the event table.
    Events,
    /// The heartbeat of a job.
    Heartbeats,
    /// A run of a job that healer noted.
    JobRuns,
    /// The ledger `posting_attempts`.
    PostingAttempts,
    /// The ledger `post_attempts`.
    PostAttempts,
    /// The post itself.
    Posts,
}

impl Source {
    /// All of them, those that know most first.
    pub const ALL: [Self; 6] =
        [Self::Events, Self::Heartbeats, Self::JobRuns, Self::PostingAttempts, Self::PostAttempts, Self::Posts];

    /// Its name in the output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "system_events",
            Self::Heartbeats => "job_heartbeats",
            Self::JobRuns => "job_runs",
            Self::PostingAttempts => "posting_attempts",
            Self::PostAttempts => "post_attempts",
            Self::Posts => "posts",
        }
    }

    /// Its bit.
    pub fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// One row of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telling {
    /// Who tells.
    pub source: Source,
    /// Which of its voices: the type of an event, the column of a post.
    pub voice: String,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// How grave.
    pub severity: Severity,
    /// The part that reports.
    pub component: Option<String>,
    /// The kind of error.
    pub class: Option<String>,
    /// Five characters, where a column has them.
    pub sqlstate: Option<String>,
    /// The HTTP status, where a column has it.
    pub http: Option<u16>,
    /// The text.
    pub message: String,
    /// The post that failed.
    pub post: Option<String>,
    /// The job that failed.
    pub job: Option<String>,
    /// How it ended.
    pub ending: Ending,
}

impl Telling {
    /// The error as it is fingerprinted.
    fn event(&self) -> ErrorEvent<'_> {
        ErrorEvent {
            severity: self.severity,
            component: self.component.as_deref(),
            class: self.class.as_deref(),
            sqlstate: self.sqlstate.as_deref(),
            http_status: self.http,
            message: &self.message,
        }
    }

    /// Reads the codes from the text where no column has them.
    fn read_codes(&mut self) {
        if self.sqlstate.is_none() {
            self.sqlstate = sqlstate_in(&self.message).map(str::to_owned);
        }
        if self.http.is_none() {
            self.http = http_status_in(&self.message);
        }
    }
}

/// A failure that may be told again.
#[derive(Debug)]
struct Pending {
    telling: Telling,
    keys: Vec<u64>,
    /// Hashes of the voices that told it.
    voices: Vec<u64>,
    told: u16,
}

/// Gathers tellings into patterns.
pub struct Gatherer<'a> {
    fingerprinter: Fingerprinter,
    grouper: Grouper<Tally>,
    span: Span,
    /// In the order of time; the number of the first is `first`.
    pending: VecDeque<Pending>,
    first: u64,
    /// Which pending failures are of one subject and say the same.
    open: HashMap<u64, Vec<u64>>,
    duplicates: u64,
    facts: &'a Facts,
    jobs: Jobs,
}

/// What was gathered.
#[derive(Debug)]
pub struct Gathered {
    /// How the jobs fared in the window.
    pub jobs: Jobs,
    /// The patterns.
    pub groups: Groups<Tally>,
    /// Tellings in the window that told what another had told.
    pub duplicates: u64,
}

impl<'a> Gatherer<'a> {
    /// An empty one.
    pub fn new(span: Span, facts: &'a Facts) -> Self {
        Self {
            fingerprinter: Fingerprinter::new(),
            grouper: Grouper::new(),
            span,
            pending: VecDeque::new(),
            first: 0,
            open: HashMap::new(),
            duplicates: 0,
            facts,
            jobs: Jobs::default(),
        }
    }

    /// Takes in what an earlier run stored, so that its groups are found again.
    pub fn remember(&mut self, stored: &StoredFingerprint) {
        self.grouper.remember(stored);
    }

    /// Takes in one telling.
    pub fn tell(&mut self, mut telling: Telling) {
        telling.read_codes();
        self.settle(telling.at);
        let keys = self.keys(&telling);
        if keys.is_empty() {
            self.count(&telling, telling.source.bit());
            return;
        }
        let voice = voice_of(&telling);
        let found = keys.iter().filter_map(|key| self.open.get(key)).flatten().copied().find(|number| {
            self.place(*number)
                .and_then(|place| self.pending.get(place))
                .is_some_and(|known| !known.voices.contains(&voice) && telling.at - known.telling.at <= SAME_FAILURE)
        });
        if let Some(place) = found.and_then(|number| self.place(number))
            && let Some(known) = self.pending.get_mut(place)
        {
            if self.span.bucket_of(known.telling.at).is_some_and(|bucket| bucket >= BUCKETS) {
                self.duplicates += 1;
            }
            join(known, telling, voice);
            return;
        }
        let number = self.first + self.pending.len() as u64;
        for key in &keys {
            self.open.entry(*key).or_default().push(number);
        }
        let told = telling.source.bit();
        self.pending.push_back(Pending { telling, keys, voices: vec![voice], told });
        if self.pending.len() > MAX_PENDING {
            self.settle_oldest();
        }
    }

    fn place(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    /// What it is told of, with what is said: one for the post and one for the job.
    fn keys(&mut self, telling: &Telling) -> Vec<u64> {
        if telling.post.is_none() && telling.job.is_none() {
            return Vec::new();
        }
        let event = telling.event();
        // Of no component, class and severity: sources differ in what they know of them.
        let bare = ErrorEvent { severity: Severity::Error, component: None, class: None, ..event };
        let said = self.fingerprinter.fingerprint(&bare).id.0;
        [("post", &telling.post), ("job", &telling.job)]
            .into_iter()
            .filter_map(|(kind, subject)| {
                let mut hash = Fnv::new();
                hash.write(kind.as_bytes());
                hash.write(subject.as_ref()?.as_bytes());
                hash.write(&said.to_be_bytes());
                Some(hash.0)
            })
            .collect()
    }

    /// Counts those that nobody can tell again.
    fn settle(&mut self, now: i64) {
        while self.pending.front().is_some_and(|oldest| now - oldest.telling.at > SAME_FAILURE) {
            self.settle_oldest();
        }
    }

    fn settle_oldest(&mut self) {
        let Some(oldest) = self.pending.pop_front() else { return };
        let number = self.first;
        self.first += 1;
        for key in &oldest.keys {
            if let Some(numbers) = self.open.get_mut(key) {
                numbers.retain(|other| *other != number);
                if numbers.is_empty() {
                    self.open.remove(key);
                }
            }
        }
        self.count(&oldest.telling, oldest.told);
    }

    fn count(&mut self, telling: &Telling, told: u16) {
        if let Some(job) = &telling.job
            && self.span.bucket_of(telling.at).is_some_and(|bucket| bucket >= BUCKETS)
        {
            self.jobs.add(self.facts, job, telling.at, telling.ending);
        }
        let one = Occurrence {
            at: telling.at,
            event: telling.event(),
            post: telling.post.as_deref(),
            job: telling.job.as_deref(),
            ending: telling.ending,
            told,
        };
        let span = self.span;
        self.grouper.count(self.fingerprinter.fingerprint(&one.event), |tally| tally.add(&one, &span));
    }

    /// The patterns.
    pub fn finish(mut self) -> Gathered {
        while !self.pending.is_empty() {
            self.settle_oldest();
        }
        Gathered { jobs: self.jobs, groups: self.grouper.groups(), duplicates: self.duplicates }
    }
}

fn voice_of(telling: &Telling) -> u64 {
    let mut hash = Fnv::new();
    hash.write(&[telling.source as u8]);
    hash.write(telling.voice.as_bytes());
    hash.0
}

/// Adds what another telling of the same failure knows.
fn join(known: &mut Pending, telling: Telling, voice: u64) {
    known.voices.push(voice);
    known.told |= telling.source.bit();
    let own = &mut known.telling;
    let ending = own.ending.or(telling.ending);
    let post = own.post.take().or_else(|| telling.post.clone());
    let job = own.job.take().or_else(|| telling.job.clone());
    if telling.source < own.source {
        let at = own.at;
        *own = Telling { at, ..telling };
    }
    own.ending = ending;
    own.post = post;
    own.job = job;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPAN: Span = Span { since: -1_000_000_000, start: 0, end: 86_400_000 };

    fn telling(source: Source, at: i64, message: &str) -> Telling {
        Telling {
            source,
            voice: source.name().to_owned(),
            at,
            severity: Severity::Error,
            component: (source == Source::Events).then(|| "rateLimiter".to_owned()),
            class: None,
            sqlstate: None,
            http: None,
            message: message.to_owned(),
            post: Some("p1".to_owned()),
            job: None,
            ending: Ending::Unmeasured,
        }
    }

    fn gathered(tellings: Vec<Telling>) -> Gathered {
        let facts = Facts::default();
        let mut gatherer = Gatherer::new(SPAN, &facts);
        for telling in tellings {
            gatherer.tell(telling);
        }
        gatherer.finish()
    }

    fn count(gathered: &Gathered) -> u64 {
        gathered.groups.groups.iter().map(|group| group.tally.window).sum()
    }

    const TEXT: &str = "HTTP 429: retry after 900 s";

    #[test]
    fn one_failure_told_by_three_sources_counts_once_and_the_event_speaks_for_it() {
        let mut post = telling(Source::Posts, 1_000, TEXT);
        post.ending = Ending::Open;
        let found = gathered(vec![
            post,
            telling(Source::Events, 4_000, "HTTP 429: retry after 30 s"),
            telling(Source::PostAttempts, 300_000, TEXT),
        ]);
        assert_eq!((count(&found), found.duplicates, found.groups.groups.len()), (1, 2, 1));
        let tally = &found.groups.groups[0].tally;
        assert_eq!(tally.told, Source::Posts.bit() | Source::Events.bit() | Source::PostAttempts.bit());
        assert_eq!(tally.recovery.open, 1, "what the post knows of its end is kept");
        assert_eq!(tally.about.as_ref().and_then(|about| about.component.as_deref()), Some("rateLimiter"));
    }

    #[test]
    fn five_minutes_are_the_limit() {
        let at = |at| vec![telling(Source::Posts, 1_000, TEXT), telling(Source::Events, 1_000 + at, TEXT)];
        assert_eq!(count(&gathered(at(SAME_FAILURE))), 1);
        assert_eq!(count(&gathered(at(SAME_FAILURE + 1))), 2);
    }

    #[test]
    fn another_post_another_text_and_the_same_source_are_other_failures() {
        let first = telling(Source::Posts, 1_000, TEXT);
        for second in [
            Telling { post: Some("p2".into()), ..telling(Source::Events, 1_000, TEXT) },
            Telling { post: None, ..telling(Source::Events, 1_000, TEXT) },
            telling(Source::Events, 1_000, "HTTP 503: retry after 900 s"),
            telling(Source::Posts, 2_000, TEXT),
        ] {
            assert_eq!(count(&gathered(vec![first.clone(), second.clone()])), 2, "{second:?}");
        }
    }

    #[test]
    fn two_failures_told_by_two_sources_each_are_two() {
        let found = gathered(vec![
            telling(Source::Events, 1_000, TEXT),
            telling(Source::Events, 2_000, TEXT),
            telling(Source::PostAttempts, 3_000, TEXT),
            telling(Source::PostAttempts, 4_000, TEXT),
        ]);
        assert_eq!((count(&found), found.duplicates), (2, 2));
    }

    #[test]
    fn a_job_is_recognised_as_a_post_is() {
        let of_job = |source, at| Telling { post: None, job: Some("posting".into()), ..telling(source, at, TEXT) };
        assert_eq!(count(&gathered(vec![of_job(Source::JobRuns, 1), of_job(Source::Heartbeats, 1)])), 1);
        assert_eq!(count(&gathered(vec![of_job(Source::JobRuns, 1), telling(Source::Posts, 1, TEXT)])), 2);
    }

    #[test]
    fn a_storm_denser_than_what_may_wait_loses_nothing() {
        let facts = Facts::default();
        let mut gatherer = Gatherer::new(SPAN, &facts);
        for n in 0..i64::try_from(2 * MAX_PENDING).expect("few") {
            gatherer.tell(Telling { post: Some(n.to_string()), ..telling(Source::Events, 1 + n / 1_000, TEXT) });
        }
        assert!(gatherer.pending.len() <= MAX_PENDING && gatherer.open.len() <= MAX_PENDING);
        assert_eq!(count(&gatherer.finish()), 2 * MAX_PENDING as u64);
    }

    proptest! {
        #[test]
        fn every_telling_is_counted_or_is_a_duplicate(rows in prop::collection::vec((0_usize..6, 1_i64..2_000_000, 0_u8..3, 0_u8..3), 0..120)) {
            let mut tellings: Vec<Telling> = rows
                .iter()
                .map(|&(source, at, post, text)| Telling {
                    post: (post > 0).then(|| format!("p{post}")),
                    ..telling(Source::ALL[source], at, ["one broke", "another failed", TEXT][usize::from(text)])
                })
                .collect();
            tellings.sort_by_key(|telling| telling.at);
            let found = gathered(tellings);
            prop_assert_eq!(count(&found) + found.duplicates, rows.len() as u64);
        }
    }
}
