//! The verdict on a post, from what the ledgers say of it. Pure: the same facts give the same verdict.

use chrono::{DateTime, Utc};

use super::evidence::{Access, Fact, Kind, Ledger};
use crate::settings::TrustSilence;

/// Whether a post was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A ledger names it as sent.
    Posted,
    /// A ledger that knows nearly every post does not know this one.
    NotPosted,
    /// It may have been sent.
    Uncertain,
    /// Nothing is known, and nobody's silence can be trusted.
    Unproven,
}

impl Verdict {
    /// The word of the design.
    pub fn word(self) -> &'static str {
        match self {
            Self::Posted => "posted",
            Self::NotPosted => "not_posted",
            Self::Uncertain => "uncertain",
            Self::Unproven => "unproven",
        }
    }
}

/// What the post's own row says.
#[derive(Debug, Clone, Default)]
pub struct Subject<'a> {
    /// Its external id, if it is a real one.
    pub own_id: Option<&'a str>,
    /// An id that the application saved aside when it could not save the row.
    pub orphan: Option<&'a str>,
    /// How many parts the thread has; `None` for a post that is no thread.
    pub parts: Option<i64>,
    /// How many real ids the row lists for its parts.
    pub listed_parts: Option<i64>,
    /// The first of them.
    pub listed_id: Option<&'a str>,
    /// What in the row leaves it open whether it was sent: a placeholder, a mark of the application, its last error.
    pub doubt: Option<&'static str>,
    /// All that the row says of having been sent, as one number: what a person decided on is known by it.
    pub marks: i64,
}

/// A verdict and what it stands on.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// The external id that was proved.
    pub external_id: Option<String>,
    /// When it was posted, by the ledger that proves it.
    pub posted_at: Option<DateTime<Utc>>,
    /// The ledger that decided; `None` where none did.
    pub ledger: Option<&'static str>,
    /// The coverage that was relied on.
    pub coverage: Option<f64>,
    /// Why, in words.
    pub words: String,
}

/// How far a ledger's silence says that a post was not sent.
#[derive(Debug, Clone, Copy)]
pub struct Trust {
    /// Share of the posts of the last 7 days that a ledger must know.
    pub coverage: f64,
    /// Whose silence counts at all.
    pub silence: TrustSilence,
}

impl Trust {
    /// Only what is said counts, never a silence.
    pub const NOBODY: Self = Self { coverage: 1.0, silence: TrustSilence::None };

    /// What the ledger knows of the posts of the last 7 days, where its silence counts.
    pub fn in_silence_of(&self, ledger: &Ledger) -> Option<f64> {
        let may_count = match self.silence {
            TrustSilence::Any => true,
            TrustSilence::Attempts => WRITTEN_BEFORE_SENDING.contains(&ledger.name),
            TrustSilence::None => false,
        };
        ledger.coverage.filter(|share| may_count && *share >= self.coverage)
    }
}

/// Ledgers in which a worker notes a post before it sends it.
const WRITTEN_BEFORE_SENDING: [&str; 2] = ["post_attempts", "posting_attempts"];

/// The order of proof, strongest first; the row's own id stands before all, the orphan id after.
const STRENGTH: [&str; 6] =
    ["post_receipts", "post_attempts", "posting_attempts", "success_events", "posted_decisions", "id_recovery"];

