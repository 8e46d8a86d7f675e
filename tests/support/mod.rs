//! What the tests stand on.
pub mod binary;
pub mod cluster;
pub mod pooler;
pub mod posts;
pub mod proxy;
pub mod state;
