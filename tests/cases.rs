//! Faults that tools of this kind really had, each as a test of its name, and their siblings.

use std::collections::BTreeSet;

use postgres::{Client, NoTls};
use serde_json::json;

use crate::support::binary::{Healer, Run};
use crate::support::cluster::{Shape, TestDb, server, variant};
use crate::support::pooler::Pooler;
use crate::support::posts::{Post, external_id_of, held, id_of, insert, past, recovering, row, status};
use crate::support::state::hash;

/// A configuration that lets a test hold healer up for as long as it needs.
const PATIENT: &str = "[database]\nlock_timeout = \"5m\"\nstatement_timeout = \"5m\"\n";

/// A database of the full shape whose receipts can be trusted, and healer on it.
fn trusted() -> (TestDb, Healer) {
    let database = TestDb::new(Shape::Full);
    past(&database, 50, 50);
    let healer = Healer::on(&database).init();
    (database, healer)
}

/// A database without ledgers.
fn plain() -> (TestDb, Healer) {
    let database = TestDb::new(Shape::Minimal);
    let healer = Healer::on(&database).init();
    (database, healer)
}

/// Starts `heal` and stops it between its plan and its first batch; runs `meanwhile` there, and lets it go on.
fn between_plan_and_batch(database: &TestDb, args: &[&str], meanwhile: impl FnOnce(&mut Client)) -> Run {
    // The brake asks for the breaker after the plan is made, unless its check was asked before.
    let mut gate = database.client();
    gate.batch_execute("BEGIN; LOCK TABLE healer.signal IN ACCESS EXCLUSIVE MODE").expect("locked");
    let mut all = vec!["heal", "--only", "stuck-posts", "--only", "missing-ids", "--only", "old-failed"];
    all.extend_from_slice(args);
    let mut running = Healer::on(database).with_config(PATIENT).start(&all);
    running.await_waiting(database);
    meanwhile(&mut database.client());
    gate.batch_execute("COMMIT").expect("released");
    running.end()
}

/// A ledger whose key is a text.
const ATTEMPTS: &str = "CREATE TABLE public.post_attempts (decision_id text, status text, actual_tweet_id text,
    posting_success boolean, error_message text, created_at timestamptz DEFAULT now(), approved_at timestamptz, used_at timestamptz)";

fn update(shape: Shape, post: &Post, set: &str) -> String {
    format!("UPDATE {} SET {set} WHERE decision_id::text = '{}'", shape.posts_table(), post.id())
}

// What happens between the look and the touch.

#[test]
fn a_post_that_a_worker_finishes_between_plan_and_batch_stays_posted() {
    for shape in Shape::ALL {
        let database = TestDb::new(shape);
        past(&database, 20, 20);
        let healer = Healer::on(&database).init();
        let (finished, other) = (Post::stuck("finished", "40 minutes"), Post::stuck("other", "40 minutes"));
        insert(&database, &[finished.clone(), other.clone()]);
        let run = between_plan_and_batch(&database, &[], |client| {
            let set = "status = 'posted', tweet_id = '1234', posted_at = now()";
            client.batch_execute(&update(shape, &finished, set)).expect("finished");
        })
        .exits(0);
        assert_eq!((run.count("applied"), run.count("skipped")), (1, 1), "{shape:?}");
        assert_eq!(run.says(finished.id(), "outcome"), "skipped");
        let after = row(&database, finished.id()).expect("there");
        assert_eq!((after.status.as_deref(), after.external_id.as_deref()), (Some("posted"), Some("1234")));
        assert_eq!(status(&database, other.id()), "queued");
        healer.heal(&[]).exits(0);
    }
}

#[test]
fn a_post_that_a_worker_holds_locked_while_it_finishes_is_skipped_without_waiting() {
    let (database, healer) = trusted();
    let post = Post::stuck("locked", "40 minutes");
    insert(&database, std::slice::from_ref(&post));
    let mut worker = database.client();
    let set = "status = 'posted', tweet_id = '1234', posted_at = now()";
    worker.batch_execute(&format!("BEGIN; {}", update(Shape::Full, &post, set))).expect("at work");
    let run = healer.heal(&[]).exits(0);
    assert_eq!(run.count("skipped"), 1);
    worker.batch_execute("COMMIT").expect("finished");
    assert_eq!(status(&database, post.id()), "posted");
}

#[test]
fn a_post_that_is_claimed_again_between_plan_and_batch_is_untouched() {
    for shape in Shape::ALL {
        let database = TestDb::new(shape);
        past(&database, 20, 20);
        let _ = Healer::on(&database).init();
        let post = Post::stuck("claimed again", "40 minutes");
        insert(&database, std::slice::from_ref(&post));
        let mut claimed = None;
        let run = between_plan_and_batch(&database, &[], |client| {
            client.batch_execute(&update(shape, &post, "updated_at = now()")).expect("claimed");
            claimed = row(&database, post.id());
        })
        .exits(0);
        assert_eq!(run.count("skipped"), 1, "{shape:?}");
        assert_eq!(row(&database, post.id()), claimed);
    }
}

#[test]
fn evidence_that_arrives_between_plan_and_batch_keeps_a_post_out_of_the_queue() {
    let id = "1234567";
    let arrivals: [(&str, String); 11] = [
        (
            "receipt",
            format!(
                "INSERT INTO post_receipts (decision_id, tweet_ids, root_tweet_id, post_type)
                 VALUES ('$ID', '{{{id}}}', '{id}', 'single')"
            ),
        ),
        (
            "attempt begun",
            "INSERT INTO post_attempts (decision_id, status, used_at) VALUES ('$ID', 'USED', now())".into(),
        ),
        (
            "attempt failed after the submit",
            "INSERT INTO post_attempts (decision_id, status, used_at, posting_success, error_message)
             VALUES ('$ID', 'FAILED', now(), false, 'Timeout after submit')"
                .into(),
        ),
        ("attempting", "INSERT INTO posting_attempts (decision_id, status) VALUES ('$ID', 'attempting')".into()),
        (
            "event",
            format!(
                "INSERT INTO system_events (event_type, event_data)
                 VALUES ('POST_SUCCESS', '{{\"decision_id\": \"$ID\", \"tweet_id\": \"{id}\"}}')"
            ),
        ),
        (
            "orphan id",
            format!(
                "UPDATE content_metadata SET features = '{{\"tweet_id_orphan\": \"{id}\"}}' WHERE decision_id = '$ID'"
            ),
        ),
        // What the application writes where it posted and could not save that; it leaves `updated_at` as it is.
        (
            "receipt not written",
            "UPDATE content_metadata SET features = '{\"receipt_write_failed\": true}' WHERE decision_id = '$ID'"
                .into(),
        ),
        (
            "orphan placeholder",
            "UPDATE content_metadata SET features = '{\"tweet_id_orphan\": \"posted_17\"}' WHERE decision_id = '$ID'"
                .into(),
        ),
        ("placeholder", "UPDATE content_metadata SET tweet_id = 'posted_17' WHERE decision_id = '$ID'".into()),
        (
            "first id of a thread",
            "UPDATE content_generation_metadata_comprehensive SET thread_tweet_ids = '[\"171\"]' WHERE decision_id = '$ID'".into(),
        ),
        (
            "error after the submit",
            "UPDATE content_metadata SET features = '{\"last_error\": \"Timeout after submit\"}' WHERE decision_id = '$ID'".into(),
        ),
    ];
    for (name, sql) in arrivals {
        let (database, _) = trusted();
        let post = Post::stuck(name, "40 minutes");
        insert(&database, std::slice::from_ref(&post));
        let run = between_plan_and_batch(&database, &[], |client| {
            client.batch_execute(&sql.replace("$ID", post.id())).expect("arrived");
        });
        assert_eq!(run.says(post.id(), "action"), "reset_status_to_queued", "{name}: it had been planned");
        assert_eq!((run.code, run.count("skipped")), (0, 1), "{name}: {:#}", run.json);
        assert_eq!(status(&database, post.id()), "posting", "{name}");
    }
}

#[test]
fn an_old_failure_that_is_tried_again_between_plan_and_batch_is_not_archived() {
    let (database, _) = trusted();
    let (retried, stuck) = (Post::failed("retried", "9 days"), Post::stuck("gate", "40 minutes"));
    insert(&database, &[retried.clone(), stuck]);
    let run = between_plan_and_batch(&database, &[], |client| {
        client.batch_execute(&update(Shape::Full, &retried, "updated_at = now()")).expect("changed");
    });
    assert_eq!(run.says(retried.id(), "outcome"), "skipped");
    assert_eq!(status(&database, retried.id()), "failed");
}

#[test]
fn an_id_that_arrives_between_plan_and_batch_is_not_overwritten() {
    let (database, _) = trusted();
    let (filled, stuck) = (Post::posted("filled", "2 hours").receipt(1), Post::stuck("gate", "40 minutes"));
    insert(&database, &[filled.clone(), stuck]);
    let run = between_plan_and_batch(&database, &[], |client| {
        client.batch_execute(&update(Shape::Full, &filled, "tweet_id = '999'")).expect("changed");
    });
    assert_eq!(run.says(filled.id(), "outcome"), "skipped");
    assert_eq!(row(&database, filled.id()).and_then(|row| row.external_id).as_deref(), Some("999"));
}

// Limits that do not fit the system.

#[test]
fn a_limit_below_normal_durations_holds_what_is_still_normal_and_says_so() {
    let (database, healer) = trusted();
    database.run(
        "INSERT INTO post_attempts (decision_id, status, posting_success, actual_tweet_id, created_at, approved_at, used_at)
         SELECT md5('slow ' || i), 'USED', true, '55' || i, now() - interval '5 hours', now() - interval '5 hours',
                now() - interval '5 hours' + interval '35 minutes'
           FROM generate_series(1, 20) i",
    );
    let (normal, long) = (Post::stuck("normal", "31 minutes"), Post::stuck("long", "36 minutes"));
    insert(&database, &[normal.clone(), long.clone()]);
    let run = healer.heal(&[]).exits(3);
    assert_eq!(held(&database, normal.id()).as_deref(), Some("normal_duration"));
    assert_eq!(status(&database, normal.id()), "posting");
    assert_eq!(status(&database, long.id()), "queued", "longer than any of them");
    assert!(run.words("stuck-posts").contains("below normal durations"), "{}", run.words("stuck-posts"));
}

