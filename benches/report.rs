//! How long `healer report` takes on a large system, and on a small one beside it.
//!
//! `cargo bench --bench report -- [--posts N] [--events N] [--runs N] [--repeat N]`: fills a throwaway Postgres (its binaries
//! are found as those of the sandbox) with posts, events and a history of runs, then reads the whole report in each format,
//! each time with a process of its own, as cron and people do. `--page FILE` measures nothing and writes the page of a made-up
//! week on the sandbox's system instead: what `scripts/screenshots` draws. Needs the feature `sandbox`, which is on by default.

use std::process::{Command, Stdio};
use std::time::Instant;

use healer::sandbox::{Cluster, ClusterOptions};
use measure::number;

const SCHEMA: &str = include_str!("../sql/sandbox/010_schema.sql");

mod measure;

/// A large system with a history of runs.
fn fill(posts: u64, events: u64, runs: u64) -> String {
    let system = measure::system(posts, events);
    format!(
        "{system}
         INSERT INTO healer.run (pass, command, version, started_at, finished_at, status, exit_code, counts, checks)
         SELECT w.pass, w.pass, 'bench', t.at, t.at + interval '2 seconds', 'ok', 0,
                jsonb_build_object('planned', n % 4, 'applied', n % 4, 'skipped', 0, 'failed', 0, 'held', 1, 'remaining', 0),
                (SELECT jsonb_agg(jsonb_build_object('name', c, 'status', 'ok', 'found', n % 5, 'summary', 'a summary of one line'))
                   FROM unnest(ARRAY['stuck-posts', 'missing-ids', 'browser-queue', 'database', 'circuit-breaker', 'old-failed', 'job-heartbeats', 'silence']) c)
           FROM generate_series(1, {runs}) n
          CROSS JOIN LATERAL (SELECT now() - interval '90 days' * (n::float8 / {runs}) AS at) t
          CROSS JOIN LATERAL (SELECT (ARRAY['heal', 'heal', 'heal', 'heal', 'optimize-performance', 'optimize-content', 'analyze-errors'])[1 + n % 7] AS pass) w;
         INSERT INTO healer.action (run_id, check_name, type, action, relation, target, before, after, reason, applied_at)
         SELECT n, 'stuck-posts', 'stuck_post_recovery', 'reset_status_to_queued', 'content_metadata', 'post-' || n,
                jsonb_build_object('status', 'posting', 'updated_at', now() - interval '90 days' * (n::float8 / 20000) - interval '40 minutes'),
                '{{\"status\": \"queued\"}}', 'bench', now() - interval '90 days' * (n::float8 / 20000)
           FROM generate_series(1, 20000) n;
         INSERT INTO healer.alert (fingerprint, pass, key, severity, title, detail, next_step, opened_at, last_seen, resolved_at)
         SELECT n, 'heal', 'k' || n, 'warning', 'a title', 'a detail', 'a step', now() - interval '1 day', now(), CASE WHEN n > 20 THEN now() END
           FROM generate_series(1, 2000) n"
    )
}

/// A week of a system in which something happened, for a page that shows what the charts show: a wave each day, and an outage
/// of some hours three days ago.
const WEEK: &str = "
INSERT INTO healer.run (pass, command, version, started_at, finished_at, status, exit_code, counts, checks)
SELECT 'heal', 'heal', 'page', t.at, t.at + make_interval(secs => 0.4 + 0.3 * random() + s.stuck * 0.04), CASE WHEN s.stuck > 12 THEN 'partial' ELSE 'ok' END,
       CASE WHEN s.stuck > 12 THEN 3 ELSE 0 END,
       jsonb_build_object('planned', s.stuck, 'applied', least(s.stuck, 12), 'skipped', 0, 'failed', 0, 'held', s.stuck / 6, 'remaining', greatest(s.stuck - 12, 0)),
       jsonb_build_array(jsonb_build_object('name', 'stuck-posts', 'status', CASE WHEN s.stuck > 12 THEN 'critical' WHEN s.stuck > 0 THEN 'warning' ELSE 'ok' END, 'found', s.stuck, 'summary', s.stuck || ' stuck'),
         jsonb_build_object('name', 'missing-ids', 'status', 'warning', 'found', (random() * 4)::int + s.stuck / 4, 'summary', 'some'),
         jsonb_build_object('name', 'old-failed', 'status', 'ok', 'found', (20 + 10 * random())::int, 'summary', 'some'))
  FROM generate_series(1, 28 * 24) n
 CROSS JOIN LATERAL (SELECT now() - interval '7 days' + n * interval '15 minutes' AS at) t
 CROSS JOIN LATERAL (SELECT greatest(0, (2 + 3 * sin(extract(epoch FROM t.at) / 13750) + 2 * random()
   + CASE WHEN t.at BETWEEN now() - interval '75 hours' AND now() - interval '66 hours' THEN 22 ELSE 0 END)::int) AS stuck) s;
UPDATE healer.run r SET counts = r.counts || jsonb_build_object('posts', jsonb_build_object(
  'queued', (14 + 9 * sin(extract(epoch FROM r.started_at) / 13750) + 3 * random())::int + f.found,
  'ready', (4 + 2 * random())::int, 'posting', 1 + f.found, 'failed', (20 + 10 * random())::int + f.found / 2))
  FROM (SELECT x.id, (x.checks -> 0 ->> 'found')::int AS found FROM healer.run x) f WHERE f.id = r.id;
