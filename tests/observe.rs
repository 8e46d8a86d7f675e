//! What `heal` observes: each source tells what it tells, and what cannot be seen is unknown.

use std::process::Command;

use serde_json::Value;

use crate::support::cluster::{Shape, TestDb};

/// What a command gave.
struct Given {
    code: i32,
    text: String,
    errors: String,
}

impl Given {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.text, self.errors))
    }
}

/// Runs the binary on a database; `config` is a TOML text.
fn healer_as(url: &str, config: &str, args: &[&str]) -> Given {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("healer.toml");
    std::fs::write(&file, config).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_healer"))
        .env_clear()
        .env("DATABASE_URL", url)
        .current_dir(folder.path())
        .arg("--config")
        .arg(&file)
        .args(args)
        .output()
        .expect("it runs");
    Given {
        code: output.status.code().unwrap_or(-1),
        text: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn healer(database: &TestDb, args: &[&str]) -> Given {
    healer_as(&database.url(), "", args)
}

/// A database of a shape with the schema `healer`.
fn ready(shape: Shape) -> TestDb {
    let database = TestDb::new(shape);
    let made = healer(&database, &["init"]);
    assert_eq!(made.code, 0, "{}", made.errors);
    database
}

/// The result of one check alone, and the document.
fn check_with(database: &TestDb, config: &str, name: &str) -> (Value, Value) {
    let given = healer_as(&database.url(), config, &["heal", "--dry-run", "--format", "json", "--only", name]);
    let document = given.json();
    (document["checks"][0].clone(), document)
}

fn check(database: &TestDb, name: &str) -> (Value, Value) {
    check_with(database, "", name)
}

/// Asserts a check's status, that its summary holds some words, and its figure for the dashboards.
fn assert_found(found: &(Value, Value), status: &str, words: &str, key: &str, health: &Value) {
    let (check, document) = found;
    assert_eq!(check["status"], status, "{check:#}");
    let text = format!("{} {}", check["summary"], check["details"]);
    assert!(text.contains(words), "{words} is not in {text}");
    if !key.is_empty() {
        assert_eq!(&document["systemHealth"][key], health, "{document:#}");
    }
}

/// Statements that plant posts stuck for an hour.
fn stuck(number: u32) -> String {
    format!(
        "INSERT INTO public.content_metadata (decision_id, content, status, created_at, scheduled_at, updated_at)
         SELECT 'stuck ' || n, 'text', 'posting', now() - interval '2 hours', now() - interval '61 minutes',
                now() - interval '1 hour' FROM generate_series(1, {number}) AS n"
    )
}

const KEEPS: &str = "INSERT INTO healer.signal (name, data) VALUES ('note', '{}');
    INSERT INTO healer.setting (name, value) VALUES ('note', 'true')";

#[test]
fn the_first_schema_is_upgraded_with_its_data_and_doing_it_again_changes_nothing() {
    let database = TestDb::new(Shape::Minimal);
    database.run(include_str!("../sql/schema/001_healer.sql"));
    database.run(KEEPS);
    let shape = "SELECT md5(string_agg(c::text, ',' ORDER BY c::text)) FROM (SELECT table_name, column_name, data_type
        FROM information_schema.columns WHERE table_schema = 'healer') AS c";
    assert!(healer(&database, &["init"]).text.contains("upgraded from version 1"));
    let after = database.value(shape);
    assert!(healer(&database, &["init"]).text.contains("up to date"));
    // As two at once do it: the second one finds version 1 before it waits for the first one.
    database.run(include_str!("../sql/schema/002_signals.sql"));
    assert_eq!(database.value(shape), after);
    assert_eq!(database.value("SELECT count(*) FROM healer.signal").as_deref(), Some("1"));
    assert_eq!(database.value("SELECT count(*) FROM healer.lease").as_deref(), Some("4"));
    assert_eq!(healer(&database, &["heal"]).code, 0);
}

#[test]
fn many_upgrades_at_once_all_succeed() {
    for first in ["", include_str!("../sql/schema/001_healer.sql")] {
        let database = TestDb::new(Shape::Minimal);
        database.run(first);
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|_| scope.spawn(|| healer(&database, &["init"]))).collect();
            for one in all {
                let given = one.join().expect("no panic");
                assert_eq!(given.code, 0, "{}", given.errors);
            }
        });
        let note = database.value("SELECT obj_description('healer'::regnamespace, 'pg_namespace')");
        assert_eq!(note.as_deref(), Some("healer schema 2"));
        assert_eq!(database.value("SELECT count(*) FROM healer.lease").as_deref(), Some("4"));
    }
}

