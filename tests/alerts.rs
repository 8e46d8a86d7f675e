//! Alerts: each channel by the rules of its service, told once, reminded, resolved; bad answers; and nothing lost or told
//! twice, whatever is killed or down.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use healer::alert::channel::{Way, deliver};
use healer::alert::model::{Alert, Item, Message, Why};
use healer::change::plan::Severity;
use healer::database::session::StopFlag;
use healer::settings::Settings;
use serde_json::Value;

use crate::support::cluster::{Shape, TestDb};
use crate::support::program::{Healer, Ran, fingerprint, signal};
use crate::support::receiver::{Answer, MailServer, Receiver, rules};

/// A circuit breaker that has been open for longer than it takes to be critical, as the application reports it.
const BROKEN: &str = "UPDATE healer.signal SET reported_at = now() - interval '30 minutes';
    INSERT INTO healer.signal (name, data, reported_at)
    VALUES ('breaker', '{\"name\": \"posting\", \"open\": true, \"failures\": 15}', now() - interval '20 minutes');
    SELECT healer.report_breaker('posting', true, 15)";
const MENDED: &str = "SELECT healer.report_breaker('posting', false, 0)";

/// Lets a quarter of an hour pass: everything that healer remembers is that much older.
const LATER: &str = "
    UPDATE healer.run SET started_at = started_at - interval '15 minutes', finished_at = finished_at - interval '15 minutes';
    UPDATE healer.alert SET opened_at = opened_at - interval '15 minutes', last_seen = last_seen - interval '15 minutes',
      last_sent = last_sent - interval '15 minutes', resolved_at = resolved_at - interval '15 minutes',
      channels = coalesce((SELECT jsonb_object_agg(key, CASE WHEN value ->> 'at' IS NULL THEN value ELSE
        jsonb_set(value, '{at}', to_jsonb((value ->> 'at')::timestamptz - interval '15 minutes')) END) FROM jsonb_each(channels)), '{}');
    UPDATE healer.alert_channel SET not_before = not_before - interval '15 minutes';
    UPDATE healer.setting SET value = jsonb_build_object('token', value -> 'token', 'until', (value ->> 'until')::bigint - 900)
     WHERE name = 'alert-turn'";

/// Only the breaker is looked at: what else an empty database lacks is no part of these tests.
const QUIET_CHECKS: &str = "[heal.job-heartbeats]\nenabled = false\n[heal.silence]\nenabled = false\n";

const UUID: &str = "/7f3c9f0e-2d5b-4a55-9d0a-0f6ad4b3a1c2";

/// A database in which healer works and nothing is wrong.
fn ready() -> TestDb {
    let database = TestDb::new(Shape::Minimal);
    Healer::on(&database, &["init"]).run().expect(0);
    database.run(MENDED);
    database
}

/// A folder for what is remembered beside the database.
fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("healer-spool-").tempdir().expect("a folder")
}

/// A configuration with these channels.
fn config(spool: &Path, channels: &str) -> String {
    format!("{QUIET_CHECKS}[alerts]\nspool = \"{}\"\ninstance = \"test\"\n{channels}", spool.display())
}

/// One Slack channel whose address is in `HOOK`.
const SLACK: &str = "[alerts.channels.ops]\nkind = \"slack\"\nurl_env = \"HOOK\"\n";

/// A heal with one Slack channel.
fn heal(url: &str, spool: &Path, hook: &str) -> Ran {
    Healer::at(url, &["heal"]).config(&config(spool, SLACK)).env("HOOK", hook).run()
}

/// The words before the alerts of a message of Slack: `CRITICAL`, `RESOLVED`.
fn labels(message: &Value) -> Vec<String> {
    let blocks = message["blocks"].as_array().cloned().unwrap_or_default();
    blocks
        .iter()
        .filter(|block| block["type"] == "section")
        .map(|block| {
            block["text"]["text"].as_str().unwrap_or_default().split('*').nth(1).unwrap_or_default().to_owned()
        })
        .collect()
}

struct Services {
    slack: Receiver,
    discord: Receiver,
    pagerduty: Receiver,
    alertmanager: Receiver,
    webhook: Receiver,
    healthchecks: Receiver,
    mail: MailServer,
}

impl Services {
    fn new() -> Self {
        Self {
            slack: Receiver::new(200, rules::slack),
            discord: Receiver::new(204, rules::discord),
            pagerduty: Receiver::new(202, rules::pagerduty),
            alertmanager: Receiver::new(200, rules::alertmanager),
            webhook: Receiver::new(200, rules::webhook),
            healthchecks: Receiver::new(200, rules::healthchecks),
            mail: MailServer::new(),
        }
    }

