//! `database`: what a server tells of itself that makes posts get stuck: connections that run out, transactions and
//! locks that are held for too long, ids that run out, a standby that lags, a table full of dead rows.
//!
//! Reads the statistics views in one statement. Never ends a session and never vacuums: it says what to run.
//! Limits: sessions of other roles are seen only with pg_monitor; what cannot be seen is unknown, not well. Sessions are
//! looked at in this database, connections and ids on the whole server. Times are those of the moment: what happened
//! between two runs is told only by the counters.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{Check, CheckResult, Observation, Room, Status, ago};
use crate::change::plan::{Plan, Severity};
use crate::database::catalog::Server;
use crate::database::session::{Param, Row};
use crate::database::statement;
use crate::error::Error;
use crate::settings::{DatabaseHealth as Limits, Settings};

/// The check.
pub struct Database;

const NAME: &str = "database";

/// Ids of a 32-bit counter, of which half may be in the past: the distance at which they wrap around.
const WRAPAROUND: f64 = 2_147_483_648.0;

/// One session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Who {
    /// Its process; `None` for a prepared transaction.
    pub pid: Option<i64>,
    /// Its user.
    pub usename: Option<String>,
    /// Its application.
    pub application_name: Option<String>,
    /// For how long: in the transaction, idle, or waiting; `None` for unknown.
    #[serde(default)]
    pub age_s: Option<i64>,
    /// Who blocks it.
    #[serde(default)]
    pub blockers: Vec<Who>,
}

/// A replication slot that nobody reads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Bytes of WAL that it keeps.
    pub bytes: Option<i64>,
}

/// What the server counts since its statistics were reset.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Counters {
    /// Deadlocks.
    pub deadlocks: i64,
    /// Bytes written to temporary files.
    pub temp_bytes: i64,
    /// When they were last reset, as the server writes it.
    pub stats_reset: Option<String>,
}

/// What was measured. A value that is `None` is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is what sql/heal/database.sql says of it")]
pub struct Measured {
    pub connected_in: Duration,
    pub answered_in: Duration,
    pub read_only: Option<String>,
    pub sessions: i64,
    pub usable: i64,
    pub hidden: i64,
    pub transactions: Vec<Who>,
    pub idle: Vec<Who>,
    pub blocked: Vec<Who>,
    pub xid_age: i64,
    pub multixact_age: i64,
    pub oldest_database: String,
    pub lag_s: Option<i64>,
    pub hidden_standbys: i64,
    pub slots: Vec<Slot>,
    pub counters: Option<Counters>,
    pub before: Option<Counters>,
    pub table: String,
    pub live: i64,
    pub dead: i64,
    pub vacuumed_s: Option<i64>,
    pub unattended: bool,
}

/// One thing that is wrong, in one line that says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How grave.
    pub status: Status,
    /// In words.
    pub words: String,
}

/// A value against its two thresholds.
fn level<T: PartialOrd>(value: &T, warning: &T, critical: &T) -> Option<Status> {
    if value > critical {
        Some(Status::Critical)
    } else if value > warning {
        Some(Status::Warning)
    } else {
        None
    }
}

fn named(who: &Who) -> String {
    let text = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).unwrap_or("?").to_owned();
    match who.pid {
        Some(pid) => format!("pid {pid} (user {}, application {})", text(&who.usename), text(&who.application_name)),
        None => format!("the {} (user {})", text(&who.application_name), text(&who.usename)),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", (share * 100.0).floor())
}

/// Decides what is wrong. Pure.
pub fn judge(measured: &Measured, limits: &Limits) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |status: Option<Status>, words: String| {
        if let Some(status) = status {
            findings.push(Finding { status, words });
        }
    };
    if let Some(why) = &measured.read_only {
        add(Some(Status::Critical), format!("nothing can be written: {why}; connect to the primary"));
    }
    add(
        level(&measured.connected_in, &limits.connect_warning.0, &limits.connect_critical.0),
        format!(
            "connecting took {} ms: see whether the server or the network is busy",
            measured.connected_in.as_millis()
        ),
    );
    add(
        level(&measured.answered_in, &limits.answer_warning.0, &limits.answer_critical.0),
        format!(
            "an answer took {} ms: see whether the server or the network is busy",
            measured.answered_in.as_millis()
        ),
    );
    let used = if measured.usable > 0 { measured.sessions as f64 / measured.usable as f64 } else { 0.0 };
    add(
        level(&used, &limits.connections_warning, &limits.connections_critical),
        format!(
            "{} of {} connections are used ({}): close idle ones, use a pooler or raise max_connections",
            measured.sessions,
            measured.usable,
            percent(used)
        ),
    );
    sessions(measured, limits, &mut add);
    ids(measured, limits, &mut add);
    replication(measured, limits, &mut add);
    since(measured, limits, &mut add);
    dead_rows(measured, limits, &mut add);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.status));
    findings
}

