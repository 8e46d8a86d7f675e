//! How much of what is wrong `healer optimize performance` finds, and how much it finds that is not.
//!
//! `cargo bench --bench optimize -- [--seed N] [--systems 20] [--peers] [--without-statements] [--keep DIR]`: makes a throwaway Postgres (its
//! binaries are found as those of the sandbox) and in it one posting system for each seed from `--seed` on, with faults that
//! are known; runs the pass; and compares. `--peers` asks `check_postgres` and `pg_extras` as well, where they are on the path.
//!
//! A system: 15,000 to 40,000 posts of 60 days with their receipts and attempts, 20,000 to 60,000 events, 10 to 16 jobs with
//! log-normal durations (median 2 to 90 s, spread of the log 0.2 to 0.5, 0 to 3 % failures, every 10 minutes to every 4
//! hours) over 14 days, a week of operations of one browser, and an application's table of 30,000 rows with its queries.
//! Half of the systems keep a row a run in `job_heartbeats`, half have healer's own notes of the runs.
//!
//! Each fault is planted in every system with probability 0.5, of a size that is drawn anew; each has its innocent neighbour
//! in every system. Planted, and what counts as found:
//! - *slow job*: median 6 to 15 min; or × 1.8 to 3 since a day. Found where the job is among `slowJobs`. Neighbour: a job of 3
//!   min with runs of far more.
//! - *creeping job*: 4 to 8 % longer a day for 14 days. Found where the job is among `slowJobs` or foretold. Neighbour: a job
//!   with a strong daily rhythm.
//! - *missing index*: that of a ledger or of the posts' status is gone; or the application asks by a
//!   column that has none. Found by its table and column. Neighbours: a query for most rows, one of a small table.
//! - *invalid index*: a unique index that could not be built concurrently. *Duplicate index*: the same keys again.
//!   Found by their names. Neighbours: an index that is truly used, one that nobody used since the server began to count
//!   a minute ago, the same column with another condition, operator class or order of columns.
//! - *stale statistics*: a table that autovacuum must not touch, changed by a third or more. Neighbour: one changed by 2 %.
//! - *rate-limit storm*: 25 to 200 hits within a day, in the events, the posts' errors or the attempts. Neighbour: up to 12.
//! - *colliding browser operations*: two jobs at the same minute that hold the browser for 1 to 4 min each. Found where the
//!   pass warns and names the two. Neighbour: operations that seldom meet.
//!
//! False: whatever else stands among the findings and the slow jobs, is foretold, or makes a check warn.
//!
//! `--peers` asks `check_postgres` (2.25, of Debian) and `pgextras` (of the crate pg-extras) about the same databases, where
//! they are on the path. Found is what a command of theirs that tells of problems names: `duplicate-indexes`,
//! `unused-indexes`, `null-indexes` and `vacuum-stats` (where a vacuum is expected) of pgextras (its `bloat` lists every table);
//! `last_analyze`, `last_vacuum`, `bloat`, `disabled_triggers`, `query_time` of check_postgres where it does not say OK. False is
//! every index or table that they name there and that no fault is of.

// Counts of rows and simulated times stay far below 2^52.
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Instant;

use healer::sandbox::{Cluster, ClusterOptions};
use measure::number;
use postgres::{Client, NoTls};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde_json::{Value, json};

mod measure;

const SCHEMA: &str = include_str!("../sql/sandbox/010_schema.sql");

/// A job's runs are told by one row each in half of the systems.
const HISTORY: &str = "DROP TABLE public.job_heartbeats;
    CREATE TABLE public.job_heartbeats (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, job_name text NOT NULL,
        status text, execution_time_ms bigint, error_message text, created_at timestamptz NOT NULL DEFAULT now());
    CREATE INDEX job_heartbeats_at ON public.job_heartbeats (created_at)";

/// The kinds of fault, as they are told.
const KINDS: [&str; 8] = [
    "slow job",
    "creeping job",
    "missing index",
    "invalid index",
    "duplicate index",
    "stale statistics",
    "rate-limit storm",
    "colliding browser operations",
];

/// One planted fault: its kind, and words of which one must stand in what is found of it.
#[derive(Debug, Clone)]
struct Fault {
    kind: &'static str,
    object: String,
}

