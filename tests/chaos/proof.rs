//! What must hold after every round, whatever happened in it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime};

use postgres::Client;

use super::ground::{Ground, HISTORY};
use super::round::Ran;
use crate::support::poster::Poster;

/// Violations that are kept in words; the others are counted.
const KEPT: usize = 20;

/// A session that healer left behind and that is still there after this long will stay.
const LEFT_BEHIND: Duration = Duration::from_secs(30);

/// What was found, over one round or many.
#[derive(Debug, Default, Clone)]
pub struct Found {
    /// How many violations.
    pub violations: u64,
    /// The first of them, in words, with the round.
    pub words: Vec<String>,
    /// Posts of which some part was published twice although a ledger, or the row, told before the requeue.
    pub double_posts: u64,
    /// Posts of which some part was published twice and nothing had told.
    pub untold_double_posts: u64,
    /// Changes by action.
    pub changes: BTreeMap<String, u64>,
    /// Posts that wait for a person at the end.
    pub waiting: u64,
    /// Runs that were ended while they were writing: some of their batches are there, and the run is not closed.
    pub cut_short: u64,
    /// Changes that were planned and not made, because the post had changed meanwhile.
    pub skipped: u64,
    /// Runs that could not tell how many changes they made.
    pub in_doubt: u64,
    /// How the runs ended: how many by exit code; -1 for those that were killed.
    pub exits: BTreeMap<i32, u64>,
}

impl Found {
    /// Notes a violation.
    pub fn violation(&mut self, round: u64, words: impl std::fmt::Display) {
        self.violations += 1;
        if self.words.len() < KEPT {
            self.words.push(format!("round {round}: {words}"));
        }
    }

    /// Adds what another round found.
    pub fn add(&mut self, other: &Self) {
        self.violations += other.violations;
        self.words.extend(other.words.iter().take(KEPT.saturating_sub(self.words.len())).cloned());
        self.double_posts += other.double_posts;
        self.untold_double_posts += other.untold_double_posts;
        self.waiting += other.waiting;
        self.cut_short += other.cut_short;
        self.skipped += other.skipped;
        self.in_doubt += other.in_doubt;
        for (code, times) in &other.exits {
            *self.exits.entry(*code).or_default() += times;
        }
        for (action, times) in &other.changes {
            *self.changes.entry(action.clone()).or_default() += times;
        }
    }
}

/// A round that has ended.
pub struct Scene<'a> {
    /// Its number.
    pub number: u64,
    /// Its database.
    pub ground: &'a mut Ground,
    /// Its workers, platform, and what the ledgers told.
    pub poster: &'a Poster,
    /// All posts that there were.
    pub posts: HashSet<String>,
    /// Whether what is unproven was to be queued.
    pub requeue_unproven: bool,
    /// What the runs printed.
    pub ran: &'a [Ran],
    /// Whether the old rule ran in healer's place, which keeps no journal and settles nothing.
    pub old_rule: bool,
}

struct Change {
    post: String,
    from: String,
    to: String,
    xid: String,
    who: String,
    seen_from: SystemTime,
}

struct Entry {
    undone: bool,
    post: String,
    action: String,
    from: Option<String>,
    to: Option<String>,
    xid: String,
    run: i64,
}

struct Post {
    status: String,
    external_id: Option<String>,
    parts: usize,
    age_s: i64,
}

/// Sessions of healer and open transactions that stay, in words.
pub fn sessions_left(kit: &mut Client) -> Option<String> {
    let begun = Instant::now();
    loop {
        let rows = kit
            .query_typed(
                "SELECT coalesce(application_name, '') || ' ' || coalesce(state, '') || ': ' || left(query, 60)
                   FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
                    AND (application_name IN ('healer', 'person', 'undo') OR xact_start IS NOT NULL)",
                &[],
            )
            .expect("the sessions are read");
        let first = rows.first()?;
        if begun.elapsed() > LEFT_BEHIND {
            return Some(format!(
                "{} sessions or transactions are left, one is {}",
                rows.len(),
                first.get::<_, String>(0)
            ));
        }
        std::thread::yield_now();
    }
}

