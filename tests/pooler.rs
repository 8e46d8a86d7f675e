//! Behind PgBouncer in transaction mode with one server connection: what one session leaves behind, the next one meets.

use crate::support::cluster::{Shape, TestDb, server};
use crate::support::impostor::Impostor;
use crate::support::pooler::{Door, Pooler};
use crate::support::program::{Healer, Ran};
use crate::support::proxy::{Proxy, Target, Way};
use crate::support::tls_cluster::Authority;

const STUCK: &str = "INSERT INTO public.content_metadata (decision_id, content, status, created_at, updated_at)
    SELECT 'p' || n, 'x', 'posting', now() - interval '2 hours', now() - interval '45 minutes' FROM generate_series(1, 20) n";

/// The settings that healer sets, as a fresh session has them, and what must not be left on the server connection.
const TRACES: &str = "SELECT concat_ws(' ', current_setting('TimeZone'), current_setting('row_security'),
        current_setting('statement_timeout'), current_setting('lock_timeout'),
        current_setting('idle_in_transaction_session_timeout'), current_setting('cursor_tuple_fraction'),
        current_setting('client_min_messages'), current_setting('default_transaction_read_only'),
        current_setting('search_path'),
        (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
        (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_cursors))";

/// A database behind a pooler; `None`, and said, where no pooler is installed.
fn pooled(shape: Shape) -> Option<(TestDb, Pooler)> {
    let database = TestDb::new(shape);
    let pooler = Pooler::start(server(), database.name());
    if pooler.is_none() {
        eprintln!("pgbouncer is not installed: not tried");
    }
    Some((database, pooler?))
}

/// Both through the simple protocol: the traces of the question itself must not be counted.
fn traces(pooler: &Pooler) -> String {
    let mut client = pooler.client().expect("a connection");
    let messages = client.simple_query(TRACES).expect("an answer");
    messages
        .iter()
        .find_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
        .expect("a row")
}

#[test]
fn five_heals_at_once_share_one_server_connection_and_leave_nothing_on_it() {
    let Some((database, pooler)) = pooled(Shape::Minimal) else { return };
    let before = traces(&pooler);
    Healer::at(&pooler.url(), &["init"]).run().expect(0);
    database.run(STUCK);
    let children: Vec<_> = (0..5).map(|_| Healer::at(&pooler.url(), &["heal", "-v"]).spawn()).collect();
    for (child, _folder) in children {
        let ran = Ran::of(child.wait_with_output().expect("it ends")).expect(0);
        assert!(!ran.all().contains("prepared statement"), "{}", ran.all());
    }
    assert_eq!(database.value("SELECT count(*) FROM healer.action").as_deref(), Some("20"), "every post once");
    assert_eq!(
        database.value("SELECT count(*) FROM public.content_metadata WHERE status = 'queued'").as_deref(),
        Some("20")
    );
    assert_eq!(traces(&pooler), before);
}

/// Every command, each as it ends where nothing is wrong; `run` gives what it printed.
fn every_command(database: &TestDb, run: &dyn Fn(&[&str], i32) -> Ran) {
    run(&["init"], 0);
    run(&["init"], 0);
    database.run(STUCK);
    database.run("UPDATE public.content_metadata SET scheduled_at = now() - interval '2 days' WHERE decision_id IN ('p1', 'p2', 'p3')");
    run(&["heal", "--dry-run"], 0);
    // What is held is new: in part done.
    run(&["heal"], 3);
    assert!(run(&["doctor"], 0).stdout.contains("pooler"));
    run(&["report"], 0);
    run(&["resolve", "p1", "--queue", "--dry-run"], 0);
    run(&["resolve", "p1", "--queue"], 0);
    run(&["resolve", "p2", "--posted", "12345"], 0);
    run(&["resolve", "p3", "--fail"], 0);
    // The second run is the first decision.
    run(&["undo", "2", "--dry-run"], 0);
    run(&["undo", "2"], 0);
    // A failure in the middle of a transaction leaves no more behind.
    run(&["resolve", "p9999", "--queue"], 1);
    run(&["undo", "9999"], 1);
}

#[test]
fn every_command_works_behind_it() {
    for shape in Shape::ALL {
        let Some((database, pooler)) = pooled(shape) else { return };
        let before = traces(&pooler);
        every_command(&database, &|arguments, code| Healer::at(&pooler.url(), arguments).run().expect(code));
        assert_eq!(traces(&pooler), before);
    }
}

/// A pooler that lets in with TLS and a password only, and the file of the authority that signed its certificate.
fn secured(database: &TestDb, method: &'static str) -> Option<(Pooler, Authority, tempfile::TempDir)> {
    let authority = Authority::new("right");
    let (certificate, key) = authority.issue("localhost", false);
    let pooler = Pooler::secured(server(), database.name(), &Door { certificate, key, method, password: "se@same" });
    if pooler.is_none() {
        eprintln!("pgbouncer is not installed: not tried");
    }
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("right.pem"), authority.pem()).expect("written");
    std::fs::write(folder.path().join("wrong.pem"), Authority::new("wrong").pem()).expect("written");
    Some((pooler?, authority, folder))
}

