//! `analyze-errors`: every source is read once, what is one thing is one pattern, what recovered is measured, and nothing
//! that a message may hold stops it or is lost from its counts.

use serde_json::{Value, json};

use healer::sandbox::seed;

use crate::support::cluster::{Shape, TestDb, server, variant};
use crate::support::program::{Healer, Ran, fingerprint};

fn healer(database: &TestDb, arguments: &[&str]) -> Ran {
    Healer::on(database, arguments).run()
}

/// A database of a shape with the schema `healer`.
fn ready(shape: Shape) -> TestDb {
    prepared(TestDb::new(shape))
}

fn prepared(database: TestDb) -> TestDb {
    healer(&database, &["init"]).expect(0);
    database
}

/// The document of a dry run.
fn look(database: &TestDb) -> Value {
    healer(database, &["analyze-errors", "--dry-run", "--format", "json"]).expect(0).json()
}

/// The document of a run.
fn analyse(database: &TestDb) -> Value {
    healer(database, &["analyze-errors", "--format", "json"]).expect(0).json()
}

fn patterns(document: &Value) -> Vec<&Value> {
    document["patterns"].as_array().map(|all| all.iter().collect()).unwrap_or_default()
}

/// The pattern whose example holds these words.
fn pattern<'a>(document: &'a Value, words: &str) -> &'a Value {
    let found: Vec<&Value> = patterns(document)
        .into_iter()
        .filter(|pattern| pattern["example"].as_str().is_some_and(|example| example.contains(words)))
        .collect();
    assert_eq!(found.len(), 1, "{words}: {document:#}");
    found[0]
}

fn total(document: &Value) -> i64 {
    document["recovery_metrics"]["totalErrors"].as_i64().unwrap_or_else(|| panic!("{document:#}"))
}

fn check<'a>(document: &'a Value, name: &str) -> &'a Value {
    let all = document["checks"].as_array().expect("checks");
    all.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {document:#}"))
}

/// An error event.
fn event(kind: &str, message: &str, ago: &str) -> String {
    let data = json!({ "component": "bot", "error_type": kind, "error_message": message });
    format!(
        "INSERT INTO public.system_events (event_type, event_data, severity, created_at)
         VALUES ('error_{kind}', '{}', 'error', now() - interval '{ago}');",
        data.to_string().replace('\'', "''")
    )
}

/// An error event of a post.
fn event_of(post: &str, message: &str, ago: &str) -> String {
    let data = json!({ "component": "bot", "error_type": "post_failure", "error_message": message, "context": { "decision_id": post } });
    format!(
        "INSERT INTO public.system_events (event_type, event_data, severity, created_at)
         VALUES ('error_post_failure', '{data}', 'error', now() - interval '{ago}');"
    )
}

/// A post in a status, last changed some time ago.
fn post(database: &TestDb, id: &str, status: &str, ago: &str, error: &str, posted: Option<&str>) {
    let table = database.shape().posts_table();
    let posted = posted.map_or_else(|| "NULL".to_owned(), |ago| format!("now() - interval '{ago}'"));
    database.run(&format!(
        "INSERT INTO {table} (decision_id, content, status, tweet_id, created_at, updated_at, posted_at, error_message)
         VALUES ('{id}', 'text', '{status}', CASE WHEN '{status}' = 'posted' THEN '17' END, now() - interval '9 days',
                 now() - interval '{ago}', {posted}, nullif('{error}', ''))"
    ));
}

#[test]
fn an_empty_database_has_no_errors_and_every_figure_is_a_number_or_null() {
    for shape in Shape::ALL {
        let database = TestDb::new(shape);
        let before = fingerprint(&database);
        let document = look(&database);
        assert_eq!(fingerprint(&database), before, "without the schema a dry run works and writes nothing");
        assert_eq!((total(&document), &document["system_health"]), (0, &json!(100)));
        let database = prepared(database);
        let ran = healer(&database, &["analyze-errors"]).expect(0);
        assert!(ran.stdout.contains("no errors in 24h"), "{}", ran.stdout);
        let document = analyse(&database);
        assert_eq!(document["recovery_metrics"]["recoveryRate"], Value::Null);
        assert!(!document.to_string().contains("NaN"));
        assert!(patterns(&document).is_empty());
        let quiet = healer(&database, &["analyze-errors", "--quiet", "--fail-on", "warning"]).expect(0);
        assert_eq!(quiet.stdout, "");
    }
}

#[test]
fn the_event_has_the_keys_that_dashboards_read() {
    let database = ready(Shape::Minimal);
    database.run(&event("post_failure", "boom 1", "1 hour"));
    let document = analyse(&database);
    let stored = database.value(
        "SELECT event_data FROM public.system_events WHERE event_type = 'error_analysis_complete'
          AND severity IS NOT NULL",
    );
    let stored: Value = serde_json::from_str(&stored.expect("an event")).expect("JSON");
    for found in [&document, &stored] {
        assert!(found["timestamp"].is_string());
        assert_eq!(
            found["error_frequency"],
            json!([{ "errorKey": "bot:post_failure", "count": 1, "severity": "error" }])
        );
        let metrics = &found["recovery_metrics"];
        assert_eq!((&metrics["totalErrors"], &metrics["recoveredErrors"]), (&json!(1), &json!(0)));
        assert!(metrics.get("recoveryRate").is_some() && metrics.get("averageRecoveryTime").is_some());
        assert!(found["system_health"].is_number());
        for key in ["critical_systems", "top_failures", "recommendations"] {
            assert!(found[key].is_array(), "{key}");
        }
    }
    assert_eq!(
        database
            .value("SELECT last_run_status FROM public.job_heartbeats WHERE job_name = 'error_analysis'")
            .as_deref(),
        Some("success")
    );
    assert_eq!(total(&analyse(&database)), 1, "the event of the run before is no error");
}

