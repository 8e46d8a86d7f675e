//! Old events: moved to `healer.archived_event`, or deleted, a batch a transaction, each batch journalled in it.
//!
//! What stays whatever its age: what ledgers are made of (`POST_SUCCESS`, `REPLY_SUCCESS`), what dashboards read (the
//! reports of the passes), what the analysis of errors counts from (deployments), and what the settings name. Only a
//! plain table that nothing points to and that no trigger watches over.

use super::lease::Lease;
use crate::database::catalog::{Catalog, Relation};
use crate::database::session::{Param, Session};
use crate::database::statement::{self, Names};
use crate::error::Error;
use crate::optimize::performance::settings::{Retention, RetentionTo};
use crate::pass;

/// Events that one transaction takes: a batch of whole rows stays a few megabytes.
const BATCH: u32 = 1_000;

/// Event types that stay, beside those of the settings; `%` stands for any text.
const KEPT: [&str; 5] = ["POST_SUCCESS", "REPLY_SUCCESS", "%_report", "DEPLOY%", "deploy%"];

/// What stays, as a condition on `r.event_type`. The settings' own words were quoted by the server.
pub fn kept(settings: &Retention, catalog: &Catalog) -> Result<String, Error> {
    let mut parts: Vec<String> = pass::ALL
        .iter()
        .flat_map(|kind| [kind.event, kind.failure])
        .chain(KEPT)
        .map(|word| format!("r.event_type LIKE '{}'", word.replace('_', "\\_")))
        .collect();
    for word in &settings.keep_types {
        parts.push(format!("r.event_type LIKE {}", catalog.literal(word)?));
    }
    Ok(parts.join(" OR "))
}

/// Why nothing may leave this table, if nothing may.
pub fn refused(events: &Relation) -> Option<String> {
    if events.kind != "r" {
        return Some(format!("{} is not a plain table", events.quoted));
    }
    if let Some(key) = events.incoming_keys.first() {
        return Some(format!("a foreign key points to {} ({key})", events.quoted));
    }
    let trigger = events.triggers.iter().find(|trigger| trigger.on_delete)?;
    Some(format!("the trigger {} watches over deletes of {}", trigger.name, events.quoted))
}

/// Lets old events leave, at most `per_run`; gives how many left.
pub fn carry_out(
    session: &mut Session,
    lease: &Lease,
    names: &Names,
    table: &str,
    settings: &Retention,
) -> Result<u64, Error> {
    let template = match settings.to {
        RetentionTo::Table => statement::MOVE_EVENTS,
        RetentionTo::Delete => statement::DELETE_EVENTS,
    };
    let statement = template.fill(names);
    let reason = format!("older than {}", settings.keep);
    let mut gone = 0_u64;
    while gone < u64::from(settings.per_run) {
        session.check_stop()?;
        let size = u64::from(BATCH).min(u64::from(settings.per_run) - gone);
        lease.begin_batch(session)?;
        let row = session.row(
            &statement,
            &[
                Param::Int(settings.keep.as_seconds()),
                Param::Int(i64::try_from(size).unwrap_or(1)),
                Param::Int(lease.run),
                Param::Text(table),
                Param::Text(&reason),
            ],
        )?;
        let events = u64::try_from(row.int("events")?).unwrap_or(0);
        if events == 0 {
            // The batch that found nothing is not worth a row in the journal.
            session.rollback();
            break;
        }
        session.commit()?;
        gone += events;
    }
    Ok(gone)
}
