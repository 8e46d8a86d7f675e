//! A dry run writes nothing and says what a real run does; a second run finds nothing; undo brings every row back.

use std::collections::BTreeSet;

use crate::support::binary::Healer;
use crate::support::cluster::{Shape, TestDb};
use crate::support::posts::{Post, external_id_of, held, insert, past, recovering, row, status};
use crate::support::state::{hash, hashes, written};

/// Posts that call for every kind of change a shape knows, and some that call for none.
fn sick(shape: Shape) -> TestDb {
    let database = TestDb::new(shape);
    past(&database, 100, 100);
    let posts = [
        Post::stuck("queue", "40 minutes"),
        Post::stuck("queue too", "50 minutes").thread(2),
        Post::stuck("own id", "40 minutes").external_id("1717"),
        Post::stuck("sent", "40 minutes").receipt(1),
        Post::stuck("sent without id", "40 minutes").attempt("USED", "NULL", "true"),
        Post::stuck("too old", "40 minutes").created("3 days"),
        Post::stuck("at work", "4 minutes"),
        Post::posted("fill", "2 hours").receipt(1),
        Post::posted("recover", "2 hours").external_id("posted_12"),
        Post::failed("old", "8 days").error("Invalid media"),
        Post::failed("possibly live", "8 days").error("Timeout after submit"),
        Post::failed("young", "6 days"),
    ];
    let posts: Vec<Post> = posts.into_iter().filter(|post| post.fits(shape)).collect();
    insert(&database, &posts);
    database
}

#[test]
fn a_dry_run_writes_nothing_and_plans_what_the_real_run_does() {
    for shape in Shape::ALL {
        let database = sick(shape);
        let healer = Healer::on(&database);
        for with_schema in [false, true] {
            if with_schema {
                healer.run(&["init"]).exits(0);
            }
            let (rows, counts) = (hashes(&database), written(&database));
            let dry = healer.heal(&["--dry-run"]).exits(0);
            assert!(dry.json["runId"].is_null());
            assert!(dry.count("planned") > 4, "{shape:?}");
            assert_eq!(dry.count("applied"), 0);
            assert_eq!(hashes(&database), rows, "{shape:?}, schema: {with_schema}");
            assert_eq!(written(&database), counts, "{shape:?}, schema: {with_schema}");
        }
        let dry = healer.heal(&["--dry-run"]).exits(0);
        let real = healer.heal(&[]).exits(3);
        assert_eq!(dry.changes(), real.changes(), "{shape:?}");
        assert_eq!(real.count("applied"), real.count("planned"));
        let second = healer.heal(&[]).exits(0);
        assert_eq!(second.count("planned"), 0, "{shape:?}: {:#}", second.json);
    }
}

#[test]
fn undo_brings_every_row_back_and_the_next_heal_does_not_do_it_again() {
    for shape in Shape::ALL {
        let database = sick(shape);
        let healer = Healer::on(&database).init();
        let before = hash(&database, shape.posts_table());
        let run = healer.heal(&[]).exits(3);
        let after = hash(&database, shape.posts_table());
        assert_ne!(after, before);
        let id = run.id().to_string();

        let dry = healer.run(&["undo", &id, "--dry-run"]).exits(0);
        assert_eq!(hash(&database, shape.posts_table()), after, "a dry undo writes nothing");
        let undo = healer.run(&["undo", &id]).exits(0);
        assert_eq!(undo.json["restored"], dry.json["restored"]);
        assert_eq!(hash(&database, shape.posts_table()), before, "{shape:?}: bit by bit");
        let next = healer.heal(&[]).exits(0);
        assert_eq!(next.count("planned"), 0, "{shape:?}: {:#}", next.json);
        assert_eq!(hash(&database, shape.posts_table()), before);

        let again = healer.run(&["undo", &id]).exits(0);
        assert_eq!((&again.json["restored"], again.json["runId"].is_null()), (&0.into(), true));
        // An undo is a run like any other, and can be taken back.
        healer.run(&["undo", &undo.id().to_string()]).exits(0);
        assert_eq!(hash(&database, shape.posts_table()), after, "{shape:?}: undo of an undo");
    }
}

#[test]
fn undo_leaves_what_somebody_changed_since() {
    let database = TestDb::new(Shape::Minimal);
    let healer = Healer::on(&database).init();
    let posts = [Post::stuck("claimed", "40 minutes"), Post::stuck("left", "40 minutes")];
    insert(&database, &posts);
    let run = healer.heal(&[]).exits(0);
    database.run(&format!(
        "UPDATE content_metadata SET status = 'posting', updated_at = now() WHERE decision_id = '{}'",
        posts[0].id()
    ));
    let claimed = row(&database, posts[0].id());
    let undo = healer.run(&["undo", &run.id().to_string()]).exits(3);
    assert_eq!((&undo.json["restored"], &undo.json["changedSince"]), (&1.into(), &1.into()));
    assert_eq!(row(&database, posts[0].id()), claimed);
    assert_eq!(status(&database, posts[1].id()), "posting");
}

