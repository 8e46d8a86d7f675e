//! The system that healer serves, in small: workers that claim posts, publish them to a platform in memory that counts
//! every publication, keep ledgers, and die at any step.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use postgres::Client;
use postgres::types::{ToSql, Type};

/// Where a worker dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KillPoint {
    /// The post is claimed, and nothing else.
    Claim,
    /// The attempt is noted (where attempts are), nothing is published.
    Attempt,
    /// Some parts of a thread are published.
    Thread,
    /// All is published, no ledger tells.
    Publish,
    /// The ledgers tell, the post's status does not.
    Receipt,
}

impl KillPoint {
    /// All, in the order of a worker's steps.
    pub const ALL: [Self; 5] = [Self::Claim, Self::Attempt, Self::Thread, Self::Publish, Self::Receipt];

    /// Its name in arguments and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Attempt => "attempt",
            Self::Thread => "thread",
            Self::Publish => "publish",
            Self::Receipt => "receipt",
        }
    }
}

/// The ledgers that the system keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ledgers {
    /// `post_receipts`: written after publishing.
    pub receipts: bool,
    /// `post_attempts`: written before publishing, closed after it.
    pub attempts: bool,
    /// `POST_SUCCESS` events: written after the receipt, for every other post.
    pub events: bool,
}

/// What becomes of a claimed post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is posted.
    Finish,
    /// It is posted, and its external id is not saved: NULL, or a placeholder.
    FinishWithoutId {
        /// Whether a placeholder is saved.
        placeholder: bool,
    },
    /// The platform refuses it before anything is published.
    Refuse,
    /// The worker dies.
    Die(KillPoint),
    /// The worker is slow: it stops here, and goes on when told to.
    Pause(KillPoint),
}

/// One publication.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Which part of the post, from 0.
    pub part: usize,
    /// The id that the platform gave.
    pub id: String,
}

/// The platform: it publishes whatever it is given, as often as it is given it.
#[derive(Debug, Default)]
pub struct Platform {
    published: Mutex<HashMap<String, Vec<Publication>>>,
    next: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Platform {
    /// Publishes a part, and gives the id.
    pub fn publish(&self, post: &str, part: usize) -> String {
        let id = (1_700_000_000_000 + self.next.fetch_add(1, Ordering::Relaxed)).to_string();
        locked(&self.published).entry(post.to_owned()).or_default().push(Publication { part, id: id.clone() });
        id
    }

    /// What was published of a post.
    pub fn of(&self, post: &str) -> Vec<Publication> {
        locked(&self.published).get(post).cloned().unwrap_or_default()
    }

    /// Whether every one of `parts` was published at least once.
    pub fn has_all(&self, post: &str, parts: usize) -> bool {
        let published = self.of(post);
        (0..parts).all(|part| published.iter().any(|publication| publication.part == part))
    }

    /// How many parts were published more than once.
    pub fn doubles(&self, post: &str) -> usize {
        let mut times: HashMap<usize, usize> = HashMap::new();
        for publication in self.of(post) {
            *times.entry(publication.part).or_default() += 1;
        }
        times.values().filter(|times| **times > 1).count()
    }
}

/// Something that a ledger, or the post's own row, told from a moment on.
#[derive(Debug, Clone)]
pub struct Known {
    /// The post.
    pub post: String,
    /// Whether it tells that the post was sent; else that an attempt has begun.
    pub sent: bool,
    /// Its COMMIT had been answered by then.
    pub from: SystemTime,
    /// An attempt that failed was open until then.
    pub until: Option<SystemTime>,
}

/// A claimed post on its way.
#[derive(Debug, Clone)]
pub struct Job {
    post: String,
    parts: usize,
    ids: Vec<String>,
    done: Option<KillPoint>,
    fate: Fate,
    /// Receipts of a thread that are written part by part.
    progressive: bool,
    /// The row of `post_attempts`, and where it is noted as known.
    attempt: Option<(String, usize)>,
}

/// What decides over a claimed post: its id, how often it was claimed before, and how many parts it has.
pub type Fates<'a> = dyn Fn(&str, u64, usize) -> Fate + Sync + 'a;

/// The system around the workers.
#[derive(Debug, Default)]
pub struct Poster {
    /// The platform.
    pub platform: Platform,
    /// The ledgers that are kept.
    pub ledgers: Ledgers,
    /// Whether a worker marks a post as posted only if it still is `posting`.
    pub guarded: bool,
    known: Mutex<Vec<Known>>,
    claims: Mutex<HashMap<String, u64>>,
    deaths: [AtomicU64; 5],
}

impl Poster {
    /// A system with nothing done yet.
    pub fn new(ledgers: Ledgers, guarded: bool) -> Self {
        Self { ledgers, guarded, ..Self::default() }
    }

