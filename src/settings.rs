//! Settings: built-in defaults, overlaid by a TOML file, overlaid by flags. Validated once, here.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::error::Error;
use crate::errors::causes::{CauseEntry, check_entries};
use crate::optimize::content;

/// A length of time in the configuration: `30m`, `24h`, `7d`, `90s`, `1h 30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// A span of whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Whole seconds, for SQL.
    pub fn as_seconds(self) -> i64 {
        i64::try_from(self.0.as_secs()).unwrap_or(i64::MAX)
    }

    /// Reads `30m`, `24h`, `7d`, `1h 30m`.
    pub fn parse(text: &str) -> Result<Self, String> {
        // Everywhere else a capital letter is read as the small one is, and whoever writes 30M means minutes.
        if text.split(|c: char| !c.is_alphabetic()).any(|unit| unit == "M") {
            return Err("M means months: write 30m for minutes, 30d for days".into());
        }
        let duration = humantime::parse_duration(text.trim())
            .map_err(|error| format!("no length of time ({error}); write it as 90s, 30m, 24h or 7d"))?;
        // A century: beyond it PostgreSQL's interval arithmetic on `now()` leaves the range of timestamps.
        if duration > Duration::from_secs(100 * 366 * 86_400) {
            return Err("a length of time above a century".into());
        }
        Ok(Self(duration))
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // As one writes it in the file: the largest unit that fits, and hours up to two days.
        if self.0.subsec_millis() > 0 {
            return write!(f, "{}ms", self.0.as_millis());
        }
        match self.0.as_secs() {
            s if s >= 172_800 && s % 86_400 == 0 => write!(f, "{}d", s / 86_400),
            s if s >= 3_600 && s % 3_600 == 0 => write!(f, "{}h", s / 3_600),
            s if s >= 60 && s % 60 == 0 => write!(f, "{}m", s / 60),
            s => write!(f, "{s}s"),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// All settings of a command.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The posts table and its columns.
    pub posts: Posts,
    /// The event table.
    pub events: Events,
    /// The heartbeat table.
    pub heartbeats: Heartbeats,
    /// The ledgers that prove a post was sent.
    pub ledgers: Ledgers,
    /// How statements are run.
    pub database: Database,
    /// The pass `heal`.
    pub heal: Heal,
    /// What is foretold.
    pub forecast: crate::forecast::settings::Settings,
    /// What healer learns of its own limits.
    pub tuning: crate::tuning::settings::Settings,
    /// The advice on workers and browser slots.
    pub scaling: crate::scaling::Settings,
    /// The passes `optimize`.
    pub optimize: Optimize,
    /// The pass `analyze-errors`.
    pub errors: Errors,
    /// Who hears of what.
    pub alerts: crate::alert::settings::Alerts,
    /// The file these came from; `None` for the built-in defaults.
    #[serde(skip)]
    pub source: Option<PathBuf>,
}

/// The passes of `optimize`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Optimize {
    /// The pass `optimize performance`.
    pub performance: crate::optimize::performance::settings::Performance,
    /// The pass `optimize content`.
    pub content: content::Settings,
}

/// The posts table and its columns.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Posts {
    /// Table or automatically updatable view, optionally as `schema.table`.
    pub table: String,
    /// Column with the post's id (text, uuid or bigint; unique).
    pub id: String,
    /// Column with the status (text, varchar or enum).
    pub status: String,
    /// Columns that tell when the post was claimed for posting; the first that exists counts.
    pub claimed_at: Vec<String>,
    /// Column with the type of post (`single`, `thread`, `reply`); optional.
    pub r#type: String,
    /// Column with the time of posting; optional.
    pub posted_at: String,
    /// Column with the id that the platform gave.
    pub external_id: String,
    /// What a real external id looks like (a PostgreSQL regular expression).
    pub external_id_pattern: String,
    /// Column with the planned time; optional.
    pub scheduled_at: String,
    /// Column with the time of creation; optional.
    pub created_at: String,
    /// Column with the time of the last change; optional.
    pub updated_at: String,
    /// JSON column that may carry an orphan id and the last error; optional.
    pub features: String,
    /// JSON column with the parts of a thread; optional.
    pub thread_parts: String,
    /// Text column with the ids of a thread's parts; optional.
    pub thread_ids: String,
    /// Text column with the last error; optional.
    pub error_message: String,
    /// Column with the name of the generator that wrote the post; optional.
    pub generator: String,
    /// Boolean column that marks test posts; optional.
    pub is_test: String,
    /// Zone of `timestamp` columns without zone.
    pub timezone: String,
    /// The words of the status column.
    pub words: Words,
}

