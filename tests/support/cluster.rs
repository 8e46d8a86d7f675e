//! One server for the whole test binary, and a database of its own for every test.
//!
//! The server is the product's own throwaway cluster, which stops (and here removes its folder) when the process ends,
//! however it ends. `HEALER_PG_BIN` chooses the version. Databases are copied from a template of each shape.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use healer::sandbox::{Cluster, ClusterOptions, SandboxError};
use postgres::Client;

/// What the shape of a database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// All tables, `content_metadata` being a view; the same file that the sandbox is made of.
    Full,
    /// Three plain tables, no ledger.
    Minimal,
}

impl Shape {
    /// All of them, for tests that must hold on each.
    pub const ALL: [Self; 2] = [Self::Full, Self::Minimal];

    /// The statements that make an empty database of this shape.
    pub fn ddl(self) -> &'static str {
        match self {
            Self::Full => include_str!("../../sql/sandbox/010_schema.sql"),
            Self::Minimal => include_str!("shapes/minimal.sql"),
        }
    }

    /// The table under `content_metadata`: rows with an error message are written here.
    pub fn posts_table(self) -> &'static str {
        match self {
            Self::Full => "public.content_generation_metadata_comprehensive",
            Self::Minimal => "public.content_metadata",
        }
    }

    fn template(self) -> &'static str {
        match self {
            Self::Full => "template_full",
            Self::Minimal => "template_minimal",
        }
    }
}

/// Edits of [`Shape::Minimal`] for the installations that differ from it. They are run on an empty database.
pub mod variant {
    /// The id is a uuid.
    pub const UUID_ID: &str = "ALTER TABLE public.content_metadata ALTER decision_id TYPE uuid USING decision_id::uuid";
    /// The id is a number.
    pub const BIGINT_ID: &str =
        "ALTER TABLE public.content_metadata ALTER decision_id TYPE bigint USING decision_id::bigint";
    /// The status is a varchar.
    pub const VARCHAR_STATUS: &str = "ALTER TABLE public.content_metadata ALTER status TYPE varchar(32)";
    /// The status is an enum that has the label archived.
    pub const ENUM_STATUS: &str = "CREATE TYPE public.post_status AS ENUM ('queued', 'ready', 'posting', 'posted', 'failed',
            'cancelled', 'skipped', 'archived');
        DROP INDEX public.content_metadata_posted_idx;
        ALTER TABLE public.content_metadata ALTER status DROP DEFAULT,
            ALTER status TYPE public.post_status USING status::public.post_status, ALTER status SET DEFAULT 'queued';
        CREATE INDEX content_metadata_posted_idx ON public.content_metadata (status, posted_at DESC) WHERE status = 'posted'";
    /// The status is an enum without the label archived.
    pub const ENUM_STATUS_WITHOUT_ARCHIVED: &str = "CREATE TYPE public.post_status AS ENUM ('queued', 'ready', 'posting',
            'posted', 'failed', 'cancelled', 'skipped');
        DROP INDEX public.content_metadata_posted_idx;
        ALTER TABLE public.content_metadata ALTER status DROP DEFAULT,
            ALTER status TYPE public.post_status USING status::public.post_status, ALTER status SET DEFAULT 'queued';
        CREATE INDEX content_metadata_posted_idx ON public.content_metadata (status, posted_at DESC) WHERE status = 'posted'";
    /// The older CHECK, which does not know posting.
    pub const CHECK_WITHOUT_POSTING: &str =
        "ALTER TABLE public.content_metadata ADD CONSTRAINT content_metadata_status_check
        CHECK (status IN ('queued', 'posted', 'skipped', 'failed'))";
    /// The newer CHECK, which does not know archived.
    pub const CHECK_WITHOUT_ARCHIVED: &str =
        "ALTER TABLE public.content_metadata ADD CONSTRAINT content_metadata_status_check
        CHECK (status IN ('queued', 'ready', 'posting', 'posted', 'failed', 'cancelled', 'skipped'))";
    /// The JSON of events is called metadata.
    pub const EVENT_METADATA: &str = "ALTER TABLE public.system_events RENAME event_data TO metadata";
    /// Times without a zone.
    pub const NAIVE_TIMES: &str = "SET LOCAL TimeZone = 'UTC';
        ALTER TABLE public.content_metadata ALTER created_at TYPE timestamp, ALTER posted_at TYPE timestamp,
            ALTER scheduled_at TYPE timestamp, ALTER updated_at TYPE timestamp";
    /// Heartbeats as history: one row a run.
    pub const HEARTBEAT_HISTORY: &str = "DROP TABLE public.job_heartbeats;
        CREATE TABLE public.job_heartbeats (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, job_name text NOT NULL,
            status text, execution_time_ms bigint, error_message text, created_at timestamptz NOT NULL DEFAULT now())";
    /// Posts in partitions by their id.
    pub const PARTITIONED: &str = "DROP TABLE public.content_metadata;
        CREATE TABLE public.content_metadata (decision_id text NOT NULL PRIMARY KEY, decision_type text,
            content text NOT NULL, thread_parts jsonb, status text DEFAULT 'queued', created_at timestamptz NOT NULL DEFAULT now(),
            posted_at timestamptz, scheduled_at timestamptz, tweet_id text, generator_name text, error_message text,
            features jsonb, updated_at timestamptz NOT NULL DEFAULT now()) PARTITION BY HASH (decision_id);
        CREATE TABLE public.content_metadata_0 PARTITION OF public.content_metadata FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE public.content_metadata_1 PARTITION OF public.content_metadata FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        CREATE INDEX content_metadata_status_idx ON public.content_metadata (status)";
}

