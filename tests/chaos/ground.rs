//! A database to fight over: posts, the ledgers of one kind, the schema healer, and an audit that healer knows nothing
//! of: a trigger notes every change that healer makes, with its transaction and the moment its statement began.

use postgres::Client;
use postgres::types::{ToSql, Type};

use crate::support::cluster::{Shape, TestDb, variant};
use crate::support::dice::Dice;
use crate::support::poster::{Ledgers, Poster};

/// What kind of system it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No ledger.
    None,
    /// `post_receipts` alone.
    Receipts,
    /// `post_attempts` alone.
    Attempts,
    /// Both.
    Both,
    /// Both and events of success, and the posts are a view.
    View,
    /// No ledger, and old failures move to an archive table.
    Moving,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::None, Self::Receipts, Self::Attempts, Self::Both, Self::View, Self::Moving];

    /// The ledgers that its workers keep.
    pub fn ledgers(self) -> Ledgers {
        let (receipts, attempts, events) = match self {
            Self::None | Self::Moving => (false, false, false),
            Self::Receipts => (true, false, false),
            Self::Attempts => (false, true, false),
            Self::Both => (true, true, false),
            Self::View => (true, true, true),
        };
        Ledgers { receipts, attempts, events }
    }
}

/// How much of the last week's posts the ledgers know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// All: their silence counts.
    Full,
    /// Half: it does not.
    Half,
}

const RECEIPTS: &str = "CREATE TABLE public.post_receipts (
    receipt_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), decision_id uuid, tweet_ids text[] NOT NULL,
    root_tweet_id text NOT NULL, post_type text NOT NULL, posted_at timestamptz NOT NULL DEFAULT now(),
    reconciled_at timestamptz, created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON public.post_receipts (decision_id)";

const ATTEMPTS: &str = "CREATE TABLE public.post_attempts (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), decision_id text NOT NULL, status text NOT NULL DEFAULT 'PENDING',
    actual_tweet_id text, posting_success boolean, error_message text, created_at timestamptz NOT NULL DEFAULT now(),
    approved_at timestamptz, used_at timestamptz, expires_at timestamptz);
CREATE INDEX ON public.post_attempts (decision_id)";

/// The audit. A row of it, and the transaction that is written beside each row of the journal, are undone with the
/// change: what is in both was committed together.
const AUDIT: &str = "CREATE SCHEMA kit;
CREATE TABLE kit.audit (id bigint GENERATED ALWAYS AS IDENTITY, post text, old_status text, new_status text,
    xid xid8 DEFAULT pg_current_xact_id(), who text DEFAULT current_setting('application_name'),
    seen_from timestamptz DEFAULT statement_timestamp());
CREATE TABLE kit.slow AS SELECT 0 AS ms;
CREATE FUNCTION kit.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO kit.audit (post, old_status, new_status) VALUES (new.decision_id, old.status, new.status);
    PERFORM pg_sleep(s.ms / 1000.0 * random()) FROM kit.slow s WHERE s.ms > 0;
    RETURN NULL; END $$;
CREATE TRIGGER kit_note AFTER UPDATE ON {posts} FOR EACH ROW
    WHEN (current_setting('application_name') IN ('healer', 'person', 'undo')) EXECUTE FUNCTION kit.note();
ALTER TABLE healer.action ADD xid xid8 DEFAULT pg_current_xact_id();
ALTER TABLE healer.archived_post ADD xid xid8 DEFAULT pg_current_xact_id()";

/// Ids of the posts of the last week begin with this.
pub const HISTORY: &str = "ffffffff";

/// Posts of the last week, enough to measure coverage.
const HISTORY_POSTS: i32 = 20;

/// Rounds after which the tables are emptied by TRUNCATE, which gives the space back that DELETE leaves behind.
const TRUNCATE_EVERY: u32 = 64;

/// One database and who is connected to it.
pub struct Ground {
    /// Its kind.
    pub kind: Kind,
    /// The database.
    pub db: TestDb,
    /// The kit's own connection.
    pub kit: Client,
    /// The connections of the workers.
    pub workers: [Client; 2],
    /// The connection of the workers that were slow.
    pub slow: Client,
    resets: u32,
}

/// One post as it is planned.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Its id.
    pub id: String,
    /// How many parts it has.
    pub parts: i32,
    /// How long ago it was planned.
    pub age_s: i32,
    /// Rescues that the journal knows already.
    pub rescues: i32,
}