    /// What the ledgers have told up to now.
    pub fn known(&self) -> Vec<Known> {
        locked(&self.known).clone()
    }

    /// How many workers died at each point, in the order of [`KillPoint::ALL`].
    pub fn deaths(&self) -> [u64; 5] {
        std::array::from_fn(|point| self.deaths[point].load(Ordering::Relaxed))
    }

    /// Claims and handles posts until none is queued. Gives those whose worker is slow.
    pub fn work(&self, client: &mut Client, fates: &Fates<'_>) -> Vec<Job> {
        let mut slow = Vec::new();
        while let Some(mut job) = self.claim(client, fates) {
            if !self.advance(client, &mut job) && matches!(job.fate, Fate::Pause(_)) {
                slow.push(job);
            }
        }
        slow
    }

    /// A slow worker goes on, to what `fate` says. `within`: it saves the status in a transaction that stays open for
    /// this long.
    pub fn resume(&self, client: &mut Client, mut job: Job, fate: Fate, within: Option<Duration>) {
        job.fate = fate;
        let Some(open) = within else {
            self.advance(client, &mut job);
            return;
        };
        if job.done != Some(KillPoint::Receipt) {
            job.fate = Fate::Pause(KillPoint::Receipt);
            self.advance(client, &mut job);
            job.fate = fate;
        }
        client.batch_execute("BEGIN").expect("a transaction begins");
        let changed = self.save_status(client, &job);
        thread::sleep(open);
        client.batch_execute("COMMIT").expect("the worker commits");
        if changed {
            self.tell(&job.post, true);
        }
    }

    fn claim(&self, client: &mut Client, fates: &Fates<'_>) -> Option<Job> {
        let rows = client
            .query_typed(
                "UPDATE public.content_metadata SET status = 'posting', updated_at = now()
                  WHERE decision_id = (SELECT decision_id FROM public.content_metadata
                                        WHERE status = 'queued' AND scheduled_at <= now()
                                        ORDER BY scheduled_at LIMIT 1 FOR UPDATE SKIP LOCKED)
                    AND status = 'queued'
                 RETURNING decision_id, coalesce(jsonb_array_length(thread_parts), 1)",
                &[],
            )
            .expect("a post is claimed");
        let row = rows.first()?;
        let post: String = row.get(0);
        let parts = usize::try_from(row.get::<_, i32>(1)).expect("parts are few");
        let before = {
            let mut claims = locked(&self.claims);
            let times = claims.entry(post.clone()).or_default();
            *times += 1;
            *times - 1
        };
        let fate = fates(&post, before, parts);
        let progressive = parts > 1 && post.as_bytes()[7].is_multiple_of(2);
        Some(Job { post, parts, ids: Vec::new(), done: None, fate, progressive, attempt: None })
    }

    /// Goes on until the end, or until the worker dies or pauses. Gives whether it came to the end.
    fn advance(&self, client: &mut Client, job: &mut Job) -> bool {
        if job.done.is_none() {
            job.done = Some(KillPoint::Claim);
            if self.stops(job, KillPoint::Claim) {
                return false;
            }
        }
        if job.done == Some(KillPoint::Claim) {
            self.note_attempt(client, job);
            job.done = Some(KillPoint::Attempt);
            if self.stops(job, KillPoint::Attempt) {
                return false;
            }
        }
        if job.fate == Fate::Refuse {
            self.refuse(client, job);
            return true;
        }
        while job.ids.len() < job.parts {
            job.ids.push(self.platform.publish(&job.post, job.ids.len()));
            if job.progressive && job.ids.len() < job.parts {
                self.note_receipt(client, job);
            }
            job.done = Some(KillPoint::Thread);
            if job.ids.len() < job.parts && self.stops(job, KillPoint::Thread) {
                return false;
            }
        }
        if job.done == Some(KillPoint::Thread) {
            job.done = Some(KillPoint::Publish);
            if self.stops(job, KillPoint::Publish) {
                return false;
            }
        }
        if job.done == Some(KillPoint::Publish) {
            self.note_receipt(client, job);
            self.close_attempt(client, job);
            self.note_success(client, job);
            job.done = Some(KillPoint::Receipt);
            if self.stops(job, KillPoint::Receipt) {
                return false;
            }
        }
        if self.save_status(client, job) {
            self.tell(&job.post, true);
        }
        true
    }

