//! `--sandbox`: a throwaway Postgres that holds a realistic sick system, to try every command on without risk.
//!
//! It never touches a database that healer did not create: it knows its folder by a marker, and refuses any other that
//! is not empty. Its state lasts between commands; its server does not. It is filled on first use, the same every time
//! apart from the clock; removing the folder resets it.

mod account;
mod binaries;
mod cluster;
mod folder;
mod keeper;
pub mod seed;

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use postgres::Client;

pub use account::Account;
pub use binaries::Binaries;
pub use cluster::{Cluster, ClusterOptions};

/// The sandbox's database.
pub const DATABASE: &str = "healer";

/// Where root keeps it: a home of root is closed to the account that the server runs under.
const DIR_OF_ROOT: &str = "/var/tmp/healer-sandbox";

/// The sandbox in use by this process.
#[derive(Debug)]
pub struct Sandbox {
    cluster: Cluster,
    dir: PathBuf,
}

impl Sandbox {
    /// Starts the sandbox in `dir`, by default in the user's cache folder, and fills it if it is new.
    ///
    /// `prepare` is called once, after filling, on the sandbox's database; its error is passed on as text.
    pub fn open(dir: Option<&Path>, prepare: &dyn Fn(&mut Client) -> Result<(), String>) -> Result<Self, SandboxError> {
        let dir = match dir {
            Some(dir) => dir.to_owned(),
            None => default_dir(Account::choose()? != Account::Myself, |name| env::var_os(name))?,
        };
        let filling = seed::name();
        let options = ClusterOptions { dir: &dir, filling: &filling, settings: &[], remove: false };
        let cluster = Cluster::open(&options, &|cluster| {
            cluster
                .client("postgres")?
                .batch_execute(&format!("CREATE DATABASE {DATABASE}"))
                .map_err(|source| SandboxError::Seed { file: "CREATE DATABASE", source })?;
            let mut client = cluster.client(DATABASE)?;
            seed::fill(&mut client)?;
            prepare(&mut client).map_err(|message| SandboxError::Prepare { message })
        })?;
        Ok(Self { cluster, dir })
    }

    /// The URL of the sandbox's database.
    pub fn url(&self) -> String {
        self.cluster.url(DATABASE)
    }

    /// The folder that holds all of it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether this call made it.
    pub fn created(&self) -> bool {
        self.cluster.created()
    }

