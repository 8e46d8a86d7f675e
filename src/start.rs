//! What every command begins with: settings, a connection, the catalog, and the posts as found.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::database::catalog::Catalog;
use crate::database::connect;
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

impl Origin {
    /// Connects.
    pub fn connect(&self) -> Result<Session, Error> {
        let client = connect::connect(&self.target, self.deadline)?;
        let limits = Limits {
            statement: self.settings.database.statement_timeout.0,
            lock: self.settings.database.lock_timeout.0,
        };
        Ok(Session::new(client, limits, self.deadline, self.stop.clone()))
    }

    /// Connects and reads the catalog.
    pub fn open(mut self) -> Result<Start, Error> {
        let begun = Instant::now();
        let mut session = self.connect()?;
        let connected_in = begun.elapsed();
        self.try_settings(&mut session)?;
        let catalog = Catalog::read(
            &mut session,
            &mapping::relations(&self.settings),
            self.target.schema.as_deref(),
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
        let mut session = Origin { target, ..self.origin.clone() }.connect()?;
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

/// The deadline that `--timeout` sets.
pub fn deadline(timeout: &str) -> Result<Instant, Error> {
    let span = span("--timeout", timeout)?;
    // A deadline beyond what the clock can hold is none; a year is as good as none for a pass.
    let year = Duration::from_secs(366 * 86_400);
    Ok(Instant::now() + span.0.min(year))
}

/// The sandbox's own configuration is the built-in one: a file of the working folder belongs to the real database.
pub fn settings(config: Option<&PathBuf>) -> Result<Settings, Error> {
    Settings::load(config.map(PathBuf::as_path))
}
