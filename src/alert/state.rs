//! What is remembered of alerts from pass to pass, as pure decisions: what is new, what is gone, and who is told what.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use ring::digest;

use super::model::{Alert, Book, ChannelState, DETAIL, Item, STEP, Seen, TITLE, Told, Why, cut, severity, word};
use super::rules::{FAILED, HEALER, Scope};
use super::settings::{Alerts, ChannelSettings, Kind};
use crate::change::plan::Severity;

/// Alerts that one pass may have open: a flood is told as a flood, not one by one.
pub const MOST_SEEN: usize = 100;
/// Of one kind (`error-pattern:`, `missing-index:`): the first ones, which are the gravest.
pub const MOST_OF_A_KIND: usize = 20;

/// Enters what a pass saw: opens, refreshes and resolves. Only what the pass really looked at is ever resolved, and what
/// is open stays open while it is seen, however many others are seen before it.
pub fn observe(book: &mut Book, seen: &[Seen], scope: &Scope, run_id: Option<i64>, instance: &str, now: DateTime<Utc>) {
    let mut found: BTreeSet<(&str, &str)> = BTreeSet::new();
    let known: BTreeSet<(String, String)> = book
        .alerts
        .iter()
        .filter(|alert| alert.resolved_at.is_none())
        .map(|alert| (alert.pass.clone(), alert.key.clone()))
        .collect();
    let open: Vec<bool> = seen.iter().map(|seen| known.contains(&(seen.pass.clone(), seen.key.clone()))).collect();
    let kind = |seen: &Seen| seen.key.split(':').next().unwrap_or_default().to_owned();
    let mut room = MOST_SEEN.saturating_sub(open.iter().filter(|open| **open).count());
    let mut of_kind: BTreeMap<String, usize> = BTreeMap::new();
    for (seen, _) in seen.iter().zip(&open).filter(|(_, open)| **open) {
        *of_kind.entry(kind(seen)).or_default() += 1;
    }
    for (seen, is_open) in seen.iter().zip(open) {
        if !found.insert((&seen.pass, &seen.key)) {
            continue;
        }
        if !is_open {
            let others = of_kind.entry(kind(seen)).or_default();
            if room == 0 || *others >= MOST_OF_A_KIND {
                continue;
            }
            *others += 1;
            room -= 1;
        }
        let (title, detail) = (cut(&seen.title, TITLE), cut(&seen.detail, DETAIL));
        let next_step = cut(&seen.next_step, STEP);
        let same = |alert: &Alert| alert.pass == seen.pass && alert.key == seen.key;
        let open = book
            .alerts
            .iter()
            .position(|alert| alert.resolved_at.is_none() && same(alert))
            .or_else(|| book.alerts.iter().position(|alert| same(alert) && !settled(alert)));
        // It may have come back before its end was told everywhere: for those channels it never ended.
        if let Some(alert) = open.map(|place| &mut book.alerts[place]) {
            if alert.resolved_at.take().is_some() {
                alert.channels.retain(|_, told| !told.resolved);
            }
            alert.severity = seen.severity;
            alert.title = title;
            alert.detail = detail;
            alert.next_step = next_step;
            alert.run_id = run_id;
            alert.last_seen = now;
            alert.times = alert.times.saturating_add(1);
            alert.changed = true;
            continue;
        }
        book.alerts.push(Alert {
            id: None,
            fingerprint: fingerprint(instance, &seen.pass, &seen.key),
            pass: seen.pass.clone(),
            key: seen.key.clone(),
            check: seen.check.clone(),
            severity: seen.severity,
            title,
            detail,
            next_step,
            run_id,
            opened_at: now,
            last_seen: now,
            times: 1,
            resolved_at: None,
            channels: std::collections::BTreeMap::new(),
            changed: true,
        });
    }
    for alert in book.alerts.iter_mut().filter(|alert| alert.resolved_at.is_none()) {
        if !found.contains(&(alert.pass.as_str(), alert.key.as_str())) && gone(alert, scope) {
            alert.resolved_at = Some(now);
            alert.changed = true;
        }
    }
}

