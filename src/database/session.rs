//! One connection: the only place that sees the driver.
//!
//! Every statement goes as an unnamed one (works behind a pooler in transaction mode), every setting is `SET LOCAL`
//! (nothing is left on a pooled server connection), and every transaction opens with the same prelude: UTC, hidden
//! rows are an error, bounded statement and lock time. What a session was told of the server's own limits it keeps to.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use postgres::types::{FromSql, Timestamp, ToSql, Type};
use postgres::{Client, SimpleQueryMessage};

use super::statement::Statement;
use crate::error::Error;

/// A parameter of a statement, with the type it is sent as.
#[derive(Debug)]
pub enum Param<'a> {
    /// `text`
    Text(&'a str),
    /// `bigint`
    Int(i64),
    /// `boolean`
    Bool(bool),
    /// `text[]`
    Texts(&'a [&'a str]),
    /// `text[]` with NULLs
    OptionalTexts(&'a [Option<&'a str>]),
    /// `timestamptz[]` with NULLs
    Times(&'a [Option<DateTime<Utc>>]),
    /// `timestamptz`
    Time(Option<DateTime<Utc>>),
    /// `bigint[]`
    Ints(&'a [i64]),
}

impl Param<'_> {
    fn typed(&self) -> (Box<dyn ToSql + Sync + '_>, Type) {
        match self {
            Self::Text(value) => (Box::new(*value), Type::TEXT),
            Self::Int(value) => (Box::new(*value), Type::INT8),
            Self::Bool(value) => (Box::new(*value), Type::BOOL),
            Self::Texts(value) => (Box::new(*value), Type::TEXT_ARRAY),
            Self::OptionalTexts(value) => (Box::new(*value), Type::TEXT_ARRAY),
            Self::Times(value) => {
                let times: Vec<Option<Timestamp<DateTime<Utc>>>> = value.iter().map(|time| time.map(instant)).collect();
                (Box::new(times), Type::TIMESTAMPTZ_ARRAY)
            }
            Self::Time(value) => (Box::new(value.map(instant)), Type::TIMESTAMPTZ),
            Self::Ints(value) => (Box::new(*value), Type::INT8_ARRAY),
        }
    }
}

/// What [`Instantly`] clamped goes back as what it was.
fn instant(time: DateTime<Utc>) -> Timestamp<DateTime<Utc>> {
    if time == DateTime::<Utc>::MIN_UTC {
        Timestamp::NegInfinity
    } else if time == DateTime::<Utc>::MAX_UTC {
        Timestamp::PosInfinity
    } else {
        Timestamp::Value(time)
    }
}

/// Text as the server sent it. A database in `SQL_ASCII` may hold bytes that are no UTF-8: they are replaced, so that
/// one odd row never ends a pass.
struct Lossy(String);

impl<'a> FromSql<'a> for Lossy {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(String::from_utf8_lossy(raw).into_owned()))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::TEXT | Type::VARCHAR | Type::NAME | Type::BPCHAR | Type::UNKNOWN)
    }
}

/// A timestamp clamped to what chrono can hold: `infinity` and years beyond its range are the nearest end of it.
struct Instantly(DateTime<Utc>);

impl<'a> FromSql<'a> for Instantly {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        if let Ok(time) = DateTime::<Utc>::from_sql(ty, raw) {
            return Ok(Self(time));
        }
        let micros = i64::from_sql(&Type::INT8, raw)?;
        Ok(Self(if micros < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC }))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

/// JSON as `serde_json` reads it; a document it cannot read (numbers out of range) is null.
struct Json(serde_json::Value);

impl<'a> FromSql<'a> for Json {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        // The binary form of jsonb begins with a version byte.
        let text = if *ty == Type::JSONB { raw.get(1..).unwrap_or_default() } else { raw };
        Ok(Self(serde_json::from_slice(text).unwrap_or(serde_json::Value::Null)))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::JSON | Type::JSONB)
    }
}

/// One row of a result; columns are asked for by name.
#[derive(Debug)]
pub struct Row(postgres::Row);

impl Row {
    fn get<'a, T: FromSql<'a>>(&'a self, column: &str) -> Result<T, Error> {
        self.0.try_get(column).map_err(|error| Error::Query {
            what: format!("reading column {column}"),
            sqlstate: None,
            message: error.to_string(),
            connection_lost: false,
        })
    }

