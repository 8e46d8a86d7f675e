//! `resources`: the browser's queue now and over the day, the jobs at work, connections, the server's cache, temporary
//! files and WAL since the last run, the growth of tables and indexes, and the pressure on memory.
//!
//! `memoryPressure` (0 to 1) is what a job said last, within a day, when it was skipped for memory ("memory 94 % used");
//! where none said so, the share of block reads since the last run that the server's cache did not hold. What it was
//! taken from stands beside it (`memoryPressureSource`).
//! Reads statistics views; notes counters and sizes for the next run. Changes nothing else.
//! Limits: the first run has nothing to compare with: rates and growth are unknown until the second.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Gaps, Hand, Room, Scene, Told, bytes, check_of, figure, settings, share};
use crate::change::plan::Severity;
use crate::database::session::Param;
use crate::database::statement;
use crate::error::Error;
use crate::heal::{CheckResult, Status, browser_queue};
use crate::report::model::Concern;
use crate::report::table::said;
use crate::settings::Settings;

/// The room's name.
pub const NAME: &str = "resources";

/// Age of the older sample from which growth a day can be told: an hour's growth times 24 is mostly chance.
const GROWTH_AFTER_S: i64 = 6 * 3_600;

/// The server's counters at one moment.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Blocks found in the cache.
    pub hit: f64,
    /// Blocks read from below it.
    pub read: f64,
    /// Temporary files written.
    pub temp_files: f64,
    /// Bytes in them.
    pub temp_bytes: f64,
    /// Bytes of WAL; `None` on a standby.
    pub wal_bytes: Option<f64>,
    /// When they were last reset, as the server writes it.
    pub stats_reset: Option<String>,
    /// When they were read.
    pub at: Option<chrono::DateTime<chrono::Utc>>,
}

/// What happened between two readings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Between {
    /// Seconds.
    pub seconds: f64,
    /// Share of blocks found in the cache; `None` where none were read.
    pub cache_hit: Option<f64>,
    /// Blocks asked for.
    pub blocks: f64,
    /// Temporary files.
    pub temp_files: f64,
    /// Bytes in them.
    pub temp_bytes: f64,
    /// WAL.
    pub wal_bytes: Option<f64>,
}

/// The difference of two readings; `None` where the counters were reset between them or the clock ran back. Pure.
pub fn between(before: &Counters, now: &Counters) -> Option<Between> {
    let seconds = (now.at? - before.at?).num_milliseconds() as f64 / 1_000.0;
    let grew = [(before.hit, now.hit), (before.read, now.read), (before.temp_bytes, now.temp_bytes)];
    if seconds <= 0.0 || before.stats_reset != now.stats_reset || grew.iter().any(|(before, now)| now < before) {
        return None;
    }
    let (hit, read) = (now.hit - before.hit, now.read - before.read);
    Some(Between {
        seconds,
        cache_hit: (hit + read > 0.0).then(|| hit / (hit + read)),
        blocks: hit + read,
        temp_files: (now.temp_files - before.temp_files).max(0.0),
        temp_bytes: now.temp_bytes - before.temp_bytes,
        wal_bytes: now.wal_bytes.zip(before.wal_bytes).map(|(now, before)| now - before).filter(|bytes| *bytes >= 0.0),
    })
}

/// How large a table is, and was.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Size {
    /// The table.
    pub relation: String,
    /// Bytes of the table with all that belongs to it but its indexes.
    pub table_bytes: i64,
    /// Bytes of its indexes.
    pub index_bytes: i64,
    /// The planner's estimate of its rows.
    pub row_estimate: i64,
    /// Age of the older sample in seconds, its table and its index bytes.
    pub before: Option<(i64, i64, i64)>,
}

impl Size {
    /// Growth in bytes a day: of the table and of its indexes.
    pub fn growth(&self) -> Option<(f64, f64)> {
        let (age, table, index) = self.before.filter(|(age, _, _)| *age >= GROWTH_AFTER_S)?;
        let days = age as f64 / 86_400.0;
        Some(((self.table_bytes - table) as f64 / days, (self.index_bytes - index) as f64 / days))
    }
}

