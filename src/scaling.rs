//! Advice on how many workers and browser slots are needed, for a person or for an autoscaler: the view `healer.scaling`.
//!
//! What is needed just now follows from what waits, how fast it comes and how long one piece takes. What is wished for
//! follows that with hysteresis: up when two looks on end call for it, or at once when it is far more; down only when no
//! look of the last hour called for as much. Limits: looks come with the passes (`heal`, every 15 minutes), and what
//! cannot be measured leaves the wish as it was. healer starts and stops nothing itself.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::database::catalog::Catalog;
use crate::database::session::{Param, Session};
use crate::database::statement::{self, Statement};
use crate::error::Error;
use crate::forecast::resource;
use crate::posts::evidence::Ledgers;
use crate::posts::mapping::{ClaimSource, Mapping};
use crate::settings::{Settings as All, Span};

/// What `[scaling]` in the configuration may say.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether the passes look at the load.
    pub enabled: bool,
    /// Workers that are always wished for.
    pub workers_min: u32,
    /// Most workers that are ever wished for.
    pub workers_max: u32,
    /// Browser slots that are always wished for.
    pub slots_min: u32,
    /// Most browser slots that are ever wished for.
    pub slots_max: u32,
    /// Share of its time that a worker should be at work: above it, queues grow long by chance alone.
    pub utilisation: f64,
    /// Time in which what waits should be done.
    pub drain: Span,
    /// How long nothing may have called for as many before fewer are wished for.
    pub down_after: Span,
    /// How long one post takes, where nothing measures it.
    pub service: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            workers_min: 1,
            workers_max: 4,
            slots_min: 1,
            slots_max: 4,
            utilisation: 0.7,
            drain: Span::seconds(3_600),
            down_after: Span::seconds(3_600),
            service: Span::seconds(5 * 60),
        }
    }
}

impl Settings {
    /// Whether the values make sense; the error names the setting.
    pub fn validate(&self) -> Result<(), String> {
        if self.workers_max < self.workers_min || self.slots_max < self.slots_min {
            return Err("scaling: the greatest number lies below the least".into());
        }
        if self.workers_max > 1_000 || self.slots_max > 1_000 {
            return Err("scaling.workers_max and scaling.slots_max must be at most 1000".into());
        }
        if !(0.1..=1.0).contains(&self.utilisation) {
            return Err("scaling.utilisation must be 0.1 to 1".into());
        }
        for (name, span) in [("drain", self.drain), ("down_after", self.down_after), ("service", self.service)] {
            if span.as_seconds() < 60 {
                return Err(format!("scaling.{name} must be at least 1m"));
            }
        }
        Ok(())
    }
}

/// Work of one kind: what waits, how fast it comes, how long a piece takes. `None` for what could not be measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// Pieces that wait.
    pub waiting: Option<i64>,
    /// Pieces that came in the last hour.
    pub per_hour: Option<f64>,
    /// Seconds that one takes.
    pub service_s: Option<f64>,
}

/// Servers that a load calls for, as a broken number; `None` where it cannot be told.
pub fn needed(load: &Load, utilisation: f64, drain_s: f64) -> Option<f64> {
    let service = load.service_s.filter(|s| s.is_finite() && *s >= 0.0)?;
    let per_hour = load.per_hour.filter(|n| n.is_finite() && *n >= 0.0)?;
    let waiting = load.waiting.filter(|n| *n >= 0)? as f64;
    Some(per_hour / 3_600.0 * service / utilisation + waiting * service / drain_s)
}

/// A look before this one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// How long ago, in seconds.
    pub age_s: i64,
    /// What was needed.
    pub needed: Option<f64>,
    /// What was wished for.
    pub wished: Option<i64>,
}

