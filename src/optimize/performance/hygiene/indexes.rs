//! What is wrong with indexes: invalid, duplicate, covered by another, or used by nobody. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::super::{Finding, Level, bytes};
use crate::heal::ago;

/// An index, as read by `sql/optimize/indexes.sql`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, clippy::struct_excessive_bools, reason = "each is what sql/optimize/indexes.sql says of it")]
pub struct Index {
    pub oid: i64,
    pub name: String,
    pub relation: String,
    pub method: String,
    pub unique: bool,
    pub constraint: bool,
    pub identity: bool,
    pub valid: bool,
    pub building: bool,
    pub keys: Vec<String>,
    pub includes: Vec<i64>,
    pub predicate: Option<String>,
    pub expressions: Option<String>,
    pub for_key: bool,
    pub definition: String,
    pub bytes: i64,
    pub scans: i64,
    pub rows: i64,
    pub unused_s: Option<i64>,
    pub stats_s: Option<i64>,
}

impl Index {
    /// Whether something rests on this index itself, so that no other can take its place.
    fn needed(&self) -> bool {
        self.unique || self.constraint || self.identity
    }

    /// What two indexes must have in common to hold the same entries.
    fn entries(&self) -> (&str, &str, Option<&str>, Option<&str>) {
        (&self.relation, &self.method, self.predicate.as_deref(), self.expressions.as_deref())
    }

    fn drop(&self) -> String {
        format!("DROP INDEX CONCURRENTLY {};", self.name)
    }

    fn evidence(&self) -> serde_json::Value {
        json!({ "table": self.relation, "definition": self.definition, "bytes": self.bytes, "scans": self.scans })
    }
}

/// What `REINDEX CONCURRENTLY` calls the index that it builds, and the old one.
fn left_behind(name: &str) -> bool {
    let name = name.trim_end_matches('"').trim_end_matches(|c: char| c.is_ascii_digit());
    name.ends_with("_ccnew") || name.ends_with("_ccold")
}

/// What is to be done with an invalid index: built again, or dropped where it is what a rebuild left behind or where
/// another one holds the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Build it again.
    Reindex,
    /// Drop it.
    Drop,
}

/// The invalid indexes that nobody is building, and what is to be done with each.
pub fn invalid(indexes: &[Index]) -> Vec<(&Index, Repair)> {
    indexes
        .iter()
        .filter(|index| !index.valid && !index.building)
        .map(|index| {
            let twin = indexes.iter().any(|other| {
                other.valid
                    && other.entries() == index.entries()
                    && other.keys == index.keys
                    && other.unique == index.unique
            });
            let drop = !index.constraint && (left_behind(&index.name) || twin);
            (index, if drop { Repair::Drop } else { Repair::Reindex })
        })
        .collect()
}

fn invalid_finding(index: &Index, repair: Repair) -> Finding {
    Finding {
        key: format!("invalid-index:{}", index.name),
        kind: "invalid-index",
        level: Level::Warning,
        title: format!("index {} on {} is invalid", index.name, index.relation),
        detail: "a concurrent build failed: no query uses it, and every write keeps it up".into(),
        evidence: index.evidence(),
        remedy: Some(match repair {
            Repair::Reindex => format!("REINDEX INDEX CONCURRENTLY {};", index.name),
            Repair::Drop => index.drop(),
        }),
    }
}

/// Of two that hold the same, which stays: what something rests on, else the one more used, else the older one.
fn rank(index: &Index) -> (bool, bool, bool, i64, std::cmp::Reverse<i64>) {
    (index.constraint, index.identity, index.unique, index.scans, std::cmp::Reverse(index.oid))
}

