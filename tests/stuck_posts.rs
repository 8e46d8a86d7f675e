//! What becomes of each kind of post: one fixture that states the outcome of every row, and of the neighbours that must
//! not change.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use healer::database::catalog::Catalog;
use healer::database::session::{Access, Limits, Session, StopFlag};
use healer::database::statement::{self, Template};
use healer::posts::mapping::{self, Mapping};
use healer::settings::Settings;
use serde_json::json;

use crate::support::binary::Healer;
use crate::support::cluster::{Shape, TestDb, variant};
use crate::support::posts::{self, Post, external_id_of, held, insert, past, recovering, row};

/// What becomes of a post.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Then {
    /// The whole row stays as it was, and nothing is noted of it.
    Untouched,
    /// It is queued again.
    Queued,
    /// It becomes posted with this id.
    Posted(String),
    /// It becomes posted, and its id is looked for.
    PostedWithoutId,
    /// The row stays, and is held for this reason.
    Held(&'static str),
    /// The id is filled in.
    Filled(String),
    /// The row stays, and waits for its id.
    Recovery,
    /// It is archived.
    Archived,
}

/// Every kind of post, and what becomes of it where a ledger's silence can be trusted.
fn fixture() -> Vec<(Post, Then)> {
    let mut all = claims();
    all.extend(rows_that_tell());
    all.extend(receipts_and_attempts());
    all.extend(attempts_and_events());
    all.extend(ids());
    all.extend(failures());
    all
}

/// Since when, and for how long.
fn claims() -> Vec<(Post, Then)> {
    use Then::{Held, Queued, Untouched};
    vec![
        (Post::stuck("posting for 29 min", "29 minutes"), Untouched),
        (Post::stuck("posting for 31 min", "31 minutes"), Queued),
        (Post::stuck("written 20 h ago, claimed 45 min ago", "45 minutes").created("20 hours"), Queued),
        (Post::stuck("written 20 h ago, claimed 5 min ago", "5 minutes").created("20 hours"), Untouched),
        (Post::stuck("claimed 40 min ago, written 10 min ago", "40 minutes").created("10 minutes"), Queued),
        (Post::stuck("claimed in the future", "-2 hours").created("3 hours"), Untouched),
        (Post::stuck("without a type", "47 minutes").column("decision_type", "NULL"), Queued),
        (Post::stuck("planned for 25 h ago", "47 minutes").created("30 hours").scheduled("25 hours"), Held("too_old")),
        (Post::stuck("planned for 23 h ago", "47 minutes").created("30 hours").scheduled("23 hours"), Queued),
        (Post::stuck("written 25 h ago, no plan", "47 minutes").created("25 hours"), Held("too_old")),
        (Post::stuck("written 5 d ago for an hour ago", "47 minutes").created("5 days").scheduled("1 hour"), Queued),
        (Post::stuck("planned for tomorrow", "47 minutes").scheduled("-20 hours"), Queued),
        (Post::new("without a status", "queued").column("status", "NULL").updated("3 hours"), Untouched),
        (Post::new("queued long ago", "queued").created("20 hours").updated("20 hours"), Untouched),
        (Post::new("ready long ago", "ready").created("20 hours").updated("20 hours"), Untouched),
        (Post::new("a draft", "draft").created("20 days").updated("20 days"), Untouched),
        (Post::new("another word", "posting_attempt").created("2 hours").updated("2 hours"), Untouched),
    ]
}

