//! Alerts: the right person hears of what a pass found, once, is reminded, and hears when it is over.
//!
//! After each pass: the rules say what a person should hear of ([`rules`]); what is remembered from the passes before
//! says what of it is new, worse, still there or gone ([`state`], [`memory`]); each channel is told what it is due in one
//! message, and what it was told is written down before the next one is. A process killed between the two tells it once
//! more, never less. A channel that fails changes nothing of what the pass did; it is reported, and tried again next time.
//! Where the database cannot be reached, a small file remembers.

pub mod alertmanager;
pub mod channel;
pub mod discord;
pub mod email;
pub mod healthchecks;
pub mod http;
pub mod memory;
pub mod model;
pub mod pagerduty;
pub mod rules;
pub mod settings;
pub mod slack;
pub mod state;
pub mod webhook;

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use self::channel::{Delivery, Way};
use self::healthchecks::Ping;
use self::memory::Spool;
use self::model::{Alert, Book, Item, Message, Why};
use self::rules::{LastSuccess, Outcome, Scope};
use self::settings::{ChannelSettings, Kind};
use crate::change::plan::Severity;
use crate::database::session::{Access, Session, StopFlag};
use crate::error::Error;
use crate::settings::Settings;
use crate::start::Start;

/// The passes.
pub const PASSES: [&str; 4] = ["heal", "optimize-performance", "optimize-content", "analyze-errors"];

/// Time for all channels together: they are told at once, each with its own limits.
const BUDGET: Duration = Duration::from_secs(45);
/// Seconds after which the turn of a killed pass is free: longer than the budget, shorter than any schedule.
const TURN_S: i64 = 90;
/// Time beyond `--timeout` for what is remembered.
const LAST_WORDS: Duration = Duration::from_secs(60);

/// How often a pass should run, in seconds.
pub fn interval(settings: &Settings, pass: &str) -> i64 {
    match pass {
        "optimize-performance" => settings.optimize.performance.interval.as_seconds(),
        "optimize-content" => 4 * 3_600,
        "analyze-errors" => settings.errors.interval.as_seconds(),
        _ => settings.heal.interval.as_seconds(),
    }
}

/// What was told.
#[derive(Debug, Default)]
pub struct Told {
    /// Channels that took a message, each with how many alerts.
    pub delivered: Vec<(String, usize)>,
    /// What did not work, in words; each begins with the name of its channel.
    pub failed: Vec<String>,
}

/// Watches over the passes of a command: pings when they begin and end, and tells afterwards what they found.
#[derive(Debug)]
pub struct Watch {
    settings: Settings,
    instance: String,
    passes: &'static [&'static str],
    run: String,
    stop: StopFlag,
    started: Option<JoinHandle<Vec<String>>>,
}

