//! What benches that run the program have in common: a process watched to its end, and a large system to run it on.

// No bench needs all of it.
#![allow(dead_code)]

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What one run of a program gave.
pub struct Ran {
    /// Its status and what it wrote.
    pub output: Output,
    /// From its start to its end.
    pub ms: f64,
    /// The most memory that it had, in MB; 0 where the system does not say.
    pub peak_mb: f64,
}

/// Runs a program and watches its memory.
pub fn watched(command: &mut Command) -> io::Result<Ran> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let begun = Instant::now();
    let child = command.spawn()?;
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let ended = Arc::new(AtomicBool::new(false));
    let watching = {
        let ended = Arc::clone(&ended);
        thread::spawn(move || {
            let mut peak = 0.0_f64;
            while !ended.load(Ordering::Relaxed) {
                if let Some(now) = high_water(&status) {
                    peak = peak.max(now);
                }
                thread::sleep(Duration::from_millis(1));
            }
            peak
        })
    };
    let output = child.wait_with_output()?;
    let ms = begun.elapsed().as_secs_f64() * 1_000.0;
    ended.store(true, Ordering::Relaxed);
    let peak_mb = watching.join().map_err(|_| io::Error::other("the watcher of the memory panicked"))?;
    Ok(Ran { output, ms, peak_mb })
}

/// The most memory that a process ever had, in megabytes.
fn high_water(status: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().split(' ').next()?.parse::<f64>().ok()? / 1_024.0)
}

/// The value of an option that is a number.
pub fn number(arguments: &[String], name: &str, usual: u64) -> u64 {
    let place = arguments.iter().position(|argument| argument == name);
    place
        .and_then(|place| arguments.get(place + 1))
        .and_then(|text| text.replace('_', "").parse().ok())
        .unwrap_or(usual)
}

/// Posts of half a year, nearly all of them posted, and events that grow with them: in the tables of the sandbox.
pub fn system(posts: u64, events: u64) -> String {
    format!(
        "INSERT INTO public.content_generation_metadata_comprehensive
           (decision_id, content, decision_type, status, created_at, scheduled_at, posted_at, updated_at, tweet_id, generator_name)
         SELECT 'post-' || n, repeat('a text of a post ', 8), CASE WHEN n % 7 = 0 THEN 'thread' ELSE 'single' END,
                s.status, s.at - interval '3 hours', s.at, CASE WHEN s.status = 'posted' THEN s.at END, s.at,
                CASE WHEN s.status = 'posted' THEN (1700000000000 + n)::text END, 'generator ' || n % 12
           FROM generate_series(1, {posts}) n
          CROSS JOIN LATERAL (SELECT now() - interval '180 days' * (n::float8 / {posts}) AS at,
             CASE WHEN n <= 5 THEN 'posting' WHEN n % 50 = 0 THEN 'failed' WHEN n <= 2000 AND n % 3 = 0 THEN 'queued' ELSE 'posted' END AS status) s;
         INSERT INTO public.system_events (event_type, event_data, severity, created_at)
         SELECT CASE WHEN n % 9 = 0 THEN 'POST_SUCCESS' WHEN n % 31 = 0 THEN 'error_post_failure' ELSE 'POSTING_QUEUE_TICK' END,
                jsonb_build_object('decision_id', 'post-' || n, 'ready_candidates', n % 5), CASE WHEN n % 31 = 0 THEN 'error' ELSE 'info' END,
                now() - interval '180 days' * (n::float8 / {events})
           FROM generate_series(1, {events}) n;"
    )
}
