//! Sessions against real and misbehaving servers: TLS at every level, passwords, time-outs, retries.

use std::ffi::OsString;
use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use healer::database::connect::{ConnectError, connect, connect_until_stopped};
use healer::database::session::StopFlag;
use healer::database::tls::TlsError;
use healer::database::url::{ConnectSettings, Surroundings, UrlSource, parse};
use postgres::Client;

use crate::support::impostor::Impostor;
use crate::support::tls_cluster::{Authority, TlsCluster, self_signed};

fn settings(text: &str) -> ConnectSettings {
    let variable = |_: &str| None::<OsString>;
    let around = Surroundings {
        variable: &variable,
        home: None,
        os_user: Some("postgres".to_owned()),
        socket_directories: Vec::new(),
    };
    parse(text, UrlSource::Variable("DATABASE_URL"), &around).unwrap()
}

fn open(text: &str) -> Result<Client, ConnectError> {
    connect(&settings(text), Instant::now() + Duration::from_secs(30))
}

fn error(text: &str) -> ConnectError {
    match open(text) {
        Ok(_) => panic!("{text}: connected"),
        Err(error) => error,
    }
}

fn tls_error(text: &str) -> TlsError {
    match error(text) {
        ConnectError::Tls { error, .. } => error,
        other => panic!("{text}: {other:?}"),
    }
}

