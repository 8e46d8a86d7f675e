//! Patterns: what is known of each, put together from what was gathered now, what earlier runs stored, and what happened
//! beside it.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::causes::{Catalogue, CauseEntry, Retry};
use super::fingerprint::{ErrorEvent, Fingerprinter, Severity, VERSION};
use super::gather::{Gathered, Source};
use super::group::{Group, StoredFingerprint};
use super::tally::{About, BUCKETS, HOUR, Recovery, Span, Tally};
use super::timeline::{self, Beside, Marker};
use super::trend::{self, Direction, History, Standing, Window};
use super::{secrets, stamp};

/// Patterns that a run describes and stores. The rest is counted.
pub const MAX_PATTERNS: usize = 1_000;
/// Fingerprints that are stored of one pattern: the smallest, which later runs find again whatever else comes.
const STORED_FINGERPRINTS: usize = 64;
/// Errors below which a pattern is never called gone: of so few nobody knows how often they come.
const GONE_FROM: u64 = 5;
/// Errors that should have come in the silence of a pattern for it to be called gone: with five, silence by chance is
/// one in 150, and there are dozens of patterns.
const EXPECTED_IN_SILENCE: f64 = 5.0;
/// Usual gaps between errors after which it is regressed, not rare.
const GAPS: i64 = 3;
/// A pattern that is gone is shown for so long.
const SHOWN_GONE: i64 = 14 * 24 * HOUR;
/// Errors below which a growing pattern is not called so: a few more of a few.
const GROWING: u64 = 5;
/// Shown for an error that says nothing.
const NO_TEXT: &str = "(no text)";
/// Characters of a template that are shown.
const MAX_TEMPLATE: usize = 500;

/// A pattern as an earlier run stored it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Its row.
    pub id: i64,
    /// The key under which it was first known.
    pub first_key: String,
    /// Version of masking and grouping that made it.
    pub version: u16,
    /// How grave.
    pub severity: Severity,
    /// The part that reports.
    pub component: Option<String>,
    /// The kind.
    pub class: Option<String>,
    /// Five characters.
    pub sqlstate: Option<String>,
    /// HTTP status.
    pub http: Option<u16>,
    /// Without secrets.
    pub example: String,
    /// Its fingerprints.
    pub fingerprints: Vec<StoredFingerprint>,
    /// First seen.
    pub first_seen: i64,
    /// Last seen.
    pub last_seen: i64,
    /// Last seen before the window.
    pub last_before: Option<i64>,
    /// Errors that were counted of it.
    pub errors: u64,
}

impl Stored {
    /// The fingerprint of its example under the present version, for rows of an older one.
    fn of_example(&self, fingerprinter: &mut Fingerprinter) -> StoredFingerprint {
        let event = ErrorEvent {
            severity: self.severity,
            component: self.component.as_deref(),
            class: self.class.as_deref(),
            sqlstate: self.sqlstate.as_deref(),
            http_status: self.http,
            message: &self.example,
        };
        as_stored(fingerprinter, &event)
    }
}

fn as_stored(fingerprinter: &mut Fingerprinter, event: &ErrorEvent<'_>) -> StoredFingerprint {
    let found = fingerprinter.fingerprint(event);
    StoredFingerprint {
        id: found.id,
        context: super::fingerprint::FingerprintId(found.context),
        text: found.masked.text().to_owned(),
        message_end: found.masked.message().len(),
    }
}

/// The fingerprints by which stored patterns are found again, and the pattern of each.
#[derive(Debug, Default)]
pub struct Memory {
    /// To be remembered by the grouper.
    pub fingerprints: Vec<StoredFingerprint>,
    owner: HashMap<u64, usize>,
    /// Patterns of an older version by the fingerprint of their example.
    by_example: HashMap<u64, usize>,
}

impl Memory {
    /// Of stored patterns, at most `most` fingerprints of them.
    pub fn of(stored: &[Stored], most: usize) -> Self {
        let mut memory = Self::default();
        let mut fingerprinter = Fingerprinter::new();
        for (place, pattern) in stored.iter().enumerate() {
            if memory.fingerprints.len() >= most {
                break;
            }
            if pattern.version == VERSION {
                for fingerprint in &pattern.fingerprints {
                    memory.owner.entry(fingerprint.id.0).or_insert(place);
                    memory.fingerprints.push(fingerprint.clone());
                }
            } else {
                let own = pattern.of_example(&mut fingerprinter);
                memory.by_example.entry(own.id.0).or_insert(place);
                memory.fingerprints.push(own);
            }
        }
        memory
    }

