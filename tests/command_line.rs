//! The binary as a person or cron runs it: exit codes, streams, formats, signals, and what bad input gets.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::process::Child;
use std::sync::atomic::Ordering;

use postgres::Client;
use serde_json::Value;

use crate::support::cluster::{Shape, TestDb};
use crate::support::impostor::Impostor;
use crate::support::program::{Healer, Ran, fingerprint, signal};
use crate::support::tls_cluster::{Authority, TlsCluster};

/// A run of every command that needs a database.
const COMMANDS: [&[&str]; 8] = [
    &["heal"],
    &["heal", "--dry-run"],
    &["report", "health"],
    &["init"],
    &["doctor"],
    &["resolve", "p1", "--queue"],
    &["undo", "1"],
    &["undo", "1", "--dry-run"],
];

/// Posts that have been posting for 45 minutes; without a ledger they are queued again.
fn stuck(posts: u32) -> String {
    format!(
        "INSERT INTO public.content_metadata (decision_id, content, status, created_at, updated_at)
         SELECT 'p' || lpad(n::text, 6, '0'), 'x', 'posting', now() - interval '2 hours', now() - interval '45 minutes'
           FROM generate_series(1, {posts}) n"
    )
}

/// A database with the schema healer and some stuck posts.
fn sick(posts: u32) -> TestDb {
    let database = TestDb::new(Shape::Minimal);
    Healer::on(&database, &["init"]).run().expect(0);
    database.run(&stuck(posts));
    // All else is well: the jobs live, and the application reports.
    database.run(
        "INSERT INTO public.job_heartbeats (job_name, last_success, last_run_status)
         SELECT name, now(), 'success' FROM unnest(ARRAY['posting', 'plan', 'reply_posting', 'metrics_scraper']) AS jobs (name);
         SELECT healer.report_browser(0, 0, 1); SELECT healer.report_breaker('posting', false, 0)",
    );
    database
}

fn count(database: &TestDb, condition: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM public.content_metadata WHERE {condition}");
    database.value(&sql).expect("a number").parse().expect("a number")
}

fn formats(ran: impl Fn(&[&str]) -> Healer, code: i32, words: &[&str]) {
    ran(&[]).run().expect(code).one_error(words);
    let json = ran(&["--format", "json", "-vvv"]).run().expect(code);
    let document = json.json();
    assert_eq!(document["status"], "failed", "{document}");
    assert_eq!(document["exitCode"], code, "{document}");
    assert!(document["error"]["message"].as_str().is_some_and(|text| !text.is_empty() && !text.contains('\n')));
    assert!(document["error"]["hint"].as_str().is_some_and(|text| !text.is_empty()));
}

#[test]
fn without_any_environment_database_url_is_named() {
    for command in COMMANDS {
        formats(|more| Healer::bare(&[command, more].concat()), 78, &["DATABASE_URL"]);
    }
}

