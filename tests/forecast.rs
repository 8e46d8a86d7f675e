//! What is foretold on a real database: from both shapes of histories, stored, settled, shown; and what bad input does
//! to it: nothing.

use std::time::{Duration, Instant};

use serde_json::Value;

use healer::change::lease::{Lease, Taken};
use healer::database::session::StopFlag;
use healer::database::url::{self, Surroundings, UrlSource};
use healer::forecast::outlook::{self, Kept, Outlook};
use healer::forecast::{AlarmKind, JobForecast};
use healer::heal::{CheckResult, Status};
use healer::settings::Settings;
use healer::start::{Origin, Start};

use crate::support::cluster::{Shape, TestDb, variant};
use crate::support::program::{Healer, fingerprint};

/// A database of a shape with the schema `healer`.
fn ready(shape: Shape) -> TestDb {
    let database = TestDb::new(shape);
    Healer::on(&database, &["init"]).run().expect(0);
    database
}

fn with_history_table() -> TestDb {
    let database = TestDb::edited(&[variant::HEARTBEAT_HISTORY]);
    Healer::on(&database, &["init"]).run().expect(0);
    database
}

fn open(database: &TestDb, config: &str) -> Start {
    let settings = Settings::from_toml(config).expect("a valid configuration");
    let target = url::parse(&database.url(), UrlSource::Sandbox, &Surroundings::of_process()).expect("a URL");
    let deadline = Instant::now() + Duration::from_secs(600);
    Origin { target, deadline, stop: StopFlag::default(), settings }.open().expect("a connection")
}

fn detect_with(database: &TestDb, config: &str) -> Outlook {
    let mut start = open(database, config);
    let mapping = start.mapping().expect("the posts");
    let settings = start.settings().clone();
    outlook::detect(&mut start.session, &settings, &mapping, &start.catalog).expect("an outlook")
}

fn detect(database: &TestDb) -> Outlook {
    detect_with(database, "")
}

/// Foretells and stores, as the pass does.
fn foretell(database: &TestDb) -> (Outlook, Kept) {
    let mut start = open(database, "");
    let mapping = start.mapping().expect("the posts");
    let settings = start.settings().clone();
    let Taken::Ours(lease) =
        Lease::take(&mut start.session, "optimize-performance", "optimize performance", None).expect("a lease")
    else {
        panic!("nobody else is at work")
    };
    let outlook = outlook::detect(&mut start.session, &settings, &mapping, &start.catalog).expect("an outlook");
    let kept = outlook::act(&mut start.session, &lease, &outlook).expect("it is stored");
    database.run("UPDATE healer.lease SET expires_at = '-infinity', token = '' WHERE pass = 'optimize-performance'");
    (outlook, kept)
}

#[track_caller]
fn job<'a>(outlook: &'a Outlook, name: &str) -> &'a JobForecast {
    outlook.jobs.iter().find(|job| job.job == name).unwrap_or_else(|| panic!("no job {name}"))
}

#[track_caller]
fn check(outlook: &Outlook, name: &str) -> CheckResult {
    outlook.checks().into_iter().find(|check| check.name == name).expect("the check")
}

/// Exactly noted runs of a job, the newest half an interval ago. `ms` is SQL of the run's number `i`, from 1 for the
/// oldest; `e` is noise with a deviation of 1 that is the same in every test.
fn runs(job: &str, number: u32, every_minutes: u32, ms: &str) -> String {
    format!(
        "INSERT INTO healer.job_run (job, status, at, duration_ms, source)
         SELECT '{job}', 'success', now() - ({number} - i + 0.5) * interval '{every_minutes} minutes', ({ms})::bigint, 'trigger'
           FROM (SELECT i, sqrt(-2 * ln(1 - u)) * cos(2 * pi() * v) AS e
                   FROM (SELECT i, (hashint8extended(i, 7) & 1048575) / 1048576.0 AS u,
                                (hashint8extended(i, 11) & 1048575) / 1048576.0 AS v
                           FROM generate_series(1, {number}) AS i) AS drawn) AS n"
    )
}

/// A line in a heartbeat table of history shape.
fn lines(job: &str, number: u32, every_minutes: u32, ms: &str) -> String {
    format!(
        "INSERT INTO public.job_heartbeats (job_name, status, execution_time_ms, created_at)
         SELECT '{job}', 'success', {ms}, now() - ({number} - i + 0.5) * interval '{every_minutes} minutes'
           FROM generate_series(1, {number}) AS i"
    )
}

