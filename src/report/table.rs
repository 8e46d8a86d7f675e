//! Tables for people: what is wrong, what was done, what is left, what to do next, in that order.

use std::fmt::Write as _;

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};

use serde::Serialize;

use super::model::{ActionView, OBSERVED, PassReport};
use crate::errors::secrets;
use crate::heal::{Status, ago};

/// How wide a table may be, and whether it has colours.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Columns of the terminal.
    pub width: u16,
    /// Whether to colour.
    pub color: bool,
}

/// Actions of one kind that a table lists by name; `--format json` has more.
const ROWS: usize = 12;

/// A table without lines, as wide as `look` allows.
pub fn plain(look: Look, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(look.width);
    if look.color {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(header.iter().map(|name| {
        let cell = Cell::new(name.to_uppercase());
        if look.color { cell.add_attribute(Attribute::Bold) } else { cell }
    }));
    table
}

/// A status as a cell.
pub fn status_cell(status: Status, look: Look) -> Cell {
    let (word, color) = match status {
        Status::Ok => ("ok", Color::Green),
        Status::Warning => ("warning", Color::Yellow),
        Status::Critical => ("critical", Color::Red),
        Status::Unknown => ("unknown", Color::Magenta),
    };
    if look.color { Cell::new(word).fg(color) } else { Cell::new(word) }
}

/// Text from the database as it may stand in a terminal: no control characters.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Cuts a text to a number of characters.
pub fn cut(text: &str, most: usize) -> String {
    let text = clean(text);
    if text.chars().count() <= most {
        return text;
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// What an application said (an error, a reason), as it may leave healer: without secrets and personal data, on one line.
/// `read`: how many characters the database gave at most. A longer text was cut by it, and the word that was cut through
/// goes: half an address no longer shows what in it is the password.
pub fn said(text: &str, read: usize) -> String {
    let whole = if text.chars().count() < read {
        text
    } else {
        text.rsplit_once(char::is_whitespace).map_or("…", |(whole, _)| whole)
    };
    cut(&secrets::example(whole), read)
}

fn render(table: &Table) -> String {
    let mut out = String::new();
    for line in table.to_string().lines() {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A line of text, broken between words so that it fits; what follows is set in.
pub fn wrapped(line: &str, look: Look) -> String {
    let width = usize::from(look.width);
    let mut out = String::new();
    let mut length = 0;
    for word in line.split(' ') {
        let letters = word.chars().count();
        if length > 0 && length + 1 + letters > width {
            out.push_str("\n  ");
            length = 2;
        } else if !out.is_empty() {
            out.push(' ');
            length += 1;
        }
        out.push_str(word);
        length += letters;
    }
    out.push('\n');
    out
}

/// Renders a table without trailing blanks.
pub fn text(table: &Table) -> String {
    render(table)
}

/// The result of a pass as tables.
pub fn pass(report: &PassReport, look: Look) -> String {
    let mut out = head(report);
    if told_by_head(report) {
        return out;
    }
    out.push('\n');
    out.push_str(&checks(report, look));
    if report.body.actions.iter().any(|action| action.outcome != OBSERVED) {
        out.push('\n');
        out.push_str(&actions(report, look));
    }
    let next = next_steps(report);
    if !next.is_empty() {
        out.push('\n');
        for step in next {
            let _ = writeln!(out, "→ {step}");
        }
    }
    out.push_str(&notes(report));
    out
}

/// The first line of a pass, and its notes where nothing else is to be told.
pub fn head<B: Serialize>(report: &PassReport<B>) -> String {
    let mode = if report.dry_run { " (dry run: nothing was written)" } else { "" };
    let run = report.run_id.map(|run| format!(" run {run}")).unwrap_or_default();
    let line = format!("healer {}{run}{mode}: {}\n", report.command, clean(&report.verdict));
    if report.status != "skipped" && told_by_head(report) { line + &notes(report) } else { line }
}

/// Whether the first line says it all.
pub fn told_by_head<B: Serialize>(report: &PassReport<B>) -> bool {
    report.status == "skipped" || (report.all_well() && report.counts.planned == 0)
}

/// The checks as a table, and what stands beside them.
pub fn checks<B: Serialize>(report: &PassReport<B>, look: Look) -> String {
    let mut table = plain(look, &["check", "status", "what was found"]);
    for check in &report.checks {
        table.add_row(vec![Cell::new(check.name), status_cell(check.status, look), Cell::new(clean(&check.summary))]);
    }
    let mut out = render(&table);
    for check in &report.checks {
        for detail in &check.details {
            let _ = writeln!(out, "   {}: {}", check.name, clean(detail));
        }
    }
    out
}

/// What else should be known.
pub fn notes<B: Serialize>(report: &PassReport<B>) -> String {
    report.notes.iter().map(|note| format!("note: {}\n", clean(note))).collect()
}

/// The actions in groups: what is done, how often, and which posts, a line each.
fn actions(report: &PassReport, look: Look) -> String {
    let mut groups: Vec<(&'static str, &'static str, Vec<&ActionView>)> = Vec::new();
    for action in report.body.actions.iter().filter(|action| action.outcome != OBSERVED) {
        let key = (action.action, action.outcome);
        match groups.iter_mut().find(|(name, outcome, _)| (*name, *outcome) == key) {
            Some((_, _, members)) => members.push(action),
            None => groups.push((key.0, key.1, vec![action])),
        }
    }
    let mut out = String::new();
    for (name, outcome, members) in groups {
        let Some(first) = members.first() else { continue };
        let word = |word: &Option<String>| word.clone().unwrap_or_default();
        let change = if first.from == first.to {
            word(&first.from)
        } else {
            format!("{} → {}", word(&first.from), word(&first.to))
        };
        let least = if report.truncated { "at least " } else { "" };
        let _ = writeln!(out, "{least}{} × {name} ({change}): {outcome}", members.len());
        for action in members.iter().take(ROWS) {
            let line = format!("   {}  {}", clean(&action.target), why(action));
            let _ = writeln!(out, "{}", cut(&line, usize::from(look.width)));
        }
        if members.len() > ROWS {
            let _ = writeln!(out, "   … {} more (--format json lists them)", members.len() - ROWS);
        }
    }
    out
}

fn why(action: &ActionView) -> String {
    let age = action.age_seconds.map_or_else(|| "?".to_owned(), ago);
    format!("{age}: {}", action.error.as_ref().unwrap_or(&action.reason))
}

/// What a person should do now.
fn next_steps(report: &PassReport) -> Vec<String> {
    let mut steps = Vec::new();
    let counts = &report.counts;
    let changes = report.body.actions.iter().any(|action| {
        action.outcome != OBSERVED && !matches!(action.action, "hold_for_review" | "mark_for_id_recovery")
    });
    if report.dry_run && counts.planned > 0 {
        steps.push("carry it out: healer heal".to_owned());
    }
    if let Some(run) = report.run_id
        && counts.applied.unwrap_or(1) > 0
        && changes
    {
        steps.push(format!("take it back: healer undo {run} --dry-run"));
    }
    if counts.held > 0 {
        steps.push(
            "decide on held posts: healer report health, then healer resolve POST (--posted ID | --queue | --fail)"
                .into(),
        );
    }
    let braked = report.checks.iter().any(|check| check.details.iter().any(|detail| detail.starts_with("brake: ")));
    if braked {
        steps.push("if these may all be queued again: healer heal --max-actions N".into());
    }
    steps
}

/// One line for each check that is not well, for `--quiet`.
pub fn quiet<B: Serialize>(report: &PassReport<B>) -> String {
    let mut out = String::new();
    if report.all_well() || report.status == "skipped" {
        return out;
    }
    let mut any = false;
    for check in report.checks.iter().filter(|check| check.status != Status::Ok) {
        any = true;
        let _ = writeln!(out, "{} {} {}: {}", report.kind.tag, word(check.status), check.name, clean(&check.summary));
    }
    if !any || report.status == "failed" {
        let _ = writeln!(out, "{} {}", report.kind.tag, report.verdict);
    }
    out
}

/// A status as a word.
pub fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Warning => "warning",
        Status::Critical => "critical",
        Status::Unknown => "unknown",
    }
}

/// The line of a Nagios plugin for a pass, with its exit code.
pub fn nagios<B: Serialize>(report: &PassReport<B>, exit_code: u8) -> (String, u8) {
    let (mut line, code) = nagios_line(report.checks.iter().map(|check| check.status), &report.verdict, exit_code);
    line.push_str(" |");
    for check in &report.checks {
        match check.found {
            Some(found) => {
                let _ = write!(line, " '{}'={found};;;0", check.name);
            }
            None => {
                let _ = write!(line, " '{}'=U;;;0", check.name);
            }
        }
    }
    line.push('\n');
    (line, code)
}

/// The graver of two exit codes of a Nagios plugin: critical outweighs unknown, as the plugin guidelines have it.
pub fn graver(one: u8, other: u8) -> u8 {
    if one == 2 || other == 2 { 2 } else { one.max(other) }
}

/// The word of a Nagios plugin for its exit code.
pub fn plugin_word(code: u8) -> &'static str {
    ["OK", "WARNING", "CRITICAL", "UNKNOWN"][usize::from(code.min(3))]
}

/// The line of a Nagios plugin without measurements and line end, with its exit code.
pub fn nagios_line(statuses: impl Iterator<Item = Status>, verdict: &str, exit_code: u8) -> (String, u8) {
    let worst = statuses.fold(0, |worst, status| {
        let code = match status {
            Status::Ok => 0,
            Status::Warning => 1,
            Status::Critical => 2,
            Status::Unknown => 3,
        };
        graver(worst, code)
    });
    let code = match exit_code {
        0 | 4 => worst,
        3 => worst.max(1),
        75 => 3,
        _ => 2,
    };
    (format!("HEALER {} - {}", plugin_word(code), clean(verdict).replace('|', "/")), code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_application_said_leaves_without_its_secrets_wherever_it_was_cut() {
        let text = "connect to postgres://bot:hunter2@db.internal/x failed for jane@example.org\nsee the log";
        let shown = said(text, 200);
        assert!(shown.starts_with("connect to postgres://") && shown.ends_with("see the log"), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("jane") && !shown.contains('\n'), "{shown}");
        // The database gives the beginning alone: before the @ nothing shows what is a password.
        for read in 12..text.chars().count() {
            let given: String = text.chars().take(read).collect();
            let shown = said(&given, read);
            assert!(!shown.contains("hunter"), "{read}: {shown}");
        }
        assert_eq!(said(&"x".repeat(300), 300), "…");
        assert_eq!(said("timeout after 30 s", 160), "timeout after 30 s");
    }
}
