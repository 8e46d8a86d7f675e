//! Where the database is: sources, parsing and defaults of connection settings.
//!
//! The order of sources is `--database-url-file`, `DATABASE_URL_FILE`, `DATABASE_URL`, then the `PG*` variables. What a
//! source leaves open is filled as libpq does: service file, `PG*` variables, password file, defaults.
//!
//! No error of this module repeats a *value*: a URL that was quoted wrongly has pieces of the password anywhere, also
//! where a host or a parameter's name should be. Only names from the list of known parameters, names of variables
//! and paths (unless they look like a URL themselves) are printed. A URL that more than one reading fits is refused.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgres::config::ChannelBinding;

use super::conninfo::{self, KEYS, Use};
use super::{password_file, service_file};

/// The port of Postgres (registered with IANA, the default of libpq).
const DEFAULT_PORT: u16 = 5432;
/// Seconds for one address to accept, shake hands and authenticate: what people wait, and above any sane round trip.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest file or variable that is read as a connection string. Real ones have some hundred bytes.
const MAX_TEXT: usize = 16 * 1024;
/// Most hosts in one string: each may cost a whole time-out.
const MAX_HOSTS: usize = 16;
/// Port on which Supavisor and many hosted `PgBouncer`s serve transaction mode.
const TRANSACTION_POOLER_PORT: u16 = 6543;
/// Where distributions and the server's own default put the socket, in the order in which libpq builds meet them.
const SOCKET_DIRECTORIES: [&str; 3] = ["/var/run/postgresql", "/run/postgresql", "/tmp"];

/// A value that must never be printed. `Debug` and `Display` show `***`, whatever is inside.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a value into custody.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// Whether the secret is this value; for tests and for masking what a server echoes.
    pub fn is(&self, value: &str) -> bool {
        self.0 == value
    }

    /// The value itself, for the driver only.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How much TLS is asked for; the meaning is libpq's. `allow` is read as `prefer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS where the server has it, unverified; plain text otherwise.
    Prefer,
    /// Always TLS; the chain is verified only where a root certificate is given.
    Require,
    /// TLS, and the chain leads to a trusted root.
    VerifyCa,
    /// TLS, a trusted chain, and the certificate is for this host.
    VerifyFull,
}

impl SslMode {
    /// The word that connection strings use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// Where trusted root certificates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootCert {
    /// The operating system's store (`sslrootcert=system`).
    System,
    /// A PEM file with one or more certificates.
    Path(PathBuf),
}

/// Which kind of server the session asks for (`target_session_attrs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetSession {
    /// Any server.
    Any,
    /// One that takes writes (`read-write`, `primary`).
    ReadWrite,
    /// One that takes none (`read-only`, `standby`).
    ReadOnly,
    /// One that takes none if there is one, else any (`prefer-standby`).
    PreferReadOnly,
}

/// Where one server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// TCP: the name (also the name that a certificate must carry) and the address if it was given.
    Tcp {
        /// Host name or address as text.
        host: String,
        /// `hostaddr`: dialled instead of asking the resolver.
        address: Option<IpAddr>,
    },
    /// Directory of a Unix socket.
    Socket(PathBuf),
}

/// One server to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub place: Place,
    /// Its port; for a socket the number in the socket's name.
    pub port: u16,
    /// The password that the password file holds for this server, where the settings have none.
    pub password: Option<Secret>,
}

impl Endpoint {
    /// Whether the server is on this machine, so that nobody can listen on the wire.
    pub fn is_local(&self) -> bool {
        match &self.place {
            Place::Socket(_) => true,
            Place::Tcp { address: Some(address), .. } => address.is_loopback(),
            Place::Tcp { host, address: None } => {
                host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp { host, .. } if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Place::Tcp { host, .. } => write!(f, "{host}:{}", self.port),
            Place::Socket(directory) => write!(f, "{}:{}", directory.display(), self.port),
        }
    }
}

/// TCP keepalive probes. On by default: a session that waits for a lock is silent for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalives {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Unanswered probes after which the connection is given up.
    pub retries: u32,
}

/// Client certificate and its key, both PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate chain (`sslcert`).
    pub certificate: PathBuf,
    /// The unencrypted key (`sslkey`).
    pub key: PathBuf,
}

/// TLS versions that may be spoken; rustls has no older ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersions {
    /// 1.2 or 1.3.
    Both,
    /// 1.2 only (`ssl_max_protocol_version`).
    Only12,
    /// 1.3 only (`ssl_min_protocol_version`).
    Only13,
}

/// The finer points of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsDetails {
    /// Client certificate.
    pub client_cert: Option<ClientCertificate>,
    /// Whether the host's name is sent in the handshake (`sslsni`).
    pub sni: bool,
    /// TLS from the first byte (`sslnegotiation=direct`, Postgres 17 and newer).
    pub direct: bool,
    /// Which versions.
    pub versions: TlsVersions,
}

