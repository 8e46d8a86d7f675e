//! `healer.toml`: where it is found, what a broken or hostile one gets, and names and texts that only look like SQL.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use postgres::Client;

use crate::support::cluster::{Shape, TestDb, server};
use crate::support::program::{Healer, Ran, fingerprint};

const STUCK: &str = "INSERT INTO public.content_metadata (decision_id, content, status, created_at, updated_at)
    VALUES ('p1', 'x', 'posting', now() - interval '2 hours', now() - interval '45 minutes')";

fn sick() -> TestDb {
    let database = TestDb::new(Shape::Minimal);
    Healer::on(&database, &["init"]).run().expect(0);
    database.run(STUCK);
    database
}

fn status(database: &TestDb) -> String {
    database.value("SELECT status FROM public.content_metadata WHERE decision_id = 'p1'").expect("a status")
}

#[test]
fn a_broken_file_is_named_with_its_line_and_the_right_key() {
    let database = sick();
    let before = fingerprint(&database);
    for (text, words) in [
        ("[heal.stuck-posts]\nlimt = \"30m\"\n", &["line 2", "`limt`", "`limit`"][..]),
        ("[heel]\n", &["line 1", "`heel`", "`heal`"]),
        ("[posts]\ntabel = \"x\"\n", &["`tabel`", "`table`"]),
        ("[heal.stuck-posts]\nlimit = 30\n", &["line 2"]),
        ("[heal.stuck-posts]\nlimit = \"30\"\n", &["line 2", "30m"]),
        ("[heal.stuck-posts]\nlimit = \"0s\"\n", &["heal.stuck-posts.limit"]),
        ("[heal.stuck-posts]\non_unproven = \"post\"\n", &["line 2", "on_unproven"]),
        ("[heal.brake]\nper_run = -1\n", &["line 2"]),
        ("[heal.brake]\nshare = 2.0\n", &["heal.brake.share"]),
        ("[database]\nbatch = 5000\n", &["database.batch"]),
        ("[database]\nlock_timeout = \"25d\"\n", &["database.lock_timeout", "24d"]),
        ("[heal.stuck-posts]\nlimit = \"30M\"\n", &["line 2", "30m"]),
        ("[posts]\nid = \"\"\n", &["posts.id"]),
        ("[posts]\ntable = \"a\\u0000b\"\n", &["posts.table"]),
        ("[posts]\nscheduled_at = \"a\\u0000b\"\n", &["posts.scheduled_at"]),
        ("[ledgers]\npost_receipts = \"a\\u0000b\"\n", &["ledgers.post_receipts"]),
        ("[heal.stuck-posts]\nlimits = { \"a\\u0000\" = \"1h\" }\n", &["heal.stuck-posts.limits"]),
        ("[posts]\nexternal_id_pattern = \"[\"\n", &["posts.external_id_pattern"]),
        ("[posts]\ntimezone = \"Mars/Base\"\n", &["posts.timezone"]),
        ("not toml at all", &["line 1"]),
        ("[posts\n", &["line 1"]),
        ("a = 1\na = 2\n", &["line"]),
        ("\u{0}\u{1}", &["line 1"]),
    ] {
        for command in [&["heal"][..], &["heal", "--dry-run"], &["report"]] {
            Healer::on(&database, command).config(text).run().expect(78).one_error(words);
        }
        let json = Healer::on(&database, &["heal", "--format", "json"]).config(text).run().expect(78).json();
        assert_eq!(json["status"], "failed");
    }
    assert_eq!(fingerprint(&database), before);
}

#[test]
fn a_file_never_shows_in_an_error() {
    let database = sick();
    for text in [
        "password = qzwkvy\n",
        "[posts]\ntable = 'postgres://u:qzwkvy@h/d\n",
        "[heal]\nmax_actions = \"postgres://u:qzwkvy@h/d\"\n",
        "[heal.stuck-posts]\nlimit = \"qzwkvy\"\n",
        "[heal.stuck-posts]\non_unproven = \"qzwkvy\"\n",
        "url = \"postgres://u:qzwkvy@h/d\"\n",
        "qzwkvy",
    ] {
        let ran = Healer::on(&database, &["heal", "-vvv"]).config(text).run().expect(78);
        assert!(!ran.all().contains("qzwkvy"), "{text}: {}", ran.all());
    }
}

