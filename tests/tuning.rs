//! Limits that healer learns from the data, keeps, moves one step a day, and uses.

use std::time::{Duration, Instant};

use serde_json::Value;

use healer::change::lease::{Lease, Taken};
use healer::database::session::StopFlag;
use healer::database::url::{self, Surroundings, UrlSource};
use healer::settings::Settings;
use healer::start::{Origin, Start};
use healer::tuning::learn::{self, Tuning};

use crate::support::cluster::{Shape, TestDb, variant};
use crate::support::posts::{Post, insert};
use crate::support::program::{Healer, fingerprint};

const THREAD: &str = "tuned.heal.stuck-posts.limits.thread";

fn ready(shape: Shape) -> TestDb {
    let database = TestDb::new(shape);
    Healer::on(&database, &["init"]).run().expect(0);
    database
}

fn open(database: &TestDb, config: &str) -> Start {
    let settings = Settings::from_toml(config).expect("a valid configuration");
    let target = url::parse(&database.url(), UrlSource::Sandbox, &Surroundings::of_process()).expect("a URL");
    let deadline = Instant::now() + Duration::from_secs(600);
    Origin { target, deadline, stop: StopFlag::default(), settings }.open().expect("a connection")
}

/// Learns, as the pass does; gives what it found and the run that did it.
fn tune_with(database: &TestDb, config: &str) -> (Tuning, i64) {
    let mut start = open(database, config);
    let mapping = start.mapping().expect("the posts");
    let settings = start.settings().clone();
    let Taken::Ours(lease) =
        Lease::take(&mut start.session, "optimize-performance", "optimize performance", None).expect("a lease")
    else {
        panic!("nobody else is at work")
    };
    let mut tuning = learn::detect(&mut start.session, &settings, &mapping, &start.catalog).expect("it looks");
    learn::act(&mut start.session, &lease, &mut tuning).expect("it moves");
    database.run(
        "UPDATE healer.lease SET expires_at = '-infinity', token = '' WHERE pass = 'optimize-performance';
         UPDATE healer.run SET finished_at = now(), status = 'ok' WHERE finished_at IS NULL",
    );
    (tuning, lease.run)
}

fn tune(database: &TestDb) -> (Tuning, i64) {
    tune_with(database, "")
}

fn value(database: &TestDb, name: &str) -> Option<String> {
    database.value(&format!("SELECT max(value::text) FROM healer.setting WHERE name = '{name}'"))
}

/// Threads of the last days, each of which took `minutes` from approval to use; and as many singles, which took two.
fn attempts(number: u32, minutes: u32) -> String {
    format!(
        "INSERT INTO public.content_generation_metadata_comprehensive
                (decision_id, decision_type, content, status, created_at, posted_at, updated_at, tweet_id)
         SELECT md5(kind || i)::uuid::text, kind, 'text', 'posted', at, at, at, '17' || lpad(i::text, 16, '0')
           FROM (VALUES ('thread'), ('single')) AS k (kind),
                LATERAL (SELECT i, now() - i * interval '20 minutes' AS at FROM generate_series(1, {number}) AS i) AS n;
         INSERT INTO public.post_attempts (id, decision_id, status, actual_tweet_id, posting_success, created_at, approved_at, used_at, expires_at)
         SELECT md5('attempt' || kind || i)::uuid, md5(kind || i)::uuid::text, 'USED', '17' || lpad(i::text, 16, '0'), true, at, at,
                at + CASE kind WHEN 'thread' THEN interval '{minutes} minutes' ELSE interval '2 minutes' END, at + interval '1 hour'
           FROM (VALUES ('thread'), ('single')) AS k (kind),
                LATERAL (SELECT i, now() - i * interval '20 minutes' - interval '50 minutes' AS at FROM generate_series(1, {number}) AS i) AS n"
    )
}

/// Whether `heal` finds a thread stuck that has been posting for so long.
fn stuck(database: &TestDb, config: &str) -> u64 {
    let document = Healer::on(database, &["heal", "--dry-run", "--format", "json", "--only", "stuck-posts"])
        .config(config)
        .run()
        .json();
    document["checks"][0]["found"].as_u64().expect("measured")
}

