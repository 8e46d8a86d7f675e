//! Results: what a command says, as JSON and as tables.

pub mod health;
pub mod model;
pub mod table;
