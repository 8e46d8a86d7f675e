//! What the ledgers say of posts. One file a ledger; one statement brings what all of them say of 1,000 posts.

mod post_attempts;
mod post_receipts;
mod posted_decisions;
mod posting_attempts;
mod success_events;

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::indexes;
use super::mapping::{self, Mapping};
use crate::database::catalog::{Catalog, Column, Relation};
use crate::database::session::{Param, Session};
use crate::database::statement::{self, Names, Template};
use crate::error::Error;
use crate::settings::Settings;

/// What one ledger says of one post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It was sent, and this is its id.
    Sent,
    /// It was sent; the id is not known.
    SentWithoutId,
    /// An attempt began and has no outcome.
    Open,
    /// An attempt failed.
    Failed,
    /// An attempt was never begun.
    NotBegun,
    /// healer rescued it within the window.
    Rescue,
    /// It is held.
    Held,
    /// A person decided that it was not sent.
    Decided,
    /// Its id is being looked for.
    Waiting,
}

impl Kind {
    fn parse(word: &str) -> Self {
        match word {
            "sent" => Self::Sent,
            "sent_without_id" => Self::SentWithoutId,
            "failed" => Self::Failed,
            "not_begun" => Self::NotBegun,
            "rescue" => Self::Rescue,
            "held" => Self::Held,
            "decided" => Self::Decided,
            "waiting" => Self::Waiting,
            // What is not known to have ended is open: the careful reading.
            _ => Self::Open,
        }
    }
}

/// All rows of one kind that one ledger has of one post.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// The ledger.
    pub ledger: &'static str,
    /// What it says.
    pub kind: Kind,
    /// The real external id of its newest row.
    pub external_id: Option<String>,
    /// The time of its newest row.
    pub at: Option<DateTime<Utc>>,
    /// How many parts' ids it lists, where it lists ids.
    pub parts: Option<i64>,
    /// How many rows.
    pub rows: i64,
    /// An error text, or the code of a hold.
    pub note: Option<String>,
}

/// What can be had of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// It is read.
    Readable,
    /// Row-level security hides its rows.
    Hidden,
    /// The role lacks SELECT.
    Forbidden,
    /// It exists and cannot be read; the reason.
    Broken(String),
}

/// One ledger that exists.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Its name in healer's words.
    pub name: &'static str,
    /// What can be had of it.
    pub access: Access,
    /// Share of the posts of the last 7 days that it knows; `None` until measured, with too few posts to tell, or where
    /// it is derived.
    pub coverage: Option<f64>,
    /// Whether it is a view. A view over the posts knows every posted post and no other: what it shows as sent counts,
    /// its silence says nothing that the post's own status does not.
    pub derived: bool,
    template: Template,
}

/// The ledgers of the database, strongest first.
#[derive(Debug, Clone)]
pub struct Ledgers {
    /// Those that exist.
    pub all: Vec<Ledger>,
    names: Names,
    coverage_measured: bool,
}

/// Posts below which a share says nothing: with fewer, one lucky post would make a ledger trusted.
const COVERAGE_POSTS: i64 = 5;

/// Names of what is no ledger of the application but is read beside them.
const OWN: [(&str, Template); 3] = [
    ("journal", statement::EVIDENCE_JOURNAL),
    ("held", statement::EVIDENCE_HELD),
    ("id_recovery", statement::EVIDENCE_RECOVERY),
];

/// How a ledger maps to the user's table.
struct Shape<'a> {
    names: &'a mut Names,
    relation: &'a Relation,
    zone: &'a str,
}

impl Shape<'_> {
    fn column(&self, candidates: &[&str]) -> Option<&Column> {
        candidates.iter().find_map(|name| self.relation.column(name)).filter(|column| column.may_select)
    }

    fn require(&self, candidates: &[&str]) -> Result<&Column, String> {
        self.column(candidates).ok_or_else(|| format!("column {}.{} is missing", self.relation.quoted, candidates[0]))
    }

    fn text(&self, candidates: &[&str]) -> String {
        self.column(candidates).map_or_else(|| "NULL::text".into(), |c| format!("r.{}::text", c.quoted))
    }

    fn time(&self, candidates: &[&str]) -> String {
        self.column(candidates)
            .filter(|column| mapping::is_time(column))
            .map_or_else(|| "NULL::timestamptz".into(), |c| mapping::instant("r", c, self.zone))
    }

    /// A further condition that a time column is not older than an interval; empty where there is no such column.
    fn since(&self, column: &str, interval: &str) -> String {
        self.column(&[column]).filter(|column| mapping::is_time(column)).map_or_else(String::new, |column| {
            format!(" AND r.{} > {} - interval '{interval}'", column.quoted, mapping::now_as(column, self.zone))
        })
    }

    /// The key of a ledger, what it is compared with, and what makes the server look each key up instead of joining:
    /// where an index is there to look it up in, a join that reads the whole ledger is never the shorter way.
    fn key(&self, candidates: &[&str]) -> Result<(String, String, &'static str), String> {
        let column = self.require(candidates)?;
        // A view through which rows can be changed is one table with a condition: its index serves as the table's own.
        let is_table = matches!(self.relation.kind.as_str(), "r" | "p" | "m") || self.relation.updatable;
        // A subquery with OFFSET is not pulled up into the query around it.
        let each = if is_table && indexes::has_index(self.relation, &column.name, None) { " OFFSET 0" } else { "" };
        Ok((column.quoted.clone(), self.spelled(column), each))
    }

    /// What the key is compared with. A post's uuid is read in lower case, and a ledger that keeps it as text may have it
    /// in capitals.
    fn spelled(&self, column: &Column) -> String {
        let as_text = matches!(column.base_type.as_str(), "text" | "character varying" | "bpchar");
        if as_text && self.names.get("id_type") == Some("uuid") {
            "ANY (ARRAY[k.post, upper(k.post)])".to_owned()
        } else {
            mapping::key_as("k.post", column)
        }
    }
}