    /// The stored patterns that a group holds.
    fn owners(&self, group: &Group<Tally>, example: Option<u64>) -> BTreeSet<usize> {
        let all = group.fingerprints.iter().map(|fingerprint| fingerprint.id.0);
        let direct = all.clone().filter_map(|id| self.owner.get(&id));
        let by_example = all.chain(example).filter_map(|id| self.by_example.get(&id));
        direct.chain(by_example).copied().collect()
    }
}

/// How often, against the window before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trend {
    /// Errors in the window before.
    pub count_before: u64,
    /// Rate over the rate before; `None` without any error.
    pub ratio: Option<f64>,
    /// Lower end of its 95 % interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// What follows.
    pub direction: Direction,
}

/// A time with far more errors than usual.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burst {
    /// Its beginning.
    pub from: String,
    /// Its end.
    pub to: String,
    /// Errors in it.
    pub count: u64,
    #[serde(skip)]
    pub(super) span: (i64, i64),
}

/// A job that was met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobCount {
    /// Its name.
    pub name: String,
    /// How often.
    pub count: u64,
}

/// The posts that were met.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posts {
    /// How many.
    pub count: u64,
    /// Whether that is an estimate.
    pub estimated: bool,
    /// A few of them.
    pub examples: Vec<String>,
}

/// Recovery as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryView {
    /// Recovered.
    pub recovered: u64,
    /// Have not.
    pub open: u64,
    /// Nothing tells.
    pub unmeasured: u64,
    /// Share of those measured; `None` without any.
    pub rate: Option<f64>,
    /// How many times are known.
    pub timed: u64,
    /// Mean.
    pub mean_ms: Option<i64>,
    /// Median.
    pub median_ms: Option<i64>,
    /// 95 of 100 took at most this.
    pub p95_ms: Option<i64>,
}

impl From<&Recovery> for RecoveryView {
    fn from(recovery: &Recovery) -> Self {
        Self {
            recovered: recovery.recovered,
            open: recovery.open,
            unmeasured: recovery.unmeasured,
            rate: recovery.rate(),
            timed: recovery.times.count(),
            mean_ms: recovery.times.mean(),
            median_ms: recovery.times.quantile(0.5),
            p95_ms: recovery.times.quantile(0.95),
        }
    }
}

/// What probably lies behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Its name in the catalogue.
    pub id: String,
    /// In one line.
    pub title: String,
    /// What probably happened.
    pub cause: String,
    /// What to do.
    pub action: String,
    /// Whether the failed attempt may be repeated.
    pub retry: Retry,
}

impl From<&CauseEntry> for Cause {
    fn from(entry: &CauseEntry) -> Self {
        Self {
            id: entry.id.clone(),
            title: entry.title.clone(),
            cause: entry.cause.clone(),
            action: entry.action.clone(),
            retry: entry.retry,
        }
    }
}

/// One pattern as it is shown and stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pattern {
    /// The smallest of its fingerprints.
    pub key: String,
    /// The key under which it was first known: whatever joins it since, alerts know it by this.
    #[serde(default)]
    pub first_key: String,
    /// `component:error_type`.
    pub error_key: String,
    /// How grave.
    pub severity: Severity,
    /// The text with `<*>` where it varies.
    pub template: String,
    /// One of them, without secrets and personal data.
    pub example: String,
    /// New, known, regressed or gone.
    pub standing: Standing,
    /// Errors in the window.
    pub count: u64,
    /// Errors in all the time that is known.
    pub total: u64,
    /// Share of all errors in the window.
    pub share: f64,
    /// First seen, ever.
    pub first_seen: String,
    /// Last seen.
    pub last_seen: String,
    /// Against the window before.
    pub trend: Trend,
    /// Bursts in both windows.
    pub bursts: Vec<Burst>,
    /// Jobs that it met.
    pub jobs: Vec<JobCount>,
    /// Posts that it met.
    pub posts: Posts,
    /// How it ended.
    pub recovery: RecoveryView,
    /// What probably lies behind it.
    pub cause: Option<Cause>,
    /// What happened just before it appeared or grew.
    pub before: Vec<Beside>,
    /// What its burst was followed by: a breaker that opened.
    pub followed: Vec<Beside>,
    /// What may have ended it.
    pub ended: Vec<Beside>,
    /// Which sources told it.
    pub sources: Vec<String>,
    /// The part that reports.
    pub component: Option<String>,
    /// The kind.
    pub error_type: Option<String>,
    /// Five characters.
    pub sqlstate: Option<String>,
    /// HTTP status.
    pub http_status: Option<u16>,
    /// Distinct fingerprints.
    pub fingerprints: usize,
    /// Whether a part of it was counted by the beginning of the text only, because there were too many texts.
    pub partly_by_beginning: bool,
    /// What is stored beside what is shown.
    #[serde(skip)]
    pub record: Record,
}

