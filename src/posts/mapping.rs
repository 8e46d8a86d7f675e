//! How healer's words map to the user's tables: names and expressions for the statements of `sql/`.

use crate::database::catalog::{Catalog, Column, Relation};
use crate::database::statement::{self, Names, Template};
use crate::error::Error;
use crate::heal::job_heartbeats::{FAILURE_WORDS, SUCCESS_WORDS};
use crate::settings::{Settings, Span};

/// The lines that healer keeps among the heartbeats: no sign of life of the system.
pub const OWN_JOBS: [&str; 4] = ["self_healing", "performance_optimizer", "autonomous_optimizer", "error_analysis"];

/// The sources of what only the application knows: placeholder, its signals, its events.
const OBSERVATIONS: [(&str, Template, Template); 2] = [
    ("browser_branches", statement::BROWSER_SIGNALS, statement::BROWSER_EVENTS),
    ("breaker_branches", statement::BREAKER_SIGNALS, statement::BREAKER_EVENTS),
];

/// Where the time comes from since when a post has been posting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimSource {
    /// A column that only the claim sets.
    Claim(String),
    /// The time of the last change: a claim sets it, and so does every other change.
    Updated(String),
    /// The time of creation: the last resort.
    Created(String),
    /// No column tells.
    None,
}

/// The posts table as found.
#[allow(clippy::struct_excessive_bools, reason = "each says of one thing whether the table has it")]
#[derive(Debug, Clone)]
pub struct Mapping {
    /// What the placeholders of `sql/` stand for.
    pub names: Names,
    /// Where the claim time comes from.
    pub claim: ClaimSource,
    /// Whether some column tells when the status last changed.
    pub has_changed_at: bool,
    /// Whether the time of posting is known.
    pub has_posted_at: bool,
    /// Whether the status column knows the word for archived, as far as its type tells.
    pub archived_label: bool,
    /// What is missing and what that means, one sentence each.
    pub warnings: Vec<String>,
    /// The relation.
    pub posts: Relation,
    /// The event table, where it can be used for reading.
    pub events: Option<Relation>,
    /// The heartbeat table.
    pub heartbeats: Option<Relation>,
    /// Whether the heartbeat table keeps one row for each run.
    pub heartbeats_history: bool,
}

/// The relations that the settings name, for [`Catalog::read`].
pub fn relations(settings: &Settings) -> Vec<&str> {
    vec![
        &settings.posts.table,
        &settings.events.table,
        &settings.heartbeats.table,
        &settings.ledgers.post_receipts,
        &settings.ledgers.post_attempts,
        &settings.ledgers.posting_attempts,
        &settings.ledgers.posted_decisions,
        &settings.optimize.content.outcomes_table,
        &settings.optimize.content.weights_table,
        &settings.optimize.content.events_table,
    ]
}

/// The words of the settings that stand in SQL as literals, for [`Catalog::read`].
pub fn words(settings: &Settings) -> Vec<&str> {
    let posts = &settings.posts;
    let words = &posts.words;
    let mut all: Vec<&str> = vec![
        &words.posting,
        &words.queued,
        &words.ready,
        &words.posted,
        &words.failed,
        &words.archived,
        &posts.external_id_pattern,
        &posts.timezone,
        &posts.table,
        &posts.status,
        &posts.external_id,
        &posts.posted_at,
        &posts.updated_at,
        &posts.error_message,
        &settings.optimize.content.weights_table,
    ];
    all.extend(settings.heal.stuck_posts.limits.keys().map(String::as_str));
    all.extend(settings.optimize.performance.posting.failed_words.iter().map(String::as_str));
    all.extend(settings.optimize.performance.retention.keep_types.iter().map(String::as_str));
    all
}

/// An interval as SQL.
pub fn interval(span: Span) -> String {
    format!("interval '{} seconds'", span.as_seconds())
}