impl Ground {
    /// A database of this kind.
    pub fn new(kind: Kind) -> Self {
        let db = match kind {
            Kind::View => TestDb::new(Shape::Full),
            Kind::Moving => TestDb::edited(&[variant::CHECK_WITHOUT_ARCHIVED]),
            _ => TestDb::new(Shape::Minimal),
        };
        if kind != Kind::View && kind.ledgers().receipts {
            db.run(RECEIPTS);
        }
        if kind != Kind::View && kind.ledgers().attempts {
            db.run(ATTEMPTS);
        }
        db.run(&healer::schema::sql());
        db.run(&AUDIT.replace("{posts}", db.shape().posts_table()));
        let client = || {
            let mut client = db.client();
            client.batch_execute("SET application_name = 'kit'").expect("a name is set");
            client
        };
        let (kit, workers, slow) = (client(), [client(), client()], client());
        Self { kind, kit, workers, slow, db, resets: 0 }
    }

    /// The URL for healer under a name of its own, or for a person.
    pub fn url(&self, who: &str) -> String {
        format!("{}&application_name={who}", self.db.url())
    }

    fn tables(&self) -> Vec<&'static str> {
        let mut tables = vec![self.db.shape().posts_table(), "public.system_events", "healer.run", "healer.action"];
        tables.extend(["healer.held_post", "healer.id_recovery", "healer.archived_post", "kit.audit"]);
        if self.kind.ledgers().receipts {
            tables.push("public.post_receipts");
        }
        if self.kind.ledgers().attempts {
            tables.push("public.post_attempts");
        }
        tables
    }

    /// Empties everything, and writes the posts of the last week. Each change of a post then takes healer up to `slow`
    /// milliseconds more: a busy disk.
    pub fn reset(&mut self, coverage: Coverage, slow: u64) {
        let mut sql = if self.resets.is_multiple_of(TRUNCATE_EVERY) {
            format!("TRUNCATE {};", self.tables().join(", "))
        } else {
            self.tables().iter().map(|table| format!("DELETE FROM {table};")).collect()
        };
        self.resets += 1;
        sql.push_str(&format!("UPDATE kit.slow SET ms = {slow} WHERE ms <> {slow};"));
        sql.push_str(
            "UPDATE healer.lease SET token = '', expires_at = '-infinity';
             INSERT INTO healer.setting (name, value) VALUES ('pruned', '1')
             ON CONFLICT (name) DO UPDATE SET updated_at = now();",
        );
        let id = format!("'{HISTORY}-0000-4000-8000-' || lpad(i::text, 12, '0')");
        let every = if coverage == Coverage::Full { 1 } else { 2 };
        let known = format!("generate_series(1, {HISTORY_POSTS}) i WHERE i % {every} = 0");
        sql.push_str(&format!(
            "INSERT INTO public.content_metadata (decision_id, decision_type, content, status, created_at, scheduled_at,
                    posted_at, updated_at, tweet_id)
             SELECT {id}, 'single', 'text', 'posted', t - interval '1 h', t - interval '1 h', t, t, (1600000000000 + i)::text
               FROM (SELECT i, now() - i * interval '4 h' AS t FROM generate_series(1, {HISTORY_POSTS}) i) x;"
        ));
        if self.kind.ledgers().receipts {
            sql.push_str(&format!(
                "INSERT INTO public.post_receipts (decision_id, tweet_ids, root_tweet_id, post_type, posted_at)
                 SELECT ({id})::uuid, ARRAY[(1600000000000 + i)::text], (1600000000000 + i)::text, 'single',
                        now() - i * interval '4 h' FROM {known};"
            ));
        }
        if self.kind.ledgers().attempts {
            sql.push_str(&format!(
                "INSERT INTO public.post_attempts (decision_id, status, actual_tweet_id, posting_success, approved_at, used_at)
                 SELECT {id}, 'USED', (1600000000000 + i)::text, true, now() - i * interval '4 h',
                        now() - i * interval '4 h' + interval '1 min' FROM {known};"
            ));
        }
        self.kit.batch_execute(&sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Writes posts that wait to be posted.
    pub fn queue(&mut self, posts: &[Planned]) {
        let ids: Vec<&str> = posts.iter().map(|post| post.id.as_str()).collect();
        let parts: Vec<i32> = posts.iter().map(|post| post.parts).collect();
        let ages: Vec<i32> = posts.iter().map(|post| post.age_s).collect();
        let rescues: Vec<i32> = posts.iter().map(|post| post.rescues).collect();
        let texts: (&(dyn ToSql + Sync), Type) = (&ids, Type::TEXT_ARRAY);
        self.kit
            .execute_typed(
                "INSERT INTO public.content_metadata (decision_id, decision_type, content, thread_parts, status,
                        created_at, scheduled_at, updated_at)
                 SELECT k.id, CASE WHEN k.parts > 1 THEN 'thread' ELSE 'single' END, 'text',
                        CASE WHEN k.parts > 1 THEN (SELECT jsonb_agg(i::text) FROM generate_series(1, k.parts) i) END,
                        'queued', now() - make_interval(secs => k.age), now() - make_interval(secs => k.age), now()
                   FROM unnest($1::text[], $2::int[], $3::int[]) AS k (id, parts, age)",
                &[texts.clone(), (&parts, Type::INT4_ARRAY), (&ages, Type::INT4_ARRAY)],
            )
            .expect("posts are queued");
        self.kit
            .execute_typed(
                "INSERT INTO healer.action (run_id, check_name, type, action, relation, target, reason, applied_at)
                 SELECT 0, 'stuck-posts', 'stuck_post_recovery', 'reset_status_to_queued', 'content_metadata', k.id,
                        'earlier', now() - interval '8 h'
                   FROM unnest($1::text[], $2::int[]) AS k (id, times), generate_series(1, k.times)",
                &[texts, (&rescues, Type::INT4_ARRAY)],
            )
            .expect("rescues are noted");
    }

    /// Writes two posts that failed long ago: one of which the ledgers know that it was sent (where there are any).
    pub fn old_failures(&mut self, poster: &Poster, dice: &mut Dice) -> [String; 2] {
        let ids = [post_id(dice.number(), 900), post_id(dice.number(), 901)];
        let mut sql: String = ids
            .iter()
            .map(|id| {
                format!(
                    "INSERT INTO public.content_metadata (decision_id, decision_type, content, status, created_at,
                            scheduled_at, updated_at)
                     VALUES ('{id}', 'single', 'text', 'failed', now() - interval '9 d', now() - interval '9 d',
                             now() - interval '8 d');"
                )
            })
            .collect();
        let ledgers = self.kind.ledgers();
        if ledgers.receipts || ledgers.attempts {
            let sent = poster.platform.publish(&ids[1], 0);
            if ledgers.receipts {
                sql.push_str(&format!(
                    "INSERT INTO public.post_receipts (decision_id, tweet_ids, root_tweet_id, post_type, posted_at)
                     VALUES ('{}', '{{{sent}}}', '{sent}', 'single', now() - interval '8 d');",
                    ids[1]
                ));
            } else {
                sql.push_str(&format!(
                    "INSERT INTO public.post_attempts (decision_id, status, actual_tweet_id, posting_success, approved_at, used_at)
                     VALUES ('{}', 'USED', '{sent}', true, now() - interval '8 d', now() - interval '8 d');",
                    ids[1]
                ));
            }
        }
        self.kit.batch_execute(&sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        if ledgers.receipts || ledgers.attempts {
            poster.tell(&ids[1], true);
        }
        ids
    }

    /// Makes `seconds` pass: every time in every table lies so much further back, the lease's too.
    pub fn pass_time(&mut self, seconds: u64) {
        let ago = |columns: &[&str]| -> String {
            columns.iter().map(|c| format!("{c} = {c} - interval '{seconds} s'")).collect::<Vec<_>>().join(", ")
        };
        let mut sql = format!(
            "UPDATE public.content_metadata SET {} WHERE decision_id NOT LIKE '{HISTORY}%';
             UPDATE public.system_events SET {};
             UPDATE healer.action SET {};
             UPDATE healer.run SET {};
             UPDATE healer.held_post SET {};
             UPDATE healer.id_recovery SET {};
             UPDATE healer.lease SET {};",
            ago(&["created_at", "scheduled_at", "updated_at", "posted_at"]),
            ago(&["created_at"]),
            ago(&["applied_at"]),
            ago(&["started_at"]),
            ago(&["held_at", "resolved_at"]),
            ago(&["first_seen", "last_seen"]),
            ago(&["acquired_at", "expires_at"]),
        );
        if self.kind.ledgers().receipts {
            sql.push_str(&format!(
                "UPDATE public.post_receipts SET {} WHERE decision_id::text NOT LIKE '{HISTORY}%';",
                ago(&["posted_at", "created_at"])
            ));
        }
        if self.kind.ledgers().attempts {
            sql.push_str(&format!(
                "UPDATE public.post_attempts SET {} WHERE decision_id NOT LIKE '{HISTORY}%';",
                ago(&["created_at", "approved_at", "used_at"])
            ));
        }
        self.kit.batch_execute(&sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
}

/// An id that is a uuid and never one of the history.
pub fn post_id(chance: u64, number: usize) -> String {
    format!("{:08x}-0000-4000-8000-{number:012}", chance & 0x7fff_ffff)
}
