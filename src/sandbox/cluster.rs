//! A throwaway Postgres server that lives exactly as long as somebody uses it.
//!
//! # How it stops
//! Every user of a server has a *keeper*: a shell that reads from a pipe whose other end only this process holds. The
//! kernel closes that end however the process ends, by `kill -9` too. The keeper then signs its user off and, if
//! nobody is left, stops the server. A user signs on *before* it looks for a server to share, and a keeper announces
//! that it is stopping *before* it looks for users, so that one of the two always sees the other.
//! Only if both are killed at once does a server stay behind; the next user shares it, and stops it when it leaves.
//!
//! # What lies in the folder
//! `HEALER_SANDBOX` (marks it as ours; nothing is deleted without it), `start.lock`, `server.log`, `complete` (what the
//! data was filled with; written last, so that data without it is half made), `data/`, and `run/` with the socket, the
//! users that are signed on and the server's pid.
//!
//! # Limits
//! The server trusts whoever can reach its socket, which lies in a folder of mode 0700; it listens on no port, and
//! gives up durability against a crash of the machine for speed.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, Config, NoTls};

use super::SandboxError;
use super::binaries::Binaries;
use super::folder::{Folder, LOOK_AGAIN, PORT, last_lines};
use super::keeper::{Keeper, quiet_command};

/// The superuser of every cluster.
const SUPERUSER: &str = "postgres";

/// A server on a slow disk under load is given this long to take connections; it normally needs a tenth of a second.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// How long to wait for a server that was told to stop; it writes what is in memory.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Settings for a server whose data may be lost with the machine but must start and fill fast.
const SETTINGS: [&str; 13] = [
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_connections=100",
    "track_io_timing=on",
    "jit=off",
    "timezone=UTC",
    "log_timezone=UTC",
    "log_line_prefix=%m [%p] %a ",
];

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct ClusterOptions<'a> {
    /// The folder; it is created where it does not exist.
    pub dir: &'a Path,
    /// Names what the data is filled with. Data of another name is made anew.
    pub filling: &'a str,
    /// More settings of the server, as `name=value`.
    pub settings: &'a [&'a str],
    /// Whether the last user removes the folder.
    pub remove: bool,
}

/// One use of a server. Dropping the last one of a folder stops the server.
#[derive(Debug)]
pub struct Cluster {
    // Fields are dropped in this order: the server's exit status can be collected once the keeper has stopped it.
    _keeper: Keeper,
    server: Option<Server>,
    socket_dir: PathBuf,
    major: u32,
    created: bool,
}

/// The server process, where this process started it.
#[derive(Debug)]
struct Server(Child);

impl Cluster {
    /// Starts the server of a folder, or shares the one that runs already.
    ///
    /// `fill` is called once for new data, with the server running, before anybody else can use it. Data that was only
    /// half filled (by a process that was killed), that was filled with something else, or that another major version
    /// of Postgres wrote is made anew.
    pub fn open(
        options: &ClusterOptions<'_>,
        fill: &dyn Fn(&Self) -> Result<(), SandboxError>,
    ) -> Result<Self, SandboxError> {
        let folder = Folder::claim(options.dir)?;
        // Held to the end of this function, whichever way it ends.
        let _turn = folder.take_turn()?;
        let mut cluster = Self {
            _keeper: Keeper::start(&folder, options.remove)?,
            server: None,
            socket_dir: folder.socket_dir.clone(),
            major: 0,
            created: false,
        };
        folder.await_stopping()?;

        let is_filled = folder.holds(options.filling);
        let version = folder.data_version();
        if cluster.answers() {
            if let (true, Some(major)) = (is_filled, version) {
                cluster.major = major;
                return Ok(cluster);
            }
            stop_unwanted(&folder)?;
        }

        let binaries = Binaries::find()?;
        cluster.major = binaries.major;
        cluster.created = !is_filled || version != Some(binaries.major);
        if cluster.created {
            if let Some(version) = version {
                log::info!("the sandbox is made anew: it is half made, of another healer, or of Postgres {version}");
            }
            init(&binaries, &folder)?;
        }
        cluster.start(&binaries, &folder, options.settings)?;
        if cluster.created {
            fill(&cluster)?;
            folder.complete(options.filling)?;
        }
        Ok(cluster)
    }

    /// The folder of the server's socket.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The number in the name of the socket file.
    pub fn port(&self) -> u16 {
        PORT
    }

    /// The major version of the server.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Whether the data was made by this call.
    pub fn created(&self) -> bool {
        self.created
    }

    /// The URL of `database`, for the superuser, as libpq and healer read it.
    pub fn url(&self, database: &str) -> String {
        self.url_as(SUPERUSER, database)
    }

    /// The URL of `database` for `role`.
    pub fn url_as(&self, role: &str, database: &str) -> String {
        let host = percent_encode(self.socket_dir.as_os_str().as_bytes());
        let (role, database) = (percent_encode(role.as_bytes()), percent_encode(database.as_bytes()));
        format!("postgresql:///{database}?host={host}&port={PORT}&user={role}")
    }

    /// A connection to `database` as the superuser.
    pub fn client(&self, database: &str) -> Result<Client, SandboxError> {
        self.connect(database).map_err(|source| SandboxError::Connect { database: database.to_owned(), source })
    }