/// Judges one post.
///
/// `ledgers` are those that exist, with their measured coverage.
pub fn judge(subject: &Subject<'_>, facts: &[Fact], ledgers: &[Ledger], trust: Trust) -> Judgement {
    let nothing = |verdict, ledger, words: String| Judgement {
        verdict,
        external_id: None,
        posted_at: None,
        ledger,
        coverage: None,
        words,
    };
    let decided = facts.iter().filter(|fact| fact.kind == Kind::Decided).filter_map(|fact| fact.at).max();

    if let Some((listed, parts, ledger)) = missing_parts(subject, facts) {
        return nothing(
            Verdict::Uncertain,
            Some(ledger),
            format!("{ledger} lists {listed} of {parts} parts of the thread"),
        );
    }
    if let Some(proof) = proof(subject, facts) {
        return proof;
    }
    // A person who decided has seen the row. What stood in it then leaves nothing open; what a worker wrote since does.
    let seen = facts.iter().filter(|fact| fact.kind == Kind::Decided).max_by_key(|fact| fact.at);
    let seen = seen.and_then(|fact| fact.note.as_deref()).and_then(|marks| marks.parse().ok());
    if let Some(doubt) = subject.doubt.filter(|_| seen != Some(subject.marks)) {
        return nothing(Verdict::Uncertain, None, doubt.to_owned());
    }
    if let Some(ledger) = ledgers.iter().find(|ledger| ledger.access != Access::Readable) {
        let why = match &ledger.access {
            Access::Hidden => "its rows are hidden by row-level security".to_owned(),
            Access::Forbidden => "the role may not read it".to_owned(),
            Access::Broken(reason) => reason.clone(),
            Access::Readable => String::new(),
        };
        return nothing(
            Verdict::Uncertain,
            Some(ledger.name),
            format!("{} exists and cannot be read: {why}", ledger.name),
        );
    }
    let open = facts.iter().find(|fact| match fact.kind {
        Kind::Open => decided.is_none_or(|decided| fact.at.is_none_or(|at| at > decided)),
        Kind::Failed => {
            fact.note.as_deref().is_some_and(possibly_live)
                && decided.is_none_or(|decided| fact.at.is_none_or(|at| at > decided))
        }
        _ => false,
    });
    if let Some(open) = open {
        let words = if open.kind == Kind::Open {
            format!("{}: an attempt began and has no outcome", open.ledger)
        } else {
            format!("{}: the attempt failed after the submit, so the post may be live", open.ledger)
        };
        return nothing(Verdict::Uncertain, Some(open.ledger), words);
    }
    let trusted = ledgers
        .iter()
        .filter_map(|ledger| trust.in_silence_of(ledger).map(|share| (ledger.name, share)))
        .max_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((name, share)) = trusted {
        let mut judgement = nothing(
            Verdict::NotPosted,
            Some(name),
            format!("{name} knows {} of the posts of the last 7 days, and not this one as sent", percent(share)),
        );
        judgement.coverage = Some(share);
        return judgement;
    }
    let best = ledgers.iter().filter_map(|ledger| ledger.coverage.map(|share| (ledger.name, share)));
    let words = match best.max_by(|a, b| a.1.total_cmp(&b.1)) {
        // Only where a setting says so: the coverage alone would do.
        Some((name, share)) if share >= trust.coverage => format!(
            "no ledger knows it, and the silence of {name}, which knows {} of the posts of the last 7 days, is not \
             trusted (heal.stuck-posts.trust_silence)",
            percent(share)
        ),
        Some((name, share)) => format!(
            "no ledger knows it, and the best of them ({name}) knows only {} of the posts of the last 7 days",
            percent(share)
        ),
        None if ledgers.is_empty() => "there is no ledger".into(),
        None => "no ledger knows it, and too few posts of the last 7 days tell how far that can be trusted".into(),
    };
    nothing(Verdict::Unproven, None, words)
}

/// A share in percent, never rounded up to a whole.
fn percent(share: f64) -> String {
    format!("{:.1} %", (share * 1_000.0).floor() / 10.0)
}

/// Where some lists name fewer parts than the thread has and none names all: how many, of how many, and who says so.
fn missing_parts(subject: &Subject<'_>, facts: &[Fact]) -> Option<(i64, i64, &'static str)> {
    let parts = subject.parts.filter(|parts| *parts >= 2)?;
    let listed = subject
        .listed_parts
        .map(|count| (count, "the row"))
        .into_iter()
        .chain(facts.iter().filter_map(|fact| fact.parts.map(|count| (count, fact.ledger))))
        .filter(|(count, _)| *count > 0)
        .max_by_key(|(count, _)| *count)?;
    (listed.0 < parts).then_some((listed.0, parts, listed.1))
}

