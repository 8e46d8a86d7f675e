//! What the tests stand on.
pub mod cluster;
pub mod dice;
pub mod pooler;
pub mod poster;
pub mod proxy;
