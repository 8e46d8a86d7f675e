//! The sandbox: it starts, lasts, is shared, stops with its last user however that one ends, and holds what it says.

use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use healer::sandbox::{Cluster, ClusterOptions, Sandbox, SandboxError, seed};
use tempfile::TempDir;

use crate::support::cluster::{Shape, TestDb, server};
use crate::support::program::Healer;
use crate::support::receiver::Receiver;

/// Tells a copy of this test binary to use a server until it is killed, and in which folder.
const HOLD: &str = "HEALER_TEST_HOLD";

/// Tells that copy to be killed while it fills.
const HOLD_FILLING: &str = "HEALER_TEST_HOLD_FILLING";

/// A folder that an unprivileged server can reach.
fn folder() -> TempDir {
    let dir = tempfile::Builder::new().prefix("healer-sandbox-").tempdir().expect("a temporary folder");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("changed");
    dir
}

fn options<'a>(dir: &'a Path, filling: &'a str) -> ClusterOptions<'a> {
    ClusterOptions { dir, filling, settings: &[], remove: false }
}

fn fill(cluster: &Cluster) -> Result<(), SandboxError> {
    let seed = |source| SandboxError::Seed { file: "test", source };
    cluster
        .client("postgres")?
        .batch_execute("CREATE TABLE kept (value int); INSERT INTO kept VALUES (1)")
        .map_err(seed)
}

fn open(dir: &Path) -> Cluster {
    Cluster::open(&options(dir, "test"), &fill).unwrap_or_else(|error| panic!("{error}: {}", error.hint()))
}

fn kept(cluster: &Cluster) -> i64 {
    cluster.client("postgres").expect("a client").query_one("SELECT count(*) FROM kept", &[]).expect("an answer").get(0)
}

fn is_running(dir: &Path) -> bool {
    dir.join("data/postmaster.pid").exists()
}

/// Starts a copy of this test binary that runs only [`hold`], and waits for its word.
fn holder(dir: &Path, variable: &str) -> Child {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "sandbox::hold", "--nocapture", "--test-threads=1"])
        .env(variable, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a second process");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    // The name of the test stands before the word on the same line.
    assert!(lines.any(|line| line.expect("a line").ends_with("holding")), "it never said that it holds the server");
    child
}

fn say_and_wait() {
    println!("holding");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// Not a test of its own: what the second process does.
#[test]
fn hold() {
    if let Some(dir) = std::env::var_os(HOLD) {
        let _cluster = open(Path::new(&dir));
        say_and_wait();
    }
    if let Some(dir) = std::env::var_os(HOLD_FILLING) {
        let _ = Cluster::open(&options(Path::new(&dir), "test"), &|cluster| {
            fill(cluster)?;
            say_and_wait();
            Ok(())
        });
    }
}

#[test]
fn its_state_lasts_and_its_server_does_not() {
    let dir = folder();
    let first = open(dir.path());
    assert!(first.created());
    first.client("postgres").expect("a client").batch_execute("INSERT INTO kept VALUES (2)").expect("inserted");
    drop(first);
    assert!(!is_running(dir.path()));

    let second = open(dir.path());
    assert!(!second.created());
    assert_eq!(kept(&second), 2);
}

#[test]
fn many_at_once_share_one_server_that_is_filled_once() {
    let dir = folder();
    let created: usize = std::thread::scope(|scope| {
        let users: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let cluster = open(dir.path());
                    assert_eq!(kept(&cluster), 1);
                    usize::from(cluster.created())
                })
            })
            .collect();
        users.into_iter().map(|user| user.join().expect("no panic")).sum()
    });
    assert_eq!(created, 1);
    assert!(!is_running(dir.path()));
}

#[test]
fn it_stays_while_another_process_uses_it_and_stops_when_that_one_is_killed() {
    let dir = folder();
    let mine = open(dir.path());
    let mut other = holder(dir.path(), HOLD);
    drop(mine);
    assert!(is_running(dir.path()), "the other process still uses it");

    other.kill().expect("killed");
    other.wait().expect("gone");
    while is_running(dir.path()) {
        std::thread::yield_now();
    }
    assert_eq!(kept(&open(dir.path())), 1);
}

