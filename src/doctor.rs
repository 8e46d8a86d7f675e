//! `healer doctor`: whether healer can work here, and if not why. Reads only.

use std::fmt::Write as _;

use chrono::Utc;
use serde::Serialize;

use crate::database::catalog::{Catalog, SCHEMA_VERSION};
use crate::database::session::Access as Transaction;
use crate::database::statement::{self, Names};
use crate::database::url::UrlSource;
use crate::error::Error;
use crate::heal::Status;
use crate::posts::evidence::{Access, Ledgers};
use crate::posts::indexes::{self, Estimate};
use crate::posts::mapping::{ClaimSource, Mapping};
use crate::posts::verdict::Trust;
use crate::report::model::SCHEMA_VERSION as DOCUMENT_VERSION;
use crate::report::table::{self, Look};
use crate::settings::Settings;
use crate::start::Start;

/// Clock difference above which times in logs and in the database no longer fit together, in seconds.
const SKEW_S: i64 = 60;

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Item {
    /// What.
    pub name: String,
    /// How it is.
    pub status: Status,
    /// What was found.
    pub summary: String,
    /// What to run or to change; empty where nothing is.
    pub remedy: String,
}

/// The result.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DoctorReport {
    /// The version of this document.
    pub schema_version: u32,
    /// `doctor`.
    pub command: &'static str,
    /// `ok`, or `failed` where something is critical: healer cannot act then.
    pub status: &'static str,
    /// One line.
    pub verdict: String,
    /// What was looked at.
    pub checks: Vec<Item>,
    /// The exit code, before `--fail-on`.
    #[serde(skip)]
    pub exit_code: u8,
}

#[derive(Default)]
struct Notes(Vec<Item>);

impl Notes {
    fn add(&mut self, name: &str, status: Status, summary: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Item { name: name.into(), status, summary: summary.into(), remedy: remedy.into() });
    }
}

/// Looks at everything. Fails only where the connection does.
pub fn examine(start: &mut Start) -> Result<DoctorReport, Error> {
    let mut notes = Notes::default();
    connection(start, &mut notes)?;
    server(&start.catalog, &mut notes);
    schema(&start.catalog, &mut notes);
    let mut exit_code = 0;
    match start.mapping() {
        Err(error) => {
            exit_code = error.exit_code();
            notes.add("posts", Status::Critical, error.to_string(), error.hint());
        }
        Ok(mapping) => {
            posts(start, &mapping, &mut notes);
            indexes(start, &mapping, &mut notes)?;
            ledgers(start, &mapping, &mut notes)?;
            events(start, &mapping, &mut notes)?;
            heartbeats(&start.catalog, &mapping, &mut notes);
            for warning in &mapping.warnings {
                notes.add("mapping", Status::Warning, warning.clone(), "");
            }
        }
    }
    alerts(start.settings(), &mut notes);
    start.session.rollback();
    let count = |status| notes.0.iter().filter(|item| item.status == status).count();
    let critical = count(Status::Critical);
    // What could not be measured is never called well.
    let warning = count(Status::Warning) + count(Status::Unknown);
    let verdict = match (critical, warning) {
        (0, 0) => "healer can work here".to_owned(),
        (0, warning) => format!("healer can work here; {warning} things deserve a look"),
        (critical, warning) => format!("healer cannot act here: {critical} critical, {warning} warnings"),
    };
    Ok(DoctorReport {
        schema_version: DOCUMENT_VERSION,
        command: "doctor",
        status: if exit_code == 0 && critical == 0 { "ok" } else { "failed" },
        verdict,
        checks: notes.0,
        exit_code,
    })
}

/// The alert channels: whether what they need is there. None of them is called.
fn alerts(settings: &Settings, notes: &mut Notes) {
    for (name, kind, wrong) in crate::alert::examine(settings) {
        let what = format!("alert channel {name}");
        let try_it = format!("healer report --test-alert {name}");
        match wrong {
            None => notes.add(&what, Status::Ok, format!("{kind}; nothing was sent"), ""),
            Some(wrong) => notes.add(&what, Status::Warning, format!("{kind}: {wrong}"), try_it),
        }
    }
}

