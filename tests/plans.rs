//! How the database carries out the files of `sql/`: each is planned on every shape of the database, so that none is
//! ever sent for the first time in production; and at size, where no statement may walk a big table.
//!
//! A new file is found by itself: its parameters get values by the type that they are cast to. Where that is not enough
//! the failure says what to add, and to which of the tables below.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use healer::database::session::StopFlag;
use healer::database::statement::{self, Names, Template};
use healer::database::url::{self, Surroundings, UrlSource};
use healer::posts::evidence::Ledgers;
use healer::posts::indexes;
use healer::posts::mapping::Mapping;
use healer::schema;
use healer::settings::Settings;
use healer::start::{Origin, Start};
use postgres::Client;
use postgres::types::{ToSql, Type};
use regex::Regex;
use serde_json::Value;

use crate::support::binary::{Healer, Run};
use crate::support::cluster::{Shape, TestDb, variant};
use crate::support::program::Healer as Program;
use crate::support::state::settle;

/// Files that are no statement: they stand in another one, which is planned with them in it.
const FRAGMENTS: &[(&str, &str)] = &[
    ("evidence/post_receipts", "evidence/evidence"),
    ("evidence/post_attempts", "evidence/evidence"),
    ("evidence/posting_attempts", "evidence/evidence"),
    ("evidence/success_events", "evidence/evidence"),
    ("evidence/posted_decisions", "evidence/evidence"),
    ("evidence/journal", "evidence/evidence"),
    ("evidence/held", "evidence/evidence"),
    ("evidence/recovery", "evidence/evidence"),
    ("heal/browser_signals", "heal/browser_queue"),
    ("heal/browser_events", "heal/browser_queue"),
    ("heal/breaker_signals", "heal/circuit_breaker"),
    ("heal/breaker_events", "heal/circuit_breaker"),
    ("heal/job_history", "heal/job_heartbeats"),
];

/// Files that EXPLAIN does not take: they are run, and rolled back.
const COMMANDS: &[(&str, &str)] = &[
    ("change/track_jobs", "it creates a trigger"),
    ("change/untrack_jobs", "it drops a trigger"),
    ("catalog/estimate", "it is an EXPLAIN itself"),
];

/// Parameters for which the usual value of their type would not do: file, number, value as text.
const VALUES: &[(&str, usize, &str)] =
    &[("catalog/settings", 1, "^[0-9]+$"), ("catalog/settings", 2, "UTC"), ("report/runs", 2, "86400")];

/// Placeholders that the code fills beside those of the mapping and of the ledgers: file, placeholder, and the
/// placeholder or the SQL that it stands for.
const PLACEHOLDERS: &[(&str, &str, &str)] = &[
    ("change/lock", "from", "{posting}"),
    ("change/lock", "seen", "{claimed_at}"),
    ("catalog/status_allowed", "expression", "({status} <> {queued})"),
    ("catalog/status_allowed", "word", "{posted}"),
    ("heal/old_failed", "order", "ORDER BY p.{id}"),
    ("catalog/estimate", "estimated_column", "{id}"),
    ("catalog/estimate", "estimated_table", "{posts}"),
    ("catalog/estimate", "estimated_rows", "{status} = {posting}"),
];

/// Whether a shape has what a file is for.
type Needs = fn(&Ground) -> bool;

/// Files that are sent on some shapes only.
const ONLY: &[(&str, Needs)] = &[
    // Where the status has no such word, archiving is refused before it comes to this.
    ("change/archive", |ground| ground.mapping.archived_label),
    ("change/heartbeat", one_row_a_job),
    ("change/heartbeat_history", one_row_a_run),
    ("change/job_runs", one_row_a_job),
    ("change/track_jobs", one_row_a_job),
    ("heal/job_heartbeats", one_row_a_job),
    ("heal/job_history", one_row_a_job),
    ("heal/job_heartbeats_history", one_row_a_run),
    ("optimize/jobs_history", one_row_a_run),
    ("optimize/memory_heartbeats", one_row_a_job),
    ("forecast/lines", one_row_a_job),
    ("errors/job_last_success", one_row_a_job),
];

/// What a placeholder says by its first letters: it is filled only where the shape has this.
const TABLES: &[(&str, Needs)] = &[
    ("post_attempts", |ground| ground.has_ledger("post_attempts")),
    ("post_receipts", |ground| ground.has_ledger("post_receipts")),
    ("posting_attempts", |ground| ground.has_ledger("posting_attempts")),
    ("posted_decisions", |ground| ground.has_ledger("posted_decisions")),
];

fn one_row_a_job(ground: &Ground) -> bool {
    !ground.mapping.heartbeats_history
}

fn one_row_a_run(ground: &Ground) -> bool {
    ground.mapping.heartbeats_history
}

/// One database, and what healer makes of it.
struct Ground {
    what: String,
    database: TestDb,
    mapping: Mapping,
    ledgers: Ledgers,
    with_schema: bool,
}

fn start(database: &TestDb) -> Start {
    let target = url::parse(&database.url(), UrlSource::Sandbox, &Surroundings::of_process()).expect("a URL");
    let deadline = Instant::now() + Duration::from_secs(3_600);
    Origin { target, deadline, stop: StopFlag::default(), settings: Settings::default() }.open().expect("a start")
}