#[test]
fn where_nothing_tells_durations_the_check_says_that_they_are_unknown() {
    let (database, healer) = plain();
    insert(&database, &[Post::stuck("a", "40 minutes")]);
    let run = healer.heal(&[]).exits(0);
    assert!(run.words("stuck-posts").contains("how long posts normally take is unknown"));
}

#[test]
fn a_thousand_held_rows_do_not_hide_the_one_behind_them() {
    let (database, healer) = plain();
    // All too old to be sent, with ids below that of the one.
    database.run(
        "INSERT INTO content_metadata (decision_id, content, status, created_at, updated_at)
         SELECT 'a' || lpad(i::text, 6, '0'), 'x', 'posting', now() - interval '3 days', now() - interval '3 days'
           FROM generate_series(1, 1000) i",
    );
    healer.heal(&[]).exits(3);
    insert(&database, &[Post::stuck("the one", "40 minutes").with_id("z")]);
    let run = healer.heal(&[]).exits(0);
    assert_eq!(status(&database, "z"), "queued");
    assert_eq!((run.count("planned"), run.count("applied"), run.count("held")), (1, 1, 1_000));
}

// Rows that the database refuses.

#[test]
fn a_row_that_a_unique_index_refuses_is_held_and_the_clean_one_is_queued() {
    let database = TestDb::edited(&[
        "ALTER TABLE public.content_metadata ADD dedupe_key text",
        "CREATE UNIQUE INDEX one_queued ON public.content_metadata (dedupe_key) WHERE status = 'queued'",
    ]);
    let healer = Healer::on(&database).init();
    let key = |post: Post, key: &str| post.column("dedupe_key", &format!("'{key}'"));
    let (double, clean) = (key(Post::stuck("double", "40 minutes"), "k"), key(Post::stuck("clean", "40 minutes"), "c"));
    insert(&database, &[double.clone(), clean.clone(), key(Post::new("queued already", "queued"), "k")]);
    let before = row(&database, double.id());
    let run = healer.heal(&[]).exits(3);
    assert_eq!((run.count("applied"), run.count("failed")), (1, 1));
    assert_eq!(status(&database, clean.id()), "queued");
    assert_eq!(row(&database, double.id()), before);
    assert_eq!(held(&database, double.id()).as_deref(), Some("refused"));
    let reason = database.value("SELECT reason FROM healer.held_post").expect("a reason");
    assert!(reason.contains("one_queued") && reason.contains("23505"), "{reason}");
    assert_eq!(journal(&database), 1, "only what was changed is journalled");
    healer.heal(&[]).exits(0);
}

#[test]
fn an_external_id_that_another_post_has_is_held_and_the_others_are_filled() {
    let database = TestDb::new(Shape::Full);
    past(&database, 50, 50);
    database.run("CREATE UNIQUE INDEX one_id ON public.content_generation_metadata_comprehensive (tweet_id)");
    let healer = Healer::on(&database).init();
    let taken = external_id_of("double");
    let posts = [
        Post::posted("double", "2 hours").receipt(1),
        Post::stuck("clean", "40 minutes").receipt(1),
        Post::new("has it", "posted").external_id(&taken),
    ];
    insert(&database, &posts);
    let run = healer.heal(&[]).exits(3);
    assert_eq!((run.count("applied"), run.count("failed")), (1, 1));
    assert_eq!(status(&database, posts[1].id()), "posted");
    assert_eq!(row(&database, posts[0].id()).and_then(|row| row.external_id), None);
    assert_eq!(held(&database, posts[0].id()).as_deref(), Some("refused"));
    healer.heal(&[]).exits(0);
}

fn journal(database: &TestDb) -> i64 {
    database.value("SELECT count(*) FROM healer.action").and_then(|count| count.parse().ok()).unwrap_or(-1)
}

/// A trigger function that does `body` before an update, on the table of the posts.
fn trigger(database: &TestDb, body: &str) {
    database.run(&format!(
        "CREATE FUNCTION public.before_update() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
         CREATE TRIGGER before_update BEFORE UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION public.before_update()",
        database.shape().posts_table()
    ));
}

#[test]
fn a_trigger_that_raises_on_the_middle_row_stops_that_row_only() {
    for shape in Shape::ALL {
        let database = TestDb::new(shape);
        past(&database, 50, 50);
        let healer = Healer::on(&database).init();
        let posts = ["one", "two", "three"].map(|name| Post::stuck(name, "40 minutes"));
        insert(&database, &posts);
        let mut ids: Vec<&str> = posts.iter().map(Post::id).collect();
        ids.sort_unstable();
        let raise =
            format!("IF NEW.decision_id::text = '{}' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW;", ids[1]);
        trigger(&database, &raise);
        let run = healer.heal(&[]).exits(3);
        assert_eq!((run.count("applied"), run.count("failed")), (2, 1), "{shape:?}");
        let statuses: Vec<String> = ids.iter().map(|id| status(&database, id)).collect();
        assert_eq!(statuses, ["queued", "posting", "queued"]);
        assert!(run.says(ids[1], "error").contains("not this one"), "{}", run.says(ids[1], "error"));
        assert_eq!(journal(&database), 2);
        healer.heal(&[]).exits(0);
    }
}

#[test]
fn a_trigger_that_swallows_an_update_leaves_no_journal_row_behind() {
    let (database, healer) = plain();
    let posts = [Post::stuck("swallowed", "40 minutes"), Post::stuck("clean", "40 minutes")];
    insert(&database, &posts);
    trigger(&database, &format!("IF NEW.decision_id = '{}' THEN RETURN NULL; END IF; RETURN NEW;", posts[0].id()));
    let run = healer.heal(&[]).exits(0);
    assert_eq!((run.count("applied"), run.count("skipped")), (1, 1));
    assert_eq!(journal(&database), 1);
    assert_eq!(status(&database, posts[0].id()), "posting");
}

#[test]
fn a_trigger_that_keeps_updated_at_is_journalled_as_it_wrote_it_and_can_be_undone() {
    let (database, healer) = plain();
    let post = Post::stuck("touched", "40 minutes");
    insert(&database, std::slice::from_ref(&post));
    trigger(&database, "NEW.updated_at := timestamptz '2020-02-02 02:02:02.020202+00'; RETURN NEW;");
    let run = healer.heal(&[]).exits(0);
    let after = database.value("SELECT after ->> 'updated_at' FROM healer.action").expect("journalled");
    assert!(after.starts_with("2020-02-02T02:02:02.020202"), "{after}");
    let undo = healer.run(&["undo", &run.id().to_string()]).exits(0);
    assert_eq!(undo.json["restored"], 1);
    assert_eq!(status(&database, post.id()), "posting");
    let again = healer.heal(&[]).exits(0);
    assert_eq!(again.count("planned"), 0, "what was undone is not done again");
}

#[test]
fn a_trigger_that_changes_the_status_back_is_seen_in_the_journal() {
    let (database, healer) = plain();
    let post = Post::stuck("stubborn", "40 minutes");
    insert(&database, std::slice::from_ref(&post));
    trigger(&database, "NEW.status := 'posting'; RETURN NEW;");
    healer.heal(&[]);
    let after = database.value("SELECT after ->> 'status' FROM healer.action");
    assert_eq!(after.as_deref(), Some("posting"), "what RETURNING gave, not what was meant");
}

#[test]
fn a_rule_that_turns_updates_into_nothing_fails_the_actions_and_nothing_else() {
    let (database, healer) = plain();
    insert(&database, &[Post::stuck("ruled", "40 minutes"), Post::posted("without id", "2 hours")]);
    database.run("CREATE RULE no_update AS ON UPDATE TO content_metadata DO INSTEAD NOTHING");
    let before = hash(&database, "content_metadata");
    let run = healer.heal(&[]).exits(3);
    assert_eq!(run.count("failed"), 1, "{:#}", run.json);
    assert_eq!(hash(&database, "content_metadata"), before);
    assert!(recovering(&database, &id_of("without id")), "the other check did its work");
    assert_eq!(journal(&database), 0);
}

// How often.

/// Makes the post stuck again, as a worker that dies each time would.
fn stick_again(database: &TestDb, post: &Post) {
    database.run(&update(database.shape(), post, "status = 'posting', updated_at = now() - interval '40 minutes'"));
}

#[test]
fn a_post_that_is_stuck_after_every_rescue_is_queued_three_times_then_failed_then_left_alone() {
    for shape in Shape::ALL {
        let database = TestDb::new(shape);
        past(&database, 50, 50);
        let healer = Healer::on(&database).init();
        let post = Post::stuck("again and again", "40 minutes");
        insert(&database, std::slice::from_ref(&post));
        for _ in 0..3 {
            healer.heal(&[]).exits(0);
            assert_eq!(status(&database, post.id()), "queued", "{shape:?}");
            stick_again(&database, &post);
        }
        let run = healer.heal(&[]).exits(0);
        assert_eq!(status(&database, post.id()), "failed");
        assert!(run.says(post.id(), "reason").contains("after 3 rescues"), "{}", run.says(post.id(), "reason"));
        let last = healer.heal(&[]).exits(0);
        assert_eq!(last.count("planned"), 0);
    }
}

