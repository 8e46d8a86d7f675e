//! Reads everything that a decision looks at, in READ ONLY transactions, and decides: the same for a dry run, a real run
//! and a report. Posts stream through once; memory does not grow with them.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::arm::{Arm, Standing, Status};
use super::gate::Subject;
use super::history::{self, Changed, Noted};
use super::observation::{Evidence, Kind, Post, Reader};
use super::plan::{Memory, NoChange, Plan, Weights, decide};
use super::settings::Settings;
use super::tables::Tables;
use crate::change::setting;
use crate::change::weights::{self, SeenWeight};
use crate::database::session::{Access, Param, Row, Session};
use crate::database::statement::{self, Names, Statement};
use crate::error::Error;
use crate::posts::mapping::Mapping;
use crate::start::Start;

/// The setting with the weights of formats.
pub const FORMATS: &str = "content.formats";
/// The setting with the weights of hours.
pub const HOURS: &str = "content.hours";
/// The setting with what a run remembers for the next.
pub const MEMORY: &str = "content.memory";
/// The setting with what stands beside the weights of formats and hours: intervals, posts, zone.
pub const FINDINGS: &str = "content.findings";

/// Rows that one FETCH brings: about a megabyte.
const CHUNK: usize = 4_000;

/// Memory in which the server may sort the posts and hash their outcomes, for this one transaction: with its usual 4 MB
/// it writes a large window to disk and reads it back.
const SORT_MEMORY: &str = "64MB";

/// Days of changes that are asked for: what is older is not followed.
const CHANGES_DAYS: i64 = 40;

/// Rows of the weights table above which nothing is decided: a hundred times what a system has.
const MOST_WEIGHTS: usize = 1_000;

/// Share of its final engagement from which a post counts as mature, where that is learned.
const MATURE_SHARE: f64 = 0.95;
/// Posts that each two hours of a post's age need for it.
const MATURE_POSTS: i64 = 10;
/// Hours within which what was learned is believed.
const MATURE_RANGE: (f64, f64) = (6.0, 168.0);

/// What was seen, and what follows from it.
#[derive(Debug)]
pub struct Look {
    /// The tables.
    pub tables: Tables,
    /// The settings in force: with what was learned of maturity.
    pub settings: Settings,
    /// The weights table.
    pub seen: Vec<SeenWeight>,
    /// The stored weights of formats, as JSON; `None` where nothing is stored.
    pub formats: Option<Value>,
    /// The same of hours.
    pub hours: Option<Value>,
    /// Whether a person holds formats, and hours, where they are.
    pub locked: [bool; 2],
    /// What was remembered.
    pub memory: Memory,
    /// With which weights posts were chosen.
    pub noted: Vec<Noted>,
    /// The decision; `None` where there are no outcomes to decide on.
    pub plan: Option<Plan>,
    /// What else should be known.
    pub notes: Vec<String>,
}

/// Looks and decides. An error stops what asked; a table that is missing or closed does not.
pub fn look(start: &mut Start, mapping: &Mapping) -> Result<Look, Error> {
    let settings = start.settings().clone();
    let now = start.catalog.server.now;
    let with_schema = start.catalog.schema_readable();
    let tables = Tables::find(&settings, &start.catalog, mapping)?;
    let mut look = Look {
        notes: tables.notes.clone(),
        tables,
        settings: settings.optimize.content,
        seen: Vec::new(),
        formats: None,
        hours: None,
        locked: [false; 2],
        memory: Memory::default(),
        noted: Vec::new(),
        plan: None,
    };
    let session = &mut start.session;
    session.begin(Access::ReadOnly, "")?;
    let mut arms = if look.tables.weights.is_readable() { read_weights(session, &mut look)? } else { Vec::new() };
    let mut changed = Vec::new();
    if with_schema {
        read_stored(session, &mut look)?;
        look.noted = read_history(session, look.settings.window_days)?;
        changed = read_changes(session)?;
    }
    for arm in &mut arms {
        arm.weight_four_hours_ago = history::anchor(&look.noted, Subject::Generator, &arm.name, arm.weight, now);
    }
    if !look.tables.outcomes.is_readable() {
        session.rollback();
        return Ok(look);
    }
    if look.settings.learn_maturity && look.tables.repeated {
        learn_maturity(session, &mut look)?;
    }
    let records: Vec<_> = look.noted.iter().map(Noted::record).collect();
    let follow = history::followed(&changed, &look.noted, now);
    let reader = Reader::new(&look.settings, now, &arms, &records, &follow, look.memory.clone()).map_err(|error| {
        Error::Config {
            path: settings.source.clone().unwrap_or_default(),
            message: error.to_string(),
            hint: error.hint().into(),
        }
    })?;
    let evidence = stream(session, &look.tables.names, reader)?;
    session.rollback();
    let formats = standing(
        &look,
        Subject::Format,
        look.formats.as_ref().and_then(history::map_of).as_ref().and_then(history::formats_of),
        now,
    );
    let hours = standing(
        &look,
        Subject::Hour,
        look.hours.as_ref().and_then(history::map_of).as_ref().and_then(history::hours_of),
        now,
    );
    // An undo of the first weights leaves null: that is no fault.
    let odd = |stored: &Option<Value>| stored.as_ref().is_some_and(|value| !value.is_null());
    if (formats.is_none() && odd(&look.formats)) || (hours.is_none() && odd(&look.hours)) {
        look.notes.push(
            "the stored weights of formats or hours cannot be read: the shares of the posts stand instead".into(),
        );
    }
    let rests = history::rests(&changed, look.settings.undo_rest_days);
    let kept = Subject::ALL.map(|subject| {
        let locked = match subject {
            Subject::Generator => None,
            Subject::Format => look.locked[0].then_some(NoChange::Locked { name: FORMATS }),
            Subject::Hour => look.locked[1].then_some(NoChange::Locked { name: HOURS }),
        };
        let rest = rests[subject.index()].filter(|(_, until)| *until > now);
        locked.or_else(|| rest.map(|(run, until)| NoChange::TakenBack { run, until }))
    });
    let weights = Weights {
        arms: &arms,
        formats: formats.as_ref(),
        hours: hours.as_ref(),
        kept: [kept[0].as_ref(), kept[1].as_ref(), kept[2].as_ref()],
    };
    look.plan = Some(decide(&evidence, &weights, &look.settings, now));
    Ok(look)
}