#[test]
fn undo_of_an_undo_does_not_queue_a_post_that_a_ledger_shows_as_sent_by_now() {
    let database = TestDb::new(Shape::Full);
    past(&database, 50, 50);
    let healer = Healer::on(&database).init();
    let post = Post::stuck("sent later", "40 minutes");
    insert(&database, std::slice::from_ref(&post));
    let run = healer.heal(&[]).exits(0);
    let undo = healer.run(&["undo", &run.id().to_string()]).exits(0);
    database.run(&format!(
        "INSERT INTO post_receipts (decision_id, tweet_ids, root_tweet_id, post_type)
         VALUES ('{}', '{{17}}', '17', 'single')",
        post.id()
    ));
    healer.run(&["undo", &undo.id().to_string()]).exits(3);
    assert_eq!(status(&database, post.id()), "posting");
}

#[test]
fn a_person_decides_on_a_held_post() {
    for (args, becomes) in [(&["--posted", "171717"][..], "posted"), (&["--queue"], "queued"), (&["--fail"], "failed")]
    {
        let database = TestDb::new(Shape::Full);
        past(&database, 50, 50);
        let healer = Healer::on(&database).init();
        let post = Post::stuck("held", "40 minutes").attempt("USED", "NULL", "NULL");
        insert(&database, std::slice::from_ref(&post));
        healer.heal(&[]).exits(3);
        let before = hash(&database, Shape::Full.posts_table());
        let mut all = vec!["resolve", post.id()];
        all.extend_from_slice(args);
        let mut dry = all.clone();
        dry.push("--dry-run");
        healer.run(&dry).exits(0);
        assert_eq!(status(&database, post.id()), "posting");
        let run = healer.run(&all).exits(0);
        assert_eq!((status(&database, post.id()).as_str(), held(&database, post.id())), (becomes, None));
        healer.run(&all).exits(1);
        healer.run(&["undo", &run.id().to_string()]).exits(0);
        assert_eq!(hash(&database, Shape::Full.posts_table()), before, "{becomes}");
    }
}

#[test]
fn nobody_queues_a_post_that_a_ledger_shows_as_sent() {
    let database = TestDb::new(Shape::Full);
    past(&database, 50, 50);
    let healer = Healer::on(&database).init();
    let post = Post::stuck("held", "40 minutes").thread(3).receipt(2);
    insert(&database, std::slice::from_ref(&post));
    healer.heal(&[]).exits(3);
    let run = healer.run(&["resolve", post.id(), "--queue"]).exits(1);
    assert!(run.json["error"]["message"].to_string().contains("post_receipts"), "{:#}", run.json);
    healer.run(&["resolve", post.id(), "--posted", "posted_1"]).exits(1);
    assert_eq!(status(&database, post.id()), "posting");
}

#[test]
fn the_statements_of_the_dashboards_run_as_they_stand_and_the_keys_are_the_fixed_ones() {
    let database = sick(Shape::Full);
    let healer = Healer::on(&database).init();
    healer.heal(&[]).exits(3);
    let mut client = database.client();
    let rows = client
        .query(
            "SELECT event_data->>'systemHealth' AS health, event_data->>'actions' AS actions, created_at FROM system_events \
             WHERE event_type = 'self_healing_report' ORDER BY created_at DESC LIMIT 5;",
            &[],
        )
        .expect("it runs");
    assert_eq!(rows.len(), 1);
    let health: serde_json::Value = serde_json::from_str(rows[0].get("health")).expect("JSON");
    let keys: BTreeSet<&str> = health.as_object().expect("an object").keys().map(String::as_str).collect();
    let fixed = ["stuckPosts", "nullTweetIds", "browserIssues", "databaseIssues", "circuitBreakerOpen"];
    assert_eq!(keys, BTreeSet::from(fixed));
    assert_eq!((&health["stuckPosts"], &health["nullTweetIds"]), (&6.into(), &2.into()));
    let actions: serde_json::Value = serde_json::from_str(rows[0].get("actions")).expect("JSON");
    for action in actions.as_array().expect("a list") {
        for key in ["type", "description", "severity", "action", "success", "timestamp"] {
            assert!(action.get(key).is_some(), "{key}: {action}");
        }
    }
    let stuck: i64 = client
        .query_one(
            "SELECT COUNT(*) AS stuck_posts FROM content_metadata WHERE status = 'posting' AND created_at < NOW() - INTERVAL '30 minutes';",
            &[],
        )
        .expect("it runs")
        .get(0);
    assert_eq!(stuck, 2, "the held one, and the one at work: it counts from the creation");
    let null_ids: i64 = client
        .query_one(
            "SELECT COUNT(*) AS null_ids FROM content_metadata WHERE status = 'posted' AND tweet_id IS NULL AND posted_at > NOW() - INTERVAL '24 hours';",
            &[],
        )
        .expect("it runs")
        .get(0);
    assert_eq!(null_ids, 1, "posted as an attempt proves, and its id is looked for");
    assert_eq!(
        row(&database, Post::stuck("sent", "1 hour").id()).and_then(|row| row.external_id),
        Some(external_id_of("sent"))
    );
    assert!(recovering(&database, Post::stuck("sent without id", "1 hour").id()));
}