#[test]
fn what_needs_no_database_needs_no_environment() {
    let printed = |arguments: &[&str]| Healer::bare(arguments).run().expect(0).stdout;
    assert!(printed(&["--version"]).starts_with("healer "));
    assert!(printed(&["--help"]).contains("DATABASE_URL"));
    assert!(printed(&["heal", "--help"]).contains("--max-actions"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(printed(&["completions", shell]).contains("max-actions"));
    }
    let sql = printed(&["init", "--print-sql"]);
    assert_eq!(printed(&["init", "--print-sql", "--quiet"]), sql, "what was asked for is no news");
    // As printed, it makes the schema that healer looks for.
    let database = TestDb::new(Shape::Minimal);
    database.run(&sql);
    assert!(Healer::on(&database, &["init"]).run().expect(0).stdout.contains("up to date"));
}

#[test]
fn usage_that_does_not_exist_is_named_with_the_nearest_that_does() {
    let database = sick(1);
    let before = fingerprint(&database);
    let cases: [(&[&str], &str); 20] = [
        (&[], "Usage"),
        (&["heel"], "heal"),
        (&["heal", "--dryrun"], "--dry-run"),
        (&["heal", "--max-actions", "100001"], "100000"),
        (&["heal", "--max-actions", "-1"], "-1"),
        (&["heal", "--max-actions", "many"], "many"),
        (&["heal", "--only", "stuck-post"], "stuck-posts"),
        (&["heal", "--only", "x"], "missing-ids"),
        (&["heal", "--timeout", "10"], "10m"),
        (&["report", "--max-age", "30M"], "30m"),
        (&["heal", "--timeout=-1m"], "--timeout"),
        (&["heal", "--jitter", "soon"], "--jitter"),
        (&["heal", "--format", "xml"], "json"),
        (&["heal", "--fail-on", "error"], "critical"),
        (&["report", "wealth"], "health"),
        (&["report", "--since", "yesterday"], "--since"),
        (&["report", "--max-age", "1 century of days"], "--max-age"),
        (&["resolve", "p1"], "--queue"),
        (&["resolve", "p1", "--queue", "--fail"], "--fail"),
        (&["undo", "the-last"], "the-last"),
    ];
    for (arguments, word) in cases {
        let ran = Healer::on(&database, arguments).run().expect(2);
        assert!(ran.stderr.contains(word), "{arguments:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "");
        let json = Healer::on(&database, &[arguments, &["--format=json"]].concat()).run();
        if !arguments.contains(&"--format") && !arguments.is_empty() {
            let document = json.expect(2).json();
            assert_eq!((&document["status"], &document["exitCode"]), (&"failed".into(), &2.into()), "{arguments:?}");
        }
    }
    assert_eq!(fingerprint(&database), before);
}

#[test]
fn a_password_that_splits_the_url_shows_nowhere() {
    for (place, command) in COMMANDS.into_iter().enumerate() {
        for (url, password) in [
            ("postgres://user:PASSWORD@db.invalid:5432/app", "qz@wk#vy"),
            ("postgres://user:PASSWORD@db.invalid:5432/app", "qz/wk?vy"),
            ("user:PASSWORD@db.invalid/app", "qz:wk@vy/x"),
            ("host=127.0.0.1 dbname=d password=PASSWORD'", "qz@wk#vy"),
            ("'postgres://user:PASSWORD@db.invalid/app", "qz'wk\"vy"),
        ] {
            let url = url.replace("PASSWORD", password);
            let more = [&["-vvv"][..], &["--format", "json", "-vvv"], &["--nagios"], &["--quiet"]][place % 4];
            let ran = Healer::at(&url, &[command, more].concat()).run();
            assert!(matches!(ran.code, Some(75 | 78 | 2 | 3)), "{:?} {}", ran.code, ran.stderr);
            for fragment in ["qz", "wk", "vy"] {
                assert!(!ran.all().contains(fragment), "{url}: {}", ran.all());
            }
        }
    }
    let hint = Healer::at("postgres://user:qz@wk#vy@db.example/app", &["heal"]).run().expect(78).stderr;
    assert!(hint.contains("percent") || hint.contains("%40"), "{hint}");
}

#[test]
fn urls_are_accepted_as_files_editors_and_other_programs_leave_them() {
    let database = TestDb::new(Shape::Minimal);
    let url = database.url();
    let other = url.replacen("postgresql://", "postgres://", 1);
    for text in [
        format!("{url}\n"),
        format!("\"{url}\""),
        format!("'{other}'\r\n"),
        format!("  {other}  "),
        format!("{url}&pgbouncer=true&connection_limit=1&schema=public"),
        format!("\u{feff}{url}"),
    ] {
        Healer::at(&text, &["report"]).run().expect(0);
        let healer = Healer::bare(&["report"]);
        fs::write(healer.path("url"), &text).expect("written");
        fs::set_permissions(healer.path("url"), fs::Permissions::from_mode(0o600)).expect("changed");
        healer.arg("--database-url-file").arg("url").run().expect(0);
    }
}

#[test]
fn a_database_that_cannot_be_reached_is_temporary() {
    let silent = Impostor::silent(false);
    for command in COMMANDS {
        formats(
            |more| Healer::at("postgres://u:sesame@no-such-host.invalid/d", &[command, more].concat()),
            75,
            &["no-such-host.invalid"],
        );
        let url = format!("postgres://u:sesame@127.0.0.1:{}/d?connect_timeout=1&sslmode=disable", silent.port);
        let ran = Healer::at(&url, &[command, &["-vvv"]].concat()).run().expect(75);
        assert!(!ran.all().contains("sesame"), "{}", ran.all());
    }
    let nagios = Healer::at("postgres://no-such-host.invalid/d", &["heal", "--nagios"]).run().expect(3);
    assert!(nagios.stdout.starts_with("HEALER UNKNOWN - ") && nagios.stdout.lines().count() == 1, "{}", nagios.stdout);
}

#[test]
fn a_refused_login_and_refused_tls_are_told_apart() {
    let authority = Authority::new("right");
    let (certificate, key) = authority.issue("localhost", false);
    let settings =
        "ssl=on\nssl_cert_file='server.pem'\nssl_key_file='server.key'\npassword_encryption='scram-sha-256'\n";
    let cluster = TlsCluster::start(settings, "host all all 127.0.0.1/32 scram-sha-256\n");
    cluster.write("data/server.pem", &certificate);
    cluster.write("data/server.key", &key);
    let cluster = cluster.up();
    let root = cluster.write("other.pem", &Authority::new("other").pem());
    let url = |rest: &str| format!("postgres://postgres:sesame@127.0.0.1:{}/postgres{rest}", cluster.port);
    for command in COMMANDS {
        formats(|more| Healer::at(&url(""), &[command, more].concat()), 77, &["refuses the login", "28P01"]);
        let ran = Healer::at(&url(""), &[command, &["-vvv"]].concat()).run();
        assert!(!ran.all().contains("sesame"), "{}", ran.all());
    }
    let verified = url(&format!("?sslmode=verify-full&sslrootcert={}", root.display()));
    formats(|more| Healer::at(&verified, &[&["heal"], more].concat()), 78, &["certificate", "sslrootcert"]);
    let plain = TlsCluster::start("", "host all all 127.0.0.1/32 trust\n").up();
    let required = format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=require", plain.port);
    formats(|more| Healer::at(&required, &[&["heal"], more].concat()), 78, &["TLS"]);
    let missing = format!("postgres://postgres@127.0.0.1:{}/nowhere", plain.port);
    formats(|more| Healer::at(&missing, &[&["heal"], more].concat()), 78, &["nowhere"]);
}

#[test]
fn a_table_or_column_that_is_missing_is_named() {
    let database = TestDb::new(Shape::Minimal);
    Healer::on(&database, &["init"]).run().expect(0);
    for (edit, word) in [
        ("ALTER TABLE public.content_metadata DROP CONSTRAINT content_metadata_decision_id_key", "unique index"),
        ("ALTER TABLE public.content_metadata RENAME tweet_id TO external", "content_metadata.tweet_id"),
        ("ALTER TABLE public.content_metadata RENAME status TO state", "content_metadata.status"),
        ("ALTER TABLE public.content_metadata RENAME decision_id TO name", "content_metadata.decision_id"),
        ("ALTER TABLE public.content_metadata RENAME TO posts", "table content_metadata"),
    ] {
        database.run(edit);
        let before = fingerprint(&database);
        for command in COMMANDS.into_iter().filter(|command| !matches!(command[0], "init" | "doctor")) {
            formats(|more| Healer::on(&database, &[command, more].concat()), 78, &[word]);
        }
        let doctor = Healer::on(&database, &["doctor"]).run().expect(78);
        assert!(doctor.stdout.contains(word), "{}", doctor.stdout);
        assert_eq!(fingerprint(&database), before);
    }
}

#[test]
fn an_optional_column_that_is_missing_degrades_with_a_warning() {
    let database = sick(2);
    database.run("ALTER TABLE public.content_metadata DROP updated_at");
    let ran = Healer::on(&database, &["heal"]).run();
    assert!(matches!(ran.code, Some(0 | 3)), "{}", ran.stderr);
    assert!(ran.stdout.contains("updated_at"), "{}", ran.stdout);
}

#[test]
fn an_empty_database_gives_no_data_and_no_nan() {
    for shape in Shape::ALL {
        let database = TestDb::new(shape);
        for command in [&["heal", "--dry-run"][..], &["report"], &["doctor"], &["init"], &["heal"], &["report"]] {
            let ran = Healer::on(&database, &[command, &["--format", "json"]].concat()).run().expect(0);
            ran.json();
            assert!(!ran.stdout.contains("NaN") && !ran.stdout.contains("inf"), "{}", ran.stdout);
        }
    }
    // Not even the tables: every command says what it misses.
    let database = TestDb::new(Shape::Minimal);
    database.run("DROP TABLE public.content_metadata, public.job_heartbeats, public.system_events");
    Healer::on(&database, &["heal"]).run().expect(78).one_error(&["content_metadata"]);
}

#[test]
fn before_init_only_what_reads_works() {
    let database = TestDb::new(Shape::Minimal);
    database.run(&stuck(2));
    let before = fingerprint(&database);
    formats(|more| Healer::on(&database, &[&["heal"], more].concat()), 78, &["healer init"]);
    formats(|more| Healer::on(&database, &[&["undo", "1"], more].concat()), 78, &["healer init"]);
    for command in [&["heal", "--dry-run"][..], &["report"], &["doctor"]] {
        Healer::on(&database, command).run().expect(0);
    }
    assert_eq!(fingerprint(&database), before);
}

#[test]
fn an_older_schema_is_upgraded_and_a_newer_one_is_left_alone() {
    let database = sick(1);
    for (note, word) in [("healer schema 0", "healer init"), ("healer schema 9999", "newer")] {
        database.run(&format!("COMMENT ON SCHEMA healer IS '{note}'"));
        let before = fingerprint(&database);
        formats(|more| Healer::on(&database, &[&["heal"], more].concat()), 78, &[word]);
        for command in [&["heal", "--dry-run"][..], &["report"], &["doctor"]] {
            Healer::on(&database, command).run().expect(0);
        }
        assert_eq!(fingerprint(&database), before);
    }
    formats(|more| Healer::on(&database, &[&["init"], more].concat()), 78, &["newer"]);
    database.run("COMMENT ON SCHEMA healer IS NULL");
    Healer::on(&database, &["init"]).run().expect(0);
    Healer::on(&database, &["heal"]).run().expect(0);
    assert_eq!(count(&database, "status = 'queued'"), 1);
}

#[test]
fn a_read_only_database_takes_reports_and_refuses_changes() {
    let database = sick(2);
    database.run(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name()));
    let before = fingerprint(&database);
    for command in [&["heal"][..], &["init"], &["undo", "1"], &["resolve", "p1", "--queue"]] {
        formats(|more| Healer::on(&database, &[command, more].concat()), 75, &["read-only"]);
    }
    for command in [&["heal", "--dry-run"][..], &["report"], &["doctor"]] {
        Healer::on(&database, command).run().expect(0);
    }
    assert_eq!(fingerprint(&database), before);
}

#[test]
fn a_standby_takes_reports_and_refuses_changes() {
    let mut cluster = TlsCluster::start("", "").up();
    let url = |cluster: &TlsCluster| {
        format!("host={} port={} user=postgres dbname=postgres", cluster.socket().display(), cluster.port)
    };
    let mut admin = Client::connect(&url(&cluster), postgres::NoTls).expect("a connection");
    admin.batch_execute(Shape::Minimal.ddl()).expect("the tables");
    admin.batch_execute(&stuck(2)).expect("the posts");
    drop(admin);
    Healer::at(&url(&cluster), &["init"]).run().expect(0);
    cluster.stop();
    cluster.write("data/standby.signal", "");
    let cluster = cluster.up();
    for command in [&["heal"][..], &["init"], &["undo", "1"], &["resolve", "p1", "--queue"]] {
        formats(|more| Healer::at(&url(&cluster), &[command, more].concat()), 75, &["standby", "primary"]);
    }
    let dry = Healer::at(&url(&cluster), &["heal", "--dry-run", "--format", "json"]).run().expect(0).json();
    assert_eq!(dry["counts"]["planned"], 2);
    Healer::at(&url(&cluster), &["report"]).run().expect(0);
    Healer::at(&url(&cluster), &["doctor"]).run().expect(0);
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let database = sick(3);
    for command in [
        &["report", "--format", "json"][..],
        &["report"],
        &["heal", "--dry-run"],
        &["--help"],
        &["completions", "bash"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        Healer::on(&database, command).stdout(writer).run().expect(0);
    }
}

#[test]
fn a_full_disk_is_a_failure_that_is_told() {
    let database = sick(3);
    let full = || File::options().write(true).open("/dev/full").expect("Linux has it");
    for command in [&["report", "--format", "json"][..], &["report"], &["completions", "bash"]] {
        Healer::on(&database, command).stdout(full()).run().expect(1).one_error(&["stdout"]);
    }
    let healer = Healer::on(&database, &["report", "--output", "out"]);
    symlink("/dev/full", healer.path("out")).expect("a link");
    healer.arg("--quiet").arg("--format=json").run().expect(1).one_error(&["out"]);
}

#[test]
fn an_output_file_is_the_old_text_or_the_new_one() {
    let database = sick(3);
    let report = || Healer::on(&database, &["report", "--format", "json", "--output", "out"]);
    let mut healer = report();
    let ran = healer.run().expect(0);
    assert_eq!(ran.all(), "");
    let out = healer.path("out");
    let text = fs::read_to_string(&out).expect("it is there");
    assert!(serde_json::from_str::<Value>(&text).expect("JSON").is_object());
    assert_eq!(fs::read_dir(healer.folder()).expect("readable").count(), 1, "nothing lies beside it");

    // Who reads while it is written finds either text, whole, and the mode that the file had.
    fs::set_permissions(&out, fs::Permissions::from_mode(0o640)).expect("changed");
    let reading = File::open(&out).expect("open");
    healer.run().expect(0);
    assert_eq!(std::io::read_to_string(reading).expect("read"), text);
    assert_eq!(fs::metadata(&out).expect("it is there").permissions().mode() & 0o777, 0o640);

    // A failure in JSON is a result; a failure without one leaves the old file.
    let mut failing = Healer::at("postgres://no-such-host.invalid/d", &["report", "--output", "out"]);
    fs::write(failing.path("out"), "old").expect("written");
    failing.run().expect(75);
    assert_eq!(fs::read_to_string(failing.path("out")).expect("it is there"), "old");
    let mut failing = failing.arg("--format=json");
    failing.run().expect(75);
    let text = fs::read_to_string(failing.path("out")).expect("it is there");
    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON")["status"], "failed");

    Healer::on(&database, &["report", "--output", "no/folder/out"]).run().expect(1).one_error(&["no/folder/out"]);
    let healer = Healer::on(&database, &["report", "--output", "folder"]);
    fs::create_dir(healer.path("folder")).expect("made");
    let mut healer = healer;
    healer.run().expect(1).one_error(&["folder"]);
    assert_eq!(fs::read_dir(healer.folder()).expect("readable").count(), 1, "nothing lies beside it");
}

#[test]
fn an_output_that_is_a_link_or_a_device_stays_one() {
    let database = sick(1);
    let mut healer = Healer::on(&database, &["report", "--output", "out"]);
    fs::write(healer.path("real"), "old").expect("written");
    symlink(healer.path("real"), healer.path("out")).expect("a link");
    healer.run().expect(0);
    assert!(fs::symlink_metadata(healer.path("out")).expect("there").is_symlink());
    assert!(fs::read_to_string(healer.path("real")).expect("there").starts_with("healer report"));

    let mut healer = Healer::on(&database, &["report", "--output", "out"]);
    symlink("/dev/null", healer.path("out")).expect("a link");
    healer.run().expect(0);
    assert!(fs::metadata(healer.path("out")).expect("there").file_type().is_char_device());
}

#[test]
fn quiet_prints_nothing_when_all_is_well_and_a_line_a_check_when_not() {
    let database = sick(0);
    for command in [&["heal"][..], &["heal", "--dry-run"], &["report"], &["doctor"]] {
        let ran = Healer::on(&database, &[command, &["--quiet"]].concat()).run().expect(0);
        assert_eq!(ran.all(), "", "{command:?}");
    }
    database.run(&stuck(2));
    database.run(
        "INSERT INTO public.content_metadata (decision_id, content, status, posted_at)
         VALUES ('m1', 'x', 'posted', now() - interval '1 hour')",
    );
    let ran = Healer::on(&database, &["heal", "--dry-run", "--quiet"]).run().expect(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ran.stdout);
    for (line, check) in lines.iter().zip(["stuck-posts", "missing-ids"]) {
        assert!(line.starts_with("[SELF_HEALING] ") && line.contains(check), "{line}");
    }
    assert_eq!(ran.stderr, "");
    let failing = Healer::at("postgres://no-such-host.invalid/d", &["heal", "--quiet"]).run().expect(75);
    assert_eq!(failing.stdout, "");
    assert!(failing.stderr.starts_with("[SELF_HEALING] critical: "), "{}", failing.stderr);
}

#[test]
fn fail_on_adds_its_code_from_its_level() {
    let database = sick(0);
    Healer::on(&database, &["heal", "--dry-run", "--fail-on", "warning"]).run().expect(0);
    database.run(&stuck(2));
    Healer::on(&database, &["heal", "--dry-run"]).run().expect(0);
    Healer::on(&database, &["heal", "--dry-run", "--fail-on", "warning"]).run().expect(4);
    Healer::on(&database, &["heal", "--dry-run", "--fail-on", "critical"]).run().expect(0);
    // The brake is critical.
    database.run("DELETE FROM public.content_metadata");
    database.run(&stuck(60));
    Healer::on(&database, &["heal", "--dry-run", "--fail-on", "critical"]).run().expect(4);
}

#[test]
fn nagios_gets_one_line_and_its_own_codes() {
    let database = sick(0);
    let line = |arguments: &[&str], code: i32, label: &str| {
        let ran = Healer::on(&database, &[arguments, &["--nagios"]].concat()).run().expect(code);
        assert!(ran.stdout.starts_with(&format!("HEALER {label} - ")), "{arguments:?}: {}", ran.stdout);
        assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
        assert!(ran.stdout.matches('|').count() <= 1, "{}", ran.stdout);
        ran.stdout
    };
    line(&["report", "--max-age", "1h"], 2, "CRITICAL");
    assert!(line(&["heal"], 0, "OK").contains("'stuck-posts'=0;"));
    line(&["report", "--max-age", "1h"], 0, "OK");
    line(&["doctor"], 0, "OK");
    database.run(&stuck(2));
    assert!(line(&["heal", "--dry-run"], 1, "WARNING").contains("'stuck-posts'=2;"));
    line(&["report"], 1, "WARNING");
    database.run("ALTER TABLE public.content_metadata RENAME TO posts");
    line(&["heal"], 2, "CRITICAL");
    line(&["doctor"], 2, "CRITICAL");
}

#[test]
fn both_parts_of_optimize_are_one_line_for_nagios() {
    let database = sick(0);
    let ran = Healer::on(&database, &["optimize", "--nagios"]).run();
    assert!(ran.stdout.starts_with("HEALER ") && ran.stdout.lines().count() == 1, "{}", ran.stdout);
    assert!(ran.stdout.matches('|').count() == 1, "{}", ran.stdout);
    for pass in ["optimize-performance", "optimize-content"] {
        let sql = format!("SELECT count(*) FROM healer.run WHERE pass = '{pass}'");
        assert_eq!(database.value(&sql).as_deref(), Some("1"), "{pass}");
    }
}

#[test]
fn a_paper_that_cannot_be_written_takes_nothing_of_the_passes_away() {
    let database = sick(0);
    let ran = Healer::on(&database, &["optimize", "--sql-out", "no/folder/x.sql", "--format", "json"]).run().expect(1);
    assert!(ran.stderr.contains("no/folder/x.sql"), "{}", ran.stderr);
    let document = ran.json();
    let passes = document["passes"].as_array().expect("both passes").clone();
    assert_eq!(document["exitCode"], 1, "{document}");
    assert!(passes.len() == 2 && passes.iter().all(|pass| pass["runId"].is_i64()), "{document}");
    assert!(passes[0]["notes"].to_string().contains("no/folder/x.sql"), "{document}");
    assert_eq!(database.value("SELECT count(*) FROM healer.run").as_deref(), Some("2"));
    // The pages are written where the migration cannot be, and the other way round.
    let healer = Healer::on(&database, &["optimize", "performance", "--sql-out", "x.sql", "--dossier", "file"]);
    fs::write(healer.path("file"), "in the way").expect("written");
    let mut healer = healer;
    let ran = healer.run();
    assert!(healer.path("x.sql").exists(), "{}", ran.all());
    assert!(ran.stdout.contains("written: x.sql"), "{}", ran.stdout);
}

#[test]
fn a_signal_between_the_parts_of_optimize_leaves_the_result_of_the_first() {
    let database = sick(0);
    let mut holder = database.client();
    holder.batch_execute("BEGIN; LOCK TABLE healer.performance_sample IN EXCLUSIVE MODE").expect("locked");
    let (child, _folder) = Healer::on(&database, &["optimize", "--format", "json"]).config(PATIENT).spawn();
    let waits = "SELECT count(*) FROM pg_locks WHERE relation = 'healer.performance_sample'::regclass AND NOT granted
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let mut looker = database.client();
    while looker.query_one(waits, &[]).expect("an answer").get::<_, i64>(0) == 0 {
        std::thread::yield_now();
    }
    signal(&child, "TERM");
    // It is at the lock until it is let through: by then the signal has come.
    holder.batch_execute("ROLLBACK").expect("unlocked");
    let ran = ended(child).expect(143);
    let document = ran.json();
    assert_eq!(document["exitCode"], 143, "{document}");
    assert!(document["passes"][0]["runId"].is_i64(), "{document}");
    assert_eq!(document["passes"][1]["error"]["message"], "interrupted by signal 15", "{document}");
    assert_eq!(database.value("SELECT string_agg(pass, ',') FROM healer.run").as_deref(), Some("optimize-performance"));
}

#[test]
fn a_first_part_of_optimize_that_takes_all_the_time_is_told_and_the_second_is_left_out() {
    let database = sick(0);
    let mut holder = database.client();
    holder.batch_execute("BEGIN; LOCK TABLE healer.performance_sample IN EXCLUSIVE MODE").expect("locked");
    let healer = Healer::on(&database, &["optimize", "--timeout", "2s", "--format", "json"]);
    let document = healer.config(PATIENT).run().json();
    assert!(document["passes"][0]["runId"].is_i64() && document["exitCode"] != 0, "{document}");
    assert_eq!(document["passes"][1]["error"]["message"], "stopped by --timeout", "{document}");
    assert_eq!(database.value("SELECT string_agg(pass, ',') FROM healer.run").as_deref(), Some("optimize-performance"));
}

#[test]
fn no_time_at_all_is_time_out_and_nothing_is_done() {
    let database = sick(2);
    let before = fingerprint(&database);
    for command in COMMANDS {
        formats(|more| Healer::on(&database, &[command, &["--timeout", "0s"], more].concat()), 3, &["--timeout"]);
    }
    assert_eq!(fingerprint(&database), before);
    Healer::on(&database, &["heal", "--timeout", "10000 years"]).run().expect(2);
    Healer::on(&database, &["heal", "--timeout", "99 years", "--jitter", "1ms"]).run().expect(0);
}

/// A worker that keeps every change of a post waiting until it is told: healer stands in the middle of a batch.
struct Gate(Option<Client>);

impl Gate {
    fn close(database: &TestDb) -> Self {
        database.run(
            "CREATE FUNCTION public.gate() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END';
             CREATE TRIGGER gate BEFORE UPDATE ON public.content_metadata FOR EACH STATEMENT EXECUTE FUNCTION public.gate()",
        );
        let mut holder = database.client();
        holder.batch_execute("SELECT pg_advisory_lock(42)").expect("locked");
        Self(Some(holder))
    }

    /// Waits until somebody stands before the gate.
    fn await_waiter(&mut self) {
        let sql = "SELECT count(*) FROM pg_locks
                    WHERE locktype = 'advisory' AND objid = 42 AND NOT granted
                      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let holder = self.0.as_mut().expect("closed");
        while holder.query_one(sql, &[]).expect("an answer").get::<_, i64>(0) == 0 {
            std::thread::yield_now();
        }
    }

    fn open(&mut self) {
        self.0 = None;
    }
}

const PATIENT: &str = "[database]\nlock_timeout = \"60s\"\nbatch = 5\n";

fn ended(child: Child) -> Ran {
    Ran::of(child.wait_with_output().expect("it ends"))
}

/// Whole batches only: what changed is in the journal, and the other way round.
fn assert_whole(database: &TestDb, queued: i64) {
    assert_eq!(count(database, "status = 'queued'"), queued);
    let journalled = database
        .value("SELECT count(*) FROM healer.action a JOIN public.content_metadata p ON p.decision_id = a.target AND p.status = 'queued'")
        .expect("a number");
    assert_eq!(journalled, queued.to_string());
}

#[test]
fn a_signal_ends_it_after_the_running_batch() {
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let database = sick(12);
        let mut gate = Gate::close(&database);
        let (mut child, _folder) = Healer::on(&database, &["heal", "-v", "--format", "json"]).config(PATIENT).spawn();
        gate.await_waiter();
        signal(&child, name);
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        assert!(log.any(|line| line.is_ok_and(|line| line.contains("stopping when the running batch has ended"))));
        // Read to its end, so that nothing it says is in its way.
        let rest = std::thread::spawn(move || log.count());
        gate.open();
        let document = ended(child).expect(code).json();
        assert_eq!(document["exitCode"], code);
        assert!(rest.join().is_ok());
        assert_whole(&database, 5);
        assert_eq!(document["counts"]["applied"], 5);
        // Its lease was given back, and the next run does the rest.
        Healer::on(&database, &["heal"]).run().expect(0);
        assert_whole(&database, 12);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_ends_the_waiting_before_the_start() {
    let (child, _folder) = Healer::bare(&["heal", "--jitter", "1h"]).spawn();
    // Once it catches SIGTERM, which is bit 14 of the mask.
    let catches = || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).map_or("0", str::trim);
        u64::from_str_radix(mask, 16).is_ok_and(|mask| mask & (1 << 14) != 0)
    };
    while !catches() {
        std::thread::yield_now();
    }
    signal(&child, "TERM");
    let ran = ended(child);
    // The random wait may be next to nothing: then it ends for want of a database.
    assert!(matches!(ran.code, Some(143 | 78)), "{:?} {}", ran.code, ran.stderr);
}

#[test]
fn a_signal_ends_the_dialling_of_what_never_answers() {
    let silent = Impostor::silent(false);
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let before = silent.sessions.load(Ordering::SeqCst);
        let host = format!("127.0.0.1:{}", silent.port);
        // Minutes, if nobody heard the signal.
        let url = format!("postgres://{host},{host},{host}/d?sslmode=disable&connect_timeout=60");
        let (child, _folder) = Healer::at(&url, &["heal", "--format", "json"]).spawn();
        while silent.sessions.load(Ordering::SeqCst) == before {
            std::thread::yield_now();
        }
        signal(&child, name);
        let document = ended(child).expect(code).json();
        assert!(document["error"]["message"].as_str().is_some_and(|text| text.starts_with("interrupted by signal")));
        assert_eq!(silent.sessions.load(Ordering::SeqCst), before + 1, "the other hosts are not dialled any more");
    }
}

