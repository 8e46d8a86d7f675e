//! One round: workers that die at every step, several `healer heal` at once that are killed, stopped, cut off and
//! robbed of their lease, and then a quiet hour in which all must come right.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use serde_json::Value;
use tempfile::TempDir;

use super::ground::{Coverage, Ground, Kind, Planned, post_id};
use super::proof::{self, Found};
use crate::support::cluster::server;
use crate::support::dice::Dice;
use crate::support::poster::{Fate, Fates, Job, KillPoint, Poster};
use crate::support::proxy::{Proxy, Target, Way};

/// A rule that is taken out; the kit must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Instead of healer, the rule that it replaces.
    OldRule,
    /// healer without the comparison of the row with what was seen.
    StatusCheck,
    /// healer without ledgers.
    Ledgers,
    /// healer that asks the ledgers when it looks, and not again when it writes.
    LateEvidence,
    /// healer with the journal in a transaction of its own.
    JournalTransaction,
}

impl Control {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::OldRule, Self::StatusCheck, Self::Ledgers, Self::LateEvidence, Self::JournalTransaction];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::OldRule => "old-rule",
            Self::StatusCheck => "status-check",
            Self::Ledgers => "ledgers",
            Self::LateEvidence => "late-evidence",
            Self::JournalTransaction => "journal-transaction",
        }
    }

    /// Whether it lets posts be sent twice; the others are noticed by the journal.
    pub fn double_posts(self) -> bool {
        self != Self::JournalTransaction
    }
}

/// What happens to one `healer heal`.
#[derive(Debug, Clone, Copy)]
enum Fault {
    None,
    /// None, and what it takes is measured: it is alone.
    Measured,
    Kill,
    Term,
    /// `pg_terminate_backend`.
    Terminate,
    /// The network cuts after such a share, in thousandths, of the bytes that a run sends in one way; with `for_good`
    /// nobody comes through after that.
    Cut {
        way: Way,
        share: u64,
        for_good: bool,
    },
    /// Every chunk of one way comes late.
    Delay(Way, Duration),
    /// Nothing passes any more in one way; then the process is killed.
    Stall(Way),
}

/// What a run was seen to do.
#[derive(Debug)]
pub struct Ran {
    /// What it printed, where it was whole.
    pub json: Option<Value>,
    /// Its exit code; `None` where it was killed.
    pub code: Option<i32>,
    /// What it took, where it was not disturbed.
    took: Option<Typical>,
}

/// What happened in a round.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Runs of `healer heal`.
    pub heals: u64,
    /// Of them killed, stopped or cut off.
    pub disturbed: u64,
    /// Workers that died, by kill point.
    pub deaths: [u64; 5],
    /// What the proof found.
    pub found: Found,
}

/// What a round is told.
#[derive(Debug, Clone, Copy)]
pub struct Orders {
    /// The seed of all rounds.
    pub seed: u64,
    /// Workers die here only.
    pub kill_point: Option<KillPoint>,
    /// The rule that is out.
    pub control: Option<Control>,
}

/// A lane: databases of all kinds, and a bad network before them. One round at a time.
pub struct Lane {
    grounds: Vec<Ground>,
    proxy: Proxy,
    dir: TempDir,
    /// What an undisturbed run takes, to kill it at any moment of its life.
    typical: Typical,
}

/// What an undisturbed run takes.
#[derive(Debug, Clone, Copy)]
struct Typical {
    time: Duration,
    to_server: u64,
    to_client: u64,
}

/// How a round calls healer.
struct Healer<'a> {
    config: PathBuf,
    direct: String,
    through_proxy: String,
    proxy: &'a Proxy,
    admin: String,
    control: Option<Control>,
    typical: Typical,
    /// Whether all runs go through the proxy.
    far: bool,
}

/// Messages that a run sends one after the other, and their answers.
const ROUND_TRIPS: u32 = 80;

impl Lane {
    /// A lane with all its databases.
    pub fn new() -> Self {
        let socket = server().socket_dir().join(format!(".s.PGSQL.{}", server().port()));
        Self {
            grounds: Kind::ALL.into_iter().map(Ground::new).collect(),
            proxy: Proxy::start(Target::Unix(socket)).expect("a free port"),
            dir: tempfile::Builder::new().prefix("healer-chaos-").tempdir().expect("a temporary folder"),
            typical: Typical { time: Duration::from_millis(40), to_server: 50_000, to_client: 30_000 },
        }
    }