    /// A text that is never NULL.
    pub fn text(&self, column: &str) -> Result<String, Error> {
        Ok(self.get::<Lossy>(column)?.0)
    }

    /// A text or NULL.
    pub fn optional_text(&self, column: &str) -> Result<Option<String>, Error> {
        Ok(self.get::<Option<Lossy>>(column)?.map(|text| text.0))
    }

    /// A `bigint` that is never NULL.
    pub fn int(&self, column: &str) -> Result<i64, Error> {
        self.get(column)
    }

    /// A `bigint` or NULL.
    pub fn optional_int(&self, column: &str) -> Result<Option<i64>, Error> {
        self.get(column)
    }

    /// A `double precision` or NULL.
    pub fn optional_float(&self, column: &str) -> Result<Option<f64>, Error> {
        self.get(column)
    }

    /// A `bigint[]` that is never NULL, nor its elements.
    pub fn ints(&self, column: &str) -> Result<Vec<i64>, Error> {
        self.get(column)
    }

    /// A `double precision[]` that is never NULL, with elements that may be.
    pub fn floats(&self, column: &str) -> Result<Vec<Option<f64>>, Error> {
        self.get(column)
    }

    /// A `boolean` that is never NULL.
    pub fn bool(&self, column: &str) -> Result<bool, Error> {
        self.get(column)
    }

    /// A `boolean` or NULL.
    pub fn optional_bool(&self, column: &str) -> Result<Option<bool>, Error> {
        self.get(column)
    }

    /// A `timestamptz` that is never NULL.
    pub fn time(&self, column: &str) -> Result<DateTime<Utc>, Error> {
        Ok(self.get::<Instantly>(column)?.0)
    }

    /// A `timestamptz` or NULL.
    pub fn optional_time(&self, column: &str) -> Result<Option<DateTime<Utc>>, Error> {
        Ok(self.get::<Option<Instantly>>(column)?.map(|time| time.0))
    }

    /// A `json` or `jsonb`; NULL is JSON's null.
    pub fn json(&self, column: &str) -> Result<serde_json::Value, Error> {
        Ok(self.get::<Option<Json>>(column)?.map_or(serde_json::Value::Null, |json| json.0))
    }
}

/// What a transaction may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The database itself refuses every write.
    ReadOnly,
    /// Writes are allowed.
    ReadWrite,
}

/// Limits of every transaction.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of one statement.
    pub statement: Duration,
    /// Of waiting for one lock.
    pub lock: Duration,
}

impl Limits {
    /// The lower of these and the role's own limits (0 means none, as in PostgreSQL).
    #[must_use]
    pub fn lowered(self, role_statement_ms: i64, role_lock_ms: i64) -> Self {
        let lower = |ours: Duration, role: i64| match u64::try_from(role) {
            Ok(role) if role > 0 => ours.min(Duration::from_millis(role)),
            _ => ours,
        };
        Self { statement: lower(self.statement, role_statement_ms), lock: lower(self.lock, role_lock_ms) }
    }
}

/// The signal that asked healer to stop, shared with the handler; 0 for none.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicI32>);

impl StopFlag {
    /// Notes that `signal` arrived.
    pub fn set(&self, signal: i32) {
        self.0.store(signal, Ordering::SeqCst);
    }

    /// The signal that arrived, if any.
    pub fn signal(&self) -> Option<i32> {
        match self.0.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(signal),
        }
    }

    /// An error when a signal came or the time is over.
    pub fn check(&self, deadline: Instant) -> Result<(), Error> {
        if let Some(signal) = self.signal() {
            return Err(Error::Interrupted { signal });
        }
        if Instant::now() >= deadline { Err(Error::Timeout) } else { Ok(()) }
    }
}

/// One connection.
#[allow(clippy::struct_excessive_bools, reason = "each is one fact of the connection")]
pub struct Session {
    client: Client,
    limits: Limits,
    deadline: Instant,
    stop: StopFlag,
    open: bool,
    /// Whether the open transaction is READ ONLY and nothing failed in it, so that another check can use it on.
    reading: bool,
    round_trips: u64,
    /// How long the first BEGIN took, which asks the server for nothing else.
    answered_in: Option<Duration>,
    /// Whether the server must not look at the bytes that it sends.
    raw_bytes: bool,
    /// Whether there is an index for everything that is read of a big table.
    by_index: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("open", &self.open).finish_non_exhaustive()
    }
}