/// A need within this much above a whole number does not call for one more: the utilisation leaves room for it.
const SLACK: f64 = 0.3;
/// Fewer are wished for only when they would leave this much room. Both were chosen on simulated arrivals (the tests
/// below): together they make two changes that take each other back rare, and cost a tenth more workers.
const MARGIN: f64 = 0.5;
/// A need this many times what is wished for is no chance: it is followed at once.
const URGENT: f64 = 2.0;
/// A look older than this is no neighbour of the present one (s): the passes were not running.
const NEIGHBOUR_S: i64 = 3_600;

/// Servers for a need. Down is not rounded as up is: a need that hovers around a whole number must not flap.
fn servers(needed: f64, slack: f64) -> i64 {
    // Bounded by the caller; a need is at most a few thousands.
    #[expect(clippy::cast_possible_truncation)]
    let number = (needed - slack).ceil().clamp(0.0, 1e6) as i64;
    number
}

/// What to wish for now, given the looks before (newest first), and why.
pub fn decide(now: Option<f64>, before: &[Look], least: u32, most: u32, down_after_s: i64) -> (i64, &'static str) {
    let (least, most) = (i64::from(least), i64::from(most));
    let current = before.first().filter(|look| look.age_s <= NEIGHBOUR_S).and_then(|look| look.wished);
    let Some(now) = now.filter(|needed| needed.is_finite()) else {
        return (
            current.unwrap_or(least).clamp(least, most),
            "what is needed could not be measured: it stays as it was",
        );
    };
    let Some(current) = current.map(|wished| wished.clamp(least, most)) else {
        return (servers(now, SLACK).clamp(least, most), "the first look");
    };
    let up = servers(now, SLACK);
    if up > current && current < most {
        let sure = before.first().and_then(|look| look.needed).map(|needed| servers(needed, SLACK));
        if now >= URGENT * current as f64 {
            return (up.clamp(least, most), "far more is needed");
        }
        if let Some(sure) = sure.filter(|sure| *sure > current) {
            return (up.min(sure).clamp(least, most), "more was needed twice on end");
        }
        return (current, "more is needed, for the first time: one more look");
    }
    // The greatest need of the window, with a margin: between the two borders nothing changes. Less is
    // wished for only when all of the window was seen.
    let window: Vec<f64> =
        before.iter().take_while(|look| look.age_s <= down_after_s).filter_map(|look| look.needed).collect();
    let seen_whole = before.iter().any(|look| look.age_s >= down_after_s);
    let highest = window.iter().copied().fold(now, f64::max);
    let down = servers(highest, -MARGIN).clamp(least, most);
    if down < current && seen_whole {
        return (down, "less was needed for the whole of scaling.down_after");
    }
    (current, "it fits")
}

/// A look at the load, and what is wished for.
#[derive(Debug, Clone, PartialEq)]
pub struct Advice {
    /// Posts.
    pub posts: Load,
    /// Operations of the browser.
    pub browser: Load,
    /// Workers that the posts call for.
    pub workers_needed: Option<f64>,
    /// Slots that the operations call for.
    pub slots_needed: Option<f64>,
    /// Workers that are wished for.
    pub workers: i64,
    /// Slots that are wished for.
    pub slots: i64,
    /// Why, in healer's own words: of the workers, and of the slots.
    pub reasons: (&'static str, &'static str),
    /// Posts that wait, are posting or failed, by their status.
    pub by_status: BTreeMap<String, i64>,
}

/// Looks at the load and says what to wish for. Reads only; `None` where it is switched off or the schema cannot be read.
pub fn look(
    session: &mut Session,
    settings: &All,
    mapping: &Mapping,
    catalog: &Catalog,
) -> Result<Option<Advice>, Error> {
    if !settings.scaling.enabled || !catalog.schema_readable() {
        return Ok(None);
    }
    match read(session, settings, mapping, catalog) {
        Ok(advice) => Ok(Some(advice)),
        Err(error) if error.stops_the_pass() => Err(error),
        Err(error) => {
            session.rollback();
            session.check_stop()?;
            log::warn!(target: "healer", "the load could not be measured: {error}");
            Ok(None)
        }
    }
}