    fn config(&self, spool: &Path) -> String {
        let (pagerduty, alertmanager) = (self.pagerduty.url("/v2/enqueue"), self.alertmanager.url("/"));
        config(
            spool,
            &format!(
                "[alerts.channels.slack]\nkind = \"slack\"\nurl_env = \"SLACK\"
                 [alerts.channels.discord]\nkind = \"discord\"\nurl_env = \"DISCORD\"
                 [alerts.channels.pager]\nkind = \"pagerduty\"\nurl = \"{pagerduty}\"\nkey_env = \"ROUTING\"
                 [alerts.channels.prom]\nkind = \"alertmanager\"\nurl = \"{alertmanager}\"
                 [alerts.channels.hook]\nkind = \"webhook\"\nurl = \"{}\"\nkey_env = \"KEY\"
                 [alerts.channels.pings]\nkind = \"healthchecks\"\npass = \"heal\"\nurl_env = \"PINGS\"
                 [alerts.channels.mail]\nkind = \"email\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"
                 from = \"healer <healer@example.org>\"\nto = [\"night@example.org\"]\n",
                self.webhook.url("/hook"),
                self.mail.port
            ),
        )
    }

    fn run(&self, url: &str, spool: &Path, arguments: &[&str]) -> Ran {
        Healer::at(url, arguments)
            .config(&self.config(spool))
            .env("SLACK", &self.slack.url("/services/T0/B0/x"))
            .env("DISCORD", &self.discord.url("/api/webhooks/1/x"))
            .env("ROUTING", "0123456789abcdef0123456789abcdef")
            .env("KEY", "a key")
            .env("PINGS", &self.healthchecks.url(UUID))
            .run()
    }

    /// What each channel was told since the last time, in one word each: `new`, `reminder`, `resolved`, or nothing.
    fn told(&self) -> [String; 6] {
        let slack = self.slack.take().iter().map(|request| labels(&request.json()).join(" ")).collect::<Vec<_>>();
        let discord: Vec<String> = self
            .discord
            .take()
            .iter()
            .map(|request| {
                let document = request.json();
                let title = document["embeds"][0]["title"].as_str().unwrap_or_default().to_owned();
                title.split(' ').next().unwrap_or_default().to_owned()
            })
            .collect();
        let pager: Vec<String> = self
            .pagerduty
            .take()
            .iter()
            .map(|request| request.json()["event_action"].as_str().unwrap_or_default().to_owned())
            .collect();
        let firing = |request: &crate::support::receiver::Request| {
            let document = request.json();
            let end = document[0]["endsAt"].as_str().unwrap_or_default().to_owned();
            let end = chrono::DateTime::parse_from_rfc3339(&end).expect("a time");
            // Beyond the next two passes, so that it stays firing between them.
            if end.to_utc() > chrono::Utc::now() + chrono::Duration::minutes(40) { "firing" } else { "ended" }
        };
        let prom: Vec<String> = self.alertmanager.take().iter().map(|request| firing(request).to_owned()).collect();
        let hook: Vec<String> = self
            .webhook
            .take()
            .iter()
            .map(|request| request.json()["alerts"][0]["why"].as_str().unwrap_or_default().to_owned())
            .collect();
        let mail: Vec<String> = self
            .mail
            .take()
            .iter()
            .map(|mail| {
                let words = ["1 new", "1 still open", "1 resolved"];
                words.iter().find(|word| mail.contains(**word)).copied().unwrap_or("?").to_owned()
            })
            .collect();
        [slack, discord, pager, prom, hook, mail].map(|list| list.join(","))
    }
}

#[test]
fn over_a_day_of_passes_each_channel_fires_once_stays_quiet_reminds_and_resolves() {
    let (database, spool, services) = (ready(), folder(), Services::new());
    let pass = |code: i32| {
        database.run(LATER);
        services.run(&database.url(), spool.path(), &["heal"]).expect(code);
        let pings: Vec<String> = services.healthchecks.take().iter().map(|ping| ping.path.clone()).collect();
        assert_eq!(pings.len(), 2, "{pings:?}");
        assert!(pings[0].starts_with(&format!("{UUID}/start?rid=")), "{pings:?}");
        let run = pings[0].rsplit('=').next().expect("a run");
        assert_eq!(pings[1], format!("{UUID}/{code}?rid={run}"));
        services.told()
    };
    let nothing = [const { String::new() }; 6];
    assert_eq!(pass(0), nothing, "all is well");
    // The signal stays fresh: the application goes on reporting.
    let still = "UPDATE healer.signal SET reported_at = now() WHERE id = (SELECT max(id) FROM healer.signal)";
    database.run(BROKEN);
    assert_eq!(pass(0), ["CRITICAL", "CRITICAL", "trigger", "firing", "new", "1 new"]);
    for quarter in 1..=52 {
        database.run(still);
        let told = pass(0);
        if quarter % 16 == 0 {
            assert_eq!(told, ["CRITICAL", "CRITICAL", "trigger", "firing", "reminder", "1 still open"], "{quarter}");
        } else {
            assert_eq!(told, ["", "", "", "firing", "", ""], "{quarter}");
        }
    }
    database.run(MENDED);
    assert_eq!(pass(0), ["RESOLVED", "RESOLVED", "resolve", "ended", "resolved", "1 resolved"]);
    for _ in 0..40 {
        database.run(still);
        assert_eq!(pass(0), nothing);
    }
    let row = "SELECT concat_ws(' ', key, severity, reminders, times, resolved_at IS NOT NULL) FROM healer.alert";
    assert_eq!(database.value(row).as_deref(), Some("check:circuit-breaker critical 3 53 t"));
}

