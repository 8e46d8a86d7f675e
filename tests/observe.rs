//! What `heal` observes: each source tells what it tells, and what cannot be seen is unknown.

use std::process::Command;

use serde_json::Value;

use healer::sandbox::seed;

use crate::support::binary::Healer;
use crate::support::cluster::{Shape, TestDb, server};

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
    for step in &healer::schema::STEPS[1..] {
        database.run(step);
    }
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
        assert_eq!(note.as_deref(), Some("healer schema 3"));
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

/// Thresholds at which every session is a finding.
const EVERY_SESSION: &str =
    "[heal.database]\ntransaction_warning = \"0s\"\nidle_warning = \"0s\"\nblocked_warning = \"0s\"\n";

#[test]
fn who_holds_a_transaction_and_who_blocks_whom_is_named() {
    let database = ready(Shape::Minimal);
    database.run("CREATE TABLE public.other ()");
    assert_found(&check(&database, "database"), "ok", "PostgreSQL", "databaseIssues", &0.into());
    let connect = |name: &str| {
        let url = format!("{}&application_name={name}", database.url());
        postgres::Client::connect(&url, postgres::NoTls).unwrap_or_else(|error| panic!("{url}: {error}"))
    };
    let (mut holder, mut waiter) = (connect("holder"), connect("waiter"));
    let pid = |client: &mut postgres::Client| -> i32 {
        client.query_one("SELECT pg_backend_pid()", &[]).expect("a pid").get(0)
    };
    let (holds, waits) = (pid(&mut holder), pid(&mut waiter));
    holder.batch_execute("BEGIN; LOCK TABLE public.other").expect("locked");
    let waiting = std::thread::spawn(move || waiter.batch_execute("BEGIN; LOCK TABLE public.other; ROLLBACK"));
    let lock_waits = format!("SELECT count(*) FROM pg_locks WHERE pid = {waits} AND NOT granted");
    while database.value(&lock_waits).as_deref() != Some("1") {
        std::thread::yield_now();
    }
    // Their ages are still below every default.
    assert_found(&check(&database, "database"), "ok", "PostgreSQL", "databaseIssues", &0.into());
    while database
        .value(&format!("SELECT state_change < now() - interval '1 s' FROM pg_stat_activity WHERE pid = {holds}"))
        .as_deref()
        != Some("true")
    {
        std::thread::yield_now();
    }
    let found = check_with(&database, EVERY_SESSION, "database");
    let text = found.0.to_string();
    assert_eq!(found.0["status"], "warning", "{text}");
    assert!(
        text.contains(&format!("pid {holds} (user postgres, application holder) has been idle in a transaction")),
        "{text}"
    );
    assert!(text.contains(&format!("pid {waits} (user postgres, application waiter) has waited for a lock")), "{text}");
    assert!(
        text.contains(&format!(
            "blocked by pid {holds} (user postgres, application holder): SELECT pg_terminate_backend({holds});"
        )),
        "{text}"
    );
    assert_eq!(found.1["systemHealth"]["databaseIssues"], found.0["found"]);
    assert_eq!(found.1["actions"][0]["action"], "health_check");
    assert_eq!(found.1["counts"]["planned"], 0);
    holder.batch_execute("ROLLBACK").expect("rolled back");
    waiting.join().expect("no panic").expect("it got the lock");
}