/// Where the settings came from; shown by `doctor` and by every error of this module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlSource {
    /// `--database-url-file`.
    FileFlag(PathBuf),
    /// `DATABASE_URL_FILE`.
    FileVariable(PathBuf),
    /// A variable that holds the string itself: `DATABASE_URL`, `DATABASE_DIRECT_URL`.
    Variable(&'static str),
    /// `PGHOST` and its siblings.
    PgVariables,
    /// The throwaway server of `--sandbox`.
    Sandbox,
}

impl fmt::Display for UrlSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileFlag(path) => write!(f, "--database-url-file {}", printable_path(path)),
            Self::FileVariable(path) => write!(f, "DATABASE_URL_FILE ({})", printable_path(path)),
            Self::Variable(name) => f.write_str(name),
            Self::PgVariables => f.write_str("the PG* variables"),
            Self::Sandbox => f.write_str("--sandbox"),
        }
    }
}

/// Everything that is needed to open a session. Holds no secret outside of [`Secret`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectSettings {
    /// Servers in the order in which they are tried; never empty.
    pub hosts: Vec<Endpoint>,
    /// Role.
    pub user: String,
    /// Password for every host; see also [`Endpoint::password`].
    pub password: Option<Secret>,
    /// Database.
    pub dbname: String,
    /// How much TLS.
    pub ssl_mode: SslMode,
    /// Trusted roots, where given or found at `~/.postgresql/root.crt`.
    pub ssl_root_cert: Option<RootCert>,
    /// The finer points of TLS.
    pub tls: TlsDetails,
    /// SCRAM channel binding.
    pub channel_binding: ChannelBinding,
    /// Name shown in `pg_stat_activity`.
    pub application_name: String,
    /// Limit for one address, from the first packet to the end of authentication.
    pub connect_timeout: Duration,
    /// Server options of the start-up packet; only what the user asked for, poolers refuse them. May hold anything.
    pub options: Option<Secret>,
    /// Which kind of server.
    pub target_session: TargetSession,
    /// Whether hosts are tried in random order.
    pub random_host_order: bool,
    /// TCP keepalives; `None` when switched off.
    pub keepalives: Option<Keepalives>,
    /// How long sent data may stay unacknowledged.
    pub tcp_user_timeout: Duration,
    /// Schema that the URL names (`schema`, `search_path`, `currentSchema`).
    pub schema: Option<String>,
    /// Whether the string says or looks like a pooler in transaction mode.
    pub pooler_hint: bool,
    /// Where all this came from.
    pub source: UrlSource,
    /// What was understood and deliberately not used, for `doctor`. One sentence each, without values.
    pub notes: Vec<String>,
}

impl ConnectSettings {
    /// `host:port/dbname as user`, several hosts with commas. Holds no secret.
    pub fn display_target(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(ToString::to_string).collect();
        self.target_of(&hosts.join(","))
    }

    /// The same for one host.
    pub(super) fn target_of(&self, host: &str) -> String {
        format!("{host}/{} as {}", self.dbname, self.user)
    }
}

/// A character that must be percent-encoded in a user name or password, because it splits the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Splitter {
    /// `@`
    At,
    /// `#`
    Hash,
    /// `/`
    Slash,
    /// `?`
    Question,
    /// `:`
    Colon,
    /// `%` that two hexadecimal digits do not follow.
    Percent,
    /// A space.
    Space,
}

impl fmt::Display for Splitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::At => "`@`",
            Self::Hash => "`#`",
            Self::Slash => "`/`",
            Self::Question => "`?`",
            Self::Colon => "`:`",
            Self::Percent => "`%`",
            Self::Space => "space",
        })
    }
}

