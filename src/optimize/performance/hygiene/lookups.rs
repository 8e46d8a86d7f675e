//! Missing indexes: look-ups that healer and the application make again and again, and that walk a large table.
//!
//! Each look-up is put to the planner (`EXPLAIN`, which runs nothing). A sequential scan of a large table of which few
//! rows are wanted is a missing index. Where HypoPG is installed the planner is asked again with the index pretended,
//! and only an index that halves the cost is proposed; elsewhere the estimate of the rows wanted decides.

use serde_json::{Value, json};

use super::super::{Finding, Gaps, Level, Scene, settings};
use crate::database::session::Param;
use crate::database::statement::{self, Names};
use crate::error::Error;
use crate::posts::mapping::is_time;

/// Share of a table's rows up to which an index finds them faster than walking it.
const FEW: f64 = 0.05;

/// What part of the cost an index must leave over at most, by HypoPG.
const GAIN: f64 = 0.5;

/// One look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// Its name, for the key of the finding.
    pub name: String,
    /// The relation that is asked, quoted.
    pub relation: String,
    /// The table that would have the index, quoted.
    pub base: String,
    /// The table's name, as the plan has it.
    pub table: String,
    /// The condition, on the row `r`; made of names and literals that the server quoted.
    pub predicate: String,
    /// The columns of the index, quoted.
    pub columns: String,
    /// The condition of the index; empty for none.
    pub condition: String,
    /// Who asks.
    pub who: &'static str,
}

impl Lookup {
    /// The statement that would create the index.
    pub fn create(&self, concurrently: bool) -> String {
        let word = if concurrently { " CONCURRENTLY" } else { "" };
        let condition = if self.condition.is_empty() { String::new() } else { format!(" WHERE {}", self.condition) };
        format!("CREATE INDEX{word} ON {} ({}){condition}", self.base, self.columns)
    }
}

/// A walk through a whole table, as a plan tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Walk {
    /// The table's name.
    pub table: String,
    /// Its schema, where the plan names it.
    pub schema: Option<String>,
    /// Rows that the planner expects to be wanted.
    pub wanted: f64,
    /// The condition, as the plan writes it.
    pub filter: Option<String>,
    /// The cost of the walk.
    pub cost: f64,
}

/// The walks in a plan.
pub fn walks(plan: &Value) -> Vec<Walk> {
    let mut found = Vec::new();
    let mut open = vec![&plan[0]["Plan"]];
    while let Some(node) = open.pop() {
        if let Some(children) = node["Plans"].as_array() {
            open.extend(children);
        }
        if node["Node Type"] == "Seq Scan"
            && let Some(table) = node["Relation Name"].as_str()
        {
            found.push(Walk {
                table: table.to_owned(),
                schema: node["Schema"].as_str().map(str::to_owned),
                // With parallel workers each is told its own share; the leader's own makes up for the rest.
                wanted: node["Plan Rows"].as_f64().unwrap_or(f64::MAX),
                filter: node["Filter"].as_str().map(str::to_owned),
                cost: node["Total Cost"].as_f64().unwrap_or(0.0),
            });
        }
    }
    found
}

/// The cost of a whole plan.
pub fn cost(plan: &Value) -> Option<f64> {
    plan[0]["Plan"]["Total Cost"].as_f64()
}

/// Whether a walk wants so few rows of a table that an index would find them faster.
pub fn few(wanted: f64, rows: i64) -> bool {
    rows > 0 && wanted <= (rows as f64 * FEW).max(1.0)
}

