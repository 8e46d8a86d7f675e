//! All integration tests in one binary: they share one server.

// Each file uses the part of the support that it needs; the rest is for the files to come.
#[allow(dead_code)]
mod support;

mod cases;
mod chaos;
mod command_line;
mod configuration;
mod connect;
mod dry_run;
mod observe;
mod permissions;
mod pooler;
mod sandbox;
mod settings;
mod stuck_posts;
mod test_support;
mod url;