/// Characters of what a job said of memory, as sql/optimize/memory_*.sql cut it.
const SAID: usize = 200;

/// What was measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// Operations that wait for the browser, and that are at work; `None` where no fresh signal tells.
    pub browser: Option<(i64, i64)>,
    /// Over 24 hours: reports, mean and most that waited.
    pub browser_day: Option<(i64, f64, i64)>,
    /// Sessions, those at work, and what may be opened.
    pub connections: Option<(i64, i64, i64)>,
    /// Bytes of the database.
    pub database_bytes: Option<i64>,
    /// The counters, as read.
    pub counters: Value,
    /// Since the last run.
    pub since: Option<Between>,
    /// Since the counters began.
    pub ever: Option<f64>,
    /// The largest tables.
    pub sizes: Vec<Size>,
    /// What a job said of memory: its name, what it said.
    pub memory_told: Option<(String, String)>,
}

/// The pressure on memory, and from what it is derived. Pure.
pub fn memory_pressure(measured: &Measured) -> (Option<f64>, String) {
    if let Some((job, words)) = &measured.memory_told
        && let Some(percent) = percent(words)
    {
        return (Some(percent / 100.0), format!("the job {job} was skipped and said: {}", said(words, SAID)));
    }
    if let Some(hit) = measured.since.as_ref().and_then(|since| since.cache_hit) {
        return (
            Some(1.0 - hit),
            "share of block reads that the server's cache did not hold, since the last run".into(),
        );
    }
    (None, "no job told of memory, and the server's cache has not been compared with an earlier run yet".into())
}

/// The number before the first `%` of a text.
fn percent(text: &str) -> Option<f64> {
    let before = text.split('%').next().filter(|before| before.len() < text.len())?.trim_end();
    let digits = before.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let digits = before.get(digits..)?;
    digits.parse().ok().filter(|percent| (0.0..=100.0).contains(percent))
}

/// What needs a look. Pure.
pub fn judge(measured: &Measured, limits: &settings::Resources) -> Vec<(Status, String, String)> {
    let mut lines = Vec::new();
    if let Some(since) = &measured.since
        && let Some(hit) = since.cache_hit.filter(|hit| *hit < limits.cache_hit_warning)
        && since.blocks >= limits.cache_reads as f64
    {
        lines.push((
            Status::Warning,
            format!("{:.0} % of the blocks were found in the server's cache since the last run: give shared_buffers more memory, or see which query reads so much", hit * 100.0),
            "cache-hit".to_owned(),
        ));
    }
    if let (Some(pressure), source) = memory_pressure(measured)
        && measured.memory_told.is_some()
        && pressure > limits.memory_warning
    {
        lines.push((
            Status::Warning,
            format!(
                "{:.0} % of the application's memory is used ({source}): give it more, or let fewer jobs run at once",
                pressure * 100.0
            ),
            "memory".to_owned(),
        ));
    }
    for size in &measured.sizes {
        let total = size.table_bytes + size.index_bytes;
        if let Some((table, index)) = size.growth()
            && total >= i64::try_from(limits.growth_from_mb).unwrap_or(i64::MAX).saturating_mul(1_048_576)
            && table + index > limits.growth_warning * total as f64
        {
            lines.push((
                Status::Warning,
                format!(
                    "{} grows by {} a day (table {}, indexes {}), it holds {}",
                    size.relation,
                    bytes(table + index),
                    bytes(table),
                    bytes(index),
                    bytes(total as f64)
                ),
                format!("growth:{}", size.relation),
            ));
        }
    }
    lines
}

/// The room.
#[derive(Debug, Default)]
pub struct Resources {
    measured: Measured,
    gaps: Gaps,
    limits: settings::Resources,
}