/// The value of a time column as `timestamptz`, of the row with this alias.
pub fn instant(alias: &str, column: &Column, zone: &str) -> String {
    match column.base_type.as_str() {
        "timestamp with time zone" => format!("{alias}.{}", column.quoted),
        "timestamp without time zone" => format!("({alias}.{} AT TIME ZONE {zone})", column.quoted),
        _ => format!("({alias}.{}::timestamp AT TIME ZONE {zone})", column.quoted),
    }
}

/// `now()` in the type of a time column.
pub fn now_as(column: &Column, zone: &str) -> String {
    match column.base_type.as_str() {
        "timestamp with time zone" => "now()".into(),
        "timestamp without time zone" => format!("(now() AT TIME ZONE {zone})"),
        other => format!("(now() AT TIME ZONE {zone})::{other}"),
    }
}

/// Whether a column holds a time.
pub fn is_time(column: &Column) -> bool {
    matches!(column.base_type.as_str(), "timestamp with time zone" | "timestamp without time zone" | "date")
}

fn is_json(column: &Column) -> bool {
    matches!(column.base_type.as_str(), "jsonb" | "json")
}

/// A text key as the type of an id column; keys that the type cannot hold become NULL, and match nothing.
pub fn key_as(key: &str, column: &Column) -> String {
    match column.base_type.as_str() {
        // Not one pattern with the numbers of digits: that takes longer than the look-up that it guards.
        "uuid" => format!(
            "CASE WHEN {key} LIKE '________-____-____-____-____________' AND {key} !~ '[^0-9a-fA-F-]' \
             AND length(replace({key}, '-', '')) = 32 THEN {key}::uuid END"
        ),
        // Of the longest texts not all are in range: nested, so that none is cast before it was looked at.
        "bigint" => format!(
            "CASE WHEN {key} ~ '^-?[0-9]{{1,18}}$' THEN {key}::bigint WHEN {key} ~ '^-?[0-9]{{19}}$' THEN \
             CASE WHEN {key}::numeric BETWEEN -9223372036854775808 AND 9223372036854775807 THEN {key}::bigint END END"
        ),
        "integer" => format!(
            "CASE WHEN {key} ~ '^-?[0-9]{{1,9}}$' THEN {key}::integer WHEN {key} ~ '^-?[0-9]{{10}}$' THEN \
             CASE WHEN {key}::bigint BETWEEN -2147483648 AND 2147483647 THEN {key}::integer END END"
        ),
        _ => key.to_owned(),
    }
}

impl Mapping {
    /// Maps the settings to what the catalog found. Fails where posts cannot be told from each other: the table, its
    /// id (with a unique index), its status or its external id are missing, or the id is of a type that healer does
    /// not know.
    pub fn new(settings: &Settings, catalog: &Catalog) -> Result<Self, Error> {
        let relation = find_posts(settings, catalog)?;
        let mut build = Build { settings, catalog, relation, names: Names::default(), warnings: Vec::new() };
        build.keys()?;
        build.words()?;
        let (claim, has_posted_at, has_changed_at) = build.times()?;
        build.optional_columns()?;
        build.limits()?;
        let events = build.events()?;
        build.observations(events.as_ref());
        build.jobs();
        let (heartbeats, heartbeats_history) = build.heartbeats();
        let archived_label = build.has_label(&settings.posts.words.archived);
        Ok(Self {
            names: build.names,
            claim,
            has_changed_at,
            has_posted_at,
            archived_label,
            warnings: build.warnings,
            posts: relation.clone(),
            events,
            heartbeats,
            heartbeats_history,
        })
    }

    /// The status column.
    pub fn status(&self, settings: &Settings) -> Option<&Column> {
        self.posts.column(&settings.posts.status)
    }
}