fn report(database: &TestDb) -> Value {
    Healer::on(database, &["report", "forecast", "--format", "json"]).run().expect(0).json()
}

#[test]
fn a_creeping_job_is_foretold_and_its_healthy_neighbours_are_not() {
    let database = ready(Shape::Minimal);
    database.run(&runs("creeping", 90, 30, "60000 * exp(0.2 * e) * power(1.03, greatest(i - 55, 0))"));
    database.run(&runs("steady", 200, 5, "40000 * exp(0.4 * e)"));
    database.run(&runs("tails", 120, 15, "20000 * exp(0.8 * e)"));
    let outlook = detect(&database);
    let creeping = job(&outlook, "creeping");
    let until = creeping.limit_in_runs.as_ref().expect("it will reach its limit");
    // 60 s × 1.03^35 is 169 s, and 300 s is 19 runs on; the first single run above it comes a little before.
    assert!((6.0..=24.0).contains(&until.typical), "{until:?}");
    assert!(until.low <= until.typical && until.high.is_some_and(|high| high < 40.0), "{until:?}");
    assert!(creeping.alarms.iter().any(|alarm| alarm.kind == AlarmKind::Slower), "{:?}", creeping.alarms);
    for name in ["steady", "tails"] {
        let told = job(&outlook, name);
        assert!(told.alarms.is_empty() && told.limit_in_runs.is_none(), "{told:?}");
    }
    let found = check(&outlook, outlook::JOBS);
    assert_eq!((found.status, found.found), (Status::Warning, Some(1)));
    let keys: Vec<String> = outlook.concerns().into_iter().map(|concern| concern.key).collect();
    assert!(keys.contains(&"forecast-limit:creeping".to_owned()), "{keys:?}");
    assert!(keys.iter().all(|key| key.ends_with(":creeping")), "{keys:?}");
}

#[test]
fn a_limit_of_its_own_is_what_a_job_is_measured_by() {
    let database = ready(Shape::Minimal);
    database.run(&runs("plan", 90, 120, "600000 * exp(0.2 * e)"));
    let p = |config: &str| job(&detect_with(&database, config), "plan").exceeds_limit.expect("enough runs").p;
    assert!(p("") > 0.9);
    assert!(p("[forecast.time_limits]\nplan = \"30m\"") < 0.05);
}

#[test]
fn a_history_of_lines_is_read_with_its_durations() {
    let database = with_history_table();
    database.run(&lines("posting", 60, 5, "30000 + i * 10"));
    database.run(&lines("self_healing", 60, 15, "900"));
    let outlook = detect(&database);
    let told = job(&outlook, "posting");
    assert_eq!(told.runs, 60);
    assert!(told.expected_ms.is_some_and(|expected| (29_000.0..32_000.0).contains(&expected.typical)), "{told:?}");
    assert!(outlook.jobs.iter().all(|job| job.job != "self_healing"), "healer's own lines are none of the system's");
}

#[test]
fn below_eight_runs_it_abstains_and_the_report_says_so() {
    let database = ready(Shape::Minimal);
    database.run(&runs("seldom", 7, 60, "1000"));
    let (outlook, kept) = foretell(&database);
    assert!(job(&outlook, "seldom").abstained.is_some());
    assert_eq!(kept.claims, 0);
    assert_eq!(check(&outlook, outlook::JOBS).status, Status::Unknown);
    let text = Healer::on(&database, &["report", "forecast"]).run().expect(0).stdout;
    assert!(text.contains("seldom: nothing is foretold: 7 runs so far, it takes 8"), "{text}");
}

#[test]
fn an_empty_database_has_no_data_and_no_error() {
    for shape in Shape::ALL {
        let database = TestDb::new(shape);
        // Before there is a schema: what can be seen now is seen.
        let before = detect(&database);
        assert_eq!(check(&before, outlook::JOBS).status, Status::Unknown);
        assert!(before.resources.iter().any(|told| told.resource == "connections"));
        Healer::on(&database, &["report", "forecast"]).run().expect(0);
        Healer::on(&database, &["init"]).run().expect(0);
        assert!(report(&database)["verdict"].as_str().is_some_and(|v| v.starts_with("nothing has been foretold yet")));
        let (outlook, kept) = foretell(&database);
        assert_eq!((kept.claims, kept.settled), (0, 0));
        assert_eq!(check(&outlook, outlook::JOBS).status, Status::Unknown);
        let told = report(&database);
        assert!(!told.to_string().contains("NaN") && told["jobs"].as_array().is_some_and(Vec::is_empty), "{told:#}");
        let backlog = outlook.resources.iter().find(|told| told.resource == "posts waiting").expect("measured");
        assert_eq!((backlog.value, backlog.until_s), (Some(0.0), None));
    }
}