fn proof(subject: &Subject<'_>, facts: &[Fact]) -> Option<Judgement> {
    let posted = |external_id: Option<String>, posted_at, ledger, words: String| Judgement {
        verdict: Verdict::Posted,
        external_id,
        posted_at,
        ledger: Some(ledger),
        coverage: None,
        words,
    };
    if let Some(id) = subject.own_id {
        let at = facts.iter().filter(|fact| fact.kind == Kind::Sent).filter_map(|fact| fact.at).min();
        return Some(posted(Some(id.to_owned()), at, "own_id", "the row carries its real id".into()));
    }
    if let Some(id) = subject.listed_id {
        let at = facts.iter().filter(|fact| fact.kind == Kind::Sent).filter_map(|fact| fact.at).min();
        return Some(posted(Some(id.to_owned()), at, "listed_ids", "the row lists the ids of all its parts".into()));
    }
    let strongest = |kind: Kind| {
        STRENGTH.iter().find_map(|name| facts.iter().find(|fact| fact.kind == kind && fact.ledger == *name))
    };
    if let Some(fact) = strongest(Kind::Sent) {
        return Some(posted(
            fact.external_id.clone(),
            fact.at,
            fact.ledger,
            format!("{} names it as sent", fact.ledger),
        ));
    }
    if let Some(orphan) = subject.orphan {
        return Some(posted(Some(orphan.to_owned()), None, "orphan_id", "the row carries an orphan id".into()));
    }
    strongest(Kind::SentWithoutId)
        .map(|fact| posted(None, fact.at, fact.ledger, format!("{} names it as sent, without a real id", fact.ledger)))
}

