//! `healer resolve POST`: a person's decision on a held post.
//!
//! The decision is carried out by the same guarded and journalled statements as a pass, so it can be undone, and it
//! cannot queue a post that a ledger shows as sent, whoever decides.

use std::rc::Rc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use super::lease;
use super::plan::Change;
use crate::database::session::{Access, Param};
use crate::database::statement::{self, Template};
use crate::error::Error;
use crate::heal::orphan_id;
use crate::posts::evidence::{Fact, Kind, Ledgers};
use crate::posts::mapping::Mapping;
use crate::report::model::SCHEMA_VERSION;
use crate::start::Start;

/// What a person decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It was sent, with this external id.
    Posted(String),
    /// It was not sent.
    Queue,
    /// It is given up.
    Fail,
}

/// The result of a decision.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolveReport {
    /// The version of this document.
    pub schema_version: u32,
    /// `resolve`.
    pub command: &'static str,
    /// The post.
    pub target: String,
    /// The run; `null` for a dry run.
    pub run_id: Option<i64>,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// `ok`.
    pub status: &'static str,
    /// Why it was held.
    pub held_for: String,
    /// Its status before.
    pub from: String,
    /// Its status after.
    pub to: String,
    /// What was done.
    pub action: &'static str,
}

/// Carries a decision out.
pub fn resolve(start: &mut Start, post: &str, decision: &Decision, dry_run: bool) -> Result<ResolveReport, Error> {
    let mapping = start.mapping()?;
    if !dry_run {
        start.catalog.require_writable()?;
    } else if !start.catalog.schema_readable() {
        return Err(Error::Schema {
            message: "the schema healer is missing, of another version or not readable".into(),
            hint: "posts are held in healer.held_post; see `healer doctor`".into(),
        });
    }
    let ledgers = Ledgers::find(start.settings(), &start.catalog, &mapping)?;
    let words = start.settings().posts.words.clone();
    let session = &mut start.session;
    session.begin(Access::ReadOnly, "")?;
    let rows = session.rows(&statement::RESOLVE_LOOK.fill(&mapping.names), &[Param::Text(post)])?;
    let Some(row) = rows.first() else {
        return Err(refuse("this post is not held", "`healer report health` lists the held posts"));
    };
    let held_for = row.text("reason")?;
    let held_status = row.optional_text("held_status")?.unwrap_or_default();
    let Some(status) = row.optional_text("status")? else {
        return Err(refuse("the post is gone from the posts table", "the next `healer heal` closes its hold"));
    };
    if status != held_status {
        return Err(refuse(
            &format!("the post is `{status}` by now, and was `{held_status}` when it was held"),
            "somebody decided already; the next `healer heal` closes its hold",
        ));
    }
    if status != words.posting {
        return Err(refuse(
            &format!("the post is held as `{status}`; only posts that are `{}` can be decided on", words.posting),
            "change the row yourself; the hold ends when the post leaves its status",
        ));
    }
    let first_time = row.optional_time("first_time")?;
    let seen = row.optional_time("claimed_at")?;
    let marks = row.int("marks")?;
    let posted_at = row.optional_time("posted_at")?;
    let own_id = row.bool("real")? || orphan_id(row.optional_text("orphan")?.as_deref()).is_some();
    let facts = ledgers.read(session, &[post], first_time)?;
    let (template, change, to): (Template, Change, String) = match decision {
        Decision::Posted(id) => {
            let pattern = &start.origin.settings.posts.external_id_pattern;
            session.begin(Access::ReadOnly, "")?;
            let real = session.row(&statement::IS_REAL.fill(&mapping.names), &[Param::Text(id)])?.bool("real")?;
            if !real {
                return Err(refuse(
                    &format!("this is no real external id (it does not match {pattern})"),
                    "give the id that the platform shows, or change posts.external_id_pattern",
                ));
            }
            (statement::MARK_POSTED, Change::MarkPosted, words.posted)
        }
        Decision::Queue => (statement::REQUEUE, Change::Requeue, words.queued),
        Decision::Fail => (statement::RESOLVE_FAIL, Change::Fail, words.failed),
    };
    if *decision == Decision::Queue {
        may_be_queued(own_id, facts.get(post).map_or(&[] as &[Fact], Vec::as_slice))?;
    }
    session.rollback();
    let mut report = ResolveReport {
        schema_version: SCHEMA_VERSION,
        command: "resolve",
        target: post.to_owned(),
        run_id: None,
        dry_run,
        status: "ok",
        held_for,
        from: status,
        to,
        action: change.action_name(),
    };
    if dry_run {
        return Ok(report);
    }
    let held = Held { post, seen, marks, posted_at, first_time };
    let run = carry_out(start, &mapping, &ledgers, &held, decision, template, change)?;
    report.run_id = Some(run);
    let counts = json!({ "planned": 1, "applied": 1, "skipped": 0, "failed": 0, "held": 0, "remaining": 0 });
    super::undo::record(start, run, "ok", 0, &counts)?;
    Ok(report)
}

