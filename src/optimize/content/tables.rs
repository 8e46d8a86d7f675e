//! What of outcomes, generator weights and the system's own history exists here, and how each part of it is read.
//!
//! Nothing is assumed: a column that is missing degrades what it tells of, with a clear word; a table that cannot be
//! read is named, and what it would have told is unknown and never zero.

use std::fmt::Write as _;

use super::objective::Objective;
use crate::database::catalog::{Catalog, Column, Relation};
use crate::database::statement::{self, Names};
use crate::error::Error;
use crate::posts::mapping::{Mapping, instant, interval, is_time, now_as};
use crate::settings::{Settings, Span};

/// Whether a table can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It can be read.
    Readable,
    /// There is none (any more), or it lacks what makes it one: why.
    Missing(String),
    /// It exists and this role may not see it, or not all of it: why.
    Closed(String),
}

impl Source {
    /// Whether it can be read.
    pub fn is_readable(&self) -> bool {
        *self == Self::Readable
    }

    /// Why it cannot be used.
    pub fn why_not(&self) -> Option<&str> {
        match self {
            Self::Readable => None,
            Self::Missing(why) | Self::Closed(why) => Some(why),
        }
    }
}

/// The tables, with the names that the statements of `sql/` need.
#[derive(Debug, Clone)]
pub struct Tables {
    /// The names of the posts and those of these tables.
    pub names: Names,
    /// What posts earned.
    pub outcomes: Source,
    /// The generator weights.
    pub weights: Source,
    /// Whether the role may change the generator weights; else what it lacks.
    pub may_write: Result<(), String>,
    /// Whether weights have a status that may be changed.
    pub may_set_status: bool,
    /// Whether applied changes can be noted in the system's own table; `None` where there is none.
    pub history: Option<Result<(), String>>,
    /// Whether a post may have several outcomes, collected one after the other.
    pub repeated: bool,
    /// What is missing and what that means, one sentence each.
    pub notes: Vec<String>,
}

/// A numeric column as `double precision`.
fn figure(relation: &Relation, alias: &str, name: &str) -> Option<String> {
    relation
        .column(name)
        .filter(|column| column.may_select && is_number(column))
        .map(|column| format!("{alias}.{}::float8", column.quoted))
}

fn is_number(column: &Column) -> bool {
    matches!(column.base_type.as_str(), "smallint" | "integer" | "bigint" | "numeric" | "real" | "double precision")
}

fn usable(relation: Option<&Relation>, table: &str, role: &str) -> Source {
    if table.is_empty() {
        return Source::Missing("switched off in the configuration".into());
    }
    match relation {
        None => Source::Missing(format!("table {table} is missing")),
        Some(relation) if !relation.may_select || !relation.schema_usage => {
            Source::Closed(format!("role {role} may not read {table}"))
        }
        Some(relation) if relation.row_security => Source::Closed(format!("row-level security hides rows of {table}")),
        Some(_) => Source::Readable,
    }
}

impl Tables {
    /// Finds them.
    pub fn find(settings: &Settings, catalog: &Catalog, mapping: &Mapping) -> Result<Self, Error> {
        let content = &settings.optimize.content;
        let role = &catalog.server.role;
        let mut tables = Self {
            names: mapping.names.clone(),
            outcomes: usable(catalog.relation(&content.outcomes_table), &content.outcomes_table, role),
            weights: usable(catalog.relation(&content.weights_table), &content.weights_table, role),
            may_write: Ok(()),
            may_set_status: false,
            history: None,
            repeated: false,
            notes: Vec::new(),
        };
        tables.set_window(content.window_days);
        tables.posts(settings, mapping);
        if let Some(relation) = catalog.relation(&content.outcomes_table).filter(|_| tables.outcomes.is_readable()) {
            tables.find_outcomes(settings, catalog, mapping, relation)?;
        }
        tables.names.set("weights_in_force", "NULL::jsonb");
        if let Some(relation) = catalog.relation(&content.weights_table).filter(|_| tables.weights.is_readable()) {
            tables.find_weights(settings, catalog, relation)?;
        }
        if let Some(relation) = catalog.relation(&content.events_table) {
            tables.history = Some(tables.find_history(relation));
        }
        Ok(tables)
    }

