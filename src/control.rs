//! Switches that take one safety rule out: what proves that the chaos kit notices when a rule is missing.
//!
//! Only a build with the feature `chaos-controls` has them, and no optimised build can have that feature.
//! `HEALER_CHAOS_CONTROL` names the rule that is out: `status-check`, `ledgers`, `late-evidence` (what the ledgers
//! say in the moment of the write) or `journal-transaction`.

use crate::database::session::{Access, Session};
use crate::database::statement::Template;
use crate::error::Error;

#[cfg(not(debug_assertions))]
compile_error!("the feature chaos-controls takes safety rules out: it is for tests, and no release may have it");

/// What the journal is called while it is written in a transaction of its own.
const LATE: &str = "late_journal";

/// The columns of the journal that a change writes.
const COLUMNS: &str = "run_id, check_name, type, action, relation, target, before, after, reason, evidence";

fn is_out(rule: &str) -> bool {
    std::env::var("HEALER_CHAOS_CONTROL").is_ok_and(|control| control == rule)
}

/// The text of a statement without the rule that is out.
pub fn edited(template: &Template) -> String {
    let text = template.text.to_owned();
    if is_out("status-check") && matches!(template.name, "change/lock" | "change/requeue") {
        // An UPDATE by id: the row is not compared with what the plan saw.
        return text
            .replace("p.{status} = {from}", "true")
            .replace("p.{status} = {posting}", "true")
            .replace("{seen} IS NOT DISTINCT FROM k.seen", "true")
            .replace("p.{external_id}::text IS NOT DISTINCT FROM k.external_id", "true")
            .replace("(p.{external_id}::text IS NULL OR p.{external_id}::text !~ {real})", "true");
    }
    if is_out("ledgers") && template.name.starts_with("evidence/po") {
        return format!("{text}\n WHERE false\n");
    }
    if is_out("late-evidence") {
        return text.replace("AND NOT EXISTS (SELECT 1 FROM sent s WHERE s.post = k.post)", "");
    }
    if is_out("journal-transaction") {
        return text.replace("INSERT INTO healer.action (", &format!("INSERT INTO {LATE} ("));
    }
    text
}

/// Makes the place where the journal waits for its own transaction.
pub fn before_changes(session: &mut Session) -> Result<(), Error> {
    if !is_out("journal-transaction") {
        return Ok(());
    }
    let sql =
        format!("CREATE TEMP TABLE IF NOT EXISTS {LATE} (LIKE healer.action INCLUDING DEFAULTS INCLUDING IDENTITY)");
    session.batch("late journal", &sql)
}

/// Writes the journal after the changes were committed.
pub fn after_changes(session: &mut Session) -> Result<(), Error> {
    if !is_out("journal-transaction") {
        return Ok(());
    }
    let copy = format!("INSERT INTO healer.action ({COLUMNS}) SELECT {COLUMNS} FROM {LATE}; DELETE FROM {LATE}");
    session.begin(Access::ReadWrite, &copy)?;
    session.commit()
}
