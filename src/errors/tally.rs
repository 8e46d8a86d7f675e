//! What is counted of one pattern: how often and when, whom it met, and how it ended. Bounded, however much comes.

use std::collections::BTreeMap;

use super::fingerprint::{ErrorEvent, Fnv, Severity};
use super::group::{Tally as Merge, mix};
use super::template::cut;

/// Buckets of a window: half an hour each in a day, fine enough for a burst and coarse enough for a median.
pub const BUCKETS: usize = 48;
/// The same, where times are reckoned.
const BUCKETS_MS: i64 = 48;
/// Milliseconds of an hour, the unit in which counts are stored.
pub const HOUR: i64 = 3_600_000;
/// Times of recovery that are kept of one pattern. Beyond it every second one is dropped, again and again: the median of
/// a thousand evenly taken values is as good as that of all.
const MAX_TIMES: usize = 1_024;
/// Distinct posts that are counted exactly; beyond it their number is estimated from the smallest hashes.
const MAX_POSTS: usize = 64;
/// Posts that are named.
const NAMED_POSTS: usize = 5;
/// Jobs that are named; no system has more that fail alike.
const MAX_JOBS: usize = 32;
/// Bytes of a message that are kept for the example: more than is shown, so that what is cut off is seldom needed.
const MAX_SAMPLE: usize = 1_024;

/// The time that is analysed, in milliseconds since 1970: the window, the window before it, and what is read besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Errors after this are read.
    pub since: i64,
    /// The window begins after this; the one before it is as long.
    pub start: i64,
    /// The window ends with this.
    pub end: i64,
}

impl Span {
    /// Length of the window.
    pub fn length(&self) -> i64 {
        (self.end - self.start).max(1)
    }

    /// Where the window before begins.
    pub fn before(&self) -> i64 {
        self.start.saturating_sub(self.length())
    }

    /// Length of one bucket.
    pub fn bucket(&self) -> i64 {
        (self.length() / BUCKETS_MS).max(1)
    }

    /// The bucket of a time, 0 to 47 in the window before and 48 to 95 in the window.
    pub fn bucket_of(&self, at: i64) -> Option<usize> {
        if at <= self.before() || at > self.end {
            return None;
        }
        let place = |from: i64| usize::try_from((at - from - 1) / self.bucket()).unwrap_or(0).min(BUCKETS - 1);
        Some(if at > self.start { BUCKETS + place(self.start) } else { place(self.before()) })
    }

    /// Where a bucket begins.
    pub fn begin_of(&self, bucket: usize) -> i64 {
        let place = i64::try_from(bucket % BUCKETS).unwrap_or(0) * self.bucket();
        if bucket >= BUCKETS { self.start + place } else { self.before() + place }
    }
}

/// How an error ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ending {
    /// It recovered, after this many milliseconds where that is known.
    Recovered(Option<i64>),
    /// It has not recovered.
    Open,
    /// Nothing tells.
    #[default]
    Unmeasured,
}

impl Ending {
    /// Which of two tellings of one failure knows more.
    fn knowledge(self) -> u8 {
        match self {
            Self::Recovered(Some(_)) => 3,
            Self::Recovered(None) => 2,
            Self::Open => 1,
            Self::Unmeasured => 0,
        }
    }

    /// The better known of two.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if other.knowledge() > self.knowledge() { other } else { self }
    }
}

/// Times of recovery, evenly taken where there are many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    kept: Vec<i64>,
    /// One in so many is kept: a power of two.
    stride_log: u32,
    seen: u64,
    sum: i128,
}

impl Times {
    /// Adds one.
    pub fn add(&mut self, ms: i64) {
        if self.seen.is_multiple_of(1 << self.stride_log) {
            self.kept.push(ms);
        }
        self.seen += 1;
        self.sum += i128::from(ms);
        self.thin();
    }