/// Stored weights with where they stood four hours ago.
fn standing<const N: usize>(
    look: &Look,
    subject: Subject,
    weights: Option<[f64; N]>,
    now: DateTime<Utc>,
) -> Option<[Standing; N]> {
    let mut place = 0;
    weights.map(|weights| {
        weights.map(|weight| {
            let name = if subject == Subject::Format {
                Kind::FORMATS[place.min(1)].name().to_owned()
            } else {
                place.to_string()
            };
            place += 1;
            let weight_four_hours_ago = history::anchor(&look.noted, subject, &name, weight, now);
            Standing { weight, weight_four_hours_ago, locked: false }
        })
    })
}

fn read_weights(session: &mut Session, look: &mut Look) -> Result<Vec<Arm>, Error> {
    let rows = session.rows(&statement::CONTENT_WEIGHTS.fill(&look.tables.names), &[])?;
    if rows.len() > MOST_WEIGHTS {
        look.tables.weights =
            super::tables::Source::Missing(format!("the weights table has more than {MOST_WEIGHTS} rows"));
        return Ok(Vec::new());
    }
    let mut arms = Vec::with_capacity(rows.len());
    for row in &rows {
        let name = row.text("name")?;
        let status = Status::from_column(&row.optional_text("status")?.unwrap_or_default());
        arms.push(Arm {
            name,
            weight: row.optional_float("weight")?.unwrap_or(f64::NAN),
            weight_four_hours_ago: None,
            status,
            // One whose status may not be changed is not tried again.
            locked: row.bool("locked")? || (status == Status::Testing && !look.tables.may_set_status),
            changed_at: row.optional_time("changed_at")?,
        });
        look.seen.push(weights::seen(row)?);
    }
    Ok(arms)
}

fn read_stored(session: &mut Session, look: &mut Look) -> Result<(), Error> {
    let mut stored = setting::read(session, "content.")?;
    if let Some(formats) = stored.remove(FORMATS) {
        (look.formats, look.locked[0]) = (Some(formats.value), formats.locked);
    }
    if let Some(hours) = stored.remove(HOURS) {
        (look.hours, look.locked[1]) = (Some(hours.value), hours.locked);
    }
    if let Some(memory) = stored.remove(MEMORY) {
        match serde_json::from_value(memory.value) {
            Ok(memory) => look.memory = memory,
            Err(error) => {
                look.notes.push(format!("what the last run remembered cannot be read ({error}): it begins anew"));
            }
        }
    }
    Ok(())
}

fn read_history(session: &mut Session, days: u32) -> Result<Vec<Noted>, Error> {
    session
        .rows(&statement::CONTENT_HISTORY.fill(&Names::default()), &[Param::Int(i64::from(days))])?
        .iter()
        .map(|row| {
            Ok(Noted {
                at: row.time("at")?,
                run: row.optional_int("run")?,
                generators: history::map_of(&row.json("generators")?),
                formats: history::map_of(&row.json("formats")?),
                hours: history::map_of(&row.json("hours")?),
            })
        })
        .collect()
}

fn read_changes(session: &mut Session) -> Result<Vec<Changed>, Error> {
    session
        .rows(&statement::CONTENT_CHANGES.fill(&Names::default()), &[Param::Int(CHANGES_DAYS)])?
        .iter()
        .map(|row| {
            let word = row.text("subject")?;
            let subject =
                Subject::ALL.into_iter().find(|subject| subject.plural() == word).unwrap_or(Subject::Generator);
            Ok(Changed {
                run: row.int("run")?,
                subject,
                at: row.time("at")?,
                undone_at: row.optional_time("undone_at")?,
            })
        })
        .collect()
}

