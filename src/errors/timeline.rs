//! What happened just before an error appeared, and what followed a burst of it.
//!
//! That something happened before is no proof that it was the cause; it is where to look first.

use serde::{Deserialize, Serialize};

use super::stamp;

/// How long before an error something counts as just before: a deployment reaches the last worker within it.
const BEFORE: i64 = 2 * super::tally::HOUR;
/// How long after a burst an opening breaker still belongs to it.
const AFTER: i64 = super::tally::HOUR / 2;
/// Longest time after the last error in which its end is looked for.
const MAX_END: i64 = 24 * super::tally::HOUR;
/// What is listed beside one pattern.
const LISTED: usize = 3;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A new version.
    Deploy,
    /// A setting was changed.
    Setting,
    /// healer changed posts.
    Healing,
    /// The circuit breaker opened.
    BreakerOpened,
    /// It closed.
    BreakerClosed,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// What.
    pub kind: Kind,
    /// In words.
    pub title: String,
}

/// A marker beside a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beside {
    /// When.
    pub at: String,
    /// What.
    pub kind: Kind,
    /// In words.
    pub title: String,
    /// Seconds between it and what it stands beside.
    pub seconds: i64,
}

fn beside(marker: &Marker, at: i64) -> Beside {
    Beside {
        at: stamp(marker.at),
        kind: marker.kind,
        title: marker.title.clone(),
        seconds: (at - marker.at).abs() / 1_000,
    }
}

/// What happened just before `at`, the nearest first. A deployment is named even where more recent things crowd it out.
pub fn before(markers: &[Marker], at: i64) -> Vec<Beside> {
    let mut found: Vec<&Marker> = markers
        .iter()
        .rev()
        .filter(|marker| marker.at <= at && at - marker.at <= BEFORE && marker.kind != Kind::BreakerClosed)
        .collect();
    found.sort_by_key(|marker| (marker.kind != Kind::Deploy, at - marker.at));
    found.truncate(LISTED);
    found.sort_by_key(|marker| at - marker.at);
    found.into_iter().map(|marker| beside(marker, at)).collect()
}

/// Breakers that opened while a burst lasted or just after it, and when they closed.
pub fn during(markers: &[Marker], from: i64, to: i64) -> Vec<Beside> {
    let Some(opened) = markers
        .iter()
        .position(|marker| marker.kind == Kind::BreakerOpened && marker.at >= from && marker.at <= to + AFTER)
    else {
        return Vec::new();
    };
    let closed = markers[opened..].iter().find(|marker| marker.kind == Kind::BreakerClosed);
    [Some(&markers[opened]), closed].into_iter().flatten().map(|marker| beside(marker, from)).collect()
}

/// What may have ended an error that was last seen at `last` and came every `gap` milliseconds: what was deployed or set
/// before the next one was due.
pub fn ended(markers: &[Marker], last: i64, gap: i64) -> Vec<Beside> {
    let until = last.saturating_add(gap.saturating_mul(3).clamp(BEFORE, MAX_END));
    markers
        .iter()
        .filter(|marker| marker.at >= last && marker.at <= until)
        .filter(|marker| matches!(marker.kind, Kind::Deploy | Kind::Setting))
        .take(LISTED)
        .map(|marker| beside(marker, last))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(at: i64, kind: Kind) -> Marker {
        Marker { at, kind, title: String::new() }
    }

    fn kinds(found: &[Beside]) -> Vec<Kind> {
        found.iter().map(|beside| beside.kind).collect()
    }

    #[test]
    fn just_before_is_two_hours_and_never_after() {
        let of = |at| kinds(&before(&[marker(at, Kind::Deploy)], BEFORE * 2));
        assert_eq!(
            [of(BEFORE).len(), of(BEFORE - 1).len(), of(BEFORE * 2).len(), of(BEFORE * 2 + 1).len()],
            [1, 0, 1, 0]
        );
    }

    #[test]
    fn a_deployment_is_named_among_many_healing_runs() {
        let mut markers = vec![marker(0, Kind::Deploy)];
        markers.extend((1..10).map(|at| marker(at, Kind::Healing)));
        assert_eq!(kinds(&before(&markers, 20)), [Kind::Healing, Kind::Healing, Kind::Deploy]);
    }

    #[test]
    fn the_breaker_that_a_burst_opened_is_told_with_its_closing() {
        let markers =
            [marker(50, Kind::BreakerClosed), marker(120, Kind::BreakerOpened), marker(180, Kind::BreakerClosed)];
        assert_eq!(kinds(&during(&markers, 100, 110)), [Kind::BreakerOpened, Kind::BreakerClosed]);
        assert_eq!(during(&markers, 130, 140), []);
    }

    #[test]
    fn what_was_deployed_before_the_next_error_was_due_may_have_ended_it() {
        let hour = super::super::tally::HOUR;
        let markers = [marker(0, Kind::Deploy), marker(5 * hour, Kind::Deploy), marker(5 * hour, Kind::Healing)];
        assert_eq!(kinds(&ended(&markers, 1, 2 * hour)), [Kind::Deploy]);
        assert_eq!(ended(&markers, 1, hour), []);
    }
}