    /// Runs the round of this number.
    pub fn run(&mut self, number: u64, orders: Orders) -> Tally {
        let mut dice = Dice::new(&[orders.seed, number]);
        let kind = dice.pick(&Kind::ALL);
        let ground = self.grounds.iter_mut().find(|ground| ground.kind == kind).expect("one of each kind");
        let coverage = dice.pick(&[Coverage::Full, Coverage::Full, Coverage::Half]);
        let on_unproven = dice.pick(&["auto", "requeue", "hold"]);
        ground.reset(coverage, dice.pick(&[0, 3, 8]));
        let config = self.dir.path().join("healer.toml");
        fs::write(&config, settings(kind, on_unproven, &mut dice)).expect("the settings are written");

        let poster = Poster::new(kind.ledgers(), dice.chance(50));
        let posts: Vec<Planned> = (0..dice.between(10, 24)).map(|post| planned(post, &mut dice)).collect();
        ground.queue(&posts);
        let failures = ground.old_failures(&poster, &mut dice);
        let mut tally = Tally::default();

        let fates = |post: &str, before: u64, parts: usize| fate(number, post, before, parts, orders, 40, 18);
        let slow = day(ground, &poster, &fates);
        ground.pass_time(dice.between(1_860, 7_200));

        // In many rounds the database is far away: then much happens between looking and writing.
        let far = dice.chance(60).then(|| Duration::from_micros(dice.between(500, 3_000)));
        let mut healer = Healer {
            config,
            direct: ground.url("healer"),
            through_proxy: format!("{}&application_name=healer", self.proxy.url("postgres", ground.db.name())),
            proxy: &self.proxy,
            admin: ground.url("kit"),
            control: orders.control,
            typical: Typical { time: self.typical.time + far.unwrap_or_default() * ROUND_TRIPS, ..self.typical },
            far: far.is_some(),
        };
        if let Some(far) = far {
            self.proxy.delay(Way::ToServer, far);
            self.proxy.delay(Way::ToClient, far);
        }
        let mut ran = storm(ground, &healer, &poster, slow, number, orders, &mut tally);
        self.proxy.cut();
        self.proxy.resume();
        if let Some(left) = proof::sessions_left(&mut ground.kit) {
            tally.found.violation(number, format!("after the storm: {left}"));
        }

        healer.far = false;
        if orders.control.is_none() && dice.chance(10) {
            let url = ground.url("undo");
            healer.undo(&mut ground.kit, &url);
        }

        // The quiet hour: nobody dies, and one run has all the time it needs.
        ground.pass_time(dice.between(6 * 3_600 + 60, 7 * 3_600));
        let mut dice = Dice::new(&[orders.seed, number, 5]);
        let last = healer.heal(Fault::Measured, &mut dice);
        if orders.control.is_none() && !matches!(last.code, Some(0 | 3)) {
            tally.found.violation(number, format!("the quiet run ended with {:?}: {:?}", last.code, last.json));
        }
        self.typical = last.took.unwrap_or(self.typical);
        ran.push(last);
        if orders.control.is_none() && dice.chance(30) {
            let url = ground.url("person");
            healer.person(&mut ground.kit, &poster, &url, &mut dice);
        }
        poster.work(&mut ground.workers[1], &|_, _, _| Fate::Finish);
        if orders.control.is_none() && number.is_multiple_of(4) {
            tally.heals += 1;
            if let Some(left) = healer.left_to_do() {
                tally.found.violation(number, format!("after quiet a dry run still plans: {left}"));
            }
        }
        tally.deaths = poster.deaths();
        let scene = proof::Scene {
            number,
            ground,
            poster: &poster,
            posts: posts.iter().map(|post| post.id.clone()).chain(failures).collect::<HashSet<_>>(),
            requeue_unproven: match on_unproven {
                "auto" => !kind.ledgers().receipts && !kind.ledgers().attempts,
                setting => setting == "requeue",
            },
            ran: &ran,
            old_rule: orders.control == Some(Control::OldRule),
        };
        proof::examine(scene, &mut tally.found);
        tally
    }
}

/// The workers' day: many of them die. Gives the posts of those that are slow.
fn day(ground: &mut Ground, poster: &Poster, fates: &Fates<'_>) -> Vec<Job> {
    let [one, other] = &mut ground.workers;
    thread::scope(|scope| {
        let beside = scope.spawn(|| poster.work(other, fates));
        let mut slow = poster.work(one, fates);
        slow.extend(beside.join().expect("the worker does not panic"));
        slow
    })
}