/// What the row itself says of having been sent.
fn rows_that_tell() -> Vec<(Post, Then)> {
    use Then::{Held, Posted, Queued};
    let listed = |post: Post, ids: &[&str]| post.column("thread_tweet_ids", &posts::literal(&json!(ids).to_string()));
    vec![
        (Post::stuck("with its real id", "47 minutes").external_id("1799"), Posted("1799".into())),
        (Post::stuck("with an empty id", "47 minutes").external_id(""), Queued),
        (Post::stuck("with the placeholder posted_", "47 minutes").external_id("posted_1734"), Held("uncertain")),
        (Post::stuck("with the placeholder pending_", "47 minutes").external_id("pending_1734"), Held("uncertain")),
        (
            Post::stuck("with an orphan id", "47 minutes").features(&json!({ "tweet_id_orphan": "1788" })),
            Posted("1788".into()),
        ),
        (
            Post::stuck("with an orphan placeholder", "47 minutes").features(&json!({ "tweet_id_orphan": "posted_1" })),
            Held("uncertain"),
        ),
        (
            Post::stuck("whose receipt could not be written", "47 minutes")
                .features(&json!({ "receipt_write_failed": true })),
            Held("uncertain"),
        ),
        (
            Post::stuck("that must be reconciled", "47 minutes").features(&json!({ "needs_reconciliation": "true" })),
            Held("uncertain"),
        ),
        (
            Post::stuck("with harmless features", "47 minutes")
                .features(&json!({ "retry_count": 2, "receipt_write_failed": false, "last_error": "login required" })),
            Queued,
        ),
        (
            Post::stuck("that failed after the submit before", "47 minutes")
                .features(&json!({ "last_error": "Timeout after submit" })),
            Held("uncertain"),
        ),
        (Post::stuck("with features that are no object", "47 minutes").features(&json!("a text")), Queued),
        (Post::stuck("a thread without a trace", "47 minutes").thread(3), Queued),
        (listed(Post::stuck("a thread that lists 2 of 4", "47 minutes").thread(4), &["171", "172"]), Held("uncertain")),
        (
            listed(Post::stuck("a thread that lists all", "47 minutes").thread(3), &["173", "174", "175"]),
            Posted("173".into()),
        ),
        (listed(Post::stuck("a single that lists its id", "47 minutes"), &["176"]), Posted("176".into())),
    ]
}

/// `post_receipts` and `post_attempts`.
fn receipts_and_attempts() -> Vec<(Post, Then)> {
    use Then::{Held, Posted, PostedWithoutId, Queued, Untouched};
    let id = |name: &str| format!("'{}'", external_id_of(name));
    let receipt = |name| (Post::stuck(name, "47 minutes").receipt(1), Posted(external_id_of(name)));
    vec![
        receipt("with a receipt"),
        (
            Post::stuck("with two receipts", "47 minutes").receipt(1).receipt(1),
            Posted(external_id_of("with two receipts")),
        ),
        (
            Post::stuck("a receipt with a placeholder", "47 minutes").and(
                "INSERT INTO post_receipts (decision_id, tweet_ids, root_tweet_id, post_type) \
                 VALUES ($ID::uuid, '{}', 'posted_17', 'single')",
            ),
            PostedWithoutId,
        ),
        (Post::stuck("a thread with 2 of 4 in its receipt", "47 minutes").thread(4).receipt(2), Held("uncertain")),
        (
            Post::stuck("a thread with all in its receipt", "47 minutes").thread(4).receipt(4),
            Posted(external_id_of("a thread with all in its receipt")),
        ),
        (Post::stuck("a receipt, posting for 20 min", "20 minutes").receipt(1), Untouched),
        (
            Post::stuck("attempt with an id", "47 minutes").attempt("USED", &id("attempt with an id"), "NULL"),
            Posted(external_id_of("attempt with an id")),
        ),
        (Post::stuck("attempt with a success", "47 minutes").attempt("USED", "NULL", "true"), PostedWithoutId),
        (Post::stuck("attempt with posted_", "47 minutes").attempt("USED", "'posted_1'", "NULL"), PostedWithoutId),
        (Post::stuck("attempt with dry_run_", "47 minutes").attempt("USED", "'dry_run_1'", "NULL"), Held("uncertain")),
        (Post::stuck("attempt used, no outcome", "47 minutes").attempt("USED", "NULL", "NULL"), Held("uncertain")),
        (Post::stuck("attempt approved", "47 minutes").attempt("APPROVED", "NULL", "NULL"), Held("uncertain")),
        (
            Post::stuck("attempt failed before", "47 minutes").attempt_with(
                "FAILED",
                "NULL",
                "false",
                "'Invalid media type'",
            ),
            Queued,
        ),
        (
            Post::stuck("attempt failed after", "47 minutes").attempt_with(
                "FAILED",
                "NULL",
                "false",
                "'Timeout after submit'",
            ),
            Held("uncertain"),
        ),
        (
            Post::stuck("attempt never begun", "47 minutes").and(
                "INSERT INTO post_attempts (decision_id, status, created_at, expires_at) \
                 VALUES ($ID, 'PENDING', now() - interval '50 minutes', now() - interval '20 minutes')",
            ),
            Queued,
        ),
        (
            Post::stuck("attempt pending", "47 minutes").and(
                "INSERT INTO post_attempts (decision_id, status, created_at, expires_at) \
                 VALUES ($ID, 'PENDING', now() - interval '50 minutes', now() + interval '20 minutes')",
            ),
            Held("uncertain"),
        ),
        (
            Post::stuck("attempt failed, then one with an id", "47 minutes")
                .attempt_with("FAILED", "NULL", "false", "'Invalid media type'")
                .attempt("USED", &id("attempt failed, then one with an id"), "true"),
            Posted(external_id_of("attempt failed, then one with an id")),
        ),
    ]
}

