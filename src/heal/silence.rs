//! `silence`: posts are ready and nothing has been posted for longer than usual, without any error telling so.
//!
//! What is usual is learned: how long nothing had been posted at this hour of this day in the weeks before, and the
//! middle of that, so that one outage of the past does not excuse the next. Before there are enough weeks, a setting.
//! Shows the way of the posts (planned, ready, claimed, attempted, posted) and where it stops. Never changes anything.
//! Limits: a system that is meant to be silent from now on looks like one that fell silent, until its posts are taken
//! out of the queue.

use super::{Check, CheckResult, Room, Status, ago};
use crate::change::plan::Plan;
use crate::database::session::Param;
use crate::database::statement;
use crate::error::Error;
use crate::posts::evidence::Access;
use crate::settings::{Settings, Silence as Limits};

/// The check.
pub struct Silence;

const NAME: &str = "silence";

/// Weeks from which their middle is called usual.
const LEARNED_FROM: i64 = 3;

/// The way of the posts now. Ages in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is what sql/heal/silence.sql says of it")]
pub struct Funnel {
    pub silent_s: Option<i64>,
    pub future: i64,
    pub ready: i64,
    pub oldest_ready_s: Option<i64>,
    pub planned: i64,
    pub claimed: i64,
    pub attempted: Option<i64>,
    pub posted_day: i64,
    pub usual_s: Option<i64>,
    pub weeks: i64,
}

/// How long silence may last now, in seconds, and whether that was learned.
pub fn limit(funnel: &Funnel, limits: &Limits) -> (i64, bool) {
    match funnel.usual_s.filter(|_| funnel.weeks >= LEARNED_FROM) {
        Some(usual) => {
            let most = usual.max(0) as f64 * limits.factor;
            // Far below what a float holds exactly: silence is counted in days at most.
            #[allow(clippy::cast_possible_truncation, reason = "seconds, and the factor is at most 1000")]
            let most = most as i64;
            (most.max(limits.floor.as_seconds()), true)
        }
        None => (limits.limit.as_seconds(), false),
    }
}

/// For how long posts have been ready while nothing was posted.
pub fn silence(funnel: &Funnel) -> i64 {
    // A post that became ready a moment ago ends no silence of the night before.
    let waiting = funnel.oldest_ready_s.filter(|_| funnel.ready > 0).unwrap_or(0).max(0);
    funnel.silent_s.map_or(waiting, |silent| silent.max(0).min(waiting))
}

/// Decides. Pure.
pub fn judge(funnel: &Funnel, limits: &Limits) -> (Status, String) {
    let (most, learned) = limit(funnel, limits);
    let silent = silence(funnel);
    let status = if silent as f64 > most as f64 * limits.critical_factor {
        Status::Critical
    } else if silent > most {
        Status::Warning
    } else {
        Status::Ok
    };
    let last = funnel
        .silent_s
        .map_or_else(|| "nothing was ever posted".into(), |age| format!("the last post is {} old", ago(age)));
    if status == Status::Ok {
        return (status, format!("{last}, {} posts are ready", funnel.ready));
    }
    let usual = match funnel.usual_s {
        Some(usual) if learned => format!("usual at this hour are {}", ago(usual)),
        _ => format!("at most {} are allowed for", ago(most)),
    };
    let words = format!(
        "nothing was posted for {} while posts are ready ({usual}): {}; {}",
        ago(silent),
        way(funnel),
        stops(funnel)
    );
    (status, words)
}

/// The way of the posts, in numbers.
fn way(funnel: &Funnel) -> String {
    let attempted = funnel.attempted.map_or_else(|| "?".into(), |number| number.to_string());
    format!(
        "planned {} → ready {} → claimed {} → attempted {attempted} → posted 0",
        funnel.planned, funnel.ready, funnel.claimed
    )
}

/// Where it stops, and so where to look.
fn stops(funnel: &Funnel) -> &'static str {
    match (funnel.claimed, funnel.attempted) {
        (0, Some(0) | None) => "nothing claims them: see whether the posting job runs and what blocks it",
        (_, Some(0)) => "they are claimed and not attempted: see the browser and the circuit breaker",
        (_, Some(_)) => "attempts begin and none ends as posted: see the errors of the attempts",
        (_, None) => "they are claimed and none is posted: see the browser and the errors of the last hour",
    }
}

fn read(room: &mut Room<'_>) -> Result<Funnel, Error> {
    room.session.read()?;
    let attempts = attempts(room);
    let names = room.ledgers.names().with("attempts", attempts);
    let weeks = i64::from(room.settings.heal.silence.weeks);
    let row = room.session.row(&statement::SILENCE.fill(&names), &[Param::Int(weeks)])?;
    Ok(Funnel {
        silent_s: row.optional_int("silent_s")?,
        future: row.int("future")?,
        ready: row.int("ready")?,
        oldest_ready_s: row.optional_int("oldest_ready_s")?,
        planned: row.int("planned")?,
        claimed: row.int("claimed")?,
        attempted: row.optional_int("attempted")?,
        posted_day: row.int("posted_day")?,
        usual_s: row.optional_int("usual_s")?,
        weeks: row.int("weeks")?,
    })
}