#[test]
fn the_second_of_two_at_once_says_so_and_is_fine() {
    let database = sick(4);
    let mut gate = Gate::close(&database);
    let (first, _folder) = Healer::on(&database, &["heal"]).config(PATIENT).spawn();
    gate.await_waiter();
    let second = Healer::on(&database, &["heal"]).run().expect(0);
    assert!(second.stdout.contains("another run is at work"), "{}", second.stdout);
    let json = Healer::on(&database, &["heal", "--format", "json"]).run().expect(0).json();
    assert_eq!(json["status"], "skipped");
    assert_eq!(Healer::on(&database, &["heal", "--quiet"]).run().expect(0).all(), "");
    // Looking is not acting.
    Healer::on(&database, &["heal", "--dry-run"]).run().expect(0);
    Healer::on(&database, &["report"]).run().expect(0);
    gate.open();
    ended(first).expect(0);
    assert_whole(&database, 4);
}

#[test]
fn a_lease_that_another_session_holds_locked_is_not_waited_for() {
    let database = sick(2);
    let mut other = database.client();
    other.batch_execute("BEGIN; SELECT * FROM healer.lease FOR UPDATE").expect("locked");
    let ran = Healer::on(&database, &["heal"]).run().expect(0);
    assert!(ran.stdout.contains("another run is at work: another session"), "{}", ran.stdout);
    assert_eq!(count(&database, "status = 'queued'"), 0);
    other.batch_execute("ROLLBACK").expect("unlocked");
    Healer::on(&database, &["heal"]).run().expect(0);
    assert_whole(&database, 2);
}

