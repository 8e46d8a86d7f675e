//! A `PgBouncer` in front of a database, in transaction mode with one server connection: what one session leaves behind,
//! the next one meets.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use healer::sandbox::{Account, Cluster};
use postgres::{Client, NoTls};
use tempfile::TempDir;

/// The port only names the socket: nothing listens on TCP.
const PORT: u16 = 6432;

/// Ends the pooler when the pipe from the test process closes, however that process ends.
const KEEPER: &str = r#""$1" -q "$2" & pid=$!; read -r _; kill -INT "$pid"; wait "$pid""#;

/// A running pooler. Dropping it stops it.
#[derive(Debug)]
pub struct Pooler {
    dir: TempDir,
    database: String,
    keeper: Child,
    pipe: Option<ChildStdin>,
}

impl Pooler {
    /// Whether this machine has one.
    pub fn is_installed() -> bool {
        program().is_some()
    }

    /// Puts a pooler before `database`; `None` where it is not installed.
    pub fn start(cluster: &Cluster, database: &str) -> Option<Self> {
        let program = program()?;
        let account = Account::choose().expect("the account of this process");
        let dir = tempfile::Builder::new().prefix("healer-pooler-").tempdir().expect("a temporary folder");
        account.own(dir.path()).expect("the folder is ours");

        let config = dir.path().join("pgbouncer.ini");
        // From 1.21 on it can hide prepared statements; the older ones and other poolers cannot.
        let strict = if version(&program) >= (1, 21) { "max_prepared_statements = 0\n" } else { "" };
        let text = format!(
            "[databases]\n* = host={host} port={port}\n\n[pgbouncer]\nlisten_addr =\nlisten_port = {PORT}\n\
             unix_socket_dir = {own}\nauth_type = trust\nauth_file = {own}/users\npool_mode = transaction\n\
             default_pool_size = 1\nmax_client_conn = 100\nlogfile = {own}/log\n{strict}",
            host = cluster.socket_dir().display(),
            port = cluster.port(),
            own = dir.path().display(),
        );
        fs::write(&config, text).expect("the configuration is written");
        fs::write(dir.path().join("users"), "\"postgres\" \"\"\n").expect("the users are written");

        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", KEEPER, "pooler-keeper"])
            .args([&program, &config])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        account.apply(&mut command);
        let mut keeper = command.spawn().expect("the keeper starts");
        let pipe = keeper.stdin.take();
        let mut pooler = Self { dir, database: database.to_owned(), keeper, pipe };
        pooler.await_ready();
        Some(pooler)
    }

    /// The URL of the database behind the pooler.
    pub fn url(&self) -> String {
        format!("postgresql:///{}?host={}&port={PORT}&user=postgres", self.database, self.dir.path().display())
    }

    /// A connection through the pooler.
    pub fn client(&self) -> Result<Client, postgres::Error> {
        Client::connect(&self.url(), NoTls)
    }

    fn await_ready(&mut self) {
        // It has no word for being ready: the first connection that succeeds says so.
        while let Err(error) = self.client() {
            if let Ok(Some(status)) = self.keeper.try_wait() {
                let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
                panic!("the pooler ended with {status}: {error}: {log}");
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.keeper.wait();
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/opt/homebrew/bin".into(), "/usr/local/bin".into()])
        .map(|dir| dir.join("pgbouncer"))
        .find(|path| path.is_file())
}

fn version(program: &Path) -> (u32, u32) {
    let output = Command::new(program).arg("--version").output().expect("pgbouncer says its version");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers =
        text.split_whitespace().nth(1).unwrap_or_default().split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