/// SQL that counts the attempts since the last post, of the first ledger of attempts that can be read.
fn attempts(room: &Room<'_>) -> String {
    for ledger in ["post_attempts", "posting_attempts"] {
        let readable = room.ledgers.all.iter().any(|found| found.name == ledger && found.access == Access::Readable);
        let (table, at) = (room.ledgers.names().get(ledger), room.ledgers.names().get(&format!("{ledger}_at")));
        if let (true, Some(table), Some(at)) = (readable, table, at)
            && at != "NULL::timestamptz"
        {
            return format!(
                "(SELECT count(*) FROM (SELECT 1 FROM {table} r WHERE {at} > greatest(now() - interval '1 day', \
                 coalesce((SELECT l.at FROM last l), now() - interval '1 day')) LIMIT 10000) a)"
            );
        }
    }
    "NULL::bigint".into()
}

impl Check for Silence {
    fn name(&self) -> &'static str {
        NAME
    }

    fn enabled(&self, settings: &Settings) -> bool {
        settings.heal.silence.enabled
    }

    fn run(&self, room: &mut Room<'_>, _: &mut Plan) -> Result<CheckResult, Error> {
        if !room.mapping.has_posted_at {
            let why = "no column tells when a post was posted";
            return Ok(CheckResult::unknown(NAME, why, "set posts.posted_at in healer.toml"));
        }
        let funnel = read(room)?;
        let (status, summary) = judge(&funnel, &room.settings.heal.silence);
        let mut result = CheckResult::new(NAME, status, Some(u64::from(status != Status::Ok)), summary);
        if funnel.future > 0 {
            result.details.push(format!("{} posts were posted in the future and do not count", funnel.future));
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn silent(seconds: i64) -> Funnel {
        Funnel { silent_s: Some(seconds), ready: 3, oldest_ready_s: Some(1_000_000), ..Funnel::default() }
    }

    fn status(funnel: &Funnel) -> Status {
        judge(funnel, &Limits::default()).0
    }

    #[test]
    fn before_it_is_learned_two_hours_are_allowed_and_six_are_critical() {
        assert_eq!(
            [7_200, 7_201, 21_600, 21_601].map(|age| status(&silent(age))),
            [Status::Ok, Status::Warning, Status::Warning, Status::Critical]
        );
    }

    #[test]
    fn twice_what_is_usual_is_allowed_once_three_weeks_tell() {
        let of = |age, weeks| status(&Funnel { usual_s: Some(2_000), weeks, ..silent(age) });
        assert_eq!([of(4_000, 3), of(4_001, 3), of(4_001, 2)], [Status::Ok, Status::Warning, Status::Ok]);
    }

    #[test]
    fn half_an_hour_is_always_allowed() {
        let of = |age| status(&Funnel { usual_s: Some(60), weeks: 4, ..silent(age) });
        assert_eq!([of(1_800), of(1_801), of(5_401)], [Status::Ok, Status::Warning, Status::Critical]);
    }

    #[test]
    fn silence_counts_only_while_posts_are_ready() {
        assert_eq!(status(&Funnel { ready: 0, oldest_ready_s: None, ..silent(1_000_000) }), Status::Ok);
        assert_eq!(status(&Funnel { oldest_ready_s: Some(7_200), ..silent(1_000_000) }), Status::Ok);
        assert_eq!(status(&Funnel { oldest_ready_s: Some(7_201), ..silent(1_000_000) }), Status::Warning);
        assert_eq!(status(&Funnel { silent_s: None, oldest_ready_s: Some(7_201), ..silent(0) }), Status::Warning);
    }

    #[test]
    fn it_says_where_the_way_stops() {
        let words = |claimed, attempted| judge(&Funnel { claimed, attempted, ..silent(9_000) }, &Limits::default()).1;
        assert!(words(0, None).contains("nothing claims them"));
        assert!(words(0, Some(0)).contains("nothing claims them"));
        assert!(words(2, Some(0)).contains("claimed and not attempted"));
        assert!(words(2, Some(5)).contains("none ends as posted"));
        assert!(words(2, None).contains("claimed 2 → attempted ? → posted 0"));
    }

    proptest! {
        #[test]
        fn longer_silence_is_never_better(age in 0_i64..100_000, more in 0_i64..100_000, usual in -10_i64..9_000, weeks in 0_i64..5) {
            let of = |age| status(&Funnel { usual_s: Some(usual), weeks, ..silent(age) });
            prop_assert!(of(age + more) >= of(age));
            prop_assert!(age > 1_800 || of(age) == Status::Ok);
        }
    }
}