#[test]
fn what_a_killed_run_left_does_not_stop_the_next() {
    let database = sick(12);
    let mut gate = Gate::close(&database);
    let (child, _folder) = Healer::on(&database, &["heal"]).config(PATIENT).spawn();
    gate.await_waiter();
    signal(&child, "KILL");
    assert_eq!(ended(child).code, None);
    gate.open();
    // Its session ends when the server sees that nobody is there any more.
    while database
        .value(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'healer' AND datname = current_database()",
        )
        .as_deref()
        != Some("0")
    {
        std::thread::yield_now();
    }
    assert_whole(&database, 0);
    // Until its lease has run out it may still be alive, for all the others know.
    let ran = Healer::on(&database, &["heal"]).run().expect(0);
    assert!(ran.stdout.contains("another run is at work"), "{}", ran.stdout);
    database.run(
        "UPDATE healer.lease SET acquired_at = now() - interval '3 hours', expires_at = now() - interval '179 minutes'
          WHERE pass = 'heal';
         UPDATE healer.run SET started_at = now() - interval '3 hours'",
    );
    Healer::on(&database, &["heal"]).run().expect(0);
    assert_whole(&database, 12);
    let report = Healer::on(&database, &["report", "--format", "json"]).run().expect(0).json();
    let states: Vec<&str> =
        report["runs"].as_array().expect("runs").iter().filter_map(|run| run["status"].as_str()).collect();
    assert_eq!(states, ["ok", "abandoned"]);
}

