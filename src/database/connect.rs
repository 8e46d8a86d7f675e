//! Dialling: hosts in order, a limit on every phase, retries where the server says "try again".
//!
//! The driver's `connect_timeout` covers the TCP handshake alone: a server that accepts and then is silent, before, in
//! or after the TLS handshake, would hold the pass for ever. Therefore each attempt runs on a thread of its own and is
//! waited for with a limit. A thread that is given up closes its session as soon as it gets one, and ends with the
//! process at the latest; there are at most a few, as attempts are bounded. (A time-out inside the driver's runtime
//! would not do: dropping the runtime waits for a name resolution that hangs.)
//!
//! A signal that asks healer to stop ends the dialling within [`SLICE`], wherever it is: somebody who has pressed Ctrl-C,
//! or a scheduler that counts the seconds to its KILL, does not wait for addresses that never answer.

use std::cell::OnceCell;
use std::error::Error as _;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use postgres::config::{SslMode as DriverSslMode, SslNegotiation, TargetSessionAttrs};
use postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::session::StopFlag;
use super::tls::{self, TlsError};
use super::url::{ConnectSettings, Endpoint, Place, SslMode, TargetSession};

/// Further rounds after the first where the server asks for patience. More would outlast a pass that cron repeats anyway.
const RETRIES: u32 = 3;
/// Wait before the first retry; doubled each time, times a random factor from 0.5 to 1.5: about 3.5 s in all.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// A refused connection is mostly final; one more try catches a restart of the server.
const REFUSED_RETRIES: u32 = 1;
/// Addresses of one name that are tried. Names with more are load balancers, where one is as good as another.
const MAX_ADDRESSES: usize = 8;
/// Longest message of the server that is repeated.
const MAX_MESSAGE: usize = 300;
/// How long a wait goes on without a look at the signals: below what a person notices.
const SLICE: Duration = Duration::from_millis(50);

/// Why there is no session. Every variant names the target (`host:port/database as user`) and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The name cannot be resolved.
    #[error("cannot reach {target}: the host name cannot be resolved: {reason}")]
    Dns {
        /// Target.
        target: String,
        /// The resolver's words.
        reason: String,
    },
    /// Nothing listens there.
    #[error("cannot reach {target}: nothing listens there")]
    Refused {
        /// Target.
        target: String,
    },
    /// The network or the socket does not answer.
    #[error("cannot reach {target}: {reason}")]
    Unreachable {
        /// Target.
        target: String,
        /// The operating system's words.
        reason: String,
    },
    /// Something accepted the connection and did not finish the handshake in time.
    #[error("{target} gave no answer within {:.1} s", .limit.as_secs_f64())]
    Silent {
        /// Target.
        target: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The connection was closed during the handshake.
    #[error("{target} closed the connection during the handshake")]
    Closed {
        /// Target.
        target: String,
    },
    /// The server starts, stops or recovers.
    #[error("{target} takes no sessions now ({sqlstate}): {message}")]
    NotNow {
        /// Target.
        target: String,
        /// SQLSTATE.
        sqlstate: String,
        /// The server's words.
        message: String,
    },
    /// All sessions are taken.
    #[error("{target} has no session free ({sqlstate}): {message}")]
    TooMany {
        /// Target.
        target: String,
        /// SQLSTATE.
        sqlstate: String,
        /// The server's words.
        message: String,
    },
    /// Wrong password, unknown role, or no rule that lets this client in.
    #[error("{target} refuses the login ({sqlstate}): {message}")]
    Authentication {
        /// Target.
        target: String,
        /// SQLSTATE.
        sqlstate: String,
        /// The server's words.
        message: String,
        /// The password stands in square brackets, as copied from a hoster's template.
        bracketed: bool,
    },
    /// The server wants a password and none was given.
    #[error("{target} wants a password, and none was given")]
    NoPassword {
        /// Target.
        target: String,
    },
    /// The server does not know the password in the way that was asked for, or wants Kerberos and the like.
    #[error("{target}: {reason}")]
    Method {
        /// Target.
        target: String,
        /// What was missing.
        reason: String,
    },
    /// The database does not exist.
    #[error("{target}: the database does not exist ({sqlstate}): {message}")]
    NoDatabase {
        /// Target.
        target: String,
        /// SQLSTATE.
        sqlstate: String,
        /// The server's words.
        message: String,
    },
    /// The server says no for another reason.
    #[error("{target} refuses the session ({sqlstate}): {message}")]
    Rejected {
        /// Target.
        target: String,
        /// SQLSTATE.
        sqlstate: String,
        /// The server's words.
        message: String,
        /// Whether the class of the code means that it may pass by itself.
        temporary: bool,
    },
    /// No host is of the kind that `target_session_attrs` asks for.
    #[error("{target}: {reason}")]
    WrongKind {
        /// Target.
        target: String,
        /// What the session is instead.
        reason: String,
    },
    /// TLS could not be prepared or agreed on.
    #[error("{target}: {error}")]
    Tls {
        /// Target.
        target: String,
        /// What exactly.
        error: TlsError,
    },
    /// What listens there does not speak Postgres.
    #[error("{target} does not answer as Postgres does: {reason}")]
    NotPostgres {
        /// Target.
        target: String,
        /// What the driver says.
        reason: String,
    },
    /// The deadline of the pass came first.
    #[error("cannot reach {target}: no time was left")]
    NoTime {
        /// Target.
        target: String,
    },
    /// SIGINT or SIGTERM arrived before there was a session.
    #[error("interrupted by signal {signal} before {target} was reached")]
    Interrupted {
        /// Target.
        target: String,
        /// 2 or 15.
        signal: i32,
    },
    /// The driver failed by itself.
    #[error("{target}: the driver failed: {reason}")]
    Driver {
        /// Target.
        target: String,
        /// What it says.
        reason: String,
    },
}