#[test]
fn the_named_file_counts_before_the_one_in_the_folder_and_must_be_there() {
    let database = sick();
    let off = "[heal.stuck-posts]\nenabled = false\n";
    let healer = Healer::on(&database, &["heal", "--format", "json", "--config", "named.toml"]).config("broken");
    fs::write(healer.path("named.toml"), off).expect("written");
    let document = healer.arg("--dry-run").run().expect(0).json();
    assert!(document["checks"].as_array().expect("checks").iter().all(|check| check["name"] != "stuck-posts"));
    let doctor = Healer::on(&database, &["doctor"]).config(off).run().expect(0);
    assert!(doctor.stdout.contains("healer.toml"), "{}", doctor.stdout);

    Healer::on(&database, &["heal", "--config", "none.toml"]).run().expect(78).one_error(&["none.toml"]);
    let healer = Healer::on(&database, &["heal", "--config", "folder"]);
    fs::create_dir(healer.path("folder")).expect("made");
    let mut healer = healer;
    healer.run().expect(78).one_error(&["folder"]);
    Healer::on(&database, &["heal", "--config", "/dev/zero"]).run().expect(78).one_error(&["/dev/zero"]);
    let healer = Healer::on(&database, &["heal"]).config(&"# much\n".repeat(200_000));
    let mut healer = healer;
    healer.run().expect(78).one_error(&["larger than 1 MiB"]);
    let mut healer = Healer::on(&database, &["heal"]);
    fs::write(healer.path("healer.toml"), b"[posts]\ntable = \"caf\xe9\"\n").expect("written");
    healer.run().expect(78).one_error(&["healer.toml"]);
    assert_eq!(status(&database), "posting");
}

/// A run by a user whom the permissions of files concern, in a folder of its own that holds no configuration yet.
fn as_somebody(arguments: &[&str]) -> Healer {
    // Nothing listens there: a run that found nothing wrong with its configuration ends with 75.
    Healer::at("postgres://127.0.0.1:1/d?sslmode=disable", arguments).by_nobody_for_root()
}

#[test]
fn a_file_that_is_there_and_cannot_be_read_is_never_taken_for_an_absent_one() {
    as_somebody(&["heal"]).run().expect(75);
    let readable = fs::Permissions::from_mode(0o644);
    let (closed_file, closed_folder) = (fs::Permissions::from_mode(0o000), fs::Permissions::from_mode(0o000));

    // The file itself.
    let healer = as_somebody(&["heal"]).config("[heal.stuck-posts]\nenabled = false\n");
    fs::set_permissions(healer.path("healer.toml"), readable.clone()).expect("changed");
    let mut healer = healer;
    healer.run().expect(75);
    fs::set_permissions(healer.path("healer.toml"), closed_file).expect("changed");
    for format in [&["heal"][..], &["heal", "--dry-run"], &["report"], &["doctor"]] {
        let healer = as_somebody(format).config("");
        fs::set_permissions(healer.path("healer.toml"), fs::Permissions::from_mode(0o000)).expect("changed");
        let mut healer = healer;
        healer.run().expect(78).one_error(&["./healer.toml", "ermission denied", "the file's permissions"]);
    }
    healer.run().expect(78).one_error(&["./healer.toml"]);

    // A link into a folder that this user may not enter, as configuration management lays them.
    let healer = as_somebody(&["heal"]);
    fs::create_dir(healer.path("closed")).expect("made");
    fs::write(healer.path("closed/healer.toml"), "").expect("written");
    fs::set_permissions(healer.path("closed/healer.toml"), readable).expect("changed");
    symlink("closed/healer.toml", healer.path("healer.toml")).expect("a link");
    let mut healer = healer;
    healer.run().expect(75);
    fs::set_permissions(healer.path("closed"), closed_folder).expect("changed");
    healer.run().expect(78).one_error(&["./healer.toml", "ermission denied"]);
    fs::set_permissions(healer.path("closed"), fs::Permissions::from_mode(0o755)).expect("changed");

    // A link whose file has gone.
    fs::remove_file(healer.path("closed/healer.toml")).expect("removed");
    healer.run().expect(78).one_error(&["./healer.toml"]);
}

