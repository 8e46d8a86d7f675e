//! `hygiene`: indexes that are missing, invalid, duplicate, covered or unused; stale statistics and dead rows; ids and
//! keys that run out; foreign keys without an index; empty space; and how the event table grows.
//!
//! Reads the catalog and statistics views, and asks the planner (`EXPLAIN` runs nothing). Each finding has a level, what
//! it stands on, the SQL that would mend it, and a key that is the same from run to run.
//! Does (by [`crate::change::maintenance`], within the limits of `[optimize.performance.actions]`): ANALYZE of tables
//! with stale statistics; where it is switched on, VACUUM of neglected tables and the repair of invalid indexes. Never
//! creates or drops a valid index, never runs VACUUM FULL or ALTER SYSTEM.
//! Limits: schemas of hosted systems are left out (`exclude_schemas`); empty space is an estimate; that an index is
//! unused is known after a week of watching.

pub mod indexes;
pub mod lookups;
pub mod tables;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Finding, Gaps, Hand, Level, Optimization, Room, Scene, Told, check_of, settings};
use crate::change::maintenance::{self, Action, Outcome, Past};
use crate::change::plan::Severity;
use crate::database::session::{Param, Row};
use crate::database::statement::{self, Names, Template};
use crate::error::Error;
use crate::heal::{CheckResult, Status, ago};
use crate::report::model::Concern;
use crate::settings::Settings;
use indexes::{Index, Repair};
use tables::{Bulk, ForeignKey, Range, Table};

/// The room's name.
pub const NAME: &str = "hygiene";

/// Rows of the event table from which its growth is looked at.
const EVENTS_FROM: i64 = 100_000;

/// Findings of one kind that are told.
const PER_KIND: usize = 50;

/// What is proposed, and what became of it.
#[derive(Debug, Clone)]
struct Proposal {
    action: Action,
    /// `None` while it has not been tried.
    outcome: Option<Outcome>,
}

/// The room.
#[derive(Debug, Default)]
pub struct Hygiene {
    findings: Vec<Finding>,
    indexes: Vec<Index>,
    tables: Vec<Table>,
    proposals: Vec<Proposal>,
    past: Vec<Past>,
    settled: Vec<String>,
    notes: Vec<String>,
    gaps: Gaps,
    used_today: u32,
    actions: settings::Actions,
}

fn number(row: &Row, column: &str) -> Result<i64, Error> {
    Ok(row.optional_int(column)?.unwrap_or(0))
}

