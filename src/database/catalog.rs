//! What the database looks like: read once, never assumed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::session::{Access, Param, Row, Session};
use super::statement::{self, Names};
use crate::error::Error;

/// The version of the schema `healer` that this binary writes.
pub const SCHEMA_VERSION: u32 = 3;

/// The server and what it allows this role.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is one fact of the server, asked for by name")]
pub struct Server {
    /// `server_version_num`, for example 150018.
    pub version: i64,
    /// `server_version`.
    pub version_text: String,
    /// Whether it is a standby.
    pub standby: bool,
    /// Whether `default_transaction_read_only` is on.
    pub default_read_only: bool,
    /// The database's clock.
    pub now: DateTime<Utc>,
    /// The role.
    pub role: String,
    /// The database's name.
    pub database: String,
    /// `server_encoding`.
    pub encoding: String,
    /// The version of the schema `healer`; `None` where there is none.
    pub schema: Option<u32>,
    /// Whether the role may use and write the schema's tables.
    pub schema_write: bool,
    /// Whether the role may read the schema's tables.
    pub schema_read: bool,
    /// Whether the role may create a schema.
    pub may_create_schema: bool,
    /// Whether row-level security never applies to the role.
    pub bypass_rls: bool,
}

/// One column.
#[derive(Debug, Clone, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "each is one fact of the column")]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its name, quoted where needed.
    pub quoted: String,
    /// Its type, as `format_type` writes it.
    pub r#type: String,
    /// The type below a domain; the type itself otherwise.
    pub base_type: String,
    /// `e` for an enum, `b` for a base type, `d` for a domain.
    pub kind: String,
    /// Whether it refuses NULL.
    pub not_null: bool,
    /// Whether its value is generated and cannot be written.
    pub generated: bool,
    /// Whether its value is computed from other columns.
    pub computed: bool,
    /// Whether the role may read it.
    pub may_select: bool,
    /// Whether the role may change it, and the view lets it through.
    pub may_update: bool,
    /// The labels of an enum.
    pub labels: Option<Vec<String>>,
}

/// One index.
#[derive(Debug, Clone, Deserialize)]
pub struct Index {
    /// Its name, quoted and qualified where needed.
    pub name: String,
    /// False for what a failed concurrent build left behind.
    pub valid: bool,
    /// Its definition.
    pub definition: String,
    /// Its first column; `None` for an expression.
    pub first: Option<String>,
    /// The predicate of a partial index.
    pub predicate: Option<String>,
}

/// One CHECK constraint.
#[derive(Debug, Clone, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// Its name, quoted where needed.
    pub quoted: String,
    /// `CHECK (…)`.
    pub definition: String,
    /// The bare expression.
    pub expression: String,
    /// The columns it reads.
    pub columns: Option<Vec<String>>,
}

/// One trigger.
#[derive(Debug, Clone, Deserialize)]
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// Whether it fires on DELETE.
    pub on_delete: bool,
    /// Whether it fires on UPDATE.
    pub on_update: bool,
}

/// One table or view that the configuration names.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is one fact of the relation")]
pub struct Relation {
    /// The name in the configuration.
    pub name: String,
    /// Schema and name, quoted by the server.
    pub quoted: String,
    /// Schema.
    pub schema: String,
    /// Name.
    pub relation: String,
    /// `r` table, `p` partitioned table, `v` view, `m` materialised view, `f` foreign table.
    pub kind: String,
    /// The table below a view, quoted; the relation itself otherwise.
    pub base: String,
    /// The kind of the table below.
    pub base_kind: String,
    /// The planner's estimate of its rows; −1 where it was never analysed.
    pub estimated_rows: i64,
    /// Whether the role may read it.
    pub may_select: bool,
    /// Whether the role may insert.
    pub may_insert: bool,
    /// Whether the role may update.
    pub may_update: bool,
    /// Whether the role may use its schema.
    pub schema_usage: bool,
    /// Whether row-level security applies to the role.
    pub row_security: bool,
    /// Whether it can be updated at all.
    pub updatable: bool,
    /// Its columns, in their order.
    pub columns: Vec<Column>,
    /// Columns of the table below a view, some of which the view does not show; empty for a table.
    pub hidden_columns: Vec<Column>,
    /// Columns of the base table that a unique index covers alone.
    pub unique_columns: Vec<String>,
    /// Indexes of the base table.
    pub indexes: Vec<Index>,
    /// CHECK constraints of the base table.
    pub checks: Vec<Check>,
    /// Foreign keys that point to the base table: `name on table`.
    pub incoming_keys: Vec<String>,
    /// Triggers of the base table.
    pub triggers: Vec<Trigger>,
    /// The owner of the base table.
    pub owner: String,
}