/// Why no settings could be had. Never repeats a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Nothing names a database.
    #[error("no database: DATABASE_URL is {}", if *.empty { "empty" } else { "not set" })]
    NoSource {
        /// Whether the variable exists, but is empty.
        empty: bool,
    },
    /// A file option holds something that is no path.
    #[error("{origin} takes the path of a file, but holds what looks like a connection string")]
    FileIsUrl {
        /// Name of the flag or variable.
        origin: &'static str,
    },
    /// A file could not be read.
    #[error("{origin}: cannot be read: {reason}")]
    Unreadable {
        /// The file.
        origin: UrlSource,
        /// The operating system's words.
        reason: String,
    },
    /// A variable or file is no UTF-8.
    #[error("{origin}: is not UTF-8 text")]
    NotUtf8 {
        /// The variable or file.
        origin: String,
    },
    /// The file is there and empty.
    #[error("{origin}: is empty")]
    Empty {
        /// The file.
        origin: UrlSource,
    },
    /// Longer than any connection string.
    #[error("{origin}: is longer than {MAX_TEXT} bytes, so it is no connection string")]
    TooLong {
        /// Where it came from.
        origin: UrlSource,
    },
    /// Starts like something else.
    #[error("{origin}: {what}")]
    NotPostgres {
        /// Where it came from.
        origin: UrlSource,
        /// What it is instead; a fixed sentence.
        what: &'static str,
        /// What to do; a fixed sentence.
        advice: &'static str,
    },
    /// A character of the user name or password splits the URL.
    #[error("{origin}: the URL is split in the wrong place, probably by an unencoded {splitter} in the password")]
    Split {
        /// Where it came from.
        origin: UrlSource,
        /// The character.
        splitter: Splitter,
    },
    /// The text that a hoster's page shows in place of the password.
    #[error("{origin}: still holds the placeholder that stands for the password")]
    Placeholder {
        /// Where it came from.
        origin: UrlSource,
    },
    /// A part of the URL or one parameter cannot be used.
    #[error("{origin}: {part}: {problem}")]
    Bad {
        /// Where it came from.
        origin: String,
        /// The part: a known parameter's name or a fixed phrase.
        part: &'static str,
        /// What is wrong with it; a fixed sentence that does not repeat the value.
        problem: &'static str,
    },
    /// A parameter that nobody knows.
    #[error(
        "{origin}: unknown parameter {}at position {position}",
        .name.as_ref().map(|name| format!("`{name}` ")).unwrap_or_default()
    )]
    UnknownParameter {
        /// Where it came from.
        origin: String,
        /// Its place among the parameters, from 1.
        position: usize,
        /// Its name, only where it is a plain word that nearly is a known one.
        name: Option<String>,
        /// The known parameter that it resembles.
        nearest: Option<&'static str>,
    },
    /// A known parameter that healer cannot honour and must not ignore.
    #[error("{origin}: parameter `{key}` is not supported: {reason}")]
    Unsupported {
        /// Where it came from.
        origin: String,
        /// The parameter.
        key: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// The service file cannot be used.
    #[error("service file {}: {problem}", .path.display())]
    Service {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line's number where there is one.
        problem: String,
    },
}

impl UrlError {
    /// What to do next; no value of the string is in it.
    pub fn hint(&self) -> String {
        const ENCODE: &str = "percent-encode these characters in user name and password: @ is %40, # is %23, / is %2F, \
                              ? is %3F, : is %3A, % is %25, a space is %20; or leave the password out of the URL and \
                              give it in PGPASSWORD or in the password file";
        match self {
            Self::NoSource { .. } => {
                "set DATABASE_URL=postgres://user:password@host:5432/database (cron starts with an \
                                      empty environment), or give --database-url-file, DATABASE_URL_FILE or PGHOST"
                    .to_owned()
            }
            Self::FileIsUrl { .. } => "put the string into a file that only you can read, or into DATABASE_URL; if it \
                                       is a path, nothing is there"
                .to_owned(),
            Self::Unreadable { .. } => "check the path and that the user running healer may read the file".to_owned(),
            Self::NotUtf8 { .. } => "write it as UTF-8; percent-encode other bytes".to_owned(),
            Self::Empty { .. } | Self::TooLong { .. } => {
                "it should hold one line: postgres://user:password@host:5432/database".to_owned()
            }
            Self::NotPostgres { advice, .. } => (*advice).to_owned(),
            Self::Split { .. } => ENCODE.to_owned(),
            Self::Placeholder { .. } => {
                "replace the placeholder, with its brackets, by the password, percent-encoded".to_owned()
            }
            Self::Bad { part, .. } => match *part {
                "host" | "port" | "user name" | "database name" | "address" | "password" => {
                    format!("the form is postgres://user:password@host:5432/database; {ENCODE}")
                }
                _ => "see the section on the database URL in the README".to_owned(),
            },
            Self::UnknownParameter { nearest: Some(nearest), .. } => format!("did you mean `{nearest}`?"),
            Self::UnknownParameter { nearest: None, .. } => {
                format!("remove it, or, if it is part of the password, quote it: {ENCODE}")
            }
            Self::Unsupported { .. } => "remove the parameter from the connection string".to_owned(),
            Self::Service { .. } => "check PGSERVICE, PGSERVICEFILE and the file".to_owned(),
        }
    }

    /// 78: all of these are configuration.
    pub fn exit_code(&self) -> u8 {
        78
    }
}

/// What the settings may depend on beside the text itself. Passed in, so that tests have an environment of their own.
pub struct Surroundings<'a> {
    /// Reads an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// Home directory: password file, service file, root certificate.
    pub home: Option<PathBuf>,
    /// Name of the operating system's user: the default role.
    pub os_user: Option<String>,
    /// Directories that are looked through for a socket when no host is given.
    pub socket_directories: Vec<PathBuf>,
}

