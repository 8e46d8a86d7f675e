//! What is read of the posts, and what is left out and counted.
//!
//! Posts stream through [`Reader`] once, oldest first, and leave sums behind: memory depends on the number of generators
//! (at most [`MAX_GENERATORS`]) and not on the number of posts. On the way each new post is wagered on (see `gate`) and
//! earlier changes are followed (see `effect`), both with a model that has seen only earlier posts.
//!
//! Left out, and counted: simulated outcomes, test posts, posts too young to be judged, posts without a measured value,
//! posts whose id is a placeholder, and posts outside the window. A reply is a kind of its own: it takes part in the fit,
//! so that its level does not colour generators and hours, but formats are only weighed between single and thread.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::arm::{Arm, Record, Status};
use super::clock::{HOURS, HourClock};
use super::effect::{CHANGES_FOLLOWED, Change, Outcome, Tally};
use super::gate::{self, Subject};
use super::model::{Cells, Effect, Fit, Prediction};
use super::objective::{NoValue, to_log};
use super::plan::Memory;
use super::settings::{Settings, SettingsError};

/// Generators that are told apart; posts of further ones are counted as left out. Real systems have a dozen.
pub const MAX_GENERATORS: usize = 256;
/// Posts kept until the usual range of values is known. Their median and spread are precise to about two percent.
const SCALE_POSTS: usize = 4_096;
/// Values further from the median than this many robust standard deviations are cut to it. Ordinary heavy tails on the
/// log scale stay inside; a post that went viral by itself does not carry its generator with it.
const CUT: f64 = 4.0;
/// Median absolute deviation to standard deviation, for a normal distribution.
const MAD_TO_DEVIATION: f64 = 1.4826;
/// Smallest range that is ever cut to, on the log scale (a factor of e either way).
const LEAST_RANGE: f64 = 1.0;
/// Posts after which there is a model to wager with. Before, every wager would be even.
const MIN_POSTS_TO_WAGER: f64 = 4.0;
/// While a long history streams by, the model that wagers is renewed this often (seconds).
const RENEWAL: i64 = 86_400;
/// Blocks of hours within which observed shares stand in for unrecorded probabilities.
const BLOCKS: usize = 4;
/// How many times as fast posts fade once haste is proven: a half-life of 30 days becomes one of 10.
const HASTE: f64 = 3.0;
/// How much better (log of the ratio of densities) fast fading must have foretold the posts of late before it is believed.
pub const HASTE_PROVEN: f64 = 2.0;
/// Bounds of what is remembered of that comparison, so that months of calm do not outvote a change for months.
const HASTE_REMEMBERED: (f64, f64) = (-2.0, 6.0);
/// How many posts' worth of the overall shares are mixed into the shares of a block.
const SHARE_PRIOR: f64 = 4.0;

/// What kind of post it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One post.
    #[default]
    Single,
    /// Several posts in a row.
    Thread,
    /// An answer to somebody else's post.
    Reply,
}

impl Kind {
    /// All kinds, in the order of [`Kind::index`].
    pub const ALL: [Self; 3] = [Self::Single, Self::Thread, Self::Reply];
    /// The kinds that formats are weighed between.
    pub const FORMATS: [Self; 2] = [Self::Single, Self::Thread];

    /// Position in arrays.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Word for the output; the same as in the column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Thread => "thread",
            Self::Reply => "reply",
        }
    }

    /// Reads the column's text. Missing and unknown words are singles, which is what such posts are.
    pub fn from_column(text: Option<&str>) -> Self {
        match text.map(str::trim) {
            Some("thread") => Self::Thread,
            Some("reply") => Self::Reply,
            _ => Self::Single,
        }
    }
}