impl Default for Posts {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            table: text("content_metadata"),
            id: text("decision_id"),
            status: text("status"),
            claimed_at: ["posting_started_at", "claimed_at", "updated_at"].map(text).to_vec(),
            r#type: text("decision_type"),
            posted_at: text("posted_at"),
            external_id: text("tweet_id"),
            external_id_pattern: text("^[0-9]+$"),
            scheduled_at: text("scheduled_at"),
            created_at: text("created_at"),
            updated_at: text("updated_at"),
            features: text("features"),
            thread_parts: text("thread_parts"),
            thread_ids: text("thread_tweet_ids"),
            error_message: text("error_message"),
            generator: text("generator_name"),
            is_test: text("is_test_post"),
            timezone: text("UTC"),
            words: Words::default(),
        }
    }
}

/// The words of the status column.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Words {
    /// A worker holds the post.
    pub posting: String,
    /// Waiting for a worker; where a rescued post goes.
    pub queued: String,
    /// Waiting, and due.
    pub ready: String,
    /// Sent.
    pub posted: String,
    /// Given up.
    pub failed: String,
    /// Put away.
    pub archived: String,
}

impl Default for Words {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            posting: text("posting"),
            queued: text("queued"),
            ready: text("ready"),
            posted: text("posted"),
            failed: text("failed"),
            archived: text("archived"),
        }
    }
}

/// The event table.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// Table, optionally as `schema.table`.
    pub table: String,
    /// The JSON column; the first that exists counts.
    pub json: Vec<String>,
}

impl Default for Events {
    fn default() -> Self {
        Self { table: "system_events".into(), json: vec!["event_data".into(), "metadata".into()] }
    }
}

/// The heartbeat table.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Heartbeats {
    /// Table, optionally as `schema.table`.
    pub table: String,
}

impl Default for Heartbeats {
    fn default() -> Self {
        Self { table: "job_heartbeats".into() }
    }
}

/// The ledgers. An empty name switches a ledger off.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ledgers {
    /// Receipts: one row for each post that was sent.
    pub post_receipts: String,
    /// Attempts with approval and outcome.
    pub post_attempts: String,
    /// Attempts with a status.
    pub posting_attempts: String,
    /// Decisions that were posted.
    pub posted_decisions: String,
    /// Whether `POST_SUCCESS` and `REPLY_SUCCESS` in the event table count.
    pub success_events: bool,
}

impl Default for Ledgers {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            post_receipts: text("post_receipts"),
            post_attempts: text("post_attempts"),
            posting_attempts: text("posting_attempts"),
            posted_decisions: text("posted_decisions"),
            success_events: true,
        }
    }
}

/// How statements are run.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// Limit of one statement, at most 24 days; a lower limit of the role wins.
    pub statement_timeout: Span,
    /// Limit of waiting for one lock, at most 24 days; a lower limit of the role wins.
    pub lock_timeout: Span,
    /// Posts changed in one transaction, at most 1,000.
    pub batch: u32,
}

impl Default for Database {
    fn default() -> Self {
        Self { statement_timeout: Span::seconds(30), lock_timeout: Span::seconds(2), batch: 1_000 }
    }
}

/// The pass `heal`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Heal {
    /// Actions a plan keeps for each check without `--max-actions`; at most 100,000.
    pub max_actions: u32,
    /// How often the pass runs. `report health` exits 4 when the last completed one is twice as old.
    pub interval: Span,
    /// The brake on requeues.
    pub brake: Brake,
    /// The check `stuck-posts`.
    #[serde(rename = "stuck-posts")]
    pub stuck_posts: StuckPosts,
    /// The check `missing-ids`.
    #[serde(rename = "missing-ids")]
    pub missing_ids: MissingIds,
    /// The check `old-failed`.
    #[serde(rename = "old-failed")]
    pub old_failed: OldFailed,
    /// The check `browser-queue`.
    #[serde(rename = "browser-queue")]
    pub browser_queue: BrowserQueue,
    /// The check `circuit-breaker`.
    #[serde(rename = "circuit-breaker")]
    pub circuit_breaker: CircuitBreaker,
    /// The check `database`.
    pub database: DatabaseHealth,
    /// The check `job-heartbeats`.
    #[serde(rename = "job-heartbeats")]
    pub job_heartbeats: JobHeartbeats,
    /// The check `silence`.
    pub silence: Silence,
}

impl Default for Heal {
    fn default() -> Self {
        Self {
            max_actions: 10_000,
            interval: Span::seconds(15 * 60),
            brake: Brake::default(),
            stuck_posts: StuckPosts::default(),
            missing_ids: MissingIds::default(),
            old_failed: OldFailed::default(),
            browser_queue: BrowserQueue::default(),
            circuit_breaker: CircuitBreaker::default(),
            database: DatabaseHealth::default(),
            job_heartbeats: JobHeartbeats::default(),
            silence: Silence::default(),
        }
    }
}