    fn thin(&mut self) {
        while self.kept.len() > MAX_TIMES {
            let mut at = 0;
            self.kept.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.stride_log += 1;
        }
    }

    fn merge(&mut self, other: Self) {
        self.seen += other.seen;
        self.sum += other.sum;
        self.stride_log = self.stride_log.max(other.stride_log);
        self.kept.extend(other.kept);
        self.thin();
    }

    /// How many were added.
    pub fn count(&self) -> u64 {
        self.seen
    }

    /// Mean in milliseconds.
    pub fn mean(&self) -> Option<i64> {
        let count = i128::from(self.seen);
        (count > 0).then(|| i64::try_from(self.sum / count).unwrap_or(i64::MAX))
    }

    /// The value below which a share of them lies.
    pub fn quantile(&self, share: f64) -> Option<i64> {
        let mut sorted = self.kept.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        // The nearest rank: always a value that was measured.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at least 1, at most what is kept")]
        let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize;
        sorted.get((rank - 1).min(last)).copied()
    }
}

/// How many recovered, and how fast.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Recovered.
    pub recovered: u64,
    /// Have not recovered.
    pub open: u64,
    /// Nothing tells.
    pub unmeasured: u64,
    /// How long it took, where that is known.
    pub times: Times,
}

impl Recovery {
    /// Counts one ending.
    pub fn add(&mut self, ending: Ending) {
        match ending {
            Ending::Recovered(ms) => {
                self.recovered += 1;
                if let Some(ms) = ms {
                    self.times.add(ms);
                }
            }
            Ending::Open => self.open += 1,
            Ending::Unmeasured => self.unmeasured += 1,
        }
    }

    /// Takes in another.
    pub fn merge(&mut self, other: Self) {
        self.recovered += other.recovered;
        self.open += other.open;
        self.unmeasured += other.unmeasured;
        self.times.merge(other.times);
    }

    /// Share of those measured that recovered.
    pub fn rate(&self) -> Option<f64> {
        let measured = self.recovered + self.open;
        (measured > 0).then(|| self.recovered as f64 / measured as f64)
    }
}

/// What tells an error apart besides its text, and one example of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// When the example happened.
    pub at: i64,
    /// How grave.
    pub severity: Severity,
    /// The part that reports.
    pub component: Option<Box<str>>,
    /// The kind.
    pub class: Option<Box<str>>,
    /// Five characters.
    pub sqlstate: Option<Box<str>>,
    /// HTTP status.
    pub http: Option<u16>,
    /// The beginning of the message, as it came: secrets are still in it.
    sample: Box<str>,
}

impl About {
    /// What an event says of itself.
    pub fn new(at: i64, event: &ErrorEvent<'_>) -> Self {
        let text = |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).map(Box::from);
        Self {
            at,
            severity: event.severity,
            component: text(event.component),
            class: text(event.class),
            sqlstate: text(event.sqlstate),
            http: event.http_status,
            sample: whole_words(event.message).into(),
        }
    }

    /// The event with its sample for a message: enough to find its cause.
    pub fn event(&self) -> ErrorEvent<'_> {
        ErrorEvent {
            severity: self.severity,
            component: self.component.as_deref(),
            class: self.class.as_deref(),
            sqlstate: self.sqlstate.as_deref(),
            http_status: self.http,
            message: &self.sample,
        }
    }

    /// The key by which dashboards know it.
    pub fn error_key(&self) -> String {
        format!("{}:{}", self.component.as_deref().unwrap_or("unknown"), self.class.as_deref().unwrap_or("unknown"))
    }
}

/// The beginning of a text that ends with a word: half a secret is not recognised as one.
fn whole_words(text: &str) -> &str {
    let start = cut(text, MAX_SAMPLE);
    if start.len() == text.len() {
        return start;
    }
    &start[..start.rfind(char::is_whitespace).unwrap_or(0)]
}