#[test]
fn rescues_of_ten_days_ago_do_not_count() {
    let (database, healer) = plain();
    let post = Post::stuck("long ago", "40 minutes");
    insert(&database, std::slice::from_ref(&post));
    for _ in 0..3 {
        healer.heal(&[]).exits(0);
        stick_again(&database, &post);
    }
    database.run("UPDATE healer.action SET applied_at = applied_at - interval '10 days'");
    healer.heal(&[]).exits(0);
    assert_eq!(status(&database, post.id()), "queued");
}

#[test]
fn a_rescue_that_was_undone_does_not_count() {
    let (database, healer) = plain();
    let post = Post::stuck("undone once", "40 minutes");
    insert(&database, std::slice::from_ref(&post));
    for round in 0..4 {
        let run = healer.heal(&[]).exits(0);
        assert_eq!(status(&database, post.id()), "queued", "round {round}");
        if round == 0 {
            healer.run(&["undo", &run.id().to_string()]).exits(0);
            database.run("UPDATE healer.held_post SET resolved_at = now(), resolution = 'gone'");
        }
        stick_again(&database, &post);
    }
    healer.heal(&[]).exits(0);
    assert_eq!(status(&database, post.id()), "failed");
}

// What is known as sent.

#[test]
fn a_stuck_post_with_a_receipt_becomes_posted_with_its_id_and_is_never_queued() {
    let (database, healer) = trusted();
    let post = Post::stuck("sent", "40 minutes").receipt(1);
    insert(&database, std::slice::from_ref(&post));
    let mut watcher = database.client();
    watcher
        .batch_execute(
            "CREATE TABLE seen (status text);
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO seen VALUES (NEW.status); RETURN NEW; END $$;
             CREATE TRIGGER note AFTER UPDATE ON content_generation_metadata_comprehensive
             FOR EACH ROW EXECUTE FUNCTION note()",
        )
        .expect("watched");
    healer.heal(&[]).exits(0);
    let after = row(&database, post.id()).expect("there");
    assert_eq!(after.status.as_deref(), Some("posted"));
    assert_eq!(after.external_id, Some(external_id_of("sent")));
    assert_eq!(database.value("SELECT string_agg(status, ',') FROM seen").as_deref(), Some("posted"));
    let posted_at = database.value("SELECT posted_at IS NOT NULL FROM content_metadata WHERE tweet_id LIKE '17%'");
    assert_eq!(posted_at.as_deref(), Some("true"));
}

#[test]
fn the_strongest_ledger_gives_the_id_where_they_differ() {
    let (database, healer) = trusted();
    let post =
        Post::stuck("differ", "40 minutes").event("POST_SUCCESS", "'111'").attempt("USED", "'222'", "true").receipt(1);
    insert(&database, std::slice::from_ref(&post));
    healer.heal(&[]).exits(0);
    assert_eq!(row(&database, post.id()).and_then(|row| row.external_id), Some(external_id_of("differ")));
}

#[test]
fn a_view_of_decisions_proves_where_it_is_a_table_of_its_own() {
    let database = TestDb::edited(&[
        "CREATE TABLE public.posted_decisions (decision_id text, tweet_id text, posted_at timestamptz)",
    ]);
    past(&database, 20, 0);
    database.run(
        "INSERT INTO posted_decisions SELECT decision_id, tweet_id, posted_at FROM content_metadata WHERE status = 'posted'",
    );
    let healer = Healer::on(&database).init();
    let sent = Post::stuck("sent", "40 minutes")
        .and("INSERT INTO posted_decisions VALUES ($ID, '171717', now() - interval '39 minutes')");
    let silent = Post::stuck("silent", "40 minutes");
    insert(&database, &[sent.clone(), silent.clone()]);
    healer.heal(&[]).exits(0);
    assert_eq!(row(&database, sent.id()).and_then(|row| row.external_id).as_deref(), Some("171717"));
    assert_eq!(status(&database, silent.id()), "queued", "it knows all posts of the last days, and not this one");
}

#[test]
fn silence_counts_from_95_percent_on_and_not_below() {
    for (known, becomes) in [(95, "queued"), (94, "posting")] {
        let database = TestDb::new(Shape::Full);
        past(&database, 100, known);
        let healer = Healer::on(&database).init();
        let post = Post::stuck("silent", "40 minutes");
        insert(&database, std::slice::from_ref(&post));
        let run = healer.heal(&[]);
        assert_eq!(status(&database, post.id()), becomes, "{known} of 100");
        let evidence = &run.action(post.id()).expect("an action")["evidence"];
        if becomes == "queued" {
            assert_eq!((run.code, &evidence["coverage"]), (0, &json!(0.95)));
        } else {
            assert_eq!(run.code, 3);
            assert_eq!(held(&database, post.id()).as_deref(), Some("unproven"));
            assert!(evidence["words"].as_str().is_some_and(|words| words.contains("94.0 %")), "{evidence}");
        }
    }
}

#[test]
fn too_few_posts_make_no_ledger_trusted() {
    for (posts, becomes) in [(4, "posting"), (5, "queued")] {
        let database = TestDb::new(Shape::Full);
        past(&database, posts, posts);
        let healer = Healer::on(&database).init();
        let post = Post::stuck("silent", "40 minutes");
        insert(&database, std::slice::from_ref(&post));
        healer.heal(&[]);
        assert_eq!(status(&database, post.id()), becomes, "{posts} posts");
    }
}

#[test]
fn on_unproven_decides_where_nothing_is_known() {
    for (setting, full, minimal) in
        [("auto", "posting", "queued"), ("requeue", "queued", "queued"), ("hold", "posting", "posting")]
    {
        for (shape, becomes) in [(Shape::Full, full), (Shape::Minimal, minimal)] {
            let database = TestDb::new(shape);
            let config = format!("[heal.stuck-posts]\non_unproven = \"{setting}\"\n");
            let healer = Healer::on(&database).with_config(&config).init();
            let post = Post::stuck("unproven", "40 minutes");
            insert(&database, std::slice::from_ref(&post));
            healer.heal(&[]);
            assert_eq!(status(&database, post.id()), becomes, "{setting} on {shape:?}");
        }
    }
}

#[test]
fn a_failure_after_the_submit_is_listed_as_possibly_live_and_left_alone() {
    let (database, healer) = trusted();
    let post = Post::failed("possibly live", "8 days").error("Timed out waiting for confirmation after submit");
    insert(&database, &[post.clone(), Post::failed("plain", "8 days").error("Invalid media")]);
    let before = row(&database, post.id());
    let run = healer.heal(&[]).exits(0);
    assert_eq!(row(&database, post.id()), before);
    assert_eq!(run.check("old-failed")["status"], "warning");
    let words = run.words("old-failed");
    assert!(words.contains("1 possibly live") && words.contains(post.id()), "{words}");
    assert_eq!(status(&database, &id_of("plain")), "archived");
}

// What the server is.

#[test]
fn where_writing_is_off_by_default_heal_stops_and_the_report_works() {
    let (database, healer) = plain();
    insert(&database, &[Post::stuck("a", "40 minutes")]);
    database.run(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name()));
    let run = healer.heal(&[]).exits(75);
    assert!(run.json["error"]["message"].as_str().is_some_and(|text| text.contains("default_transaction_read_only")));
    healer.heal(&["--dry-run"]).exits(0);
    let report = healer.run(&["report", "health"]);
    assert_ne!(report.code, 75, "{:#}", report.json);
    assert_eq!(status(&database, &id_of("a")), "posting");
}

#[test]
fn a_failure_of_a_minute_ago_and_one_that_is_planned_for_later_are_kept() {
    for shape in Shape::ALL {
        let database = TestDb::new(shape);
        let healer = Healer::on(&database).init();
        let posts = [
            Post::failed("a minute ago", "1 minute").created("8 days"),
            Post::failed("planned for later", "8 days").scheduled("-1 hour"),
        ];
        insert(&database, &posts);
        let run = healer.heal(&[]).exits(0);
        assert_eq!(run.count("planned"), 0, "{shape:?}");
        assert_eq!(posts.map(|post| status(&database, post.id())), ["failed", "failed"]);
    }
}

/// Creates a role of this name, made of the database's name so that tests do not share it, that may do `grants`.
fn role(database: &TestDb, word: &str, grants: &str) -> String {
    let role = format!("{word}_{}", database.name());
    database.run(&format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA public TO {role};
         {}",
        grants.replace("$ROLE", &role)
    ));
    role
}

/// Everything that `heal` needs.
const ALL_GRANTS: &str = "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO $ROLE;
    GRANT USAGE ON SCHEMA healer TO $ROLE; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA healer TO $ROLE;";

