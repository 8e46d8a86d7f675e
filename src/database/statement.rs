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
    STATUS_ALLOWED = "catalog/status_allowed";
    SETTINGS = "catalog/settings";
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
    REPORT_CHECKS = "report/checks";
    REPORT_STUCK_DAYS = "report/stuck_days";
    REPORT_RECOVERY_TIME = "report/recovery_time";
    REPORT_RUNS = "report/runs";
    REPORT_HELD = "report/held";
    REPORT_RECOVERY = "report/recovery";
    REPORT_AGES = "report/ages";
    REPORT_MISSING = "report/missing";
    REPORT_LAST_SUCCESS = "report/last_success";
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