impl ConnectError {
    /// What to do next.
    pub fn hint(&self) -> String {
        let text = match self {
            Self::Dns { .. } => "check the host in the database URL and the name server of this machine",
            Self::Refused { .. } => "check host and port, that the server runs, and that it listens on this address",
            Self::Unreachable { .. } => {
                "check host and port, firewalls and allow-lists, and that IPv6 works if the name has only such addresses"
            }
            Self::Silent { .. } => {
                "a firewall, a proxy or an overloaded pooler holds the connection; connect_timeout sets the limit in seconds"
            }
            Self::Closed { .. } => {
                "see the server's log; a proxy may have no server behind it, or the port may want TLS"
            }
            Self::NotNow { .. } => "the server starts, stops or recovers; the next run tries again",
            Self::TooMany { .. } => {
                "raise max_connections or the pool, or connect through the pooler; the next run tries again"
            }
            Self::Authentication { bracketed: true, .. } => {
                "the password stands in square brackets: they belong to the template, not to the password"
            }
            Self::Authentication { message, .. } if message.contains("Tenant or user not found") => {
                "the pooler knows no such project: check the region in the host and that the user is postgres.PROJECT"
            }
            Self::Authentication { sqlstate, .. } if sqlstate == "28000" => {
                "the role does not exist or may not log in, or no line of pg_hba.conf lets this user, database, address and TLS in"
            }
            Self::Authentication { .. } => {
                "check user and password; special characters of a password must be percent-encoded in a URL (@ is %40)"
            }
            Self::NoPassword { .. } => {
                "put the password into the database URL, PGPASSWORD or the password file (mode 0600)"
            }
            Self::Method { .. } => {
                "use a role with a SCRAM or md5 password; channel_binding=require needs TLS and SCRAM"
            }
            Self::NoDatabase { .. } => "check the last part of the database URL",
            Self::Rejected { message, .. } if message.contains("startup parameter") => {
                "the pooler takes no start-up options: remove `options` from the database URL, or PGOPTIONS"
            }
            Self::Rejected { message, .. } if message.contains("SSL required") => {
                "it takes TLS only: say sslmode=verify-full with sslrootcert, or at least sslmode=require"
            }
            Self::Rejected { temporary: true, .. } => "see the server's log; the next run tries again",
            Self::Rejected { .. } => "see the server's log and the database URL",
            Self::WrongKind { .. } => "check target_session_attrs and the list of hosts",
            Self::Tls { error, .. } => return error.hint(),
            Self::NotPostgres { .. } => "check host and port: something else listens there",
            Self::NoTime { .. } => "give more time with --timeout",
            Self::Interrupted { .. } => "nothing was begun; run it again",
            Self::Driver { .. } => "run again with -v and report it",
        };
        text.to_owned()
    }

