//! From evidence to a plan: new weights of generators, formats and hours, each with its reason; or why nothing changes.
//!
//! Pure: the same evidence, weights, settings and instant give the same plan, in a dry run and in a real one. The plan
//! also carries what is to be remembered for the next run ([`Memory`]); a dry run throws it away.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::arm::{Arm, Standing, Status};
use super::choice::{Draws, Interval, best_probabilities, combination, over_average};
use super::clock::HOURS;
use super::effect::{Outcome, Share};
use super::gate::{Gate, Subject};
use super::model::Fit;
use super::objective::from_log;
use super::observation::{Count, Evidence, Kind, LeftOut};
use super::settings::Settings;
use super::weights::{Infeasible, Slot, Steps, UNITS, fill, from_units, project, to_units};

/// Wish of a viral generator as a multiple of what the model alone would wish.
const VIRAL_BOOST: f64 = 1.5;
/// Part of a wish that is the standing weight, before it is raised to the power of greed as the probabilities are: far
/// below the smallest probability that the draws can show (one in 100,000).
const STAYING: f64 = 1e-6;
/// Share of posts without any value from which zeros are modelled apart (and up to which the others are).
const LEAST_ZEROS: f64 = 0.02;
/// Weights whose sum is off by this much are as stored rounded, not wrong (ten-thousandths).
const SUM_TOLERANCE: i64 = 0;

/// What is remembered from run to run. It is small (a line for each arm) and belongs into `healer.setting`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Memory {
    /// The stakes of the test.
    pub gate: Gate,
    /// Posts up to here have been wagered on.
    pub read_to: Option<DateTime<Utc>>,
    /// How much better fast fading has foretold the posts than slow fading (log of the ratio of densities).
    pub haste: f64,
    /// Where each weight stood before it was ever moved, in ten-thousandths, by `generator:NAME`, `format:KIND`, `hour:H`.
    pub stood: BTreeMap<String, i64>,
    /// What healer last set, to notice that a person has changed it since.
    pub set: BTreeMap<String, i64>,
}

/// Why a subject, or everything, stays as it is.
#[derive(Debug, Clone, PartialEq, Error, Serialize)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum NoChange {
    /// Too few measured posts lately.
    #[error("only {have} measured posts in the last 7 days; {need} are needed")]
    TooFewPosts {
        /// Posts there are.
        have: u64,
        /// Posts that are needed.
        need: u64,
    },
    /// All values are equal.
    #[error("every measured post has the same value; there is nothing to learn from them")]
    AllEqual,
    /// Nothing to choose between.
    #[error("fewer than two {subject} can be moved (active, not locked, with at least {need} measured posts)")]
    NothingToMove {
        /// The subject, in the plural.
        subject: &'static str,
        /// Posts that each needs.
        need: u64,
    },
    /// A person took the last change back.
    #[error("a person took back what run {run} did; left alone until {}", until.format("%Y-%m-%d %H:%M UTC"))]
    TakenBack {
        /// The run.
        run: i64,
        /// Until when nothing is moved.
        until: DateTime<Utc>,
    },
    /// The setting that holds the weights is locked.
    #[error("{name} is locked; `UPDATE healer.setting SET locked = false WHERE name = '{name}'` lets it move again")]
    Locked {
        /// Its name.
        name: &'static str,
    },
    /// The table has no active row.
    #[error("no active {subject}")]
    NoActive {
        /// The subject, in the plural.
        subject: &'static str,
    },
    /// The rules contradict each other.
    #[error("{subject}: no weights satisfy all rules: {infeasible}")]
    Infeasible {
        /// The subject, in the plural.
        subject: &'static str,
        /// Which way they fail.
        infeasible: Infeasible,
    },
}

/// One arm in the plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArmPlan {
    /// Name of the generator, `single`/`thread`, or the hour.
    pub name: String,
    /// Status now (generators only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Status after the plan, if it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_status: Option<Status>,
    /// Weight now.
    pub old_weight: f64,
    /// Weight after the plan.
    pub new_weight: f64,
    /// Measured posts in the window.
    pub posts: u64,
    /// Of these, in the last 7 days.
    pub posts_last_7_days: u64,
    /// Of these, in the last 30 days.
    pub posts_last_30_days: u64,
    /// Typical value of its posts as they are (not corrected for format and hour).
    pub typical: Option<f64>,
    /// Raw mean of its posts.
    pub raw_mean: Option<f64>,
    /// Followers per 1,000 impressions, where measured.
    pub f_per_1k: Option<f64>,
    /// What it adds over the average arm, the other subjects being equal, with a 90 % interval.
    pub effect: Option<Share>,
    /// Probability to be the best.
    pub p_best: Option<f64>,
    /// F/1K above the limit.
    pub viral: bool,
    /// Measured posts and not one follower.
    pub failing: bool,
    /// Why its weight is what it is.
    pub reason: String,
}

impl ArmPlan {
    /// Whether the plan changes anything about it.
    pub fn changes(&self) -> bool {
        to_units(self.old_weight) != to_units(self.new_weight) || self.new_status.is_some()
    }
}

/// One subject in the plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SubjectPlan {
    /// Which.
    pub subject: Subject,
    /// A difference between its arms is proven.
    pub proven: bool,
    /// What the test's stake of 1 on this subject alone has become. One part of the evidence that opens the gate.
    pub evidence: f64,
    /// Why nothing changes, if nothing does.
    pub no_change: Option<NoChange>,
    /// What the model expects of the new weights over the old ones.
    pub expected_impact: Option<Share>,
    /// Its arms.
    pub arms: Vec<ArmPlan>,
}

