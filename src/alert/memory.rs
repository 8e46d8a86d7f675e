//! Where alerts are remembered: in the database, or in a small file while it cannot be reached.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use ring::digest;
use serde::Deserialize;
use serde_json::{Value, json};

use super::model::{Alert, Book, ChannelState, Told, severity, word};
use crate::database::session::{Access, Param, Session};
use crate::database::statement::{self, Names};
use crate::error::Error;

/// Largest spool that is read: some hundred alerts.
const LARGEST: u64 = 4 * 1_048_576;

/// The turn of one pass to tell alerts: two at once would tell them twice.
#[derive(Debug)]
pub struct Turn {
    /// What tells this holder from all others.
    pub token: String,
    /// Whether it is ours.
    pub ours: bool,
    /// The clock of the memory.
    pub now: DateTime<Utc>,
}

/// Takes the turn for so many seconds, in the transaction that is open.
pub fn take_turn(session: &mut Session, seconds: i64) -> Result<Turn, Error> {
    let token = crate::change::lease::token();
    let statement = statement::ALERT_TURN.fill(&Names::default());
    let row = session.row(&statement, &[Param::Text(&token), Param::Int(seconds)])?;
    Ok(Turn { token, ours: row.optional_bool("ours")?.unwrap_or(false), now: row.time("now")? })
}

/// What is remembered, as it was read.
#[derive(Debug)]
pub struct Remembered {
    /// The alerts and the channels.
    pub book: Book,
    /// The database's clock.
    pub now: DateTime<Utc>,
    /// The passes that were asked for.
    pub passes: Vec<Ended>,
}

/// When a pass last came to its end.
#[derive(Debug, Clone, Deserialize)]
pub struct Ended {
    /// The pass.
    pub pass: String,
    /// Seconds since its last success; `None` for never.
    pub age_s: Option<i64>,
    /// Seconds since its first recorded run; `None` where there is none.
    pub first_s: Option<i64>,
}

/// Reads what is remembered, in the transaction that is open; how channels did only where there are any.
pub fn read(session: &mut Session, passes: &[&str], channels: bool) -> Result<Remembered, Error> {
    let names = Names::default();
    let mut book = Book::default();
    let rows = session.rows(&statement::ALERT_BOOK.fill(&names), &[Param::Texts(passes)])?;
    let (mut now, mut passes) = (Utc::now(), Vec::new());
    if let Some(row) = rows.first() {
        now = row.time("now")?;
        passes = serde_json::from_value(row.json("passes")?).unwrap_or_default();
    }
    for row in &rows {
        let Some(id) = row.optional_int("id")? else { continue };
        let channels = row.json("channels")?;
        book.alerts.push(Alert {
            id: Some(id),
            fingerprint: row.text("fingerprint")?,
            pass: row.text("pass")?,
            key: row.text("key")?,
            check: row.optional_text("check_name")?,
            severity: severity(&row.text("severity")?),
            title: row.text("title")?,
            detail: row.text("detail")?,
            next_step: row.text("next_step")?,
            run_id: row.optional_int("run_id")?,
            opened_at: row.time("opened_at")?,
            last_seen: row.time("last_seen")?,
            times: row.int("times")?,
            resolved_at: row.optional_time("resolved_at")?,
            channels: channels
                .as_object()
                .map(|map| {
                    map.iter()
                        .map(|(name, told)| (name.clone(), serde_json::from_value(told.clone()).unwrap_or_default()))
                        .collect()
                })
                .unwrap_or_default(),
            changed: false,
        });
    }
    let states = if channels { session.rows(&statement::ALERT_CHANNELS.fill(&names), &[])? } else { Vec::new() };
    for row in &states {
        let state = ChannelState {
            last_success: row.optional_time("last_success")?,
            failing_since: row.optional_time("failing_since")?,
            failures: row.int("failures")?,
            last_error: row.optional_text("last_error")?,
            not_before: row.optional_time("not_before")?,
        };
        book.channels.insert(row.text("name")?, state);
    }
    Ok(Remembered { book, now, passes })
}