    fn set_window(&mut self, days: u32) {
        self.names.set("content_window", interval(Span::seconds(u64::from(days) * 86_400)));
    }

    /// What the posts themselves tell: who wrote them, and which were tests.
    fn posts(&mut self, settings: &Settings, mapping: &Mapping) {
        let posts = &mapping.posts;
        let column = |name: &str| posts.column(name).filter(|column| column.may_select);
        if let Some(generator) = column(&settings.posts.generator) {
            self.names.set("generator", format!("p.{}::text", generator.quoted));
        } else {
            // All of one name: formats and hours can be learned all the same.
            self.names.set("generator", "'all'::text");
            self.lacks(&settings.posts.table, &settings.posts.generator, "generators cannot be told apart");
        }
        let (mut test, mut join) = ("false".to_owned(), String::new());
        let is_bool = |column: &&Column| column.base_type == "boolean" && column.may_select;
        let hidden = |name: &str| posts.hidden_columns.iter().find(|column| column.name == name && column.may_select);
        if let Some(column) = column(&settings.posts.is_test).filter(is_bool) {
            test = format!("coalesce(p.{}, false)", column.quoted);
        } else if let (Some(mark), Some(id)) =
            (hidden(&settings.posts.is_test).filter(is_bool), hidden(&settings.posts.id))
        {
            // Only the few test posts are joined: a look into the table below for every post would cost more than the rest.
            test = format!("t.{} IS NOT NULL", id.quoted);
            join = format!(
                " LEFT JOIN {} t ON t.{} = p.{} AND t.{}",
                posts.base,
                id.quoted,
                mapping.names.get("id").unwrap_or_default(),
                mark.quoted
            );
        }
        if test == "false" {
            self.lacks(&settings.posts.table, &settings.posts.is_test, "test posts are not told from others");
        }
        self.names.set("test", test);
        self.names.set("test_join", join);
        if !mapping.has_posted_at {
            self.outcomes =
                Source::Missing(format!("column {}.{} is missing", settings.posts.table, settings.posts.posted_at));
        }
    }

    fn find_outcomes(
        &mut self,
        settings: &Settings,
        catalog: &Catalog,
        mapping: &Mapping,
        relation: &Relation,
    ) -> Result<(), Error> {
        let table = &settings.optimize.content.outcomes_table;
        let Some(key) = relation.column(&settings.posts.id).filter(|column| column.may_select) else {
            self.outcomes =
                Source::Missing(format!("column {table}.{} is missing or may not be read", settings.posts.id));
            return Ok(());
        };
        let id = mapping.posts.column(&settings.posts.id);
        let (post_id, post_type) = id.map_or(("", ""), |column| (column.quoted.as_str(), column.base_type.as_str()));
        self.names.set(
            "outcome_match",
            if post_type == key.base_type {
                format!("o.{} = p.{post_id}", key.quoted)
            } else {
                format!("o.{}::text = p.{post_id}::text", key.quoted)
            },
        );
        self.names.set("outcome_missing", format!("o.{} IS NULL", key.quoted));
        self.names.set("outcome_key", key.quoted.clone());
        self.names.set("outcome_rows", relation.quoted.clone());
        let zone = catalog.literal(&settings.posts.timezone)?;
        let collected = relation.column("collected_at").filter(|column| column.may_select && is_time(column));
        self.names.set(
            "collected_at",
            collected.map_or_else(|| "NULL::timestamptz".to_owned(), |column| instant("o", column, zone)),
        );
        let mut absent = Vec::new();
        for name in
            ["impressions", "likes", "retweets", "replies", "followers_gained", "followers_before", "followers_after"]
        {
            let read = figure(relation, "o", name).unwrap_or_else(|| {
                absent.push(name);
                "NULL::float8".to_owned()
            });
            self.names.set(name, read);
        }
        let objective = &settings.optimize.content.objective;
        let column = match objective {
            Objective::Column(name) | Objective::ColumnPer1k(name) => {
                let found = figure(relation, "o", name);
                if found.is_none() {
                    self.outcomes =
                        Source::Missing(format!("column {table}.{name}, the objective, is missing or no number"));
                }
                found
            }
            Objective::Engagement | Objective::FollowersPer1k => None,
        };
        self.names.set("objective_column", column.unwrap_or_else(|| "NULL::float8".to_owned()));
        self.say_absent(&absent, objective, table);
        if collected.is_none() {
            self.lacks(table, "collected_at", "outcomes that were collected too early are not told from others");
        }
        let simulated =
            relation.column("simulated").filter(|column| column.may_select && column.base_type == "boolean");
        self.names.set(
            "simulated",
            simulated.map_or_else(|| "false".to_owned(), |column| format!("coalesce(o.{}, false)", column.quoted)),
        );
        if simulated.is_none() {
            self.lacks(table, "simulated", "simulated outcomes are not told from real ones");
        }
        let unique = relation.kind == "v" || relation.unique_columns.contains(&settings.posts.id);
        self.repeated = !unique && collected.is_some();
        let readable: Vec<String> = relation
            .columns
            .iter()
            .filter(|column| column.may_select)
            .map(|column| format!("x.{}", column.quoted))
            .collect();
        let rows = match collected {
            // The latest collection of each post counts.
            Some(collected) if !unique => format!(
                "(SELECT DISTINCT ON (x.{0}) {3} FROM {1} x ORDER BY x.{0}, x.{2} DESC NULLS LAST)",
                key.quoted,
                relation.quoted,
                collected.quoted,
                readable.join(", ")
            ),
            None if !unique => {
                self.notes
                    .push(format!("{table} has no unique index on {}: a post with two rows counts twice", key.name));
                relation.quoted.clone()
            }
            _ => relation.quoted.clone(),
        };
        self.names.set("outcomes", rows);
        Ok(())
    }

