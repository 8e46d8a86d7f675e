//! What a database holds and what was written to it, so that "nothing changed" can be said of all of it.

use std::collections::BTreeMap;

use postgres::Client;

use super::cluster::TestDb;

/// A hash of every table.
pub fn hashes(database: &TestDb) -> BTreeMap<String, String> {
    let mut client = database.client();
    let tables = client
        .query(
            "SELECT format('%I.%I', n.nspname, c.relname)
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind = 'r' AND n.nspname IN ('public', 'healer') AND c.relname <> 'canary' ORDER BY 1",
            &[],
        )
        .unwrap_or_else(|error| panic!("{error:?}"));
    tables
        .iter()
        .map(|row| {
            let table: String = row.get(0);
            let hash = hash_by(&mut client, &table);
            (table, hash)
        })
        .collect()
}

/// The hash of one table.
pub fn hash(database: &TestDb, table: &str) -> String {
    hash_by(&mut database.client(), table)
}

fn hash_by(client: &mut Client, table: &str) -> String {
    client
        .query_one(
            &format!("SELECT coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text)), '') FROM {table} t"),
            &[],
        )
        .unwrap_or_else(|error| panic!("{table}: {error:?}"))
        .get(0)
}

/// Rows inserted, updated and deleted so far in every table, by the server's own count.
pub fn written(database: &TestDb) -> BTreeMap<String, (i64, i64, i64)> {
    settle(database);
    database
        .client()
        .query(
            "SELECT schemaname || '.' || relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables
              WHERE relname <> 'canary'",
            &[],
        )
        .unwrap_or_else(|error| panic!("{error:?}"))
        .iter()
        .map(|row| (row.get(0), (row.get(1), row.get(2), row.get(3))))
        .collect()
}

/// Waits until everything that ended sessions have counted is in the statistics: they count late. A row of our own,
/// written after all others had ended, must show.
pub fn settle(database: &TestDb) {
    await_true(database, "SELECT count(*) = 0 FROM pg_stat_activity
                           WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'");
    database.run("CREATE TABLE IF NOT EXISTS public.canary (value int)");
    let count = "SELECT coalesce(sum(n_tup_ins), 0)::bigint FROM pg_stat_user_tables WHERE relname = 'canary'";
    let before = database.client().query_one(count, &[]).map_or(0, |row| row.get::<_, i64>(0));
    database.run("INSERT INTO public.canary VALUES (1)");
    await_true(database, &format!("SELECT ({count}) > {before}"));
}

/// Asks until the answer is true; the server pauses between the questions.
pub fn await_true(database: &TestDb, question: &str) {
    let mut client = database.client();
    while !client.query_one(question, &[]).unwrap_or_else(|error| panic!("{question}: {error:?}")).get::<_, bool>(0) {
        client.batch_execute("SELECT pg_sleep(0.005)").unwrap_or_else(|error| panic!("{error:?}"));
    }
}

/// Waits until `count` sessions of this database wait for a lock.
pub fn await_waiting(database: &TestDb, count: u32) {
    await_true(
        database,
        &format!(
            "SELECT count(*) >= {count} FROM pg_stat_activity
              WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ),
    );
}
