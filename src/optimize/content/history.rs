//! With which weights posts were chosen, what healer changed, and where each weight stood four hours ago.
//!
//! `healer.content_weights` has a row for each instant from which other weights were in force, whoever set them. Rows
//! without a run were only noticed: somebody else had changed something.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::arm::Record;
use super::clock::HOURS;
use super::effect::Change;
use super::gate::Subject;
use super::observation::Kind;

/// Within this time a weight moves one step at most, however often healer runs.
pub const STEP_TIME: TimeDelta = TimeDelta::hours(4);

/// Ages of changes in days between which one each is followed: posts take days to come, and a change every four hours
/// would else push each out of sight before it can be judged.
const AGES: [i64; 6] = [1, 2, 4, 8, 16, 32];

/// The weights in force from an instant on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Noted {
    /// From when on.
    pub at: DateTime<Utc>,
    /// The run that set them; `None` where they were only noticed.
    pub run: Option<i64>,
    /// Active generators; `None` where no weights are known.
    pub generators: Option<BTreeMap<String, f64>>,
    /// Formats.
    pub formats: Option<BTreeMap<String, f64>>,
    /// Hours.
    pub hours: Option<BTreeMap<String, f64>>,
}

/// Name → weight, as JSON keeps it; `None` where it is no object of numbers.
pub fn map_of(value: &Value) -> Option<BTreeMap<String, f64>> {
    value.as_object()?.iter().map(|(name, weight)| Some((name.clone(), weight.as_f64()?))).collect()
}

/// The formats of a stored setting, in the order of [`Kind::FORMATS`]; `None` unless it names exactly them, with weights.
pub fn formats_of(map: &BTreeMap<String, f64>) -> Option<[f64; 2]> {
    let weight = |kind: Kind| map.get(kind.name()).copied().filter(|weight| (0.0..=1.0).contains(weight));
    Some([weight(Kind::FORMATS[0])?, weight(Kind::FORMATS[1])?]).filter(|_| map.len() == 2)
}

/// The hours of a stored setting; `None` unless it has all 24, with weights.
pub fn hours_of(map: &BTreeMap<String, f64>) -> Option<[f64; HOURS]> {
    let mut hours = [0.0; HOURS];
    for (hour, weight) in hours.iter_mut().enumerate() {
        *weight = map.get(&hour.to_string()).copied().filter(|weight| (0.0..=1.0).contains(weight))?;
    }
    (map.len() == HOURS).then_some(hours)
}

impl Noted {
    /// The weights of one subject.
    pub fn of(&self, subject: Subject) -> Option<&BTreeMap<String, f64>> {
        match subject {
            Subject::Generator => self.generators.as_ref(),
            Subject::Format => self.formats.as_ref(),
            Subject::Hour => self.hours.as_ref(),
        }
    }

    /// As the reader takes it.
    pub fn record(&self) -> Record {
        let formats = self.formats.as_ref().and_then(formats_of);
        let hours = self.hours.as_ref().and_then(hours_of);
        Record {
            at: self.at,
            generators: self.generators.iter().flatten().map(|(name, weight)| (name.clone(), *weight)).collect(),
            formats: formats.map(|weights| Kind::FORMATS.into_iter().zip(weights).collect()).unwrap_or_default(),
            hours: hours.map(|weights| weights.to_vec()).unwrap_or_default(),
        }
    }
}

/// Where a weight stood before the steps of the last four hours. `None`: it has not moved, or somebody else has set it
/// since, and steps are counted from there.
pub fn anchor(noted: &[Noted], subject: Subject, name: &str, weight: f64, now: DateTime<Utc>) -> Option<f64> {
    let same = |one: f64, other: f64| (one - other).abs() < 1e-9;
    let mut stood = weight;
    for (place, record) in noted.iter().enumerate().rev() {
        // Before it there were none: the first that was noted is as far back as is known.
        let Some(here) = record.of(subject).and_then(|weights| weights.get(name).copied()) else { break };
        if place + 1 == noted.len() && !same(here, weight) {
            // It was changed by somebody since it was last noted.
            return None;
        }
        stood = here;
        if record.at <= now - STEP_TIME {
            break;
        }
        let before = place.checked_sub(1).and_then(|place| noted[place].of(subject)?.get(name).copied());
        if record.run.is_none() && before.is_none_or(|before| !same(before, here)) {
            // Somebody else set it here, or it was new: steps are counted from this weight.
            break;
        }
    }
    Some(stood).filter(|stood| !same(*stood, weight))
}

/// A run that changed a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// The run.
    pub run: i64,
    /// What it moved.
    pub subject: Subject,
    /// When.
    pub at: DateTime<Utc>,
    /// When a person took it back.
    pub undone_at: Option<DateTime<Utc>>,
}