fn read(session: &mut Session, settings: &All, mapping: &Mapping, catalog: &Catalog) -> Result<Advice, Error> {
    let ledgers = Ledgers::find(settings, catalog, mapping)?;
    let scaling = &settings.scaling;
    let posts_now = statement::REPORT_POSTS_NOW.fill(ledgers.names());
    let names =
        ledgers.names().with("service", service(mapping, &ledgers)).with("posts_now", posts_now.sql().trim_end());
    // Longer than the window, so that a look at its far end is seen.
    let back = scaling.down_after.as_seconds().saturating_mul(2).max(2 * NEIGHBOUR_S);
    session.read()?;
    let row = session.row(&statement::SCALING_LOAD.fill(&names), &[Param::Int(back)])?;
    let posts = Load {
        waiting: Some(row.int("waiting")?),
        // Counted, and far below 2^52.
        per_hour: Some(row.int("arrivals")? as f64),
        service_s: Some(row.optional_float("service_s")?.unwrap_or(scaling.service.0.as_secs_f64())),
    };
    let operations = row.int("browser_ops")?;
    let held_s = row.optional_float("browser_held_s")?;
    let browser = Load {
        waiting: row.optional_int("browser_waiting")?,
        per_hour: held_s.map(|_| operations as f64),
        service_s: held_s,
    };
    let by_status = row.json("by_status")?;
    let counted = by_status.as_object().into_iter().flatten();
    let by_status = counted.filter_map(|(status, posts)| Some((status.clone(), posts.as_i64()?))).collect();
    let before = row.json("before")?;
    let (mut workers_before, mut slots_before) = (Vec::new(), Vec::new());
    for item in before.as_array().map_or(&[] as &[Value], Vec::as_slice) {
        let Some(age_s) = item[0].as_i64() else { continue };
        workers_before.push(Look { age_s, needed: item[1].as_f64(), wished: item[2].as_i64() });
        slots_before.push(Look { age_s, needed: item[3].as_f64(), wished: item[4].as_i64() });
    }
    let drain = scaling.drain.0.as_secs_f64();
    let down = scaling.down_after.as_seconds();
    let workers_needed = needed(&posts, scaling.utilisation, drain);
    let slots_needed = needed(&browser, scaling.utilisation, drain);
    let (workers, why) = decide(workers_needed, &workers_before, scaling.workers_min, scaling.workers_max, down);
    let (slots, slots_why) = decide(slots_needed, &slots_before, scaling.slots_min, scaling.slots_max, down);
    Ok(Advice { posts, browser, workers_needed, slots_needed, workers, slots, reasons: (why, slots_why), by_status })
}

/// The statements that note a look, and how full the resources are.
pub fn notes(settings: &All, mapping: &Mapping, catalog: &Catalog, advice: &Advice) -> [Statement; 2] {
    let number = |value: Option<f64>| {
        value.filter(|value| value.is_finite()).map_or_else(|| "NULL".to_owned(), |value| format!("{value:.3}"))
    };
    let whole = |value: Option<i64>| value.map_or_else(|| "NULL".to_owned(), |value| value.to_string());
    let (why, slots_why) = advice.reasons;
    let look = [
        whole(advice.posts.waiting),
        number(advice.posts.per_hour),
        number(advice.posts.service_s),
        whole(advice.browser.waiting),
        number(advice.browser.per_hour),
        number(advice.browser.service_s),
        number(advice.workers_needed),
        number(advice.slots_needed),
        advice.workers.to_string(),
        advice.slots.to_string(),
        // Words of this file, without a quote in them.
        format!("'workers: {why}; slots: {slots_why}'"),
    ];
    let names = resource::names(settings, mapping, catalog);
    [statement::SCALING_NOTE.fill(&names.with("look", look.join(", "))), resource::note(&names)]
}