#[test]
fn one_who_comes_while_it_is_stopping_gets_a_server() {
    let dir = folder();
    drop(open(dir.path()));
    for _ in 0..5 {
        let mut other = holder(dir.path(), HOLD);
        other.kill().expect("killed");
        other.wait().expect("gone");
        // The keeper of the other is at work just now.
        let mine = open(dir.path());
        assert_eq!(kept(&mine), 1);
        assert!(!mine.created());
    }
}

#[test]
fn what_was_left_half_filled_is_made_anew() {
    let dir = folder();
    let mut other = holder(dir.path(), HOLD_FILLING);
    other.kill().expect("killed");
    other.wait().expect("gone");
    let mine = open(dir.path());
    assert!(mine.created());
    assert_eq!(kept(&mine), 1);
}

#[test]
fn a_filling_that_fails_is_tried_again() {
    let dir = folder();
    let error = Cluster::open(&options(dir.path(), "test"), &|_| Err(SandboxError::Prepare { message: "no".into() }));
    assert!(matches!(error, Err(SandboxError::Prepare { .. })));
    assert!(!is_running(dir.path()));
    assert!(open(dir.path()).created());
}

#[test]
fn another_filling_is_made_anew_but_not_under_its_users() {
    let dir = folder();
    let used = open(dir.path());
    let error = Cluster::open(&options(dir.path(), "newer"), &fill).map(|_| ());
    assert!(matches!(error, Err(SandboxError::OtherFilling { .. })), "{error:?}");
    assert_eq!(kept(&used), 1);
    drop(used);

    let newer = Cluster::open(&options(dir.path(), "newer"), &fill).expect("it opens");
    assert!(newer.created());
}

#[test]
fn data_of_another_version_of_postgres_is_made_anew() {
    let dir = folder();
    drop(open(dir.path()));
    fs::write(dir.path().join("data/PG_VERSION"), "9\n").expect("written");
    assert!(open(dir.path()).created());
}

#[test]
fn a_folder_with_something_else_in_it_is_refused_and_left_alone() {
    let dir = folder();
    fs::write(dir.path().join("thesis.txt"), "mine").expect("written");
    let called = Cell::new(false);
    let error = Cluster::open(&options(dir.path(), "test"), &|_| {
        called.set(true);
        Ok(())
    })
    .expect_err("refused");
    assert!(matches!(error, SandboxError::Foreign { .. }), "{error}");
    assert!(!called.get());
    let names: Vec<_> =
        fs::read_dir(dir.path()).expect("listed").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names, ["thesis.txt"]);
}

#[test]
fn a_path_too_long_for_a_socket_still_works() {
    let dir = folder();
    let long = dir.path().join("a-long-name-for-a-folder/".repeat(6)).join("with spaces & signs%");
    let cluster = open(&long);
    assert_eq!(kept(&cluster), 1);
    let mut client = postgres::Client::connect(&cluster.url("postgres"), postgres::NoTls).expect("the URL is right");
    client.batch_execute("SELECT 1").expect("an answer");
    let socket_dir = cluster.socket_dir().to_owned();
    drop(cluster);
    fs::remove_dir_all(socket_dir).expect("removed");
}

#[test]
fn a_removed_server_leaves_nothing_behind() {
    let parent = folder();
    let dir = parent.path().join("gone");
    let options = ClusterOptions { remove: true, ..options(&dir, "test") };
    drop(Cluster::open(&options, &fill).expect("it opens"));
    assert!(!dir.exists());
}