fn drop_role(database: &TestDb, role: &str) {
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn a_short_statement_timeout_of_the_role_makes_smaller_batches_keeps_the_progress_and_reports_the_rest() {
    const ROWS: i64 = 200_000;
    const EACH: i64 = 600;

    let (database, _) = plain();
    database.run(&format!(
        "INSERT INTO content_metadata (decision_id, content, status, created_at, updated_at)
         SELECT 'f' || lpad(i::text, 6, '0'), 'x', 'failed', now() - interval '30 days', now() - interval '20 days'
           FROM generate_series(1, {ROWS}) i;
         ANALYZE content_metadata"
    ));
    // A thousand rows take longer than the limit on any machine, a few do not.
    trigger(&database, "PERFORM pg_sleep(0.0002); RETURN NEW;");
    let role = role(&database, "slow", ALL_GRANTS);
    database.run(&format!("ALTER ROLE {role} SET statement_timeout = '50ms'"));
    let healer = Healer::at(database.url_as(&role));
    let each = EACH.to_string();
    let arguments = ["heal", "--only", "old-failed", "--max-actions", &each, "-v"];
    let (mut archived, mut progressed) = (0, 0);
    // A loaded machine may need longer than the limit for reading alone: such a run says so and changes nothing.
    for _ in 0..50 {
        let run = healer.run(&arguments);
        let now: i64 = database
            .value("SELECT count(*) FROM content_metadata WHERE status = 'archived'")
            .and_then(|count| count.parse().ok())
            .unwrap_or(0);
        assert_eq!(run.count("applied"), now - archived, "{:#}", run.json);
        if now > archived {
            assert!(run.stderr.contains("going on with batches of"), "{}", run.stderr);
            assert_eq!(
                run.count("remaining"),
                ROWS - archived - run.count("applied") - run.count("failed"),
                "{:#}",
                run.json
            );
            progressed += 1;
        } else {
            let check = run.check("old-failed");
            assert!(
                check["status"] == "unknown" || run.count("failed") > 0,
                "neither progress nor a reason: {:#}",
                run.json
            );
        }
        archived = now;
        if progressed == 3 {
            break;
        }
    }
    assert_eq!(progressed, 3, "{archived} are archived");
    assert_eq!(journal(&database), archived, "each change has its row");
    let twice =
        database.value("SELECT count(*) FROM (SELECT target FROM healer.action GROUP BY target HAVING count(*) > 1) d");
    assert_eq!(twice.as_deref(), Some("0"), "each once");
    drop_role(&database, &role);
}

#[test]
fn two_heals_and_a_worker_that_goes_the_other_way_change_every_row_once_without_a_deadlock() {
    let (database, _) = plain();
    database.run(
        "INSERT INTO content_metadata (decision_id, content, status, created_at, updated_at)
         SELECT 'p' || lpad(i::text, 6, '0'), 'x', 'posting', now() - interval '2 hours', now() - interval '1 hour'
           FROM generate_series(1, 10000) i;
         ANALYZE content_metadata",
    );
    let url = database.url();
    let worker = std::thread::spawn(move || {
        let mut client = Client::connect(&url, NoTls).expect("a connection");
        let mut changed = 0;
        // Row by row, against the order of the key, many of them in one transaction: it holds what healer wants next.
        let update =
            client.prepare("UPDATE content_metadata SET content = 'seen' WHERE decision_id = $1").expect("prepared");
        for from in (0..10_000).step_by(500).rev() {
            let mut transaction = client.transaction().expect("begun");
            for number in (from + 1..=from + 500).rev() {
                changed +=
                    transaction.execute(&update, &[&format!("p{number:06}")]).expect("the worker meets no deadlock");
            }
            transaction.commit().expect("committed");
        }
        changed
    });
    let healers: Vec<_> = (0..2).map(|_| Healer::on(&database)).collect();
    let running: Vec<_> = healers.iter().map(|healer| healer.start(&["heal", "--max-actions", "10000"])).collect();
    let runs: Vec<Run> = running.into_iter().map(crate::support::binary::Running::end).collect();
    assert_eq!(worker.join().expect("no panic"), 10_000);
    let applied: i64 = runs.iter().map(|run| run.count("applied").max(0)).sum();
    assert!(runs.iter().all(|run| run.code == 0), "{:#?}", runs.iter().map(|run| &run.stderr).collect::<Vec<_>>());
    // What the worker held when its batch came is left to the next run.
    Healer::on(&database).heal(&["--max-actions", "10000"]).exits(0);
    assert_eq!(
        database.value("SELECT count(*) FROM content_metadata WHERE status = 'queued'").as_deref(),
        Some("10000")
    );
    let twice =
        database.value("SELECT count(*) FROM (SELECT target FROM healer.action GROUP BY target HAVING count(*) > 1) d");
    assert_eq!((twice.as_deref(), journal(&database)), (Some("0"), 10_000));
    assert!(applied <= 10_000);
}

#[test]
fn a_second_run_returns_while_the_lock_is_held_and_says_who_is_at_work() {
    let (database, healer) = plain();
    // With a patience of five minutes: whoever waited for the lock would not come back before its holder lets go.
    let healer = healer.with_config(PATIENT);
    insert(&database, &[Post::stuck("a", "40 minutes")]);
    // Held as a row lock by somebody who never answers, and then as a lease that has not run out.
    let mut somebody = database.client();
    somebody.batch_execute("BEGIN; SELECT 1 FROM healer.lease FOR UPDATE").expect("held");
    let run = healer.heal(&[]).exits(0);
    assert_eq!(run.json["status"], "skipped");
    assert!(run.json["notes"].to_string().contains("another run is at work"), "{:#}", run.json);
    somebody
        .batch_execute(
            "UPDATE healer.lease SET holder = 'night-shift (pid 7)', token = 'x', acquired_at = now(),
                    expires_at = now() + interval '1 minute'; COMMIT",
        )
        .expect("held");
    let run = healer.heal(&[]).exits(0);
    assert!(run.json["notes"].to_string().contains("night-shift"), "{:#}", run.json);
    assert_eq!(status(&database, &id_of("a")), "posting");
    assert_eq!(database.value("SELECT count(*) FROM healer.run").as_deref(), Some("0"), "no run was opened");
}

#[test]
fn five_at_once_through_a_pooler_with_one_connection_neither_fail_nor_leave_anything_behind() {
    let (database, _) = plain();
    let Some(pooler) = Pooler::start(server(), database.name()) else {
        eprintln!("pgbouncer is not installed: not tried");
        return;
    };
    let posts: Vec<Post> = (0..20).map(|i| Post::stuck(&format!("post {i}"), "40 minutes")).collect();
    insert(&database, &posts);
    let healers: Vec<Healer> = (0..5).map(|_| Healer::at(pooler.url())).collect();
    let running: Vec<_> = healers.iter().map(|healer| healer.start(&["heal"])).collect();
    for run in running.into_iter().map(crate::support::binary::Running::end) {
        assert_eq!(run.code, 0, "{:#}\n{}", run.json, run.stderr);
        assert!(!run.stderr.contains("prepared statement"), "{}", run.stderr);
    }
    assert!(posts.iter().all(|post| status(&database, post.id()) == "queued"));
    assert_eq!(journal(&database), 20);
    // The pooled connection is as it was: no lock, no transaction, no setting of healer's.
    let left = database.value(
        "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
          WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND l.locktype <> 'virtualxid'",
    );
    assert_eq!(left.as_deref(), Some("0"));
    let mut client = pooler.client().expect("a connection");
    let settings = client
        .simple_query("SELECT current_setting('row_security') || ' ' || current_setting('statement_timeout')")
        .expect("asked")
        .into_iter()
        .find_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
    assert_eq!(settings.as_deref(), Some("on 0"));
}

#[test]
fn naive_timestamps_that_hold_utc_are_read_as_such_in_whatever_zone_the_role_is() {
    for zone in ["Asia/Tokyo", "America/New_York"] {
        let database = TestDb::edited(&[variant::NAIVE_TIMES]);
        let role = role(&database, "zoned", "");
        let _ = Healer::on(&database).init();
        database.run(&ALL_GRANTS.replace("$ROLE", &role));
        database.run(&format!("ALTER ROLE {role} SET TimeZone = '{zone}'"));
        database.run(
            "INSERT INTO content_metadata (decision_id, content, status, created_at, updated_at)
             SELECT name, 'x', 'posting', (now() AT TIME ZONE 'UTC') - interval '1 hour', (now() AT TIME ZONE 'UTC') - age
               FROM (VALUES ('ten', interval '10 minutes'), ('forty', interval '40 minutes')) v (name, age)",
        );
        Healer::at(database.url_as(&role)).heal(&[]).exits(0);
        assert_eq!(status(&database, "ten"), "posting", "{zone}");
        assert_eq!(status(&database, "forty"), "queued", "{zone}");
        let naive = database.value(
            "SELECT abs(extract(epoch FROM updated_at - (now() AT TIME ZONE 'UTC'))) < 600 FROM content_metadata
              WHERE decision_id = 'forty'",
        );
        assert_eq!(naive.as_deref(), Some("true"), "what is written is UTC too: {zone}");
        drop_role(&database, &role);
    }
}

#[test]
fn naive_timestamps_of_another_zone_are_read_in_the_zone_that_is_configured() {
    let database = TestDb::edited(&[variant::NAIVE_TIMES]);
    let healer = Healer::on(&database).with_config("[posts]\ntimezone = \"Asia/Tokyo\"\n").init();
    database.run(
        "INSERT INTO content_metadata (decision_id, content, status, created_at, updated_at)
         SELECT name, 'x', 'posting', (now() AT TIME ZONE 'Asia/Tokyo') - interval '1 hour',
                (now() AT TIME ZONE 'Asia/Tokyo') - age
           FROM (VALUES ('ten', interval '10 minutes'), ('forty', interval '40 minutes')) v (name, age)",
    );
    healer.heal(&[]).exits(0);
    assert_eq!((status(&database, "ten"), status(&database, "forty")), ("posting".into(), "queued".into()));
}

// Rows that are hidden.

#[test]
fn row_level_security_on_the_posts_is_an_error_and_never_healthy() {
    for shape in Shape::ALL {
        let database = TestDb::new(shape);
        let role = role(&database, "hidden", "");
        let _ = Healer::on(&database).init();
        database.run(&ALL_GRANTS.replace("$ROLE", &role));
        database.run(&format!("ALTER TABLE {} ENABLE ROW LEVEL SECURITY", shape.posts_table()));
        if shape == Shape::Full && server().major() >= 15 {
            // A view reads with its owner's rights unless it is told otherwise.
            database.run("ALTER VIEW content_metadata SET (security_invoker = true)");
        }
        insert(&database, &[Post::stuck("stuck", "40 minutes")]);
        if shape == Shape::Full && server().major() < 15 {
            continue;
        }
        let healer = Healer::at(database.url_as(&role));
        for args in [&["heal"][..], &["heal", "--dry-run"], &["report", "health"]] {
            let run = healer.run(args);
            assert_eq!(run.code, 77, "{shape:?} {args:?}: {:#}", run.json);
        }
        assert_eq!(status(&database, &id_of("stuck")), "posting");
        drop_role(&database, &role);
    }
}

#[test]
fn a_hidden_ledger_holds_its_posts_finishes_the_pass_and_exits_77() {
    let (database, _) = trusted();
    // The receipts have row-level security, and this role does not stand above it.
    let role = role(&database, "blind", ALL_GRANTS);
    let healer = Healer::at(database.url_as(&role));
    let posts = [
        Post::stuck("silent", "40 minutes"),
        Post::stuck("known elsewhere", "40 minutes").event("POST_SUCCESS", "'1717'"),
        Post::failed("old", "9 days"),
        Post::posted("without id", "2 hours"),
    ];
    insert(&database, &posts);
    let run = healer.heal(&[]).exits(77);
    assert_eq!(held(&database, posts[0].id()).as_deref(), Some("uncertain"));
    assert_eq!(status(&database, posts[0].id()), "posting");
    assert_eq!(status(&database, posts[1].id()), "posted", "a proof is a proof");
    assert_eq!(status(&database, posts[2].id()), "failed", "nobody knows whether it was sent");
    assert!(recovering(&database, posts[3].id()));
    assert!(run.json["notes"].to_string().contains("post_receipts"), "{}", run.json["notes"]);
    assert_eq!(
        database.value("SELECT status FROM healer.run").as_deref(),
        Some("partial"),
        "the pass was finished and recorded"
    );
    healer.heal(&[]).exits(77);
    drop_role(&database, &role);
}

#[test]
fn a_ledger_without_a_grant_is_treated_as_hidden() {
    let (database, _) = trusted();
    database.run("ALTER TABLE post_receipts DISABLE ROW LEVEL SECURITY");
    let role = role(&database, "poor", &format!("{ALL_GRANTS} REVOKE ALL ON post_receipts FROM $ROLE;"));
    insert(&database, &[Post::stuck("silent", "40 minutes")]);
    Healer::at(database.url_as(&role)).heal(&[]).exits(77);
    assert_eq!(held(&database, &id_of("silent")).as_deref(), Some("uncertain"));
    drop_role(&database, &role);
}

// What a killed run leaves.

#[test]
fn after_a_healer_that_was_killed_hours_ago_the_next_run_works() {
    let (database, healer) = plain();
    insert(&database, &[Post::stuck("a", "40 minutes")]);
    database.run(
        "INSERT INTO healer.run (pass, command, version, started_at) VALUES ('heal', 'heal', '0', now() - interval '3 hours');
         UPDATE healer.lease SET token = 'dead', holder = 'dead', acquired_at = now() - interval '3 hours',
                expires_at = now() - interval '179 minutes'",
    );
    healer.heal(&[]).exits(0);
    assert_eq!(status(&database, &id_of("a")), "queued");
}

#[test]
fn a_healer_that_is_killed_between_plan_and_batch_leaves_the_rows_to_the_next_one() {
    let (database, healer) = plain();
    let posts: Vec<Post> = (0..10).map(|i| Post::stuck(&format!("post {i}"), "40 minutes")).collect();
    insert(&database, &posts);
    let mut gate = database.client();
    gate.batch_execute("BEGIN; LOCK TABLE healer.signal IN ACCESS EXCLUSIVE MODE").expect("locked");
    let mut running = Healer::on(&database).with_config(PATIENT).start(&["heal"]);
    running.await_waiting(&database);
    running.kill();
    gate.batch_execute("COMMIT").expect("released");
    assert_eq!(journal(&database), 0);
    // Its lease has not run out: the others wait for that, and then work.
    let run = healer.heal(&[]).exits(0);
    assert_eq!(run.json["status"], "skipped");
    database.run("UPDATE healer.lease SET expires_at = now() - interval '1 second'");
    let run = healer.heal(&[]).exits(0);
    assert_eq!(run.count("applied"), 10);
}

#[test]
fn a_run_whose_lease_was_taken_over_changes_nothing_more() {
    let (database, _) = plain();
    insert(&database, &[Post::stuck("a", "40 minutes")]);
    let run = between_plan_and_batch(&database, &[], |client| {
        client
            .batch_execute("UPDATE healer.lease SET token = 'another', expires_at = now() + interval '1 minute' WHERE pass = 'heal'")
            .expect("taken over");
    })
    .exits(3);
    assert_eq!(run.count("applied"), 0);
    assert_eq!(status(&database, &id_of("a")), "posting");
    let token = database.value("SELECT token FROM healer.lease WHERE expires_at > now()");
    assert_eq!(token.as_deref(), Some("another"), "the other's lease is not given back");
}

// Too many at once.

#[test]
fn five_thousand_old_posting_rows_are_held_and_none_is_queued() {
    let (database, healer) = plain();
    database.run(
        "INSERT INTO content_metadata (decision_id, content, status, created_at, updated_at)
         SELECT 'p' || lpad(i::text, 6, '0'), 'x', 'posting', now() - interval '25 hours' - (i % 90) * interval '1 day',
                now() - interval '24 hours 30 minutes' - (i % 90) * interval '1 day'
           FROM generate_series(1, 5000) i",
    );
    let run = healer.heal(&[]).exits(3);
    assert_eq!(
        database.value("SELECT count(*) FROM content_metadata WHERE status = 'posting'").as_deref(),
        Some("5000")
    );
    assert_eq!(database.value("SELECT count(*) FROM healer.held_post WHERE code = 'too_old'").as_deref(), Some("5000"));
    assert_eq!((run.count("planned"), run.count("held"), run.json["truncated"].as_bool()), (5_000, 5_000, Some(true)));
    assert_eq!(run.actions().len(), 1_000, "a document lists a thousand");
    let report = healer.run(&["report", "health"]);
    let text = report.json.to_string();
    assert!(text.contains("5000"), "{text}");
    healer.heal(&[]).exits(0);
}

#[test]
fn the_brake_stops_all_requeues_until_somebody_says_a_number() {
    let (database, healer) = plain();
    // Enough open posts that a half of them is no matter here.
    database.run(
        "INSERT INTO content_metadata (decision_id, content, status) SELECT 'q' || i, 'x', 'queued' FROM generate_series(1, 200) i",
    );
    let posts: Vec<Post> = (0..26).map(|i| Post::stuck(&format!("post {i}"), "40 minutes")).collect();
    insert(&database, &posts);
    let run = healer.heal(&[]).exits(3);
    assert_eq!((run.count("applied"), run.count("remaining")), (0, 26));
    assert!(run.words("stuck-posts").contains("brake:"), "{}", run.words("stuck-posts"));
    // Fewer than the limit, and still stopped: nobody has looked.
    database.run(&format!("DELETE FROM content_metadata WHERE decision_id = '{}'", posts[0].id()));
    healer.heal(&[]).exits(3);
    let run = healer.heal(&["--max-actions", "10"]).exits(3);
    assert_eq!((run.count("applied"), run.count("remaining")), (10, 15));
    let run = healer.heal(&[]).exits(0);
    assert_eq!(run.count("applied"), 15, "released, and within the limits again");
}

#[test]
fn a_run_that_may_change_nothing_or_looks_at_something_else_releases_no_brake() {
    let (database, healer) = plain();
    let posts: Vec<Post> = (0..40).map(|i| Post::stuck(&format!("post {i}"), "40 minutes")).collect();
    insert(&database, &posts);
    healer.heal(&[]).exits(3);
    healer.heal(&["--max-actions", "0"]).exits(3);
    healer.heal(&["--only", "old-failed", "--max-actions", "500"]).exits(0);
    database.run("UPDATE content_metadata SET status = 'cancelled' WHERE decision_id IN (SELECT decision_id FROM content_metadata ORDER BY decision_id LIMIT 35)");
    healer.heal(&[]).exits(3);
    assert_eq!(database.value("SELECT count(*) FROM content_metadata WHERE status = 'posting'").as_deref(), Some("5"));
    healer.heal(&["--max-actions", "5"]).exits(0);
    assert_eq!(database.value("SELECT count(*) FROM content_metadata WHERE status = 'queued'").as_deref(), Some("5"));
}

#[test]
fn what_a_ledger_proves_proceeds_while_the_brake_is_on() {
    let (database, healer) = trusted();
    let mut posts: Vec<Post> = (0..30).map(|i| Post::stuck(&format!("post {i}"), "40 minutes")).collect();
    posts.push(Post::stuck("sent", "40 minutes").receipt(1));
    insert(&database, &posts);
    let run = healer.heal(&[]).exits(3);
    assert_eq!(run.count("applied"), 1);
    assert_eq!(status(&database, &id_of("sent")), "posted");
}

#[test]
fn nothing_is_queued_while_the_circuit_breaker_is_open() {
    let (database, healer) = plain();
    insert(&database, &[Post::stuck("a", "40 minutes")]);
    database.run("SELECT healer.report_breaker('posting', true, 15)");
    let run = healer.heal(&[]).exits(3);
    assert!(run.words("stuck-posts").contains("circuit breaker is open"), "{}", run.words("stuck-posts"));
    assert_eq!(status(&database, &id_of("a")), "posting");
    database.run("SELECT healer.report_breaker('posting', false, 0)");
    healer.heal(&[]).exits(0);
    assert_eq!(status(&database, &id_of("a")), "queued");
}

#[test]
fn rescues_that_get_stuck_again_stop_further_ones() {
    let (database, healer) = plain();
    let posts: Vec<Post> = (0..6).map(|i| Post::stuck(&format!("post {i}"), "40 minutes")).collect();
    insert(&database, &posts);
    healer.heal(&[]).exits(0);
    for post in &posts[..4] {
        stick_again(&database, post);
    }
    let run = healer.heal(&[]).exits(3);
    assert_eq!(run.count("applied"), 0);
    assert!(run.words("stuck-posts").contains("4 of the 6 posts rescued"), "{}", run.words("stuck-posts"));
}

// Other shapes.

#[test]
fn an_enum_with_the_label_archived_works() {
    let database = TestDb::edited(&[variant::ENUM_STATUS]);
    let healer = Healer::on(&database).init();
    let posts = [Post::stuck("stuck", "40 minutes"), Post::failed("old", "8 days"), Post::posted("no id", "2 hours")];
    insert(&database, &posts);
    let before = hash(&database, "content_metadata");
    let run = healer.heal(&[]).exits(0);
    assert_eq!(posts.clone().map(|post| status(&database, post.id())), ["queued", "archived", "posted"]);
    healer.run(&["undo", &run.id().to_string()]).exits(0);
    assert_eq!(hash(&database, "content_metadata"), before);
}

/// The SQL that `old-failed` prints where it cannot archive.
fn remedy(run: &Run) -> String {
    let words = run.words("old-failed");
    let line = words.lines().find_map(|line| line.strip_prefix("to allow it: "));
    line.unwrap_or_else(|| panic!("no remedy: {words}")).to_owned()
}

#[test]
fn where_the_status_does_not_take_archived_the_check_prints_the_alter_that_works() {
    for edit in [variant::ENUM_STATUS_WITHOUT_ARCHIVED, variant::CHECK_WITHOUT_ARCHIVED] {
        let database = TestDb::edited(&[edit]);
        let healer = Healer::on(&database).init();
        insert(&database, &[Post::failed("old", "8 days"), Post::stuck("stuck", "40 minutes")]);
        let run = healer.heal(&[]).exits(0);
        assert_eq!(status(&database, &id_of("old")), "failed");
        assert_eq!(status(&database, &id_of("stuck")), "queued", "the other check did its work");
        database.run(&remedy(&run));
        healer.heal(&[]).exits(0);
        assert_eq!(status(&database, &id_of("old")), "archived", "{}", remedy(&run));
    }
}

#[test]
fn a_check_that_does_not_know_posting_is_no_hindrance_to_reading() {
    let database = TestDb::edited(&[variant::CHECK_WITHOUT_POSTING]);
    let healer = Healer::on(&database).init();
    insert(&database, &[Post::failed("old", "8 days"), Post::posted("no id", "2 hours")]);
    healer.heal(&[]).exits(0);
    assert!(recovering(&database, &id_of("no id")));
}

#[test]
fn a_check_of_other_columns_with_the_status_does_not_mislead() {
    let database = TestDb::edited(&[
        "ALTER TABLE content_metadata ADD CONSTRAINT posted_has_time CHECK (status <> 'posted' OR posted_at IS NOT NULL)",
        "ALTER TABLE content_metadata ADD CONSTRAINT no_archived_replies CHECK (status <> 'archived' OR decision_type <> 'reply')",
    ]);
    let healer = Healer::on(&database).init();
    let posts = [Post::failed("single", "8 days").kind("single"), Post::failed("reply", "8 days").kind("reply")];
    insert(&database, &posts);
    let run = healer.heal(&[]).exits(3);
    assert_eq!(posts.map(|post| status(&database, post.id())), ["archived", "failed"]);
    assert_eq!((run.count("applied"), run.count("failed")), (1, 1));
    assert_eq!(held(&database, &id_of("reply")).as_deref(), Some("refused"));
    healer.heal(&[]).exits(0);
}

const TO_TABLE: &str = "[heal.old-failed]\narchive_to = \"table\"\n";

#[test]
fn archiving_to_the_table_keeps_the_whole_row_and_undo_brings_it_back() {
    let database = TestDb::edited(&[
        "ALTER TABLE content_metadata ADD length int GENERATED ALWAYS AS (length(content)) STORED",
        "ALTER TABLE content_metadata ADD \"odd name\" numeric(10, 3), ADD tags text[], ADD raw bytea",
    ]);
    let healer = Healer::on(&database).with_config(TO_TABLE).init();
    let old = Post::failed("old", "8 days")
        .features(&json!({ "a": [1, 2.50, null], "b": "ä\n\"" }))
        .column("\"odd name\"", "12.500")
        .column("tags", "'{a,NULL,\"b c\"}'")
        .column("raw", "'\\x00ff'");
    insert(&database, &[old.clone(), Post::failed("young", "6 days"), Post::stuck("stuck", "40 minutes")]);
    let before = hash(&database, "content_metadata");
    let run = healer.heal(&["--only", "old-failed"]).exits(0);
    assert_eq!(row(&database, old.id()), None);
    assert_eq!(database.value("SELECT count(*) FROM healer.archived_post").as_deref(), Some("1"));
    assert_eq!(status(&database, &id_of("young")), "failed");
    let undo = healer.run(&["undo", &run.id().to_string()]).exits(0);
    assert_eq!(undo.json["restored"], 1);
    assert_eq!(hash(&database, "content_metadata"), before, "bit by bit");
    assert_eq!(database.value("SELECT count(*) FROM healer.archived_post").as_deref(), Some("0"), "in one place only");
    let again = healer.heal(&["--only", "old-failed"]).exits(0);
    assert_eq!(again.count("planned"), 0);
    // The key goes on counting where it was.
    database.run("INSERT INTO content_metadata (decision_id, content) VALUES ('next', 'x')");
}

#[test]
fn archiving_to_the_table_is_refused_where_a_foreign_key_points_to_the_posts() {
    let database = TestDb::edited(&[
        "CREATE TABLE children (post text REFERENCES content_metadata (decision_id) ON DELETE CASCADE)",
    ]);
    let healer = Healer::on(&database).with_config(TO_TABLE).init();
    let old = Post::failed("old", "8 days").and("INSERT INTO children VALUES ($ID)");
    insert(&database, &[old.clone(), Post::stuck("stuck", "40 minutes")]);
    let run = healer.heal(&[]).exits(3);
    assert!(run.words("old-failed").contains("children_post_fkey"), "{}", run.words("old-failed"));
    assert_eq!(status(&database, old.id()), "failed");
    assert_eq!(database.value("SELECT count(*) FROM children").as_deref(), Some("1"));
    assert_eq!(status(&database, &id_of("stuck")), "queued", "the other checks were done");
}

#[test]
fn archiving_to_the_table_is_refused_on_a_view_a_partitioned_table_and_with_a_delete_trigger() {
    let with_trigger = "CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$;
        CREATE TRIGGER gone BEFORE DELETE ON content_metadata FOR EACH ROW EXECUTE FUNCTION gone()";
    for database in [TestDb::new(Shape::Full), TestDb::edited(&[variant::PARTITIONED]), TestDb::edited(&[with_trigger])]
    {
        let healer = Healer::on(&database).with_config(TO_TABLE).init();
        insert(&database, &[Post::failed("old", "8 days")]);
        healer.heal(&[]).exits(3);
        assert_eq!(status(&database, &id_of("old")), "failed");
    }
}

#[test]
fn a_partitioned_table_is_healed_and_undone_like_any_other() {
    let database = TestDb::edited(&[variant::PARTITIONED]);
    let healer = Healer::on(&database).init();
    let posts: Vec<Post> = (0..10).map(|i| Post::stuck(&format!("post {i}"), "40 minutes")).collect();
    insert(&database, &posts);
    let before = [hash(&database, "content_metadata_0"), hash(&database, "content_metadata_1")];
    let run = healer.heal(&[]).exits(0);
    assert!(posts.iter().all(|post| status(&database, post.id()) == "queued"));
    healer.run(&["undo", &run.id().to_string()]).exits(0);
    assert_eq!([hash(&database, "content_metadata_0"), hash(&database, "content_metadata_1")], before);
}

#[test]
fn ids_that_are_numbers_or_uuids_or_fixed_texts_work_through_heal_undo_and_resolve() {
    let char_id = "ALTER TABLE public.content_metadata ALTER decision_id TYPE char(40), ALTER tweet_id TYPE char(20),
        ALTER status DROP DEFAULT, ALTER status TYPE char(10)";
    let variants = [
        (variant::UUID_ID, id_of("a"), id_of("b")),
        (variant::BIGINT_ID, "12".to_owned(), "9007199254740993".to_owned()),
        // The largest of each type: ids of platforms have 19 digits.
        (variant::BIGINT_ID, "1734012345678901234".to_owned(), "9223372036854775807".to_owned()),
        (
            "ALTER TABLE public.content_metadata ALTER decision_id TYPE int USING decision_id::int",
            "2147483646".into(),
            "2147483647".into(),
        ),
        (
            "ALTER TABLE public.content_metadata ALTER decision_id TYPE int USING decision_id::int",
            "1".into(),
            "12".into(),
        ),
        (char_id, "abc".into(), "abd".into()),
    ];
    for (edit, one, other) in variants {
        let database = TestDb::edited(&[edit]);
        // What no number of the type is stands in the journal of an earlier system.
        let healer = Healer::on(&database).init();
        database.run(
            "INSERT INTO healer.held_post (post, check_name, status, code, reason)
             SELECT p, 'stuck-posts', 'posting', 'uncertain', 'x' FROM unnest(ARRAY['9223372036854775808', '2147483648', '-', '']) p",
        );
        let posts = [
            Post::stuck("one", "40 minutes").with_id(&one),
            Post::stuck("other", "40 minutes").with_id(&other).created("3 days"),
        ];
        insert(&database, &posts);
        let before = hash(&database, "content_metadata");
        let trimmed = |id: &str| status(&database, id).trim().to_owned();
        let run = healer.heal(&[]).exits(3);
        assert_eq!((trimmed(&one), trimmed(&other)), ("queued".into(), "posting".into()), "{edit}");
        healer.run(&["undo", &run.id().to_string()]).exits(0);
        assert_eq!(hash(&database, "content_metadata"), before, "{edit}");
        let resolve = healer.run(&["resolve", &other, "--posted", "1234567"]).exits(0);
        assert_eq!(trimmed(&other), "posted", "{edit}");
        let external = row(&database, &other).and_then(|row| row.external_id).unwrap_or_default();
        assert_eq!(external.trim(), "1234567", "{edit}");
        healer.run(&["undo", &resolve.id().to_string()]).exits(0);
        assert_eq!(hash(&database, "content_metadata"), before, "{edit}");
    }
}

#[test]
fn a_ledger_that_spells_a_uuid_in_capitals_still_proves_what_was_sent() {
    let database = TestDb::edited(&[variant::UUID_ID, ATTEMPTS]);
    let healer = Healer::on(&database).init();
    let event = "INSERT INTO system_events (event_type, event_data, severity, created_at)
                 VALUES ('POST_SUCCESS', jsonb_build_object('decision_id', upper($ID), 'tweet_id', '171'), 'info', now() - interval '39 minutes')";
    let attempt = "INSERT INTO post_attempts (decision_id, status, actual_tweet_id, posting_success, created_at, used_at)
                   VALUES (upper($ID), 'USED', '172', true, now() - interval '40 minutes', now() - interval '39 minutes')";
    let (by_event, by_attempt, by_none) = (id_of("abc event"), id_of("abc attempt"), id_of("abc none"));
    assert!([&by_event, &by_attempt].iter().all(|id| id.to_uppercase() != **id), "the spellings must differ");
    insert(
        &database,
        &[
            Post::stuck("abc event", "40 minutes").and(event),
            Post::stuck("abc attempt", "40 minutes").and(attempt),
            Post::stuck("abc none", "40 minutes"),
        ],
    );
    healer.heal(&[]).exits(3);
    let is = |id: &str| row(&database, id).map(|row| (row.status, row.external_id));
    assert_eq!(is(&by_event), Some((Some("posted".into()), Some("171".into()))));
    assert_eq!(is(&by_attempt), Some((Some("posted".into()), Some("172".into()))));
    assert_eq!(held(&database, &by_none).as_deref(), Some("unproven"), "its neighbour without a trace");
}

#[test]
fn a_renamed_external_id_stops_the_pass_and_a_missing_updated_at_degrades_it() {
    let renamed = TestDb::edited(&["ALTER TABLE content_metadata RENAME tweet_id TO x_post_id"]);
    let run = Healer::on(&renamed).init().heal(&[]).exits(78);
    let message = run.json["error"]["message"].to_string();
    assert!(message.contains("content_metadata.tweet_id"), "{message}");

    let configured = Healer::on(&renamed).with_config("[posts]\nexternal_id = \"x_post_id\"\n");
    renamed.run(
        "INSERT INTO content_metadata (decision_id, content, status, created_at, updated_at, posted_at)
         VALUES ('a', 'x', 'posted', now(), now(), now() - interval '1 hour')",
    );
    configured.heal(&[]).exits(0);
    assert!(recovering(&renamed, "a"));

    let missing = TestDb::edited(&["ALTER TABLE content_metadata DROP updated_at"]);
    let run = Healer::on(&missing).init().heal(&[]).exits(0);
    assert!(run.json["notes"].to_string().contains("updated_at"), "{}", run.json["notes"]);
}

#[test]
fn an_empty_database_has_nothing_to_tell_and_nothing_breaks() {
    for shape in Shape::ALL {
        let database = TestDb::new(shape);
        let healer = Healer::on(&database);
        healer.heal(&[]).exits(78);
        let dry = healer.heal(&["--dry-run"]).exits(0);
        assert_eq!(dry.count("planned"), 0);
        healer.run(&["report", "health"]);
        healer.run(&["doctor"]);
        let healer = healer.init();
        healer.run(&["init"]).exits(0);
        let run = healer.heal(&[]).exits(0);
        assert_eq!(run.json["status"], "ok");
        assert_eq!(run.json["systemHealth"]["stuckPosts"], 0);
        assert_eq!(run.json["systemHealth"]["databaseIssues"], 0);
        assert!(run.json["systemHealth"]["browserIssues"].is_null(), "not measured is not 0");
        let report = healer.run(&["report", "health"]).exits(0);
        assert!(!report.json.to_string().contains("NaN"));
        healer.run(&["undo", &run.id().to_string()]).exits(1);
        healer.run(&["resolve", "nobody", "--queue"]).exits(1);
    }
}

// Values that nobody expects.

#[test]
fn infinite_times_and_odd_texts_stop_no_other_row() {
    for shape in Shape::ALL {
        let database = TestDb::new(shape);
        past(&database, 50, 50);
        let healer = Healer::on(&database).init();
        let minus = "'-infinity'";
        let posts = [
            Post::stuck("claimed before time", "40 minutes").column("updated_at", minus),
            Post::stuck("claimed after time", "40 minutes").column("updated_at", "'infinity'"),
            Post::stuck("written before time", "40 minutes").column("created_at", minus),
            Post::stuck("planned for never", "40 minutes").column("scheduled_at", "'infinity'"),
            Post::stuck("planned before time", "40 minutes").column("scheduled_at", minus),
            Post::posted("posted after time", "2 hours").column("posted_at", "'infinity'"),
            Post::failed("failed before time", "8 days").column("updated_at", minus),
            Post::stuck("sent before time", "40 minutes").column("updated_at", minus).external_id("171717"),
            Post::stuck("clean", "40 minutes"),
            Post::stuck("newline\n'quote\" \\ $1 {posts} %s 🦀", "40 minutes"),
        ];
        insert(&database, &posts);
        let run = healer.heal(&[]).exits(3);
        assert_eq!(run.count("failed"), 0, "{shape:?} {:#}", run.json);
        let status = |place: usize| status(&database, posts[place].id());
        let held = |place: usize| held(&database, posts[place].id());
        assert_eq!(held(0).as_deref(), Some("no_time"));
        assert_eq!((status(1).as_str(), held(1)), ("posting", None));
        assert_eq!(held(2).as_deref(), Some("too_old"));
        assert_eq!(status(3), "queued");
        assert_eq!(held(4).as_deref(), Some("too_old"));
        assert!(recovering(&database, posts[5].id()));
        assert_eq!(status(6), "archived");
        assert_eq!(status(7), "posted");
        assert_eq!((status(8).as_str(), status(9).as_str()), ("queued", "queued"));
        healer.heal(&[]).exits(0);
        healer.run(&["report", "health"]).exits(0);
        // And back.
        healer.run(&["undo", &run.id().to_string()]).exits(0);
        assert_eq!(status(7), "posting");
    }
}

#[test]
fn ids_with_every_odd_character_are_healed_and_listed_as_they_are() {
    let (database, healer) = plain();
    let ids = ["it's", "a\"b", "back\\slash", "new\nline", "tab\t", " space ", "{brace}", "$1", "%s", "🦀", "NULL", ""];
    let posts: Vec<Post> = ids.iter().map(|id| Post::stuck("odd", "40 minutes").with_id(id)).collect();
    insert(&database, &posts);
    let run = healer.heal(&[]).exits(0);
    let listed: BTreeSet<&str> = run.actions().iter().filter_map(|action| action["target"].as_str()).collect();
    assert_eq!(listed, BTreeSet::from(ids));
    assert!(ids.iter().all(|id| status(&database, id) == "queued"));
}

#[test]
fn a_plan_is_bounded_and_the_rest_is_counted() {
    let (database, _) = plain();
    let healer = Healer::on(&database).with_config("[heal]\nmax_actions = 3\n");
    let posts: Vec<Post> = (0..5).map(|i| Post::posted(&format!("post {i}"), "2 hours")).collect();
    insert(&database, &posts);
    let run = healer.heal(&[]).exits(0);
    assert_eq!((run.count("planned"), run.count("applied"), run.count("remaining")), (5, 3, 2));
    assert_eq!(run.json["truncated"], true);
    healer.heal(&[]).exits(0);
    assert!(posts.iter().all(|post| recovering(&database, post.id())));
}

// What a person decided, and what a worker wrote since.

#[test]
fn a_decision_to_queue_does_not_cover_what_a_worker_writes_after_it() {
    for (worker_wrote, again) in [
        ("", "queued"),
        (", tweet_id = 'posted_2'", "posting"),
        (", error_message = 'Timeout after submit'", "posting"),
    ] {
        let (database, healer) = trusted();
        let post = Post::stuck("doubtful", "40 minutes").external_id("posted_1");
        insert(&database, std::slice::from_ref(&post));
        healer.heal(&[]).exits(3);
        assert_eq!(held(&database, post.id()).as_deref(), Some("uncertain"));
        healer.run(&["resolve", post.id(), "--queue"]).exits(0);
        let set = format!("status = 'posting', updated_at = now() - interval '35 minutes'{worker_wrote}");
        database.run(&update(Shape::Full, &post, &set));
        healer.heal(&[]);
        assert_eq!(status(&database, post.id()), again, "the worker wrote: {worker_wrote}");
    }
}

#[test]
fn a_harmless_failure_does_not_cover_an_earlier_one_after_the_submit() {
    let attempt = |minutes: i64, error: &str| {
        format!(
            "INSERT INTO post_attempts (decision_id, status, posting_success, error_message, created_at, used_at)
             VALUES ($ID, 'FAILED', false, {error}, now() - interval '{minutes} minutes', now() - interval '{minutes} minutes')"
        )
    };
    let (database, healer) = trusted();
    let after = "'Timeout after submit'";
    let posts = [
        Post::stuck("harmless last", "40 minutes").and(&attempt(90, after)).and(&attempt(50, "'Invalid media type'")),
        Post::stuck("without a text last", "40 minutes").and(&attempt(90, after)).and(&attempt(50, "NULL")),
        Post::stuck("harmless twice", "40 minutes")
            .and(&attempt(90, "'Invalid media type'"))
            .and(&attempt(50, "'Invalid media type'")),
    ];
    insert(&database, &posts);
    let old = Post::failed("failed twice", "9 days").and(&attempt(90, after)).and(&attempt(50, "'Invalid media type'"));
    insert(&database, std::slice::from_ref(&old));
    healer.heal(&[]).exits(3);
    assert_eq!(held(&database, posts[0].id()).as_deref(), Some("uncertain"));
    assert_eq!(held(&database, posts[1].id()).as_deref(), Some("uncertain"));
    assert_eq!(status(&database, posts[2].id()), "queued");
    assert_eq!(status(&database, old.id()), "failed", "it may be live: it is listed");
}

#[test]
fn what_cannot_be_queued_is_refused_by_the_dry_run_as_by_the_real_one() {
    let undated = "CREATE TABLE public.post_attempts (decision_id text, status text, actual_tweet_id text, posting_success boolean)";
    let database = TestDb::edited(&[undated]);
    let healer = Healer::on(&database).init();
    let open = Post::stuck("open attempt", "40 minutes")
        .and("INSERT INTO post_attempts (decision_id, status) VALUES ($ID, 'USED')");
    insert(&database, std::slice::from_ref(&open));
    let (sent, own) = trusted();
    let thread =
        Post::stuck("thread", "40 minutes").thread(3).external_id("171").column("thread_tweet_ids", "'[\"171\"]'");
    insert(&sent, std::slice::from_ref(&thread));
    for (healer, post, word) in [(&healer, &open, "without a time"), (&own, &thread, "real external id")] {
        healer.heal(&[]).exits(3);
        for args in [&["resolve", post.id(), "--queue", "--dry-run"][..], &["resolve", post.id(), "--queue"]] {
            let message = healer.run(args).exits(1).json["error"]["message"].to_string();
            assert!(message.contains(word), "{args:?}: {message}");
        }
    }
    assert_eq!((status(&database, open.id()), status(&sent, thread.id())), ("posting".into(), "posting".into()));
}

#[test]
fn a_post_claimed_before_all_time_is_resolved_without_that_time() {
    let (database, healer) = trusted();
    let post = Post::stuck("no time", "40 minutes").column("updated_at", "'-infinity'");
    insert(&database, std::slice::from_ref(&post));
    healer.heal(&[]).exits(3);
    healer.run(&["resolve", post.id(), "--posted", "1234567"]).exits(0);
    let at = database.value(&format!(
        "SELECT coalesce(isfinite(posted_at), true)::text FROM content_metadata WHERE decision_id = '{}'",
        post.id()
    ));
    assert_eq!(at.as_deref(), Some("true"));
}

// Where things stand.

#[test]
fn the_neighbours_of_a_posts_table_in_another_schema_are_found_beside_it() {
    let (database, _) = trusted();
    let sent = Post::stuck("with a receipt", "40 minutes").receipt(1);
    insert(&database, std::slice::from_ref(&sent));
    database.run(
        "CREATE SCHEMA app;
         DO $$ DECLARE r record; BEGIN
           FOR r IN SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') LOOP
             EXECUTE format('ALTER %s public.%I SET SCHEMA app', CASE r.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, r.relname);
           END LOOP; END $$",
    );
    let healer = Healer::on(&database).with_config("[posts]\ntable = \"app.content_metadata\"\n");
    let run = healer.heal(&[]).exits(0);
    assert_eq!(run.says(sent.id(), "action"), "mark_posted", "{:#}", run.json);
    let status =
        database.value(&format!("SELECT status FROM app.content_metadata WHERE decision_id = '{}'", sent.id()));
    assert_eq!(status.as_deref(), Some("posted"));
}

#[test]
fn a_row_without_an_id_is_left_alone_and_keeps_no_other_from_being_healed() {
    let database = TestDb::edited(&["ALTER TABLE content_metadata ALTER decision_id DROP NOT NULL"]);
    let healer = Healer::on(&database).init();
    for status in ["posting", "failed", "posted"] {
        database.run(&format!(
            "INSERT INTO content_metadata (decision_id, content, status, created_at, updated_at, posted_at)
             VALUES (NULL, 'x', '{status}', now() - interval '9 days', now() - interval '9 days',
                     CASE WHEN '{status}' = 'posted' THEN now() - interval '1 hour' END)"
        ));
    }
    let posts =
        [Post::stuck("stuck", "40 minutes"), Post::failed("failed", "9 days"), Post::posted("posted", "2 hours")];
    insert(&database, &posts);
    let run = healer.heal(&[]).exits(0);
    assert_eq!(
        (status(&database, posts[0].id()).as_str(), status(&database, posts[1].id()).as_str()),
        ("queued", "archived")
    );
    assert!(recovering(&database, posts[2].id()));
    assert!(run.json["notes"].to_string().contains("rows without an id"), "{}", run.json["notes"]);
    let left = database
        .value("SELECT string_agg(status, ' ' ORDER BY status) FROM content_metadata WHERE decision_id IS NULL");
    assert_eq!(left.as_deref(), Some("failed posted posting"));
}

// Taking back.

#[test]
fn an_undo_restores_all_but_the_row_that_the_database_refuses_and_the_one_that_somebody_holds() {
    let (database, healer) = plain();
    let posts: Vec<Post> = (0..9).map(|i| Post::stuck(&format!("post {i}"), "40 minutes")).collect();
    insert(&database, &posts);
    let run = healer.heal(&[]).exits(0).id().to_string();
    database.run(&format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF NEW.decision_id = '{}' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$;
         CREATE TRIGGER refuse BEFORE UPDATE ON content_metadata FOR EACH ROW EXECUTE FUNCTION refuse()",
        posts[3].id()
    ));
    let mut worker = database.client();
    worker
        .batch_execute(&format!(
            "BEGIN; SELECT 1 FROM content_metadata WHERE decision_id = '{}' FOR UPDATE",
            posts[5].id()
        ))
        .expect("locked");
    let undo = healer.run(&["undo", &run]).exits(3);
    assert_eq!(
        (undo.json["restored"].as_u64(), undo.json["changedSince"].as_u64()),
        (Some(7), Some(2)),
        "{:#}",
        undo.json
    );
    assert!(undo.json["items"].to_string().contains("refused: "), "{:#}", undo.json);
    worker.batch_execute("ROLLBACK").expect("released");
    for (place, post) in posts.iter().enumerate() {
        let expected = if place == 3 || place == 5 { "queued" } else { "posting" };
        assert_eq!(status(&database, post.id()), expected, "post {place}");
    }
    let recorded = database.value("SELECT status || ' ' || exit_code FROM healer.run WHERE pass = 'undo'");
    assert_eq!(recorded.as_deref(), Some("partial 3"));
}