/// Indexes that hold the same as another one, with that one.
fn duplicates(indexes: &[Index]) -> Vec<(&Index, &Index)> {
    let mut groups: BTreeMap<_, Vec<&Index>> = BTreeMap::new();
    for index in indexes.iter().filter(|index| index.valid) {
        groups.entry((index.entries(), &index.keys, &index.includes)).or_default().push(index);
    }
    let mut found = Vec::new();
    for group in groups.values_mut().filter(|group| group.len() > 1) {
        group.sort_by_key(|index| std::cmp::Reverse(rank(index)));
        let (kept, others) = (group[0], &group[1..]);
        // What a constraint or a replica identity rests on stays, however many there are; and a unique index is not
        // made redundant by one that is not.
        found.extend(
            others
                .iter()
                .filter(|other| !other.constraint && !other.identity && (!other.unique || kept.unique))
                .map(|other| (*other, kept)),
        );
    }
    found
}

/// Whether the keys of `short` are those that `long` begins with: in the same order, or all in the opposite one.
fn leads(short: &[String], long: &[String]) -> bool {
    // The last part of a key is its order: bit 0 descending, bit 1 NULLs first. Read backwards both turn.
    let turned = |key: &String| -> Option<String> {
        let (key, order) = key.rsplit_once(':')?;
        Some(format!("{key}:{}", order.parse::<u8>().ok()? ^ 3))
    };
    let same = short.iter().zip(long).all(|(a, b)| a == b);
    let opposite = short.iter().zip(long).all(|(a, b)| turned(a).as_ref() == Some(b));
    short.len() < long.len() && !short.is_empty() && (same || opposite)
}

/// B-tree indexes whose keys another one begins with, with that one.
fn covered(indexes: &[Index]) -> Vec<(&Index, &Index)> {
    indexes
        .iter()
        .filter(|index| index.valid && !index.needed() && index.method == "btree" && index.expressions.is_none())
        .filter_map(|index| {
            let by = indexes
                .iter()
                .filter(|other| {
                    other.valid
                        && other.oid != index.oid
                        && other.entries() == index.entries()
                        && leads(&index.keys, &other.keys)
                        && index.includes.iter().all(|column| {
                            other.includes.contains(column)
                                || other.keys.iter().any(|key| key.split(':').next() == Some(&column.to_string()))
                        })
                })
                .min_by_key(|other| (other.bytes, other.oid))?;
            Some((index, by))
        })
        .collect()
}

/// Indexes that nobody has used for long enough, on statistics that are old enough to say so.
fn unused(indexes: &[Index], from_bytes: i64, after_s: i64) -> Vec<&Index> {
    indexes
        .iter()
        .filter(|index| {
            index.valid
                && !index.needed()
                && !index.for_key
                && index.scans == 0
                && index.bytes >= from_bytes
                && index.unused_s.is_some_and(|unused| unused >= after_s)
                // Never reset: then healer's own time of watching is what counts.
                && index.stats_s.is_none_or(|age| age >= after_s)
        })
        .collect()
}

