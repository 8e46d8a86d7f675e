//! Settings that healer keeps for itself in `healer.setting`: read by the passes, changed under guard, journalled, and
//! taken back by `undo`.
//!
//! A change is made only where the setting still holds what was seen, and where it is not locked. `undo` restores the
//! value and locks the setting, so that the next pass does not do it again; a person unlocks it with
//! `UPDATE healer.setting SET locked = false WHERE name = …`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::lease::Lease;
use crate::database::session::{Param, Session};
use crate::database::statement::{self, Names};
use crate::error::Error;

/// A setting as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Its value.
    pub value: Value,
    /// When it was last written.
    pub updated_at: DateTime<Utc>,
    /// Whether a person, or an `undo`, holds it where it is.
    pub locked: bool,
}

/// One change that a pass proposes.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingChange {
    /// The name.
    pub name: String,
    /// The value that was seen; `None` where there was none.
    pub from: Option<Value>,
    /// The new value.
    pub to: Value,
    /// Why, in words.
    pub reason: String,
    /// What it stands on.
    pub evidence: Value,
}

/// Reads the settings whose names begin with `prefix`, in the running transaction.
pub fn read(session: &mut Session, prefix: &str) -> Result<BTreeMap<String, Setting>, Error> {
    let rows = session.rows(&statement::SETTINGS_READ.fill(&Names::default()), &[Param::Text(prefix)])?;
    let mut settings = BTreeMap::new();
    for row in rows {
        let text = row.text("value")?;
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        settings.insert(
            row.text("name")?,
            Setting { value, updated_at: row.time("updated_at")?, locked: row.bool("locked")? },
        );
    }
    Ok(settings)
}

/// Changes settings in one transaction and journals them as the check's; gives the names of those that were changed.
/// One that changed meanwhile, or is locked, is left as it is.
pub fn change(
    session: &mut Session,
    lease: &Lease,
    check: &str,
    r#type: &str,
    changes: &[SettingChange],
) -> Result<Vec<String>, Error> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    session.check_stop()?;
    lease.begin_batch(session)?;
    let done = write(session, lease, check, r#type, changes)?;
    session.commit()?;
    Ok(done)
}

/// The same in the running transaction.
pub(super) fn write(
    session: &mut Session,
    lease: &Lease,
    check: &str,
    r#type: &str,
    changes: &[SettingChange],
) -> Result<Vec<String>, Error> {
    let texts = |of: fn(&SettingChange) -> String| changes.iter().map(of).collect::<Vec<_>>();
    let names = texts(|change| change.name.clone());
    let from = texts(|change| change.from.as_ref().map(Value::to_string).unwrap_or_default());
    let to = texts(|change| change.to.to_string());
    let reasons = texts(|change| change.reason.clone());
    let evidence = texts(|change| change.evidence.to_string());
    let rows = session.rows(
        &statement::SETTING_CHANGE.fill(&Names::default()),
        &[
            Param::Texts(&borrowed(&names)),
            Param::Texts(&borrowed(&from)),
            Param::Texts(&borrowed(&to)),
            Param::Texts(&borrowed(&reasons)),
            Param::Texts(&borrowed(&evidence)),
            Param::Text(check),
            Param::Text(r#type),
            Param::Int(lease.run),
        ],
    )?;
    rows.iter().map(|row| row.text("name")).collect()
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
