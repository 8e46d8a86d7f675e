//! The brake: how much one run may requeue. Pure; what it must know is read by the pass.

use crate::settings::Brake;

/// What the brake must know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Requeues of the last 24 hours.
    pub requeued_day: u64,
    /// Whether an earlier run stopped and nobody has released the brake since.
    pub latched: bool,
    /// Why the circuit breaker counts as open; `None` where it does not.
    pub breaker_open: Option<String>,
    /// Of the posts rescued in the last 6 hours: how many, and how many failed or got stuck again.
    pub rescued: u64,
    /// See `rescued`.
    pub gone_wrong: u64,
    /// Queued, ready and posting posts, counted at least as far as the decision needs.
    pub open_posts: u64,
}

/// What the brake decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// How many requeues may go ahead.
    pub allowed: u64,
    /// Why not all of them.
    pub reason: Option<String>,
    /// Whether the brake is on from now on, for later runs too.
    pub latches: bool,
}

/// Rescues of the last 6 hours below which their failing says nothing.
const RESCUES_TO_JUDGE: u64 = 5;

/// Decides on `wanted` requeues. `released` is `--max-actions`; 0 lets nothing go, and so releases nothing.
pub fn decide(wanted: u64, state: &State, settings: &Brake, released: Option<u64>) -> Decision {
    let still_on = state.latched && released.is_none_or(|limit| limit == 0);
    let stop = |reason: String, latches| Decision { allowed: 0, reason: Some(reason), latches };
    if wanted == 0 {
        return Decision { allowed: 0, reason: None, latches: still_on };
    }
    if let Some(why) = &state.breaker_open {
        return stop(why.clone(), false);
    }
    if state.rescued >= RESCUES_TO_JUDGE && state.gone_wrong * 2 > state.rescued {
        return stop(
            format!(
                "{} of the {} posts rescued in the last 6 hours failed or got stuck again",
                state.gone_wrong, state.rescued
            ),
            false,
        );
    }
    if let Some(limit) = released {
        let allowed = wanted.min(limit);
        let reason = (allowed < wanted).then(|| format!("--max-actions {limit} is less than the {wanted} wanted"));
        return Decision { allowed, reason, latches: still_on };
    }
    if wanted > u64::from(settings.per_run) {
        return stop(format!("{wanted} requeues wanted, at most {} in one run", settings.per_run), true);
    }
    if state.requeued_day + wanted > u64::from(settings.per_day) {
        return stop(
            format!(
                "{wanted} requeues wanted, {} done in 24 hours, at most {} together",
                state.requeued_day, settings.per_day
            ),
            true,
        );
    }
    if wanted > u64::from(settings.share_from) && wanted as f64 > settings.share * state.open_posts as f64 {
        return stop(format!("{wanted} requeues wanted of {} queued, ready and posting posts", state.open_posts), true);
    }
    if state.latched {
        return stop("an earlier run stopped here and nobody has released the brake since".into(), true);
    }
    Decision { allowed: wanted, reason: None, latches: false }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn open(posts: u64) -> State {
        State { open_posts: posts, ..State::default() }
    }

    fn allowed(wanted: u64, state: &State) -> u64 {
        decide(wanted, state, &Brake::default(), None).allowed
    }

    #[test]
    fn twenty_five_in_a_run_go_and_twenty_six_do_not() {
        assert_eq!(allowed(25, &open(1_000)), 25);
        assert_eq!(allowed(26, &open(1_000)), 0);
    }

    #[test]
    fn the_hundredth_of_a_day_goes_and_the_next_does_not() {
        assert_eq!(allowed(10, &State { requeued_day: 90, ..open(1_000) }), 10);
        assert_eq!(allowed(10, &State { requeued_day: 91, ..open(1_000) }), 0);
    }

    #[test]
    fn above_twenty_half_of_the_open_posts_go_and_more_do_not() {
        assert_eq!(allowed(20, &open(20)), 20);
        assert_eq!(allowed(22, &open(44)), 22);
        assert_eq!(allowed(22, &open(43)), 0);
    }

    #[test]
    fn a_brake_that_came_on_stays_on_until_somebody_releases_it() {
        let latched = State { latched: true, ..open(1_000) };
        assert_eq!(allowed(1, &latched), 0);
        assert_eq!(decide(1, &latched, &Brake::default(), Some(10)).allowed, 1);
        assert!(decide(0, &latched, &Brake::default(), None).latches);
        let nothing = decide(1, &latched, &Brake::default(), Some(0));
        assert_eq!((nothing.allowed, nothing.latches), (0, true), "0 releases nothing");
        assert!(decide(0, &latched, &Brake::default(), Some(0)).latches);
    }

    #[test]
    fn an_open_breaker_stops_everything_even_a_released_brake() {
        let state = State { breaker_open: Some("signal".into()), ..open(1_000) };
        assert_eq!(decide(1, &state, &Brake::default(), Some(10)).allowed, 0);
    }

    #[test]
    fn rescues_that_go_wrong_stop_further_ones() {
        let state = |rescued, gone_wrong| State { rescued, gone_wrong, ..open(1_000) };
        assert_eq!(allowed(1, &state(4, 4)), 1, "four are too few to judge");
        assert_eq!(allowed(1, &state(6, 3)), 1, "half is not more than half");
        assert_eq!(allowed(1, &state(5, 3)), 0);
    }

    #[test]
    fn a_released_brake_lets_as_many_go_as_was_said() {
        let decision = decide(500, &open(500), &Brake::default(), Some(100));
        assert_eq!((decision.allowed, decision.latches), (100, false));
        assert!(decision.reason.is_some());
    }

    proptest! {
        #[test]
        fn the_brake_lets_all_go_or_none_unless_it_was_released(
            wanted in 0_u64..200, day in 0_u64..200, posts in 0_u64..500, latched: bool,
        ) {
            let state = State { requeued_day: day, latched, ..open(posts) };
            let decision = decide(wanted, &state, &Brake::default(), None);
            prop_assert!(decision.allowed == 0 || decision.allowed == wanted);
            prop_assert!(decision.allowed <= 25);
            prop_assert!(decision.allowed == 0 || day + decision.allowed <= 100);
            prop_assert_eq!(decision.allowed < wanted, decision.reason.is_some());
        }

        #[test]
        fn a_released_brake_never_lets_more_go_than_was_said(wanted in 0_u64..1_000, limit in 0_u64..1_000) {
            let decision = decide(wanted, &open(0), &Brake::default(), Some(limit));
            prop_assert!(decision.allowed <= limit && decision.allowed <= wanted);
        }
    }
}
