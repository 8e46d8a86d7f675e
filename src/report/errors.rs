//! `report errors`: what is going wrong, as the last `analyze-errors` stored it, and how its checks were. Reads nothing
//! else.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::chart::{Chart, Kind, Series};
use super::checks::{self, CheckState};
use super::model::SCHEMA_VERSION;
use super::part::{Ask, Block, Metric, Part, stored};
use super::spark;
use super::table;
use crate::error::Error;
use crate::errors::stored::{self as patterns, Day, PatternRow};
use crate::heal::{Status, ago};
use crate::pass::ERRORS;
use crate::start::Start;

/// Patterns that are listed: a page of them.
const LISTED: u32 = 20;

struct Found {
    patterns: Vec<PatternRow>,
    total: u64,
    days: Vec<Day>,
    summary: Value,
    analysed: DateTime<Utc>,
    checks: Vec<CheckState>,
}

/// The part.
pub fn part(start: &mut Start, ask: &Ask) -> Result<Part, Error> {
    let seconds = ask.since.as_seconds();
    let now = start.catalog.server.now;
    let found = stored(start, "errors", "healer analyze-errors", |session| {
        let Some((summary, analysed)) = patterns::summary(session)? else { return Ok(None) };
        let (rows, total) = patterns::patterns(session, seconds, LISTED)?;
        let days = patterns::days(session, seconds)?;
        let checks = checks::of_last_run(session, ERRORS.lease)?;
        Ok(Some(Found { patterns: rows, total, days, summary, analysed, checks }))
    })?;
    Ok(match found {
        Err(part) => part,
        Ok(found) => show(&found, ask, now),
    })
}

fn show(found: &Found, ask: &Ask, now: DateTime<Utc>) -> Part {
    let errors: u64 = found.days.iter().map(|day| day.errors).sum();
    let changed = found.patterns.iter().filter(|row| matches!(row.standing.as_str(), "new" | "regressed")).count();
    let health = found.summary["system_health"].as_f64();
    let age = now.signed_duration_since(found.analysed).num_seconds();
    let verdict = format!(
        "{errors} errors of {} patterns in {}, {changed} new or back again; health {} (analysed {} ago)",
        found.total,
        ask.since,
        health.map_or_else(|| "unknown".to_owned(), |health| format!("{health:.0} of 100")),
        ago(age)
    );
    let verdict = checks::headed(&found.checks, verdict);
    // As the pass itself judges: below 70 somebody should know, below 40 somebody must act.
    let status = match health {
        None => Status::Unknown,
        Some(health) if health < 40.0 => Status::Critical,
        Some(health) if health < 70.0 || changed > 0 => Status::Warning,
        Some(_) => Status::Ok,
    };
    let mut statuses = vec![status];
    statuses.extend(found.checks.iter().map(CheckState::news));
    let rows: Vec<Vec<String>> = found.patterns.iter().map(row).collect();
    let mut text = table::wrapped(&format!("healer report errors: {}", table::clean(&verdict)), ask.look);
    let counts: Vec<Option<f64>> = found.days.iter().map(|day| Some(day.errors as f64)).collect();
    if counts.len() > 1 {
        let _ = writeln!(text, "a day: {}", spark::line(&counts));
    }
    if !rows.is_empty() {
        let mut table = table::plain(ask.look, &HEADINGS);
        for row in &rows {
            table.add_row(row.iter().map(|cell| table::clean(cell)));
        }
        let _ = write!(text, "\n{}", table::text(&table));
    }
    let amiss = checks::lines(&found.checks);
    for line in &amiss {
        text.push_str(&table::wrapped(line, ask.look));
    }
    let advice = strings(&found.summary["recommendations"]);
    for line in &advice {
        text.push_str(&table::wrapped(&format!("→ {}", table::clean(line)), ask.look));
    }
    let mut blocks = vec![Block::Chart(Chart {
        title: "Errors a day".into(),
        unit: "errors",
        labels: found.days.iter().map(|day| day.day.format("%d.%m.").to_string()).collect(),
        kind: Kind::Bars,
        series: vec![Series::new("errors", counts)],
        limit: None,
    })];
    blocks.push(Block::Chart(by_pattern(&found.patterns)));
    blocks.push(Block::Table("Patterns".into(), HEADINGS.iter().map(|word| (*word).to_owned()).collect(), rows));
    blocks.extend(amiss.into_iter().chain(advice).map(Block::Text));
    Part {
        name: "errors",
        statuses,
        well: status == Status::Ok && checks::well(&found.checks),
        has_data: true,
        too_old: false,
        exit_code: 0,
        json: json!({
            "schemaVersion": SCHEMA_VERSION, "command": "report", "part": "errors", "status": "ok",
            "verdict": verdict, "ageSeconds": age, "errors": errors, "patternsTotal": found.total,
            "systemHealth": health,
            "days": found.days.iter().map(|day| json!({
                "day": day.day.format("%Y-%m-%d").to_string(), "errors": day.errors, "patterns": day.patterns,
            })).collect::<Vec<_>>(),
            "patterns": found.patterns.iter().map(document).collect::<Vec<_>>(),
            "summary": found.summary, "checks": found.checks,
        }),
        metrics: vec![
            Metric::new("errors_health", "Health of the system by its errors, 0 to 100", &[], health),
            Metric::new(
                "error_patterns_changed",
                "Patterns of errors that are new or back again",
                &[],
                Some(changed as f64),
            ),
        ],
        text,
        verdict,
        blocks,
        notes: Vec::new(),
    }
}