#[test]
fn a_learned_limit_changes_what_heal_plans_and_its_lock_stops_that() {
    let database = ready(Shape::Full);
    // Threads take 32 minutes: half as long again is 48, and the configured limit is 30.
    database.run(&attempts(80, 32));
    insert(
        &database,
        &[Post::stuck("waits", "35 minutes").kind("thread"), Post::stuck("single", "35 minutes").kind("single")],
    );
    assert_eq!(stuck(&database, ""), 2);

    // Locked in the configuration: nothing is learned.
    let lock = "[tuning]\nlocked = [\"heal.stuck-posts.limits.thread\"]";
    let (locked, _) = tune_with(&database, lock);
    assert!(locked.moves.is_empty() && value(&database, THREAD).is_none(), "{:?}", locked.moves);

    let (tuning, run) = tune(&database);
    let moved: Vec<&str> = tuning.moves.iter().map(|(name, _, _, _)| name.as_str()).collect();
    assert_eq!(moved, ["heal.stuck-posts.limits.thread"], "{:?}", tuning.check());
    assert!(tuning.was_done("heal.stuck-posts.limits.thread"));
    // One step: 30 → 37.5 minutes, shown with its reason.
    assert_eq!(value(&database, THREAD).as_deref(), Some("2250"));
    let shown = Healer::on(&database, &["report", "forecast"]).run().expect(0).stdout;
    assert!(shown.contains("heal.stuck-posts.limits.thread 30m → 37m 30s: 99 of 100"), "{shown}");
    let words = tuning.check().summary;
    assert!(words.contains("30m → 37m 30s: 99 of 100 posts of the type thread took up to 32 min"), "{words}");
    assert_eq!(stuck(&database, ""), 1, "the thread is not stuck yet, the single is");
    assert_eq!(stuck(&database, lock), 2, "locked: what the configuration says");
    assert_eq!(stuck(&database, "[tuning]\nenabled = false"), 2);

    // Not twice in a day.
    let (again, _) = tune(&database);
    assert!(again.moves.is_empty(), "{:?}", again.moves);
    // A day later the next step; where it is locked by then, none.
    let later = format!("UPDATE healer.setting SET updated_at = now() - interval '25 hours' WHERE name = '{THREAD}'");
    database.run(&later);
    database.run(&format!("UPDATE healer.setting SET locked = true WHERE name = '{THREAD}'"));
    assert!(tune(&database).0.moves.is_empty());
    assert_eq!(value(&database, THREAD).as_deref(), Some("2250"));
    database.run(&format!("UPDATE healer.setting SET locked = false WHERE name = '{THREAD}'"));
    let (next, second) = tune(&database);
    assert_eq!(next.moves.len(), 1);
    assert_eq!(value(&database, THREAD).as_deref(), Some("2813"));

    // It is journalled, and undone like every other change: back to the value before, and held there.
    let journal = database
        .value("SELECT count(*) FROM healer.action WHERE relation = 'healer.setting' AND check_name = 'self-tuning'");
    assert_eq!(journal.as_deref(), Some("2"));
    Healer::on(&database, &["undo", &second.to_string()]).run().expect(0);
    assert_eq!(value(&database, THREAD).as_deref(), Some("2250"));
    database.run(&later);
    assert!(tune(&database).0.moves.is_empty(), "what was undone is not done again");
    // The first one had no value before: undone, nothing is learned any more.
    database.run(&format!("UPDATE healer.setting SET value = '2250', locked = false WHERE name = '{THREAD}'"));
    Healer::on(&database, &["undo", &run.to_string()]).run().expect(0);
    assert_eq!(stuck(&database, ""), 2);
}