/// A post joined with its outcome. Counts are plain numbers as measured; `None` is "not measured" and never zero.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[allow(clippy::struct_excessive_bools)]
pub struct Post<'a> {
    /// Its generator; empty if unknown.
    pub generator: &'a str,
    /// Its kind.
    pub kind: Kind,
    /// When it appeared.
    pub posted_at: Option<DateTime<Utc>>,
    /// When generator, format and hour were chosen (the row's creation); `None` means when it appeared.
    pub chosen_at: Option<DateTime<Utc>>,
    /// When its numbers were last read; `None` if unknown.
    pub collected_at: Option<DateTime<Utc>>,
    /// Its outcome is simulated.
    pub simulated: bool,
    /// It is a test post.
    pub test: bool,
    /// Its id is missing or a placeholder, so the outcome cannot be its own.
    pub placeholder_id: bool,
    /// Nobody has collected what it earned.
    pub no_outcome: bool,
    /// Impressions.
    pub impressions: Option<f64>,
    /// Likes.
    pub likes: Option<f64>,
    /// Retweets.
    pub retweets: Option<f64>,
    /// Replies.
    pub replies: Option<f64>,
    /// Followers gained; zero counts as measured only if both counts below are there.
    pub followers_gained: Option<f64>,
    /// Followers before.
    pub followers_before: Option<f64>,
    /// Followers after.
    pub followers_after: Option<f64>,
    /// The column that the objective names, if it names one.
    pub column: Option<f64>,
}

impl Post<'_> {
    /// Followers gained, if they were measured.
    pub fn measured_followers(&self) -> Option<f64> {
        let counted = self.followers_before.is_some() && self.followers_after.is_some();
        self.followers_gained.filter(|gained| gained.is_finite() && (*gained != 0.0 || counted))
    }
}

/// Posts that were read and not used, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// Simulated outcomes.
    pub simulated: u64,
    /// Test posts.
    pub test: u64,
    /// Missing or placeholder ids.
    pub placeholder_id: u64,
    /// No time of posting.
    pub no_time: u64,
    /// Older than the window, or in the future.
    pub outside_window: u64,
    /// Too young to be judged.
    pub immature: u64,
    /// Old enough, and nobody has collected what they earned.
    pub no_outcome: u64,
    /// Old enough, but their numbers were read too early.
    pub collected_early: u64,
    /// The objective's numbers were not measured.
    pub unmeasured: u64,
    /// No impressions, so no rate.
    pub no_impressions: u64,
    /// Not a number, infinite or negative counts.
    pub impossible: u64,
    /// No generator named.
    pub no_generator: u64,
    /// More generators than are told apart.
    pub too_many_generators: u64,
}

impl LeftOut {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.simulated
            + self.test
            + self.placeholder_id
            + self.no_time
            + self.outside_window
            + self.immature
            + self.no_outcome
            + self.collected_early
            + self.unmeasured
            + self.no_impressions
            + self.impossible
            + self.no_generator
            + self.too_many_generators
    }
}

/// Plain sums for the output.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Count {
    /// Measured posts in the window.
    pub posts: u64,
    /// Of these, in the last 7 days.
    pub last_7_days: u64,
    /// Of these, in the last 30 days.
    pub last_30_days: u64,
    /// Sum of the values in the objective's unit, for the raw mean.
    pub raw_sum: f64,
    /// Sum of the values on the log scale, cut, for the typical value.
    pub log_sum: f64,
    /// Posts with measured followers and impressions.
    pub followed_posts: u64,
    /// Followers that these gained.
    pub followers: f64,
    /// Impressions that these had.
    pub followed_impressions: f64,
}

impl Count {
    /// Raw mean of the values; `None` without posts.
    pub fn raw_mean(&self) -> Option<f64> {
        (self.posts > 0).then(|| self.raw_sum / self.posts as f64)
    }

    /// Followers per 1,000 impressions over all measured posts; `None` where nothing was measured.
    pub fn f_per_1k(&self) -> Option<f64> {
        (self.followed_impressions > 0.0).then(|| self.followers / self.followed_impressions * 1_000.0)
    }
}

/// What the posts left behind.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// Names of the generators met, in the numbering of the cells: the table's first, in its order.
    pub names: Vec<String>,
    /// Faded sums over all posts.
    pub cells: Cells,
    /// Faded sums over the posts whose value is not zero.
    pub earning: Cells,
    /// The same two, faded [`HASTE`] times as fast: what is true lately, if things change.
    pub lately: [Cells; 2],
    /// All posts.
    pub total: Count,
    /// By generator.
    pub generators: Vec<Count>,
    /// By kind.
    pub kinds: [Count; Kind::ALL.len()],
    /// By hour.
    pub hours: [Count; HOURS],
    /// What was left out.
    pub left_out: LeftOut,
    /// What earlier changes did.
    pub outcomes: Vec<Outcome>,
    /// Stakes and standing weights, brought up to date.
    pub memory: Memory,
    /// Smallest and greatest value on the log scale, before cutting.
    pub range: Option<(f64, f64)>,
}