impl Relation {
    /// A column by its name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The first of several columns that exists.
    pub fn first_column<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Option<&Column> {
        names.into_iter().find_map(|name| self.column(name))
    }

    /// Whether the role can read it: grant, schema, and no rows hidden.
    pub fn readable(&self) -> bool {
        self.may_select && self.schema_usage && !self.row_security
    }

    fn from_row(row: &Row) -> Result<Self, Error> {
        fn list<T: for<'de> Deserialize<'de>>(row: &Row, column: &str) -> Result<T, Error> {
            serde_json::from_value(row.json(column)?).map_err(|error| Error::Query {
                what: format!("reading the catalog ({column})"),
                sqlstate: None,
                message: error.to_string(),
                connection_lost: false,
            })
        }
        Ok(Self {
            name: row.text("name")?,
            quoted: row.text("quoted")?,
            schema: row.text("schema")?,
            relation: row.text("relation")?,
            kind: row.text("kind")?,
            base: row.text("base")?,
            base_kind: row.text("base_kind")?,
            estimated_rows: row.int("estimated_rows")?,
            may_select: row.bool("may_select")?,
            may_insert: row.bool("may_insert")?,
            may_update: row.bool("may_update")?,
            schema_usage: row.bool("schema_usage")?,
            row_security: row.bool("row_security")?,
            updatable: row.bool("updatable")?,
            columns: list(row, "columns")?,
            hidden_columns: list(row, "hidden_columns")?,
            unique_columns: list(row, "unique_columns")?,
            indexes: list(row, "indexes")?,
            checks: list(row, "checks")?,
            incoming_keys: list(row, "incoming_keys")?,
            triggers: list(row, "triggers")?,
            owner: row.text("owner")?,
        })
    }
}

/// The server, the relations that were found, and the words of the configuration as SQL literals.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// The server.
    pub server: Server,
    /// The limits that healer has learned, as they stand in `healer.setting`: names without their prefix, and JSON text.
    pub learned: BTreeMap<String, String>,
    relations: BTreeMap<String, Relation>,
    quoted: BTreeMap<String, String>,
}