impl Resources {
    fn browser(&mut self, scene: &mut Scene<'_>) -> Result<(), Error> {
        let facts = browser_queue::read(scene.session, scene.mapping, scene.with_schema)?;
        let limit = scene.settings.heal.browser_queue.signal_max_age.as_seconds();
        self.measured.browser = facts
            .reports
            .iter()
            .take_while(|report| report.age_s <= limit)
            .find_map(|report| report.queued.zip(report.active))
            .filter(|(queued, active)| *queued >= 0 && *active >= 0);
        if scene.with_schema {
            scene.session.read()?;
            let row = scene.session.row(&statement::OPTIMIZE_BROWSER_HISTORY.fill(&scene.mapping.names), &[])?;
            self.measured.browser_day = match (row.int("reports")?, row.optional_float("mean_queued")?) {
                (reports, Some(mean)) if reports > 0 => {
                    Some((reports, mean, row.optional_int("most_queued")?.unwrap_or(0)))
                }
                _ => None,
            };
        }
        Ok(())
    }

    fn server(&mut self, scene: &mut Scene<'_>) -> Result<(), Error> {
        scene.session.read()?;
        let row = scene.session.row(&statement::OPTIMIZE_RESOURCES.fill(&scene.mapping.names), &[])?;
        self.measured.connections = Some((row.int("sessions")?, row.int("working")?, row.int("usable")?));
        self.measured.database_bytes = row.optional_int("database_bytes")?;
        self.measured.counters = row.json("counters")?;
        let now: Counters = serde_json::from_value(self.measured.counters.clone()).unwrap_or_default();
        self.measured.ever = (now.hit + now.read > 0.0).then(|| now.hit / (now.hit + now.read));
        if scene.with_schema {
            let row = scene.session.row(&statement::OPTIMIZE_LAST_SAMPLE.fill(&scene.mapping.names), &[])?;
            let before: Counters = serde_json::from_value(row.json("counters")?).unwrap_or_default();
            self.measured.since = between(&before, &now);
        }
        Ok(())
    }

    fn sizes(&mut self, scene: &mut Scene<'_>) -> Result<(), Error> {
        let nothing = "SELECT NULL::bigint AS before_s, NULL::bigint AS before_table, NULL::bigint AS before_index";
        let before = if scene.with_schema {
            statement::OPTIMIZE_SIZE_BEFORE.fill(&scene.mapping.names).sql().to_owned()
        } else {
            nothing.to_owned()
        };
        let names = scene.mapping.names.with("size_before", before);
        let excluded: Vec<&str> =
            scene.settings.optimize.performance.hygiene.exclude_schemas.iter().map(String::as_str).collect();
        scene.session.read()?;
        // The size of a table waits for whoever rebuilds it: then sizes are unknown, and all else is told.
        let rows = match scene.session.rows(&statement::OPTIMIZE_SIZES.fill(&names), &[Param::Texts(&excluded)]) {
            Ok(rows) => rows,
            Err(error) if error.stops_the_pass() => return Err(error),
            Err(error) => {
                scene.session.check_stop()?;
                self.gaps.note("the sizes of tables could not be read", &error);
                return Ok(());
            }
        };
        for row in rows {
            let before = row.optional_int("before_s")?.zip(row.optional_int("before_table")?);
            // A table that was dropped meanwhile has no size.
            let (Some(table_bytes), Some(index_bytes)) =
                (row.optional_int("table_bytes")?, row.optional_int("index_bytes")?)
            else {
                continue;
            };
            self.measured.sizes.push(Size {
                relation: row.text("relation")?,
                table_bytes,
                index_bytes,
                row_estimate: row.int("row_estimate")?,
                before: before.zip(row.optional_int("before_index")?).map(|((age, table), index)| (age, table, index)),
            });
        }
        Ok(())
    }

    fn memory(&mut self, scene: &mut Scene<'_>) -> Result<(), Error> {
        let names = &scene.mapping.names;
        let mut branches = Vec::new();
        let readable = scene.mapping.heartbeats.as_ref().is_some_and(crate::database::catalog::Relation::readable);
        if readable && !scene.mapping.heartbeats_history {
            branches.push(statement::OPTIMIZE_MEMORY_HEARTBEATS.fill(names).sql().to_owned());
        }
        if scene.with_schema {
            branches.push(statement::OPTIMIZE_MEMORY_NOTED.fill(names).sql().to_owned());
        }
        if branches.is_empty() {
            return Ok(());
        }
        let names = names.with("memory_branches", branches.join("UNION ALL\n"));
        scene.session.read()?;
        let rows = scene.session.rows(&statement::OPTIMIZE_MEMORY_TOLD.fill(&names), &[])?;
        if let Some(row) = rows.first() {
            self.measured.memory_told = Some((row.text("job")?, row.text("said")?));
        }
        Ok(())
    }
}

