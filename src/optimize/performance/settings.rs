//! What `[optimize.performance]` in the configuration may say, with its defaults and their reasons.

use serde::Deserialize;

use crate::settings::Span;

/// The pass `optimize performance`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Performance {
    /// How often the pass runs.
    pub interval: Span,
    /// The room `jobs`.
    pub jobs: Jobs,
    /// The room `posting`.
    pub posting: Posting,
    /// The room `resources`.
    pub resources: Resources,
    /// The room `browser-operations`.
    #[serde(rename = "browser-operations")]
    pub browser_operations: BrowserOperations,
    /// The room `queries`.
    pub queries: Queries,
    /// The room `hygiene`.
    pub hygiene: Hygiene,
    /// What healer does itself.
    pub actions: Actions,
    /// What becomes of old events.
    pub retention: Retention,
}

impl Default for Performance {
    fn default() -> Self {
        Self {
            interval: Span::seconds(2 * 3_600),
            jobs: Jobs::default(),
            posting: Posting::default(),
            resources: Resources::default(),
            browser_operations: BrowserOperations::default(),
            queries: Queries::default(),
            hygiene: Hygiene::default(),
            actions: Actions::default(),
            retention: Retention::default(),
        }
    }
}

/// The room `jobs`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jobs {
    /// Whether it is looked at.
    pub enabled: bool,
    /// A job whose runs take longer than this on average is slow.
    pub slow: Span,
    /// A job whose last day took this many times what it took before is slower than its own past.
    pub slower_factor: f64,
    /// Growth of the daily median over two weeks from which a steady rise is reported.
    pub creeping_factor: f64,
    /// Share of failed runs that is reported.
    pub failures_warning: f64,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            enabled: true,
            slow: Span::seconds(5 * 60),
            // Half as long again is more than the spread of any job that was met, and less than a doubled input.
            slower_factor: 1.5,
            creeping_factor: 1.3,
            failures_warning: 0.10,
        }
    }
}

/// The room `posting`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Posting {
    /// Whether it is looked at.
    pub enabled: bool,
    /// Success below this share of the finished posts is reported.
    pub success_warning: f64,
    /// Failures above this share of the finished posts are reported.
    pub failures_warning: f64,
    /// A mean time from the planned time to posted above this is reported.
    pub slow: Span,
    /// Rate-limit hits in 24 hours from which they are reported.
    pub rate_limit_warning: u32,
    /// A post that has been due for longer than this is waiting for too long.
    pub waiting: Span,
    /// Words of the status column that mean given up, beside `posts.words.failed`.
    pub failed_words: Vec<String>,
}

impl Default for Posting {
    fn default() -> Self {
        Self {
            enabled: true,
            success_warning: 0.80,
            failures_warning: 0.20,
            slow: Span::seconds(10 * 60),
            rate_limit_warning: 20,
            waiting: Span::seconds(3_600),
            failed_words: vec!["failed_permanent".into()],
        }
    }
}

/// The room `resources`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// Whether it is looked at.
    pub enabled: bool,
    /// A share of blocks found in the server's cache below this is reported, from `cache_reads` reads on.
    pub cache_hit_warning: f64,
    /// Blocks read since the last run below which the share says nothing.
    pub cache_reads: u64,
    /// A table that grows by more than this share a day is reported.
    pub growth_warning: f64,
    /// MB below which growth is not reported.
    pub growth_from_mb: u64,
    /// Share of the application's memory above which pressure is reported.
    pub memory_warning: f64,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            enabled: true,
            cache_hit_warning: 0.90,
            // 800 MB: below it one cold table decides the share.
            cache_reads: 100_000,
            growth_warning: 0.05,
            growth_from_mb: 100,
            memory_warning: 0.90,
        }
    }
}