fn find_posts<'a>(settings: &Settings, catalog: &'a Catalog) -> Result<&'a Relation, Error> {
    let table = &settings.posts.table;
    let relation = catalog.relation(table).ok_or_else(|| Error::Missing {
        what: format!("table {table}"),
        hint: "set posts.table in healer.toml to the table of the posts, or connect to the right database".into(),
    })?;
    if !relation.may_select || !relation.schema_usage {
        return Err(Error::Permission {
            message: format!("role {} may not read {}", catalog.server.role, relation.quoted),
            hint: format!("GRANT SELECT, UPDATE ON {} TO \"{}\";", relation.quoted, catalog.server.role),
        });
    }
    if relation.row_security {
        return Err(Error::RowSecurity { relation: relation.quoted.clone() });
    }
    Ok(relation)
}

struct Build<'a> {
    settings: &'a Settings,
    catalog: &'a Catalog,
    relation: &'a Relation,
    names: Names,
    warnings: Vec<String>,
}

impl<'a> Build<'a> {
    fn required(&self, name: &str, setting: &str) -> Result<&'a Column, Error> {
        let table = &self.settings.posts.table;
        let column = self.relation.column(name).ok_or_else(|| Error::Missing {
            what: format!("column {table}.{name}"),
            hint: format!("set posts.{setting} in healer.toml to the column's name"),
        })?;
        if !column.may_select {
            return Err(Error::Permission {
                message: format!("role {} may not read {table}.{name}", self.catalog.server.role),
                hint: format!("GRANT SELECT ON {} TO \"{}\";", self.relation.quoted, self.catalog.server.role),
            });
        }
        Ok(column)
    }

    fn optional(&self, name: &str) -> Option<&'a Column> {
        self.relation.column(name).filter(|column| column.may_select)
    }

    /// An optional column and how to read it: of the view or table itself, else of the table below the view.
    fn reading(&self, name: &str) -> Option<(&'a Column, String)> {
        if let Some(column) = self.optional(name) {
            return Some((column, format!("p.{}", column.quoted)));
        }
        let below = |name: &str| {
            self.relation.hidden_columns.iter().find(|column| column.name == name).filter(|column| column.may_select)
        };
        let id = below(&self.settings.posts.id)?;
        let column = below(name)?;
        let read = format!(
            "(SELECT b.{} FROM {} b WHERE b.{} = p.{})",
            column.quoted,
            self.relation.base,
            id.quoted,
            self.names.get("id").unwrap_or_default()
        );
        Some((column, read))
    }

    fn keys(&mut self) -> Result<(), Error> {
        let posts = &self.settings.posts;
        let id = self.required(&posts.id, "id")?;
        let status = self.required(&posts.status, "status")?;
        let external_id = self.required(&posts.external_id, "external_id")?;
        if !matches!(id.base_type.as_str(), "text" | "character varying" | "uuid" | "bigint" | "integer" | "bpchar") {
            return Err(Error::Missing {
                what: format!("an id of a known type ({} is {})", posts.id, id.r#type),
                hint: "posts.id must be a text, varchar, uuid, bigint or integer column".into(),
            });
        }
        let unique = self.relation.unique_columns.contains(&posts.id);
        if !unique {
            // A view may rename its columns: then the catalog does not tell which of the table's columns it is.
            let renamed = self.relation.kind == "v" && self.relation.base_kind != "v";
            if !renamed || self.relation.unique_columns.is_empty() {
                return Err(Error::Missing {
                    what: format!("a unique index on {}.{} alone", self.relation.base, posts.id),
                    hint: format!("CREATE UNIQUE INDEX CONCURRENTLY ON {} ({});", self.relation.base, id.quoted),
                });
            }
            self.warnings.push(format!(
                "{} is a view that renames its columns: that {} is unique cannot be verified",
                self.relation.quoted, posts.id
            ));
        }
        if !id.not_null && self.relation.kind != "v" {
            self.warnings
                .push(format!("{}.{} may be NULL: rows without an id are left alone", self.relation.quoted, posts.id));
        }
        let names = &mut self.names;
        // What a row that comes back from the archive is written with: computed columns compute themselves.
        let written: Vec<&str> = self
            .relation
            .columns
            .iter()
            .filter(|column| !column.computed)
            .map(|column| column.quoted.as_str())
            .collect();
        names.set("row_columns", written.join(", "));
        names.set("row_values", written.iter().map(|column| format!("r.{column}")).collect::<Vec<_>>().join(", "));
        names.set("posts", self.relation.quoted.clone());
        names.set("relation", self.catalog.literal(&posts.table)?);
        names.set("id", id.quoted.clone());
        names.set("id_type", id.base_type.clone());
        names.set("status", status.quoted.clone());
        names.set("status_type", status.r#type.clone());
        names.set("status_name", self.catalog.literal(&posts.status)?);
        names.set("external_id", external_id.quoted.clone());
        names.set("external_id_type", external_id.r#type.clone());
        names.set("external_id_name", self.catalog.literal(&posts.external_id)?);
        names.set("real", self.catalog.literal(&posts.external_id_pattern)?);
        names.set("held_match", key_as("h.post", id));
        names.set("recovery_match", key_as("r.post", id));
        names.set("target_match", key_as("r.target", id));
        names.set("action_match", key_as("a.target", id));
        Ok(())
    }

    /// All that the row itself says of having been sent, as one number: the external id, orphan, flag, list of ids and
    /// last error. What a plan saw, or a person, is compared with what stands there by then.
    fn marks(&mut self) {
        let get = |name: &str| self.names.get(name).unwrap_or("NULL::text").to_owned();
        let told = [
            format!("p.{}::text", get("external_id")),
            get("orphan"),
            get("flag"),
            get("thread_ids"),
            get("last_error"),
        ];
        let marks: Vec<String> =
            told.iter().filter(|sql| *sql != "NULL::text").map(|sql| format!("coalesce({sql}, '')")).collect();
        let none = |sql: &str| format!("({sql} IS NULL OR {sql} !~ {})", get("real"));
        let unsent = format!(
            "(a.before ->> {} IS DISTINCT FROM {} OR ({} AND {} AND {} IS NULL AND ({listed} IS NULL OR {listed} !~ '[0-9]{{2}}')))",
            get("status_name"),
            get("queued"),
            none(&told[0]),
            none(&told[1]),
            told[2],
            listed = told[3]
        );
        let marks = format!("hashtextextended(concat_ws(chr(31), {}), 0)", marks.join(", "));
        self.names.set("may_restore", unsent);
        self.names.set("marks", marks);
    }

    fn has_label(&self, word: &str) -> bool {
        self.relation
            .column(&self.settings.posts.status)
            .and_then(|column| column.labels.as_ref())
            .is_none_or(|labels| labels.iter().any(|label| label == word))
    }

    fn words(&mut self) -> Result<(), Error> {
        let words = &self.settings.posts.words;
        let essential = [
            ("posting", &words.posting),
            ("queued", &words.queued),
            ("posted", &words.posted),
            ("failed", &words.failed),
        ];
        for (placeholder, word) in essential {
            if !self.has_label(word) {
                return Err(Error::Missing {
                    what: format!("label '{word}' of the enum {}", self.names.get("status_type").unwrap_or_default()),
                    hint: format!("set posts.words.{placeholder} in healer.toml to the system's word"),
                });
            }
            self.names.set(placeholder, self.catalog.literal(word)?);
        }
        // An index on (status, time) WHERE status = 'posted' implies the condition on its first column, so the planner leaves
        // it out and then reads the whole index for any span of time. What it cannot see through stays a condition of the index.
        let get = |name: &str| self.names.get(name).unwrap_or_default().to_owned();
        let (status, posted, kind) = (get("status"), get("posted"), get("status_type"));
        self.names
            .set("is_posted", format!("p.{status} = {posted} AND p.{status} = ANY (ARRAY[(SELECT {posted}::{kind})])"));
        self.names.set("archived", self.catalog.literal(&words.archived)?);
        let mut open = Vec::new();
        for word in [&words.queued, &words.ready, &words.posting] {
            if !word.is_empty() && self.has_label(word) {
                open.push(self.catalog.literal(word)?);
            }
        }
        self.names.set("open_words", open.join(", "));
        let mut waiting = Vec::new();
        for word in [&words.queued, &words.ready] {
            if !word.is_empty() && self.has_label(word) {
                waiting.push(self.catalog.literal(word)?);
            }
        }
        self.names.set("waiting_words", waiting.join(", "));
        Ok(())
    }

    fn times(&mut self) -> Result<(ClaimSource, bool, bool), Error> {
        let posts = &self.settings.posts;
        let zone = self.catalog.literal(&posts.timezone)?;
        let relation = self.relation;
        let time = |name: &str| relation.column(name).filter(|column| column.may_select && is_time(column));
        let expression =
            |column: Option<&Column>| column.map_or_else(|| "NULL::timestamptz".into(), |c| instant("p", c, zone));
        let updated = time(&posts.updated_at);
        let created = time(&posts.created_at);
        let posted = time(&posts.posted_at);
        let claimed = posts.claimed_at.iter().find_map(|name| time(name));
        let claim = match (claimed, created) {
            (Some(column), _) if Some(&column.name) == updated.map(|u| &u.name) => {
                ClaimSource::Updated(column.name.clone())
            }
            (Some(column), _) => ClaimSource::Claim(column.name.clone()),
            (None, Some(column)) => ClaimSource::Created(column.name.clone()),
            (None, None) => ClaimSource::None,
        };
        match &claim {
            ClaimSource::Created(column) => self.warnings.push(format!(
                "no column tells when a post was claimed ({}): its age is measured from {column}, so a post that was \
                 planned long ago may look stuck",
                posts.claimed_at.join(", ")
            )),
            ClaimSource::None => {
                self.warnings
                    .push("no column tells when a post was claimed or created: stuck posts cannot be found".into());
            }
            ClaimSource::Claim(_) | ClaimSource::Updated(_) => {}
        }
        let mut names = std::mem::take(&mut self.names);
        names.set("claimed_at", expression(claimed.or(created)));
        names.set("created_at", expression(created));
        names.set("scheduled_at", expression(time(&posts.scheduled_at)));
        names.set("posted_at", expression(posted));
        names.set("posted_at_column", posted.map_or_else(|| "posted_at".into(), |c| c.quoted.clone()));
        names.set(
            "silence_then",
            posted.map_or_else(|| "t.at".into(), |column| now_as(column, zone).replace("now()", "t.at")),
        );
        names.set("attempts", "NULL::bigint");
        names.set("posted_at_now", posted.map_or_else(|| "now()".into(), |c| now_as(c, zone)));
        names.set("changed_at", expression(updated));
        match posted.filter(|column| column.may_update) {
            Some(column) => {
                let value = match column.base_type.as_str() {
                    "timestamp with time zone" => "coalesce(k.posted_at, now())".to_owned(),
                    other => format!("(coalesce(k.posted_at, now()) AT TIME ZONE {zone})::{other}"),
                };
                let name = self.catalog.literal(&posts.posted_at)?;
                names.set("set_posted_at", format!(", {0} = coalesce(p.{0}, {value})", column.quoted));
                names.set("posted_at_json", format!(", {name}, p.{}", column.quoted));
            }
            None => {
                names.set("set_posted_at", "");
                names.set("posted_at_json", "");
            }
        }
        names.set(
            "set_external_id",
            format!(
                ", {0} = coalesce(k.external_id::{1}, p.{0})",
                names.get("external_id").unwrap_or_default().to_owned(),
                names.get("external_id_type").unwrap_or_default().to_owned()
            ),
        );
        // The journal holds the columns that healer writes: the claim time only where the last change is the claim.
        let key = match &claim {
            ClaimSource::Updated(_) => self.catalog.literal(&posts.updated_at)?,
            _ => "NULL::text",
        };
        names.set("claim_key", key);
        match updated.filter(|column| column.may_update) {
            Some(column) => {
                let name = self.catalog.literal(&posts.updated_at)?;
                names.set("touch", format!(", {} = {}", column.quoted, now_as(column, zone)));
                names.set("touch_json", format!(", {name}, p.{}", column.quoted));
            }
            None => {
                self.warnings.push(format!(
                    "column {}.{} is missing or cannot be written: when healer changed a post is not written into the row",
                    posts.table, posts.updated_at
                ));
                names.set("touch", "");
                names.set("touch_json", "");
            }
        }
        for column in [&posts.posted_at, &posts.created_at, &posts.scheduled_at, &posts.updated_at] {
            if let Some(column) = self.optional(column).filter(|c| c.base_type == "timestamp without time zone") {
                self.warnings.push(format!(
                    "column {}.{} is a timestamp without zone: read as {}",
                    posts.table, column.name, posts.timezone
                ));
            }
        }
        self.names = names;
        self.undo_columns()?;
        Ok((claim, posted.is_some(), updated.is_some()))
    }

    /// What `undo` compares and restores: the columns that healer writes.
    fn undo_columns(&mut self) -> Result<(), Error> {
        let posts = &self.settings.posts;
        let mut holds = Vec::new();
        let mut restore = Vec::new();
        let mut json = Vec::new();
        for name in [&posts.status, &posts.external_id, &posts.posted_at, &posts.updated_at, &posts.error_message] {
            let Some(column) = self.optional(name).filter(|column| column.may_update) else { continue };
            let key = self.catalog.literal(name)?;
            let (quoted, of_type) = (&column.quoted, &column.r#type);
            holds.push(format!(
                "(NOT a.after ? {key} OR p.{quoted} IS NOT DISTINCT FROM (a.after ->> {key})::{of_type})"
            ));
            restore.push(format!(
                "{quoted} = CASE WHEN a.before ? {key} THEN (a.before ->> {key})::{of_type} ELSE p.{quoted} END"
            ));
            json.push(format!("{key}, p.{quoted}"));
        }
        if restore.is_empty() {
            // The role may change nothing: undo is refused before it comes to this statement.
            restore.push(format!("{0} = p.{0}", self.names.get("status").unwrap_or_default()));
        }
        let holds = if holds.is_empty() { "false".to_owned() } else { holds.join(" AND ") };
        self.names.set("still_holds", holds);
        self.names.set("restore", restore.join(", "));
        self.names.set("restored_json", format!("jsonb_build_object({})", json.join(", ")));
        Ok(())
    }

    fn optional_columns(&mut self) -> Result<(), Error> {
        let posts = &self.settings.posts;
        let of = |expression: Option<String>, otherwise: &str| expression.unwrap_or_else(|| otherwise.to_owned());
        // It may hold the proof that a post was sent: not to see it is not the same as seeing that there is none.
        if let Some(column) = self.relation.column(&posts.features).filter(|column| !column.may_select) {
            return Err(Error::Permission {
                message: format!("role {} may not read {}.{}", self.catalog.server.role, posts.table, posts.features),
                hint: format!(
                    "GRANT SELECT ({}) ON {} TO \"{}\";",
                    column.quoted, self.relation.quoted, self.catalog.server.role
                ),
            });
        }
        let kind = self.optional(&posts.r#type).map(|c| format!("p.{}::text", c.quoted));
        let features = self.reading(&posts.features).filter(|(c, _)| is_json(c)).map(|(_, read)| read);
        let parts = self.reading(&posts.thread_parts).filter(|(c, _)| is_json(c)).map(|(_, read)| {
            format!(
                "CASE WHEN jsonb_typeof({read}::jsonb) = 'array' THEN jsonb_array_length({read}::jsonb)::bigint END"
            )
        });
        let thread_ids = self.reading(&posts.thread_ids).map(|(_, read)| format!("left({read}::text, 10000)"));
        let is_text = |column: &Column| matches!(column.base_type.as_str(), "text" | "character varying");
        let error = self.optional(&posts.error_message).filter(|column| is_text(column));
        let error_text = self.reading(&posts.error_message).filter(|(column, _)| is_text(column)).map(|(_, read)| read);
        let last_error = match (error_text, &features) {
            (Some(error), Some(features)) => {
                Some(format!("concat_ws(' ', {error}, {features}::jsonb ->> 'last_error')"))
            }
            (Some(error), None) => Some(format!("{error}::text")),
            (None, Some(features)) => Some(format!("{features}::jsonb ->> 'last_error'")),
            (None, None) => None,
        };
        if last_error.is_none() {
            self.warnings.push(format!(
                "no column tells why a post failed ({}): whether a failure came after the submit cannot be told",
                posts.error_message
            ));
        }
        let flag = features.as_ref().map(|read| {
            let is_set = |mark: &str| format!("{read}::jsonb ->> '{mark}' = 'true'");
            format!(
                "CASE WHEN {} THEN 'receipt_write_failed' WHEN {} THEN 'needs_reconciliation' END",
                is_set("receipt_write_failed"),
                is_set("needs_reconciliation")
            )
        });
        self.names.set("flag", of(flag, "NULL::text"));
        self.names.set("type", of(kind, "NULL::text"));
        self.names.set("parts", of(parts, "NULL::bigint"));
        self.names.set("thread_ids", of(thread_ids, "NULL::text"));
        self.names.set("orphan", of(features.map(|read| format!("{read}::jsonb ->> 'tweet_id_orphan'")), "NULL::text"));
        self.names.set("last_error", of(last_error, "NULL::text"));
        self.marks();
        match error.filter(|column| column.may_update) {
            Some(column) => {
                let name = self.catalog.literal(&posts.error_message)?;
                self.names.set("set_error", format!(", {} = k.reason", column.quoted));
                self.names.set("error_json", format!(", {name}, p.{}", column.quoted));
            }
            None => {
                self.names.set("set_error", "");
                self.names.set("error_json", "");
            }
        }
        Ok(())
    }

    fn limits(&mut self) -> Result<(), Error> {
        use std::fmt::Write as _;
        let heal = &self.settings.heal;
        let stuck = &heal.stuck_posts;
        let mut limit = interval(stuck.limit);
        let kind = self.names.get("type").unwrap_or("NULL::text").to_owned();
        if !stuck.limits.is_empty() {
            let mut cases = format!("(CASE {kind}");
            for (word, span) in &stuck.limits {
                let _ = write!(cases, " WHEN {} THEN {}", self.catalog.literal(word)?, interval(*span));
            }
            let _ = write!(cases, " ELSE {limit} END)");
            limit = cases;
        }
        self.names.set("limit", limit);
        self.names.set("window", interval(heal.missing_ids.window));
        self.names.set("after", interval(heal.old_failed.after));
        self.names.set("rescue_window", interval(stuck.rescue_window));
        self.names.set("browser_window", interval(heal.browser_queue.window));
        self.names.set("breaker_window", interval(heal.circuit_breaker.window));
        Ok(())
    }

    /// What is known of the jobs' history, and the words that jobs write.
    fn jobs(&mut self) {
        let history = if self.catalog.schema_readable() {
            statement::JOB_HISTORY.fill(&self.names).sql().trim_end().to_owned()
        } else {
            "SELECT NULL::bigint AS interval_s, NULL::bigint AS runs".to_owned()
        };
        let quoted = |words: &[&str]| words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ");
        self.names.set("job_history", history);
        self.names.set("own_jobs", quoted(&OWN_JOBS));
        self.names.set("success_words", quoted(SUCCESS_WORDS));
        self.names.set("failure_words", quoted(FAILURE_WORDS));
    }

    /// What observes the system reads signals and events, as far as each can be read.
    fn observations(&mut self, events: Option<&Relation>) {
        let with_schema = self.catalog.schema_readable();
        let with_events = events.is_some_and(Relation::readable);
        let before = "(SELECT s.value FROM healer.setting s WHERE s.name = 'database_counters')";
        self.names.set("database_before", if with_schema { before } else { "NULL::jsonb" });
        for (placeholder, signals, told) in OBSERVATIONS {
            let mut branches = Vec::new();
            if with_schema {
                branches.push(signals.fill(&self.names).sql().to_owned());
            }
            if with_events {
                branches.push(told.fill(&self.names).sql().to_owned());
            }
            let nothing =
                "SELECT ''::text AS source, ''::text AS kind, 0::bigint AS age_s, NULL::jsonb AS data WHERE false";
            let sql = if branches.is_empty() { nothing.to_owned() } else { branches.join("UNION ALL\n") };
            self.names.set(placeholder, sql);
        }
    }

    fn events(&mut self) -> Result<Option<Relation>, Error> {
        let settings = &self.settings.events;
        let Some(relation) = self.catalog.relation(&settings.table) else {
            self.warnings.push(format!("table {} is missing: no events are read or written", settings.table));
            return Ok(None);
        };
        let json = relation.first_column(&settings.json).filter(|c| is_json(c));
        let (Some(json), Some(_)) = (json, relation.column("event_type")) else {
            self.warnings.push(format!(
                "table {} has no column event_type or no JSON column ({}): no events are read or written",
                settings.table,
                settings.json.join(", ")
            ));
            return Ok(None);
        };
        let zone = self.catalog.literal(&self.settings.posts.timezone)?;
        let Some(created) = relation.column("created_at").filter(|c| is_time(c)) else {
            self.warnings.push(format!("table {} has no column created_at: its events are not read", settings.table));
            return Ok(None);
        };
        self.names.set("events", relation.quoted.clone());
        self.names.set("events_json", json.quoted.clone());
        self.names.set("events_json_type", json.base_type.clone());
        // A uuid of a post is read in lower case; a document may have it in capitals.
        let decision = format!("r.{}::jsonb ->> 'decision_id'", json.quoted);
        let is_uuid = self.names.get("id_type") == Some("uuid");
        self.names.set("events_post", if is_uuid { format!("lower({decision})") } else { decision });
        self.names.set("events_at", instant("r", created, zone));
        self.names.set("events_at_column", created.quoted.clone());
        self.names.set("events_at_now", now_as(created, zone));
        let since = match created.base_type.as_str() {
            "timestamp with time zone" => "$2::timestamptz".to_owned(),
            other => format!("($2::timestamptz AT TIME ZONE {zone})::{other}"),
        };
        self.names.set("events_since", since.clone());
        self.names.set("events_since_change", since.replace("$2", "$7"));
        let (mut columns, mut values) = (String::new(), String::new());
        for (name, value) in [("severity", "$3::text"), ("component", "'healer'"), ("message", "$4::text")] {
            if let Some(column) = relation.column(name).filter(|c| !c.generated) {
                columns.push_str(", ");
                columns.push_str(&column.quoted);
                values.push_str(", ");
                values.push_str(value);
                if column.kind == "e" {
                    values.push_str("::");
                    values.push_str(&column.r#type);
                }
            }
        }
        self.names.set("event_columns", columns);
        self.names.set("event_values", values);
        Ok(Some(relation.clone()))
    }

    fn heartbeats(&mut self) -> (Option<Relation>, bool) {
        let table = &self.settings.heartbeats.table;
        let Some(relation) = self.catalog.relation(table) else { return (None, false) };
        let has = |names: &[&str]| names.iter().all(|name| relation.column(name).is_some());
        let one_row = relation.unique_columns.iter().any(|column| column == "job_name")
            && has(&[
                "job_name",
                "last_success",
                "last_failure",
                "last_run_status",
                "last_error",
                "consecutive_failures",
                "updated_at",
            ]);
        let history = !one_row && has(&["job_name", "status", "execution_time_ms", "created_at"]);
        if !one_row && !history {
            self.warnings.push(format!("table {table} has neither of the known shapes: healer keeps no line in it"));
            return (None, false);
        }
        self.names.set("heartbeats", relation.quoted.clone());
        (Some(relation.clone()), history)
    }
}