impl Heal {
    /// What observes: each threshold makes sense, and the grave one is not below the other.
    fn validate(&self) -> Result<(), String> {
        let (browser, breaker, jobs, silence) =
            (&self.browser_queue, &self.circuit_breaker, &self.job_heartbeats, &self.silence);
        let mut spans = vec![
            ("heal.interval".to_owned(), self.interval),
            ("heal.browser-queue.hold_limit".to_owned(), browser.hold_limit),
            ("heal.browser-queue.signal_max_age".to_owned(), browser.signal_max_age),
            ("heal.browser-queue.window".to_owned(), browser.window),
            ("heal.circuit-breaker.signal_max_age".to_owned(), breaker.signal_max_age),
            ("heal.circuit-breaker.window".to_owned(), breaker.window),
            ("heal.job-heartbeats.running_limit".to_owned(), jobs.running_limit),
            ("heal.job-heartbeats.skipped_limit".to_owned(), jobs.skipped_limit),
            ("heal.job-heartbeats.stale_limit".to_owned(), jobs.stale_limit),
            ("heal.silence.limit".to_owned(), silence.limit),
        ];
        spans.extend(
            jobs.running_limits.iter().map(|(job, span)| (format!("heal.job-heartbeats.running_limits.{job}"), *span)),
        );
        spans.extend(jobs.intervals.iter().map(|(job, span)| (format!("heal.job-heartbeats.intervals.{job}"), *span)));
        if let Some((name, _)) = spans.iter().find(|(_, span)| span.as_seconds() < 1) {
            return Err(format!("{name} must be at least 1s"));
        }
        for (name, factor) in [
            ("heal.job-heartbeats.late_factor", jobs.late_factor),
            ("heal.silence.factor", silence.factor),
            ("heal.silence.critical_factor", silence.critical_factor),
        ] {
            if !(1.0..=1_000.0).contains(&factor) {
                return Err(format!("{name} must be 1 to 1000"));
            }
        }
        for (name, number) in [
            ("heal.circuit-breaker.idle_ticks", breaker.idle_ticks),
            ("heal.job-heartbeats.failures_warning", jobs.failures_warning),
        ] {
            if number < 1 {
                return Err(format!("{name} must be at least 1"));
            }
        }
        if silence.weeks > 26 {
            return Err("heal.silence.weeks must be at most 26".into());
        }
        self.database.validate()?;
        let order = [
            ("heal.browser-queue.waiting", f64::from(browser.waiting_warning), f64::from(browser.waiting_critical)),
            ("heal.job-heartbeats.failures", f64::from(jobs.failures_warning), f64::from(jobs.failures_critical)),
            ("heal.job-heartbeats.late", jobs.late_factor, jobs.late_critical_factor),
        ];
        in_order(&order)
    }
}

/// The pass `analyze-errors`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Errors {
    /// How often the pass runs. `report` exits 4 when the last completed one is twice as old.
    pub interval: Span,
    /// Silence after which a pattern that comes again is regressed. For a rare one three of its usual gaps, if longer.
    pub quiet: Span,
    /// How far back the first run reads, which knows of no pattern yet.
    pub history: Span,
    /// Causes that stand before the shipped ones; one with the id of a shipped one replaces it.
    pub cause: Vec<CauseEntry>,
}

impl Default for Errors {
    fn default() -> Self {
        let day = 86_400;
        Self {
            interval: Span::seconds(6 * 3_600),
            quiet: Span::seconds(3 * day),
            history: Span::seconds(30 * day),
            cause: Vec::new(),
        }
    }
}

impl Errors {
    fn validate(&self) -> Result<(), String> {
        for (name, span, most) in [
            ("errors.interval", self.interval, 366),
            ("errors.quiet", self.quiet, 366),
            ("errors.history", self.history, 90),
        ] {
            if !(60..=most * 86_400).contains(&span.as_seconds()) {
                return Err(format!("{name} must be 1m to {most}d"));
            }
        }
        check_entries(&self.cause)
    }
}

/// Whether no critical threshold lies below its warning.
fn in_order(pairs: &[(&str, f64, f64)]) -> Result<(), String> {
    match pairs.iter().find(|(_, warning, critical)| critical < warning || critical.is_nan()) {
        Some((name, _, _)) => Err(format!("{name}: the critical threshold lies below the warning")),
        None => Ok(()),
    }
}

impl DatabaseHealth {
    fn validate(&self) -> Result<(), String> {
        for (name, share) in [
            ("connections_warning", self.connections_warning),
            ("connections_critical", self.connections_critical),
            ("xid_warning", self.xid_warning),
            ("xid_critical", self.xid_critical),
            ("dead_share_warning", self.dead_share_warning),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return Err(format!("heal.database.{name} must be 0 to 1"));
            }
        }
        let seconds = |span: Span| span.0.as_secs_f64();
        in_order(&[
            ("heal.database.connect", seconds(self.connect_warning), seconds(self.connect_critical)),
            ("heal.database.answer", seconds(self.answer_warning), seconds(self.answer_critical)),
            ("heal.database.connections", self.connections_warning, self.connections_critical),
            ("heal.database.transaction", seconds(self.transaction_warning), seconds(self.transaction_critical)),
            ("heal.database.idle", seconds(self.idle_warning), seconds(self.idle_critical)),
            ("heal.database.blocked", seconds(self.blocked_warning), seconds(self.blocked_critical)),
            ("heal.database.xid", self.xid_warning, self.xid_critical),
            ("heal.database.replication", seconds(self.replication_warning), seconds(self.replication_critical)),
        ])
    }
}

