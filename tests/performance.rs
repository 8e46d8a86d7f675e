//! `optimize performance`: what it measures on each shape of the database, what it does, and what it never does.

use serde_json::{Value, json};

use crate::support::binary::{Healer, Run};
use crate::support::cluster::{Shape, TestDb, variant};
use crate::support::state::{await_true, hashes, written};

/// The fixed keys of the event, by their groups.
const FIXED: [(&str, &[&str]); 4] = [
    ("databaseQueries", &["slowQueries", "avgQueryTime", "totalQueries"]),
    ("jobExecution", &["slowJobs", "failedJobs", "totalJobs"]),
    ("resourceUsage", &["browserQueueLength", "activeBrowserJobs", "memoryPressure"]),
    ("postingEfficiency", &["successRate", "avgPostTime", "rateLimitHits"]),
];

fn optimize(healer: &Healer, args: &[&str]) -> Run {
    let mut all = vec!["optimize", "performance"];
    all.extend_from_slice(args);
    healer.run(&all)
}

/// A database of a shape with the schema `healer`, and the program on it.
fn ready(shape: Shape) -> (TestDb, Healer) {
    let database = TestDb::new(shape);
    let healer = Healer::on(&database).init();
    (database, healer)
}

/// Runs of a job among healer's own notes: how many, how long ago the newest, one every so often, and how long each took.
fn noted(job: &str, runs: u32, newest: &str, every: &str, ms: &str) -> String {
    format!(
        "INSERT INTO healer.job_run (job, status, at, duration_ms, source)
         SELECT '{job}', 'success', now() - interval '{newest}' - n * interval '{every}', {ms}, 'trigger'
           FROM generate_series(0, {runs} - 1) AS n"
    )
}

