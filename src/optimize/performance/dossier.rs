//! What `--dossier` writes: a page on each slow job that a developer can act on.
//!
//! Its durations over time, the errors it meets, the queries that are probably its own with their plans, and the
//! migration that would help. Reads only; healer edits no application code.
//! Limits: which queries are a job's own is known by its application_name, where it was seen at work or says so itself.

use serde_json::Value;

use super::{Finding, Scene, jobs, lasting, queries};
use crate::database::catalog::Relation;
use crate::database::session::Param;
use crate::database::statement;
use crate::error::Error;
use crate::heal::ago;
use crate::report::table::{clean, said};

/// Pages that are written at most.
const PAGES: usize = 20;

/// Characters of an error, as sql/optimize/job_errors.sql and job_failures.sql cut it.
const SAID: usize = 200;

/// Depth of a plan that is shown.
const DEPTH: usize = 12;

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The file's name.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// The pages on all slow jobs.
pub fn pages(scene: &mut Scene<'_>, findings: &[Finding]) -> Result<Vec<Page>, Error> {
    let history = scene.mapping.heartbeats_history && scene.mapping.heartbeats.as_ref().is_some_and(Relation::readable);
    let runs = match (history, scene.with_schema) {
        (true, _) => statement::OPTIMIZE_JOBS_HISTORY,
        (false, true) => statement::OPTIMIZE_JOBS_NOTED,
        (false, false) => return Ok(Vec::new()),
    };
    let all = jobs::read(scene, runs)?;
    let slow = jobs::judge(&all, &scene.settings.optimize.performance.jobs);
    let mut pages: Vec<Page> = Vec::new();
    for slow in slow.iter().take(PAGES) {
        let Some(job) = all.iter().find(|job| job.name == slow.name) else { continue };
        let mut text = format!("# {}\n\n{}\n\n", plain(&slow.name), plain(&slow.words()));
        text.push_str(&durations(job));
        text.push_str(&errors(scene, &job.name)?);
        let (part, tables) = queries_of(scene, &job.name)?;
        text.push_str(&part);
        text.push_str(&migration(findings, &tables));
        let mut file = file_name(&job.name);
        if pages.iter().any(|page| page.file == file) {
            file = file.replace(".md", &format!("-{}.md", pages.len()));
        }
        pages.push(Page { file, text });
    }
    scene.session.rollback();
    Ok(pages)
}

/// Text as it may stand in Markdown: on one line, and nothing in it is a mark.
fn plain(text: &str) -> String {
    clean(text)
        .chars()
        .flat_map(|c| if matches!(c, '*' | '_' | '`' | '<' | '|' | '#' | '[' | '\\') { vec!['\\', c] } else { vec![c] })
        .collect()
}

/// The name of a job's page: a job may be called anything.
fn file_name(job: &str) -> String {
    let name: String =
        job.chars().take(80).map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' }).collect();
    format!("{}.md", if name.is_empty() { "job" } else { &name })
}

fn time(ms: Option<f64>) -> String {
    ms.map_or_else(|| "not known".into(), lasting)
}

fn durations(job: &jobs::Job) -> String {
    let mut out = String::from(
        "## Durations\n\n| span | runs | failed | skipped | mean | median | p95 | p99 | longest |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, span) in [("24 h", &job.day), ("7 days", &job.week)] {
        let at = |place: usize| span.percentiles.as_ref().and_then(|list| list.get(place).copied().flatten());
        out.push_str(&format!(
            "| {name} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            span.runs,
            span.failed,
            span.skipped,
            time(span.mean),
            time(at(0)),
            time(at(1)),
            time(at(2)),
            time(span.max)
        ));
    }
    out.push_str(&format!("\nLongest row of failures in 7 days: {}.\n\n", job.streak));
    if !job.days.is_empty() {
        let most = job.days.iter().map(|(_, median, _)| *median).fold(0.0_f64, f64::max);
        out.push_str("Median of each day:\n\n```\n");
        for (day, median, runs) in &job.days {
            let bar: String = (1..=40_u8)
                .filter(|step| most > 0.0 && f64::from(*step) <= median / most * 40.0)
                .map(|_| '#')
                .collect();
            out.push_str(&format!("{day:>3.0} d ago  {:>10}  {:<40}  {runs} runs\n", lasting(*median), bar));
        }
        out.push_str("```\n\n");
    }
    out
}

fn errors(scene: &mut Scene<'_>, job: &str) -> Result<String, Error> {
    let mut lines = Vec::new();
    let names = &scene.mapping.names;
    if scene.mapping.events.as_ref().is_some_and(Relation::readable) {
        scene.session.read()?;
        for row in scene.session.rows(&statement::OPTIMIZE_JOB_ERRORS.fill(names), &[Param::Text(job)])? {
            lines.push(format!(
                "- {} × {}: {} (last {} ago)",
                row.int("number")?,
                plain(&row.text("kind")?),
                plain(&said(&row.optional_text("message")?.unwrap_or_default(), SAID)),
                ago(row.optional_int("last_s")?.unwrap_or(0))
            ));
        }
    }
    if scene.with_schema {
        scene.session.read()?;
        for row in scene.session.rows(&statement::OPTIMIZE_JOB_FAILURES.fill(names), &[Param::Text(job)])? {
            lines.push(format!(
                "- {} × {} (last {} ago)",
                row.int("number")?,
                plain(&said(&row.optional_text("message")?.unwrap_or_default(), SAID)),
                ago(row.optional_int("last_s")?.unwrap_or(0))
            ));
        }
    }
    if lines.is_empty() {
        lines.push("None was told of in 7 days.".into());
    }
    Ok(format!("## Errors it meets\n\n{}\n\n", lines.join("\n")))
}

