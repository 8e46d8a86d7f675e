//! What the data says of each limit, and the changes that follow. Reads only; the changes are made by
//! [`crate::change::setting::change`].
//!
//! | limit | learned from | target |
//! |---|---|---|
//! | stuck limit of a type | claim to posted, 14 days | half as long again as what 99 of 100 take |
//! | interval of a job | its gaps, where every run is noted | the middle gap |
//! | how long a job may run | its durations, where they are noted | twice what 99 of 100 take |
//! | shortest silence that is reported | gaps between posts, 14 days | half as long again as 95 of 100 |
//! | operations that may wait for the browser | reports of 14 days | what 95 of 100 stay below; critical twice that |

use std::collections::BTreeMap;

use super::{
    Decision, Evidence, FLOOR, INTERVAL, PREFIX, RUNNING, STUCK, WAITING_CRITICAL, WAITING_WARNING, decide, shown,
};
use crate::change::setting::{self, Setting, SettingChange};
use crate::database::catalog::Catalog;
use crate::database::session::Session;
use crate::database::statement;
use crate::error::Error;
use crate::forecast::history::{Outcome, seconds_between};
use crate::forecast::source::{self, Histories};
use crate::forecast::words;
use crate::heal::{CheckResult, Status};
use crate::posts::evidence::Ledgers;
use crate::posts::mapping::{ClaimSource, Mapping};
use crate::settings::Settings;

/// The check, in the output.
pub const NAME: &str = "self-tuning";
/// The type of its rows in the journal.
pub const TYPE: &str = "tuned_limit";

/// Posts of a type, gaps or durations of a job from which a limit is learned: the 99th of 100 is a guess below it.
const NEEDED: u64 = 50;
/// Gaps between posts: a day has dozens.
const NEEDED_GAPS: u64 = 100;
/// Reports of the browser queue: one a minute makes eight hours, and they must reach back [`DAYS`].
const NEEDED_REPORTS: u64 = 500;
/// Days that a history must reach back: one bad day must not become the normal.
const DAYS: f64 = 3.0;
/// Room above what is normal.
const ROOM: f64 = 1.5;
/// Room above a job's durations, which vary more.
const JOB_ROOM: f64 = 2.0;

/// What was learned, and what follows.
#[derive(Debug, Clone, Default)]
pub struct Tuning {
    /// Limits that are moved: name, from, to.
    pub moves: Vec<(String, f64, f64, SettingChange)>,
    /// Limits that stay, and why.
    pub stays: Vec<(String, String)>,
    /// Why nothing is learned.
    pub off: Option<String>,
    /// Names that were changed.
    pub done: Option<Vec<String>>,
    failed: Option<CheckResult>,
}

/// Learns. Reads only.
pub fn detect(
    session: &mut Session,
    settings: &Settings,
    mapping: &Mapping,
    catalog: &Catalog,
) -> Result<Tuning, Error> {
    let mut tuning = Tuning::default();
    if !settings.tuning.enabled {
        tuning.off = Some("switched off (tuning.enabled)".into());
        return Ok(tuning);
    }
    if !catalog.schema_readable() {
        tuning.off = Some("what is learned is kept in the schema healer, which cannot be read (`healer init`)".into());
        return Ok(tuning);
    }
    match look(session, settings, mapping, catalog) {
        Ok((all, known)) => {
            for evidence in all {
                let setting = known.get(&format!("{PREFIX}{}", evidence.name));
                match decide(&evidence, settings, setting, catalog.server.now) {
                    Decision::Move { from, to, change } => tuning.moves.push((evidence.name, from, to, change)),
                    Decision::Stay(why) => tuning.stays.push((evidence.name, why)),
                }
            }
        }
        Err(error) if error.stops_the_pass() => return Err(error),
        Err(error) => {
            session.check_stop()?;
            tuning.failed = Some(CheckResult::failed(NAME, &error));
        }
    }
    session.rollback();
    Ok(tuning)
}

/// Makes the changes, and notes which were made.
pub fn act(session: &mut Session, lease: &crate::change::lease::Lease, tuning: &mut Tuning) -> Result<(), Error> {
    let changes: Vec<SettingChange> = tuning.moves.iter().map(|(_, _, _, change)| change.clone()).collect();
    let done = setting::change(session, lease, NAME, TYPE, &changes)?;
    tuning.done = Some(done);
    Ok(())
}

impl Tuning {
    /// The check, for the output.
    pub fn check(&self) -> CheckResult {
        if let Some(failed) = &self.failed {
            return failed.clone();
        }
        if let Some(why) = &self.off {
            return CheckResult::unknown(NAME, why.clone(), "");
        }
        let word = if self.done.is_some() { "moved" } else { "to move" };
        let summary = match self.moves.as_slice() {
            [] => format!("{} limits fit what is normal, or too little is known yet", self.stays.len()),
            [(name, _, _, change)] => format!("{name} {word}: {}", change.reason),
            many => format!("{} limits {word}", many.len()),
        };
        let mut result = CheckResult::new(NAME, Status::Ok, Some(self.moves.len() as u64), summary);
        if self.moves.len() > 1 {
            result.details =
                self.moves.iter().map(|(name, _, _, change)| format!("{name} {}", change.reason)).collect();
        }
        // That one fits needs no line; why one is kept from moving does.
        let kept = self.stays.iter().filter(|(_, why)| why.contains("lock") || why.contains("moved"));
        result.details.extend(kept.map(|(name, why)| format!("{name} stays: {why}")));
        result
    }

