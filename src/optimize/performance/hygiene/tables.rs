//! What is wrong with tables: stale statistics, dead rows that nobody clears away, ids and keys that run out, foreign keys
//! without an index, empty space. Pure.

use serde_json::json;

use super::super::{Finding, Level, bytes};
use super::settings;
use crate::heal::ago;
use crate::report::table::clean;

/// Changed rows below which statistics are never called stale: a small table is read whole in any case.
const CHANGED_FROM: i64 = 1_000;

/// Dead rows below which they slow nobody down.
const DEAD_FROM: i64 = 5_000;

/// Where autovacuum is on, how many times its own threshold: below, it simply has not come by yet.
const NOT_KEEPING_UP: i64 = 2;

/// A table, as read by `sql/optimize/tables.sql`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is what sql/optimize/tables.sql says of it")]
pub struct Table {
    pub oid: i64,
    pub relation: String,
    pub kind: String,
    pub rows: i64,
    pub pages: i64,
    pub live: i64,
    pub dead: i64,
    pub changed: i64,
    pub analyzed_s: Option<i64>,
    pub vacuumed_s: Option<i64>,
    pub analyze_at: i64,
    pub vacuum_at: i64,
    pub attended: bool,
    pub allowed: bool,
    pub seq_scans: i64,
    pub seq_rows: i64,
    pub idx_scans: i64,
    pub bytes: i64,
}

impl Table {
    fn late(&self, at: i64) -> i64 {
        if self.attended { at.saturating_mul(NOT_KEEPING_UP) } else { at }
    }

    /// Whether the planner's statistics are out of date.
    pub fn stale(&self) -> bool {
        self.changed >= CHANGED_FROM && self.changed > self.late(self.analyze_at)
    }

    /// Whether dead rows pile up.
    pub fn neglected(&self) -> bool {
        self.kind == "r" && self.dead >= DEAD_FROM && self.dead > self.late(self.vacuum_at)
    }

    fn why(&self) -> &'static str {
        match (self.kind.as_str(), self.attended) {
            ("p", _) => "autovacuum never analyses the parent of partitions",
            (_, false) => "autovacuum is off for it",
            (_, true) => "autovacuum does not keep up",
        }
    }
}

fn since(age: Option<i64>) -> String {
    age.map_or_else(|| "never".to_owned(), |age| format!("{} ago", ago(age)))
}

/// Stale statistics and dead rows.
pub fn judge(tables: &[Table]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in tables {
        if table.stale() {
            findings.push(Finding {
                key: format!("stale-statistics:{}", table.relation),
                kind: "stale-statistics",
                level: Level::Warning,
                title: format!("the statistics of {} are stale: {} rows changed since", table.relation, table.changed),
                detail: format!(
                    "last analysed {}, and {}: the planner guesses wrong and chooses slow plans",
                    since(table.analyzed_s),
                    table.why()
                ),
                evidence: json!({ "table": table.relation, "changedRows": table.changed, "rows": table.rows,
                                  "autovacuumFrom": table.analyze_at, "analyzedSeconds": table.analyzed_s }),
                remedy: Some(format!("ANALYZE {};", table.relation)),
            });
        }
        if table.neglected() {
            let mut remedy = format!("VACUUM (ANALYZE) {};", table.relation);
            if !table.attended {
                remedy.push_str(&format!(" ALTER TABLE {} RESET (autovacuum_enabled);", table.relation));
            }
            findings.push(Finding {
                key: format!("dead-rows:{}", table.relation),
                kind: "dead-rows",
                level: Level::Warning,
                title: format!("{} holds {} dead rows beside {} live ones", table.relation, table.dead, table.live),
                detail: format!("last vacuumed {}, and {}", since(table.vacuumed_s), table.why()),
                evidence: json!({ "table": table.relation, "deadRows": table.dead, "liveRows": table.live,
                                  "autovacuumFrom": table.vacuum_at, "vacuumedSeconds": table.vacuumed_s }),
                remedy: Some(remedy),
            });
        }
    }
    findings
}