/// The queries that are probably its own, with their plans; and the tables that these walk or read.
fn queries_of(scene: &mut Scene<'_>, job: &str) -> Result<(String, Vec<String>), Error> {
    let mut out = String::from("## Queries that are probably its own\n\n");
    let mut tables = Vec::new();
    let mut any = false;
    if scene.with_schema {
        scene.session.read()?;
        let rows =
            scene.session.rows(&statement::OPTIMIZE_JOB_QUERIES.fill(&scene.mapping.names), &[Param::Text(job)])?;
        for row in &rows {
            any = true;
            let (calls, total) = (row.int("calls")?, row.optional_float("total_ms")?.unwrap_or(0.0));
            let text = row.optional_text("query")?.unwrap_or_else(|| "(its text is not known)".into());
            let mean = if calls > 0 { lasting(total / calls as f64) } else { "an unknown time".into() };
            out.push_str(&format!(
                "{calls} calls in 7 days, {} altogether, {mean} each:\n\n```sql\n{}\n```\n\n",
                lasting(total),
                fenced(&text)
            ));
            match queries::plan_of(scene, row.int("query_id")?) {
                Ok(Some(plan)) => {
                    let mut lines = Vec::new();
                    tree(&plan[0]["Plan"], 0, &mut lines, &mut tables);
                    out.push_str(&format!(
                        "Its plan, for any values of its parameters:\n\n```\n{}\n```\n\n",
                        fenced(&lines.join("\n"))
                    ));
                }
                Ok(None) => {}
                Err(error) if error.stops_the_pass() => return Err(error),
                Err(error) => {
                    // The server's words may repeat a literal of the query.
                    let why = plain(&said(&error.to_string(), 500));
                    out.push_str(&format!("Its plan could not be asked for: {why}\n\n"));
                }
            }
        }
    }
    if !any {
        out.push_str(
            "None is known. Set `application_name` of the job's connection to its name (`…?application_name=NAME`), or let its \
             queries say it in a comment (`/*job='NAME'*/`), and have pg_stat_statements enabled.\n\n",
        );
    }
    Ok((out, tables))
}

/// Text that stays within a fence of three backticks.
fn fenced(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n").replace("```", "'''")
}

fn tree(node: &Value, depth: usize, lines: &mut Vec<String>, tables: &mut Vec<String>) {
    let Some(kind) = node["Node Type"].as_str() else { return };
    if depth > DEPTH {
        return;
    }
    let word = |key: &str, before: &str| node[key].as_str().map(|word| format!("{before}{word}")).unwrap_or_default();
    lines.push(format!(
        "{}{kind}{}{}  (rows {}, cost {})",
        "  ".repeat(depth),
        word("Relation Name", " on "),
        word("Index Name", " using "),
        node["Plan Rows"],
        node["Total Cost"]
    ));
    for key in ["Index Cond", "Filter"] {
        if let Some(condition) = node[key].as_str() {
            lines.push(format!("{}  {key}: {}", "  ".repeat(depth), queries::masked(condition)));
        }
    }
    if let Some(table) = node["Relation Name"].as_str()
        && !tables.iter().any(|known| known == table)
    {
        tables.push(table.to_owned());
    }
    for child in node["Plans"].as_array().map_or(&[] as &[Value], Vec::as_slice) {
        tree(child, depth + 1, lines, tables);
    }
}

/// What was found about the tables that its queries read.
fn migration(findings: &[Finding], tables: &[String]) -> String {
    let about = |finding: &&Finding| {
        let table = finding.evidence["table"].as_str().unwrap_or_default();
        let bare = table.rsplit('.').next().unwrap_or_default().trim_matches('"');
        finding.remedy.is_some() && tables.iter().any(|known| known == bare)
    };
    let mut out = String::from("## The migration that would help\n\n");
    let found: Vec<&Finding> = findings.iter().filter(about).collect();
    if found.is_empty() {
        out.push_str("Nothing was found about the tables of its queries that a statement would mend.\n");
        return out;
    }
    out.push_str("```sql\n");
    for finding in found {
        out.push_str(&format!(
            "-- {}\n{}\n",
            clean(&finding.title),
            fenced(finding.remedy.as_deref().unwrap_or_default())
        ));
    }
    out.push_str("```\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_may_be_called_anything() {
        assert_eq!(file_name("posting"), "posting.md");
        assert_eq!(file_name("../../etc/passwd\n"), "______etc_passwd_.md");
        assert_eq!(file_name(""), "job.md");
        assert_eq!(plain("a_b\n# `x`"), "a\\_b \\# \\`x\\`");
        assert_eq!(fenced("a\n```\nb"), "a\n'''\nb");
    }

    #[test]
    fn a_plan_is_told_line_by_line_with_its_literals_masked() {
        let plan = serde_json::json!({ "Node Type": "Limit", "Plan Rows": 1, "Total Cost": 2.5, "Plans": [
            { "Node Type": "Seq Scan", "Relation Name": "posts", "Plan Rows": 3, "Total Cost": 9.0, "Filter": "(status = 'x'::text)" }] });
        let (mut lines, mut tables) = (Vec::new(), Vec::new());
        tree(&plan, 0, &mut lines, &mut tables);
        assert_eq!(lines[1], "  Seq Scan on posts  (rows 3, cost 9.0)");
        assert!(lines[2].contains("(status = ?::text)"), "{lines:?}");
        assert_eq!(tables, ["posts"]);
    }
}