/// The server; it starts with the first test that asks for it.
static SERVER: LazyLock<Server> =
    LazyLock::new(|| Server::start().unwrap_or_else(|error| panic!("{error}: {}", error.hint())));

struct Server {
    cluster: Cluster,
    /// For creating and dropping databases, which cannot run in a session of theirs.
    admin: Mutex<Client>,
}

impl Server {
    fn start() -> Result<Self, SandboxError> {
        let dir: PathBuf = std::env::temp_dir().join(format!("healer-tests-{}", std::process::id()));
        let options = ClusterOptions {
            dir: &dir,
            filling: "templates",
            // Many tests at once, each with several sessions; two-phase commit and standbys can be tried too.
            settings: &[
                "max_connections=300",
                "max_prepared_transactions=10",
                "wal_level=replica",
                "max_wal_senders=4",
            ],
            remove: true,
        };
        let cluster = Cluster::open(&options, &|cluster| {
            let mut admin = cluster.client("postgres")?;
            for shape in Shape::ALL {
                let seed = |source| SandboxError::Seed { file: shape.template(), source };
                admin.batch_execute(&format!("CREATE DATABASE {}", shape.template())).map_err(seed)?;
                cluster.client(shape.template())?.batch_execute(shape.ddl()).map_err(seed)?;
            }
            Ok(())
        })?;
        let admin = Mutex::new(cluster.client("postgres")?);
        Ok(Self { cluster, admin })
    }

    fn run(&self, sql: &str) -> Result<(), postgres::Error> {
        self.admin.lock().unwrap_or_else(PoisonError::into_inner).batch_execute(sql)
    }
}

/// The server of this test binary.
pub fn server() -> &'static Cluster {
    &SERVER.cluster
}

/// A database of its own; dropping it drops the database, with whoever is still connected.
#[derive(Debug)]
pub struct TestDb {
    name: String,
    shape: Shape,
}

impl TestDb {
    /// An empty database of `shape`.
    pub fn new(shape: Shape) -> Self {
        Self::from_template(shape, shape.template())
    }

    fn from_template(shape: Shape, template: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);

        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        // Before 15 there was one way, and no word for it.
        let strategy = if server().major() >= 15 { " STRATEGY file_copy" } else { "" };
        SERVER
            .run(&format!("CREATE DATABASE {name} TEMPLATE {template}{strategy}"))
            .unwrap_or_else(|error| panic!("creating {name}: {error:?}"));
        Self { name, shape }
    }

    /// A copy of another one, to which nobody is connected, with its statistics.
    pub fn copy_of(other: &Self) -> Self {
        Self::from_template(other.shape, &other.name)
    }

    /// A database of [`Shape::Minimal`] with an edit of [`variant`], or several.
    pub fn edited(edits: &[&str]) -> Self {
        let database = Self::new(Shape::Minimal);
        let mut client = database.client();
        for edit in edits {
            client.batch_execute(edit).unwrap_or_else(|error| panic!("{edit}: {error:?}"));
        }
        database
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its shape before any edit.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Its URL for the superuser.
    pub fn url(&self) -> String {
        server().url(&self.name)
    }

    /// Its URL for another role.
    pub fn url_as(&self, role: &str) -> String {
        server().url_as(role, &self.name)
    }

    /// A connection as the superuser.
    pub fn client(&self) -> Client {
        server().client(&self.name).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs statements.
    pub fn run(&self, sql: &str) {
        self.client().batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The one value of a query, as text; `None` for NULL.
    pub fn value(&self, sql: &str) -> Option<String> {
        let row = self
            .client()
            .query_one(&format!("SELECT value::text FROM ({sql}) AS found (value)"), &[])
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        row.get(0)
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        // A failure here must not hide the one that the test is about; the server's folder goes with the process.
        let _ = SERVER.run(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}