#[test]
fn what_a_role_may_not_see_of_other_sessions_is_unknown() {
    let database = ready(Shape::Minimal);
    let role = format!("watcher_{}", database.name());
    database.run(&format!(
        "CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};
         GRANT USAGE ON SCHEMA healer TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA healer TO {role}"
    ));
    let look = || {
        let document =
            healer_as(&database.url_as(&role), "", &["heal", "--dry-run", "--format", "json", "--only", "database"])
                .json();
        (document["checks"][0].clone(), document)
    };
    assert_found(&look(), "ok", "PostgreSQL", "databaseIssues", &0.into());
    let mut other = database.client();
    other.batch_execute("BEGIN").expect("begun");
    let found = look();
    assert_found(&found, "unknown", &format!("GRANT pg_monitor TO \\\"{role}\\\""), "databaseIssues", &Value::Null);
    assert_eq!(found.0["found"], Value::Null);
    database.run(&format!("GRANT pg_monitor TO {role}"));
    assert_found(&look(), "ok", "PostgreSQL", "databaseIssues", &0.into());
    drop(other);
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn deadlocks_are_counted_since_the_last_run() {
    let database = ready(Shape::Minimal);
    healer(&database, &["heal"]);
    assert_found(&check(&database, "database"), "ok", "PostgreSQL", "databaseIssues", &0.into());
    // As if the last run had seen one deadlock less.
    database.run("UPDATE healer.setting SET value = value || jsonb_build_object('deadlocks', (value ->> 'deadlocks')::int - 1) WHERE name = 'database_counters'");
    assert_found(
        &check(&database, "database"),
        "warning",
        "1 deadlocks since the last run",
        "databaseIssues",
        &1.into(),
    );
    healer(&database, &["heal"]);
    assert_found(&check(&database, "database"), "ok", "PostgreSQL", "databaseIssues", &0.into());
}

#[test]
fn dead_rows_of_the_posts_table_are_found_below_a_view_and_in_partitions() {
    use crate::support::cluster::variant;
    for (database, base) in [
        (TestDb::new(Shape::Full), "content_generation_metadata_comprehensive"),
        (TestDb::edited(&[variant::PARTITIONED]), "content_metadata"),
    ] {
        let unattended = if base == "content_metadata" { "content_metadata_0" } else { base };
        let mut client = database.client();
        client
            .batch_execute(&format!(
                "ALTER TABLE public.{unattended} SET (autovacuum_enabled = false);
             INSERT INTO public.{base} (decision_id, content) SELECT n::text, 'x' FROM generate_series(1, 300) AS n;
             DELETE FROM public.{base} WHERE decision_id::int > 100"
            ))
            .expect("rows");
        // What a session has counted is certain to be seen once it has ended.
        drop(client);
        let dead = "SELECT sum(n_dead_tup) = 200 FROM pg_stat_user_tables";
        while database.value(dead).as_deref() != Some("true") {
            std::thread::yield_now();
        }
        let found = check_with(&database, "[heal.database]\ndead_rows_from = 100\n", "database");
        assert_found(&found, "warning", "200 of 300 rows", "databaseIssues", &1.into());
        assert_found(&found, "warning", "autovacuum is switched off", "databaseIssues", &1.into());
        assert_found(&check(&database, "database"), "ok", "PostgreSQL", "databaseIssues", &0.into());
    }
}

#[test]
fn a_database_that_takes_no_writes_is_said_to_be_so_by_a_dry_run() {
    let database = ready(Shape::Minimal);
    database.run(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name()));
    assert_found(
        &check(&database, "database"),
        "critical",
        "default_transaction_read_only",
        "databaseIssues",
        &1.into(),
    );
}

#[test]
fn a_connection_that_fails_is_one_line_and_exit_75() {
    let given = healer_as("postgres://nobody@127.0.0.1:1/nothing?sslmode=disable&connect_timeout=2", "", &["heal"]);
    assert_eq!(given.code, 75, "{}", given.errors);
    let critical: Vec<&str> = given.errors.lines().filter(|line| line.contains("[SELF_HEALING] critical")).collect();
    assert_eq!(critical.len(), 1, "{}", given.errors);
    assert!(!given.errors.contains("backtrace") && !given.errors.contains("panicked"), "{}", given.errors);
}

#[test]
fn a_table_that_somebody_has_locked_ends_the_run_instead_of_making_it_wait_for_ever() {
    let database = ready(Shape::Minimal);
    let mut holder = database.client();
    holder.batch_execute("BEGIN; LOCK TABLE public.system_events").expect("locked");
    let given = healer_as(&database.url(), "[database]\nlock_timeout = \"1s\"\n", &["heal"]);
    assert_eq!(given.code, 1, "{}", given.errors);
    assert!(given.errors.contains("55P03"), "{}", given.errors);
}

const NEIGHBOURS: &str = "INSERT INTO public.job_heartbeats (job_name, last_success, last_run_status, updated_at)
    SELECT name, now() - interval '1 minute', 'success', now() - interval '1 minute'
      FROM unnest(ARRAY['posting', 'plan', 'reply_posting', 'metrics_scraper']) AS jobs (name)";