/// One error that counts.
#[derive(Debug, Clone, Copy)]
pub struct Occurrence<'a> {
    /// When.
    pub at: i64,
    /// What it says.
    pub event: ErrorEvent<'a>,
    /// The post that failed.
    pub post: Option<&'a str>,
    /// The job that failed.
    pub job: Option<&'a str>,
    /// How it ended.
    pub ending: Ending,
    /// Which sources told it: a bit each.
    pub told: u16,
}

/// Everything that is counted of a pattern.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// In the window.
    pub window: u64,
    /// In the window before.
    pub before: u64,
    /// Longer ago.
    pub history: u64,
    /// First and last of all that was read.
    pub seen: Option<(i64, i64)>,
    /// First in the window.
    pub first_in_window: Option<i64>,
    /// Last before the window.
    pub last_before: Option<i64>,
    /// By bucket, ascending; those without any are left out.
    buckets: Vec<(u16, u32)>,
    /// By hour since 1970, ascending; the same.
    hours: Vec<(i32, u32)>,
    /// Endings of those in the window.
    pub recovery: Recovery,
    jobs: Vec<(Box<str>, u64)>,
    post_hashes: Vec<u64>,
    more_posts: bool,
    posts: Vec<(u64, Box<str>)>,
    /// Which sources told it: a bit each.
    pub told: u16,
    /// What it is; of its earliest occurrence.
    pub about: Option<Box<About>>,
}

impl Tally {
    /// Counts one.
    pub fn add(&mut self, one: &Occurrence<'_>, span: &Span) {
        let at = one.at;
        self.seen = Some(self.seen.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
        self.told |= one.told;
        if self.about.as_ref().is_none_or(|about| at < about.at) {
            self.about = Some(Box::new(About::new(at, &one.event)));
        }
        bump(&mut self.hours, i32::try_from(at.div_euclid(HOUR)).unwrap_or(i32::MAX), 1);
        let bucket = span.bucket_of(at);
        if let Some(bucket) = bucket.and_then(|bucket| u16::try_from(bucket).ok()) {
            bump(&mut self.buckets, bucket, 1);
        }
        match bucket {
            Some(bucket) if bucket >= BUCKETS => {}
            bucket => {
                *(if bucket.is_some() { &mut self.before } else { &mut self.history }) += 1;
                self.last_before = Some(self.last_before.map_or(at, |last| last.max(at)));
                return;
            }
        }
        // What was affected and how it ended is told of the window alone.
        self.window += 1;
        self.first_in_window = Some(self.first_in_window.map_or(at, |first| first.min(at)));
        self.recovery.add(one.ending);
        if let Some(job) = one.job {
            self.add_job(job, 1);
        }
        if let Some(post) = one.post {
            let mut hash = Fnv::new();
            hash.write(post.as_bytes());
            // The smallest hashes are kept: all bits must be spread evenly.
            self.add_post(mix(hash.0), Some(post));
        }
    }

    fn add_job(&mut self, job: &str, count: u64) {
        if let Some((_, known)) = self.jobs.iter_mut().find(|(name, _)| **name == *job) {
            *known += count;
        } else if self.jobs.len() < MAX_JOBS {
            self.jobs.push((job.into(), count));
        }
    }

    fn add_post(&mut self, hash: u64, name: Option<&str>) {
        if let Err(place) = self.post_hashes.binary_search(&hash) {
            self.post_hashes.insert(place, hash);
            if self.post_hashes.len() > MAX_POSTS {
                self.post_hashes.pop();
                self.more_posts = true;
            }
        }
        let Some(name) = name else { return };
        if let Err(place) = self.posts.binary_search_by_key(&hash, |(hash, _)| *hash)
            && place < NAMED_POSTS
        {
            self.posts.insert(place, (hash, name.into()));
            self.posts.truncate(NAMED_POSTS);
        }
    }

    /// Counts of the window before and of the window, by bucket.
    pub fn buckets(&self) -> ([u64; BUCKETS], [u64; BUCKETS]) {
        let (mut before, mut window) = ([0; BUCKETS], [0; BUCKETS]);
        for &(bucket, count) in &self.buckets {
            let bucket = usize::from(bucket);
            let (all, place) = if bucket < BUCKETS { (&mut before, bucket) } else { (&mut window, bucket - BUCKETS) };
            if let Some(own) = all.get_mut(place) {
                *own += u64::from(count);
            }
        }
        (before, window)
    }

    /// Counts by hour: (seconds since 1970, errors), ascending.
    pub fn hours(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        self.hours.iter().map(|&(hour, count)| (i64::from(hour) * (HOUR / 1_000), u64::from(count)))
    }

    /// Jobs that were met, those most often first.
    pub fn jobs(&self) -> Vec<(&str, u64)> {
        let mut jobs: Vec<(&str, u64)> = self.jobs.iter().map(|(name, count)| (&**name, *count)).collect();
        jobs.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        jobs
    }

    /// How many posts were met, and whether that is an estimate.
    pub fn affected_posts(&self) -> (u64, bool) {
        let kept = self.post_hashes.len();
        match self.post_hashes.last() {
            // With the k smallest of n evenly spread hashes, n is about (k − 1) over the share that they cover.
            Some(&largest) if self.more_posts => {
                let share = (largest as f64 / u64::MAX as f64).max(f64::MIN_POSITIVE);
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "0 to the errors of the window"
                )]
                let posts = ((kept - 1) as f64 / share).round().min(self.window as f64) as u64;
                (posts, true)
            }
            _ => (kept as u64, false),
        }
    }

    /// A few of the posts, the same whatever the order in which they came.
    pub fn posts(&self) -> impl Iterator<Item = &str> {
        self.posts.iter().map(|(_, name)| &**name)
    }

    /// All that was read.
    pub fn total(&self) -> u64 {
        self.window + self.before + self.history
    }
}