/// All that is wrong. An index is named once, for the gravest reason.
pub fn judge(indexes: &[Index], unused_from_bytes: i64, unused_after_s: i64) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        invalid(indexes).into_iter().map(|(index, repair)| invalid_finding(index, repair)).collect();
    let mut named: Vec<i64> = Vec::new();
    // What takes another one's place is not proposed to be dropped itself for want of use.
    let mut serving: Vec<i64> = Vec::new();
    for (index, kept) in duplicates(indexes) {
        named.push(index.oid);
        serving.push(kept.oid);
        findings.push(Finding {
            key: format!("duplicate-index:{}", index.name),
            kind: "duplicate-index",
            level: Level::Warning,
            title: format!("index {} holds the same as {}", index.name, kept.name),
            detail: format!("both are kept up with every write of {}, and one serves every query", index.relation),
            evidence: json!({ "table": index.relation, "definition": index.definition, "bytes": index.bytes,
                              "scans": index.scans, "kept": kept.name, "keptDefinition": kept.definition }),
            remedy: Some(index.drop()),
        });
    }
    let gone = named.clone();
    for (index, by) in covered(indexes) {
        if gone.contains(&index.oid) || gone.contains(&by.oid) {
            continue;
        }
        named.push(index.oid);
        serving.push(by.oid);
        findings.push(Finding {
            key: format!("covered-index:{}", index.name),
            kind: "covered-index",
            level: Level::Info,
            title: format!("index {} is covered by {}", index.name, by.name),
            detail: format!(
                "{} begins with the same columns and serves the same look-ups; this one is smaller ({} against {}), which \
                 may matter to index-only scans",
                by.name,
                bytes(index.bytes as f64),
                bytes(by.bytes as f64)
            ),
            evidence: json!({ "table": index.relation, "definition": index.definition, "bytes": index.bytes,
                              "scans": index.scans, "coveredBy": by.name, "coveredByDefinition": by.definition }),
            remedy: Some(index.drop()),
        });
    }
    for index in unused(indexes, unused_from_bytes, unused_after_s) {
        if named.contains(&index.oid) || serving.contains(&index.oid) {
            continue;
        }
        let unused = index.unused_s.unwrap_or(0);
        findings.push(Finding {
            key: format!("unused-index:{}", index.name),
            kind: "unused-index",
            level: Level::Info,
            title: format!("index {} has not been used for {}", index.name, ago(unused)),
            detail: format!(
                "it takes {} and is kept up with every write; a standby's own queries are not counted here",
                bytes(index.bytes as f64)
            ),
            evidence: json!({ "table": index.relation, "definition": index.definition, "bytes": index.bytes,
                              "scans": 0, "unusedSeconds": unused }),
            remedy: Some(index.drop()),
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WEEK: i64 = 7 * 86_400;

    fn index(oid: i64, keys: &[&str]) -> Index {
        Index {
            oid,
            name: format!("public.i{oid}"),
            relation: "public.t".into(),
            method: "btree".into(),
            valid: true,
            keys: keys.iter().map(|key| format!("{key}:1:0:0")).collect(),
            bytes: 10_000_000,
            rows: 100_000,
            scans: 5,
            ..Index::default()
        }
    }

    fn keys(indexes: &[Index]) -> Vec<String> {
        let mut keys: Vec<String> = judge(indexes, 1_048_576, WEEK).into_iter().map(|finding| finding.key).collect();
        keys.sort();
        keys
    }

    #[test]
    fn of_two_that_hold_the_same_the_less_used_one_is_named_and_of_a_constraint_never() {
        let more_used = Index { scans: 900, ..index(2, &["1"]) };
        assert_eq!(keys(&[index(1, &["1"]), more_used.clone()]), ["duplicate-index:public.i1"]);
        let constraint = Index { constraint: true, unique: true, ..index(1, &["1"]) };
        assert_eq!(keys(&[constraint.clone(), more_used]), ["duplicate-index:public.i2"]);
        assert_eq!(keys(&[constraint.clone(), Index { oid: 3, ..constraint }]), [""; 0]);
        let identity = Index { identity: true, ..index(1, &["1"]) };
        assert_eq!(keys(&[identity, Index { scans: 9_000, ..index(2, &["1"]) }]), ["duplicate-index:public.i2"]);
    }

    #[test]
    fn a_unique_index_is_not_made_redundant_by_one_that_is_not() {
        let unique = Index { unique: true, scans: 0, ..index(1, &["1"]) };
        assert_eq!(keys(&[unique, Index { scans: 900, ..index(2, &["1"]) }]), ["duplicate-index:public.i2"]);
    }

    #[test]
    fn another_predicate_order_method_or_included_column_is_another_index() {
        let one = index(1, &["1", "2"]);
        for other in [
            Index { predicate: Some("(status = 'posted'::text)".into()), ..index(2, &["1", "2"]) },
            Index { method: "hash".into(), ..index(2, &["1", "2"]) },
            Index { expressions: Some("lower(a)".into()), ..index(2, &["0", "2"]) },
            index(2, &["2", "1"]),
            Index { keys: vec!["1:1:0:0".into(), "2:1:0:3".into()], ..index(2, &[]) },
            Index { relation: "public.u".into(), ..index(2, &["1", "2"]) },
        ] {
            assert_eq!(keys(&[one.clone(), other.clone()]), [""; 0], "{other:?}");
        }
    }

    #[test]
    fn an_index_that_another_begins_with_is_covered_also_read_backwards() {
        assert_eq!(keys(&[index(1, &["1"]), index(2, &["1", "2"])]), ["covered-index:public.i1"]);
        let backwards = Index { keys: vec!["1:1:0:3".into()], ..index(1, &[]) };
        assert_eq!(keys(&[backwards, index(2, &["1", "2"])]), ["covered-index:public.i1"]);
        assert_eq!(keys(&[index(1, &["2"]), index(2, &["1", "2"])]), [""; 0]);
        assert_eq!(keys(&[Index { unique: true, ..index(1, &["1"]) }, index(2, &["1", "2"])]), [""; 0]);
        let including = Index { includes: vec![9], ..index(1, &["1"]) };
        assert_eq!(keys(&[including, index(2, &["1", "2"])]), [""; 0], "the included column is missing there");
    }

    #[test]
    fn an_invalid_index_is_built_again_and_what_a_rebuild_left_behind_is_dropped() {
        let broken = Index { valid: false, ..index(1, &["1"]) };
        let one = [broken.clone()];
        assert_eq!(invalid(&one).first().map(|(_, repair)| *repair), Some(Repair::Reindex));
        let twins = [broken.clone(), index(2, &["1"])];
        assert_eq!(invalid(&twins).first().map(|(_, repair)| *repair), Some(Repair::Drop));
        for name in ["public.i_ccnew", "public.i_ccnew12", "public.\"I_ccold\""] {
            let left = [Index { name: name.into(), ..broken.clone() }];
            assert_eq!(invalid(&left).first().map(|(_, repair)| *repair), Some(Repair::Drop), "{name}");
        }
        assert!(invalid(&[Index { building: true, ..broken }]).is_empty(), "it is being built just now");
    }

    #[test]
    fn an_unused_index_is_named_only_where_nothing_rests_on_it_and_it_was_watched_for_long_enough() {
        let idle = Index { scans: 0, unused_s: Some(WEEK), stats_s: Some(WEEK), ..index(1, &["1"]) };
        assert_eq!(keys(std::slice::from_ref(&idle)), ["unused-index:public.i1"]);
        assert_eq!(keys(&[Index { stats_s: None, ..idle.clone() }]), ["unused-index:public.i1"], "never reset");
        for innocent in [
            Index { unique: true, ..idle.clone() },
            Index { constraint: true, ..idle.clone() },
            Index { identity: true, ..idle.clone() },
            Index { for_key: true, ..idle.clone() },
            Index { scans: 1, ..idle.clone() },
            Index { bytes: 1_048_575, ..idle.clone() },
            Index { unused_s: Some(WEEK - 1), ..idle.clone() },
            Index { unused_s: None, ..idle.clone() },
            Index { stats_s: Some(WEEK - 1), ..idle.clone() },
            Index { valid: false, building: true, ..idle.clone() },
        ] {
            assert_eq!(keys(std::slice::from_ref(&innocent)), [""; 0], "{innocent:?}");
        }
    }

    proptest! {
        #[test]
        fn something_is_always_left_that_serves_what_a_dropped_index_served(
            all in prop::collection::vec((prop::collection::vec(1_u8..4, 1..4), any::<bool>(), 0_i64..3), 1..8),
        ) {
            let indexes: Vec<Index> = all
                .iter()
                .enumerate()
                .map(|(n, (columns, unique, scans))| {
                    let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
                    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
                    Index { unique: *unique, scans: *scans, ..index(i64::try_from(n).expect("few") + 1, &columns) }
                })
                .collect();
            let found = keys(&indexes);
            let dropped = |index: &&Index| found.iter().any(|key| key.ends_with(&format!(":{}", index.name)));
            for gone in indexes.iter().filter(dropped) {
                let served = indexes.iter().filter(|index| !dropped(index)).any(|left| {
                    left.keys.starts_with(&gone.keys) && (!gone.unique || (left.unique && left.keys == gone.keys))
                });
                prop_assert!(served, "{gone:?} of {indexes:?}");
            }
        }
    }
}
