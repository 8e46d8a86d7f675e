//! The analysis as tables: what changed, what is frequent, what went away, and what to do.

use std::fmt::Write as _;

use super::analysis::Analysis;
use super::causes::Retry;
use super::pattern::Pattern;
use super::timeline::Beside;
use super::trend::Standing;
use crate::heal::ago;
use crate::report::model::PassReport;
use crate::report::table::{self, Look};

/// Patterns that a table lists; `--format json` has more.
const ROWS: usize = 15;
/// Patterns that are explained one by one.
const EXPLAINED: usize = 8;

/// The tables.
pub fn tables(report: &PassReport<Analysis>, look: Look) -> String {
    let mut out = table::head(report);
    let analysis = &report.body;
    if report.status == "skipped" || (table::told_by_head(report) && analysis.patterns.is_empty()) {
        return out;
    }
    let told = table::told_by_head(report);
    if !told {
        out.push('\n');
        out.push_str(&table::checks(report, look));
    }
    out.push_str(&in_window(analysis, look));
    out.push_str(&gone(analysis, look));
    if !analysis.recommendations.is_empty() {
        out.push('\n');
        for line in &analysis.recommendations {
            let _ = writeln!(out, "→ {}", table::clean(line));
        }
    }
    if !told {
        out.push_str(&table::notes(report));
    }
    out
}

fn in_window(analysis: &Analysis, look: Look) -> String {
    let mut patterns: Vec<&Pattern> = analysis.patterns.iter().filter(|pattern| pattern.count > 0).collect();
    if patterns.is_empty() {
        return String::new();
    }
    // What changed comes first: what is only frequent was so yesterday.
    patterns.sort_by_key(|pattern| !(pattern.changed() && pattern.is_grave()));
    let mut rows = table::plain(look, &["errors", "", "against before", "severity", "what", "who"]);
    for pattern in patterns.iter().take(ROWS) {
        rows.add_row(vec![
            pattern.count.to_string(),
            pattern.word().to_owned(),
            against(pattern),
            format!("{:?}", pattern.severity).to_lowercase(),
            table::cut(&pattern.template, 60),
            table::cut(&pattern.error_key, 40),
        ]);
    }
    let mut out = format!("\n{}", table::text(&rows));
    if patterns.len() > ROWS {
        let _ = writeln!(out, "   … {} more (--format json lists them)", patterns.len() - ROWS);
    }
    let explained: Vec<&&Pattern> =
        patterns.iter().filter(|pattern| pattern.changed() || pattern.opened_breaker()).take(EXPLAINED).collect();
    for pattern in explained {
        out.push('\n');
        explain(pattern, &mut out, look);
    }
    out
}

fn against(pattern: &Pattern) -> String {
    match (pattern.trend.ratio, pattern.trend.low, pattern.trend.high) {
        (Some(ratio), Some(low), Some(high)) if pattern.trend.count_before > 0 => {
            format!("{} (× {}, {} to {})", pattern.trend.count_before, short(ratio), short(low), short(high))
        }
        _ => pattern.trend.count_before.to_string(),
    }
}

fn short(number: f64) -> String {
    if number >= 10.0 { format!("{number:.0}") } else { format!("{number:.1}") }
}

fn explain(pattern: &Pattern, out: &mut String, look: Look) {
    let line = |text: String, out: &mut String| {
        let _ = writeln!(out, "{}", table::cut(&text, usize::from(look.width)));
    };
    line(format!("{} × {} [{}]", pattern.count, table::clean(&pattern.template), pattern.word()), out);
    line(format!("   first {}, last {}", minute(&pattern.first_seen), minute(&pattern.last_seen)), out);
    for burst in pattern.bursts.iter().take(3) {
        line(format!("   burst: {} errors from {} to {}", burst.count, minute(&burst.from), minute(&burst.to)), out);
    }
    for beside in &pattern.before {
        line(format!("   {} before it: {}", ago(beside.seconds), table::clean(&beside.title)), out);
    }
    line_of(&pattern.followed, "   ", " after it began: ", out, look);
    if let Some(cause) = &pattern.cause {
        let retry = match cause.retry {
            Retry::Yes => "a retry is safe",
            Retry::No => "a retry would fail again",
            Retry::PerhapsPosted => "perhaps posted: never repeat it blindly",
        };
        line(format!("   probably: {} ({retry})", cause.title), out);
    }
    let recovery = &pattern.recovery;
    if let Some(rate) = recovery.rate {
        let median = recovery.median_ms.map(|ms| format!(", median {}", ago(ms / 1_000))).unwrap_or_default();
        line(format!("   recovered: {:.0} %, {} open{median}", rate * 100.0, recovery.open), out);
    }
    let mut met: Vec<String> =
        pattern.jobs.iter().take(3).map(|job| format!("job {} ({})", job.name, job.count)).collect();
    if pattern.posts.count > 0 {
        let about = if pattern.posts.estimated { "about " } else { "" };
        met.push(format!("{about}{} posts", pattern.posts.count));
    }
    if !met.is_empty() {
        line(format!("   met: {}", met.join(", ")), out);
    }
    line(format!("   example: {}", table::clean(&pattern.example)), out);
}

fn line_of(all: &[Beside], before: &str, words: &str, out: &mut String, look: Look) {
    for beside in all {
        let text = format!("{before}{}{words}{}", ago(beside.seconds), table::clean(&beside.title));
        let _ = writeln!(out, "{}", table::cut(&text, usize::from(look.width)));
    }
}

/// Patterns that went away, each with what it was and what may have ended it.
fn gone(analysis: &Analysis, look: Look) -> String {
    let patterns: Vec<&Pattern> =
        analysis.patterns.iter().filter(|pattern| pattern.count == 0 && pattern.standing == Standing::Gone).collect();
    let mut out = String::new();
    for (number, pattern) in patterns.iter().take(EXPLAINED).enumerate() {
        if number == 0 {
            out.push_str("\nno more:\n");
        }
        let text = format!(
            "   {} × {} (last {}) {}",
            pattern.total,
            table::clean(&pattern.template),
            minute(&pattern.last_seen),
            pattern.error_key
        );
        let _ = writeln!(out, "{}", table::cut(&text, usize::from(look.width)));
        for burst in pattern.bursts.iter().take(2) {
            let _ = writeln!(
                out,
                "      burst: {} errors from {} to {}",
                burst.count,
                minute(&burst.from),
                minute(&burst.to)
            );
        }
        line_of(&pattern.followed, "      ", " after the burst began: ", &mut out, look);
        line_of(&pattern.ended, "      ", " after the last one: ", &mut out, look);
    }
    if patterns.len() > EXPLAINED {
        let _ = writeln!(out, "   … {} more (--format json lists them)", patterns.len() - EXPLAINED);
    }
    out
}

/// A time to the minute: `2026-11-25 04:17 UTC`.
fn minute(stamp: &str) -> String {
    match (stamp.get(..10), stamp.get(11..16)) {
        (Some(day), Some(minute)) => format!("{day} {minute} UTC"),
        _ => stamp.to_owned(),
    }
}