/// Whether an alert that was not seen is gone, or only was not looked for.
fn gone(alert: &Alert, scope: &Scope) -> bool {
    if alert.pass == HEALER {
        return scope.passes_known;
    }
    if alert.pass != scope.pass || !scope.completed {
        return false;
    }
    match &alert.check {
        Some(check) => scope.measured.contains(check),
        None => alert.key.starts_with(FAILED) || scope.whole,
    }
}

/// 32 hexadecimal digits that stand for an alert of one system.
fn fingerprint(instance: &str, pass: &str, key: &str) -> String {
    let text = format!("{instance}\n{pass}\n{key}");
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What one channel is due.
#[derive(Debug)]
pub struct Due {
    /// What it is told now.
    pub items: Vec<Item>,
    /// Places in the book of what must wait: told later, even when it is gone by then.
    pub waiting: Vec<usize>,
}

/// What a channel is due now. `closed`: it asked not to be called yet.
pub fn due(
    book: &Book,
    name: &str,
    channel: &ChannelSettings,
    settings: &Alerts,
    now: DateTime<Utc>,
    closed: bool,
) -> Due {
    let mut due = Due { items: Vec::new(), waiting: Vec::new() };
    let quiet = settings.quiet(channel, now);
    let nothing = Told::default();
    for (place, alert) in book.alerts.iter().enumerate() {
        let told = alert.channels.get(name).unwrap_or(&nothing);
        let Some(why) = why(alert, told, channel, settings, now) else { continue };
        // An Alertmanager ends by itself what it does not hear of again: only what it never heard of can wait.
        let may_wait = why == Why::New || channel.kind != Kind::Alertmanager;
        let held = quiet && alert.severity < Severity::Critical && may_wait && why != Why::Standing;
        if !held && !closed {
            due.items.push(Item { place, why, alert: alert.clone() });
        } else if why == Why::New {
            due.waiting.push(place);
        }
    }
    due.items.sort_by_key(|item| {
        (item.why == Why::Resolved, std::cmp::Reverse(item.alert.severity), item.alert.opened_at, item.place)
    });
    due
}

fn why(alert: &Alert, told: &Told, channel: &ChannelSettings, settings: &Alerts, now: DateTime<Utc>) -> Option<Why> {
    // These keep what is open by themselves: the end of what they never heard of is nothing to them.
    let keeps_state = matches!(channel.kind, Kind::PagerDuty | Kind::Alertmanager);
    if alert.resolved_at.is_some() {
        let told_once = told.at.is_some() || (told.owed && !keeps_state);
        return (told_once && !told.resolved).then_some(Why::Resolved);
    }
    let Some(at) = told.at else {
        return (alert.severity >= channel.least).then_some(Why::New);
    };
    let before = told.severity.as_deref().map_or(alert.severity, severity);
    if alert.severity > before && alert.severity >= channel.least {
        return Some(Why::Worse);
    }
    let remind = if alert.severity == Severity::Critical { settings.remind_critical } else { settings.remind_after };
    if now.signed_duration_since(at).num_seconds() >= remind.as_seconds() {
        return Some(Why::Reminder);
    }
    (channel.kind == Kind::Alertmanager).then_some(Why::Standing)
}

/// Notes that an item was told.
pub fn told(book: &mut Book, name: &str, item: &Item, now: DateTime<Utc>) {
    let Some(alert) = book.alerts.get_mut(item.place) else { return };
    let grave = word(item.alert.severity);
    let entry = alert.channels.entry(name.to_owned()).or_default();
    let before = entry.clone();
    match item.why {
        Why::Resolved => entry.resolved = true,
        Why::Standing => entry.severity = Some(grave.to_owned()),
        Why::New | Why::Worse | Why::Reminder => {
            entry.reminders += u32::from(item.why == Why::Reminder);
            entry.at = Some(now);
            entry.severity = Some(grave.to_owned());
        }
    }
    entry.owed = false;
    alert.changed |= *entry != before;
}

/// Notes that an alert should have been told and was not.
pub fn owe(book: &mut Book, name: &str, place: usize) {
    let Some(alert) = book.alerts.get_mut(place) else { return };
    let entry = alert.channels.entry(name.to_owned()).or_default();
    if entry.at.is_none() && !entry.owed {
        entry.owed = true;
        alert.changed = true;
    }
}

/// Notes how a channel itself did.
pub fn channel(state: &mut ChannelState, failure: Option<&str>, wait_s: Option<i64>, now: DateTime<Utc>) {
    state.not_before = wait_s.and_then(|wait| now.checked_add_signed(chrono::Duration::seconds(wait)));
    match failure {
        None => {
            state.last_success = Some(now);
            state.failing_since = None;
            state.failures = 0;
            state.last_error = None;
        }
        Some(words) => {
            state.failing_since = state.failing_since.or(Some(now));
            state.failures = state.failures.saturating_add(1);
            state.last_error = Some(cut(words, 300));
        }
    }
}

/// Whether nothing more is to be told of an alert.
pub fn settled(alert: &Alert) -> bool {
    alert.resolved_at.is_some()
        && alert.channels.values().all(|told| told.resolved || (told.at.is_none() && !told.owed))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::settings::Settings;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + minutes * 60, 0).expect("a time")
    }

    fn seen(key: &str, severity: Severity) -> Seen {
        Seen {
            pass: "heal".into(),
            key: key.into(),
            check: key.strip_prefix("check:").map(str::to_owned),
            severity,
            title: key.into(),
            detail: String::new(),
            next_step: String::new(),
        }
    }

    fn scope(measured: &[&str]) -> Scope {
        Scope {
            pass: "heal".into(),
            completed: true,
            whole: true,
            measured: measured.iter().map(|name| (*name).to_owned()).collect(),
            passes_known: true,
        }
    }

    fn alerts(more: &str) -> Alerts {
        Settings::from_toml(&format!("{more}\n[alerts.channels.ops]\nkind = \"slack\"\nurl_env = \"X\""))
            .expect("valid settings")
            .alerts
    }

    /// One pass: what the channel is told, as (key, why).
    fn pass(book: &mut Book, settings: &Alerts, seen: &[Seen], scope: &Scope, minute: i64) -> Vec<(String, Why)> {
        observe(book, seen, scope, None, "test", at(minute));
        let channel = settings.channels["ops"].clone();
        let due = due(book, "ops", &channel, settings, at(minute), false);
        for place in &due.waiting {
            owe(book, "ops", *place);
        }
        let mut told_now = Vec::new();
        for item in &due.items {
            told(book, "ops", item, at(minute));
            told_now.push((item.alert.key.clone(), item.why));
        }
        told_now
    }

    #[test]
    fn an_alert_is_told_once_then_reminded_then_resolved() {
        let (mut book, settings) = (Book::default(), alerts(""));
        let (critical, all) = ([seen("check:silence", Severity::Critical)], scope(&["silence"]));
        let key = || "check:silence".to_owned();
        assert_eq!(pass(&mut book, &settings, &critical, &all, 0), [(key(), Why::New)]);
        for minute in (15..240).step_by(15) {
            assert_eq!(pass(&mut book, &settings, &critical, &all, minute), [], "minute {minute}");
        }
        assert_eq!(pass(&mut book, &settings, &critical, &all, 240), [(key(), Why::Reminder)]);
        assert_eq!(pass(&mut book, &settings, &critical, &all, 255), []);
        assert_eq!(pass(&mut book, &settings, &[], &all, 270), [(key(), Why::Resolved)]);
        assert_eq!(pass(&mut book, &settings, &[], &all, 285), []);
        assert!(settled(&book.alerts[0]));
        assert_eq!(pass(&mut book, &settings, &critical, &all, 300), [(key(), Why::New)], "it came back");
    }

    #[test]
    fn what_gets_worse_is_told_at_once_and_what_gets_better_is_not() {
        let (mut book, settings, all) = (Book::default(), alerts(""), scope(&["silence"]));
        let with = |severity| [seen("check:silence", severity)];
        assert_eq!(pass(&mut book, &settings, &with(Severity::Warning), &all, 0)[0].1, Why::New);
        assert_eq!(pass(&mut book, &settings, &with(Severity::Critical), &all, 15)[0].1, Why::Worse);
        assert_eq!(pass(&mut book, &settings, &with(Severity::Warning), &all, 30), []);
        // Critical again is no news: it was told as critical last.
        assert_eq!(pass(&mut book, &settings, &with(Severity::Critical), &all, 45), []);
    }

    #[test]
    fn what_was_not_looked_at_is_not_resolved() {
        let (mut book, settings) = (Book::default(), alerts(""));
        let both = [seen("check:silence", Severity::Critical), seen("job-late:posting", Severity::Warning)];
        pass(&mut book, &settings, &both, &scope(&["silence"]), 0);
        let part = Scope { whole: false, ..scope(&["database"]) };
        assert_eq!(pass(&mut book, &settings, &[], &part, 15), [], "another check ran alone");
        let failed = Scope { completed: false, ..scope(&["silence"]) };
        assert_eq!(pass(&mut book, &settings, &[], &failed, 30), [], "the pass failed");
        let other = Scope { pass: "analyze-errors".into(), ..scope(&["silence"]) };
        assert_eq!(pass(&mut book, &settings, &[], &other, 45), [], "another pass");
        assert_eq!(pass(&mut book, &settings, &[], &scope(&["silence"]), 60).len(), 2);
    }

    #[test]
    fn quiet_hours_hold_back_what_is_not_critical_and_tell_it_after_even_when_it_is_gone() {
        // at(0) is 22:13 UTC.
        let (mut book, settings) = (Book::default(), alerts("[alerts]\nquiet_hours = \"22:00-07:00\""));
        let all = scope(&["silence", "database"]);
        let (warning, critical) =
            (seen("check:silence", Severity::Warning), seen("check:database", Severity::Critical));
        let told = pass(&mut book, &settings, &[warning.clone(), critical.clone()], &all, 0);
        assert_eq!(told, [("check:database".to_owned(), Why::New)]);
        assert_eq!(pass(&mut book, &settings, std::slice::from_ref(&critical), &all, 15), [], "its end waits too");
        assert_eq!(
            pass(&mut book, &settings, &[critical], &all, 540),
            [("check:database".to_owned(), Why::Reminder), ("check:silence".to_owned(), Why::Resolved)]
        );
    }

    #[test]
    fn what_is_open_stays_open_however_many_others_are_seen_before_it() {
        let (mut book, settings) = (Book::default(), alerts(""));
        let all = scope(&[]);
        let patterns = |numbers: &mut dyn Iterator<Item = usize>| -> Vec<Seen> {
            numbers.map(|number| seen(&format!("error-pattern:{number}"), Severity::Error)).collect()
        };
        let first = pass(&mut book, &settings, &patterns(&mut (0..30)), &all, 0);
        assert_eq!(first.len(), MOST_OF_A_KIND, "a flood is told as one");
        assert_eq!(pass(&mut book, &settings, &patterns(&mut (0..30).rev()), &all, 15), [], "the order says nothing");
        let fewer = pass(&mut book, &settings, &patterns(&mut (5..30)), &all, 30);
        let ended = fewer.iter().filter(|(_, why)| *why == Why::Resolved).count();
        assert_eq!((ended, fewer.len()), (5, 10), "five are gone, and five that had no place are told");
    }

    #[test]
    fn in_quiet_hours_an_alertmanager_goes_on_hearing_of_what_it_knows() {
        // at(0) is 22:13 UTC.
        let settings = Settings::from_toml(
            "[alerts]\nquiet_hours = \"22:00-07:00\"\nremind_after = \"1h\"\n[alerts.channels.ops]\nkind = \"alertmanager\"\nurl = \"http://127.0.0.1:9\"",
        )
        .expect("valid")
        .alerts;
        let (mut book, all) = (Book::default(), scope(&["silence"]));
        let warning = [seen("check:silence", Severity::Warning)];
        assert_eq!(pass(&mut book, &settings, &warning, &all, -30)[0].1, Why::New);
        for minute in (0..120).step_by(15) {
            assert_eq!(
                pass(&mut book, &settings, &warning, &all, minute).len(),
                1,
                "minute {minute}: it would end by itself"
            );
        }
        let error = [seen("check:silence", Severity::Error)];
        assert_eq!(pass(&mut book, &settings, &error, &all, 130).len(), 1);
        let new = [seen("job-late:a", Severity::Warning)];
        assert!(
            pass(&mut book, &settings, &new, &all, 140).iter().all(|(key, _)| key != "job-late:a"),
            "what is new waits"
        );
    }

    #[test]
    fn a_channel_hears_only_what_is_grave_enough_for_it() {
        let settings =
            Settings::from_toml("[alerts.channels.ops]\nkind = \"slack\"\nurl_env = \"X\"\nleast = \"critical\"")
                .expect("valid")
                .alerts;
        let (mut book, all) = (Book::default(), scope(&["silence"]));
        assert_eq!(pass(&mut book, &settings, &[seen("check:silence", Severity::Error)], &all, 0), []);
        assert_eq!(pass(&mut book, &settings, &[seen("check:silence", Severity::Critical)], &all, 15)[0].1, Why::New);
        assert_eq!(pass(&mut book, &settings, &[], &all, 30)[0].1, Why::Resolved);
    }

    #[test]
    fn what_comes_back_before_its_end_was_told_never_ended_for_that_channel() {
        let (mut book, settings, all) = (Book::default(), alerts(""), scope(&["silence"]));
        let critical = [seen("check:silence", Severity::Critical)];
        pass(&mut book, &settings, &critical, &all, 0);
        // It ends in a pass whose message does not arrive, and comes back.
        observe(&mut book, &[], &all, None, "test", at(15));
        assert!(book.alerts[0].resolved_at.is_some());
        assert_eq!(pass(&mut book, &settings, &critical, &all, 30), []);
        assert_eq!(book.alerts.len(), 1);
        assert_eq!(pass(&mut book, &settings, &[], &all, 45), [("check:silence".to_owned(), Why::Resolved)]);
    }

    #[test]
    fn a_fingerprint_stays_the_same_and_tells_systems_apart() {
        assert_eq!(fingerprint("a", "heal", "x"), fingerprint("a", "heal", "x"));
        assert_ne!(fingerprint("a", "heal", "x"), fingerprint("b", "heal", "x"));
        assert_eq!(fingerprint("a", "heal", "x").len(), 32);
    }

    proptest! {
        #[test]
        fn whatever_happens_each_episode_is_opened_and_resolved_once(
            days in proptest::collection::vec((any::<bool>(), any::<bool>(), 0_u8..4), 1..60)
        ) {
            // (seen, the channel works, severity) for each pass.
            let (mut book, settings, all) = (Book::default(), alerts(""), scope(&["silence"]));
            let channel = settings.channels["ops"].clone();
            let mut open = false;
            for (step, (there, works, grave)) in days.into_iter().enumerate() {
                let minute = i64::try_from(step).unwrap_or(0) * 15;
                let grave = [Severity::Warning, Severity::Warning, Severity::Error, Severity::Critical][usize::from(grave)];
                let list = if there { vec![seen("check:silence", grave)] } else { vec![] };
                observe(&mut book, &list, &all, None, "test", at(minute));
                let due = due(&book, "ops", &channel, &settings, at(minute), false);
                for item in &due.items {
                    if works {
                        told(&mut book, "ops", item, at(minute));
                        match item.why {
                            Why::New => {
                                prop_assert!(!open);
                                open = true;
                            }
                            Why::Resolved => open = false,
                            _ => prop_assert!(open),
                        }
                    } else if item.why == Why::New {
                        owe(&mut book, "ops", item.place);
                    }
                }
                // Nothing is due twice in a pass that worked.
                if works {
                    prop_assert!(super::due(&book, "ops", &channel, &settings, at(minute), false).items.is_empty());
                    prop_assert_eq!(open, there);
                }
                prop_assert!(book.alerts.iter().filter(|alert| alert.resolved_at.is_none()).count() <= 1);
            }
        }
    }
}