impl Surroundings<'static> {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self {
            variable: &|name| std::env::var_os(name),
            home: std::env::home_dir().filter(|home| !home.as_os_str().is_empty()),
            os_user: whoami::username().ok(),
            socket_directories: SOCKET_DIRECTORIES.iter().map(PathBuf::from).collect(),
        }
    }

    /// No surroundings at all, for a database that has nothing to do with what is set on this machine.
    pub fn none() -> Self {
        Self { variable: &|_| None, home: None, os_user: None, socket_directories: Vec::new() }
    }
}

impl Surroundings<'_> {
    /// A variable as text; empty counts as absent, as in libpq.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, UrlError> {
        match (self.variable)(name) {
            None => Ok(None),
            Some(value) if value.is_empty() => Ok(None),
            Some(value) => value.into_string().map(Some).map_err(|_| UrlError::NotUtf8 { origin: name.to_owned() }),
        }
    }

    /// A variable as a path; empty counts as absent.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        (self.variable)(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }
}

/// Finds the settings. `file_flag` is the value of `--database-url-file`.
pub fn resolve(file_flag: Option<&Path>, around: &Surroundings<'_>) -> Result<ConnectSettings, UrlError> {
    if let Some(path) = file_flag {
        refuse_url_as_path("--database-url-file", path)?;
        let origin = UrlSource::FileFlag(path.to_owned());
        return parse(&read_file(path, &origin)?, origin, around);
    }
    if let Some(path) = around.path("DATABASE_URL_FILE") {
        refuse_url_as_path("DATABASE_URL_FILE", &path)?;
        let origin = UrlSource::FileVariable(path.clone());
        return parse(&read_file(&path, &origin)?, origin, around);
    }
    if let Some(text) = around.text("DATABASE_URL")?.filter(|text| !text.trim().is_empty()) {
        return parse(&text, UrlSource::Variable("DATABASE_URL"), around);
    }
    // A stray PGPASSWORD or PGSSLMODE names no database.
    let names_a_database = ["PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE", "PGUSER", "PGPORT"];
    if names_a_database.iter().any(|name| around.path(name).is_some()) {
        return finish(Given::default(), UrlSource::PgVariables, around);
    }
    Err(UrlError::NoSource { empty: (around.variable)("DATABASE_URL").is_some() })
}

/// The settings of `DATABASE_DIRECT_URL`, for what a pooler in transaction mode cannot do; `None` where it is not set.
pub fn resolve_direct(around: &Surroundings<'_>) -> Result<Option<ConnectSettings>, UrlError> {
    const NAME: &str = "DATABASE_DIRECT_URL";
    match around.text(NAME)?.filter(|text| !text.trim().is_empty()) {
        Some(text) => parse(&text, UrlSource::Variable(NAME), around).map(Some),
        None => Ok(None),
    }
}

/// Reads one connection string: a URL or libpq's `key=value` form.
pub fn parse(text: &str, source: UrlSource, around: &Surroundings<'_>) -> Result<ConnectSettings, UrlError> {
    if text.len() > MAX_TEXT {
        return Err(UrlError::TooLong { origin: source });
    }
    let given = conninfo::read(text, &source)?;
    finish(given, source, around)
}

/// Values by the name of a known parameter, each with the place it came from (for errors).
#[derive(Default)]
pub(super) struct Given {
    values: BTreeMap<&'static str, (String, Option<String>)>,
    pub(super) notes: Vec<String>,
    pub(super) pooler: bool,
}

impl Given {
    /// Takes a value unless there is one; returns whether it was taken. `origin` is `None` for the text itself.
    pub(super) fn put(&mut self, key: &'static str, value: String, origin: Option<String>) -> bool {
        if self.values.contains_key(key) {
            return false;
        }
        self.values.insert(key, (value, origin));
        true
    }

    /// Replaces a value: the query of a URL overrides its authority.
    pub(super) fn replace(&mut self, key: &'static str, value: String) {
        self.values.insert(key, (value, None));
    }

    /// Takes a value out.
    fn forget(&mut self, key: &str) {
        self.values.remove(key);
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// A value that is not empty.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|(value, _)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn bad(&self, key: &'static str, problem: &'static str, source: &UrlSource) -> UrlError {
        let origin = self.values.get(key).and_then(|(_, origin)| origin.clone());
        UrlError::Bad { origin: origin.unwrap_or_else(|| source.to_string()), part: key, problem }
    }
}