impl Ground {
    fn new(what: &str, database: TestDb, with_schema: bool) -> Self {
        let mut begun = start(&database);
        if with_schema {
            schema::init(&mut begun.session, &begun.catalog).expect("the schema healer");
            begun = start(&database);
        }
        let mapping = begun.mapping().expect("a mapping");
        let ledgers = Ledgers::find(begun.settings(), &begun.catalog, &mapping).expect("the ledgers");
        let what = format!("{what}{}", if with_schema { "" } else { ", without the schema healer" });
        Self { what, database, mapping, ledgers, with_schema }
    }

    fn has_ledger(&self, name: &str) -> bool {
        self.ledgers.all.iter().any(|ledger| ledger.name == name)
    }

    /// What the placeholders stand for: what a module sets for its own statements is added here.
    fn names(&self) -> Names {
        self.ledgers.names().clone()
    }

    /// The SQL of a file as it is sent here; `None` where it is not sent on this shape.
    fn sql(&self, template: &Template) -> Result<Option<String>, String> {
        let missing = |needs: &Needs| !needs(self);
        if ONLY.iter().any(|(name, needs)| *name == template.name && missing(needs))
            || (!self.with_schema && template.text.contains("healer."))
        {
            return Ok(None);
        }
        let mut names = self.names();
        for (_, placeholder, sql) in PLACEHOLDERS.iter().filter(|(name, ..)| *name == template.name) {
            let filled = Template { name: "plans", text: sql }.fill(&names).sql().trim_end().to_owned();
            names.set(placeholder, filled);
        }
        let sql = template.fill(&names).sql().trim_end().to_owned();
        let left = open_placeholders(&sql);
        if left.is_empty() {
            return Ok(Some(sql));
        }
        let absent =
            |placeholder: &str| TABLES.iter().any(|(name, needs)| placeholder.starts_with(name) && missing(needs));
        if left.iter().any(|placeholder| absent(placeholder)) {
            return Ok(None);
        }
        Err(format!(
            "the placeholders {} are not filled. Where the mapping should fill them: src/posts/mapping.rs. Where a module \
             fills them for its own statements: add its names to Ground::names in tests/plans.rs, or a line to \
             PLACEHOLDERS. Where they exist on some shapes only: a line to ONLY or TABLES. Where the file is no statement \
             of its own: a line to FRAGMENTS with the statement that it stands in",
            left.into_iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(", ")
        ))
    }
}

/// Placeholders that nothing filled.
fn open_placeholders(sql: &str) -> BTreeSet<String> {
    static OPEN: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{([a-z_][a-z_0-9]*)\}").expect("a pattern"));
    OPEN.captures_iter(sql).map(|found| found[1].to_owned()).collect()
}

/// A value and the type that it is sent as.
type Typed = (Box<dyn ToSql + Sync>, Type);

/// The parameters of a statement: their types are those that they are cast to.
fn parameters(name: &str, sql: &str, ids: &[String]) -> Result<Vec<Typed>, String> {
    static PARAMETER: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\$([0-9]+)(?:::(double precision|[a-z_0-9]+)((?:\[\])?))?").expect("a pattern"));
    let mut types: BTreeMap<usize, String> = BTreeMap::new();
    for found in PARAMETER.captures_iter(sql) {
        let number = found[1].parse().expect("a number");
        let Some(word) = found.get(2) else {
            return Err(format!("${number} is not cast: write ${number}::TYPE, as in the other files of sql/"));
        };
        types.insert(number, format!("{}{}", word.as_str(), &found[3]));
    }
    // Statements that share the parameters of a family may leave some of them out.
    let last = types.keys().copied().max().unwrap_or(0);
    (1..=last)
        .map(|number| {
            let kind = types.get(&number).map_or("text", String::as_str);
            let given = VALUES.iter().find(|(file, of, _)| *file == name && *of == number).map(|(.., value)| *value);
            value(kind, given, ids).ok_or_else(|| {
                format!("no value is known for ${number} of the type {kind}: add the type to `value` in tests/plans.rs")
            })
        })
        .collect()
}

/// A value of a type: texts are valid JSON, lists of texts are ids of posts, as long as a batch.
fn value(kind: &str, given: Option<&str>, ids: &[String]) -> Option<Typed> {
    let long_ago = || SystemTime::now() - Duration::from_secs(8 * 86_400);
    let count = ids.len();
    Some(match kind {
        "text" => (Box::new(given.unwrap_or("{}").to_owned()), Type::TEXT),
        "jsonb" => (Box::new(serde_json::json!({})), Type::JSONB),
        "bigint" => (Box::new(given.map_or(1_000_i64, |text| text.parse().expect("a number"))), Type::INT8),
        "int" | "integer" => (Box::new(1_000_i32), Type::INT4),
        "double precision" | "float8" => (Box::new(0.5_f64), Type::FLOAT8),
        "boolean" => (Box::new(true), Type::BOOL),
        "timestamptz" => (Box::new(long_ago()), Type::TIMESTAMPTZ),
        "text[]" => (Box::new(ids.to_vec()), Type::TEXT_ARRAY),
        "bigint[]" => (Box::new((1_i64..).take(count).collect::<Vec<_>>()), Type::INT8_ARRAY),
        "double precision[]" | "float8[]" => (Box::new(vec![0.5_f64; count]), Type::FLOAT8_ARRAY),
        "boolean[]" => (Box::new(vec![true; count]), Type::BOOL_ARRAY),
        "timestamptz[]" => (Box::new(vec![Some(long_ago()); count]), Type::TIMESTAMPTZ_ARRAY),
        _ => return None,
    })
}

