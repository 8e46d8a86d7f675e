//! What `healer heal` costs a database, beside what else people do with stuck posts.
//!
//! `cargo bench --bench heal -- [--posts 10000,1000000] [--stuck 10,1000,100000] [--runs 3] [--wan-ms 20] [--short]`
//! starts a throwaway server with fixed settings, fills one database for each number of posts, and measures in it, one
//! after the other and on the same rows: `heal` (plan and apply), one hand-written statement that reads the same ledgers
//! and journals the same, one unbounded UPDATE, batches of 10,000 ids, batches of 1,000 with a pause, and one UPDATE for
//! each row. All the while a worker claims and finishes posts, and its latencies are told beside those it has alone.
//!
//! Times are medians of `--runs`. Nothing is judged. `--short` is small enough for every commit.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use healer::sandbox::{Cluster, ClusterOptions};
use measure::Ran;
use postgres::Client;

// The bench needs less of the proxy than the tests do.
#[allow(dead_code)]
#[path = "../tests/support/proxy.rs"]
mod proxy;

mod measure;

type Failure = Box<dyn Error>;

/// The table below the view.
const POSTS: &str = "public.content_generation_metadata_comprehensive";

/// Settings of the server: those of a small database server, with durability to disk left out, which the machine's disk
/// and not healer would decide.
const SETTINGS: [&str; 6] =
    ["shared_buffers=512MB", "max_wal_size=16GB", "checkpoint_timeout=1h", "autovacuum=off", "work_mem=4MB", "jit=off"];

/// Posts that a worker can claim in one measurement.
const QUEUED: i64 = 20_000;

/// The pause between two posts of the worker.
const WORKER_PAUSE: Duration = Duration::from_millis(4);

/// The pause between two batches, where a counterpart has one.
const BATCH_PAUSE: Duration = Duration::from_millis(10);

/// Starts of `healer --version`.
const STARTS: usize = 21;

/// What was asked.
struct Asked {
    posts: Vec<i64>,
    stuck: Vec<i64>,
    runs: usize,
    wan: Duration,
    /// How long the worker is watched alone.
    alone: Duration,
}

impl Asked {
    fn read() -> Result<Self, Failure> {
        let mut asked = Self {
            posts: vec![10_000, 1_000_000],
            stuck: vec![10, 1_000, 100_000],
            runs: 3,
            wan: Duration::from_millis(20),
            alone: Duration::from_secs(3),
        };
        let numbers =
            |text: &str| text.split(',').map(|one| one.replace('_', "").parse()).collect::<Result<Vec<i64>, _>>();
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            if word == "--short" {
                let alone = Duration::from_millis(500);
                asked = Self { posts: vec![10_000, 50_000], stuck: vec![1_000], runs: 1, alone, ..asked };
                continue;
            }
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--posts" => asked.posts = numbers(&value)?,
                "--stuck" => asked.stuck = numbers(&value)?,
                "--runs" => asked.runs = value.parse::<usize>()?.max(1),
                "--wan-ms" => asked.wan = Duration::from_millis(value.parse()?),
                _ => return Err(format!("unknown option {word}; see the head of benches/heal.rs").into()),
            }
        }
        Ok(asked)
    }
}

/// Fills a database: `$POSTS` posts, 200 a day in the last week and the others in the years before, all of them in two
/// ledgers; half as many events; a month of heartbeats in healer's own history; and posts aside that can be made stuck.
const FILL: &str = r"
CREATE TEMP TABLE plan AS
  SELECT g, md5(g::text)::uuid AS id,
         CASE WHEN g <= 1400 THEN now() - g * interval '432 seconds'
              ELSE now() - interval '7 days' - interval '1200 days' * ((g - 1400)::float8 / greatest($POSTS, 1)) END AS at
    FROM generate_series(1, $POSTS) g;
INSERT INTO public.content_generation_metadata_comprehensive (decision_id, content, status, created_at, updated_at, posted_at, tweet_id)
SELECT p.id::text, 'A post of the usual length, as people write them: it says one thing and says it well. Number ' || p.g, 'posted',
       p.at - interval '1 hour', p.at, p.at, (1700000000000 + p.g)::text FROM plan p;
