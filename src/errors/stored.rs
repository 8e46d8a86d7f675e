//! Patterns between runs: `healer.error_pattern` and `healer.error_count`.
//!
//! A pattern is one row; it is recognised by any of its fingerprints, and by its example where another version of masking
//! and grouping made it. Patterns that turn out to be one are joined. How often it occurred stands by the hour, and is
//! replaced by what is counted now, never added to: whatever is analysed twice counts once.
//!
//! The readers at the end are for the report.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::fingerprint::{Severity, VERSION};
use super::group::StoredFingerprint;
use super::pattern::{Pattern, Stored};
use super::source::ms;
use super::{secrets, stamp};
use crate::change::lease::Lease;
use crate::database::session::{Param, Row, Session};
use crate::database::statement::{self, Names};
use crate::error::Error;

/// Fingerprints that are remembered over all patterns: half of what the grouper keeps, so that what is new finds room.
pub const REMEMBERED: usize = super::group::MAX_FINGERPRINTS / 2;
/// Patterns written in one transaction.
const BATCH: usize = 100;

/// Reads the stored patterns, in the running transaction. `window` is the beginning of the window.
pub fn load(session: &mut Session, window: DateTime<Utc>) -> Result<Vec<Stored>, Error> {
    let rows = session.rows(&statement::ERRORS_PATTERNS.fill(&Names::default()), &[Param::Time(Some(window))])?;
    let mut all = Vec::with_capacity(rows.len());
    for row in &rows {
        all.push(read(row)?);
    }
    Ok(all)
}

fn read(row: &Row) -> Result<Stored, Error> {
    // A row that somebody changed by hand is read as far as it can be.
    let fingerprints: Vec<StoredFingerprint> = serde_json::from_value(row.json("fingerprints")?).unwrap_or_default();
    Ok(Stored {
        id: row.int("id")?,
        first_key: row.text("first_key")?,
        version: u16::try_from(row.int("version")?).unwrap_or(0),
        severity: serde_json::from_value(Value::String(row.text("severity")?)).unwrap_or(Severity::Error),
        component: row.optional_text("component")?,
        class: row.optional_text("class")?,
        sqlstate: row.optional_text("sqlstate")?,
        http: row.optional_int("http")?.and_then(|status| u16::try_from(status).ok()),
        example: row.text("example")?,
        fingerprints,
        first_seen: ms(row.time("first_seen")?),
        last_seen: ms(row.time("last_seen")?),
        last_before: row.optional_time("last_before")?.map(ms),
        errors: u64::try_from(row.int("errors")?).unwrap_or(0),
    })
}

/// Patterns that went away before `read_from` and not long ago, as they were stored, those that were most first.
pub fn gone(session: &mut Session, read_from: DateTime<Utc>) -> Result<Vec<(i64, Pattern)>, Error> {
    session.read()?;
    let rows = session.rows(&statement::ERRORS_GONE.fill(&Names::default()), &[Param::Time(Some(read_from))])?;
    let mut all = Vec::with_capacity(rows.len());
    for row in &rows {
        // What another version wrote may look otherwise: it is known all the same, and not shown.
        if let Ok(pattern) = serde_json::from_value(row.json("view")?) {
            all.push((row.int("id")?, pattern));
        }
    }
    Ok(all)
}

/// Stores patterns, some in each transaction; gives how many.
pub fn store(session: &mut Session, lease: &Lease, patterns: &[Pattern]) -> Result<u64, Error> {
    let mut stored = 0;
    for batch in patterns.chunks(BATCH) {
        session.check_stop()?;
        lease.begin_batch(session)?;
        let (stays, goes): (Vec<i64>, Vec<i64>) = batch
            .iter()
            .filter_map(|pattern| pattern.record.rows.split_first())
            .flat_map(|(stays, goes)| goes.iter().map(move |goes| (*stays, *goes)))
            .unzip();
        if !goes.is_empty() {
            session
                .rows(&statement::ERROR_MERGE.fill(&Names::default()), &[Param::Ints(&stays), Param::Ints(&goes)])?;
        }
        let rows: Vec<Value> = batch.iter().map(row_of).collect();
        let text = Value::Array(rows).to_string();
        let row = session
            .row(&statement::ERROR_PATTERNS.fill(&Names::default()), &[Param::Text(&text), Param::Int(lease.run)])?;
        stored += u64::try_from(row.int("stored")?).unwrap_or(0);
        session.commit()?;
    }
    Ok(stored)
}

/// Keeps what the run found as a whole, says which patterns are gone, and removes what has been kept for long enough.
pub fn finish(session: &mut Session, lease: &Lease, summary: &Value, read_from: DateTime<Utc>) -> Result<(), Error> {
    session.check_stop()?;
    lease.begin_batch(session)?;
    let names = Names::default();
    session.rows(&statement::ERROR_SUMMARY.fill(&names), &[Param::Text(&summary.to_string())])?;
    session.rows(&statement::ERROR_GONE.fill(&names), &[Param::Time(Some(read_from))])?;
    session.rows(&statement::PRUNE_ERRORS.fill(&names), &[])?;
    session.commit()
}