    /// The server.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

/// The folder that is used without `--sandbox=DIR`.
fn default_dir(root: bool, variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, SandboxError> {
    if root {
        return Ok(PathBuf::from(DIR_OF_ROOT));
    }
    // A relative path in a variable is void by the XDG specification, and would move with the working folder.
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| {
        let below = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
        absolute("HOME").map(|home| home.join(below))
    });
    cache.map(|cache| cache.join("healer/sandbox")).ok_or(SandboxError::NoHome)
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// No Postgres programs were found.
    #[error("no Postgres server (initdb and postgres) in any of {places} folders")]
    NoBinaries {
        /// How many folders were looked at.
        places: usize,
    },
    /// The programs that were found or named cannot be used.
    #[error("the Postgres programs in {} cannot be used: {reason}", dir.display())]
    BadBinaries {
        /// The folder.
        dir: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Neither `XDG_CACHE_HOME` nor `HOME` names a folder.
    #[error("no place for the sandbox: neither XDG_CACHE_HOME nor HOME is an absolute path")]
    NoHome,
    /// The folder holds something that is not ours.
    #[error("{} is not empty and was not made by healer", dir.display())]
    Foreign {
        /// The folder.
        dir: PathBuf,
    },
    /// Root would work in a folder that somebody else owns.
    #[error("{} belongs to user {owner}, and healer runs as root", dir.display())]
    NotRoots {
        /// The folder.
        dir: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// The server's account cannot get to the folder.
    #[error("user {uid}, under which the server runs, cannot enter {}", folder.display())]
    Unreachable {
        /// The sandbox's folder.
        dir: PathBuf,
        /// The folder that is closed.
        folder: PathBuf,
        /// The server's user.
        uid: u32,
    },
    /// The short folder for the socket is somebody else's.
    #[error("{} is needed for the socket and belongs to somebody else", path.display())]
    SocketDir {
        /// The folder.
        path: PathBuf,
    },
    /// Another process has been starting or filling it for too long.
    #[error("another healer has been starting the sandbox in {} for two minutes", dir.display())]
    Busy {
        /// The folder.
        dir: PathBuf,
    },
    /// Another version of healer is using it right now.
    #[error("the sandbox in {} is in use by another version of healer", dir.display())]
    OtherFilling {
        /// The folder.
        dir: PathBuf,
    },
    /// `initdb` failed.
    #[error("initdb failed: {detail}")]
    Initdb {
        /// The end of what it said.
        detail: String,
    },
    /// The server did not start.
    #[error("the sandbox's server did not start: {detail}")]
    Start {
        /// The end of its log.
        detail: String,
    },
    /// The server runs and refuses a connection.
    #[error("the sandbox's database {database} cannot be reached: {source}")]
    Connect {
        /// The database.
        database: String,
        /// The driver's word.
        source: postgres::Error,
    },
    /// A file of the filling failed.
    #[error("filling the sandbox failed in {file}: {}", database_message(source))]
    Seed {
        /// The file below `sql/sandbox/`.
        file: &'static str,
        /// The driver's word.
        source: postgres::Error,
    },
    /// What the caller does after filling failed.
    #[error("preparing the sandbox failed: {message}")]
    Prepare {
        /// The caller's word.
        message: String,
    },
    /// A file or a program could not be used.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried, for example `creating`.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

impl SandboxError {
    /// Makes an [`io::Error`] say what was tried on which path.
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    /// The next step, in one line.
    pub fn hint(&self) -> String {
        match self {
            Self::NoBinaries { .. } => "install it (`apt install postgresql`, `brew install postgresql`), or set \
                                        HEALER_PG_BIN to the folder that holds initdb and postgres"
                .into(),
            Self::BadBinaries { .. } => {
                "set HEALER_PG_BIN to the folder that holds initdb and postgres, version 13 or newer".into()
            }
            Self::NoHome | Self::SocketDir { .. } => "name a folder: --sandbox=DIR".into(),
            Self::Foreign { .. } => "name an empty or a new folder: --sandbox=DIR".into(),
            Self::NotRoots { .. } => "name a folder of root, or run healer as the folder's owner".into(),
            Self::Unreachable { dir, .. } => format!(
                "name a folder that others can enter instead of {}, for example --sandbox={DIR_OF_ROOT}",
                dir.display()
            ),
            Self::Busy { .. } => "wait for it, or name another folder: --sandbox=DIR".into(),
            Self::OtherFilling { .. } => "wait until it has ended, or name another folder: --sandbox=DIR".into(),
            Self::Initdb { .. } | Self::Start { .. } => {
                "check the free space; HEALER_PG_BIN chooses another Postgres, --sandbox=DIR another folder".into()
            }
            Self::Connect { .. } | Self::Seed { .. } | Self::Prepare { .. } => {
                "server.log in the sandbox's folder says more; HEALER_PG_BIN chooses another Postgres".into()
            }
            Self::Io { .. } => "check the path, its owner and the free space, or name another: --sandbox=DIR".into(),
        }
    }
}

/// The server's message, which the driver's own words leave out.
fn database_message(error: &postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), |found| format!("{} ({})", found.message(), found.code().code()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<OsString> {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
    }

    #[test]
    fn the_folder_is_the_cache_of_the_user() {
        let found = default_dir(false, variables(&[("XDG_CACHE_HOME", "/cache"), ("HOME", "/home/me")]));
        assert_eq!(found.expect("a folder"), Path::new("/cache/healer/sandbox"));
    }

    #[test]
    fn a_relative_cache_is_void() {
        let found = default_dir(false, variables(&[("XDG_CACHE_HOME", "cache"), ("HOME", "/home/me")]));
        assert!(found.expect("a folder").starts_with("/home/me"));
    }

    #[test]
    fn root_keeps_it_where_the_server_can_reach_it() {
        let found = default_dir(true, variables(&[("HOME", "/root")]));
        assert_eq!(found.expect("a folder"), Path::new(DIR_OF_ROOT));
    }

    #[test]
    fn without_a_home_the_error_says_what_to_do() {
        let error = default_dir(false, variables(&[])).expect_err("no folder");
        assert!(error.hint().contains("--sandbox=DIR"));
    }
}
