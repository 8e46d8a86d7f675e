//! `healer optimize content`: which generator, format and hour earn more, and weights that follow it carefully.
//!
//! The way of the data: posts → [`Reader`] (what counts, sums, wagers) → [`Evidence`] → [`decide`] (model, probability to
//! be the best, proof, rules) → [`Plan`]. All that is pure: no database, no clock but the `now` that is given, no
//! randomness but the seeded one. [`reading`] brings the posts from the database (it only reads), and `change::weights`
//! writes what the plan says. What it never does: change weights on fewer posts than asked for, move a locked,
//! disabled or archived generator, or write.

// Counts of posts, draws and seconds stay far below 2^52, where a double is exact.
#![allow(clippy::cast_precision_loss)]

pub mod arm;
pub mod choice;
pub mod clock;
pub mod effect;
pub mod gate;
pub mod history;
pub mod model;
pub mod objective;
pub mod observation;
pub mod pass;
pub mod plan;
pub mod reading;
pub mod settings;
pub mod show;
pub mod tables;
pub mod weights;

pub use arm::{Arm, Record, Standing, Status};
pub use effect::{Change, Outcome, Share};
pub use gate::Subject;
pub use objective::Objective;
pub use observation::{Evidence, Kind, LeftOut, Post, Reader};
pub use plan::{ArmPlan, Memory, NoChange, Plan, SubjectPlan, Weights, decide};
pub use settings::{Settings, SettingsError};