/// Reads rows; a statement that fails costs its own findings, and is a gap.
fn read(
    scene: &mut Scene<'_>,
    template: Template,
    names: &Names,
    params: &[Param<'_>],
    gaps: &mut Gaps,
) -> Result<Vec<Row>, Error> {
    scene.session.read()?;
    match scene.session.rows(&template.fill(names), params) {
        Ok(rows) => Ok(rows),
        Err(error) if error.stops_the_pass() => Err(error),
        Err(error) => {
            scene.session.check_stop()?;
            gaps.note("could not be read", &error);
            Ok(Vec::new())
        }
    }
}

impl Hygiene {
    fn tables(&mut self, scene: &mut Scene<'_>, excluded: &[&str]) -> Result<(), Error> {
        let maintain =
            if scene.catalog.server.version >= 170_000 { "has_table_privilege(c.oid, 'MAINTAIN')" } else { "false" };
        let names = scene.mapping.names.with("maintain", maintain);
        for row in read(scene, statement::OPTIMIZE_TABLES, &names, &[Param::Texts(excluded)], &mut self.gaps)? {
            self.tables.push(Table {
                oid: row.int("oid")?,
                relation: row.text("relation")?,
                kind: row.text("kind")?,
                rows: number(&row, "rows")?,
                pages: number(&row, "pages")?,
                live: number(&row, "live")?,
                dead: number(&row, "dead")?,
                changed: number(&row, "changed")?,
                analyzed_s: row.optional_int("analyzed_s")?,
                vacuumed_s: row.optional_int("vacuumed_s")?,
                analyze_at: number(&row, "analyze_at")?,
                vacuum_at: number(&row, "vacuum_at")?,
                attended: row.optional_bool("attended")?.unwrap_or(true),
                allowed: row.optional_bool("allowed")?.unwrap_or(false),
                seq_scans: number(&row, "seq_scans")?,
                seq_rows: number(&row, "seq_rows")?,
                idx_scans: number(&row, "idx_scans")?,
                bytes: number(&row, "bytes")?,
            });
        }
        self.findings.extend(tables::judge(&self.tables));
        Ok(())
    }

    fn indexes(&mut self, scene: &mut Scene<'_>, excluded: &[&str], limits: &settings::Hygiene) -> Result<(), Error> {
        let seen = if scene.with_schema {
            statement::OPTIMIZE_INDEX_SEEN.fill(&scene.mapping.names).sql().to_owned()
        } else {
            "SELECT NULL::bigint AS unused_s".to_owned()
        };
        let names = scene.mapping.names.with("index_seen", seen);
        for row in read(scene, statement::OPTIMIZE_INDEXES, &names, &[Param::Texts(excluded)], &mut self.gaps)? {
            self.indexes.push(Index {
                oid: row.int("oid")?,
                name: row.text("name")?,
                relation: row.text("relation")?,
                method: row.text("method")?,
                unique: row.bool("unique")?,
                constraint: row.bool("constraint")?,
                identity: row.bool("identity")?,
                valid: row.bool("valid")?,
                building: row.bool("building")?,
                keys: serde_json::from_value(row.json("keys")?).unwrap_or_default(),
                includes: serde_json::from_value(row.json("includes")?).unwrap_or_default(),
                predicate: row.optional_text("predicate")?,
                expressions: row.optional_text("expressions")?,
                for_key: row.bool("for_key")?,
                definition: row.optional_text("definition")?.unwrap_or_default(),
                bytes: number(&row, "bytes")?,
                scans: number(&row, "scans")?,
                rows: number(&row, "rows")?,
                unused_s: row.optional_int("unused_s")?,
                stats_s: row.optional_int("stats_s")?,
            });
        }
        let from = i64::from(limits.unused_from_mb) * 1_048_576;
        self.findings.extend(indexes::judge(&self.indexes, from, limits.unused_after.as_seconds()));
        Ok(())
    }

    fn others(&mut self, scene: &mut Scene<'_>, excluded: &[&str], limits: &settings::Hygiene) -> Result<(), Error> {
        let names = scene.mapping.names.clone();
        let mut ranges = Vec::new();
        for row in read(scene, statement::OPTIMIZE_SEQUENCES, &names, &[Param::Texts(excluded)], &mut self.gaps)? {
            ranges.push(Range {
                kind: row.text("kind")?,
                name: row.text("name")?,
                r#type: row.optional_text("type")?.unwrap_or_default(),
                used: row.optional_int("used")?,
                most: number(&row, "most")?,
                column: row.optional_text("column_name")?,
                readable: row.bool("readable")?,
            });
        }
        self.findings.extend(tables::exhausted(&ranges, limits));
        self.notes.extend(tables::hidden(&ranges, &scene.catalog.server.role));
        let mut keys = Vec::new();
        for row in read(scene, statement::OPTIMIZE_FOREIGN_KEYS, &names, &[Param::Texts(excluded)], &mut self.gaps)? {
            keys.push(ForeignKey {
                name: row.text("name")?,
                relation: row.text("relation")?,
                referenced: row.text("referenced")?,
                columns: row.optional_text("columns")?.unwrap_or_default(),
                rows: number(&row, "rows")?,
            });
        }
        self.findings.extend(tables::unindexed(&keys, limits));
        let mut bulks = Vec::new();
        for row in read(scene, statement::OPTIMIZE_BLOAT, &names, &[Param::Texts(excluded)], &mut self.gaps)? {
            bulks.push(Bulk {
                kind: row.text("kind")?,
                name: row.text("name")?,
                bytes: number(&row, "bytes")?,
                packed: row.optional_int("packed_bytes")?,
            });
        }
        self.findings.extend(tables::bloated(&bulks, limits));
        Ok(())
    }

    fn missing(&mut self, scene: &mut Scene<'_>, limits: &settings::Hygiene) -> Result<(), Error> {
        let names = &scene.mapping.names;
        let mut hypopg = None;
        for row in read(scene, statement::OPTIMIZE_EXTENSIONS, names, &[], &mut self.gaps)? {
            if row.text("name")? == "hypopg" {
                hypopg = Some(row.text("schema")?);
            }
        }
        let rows: BTreeMap<&str, i64> =
            self.tables.iter().map(|table| (table.relation.as_str(), table.rows.max(table.live))).collect();
        let rows_of = |quoted: &str| rows.get(quoted).copied();
        let found = lookups::missing(scene, hypopg.as_deref(), limits, &rows_of, (&mut self.notes, &mut self.gaps))?;
        self.findings.extend(found);
        Ok(())
    }

    /// How the event table grows, and how old its oldest event is.
    fn events(&mut self, scene: &mut Scene<'_>) -> Result<(), Error> {
        let Some(events) = scene.mapping.events.as_ref().filter(|events| events.readable()) else { return Ok(()) };
        let Some(table) = self.tables.iter().find(|table| table.relation == events.base) else { return Ok(()) };
        let rows = table.rows.max(table.live);
        if rows < EVENTS_FROM {
            return Ok(());
        }
        let names = &scene.mapping.names;
        let told = read(scene, statement::OPTIMIZE_EVENT_AGE, names, &[], &mut self.gaps)?;
        let Some(row) = told.first() else { return Ok(()) };
        let oldest = row.optional_int("oldest_s")?;
        let retention = &scene.settings.optimize.performance.retention;
        let Some(oldest) = oldest.filter(|oldest| *oldest > retention.keep.as_seconds()) else { return Ok(()) };
        let a_day = rows as f64 / (oldest as f64 / 86_400.0).max(1.0);
        self.findings.push(Finding {
            key: format!("event-growth:{}", events.base),
            kind: "event-growth",
            level: Level::Info,
            title: format!("{} holds {rows} events, the oldest of them {} old", events.base, ago(oldest)),
            detail: format!(
                "about {a_day:.0} come in a day and none ever leaves; [optimize.performance.retention] moves old ones away \
                 in batches, without those that ledgers, reports and alerts are made of ({})",
                if retention.enabled { "it is on" } else { "it is off" }
            ),
            evidence: json!({ "table": events.base, "rows": rows, "oldestSeconds": oldest, "rowsADay": a_day.round() }),
            remedy: None,
        });
        Ok(())
    }

    /// What healer may do itself of what it found.
    fn propose(&mut self) {
        let mut proposals = Vec::new();
        for table in self.tables.iter().filter(|table| table.stale()) {
            let before =
                json!({ "changedRows": table.changed, "rows": table.rows, "analyzedSeconds": table.analyzed_s });
            proposals.push(Action {
                kind: maintenance::Kind::Analyze,
                target: table.relation.clone(),
                reason: format!("{} rows changed since it was last analysed", table.changed),
                before,
                wanted: self.actions.analyze,
                allowed: table.allowed,
            });
        }
        for table in self.tables.iter().filter(|table| table.neglected()) {
            proposals.push(Action {
                kind: maintenance::Kind::Vacuum,
                target: table.relation.clone(),
                reason: format!("{} dead rows beside {} live ones", table.dead, table.live),
                before: json!({ "deadRows": table.dead, "liveRows": table.live, "vacuumedSeconds": table.vacuumed_s }),
                wanted: self.actions.vacuum,
                allowed: table.allowed,
            });
        }
        for (index, repair) in indexes::invalid(&self.indexes) {
            let allowed = self.tables.iter().any(|table| table.relation == index.relation && table.allowed);
            proposals.push(Action {
                kind: match repair {
                    Repair::Reindex => maintenance::Kind::Reindex,
                    Repair::Drop => maintenance::Kind::DropInvalid,
                },
                target: index.name.clone(),
                reason: "it is invalid: a concurrent build failed".into(),
                before: json!({ "valid": false, "table": index.relation, "definition": index.definition }),
                wanted: self.actions.invalid_indexes == settings::InvalidIndexes::Repair,
                allowed,
            });
        }
        self.proposals = proposals.into_iter().map(|action| Proposal { action, outcome: None }).collect();
    }

    /// Why a proposal is not carried out, if it is not.
    fn held_back(&self, place: usize) -> Option<String> {
        let action = &self.proposals.get(place)?.action;
        if !action.wanted {
            return Some(format!("switched off ({})", action.kind.setting()));
        }
        if !action.allowed {
            return Some("the role does not own the table and has no MAINTAIN on it: it would only be warned".into());
        }
        let ahead = self.proposals.iter().take(place).filter(|p| p.action.wanted && p.action.allowed).count();
        let left = self.actions.per_day.saturating_sub(self.used_today).min(self.actions.per_run);
        (ahead >= left as usize).then(|| {
            format!(
                "left for a later run: at most {} in a run and {} in 24 h",
                self.actions.per_run, self.actions.per_day
            )
        })
    }
}

impl Room for Hygiene {
    fn name(&self) -> &'static str {
        NAME
    }

    fn enabled(&self, settings: &Settings) -> bool {
        settings.optimize.performance.hygiene.enabled
    }

    fn detect(&mut self, scene: &mut Scene<'_>) -> Result<(), Error> {
        let limits = scene.settings.optimize.performance.hygiene.clone();
        self.actions = scene.settings.optimize.performance.actions.clone();
        let excluded: Vec<&str> = limits.exclude_schemas.iter().map(String::as_str).collect();
        self.tables(scene, &excluded)?;
        self.indexes(scene, &excluded, &limits)?;
        self.others(scene, &excluded, &limits)?;
        self.missing(scene, &limits)?;
        self.events(scene)?;
        if scene.with_schema {
            scene.session.read()?;
            self.past = maintenance::past(scene.session)?;
            self.used_today = maintenance::today(scene.session)?;
        }
        self.propose();
        Ok(())
    }

    fn act(&mut self, hand: &mut Hand<'_>) -> Result<(), Error> {
        self.settled = maintenance::settle(hand.session, hand.lease)?;
        let noted: Vec<Value> = self
            .indexes
            .iter()
            .filter(|index| index.valid && !index.unique)
            .map(|index| json!({ "oid": index.oid, "relation": index.name, "scans": index.scans }))
            .collect();
        hand.lease.begin_batch(hand.session)?;
        hand.session
            .rows(&statement::INDEX_SAMPLES.fill(&hand.mapping.names), &[Param::Text(&json!(noted).to_string())])?;
        hand.session.commit()?;
        for place in 0..self.proposals.len() {
            hand.session.check_stop()?;
            if self.held_back(place).is_some() || hand.left == 0 {
                continue;
            }
            hand.left -= 1;
            let Some(proposal) = self.proposals.get_mut(place) else { break };
            let mut work = maintenance::Work {
                origin: hand.origin,
                session: hand.session,
                lease: hand.lease,
                limits: &self.actions,
                check: NAME,
                pooled: hand.pooled,
            };
            proposal.outcome = Some(work.carry_out(&proposal.action)?);
        }
        Ok(())
    }

    fn tell(&self, told: &mut Told) {
        let mut by_kind: BTreeMap<&str, usize> = BTreeMap::new();
        let mut unlisted = 0_usize;
        for finding in &self.findings {
            let number = by_kind.entry(finding.kind).or_default();
            *number += 1;
            if *number > PER_KIND {
                unlisted += 1;
                continue;
            }
            told.findings.push(finding.clone());
            if finding.level >= Level::Warning {
                let step = finding.remedy.clone().unwrap_or_else(|| finding.detail.clone());
                told.concerns.push(Concern {
                    key: finding.key.clone(),
                    severity: if finding.level == Level::Critical { Severity::Critical } else { Severity::Warning },
                    title: finding.title.clone(),
                    detail: finding.detail.clone(),
                    next_step: step,
                });
            }
        }
        if unlisted > 0 {
            told.notes.push(format!("hygiene: {unlisted} more findings are not listed ({PER_KIND} of each kind are)"));
        }
        self.tell_actions(told);
        let mended = |finding: &Finding| {
            self.proposals.iter().any(|proposal| {
                finding.key.ends_with(&format!(":{}", proposal.action.target))
                    && proposal.action.kind.mends() == finding.kind
                    && matches!(proposal.outcome, Some(Outcome::Done(_)))
            })
        };
        let mut lines = Vec::new();
        for (level, status) in [(Level::Critical, Status::Critical), (Level::Warning, Status::Warning)] {
            for finding in self.findings.iter().filter(|finding| finding.level == level && !mended(finding)) {
                lines.push((status, finding.title.clone()));
            }
        }
        for line in lines.iter().take(PER_KIND) {
            let remedy = self.findings.iter().find(|finding| finding.title == line.1).and_then(|f| f.remedy.clone());
            told.recommendations.push(remedy.map_or_else(|| line.1.clone(), |remedy| format!("{}: {remedy}", line.1)));
        }
        told.checks.push(self.check(&lines));
    }
}

