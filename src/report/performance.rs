//! `report performance`: what the last `optimize performance` told, and how its checks were, as it stored them. Reads
//! nothing else.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::chart::{Chart, Kind, Series};
use super::checks::{self, CheckState};
use super::model::SCHEMA_VERSION;
use super::part::{Ask, Block, Metric, Part, stored};
use super::table;
use crate::database::statement::{self, Names};
use crate::error::Error;
use crate::heal::{Status, ago};
use crate::pass::PERFORMANCE;
use crate::start::Start;

/// Jobs and findings that are listed: a page of them.
const LISTED: usize = 15;

/// The part.
pub fn part(start: &mut Start, ask: &Ask) -> Result<Part, Error> {
    let found = stored(start, "performance", "healer optimize performance", |session| {
        session.read()?;
        let rows = session.rows(&statement::REPORT_PERFORMANCE.fill(&Names::default()), &[])?;
        let Some(row) = rows.first() else { return Ok(None) };
        let (body, run) = (row.json("body")?, row.int("run")?);
        let mut checks = checks::of_last_run(session, PERFORMANCE.lease)?;
        // Of its own run the body says which checks a query kept from being measured.
        if let Some(failed) = body["notMeasured"].as_array() {
            for check in checks.iter_mut().filter(|check| check.run_id == run) {
                check.incomplete = failed.iter().any(|name| name == check.name.as_str());
            }
        }
        Ok(Some((body, row.int("age_s")?, checks)))
    })?;
    Ok(match found {
        Err(part) => part,
        Ok((body, age, checks)) => show(&body, age, &checks, ask),
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Milliseconds as one reads them.
fn time(value: &Value) -> String {
    value.as_f64().map_or_else(
        || "–".into(),
        |ms| if ms < 1_000.0 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1_000.0) },
    )
}

/// Whether the table of what the database needs says it already.
fn told(findings: &[Value], line: &str) -> bool {
    let mut titles = findings.iter().take(LISTED).filter_map(|finding| finding["title"].as_str());
    titles.any(|title| !title.is_empty() && line.starts_with(title))
}

fn show(body: &Value, age: i64, checks: &[CheckState], ask: &Ask) -> Part {
    let (jobs, findings) = (list(&body["jobs"]), list(&body["findings"]));
    let grave = |level: &str| findings.iter().filter(|finding| finding["level"] == level).count();
    let (critical, warning) = (grave("critical"), grave("warning"));
    let rate = body["posting"]["day"]["successRate"].as_f64();
    let verdict = format!(
        "{} jobs measured, {}, {critical} critical and {warning} further findings in the database (measured {} ago)",
        jobs.len(),
        rate.map_or_else(
            || "no finished post in 24 h".to_owned(),
            |rate| format!("{:.1} % of finished posts succeeded in 24 h", rate * 100.0)
        ),
        ago(age)
    );
    let verdict = checks::headed(checks, verdict);
    // What was found in the database, and each check of the run: posting and the jobs are not among the findings.
    let in_database = match (critical, warning) {
        (0, 0) => Status::Ok,
        (0, _) => Status::Warning,
        _ => Status::Critical,
    };
    let mut statuses = vec![in_database];
    statuses.extend(checks.iter().map(CheckState::news));
    let job_rows: Vec<Vec<String>> = jobs
        .iter()
        .take(LISTED)
        .map(|job| {
            let day = &job["day"];
            vec![
                word(&job["name"]),
                day["runs"].to_string(),
                day["failed"].to_string(),
                time(&day["median"]),
                time(&day["p95"]),
                time(&job["week"]["median"]),
            ]
        })
        .collect();
    let finding_rows: Vec<Vec<String>> = findings
        .iter()
        .take(LISTED)
        .map(|finding| vec![word(&finding["level"]), word(&finding["title"]), word(&finding["remedy"])])
        .collect();
    let mut text = table::wrapped(&format!("healer report performance: {}", table::clean(&verdict)), ask.look);
    for (headings, rows) in [(&JOBS[..], &job_rows), (&FINDINGS[..2], &finding_rows)] {
        if rows.is_empty() {
            continue;
        }
        let mut table = table::plain(ask.look, headings);
        for row in rows {
            table.add_row(row.iter().take(headings.len()).map(|cell| table::clean(cell)));
        }
        let _ = write!(text, "\n{}", table::text(&table));
    }
    let amiss = checks::lines(checks);
    for line in &amiss {
        text.push_str(&table::wrapped(line, ask.look));
    }
    let advice: Vec<String> = list(&body["recommendations"]).iter().map(word).collect();
    for line in &advice {
        text.push_str(&table::wrapped(&format!("→ {}", table::clean(line)), ask.look));
    }
    let headings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let seconds = |key: &str| -> Vec<Option<f64>> {
        jobs.iter().take(LISTED).map(|job| job["day"][key].as_f64().map(|ms| ms / 1_000.0)).collect()
    };
    let mut blocks = vec![
        Block::Chart(Chart {
            title: "Durations by job, last 24 h".into(),
            unit: "s",
            labels: jobs.iter().take(LISTED).map(|job| word(&job["name"])).collect(),
            kind: Kind::Points,
            series: vec![Series::new("median", seconds("median")), Series::new("95 of 100 below", seconds("p95"))],
            limit: Some(("slow".into(), 300.0)),
        }),
        Block::Table("Jobs".into(), headings(&JOBS), job_rows),
        Block::Table("What the database needs".into(), headings(&FINDINGS), finding_rows),
    ];
    blocks.extend(amiss.into_iter().map(Block::Text));
    blocks.extend(advice.into_iter().filter(|line| !told(findings, line)).map(Block::Text));
    Part {
        name: "performance",
        statuses,
        well: in_database == Status::Ok && checks::well(checks),
        has_data: true,
        too_old: false,
        exit_code: 0,
        json: json!({
            "schemaVersion": SCHEMA_VERSION, "command": "report", "part": "performance", "status": "ok",
            "verdict": verdict, "ageSeconds": age, "checks": checks, "last": body,
        }),
        metrics: metrics(jobs, rate),
        text,
        verdict,
        blocks,
        notes: Vec::new(),
    }
}

fn metrics(jobs: &[Value], rate: Option<f64>) -> Vec<Metric> {
    let help = "Median duration of a job's runs in 24 h, in seconds";
    let mut metrics: Vec<Metric> = jobs
        .iter()
        .map(|job| {
            let median = job["day"]["median"].as_f64().map(|ms| ms / 1_000.0);
            Metric::new("job_duration_seconds", help, &[("job", &word(&job["name"]))], median)
        })
        .collect();
    metrics.push(Metric::new("posting_success_rate", "Share of finished posts of 24 h that succeeded", &[], rate));
    metrics
}

const JOBS: [&str; 6] = ["job", "runs", "failed", "median", "95 of 100", "median of 7 d"];
const FINDINGS: [&str; 3] = ["level", "finding", "remedy"];