/// SQL that gives how many seconds a post takes, by the last day: of attempts, else from the claim.
fn service(mapping: &Mapping, ledgers: &Ledgers) -> String {
    if ledgers.has_durations() {
        return statement::SCALING_SERVICE_ATTEMPTS.fill(ledgers.names()).sql().trim_end().to_owned();
    }
    if matches!(mapping.claim, ClaimSource::Claim(_)) && mapping.has_posted_at {
        return statement::SCALING_SERVICE_POSTS.fill(&mapping.names).sql().trim_end().to_owned();
    }
    "NULL::double precision".into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, Poisson};

    use super::*;

    /// Days of looks every 15 minutes at a system with `rate(hour)` arrivals an hour, served by as many workers as are
    /// wished for; gives the wishes and the waiting posts.
    fn simulate(seed: u64, days: usize, rate: impl Fn(f64) -> f64, hysteresis: bool) -> (Vec<i64>, Vec<f64>) {
        const SERVICE_S: f64 = 240.0;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut waiting = 0.0_f64;
        let mut arrivals = std::collections::VecDeque::from([0.0; 4]);
        let mut looks: Vec<Look> = Vec::new();
        let (mut wishes, mut queue) = (Vec::new(), Vec::new());
        let mut workers = 1_i64;
        for step in 0..days * 96 {
            let hour = step as f64 / 4.0;
            let came = Poisson::new((rate(hour) / 4.0).max(0.01)).expect("positive").sample(&mut rng);
            let done = (workers as f64 * 900.0 / SERVICE_S * rng.random_range(0.8..1.2)).min(waiting + came);
            waiting += came - done;
            arrivals.pop_front();
            arrivals.push_back(came);
            #[expect(clippy::cast_possible_truncation)]
            let load = Load {
                waiting: Some(waiting.round() as i64),
                per_hour: Some(arrivals.iter().sum()),
                service_s: Some(SERVICE_S),
            };
            let need = needed(&load, 0.7, 3_600.0);
            workers = if hysteresis {
                decide(need, &looks, 1, 8, 3_600).0
            } else {
                servers(need.expect("measured"), 0.0).clamp(1, 8)
            };
            for look in &mut looks {
                look.age_s += 900;
            }
            looks.insert(0, Look { age_s: 900, needed: need, wished: Some(workers) });
            looks.truncate(10);
            wishes.push(workers);
            queue.push(waiting);
        }
        (wishes, queue)
    }

    fn changes(wishes: &[i64]) -> usize {
        wishes.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    /// Changes that were taken back within two hours: what wears out pods and people.
    fn flaps(wishes: &[i64]) -> usize {
        let moves: Vec<(usize, i64)> = wishes
            .windows(2)
            .enumerate()
            .filter(|(_, pair)| pair[0] != pair[1])
            .map(|(at, pair)| (at, (pair[1] - pair[0]).signum()))
            .collect();
        moves.windows(2).filter(|pair| pair[0].1 != pair[1].1 && pair[1].0 - pair[0].0 < 8).count()
    }

    #[test]
    fn it_does_not_flap_on_a_noisy_day_where_a_plain_ceiling_does() {
        let (mut steady_flaps, mut plain_flaps, mut worst) = (0, 0, 0.0_f64);
        for seed in 0..20 {
            // A working day: quiet nights, busy noons, and chance.
            let rate = |hour: f64| 20.0 * (1.0 + 0.6 * ((hour - 8.0) / 24.0 * std::f64::consts::TAU).sin());
            let (steady, queue) = simulate(seed, 2, rate, true);
            let (plain, _) = simulate(seed, 2, rate, false);
            steady_flaps += flaps(&steady);
            plain_flaps += flaps(&plain);
            worst = queue.iter().copied().fold(worst, f64::max);
            assert!(changes(&steady) <= 24, "{} changes in two days: {steady:?}", changes(&steady));
        }
        assert!(plain_flaps > 20 * 10, "the day is noisy: {plain_flaps}");
        assert!(steady_flaps * 10 <= plain_flaps, "{steady_flaps} against {plain_flaps}");
        assert!(worst < 40.0, "and the queue stays short: {worst}");
    }

    #[test]
    fn on_a_constant_load_it_settles_and_stays() {
        for seed in 0..20 {
            let (wishes, _) = simulate(seed, 3, |_| 18.0, true);
            let late = &wishes[96..];
            assert!(flaps(late) <= 4, "{} in two days: {late:?}", flaps(late));
        }
    }

    #[test]
    fn a_flood_is_followed_at_once_and_left_only_an_hour_after() {
        let calm: Vec<Look> = (1..8).map(|i| Look { age_s: i * 900, needed: Some(0.8), wished: Some(1) }).collect();
        assert_eq!(decide(Some(5.4), &calm, 1, 8, 3_600), (6, "far more is needed"));
        let flood: Vec<Look> =
            std::iter::once(Look { age_s: 900, needed: Some(5.2), wished: Some(6) }).chain(calm).collect();
        assert_eq!(decide(Some(0.5), &flood, 1, 8, 3_600).0, 6);
        let over: Vec<Look> = (1..8).map(|i| Look { age_s: i * 900, needed: Some(0.5), wished: Some(6) }).collect();
        assert_eq!(decide(Some(0.5), &over, 1, 8, 3_600).0, 1);
        assert_eq!(decide(Some(0.5), &over[..2], 1, 8, 3_600).0, 6, "not all of the hour was seen");
    }

    #[test]
    fn one_more_is_wished_for_when_it_was_needed_twice() {
        let one = [Look { age_s: 900, needed: Some(1.1), wished: Some(1) }];
        assert_eq!(decide(Some(1.4), &one, 1, 8, 3_600).0, 1);
        let two = [Look { age_s: 900, needed: Some(1.35), wished: Some(1) }];
        assert_eq!(decide(Some(1.4), &two, 1, 8, 3_600).0, 2);
    }

    #[test]
    fn what_cannot_be_measured_leaves_the_wish_and_a_long_pause_begins_anew() {
        let before = [Look { age_s: 900, needed: Some(2.6), wished: Some(3) }];
        assert_eq!(decide(None, &before, 1, 8, 3_600).0, 3);
        assert_eq!(decide(Some(f64::NAN), &before, 1, 8, 3_600).0, 3);
        assert_eq!(decide(None, &[], 2, 8, 3_600).0, 2);
        let old = [Look { age_s: 90_000, needed: Some(2.6), wished: Some(3) }];
        assert_eq!(decide(Some(0.2), &old, 1, 8, 3_600).0, 1);
        assert_eq!(needed(&Load { waiting: Some(1), per_hour: Some(2.0), service_s: None }, 0.7, 3_600.0), None);
        assert_eq!(needed(&Load { waiting: Some(-1), per_hour: Some(2.0), service_s: Some(1.0) }, 0.7, 3_600.0), None);
    }

    proptest! {
        #[test]
        fn a_wish_is_always_within_its_bounds(
            now in proptest::option::of(-5.0..1e9_f64),
            before in proptest::collection::vec((0_i64..10_000, proptest::option::of(0.0..100.0_f64), proptest::option::of(-5_i64..5000)), 0..20),
            least in 0_u32..5, more in 0_u32..20,
        ) {
            let mut looks: Vec<Look> = before.iter().map(|(age_s, needed, wished)| Look { age_s: *age_s, needed: *needed, wished: *wished }).collect();
            looks.sort_by_key(|look| look.age_s);
            let (wish, _) = decide(now, &looks, least, least + more, 3_600);
            prop_assert!((i64::from(least)..=i64::from(least + more)).contains(&wish));
        }
    }
}