/// The brake on requeues.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Brake {
    /// Requeues in one run.
    pub per_run: u32,
    /// Requeues in 24 hours.
    pub per_day: u32,
    /// Requeues above this number may be at most `share` of the open posts.
    pub share_from: u32,
    /// Largest share of queued, ready and posting posts that one run may requeue.
    pub share: f64,
}

impl Default for Brake {
    fn default() -> Self {
        Self { per_run: 25, per_day: 100, share_from: 20, share: 0.5 }
    }
}

/// What to do with a stuck post of which nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnproven {
    /// Requeue where no ledger exists at all, hold where one does.
    Auto,
    /// Queue it again.
    Requeue,
    /// Leave it for a person.
    Hold,
}

/// Whose silence may say that a post was not sent, where it knows enough of the posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrustSilence {
    /// That of every ledger.
    Any,
    /// Only that of ledgers which are written before a post is sent: a worker that dies between sending and its receipt
    /// leaves the others silent.
    Attempts,
    /// Nobody's.
    None,
}

/// The check `stuck-posts`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StuckPosts {
    /// Whether the check runs.
    pub enabled: bool,
    /// How long a post may be posting.
    pub limit: Span,
    /// The same for one type of post: `limits = { thread = "45m" }`.
    pub limits: BTreeMap<String, Span>,
    /// A post planned longer ago than this is held, not sent late.
    pub requeue_max_age: Span,
    /// Rescues of one post within `rescue_window` after which it is failed.
    pub rescues: u32,
    /// The window in which rescues count.
    pub rescue_window: Span,
    /// Share of the posts of the last 7 days that a ledger must know before its silence counts.
    pub ledger_coverage: f64,
    /// Whose silence counts at all.
    pub trust_silence: TrustSilence,
    /// What to do with a post of which nothing is known.
    pub on_unproven: OnUnproven,
}

impl Default for StuckPosts {
    fn default() -> Self {
        Self {
            enabled: true,
            limit: Span::seconds(30 * 60),
            limits: BTreeMap::new(),
            requeue_max_age: Span::seconds(24 * 3_600),
            rescues: 3,
            rescue_window: Span::seconds(72 * 3_600),
            ledger_coverage: 0.95,
            trust_silence: TrustSilence::Any,
            on_unproven: OnUnproven::Auto,
        }
    }
}

/// The check `missing-ids`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MissingIds {
    /// Whether the check runs.
    pub enabled: bool,
    /// How far back posted posts are looked at.
    pub window: Span,
}

impl Default for MissingIds {
    fn default() -> Self {
        Self { enabled: true, window: Span::seconds(24 * 3_600) }
    }
}

/// Where old failures go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveTo {
    /// The status becomes `archived`.
    Status,
    /// The whole row moves to `healer.archived_post`.
    Table,
}

/// The check `old-failed`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OldFailed {
    /// Whether the check runs.
    pub enabled: bool,
    /// How long a post must have been failed.
    pub after: Span,
    /// Posts archived in one run; the rest waits for the next.
    pub limit: u32,
    /// Where they go.
    pub archive_to: ArchiveTo,
}

impl Default for OldFailed {
    fn default() -> Self {
        Self { enabled: true, after: Span::seconds(7 * 86_400), limit: 10_000, archive_to: ArchiveTo::Status }
    }
}

/// The check `browser-queue`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BrowserQueue {
    /// Whether the check runs.
    pub enabled: bool,
    /// More waiting operations than this are a warning.
    pub waiting_warning: u32,
    /// More waiting operations than this are critical.
    pub waiting_critical: u32,
    /// How long one operation may hold the browser.
    pub hold_limit: Span,
    /// How long a signal of the application is believed.
    pub signal_max_age: Span,
    /// How far back events are looked at where no signal tells.
    pub window: Span,
    /// Whether a request to release the browser is left in `healer.request` when the queue is critical in two runs on
    /// end and an operation holds the browser beyond `hold_limit`. The application decides whether to act on it.
    pub request_release: bool,
}

impl Default for BrowserQueue {
    fn default() -> Self {
        Self {
            enabled: true,
            waiting_warning: 5,
            waiting_critical: 10,
            // A thread takes up to six minutes to post; ten is beyond everything that ends by itself.
            hold_limit: Span::seconds(10 * 60),
            signal_max_age: Span::seconds(15 * 60),
            window: Span::seconds(3_600),
            request_release: false,
        }
    }
}