/// What is stored of a pattern beside what is shown.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    /// The rows that it is; the first stays, the others are joined into it.
    pub rows: Vec<i64>,
    /// Its smallest fingerprints.
    pub fingerprints: Vec<StoredFingerprint>,
    /// First seen, of all that is known.
    pub first_seen: i64,
    /// Last seen.
    pub last_seen: i64,
    /// (seconds since 1970, errors), by the hour.
    pub hours: Vec<(i64, u64)>,
}

impl Pattern {
    /// Whether it calls for a look: it appeared, came back, or grows.
    pub fn changed(&self) -> bool {
        matches!(self.standing, Standing::New | Standing::Regressed) || self.grows()
    }

    /// Whether it grows beyond chance.
    pub fn grows(&self) -> bool {
        self.standing != Standing::New && self.trend.direction == Direction::Growing && self.count >= GROWING
    }

    /// Whether it is at least an error.
    pub fn is_grave(&self) -> bool {
        self.severity >= Severity::Error
    }

    /// Whether a burst of it in the window opened the breaker.
    pub fn opened_breaker(&self) -> bool {
        self.count > 0 && !self.followed.is_empty()
    }

    /// Its standing in a word.
    pub fn word(&self) -> &'static str {
        match self.standing {
            Standing::New => "new",
            Standing::Regressed => "regressed",
            Standing::Gone => "gone",
            Standing::Known if self.grows() => "growing",
            Standing::Known if self.trend.direction == Direction::Falling => "falling",
            Standing::Known => "known",
        }
    }
}

/// All patterns, and what is no part of any.
#[derive(Debug, Default)]
pub struct Patterns {
    /// Those of the window by their number, then those of before, by theirs; at most [`MAX_PATTERNS`].
    pub all: Vec<Pattern>,
    /// Those that went away before what was read, as they were stored.
    pub gone: Vec<Pattern>,
    /// Patterns in the window, also those that are not described.
    pub in_window: u64,
    /// Errors in the window.
    pub errors: u64,
    /// Critical ones among them.
    pub critical: u64,
    /// Errors of the window before.
    pub errors_before: u64,
    /// Errors in the window that are in no described pattern.
    pub undescribed: u64,
    /// How all of them ended.
    pub recovery: Recovery,
    /// By `component:error_type`: errors and the gravest severity.
    pub keys: HashMap<String, (u64, Severity)>,
    /// By component: errors, critical ones, and how they ended.
    pub components: HashMap<String, (u64, u64, Recovery)>,
}

/// What patterns are made with.
pub struct Known<'a> {
    /// The time that is analysed.
    pub span: Span,
    /// Silence after which a pattern that comes again is regressed.
    pub quiet: i64,
    /// Stored patterns.
    pub stored: &'a [Stored],
    /// Their fingerprints.
    pub memory: &'a Memory,
    /// What happened.
    pub markers: &'a [Marker],
    /// Causes.
    pub catalogue: &'a Catalogue,
}

/// Puts the patterns together.
pub fn patterns(gathered: Gathered, known: &Known<'_>) -> Patterns {
    let mut found = Patterns::default();
    let mut groups = gathered.groups.groups;
    // A group that only earlier runs know has nothing to tell now.
    groups.retain(|group| group.tally.total() > 0);
    for tally in groups.iter().map(|group| &group.tally).chain(&gathered.groups.rest) {
        add_up(&mut found, tally);
    }
    // Those of the window first; of the others those that were most.
    let order = |tally: &Tally| (std::cmp::Reverse(tally.window), std::cmp::Reverse(tally.total()));
    groups.sort_by(|a, b| order(&a.tally).cmp(&order(&b.tally)).then(a.key.cmp(&b.key)));
    let mut fingerprinter = Fingerprinter::new();
    let mut shown = 0;
    for group in groups {
        if found.all.len() >= MAX_PATTERNS {
            break;
        }
        shown += group.tally.window;
        if let Some(pattern) = describe(group, known, found.errors, &mut fingerprinter) {
            found.all.push(pattern);
        }
    }
    found.undescribed = found.errors.saturating_sub(shown);
    found
}