fn sessions(measured: &Measured, limits: &Limits, add: &mut impl FnMut(Option<Status>, String)) {
    let over = |list: &[Who], warning: &crate::settings::Span, critical: &crate::settings::Span| {
        let worst = list.iter().max_by_key(|who| who.age_s)?;
        let age = Duration::from_secs(u64::try_from(worst.age_s?).unwrap_or(0));
        let status = level(&age, &warning.0, &critical.0)?;
        let limit = warning.as_seconds();
        let more = list.iter().filter(|who| who.age_s.is_some_and(|age| age > limit)).count().saturating_sub(1);
        Some((status, worst.clone(), if more > 0 { format!(", and {more} more") } else { String::new() }))
    };
    let end = |who: &Who| match who.pid {
        Some(pid) => format!("SELECT pg_terminate_backend({pid});"),
        None => "COMMIT PREPARED or ROLLBACK PREPARED it".to_owned(),
    };
    let idle = over(&measured.idle, &limits.idle_warning, &limits.idle_critical);
    let idle_pid = idle.as_ref().and_then(|(_, who, _)| who.pid);
    if let Some((status, who, more)) = idle {
        let age = ago(who.age_s.unwrap_or(0));
        add(Some(status), format!("{} has been idle in a transaction for {age}{more}: {}", named(&who), end(&who)));
    }
    // A session that was just named as idle is not named again as the longest transaction.
    let others: Vec<Who> =
        measured.transactions.iter().filter(|who| who.pid.is_none() || who.pid != idle_pid).cloned().collect();
    if let Some((status, who, more)) = over(&others, &limits.transaction_warning, &limits.transaction_critical) {
        let age = ago(who.age_s.unwrap_or(0));
        add(
            Some(status),
            format!("{} has been in a transaction for {age}{more}: see what it does, or {}", named(&who), end(&who)),
        );
    }
    if let Some((status, who, more)) = over(&measured.blocked, &limits.blocked_warning, &limits.blocked_critical) {
        let blockers: Vec<String> = who.blockers.iter().map(named).collect();
        let by = if blockers.is_empty() { "somebody unknown".to_owned() } else { blockers.join(", ") };
        let remedy = who.blockers.first().map_or_else(|| "look at pg_locks".to_owned(), &end);
        let age = ago(who.age_s.unwrap_or(0));
        add(Some(status), format!("{} has waited for a lock for {age}{more}, blocked by {by}: {remedy}", named(&who)));
    }
}

fn ids(measured: &Measured, limits: &Limits, add: &mut impl FnMut(Option<Status>, String)) {
    for (age, what) in [(measured.xid_age, "transaction ids"), (measured.multixact_age, "multixact ids")] {
        let share = age as f64 / WRAPAROUND;
        add(
            level(&share, &limits.xid_warning, &limits.xid_critical),
            format!(
                "{} of the {what} are used up (database {}): run VACUUM (FREEZE) there, and see what holds autovacuum back",
                percent(share),
                measured.oldest_database
            ),
        );
    }
}

fn replication(measured: &Measured, limits: &Limits, add: &mut impl FnMut(Option<Status>, String)) {
    if let Some(lag) = measured.lag_s {
        let age = Duration::from_secs(u64::try_from(lag).unwrap_or(0));
        add(
            level(&age, &limits.replication_warning.0, &limits.replication_critical.0),
            format!("the standby lags {} behind: see its load and its network", ago(lag)),
        );
    }
    if let Some(slot) = measured.slots.first() {
        let more = measured.slots.len() - 1;
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        let kept = slot.bytes.map_or_else(String::new, |bytes| format!(" and keeps {} MB of WAL", bytes / 1_048_576));
        let literal = slot.name.replace('\'', "''");
        add(
            Some(Status::Warning),
            format!(
                "nobody reads the replication slot {}{kept}{more}: start its reader, or SELECT pg_drop_replication_slot('{literal}');",
                slot.name
            ),
        );
    }
}