/// Writes what a pass changed in the book, and commits.
pub fn save(session: &mut Session, book: &mut Book) -> Result<(), Error> {
    let changed: Vec<Value> = book.alerts.iter().filter(|alert| alert.changed).map(row).collect();
    if !changed.is_empty() {
        let text = Value::Array(changed).to_string().replace("\\u0000", "");
        for row in &session.rows(&statement::ALERT_SAVE.fill(&Names::default()), &[Param::Text(&text)])? {
            let (id, pass, key) = (row.int("id")?, row.text("pass")?, row.text("key")?);
            if let Some(alert) =
                book.alerts.iter_mut().find(|alert| alert.id.is_none() && alert.pass == pass && alert.key == key)
            {
                alert.id = Some(id);
            }
        }
    }
    session.commit()?;
    for alert in &mut book.alerts {
        alert.changed = false;
    }
    Ok(())
}

fn row(alert: &Alert) -> Value {
    json!({
        "id": alert.id,
        "fingerprint": alert.fingerprint,
        "pass": alert.pass,
        "key": alert.key,
        "check": alert.check,
        "severity": word(alert.severity),
        "title": alert.title,
        "detail": alert.detail,
        "next_step": alert.next_step,
        "run_id": alert.run_id,
        "opened_at": alert.opened_at,
        "last_seen": alert.last_seen,
        "times": alert.times,
        "resolved_at": alert.resolved_at,
        "last_sent": alert.channels.values().filter_map(|told| told.at).max(),
        "reminders": alert.channels.values().map(|told| told.reminders).max(),
        "channels": alert.channels,
    })
}

/// Writes what one channel was told, and how it did, and commits.
pub fn told(session: &mut Session, book: &mut Book, name: &str) -> Result<(), Error> {
    let entries: Vec<Value> = book
        .alerts
        .iter()
        .filter(|alert| alert.changed)
        .filter_map(|alert| Some(json!({ "id": alert.id?, "told": alert.channels.get(name)? })))
        .collect();
    session.begin(Access::ReadWrite, "")?;
    let names = Names::default();
    if !entries.is_empty() {
        let text = Value::Array(entries).to_string();
        session.rows(&statement::ALERT_TOLD.fill(&names), &[Param::Text(name), Param::Text(&text)])?;
    }
    if let Some(state) = book.channels.get(name) {
        session.rows(
            &statement::ALERT_CHANNEL.fill(&names),
            &[
                Param::Text(name),
                Param::Time(state.last_success),
                Param::Time(state.failing_since),
                Param::Int(state.failures),
                Param::Text(&state.last_error.clone().unwrap_or_default().replace('\0', "")),
                Param::Time(state.not_before),
            ],
        )?;
    }
    session.commit()?;
    for alert in &mut book.alerts {
        alert.changed = false;
    }
    Ok(())
}

/// Gives the turn back.
pub fn close(session: &mut Session, turn: &Turn) -> Result<(), Error> {
    session.begin(Access::ReadWrite, "")?;
    session.rows(&statement::ALERT_RELEASE.fill(&Names::default()), &[Param::Text(&turn.token)])?;
    session.commit()
}

/// The file that remembers what was told while the database could not.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    /// Held open: the lock ends with it, also when the process is killed.
    lock: Option<File>,
}

