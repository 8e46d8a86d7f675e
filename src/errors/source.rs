//! The sources of errors: which exist, which can be read, and reading them all at once in the order of time.
//!
//! Each source is one cursor; the rows of all are merged as they come, so that no more than a few chunks are held,
//! whatever the number of errors. Nothing is written.

use std::collections::VecDeque;

use chrono::{DateTime, SecondsFormat, Utc};

use super::fingerprint::Severity;
use super::gather::{Source, Telling};
use super::recovery::{Facts, Failure, Fate, Successes};
use super::tally::Span;
use super::timeline::{Kind, Marker};
use crate::database::catalog::{Catalog, Column, Relation};
use crate::database::session::{Access, Row, Session};
use crate::database::statement::{self, Names, Statement, Template};
use crate::error::Error;
use crate::posts::mapping::{self, Mapping};
use crate::settings::Settings;

/// Rows of the first FETCH; later ones follow what the rows weigh.
const FIRST_CHUNK: usize = 250;
/// Most rows of one FETCH.
const MAX_CHUNK: usize = 4_000;
/// Bytes of text that a chunk should have at most. Six sources may hold one each, and the driver has it twice.
const CHUNK_BYTES: usize = 1 << 20;

/// What can be had of a source.
#[derive(Debug, Clone)]
pub enum State {
    /// It is read, by this statement.
    Ready(Statement),
    /// It does not exist here, or says nothing of errors.
    Absent(String),
    /// It exists and cannot be read: why, and the exit code that this means.
    Unreadable(String, u8),
}

/// A source and what can be had of it.
#[derive(Debug, Clone)]
pub struct Found {
    /// Which.
    pub source: Source,
    /// What can be had.
    pub state: State,
    /// Rows that it gave.
    pub rows: u64,
}

/// All sources of a database, with what ends of errors and what happened beside them.
#[derive(Debug, Clone)]
pub struct Sources {
    /// One for each of [`Source::ALL`].
    pub found: Vec<Found>,
    successes: Option<Statement>,
    breaker: Option<Statement>,
    markers: Option<Statement>,
    without_time: Option<Statement>,
    complete_runs: bool,
}

/// A source that failed while it was read.
#[derive(Debug)]
pub struct Failed {
    /// Which; `None` for what is read beside them.
    pub source: Option<Source>,
    /// Why.
    pub error: Error,
}