/// Compares what there is with what must be.
pub fn examine(mut scene: Scene<'_>, found: &mut Found) {
    let number = scene.number;
    let kit = &mut scene.ground.kit;
    if let Some(left) = sessions_left(kit) {
        found.violation(number, left);
    }
    // Whoever still held a lock on a post would refuse this one.
    if let Err(error) =
        kit.batch_execute("SELECT count(*) FROM (SELECT 1 FROM public.content_metadata FOR UPDATE NOWAIT) x")
    {
        found.violation(number, format!("a lock is left: {error}"));
    }
    let posts = read_posts(kit);
    let changes = read_changes(kit);
    let journal = read_journal(kit);
    let archived = pairs(kit, "SELECT post, xid::text FROM healer.archived_post");

    // No post is lost: each is in the table or in the archive, once.
    for post in &scene.posts {
        let times = usize::from(posts.contains_key(post)) + archived.iter().filter(|(id, _)| id == post).count();
        if times != 1 {
            found.violation(number, format!("post {post} is there {times} times"));
        }
    }
    if posts.len() + archived.len() != scene.posts.len() {
        found.violation(
            number,
            format!("{} posts and {} archived of {}", posts.len(), archived.len(), scene.posts.len()),
        );
    }

    let guilty = requeues(&scene, &changes, found);
    doubles(&scene, &changes, &guilty, found);
    if scene.old_rule {
        return;
    }
    compare_journal(number, &changes, &journal, &archived, found);
    compare_counts(&scene, &journal, found);
    let undone = journal.iter().filter(|entry| entry.undone).map(|entry| entry.post.as_str()).collect();
    settled(&mut scene, &posts, &undone, found);
}

/// What was queued again although its row or a ledger told by then, or without having been `posting`.
fn requeues(scene: &Scene<'_>, changes: &[Change], found: &mut Found) -> HashSet<String> {
    let number = scene.number;
    let known = scene.poster.known();
    let mut guilty = HashSet::new();
    for change in changes {
        if change.to == "queued" && change.from != "posting" {
            found.violation(number, format!("post {} was {} and was queued", change.post, change.from));
            guilty.insert(change.post.clone());
        }
        let gives_up = matches!(change.to.as_str(), "queued" | "failed" | "archived") && change.from != change.to;
        // Taking back brings a post to where it was.
        if !gives_up || change.who == "undo" {
            continue;
        }
        let told = known.iter().find(|known| {
            known.post == change.post
                && known.from < change.seen_from
                && known.until.is_none_or(|until| until > change.seen_from)
                // A person decides knowing of open attempts, and after that only what began later counts.
                && (known.sent || change.who != "person")
        });
        // What a person gives up is given up, whatever is known.
        if let Some(told) = told.filter(|_| !(change.who == "person" && change.to == "failed")) {
            let what = if told.sent { "was sent" } else { "has an open attempt" };
            found.violation(number, format!("a ledger told that {} {what}, and it became {}", change.post, change.to));
            guilty.insert(change.post.clone());
        }
    }
    guilty
}

fn doubles(scene: &Scene<'_>, changes: &[Change], guilty: &HashSet<String>, found: &mut Found) {
    for post in &scene.posts {
        if scene.poster.platform.doubles(post) == 0 {
            continue;
        }
        if guilty.contains(post) {
            found.double_posts += 1;
            found.violation(scene.number, format!("post {post} was published twice, and a ledger knew"));
        } else if changes.iter().any(|change| &change.post == post && change.to == "queued") {
            found.untold_double_posts += 1;
        } else {
            found.violation(scene.number, format!("post {post} was published twice and nobody queued it again"));
        }
    }
}

/// Every change has one row of the journal in its own transaction, and every row of the journal a change.
fn compare_journal(
    number: u64,
    changes: &[Change],
    journal: &[Entry],
    archived: &[(String, String)],
    found: &mut Found,
) {
    let move_out = "move_to_archive";
    for change in changes {
        let rows: Vec<&Entry> = journal
            .iter()
            .filter(|entry| entry.post == change.post && entry.xid == change.xid && entry.action != move_out)
            .collect();
        let [entry] = rows.as_slice() else {
            let (from, to) = (&change.from, &change.to);
            found.violation(number, format!("{} {from} → {to}: {} journal rows", change.post, rows.len()));
            continue;
        };
        let same = |told: &Option<String>, is: &str| told.as_deref().is_none_or(|told| told == is);
        if !same(&entry.from, &change.from) || !same(&entry.to, &change.to) {
            found.violation(number, format!("the journal tells another change of {}", change.post));
        }
        *found.changes.entry(entry.action.clone()).or_default() += 1;
    }
    for entry in journal {
        let times = if entry.action == move_out {
            archived.iter().filter(|(post, xid)| *post == entry.post && *xid == entry.xid).count()
        } else {
            changes.iter().filter(|change| change.post == entry.post && change.xid == entry.xid).count()
        };
        // What was moved and taken back is in the table again, as a new row.
        let expected = match entry.action.as_str() {
            "move_to_archive" => usize::from(!entry.undone),
            "undo_move_to_archive" => 0,
            _ => 1,
        };
        if times != expected {
            found.violation(number, format!("journal row {} of {}: {times} changes", entry.action, entry.post));
        }
    }
    let gone = journal.iter().filter(|entry| entry.action == move_out && !entry.undone).count();
    if gone != archived.len() {
        found.violation(number, format!("{} archived, {gone} of them in the journal", archived.len()));
    }
    if gone > 0 {
        *found.changes.entry(move_out.to_owned()).or_default() += gone as u64;
    }
    let mut rescues: HashMap<&str, usize> = HashMap::new();
    for entry in journal.iter().filter(|entry| entry.action == "reset_status_to_queued") {
        *rescues.entry(&entry.post).or_default() += 1;
    }
    for (post, times) in rescues {
        if times > 4 {
            found.violation(number, format!("post {post} was rescued {times} times"));
        }
    }
}

