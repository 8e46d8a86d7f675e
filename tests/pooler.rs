//! Behind PgBouncer in transaction mode with one server connection: what one session leaves behind, the next one meets.

use crate::support::cluster::{Shape, TestDb, server};
use crate::support::pooler::Pooler;
use crate::support::program::{Healer, Ran};

const STUCK: &str = "INSERT INTO public.content_metadata (decision_id, content, status, created_at, updated_at)
    SELECT 'p' || n, 'x', 'posting', now() - interval '2 hours', now() - interval '45 minutes' FROM generate_series(1, 20) n";

/// The settings that healer sets, as a fresh session has them, and what must not be left on the server connection.
const TRACES: &str = "SELECT concat_ws(' ', current_setting('TimeZone'), current_setting('row_security'),
        current_setting('statement_timeout'), current_setting('lock_timeout'),
        current_setting('idle_in_transaction_session_timeout'), current_setting('cursor_tuple_fraction'),
        current_setting('client_min_messages'), current_setting('default_transaction_read_only'),
        current_setting('search_path'),
        (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
        (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_cursors))";

/// A database behind a pooler; `None`, and said, where no pooler is installed.
fn pooled(shape: Shape) -> Option<(TestDb, Pooler)> {
    let database = TestDb::new(shape);
    let pooler = Pooler::start(server(), database.name());
    if pooler.is_none() {
        eprintln!("pgbouncer is not installed: not tried");
    }
    Some((database, pooler?))
}

/// Both through the simple protocol: the traces of the question itself must not be counted.
fn traces(pooler: &Pooler) -> String {
    let mut client = pooler.client().expect("a connection");
    let messages = client.simple_query(TRACES).expect("an answer");
    messages
        .iter()
        .find_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
        .expect("a row")
}

#[test]
fn five_heals_at_once_share_one_server_connection_and_leave_nothing_on_it() {
    let Some((database, pooler)) = pooled(Shape::Minimal) else { return };
    let before = traces(&pooler);
    Healer::at(&pooler.url(), &["init"]).run().expect(0);
    database.run(STUCK);
    let children: Vec<_> = (0..5).map(|_| Healer::at(&pooler.url(), &["heal", "-v"]).spawn()).collect();
    for (child, _folder) in children {
        let ran = Ran::of(child.wait_with_output().expect("it ends")).expect(0);
        assert!(!ran.all().contains("prepared statement"), "{}", ran.all());
    }
    assert_eq!(database.value("SELECT count(*) FROM healer.action").as_deref(), Some("20"), "every post once");
    assert_eq!(
        database.value("SELECT count(*) FROM public.content_metadata WHERE status = 'queued'").as_deref(),
        Some("20")
    );
    assert_eq!(traces(&pooler), before);
}

#[test]
fn every_command_works_behind_it() {
    for shape in Shape::ALL {
        let Some((database, pooler)) = pooled(shape) else { return };
        let before = traces(&pooler);
        let run = |arguments: &[&str], code: i32| Healer::at(&pooler.url(), arguments).run().expect(code);
        run(&["init"], 0);
        run(&["init"], 0);
        database.run(STUCK);
        database.run("UPDATE public.content_metadata SET scheduled_at = now() - interval '2 days' WHERE decision_id IN ('p1', 'p2', 'p3')");
        run(&["heal", "--dry-run"], 0);
        // What is held is new: in part done.
        run(&["heal"], 3);
        assert!(run(&["doctor"], 0).stdout.contains("pooler"));
        run(&["report"], 0);
        run(&["resolve", "p1", "--queue", "--dry-run"], 0);
        run(&["resolve", "p1", "--queue"], 0);
        run(&["resolve", "p2", "--posted", "12345"], 0);
        run(&["resolve", "p3", "--fail"], 0);
        // The second run is the first decision.
        run(&["undo", "2", "--dry-run"], 0);
        run(&["undo", "2"], 0);
        // A failure in the middle of a transaction leaves no more behind.
        run(&["resolve", "p9999", "--queue"], 1);
        run(&["undo", "9999"], 1);
        assert_eq!(traces(&pooler), before);
    }
}

#[test]
fn a_run_that_is_killed_leaves_the_connection_clean() {
    let Some((database, pooler)) = pooled(Shape::Minimal) else { return };
    let before = traces(&pooler);
    Healer::at(&pooler.url(), &["init"]).run().expect(0);
    database.run(STUCK);
    database.run(
        "CREATE FUNCTION public.gate() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END';
         CREATE TRIGGER gate BEFORE UPDATE ON public.content_metadata FOR EACH STATEMENT EXECUTE FUNCTION public.gate()",
    );
    let mut holder = database.client();
    holder.batch_execute("SELECT pg_advisory_lock(42)").expect("locked");
    let (child, _folder) = Healer::at(&pooler.url(), &["heal"]).config("[database]\nlock_timeout = \"60s\"\n").spawn();
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while holder.query_one(waiting, &[]).expect("an answer").get::<_, i64>(0) == 0 {
        std::thread::yield_now();
    }
    crate::support::program::signal(&child, "KILL");
    assert_eq!(Ran::of(child.wait_with_output().expect("it ends")).code, None);
    drop(holder);
    // The pooler gives the next client a connection that is clean, the same or a new one.
    assert_eq!(traces(&pooler), before);
    assert_eq!(database.value("SELECT count(*) FROM healer.action").as_deref(), Some("0"));
}