INSERT INTO public.content_generation_metadata_comprehensive (decision_id, content, status, created_at, updated_at)
SELECT md5('stuck ' || g)::uuid::text, 'A post of the usual length, as people write them: it says one thing and says it well. Number ' || g,
       'cancelled', now() - interval '3 hours', now() - interval '2 hours' FROM generate_series(1, $STUCK) g;
INSERT INTO public.post_receipts (decision_id, tweet_ids, root_tweet_id, post_type, posted_at)
SELECT p.id, ARRAY[(1700000000000 + p.g)::text], (1700000000000 + p.g)::text, 'single', p.at FROM plan p;
INSERT INTO public.post_attempts (decision_id, status, actual_tweet_id, posting_success, created_at, approved_at, used_at)
SELECT p.id::text, 'USED', (1700000000000 + p.g)::text, true, p.at - interval '6 minutes', p.at - interval '5 minutes', p.at FROM plan p;
INSERT INTO public.system_events (event_type, event_data, severity, created_at)
SELECT CASE WHEN p.g % 100 = 0 THEN 'error_browser_queue_timeout' ELSE 'POSTING_QUEUE_TICK' END,
       jsonb_build_object('ready_candidates', p.g % 7, 'error_message', 'waited ' || p.g || ' ms'), 'info', p.at FROM plan p WHERE p.g % 2 = 0;
INSERT INTO public.job_heartbeats (job_name, last_success, last_run_status)
SELECT j, now() - interval '1 minute', 'success' FROM unnest(ARRAY['posting', 'plan', 'reply_posting', 'metrics_scraper']) j;
INSERT INTO healer.job_run (job, status, at, source)
SELECT (ARRAY['posting', 'plan', 'reply_posting', 'metrics_scraper'])[1 + g % 4], 'success', now() - g * interval '200 seconds', 'pass'
  FROM generate_series(1, 12960) g;
SELECT healer.report_browser(0, 0, 1); SELECT healer.report_breaker('posting', false, 0);
DROP TABLE plan;
CREATE TABLE public.hand_journal (LIKE healer.action INCLUDING ALL);
";

/// The indexes that `doctor` recommends here, and the one by which a worker claims.
const INDEXES: &str = "
CREATE INDEX ON public.content_generation_metadata_comprehensive (status, decision_id) WHERE status IN ('queued', 'ready', 'posting');
CREATE INDEX ON public.content_generation_metadata_comprehensive (decision_id) WHERE status = 'failed';";

/// One hand-written statement that does what heal does to these posts: the ledgers are read, the posts queued again, and
/// each change is journalled with what was before and after, in a table with the same indexes.
const STATEMENT: &str = "
WITH before AS (
  SELECT p.decision_id, jsonb_build_object('status', p.status, 'updated_at', p.updated_at) AS before
    FROM public.content_metadata p
   WHERE p.status = 'posting' AND p.updated_at < now() - interval '30 minutes'
     AND NOT EXISTS (SELECT 1 FROM public.post_receipts r WHERE r.decision_id = p.decision_id::uuid)
     AND NOT EXISTS (SELECT 1 FROM public.post_attempts a WHERE a.decision_id = p.decision_id)
     AND NOT EXISTS (SELECT 1 FROM public.posting_attempts a WHERE a.decision_id = p.decision_id)
     AND NOT EXISTS (SELECT 1 FROM public.posted_decisions d WHERE d.decision_id = p.decision_id)
     AND NOT EXISTS (SELECT 1 FROM public.system_events e WHERE e.event_type IN ('POST_SUCCESS', 'REPLY_SUCCESS')
                        AND e.created_at > now() - interval '1 day' AND e.event_data ->> 'decision_id' = p.decision_id)
   ORDER BY p.decision_id FOR UPDATE OF p
), changed AS (
  UPDATE public.content_metadata p SET status = 'queued', updated_at = now() FROM before b
   WHERE p.decision_id = b.decision_id AND p.status = 'posting'
  RETURNING p.decision_id, jsonb_build_object('status', p.status, 'updated_at', p.updated_at) AS after
)
INSERT INTO public.hand_journal (run_id, check_name, type, action, relation, target, before, after, reason, evidence)
SELECT 1, 'stuck-posts', 'stuck_post_recovery', 'reset_status_to_queued', 'content_metadata', c.decision_id, b.before, c.after,
       'post_receipts knows 100.0 % of the posts of the last 7 days, and not this one',
       '{\"verdict\": \"not_posted\", \"ledger\": \"post_receipts\", \"coverage\": 1.0}'
  FROM changed c JOIN before b USING (decision_id)";