#[test]
fn a_time_out_in_the_middle_keeps_what_was_done() {
    let database = sick(12);
    let mut gate = Gate::close(&database);
    let ran = Healer::on(&database, &["heal", "--timeout", "1s", "--format", "json"]).config(PATIENT).run().expect(3);
    let document = ran.json();
    assert_eq!((&document["status"], &document["counts"]["applied"]), (&"partial".into(), &0.into()));
    assert!(ran.stderr.contains("--timeout"), "{}", ran.stderr);
    assert_whole(&database, 0);
    gate.open();
    Healer::on(&database, &["heal"]).run().expect(0);
    assert_whole(&database, 12);
}

#[test]
fn decisions_on_what_does_not_exist_are_refused() {
    let database = sick(1);
    let before = fingerprint(&database);
    for command in [&["undo", "99"][..], &["undo", "99", "--dry-run"], &["undo", "-5"], &["undo", "99", "--only", "x"]]
    {
        let ran = Healer::on(&database, command).run();
        assert!(matches!(ran.code, Some(1 | 2)), "{command:?}: {:?} {}", ran.code, ran.stderr);
    }
    formats(|more| Healer::on(&database, &[&["undo", "99"], more].concat()), 1, &["run 99"]);
    formats(|more| Healer::on(&database, &[&["resolve", "nobody", "--queue"], more].concat()), 1, &["not held"]);
    let odd = "p1'; DROP TABLE content_metadata; --";
    formats(|more| Healer::on(&database, &[&["resolve", odd, "--queue"], more].concat()), 1, &["not held"]);
    assert_eq!(fingerprint(&database), before);
}
