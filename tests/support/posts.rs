//! Posts as a test tells them: `Post::stuck("a", "47 minutes").receipt(1)`. All times are SQL intervals before now.

use postgres::Client;
use serde_json::Value;

use super::cluster::{Shape, TestDb};

/// A post, with what the ledgers have of it.
#[derive(Debug, Clone)]
pub struct Post {
    name: String,
    id: String,
    columns: Vec<(&'static str, String)>,
    ledgers: Vec<String>,
}

/// A text as an SQL literal.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The moment an interval ago. A leading minus means in the future.
fn ago(interval: &str) -> String {
    format!("now() - interval {}", literal(interval))
}

/// The id of the post of this name: a uuid, as some ledgers need it, the same in every test.
pub fn id_of(name: &str) -> String {
    // FNV-1a, twice: enough to tell a test's names apart, and stable.
    let hash =
        |seed: u64| name.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let (high, low) = (hash(0xcbf2_9ce4_8422_2325), hash(0x9ae1_6a3b_2f90_404f));
    let digits = format!("{high:016x}{low:016x}");
    format!("{}-{}-4{}-a{}-{}", &digits[0..8], &digits[8..12], &digits[13..16], &digits[17..20], &digits[20..32])
}

/// A real external id for the post of this name.
pub fn external_id_of(name: &str) -> String {
    let number = name.bytes().fold(7_u64, |hash, byte| hash.wrapping_mul(131).wrapping_add(u64::from(byte)));
    format!("17{:016}", number % 10_000_000_000_000_000)
}

impl Post {
    /// A post with this status; its id comes from the name.
    pub fn new(name: &str, status: &str) -> Self {
        let mut post = Self { name: name.to_owned(), id: id_of(name), columns: Vec::new(), ledgers: Vec::new() };
        post.set("content", literal(name));
        post.set("status", literal(status));
        post
    }

    /// In posting, claimed so long ago, written an hour before that.
    pub fn stuck(name: &str, claimed: &str) -> Self {
        Self::new(name, "posting").written_before(claimed).updated(claimed)
    }

    /// Posted so long ago, without an id.
    pub fn posted(name: &str, posted: &str) -> Self {
        Self::new(name, "posted").written_before(posted).updated(posted).column("posted_at", &ago(posted))
    }

    /// Failed so long ago.
    pub fn failed(name: &str, failed: &str) -> Self {
        Self::new(name, "failed").written_before(failed).updated(failed)
    }

    /// Written an hour before something happened to it.
    fn written_before(self, interval: &str) -> Self {
        let created = format!("{} - interval '1 hour'", ago(interval));
        self.column("created_at", &created)
    }