/// Whether an error text leaves it open that the post went out: a time-out or a cut after the submit, an answer that
/// says it is there already, or a save that failed after the sending.
pub fn possibly_live(error: &str) -> bool {
    let text = error.to_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let cut = any(&[
        "timeout",
        "timed out",
        "time out",
        "time-out",
        "etimedout",
        "econnreset",
        "socket hang up",
        "connection reset",
        "connection closed",
        "target closed",
        "browser closed",
        "crash",
        "aborted",
        "interrupted",
        "killed",
    ]);
    let after = any(&[
        "submit",
        "after click",
        "post button",
        "tweet button",
        "confirm",
        "publish",
        "sent",
        "sending",
        "after post",
        "posting",
        "verif",
        "response",
        "tweet id",
        "tweet_id",
        "post id",
    ]);
    let before = any(&["before submit", "not submitted", "before post", "before click"]);
    (cut && after && !before)
        || any(&[
            "duplicate",
            "already posted",
            "already tweeted",
            "already sent",
            "already published",
            "already been posted",
            "may have posted",
            "may have been posted",
            "may be live",
            "possibly posted",
            "possibly live",
            "unknown outcome",
            "outcome unknown",
            "save failed",
            "failed to save",
            "database_save",
            "could not save",
            "id not captured",
            "id not found",
            "no tweet id",
            "no tweet_id",
            "could not extract",
            "failed to extract",
            "failed to capture",
            "posted but",
            "post succeeded",
            "receipt_write_failed",
        ])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::database::statement;

    fn ledger(name: &'static str, access: Access, coverage: Option<f64>) -> Ledger {
        Ledger::for_test(name, access, coverage, statement::EVIDENCE_POST_RECEIPTS)
    }

    fn fact(ledger: &'static str, kind: Kind, external_id: Option<&str>) -> Fact {
        Fact { ledger, kind, external_id: external_id.map(str::to_owned), at: None, parts: None, rows: 1, note: None }
    }

    const DEFAULT: Trust = Trust { coverage: 0.95, silence: TrustSilence::Any };

    fn readable(coverage: f64) -> Vec<Ledger> {
        vec![ledger("post_receipts", Access::Readable, Some(coverage))]
    }

    #[test]
    fn only_the_ledgers_that_the_setting_trusts_speak_by_their_silence() {
        let verdict = |name, silence| {
            let ledgers = [ledger(name, Access::Readable, Some(1.0))];
            judge(&Subject::default(), &[], &ledgers, Trust { coverage: 0.95, silence }).verdict
        };
        for (name, silence, expected) in [
            ("post_receipts", TrustSilence::Any, Verdict::NotPosted),
            ("post_receipts", TrustSilence::Attempts, Verdict::Unproven),
            ("success_events", TrustSilence::Attempts, Verdict::Unproven),
            ("post_attempts", TrustSilence::Attempts, Verdict::NotPosted),
            ("posting_attempts", TrustSilence::Attempts, Verdict::NotPosted),
            ("post_attempts", TrustSilence::None, Verdict::Unproven),
        ] {
            assert_eq!(verdict(name, silence), expected, "{name} {silence:?}");
        }
    }

    #[test]
    fn a_receipt_proves() {
        let judgement =
            judge(&Subject::default(), &[fact("post_receipts", Kind::Sent, Some("17"))], &readable(0.1), DEFAULT);
        assert_eq!((judgement.verdict, judgement.external_id.as_deref()), (Verdict::Posted, Some("17")));
    }

    #[test]
    fn a_proof_outweighs_an_open_attempt_and_an_unreadable_ledger() {
        let facts = [fact("post_attempts", Kind::Open, None), fact("success_events", Kind::Sent, Some("9"))];
        let ledgers = [ledger("post_receipts", Access::Hidden, None)];
        assert_eq!(judge(&Subject::default(), &facts, &ledgers, DEFAULT).verdict, Verdict::Posted);
    }

    #[test]
    fn the_stronger_ledger_gives_the_id() {
        let facts = [fact("success_events", Kind::Sent, Some("2")), fact("post_attempts", Kind::Sent, Some("1"))];
        assert_eq!(judge(&Subject::default(), &facts, &[], DEFAULT).external_id.as_deref(), Some("1"));
    }

    #[test]
    fn silence_counts_from_the_coverage_on_and_not_below() {
        assert_eq!(judge(&Subject::default(), &[], &readable(0.95), DEFAULT).verdict, Verdict::NotPosted);
        assert_eq!(judge(&Subject::default(), &[], &readable(0.949_99), DEFAULT).verdict, Verdict::Unproven);
    }

    #[test]
    fn an_open_attempt_is_uncertain_whatever_the_coverage() {
        let facts = [fact("post_attempts", Kind::Open, None)];
        assert_eq!(judge(&Subject::default(), &facts, &readable(1.0), DEFAULT).verdict, Verdict::Uncertain);
    }

    #[test]
    fn a_person_who_decided_outweighs_attempts_before_the_decision_only() {
        let at = |seconds| DateTime::<Utc>::from_timestamp(seconds, 0);
        let attempt = Fact { at: at(100), ..fact("post_attempts", Kind::Open, None) };
        let decision = Fact { at: at(200), ..fact("held", Kind::Decided, None) };
        let later = Fact { at: at(300), ..attempt.clone() };
        let verdict = |facts: &[Fact]| judge(&Subject::default(), facts, &readable(1.0), DEFAULT).verdict;
        assert_eq!(verdict(&[attempt, decision.clone()]), Verdict::NotPosted);
        assert_eq!(verdict(&[later, decision]), Verdict::Uncertain);
    }

    #[test]
    fn a_thread_with_some_of_its_parts_is_uncertain_and_with_all_of_them_posted() {
        let thread = Subject { parts: Some(4), ..Subject::default() };
        let receipt = |parts| Fact { parts: Some(parts), ..fact("post_receipts", Kind::Sent, Some("1")) };
        assert_eq!(judge(&thread, &[receipt(2)], &readable(1.0), DEFAULT).verdict, Verdict::Uncertain);
        assert_eq!(judge(&thread, &[receipt(4)], &readable(1.0), DEFAULT).verdict, Verdict::Posted);
    }

    #[test]
    fn an_error_after_the_submit_is_possibly_live_and_one_before_it_is_not() {
        for live in [
            "Timeout waiting for confirmation after submit",
            "Post button clicked, then: Timed out 30000ms",
            "Status is a duplicate.",
            "posted but database_save_failed",
        ] {
            assert!(possibly_live(live), "{live}");
        }
        for not in ["Invalid media type", "login required", "browser_queue_timeout: waited 180s", "rate limit exceeded"]
        {
            assert!(!possibly_live(not), "{not}");
        }
    }

    #[test]
    fn a_row_that_lists_all_its_ids_is_posted_with_the_first_and_one_that_lists_some_is_uncertain() {
        let row = |listed| Subject {
            parts: Some(3),
            listed_parts: Some(listed),
            listed_id: Some("11"),
            ..Subject::default()
        };
        let all = judge(&row(3), &[], &readable(1.0), DEFAULT);
        assert_eq!((all.verdict, all.external_id.as_deref()), (Verdict::Posted, Some("11")));
        assert_eq!(judge(&row(2), &[], &readable(1.0), DEFAULT).verdict, Verdict::Uncertain);
    }

    #[test]
    fn what_the_row_leaves_open_is_uncertain_until_a_person_decides() {
        let row = Subject { doubt: Some("a placeholder"), marks: -7, ..Subject::default() };
        let at = DateTime::<Utc>::from_timestamp(200, 0);
        let decision = Fact { at, note: Some("-7".into()), ..fact("held", Kind::Decided, None) };
        let written_since = Subject { marks: 8, ..row.clone() };
        let again = judge(&written_since, std::slice::from_ref(&decision), &readable(1.0), DEFAULT);
        assert_eq!(again.verdict, Verdict::Uncertain, "what was written after the decision nobody has decided on");
        assert_eq!(judge(&row, &[], &readable(1.0), DEFAULT).verdict, Verdict::Uncertain);
        assert_eq!(judge(&row, &[decision], &readable(1.0), DEFAULT).verdict, Verdict::NotPosted);
        let proof = [fact("post_receipts", Kind::Sent, Some("5"))];
        assert_eq!(judge(&row, &proof, &readable(1.0), DEFAULT).verdict, Verdict::Posted);
    }

    fn any_kind() -> impl Strategy<Value = Kind> {
        prop_oneof![
            Just(Kind::Sent),
            Just(Kind::SentWithoutId),
            Just(Kind::Open),
            Just(Kind::Failed),
            Just(Kind::NotBegun),
            Just(Kind::Rescue),
            Just(Kind::Held),
            Just(Kind::Decided),
        ]
    }

    proptest! {
        #[test]
        fn what_any_ledger_names_as_sent_is_never_judged_as_not_sent(
            kinds in prop::collection::vec((0_usize..6, any_kind(), prop::option::of(0_i64..1_000)), 0..8),
            coverage in prop::option::of(0.0_f64..=1.0),
            parts in prop::option::of(1_i64..5),
        ) {
            let facts: Vec<Fact> = kinds
                .iter()
                .map(|(ledger, kind, at)| Fact {
                    at: at.and_then(|at| DateTime::from_timestamp(at, 0)),
                    ..fact(STRENGTH[*ledger], *kind, None)
                })
                .collect();
            let ledgers = [ledger("post_receipts", Access::Readable, coverage)];
            let subject = Subject { parts, ..Subject::default() };
            let verdict = judge(&subject, &facts, &ledgers, DEFAULT).verdict;
            if facts.iter().any(|fact| matches!(fact.kind, Kind::Sent | Kind::SentWithoutId)) {
                prop_assert!(matches!(verdict, Verdict::Posted | Verdict::Uncertain));
            }
            if verdict == Verdict::NotPosted {
                prop_assert!(coverage.is_some_and(|share| share >= 0.95));
            }
        }

        #[test]
        fn no_error_text_makes_the_reader_panic(text in "\\PC{0,300}") {
            let _ = possibly_live(&text);
        }
    }
}