fn slow_jobs(run: &Run) -> Vec<String> {
    let jobs = run.json["metrics"]["jobExecution"]["slowJobs"].as_array().cloned().unwrap_or_default();
    jobs.iter().map(|job| job["name"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn an_empty_database_has_no_data_and_no_figure_that_was_not_measured() {
    for shape in Shape::ALL {
        let database = TestDb::new(shape);
        for run in [
            optimize(&Healer::on(&database), &["--dry-run"]),
            optimize(&Healer::on(&database).init(), &[]),
            optimize(&Healer::on(&database), &[]),
        ] {
            let run = run.exits(0);
            for (group, keys) in FIXED {
                for key in keys {
                    let value = run.json["metrics"][group].get(*key);
                    assert!(value.is_some(), "{shape:?}: {group}.{key}");
                }
            }
            let metrics = &run.json["metrics"];
            assert_eq!(metrics["postingEfficiency"]["successRate"], Value::Null, "{shape:?}: nothing of nothing");
            assert_eq!(metrics["postingEfficiency"]["avgPostTime"], Value::Null);
            assert_eq!(metrics["jobExecution"]["slowJobs"], Value::Null);
            assert_eq!(metrics["resourceUsage"]["browserQueueLength"], Value::Null);
            assert_eq!(run.check("jobs")["status"], "unknown");
            assert_eq!(run.check("posting")["status"], "unknown");
            let text = run.json.to_string();
            assert!(!text.contains("NaN") && !text.contains("inf\""), "{text}");
        }
    }
}

#[test]
fn without_a_heartbeat_table_the_jobs_are_unknown_and_all_else_is_told() {
    let database = TestDb::new(Shape::Minimal);
    database.run("DROP TABLE public.job_heartbeats");
    let run = optimize(&Healer::on(&database), &["--dry-run"]).exits(0);
    assert_eq!(run.check("jobs")["status"], "unknown");
    assert!(run.words("jobs").contains("job_heartbeats is missing"), "{}", run.words("jobs"));
    assert_eq!(run.check("resources")["status"], "ok");
}

#[test]
fn jobs_of_either_shape_are_judged_the_same() {
    let runs = |name: &str, ms: i64, n: u32, from: &str| {
        format!(
            "SELECT '{name}', 'success', {ms}, now() - interval '{from}' - n * interval '10 minutes'
               FROM generate_series(1, {n}) AS n"
        )
    };
    let all = [
        runs("steady", 4_000, 1_000, "0 hours"),
        runs("slow", 400_000, 20, "0 hours"),
        runs("slower", 9_000, 100, "2 days"),
        runs("slower", 20_000, 10, "0 hours"),
        runs("one value", 9_000, 1, "0 hours"),
    ]
    .join(" UNION ALL ");
    let history = TestDb::edited(&[variant::HEARTBEAT_HISTORY]);
    history.run(&format!("INSERT INTO public.job_heartbeats (job_name, status, execution_time_ms, created_at) {all}"));
    let (notes, healer) = ready(Shape::Minimal);
    notes.run(&format!(
        "INSERT INTO healer.job_run (job, status, duration_ms, at, source) SELECT q.*, 'trigger' FROM ({all}) q"
    ));
    for run in [optimize(&Healer::on(&history), &["--dry-run"]), optimize(&healer, &["--dry-run"])] {
        let run = run.exits(0);
        assert_eq!(slow_jobs(&run), ["slow", "slower"], "{:#}", run.json["jobs"]);
        assert_eq!(run.json["metrics"]["jobExecution"]["slowJobs"][0]["avgDuration"], 400_000.0);
        let steady = run.json["jobs"].as_array().expect("jobs").iter().find(|job| job["name"] == "steady").expect("it");
        assert_eq!((&steady["week"]["runs"], &steady["week"]["p99"]), (&json!(1_000), &json!(4_000.0)));
    }
}

#[test]
fn what_cannot_be_a_duration_or_lies_ahead_is_set_aside_and_counted() {
    let database = TestDb::edited(&[variant::HEARTBEAT_HISTORY]);
    database.run(
        "INSERT INTO public.job_heartbeats (job_name, status, execution_time_ms, created_at) VALUES
           ('a', 'success', -5, now() - interval '1 hour'), ('a', 'success', NULL, now() - interval '2 hours'),
           ('a', 'success', 9223372036854775807, now() - interval '3 hours'), ('a', 'success', 100, now() - interval '4 hours'),
           ('a', 'success', 900000, now() + interval '1 day'), ('a', NULL, 100, now() - interval '5 hours'),
           ('a', 'running', 900000, now() - interval '1 minute'), ('a', 'failed', 100, 'infinity'),
           ('self_healing', 'success', 9000000, now())",
    );
    let run = optimize(&Healer::on(&database), &["--dry-run"]).exits(0);
    let job = &run.json["jobs"][0];
    assert_eq!((&job["day"]["runs"], &job["day"]["measured"]), (&json!(5), &json!(2)), "{job:#}");
    assert_eq!((&job["day"]["mean"], &job["day"]["max"]), (&json!(100.0), &json!(100.0)));
    assert_eq!(run.json["jobs"].as_array().map(Vec::len), Some(1), "healer's own lines do not count");
    let words = run.words("jobs");
    assert!(words.contains("2 durations are negative") && words.contains("1 runs lie in the future"), "{words}");
    assert_eq!(slow_jobs(&run), [""; 0]);
}

#[test]
fn a_job_that_takes_longer_every_day_is_creeping_and_its_even_neighbour_is_not() {
    let (database, healer) = ready(Shape::Minimal);
    // Ten runs a day; five per cent more each day.
    database.run(&noted(
        "creeping",
        130,
        "5 minutes",
        "144 minutes",
        "(60000 * pow(1.05, 13 - n / 10) + (n % 7) * 900)::bigint",
    ));
    database.run(&noted("even", 130, "5 minutes", "144 minutes", "(60000 + (n % 7) * 900)::bigint"));
    let run = optimize(&healer, &["--dry-run"]).exits(0);
    assert_eq!(slow_jobs(&run), ["creeping"]);
    assert!(run.words("jobs").contains("every day"), "{}", run.words("jobs"));
}

#[test]
fn the_success_rate_is_that_of_finished_posts_and_times_run_from_the_planned_time() {
    let database = TestDb::new(Shape::Minimal);
    let posts = |status: &str, n: u32, columns: &str, values: &str| {
        format!(
            "INSERT INTO public.content_metadata (decision_id, decision_type, content, status, created_at, updated_at{columns})
             SELECT '{status} ' || n, 'single', 'x', '{status}', now() - interval '9 hours', now() - interval '2 hours'{values}
               FROM generate_series(1, {n}) AS n"
        )
    };
    database.run(&posts(
        "posted",
        30,
        ", scheduled_at, posted_at",
        ", now() - interval '130 minutes', now() - interval '2 hours'",
    ));
    database.run(&posts("failed", 8, ", error_message", ", 'HTTP 429: Too Many Requests'"));
    database.run(&posts("failed_permanent", 2, "", ""));
    database.run(&posts("skipped", 50, "", ""));
    database.run(&posts("queued", 3, ", scheduled_at", ", now() - interval '3 hours'"));
    database.run(
        "INSERT INTO public.system_events (event_type, event_data, created_at) VALUES
           ('EXECUTOR_RATE_LIMIT_HIT', '{}', now() - interval '1 hour'), ('error_rate_limit_check_failed', '{}', now()),
           ('error_post_failure', '{\"error_message\": \"got 429\"}', now() - interval '1 hour'),
           ('error_post_failure', '{\"error_message\": \"after 4290 ms\"}', now() - interval '1 hour'),
           ('EXECUTOR_RATE_LIMIT_HIT', '{}', now() - interval '25 hours')",
    );
    let run = optimize(&Healer::on(&database), &["--dry-run"]).exits(0);
    let posting = &run.json["metrics"]["postingEfficiency"];
    assert_eq!((&posting["successRate"], &posting["avgPostTime"]), (&json!(0.75), &json!(600_000.0)));
    assert_eq!(posting["rateLimitHits"], 8, "the posts tell of more than the events");
    let events =
        run.json["posting"]["rateLimits"].as_array().expect("sources").iter().find(|hits| hits["source"] == "events");
    assert_eq!(events.expect("events")["hits"], 2);
    let words = run.words("posting");
    assert!(words.contains("75 % of 40 finished posts"), "{words}");
    assert!(words.contains("3 posts are due and wait"), "{words}");
}

#[test]
fn a_dry_run_writes_nothing_and_a_real_one_only_its_own() {
    for shape in Shape::ALL {
        let (database, healer) = ready(shape);
        let (rows, counts) = (hashes(&database), written(&database));
        optimize(&healer, &["--dry-run"]).exits(0);
        assert_eq!(hashes(&database), rows, "{shape:?}");
        assert_eq!(written(&database), counts, "{shape:?}");
        optimize(&healer, &[]).exits(0);
        let after = hashes(&database);
        for (table, hash) in &rows {
            let own = table.starts_with("healer.")
                || ["public.system_events", "public.job_heartbeats"].contains(&table.as_str());
            assert!(own || after.get(table) == Some(hash), "{shape:?}: {table}");
        }
        assert_eq!(database.value("SELECT count(*) FROM healer.performance_sample").as_deref(), Some("1"));
    }
}

#[test]
fn the_statement_of_the_dashboards_runs_as_it_stands() {
    let (database, healer) = ready(Shape::Full);
    database.run(&noted("slow", 10, "5 minutes", "1 hour", "400000"));
    optimize(&healer, &[]).exits(0);
    let rows = database
        .client()
        .query(
            "SELECT event_data->>'metrics' AS metrics, event_data->>'recommendations' AS recommendations, created_at \
             FROM system_events WHERE event_type = 'performance_optimization_report' ORDER BY created_at DESC LIMIT 5;",
            &[],
        )
        .expect("it runs");
    assert_eq!(rows.len(), 1);
    let metrics: Value = serde_json::from_str(rows[0].get("metrics")).expect("JSON");
    for (group, keys) in FIXED {
        for key in keys {
            assert!(metrics[group].get(*key).is_some(), "{group}.{key}");
        }
    }
    assert_eq!(metrics["jobExecution"]["slowJobs"][0]["name"], "slow");
    let recommendations: Value = serde_json::from_str(rows[0].get("recommendations")).expect("JSON");
    assert!(recommendations[0].as_str().expect("a text").contains("slow"), "{recommendations}");
    let job = "SELECT last_run_status FROM public.job_heartbeats WHERE job_name = 'performance_optimizer'";
    assert_eq!(database.value(job).as_deref(), Some("success"));
}

#[test]
fn a_second_run_has_something_to_compare_with() {
    let (_database, healer) = ready(Shape::Minimal);
    let first = optimize(&healer, &[]).exits(0);
    assert_eq!(first.json["resources"]["cacheHitSinceLastRun"], Value::Null);
    let second = optimize(&healer, &[]).exits(0);
    assert!(second.json["resources"]["secondsSinceLastRun"].as_f64().expect("a span") > 0.0);
}

#[test]
fn a_database_that_takes_no_writes_is_said_and_a_dry_run_works_there() {
    let (database, healer) = ready(Shape::Minimal);
    database.run(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name()));
    optimize(&healer, &["--dry-run"]).exits(0);
    let run = optimize(&healer, &[]).exits(75);
    assert!(run.json["error"]["message"].to_string().contains("read-only"), "{:#}", run.json);
}

#[test]
fn one_at_a_time_and_the_second_says_so() {
    let (database, healer) = ready(Shape::Minimal);
    database.run(
        "UPDATE healer.lease SET token = 'other', holder = 'another host', expires_at = now() + interval '1 hour'
                   WHERE pass = 'optimize-performance'",
    );
    let run = optimize(&healer, &[]).exits(0);
    assert_eq!(run.json["status"], "skipped");
    assert_eq!(database.value("SELECT count(*) FROM healer.performance_sample").as_deref(), Some("0"));
}

fn finding_keys(run: &Run) -> Vec<String> {
    let findings = run.json["findings"].as_array().cloned().unwrap_or_default();
    let mut keys: Vec<String> = findings.iter().map(|f| f["key"].as_str().unwrap_or_default().to_owned()).collect();
    keys.sort();
    keys
}

fn optimization<'a>(run: &'a Run, words: &str) -> &'a Value {
    let all = run.json["optimizations"].as_array().expect("a list");
    all.iter()
        .find(|done| done["description"].as_str().is_some_and(|text| text.contains(words)))
        .unwrap_or_else(|| panic!("{words}: {all:#?}"))
}