#[test]
fn undoing_an_undo_leaves_no_hold_behind_and_queues_nothing_that_its_row_says_was_sent() {
    let (database, healer) = trusted();
    let posts = [
        Post::stuck("plain", "40 minutes"),
        Post::stuck("published meanwhile", "40 minutes"),
        Post::stuck("marked meanwhile", "40 minutes"),
        Post::stuck("with a receipt", "40 minutes").receipt(1),
        Post::failed("old", "9 days"),
    ];
    insert(&database, &posts);
    let first = healer.heal(&[]).exits(0).id().to_string();
    let second = healer.run(&["undo", &first]).exits(0).id().to_string();
    database.run(&update(Shape::Full, &posts[1], "features = '{\"tweet_id_orphan\": \"171\"}'"));
    database.run(&update(Shape::Full, &posts[2], "features = '{\"receipt_write_failed\": true}'"));
    let third = healer.run(&["undo", &second]).exits(3).id().to_string();
    let now: Vec<String> = posts.iter().map(|post| status(&database, post.id())).collect();
    assert_eq!(now, ["queued", "posting", "posting", "posted", "archived"]);
    let open = "SELECT string_agg(post, ' ' ORDER BY post) FROM healer.held_post WHERE resolved_at IS NULL";
    let mut still_held = [posts[1].id(), posts[2].id()];
    still_held.sort_unstable();
    assert_eq!(database.value(open).as_deref(), Some(still_held.join(" ").as_str()));
    // And once more back: a person says no again.
    healer.run(&["undo", &third]).exits(0);
    assert_eq!(held(&database, posts[0].id()).as_deref(), Some("undone"));
    assert_eq!(status(&database, posts[0].id()), "posting");
}

