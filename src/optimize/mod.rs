//! Passes that make the system work better, one folder a subject.

pub mod content;
pub mod performance;