/// `posting_attempts` and the events of success.
fn attempts_and_events() -> Vec<(Post, Then)> {
    use Then::{Held, Posted, PostedWithoutId, Queued, Untouched};
    let id = |name: &str| format!("'{}'", external_id_of(name));
    vec![
        (
            Post::stuck("posting attempt with an id", "47 minutes")
                .posting_attempt("success", &id("posting attempt with an id")),
            Posted(external_id_of("posting attempt with an id")),
        ),
        (Post::stuck("posting attempt success", "47 minutes").posting_attempt("success", "NULL"), PostedWithoutId),
        (Post::stuck("posting attempt failed", "47 minutes").posting_attempt("failed", "NULL"), Queued),
        (Post::stuck("posting attempt begun", "47 minutes").posting_attempt("attempting", "NULL"), Held("uncertain")),
        (
            Post::stuck("event of a post", "47 minutes").event("POST_SUCCESS", &id("event of a post")),
            Posted(external_id_of("event of a post")),
        ),
        (
            Post::stuck("event of a reply", "47 minutes").kind("reply").event("REPLY_SUCCESS", &id("event of a reply")),
            Posted(external_id_of("event of a reply")),
        ),
        (Post::stuck("event without an id", "47 minutes").event("POST_SUCCESS", "NULL"), PostedWithoutId),
        (Post::stuck("event of a failure", "47 minutes").event("POST_FAILED", "NULL"), Queued),
        (
            Post::stuck("open attempt and an event", "47 minutes")
                .attempt("USED", "NULL", "NULL")
                .event("POST_SUCCESS", &id("open attempt and an event")),
            Posted(external_id_of("open attempt and an event")),
        ),
        (Post::stuck("an attempt at work", "10 minutes").attempt("USED", "NULL", "NULL"), Untouched),
    ]
}

/// Posted posts and their ids.
fn ids() -> Vec<(Post, Then)> {
    use Then::{Filled, Recovery, Untouched};
    vec![
        (Post::posted("posted without an id", "2 hours"), Recovery),
        (Post::posted("posted with an empty id", "2 hours").external_id(""), Recovery),
        (Post::posted("posted with posted_", "3 hours").external_id("posted_17340"), Recovery),
        (Post::posted("posted with reply_", "3 hours").external_id("reply_17340_x"), Recovery),
        (Post::posted("posted with pending_", "3 hours").external_id("pending_17340"), Recovery),
        (Post::posted("posted with recovered_", "3 hours").external_id("recovered_17340"), Recovery),
        (Post::posted("posted with dry_run_", "3 hours").external_id("dry_run_17340"), Recovery),
        (Post::posted("posted with its id", "3 hours").external_id("17341"), Untouched),
        (Post::posted("posted 25 h ago", "25 hours"), Untouched),
        (Post::posted("posted, nobody knows when", "2 hours").column("posted_at", "NULL"), Untouched),
        (Post::posted("posted, receipt", "2 hours").receipt(1), Filled(external_id_of("posted, receipt"))),
        (
            Post::posted("posted with posted_, receipt", "2 hours").external_id("posted_17340").receipt(1),
            Filled(external_id_of("posted with posted_, receipt")),
        ),
        (
            Post::posted("posted, orphan", "2 hours").features(&json!({ "tweet_id_orphan": "1777" })),
            Filled("1777".into()),
        ),
        (
            Post::posted("posted thread that lists its ids", "2 hours")
                .thread(2)
                .column("thread_tweet_ids", "'[\"1761\",\"1762\"]'"),
            Filled("1761".into()),
        ),
        (Post::posted("posted, attempt without an id", "2 hours").attempt("USED", "NULL", "true"), Recovery),
    ]
}