impl Session {
    /// Wraps a connection.
    pub fn new(client: Client, limits: Limits, deadline: Instant, stop: StopFlag) -> Self {
        Self {
            client,
            limits,
            deadline,
            stop,
            open: false,
            reading: false,
            round_trips: 0,
            answered_in: None,
            raw_bytes: false,
            by_index: false,
        }
    }

    /// Statements sent so far, one round trip each.
    pub fn round_trips(&self) -> u64 {
        self.round_trips
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Keeps to the role's own limits where they are lower.
    pub fn lower_limits(&mut self, role_statement_ms: i64, role_lock_ms: i64) {
        self.limits = self.limits.lowered(role_statement_ms, role_lock_ms);
    }

    /// Takes texts as they are from now on, for a database in `SQL_ASCII`: asked for UTF-8, its server fails the whole
    /// statement for one byte that is none.
    pub fn take_raw_bytes(&mut self) {
        self.raw_bytes = true;
    }

    /// Never walks a table that has an index for what is asked, from now on. For databases where every big table has
    /// them: there the planner walks one only where its statistics are of a time when the table was another.
    pub fn keep_to_indexes(&mut self) {
        self.by_index = true;
    }

    /// Whether a signal or the deadline asks to stop. Asked between batches, never in one.
    pub fn check_stop(&self) -> Result<(), Error> {
        self.stop.check(self.deadline)
    }

    /// Begins a transaction (ending an open one by ROLLBACK) and runs `extra` in it, all in one round trip.
    ///
    /// `extra` is SQL without parameters, made of literals that the server quoted or that are numbers; empty for none.
    pub fn begin(&mut self, access: Access, extra: &str) -> Result<(), Error> {
        self.begin_counting(access, extra).map(|_| ())
    }

    /// As [`Session::begin`], and gives how many rows the last statement of `extra` changed.
    pub fn begin_counting(&mut self, access: Access, extra: &str) -> Result<u64, Error> {
        // cursor_tuple_fraction: all candidates are read, so the plan for all of them is wanted, not the quickest first row.
        // jit: compiling costs more than any of healer's statements runs.
        let mut sql = String::with_capacity(512 + extra.len());
        self.reading = false;
        if self.open {
            sql.push_str("ROLLBACK; ");
        }
        let mode = match access {
            Access::ReadOnly => "READ ONLY",
            Access::ReadWrite => "READ WRITE",
        };
        let encoding = if self.raw_bytes { "SET LOCAL client_encoding = 'SQL_ASCII'; " } else { "" };
        let by_index = if self.by_index { "SET LOCAL enable_seqscan = off; " } else { "" };
        // Never longer than what is left of --timeout, so that the pass ends when it was told to.
        let left = self.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(100));
        let statement = self.limits.statement.min(left).as_millis().max(1);
        let lock = self.limits.lock.as_millis().max(1);
        let _ = write!(
            sql,
            "BEGIN ISOLATION LEVEL READ COMMITTED {mode}; SET LOCAL TimeZone = 'UTC'; SET LOCAL row_security = off; \
             SET LOCAL statement_timeout = {statement}; SET LOCAL lock_timeout = {lock}; \
             SET LOCAL idle_in_transaction_session_timeout = 60000; SET LOCAL cursor_tuple_fraction = 1.0; \
             SET LOCAL jit = off; {by_index}{encoding}{extra}"
        );
        // A failure inside leaves the transaction open and aborted: the next BEGIN must end it.
        self.open = true;
        let asked = Instant::now();
        let counts = self.batch_counts("begin", &sql)?;
        self.answered_in.get_or_insert_with(|| asked.elapsed());
        self.reading = access == Access::ReadOnly;
        Ok(counts.last().copied().unwrap_or(0))
    }

    /// Makes sure that a READ ONLY transaction is open: one in which nothing failed is used on, which saves the round
    /// trip of another. READ COMMITTED: every statement sees what is committed by then.
    pub fn read(&mut self) -> Result<(), Error> {
        if self.reading { Ok(()) } else { self.begin(Access::ReadOnly, "") }
    }

    /// Runs statements without parameters in a transaction of their own and commits, all in one round trip.
    pub fn transaction(&mut self, statements: &[Statement]) -> Result<(), Error> {
        let mut sql = String::new();
        for statement in statements {
            log::trace!(target: "healer::sql", "{}", statement.name());
            sql.push_str(statement.sql().trim_end());
            sql.push_str(";\n");
        }
        sql.push_str("COMMIT");
        self.begin(Access::ReadWrite, &sql)?;
        self.open = false;
        Ok(())
    }

