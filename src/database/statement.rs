//! The files of `sql/` as statements: read at build time, filled with names that the server itself quoted.
//!
//! A template holds placeholders such as `{posts}`. What is put in their place comes from [`Names`], and every value
//! in there is a number, a fragment of `sql/`, or an identifier or literal that PostgreSQL quoted (`quote_ident`,
//! `quote_literal`): no text of the configuration reaches SQL in another way.

use std::collections::BTreeMap;

/// One file of `sql/`.
#[derive(Debug, Clone, Copy)]
pub struct Template {
    /// Its path below `sql/`, without the ending.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! templates {
    ($($constant:ident = $path:literal;)*) => {
        $(
            #[doc = concat!("`sql/", $path, ".sql`")]
            pub const $constant: Template =
                Template { name: $path, text: include_str!(concat!("../../sql/", $path, ".sql")) };
        )*
        /// Every file of `sql/` that is a statement or a fragment of one.
        pub const ALL: &[Template] = &[$($constant),*];
    };
}

templates! {
    SERVER = "catalog/server";
    RELATIONS = "catalog/relations";
    FOREIGN_REPORTS = "catalog/foreign_reports";
    CONNECTION = "catalog/connection";
    IDENTITY = "catalog/identity";
    STATUS_ALLOWED = "catalog/status_allowed";
    SETTINGS = "catalog/settings";
    ESTIMATE = "catalog/estimate";
    STUCK = "heal/stuck_posts";
    STUCK_CONTEXT = "heal/stuck_context";
    DURATIONS_ATTEMPTS = "heal/durations_attempts";
    DURATIONS_POSTS = "heal/durations_posts";
    MISSING_IDS = "heal/missing_ids";
    OLD_FAILED = "heal/old_failed";
    OPEN_POSTS = "heal/open_posts";
    CIRCUIT_BREAKER = "heal/circuit_breaker";
    BREAKER_SIGNALS = "heal/breaker_signals";
    BREAKER_EVENTS = "heal/breaker_events";
    BROWSER_QUEUE = "heal/browser_queue";
    BROWSER_SIGNALS = "heal/browser_signals";
    BROWSER_EVENTS = "heal/browser_events";
    DATABASE = "heal/database";
    DATABASE_COUNTERS = "change/database_counters";
    JOB_HEARTBEATS = "heal/job_heartbeats";
    JOB_HEARTBEATS_HISTORY = "heal/job_heartbeats_history";
    JOB_HISTORY = "heal/job_history";
    SILENCE = "heal/silence";
    JOB_RUNS = "change/job_runs";
    TRACK_JOBS = "change/track_jobs";
    UNTRACK_JOBS = "change/untrack_jobs";
    REQUEST = "change/request";
    EVIDENCE = "evidence/evidence";
    COVERAGE = "evidence/coverage";
    EVIDENCE_POST_RECEIPTS = "evidence/post_receipts";
    EVIDENCE_POST_ATTEMPTS = "evidence/post_attempts";
    EVIDENCE_POSTING_ATTEMPTS = "evidence/posting_attempts";
    EVIDENCE_SUCCESS_EVENTS = "evidence/success_events";
    EVIDENCE_POSTED_DECISIONS = "evidence/posted_decisions";
    EVIDENCE_JOURNAL = "evidence/journal";
    EVIDENCE_HELD = "evidence/held";
    EVIDENCE_RECOVERY = "evidence/recovery";
    BRAKE_STATE = "change/brake_state";
    RESCUES_GONE_WRONG = "change/rescues_gone_wrong";
    LOCK = "change/lock";
    REQUEUE = "change/requeue";
    MARK_POSTED = "change/mark_posted";
    MARK_FAILED = "change/mark_failed";
    ARCHIVE = "change/archive";
    MOVE_TO_ARCHIVE = "change/move_to_archive";
    FILL_ID = "change/fill_id";
    HOLD = "change/hold";
    RELEASE_HOLDS = "change/release_holds";
    ENTER_RECOVERY = "change/enter_recovery";
    CLOSE_RECOVERY = "change/close_recovery";
    SEEN_RECOVERY = "change/seen_recovery";
    UNDO_PLAN = "change/undo_plan";
    UNDO = "change/undo";
    UNDO_ARCHIVE = "change/undo_archive";
    UNDO_SETTINGS_PLAN = "change/undo_settings_plan";
    UNDO_SETTINGS = "change/undo_settings";
    SETTINGS_READ = "change/settings_read";
    SETTING_CHANGE = "change/setting_change";
    LEASE_TAKE = "change/lease_take";
    LEASE_RELEASE = "change/lease_release";
    RUN_START = "change/run_start";
    RUN_FINISH = "change/run_finish";
    RUN_TARGETS = "change/run_targets";
    EVENT = "change/event";
    HEARTBEAT = "change/heartbeat";
    HEARTBEAT_HISTORY = "change/heartbeat_history";
    PRUNE = "change/prune";
    RESOLVE_LOOK = "change/resolve_look";
    RESOLVE_FAIL = "change/resolve_fail";
    IS_REAL = "change/is_real";
    RESOLVE_NOTE = "change/resolve_note";
    CONTENT_POSTS = "optimize/content_posts";
    CONTENT_MATURITY = "optimize/content_maturity";
    CONTENT_WEIGHTS = "optimize/content_weights";
    CONTENT_HISTORY = "optimize/content_history";
    CONTENT_CHANGES = "optimize/content_changes";
    WEIGHTS_LOCK = "change/weights_lock";
    WEIGHTS = "change/weights";
    WEIGHTS_RECORD = "change/weights_record";
    WEIGHTS_IN_FORCE = "change/weights_in_force";
    UNDO_WEIGHTS = "change/undo_weights";
    UNDO_WEIGHTS_PLAN = "change/undo_weights_plan";
    OPTIMIZATION_EVENT = "change/optimization_event";
    REMEMBER = "change/remember";
    ALERT_TURN = "alert/turn";
    ALERT_RELEASE = "alert/release";
    ALERT_BOOK = "alert/book";
    ALERT_CHANNELS = "alert/channels";
    ALERT_SAVE = "alert/save";
    ALERT_TOLD = "alert/told";
    ALERT_CHANNEL = "alert/channel";
    REPORT_ALERTS = "report/alerts";
    REPORT_FAILING_CHANNELS = "report/failing_channels";
    REPORT_TRENDS = "report/trends";
    REPORT_CHECK_TRENDS = "report/check_trends";
    REPORT_POSTED = "report/posted";
    REPORT_STATUS_TREND = "report/status_trend";
    REPORT_SUCCESS = "report/success";
    REPORT_POSTS_NOW = "report/posts_now";
    REPORT_CHECKS = "report/checks";
    REPORT_STUCK_DAYS = "report/stuck_days";
    REPORT_RECOVERY_TIME = "report/recovery_time";
    REPORT_RUNS = "report/runs";
    REPORT_HELD = "report/held";
    REPORT_RECOVERY = "report/recovery";
    REPORT_AGES = "report/ages";
    REPORT_MISSING = "report/missing";
    REPORT_LAST_SUCCESS = "report/last_success";
    REPORT_OUTLOOK = "report/outlook";
    REPORT_PERFORMANCE = "report/performance";
    REPORT_CONTENT = "report/content";
    REPORT_SETTLED = "report/settled";
    REPORT_TUNED = "report/tuned";
    FORECAST_RUNS = "forecast/runs";
    FORECAST_RUNS_HISTORY = "forecast/runs_history";
    FORECAST_LINES = "forecast/lines";
    FORECAST_BLIND = "forecast/blind";
    FORECAST_CONDITIONS = "forecast/conditions";
    FORECAST_OPEN = "forecast/open";
    FORECAST_SAMPLES = "forecast/samples";
    FORECAST_RESOURCES = "forecast/resources";
    RESOURCE_SERVER = "forecast/resource_server";
    RESOURCE_POSTS = "forecast/resource_posts";
    RESOURCE_BROWSER = "forecast/resource_browser";
    RESOURCE_EVENTS = "forecast/resource_events";
    RESOURCE_NOTE = "change/resource_note";
    FORECAST_STORE = "change/forecast_store";
    FORECAST_SETTLE = "change/forecast_settle";
    KNOWLEDGE_STORE = "change/knowledge_store";
    FORECAST_PRUNE = "change/forecast_prune";
    TUNING_LEARNED = "tuning/learned";
    TUNING_DURATIONS_POSTS = "tuning/durations_posts";
    TUNING_DURATIONS_ATTEMPTS = "tuning/durations_attempts";
    TUNING_SILENCE = "tuning/silence";
    TUNING_BROWSER = "tuning/browser";
    SCALING_LOAD = "scaling/load";
    SCALING_SERVICE_ATTEMPTS = "scaling/service_attempts";
    SCALING_SERVICE_POSTS = "scaling/service_posts";
    SCALING_NOTE = "change/scaling_note";
    OPTIMIZE_JOBS = "optimize/jobs";
    OPTIMIZE_JOBS_HISTORY = "optimize/jobs_history";
    OPTIMIZE_JOBS_NOTED = "optimize/jobs_noted";
    OPTIMIZE_POSTING = "optimize/posting";
    OPTIMIZE_POSTING_ATTEMPTS = "optimize/posting_attempts";
    OPTIMIZE_WAITING = "optimize/waiting";
    OPTIMIZE_RATE_EVENTS = "optimize/rate_events";
    OPTIMIZE_RATE_POSTS = "optimize/rate_posts";
    OPTIMIZE_RATE_ATTEMPTS = "optimize/rate_attempts";
    OPTIMIZE_RESOURCES = "optimize/resources";
    OPTIMIZE_LAST_SAMPLE = "optimize/last_sample";
    OPTIMIZE_SIZES = "optimize/sizes";
    OPTIMIZE_SIZE_BEFORE = "optimize/size_before";
    OPTIMIZE_BROWSER_HISTORY = "optimize/browser_history";
    OPTIMIZE_MEMORY_TOLD = "optimize/memory_told";
    OPTIMIZE_MEMORY_HEARTBEATS = "optimize/memory_heartbeats";
    OPTIMIZE_MEMORY_NOTED = "optimize/memory_noted";
    OPTIMIZE_INDEXES = "optimize/indexes";
    OPTIMIZE_INDEX_SEEN = "optimize/index_seen";
    OPTIMIZE_TABLES = "optimize/tables";
    OPTIMIZE_SEQUENCES = "optimize/sequences";
    OPTIMIZE_FOREIGN_KEYS = "optimize/foreign_keys";
    OPTIMIZE_BLOAT = "optimize/bloat";
    OPTIMIZE_EXPLAIN = "optimize/explain";
    OPTIMIZE_HYPOTHETICAL = "optimize/hypothetical";
    OPTIMIZE_HYPOTHETICAL_END = "optimize/hypothetical_end";
    OPTIMIZE_EXTENSIONS = "optimize/extensions";
    OPTIMIZE_EVENT_AGE = "optimize/event_age";
    OPTIMIZE_ACTIONS_BEFORE = "optimize/actions_before";
    OPTIMIZE_STATEMENTS = "optimize/statements";
    OPTIMIZE_STATEMENT_TEXTS = "optimize/statement_texts";
    OPTIMIZE_STATEMENTS_BEFORE = "optimize/statements_before";
    OPTIMIZE_STATEMENTS_WHEN = "optimize/statements_when";
    OPTIMIZE_STATEMENTS_RESET = "optimize/statements_reset";
    OPTIMIZE_ACTIVITY = "optimize/activity";
    OPTIMIZE_PRELOAD = "optimize/preload";
    OPTIMIZE_TABLE_COLUMNS = "optimize/table_columns";
    OPTIMIZE_BROWSER_OPS = "optimize/browser_ops";
    OPTIMIZE_BROWSER_CAPACITY = "optimize/browser_capacity";
    OPTIMIZE_JOB_ERRORS = "optimize/job_errors";
    OPTIMIZE_JOB_FAILURES = "optimize/job_failures";
    OPTIMIZE_JOB_QUERIES = "optimize/job_queries";
    OPTIMIZE_OLD_EVENTS = "optimize/old_events";
    MOVE_EVENTS = "change/move_events";
    DELETE_EVENTS = "change/delete_events";
    QUERY_SAMPLES = "change/query_samples";
    INDEX_SAMPLES = "change/index_samples";
    MAINTENANCE_START = "change/maintenance_start";
    MAINTENANCE_END = "change/maintenance_end";
    MAINTENANCE_OPEN = "change/maintenance_open";
    MAINTENANCE_TODAY = "change/maintenance_today";
    MAINTENANCE_TABLE = "change/maintenance_table";
    MAINTENANCE_INDEX = "change/maintenance_index";
    PERFORMANCE_SAMPLE = "change/performance_sample";
    SIZE_SAMPLES = "change/size_samples";
    PRUNE_PERFORMANCE = "change/prune_performance";
    ERRORS_EVENTS = "errors/events";
    ERRORS_EVENTS_WITHOUT_TIME = "errors/events_without_time";
    ERRORS_POSTS = "errors/posts";
    ERRORS_ATTEMPTS = "errors/attempts";
    ERRORS_HEARTBEATS = "errors/heartbeats";
    ERRORS_HEARTBEATS_HISTORY = "errors/heartbeats_history";
    ERRORS_JOB_RUNS = "errors/job_runs";
    ERRORS_JOB_SUCCESSES = "errors/job_successes";
    ERRORS_JOB_LAST_SUCCESS = "errors/job_last_success";
    ERRORS_JOB_SUCCESSES_NOTED = "errors/job_successes_noted";
    ERRORS_JOB_SUCCESSES_HISTORY = "errors/job_successes_history";
    ERRORS_BREAKER_MOVES = "errors/breaker_moves";
    ERRORS_BREAKER_MOVES_SIGNALS = "errors/breaker_moves_signals";
    ERRORS_BREAKER_MOVES_EVENTS = "errors/breaker_moves_events";
    ERRORS_MARKERS = "errors/markers";
    ERRORS_MARKERS_EVENTS = "errors/markers_events";
    ERRORS_MARKERS_HEALER = "errors/markers_healer";
    ERRORS_PATTERNS = "errors/patterns";
    ERRORS_GONE = "errors/gone";
    ERROR_PATTERNS = "change/error_patterns";
    ERROR_MERGE = "change/error_merge";
    ERROR_SUMMARY = "change/error_summary";
    ERROR_GONE = "change/error_gone";
    PRUNE_ERRORS = "change/prune_errors";
    REPORT_ERROR_PATTERNS = "report/error_patterns";
    REPORT_ERROR_DAYS = "report/error_days";
    REPORT_ERROR_SUMMARY = "report/error_summary";
}

