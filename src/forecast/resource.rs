//! How full the resources are, now and in the weeks before: connections, transaction ids, sequences, the browser queue,
//! posts that wait, the event table.
//!
//! Each pass notes a sample of what it can read in `healer.resource_sample`; what cannot be read has none, never 0.

use serde_json::Value;

use super::capacity::{MAX_SAMPLES, Sample};
use crate::database::catalog::{Catalog, Relation};
use crate::database::session::{Param, Session};
use crate::database::statement::{self, Names, Statement};
use crate::error::Error;
use crate::posts::mapping::{self, Mapping};
use crate::settings::Settings;

/// One resource with its samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Its name.
    pub name: String,
    /// Its limit; `None` where it has none.
    pub limit: Option<f64>,
    /// Its samples, in any order.
    pub samples: Vec<Sample>,
    /// Whether it could be measured now.
    pub measured: bool,
}

/// The names of the statements about resources, with the branches that can be read.
pub fn names(settings: &Settings, mapping: &Mapping, catalog: &Catalog) -> Names {
    let mut names = mapping.names.clone();
    let browser = &settings.heal.browser_queue;
    names.set("backlog_limit", settings.forecast.backlog_limit.to_string());
    names.set("events_limit", settings.forecast.events_limit_mb.to_string());
    names.set("browser_limit", browser.waiting_critical.to_string());
    names.set("signal_age", mapping::interval(browser.signal_max_age));
    let mut branches = vec![statement::RESOURCE_SERVER.fill(&names)];
    if mapping.names.get("waiting_words").is_some_and(|words| !words.is_empty()) {
        branches.push(statement::RESOURCE_POSTS.fill(&names));
    }
    if catalog.schema_readable() {
        branches.push(statement::RESOURCE_BROWSER.fill(&names));
    }
    if let Some(events) = mapping.events.as_ref().filter(|events| events.readable() && sized(events)) {
        // The server quoted it for use as a name; as a literal its quotes are doubled.
        names.set("events_literal", format!("'{}'", events.quoted.replace('\'', "''")));
        branches.push(statement::RESOURCE_EVENTS.fill(&names));
    }
    let texts: Vec<&str> = branches.iter().map(|branch| branch.sql().trim_end()).collect();
    names.set("resources", texts.join("\nUNION ALL\n"));
    names
}

/// Whether a relation has a size of its own.
fn sized(relation: &Relation) -> bool {
    matches!(relation.kind.as_str(), "r" | "p" | "m")
}

/// The statement that notes a sample of each resource.
pub fn note(names: &Names) -> Statement {
    statement::RESOURCE_NOTE.fill(names)
}

/// Reads the samples and the present values, in READ ONLY transactions. The present value is the newest sample.
pub fn read(session: &mut Session, names: &Names, catalog: &Catalog, now: i64) -> Result<Vec<Resource>, Error> {
    let mut found: Vec<Resource> = Vec::new();
    session.read()?;
    if catalog.schema_readable() {
        let most = i64::try_from(MAX_SAMPLES).unwrap_or(i64::MAX);
        for row in &session.rows(&statement::FORECAST_SAMPLES.fill(names), &[Param::Int(most)])? {
            let list = row.json("samples")?;
            let samples = list
                .as_array()
                .map_or(&[] as &[Value], Vec::as_slice)
                .iter()
                .filter_map(|item| Some(Sample { at: item[0].as_i64()?, value: item[1].as_f64().unwrap_or(f64::NAN) }))
                .collect();
            found.push(Resource {
                name: row.text("resource")?,
                limit: row.optional_float("most")?,
                samples,
                measured: false,
            });
        }
    }
    for row in &session.rows(&statement::FORECAST_RESOURCES.fill(names), &[])? {
        let name = row.text("resource")?;
        let limit = row.optional_float("most")?;
        let Some(value) = row.optional_float("value")? else { continue };
        let at = match found.iter().position(|resource| resource.name == name) {
            Some(at) => at,
            None => {
                found.push(Resource { name, limit, samples: Vec::new(), measured: false });
                found.len() - 1
            }
        };
        let resource = &mut found[at];
        resource.limit = limit;
        resource.measured = true;
        resource.samples.push(Sample { at: now, value });
    }
    Ok(found)
}