/// The plan of a statement, as JSON.
fn explain(client: &mut Client, name: &str, sql: &str, ids: &[String]) -> Result<Value, String> {
    let owned = parameters(name, sql, ids)?;
    let typed: Vec<(&(dyn ToSql + Sync), Type)> = owned.iter().map(|(value, kind)| (&**value, kind.clone())).collect();
    let rows = client
        .query_typed(&format!("EXPLAIN (FORMAT JSON) {sql}"), &typed)
        .map_err(|error| format!("the server does not plan it: {}\n{sql}", server_words(&error)))?;
    Ok(rows[0].get::<_, Value>(0)[0]["Plan"].clone())
}

fn server_words(error: &postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || error.to_string(),
        |db| format!("{} (SQLSTATE {}, {:?})", db.message(), db.code().code(), db.position()),
    )
}

/// A system with all ledgers whose posts stand in a plain table.
const TABLE_WITH_LEDGERS: &str = "DROP VIEW public.posted_decisions; DROP VIEW public.content_metadata;
    ALTER TABLE public.content_generation_metadata_comprehensive RENAME TO content_metadata;
    CREATE VIEW public.posted_decisions AS SELECT tweet_id, status AS decision_id, posted_at FROM public.content_metadata";

/// Every shape of the database that is known.
fn grounds() -> Vec<Ground> {
    let full = |edits: &[&str]| {
        let database = TestDb::new(Shape::Full);
        for edit in edits {
            database.run(edit);
        }
        database
    };
    let metadata = [variant::EVENT_METADATA];
    let edits: [(&str, &[&str]); 14] = [
        ("three plain tables", &[]),
        ("uuid ids", &[variant::UUID_ID]),
        ("bigint ids", &[variant::BIGINT_ID]),
        ("varchar status", &[variant::VARCHAR_STATUS]),
        ("enum status", &[variant::ENUM_STATUS]),
        ("enum status without archived", &[variant::ENUM_STATUS_WITHOUT_ARCHIVED]),
        ("a CHECK without posting", &[variant::CHECK_WITHOUT_POSTING]),
        ("a CHECK without archived", &[variant::CHECK_WITHOUT_ARCHIVED]),
        ("events with metadata", &metadata),
        ("naive times", &[variant::NAIVE_TIMES]),
        ("heartbeats as history", &[variant::HEARTBEAT_HISTORY]),
        ("partitions", &[variant::PARTITIONED]),
        ("uuid ids, enum status, naive times", &[variant::UUID_ID, variant::ENUM_STATUS, variant::NAIVE_TIMES]),
        (
            "bigint ids, varchar status, metadata, history",
            &[variant::BIGINT_ID, variant::VARCHAR_STATUS, variant::EVENT_METADATA, variant::HEARTBEAT_HISTORY],
        ),
    ];
    let mut all = vec![
        Ground::new("a view over a table, all ledgers", full(&[]), true),
        Ground::new("a view over a table, all ledgers", full(&[]), false),
        Ground::new("a view over a table, all ledgers, events with metadata", full(&metadata), true),
        Ground::new("a table with text ids, all ledgers", full(&[TABLE_WITH_LEDGERS]), true),
        Ground::new("a table with uuid ids, all ledgers", full(&[TABLE_WITH_LEDGERS, variant::UUID_ID]), true),
        Ground::new("a table with bigint ids, all ledgers", full(&[TABLE_WITH_LEDGERS, variant::BIGINT_ID]), true),
        Ground::new("three plain tables", TestDb::new(Shape::Minimal), false),
    ];
    all.extend(edits.iter().map(|(what, edits)| Ground::new(what, TestDb::edited(edits), true)));
    all
}

/// Fragments of statements that a module puts together: part and whole. Where the whole was sent, so were its parts.
const BY_PASS: &[(&str, &str)] = &[
    ("change/weights_in_force", "change/weights_record"),
    ("errors/breaker_moves_events", "errors/breaker_moves"),
    ("errors/breaker_moves_signals", "errors/breaker_moves"),
    ("errors/job_successes_history", "errors/job_successes"),
    ("errors/job_successes_noted", "errors/job_successes"),
    ("errors/markers_events", "errors/markers"),
    ("errors/markers_healer", "errors/markers"),
    ("forecast/resource_browser", "forecast/resources"),
    ("forecast/resource_events", "forecast/resources"),
    ("forecast/resource_posts", "forecast/resources"),
    ("optimize/size_before", "optimize/sizes"),
    ("optimize/index_seen", "optimize/indexes"),
];

/// Files that no command sends on these shapes, and the test that does, or why none can.
const ELSEWHERE: &[(&str, &str)] = &[
    ("change/delete_events", "performance: old events go where that is switched on"),
    ("change/move_events", "performance: old events go where that is switched on"),
    ("optimize/old_events", "performance: old events go where that is switched on"),
    ("optimize/content_maturity", "content: outcomes that were collected several times"),
    ("optimize/hypothetical", "it needs the extension HypoPG, which the servers of the tests lack"),
    ("optimize/hypothetical_end", "it needs the extension HypoPG, which the servers of the tests lack"),
];