/// The check `circuit-breaker`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CircuitBreaker {
    /// Whether the check runs. The brake on requeues asks about the breaker in any case.
    pub enabled: bool,
    /// How long a signal of the application is believed.
    pub signal_max_age: Span,
    /// How far back events are looked at where no signal tells.
    pub window: Span,
    /// Ticks of the posting queue in a row with posts ready and no attempt that count as an open breaker.
    pub idle_ticks: u32,
    /// An open breaker is a warning for this long, and critical after.
    pub open_critical: Span,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self {
            enabled: true,
            signal_max_age: Span::seconds(15 * 60),
            window: Span::seconds(2 * 3_600),
            idle_ticks: 3,
            // It tries again by itself after a minute, and doubles that up to eight.
            open_critical: Span::seconds(15 * 60),
        }
    }
}

/// The check `database`. A value above a threshold is a finding; `0s` makes everything one.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseHealth {
    /// Whether the check runs.
    pub enabled: bool,
    /// Time to connect.
    pub connect_warning: Span,
    /// The same, critical.
    pub connect_critical: Span,
    /// Time of one round trip.
    pub answer_warning: Span,
    /// The same, critical.
    pub answer_critical: Span,
    /// Share of the connections in use.
    pub connections_warning: f64,
    /// The same, critical.
    pub connections_critical: f64,
    /// Age of the longest transaction in this database.
    pub transaction_warning: Span,
    /// The same, critical.
    pub transaction_critical: Span,
    /// How long a session may be idle in a transaction.
    pub idle_warning: Span,
    /// The same, critical.
    pub idle_critical: Span,
    /// How long a session may wait for another's lock.
    pub blocked_warning: Span,
    /// The same, critical.
    pub blocked_critical: Span,
    /// Share of the transaction ids (and of the multixact ids) used before they wrap around.
    pub xid_warning: f64,
    /// The same, critical.
    pub xid_critical: f64,
    /// Lag of a standby.
    pub replication_warning: Span,
    /// The same, critical.
    pub replication_critical: Span,
    /// Deadlocks since the last run from which there is a warning; 0 for never.
    pub deadlocks_warning: u32,
    /// MB written to temporary files since the last run above which there is a warning.
    pub temp_mb_warning: u32,
    /// Share of dead rows in the posts table.
    pub dead_share_warning: f64,
    /// Dead rows up to which their share says nothing.
    pub dead_rows_from: u32,
}

impl Default for DatabaseHealth {
    fn default() -> Self {
        Self {
            enabled: true,
            connect_warning: Span::seconds(2),
            connect_critical: Span::seconds(8),
            answer_warning: Span::seconds(1),
            answer_critical: Span::seconds(5),
            connections_warning: 0.80,
            connections_critical: 0.95,
            transaction_warning: Span::seconds(5 * 60),
            transaction_critical: Span::seconds(30 * 60),
            idle_warning: Span::seconds(60),
            idle_critical: Span::seconds(15 * 60),
            // Beyond healer's own lock time-out and every ordinary wait.
            blocked_warning: Span::seconds(30),
            blocked_critical: Span::seconds(10 * 60),
            xid_warning: 0.5,
            xid_critical: 0.8,
            replication_warning: Span::seconds(60),
            replication_critical: Span::seconds(15 * 60),
            deadlocks_warning: 1,
            temp_mb_warning: 10_240,
            // Autovacuum begins at a fifth.
            dead_share_warning: 0.25,
            dead_rows_from: 5_000,
        }
    }
}

/// The check `job-heartbeats`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobHeartbeats {
    /// Whether the check runs.
    pub enabled: bool,
    /// How often a job runs. A job named here that has no line is reported as never seen; the interval of any other is
    /// learned from its history. Giving this setting replaces the built-in list.
    pub intervals: BTreeMap<String, Span>,
    /// A job is late when its last sign of life is older than this many intervals.
    pub late_factor: f64,
    /// The same, critical.
    pub late_critical_factor: f64,
    /// How long a job may be running.
    pub running_limit: Span,
    /// The same for one job: `running_limits = { plan = "2h" }`.
    pub running_limits: BTreeMap<String, Span>,
    /// Failures in a row that are a warning.
    pub failures_warning: u32,
    /// The same, critical.
    pub failures_critical: u32,
    /// A job that is skipped and has not succeeded for this long (and for three intervals) is reported.
    pub skipped_limit: Span,
    /// No sign of life of any job for this long means that the whole system stands still.
    pub stale_limit: Span,
}

impl Default for JobHeartbeats {
    fn default() -> Self {
        Self {
            enabled: true,
            intervals: [("posting", 5), ("plan", 120), ("reply_posting", 15), ("metrics_scraper", 20)]
                .into_iter()
                .map(|(job, minutes)| (job.to_owned(), Span::seconds(minutes * 60)))
                .collect(),
            late_factor: 2.0,
            late_critical_factor: 6.0,
            running_limit: Span::seconds(3_600),
            running_limits: BTreeMap::new(),
            failures_warning: 3,
            failures_critical: 10,
            skipped_limit: Span::seconds(2 * 3_600),
            stale_limit: Span::seconds(3_600),
        }
    }
}