impl SubjectPlan {
    /// Whether the plan changes anything in it.
    pub fn changes(&self) -> bool {
        self.arms.iter().any(ArmPlan::changes)
    }
}

/// The whole plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// What posts are judged by.
    pub objective: String,
    /// Zone in which hours are counted.
    pub zone: String,
    /// Measured posts in the window.
    pub posts: u64,
    /// Of these, in the last 7 days.
    pub posts_last_7_days: u64,
    /// Of these, in the last 30 days.
    pub posts_last_30_days: u64,
    /// Posts read and not used.
    pub left_out: LeftOut,
    /// Typical value of all posts.
    pub typical: Option<f64>,
    /// Raw mean of all posts.
    pub raw_mean: Option<f64>,
    /// Typical value by kind; replies stand here beside the formats.
    pub kinds: Vec<(Kind, u64, Option<f64>)>,
    /// Things a person should know, the most important first.
    pub warnings: Vec<String>,
    /// Why nothing at all changes, if so.
    pub no_change: Option<NoChange>,
    /// Generators.
    pub generators: SubjectPlan,
    /// Formats: single and thread.
    pub formats: SubjectPlan,
    /// Hours 0 to 23.
    pub hours: SubjectPlan,
    /// What earlier changes did, the harmful ones first.
    pub outcomes: Vec<Outcome>,
    /// For the next run.
    pub memory: Memory,
}

/// Standing weights of everything that may move.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    /// The weights table; empty if there is none.
    pub arms: &'a [Arm],
    /// Single and thread; `None` if no weights are stored yet: then the observed shares stand.
    pub formats: Option<&'a [Standing; 2]>,
    /// Hours 0 to 23; `None` as above.
    pub hours: Option<&'a [Standing; HOURS]>,
    /// Why a subject is left alone whatever its posts say, by [`Subject::index`].
    pub kept: [Option<&'a NoChange>; 3],
}

/// Everything that a subject's decision looks at.
struct Case<'a> {
    settings: &'a Settings,
    subject: Subject,
    min_posts: u64,
    floor: i64,
    cap: i64,
    arms: Vec<Candidate<'a>>,
}

/// One arm that takes part in the sum.
#[allow(clippy::struct_excessive_bools)] // independent facts about an arm, not states of one machine
struct Candidate<'a> {
    name: String,
    key: String,
    /// Row of the draws, if the model knows it.
    row: Option<usize>,
    now: i64,
    anchor: i64,
    locked: bool,
    entering: bool,
    status: Option<Status>,
    count: &'a Count,
    viral: bool,
    failing: bool,
}

static NOTHING: Count = Count {
    posts: 0,
    last_7_days: 0,
    last_30_days: 0,
    raw_sum: 0.0,
    log_sum: 0.0,
    followed_posts: 0,
    followers: 0.0,
    followed_impressions: 0.0,
};

/// Decides.
pub fn decide(evidence: &Evidence, weights: &Weights<'_>, settings: &Settings, now: DateTime<Utc>) -> Plan {
    let mut memory = evidence.memory.clone();
    let mut outcomes = evidence.outcomes.clone();
    outcomes.sort_by_key(|outcome| (!outcome.harmed, std::cmp::Reverse(outcome.at)));
    let mut warnings: Vec<String> = outcomes.iter().filter(|outcome| outcome.harmed).map(Outcome::describe).collect();
    let varied = evidence.range.is_some_and(|(low, high)| high > low);
    let draws = varied.then(|| drawn(evidence, settings)).flatten();
    let no_change = if evidence.total.last_7_days < u64::from(settings.min_posts) {
        Some(NoChange::TooFewPosts { have: evidence.total.last_7_days, need: u64::from(settings.min_posts) })
    } else if draws.is_none() {
        Some(NoChange::AllEqual)
    } else {
        None
    };
    let generators = generator_case(evidence, weights.arms, settings, now, no_change.is_none(), &mut warnings);
    let formats = format_case(evidence, weights.formats, settings);
    let hours = hour_case(evidence, weights.hours, settings);
    let [generators, formats, hours] = [
        (generators, draws.as_ref().map(|draws| draws.generators.as_slice())),
        (formats, draws.as_ref().map(|draws| draws.formats.as_slice())),
        (hours, draws.as_ref().map(|draws| draws.hours.as_slice())),
    ]
    .map(|(case, draws)| {
        let kept = weights.kept[case.subject.index()];
        case.decide(draws, no_change.as_ref().or(kept), &mut memory, &mut warnings)
    });
    let mut generators = generators;
    add_bystanders(&mut generators, evidence, weights.arms);
    let typical = |count: &Count| (count.posts > 0).then(|| from_log(count.log_sum / count.posts as f64));
    Plan {
        objective: settings.objective.describe(),
        zone: settings.zone.clone(),
        posts: evidence.total.posts,
        posts_last_7_days: evidence.total.last_7_days,
        posts_last_30_days: evidence.total.last_30_days,
        left_out: evidence.left_out,
        typical: typical(&evidence.total),
        raw_mean: evidence.total.raw_mean(),
        kinds: Kind::ALL
            .map(|kind| (kind, &evidence.kinds[kind.index()]))
            .map(|(kind, count)| (kind, count.posts, typical(count)))
            .to_vec(),
        warnings,
        no_change,
        generators,
        formats,
        hours,
        outcomes,
        memory,
    }
}