#[test]
fn it_is_never_below_the_configured_one_unless_the_operator_allows_it() {
    let database = ready(Shape::Full);
    database.run(&attempts(80, 4));
    insert(&database, &[Post::stuck("a", "28 minutes").kind("thread")]);
    assert!(tune(&database).0.moves.is_empty());
    // By hand, as a wrong hand would.
    database.run(&format!("INSERT INTO healer.setting (name, value) VALUES ('{THREAD}', '60')"));
    assert_eq!(stuck(&database, ""), 0, "a value below the configured one is not used");
    database.run("DELETE FROM healer.setting");
    let allowed = "[tuning]\nbelow_default = true";
    let (tuning, _) = tune_with(&database, allowed);
    assert!(tuning.moves.iter().any(|(name, from, to, _)| name.ends_with("thread") && to < from), "{:?}", tuning.moves);
    assert_eq!(stuck(&database, allowed), 1, "24 minutes now");
    assert_eq!(stuck(&database, ""), 0);
}

#[test]
fn with_too_little_data_nothing_is_learned() {
    let database = ready(Shape::Full);
    database.run(&attempts(49, 40));
    let (tuning, _) = tune(&database);
    assert!(tuning.moves.is_empty());
    assert!(
        tuning.stays.iter().any(|(name, why)| name.ends_with("thread") && why == "49 observations, it takes 50"),
        "{:?}",
        tuning.stays
    );
    for shape in Shape::ALL {
        let empty = ready(shape);
        assert!(tune(&empty).0.moves.is_empty());
        let bare = TestDb::new(shape);
        let mut start = open(&bare, "");
        let mapping = start.mapping().expect("the posts");
        let settings = start.settings().clone();
        let tuning = learn::detect(&mut start.session, &settings, &mapping, &start.catalog).expect("it looks");
        assert!(tuning.off.is_some_and(|why| why.contains("healer init")));
    }
}

#[test]
fn what_stands_in_the_table_may_be_anything() {
    let database = ready(Shape::Minimal);
    insert(&database, &[Post::stuck("a", "35 minutes").kind("thread")]);
    for (name, odd) in [
        (THREAD, "\"soon\""),
        (THREAD, "null"),
        (THREAD, "-5"),
        (THREAD, "1e300"),
        (THREAD, "{}"),
        ("tuned.", "5"),
        ("tuned.heal.stuck-posts.limits.'; DROP TABLE content_metadata; --", "2700"),
        ("tuned.heal.silence.floor", "[]"),
        ("tuned.heal.job-heartbeats.running_limits.", "7000"),
    ] {
        database.run(&format!(
            "DELETE FROM healer.setting; INSERT INTO healer.setting (name, value) VALUES ('{}', '{odd}')",
            name.replace('\'', "''")
        ));
        let found = stuck(&database, "");
        assert!(found == 1 || odd == "1e300", "{name} = {odd}: {found}");
    }
    database.run("INSERT INTO healer.setting (name, value) SELECT 'tuned.heal.stuck-posts.limits.' || n, '2700' FROM generate_series(1, 2000) AS n");
    assert_eq!(stuck(&database, ""), 1);
}

