//! `report content`: the weights in force, how they moved, what they stand on, and how the checks of the pass were (among
//! them whether an earlier change did harm), as `optimize content` stored it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::chart::{Chart, Kind, Series};
use super::checks::{self, CheckState};
use super::model::SCHEMA_VERSION;
use super::part::{Ask, Block, Metric, Part, stored};
use super::spark;
use super::table;
use crate::database::session::Param;
use crate::database::statement::{self, Names};
use crate::error::Error;
use crate::heal::ago;
use crate::pass::CONTENT;
use crate::start::Start;

/// Weights at one time: name → weight, for each subject.
struct Noted {
    age: i64,
    subjects: [(&'static str, BTreeMap<String, f64>); 3],
}

/// The part.
pub fn part(start: &mut Start, ask: &Ask) -> Result<Part, Error> {
    let seconds = ask.since.as_seconds();
    let found = stored(start, "content", "healer optimize content", |session| {
        session.read()?;
        let rows = session.rows(&statement::REPORT_CONTENT.fill(&Names::default()), &[Param::Int(seconds)])?;
        let mut findings = Value::Null;
        let mut noted = Vec::with_capacity(rows.len());
        for row in &rows {
            let weights = |column: &str| -> Result<BTreeMap<String, f64>, Error> {
                let Some(text) = row.optional_text(column)? else { return Ok(BTreeMap::new()) };
                let value: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
                Ok(value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .filter_map(|(k, v)| Some((k.clone(), v.as_f64()?)))
                    .collect())
            };
            if let Some(text) = row.optional_text("findings")? {
                findings = serde_json::from_str(&text).unwrap_or(Value::Null);
            }
            noted.push(Noted {
                age: row.int("age_s")?,
                subjects: [
                    ("generators", weights("generators")?),
                    ("formats", weights("formats")?),
                    ("hours", weights("hours")?),
                ],
            });
        }
        if noted.is_empty() {
            return Ok(None);
        }
        Ok(Some((noted, findings, checks::of_last_run(session, CONTENT.lease)?)))
    })?;
    Ok(match found {
        Err(part) => part,
        Ok((noted, findings, checks)) => show(&noted, &findings, &checks, ask),
    })
}

/// What one earns over the average, 9 of 10 times, and the posts that say so.
fn interval(findings: &Value, subject: &str, name: &str) -> (Option<(f64, f64)>, Option<u64>) {
    let of = &findings[subject][name];
    (of["low"].as_f64().zip(of["high"].as_f64()), of["posts"].as_u64())
}

/// Names and their weights, in the order in which they are shown.
type Weights<'a> = [(&'a String, f64)];

/// How the weights moved; of hours, which are too many for lines, how they are.
fn moved(subject: &str, weights: &Weights<'_>, noted: &[Noted], past: &dyn Fn(&str) -> Vec<Option<f64>>) -> Chart {
    let names = || weights.iter().map(|(name, _)| (*name).clone());
    let percent = |values: Vec<Option<f64>>| values.into_iter().map(|v| v.map(|v| v * 100.0)).collect();
    if subject == "hours" {
        return Chart {
            title: "Weight of each hour".into(),
            unit: "%",
            labels: names().collect(),
            kind: Kind::Bars,
            series: vec![Series::new("weight", percent(weights.iter().map(|(_, weight)| Some(*weight)).collect()))],
            limit: None,
        };
    }
    Chart {
        title: format!("Weights of {subject} over time"),
        unit: "%",
        labels: noted.iter().map(|then| format!("{} ago", ago(then.age))).collect(),
        kind: Kind::Lines,
        series: names().map(|name| Series::new(name.clone(), percent(past(&name)))).collect(),
        limit: None,
    }
}

/// What the weights stand on, where it was measured: each interval, and its middle.
fn earned(subject: &str, weights: &Weights<'_>, findings: &Value) -> Chart {
    let bands: Vec<Option<(f64, f64)>> = weights
        .iter()
        .map(|(name, _)| interval(findings, subject, name).0.map(|(low, high)| (low * 100.0, high * 100.0)))
        .collect();
    let mut series = Series::new(
        "earns against the average, 9 of 10 times",
        bands.iter().map(|band| band.map(|(low, high)| f64::midpoint(low, high))).collect(),
    );
    series.bands = bands;
    Chart {
        title: format!("What {subject} earn against the average"),
        unit: "%",
        labels: weights.iter().map(|(name, _)| (*name).clone()).collect(),
        kind: Kind::Points,
        series: vec![series],
        limit: None,
    }
}