/// A sequence or a key, as read by `sql/optimize/sequences.sql`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is what sql/optimize/sequences.sql says of it")]
pub struct Range {
    pub kind: String,
    pub name: String,
    pub r#type: String,
    pub used: Option<i64>,
    pub most: i64,
    pub column: Option<String>,
    pub readable: bool,
}

/// What is to be said of sequences that the role may not read: how full they are is not known, and that is not well.
pub fn hidden(ranges: &[Range], role: &str) -> Option<String> {
    let hidden: Vec<&str> = ranges.iter().filter(|range| !range.readable).map(|range| range.name.as_str()).collect();
    let first = clean(hidden.first()?);
    let role = role.replace('"', "\"\"");
    Some(format!(
        "{} sequences hide from this role how full they are, {first} first: GRANT SELECT ON SEQUENCE {first} TO \"{role}\"; \
         (or ON ALL SEQUENCES IN SCHEMA …)",
        hidden.len()
    ))
}

/// Ids that run out.
pub fn exhausted(ranges: &[Range], limits: &settings::Hygiene) -> Vec<Finding> {
    ranges
        .iter()
        .filter_map(|range| {
            let used = range.used.filter(|_| range.most > 0)?;
            let part = used as f64 / range.most as f64;
            if part <= limits.exhausted_warning {
                return None;
            }
            let critical = part > limits.exhausted_critical;
            let what = if range.kind == "key" { "key" } else { "sequence" };
            let column = range.column.as_deref().unwrap_or(&range.name);
            Some(Finding {
                key: format!("{what}-exhausted:{}", range.name),
                kind: "exhausted",
                level: if critical { Level::Critical } else { Level::Warning },
                title: format!("{what} {} has used {:.0} % of its {} range", range.name, (part * 100.0).floor(), range.r#type),
                detail: format!("at {} every insert fails; the column must become bigint before", range.most),
                evidence: json!({ "name": range.name, "column": column, "used": used, "most": range.most, "type": range.r#type }),
                remedy: Some(format!(
                    "-- rewrites the whole table under an exclusive lock: plan it (or add a bigint column, fill it in batches, and swap)\n\
                     -- ALTER TABLE … ALTER COLUMN … TYPE bigint;   -- {}",
                    clean(column)
                )),
            })
        })
        .collect()
}

/// A foreign key without an index, as read by `sql/optimize/foreign_keys.sql`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is what sql/optimize/foreign_keys.sql says of it")]
pub struct ForeignKey {
    pub name: String,
    pub relation: String,
    pub referenced: String,
    pub columns: String,
    pub rows: i64,
}

/// Foreign keys without an index.
pub fn unindexed(keys: &[ForeignKey], limits: &settings::Hygiene) -> Vec<Finding> {
    keys.iter()
        .map(|key| Finding {
            key: format!("unindexed-foreign-key:{}.{}", key.relation, key.name),
            kind: "unindexed-foreign-key",
            level: if key.rows >= i64::from(limits.table_rows) { Level::Warning } else { Level::Info },
            title: format!("no index begins with {} of the foreign key {} on {}", key.columns, key.name, key.relation),
            detail: format!("every delete in {}, and every change of its key, walks {}", key.referenced, key.relation),
            evidence: json!({ "table": key.relation, "constraint": key.name, "columns": key.columns, "rows": key.rows }),
            remedy: Some(format!("CREATE INDEX CONCURRENTLY ON {} ({});", key.relation, key.columns)),
        })
        .collect()
}

/// How large something is, and would be, packed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is what sql/optimize/bloat.sql says of it")]
pub struct Bulk {
    pub kind: String,
    pub name: String,
    pub bytes: i64,
    pub packed: Option<i64>,
}

/// Empty space.
pub fn bloated(bulks: &[Bulk], limits: &settings::Hygiene) -> Vec<Finding> {
    bulks
        .iter()
        .filter_map(|bulk| {
            let empty = bulk.bytes.checked_sub(bulk.packed.filter(|packed| *packed >= 0)?)?;
            let part = if bulk.bytes > 0 { empty as f64 / bulk.bytes as f64 } else { 0.0 };
            if empty < i64::from(limits.bloat_from_mb) * 1_048_576 || part <= limits.bloat_warning {
                return None;
            }
            let index = bulk.kind == "index";
            Some(Finding {
                key: format!("bloat:{}", bulk.name),
                kind: "bloat",
                level: Level::Info,
                title: format!(
                    "{} {} is {:.0} % empty space ({})",
                    bulk.kind,
                    bulk.name,
                    part * 100.0,
                    bytes(empty as f64)
                ),
                detail: "an estimate from the planner's statistics; what is read and cached is mostly nothing".into(),
                evidence: json!({ "name": bulk.name, "bytes": bulk.bytes, "packedBytes": bulk.packed }),
                remedy: Some(if index {
                    format!("REINDEX INDEX CONCURRENTLY {};", bulk.name)
                } else {
                    format!("-- pg_repack -t {} (VACUUM FULL would lock it for as long as it takes)", clean(&bulk.name))
                }),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table {
            relation: "public.t".into(),
            kind: "r".into(),
            rows: 10_000,
            live: 10_000,
            analyze_at: 1_050,
            vacuum_at: 2_050,
            attended: true,
            allowed: true,
            ..Table::default()
        }
    }

    #[test]
    fn statistics_are_stale_beyond_twice_what_autovacuum_acts_on_or_once_where_it_is_off() {
        let stale = |changed, attended| Table { changed, attended, ..table() }.stale();
        assert_eq!([stale(2_100, true), stale(2_101, true)], [false, true]);
        assert_eq!([stale(1_050, false), stale(1_051, false)], [false, true]);
        assert!(!Table { changed: 999, analyze_at: 50, attended: false, ..table() }.stale(), "a small table");
    }

    #[test]
    fn dead_rows_are_neglected_beyond_the_same_and_never_on_a_parent_of_partitions() {
        let neglected = |dead| Table { dead, vacuum_at: 4_000, ..table() }.neglected();
        assert_eq!([neglected(8_000), neglected(8_001)], [false, true]);
        assert!(!Table { dead: 4_999, vacuum_at: 50, attended: false, ..table() }.neglected());
        assert!(!Table { dead: 90_000, kind: "p".into(), ..table() }.neglected());
    }

    #[test]
    fn ids_run_out_beyond_seven_tenths_and_a_value_that_is_not_told_is_none() {
        let limits = settings::Hygiene::default();
        let level = |used| {
            let range = Range { kind: "sequence".into(), name: "s".into(), used, most: 1_000, ..Range::default() };
            exhausted(&[range], &limits).first().map(|finding| finding.level)
        };
        assert_eq!(
            [level(Some(700)), level(Some(701)), level(Some(900)), level(Some(901)), level(None)],
            [None, Some(Level::Warning), Some(Level::Warning), Some(Level::Critical), None]
        );
        assert!(exhausted(&[Range { used: Some(5), most: 0, ..Range::default() }], &limits).is_empty());
    }

    #[test]
    fn sequences_that_the_role_may_not_read_are_counted_and_one_never_used_is_not() {
        let range = |name: &str, readable| Range { name: name.into(), most: 1_000, readable, ..Range::default() };
        assert_eq!(hidden(&[range("public.fresh", true)], "r"), None);
        let words = hidden(&[range("public.a", true), range("public.b", false), range("public.c", false)], "odd\"role");
        let words = words.expect("two are hidden");
        assert!(words.starts_with("2 sequences hide"), "{words}");
        assert!(words.contains("GRANT SELECT ON SEQUENCE public.b TO \"odd\"\"role\""), "{words}");
    }

    #[test]
    fn empty_space_is_told_only_where_it_is_much_and_most() {
        let limits = settings::Hygiene::default();
        let of = |bytes: i64, packed| {
            bloated(&[Bulk { kind: "table".into(), name: "t".into(), bytes, packed }], &limits).len()
        };
        let mb = 1_048_576;
        assert_eq!(
            [
                of(300 * mb, Some(100 * mb)),
                of(300 * mb, Some(160 * mb)),
                of(150 * mb, Some(60 * mb)),
                of(300 * mb, None)
            ],
            [1, 0, 0, 0]
        );
        assert_eq!(of(i64::MIN, Some(i64::MAX)), 0);
    }
}
