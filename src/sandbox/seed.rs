//! What the sandbox is filled with: 30 days of a believable system and the faults that healer knows.
//!
//! The SQL is one story a file below `sql/sandbox/`. All times are distances from the moment of filling and all chance
//! is a hash of a row's number, so that two sandboxes differ in nothing but the clock. What each planted row should
//! become stands in `sandbox.expectation`, out of the way of the system's own schema.

use postgres::Client;

use super::{SandboxError, folder};

/// The files in the order in which they run; later ones build on earlier ones.
const FILES: [(&str, &str); 15] = [
    ("010_schema.sql", include_str!("../../sql/sandbox/010_schema.sql")),
    ("020_chance.sql", include_str!("../../sql/sandbox/020_chance.sql")),
    ("030_generators.sql", include_str!("../../sql/sandbox/030_generators.sql")),
    ("040_posts.sql", include_str!("../../sql/sandbox/040_posts.sql")),
    ("050_ledgers.sql", include_str!("../../sql/sandbox/050_ledgers.sql")),
    ("060_outcomes.sql", include_str!("../../sql/sandbox/060_outcomes.sql")),
    ("070_events.sql", include_str!("../../sql/sandbox/070_events.sql")),
    ("110_stuck_posts.sql", include_str!("../../sql/sandbox/110_stuck_posts.sql")),
    ("120_missing_ids.sql", include_str!("../../sql/sandbox/120_missing_ids.sql")),
    ("130_old_failed.sql", include_str!("../../sql/sandbox/130_old_failed.sql")),
    ("140_jobs_and_browser.sql", include_str!("../../sql/sandbox/140_jobs_and_browser.sql")),
    ("900_finish.sql", include_str!("../../sql/sandbox/900_finish.sql")),
    ("910_settle.sql", include_str!("../../sql/sandbox/910_settle.sql")),
    ("920_statistics.sql", include_str!("../../sql/sandbox/920_statistics.sql")),
    ("930_database.sql", include_str!("../../sql/sandbox/930_database.sql")),
];

/// What the application reports of itself and what weeks of passes have noted; it needs the schema `healer`.
const LATER: [(&str, &str); 2] = [
    ("950_signals.sql", include_str!("../../sql/sandbox/950_signals.sql")),
    ("960_histories.sql", include_str!("../../sql/sandbox/960_histories.sql")),
];

/// Names this filling: it changes with every change of a file, so that a sandbox of an older healer is made anew.
pub fn name() -> String {
    let texts = FILES.iter().chain(&LATER).flat_map(|(_, sql)| sql.bytes());
    format!("healer sandbox {:016x}", folder::fingerprint(texts))
}

/// Fills an empty database.
pub fn fill(client: &mut Client) -> Result<(), SandboxError> {
    for (file, sql) in FILES {
        client.batch_execute(sql).map_err(|source| SandboxError::Seed { file, source })?;
    }
    Ok(())
}

/// Reports what the application would report, and notes what weeks of passes would have; run once the schema `healer`
/// exists.
pub fn signals(client: &mut Client) -> Result<(), SandboxError> {
    for (file, sql) in LATER {
        client.batch_execute(sql).map_err(|source| SandboxError::Seed { file, source })?;
    }
    Ok(())
}