/// Learns from repeated collections after how many hours a post has nearly all it will ever earn.
fn learn_maturity(session: &mut Session, look: &mut Look) -> Result<(), Error> {
    let rows = session.rows(&statement::CONTENT_MATURITY.fill(&look.tables.names), &[])?;
    let mut ages = Vec::with_capacity(rows.len());
    for row in &rows {
        ages.push((row.int("hours")?, row.int("posts")?, row.optional_float("share")?));
    }
    if let Some(hours) = mature_after(&ages) {
        look.notes.push(format!("posts count as mature after {hours:.0} h, learned from repeated collections"));
        look.settings.mature_hours = hours;
    }
    Ok(())
}

/// The age from which on all ages with enough posts have nearly all their engagement. `None` where too little is known.
fn mature_after(ages: &[(i64, i64, Option<f64>)]) -> Option<f64> {
    let known: Vec<(i64, f64)> = ages
        .iter()
        .filter(|(_, posts, _)| *posts >= MATURE_POSTS)
        .filter_map(|(hours, _, share)| Some((*hours, (*share)?)))
        .collect();
    if known.len() < 3 || known.iter().all(|(_, share)| *share >= MATURE_SHARE) {
        // All of it late looks: how a post grows is not seen.
        return None;
    }
    let last_immature = known.iter().rposition(|(_, share)| *share < MATURE_SHARE)?;
    let (hours, _) = known.get(last_immature + 1)?;
    Some((*hours as f64).clamp(MATURE_RANGE.0, MATURE_RANGE.1))
}

/// Streams the posts through the reader.
fn stream(session: &mut Session, names: &Names, mut reader: Reader<'_>) -> Result<Evidence, Error> {
    let query = statement::CONTENT_POSTS.fill(names);
    let cursor = format!("SET LOCAL work_mem = '{SORT_MEMORY}'; DECLARE posts NO SCROLL CURSOR FOR {}", query.sql());
    session.begin(Access::ReadOnly, &cursor)?;
    let fetch = Statement::fixed(statement::CONTENT_POSTS.name, format!("FETCH {CHUNK} FROM posts"));
    // While the server makes the next rows, those that came are reckoned.
    std::thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::sync_channel::<Vec<Row>>(1);
        let reckoning = scope.spawn(move || {
            for row in receiver.into_iter().flatten() {
                read(&row, &mut reader)?;
            }
            Ok(reader.finish())
        });
        let fetched = loop {
            let rows = session.check_stop().and_then(|()| session.rows(&fetch, &[]));
            match rows {
                Ok(rows) => {
                    let last = rows.len() < CHUNK;
                    // It can only fail where the reckoning ended early, which joining tells.
                    if sender.send(rows).is_err() || last {
                        break Ok(());
                    }
                }
                Err(error) => break Err(error),
            }
        };
        drop(sender);
        let evidence = reckoning.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        fetched.and(evidence)
    })
}

fn read(row: &Row, reader: &mut Reader<'_>) -> Result<(), Error> {
    let generator = row.optional_text("generator")?;
    let flags = row.int("flags")?;
    let numbers = row.floats("numbers")?;
    let number = |place: usize| numbers.get(place).copied().flatten();
    let is = |bit: i64| flags & bit != 0;
    reader.read(&Post {
        generator: generator.as_deref().unwrap_or_default(),
        kind: match flags & 3 {
            1 => Kind::Thread,
            2 => Kind::Reply,
            _ => Kind::Single,
        },
        posted_at: number(0).and_then(moment),
        chosen_at: number(1).and_then(moment),
        collected_at: number(2).and_then(moment),
        simulated: is(4),
        test: is(8),
        placeholder_id: is(16),
        no_outcome: is(32),
        impressions: number(3),
        likes: number(4),
        retweets: number(5),
        replies: number(6),
        followers_gained: number(7),
        followers_before: number(8),
        followers_after: number(9),
        column: number(10),
    });
    Ok(())
}

/// Seconds since 1970 as an instant; `None` for what is none (`infinity`).
#[allow(clippy::cast_possible_truncation)] // chrono refuses what is out of its range, and the cast saturates
fn moment(seconds: f64) -> Option<DateTime<Utc>> {
    seconds.is_finite().then(|| DateTime::from_timestamp(seconds.floor() as i64, 0)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maturity_is_the_age_from_which_all_have_nearly_all_of_it() {
        let ages = [
            (0, 20, Some(0.1)),
            (6, 20, Some(0.7)),
            (12, 20, Some(0.96)),
            (18, 20, Some(0.94)),
            (24, 20, Some(0.97)),
            (48, 9, Some(0.2)),
        ];
        assert_eq!(mature_after(&ages), Some(24.0));
        assert_eq!(mature_after(&ages[2..3]), None);
        assert_eq!(mature_after(&[(72, 50, Some(1.0)), (74, 50, Some(1.0)), (76, 50, Some(1.0))]), None);
        assert_eq!(mature_after(&[]), None);
    }

    #[test]
    fn an_infinite_time_is_none() {
        assert_eq!(moment(f64::INFINITY), None);
        assert_eq!(moment(1e300), None);
        assert_eq!(moment(0.9), Some(DateTime::UNIX_EPOCH));
    }
}