#[test]
fn looking_writes_nothing_and_finds_the_same_twice() {
    let database = ready(Shape::Minimal);
    database.run(&runs("creeping", 90, 30, "60000 * exp(0.2 * e) * power(1.03, greatest(i - 55, 0))"));
    let before = fingerprint(&database);
    let (first, second) = (detect(&database), detect(&database));
    assert_eq!(fingerprint(&database), before);
    assert_eq!(job(&first, "creeping").limit_in_runs, job(&second, "creeping").limit_in_runs);
}

#[test]
fn claims_are_stored_once_settled_when_their_time_has_passed_and_counted() {
    let database = ready(Shape::Minimal);
    database.run(&runs("steady", 60, 30, "20000 * exp(0.3 * e)"));
    let (_, kept) = foretell(&database);
    // The next run fails, any in six hours, takes too long, is missing, and how long it takes.
    assert_eq!(kept.claims, 5);
    let (_, again) = foretell(&database);
    assert_eq!((again.claims, again.settled), (0, 0), "the same claims are open");
    // Eight hours later: one run failed, the others were as ever.
    database.run(
        "UPDATE healer.forecast SET made_at = made_at - interval '8 hours', due_at = due_at - interval '8 hours';
         UPDATE healer.job_run SET at = at - interval '8 hours';
         INSERT INTO healer.job_run (job, status, at, duration_ms, source)
         SELECT 'steady', CASE WHEN i = 3 THEN 'failure' ELSE 'success' END, now() - (16.5 - i) * interval '30 minutes', 20000, 'trigger'
           FROM generate_series(1, 16) AS i",
    );
    let (_, later) = foretell(&database);
    assert_eq!((later.settled, later.claims), (5, 5), "five settled, and five new ones about what comes now");
    let came = |claim: &str| {
        database.value(&format!("SELECT came FROM healer.forecast WHERE claim = '{claim}' AND settled_at IS NOT NULL"))
    };
    assert_eq!(came("next_failure").as_deref(), Some("false"));
    assert_eq!(came("any_failure6h").as_deref(), Some("true"));
    assert_eq!(came("missing").as_deref(), Some("false"));
    assert_eq!(came("duration_ms").as_deref(), Some("true"));
    let told = report(&database);
    let chances = told["last30Days"]["chances"].as_array().expect("scores");
    let of = |claim: &str| chances.iter().find(|score| score["claim"] == claim).expect(claim).clone();
    assert_eq!(of("any_failure6h")["calibration"]["happened"], 1, "{told:#}");
    assert_eq!(of("next_failure")["calibration"]["forecasts"], 1, "{told:#}");
    assert_eq!(told["last30Days"]["ranges"][0]["coverage"]["inside"], 1, "{told:#}");
    let text = Healer::on(&database, &["report", "forecast"]).run().expect(0).stdout;
    assert!(text.contains("of 1 forecasts of a run failing within 6 h, 1 came true"), "{text}");
}

#[test]
fn a_claim_that_nothing_settles_is_given_up_after_a_month_and_counts_for_nothing() {
    let database = ready(Shape::Minimal);
    database.run(&runs("steady", 60, 30, "20000"));
    foretell(&database);
    database.run(
        "UPDATE healer.forecast SET made_at = made_at - interval '31 days', due_at = due_at - interval '31 days';
         DELETE FROM healer.job_run",
    );
    let (_, kept) = foretell(&database);
    assert!(kept.settled >= 5, "{kept:?}");
    assert_eq!(database.value("SELECT count(*) FROM healer.forecast WHERE came IS NOT NULL").as_deref(), Some("0"));
    assert_eq!(report(&database)["last30Days"]["chances"], serde_json::json!([]));
    // And what was settled long ago is removed.
    database.run("UPDATE healer.forecast SET settled_at = now() - interval '36 days'");
    foretell(&database);
    assert_eq!(database.value("SELECT count(*) FROM healer.forecast").as_deref(), Some("0"));
}