#[test]
fn preparing_is_done_once_and_its_error_is_passed_on() {
    let dir = folder();
    let error = Sandbox::open(Some(dir.path()), &|_| Err("no schema".into())).expect_err("it fails");
    assert!(error.to_string().contains("no schema"), "{error}");

    let times = Cell::new(0);
    let prepare = |client: &mut postgres::Client| {
        times.set(times.get() + 1);
        client.batch_execute("CREATE SCHEMA healer").map_err(|error| error.to_string())
    };
    for created in [true, false] {
        let sandbox = Sandbox::open(Some(dir.path()), &prepare).expect("it opens");
        assert_eq!(sandbox.created(), created);
        let mut client = postgres::Client::connect(&sandbox.url(), postgres::NoTls).expect("the URL is right");
        client.batch_execute("SELECT FROM content_metadata").expect("the posts are there");
    }
    assert_eq!(times.get(), 1);
}

/// A database that is filled like the sandbox, on the tests' server.
fn filled() -> (String, postgres::Client) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("filled_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    server().client("postgres").expect("a client").batch_execute(&format!("CREATE DATABASE {name}")).expect("created");
    let mut client = server().client(&name).expect("a client");
    seed::fill(&mut client).unwrap_or_else(|error| panic!("{error}"));
    (name, client)
}

#[test]
fn two_fillings_differ_in_nothing_but_the_clock() {
    // Ids of the platform carry the time, and so do the figures that depend on the hour or on the age of a post.
    let digest =
        "SELECT md5(string_agg(decision_id || decision_type || content || status || generator_name || topic_cluster
                      || coalesce(thread_parts::text, '') || coalesce(error_message, '') || is_test_post
                      || (tweet_id IS NULL) || (posted_at IS NULL), '' ORDER BY decision_id))
                      || md5((SELECT string_agg(expected || story, '' ORDER BY decision_id) FROM sandbox.expectation))
                      || (SELECT count(*) FROM post_receipts) || (SELECT count(*) FROM post_attempts)
                      || (SELECT md5(string_agg(id || event_type || severity, '' ORDER BY id)) FROM system_events)
                  FROM content_generation_metadata_comprehensive";
    let digests: Vec<String> = (0..2).map(|_| filled().1.query_one(digest, &[]).expect("a digest").get(0)).collect();
    assert_eq!(digests[0], digests[1]);
}

/// What must hold in a filling: in words, and as what follows SELECT.
fn assert_holds(facts: &[(&str, &str)]) {
    static SHARED: LazyLock<String> = LazyLock::new(|| filled().0);
    let mut client = server().client(&SHARED).expect("a client");
    for (what, sql) in facts {
        let row = client.query_one(&format!("SELECT {sql}"), &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert!(row.get::<_, bool>(0), "{what}: {sql}");
    }
}

#[test]
fn thirty_days_of_posts_are_believable() {
    assert_holds(&[
        ("20,000 posts", "count(*) BETWEEN 20000 AND 20200 FROM content_metadata"),
        (
            "over 30 days",
            "min(created_at) BETWEEN now() - interval '31 days' AND now() - interval '29 days' FROM content_metadata",
        ),
        (
            "nothing but a schedule lies ahead",
            "count(*) = 0 FROM content_metadata WHERE greatest(created_at, updated_at, posted_at) > now()",
        ),
        (
            "placeholders are the only ids that are not real",
            "count(*) = 4 FROM content_metadata WHERE status = 'posted' AND tweet_id !~ '^[0-9]{17,20}$'",
        ),
        ("the weights sum to 1", "sum(weight) = 1 AND count(*) = 12 FROM generator_weights"),
        ("no event lies ahead", "count(*) = 0 FROM system_events WHERE created_at > now()"),
        ("15 kinds of errors", r"count(DISTINCT event_type) >= 15 FROM system_events WHERE event_type LIKE 'error\_%'"),
        ("the scaffolding is gone", "count(*) = 0 FROM pg_proc WHERE pronamespace = 'sandbox'::regnamespace"),
    ]);
}

#[test]
fn the_ledgers_know_what_they_know_in_the_real_system() {
    for days in [7, 31] {
        let posts = format!(
            "FROM (SELECT decision_id FROM content_metadata
                   WHERE status = 'posted' AND posted_at > now() - interval '{days} days') AS p"
        );
        assert_holds(&[
            (
                "receipts know 98 %",
                &format!(
                    "avg((EXISTS (SELECT FROM post_receipts AS r WHERE r.decision_id = p.decision_id::uuid))::int) >= 0.98 {posts}"
                ),
            ),
            (
                "attempts know more than 95 %",
                &format!(
                    "avg((EXISTS (SELECT FROM post_attempts AS a WHERE a.decision_id = p.decision_id))::int) > 0.95 {posts}"
                ),
            ),
        ]);
    }
    assert_holds(&[
        (
            "attempts take 2 to 12 minutes",
            "min(used_at - approved_at) >= interval '2 minutes' AND max(used_at - approved_at) <= interval '12 minutes'
             FROM post_attempts WHERE posting_success",
        ),
        (
            "999 of 1,000 lack the event",
            "count(*) < 0.002 * (SELECT count(*) FROM content_metadata WHERE status = 'posted')
             FROM system_events WHERE event_type IN ('POST_SUCCESS', 'REPLY_SUCCESS')",
        ),
        ("posting_attempts is empty", "count(*) = 0 FROM posting_attempts"),
        ("receipts have row-level security", "relrowsecurity FROM pg_class WHERE oid = 'post_receipts'::regclass"),
    ]);
}