/// Draws from the model of the posts. Where many posts earn nothing, "whether" and "how much" are fitted apart and put
/// together: the mean of the log value is `(1 - zeros) · size`, so an arm adds `(1 - zeros)·size_arm - size·zeros_arm`.
/// Fitted as one, the gap between nothing and something would drown the differences between sizes.
fn drawn(evidence: &Evidence, settings: &Settings) -> Option<Draws> {
    let count = settings.draws as usize;
    let (zeros, size) = evidence.zeros_and_size();
    let (cells, earned) = evidence.believed();
    if (LEAST_ZEROS..=1.0 - LEAST_ZEROS).contains(&zeros) {
        let earning = Fit::new(earned);
        let whether = Fit::new(&cells.indicator_of_absence(earned));
        if let (Some(earning), Some(whether)) = (earning, whether) {
            let mut draws = Draws::new(&earning, count, settings.seed);
            // Another seed, so that both parts are independent.
            draws.combine(1.0 - zeros, &Draws::new(&whether, count, settings.seed.wrapping_add(1)), -size);
            return Some(draws);
        }
    }
    Fit::new(cells).map(|fit| Draws::new(&fit, count, settings.seed))
}

fn generator_case<'a>(
    evidence: &'a Evidence,
    arms: &[Arm],
    settings: &'a Settings,
    now: DateTime<Utc>,
    enough: bool,
    warnings: &mut Vec<String>,
) -> Case<'a> {
    let floor = to_units(settings.generator_floor);
    let anyone_gained = evidence.total.followers > 0.0;
    let mut candidates = Vec::new();
    // The testing generator that has rested longest, and long enough, is tried again; one a run, so that each is noticed.
    let rested = TimeDelta::days(i64::from(settings.testing_rest_days));
    let returning = arms
        .iter()
        .filter(|arm| enough && arm.status == Status::Testing && !arm.locked)
        .filter(|arm| arm.changed_at.is_none_or(|changed| now - changed >= rested))
        .min_by_key(|arm| (arm.changed_at, arm.name.clone()))
        .map(|arm| arm.name.as_str());
    for arm in arms {
        let entering = returning == Some(arm.name.as_str());
        if arm.status != Status::Active && !entering {
            continue;
        }
        let row = evidence.names.iter().position(|name| *name == arm.name);
        let count = row.map_or(&NOTHING, |row| &evidence.generators[row]);
        if !(0.0..=1.0).contains(&arm.weight) {
            warnings.push(format!("generator {}: its weight {} is not between 0 and 1", arm.name, arm.weight));
        }
        let now = if entering { floor } else { to_units(arm.weight) };
        candidates.push(Candidate {
            name: arm.name.clone(),
            key: format!("generator:{}", arm.name),
            row,
            now,
            anchor: if entering { floor } else { arm.weight_four_hours_ago.map_or(now, to_units) },
            locked: arm.locked,
            entering,
            status: Some(arm.status),
            count,
            viral: count.followed_posts >= u64::from(settings.viral_min_posts)
                && count.f_per_1k().is_some_and(|rate| rate > settings.viral_f_per_1k),
            failing: anyone_gained
                && count.followed_posts >= u64::from(settings.failing_min_posts)
                && count.followers <= 0.0,
        });
    }
    let unknown: Vec<&str> = evidence
        .names
        .iter()
        .zip(&evidence.generators)
        .filter(|(name, count)| count.posts > 0 && !arms.iter().any(|arm| arm.name == **name))
        .map(|(name, _)| name.as_str())
        .collect();
    if !unknown.is_empty() {
        let shown = unknown.iter().take(10).copied().collect::<Vec<_>>().join(", ");
        warnings.push(format!("{} generators appear in the posts and not in the weights: {shown}", unknown.len()));
    }
    let min_posts = u64::from(settings.min_posts_per_generator);
    Case {
        settings,
        subject: Subject::Generator,
        min_posts,
        floor,
        cap: to_units(settings.generator_cap),
        arms: candidates,
    }
}

fn format_case<'a>(evidence: &'a Evidence, stored: Option<&[Standing; 2]>, settings: &'a Settings) -> Case<'a> {
    let counts = Kind::FORMATS.map(|kind| &evidence.kinds[kind.index()]);
    let standing = standing(stored.map(<[Standing; 2]>::as_slice), &counts);
    let arms = Kind::FORMATS.into_iter().zip(standing).map(|(kind, standing)| {
        candidate(kind.name().to_owned(), Subject::Format, kind.index(), standing, &evidence.kinds[kind.index()])
    });
    Case {
        settings,
        subject: Subject::Format,
        min_posts: u64::from(settings.min_posts_per_generator),
        floor: to_units(settings.format_floor),
        cap: to_units(settings.format_cap),
        arms: arms.collect(),
    }
}

fn hour_case<'a>(evidence: &'a Evidence, stored: Option<&[Standing; HOURS]>, settings: &'a Settings) -> Case<'a> {
    let counts: Vec<&Count> = evidence.hours.iter().collect();
    let standing = standing(stored.map(<[Standing; HOURS]>::as_slice), &counts);
    let arms = standing
        .into_iter()
        .enumerate()
        .map(|(hour, standing)| candidate(hour.to_string(), Subject::Hour, hour, standing, &evidence.hours[hour]));
    Case {
        settings,
        subject: Subject::Hour,
        // Hours are one curve: an hour without posts is known from its neighbours.
        min_posts: 0,
        floor: to_units(settings.hour_floor),
        cap: to_units(settings.hour_cap),
        arms: arms.collect(),
    }
}