/// Fills what is open (service file, variables, password file, defaults) and turns text into settings.
fn finish(mut given: Given, source: UrlSource, around: &Surroundings<'_>) -> Result<ConnectSettings, UrlError> {
    fill_from_surroundings(&mut given, &source, around)?;
    let mut hosts = hosts(&given, &source, around)?;
    let user = name(&given, "user", &source)?.or_else(|| around.os_user.clone()).ok_or_else(|| UrlError::Bad {
        origin: source.to_string(),
        part: "user name",
        problem: "is missing, and the operating system's user has no name",
    })?;
    let dbname = name(&given, "dbname", &source)?.unwrap_or_else(|| user.clone());
    let password = given.value("password").map(Secret::new);
    let mut notes = std::mem::take(&mut given.notes);
    if password.is_none() {
        let file = given.value("passfile").map(PathBuf::from);
        if let Some(note) = password_file::fill(&mut hosts, &dbname, &user, file.as_deref(), around) {
            notes.push(note);
        }
    }
    let (ssl_mode, ssl_root_cert) = tls_level(&given, &hosts, &source, around)?;
    if ssl_mode == SslMode::Disable && hosts.iter().any(|host| !host.is_local()) {
        notes.push("sslmode=disable sends everything unencrypted to another machine".to_owned());
    }
    let random_host_order = match given.value("load_balance_hosts") {
        None | Some("disable") => false,
        Some("random") => true,
        Some(_) => return Err(given.bad("load_balance_hosts", "must be disable or random", &source)),
    };
    let application_name = given
        .value("application_name")
        .or_else(|| given.value("fallback_application_name"))
        .unwrap_or("healer")
        .to_owned();
    for key in ["application_name", "fallback_application_name", "options", "password"] {
        if given.value(key).is_some_and(|value| value.contains('\0')) {
            return Err(given.bad(key, "holds a zero byte", &source));
        }
    }
    let connect_timeout = match seconds(&given, "connect_timeout", &source)? {
        None => DEFAULT_CONNECT_TIMEOUT,
        // "For ever" in libpq; the caller's deadline still holds, an hour is beyond every deadline.
        Some(0) => Duration::from_secs(3600),
        Some(value) => Duration::from_secs(value.min(3600)),
    };
    let pooler_hint = given.pooler || hosts.iter().any(|host| {
        host.port == TRANSACTION_POOLER_PORT
            || matches!(&host.place, Place::Tcp { host, .. } if host.contains("pooler") || host.contains("pgbouncer"))
    });
    Ok(ConnectSettings {
        user,
        password,
        dbname,
        ssl_mode,
        ssl_root_cert,
        tls: tls_details(&given, ssl_mode, &source)?,
        channel_binding: channel_binding(&given, &source)?,
        application_name,
        connect_timeout,
        options: given.value("options").map(Secret::new),
        target_session: target_session(&given, &source)?,
        random_host_order,
        keepalives: keepalives(&given, &source)?,
        tcp_user_timeout: seconds(&given, "tcp_user_timeout", &source)?
            .filter(|milliseconds| *milliseconds > 0)
            // As long as keepalives need to notice a dead peer (idle 30 s); libpq's parameter is in milliseconds.
            .map_or(Duration::from_secs(30), |milliseconds| Duration::from_millis(milliseconds.min(3_600_000))),
        schema: schema(&given, &source)?,
        pooler_hint,
        source,
        notes,
        hosts,
    })
}

/// Service file, then variables, for what the text left open. What one of them says of TLS in whatever words is settled
/// before the next one is asked: a variable must not fill in for the word that a URL has said otherwise.
fn fill_from_surroundings(given: &mut Given, source: &UrlSource, around: &Surroundings<'_>) -> Result<(), UrlError> {
    let host_was_given = given.has("host") || given.has("hostaddr");
    settle_sslmode(given, false, source)?;
    let settled = given.value("sslmode").is_some();
    service_file::fill(given, around)?;
    settle_sslmode(given, settled, source)?;
    let settled = given.value("sslmode").is_some();
    for key in KEYS {
        let Some(name) = key.variable else { continue };
        // An address from the environment would send a URL's host name to another machine.
        if key.name == "hostaddr" && host_was_given {
            continue;
        }
        if given.has(key.name) {
            continue;
        }
        if let Some(value) = around.text(name)? {
            if let Use::Refused { unless, reason } = key.use_
                && !unless.contains(&value.as_str())
            {
                return Err(UrlError::Unsupported { origin: name.to_owned(), key: key.name, reason });
            }
            given.put(key.name, value, Some(name.to_owned()));
        }
    }
    settle_sslmode(given, settled, source)
}

