//! `optimize content`: what it learns, what it changes, what it takes back, what it says of earlier changes, and what it
//! makes of bad data.

use serde_json::{Value, json};

use crate::support::binary::{Healer, Run};
use crate::support::cluster::{Shape, TestDb, server, variant};
use crate::support::state::{hash, hashes, written};

/// Twelve posts a day for 20 days, by turns: three generators, both formats, all hours; each earns `rate` per 1,000
/// impressions, an expression over g (0 to 2), k (0 to 239) and wobble (a little above or below 1).
fn posts(rate: &str) -> String {
    format!(
        "INSERT INTO content_metadata (decision_id, decision_type, content, status, created_at, posted_at, updated_at, tweet_id, generator_name)
         SELECT 'k' || k, CASE WHEN k / 15 % 2 = 0 THEN 'single' ELSE 'thread' END, 'x', 'posted', at, at, at, (1000 + k)::text,
                (ARRAY['coach', 'storyteller', 'explorer'])[1 + k % 3]
           FROM (SELECT k, now() - interval '21 days' + k * interval '117 minutes' AS at FROM generate_series(0, 239) k) s;
         INSERT INTO outcomes (decision_id, tweet_id, impressions, likes, retweets, replies, collected_at)
         SELECT 'k' || k, (1000 + k)::text, 10000, ((10 * ({rate}))::numeric)::int, 0, 0, now()
           FROM (SELECT k, k % 3 AS g, (ARRAY[0.8, 1.25, 1.0, 0.9, 1.1])[1 + k / 3 % 5] AS wobble FROM generate_series(0, 239) k) s;"
    )
}

const WEIGHTS: &str = "INSERT INTO generator_weights (generator_name, weight) VALUES ('coach', 0.4), ('storyteller', 0.3), ('explorer', 0.3);";

/// The good generator is the coach.
const COACH: &str = "CASE g WHEN 0 THEN 60 ELSE 20 END * wobble";
/// Nobody is better than another.
const EQUAL: &str = "20 * wobble";

/// Enough for what is asserted here, and quicker.
const FEW_DRAWS: &str = "[optimize.content]\ndraws = 600\n";

fn database(rate: &str) -> (TestDb, Healer) {
    let database = TestDb::new(Shape::Full);
    database.run(&posts(rate));
    database.run(WEIGHTS);
    let healer = Healer::on(&database).with_config(FEW_DRAWS).init();
    (database, healer)
}

fn optimize(healer: &Healer, more: &[&str]) -> Run {
    healer.run(&[&["optimize", "content"][..], more].concat())
}

/// A weight in ten-thousandths.
fn weight(database: &TestDb, generator: &str) -> i64 {
    let sql = format!("SELECT (10000 * weight)::int FROM generator_weights WHERE generator_name = '{generator}'");
    database.value(&sql).expect("a weight").parse().expect("a number")
}

fn weights(database: &TestDb) -> String {
    database
        .value("SELECT string_agg(generator_name || '=' || weight || ' ' || status, ', ' ORDER BY generator_name) FROM generator_weights")
        .unwrap_or_default()
}

#[track_caller]
fn sums_to_one(database: &TestDb) {
    let sum = "SELECT sum(weight) = 1.0000 AND min(weight) >= 0.01 FROM generator_weights WHERE status = 'active'";
    assert_eq!(database.value(sum).as_deref(), Some("true"), "{}", weights(database));
    for view in ["format_weights", "hour_weights"] {
        let sum = database.value(&format!("SELECT sum(weight) FROM healer.{view}"));
        assert!(sum.is_none_or(|sum| sum.parse::<f64>().is_ok_and(|sum| (sum - 1.0).abs() < 1e-9)), "{view}");
    }
}

fn arm<'a>(run: &'a Run, subject: &str, name: &str) -> &'a Value {
    run.json["plan"][subject]["arms"]
        .as_array()
        .and_then(|arms| arms.iter().find(|arm| arm["name"] == name))
        .unwrap_or_else(|| panic!("no {name} of {subject}: {:#}", run.json))
}