impl Room for Resources {
    fn name(&self) -> &'static str {
        NAME
    }

    fn enabled(&self, settings: &Settings) -> bool {
        settings.optimize.performance.resources.enabled
    }

    fn detect(&mut self, scene: &mut Scene<'_>) -> Result<(), Error> {
        self.limits = scene.settings.optimize.performance.resources.clone();
        self.browser(scene)?;
        self.server(scene)?;
        self.sizes(scene)?;
        self.memory(scene)
    }

    fn act(&mut self, hand: &mut Hand<'_>) -> Result<(), Error> {
        if self.measured.sizes.is_empty() {
            return Ok(());
        }
        let sizes: Vec<Value> = self
            .measured
            .sizes
            .iter()
            .map(|size| {
                json!({ "relation": size.relation, "table_bytes": size.table_bytes, "index_bytes": size.index_bytes,
                        "row_estimate": size.row_estimate })
            })
            .collect();
        hand.lease.begin_batch(hand.session)?;
        hand.session
            .rows(&statement::SIZE_SAMPLES.fill(&hand.mapping.names), &[Param::Text(&json!(sizes).to_string())])?;
        hand.session.commit()
    }

    fn tell(&self, told: &mut Told) {
        let measured = &self.measured;
        let (pressure, source) = memory_pressure(measured);
        let number = |number: Option<i64>| number.map_or(Value::Null, |number| json!(number));
        told.metric("resourceUsage", "browserQueueLength", number(measured.browser.map(|(queued, _)| queued)));
        told.metric("resourceUsage", "activeBrowserJobs", number(measured.browser.map(|(_, active)| active)));
        told.metric("resourceUsage", "memoryPressure", share(pressure));
        told.metric("resourceUsage", "memoryPressureSource", json!(source));
        let since = measured.since.as_ref();
        told.parts.insert(
            "resources".into(),
            json!({
                "browserDay": measured.browser_day.map(|(reports, mean, most)| json!({"reports": reports, "meanQueued": figure(Some(mean)), "mostQueued": most})),
                "connections": measured.connections.map(|(used, working, usable)| json!({"used": used, "working": working, "usable": usable})),
                "databaseBytes": measured.database_bytes,
                "cacheHitSinceLastRun": share(since.and_then(|since| since.cache_hit)),
                "cacheHitEver": share(measured.ever),
                "tempFilesSinceLastRun": figure(since.map(|since| since.temp_files)),
                "tempBytesSinceLastRun": figure(since.map(|since| since.temp_bytes)),
                "walBytesADay": figure(since.and_then(|since| since.wal_bytes.map(|wal| wal / since.seconds * 86_400.0))),
                "secondsSinceLastRun": figure(since.map(|since| since.seconds)),
                "tables": measured.sizes.iter().take(20).map(|size| json!({
                    "relation": size.relation, "tableBytes": size.table_bytes, "indexBytes": size.index_bytes,
                    "rows": (size.row_estimate >= 0).then_some(size.row_estimate),
                    "tableBytesADay": figure(size.growth().map(|(table, _)| table)),
                    "indexBytesADay": figure(size.growth().map(|(_, index)| index)),
                })).collect::<Vec<_>>(),
            }),
        );
        told.parts.insert("counters".into(), measured.counters.clone());
        let findings = judge(measured, &self.limits);
        let lines: Vec<(Status, String)> = findings.iter().map(|(status, line, _)| (*status, line.clone())).collect();
        told.checks.push(self.check(&lines));
        for (_, line, key) in findings {
            told.recommendations.push(line.clone());
            told.concerns.push(Concern {
                key,
                severity: Severity::Warning,
                title: line.clone(),
                detail: line,
                next_step: "healer report performance".into(),
            });
        }
    }
}