/// One job of a system.
#[derive(Debug, Clone)]
struct Job {
    name: String,
    every_minutes: i64,
    median_s: f64,
    spread: f64,
    failures: f64,
    /// Growth a day.
    creep: f64,
    /// Factor since a day ago.
    step: f64,
    /// Height of the daily rhythm, on the log.
    rhythm: f64,
    /// Share of runs that take five times as long.
    tails: f64,
}

struct System<'a> {
    random: ChaCha8Rng,
    client: Client,
    url: &'a str,
    faults: Vec<Fault>,
    with_statements: bool,
}

impl System<'_> {
    fn coin(&mut self) -> bool {
        self.random.random_bool(0.5)
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        self.random.random_range(low..high)
    }

    fn number(&mut self, low: i64, high: i64) -> i64 {
        self.random.random_range(low..=high)
    }

    fn run(&mut self, sql: &str) {
        self.client.batch_execute(sql).unwrap_or_else(|error| panic!("{error:?}: {sql}"));
    }

    fn plant(&mut self, kind: &'static str, object: impl Into<String>) {
        self.faults.push(Fault { kind, object: object.into() });
    }

    /// The tables and what stands in them while nothing is wrong.
    fn build(&mut self, history: bool) {
        self.run(SCHEMA);
        if history {
            self.run(HISTORY);
        }
        self.run(&healer::schema::sql());
        let (posts, events) = (self.number(15_000, 40_000), self.number(20_000, 60_000));
        let seed = self.between(-1.0, 1.0);
        self.run(&format!(
            "SELECT setseed({seed});
             INSERT INTO public.content_generation_metadata_comprehensive
               (decision_id, content, decision_type, status, created_at, scheduled_at, posted_at, updated_at, tweet_id, generator_name)
             SELECT gen_random_uuid()::text, repeat('a text ', 8), CASE WHEN n % 7 = 0 THEN 'thread' WHEN n % 3 = 0 THEN 'reply' ELSE 'single' END,
                    s.status, s.at - interval '3 hours', s.at - make_interval(secs => 60 + 120 * random()), CASE WHEN s.status = 'posted' THEN s.at END,
                    s.at, CASE WHEN s.status = 'posted' THEN (1700000000000 + n)::text END, 'generator ' || n % 6
               FROM generate_series(1, {posts}) n
              CROSS JOIN LATERAL (SELECT now() - interval '60 days' * (n::float8 / {posts}) AS at,
                 CASE WHEN n % 40 = 0 THEN 'failed' ELSE 'posted' END AS status) s;
             INSERT INTO public.content_generation_metadata_comprehensive (decision_id, content, decision_type, status, created_at, scheduled_at)
             SELECT gen_random_uuid()::text, 'to come', 'single', 'queued', now(), now() + n * interval '10 minutes' FROM generate_series(1, 40) n;
             INSERT INTO public.post_receipts (decision_id, tweet_ids, root_tweet_id, post_type, posted_at, created_at)
             SELECT decision_id::uuid, ARRAY[tweet_id], tweet_id, decision_type, posted_at, posted_at
               FROM public.content_generation_metadata_comprehensive WHERE status = 'posted';
             INSERT INTO public.post_attempts (decision_id, status, actual_tweet_id, posting_success, created_at)
             SELECT decision_id, 'USED', tweet_id, true, posted_at FROM public.content_generation_metadata_comprehensive WHERE status = 'posted';
             INSERT INTO public.posting_attempts (decision_id, tweet_id, status, created_at)
             SELECT decision_id, tweet_id, 'success', posted_at FROM public.content_generation_metadata_comprehensive WHERE status = 'posted';
             INSERT INTO public.system_events (event_type, event_data, severity, created_at)
             SELECT CASE WHEN n % 9 = 0 THEN 'POST_SUCCESS' WHEN n % 5 = 0 THEN 'JOB_DONE' ELSE 'POSTING_QUEUE_TICK' END,
                    jsonb_build_object('ready_candidates', n % 5, 'took', 'after ' || 4290 + n % 9 || ' ms'), 'info',
                    now() - interval '30 days' * (n::float8 / {events})
               FROM generate_series(1, {events}) n;
             CREATE TABLE public.audience (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, campaign int NOT NULL, kind text NOT NULL,
               handle text NOT NULL, seen_at timestamptz NOT NULL);
             INSERT INTO public.audience (campaign, kind, handle, seen_at)
             SELECT (random() * 3000)::int, CASE WHEN random() < 0.8 THEN 'follower' ELSE 'reader' END, md5(n::text), now() - n * interval '1 minute'
               FROM generate_series(1, 30000) n;
             CREATE INDEX audience_handle ON public.audience (handle);
             CREATE INDEX audience_handle_like ON public.audience (handle text_pattern_ops);
             CREATE INDEX audience_seen ON public.audience (seen_at, kind);
             CREATE INDEX audience_kind_seen ON public.audience (kind, seen_at) WHERE kind = 'reader';
             CREATE TABLE public.note (id int PRIMARY KEY, campaign int NOT NULL, words text);
             INSERT INTO public.note SELECT n, n % 300, 'some words' FROM generate_series(1, 3000) n;
             CREATE TABLE public.counter (id int PRIMARY KEY, hits int NOT NULL);
             INSERT INTO public.counter SELECT n, 0 FROM generate_series(1, 20000) n;
             CREATE TABLE public.mailbox (id int PRIMARY KEY, state text NOT NULL);
             INSERT INTO public.mailbox SELECT n, 'new' FROM generate_series(1, 12000) n"
        ));
    }

    /// What the application asks, so that the server's statistics know what is used.
    fn work(&mut self) {
        for round in 0..20 {
            self.run(&format!(
                "SELECT count(*) FROM public.audience WHERE handle = md5('{round}');
                 SELECT count(*) FROM public.audience WHERE handle LIKE 'abc{round}%';
                 SELECT count(*) FROM (SELECT * FROM public.audience WHERE seen_at > now() - interval '{round} minutes' ORDER BY seen_at) a;
                 SELECT count(*) FROM (SELECT * FROM public.audience WHERE kind = 'reader' ORDER BY seen_at DESC LIMIT 5) a;
                 SELECT count(*) FROM public.audience WHERE kind = 'follower';
                 SELECT count(*) FROM public.audience WHERE campaign = {round};
                 SELECT count(*) FROM public.note WHERE campaign = {round}"
            ));
        }
    }

    fn jobs(&mut self) -> Vec<Job> {
        const EVERY: [i64; 7] = [10, 15, 20, 30, 60, 120, 240];
        let count = self.number(7, 13);
        let mut jobs: Vec<Job> = (0..count)
            .map(|n| Job {
                name: format!("job_{n}"),
                every_minutes: EVERY[self.random.random_range(0..EVERY.len())],
                median_s: (self.between(2.0_f64.ln(), 90.0_f64.ln())).exp(),
                spread: self.between(0.2, 0.5),
                failures: self.between(0.0, 0.03),
                creep: 0.0,
                step: 1.0,
                rhythm: 0.0,
                tails: 0.0,
            })
            .collect();
        let like = |jobs: &[Job], name: &str| Job { name: name.into(), ..jobs[0].clone() };
        jobs.push(Job { median_s: 150.0, spread: 0.2, tails: 0.03, every_minutes: 30, ..like(&jobs, "long_but_well") });
        jobs.push(Job { rhythm: 0.4, every_minutes: 20, ..like(&jobs, "daily_rhythm") });
        if self.coin() {
            let step = self.coin();
            let name = if step { "slower_since_a_day" } else { "slow" };
            let every = EVERY[self.random.random_range(0..6)];
            let mut job = Job { every_minutes: every, ..like(&jobs, name) };
            if step {
                job.step = self.between(1.8, 3.0);
                job.median_s = self.between(10.0, 90.0);
            } else {
                job.median_s = self.between(360.0, 900.0);
                job.every_minutes = job.every_minutes.max(60);
            }
            jobs.push(job);
            self.plant("slow job", name);
        }
        if self.coin() {
            let job =
                Job { creep: self.between(0.04, 0.08), median_s: self.between(10.0, 90.0), ..like(&jobs, "creeping") };
            jobs.push(job);
            self.plant("creeping job", "creeping");
        }
        jobs
    }

    /// Fourteen days of runs.
    fn runs(&mut self, history: bool) {
        let into = if history {
            "COPY public.job_heartbeats (job_name, status, created_at, execution_time_ms) FROM STDIN"
        } else {
            "COPY healer.job_run (job, status, at, duration_ms, source) FROM STDIN"
        };
        let now: f64 = self.client.query_one("SELECT extract(epoch FROM now())::float8", &[]).expect("the time").get(0);
        let mut lines = String::new();
        for job in self.jobs() {
            let every = job.every_minutes as f64 * 60.0;
            let mut ago = 14.0 * 86_400.0 - self.between(0.0, every);
            while ago > 0.0 {
                let days = ago / 86_400.0;
                let normal: f64 = StandardNormal.sample(&mut self.random);
                let mut ms = job.median_s * 1_000.0 * (job.spread * normal).exp() * (1.0 + job.creep).powf(14.0 - days);
                ms *= (job.rhythm * (std::f64::consts::TAU * (now - ago) / 86_400.0).sin()).exp();
                if days < 1.0 {
                    ms *= job.step;
                }
                if self.random.random_bool(job.tails) {
                    ms *= 5.0;
                }
                let status = if self.random.random_bool(job.failures) { "failed" } else { "success" };
                let at = chrono::DateTime::from_timestamp_millis(((now - ago) * 1_000.0) as i64).expect("a time");
                lines.push_str(&format!("{}\t{status}\t{}\t{}", job.name, at.to_rfc3339(), ms as u64));
                lines.push_str(if history { "\n" } else { "\ttrigger\n" });
                // A start is late by up to 3 %.
                ago -= every * (1.0 + self.between(-0.03, 0.03));
            }
        }
        let mut copy = self.client.copy_in(into).expect("a copy");
        std::io::Write::write_all(&mut copy, lines.as_bytes()).expect("copied");
        copy.finish().expect("copied");
        if history {
            return;
        }
        // The application's own table keeps the last run of each.
        self.run(
            "INSERT INTO public.job_heartbeats (job_name, last_success, last_run_status, updated_at)
             SELECT job, max(at), 'success', max(at) FROM healer.job_run GROUP BY job",
        );
    }

    /// A week of one browser: who asks first is served first.
    fn browser(&mut self) {
        let collide = self.coin();
        // Every how many minutes, at which minute, and how long it holds, in seconds.
        let mut operations = vec![("scrape_metrics", 60.0, 5.0, 20.0), ("reply_opportunities", 120.0, 40.0, 30.0)];
        if collide {
            let (minute, every) = (self.number(12, 30) as f64, if self.coin() { 60.0 } else { 30.0 });
            operations.push(("posting", every, minute % every, self.between(60.0, 240.0)));
            operations.push(("harvest", every, minute % every, self.between(60.0, 240.0)));
            self.plant("colliding browser operations", "posting harvest");
        } else {
            operations.push(("posting", 60.0, 15.0, self.between(60.0, 240.0)));
            operations.push(("harvest", 60.0, 25.0, self.between(60.0, 240.0)));
        }
        let mut asked: Vec<(f64, &str, f64)> = Vec::new();
        for (name, every, minute, holds) in operations {
            let mut at = minute * 60.0;
            while at < 7.0 * 86_400.0 - 1_200.0 {
                let normal: f64 = StandardNormal.sample(&mut self.random);
                asked.push((at + self.between(0.0, 20.0), name, holds * (0.2 * normal).exp()));
                at += every * 60.0;
            }
        }
        asked.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut free = 0.0_f64;
        let mut values = Vec::new();
        for (at, name, holds) in asked {
            let begins = free.max(at);
            free = begins + holds;
            let (waited, held, ago) = ((begins - at) * 1_000.0, holds * 1_000.0, 7.0 * 86_400.0 - free);
            let ok = !self.random.random_bool(0.02);
            values.push(format!(
                "('browser_op', '{{\"operation\": \"{name}\", \"waited_ms\": {waited:.0}, \"held_ms\": {held:.0}, \"ok\": {ok}}}', now() - interval '{ago:.3} seconds')"
            ));
        }
        self.run(&format!("INSERT INTO healer.signal (name, data, reported_at) VALUES {}", values.join(", ")));
    }

    fn indexes(&mut self) {
        // In every system: an index that is truly used, and one that nobody used in the few minutes that were counted.
        self.run("CREATE INDEX audience_used ON public.audience (kind, handle); CREATE INDEX audience_not_yet ON public.audience (md5(handle), campaign)");
        self.run(
            "SET enable_seqscan = off; SET enable_sort = off; SELECT count(*) FROM (SELECT handle FROM public.audience ORDER BY kind, handle) a;
             RESET enable_seqscan; RESET enable_sort",
        );
        if self.coin() {
            let from = self.random.random_range(0..4);
            let (index, found) = [
                ("post_receipts_decision_idx", "public.post_receipts(decision_id"),
                ("post_attempts_decision_idx", "public.post_attempts(decision_id"),
                ("posting_attempts_decision_idx", "public.posting_attempts(decision_id"),
                (
                    "content_generation_metadata_comprehensive_status_idx",
                    "public.content_generation_metadata_comprehensive(status",
                ),
            ][from];
            self.run(&format!("DROP INDEX public.{index}"));
            self.plant("missing index", found);
        }
        if self.with_statements && self.coin() {
            self.plant("missing index", "public.audience(campaign");
        } else {
            self.run("CREATE INDEX audience_campaign ON public.audience (campaign)");
        }
        if self.coin() {
            let index = self.client.batch_execute(
                "CREATE UNIQUE INDEX CONCURRENTLY audience_campaign_once ON public.audience (campaign, kind)",
            );
            assert!(index.is_err(), "rows that are alike cannot be unique");
            self.plant("invalid index", "public.audience_campaign_once");
        }
        if self.coin() {
            let (table, columns, twin) = [
                ("audience", "seen_at, kind", "audience_seen"),
                ("system_events", "created_at DESC", "system_events_created_idx"),
                ("post_receipts", "root_tweet_id", "post_receipts_root_idx"),
                (
                    "content_generation_metadata_comprehensive",
                    "tweet_id) WHERE (status = 'posted'",
                    "content_generation_metadata_comprehensive_tweet_idx",
                ),
            ][self.random.random_range(0..4)];
            self.run(&format!("CREATE INDEX the_same_again ON public.{table} ({columns})"));
            self.plant("duplicate index", format!("public.the_same_again public.{twin}"));
        }
    }

    fn storm(&mut self) {
        let storm = self.coin();
        let hits = if storm { self.number(25, 200) } else { self.number(0, 12) };
        let statement = match self.random.random_range(0..3) {
            0 => "INSERT INTO public.system_events (event_type, event_data, severity, created_at)
                  SELECT 'EXECUTOR_RATE_LIMIT_HIT', '{}', 'warning', now() - interval '20 hours' * random() FROM generate_series(1, N)",
            1 => "INSERT INTO public.posting_attempts (decision_id, status, error_message, created_at)
                  SELECT gen_random_uuid()::text, 'failed', 'HTTP 429: Too Many Requests', now() - interval '20 hours' * random() FROM generate_series(1, N)",
            _ => "INSERT INTO public.system_events (event_type, event_data, severity, created_at)
                  SELECT 'error_post_failure', '{\"error_message\": \"Rate limit exceeded (code 88)\"}', 'error', now() - interval '20 hours' * random()
                    FROM generate_series(1, N)",
        };
        self.run(&statement.replace("1, N)", &format!("1, {hits})")));
        if storm {
            self.plant("rate-limit storm", "rate-limit");
        }
    }

    fn statistics(&mut self) {
        // In every system: changed by 2 %, which is too little to matter.
        self.run("UPDATE public.counter SET hits = hits + 1 WHERE id <= 400");
        if self.coin() {
            let share = self.between(0.35, 1.0);
            self.run("ALTER TABLE public.mailbox SET (autovacuum_enabled = false)");
            self.run(&format!("UPDATE public.mailbox SET state = 'read' WHERE id <= {share} * 12000"));
            self.plant("stale statistics", "public.mailbox");
        }
    }

    /// What a session has changed is counted when it ends, at the latest: an ANALYZE before that would look stale.
    fn analyze(&mut self) {
        self.client = Client::connect(self.url, NoTls).expect("a connection");
        self.run("ANALYZE");
    }

    fn pass(&self) -> Value {
        let ended = Command::new(env!("CARGO_BIN_EXE_healer"))
            .env_clear()
            .env("DATABASE_URL", self.url)
            .args(["optimize", "performance", "--format", "json"])
            .output()
            .expect("healer runs");
        let words = String::from_utf8_lossy(&ended.stderr);
        assert!(matches!(ended.status.code(), Some(0 | 4)), "{:?}: {words}", ended.status.code());
        serde_json::from_slice(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {words}"))
    }

    /// Waits until the server's statistics know what was done.
    fn settled(&mut self) {
        let changed = i32::from(self.faults.iter().any(|fault| fault.kind == "stale statistics"));
        let known = format!(
            "SELECT coalesce(bool_and(CASE s.relname WHEN 'counter' THEN s.n_mod_since_analyze = 400
                                                     WHEN 'mailbox' THEN s.n_mod_since_analyze >= {changed} ELSE true END), false)
                AND coalesce((SELECT sum(i.idx_scan) FROM pg_stat_user_indexes i WHERE i.indexrelname = 'audience_used'), 0) > 0
               FROM pg_stat_user_tables s"
        );
        for _ in 0..600 {
            if self.client.query_one(&known, &[]).expect("asked").get::<_, bool>(0) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("the server's statistics never came");
    }
}