/// Runs that are disturbed, while slow workers go on and others take up what was queued again.
fn storm(
    ground: &mut Ground,
    healer: &Healer<'_>,
    poster: &Poster,
    slow: Vec<Job>,
    number: u64,
    orders: Orders,
    tally: &mut Tally,
) -> Vec<Ran> {
    let ran = Mutex::new(Vec::new());
    let typical = healer.typical.time;
    let (one, late, kit) = (&mut ground.workers[0], &mut ground.slow, &mut ground.kit);
    let dice = |what: u64| Dice::new(&[orders.seed, number, what]);
    let mut start = dice(1);
    let calls: Vec<(Fault, Duration)> =
        (0..start.between(2, 3)).map(|call| (fault(call, &mut start), moment(&mut start, typical / 2))).collect();
    tally.heals += calls.len() as u64 + 1;
    tally.disturbed += calls.iter().filter(|(fault, _)| !matches!(fault, Fault::None)).count() as u64;
    let second = |post: &str, before: u64, parts: usize| fate(number, post, before, parts, orders, 15, 0);
    thread::scope(|scope| {
        for (call, (fault, start)) in calls.iter().enumerate() {
            let (mut dice, ran) = (dice(10 + call as u64), &ran);
            scope.spawn(move || {
                thread::sleep(*start);
                let result = healer.heal(*fault, &mut dice);
                ran.lock().expect("no panic").push(result);
            });
        }
        let mut chance = dice(3);
        scope.spawn(move || {
            // Spread over the life of the runs: before they look, while they decide, and while they write.
            let pause = typical.mul_f64(1.5) / u32::try_from(slow.len().max(1)).unwrap_or(1);
            for job in slow {
                if chance.chance(50) {
                    await_healer(late, chance.pick(&["FETCH%", "WITH keys%"]), typical);
                } else {
                    thread::sleep(moment(&mut chance, pause * 2));
                }
                let end = match chance.between(0, 9) {
                    0..=3 => Fate::Die(KillPoint::Receipt),
                    4 => Fate::FinishWithoutId { placeholder: chance.chance(50) },
                    _ => Fate::Finish,
                };
                let within = (end == Fate::Finish && chance.chance(50)).then(|| moment(&mut chance, typical / 4));
                poster.resume(late, job, end, within);
            }
        });
        let mut chance = dice(4);
        scope.spawn(move || {
            for _ in 0..3 {
                thread::sleep(moment(&mut chance, typical / 2));
                poster.work(one, &second);
                // A run that seems to have died loses its lease, whether it died or not.
                if chance.chance(50) {
                    kit.batch_execute("UPDATE healer.lease SET expires_at = '-infinity'").expect("the lease ends");
                }
            }
        });
    });
    ran.into_inner().expect("no panic")
}

fn settings(kind: Kind, on_unproven: &str, dice: &mut Dice) -> String {
    let batch = dice.pick(&[1, 2, 3, 5, 1_000]);
    // The brake has its own tests; here it would hide what an unbraked run does.
    let mut text = format!(
        "[database]\nbatch = {batch}\nstatement_timeout = \"5s\"\n\n[heal.stuck-posts]\non_unproven = \"{on_unproven}\"\n\n\
         [heal.brake]\nper_run = 10000\nper_day = 10000\nshare_from = 10000\n"
    );
    if kind == Kind::Moving {
        text.push_str("\n[heal.old-failed]\narchive_to = \"table\"\n");
    }
    text
}

fn planned(number: u64, dice: &mut Dice) -> Planned {
    Planned {
        id: post_id(dice.number(), usize::try_from(number).unwrap_or(0)),
        parts: if dice.chance(35) { i32::try_from(dice.between(2, 4)).unwrap_or(2) } else { 1 },
        // A few are nearly a day late: in the quiet hour they are too old to be sent.
        age_s: i32::try_from(if dice.chance(6) { 80_000 } else { dice.between(0, 7_200) }).unwrap_or(0),
        rescues: if dice.chance(5) { 3 } else { 0 },
    }
}

/// What becomes of a post, by chance but always the same for the same round: `dying` and `slow` in a hundred.
fn fate(round: u64, post: &str, before: u64, parts: usize, orders: Orders, dying: u64, slow: u64) -> Fate {
    let name = u64::from_str_radix(&post[..8], 16).unwrap_or(0);
    let mut dice = Dice::new(&[orders.seed, round, name, before]);
    let point = |dice: &mut Dice| {
        let point = orders.kill_point.unwrap_or_else(|| dice.pick(&KillPoint::ALL));
        // A single has no middle.
        if point == KillPoint::Thread && parts < 2 { KillPoint::Publish } else { point }
    };
    match dice.between(0, 99) {
        throw if throw < dying => Fate::Die(point(&mut dice)),
        throw if throw < dying + slow => {
            let here = dice.pick(&KillPoint::ALL);
            Fate::Pause(if here == KillPoint::Thread && parts < 2 { KillPoint::Receipt } else { here })
        }
        throw if throw < dying + slow + 6 => Fate::Refuse,
        throw if throw < dying + slow + 14 => Fate::FinishWithoutId { placeholder: dice.chance(50) },
        _ => Fate::Finish,
    }
}