#[test]
fn equal_durations_one_value_and_a_negative_one_give_no_alarm_and_no_nan() {
    let database = with_history_table();
    database.run(&lines("constant", 1000, 15, "1000"));
    database.run(&lines("once", 1, 60, "1000"));
    database.run(&lines("negative", 40, 60, "CASE WHEN i = 20 THEN -5000 ELSE 1000 + i END"));
    let outlook = detect(&database);
    for told in &outlook.jobs {
        assert!(told.alarms.is_empty() && told.limit_in_runs.is_none(), "{told:?}");
        let json = serde_json::to_string(told).expect("JSON");
        assert!(!json.contains("NaN"), "{json}");
    }
    assert_eq!(job(&outlook, "negative").set_aside.negative, 1);
    assert!(job(&outlook, "negative").reasons.iter().any(|words| words.contains("1 with a negative duration")));
    assert!(job(&outlook, "once").abstained.is_some());
    assert!(
        outlook.concerns().iter().all(|concern| !concern.key.starts_with("forecast-s")),
        "{:?}",
        outlook.concerns()
    );
}

#[test]
fn durations_that_are_no_numbers_are_set_aside_with_a_word() {
    let database = with_history_table();
    database.run("ALTER TABLE public.job_heartbeats ALTER execution_time_ms TYPE double precision");
    database.run(&lines(
        "odd",
        60,
        30,
        "CASE i % 20 WHEN 1 THEN 'NaN'::float8 WHEN 2 THEN 'Infinity'::float8 WHEN 3 THEN '-Infinity'::float8
              WHEN 4 THEN NULL WHEN 5 THEN 1e15 ELSE 1000 + i END",
    ));
    let told = detect(&database);
    let odd = job(&told, "odd");
    assert_eq!((odd.runs, odd.set_aside.not_finite, odd.set_aside.implausible), (60, 9, 3));
    assert!(odd.alarms.is_empty(), "{:?}", odd.alarms);
    let (_, kept) = foretell(&database);
    assert!(kept.claims > 0);
    assert!(!report(&database).to_string().contains("NaN"));
    // A column that holds no numbers at all: the runs count, their durations are not known.
    database.run("ALTER TABLE public.job_heartbeats ALTER execution_time_ms TYPE text");
    let odd = detect(&database);
    assert!(job(&odd, "odd").expected_ms.is_none() && job(&odd, "odd").next_failure.is_some());
}

#[test]
fn duplicates_future_times_and_unknown_words_are_set_aside_with_a_word() {
    let database = with_history_table();
    database.run(&lines("posting", 40, 5, "1000"));
    database.run(
        "INSERT INTO public.job_heartbeats (job_name, status, execution_time_ms, created_at)
         SELECT job_name, status, execution_time_ms, created_at FROM public.job_heartbeats WHERE id <= 10
         UNION ALL SELECT 'posting', 'success', 1000, now() + n * interval '1 day' FROM generate_series(1, 600) AS n
         UNION ALL SELECT 'posting', 'success', 1000, 'infinity'
         UNION ALL SELECT 'posting', 'exploded', 1000, now() - interval '7 minutes'
         UNION ALL SELECT 'posting', NULL, 1000, now() - interval '8 minutes'
         UNION ALL SELECT '', 'success', 1000, now() - interval '9 minutes'",
    );
    let outlook = detect(&database);
    let told = job(&outlook, "posting");
    assert_eq!(
        (told.runs, told.set_aside.duplicates, told.set_aside.future, told.set_aside.unknown_status),
        (40, 10, 600, 2)
    );
    assert!(told.alarms.is_empty(), "{:?}", told.alarms);
    let words = told.reasons.last().expect("words");
    for part in ["10 recorded twice", "600 dated in the future", "2 with a status that is not known"] {
        assert!(words.contains(part), "{words}");
    }
}

#[test]
fn a_job_that_was_renamed_is_told_as_such_and_not_as_missing() {
    let database = ready(Shape::Minimal);
    database.run(&runs("scrape_v2", 100, 20, "20000 * exp(0.3 * e)"));
    database.run(&runs("scrape", 100, 20, "20000 * exp(0.3 * e)"));
    database.run("UPDATE healer.job_run SET at = at - interval '2000 minutes' WHERE job = 'scrape'");
    let outlook = detect(&database);
    assert!(outlook.jobs.iter().all(|job| job.alarms.is_empty()), "{:?}", outlook.concerns());
    assert!(job(&outlook, "scrape").reasons[0].contains("scrape_v2"), "{:?}", job(&outlook, "scrape").reasons);
    // Where nothing took its place it is missing.
    database.run("DELETE FROM healer.job_run WHERE job = 'scrape_v2'");
    let outlook = detect(&database);
    assert!(job(&outlook, "scrape").alarms.iter().any(|alarm| alarm.kind == AlarmKind::Missing));
}