/// What notes one change as the journal does.
const NOTE: &str = "INSERT INTO public.hand_journal (run_id, check_name, type, action, relation, target, before, after, reason, evidence)
SELECT 1, 'stuck-posts', 'stuck_post_recovery', 'reset_status_to_queued', 'content_metadata', p.decision_id,
       jsonb_build_object('status', 'posting', 'updated_at', now()), jsonb_build_object('status', p.status, 'updated_at', p.updated_at),
       'post_receipts knows 100.0 % of the posts of the last 7 days, and not this one',
       '{\"verdict\": \"not_posted\", \"ledger\": \"post_receipts\", \"coverage\": 1.0}'
  FROM public.content_metadata p WHERE p.decision_id = $1";

const UNBOUNDED: &str = "UPDATE public.content_metadata SET status = 'queued', updated_at = now()
    WHERE status = 'posting' AND updated_at < now() - interval '30 minutes'";

const STUCK_IDS: &str = "SELECT decision_id FROM public.content_metadata
    WHERE status = 'posting' AND updated_at < now() - interval '30 minutes' LIMIT $1";

/// What is done to the stuck posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Heal,
    Statement,
    Unbounded,
    TenThousand,
    Thousand,
    Rows,
    RowsAndJournal,
}

impl Way {
    const ALL: [Self; 7] = [
        Self::Heal,
        Self::Statement,
        Self::Unbounded,
        Self::TenThousand,
        Self::Thousand,
        Self::Rows,
        Self::RowsAndJournal,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::Heal => "healer heal",
            Self::Statement => "one statement, ledgers and journal",
            Self::Unbounded => "one unbounded UPDATE",
            Self::TenThousand => "batches of 10,000 ids",
            Self::Thousand => "batches of 1,000 and a pause",
            Self::Rows => "one UPDATE for each row",
            Self::RowsAndJournal => "the same and one INSERT to note it",
        }
    }
}

/// What one way cost.
#[derive(Debug, Clone, Default)]
struct Cost {
    ms: f64,
    wal: f64,
    buffers: f64,
    dead: f64,
    peak_mb: f64,
    alone: Latencies,
    beside: Latencies,
    longest_wait_ms: f64,
}

/// Latencies of a worker's statements, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Latencies {
    count: usize,
    p50: f64,
    p99: f64,
    max: f64,
}

impl Latencies {
    fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        let at = |share: f64| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
            let place = ((all.len() as f64 * share).ceil() as usize).clamp(1, all.len().max(1)) - 1;
            all.get(place).copied().unwrap_or(0.0)
        };
        Self { count: all.len(), p50: at(0.5), p99: at(0.99), max: all.last().copied().unwrap_or(0.0) }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000.0
}

/// One filled database.
struct Ground<'a> {
    cluster: &'a Cluster,
    name: String,
    binary: &'a Path,
    folder: PathBuf,
}