impl Resources {
    fn check(&self, lines: &[(Status, String)]) -> CheckResult {
        let measured = &self.measured;
        let mut parts = Vec::new();
        if let Some((used, working, usable)) = measured.connections {
            parts.push(format!("{used} of {usable} connections used, {working} at work"));
        }
        match measured.browser {
            Some((queued, active)) => parts.push(format!("{queued} operations wait for the browser, {active} active")),
            None => parts.push("the browser's queue is not known".into()),
        }
        if let Some(bytes_now) = measured.database_bytes {
            parts.push(bytes(bytes_now as f64));
        }
        let mut check = check_of(NAME, lines, parts.join(", "));
        if measured.since.is_none() {
            check
                .details
                .push("rates are known from the second run on (or since the server's counters were reset)".into());
        }
        self.gaps.mark(&mut check);
        check
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(hit: f64, read: f64, minutes: i64) -> Counters {
        let at = chrono::DateTime::from_timestamp(minutes * 60, 0);
        Counters { hit, read, at, ..Counters::default() }
    }

    #[test]
    fn a_reset_between_two_readings_gives_no_figure_rather_than_a_negative_one() {
        assert_eq!(between(&at(90.0, 10.0, 0), &at(270.0, 30.0, 2)).and_then(|since| since.cache_hit), Some(0.9));
        assert_eq!(between(&at(90.0, 10.0, 0), &at(50.0, 30.0, 2)), None);
        assert_eq!(between(&at(90.0, 10.0, 2), &at(95.0, 30.0, 0)), None, "the clock ran back");
        let reset = Counters { stats_reset: Some("today".into()), ..at(270.0, 30.0, 2) };
        assert_eq!(between(&at(90.0, 10.0, 0), &reset), None);
        assert_eq!(between(&at(9.0, 1.0, 0), &at(9.0, 1.0, 2)).expect("a span").cache_hit, None, "nothing of nothing");
        assert_eq!(between(&Counters::default(), &at(1.0, 1.0, 1)), None, "the first run");
    }

    #[test]
    fn memory_pressure_says_what_it_is_derived_from_and_is_unknown_without_a_source() {
        let told = |said: &str| Measured { memory_told: Some(("learn".into(), said.into())), ..Measured::default() };
        assert_eq!(memory_pressure(&told("skipped: memory 94 % used")).0, Some(0.94));
        assert_eq!(memory_pressure(&told("memory at 91.5%")).0, Some(0.915));
        assert_eq!(memory_pressure(&told("memory 9400 % of …%")).0, None);
        let (pressure, source) = memory_pressure(&told("memory 94 % used by postgres://bot:hunter2@db/x"));
        assert!(pressure == Some(0.94) && !source.contains("hunter2"), "{source}");
        let since = Measured { since: between(&at(0.0, 0.0, 0), &at(90.0, 10.0, 1)), ..Measured::default() };
        let (pressure, source) = memory_pressure(&since);
        assert!((pressure.expect("known") - 0.1).abs() < 1e-9 && source.contains("cache"), "{source}");
        assert_eq!(memory_pressure(&Measured::default()).0, None);
    }

    #[test]
    fn growth_needs_six_hours_and_is_reported_above_its_share_a_day() {
        let size = |age, before| Size {
            relation: "public.system_events".into(),
            table_bytes: 1_048_576_000,
            before: Some((age, before, 0)),
            ..Size::default()
        };
        assert_eq!(size(3_600, 0).growth(), None);
        let of = |size| judge(&Measured { sizes: vec![size], ..Measured::default() }, &settings::Resources::default());
        assert_eq!(of(size(86_400, 1_048_576_000 - 104_857_600)).len(), 1);
        assert_eq!(of(size(86_400, 1_048_576_000 - 10_485_760)).len(), 0);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reading_of_a_percentage_panic(text in "\\PC{0,40}") {
            if let Some(percent) = percent(&text) {
                prop_assert!((0.0..=100.0).contains(&percent));
            }
        }
    }
}