/// Whether anything stands in the way of queueing a post that no decision outweighs.
fn may_be_queued(own_id: bool, facts: &[Fact]) -> Result<(), Error> {
    if own_id {
        return Err(refuse(
            "the row carries a real external id: it was sent, at least in part, and cannot be queued again",
            "mark it posted with --posted ID, or give it up with --fail",
        ));
    }
    if let Some(fact) = facts.iter().find(|fact| matches!(fact.kind, Kind::Sent | Kind::SentWithoutId)) {
        return Err(refuse(
            &format!("{} shows this post as sent: it cannot be queued again", fact.ledger),
            "mark it posted with --posted ID",
        ));
    }
    // Of an attempt without a time nobody can tell whether it is the one that was decided on or a newer one.
    if let Some(fact) = facts.iter().find(|fact| fact.kind == Kind::Open && fact.at.is_none()) {
        return Err(refuse(
            &format!("{} has an attempt of this post without an outcome and without a time", fact.ledger),
            "give the attempt its outcome in the ledger first, or use --posted ID or --fail",
        ));
    }
    Ok(())
}

/// A held post as it was read before the decision.
struct Held<'a> {
    post: &'a str,
    seen: Option<DateTime<Utc>>,
    /// What the row said of having been sent, as one number.
    marks: i64,
    /// The time of posting to write: that of the claim, where it is one.
    posted_at: Option<DateTime<Utc>>,
    first_time: Option<DateTime<Utc>>,
}

/// Changes the post, journals it and closes the hold, in one transaction. Gives the run.
fn carry_out(
    start: &mut Start,
    mapping: &Mapping,
    ledgers: &Ledgers,
    held: &Held<'_>,
    decision: &Decision,
    template: Template,
    change: Change,
) -> Result<i64, Error> {
    let Held { post, seen, marks, posted_at, first_time } = held;
    let now = start.catalog.server.now;
    let session = &mut start.session;
    session.begin(Access::ReadWrite, "")?;
    let run = session
        .row(
            &statement::RUN_START.fill(&mapping.names),
            &[
                Param::Text("resolve"),
                Param::Text(&format!("resolve {}", change.action_name())),
                Param::Text(env!("CARGO_PKG_VERSION")),
                Param::Text(&lease::holder()),
                Param::Int(-1),
            ],
        )?
        .int("run")?;
    let names = ledgers
        .names()
        .with("from", mapping.names.get("posting").unwrap_or_default().to_owned())
        .with("seen", mapping.names.get("claimed_at").unwrap_or_default().to_owned());
    let locked = session.rows(
        &statement::LOCK.fill(&names),
        &[Param::Texts(&[*post]), Param::Times(&[*seen]), Param::Ints(&[*marks])],
    )?;
    let by = std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "a person".into());
    let external_id = match decision {
        Decision::Posted(id) => Some(id.as_str()),
        _ => None,
    };
    let reason: Rc<str> = format!("decided by {by}").into();
    let changed = if locked.is_empty() {
        Vec::new()
    } else {
        session.rows(
            &template.fill(&names),
            &[
                Param::Texts(&[*post]),
                Param::Texts(&[&reason]),
                Param::Texts(&[&json!({ "decision": change.action_name(), "by": by }).to_string()]),
                // The person knows what has happened up to now: what began before does not stand in the way.
                Param::Times(&[Some(now)]),
                Param::OptionalTexts(&[external_id]),
                Param::Times(&[*posted_at]),
                Param::Time(*first_time),
                Param::Int(run),
            ],
        )?
    };
    if changed.is_empty() {
        session.rollback();
        return Err(refuse(
            "the post changed meanwhile, or a worker holds it: nothing was done",
            "look again with `healer report health`",
        ));
    }
    let resolution = match decision {
        Decision::Posted(_) => "posted",
        Decision::Queue => "queue",
        Decision::Fail => "fail",
    };
    session.rows(
        &statement::RESOLVE_NOTE.fill(&mapping.names),
        &[Param::Text(post), Param::Text(resolution), Param::Text(&by), Param::Int(*marks)],
    )?;
    session.commit()?;
    Ok(run)
}

fn refuse(message: &str, hint: &str) -> Error {
    Error::Refused { message: message.to_owned(), hint: hint.to_owned() }
}