impl Evidence {
    /// Sums over all posts and over those that earn something, faded as the posts themselves have shown to be better.
    pub fn believed(&self) -> (&Cells, &Cells) {
        if self.memory.haste >= HASTE_PROVEN {
            (&self.lately[0], &self.lately[1])
        } else {
            (&self.cells, &self.earning)
        }
    }

    /// Faded share of posts whose value is zero, and the mean log value of the others.
    pub fn zeros_and_size(&self) -> (f64, f64) {
        let (cells, earning) = self.believed();
        let (all, _) = cells.weight_and_sum();
        let (earning, sum) = earning.weight_and_sum();
        if all > 0.0 && earning > 0.0 { (1.0 - earning / all, sum / earning) } else { (0.0, 0.0) }
    }
}

/// A post as it waits: numbered, and on the log scale.
#[derive(Debug, Clone, Copy)]
struct Row {
    generator: usize,
    kind: Kind,
    hour: u8,
    posted: i64,
    chosen: i64,
    z: f64,
}

/// A [`Record`] in the reader's numbering.
#[derive(Debug, Clone)]
struct Numbered {
    at: i64,
    generators: Vec<f64>,
    formats: [f64; 3],
    hours: Option<[f64; HOURS]>,
}

/// Takes in posts one by one, oldest first.
#[derive(Debug)]
pub struct Reader<'a> {
    settings: &'a Settings,
    clock: HourClock,
    now: DateTime<Utc>,
    index: HashMap<String, usize>,
    records: Vec<Numbered>,
    changes: Vec<(&'a Change, Numbered, Tally)>,
    read_to: i64,
    waiting: Vec<Row>,
    cut: Option<(f64, f64)>,
    prediction: Option<Prediction>,
    hasty: Option<Prediction>,
    renew_at: i64,
    newest: i64,
    log_odds: [f64; 3],
    log_joint: f64,
    lottery: Vec<(f64, Effect)>,
    wagers: u64,
    shares: Shares,
    evidence: Evidence,
}

impl<'a> Reader<'a> {
    /// Ready to read. `arms` is the weights table, `records` the weights with which posts were chosen (oldest first),
    /// `changes` earlier changes to follow (the newest [`CHANGES_FOLLOWED`] are), `memory` what the last run left.
    pub fn new(
        settings: &'a Settings,
        now: DateTime<Utc>,
        arms: &[Arm],
        records: &[Record],
        changes: &'a [Change],
        memory: Memory,
    ) -> Result<Self, SettingsError> {
        let clock = settings.validated()?;
        let mut reader = Self {
            settings,
            clock,
            now,
            index: HashMap::new(),
            records: Vec::with_capacity(records.len()),
            changes: Vec::new(),
            read_to: memory.read_to.map_or(i64::MIN, |at| at.timestamp()),
            waiting: Vec::new(),
            cut: None,
            prediction: None,
            hasty: None,
            renew_at: i64::MIN,
            newest: i64::MIN,
            log_odds: [0.0; 3],
            log_joint: 0.0,
            lottery: Vec::new(),
            wagers: 0,
            shares: Shares::default(),
            evidence: Evidence {
                names: Vec::new(),
                cells: Cells::default(),
                earning: Cells::default(),
                lately: [Cells::default(), Cells::default()],
                total: Count::default(),
                generators: Vec::new(),
                kinds: [Count::default(); Kind::ALL.len()],
                hours: [Count::default(); HOURS],
                left_out: LeftOut::default(),
                outcomes: Vec::new(),
                memory,
                range: None,
            },
        };
        for arm in arms.iter().filter(|arm| arm.status != Status::Archived) {
            reader.number(&arm.name);
        }
        for record in records {
            let numbered = reader.numbered(record);
            reader.records.push(numbered);
        }
        reader.records.sort_by_key(|record| record.at);
        for change in changes.iter().rev().take(CHANGES_FOLLOWED).rev() {
            let before = reader.numbered(&change.before);
            reader.changes.push((change, before, Tally::default()));
        }
        Ok(reader)
    }