/// Everything that has a time moves back: time passes.
fn pass_time(database: &TestDb, interval: &str) {
    let mut client = database.client();
    let columns = client
        .query(
            "SELECT format('%I.%I', n.nspname, c.relname), string_agg(format('%1$I = %1$I - $1', a.attname), ', ')
               FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname IN ('public', 'healer') AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
                AND a.atttypid = 'timestamptz'::regtype AND c.relname <> 'lease'
              GROUP BY 1",
            &[],
        )
        .expect("the columns");
    for row in columns {
        let (table, set): (String, String) = (row.get(0), row.get(1));
        let sql = format!("UPDATE {table} SET {}", set.replace("$1", &format!("interval '{interval}'")));
        client.batch_execute(&sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
}

#[test]
fn a_dry_run_writes_nothing_and_a_real_run_does_what_it_said() {
    let (database, healer) = database(COACH);
    let (rows, counts) = (hashes(&database), written(&database));
    let dry = optimize(&healer, &["--dry-run"]).exits(0);
    assert_eq!((hashes(&database), written(&database)), (rows, counts));
    assert!(dry.json["optimizations"].as_array().expect("a list").iter().all(|one| one["implemented"] == false));

    let real = optimize(&healer, &[]).exits(0);
    for (subject, names) in [
        ("generators", &["coach", "storyteller", "explorer"][..]),
        ("formats", &["single", "thread"]),
        ("hours", &["0", "15"]),
    ] {
        for name in names {
            assert_eq!(arm(&real, subject, name)["newWeight"], arm(&dry, subject, name)["newWeight"], "{name}");
        }
    }
    assert_eq!(weight(&database, "coach"), 6_000, "half again within four hours: {}", weights(&database));
    assert_eq!(arm(&real, "generators", "coach")["newWeight"], 0.6);
    sums_to_one(&database);
    assert_eq!(
        database
            .value("SELECT count(*) FROM healer.action WHERE check_name = 'generators' AND type = 'weight_update'")
            .as_deref(),
        Some("3")
    );
    let noted = "SELECT event_type || ' ' || posts_analyzed || ' ' || generators_updated || ' ' || success FROM optimization_events";
    assert_eq!(database.value(noted).as_deref(), Some("weight_update 240 3 true"));
}

#[test]
fn the_event_has_the_fixed_keys() {
    let (database, healer) = database(COACH);
    let run = optimize(&healer, &[]).exits(0);
    let event = database
        .client()
        .query_one("SELECT event_data::text FROM system_events WHERE event_type = 'autonomous_optimization'", &[])
        .expect("one event");
    let event: Value = serde_json::from_str(event.get(0)).expect("JSON");
    assert!(event["timestamp"].is_string() && event.get("performanceChanges").is_some());
    let optimizations = event["optimizations"].as_array().expect("a list");
    assert_eq!(optimizations.len(), 3);
    for one in optimizations {
        for key in ["type", "description", "expectedImpact", "implemented"] {
            assert!(one.get(key).is_some(), "{key}: {one}");
        }
        assert_eq!(one["implemented"], true);
    }
    let impact = optimizations[0]["expectedImpact"].as_str().expect("in words");
    assert!(impact.starts_with('+') && impact.contains(" to "), "{impact}");
    assert!(run.json["plan"]["objective"].as_str().expect("named").contains("likes + 2"));
    assert_eq!(
        database.value("SELECT last_run_status FROM job_heartbeats WHERE job_name = 'autonomous_optimizer'").as_deref(),
        Some("success")
    );
}

#[test]
fn however_often_it_runs_a_weight_makes_one_step_in_four_hours() {
    let (database, healer) = database(COACH);
    optimize(&healer, &[]).exits(0);
    let after = [weights(&database), stored(&database)];
    for _ in 0..3 {
        optimize(&healer, &[]).exits(0);
    }
    assert_eq!([weights(&database), stored(&database)], after);
    pass_time(&database, "4 hours 5 minutes");
    optimize(&healer, &[]).exits(0);
    assert_eq!(
        weight(&database, "coach"),
        8_000,
        "and another one after four hours: 10 points from each of the others"
    );
    sums_to_one(&database);
}

fn stored(database: &TestDb) -> String {
    database
        .value("SELECT string_agg(name || value, ' ' ORDER BY name) FROM healer.setting WHERE name IN ('content.formats', 'content.hours')")
        .unwrap_or_default()
}

#[test]
fn undo_brings_all_weights_back_and_the_next_run_leaves_them_alone() {
    let (database, healer) = database(COACH);
    let before = hash(&database, "generator_weights");
    let run = optimize(&healer, &[]).exits(0);
    let id = run.id().to_string();
    let dry = healer.run(&["undo", &id, "--dry-run"]).exits(0);
    assert_ne!(hash(&database, "generator_weights"), before);
    let undo = healer.run(&["undo", &id]).exits(0);
    assert_eq!((&undo.json["restored"], &undo.json["restored"]), (&dry.json["restored"], &json!(5)));
    assert_eq!(hash(&database, "generator_weights"), before, "bit by bit");
    assert_eq!(
        database.value("SELECT count(*) FROM healer.hour_weights").as_deref(),
        Some("0"),
        "there were none before"
    );

    pass_time(&database, "5 hours");
    let next = optimize(&healer, &[]).exits(0);
    assert_eq!(next.count("planned"), 0, "{:#}", next.json);
    assert!(
        next.words("generators").contains(&format!("a person took back what run {id} did")),
        "{}",
        next.words("generators")
    );
    assert!(next.words("hours").contains("content.hours is locked"), "{}", next.words("hours"));

    pass_time(&database, "7 days");
    database.run(FOLLOWING);
    database.run("UPDATE healer.setting SET locked = false");
    let later = optimize(&healer, &[]).exits(0);
    assert_eq!(later.count("planned"), 3, "{:#}", later.json);
    sums_to_one(&database);
}

#[test]
fn undo_takes_back_what_later_runs_built_on_a_run_and_can_be_taken_back_itself() {
    let (database, healer) = database(COACH);
    let before = weights(&database);
    let first = optimize(&healer, &[]).exits(0).id().to_string();
    pass_time(&database, "5 hours");
    optimize(&healer, &[]).exits(0);
    let after = weights(&database);
    assert_ne!(after, before);
    let undo = healer.run(&["undo", &first, "--only", "generators"]).exits(0);
    assert_eq!(weights(&database), before);
    healer.run(&["undo", &undo.id().to_string()]).exits(0);
    assert_eq!(weights(&database), after);
}

#[test]
fn undo_leaves_the_whole_group_where_one_weight_was_changed_since() {
    let (database, healer) = database(COACH);
    let run = optimize(&healer, &[]).exits(0).id().to_string();
    database.run(
        "UPDATE generator_weights SET weight = weight + 0.01 WHERE generator_name = 'explorer';
                  UPDATE generator_weights SET weight = weight - 0.01 WHERE generator_name = 'storyteller'",
    );
    let since = weights(&database);
    let undo = healer.run(&["undo", &run, "--only", "generators"]).exits(3);
    assert_eq!((&undo.json["restored"], &undo.json["changedSince"]), (&json!(0), &json!(3)));
    assert_eq!(weights(&database), since);
}

#[test]
fn a_weight_that_somebody_changes_meanwhile_keeps_all_of_them() {
    let (database, healer) = database(COACH);
    let mut client = database.client();
    let mut other = client.transaction().expect("begun");
    other
        .batch_execute(
            "UPDATE generator_weights SET weight = 0.35 WHERE generator_name = 'storyteller';
                        UPDATE generator_weights SET weight = 0.25 WHERE generator_name = 'explorer'",
        )
        .expect("changed");
    let mut running = healer.start(&["optimize", "content"]);
    running.await_waiting(&database);
    other.commit().expect("committed");
    let run = running.end().exits(0);
    assert_eq!(weights(&database), "coach=0.4000 active, explorer=0.2500 active, storyteller=0.3500 active");
    assert_eq!(run.count("skipped"), 1, "{:#}", run.json);
    assert_eq!(run.json["optimizations"][0]["implemented"], false);
    assert_eq!(database.value("SELECT count(*) FROM healer.hour_weights").as_deref(), Some("24"), "the rest was done");
    assert_eq!(
        database.value("SELECT count(*) FROM healer.action WHERE check_name = 'generators'").as_deref(),
        Some("0")
    );
}

#[test]
fn a_weight_that_the_database_refuses_keeps_all_of_them() {
    let (database, healer) = database(COACH);
    database.run("ALTER TABLE generator_weights ADD CONSTRAINT modest CHECK (weight <= 0.5)");
    let before = weights(&database);
    let run = optimize(&healer, &[]).exits(3);
    assert_eq!((weights(&database), run.count("failed"), run.count("applied")), (before, 1, 2));
    assert!(run.words("generators").contains("modest"), "{}", run.words("generators"));
}

#[test]
fn two_at_once_change_every_weight_once() {
    let (database, healer) = database(COACH);
    let running: Vec<_> = (0..3).map(|_| healer.start(&["optimize", "content"])).collect();
    for run in running {
        run.end().exits(0);
    }
    assert_eq!(weight(&database, "coach"), 6_000);
    sums_to_one(&database);
}

#[test]
fn locked_disabled_and_testing_generators_are_respected() {
    let (database, healer) = database("CASE g WHEN 1 THEN 60 ELSE 20 END * wobble");
    database.run(
        "UPDATE generator_weights SET optimization_locked = true WHERE generator_name = 'coach';
                  INSERT INTO generator_weights (generator_name, weight, status, last_updated) VALUES
                    ('off', 0.2, 'disabled', now()), ('resting', 0.05, 'testing', now() - interval '3 days'),
                    ('rested', 0.05, 'testing', now() - interval '20 days')",
    );
    let run = optimize(&healer, &[]).exits(0);
    assert_eq!(weight(&database, "coach"), 4_000);
    assert!(weight(&database, "storyteller") > 3_400, "{}", weights(&database));
    for (name, state) in [("off", "0.2000 disabled"), ("resting", "0.0500 testing"), ("rested", "0.0500 active")] {
        assert!(weights(&database).contains(&format!("{name}={state}")), "{}", weights(&database));
    }
    sums_to_one(&database);
    let before = weights(&database);
    healer.run(&["undo", &run.id().to_string()]).exits(0);
    assert!(weights(&database).contains("rested=0.0500 testing"), "{before} → {}", weights(&database));
}

/// A database that is filled like the sandbox.
fn sandbox() -> (TestDb, Healer) {
    let database = TestDb::new(Shape::Minimal);
    database.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    let mut client = server().client(database.name()).expect("a connection");
    healer::sandbox::seed::fill(&mut client).unwrap_or_else(|error| panic!("{error}"));
    let healer = Healer::on(&database).init();
    (database, healer)
}

#[test]
fn the_good_generator_the_better_format_and_the_best_hours_of_the_sandbox_are_found_applied_and_taken_back() {
    let (database, healer) = sandbox();
    let before = hash(&database, "generator_weights");
    let run = optimize(&healer, &[]).exits(0);
    for (subject, best) in [("generators", "contrarian"), ("formats", "thread")] {
        let best = arm(&run, subject, best);
        assert!(best["pBest"].as_f64().expect("a probability") > 0.95, "{best}");
        assert!(best["effect"]["low"].as_f64().expect("an interval") > 0.0, "{best}");
        assert!(best["newWeight"].as_f64() > best["oldWeight"].as_f64(), "{best}");
    }
    assert_eq!(weight(&database, "contrarian"), 1_400);
    let hours = "SELECT count(*) = 24 AND bool_and(zone = 'UTC') AND bool_and(posts > 0)
                    AND avg(weight) FILTER (WHERE hour IN (13, 14, 15, 16, 20, 21)) > 1.5 * avg(weight) FILTER (WHERE hour NOT IN (13, 14, 15, 16, 20, 21))
                    AND bool_and(effect_low > 0) FILTER (WHERE hour IN (14, 15, 16, 20, 21)) FROM healer.hour_weights";
    assert_eq!(database.value(hours).as_deref(), Some("true"));
    let formats = "SELECT string_agg(format || (effect_low > 0), ' ' ORDER BY format) FROM healer.format_weights";
    assert_eq!(database.value(formats).as_deref(), Some("singlefalse threadtrue"));
    sums_to_one(&database);
    let left = &run.json["plan"]["leftOut"];
    for reason in ["simulated", "test", "immature", "placeholderId", "noOutcome", "collectedEarly"] {
        assert!(left[reason].as_u64().expect("a count") > 0, "{reason}: {left}");
    }
    healer.run(&["undo", &run.id().to_string()]).exits(0);
    assert_eq!(hash(&database, "generator_weights"), before);
    assert_eq!(database.value("SELECT count(*) FROM healer.format_weights").as_deref(), Some("0"));
}

/// 300 posts of the last days, chosen by the weights of `healer.content_weights` that were in force last; the coach earns
/// three times what the others do.
const FOLLOWING: &str = "
INSERT INTO content_metadata (decision_id, decision_type, content, status, created_at, posted_at, updated_at, tweet_id, generator_name)
SELECT 'later' || k, 'single', 'x', 'posted', at, at, at, (5000 + k)::text,
       (SELECT w.key FROM (SELECT key, sum(value::numeric) OVER (ORDER BY key) AS until FROM jsonb_each_text(
                             (SELECT generators FROM healer.content_weights ORDER BY id DESC LIMIT 1))) w
         WHERE w.until > (k * 37 % 100) / 100.0 ORDER BY w.until LIMIT 1)
  FROM (SELECT k, now() - interval '5 days' + k * interval '19 minutes' AS at FROM generate_series(0, 299) k) s;
INSERT INTO outcomes (decision_id, tweet_id, impressions, likes, retweets, replies, collected_at)
SELECT decision_id, tweet_id, 10000, (CASE generator_name WHEN 'coach' THEN 600 ELSE 200 END * (ARRAY[0.8, 1.25, 1.0, 0.9, 1.1])[1 + substr(decision_id, 6)::int % 5])::int, 0, 0, now()
  FROM content_metadata WHERE decision_id LIKE 'later%';";

#[test]
fn a_later_run_shows_what_an_earlier_change_brought() {
    let (database, healer) = database(COACH);
    let first = optimize(&healer, &[]).exits(0);
    pass_time(&database, "6 days");
    database.run(FOLLOWING);
    let later = optimize(&healer, &["--dry-run"]).exits(0);
    let change = later.json["performanceChanges"]
        .as_array()
        .expect("measured")
        .iter()
        .find(|change| change["subject"] == "generator")
        .expect("of generators");
    assert_eq!(change["runId"], first.id().to_string());
    // 0.4 → 0.6 of the good one: e^(0.2 · ln 3) = 1.25.
    let gain = |end: &str| change["gain"][end].as_f64().expect("a figure");
    assert!(gain("low") > 0.0 && gain("low") < 0.25 && gain("high") > 0.24, "{change}");
    assert_eq!(change["harmed"], false);
}

#[test]
fn a_change_that_harmed_is_said_first_and_its_undo_takes_it_back() {
    let (database, healer) = database(COACH);
    optimize(&healer, &[]).exits(0);
    // What the run is made to have done: it cut the good one from 0.8 to 0.1.
    database.run(
        "UPDATE generator_weights SET weight = CASE generator_name WHEN 'coach' THEN 0.1 WHEN 'storyteller' THEN 0.8 ELSE 0.1 END;
         UPDATE healer.action SET before = jsonb_set(before, '{weight}', (CASE target WHEN 'coach' THEN '0.8' ELSE '0.1' END)::jsonb),
                                  after = jsonb_set(after, '{weight}', (CASE target WHEN 'storyteller' THEN '0.8' ELSE '0.1' END)::jsonb)
          WHERE check_name = 'generators';
         UPDATE healer.content_weights SET generators = CASE WHEN run_id IS NULL THEN '{\"coach\": 0.8, \"storyteller\": 0.1, \"explorer\": 0.1}'::jsonb
                                                        ELSE '{\"coach\": 0.1, \"storyteller\": 0.8, \"explorer\": 0.1}' END",
    );
    pass_time(&database, "6 days");
    database.run(FOLLOWING);
    let later = optimize(&healer, &["--dry-run"]).exits(0);
    let verdict = later.json["verdict"].as_str().expect("a line");
    assert!(
        verdict.starts_with("run 1: the change of generators HARMED") && verdict.contains("healer undo 1"),
        "{verdict}"
    );
    assert_eq!(later.check("earlier-changes")["status"], "warning");
    let first = &later.json["performanceChanges"][0];
    assert_eq!((&first["harmed"], &first["undo"]), (&json!(true), &json!("healer undo 1")));
    healer.run(&["undo", "1", "--only", "generators"]).exits(0);
    assert_eq!(weight(&database, "coach"), 8_000);
}

/// What the bad data is, what must be said, and of what.
struct Bad {
    what: &'static str,
    rate: &'static str,
    edit: &'static str,
    config: &'static str,
    said: (&'static str, &'static str),
    /// Whether the weights of generators may move.
    moves: bool,
}

const BAD: &[Bad] = &[
    Bad {
        what: "no outcomes table",
        rate: COACH,
        edit: "DROP TABLE outcomes",
        config: "",
        said: ("generators", "table outcomes is missing"),
        moves: false,
    },
    Bad {
        what: "no generator_weights",
        rate: COACH,
        edit: "DROP TABLE generator_weights",
        config: "",
        said: ("generators", "table generator_weights is missing"),
        moves: false,
    },
    Bad {
        what: "all rewards 0",
        rate: "0",
        edit: "",
        config: "",
        said: ("generators", "the same value"),
        moves: false,
    },
    Bad {
        what: "one arm only",
        rate: COACH,
        edit: "DELETE FROM generator_weights WHERE generator_name <> 'coach'; UPDATE generator_weights SET weight = 1",
        config: "",
        said: ("generators", "fewer than two"),
        moves: false,
    },
    Bad {
        what: "impressions 0",
        rate: COACH,
        edit: "UPDATE outcomes SET impressions = 0",
        config: "",
        said: ("generators", "only 0 measured posts"),
        moves: false,
    },
    Bad {
        what: "impressions not measured",
        rate: COACH,
        edit: "UPDATE outcomes SET impressions = NULL",
        config: "",
        said: ("generators", "only 0 measured posts"),
        moves: false,
    },
    Bad {
        what: "a column gone",
        rate: COACH,
        edit: "ALTER TABLE outcomes DROP COLUMN retweets",
        config: "",
        said: ("generators", "no numbers in retweets"),
        moves: false,
    },
    Bad {
        what: "few posts",
        rate: COACH,
        edit: "DELETE FROM outcomes WHERE substr(decision_id, 2)::int > 170",
        config: "",
        said: ("generators", "are needed"),
        moves: false,
    },
    Bad { what: "nobody is better", rate: EQUAL, edit: "", config: "", said: ("generators", ""), moves: true },
    Bad {
        what: "sums to 0.95",
        rate: EQUAL,
        edit: "UPDATE generator_weights SET weight = 0.25 WHERE generator_name = 'explorer'",
        config: "",
        said: ("generators", "sum to 0.9500 instead of 1"),
        moves: true,
    },
    Bad {
        what: "far beyond 1",
        rate: EQUAL,
        edit: "UPDATE generator_weights SET weight = 1",
        config: "",
        said: ("generators", "no weights satisfy all rules"),
        moves: false,
    },
    Bad {
        what: "a generator that only the posts know",
        rate: COACH,
        edit: "UPDATE content_generation_metadata_comprehensive SET generator_name = 'ghost' WHERE generator_name = 'explorer'",
        config: "",
        said: ("generators", ""),
        moves: true,
    },
    Bad {
        what: "no name at all",
        rate: COACH,
        edit: "UPDATE content_generation_metadata_comprehensive SET generator_name = NULL",
        config: "",
        said: ("generators", "only 0 measured posts"),
        moves: false,
    },
    Bad {
        what: "huge numbers",
        rate: EQUAL,
        edit: "UPDATE outcomes SET impressions = 1, likes = 2147483647, retweets = 2147483647, replies = 2147483647 WHERE substr(decision_id, 2)::int % 17 = 0",
        config: "",
        said: ("generators", ""),
        moves: true,
    },
    Bad {
        what: "negative counts",
        rate: EQUAL,
        edit: "UPDATE outcomes SET likes = -5 WHERE substr(decision_id, 2)::int % 2 = 0",
        config: "",
        said: ("generators", ""),
        moves: true,
    },
    Bad {
        what: "negative growth",
        rate: EQUAL,
        edit: "UPDATE outcomes SET followers_gained = -(substr(decision_id, 2)::int % 7), followers_before = 100, followers_after = 90",
        config: "[optimize.content]\ndraws = 600\nobjective = \"followers_per1k\"\n",
        said: ("generators", ""),
        moves: true,
    },
    Bad {
        what: "a weight of another type",
        rate: COACH,
        edit: "ALTER TABLE generator_weights DROP CONSTRAINT generator_weights_weight_check; ALTER TABLE generator_weights ALTER weight TYPE text",
        config: "",
        said: ("generators", "no readable generator_name and weight"),
        moves: false,
    },
    Bad {
        what: "infinite times",
        rate: COACH,
        edit: "UPDATE content_generation_metadata_comprehensive SET posted_at = 'infinity' WHERE decision_id LIKE '%7'",
        config: "",
        said: ("generators", ""),
        moves: true,
    },
    Bad {
        what: "another column that is not there",
        rate: COACH,
        edit: "",
        config: "[optimize.content]\ndraws = 600\nobjective = { column = \"saves\" }\n",
        said: ("generators", "outcomes.saves, the objective, is missing"),
        moves: false,
    },
];

#[test]
fn bad_data_gives_finite_weights_a_clear_word_and_no_change_where_nothing_is_known() {
    for bad in BAD {
        let (database, healer) = database(bad.rate);
        database.run(bad.edit);
        let healer = if bad.config.is_empty() { healer } else { healer.with_config(bad.config) };
        let there = database.value("SELECT to_regclass('generator_weights')").is_some();
        let before = if there { weights(&database) } else { String::new() };
        let run = optimize(&healer, &[]).exits(0);
        assert!(!run.json.to_string().contains("NaN"), "{}", bad.what);
        let (check, words) = bad.said;
        assert!(run.words(check).contains(words), "{}: {}", bad.what, run.words(check));
        if there {
            assert!(bad.moves || weights(&database) == before, "{}: {before} → {}", bad.what, weights(&database));
            if bad.moves {
                sums_to_one(&database);
            }
        }
        let unknown = run.check(check)["status"] == "unknown";
        assert_eq!(unknown, run.check(check)["found"].is_null(), "{}: what is unknown is null", bad.what);
    }
}

#[test]
fn one_outlier_among_ordinary_posts_moves_no_weight_far() {
    let (database, healer) = database("CASE k WHEN 100 THEN 6335 ELSE 120 * wobble END");
    optimize(&healer, &[]).exits(0);
    for (generator, before) in [("coach", 4_000), ("storyteller", 3_000), ("explorer", 3_000)] {
        assert!((weight(&database, generator) - before).abs() <= 300, "{}", weights(&database));
    }
}

#[test]
fn a_generator_without_posts_a_viral_outlier_and_unmeasured_followers_break_nothing() {
    let (database, healer) = database(EQUAL);
    database.run(
        "INSERT INTO generator_weights (generator_name, weight) VALUES ('newcomer', 0.01);
         UPDATE generator_weights SET weight = 0.29 WHERE generator_name = 'explorer';
         UPDATE outcomes SET likes = 500000 WHERE decision_id = 'k30'",
    );
    let run = optimize(&healer, &[]).exits(0);
    sums_to_one(&database);
    assert_eq!(weight(&database, "newcomer"), 500, "a fair start");
    let coach = arm(&run, "generators", "coach");
    assert_eq!((&coach["fPer1k"], &coach["failing"], &coach["viral"]), (&Value::Null, &json!(false), &json!(false)));
    // Measured zeros of one, gains of the others: only then it is failing.
    database.run(
        "UPDATE outcomes SET followers_before = 10, followers_after = 10, followers_gained = 0 WHERE substr(decision_id, 2)::int % 3 = 0;
         UPDATE outcomes SET followers_before = 10, followers_after = 110, followers_gained = 100 WHERE substr(decision_id, 2)::int % 3 = 1",
    );
    pass_time(&database, "5 hours");
    let run = optimize(&healer, &[]).exits(0);
    assert_eq!(arm(&run, "generators", "coach")["failing"], true);
    assert_eq!(arm(&run, "generators", "storyteller")["viral"], true);
    sums_to_one(&database);
}

#[test]
fn ids_of_other_types_are_joined_as_text() {
    for edit in
        [variant::BIGINT_ID, variant::VARCHAR_STATUS, variant::ENUM_STATUS, variant::NAIVE_TIMES, variant::PARTITIONED]
    {
        let database = TestDb::edited(&[edit]);
        let cast = if edit == variant::BIGINT_ID { "::bigint" } else { "" };
        database.run(
            "CREATE TABLE outcomes (decision_id text NOT NULL, impressions int, likes int, retweets int, replies int);
             CREATE TABLE generator_weights (generator_name text, weight numeric(5,4))",
        );
        let insert = posts(COACH)
            .replace("'k' || k", "k::text")
            .replace("outcomes (decision_id, tweet_id,", "outcomes (decision_id,");
        let insert = insert
            .replace("SELECT k::text, (1000 + k)::text, 10000", "SELECT k::text, 10000")
            .replace(", collected_at)", ")")
            .replace("0, 0, now()", "0, 0");
        let insert = insert.replacen("SELECT k::text", &format!("SELECT k::text{cast}"), 1);
        database.run(&insert.replacen(
            "'posted', at",
            if edit == variant::ENUM_STATUS { "'posted'::post_status, at" } else { "'posted', at" },
            1,
        ));
        database.run(WEIGHTS);
        let healer = Healer::on(&database).init();
        let run = optimize(&healer, &[]).exits(0);
        assert_eq!(weight_of_minimal(&database), "0.6000", "{edit}: {:#}", run.json["checks"]);
        assert!(run.json["notes"].to_string().contains("optimization_locked"), "what is missing is said");
        healer.run(&["undo", &run.id().to_string()]).exits(0);
        assert_eq!(weight_of_minimal(&database), "0.4000", "{edit}");
    }
}

fn weight_of_minimal(database: &TestDb) -> String {
    database.value("SELECT weight FROM generator_weights WHERE generator_name = 'coach'").unwrap_or_default()
}

#[test]
fn an_empty_database_and_one_without_the_schema_are_no_error() {
    let database = TestDb::new(Shape::Minimal);
    let healer = Healer::on(&database);
    let dry = healer.run(&["optimize", "content", "--dry-run"]).exits(0);
    assert_eq!(dry.check("generators")["status"], "unknown");
    healer.run(&["optimize", "content"]).exits(78);
    let healer = healer.init();
    healer.run(&["optimize", "content"]).exits(0);
    let full = TestDb::new(Shape::Full);
    let run = optimize(&Healer::on(&full).init(), &[]).exits(0);
    assert!(run.words("generators").contains("only 0 measured posts"), "{}", run.words("generators"));
    assert_eq!(run.check("generators")["status"], "ok");
}

#[test]
fn repeated_collections_teach_when_a_post_is_mature_and_the_latest_counts() {
    let (database, healer) = database(COACH);
    database.run(
        "ALTER TABLE outcomes DROP CONSTRAINT outcomes_decision_id_key;
         UPDATE outcomes SET collected_at = (SELECT posted_at + interval '96 hours' FROM content_metadata c WHERE c.decision_id = outcomes.decision_id);
         INSERT INTO outcomes (decision_id, tweet_id, impressions, likes, retweets, replies, collected_at)
         SELECT decision_id, tweet_id, impressions, likes * (1 - exp(-hours / 4.0)), 0, 0, collected_at - interval '96 hours' + hours * interval '1 hour'
           FROM outcomes CROSS JOIN generate_series(2, 60, 2) hours",
    );
    let run = optimize(&healer, &["--dry-run"]).exits(0);
    assert!(run.json["notes"].to_string().contains("mature after 12 h, learned"), "{:#}", run.json["notes"]);
    assert_eq!(arm(&run, "generators", "coach")["newWeight"], 0.6);
}

#[test]
fn another_role_without_grants_says_what_it_lacks() {
    let (database, healer) = database(COACH);
    database.run("ALTER TABLE outcomes ENABLE ROW LEVEL SECURITY");
    drop(healer);
    database.run(
        "DROP ROLE IF EXISTS content_reader; CREATE ROLE content_reader LOGIN;
         GRANT USAGE ON SCHEMA public, healer TO content_reader; GRANT SELECT ON ALL TABLES IN SCHEMA public, healer TO content_reader",
    );
    let reader = Healer::at(database.url_as("content_reader"));
    let run = optimize(&reader, &["--dry-run"]).exits(77);
    assert!(
        run.words("generators").contains("row-level security hides rows of outcomes"),
        "{}",
        run.words("generators")
    );
    database.run("DROP OWNED BY content_reader; DROP ROLE content_reader");
}
