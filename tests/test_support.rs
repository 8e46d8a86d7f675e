//! The tests' own ground: databases, pooler, network.

use std::time::{Duration, Instant};

use crate::support::cluster::{Shape, TestDb, server, variant};
use crate::support::pooler::Pooler;
use crate::support::proxy::{Proxy, Target, Way};
use postgres::{Client, NoTls};

const POST: &str = "INSERT INTO public.content_metadata (decision_id, content) VALUES ('1', 'one')";

fn target() -> Target {
    Target::Unix(server().socket_dir().join(format!(".s.PGSQL.{}", server().port())))
}

#[test]
fn each_test_has_its_own_database_of_either_shape() {
    for shape in Shape::ALL {
        let (one, other) = (TestDb::new(shape), TestDb::new(shape));
        one.run(POST);
        assert_eq!(one.value("SELECT count(*) FROM content_metadata").as_deref(), Some("1"));
        assert_eq!(other.value("SELECT count(*) FROM content_metadata").as_deref(), Some("0"));
        assert_eq!(one.value("SELECT NULL::int"), None);
    }
}

#[test]
fn a_dropped_database_is_gone_even_with_somebody_in_it() {
    let database = TestDb::new(Shape::Minimal);
    let name = database.name().to_owned();
    let _somebody = database.client();
    drop(database);
    assert!(server().client(&name).is_err());
}

#[test]
fn every_variant_can_be_made_and_takes_a_post() {
    let variants = [
        variant::BIGINT_ID,
        variant::VARCHAR_STATUS,
        variant::ENUM_STATUS,
        variant::ENUM_STATUS_WITHOUT_ARCHIVED,
        variant::CHECK_WITHOUT_POSTING,
        variant::CHECK_WITHOUT_ARCHIVED,
        variant::EVENT_METADATA,
        variant::NAIVE_TIMES,
        variant::HEARTBEAT_HISTORY,
        variant::PARTITIONED,
    ];
    for edit in variants {
        TestDb::edited(&[edit]).run(POST);
    }
    TestDb::edited(&[variant::UUID_ID])
        .run("INSERT INTO public.content_metadata (decision_id, content) VALUES (gen_random_uuid(), 'one')");
}

#[test]
fn through_the_pooler_two_clients_share_one_session() {
    let database = TestDb::new(Shape::Minimal);
    let Some(pooler) = Pooler::start(server(), database.name()) else {
        eprintln!("pgbouncer is not installed: not tried");
        return;
    };
    let pid = |client: &mut Client| client.simple_query("SELECT pg_backend_pid()").map(|rows| format!("{rows:?}"));
    let mut one = pooler.client().expect("a connection");
    let mut other = pooler.client().expect("a connection");
    assert_eq!(pid(&mut one).expect("a pid"), pid(&mut other).expect("a pid"));
    // A named statement of one client is in the other's way, which is what the pooler is here to show.
    one.batch_execute("PREPARE mine AS SELECT 1").expect("prepared");
    assert!(other.batch_execute("PREPARE mine AS SELECT 1").is_err());
}

#[test]
fn the_proxy_passes_everything_on() {
    let database = TestDb::new(Shape::Minimal);
    let proxy = Proxy::start(target()).expect("a proxy");
    let mut client = Client::connect(&proxy.url("postgres", database.name()), NoTls).expect("a connection");
    let text: String = client.query_one("SELECT repeat('x', 1000000)", &[]).expect("an answer").get(0);
    assert_eq!(text.len(), 1_000_000);
    assert!(proxy.passed(Way::ToClient) > 1_000_000);
    assert_eq!(proxy.accepted(), 1);
}

#[test]
fn the_proxy_delays_each_way() {
    let proxy = Proxy::start(target()).expect("a proxy");
    let mut client = Client::connect(&proxy.url("postgres", "postgres"), NoTls).expect("a connection");
    proxy.delay(Way::ToServer, Duration::from_millis(20));
    proxy.delay(Way::ToClient, Duration::from_millis(20));
    let start = Instant::now();
    client.batch_execute("SELECT 1").expect("an answer");
    assert!(start.elapsed() >= Duration::from_millis(40));
}

#[test]
fn the_proxy_cuts_at_the_byte_it_is_told() {
    let proxy = Proxy::start(target()).expect("a proxy");
    let mut client = Client::connect(&proxy.url("postgres", "postgres"), NoTls).expect("a connection");
    let before = proxy.passed(Way::ToClient);
    proxy.cut_after(Way::ToClient, 7);
    assert!(client.batch_execute("SELECT repeat('x', 100000)").is_err());
    assert_eq!(proxy.passed(Way::ToClient), before + 7);
    Client::connect(&proxy.url("postgres", "postgres"), NoTls).expect("the next connection passes");
}

#[test]
fn a_stalled_proxy_goes_on_when_it_is_told() {
    let proxy = Proxy::start(target()).expect("a proxy");
    let mut client = Client::connect(&proxy.url("postgres", "postgres"), NoTls).expect("a connection");
    proxy.stall(Way::ToServer);
    let waiting = std::thread::spawn(move || client.batch_execute("SELECT 1").is_ok());
    proxy.resume();
    assert!(waiting.join().expect("no panic"));
}

#[test]
fn cut_and_refused_connections_fail() {
    let proxy = Proxy::start(target()).expect("a proxy");
    let mut client = Client::connect(&proxy.url("postgres", "postgres"), NoTls).expect("a connection");
    proxy.cut();
    assert!(client.batch_execute("SELECT 1").is_err());
    proxy.refuse();
    assert!(Client::connect(&proxy.url("postgres", "postgres"), NoTls).is_err());
}
