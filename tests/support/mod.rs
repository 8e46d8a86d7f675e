//! What the tests stand on.
pub mod cluster;
pub mod impostor;
pub mod pooler;
pub mod program;
pub mod proxy;
pub mod tls_cluster;