impl Hygiene {
    fn tell_actions(&self, told: &mut Told) {
        for (place, proposal) in self.proposals.iter().enumerate() {
            let action = &proposal.action;
            let (implemented, impact, reason) = match &proposal.outcome {
                Some(Outcome::Done(after)) => {
                    (true, format!("before: {}; after: {after}", action.before), action.reason.clone())
                }
                Some(Outcome::NotDone(why)) => {
                    told.failed += 1;
                    told.codes.push(3);
                    (false, format!("before: {}", action.before), format!("it ran and was not done: {why}"))
                }
                Some(Outcome::Failed(why)) => {
                    told.failed += 1;
                    told.codes.push(3);
                    (false, format!("before: {}", action.before), format!("it failed: {why}"))
                }
                Some(Outcome::Left(why)) => (false, format!("before: {}", action.before), why.clone()),
                None => {
                    let why = self.held_back(place).unwrap_or_else(|| action.reason.clone());
                    if action.wanted && action.allowed && !told.dry_run {
                        told.remaining += 1;
                    }
                    (false, format!("before: {}", action.before), why)
                }
            };
            told.optimizations.push(Optimization {
                r#type: action.kind.type_name(),
                description: action.sql(),
                impact,
                implemented,
                reason,
            });
        }
        for line in &self.settled {
            told.notes.push(line.clone());
        }
        // What earlier runs did, with the figure of today: whether it helped shows here.
        let past: Vec<Value> = self
            .past
            .iter()
            .map(|past| {
                let table = self.tables.iter().find(|table| table.relation == past.target);
                let index = self.indexes.iter().find(|index| index.name == past.target);
                let now = match (table, index) {
                    (Some(table), _) => {
                        json!({ "changedRows": table.changed, "deadRows": table.dead, "rows": table.rows })
                    }
                    (None, Some(index)) => json!({ "valid": index.valid }),
                    (None, None) => Value::Null,
                };
                json!({ "run": past.run, "action": past.action, "target": past.target, "ageSeconds": past.age_s,
                        "before": past.before, "after": past.after, "now": now })
            })
            .collect();
        told.parts.insert("actionsBefore".into(), json!(past));
    }

    fn check(&self, lines: &[(Status, String)]) -> CheckResult {
        let infos = self.findings.iter().filter(|finding| finding.level == Level::Info).count();
        let more = if infos > 0 { format!(", {infos} hints") } else { String::new() };
        let mut check = check_of(
            NAME,
            lines,
            format!("{} tables and {} indexes were looked at{more}", self.tables.len(), self.indexes.len()),
        );
        check.details.truncate(PER_KIND);
        check.details.extend(self.notes.iter().cloned());
        self.gaps.mark(&mut check);
        check
    }
}