impl<'a> Ground<'a> {
    fn new(cluster: &'a Cluster, binary: &'a Path, folder: &Path, posts: i64, stuck: i64) -> Result<Self, Failure> {
        let name = format!("posts_{posts}");
        cluster.client("postgres")?.batch_execute(&format!("CREATE DATABASE {name}"))?;
        let ground = Self { cluster, name, binary, folder: folder.to_path_buf() };
        let mut client = ground.client()?;
        client.batch_execute(include_str!("../sql/sandbox/010_schema.sql"))?;
        ground.run(&["init"], &ground.url())?;
        // Indexes are made after the rows: that takes half the time.
        let later: Vec<(String, String)> = client
            .query(
                "SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i
                   JOIN pg_class t ON t.oid = i.indrelid AND t.relnamespace IN ('public'::regnamespace, 'healer'::regnamespace)
                  WHERE NOT i.indisunique",
                &[],
            )?
            .iter()
            .map(|row| (row.get(0), row.get(1)))
            .collect();
        for (index, _) in &later {
            client.batch_execute(&format!("DROP INDEX {index}"))?;
        }
        let fill = FILL.replace("$POSTS", &posts.to_string()).replace("$STUCK", &(stuck + QUEUED).to_string());
        client.batch_execute(&fill)?;
        for (_, ddl) in &later {
            client.batch_execute(ddl)?;
        }
        client.batch_execute(INDEXES)?;
        client.batch_execute("VACUUM (ANALYZE)")?;
        client.batch_execute("CHECKPOINT")?;
        Ok(ground)
    }

    fn client(&self) -> Result<Client, Failure> {
        Ok(self.cluster.client(&self.name)?)
    }

    fn url(&self) -> String {
        self.cluster.url(&self.name)
    }