/// A table whose rows all changed since nobody ever analysed it, and waits until the server's statistics know.
fn stale(database: &TestDb, table: &str) {
    database.run(&format!(
        "CREATE TABLE public.{table} (id int PRIMARY KEY, kind text) WITH (autovacuum_enabled = false);
         INSERT INTO public.{table} SELECT n, 'k' || n % 7 FROM generate_series(1, 4000) AS n"
    ));
    await_true(
        database,
        &format!(
            "SELECT coalesce(bool_or(n_mod_since_analyze >= 4000), false) FROM pg_stat_user_tables WHERE relname = '{table}'"
        ),
    );
}

const ANALYZED: &str = "SELECT last_analyze IS NOT NULL FROM pg_stat_user_tables WHERE relname = 'stale'";

#[test]
fn stale_statistics_are_gathered_and_the_next_run_shows_the_figure_after() {
    let (database, healer) = ready(Shape::Minimal);
    stale(&database, "stale");
    let dry = optimize(&healer, &["--dry-run"]).exits(0);
    assert_eq!(optimization(&dry, "ANALYZE public.stale")["implemented"], false);
    assert_eq!(database.value(ANALYZED).as_deref(), Some("false"), "a dry run does nothing");

    let run = optimize(&healer, &[]).exits(0);
    let done = optimization(&run, "ANALYZE public.stale");
    assert_eq!(done["implemented"], true, "{done}");
    assert!(done["impact"].as_str().expect("words").contains("\"changedRows\":4000"), "{done}");
    assert_eq!(database.value(ANALYZED).as_deref(), Some("true"));
    let journal =
        "SELECT concat_ws(' ', action, target, before ->> 'changedRows', after ->> 'outcome') FROM healer.action";
    assert_eq!(database.value(journal).as_deref(), Some("analyze_table public.stale 4000 done"));

    let next = optimize(&healer, &[]).exits(0);
    assert!(!finding_keys(&next).iter().any(|key| key.contains("stale")), "{:?}", finding_keys(&next));
    assert_eq!(next.count("planned"), 0);
    let past = &next.json["actionsBefore"][0];
    assert_eq!((&past["before"]["changedRows"], &past["now"]["changedRows"]), (&json!(4_000), &json!(0)), "{past:#}");
    // There is nothing to take back: an ANALYZE is no change of a post.
    healer.run(&["undo", &run.id().to_string()]).exits(1);
}

/// A role of this test alone that owns nothing, may read everything and write healer's own tables.
fn guest(database: &TestDb, name: &str) -> Healer {
    database.run(&format!(
        "CREATE ROLE {name} LOGIN BYPASSRLS; GRANT USAGE ON SCHEMA public, healer TO {name};
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name};
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA healer TO {name};
         GRANT INSERT ON public.system_events TO {name}; GRANT INSERT, UPDATE ON public.job_heartbeats TO {name}"
    ));
    Healer::at(database.url_as(name))
}

fn forget(database: &TestDb, name: &str) {
    database.run(&format!("DROP OWNED BY {name}; DROP ROLE {name}"));
}

#[test]
fn who_does_not_own_a_table_only_proposes() {
    let (database, _) = ready(Shape::Minimal);
    stale(&database, "stale");
    let healer = guest(&database, "performance_guest");
    let run = optimize(&healer, &[]).exits(0);
    let left = optimization(&run, "ANALYZE public.stale");
    assert_eq!(left["implemented"], false);
    assert!(left["reason"].as_str().expect("words").contains("does not own"), "{left}");
    assert_eq!(database.value(ANALYZED).as_deref(), Some("false"));
    assert_eq!(database.value("SELECT count(*) FROM healer.action").as_deref(), Some("0"));
    assert_eq!(run.check("queries")["status"], "unknown");
    forget(&database, "performance_guest");
}