impl Watch {
    /// Begins. `database`: the name of the database, where it is known.
    pub fn begin(
        settings: &Settings,
        database: Option<&str>,
        passes: &'static [&'static str],
        stop: &StopFlag,
    ) -> Self {
        let instance = match (settings.alerts.instance.as_str(), database) {
            ("", database) => database.unwrap_or("unknown database").to_owned(),
            (instance, _) => instance.to_owned(),
        };
        let run = healthchecks::run_id();
        let (settings, stop) = (settings.clone(), stop.clone());
        let started = pinged(&settings, passes).next().is_some().then(|| {
            let (settings, stop, run) = (settings.clone(), stop.clone(), run.clone());
            // The pass does not wait for it.
            let ping = move || ping_all(&settings, passes, &stop, Ping::Start, &run, "");
            std::thread::Builder::new().name("ping".into()).spawn(ping).ok()
        });
        Self { settings, instance, passes, run, stop, started: started.flatten() }
    }

    /// What passes gave that failed before they could look at anything.
    pub fn failed(&self, error: &Error) -> Vec<Outcome> {
        self.passes.iter().map(|pass| rules::failure(pass, error)).collect()
    }

    /// Tells what the passes found, with the connection they had. `exit_code`: that of the process.
    pub fn after(mut self, start: &mut Start, outcomes: &[Outcome], exit_code: u8) -> Told {
        let mut told = Told::default();
        for outcome in outcomes.iter().filter(|_| self.settings.alerts.enabled) {
            if !start.catalog.schema_readable() || start.session.is_closed() {
                self.with_spool(outcome, &mut told);
                continue;
            }
            start.session.extend(LAST_WORDS);
            if let Err(error) = self.with_database(&mut start.session, outcome, &mut told) {
                start.session.rollback();
                told.failed.push(format!("alerts: what was told cannot be kept in the database: {error}"));
                self.with_spool(outcome, &mut told);
            }
        }
        self.ended(outcomes, exit_code, &mut told);
        told
    }

    /// Tells that passes failed before there was a connection.
    pub fn without_database(mut self, outcomes: &[Outcome], exit_code: u8) -> Told {
        let mut told = Told::default();
        for outcome in outcomes.iter().filter(|_| self.settings.alerts.enabled) {
            self.with_spool(outcome, &mut told);
        }
        self.ended(outcomes, exit_code, &mut told);
        told
    }

    /// The last pings, and what became of the first ones.
    fn ended(&mut self, outcomes: &[Outcome], exit_code: u8, told: &mut Told) {
        if let Some(started) = self.started.take() {
            told.failed.extend(started.join().unwrap_or_default());
            for pass in self.passes {
                let of_pass: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.pass == *pass).collect();
                let lines: Vec<&str> =
                    of_pass.iter().map(|outcome| outcome.error.as_deref().unwrap_or(&outcome.headline)).collect();
                // Of two passes each has its own; one that was not reached ends as the process does.
                let own = of_pass.iter().map(|outcome| outcome.exit_code).max();
                let code = own.filter(|_| self.passes.len() > 1).unwrap_or(exit_code);
                let one = std::slice::from_ref(pass);
                let said = lines.join("\n");
                told.failed.extend(ping_all(&self.settings, one, &self.stop, Ping::Exit(code), &self.run, &said));
            }
        }
    }

    /// Whether there is anybody to be told.
    fn has_channels(&self) -> bool {
        self.settings.alerts.channels.values().any(|channel| channel.kind != Kind::Healthchecks)
    }

    fn spool(&self) -> Spool {
        Spool::of(&self.settings.alerts.spool, &self.instance)
    }

    fn with_database(&self, session: &mut Session, outcome: &Outcome, told: &mut Told) -> Result<(), Error> {
        let channels = self.has_channels();
        session.begin(Access::ReadWrite, "")?;
        // Without a channel nobody can be told twice, and the turn is saved.
        let turn = channels.then(|| memory::take_turn(session, TURN_S)).transpose()?;
        let memory::Remembered { mut book, now, passes } = memory::read(session, &PASSES, channels)?;
        let passes: Vec<LastSuccess> = passes
            .into_iter()
            .map(|ended| LastSuccess {
                interval_s: interval(&self.settings, &ended.pass),
                age_s: ended.age_s,
                first_s: ended.first_s,
                pass: ended.pass,
            })
            .collect();
        let (seen, scope) = rules::judge(outcome, Some(&passes));
        let mut spool = self.spool();
        let spooled = if channels && spool.exists() { spool.open().ok().flatten() } else { None };
        let imported = spooled.is_some();
        if let Some(spooled) = spooled {
            memory::import(&mut book, spooled);
        }
        state::observe(&mut book, &seen, &scope, outcome.run_id, &self.instance, now);
        // Committed with the alerts: whoever is killed before it told them, or has not the turn, leaves a debt behind, and
        // the next pass tells them even when they are gone by then.
        self.owe_all(&mut book, now);
        memory::save(session, &mut book)?;
        if imported && let Err(error) = spool.remove() {
            log::warn!(target: "healer", "{}: {error}", spool.path().display());
        }
        let Some(turn) = turn else { return Ok(()) };
        if !turn.ours {
            log::info!(target: "healer", "another pass is telling alerts: what is new goes with the next one");
            return Ok(());
        }
        let message = self.message(outcome, turn.now);
        let kept = self.deliver(&mut book, &message, told, |book, name| {
            memory::told(session, book, name).map_err(|error| error.to_string())
        });
        let closed = memory::close(session, &turn).map_err(|error| error.to_string());
        if let Err(words) = kept {
            // The connection went while channels were told: the spool keeps what they were told.
            told.failed.push(format!("alerts: {words}"));
            if let Err(error) = spool.open().and_then(|_| spool.save(&book)) {
                told.failed.push(format!("alerts: {} cannot be written: {error}", spool.path().display()));
            }
        } else if let Err(words) = closed {
            log::warn!(target: "healer", "the turn of telling alerts was not given back: {words}");
        }
        Ok(())
    }

    fn with_spool(&self, outcome: &Outcome, told: &mut Told) {
        // Who tells nobody has nothing to remember.
        if !self.has_channels() {
            return;
        }
        let (seen, scope) = rules::judge(outcome, None);
        self.tell_by_spool(&seen, &scope, outcome, told);
    }

    fn tell_by_spool(&self, seen: &[model::Seen], scope: &Scope, outcome: &Outcome, told: &mut Told) {
        let mut spool = self.spool();
        let now = Utc::now();
        let mut book = match spool.open() {
            Ok(Some(book)) => book,
            Ok(None) => {
                log::info!(target: "healer", "another pass is telling alerts: what is new goes with the next one");
                return;
            }
            Err(error) => {
                told.failed.push(format!(
                    "alerts: {} cannot be written ({error}): alerts are repeated in every pass",
                    spool.path().display()
                ));
                Book::default()
            }
        };
        state::observe(&mut book, seen, scope, outcome.run_id, &self.instance, now);
        if book.alerts.is_empty() && !spool.exists() {
            return;
        }
        let message = self.message(outcome, now);
        let kept = self.deliver(&mut book, &message, told, |book, _| {
            let saved = spool.save(book).map_err(|error| format!("{}: {error}", spool.path().display()));
            book.alerts.iter_mut().for_each(|alert| alert.changed = false);
            saved
        });
        if let Err(words) = kept.and_then(|()| spool.save(&book).map_err(|error| error.to_string())) {
            log::warn!(target: "healer", "alerts: {words}");
        }
    }

    /// Notes for every channel what it must hear of and has not.
    fn owe_all(&self, book: &mut Book, now: DateTime<Utc>) {
        for (name, channel) in &self.settings.alerts.channels {
            if channel.kind == Kind::Healthchecks {
                continue;
            }
            let due = state::due(book, name, channel, &self.settings.alerts, now, false);
            let new = due.items.iter().filter(|item| item.why == Why::New).map(|item| item.place);
            for place in new.chain(due.waiting).collect::<Vec<_>>() {
                state::owe(book, name, place);
            }
        }
    }

    fn message(&self, outcome: &Outcome, at: DateTime<Utc>) -> Message {
        Message {
            instance: self.instance.clone(),
            pass: outcome.pass.to_owned(),
            run_id: outcome.run_id,
            at,
            items: Vec::new(),
            test: false,
        }
    }

    /// Tells every channel what it is due, all at once, and keeps what each was told as soon as it was told.
    fn deliver(
        &self,
        book: &mut Book,
        message: &Message,
        told: &mut Told,
        mut keep: impl FnMut(&mut Book, &str) -> Result<(), String>,
    ) -> Result<(), String> {
        let until = Instant::now() + BUDGET;
        let mut kept = Ok(());
        let mut messages = Vec::new();
        for (name, channel) in &self.settings.alerts.channels {
            if channel.kind == Kind::Healthchecks {
                continue;
            }
            let closed =
                book.channels.get(name).and_then(|state| state.not_before).is_some_and(|time| time > message.at);
            let due = state::due(book, name, channel, &self.settings.alerts, message.at, closed);
            if closed {
                told.failed.push(format!("{name}: it asked not to be called yet"));
            }
            for place in &due.waiting {
                state::owe(book, name, *place);
            }
            if !due.waiting.is_empty() {
                kept = kept.and(keep(book, name));
            }
            if !due.items.is_empty() {
                messages.push((name, channel, Message { items: due.items, ..message.clone() }));
            }
        }
        let (sender, receiver) = mpsc::channel::<(&String, &Message, Delivery)>();
        std::thread::scope(|scope| {
            for (name, channel, message) in &messages {
                let sender = sender.clone();
                scope.spawn(move || {
                    let way = Way { name, settings: channel, all: &self.settings, stop: self.stop.clone(), until };
                    let delivery = channel::deliver(&way, message);
                    // The receiver is there until all have answered.
                    let _ = sender.send((name, message, delivery));
                });
            }
            drop(sender);
            for (name, message, delivery) in receiver {
                note(book, name, message, &delivery, told);
                kept = std::mem::replace(&mut kept, Ok(())).and(keep(book, name));
            }
        });
        kept
    }
}