    fn stops(&self, job: &Job, here: KillPoint) -> bool {
        match job.fate {
            Fate::Die(point) if point == here => {
                self.deaths[here as usize].fetch_add(1, Ordering::Relaxed);
                true
            }
            Fate::Pause(point) => point == here,
            _ => false,
        }
    }

    /// Notes that from now on the ledgers tell of a post. Called after the COMMIT was answered: whoever looks later
    /// sees it.
    pub fn tell(&self, post: &str, sent: bool) -> usize {
        let mut known = locked(&self.known);
        known.push(Known { post: post.to_owned(), sent, from: SystemTime::now(), until: None });
        known.len() - 1
    }

    fn note_attempt(&self, client: &mut Client, job: &mut Job) {
        if !self.ledgers.attempts {
            return;
        }
        let row = client
            .query_typed_one(
                "INSERT INTO public.post_attempts (decision_id, status, approved_at) VALUES ($1, 'APPROVED', now())
                 RETURNING id::text",
                &[(&job.post, Type::TEXT)],
            )
            .expect("an attempt is noted");
        job.attempt = Some((row.get(0), self.tell(&job.post, false)));
    }

    fn refuse(&self, client: &mut Client, job: &Job) {
        if let Some((attempt, known)) = &job.attempt {
            locked(&self.known)[*known].until = Some(SystemTime::now());
            execute(
                client,
                "UPDATE public.post_attempts SET status = 'FAILED', posting_success = false, used_at = now(),
                        error_message = 'Invalid media type' WHERE id = $1::text::uuid",
                &[attempt],
            );
        }
        execute(
            client,
            "UPDATE public.content_metadata SET status = 'failed', updated_at = now() WHERE decision_id = $1 AND status = 'posting'",
            &[&job.post],
        );
    }

    fn note_receipt(&self, client: &mut Client, job: &Job) {
        if !self.ledgers.receipts {
            return;
        }
        let kind = if job.parts > 1 { "thread" } else { "single" };
        let ids = job.ids.join(",");
        // One receipt for each sending: a thread that is noted part by part grows in its own row.
        if job.progressive && job.ids.len() > 1 {
            execute(
                client,
                "UPDATE public.post_receipts SET tweet_ids = string_to_array($1, ',') WHERE root_tweet_id = $2",
                &[&ids, &job.ids[0]],
            );
        } else {
            execute(
                client,
                "INSERT INTO public.post_receipts (decision_id, tweet_ids, root_tweet_id, post_type)
                 VALUES ($1::text::uuid, string_to_array($2, ','), $3, $4)",
                &[&job.post, &ids, &job.ids[0], kind],
            );
        }
        self.tell(&job.post, true);
    }

    fn close_attempt(&self, client: &mut Client, job: &Job) {
        let Some((attempt, _)) = &job.attempt else { return };
        execute(
            client,
            "UPDATE public.post_attempts SET status = 'USED', posting_success = true, used_at = now(), actual_tweet_id = $2
              WHERE id = $1::text::uuid",
            &[attempt, &job.ids[0]],
        );
        self.tell(&job.post, true);
    }

    fn note_success(&self, client: &mut Client, job: &Job) {
        if !self.ledgers.events || !job.post.as_bytes()[6].is_multiple_of(2) {
            return;
        }
        execute(
            client,
            "INSERT INTO public.system_events (event_type, event_data, severity)
             VALUES ('POST_SUCCESS', jsonb_build_object('decision_id', $1::text, 'tweet_id', $2::text), 'info')",
            &[&job.post, &job.ids[0]],
        );
        self.tell(&job.post, true);
    }

    fn save_status(&self, client: &mut Client, job: &Job) -> bool {
        let id = match job.fate {
            Fate::FinishWithoutId { placeholder: true } => format!("posted_{}", job.ids[0]),
            Fate::FinishWithoutId { placeholder: false } => String::new(),
            _ => job.ids[0].clone(),
        };
        let guard = if self.guarded { " AND status = 'posting'" } else { "" };
        let sql = format!(
            "UPDATE public.content_metadata SET status = 'posted', tweet_id = nullif($2, ''), posted_at = now(), updated_at = now()
              WHERE decision_id = $1{guard}"
        );
        execute(client, &sql, &[&job.post, &id]) == 1
    }
}

/// Runs a statement whose parameters are all texts, in one round trip.
fn execute(client: &mut Client, sql: &str, texts: &[&str]) -> u64 {
    let params: Vec<(&(dyn ToSql + Sync), Type)> =
        texts.iter().map(|text| (text as &(dyn ToSql + Sync), Type::TEXT)).collect();
    client.execute_typed(sql, &params).unwrap_or_else(|error| panic!("{sql}: {error:?}"))
}