    /// Commits.
    pub fn commit(&mut self) -> Result<(), Error> {
        self.open = false;
        self.reading = false;
        self.batch("commit", "COMMIT")
    }

    /// How long the server took to answer when nothing was asked of it: the first BEGIN.
    pub fn answered_in(&self) -> Option<Duration> {
        self.answered_in
    }

    /// Rolls back, if a transaction is open. A failure is not an error: the server rolls back by itself.
    pub fn rollback(&mut self) {
        self.reading = false;
        if std::mem::take(&mut self.open)
            && let Err(error) = self.batch("rollback", "ROLLBACK")
        {
            log::debug!(target: "healer", "rollback: {error}");
        }
    }

    /// Runs SQL without parameters and results.
    pub fn batch(&mut self, what: &str, sql: &str) -> Result<(), Error> {
        self.round_trips += 1;
        log::trace!(target: "healer::sql", "{what}");
        let done = self.client.batch_execute(sql).map_err(|error| query_error(what, &error));
        self.reading &= done.is_ok();
        done
    }

    /// Runs SQL without parameters and gives the rows that each of its statements changed or returned.
    pub fn batch_counts(&mut self, what: &str, sql: &str) -> Result<Vec<u64>, Error> {
        self.round_trips += 1;
        log::trace!(target: "healer::sql", "{what}");
        let answer = self.client.simple_query(sql).map_err(|error| query_error(what, &error));
        self.reading &= answer.is_ok();
        Ok(answer?
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::CommandComplete(count) => Some(*count),
                _ => None,
            })
            .collect())
    }

    /// Runs a statement and reads all its rows. For results that are bounded by the statement.
    pub fn rows(&mut self, statement: &Statement, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        self.round_trips += 1;
        log::trace!(target: "healer::sql", "{}", statement.name());
        let owned: Vec<(Box<dyn ToSql + Sync + '_>, Type)> = params.iter().map(Param::typed).collect();
        let typed: Vec<(&(dyn ToSql + Sync), Type)> =
            owned.iter().map(|(value, kind)| (&**value, kind.clone())).collect();
        let rows =
            self.client.query_typed(statement.sql(), &typed).map_err(|error| query_error(statement.name(), &error));
        self.reading &= rows.is_ok();
        Ok(rows?.into_iter().map(Row).collect())
    }

    /// Runs a statement that gives exactly one row.
    pub fn row(&mut self, statement: &Statement, params: &[Param<'_>]) -> Result<Row, Error> {
        self.rows(statement, params)?.pop().ok_or_else(|| Error::Query {
            what: statement.name().to_owned(),
            sqlstate: None,
            message: "gave no row".into(),
            connection_lost: false,
        })
    }

    /// Gives more time, to say what was done after `--timeout` came first.
    pub fn extend(&mut self, time: Duration) {
        self.deadline = self.deadline.max(Instant::now() + time);
    }

    /// Whether the connection is closed.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

impl Drop for Session {
    /// Tells how often the server was asked: on a slow line that is what a run costs.
    fn drop(&mut self) {
        log::debug!(target: "healer", "{} round trips", self.round_trips);
    }
}

/// Turns the driver's error into ours; the message is the server's own, without the statement's parameters.
fn query_error(what: &str, error: &postgres::Error) -> Error {
    let Some(server) = error.as_db_error() else {
        return Error::Query {
            what: what.to_owned(),
            sqlstate: None,
            message: if error.is_closed() { "the connection was cut".into() } else { plain(error) },
            connection_lost: error.is_closed() || is_io(error),
        };
    };
    let state = server.code().code().to_owned();
    let mut message = server.message().to_owned();
    if let Some(constraint) = server.constraint() {
        let _ = write!(message, " [constraint {constraint}]");
    }
    Error::Query {
        what: what.to_owned(),
        // A server that is going down tells so and closes; what it tells of single statements leaves it open.
        connection_lost: matches!(state.as_str(), "57P01" | "57P02" | "57P03" | "57P05") || state.starts_with("08"),
        sqlstate: Some(state),
        message,
    }
}

fn is_io(error: &postgres::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if inner.is::<std::io::Error>() {
            return true;
        }
        source = inner.source();
    }
    false
}

fn plain(error: &postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let word = inner.to_string();
        if !text.contains(&word) {
            let _ = write!(text, ": {word}");
        }
        source = inner.source();
    }
    text
}