    /// 75 where it may pass by itself, 3 where --timeout came first, 77 where the login is refused, 78 where the
    /// configuration is wrong, 130 or 143 after a signal.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Dns { .. }
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::Closed { .. }
            | Self::NotNow { .. }
            | Self::TooMany { .. }
            | Self::WrongKind { .. }
            | Self::Rejected { temporary: true, .. } => 75,
            Self::Authentication { .. } | Self::NoPassword { .. } | Self::Method { .. } => 77,
            Self::NoDatabase { .. } | Self::Rejected { .. } | Self::NotPostgres { .. } => 78,
            // As every other end by --timeout: in part done, here the empty part.
            Self::NoTime { .. } => 3,
            Self::Interrupted { signal, .. } => 128_u8.saturating_add(u8::try_from(*signal).unwrap_or(15)),
            Self::Tls { error, .. } => error.exit_code(),
            Self::Driver { .. } => 1,
        }
    }

    /// How often the whole list of hosts is tried again after this.
    fn retries(&self) -> u32 {
        match self {
            Self::NotNow { .. } | Self::TooMany { .. } => RETRIES,
            Self::Refused { .. } => REFUSED_RETRIES,
            _ => 0,
        }
    }

    /// Whether the next host may do better. A refused login is final, as in libpq: all hosts know the same roles.
    fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Authentication { .. }
                | Self::NoPassword { .. }
                | Self::Method { .. }
                | Self::NoDatabase { .. }
                | Self::NoTime { .. }
                | Self::Interrupted { .. }
                | Self::Driver { .. }
        )
    }
}

/// Opens a session, or says why not, before the deadline, whatever signals arrive.
pub fn connect(settings: &ConnectSettings, deadline: Instant) -> Result<Client, ConnectError> {
    connect_until_stopped(settings, deadline, &StopFlag::default(), Duration::ZERO)
}

/// Opens a session, or says why not, before the deadline. A signal, also one that came before, leaves it only `grace`:
/// none where nothing was begun yet, a moment where what was done must still be told.
pub fn connect_until_stopped(
    settings: &ConnectSettings,
    deadline: Instant,
    stop: &StopFlag,
    grace: Duration,
) -> Result<Client, ConnectError> {
    let tls = match settings.ssl_mode {
        SslMode::Disable => None,
        _ => Some(
            tls::connector(settings).map_err(|error| ConnectError::Tls { target: settings.display_target(), error })?,
        ),
    };
    let dialler = Dialler { settings, tls, deadline, stop, grace, signalled: OnceCell::new() };
    let mut wait = FIRST_WAIT;
    let mut round = 0;
    loop {
        let error = match dialler.round() {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let pause = wait.mul_f64(0.5 + random_fraction());
        if round >= error.retries() || Instant::now() + pause >= deadline {
            return Err(error);
        }
        log::info!(target: "healer::database", "{error}; trying again in {} ms", pause.as_millis());
        dialler.pause(pause)?;
        wait *= 2;
        round += 1;
    }
}

/// A number from 0 up to 1. Only spreads retries of many healers, so the randomness of hash maps is good enough.
fn random_fraction() -> f64 {
    let bits = RandomState::new().hash_one(0_u8) >> 32;
    f64::from(u32::try_from(bits).unwrap_or_default()) / (f64::from(u32::MAX) + 1.0)
}

struct Dialler<'a> {
    settings: &'a ConnectSettings,
    tls: Option<MakeRustlsConnect>,
    deadline: Instant,
    stop: &'a StopFlag,
    /// How long it goes on after a signal.
    grace: Duration,
    /// When the signal was seen first.
    signalled: OnceCell<Instant>,
}