/// What a pass says is wrong: the kind, and words about it.
fn told(document: &Value) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for finding in list(&document["findings"]) {
        let key = finding["key"].as_str().unwrap_or_default();
        let (kind, object) = key.split_once(':').unwrap_or((key, ""));
        all.push((kind.replace('-', " "), object.to_owned()));
    }
    for job in list(&document["metrics"]["jobExecution"]["slowJobs"]) {
        all.push(("job".into(), job["name"].as_str().unwrap_or_default().to_owned()));
    }
    for check in list(&document["checks"]) {
        let (name, status) = (check["name"].as_str().unwrap_or_default(), check["status"].as_str().unwrap_or_default());
        // Findings of tables and indexes and the slow jobs were told one by one.
        if matches!(status, "warning" | "critical") && !matches!(name, "hygiene" | "jobs" | "queries") {
            let words = std::iter::once(&check["summary"]).chain(check["details"].as_array().into_iter().flatten());
            let words: Vec<&str> = words.filter_map(Value::as_str).collect();
            if name == "job-forecast" {
                // One line a job; the summary is one of them, or counts them.
                let mut lines: Vec<&str> = words.into_iter().filter(|line| line.contains(": ")).collect();
                lines.sort_unstable();
                lines.dedup_by_key(|line| line.split(':').next());
                all.extend(lines.into_iter().map(|line| ("forecast".to_owned(), line.to_owned())));
            } else {
                all.push((name.to_owned(), words.join("; ")));
            }
        }
    }
    all
}