/// The check `silence`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Silence {
    /// Whether the check runs.
    pub enabled: bool,
    /// How long posts may be ready without one being posted, until what is usual has been learned.
    pub limit: Span,
    /// Weeks that are looked back at for what is usual at this hour of the week; 0 never learns.
    pub weeks: u32,
    /// Silence is reported above this many times what is usual.
    pub factor: f64,
    /// The shortest silence that is ever reported once that has been learned.
    pub floor: Span,
    /// Silence above this many times the limit is critical.
    pub critical_factor: f64,
}

impl Default for Silence {
    fn default() -> Self {
        Self {
            enabled: true,
            limit: Span::seconds(2 * 3_600),
            weeks: 4,
            factor: 2.0,
            floor: Span::seconds(30 * 60),
            critical_factor: 3.0,
        }
    }
}

/// Longest time-out that is given to the server: it counts milliseconds in 32 bits, which is less than 25 days.
const LONGEST_TIMEOUT: Span = Span::seconds(24 * 86_400);

/// Most actions that a plan keeps, whatever is asked: it bounds the memory of a pass.
pub const PLAN_CEILING: u32 = 100_000;

impl Settings {
    /// Reads the file given, or the first of `./healer.toml` and `/etc/healer/healer.toml` that exists. One that is there
    /// and cannot be reached is an error: the defaults may be the opposite of what it says.
    pub fn load(given: Option<&Path>) -> Result<Self, Error> {
        if let Some(path) = given {
            return Self::from_file(path);
        }
        for candidate in ["./healer.toml", "/etc/healer/healer.toml"] {
            let path = Path::new(candidate);
            // Not `exists`, which takes a folder that this user may not enter for an absent file.
            let absent = std::fs::symlink_metadata(path)
                .is_err_and(|error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory));
            if !absent {
                return Self::from_file(path);
            }
        }
        Ok(Self::default())
    }

    fn from_file(path: &Path) -> Result<Self, Error> {
        // A configuration is a page or two: a larger file is some other file, and is not read into memory.
        const LARGEST: u64 = 1_048_576;
        let refuse = |message: String, hint: &str| Error::Config { path: path.into(), message, hint: hint.into() };
        let readable = "check the path and the file's permissions";
        // Read no further than that, whatever the file says of its length: a device says 0 and never ends.
        let mut text = String::new();
        let read = std::fs::File::open(path)
            .and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text))
            .map_err(|error| refuse(error.to_string(), readable))?;
        if read as u64 > LARGEST {
            return Err(refuse("larger than 1 MiB".into(), "name healer's own TOML file"));
        }
        let mut settings = Self::from_toml(&text).map_err(|(message, hint)| refuse(message, &hint))?;
        settings.source = Some(path.into());
        Ok(settings)
    }

    /// Reads and validates a TOML text; the error is (message, hint). The text itself is never echoed: somebody may
    /// have put a password where it does not belong.
    pub fn from_toml(text: &str) -> Result<Self, (String, String)> {
        let settings: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            let key = line.and_then(|line| key_of(text.lines().nth(line - 1)?));
            let (message, hint) = explain(error.message(), key);
            (format!("{place}{message}"), hint)
        })?;
        settings.validate().map_err(|message| (message, "change the value in the file".to_owned()))?;
        Ok(settings)
    }

    fn validate(&self) -> Result<(), String> {
        let stuck = &self.heal.stuck_posts;
        let positive = [
            ("heal.stuck-posts.limit", stuck.limit),
            ("heal.stuck-posts.requeue_max_age", stuck.requeue_max_age),
            ("heal.stuck-posts.rescue_window", stuck.rescue_window),
            ("heal.missing-ids.window", self.heal.missing_ids.window),
            ("heal.old-failed.after", self.heal.old_failed.after),
            ("database.statement_timeout", self.database.statement_timeout),
            ("database.lock_timeout", self.database.lock_timeout),
        ];
        for (name, span) in positive {
            if span.as_seconds() < 1 {
                return Err(format!("{name} must be at least 1s"));
            }
        }
        let actions = &self.optimize.performance.actions;
        for (name, span) in [
            ("database.statement_timeout", self.database.statement_timeout),
            ("database.lock_timeout", self.database.lock_timeout),
            ("optimize.performance.actions.analyze_limit", actions.analyze_limit),
            ("optimize.performance.actions.maintenance_limit", actions.maintenance_limit),
        ] {
            if span > LONGEST_TIMEOUT {
                return Err(format!("{name} must be at most {LONGEST_TIMEOUT}"));
            }
        }
        self.heal.validate()?;
        self.forecast.validate()?;
        self.tuning.validate()?;
        self.scaling.validate()?;
        self.optimize.performance.validate()?;
        self.errors.validate()?;
        self.optimize.content.validated().map_err(|error| error.to_string())?;
        self.alerts.validate()?;
        for (kind, span) in &stuck.limits {
            if span.as_seconds() < 1 {
                return Err(format!("heal.stuck-posts.limits.{kind} must be at least 1s"));
            }
        }
        for (name, share) in
            [("heal.stuck-posts.ledger_coverage", stuck.ledger_coverage), ("heal.brake.share", self.heal.brake.share)]
        {
            if !(share > 0.0 && share <= 1.0) {
                return Err(format!("{name} must be above 0 and at most 1"));
            }
        }
        if !(1..=1_000).contains(&self.database.batch) {
            return Err("database.batch must be 1 to 1000".into());
        }
        for (name, number) in
            [("heal.max_actions", self.heal.max_actions), ("heal.old-failed.limit", self.heal.old_failed.limit)]
        {
            if number > PLAN_CEILING {
                return Err(format!("{name} must be at most {PLAN_CEILING}"));
            }
        }
        let posts = &self.posts;
        for (name, value) in [
            ("posts.table", &posts.table),
            ("posts.id", &posts.id),
            ("posts.status", &posts.status),
            ("posts.external_id", &posts.external_id),
            ("posts.external_id_pattern", &posts.external_id_pattern),
            ("posts.words.posting", &posts.words.posting),
            ("posts.words.queued", &posts.words.queued),
            ("posts.words.posted", &posts.words.posted),
            ("posts.words.failed", &posts.words.failed),
        ] {
            if value.trim().is_empty() {
                return Err(format!("{name} must not be empty"));
            }
        }
        self.no_nul()
    }

    /// PostgreSQL's texts hold no NUL: a name with one would be refused in the middle of a pass.
    fn no_nul(&self) -> Result<(), String> {
        let (posts, words, ledgers) = (&self.posts, &self.posts.words, &self.ledgers);
        let named = [
            ("posts.table", &posts.table),
            ("posts.id", &posts.id),
            ("posts.status", &posts.status),
            ("posts.type", &posts.r#type),
            ("posts.posted_at", &posts.posted_at),
            ("posts.external_id", &posts.external_id),
            ("posts.external_id_pattern", &posts.external_id_pattern),
            ("posts.scheduled_at", &posts.scheduled_at),
            ("posts.created_at", &posts.created_at),
            ("posts.updated_at", &posts.updated_at),
            ("posts.features", &posts.features),
            ("posts.thread_parts", &posts.thread_parts),
            ("posts.thread_ids", &posts.thread_ids),
            ("posts.error_message", &posts.error_message),
            ("posts.generator", &posts.generator),
            ("posts.is_test", &posts.is_test),
            ("posts.timezone", &posts.timezone),
            ("optimize.content.outcomes_table", &self.optimize.content.outcomes_table),
            ("optimize.content.weights_table", &self.optimize.content.weights_table),
            ("optimize.content.events_table", &self.optimize.content.events_table),
            ("posts.words.posting", &words.posting),
            ("posts.words.queued", &words.queued),
            ("posts.words.ready", &words.ready),
            ("posts.words.posted", &words.posted),
            ("posts.words.failed", &words.failed),
            ("posts.words.archived", &words.archived),
            ("events.table", &self.events.table),
            ("heartbeats.table", &self.heartbeats.table),
            ("ledgers.post_receipts", &ledgers.post_receipts),
            ("ledgers.post_attempts", &ledgers.post_attempts),
            ("ledgers.posting_attempts", &ledgers.posting_attempts),
            ("ledgers.posted_decisions", &ledgers.posted_decisions),
        ];
        let lists = [("posts.claimed_at", &posts.claimed_at), ("events.json", &self.events.json)];
        let all = named
            .into_iter()
            .chain(lists.into_iter().flat_map(|(name, list)| list.iter().map(move |value| (name, value))))
            .chain(self.heal.stuck_posts.limits.keys().map(|kind| ("heal.stuck-posts.limits", kind)));
        for (name, value) in all {
            if value.contains('\0') {
                return Err(format!("{name} must not contain a NUL character"));
            }
        }
        Ok(())
    }
}

