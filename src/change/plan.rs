//! The plan of a pass: all changes it proposes, as compact records, bounded in number.

use std::rc::Rc;

use chrono::{DateTime, Utc};
use serde_json::Value;

/// A kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    /// A stuck post becomes posted, as a ledger proves.
    MarkPosted,
    /// A posted post gets its id from a ledger.
    FillId,
    /// A stuck post is queued again.
    Requeue,
    /// A stuck post that was rescued too often becomes failed.
    Fail,
    /// An old failed post becomes archived.
    Archive,
    /// An old failed post moves to `healer.archived_post`.
    MoveToArchive,
    /// A post is left alone until a person decides.
    Hold,
    /// A posted post without id enters the recovery queue.
    EnterRecovery,
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Housekeeping.
    Info,
    /// Somebody should know.
    Warning,
    /// Something failed.
    Error,
    /// Somebody must act.
    Critical,
}

impl Change {
    /// All kinds, in the order in which they are carried out: what is proved first, what is only noted last.
    pub const ORDER: [Self; 8] = [
        Self::MarkPosted,
        Self::FillId,
        Self::Requeue,
        Self::Fail,
        Self::Archive,
        Self::MoveToArchive,
        Self::Hold,
        Self::EnterRecovery,
    ];

    /// The `type` of the action in events.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Requeue => "stuck_post_recovery",
            Self::MarkPosted => "stuck_post_confirmed",
            Self::Hold => "stuck_post_held",
            Self::Fail => "stuck_post_exhausted",
            Self::EnterRecovery => "null_tweet_id_recovery",
            Self::FillId => "tweet_id_recovered",
            Self::Archive | Self::MoveToArchive => "cleanup_old_failed",
        }
    }

    /// The `action` of the action in events and in the journal.
    pub fn action_name(self) -> &'static str {
        match self {
            Self::Requeue => "reset_status_to_queued",
            Self::MarkPosted => "mark_posted",
            Self::Hold => "hold_for_review",
            Self::Fail => "mark_failed",
            Self::EnterRecovery => "mark_for_id_recovery",
            Self::FillId => "fill_external_id",
            Self::Archive => "archive_old_failed",
            Self::MoveToArchive => "move_to_archive",
        }
    }

    /// How grave it is that this was needed.
    pub fn severity(self) -> Severity {
        match self {
            Self::MarkPosted | Self::FillId | Self::Archive | Self::MoveToArchive => Severity::Info,
            Self::Requeue | Self::EnterRecovery => Severity::Warning,
            Self::Hold | Self::Fail => Severity::Error,
        }
    }

    /// Whether it changes a post (and so needs a journal row), or only a note of healer's own.
    pub fn changes_posts(self) -> bool {
        !matches!(self, Self::Hold | Self::EnterRecovery)
    }
}

/// What became of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Not carried out (yet, or because this is a dry run).
    Planned,
    /// Done and journalled.
    Applied,
    /// The post had changed meanwhile, or somebody else held it: left alone.
    Skipped,
    /// The database refused it; the reason.
    Failed(Box<str>),
    /// Not tried: the brake, a limit or a stop came first.
    Remaining,
    /// The connection was cut in the COMMIT: the journal tells later.
    InDoubt,
}

/// What is written beside the status. Most actions have none of it: it stands apart to keep a plan of 100,000 small.
#[derive(Debug, Clone, Default)]
pub struct Values {
    /// The external id to write.
    pub external_id: Option<Box<str>>,
    /// The time of posting to write.
    pub posted_at: Option<DateTime<Utc>>,
    /// When a person last decided on the post.
    pub decided_at: Option<DateTime<Utc>>,
}

/// Why a change is proposed. Many actions have the same reason and share it.
#[derive(Debug)]
pub struct Why {
    /// In words.
    pub reason: Box<str>,
    /// What it stands on.
    pub evidence: Value,
}

impl Values {
    /// Boxed, or nothing where there is nothing.
    pub fn boxed(self) -> Option<Box<Self>> {
        let any = self.external_id.is_some() || self.posted_at.is_some() || self.decided_at.is_some();
        any.then(|| Box::new(self))
    }
}

/// One change proposed for one post.
#[derive(Debug, Clone)]
pub struct Action {
    /// The check that proposes it.
    pub check: &'static str,
    /// What is to be done.
    pub change: Change,
    /// The post's id.
    pub target: Box<str>,
    /// The time that was seen: of the claim, of posting, or of the last change.
    pub seen: Option<DateTime<Utc>>,
    /// What the row said of having been sent, as one number: nothing is done where it says something else by then.
    pub marks: i64,
    /// What is to be written beside the status, where anything is.
    pub values: Option<Box<Values>>,
    /// The earliest time at which a ledger can know the post.
    pub first_time: Option<DateTime<Utc>>,
    /// A word for the reason, for holds.
    pub code: &'static str,
    /// Whether the post is held already: the hold gets another reason, and is no news.
    pub known: bool,
    /// Why.
    pub why: Rc<Why>,
    /// What became of it.
    pub outcome: Outcome,
}

/// The actions of a pass.
#[derive(Debug, Default)]
pub struct Plan {
    /// The actions, in the order in which the checks proposed them.
    pub actions: Vec<Action>,
    /// Actions beyond the bound: counted, not kept.
    pub overflow: u64,
    limit: usize,
}

impl Action {
    /// The external id to write.
    pub fn external_id(&self) -> Option<&str> {
        self.values.as_ref().and_then(|values| values.external_id.as_deref())
    }

    /// The time of posting to write.
    pub fn posted_at(&self) -> Option<DateTime<Utc>> {
        self.values.as_ref().and_then(|values| values.posted_at)
    }

    /// When a person last decided on the post.
    pub fn decided_at(&self) -> Option<DateTime<Utc>> {
        self.values.as_ref().and_then(|values| values.decided_at)
    }
}

impl Plan {
    /// An empty plan that keeps at most `limit` actions.
    pub fn new(limit: usize) -> Self {
        // Untouched pages cost nothing, while growing would hold the old and the new copy at once.
        Self { actions: Vec::with_capacity(limit), overflow: 0, limit }
    }

    /// Adds an action; beyond the bound it is counted only.
    pub fn add(&mut self, action: Action) {
        if self.actions.len() < self.limit {
            self.actions.push(action);
        } else {
            self.overflow += 1;
        }
    }

    /// Forgets what was added after `length` actions and `overflow` were there: a check starts again.
    pub fn reset(&mut self, length: usize, overflow: u64) {
        self.actions.truncate(length);
        self.overflow = overflow;
    }

    /// How many actions have this change and this outcome.
    pub fn count(&self, wanted: impl Fn(&Action) -> bool) -> u64 {
        self.actions.iter().filter(|action| wanted(action)).count() as u64
    }
}