/// The room `browser-operations`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BrowserOperations {
    /// Whether it is looked at.
    pub enabled: bool,
    /// Operations at work at the same time that the browser allows, where no signal says it.
    pub capacity: u32,
    /// Waiting below this share of the time that the browser was held is not reported.
    pub waiting_warning: f64,
    /// A stagger that saves less than this share of the waiting is not proposed.
    pub stagger_gain: f64,
}

impl Default for BrowserOperations {
    fn default() -> Self {
        Self { enabled: true, capacity: 1, waiting_warning: 0.10, stagger_gain: 0.25 }
    }
}

/// The room `queries`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Queries {
    /// Whether it is looked at.
    pub enabled: bool,
    /// A query that takes longer than this on average is slow.
    pub slow: Span,
    /// Queries whose texts are read and listed, at most 100.
    pub top: u32,
    /// Calls since the last run from which a query can be called slow.
    pub calls: u64,
}

impl Default for Queries {
    fn default() -> Self {
        Self { enabled: true, slow: Span(std::time::Duration::from_millis(250)), top: 10, calls: 3 }
    }
}

/// The room `hygiene`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hygiene {
    /// Whether it is looked at.
    pub enabled: bool,
    /// Schemas that are left alone: the server's, and those of hosted systems, which nobody here may change.
    pub exclude_schemas: Vec<String>,
    /// Rows below which a table is walked as fast as an index.
    pub table_rows: u32,
    /// MB from which an index that nobody uses is reported.
    pub unused_from_mb: u32,
    /// How long an index must not have been used.
    pub unused_after: Span,
    /// Share of a sequence or of a key's range from which there is a warning.
    pub exhausted_warning: f64,
    /// The same, critical.
    pub exhausted_critical: f64,
    /// MB of empty space in a table or index from which it is reported.
    pub bloat_from_mb: u32,
    /// Share of empty space from which it is reported.
    pub bloat_warning: f64,
}

impl Default for Hygiene {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            enabled: true,
            exclude_schemas: [
                "information_schema",
                "pg_catalog",
                "healer",
                "auth",
                "storage",
                "realtime",
                "_realtime",
                "vault",
                "extensions",
                "graphql",
                "graphql_public",
                "net",
                "cron",
                "pgsodium",
                "pgbouncer",
                "supabase_functions",
                "supabase_migrations",
                "_analytics",
            ]
            .map(text)
            .to_vec(),
            table_rows: 10_000,
            unused_from_mb: 1,
            // Weekly jobs use their indexes once a week.
            unused_after: Span::seconds(7 * 86_400),
            exhausted_warning: 0.70,
            exhausted_critical: 0.90,
            bloat_from_mb: 100,
            bloat_warning: 0.50,
        }
    }
}

/// What becomes of an invalid index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvalidIndexes {
    /// It is reported.
    Report,
    /// It is built again (REINDEX CONCURRENTLY); what a failed rebuild left behind is dropped.
    Repair,
}

/// What healer does itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Actions {
    /// ANALYZE of tables with stale statistics.
    pub analyze: bool,
    /// VACUUM of tables that autovacuum neglects.
    pub vacuum: bool,
    /// What becomes of an invalid index.
    pub invalid_indexes: InvalidIndexes,
    /// Actions in one run.
    pub per_run: u32,
    /// Actions in 24 hours.
    pub per_day: u32,
    /// Limit of one ANALYZE.
    pub analyze_limit: Span,
    /// Limit of one VACUUM or REINDEX.
    pub maintenance_limit: Span,
}

impl Default for Actions {
    fn default() -> Self {
        Self {
            analyze: true,
            vacuum: false,
            invalid_indexes: InvalidIndexes::Report,
            per_run: 5,
            per_day: 20,
            analyze_limit: Span::seconds(60),
            maintenance_limit: Span::seconds(300),
        }
    }
}

/// Where old events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetentionTo {
    /// The whole row moves to `healer.archived_event`.
    Table,
    /// It is deleted.
    Delete,
}