fn since(measured: &Measured, limits: &Limits, add: &mut impl FnMut(Option<Status>, String)) {
    let Some((deadlocks, temp_bytes)) = difference(measured) else { return };
    let many = limits.deadlocks_warning > 0 && deadlocks >= i64::from(limits.deadlocks_warning);
    add(
        many.then_some(Status::Warning),
        format!("{deadlocks} deadlocks since the last run: look for \"deadlock detected\" in the server's log"),
    );
    let megabytes = temp_bytes / 1_048_576;
    add(
        (temp_bytes > i64::from(limits.temp_mb_warning) * 1_048_576).then_some(Status::Warning),
        format!(
            "{megabytes} MB were written to temporary files since the last run: find the statement (log_temp_files), or raise work_mem"
        ),
    );
}

/// Deadlocks and temporary bytes since the last run; `None` where the counters were reset since, or no run noted them.
fn difference(measured: &Measured) -> Option<(i64, i64)> {
    let (now, before) = (measured.counters.as_ref()?, measured.before.as_ref()?);
    let (deadlocks, temp_bytes) = (now.deadlocks - before.deadlocks, now.temp_bytes - before.temp_bytes);
    (now.stats_reset == before.stats_reset && deadlocks >= 0 && temp_bytes >= 0).then_some((deadlocks, temp_bytes))
}

fn dead_rows(measured: &Measured, limits: &Limits, add: &mut impl FnMut(Option<Status>, String)) {
    let all = measured.live.saturating_add(measured.dead);
    let share = if all > 0 { measured.dead as f64 / all as f64 } else { 0.0 };
    let many = measured.dead > i64::from(limits.dead_rows_from) && share > limits.dead_share_warning;
    let vacuumed =
        measured.vacuumed_s.map_or_else(|| "never vacuumed".into(), |age| format!("last vacuumed {} ago", ago(age)));
    let remedy = if measured.unattended {
        format!(
            "autovacuum is switched off for it: ALTER TABLE {0} RESET (autovacuum_enabled); VACUUM (ANALYZE) {0};",
            measured.table
        )
    } else {
        format!("VACUUM (ANALYZE) {};", measured.table)
    };
    add(
        many.then_some(Status::Warning),
        format!(
            "{} of {all} rows of {} are dead ({}), {vacuumed}: {remedy}",
            measured.dead,
            measured.table,
            percent(share)
        ),
    );
}

fn read_only(server: &Server) -> Option<String> {
    if server.standby {
        Some("it is a standby".into())
    } else if server.default_read_only {
        Some("default_transaction_read_only is on".into())
    } else {
        None
    }
}

fn list<T: for<'de> Deserialize<'de>>(row: &Row, column: &str) -> Result<T, Error> {
    serde_json::from_value(row.json(column)?).map_err(|error| Error::Query {
        what: format!("heal/database ({column})"),
        sqlstate: None,
        message: error.to_string(),
        connection_lost: false,
    })
}

fn read(room: &mut Room<'_>) -> Result<Measured, Error> {
    room.session.read()?;
    let answered_in = room.session.answered_in().unwrap_or_default();
    let table = room.mapping.posts.base.clone();
    let row = room.session.row(&statement::DATABASE.fill(&room.mapping.names), &[Param::Text(&table)])?;
    Ok(Measured {
        connected_in: room.connected_in,
        answered_in,
        read_only: read_only(room.server),
        sessions: row.int("sessions")?,
        usable: row.int("usable")?,
        hidden: row.int("hidden")?,
        transactions: list(&row, "transactions")?,
        idle: list(&row, "idle")?,
        blocked: list(&row, "blocked")?,
        xid_age: row.optional_int("xid_age")?.unwrap_or(0),
        multixact_age: row.optional_int("multixact_age")?.unwrap_or(0),
        oldest_database: row.optional_text("oldest_database")?.unwrap_or_default(),
        lag_s: row.optional_int("lag_s")?,
        hidden_standbys: row.int("hidden_standbys")?,
        slots: list(&row, "slots")?,
        // What an older healer noted in another form is as good as nothing.
        counters: serde_json::from_value(row.json("counters")?).ok(),
        before: serde_json::from_value(row.json("before")?).ok(),
        table,
        live: row.optional_int("live")?.unwrap_or(0),
        dead: row.optional_int("dead")?.unwrap_or(0),
        vacuumed_s: row.optional_int("vacuumed_s")?,
        unattended: row.optional_bool("unattended")?.unwrap_or(false),
    })
}