fn fault(call: u64, dice: &mut Dice) -> Fault {
    let way = dice.pick(&[Way::ToServer, Way::ToClient]);
    // The proxy has one weather: only the first run goes through it.
    match dice.between(0, if call == 0 { 11 } else { 4 }) {
        0 => Fault::None,
        1 | 2 => Fault::Kill,
        3 => Fault::Term,
        4 => Fault::Terminate,
        // Most of what a run sends first is looking; what comes last is writing.
        5..=9 => Fault::Cut {
            way,
            share: if dice.chance(30) { dice.between(0, 600) } else { dice.between(600, 1_050) },
            for_good: dice.chance(30),
        },
        10 => Fault::Delay(way, Duration::from_micros(dice.between(100, 2_000))),
        _ => Fault::Stall(way),
    }
}

/// Waits until a run sends a statement like this one, or for as long as a run takes.
fn await_healer(client: &mut Client, statement: &str, most: Duration) {
    let begun = Instant::now();
    let sql = format!(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'healer'
            AND query LIKE '{statement}' AND state <> 'idle'"
    );
    while begun.elapsed() < most && client.query_typed(&sql, &[]).expect("the sessions are read").is_empty() {
        thread::sleep(Duration::from_micros(300));
    }
}

/// Any moment from now to `most` from now.
fn moment(dice: &mut Dice, most: Duration) -> Duration {
    Duration::from_micros(dice.between(0, u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(1)))
}

