//! What the tests stand on.
pub mod binary;
pub mod cluster;
pub mod dice;
pub mod impostor;
pub mod pooler;
pub mod poster;
pub mod posts;
pub mod program;
pub mod proxy;
pub mod receiver;
pub mod state;
pub mod tls_cluster;