/// Patterns that have a bar: more could not be told apart.
const DRAWN: usize = 8;

/// How many errors each of the largest patterns has, how many of them came in bursts, and which patterns are new.
fn by_pattern(rows: &[PatternRow]) -> Chart {
    let mut rows: Vec<&PatternRow> = rows.iter().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.errors));
    rows.truncate(DRAWN);
    let in_bursts = |row: &PatternRow| {
        let bursts = row.view["bursts"].as_array().into_iter().flatten();
        bursts.filter_map(|burst| burst["count"].as_u64()).sum::<u64>().min(row.errors)
    };
    let new = |row: &PatternRow| matches!(row.standing.as_str(), "new" | "regressed");
    let some = |count: u64| (count > 0).then_some(count as f64);
    let outside = |row: &&PatternRow| row.errors - in_bursts(row);
    Chart {
        title: "Errors by pattern".into(),
        unit: "errors",
        labels: rows.iter().map(|row| row.error_key.rsplit(':').next().unwrap_or_default().to_owned()).collect(),
        kind: Kind::Bars,
        series: vec![
            Series::new("known", rows.iter().map(|row| some(if new(row) { 0 } else { outside(row) })).collect()),
            Series::new(
                "new or back again",
                rows.iter().map(|row| some(if new(row) { outside(row) } else { 0 })).collect(),
            )
            .toned("critical"),
            Series::new("in bursts", rows.iter().map(|row| some(in_bursts(row))).collect()).toned("warning"),
        ],
        limit: None,
    }
}

const HEADINGS: [&str; 5] = ["standing", "errors", "severity", "what", "why"];

fn row(row: &PatternRow) -> Vec<String> {
    let cause = row.view["cause"]["title"].as_str().unwrap_or_default();
    vec![
        row.standing.clone(),
        row.errors.to_string(),
        row.severity.clone(),
        format!("{}: {}", row.error_key, table::cut(&row.template, 100)),
        cause.to_owned(),
    ]
}

fn document(row: &PatternRow) -> Value {
    json!({
        "key": row.key, "errorKey": row.error_key, "severity": row.severity, "template": row.template,
        "example": row.example, "standing": row.standing, "firstSeen": row.first_seen, "lastSeen": row.last_seen,
        "errors": row.errors, "view": row.view,
    })
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