/// The sandbox's sick system, an hour a pass: what is wrong there is told over every channel, kept quiet about, told again
/// after its time, and ended when the system is well.
#[test]
fn over_a_day_of_the_sandbox_every_channel_is_told_once_reminded_and_told_the_end() {
    let (spool, services) = (folder(), Services::new());
    let database = TestDb::edited(&["DROP SCHEMA public CASCADE; CREATE SCHEMA public"]);
    let mut client = database.client();
    healer::sandbox::seed::fill(&mut client).unwrap_or_else(|error| panic!("{error}"));
    Healer::on(&database, &["init"]).run().expect(0);
    healer::sandbox::seed::signals(&mut client).unwrap_or_else(|error| panic!("{error}"));
    drop(client);
    let hour = LATER.replace("15 minutes", "1 hour").replace("- 900", "- 3600");
    let config = services.config(spool.path()).replace(QUIET_CHECKS, "[heal]\ninterval = \"1h\"\n");
    let pass = || {
        database.run(&hour);
        let ran = Healer::on(&database, &["heal"])
            .config(&config)
            .env("SLACK", &services.slack.url("/services/T0/B0/x"))
            .env("DISCORD", &services.discord.url("/api/webhooks/1/x"))
            .env("ROUTING", "0123456789abcdef0123456789abcdef")
            .env("KEY", "a key")
            .env("PINGS", &services.healthchecks.url(UUID))
            .run();
        assert!(matches!(ran.code, Some(0 | 3)), "{}", ran.all());
        assert_eq!(services.healthchecks.take().len(), 2);
        let told = services.told();
        // All channels were told the same, or all nothing; an Alertmanager hears what is open in every pass.
        let told_some: Vec<bool> = [0, 1, 2, 4, 5].map(|channel| !told[channel].is_empty()).to_vec();
        assert!(told_some.iter().all(|some| *some == told_some[0]), "{told:?}");
        told
    };
    let open = || database.value("SELECT count(*) FROM healer.alert WHERE resolved_at IS NULL").expect("a count");
    let first = pass();
    assert!(first[0].contains("CRITICAL") && first[2].starts_with("trigger") && first[4] == "new", "{first:?}");
    assert_ne!(open(), "0");
    let opened = database.value("SELECT count(*) FROM healer.alert");
    let mut reminded = 0;
    for hour in 2..=24 {
        let told = pass();
        assert_eq!(told[3], "firing", "{hour}");
        // What is critical is told again every four hours, and nothing in between.
        assert_eq!(!told[0].is_empty(), (hour - 1) % 4 == 0, "{hour}: {told:?}");
        if !told[0].is_empty() {
            reminded += 1;
            assert_eq!(told[4], "reminder", "{hour}");
        }
    }
    assert_eq!(reminded, 5);
    assert_eq!(database.value("SELECT count(*) FROM healer.alert"), opened, "nothing was opened twice");
    // The application is repaired.
    database.run(
        "UPDATE public.content_metadata SET status = 'posted' WHERE status IN ('queued', 'ready', 'posting');
         UPDATE public.job_heartbeats SET last_success = now(), last_run_status = 'success', consecutive_failures = 0, updated_at = now();
         SELECT healer.report_browser(0, 0, 1); SELECT healer.report_breaker('posting', false, 0)",
    );
    let last = pass();
    assert!(last[0].contains("RESOLVED") && last[2].contains("resolve") && last[4] == "resolved", "{last:?}");
    assert_eq!(last[3], "ended");
}