#[test]
fn what_was_left_started_is_settled_and_at_most_so_many_actions_are_done_in_a_run_and_a_day() {
    let (database, healer) = ready(Shape::Minimal);
    database.run(
        "INSERT INTO healer.action (run_id, check_name, type, action, relation, target, before, after, reason)
         VALUES (999, 'hygiene', 'maintenance', 'analyze_table', 'database', 'public.gone', '{}', '{\"outcome\": \"started\"}', 'x')",
    );
    for table in ["stale", "stale_too", "stale_as_well"] {
        stale(&database, table);
    }
    let healer = healer.with_config("[optimize.performance.actions]\nper_run = 1\nper_day = 3\n");
    let run = optimize(&healer, &[]).exits(0);
    let open = "SELECT after ->> 'outcome' FROM healer.action WHERE run_id = 999";
    assert_eq!(database.value(open).as_deref(), Some("not_done"));
    assert!(run.json["notes"].to_string().contains("did not say how it ended"), "{:#}", run.json["notes"]);
    assert_eq!((run.count("applied"), run.count("remaining")), (1, 2), "{:#}", run.json["optimizations"]);
    assert_eq!(optimize(&healer, &[]).exits(0).count("applied"), 1);
    // The one that was settled counts as well: three in a day.
    let third = optimize(&healer, &[]).exits(0);
    assert_eq!((third.count("applied"), third.count("remaining")), (0, 1));
}

#[test]
fn an_invalid_index_is_listed_with_the_repair_and_repaired_where_that_is_switched_on() {
    let (database, healer) = ready(Shape::Minimal);
    database.run(
        "CREATE INDEX broken ON public.content_metadata (generator_name);
         CREATE INDEX twin ON public.content_metadata (tweet_id); CREATE INDEX twin_ccnew ON public.content_metadata (tweet_id);
         UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ('public.broken'::regclass, 'public.twin_ccnew'::regclass)",
    );
    let run = optimize(&healer, &[]).exits(0);
    assert_eq!(finding_keys(&run), ["invalid-index:public.broken", "invalid-index:public.twin_ccnew"]);
    let text = run.json["findings"].to_string();
    assert!(text.contains("REINDEX INDEX CONCURRENTLY public.broken;"), "{text}");
    assert!(text.contains("DROP INDEX CONCURRENTLY public.twin_ccnew;"), "{text}");
    assert_eq!(database.value("SELECT count(*) FROM healer.action").as_deref(), Some("0"), "off by default");

    let healer = healer.with_config("[optimize.performance.actions]\ninvalid_indexes = \"repair\"\n");
    let run = optimize(&healer, &[]).exits(0);
    assert_eq!(run.count("applied"), 2, "{:#}", run.json["optimizations"]);
    assert_eq!(
        database.value("SELECT indisvalid FROM pg_index WHERE indexrelid = 'public.broken'::regclass").as_deref(),
        Some("true")
    );
    assert_eq!(
        database
            .value("SELECT to_regclass('public.twin_ccnew') IS NULL AND to_regclass('public.twin') IS NOT NULL")
            .as_deref(),
        Some("true")
    );
    assert_eq!(finding_keys(&optimize(&healer, &[]).exits(0)), [""; 0]);
}

#[test]
fn dead_rows_are_cleared_away_only_where_that_is_switched_on() {
    let (database, healer) = ready(Shape::Minimal);
    database.run(
        "CREATE TABLE public.dead (id int) WITH (autovacuum_enabled = false);
         INSERT INTO public.dead SELECT n FROM generate_series(1, 20000) AS n",
    );
    database.run("DELETE FROM public.dead WHERE id <= 10000; ANALYZE public.dead");
    await_true(
        &database,
        "SELECT coalesce(bool_or(n_dead_tup >= 10000), false) FROM pg_stat_user_tables WHERE relname = 'dead'",
    );
    let vacuumed = "SELECT last_vacuum IS NOT NULL FROM pg_stat_user_tables WHERE relname = 'dead'";
    let run = optimize(&healer, &[]).exits(0);
    assert!(finding_keys(&run).contains(&"dead-rows:public.dead".to_owned()), "{:?}", finding_keys(&run));
    assert_eq!(database.value(vacuumed).as_deref(), Some("false"));
    let healer = healer.with_config("[optimize.performance.actions]\nvacuum = true\n");
    let run = optimize(&healer, &[]).exits(0);
    assert_eq!(optimization(&run, "VACUUM")["implemented"], true, "{:#}", run.json["optimizations"]);
    assert_eq!(database.value(vacuumed).as_deref(), Some("true"));
}

/// Faults of indexes, keys and sequences beside what looks like one and is none.
const FAULTS: &str = "
    CREATE TABLE public.parent (id int PRIMARY KEY);
    CREATE TABLE public.child (id int PRIMARY KEY, parent_id int REFERENCES public.parent, other_id int REFERENCES public.parent);
    CREATE INDEX child_other ON public.child (other_id);
    CREATE INDEX child_again ON public.child (other_id);
    CREATE INDEX child_partial ON public.child (other_id) WHERE id > 5;
    CREATE UNIQUE INDEX child_unique ON public.child (other_id, parent_id);
    CREATE INDEX child_wide ON public.child (other_id, id, parent_id);
    CREATE SEQUENCE public.nearly_out AS int; SELECT setval('public.nearly_out', 2000000000);
    CREATE SEQUENCE public.round AS int CYCLE; SELECT setval('public.round', 2000000000);
    CREATE TABLE public.narrow (id int GENERATED ALWAYS AS IDENTITY, x int);
    SELECT setval(pg_get_serial_sequence('public.narrow', 'id'), 1700000000);
    CREATE TABLE public.\"odd \"\"name\" (id int PRIMARY KEY, \"parent; DROP\" int REFERENCES public.parent);";

#[test]
fn faults_are_told_with_their_remedy_and_their_innocent_neighbours_are_not() {
    let (database, healer) = ready(Shape::Minimal);
    database.run(FAULTS);
    let run = optimize(&healer, &["--dry-run", "--sql-out", "migration.sql"]).exits(0);
    assert_eq!(
        finding_keys(&run),
        [
            // Both single ones hold the same; the one that stays begins two wider ones.
            "covered-index:public.child_other",
            "duplicate-index:public.child_again",
            "sequence-exhausted:public.narrow_id_seq",
            "sequence-exhausted:public.nearly_out",
            "unindexed-foreign-key:public.\"odd \"\"name\".odd \"name_parent; DROP_fkey",
            "unindexed-foreign-key:public.child.child_parent_id_fkey",
        ]
    );
    for finding in run.json["findings"].as_array().expect("a list") {
        for key in ["level", "title", "detail", "evidence", "remedy"] {
            assert!(!finding[key].is_null(), "{key}: {finding}");
        }
    }
}