/// Enters in the book what became of a message.
fn note(book: &mut Book, name: &str, message: &Message, delivery: &Delivery, told: &mut Told) {
    for item in &delivery.done {
        state::told(book, name, item, message.at);
    }
    for item in &message.items {
        let done = delivery.done.iter().any(|done| done.place == item.place);
        if !done && item.why == Why::New {
            state::owe(book, name, item.place);
        }
    }
    let news = delivery.done.iter().filter(|item| item.why != Why::Standing).count();
    if news > 0 {
        told.delivered.push((name.to_owned(), news));
    }
    let failure = delivery.failure.as_ref();
    let wait = failure.and_then(|failure| failure.wait).map(|wait| i64::try_from(wait.as_secs()).unwrap_or(i64::MAX));
    let state = book.channels.entry(name.to_owned()).or_default();
    state::channel(state, failure.map(|failure| failure.words.as_str()), wait, message.at);
    if let Some(failure) = failure {
        told.failed.push(format!("{name}: {}", failure.words));
    }
}

fn pinged<'a>(
    settings: &'a Settings,
    passes: &'static [&'static str],
) -> impl Iterator<Item = (&'a String, &'a ChannelSettings)> {
    let for_one = move |channel: &ChannelSettings| channel.pass.as_deref().is_some_and(|pass| passes.contains(&pass));
    let enabled = settings.alerts.enabled;
    let channels = settings.alerts.channels.iter();
    channels.filter(move |(_, channel)| enabled && channel.kind == Kind::Healthchecks && for_one(channel))
}