#[test]
fn a_failing_channel_changes_nothing_of_the_pass_is_reported_and_tried_again() {
    for (status, tries) in [(404, 1), (403, 1), (500, 3), (503, 3)] {
        let (database, spool) = (ready(), folder());
        let receiver = Receiver::new(200, rules::slack);
        database.run(BROKEN);
        receiver.answers((0..tries).map(|_| Answer::Status(status, "")));
        let hook = receiver.url("/services/T0/B0/verysecret");
        let ran = heal(&database.url(), spool.path(), &hook).expect(0);
        assert_eq!(receiver.take().len(), tries, "{status}");
        assert!(ran.stderr.contains(&format!("alert channel ops: 127.0.0.1:{} answered {status}", receiver.port)));
        assert!(!ran.all().contains("verysecret"), "{}", ran.all());
        assert_eq!(
            database.value("SELECT failures || last_error FROM healer.alert_channel").map(|text| text.len() > 3),
            Some(true)
        );
        // The event and the run are as they would be without any channel.
        assert_eq!(database.value("SELECT status || exit_code FROM healer.run").as_deref(), Some("ok0"));
        let ran = heal(&database.url(), spool.path(), &hook).expect(0);
        assert_eq!(ran.stderr, "");
        assert_eq!(labels(&receiver.take()[0].json()), ["CRITICAL"], "it was still owed");
        assert_eq!(database.value("SELECT failures FROM healer.alert_channel").as_deref(), Some("0"));
    }
}

#[test]
fn an_alert_that_could_not_be_told_while_it_was_open_is_told_when_it_is_over() {
    let (database, spool) = (ready(), folder());
    let receiver = Receiver::new(200, rules::slack);
    database.run(BROKEN);
    receiver.answers([Answer::Status(404, "")]);
    heal(&database.url(), spool.path(), &receiver.url("/x")).expect(0);
    database.run(MENDED);
    receiver.take();
    heal(&database.url(), spool.path(), &receiver.url("/x")).expect(0);
    assert_eq!(labels(&receiver.take()[0].json()), ["RESOLVED"]);
    heal(&database.url(), spool.path(), &receiver.url("/x")).expect(0);
    assert!(receiver.take().is_empty());
}

#[test]
fn retry_after_is_sat_out_when_short_and_kept_for_the_next_passes_when_long() {
    let (database, spool) = (ready(), folder());
    let receiver = Receiver::new(200, rules::slack);
    database.run(BROKEN);
    receiver.answers([Answer::Status(429, "retry-after: 1\r\n")]);
    let begun = Instant::now();
    heal(&database.url(), spool.path(), &receiver.url("/x")).expect(0);
    assert!(begun.elapsed() >= Duration::from_secs(1), "the second was waited");
    assert_eq!(receiver.take().len(), 2);
    database.run(MENDED);
    receiver.answers([Answer::Status(429, "retry-after: 1200\r\n")]);
    let ran = heal(&database.url(), spool.path(), &receiver.url("/x")).expect(0);
    assert_eq!(receiver.take().len(), 1, "nobody waits twenty minutes in a pass");
    assert!(ran.stderr.contains("answered 429"), "{}", ran.stderr);
    database.run(LATER);
    let ran = heal(&database.url(), spool.path(), &receiver.url("/x")).expect(0);
    assert!(receiver.take().is_empty() && ran.stderr.contains("asked not to be called yet"), "{}", ran.stderr);
    database.run(LATER);
    heal(&database.url(), spool.path(), &receiver.url("/x")).expect(0);
    assert_eq!(labels(&receiver.take()[0].json()), ["RESOLVED"]);
}

#[test]
fn a_redirect_is_followed_nowhere() {
    for to in ["file:///etc/passwd", "http://127.0.0.1:1/", "/other"] {
        let (database, spool) = (ready(), folder());
        let receiver = Receiver::new(200, rules::slack);
        database.run(BROKEN);
        let header: &'static str = Box::leak(format!("location: {to}\r\n").into_boxed_str());
        receiver.answers([Answer::Status(302, header)]);
        let ran = heal(&database.url(), spool.path(), &receiver.url("/x")).expect(0);
        assert_eq!(receiver.take().len(), 1);
        assert!(ran.stderr.contains("redirects are not followed"), "{}", ran.stderr);
    }
}

#[test]
fn a_server_that_never_answers_is_given_five_seconds_a_try() {
    let (database, spool) = (ready(), folder());
    let receiver = Receiver::new(200, rules::slack);
    database.run(BROKEN);
    receiver.answers([Answer::Silence, Answer::Silence, Answer::Silence]);
    let begun = Instant::now();
    let ran = heal(&database.url(), spool.path(), &receiver.url("/x")).expect(0);
    assert!(ran.stderr.contains("no answer within 5 s"), "{}", ran.stderr);
    assert_eq!(receiver.take().len(), 3);
    assert!(begun.elapsed() >= Duration::from_secs(15), "three tries of five seconds");
}