#[test]
fn names_with_quotes_semicolons_and_dots_are_names() {
    let database = sick();
    database.run(
        r#"ALTER TABLE public.content_metadata RENAME TO "po'sts"";.x";
           ALTER TABLE public."po'sts"";.x" RENAME decision_id TO "order";
           ALTER TABLE public."po'sts"";.x" RENAME status TO "st""atus';--";
           ALTER TABLE public."po'sts"";.x" RENAME tweet_id TO "Außen-ID 🐘";
           ALTER TABLE public."po'sts"";.x" RENAME updated_at TO "select";
           ALTER TABLE public."po'sts"";.x" RENAME error_message TO "{error}";
           ALTER TABLE public."po'sts"";.x" RENAME features TO "{posts}";
           ALTER TABLE public.system_events RENAME TO "user""events";
           ALTER TABLE public.job_heartbeats RENAME TO "Herzschläge";
           INSERT INTO public."po'sts"";.x" ("order", content, "st""atus';--", created_at, posted_at, "select")
           VALUES ('p2', 'x', 'posted', now(), now() - interval '1 hour', now()),
                  ('p3', 'x', 'failed', now() - interval '20 days', NULL, now() - interval '10 days');
           INSERT INTO public."user""events" (event_type, event_data)
           VALUES ('POST_SUCCESS', '{"decision_id": "p2", "tweet_id": "222"}')"#,
    );
    let config = r#"
        [posts]
        table = "po'sts\";.x"
        id = "order"
        status = "st\"atus';--"
        external_id = "Außen-ID 🐘"
        claimed_at = ["select"]
        updated_at = "select"
        error_message = "{error}"
        features = "{posts}"
        [events]
        table = "user\"events"
        [heartbeats]
        table = "Herzschläge"
    "#;
    let run = |arguments: &[&str], code: i32| Healer::on(&database, arguments).config(config).run().expect(code);
    let state = |post: &str| {
        let sql = format!(r#"SELECT "st""atus';--" FROM public."po'sts"";.x" WHERE "order" = '{post}'"#);
        database.value(&sql).expect("a status")
    };
    run(&["doctor"], 0);
    run(&["heal", "--dry-run"], 0);
    run(&["heal"], 0);
    assert_eq!([state("p1"), state("p2"), state("p3")], ["queued", "posted", "archived"]);
    let id = r#"SELECT "Außen-ID 🐘" FROM public."po'sts"";.x" WHERE "order" = 'p2'"#;
    assert_eq!(database.value(id).as_deref(), Some("222"));
    assert_eq!(
        database
            .value(r#"SELECT count(*) FROM public."user""events" WHERE event_type = 'self_healing_report'"#)
            .as_deref(),
        Some("1")
    );
    assert_eq!(database.value("SELECT count(*) FROM public.\"Herzschläge\"").as_deref(), Some("1"));
    run(&["report"], 0);
    run(&["undo", "1"], 0);
    assert_eq!([state("p1"), state("p3")], ["posting", "failed"]);
    run(&["resolve", "p1", "--fail"], 0);
    assert_eq!(state("p1"), "failed");
}

#[test]
fn a_file_that_looks_like_sql_is_data() {
    let database = sick();
    let before = fingerprint(&database);
    for text in [
        "[posts]\ntable = \"content_metadata; DROP TABLE content_metadata; --\"\n",
        "[posts]\ntable = 'content_metadata\" ; DROP TABLE content_metadata'\n",
        "[posts]\nstatus = \"status = 'x'; --\"\n",
        "[posts.words]\nposting = \"posting' OR true; --\"\n",
        "[posts.words]\nposting = 'posting\\'' OR true; --'''\n",
        "[posts]\ntimezone = \"UTC'; DROP TABLE content_metadata; --\"\n",
        "[posts]\nexternal_id_pattern = \"'; DROP TABLE content_metadata; --\"\n",
        "[heal.stuck-posts]\nlimits = { \"x' THEN interval '0'; --\" = \"1h\" }\n",
        "[events]\ntable = \"system_events; --\"\n",
        "[ledgers]\npost_receipts = \"pg_authid\"\n",
        "[posts]\ntable = \"pg_catalog.pg_class\"\n",
        "[posts.words]\nposting = \"{posts}\"\nqueued = \"{status}\"\n",
    ] {
        let ran = Healer::on(&database, &["heal", "--dry-run", "--format", "json"]).config(text).run();
        assert!(matches!(ran.code, Some(0 | 3 | 77 | 78)), "{text}: {:?} {}", ran.code, ran.all());
        ran.json();
        let acting = Healer::on(&database, &["report"]).config(text).run();
        assert!(!acting.all().contains("syntax error"), "{text}: {}", acting.all());
        assert!(!ran.all().contains("syntax error"), "{text}: {}", ran.all());
    }
    assert_eq!(fingerprint(&database), before);
}

/// A database in SQL_ASCII, which holds whatever bytes it is given.
struct Ascii(String);

impl Ascii {
    fn new(name: &str) -> Self {
        let mut admin = server().client("postgres").expect("a connection");
        admin
            .batch_execute(&format!(
                "CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
            ))
            .expect("a database");
        let ascii = Self(name.to_owned());
        ascii.client().batch_execute(Shape::Minimal.ddl()).expect("its tables");
        ascii
    }

    fn client(&self) -> Client {
        server().client(&self.0).expect("a connection")
    }

    fn healer(&self, arguments: &[&str]) -> Ran {
        Healer::at(&server().url(&self.0), arguments).run()
    }
}

impl Drop for Ascii {
    fn drop(&mut self) {
        if let Ok(mut admin) = server().client("postgres") {
            let _ = admin.batch_execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.0));
        }
    }
}