    /// Runs the program and watches its memory.
    fn run(&self, words: &[&str], url: &str) -> Result<Ran, Failure> {
        let mut command = Command::new(self.binary);
        command.args(words).env_clear().env("DATABASE_URL", url).current_dir(&self.folder);
        let ran = measure::watched(&mut command)?;
        let output = &ran.output;
        if !matches!(output.status.code(), Some(0 | 3)) {
            return Err(
                format!("{words:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into()
            );
        }
        Ok(ran)
    }

    /// Makes so many posts stuck, and everything else as it was.
    fn prepare(&self, stuck: i64) -> Result<(), Failure> {
        let mut client = self.client()?;
        client.batch_execute(&format!(
            "UPDATE {POSTS} SET status = 'cancelled', updated_at = now() - interval '2 hours', posted_at = NULL, tweet_id = NULL,
                    scheduled_at = NULL WHERE status IN ('queued', 'posting') OR (status = 'posted' AND tweet_id = 'worker');
             UPDATE {POSTS} p SET status = 'posting', updated_at = now() - interval '2 hours'
               FROM generate_series(1, {stuck}) g WHERE p.decision_id = md5('stuck ' || g)::uuid::text;
             UPDATE {POSTS} p SET status = 'queued', scheduled_at = now() - interval '1 hour' + g * interval '1 millisecond'
               FROM (SELECT s, s - (SELECT count(*) FROM {POSTS} WHERE status = 'posting') AS g FROM generate_series({stuck} + 1, {stuck} + {QUEUED}) s) q
              WHERE p.decision_id = md5('stuck ' || q.s)::uuid::text;
             TRUNCATE healer.action, healer.held_post, healer.run, public.hand_journal;
             DELETE FROM public.system_events WHERE event_type = 'self_healing_report'"
        ))?;
        client.batch_execute(&format!("VACUUM (ANALYZE) {POSTS}"))?;
        client.batch_execute("VACUUM public.system_events")?;
        client.batch_execute("CHECKPOINT")?;
        Ok(())
    }

    fn figures(&self) -> Result<(f64, f64, f64), Failure> {
        let mut client = self.client()?;
        // What other sessions counted shows when they have ended, with a delay.
        client.batch_execute("SELECT pg_sleep(0.6)")?;
        let row = client.query_one(
            "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8,
                    (SELECT (blks_hit + blks_read)::float8 FROM pg_stat_database WHERE datname = current_database()),
                    (SELECT coalesce(sum(n_tup_upd + n_tup_del), 0)::float8 FROM pg_stat_user_tables)",
            &[],
        )?;
        Ok((row.get(0), row.get(1), row.get(2)))
    }

    fn go(&self, way: Way, stuck: i64) -> Result<(f64, f64), Failure> {
        if way == Way::Heal {
            let ran = self.run(&["heal", "--max-actions", &stuck.max(1).to_string(), "--quiet"], &self.url())?;
            return Ok((ran.ms, ran.peak_mb));
        }
        let mut client = self.client()?;
        let begun = Instant::now();
        match way {
            Way::Heal => {}
            Way::Statement => drop(client.execute(STATEMENT, &[])?),
            Way::Unbounded => drop(client.execute(UNBOUNDED, &[])?),
            Way::TenThousand => batches(&mut client, 10_000, Duration::ZERO)?,
            Way::Thousand => batches(&mut client, 1_000, BATCH_PAUSE)?,
            Way::Rows => one_by_one(&mut client, None)?,
            Way::RowsAndJournal => one_by_one(&mut client, Some(NOTE))?,
        }
        Ok((milliseconds(begun), 0.0))
    }

    /// One measurement alone, and one beside a worker.
    fn measure(&self, way: Way, stuck: i64, alone: Duration) -> Result<Cost, Failure> {
        self.prepare(stuck)?;
        let before = self.figures()?;
        let (ms, peak_mb) = self.go(way, stuck)?;
        let after = self.figures()?;
        let left: i64 =
            self.client()?.query_one(&format!("SELECT count(*) FROM {POSTS} WHERE status = 'posting'"), &[])?.get(0);
        if left != 0 {
            return Err(format!("{}: {left} of {stuck} are still stuck", way.words()).into());
        }
        self.prepare(stuck)?;
        let worker = Worker::start(self)?;
        thread::sleep(alone);
        let begun = worker.lap();
        self.go(way, stuck)?;
        let ended = worker.lap();
        let watched = worker.end()?;
        Ok(Cost {
            ms,
            wal: after.0 - before.0,
            buffers: after.1 - before.1,
            dead: after.2 - before.2,
            peak_mb,
            alone: watched.between(Duration::ZERO, begun),
            beside: watched.between(begun, ended),
            longest_wait_ms: watched.longest_wait_ms,
        })
    }
}

fn batches(client: &mut Client, size: i64, pause: Duration) -> Result<(), Failure> {
    loop {
        let ids: Vec<String> = client.query(STUCK_IDS, &[&size])?.iter().map(|row| row.get(0)).collect();
        if ids.is_empty() {
            return Ok(());
        }
        client.execute(
            "UPDATE public.content_metadata SET status = 'queued', updated_at = now()
              WHERE decision_id = ANY ($1) AND status = 'posting'",
            &[&ids],
        )?;
        thread::sleep(pause);
    }
}

fn one_by_one(client: &mut Client, note: Option<&str>) -> Result<(), Failure> {
    let ids: Vec<String> = client.query(STUCK_IDS, &[&i64::MAX])?.iter().map(|row| row.get(0)).collect();
    let one = client
        .prepare("UPDATE public.content_metadata SET status = 'queued', updated_at = now() WHERE decision_id = $1")?;
    let note = note.map(|sql| client.prepare(sql)).transpose()?;
    for id in ids {
        client.execute(&one, &[&id])?;
        if let Some(note) = &note {
            client.execute(note, &[&id])?;
        }
    }
    Ok(())
}

/// A worker that claims and finishes posts until it is told to stop.
struct Worker {
    begun: Instant,
    stop: Arc<AtomicBool>,
    working: JoinHandle<Result<Vec<(Duration, f64)>, String>>,
    watching: JoinHandle<Result<f64, String>>,
}

/// What a worker met: when each of its statements began and how long it took.
struct Watched {
    statements: Vec<(Duration, f64)>,
    longest_wait_ms: f64,
}

impl Watched {
    fn between(&self, from: Duration, to: Duration) -> Latencies {
        let within = self.statements.iter().filter(|(at, _)| (from..to).contains(at));
        Latencies::of(within.map(|(_, ms)| *ms).collect())
    }
}

impl Worker {
    fn start(ground: &Ground<'_>) -> Result<Self, Failure> {
        let (mut client, mut watcher) = (ground.client()?, ground.client()?);
        let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[])?.get(0);
        let claim = client.prepare(
            "UPDATE public.content_metadata SET status = 'posting', updated_at = now()
              WHERE decision_id = (SELECT decision_id FROM public.content_metadata WHERE status = 'queued' AND scheduled_at <= now()
                                    ORDER BY scheduled_at LIMIT 1 FOR UPDATE SKIP LOCKED)
             RETURNING decision_id",
        )?;
        let finish = client.prepare(
            "UPDATE public.content_metadata SET status = 'posted', tweet_id = 'worker', posted_at = now(), updated_at = now()
              WHERE decision_id = $1",
        )?;
        let (begun, stop) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let working = thread::spawn(move || {
            let mut statements = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let (at, since) = (begun.elapsed(), Instant::now());
                let claimed = client.query(&claim, &[]).map_err(|error| error.to_string())?;
                statements.push((at, milliseconds(since)));
                if let Some(post) = claimed.first() {
                    let id: String = post.get(0);
                    let (at, since) = (begun.elapsed(), Instant::now());
                    client.execute(&finish, &[&id]).map_err(|error| error.to_string())?;
                    statements.push((at, milliseconds(since)));
                }
                thread::sleep(WORKER_PAUSE);
            }
            Ok(statements)
        });
        let stopped = Arc::clone(&stop);
        let watching = thread::spawn(move || {
            let mut longest = 0.0_f64;
            while !stopped.load(Ordering::Relaxed) {
                let row = watcher
                    .query_one(
                        "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - query_start) * 1000), 0)::float8
                           FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'",
                        &[&pid],
                    )
                    .map_err(|error| error.to_string())?;
                longest = longest.max(row.get(0));
                thread::sleep(Duration::from_millis(5));
            }
            Ok(longest)
        });
        Ok(Self { begun, stop, working, watching })
    }

    fn lap(&self) -> Duration {
        self.begun.elapsed()
    }

    fn end(self) -> Result<Watched, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let statements = self.working.join().map_err(|_| "the worker panicked")??;
        let longest_wait_ms = self.watching.join().map_err(|_| "the watcher panicked")??;
        Ok(Watched { statements, longest_wait_ms })
    }
}