fn add_up(found: &mut Patterns, tally: &Tally) {
    found.errors += tally.window;
    found.errors_before += tally.before;
    if tally.window == 0 {
        return;
    }
    found.in_window += 1;
    found.recovery.merge(tally.recovery.clone());
    let Some(about) = &tally.about else { return };
    let grave = if about.severity == Severity::Critical { tally.window } else { 0 };
    found.critical += grave;
    let key = found.keys.entry(about.error_key()).or_default();
    key.0 += tally.window;
    key.1 = if key.0 == tally.window { about.severity } else { key.1.max(about.severity) };
    let component = about.component.as_deref().unwrap_or("unknown").to_owned();
    let component = found.components.entry(component).or_default();
    component.0 += tally.window;
    component.1 += grave;
    component.2.merge(tally.recovery.clone());
}

fn describe(group: Group<Tally>, known: &Known<'_>, errors: u64, fingerprinter: &mut Fingerprinter) -> Option<Pattern> {
    let span = known.span;
    let tally = &group.tally;
    let about = tally.about.as_deref()?;
    let (first, last) = tally.seen?;
    let example = example_of(about, &group.template);
    let by_example = as_stored(fingerprinter, &ErrorEvent { message: &example, ..about.event() }).id.0;
    let owners: Vec<&Stored> =
        known.memory.owners(&group, Some(by_example)).into_iter().filter_map(|place| known.stored.get(place)).collect();
    let stored_first = owners.iter().map(|stored| stored.first_seen).min();
    let stored_last = owners.iter().map(|stored| stored.last_seen).max();
    let first_seen = stored_first.map_or(first, |stored| stored.min(first));
    let last_seen = stored_last.map_or(last, |stored| stored.max(last));
    let last_before = owners.iter().filter_map(|stored| stored.last_before).chain(tally.last_before).max();
    let total = tally.total().max(owners.iter().map(|stored| stored.errors).sum());
    let gap = (last_seen - first_seen) / i64::try_from(total.max(2) - 1).unwrap_or(i64::MAX).max(1);
    let history = (stored_first.is_some() || last_before.is_some())
        .then_some(History { first_seen, last_seen_before: last_before });
    let window = Window { start: span.start + 1, quiet: known.quiet.max(gap.saturating_mul(GAPS)) };
    let mut standing = trend::standing(history, tally.first_in_window, window);
    if standing == Standing::Gone {
        let silence = (span.end - last_seen).max(0) as f64;
        let active = (last_seen - first_seen).max(HOUR) as f64;
        if total < GONE_FROM || total as f64 / active * silence < EXPECTED_IN_SILENCE {
            // Silent by chance: it is too rare to be missed yet.
            standing = Standing::Known;
        }
    }
    let (before, inside) = tally.buckets();
    let ratio = trend::compare(&before, &inside);
    let bursts = bursts_of(&before, &inside, &span);
    let mut pattern = Pattern {
        key: group.key.to_string(),
        first_key: owners
            .iter()
            .min_by_key(|stored| stored.id)
            .map_or_else(|| group.key.to_string(), |stored| stored.first_key.clone()),
        error_key: about.error_key(),
        severity: about.severity,
        template: shorten(if group.template.is_empty() { NO_TEXT } else { &group.template }),
        example,
        standing,
        count: tally.window,
        total,
        share: if errors == 0 { 0.0 } else { tally.window as f64 / errors as f64 },
        first_seen: stamp(first_seen),
        last_seen: stamp(last_seen),
        trend: Trend {
            count_before: ratio.count_before,
            ratio: ratio.ratio,
            low: ratio.low,
            high: ratio.high,
            direction: ratio.direction,
        },
        jobs: tally.jobs().into_iter().map(|(name, count)| JobCount { name: name.to_owned(), count }).collect(),
        posts: {
            let (count, estimated) = tally.affected_posts();
            Posts { count, estimated, examples: tally.posts().map(str::to_owned).collect() }
        },
        recovery: (&tally.recovery).into(),
        cause: known.catalogue.find(&about.event()).map(Cause::from),
        before: Vec::new(),
        followed: bursts
            .iter()
            // What the window before held is told of what has gone since.
            .filter(|burst| tally.window == 0 || burst.span.1 > span.start)
            // Buckets are coarse: where the first error of all lies in it, the burst began with that.
            .map(|burst| timeline::during(known.markers, burst.span.0.max(first.min(burst.span.1)), burst.span.1))
            .find(|found| !found.is_empty())
            .unwrap_or_default(),
        bursts,
        ended: if standing == Standing::Gone { timeline::ended(known.markers, last_seen, gap) } else { Vec::new() },
        sources: Source::ALL
            .iter()
            .filter(|source| tally.told & source.bit() != 0)
            .map(|source| source.name().to_owned())
            .collect(),
        component: about.component.as_deref().map(str::to_owned),
        error_type: about.class.as_deref().map(str::to_owned),
        sqlstate: about.sqlstate.as_deref().map(str::to_owned),
        http_status: about.http,
        fingerprints: group.fingerprints.len(),
        partly_by_beginning: group.by_beginning,
        record: Record {
            rows: owners.iter().map(|stored| stored.id).collect::<BTreeSet<i64>>().into_iter().collect(),
            fingerprints: Vec::new(),
            first_seen,
            last_seen,
            hours: tally.hours().collect(),
        },
    };
    if pattern.changed()
        && let Some(onset) = onset(&pattern, tally, &span)
    {
        pattern.before = timeline::before(known.markers, onset);
    }
    pattern.record.fingerprints = group.fingerprints.into_iter().take(STORED_FINGERPRINTS).collect();
    Some(pattern)
}