/// The look-ups of healer and of the application, on the tables that were found.
fn hot(scene: &Scene<'_>) -> Vec<Lookup> {
    let (settings, mapping) = (scene.settings, scene.mapping);
    let posts = &mapping.posts;
    let get = |name: &str| mapping.names.get(name).unwrap_or_default().to_owned();
    let status = get("status");
    let mut all = Vec::new();
    let name_of = |quoted: &str| quoted.rsplit_once('.').map_or(quoted, |(_, name)| name).trim_matches('"').to_owned();
    // An index needs the names of the table below a view: where they differ, nothing is proposed.
    let below = |name: &str| {
        posts.kind != "v"
            || posts.hidden_columns.is_empty()
            || posts.hidden_columns.iter().any(|column| column.name == name)
    };
    let mut post = |name: &str, predicate: String, columns: String, condition: String, who| {
        all.push(Lookup {
            name: name.to_owned(),
            relation: posts.quoted.clone(),
            base: posts.base.clone(),
            table: name_of(&posts.base),
            predicate,
            columns,
            condition,
            who,
        });
    };
    let words = &settings.posts;
    if below(&words.status) {
        let time = |name: &str| {
            posts.column(name).filter(|c| c.may_select && is_time(c) && below(name)).map(|c| c.quoted.clone())
        };
        // Posts that are being posted: heal looks for them every 15 minutes, and few are.
        post("posting", format!("r.{status} = {}", get("posting")), status.clone(), String::new(), "healer heal");
        if let Some(scheduled) = time(&words.scheduled_at) {
            post(
                "due",
                format!("r.{status} = {} AND r.{scheduled} <= {}", get("queued"), get("posted_at_now")),
                format!("{status}, {scheduled}"),
                String::new(),
                "the posting queue",
            );
        }
        if let Some(posted) = time(&words.posted_at) {
            post(
                "posted-lately",
                format!("r.{status} = {} AND r.{posted} > {} - interval '1 day'", get("posted"), get("posted_at_now")),
                posted,
                format!("{status} = {}", get("posted")),
                "healer, and every count of the last day",
            );
        }
    }
    if let Some(events) = mapping.events.as_ref().filter(|events| events.readable() && events.kind != "v") {
        let (at, now) = (get("events_at_column"), get("events_at_now"));
        for (name, predicate, columns) in [
            (
                "event-type",
                format!("r.event_type = 'POST_SUCCESS' AND r.{at} > {now} - interval '1 day'"),
                format!("event_type, {at} DESC"),
            ),
            ("event-time", format!("r.{at} > {now} - interval '1 hour'"), format!("{at} DESC")),
        ] {
            all.push(Lookup {
                name: name.to_owned(),
                relation: events.quoted.clone(),
                base: events.base.clone(),
                table: name_of(&events.base),
                predicate,
                columns,
                condition: String::new(),
                who: "healer, and the dashboards",
            });
        }
    }
    let ledgers = &settings.ledgers;
    for (name, table) in [
        ("receipt", &ledgers.post_receipts),
        ("attempt", &ledgers.post_attempts),
        ("posting-attempt", &ledgers.posting_attempts),
    ] {
        let Some(relation) = scene.catalog.relation(table).filter(|r| r.readable() && r.kind != "v") else { continue };
        let Some(key) = relation.column("decision_id").filter(|column| column.may_select) else { continue };
        let sample = match key.base_type.as_str() {
            "uuid" => "'00000000-0000-4000-8000-000000000000'",
            "bigint" | "integer" => "0",
            _ => "'-'",
        };
        all.push(Lookup {
            name: name.to_owned(),
            relation: relation.quoted.clone(),
            base: relation.base.clone(),
            table: name_of(&relation.base),
            predicate: format!("r.{} = {sample}", key.quoted),
            columns: key.quoted.clone(),
            condition: String::new(),
            who: "healer, before every requeue",
        });
    }
    all
}

/// What the planner says of a look-up.
fn explain(scene: &mut Scene<'_>, lookup: &Lookup) -> Result<Value, Error> {
    let mut names = Names::default();
    names.set("explained", lookup.relation.clone());
    names.set("predicate", lookup.predicate.clone());
    scene.session.read()?;
    scene.session.row(&statement::OPTIMIZE_EXPLAIN.fill(&names), &[])?.json("QUERY PLAN")
}

/// Asks the planner again with an index pretended; gives the cost of the plan then.
pub fn pretend(
    scene: &mut Scene<'_>,
    hypopg: &str,
    create: &str,
    explain: &statement::Statement,
) -> Result<Option<f64>, Error> {
    let mut names = Names::default();
    names.set("hypopg", hypopg);
    scene.session.read()?;
    scene.session.rows(&statement::OPTIMIZE_HYPOTHETICAL.fill(&names), &[Param::Text(create)])?;
    let plan = scene.session.row(explain, &[]).and_then(|row| row.json("QUERY PLAN"));
    // Also after an error: what is pretended must not stay in a session that a pooler hands on.
    let forgotten = if plan.is_ok() {
        scene.session.rows(&statement::OPTIMIZE_HYPOTHETICAL_END.fill(&names), &[]).map(|_| ())
    } else {
        scene
            .session
            .read()
            .and_then(|()| scene.session.rows(&statement::OPTIMIZE_HYPOTHETICAL_END.fill(&names), &[]).map(|_| ()))
    };
    let plan = plan?;
    forgotten?;
    Ok(cost(&plan))
}