/// The medians of several measurements of the same.
fn middle(all: &[Cost]) -> Cost {
    let of = |pick: fn(&Cost) -> f64| median(all.iter().map(pick).collect());
    let latencies = |pick: fn(&Cost) -> Latencies| Latencies {
        count: all.iter().map(|cost| pick(cost).count).sum(),
        p50: median(all.iter().map(|cost| pick(cost).p50).collect()),
        p99: median(all.iter().map(|cost| pick(cost).p99).collect()),
        max: all.iter().map(|cost| pick(cost).max).fold(0.0, f64::max),
    };
    Cost {
        ms: of(|cost| cost.ms),
        wal: of(|cost| cost.wal),
        buffers: of(|cost| cost.buffers),
        dead: of(|cost| cost.dead),
        peak_mb: all.iter().map(|cost| cost.peak_mb).fold(0.0, f64::max),
        alone: latencies(|cost| cost.alone),
        beside: latencies(|cost| cost.beside),
        longest_wait_ms: all.iter().map(|cost| cost.longest_wait_ms).fold(0.0, f64::max),
    }
}

fn ratio(of: f64, to: f64) -> f64 {
    if to > 0.0 { of / to } else { 0.0 }
}

/// Round trips of a run, without those that open the connection: healer tells them at the lowest level.
fn round_trips(ran: &Ran) -> Result<u64, Failure> {
    let words = String::from_utf8_lossy(&ran.output.stderr);
    let told = words.lines().filter_map(|line| line.split_once(" round trips")?.0.rsplit(' ').next()?.parse().ok());
    let all: Vec<u64> = told.collect();
    if all.is_empty() { Err("healer did not tell its round trips".into()) } else { Ok(all.iter().sum()) }
}

/// The figures of the last line, in their order.
#[derive(Default)]
struct Results(Vec<(String, f64)>);

impl Results {
    fn add(&mut self, key: impl Into<String>, value: f64) {
        self.0.push((key.into(), value));
    }

    fn line(&self) -> String {
        let pairs: Vec<String> = self.0.iter().map(|(key, value)| format!("{key}={value:.3}")).collect();
        format!("RESULT {}", pairs.join(" "))
    }
}