/// When it appeared, or began to grow: with its first burst in the window, else with its first error in it.
fn onset(pattern: &Pattern, tally: &Tally, span: &Span) -> Option<i64> {
    let burst = pattern.bursts.iter().map(|burst| burst.span.0).find(|from| *from >= span.start);
    if pattern.grows() { burst.or(tally.first_in_window) } else { tally.first_in_window }
}

fn bursts_of(before: &[u64; BUCKETS], inside: &[u64; BUCKETS], span: &Span) -> Vec<Burst> {
    let all: Vec<u64> = before.iter().chain(inside).copied().collect();
    trend::bursts(&all)
        .into_iter()
        .map(|burst| {
            let (from, to) = (span.begin_of(burst.from), span.begin_of(burst.to) + span.bucket());
            Burst { from: stamp(from), to: stamp(to), count: burst.count, span: (from, to) }
        })
        .collect()
}

fn example_of(about: &About, template: &str) -> String {
    let sample = about.event().message;
    // Its first word was too long to be told apart from a secret: the masked text says what can be said.
    secrets::example(if sample.is_empty() { template } else { sample })
}

fn shorten(text: &str) -> String {
    let text = secrets::mask(text);
    let mut short: String = text.chars().filter(|c| !c.is_control()).take(MAX_TEMPLATE).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

impl Patterns {
    /// Those that are shown: of the window, and those that went away not long ago.
    pub fn shown(&self, span: &Span) -> impl Iterator<Item = &Pattern> {
        let oldest = span.end - SHOWN_GONE;
        let of_now = self.all.iter().filter(move |pattern| {
            pattern.count > 0 || (pattern.standing == Standing::Gone && pattern.record.last_seen > oldest)
        });
        of_now.chain(&self.gone)
    }

    /// Adds what earlier runs stored of patterns that went away before what was read, unless they were met all the same.
    pub fn recall(&mut self, stored: Vec<(i64, Pattern)>) {
        let met: BTreeSet<i64> = self.all.iter().flat_map(|pattern| pattern.record.rows.iter().copied()).collect();
        for (row, mut pattern) in stored {
            if met.contains(&row) {
                continue;
            }
            pattern.standing = Standing::Gone;
            pattern.count = 0;
            pattern.share = 0.0;
            pattern.trend = Trend { count_before: 0, ratio: None, low: None, high: None, direction: Direction::Steady };
            pattern.recovery = RecoveryView::default();
            pattern.jobs = Vec::new();
            pattern.posts = Posts::default();
            pattern.before = Vec::new();
            self.gone.push(pattern);
        }
    }
}
