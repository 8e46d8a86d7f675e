//! `healer init`: creates or upgrades the schema `healer`.

use crate::database::catalog::{Catalog, SCHEMA_VERSION};
use crate::database::session::{Access, Session};
use crate::database::statement::{self, Statement};
use crate::error::Error;
use crate::start::Start;

/// The steps to the newest schema; step N makes version N out of version N − 1. Each is safe to repeat.
pub const STEPS: &[&str] = &[
    include_str!("../sql/schema/001_healer.sql"),
    include_str!("../sql/schema/002_signals.sql"),
    // A version may be made of several files; the one that notes the version is the last.
    concat!(
        include_str!("../sql/schema/003_settings.sql"),
        include_str!("../sql/schema/003_forecast.sql"),
        include_str!("../sql/schema/003_scaling.sql"),
        include_str!("../sql/schema/003_performance.sql"),
        include_str!("../sql/schema/003_errors.sql"),
        include_str!("../sql/schema/003_content.sql"),
        include_str!("../sql/schema/003_alert.sql"),
        include_str!("../sql/schema/003_version.sql"),
    ),
];

/// What an init did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// The schema was there, of this version.
    Already,
    /// It was created.
    Created,
    /// It was upgraded from this version.
    Upgraded(u32),
}

/// All SQL that `init` runs, for those who must review it.
pub fn sql() -> String {
    let mut sql = String::from("BEGIN;\n");
    for step in STEPS {
        sql.push_str(step);
        sql.push('\n');
    }
    sql.push_str("COMMIT;\n");
    sql
}

/// Creates or upgrades the schema, in one transaction. Two at once: one waits for the other, and finds it done.
pub fn init(session: &mut Session, catalog: &Catalog) -> Result<Made, Error> {
    let server = &catalog.server;
    if server.standby {
        return Err(Error::ReadOnly { reason: "it is a standby (pg_is_in_recovery)".into() });
    }
    if server.default_read_only {
        return Err(Error::ReadOnly { reason: "default_transaction_read_only is on".into() });
    }
    let from = match server.schema {
        Some(found) if found > SCHEMA_VERSION => {
            return Err(Error::Schema {
                message: format!("the schema healer is of version {found}, newer than this healer ({SCHEMA_VERSION})"),
                hint: "install the newer healer".into(),
            });
        }
        Some(found) if found == SCHEMA_VERSION => return Ok(Made::Already),
        None if !server.may_create_schema => {
            return Err(Error::Permission {
                message: format!("role {} may not create a schema in {}", server.role, server.database),
                hint: format!(
                    "run `healer init --print-sql` as the owner, or GRANT CREATE ON DATABASE \"{}\" TO \"{}\";",
                    server.database, server.role
                ),
            });
        }
        found => found,
    };
    // The number is arbitrary and healer's own; the lock ends with the transaction.
    session.begin(
        Access::ReadWrite,
        "SELECT pg_advisory_xact_lock(7247325401); SET LOCAL client_min_messages = warning",
    )?;
    for step in STEPS.iter().skip(from.unwrap_or(0) as usize) {
        session.batch("schema", step)?;
    }
    session.commit()?;
    Ok(from.map_or(Made::Created, Made::Upgraded))
}

/// The statement that puts the trigger behind the heartbeat table, or takes it away.
pub fn jobs(start: &Start, track: bool) -> Result<Statement, Error> {
    let mapping = start.mapping()?;
    let table = &start.settings().heartbeats.table;
    if mapping.heartbeats.is_none() {
        return Err(Error::Missing {
            what: format!("table {table}, or a known shape of it,"),
            hint: "set heartbeats.table in healer.toml".into(),
        });
    }
    if mapping.heartbeats_history && track {
        return Err(Error::Refused {
            message: format!("{table} keeps one row for each run: healer reads its history there"),
            hint: "run `healer init` without --track-jobs".into(),
        });
    }
    let template = if track { statement::TRACK_JOBS } else { statement::UNTRACK_JOBS };
    Ok(template.fill(&mapping.names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_step_notes_the_version_that_this_binary_writes() {
        assert_eq!(STEPS.len(), SCHEMA_VERSION as usize);
        assert!(STEPS[STEPS.len() - 1].contains(&format!("'healer schema {SCHEMA_VERSION}'")));
    }
}