impl Dialler<'_> {
    /// Fails where a signal has arrived and its grace is over.
    fn check_stop(&self, target: &str) -> Result<(), ConnectError> {
        let Some(signal) = self.stop.signal() else { return Ok(()) };
        if self.signalled.get_or_init(Instant::now).elapsed() < self.grace {
            return Ok(());
        }
        Err(ConnectError::Interrupted { target: target.to_owned(), signal })
    }

    /// Waits before the next round.
    fn pause(&self, time: Duration) -> Result<(), ConnectError> {
        let until = Instant::now() + time;
        loop {
            self.check_stop(&self.settings.display_target())?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(SLICE));
        }
    }

    /// Every host once (twice where a standby is only preferred).
    fn round(&self) -> Result<Client, ConnectError> {
        let mut hosts: Vec<&Endpoint> = self.settings.hosts.iter().collect();
        if self.settings.random_host_order {
            hosts.sort_by_cached_key(|_| RandomState::new().hash_one(0_u8));
        }
        let kinds: &[TargetSessionAttrs] = match self.settings.target_session {
            TargetSession::Any => &[TargetSessionAttrs::Any],
            TargetSession::ReadWrite => &[TargetSessionAttrs::ReadWrite],
            TargetSession::ReadOnly => &[TargetSessionAttrs::ReadOnly],
            TargetSession::PreferReadOnly => &[TargetSessionAttrs::ReadOnly, TargetSessionAttrs::Any],
        };
        let mut worst: Option<ConnectError> = None;
        for kind in kinds {
            for endpoint in &hosts {
                match self.host(endpoint, *kind) {
                    Ok(client) => return Ok(client),
                    Err(error) if error.is_final() => return Err(error),
                    // One host that asks for patience is worth another round, whatever the others say.
                    Err(error) if worst.as_ref().is_none_or(|known| error.retries() >= known.retries()) => {
                        worst = Some(error);
                    }
                    Err(_) => {}
                }
            }
        }
        Err(worst.unwrap_or_else(|| ConnectError::NoTime { target: self.settings.display_target() }))
    }

    /// Every address of one host, in the resolver's order.
    fn host(&self, endpoint: &Endpoint, kind: TargetSessionAttrs) -> Result<Client, ConnectError> {
        let target = self.settings.target_of(&endpoint.to_string());
        let Place::Tcp { host, address } = &endpoint.place else {
            return self.address(endpoint, None, kind, &target);
        };
        let addresses = match address {
            Some(address) => vec![*address],
            None => self.resolve(host, endpoint.port, &target)?,
        };
        let mut last = None;
        for address in addresses {
            match self.address(endpoint, Some(address), kind, &target) {
                Ok(client) => return Ok(client),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(ConnectError::Dns { target, reason: "it has no address".to_owned() }))
    }

    /// The addresses of a name. The resolver has its own, longer time-outs, so it is waited for with ours.
    fn resolve(&self, host: &str, port: u16, target: &str) -> Result<Vec<IpAddr>, ConnectError> {
        let name = host.to_owned();
        let found = self.on_thread(target, move || {
            (name.as_str(), port).to_socket_addrs().map(|all| {
                let (mut addresses, mut zoned) = (Vec::<IpAddr>::new(), false);
                for address in all {
                    // The driver takes an address without its zone, and that one leads nowhere.
                    if matches!(address, SocketAddr::V6(address) if address.scope_id() != 0) {
                        zoned = true;
                    } else if !addresses.contains(&address.ip()) && addresses.len() < MAX_ADDRESSES {
                        addresses.push(address.ip());
                    }
                }
                (addresses, zoned)
            })
        });
        match found? {
            Ok((addresses, true)) if addresses.is_empty() => Err(ConnectError::Dns {
                target: target.to_owned(),
                reason: "it has link-local addresses only, whose zone the driver cannot keep".to_owned(),
            }),
            Ok((addresses, _)) => Ok(addresses),
            Err(error) => {
                Err(ConnectError::Dns { target: target.to_owned(), reason: clean(&error.to_string(), &[], "") })
            }
        }
    }

    /// One address; where TLS was only preferred, a second time without it.
    fn address(
        &self,
        endpoint: &Endpoint,
        address: Option<IpAddr>,
        kind: TargetSessionAttrs,
        target: &str,
    ) -> Result<Client, ConnectError> {
        let socket = matches!(endpoint.place, Place::Socket(_));
        // A socket has no wire to listen on; Postgres offers no TLS there.
        let mode = if socket { SslMode::Disable } else { self.settings.ssl_mode };
        match self.attempt(endpoint, address, kind, mode, target) {
            // libpq goes on without TLS when it fails, and when the rules of the server admit plain text only.
            Err(ConnectError::Tls { .. }) if mode == SslMode::Prefer => {
                self.attempt(endpoint, address, kind, SslMode::Disable, target)
            }
            Err(ConnectError::Authentication { sqlstate, .. }) if mode == SslMode::Prefer && sqlstate == "28000" => {
                self.attempt(endpoint, address, kind, SslMode::Disable, target)
            }
            other => other,
        }
    }

    fn attempt(
        &self,
        endpoint: &Endpoint,
        address: Option<IpAddr>,
        kind: TargetSessionAttrs,
        mode: SslMode,
        target: &str,
    ) -> Result<Client, ConnectError> {
        let limit = self.limit(target)?;
        let config = self.config(endpoint, address, kind, mode, limit);
        let tls = if mode == SslMode::Disable { None } else { self.tls.clone() };
        let result = self.on_thread(target, move || match tls {
            Some(tls) => config.connect(tls),
            None => config.connect(NoTls),
        })?;
        result.map_err(|error| self.explain(&error, endpoint, target))
    }

    /// The time for the next step: `connect_timeout`, or what is left until the deadline; none after a signal.
    fn limit(&self, target: &str) -> Result<Duration, ConnectError> {
        self.check_stop(target)?;
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ConnectError::NoTime { target: target.to_owned() });
        }
        Ok(left.min(self.settings.connect_timeout))
    }

    /// Runs a step that may hang, and stops waiting at the limit.
    fn on_thread<T: Send + 'static>(
        &self,
        target: &str,
        step: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ConnectError> {
        let limit = self.limit(target)?;
        let driver = |reason: &str| ConnectError::Driver { target: target.to_owned(), reason: reason.to_owned() };
        let (sender, receiver) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("connect".to_owned())
            .spawn(move || {
                // Nobody waits any more when this fails; the session is closed by being dropped here.
                let _ = sender.send(step());
            })
            .map_err(|error| driver(&error.to_string()))?;
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match receiver.recv_timeout(left.min(SLICE)) {
                Ok(value) => return Ok(value),
                Err(RecvTimeoutError::Disconnected) => return Err(driver("it panicked")),
                Err(RecvTimeoutError::Timeout) if left.is_zero() => {
                    return Err(ConnectError::Silent { target: target.to_owned(), limit });
                }
                Err(RecvTimeoutError::Timeout) => self.check_stop(target)?,
            }
        }
    }

    fn config(
        &self,
        endpoint: &Endpoint,
        address: Option<IpAddr>,
        kind: TargetSessionAttrs,
        mode: SslMode,
        limit: Duration,
    ) -> Config {
        let settings = self.settings;
        let mut config = Config::new();
        match &endpoint.place {
            Place::Socket(directory) => {
                config.host_path(directory);
            }
            Place::Tcp { host, .. } => {
                config.host(host);
            }
        }
        if let Some(address) = address {
            config.hostaddr(address);
        }
        config
            .port(endpoint.port)
            .user(&settings.user)
            .dbname(&settings.dbname)
            .application_name(&settings.application_name)
            .channel_binding(settings.channel_binding)
            .target_session_attrs(kind)
            // A little less than the limit of the whole step, so that a silent network is told from a silent server.
            .connect_timeout(limit.mul_f64(0.95))
            .tcp_user_timeout(settings.tcp_user_timeout)
            .keepalives(settings.keepalives.is_some())
            .ssl_mode(match mode {
                SslMode::Disable => DriverSslMode::Disable,
                SslMode::Prefer => DriverSslMode::Prefer,
                SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => DriverSslMode::Require,
            })
            .notice_callback(|notice| {
                log::debug!(target: "healer::database", "server notice {}", notice.code().code());
            });
        if settings.tls.direct && mode >= SslMode::Require {
            config.ssl_negotiation(SslNegotiation::Direct);
        }
        if let Some(keepalives) = settings.keepalives {
            config
                .keepalives_idle(keepalives.idle)
                .keepalives_interval(keepalives.interval)
                .keepalives_retries(keepalives.retries);
        }
        if let Some(password) = settings.password.as_ref().or(endpoint.password.as_ref()) {
            config.password(password.reveal());
        }
        if let Some(options) = &settings.options {
            config.options(options.reveal());
        }
        config
    }

    /// Translates what the driver reports.
    fn explain(&self, error: &postgres::Error, endpoint: &Endpoint, target: &str) -> ConnectError {
        let target = target.to_owned();
        let password = self.settings.password.as_ref().or(endpoint.password.as_ref());
        let secrets: Vec<&str> =
            [password, self.settings.options.as_ref()].into_iter().flatten().map(super::url::Secret::reveal).collect();
        let innocent =
            format!("{} {} password authentication failed for user", self.settings.user, self.settings.dbname);
        if let Some(server) = error.as_db_error() {
            let message = clean(server.message(), &secrets, &innocent);
            let bracketed = password.is_some_and(|secret| {
                let text = secret.reveal();
                text.len() > 2 && text.starts_with('[') && text.ends_with(']')
            });
            return of_server(target, server.code().code(), message, bracketed);
        }
        let source = error.source();
        if let Some(io) = source.and_then(|source| source.downcast_ref::<io::Error>()) {
            if let Some(tls) = io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                return ConnectError::Tls { target, error: TlsError::of_handshake(tls) };
            }
            return of_io(target, io, endpoint);
        }
        if error.is_closed() {
            return ConnectError::Closed { target };
        }
        // The driver has no types for these; the words are held by tests.
        let reason = source.map_or_else(|| error.to_string(), ToString::to_string);
        match reason.as_str() {
            "server does not support TLS" => ConnectError::Tls { target, error: TlsError::Refused },
            "password missing" => ConnectError::NoPassword { target },
            "unexpected message from server" => ConnectError::NotPostgres { target, reason },
            "server did not use channel binding"
            | "unsupported authentication method"
            | "unsupported SASL mechanism" => ConnectError::Method { target, reason },
            _ => ConnectError::Driver { target, reason: clean(&reason, &secrets, &innocent) },
        }
    }
}