fn connection(start: &mut Start, notes: &mut Notes) -> Result<(), Error> {
    let target = start.origin.target.clone();
    notes.add(
        "connection",
        Status::Ok,
        format!(
            "{} (from {}), sslmode {}, connected in {} ms",
            target.display_target(),
            target.source,
            target.ssl_mode.as_str(),
            start.connected_in.as_millis()
        ),
        "",
    );
    for note in &target.notes {
        notes.add("connection", Status::Ok, note.clone(), "");
    }
    let defaults = if target.source == UrlSource::Sandbox {
        "built-in defaults (the sandbox reads no file but that of --config)"
    } else {
        "built-in defaults (no ./healer.toml, no /etc/healer/healer.toml)"
    };
    let source =
        start.settings().source.as_ref().map_or_else(|| defaults.to_owned(), |path| path.display().to_string());
    notes.add("configuration", Status::Ok, source, "");
    let asked = statement::CONNECTION.fill(&Names::default());
    let before = Utc::now();
    let first = start.session.row(&asked, &[])?;
    let after = Utc::now();
    let second = start.session.row(&asked, &[])?;
    let port = first.optional_int("port")?;
    let expected: Vec<i64> = target.hosts.iter().map(|host| i64::from(host.port)).collect();
    let pooled = first.int("pid")? != second.int("pid")?
        || port.is_some_and(|port| !expected.contains(&port))
        || expected.contains(&6543)
        || target.pooler_hint;
    notes.add(
        "pooler",
        Status::Ok,
        if pooled {
            "the connection goes through a pooler; every command works behind it"
        } else {
            "the connection looks direct"
        },
        "",
    );
    direct(start, pooled, notes);
    // Half of the round trip was before the server looked at its clock, half after.
    let middle = before + (after - before) / 2;
    let skew = (first.time("now")? - middle).num_seconds();
    if skew.abs() > SKEW_S {
        notes.add(
            "clock",
            Status::Warning,
            format!("the database's clock differs from this machine's by {skew} s"),
            "set both by NTP; healer uses the database's clock for every decision",
        );
    } else {
        notes.add("clock", Status::Ok, format!("differs from the database's by {skew} s"), "");
    }
    Ok(())
}

/// What a pooler in transaction mode cannot do takes another way, if there is one.
fn direct(start: &mut Start, pooled: bool, notes: &mut Notes) {
    match start.direct() {
        Ok(Some(_)) => notes.add("direct connection", Status::Ok, "DATABASE_DIRECT_URL leads to the same database", ""),
        Ok(None) if pooled => notes.add(
            "direct connection",
            Status::Ok,
            "DATABASE_DIRECT_URL is not set: what a pooler cannot do (CREATE INDEX CONCURRENTLY, VACUUM) is left to you",
            "",
        ),
        Ok(None) => {}
        Err(error) => notes.add("direct connection", Status::Warning, error.to_string(), error.hint()),
    }
}

fn server(catalog: &Catalog, notes: &mut Notes) {
    let server = &catalog.server;
    let major = server.version / 10_000;
    let status = if (13..=18).contains(&major) { Status::Ok } else { Status::Warning };
    notes.add(
        "server",
        status,
        format!("PostgreSQL {}, database {}, role {}", server.version_text, server.database, server.role),
        if status == Status::Ok { "" } else { "healer is tested with PostgreSQL 13 to 18" },
    );
    if server.standby {
        notes.add("server", Status::Critical, "it is a standby: nothing can be written", "connect to the primary");
    } else if server.default_read_only {
        notes.add(
            "server",
            Status::Critical,
            "default_transaction_read_only is on: nothing can be written",
            format!("ALTER ROLE \"{}\" RESET default_transaction_read_only;", server.role),
        );
    }
    if server.encoding == "SQL_ASCII" {
        notes.add(
            "server",
            Status::Warning,
            "the database is in SQL_ASCII: bytes that are no UTF-8 are shown as \u{fffd}",
            "",
        );
    }
}