#[test]
fn each_sick_job_is_named_once_and_its_healthy_neighbours_are_not() {
    let database = ready(Shape::Minimal);
    let name = "job-heartbeats";
    assert_found(&check(&database, name), "critical", "no job has ever given a sign of life", "", &Value::Null);
    // healer's own line is no sign of life.
    healer(&database, &["heal"]);
    assert_eq!(database.value("SELECT count(*) FROM public.job_heartbeats").as_deref(), Some("1"));
    assert_found(&check(&database, name), "critical", "no job has ever given a sign of life", "", &Value::Null);

    database.run(NEIGHBOURS);
    assert_found(&check(&database, name), "ok", "4 jobs give signs of life", "", &Value::Null);
    database.run(
        "INSERT INTO public.job_heartbeats (job_name, last_success, last_failure, last_run_status, last_error, consecutive_failures, updated_at) VALUES
         ('hanging', now() - interval '1 day', NULL, 'running', NULL, 0, now() - interval '61 minutes'),
         ('working', now() - interval '1 day', NULL, 'running', NULL, 0, now() - interval '59 minutes'),
         ('failing', now() - interval '1 day', now(), 'failed', 'boom', 3, now()),
         ('failed twice', now() - interval '1 day', now(), 'failure', 'boom', 2, now()),
         ('starving', now() - interval '121 minutes', NULL, 'skipped', 'memory', 0, now()),
         ('resting', now() - interval '119 minutes', NULL, 'skipped', 'memory', 0, now()),
         ('ahead', now() + interval '1 hour', NULL, 'success', NULL, 0, now() + interval '1 hour'),
         ('infinite', 'infinity', NULL, 'success', NULL, 0, now()),
         ('nameless word', now(), NULL, 'purple', NULL, 0, now()),
         ('nothing', NULL, NULL, NULL, NULL, 0, now());
         UPDATE public.job_heartbeats SET last_success = now() - interval '31 minutes', updated_at = now() - interval '31 minutes'
          WHERE job_name = 'reply_posting';
         DELETE FROM public.job_heartbeats WHERE job_name = 'plan'",
    );
    let (found, _) = check(&database, name);
    let lines: Vec<String> = found["details"]
        .as_array()
        .expect("details")
        .iter()
        .map(|line| line.as_str().unwrap_or("").to_owned())
        .collect();
    assert_eq!((&found["status"], &found["found"]), (&"warning".into(), &6.into()), "{lines:#?}");
    for (job, words) in [
        ("hanging", "running for 61 min"),
        ("failing", "failed 3 times in a row (boom)"),
        ("starving", "skipped every time (memory)"),
        ("ahead", "gave no usable time"),
        ("reply_posting", "late"),
        ("plan", "never seen"),
    ] {
        let of_job: Vec<&String> = lines.iter().filter(|line| line.starts_with(&format!("{job}:"))).collect();
        assert!(of_job.len() == 1 && of_job[0].contains(words), "{job}: {of_job:?}");
    }
    for job in ["working", "resting", "infinite", "nothing", "posting"] {
        assert!(!lines.iter().any(|line| line.starts_with(&format!("{job}:"))), "{job}: {lines:#?}");
    }
    assert!(lines.iter().any(|line| line.contains("\"purple\"")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("2 times lie in the future")), "{lines:#?}");

    database.run("UPDATE public.job_heartbeats SET last_success = now() - interval '2 hours', last_failure = NULL, updated_at = now() - interval '61 minutes'
                   WHERE job_name <> 'self_healing'");
    assert_found(&check(&database, name), "critical", "stand still", "", &Value::Null);
    database.run("DROP TABLE public.job_heartbeats");
    assert_found(&check(&database, name), "unknown", "is missing", "", &Value::Null);
}

#[test]
fn heartbeats_with_one_row_a_run_are_judged_alike() {
    use crate::support::cluster::variant;
    let database = TestDb::edited(&[variant::HEARTBEAT_HISTORY]);
    let name = "job-heartbeats";
    assert_found(&check(&database, name), "critical", "no job has ever", "", &Value::Null);
    database.run(
        "INSERT INTO public.job_heartbeats (job_name, status, created_at)
         SELECT name, 'success', now() - n * interval '5 minutes'
           FROM unnest(ARRAY['posting', 'plan', 'reply_posting', 'metrics_scraper']) AS jobs (name), generate_series(0, 9) AS n;
         INSERT INTO public.job_heartbeats (job_name, status, created_at)
         SELECT 'learned and late', 'success', now() - interval '25 minutes' - n * interval '10 minutes' FROM generate_series(0, 9) AS n
         UNION ALL SELECT 'learned and well', 'success', now() - interval '15 minutes' - n * interval '10 minutes' FROM generate_series(0, 9) AS n
         UNION ALL SELECT 'failing', 'failed', now() - n * interval '1 minute' FROM generate_series(1, 3) AS n
         UNION ALL SELECT 'failing', 'success', now() - interval '4 minutes'
         UNION ALL SELECT 'recovered', 'failure', now() - n * interval '1 minute' FROM generate_series(2, 9) AS n
         UNION ALL SELECT 'recovered', 'success', now() - interval '1 minute'
         UNION ALL SELECT 'self_healing', 'failure', now() - n * interval '1 minute' FROM generate_series(2, 9) AS n",
    );
    let (found, _) = check(&database, name);
    let text = found["details"].to_string();
    assert_eq!((&found["status"], &found["found"]), (&"warning".into(), &2.into()), "{found:#}");
    assert!(text.contains("learned and late: late") && text.contains("failing: failed 3 times in a row"), "{text}");
    // Acting works with this shape too, and there is nothing to note: the table has the history.
    healer(&database, &["init"]);
    assert_eq!(healer(&database, &["heal"]).code, 0);
    assert_eq!(database.value("SELECT count(*) FROM healer.job_run").as_deref(), Some("0"));
}

#[test]
fn a_pass_notes_the_runs_that_changed_and_intervals_are_learned_from_them() {
    let database = ready(Shape::Minimal);
    database.run(NEIGHBOURS);
    let runs = "SELECT count(*) FROM healer.job_run";
    healer(&database, &["heal", "--dry-run"]);
    assert_eq!(database.value(runs).as_deref(), Some("0"), "a dry run notes nothing");
    for _ in 0..2 {
        healer(&database, &["heal"]);
        assert_eq!(database.value(runs).as_deref(), Some("4"));
    }
    database.run("UPDATE public.job_heartbeats SET last_failure = now(), last_run_status = 'failed', last_error = 'boom' WHERE job_name = 'plan'");
    healer(&database, &["heal"]);
    assert_eq!(
        database.value("SELECT job || ' ' || status || ' ' || error || ' ' || source FROM healer.job_run ORDER BY id DESC LIMIT 1").as_deref(),
        Some("plan failure boom pass")
    );
    // Learned from five gaps of ten minutes: late after twenty.
    database.run(
        "INSERT INTO healer.job_run (job, status, at, source)
         SELECT 'unknown to the settings', 'success', now() - interval '21 minutes' - n * interval '10 minutes', 'pass' FROM generate_series(0, 5) AS n;
         INSERT INTO public.job_heartbeats (job_name, last_success, last_run_status, updated_at)
         VALUES ('unknown to the settings', now() - interval '21 minutes', 'success', now() - interval '21 minutes')",
    );
    assert_found(&check(&database, "job-heartbeats"), "warning", "it runs every 10 min", "", &Value::Null);
}

#[test]
fn the_trigger_notes_every_run_exactly_and_can_be_taken_away() {
    let database = ready(Shape::Minimal);
    let given = healer(&database, &["init", "--track-jobs"]);
    assert_eq!(given.code, 0, "{}", given.errors);
    assert!(healer(&database, &["init", "--track-jobs", "--print-sql"]).text.contains("CREATE TRIGGER healer_job_run"));
    for _ in 0..2 {
        database.run("INSERT INTO public.job_heartbeats AS h (job_name, last_run_status, updated_at) VALUES ('plan', 'running', now() - interval '90 seconds')
                      ON CONFLICT (job_name) DO UPDATE SET last_run_status = 'running', updated_at = now() - interval '90 seconds'");
        database.run("UPDATE public.job_heartbeats SET last_run_status = 'success', last_success = now(), updated_at = now() WHERE job_name = 'plan'");
    }
    let exact = "SELECT count(*) || ' ' || min(duration_ms) / 1000 || ' ' || min(source) FROM healer.job_run WHERE status = 'success'";
    assert_eq!(database.value(exact).as_deref(), Some("2 90 trigger"));
    // Odd values never fail the job's own write.
    database.run("UPDATE public.job_heartbeats SET last_run_status = NULL; UPDATE public.job_heartbeats SET last_run_status = 'purple', updated_at = 'infinity'");
    assert!(database.value("SELECT count(*) FROM healer.job_run").is_some());
    healer(&database, &["heal"]);
    assert_eq!(database.value("SELECT count(*) FROM healer.job_run WHERE source = 'pass'").as_deref(), Some("0"));
    assert_eq!(healer(&database, &["init", "--untrack-jobs"]).code, 0);
    assert_eq!(database.value("SELECT count(*) FROM pg_trigger WHERE tgname = 'healer_job_run'").as_deref(), Some("0"));
    assert_eq!(healer(&database, &["init", "--track-jobs", "--untrack-jobs"]).code, 2);
}

/// Posts of the last 28 days, one each `minutes`, and one that has been ready for a day.
fn posted_each(minutes: u32, silent_minutes: u32) -> String {
    format!(
        "INSERT INTO public.content_metadata (decision_id, content, status, posted_at, updated_at, tweet_id)
         SELECT 'posted ' || n, 'x', 'posted', now() - {silent_minutes} * interval '1 minute' - n * {minutes} * interval '1 minute', now(), '1'
           FROM generate_series(0, 40000 / {minutes}) AS n;
         INSERT INTO public.content_metadata (decision_id, content, status, scheduled_at)
         VALUES ('ready', 'x', 'queued', now() - interval '1 day')"
    )
}

#[test]
fn silence_is_measured_by_what_is_usual_at_this_hour() {
    let name = "silence";
    for (minutes, silent, status) in
        [(10, 29, "ok"), (10, 31, "warning"), (10, 91, "critical"), (60, 100, "ok"), (60, 151, "warning")]
    {
        let database = TestDb::new(Shape::Minimal);
        database.run(&posted_each(minutes, silent));
        let found = check(&database, name);
        assert_eq!(found.0["status"], status, "each {minutes} min, silent for {silent} min: {:#}", found.0);
        if status != "ok" {
            assert_found(
                &found,
                status,
                "ready 1 → claimed 0 → attempted ? → posted 0; nothing claims them",
                "",
                &Value::Null,
            );
        }
        // With nothing ready there is nothing to be said.
        database.run("UPDATE public.content_metadata SET status = 'cancelled' WHERE status = 'queued'");
        assert_found(&check(&database, name), "ok", "0 posts are ready", "", &Value::Null);
    }
}

#[test]
fn before_a_usual_hour_is_known_a_setting_decides_and_without_times_it_is_unknown() {
    let database = TestDb::new(Shape::Minimal);
    let name = "silence";
    assert_found(&check(&database, name), "ok", "nothing was ever posted", "", &Value::Null);
    let ready = |minutes: u32| {
        database.run(&format!(
            "DELETE FROM public.content_metadata; INSERT INTO public.content_metadata (decision_id, content, status, scheduled_at)
             VALUES ('ready', 'x', 'ready', now() - interval '{minutes} minutes'), ('later', 'x', 'queued', now() + interval '1 hour');
             INSERT INTO public.content_metadata (decision_id, content, status, posted_at) VALUES ('ahead', 'x', 'posted', now() + interval '1 hour')"
        ));
    };
    ready(119);
    assert_found(&check(&database, name), "ok", "1 posts were posted in the future", "", &Value::Null);
    ready(121);
    assert_found(&check(&database, name), "warning", "planned 1 → ready 1", "", &Value::Null);
    ready(361);
    assert_found(&check(&database, name), "critical", "planned 1 → ready 1", "", &Value::Null);
    database.run("ALTER TABLE public.content_metadata DROP COLUMN posted_at");
    assert_found(&check(&database, name), "unknown", "no column tells when", "", &Value::Null);
}

#[test]
fn attempts_that_never_end_as_posted_are_seen_as_where_it_stops() {
    let database = TestDb::new(Shape::Full);
    database.run(
        "INSERT INTO public.content_generation_metadata_comprehensive (decision_id, content, status, scheduled_at, updated_at)
         VALUES ('ready', 'x', 'queued', now() - interval '3 hours', now()), ('claimed', 'x', 'posting', now() - interval '3 hours', now())",
    );
    assert_found(
        &check(&database, "silence"),
        "warning",
        "attempted 0 → posted 0; they are claimed and not attempted",
        "",
        &Value::Null,
    );
    database.run("INSERT INTO public.post_attempts (decision_id) VALUES ('claimed')");
    assert_found(&check(&database, "silence"), "warning", "attempted 1 → posted 0; attempts begin", "", &Value::Null);
}

/// A database that is filled like the sandbox, with the schema `healer` and the application's signals.
fn sick() -> String {
    server().client("postgres").expect("a client").batch_execute("CREATE DATABASE sick").expect("created");
    let mut client = server().client("sick").expect("a client");
    seed::fill(&mut client).unwrap_or_else(|error| panic!("{error}"));
    let url = server().url("sick");
    assert_eq!(healer_as(&url, "", &["init"]).code, 0);
    seed::signals(&mut client).unwrap_or_else(|error| panic!("{error}"));
    url
}

/// Takes every fault away, by what a person or the application would do.
const CURE: &str = "
    DELETE FROM public.content_generation_metadata_comprehensive
     WHERE decision_id IN (SELECT decision_id FROM sandbox.expectation WHERE expected <> 'untouched')
        OR (status = 'failed' AND updated_at < now() - interval '7 days');
    UPDATE public.content_generation_metadata_comprehensive SET scheduled_at = now() + interval '1 hour' WHERE status IN ('queued', 'ready');
    UPDATE public.job_heartbeats SET last_success = now(), last_run_status = 'success', consecutive_failures = 0, last_error = NULL, updated_at = now();
    SELECT healer.report_browser(0, 1, 1);
    SELECT healer.report_browser_op('metrics_scraper', 1200, 3100000, true);
    SELECT healer.report_breaker('posting', false, 0);";

#[test]
fn every_fault_of_the_sandbox_is_told_once_and_without_them_all_is_well() {
    let url = sick();
    let document = healer_as(&url, "", &["heal", "--format", "json"]).json();
    let text = |name: &str| -> String {
        let check = document["checks"].as_array().expect("checks").iter().find(|check| check["name"] == name);
        let check = check.unwrap_or_else(|| panic!("{name} is missing"));
        let details = check["details"].as_array().cloned().unwrap_or_default();
        let lines: Vec<&str> = details.iter().filter_map(Value::as_str).collect();
        format!("{}: {}\n{}", check["status"], check["summary"].as_str().unwrap_or(""), lines.join("\n"))
    };
    for (check, status, words) in [
        (
            "browser-queue",
            "critical",
            "12 operations wait for the browser, 1 active; metrics_scraper has held it for 50 min",
        ),
        ("database", "warning", "autovacuum is switched off"),
        ("circuit-breaker", "ok", "closed (signal)"),
        ("silence", "warning", "attempts begin and none ends as posted"),
        ("job-heartbeats", "critical", "reply_posting: late"),
        ("job-heartbeats", "critical", "metrics_scraper: failed 4 times in a row"),
        ("job-heartbeats", "critical", "learn: skipped every time"),
        ("job-heartbeats", "critical", "account_discovery: running for 3 h"),
        ("job-heartbeats", "critical", "attribution: its last run failed"),
    ] {
        let found = text(check);
        assert!(found.starts_with(&format!("\"{status}\"")), "{found}");
        assert_eq!(found.matches(words).count(), 1, "{words}: {found}");
    }
    for neighbour in ["posting:", "plan:", "health_check:", "id_recovery:", "trend_refresh:"] {
        assert!(!text("job-heartbeats").contains(&format!("\n{neighbour}")), "{}", text("job-heartbeats"));
    }
    assert_eq!(
        document["systemHealth"],
        serde_json::json!({
            "stuckPosts": document["checks"][0]["found"], "nullTweetIds": document["checks"][1]["found"],
            "browserIssues": 2, "databaseIssues": 1, "circuitBreakerOpen": false
        })
    );
    // The breaker is closed: what can be rescued was.
    let mut client = server().client("sick").expect("a client");
    let left: i64 = client
        .query_one(
            "SELECT count(*) FROM sandbox.expectation JOIN public.content_metadata AS p USING (decision_id)
             WHERE expected = 'queued' AND p.status <> 'queued'",
            &[],
        )
        .expect("a count")
        .get(0);
    assert_eq!(left, 0);
    let again = healer_as(&url, "", &["heal", "--format", "json"]).json();
    assert_eq!(again["counts"]["planned"], 0, "{:#}", again["actions"]);

    client.batch_execute(CURE).expect("cured");
    client.batch_execute("VACUUM public.content_generation_metadata_comprehensive").expect("vacuumed");
    let well = healer_as(&url, "", &["heal", "--fail-on", "warning"]);
    assert_eq!(well.code, 0, "{}{}", well.text, well.errors);
    assert_eq!(well.text.lines().count(), 1, "{}", well.text);
    assert!(well.text.contains("all is well"), "{}", well.text);
    let quiet = healer_as(&url, "", &["heal", "--quiet", "--fail-on", "warning"]);
    assert_eq!((quiet.code, quiet.text.as_str()), (0, ""));
    let report = healer_as(&url, "", &["report"]);
    assert_eq!(report.code, 0, "{}{}", report.text, report.errors);
}

#[test]
fn a_healthy_pass_takes_few_round_trips() {
    use healer::database::session::StopFlag;
    use healer::database::url::{self, Surroundings, UrlSource};
    use healer::heal::{CHECKS, pass};
    use healer::settings::Settings;

    for shape in Shape::ALL {
        let database = ready(shape);
        database.run(NEIGHBOURS);
        // The first pass prunes too, the second one does not.
        for _ in 0..2 {
            let around = Surroundings::of_process();
            let target = url::parse(&database.url(), UrlSource::Sandbox, &around).expect("a URL");
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(600);
            let origin =
                healer::start::Origin { target, deadline, stop: StopFlag::default(), settings: Settings::default() };
            let mut start = origin.open().expect("open");
            let done = pass::heal(&mut start, &pass::Request::default()).expect("a pass");
            assert_eq!(done.report.counts.planned, 0);
            // Three more look whether somebody must be told.
            let (taken, most) = (start.session.round_trips(), 2 * CHECKS.len() as u64 + 8 - 3);
            assert!(taken <= most, "{taken} round trips, {most} allowed");
        }
        let whole = Healer::on(&database).run(&["heal", "-vvv"]).exits(0);
        let told: Vec<u64> = whole
            .stderr
            .lines()
            .filter_map(|line| line.split_once(" round trips")?.0.rsplit(' ').next()?.parse().ok())
            .collect();
        assert!(matches!(told[..], [taken] if taken <= 2 * CHECKS.len() as u64 + 8), "{told:?}");
    }
}

#[test]
fn the_report_tells_the_state_of_each_check_and_how_long_posts_stayed_stuck() {
    let database = ready(Shape::Minimal);
    database.run(&stuck(3));
    database.run("SELECT healer.report_browser(12, 0, 1)");
    assert_eq!(healer(&database, &["report"]).code, 0, "no pass was ever run: nothing is too old");
    assert_eq!(healer(&database, &["report", "--max-age", "30m"]).code, 4, "one was asked for");
    healer(&database, &["heal"]);
    let report = healer(&database, &["report", "health", "--format", "json"]);
    assert_eq!(report.code, 0, "{}", report.errors);
    let report = report.json();
    let checks = report["checks"].as_array().expect("checks");
    assert_eq!(checks.len(), healer::heal::CHECKS.len(), "{report:#}");
    let browser = checks.iter().find(|check| check["name"] == "browser-queue").expect("the check");
    assert_eq!((&browser["status"], &browser["found"]), (&"critical".into(), &12.into()));
    let silent = checks.iter().find(|check| check["name"] == "circuit-breaker").expect("the check");
    assert_eq!((&silent["status"], &silent["found"]), (&"unknown".into(), &Value::Null));
    assert!(
        report["verdict"].as_str().is_some_and(|verdict| verdict.contains("critical at the last run: browser-queue")),
        "{report:#}"
    );
    assert_eq!(report["stuckPerDay"][0]["posts"], 3, "{report:#}");
    let median = report["medianRecoverySeconds"].as_i64().expect("a median");
    assert!((3_600..3_900).contains(&median), "{median}");
    let text = healer(&database, &["report"]).text;
    assert!(text.contains("browser-queue") && text.contains("were settled within 60 min"), "{text}");
    // Just inside and just outside of twice the interval.
    let aged = |minutes: u32| {
        database.run(&format!("UPDATE healer.run SET finished_at = now() - interval '{minutes} minutes'"));
        healer(&database, &["report"]).code
    };
    assert_eq!([aged(29), aged(31)], [0, 4]);
    assert_eq!(healer(&database, &["report", "--max-age", "1h"]).code, 0);
    assert_eq!(healer_as(&database.url(), "[heal]\ninterval = \"1h\"\n", &["report"]).code, 0);
    // A pass that never completed is too old as well.
    database.run("UPDATE healer.run SET exit_code = 1, started_at = now() - interval '31 minutes'");
    assert_eq!(healer(&database, &["report"]).code, 4);
}

/// The lines that the documentation gives for one way of calling.
fn documented(heading: &str) -> String {
    let text = include_str!("../docs/signals.md");
    let section = text.split(&format!("## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
    section.split("```").nth(1).expect("a block").split_once('\n').expect("its language").1.to_owned()
}

fn assert_reported(database: &TestDb) {
    let signals = "SELECT string_agg(name || ' ' || data::text, E'\n' ORDER BY id) FROM healer.signal";
    assert_eq!(
        database.value(signals).as_deref(),
        Some(
            "browser {\"active\": 1, \"queued\": 3, \"capacity\": 1}\n\
             browser_op {\"ok\": null, \"held_ms\": 0, \"operation\": \"metrics_scraper\", \"waited_ms\": 1200}\n\
             breaker {\"name\": \"posting\", \"open\": false, \"failures\": 0}"
        )
    );
    let resolved = "SELECT external_id || ' ' || resolved_by FROM healer.id_recovery WHERE resolved_at IS NOT NULL";
    assert_eq!(database.value(resolved).as_deref(), Some("1734012345678901234 id_recovery"));
    assert_eq!(database.value("SELECT count(*) FROM healer.request WHERE taken_at IS NULL").as_deref(), Some("0"));
}

/// A role that may do nothing but call the functions.
fn caller() -> (TestDb, String) {
    let database = ready(Shape::Minimal);
    let role = format!("app_{}", database.name());
    database.run(&format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA healer TO {role};
         INSERT INTO healer.id_recovery (post) VALUES ('decision 1');
         INSERT INTO healer.request (kind, target, reason, expires_at) VALUES ('release_browser', 'metrics_scraper', 'test', now() + interval '1 hour')"
    ));
    (database, role)
}

#[test]
fn the_documented_sql_reports_everything_by_a_role_with_usage_alone() {
    let (database, role) = caller();
    let psql = Command::new("psql").arg("--version").output().ok().filter(|output| output.status.success());
    let sql = documented("SQL");
    match psql {
        Some(_) => {
            let output = Command::new("psql")
                .args(["-X", "-v", "ON_ERROR_STOP=1", "-d", &database.url_as(&role), "-c", &sql])
                .output()
                .expect("it runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(String::from_utf8_lossy(&output.stdout).contains("metrics_scraper"));
        }
        None => {
            eprintln!("psql is not installed: the lines are run by the driver");
            let mut client = postgres::Client::connect(&database.url_as(&role), postgres::NoTls).expect("a client");
            client.batch_execute(&sql).expect("the lines");
        }
    }
    assert_reported(&database);
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn the_documented_lines_for_node_report_everything() {
    let here = Command::new("node").args(["-e", "require('pg')"]).output();
    if !here.is_ok_and(|output| output.status.success()) {
        eprintln!("node with the package pg is not at hand (NODE_PATH names where packages are): not tried");
        return;
    }
    let (database, role) = caller();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("report.js");
    std::fs::write(&file, documented("Node")).expect("written");
    let output = Command::new("node")
        .arg(&file)
        .env("PGHOST", server().socket_dir())
        .env("PGPORT", server().port().to_string())
        .env("PGUSER", &role)
        .env("PGDATABASE", database.name())
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_reported(&database);
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
