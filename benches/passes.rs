//! How long `optimize performance`, `optimize content` and `analyze-errors` take on large systems, and how much memory, with
//! small ones beside them.
//!
//! `cargo bench --bench passes -- [--posts 2000000] [--events 5000000] [--errors 1000000] [--outcomes 1000000] [--repeat 3]`:
//! fills a throwaway Postgres (its binaries are found as those of the sandbox). Each pass runs as a process of its own, as
//! cron starts it: `optimize performance` on posts of half a year, events, 200,000 runs of jobs and 20,000 operations of the
//! browser; `optimize content` on posts of the last 30 days that all have outcomes; `analyze-errors` on error events of
//! its window, in some hundred patterns with ten thousand texts and numbers that never repeat. Dry runs, so that each finds
//! the same. Times are medians of `--repeat`, memory is the most of them.

use std::error::Error;
use std::process::Command;
use std::time::Instant;

use healer::sandbox::{Cluster, ClusterOptions};

mod measure;

type Failure = Box<dyn Error>;

const SCHEMA: &str = include_str!("../sql/sandbox/010_schema.sql");

/// What `optimize performance` reads beside posts and events.
const JOBS: &str = "
INSERT INTO healer.job_run (job, status, at, duration_ms, source)
SELECT 'job ' || n % 40, CASE WHEN n % 53 = 0 THEN 'failed' ELSE 'success' END, now() - n * interval '6 seconds', 4000 + n::bigint * 7919 % 3000, 'trigger'
  FROM generate_series(1, $RUNS) n;
INSERT INTO healer.signal (name, data, reported_at)
SELECT 'browser_op', jsonb_build_object('operation', 'operation ' || n % 12, 'waited_ms', n * 31 % 4000, 'held_ms', 9000 + n * 17 % 9000, 'ok', n % 40 <> 0),
       now() - n * interval '30 seconds'
  FROM generate_series(1, $RUNS / 10) n;";

/// Posts of 30 days, each with what it earned.
fn outcomes(posts: u64) -> String {
    format!(
        "INSERT INTO public.content_generation_metadata_comprehensive
           (decision_id, content, decision_type, status, created_at, posted_at, updated_at, tweet_id, generator_name)
         SELECT 'post-' || n, 'a text', CASE WHEN n % 3 = 0 THEN 'thread' ELSE 'single' END, 'posted', t.at, t.at, t.at, (1700000000000 + n)::text,
                'generator ' || n % 9
           FROM generate_series(1, {posts}) n CROSS JOIN LATERAL (SELECT now() - interval '30 days' * (n::float8 / {posts}) AS at) t;
         INSERT INTO public.outcomes (decision_id, tweet_id, impressions, likes, retweets, replies, followers_gained, collected_at, created_at)
         SELECT p.decision_id, p.tweet_id, 200 + hashtext(p.decision_id) % 150, 12 + hashtext(p.tweet_id) % 9, 2, 1, 0,
                p.posted_at + interval '26 hours', p.posted_at + interval '26 hours'
           FROM public.content_generation_metadata_comprehensive p WHERE p.posted_at < now() - interval '26 hours';
         INSERT INTO public.generator_weights (generator_name, weight)
         SELECT 'generator ' || n, CASE WHEN n = 0 THEN 0.12 ELSE 0.11 END FROM generate_series(0, 8) n"
    )
}