#[test]
fn bytes_that_are_no_utf_8_end_no_command() {
    let ascii = Ascii::new("ascii_posts");
    ascii.healer(&["init"]).expect(0);
    ascii
        .client()
        .batch_execute(
            r#"INSERT INTO public.content_metadata (decision_id, content, status, decision_type, created_at, updated_at, error_message)
               SELECT id, E'caf\351', 'posting', E'\377', now() - interval '2 hours', now() - interval '45 minutes', E'\200'
                 FROM unnest(ARRAY['p1', E'caf\351', 'p3']) id;
               INSERT INTO public.system_events (event_type, event_data, severity)
               VALUES (E'error_caf\351', '{}', 'error'), ('error_x', E'{"error_message": "caf\351"}', 'error')"#,
        )
        .expect("the posts");
    ascii.healer(&["doctor"]).expect(0);
    ascii.healer(&["report"]).expect(0);
    ascii.healer(&["heal", "--dry-run", "--format", "json"]).expect(0).json();
    let document = ascii.healer(&["heal", "--format", "json"]).json();
    assert_eq!(document["counts"]["applied"], 2, "{document}");
    let queued: i64 = ascii
        .client()
        .query_one("SELECT count(*) FROM public.content_metadata WHERE status = 'queued'", &[])
        .expect("a count")
        .get(0);
    assert_eq!(queued, 2, "the odd one is left alone, its neighbours are not");
    ascii.healer(&["report", "--format", "json"]).json();
    ascii.healer(&["undo", "1"]).expect(0);
}

