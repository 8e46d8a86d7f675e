//! What stands in the weights table, as far as the decision needs it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::observation::Kind;

/// Status of a generator. The application posts by `active` ones only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Posts by its weight.
    Active,
    /// Rests after failing; it is tried again after a while.
    Testing,
    /// Switched off by a person; healer leaves it alone.
    Disabled,
    /// History.
    Archived,
}

impl Status {
    /// Reads the column's text. Unknown words and an empty column are treated as switched off: never moved.
    pub fn from_column(text: &str) -> Self {
        match text.trim().to_ascii_lowercase().as_str() {
            "active" => Self::Active,
            "testing" => Self::Testing,
            "archived" => Self::Archived,
            _ => Self::Disabled,
        }
    }
}

/// A row of the generator weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    /// Its name, as posts carry it.
    pub name: String,
    /// Its weight, 0 to 1.
    pub weight: f64,
    /// Its weight four hours ago, from the journal; `None` if it has not changed since.
    pub weight_four_hours_ago: Option<f64>,
    /// Its status.
    pub status: Status,
    /// A person has locked its weight.
    pub locked: bool,
    /// When its row last changed; `None` if unknown.
    pub changed_at: Option<DateTime<Utc>>,
}

/// The standing weight of a format or an hour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// Weight now, 0 to 1.
    pub weight: f64,
    /// Weight four hours ago; `None` if it has not changed since.
    pub weight_four_hours_ago: Option<f64>,
    /// A person has locked it.
    pub locked: bool,
}

impl Standing {
    /// An unlocked weight that has not changed lately.
    pub fn steady(weight: f64) -> Self {
        Self { weight, weight_four_hours_ago: None, locked: false }
    }
}

/// The weights that were in force from an instant on: with them, posts were chosen. An empty list means "not recorded".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// From when on.
    pub at: DateTime<Utc>,
    /// Active generators.
    pub generators: Vec<(String, f64)>,
    /// Formats that are chosen between.
    pub formats: Vec<(Kind, f64)>,
    /// Hours 0 to 23.
    pub hours: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_status_is_never_moved() {
        assert_eq!(Status::from_column("Active "), Status::Active);
        assert_eq!(Status::from_column("retired"), Status::Disabled);
        assert_eq!(Status::from_column(""), Status::Disabled);
    }
}