/// What placeholders stand for.
#[derive(Debug, Clone, Default)]
pub struct Names(BTreeMap<&'static str, String>);

impl Names {
    /// Sets a placeholder. `sql` must be a number, a fragment of `sql/`, or quoted by the server.
    pub fn set(&mut self, placeholder: &'static str, sql: impl Into<String>) {
        self.0.insert(placeholder, sql.into());
    }

    /// The SQL of a placeholder.
    pub fn get(&self, placeholder: &str) -> Option<&str> {
        self.0.get(placeholder).map(String::as_str)
    }

    /// These names and one more.
    #[must_use]
    pub fn with(&self, placeholder: &'static str, sql: impl Into<String>) -> Self {
        let mut names = self.clone();
        names.set(placeholder, sql);
        names
    }
}

/// A statement that can be sent.
#[derive(Debug, Clone)]
pub struct Statement {
    name: &'static str,
    sql: String,
}

impl Statement {
    /// The statement's name: its path below `sql/`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its text.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// A statement built of a fixed text, for the few that are no file (`FETCH`).
    pub fn fixed(name: &'static str, sql: impl Into<String>) -> Self {
        Self { name, sql: sql.into() }
    }
}

impl Template {
    /// Fills the placeholders. One that `names` does not know stays as it is, and the server refuses the statement: a
    /// test fills every file for every shape of the database.
    pub fn fill(&self, names: &Names) -> Statement {
        #[cfg(not(feature = "chaos-controls"))]
        let text = self.text;
        #[cfg(feature = "chaos-controls")]
        let text = crate::control::edited(self);
        let mut sql = String::with_capacity(text.len() * 2);
        for line in text.lines().filter(|line| !line.trim_start().starts_with("--")) {
            fill_line(line, names, &mut sql);
            sql.push('\n');
        }
        Statement { name: self.name, sql }
    }
}

fn fill_line(line: &str, names: &Names, sql: &mut String) {
    let mut rest = line;
    while let Some(start) = rest.find('{') {
        let (before, after) = rest.split_at(start);
        sql.push_str(before);
        let end = after.find('}').unwrap_or(0);
        let known = after.get(1..end).and_then(|placeholder| names.get(placeholder));
        if let Some(value) = known {
            sql.push_str(value);
            rest = &after[end + 1..];
        } else {
            sql.push('{');
            rest = &after[1..];
        }
    }
    sql.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_replaced_and_other_braces_stay() {
        let mut names = Names::default();
        names.set("posts", "public.\"a{b}\"");
        let template = Template { name: "t", text: "-- a {posts} comment\nSELECT '{}'::text[] FROM {posts} p" };
        assert_eq!(template.fill(&names).sql(), "SELECT '{}'::text[] FROM public.\"a{b}\" p\n");
    }

    #[test]
    fn every_file_of_sql_is_listed_once() {
        fn walk(folder: &std::path::Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("entry").path()) {
                if entry.is_dir() {
                    walk(&entry, found);
                } else {
                    found.push(entry.to_string_lossy().into_owned());
                }
            }
        }
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/sql/");
        let mut files = Vec::new();
        walk(std::path::Path::new(root), &mut files);
        let mut files: Vec<String> = files
            .iter()
            .map(|file| file.trim_start_matches(root).trim_end_matches(".sql").to_owned())
            .filter(|name| !name.starts_with("schema/") && !name.starts_with("sandbox/") && name != "roles")
            .collect();
        files.sort();
        let mut listed: Vec<String> = ALL.iter().map(|template| template.name.to_owned()).collect();
        listed.sort();
        assert_eq!(files, listed);
    }

    #[test]
    fn every_file_says_what_it_is_for() {
        for template in ALL {
            assert!(template.text.starts_with("-- "), "{} has no header", template.name);
        }
    }
}