fn literal(ms: i64) -> String {
    let time = DateTime::<Utc>::from_timestamp_millis(ms).unwrap_or(DateTime::<Utc>::UNIX_EPOCH);
    format!("'{}'::timestamptz", time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// Milliseconds since 1970.
pub fn ms(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
}

/// A JSON column, made fit to be taken apart. `jsonb` always is. In `json` there may be what no text
/// holds (`\u0000`, half a surrogate pair, characters that the server's encoding lacks): one such row would fail the whole
/// statement, so these escapes are read as a question mark.
fn document(alias: &str, column: &Column, encoding: &str) -> String {
    let read = format!("{alias}.{}", column.quoted);
    if column.base_type == "jsonb" {
        return read;
    }
    let odd = if encoding == "UTF8" { "0000|[dD][89a-fA-F][0-9a-fA-F]{2}" } else { "[0-9a-fA-F]{4}" };
    format!(r"regexp_replace({read}::text, '\\u({odd})', '\\u003f', 'g')::json")
}

struct Build<'a> {
    settings: &'a Settings,
    catalog: &'a Catalog,
    mapping: &'a Mapping,
    names: Names,
}

impl Sources {
    /// Finds them.
    pub fn find(settings: &Settings, catalog: &Catalog, mapping: &Mapping, span: &Span) -> Result<Self, Error> {
        let mut names = mapping.names.clone();
        names.set("errors_since", literal(span.since));
        names.set("errors_until", literal(span.end));
        let posted = format!(
            "p.{}::text = {}",
            names.get("status").unwrap_or_default(),
            names.get("posted").unwrap_or_default()
        );
        names.set("errors_posted", posted);
        let id = mapping.posts.column(&settings.posts.id);
        names.set("errors_post_match", id.map_or_else(|| "NULL".into(), |id| mapping::key_as("e.post", id)));
        let mut build = Build { settings, catalog, mapping, names };
        let events = build.events(span);
        let heartbeats = build.heartbeats();
        let job_runs = build.job_runs();
        let attempts = [
            (Source::PostingAttempts, build.attempts(&settings.ledgers.posting_attempts, false)?),
            (Source::PostAttempts, build.attempts(&settings.ledgers.post_attempts, true)?),
        ];
        let posts = build.posts();
        let events_ready = matches!(events, State::Ready(_));
        let with_schema = catalog.schema_readable();
        let names = &build.names;
        let mut successes = Vec::new();
        let heartbeats_ready = matches!(heartbeats, State::Ready(_));
        if heartbeats_ready {
            successes.push(if mapping.heartbeats_history {
                statement::ERRORS_JOB_SUCCESSES_HISTORY
            } else {
                statement::ERRORS_JOB_LAST_SUCCESS
            });
        }
        if with_schema && !mapping.heartbeats_history {
            successes.push(statement::ERRORS_JOB_SUCCESSES_NOTED);
        }
        let (mut moves, mut markers) = (Vec::new(), Vec::new());
        if with_schema {
            moves.push(statement::ERRORS_BREAKER_MOVES_SIGNALS);
            markers.push(statement::ERRORS_MARKERS_HEALER);
        }
        if events_ready {
            moves.push(statement::ERRORS_BREAKER_MOVES_EVENTS);
            markers.push(statement::ERRORS_MARKERS_EVENTS);
        }
        let union = |template: Template, placeholder: &'static str, branches: &[Template]| {
            let sql: Vec<String> = branches.iter().map(|branch| branch.fill(names).sql().to_owned()).collect();
            (!sql.is_empty()).then(|| template.fill(&names.with(placeholder, sql.join("UNION ALL\n"))))
        };
        Ok(Self {
            successes: union(statement::ERRORS_JOB_SUCCESSES, "success_branches", &successes),
            breaker: union(statement::ERRORS_BREAKER_MOVES, "breaker_move_branches", &moves),
            markers: union(statement::ERRORS_MARKERS, "marker_branches", &markers),
            without_time: events_ready.then(|| statement::ERRORS_EVENTS_WITHOUT_TIME.fill(names)),
            complete_runs: mapping.heartbeats_history,
            found: [(Source::Events, events), (Source::Heartbeats, heartbeats), (Source::JobRuns, job_runs)]
                .into_iter()
                .chain(attempts)
                .chain([(Source::Posts, posts)])
                .map(|(source, state)| Found { source, state, rows: 0 })
                .collect(),
        })
    }

    /// Sets a source aside that failed while it was read.
    pub fn set_aside(&mut self, source: Source, error: &Error) {
        for found in &mut self.found {
            if found.source == source {
                let code = error.exit_code();
                let code = if matches!(code, 75 | 77 | 78) { code } else { 3 };
                found.state = State::Unreadable(error.to_string(), code);
            }
        }
    }

    /// Whether any source can be read.
    pub fn any(&self) -> bool {
        self.found.iter().any(|found| matches!(found.state, State::Ready(_)))
    }

    /// What errors end with: the jobs' successes and the moves of the breaker.
    pub fn facts(&self, session: &mut Session) -> Result<Facts, Failed> {
        let failed = |error| Failed { source: None, error };
        let mut facts = Facts::default();
        session.read().map_err(failed)?;
        if let Some(statement) = &self.successes {
            for row in session.rows(statement, &[]).map_err(failed)? {
                self.success(&mut facts, &row).map_err(failed)?;
            }
            for successes in facts.jobs.values_mut() {
                successes.each.sort_unstable();
            }
        }
        if let Some(statement) = &self.breaker {
            for row in session.rows(statement, &[]).map_err(failed)? {
                let moved = (ms(row.time("at").map_err(failed)?), row.bool("open").map_err(failed)?);
                facts.breaker.push(moved);
            }
            facts.breaker.sort_unstable();
        }
        Ok(facts)
    }

    fn success(&self, facts: &mut Facts, row: &Row) -> Result<(), Error> {
        let Some(job) = row.optional_text("job")? else { return Ok(()) };
        let successes =
            facts.jobs.entry(job).or_insert_with(|| Successes { complete: self.complete_runs, ..Successes::default() });
        if let Some(at) = row.optional_time("at")?.map(ms) {
            if row.bool("each")? {
                successes.each.push(at);
            } else {
                successes.last = successes.last.max(Some(at));
            }
        }
        Ok(())
    }

    /// What happened that errors may come from, ascending: deployments, settings, healing runs, and the breaker.
    pub fn markers(&self, session: &mut Session, facts: &Facts) -> Result<Vec<Marker>, Failed> {
        let failed = |error| Failed { source: None, error };
        let mut markers: Vec<Marker> = facts
            .breaker
            .iter()
            .map(|&(at, open)| Marker {
                at,
                kind: if open { Kind::BreakerOpened } else { Kind::BreakerClosed },
                title: if open { "the circuit breaker opened".into() } else { "the circuit breaker closed".into() },
            })
            .collect();
        if let Some(statement) = &self.markers {
            session.read().map_err(failed)?;
            for row in session.rows(statement, &[]).map_err(failed)? {
                let Some(at) = row.optional_time("at").map_err(failed)? else { continue };
                let kind = match row.text("kind").map_err(failed)?.as_str() {
                    "deploy" => Kind::Deploy,
                    "healing" => Kind::Healing,
                    _ => Kind::Setting,
                };
                let title = row.optional_text("title").map_err(failed)?.unwrap_or_default();
                markers.push(Marker { at: ms(at), kind, title: super::secrets::example(&title) });
            }
        }
        markers.sort_by_key(|marker| marker.at);
        Ok(markers)
    }

    /// Errors of the event table without a time: `(how many, whether there are more)`.
    pub fn without_time(&self, session: &mut Session) -> Result<(u64, bool), Error> {
        let Some(statement) = &self.without_time else { return Ok((0, false)) };
        session.read()?;
        let errors = u64::try_from(session.row(statement, &[])?.int("errors")?).unwrap_or(0);
        Ok((errors.min(1_000), errors > 1_000))
    }

    /// Reads all sources in the order of time.
    pub fn read(&mut self, session: &mut Session, facts: &Facts, mut each: impl FnMut(Telling)) -> Result<(), Failed> {
        session.begin(Access::ReadOnly, "").map_err(|error| Failed { source: None, error })?;
        let mut streams: Vec<Stream> = Vec::new();
        for found in &mut self.found {
            found.rows = 0;
            let State::Ready(statement) = &found.state else { continue };
            let failed = |error| Failed { source: Some(found.source), error };
            let cursor = format!("errors_{}", found.source.name());
            let declare = format!("DECLARE {cursor} NO SCROLL CURSOR FOR {}", statement.sql());
            session.batch(statement.name(), &declare).map_err(failed)?;
            streams.push(Stream {
                source: found.source,
                statement: statement.name(),
                cursor,
                buffer: VecDeque::new(),
                chunk: FIRST_CHUNK,
                ended: false,
                rows: 0,
            });
        }
        loop {
            for stream in &mut streams {
                stream.fill(session, facts).map_err(|error| Failed { source: Some(stream.source), error })?;
            }
            // Few streams: looking at each is quicker than a heap.
            let next = streams
                .iter_mut()
                .filter(|stream| !stream.buffer.is_empty())
                .min_by_key(|stream| stream.buffer.front().map_or(i64::MAX, |telling| telling.at));
            let Some(telling) = next.and_then(|stream| stream.buffer.pop_front()) else { break };
            each(telling);
        }
        for stream in streams {
            if let Some(found) = self.found.iter_mut().find(|found| found.source == stream.source) {
                found.rows = stream.rows;
            }
        }
        Ok(())
    }
}