    /// With another id than the one of its name.
    #[must_use]
    pub fn with_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        self
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether a database of this shape can hold it: its columns, and the ledgers that know it.
    pub fn fits(&self, shape: Shape) -> bool {
        shape == Shape::Full
            || (self.ledgers.is_empty() && !self.columns.iter().any(|(name, _)| *name == "thread_tweet_ids"))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn set(&mut self, column: &'static str, sql: String) {
        self.columns.retain(|(name, _)| *name != column);
        self.columns.push((column, sql));
    }

    /// With a column set to an SQL expression.
    #[must_use]
    pub fn column(mut self, name: &'static str, sql: &str) -> Self {
        self.set(name, sql.to_owned());
        self
    }

    /// Written so long ago.
    #[must_use]
    pub fn created(self, interval: &str) -> Self {
        self.column("created_at", &ago(interval))
    }

    /// Planned for so long ago.
    #[must_use]
    pub fn scheduled(self, interval: &str) -> Self {
        self.column("scheduled_at", &ago(interval))
    }

    /// Last changed so long ago, which is when it was claimed.
    #[must_use]
    pub fn updated(self, interval: &str) -> Self {
        self.column("updated_at", &ago(interval))
    }

    /// Of a type.
    #[must_use]
    pub fn kind(self, word: &str) -> Self {
        self.column("decision_type", &literal(word))
    }

    /// A thread of so many parts.
    #[must_use]
    pub fn thread(self, parts: usize) -> Self {
        let list = vec!["part"; parts];
        self.kind("thread").column("thread_parts", &format!("{}::jsonb", literal(&serde_json::json!(list).to_string())))
    }

    /// With this text for an external id.
    #[must_use]
    pub fn external_id(self, id: &str) -> Self {
        self.column("tweet_id", &literal(id))
    }

    /// With features.
    #[must_use]
    pub fn features(self, json: &Value) -> Self {
        self.column("features", &format!("{}::jsonb", literal(&json.to_string())))
    }

    /// With an error message.
    #[must_use]
    pub fn error(self, text: &str) -> Self {
        self.column("error_message", &literal(text))
    }

    /// With any statement that follows the row; `$ID` stands for its id as a literal.
    #[must_use]
    pub fn and(mut self, sql: &str) -> Self {
        let id = literal(&self.id);
        self.ledgers.push(sql.replace("$ID", &id));
        self
    }

    /// The ids that the platform gave it.
    pub fn external_ids(&self, parts: usize) -> Vec<String> {
        (0..parts.max(1))
            .map(
                |part| {
                    if part == 0 {
                        external_id_of(&self.name)
                    } else {
                        external_id_of(&format!("{}#{part}", self.name))
                    }
                },
            )
            .collect()
    }

    /// With a receipt for so many parts.
    #[must_use]
    pub fn receipt(self, parts: usize) -> Self {
        let ids = self.external_ids(parts);
        let list: Vec<String> = ids.iter().map(|id| literal(id)).collect();
        let sql = format!(
            "INSERT INTO post_receipts (decision_id, tweet_ids, root_tweet_id, post_type, posted_at)
             VALUES ($ID::uuid, ARRAY[{}], {}, 'single', now() - interval '40 minutes')",
            list.join(", "),
            list[0]
        );
        self.and(&sql)
    }

    /// With a row in `post_attempts`: its status and, as SQL, its external id and success.
    #[must_use]
    pub fn attempt(self, status: &str, external_id: &str, success: &str) -> Self {
        self.attempt_with(status, external_id, success, "NULL")
    }

    /// The same, with an error as SQL.
    #[must_use]
    pub fn attempt_with(self, status: &str, external_id: &str, success: &str, error: &str) -> Self {
        let sql = format!(
            "INSERT INTO post_attempts (decision_id, status, actual_tweet_id, posting_success, error_message, created_at,
                                        approved_at, used_at)
             VALUES ($ID, {}, {external_id}, {success}, {error}, now() - interval '46 minutes',
                     now() - interval '46 minutes', now() - interval '45 minutes')",
            literal(status)
        );
        self.and(&sql)
    }

    /// With a row in `posting_attempts`.
    #[must_use]
    pub fn posting_attempt(self, status: &str, external_id: &str) -> Self {
        let sql = format!(
            "INSERT INTO posting_attempts (decision_id, tweet_id, status, created_at)
             VALUES ($ID, {external_id}, {}, now() - interval '45 minutes')",
            literal(status)
        );
        self.and(&sql)
    }

    /// With an event of success.
    #[must_use]
    pub fn event(self, event_type: &str, external_id: &str) -> Self {
        let sql = format!(
            "INSERT INTO system_events (event_type, event_data, severity, created_at)
             VALUES ({}, jsonb_build_object('decision_id', $ID, 'tweet_id', {external_id}), 'info',
                     now() - interval '40 minutes')",
            literal(event_type)
        );
        self.and(&sql)
    }

