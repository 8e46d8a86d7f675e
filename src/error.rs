//! The one error type: what went wrong, where, the SQLSTATE, what to do next, and the exit code.

use std::path::PathBuf;

use crate::database::{ConnectError, UrlError};

/// Everything that can stop a command.
///
/// `Display` is one line that names the thing; [`Error::hint`] is the next step; [`Error::exit_code`] is the
/// process's exit code. None of the three ever holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line asks for something that does not exist.
    #[error("{message}")]
    Usage {
        /// What is wrong with it.
        message: String,
        /// What to do instead.
        hint: String,
    },
    /// No database URL, or one that cannot be read.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The database cannot be reached or refuses us.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The configuration file cannot be used.
    #[error("configuration {}: {message}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong in it, with the place.
        message: String,
        /// What to do.
        hint: String,
    },
    /// Something the configuration names does not exist in the database.
    #[error("{what} is missing in the database")]
    Missing {
        /// For example `table content_metadata` or `column content_metadata.tweet_id`.
        what: String,
        /// What to do.
        hint: String,
    },
    /// The schema `healer` is not there, or of another version.
    #[error("{message}")]
    Schema {
        /// What was found.
        message: String,
        /// What to do.
        hint: String,
    },
    /// Row-level security would hide rows.
    #[error("row-level security hides rows of {relation} from this role")]
    RowSecurity {
        /// The relation, as configured.
        relation: String,
    },
    /// The role lacks a privilege.
    #[error("no permission: {message}")]
    Permission {
        /// What is not allowed.
        message: String,
        /// The GRANT to run.
        hint: String,
    },
    /// The server takes no writes.
    #[error("the database is read-only: {reason}")]
    ReadOnly {
        /// Why: a standby, or a default.
        reason: String,
    },
    /// A statement failed.
    #[error("{what} failed{}: {message}", sqlstate.as_ref().map(|s| format!(" (SQLSTATE {s})")).unwrap_or_default())]
    Query {
        /// The statement's name (its path below `sql/`).
        what: String,
        /// The five letters of the server, where it said any.
        sqlstate: Option<String>,
        /// The server's message, in its language.
        message: String,
        /// Whether the connection is gone.
        connection_lost: bool,
    },
    /// Another run took over the lease.
    #[error("another run took over the lease of `{pass}`")]
    LeaseLost {
        /// The pass.
        pass: &'static str,
    },
    /// SIGINT or SIGTERM arrived.
    #[error("interrupted by signal {signal}")]
    Interrupted {
        /// 2 or 15.
        signal: i32,
    },
    /// `--timeout` came first.
    #[error("stopped by --timeout")]
    Timeout,
    /// A decision or an undo that must not be carried out.
    #[error("{message}")]
    Refused {
        /// Why not.
        message: String,
        /// What to do instead.
        hint: String,
    },
    /// The result could not be written.
    #[error("writing {what}: {source}")]
    Output {
        /// stdout or the file.
        what: String,
        /// The system's word.
        source: std::io::Error,
    },
    /// The sandbox could not be started.
    #[cfg(feature = "sandbox")]
    #[error(transparent)]
    Sandbox(#[from] crate::sandbox::SandboxError),
}

impl Error {
    /// The next step, in one line.
    pub fn hint(&self) -> String {
        match self {
            Self::Usage { hint, .. }
            | Self::Config { hint, .. }
            | Self::Missing { hint, .. }
            | Self::Schema { hint, .. }
            | Self::Permission { hint, .. }
            | Self::Refused { hint, .. } => hint.clone(),
            Self::Url(error) => error.hint(),
            Self::Connect(error) => error.hint(),
            Self::RowSecurity { .. } => {
                "connect as the table's owner or a role with BYPASSRLS (`healer doctor` prints the statement)".into()
            }
            Self::ReadOnly { .. } => {
                "connect to the primary; `healer heal --dry-run` and `healer report` work here".into()
            }
            Self::Query { sqlstate, connection_lost, .. } => query_hint(sqlstate.as_deref(), *connection_lost).into(),
            Self::LeaseLost { .. } => "nothing is half done: the next run goes on from here".into(),
            Self::Interrupted { .. } => "the running batch was finished or rolled back; run it again".into(),
            Self::Timeout => "give more time with --timeout, or let the next run do the rest".into(),
            Self::Output { .. } => "check the path and the free space".into(),
            #[cfg(feature = "sandbox")]
            Self::Sandbox(error) => error.hint(),
        }
    }

    /// The exit code of the design's table.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => 2,
            Self::Url(error) => error.exit_code(),
            Self::Connect(error) => error.exit_code(),
            Self::Config { .. } | Self::Missing { .. } | Self::Schema { .. } => 78,
            Self::RowSecurity { .. } | Self::Permission { .. } => 77,
            Self::ReadOnly { .. } => 75,
            Self::Query { sqlstate, connection_lost, .. } => query_exit_code(sqlstate.as_deref(), *connection_lost),
            Self::LeaseLost { .. } | Self::Timeout => 3,
            Self::Interrupted { signal } => 128_u8.saturating_add(u8::try_from(*signal).unwrap_or(15)),
            Self::Refused { .. } | Self::Output { .. } => 1,
            #[cfg(feature = "sandbox")]
            Self::Sandbox(_) => 1,
        }
    }

    /// The SQLSTATE, where a server said one.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Query { sqlstate, .. } => sqlstate.as_deref(),
            _ => None,
        }
    }

    /// Whether the connection is gone, so that nothing more can be asked on it.
    pub fn connection_lost(&self) -> bool {
        matches!(self, Self::Query { connection_lost: true, .. } | Self::Connect(_))
    }

    /// Whether this stops the whole pass, not one check of it.
    pub fn stops_the_pass(&self) -> bool {
        self.connection_lost()
            || matches!(self, Self::Interrupted { .. } | Self::Timeout | Self::LeaseLost { .. } | Self::ReadOnly { .. })
    }
}

/// SQLSTATEs after which the same command may work a little later.
pub fn is_temporary(sqlstate: &str) -> bool {
    sqlstate.starts_with("08") || matches!(sqlstate, "25006" | "53300" | "57P01" | "57P02" | "57P03" | "57P05")
}

fn query_exit_code(sqlstate: Option<&str>, connection_lost: bool) -> u8 {
    match sqlstate {
        Some(state) if is_temporary(state) => 75,
        Some("42501") => 77,
        Some("42P01" | "42703" | "3F000") => 78,
        None if connection_lost => 75,
        _ => 1,
    }
}

fn query_hint(sqlstate: Option<&str>, connection_lost: bool) -> &'static str {
    match sqlstate {
        Some("25006") => "connect to the primary: this server takes no writes",
        Some("42501") => "`healer doctor` lists the missing grants and prints the GRANT to run",
        Some("42P01" | "42703" | "3F000") => "`healer doctor` compares the configuration with the database",
        Some("57014") => "the statement ran into statement_timeout; `healer doctor` lists the missing indexes",
        Some("55P03") => "a lock was held for too long; run it again",
        Some(state) if is_temporary(state) => "the database is busy or restarting; run it again",
        None if connection_lost => "the connection was cut; run it again, nothing is half done",
        _ => "run with -v for the statement's name, and `healer doctor` for the state of the database",
    }
}