#[test]
fn every_fault_is_planted_and_no_other_is_there() {
    let not_planted = |check: &str| {
        format!(
            "decision_id NOT IN (SELECT decision_id FROM sandbox.expectation
                                 WHERE check_name = '{check}' AND expected <> 'untouched')"
        )
    };
    assert_holds(&[
        (
            "nothing else is stuck",
            &format!(
                "count(*) = 0 FROM content_metadata
                 WHERE status = 'posting' AND updated_at < now() - interval '30 minutes' AND {}",
                not_planted("stuck-posts")
            ),
        ),
        (
            "nothing else lacks its id",
            &format!(
                "count(*) = 0 FROM content_metadata WHERE status = 'posted' AND posted_at > now() - interval '24 hours'
                 AND coalesce(tweet_id, '') !~ '^[0-9]+$' AND {}",
                not_planted("missing-ids")
            ),
        ),
        (
            "nothing else failed long ago, but for what is yet to come",
            &format!(
                "count(*) = 1 FROM content_metadata WHERE status = 'failed' AND updated_at < now() - interval '7 days' AND {}",
                not_planted("old-failed")
            ),
        ),
        (
            "what is planted is there",
            "count(*) FILTER (WHERE p.content = e.story) = count(*) AND count(*) > 90
             FROM sandbox.expectation AS e LEFT JOIN content_metadata AS p USING (decision_id)",
        ),
        (
            "what was sent has an id to be found",
            "bool_and((expected IN ('posted', 'id_filled')) = (external_id IS NOT NULL)) FROM sandbox.expectation",
        ),
        (
            "fewer than 20 are to be queued, less than half of what waits",
            "count(*) < 20 AND 2 * count(*) <= (SELECT count(*) FROM content_metadata WHERE status IN ('queued', 'ready', 'posting'))
             FROM sandbox.expectation WHERE expected = 'queued'",
        ),
    ]);
}

#[test]
fn the_better_generator_format_and_hours_truly_earn_more() {
    let earned = "FROM (SELECT ln((likes + 0.5) / impressions) AS rate, generator_name, decision_type, extract(hour FROM posted_at)
                        FROM outcomes JOIN content_metadata USING (decision_id)) AS o (rate, generator, type, hour)";
    let more = |better: &str, others: &str, by: f64| {
        format!("avg(rate) FILTER (WHERE {better}) > avg(rate) FILTER (WHERE {others}) + {by} {earned}")
    };
    assert_holds(&[
        ("contrarian", &more("generator = 'contrarian'", "generator <> 'contrarian'", 0.4)),
        ("threads", &more("type = 'thread'", "type = 'single'", 0.15)),
        ("hours", &more("hour IN (13, 14, 15, 16, 20, 21)", "hour NOT IN (13, 14, 15, 16, 20, 21)", 0.15)),
    ]);
}