#[test]
fn a_pause_of_weeks_of_the_whole_system_is_one_word_and_over_when_it_is_back() {
    let database = ready(Shape::Minimal);
    for name in ["a", "b", "c", "d", "e"] {
        database.run(&runs(name, 100, 20, "20000 * exp(0.3 * e)"));
    }
    database.run("UPDATE healer.job_run SET at = at - interval '10 days'");
    let silent = detect(&database);
    let keys: Vec<String> = silent.concerns().into_iter().map(|concern| concern.key).collect();
    assert_eq!(keys, ["forecast-missing:all"]);
    for name in ["a", "b", "c", "d", "e"] {
        database.run(&runs(name, 20, 20, "20000 * exp(0.3 * e)"));
    }
    let back = detect(&database);
    assert!(back.concerns().is_empty(), "{:?}", back.concerns());
}

#[test]
fn what_only_the_passes_saw_is_no_missed_run_where_no_pass_ran() {
    let database = ready(Shape::Minimal);
    let heals = |from: &str, until: &str| {
        format!(
            "INSERT INTO healer.run (pass, command, version, started_at, finished_at, status)
             SELECT 'heal', 'heal', '0', t, t + interval '1 second', 'ok'
               FROM generate_series(now() - interval '{from}', now() - interval '{until}', interval '15 minutes') AS t"
        )
    };
    database.run(&heals("6 days", "4 days"));
    database.run(&heals("1 day", "0"));
    database.run(
        "INSERT INTO healer.job_run (job, status, at, source)
         SELECT 'posting', 'success', r.started_at - interval '2 minutes', 'pass' FROM healer.run r",
    );
    let outlook = detect(&database);
    let told = job(&outlook, "posting");
    assert!(told.runs > 200 && told.alarms.is_empty(), "{:?}", told.alarms);
    assert!(told.missing.is_some_and(|missing| missing.p < 0.05), "{:?}", told.missing);
    assert!(outlook.notes.iter().any(|note| note.contains("--track-jobs")), "{:?}", outlook.notes);
}

#[test]
fn times_without_a_zone_are_read_in_the_zone_of_the_configuration() {
    let database = with_history_table();
    database.run(&lines("posting", 60, 5, "1000"));
    database.run(
        "ALTER TABLE public.job_heartbeats ALTER created_at TYPE timestamp USING created_at AT TIME ZONE 'Asia/Tokyo'",
    );
    // Nine hours ahead if taken for UTC.
    let wrong = detect(&database);
    assert!(job(&wrong, "posting").abstained.is_some());
    let right = detect_with(&database, "[posts]\ntimezone = \"Asia/Tokyo\"");
    let told = job(&right, "posting");
    assert_eq!((told.runs, told.set_aside.future, told.alarms.len()), (60, 0, 0), "{told:?}");
}

