//! What writes: the plan, the brake, the lease, the batches with their journal, undo and a person's decisions.
//!
//! The safety rules live here once, by kind of change and never by check.

pub mod batch;
pub mod brake;
pub mod lease;
pub mod maintenance;
pub mod plan;
pub mod request;
pub mod resolve;
pub mod retention;
pub mod setting;
pub mod undo;
pub mod weights;