fn main() -> Result<(), Failure> {
    let asked = Asked::read()?;
    let binary = Path::new(env!("CARGO_BIN_EXE_healer"));
    let folder = tempfile::Builder::new().prefix("healer-bench-").tempdir()?;
    // A working folder in which no configuration lies.
    let work = folder.path().join("work");
    std::fs::create_dir(&work)?;
    let server = folder.path().join("server");
    let options = ClusterOptions { dir: &server, filling: "bench", settings: &SETTINGS, remove: true };
    let cluster = Cluster::open(&options, &|_| Ok(()))?;
    let most = asked.stuck.iter().copied().max().unwrap_or(0);
    let mut result = Results::default();

    println!("PostgreSQL {}, {} runs, medians; {}", cluster.major(), asked.runs, SETTINGS.join(" "));
    start_up(binary, &mut result)?;
    let mut healthy = BTreeMap::new();
    for posts in &asked.posts {
        let begun = Instant::now();
        let stuck_here = most.min(*posts);
        let ground = Ground::new(&cluster, binary, &work, *posts, stuck_here)?;
        println!("\n{posts} posts (filled in {:.0} s)", begun.elapsed().as_secs_f64());
        healthy.insert(*posts, healthy_heal(&ground, *posts, &asked, &mut result)?);
        for stuck in asked.stuck.iter().filter(|stuck| **stuck <= stuck_here) {
            table(&ground, *posts, *stuck, &asked, &mut result)?;
        }
        drop(ground);
        cluster.client("postgres")?.batch_execute(&format!("DROP DATABASE posts_{posts} WITH (FORCE)"))?;
    }
    if let (Some((_, least)), Some((_, greatest))) = (healthy.first_key_value(), healthy.last_key_value()) {
        result.add("healthy_growth", ratio(*greatest, *least));
    }
    println!("\n{}", result.line());
    Ok(())
}

fn start_up(binary: &Path, result: &mut Results) -> Result<(), Failure> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        Command::new(binary).arg("--version").stdout(Stdio::null()).status()?;
        times.push(milliseconds(begun));
    }
    let ms = median(times);
    let megabytes = std::fs::metadata(binary)?.len() as f64 / 1_048_576.0;
    println!("start-up (--version): {ms:.1} ms; the binary: {megabytes:.1} MB");
    result.add("start_ms", ms);
    result.add("binary_mb", megabytes);
    Ok(())
}

/// A heal with nothing to do: how long, how many round trips, and the same on a slow line.
fn healthy_heal(ground: &Ground<'_>, posts: i64, asked: &Asked, result: &mut Results) -> Result<f64, Failure> {
    ground.prepare(0)?;
    // The first run prunes, and the caches are cold.
    ground.run(&["heal", "--quiet"], &ground.url())?;
    let mut times = Vec::new();
    let mut peak = 0.0_f64;
    for _ in 0..asked.runs.max(3) {
        let ran = ground.run(&["heal", "--quiet"], &ground.url())?;
        times.push(ran.ms);
        peak = peak.max(ran.peak_mb);
    }
    let ms = median(times);
    let trips = round_trips(&ground.run(&["heal", "-vvv"], &ground.url())?)?;
    let wan = over_wan(ground, asked, &["heal", "--quiet"])?;
    println!(
        "healthy heal: {ms:.1} ms, {trips} round trips, peak {peak:.1} MB; over a line with {} ms each way: {wan:.0} ms",
        asked.wan.as_millis()
    );
    result.add(format!("healthy_{posts}_ms"), ms);
    result.add(format!("healthy_{posts}_trips"), trips as f64);
    result.add(format!("healthy_{posts}_wan_ms"), wan);
    result.add(format!("healthy_{posts}_peak_mb"), peak);
    Ok(ms)
}

fn over_wan(ground: &Ground<'_>, asked: &Asked, words: &[&str]) -> Result<f64, Failure> {
    let socket = ground.cluster.socket_dir().join(format!(".s.PGSQL.{}", ground.cluster.port()));
    let line = proxy::Proxy::start(proxy::Target::Unix(socket))?;
    line.delay(proxy::Way::ToServer, asked.wan);
    line.delay(proxy::Way::ToClient, asked.wan);
    Ok(ground.run(words, &line.url("postgres", &ground.name))?.ms)
}