#[test]
fn a_filling_sequence_is_foretold_with_the_right_order_of_time_and_a_slow_one_is_not() {
    let database = ready(Shape::Minimal);
    // Ten days of samples; 40 million ids a day; 120 million are left: three days.
    database.run(
        "CREATE TABLE public.metric (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
         CREATE TABLE public.small (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
         SELECT setval('public.metric_id_seq', 2147483647 - 120000000);
         SELECT setval('public.small_id_seq', 5000);
         INSERT INTO healer.resource_sample (resource, at, value, most)
         SELECT 'sequence public.metric_id_seq', now() - i * interval '2 hours',
                2147483647 - 120000000 - (i + 0.3 * sin(i)) * 40000000.0 / 12, 2147483647 FROM generate_series(1, 120) AS i
         UNION ALL
         SELECT 'sequence public.small_id_seq', now() - i * interval '2 hours', 5000 - i * 10, 9223372036854775807
           FROM generate_series(1, 120) AS i",
    );
    let (outlook, _) = foretell(&database);
    let find = |name: &str| outlook.resources.iter().find(|told| told.resource == name).expect(name);
    let full = find("sequence public.metric_id_seq");
    assert!((full.limit - 2_147_483_647.0).abs() < 1.0, "the column is the limit: {full:?}");
    let until = full.until_s.as_ref().expect("it fills");
    assert!((2.0..4.0).contains(&(until.typical / 86_400.0)), "{until:?}");
    let small = find("sequence public.small_id_seq");
    assert!(small.until_s.is_none() && small.limit > 1e18, "{small:?}");
    let keys: Vec<String> = outlook.concerns().into_iter().map(|concern| concern.key).collect();
    assert_eq!(keys, ["forecast-capacity:sequence public.metric_id_seq"]);
    assert_eq!(
        database.value("SELECT claim || ' ' || kind FROM healer.forecast").as_deref(),
        Some("time_until_s resource"),
        "what it says can be checked"
    );
    // It noted where things are now.
    let noted = "SELECT count(*) FROM healer.resource_sample WHERE at > now() - interval '1 hour'";
    assert!(database.value(noted).is_some_and(|number| number.parse::<u32>().is_ok_and(|n| n >= 5)));
    let text = Healer::on(&database, &["report", "forecast"]).run().expect(0).stdout;
    assert!(text.contains("2 147 483 647"), "{text}");
}

#[test]
fn what_cannot_be_measured_has_no_sample_and_an_old_signal_is_none() {
    let database = ready(Shape::Minimal);
    foretell(&database);
    let browser = "SELECT count(*) FROM healer.resource_sample WHERE resource = 'browser queue'";
    assert_eq!(database.value(browser).as_deref(), Some("0"));
    database.run("INSERT INTO healer.signal (name, data, reported_at) VALUES ('browser', '{\"queued\": 3, \"active\": 1}', now() - interval '1 hour')");
    foretell(&database);
    assert_eq!(database.value(browser).as_deref(), Some("0"));
    database.run("SELECT healer.report_browser(4, 1, 1)");
    foretell(&database);
    assert_eq!(
        database
            .value("SELECT value || '/' || most FROM healer.resource_sample WHERE resource = 'browser queue'")
            .as_deref(),
        Some("4/10")
    );
    database.run("DROP TABLE public.system_events");
    let outlook = detect(&database);
    assert!(
        outlook.resources.iter().filter(|told| told.resource.starts_with("event table")).all(|told| told.samples == 3)
    );
}

#[test]
fn without_a_heartbeat_table_what_was_noted_before_still_counts() {
    let database = ready(Shape::Minimal);
    database.run(&runs("steady", 60, 30, "20000"));
    database.run("DROP TABLE public.job_heartbeats");
    assert!(job(&detect(&database), "steady").abstained.is_none());
    let bare = TestDb::new(Shape::Minimal);
    bare.run("DROP TABLE public.job_heartbeats");
    let found = check(&detect(&bare), outlook::JOBS);
    assert_eq!((found.status, found.found), (Status::Unknown, None));
    assert!(found.summary.contains("job_heartbeats"), "{}", found.summary);
}

#[test]
fn a_model_is_learned_kept_with_its_trial_and_shown() {
    let database = ready(Shape::Minimal);
    for (place, name) in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"].iter().enumerate() {
        database.run(&runs(name, 200, 20, "20000 * exp(0.3 * e)"));
        // Every job has a spell in which every other run fails.
        database.run(&format!(
            "UPDATE healer.job_run SET status = 'failure' WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER (ORDER BY at) AS n
               FROM healer.job_run WHERE job = '{name}') AS r WHERE n BETWEEN {0} AND {0} + 30 AND n % 2 = 0)",
            20 + place * 10
        ));
    }
    let (outlook, _) = foretell(&database);
    let model = outlook.knowledge.model.as_ref().expect("learned");
    assert!(model.rows > 2000 && model.held_out.runs > 400);
    let told = report(&database);
    assert_eq!(told["model"]["rows"].as_u64(), Some(model.rows as u64), "{told:#}");
    assert_eq!(told["model"]["inUse"], model.in_use());
    // Whichever method was used is stored with the claim.
    let used = database.value(
        "SELECT count(*) FILTER (WHERE model IS NOT NULL) > 0 FROM healer.forecast WHERE claim = 'next_failure'",
    );
    assert_eq!(used.as_deref(), Some(if model.in_use() { "true" } else { "false" }));
}