/// Turns what other programs' words ask for (`ssl`, `sslaccept`, `requiressl`) into the `sslmode` of the source that
/// holds them. `settled`: an earlier source has said the mode, and these words come too late.
fn settle_sslmode(given: &mut Given, settled: bool, source: &UrlSource) -> Result<(), UrlError> {
    const WORDS: [&str; 3] = ["ssl", "sslaccept", "requiressl"];
    if !settled {
        let said = mode_of(given, source)?;
        let asked = match given.value("ssl") {
            Some("true" | "1" | "require" | "no-verify") if said.is_some_and(|mode| mode < SslMode::Require) => {
                return Err(given.bad("ssl", "asks for TLS, and sslmode for less than that", source));
            }
            Some("true" | "1" | "require" | "no-verify") => Some(SslMode::Require),
            Some("false" | "0" | "disable") => Some(SslMode::Disable),
            Some(_) => return Err(given.bad("ssl", "must be true or false", source)),
            None => match given.value("requiressl") {
                Some("1") => Some(SslMode::Require),
                None | Some("0") => None,
                Some(_) => return Err(given.bad("requiressl", "must be 0 or 1", source)),
            },
        };
        let mode = match (given.value("sslaccept"), said.or(asked)) {
            (Some("strict"), Some(mode)) if mode < SslMode::Require => {
                return Err(given.bad("sslaccept", "strict needs TLS, and sslmode or ssl ask for less", source));
            }
            (Some("strict"), _) => Some(SslMode::VerifyFull),
            (None | Some("accept_invalid_certs"), mode) => mode,
            (Some(_), _) => return Err(given.bad("sslaccept", "must be strict or accept_invalid_certs", source)),
        };
        if let Some(mode) = mode.filter(|mode| said != Some(*mode)) {
            given.replace("sslmode", mode.as_str().to_owned());
        }
    }
    for word in WORDS {
        given.forget(word);
    }
    Ok(())
}

/// What `sslmode` says.
fn mode_of(given: &Given, source: &UrlSource) -> Result<Option<SslMode>, UrlError> {
    match given.value("sslmode") {
        Some("disable") => Ok(Some(SslMode::Disable)),
        Some("allow" | "prefer") => Ok(Some(SslMode::Prefer)),
        // `no-verify` is the word of node's driver for what libpq calls require.
        Some("require" | "no-verify") => Ok(Some(SslMode::Require)),
        Some("verify-ca") => Ok(Some(SslMode::VerifyCa)),
        Some("verify-full") => Ok(Some(SslMode::VerifyFull)),
        Some(_) => {
            let words = "must be disable, allow, prefer, require, verify-ca or verify-full";
            Err(given.bad("sslmode", words, source))
        }
        None => Ok(None),
    }
}

fn channel_binding(given: &Given, source: &UrlSource) -> Result<ChannelBinding, UrlError> {
    match given.value("channel_binding") {
        None | Some("prefer") => Ok(ChannelBinding::Prefer),
        Some("disable") => Ok(ChannelBinding::Disable),
        Some("require") => Ok(ChannelBinding::Require),
        Some(_) => Err(given.bad("channel_binding", "must be disable, prefer or require", source)),
    }
}

fn target_session(given: &Given, source: &UrlSource) -> Result<TargetSession, UrlError> {
    match given.value("target_session_attrs") {
        None | Some("any") => Ok(TargetSession::Any),
        // The driver can ask whether a session takes writes, which is what `primary` is wanted for.
        Some("read-write" | "primary") => Ok(TargetSession::ReadWrite),
        Some("read-only" | "standby") => Ok(TargetSession::ReadOnly),
        Some("prefer-standby") => Ok(TargetSession::PreferReadOnly),
        Some(_) => {
            let words = "must be any, read-write, read-only, primary, standby or prefer-standby";
            Err(given.bad("target_session_attrs", words, source))
        }
    }
}

fn tls_details(given: &Given, mode: SslMode, source: &UrlSource) -> Result<TlsDetails, UrlError> {
    let client_cert = match (given.value("sslcert"), given.value("sslkey")) {
        (Some(certificate), Some(key)) => Some(ClientCertificate { certificate: certificate.into(), key: key.into() }),
        (None, None) => None,
        (Some(_), None) => return Err(given.bad("sslcert", "needs sslkey as well", source)),
        (None, Some(_)) => return Err(given.bad("sslkey", "needs sslcert as well", source)),
    };
    let direct = match given.value("sslnegotiation") {
        None | Some("postgres") => false,
        Some("direct") if mode >= SslMode::Require => true,
        Some("direct") => return Err(given.bad("sslnegotiation", "direct needs sslmode=require or stronger", source)),
        Some(_) => return Err(given.bad("sslnegotiation", "must be postgres or direct", source)),
    };
    let ssl_min_tls13 = match given.value("ssl_min_protocol_version") {
        None | Some("TLSv1" | "TLSv1.1" | "TLSv1.2") => false,
        Some("TLSv1.3") => true,
        Some(_) => return Err(given.bad("ssl_min_protocol_version", "must be TLSv1.2 or TLSv1.3", source)),
    };
    let ssl_max_tls12 = match given.value("ssl_max_protocol_version") {
        None | Some("TLSv1.3") => false,
        Some("TLSv1.2") if !ssl_min_tls13 => true,
        Some(_) => {
            return Err(given.bad(
                "ssl_max_protocol_version",
                "must be TLSv1.2 or TLSv1.3, not below the minimum",
                source,
            ));
        }
    };
    let versions = match (ssl_min_tls13, ssl_max_tls12) {
        (false, false) => TlsVersions::Both,
        (true, _) => TlsVersions::Only13,
        (false, true) => TlsVersions::Only12,
    };
    Ok(TlsDetails { client_cert, sni: given.value("sslsni") != Some("0"), direct, versions })
}