/// Whether what was told is this fault, or is of its making.
fn is(fault: &Fault, kind: &str, words: &str) -> bool {
    match fault.kind {
        "slow job" | "creeping job" => {
            (kind == "job" && words == fault.object)
                || (kind == "forecast" && words.split(':').next() == Some(fault.object.as_str()))
        }
        "rate-limit storm" => kind == "posting" && words.contains(&fault.object),
        "colliding browser operations" => {
            kind == "browser-operations" && fault.object.split(' ').all(|operation| words.contains(operation))
        }
        "missing index" => kind == "missing index" && words.starts_with(&fault.object),
        // What was changed and must not be vacuumed holds dead rows as well.
        "stale statistics" => matches!(kind, "stale statistics" | "dead rows") && words == fault.object,
        // Either of the two may be the one that is not needed.
        kind_of_fault => kind == kind_of_fault && fault.object.split(' ').any(|object| words == object),
    }
}

/// A tool that looks at the same database.
struct Peer {
    name: &'static str,
    commands: &'static [&'static [&'static str]],
}

const PEERS: [Peer; 2] = [
    Peer {
        name: "pgextras",
        commands: &[&["duplicate-indexes"], &["unused-indexes"], &["null-indexes"], &["vacuum-stats"]],
    },
    Peer {
        name: "check_postgres",
        commands: &[
            &["--action=last_analyze", "--warning=1 day", "--critical=7 days"],
            &["--action=last_vacuum", "--warning=1 day", "--critical=7 days"],
            &["--action=bloat"],
            &["--action=disabled_triggers"],
            &["--action=query_time", "--warning=10 s", "--critical=60 s"],
        ],
    },
];

impl Peer {
    /// Indexes and tables that it names as problems; `None` where it is not installed.
    fn names(&self, cluster: &Cluster, database: &str, known: &[String]) -> Option<Vec<String>> {
        let mut named = Vec::new();
        for words in self.commands {
            let mut command = Command::new(self.name);
            let socket = cluster.socket_dir().display().to_string();
            command
                .env(
                    "DATABASE_URL",
                    format!("postgres://postgres@localhost/{database}?host={socket}&port={}", cluster.port()),
                )
                .env(
                    "PG_EXTRAS_DATABASE_URL",
                    format!("postgres://postgres@localhost/{database}?host={socket}&port={}", cluster.port()),
                );
            if self.name == "check_postgres" {
                command.args([
                    "--host",
                    &socket,
                    "--port",
                    &cluster.port().to_string(),
                    "--dbuser",
                    "postgres",
                    "--dbname",
                    database,
                ]);
            }
            let output = command.args(*words).output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                self.name != "pgextras" || output.status.success(),
                "{words:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            if self.name == "check_postgres" && text.contains(" OK: ") {
                continue;
            }
            // Of the vacuums only those that are said to be due.
            let lines = text.lines().filter(|line| words[0] != "vacuum-stats" || line.contains("yes"));
            for line in lines {
                let whole = |name: &&String| {
                    let (kind, name) = name.split_at(1);
                    (kind == "i") == words[0].contains("index")
                        && line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).any(|word| word == name)
                };
                named.extend(known.iter().filter(whole).map(|name| name[1..].to_owned()));
            }
        }
        named.sort();
        named.dedup();
        Some(named)
    }
}

