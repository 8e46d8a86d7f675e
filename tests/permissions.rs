//! What a role needs and what it gets: the least roles of `sql/roles.sql`, missing grants, and hidden rows.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use postgres::Client;
use serde_json::Value;

use crate::support::cluster::{Shape, TestDb, server};
use crate::support::program::{Healer, Ran, fingerprint};

const ROLES: &str = include_str!("../sql/roles.sql");

const CONFIG: &str = "[heal.stuck-posts]\nlimits = { thread = \"3h\" }\n[optimize.content]\ndraws = 200\n";

/// A channel that never takes anything: what it is owed is kept.
const CHANNEL: &str =
    "[alerts]\nspool = \"spool\"\n[alerts.channels.nobody]\nkind = \"slack\"\nurl_env = \"NOT_SET\"\n";

/// One post for each thing that a column tells: what is not read shows in what is done.
const POSTS: &str = r#"
DROP VIEW public.posted_decisions;
CREATE TABLE public.posted_decisions (decision_id text, tweet_id text, content text, posted_at timestamptz);
CREATE FUNCTION public.post(n int) RETURNS text LANGUAGE sql AS
    $$ SELECT '00000000-0000-4000-8000-' || lpad(n::text, 12, '0') $$;
-- Posted lately and known to the receipts, so that their silence counts.
INSERT INTO public.content_generation_metadata_comprehensive (decision_id, content, status, tweet_id, created_at, posted_at, updated_at)
SELECT public.post(n), 'x', 'posted', n::text, now() - interval '30 hours', now() - interval '26 hours', now() - interval '26 hours'
  FROM generate_series(100, 139) n;
INSERT INTO public.post_receipts (decision_id, tweet_ids, root_tweet_id, post_type, posted_at)
SELECT public.post(n)::uuid, ARRAY[n::text], n::text, 'single', now() - interval '26 hours' FROM generate_series(100, 139) n;
-- Normal durations of 10 minutes.
INSERT INTO public.post_attempts (decision_id, status, posting_success, actual_tweet_id, created_at, approved_at, used_at)
SELECT public.post(n), 'USED', true, n::text, now() - interval '27 hours', now() - interval '26 hours', now() - interval '25 hours 50 minutes'
  FROM generate_series(100, 139) n;
-- Stuck posts.
INSERT INTO public.content_generation_metadata_comprehensive
       (decision_id, content, status, decision_type, created_at, updated_at, scheduled_at, features, thread_parts, thread_tweet_ids)
SELECT public.post(n), 'x', 'posting', CASE WHEN n IN (3, 13, 20) THEN 'thread' ELSE 'single' END,
       now() - CASE WHEN n = 24 THEN interval '30 hours' ELSE interval '6 hours' END, now() - CASE WHEN n = 20 THEN interval '2 hours' ELSE interval '4 hours' END,
       CASE WHEN n = 11 THEN now() - interval '30 hours' END,
       CASE WHEN n = 10 THEN '{"tweet_id_orphan": "1010"}'::jsonb END,
       CASE WHEN n IN (3, 13, 20) THEN '["a", "b", "c"]'::jsonb END,
       CASE WHEN n = 13 THEN '["1301", "1302"]' END
  FROM generate_series(1, 28) n WHERE n NOT IN (14, 15, 16, 17);
INSERT INTO public.post_receipts (decision_id, tweet_ids, root_tweet_id, post_type, posted_at) VALUES
  (public.post(1)::uuid, '{}', '101', 'single', now() - interval '2 hours'),
  (public.post(2)::uuid, '{102}', '', 'single', now() - interval '2 hours'),
  (public.post(3)::uuid, '{103}', '103', 'thread', now() - interval '4 hours'),
  (public.post(17)::uuid, '{117}', '117', 'single', now() - interval '1 hour');