fn schema(catalog: &Catalog, notes: &mut Notes) {
    match catalog.server.schema {
        None => notes.add("schema healer", Status::Critical, "does not exist: only dry runs work", "healer init"),
        Some(version) if version < SCHEMA_VERSION => notes.add(
            "schema healer",
            Status::Critical,
            format!("is of version {version}, needed is {SCHEMA_VERSION}"),
            "healer init",
        ),
        Some(version) if version > SCHEMA_VERSION => notes.add(
            "schema healer",
            Status::Critical,
            format!("is of version {version}, newer than this healer ({SCHEMA_VERSION})"),
            "install the newer healer",
        ),
        Some(_) if !catalog.server.schema_write => {
            notes.add("schema healer", Status::Critical, "this role may not write its tables", catalog.grant_schema());
        }
        Some(version) => notes.add("schema healer", Status::Ok, format!("version {version}"), ""),
    }
}

fn posts(start: &Start, mapping: &Mapping, notes: &mut Notes) {
    let settings = start.settings();
    let posts = &mapping.posts;
    let role = &start.catalog.server.role;
    let kind = match posts.kind.as_str() {
        "v" => format!("view over {}", posts.base),
        "p" => "partitioned table".into(),
        "m" => "materialised view".into(),
        "f" => "foreign table".into(),
        _ => "table".into(),
    };
    let types = |name: &str| posts.column(name).map_or_else(|| "?".into(), |column| column.r#type.clone());
    notes.add(
        "posts",
        Status::Ok,
        format!(
            "{} ({kind}), id {} {}, status {} {}, external id {} {}",
            posts.quoted,
            settings.posts.id,
            types(&settings.posts.id),
            settings.posts.status,
            types(&settings.posts.status),
            settings.posts.external_id,
            types(&settings.posts.external_id)
        ),
        "",
    );
    let source = match &mapping.claim {
        ClaimSource::Claim(column) => (Status::Ok, format!("since when a post is posting: {column}")),
        ClaimSource::Updated(column) => {
            (Status::Ok, format!("since when a post is posting: {column} (a claim must set it)"))
        }
        ClaimSource::Created(column) => {
            (Status::Warning, format!("since when a post is posting: only {column}, the last resort"))
        }
        ClaimSource::None => (Status::Critical, "no column tells since when a post is posting".into()),
    };
    notes.add("claim time", source.0, source.1, "");
    let unwritable: Vec<String> =
        [&settings.posts.status, &settings.posts.external_id, &settings.posts.posted_at, &settings.posts.updated_at]
            .into_iter()
            .filter(|name| posts.column(name).is_some_and(|column| !column.may_update))
            .cloned()
            .collect();
    if !unwritable.is_empty() {
        notes.add(
            "grants",
            Status::Critical,
            format!("role {role} may not update {} of {}", unwritable.join(", "), posts.quoted),
            format!("GRANT SELECT, UPDATE ON {} TO \"{role}\";", posts.quoted),
        );
    }
    words(settings, mapping, notes);
    for trigger in posts.triggers.iter().filter(|trigger| trigger.on_update) {
        notes.add(
            "triggers",
            Status::Warning,
            format!("trigger {} on {} runs with every change that healer makes", trigger.name, posts.base),
            "",
        );
    }
    if !posts.incoming_keys.is_empty() {
        notes.add(
            "foreign keys",
            Status::Ok,
            format!(
                "{} point to {}: moving posts to an archive table is refused",
                posts.incoming_keys.join(", "),
                posts.base
            ),
            "",
        );
    }
}

fn words(settings: &Settings, mapping: &Mapping, notes: &mut Notes) {
    let posts = &mapping.posts;
    let Some(column) = posts.column(&settings.posts.status) else { return };
    if let Some(labels) = &column.labels {
        notes.add("status words", Status::Ok, format!("enum {}: {}", column.r#type, labels.join(", ")), "");
        if !mapping.archived_label {
            let word = mapping.names.get("archived").unwrap_or_default();
            notes.add(
                "status words",
                Status::Warning,
                format!("the enum has no label {word}: old failures cannot be archived"),
                format!("ALTER TYPE {} ADD VALUE {word};", column.r#type),
            );
        }
    }
    for check in &posts.checks {
        if check.columns.as_ref().is_some_and(|columns| columns.contains(&settings.posts.status)) {
            notes.add("status words", Status::Ok, format!("constraint {}: {}", check.name, check.definition), "");
        }
    }
}

fn indexes(start: &mut Start, mapping: &Mapping, notes: &mut Notes) -> Result<(), Error> {
    for index in mapping.posts.indexes.iter().filter(|index| !index.valid) {
        notes.add(
            "indexes",
            Status::Warning,
            format!("index {} is invalid: a concurrent build failed", index.name),
            format!("REINDEX INDEX CONCURRENTLY {};", index.name),
        );
    }
    let mut wanted = indexes::missing(&start.origin.settings, &start.catalog, mapping);
    if let Some(index) = indexes::of_missing_ids(&start.origin.settings, mapping) {
        // Without it the check reads every post of its window: worth an index only where these are many.
        let window = indexes::in_window(mapping);
        match indexes::estimate(&mut start.session, &window)? {
            Some(Estimate { rows, .. }) if rows >= indexes::SMALL => wanted.push(index),
            _ => {}
        }
    }
    if wanted.is_empty() {
        notes.add("indexes", Status::Ok, "healer's queries are served by indexes", "");
    }
    for index in wanted {
        let size = indexes::estimate(&mut start.session, &index)?.map_or_else(
            || "its size cannot be estimated".to_owned(),
            |estimate| format!("about {} for {} rows", indexes::size(estimate.bytes), estimate.rows),
        );
        let status = if index.table_rows >= indexes::SMALL { Status::Warning } else { Status::Ok };
        notes.add(
            "indexes",
            status,
            format!("an index on {} is missing, for {} ({size})", index.table, index.serves),
            index.ddl(),
        );
    }
    Ok(())
}

fn ledgers(start: &mut Start, mapping: &Mapping, notes: &mut Notes) -> Result<(), Error> {
    let mut ledgers = Ledgers::find(&start.origin.settings, &start.catalog, mapping)?;
    ledgers.set_broken_aside(&mut start.session, start.catalog.schema_readable())?;
    let now = start.catalog.server.now;
    start.session.begin(Transaction::ReadOnly, "")?;
    if let Err(error) = ledgers.measure_coverage(&mut start.session, mapping, now) {
        if error.stops_the_pass() {
            return Err(error);
        }
        notes.add("ledgers", Status::Unknown, format!("their coverage could not be measured: {error}"), error.hint());
    }
    start.session.rollback();
    if ledgers.all.is_empty() {
        notes.add(
            "ledgers",
            Status::Warning,
            "there is none: whether a stuck post was sent cannot be known",
            "have the application write post_receipts or post_attempts",
        );
    }
    let role = &start.catalog.server.role;
    let stuck = &start.settings().heal.stuck_posts;
    let trust = Trust { coverage: stuck.ledger_coverage, silence: stuck.trust_silence };
    for ledger in &ledgers.all {
        let name = format!("ledger {}", ledger.name);
        match (&ledger.access, ledger.coverage) {
            (Access::Readable, Some(share)) => {
                let counts = if trust.in_silence_of(ledger).is_some() {
                    "its silence counts"
                } else {
                    "its silence proves nothing"
                };
                notes.add(
                    &name,
                    Status::Ok,
                    format!(
                        "knows {:.1} % of the posts of the last 7 days: {counts}",
                        (share * 1_000.0).floor() / 10.0
                    ),
                    "",
                );
            }
            (Access::Readable, None) if ledger.derived => {
                notes.add(&name, Status::Ok, "a view: what it shows as sent counts, its silence proves nothing", "");
            }
            (Access::Readable, None) => {
                notes.add(
                    &name,
                    Status::Ok,
                    "readable; too few posts of the last 7 days to tell how much it knows",
                    "",
                );
            }
            (Access::Hidden, _) => notes.add(
                &name,
                Status::Critical,
                "row-level security hides its rows: its posts are held",
                format!("ALTER ROLE \"{role}\" BYPASSRLS; -- or connect as the table's owner"),
            ),
            (Access::Forbidden, _) => notes.add(
                &name,
                Status::Critical,
                format!("role {role} may not read it: its posts are held"),
                format!("GRANT SELECT ON {} TO \"{role}\";", ledger.name),
            ),
            (Access::Broken(reason), _) => {
                notes.add(&name, Status::Critical, format!("cannot be read: {reason}; its posts are held"), "");
            }
        }
    }
    Ok(())
}

fn events(start: &mut Start, mapping: &Mapping, notes: &mut Notes) -> Result<(), Error> {
    let Some(events) = &mapping.events else { return Ok(()) };
    let role = start.catalog.server.role.clone();
    let json = mapping.names.get("events_json").unwrap_or_default();
    if events.may_insert {
        notes.add("events", Status::Ok, format!("{} with its JSON in {json}", events.quoted), "");
    } else {
        notes.add(
            "events",
            Status::Warning,
            format!("role {role} may not insert into {}: dashboards will see no reports", events.quoted),
            format!("GRANT SELECT, INSERT ON {} TO \"{role}\";", events.quoted),
        );
    }
    if !events.readable() {
        return Ok(());
    }
    start.session.begin(Transaction::ReadOnly, "")?;
    match start.session.row(&statement::FOREIGN_REPORTS.fill(&mapping.names), &[]) {
        Ok(row) => {
            let reports = row.int("reports")?;
            if reports > 0 {
                notes.add(
                    "other healers",
                    Status::Warning,
                    format!("{reports} healing reports of the last day are not healer's: the job that it replaces still runs and races it"),
                    "switch the other job off",
                );
            }
        }
        Err(error) if error.stops_the_pass() => return Err(error),
        Err(error) => {
            notes.add("other healers", Status::Unknown, format!("could not be measured: {error}"), error.hint());
        }
    }
    start.session.rollback();
    Ok(())
}

fn heartbeats(catalog: &Catalog, mapping: &Mapping, notes: &mut Notes) {
    let role = &catalog.server.role;
    match &mapping.heartbeats {
        None => {}
        Some(table) if table.may_insert && table.may_update => {
            let shape = if mapping.heartbeats_history { "one row for each run" } else { "one row for each job" };
            notes.add("heartbeats", Status::Ok, format!("{} ({shape})", table.quoted), "");
        }
        Some(table) => notes.add(
            "heartbeats",
            Status::Warning,
            format!("role {role} may not write {}: healer keeps no line there", table.quoted),
            format!("GRANT SELECT, INSERT, UPDATE ON {} TO \"{role}\";", table.quoted),
        ),
    }
}

/// The result as tables.
pub fn tables(report: &DoctorReport, look: Look) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "healer doctor: {}\n", report.verdict);
    let mut rows = table::plain(look, &["what", "status", "found"]);
    for item in &report.checks {
        rows.add_row(vec![
            comfy_table::Cell::new(&item.name),
            table::status_cell(item.status, look),
            comfy_table::Cell::new(table::clean(&item.summary)),
        ]);
    }
    out.push_str(&table::text(&rows));
    let mut remedies =
        report.checks.iter().filter(|item| !item.remedy.is_empty() && item.status != Status::Ok).peekable();
    if remedies.peek().is_some() {
        out.push('\n');
        for item in remedies {
            let _ = writeln!(out, "→ {}: {}", item.name, table::clean(&item.remedy));
        }
    }
    out
}