#[test]
fn a_certificate_that_is_not_trusted_gets_no_alert_and_one_that_is_named_does() {
    let (database, spool) = (ready(), folder());
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let config =
        rustls::ServerConfig::builder_with_provider(std::sync::Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![made.cert.der().clone()],
                rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key"),
            )
            .expect("a configuration");
    let receiver = Receiver::with_tls(200, rules::slack, config);
    database.run(BROKEN);
    let hook = format!("https://localhost:{}/x", receiver.port);
    let ran = heal(&database.url(), spool.path(), &hook).expect(0);
    assert!(ran.stderr.contains("TLS: ") && ran.stderr.to_lowercase().contains("certificate"), "{}", ran.stderr);
    assert!(receiver.take().is_empty());
    let pem = spool.path().join("ca.pem");
    std::fs::write(&pem, made.cert.pem()).expect("written");
    let channels = format!("{SLACK}ca_file = \"{}\"\n", pem.display());
    let given = config_with(&channels, &database.url(), spool.path(), &hook);
    assert_eq!(given.stderr, "");
    assert_eq!(labels(&receiver.take()[0].json()), ["CRITICAL"]);
}

fn config_with(channels: &str, url: &str, spool: &Path, hook: &str) -> Ran {
    Healer::at(url, &["heal"]).config(&config(spool, channels)).env("HOOK", hook).run().expect(0)
}

/// A message whose texts are what error texts can be at their worst.
fn nasty() -> Message {
    let now = chrono::Utc::now();
    let text = "@here <!channel> <&> *bold* [link](http://x) \u{7}\"quotes\" @everyone & ".repeat(80);
    let text: String = text.chars().take(5_000).collect();
    let alert = |place: usize| Alert {
        id: None,
        fingerprint: format!("{place:032}"),
        pass: "heal".into(),
        key: format!("error-pattern:{place}"),
        check: None,
        severity: [Severity::Critical, Severity::Warning, Severity::Error][place % 3],
        title: text.clone(),
        detail: text.clone(),
        next_step: text.clone(),
        run_id: Some(7),
        opened_at: now,
        last_seen: now,
        times: 1,
        resolved_at: (place % 4 == 3).then_some(now),
        channels: std::collections::BTreeMap::new(),
        changed: false,
    };
    let items = (0..60)
        .map(|place| Item { place, why: if place % 4 == 3 { Why::Resolved } else { Why::New }, alert: alert(place) })
        .collect();
    Message { instance: "pro<d> & @here".into(), pass: "heal".into(), run_id: Some(7), at: now, items, test: false }
}

#[test]
fn five_thousand_characters_with_calls_and_brackets_are_cut_escaped_and_delivered_everywhere() {
    let (services, spool) = (Services::new(), folder());
    // Secrets come from files here: this process's environment belongs to all tests.
    let file = |name: &str, value: &str| {
        std::fs::write(spool.path().join(name), format!("{value}\n")).expect("written");
    };
    file("SLACK", &services.slack.url("/x"));
    file("DISCORD", &services.discord.url("/x"));
    file("ROUTING", "0123456789abcdef0123456789abcdef");
    file("KEY", "a key");
    file("PINGS", &services.healthchecks.url(UUID));
    let mut text = services.config(spool.path());
    for name in ["SLACK", "DISCORD", "ROUTING", "KEY", "PINGS"] {
        let path = spool.path().join(name).display().to_string();
        text = text.replace(&format!("_env = \"{name}\""), &format!("_file = \"{path}\""));
    }
    let settings = Settings::from_toml(&text).expect("valid");
    let message = nasty();
    for (name, channel) in &settings.alerts.channels {
        let way = Way {
            name,
            settings: channel,
            all: &settings,
            stop: StopFlag::default(),
            until: Instant::now() + Duration::from_secs(45),
        };
        let delivery = deliver(&way, &message);
        if name == "pager" {
            // A bounded number in a pass; the rest with the next one.
            assert_eq!(delivery.done.len(), 30);
            assert!(delivery.failure.is_some_and(|failure| failure.words.contains("30 events wait")));
        } else {
            assert_eq!(delivery.failure, None, "{name}");
            assert_eq!(delivery.done.len(), 60, "{name}");
        }
    }
    for receiver in [&services.slack, &services.discord, &services.alertmanager, &services.webhook] {
        assert_eq!(receiver.take().len(), 1);
    }
    assert_eq!(services.pagerduty.take().len(), 30);
    assert_eq!(services.mail.take().len(), 1);
}