#[test]
fn a_message_in_another_encoding_is_told_and_is_no_panic() {
    let ascii = Ascii::new("ascii_messages");
    ascii.healer(&["init"]).expect(0);
    ascii
        .client()
        .batch_execute(
            r"INSERT INTO public.content_metadata (decision_id, content, status, created_at, updated_at)
              SELECT 'p' || n, 'x', 'posting', now() - interval '2 hours', now() - interval '45 minutes' FROM generate_series(1, 3) n;
              CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
                  $$ BEGIN RAISE EXCEPTION E'Schl\374ssel \351\n\033[31m'; END $$;
              CREATE TRIGGER refuse BEFORE UPDATE ON public.content_metadata FOR EACH ROW WHEN (old.decision_id = 'p2')
                  EXECUTE FUNCTION public.refuse()",
        )
        .expect("a trigger");
    let ran = ascii.healer(&["heal"]).expect(3);
    assert!(ran.all().contains("Schl\u{fffd}ssel"), "{}", ran.all());
    assert!(!ran.all().contains('\u{1b}'), "no control characters of others: {:?}", ran.all());
    let queued: i64 = ascii
        .client()
        .query_one("SELECT count(*) FROM public.content_metadata WHERE status = 'queued'", &[])
        .expect("a count")
        .get(0);
    assert_eq!(queued, 2);
}

/// What random configurations are made of: hunter2 is the secret, which stands for a value only.
const PIECES: &[&str] = &[
    "[posts]\n",
    "[posts.words]\n",
    "[heal]\n",
    "[heal.stuck-posts]\n",
    "[heal.stuck-posts.limits]\n",
    "[heal.brake]\n",
    "[heal.old-failed]\n",
    "[heal.silence]\n",
    "[database]\n",
    "[ledgers]\n",
    "[events]\n",
    "[[heal]]\n",
    "[heal",
    "]\n",
    "table = ",
    "id = ",
    "status = ",
    "claimed_at = ",
    "limit = ",
    "on_unproven = ",
    "archive_to = ",
    "enabled = ",
    "batch = ",
    "max_actions = ",
    "ledger_coverage = ",
    "share = ",
    "statement_timeout = ",
    "posting = ",
    "thread = ",
    "limits = { ",
    " }",
    "json = [",
    "]",
    "timezone = ",
    "\"hunter2\"",
    "'hunter2'",
    "\"\"\"hunter2",
    "hunter2\n",
    "\"postgres://bot:hunter2@db/x\"",
    "postgres://bot:hunter2@db/x\n",
    "\"30m\"",
    "\"-1s\"",
    "\"99999999y\"",
    "0",
    "-1",
    "1e400",
    "nan",
    "inf",
    "0x7fffffffffffffff",
    "9223372036854775808",
    "true",
    "false",
    "1979-05-27T07:32:00Z",
    "\n",
    ",",
    "=",
    ".",
    "\"",
    "'",
    "#",
    "\\u0000",
    "\\",
    "\0",
    "\u{feff}",
    "😀",
    " ",
    "\r\n",
    "\t",
    "{",
    "}",
    "posts.",
    "heal.",
];

/// Random texts that look like a configuration never panic, and what they say of a value is never the value: somebody may
/// have put a password where it does not belong. `HEALER_FUZZ_CASES` sets how many.
#[test]
fn random_configurations_never_panic_and_no_error_repeats_a_value() {
    const SECRET: &str = "hunter2";

    let cases = std::env::var("HEALER_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000_u64);
    // xorshift: the same inputs every time, so that a failure can be repeated.
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % limit as u64).expect("small")
    };
    let (mut accepted, mut refused) = (0_u64, 0_u64);
    for _ in 0..cases {
        let mut text = String::new();
        for _ in 0..next(10) {
            text.push_str(PIECES[next(PIECES.len())]);
        }
        match healer::settings::Settings::from_toml(&text) {
            Ok(_) => accepted += 1,
            Err((message, hint)) => {
                refused += 1;
                // A key is named, so that it can be found: what stands for one here is no secret of a value.
                let as_key =
                    text.contains("hunter2\n=") || text.contains("hunter2\" =") || message.starts_with("unknown key");
                assert!(as_key || !format!("{message} {hint}").contains(SECRET), "{text:?}: {message} ({hint})");
                assert!(!message.is_empty() && !message.contains('\n'), "{text:?}: {message:?}");
            }
        }
    }
    assert!(accepted > 0 && refused > 0, "{accepted} accepted, {refused} refused");
}