fn show(noted: &[Noted], findings: &Value, checks: &[CheckState], ask: &Ask) -> Part {
    let Some(newest) = noted.last() else { return Part::empty("content", "nothing is known yet".into()) };
    let best = newest.subjects.iter().take(2).filter_map(|(_, weights)| {
        let (name, weight) = weights.iter().max_by(|a, b| a.1.total_cmp(b.1))?;
        Some(format!("{name} leads with {:.1} %", weight * 100.0))
    });
    let told: Vec<String> = best.collect();
    let verdict = format!(
        "{} (weights since {}, {} changes of them in {})",
        if told.is_empty() { "no weights are known".to_owned() } else { told.join(", ") },
        ago(newest.age),
        noted.len().saturating_sub(1),
        ask.since
    );
    let verdict = checks::headed(checks, verdict);
    let mut text = table::wrapped(&format!("healer report content: {}", table::clean(&verdict)), ask.look);
    let amiss = checks::lines(checks);
    for line in &amiss {
        text.push_str(&table::wrapped(line, ask.look));
    }
    let mut blocks: Vec<Block> = amiss.into_iter().map(Block::Text).collect();
    let mut metrics = Vec::new();
    for (index, (subject, weights)) in newest.subjects.iter().enumerate() {
        if weights.is_empty() {
            continue;
        }
        let past = |name: &str| -> Vec<Option<f64>> {
            noted.iter().map(|then| then.subjects[index].1.get(name).copied()).collect()
        };
        // Hours are numbers: 2 comes before 10.
        let mut weights: Vec<(&String, f64)> = weights.iter().map(|(name, weight)| (name, *weight)).collect();
        weights.sort_by_key(|(name, _)| name.parse::<u32>().unwrap_or(u32::MAX));
        let rows: Vec<Vec<String>> = weights
            .iter()
            .map(|(name, weight)| {
                let (effect, posts) = interval(findings, subject, name);
                vec![
                    (*name).clone(),
                    format!("{:.1} %", weight * 100.0),
                    spark::line(&past(name)),
                    effect.map_or_else(String::new, |(low, high)| {
                        format!("{:+.0} % to {:+.0} %", low * 100.0, high * 100.0)
                    }),
                    posts.map_or_else(String::new, |posts| posts.to_string()),
                ]
            })
            .collect();
        let headings = [*subject, "weight", "oldest … now", "earns, 9 of 10 times", "posts"];
        let mut table = table::plain(ask.look, &headings);
        for row in &rows {
            table.add_row(row.iter().map(|cell| table::clean(cell)));
        }
        let _ = write!(text, "\n{}", table::text(&table));
        blocks.push(Block::Chart(moved(subject, &weights, noted, &past)));
        let earned = earned(subject, &weights, findings);
        if !earned.is_empty() {
            blocks.push(Block::Chart(earned));
        }
        blocks.push(Block::Table(
            format!("Weights of {subject}"),
            headings.iter().map(|word| (*word).to_owned()).collect(),
            rows,
        ));
        metrics.extend(weights.iter().map(|(name, weight)| {
            let labels = [("subject", *subject), ("name", name.as_str())];
            Metric::new("content_weight", "Weight with which posts are chosen", &labels, Some(*weight))
        }));
    }
    let document = |then: &Noted| {
        let [generators, formats, hours] = &then.subjects;
        json!({ "ageSeconds": then.age, "generators": generators.1, "formats": formats.1, "hours": hours.1 })
    };
    Part {
        name: "content",
        statuses: checks.iter().map(CheckState::news).collect(),
        well: checks::well(checks),
        has_data: true,
        too_old: false,
        exit_code: 0,
        json: json!({
            "schemaVersion": SCHEMA_VERSION, "command": "report", "part": "content", "status": "ok", "verdict": verdict,
            "weights": noted.iter().map(document).collect::<Vec<_>>(), "findings": findings, "checks": checks,
        }),
        metrics,
        text,
        verdict,
        blocks,
        notes: Vec::new(),
    }
}