/// Whether the gain that HypoPG shows is enough; without it the estimate has decided already.
pub fn gains(before: Option<f64>, after: Option<f64>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => after <= before * GAIN,
        _ => true,
    }
}

/// The missing indexes. `rows_of` gives the planner's rows of a table, by its quoted name; a look-up that could not be
/// put to the planner is a gap.
pub fn missing(
    scene: &mut Scene<'_>,
    hypopg: Option<&str>,
    limits: &settings::Hygiene,
    rows_of: &dyn Fn(&str) -> Option<i64>,
    (notes, gaps): (&mut Vec<String>, &mut Gaps),
) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    for lookup in hot(scene) {
        let Some(rows) = rows_of(&lookup.base).filter(|rows| *rows >= i64::from(limits.table_rows)) else { continue };
        let plan = match explain(scene, &lookup) {
            Ok(plan) => plan,
            Err(error) if error.stops_the_pass() => return Err(error),
            Err(error) => {
                scene.session.check_stop()?;
                let what = format!("the look-up {} of {} could not be explained", lookup.name, lookup.relation);
                gaps.note(&what, &error);
                continue;
            }
        };
        let walk = walks(&plan).into_iter().find(|walk| walk.table == lookup.table && few(walk.wanted, rows));
        let Some(walk) = walk else { continue };
        let before = cost(&plan);
        let mut names = Names::default();
        names.set("explained", lookup.relation.clone());
        names.set("predicate", lookup.predicate.clone());
        let after = match hypopg {
            None => None,
            Some(schema) => {
                match pretend(scene, schema, &lookup.create(false), &statement::OPTIMIZE_EXPLAIN.fill(&names)) {
                    Ok(after) => after,
                    Err(error) if error.stops_the_pass() => return Err(error),
                    // The planner's estimate has decided already, so nothing is hidden by this.
                    Err(error) => {
                        notes.push(format!("HypoPG could not be asked: {error}"));
                        None
                    }
                }
            }
        };
        if !gains(before, after) {
            continue;
        }
        findings.push(finding(&lookup, &walk, rows, before, after));
    }
    Ok(findings)
}

fn finding(lookup: &Lookup, walk: &Walk, rows: i64, before: Option<f64>, after: Option<f64>) -> Finding {
    let verified = if after.is_some() { "HypoPG" } else { "EXPLAIN" };
    Finding {
        key: format!("missing-index:{}({})", lookup.base, lookup.columns),
        kind: "missing-index",
        level: Level::Warning,
        title: format!("no index serves the look-up {} on {}", lookup.name, lookup.base),
        detail: format!("{} walks all of its {rows} rows for about {:.0} of them, every time", lookup.who, walk.wanted),
        evidence: json!({ "table": lookup.base, "predicate": lookup.predicate, "rows": rows, "wantedRows": walk.wanted,
                          "cost": before, "costWithIndex": after, "verifiedBy": verified }),
        remedy: Some(format!("{};", lookup.create(true))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_are_found_wherever_they_stand_in_a_plan() {
        let scan = |table: &str, rows: f64| json!({ "Node Type": "Seq Scan", "Relation Name": table, "Plan Rows": rows, "Total Cost": 9.0, "Filter": "(a = 1)" });
        let plan = json!([{ "Plan": { "Node Type": "Hash Join", "Total Cost": 20.5, "Plans": [
            scan("posts", 3.0), { "Node Type": "Gather", "Plans": [scan("events", 7.0)] } ] } }]);
        let mut found: Vec<(String, f64)> = walks(&plan).into_iter().map(|walk| (walk.table, walk.wanted)).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(found, [("events".to_owned(), 7.0), ("posts".to_owned(), 3.0)]);
        assert_eq!(cost(&plan), Some(20.5));
        assert_eq!((walks(&json!(null)), cost(&json!([]))), (vec![], None));
    }

    #[test]
    fn few_rows_are_one_in_twenty_and_an_index_must_halve_the_cost() {
        assert!(few(500.0, 10_000) && !few(501.0, 10_000) && !few(0.0, 0));
        assert!(gains(Some(100.0), Some(50.0)) && !gains(Some(100.0), Some(50.1)) && gains(Some(100.0), None));
    }
}