/// What becomes of old events.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Whether anything is moved or deleted at all.
    pub enabled: bool,
    /// How long an event stays; at least 30 days, which is as far as any pass looks back.
    pub keep: Span,
    /// Where it goes.
    pub to: RetentionTo,
    /// Events moved or deleted in one run.
    pub per_run: u32,
    /// Event types that stay for ever, beside those that ledgers, reports and alerts are made of. `%` stands for any text.
    pub keep_types: Vec<String>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            enabled: false,
            keep: Span::seconds(90 * 86_400),
            to: RetentionTo::Table,
            per_run: 10_000,
            keep_types: Vec::new(),
        }
    }
}

impl Performance {
    /// Checks that each threshold makes sense.
    pub fn validate(&self) -> Result<(), String> {
        for (name, share) in [
            ("jobs.failures_warning", self.jobs.failures_warning),
            ("posting.success_warning", self.posting.success_warning),
            ("posting.failures_warning", self.posting.failures_warning),
            ("resources.cache_hit_warning", self.resources.cache_hit_warning),
            ("resources.memory_warning", self.resources.memory_warning),
            ("browser-operations.waiting_warning", self.browser_operations.waiting_warning),
            ("browser-operations.stagger_gain", self.browser_operations.stagger_gain),
            ("hygiene.exhausted_warning", self.hygiene.exhausted_warning),
            ("hygiene.exhausted_critical", self.hygiene.exhausted_critical),
            ("hygiene.bloat_warning", self.hygiene.bloat_warning),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return Err(format!("optimize.performance.{name} must be 0 to 1"));
            }
        }
        for (name, factor) in
            [("jobs.slower_factor", self.jobs.slower_factor), ("jobs.creeping_factor", self.jobs.creeping_factor)]
        {
            if !(1.0..=1_000.0).contains(&factor) {
                return Err(format!("optimize.performance.{name} must be 1 to 1000"));
            }
        }
        if !(self.resources.growth_warning >= 0.0 && self.resources.growth_warning.is_finite()) {
            return Err("optimize.performance.resources.growth_warning must be 0 or more".into());
        }
        if self.hygiene.exhausted_critical < self.hygiene.exhausted_warning {
            return Err("optimize.performance.hygiene.exhausted: the critical threshold lies below the warning".into());
        }
        for (name, span) in [
            ("interval", self.interval),
            ("jobs.slow", self.jobs.slow),
            ("posting.slow", self.posting.slow),
            ("actions.analyze_limit", self.actions.analyze_limit),
            ("actions.maintenance_limit", self.actions.maintenance_limit),
        ] {
            if span.as_seconds() < 1 {
                return Err(format!("optimize.performance.{name} must be at least 1s"));
            }
        }
        if !(1..=64).contains(&self.browser_operations.capacity) {
            return Err("optimize.performance.browser-operations.capacity must be 1 to 64".into());
        }
        if !(1..=100).contains(&self.queries.top) {
            return Err("optimize.performance.queries.top must be 1 to 100".into());
        }
        if self.hygiene.unused_after.as_seconds() < 7 * 86_400 {
            return Err("optimize.performance.hygiene.unused_after must be at least 7d".into());
        }
        if self.retention.keep.as_seconds() < 30 * 86_400 {
            return Err("optimize.performance.retention.keep must be at least 30d".into());
        }
        if !(1..=100_000).contains(&self.retention.per_run) {
            return Err("optimize.performance.retention.per_run must be 1 to 100000".into());
        }
        for (name, words) in [
            ("posting.failed_words", &self.posting.failed_words),
            ("retention.keep_types", &self.retention.keep_types),
            ("hygiene.exclude_schemas", &self.hygiene.exclude_schemas),
        ] {
            if words.iter().any(|word| word.contains('\0')) {
                return Err(format!("optimize.performance.{name} must not contain a NUL character"));
            }
        }
        Ok(())
    }
}