impl Catalog {
    /// Reads the catalog in one transaction, which bounds how long a lock of somebody else is waited for, and makes the session keep to the role's own limits.
    ///
    /// `relations` are configured names; `words` are texts that will stand in SQL as literals.
    pub fn read(
        session: &mut Session,
        relations: &[&str],
        schema: Option<&str>,
        words: &[&str],
    ) -> Result<Self, Error> {
        let empty = Names::default();
        // Functions of the catalog open the relations they are asked about: they wait while somebody alters one.
        session.begin(Access::ReadOnly, "")?;
        let row = session.row(&statement::SERVER.fill(&empty), &[Param::Texts(words)])?;
        session.lower_limits(
            row.optional_int("role_statement_timeout_ms")?.unwrap_or(0),
            row.optional_int("role_lock_timeout_ms")?.unwrap_or(0),
        );
        let has_schema = row.bool("has_schema")?;
        let note = row.optional_text("schema_note")?.unwrap_or_default();
        let version = note.strip_prefix("healer schema ").and_then(|number| number.trim().parse().ok());
        let usage = row.bool("schema_usage")?;
        let server = Server {
            version: row.int("version")?,
            version_text: row.text("version_text")?,
            standby: row.bool("standby")?,
            default_read_only: row.bool("default_read_only")?,
            now: row.time("now")?,
            role: row.text("role")?,
            database: row.text("database")?,
            encoding: row.text("encoding")?,
            // A schema of this name without the note is somebody's, or half made: version 0, which `init` upgrades.
            schema: has_schema.then(|| version.unwrap_or(0)),
            schema_write: usage && row.bool("schema_write")?,
            schema_read: usage && row.bool("schema_read")?,
            may_create_schema: row.bool("may_create_schema")?,
            bypass_rls: row.bool("bypass_rls")?,
        };
        if server.encoding == "SQL_ASCII" {
            session.take_raw_bytes();
        }
        let mut quoted = match row.json("quoted")? {
            serde_json::Value::Object(map) => map
                .into_iter()
                .filter_map(|(word, literal)| literal.as_str().map(|literal| (word, literal.to_owned())))
                .collect(),
            _ => BTreeMap::new(),
        };
        let wanted: Vec<&str> = relations.iter().copied().filter(|name| !name.is_empty()).collect();
        let rows = session
            .rows(&statement::RELATIONS.fill(&empty), &[Param::Texts(&wanted), Param::Text(schema.unwrap_or(""))])?;
        let mut learned = BTreeMap::new();
        if server.schema == Some(SCHEMA_VERSION) && server.schema_read {
            // A failure here must not end the command: it works with what is configured.
            match session.rows(&statement::TUNING_LEARNED.fill(&empty), &[]) {
                Ok(rows) => {
                    for row in &rows {
                        learned.insert(row.text("name")?, row.text("value")?);
                        quoted.insert(row.text("word")?, row.text("literal")?);
                    }
                }
                Err(error) if error.stops_the_pass() => return Err(error),
                Err(error) => log::warn!(target: "healer", "learned limits are not known: {error}"),
            }
        }
        session.rollback();
        let mut found = BTreeMap::new();
        for row in &rows {
            let relation = Relation::from_row(row)?;
            found.insert(relation.name.clone(), relation);
        }
        Ok(Self { server, learned, relations: found, quoted })
    }

    /// A relation by its configured name.
    pub fn relation(&self, name: &str) -> Option<&Relation> {
        self.relations.get(name)
    }

    /// A word as a literal, quoted by the server.
    pub fn literal(&self, word: &str) -> Result<&str, Error> {
        self.quoted.get(word).map(String::as_str).ok_or_else(|| Error::Query {
            what: "catalog/server".into(),
            sqlstate: None,
            message: "a word of the configuration came back unquoted".into(),
            connection_lost: false,
        })
    }

    /// Whether this binary can write: the primary, with a schema `healer` of its version that the role may write.
    pub fn require_writable(&self) -> Result<(), Error> {
        if self.server.standby {
            return Err(Error::ReadOnly { reason: "it is a standby (pg_is_in_recovery)".into() });
        }
        if self.server.default_read_only {
            return Err(Error::ReadOnly { reason: "default_transaction_read_only is on".into() });
        }
        match self.server.schema {
            None => Err(Error::Schema {
                message: "the schema healer does not exist yet".into(),
                hint: "run `healer init` (or `healer init --print-sql` to review it first)".into(),
            }),
            Some(found) if found < SCHEMA_VERSION => Err(Error::Schema {
                message: format!("the schema healer is of version {found}, this healer needs {SCHEMA_VERSION}"),
                hint: "run `healer init`: it upgrades the schema and keeps its data".into(),
            }),
            Some(found) if found > SCHEMA_VERSION => Err(Error::Schema {
                message: format!("the schema healer is of version {found}, newer than this healer ({SCHEMA_VERSION})"),
                hint: "install the newer healer".into(),
            }),
            Some(_) if !self.server.schema_write => Err(Error::Permission {
                message: format!("role {} may not write the tables of the schema healer", self.server.role),
                hint: format!("{} (see sql/roles.sql)", self.grant_schema()),
            }),
            Some(_) => Ok(()),
        }
    }

    /// Whether the schema `healer` can be read: there, of this version, and granted.
    pub fn schema_readable(&self) -> bool {
        self.server.schema == Some(SCHEMA_VERSION) && self.server.schema_read
    }

    /// The GRANT that lets the role write the schema `healer`.
    pub fn grant_schema(&self) -> String {
        let role = &self.server.role;
        format!(
            "GRANT USAGE ON SCHEMA healer TO \"{role}\"; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA \
             healer TO \"{role}\";"
        )
    }
}