    fn say_absent(&mut self, absent: &[&str], objective: &Objective, table: &str) {
        let needed: &[&str] = match objective {
            Objective::Engagement => &["impressions", "likes", "retweets", "replies"],
            Objective::FollowersPer1k => &["impressions", "followers_gained"],
            Objective::ColumnPer1k(_) => &["impressions"],
            Objective::Column(_) => &[],
        };
        let lacking: Vec<&str> = needed.iter().copied().filter(|name| absent.contains(name)).collect();
        if !lacking.is_empty() {
            self.outcomes = Source::Missing(format!(
                "table {table} has no numbers in {}, which the objective needs",
                lacking.join(", ")
            ));
            return;
        }
        for (name, meaning) in [
            ("followers_gained", "viral and failing generators are not known"),
            ("followers_before", "0 followers gained counts as not measured"),
            ("followers_after", "0 followers gained counts as not measured"),
        ] {
            if absent.contains(&name) {
                self.lacks(table, name, meaning);
            }
        }
    }

    fn lacks(&mut self, table: &str, column: &str, meaning: &str) {
        self.notes.push(format!("column {table}.{column} is missing or cannot be read: {meaning}"));
    }

    fn find_weights(&mut self, settings: &Settings, catalog: &Catalog, relation: &Relation) -> Result<(), Error> {
        let table = &settings.optimize.content.weights_table;
        let column = |name: &str| relation.column(name).filter(|column| column.may_select);
        let (Some(name), Some(weight)) = (column("generator_name"), column("weight").filter(|c| is_number(c))) else {
            self.weights = Source::Missing(format!("table {table} has no readable generator_name and weight"));
            return Ok(());
        };
        let role = &catalog.server.role;
        let zone = catalog.literal(&settings.posts.timezone)?;
        let status = column("status");
        let locked = column("optimization_locked").filter(|column| column.base_type == "boolean");
        let changed = column("last_updated").filter(|column| is_time(column));
        let names = &mut self.names;
        names.set("weights", relation.quoted.clone());
        names.set("weights_relation", catalog.literal(table)?);
        names.set("weights_name", name.quoted.clone());
        names.set("weights_weight", weight.quoted.clone());
        names.set("weights_type", weight.r#type.clone());
        names.set(
            "weights_status",
            status.map_or_else(|| "'active'::text".to_owned(), |column| format!("g.{}::text", column.quoted)),
        );
        names.set("weights_locked", locked.map_or_else(|| "false".to_owned(), |column| format!("g.{}", column.quoted)));
        names.set(
            "weights_changed",
            changed.map_or_else(|| "NULL::timestamptz".to_owned(), |column| instant("g", column, zone)),
        );
        let (mut json, mut set, mut restore, mut holds) = (String::new(), String::new(), String::new(), String::new());
        if let Some(column) = status.filter(|column| column.may_update) {
            let (quoted, of_type) = (&column.quoted, &column.r#type);
            let _ = write!(json, ", 'status', g.{quoted}::text");
            let _ = write!(set, ", {quoted} = coalesce(nullif(k.status, '')::{of_type}, g.{quoted})");
            let _ = write!(restore, ", {quoted} = (o.before ->> 'status')::{of_type}");
            let _ = write!(holds, " AND g.{quoted}::text IS NOT DISTINCT FROM o.after ->> 'status'");
        }
        if let Some(column) = changed.filter(|column| column.may_update) {
            let (quoted, of_type) = (&column.quoted, &column.r#type);
            let now = now_as(column, zone);
            let _ = write!(json, ", 'last_updated', g.{quoted}");
            let _ = write!(set, ", {quoted} = {now}");
            // A counter that somebody moved on since touches this column too: then it tells of that.
            let _ = write!(
                restore,
                ", {quoted} = CASE WHEN g.{quoted} IS NOT DISTINCT FROM (o.after ->> 'last_updated')::{of_type} \
                 THEN (o.before ->> 'last_updated')::{of_type} ELSE {now} END"
            );
        }
        names.set("weights_json", json);
        names.set("weights_set", set);
        names.set("weights_restore", restore);
        names.set("weights_holds", holds);
        let in_force = statement::WEIGHTS_IN_FORCE.fill(names).sql().trim_end().to_owned();
        names.set("weights_in_force", in_force);
        if !weight.may_update {
            self.may_write = Err(format!(
                "role {role} may not change {table}.weight: GRANT UPDATE (weight, status, last_updated) ON {} TO \"{role}\";",
                relation.quoted
            ));
        }
        for (found, name, meaning) in [
            (locked.is_some(), "optimization_locked", "no generator counts as locked"),
            (status.is_some(), "status", "every generator counts as active"),
            (changed.is_some(), "last_updated", "every testing generator counts as rested"),
        ] {
            if !found {
                self.lacks(table, name, meaning);
            }
        }
        if weight.may_update && changed.is_some_and(|column| !column.may_update) {
            self.notes
                .push(format!("the role may not write {table}.last_updated: when a weight changed is not noted there"));
        }
        // A role that may only look plans what the other would do.
        self.may_set_status = status.is_some_and(|column| column.may_update || !weight.may_update);
        Ok(())
    }

    /// The columns of the system's own table of optimizations, as far as it has them.
    fn find_history(&mut self, relation: &Relation) -> Result<(), String> {
        let (mut columns, mut values) = (String::new(), String::new());
        for (name, value) in [
            ("posts_analyzed", "v.posts"),
            ("period_days", "v.days"),
            ("generators_updated", "v.updated"),
            ("top_performer", "v.best"),
            ("top_performer_f_per_1k", "v.best_rate"),
            ("bottom_performer", "v.worst"),
            ("bottom_performer_f_per_1k", "v.worst_rate"),
            ("changes", "v.changes"),
            ("execution_time_ms", "v.took"),
            ("success", "true"),
        ] {
            if let Some(column) = relation.column(name).filter(|column| !column.generated) {
                let _ = write!(columns, ", {}", column.quoted);
                let _ = write!(values, ", {value}::{}", column.r#type);
            }
        }
        self.names.set("history", relation.quoted.clone());
        self.names.set("history_columns", columns);
        self.names.set("history_values", values);
        if relation.column("event_type").is_none() {
            return Err(format!("table {} has no column event_type", relation.name));
        }
        if !relation.may_insert || !relation.schema_usage {
            return Err(format!(
                "the role may not insert into {}: GRANT INSERT ON {};",
                relation.name, relation.quoted
            ));
        }
        Ok(())
    }
}
