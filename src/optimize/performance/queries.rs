//! `queries`: which queries take the server's time, which are slow, and to which job each probably belongs.
//!
//! Reads `pg_stat_statements` wherever it lives, by the columns that its version has; what happened since the last run
//! is the difference to the counters that were noted then (`healer.query_sample`). Counters that fell were reset, or the
//! query had been forgotten and came back: then what they show now happened since. Of a query that was not noted that is
//! so only where all were noted, or the server says that it was entered since: else it is not known, and not counted.
//! Texts are read for the few that are listed, cut, and their comments and literals masked. Without the extension it says
//! how to enable it, and shows what runs just now.
//! A walk through a large table in the plan of a costly query is told as a missing index.
//! Changes nothing; notes counters for the next run.
//! Limits: the first run tells what happened since the counters began; the job is known by its application_name, as far as
//! it was seen at work (from Postgres 14 on) or says so in a comment; a query that was forgotten and has since run more
//! often than before it was forgotten is counted too low; where the server knows more than 2,000 queries, what one of them
//! did may reach back to when it was last among the 2,000 with most time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::hygiene::lookups;
use super::{Finding, Gaps, Hand, Level, Room, Scene, Told, check_of, figure, lasting, settings, share};
use crate::change::plan::Severity;
use crate::database::session::Param;
use crate::database::statement::{self, ALL, Names, Statement};
use crate::error::Error;
use crate::heal::{CheckResult, Status};
use crate::report::model::Concern;
use crate::settings::Settings;

/// The room's name.
pub const NAME: &str = "queries";

/// Characters of a query's text that are shown.
const SHOWN: usize = 300;

/// Queries whose counters are read and noted in one run: those with most time. A server remembers 5,000 by default, of all
/// its databases.
const READ: u16 = 2_000;

/// Queries of which the last note is read: ten times what one run notes.
const REMEMBERED: u16 = 20_000;

/// Age of a note from which it is made anew although nothing ran: notes are kept for 90 days, and a query whose note is
/// gone would look like a new one.
const RENEWED_AFTER_S: i64 = 60 * 86_400;

/// Costly queries whose plans are asked for.
const EXPLAINED: usize = 20;

/// Columns of a proposed index: more rarely pay.
const INDEX_COLUMNS: usize = 3;

/// What tells one entry of `pg_stat_statements` from all others: query, role, and whether it stood alone.
pub type Key = (i64, i64, bool);

/// The counters of one query.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Counter {
    /// How often it ran.
    pub calls: i64,
    /// For how long altogether, in ms.
    pub total_ms: f64,
    /// Rows that it gave or changed.
    pub rows: i64,
    /// When it was entered, where the version tells.
    pub since: Option<DateTime<Utc>>,
}

/// The last note of one query.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Noted {
    /// Its counters then.
    pub counter: Counter,
    /// The application that was seen to run it.
    pub application: Option<String>,
    /// Whether the note is so old that it is to be made anew.
    pub due: bool,
}

/// What was noted before.
#[derive(Debug, Clone, Default)]
pub struct Before {
    /// When counters were last noted; `None` for never.
    pub at: Option<DateTime<Utc>>,
    /// The last note of each query.
    pub counters: HashMap<Key, Noted>,
    /// When `pg_stat_statements` was last reset, where it tells.
    pub reset: Option<DateTime<Utc>>,
    /// Whether all queries that there were then were noted: one that was not has been entered since.
    pub complete: bool,
}

/// What happened to one query since the last run; `None` where there was none, or where it cannot be told: the counters
/// of a query that was only not among those noted may be as old as the server. Pure.
pub fn delta(key: Key, now: &Counter, before: &Before) -> Option<Counter> {
    let at = before.at?;
    let fresh = before.reset.is_some_and(|reset| reset > at) || now.since.is_some_and(|since| since > at);
    match before.counters.get(&key) {
        Some(Noted { counter: old, .. }) if !fresh && now.calls >= old.calls && now.total_ms >= old.total_ms => {
            Some(Counter {
                calls: now.calls - old.calls,
                total_ms: now.total_ms - old.total_ms,
                rows: (now.rows - old.rows).max(0),
                since: None,
            })
        }
        Some(_) => Some(*now),
        None if fresh || before.complete => Some(*now),
        None => None,
    }
}

/// One query with what is told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Which.
    pub key: Key,
    /// The counters now.
    pub now: Counter,
    /// What is judged: since the last run, or since the counters began where there was none. Nothing where that is not
    /// known.
    pub judged: Counter,
    /// Whether its counters are to be noted although nothing ran: they never were, or so long ago that the note will go.
    pub due: bool,
    /// Whether what is judged is what happened since the last run.
    pub since: bool,
    /// Its text as it may be shown.
    pub text: Option<String>,
    /// The application that was seen to run it, or that it names in a comment.
    pub application: Option<String>,
    /// Whether it is one of healer's own.
    pub own: bool,
}

impl Query {
    fn mean(&self) -> f64 {
        if self.judged.calls > 0 { self.judged.total_ms / self.judged.calls as f64 } else { 0.0 }
    }
}

/// The figures of all queries: calls, time in ms, and how many are slow. Pure.
pub fn figures(queries: &[Query], limits: &settings::Queries) -> (i64, f64, usize) {
    let calls = queries.iter().map(|query| query.judged.calls.max(0)).sum();
    let total = queries.iter().map(|query| query.judged.total_ms.max(0.0)).sum();
    (calls, total, queries.iter().filter(|query| slow(query, limits)).count())
}

fn slow(query: &Query, limits: &settings::Queries) -> bool {
    !query.own
        && u64::try_from(query.judged.calls).unwrap_or(0) >= limits.calls.max(1)
        && query.mean() > limits.slow.0.as_secs_f64() * 1_000.0
}