/// Stored weights, or else the observed shares (each arm counted once more than it was seen, so that none stands at 0).
fn standing(stored: Option<&[Standing]>, counts: &[&Count]) -> Vec<Standing> {
    if let Some(stored) = stored {
        return stored.to_vec();
    }
    let total: f64 = counts.iter().map(|count| count.posts as f64 + 1.0).sum();
    let wish: Vec<f64> = counts.iter().map(|count| (count.posts as f64 + 1.0) / total).collect();
    let whole = project(&wish, &vec![(0, UNITS); wish.len()]).unwrap_or_default();
    whole.into_iter().map(|units| Standing::steady(from_units(units))).collect()
}

fn candidate(name: String, subject: Subject, row: usize, standing: Standing, count: &Count) -> Candidate<'_> {
    let prefix = if subject == Subject::Format { "format" } else { "hour" };
    let now = to_units(standing.weight);
    Candidate {
        key: format!("{prefix}:{name}"),
        name,
        row: Some(row),
        now,
        anchor: standing.weight_four_hours_ago.map_or(now, to_units),
        locked: standing.locked,
        entering: false,
        status: None,
        count,
        viral: false,
        failing: false,
    }
}

impl Case<'_> {
    /// Decides one subject and brings the memory up to date.
    fn decide(
        self,
        draws: Option<&[Vec<f64>]>,
        no_change: Option<&NoChange>,
        memory: &mut Memory,
        warnings: &mut Vec<String>,
    ) -> SubjectPlan {
        let mut plan = SubjectPlan {
            subject: self.subject,
            proven: memory.gate.is_open(),
            evidence: memory.gate.stakes[self.subject.index()].evidence(),
            no_change: no_change.cloned(),
            expected_impact: None,
            arms: Vec::with_capacity(self.arms.len()),
        };
        let known: Vec<usize> = self
            .arms
            .iter()
            .filter(|arm| arm.count.posts > 0 || self.min_posts == 0)
            .filter_map(|arm| arm.row)
            .collect();
        let p_best = draws.map(|draws| best_probabilities(draws, &known)).unwrap_or_default();
        let chance = |row: Option<usize>| {
            row.and_then(|row| known.iter().position(|known| *known == row))
                .and_then(|place| p_best.get(place).copied())
        };
        let current: i64 = self.arms.iter().filter(|arm| !arm.entering).map(|arm| arm.now).sum();
        if !self.arms.is_empty() && (current - UNITS).abs() > SUM_TOLERANCE {
            warnings.push(format!(
                "the weights of active {} sum to {:.4} instead of 1",
                self.subject.plural(),
                from_units(current)
            ));
        }
        let found =
            if plan.no_change.is_none() { self.new_weights(&chance, plan.proven, memory, current) } else { Ok(None) };
        let new = match found {
            Ok(Some(new)) => new,
            Ok(None) => self.arms.iter().map(|arm| arm.now).collect(),
            Err(why) => {
                plan.no_change = Some(why);
                self.arms.iter().map(|arm| arm.now).collect()
            }
        };
        let settled = plan.no_change.is_none();
        if settled {
            let moved: Vec<(usize, f64)> = self
                .arms
                .iter()
                .zip(&new)
                .filter_map(|(arm, new)| {
                    Some((arm.row?, from_units(*new) - if arm.entering { 0.0 } else { from_units(arm.now) }))
                })
                .collect();
            plan.expected_impact = draws.and_then(|draws| combination(draws, moved)).map(share);
        }
        for (arm, new) in self.arms.iter().zip(&new) {
            if settled {
                memory.set.insert(arm.key.clone(), *new);
            }
            let p_best = chance(arm.row);
            let effect =
                arm.row.filter(|row| known.contains(row)).and_then(|row| over_average(draws?, row, &known)).map(share);
            let entering = arm.entering && settled;
            plan.arms.push(ArmPlan {
                name: arm.name.clone(),
                status: arm.status,
                new_status: entering.then_some(Status::Active),
                old_weight: from_units(if arm.entering { 0 } else { arm.now }),
                new_weight: from_units(if arm.entering && !settled { 0 } else { *new }),
                posts: arm.count.posts,
                posts_last_7_days: arm.count.last_7_days,
                posts_last_30_days: arm.count.last_30_days,
                typical: (arm.count.posts > 0).then(|| from_log(arm.count.log_sum / arm.count.posts as f64)),
                raw_mean: arm.count.raw_mean(),
                f_per_1k: arm.count.f_per_1k(),
                effect,
                p_best,
                viral: arm.viral,
                failing: arm.failing,
                reason: self.reason(arm, *new, plan.no_change.as_ref(), plan.proven, p_best),
            });
        }
        plan
    }

    /// The weights that all rules allow and that come nearest to the wish.
    fn new_weights(
        &self,
        chance: &dyn Fn(Option<usize>) -> Option<f64>,
        proven: bool,
        memory: &mut Memory,
        current: i64,
    ) -> Result<Option<Vec<i64>>, NoChange> {
        let subject = self.subject.plural();
        if self.arms.is_empty() {
            return Err(NoChange::NoActive { subject });
        }
        let fair = to_units(self.settings.fair_start.min(1.0 / self.arms.len() as f64));
        let is_new = |arm: &Candidate<'_>| {
            self.subject == Subject::Generator && !arm.locked && arm.count.posts < self.min_posts && arm.now < fair
        };
        let movable = |arm: &Candidate<'_>| !arm.locked && !arm.entering && arm.count.posts >= self.min_posts;
        if self.arms.iter().filter(|arm| movable(arm)).count() < 2 && current == UNITS {
            return Err(NoChange::NothingToMove { subject, need: self.min_posts });
        }
        // A sum that is not 1 is first put right in proportion; locked weights stay.
        let locked: i64 = self.arms.iter().filter(|arm| arm.locked).map(|arm| arm.now).sum();
        let entering: i64 = self.arms.iter().filter(|arm| arm.entering).map(|arm| arm.now).sum();
        let free = current - locked;
        let repair =
            if current == UNITS || free <= 0 { 1.0 } else { (UNITS - locked - entering).max(0) as f64 / free as f64 };
        let lean = to_units(self.settings.lean_points);
        let steps = Steps {
            factor: self.settings.step_factor,
            points: to_units(self.settings.step_points),
            lean: (!proven).then_some(lean),
        };
        let mut ranges = Vec::with_capacity(self.arms.len());
        let mut wishes = Vec::with_capacity(self.arms.len());
        let mut wishing = 0.0;
        for arm in &self.arms {
            let stands = if arm.locked || arm.entering { arm.now } else { to_units(from_units(arm.now) * repair) };
            let stood = memory.stood.entry(arm.key.clone()).or_insert(stands);
            let moved_by_hand = memory.set.get(&arm.key).is_some_and(|set| *set != arm.now);
            if moved_by_hand || current != UNITS {
                *stood = stands;
            }
            let (held, floor, cap) = if is_new(arm) {
                *stood = fair;
                (false, fair, fair)
            } else {
                // While the sum is being put right, arms that are otherwise left alone take part in it.
                (!movable(arm) && (arm.locked || arm.entering || current == UNITS), self.floor, self.cap)
            };
            let slot = Slot { now: stands, anchor: arm.anchor, stood: *stood, held, floor, cap };
            ranges.push(slot.range(&steps));
            let wish = if held || !movable(arm) {
                None
            } else {
                let mut wish = chance(arm.row).unwrap_or(0.0).powf(self.settings.greed);
                if arm.failing {
                    wish = 0.0;
                } else if arm.viral {
                    wish *= VIRAL_BOOST;
                }
                // What the favourites may not take yet stays where it is, and does not wander to whoever is least liked.
                wish += STAYING.powf(self.settings.greed) * from_units(stands);
                wishing += wish;
                Some(wish)
            };
            wishes.push((wish, stands));
        }
        // Held arms have a range of one weight; new ones climb as their range says. The others share what is left.
        let preference: Vec<f64> = wishes.iter().map(|(wish, _)| wish.unwrap_or(0.0)).collect();
        let wish: Vec<f64> = if wishing > 0.0 {
            fill(&preference, &ranges)
        } else {
            wishes.iter().map(|(_, stands)| from_units(*stands)).collect()
        };
        project(&wish, &ranges).map(Some).map_err(|infeasible| NoChange::Infeasible { subject, infeasible })
    }

    /// One sentence on an arm.
    fn reason(
        &self,
        arm: &Candidate<'_>,
        new: i64,
        no_change: Option<&NoChange>,
        proven: bool,
        p_best: Option<f64>,
    ) -> String {
        if let Some(why) = no_change {
            return format!("kept: {why}");
        }
        if arm.locked {
            return "kept: locked".to_owned();
        }
        if arm.entering {
            return format!("tried again after {} days of rest", self.settings.testing_rest_days);
        }
        let words = match new.cmp(&arm.now) {
            std::cmp::Ordering::Greater => "raised",
            std::cmp::Ordering::Less => "lowered",
            std::cmp::Ordering::Equal => "kept",
        };
        if arm.count.posts < self.min_posts {
            return if new > arm.now {
                format!("raised: new, gets a fair start ({} of {} posts measured)", arm.count.posts, self.min_posts)
            } else {
                format!("{words}: only {} of {} posts measured", arm.count.posts, self.min_posts)
            };
        }
        let mut reason = match p_best {
            Some(chance) => format!("{words}: best with probability {:.0} %", chance * 100.0),
            None => words.to_owned(),
        };
        if !proven {
            reason.push_str("; no difference proven yet, so it only leans");
        }
        if arm.failing {
            let _ = write!(reason, "; failing: no follower from {} measured posts", arm.count.followed_posts);
        } else if arm.viral {
            let _ =
                write!(reason, "; viral: {:.1} followers per 1,000 impressions", arm.count.f_per_1k().unwrap_or(0.0));
        }
        reason
    }
}

