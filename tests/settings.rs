//! Settings that healer keeps for itself: changed under guard, journalled, taken back, and locked by that.

use std::time::{Duration, Instant};

use healer::change::lease::{Lease, Taken};
use healer::change::setting::{self, SettingChange};
use healer::database::session::{Access, StopFlag};
use healer::database::url::{self, Surroundings, UrlSource};
use healer::settings::Settings;
use healer::start::{Origin, Start};
use serde_json::{Value, json};

use crate::support::cluster::{Shape, TestDb};
use crate::support::program::Healer;

fn open(database: &TestDb) -> Start {
    let target =
        url::parse(&database.url(), UrlSource::Variable("DATABASE_URL"), &Surroundings::of_process()).expect("a URL");
    let deadline = Instant::now() + Duration::from_secs(60);
    Origin { target, deadline, stop: StopFlag::default(), settings: Settings::default() }.open().expect("a connection")
}

fn lease(start: &mut Start) -> Lease {
    match Lease::take(&mut start.session, "optimize-content", "optimize content", None).expect("a lease") {
        Taken::Ours(lease) => lease,
        Taken::Busy(who) => panic!("busy: {who}"),
    }
}

fn wish(name: &str, from: Option<Value>, to: Value) -> SettingChange {
    SettingChange { name: name.into(), from, to, reason: "because".into(), evidence: json!({}) }
}

fn change(start: &mut Start, lease: &Lease, changes: &[SettingChange]) -> Vec<String> {
    let mut done =
        setting::change(&mut start.session, lease, "self-tuning", "setting_tuned", changes).expect("a statement");
    done.sort();
    done
}

#[test]
fn a_setting_changes_only_where_it_holds_what_was_seen_and_is_not_locked() {
    let database = TestDb::new(Shape::Minimal);
    Healer::on(&database, &["init"]).run().expect(0);
    database.run(
        "INSERT INTO healer.setting (name, value, locked) VALUES
           ('limit.moved', '31', false), ('limit.locked', '30', true), ('limit.other', '7', false)",
    );
    let mut start = open(&database);
    let lease = lease(&mut start);
    let done = change(
        &mut start,
        &lease,
        &[
            wish("limit.new", None, json!(40)),
            wish("limit.moved", Some(json!(30)), json!(40)),
            wish("limit.locked", Some(json!(30)), json!(40)),
        ],
    );
    assert_eq!(done, ["limit.new"]);
    assert_eq!(
        database.value("SELECT string_agg(name || '=' || value, ' ' ORDER BY name) FROM healer.setting").as_deref(),
        Some("limit.locked=30 limit.moved=31 limit.new=40 limit.other=7")
    );
    assert_eq!(
        database.value("SELECT string_agg(target, ' ') FROM healer.action").as_deref(),
        Some("limit.new"),
        "each change has its row in the journal, and nothing else has"
    );
}

#[test]
fn an_undo_restores_settings_and_locks_them_and_leaves_alone_what_has_changed_since() {
    let database = TestDb::new(Shape::Minimal);
    Healer::on(&database, &["init"]).run().expect(0);
    database
        .run("INSERT INTO healer.setting (name, value) VALUES ('limit.a', '30'), ('limit.b', '30'), ('limit.c', '7')");
    let mut start = open(&database);
    let lease = lease(&mut start);
    let wishes = [
        wish("limit.a", Some(json!(30)), json!(40)),
        wish("limit.b", Some(json!(30)), json!(40)),
        wish("limit.new", None, json!(1)),
    ];
    assert_eq!(change(&mut start, &lease, &wishes), ["limit.a", "limit.b", "limit.new"]);
    database.run("UPDATE healer.setting SET value = '50' WHERE name = 'limit.b'");
    let run = lease.run.to_string();

    let dry = Healer::on(&database, &["undo", &run, "--dry-run", "--format", "json"]).run().expect(0);
    assert_eq!((dry.json()["restored"].as_u64(), dry.json()["changedSince"].as_u64()), (Some(2), Some(1)));
    let undone = Healer::on(&database, &["undo", &run, "--format", "json"]).run().expect(3);
    assert_eq!(undone.json()["restored"].as_u64(), Some(2));
    assert_eq!(
        database
            .value("SELECT string_agg(name || '=' || value || locked, ' ' ORDER BY name) FROM healer.setting")
            .as_deref(),
        Some("limit.a=30true limit.b=50false limit.c=7false limit.new=nulltrue")
    );
    let again = [wish("limit.a", Some(json!(30)), json!(40)), wish("limit.new", None, json!(1))];
    assert_eq!(change(&mut start, &lease, &again), Vec::<String>::new(), "what was undone is not done again");

    let twice = Healer::on(&database, &["undo", &run, "--format", "json"]).run().expect(3);
    assert_eq!((twice.json()["restored"].as_u64(), twice.json()["undoneBefore"].as_u64()), (Some(0), Some(2)));
}

#[test]
fn a_lease_that_was_lost_changes_nothing() {
    let database = TestDb::new(Shape::Minimal);
    Healer::on(&database, &["init"]).run().expect(0);
    let mut start = open(&database);
    let lease = lease(&mut start);
    database.run("UPDATE healer.lease SET token = 'somebody else'");
    let lost =
        setting::change(&mut start.session, &lease, "self-tuning", "setting_tuned", &[wish("limit.a", None, json!(1))]);
    assert!(lost.is_err_and(|error| error.to_string().contains("lease")));
    start.session.begin(Access::ReadOnly, "").expect("the session is left clean");
    assert_eq!(database.value("SELECT count(*) FROM healer.setting WHERE name = 'limit.a'").as_deref(), Some("0"));
    assert_eq!(database.value("SELECT count(*) FROM healer.action").as_deref(), Some("0"));
}
