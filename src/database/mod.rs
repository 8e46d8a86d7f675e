//! Everything that talks to Postgres: where the URL comes from, TLS, the session, the statements, the catalog.

pub mod catalog;
pub mod connect;
mod conninfo;
mod password_file;
mod service_file;
pub mod session;
pub mod statement;
pub mod tls;
pub mod url;

pub use connect::ConnectError;
pub use url::UrlError;