struct Stream {
    source: Source,
    statement: &'static str,
    cursor: String,
    buffer: VecDeque<Telling>,
    chunk: usize,
    ended: bool,
    rows: u64,
}

impl Stream {
    fn fill(&mut self, session: &mut Session, facts: &Facts) -> Result<(), Error> {
        if self.ended || !self.buffer.is_empty() {
            return Ok(());
        }
        session.check_stop()?;
        let fetch = Statement::fixed(self.statement, format!("FETCH {} FROM {}", self.chunk, self.cursor));
        let rows = session.rows(&fetch, &[])?;
        self.ended = rows.len() < self.chunk;
        self.rows += rows.len() as u64;
        let mut bytes = 0;
        for row in &rows {
            let telling = telling(self.source, row, facts)?;
            // What the row weighs beside its message: its other texts, and itself.
            bytes += telling.message.len() + 512;
            self.buffer.push_back(telling);
        }
        if bytes < CHUNK_BYTES / 2 {
            self.chunk = (self.chunk * 2).min(MAX_CHUNK);
        } else if bytes > CHUNK_BYTES {
            self.chunk = (self.chunk / 2).max(16);
        }
        Ok(())
    }
}

fn telling(source: Source, row: &Row, facts: &Facts) -> Result<Telling, Error> {
    let at = ms(row.time("at")?);
    let voice = row.optional_text("kind")?.unwrap_or_default();
    let component = row.optional_text("component")?;
    let post = row.optional_text("post")?.filter(|post| !post.is_empty());
    let job = row.optional_text("job")?.filter(|job| !job.is_empty()).or_else(|| {
        // A component of an event that is the name of a job is that job.
        component.clone().filter(|component| source == Source::Events && facts.jobs.contains_key(component))
    });
    let message = row.optional_text("message")?.unwrap_or_default();
    let fate = row.bool("post_found")?.then_some(Fate {
        posted: row.optional_bool("posted")?.unwrap_or(false),
        posted_at: row.optional_time("posted_at")?.map(ms),
    });
    let recovered = row.optional_text("recovered")?;
    let recovery_ms = row.optional_text("recovery_ms")?;
    let breaker = source == Source::Events && tells_of_breaker(&voice, &message);
    let ending = facts.ending(&Failure {
        at,
        source,
        recovered: recovered.as_deref(),
        recovery_ms: recovery_ms.as_deref(),
        post: fate,
        job: job.as_deref(),
        breaker,
    });
    Ok(Telling {
        source,
        voice,
        at,
        severity: severity(row.optional_text("severity")?.as_deref()),
        component,
        class: row.optional_text("class")?,
        sqlstate: row.optional_text("sqlstate")?.filter(|code| code.len() == 5),
        http: row.optional_text("http")?.and_then(|code| code.parse().ok()).filter(|code| (100..600).contains(code)),
        message,
        post,
        job,
        ending,
    })
}