impl Ledgers {
    /// Finds the ledgers that exist, and how they can be read.
    pub fn find(settings: &Settings, catalog: &Catalog, mapping: &Mapping) -> Result<Self, Error> {
        type Describe = fn(&mut Shape<'_>) -> Result<(), String>;
        let tables: [(&'static str, &str, Template, Describe); 4] = [
            (
                "post_receipts",
                &settings.ledgers.post_receipts,
                statement::EVIDENCE_POST_RECEIPTS,
                post_receipts::describe,
            ),
            (
                "post_attempts",
                &settings.ledgers.post_attempts,
                statement::EVIDENCE_POST_ATTEMPTS,
                post_attempts::describe,
            ),
            (
                "posting_attempts",
                &settings.ledgers.posting_attempts,
                statement::EVIDENCE_POSTING_ATTEMPTS,
                posting_attempts::describe,
            ),
            (
                "posted_decisions",
                &settings.ledgers.posted_decisions,
                statement::EVIDENCE_POSTED_DECISIONS,
                posted_decisions::describe,
            ),
        ];
        let mut names = mapping.names.clone();
        names.set("planned_at", format!("'{}'::timestamptz", catalog.server.now.to_rfc3339()));
        let zone = catalog.literal(&settings.posts.timezone)?.to_owned();
        let mut all = Vec::new();
        for (name, table, template, describe) in tables {
            let Some(relation) = catalog.relation(table) else { continue };
            let access = if relation.row_security {
                Access::Hidden
            } else if !relation.may_select || !relation.schema_usage {
                Access::Forbidden
            } else {
                match describe(&mut Shape { names: &mut names, relation, zone: &zone }) {
                    Ok(()) => Access::Readable,
                    Err(reason) => Access::Broken(reason),
                }
            };
            let derived = matches!(relation.kind.as_str(), "v" | "m");
            all.push(Ledger { name, access, coverage: None, derived, template });
        }
        if settings.ledgers.success_events
            && let Some(events) = &mapping.events
        {
            let place = all.iter().position(|ledger| ledger.name == "posted_decisions").unwrap_or(all.len());
            let access = success_events::access(events);
            all.insert(
                place,
                Ledger {
                    name: "success_events",
                    access,
                    coverage: None,
                    derived: false,
                    template: statement::EVIDENCE_SUCCESS_EVENTS,
                },
            );
        }
        let mut ledgers = Self { all, names, coverage_measured: false };
        ledgers.compose(catalog.schema_readable());
        Ok(ledgers)
    }

    /// Whether any ledger exists at all (the event table alone is one only if events of success are in it, which its
    /// coverage tells).
    pub fn any_table(&self) -> bool {
        self.all.iter().any(|ledger| ledger.name != "success_events")
    }

    /// Ledgers that exist and cannot be read.
    pub fn unreadable(&self) -> impl Iterator<Item = &Ledger> {
        self.all.iter().filter(|ledger| ledger.access != Access::Readable)
    }

    /// Names for statements that need what the ledgers say (`{branches}`, `{change_branches}`).
    pub fn names(&self) -> &Names {
        &self.names
    }

    fn compose(&mut self, with_schema: bool) {
        let reading: Vec<Template> =
            self.all.iter().filter(|ledger| ledger.access == Access::Readable).map(|ledger| ledger.template).collect();
        let join = |templates: &[Template], names: &Names| {
            let branches: Vec<String> =
                templates.iter().map(|template| template.fill(names).sql().trim_end().to_owned()).collect();
            if branches.is_empty() { NOTHING.to_owned() } else { branches.join("\nUNION ALL\n") }
        };
        let since = self.names.get("events_since_change").unwrap_or("$7::timestamptz").to_owned();
        let change = join(&reading, &self.names.with("events_since", since));
        let measured: Vec<Template> = self
            .all
            .iter()
            .filter(|ledger| ledger.access == Access::Readable && !ledger.derived)
            .map(|ledger| ledger.template)
            .collect();
        let measured = join(&measured, &self.names);
        let mut everything = reading;
        if with_schema {
            everything.extend(OWN.iter().map(|(_, template)| *template));
        }
        let everything = join(&everything, &self.names);
        self.names.set("change_branches", change);
        self.names.set("coverage_branches", measured);
        self.names.set("branches", everything);
    }

    /// What is known of each of `posts`; `oldest` bounds the events that are read.
    pub fn read(
        &self,
        session: &mut Session,
        posts: &[&str],
        oldest: Option<DateTime<Utc>>,
    ) -> Result<HashMap<String, Vec<Fact>>, Error> {
        let rows = session.rows(&statement::EVIDENCE.fill(&self.names), &[Param::Texts(posts), Param::Time(oldest)])?;
        let mut facts: HashMap<String, Vec<Fact>> = HashMap::with_capacity(rows.len());
        for row in &rows {
            let ledger = row.text("ledger")?;
            let fact = Fact {
                ledger: self.static_name(&ledger),
                kind: Kind::parse(&row.text("kind")?),
                external_id: row.optional_text("external_id")?,
                at: row.optional_time("at")?,
                parts: row.optional_int("parts")?,
                rows: row.int("rows")?,
                note: row.optional_text("note")?,
            };
            facts.entry(row.text("post")?).or_default().push(fact);
        }
        Ok(facts)
    }

    fn static_name(&self, name: &str) -> &'static str {
        self.all
            .iter()
            .map(|ledger| ledger.name)
            .chain(OWN.iter().map(|(name, _)| *name))
            .find(|known| *known == name)
            .unwrap_or("ledger")
    }

    /// Measures, once, which share of the posts of the last 7 days each ledger knows.
    pub fn measure_coverage(
        &mut self,
        session: &mut Session,
        mapping: &Mapping,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        if self.coverage_measured {
            return Ok(());
        }
        self.coverage_measured = true;
        if !mapping.has_posted_at || self.all.iter().all(|ledger| ledger.access != Access::Readable) {
            return Ok(());
        }
        // A day more than the sample: an event may be older than the row's time of posting.
        let since = now - chrono::Duration::days(8);
        let rows =
            session.rows(&statement::COVERAGE.fill(&self.names), &[Param::Texts(&[]), Param::Time(Some(since))])?;
        let mut known = HashMap::new();
        for row in &rows {
            known.insert(row.text("ledger")?, row.int("known")?);
        }
        let total = known.get("").copied().unwrap_or(0);
        for ledger in &mut self.all {
            if ledger.access == Access::Readable && !ledger.derived && total >= COVERAGE_POSTS {
                let count = known.get(ledger.name).copied().unwrap_or(0);
                ledger.coverage = Some(count as f64 / total as f64);
            }
        }
        Ok(())
    }

    /// After a statement over all ledgers failed: asks each alone, in a transaction of its own, and sets those aside
    /// that fail. True when at least one was set aside, so that trying again makes sense.
    pub fn set_broken_aside(&mut self, session: &mut Session, with_schema: bool) -> Result<bool, Error> {
        let mut changed = false;
        for ledger in &mut self.all {
            if ledger.access != Access::Readable {
                continue;
            }
            let alone = self.names.with("branches", ledger.template.fill(&self.names).sql().to_owned());
            session.begin(crate::database::session::Access::ReadOnly, "")?;
            let asked = session.rows(&statement::EVIDENCE.fill(&alone), &[Param::Texts(&[]), Param::Time(None)]);
            match asked {
                Ok(_) => {}
                Err(error) if error.stops_the_pass() => return Err(error),
                Err(Error::Query { sqlstate, message, .. }) => {
                    ledger.access = match sqlstate.as_deref() {
                        Some("42501") if message.contains("row-level security") || message.contains("row security") => {
                            Access::Hidden
                        }
                        Some("42501") => Access::Forbidden,
                        _ => Access::Broken(message),
                    };
                    changed = true;
                }
                Err(error) => {
                    ledger.access = Access::Broken(error.to_string());
                    changed = true;
                }
            }
        }
        session.rollback();
        self.compose(with_schema);
        Ok(changed)
    }
}

/// The branch where there is nothing to read.
const NOTHING: &str = "SELECT NULL::text AS post, NULL::text AS ledger, NULL::text AS kind, NULL::text AS external_id, \
                       NULL::timestamptz AS at, NULL::bigint AS parts, NULL::text AS note WHERE false";

#[cfg(test)]
impl Ledger {
    pub(crate) fn for_test(name: &'static str, access: Access, coverage: Option<f64>, template: Template) -> Self {
        Self { name, access, coverage, derived: false, template }
    }
}

impl Ledgers {
    /// Whether the attempts tell how long posts normally take.
    pub fn has_durations(&self) -> bool {
        let known = |placeholder| self.names.get(placeholder).is_some_and(|sql| sql != "NULL::timestamptz");
        self.all.iter().any(|ledger| ledger.name == "post_attempts" && ledger.access == Access::Readable)
            && known("post_attempts_used_at")
            && known("post_attempts_approved_at")
    }
}
