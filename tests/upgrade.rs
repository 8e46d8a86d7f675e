//! The schema `healer` of every version that was ever shipped, brought to the newest one: twice, and by two at once.

use std::path::{Path, PathBuf};

use healer::database::catalog::SCHEMA_VERSION;

use crate::support::cluster::{Shape, TestDb};
use crate::support::program::{Healer, Ran};

/// What a schema is made of, without its rows, the order of its columns and the bodies' layout.
const STRUCTURE: &str = "SELECT string_agg(line, E'\\n' ORDER BY line COLLATE \"C\") FROM (
    SELECT format('column %s.%s %s%s default %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
                  CASE WHEN a.attnotnull THEN ' not null' ELSE '' END,
                  coalesce(pg_get_expr(d.adbin, d.adrelid), a.attidentity::text)) AS line
      FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'v')
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE c.relnamespace = 'healer'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'healer'
    UNION ALL
    SELECT format('constraint %s %s', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
     WHERE connamespace = 'healer'::regnamespace AND contype <> 'n'
    UNION ALL
    SELECT 'view ' || pg_get_viewdef(oid) FROM pg_class WHERE relnamespace = 'healer'::regnamespace AND relkind = 'v'
    UNION ALL
    SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'healer'::regnamespace
    UNION ALL
    SELECT 'comment ' || obj_description('healer'::regnamespace, 'pg_namespace')
    UNION ALL
    SELECT 'lease of ' || pass FROM healer.lease) AS found (line)";

fn fixture(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/schema/{version}.sql"))
}

/// A database whose schema is of an earlier version, with rows in it.
fn of_version(version: u32) -> TestDb {
    let path = fixture(version);
    let sql = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("{}: {error}: keep what `healer init --print-sql` of the last release prints", path.display())
    });
    let database = TestDb::new(Shape::Full);
    database.run(&sql);
    database
}

/// Every version before the newest.
fn earlier() -> std::ops::Range<u32> {
    1..SCHEMA_VERSION
}

/// What must be kept: each table that was there before with its columns. The lease is left out: taking it is what the
/// next pass does.
fn columns(database: &TestDb) -> Vec<(String, String)> {
    let sql = "SELECT c.relname::text, string_agg(quote_literal(a.attname), ', ' ORDER BY a.attname)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
       WHERE c.relnamespace = 'healer'::regnamespace AND c.relkind = 'r' AND c.relname <> 'lease' GROUP BY 1 ORDER BY 1";
    let rows = database.client().query(sql, &[]).expect("the columns");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// The rows of these columns, table by table: what an upgrade adds is not among what must be kept.
fn rows(database: &TestDb, columns: &[(String, String)]) -> String {
    let mut all = String::new();
    for (table, columns) in columns {
        let kept = format!(
            "SELECT count(*) || ' ' || coalesce(string_agg(md5(kept), ',' ORDER BY kept), '') FROM (
                 SELECT (SELECT string_agg(key || '=' || coalesce(value, 'NULL'), '|' ORDER BY key)
                           FROM jsonb_each_text(to_jsonb(t)) WHERE key = ANY (ARRAY[{columns}])) AS kept FROM healer.{table} t) f"
        );
        all.push_str(&format!("{table}: {}\n", database.value(&kept).unwrap_or_default()));
    }
    all
}

fn structure(database: &TestDb) -> String {
    database.value(STRUCTURE).expect("a schema")
}

fn fresh() -> String {
    let database = TestDb::new(Shape::Full);
    Healer::on(&database, &["init"]).run().expect(0);
    structure(&database)
}

#[test]
fn every_earlier_schema_becomes_the_newest_and_keeps_its_rows_however_often_it_is_upgraded() {
    let newest = fresh();
    for version in earlier() {
        let database = of_version(version);
        let columns = columns(&database);
        let before = rows(&database, &columns);
        assert!(before.contains("run: 2 ") && before.contains("held_post: 1 "), "{before}");
        let first = Healer::on(&database, &["init"]).run().expect(0);
        assert!(first.stdout.contains(&format!("upgraded from version {version}")), "{}", first.stdout);
        assert_eq!(structure(&database), newest, "version {version}");
        assert_eq!(rows(&database, &columns), before, "version {version}");
        let second = Healer::on(&database, &["init"]).run().expect(0);
        assert!(second.stdout.contains("up to date"), "{}", second.stdout);
        assert_eq!(structure(&database), newest, "version {version}");
        assert_eq!(rows(&database, &columns), before, "version {version}");
        // What the earlier one left is what the newest works on.
        let report = Healer::on(&database, &["report", "health", "--format", "json"]).run();
        assert_eq!(report.json()["heldTotal"], 1, "{}", report.stdout);
        Healer::on(&database, &["undo", "1", "--dry-run"]).run().expect(0);
        Healer::on(&database, &["heal"]).run().expect(0);
    }
}

#[test]
fn two_upgrades_at_once_make_the_same_as_one() {
    let newest = fresh();
    for version in earlier() {
        let database = of_version(version);
        let columns = columns(&database);
        let before = rows(&database, &columns);
        let children: Vec<_> = (0..2).map(|_| Healer::on(&database, &["init"]).spawn()).collect();
        for (child, _folder) in children {
            Ran::of(child.wait_with_output().expect("it ends")).expect(0);
        }
        assert_eq!(structure(&database), newest, "version {version}");
        assert_eq!(rows(&database, &columns), before, "version {version}");
    }
}

#[test]
fn two_first_inits_at_once_make_the_same_as_one() {
    let newest = fresh();
    let database = TestDb::new(Shape::Full);
    let children: Vec<_> = (0..2).map(|_| Healer::on(&database, &["init"]).spawn()).collect();
    for (child, _folder) in children {
        Ran::of(child.wait_with_output().expect("it ends")).expect(0);
    }
    assert_eq!(structure(&database), newest);
}

#[test]
fn the_printed_sql_makes_the_same_schema_on_nothing_and_on_every_earlier_one() {
    let newest = fresh();
    let printed = Healer::bare(&["init", "--print-sql"]).run().expect(0).stdout;
    for version in std::iter::once(0).chain(earlier()) {
        let database = if version == 0 { TestDb::new(Shape::Full) } else { of_version(version) };
        database.run(&printed);
        database.run(&printed);
        assert_eq!(structure(&database), newest, "version {version}");
    }
}

#[test]
fn an_older_healer_refuses_a_newer_schema_and_changes_nothing() {
    let database = TestDb::new(Shape::Full);
    Healer::on(&database, &["init"]).run().expect(0);
    database.run(&format!("COMMENT ON SCHEMA healer IS 'healer schema {}'", SCHEMA_VERSION + 1));
    let before = crate::support::program::fingerprint(&database);
    for arguments in [&["init"][..], &["heal"], &["undo", "1"], &["resolve", "post 1", "--queue"]] {
        let ran = Healer::on(&database, arguments).run().expect(78).one_error(&["newer than this healer"]);
        assert!(ran.stderr.contains("install the newer healer"), "{}", ran.stderr);
    }
    Healer::on(&database, &["heal", "--dry-run"]).run().expect(0);
    Healer::on(&database, &["report"]).run().expect(0);
    assert_eq!(crate::support::program::fingerprint(&database), before);
}