fn row_of(pattern: &Pattern) -> Value {
    let record = &pattern.record;
    json!({
        "id": record.rows.first(),
        "key": pattern.key,
        "version": VERSION,
        "error_key": pattern.error_key,
        "severity": pattern.severity,
        "component": pattern.component,
        "class": pattern.error_type,
        "sqlstate": pattern.sqlstate,
        "http_status": pattern.http_status,
        "template": pattern.template,
        "example": pattern.example,
        "fingerprints": record.fingerprints.iter().map(without_secrets).collect::<Vec<_>>(),
        "first_seen": stamp(record.first_seen),
        "last_seen": stamp(record.last_seen),
        "standing": pattern.standing,
        "view": pattern,
        "hours": record.hours,
    })
}

/// Masking goes by what varies, not by what is secret: a password that is a plain word would still be in the text.
fn without_secrets(fingerprint: &StoredFingerprint) -> StoredFingerprint {
    let (message, trace) =
        fingerprint.text.split_at_checked(fingerprint.message_end).unwrap_or((&fingerprint.text, ""));
    let message = secrets::mask(message);
    StoredFingerprint { text: format!("{message}{trace}"), message_end: message.len(), ..fingerprint.clone() }
}

/// A pattern as the report shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct PatternRow {
    /// The smallest of its fingerprints.
    pub key: String,
    /// `component:error_type`.
    pub error_key: String,
    /// `info`, `warning`, `error` or `critical`.
    pub severity: String,
    /// The text with `<*>` where it varies.
    pub template: String,
    /// Without secrets.
    pub example: String,
    /// `new`, `known`, `regressed` or `gone`, as of the last analysis that saw it.
    pub standing: String,
    /// First seen, ever.
    pub first_seen: DateTime<Utc>,
    /// Last seen.
    pub last_seen: DateTime<Utc>,
    /// Errors in the time that was asked for.
    pub errors: u64,
    /// Everything that the last analysis said of it, as [`Pattern`] is written: trend, bursts, cause, recovery, jobs,
    /// posts, what happened before.
    pub view: Value,
}

/// Patterns of some time, the most frequent first, and how many there are in all.
pub fn patterns(session: &mut Session, seconds: i64, most: u32) -> Result<(Vec<PatternRow>, u64), Error> {
    session.read()?;
    let rows = session.rows(
        &statement::REPORT_ERROR_PATTERNS.fill(&Names::default()),
        &[Param::Int(seconds), Param::Int(i64::from(most))],
    )?;
    let mut total = 0;
    let mut all = Vec::with_capacity(rows.len());
    for row in &rows {
        total = u64::try_from(row.int("total")?).unwrap_or(0);
        all.push(PatternRow {
            key: row.text("key")?,
            error_key: row.text("error_key")?,
            severity: row.text("severity")?,
            template: row.text("template")?,
            example: row.text("example")?,
            standing: row.text("standing")?,
            first_seen: row.time("first_seen")?,
            last_seen: row.time("last_seen")?,
            errors: u64::try_from(row.int("errors")?).unwrap_or(0),
            view: row.json("view")?,
        });
    }
    Ok((all, total))
}

/// One day of errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day {
    /// Its beginning, in UTC.
    pub day: DateTime<Utc>,
    /// Errors.
    pub errors: u64,
    /// Patterns.
    pub patterns: u64,
}

/// Errors by day, ascending.
pub fn days(session: &mut Session, seconds: i64) -> Result<Vec<Day>, Error> {
    session.read()?;
    let rows = session.rows(&statement::REPORT_ERROR_DAYS.fill(&Names::default()), &[Param::Int(seconds)])?;
    rows.iter()
        .map(|row| {
            Ok(Day {
                day: row.time("day")?,
                errors: u64::try_from(row.int("errors")?).unwrap_or(0),
                patterns: u64::try_from(row.int("patterns")?).unwrap_or(0),
            })
        })
        .collect()
}

/// What the last analysis found as a whole, and when: its document without the patterns. `None` before the first.
pub fn summary(session: &mut Session) -> Result<Option<(Value, DateTime<Utc>)>, Error> {
    session.read()?;
    let rows = session.rows(&statement::REPORT_ERROR_SUMMARY.fill(&Names::default()), &[])?;
    rows.first().map(|row| Ok((row.json("value")?, row.time("updated_at")?))).transpose()
}

#[cfg(test)]
mod tests {
    use super::super::fingerprint::FingerprintId;
    use super::*;

    #[test]
    fn a_stored_fingerprint_holds_no_password_and_keeps_its_number_and_its_trace() {
        let text = "login failed password: swordfish now";
        let fingerprint = StoredFingerprint {
            id: FingerprintId(7),
            context: FingerprintId(8),
            text: format!("{text} @ open"),
            message_end: text.len(),
        };
        let stored = without_secrets(&fingerprint);
        assert!(!stored.text.contains("swordfish") && stored.text.ends_with(" @ open"), "{}", stored.text);
        assert_eq!(&stored.text[stored.message_end..], " @ open");
        assert_eq!(stored.id, fingerprint.id);
        assert_eq!(without_secrets(&StoredFingerprint { message_end: 999, ..fingerprint }).id, FingerprintId(7));
    }
}