#[test]
fn while_the_database_is_down_the_alert_goes_out_once_and_its_end_when_it_is_back() {
    let (database, spool) = (ready(), folder());
    let receiver = Receiver::new(200, rules::slack);
    let nowhere = "postgres://nobody@127.0.0.1:1/none";
    heal(nowhere, spool.path(), &receiver.url("/x")).expect(75);
    let first = receiver.take();
    assert_eq!(first.len(), 1);
    assert!(first[0].text().contains("healer cannot reach the database (exit 75)"), "{}", first[0].text());
    for _ in 0..3 {
        heal(nowhere, spool.path(), &receiver.url("/x")).expect(75);
        assert!(receiver.take().is_empty(), "it was told");
    }
    assert_eq!(std::fs::read_dir(spool.path()).expect("read").filter(spooled).count(), 1);
    heal(&database.url(), spool.path(), &receiver.url("/x")).expect(0);
    assert_eq!(labels(&receiver.take()[0].json()), ["RESOLVED"]);
    assert_eq!(std::fs::read_dir(spool.path()).expect("read").filter(spooled).count(), 0);
    heal(&database.url(), spool.path(), &receiver.url("/x")).expect(0);
    assert!(receiver.take().is_empty());
    let row = "SELECT key || (resolved_at IS NOT NULL) FROM healer.alert";
    assert_eq!(database.value(row).as_deref(), Some("database-unreachabletrue"));
}

fn spooled(entry: &std::io::Result<std::fs::DirEntry>) -> bool {
    entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|ending| ending == "json"))
}

#[test]
fn without_a_place_for_the_spool_the_alert_goes_out_all_the_same() {
    let spool = folder();
    let receiver = Receiver::new(200, rules::slack);
    let blocked = spool.path().join("a file");
    std::fs::write(&blocked, "").expect("written");
    let ran = heal("postgres://nobody@127.0.0.1:1/none", &blocked, &receiver.url("/x")).expect(75);
    assert_eq!(receiver.take().len(), 1);
    assert!(ran.stderr.contains("alerts are repeated in every pass"), "{}", ran.stderr);
}

/// As the services of systemd have it, and as cron has it: the home of the user who runs the crontab.
#[test]
fn without_a_setting_the_spool_is_in_the_folder_that_the_service_or_the_user_has() {
    let receiver = Receiver::new(200, rules::slack);
    for (variable, place) in [("STATE_DIRECTORY", ""), ("XDG_STATE_HOME", "healer"), ("HOME", ".local/state/healer")] {
        let given = folder();
        let run = || {
            let ran = Healer::at("postgres://nobody@127.0.0.1:1/none", &["heal"])
                .config(&format!("{QUIET_CHECKS}{SLACK}"))
                .env("HOOK", &receiver.url("/x"))
                .env(variable, given.path().to_str().expect("a path"))
                .run()
                .expect(75);
            assert!(!ran.stderr.contains("alerts"), "{}", ran.stderr);
            receiver.take().len()
        };
        assert_eq!((run(), run()), (1, 0), "{variable}: told once");
        let files = std::fs::read_dir(given.path().join(place)).expect("the folder");
        assert_eq!(files.filter(spooled).count(), 1, "{variable}");
    }
}

#[test]
fn no_database_named_at_all_is_told_too() {
    let (spool, receiver) = (folder(), Receiver::new(200, rules::slack));
    let run = || {
        Healer::bare(&["heal"]).config(&config(spool.path(), SLACK)).env("HOOK", &receiver.url("/x")).run().expect(78)
    };
    run();
    assert_eq!(receiver.take().len(), 1);
    run();
    assert!(receiver.take().is_empty());
}

/// Starts a heal that is held while its message is on the way, and waits until the message has come.
fn held(database: &TestDb, spool: &Path, receiver: &Receiver) -> (Child, tempfile::TempDir) {
    receiver.answers([Answer::Held]);
    let started =
        Healer::on(database, &["heal"]).config(&config(spool, SLACK)).env("HOOK", &receiver.url("/x")).spawn();
    receiver.await_requests(1);
    started
}

/// A heal that is killed while its message is on the way; the message arrives all the same.
fn killed(database: &TestDb, spool: &Path, receiver: &Receiver) {
    let (mut child, _folder) = held(database, spool, receiver);
    signal(&child, "KILL");
    child.wait().expect("it ended");
    receiver.release();
}

#[test]
fn killed_between_sending_and_recording_it_is_told_once_more_and_then_no_more() {
    let (database, spool) = (ready(), folder());
    let receiver = Receiver::new(200, rules::slack);
    database.run(BROKEN);
    killed(&database, spool.path(), &receiver);
    assert_eq!(receiver.take().len(), 1);
    database.run(LATER);
    heal(&database.url(), spool.path(), &receiver.url("/x")).expect(0);
    assert_eq!(labels(&receiver.take()[0].json()), ["CRITICAL"], "nobody can know that it arrived");
    for _ in 0..3 {
        heal(&database.url(), spool.path(), &receiver.url("/x")).expect(0);
        assert!(receiver.take().is_empty());
    }
}

#[test]
fn what_was_about_to_be_told_when_the_pass_was_killed_is_told_though_it_is_over_by_then() {
    let (database, spool) = (ready(), folder());
    let receiver = Receiver::new(200, rules::slack);
    database.run(BROKEN);
    killed(&database, spool.path(), &receiver);
    receiver.take();
    database.run(MENDED);
    database.run(LATER);
    heal(&database.url(), spool.path(), &receiver.url("/x")).expect(0);
    assert_eq!(labels(&receiver.take()[0].json()), ["RESOLVED"]);
    heal(&database.url(), spool.path(), &receiver.url("/x")).expect(0);
    assert!(receiver.take().is_empty());
}