/// The commands that send what is put together by a module.
const PASSES: &[&[&str]] = &[
    &["heal"],
    &["optimize", "performance"],
    &["optimize", "content"],
    &["analyze-errors"],
    &["report", "all"],
    &["undo", "3"],
];

/// The sandbox: all that the passes look for is there.
fn sick() -> Ground {
    let database = TestDb::new(Shape::Minimal);
    database.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    let mut client = database.client();
    healer::sandbox::seed::fill(&mut client).unwrap_or_else(|error| panic!("{error}"));
    drop(client);
    Ground::new("the sandbox", database, true)
}

/// Whether the server would not plan a statement of healer's own; that it cannot explain a query of somebody else's is
/// told at debug level.
fn refused_by_the_server(log: &str) -> bool {
    log.lines().any(|line| line.contains("SQLSTATE 42") && !line.starts_with("debug "))
}

/// Runs the passes on a shape and notes the files that they sent. What the server would not plan is a failure.
fn pass_by_pass(ground: &Ground, sent: &mut BTreeSet<String>) -> Vec<String> {
    let mut failures = Vec::new();
    for command in PASSES {
        let arguments = [*command, &["--format", "json", "-vvv"]].concat();
        let ran = Program::on(&ground.database, &arguments).run();
        sent.extend(ran.stderr.lines().filter_map(|line| line.strip_prefix("trace ")).map(str::to_owned));
        // A run that changed nothing cannot be taken back, and a finding is no failure.
        let refused = command[0] == "undo" && ran.code == Some(1);
        if !refused && !matches!(ran.code, Some(0 | 3 | 4)) || refused_by_the_server(&ran.stderr) {
            failures.push(format!("healer {}, {}: {:?} {}", command.join(" "), ground.what, ran.code, ran.all()));
        }
    }
    failures
}