// What is written beside the changes.

#[test]
fn an_event_is_written_where_the_heartbeat_is_refused_and_the_other_way_round() {
    let count = |database: &TestDb, what: &str| database.value(&format!("SELECT count(*) FROM {what}"));
    for (refuse, events, beats) in [
        ("ALTER TABLE job_heartbeats ADD CONSTRAINT known CHECK (job_name <> 'self_healing')", "1", "0"),
        ("ALTER TABLE system_events ADD CONSTRAINT known CHECK (event_type <> 'self_healing_report')", "0", "1"),
    ] {
        let (database, healer) = plain();
        let post = Post::stuck("a", "40 minutes");
        insert(&database, std::slice::from_ref(&post));
        database.run(refuse);
        let run = healer.heal(&[]);
        assert_eq!(run.code, 1, "it says that something could not be recorded: {:#}", run.json);
        assert_eq!(status(&database, post.id()), "queued");
        let found = (
            count(&database, "system_events WHERE event_type = 'self_healing_report'"),
            count(&database, "job_heartbeats WHERE job_name = 'self_healing'"),
        );
        assert_eq!(found, (Some(events.into()), Some(beats.into())), "{refuse}");
        assert_eq!(count(&database, "healer.run WHERE finished_at IS NOT NULL").as_deref(), Some("1"));
    }
}

#[test]
fn a_post_that_is_planned_for_before_all_time_does_not_hide_a_silence() {
    let (database, healer) = plain();
    insert(
        &database,
        &[
            Post::posted("last", "9 hours").external_id("171"),
            Post::new("at once", "queued").created("5 hours").column("scheduled_at", "'-infinity'"),
        ],
    );
    let run = healer.heal(&["--only", "silence"]);
    assert_eq!(run.check("silence")["status"], "warning", "{:#}", run.json);
    database.run("UPDATE content_metadata SET posted_at = '-infinity' WHERE status = 'posted'");
    let run = healer.heal(&["--only", "silence"]);
    assert!(!run.words("silence").contains("could not be measured"), "{:#}", run.json);
}