/// `sslmode` and the roots, with libpq's ties between them.
fn tls_level(
    given: &Given,
    hosts: &[Endpoint],
    source: &UrlSource,
    around: &Surroundings<'_>,
) -> Result<(SslMode, Option<RootCert>), UrlError> {
    let root = given.value("sslrootcert").map(|value| match value {
        "system" => RootCert::System,
        path => RootCert::Path(path.into()),
    });
    let mode = mode_of(given, source)?;
    if root == Some(RootCert::System) {
        // Anybody can get a certificate from a public authority: without the name it proves nothing.
        return match mode {
            None | Some(SslMode::VerifyFull) => Ok((SslMode::VerifyFull, root)),
            Some(_) => Err(given.bad("sslrootcert", "system needs sslmode=verify-full", source)),
        };
    }
    let mode =
        mode.unwrap_or_else(|| if hosts.iter().all(Endpoint::is_local) { SslMode::Prefer } else { SslMode::Require });
    let at_home = || {
        around
            .home
            .as_ref()
            .map(|home| home.join(".postgresql/root.crt"))
            .filter(|path| path.is_file())
            .map(RootCert::Path)
    };
    let root = match mode {
        SslMode::Disable | SslMode::Prefer => root,
        SslMode::Require => root.or_else(at_home),
        SslMode::VerifyFull => Some(root.or_else(at_home).unwrap_or(RootCert::System)),
        SslMode::VerifyCa => match root.or_else(at_home) {
            None => {
                return Err(given.bad("sslmode", "verify-ca needs sslrootcert=<path of the CA's PEM file>", source));
            }
            root => root,
        },
    };
    Ok((mode, root))
}

/// Hosts, addresses and ports, matched by position.
fn hosts(given: &Given, source: &UrlSource, around: &Surroundings<'_>) -> Result<Vec<Endpoint>, UrlError> {
    let list = |key: &str| -> Vec<String> {
        given.value(key).map(|text| text.split(',').map(|item| item.trim().to_owned()).collect()).unwrap_or_default()
    };
    let (names, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = names.len().max(addresses.len()).max(1);
    if count > MAX_HOSTS {
        return Err(given.bad("host", "lists more than 16 hosts", source));
    }
    if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
        return Err(given.bad("hostaddr", "lists another number of hosts than host", source));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(given.bad("port", "lists another number of ports than hosts", source));
    }
    let mut endpoints = Vec::with_capacity(count);
    for index in 0..count {
        let port = match ports.get(index).or_else(|| ports.first()).map_or("", String::as_str) {
            "" => DEFAULT_PORT,
            text => match text.parse::<u16>() {
                Ok(port) if port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => port,
                _ => return Err(given.bad("port", "must be a number from 1 to 65535", source)),
            },
        };
        let address = match addresses.get(index).map_or("", String::as_str) {
            "" => None,
            text => match text.parse::<IpAddr>() {
                Ok(address) => Some(address),
                Err(_) => return Err(given.bad("hostaddr", "must be an IPv4 or IPv6 address", source)),
            },
        };
        let place = match (names.get(index).map_or("", String::as_str), address) {
            ("", Some(address)) => Place::Tcp { host: address.to_string(), address: Some(address) },
            ("", None) => default_place(port, &around.socket_directories),
            (path, _) if path.starts_with('/') => {
                let odd = path.contains(['@', '?', '#']) && !is_there(Path::new(path));
                if odd || path.len() > 100 || path.contains(char::is_control) {
                    return Err(given.bad("host", "is no directory of a socket", source));
                }
                Place::Socket(path.into())
            }
            (host, address) => {
                if is_zoned(host) {
                    let words = "has a zone (what follows the %), which the driver cannot keep: name another address";
                    return Err(given.bad("host", words, source));
                }
                if !is_host(host) {
                    let words = "has characters that no host name has (an unencoded character of the password?)";
                    return Err(given.bad("host", words, source));
                }
                Place::Tcp { host: host.to_owned(), address }
            }
        };
        endpoints.push(Endpoint { place, port, password: None });
    }
    Ok(endpoints)
}

/// Where libpq looks when no host is given: a socket if one is there, else this machine by TCP.
fn default_place(port: u16, directories: &[PathBuf]) -> Place {
    directories.iter().find(|directory| directory.join(format!(".s.PGSQL.{port}")).exists()).map_or_else(
        || Place::Tcp { host: "localhost".to_owned(), address: None },
        |found| Place::Socket(found.clone()),
    )
}

