//! healer keeps a Postgres-backed content-posting system healthy. Each command is one pass over the database.
//!
//! The way of the data: arguments → [`settings`] → [`database::session`] → [`database::catalog`] → the checks of
//! [`heal`] → [`change::plan`] → shown, or applied and journalled by [`change`] → [`report`] → exit code.

pub mod alert;
pub mod change;
pub mod cli;
pub mod command;
#[cfg(feature = "chaos-controls")]
pub mod control;
pub mod database;
pub mod doctor;
pub mod error;
pub mod errors;
pub mod exit;
pub mod forecast;
pub mod heal;
pub mod manual;
pub mod optimize;
pub mod pass;
pub mod posts;
pub mod report;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod scaling;
pub mod schema;
pub mod settings;
pub mod start;
pub mod tuning;
pub mod zone;