INSERT INTO public.post_attempts (decision_id, status, posting_success, actual_tweet_id, error_message, created_at, approved_at, used_at, expires_at) VALUES
  (public.post(4), 'USED', NULL, '104', NULL, now() - interval '4 hours', now() - interval '4 hours', now() - interval '4 hours', NULL),
  (public.post(5), 'USED', false, NULL, 'refused by the platform', now() - interval '4 hours', now() - interval '4 hours', now() - interval '4 hours', NULL),
  (public.post(6), 'PENDING', NULL, NULL, NULL, now() - interval '4 hours', NULL, NULL, now() - interval '3 hours'),
  (public.post(7), 'REJECTED', NULL, NULL, NULL, now() - interval '4 hours', NULL, NULL, NULL),
  (public.post(21), 'PENDING', NULL, NULL, NULL, now() - interval '4 hours', now() - interval '4 hours', NULL, now() - interval '3 hours'),
  (public.post(22), 'REJECTED', NULL, NULL, NULL, now() - interval '4 hours', NULL, now() - interval '4 hours', NULL),
  (public.post(25), 'PENDING', NULL, NULL, NULL, now() - interval '4 hours', NULL, NULL, NULL),
  (public.post(27), 'USED', false, NULL, 'timeout after submit', now() - interval '4 hours', now() - interval '4 hours', now() - interval '4 hours', NULL);
INSERT INTO public.posting_attempts (decision_id, status, tweet_id, error_message, created_at) VALUES
  (public.post(8), 'success', '108', NULL, now() - interval '4 hours'),
  (public.post(9), 'failed', NULL, 'refused by the platform', now() - interval '4 hours'),
  (public.post(23), 'attempting', NULL, NULL, now() - interval '4 hours'),
  (public.post(26), 'attempting', NULL, NULL, now() - interval '4 hours'),
  (public.post(28), 'failed', NULL, 'timeout after submit', now() - interval '4 hours');
-- Attempts without an outcome, on which a person decided since.
INSERT INTO healer.held_post (post, check_name, status, code, reason, held_at, resolved_at, resolution)
SELECT public.post(n), 'stuck-posts', 'posting', 'uncertain', 'x', now() - interval '3 hours', now() - interval '2 hours', 'queue'
  FROM unnest(ARRAY[25, 26]) n;
INSERT INTO public.system_events (event_type, event_data, severity, created_at) VALUES
  ('POST_SUCCESS', jsonb_build_object('decision_id', public.post(12), 'tweet_id', '112'), 'info', now() - interval '4 hours');
INSERT INTO public.posted_decisions VALUES (public.post(18), '118', 'x', now() - interval '2 hours');
-- Old failures, one of them possibly live; posted posts without id.
INSERT INTO public.content_generation_metadata_comprehensive (decision_id, content, status, created_at, updated_at, error_message) VALUES
  (public.post(14), 'x', 'failed', now() - interval '20 days', now() - interval '10 days', 'no such account'),
  (public.post(15), 'x', 'failed', now() - interval '20 days', now() - interval '10 days', 'timeout after submit');
INSERT INTO public.content_generation_metadata_comprehensive (decision_id, content, status, created_at, updated_at, posted_at) VALUES
  (public.post(16), 'x', 'posted', now() - interval '3 hours', now() - interval '1 hour', now() - interval '1 hour'),
  (public.post(17), 'x', 'posted', now() - interval '3 hours', now() - interval '1 hour', now() - interval '1 hour');
-- What the posted ones earned, and weights to move: one generator is better, one comes back from a rest.
UPDATE public.content_generation_metadata_comprehensive
   SET generator_name = CASE WHEN tweet_id::int % 2 = 0 THEN 'coach' ELSE 'storyteller' END, is_test_post = tweet_id = '139'
 WHERE status = 'posted' AND tweet_id::int >= 100;
INSERT INTO public.outcomes (decision_id, simulated, impressions, likes, retweets, replies, followers_gained, followers_before,
                             followers_after, collected_at)
SELECT public.post(n), n = 138, 1000, CASE WHEN n % 2 = 0 THEN 60 ELSE 20 END + n % 7, 0, 0, 1, 10, 11,
       now() - CASE WHEN n = 137 THEN interval '20 hours' ELSE interval '0' END
  FROM generate_series(100, 139) n;