#[test]
fn with_the_older_schema_dry_runs_work_and_acting_says_what_to_run() {
    let database = TestDb::new(Shape::Minimal);
    database.run(include_str!("../sql/schema/001_healer.sql"));
    let dry = healer(&database, &["heal", "--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.errors);
    assert_eq!(healer(&database, &["report"]).code, 0);
    let acting = healer(&database, &["heal"]);
    assert_eq!(acting.code, 78);
    assert!(acting.errors.contains("healer init"), "{}", acting.errors);
}

#[test]
fn the_breaker_is_what_the_signal_says_and_unknown_without_any_source() {
    let database = ready(Shape::Minimal);
    let key = "circuitBreakerOpen";
    assert_found(&check(&database, "circuit-breaker"), "unknown", "report_breaker", key, &Value::Null);

    database.run("SELECT healer.report_breaker('posting', false, 0)");
    assert_found(&check(&database, "circuit-breaker"), "ok", "closed", key, &false.into());
    database.run("SELECT healer.report_breaker('posting', true, 15)");
    assert_found(&check(&database, "circuit-breaker"), "warning", "`posting` is open", key, &true.into());
    // Opened sixteen minutes ago and said so again just now.
    database
        .run("UPDATE healer.signal SET reported_at = now() - interval '17 minutes' WHERE data ->> 'open' = 'false'");
    database.run(
        "INSERT INTO healer.signal (name, data, reported_at)
                  SELECT name, data, now() - interval '16 minutes' FROM healer.signal WHERE data ->> 'open' = 'true'",
    );
    assert_found(&check(&database, "circuit-breaker"), "critical", "open for 16 min", key, &true.into());

    database.run("UPDATE healer.signal SET reported_at = now() - interval '901 seconds'");
    assert_found(&check(&database, "circuit-breaker"), "unknown", "15 min old", key, &Value::Null);
    database.run("UPDATE healer.signal SET reported_at = now() + interval '5 minutes'");
    assert_found(&check(&database, "circuit-breaker"), "unknown", "lie in the future", key, &Value::Null);
    database.run("UPDATE healer.signal SET data = '[\"odd\"]', reported_at = now()");
    assert_found(&check(&database, "circuit-breaker"), "unknown", "neither open nor closed", key, &Value::Null);

    database.run("DROP TABLE public.system_events; DROP SCHEMA healer CASCADE");
    assert_found(&check(&database, "circuit-breaker"), "unknown", "no event table", key, &Value::Null);
}

#[test]
fn without_a_signal_the_events_tell_of_the_breaker() {
    let database = TestDb::new(Shape::Minimal);
    let key = "circuitBreakerOpen";
    let tick = |minutes: u32, started: u32| {
        format!(
            "INSERT INTO public.system_events (event_type, event_data, created_at) VALUES ('POSTING_QUEUE_TICK',
             '{{\"ready_candidates\": 2, \"attempts_started\": {started}}}', now() - interval '{minutes} minutes')"
        )
    };
    database.run(&tick(40, 1));
    assert_found(&check(&database, "circuit-breaker"), "ok", "attempts are being started", key, &false.into());
    database.run("INSERT INTO public.system_events (event_type, created_at) VALUES ('circuit_breaker_stuck', now() - interval '30 minutes')");
    assert_found(&check(&database, "circuit-breaker"), "critical", "circuit_breaker_stuck", key, &true.into());
    database.run("INSERT INTO public.system_events (event_type, created_at) VALUES ('circuit_breaker_forced_reset', now() - interval '25 minutes')");
    assert_found(&check(&database, "circuit-breaker"), "ok", "forced_reset", key, &false.into());
    database.run(&tick(11, 0));
    database.run(&tick(6, 0));
    assert_found(&check(&database, "circuit-breaker"), "ok", "forced_reset", key, &false.into());
    database.run(&tick(1, 0));
    assert_found(&check(&database, "circuit-breaker"), "warning", "3 ticks in a row", key, &true.into());
}

#[test]
fn nothing_is_requeued_while_the_breaker_is_open_whoever_tells_and_whatever_is_asked() {
    let tells = [
        "SELECT healer.report_breaker('posting', true, 15)",
        "INSERT INTO public.system_events (event_type) VALUES ('circuit_breaker_stuck')",
    ];
    let queued = "SELECT count(*) FROM public.content_metadata WHERE status = 'queued'";
    for tell in tells {
        let database = ready(Shape::Minimal);
        database.run(&stuck(3));
        database.run(tell);
        let asked: [&[&str]; 4] = [
            &["heal", "--format", "json"],
            &["heal", "--format", "json", "--max-actions", "100"],
            &["heal", "--format", "json", "--only", "stuck-posts"],
            &["heal", "--format", "json", "--only", "stuck-posts", "--max-actions", "100"],
        ];
        for args in asked {
            let given = healer(&database, args);
            assert_eq!(given.code, 3, "{}", given.errors);
            assert!(given.text.contains("the circuit breaker is open"), "{}", given.text);
            assert_eq!(database.value(queued).as_deref(), Some("0"));
        }
        // It is no brake that somebody must release: once the breaker is closed the next run goes on.
        database.run("SELECT healer.report_breaker('posting', false, 0)");
        assert_eq!(healer(&database, &["heal"]).code, 0);
        assert_eq!(database.value(queued).as_deref(), Some("3"));
    }
}

#[test]
fn a_breaker_that_cannot_be_asked_stops_requeues_and_says_why() {
    let database = ready(Shape::Minimal);
    database.run(&stuck(2));
    database.run("ALTER TABLE healer.signal DROP COLUMN data");
    let given = healer(&database, &["heal", "--format", "json"]);
    assert_eq!(given.code, 78, "{}", given.errors);
    assert!(given.text.contains("could not be measured"), "{}", given.text);
    assert_eq!(
        database.value("SELECT count(*) FROM public.content_metadata WHERE status = 'queued'").as_deref(),
        Some("0")
    );
}

#[test]
fn the_browser_queue_is_what_the_signal_says_and_unknown_without_any_source() {
    let database = ready(Shape::Minimal);
    let key = "browserIssues";
    assert_found(&check(&database, "browser-queue"), "unknown", "report_browser", key, &Value::Null);
    for (queued, active, status, words, issues) in [
        (5, 1, "ok", "5 operations wait", 0),
        (6, 1, "warning", "6 operations wait", 1),
        (10, 0, "warning", "10 operations wait", 1),
        (11, 1, "critical", "11 operations wait", 1),
        (11, 0, "critical", "suspected deadlock", 1),
    ] {
        database.run(&format!("SELECT healer.report_browser({queued}, {active}, 1)"));
        assert_found(&check(&database, "browser-queue"), status, words, key, &issues.into());
    }
    database.run("UPDATE healer.signal SET reported_at = now() - interval '901 seconds'");
    assert_found(&check(&database, "browser-queue"), "unknown", "15 min old", key, &Value::Null);
    database.run("UPDATE healer.signal SET reported_at = now() + interval '1 hour'");
    assert_found(&check(&database, "browser-queue"), "unknown", "5 signals lie in the future", key, &Value::Null);
    database.run("DELETE FROM healer.signal; SELECT healer.report_browser(NULL, -1, 1)");
    assert_found(&check(&database, "browser-queue"), "unknown", "without usable numbers", key, &Value::Null);
    database.run("DROP TABLE public.system_events; DROP SCHEMA healer CASCADE");
    assert_found(&check(&database, "browser-queue"), "unknown", "no event table", key, &Value::Null);
}

#[test]
fn without_a_signal_events_of_waits_are_shown_as_indirect() {
    let database = TestDb::new(Shape::Minimal);
    let event = |kind: &str, data: &str, age: &str| {
        database.run(&format!(
            "INSERT INTO public.system_events (event_type, event_data, created_at) VALUES ('{kind}', '{data}', now() - interval '{age}')"
        ));
    };
    // Innocent neighbours: another reason, another error, and one of two hours ago.
    event("POSTING_QUEUE_BLOCKED", "{\"reason\": \"rate_limit\"}", "5 minutes");
    event("error_post_failure", "{}", "5 minutes");
    event("error_browser_queue_timeout", "{}", "61 minutes");
    assert_found(&check(&database, "browser-queue"), "unknown", "neither", "browserIssues", &Value::Null);
    event("error_browser_queue_timeout", "{}", "59 minutes");
    event("POSTING_QUEUE_BLOCKED", "{\"reason\": \"browser_queue_full\"}", "50 minutes");
    event("post_retry_scheduled", "{\"reason\": \"browser_queue_timeout\"}", "40 minutes");
    let found = check(&database, "browser-queue");
    assert_found(&found, "warning", "indirectly", "browserIssues", &1.into());
    assert_eq!(found.0["found"], 3, "{:#}", found.0);
}

#[test]
fn a_browser_that_is_held_too_long_is_asked_for_once_and_only_where_the_setting_allows_it() {
    let on = "[heal.browser-queue]\nrequest_release = true\n";
    let requests = "SELECT count(*) FROM healer.request";
    let database = ready(Shape::Minimal);
    database.run(
        "SELECT healer.report_browser(12, 1, 1); SELECT healer.report_browser_op('reply_posting', 100, 200, true);
         SELECT healer.report_browser_op('metrics_scraper', 100, 840000, NULL)",
    );
    let run = |config: &str, args: &[&str]| healer_as(&database.url(), config, args).text;
    assert!(run(on, &["heal"]).contains("metrics_scraper has held it for 14 min"));
    assert_eq!(database.value(requests).as_deref(), Some("0"), "critical for the first time");
    assert!(run("", &["heal"]).contains("request_release"), "it says that it is switched off");
    assert!(run(on, &["heal", "--dry-run"]).contains("would ask the application: release_browser of metrics_scraper"));
    assert_eq!(database.value(requests).as_deref(), Some("0"));
    assert!(run(on, &["heal"]).contains("asked the application: release_browser of metrics_scraper"));
    assert!(run(on, &["heal"]).contains("asked for already"));
    assert_eq!(database.value(requests).as_deref(), Some("1"));
    let taken = "SELECT count(*) FROM healer.take_requests('release_browser')";
    assert_eq!([database.value(taken), database.value(taken)].map(Option::unwrap), ["1", "0"]);
    // The operation ended: nothing holds the browser any more.
    database.run("SELECT healer.report_browser_op('metrics_scraper', 100, 900000, true)");
    assert!(!run(on, &["heal"]).contains("metrics_scraper"));
}

#[test]
fn what_is_only_observed_stands_in_the_event_and_is_no_change() {
    let database = ready(Shape::Minimal);
    database.run("SELECT healer.report_browser(12, 0, 1)");
    for _ in 0..2 {
        assert_eq!(healer(&database, &["heal", "--format", "json"]).json()["counts"]["planned"], 0);
    }
    let event =
        "SELECT event_data->'actions'->0 FROM public.system_events WHERE event_type = 'self_healing_report' LIMIT 1";
    let action: Value = serde_json::from_str(&database.value(event).expect("an event")).expect("JSON");
    assert_eq!(action["type"], "browser_queue_critical");
    assert_eq!(action["action"], "monitor_browser_queue");
    assert_eq!((&action["severity"], &action["success"]), (&"critical".into(), &true.into()));
    assert!(action["description"].as_str().is_some_and(|words| words.contains("12 operations wait")));
    assert!(action["timestamp"].is_string());
}
