//! What a post is judged by: one number a post, on a scale where one lucky post does not outweigh fifty good ones.
//!
//! A rate is taken per 1,000 impressions and put on the *signed log scale* `sign(r)·ln(1 + |r|)`. Averages on that scale,
//! taken back, are the **typical rate**: a geometric mean of `1 + r`. It is defined for zero and for losses (followers can
//! be lost), is nearly proportional for rates well above 1 per 1,000, and moves by a factor of 1.1, not of 2, when one of
//! fifty posts earns a hundred times the usual. The raw mean stands beside it in the output and decides nothing.

use serde::{Deserialize, Serialize};

use super::observation::Post;
use super::settings::SettingsError;

/// Rates beyond this are cut. No post earns a million engagements per impression; the limit keeps sums of squares exact.
const RATE_LIMIT: f64 = 1e9;

/// What a post is judged by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// `likes + 2·retweets + 3·replies` per 1,000 impressions.
    #[default]
    Engagement,
    /// Followers gained per 1,000 impressions (F/1K).
    FollowersPer1k,
    /// Another column of the outcomes, per 1,000 impressions.
    ColumnPer1k(String),
    /// Another column of the outcomes as it stands.
    Column(String),
}

/// Why a post has no value for the objective.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoValue {
    /// A number that the objective needs was not measured.
    Unmeasured,
    /// Impressions are missing, zero or negative, so there is no rate.
    NoImpressions,
    /// A count is not a number, infinite, or negative where that is impossible.
    Impossible,
}

impl Objective {
    /// Name for the output, with its unit.
    pub fn describe(&self) -> String {
        match self {
            Self::Engagement => "typical engagement (likes + 2·retweets + 3·replies) per 1,000 impressions".to_owned(),
            Self::FollowersPer1k => "typical followers gained per 1,000 impressions (F/1K)".to_owned(),
            Self::ColumnPer1k(name) => format!("typical {name} per 1,000 impressions"),
            Self::Column(name) => format!("typical {name}"),
        }
    }

    /// Refuses a column without a name.
    pub fn validated(&self) -> Result<(), SettingsError> {
        match self {
            Self::ColumnPer1k(name) | Self::Column(name) if name.trim().is_empty() => {
                Err(SettingsError::OutOfRange { key: "objective", value: name.clone(), range: "the name of a column" })
            }
            _ => Ok(()),
        }
    }

    /// The post's value in the objective's own unit (a rate per 1,000 impressions, or the column itself).
    pub fn value(&self, post: &Post<'_>) -> Result<f64, NoValue> {
        let value = match self {
            Self::Engagement => {
                let (Some(likes), Some(retweets), Some(replies)) = (post.likes, post.retweets, post.replies) else {
                    return Err(NoValue::Unmeasured);
                };
                for count in [likes, retweets, replies] {
                    if !count.is_finite() || count < 0.0 {
                        return Err(NoValue::Impossible);
                    }
                }
                per_1k(likes + 2.0 * retweets + 3.0 * replies, post.impressions)?
            }
            Self::FollowersPer1k => per_1k(post.measured_followers().ok_or(NoValue::Unmeasured)?, post.impressions)?,
            Self::ColumnPer1k(_) => per_1k(post.column.ok_or(NoValue::Unmeasured)?, post.impressions)?,
            Self::Column(_) => post.column.ok_or(NoValue::Unmeasured)?,
        };
        if value.is_finite() { Ok(value.clamp(-RATE_LIMIT, RATE_LIMIT)) } else { Err(NoValue::Impossible) }
    }
}

/// A count per 1,000 impressions.
fn per_1k(count: f64, impressions: Option<f64>) -> Result<f64, NoValue> {
    match impressions {
        Some(seen) if seen.is_nan() => Err(NoValue::Impossible),
        Some(seen) if seen > 0.0 => Ok(count / seen * 1_000.0),
        _ => Err(NoValue::NoImpressions),
    }
}

/// Rate → signed log scale.
pub fn to_log(rate: f64) -> f64 {
    rate.abs().ln_1p().copysign(rate)
}

/// Signed log scale → rate.
pub fn from_log(z: f64) -> f64 {
    z.abs().exp_m1().copysign(z)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimize::content::observation::Kind;
    use proptest::prelude::*;

    fn post() -> Post<'static> {
        Post {
            generator: "coach",
            kind: Kind::Single,
            impressions: Some(2_000.0),
            likes: Some(10.0),
            retweets: Some(4.0),
            replies: Some(2.0),
            ..Post::default()
        }
    }

    #[test]
    fn engagement_counts_retweets_twice_and_replies_three_times() {
        assert_eq!(Objective::Engagement.value(&post()), Ok(12.0));
    }

    #[test]
    fn no_impressions_is_no_rate_and_not_zero() {
        for impressions in [None, Some(0.0), Some(-5.0)] {
            assert_eq!(Objective::Engagement.value(&Post { impressions, ..post() }), Err(NoValue::NoImpressions));
        }
    }

    #[test]
    fn an_unmeasured_part_is_unmeasured_and_not_zero() {
        assert_eq!(Objective::Engagement.value(&Post { retweets: None, ..post() }), Err(NoValue::Unmeasured));
    }

    #[test]
    fn followers_zero_counts_only_where_something_was_measured() {
        let bare = Post { followers_gained: Some(0.0), ..post() };
        assert_eq!(Objective::FollowersPer1k.value(&bare), Err(NoValue::Unmeasured));
        let measured = Post { followers_before: Some(500.0), followers_after: Some(500.0), ..bare };
        assert_eq!(Objective::FollowersPer1k.value(&measured), Ok(0.0));
    }

    #[test]
    fn lost_followers_are_a_value() {
        let lost = Post { followers_gained: Some(-4.0), ..post() };
        assert_eq!(Objective::FollowersPer1k.value(&lost), Ok(-2.0));
    }

    proptest! {
        #[test]
        fn the_log_scale_can_be_taken_back(rate in -1e8_f64..1e8) {
            let back = from_log(to_log(rate));
            prop_assert!((back - rate).abs() <= 1e-9 * (1.0 + rate.abs()));
        }

        #[test]
        fn whatever_the_counts_a_value_is_finite(likes in any::<f64>(), seen in any::<f64>(), column in any::<f64>()) {
            let odd = Post { likes: Some(likes), impressions: Some(seen), column: Some(column), ..post() };
            for objective in [Objective::Engagement, Objective::ColumnPer1k("x".into()), Objective::Column("x".into())] {
                if let Ok(value) = objective.value(&odd) {
                    prop_assert!(to_log(value).is_finite());
                }
            }
        }
    }
}