    /// The number of a generator, given on first sight; `None` once there are too many.
    fn number(&mut self, name: &str) -> Option<usize> {
        if let Some(&index) = self.index.get(name) {
            return Some(index);
        }
        let index = self.evidence.names.len();
        if index >= MAX_GENERATORS {
            return None;
        }
        self.index.insert(name.to_owned(), index);
        self.evidence.names.push(name.to_owned());
        self.evidence.generators.push(Count::default());
        self.evidence.cells.ensure(index + 1);
        self.evidence.earning.ensure(index + 1);
        for cells in &mut self.evidence.lately {
            cells.ensure(index + 1);
        }
        Some(index)
    }

    fn numbered(&mut self, record: &Record) -> Numbered {
        let mut generators = Vec::new();
        for (name, weight) in &record.generators {
            if let Some(index) = self.number(name) {
                if generators.len() <= index {
                    generators.resize(index + 1, 0.0);
                }
                generators[index] = usable(*weight);
            }
        }
        let mut formats = [0.0; 3];
        for (kind, weight) in &record.formats {
            formats[kind.index()] = usable(*weight);
        }
        let hours = (record.hours.len() == HOURS).then(|| {
            let mut hours = [0.0; HOURS];
            for (to, from) in hours.iter_mut().zip(&record.hours) {
                *to = usable(*from);
            }
            hours
        });
        Numbered { at: record.at.timestamp(), generators, formats, hours }
    }

    /// Takes in one post.
    pub fn read(&mut self, post: &Post<'_>) {
        let left_out = &mut self.evidence.left_out;
        let Some(posted_at) = post.posted_at else {
            left_out.no_time += 1;
            return;
        };
        let age = self.now - posted_at;
        let mature = TimeDelta::seconds(seconds(self.settings.mature_hours * 3_600.0));
        let reason = if post.simulated {
            &mut left_out.simulated
        } else if post.test {
            &mut left_out.test
        } else if post.placeholder_id {
            &mut left_out.placeholder_id
        } else if age < TimeDelta::zero() || age > TimeDelta::days(i64::from(self.settings.window_days)) {
            &mut left_out.outside_window
        } else if age < mature {
            &mut left_out.immature
        } else if post.no_outcome {
            &mut left_out.no_outcome
        } else if post.collected_at.is_some_and(|collected| collected - posted_at < mature) {
            &mut left_out.collected_early
        } else {
            match self.settings.objective.value(post) {
                Ok(value) => return self.keep(post, posted_at, age, value),
                Err(NoValue::Unmeasured) => &mut left_out.unmeasured,
                Err(NoValue::NoImpressions) => &mut left_out.no_impressions,
                Err(NoValue::Impossible) => &mut left_out.impossible,
            }
        };
        *reason += 1;
    }

    fn keep(&mut self, post: &Post<'_>, posted_at: DateTime<Utc>, age: TimeDelta, value: f64) {
        let name = post.generator.trim();
        if name.is_empty() {
            self.evidence.left_out.no_generator += 1;
            return;
        }
        let Some(generator) = self.number(name) else {
            self.evidence.left_out.too_many_generators += 1;
            return;
        };
        let hour = self.clock.hour_of(posted_at);
        let z = to_log(value);
        let followed =
            post.measured_followers().zip(post.impressions).filter(|(_, seen)| seen.is_finite() && *seen > 0.0);
        let evidence = &mut self.evidence;
        for count in [
            &mut evidence.total,
            &mut evidence.generators[generator],
            &mut evidence.kinds[post.kind.index()],
            &mut evidence.hours[usize::from(hour)],
        ] {
            count.posts += 1;
            count.last_7_days += u64::from(age <= TimeDelta::days(7));
            count.last_30_days += u64::from(age <= TimeDelta::days(30));
            count.raw_sum += value;
            if let Some((gained, seen)) = followed {
                count.followed_posts += 1;
                count.followers += gained;
                count.followed_impressions += seen;
            }
        }
        evidence.range = Some(evidence.range.map_or((z, z), |(low, high)| (low.min(z), high.max(z))));
        let posted = posted_at.timestamp();
        let chosen = post.chosen_at.map_or(posted, |at| at.timestamp().min(posted));
        let row = Row { generator, kind: post.kind, hour, posted, chosen, z };
        if self.cut.is_some() {
            self.take(row);
        } else {
            self.waiting.push(row);
            if self.waiting.len() >= SCALE_POSTS {
                self.release();
            }
        }
    }