/// The queries whose counters are noted: all that ran, and those that are due. Pure.
pub fn to_note(queries: &[Query]) -> impl Iterator<Item = &Query> {
    queries.iter().filter(|query| query.due || query.judged.calls > 0)
}

/// The queries to list: the first of those with most time and of those that take longest on average. Pure.
pub fn top(queries: &[Query], limits: &settings::Queries) -> Vec<usize> {
    let most = limits.top as usize;
    let ran: Vec<usize> = (0..queries.len()).filter(|place| queries[*place].judged.calls > 0).collect();
    let mut by_total = ran.clone();
    by_total.sort_by(|a, b| queries[*b].judged.total_ms.total_cmp(&queries[*a].judged.total_ms));
    let mut by_mean = ran;
    by_mean.sort_by(|a, b| queries[*b].mean().total_cmp(&queries[*a].mean()));
    let mut listed: Vec<usize> = by_total.into_iter().take(most).collect();
    for place in by_mean.into_iter().take(most) {
        if !listed.contains(&place) {
            listed.push(place);
        }
    }
    listed
}

/// The text of a query without its literals and comments: strings and numbers become `?`, a comment a blank, parameters
/// stay. Pure.
pub fn masked(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        let rest = |n: usize| chars.get(at + n).copied();
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let in_word = out.chars().last().is_some_and(word);
        match c {
            // What is quoted in a comment begins no literal, and what a person wrote there is shown to nobody.
            '-' if rest(1) == Some('-') => {
                at += chars[at..].iter().position(|c| matches!(c, '\n' | '\r')).unwrap_or(chars.len() - at);
                blank(&mut out);
            }
            '/' if rest(1) == Some('*') => {
                at = behind_comment(&chars, at);
                blank(&mut out);
            }
            '\'' => {
                // E'…' knows the backslash, where the E is no end of a name; a text that does not end is all literal.
                let mut before = out.chars().rev();
                let escapes = matches!(before.next(), Some('e' | 'E')) && !before.next().is_some_and(word);
                at = behind_string(&chars, at, escapes);
                out.push('?');
            }
            '"' => {
                out.push(c);
                at += 1;
                while at < chars.len() {
                    out.push(chars[at]);
                    at += 1;
                    if chars[at - 1] == '"' {
                        break;
                    }
                }
            }
            '$' if !in_word && !rest(1).is_some_and(|c| c.is_ascii_digit()) => {
                // $tag$ … $tag$
                let end = chars[at + 1..].iter().position(|c| *c == '$').map(|place| at + 1 + place);
                let tag = end.map(|end| &chars[at..=end]);
                match tag.filter(|tag| tag[1..tag.len() - 1].iter().all(|c| c.is_alphanumeric() || *c == '_')) {
                    Some(tag) => {
                        let body = at + tag.len();
                        let close = (body..chars.len()).find(|place| chars[*place..].starts_with(tag));
                        at = close.map_or(chars.len(), |close| close + tag.len());
                        out.push('?');
                    }
                    None => {
                        out.push(c);
                        at += 1;
                    }
                }
            }
            '$' => {
                out.push(c);
                at += 1;
                while at < chars.len() && chars[at].is_ascii_digit() {
                    out.push(chars[at]);
                    at += 1;
                }
            }
            c if c.is_ascii_digit() && !in_word => {
                while at < chars.len() && (chars[at].is_ascii_alphanumeric() || chars[at] == '.') {
                    at += 1;
                }
                out.push('?');
            }
            c if c.is_whitespace() => {
                blank(&mut out);
                at += 1;
            }
            c => {
                out.push(c);
                at += 1;
            }
        }
    }
    out
}

fn blank(out: &mut String) {
    if !out.ends_with(' ') {
        out.push(' ');
    }
}

/// Behind the comment that begins at a place, with those within it; one that does not end takes all that follows.
fn behind_comment(chars: &[char], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0_usize);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (at, depth) = (at + 2, depth + 1),
            ('*', Some('/')) if depth == 1 => return at + 2,
            ('*', Some('/')) => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    chars.len()
}