INSERT INTO healer.performance_sample (run_id, at, body, counters)
SELECT 1, t.at, jsonb_build_object('posting', jsonb_build_object('day', jsonb_build_object('posted', 70 + n % 7 - o.failed, 'failed', 3 + o.failed))), '{}'
  FROM generate_series(1, 27) n
 CROSS JOIN LATERAL (SELECT now() - interval '7 days' + n * interval '6 hours' - interval '1 hour' AS at) t
 CROSS JOIN LATERAL (SELECT CASE WHEN t.at BETWEEN now() - interval '75 hours' AND now() - interval '48 hours' THEN 14 ELSE 0 END AS failed) o;
INSERT INTO healer.resource_sample (resource, at, value, most)
SELECT r.resource, now() - interval '7 days' + n * interval '1 hour',
       r.first + r.rise * sum(CASE WHEN random() < r.often THEN 1 / r.often ELSE 0 END) OVER (PARTITION BY r.resource ORDER BY n), 2147483647
  FROM generate_series(1, 160) n
 CROSS JOIN (VALUES ('sequence public.metrics_id_seq', 1.2e9, 3.5e6, 0.3), ('sequence public.views_id_seq', 0.9e9, 3e6, 0.1), ('sequence public.replies_id_seq', 1.5e9, 2e6, 0.05)) r (resource, first, rise, often)";

/// Makes the sandbox's sick system with that week behind it, and writes the page that healer makes of it.
fn page(cluster: &Cluster, path: &str) {
    cluster.client("postgres").expect("a connection").batch_execute("CREATE DATABASE page").expect("made");
    let mut client = cluster.client("page").expect("a connection");
    healer::sandbox::seed::fill(&mut client).unwrap_or_else(|error| panic!("{error}"));
    client.batch_execute(&healer::schema::sql()).expect("the schema healer");
    healer::sandbox::seed::signals(&mut client).unwrap_or_else(|error| panic!("{error}"));
    client.batch_execute(WEEK).expect("a week");
    let url = cluster.url("page");
    for arguments in [
        &["heal"][..],
        &["optimize"],
        &["analyze-errors"],
        &["heal"],
        &["report", "--format", "html", "--output", path],
    ] {
        let ended = Command::new(env!("CARGO_BIN_EXE_healer"))
            .env_clear()
            .env("DATABASE_URL", &url)
            .args(arguments)
            .stdout(Stdio::null())
            .output()
            .expect("healer runs");
        assert!(matches!(ended.status.code(), Some(0 | 3 | 4)), "{}", String::from_utf8_lossy(&ended.stderr));
    }
}

/// The median of some runs of one command, in milliseconds.
fn median(url: &str, format: &str, repeat: u64) -> f64 {
    let mut took: Vec<f64> = (0..repeat)
        .map(|_| {
            let begun = Instant::now();
            let ended = Command::new(env!("CARGO_BIN_EXE_healer"))
                .env_clear()
                .env("DATABASE_URL", url)
                .args(["report", "--format", format])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .output()
                .expect("healer runs");
            let took = begun.elapsed().as_secs_f64() * 1_000.0;
            let code = ended.status.code();
            assert!(matches!(code, Some(0 | 4)), "{code:?}: {}", String::from_utf8_lossy(&ended.stderr));
            took
        })
        .collect();
    took.sort_by(f64::total_cmp);
    took[took.len() / 2]
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (posts, events) = (number(&arguments, "--posts", 2_000_000), number(&arguments, "--events", 5_000_000));
    let (runs, repeat) = (number(&arguments, "--runs", 12_000), number(&arguments, "--repeat", 7));
    let folder = std::env::temp_dir().join(format!("healer-bench-report-{}", std::process::id()));
    let options = ClusterOptions {
        dir: &folder,
        filling: "bench",
        settings: &["shared_buffers=512MB", "max_wal_size=4GB"],
        remove: true,
    };
    let cluster = Cluster::open(&options, &|_| Ok(())).unwrap_or_else(|error| panic!("{error}: {}", error.hint()));
    if let Some(place) = arguments.iter().position(|argument| argument == "--page") {
        return page(&cluster, arguments.get(place + 1).expect("--page FILE"));
    }
    let mut result = String::new();
    for (name, posts, events) in [("small", 2_000, 5_000), ("large", posts, events)] {
        cluster
            .client("postgres")
            .expect("a connection")
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .expect("made");
        let mut client = cluster.client(name).expect("a connection");
        client.batch_execute(SCHEMA).expect("the shape");
        client.batch_execute(&healer::schema::sql()).expect("the schema healer");
        let begun = Instant::now();
        client.batch_execute(&fill(posts, events, runs)).expect("filled");
        client.batch_execute("VACUUM ANALYZE").expect("analysed");
        println!(
            "{name}: {posts} posts, {events} events, {runs} runs, filled in {:.0} s",
            begun.elapsed().as_secs_f64()
        );
        for format in ["table", "json", "html", "prometheus"] {
            let ms = median(&cluster.url(name), format, repeat);
            println!("  report --format {format:<10} {ms:>7.1} ms (median of {repeat})");
            result.push_str(&format!(" {name}_{format}_ms={ms:.1}"));
        }
    }
    println!("RESULT posts={posts} events={events} runs={runs}{result}");
}