INSERT INTO public.generator_weights (generator_name, weight, status, last_updated) VALUES
  ('coach', 0.5, 'active', now() - interval '30 days'), ('storyteller', 0.5, 'active', now() - interval '30 days'),
  ('rested', 0.05, 'testing', now() - interval '30 days');
INSERT INTO public.job_heartbeats (job_name, last_success, last_failure, consecutive_failures)
VALUES ('self_healing', now() - interval '1 day', now() - interval '1 day', 3);
"#;

/// What the heal role left behind, without what differs from one run to the next.
const LEFT: &str = r"
SELECT concat_ws(' ', 'post', decision_id, status, tweet_id, posted_at > now() - interval '1 minute', posted_at > now() - interval '5 hours',
                 updated_at > now() - interval '1 minute', error_message) FROM public.content_generation_metadata_comprehensive
UNION ALL SELECT concat_ws(' ', 'action', target, action, reason, evidence, (after ->> 'posted_at')::timestamptz > now() - interval '3 hours', (SELECT string_agg(key, ',') FROM jsonb_object_keys(before) key)) FROM healer.action
UNION ALL SELECT concat_ws(' ', 'held', post, code, resolution) FROM healer.held_post
UNION ALL SELECT concat_ws(' ', 'recovery', post, resolved_by) FROM healer.id_recovery
UNION ALL SELECT concat_ws(' ', 'run', id, status, exit_code, error) FROM healer.run
UNION ALL SELECT concat_ws(' ', 'event', event_type, severity, component, message IS NULL, event_data IS NULL) FROM public.system_events
UNION ALL SELECT concat_ws(' ', 'heartbeat', job_name, last_success > now() - interval '1 minute', last_failure IS NULL, last_run_status,
                           last_error, consecutive_failures, updated_at > now() - interval '1 minute') FROM public.job_heartbeats
UNION ALL SELECT concat_ws(' ', 'weight', generator_name, weight, status, last_updated > now() - interval '1 minute') FROM public.generator_weights
UNION ALL SELECT concat_ws(' ', 'history', event_type, posts_analyzed, changes IS NULL) FROM public.optimization_events
UNION ALL SELECT concat_ws(' ', 'noted', count(*)) FROM healer.content_weights
UNION ALL SELECT concat_ws(' ', 'setting', name, locked) FROM healer.setting WHERE name LIKE 'content.%'
UNION ALL SELECT concat_ws(' ', 'alert', key, severity, channels) FROM healer.alert
UNION ALL SELECT concat_ws(' ', 'channel', name, failures, last_error) FROM healer.alert_channel
ORDER BY 1";

/// A database of its own, copied from one that is ready.
struct Copy(String);

impl Copy {
    fn of(database: &TestDb) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // The roles are the cluster's: two that make them at once are in each other's way.
        static MAKING: Mutex<()> = Mutex::new(());
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("roles_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let strategy = if server().major() >= 15 { " STRATEGY file_copy" } else { "" };
        admin()
            .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {}{strategy}", database.name()))
            .expect("a copy");
        // The grants of a database itself are not copied.
        let copy = Self(name);
        copy.client()
            .batch_execute(&format!("REVOKE ALL ON DATABASE {} FROM PUBLIC; {ROLES}", copy.0))
            .expect("the grants of the database");
        copy
    }

    fn client(&self) -> Client {
        server().client(&self.0).expect("a connection")
    }

    fn healer(&self, role: &str, arguments: &[&str]) -> Ran {
        Healer::at(&server().url_as(role, &self.0), arguments).config(CONFIG).run()
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = admin().batch_execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.0));
    }
}

fn admin() -> Client {
    server().client("postgres").expect("a connection")
}