/// The key of a line, where it is one that could be ours.
fn key_of(line: &str) -> Option<&str> {
    let key = line.split_once('=')?.0.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (!key.is_empty() && key.len() <= 40 && key.chars().all(plain)).then_some(key)
}

/// Makes serde's message plain, and finds the nearest of the keys it expected.
fn explain(message: &str, key: Option<&str>) -> (String, String) {
    // serde's wording: "unknown field `limt`, expected one of `limit`, `limits`"
    let mut words = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field")
        && let Some(unknown) = words.next()
    {
        let nearest = words
            .map(|known| (strsim::jaro_winkler(unknown, known), known))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(likeness, _)| *likeness > 0.7);
        let hint = nearest.map_or_else(
            || "the README lists every setting".to_owned(),
            |(_, known)| format!("did you mean `{known}`?"),
        );
        return (format!("unknown key `{unknown}`"), hint);
    }
    if let Some((_, expected)) =
        message.strip_prefix("unknown variant `").and_then(|rest| rest.rsplit_once("`, expected "))
    {
        // The word that was found may be anything, and is not repeated.
        let key = key.map_or_else(|| "a value".to_owned(), |key| format!("`{key}`"));
        return (format!("{key} is not {expected}"), "change the value in the file".to_owned());
    }
    let first_line = message.lines().next().unwrap_or("cannot be read");
    // `invalid type: string "postgres://…", expected u32`: the value may be anything, also a URL in the wrong place.
    let first_line = match (first_line.find('"'), first_line.rfind('"')) {
        (Some(start), Some(end)) if start < end => format!("{}…{}", &first_line[..start], &first_line[end + 1..]),
        _ => first_line.to_owned(),
    };
    (first_line, "the README lists every setting with its unit and default".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_means_the_defaults() {
        let settings = Settings::from_toml("").expect("an empty file is valid");
        assert_eq!(settings.heal.stuck_posts.limit, Span::seconds(1_800));
        assert_eq!(settings.heal.brake.per_run, 25);
    }

    #[test]
    fn an_unknown_key_is_an_error_that_suggests_the_right_one() {
        let (message, hint) = Settings::from_toml("[heal.stuck-posts]\nlimt = \"30m\"\n").expect_err("unknown key");
        assert!(message.contains("line 2") && message.contains("`limt`"), "{message}");
        assert_eq!(hint, "did you mean `limit`?");
    }

    #[test]
    fn a_value_out_of_range_names_the_setting() {
        for (text, name) in [
            ("[heal.stuck-posts]\nlimit = \"0s\"", "heal.stuck-posts.limit"),
            ("[heal.stuck-posts]\nledger_coverage = 1.5", "heal.stuck-posts.ledger_coverage"),
            ("[heal.stuck-posts]\nledger_coverage = nan", "heal.stuck-posts.ledger_coverage"),
            ("[database]\nbatch = 0", "database.batch"),
            ("[database]\nlock_timeout = \"25d\"", "database.lock_timeout must be at most 24d"),
            ("[database]\nstatement_timeout = \"25d\"", "database.statement_timeout must be at most 24d"),
            ("[optimize.performance.actions]\nanalyze_limit = \"25d\"", "actions.analyze_limit must be at most 24d"),
            ("[optimize.performance.actions]\nmaintenance_limit = \"25d\"", "actions.maintenance_limit must be"),
            ("[heal]\nmax_actions = 100001", "heal.max_actions"),
            ("[posts]\ntable = \"\"", "posts.table"),
            ("[heal.browser-queue]\nwaiting_critical = 4", "heal.browser-queue.waiting"),
            ("[heal.database]\nconnections_warning = 0.96", "heal.database.connections"),
            ("[heal.database]\nxid_critical = 1.1", "heal.database.xid_critical"),
            ("[heal.job-heartbeats]\nlate_factor = nan", "heal.job-heartbeats.late_factor"),
            ("[heal.job-heartbeats.intervals]\nplan = \"0s\"", "heal.job-heartbeats.intervals.plan"),
            ("[heal.silence]\nweeks = 27", "heal.silence.weeks"),
            ("[heal.circuit-breaker]\nidle_ticks = 0", "heal.circuit-breaker.idle_ticks"),
        ] {
            let (message, _) = Settings::from_toml(text).expect_err(text);
            assert!(message.contains(name), "{message}");
        }
    }

    #[test]
    fn a_broken_value_does_not_echo_the_file() {
        let (message, hint) = Settings::from_toml("password = hunter2secret\n").expect_err("no TOML value");
        assert!(!format!("{message}{hint}").contains("hunter2"), "{message} {hint}");
    }

    #[test]
    fn lengths_of_time_are_read_with_their_unit() {
        assert_eq!(Span::parse("30m").expect("minutes"), Span::seconds(1_800));
        assert_eq!(Span::parse(" 7d ").expect("days"), Span::seconds(604_800));
        assert!(Span::parse("30").is_err(), "a bare number has no unit");
        assert!(Span::parse("-5m").is_err());
    }

    #[test]
    fn a_capital_m_is_refused_where_it_would_be_months() {
        for text in ["30M", "1h 30M", "30M5s", " 1 M"] {
            assert!(Span::parse(text).expect_err(text).contains("30m"), "{text}");
        }
        assert!(Span::parse("1month").is_ok(), "nobody writes that for a minute");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
            let _ = Settings::from_toml(&text);
        }
    }
}