impl Spool {
    /// The spool of a system in a folder; `folder` empty for the usual one.
    pub fn of(folder: &str, instance: &str) -> Self {
        let folder = if folder.is_empty() { usual_folder() } else { PathBuf::from(folder) };
        let hash = digest::digest(&digest::SHA256, instance.as_bytes());
        let name: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { path: folder.join(format!("alerts-{name}.json")), lock: None }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is one.
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Takes it for this process and reads it. `Ok(None)`: another pass has it. What cannot be read is as good as empty,
    /// and is overwritten.
    pub fn open(&mut self) -> std::io::Result<Option<Book>> {
        if let Some(folder) = self.path.parent() {
            ready(folder)?;
        }
        let lock = private(&self.path.with_extension("lock")).open(self.path.with_extension("lock"))?;
        match lock.try_lock() {
            Ok(()) => self.lock = Some(lock),
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
        let mut text = String::new();
        match File::open(&self.path) {
            Ok(file) => {
                file.take(LARGEST).read_to_string(&mut text)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Some(Book::default())),
            Err(error) => return Err(error),
        }
        Ok(Some(serde_json::from_str(&text).unwrap_or_else(|error| {
            log::warn!(target: "healer", "{} cannot be read and is begun anew: {error}", self.path.display());
            Book::default()
        })))
    }

    /// Writes it, whole or not at all.
    pub fn save(&self, book: &Book) -> std::io::Result<()> {
        let beside = self.path.with_extension("tmp");
        let _ = std::fs::remove_file(&beside);
        let mut file = private(&beside).truncate(true).open(&beside)?;
        file.write_all(serde_json::to_string(book)?.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, &self.path)
    }

    /// Removes it: the database remembers again.
    pub fn remove(&self) -> std::io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// How files of the spool are made: error texts may stand in them, and they are nobody else's business.
fn private(_: &Path) -> std::fs::OpenOptions {
    let mut options = File::options();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes the folder where it is missing, and refuses one in which somebody else may put files: a spool of a stranger's
/// making would open alerts that never were, or keep real ones from being told.
#[cfg(unix)]
fn ready(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // A file that did not exist before belongs to who runs this: no other way to know is the same on every system.
    let probe = folder.join(format!(".{}", crate::change::lease::token()));
    let ours = File::create_new(&probe).and_then(|file| file.metadata()).map(|file| file.uid());
    let _ = std::fs::remove_file(&probe);
    let found = std::fs::metadata(folder)?;
    let owner = found.uid();
    if (owner == 0 || owner == ours?) && found.mode() & 0o002 == 0 {
        return Ok(());
    }
    let words = "others may write in this folder; name one of its own by alerts.spool";
    Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, words))
}

#[cfg(not(unix))]
fn ready(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)
}

/// The folder for the state of programs, as the system knows it; a temporary one where there is none.
fn usual_folder() -> PathBuf {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // Of a systemd service: `StateDirectory=healer`. Where a unit has several, they are divided by colons.
    if let Some(folder) = given("STATE_DIRECTORY").and_then(|all| std::env::split_paths(&all).next()) {
        return folder;
    }
    given("XDG_STATE_HOME")
        .or_else(|| given("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(std::env::temp_dir)
        .join("healer")
}

/// Takes what the spool remembers into the book: what was told while the database was away stays told.
pub fn import(book: &mut Book, spool: Book) {
    for alert in spool.alerts {
        let same = |known: &&mut Alert| known.pass == alert.pass && known.key == alert.key;
        // One that had ended by then is known by its beginning; one that is open, by being open.
        let begun = |known: &&mut Alert| known.opened_at == alert.opened_at;
        let place = book.alerts.iter_mut().filter(same).find(|known| known.resolved_at.is_none() || begun(known));
        match place {
            None => book.alerts.push(Alert { id: None, changed: true, ..alert }),
            Some(known) => {
                for (name, told) in alert.channels {
                    let entry = known.channels.entry(name).or_default();
                    *entry = later(entry.clone(), told);
                    known.changed = true;
                }
            }
        }
    }
    for (name, state) in spool.channels {
        book.channels.entry(name).or_insert(state);
    }
}

fn later(known: Told, other: Told) -> Told {
    if other.at > known.at || other.resolved { other } else { known }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spool_is_read_back_as_it_was_and_one_pass_at_a_time_has_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().join("new").display().to_string();
        let mut spool = Spool::of(&dir, "a");
        assert!(!spool.exists());
        let mut book = spool.open().expect("opened").expect("ours");
        book.channels.insert("ops".into(), ChannelState { failures: 3, ..ChannelState::default() });
        spool.save(&book).expect("saved");
        assert!(Spool::of(&dir, "a").open().expect("looked").is_none(), "somebody has it");
        assert!(!Spool::of(&dir, "b").exists(), "another system has another file");
        drop(spool);
        let mut again = Spool::of(&dir, "a");
        assert_eq!(again.open().expect("opened"), Some(book));
        std::fs::write(again.path(), "{ torn").expect("written");
        drop(again);
        assert_eq!(Spool::of(&dir, "a").open().expect("opened"), Some(Book::default()));
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_in_which_everybody_may_write_is_refused_and_left_as_it_was() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let mode = |mode| std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).expect("set");
        let dir = folder.path().display().to_string();
        for open in [0o777, 0o1777] {
            mode(open);
            let refused = Spool::of(&dir, "a").open().expect_err("others may write there");
            assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
            assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 0);
        }
        mode(0o750);
        assert!(Spool::of(&dir, "a").open().expect("opened").is_some());
        let inner = Spool::of(&folder.path().join("new").display().to_string(), "a").open();
        assert!(inner.expect("opened").is_some());
        let found = std::fs::metadata(folder.path().join("new")).expect("made").permissions().mode();
        assert_eq!(found & 0o777, 0o700);
    }
}