/// Failed posts.
fn failures() -> Vec<(Post, Then)> {
    use Then::{Archived, Untouched};
    vec![
        (Post::failed("failed 8 d ago", "8 days").error("Invalid media type"), Archived),
        (Post::failed("failed 7 d and 1 min ago", "7 days 1 minute"), Archived),
        (Post::failed("failed nearly 7 d ago", "6 days 23 hours"), Untouched),
        (Post::failed("failed a minute ago, written 8 d ago", "1 minute").created("8 days"), Untouched),
        (Post::failed("failed, planned for tomorrow", "8 days").scheduled("-1 day"), Untouched),
        (Post::failed("failed after the submit", "8 days").error("Timeout waiting after submit"), Untouched),
        (
            Post::failed("failed, last error after the submit", "8 days")
                .features(&json!({ "last_error": "posted but database_save_failed" })),
            Untouched,
        ),
        (
            Post::failed("failed, receipt not written", "8 days").features(&json!({ "receipt_write_failed": true })),
            Untouched,
        ),
        (Post::failed("failed with a real id", "8 days").external_id("17342"), Untouched),
        (Post::failed("failed with a placeholder", "8 days").external_id("posted_17342"), Untouched),
        (Post::failed("failed with a receipt", "8 days").receipt(1), Untouched),
        (Post::failed("failed with an open attempt", "8 days").attempt("USED", "NULL", "NULL"), Untouched),
        (
            Post::failed("failed with posted_at of yesterday", "8 days")
                .column("posted_at", "now() - interval '1 day'"),
            Untouched,
        ),
        (Post::new("failed for good", "failed_permanent").created("30 days").updated("30 days"), Untouched),
        (Post::new("archived before", "archived").created("30 days").updated("30 days"), Untouched),
    ]
}