/// Every way for one number of stuck posts.
fn table(ground: &Ground<'_>, posts: i64, stuck: i64, asked: &Asked, result: &mut Results) -> Result<(), Failure> {
    let key = |name: &str| format!("{name}_{posts}_{stuck}");
    ground.prepare(stuck)?;
    let number = stuck.to_string();
    let dry = ["heal", "--dry-run", "--max-actions", &number, "--quiet"];
    let mut plans = Vec::new();
    for _ in 0..asked.runs {
        plans.push(ground.run(&dry, &ground.url())?.ms);
    }
    let plan_ms = median(plans);
    let trips = round_trips(&ground.run(&["heal", "--max-actions", &number, "-vvv"], &ground.url())?)?;
    println!("\n{stuck} stuck: plan {plan_ms:.0} ms, {trips} round trips for all of it");
    println!(
        "{:<36} {:>9} {:>9} {:>8} {:>9} {:>9} {:>8} | worker alone p50, p99, max | beside it p50, p99, max | waits",
        "", "ms", "rows/s", "WAL MB", "buffers", "rewritten", "peak MB"
    );
    let mut costs = BTreeMap::new();
    for way in Way::ALL {
        let mut all = Vec::new();
        for _ in 0..asked.runs {
            all.push(ground.measure(way, stuck, asked.alone)?);
        }
        let cost = middle(&all);
        println!(
            "{:<36} {:>9.0} {:>9.0} {:>8.1} {:>9.0} {:>9.0} {:>8.1} | {:>7.1} {:>7.1} {:>7.1} ms | {:>6.1} {:>6.1} {:>7.1} ms | {:>5.0} ms",
            way.words(),
            cost.ms,
            stuck as f64 / cost.ms * 1_000.0,
            cost.wal / 1_048_576.0,
            cost.buffers,
            cost.dead,
            cost.peak_mb,
            cost.alone.p50,
            cost.alone.p99,
            cost.alone.max,
            cost.beside.p50,
            cost.beside.p99,
            cost.beside.max,
            cost.longest_wait_ms,
        );
        costs.insert(way, cost);
    }
    let of = |way: Way| costs.get(&way).cloned().unwrap_or_default();
    let heal = of(Way::Heal);
    for way in &Way::ALL[1..] {
        let other = of(*way);
        println!(
            "  heal / {:<33} {:>5.2} × the time, {:>5.2} × the WAL, {:>5.2} × the worker's p99",
            way.words(),
            ratio(heal.ms, other.ms),
            ratio(heal.wal, other.wal),
            ratio(heal.beside.p99, other.beside.p99)
        );
    }
    result.add(key("plan_ms"), plan_ms);
    result.add(key("heal_ms"), heal.ms);
    result.add(key("trips"), trips as f64);
    result.add(key("peak_mb"), heal.peak_mb);
    result.add(key("heal_per_statement"), ratio(heal.ms, of(Way::Statement).ms));
    result.add(key("wal_per_row_updates"), ratio(heal.wal, of(Way::Rows).wal));
    result.add(key("wal_per_row_updates_noted"), ratio(heal.wal, of(Way::RowsAndJournal).wal));
    result.add(key("wal_per_statement"), ratio(heal.wal, of(Way::Statement).wal));
    result.add(key("worker_p99_ratio"), ratio(heal.beside.p99, heal.alone.p99));
    result.add(key("worker_max_ms"), heal.beside.max);
    result.add(key("worker_wait_ms"), heal.longest_wait_ms);
    result.add(key("worker_wait_statement_ms"), of(Way::Statement).longest_wait_ms);
    if stuck == 1_000 {
        ground.prepare(stuck)?;
        let wan = over_wan(ground, asked, &["heal", "--max-actions", "1000", "--quiet"])?;
        println!("  {stuck} stuck over a line with {} ms each way: {wan:.0} ms", asked.wan.as_millis());
        result.add(key("wan_ms"), wan);
    }
    Ok(())
}