    /// Learns the usual range from the waiting posts and takes them in.
    fn release(&mut self) {
        let rows = std::mem::take(&mut self.waiting);
        let mut values: Vec<f64> = rows.iter().map(|row| row.z).filter(|z| *z != 0.0).collect();
        let middle = median(&mut values);
        for value in &mut values {
            *value = (*value - middle).abs();
        }
        let range = (CUT * MAD_TO_DEVIATION * median(&mut values)).max(LEAST_RANGE);
        self.cut = Some((middle - range, middle + range));
        for row in rows {
            self.take(row);
        }
    }

    fn take(&mut self, mut row: Row) {
        // Nothing is nothing: it is not cut to the range of the others in what is shown.
        let nothing = row.z == 0.0;
        if let Some((low, high)) = self.cut {
            row.z = row.z.clamp(low, high);
        }
        let new = row.posted > self.read_to;
        let followed = self.changes.iter().any(|(change, _, _)| row.chosen >= change.at.timestamp());
        // A post out of order may be known to the model already: it is counted, but not wagered on.
        if (new || followed) && row.posted >= self.newest {
            self.newest = row.posted;
            if row.posted >= self.renew_at || self.prediction.is_none() {
                self.renew(row.posted);
            }
            if let Some(prediction) = self.prediction.take() {
                let recorded = self.recorded(row.chosen);
                // A post that earned nothing is no wager: how likely that is is not asked, only how much the others earn.
                if new && !nothing {
                    self.compare_haste(&row, &prediction);
                    self.wager(&row, &prediction, recorded);
                }
                if followed {
                    self.follow(&row, &prediction, recorded);
                }
                self.prediction = Some(prediction);
            }
        }
        let since_start = (row.posted - self.now.timestamp()) as f64 / 86_400.0 + f64::from(self.settings.window_days);
        let lambda = (since_start / self.settings.half_life_days).exp2();
        self.evidence.cells.add(row.generator, row.kind, row.hour, lambda, row.z);
        let faster = lambda.powf(HASTE);
        self.evidence.lately[0].add(row.generator, row.kind, row.hour, faster, row.z);
        if !nothing {
            self.evidence.earning.add(row.generator, row.kind, row.hour, lambda, row.z);
            self.evidence.lately[1].add(row.generator, row.kind, row.hour, faster, row.z);
        }
        self.shares.add(&row);
        let evidence = &mut self.evidence;
        let shown = if nothing { 0.0 } else { row.z };
        evidence.total.log_sum += shown;
        evidence.generators[row.generator].log_sum += shown;
        evidence.kinds[row.kind.index()].log_sum += shown;
        evidence.hours[usize::from(row.hour)].log_sum += shown;
    }

    /// Settles the wagers made with the present model and fits a new one.
    fn renew(&mut self, posted: i64) {
        self.settle();
        self.renew_at = posted + RENEWAL;
        if self.evidence.earning.posts() >= MIN_POSTS_TO_WAGER {
            self.prediction = Fit::new(&self.evidence.earning).map(|fit| fit.prediction());
            self.hasty = Fit::new(&self.evidence.lately[1]).map(|fit| fit.prediction());
        }
    }

    fn settle(&mut self) {
        if self.wagers > 0 {
            for (stake, log_odds) in self.evidence.memory.gate.stakes.iter_mut().zip(&self.log_odds) {
                stake.settle(*log_odds);
            }
            self.evidence.memory.gate.joint.settle(self.log_joint);
            self.evidence.memory.gate.judge(self.settings.false_move_rate, self.now);
        }
        self.log_odds = [0.0; 3];
        self.log_joint = 0.0;
        self.wagers = 0;
    }

    /// The weights in force at an instant.
    fn recorded(&self, at: i64) -> Option<usize> {
        self.records.partition_point(|record| record.at <= at).checked_sub(1)
    }

