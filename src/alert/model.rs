//! What an alert is, and what is told of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::change::plan::Severity;

/// Longest title that is kept: a line of a chat.
pub const TITLE: usize = 200;
/// Longest detail that is kept; each channel cuts further to its own limit.
pub const DETAIL: usize = 4_000;
/// Longest next step that is kept.
pub const STEP: usize = 500;

/// Something a person should hear of, as one pass found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The pass it belongs to; [`super::rules::HEALER`] for what every pass judges.
    pub pass: String,
    /// What it is, the same from one pass to the next: `check:silence`, `job-late:posting`.
    pub key: String,
    /// The check that found it, where one did.
    pub check: Option<String>,
    /// How grave.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// More lines.
    pub detail: String,
    /// What to do: the line of the runbook.
    pub next_step: String,
}

/// What one channel was told of an alert.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When it was last told; never where it is still owed.
    pub at: Option<DateTime<Utc>>,
    /// How grave it was then.
    pub severity: Option<String>,
    /// How often it was told again.
    #[serde(default)]
    pub reminders: u32,
    /// Whether it should have been told and was not: the channel failed, or it was quiet hours.
    #[serde(default)]
    pub owed: bool,
    /// Whether its end was told.
    #[serde(default)]
    pub resolved: bool,
}

/// An alert from its first sight to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Its row; none while it is not in the database.
    #[serde(skip)]
    pub id: Option<i64>,
    /// The same for as long as it is open, wherever it is told: what a pager tells two messages of one thing by.
    pub fingerprint: String,
    /// The pass.
    pub pass: String,
    /// What it is.
    pub key: String,
    /// The check that found it.
    pub check: Option<String>,
    /// How grave, now.
    #[serde(with = "severity_word")]
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// More lines.
    pub detail: String,
    /// What to do.
    pub next_step: String,
    /// The run that saw it last.
    pub run_id: Option<i64>,
    /// When it was first seen.
    pub opened_at: DateTime<Utc>,
    /// When it was last seen.
    pub last_seen: DateTime<Utc>,
    /// In how many runs it was seen.
    pub times: i64,
    /// When it was gone.
    pub resolved_at: Option<DateTime<Utc>>,
    /// What each channel was told.
    pub channels: BTreeMap<String, Told>,
    /// Whether it differs from what is kept.
    #[serde(skip)]
    pub changed: bool,
}

/// How a channel itself is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelState {
    /// When it last took a message.
    pub last_success: Option<DateTime<Utc>>,
    /// Since when it fails.
    pub failing_since: Option<DateTime<Utc>>,
    /// Failures on end.
    pub failures: i64,
    /// Why it failed last.
    pub last_error: Option<String>,
    /// When it asked not to be called before.
    pub not_before: Option<DateTime<Utc>>,
}

/// Everything that is remembered between passes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Book {
    /// Alerts that are open, and those whose end has not been told everywhere.
    pub alerts: Vec<Alert>,
    /// The channels.
    pub channels: BTreeMap<String, ChannelState>,
}

/// Why an alert is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// It was not there before.
    New,
    /// It is graver than when it was told.
    Worse,
    /// It is still there.
    Reminder,
    /// It is gone.
    Resolved,
    /// Nothing changed, and this channel is told all the same: an Alertmanager forgets what is not repeated.
    Standing,
}

/// One alert in a message.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its place in the book.
    pub place: usize,
    /// Why it is told.
    pub why: Why,
    /// As it is now.
    pub alert: Alert,
}

/// What a channel is told in one go.
#[derive(Debug, Clone)]
pub struct Message {
    /// What the system is called.
    pub instance: String,
    /// The pass that tells it.
    pub pass: String,
    /// The run.
    pub run_id: Option<i64>,
    /// When.
    pub at: DateTime<Utc>,
    /// The gravest first; what is gone last.
    pub items: Vec<Item>,
    /// Whether it is only to see that the channel works.
    pub test: bool,
}

/// A severity as a word.
pub fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
        Severity::Critical => "critical",
    }
}

/// The severity of a word; an unknown one is grave enough to be heard of.
pub fn severity(word: &str) -> Severity {
    match word {
        "info" => Severity::Info,
        "error" => Severity::Error,
        "critical" => Severity::Critical,
        _ => Severity::Warning,
    }
}

mod severity_word {
    use super::{Severity, severity, word};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    pub fn serialize<S: serde::Serializer>(value: &Severity, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(word(*value))
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Severity, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        Ok(severity(&text))
    }
}

impl Message {
    /// One line: how many of what, and where.
    pub fn title(&self) -> String {
        let count = |why: Why| self.items.iter().filter(|item| item.why == why).count();
        let parts: Vec<String> = [
            (Why::New, "new"),
            (Why::Worse, "worse"),
            (Why::Reminder, "still open"),
            (Why::Standing, "open"),
            (Why::Resolved, "resolved"),
        ]
        .into_iter()
        .filter_map(|(why, word)| Some(count(why)).filter(|count| *count > 0).map(|count| format!("{count} {word}")))
        .collect();
        let test = if self.test { "TEST " } else { "" };
        format!("{test}healer {}: {}", self.instance, parts.join(", "))
    }

    /// The gravest severity of what is open; `None` where everything is gone.
    pub fn gravest(&self) -> Option<Severity> {
        self.items.iter().filter(|item| item.why != Why::Resolved).map(|item| item.alert.severity).max()
    }
}

impl Item {
    /// The word before the title of an alert: its severity, or that it is gone.
    pub fn label(&self) -> &'static str {
        match (self.why, self.alert.severity) {
            (Why::Resolved, _) => "RESOLVED",
            (_, Severity::Critical) => "CRITICAL",
            (_, Severity::Error) => "ERROR",
            (_, Severity::Warning) => "WARNING",
            (_, Severity::Info) => "INFO",
        }
    }

    /// Since when, and how often it was told, in words.
    pub fn since(&self, now: DateTime<Utc>) -> String {
        let alert = &self.alert;
        let opened = alert.opened_at.format("%Y-%m-%d %H:%M UTC");
        match (self.why, alert.resolved_at) {
            (Why::Resolved, Some(end)) => {
                let lasted = crate::heal::ago(end.signed_duration_since(alert.opened_at).num_seconds().max(0));
                format!("open from {opened}, for {lasted}")
            }
            (Why::New, _) => format!("since {opened}"),
            (Why::Worse, _) => format!("worse than before, open since {opened}"),
            _ => {
                let age = crate::heal::ago(now.signed_duration_since(alert.opened_at).num_seconds().max(0));
                format!("open since {opened}, for {age}")
            }
        }
    }
}

/// Cuts a text to a number of characters, and says that it was cut.
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Disarms what a chat would turn into a call to everybody or to one: the word stays readable.
pub fn disarmed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // Control characters have no place in a message; lines stay lines.
        if c.is_control() && c != '\n' {
            out.push(' ');
            continue;
        }
        out.push(c);
        if c == '@' {
            out.push('\u{200b}');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_to_everybody_is_readable_and_calls_nobody() {
        assert_eq!(disarmed("see @here\u{7}"), "see @\u{200b}here ");
        assert!(!disarmed("@everyone and @channel").contains("@everyone"));
    }

    proptest::proptest! {
        #[test]
        fn a_cut_text_is_never_longer_than_asked(text in "\\PC{0,300}", most in 1_usize..50) {
            proptest::prop_assert!(cut(&text, most).chars().count() <= most);
        }
    }
}