fn severity(word: Option<&str>) -> Severity {
    match word.unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "info" | "debug" | "notice" => Severity::Info,
        "warning" | "warn" => Severity::Warning,
        "critical" | "fatal" | "panic" => Severity::Critical,
        _ => Severity::Error,
    }
}

fn tells_of_breaker(voice: &str, message: &str) -> bool {
    voice.contains("circuit_breaker")
        || (voice == "POSTING_QUEUE_BLOCKED" && message.to_ascii_lowercase().contains("circuit"))
}

impl Build<'_> {
    fn unreadable(&self, relation: &Relation) -> Option<State> {
        if relation.row_security {
            return Some(State::Unreadable("row-level security hides its rows".into(), 77));
        }
        if !relation.may_select || !relation.schema_usage {
            let role = &self.catalog.server.role;
            return Some(State::Unreadable(format!("role {role} may not read {}", relation.quoted), 77));
        }
        None
    }

    fn events(&mut self, span: &Span) -> State {
        let Some(relation) = &self.mapping.events else {
            return State::Absent(format!("no table {} of a known shape", self.settings.events.table));
        };
        if let Some(state) = self.unreadable(relation) {
            return state;
        }
        let readable = |name: &str| relation.column(name).filter(|column| column.may_select);
        let json = relation.first_column(&self.settings.events.json);
        let (Some(json), Some(_), Some(_)) =
            (json.filter(|column| column.may_select), readable("event_type"), readable("created_at"))
        else {
            let role = &self.catalog.server.role;
            return State::Unreadable(format!("role {role} may not read the columns of {}", relation.quoted), 77);
        };
        let text = |name: &str| readable(name).map(|column| format!("r.{}::text", column.quoted));
        let names = &mut self.names;
        names.set("errors_document", document("r", json, &self.catalog.server.encoding));
        let severity = text("severity").map_or_else(|| "NULL::text".into(), |read| format!("lower({read})"));
        names.set("errors_severity", severity);
        names.set("errors_component", text("component").unwrap_or_else(|| "NULL::text".into()));
        names.set("errors_message", text("message").unwrap_or_else(|| "NULL::text".into()));
        let as_column = |at: i64| names.get("events_at_now").unwrap_or("now()").replace("now()", &literal(at));
        let (since, until) = (as_column(span.since), as_column(span.end));
        names.set("errors_events_since", since);
        names.set("errors_events_until", until);
        State::Ready(statement::ERRORS_EVENTS.fill(names))
    }

    fn heartbeats(&mut self) -> State {
        let Some(relation) = &self.mapping.heartbeats else {
            return State::Absent(format!("no table {} of a known shape", self.settings.heartbeats.table));
        };
        if let Some(state) = self.unreadable(relation) {
            return state;
        }
        let text = ["last_error", "error_message", "error"]
            .iter()
            .find_map(|name| relation.column(name))
            .filter(|column| column.may_select)
            .map_or_else(|| "NULL::text".to_owned(), |column| format!("r.{}::text", column.quoted));
        self.names.set("errors_run_text", text);
        let template = if self.mapping.heartbeats_history {
            statement::ERRORS_HEARTBEATS_HISTORY
        } else {
            statement::ERRORS_HEARTBEATS
        };
        State::Ready(template.fill(&self.names))
    }

    fn job_runs(&self) -> State {
        if self.mapping.heartbeats_history {
            return State::Absent("the heartbeats keep every run themselves".into());
        }
        if !self.catalog.schema_readable() {
            return State::Absent("the schema healer notes none yet".into());
        }
        State::Ready(statement::ERRORS_JOB_RUNS.fill(&self.names))
    }

    fn attempts(&self, table: &str, with_outcome: bool) -> Result<State, Error> {
        let Some(relation) = self.catalog.relation(table) else {
            return Ok(State::Absent("no such table".into()));
        };
        if let Some(state) = self.unreadable(relation) {
            return Ok(state);
        }
        let zone = self.catalog.literal(&self.settings.posts.timezone)?;
        let column = |candidates: &[&str]| {
            candidates.iter().find_map(|name| relation.column(name)).filter(|column| column.may_select)
        };
        let Some(post) = column(&["decision_id", "post_id"]) else {
            return Ok(State::Absent("it has no column decision_id".into()));
        };
        let times: Vec<String> = ["used_at", "approved_at", "created_at", "attempted_at"]
            .iter()
            .filter_map(|name| column(&[name]).filter(|column| mapping::is_time(column)))
            .map(|column| mapping::instant("r", column, zone))
            .collect();
        if times.is_empty() {
            return Ok(State::Absent("it has no column with a time".into()));
        }
        let text = column(&["error_message", "error"]).map(|column| format!("r.{}::text", column.quoted));
        let mut failed = Vec::new();
        if let Some(status) = column(&["status"]) {
            failed.push(format!("lower(r.{}::text) IN ('failed', 'failure', 'error')", status.quoted));
        }
        if let Some(success) =
            column(&["posting_success", "success"]).filter(|column| with_outcome && column.base_type == "boolean")
        {
            failed.push(format!("r.{} IS FALSE", success.quoted));
        }
        if failed.is_empty() {
            return Ok(State::Absent("it has no column with an outcome".into()));
        }
        let names = self
            .names
            .with("attempts", relation.quoted.clone())
            .with("attempts_post", format!("r.{}::text", post.quoted))
            .with("attempts_at", format!("greatest({})", times.join(", ")))
            .with("attempts_failed", format!("({})", failed.join(" OR ")))
            .with("attempts_text", text.unwrap_or_else(|| "NULL::text".into()));
        Ok(State::Ready(statement::ERRORS_ATTEMPTS.fill(&names)))
    }

    fn posts(&mut self) -> State {
        let settings = &self.settings.posts;
        let relation = &self.mapping.posts;
        let is_text = |column: &&Column| matches!(column.base_type.as_str(), "text" | "character varying" | "bpchar");
        let readable = |columns: &'_ [Column], name: &str| {
            columns.iter().find(|column| column.name == name && column.may_select).cloned()
        };
        let mut below = String::new();
        let own = readable(&relation.columns, &settings.error_message).filter(|column| is_text(&column));
        let text = own.map(|column| format!("p.{}", column.quoted)).or_else(|| {
            let hidden =
                readable(&relation.hidden_columns, &settings.error_message).filter(|column| is_text(&column))?;
            let id = readable(&relation.hidden_columns, &settings.id)?;
            below = format!(
                " LEFT JOIN {} b ON b.{} = p.{}",
                relation.base,
                id.quoted,
                self.names.get("id").unwrap_or_default()
            );
            Some(format!("b.{}", hidden.quoted))
        });
        let features = readable(&relation.columns, &settings.features)
            .filter(|column| matches!(column.base_type.as_str(), "json" | "jsonb"))
            .map(|column| document("p", &column, &self.catalog.server.encoding));
        if text.is_none() && features.is_none() {
            return State::Absent(format!(
                "neither {} nor {} tells why a post failed",
                settings.error_message, settings.features
            ));
        }
        if !self.mapping.has_changed_at && self.names.get("created_at") == Some("NULL::timestamptz") {
            return State::Absent("no column tells when a post failed".into());
        }
        let null = || "NULL::text".to_owned();
        let of = |key: &str| features.as_ref().map_or_else(null, |read| format!("({read} ->> '{key}')"));
        let (feature, attempt) = (of("last_error"), of("last_attempt"));
        self.names.set("errors_text", text.map_or_else(null, |read| format!("{read}::text")));
        self.names.set("errors_feature", feature);
        self.names.set("errors_attempt", attempt);
        self.names.set("errors_below", below);
        State::Ready(statement::ERRORS_POSTS.fill(&self.names))
    }
}
