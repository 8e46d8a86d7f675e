//! All integration tests in one binary: they share one server.

// Each file uses the part of the support that it needs; the rest is for the files to come.
#[allow(dead_code)]
mod support;

mod alerts;
mod cases;
mod chaos;
mod command_line;
mod configuration;
mod connect;
mod content;
mod deploy;
mod dry_run;
mod errors;
mod forecast;
mod handbook;
mod observe;
mod performance;
mod permissions;
mod plans;
mod pooler;
mod report;
mod sandbox;
mod scaling;
mod schedules;
mod settings;
mod settings_page;
mod stuck_posts;
mod test_support;
mod tuning;
mod upgrade;
mod url;