/// Generators of the table that take no part, so that the output shows every row.
fn add_bystanders(plan: &mut SubjectPlan, evidence: &Evidence, arms: &[Arm]) {
    for arm in arms.iter().filter(|arm| matches!(arm.status, Status::Testing | Status::Disabled)) {
        if plan.arms.iter().any(|planned| planned.name == arm.name) {
            continue;
        }
        let count =
            evidence.names.iter().position(|name| *name == arm.name).map_or(&NOTHING, |row| &evidence.generators[row]);
        plan.arms.push(ArmPlan {
            name: arm.name.clone(),
            status: Some(arm.status),
            new_status: None,
            old_weight: arm.weight,
            new_weight: arm.weight,
            posts: count.posts,
            posts_last_7_days: count.last_7_days,
            posts_last_30_days: count.last_30_days,
            typical: (count.posts > 0).then(|| from_log(count.log_sum / count.posts as f64)),
            raw_mean: count.raw_mean(),
            f_per_1k: count.f_per_1k(),
            effect: None,
            p_best: None,
            viral: false,
            failing: false,
            reason: match arm.status {
                Status::Testing => "kept: testing, still resting".to_owned(),
                _ => "kept: disabled".to_owned(),
            },
        });
    }
}

/// An interval on the log scale as a relative change.
fn share(interval: Interval) -> Share {
    Share { low: interval.low.exp_m1(), mean: interval.mean.exp_m1(), high: interval.high.exp_m1() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimize::content::arm::Record;
    use crate::optimize::content::effect::Change;
    use crate::optimize::content::observation::{HASTE_PROVEN, Post, Reader};
    use proptest::prelude::*;

    const NAMES: [&str; 3] = ["coach", "storyteller", "explorer"];

    fn now() -> DateTime<Utc> {
        "2026-04-01T12:00:00Z".parse().expect("instant")
    }

    fn arm(name: &str, weight: f64) -> Arm {
        Arm {
            name: name.to_owned(),
            weight,
            weight_four_hours_ago: None,
            status: Status::Active,
            locked: false,
            changed_at: None,
        }
    }

    fn arms() -> Vec<Arm> {
        vec![arm("coach", 0.4), arm("storyteller", 0.3), arm("explorer", 0.3)]
    }

    /// Post number `index` of 240 within 20 days, by turns, with a rate that depends on its generator and a fixed wobble.
    fn post(index: usize, rates: [f64; 3]) -> Post<'static> {
        let generator = index % 3;
        let wobble = [0.8, 1.25, 1.0, 0.9, 1.1][index / 3 % 5];
        Post {
            generator: NAMES[generator],
            kind: if (index / 15).is_multiple_of(2) { Kind::Single } else { Kind::Thread },
            posted_at: Some(
                now() - TimeDelta::hours(24 * 21) + TimeDelta::minutes(120 * i64::try_from(index).expect("small")),
            ),
            impressions: Some(1_000.0),
            likes: Some(rates[generator] * wobble),
            retweets: Some(0.0),
            replies: Some(0.0),
            ..Post::default()
        }
    }

    fn plan_of<'p>(posts: impl IntoIterator<Item = Post<'p>>, arms: &[Arm], memory: Memory) -> Plan {
        let settings = Settings { draws: 1_000, ..Settings::default() };
        let mut reader = Reader::new(&settings, now(), arms, &[], &[], memory).expect("settings");
        for post in posts {
            reader.read(&post);
        }
        decide(&reader.finish(), &Weights { arms, formats: None, hours: None, kept: [None; 3] }, &settings, now())
    }

    fn sum(plan: &SubjectPlan) -> i64 {
        plan.arms
            .iter()
            .filter(|arm| arm.status.is_none_or(|status| status == Status::Active) || arm.new_status.is_some())
            .map(|arm| to_units(arm.new_weight))
            .sum()
    }

    fn weight(plan: &Plan, name: &str) -> f64 {
        plan.generators.arms.iter().find(|arm| arm.name == name).expect("arm").new_weight
    }

    #[test]
    fn a_clearly_better_generator_is_proven_and_raised_by_one_step() {
        let plan = plan_of((0..240).map(|index| post(index, [60.0, 20.0, 20.0])), &arms(), Memory::default());
        assert!(plan.generators.proven);
        assert!((weight(&plan, "coach") - 0.6).abs() < 1e-9, "half again within four hours");
        assert_eq!(sum(&plan.generators), UNITS);
        let gain = plan.generators.expected_impact.expect("impact");
        assert!(gain.low > 0.0, "{gain}");
    }

    #[test]
    fn the_same_posts_give_the_same_plan() {
        let posts = || (0..240).map(|index| post(index, [25.0, 20.0, 22.0]));
        assert_eq!(plan_of(posts(), &arms(), Memory::default()), plan_of(posts(), &arms(), Memory::default()));
    }

    #[test]
    fn nineteen_posts_in_a_week_change_nothing_and_that_is_said() {
        let plan = plan_of((221..240).map(|index| post(index, [60.0, 20.0, 20.0])), &arms(), Memory::default());
        assert_eq!(plan.no_change, Some(NoChange::TooFewPosts { have: 19, need: 20 }));
        assert!(!plan.generators.changes() && !plan.formats.changes() && !plan.hours.changes());
        assert!(plan.generators.arms[0].reason.contains("19"));
    }

    #[test]
    fn all_rewards_zero_change_nothing() {
        let plan = plan_of((0..240).map(|index| post(index, [0.0; 3])), &arms(), Memory::default());
        assert_eq!(plan.no_change, Some(NoChange::AllEqual));
        assert!(!plan.generators.changes());
    }

    #[test]
    fn one_arm_only_is_not_moved() {
        let plan =
            plan_of((0..240).map(|index| post(index, [60.0, 20.0, 20.0])), &[arm("coach", 1.0)], Memory::default());
        assert!(matches!(plan.generators.no_change, Some(NoChange::NothingToMove { .. })));
        assert!(plan.warnings.iter().any(|warning| warning.contains("storyteller")), "{:?}", plan.warnings);
    }

    #[test]
    fn no_weights_table_leaves_formats_and_hours_their_plans() {
        let plan = plan_of((0..240).map(|index| post(index, [60.0, 20.0, 20.0])), &[], Memory::default());
        assert_eq!(plan.generators.no_change, Some(NoChange::NoActive { subject: "generators" }));
        assert_eq!((sum(&plan.formats), sum(&plan.hours)), (UNITS, UNITS));
    }

    #[test]
    fn locked_and_disabled_generators_keep_their_weights() {
        let mut arms = arms();
        arms[0].locked = true;
        arms.push(Arm { status: Status::Disabled, ..arm("philosopher", 0.2) });
        let plan = plan_of((0..240).map(|index| post(index, [20.0, 60.0, 20.0])), &arms, Memory::default());
        assert!((weight(&plan, "coach") - 0.4).abs() < 1e-9);
        assert!((weight(&plan, "philosopher") - 0.2).abs() < 1e-9);
        assert!(weight(&plan, "storyteller") > 0.3);
        assert_eq!(sum(&plan.generators), UNITS);
    }

    #[test]
    fn a_generator_without_posts_gets_a_fair_start() {
        let mut arms = arms();
        arms[2].weight = 0.29;
        arms.push(arm("newcomer", 0.01));
        let plan = plan_of((0..240).map(|index| post(index, [20.0, 21.0, 20.0])), &arms, Memory::default());
        assert!((weight(&plan, "newcomer") - 0.05).abs() < 1e-9);
        assert_eq!(sum(&plan.generators), UNITS);
    }

    #[test]
    fn a_testing_generator_comes_back_after_its_rest_and_not_before() {
        for (days, back) in [(13, false), (15, true)] {
            let mut arms = arms();
            arms.push(Arm {
                status: Status::Testing,
                changed_at: Some(now() - TimeDelta::days(days)),
                ..arm("resting", 0.01)
            });
            let plan = plan_of((0..240).map(|index| post(index, [20.0, 21.0, 20.0])), &arms, Memory::default());
            let resting = plan.generators.arms.iter().find(|arm| arm.name == "resting").expect("arm");
            assert_eq!(resting.new_status.is_some(), back);
            assert_eq!(sum(&plan.generators), UNITS);
        }
    }

    #[test]
    fn weights_that_do_not_sum_to_one_are_put_right_or_said_to_be_beyond_it() {
        let posts = || (0..240).map(|index| post(index, [20.0, 21.0, 20.0]));
        let near = [arm("coach", 0.4), arm("storyteller", 0.3), arm("explorer", 0.25)];
        let plan = plan_of(posts(), &near, Memory::default());
        assert!(plan.warnings.iter().any(|warning| warning.contains("0.9500")), "{:?}", plan.warnings);
        assert_eq!(sum(&plan.generators), UNITS);
        let far = [arm("coach", 1.0), arm("storyteller", 1.0), arm("explorer", 1.0)];
        let plan = plan_of(posts(), &far, Memory::default());
        assert!(matches!(plan.generators.no_change, Some(NoChange::Infeasible { .. })));
        assert!(!plan.generators.changes());
    }

    #[test]
    fn one_outlier_among_ordinary_posts_moves_no_weight_far() {
        let posts = (0..240).map(|index| {
            let ordinary = post(index, [120.0; 3]);
            if index == 100 { Post { likes: Some(6_335.0), ..ordinary } } else { ordinary }
        });
        let plan = plan_of(posts, &arms(), Memory::default());
        for arm in &plan.generators.arms {
            assert!((arm.new_weight - arm.old_weight).abs() <= 0.03, "{arm:?}");
        }
    }

    #[test]
    fn a_generator_that_never_gains_followers_is_failing_only_if_they_were_measured() {
        let with = |before: Option<f64>| {
            (0..240).map(move |index| {
                let gained = if index % 3 == 0 { 0.0 } else { 2.0 };
                Post {
                    followers_gained: Some(gained),
                    followers_before: before,
                    followers_after: before,
                    ..post(index, [20.0, 21.0, 20.0])
                }
            })
        };
        let failing = |plan: &Plan| plan.generators.arms[0].failing;
        assert!(failing(&plan_of(with(Some(10.0)), &arms(), Memory::default())));
        assert!(!failing(&plan_of(with(None), &arms(), Memory::default())));
    }

    #[test]
    fn what_was_left_out_is_counted_by_reason() {
        let base = post(10, [20.0; 3]);
        let odd = [
            Post { simulated: true, ..base },
            Post { test: true, ..base },
            Post { placeholder_id: true, ..base },
            Post { posted_at: None, ..base },
            Post { posted_at: Some(now() - TimeDelta::hours(23)), ..base },
            Post { posted_at: Some(now() + TimeDelta::hours(1)), ..base },
            Post { impressions: Some(0.0), ..base },
            Post { likes: None, ..base },
            Post { likes: Some(-1.0), ..base },
            Post { generator: " ", ..base },
            Post { no_outcome: true, ..base },
            Post { collected_at: base.posted_at, ..base },
        ];
        let left_out = plan_of(odd, &arms(), Memory::default()).left_out;
        let expected = LeftOut {
            simulated: 1,
            test: 1,
            placeholder_id: 1,
            no_time: 1,
            immature: 1,
            outside_window: 1,
            no_impressions: 1,
            unmeasured: 1,
            impossible: 1,
            no_generator: 1,
            no_outcome: 1,
            collected_early: 1,
            too_many_generators: 0,
        };
        assert_eq!((left_out, left_out.total()), (expected, 12));
    }

    #[test]
    fn a_post_is_wagered_on_once_however_often_one_looks() {
        let posts = || (0..240).map(|index| post(index, [25.0, 20.0, 22.0]));
        let first = plan_of(posts(), &arms(), Memory::default()).memory;
        let second = plan_of(posts(), &arms(), first.clone()).memory;
        assert_eq!((first.gate.stakes, first.haste), (second.gate.stakes, second.haste));
    }

    #[test]
    fn old_posts_fade_faster_once_the_newest_have_shown_that_things_changed() {
        let steady = plan_of((0..240).map(|index| post(index, [60.0, 20.0, 20.0])), &arms(), Memory::default());
        assert!(steady.memory.haste < HASTE_PROVEN, "{}", steady.memory.haste);
        let turned =
            || (0..240).map(|index| post(index, if index < 160 { [60.0, 20.0, 20.0] } else { [20.0, 20.0, 60.0] }));
        let found = plan_of(turned(), &arms(), Memory::default());
        assert!(found.memory.haste >= HASTE_PROVEN, "{}", found.memory.haste);
        // One that may not believe it yet: the same posts are all read already, so nothing new speaks for haste.
        let slow = Memory { haste: 0.0, ..found.memory.clone() };
        let slow = plan_of(turned(), &arms(), slow);
        let gain = |plan: &Plan, arm: usize| plan.generators.arms[arm].effect.expect("known").mean;
        assert!(gain(&found, 0) < gain(&slow, 0), "{} {}", gain(&found, 0), gain(&slow, 0));
        assert!(gain(&found, 2) > gain(&slow, 2), "{} {}", gain(&found, 2), gain(&slow, 2));
    }

    #[test]
    fn a_harmful_change_is_named_first_with_its_undo() {
        let at = now() - TimeDelta::days(10);
        let weights = |coach: f64| Record {
            at,
            generators: vec![("coach".into(), coach), ("storyteller".into(), 0.9 - coach), ("explorer".into(), 0.1)],
            formats: vec![],
            hours: vec![],
        };
        // The good generator was cut from 80 % to 10 %, and posts followed it.
        let change = Change { run_id: "77".into(), at, subject: Subject::Generator, before: weights(0.8) };
        let settings = Settings { draws: 1_000, ..Settings::default() };
        let (arms, changes, records) = (arms(), [change], [weights(0.1)]);
        let mut reader = Reader::new(&settings, now(), &arms, &records, &changes, Memory::default()).expect("settings");
        for index in 0..240 {
            let mut shown = post(index, [60.0, 20.0, 20.0]);
            if shown.posted_at.is_some_and(|posted| posted >= at) {
                let turn = index % 10;
                let generator = if turn == 0 {
                    0
                } else if turn == 5 {
                    2
                } else {
                    1
                };
                shown = Post {
                    generator: NAMES[generator],
                    likes: Some([60.0, 20.0, 20.0][generator] * [0.8, 1.25, 1.0][index / 10 % 3]),
                    ..shown
                };
            }
            reader.read(&shown);
        }
        let plan = decide(
            &reader.finish(),
            &Weights { arms: &arms, formats: None, hours: None, kept: [None; 3] },
            &settings,
            now(),
        );
        assert!(plan.outcomes[0].harmed, "{:?}", plan.outcomes);
        assert!(plan.warnings[0].contains("healer undo 77"), "{:?}", plan.warnings);
    }

    #[test]
    fn the_plan_and_its_memory_survive_being_written_down() {
        let plan = plan_of((0..240).map(|index| post(index, [25.0, 20.0, 22.0])), &arms(), Memory::default());
        let text = serde_json::to_string(&plan).expect("JSON");
        assert!(!text.contains("NaN"));
        let memory = serde_json::to_string(&plan.memory).expect("JSON");
        let read: Memory = serde_json::from_str(&memory).expect("memory");
        assert_eq!((&read.stood, &read.set, read.read_to), (&plan.memory.stood, &plan.memory.set, plan.memory.read_to));
        // A decimal number may lose its last binary digit.
        assert!((read.gate.evidence() / plan.memory.gate.evidence() - 1.0).abs() < 1e-12);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn whatever_was_measured_weights_are_whole_or_untouched(
            numbers in proptest::collection::vec((any::<f64>(), any::<f64>(), 0_usize..3), 30..60)
        ) {
            let posts = numbers.iter().enumerate().map(|(index, (likes, seen, generator))| Post {
                generator: NAMES[*generator],
                likes: Some(*likes),
                impressions: Some(*seen),
                ..post(180 + index, [1.0; 3])
            });
            let plan = plan_of(posts, &arms(), Memory::default());
            for subject in [&plan.generators, &plan.formats, &plan.hours] {
                prop_assert_eq!(sum(subject), UNITS);
                prop_assert!(subject.arms.iter().all(|arm| arm.new_weight.is_finite()));
            }
            prop_assert!(plan.generators.arms.iter().all(|arm| arm.new_weight >= 0.01));
        }
    }
}
