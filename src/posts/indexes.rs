//! The indexes that healer's statements need, and which of them a database lacks.
//!
//! Without them healer works and reads whole tables; with them what a pass costs follows what there is to do.

use super::mapping::Mapping;
use crate::database::catalog::{Catalog, Relation};
use crate::database::session::{Access, Session};
use crate::database::statement::{self, Names};
use crate::error::Error;
use crate::settings::Settings;

/// Rows below which a table is walked as fast as an index.
pub const SMALL: i64 = 10_000;

/// Bytes of a page of PostgreSQL.
const PAGE: f64 = 8_192.0;

/// The share of a page of an index that is filled when it is made.
const FILLED: f64 = 0.9;

/// Bytes that every entry of an index has beside its key: its header and its place in the page.
const ENTRY: i64 = 12;

/// An index that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The table it belongs on, quoted.
    pub table: String,
    /// The planner's estimate of that table's rows.
    pub table_rows: i64,
    /// What it is for.
    pub serves: &'static str,
    /// The column, quoted.
    column: String,
    /// The column with its order.
    key: String,
    /// The table or view through which the role reads it, quoted.
    readable: String,
    /// Which rows are in it; `None` for all.
    condition: Option<String>,
    /// Whether it can be made without locking the table.
    concurrently: bool,
}

/// What the planner expects of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// Entries.
    pub rows: i64,
    /// Bytes on disk.
    pub bytes: i64,
}

impl Wanted {
    fn new(relation: &Relation, column: &str, serves: &'static str) -> Self {
        Self {
            table: relation.base.clone(),
            table_rows: relation.estimated_rows,
            serves,
            column: column.to_owned(),
            key: column.to_owned(),
            readable: relation.quoted.clone(),
            condition: None,
            // A partitioned table takes no index concurrently.
            concurrently: relation.base_kind != "p",
        }
    }

    fn newest_first(mut self) -> Self {
        self.key.push_str(" DESC");
        self
    }

    fn only(mut self, condition: String) -> Self {
        self.condition = Some(condition);
        self
    }

    /// The statement that makes it.
    pub fn ddl(&self) -> String {
        let concurrently = if self.concurrently { " CONCURRENTLY" } else { "" };
        let condition = self.condition.as_ref().map(|rows| format!(" WHERE {rows}")).unwrap_or_default();
        format!("CREATE INDEX{concurrently} ON {} ({}){condition};", self.table, self.key)
    }
}

/// Whether some valid index begins with a column, or is partial on a word of the status and on nothing else.
pub(super) fn has_index(relation: &Relation, column: &str, word: Option<&str>) -> bool {
    relation.indexes.iter().filter(|index| index.valid).any(|index| {
        let on_word = word.is_some_and(|word| {
            index.predicate.as_ref().is_some_and(|predicate| {
                predicate.contains(&format!("'{word}'"))
                    && !predicate.contains(" AND ")
                    && index.definition.contains(column)
            })
        });
        on_word || (index.first.as_deref() == Some(column) && index.predicate.is_none())
    })
}

/// The indexes that are missing: of the posts by status and by time of posting, of each ledger by its key, of the attempts
/// and the events by their time.
pub fn missing(settings: &Settings, catalog: &Catalog, mapping: &Mapping) -> Vec<Wanted> {
    let posts = &mapping.posts;
    let of = &settings.posts;
    let name = |placeholder| mapping.names.get(placeholder).unwrap_or_default();
    let mut wanted = Vec::new();
    let open = [&of.words.posting, &of.words.queued];
    if !open.iter().all(|word| has_index(posts, &of.status, Some(word))) {
        // One for all posts that are not done yet, in the order in which the stuck ones are read.
        let mut index = Wanted::new(posts, name("id"), "stuck-posts, silence and the brake");
        index.key = format!("{}, {}", name("status"), name("id"));
        wanted.push(index.only(format!("{} IN ({})", name("status"), name("open_words"))));
    }
    if !has_index(posts, &of.status, Some(&of.words.failed)) {
        wanted.push(Wanted::new(posts, name("id"), "old-failed").only(format!(
            "{} = {}",
            name("status"),
            name("failed")
        )));
    }
    if mapping.has_posted_at && !has_index(posts, &of.posted_at, Some(&of.words.posted)) {
        let index = Wanted::new(posts, name("posted_at_column"), "missing-ids and silence").newest_first();
        wanted.push(index.only(format!("{} = {}", name("status"), name("posted"))));
    }
    let ledgers = &settings.ledgers;
    for table in [&ledgers.post_receipts, &ledgers.post_attempts, &ledgers.posting_attempts, &ledgers.posted_decisions]
    {
        // A view is served by the indexes of what it stands on.
        let Some(relation) = catalog.relation(table).filter(|found| matches!(found.kind.as_str(), "r" | "p" | "m"))
        else {
            continue;
        };
        let key = ["decision_id", "post_id"].iter().find_map(|name| relation.column(name));
        if let Some(key) = key.filter(|key| !has_index(relation, &key.name, None)) {
            wanted.push(Wanted::new(relation, &key.quoted, "what this ledger knows of a post"));
        }
    }
    let attempts =
        catalog.relation(&ledgers.post_attempts).filter(|found| matches!(found.kind.as_str(), "r" | "p" | "m"));
    if let Some(attempts) = attempts
        && let Some(created) = attempts.column("created_at")
        && !has_index(attempts, &created.name, None)
    {
        let index =
            Wanted::new(attempts, &created.quoted, "how long posts normally take, and what was tried since the last");
        wanted.push(index.newest_first());
    }
    if let Some(events) = &mapping.events
        && let Some(created) = events.column("created_at")
        && !has_index(events, &created.name, None)
    {
        wanted.push(Wanted::new(events, &created.quoted, "the events of the last hours").newest_first());
    }
    wanted
}