    /// Which fading has foretold the post better?
    fn compare_haste(&mut self, row: &Row, slow: &Prediction) {
        let Some(fast) = &self.hasty else { return };
        let fits = |prediction: &Prediction| {
            let variance = prediction.noise * prediction.noise + prediction.worth(row.generator).variance;
            gate::t5(row.z - prediction.of(row.generator, row.kind, row.hour), variance).ln()
        };
        let better = fits(fast) - fits(slow);
        if better.is_finite() {
            let haste = &mut self.evidence.memory.haste;
            *haste = (*haste + better).clamp(HASTE_REMEMBERED.0, HASTE_REMEMBERED.1);
        }
    }

    fn wager(&mut self, row: &Row, prediction: &Prediction, recorded: Option<usize>) {
        let record = recorded.map(|index| &self.records[index]);
        let hour = usize::from(row.hour);
        let lottery = &mut self.lottery;
        lottery.clear();
        match record {
            Some(record) if !record.generators.is_empty() => {
                let arms = record.generators.iter().enumerate();
                lottery.extend(arms.map(|(index, weight)| (*weight, prediction.worth(index))));
            }
            _ => lottery.extend(self.shares.generators(row).map(|(index, share)| (share, prediction.worth(index)))),
        }
        let shares = match record {
            // A reply is chosen by other means than the formats' weights: for it there is nothing to win.
            _ if row.kind == Kind::Reply => [0.0, 0.0, 1.0],
            Some(record) if record.formats.iter().sum::<f64>() > 0.0 => record.formats,
            _ => self.shares.formats(row),
        };
        let mut formats = [(0.0, Effect::default()); Kind::ALL.len()];
        for (arm, (share, effect)) in formats.iter_mut().zip(shares.into_iter().zip(prediction.formats)) {
            *arm = (share, effect);
        }
        let shares = record.and_then(|record| record.hours).unwrap_or_else(|| self.shares.hours(row));
        let mut hours = [(0.0, Effect::default()); HOURS];
        for (arm, (share, effect)) in hours.iter_mut().zip(shares.into_iter().zip(prediction.hours)) {
            *arm = (share, effect);
        }
        let subjects = [lottery.as_slice(), formats.as_slice(), hours.as_slice()];
        let chosen = [row.generator, row.kind.index(), hour];
        let value = row.z - prediction.level;
        let own: f64 =
            subjects.iter().zip(chosen).map(|(arms, place)| arms.get(place).map_or(0.0, |arm| arm.1.mean)).sum();
        for ((sum, arms), place) in self.log_odds.iter_mut().zip(subjects).zip(chosen) {
            let unexplained = value - own + arms.get(place).map_or(0.0, |arm| arm.1.mean);
            *sum += gate::odds(arms.iter().copied(), place, unexplained, prediction.noise).map_or(0.0, f64::ln);
        }
        self.log_joint += gate::joint_odds(subjects, chosen, value, prediction.noise).map_or(0.0, f64::ln);
        self.wagers += 1;
    }

    fn follow(&mut self, row: &Row, prediction: &Prediction, recorded: Option<usize>) {
        let Some(present) = recorded.map(|index| &self.records[index]) else { return };
        let surprise = row.z - prediction.of(row.generator, row.kind, row.hour);
        let generator = |index: usize| prediction.generator(index);
        let format = |index: usize| prediction.formats[index];
        let hour = |index: usize| prediction.hours[index];
        for (change, before, tally) in &mut self.changes {
            if row.chosen < change.at.timestamp() {
                continue;
            }
            match change.subject {
                Subject::Generator => {
                    compare(tally, &present.generators, &before.generators, row.generator, surprise, generator);
                }
                // Replies are not chosen by format.
                Subject::Format if row.kind == Kind::Reply => {}
                Subject::Format => {
                    compare(tally, &present.formats, &before.formats, row.kind.index(), surprise, format);
                }
                Subject::Hour => {
                    if let (Some(present), Some(before)) = (&present.hours, &before.hours) {
                        compare(tally, present, before, usize::from(row.hour), surprise, hour);
                    }
                }
            }
        }
    }