impl Healer<'_> {
    fn command(&self, url: &str, words: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(words)
            .args(["--format", "json", "--config"])
            .arg(&self.config)
            .current_dir("/")
            .env_clear()
            .env("DATABASE_URL", url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(control) = self.control {
            command.env("HEALER_CHAOS_CONTROL", control.name());
        }
        command
    }

    fn heal(&self, fault: Fault, dice: &mut Dice) -> Ran {
        if self.control == Some(Control::OldRule) {
            old_rule(&self.direct);
            return Ran { json: None, code: None, took: None };
        }
        let proxied = matches!(fault, Fault::Measured | Fault::Cut { .. } | Fault::Delay(..) | Fault::Stall(_));
        match fault {
            Fault::Cut { way, share, .. } => {
                let all = if way == Way::ToServer { self.typical.to_server } else { self.typical.to_client };
                self.proxy.cut_after(way, (all * share / 1_000).max(1));
            }
            Fault::Delay(way, delay) => self.proxy.delay(way, delay),
            _ => {}
        }
        let url = if proxied || self.far { &self.through_proxy } else { &self.direct };
        let (begun, accepted) = (Instant::now(), self.proxy.accepted());
        let passed = (self.proxy.passed(Way::ToServer), self.proxy.passed(Way::ToClient));
        // Its own session under another name, opened before: it does not count as left over.
        let mut watch = matches!(fault, Fault::Kill | Fault::Term | Fault::Terminate)
            .then(|| Client::connect(&self.admin, postgres::NoTls).expect("a connection"));
        let mut child = self.command(url, &["heal"]).spawn().expect("healer starts");
        if let Some(watch) = &mut watch {
            // Half of them while they write.
            if dice.chance(50) {
                await_healer(watch, "WITH keys AS%", self.typical.time * 2);
                thread::sleep(moment(dice, self.typical.time / 8));
            } else {
                thread::sleep(moment(dice, self.typical.time.mul_f64(1.2)));
            }
        }
        match fault {
            Fault::Kill => {
                let _ = child.kill();
            }
            Fault::Term => terminate(&child),
            Fault::Terminate => watch
                .expect("it watches")
                .batch_execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                      WHERE datname = current_database() AND application_name = 'healer' LIMIT 1",
                )
                .expect("a backend is ended"),
            Fault::Cut { for_good: true, .. } => {
                while self.proxy.accepted() == accepted && child.try_wait().is_ok_and(|ended| ended.is_none()) {
                    thread::sleep(Duration::from_micros(300));
                }
                self.proxy.refuse();
            }
            Fault::Stall(way) => {
                thread::sleep(moment(dice, self.typical.time.mul_f64(1.2)));
                self.proxy.stall(way);
                thread::sleep(moment(dice, self.typical.time / 2));
                let _ = child.kill();
                self.proxy.cut();
                self.proxy.resume();
            }
            _ => {}
        }
        let output = child.wait_with_output().expect("healer ends");
        let took = matches!(fault, Fault::Measured).then(|| Typical {
            time: begun.elapsed().clamp(Duration::from_millis(5), Duration::from_secs(2)),
            to_server: self.proxy.passed(Way::ToServer) - passed.0,
            to_client: self.proxy.passed(Way::ToClient) - passed.1,
        });
        Ran { json: serde_json::from_slice(&output.stdout).ok(), code: output.status.code(), took }
    }

    /// What a dry run still plans, `None` for nothing.
    fn left_to_do(&self) -> Option<String> {
        let output = self.command(&self.direct, &["heal", "--dry-run"]).output().expect("healer runs");
        let json: Value = serde_json::from_slice(&output.stdout).ok()?;
        (json["counts"]["planned"].as_u64() != Some(0)).then(|| json["actions"].to_string())
    }

    /// Takes back what the latest run changed, as far as nobody has changed it since.
    fn undo(&self, kit: &mut Client, url: &str) {
        let run: Option<i64> =
            kit.query_typed_one("SELECT max(run_id) FROM healer.action WHERE run_id > 0", &[]).expect("a run").get(0);
        let Some(run) = run.map(|run| run.to_string()) else { return };
        let output = self.command(url, &["undo", &run]).output().expect("healer runs");
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 3)), "undo {run}: {code:?} {}", String::from_utf8_lossy(&output.stdout));
    }

    /// A person who looks at the platform decides on one held post.
    fn person(&self, kit: &mut Client, poster: &Poster, url: &str, dice: &mut Dice) {
        let rows = kit
            .query_typed(
                "SELECT h.post, coalesce(jsonb_array_length(p.thread_parts), 1)
                   FROM healer.held_post h JOIN public.content_metadata p ON p.decision_id = h.post
                  WHERE h.resolved_at IS NULL AND p.status = 'posting' ORDER BY h.post",
                &[],
            )
            .expect("held posts are read");
        if rows.is_empty() {
            return;
        }
        let row = &rows[usize::try_from(dice.between(0, rows.len() as u64 - 1)).unwrap_or(0)];
        let (post, parts): (String, i32) = (row.get(0), row.get(1));
        let published = poster.platform.of(&post);
        let id;
        let decision: &[&str] = match published.iter().find(|publication| publication.part == 0) {
            None => &["--queue"],
            Some(first) if poster.platform.has_all(&post, usize::try_from(parts).unwrap_or(1)) => {
                id = first.id.clone();
                &["--posted", &id]
            }
            Some(_) => &["--fail"],
        };
        let mut words = vec!["resolve", &post];
        words.extend(decision);
        let output = self.command(url, &words).output().expect("healer runs");
        assert!(output.status.success(), "resolve {words:?}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

/// The healer that must prove itself: the one of this build, or any that `scripts/chaos --binary` names.
pub fn binary() -> PathBuf {
    std::env::var_os("HEALER_CHAOS_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_healer").into(), PathBuf::from)
}

fn terminate(child: &Child) {
    let _ = Command::new("/bin/sh").args(["-c", "kill -TERM \"$1\"", "chaos-term", &child.id().to_string()]).status();
}

/// The rule that healer replaces: whatever was written more than half an hour ago and is `posting` is queued, one
/// UPDATE by id after the other, and so is what was posted and has no id.
fn old_rule(url: &str) {
    let mut client = Client::connect(url, postgres::NoTls).expect("a connection");
    let stuck = "SELECT decision_id FROM public.content_metadata
                  WHERE status = 'posting' AND created_at < now() - interval '30 minutes'";
    let without_id = "SELECT decision_id FROM public.content_metadata
                       WHERE status = 'posted' AND tweet_id IS NULL AND posted_at > now() - interval '24 hours'";
    for found in [stuck, without_id] {
        let rows = client.query_typed(found, &[]).expect("posts are found");
        for row in rows {
            let id: String = row.get(0);
            client
                .execute_typed(
                    "UPDATE public.content_metadata SET status = 'queued', updated_at = now() WHERE decision_id = $1",
                    &[(&id, postgres::types::Type::TEXT)],
                )
                .expect("a post is queued");
        }
    }
}
