//! What every command begins with: settings, a connection, the catalog, and the posts as found.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::database::catalog::Catalog;
use crate::database::connect::{self, ConnectError};
use crate::database::session::{Limits, Param, Session, StopFlag};
use crate::database::statement::{self, Names};
use crate::database::url::{self, ConnectSettings, Surroundings, UrlSource};
use crate::error::Error;
use crate::posts::mapping::{self, Mapping};
use crate::settings::{Settings, Span};
use crate::tuning;

/// Where the database is named, and how long a command may take.
#[derive(Debug, Clone)]
pub struct Origin {
    /// How to connect.
    pub target: ConnectSettings,
    /// When the command must end.
    pub deadline: Instant,
    /// The signal that may ask it to end before.
    pub stop: StopFlag,
    /// The settings.
    pub settings: Settings,
}

/// An open connection and what was found on it.
#[derive(Debug)]
pub struct Start {
    /// Where it came from, to connect again.
    pub origin: Origin,
    /// The connection.
    pub session: Session,
    /// What the database looks like.
    pub catalog: Catalog,
    /// How long connecting took.
    pub connected_in: Duration,
}

/// How long after a signal a session is still sought, in which to say what was done.
const LAST_WORDS: Duration = Duration::from_secs(5);

impl Origin {
    /// Connects, in the middle of a command: after a signal there still is a moment for it, as what was done must be told.
    pub fn connect(&self) -> Result<Session, Error> {
        self.dial(LAST_WORDS)
    }

    /// Connects; a signal leaves it `grace`.
    fn dial(&self, grace: Duration) -> Result<Session, Error> {
        let client =
            connect::connect_until_stopped(&self.target, self.deadline, &self.stop, grace).map_err(|error| {
                match error {
                    // Whoever asked for the stop is not told that the database could not be reached.
                    ConnectError::Interrupted { signal, .. } => Error::Interrupted { signal },
                    other => other.into(),
                }
            })?;
        let limits = Limits {
            statement: self.settings.database.statement_timeout.0,
            lock: self.settings.database.lock_timeout.0,
        };
        Ok(Session::new(client, limits, self.deadline, self.stop.clone()))
    }

    /// Connects and reads the catalog.
    pub fn open(mut self) -> Result<Start, Error> {
        let begun = Instant::now();
        let mut session = self.dial(Duration::ZERO)?;
        let connected_in = begun.elapsed();
        self.try_settings(&mut session)?;
        let catalog = Catalog::read(
            &mut session,
            &mapping::relations(&self.settings),
            // The posts' neighbours are looked for beside them, before anywhere else.
            self.target
                .schema
                .as_deref()
                .or_else(|| self.settings.posts.table.split_once('.').map(|(schema, _)| schema)),
            &mapping::words(&self.settings),
        )?;
        tuning::overlay(&mut self.settings, &tuning::read(&catalog.learned));
        Ok(Start { origin: self, session, catalog, connected_in })
    }

    /// Asks the server for what only it can judge, where the file says something else than the defaults: a pattern or a
    /// zone that it does not understand would fail one statement after the other.
    fn try_settings(&self, session: &mut Session) -> Result<(), Error> {
        let (posts, usual) = (&self.settings.posts, crate::settings::Posts::default());
        if posts.external_id_pattern == usual.external_id_pattern && posts.timezone == usual.timezone {
            return Ok(());
        }
        let params = [Param::Text(&posts.external_id_pattern), Param::Text(&posts.timezone)];
        let Err(error) = session.row(&statement::SETTINGS.fill(&Names::default()), &params) else { return Ok(()) };
        let (setting, hint) = match error.sqlstate() {
            Some("2201B") => ("posts.external_id_pattern is no regular expression", "for example \"^[0-9]+$\""),
            Some("22023") => ("posts.timezone is no time zone that the server knows", "for example \"Europe/Berlin\""),
            _ => return Err(error),
        };
        Err(Error::Config {
            path: self.settings.source.clone().unwrap_or_default(),
            message: setting.into(),
            hint: format!("change the value in the file, {hint}"),
        })
    }
}

impl Start {
    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.origin.settings
    }

    /// A session for what a pooler in transaction mode cannot do (`CREATE INDEX CONCURRENTLY`, `VACUUM`): on
    /// `DATABASE_DIRECT_URL`. `None` where that is not set: who needs it says so. Fails where it leads to another
    /// database than this session, which would be changed by mistake.
    pub fn direct(&mut self) -> Result<Option<Session>, Error> {
        if self.origin.target.source == UrlSource::Sandbox {
            return Ok(None);
        }
        let Some(target) = url::resolve_direct(&Surroundings::of_process())? else { return Ok(None) };
        let shown = target.display_target();
        let mut session = Origin { target, ..self.origin.clone() }.dial(Duration::ZERO)?;
        let asked = statement::IDENTITY.fill(&Names::default());
        let here = self.session.row(&asked, &[])?.text("identity")?;
        if session.row(&asked, &[])?.text("identity")? != here {
            return Err(Error::Refused {
                message: format!("DATABASE_DIRECT_URL leads to another database: {shown}"),
                hint: "it must name the same database as DATABASE_URL, without the pooler".into(),
            });
        }
        Ok(Some(session))
    }

    /// The posts as found; fails where they cannot be told from each other.
    pub fn mapping(&self) -> Result<Mapping, Error> {
        Mapping::new(&self.origin.settings, &self.catalog)
    }
}

/// Reads a length of time from a flag.
pub fn span(flag: &str, text: &str) -> Result<Span, Error> {
    Span::parse(text).map_err(|message| Error::Usage {
        message: format!("{flag}: {message}"),
        hint: format!("for example {flag} 30m"),
    })
}

/// The deadline that `--timeout` sets, counted from now.
pub fn deadline(timeout: Span) -> Instant {
    // A deadline beyond what the clock can hold is none; a year is as good as none for a pass.
    let year = Duration::from_secs(366 * 86_400);
    Instant::now() + timeout.0.min(year)
}

/// The settings of a command. In the sandbox they are the built-in ones, or those of the file that is named: a file of
/// the working folder or of `/etc` belongs to the real database. And no channel hears of the sandbox: its faults are
/// planted.
pub fn settings(config: Option<&Path>, sandbox: bool) -> Result<Settings, Error> {
    if !sandbox {
        return Settings::load(config);
    }
    let mut settings = config.map_or_else(|| Ok(Settings::default()), |path| Settings::load(Some(path)))?;
    settings.alerts.channels.clear();
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sandbox_takes_the_file_that_is_named_and_has_no_channel_to_tell() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("named.toml");
        let channel = "[alerts.channels.team]\nkind = \"slack\"\nurl_env = \"SLACK\"\n";
        std::fs::write(&file, format!("[posts]\ntable = \"mine\"\n{channel}")).expect("written");
        let named = settings(Some(&file), true).expect("settings");
        assert_eq!((named.posts.table.as_str(), named.alerts.channels.len()), ("mine", 0));
        assert_eq!(settings(Some(&file), false).expect("settings").alerts.channels.len(), 1);
        assert!(settings(None, true).expect("settings").source.is_none());
    }
}