/// Whether every big table has the indexes that its statements need: then there is never a reason to walk one.
pub fn serve_everything(settings: &Settings, catalog: &Catalog, mapping: &Mapping) -> bool {
    missing(settings, catalog, mapping).iter().all(|index| index.table_rows < SMALL)
}

/// The index that holds the posts without a real id and nothing else, where it is not there yet.
pub fn of_missing_ids(settings: &Settings, mapping: &Mapping) -> Option<Wanted> {
    let name = |placeholder| mapping.names.get(placeholder).unwrap_or_default();
    let there = mapping.posts.indexes.iter().filter(|index| index.valid).any(|index| {
        index.predicate.as_ref().is_some_and(|predicate| {
            predicate.contains(&settings.posts.external_id) && predicate.contains("IS NULL") && predicate.contains("!~")
        })
    });
    if there || !mapping.has_posted_at {
        return None;
    }
    let condition = format!(
        "{} = {} AND ({external} IS NULL OR {external}::text !~ {})",
        name("status"),
        name("posted"),
        name("real"),
        external = name("external_id"),
    );
    Some(Wanted::new(&mapping.posts, name("posted_at_column"), "missing-ids").newest_first().only(condition))
}

/// Not an index but the posts that `missing-ids` looks through without one, to be estimated.
pub fn in_window(mapping: &Mapping) -> Wanted {
    let name = |placeholder| mapping.names.get(placeholder).unwrap_or_default();
    Wanted::new(&mapping.posts, name("posted_at_column"), "missing-ids").only(format!(
        "{} = {} AND {} > {} - {}",
        name("status"),
        name("posted"),
        name("posted_at_column"),
        name("posted_at_now"),
        name("window"),
    ))
}

/// What the planner expects of an index, by the statistics; `None` where it does not say.
pub fn estimate(session: &mut Session, index: &Wanted) -> Result<Option<Estimate>, Error> {
    let mut names = Names::default();
    names.set("estimated_column", index.column.clone());
    names.set("estimated_table", index.readable.clone());
    names.set("estimated_rows", index.condition.clone().unwrap_or_else(|| "true".into()));
    session.begin(Access::ReadOnly, "")?;
    let row = match session.row(&statement::ESTIMATE.fill(&names), &[]) {
        Err(error) if error.stops_the_pass() => return Err(error),
        Err(_) => return Ok(None),
        Ok(row) => row.json("QUERY PLAN")?,
    };
    let plan = &row[0]["Plan"];
    let (Some(rows), Some(width)) = (plan["Plan Rows"].as_f64(), plan["Plan Width"].as_i64()) else { return Ok(None) };
    Ok(Some(measure(rows, width)))
}

/// How big an index of so many entries is whose key is so wide.
fn measure(rows: f64, width: i64) -> Estimate {
    let entry = ENTRY + (width.max(0) + 7) / 8 * 8;
    // One page more is the root's.
    let pages = (rows.max(0.0) * entry as f64 / (PAGE * FILLED)).ceil() + 1.0;
    #[allow(clippy::cast_possible_truncation, reason = "an estimate; a cast of a float saturates")]
    let whole = |number: f64| number as i64;
    Estimate { rows: whole(rows.max(0.0)), bytes: whole(pages * PAGE) }
}

/// A size for people.
pub fn size(bytes: i64) -> String {
    match bytes {
        b if b < 1_048_576 => format!("{} kB", (b + 1_023) / 1_024),
        b if b < 10 * 1_048_576 => format!("{:.1} MB", b as f64 / 1_048_576.0),
        b => format!("{} MB", b / 1_048_576),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_nothing_is_two_pages_at_most_and_one_of_a_million_uuids_is_some_thirty_megabytes() {
        assert_eq!(measure(0.0, 16).bytes, 8_192);
        assert_eq!(measure(1.0, 16).bytes, 16_384);
        let million = measure(1e6, 16).bytes / 1_048_576;
        assert!((28..=40).contains(&million), "{million}");
        assert_eq!(size(16_384), "16 kB");
        assert_eq!(size(3 * 1_048_576), "3.0 MB");
    }
}