/// By SQLSTATE; poolers have none of their own for some cases, and their English words are not translated.
fn of_server(target: String, sqlstate: &str, message: String, bracketed: bool) -> ConnectError {
    let lower = message.to_ascii_lowercase();
    let code = sqlstate.to_owned();
    match sqlstate {
        "57P03" | "57P01" | "57P02" => ConnectError::NotNow { target, sqlstate: code, message },
        "53300" => ConnectError::TooMany { target, sqlstate: code, message },
        "28P01" | "28000" | "42501" => ConnectError::Authentication { target, sqlstate: code, message, bracketed },
        "3D000" => ConnectError::NoDatabase { target, sqlstate: code, message },
        // PgBouncer and Supavisor.
        "08P01" | "XX000" | "08006"
            if lower.contains("tenant or user not found") || lower.contains("authentication failed") =>
        {
            ConnectError::Authentication { target, sqlstate: code, message, bracketed }
        }
        "08P01" | "XX000" if lower.contains("no such database") => {
            ConnectError::NoDatabase { target, sqlstate: code, message }
        }
        "08P01" | "XX000" if lower.contains("max") && (lower.contains("client") || lower.contains("conn")) => {
            ConnectError::TooMany { target, sqlstate: code, message }
        }
        "08P01" if lower.contains("startup parameter") || lower.contains("ssl required") => {
            ConnectError::Rejected { target, sqlstate: code, message, temporary: false }
        }
        _ => {
            // Connection, resources, operator and system: these pass. All others are about what was asked for.
            let temporary = ["08", "53", "57", "58", "XX"].iter().any(|class| sqlstate.starts_with(class));
            ConnectError::Rejected { target, sqlstate: code, message, temporary }
        }
    }
}

