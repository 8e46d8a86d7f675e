//! A server that listens on TCP, with TLS and access rules of its own choosing: what the shared server, which has only a
//! socket, cannot show.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use healer::sandbox::{Account, Binaries};
use postgres::{Client, NoTls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

/// Ends the server when the pipe from the test process closes, however that process ends; says when it has ended.
const KEEPER: &str = r#"
(trap 'kill -INT "$pid"' TERM; "$1/postgres" -D "$2" & pid=$!; wait "$pid"; wait "$pid"; echo "the server ended" >&2) &
read -r _; kill -TERM $!; wait"#;

/// A running server, stopped when dropped.
pub struct TlsCluster {
    directory: tempfile::TempDir,
    account: Account,
    bin: PathBuf,
    settings: String,
    keeper: Option<Child>,
    /// How often it has ended, so far.
    ended: usize,
    /// Where it listens on 127.0.0.1; 0 before [`TlsCluster::up`].
    pub port: u16,
}

/// Ports that are tried: between asking for a free one and taking it another test may be faster.
const ATTEMPTS: usize = 20;

impl TlsCluster {
    /// Makes one. `hba` is the whole of `pg_hba.conf` for TCP; the socket trusts everybody.
    pub fn start(settings: &str, hba: &str) -> Self {
        let binaries = Binaries::find().expect("a Postgres");
        let bin = binaries.postgres.parent().expect("a folder").to_owned();
        let account = Account::choose().expect("the account of this process");
        let directory = tempfile::Builder::new().prefix("healer-tls-").tempdir().expect("a temporary folder");
        account.own(directory.path()).expect("the folder is ours");
        let cluster = Self { directory, account, bin, settings: settings.to_owned(), keeper: None, ended: 0, port: 0 };
        let initdb = cluster
            .command(&binaries.initdb)
            .arg("-D")
            .arg(cluster.data())
            .args(["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"])
            .status()
            .expect("initdb runs");
        assert!(initdb.success(), "{}", cluster.log());
        cluster.write("data/pg_hba.conf", &format!("local all all trust\n{hba}"));
        cluster
    }

    /// Writes a file that the server may read, mode 0600.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).expect("the file is written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("its mode is set");
        self.account.own(&path).expect("it is given away");
        path
    }

    /// Starts it on a free port.
    pub fn up(mut self) -> Self {
        for _ in 0..ATTEMPTS {
            self.port = TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a free port").port();
            let settings = format!(
                "listen_addresses='127.0.0.1'\nport={}\nunix_socket_directories='{}'\nfsync=off\nmax_connections=20\n{}",
                self.port,
                self.directory.path().display(),
                self.settings
            );
            self.write("data/postgresql.auto.conf", &settings);
            self.keeper = Some(
                self.command(Path::new("/bin/sh"))
                    .args(["-c", KEEPER, "tls-cluster-keeper"])
                    .args([self.bin.as_path(), &self.data()])
                    .stdin(Stdio::piped())
                    .spawn()
                    .expect("the keeper starts"),
            );
            if self.answers() {
                return self;
            }
            self.stop();
        }
        panic!("the server does not start: {}", self.log());
    }

    /// The folder of its socket.
    pub fn socket(&self) -> &Path {
        self.directory.path()
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Waits until it takes connections, or has ended.
    fn answers(&mut self) -> bool {
        let url = format!("host={} port={} user=postgres dbname=postgres", self.socket().display(), self.port);
        loop {
            if Client::connect(&url, NoTls).is_ok() {
                return true;
            }
            if self.log().matches("the server ended").count() > self.ended {
                return false;
            }
            std::thread::yield_now();
        }
    }

    /// Stops it in order; [`TlsCluster::up`] starts it again.
    pub fn stop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
            self.ended += 1;
        }
    }

    fn command(&self, program: &Path) -> Command {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.directory.path().join("log"));
        let mut command = Command::new(program);
        command
            .current_dir(self.directory.path())
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("the log is opened"));
        self.account.apply(&mut command);
        command
    }
}

impl Drop for TlsCluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key for a name; expired where asked for.
    pub fn issue(&self, name: &str, expired: bool) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if expired {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// A self-signed certificate that calls itself an authority, as `openssl req -x509` makes it.
pub fn self_signed(name: &str) -> (String, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}
