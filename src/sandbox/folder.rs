//! The folder of a cluster: whose it is, what lies where in it, and whose turn it is.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::SandboxError;
use super::account::Account;

/// The port only names the socket file: nothing listens on TCP, and each cluster has a folder of its own.
pub const PORT: u16 = 5432;

/// Between two looks at something that is about to be ready: short beside what is waited for, long beside the look.
pub const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The longest path of a socket that every supported system takes (macOS: 104 bytes with the final zero).
const SOCKET_PATH_LIMIT: usize = 103;

/// Signs that a folder belongs to healer.
const MARKER: &str = "HEALER_SANDBOX";

/// What it says to people.
const MARKER_TEXT: &str = "This folder belongs to `healer --sandbox`: what is in it is removed and made anew.\n";

/// How long to wait for another process that fills the same folder: filling takes about three seconds.
const TURN_LIMIT: Duration = Duration::from_secs(120);

/// How long to wait for a keeper to stop its server; it gives up itself after 30 seconds.
const STOP_LIMIT: Duration = Duration::from_secs(40);

/// The paths of a cluster.
#[derive(Debug)]
pub struct Folder {
    /// The folder itself, with symbolic links followed; as root it is root's.
    pub dir: PathBuf,
    /// What users share while the server runs.
    pub run: PathBuf,
    /// The data directory.
    pub data: PathBuf,
    /// Where the socket lies.
    pub socket_dir: PathBuf,
    /// What the server writes.
    pub log: PathBuf,
    /// Under whom the server runs.
    pub account: Account,
}

impl Folder {
    /// Makes `dir` ours: creates it, or finds our marker in it, or finds it empty.
    pub fn claim(dir: &Path) -> Result<Self, SandboxError> {
        let account = Account::choose()?;
        let dir = claim(dir, account)?;
        account.can_reach(&dir)?;
        let run = dir.join("run");
        // It was perhaps made before the account that we would choose today existed.
        let account = account.or_owner_of(&run);
        private_dir(&run, account)?;
        private_dir(&run.join("users"), account)?;
        let socket_dir = socket_dir(&dir, &run, account)?;
        Ok(Self { run, socket_dir, data: dir.join("data"), log: dir.join("server.log"), dir, account })
    }

    /// Where users sign on.
    pub fn users(&self) -> PathBuf {
        self.run.join("users")
    }

    /// Waits for the right to start, fill or share the server; it is given back when the file is closed.
    pub fn take_turn(&self) -> Result<File, SandboxError> {
        take_turn(&self.dir)
    }

    /// Waits until no keeper is in the middle of stopping the server.
    pub fn await_stopping(&self) -> Result<(), SandboxError> {
        let stopping = self.run.join("stopping");
        let start = Instant::now();
        while stopping.exists() {
            if start.elapsed() > STOP_LIMIT {
                // Its keeper was killed in the middle; whether the server runs is found out next.
                fs::remove_dir(&stopping).map_err(SandboxError::io("removing", &stopping))?;
            }
            thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Whether the data is whole and was filled with `filling`.
    pub fn holds(&self, filling: &str) -> bool {
        fs::read_to_string(self.dir.join("complete")).is_ok_and(|found| found == filling)
    }

    /// Says that the data is whole; until then it counts as half made.
    pub fn complete(&self, filling: &str) -> Result<(), SandboxError> {
        replace(&self.dir.join("complete"), filling)
    }

    /// The major version that wrote the data.
    pub fn data_version(&self) -> Option<u32> {
        fs::read_to_string(self.data.join("PG_VERSION")).ok()?.trim().parse().ok()
    }

    /// Makes room for a new `initdb`.
    pub fn fresh(&self) -> Result<PathBuf, SandboxError> {
        remove_file(&self.dir.join("complete"))?;
        remove_data(&self.dir)?;
        let fresh = self.dir.join(format!("new-{}", std::process::id()));
        private_dir(&fresh, self.account)?;
        Ok(fresh)
    }

    /// Writes down the pid of a server that was started, for the keepers.
    pub fn note_server(&self, pid: u32) -> Result<(), SandboxError> {
        let path = self.run.join("pid");
        remove_file(&path)?;
        write_new(&path, &format!("{pid}\n"))?;
        self.account.own(&path)
    }

    /// The end of the server's log, on one line: that is where the reason stands.
    pub fn last_words(&self) -> String {
        last_lines(&fs::read_to_string(&self.log).unwrap_or_default())
    }
}

/// Makes `dir` ours: creates it, or finds our marker in it, or finds it empty. Returns its real path.
fn claim(dir: &Path, account: Account) -> Result<PathBuf, SandboxError> {
    fs::create_dir_all(dir).map_err(SandboxError::io("creating", dir))?;
    let dir = fs::canonicalize(dir).map_err(SandboxError::io("looking at", dir))?;
    account.trusts(&dir)?;
    let marker = dir.join(MARKER);
    let mut entries = fs::read_dir(&dir).map_err(SandboxError::io("listing", &dir))?;
    if entries.next().is_none() {
        let mode = if account == Account::Myself { 0o700 } else { 0o711 };
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).map_err(SandboxError::io("changing", &dir))?;
        match File::create_new(&marker) {
            Ok(mut file) => file.write_all(MARKER_TEXT.as_bytes()).map_err(SandboxError::io("writing", &marker))?,
            // Another healer was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(SandboxError::io("creating", &marker)(error)),
        }
    } else if !marker.is_file() {
        // The marker is the first thing that we put into a folder: if this were ours, it would be there by now.
        return Err(SandboxError::Foreign { dir });
    }
    Ok(dir)
}

/// Waits for the right to start, fill or share the server of `dir`; it is given back when the file is closed.
fn take_turn(dir: &Path) -> Result<File, SandboxError> {
    let path = dir.join("start.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(SandboxError::io("opening", &path))?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if start.elapsed() > TURN_LIMIT => {
                return Err(SandboxError::Busy { dir: dir.to_owned() });
            }
            Err(TryLockError::WouldBlock) => thread::sleep(LOOK_AGAIN),
            Err(TryLockError::Error(error)) => return Err(SandboxError::io("locking", &path)(error)),
        }
    }
}