/// Pings all of some passes; gives what failed, in words.
fn ping_all(
    settings: &Settings,
    passes: &'static [&'static str],
    stop: &StopFlag,
    what: Ping,
    run: &str,
    text: &str,
) -> Vec<String> {
    let until = Instant::now() + BUDGET;
    let mut failed = Vec::new();
    for (name, channel) in pinged(settings, passes) {
        let way = Way { name, settings: channel, all: settings, stop: stop.clone(), until };
        if let Err(failure) = healthchecks::ping(&way, what, run, text) {
            failed.push(format!("{name}: {}", failure.words));
        }
    }
    failed
}

/// Sends a sample over one channel: one alert of each sort. Nothing of it is remembered.
pub fn test(settings: &Settings, name: &str, stop: &StopFlag) -> Result<String, Error> {
    let channels = &settings.alerts.channels;
    let Some(channel) = channels.get(name) else {
        let known: Vec<&str> = channels.keys().map(String::as_str).collect();
        return Err(Error::Usage {
            message: "--test-alert names a channel that is not in the configuration".into(),
            hint: if known.is_empty() {
                "add a table [alerts.channels.NAME] to healer.toml".into()
            } else {
                format!("the channels are {}", known.join(", "))
            },
        });
    };
    let now = Utc::now();
    let message = Message {
        instance: if settings.alerts.instance.is_empty() { "sample".into() } else { settings.alerts.instance.clone() },
        pass: "heal".into(),
        run_id: None,
        at: now,
        items: sample(now),
        test: true,
    };
    let way = Way { name, settings: channel, all: settings, stop: stop.clone(), until: Instant::now() + BUDGET };
    let delivery = channel::deliver(&way, &message);
    match delivery.failure {
        None => Ok(format!("channel {name} ({}) took the sample", channel.kind.word())),
        Some(failure) => Err(Error::Refused {
            message: format!("channel {name} ({}) did not take the sample: {}", channel.kind.word(), failure.words),
            hint: "check the address and the key of the channel; nothing of the passes depends on it".into(),
        }),
    }
}

/// What can be said of the channels without calling them: name, kind, and what is wrong with its address or key.
pub fn examine(settings: &Settings) -> Vec<(String, &'static str, Option<String>)> {
    let mut found = Vec::new();
    for (name, channel) in &settings.alerts.channels {
        let url = settings::secret(channel.url_env.as_deref(), channel.url_file.as_deref());
        let key = settings::secret(channel.key_env.as_deref(), channel.key_file.as_deref());
        found.push((name.clone(), channel.kind.word(), url.err().or(key.err())));
    }
    found
}

/// One alert that is new and the same one ending: a pager that takes both is left with nothing open.
fn sample(now: DateTime<Utc>) -> Vec<Item> {
    let alert = |why: Why| Alert {
        id: None,
        fingerprint: "healer-test-alert".into(),
        pass: "heal".into(),
        key: "test-alert".into(),
        check: None,
        severity: Severity::Info,
        title: "this is a test: nothing is wrong".into(),
        detail: "sent by `healer report --test-alert`".into(),
        next_step: "nothing to do".into(),
        run_id: None,
        opened_at: now,
        last_seen: now,
        times: 1,
        resolved_at: (why == Why::Resolved).then_some(now),
        channels: std::collections::BTreeMap::new(),
        changed: false,
    };
    [Why::New, Why::Resolved]
        .into_iter()
        .enumerate()
        .map(|(place, why)| Item { place, why, alert: alert(why) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_expected_as_often_as_the_configuration_says() {
        let text =
            "[heal]\ninterval = \"5m\"\n[errors]\ninterval = \"24h\"\n[optimize.performance]\ninterval = \"12h\"";
        let settings = Settings::from_toml(text).expect("valid");
        assert_eq!(PASSES.map(|pass| interval(&settings, pass)), [300, 43_200, 14_400, 86_400]);
    }
}