/// Whether this is an IPv6 address with a zone: `fe80::1%eth0`.
fn is_zoned(host: &str) -> bool {
    host.split_once('%').is_some_and(|(address, _)| address.parse::<std::net::Ipv6Addr>().is_ok())
}

/// Letters, digits, `-`, `_` and `.`, or an IPv6 address.
fn is_host(host: &str) -> bool {
    if host.parse::<std::net::Ipv6Addr>().is_ok() {
        return true;
    }
    // 253 is the longest name that DNS has.
    host.len() <= 253 && host.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c))
}

/// User and database: any text without control characters that is no piece of a URL.
fn name(given: &Given, key: &'static str, source: &UrlSource) -> Result<Option<String>, UrlError> {
    let Some(value) = given.value(key) else { return Ok(None) };
    if value.len() > 256 || value.chars().any(char::is_control) {
        return Err(given.bad(key, "is too long or holds control characters", source));
    }
    if value.contains("://") {
        return Err(given.bad(key, "holds a URL", source));
    }
    Ok(Some(value.to_owned()))
}

/// The first schema that the string names, `"$user"` left out.
fn schema(given: &Given, source: &UrlSource) -> Result<Option<String>, UrlError> {
    let Some(value) = given.value("schema") else { return Ok(None) };
    let first =
        value.split(',').map(|item| item.trim().trim_matches('"')).find(|item| !item.is_empty() && *item != "$user");
    match first {
        // 63 bytes is the longest name in Postgres.
        Some(name) if name.len() > 63 || name.chars().any(char::is_control) => {
            Err(given.bad("schema", "must be a name of 63 bytes at most", source))
        }
        other => Ok(other.map(str::to_owned)),
    }
}

/// A whole number that is not negative.
fn seconds(given: &Given, key: &'static str, source: &UrlSource) -> Result<Option<u64>, UrlError> {
    match given.value(key) {
        None => Ok(None),
        // libpq takes a negative time-out for none.
        Some(text) if text.strip_prefix('-').is_some_and(|rest| rest.parse::<u32>().is_ok()) => Ok(Some(0)),
        Some(text) => match text.trim().parse::<u32>() {
            Ok(value) => Ok(Some(u64::from(value))),
            Err(_) => Err(given.bad(key, "must be a whole number", source)),
        },
    }
}

/// Keepalives with their defaults: a dead peer is noticed after 30 + 3 × 10 seconds.
fn keepalives(given: &Given, source: &UrlSource) -> Result<Option<Keepalives>, UrlError> {
    match given.value("keepalives") {
        None | Some("1") => {}
        Some("0") => return Ok(None),
        Some(_) => return Err(given.bad("keepalives", "must be 0 or 1", source)),
    }
    let read = |key, default| {
        Ok(seconds(given, key, source)?.filter(|value| *value > 0).map_or(default, |value| value.min(32_767)))
    };
    let retries = read("keepalives_count", 3)?;
    Ok(Some(Keepalives {
        idle: Duration::from_secs(read("keepalives_idle", 30)?),
        interval: Duration::from_secs(read("keepalives_interval", 10)?),
        // The kernel's own limit is 127 probes.
        retries: u32::try_from(retries.min(127)).unwrap_or(3),
    }))
}

/// A path, unless it is a connection string given in the wrong place.
fn printable_path(path: &Path) -> String {
    if is_mistaken(path) { "***".to_owned() } else { path.to_string_lossy().into_owned() }
}

/// Whether what stands for a path looks like a connection string, and is no path of this machine either: `@` stands in
/// names of folders too, such as those of a unit's instances.
fn is_mistaken(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let looks = ["://", "@", "password=", "host="].iter().any(|piece| text.contains(piece));
    looks && !is_there(path)
}

/// Whether something has this path, also where this user may not look at it.
fn is_there(path: &Path) -> bool {
    match std::fs::symlink_metadata(path) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    }
}

fn refuse_url_as_path(origin: &'static str, path: &Path) -> Result<(), UrlError> {
    if is_mistaken(path) {
        return Err(UrlError::FileIsUrl { origin });
    }
    Ok(())
}

fn read_file(path: &Path, origin: &UrlSource) -> Result<String, UrlError> {
    let unreadable =
        |error: std::io::Error| UrlError::Unreadable { origin: origin.clone(), reason: error.kind().to_string() };
    let mut bytes = Vec::new();
    // A device or an endless pipe must not fill the memory.
    let limit = MAX_TEXT as u64 + 1;
    std::fs::File::open(path).map_err(unreadable)?.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > MAX_TEXT {
        return Err(UrlError::TooLong { origin: origin.clone() });
    }
    let text = String::from_utf8(bytes).map_err(|_| UrlError::NotUtf8 { origin: origin.to_string() })?;
    if text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}').is_empty() {
        return Err(UrlError::Empty { origin: origin.clone() });
    }
    Ok(text)
}