#[test]
fn what_was_told_while_the_connection_broke_is_told_once() {
    for ends in [false, true] {
        let (database, spool) = (ready(), folder());
        let receiver = Receiver::new(200, rules::slack);
        database.run(BROKEN);
        if ends {
            heal(&database.url(), spool.path(), &receiver.url("/x")).expect(0);
            assert_eq!(receiver.take().len(), 1);
            database.run(MENDED);
        }
        let (child, _folder) = held(&database, spool.path(), &receiver);
        database.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
        receiver.release();
        child.wait_with_output().expect("it ends");
        assert_eq!(receiver.take().len(), 1);
        assert_eq!(std::fs::read_dir(spool.path()).expect("read").filter(spooled).count(), 1, "the spool knows it");
        for _ in 0..2 {
            heal(&database.url(), spool.path(), &receiver.url("/x")).expect(0);
            assert!(receiver.take().is_empty(), "it was told (its end: {ends})");
        }
        assert_eq!(database.value("SELECT count(*) FROM healer.alert").as_deref(), Some("1"));
    }
}

#[test]
fn every_pass_pings_its_own_check_and_tells_of_a_database_that_is_away() {
    let passes: [(&[&str], &[&str]); 5] = [
        (&["heal"], &["heal"]),
        (&["optimize", "performance"], &["optimize-performance"]),
        (&["optimize", "content"], &["optimize-content"]),
        (&["optimize"], &["optimize-performance", "optimize-content"]),
        (&["analyze-errors"], &["analyze-errors"]),
    ];
    let database = ready();
    for (command, names) in passes {
        let (spool, pings, slack) =
            (folder(), Receiver::new(200, rules::healthchecks), Receiver::new(200, rules::slack));
        let channels: String = ["heal", "optimize-performance", "optimize-content", "analyze-errors"]
            .map(|pass| {
                format!("[alerts.channels.{pass}]\nkind = \"healthchecks\"\npass = \"{pass}\"\nurl_env = \"PINGS\"\n")
            })
            .concat();
        let run = |url: &str, arguments: &[&str]| {
            Healer::at(url, arguments)
                .config(&config(spool.path(), &format!("{SLACK}{channels}")))
                .env("HOOK", &slack.url("/x"))
                .env("PINGS", &pings.url(UUID))
                .run()
        };
        run(&database.url(), command);
        let paths: Vec<String> = pings.take().iter().map(|ping| ping.path.clone()).collect();
        let starts = paths.iter().filter(|path| path.contains("/start")).count();
        assert_eq!((starts, paths.len()), (names.len(), 2 * names.len()), "{command:?}: {paths:?}");
        slack.take();
        run("postgres://nobody@127.0.0.1:1/none", command).expect(75);
        let told = slack.take();
        assert_eq!(told.len(), 1, "{command:?}: one thing for all passes is told once");
        assert!(told[0].text().contains("cannot reach the database"), "{}", told[0].text());
        let ends = pings.take().iter().filter(|ping| ping.path.contains("/75")).count();
        assert_eq!(ends, names.len(), "{command:?}");
        let dry: Vec<&str> = command.iter().copied().chain(["--dry-run"]).collect();
        run(&database.url(), &dry);
        assert!(pings.take().is_empty(), "a dry run is no sign of life");
    }
}

#[test]
fn two_passes_at_once_tell_an_alert_once() {
    let (database, spool) = (ready(), folder());
    let receiver = Receiver::new(200, rules::slack);
    database.run(BROKEN);
    let (child, _folder) = held(&database, spool.path(), &receiver);
    heal(&database.url(), spool.path(), &receiver.url("/x")).expect(0);
    receiver.release();
    Ran::of(child.wait_with_output().expect("it ends")).expect(0);
    assert_eq!(receiver.take().len(), 1);
    heal(&database.url(), spool.path(), &receiver.url("/x")).expect(0);
    assert!(receiver.take().is_empty());
}

#[test]
fn a_dry_run_tells_nobody_and_writes_nothing() {
    let (database, spool) = (ready(), folder());
    let services = Services::new();
    database.run(BROKEN);
    let before = fingerprint(&database);
    services.run(&database.url(), spool.path(), &["heal", "--dry-run"]).expect(0);
    assert_eq!(services.told(), [const { String::new() }; 6]);
    assert!(services.healthchecks.take().is_empty());
    assert_eq!(fingerprint(&database), before);
    assert_eq!(std::fs::read_dir(spool.path()).expect("read").count(), 0);
}