/// Removes the data, and what killed processes left of making it.
fn remove_data(dir: &Path) -> Result<(), SandboxError> {
    for entry in fs::read_dir(dir).map_err(SandboxError::io("listing", dir))?.flatten() {
        let name = entry.file_name();
        let path = entry.path();
        if name == "data" {
            fs::remove_dir_all(&path).map_err(SandboxError::io("removing", &path))?;
        } else if name.as_bytes().starts_with(b"new-") {
            // An initdb whose healer was killed may still be writing there; the next time it is removed.
            if let Err(error) = fs::remove_dir_all(&path) {
                log::debug!("removing {}: {error}", path.display());
            }
        }
    }
    Ok(())
}

/// Creates `path` for the server's account alone; it may exist already.
fn private_dir(path: &Path, account: Account) -> Result<(), SandboxError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => account.own(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(SandboxError::io("creating", path)(error)),
    }
}

/// The folder of the socket: `run`, or one of our own below `/tmp` where that path is too long for a socket.
fn socket_dir(dir: &Path, run: &Path, account: Account) -> Result<PathBuf, SandboxError> {
    let name = format!("/.s.PGSQL.{PORT}");
    if run.as_os_str().len() + name.len() <= SOCKET_PATH_LIMIT {
        return Ok(run.to_owned());
    }
    let short = PathBuf::from(format!("/tmp/healer-{:016x}", fingerprint(dir.as_os_str().as_bytes().iter().copied())));
    private_dir(&short, account)?;
    // Everybody may write to /tmp: what is found there must be a folder, of the right owner, closed to others.
    let found = fs::symlink_metadata(&short).map_err(SandboxError::io("looking at", &short))?;
    let owner = match account {
        Account::Other { uid, .. } => uid,
        Account::Myself => fs::metadata(run).map_err(SandboxError::io("looking at", run))?.uid(),
    };
    let open_to_others = found.mode() & 0o077;
    if found.is_dir() && found.uid() == owner && open_to_others == 0 {
        Ok(short)
    } else {
        Err(SandboxError::SocketDir { path: short })
    }
}

/// FNV-1a: a short name for something long, the same in every build.
pub(super) fn fingerprint(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Writes a file that did not exist, so that no link of somebody else's making is followed.
fn write_new(path: &Path, text: &str) -> Result<(), SandboxError> {
    let mut file = File::create_new(path).map_err(SandboxError::io("creating", path))?;
    file.write_all(text.as_bytes()).map_err(SandboxError::io("writing", path))
}

/// Writes a file whole or not at all.
fn replace(path: &Path, text: &str) -> Result<(), SandboxError> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).map_err(SandboxError::io("writing", &fresh))?;
    fs::rename(&fresh, path).map_err(SandboxError::io("writing", path))
}

/// Removes a file that may not exist.
pub(super) fn remove_file(path: &Path) -> Result<(), SandboxError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SandboxError::io("removing", path)(error)),
        _ => Ok(()),
    }
}

/// The last three lines of a text, on one line.
pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_stand_on_one_line() {
        assert_eq!(last_lines("one\n\ntwo\n three\nfour\n"), "two / three / four");
        assert_eq!(last_lines(""), "");
    }

    #[test]
    fn a_name_is_short_and_always_the_same() {
        assert_eq!(fingerprint([]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint(*b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