    /// Its statements for a database of this shape: the row, then what the ledgers have.
    pub fn sql(&self, shape: Shape) -> String {
        let mut names = vec!["decision_id"];
        // A literal without a type takes the column's: text, uuid or number.
        let mut values = vec![literal(&self.id)];
        for (name, value) in &self.columns {
            names.push(name);
            values.push(value.clone());
        }
        let row = format!("INSERT INTO {} ({}) VALUES ({})", shape.posts_table(), names.join(", "), values.join(", "));
        let mut all = vec![row];
        all.extend(self.ledgers.iter().cloned());
        all.join(";\n")
    }
}

/// Inserts posts, all in one transaction: their times are of one moment.
#[track_caller]
pub fn insert(database: &TestDb, posts: &[Post]) {
    insert_by(&mut database.client(), database.shape(), posts);
}

/// The same on a connection of the test's own.
#[track_caller]
pub fn insert_by(client: &mut Client, shape: Shape, posts: &[Post]) {
    let sql: Vec<String> = posts.iter().map(|post| post.sql(shape)).collect();
    let sql = format!("BEGIN;\n{};\nCOMMIT", sql.join(";\n"));
    client.batch_execute(&sql).unwrap_or_else(|error| panic!("{error:?}"));
}

/// The past that makes a ledger's silence count or not: `posts` of the last days, of which the receipts know `known`.
pub fn past(database: &TestDb, posts: u32, known: u32) {
    let table = database.shape().posts_table();
    let mut client = database.client();
    let uuid = database.value(
        "SELECT data_type = 'uuid' FROM information_schema.columns
          WHERE table_schema = 'public' AND table_name = 'content_metadata' AND column_name = 'decision_id'",
    );
    let key = if uuid.as_deref() == Some("true") { "" } else { "::text" };
    let sql = format!(
        "INSERT INTO {table} (decision_id, decision_type, content, status, created_at, posted_at, updated_at, tweet_id)
         SELECT md5('past ' || i)::uuid{key}, 'single', 'past', 'posted', now() - interval '3 days', now() - interval '2 days',
                now() - interval '2 days', '18' || lpad(i::text, 16, '0')
           FROM generate_series(1, {posts}) i"
    );
    client.batch_execute(&sql).unwrap_or_else(|error| panic!("{error:?}"));
    if database.shape() == Shape::Full && known > 0 {
        let sql = format!(
            "INSERT INTO post_receipts (decision_id, tweet_ids, root_tweet_id, post_type, posted_at)
             SELECT md5('past ' || i)::uuid, ARRAY['18' || lpad(i::text, 16, '0')], '18' || lpad(i::text, 16, '0'), 'single',
                    now() - interval '2 days'
               FROM generate_series(1, {known}) i"
        );
        client.batch_execute(&sql).unwrap_or_else(|error| panic!("{error:?}"));
    }
}

/// What stands in the row of a post now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its status.
    pub status: Option<String>,
    /// Its external id.
    pub external_id: Option<String>,
    /// The whole row, as text: what must not change is compared by it.
    pub whole: String,
}

/// The row of a post; `None` where it is gone.
pub fn row(database: &TestDb, id: &str) -> Option<Row> {
    let sql = format!(
        "SELECT p.status::text, p.tweet_id::text, p::text FROM {} p WHERE p.decision_id::text = $1",
        database.shape().posts_table()
    );
    let row = database.client().query_opt(&sql, &[&id]).unwrap_or_else(|error| panic!("{error:?}"))?;
    Some(Row { status: row.get(0), external_id: row.get(1), whole: row.get(2) })
}

/// The status of a post.
pub fn status(database: &TestDb, id: &str) -> String {
    row(database, id).and_then(|row| row.status).unwrap_or_else(|| "gone".into())
}

/// The code under which a post is held now.
pub fn held(database: &TestDb, id: &str) -> Option<String> {
    database
        .client()
        .query_opt("SELECT code FROM healer.held_post WHERE post = $1 AND resolved_at IS NULL", &[&id])
        .unwrap_or_else(|error| panic!("{error:?}"))
        .map(|row| row.get(0))
}

/// Whether a post waits in the recovery queue.
pub fn recovering(database: &TestDb, id: &str) -> bool {
    database
        .client()
        .query_one("SELECT count(*) FROM healer.id_recovery WHERE post = $1 AND resolved_at IS NULL", &[&id])
        .unwrap_or_else(|error| panic!("{error:?}"))
        .get::<_, i64>(0)
        > 0
}