#[test]
fn the_migration_runs_as_it_was_written_and_takes_its_findings_away() {
    let (database, healer) = ready(Shape::Minimal);
    database.run(FAULTS);
    stale(&database, "stale");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("migration.sql");
    let path = file.to_string_lossy().into_owned();
    optimize(&healer, &["--dry-run", "--sql-out", &path]).exits(0);
    let text = std::fs::read_to_string(&file).expect("it was written");
    assert!(text.contains("-- evidence: {"), "{text}");
    let mut client = database.client();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with("--")) {
        client.batch_execute(line).unwrap_or_else(|error| panic!("{line}: {error:?}"));
    }
    drop(client);
    let left = finding_keys(&optimize(&healer, &["--dry-run"]).exits(0));
    assert!(left.iter().all(|key| key.starts_with("sequence-exhausted")), "{left:?}");
}

#[test]
fn a_look_up_without_an_index_is_found_by_its_plan_and_is_gone_with_the_index() {
    let (database, healer) = ready(Shape::Full);
    database.run(
        "INSERT INTO public.post_attempts (decision_id, status, created_at) SELECT 'p' || n, 'USED', now() - n * interval '1 minute'
           FROM generate_series(1, 12000) AS n;
         INSERT INTO public.post_receipts (decision_id, tweet_ids, root_tweet_id, post_type) SELECT md5(n::text)::uuid, '{1}', '1', 'single'
           FROM generate_series(1, 9000) AS n;
         DROP INDEX public.post_attempts_decision_idx, public.post_receipts_decision_idx",
    );
    database.run("ANALYZE public.post_attempts, public.post_receipts");
    let run = optimize(&healer, &["--dry-run"]).exits(0);
    let missing: Vec<String> = finding_keys(&run).into_iter().filter(|key| key.starts_with("missing")).collect();
    assert_eq!(missing, ["missing-index:public.post_attempts(decision_id)"], "9,000 rows are walked as fast");
    let finding =
        run.json["findings"].as_array().expect("a list").iter().find(|f| f["kind"] == "missing-index").expect("it");
    let remedy = finding["remedy"].as_str().expect("SQL");
    assert_eq!(remedy, "CREATE INDEX CONCURRENTLY ON public.post_attempts (decision_id);");
    database.client().batch_execute(remedy).expect("it runs");
    assert!(!finding_keys(&optimize(&healer, &["--dry-run"]).exits(0)).iter().any(|key| key.starts_with("missing")));
}

/// Whether the server of the tests can count queries.
fn counts_queries(database: &TestDb) -> bool {
    let can = "SELECT current_setting('shared_preload_libraries') LIKE '%pg_stat_statements%'
                  AND EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = 'pg_stat_statements')";
    let can = database.value(can).as_deref() == Some("true");
    if !can {
        eprintln!("pg_stat_statements is not installed: not tried");
    }
    can
}

#[test]
fn queries_are_counted_in_any_schema_and_version_and_survive_a_reset() {
    let database = TestDb::new(Shape::Minimal);
    if !counts_queries(&database) {
        return;
    }
    let healer = Healer::on(&database).init();
    for version in ["1.5", "1.7", "1.8", "1.9", "1.10"] {
        let odd = "\"odd schema\"";
        database.run(&format!(
            "DROP EXTENSION IF EXISTS pg_stat_statements; CREATE SCHEMA IF NOT EXISTS {odd};
             CREATE EXTENSION pg_stat_statements SCHEMA {odd} VERSION '{version}'"
        ));
        database.run("TRUNCATE healer.query_sample, healer.performance_sample");
        let first = optimize(&healer, &[]).exits(0);
        let figures = |run: &Run| run.json["metrics"]["databaseQueries"].clone();
        assert_eq!(figures(&first)["span"], "since the counters began", "{version}: {:#}", first.check("queries"));
        assert!(figures(&first)["totalQueries"].as_i64().expect("a number") > 0, "{version}");
        for n in 0..7 {
            database
                .run(&format!("SELECT count(*) AS marked FROM public.content_metadata WHERE tweet_id = 'secret{n}'"));
        }
        // The same query in every version: an alias makes no other one.
        let marked = |run: &Run| -> i64 {
            let top = run.json["queries"]["top"].as_array().cloned().unwrap_or_default();
            let ours = top.iter().filter(|q| q["query"].as_str().is_some_and(|text| text.contains("AS marked FROM")));
            ours.map(|q| q["calls"].as_i64().unwrap_or(0)).sum()
        };
        let wide = Healer::on(&database).with_config("[optimize.performance.queries]\ntop = 100\n");
        let second = optimize(&wide, &[]).exits(0);
        assert_eq!(figures(&second)["span"], "since the last run");
        assert_eq!(marked(&second), 7, "{version}: {:#}", second.json["queries"]);
        assert!(!second.json["queries"].to_string().contains("secret"), "literals are masked");
        let third = optimize(&wide, &[]).exits(0);
        assert_eq!(marked(&third), 0, "nothing ran since");
    }
    // Counters that are smaller than they were: what they show happened since.
    database.run("SELECT \"odd schema\".pg_stat_statements_reset(0, (SELECT oid FROM pg_database WHERE datname = current_database()), 0)");
    database.run("SELECT count(*) AS marked_again FROM public.content_metadata");
    let after = optimize(&healer, &[]).exits(0);
    assert!(after.json["metrics"]["databaseQueries"]["totalQueries"].as_i64().expect("a number") > 0);
}

#[test]
fn without_the_extension_it_says_how_to_enable_it() {
    let (_database, healer) = ready(Shape::Minimal);
    let run = optimize(&healer, &["--dry-run"]).exits(0);
    assert_eq!(run.check("queries")["status"], "unknown");
    assert!(run.words("queries").contains("CREATE EXTENSION"), "{}", run.words("queries"));
    assert_eq!(run.json["queries"]["source"], "pg_stat_activity");
    assert_eq!(run.json["metrics"]["databaseQueries"]["slowQueries"], Value::Null);
}