/// Runs the fixture on a database and compares every row with what is said of it.
fn holds(database: &TestDb, healer: &Healer) {
    let posts: Vec<(Post, Then)> = fixture().into_iter().filter(|(post, _)| post.fits(database.shape())).collect();
    let rows: Vec<Post> = posts.iter().map(|(post, _)| post.clone()).collect();
    insert(database, &rows);
    let before: BTreeMap<&str, posts::Row> =
        rows.iter().map(|post| (post.id(), row(database, post.id()).expect("inserted"))).collect();

    // New holds are the business of a person.
    let run = healer.heal(&[]).exits(3);
    assert_eq!(run.count("failed"), 0, "{:#}", run.json);
    let mut wrong = Vec::new();
    for (post, then) in &posts {
        let id = post.id();
        let after = row(database, id).expect("no post is ever deleted");
        let same = after == before[id];
        let status = after.status.clone().unwrap_or_else(|| "NULL".into());
        let became = match (same, status.as_str(), held(database, id), recovering(database, id)) {
            (true, _, None, false) => "untouched".to_owned(),
            (true, _, Some(code), false) => format!("held {code}"),
            (true, _, None, true) => "recovery".to_owned(),
            (false, status, None, recovering) => {
                let external = after.external_id.unwrap_or_else(|| "no id".into());
                format!("{status} {external}{}", if recovering { " recovery" } else { "" })
            }
            (_, status, code, recovering) => format!("{status}, held {code:?}, recovering {recovering}"),
        };
        let external = before[id].external_id.clone().unwrap_or_else(|| "no id".into());
        let expected = match then {
            Then::Untouched => "untouched".to_owned(),
            Then::Queued => format!("queued {external}"),
            Then::Posted(id) | Then::Filled(id) => format!("posted {id}"),
            Then::PostedWithoutId => "posted no id recovery".to_owned(),
            Then::Held(code) => format!("held {code}"),
            Then::Recovery => "recovery".to_owned(),
            Then::Archived => format!("archived {external}"),
        };
        if became != expected {
            wrong.push(format!("{}: {became}, expected {expected}: {}", post.name(), run.says(id, "reason")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let again = healer.heal(&[]).exits(0);
    assert_eq!((again.count("planned"), again.count("applied")), (0, 0), "{:#}", again.json);
}

#[test]
fn each_post_becomes_what_the_fixture_says_where_receipts_are_trusted() {
    let database = TestDb::new(Shape::Full);
    // So many that the fixture's own posts without a receipt leave the share above 95 %.
    past(&database, 1_000, 1_000);
    holds(&database, &Healer::on(&database).init());
}

#[test]
fn each_post_becomes_what_the_fixture_says_where_no_ledger_exists() {
    let database = TestDb::new(Shape::Minimal);
    past(&database, 20, 0);
    holds(&database, &Healer::on(&database).init());
}

#[test]
fn each_post_becomes_what_the_fixture_says_in_every_variant_that_takes_its_words() {
    for edits in [
        &[variant::UUID_ID][..],
        &[variant::VARCHAR_STATUS],
        &[variant::EVENT_METADATA],
        &[variant::NAIVE_TIMES],
        &[variant::HEARTBEAT_HISTORY],
        &[variant::PARTITIONED],
        &[variant::UUID_ID, variant::NAIVE_TIMES, variant::VARCHAR_STATUS],
    ] {
        let database = TestDb::edited(edits);
        // The naive columns hold UTC: so must the fixture's sessions write them.
        database.run(&format!("ALTER DATABASE {} SET TimeZone = 'UTC'", database.name()));
        past(&database, 20, 0);
        holds(&database, &Healer::on(&database).init());
    }
}

/// A session of the library on a database, with what the catalog says of it.
fn library(database: &TestDb) -> (Session, Settings, Mapping) {
    let limits = Limits { statement: Duration::from_secs(60), lock: Duration::from_secs(60) };
    let deadline = Instant::now() + Duration::from_secs(600);
    let mut session = Session::new(database.client(), limits, deadline, StopFlag::default());
    let settings = Settings::default();
    let catalog = Catalog::read(&mut session, &mapping::relations(&settings), None, &mapping::words(&settings))
        .expect("the catalog is read");
    let mapping = Mapping::new(&settings, &catalog).expect("the posts are found");
    (session, settings, mapping)
}

/// The posts that a detecting statement finds, in the transaction in which they are written: its `now()` stands still.
fn found(database: &TestDb, template: Template, posts: &[Post]) -> Vec<String> {
    let (mut session, _, mapping) = library(database);
    session.begin(Access::ReadWrite, "").expect("begun");
    for post in posts {
        session.batch("test", &post.sql(database.shape())).expect("inserted");
    }
    let names = mapping.names.with("order", "");
    let rows = session.rows(&template.fill(&names), &[]).expect("detected");
    let ids: Vec<String> = rows.iter().map(|row| row.text("id").expect("an id")).collect();
    let mut names: Vec<String> =
        posts.iter().filter(|post| ids.iter().any(|id| id == post.id())).map(|post| post.name().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn thirty_minutes_are_not_stuck_and_one_second_more_is() {
    for shape in Shape::ALL {
        let posts = ["29 minutes 59 seconds", "30 minutes", "30 minutes 1 second", "30 minutes 0.000001 seconds"]
            .map(|age| Post::stuck(age, age));
        let found = found(&TestDb::new(shape), statement::STUCK, &posts);
        assert_eq!(found, ["30 minutes 0.000001 seconds", "30 minutes 1 second"], "{shape:?}");
    }
}

#[test]
fn the_window_of_missing_ids_ends_after_exactly_a_day() {
    for shape in Shape::ALL {
        let posts = ["23 hours 59 minutes 59 seconds", "24 hours", "24 hours 1 second", "1 second"]
            .map(|age| Post::posted(age, age));
        let found = found(&TestDb::new(shape), statement::MISSING_IDS, &posts);
        assert_eq!(found, ["1 second", "23 hours 59 minutes 59 seconds"], "{shape:?}");
    }
}

#[test]
fn seven_days_of_failure_are_kept_and_one_second_more_is_old() {
    for shape in Shape::ALL {
        let posts =
            ["6 days 23 hours 59 minutes 59 seconds", "7 days", "7 days 1 second"].map(|age| Post::failed(age, age));
        let found = found(&TestDb::new(shape), statement::OLD_FAILED, &posts);
        assert_eq!(found, ["7 days 1 second"], "{shape:?}");
    }
}

#[test]
fn a_type_can_have_a_limit_of_its_own() {
    for shape in Shape::ALL {
        let database = TestDb::new(shape);
        past(&database, 20, 20);
        let healer = Healer::on(&database)
            .with_config("[heal.stuck-posts]\nlimit = \"20m\"\nlimits = { thread = \"45m\", \"it's\" = \"2h\" }\n")
            .init();
        let single = Post::stuck("single 25", "25 minutes").kind("single");
        let early = Post::stuck("thread 25", "25 minutes").thread(2);
        let late = Post::stuck("thread 46", "46 minutes").thread(2);
        let quoted = Post::stuck("quoted 46", "46 minutes").kind("it's");
        let untyped = Post::stuck("untyped 25", "25 minutes").column("decision_type", "NULL");
        insert(&database, &[single.clone(), early.clone(), late.clone(), quoted.clone(), untyped.clone()]);
        healer.heal(&[]).exits(0);
        let status = |post: &Post| posts::status(&database, post.id());
        assert_eq!([&single, &late, &untyped].map(status), ["queued", "queued", "queued"], "{shape:?}");
        assert_eq!([&early, &quoted].map(status), ["posting", "posting"], "{shape:?}");
    }
}

#[test]
fn a_column_of_its_own_for_the_claim_counts_before_the_last_change() {
    let database = TestDb::edited(&["ALTER TABLE public.content_metadata ADD claimed_at timestamptz"]);
    let healer = Healer::on(&database).init();
    let at_work = Post::stuck("at work", "50 minutes").column("claimed_at", "now() - interval '5 minutes'");
    let stuck = Post::stuck("stuck", "5 minutes").column("claimed_at", "now() - interval '50 minutes'");
    let unknown = Post::stuck("unknown", "50 minutes");
    insert(&database, &[at_work.clone(), stuck.clone(), unknown.clone()]);
    let run = healer.heal(&[]).exits(3);
    assert_eq!(posts::status(&database, at_work.id()), "posting");
    assert_eq!(posts::status(&database, stuck.id()), "queued");
    assert_eq!(held(&database, unknown.id()).as_deref(), Some("no_time"));
    assert!(run.words("stuck-posts").contains("1 without a claim time"), "{}", run.words("stuck-posts"));
}

#[test]
fn where_only_the_time_of_writing_is_known_it_counts_with_a_warning() {
    let database = TestDb::edited(&["ALTER TABLE public.content_metadata DROP updated_at"]);
    let healer = Healer::on(&database).init();
    database.run(
        "INSERT INTO content_metadata (decision_id, content, status, created_at) VALUES
         ('old', 'x', 'posting', now() - interval '2 hours'), ('new', 'x', 'posting', now() - interval '2 minutes')",
    );
    let run = healer.heal(&[]).exits(0);
    assert_eq!(posts::status(&database, "old"), "queued");
    assert_eq!(posts::status(&database, "new"), "posting");
    let notes = run.json["notes"].to_string();
    assert!(notes.contains("its age is measured from created_at"), "{notes}");
    assert_eq!(run.check("old-failed")["status"], "unknown");
    assert!(run.check("old-failed")["found"].is_null(), "what was not measured is null");
}

#[test]
fn a_post_that_is_held_for_another_reason_than_before_is_no_news() {
    let database = TestDb::new(Shape::Full);
    past(&database, 20, 20);
    let healer = Healer::on(&database).init();
    let post = Post::stuck("too old, then uncertain", "47 minutes").created("2 days");
    insert(&database, std::slice::from_ref(&post));
    healer.heal(&[]).exits(3);
    assert_eq!(held(&database, post.id()).as_deref(), Some("too_old"));
    database.run(&format!(
        "INSERT INTO post_attempts (decision_id, status, used_at) VALUES ('{}', 'USED', now())",
        post.id()
    ));
    let run = healer.heal(&[]).exits(0);
    assert_eq!(held(&database, post.id()).as_deref(), Some("uncertain"), "the person sees the newer reason");
    assert_eq!(run.count("held"), 1);
    healer.heal(&[]).exits(0);
}
