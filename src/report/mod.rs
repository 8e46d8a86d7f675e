//! Results: what a command says, as JSON and as tables.

pub mod chart;
pub mod checks;
pub mod content;
pub mod errors;
pub mod forecast;
pub mod health;
pub mod html;
pub mod model;
pub mod part;
pub mod performance;
pub mod prometheus;
pub mod spark;
pub mod table;
pub mod whole;