    /// All posts are read.
    pub fn finish(mut self) -> Evidence {
        if self.cut.is_none() {
            self.release();
        }
        self.settle();
        let judged_to = self.now - TimeDelta::seconds(seconds(self.settings.mature_hours * 3_600.0));
        let memory = &mut self.evidence.memory;
        memory.read_to = Some(memory.read_to.map_or(judged_to, |before| before.max(judged_to)));
        self.evidence.outcomes = self.changes.iter().map(|(change, _, tally)| tally.outcome(change)).collect();
        self.evidence
    }
}

/// One post under present and former weights of one subject.
fn compare(
    tally: &mut Tally,
    present: &[f64],
    before: &[f64],
    chosen: usize,
    surprise: f64,
    effect: impl Fn(usize) -> Effect,
) {
    let (present_sum, before_sum) = (present.iter().sum::<f64>(), before.iter().sum::<f64>());
    let probability = present.get(chosen).copied().unwrap_or(0.0) / present_sum;
    if !(probability > 0.0 && before_sum > 0.0) {
        return;
    }
    let expected = |weights: &[f64], sum: f64| -> f64 {
        weights.iter().enumerate().map(|(index, weight)| weight / sum * effect(index).mean).sum()
    };
    let gain = expected(present, present_sum) - expected(before, before_sum);
    tally.add(gain, surprise, before.get(chosen).copied().unwrap_or(0.0) / before_sum / probability);
}

/// A recorded probability, or none.
fn usable(weight: f64) -> f64 {
    if weight.is_finite() { weight.max(0.0) } else { 0.0 }
}

/// Whole seconds; settings are validated to be small.
#[allow(clippy::cast_possible_truncation)]
fn seconds(value: f64) -> i64 {
    value.round() as i64
}

/// Median of values, which are reordered; 0 without values.
fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// Observed shares, for posts whose probabilities were not recorded. The post at hand is counted in, which errs towards
/// no proof.
#[derive(Debug, Default)]
struct Shares {
    generators: Vec<[f64; 3 * BLOCKS]>,
    hours: [f64; HOURS],
    posts: f64,
}

impl Shares {
    fn stratum(row: &Row) -> usize {
        row.kind.index() * BLOCKS + usize::from(row.hour) * BLOCKS / HOURS
    }

    fn add(&mut self, row: &Row) {
        if self.generators.len() <= row.generator {
            self.generators.resize(row.generator + 1, [0.0; 3 * BLOCKS]);
        }
        self.generators[row.generator][Self::stratum(row)] += 1.0;
        self.hours[usize::from(row.hour)] += 1.0;
        self.posts += 1.0;
    }

    /// Shares among posts of the same kind and time of day, mixed with the overall ones.
    fn generators<'s>(&'s self, row: &Row) -> impl Iterator<Item = (usize, f64)> + 's {
        let (stratum, own, all) = (Self::stratum(row), row.generator, self.posts + 1.0);
        (0..self.generators.len().max(own + 1)).map(move |index| {
            let counts = self.generators.get(index);
            let at_hand = f64::from(u8::from(index == own));
            let here = counts.map_or(0.0, |counts| counts[stratum]) + at_hand;
            let overall = counts.map_or(0.0, |counts| counts.iter().sum()) + at_hand;
            (index, here + SHARE_PRIOR * overall / all)
        })
    }

    /// Shares of the kinds among the generator's posts.
    fn formats(&self, row: &Row) -> [f64; 3] {
        let mut shares = [0.0; 3];
        for kind in Kind::FORMATS {
            let first = kind.index() * BLOCKS;
            let count = |counts: &[f64; 3 * BLOCKS]| counts[first..first + BLOCKS].iter().sum::<f64>();
            let own = self.generators.get(row.generator).map_or(0.0, count);
            let overall: f64 = self.generators.iter().map(count).sum();
            let at_hand = f64::from(u8::from(kind == row.kind));
            shares[kind.index()] = own + at_hand + SHARE_PRIOR * (overall + at_hand) / (self.posts + 1.0);
        }
        shares
    }

    /// Shares of the hours.
    fn hours(&self, row: &Row) -> [f64; HOURS] {
        let mut shares = self.hours.map(|count| count + SHARE_PRIOR / HOURS as f64);
        shares[usize::from(row.hour)] += 1.0;
        shares
    }
}