#[test]
fn every_command_works_behind_it_with_tls_and_passwords_of_both_kinds() {
    for method in ["scram-sha-256", "md5"] {
        let database = TestDb::new(Shape::Full);
        let Some((pooler, _, folder)) = secured(&database, method) else { return };
        let before = traces(&pooler);
        let root = folder.path().join("right.pem").display().to_string();
        let url = pooler
            .tcp_url("localhost", &format!("sslmode=verify-full&sslrootcert={root}"))
            .replace("//localhost", "//postgres:se%40same@localhost");
        every_command(&database, &|arguments, code| {
            let ran = Healer::at(&url, arguments).run().expect(code);
            assert!(!ran.all().contains("se@same") && !ran.all().contains("se%40same"), "{}", ran.all());
            ran
        });
        assert_eq!(traces(&pooler), before, "{method}");
    }
}

#[test]
fn five_heals_at_once_share_one_server_connection_through_tls() {
    let database = TestDb::new(Shape::Minimal);
    let Some((pooler, _, folder)) = secured(&database, "scram-sha-256") else { return };
    let before = traces(&pooler);
    let rest = format!("sslmode=verify-full&sslrootcert={}", folder.path().join("right.pem").display());
    let url = pooler.tcp_url("localhost", &rest).replace("//localhost", "//postgres:se%40same@localhost");
    Healer::at(&url, &["init"]).run().expect(0);
    database.run(STUCK);
    let children: Vec<_> = (0..5).map(|_| Healer::at(&url, &["heal", "-v"]).spawn()).collect();
    for (child, _folder) in children {
        let ran = Ran::of(child.wait_with_output().expect("it ends")).expect(0);
        assert!(!ran.all().contains("prepared statement"), "{}", ran.all());
    }
    assert_eq!(database.value("SELECT count(*) FROM healer.action").as_deref(), Some("20"), "every post once");
    assert_eq!(traces(&pooler), before);
}

/// Through the binary, as cron starts it: the certificate, the password and where each comes from.
#[test]
fn certificate_and_password_of_a_pooler_are_checked_as_the_settings_ask() {
    let database = TestDb::new(Shape::Minimal);
    let Some((pooler, _, folder)) = secured(&database, "scram-sha-256") else { return };
    let pem = |name: &str| folder.path().join(format!("{name}.pem")).display().to_string();
    let doctor = |url: &str| Healer::at(url, &["doctor"]);
    let url = |host: &str, rest: &str| pooler.tcp_url(host, rest).replace("//", "//postgres:se%40same@");
    Healer::on(&database, &["init"]).run().expect(0);

    let full = |host: &str, root: &str| url(host, &format!("sslmode=verify-full&sslrootcert={}", pem(root)));
    doctor(&full("localhost", "right")).run().expect(0);
    doctor(&full("localhost", "wrong"))
        .run()
        .expect(78)
        .one_error(&["not signed by a trusted authority", "sslrootcert"]);
    doctor(&full("other.example", "right")).run().expect(78).one_error(&["not for this host name"]);
    doctor(&url("other.example", &format!("sslmode=verify-ca&sslrootcert={}", pem("right")))).run().expect(0);
    doctor(&url("localhost", "sslmode=require")).run().expect(0);
    doctor(&url("localhost", "sslmode=disable")).run().expect(78).one_error(&["SSL required", "sslmode=require"]);
    // PgBouncer has no channel binding: who insists on it is told, and not let through without.
    doctor(&(full("localhost", "right") + "&channel_binding=require")).run().expect(77).one_error(&["channel"]);
    doctor(&(full("localhost", "right") + "&channel_binding=prefer")).run().expect(0);
    let wrong = doctor(&full("localhost", "right").replace("se%40same", "open%40up")).run().expect(77);
    assert!(!wrong.all().contains("open") && wrong.stderr.contains("password"), "{}", wrong.all());

    // The password from its file, the rest from the URL; from a service; and all of it from PG* variables.
    let bare = pooler.tcp_url("localhost", &format!("user=postgres&sslmode=verify-full&sslrootcert={}", pem("right")));
    let passwords = folder.path().join("pgpass");
    std::fs::write(&passwords, format!("localhost:{}:*:postgres:se@same\n", pooler.port())).expect("written");
    let keep = |mode| {
        std::fs::set_permissions(&passwords, std::os::unix::fs::PermissionsExt::from_mode(mode))
            .expect("its mode is set");
    };
    keep(0o600);
    let file = passwords.to_str().expect("a path");
    doctor(&bare).env("PGPASSFILE", file).run().expect(0);
    keep(0o644);
    doctor(&bare).env("PGPASSFILE", file).run().expect(77);
    keep(0o600);
    let services = folder.path().join("pg_service.conf");
    let section = format!(
        "[posting]\nhost=localhost\nhostaddr=127.0.0.1\nport={}\ndbname={}\nuser=postgres\nsslmode=verify-full\nsslrootcert={}\n",
        pooler.port(),
        database.name(),
        pem("right")
    );
    std::fs::write(&services, section).expect("written");
    let service = |name: &str| {
        Healer::bare(&["doctor"])
            .env("PGSERVICE", name)
            .env("PGSERVICEFILE", services.to_str().expect("a path"))
            .env("PGPASSFILE", file)
            .run()
    };
    service("posting").expect(0);
    service("nowhere").expect(78);
    let variables = |password: &str| {
        Healer::bare(&["heal", "--dry-run"])
            .env("PGHOST", "localhost")
            .env("PGHOSTADDR", "127.0.0.1")
            .env("PGPORT", &pooler.port().to_string())
            .env("PGDATABASE", database.name())
            .env("PGUSER", "postgres")
            .env("PGPASSWORD", password)
            .env("PGSSLMODE", "verify-full")
            .env("PGSSLROOTCERT", &pem("right"))
            .run()
    };
    variables("se@same").expect(0);
    variables("open").expect(77);
}