#[test]
fn the_report_reads_without_statistics_and_its_age_can_be_asked_about() {
    let database = ready(Shape::Minimal);
    database.run(&runs("creeping", 90, 30, "60000 * exp(0.2 * e) * power(1.03, greatest(i - 55, 0))"));
    database.run(&runs("steady", 200, 5, "40000 * exp(0.4 * e)"));
    foretell(&database);
    let text = Healer::on(&database, &["report", "forecast"]).run().expect(0).stdout;
    for words in [
        "1 of 2 jobs is getting worse",
        "What to look at",
        "creeping: ",
        "NEXT RUN",
        "How good the forecasts of the last 30 days were",
        "none has come due yet",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    for jargon in ["Brier", "skill", "quantile", "sigma", "CUSUM", "NaN"] {
        assert!(!text.contains(jargon), "{jargon}: {text}");
    }
    Healer::on(&database, &["report", "forecast", "--max-age", "30m"]).run().expect(0);
    database.run("UPDATE healer.outlook SET made_at = made_at - interval '5 hours'");
    Healer::on(&database, &["report", "forecast", "--max-age", "4h"]).run().expect(4);
    let quiet = Healer::on(&database, &["report", "forecast", "--quiet"]).run().expect(0).stdout;
    assert_eq!(quiet.lines().count(), 1, "{quiet}");
    assert_eq!(Healer::on(&database, &["report", "forecast", "--fail-on", "warning"]).run().code, Some(4));
}

#[test]
fn two_at_once_keep_each_claim_once() {
    let database = ready(Shape::Minimal);
    database.run(&runs("steady", 60, 30, "20000 * exp(0.3 * e)"));
    let (mut one, mut two) = (open(&database, ""), open(&database, ""));
    let look = |start: &mut Start| {
        let mapping = start.mapping().expect("the posts");
        let settings = start.settings().clone();
        outlook::detect(&mut start.session, &settings, &mapping, &start.catalog).expect("an outlook")
    };
    let (first, second) = (look(&mut one), look(&mut two));
    let Taken::Ours(lease) = Lease::take(&mut one.session, "optimize-performance", "test", None).expect("a lease")
    else {
        panic!("free")
    };
    assert_eq!(outlook::act(&mut one.session, &lease, &first).expect("stored").claims, 5);
    // As if the first had lost its lease to the second and did not know yet.
    assert_eq!(outlook::act(&mut two.session, &lease, &second).expect("stored").claims, 0);
    assert_eq!(database.value("SELECT count(*) FROM healer.forecast").as_deref(), Some("5"));
}

/// A database that is filled like the sandbox.
fn sick() -> TestDb {
    let database = TestDb::new(Shape::Full);
    database.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP SCHEMA IF EXISTS sandbox CASCADE");
    let mut client = database.client();
    healer::sandbox::seed::fill(&mut client).unwrap_or_else(|error| panic!("{error}"));
    Healer::on(&database, &["init"]).run().expect(0);
    healer::sandbox::seed::signals(&mut client).unwrap_or_else(|error| panic!("{error}"));
    database
}

#[test]
fn the_sandbox_foretells_its_creeping_job_and_its_sequence_and_leaves_its_healthy_jobs_alone() {
    let database = sick();
    let (outlook, _) = foretell(&database);
    let creeping = job(&outlook, "trend_refresh");
    let until = creeping.limit_in_runs.as_ref().expect("it will reach its limit");
    // 60 s × 1.03^40 is 196 s; 300 s is 14 runs on, and with its spread the first run above it comes some runs before.
    assert!((4.0..=16.0).contains(&until.typical), "{until:?}");
    let sequence =
        outlook.resources.iter().find(|told| told.resource.contains("engagement_snapshot")).expect("measured");
    let days = sequence.until_s.as_ref().expect("it fills").typical / 86_400.0;
    assert!((4.0..=9.0).contains(&days), "six days: {days}");
    for healthy in ["posting", "plan", "health_check", "id_recovery", "account_discovery"] {
        let told = job(&outlook, healthy);
        assert!(told.alarms.is_empty() && told.limit_in_runs.is_none(), "{told:?}");
    }
    let kinds = |name: &str| job(&outlook, name).alarms.iter().map(|alarm| alarm.kind).collect::<Vec<_>>();
    assert_eq!(kinds("reply_posting"), [AlarmKind::Missing]);
    assert_eq!(kinds("metrics_scraper"), [AlarmKind::Failing]);
    // Every other run of three days failed: no change for the worse by now, and no secret either.
    let flapping = job(&outlook, "peer_scraper").next_failure.expect("enough runs");
    assert!(flapping.p > 0.1 && flapping.high < 0.8, "{flapping:?}");
    assert_eq!(kinds("learn"), [AlarmKind::Skipping]);
    let mut near: Vec<&str> = outlook
        .resources
        .iter()
        .filter(|told| outlook::urgency(told) != Status::Ok)
        .map(|told| told.resource.as_str())
        .collect();
    near.sort_unstable();
    // The browser queue of the sandbox is full just now.
    assert_eq!(near, ["browser queue", "sequence public.engagement_snapshot_id_seq"]);
}

#[test]
fn the_pass_foretells_stores_and_tells_and_its_dry_run_does_only_the_last() {
    let database = ready(Shape::Minimal);
    database.run(&runs("creeping", 90, 30, "60000 * exp(0.2 * e) * power(1.03, greatest(i - 55, 0))"));
    let pass = |args: &[&str]| {
        let mut all = vec!["optimize", "performance", "--format", "json"];
        all.extend_from_slice(args);
        Healer::on(&database, &all).run().json()
    };
    let status = |document: &Value, name: &str| {
        let checks = document["checks"].as_array().expect("checks").clone();
        checks.iter().find(|check| check["name"] == name).expect("the check")["status"].clone()
    };
    let before = fingerprint(&database);
    let dry = pass(&["--dry-run"]);
    assert_eq!(fingerprint(&database), before);
    assert_eq!(status(&dry, outlook::JOBS), "warning");
    assert_eq!(database.value("SELECT count(*) FROM healer.outlook").as_deref(), Some("0"));
    let done = pass(&[]);
    assert_eq!(status(&done, outlook::JOBS), "warning");
    assert!(done["forecast"]["claims"].as_u64().is_some_and(|claims| claims >= 5), "{:#}", done["forecast"]);
    assert_eq!(database.value("SELECT count(*) > 0 FROM healer.outlook").as_deref(), Some("true"));
    let recommended = done["recommendations"].to_string();
    assert!(recommended.contains("creeping will exceed its time limit"), "{recommended}");
    assert_eq!(report(&database)["jobs"][0]["job"], "creeping");
}

#[test]
fn what_could_not_be_read_stays_as_it_was_last_foretold_and_learned() {
    let database = ready(Shape::Minimal);
    database.run(&runs("creeping", 90, 30, "60000 * exp(0.2 * e) * power(1.03, greatest(i - 55, 0))"));
    database.run(&runs("steady", 60, 30, "20000 * exp(0.3 * e)"));
    foretell(&database);
    database.run("UPDATE healer.outlook SET made_at = made_at - interval '2 hours'");
    let stored = "SELECT string_agg(subject, ' ' ORDER BY subject) FROM healer.outlook WHERE kind = 'job'";
    let learned = "SELECT value FROM healer.setting WHERE name = 'forecast_knowledge'";
    let open = "SELECT count(*) FROM healer.forecast WHERE settled_at IS NULL AND kind = 'job'";
    let before = [stored, learned, open].map(|sql| database.value(sql));
    assert_eq!(before[0].as_deref(), Some("creeping steady"));

    database.run("ALTER TABLE healer.job_run RENAME COLUMN job TO renamed");
    let (outlook, _) = foretell(&database);
    let failed = check(&outlook, outlook::JOBS);
    assert!(failed.status == Status::Unknown && failed.incomplete, "{failed:?}");
    assert_eq!([stored, learned, open].map(|sql| database.value(sql)), before);
    let told = report(&database);
    assert_eq!(told["jobs"].as_array().map(Vec::len), Some(2), "{told:#}");
    assert!(told["ageSeconds"].as_i64() >= Some(7_200), "{told:#}");
    assert!(told["notes"].to_string().contains("could not be read since"), "{told:#}");
    Healer::on(&database, &["report", "forecast", "--fail-on", "warning"]).run().expect(4);

    // Read again, a job that is gone goes.
    database.run(
        "ALTER TABLE healer.job_run RENAME COLUMN renamed TO job; DELETE FROM healer.job_run WHERE job = 'steady'",
    );
    foretell(&database);
    assert_eq!(database.value(stored).as_deref(), Some("creeping"));
    assert_eq!(report(&database)["notes"], serde_json::json!([]));
}

#[test]
fn resources_that_could_not_be_read_stay_as_they_were_last_foretold() {
    let database = ready(Shape::Minimal);
    foretell(&database);
    let stored = "SELECT count(*) FROM healer.outlook WHERE kind = 'resource'";
    let before = database.value(stored);
    assert!(before.as_deref() > Some("0"), "{before:?}");
    // The pass notes a sample of each resource after it: that fails as well, and the outlook is stored by then.
    database.run("ALTER TABLE healer.resource_sample RENAME TO gone");
    let outlook = detect(&database);
    assert!(check(&outlook, outlook::RESOURCES).incomplete);
    Healer::on(&database, &["optimize", "performance"]).run();
    assert_eq!(database.value(stored), before);
}