    fn connect(&self, database: &str) -> Result<Client, postgres::Error> {
        Config::new()
            .host_path(&self.socket_dir)
            .port(PORT)
            .user(SUPERUSER)
            .dbname(database)
            .application_name("healer sandbox")
            .connect(NoTls)
    }

    /// Whether a server runs. One that is still starting or stopping is waited for.
    fn answers(&self) -> bool {
        let start = Instant::now();
        loop {
            match self.connect("postgres") {
                Ok(_) => return true,
                Err(error) => match error.code().map(postgres::error::SqlState::code) {
                    None => return false,
                    Some("57P03") if start.elapsed() < READY_LIMIT => thread::sleep(LOOK_AGAIN),
                    // Whatever it says, for example that it has too many connections, it is there.
                    Some(_) => return true,
                },
            }
        }
    }

    /// Starts `postgres` and waits until it takes connections.
    fn start(&mut self, binaries: &Binaries, folder: &Folder, more: &[&str]) -> Result<(), SandboxError> {
        let log = File::create(&folder.log).map_err(SandboxError::io("creating", &folder.log))?;
        let second = log.try_clone().map_err(SandboxError::io("creating", &folder.log))?;
        let mut command = quiet_command(&binaries.postgres, folder.account);
        command.arg("-D").arg(&folder.data).arg("-k").arg(&self.socket_dir).args(["-p", &PORT.to_string()]);
        for setting in SETTINGS.iter().chain(more) {
            command.args(["-c", setting]);
        }
        if binaries.has_pg_stat_statements {
            command.args(["-c", "shared_preload_libraries=pg_stat_statements"]);
        }
        let process =
            command.stdout(log).stderr(second).spawn().map_err(SandboxError::io("running", &binaries.postgres))?;
        let Server(process) = self.server.insert(Server(process));
        folder.note_server(process.id())?;

        let start = Instant::now();
        loop {
            // Looked at before the connection, which is what lets `self` be borrowed by one of them at a time.
            let ended = self.server.as_mut().and_then(|Server(process)| process.try_wait().ok().flatten());
            if let Some(status) = ended {
                return Err(SandboxError::Start { detail: format!("{status}: {}", folder.last_words()) });
            }
            match self.connect("postgres") {
                Ok(_) => return Ok(()),
                Err(error) if start.elapsed() > READY_LIMIT => {
                    return Err(SandboxError::Start { detail: format!("{error}: {}", folder.last_words()) });
                }
                Err(_) => thread::sleep(LOOK_AGAIN),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Collects the exit status of a server that has stopped. One that others still use goes on without us.
        let _ = self.0.try_wait();
    }
}

/// Stops a server whose data is not what we want, unless somebody else is using it.
fn stop_unwanted(folder: &Folder) -> Result<(), SandboxError> {
    let users = folder.users();
    // We are signed on ourselves.
    if fs::read_dir(&users).map_err(SandboxError::io("listing", &users))?.count() > 1 {
        return Err(SandboxError::OtherFilling { dir: folder.dir.clone() });
    }
    let path = folder.data.join("postmaster.pid");
    let text = fs::read_to_string(&path).map_err(SandboxError::io("reading", &path))?;
    let pid = text.lines().next().unwrap_or_default();
    // The word of the shell: the program `kill` is not on every machine.
    let shell = Path::new("/bin/sh");
    quiet_command(shell, folder.account)
        .args(["-c", r#"kill -INT "$1""#, "healer-sandbox-stop", pid])
        .status()
        .map_err(SandboxError::io("running", shell))?;
    let start = Instant::now();
    while path.exists() {
        if start.elapsed() > STOP_LIMIT {
            return Err(SandboxError::Start { detail: format!("the server with pid {pid} does not stop") });
        }
        thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// Runs `initdb`. The data comes to its place only when it is whole.
fn init(binaries: &Binaries, folder: &Folder) -> Result<(), SandboxError> {
    let fresh = folder.fresh()?;
    let output = quiet_command(&binaries.initdb, folder.account)
        .arg("-D")
        .arg(&fresh)
        .args(["-U", SUPERUSER, "--auth=trust", "--locale=C", "--encoding=UTF8", "--no-sync"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .map_err(SandboxError::io("running", &binaries.initdb))?;
    if !output.status.success() {
        return Err(SandboxError::Initdb { detail: last_lines(&String::from_utf8_lossy(&output.stderr)) });
    }
    fs::rename(&fresh, &folder.data).map_err(SandboxError::io("moving to its place", &folder.data))
}

/// Percent-encodes all but what a query of a URL may hold as it is.
fn percent_encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => text.push(char::from(*byte)),
            other => text.extend(['%', hex_digit(other >> 4), hex_digit(other & 15)]),
        }
    }
    text
}

/// The digit for a number below 16.
fn hex_digit(number: u8) -> char {
    char::from(if number < 10 { b'0' + number } else { b'A' + number - 10 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_encoded_path_is_read_back_by_the_driver(name in "[^\u{0}/]{1,40}") {
            let url = format!("postgresql:///d?host=/tmp/{}&user=u", percent_encode(name.as_bytes()));
            let config: Config = url.parse().expect("a valid URL");
            let expected = postgres::config::Host::Unix(PathBuf::from(format!("/tmp/{name}")));
            prop_assert_eq!(config.get_hosts(), &[expected]);
        }
    }
}