#[test]
fn what_needs_a_direct_connection_is_told_whether_it_has_one() {
    let Some((database, pooler)) = pooled(Shape::Minimal) else { return };
    Healer::at(&pooler.url(), &["init"]).run().expect(0);
    // A pooler on a socket is told by the word in the URL only.
    let url = pooler.url() + "&pgbouncer=true";
    let doctor = |direct: Option<&str>| {
        let run = Healer::at(&url, &["doctor", "--format", "json"]);
        let mut run = if let Some(direct) = direct { run.env("DATABASE_DIRECT_URL", direct) } else { run };
        let document = run.run().expect(0).json();
        let checks = document["checks"].as_array().expect("checks").clone();
        checks.into_iter().find(|check| check["name"] == "direct connection").expect("it is told")
    };
    let none = doctor(None);
    assert!(
        none["status"] == "ok" && none["summary"].as_str().is_some_and(|text| text.contains("is not set")),
        "{none}"
    );
    assert_eq!(doctor(Some(&database.url()))["summary"], "DATABASE_DIRECT_URL leads to the same database");
    // Another database would be changed by mistake; one that is not there is no help.
    let other = TestDb::new(Shape::Minimal);
    let wrong = doctor(Some(&other.url()));
    assert!(wrong["status"] == "warning" && wrong.to_string().contains("another database"), "{wrong}");
    let gone = doctor(Some("postgresql://postgres:sesame@127.0.0.1:1/d?sslmode=disable"));
    assert!(gone["status"] == "warning" && !gone.to_string().contains("sesame"), "{gone}");
}

#[test]
fn a_proxy_that_stalls_the_handshake_is_temporary_for_every_command() {
    for (silent, mode) in [(Impostor::silent(false), "disable"), (Impostor::silent(true), "require")] {
        let url = format!("postgresql://postgres:sesame@127.0.0.1:{}/d?sslmode={mode}&connect_timeout=1", silent.port);
        for arguments in [&["heal"][..], &["heal", "--dry-run"], &["report"], &["init"], &["doctor"], &["undo", "1"]] {
            let ran = Healer::at(&url, arguments).run().expect(75);
            assert!(ran.stderr.contains("gave no answer") && !ran.all().contains("sesame"), "{}", ran.all());
        }
    }
    // A server that goes silent in the middle: the pass ends by its own limits.
    let database = TestDb::new(Shape::Minimal);
    let proxy = Proxy::start(Target::Unix(server().socket_dir().join(format!(".s.PGSQL.{}", server().port()))))
        .expect("a proxy");
    proxy.stall(Way::ToClient);
    let url = proxy.url("postgres", database.name()) + "&connect_timeout=1";
    Healer::at(&url, &["heal", "--dry-run"]).run().expect(75);
}

#[test]
fn a_run_that_is_killed_leaves_the_connection_clean() {
    let Some((database, pooler)) = pooled(Shape::Minimal) else { return };
    let before = traces(&pooler);
    Healer::at(&pooler.url(), &["init"]).run().expect(0);
    database.run(STUCK);
    database.run(
        "CREATE FUNCTION public.gate() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END';
         CREATE TRIGGER gate BEFORE UPDATE ON public.content_metadata FOR EACH STATEMENT EXECUTE FUNCTION public.gate()",
    );
    let mut holder = database.client();
    holder.batch_execute("SELECT pg_advisory_lock(42)").expect("locked");
    let (child, _folder) = Healer::at(&pooler.url(), &["heal"]).config("[database]\nlock_timeout = \"60s\"\n").spawn();
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while holder.query_one(waiting, &[]).expect("an answer").get::<_, i64>(0) == 0 {
        std::thread::yield_now();
    }
    crate::support::program::signal(&child, "KILL");
    assert_eq!(Ran::of(child.wait_with_output().expect("it ends")).code, None);
    drop(holder);
    // The pooler gives the next client a connection that is clean, the same or a new one.
    assert_eq!(traces(&pooler), before);
    assert_eq!(database.value("SELECT count(*) FROM healer.action").as_deref(), Some("0"));
}