#[test]
fn a_sample_goes_over_each_channel_without_any_database() {
    let (services, spool) = (Services::new(), folder());
    let nowhere = "postgres://nobody@127.0.0.1:1/none";
    for channel in ["slack", "discord", "pager", "prom", "hook", "mail", "pings"] {
        let ran = services.run(nowhere, spool.path(), &["report", "--test-alert", channel]).expect(0);
        assert!(ran.stdout.contains(channel), "{}", ran.stdout);
    }
    let pings = services.healthchecks.take();
    assert_eq!(pings.len(), 1);
    assert_eq!(pings[0].path, format!("{UUID}/log"), "a test is no sign of life");
    let told = services.told();
    assert!(told.iter().all(|words| !words.is_empty()), "{told:?}");
    assert_eq!(told[2], "trigger,resolve", "a pager is left with nothing open");
    let ran = services.run(nowhere, spool.path(), &["report", "--test-alert", "nobody"]).expect(2);
    assert!(ran.stderr.contains("the channels are discord, hook, mail"), "{}", ran.stderr);
}

#[test]
fn a_secret_that_is_missing_is_named_and_the_pass_goes_on() {
    let (database, spool) = (ready(), folder());
    database.run(BROKEN);
    let ran = Healer::on(&database, &["heal"]).config(&config(spool.path(), SLACK)).run().expect(0);
    assert!(ran.stderr.contains("alert channel ops: the environment variable HOOK is not set"), "{}", ran.stderr);
    let ran = Healer::bare(&["report", "--test-alert", "ops"])
        .config(&config(spool.path(), SLACK))
        .env("HOOK", "http://hooks.example.org/services/verysecret")
        .run()
        .expect(1);
    assert!(ran.stderr.contains("https://") && !ran.stderr.contains("verysecret"), "{}", ran.stderr);
}

#[test]
fn a_mail_is_plain_text_that_no_machine_answers() {
    let (services, spool) = (Services::new(), folder());
    services.run("postgres://nobody@127.0.0.1:1/none", spool.path(), &["report", "--test-alert", "mail"]).expect(0);
    let mail = services.mail.take().pop().expect("a mail");
    for line in
        ["Auto-Submitted: auto-generated", "Content-Type: text/plain; charset=utf-8", "Subject: TEST healer test"]
    {
        assert!(mail.contains(line), "{mail}");
    }
    assert!(mail.contains("To: night@example.org"), "{mail}");
}

/// A program of the system, or none: then the test says so and ends.
fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path)
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|candidate| candidate.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: none of {names:?} is installed (scripts/need names the package)");
    }
    found
}

struct Alertmanager {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Alertmanager {
    fn start(binary: &Path) -> Self {
        let folder = folder();
        let config = "route: {receiver: none}\nreceivers: [{name: none}]\n";
        std::fs::write(folder.path().join("am.yml"), config).expect("written");
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port").port();
        let child = Command::new(binary)
            .arg(format!("--config.file={}", folder.path().join("am.yml").display()))
            .arg(format!("--storage.path={}", folder.path().display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let started = Self { child, port, _folder: folder };
        while started.active().is_none() {
            std::thread::yield_now();
        }
        started
    }

    /// The keys and starts of the alerts that are active; `None` where it does not answer.
    fn active(&self) -> Option<Vec<(String, String)>> {
        let url = format!("http://127.0.0.1:{}/api/v2/alerts?active=true", self.port);
        let text = ureq::get(url).call().ok()?.body_mut().read_to_string().ok()?;
        let document: Value = serde_json::from_str(&text).ok()?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Some(
            document
                .as_array()?
                .iter()
                .map(|alert| (text(&alert["labels"]["key"]), text(&alert["startsAt"])))
                .collect(),
        )
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_real_alertmanager_keeps_it_firing_between_passes_and_drops_it_when_it_is_over() {
    let Some(binary) = program(&["prometheus-alertmanager", "alertmanager"]) else { return };
    let (database, spool) = (ready(), folder());
    let real = Alertmanager::start(&binary);
    let channels =
        format!("[alerts.channels.prom]\nkind = \"alertmanager\"\nurl = \"http://127.0.0.1:{}\"\n", real.port);
    let pass = || {
        let ran = Healer::on(&database, &["heal"]).config(&config(spool.path(), &channels)).run().expect(0);
        assert_eq!(ran.stderr, "");
    };
    pass();
    assert_eq!(real.active(), Some(vec![]));
    database.run(BROKEN);
    pass();
    let firing = real.active().expect("an answer");
    assert_eq!(firing.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["check:circuit-breaker"]);
    pass();
    assert_eq!(real.active(), Some(firing), "the same alert, since the same time");
    database.run(MENDED);
    pass();
    while real.active() != Some(vec![]) {
        std::thread::yield_now();
    }
}