/// Adds to a sparse count; mostly to its last entry, since errors come in the order of time.
fn bump<K: Ord + Copy>(counts: &mut Vec<(K, u32)>, key: K, by: u32) {
    match counts.last_mut() {
        Some((last, count)) if *last == key => *count = count.saturating_add(by),
        Some((last, _)) if *last > key => match counts.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(place) => counts[place].1 = counts[place].1.saturating_add(by),
            Err(place) => counts.insert(place, (key, by)),
        },
        _ => counts.push((key, by)),
    }
}

impl Merge for Tally {
    fn merge(&mut self, other: Self) {
        self.window += other.window;
        self.before += other.before;
        self.history += other.history;
        self.told |= other.told;
        self.seen = match (self.seen, other.seen) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
        self.first_in_window = match (self.first_in_window, other.first_in_window) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.last_before = self.last_before.max(other.last_before);
        for (bucket, count) in other.buckets {
            bump(&mut self.buckets, bucket, count);
        }
        for (hour, count) in other.hours {
            bump(&mut self.hours, hour, count);
        }
        self.recovery.merge(other.recovery);
        for (job, count) in &other.jobs {
            self.add_job(job, *count);
        }
        self.more_posts |= other.more_posts;
        let names: BTreeMap<u64, Box<str>> = other.posts.into_iter().collect();
        for hash in other.post_hashes {
            self.add_post(hash, names.get(&hash).map(|name| &**name));
        }
        // Of two that happened in the same moment either will do; the smaller one, so that the order plays no part.
        let key = |about: &About| (about.at, about.sample.clone());
        if let Some(theirs) = other.about
            && self.about.as_ref().is_none_or(|own| key(&theirs) < key(own))
        {
            self.about = Some(theirs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPAN: Span = Span { since: -1_000_000_000, start: 0, end: 48_000 };

    fn one(at: i64) -> Occurrence<'static> {
        Occurrence {
            at,
            event: ErrorEvent::from_message("boom"),
            post: None,
            job: None,
            ending: Ending::Unmeasured,
            told: 1,
        }
    }

    #[test]
    fn a_time_falls_into_the_window_the_one_before_it_or_neither() {
        assert_eq!(SPAN.bucket_of(0), Some(47), "the window begins after its start");
        assert_eq!(SPAN.bucket_of(1), Some(48));
        assert_eq!(SPAN.bucket_of(1_000), Some(48));
        assert_eq!(SPAN.bucket_of(1_001), Some(49));
        assert_eq!(SPAN.bucket_of(48_000), Some(95));
        assert_eq!(SPAN.bucket_of(48_001), None);
        assert_eq!(SPAN.bucket_of(-47_999), Some(0));
        assert_eq!(SPAN.bucket_of(-48_000), None);
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let mut times = Times::default();
        assert_eq!((times.quantile(0.5), times.mean()), (None, None));
        for ms in [400, 100, 300, 200] {
            times.add(ms);
        }
        assert_eq!((times.quantile(0.5), times.quantile(0.95), times.mean()), (Some(200), Some(400), Some(250)));
        for ms in 0..100_000 {
            times.add(ms);
        }
        let median = times.quantile(0.5).expect("some");
        assert!((45_000..55_000).contains(&median), "{median}");
        assert!(times.kept.len() <= MAX_TIMES && times.count() == 100_004);
    }

    #[test]
    fn many_posts_are_estimated_and_few_are_counted() {
        let mut tally = Tally::default();
        for n in 0..64 {
            let post = format!("post {n}");
            tally.add(&Occurrence { post: Some(&post), ..one(1) }, &SPAN);
            tally.add(&Occurrence { post: Some(&post), ..one(2) }, &SPAN);
        }
        assert_eq!(tally.affected_posts(), (64, false));
        for n in 64..10_000 {
            let post = format!("post {n}");
            tally.add(&Occurrence { post: Some(&post), ..one(1) }, &SPAN);
        }
        let (posts, estimated) = tally.affected_posts();
        assert!(estimated && (6_000..10_200).contains(&posts), "{posts}");
        assert_eq!(tally.posts().count(), NAMED_POSTS);
    }

    #[test]
    fn a_sample_never_ends_within_a_word() {
        let text = format!("{} postgres://bot:hunter2@host/x", "a ".repeat(500));
        let sample = whole_words(&text);
        assert!(!sample.contains("hunter"), "{sample}");
        assert_eq!(whole_words(&"x".repeat(5_000)), "");
        assert_eq!(whole_words("short"), "short");
    }

    proptest! {
        #[test]
        fn merging_is_adding_whatever_the_order(times in prop::collection::vec(-200_000_i64..60_000, 1..80), split in 0_usize..80) {
            let occurrence = |at: i64| Occurrence { ending: Ending::Recovered(Some(at.abs())), ..one(at) };
            let mut whole = Tally::default();
            for &at in &times {
                whole.add(&occurrence(at), &SPAN);
            }
            let (first, second) = times.split_at(split.min(times.len()));
            let mut parts = [Tally::default(), Tally::default()];
            for (part, times) in parts.iter_mut().zip([second, first]) {
                for &at in times {
                    part.add(&occurrence(at), &SPAN);
                }
            }
            let [mut merged, other] = parts;
            merged.merge(other);
            prop_assert_eq!(merged.total(), times.len() as u64);
            prop_assert_eq!(merged.buckets(), whole.buckets());
            prop_assert_eq!(merged.hours().collect::<Vec<_>>(), whole.hours().collect::<Vec<_>>());
            prop_assert_eq!((merged.seen, merged.first_in_window, merged.last_before), (whole.seen, whole.first_in_window, whole.last_before));
            prop_assert_eq!(merged.recovery.times.quantile(0.5), whole.recovery.times.quantile(0.5));
        }
    }
}