/// Error events of the last six hours.
fn errors(events: u64) -> String {
    format!(
        "INSERT INTO public.system_events (event_type, event_data, severity, component, message, created_at)
         SELECT 'error_' || n % 12, jsonb_build_object('error_message',
                  (ARRAY['timeout of ' || n || ' ms exceeded while reading', 'net::ERR_NAME_NOT_RESOLVED at https://example.org/p/' || n,
                         'duplicate key value violates unique constraint \"posts_' || n % 7 || '_key\"', 'HTTP 429: rate limit, try again in ' || n % 900 || ' s',
                         'cannot read properties of undefined (reading ''' || md5((n % 10000)::text) || ''')', 'connection to 10.' || n % 200 || '.0.1 refused',
                         'page ' || md5(n::text) || ' crashed', 'job step ' || (ARRAY['open', 'type', 'submit', 'verify'])[1 + n % 4] || ' failed after ' || n || ' ms'])
                  [1 + n::bigint * 7919 % 8]), 'error', 'component ' || n % 6, NULL, now() - interval '6 hours' * (n::float8 / {events})
           FROM generate_series(1, {events}) n"
    )
}

/// A pass: its name in the result, its words, and what it runs on, a small system and a large one, in words and in SQL.
type Ground<'a> = (&'a str, &'a [&'a str], [(String, String); 2]);

/// Runs a pass some times; gives the median of its times and the most memory.
fn pass(url: &str, words: &[&str], repeat: u64) -> Result<(f64, f64), Failure> {
    let (mut times, mut peak) = (Vec::new(), 0.0_f64);
    for _ in 0..repeat.max(1) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_healer"));
        command.env_clear().env("DATABASE_URL", url).args(words);
        let ran = measure::watched(&mut command)?;
        let code = ran.output.status.code();
        if !matches!(code, Some(0 | 4)) {
            return Err(
                format!("{words:?} ended with {code:?}: {}", String::from_utf8_lossy(&ran.output.stderr)).into()
            );
        }
        times.push(ran.ms);
        peak = peak.max(ran.peak_mb);
    }
    times.sort_by(f64::total_cmp);
    Ok((times[times.len() / 2], peak))
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, usual: u64| measure::number(&arguments, name, usual);
    let (posts, events) = (number("--posts", 2_000_000), number("--events", 5_000_000));
    let (error_events, measured_posts) = (number("--errors", 1_000_000), number("--outcomes", 1_000_000));
    let repeat = number("--repeat", 3);
    let folder = std::env::temp_dir().join(format!("healer-bench-passes-{}", std::process::id()));
    let options = ClusterOptions {
        dir: &folder,
        filling: "bench",
        settings: &["shared_buffers=512MB", "max_wal_size=4GB", "autovacuum=off"],
        remove: true,
    };
    let cluster = Cluster::open(&options, &|_| Ok(()))?;
    let system = |posts: u64, events: u64, runs: u64| {
        format!("{}{}", measure::system(posts, events), JOBS.replace("$RUNS", &runs.to_string()))
    };
    let mut result = String::new();
    let grounds: [Ground; 3] = [
        (
            "optimize_performance",
            &["optimize", "performance", "--dry-run", "--format", "json"],
            [
                ("10,000 posts, 25,000 events".into(), system(10_000, 25_000, 1_000)),
                (format!("{posts} posts, {events} events"), system(posts, events, 200_000)),
            ],
        ),
        (
            "optimize_content",
            &["optimize", "content", "--dry-run", "--format", "json"],
            [
                ("5,000 posts with outcomes".into(), outcomes(5_000)),
                (format!("{measured_posts} posts with outcomes"), outcomes(measured_posts)),
            ],
        ),
        (
            "analyze_errors",
            &["analyze-errors", "--dry-run", "--format", "json"],
            [
                ("5,000 error events".into(), errors(5_000)),
                (format!("{error_events} error events"), errors(error_events)),
            ],
        ),
    ];
    for (name, words, sizes) in grounds {
        for (size, (what, sql)) in ["small", "large"].into_iter().zip(sizes) {
            let database = format!("{name}_{size}");
            cluster.client("postgres")?.batch_execute(&format!("CREATE DATABASE {database}"))?;
            let mut client = cluster.client(&database)?;
            client.batch_execute(SCHEMA)?;
            client.batch_execute(&healer::schema::sql())?;
            let begun = Instant::now();
            client.batch_execute(&sql)?;
            client.batch_execute("VACUUM ANALYZE")?;
            let filled = begun.elapsed().as_secs_f64();
            let (ms, mb) = pass(&cluster.url(&database), words, repeat)?;
            println!("{:<50} {what:<40} {ms:>8.0} ms {mb:>6.1} MB   (filled in {filled:.0} s)", words.join(" "));
            result.push_str(&format!(" {name}_{size}_ms={ms:.0} {name}_{size}_mb={mb:.1}"));
            drop(client);
            cluster.client("postgres")?.batch_execute(&format!("DROP DATABASE {database}"))?;
        }
    }
    println!("RESULT repeat={repeat}{result}");
    Ok(())
}
