//! A `PgBouncer` in front of a database, in transaction mode with one server connection: what one session leaves behind,
//! the next one meets.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use healer::sandbox::{Account, Cluster};
use postgres::{Client, NoTls};
use tempfile::TempDir;

/// The port only names the socket: nothing listens on TCP.
const PORT: u16 = 6432;

/// Ends the pooler when the pipe from the test process closes, however that process ends.
const KEEPER: &str = r#""$1" -q "$2" & pid=$!; read -r _; kill -INT "$pid"; wait "$pid""#;

/// Ports that are tried: between asking for a free one and taking it another test may be faster.
const ATTEMPTS: usize = 20;

/// How a pooler on TCP lets clients in: with TLS only, and by password.
#[derive(Debug)]
pub struct Door {
    /// Its certificate, in PEM form.
    pub certificate: String,
    /// The key of that.
    pub key: String,
    /// `scram-sha-256` or `md5`.
    pub method: &'static str,
    /// The password of `postgres`.
    pub password: &'static str,
}

/// A running pooler. Dropping it stops it.
#[derive(Debug)]
pub struct Pooler {
    dir: TempDir,
    database: String,
    port: u16,
    password: Option<&'static str>,
    keeper: Child,
    pipe: Option<ChildStdin>,
}

impl Pooler {
    /// Whether this machine has one.
    pub fn is_installed() -> bool {
        program().is_some()
    }

    /// Puts a pooler before `database`, on a socket that trusts everybody; `None` where it is not installed.
    pub fn start(cluster: &Cluster, database: &str) -> Option<Self> {
        let program = program()?;
        let pooler = Self::launch(&program, cluster, database, PORT, None);
        Some(pooler.unwrap_or_else(|problem| panic!("{problem}")))
    }

    /// The same on TCP, with TLS and passwords.
    pub fn secured(cluster: &Cluster, database: &str, door: &Door) -> Option<Self> {
        let program = program()?;
        let mut problem = String::new();
        for _ in 0..ATTEMPTS {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a free port");
            match Self::launch(&program, cluster, database, free.port(), Some(door)) {
                Ok(pooler) => return Some(pooler),
                Err(found) => problem = found,
            }
        }
        panic!("{problem}")
    }

    fn launch(
        program: &Path,
        cluster: &Cluster,
        database: &str,
        port: u16,
        door: Option<&Door>,
    ) -> Result<Self, String> {
        let account = Account::choose().expect("the account of this process");
        let dir = tempfile::Builder::new().prefix("healer-pooler-").tempdir().expect("a temporary folder");
        account.own(dir.path()).expect("the folder is ours");
        let own = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).expect("the file is written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode is set");
            account.own(&path).expect("it is given away");
            path
        };
        // From 1.21 on it can hide prepared statements; the older ones and other poolers cannot.
        let strict = if version(program) >= (1, 21) { "max_prepared_statements = 0\n" } else { "" };
        let entry = match door {
            None => "listen_addr =\nauth_type = trust\n".to_owned(),
            Some(door) => {
                let (certificate, key) = (own("server.pem", &door.certificate), own("server.key", &door.key));
                format!(
                    "listen_addr = 127.0.0.1\nauth_type = {}\nclient_tls_sslmode = require\n\
                     client_tls_cert_file = {}\nclient_tls_key_file = {}\n",
                    door.method,
                    certificate.display(),
                    key.display()
                )
            }
        };
        let text = format!(
            "[databases]\n* = host={host} port={their_port}\n\n[pgbouncer]\n{entry}listen_port = {port}\n\
             unix_socket_dir = {own}\nauth_file = {own}/users\npool_mode = transaction\n\
             default_pool_size = 1\nmax_client_conn = 100\nlogfile = {own}/log\n{strict}",
            host = cluster.socket_dir().display(),
            their_port = cluster.port(),
            own = dir.path().display(),
        );
        let config = own("pgbouncer.ini", &text);
        let password = door.map(|door| door.password);
        own("users", &format!("\"postgres\" \"{}\"\n", password.unwrap_or_default()));

        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", KEEPER, "pooler-keeper"])
            .args([program, &config])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        account.apply(&mut command);
        let mut keeper = command.spawn().expect("the keeper starts");
        let pipe = keeper.stdin.take();
        let mut pooler = Self { dir, database: database.to_owned(), port, password, keeper, pipe };
        pooler.await_ready()?;
        Ok(pooler)
    }

    /// The URL of the database behind the pooler, by its socket.
    pub fn url(&self) -> String {
        let password =
            self.password.map(|password| format!("&password={}", password.replace('@', "%40"))).unwrap_or_default();
        format!(
            "postgresql:///{}?host={}&port={}&user=postgres{password}",
            self.database,
            self.dir.path().display(),
            self.port
        )
    }

    /// Its URL on TCP without user and password, for a host of this name (dialled on this machine whatever it is).
    pub fn tcp_url(&self, host: &str, rest: &str) -> String {
        format!("postgresql://{host}:{}/{}?hostaddr=127.0.0.1&{rest}", self.port, self.database)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A connection through the pooler.
    pub fn client(&self) -> Result<Client, postgres::Error> {
        Client::connect(&self.url(), NoTls)
    }

    fn await_ready(&mut self) -> Result<(), String> {
        let config: postgres::Config = self.url().parse().expect("our own URL");
        // It has no word for being ready: the first connection that succeeds says so.
        while let Err(error) = config.connect(NoTls) {
            // It answers, and it will not answer otherwise the next time.
            assert!(error.as_db_error().is_none(), "the pooler refuses: {error:?}");
            if let Ok(Some(status)) = self.keeper.try_wait() {
                let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
                return Err(format!("the pooler ended with {status}: {error}: {log}"));
            }
            std::thread::yield_now();
        }
        Ok(())
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