/// What cannot be seen, and what would change that.
fn unseen(measured: &Measured, role: &str) -> Vec<String> {
    let mut unseen = Vec::new();
    let grant = format!("GRANT pg_monitor TO \"{}\";", role.replace('"', "\"\""));
    if measured.hidden > 0 {
        unseen.push(format!("what {} sessions of other roles do cannot be seen: {grant}", measured.hidden));
    }
    if measured.hidden_standbys > 0 {
        unseen.push(format!("how far {} standbys lag cannot be seen: {grant}", measured.hidden_standbys));
    }
    unseen
}

impl Check for Database {
    fn name(&self) -> &'static str {
        NAME
    }

    fn enabled(&self, settings: &Settings) -> bool {
        settings.heal.database.enabled
    }

    fn run(&self, room: &mut Room<'_>, _: &mut Plan) -> Result<CheckResult, Error> {
        let measured = read(room)?;
        let mut result = assess(&measured, &room.settings.heal.database, room.server);
        if room.pooled {
            result
                .details
                .push("through a pooler: the time to connect is the pooler's, the server's is not known".into());
        }
        Ok(result)
    }
}

fn assess(measured: &Measured, limits: &Limits, server: &Server) -> CheckResult {
    let findings = judge(measured, limits);
    let unseen = unseen(measured, &server.role);
    let mut lines = findings.iter().map(|finding| finding.words.clone()).chain(unseen.iter().cloned());
    let worst = findings.first().map(|finding| finding.status);
    let status = worst.unwrap_or(if unseen.is_empty() { Status::Ok } else { Status::Unknown });
    let summary = lines.next().unwrap_or_else(|| {
        format!(
            "PostgreSQL {}, connected in {} ms, answers in {} ms, {} of {} connections used",
            server.version_text,
            measured.connected_in.as_millis(),
            measured.answered_in.as_millis(),
            measured.sessions,
            measured.usable
        )
    });
    let found = (status != Status::Unknown).then_some(findings.len() as u64);
    let mut result = CheckResult::new(NAME, status, found, summary);
    result.details = lines.collect();
    result.health = found.map(|found| ("databaseIssues", Value::from(found)));
    result.observed = worst.map(|worst| Observation {
        r#type: "database_health_check",
        action: "health_check",
        severity: if worst == Status::Critical { Severity::Critical } else { Severity::Warning },
    });
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn well() -> Measured {
        Measured { sessions: 10, usable: 100, table: "public.posts".into(), live: 100_000, ..Measured::default() }
    }

    fn statuses(measured: &Measured) -> Vec<Status> {
        judge(measured, &Limits::default()).into_iter().map(|finding| finding.status).collect()
    }

    fn who(pid: i64, age_s: i64) -> Who {
        Who {
            pid: Some(pid),
            usename: Some("app".into()),
            application_name: Some("worker".into()),
            age_s: Some(age_s),
            blockers: Vec::new(),
        }
    }

    /// Checks what is found just inside a warning, just outside it, just inside critical, and just outside that.
    fn at_the_limits(values: [i64; 4], make: impl Fn(i64) -> Measured) {
        let found = values.map(|value| statuses(&make(value)));
        assert_eq!(found, [vec![], vec![Status::Warning], vec![Status::Warning], vec![Status::Critical]], "{values:?}");
    }

    #[test]
    fn a_server_that_is_well_has_no_findings() {
        assert_eq!(judge(&well(), &Limits::default()), []);
    }

    #[test]
    fn four_fifths_of_the_connections_may_be_used() {
        at_the_limits([80, 81, 95, 96], |sessions| Measured { sessions, ..well() });
    }

    #[test]
    fn a_transaction_may_last_five_minutes_and_an_idle_one_a_minute() {
        at_the_limits([300, 301, 1_800, 1_801], |age| Measured { transactions: vec![who(7, age)], ..well() });
        at_the_limits([60, 61, 900, 901], |age| Measured { idle: vec![who(7, age)], ..well() });
        at_the_limits([30, 31, 600, 601], |age| Measured { blocked: vec![who(7, age)], ..well() });
    }

    #[test]
    fn half_of_the_ids_may_be_used() {
        let limits = [1_073_741_824, 1_073_741_825, 1_717_986_918, 1_717_986_919];
        at_the_limits(limits, |xid_age| Measured { xid_age, ..well() });
        at_the_limits(limits, |multixact_age| Measured { multixact_age, ..well() });
    }

    #[test]
    fn times_to_connect_and_to_answer_have_their_limits() {
        let ms = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        at_the_limits([2_000, 2_001, 8_000, 8_001], |took| Measured { connected_in: ms(took), ..well() });
        at_the_limits([1_000, 1_001, 5_000, 5_001], |took| Measured { answered_in: ms(took), ..well() });
    }

    #[test]
    fn a_standby_may_lag_a_minute_and_a_slot_must_be_read() {
        at_the_limits([60, 61, 900, 901], |lag| Measured { lag_s: Some(lag), ..well() });
        assert_eq!(statuses(&Measured { lag_s: None, ..well() }), []);
        let slots = vec![Slot { name: "old'one".into(), bytes: Some(5 * 1_048_576) }];
        let found = judge(&Measured { slots, ..well() }, &Limits::default());
        assert!(found[0].words.contains("pg_drop_replication_slot('old''one')"), "{found:?}");
    }

    #[test]
    fn a_quarter_of_the_rows_may_be_dead_and_five_thousand_always() {
        let dead = |live, dead| statuses(&Measured { live, dead, ..well() });
        assert_eq!(dead(30_000, 10_000), []);
        assert_eq!(dead(29_999, 10_001), [Status::Warning]);
        assert_eq!(dead(0, 5_000), []);
        assert_eq!(dead(0, 5_001), [Status::Warning]);
    }

    #[test]
    fn deadlocks_and_temporary_files_count_since_the_last_run() {
        let counters = |deadlocks, temp_bytes| Counters { deadlocks, temp_bytes, stats_reset: Some("then".into()) };
        let gone = |now: Counters, before: Option<Counters>| {
            statuses(&Measured { counters: Some(now), before, ..well() }).len()
        };
        assert_eq!(gone(counters(7, 0), Some(counters(7, 0))), 0);
        assert_eq!(gone(counters(8, 0), Some(counters(7, 0))), 1);
        let limit = 10_240 * 1_048_576;
        assert_eq!(gone(counters(7, limit), Some(counters(7, 0))), 0);
        assert_eq!(gone(counters(7, limit + 1), Some(counters(7, 0))), 1);
        assert_eq!(gone(counters(99, limit * 2), None), 0, "no run noted them before");
        let reset = Counters { stats_reset: Some("now".into()), ..counters(8, 0) };
        assert_eq!(gone(reset, Some(counters(7, 0))), 0, "they were reset since");
    }

    #[test]
    fn one_session_is_named_once_and_its_blocker_beside_it() {
        let idle = vec![who(7, 1_000)];
        let blocked = vec![Who { blockers: vec![who(7, 1_000)], ..who(8, 700) }];
        let found = judge(&Measured { transactions: idle.clone(), idle, blocked, ..well() }, &Limits::default());
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].words.contains("idle in a transaction for 16 min: SELECT pg_terminate_backend(7)"));
        assert!(found[1].words.contains("blocked by pid 7 (user app, application worker)"), "{found:?}");
    }

    #[test]
    fn a_database_that_takes_no_writes_is_critical() {
        assert_eq!(statuses(&Measured { read_only: Some("it is a standby".into()), ..well() }), [Status::Critical]);
    }

    proptest! {
        #[test]
        fn no_numbers_make_it_panic_and_the_gravest_comes_first(
            sessions: i64, usable: i64, age: i64, xid_age: i64, lag: i64, live: i64, dead: i64, was: i32, is: i32,
        ) {
            let counters = |n: i32| Some(Counters { deadlocks: n.into(), temp_bytes: n.into(), stats_reset: None });
            let measured = Measured {
                sessions, usable, xid_age, lag_s: Some(lag), live, dead, counters: counters(is), before: counters(was),
                transactions: vec![who(1, age)], idle: vec![who(2, age)], blocked: vec![who(3, age)], ..well()
            };
            let found = statuses(&measured);
            prop_assert!(found.windows(2).all(|pair| pair[0] >= pair[1]));
        }
    }
}