#[test]
fn every_file_of_sql_is_planned_on_every_shape_of_the_database() {
    let mut failures = Vec::new();
    let mut planned: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut fragments: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    // Files with placeholders of a module's own, and what is not filled.
    let mut unfilled: BTreeMap<&str, String> = BTreeMap::new();
    let mut sent = BTreeSet::new();
    let mut all = grounds();
    all.push(sick());
    for ground in all {
        let mut client = ground.database.client();
        for template in statement::ALL {
            if BY_PASS.iter().any(|(part, _)| *part == template.name) {
                unfilled.insert(template.name, "the statement that it stands in was sent by none".to_owned());
                continue;
            }
            let sql = match ground.sql(template) {
                Ok(Some(sql)) => sql,
                Ok(None) => continue,
                Err(why) => {
                    unfilled.insert(template.name, why);
                    continue;
                }
            };
            if FRAGMENTS.iter().any(|(name, _)| *name == template.name) {
                fragments.entry(template.name).or_default().push(sql);
                continue;
            }
            let done = if COMMANDS.iter().any(|(name, _)| *name == template.name) {
                client
                    .batch_execute(&format!("BEGIN; SET LOCAL client_min_messages = warning; {sql}; ROLLBACK"))
                    .map_err(|error| format!("the server does not run it: {}\n{sql}", server_words(&error)))
            } else {
                // Two keys that every type of id can hold.
                let ids = ["1".to_owned(), "2".to_owned()];
                explain(&mut client, template.name, &sql, &ids).map(|_| ())
            };
            match done {
                Ok(()) => planned.entry(template.name).or_default().push(sql),
                Err(why) => {
                    let _ = client.batch_execute("ROLLBACK");
                    failures.push(format!(
                        "sql/{}.sql, {}: {why}\n  (a parameter that needs a value of its own gets one in VALUES of \
                         tests/plans.rs)",
                        template.name, ground.what
                    ));
                }
            }
        }
        if ground.with_schema {
            failures.extend(pass_by_pass(&ground, &mut sent));
        }
    }
    for (name, why) in unfilled {
        let part = BY_PASS.iter().find(|(file, _)| *file == name);
        let elsewhere = ELSEWHERE.iter().any(|(file, _)| *file == name);
        if !elsewhere && !part.map_or_else(|| sent.contains(name), |(_, whole)| sent.contains(*whole)) {
            failures.push(format!("sql/{name}.sql: no command sent it on any shape, and {why}"));
        }
    }
    for (fragment, whole) in FRAGMENTS {
        let stands = fragments.get(fragment).is_some_and(|texts| {
            texts
                .iter()
                .any(|text| planned.get(whole).is_some_and(|sqls| sqls.iter().any(|sql| sql.contains(text.trim()))))
        });
        if !stands {
            failures.push(format!("sql/{fragment}.sql stands in no sql/{whole}.sql that was planned: mend FRAGMENTS"));
        }
    }
    for template in statement::ALL {
        let is_fragment = FRAGMENTS.iter().chain(BY_PASS).chain(ELSEWHERE).any(|(name, _)| *name == template.name);
        if !is_fragment
            && !planned.contains_key(template.name)
            && !sent.contains(template.name)
            && !failures.iter().any(|f| f.contains(template.name))
        {
            failures.push(format!("sql/{}.sql was planned on no shape: add one that has what it needs", template.name));
        }
    }
    let listed = FRAGMENTS.iter().chain(COMMANDS).map(|(name, _)| *name).chain(ONLY.iter().map(|(name, _)| *name));
    for name in listed.chain(VALUES.iter().map(|(name, ..)| *name)).chain(PLACEHOLDERS.iter().map(|(name, ..)| *name)) {
        if !statement::ALL.iter().any(|template| template.name == name) {
            failures.push(format!("tests/plans.rs lists sql/{name}.sql, which does not exist"));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n\n{}", failures.len(), failures.join("\n\n"));
}

/// Posts of the database at size. The keys of a statement are as many of them as a batch of 1,000 is of a million.
const POSTS: i64 = 200_000;
/// Keys of a batch here.
const KEYS: i64 = POSTS / 1_000;
/// Rows from which a table is big here: everything that grows with the age of the system.
const BIG: i64 = 20_000;

/// Fills a database of the full shape with `POSTS` posts: 200 a day in the last week and the rest in the years before,
/// each in all ledgers, ten of them stuck; with the events of all that, and with a long past of healer's own.
/// What the statistics know was true when the system was young: a hundred posts, a third of them posting.
const FILL: &str = r#"
ALTER TABLE public.content_generation_metadata_comprehensive SET (autovacuum_enabled = off);
ALTER TABLE public.post_receipts SET (autovacuum_enabled = off);
ALTER TABLE public.post_attempts SET (autovacuum_enabled = off);
ALTER TABLE public.posting_attempts SET (autovacuum_enabled = off);
ALTER TABLE public.system_events SET (autovacuum_enabled = off);
INSERT INTO public.content_generation_metadata_comprehensive (decision_id, content, status, created_at, updated_at, posted_at, tweet_id)
SELECT md5('young ' || g)::uuid::text, 'x', (ARRAY['posting', 'failed', 'posted'])[1 + g % 3], now(), now(),
       CASE WHEN g % 3 = 2 THEN now() END, CASE WHEN g % 3 = 2 THEN g::text END FROM generate_series(1, 100) g;
INSERT INTO public.post_receipts (decision_id, tweet_ids, root_tweet_id, post_type)
SELECT md5('young ' || g)::uuid, ARRAY[g::text], g::text, 'single' FROM generate_series(1, 100) g;
INSERT INTO public.post_attempts (decision_id, status) SELECT md5('young ' || g)::uuid::text, 'USED' FROM generate_series(1, 100) g;
INSERT INTO public.system_events (event_type, event_data)
SELECT 'POST_SUCCESS', jsonb_build_object('decision_id', md5('young ' || g)::uuid::text, 'tweet_id', g::text) FROM generate_series(1, 100) g;
ANALYZE;
UPDATE public.content_generation_metadata_comprehensive SET status = 'archived';
-- Indexes are made after the rows: that takes half the time.
CREATE TEMP TABLE later AS
  SELECT c.oid::regclass::text AS name, pg_get_indexdef(c.oid) AS ddl
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_class t ON t.oid = i.indrelid AND t.relnamespace IN ('public'::regnamespace, 'healer'::regnamespace)
   WHERE NOT i.indisunique;
DO $$ DECLARE l record; BEGIN FOR l IN SELECT * FROM later LOOP EXECUTE 'DROP INDEX ' || l.name; END LOOP; END $$;
CREATE TEMP TABLE plan AS
  SELECT g, md5(g::text)::uuid AS id,
         CASE WHEN g <= 1400 THEN now() - g * interval '432 seconds'
              ELSE now() - interval '7 days' - (g - 1400) * interval '470 seconds' END AS at,
         CASE WHEN g <= 10 THEN 'posting' WHEN g <= 50 THEN 'failed' WHEN g <= 70 THEN 'queued'
              WHEN g % 50 = 0 THEN 'archived' ELSE 'posted' END AS status
    FROM generate_series(1, $POSTS) g;
INSERT INTO public.content_generation_metadata_comprehensive (decision_id, content, status, created_at, updated_at, posted_at, tweet_id)
SELECT p.id::text, 'a post of some length, number ' || p.g, p.status, p.at - interval '1 hour',
       CASE WHEN p.status = 'posting' THEN now() - interval '2 hours' ELSE p.at END,
       CASE WHEN p.status = 'posted' THEN p.at END, CASE WHEN p.status = 'posted' THEN (1700000000000 + p.g)::text END
  FROM plan p;
INSERT INTO public.post_receipts (decision_id, tweet_ids, root_tweet_id, post_type, posted_at)
SELECT p.id, ARRAY[(1700000000000 + p.g)::text], (1700000000000 + p.g)::text, 'single', p.at FROM plan p WHERE p.status = 'posted';
INSERT INTO public.post_attempts (decision_id, status, actual_tweet_id, posting_success, created_at, approved_at, used_at)
SELECT p.id::text, 'USED', (1700000000000 + p.g)::text, true, p.at - interval '6 minutes', p.at - interval '5 minutes', p.at
  FROM plan p WHERE p.status = 'posted';
INSERT INTO public.posting_attempts (decision_id, tweet_id, status, created_at)
SELECT p.id::text, (1700000000000 + p.g)::text, 'success', p.at FROM plan p WHERE p.status = 'posted';
INSERT INTO public.system_events (event_type, event_data, severity, created_at)
SELECT 'POST_SUCCESS', jsonb_build_object('decision_id', p.id, 'tweet_id', (1700000000000 + p.g)::text), 'info', p.at
  FROM plan p WHERE p.status = 'posted';
INSERT INTO public.job_heartbeats (job_name, last_success, last_run_status)
SELECT j, now() - interval '1 minute', 'success' FROM unnest(ARRAY['posting', 'plan', 'reply_posting', 'metrics_scraper']) j;
INSERT INTO healer.run (pass, command, version, started_at, finished_at, status, exit_code, checks)
SELECT 'heal', 'heal', '0', now() - g * interval '15 minutes', now() - g * interval '15 minutes', 'ok', 0, '[]'
  FROM generate_series(1, 8000) g;
INSERT INTO healer.action (run_id, check_name, type, action, relation, target, before, after, reason, applied_at, undone_at)
SELECT g % 8000 + 1, 'stuck-posts', 'stuck_post_recovery', 'reset_status_to_queued', 'content_metadata', md5(g::text)::uuid::text,
       '{"status": "posting"}', '{"status": "queued"}', 'x', now() - interval '4 days' - g * interval '100 seconds', now()
  FROM generate_series(1, 50000) g;
INSERT INTO healer.setting (name, value) VALUES ('pruned', 'true');
INSERT INTO healer.held_post (post, check_name, status, code, reason, held_at, resolved_at)
SELECT md5(g::text)::uuid::text, 'stuck-posts', 'posting', 'uncertain', 'x', now() - interval '3 days', now() FROM generate_series(1, 20000) g;
INSERT INTO healer.id_recovery (post, resolved_at, external_id) SELECT md5(g::text)::uuid::text, now(), g::text FROM generate_series(1001, 21000) g;
INSERT INTO healer.signal (name, data, reported_at)
SELECT (ARRAY['browser', 'browser_op', 'breaker'])[1 + g % 3], '{"queued": 0, "active": 0, "open": false, "ok": true}', now() - g * interval '40 seconds'
  FROM generate_series(1, 60000) g;
INSERT INTO healer.job_run (job, status, at, source)
SELECT (ARRAY['posting', 'plan', 'reply_posting', 'metrics_scraper'])[1 + g % 4], 'success', now() - g * interval '60 seconds', 'pass' FROM generate_series(1, 40000) g;
DO $$ DECLARE l record; BEGIN FOR l IN SELECT * FROM later LOOP EXECUTE l.ddl; END LOOP; END $$;
DROP TABLE later, plan;
"#;

/// The indexes that `doctor` recommends for this shape.
const RECOMMENDED: &str = "
CREATE INDEX ON public.content_generation_metadata_comprehensive (decision_id) WHERE status = 'posting';
CREATE INDEX ON public.content_generation_metadata_comprehensive (decision_id) WHERE status = 'failed';";

/// The database at size, as it was when its statistics were last true; tests work on copies.
static SIZED: LazyLock<TestDb> = LazyLock::new(|| {
    let database = TestDb::new(Shape::Full);
    let mut begun = start(&database);
    schema::init(&mut begun.session, &begun.catalog).expect("the schema healer");
    drop(begun);
    database.run(&FILL.replace("$POSTS", &POSTS.to_string()));
    database.run(RECOMMENDED);
    database
});

/// Statements that read all of a table, each with the reason why that is right.
const WALKS: &[(&str, &str, &str)] = &[
    ("change/prune", "held_post", "once a day, of healer's own notes of 90 days"),
    ("change/prune", "id_recovery", "once a day, of healer's own notes of 90 days"),
    ("report/stuck_days", "held_post", "a report asks for what was held in a third of the time that is kept"),
    ("report/recovery_time", "held_post", "a report asks for what was held in a third of the time that is kept"),
    ("forecast/conditions", "signal", "what is learned from is all that is kept"),
    (
        "tuning/durations_posts",
        "content_generation_metadata_comprehensive",
        "of 14 days: of 200,000 posts these are too many for the index to be cheaper",
    ),
];

/// Tables of at least `BIG` rows, by their names without the schema.
fn big_tables(client: &mut Client) -> BTreeSet<String> {
    client
        .query("SELECT relname::text FROM pg_class WHERE relkind = 'r' AND reltuples >= $1::bigint::real", &[&BIG])
        .expect("the tables")
        .iter()
        .map(|row| row.get(0))
        .collect()
}

/// What in a plan reads a big table from one end to the other: a sequential scan, or all of an index that is not small.
/// `first` has the first column of each big index: without a condition on it a scan reads all of it, whatever stands on the
/// columns behind. (The planner leaves out what the condition of a partial index implies.)
fn walks(
    node: &Value,
    big: &BTreeSet<String>,
    first: &BTreeMap<String, String>,
    bounded: bool,
    found: &mut Vec<String>,
) {
    let text = |key: &str| node[key].as_str().unwrap_or_default();
    let (kind, table, index) = (text("Node Type"), text("Relation Name"), text("Index Name"));
    // What stands below a LIMIT stops when it has enough, unless it has to look for it.
    let stops = bounded && node["Filter"].is_null();
    if big.contains(table) && kind.contains("Seq Scan") && !stops {
        found.push(format!("reads all of {table}"));
    }
    let conditions = node["Index Cond"].as_str().unwrap_or_default();
    let whole = kind.contains("Index") && first.get(index).is_some_and(|column| !conditions.contains(column.as_str()));
    if whole && !stops && (kind == "Bitmap Index Scan" || big.contains(table)) {
        found.push(format!("reads all of the index {index}"));
    }
    let bounded = (bounded || kind == "Limit") && !matches!(kind, "Sort" | "Aggregate" | "Hash" | "WindowAgg");
    for child in node["Plans"].as_array().into_iter().flatten() {
        walks(child, big, first, bounded, found);
    }
}

/// Plans every statement as `heal` and the reports send it, and lists those that walk a big table.
fn walking(ground: &Ground) -> Vec<String> {
    let mut client = ground.database.client();
    let begun = start(&ground.database);
    let by_index = indexes::serve_everything(begun.settings(), &begun.catalog, &ground.mapping);
    assert!(by_index, "every index is there");
    let big = big_tables(&mut client);
    for table in
        ["content_generation_metadata_comprehensive", "post_receipts", "post_attempts", "system_events", "action"]
    {
        assert!(big.contains(table), "{table} is big: {big:?}");
    }
    let first: BTreeMap<String, String> = client
        .query(
            "SELECT c.relname::text, coalesce(a.attname::text, '(') FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
               LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
              WHERE c.relkind = 'i' AND c.reltuples >= $1::bigint::real",
            &[&BIG],
        )
        .expect("the indexes")
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let ids: Vec<String> = client
        .query("SELECT md5(g::text)::uuid::text FROM generate_series(1, $1::bigint) g", &[&KEYS])
        .expect("ids")
        .iter()
        .map(|row| row.get(0))
        .collect();
    let mut all = Vec::new();
    for template in statement::ALL {
        let is = |list: &[(&str, &str)]| list.iter().any(|(name, _)| *name == template.name);
        if is(FRAGMENTS) || is(COMMANDS) {
            continue;
        }
        let Ok(Some(sql)) = ground.sql(template) else { continue };
        let healing = ["heal/", "evidence/", "change/"].iter().any(|folder| template.name.starts_with(folder));
        let prelude = if healing { "SET LOCAL enable_seqscan = off" } else { "" };
        client
            .batch_execute(&format!("BEGIN; SET LOCAL cursor_tuple_fraction = 1.0; SET LOCAL jit = off; {prelude}"))
            .expect("begun");
        // What cannot be planned fails the other test.
        if let Ok(plan) = explain(&mut client, template.name, &sql, &ids) {
            let mut found = Vec::new();
            walks(&plan, &big, &first, false, &mut found);
            found.retain(|what| !WALKS.iter().any(|(name, table, _)| *name == template.name && what.contains(table)));
            all.extend(found.into_iter().map(|what| {
                format!(
                    "sql/{}.sql {what}: give it a condition that an index serves, or, where reading all is right, a line in \
                     WALKS of tests/plans.rs with the reason\n{sql}\n{plan:#}",
                    template.name
                )
            }));
        }
        client.batch_execute("ROLLBACK").expect("rolled back");
    }
    all
}

/// Sequential scans and rows read of the big tables, by the server's own count.
fn reads(database: &TestDb) -> BTreeMap<String, (i64, i64)> {
    settle(database);
    database
        .client()
        .query(
            "SELECT s.relname::text, s.seq_scan, coalesce(s.seq_tup_read, 0) + coalesce(s.idx_tup_fetch, 0)
               FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid WHERE c.reltuples >= $1::bigint::real",
            &[&BIG],
        )
        .expect("the counts")
        .iter()
        .map(|row| (row.get(0), (row.get(1), row.get(2))))
        .collect()
}

/// Runs `heal` and gives how often it walked a big table, and how many rows it read of each.
fn heal_and_count(database: &TestDb) -> (Run, Vec<String>, BTreeMap<String, i64>) {
    let before = reads(database);
    let run = Healer::on(database).heal(&[]);
    let after = reads(database);
    assert!(after.len() > 5, "the big tables are counted: {after:?}");
    let mut walked = Vec::new();
    let mut rows = BTreeMap::new();
    for (table, (scans, read)) in after {
        let (scans_before, read_before) = before.get(&table).copied().unwrap_or((0, 0));
        if scans > scans_before {
            walked.push(format!("{table}: {} times", scans - scans_before));
        }
        rows.insert(table, read - read_before);
    }
    (run, walked, rows)
}

/// Rows that one heal may read of the big tables: the sample of posts that measures the ledgers (2,000 at most, here the
/// 1,400 of a week) in each of five ledgers, the same attempts for their durations, and a few for the rest.
const READ_BY_A_HEAL: i64 = 20_000;

#[test]
fn at_size_no_statement_walks_a_big_table() {
    let database = TestDb::copy_of(&SIZED);
    database.run("VACUUM (ANALYZE)");
    let ground = Ground::new("at size", database, true);
    let found = walking(&ground);
    assert!(found.is_empty(), "{} walks:\n{}", found.len(), found.join("\n"));
    let (run, walked, rows) = heal_and_count(&ground.database);
    let run = run.exits(0);
    assert_eq!(run.count("applied"), 10, "{:#}", run.json);
    assert!(walked.is_empty(), "heal walked {walked:?}");
    assert!((1..READ_BY_A_HEAL).contains(&rows.values().sum()), "heal read {rows:?}");
}

#[test]
fn statistics_of_a_time_when_the_system_was_young_make_no_statement_walk_a_big_table() {
    let ground = Ground::new("at size, stale statistics", TestDb::copy_of(&SIZED), true);
    let mut found = walking(&ground);
    // What is measured once in two hours may take its time; it also has the statistics renewed.
    found.retain(|what| ["sql/heal/", "sql/evidence/", "sql/change/"].iter().any(|folder| what.starts_with(folder)));
    assert!(found.is_empty(), "{} walks:\n{}", found.len(), found.join("\n"));
    let (run, walked, rows) = heal_and_count(&ground.database);
    assert_eq!(run.exits(0).count("applied"), 10);
    assert!(walked.is_empty(), "heal walked {walked:?}");
    assert!((1..READ_BY_A_HEAL).contains(&rows.values().sum()), "heal read {rows:?}");
}

/// What `doctor` says of indexes: (summary, remedy).
fn wanted_indexes(database: &TestDb) -> Vec<(String, String)> {
    let run = Healer::on(database).run(&["doctor"]);
    run.json["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter(|item| item["name"] == "indexes" && item["remedy"] != "")
        .map(|item| {
            (item["summary"].as_str().unwrap_or_default().into(), item["remedy"].as_str().unwrap_or_default().into())
        })
        .collect()
}

#[test]
fn without_indexes_heal_works_and_doctor_names_each_with_its_size_until_all_are_there() {
    let database = TestDb::copy_of(&SIZED);
    database.run(
        "DO $$ DECLARE i regclass; BEGIN
           FOR i IN SELECT x.indexrelid::regclass FROM pg_index x JOIN pg_class t ON t.oid = x.indrelid
                     WHERE NOT x.indisunique AND t.relnamespace = 'public'::regnamespace LOOP
             EXECUTE format('DROP INDEX %s', i);
           END LOOP; END $$;
         ANALYZE",
    );
    let run = Healer::on(&database).heal(&["--dry-run"]).exits(0);
    assert_eq!(run.count("planned"), 10, "{:#}", run.json);
    let wanted = wanted_indexes(&database);
    let ddl: Vec<&str> = wanted.iter().map(|(_, ddl)| ddl.as_str()).collect();
    let posts = "public.content_generation_metadata_comprehensive";
    let expected = [
        format!(
            "CREATE INDEX CONCURRENTLY ON {posts} (status, decision_id) WHERE status IN ('queued', 'ready', 'posting');"
        ),
        format!("CREATE INDEX CONCURRENTLY ON {posts} (decision_id) WHERE status = 'failed';"),
        format!("CREATE INDEX CONCURRENTLY ON {posts} (posted_at DESC) WHERE status = 'posted';"),
        "CREATE INDEX CONCURRENTLY ON public.post_receipts (decision_id);".to_owned(),
        "CREATE INDEX CONCURRENTLY ON public.post_attempts (decision_id);".to_owned(),
        "CREATE INDEX CONCURRENTLY ON public.posting_attempts (decision_id);".to_owned(),
        "CREATE INDEX CONCURRENTLY ON public.post_attempts (created_at DESC);".to_owned(),
        "CREATE INDEX CONCURRENTLY ON public.system_events (created_at DESC);".to_owned(),
    ];
    assert_eq!(ddl, expected);
    for ((summary, ddl), count) in wanted.iter().zip([30, 40, 195_950, 195_950, 195_950, 195_950, 195_950, 196_050]) {
        assert!(summary.contains("rows"), "{summary}");
        let rows: i64 =
            summary.rsplit(" for ").next().and_then(|rest| rest.split(' ').next()?.parse().ok()).expect(summary);
        // The statistics are of a sample.
        assert!((rows - count).abs() <= count / 10 + 400, "{summary}: {count} are there");
        database.run(ddl);
    }
    assert_eq!(wanted_indexes(&database), [], "all that was named is there");
    let estimated =
        wanted.iter().find(|(_, ddl)| ddl.contains("post_attempts (decision_id)")).expect("one for the attempts");
    let megabytes: f64 =
        estimated.0.split("about ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).expect("a size");
    let real: f64 = database
        .value(
            "SELECT sum(pg_relation_size(indexrelid)) / 1048576.0 FROM pg_index
                 WHERE indrelid = 'public.post_attempts'::regclass AND pg_get_indexdef(indexrelid) LIKE '%(decision_id)'",
        )
        .and_then(|text| text.parse().ok())
        .expect("a size");
    assert!((0.7..1.4).contains(&(megabytes / real)), "estimated {megabytes} MB, made {real} MB");
    let (run, walked, _) = heal_and_count(&database);
    assert_eq!(run.exits(0).count("applied"), 10);
    assert!(walked.is_empty(), "with what doctor named, heal walked {walked:?}");
}