    /// Whether a move was made.
    pub fn was_done(&self, name: &str) -> bool {
        self.done.iter().flatten().any(|done| done.strip_prefix(PREFIX) == Some(name))
    }
}

type Known = BTreeMap<String, Setting>;

fn look(
    session: &mut Session,
    settings: &Settings,
    mapping: &Mapping,
    catalog: &Catalog,
) -> Result<(Vec<Evidence>, Known), Error> {
    let mut all = Vec::new();
    session.read()?;
    let known = setting::read(session, PREFIX)?;
    stuck(session, settings, mapping, catalog, &mut all)?;
    if mapping.has_posted_at {
        let row = session.row(&statement::TUNING_SILENCE.fill(&mapping.names), &[])?;
        if let Some(p95) = row.optional_float("p95_s")? {
            all.push(Evidence {
                name: FLOOR.into(),
                target: p95 * ROOM,
                samples: count(row.int("gaps")?),
                needed: NEEDED_GAPS,
                seen: format!("95 of 100 times the next post came within {}", words::span(p95)),
            });
        }
    }
    let row = session.row(&statement::TUNING_BROWSER.fill(&mapping.names), &[])?;
    if let Some(p95) = row.optional_float("p95")? {
        let days = row.optional_float("days")?.unwrap_or(0.0);
        let samples = if days < DAYS { 0 } else { count(row.int("reports")?) };
        let seen = format!("95 of 100 reports had up to {p95:.0} waiting");
        for (name, target) in [(WAITING_WARNING, p95), (WAITING_CRITICAL, 2.0 * p95)] {
            all.push(Evidence { name: name.into(), target, samples, needed: NEEDED_REPORTS, seen: seen.clone() });
        }
    }
    let now = catalog.server.now.timestamp_micros();
    let histories = source::read(session, settings, mapping, catalog, now)?;
    jobs(&histories, settings, &mut all);
    Ok((all, known))
}

fn stuck(
    session: &mut Session,
    settings: &Settings,
    mapping: &Mapping,
    catalog: &Catalog,
    all: &mut Vec<Evidence>,
) -> Result<(), Error> {
    let ledgers = Ledgers::find(settings, catalog, mapping)?;
    let claim = matches!(mapping.claim, ClaimSource::Claim(_)) && mapping.has_posted_at;
    let statement = if ledgers.has_durations() {
        statement::TUNING_DURATIONS_ATTEMPTS.fill(ledgers.names())
    } else if claim {
        statement::TUNING_DURATIONS_POSTS.fill(&mapping.names)
    } else {
        // The time of the last change is that of the posting by then, and tells no duration.
        return Ok(());
    };
    for row in &session.rows(&statement, &[])? {
        let kind = row.text("kind")?;
        let Some(p99) = row.optional_float("p99_s")? else { continue };
        all.push(Evidence {
            name: format!("{STUCK}{kind}"),
            target: p99 * ROOM,
            samples: count(row.int("posts")?),
            needed: NEEDED,
            seen: format!("99 of 100 posts of the type {kind} took up to {}", words::span(p99)),
        });
    }
    Ok(())
}

/// What the histories of the jobs say. Pure.
fn jobs(histories: &Histories, settings: &Settings, all: &mut Vec<Evidence>) {
    for watched in histories.jobs.iter().filter(|watched| watched.exact) {
        let name = &watched.job.name;
        let runs = &watched.history.runs;
        let long_enough = watched.history.span_days() >= DAYS || watched.truncated;
        let mut gaps: Vec<f64> = runs
            .windows(2)
            .map(|pair| seconds_between(pair[0].started_at, pair[1].started_at))
            .filter(|gap| *gap > 0.0)
            .collect();
        gaps.sort_by(f64::total_cmp);
        if settings.heal.job_heartbeats.intervals.contains_key(name)
            && let Some(middle) = gaps.get(gaps.len() / 2)
        {
            all.push(Evidence {
                name: format!("{INTERVAL}{name}"),
                target: *middle,
                samples: if long_enough { gaps.len() as u64 } else { 0 },
                needed: NEEDED,
                seen: format!("it normally starts every {}", words::span(*middle)),
            });
        }
        let mut durations: Vec<f64> =
            runs.iter().filter(|run| run.outcome == Outcome::Success).filter_map(|run| run.duration_ms).collect();
        durations.sort_by(f64::total_cmp);
        let last = durations.len().saturating_sub(1);
        if let Some(p99) = durations.get(last - last / 100).map(|ms| ms / 1000.0) {
            all.push(Evidence {
                name: format!("{RUNNING}{name}"),
                target: p99 * JOB_ROOM,
                samples: if long_enough { durations.len() as u64 } else { 0 },
                needed: NEEDED,
                seen: format!("99 of 100 runs took up to {}", words::span(p99)),
            });
        }
    }
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// The limits that are in force because they were learned, one line each: for reports.
pub fn in_force(settings: &Settings) -> Vec<String> {
    settings
        .tuning
        .in_force
        .iter()
        .map(|(name, limit)| {
            format!("{name}: {} (configured {})", shown(name, limit.learned), shown(name, limit.configured))
        })
        .collect()
}