#[test]
fn a_costly_query_that_walks_a_table_gets_its_index_proposed() {
    let database = TestDb::new(Shape::Full);
    if !counts_queries(&database) {
        return;
    }
    let healer = Healer::on(&database).init();
    database.run(
        "CREATE EXTENSION pg_stat_statements;
         INSERT INTO public.outcomes (decision_id, tweet_id, likes) SELECT 'p' || n, n::text, n % 5 FROM generate_series(1, 20000) AS n",
    );
    database.run("ANALYZE public.outcomes");
    let mut client = database.client();
    for n in 0..30 {
        client
            .batch_execute(&format!(
                "SELECT decision_id FROM public.outcomes WHERE tweet_id = '{n}' /*job='metrics_scraper'*/"
            ))
            .expect("asked");
        // A query that wants a good part of the table is no reason for an index.
        client.batch_execute(&format!("SELECT count(*) FROM public.outcomes WHERE likes = {}", n % 5)).expect("asked");
    }
    drop(client);
    let run = optimize(&healer, &[]).exits(0);
    let missing: Vec<String> = finding_keys(&run).into_iter().filter(|key| key.starts_with("missing")).collect();
    assert_eq!(missing, ["missing-index:public.outcomes(tweet_id)"], "{:#}", run.json["queries"]);
    let top = run.json["queries"]["top"].as_array().expect("a list");
    assert!(top.iter().any(|query| query["job"] == "metrics_scraper"), "{top:#?}");
}

/// Operations of the browser: name, how many, every so many minutes, minute, waited and held in seconds.
fn operations(database: &TestDb, name: &str, n: u32, every: u32, minute: u32, waited: u32, held: u32) {
    database.run(&format!(
        "INSERT INTO healer.signal (name, data, reported_at)
         SELECT 'browser_op', jsonb_build_object('operation', '{name}', 'waited_ms', {waited} * 1000, 'held_ms', {held} * 1000, 'ok', true),
                now() - interval '3 hours' - n * interval '{every} minutes' + interval '{minute} minutes' + interval '{} seconds'
           FROM generate_series(1, {n}) AS n",
        waited + held
    ));
}

#[test]
fn operations_that_collide_are_told_with_a_stagger_that_a_replay_has_checked() {
    let (database, healer) = ready(Shape::Minimal);
    operations(&database, "scraper", 100, 20, 0, 0, 240);
    operations(&database, "posting", 100, 20, 0, 240, 120);
    database.run(
        "INSERT INTO healer.signal (name, data) VALUES
           ('browser_op', '{\"operation\": \"odd\", \"waited_ms\": -5, \"held_ms\": \"long\", \"ok\": true}'),
           ('browser_op', '{\"operation\": null, \"waited_ms\": 1e300, \"held_ms\": 5, \"ok\": false}')",
    );
    let run = optimize(&healer, &["--dry-run"]).exits(0);
    assert_eq!(run.check("browser-operations")["status"], "warning");
    let told = &run.json["browserOperations"];
    assert_eq!(
        (&told["collisions"][0]["waits"], &told["collisions"][0]["for"]),
        (&json!("posting"), &json!("scraper"))
    );
    let stagger = &told["stagger"];
    assert!(stagger["expectedSeconds"].as_f64().expect("a figure") < 1.0, "{stagger:#}");
    assert!(stagger["recordedSeconds"].as_f64().expect("a figure") > 10_000.0, "{stagger:#}");
    assert!(
        run.words("browser-operations").contains("2 reports without usable times"),
        "{}",
        run.words("browser-operations")
    );

    let (apart, healer) = ready(Shape::Minimal);
    operations(&apart, "scraper", 100, 20, 0, 0, 240);
    operations(&apart, "posting", 100, 20, 8, 0, 120);
    let run = optimize(&healer, &["--dry-run"]).exits(0);
    assert_eq!(run.check("browser-operations")["status"], "ok");
    assert_eq!(run.json["browserOperations"]["stagger"], Value::Null);
}