fn of_io(target: String, error: &io::Error, endpoint: &Endpoint) -> ConnectError {
    use io::ErrorKind as K;
    let reason = clean(&error.to_string(), &[], "");
    match error.kind() {
        K::ConnectionRefused => ConnectError::Refused { target },
        K::UnexpectedEof | K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe => ConnectError::Closed { target },
        // Sent by the driver when target_session_attrs is not met; a socket's permissions come without that text.
        K::PermissionDenied if reason.starts_with("database ") => ConnectError::WrongKind { target, reason },
        K::NotFound => match &endpoint.place {
            Place::Socket(directory) => {
                ConnectError::Unreachable { target, reason: no_socket(directory, endpoint.port) }
            }
            Place::Tcp { .. } => ConnectError::Unreachable { target, reason },
        },
        // The driver could not make sense of what came, or rustls of the host's name.
        K::InvalidData | K::InvalidInput if reason.contains("server name") || reason.contains("dns name") => {
            ConnectError::Tls { target, error: TlsError::WrongName }
        }
        K::InvalidData | K::InvalidInput => ConnectError::NotPostgres { target, reason },
        _ => ConnectError::Unreachable { target, reason },
    }
}

fn no_socket(directory: &Path, port: u16) -> String {
    format!("there is no socket {}/.s.PGSQL.{port}", directory.display())
}

/// Words of the server on one line and bounded. A hostile server that asks for the password in clear text could send
/// it back in its message; such a message is withheld whole, as a gap in it would show where and what the secret is.
fn clean(message: &str, secrets: &[&str], innocent: &str) -> String {
    // Secrets that occur in every message by chance (short ones, the role's name, the word password) say nothing there.
    let repeats = |secret: &&str| secret.len() >= 4 && message.contains(*secret) && !innocent.contains(*secret);
    if secrets.iter().any(repeats) {
        return "(message withheld, as it repeats a secret)".to_owned();
    }
    let line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_MESSAGE).collect();
    line.trim().to_owned()
}