/// The roles belong to the server: one test at a time makes and changes them.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// A hardened database with posts and roles.
fn prepared() -> TestDb {
    let database = TestDb::new(Shape::Full);
    Healer::on(&database, &["init"]).run().expect(0);
    database.run("REVOKE ALL ON SCHEMA public FROM PUBLIC");
    database.run(ROLES);
    database.run(POSTS);
    database.run(ROLES);
    // An error that nothing but the columns of the event tells.
    database.run(
        "INSERT INTO public.system_events (event_type, event_data, severity, component, message, created_at)
         VALUES ('odd', '{}', 'critical', 'bot', 'it broke badly', now() - interval '1 hour')",
    );
    // The application reports what only it knows: nothing is unknown for want of a signal.
    database.run("SELECT healer.report_browser(0, 0, 1), healer.report_breaker('posting', false, 0)");
    database
}

/// Texts without numbers and times: ages and durations differ from one run to the next.
fn steady(value: &Value) -> String {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(key, _)| {
                !key.ends_with("At") && !key.ends_with("Time") && !key.contains("imestamp") && !key.ends_with("Ms")
            })
            .map(|(key, value)| format!("{key}={};", steady(value)))
            .collect(),
        Value::Array(items) => items.iter().map(|item| steady(item) + ",").collect(),
        Value::String(text) => text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>(),
        Value::Number(_) => "#".into(),
        other => other.to_string(),
    }
}

fn outcome(ran: &Ran) -> String {
    format!("{:?} {}\n", ran.code, steady(&ran.json()))
}

/// All that the look role does.
fn look(copy: &Copy) -> String {
    [&["heal", "--dry-run"][..], &["analyze-errors", "--dry-run"], &["optimize", "content", "--dry-run"], &["report"]]
        .iter()
        .map(|command| outcome(&copy.healer("healer_look", &[command, &["--format", "json"][..]].concat())))
        .collect()
}

/// All that the heal role does, and what it left.
fn heal(copy: &Copy) -> String {
    let id = |n: u32| format!("00000000-0000-4000-8000-{n:012}");
    let mut all = String::new();
    let commands = [
        &["heal"][..],
        &["resolve", &id(23), "--fail"],
        &["undo", "1"],
        &["optimize", "content"],
        &["undo", "4"],
        &["analyze-errors"],
    ];
    for command in commands {
        let arguments = [command, &["--format", "json"][..]].concat();
        let url = server().url_as("healer_heal", &copy.0);
        all.push_str(&outcome(&Healer::at(&url, &arguments).config(&format!("{CONFIG}{CHANNEL}")).run()));
    }
    let rows = copy.client().query(LEFT, &[]).expect("what is left");
    for row in rows {
        let line: String = row.get::<_, Option<String>>(0).unwrap_or_default();
        // Times stand in the evidence.
        let line =
            if line.starts_with("action") { line.chars().filter(|c| !c.is_ascii_digit()).collect() } else { line };
        all.push_str(&line);
        all.push('\n');
    }
    all
}

/// Every single grant of a role, as what takes it away.
fn grants(copy: &Copy, role: &str) -> Vec<String> {
    let sql = format!(
        "SELECT format('REVOKE %s (%I) ON %s FROM {role}', x.privilege_type, a.attname, a.attrelid::regclass)
           FROM pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) x WHERE x.grantee = '{role}'::regrole
         UNION ALL SELECT format('REVOKE %s ON %s FROM {role}', x.privilege_type, c.oid::regclass)
           FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) x WHERE x.grantee = '{role}'::regrole
            -- How full sequences are `optimize performance` reads, which is tested by itself.
            AND c.relkind <> 'S'
         UNION ALL SELECT format('REVOKE %s ON SCHEMA %I FROM {role}', x.privilege_type, n.nspname)
           FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) x WHERE x.grantee = '{role}'::regrole
         UNION ALL SELECT format('REVOKE %s ON DATABASE this_database FROM {role}', x.privilege_type)
           FROM pg_database d CROSS JOIN LATERAL aclexplode(d.datacl) x
          WHERE x.grantee = '{role}'::regrole AND d.datname = current_database()
         UNION ALL SELECT 'ALTER ROLE {role} NOBYPASSRLS'
         ORDER BY 1"
    );
    copy.client().query(&sql, &[]).expect("the grants").iter().map(|row| row.get(0)).collect()
}