#[test]
fn a_slow_job_gets_a_page_of_its_own() {
    let (database, healer) = ready(Shape::Full);
    database.run(&noted("slow / job", 60, "5 minutes", "4 hours", "400000 + n * 100"));
    database.run(
        "INSERT INTO public.system_events (event_type, event_data, severity) VALUES
           ('error_post_failure', '{\"component\": \"slow / job\", \"error_message\": \"no *answer*\"}', 'error');
         INSERT INTO healer.query_sample (user_id, query_id, calls, total_ms, rows, delta_calls, delta_ms, application, query)
         VALUES (10, 77, 5, 900, 5, 5, 900, 'slow / job', 'SELECT ? FROM outcomes')",
    );
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pages").to_string_lossy().into_owned();
    optimize(&healer, &["--dry-run", "--dossier", &path]).exits(0);
    let page = std::fs::read_to_string(folder.path().join("pages/slow___job.md")).expect("a page");
    for words in [
        "# slow / job",
        "## Durations",
        "p99",
        "## Errors it meets",
        "no \\*answer\\*",
        "5 calls in 7 days",
        "SELECT ? FROM outcomes",
        "## The migration",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[test]
fn old_events_leave_only_where_that_is_switched_on_and_never_what_others_need() {
    let (database, healer) = ready(Shape::Minimal);
    database.run(
        "INSERT INTO public.system_events (event_type, created_at) SELECT 'POSTING_QUEUE_TICK', now() - interval '100 days' FROM generate_series(1, 1500);
         INSERT INTO public.system_events (event_type, created_at) VALUES
           ('POST_SUCCESS', now() - interval '100 days'), ('self_healing_report', now() - interval '100 days'),
           ('DEPLOYMENT', now() - interval '100 days'), ('error_analysis_complete', now() - interval '100 days'),
           ('keep_me', now() - interval '100 days'), ('POSTING_QUEUE_TICK', now() - interval '89 days'), ('x', NULL)",
    );
    optimize(&healer, &[]).exits(0);
    let ticks = "SELECT count(*) FROM public.system_events WHERE event_type = 'POSTING_QUEUE_TICK'";
    assert_eq!(database.value(ticks).as_deref(), Some("1501"), "off by default");
    let on = "[optimize.performance.retention]\nenabled = true\nkeep_types = [\"keep%\"]\nper_run = 1200\n";
    let healer = healer.with_config(on);
    let before = hashes(&database);
    optimize(&healer, &["--dry-run"]).exits(0);
    assert_eq!(hashes(&database), before);
    optimize(&healer, &[]).exits(0);
    assert_eq!(database.value(ticks).as_deref(), Some("301"));
    optimize(&healer, &[]).exits(0);
    assert_eq!(database.value(ticks).as_deref(), Some("1"), "the young one stays");
    assert_eq!(database.value("SELECT count(*) FROM healer.archived_event").as_deref(), Some("1500"));
    let kept = "SELECT count(*) FROM public.system_events WHERE event_type IN ('POST_SUCCESS', 'DEPLOYMENT', 'error_analysis_complete', 'keep_me', 'x')";
    assert_eq!(database.value(kept).as_deref(), Some("5"));
    assert_eq!(
        database
            .value("SELECT sum((after ->> 'events')::int) FROM healer.action WHERE action = 'move_events'")
            .as_deref(),
        Some("1500")
    );
    database.run("CREATE TABLE public.pointing (event uuid REFERENCES public.system_events (id))");
    let run = optimize(&healer, &[]).exits(0);
    assert_eq!(run.check("event-retention")["status"], "warning");
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let database = TestDb::new(Shape::Minimal);
    for (text, name) in [
        ("[optimize.performance.jobs]\nslower_factor = nan", "jobs.slower_factor"),
        ("[optimize.performance.retention]\nkeep = \"7d\"", "retention.keep"),
        ("[optimize.performance.hygiene]\nunused_after = \"1d\"", "hygiene.unused_after"),
        ("[optimize.performance.queries]\ntop = 0", "queries.top"),
    ] {
        let run = optimize(&Healer::on(&database).with_config(text), &["--dry-run"]).exits(78);
        assert!(run.json["error"]["message"].to_string().contains(name), "{:#}", run.json);
    }
}

/// Short waits for locks: what is locked here stays locked.
const SHORT: &str = "[database]\nlock_timeout = \"1s\"\n";

#[test]
fn sequences_that_could_not_be_read_are_unknown_and_an_alert_about_one_stays_open() {
    let (database, healer) = ready(Shape::Minimal);
    let healer = healer.with_config(SHORT);
    database.run("CREATE SEQUENCE public.nearly_out AS int; SELECT setval('public.nearly_out', 2000000000)");
    let open =
        "SELECT count(*) FROM healer.alert WHERE key = 'sequence-exhausted:public.nearly_out' AND resolved_at IS NULL";
    assert_eq!(optimize(&healer, &[]).exits(0).check("hygiene")["status"], "critical");
    assert_eq!(database.value(open).as_deref(), Some("1"));
    // Somebody changes it in a transaction that does not end: its value cannot be asked for.
    let mut other = database.client();
    other.batch_execute("BEGIN; ALTER SEQUENCE public.nearly_out CACHE 2").expect("locked");
    let run = optimize(&healer, &[]).exits(3);
    let check = run.check("hygiene");
    assert_eq!((&check["status"], &check["found"]), (&json!("unknown"), &Value::Null), "{check:#}");
    assert!(run.words("hygiene").contains("optimize/sequences failed"), "{}", run.words("hygiene"));
    assert!(run.words("hygiene").contains("tables and"), "the rest is told: {}", run.words("hygiene"));
    assert_eq!(database.value(open).as_deref(), Some("1"), "nobody saw that it is over");
    other.batch_execute("ROLLBACK; DROP SEQUENCE public.nearly_out").expect("dropped");
    assert_eq!(optimize(&healer, &[]).exits(0).check("hygiene")["status"], "ok");
    assert_eq!(database.value(open).as_deref(), Some("0"));
}

#[test]
fn sizes_that_could_not_be_read_are_unknown_and_all_else_is_told() {
    let (database, healer) = ready(Shape::Minimal);
    let healer = healer.with_config(SHORT);
    database.run("CREATE TABLE public.held (id int)");
    let mut other = database.client();
    other.batch_execute("BEGIN; LOCK TABLE public.held IN ACCESS EXCLUSIVE MODE").expect("locked");
    let run = optimize(&healer, &["--dry-run"]).exits(3);
    assert_eq!(run.check("resources")["status"], "unknown");
    let words = run.words("resources");
    assert!(words.contains("the sizes of tables could not be read") && words.contains("connections used"), "{words}");
    other.batch_execute("ROLLBACK").expect("let go");
    assert_eq!(optimize(&healer, &["--dry-run"]).exits(0).check("resources")["status"], "ok");
}

#[test]
fn where_a_source_of_rate_limits_cannot_be_asked_there_is_no_figure_of_them() {
    let database = TestDb::new(Shape::Minimal);
    database.run(
        "INSERT INTO public.content_metadata (decision_id, decision_type, content, status, created_at, updated_at, scheduled_at, posted_at)
         SELECT 'p' || n, 'single', 'x', 'posted', now() - interval '9 hours', now() - interval '2 hours',
                now() - interval '130 minutes', now() - interval '2 hours' FROM generate_series(1, 30) AS n;
         INSERT INTO public.system_events (event_type, event_data, created_at)
         SELECT 'EXECUTOR_RATE_LIMIT_HIT', '{}', now() - interval '1 hour' FROM generate_series(1, 60);
         ALTER TABLE public.system_events RENAME TO events_below;
         CREATE VIEW public.system_events AS
         SELECT e.event_type, e.created_at,
                CASE WHEN e.event_type = 'error_odd' THEN to_jsonb(1 / (length(e.event_type) - 9)) ELSE e.event_data END AS event_data
           FROM public.events_below e",
    );
    let healer = Healer::on(&database);
    let run = optimize(&healer, &["--dry-run"]).exits(0);
    assert_eq!(run.json["metrics"]["postingEfficiency"]["rateLimitHits"], 60, "{:#}", run.json["posting"]);
    // One event that cannot be read: what the events tell is not known, and the posts tell of no hit at all.
    database.run(
        "INSERT INTO public.events_below (event_type, created_at) VALUES ('error_odd', now() - interval '1 hour')",
    );
    let run = optimize(&healer, &["--dry-run"]).exits(3);
    let posting = &run.json["metrics"]["postingEfficiency"];
    assert_eq!((&posting["rateLimitHits"], &posting["successRate"]), (&Value::Null, &json!(1.0)), "{posting:#}");
    assert_eq!(run.check("posting")["status"], "unknown");
    let words = run.words("posting");
    assert!(words.contains("rate-limit hits by the events could not be counted"), "{words}");
    assert!(words.contains("30 of 30 finished posts"), "{words}");
}

#[test]
fn sequences_that_hide_how_full_they_are_are_counted() {
    let (database, _) = ready(Shape::Minimal);
    database.run(
        "CREATE SEQUENCE public.nearly_out AS int; SELECT setval('public.nearly_out', 2000000000);
         CREATE SEQUENCE public.never_used; GRANT SELECT ON SEQUENCE public.never_used TO PUBLIC;
         CREATE SCHEMA closed; CREATE TABLE closed.rows (id int GENERATED ALWAYS AS IDENTITY)",
    );
    let healer = guest(&database, "sequences_guest");
    let run = optimize(&healer, &["--dry-run"]).exits(0);
    let words = run.words("hygiene");
    assert!(words.contains("sequences hide from this role how full they are"), "{words}");
    let (number, _) = words.split_once(" sequences hide").expect("a number");
    let number: i64 = number.rsplit([' ', '\n']).next().and_then(|n| n.parse().ok()).expect("a number");
    let hidden = database.value(
        "SELECT count(*) FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
          WHERE c.relnamespace IN ('public'::regnamespace, 'closed'::regnamespace)
            AND NOT has_sequence_privilege('sequences_guest', s.seqrelid, 'SELECT')",
    );
    assert_eq!(Some(number.to_string()), hidden, "one that was never used hides nothing: {words}");
    forget(&database, "sequences_guest");
}

#[test]
fn the_least_roles_see_how_full_sequences_are() {
    let (database, _) = ready(Shape::Minimal);
    database.run("CREATE SEQUENCE public.nearly_out AS int; SELECT setval('public.nearly_out', 2061584400)");
    // Roles belong to the server: these are this test's own.
    let roles = include_str!("../sql/roles.sql").replace("healer_", "full_sequences_");
    database.run(&roles);
    for role in ["full_sequences_look", "full_sequences_optimize"] {
        let run = optimize(&Healer::at(database.url_as(role)), &["--dry-run"]).exits(0);
        let words = run.words("hygiene");
        assert!(words.contains("sequence public.nearly_out has used 96 % of its integer range"), "{role}: {words}");
        assert!(!words.contains("hide from this role"), "{role}: {words}");
    }
    for role in ["full_sequences_look", "full_sequences_optimize", "full_sequences_heal"] {
        forget(&database, role);
    }
}

#[test]
fn what_the_jobs_say_leaves_without_their_secrets() {
    let (database, healer) = ready(Shape::Full);
    let said = "login as postgres://bot:hunter2@db.internal/x failed for jane@example.org, token=abc123def";
    database.run(&noted("slow", 60, "5 minutes", "4 hours", "400000 + n * 100"));
    database.run(&format!(
        "INSERT INTO public.system_events (event_type, event_data, severity)
         VALUES ('error_job', jsonb_build_object('component', 'slow', 'error_message', '{said}'), 'error');
         INSERT INTO healer.job_run (job, status, at, error, source) VALUES ('slow', 'failure', now() - interval '1 minute', '{said}', 'pass');
         INSERT INTO public.job_heartbeats (job_name, last_run_status, consecutive_failures, last_error, last_success, updated_at) VALUES
           ('failing', 'failure', 12, '{said}', now() - interval '1 minute', now()),
           ('failed once', 'failure', 1, '{said}', now() - interval '1 minute', now()),
           ('skipped', 'skipped', 0, 'memory 94 % used: {said}', now() - interval '1 day', now())"
    ));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_string_lossy().into_owned();
    let run = optimize(&healer, &["--dry-run", "--dossier", &path]);
    assert_eq!(run.json["metrics"]["resourceUsage"]["memoryPressure"], 0.94, "{:#}", run.json["metrics"]);
    let page = std::fs::read_to_string(folder.path().join("slow.md")).expect("a page");
    assert_eq!(page.matches("login as postgres://").count(), 2, "the event and the run: {page}");
    let beats = healer.heal(&["--dry-run"]);
    let words = beats.words("job-heartbeats");
    assert_eq!(words.matches("login as postgres://").count(), 3, "{words}");
    for text in [&run.json.to_string(), &page, &beats.json.to_string()] {
        for secret in ["hunter2", "jane", "abc123def"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}

#[test]
fn a_query_that_was_not_noted_last_time_is_not_told_as_run_since() {
    let database = TestDb::new(Shape::Minimal);
    if !counts_queries(&database) {
        return;
    }
    let healer = Healer::on(&database).init().with_config("[optimize.performance.queries]\ntop = 100\n");
    // A version that does not tell when a query was entered.
    database.run("CREATE EXTENSION pg_stat_statements VERSION '1.9'");
    for _ in 0..50 {
        database.run("SELECT count(*) AS old_one FROM public.content_metadata");
    }
    let first = optimize(&healer, &[]).exits(0);
    assert_eq!(first.json["queries"]["complete"], true);
    let read = database.value("SELECT count(DISTINCT (query_id, user_id, toplevel)) FROM healer.query_sample");
    assert_eq!(database.value("SELECT count(*) FROM healer.query_sample"), read, "each is noted");
    // As where there are more than are read: only some were noted, and the old one was not.
    database.run(
        "DELETE FROM healer.query_sample WHERE query LIKE '%old_one%';
         UPDATE healer.performance_sample SET body = jsonb_set(body, '{queries,complete}', 'false')",
    );
    database.run("SELECT count(*) AS old_one FROM public.content_metadata");
    let calls = |run: &Run| -> Vec<i64> {
        let top = run.json["queries"]["top"].as_array().cloned().unwrap_or_default();
        let ours =
            top.iter().filter(|query| query["query"].as_str().is_some_and(|text| text.contains("AS old_one FROM")));
        ours.filter_map(|query| query["calls"].as_i64()).collect()
    };
    let second = optimize(&healer, &[]).exits(0);
    assert_eq!(calls(&second), [0_i64; 0], "51 calls since the server began, and nobody knows how many since");
    let words = second.words("queries");
    assert!(words.contains("were not among those noted last time"), "{words}");
    database.run("SELECT count(*) AS old_one FROM public.content_metadata");
    assert_eq!(calls(&optimize(&healer, &[]).exits(0)), [1], "from then on it is known");
}