/// What a run told is what it did: each change that it lists is in the journal, and the other way round.
fn compare_counts(scene: &Scene<'_>, journal: &[Entry], found: &mut Found) {
    let noted = |sql: &str, kit: &mut Client| -> HashSet<String> {
        kit.query_typed(sql, &[]).expect("notes are read").iter().map(|row| row.get(0)).collect()
    };
    let mut kit = scene.ground.db.client();
    let held = noted("SELECT post FROM healer.held_post", &mut kit);
    let waiting = noted("SELECT post FROM healer.id_recovery", &mut kit);
    let short: i64 = kit
        .query_typed_one(
            "SELECT count(*) FROM healer.run r WHERE r.status = 'running'
                AND EXISTS (SELECT 1 FROM healer.action a WHERE a.run_id = r.id)",
            &[],
        )
        .expect("the runs are read")
        .get(0);
    found.cut_short += u64::try_from(short).unwrap_or(0);
    for ran in scene.ran {
        *found.exits.entry(ran.code.unwrap_or(-1)).or_default() += 1;
        if let Some(json) = &ran.json {
            found.skipped += json["counts"]["skipped"].as_u64().unwrap_or(0);
            found.in_doubt += u64::from(json["runId"].is_i64() && json["counts"]["applied"].is_null());
        }
        let Some(json) = &ran.json else { continue };
        let (Some(run), Some(applied)) = (json["runId"].as_i64(), json["counts"]["applied"].as_u64()) else { continue };
        let listed: Vec<(String, String)> = json["actions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|action| action["outcome"] == "applied")
            .map(|action| {
                let text = |key: &str| action[key].as_str().unwrap_or_default().to_owned();
                (text("action"), text("target"))
            })
            .collect();
        if listed.len() as u64 != applied {
            found.violation(scene.number, format!("run {run} counts {applied} and lists {}", listed.len()));
        }
        let mut told: Vec<(&str, &str)> = Vec::new();
        for (action, target) in &listed {
            match action.as_str() {
                "hold_for_review" if !held.contains(target) => {
                    found.violation(scene.number, format!("run {run} tells that it held {target}, and it did not"));
                }
                "mark_for_id_recovery" if !waiting.contains(target) => {
                    found.violation(scene.number, format!("run {run} tells that {target} waits for its id"));
                }
                "hold_for_review" | "mark_for_id_recovery" => {}
                _ => told.push((action, target)),
            }
        }
        let mut done: Vec<(&str, &str)> =
            journal.iter().filter(|entry| entry.run == run).map(|entry| (&*entry.action, &*entry.post)).collect();
        told.sort_unstable();
        done.sort_unstable();
        if told != done {
            found.violation(scene.number, format!("run {run} (exit {:?}) told {told:?} and did {done:?}", ran.code));
        }
    }
}

/// After quiet: nothing is left that could be decided, and what is posted was published.
fn settled(scene: &mut Scene<'_>, posts: &HashMap<String, Post>, undone: &HashSet<&str>, found: &mut Found) {
    let number = scene.number;
    let ledgers = scene.ground.kind.ledgers();
    let kit = &mut scene.ground.kit;
    let holds: HashMap<String, String> =
        pairs(kit, "SELECT post, code FROM healer.held_post WHERE resolved_at IS NULL").into_iter().collect();
    let receipts: HashMap<String, usize> = if ledgers.receipts {
        pairs(kit, "SELECT decision_id::text, max(cardinality(tweet_ids))::text FROM public.post_receipts GROUP BY 1")
            .into_iter()
            .map(|(post, ids)| (post, ids.parse().unwrap_or(0)))
            .collect()
    } else {
        HashMap::new()
    };
    let attempts: HashMap<String, String> = if ledgers.attempts {
        pairs(
            kit,
            "SELECT decision_id, CASE WHEN bool_or(posting_success) THEN 'sent' WHEN bool_or(used_at IS NULL) THEN 'open'
                                      ELSE 'failed' END FROM public.post_attempts GROUP BY 1",
        )
        .into_iter()
        .collect()
    } else {
        HashMap::new()
    };
    for (id, post) in posts {
        match post.status.as_str() {
            "posted" => {
                if !scene.poster.platform.has_all(id, post.parts) {
                    found.violation(number, format!("post {id} is posted and was never published whole"));
                }
                let real = post.external_id.as_deref().filter(|own| own.bytes().all(|byte| byte.is_ascii_digit()));
                if let Some(own) = real
                    && !scene.poster.platform.of(id).iter().any(|one| one.part == 0 && one.id == own)
                {
                    found.violation(number, format!("post {id} carries {own}, which the platform never gave it"));
                }
            }
            "posting" => {
                found.waiting += 1;
                let listed = receipts.get(id).copied().unwrap_or(0);
                let attempt = attempts.get(id).map_or("", String::as_str);
                let proved = listed >= post.parts || attempt == "sent" && listed == 0;
                let reason = match holds.get(id).map(String::as_str) {
                    None => Some("it is not held"),
                    Some("undone") => (!undone.contains(id.as_str())).then_some("nobody took it back"),
                    Some(_) if proved => Some("a ledger proves it"),
                    Some("uncertain") => (attempt != "open" && listed == 0).then_some("nothing about it is uncertain"),
                    Some("unproven") => scene.requeue_unproven.then_some("it was to be queued"),
                    Some("too_old") => (post.age_s <= 86_400).then_some("it is not too old"),
                    Some(_) => Some("it is held for a reason that nothing gives"),
                };
                if let Some(reason) = reason {
                    found.violation(number, format!("post {id} is still posting ({:?}): {reason}", holds.get(id)));
                }
            }
            "failed" | "archived" => {}
            other => found.violation(number, format!("post {id} is {other} after quiet")),
        }
    }
    let busy =
        kit.query_typed("SELECT 1 FROM healer.lease WHERE expires_at > '-infinity'", &[]).expect("the lease is read");
    if !busy.is_empty() {
        found.violation(number, "the lease is held after quiet");
    }
}

fn pairs(kit: &mut Client, sql: &str) -> Vec<(String, String)> {
    kit.query_typed(sql, &[])
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect()
}

fn read_posts(kit: &mut Client) -> HashMap<String, Post> {
    let sql = format!(
        "SELECT decision_id, status, tweet_id, coalesce(jsonb_array_length(thread_parts), 1),
                extract(epoch FROM now() - scheduled_at)::bigint
           FROM public.content_metadata WHERE decision_id NOT LIKE '{HISTORY}%'"
    );
    kit.query_typed(&sql, &[])
        .expect("the posts are read")
        .iter()
        .map(|row| {
            let parts = usize::try_from(row.get::<_, i32>(3)).unwrap_or(1);
            (row.get(0), Post { status: row.get(1), external_id: row.get(2), parts, age_s: row.get(4) })
        })
        .collect()
}

fn read_changes(kit: &mut Client) -> Vec<Change> {
    kit.query_typed("SELECT post, old_status, new_status, xid::text, who, seen_from FROM kit.audit ORDER BY id", &[])
        .expect("the audit is read")
        .iter()
        .map(|row| Change {
            post: row.get(0),
            from: row.get(1),
            to: row.get(2),
            xid: row.get(3),
            who: row.get(4),
            seen_from: row.get(5),
        })
        .collect()
}

fn read_journal(kit: &mut Client) -> Vec<Entry> {
    kit.query_typed(
        "SELECT target, action, before ->> 'status', after ->> 'status', xid::text, run_id, undone_at IS NOT NULL
           FROM healer.action WHERE run_id > 0 ORDER BY id",
        &[],
    )
    .expect("the journal is read")
    .iter()
    .map(|row| Entry {
        post: row.get(0),
        action: row.get(1),
        from: row.get(2),
        to: row.get(3),
        xid: row.get(4),
        run: row.get(5),
        undone: row.get(6),
    })
    .collect()
}