/// Takes every grant of a role that another does not have away once, and gives those that nobody missed.
fn unmissed(database: &TestDb, role: &str, beyond: Option<&str>, work: fn(&Copy) -> String) -> Vec<String> {
    let copy = Copy::of(database);
    let mut revokes = grants(&copy, role);
    if let Some(other) = beyond {
        let known = grants(&copy, other);
        revokes.retain(|revoke| !known.contains(&revoke.replace(role, other)));
    }
    assert!(revokes.len() > 25, "{revokes:?}");
    let whole = work(&copy);
    drop(copy);
    let again = Copy::of(database);
    assert_eq!(work(&again), whole, "the same twice, or nothing can be compared");
    drop(again);
    let unmissed = |revoke: &String| {
        let copy = Copy::of(database);
        let own = revoke.replace("this_database", &copy.0);
        copy.client().batch_execute(&own).expect("revoked");
        let same = work(&copy) == whole;
        if own.contains("BYPASSRLS") {
            admin().batch_execute(&format!("ALTER ROLE {role} BYPASSRLS")).expect("given back");
        }
        same
    };
    // What is the role's in all databases goes alone, the rest side by side.
    let (everywhere, here): (Vec<String>, Vec<String>) =
        revokes.into_iter().partition(|revoke| revoke.contains("BYPASSRLS"));
    let mut found: Vec<String> = everywhere.into_iter().filter(unmissed).collect();
    std::thread::scope(|scope| {
        let halves: Vec<_> = here
            .chunks(here.len().div_ceil(2))
            .map(|half| scope.spawn(|| half.iter().filter(|revoke| unmissed(revoke)).cloned().collect::<Vec<String>>()))
            .collect();
        for half in halves {
            found.extend(half.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    found
}

#[test]
fn the_look_role_is_enough_for_looking_and_no_grant_of_it_is_too_much() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let database = prepared();
    let copy = Copy::of(&database);
    let commands = [
        &["heal", "--dry-run"][..],
        &["analyze-errors", "--dry-run"],
        &["optimize", "content", "--dry-run"],
        &["report"],
        &["doctor"],
        &["init"],
    ];
    for command in commands {
        let ran = copy.healer("healer_look", command).expect(0);
        assert!(!ran.all().contains("could not"), "{}", ran.all());
    }
    drop(copy);
    assert_eq!(unmissed(&database, "healer_look", None, look), Vec::<String>::new());
}

#[test]
fn the_heal_role_is_enough_for_healing_and_no_grant_of_it_is_too_much() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let database = prepared();
    let copy = Copy::of(&database);
    // New holds make it 3; nothing failed.
    let document = copy.healer("healer_heal", &["heal", "--format", "json"]).expect(3).json();
    assert_eq!(document["counts"]["failed"], 0, "{document}");
    assert_eq!(document["counts"]["skipped"], 0, "{document}");
    copy.healer("healer_heal", &["undo", "1"]).expect(0);
    let document = copy.healer("healer_heal", &["optimize", "content", "--format", "json"]).expect(0).json();
    // All are of one format: there is nothing to choose between.
    assert_eq!(document["counts"]["applied"], 2, "{document}");
    assert_eq!(document["notes"], serde_json::json!([]), "{document}");
    copy.healer("healer_heal", &["undo", "3"]).expect(0);
    let document = copy.healer("healer_heal", &["analyze-errors", "--format", "json"]).expect(0).json();
    assert!(!document["notes"].to_string().contains("could not"), "{document}");
    drop(copy);
    // What it has in common with the look role is needed for looking, as the test of that role shows.
    assert_eq!(unmissed(&database, "healer_heal", Some("healer_look"), heal), Vec::<String>::new());
}

#[test]
fn the_look_role_cannot_act_and_neither_role_can_do_more() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let database = prepared();
    let copy = Copy::of(&database);
    for command in [&["heal"][..], &["undo", "1"], &["resolve", "p", "--fail"], &["analyze-errors"]] {
        copy.healer("healer_look", command).expect(77).one_error(&["healer", "GRANT"]);
    }
    copy.healer("healer_look", &["init"]).expect(0);
    for role in ["healer_look", "healer_heal"] {
        let mut client = Client::connect(&server().url_as(role, &copy.0), postgres::NoTls).expect("a connection");
        for sql in [
            "SELECT content FROM public.content_metadata",
            "SELECT content FROM public.content_generation_metadata_comprehensive",
            "DELETE FROM public.content_metadata",
            "INSERT INTO public.content_metadata (decision_id, content) VALUES ('x', 'x')",
            "UPDATE public.content_metadata SET content = 'x'",
            "UPDATE public.content_metadata SET decision_id = 'x'",
            "UPDATE public.content_generation_metadata_comprehensive SET status = 'x'",
            "DELETE FROM public.system_events",
            "UPDATE public.system_events SET event_data = NULL",
            "INSERT INTO public.post_receipts (tweet_ids, root_tweet_id, post_type) VALUES ('{}', '', '')",
            "DELETE FROM public.post_receipts",
            "SELECT * FROM public.outcomes",
            "UPDATE public.outcomes SET likes = 0",
            "INSERT INTO public.generator_weights (generator_name, weight) VALUES ('x', 0.5)",
            "UPDATE public.generator_weights SET optimization_locked = false",
            "DELETE FROM public.job_heartbeats",
            "DROP TABLE healer.action",
            "DELETE FROM healer.lease",
            "CREATE TABLE healer.x ()",
            "CREATE TABLE public.x ()",
            "CREATE SCHEMA x",
        ] {
            let error = client.batch_execute(sql).expect_err(sql);
            assert_eq!(error.code().map(postgres::error::SqlState::code), Some("42501"), "{role}: {sql}");
        }
    }
}

fn read(file: &str) -> String {
    std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect(file)
}

/// The healer commands of every schedule that is shipped: cron, systemd, Kubernetes.
fn scheduled() -> Vec<Vec<String>> {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<String>>();
    let of_cron = regex::Regex::new(r"(?m)^[0-9*].* timeout -k \S+ \S+ healer (.*)$").unwrap();
    let of_systemd = regex::Regex::new(r"(?m)^ExecStart=/usr/bin/healer (.*)$").unwrap();
    let of_kubernetes = regex::Regex::new(r"(?m)^\s*args: \[(.*)\]$").unwrap();
    let mut found: Vec<Vec<String>> = Vec::new();
    for file in ["crontab.example", "deploy/debian/healer.cron"] {
        found.extend(of_cron.captures_iter(&read(file)).map(|line| words(&line[1])));
    }
    for pass in ["heal", "performance", "content", "errors", "report"] {
        let unit = read(&format!("deploy/systemd/healer-{pass}.service"));
        found.extend(of_systemd.captures_iter(&unit).map(|line| words(&line[1])));
        let manifest = read(&format!("deploy/kubernetes/base/{pass}.yaml"));
        found.extend(of_kubernetes.captures_iter(&manifest).map(|line| words(&line[1].replace([',', '"'], " "))));
    }
    assert_eq!(found.len(), 4 * 5, "{found:?}");
    found.sort();
    found.dedup();
    assert!(found.len() >= 5, "{found:?}");
    found
}

/// The role of the URL that a page or a file of the handbook shows.
fn roles_of(file: &str) -> Vec<String> {
    let url = regex::Regex::new(r"postgresql://(healer_[a-z]+)[:.]").unwrap();
    let roles: Vec<String> = url.captures_iter(&read(file)).map(|found| found[1].to_owned()).collect();
    assert!(!roles.is_empty(), "{file}");
    roles
}

#[test]
fn every_schedule_works_with_the_role_that_the_example_of_its_environment_names() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut roles = roles_of("deploy/env.example");
    roles.extend(roles_of("docs/start-supabase.md"));
    roles.sort();
    roles.dedup();
    for role in roles {
        let database = TestDb::new(Shape::Full);
        Healer::on(&database, &["init"]).run().expect(0);
        database.run(ROLES);
        database.run(crate::deploy::WELL);
        for command in scheduled() {
            let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
            let ran = Healer::at(&database.url_as(&role), &arguments).run();
            assert_eq!(ran.code, Some(0), "{role}: healer {}: {}", command.join(" "), ran.all());
        }
        // Each acted, and was recorded.
        for pass in healer::pass::ALL {
            let sql = format!("SELECT count(*) > 0 FROM healer.run WHERE pass = '{}' AND exit_code = 0", pass.lease);
            assert_eq!(database.value(&sql).as_deref(), Some("true"), "{role}: {}", pass.lease);
        }
    }
}