#[test]
fn failing_names_and_severities_count_and_reports_alerts_and_healers_own_never_do() {
    for shape in Shape::ALL {
        let database = ready(shape);
        let insert = |kind: &str, severity: &str, data: &str| {
            database.run(&format!(
                "INSERT INTO public.system_events (event_type, event_data, severity, created_at)
                 VALUES ('{kind}', '{data}', {severity}, now() - interval '1 hour')"
            ));
        };
        for kind in [
            "error_healing_cycle_failed",
            "POST_FAILED",
            "posting_consecutive_failures",
            "critical_job_timeout",
            "circuit_breaker_stuck",
            "circuit_breaker_forced_reset",
            "EXECUTOR_RATE_LIMIT_HIT",
            "POSTING_QUEUE_BLOCKED",
        ] {
            insert(kind, "'info'", "{}");
        }
        insert("anything_else", "'critical'", "{}");
        insert("something", "'error'", "{}");
        insert("error_without_severity", "NULL", "{}");
        for (kind, severity, data) in [
            // The underscore of LIKE is any character, and these begin like errors.
            ("error_analysis_complete", "'critical'", "{}"),
            ("error_spike_alert", "'error'", "{}"),
            ("errorless", "'info'", "{}"),
            ("self_healing_report", "'critical'", "{}"),
            ("performance_optimization_report", "'error'", "{}"),
            ("autonomous_optimization", "'critical'", "{}"),
            ("error_healing_cycle_failed", "'error'", r#"{"component": "healer", "error_message": "x"}"#),
            ("POST_SUCCESS", "'info'", "{}"),
            ("POSTING_QUEUE_TICK", "'warning'", "{}"),
        ] {
            insert(kind, severity, data);
        }
        assert_eq!(total(&look(&database)), 11, "{:#}", look(&database)["error_frequency"]);
    }
}

#[test]
fn the_window_is_what_was_asked_for_to_the_second() {
    let database = ready(Shape::Minimal);
    for ago in ["59 minutes", "61 minutes", "23 hours 59 minutes", "24 hours 1 minute"] {
        database.run(&event("post_failure", "boom", ago));
    }
    let of = |since: &str| {
        total(
            &healer(&database, &["analyze-errors", "--dry-run", "--format", "json", "--since", since]).expect(0).json(),
        )
    };
    assert_eq!([of("1h"), of("24h"), of("2d")], [1, 3, 4]);
    for wrong in ["30s", "91d", "soon"] {
        healer(&database, &["analyze-errors", "--since", wrong]).expect(2);
    }
}

#[test]
fn posts_say_why_they_failed_in_a_column_that_the_view_hides_and_in_their_features() {
    for shape in Shape::ALL {
        let database = ready(shape);
        post(&database, "a", "failed", "1 hour", "login page shown: session expired", None);
        post(&database, "b", "failed", "2 hours", "", None);
        let table = shape.posts_table();
        database.run(&format!(
            "UPDATE {table} SET features = '{{\"last_error\": \"the composer did not open\", \"last_attempt\": \"2020-02-30T10:00:00Z\"}}' WHERE decision_id = 'b'"
        ));
        // Innocent: archived just now, and it failed long ago; an attempt of long ago; no text.
        post(&database, "c", "archived", "1 minute", "out of memory", None);
        post(&database, "d", "queued", "1 minute", "out of memory", None);
        database.run(&format!(
            "UPDATE {table} SET features = '{{\"last_attempt\": \"2020-02-28T10:00:00Z\"}}' WHERE decision_id = 'd'"
        ));
        post(&database, "e", "failed", "1 minute", "", None);
        let document = look(&database);
        assert_eq!(total(&document), 2, "{document:#}");
        assert_eq!(pattern(&document, "session expired")["posts"]["examples"], json!(["a"]));
        let other = pattern(&document, "composer");
        assert_eq!((&other["posts"]["examples"], &other["sources"]), (&json!(["b"]), &json!(["posts"])));
        assert_eq!(other["recovery"]["open"], 1);
    }
}

#[test]
fn heartbeats_tell_of_failures_in_both_of_their_shapes_and_healers_own_lines_do_not() {
    let one_row = ready(Shape::Minimal);
    one_row.run(
        "INSERT INTO public.job_heartbeats (job_name, last_success, last_failure, last_run_status, last_error, consecutive_failures)
         VALUES ('scraper', now() - interval '3 hours', now() - interval '1 hour', 'failure', 'page crashed after 3 ms', 2),
                ('plan', now() - interval '1 minute', now() - interval '2 hours', 'success', 'deadlock detected', 0),
                ('learn', NULL, NULL, 'skipped', 'skipped: memory', 0), ('fine', now(), NULL, 'success', NULL, 0),
                ('self_healing', NULL, now(), 'failure', 'healer could not', 1)",
    );
    let document = look(&one_row);
    assert_eq!(total(&document), 2, "{document:#}");
    let crashed = pattern(&document, "page crashed");
    assert_eq!((&crashed["errorKey"], &crashed["recovery"]["open"]), (&json!("scraper:job_failed"), &json!(1)));
    let deadlock = pattern(&document, "deadlock");
    assert_eq!((&deadlock["recovery"]["recovered"], &deadlock["recovery"]["medianMs"]), (&json!(1), &Value::Null));

    let history = prepared(TestDb::edited(&[variant::HEARTBEAT_HISTORY]));
    history.run(
        "INSERT INTO public.job_heartbeats (job_name, status, error_message, created_at)
         SELECT 'scraper', CASE WHEN n % 2 = 0 THEN 'success' ELSE 'failed' END, CASE WHEN n % 2 = 1 THEN 'page crashed after ' || n || ' ms' END,
                now() - n * interval '10 minutes' FROM generate_series(1, 11) AS n
         UNION ALL SELECT 'self_healing', 'failure', 'healer could not', now()",
    );
    let document = look(&history);
    assert_eq!(total(&document), 6, "{document:#}");
    let recovery = &pattern(&document, "page crashed")["recovery"];
    // The last run failed, and no success followed.
    assert_eq!(
        (&recovery["recovered"], &recovery["open"], &recovery["medianMs"]),
        (&json!(5), &json!(1), &json!(600_000))
    );
    let job = &document["jobs"][0];
    assert_eq!(
        (&job["name"], &job["failures"], &job["episodes"], &job["flapping"]),
        (&json!("scraper"), &json!(6), &json!(5), &json!(true))
    );
}

#[test]
fn attempts_that_failed_count_and_others_do_not() {
    let database = ready(Shape::Full);
    database.run(
        "INSERT INTO public.post_attempts (decision_id, status, posting_success, error_message, created_at)
         VALUES ('a', 'FAILED', false, 'the composer did not open', now() - interval '1 hour'),
                ('b', 'USED', false, 'the composer did not open', now() - interval '2 hours'),
                ('c', 'USED', true, NULL, now() - interval '1 hour'), ('d', 'APPROVED', NULL, NULL, now() - interval '1 hour');
         INSERT INTO public.posting_attempts (decision_id, status, error_message, created_at)
         VALUES ('e', 'failed', 'deadlock detected', now() - interval '1 hour'), ('f', 'success', NULL, now()), ('g', 'attempting', NULL, now())",
    );
    let document = look(&database);
    assert_eq!(total(&document), 3, "{document:#}");
    assert_eq!(pattern(&document, "composer")["count"], 2);
    assert_eq!(pattern(&document, "deadlock")["sources"], json!(["posting_attempts"]));
}

#[test]
fn a_failure_that_four_sources_tell_counts_once_and_another_an_hour_later_counts_again() {
    let database = ready(Shape::Full);
    let text = "HTTP 429: rate limit exceeded, retry after 900 s";
    post(&database, "a", "failed", "59 minutes", text, None);
    database.run(&format!(
        "{} {}
         INSERT INTO public.post_attempts (decision_id, status, posting_success, error_message, created_at)
         VALUES ('a', 'FAILED', false, '{text}', now() - interval '61 minutes');
         INSERT INTO public.posting_attempts (decision_id, status, error_message, created_at)
         VALUES ('a', 'failed', '{text}', now() - interval '60 minutes 30 seconds')",
        event_of("a", "HTTP 429: rate limit exceeded, retry after 17 s", "1 hour"),
        event_of("a", text, "2 hours"),
    ));
    let document = look(&database);
    assert_eq!((total(&document), &document["duplicates_merged"]), (2, &json!(3)), "{document:#}");
    let found = pattern(&document, "HTTP 429");
    assert_eq!(found["sources"], json!(["system_events", "posting_attempts", "post_attempts", "posts"]));
    assert_eq!((&found["errorKey"], &found["posts"]["count"]), (&json!("bot:post_failure"), &json!(1)));
}

#[test]
fn wordings_of_one_time_out_are_one_pattern_and_two_severities_are_two() {
    let database = ready(Shape::Minimal);
    let mut sql = String::new();
    for n in 1..=31 {
        let text = match n % 4 {
            0 => format!("Timeout {}ms exceeded waiting for selector 'div{n}'", n * 1000),
            1 => format!("timeout of {n}.5 seconds exceeded while waiting for selector \"#post{n}\""),
            2 => format!("Timed out after {n}s waiting for selector 'a.b{n}'"),
            _ => format!("Time out after 0x{n:04x} waiting for selector '[x={n}]'"),
        };
        sql.push_str(&event("browser", &text, &format!("{n} minutes")));
    }
    for severity in ["info", "critical"] {
        sql.push_str(
            &event("two", "lost 3 posts", "1 hour").replace("'error', now()", &format!("'{severity}', now()")),
        );
    }
    database.run(&sql);
    let document = look(&database);
    let counts: Vec<_> =
        patterns(&document).iter().map(|pattern| pattern["count"].as_i64().expect("a count")).collect();
    assert_eq!(counts, [31, 1, 1], "{document:#}");
}

/// Everything that is stored but the times of the analysis.
const STORED: &str = "SELECT md5(string_agg(concat_ws('|', p.id, p.key, p.fingerprints, p.first_seen, p.last_seen, p.standing, c.hours), E'\\n' ORDER BY p.id))
    FROM healer.error_pattern p
    CROSS JOIN LATERAL (SELECT string_agg(concat(c.hour, '=', c.errors), ',' ORDER BY c.hour) AS hours FROM healer.error_count c WHERE c.pattern = p.id) c";

#[test]
fn running_twice_gives_the_same_fingerprints_and_counts_nothing_twice() {
    let database = ready(Shape::Minimal);
    for n in 0..30 {
        database.run(&event(
            "post_failure",
            &format!("post {n} failed after {n} ms"),
            &format!("{} minutes", 5 + n * 20),
        ));
    }
    database.run(&event("other", "the queue is full", "90 minutes"));
    let first = analyse(&database);
    let stored = database.value(STORED);
    let second = analyse(&database);
    assert_eq!(database.value(STORED), stored);
    assert_eq!(database.value("SELECT sum(errors) FROM healer.error_count").as_deref(), Some("31"));
    let keys = |document: &Value| -> Vec<Value> {
        patterns(document)
            .iter()
            .map(|pattern| json!([pattern["key"], pattern["count"], pattern["standing"]]))
            .collect()
    };
    assert_eq!(keys(&first), keys(&second));
    assert_eq!(first["patterns"][0]["standing"], "new");
    // A window of another length counts the same hours, and none of them again.
    healer(&database, &["analyze-errors", "--since", "3h"]).expect(0);
    healer(&database, &["analyze-errors", "--since", "7d"]).expect(0);
    assert_eq!(database.value("SELECT sum(errors) FROM healer.error_count").as_deref(), Some("31"));
}

#[test]
fn a_dry_run_writes_nothing_and_says_what_the_run_says() {
    let database = ready(Shape::Full);
    post(&database, "a", "failed", "1 hour", "deadlock detected", None);
    database.run(&event("post_failure", "boom 17", "1 hour"));
    let before = fingerprint(&database);
    let dry = look(&database);
    assert_eq!(fingerprint(&database), before);
    let wet = analyse(&database);
    for key in ["error_frequency", "recovery_metrics", "system_health", "patterns", "recommendations"] {
        assert_eq!(dry[key], wet[key], "{key}");
    }
}

#[test]
fn a_pattern_is_new_then_known_then_gone_and_regressed_when_it_comes_back() {
    let database = ready(Shape::Minimal);
    let old = |ago: &str| {
        (0..20).map(|n| event("post_failure", &format!("boom {n}"), &format!("{ago} {n} minutes"))).collect::<String>()
    };
    database.run(&old("1 hour"));
    assert_eq!(pattern(&analyse(&database), "boom")["standing"], "new");
    let age = |days: u32| {
        let sql = [
            ("public.system_events", "created_at"),
            ("healer.error_count", "hour"),
            ("healer.error_pattern", "first_seen"),
            ("healer.error_pattern", "last_seen"),
        ]
        .map(|(table, column)| format!("UPDATE {table} SET {column} = {column} - interval '{days} days';"))
        .concat();
        database.run(&sql);
    };
    age(1);
    database.run(&event("post_failure", "boom 99", "1 hour"));
    assert_eq!(pattern(&analyse(&database), "boom")["standing"], "known");
    // The events themselves may be gone: what is stored knows.
    database.run("DELETE FROM public.system_events");
    age(5);
    let silent = analyse(&database);
    assert_eq!((total(&silent), &pattern(&silent, "boom")["standing"]), (0, &json!("gone")));
    assert_eq!(database.value("SELECT standing FROM healer.error_pattern").as_deref(), Some("gone"));
    database.run(&event("post_failure", "boom 4", "1 minute"));
    let document = analyse(&database);
    assert_eq!(
        (&pattern(&document, "boom")["standing"], &pattern(&document, "boom")["total"]),
        (&json!("regressed"), &json!(21))
    );
    assert_eq!(database.value("SELECT count(*) FROM healer.error_pattern").as_deref(), Some("1"));
    assert_eq!(check(&document, "error-patterns")["status"], "warning");
}

#[test]
fn what_an_older_version_stored_is_known_by_its_example() {
    let database = ready(Shape::Minimal);
    let events = |ago: &str| event("post_failure", "post 17 failed for user=jane@example.org after 3 ms", ago);
    database.run(&events("30 hours"));
    database.run(&events("1 hour"));
    analyse(&database);
    database.run(
        "UPDATE healer.error_pattern SET version = 0, key = 'other', fingerprints = '[]';
         DELETE FROM public.system_events WHERE created_at < now() - interval '1 day'",
    );
    let document = analyse(&database);
    assert_eq!(pattern(&document, "post 17")["standing"], "known");
    assert_eq!(
        database.value("SELECT count(*) || ' ' || max(id) || ' ' || max(version) || ' ' || bool_and(key <> 'other') FROM healer.error_pattern").as_deref(),
        Some("1 1 1 true")
    );
}

#[test]
fn patterns_that_turn_out_to_be_one_are_joined_with_their_counts_and_stay_known() {
    let database = ready(Shape::Minimal);
    let login = |name: &str, ago: &str| event("login", &format!("login of user {name} failed again"), ago);
    database.run(&["root", "guest", "test"].map(|name| login(name, "40 hours")).concat());
    let first = analyse(&database);
    assert_eq!(database.value("SELECT count(*) FROM healer.error_pattern").as_deref(), Some("3"), "{first:#}");
    database.run(&login("jane", "1 hour"));
    let document = analyse(&database);
    let found = pattern(&document, "login of user");
    assert_eq!((&found["standing"], &found["template"]), (&json!("known"), &json!("login of user <*> failed again")));
    assert_eq!(database.value("SELECT count(*) FROM healer.error_pattern").as_deref(), Some("1"));
    assert_eq!(database.value("SELECT sum(errors) FROM healer.error_count").as_deref(), Some("4"));
    // The key is the smallest of its fingerprints, whatever the order in which they came.
    assert_eq!(
        database.value("SELECT key = (SELECT min(f ->> 'id') FROM jsonb_array_elements(fingerprints) f) FROM healer.error_pattern").as_deref(),
        Some("true")
    );
}

#[test]
fn recovery_is_measured_from_what_happened_after() {
    let database = ready(Shape::Full);
    post(&database, "sent", "posted", "30 minutes", "", Some("30 minutes"));
    post(&database, "open", "queued", "30 minutes", "", None);
    database.run(&format!(
        "{}{}{}
         INSERT INTO public.job_heartbeats (job_name, last_success, last_run_status) VALUES ('scraper', now() - interval '10 minutes', 'success');
         INSERT INTO healer.job_run (job, status, at, error, source)
         VALUES ('scraper', 'failure', now() - interval '70 minutes', 'page crashed', 'trigger'),
                ('scraper', 'success', now() - interval '50 minutes', NULL, 'trigger');
         INSERT INTO healer.signal (name, data, reported_at)
         VALUES ('breaker', '{{\"open\": true}}', now() - interval '3 hours'), ('breaker', '{{\"open\": false}}', now() - interval '2 hours');
         INSERT INTO public.system_events (event_type, event_data, severity, created_at)
         VALUES ('POSTING_QUEUE_BLOCKED', '{{\"reason\": \"circuit_breaker_open\"}}', 'warning', now() - interval '150 minutes'),
                ('error_told', '{{\"error_message\": \"told itself\", \"recovered\": true, \"recovery_time_ms\": 1500}}', 'error', now() - interval '5 hours')",
        event_of("sent", "the first try broke", "90 minutes"),
        event_of("open", "the other one burst", "90 minutes"),
        event_of("unknown", "nobody knows this post", "90 minutes"),
    ));
    let document = look(&database);
    let of = |words: &str| {
        let recovery = &pattern(&document, words)["recovery"];
        (
            recovery["recovered"].clone(),
            recovery["open"].clone(),
            recovery["unmeasured"].clone(),
            recovery["medianMs"].clone(),
        )
    };
    let minutes = |minutes: i64| json!(minutes * 60_000);
    let near = |found: &Value, expected: &Value| {
        (found.as_i64().expect("a time") - expected.as_i64().expect("a time")).abs() < 2_000
    };
    let (recovered, open, _, median) = of("first try");
    assert!((recovered, open) == (json!(1), json!(0)) && near(&median, &minutes(60)), "{median}");
    assert_eq!(of("other one"), (json!(0), json!(1), json!(0), Value::Null));
    assert_eq!(of("nobody knows"), (json!(0), json!(0), json!(1), Value::Null));
    let (recovered, _, _, median) = of("page crashed");
    assert!(recovered == json!(1) && near(&median, &minutes(20)), "{median}");
    let (recovered, _, _, median) = of("circuit_breaker_open");
    assert!(recovered == json!(1) && near(&median, &minutes(30)), "{median}");
    assert_eq!(of("told itself"), (json!(1), json!(0), json!(0), json!(1_500)));
    let metrics = &document["recovery_metrics"];
    assert_eq!(
        (
            &metrics["recoveredErrors"],
            &metrics["openErrors"],
            &metrics["unmeasuredErrors"],
            &metrics["recoveryRate"],
            &metrics["timedRecoveries"]
        ),
        (&json!(4), &json!(1), &json!(1), &json!(0.8), &json!(4))
    );
    assert_eq!(check(&document, "error-recovery")["status"], "ok", "80 % is not below 80 %");
}

#[test]
fn ten_of_one_key_are_well_and_eleven_call_for_action() {
    let database = ready(Shape::Minimal);
    for n in 0..10 {
        database.run(&event("post_failure", "boom", &format!("{n} hours 1 minute")));
    }
    assert_eq!(check(&look(&database), "error-frequency")["status"], "ok");
    database.run(&event("post_failure", "boom", "11 hours"));
    let found = look(&database);
    assert_eq!(check(&found, "error-frequency")["status"], "warning");
    assert!(
        check(&found, "error-frequency")["summary"].as_str().is_some_and(|words| words.contains("bot:post_failure"))
    );
}

#[test]
fn what_messages_may_hold_neither_stops_it_nor_is_lost() {
    let odd: Vec<String> = vec![
        String::new(),
        "x".repeat(1_000_000),
        "word ".repeat(200_000),
        "\u{1}\u{2}\u{7f}\u{fffd}\u{202e}\u{feff}".into(),
        "操作超时 30000 毫秒".into(),
        "انتهت المهلة".into(),
        "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>x</body></html>".into(),
        r#"{"error":{"message":"{\"error\":\"{\\\"message\\\":\\\"deep 5\\\"}\"}"}}"#.into(),
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[".into(),
        "'; DROP TABLE system_events; --".into(),
        "a|b\nc\td \\u0000 \\ud800".into(),
    ];
    let database = ready(Shape::Minimal);
    for message in &odd {
        database.run(&event("odd", message, "1 hour"));
    }
    // No JSON, no object, and nothing at all.
    database.run(
        r#"INSERT INTO public.system_events (event_type, event_data, severity, created_at)
           SELECT 'error_bare', data::jsonb, 'error', now() - interval '2 hours'
             FROM unnest(ARRAY[NULL, 'null', '[]', '[{"error": 1}]', '"a text"', '17', '{}', '{"context": "flat", "metadata": [1]}']) AS data;
           INSERT INTO public.system_events (event_type, event_data, severity, created_at) VALUES ('error_untimed', '{}', 'error', NULL), ('error_ahead', '{}', 'error', now() + interval '1 day'), ('error_never', '{}', 'error', '-infinity'), ('error_ever', '{}', 'error', 'infinity')"#,
    );
    let document = analyse(&database);
    let all = odd.len() + 8;
    assert_eq!(total(&document), i64::try_from(all).expect("few"));
    let described: i64 = patterns(&document).iter().filter_map(|pattern| pattern["count"].as_i64()).sum();
    assert_eq!(described, total(&document));
    assert!(document["notes"].to_string().contains("1 error events have no time"), "{}", document["notes"]);
    for pattern in patterns(&document) {
        let shown = pattern["example"].as_str().expect("an example");
        assert!(shown.chars().count() <= 501 && !shown.contains('\u{202e}'), "{shown}");
    }
    assert_eq!(total(&analyse(&database)), total(&document));
    healer(&database, &["analyze-errors"]).expect(0);
}

#[test]
fn a_json_column_may_hold_what_no_text_holds() {
    let database = TestDb::edited(&[
        variant::EVENT_METADATA,
        "ALTER TABLE public.system_events ALTER metadata TYPE json USING metadata::json",
    ]);
    let database = prepared(database);
    for (number, data) in [
        r#"{"component": "bot", "error_type": "odd", "error_message": "nul \u0000 here"}"#,
        r#"{"component": "bot", "error_type": "odd", "error_message": "half \ud800 here"}"#,
        r#"{"component": "bot", "error_type": "odd", "error_message": "\ud83d\ude00 smiles"}"#,
        r#"{"component": "bot", "error_type": "odd", "error_message": "back \\u0000 slash"}"#,
        r#"{"component": "bot", "error_type": "odd", "error_message": "big", "n": 1e99999}"#,
        r#"{"a": 1, "a": 2, "error_message": "twice"}"#,
    ]
    .iter()
    .enumerate()
    {
        database.run(&format!(
            "INSERT INTO public.system_events (event_type, metadata, severity, created_at) VALUES ('error_odd', '{data}', 'error', now() - interval '{number} minutes 1 second')"
        ));
    }
    let document = analyse(&database);
    assert_eq!(total(&document), 6, "{document:#}");
    assert_eq!(pattern(&document, "half")["errorKey"], "bot:odd");
    assert_eq!(total(&analyse(&database)), 6);
}

#[test]
fn more_distinct_messages_than_are_described_are_all_counted() {
    let database = ready(Shape::Minimal);
    database.run(
        "INSERT INTO public.system_events (event_type, event_data, severity, created_at)
         SELECT 'error_storm', jsonb_build_object('component', translate(md5('c' || n), '0123456789', 'ghijklmnop'), 'error_type', 'storm', 'error_message', 'boom'),
                'error', now() - n * interval '1 second' FROM generate_series(1, 1500) AS n",
    );
    let document = analyse(&database);
    assert_eq!(
        (total(&document), &document["patterns_in_window"], &document["undescribed_errors"]),
        (1_500, &json!(1_500), &json!(500))
    );
    assert_eq!((document["patterns"].as_array().map(Vec::len), &document["truncated"]), (Some(100), &json!(true)));
    assert_eq!(document["error_frequency"].as_array().map(Vec::len), Some(100));
    assert_eq!(database.value("SELECT count(*) FROM healer.error_pattern").as_deref(), Some("1000"));
}

#[test]
fn no_secret_reaches_the_output_or_what_is_stored() {
    let database = ready(Shape::Full);
    let secrets = ["hunter2secret", "sk-proj-abcdefghijklmnop1234", "jane.doe@example.org", "swordfish"];
    database.run(&event("db", "could not connect to postgres://bot:hunter2secret@db/x", "1 hour"));
    database.run(&event("api", "key sk-proj-abcdefghijklmnop1234 of jane.doe@example.org rejected", "1 hour"));
    database.run(&event("login", "login failed password: swordfish", "1 hour"));
    database.run(&event("long", &format!("{} postgres://bot:hunter2secret@db/x", "a ".repeat(505)), "1 hour"));
    let ran = healer(&database, &["analyze-errors", "-vvv"]).expect(0);
    let document = healer(&database, &["analyze-errors", "--format", "json"]).expect(0);
    let stored = database.value("SELECT string_agg(p::text, '') FROM healer.error_pattern p").unwrap_or_default()
        + &database.value("SELECT string_agg(s::text, '') FROM healer.setting s").unwrap_or_default()
        + &database.value("SELECT string_agg(r::text, '') FROM healer.run r").unwrap_or_default()
        + &database
            .value("SELECT string_agg(e.event_data::text, '') FROM public.system_events e WHERE e.component = 'healer'")
            .unwrap_or_default();
    for secret in secrets {
        for shown in [&ran.all(), &document.all(), &stored] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
}

#[test]
fn an_operators_causes_come_first_and_a_broken_one_is_named() {
    let database = ready(Shape::Minimal);
    database.run(&event("flux", "the flux compensator hums", "1 hour"));
    let config = "[[errors.cause]]\nid = 'flux'\ntitle = 'The compensator'\nany = ['flux']\ncause = 'It hums.'\naction = 'Oil it.'\nretry = 'yes'\n";
    let ran =
        Healer::on(&database, &["analyze-errors", "--dry-run", "--format", "json"]).config(config).run().expect(0);
    let document = ran.json();
    assert_eq!(document["patterns"][0]["cause"]["action"], "Oil it.");
    assert_eq!(document["top_failures"][0]["cause"], "It hums.");
    assert!(document["recommendations"].to_string().contains("Oil it."));
    assert_eq!(look(&database)["patterns"][0]["cause"], Value::Null);
    let broken = Healer::on(&database, &["analyze-errors"])
        .config(&config.replace("'flux'\ncause", "'('\ncause").replace("['flux']", "['(']"))
        .run();
    assert_eq!(broken.code, Some(78), "{}", broken.all());
    assert!(broken.stderr.contains("errors.cause, entry 1, has a pattern"), "{}", broken.stderr);
}

#[test]
fn perhaps_posted_is_never_called_safe_to_repeat() {
    let database = ready(Shape::Minimal);
    database.run(&event("post", "Timeout 30000ms exceeded after submit", "1 hour"));
    database.run(&event("post", "403 Forbidden: You already said that", "1 hour"));
    let document = look(&database);
    for words in ["after submit", "already said"] {
        assert_eq!(pattern(&document, words)["cause"]["retry"], "perhaps-posted");
    }
    assert!(document["recommendations"][0].as_str().is_some_and(|line| line.starts_with("2 errors may have posted")));
}

#[test]
fn a_source_that_cannot_be_read_is_unknown_and_the_others_are_read() {
    let database = ready(Shape::Full);
    post(&database, "a", "failed", "1 hour", "deadlock detected", None);
    database.run(&format!(
        "{} INSERT INTO public.posting_attempts (decision_id, status, error_message) VALUES ('b', 'failed', 'hidden');
         CREATE ROLE errors_reader LOGIN;
         GRANT USAGE ON SCHEMA public TO errors_reader;
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO errors_reader;
         ALTER TABLE public.posting_attempts ENABLE ROW LEVEL SECURITY;
         REVOKE SELECT ON public.post_attempts FROM errors_reader",
        event("post_failure", "boom", "1 hour")
    ));
    let ran = Healer::at(&database.url_as("errors_reader"), &["analyze-errors", "--dry-run", "--format", "json"]).run();
    database.run("DROP OWNED BY errors_reader; DROP ROLE errors_reader");
    assert_eq!(ran.code, Some(77), "{}", ran.all());
    let document = ran.json();
    assert_eq!(total(&document), 2, "{document:#}");
    let sources = check(&document, "error-sources");
    assert_eq!((&sources["status"], &sources["found"]), (&json!("unknown"), &Value::Null));
    let details = sources["details"].to_string();
    assert!(
        details.contains("posting_attempts: row-level security") && details.contains("post_attempts: role"),
        "{details}"
    );
}

#[test]
fn without_any_source_there_is_no_health_and_no_figure() {
    let database = TestDb::edited(&[
        "DROP TABLE public.system_events, public.job_heartbeats",
        "ALTER TABLE public.content_metadata DROP error_message, DROP features",
    ]);
    let document = look(&database);
    assert_eq!(document["system_health"], Value::Null);
    assert_eq!(document["recovery_metrics"]["totalErrors"], Value::Null);
    for name in ["error-sources", "error-patterns", "error-frequency", "error-recovery", "error-health"] {
        assert_eq!(check(&document, name)["status"], "unknown", "{name}");
    }
    let ran = healer(&database, &["analyze-errors", "--dry-run"]).expect(0);
    assert!(ran.stdout.contains("no data"), "{}", ran.stdout);
}

#[test]
fn other_shapes_of_the_tables_are_read() {
    for edits in [
        vec![variant::UUID_ID],
        vec![variant::BIGINT_ID],
        vec![variant::NAIVE_TIMES, "ALTER TABLE public.system_events ALTER created_at DROP DEFAULT, ALTER created_at TYPE timestamp USING created_at AT TIME ZONE 'UTC'"],
        vec![variant::ENUM_STATUS],
        vec![variant::PARTITIONED],
        vec!["CREATE TYPE public.gravity AS ENUM ('info', 'warning', 'error', 'critical');
              ALTER TABLE public.system_events DROP CONSTRAINT system_events_severity_check, ALTER severity TYPE public.gravity USING severity::public.gravity"],
    ] {
        let id = if edits[0] == variant::UUID_ID { "550e8400-e29b-41d4-a716-446655440000" } else { "17" };
        let database = prepared(TestDb::edited(&edits));
        database.run(&format!(
            "SET TimeZone = 'UTC'; {} {}
             INSERT INTO public.content_metadata (decision_id, content, status, created_at, updated_at, error_message)
             VALUES ('{id}', 'x', 'failed', now() - interval '2 hours', now() - interval '1 hour', 'deadlock detected')",
            event_of(id, "the first try broke", "90 minutes"),
            event_of("no such id", "the first try broke", "90 minutes"),
        ));
        let document = analyse(&database);
        assert_eq!(total(&document), 3, "{edits:?}: {document:#}");
        let recovery = &pattern(&document, "first try")["recovery"];
        assert_eq!((&recovery["open"], &recovery["unmeasured"]), (&json!(1), &json!(1)), "{edits:?}");
    }
}

#[test]
fn what_happened_before_a_new_pattern_stands_beside_it() {
    let database = ready(Shape::Minimal);
    let marker = |kind: &str, ago: &str| {
        format!(
            "INSERT INTO public.system_events (event_type, event_data, severity, created_at) VALUES ('{kind}', '{{\"version\": \"4.31\"}}', 'info', now() - interval '{ago}');"
        )
    };
    database.run(&format!(
        "{}{}{}{}
         INSERT INTO healer.run (pass, command, version, status, started_at, finished_at, counts)
         VALUES ('heal', 'heal', 'x', 'ok', now() - interval '71 minutes', now() - interval '70 minutes', '{{\"applied\": 3}}'),
                ('heal', 'heal', 'x', 'ok', now() - interval '66 minutes', now() - interval '65 minutes', '{{\"applied\": 0}}');
         INSERT INTO healer.action (run_id, check_name, type, action, relation, target, reason, applied_at)
         VALUES (1, 'x', 'x', 'x', 'healer.setting', 'posting.pace', 'x', now() - interval '80 minutes');
         SELECT healer.report_breaker('posting', true, 15);
         UPDATE healer.signal SET reported_at = now() - interval '90 minutes'",
        event("post_failure", "boom", "1 hour"),
        marker("DEPLOYMENT", "100 minutes"),
        marker("DEPLOYMENT", "59 minutes"),
        marker("DEPLOYMENT", "200 minutes"),
    ));
    let document = look(&database);
    let kinds: Vec<_> = pattern(&document, "boom")["before"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|beside| beside["kind"].clone())
        .collect();
    assert_eq!(kinds, ["healing", "setting", "deploy"], "{document:#}");
    database.run("DELETE FROM healer.run; DELETE FROM healer.action");
    let document = look(&database);
    let kinds: Vec<_> = pattern(&document, "boom")["before"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|beside| beside["kind"].clone())
        .collect();
    assert_eq!(kinds, ["breaker_opened", "deploy"]);
}

/// A database that is filled like the sandbox.
fn sick(name: &str) -> String {
    server().client("postgres").expect("a client").batch_execute(&format!("CREATE DATABASE {name}")).expect("created");
    let mut client = server().client(name).expect("a client");
    seed::fill(&mut client).unwrap_or_else(|error| panic!("{error}"));
    let url = server().url(name);
    Healer::at(&url, &["init"]).run().expect(0);
    seed::signals(&mut client).unwrap_or_else(|error| panic!("{error}"));
    url
}

#[test]
fn the_story_of_the_sandbox_reads_as_that_story() {
    let url = sick("sick_of_errors");
    let document = Healer::at(&url, &["analyze-errors", "--format", "json"]).run().expect(0).json();
    // New since the deployment, and with it.
    let fresh = pattern(&document, "tweetTextarea");
    assert_eq!((&fresh["standing"], &fresh["count"]), (&json!("new"), &json!(74)));
    assert!(fresh["before"][0]["title"].as_str().is_some_and(|title| title.contains("4.31.0")), "{fresh:#}");
    // The storm of yesterday, and the breaker that it opened.
    let storms: Vec<&Value> = patterns(&document)
        .into_iter()
        .filter(|pattern| {
            pattern["errorKey"] == "rateLimiter:rate_limit_exception" && pattern["severity"] == "critical"
        })
        .collect();
    assert_eq!(
        (storms.len(), &storms[0]["standing"], &storms[0]["trend"]["countBefore"]),
        (1, &json!("gone"), &json!(164))
    );
    let kinds: Vec<_> =
        storms[0]["followed"].as_array().expect("a list").iter().map(|beside| beside["kind"].clone()).collect();
    assert_eq!(kinds, ["breaker_opened", "breaker_closed"]);
    assert_eq!(storms[0]["cause"]["id"], "rate-limit");
    // The one that went away, and with what.
    let away = pattern(&document, "upload of image");
    assert_eq!(away["standing"], "gone");
    assert!(away["ended"][0]["title"].as_str().is_some_and(|title| title.contains("4.30.2")), "{away:#}");
    // The job that flaps.
    let flapping: Vec<&Value> =
        document["jobs"].as_array().expect("jobs").iter().filter(|job| job["flapping"] == true).collect();
    assert_eq!((flapping.len(), &flapping[0]["name"]), (1, &json!("peer_scraper")));
    let median = flapping[0]["recovery"]["medianMs"].as_i64().expect("a median");
    assert!((1_790_000..1_830_000).contains(&median), "half an hour: {median}");
    // Innocent neighbours.
    for words in ["120 errors in 10 min", "analysis complete"] {
        assert!(!document.to_string().contains(words), "{words}");
    }
    let table = Healer::at(&url, &["analyze-errors"]).run().expect(0).stdout;
    for words in
        ["DEPLOYMENT 4.31.0", "the circuit breaker opened", "DEPLOYMENT 4.30.2", "peer_scraper flaps", "no more:"]
    {
        assert!(table.contains(words), "{words}: {table}");
    }
    // Over two days the storm is in the window, and it is the burst that opened the breaker.
    let longer = Healer::at(&url, &["analyze-errors", "--since", "2d", "--format", "json"]).run().expect(0).json();
    let storms: Vec<&Value> = patterns(&longer)
        .into_iter()
        .filter(|pattern| {
            pattern["errorKey"] == "rateLimiter:rate_limit_exception" && pattern["severity"] == "critical"
        })
        .collect();
    assert_eq!(
        (&storms[0]["standing"], &storms[0]["count"], &storms[0]["followed"][0]["kind"]),
        (&json!("new"), &json!(164), &json!("breaker_opened"))
    );
    assert_eq!(check(&longer, "error-patterns")["status"], "critical");
}

#[test]
fn what_was_kept_for_long_enough_is_removed_and_the_rest_stays() {
    let database = ready(Shape::Minimal);
    database.run(&event("post_failure", "boom", "1 hour"));
    analyse(&database);
    database.run(
        "INSERT INTO healer.error_pattern (key, version, error_key, severity, template, example, fingerprints, first_seen, last_seen, standing, view)
         SELECT 'old ' || days, 1, 'x:y', 'error', 't', 'e', '[]', now() - interval '200 days', now() - days * interval '1 day', 'gone', '{}' FROM unnest(ARRAY[89, 91]) AS days;
         INSERT INTO healer.error_count (pattern, hour, errors) SELECT p.id, date_trunc('hour', p.last_seen), 3 FROM healer.error_pattern p WHERE p.key LIKE 'old%'",
    );
    analyse(&database);
    assert_eq!(
        database.value("SELECT string_agg(key, ',') FROM healer.error_pattern WHERE key LIKE 'old%'").as_deref(),
        Some("old 89")
    );
    assert_eq!(database.value("SELECT count(*) FROM healer.error_count").as_deref(), Some("2"));
}