/// The changes to follow: of each subject one for each age, the oldest of it, and none that was taken back.
pub fn followed(changed: &[Changed], noted: &[Noted], now: DateTime<Utc>) -> Vec<Change> {
    let mut found = Vec::new();
    for subject in Subject::ALL {
        let mut younger = now;
        for days in AGES {
            let since = now - TimeDelta::days(days);
            let oldest = changed
                .iter()
                .filter(|change| change.subject == subject && change.undone_at.is_none())
                .filter(|change| change.at > since && change.at <= younger)
                .min_by_key(|change| change.at);
            younger = since;
            let Some(change) = oldest else { continue };
            let Some(before) =
                noted.iter().rev().find(|record| record.at < change.at && record.run != Some(change.run))
            else {
                continue;
            };
            if before.of(subject).is_some() {
                found.push(Change { run_id: change.run.to_string(), at: change.at, subject, before: before.record() });
            }
        }
    }
    found.sort_by_key(|change| change.at);
    found
}

/// For each subject the last run that a person took back, and until when it is left alone for that.
pub fn rests(changed: &[Changed], days: u32) -> [Option<(i64, DateTime<Utc>)>; 3] {
    Subject::ALL.map(|subject| {
        changed
            .iter()
            .filter(|change| change.subject == subject)
            .filter_map(|change| Some((change.run, change.undone_at? + TimeDelta::days(i64::from(days)))))
            .max_by_key(|(_, until)| *until)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-04-01T12:00:00Z".parse().expect("instant")
    }

    fn noted(hours_ago: i64, run: Option<i64>, weight: f64) -> Noted {
        let generators = BTreeMap::from([("coach".to_owned(), weight), ("other".to_owned(), 1.0 - weight)]);
        Noted { at: now() - TimeDelta::hours(hours_ago), run, generators: Some(generators), formats: None, hours: None }
    }

    fn anchored(records: &[Noted], weight: f64) -> Option<f64> {
        anchor(records, Subject::Generator, "coach", weight, now())
    }

    #[test]
    fn steps_are_counted_from_the_weight_of_four_hours_ago() {
        let records = [noted(9, None, 0.1), noted(5, Some(1), 0.2), noted(3, Some(2), 0.3), noted(1, Some(3), 0.4)];
        assert_eq!(anchored(&records, 0.4), Some(0.2));
    }

    #[test]
    fn what_has_not_moved_lately_has_no_anchor() {
        assert_eq!(anchored(&[noted(9, None, 0.1), noted(5, Some(1), 0.2)], 0.2), None);
        assert_eq!(anchored(&[], 0.2), None);
    }

    #[test]
    fn a_first_run_an_hour_ago_counts_from_what_it_found() {
        assert_eq!(anchored(&[noted(1, None, 0.1), noted(1, Some(1), 0.2)], 0.2), Some(0.1));
    }

    #[test]
    fn what_a_person_set_is_where_steps_are_counted_from() {
        let records = [noted(9, None, 0.1), noted(3, Some(1), 0.2), noted(2, None, 0.5), noted(1, Some(2), 0.6)];
        assert_eq!(anchored(&records, 0.6), Some(0.5));
        assert_eq!(anchored(&records, 0.3), None, "set by a person since it was last noted");
    }

    #[test]
    fn a_change_of_another_generator_is_no_change_of_this_one() {
        let mut other = noted(2, None, 0.2);
        other.generators.as_mut().expect("weights").insert("other".to_owned(), 0.5);
        assert_eq!(anchored(&[noted(9, None, 0.1), noted(3, Some(1), 0.2), other], 0.2), Some(0.1));
    }

    #[test]
    fn one_change_of_each_age_is_followed_and_none_that_was_taken_back() {
        let change = |run: i64, hours: i64, undone: bool| Changed {
            run,
            subject: Subject::Generator,
            at: now() - TimeDelta::hours(hours),
            undone_at: undone.then(now),
        };
        let records =
            [noted(200, None, 0.1), noted(100, Some(1), 0.2), noted(98, Some(2), 0.3), noted(3, Some(3), 0.4)];
        let all = [change(1, 100, false), change(2, 98, false), change(3, 3, false), change(4, 2, true)];
        let runs: Vec<String> = followed(&all, &records, now()).into_iter().map(|change| change.run_id).collect();
        assert_eq!(runs, ["1", "3"]);
        assert_eq!(rests(&all, 7)[0], Some((4, now() + TimeDelta::days(7))));
    }

    #[test]
    fn stored_weights_that_are_not_whole_are_not_taken() {
        let map = |text: &str| map_of(&serde_json::from_str(text).expect("JSON"));
        assert_eq!(map("{\"single\": 0.4, \"thread\": 0.6}").as_ref().and_then(formats_of), Some([0.4, 0.6]));
        assert_eq!(map("{\"single\": 0.4}").as_ref().and_then(formats_of), None);
        assert_eq!(map("{\"single\": \"x\"}"), None);
        assert_eq!(map("[1]"), None);
        assert_eq!(map("{\"0\": 1}").as_ref().and_then(hours_of), None);
    }
}