#[test]
fn the_page_on_security_tells_of_every_role_that_is_made() {
    let made = regex::Regex::new(r"ARRAY\[('healer_[^\]]*)\] LOOP").unwrap();
    let list = made.captures(ROLES).expect("a list of roles")[1].to_owned();
    let page = read("docs/security.md");
    for role in list.split(", ").map(|role| role.trim_matches('\'')) {
        assert!(page.contains(&format!("| `{role}` |")), "{role}");
    }
}

#[test]
fn the_roles_can_be_made_on_every_shape_and_again() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for shape in Shape::ALL {
        let database = TestDb::new(shape);
        Healer::on(&database, &["init"]).run().expect(0);
        database.run(ROLES);
        database.run(ROLES);
        Healer::at(&database.url_as("healer_look"), &["heal", "--dry-run"]).run().expect(0);
        Healer::at(&database.url_as("healer_heal"), &["heal"]).run().expect(0);
    }
}

/// A role of its own, dropped at the end.
struct Role(String);

impl Role {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("somebody_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        admin().batch_execute(&format!("DROP ROLE IF EXISTS {name}; CREATE ROLE {name} LOGIN")).expect("a role");
        Self(name)
    }

    fn run(&self, database: &TestDb, arguments: &[&str]) -> Ran {
        Healer::at(&database.url_as(&self.0), arguments).run()
    }
}