#[test]
fn its_tables_are_those_of_the_full_shape() {
    let columns = "SELECT md5(string_agg(c::text, '' ORDER BY c::text)) FROM (SELECT table_name, column_name, data_type, is_nullable
        FROM information_schema.columns WHERE table_schema = 'public') AS c";
    let (_, mut client) = filled();
    let found: String = client.query_one(columns, &[]).expect("columns").get(0);
    assert_eq!(TestDb::new(Shape::Full).value(columns), Some(found));
}

/// What a folder of a real system holds, and what is set there: none of it is meant for the sandbox.
fn beside_a_real_system(receiver: &Receiver, arguments: &[&str]) -> Healer {
    let real = "[posts]\ntable = \"the_real_posts\"\n[alerts]\nspool = \"spool\"\n
        [alerts.channels.team]\nkind = \"slack\"\nurl_env = \"HOOK\"\n
        [alerts.channels.watch]\nkind = \"healthchecks\"\npass = \"heal\"\nurl_env = \"WATCH\"\n";
    let mut healer = Healer::bare(arguments).config(real);
    for (name, value) in [
        ("DATABASE_URL", "postgres://postgres:sesame@127.0.0.1:1/real"),
        ("DATABASE_DIRECT_URL", "postgres://postgres:sesame@127.0.0.1:1/real"),
        ("PGOPTIONS", "-c default_transaction_read_only=on"),
        ("PGTARGETSESSIONATTRS", "standby"),
        ("PGREQUIREAUTH", "scram-sha-256"),
        ("PGSERVICE", "real"),
        ("PGHOSTADDR", "127.0.0.1"),
        ("PATH", &std::env::var("PATH").unwrap_or_default()),
        ("HEALER_PG_BIN", &std::env::var("HEALER_PG_BIN").unwrap_or_default()),
        ("HOOK", &receiver.url("/services/T0/B0/real")),
        ("WATCH", &receiver.url("/7f3c9f0e-2d5b-4a55-9d0a-0f6ad4b3a1c2")),
    ] {
        if !value.is_empty() {
            healer = healer.env(name, value);
        }
    }
    healer
}

#[test]
fn nothing_of_the_real_system_reaches_the_sandbox_and_nobody_hears_of_its_faults() {
    let dir = folder();
    let receiver = Receiver::new(200, |_| Ok(()));
    let sandbox = format!("--sandbox={}", dir.path().join("sandbox").display());
    let run = |arguments: &[&str]| beside_a_real_system(&receiver, &[&[sandbox.as_str()], arguments].concat());
    // What is planted is found and healed, on the sandbox's own tables; held posts make it 3.
    let document = run(&["heal", "--format", "json"]).run().expect(3).json();
    assert!(document["counts"]["applied"].as_i64().is_some_and(|applied| applied > 0), "{document}");
    let doctor = run(&["doctor"]).run().expect(0);
    assert!(doctor.stdout.contains("the sandbox reads no file but that of --config"), "{}", doctor.stdout);
    assert!(!doctor.stdout.contains("alert channel"), "{}", doctor.stdout);
    // The file that is named counts, but for its channels.
    let named = run(&["heal", "--dry-run", "--config", "healer.toml"]).run().expect(78);
    assert!(named.stderr.contains("the_real_posts"), "{}", named.stderr);
    run(&["heal", "--config", "healer.toml"]).run().expect(78);
    let tried = run(&["report", "--test-alert", "team", "--config", "healer.toml"]).run().expect(2);
    assert!(tried.stderr.contains("the sandbox tells nobody"), "{}", tried.stderr);
    assert!(receiver.take().is_empty(), "somebody was told");
    assert!(!dir.path().join("spool").exists());
}