/// Whether a peer that names this index or table has found the fault.
fn names(fault: &Fault, name: &str) -> bool {
    matches!(fault.kind, "missing index" | "invalid index" | "duplicate index" | "stale statistics")
        && fault.object.split(' ').any(|object| object == format!("public.{name}"))
}

/// What a peer found of each kind, and what it named that is no fault.
type Peers = BTreeMap<&'static str, (BTreeMap<&'static str, u64>, usize)>;

/// Prints what was found of each kind, and gives how many of how many.
fn table(counts: &BTreeMap<&str, (u64, u64)>, peers: &Peers, false_all: usize) -> (u64, u64) {
    let columns: Vec<&str> = PEERS.iter().map(|peer| peer.name).filter(|name| peers.contains_key(name)).collect();
    let cells =
        |of: &dyn Fn(&str) -> String| columns.iter().map(|name| format!(" {:>15}", of(name))).collect::<String>();
    println!("\n{:<30} {:>7} {:>7}{}", "fault", "planted", "healer", cells(&|name| name.to_owned()));
    let (mut found_all, mut planted_all) = (0, 0);
    for kind in KINDS {
        let (found, planted) = counts[kind];
        let others = cells(&|name| peers[name].0.get(kind).copied().unwrap_or(0).to_string());
        println!("{kind:<30} {planted:>7} {found:>7}{others}");
        found_all += found;
        planted_all += planted;
    }
    println!("{:<30} {:>7} {false_all:>7}{}", "named, and no fault", "", cells(&|name| peers[name].1.to_string()));
    (found_all, planted_all)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (first, systems) = (number(&arguments, "--seed", 1), number(&arguments, "--systems", 20));
    let folder = std::env::temp_dir().join(format!("healer-bench-optimize-{}", std::process::id()));
    let mut settings = vec!["shared_buffers=256MB", "max_wal_size=2GB", "autovacuum_naptime=1d", "track_io_timing=on"];
    // pg_stat_statements comes with the server in most packages; without it the queries are not seen by anybody.
    let with_statements = !arguments.iter().any(|argument| argument == "--without-statements");
    if with_statements {
        settings.push("shared_preload_libraries=pg_stat_statements");
    }
    let options = ClusterOptions { dir: &folder, filling: "bench", settings: &settings, remove: true };
    let cluster = Cluster::open(&options, &|_| Ok(())).unwrap_or_else(|error| panic!("{error}: {}", error.hint()));
    let begun = Instant::now();
    let mut counts: BTreeMap<&str, (u64, u64)> = KINDS.iter().map(|kind| (*kind, (0, 0))).collect();
    let (mut false_all, mut false_most) = (0, 0);
    let with_peers = arguments.iter().any(|argument| argument == "--peers");
    let mut peers = Peers::new();
    for seed in first..first + systems {
        let name = format!("system_{seed}");
        cluster
            .client("postgres")
            .expect("a connection")
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .expect("made");
        let url = cluster.url(&name);
        let mut system = System {
            random: ChaCha8Rng::seed_from_u64(seed),
            client: Client::connect(&url, NoTls).expect("a connection"),
            url: &url,
            faults: Vec::new(),
            with_statements,
        };
        if with_statements {
            system.run("CREATE EXTENSION pg_stat_statements");
        }
        let history = seed % 2 == 0;
        system.build(history);
        system.runs(history);
        system.browser();
        system.indexes();
        system.storm();
        system.analyze();
        // The first pass is the one that the second compares with; what is done since then is what the second judges.
        system.pass();
        system.statistics();
        system.work();
        system.settled();
        let document = system.pass();
        let told = told(&document);
        let mut missed = Vec::new();
        for fault in &system.faults {
            let found = told.iter().any(|(kind, words)| is(fault, kind, words));
            let count = counts.entry(fault.kind).or_default();
            count.0 += u64::from(found);
            count.1 += 1;
            if !found {
                missed.push(format!("{} {}", fault.kind, fault.object));
            }
        }
        let wrong: Vec<&(String, String)> =
            told.iter().filter(|(kind, words)| !system.faults.iter().any(|fault| is(fault, kind, words))).collect();
        false_all += wrong.len();
        false_most = false_most.max(wrong.len());
        println!("seed {seed}: {} planted, {} missed, {} false", system.faults.len(), missed.len(), wrong.len());
        for words in missed {
            println!("  missed: {words}");
        }
        for (kind, words) in wrong {
            println!("  false: {kind}: {}", words.chars().take(300).collect::<String>());
        }
        if with_peers {
            let known = "SELECT c.relkind::text || c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'i')";
            let known: Vec<String> =
                system.client.query(known, &[]).expect("the names").iter().map(|row| row.get(0)).collect();
            for peer in &PEERS {
                let Some(named) = peer.names(&cluster, &name, &known) else { continue };
                let count = peers.entry(peer.name).or_default();
                for fault in &system.faults {
                    *count.0.entry(fault.kind).or_default() += u64::from(named.iter().any(|name| names(fault, name)));
                }
                let wrong = named.iter().filter(|name| !system.faults.iter().any(|fault| names(fault, name)));
                count.1 += wrong.count();
            }
        }
        if let Some(place) = arguments.iter().position(|argument| argument == "--keep") {
            let folder = std::path::Path::new(arguments.get(place + 1).expect("--keep DIR"));
            let document = json!({ "faults": system.faults.iter().map(|f| format!("{} {}", f.kind, f.object)).collect::<Vec<_>>(), "document": document });
            std::fs::write(folder.join(format!("{name}.json")), format!("{document:#}")).expect("kept");
        }
        drop(system);
        cluster
            .client("postgres")
            .expect("a connection")
            .batch_execute(&format!("DROP DATABASE {name}"))
            .expect("dropped");
    }
    let (found_all, planted_all) = table(&counts, &peers, false_all);
    println!("{systems} systems in {:.0} s", begun.elapsed().as_secs_f64());
    println!(
        "RESULT recall={:.3} false_per_run={:.2} false_most={false_most} planted={planted_all} seed={first} systems={systems}",
        found_all as f64 / planted_all.max(1) as f64,
        false_all as f64 / systems.max(1) as f64
    );
}