const STUCK: &str = "INSERT INTO public.content_metadata (decision_id, content, status, created_at, updated_at)
    VALUES ('p1', 'x', 'posting', now() - interval '2 hours', now() - interval '45 minutes')";

#[test]
fn a_missing_grant_is_named_with_the_statement_that_gives_it() {
    let database = TestDb::new(Shape::Minimal);
    let role = Role::new();
    let name = &role.0;
    database.run(STUCK);
    role.run(&database, &["init"]).expect(77).one_error(&["init --print-sql", "GRANT CREATE ON DATABASE"]);
    Healer::on(&database, &["init"]).run().expect(0);
    let before = fingerprint(&database);
    for command in [&["heal"][..], &["heal", "--dry-run"], &["report"], &["undo", "1"], &["resolve", "p1", "--fail"]] {
        role.run(&database, command).expect(77).one_error(&[
            "may not read public.content_metadata",
            &format!("GRANT SELECT, UPDATE ON public.content_metadata TO \"{name}\";"),
        ]);
        let document = role.run(&database, &[command, &["--format", "json", "-vvv"]].concat()).expect(77).json();
        assert!(document["error"]["hint"].as_str().is_some_and(|hint| hint.contains("GRANT")), "{document}");
    }
    let doctor = role.run(&database, &["doctor"]).expect(77);
    assert!(doctor.stdout.contains("GRANT"), "{}", doctor.stdout);

    // One after the other, what it asks for is what helps.
    database.run(&format!("GRANT SELECT ON public.content_metadata TO {name}"));
    role.run(&database, &["heal"]).expect(77).one_error(&["schema healer", "GRANT USAGE ON SCHEMA healer"]);
    role.run(&database, &["heal", "--dry-run"]).expect(77);
    database
        .run(&format!("GRANT USAGE ON SCHEMA healer TO {name}; GRANT SELECT ON ALL TABLES IN SCHEMA healer TO {name}"));
    role.run(&database, &["heal"]).expect(77).one_error(&["may not write the tables of the schema healer"]);
    database.run(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA healer TO {name}"));
    role.run(&database, &["heal"])
        .expect(77)
        .one_error(&["may not update public.content_metadata", "GRANT SELECT, UPDATE"]);
    assert_eq!(fingerprint(&database), before);
    database.run(&format!("GRANT SELECT, UPDATE ON public.content_metadata TO {name}"));
    // The event table is a ledger that cannot be read: its posts are held.
    role.run(&database, &["heal"]).expect(77);
    assert_eq!(database.value("SELECT status FROM public.content_metadata").as_deref(), Some("posting"));
}

#[test]
fn rows_that_are_hidden_are_never_health() {
    let database = TestDb::new(Shape::Minimal);
    let role = Role::new();
    database.run(STUCK);
    Healer::on(&database, &["init"]).run().expect(0);
    database.run(&format!(
        "ALTER TABLE public.content_metadata ENABLE ROW LEVEL SECURITY;
         GRANT ALL ON ALL TABLES IN SCHEMA public, healer TO {0}; GRANT USAGE ON SCHEMA healer TO {0}",
        role.0
    ));
    let before = fingerprint(&database);
    for policy in ["", "CREATE POLICY mine ON public.content_metadata USING (decision_id = 'nobody')"] {
        database.run(policy);
        for command in
            [&["heal"][..], &["heal", "--dry-run"], &["report"], &["undo", "1"], &["resolve", "p1", "--fail"]]
        {
            role.run(&database, command)
                .expect(77)
                .one_error(&["row-level security hides rows of public.content_metadata", "BYPASSRLS"]);
            let quiet = role.run(&database, &[command, &["--quiet"]].concat()).expect(77);
            assert!(quiet.stderr.contains("row-level security"), "{}", quiet.stderr);
        }
        let doctor = role.run(&database, &["doctor"]).expect(77);
        assert!(doctor.stdout.contains("row-level security"), "{}", doctor.stdout);
    }
    assert_eq!(fingerprint(&database), before);
}

#[test]
fn a_ledger_that_is_hidden_or_forbidden_holds_its_posts() {
    for hide in [
        "ALTER TABLE public.post_receipts ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE public.post_receipts DISABLE ROW LEVEL SECURITY; REVOKE ALL ON public.post_receipts FROM ROLE",
        "ALTER TABLE public.post_receipts DISABLE ROW LEVEL SECURITY; REVOKE ALL ON public.system_events FROM ROLE",
    ] {
        let database = TestDb::new(Shape::Full);
        let role = Role::new();
        database.run(STUCK);
        Healer::on(&database, &["init"]).run().expect(0);
        database.run(&format!(
            "GRANT ALL ON ALL TABLES IN SCHEMA public, healer TO {0}; GRANT USAGE ON SCHEMA healer TO {0}",
            role.0
        ));
        database.run(&hide.replace("ROLE", &role.0));
        let ran = role.run(&database, &["heal"]).expect(77);
        assert!(ran.stdout.contains("its posts are held"), "{}", ran.stdout);
        assert_eq!(database.value("SELECT status FROM public.content_metadata").as_deref(), Some("posting"));
        assert_eq!(database.value("SELECT count(*) FROM healer.held_post").as_deref(), Some("1"));
    }
}

#[test]
fn a_column_that_may_hold_the_proof_must_be_readable() {
    let database = TestDb::new(Shape::Minimal);
    let role = Role::new();
    database.run(STUCK);
    database.run("UPDATE public.content_metadata SET features = '{\"tweet_id_orphan\": \"123\"}'");
    Healer::on(&database, &["init"]).run().expect(0);
    database.run(&format!(
        "GRANT ALL ON public.system_events, public.job_heartbeats TO {0}; GRANT ALL ON ALL TABLES IN SCHEMA healer TO {0};
         GRANT USAGE ON SCHEMA healer TO {0}; GRANT UPDATE ON public.content_metadata TO {0};
         GRANT SELECT (decision_id, status, tweet_id, updated_at, created_at, posted_at) ON public.content_metadata TO {0}",
        role.0
    ));
    role.run(&database, &["heal"])
        .expect(77)
        .one_error(&["features", "GRANT SELECT (features) ON public.content_metadata"]);
    assert_eq!(database.value("SELECT status FROM public.content_metadata").as_deref(), Some("posting"));
}