/// Whether the session is encrypted, as the server sees it.
fn encrypted(text: &str) -> bool {
    let mut client = open(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    client.query_typed("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).unwrap()[0].get(0)
}

fn with_certificate(certificate: &str, key: &str, hba: &str) -> TlsCluster {
    let settings =
        "ssl=on\nssl_cert_file='server.pem'\nssl_key_file='server.key'\npassword_encryption='scram-sha-256'\n";
    let cluster = TlsCluster::start(settings, hba);
    cluster.write("data/server.pem", certificate);
    cluster.write("data/server.key", key);
    cluster.up()
}

#[test]
fn tls_is_verified_as_far_as_the_mode_asks() {
    let (right, wrong) = (Authority::new("right"), Authority::new("wrong"));
    let (certificate, key) = right.issue("localhost", false);
    let cluster = with_certificate(&certificate, &key, "host all all 127.0.0.1/32 trust\n");
    let right = cluster.write("right.pem", &right.pem());
    let wrong = cluster.write("wrong.pem", &wrong.pem());
    let port = cluster.port;
    let url = |host: &str, mode: &str, root: &str| {
        format!("host={host} hostaddr=127.0.0.1 port={port} dbname=postgres sslmode={mode} sslrootcert='{root}'")
    };
    let (right, wrong) = (right.to_str().unwrap(), wrong.to_str().unwrap());
    assert!(encrypted(&url("localhost", "verify-full", right)));
    assert!(encrypted(&url("other.example", "verify-ca", right)));
    assert!(encrypted(&url("other.example", "require", "")));
    assert!(encrypted(&url("my_db", "prefer", wrong)));
    assert!(!encrypted(&url("localhost", "disable", "")));
    assert_eq!(tls_error(&url("other.example", "verify-full", right)), TlsError::WrongName);
    for mode in ["require", "verify-ca", "verify-full"] {
        assert_eq!(tls_error(&url("localhost", mode, wrong)), TlsError::Untrusted, "{mode}");
    }
    assert_eq!(tls_error(&url("localhost", "verify-full", "system")), TlsError::Untrusted);
    assert!(matches!(tls_error(&url("localhost", "verify-ca", "/nowhere.pem")), TlsError::Unreadable { .. }));
    let empty = cluster.write("empty.pem", "");
    let empty = tls_error(&url("localhost", "verify-ca", empty.to_str().unwrap()));
    assert!(matches!(empty, TlsError::Missing { .. }));
    let refused = error(&url("localhost", "verify-full", wrong));
    assert_eq!(refused.exit_code(), 78);
    assert!(refused.hint().contains("sslrootcert"));
}

#[test]
fn an_expired_certificate_is_refused_where_it_is_verified() {
    let authority = Authority::new("right");
    let (certificate, key) = authority.issue("localhost", true);
    let cluster = with_certificate(&certificate, &key, "host all all 127.0.0.1/32 trust\n");
    let root = cluster.write("root.pem", &authority.pem());
    let url = format!("host=localhost hostaddr=127.0.0.1 port={} dbname=postgres", cluster.port);
    assert!(encrypted(&format!("{url} sslmode=require")));
    let verified = format!("{url} sslmode=verify-ca sslrootcert='{}'", root.display());
    assert_eq!(tls_error(&verified), TlsError::OutOfDate { early: false });
}

#[test]
fn a_self_signed_certificate_is_trusted_where_it_is_itself_the_root() {
    let (certificate, key) = self_signed("localhost");
    let cluster = with_certificate(&certificate, &key, "host all all 127.0.0.1/32 trust\n");
    let root = cluster.write("root.pem", &certificate);
    let other = cluster.write("other.pem", &self_signed("localhost").0);
    let url = format!("host=localhost hostaddr=127.0.0.1 port={} dbname=postgres sslmode=verify-full", cluster.port);
    assert!(encrypted(&format!("{url} sslrootcert='{}'", root.display())));
    assert_eq!(tls_error(&format!("{url} sslrootcert='{}'", other.display())), TlsError::Untrusted);
    let name = format!("{url} sslrootcert='{}'", root.display()).replace("host=localhost", "host=other");
    assert_eq!(tls_error(&name), TlsError::WrongName);
}

#[test]
fn passwords_of_both_kinds_work_and_wrong_ones_are_told_apart() {
    let authority = Authority::new("right");
    let (certificate, key) = authority.issue("localhost", false);
    let hba = "host all md5role 127.0.0.1/32 md5\nhost all scramrole 127.0.0.1/32 scram-sha-256\n\
               hostnossl all plain 127.0.0.1/32 trust\n";
    let cluster = with_certificate(&certificate, &key, hba);
    let mut admin = open(&format!("host={} port={} user=postgres", cluster.socket().display(), cluster.port)).unwrap();
    admin
        .batch_execute(
            "SET password_encryption = 'md5'; CREATE ROLE md5role LOGIN PASSWORD 'se@same';
             SET password_encryption = 'scram-sha-256'; CREATE ROLE scramrole LOGIN PASSWORD 'se@same' CONNECTION LIMIT 1;
             CREATE ROLE plain LOGIN",
        )
        .unwrap();
    let url = |user: &str, password: &str, rest: &str| {
        format!("postgres://{user}:{password}@127.0.0.1:{}/postgres?{rest}", cluster.port)
    };
    assert!(encrypted(&url("md5role", "se%40same", "")));
    assert!(encrypted(&url("scramrole", "se%40same", "channel_binding=require")));
    assert!(!encrypted(&url("scramrole", "se%40same", "sslmode=disable&channel_binding=disable")));
    // Rules that admit plain text only are met by prefer, not by require.
    assert!(!encrypted(&url("plain", "", "")));
    assert_eq!(error(&url("plain", "", "sslmode=require")).exit_code(), 77);

    let wrong = error(&url("scramrole", "open", ""));
    assert!(matches!(&wrong, ConnectError::Authentication { sqlstate, .. } if sqlstate == "28P01"));
    assert_eq!(wrong.exit_code(), 77);
    assert!(!format!("{wrong} {wrong:?} {}", wrong.hint()).contains("open"));
    assert!(error(&url("scramrole", "%5Bse%40same%5D", "")).hint().contains("brackets"));
    assert!(matches!(error(&url("scramrole", "", "")), ConnectError::NoPassword { .. }));
    let method = error(&url("md5role", "se%40same", "channel_binding=require"));
    assert!(matches!(method, ConnectError::Method { .. }) && method.exit_code() == 77);
    let missing = error(&url("md5role", "se%40same", "").replace("/postgres?", "/nowhere?"));
    assert!(matches!(missing, ConnectError::NoDatabase { .. }) && missing.exit_code() == 78);
    let options = error(&url("md5role", "se%40same", "options=-c%20nonsense%3D1"));
    assert!(matches!(options, ConnectError::Rejected { temporary: false, .. }), "{options:?}");

    let held = open(&url("scramrole", "se%40same", "")).unwrap();
    // Far beyond the tries that are made, on however slow a machine.
    let full = connect(&settings(&url("scramrole", "se%40same", "")), Instant::now() + Duration::from_secs(120));
    assert!(matches!(full.err(), Some(error @ ConnectError::TooMany { .. }) if error.exit_code() == 75));
    drop(held);
}

#[test]
fn a_server_without_tls_is_met_by_prefer_only() {
    let cluster = TlsCluster::start("", "host all all 127.0.0.1/32 trust\n").up();
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", cluster.port);
    assert!(!encrypted(&url));
    assert_eq!(tls_error(&format!("{url}?sslmode=require")), TlsError::Refused);
    // A socket has no TLS, whatever is asked for.
    assert!(!encrypted(&format!("host={} port={} sslmode=require", cluster.socket().display(), cluster.port)));
    let mut client = open(&url).unwrap();
    let name: String = client.query_typed("SELECT current_setting('application_name')", &[]).unwrap()[0].get(0);
    assert_eq!(name, "healer");
    let standby = error(&format!("{url}?target_session_attrs=read-only"));
    assert!(matches!(standby, ConnectError::WrongKind { .. }) && standby.exit_code() == 75);
    assert!(open(&format!("{url}?target_session_attrs=prefer-standby")).is_ok());
    // The first host is gone, the second answers.
    let closed = free_port();
    assert!(open(&format!("postgres://postgres@127.0.0.1:{closed},127.0.0.1:{}/postgres", cluster.port)).is_ok());

    for sqlstate in ["57P03", "53300"] {
        let proxy = Impostor::refusing(1, sqlstate, b"not now", cluster.port);
        assert!(open(&format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", proxy.port)).is_ok());
        assert_eq!(proxy.sessions.load(Ordering::SeqCst), 2, "{sqlstate}");
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_refused_port_and_a_missing_socket_are_temporary() {
    let refused = error(&format!("postgres://127.0.0.1:{}/d", free_port()));
    assert!(matches!(refused, ConnectError::Refused { .. }) && refused.exit_code() == 75);
    let directory = tempfile::tempdir().unwrap();
    let missing = error(&format!("host={} dbname=d", directory.path().display()));
    assert!(missing.to_string().contains("there is no socket"), "{missing}");
    let unknown = error("postgres://u:sesame@no-such-host.invalid/d?connect_timeout=5");
    assert_eq!(unknown.exit_code(), 75);
    assert!(!format!("{unknown} {unknown:?}").contains("sesame"));
}

#[test]
fn a_server_that_stalls_the_handshake_is_given_up() {
    for (proxy, mode) in [
        (Impostor::silent(false), "disable"),
        (Impostor::silent(false), "require"),
        (Impostor::silent(true), "require"),
    ] {
        let stalled = error(&format!("postgres://127.0.0.1:{}/d?sslmode={mode}&connect_timeout=1", proxy.port));
        assert!(matches!(stalled, ConnectError::Silent { .. }), "{stalled:?}");
        assert_eq!(stalled.exit_code(), 75);
    }
    let proxy = Impostor::silent(false);
    let deadline = connect(&settings(&format!("postgres://127.0.0.1:{}/d", proxy.port)), Instant::now());
    assert!(matches!(deadline.err(), Some(ConnectError::NoTime { .. })));
}

#[test]
fn a_signal_ends_the_dialling_but_for_a_moment_in_which_to_tell_what_was_done() {
    let cluster = TlsCluster::start("", "host all all 127.0.0.1/32 trust\n").up();
    let there = settings(&format!("postgres://postgres@127.0.0.1:{}/postgres", cluster.port));
    let silent = Impostor::silent(false);
    let silent = settings(&format!("postgres://127.0.0.1:{}/d?sslmode=disable&connect_timeout=60", silent.port));
    let stop = StopFlag::default();
    stop.set(15);
    let later = || Instant::now() + Duration::from_secs(300);
    let stopped = |settings: &ConnectSettings, grace: Duration| {
        connect_until_stopped(settings, later(), &stop, grace).err().map(|error| error.exit_code())
    };
    assert_eq!(stopped(&there, Duration::ZERO), Some(143));
    assert_eq!(stopped(&there, Duration::from_secs(60)), None);
    // The grace is over before the time of one address is.
    assert_eq!(stopped(&silent, Duration::from_millis(1)), Some(143));
    // Who tries again is stopped between the rounds as well: the server asks for patience for ever.
    let full = Impostor::refusing(usize::MAX, "53300", b"too many", 0);
    let full = settings(&format!("postgres://127.0.0.1:{}/d?sslmode=disable", full.port));
    assert_eq!(stopped(&full, Duration::from_millis(300)), Some(143));
}

#[test]
fn what_is_no_postgres_is_told_without_a_panic() {
    let closed = error(&format!("postgres://127.0.0.1:{}/d?sslmode=disable", Impostor::answering(b"").port));
    assert_eq!(closed.exit_code(), 75, "{closed:?}");
    let http = Impostor::answering(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let refused = error(&format!("postgres://127.0.0.1:{}/d?sslmode=require", http.port));
    assert_eq!(refused.exit_code(), 78, "{refused:?}");
    let plain = error(&format!("postgres://127.0.0.1:{}/d?sslmode=disable&connect_timeout=1", http.port));
    assert!([75, 78].contains(&plain.exit_code()), "{plain:?}");
}

#[test]
fn messages_in_any_encoding_and_language_are_told_on_one_line() {
    let latin = b"Rolle \xBBb\xF6se\xAB ist\ngesperrt";
    let proxy = Impostor::refusing(9, "28000", latin, 0);
    let refused = error(&format!("postgres://127.0.0.1:{}/d?sslmode=disable", proxy.port));
    assert!(refused.to_string().contains("se\u{fffd} ist gesperrt"), "{refused}");
    let proxy = Impostor::refusing(9, "XX000", b"Tenant or user not found", 0);
    let tenant = error(&format!("postgres://127.0.0.1:{}/d?sslmode=disable", proxy.port));
    assert!(tenant.exit_code() == 77 && tenant.hint().contains("postgres.PROJECT"));
    let proxy = Impostor::refusing(9, "08P01", b"unsupported startup parameter: options", 0);
    let options = error(&format!("postgres://127.0.0.1:{}/d?sslmode=disable", proxy.port));
    assert!(options.exit_code() == 78 && options.hint().contains("PGOPTIONS"));
}

#[test]
fn a_server_that_sends_the_password_back_does_not_get_it_printed() {
    let proxy = Impostor::refusing(9, "28P01", b"you said sesame", 0);
    let refused = error(&format!("postgres://u:sesame@127.0.0.1:{}/d?sslmode=disable", proxy.port));
    let all = format!("{refused} {refused:?} {}", refused.hint());
    assert!(!all.contains("sesame") && all.contains("withheld"), "{all}");
}

#[test]
fn a_client_certificate_is_shown_where_the_server_asks_for_one() {
    let authority = Authority::new("right");
    let (certificate, key) = authority.issue("localhost", false);
    let settings = "ssl=on\nssl_cert_file='server.pem'\nssl_key_file='server.key'\nssl_ca_file='ca.pem'\n";
    let cluster = TlsCluster::start(settings, "hostssl all all 127.0.0.1/32 trust clientcert=verify-ca\n");
    cluster.write("data/server.pem", &certificate);
    cluster.write("data/server.key", &key);
    cluster.write("data/ca.pem", &authority.pem());
    let (certificate, key) = authority.issue("client", false);
    let certificate = cluster.write("client.pem", &certificate);
    let key = cluster.write("client.key", &key);
    let cluster = cluster.up();
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=require", cluster.port);
    let with = format!("{url}&sslcert={}&sslkey={}", certificate.display(), key.display());
    assert!(encrypted(&with));
    assert_eq!(error(&url).exit_code(), 77);
    assert!(matches!(
        tls_error(&with.replace("client.key", "client.pem")),
        TlsError::Missing { what: "private key", .. }
    ));
}