/// Behind the string whose quote stands at a place. A backslash before a quote ends it in one setting of the server and
/// not in another: where it is not known which, all that follows counts as the string, and none of it is shown.
fn behind_string(chars: &[char], quote: usize, escapes: bool) -> usize {
    let mut at = quote + 1;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('\\', _) if escapes => at += 2,
            ('\\', Some('\'')) => return chars.len(),
            ('\'', Some('\'')) => at += 2,
            ('\'', _) => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// What may be shown of a query's text: masked, then cut.
pub fn shown(text: &str) -> String {
    let text = masked(text);
    let text = text.trim();
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(SHOWN - 1).collect();
    cut.push('…');
    cut
}

/// The job that a comment of the query names: `/*job='posting'*/`, `/* application:web */`.
fn commented(text: &str) -> Option<String> {
    let start = text.find("/*")?;
    let comment = text.get(start + 2..)?.split("*/").next()?;
    ["job", "application", "controller"].into_iter().find_map(|word| {
        comment.split(',').find_map(|part| {
            let (key, value) = part.trim().split_once(['=', ':'])?;
            let value = value.trim().trim_matches('\'');
            (key.trim() == word && !value.is_empty()).then(|| value.chars().take(100).collect())
        })
    })
}

/// Whether a text is that of one of healer's own statements: it begins as one of them does.
fn own(text: &str) -> bool {
    // Up to the first literal, parameter or placeholder both are the same.
    let plain = |text: &str| -> String {
        text.lines()
            .filter(|line| !line.trim_start().starts_with("--"))
            .flat_map(str::chars)
            .filter(|c| !c.is_whitespace())
            .take_while(|c| !matches!(c, '{' | '$' | '\'') && !c.is_ascii_digit())
            .take(80)
            .collect()
    };
    let text = plain(text);
    // Shorter ones begin as many statements do.
    ALL.iter().map(|template| plain(template.text)).any(|known| known.len() >= 25 && text.starts_with(&known))
}

/// Columns that a plan's condition compares, with whether it is for equality. Pure.
pub fn compared(filter: &str, columns: &BTreeSet<String>) -> Vec<(String, bool)> {
    let mut found: Vec<(String, bool)> = Vec::new();
    let pattern = regex::Regex::new(r#"\(*"?([a-zA-Z_][a-zA-Z0-9_$]*)"?\)*(?:::[a-z ]+)?\)* (=|<=|>=|<|>|IS NULL|~~)"#);
    let Ok(pattern) = pattern else { return found };
    // Alternatives are not served by one index.
    if filter.contains(" OR ") {
        return found;
    }
    for hit in pattern.captures_iter(filter) {
        let (Some(column), Some(operator)) = (hit.get(1), hit.get(2)) else { continue };
        let equal = matches!(operator.as_str(), "=" | "IS NULL");
        let name = column.as_str().to_owned();
        if operator.as_str() != "~~" && columns.contains(&name) && !found.iter().any(|(known, _)| *known == name) {
            found.push((name, equal));
        }
    }
    // Equal ones first, then one range: that is as far as a B-tree narrows a look-up.
    found.sort_by_key(|(_, equal)| !equal);
    let equals = found.iter().filter(|(_, equal)| *equal).count();
    found.truncate((equals + 1).min(INDEX_COLUMNS));
    found
}

/// One session at work.
#[derive(Debug, Clone, PartialEq)]
struct Running {
    application: String,
    state: Option<String>,
    query_id: Option<i64>,
    age_ms: Option<f64>,
    query: Option<String>,
}

/// The room.
#[derive(Debug, Default)]
pub struct Queries {
    /// Why there are no counters; `None` where there are.
    without: Option<(String, String)>,
    all: Vec<Query>,
    listed: Vec<usize>,
    first: bool,
    hidden: usize,
    /// Whether all queries of the database were read, each with its counters.
    complete: bool,
    /// Whether what was read was noted.
    noted: bool,
    running: Vec<Running>,
    unseen: usize,
    findings: Vec<Finding>,
    gaps: Gaps,
    limits: settings::Queries,
}

/// Where `pg_stat_statements` lives and what it has.
struct Extension {
    schema: String,
    version: String,
    columns: BTreeSet<String>,
}

impl Extension {
    fn names(&self, scene: &Scene<'_>) -> Names {
        let has = |name: &str| self.columns.contains(name);
        scene
            .mapping
            .names
            .with("statements", format!("{}.pg_stat_statements", self.schema))
            .with("info", format!("{}.pg_stat_statements_info", self.schema))
            .with("total", if has("total_exec_time") { "total_exec_time" } else { "total_time" })
            .with("toplevel", if has("toplevel") { "s.toplevel" } else { "true" })
            .with("since", if has("stats_since") { "s.stats_since" } else { "NULL::timestamptz" })
    }
}

impl Queries {
    fn extension(scene: &mut Scene<'_>) -> Result<(Option<Extension>, Option<String>), Error> {
        scene.session.read()?;
        let (mut found, mut hypopg) = (None, None);
        for row in scene.session.rows(&statement::OPTIMIZE_EXTENSIONS.fill(&scene.mapping.names), &[])? {
            let schema = row.text("schema")?;
            if row.text("name")? == "hypopg" {
                hypopg = Some(schema);
            } else {
                let columns = serde_json::from_value(row.json("columns")?).unwrap_or_default();
                found = Some(Extension { schema, version: row.optional_text("version")?.unwrap_or_default(), columns });
            }
        }
        Ok((found, hypopg))
    }

    /// What runs just now.
    fn activity(&mut self, scene: &mut Scene<'_>) -> Result<(), Error> {
        scene.session.read()?;
        for row in scene.session.rows(&statement::OPTIMIZE_ACTIVITY.fill(&scene.mapping.names), &[])? {
            let query = row.optional_text("query")?;
            if query.is_none() {
                self.unseen += 1;
            }
            self.running.push(Running {
                application: row.optional_text("application")?.unwrap_or_default(),
                state: row.optional_text("state")?,
                query_id: row.optional_int("query_id")?,
                age_ms: row.optional_float("age_ms")?,
                query,
            });
        }
        Ok(())
    }

    /// How to enable the extension.
    fn how(scene: &mut Scene<'_>) -> Result<(String, String), Error> {
        scene.session.read()?;
        let row = scene.session.row(&statement::OPTIMIZE_PRELOAD.fill(&scene.mapping.names), &[])?;
        let create = "CREATE EXTENSION pg_stat_statements;";
        Ok(match (row.optional_bool("preloaded")?, row.bool("available")?) {
            (_, false) => (
                "the server does not have pg_stat_statements".into(),
                "install the server's contrib package, set shared_preload_libraries = 'pg_stat_statements', restart, CREATE EXTENSION".into(),
            ),
            (Some(true), true) => ("pg_stat_statements is loaded and not created here".into(), create.into()),
            (Some(false), true) => (
                "pg_stat_statements is not loaded".into(),
                format!("set shared_preload_libraries = 'pg_stat_statements', restart the server, then {create}"),
            ),
            (None, true) => (
                "pg_stat_statements is not created here".into(),
                format!("{create} (and shared_preload_libraries = 'pg_stat_statements', where the server does not load it)"),
            ),
        })
    }

    fn before(&mut self, scene: &mut Scene<'_>, extension: &Extension, names: &Names) -> Result<Before, Error> {
        let mut before = Before::default();
        if scene.with_schema {
            let when = scene.session.row(&statement::OPTIMIZE_STATEMENTS_WHEN.fill(names), &[])?;
            before.at = when.optional_time("at")?;
            let most = [Param::Int(i64::from(REMEMBERED))];
            let rows = scene.session.rows(&statement::OPTIMIZE_STATEMENTS_BEFORE.fill(names), &most)?;
            before.complete = when.bool("complete")? && rows.len() < usize::from(REMEMBERED);
            for row in rows {
                let key = (row.int("query_id")?, row.int("user_id")?, row.bool("toplevel")?);
                let counter = Counter {
                    calls: row.int("calls")?,
                    total_ms: row.optional_float("total_ms")?.unwrap_or(0.0),
                    rows: row.int("rows")?,
                    since: None,
                };
                let due = row.int("age_s")? > RENEWED_AFTER_S;
                before.counters.insert(key, Noted { counter, application: row.optional_text("application")?, due });
            }
        }
        // The view that tells of resets came with the function's fifth column name: asked for only where it is.
        if extension.columns.contains("toplevel") {
            match scene.session.row(&statement::OPTIMIZE_STATEMENTS_RESET.fill(names), &[]) {
                Ok(row) => before.reset = row.optional_time("stats_reset")?,
                Err(error) if error.stops_the_pass() => return Err(error),
                Err(error) => {
                    scene.session.check_stop()?;
                    self.gaps.note("when the counters were reset is not known", &error);
                    scene.session.read()?;
                }
            }
        }
        Ok(before)
    }

    fn count(&mut self, scene: &mut Scene<'_>, extension: &Extension) -> Result<(), Error> {
        let names = extension.names(scene);
        scene.session.read()?;
        let before = self.before(scene, extension, &names)?;
        self.first = before.at.is_none();
        scene.session.read()?;
        let most = [Param::Int(i64::from(READ))];
        let rows = scene.session.rows(&statement::OPTIMIZE_STATEMENTS.fill(&names), &most)?;
        let mut seen: HashMap<i64, String> = HashMap::new();
        for running in &self.running {
            if let Some(id) = running.query_id.filter(|_| !running.application.is_empty()) {
                seen.insert(id, running.application.clone());
            }
        }
        for row in &rows {
            let (Some(query), Some(user)) = (row.optional_int("query_id")?, row.optional_int("user_id")?) else {
                self.hidden += 1;
                continue;
            };
            let key = (query, user, row.optional_bool("toplevel")?.unwrap_or(true));
            let now = Counter {
                calls: row.optional_int("calls")?.unwrap_or(0),
                total_ms: row.optional_float("total_ms")?.filter(|ms| ms.is_finite()).unwrap_or(0.0),
                rows: row.optional_int("rows")?.unwrap_or(0),
                since: row.optional_time("since")?,
            };
            let delta = delta(key, &now, &before);
            let judged = delta.unwrap_or(if self.first { now } else { Counter::default() });
            let noted = before.counters.get(&key);
            let application = seen.get(&query).cloned().or_else(|| noted?.application.clone());
            let due = noted.is_none_or(|noted| noted.due);
            self.all.push(Query { key, now, judged, due, since: delta.is_some(), text: None, application, own: false });
        }
        self.complete = rows.len() < usize::from(READ) && self.hidden == 0;
        Ok(())
    }

    fn texts(&mut self, scene: &mut Scene<'_>, names: &Names) -> Result<HashMap<Key, String>, Error> {
        let mut whole = HashMap::new();
        self.listed = top(&self.all, &self.limits);
        let ids: Vec<i64> =
            self.listed.iter().filter_map(|place| self.all.get(*place)).map(|query| query.key.0).collect();
        if ids.is_empty() {
            return Ok(whole);
        }
        scene.session.read()?;
        let rows = scene.session.rows(&statement::OPTIMIZE_STATEMENT_TEXTS.fill(names), &[Param::Ints(&ids)])?;
        for row in &rows {
            let (Some(id), Some(user), Some(text)) =
                (row.optional_int("query_id")?, row.optional_int("user_id")?, row.optional_text("query")?)
            else {
                continue;
            };
            if text == "<insufficient privilege>" {
                continue;
            }
            let complete = row.optional_int("length")?.is_some_and(|length| length <= 10_000);
            for query in self.all.iter_mut().filter(|query| query.key.0 == id && query.key.1 == user) {
                query.own = own(&text);
                query.text = Some(shown(&text));
                if query.application.is_none() {
                    query.application = commented(&text);
                }
                if complete && !query.own {
                    whole.insert(query.key, text.clone());
                }
            }
        }
        Ok(whole)
    }

    /// Missing indexes, by the plans of the costliest queries.
    fn plans(
        &mut self,
        scene: &mut Scene<'_>,
        whole: &HashMap<Key, String>,
        hypopg: Option<&str>,
    ) -> Result<(), Error> {
        let limits = scene.settings.optimize.performance.hygiene.clone();
        let all: f64 = self.all.iter().map(|query| query.judged.total_ms.max(0.0)).sum();
        let mut tables: BTreeMap<String, Option<(String, i64, BTreeSet<String>)>> = BTreeMap::new();
        let places: Vec<usize> = self.listed.iter().copied().take(EXPLAINED).collect();
        for place in places {
            let Some(query) = self.all.get(place).cloned() else { continue };
            let Some(text) = whole.get(&query.key).filter(|text| explainable(text)) else { continue };
            let plan = match explain(scene, text) {
                Ok(Some(plan)) => plan,
                Ok(None) => continue,
                Err(error) if error.stops_the_pass() => return Err(error),
                Err(error) => {
                    log::debug!(target: "healer", "a query could not be explained: {error}");
                    scene.session.check_stop()?;
                    // Many a query cannot be explained by this role or outside its session; what only took too long can.
                    if matches!(error.sqlstate(), Some("57014" | "55P03")) {
                        self.gaps.note("the plan of a query could not be asked for", &error);
                    }
                    continue;
                }
            };
            for walk in lookups::walks(&plan) {
                let Some(filter) = walk.filter.clone() else { continue };
                if !tables.contains_key(&walk.table) {
                    let found = columns_of(scene, &walk.table)?;
                    tables.insert(walk.table.clone(), found);
                }
                let Some(Some((quoted, rows, columns))) = tables.get(&walk.table) else { continue };
                if *rows < i64::from(limits.table_rows) || !lookups::few(walk.wanted, *rows) {
                    continue;
                }
                let wanted = compared(&filter, columns);
                if wanted.is_empty() {
                    continue;
                }
                let list = wanted.iter().map(|(name, _)| quote(name)).collect::<Vec<_>>().join(", ");
                let create = format!("CREATE INDEX ON {quoted} ({list})");
                let before = lookups::cost(&plan);
                let after = match (hypopg, scene.catalog.server.version >= 160_000) {
                    (Some(schema), true) => lookups::pretend(
                        scene,
                        schema,
                        &create,
                        &Statement::fixed("optimize/generic_plan", generic(text)),
                    )?,
                    _ => None,
                };
                if !lookups::gains(before, after) {
                    continue;
                }
                let key = format!("missing-index:{quoted}({list})");
                if self.findings.iter().any(|finding| finding.key == key) {
                    continue;
                }
                self.findings.push(Finding {
                    key,
                    kind: "missing-index",
                    level: Level::Warning,
                    title: format!("no index serves a query on {quoted} ({list})"),
                    detail: format!(
                        "it ran {} times, {} each, and walks all {rows} rows for about {:.0} of them",
                        query.judged.calls,
                        lasting(query.mean()),
                        walk.wanted
                    ),
                    evidence: json!({
                        "table": quoted, "query": query.text, "calls": query.judged.calls, "totalMs": figure(Some(query.judged.total_ms)),
                        "shareOfTime": share((all > 0.0).then(|| query.judged.total_ms / all)), "rows": rows, "wantedRows": walk.wanted,
                        "cost": before, "costWithIndex": after, "verifiedBy": if after.is_some() { "HypoPG" } else { "EXPLAIN" },
                    }),
                    remedy: Some(format!("CREATE INDEX CONCURRENTLY ON {quoted} ({list});")),
                });
            }
        }
        Ok(())
    }
}

/// Names as SQL writes them: healer reads them from a plan, where they stand unquoted.
fn quote(name: &str) -> String {
    if name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// Whether a text is one that the planner can be asked about: it reads or changes rows, and is one statement.
fn explainable(text: &str) -> bool {
    let begin: String = text.trim_start().chars().take(6).collect::<String>().to_lowercase();
    (matches!(begin.as_str(), "select" | "update" | "delete") || begin.starts_with("with"))
        && !text.trim_end().trim_end_matches(';').contains(';')
}

fn generic(text: &str) -> String {
    format!("EXPLAIN (GENERIC_PLAN, FORMAT JSON) {text}")
}

/// Parameters that a text has.
fn parameters(text: &str) -> usize {
    let mut most = 0;
    for (place, _) in text.match_indices('$') {
        let digits: String = text[place + 1..].chars().take_while(char::is_ascii_digit).collect();
        most = most.max(digits.parse::<usize>().unwrap_or(0));
    }
    most
}

/// The plan that serves all values of the parameters; `None` where it cannot be asked for here.
pub fn explain(scene: &mut Scene<'_>, text: &str) -> Result<Option<Value>, Error> {
    const NAME: &str = "healer_generic_plan";
    scene.session.read()?;
    if scene.catalog.server.version >= 160_000 {
        let row = scene.session.row(&Statement::fixed("optimize/generic_plan", generic(text)), &[])?;
        return Ok(Some(row.json("QUERY PLAN")?));
    }
    // Before 16 a prepared statement is needed, which a pooler would hand on to somebody else.
    let number = parameters(text);
    if scene.pooled || number > 100 {
        return Ok(None);
    }
    scene
        .session
        .rows(&Statement::fixed("optimize/plan_mode", "SET LOCAL plan_cache_mode = force_generic_plan"), &[])?;
    scene.session.rows(&Statement::fixed("optimize/prepare", format!("PREPARE {NAME} AS {text}")), &[])?;
    let values = vec!["NULL"; number].join(", ");
    let values = if values.is_empty() { values } else { format!("({values})") };
    let plan = scene
        .session
        .row(&Statement::fixed("optimize/generic_plan", format!("EXPLAIN (FORMAT JSON) EXECUTE {NAME}{values}")), &[])
        .and_then(|row| row.json("QUERY PLAN"));
    // A prepared statement outlives an error and its transaction.
    scene.session.read()?;
    scene.session.rows(&Statement::fixed("optimize/deallocate", format!("DEALLOCATE {NAME}")), &[])?;
    plan.map(Some)
}

/// The plan of a query by its id, for any values of its parameters; `None` where its text is not known or it has none.
pub fn plan_of(scene: &mut Scene<'_>, query_id: i64) -> Result<Option<Value>, Error> {
    let (Some(extension), _) = Queries::extension(scene)? else { return Ok(None) };
    let names = extension.names(scene);
    scene.session.read()?;
    let rows = scene.session.rows(&statement::OPTIMIZE_STATEMENT_TEXTS.fill(&names), &[Param::Ints(&[query_id])])?;
    let Some(row) = rows.first() else { return Ok(None) };
    let complete = row.optional_int("length")?.is_some_and(|length| length <= 10_000);
    match row.optional_text("query")? {
        Some(text) if complete && explainable(&text) => explain(scene, &text),
        _ => Ok(None),
    }
}

/// The one table of this name that is looked at: quoted, its rows, its columns; `None` where there is none or several.
fn columns_of(scene: &mut Scene<'_>, table: &str) -> Result<Option<(String, i64, BTreeSet<String>)>, Error> {
    let excluded: Vec<&str> =
        scene.settings.optimize.performance.hygiene.exclude_schemas.iter().map(String::as_str).collect();
    scene.session.read()?;
    let rows = scene.session.rows(
        &statement::OPTIMIZE_TABLE_COLUMNS.fill(&scene.mapping.names),
        &[Param::Text(table), Param::Texts(&excluded)],
    )?;
    let [row] = rows.as_slice() else { return Ok(None) };
    let columns = serde_json::from_value(row.json("columns")?).unwrap_or_default();
    Ok(Some((row.text("relation")?, row.int("rows")?, columns)))
}

impl Room for Queries {
    fn name(&self) -> &'static str {
        NAME
    }

    fn enabled(&self, settings: &Settings) -> bool {
        settings.optimize.performance.queries.enabled
    }

    fn detect(&mut self, scene: &mut Scene<'_>) -> Result<(), Error> {
        self.limits = scene.settings.optimize.performance.queries.clone();
        self.activity(scene)?;
        let (extension, hypopg) = Self::extension(scene)?;
        let Some(extension) = extension else {
            self.without = Some(Self::how(scene)?);
            return Ok(());
        };
        match self.count(scene, &extension) {
            Ok(()) => {}
            Err(error) if error.stops_the_pass() => return Err(error),
            // 55000: created, and the library is not loaded.
            Err(error) if error.sqlstate() == Some("55000") => {
                self.without = Some((
                    format!("pg_stat_statements {} is created and not loaded", extension.version),
                    "set shared_preload_libraries = 'pg_stat_statements' and restart the server".into(),
                ));
                return Ok(());
            }
            Err(error) if error.sqlstate() == Some("42501") => {
                self.without = Some((
                    format!("the role may not read pg_stat_statements: {error}"),
                    format!("GRANT pg_read_all_stats TO \"{}\";", scene.catalog.server.role),
                ));
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let names = extension.names(scene);
        let whole = self.texts(scene, &names)?;
        self.plans(scene, &whole, hypopg.as_deref())
    }

    fn act(&mut self, hand: &mut Hand<'_>) -> Result<(), Error> {
        let list: Vec<Value> = to_note(&self.all)
            .map(|query| {
                let delta = query.since.then_some(query.judged);
                json!({
                    "user_id": query.key.1, "query_id": query.key.0, "toplevel": query.key.2, "calls": query.now.calls,
                    "total_ms": query.now.total_ms, "rows": query.now.rows, "delta_calls": delta.map(|delta| delta.calls),
                    "delta_ms": delta.map(|delta| delta.total_ms), "application": query.application, "query": query.text,
                })
            })
            .collect();
        if !list.is_empty() {
            hand.lease.begin_batch(hand.session)?;
            let text = crate::pass::storable(&json!(list));
            hand.session.rows(&statement::QUERY_SAMPLES.fill(&hand.mapping.names), &[Param::Text(&text)])?;
            hand.session.commit()?;
        }
        self.noted = true;
        Ok(())
    }

    fn tell(&self, told: &mut Told) {
        let known = self.without.is_none() && self.is_known();
        let (calls, total, slow_ones) = figures(&self.all, &self.limits);
        let mean = (calls > 0).then(|| total / calls as f64);
        let since = if self.first { "since the counters began" } else { "since the last run" };
        told.metric("databaseQueries", "slowQueries", if known { json!(slow_ones) } else { Value::Null });
        told.metric("databaseQueries", "avgQueryTime", figure(mean.filter(|_| known)));
        told.metric("databaseQueries", "totalQueries", if known { json!(calls) } else { Value::Null });
        told.metric("databaseQueries", "span", if known { json!(since) } else { Value::Null });
        let list: Vec<Value> = self
            .listed
            .iter()
            .filter_map(|place| self.all.get(*place))
            .map(|query| {
                json!({
                    "queryId": query.key.0.to_string(), "query": query.text, "calls": query.judged.calls,
                    "totalMs": figure(Some(query.judged.total_ms)), "meanMs": figure(Some(query.mean())),
                    "rows": query.judged.rows, "shareOfTime": share((total > 0.0).then(|| query.judged.total_ms / total)),
                    "job": query.application, "slow": slow(query, &self.limits), "own": query.own,
                })
            })
            .collect();
        let running: Vec<Value> = self
            .running
            .iter()
            .filter(|running| running.state.as_deref() == Some("active"))
            .take(self.limits.top as usize)
            .map(|running| {
                json!({ "job": running.application, "ageMs": figure(running.age_ms), "query": running.query.as_deref().map(shown) })
            })
            .collect();
        // What the next run asks: whether one that it does not find among the notes is new.
        let complete = self.complete && self.noted;
        let source = if self.without.is_none() { "pg_stat_statements" } else { "pg_stat_activity" };
        told.parts.insert(
            "queries".into(),
            json!({ "source": source, "span": since, "complete": complete, "top": list, "running": running }),
        );
        told.findings.extend(self.findings.iter().cloned());
        let mut lines = Vec::new();
        for place in &self.listed {
            let Some(query) = self.all.get(*place).filter(|query| slow(query, &self.limits)) else { continue };
            let text = query.text.clone().unwrap_or_else(|| format!("query {}", query.key.0));
            let job = query.application.as_ref().map(|job| format!(" (of {job})")).unwrap_or_default();
            let line = format!("{} times {}{job}: {text}", query.judged.calls, lasting(query.mean()));
            told.concerns.push(Concern {
                key: format!("slow-query:{}", query.key.0),
                severity: Severity::Warning,
                title: format!("a query takes {} on average{job}", lasting(query.mean())),
                detail: line.clone(),
                next_step: "EXPLAIN (ANALYZE, BUFFERS) it, and see what index or condition it lacks".into(),
            });
            lines.push((Status::Warning, line));
        }
        for finding in &self.findings {
            let remedy = finding.remedy.clone().unwrap_or_default();
            told.recommendations.push(format!("{}: {remedy}", finding.title));
            told.concerns.push(Concern {
                key: finding.key.clone(),
                severity: Severity::Warning,
                title: finding.title.clone(),
                detail: finding.detail.clone(),
                next_step: remedy,
            });
            lines.push((Status::Warning, finding.title.clone()));
        }
        if slow_ones > 0 {
            told.recommendations.push(format!(
                "{slow_ones} queries take longer than {} on average {since}: EXPLAIN the first ones of `queries.top`",
                lasting(self.limits.slow.0.as_secs_f64() * 1_000.0)
            ));
        }
        told.checks.push(self.check(&lines, calls, mean, since));
    }
}

impl Queries {
    /// Whether what any query did is known.
    fn is_known(&self) -> bool {
        self.all.iter().any(|query| self.first || query.since)
    }

    fn check(&self, lines: &[(Status, String)], calls: i64, mean: Option<f64>, since: &str) -> CheckResult {
        let mut check = if let Some((why, how)) = &self.without {
            CheckResult::unknown(NAME, why.clone(), how)
        } else if self.all.is_empty() && self.hidden > 0 {
            CheckResult::unknown(
                NAME,
                format!("the server hides all {} queries from this role", self.hidden),
                "GRANT pg_read_all_stats to it",
            )
        } else if self.all.is_empty() {
            CheckResult::unknown(NAME, "no data: pg_stat_statements has counted no query yet", "")
        } else if !self.is_known() {
            CheckResult::unknown(NAME, "no data: of no query it is known what it did since the last run", "")
        } else {
            let mean = mean.map(|mean| format!(", {} each on average", lasting(mean))).unwrap_or_default();
            check_of(NAME, lines, format!("{calls} calls {since}{mean}"))
        };
        if self.hidden > 0 && !self.all.is_empty() {
            check
                .details
                .push(format!("{} queries of other roles are hidden: GRANT pg_read_all_stats shows them", self.hidden));
        }
        let active = self.running.iter().filter(|running| running.state.as_deref() == Some("active")).count();
        if self.without.is_some() {
            check.details.push(format!("{active} other sessions are at work just now"));
            for running in self.running.iter().filter(|running| running.state.as_deref() == Some("active")).take(5) {
                let query = running.query.as_deref().map_or_else(|| "hidden".into(), shown);
                check.details.push(format!(
                    "{}, {}: {query}",
                    running.application,
                    lasting(running.age_ms.unwrap_or(0.0))
                ));
            }
        }
        if self.unseen > 0 {
            check.details.push(format!(
                "what {} sessions of other roles run is hidden: GRANT pg_read_all_stats shows it",
                self.unseen
            ));
        }
        let unknown = self.all.iter().filter(|query| !self.first && !query.since).count();
        if unknown > 0 {
            check.details.push(format!(
                "{unknown} queries were not among those noted last time: what they did since is not known and not counted"
            ));
        }
        self.gaps.mark(&mut check);
        check
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: Key = (7, 10, true);

    fn counter(calls: i64, total_ms: f64) -> Counter {
        Counter { calls, total_ms, ..Counter::default() }
    }

    fn before(counter: Option<Counter>) -> Before {
        Before {
            at: DateTime::from_timestamp(1_000, 0),
            counters: counter.into_iter().map(|counter| (KEY, Noted { counter, ..Noted::default() })).collect(),
            reset: None,
            complete: true,
        }
    }

    #[test]
    fn what_happened_since_is_the_difference_and_after_a_reset_what_there_is_now() {
        let of = |now, before: &Before| delta(KEY, &now, before).map(|delta| (delta.calls, delta.total_ms));
        let noted = before(Some(counter(10, 500.0)));
        assert_eq!(of(counter(12, 800.0), &noted), Some((2, 300.0)));
        assert_eq!(of(counter(3, 90.0), &noted), Some((3, 90.0)), "evicted and entered again");
        assert_eq!(of(counter(10, 500.0), &noted), Some((0, 0.0)));
        assert_eq!(of(counter(3, 90.0), &before(None)), Some((3, 90.0)), "new since");
        assert_eq!(of(counter(3, 90.0), &Before::default()), None, "the first run");
        let reset = Before { reset: DateTime::from_timestamp(2_000, 0), ..noted.clone() };
        assert_eq!(of(counter(12, 800.0), &reset), Some((12, 800.0)));
        let entered = Counter { since: DateTime::from_timestamp(2_000, 0), ..counter(12, 800.0) };
        assert_eq!(of(entered, &noted), Some((12, 800.0)));
    }

    #[test]
    fn the_counters_of_a_query_that_was_only_not_noted_are_not_taken_for_what_happened_since() {
        let part = Before { complete: false, ..before(None) };
        assert_eq!(delta(KEY, &counter(1_000_000, 9e9), &part), None, "it may be as old as the server");
        let entered = Counter { since: DateTime::from_timestamp(2_000, 0), ..counter(3, 90.0) };
        assert_eq!(delta(KEY, &entered, &part).map(|delta| delta.calls), Some(3), "the server says since when");
        let reset = Before { reset: DateTime::from_timestamp(2_000, 0), ..part.clone() };
        assert_eq!(delta(KEY, &counter(3, 90.0), &reset).map(|delta| delta.calls), Some(3));
        let noted = Before { complete: false, ..before(Some(counter(10, 500.0))) };
        assert_eq!(delta(KEY, &counter(12, 800.0), &noted).map(|delta| delta.calls), Some(2), "noted is noted");
    }

    #[test]
    fn all_that_was_read_is_noted_and_of_those_noted_before_only_what_ran_or_is_due() {
        let query = |calls, due| Query {
            key: KEY,
            now: counter(9, 9.0),
            judged: counter(calls, 1.0),
            due,
            since: true,
            text: None,
            application: None,
            own: false,
        };
        let first: Vec<Query> = (0..READ).map(|_| query(1, true)).collect();
        assert_eq!(to_note(&first).count(), first.len());
        let later = [query(0, false), query(2, false), query(0, true)];
        let places: Vec<bool> = to_note(&later).map(|query| query.due).collect();
        assert_eq!(places, [false, true]);
    }

    #[test]
    fn literals_are_masked_and_names_parameters_and_structure_stay() {
        for (text, becomes) in [
            (
                "SELECT * FROM t WHERE a = 'it''s' AND b = $1 AND c > 17.5",
                "SELECT * FROM t WHERE a = ? AND b = $1 AND c > ?",
            ),
            ("SELECT E'a\\'b', t2.x1 FROM t2", "SELECT E?, t2.x1 FROM t2"),
            ("SELECT $$secret$$, $q$a $$ b$q$ FROM x", "SELECT ?, ? FROM x"),
            ("ALTER ROLE x PASSWORD 'hunter2", "ALTER ROLE x PASSWORD ?"),
            ("SELECT \"od'd 1\" ,\n\t 0x1F", "SELECT \"od'd 1\" , ?"),
            ("SELECT '' , 'x'", "SELECT ? , ?"),
            ("SELECT E'a\\\\', 'b'", "SELECT E?, ?"),
            // A name that ends in e, right before a string, makes no E'…' of it.
            ("SELECT date'a\\', note FROM t WHERE x = 'bob@x.org'", "SELECT date?"),
        ] {
            assert_eq!(masked(text), becomes);
        }
    }

    #[test]
    fn a_comment_is_a_blank_and_a_quote_in_it_begins_nothing() {
        for (text, becomes) in [
            ("/* don't */ UPDATE users SET email = 'bob@x.org'", "UPDATE users SET email = ?"),
            ("SELECT a -- it's bob@x.org\nFROM t WHERE b = 'c'", "SELECT a FROM t WHERE b = ?"),
            ("SELECT 1 /* a /* b's */ c's */ + 'd'", "SELECT ? + ?"),
            ("SELECT '/* no comment */', '-- none'", "SELECT ?, ?"),
            ("SELECT a/**/b, c - -1", "SELECT a b, c - -?"),
            ("SELECT $$/* $$, \"--\" FROM t", "SELECT ?, \"--\" FROM t"),
            ("SELECT 1 /* cut off with bob@x.org", "SELECT ?"),
            ("SELECT 1 -- the end's", "SELECT ?"),
        ] {
            assert_eq!(shown(text), becomes, "{text}");
        }
    }

    #[test]
    fn where_it_is_not_known_what_a_backslash_means_nothing_that_follows_is_shown() {
        assert_eq!(masked("SELECT 'it\\'s bob@x.org', 'c'"), "SELECT ?");
    }

    #[test]
    fn a_comment_names_the_job() {
        assert_eq!(commented("SELECT 1 /*job='posting',route='x'*/").as_deref(), Some("posting"));
        assert_eq!(commented("/* application:web */ SELECT 1").as_deref(), Some("web"));
        assert_eq!(commented("SELECT 1 /* because */"), None);
        assert_eq!(commented("SELECT 1 /* "), None);
    }

    #[test]
    fn healers_own_statements_are_known_and_others_are_not() {
        assert!(own(statement::OPTIMIZE_TABLES.text));
        assert!(!own("SELECT count(*) FROM content_metadata WHERE status = $1"));
        assert!(!own("SELECT 1"));
    }

    #[test]
    fn the_columns_of_a_condition_are_those_of_the_table_equal_ones_first_and_one_range() {
        let columns: BTreeSet<String> =
            ["status", "generator_name", "created_at", "posted_at"].map(String::from).into();
        let of = |filter: &str| compared(filter, &columns).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(of("((created_at > $2) AND (generator_name = $1))"), ["generator_name", "created_at"]);
        assert_eq!(of("((generator_name)::text = $1)"), ["generator_name"]);
        assert_eq!(of("((created_at > $1) AND (posted_at < $2))").len(), 1);
        assert_eq!(of("((status = 'a'::text) OR (generator_name = $1))"), [""; 0]);
        assert_eq!(of("(unknown = $1)"), [""; 0]);
        assert_eq!(of("(generator_name ~~ $1)"), [""; 0]);
    }

    #[test]
    fn slow_is_a_mean_above_the_limit_over_enough_calls() {
        let limits = settings::Queries::default();
        let query = |calls, total_ms| Query {
            key: KEY,
            now: counter(calls, total_ms),
            judged: counter(calls, total_ms),
            due: false,
            since: true,
            text: None,
            application: None,
            own: false,
        };
        let all = [query(3, 751.0), query(2, 9_000.0), query(1_000, 5.0), query(0, 0.0)];
        assert_eq!(figures(&all, &limits), (1_005, 9_756.0, 1));
        assert_eq!(top(&all, &limits), [1, 0, 2]);
        assert_eq!(figures(&[], &limits), (0, 0.0, 0));
    }

    proptest! {
        #[test]
        fn no_text_makes_masking_panic_and_no_quoted_text_survives_it(before in "[a-z =]{0,20}", secret in "[a-z0-9]{6,20}") {
            let masked = masked(&format!("{before} '{secret}' AND x = 1"));
            prop_assert!(!masked.contains(&secret) || before.contains(&secret));
            let _ = shown(&secret);
        }

        #[test]
        fn any_text_is_masked_without_a_panic(text in "\\PC{0,80}") {
            let _ = (masked(&text), commented(&text), own(&text), explainable(&text), parameters(&text));
        }

        #[test]
        fn a_difference_is_never_negative(calls in 0_i64..100, old in 0_i64..100, ms in 0.0_f64..1e6, was in 0.0_f64..1e6) {
            let delta = delta(KEY, &counter(calls, ms), &before(Some(counter(old, was)))).expect("a difference");
            prop_assert!(delta.calls >= 0 && delta.total_ms >= 0.0);
        }
    }
}