#[test]
fn jobs_teach_their_interval_and_how_long_they_run_where_every_run_is_noted() {
    let database = TestDb::edited(&[variant::HEARTBEAT_HISTORY]);
    Healer::on(&database, &["init"]).run().expect(0);
    // Configured every 5 minutes, it really runs every 8; plan runs for 70 minutes, and may for an hour.
    database.run(
        "INSERT INTO public.job_heartbeats (job_name, status, execution_time_ms, created_at)
         SELECT 'posting', 'success', 20000, now() - i * interval '8 minutes' FROM generate_series(0, 700) AS i
         UNION ALL SELECT 'plan', 'success', 4200000, now() - i * interval '2 hours' FROM generate_series(0, 80) AS i",
    );
    let (tuning, _) = tune(&database);
    let mut names: Vec<&str> = tuning.moves.iter().map(|(name, _, _, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["heal.job-heartbeats.intervals.posting", "heal.job-heartbeats.running_limits.plan"],
        "{:?}",
        tuning.moves
    );
    assert_eq!(value(&database, "tuned.heal.job-heartbeats.intervals.posting").as_deref(), Some("375"));
    // `heal` uses them: posting 12 minutes ago is late at 5 minutes and not at 6¼; plan may run for 75 minutes.
    database.run(
        "DELETE FROM public.job_heartbeats WHERE created_at > now() - interval '15 minutes' OR (job_name = 'plan' AND created_at > now() - interval '71 minutes');
         INSERT INTO public.job_heartbeats (job_name, status, created_at) VALUES ('posting', 'success', now() - interval '12 minutes'), ('plan', 'running', now() - interval '70 minutes'),
                ('reply_posting', 'success', now()), ('metrics_scraper', 'success', now())",
    );
    let lines = |config: &str| {
        let given = Healer::on(&database, &["heal", "--dry-run", "--format", "json", "--only", "job-heartbeats"])
            .config(config)
            .run();
        let check = given.json()["checks"][0].clone();
        format!("{} {}", check["summary"], check["details"])
    };
    let told = lines("[tuning]\nenabled = false");
    assert!(told.contains("posting: late") && told.contains("plan: running for 70 min (limit 1h)"), "{told}");
    let told = lines("");
    assert!(!told.contains("posting: late") && !told.contains("plan: running"), "{told}");
}

#[test]
fn a_queue_that_is_normally_long_and_posts_that_normally_pause_are_learned() {
    let database = ready(Shape::Minimal);
    database.run(
        "INSERT INTO healer.signal (name, data, reported_at)
         SELECT 'browser', jsonb_build_object('queued', 7 + i % 2, 'active', 1, 'capacity', 1), now() - i * interval '10 minutes'
           FROM generate_series(0, 600) AS i
         UNION ALL SELECT 'browser', '{\"queued\": \"many\"}', now() - i * interval '1 minute' FROM generate_series(1, 50) AS i;
         INSERT INTO public.content_metadata (decision_id, content, status, posted_at, tweet_id)
         SELECT 'p' || i, 'text', 'posted', now() - i * interval '50 minutes', '17' || lpad(i::text, 16, '0') FROM generate_series(1, 300) AS i",
    );
    let (tuning, _) = tune(&database);
    assert_eq!(
        value(&database, "tuned.heal.browser-queue.waiting_warning").as_deref(),
        Some("7"),
        "{:?}",
        tuning.moves
    );
    assert_eq!(value(&database, "tuned.heal.browser-queue.waiting_critical").as_deref(), Some("13"));
    assert_eq!(value(&database, "tuned.heal.silence.floor").as_deref(), Some("2250"));
    let settings = open(&database, "").settings().clone();
    assert_eq!((settings.heal.browser_queue.waiting_warning, settings.heal.browser_queue.waiting_critical), (7, 13));
    assert_eq!(settings.heal.silence.floor.as_seconds(), 2250);
}

#[test]
fn looking_writes_nothing() {
    let database = ready(Shape::Full);
    database.run(&attempts(80, 32));
    let before = fingerprint(&database);
    let mut start = open(&database, "");
    let mapping = start.mapping().expect("the posts");
    let settings = start.settings().clone();
    let tuning = learn::detect(&mut start.session, &settings, &mapping, &start.catalog).expect("it looks");
    assert_eq!(tuning.moves.len(), 1);
    drop(start);
    assert_eq!(fingerprint(&database), before);
}

#[test]
fn the_pass_moves_a_limit_and_says_so_and_its_dry_run_only_says_so() {
    let database = ready(Shape::Full);
    database.run(&attempts(80, 32));
    let pass = |args: &[&str]| {
        let mut all = vec!["optimize", "performance", "--format", "json"];
        all.extend_from_slice(args);
        Healer::on(&database, &all).run().json()
    };
    let of = |document: &Value| {
        document["optimizations"].as_array().expect("a list").iter().find(|one| one["type"] == "tuned_limit").cloned()
    };
    let dry = of(&pass(&["--dry-run"])).expect("proposed");
    assert_eq!(dry["implemented"], false);
    assert_eq!(value(&database, THREAD), None);
    let done = of(&pass(&[])).expect("done");
    assert_eq!(
        (&done["implemented"], &done["description"]),
        (&true.into(), &"heal.stuck-posts.limits.thread: 30m → 37m 30s".into())
    );
    assert_eq!(value(&database, THREAD).as_deref(), Some("2250"));
}
