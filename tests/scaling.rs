//! The advice on workers and browser slots: noted by every heal, read by one query, bounded, and gone when it is old.

use crate::support::cluster::{Shape, TestDb};
use crate::support::program::Healer;

fn ready(shape: Shape) -> TestDb {
    let database = TestDb::new(shape);
    Healer::on(&database, &["init"]).run().expect(0);
    database
}

fn workers(database: &TestDb) -> Option<String> {
    database.value("SELECT (SELECT workers FROM healer.scaling)")
}

fn due(number: u32) -> String {
    format!(
        "INSERT INTO public.content_metadata (decision_id, content, status, created_at, scheduled_at)
         SELECT 'due ' || i, 'text', 'queued', now() - interval '2 hours', now() - interval '90 minutes' FROM generate_series(1, {number}) AS i"
    )
}

#[test]
fn every_heal_looks_and_a_flood_is_followed_within_bounds() {
    let database = ready(Shape::Minimal);
    assert_eq!(workers(&database), None, "nobody has looked yet");
    Healer::on(&database, &["heal"]).run();
    assert_eq!(workers(&database).as_deref(), Some("1"));
    // 40 posts of five minutes wait: three hours and twenty minutes of work that should be done in one.
    database.run(&due(40));
    Healer::on(&database, &["heal"]).run();
    assert_eq!(workers(&database).as_deref(), Some("4"));
    let reason = database.value("SELECT reason FROM healer.scaling").expect("a reason");
    assert!(reason.contains("workers: far more is needed"), "{reason}");
    let seen = "SELECT waiting || ' ' || arrivals_per_hour || ' ' || service_s FROM healer.scaling";
    assert_eq!(database.value(seen).as_deref(), Some("40 0 300"));
    database.run("DELETE FROM public.content_metadata");
    Healer::on(&database, &["heal"]).run();
    assert_eq!(workers(&database).as_deref(), Some("4"), "not down at once");
    database.run("UPDATE healer.scaling_sample SET at = at - interval '70 minutes'");
    assert_eq!(workers(&database), None, "what is older than an hour is no advice");
    let small = "[scaling]\nworkers_max = 2";
    database.run(&due(40));
    Healer::on(&database, &["heal"]).config(small).run();
    assert_eq!(workers(&database).as_deref(), Some("2"));
}

#[test]
fn it_comes_down_when_an_hour_called_for_less() {
    let database = ready(Shape::Minimal);
    database.run(
        "INSERT INTO healer.scaling_sample (at, workers_needed, slots_needed, workers, slots, reason)
         SELECT now() - i * interval '15 minutes', CASE WHEN i > 4 THEN 3.4 ELSE 0.4 END, 0.2, 4, 1, 'test' FROM generate_series(1, 8) AS i",
    );
    Healer::on(&database, &["heal"]).run();
    assert_eq!(workers(&database).as_deref(), Some("1"));
}

#[test]
fn browser_slots_follow_the_operations_and_what_is_not_reported_is_null() {
    let database = ready(Shape::Minimal);
    Healer::on(&database, &["heal"]).run();
    let told = "SELECT coalesce(slots_needed::text, 'null') || ' ' || slots FROM healer.scaling";
    assert_eq!(database.value(told).as_deref(), Some("null 1"));
    // 120 operations an hour of 60 s, and 10 wait: (2 / 0.7) + 10 / 60.
    database.run(
        "INSERT INTO healer.signal (name, data, reported_at)
         SELECT 'browser_op', '{\"operation\": \"a\", \"waited_ms\": 5, \"held_ms\": 60000, \"ok\": true}', now() - i * interval '29 seconds'
           FROM generate_series(1, 120) AS i;
         SELECT healer.report_browser(10, 1, 1); SELECT healer.report_browser_op('b', 5, -9, true)",
    );
    Healer::on(&database, &["heal"]).run();
    assert_eq!(
        database.value("SELECT round(slots_needed::numeric, 1) || ' ' || slots FROM healer.scaling").as_deref(),
        Some("3.0 3")
    );
}

#[test]
fn a_dry_run_and_a_switch_leave_it_alone_and_samples_of_the_resources_are_noted_with_it() {
    let database = ready(Shape::Full);
    Healer::on(&database, &["heal", "--dry-run"]).run();
    Healer::on(&database, &["heal"]).config("[scaling]\nenabled = false").run();
    let looks = "SELECT count(*) FROM healer.scaling_sample";
    assert_eq!(database.value(looks).as_deref(), Some("0"));
    Healer::on(&database, &["heal"]).run();
    assert_eq!(database.value(looks).as_deref(), Some("1"));
    assert!(
        database
            .value("SELECT count(*) FROM healer.resource_sample")
            .is_some_and(|n| n.parse::<u32>().is_ok_and(|n| n >= 4))
    );
    // An old look is removed in time.
    database.run("UPDATE healer.scaling_sample SET at = now() - interval '31 days'");
    Healer::on(&database, &["heal"]).run();
    assert_eq!(database.value(looks).as_deref(), Some("1"));
}

#[test]
fn a_load_that_cannot_be_noted_fails_no_heal() {
    let database = ready(Shape::Minimal);
    database.run("ALTER TABLE healer.scaling_sample ADD CONSTRAINT never CHECK (false) NOT VALID");
    Healer::on(&database, &["heal"]).run().expect(0);
    assert_eq!(database.value("SELECT count(*) FROM healer.run WHERE status = 'ok'").as_deref(), Some("1"));
}

#[test]
fn the_scaled_object_asks_for_what_the_view_gives() {
    let file = include_str!("../deploy/keda-scaledobject.yaml");
    let query = file.lines().find_map(|line| line.trim().strip_prefix("query: ")).expect("a query");
    let database = ready(Shape::Minimal);
    Healer::on(&database, &["heal"]).run();
    assert_eq!(database.value(&format!("SELECT ({query})")).as_deref(), Some("1"));
    // The role that the file describes may read the view and nothing else of healer.
    database.run("CREATE ROLE keda LOGIN; GRANT USAGE ON SCHEMA healer TO keda; GRANT SELECT ON healer.scaling TO keda; SET ROLE keda; SELECT workers FROM healer.scaling; RESET ROLE");
    database.run("DROP OWNED BY keda; DROP ROLE keda");
    assert!(!file.contains("postgres://"), "no secret");
}
