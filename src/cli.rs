//! The command line as types. No logic lives here: what a flag means is decided where it is used.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::manual;

/// Keeps a Postgres-backed content-posting system healthy.
#[derive(Debug, Parser)]
#[command(
    name = "healer",
    version,
    about = "Keeps a Postgres-backed content-posting system healthy: one pass, then exit",
    long_about = "healer looks at the database of a content-posting system, says what is wrong, repairs what can be \
                  repaired without harm, and exits. It never posts, never deletes a post, and never queues a post \
                  again that any ledger shows as sent.",
    after_help = "Exit codes: 0 completed · 1 failure · 2 usage · 3 completed in part · 4 findings at --fail-on or \
                  --max-age exceeded · 75 temporary (database unreachable, read-only) · 77 no permission or hidden \
                  rows · 78 configuration · 130/143 interrupted.\n\
                  The database is named by DATABASE_URL (or --database-url-file, DATABASE_URL_FILE, PG* variables).",
    after_long_help = manual::after_help(),
    arg_required_else_help = true,
    propagate_version = true
)]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// File that holds the database URL (before `DATABASE_URL_FILE`, `DATABASE_URL` and PG* variables)
    #[arg(long, global = true, value_name = "F")]
    pub database_url_file: Option<PathBuf>,
    /// Configuration file [default: ./healer.toml, then /etc/healer/healer.toml, then built-in defaults]
    #[arg(long, global = true, value_name = "F")]
    pub config: Option<PathBuf>,
    /// What stdout gets
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Write the result to this file (whole or not at all) instead of stdout
    #[arg(long, global = true, value_name = "F")]
    pub output: Option<PathBuf>,
    /// Colours in tables
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
    /// Print nothing when all is well, one line for each check that is not
    #[arg(long, global = true)]
    pub quiet: bool,
    /// More log lines on stderr (-v, -vv, -vvv)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Stop after this long (90s, 10m, 2h), at the end of the running batch
    #[arg(long, global = true, value_name = "TIME", default_value = "10m")]
    pub timeout: String,
    /// Wait a random time up to this long before starting (many machines, one database); it is none of --timeout
    #[arg(long, global = true, value_name = "TIME")]
    pub jitter: Option<String>,
    /// Exit 4 when a check is at or above this level
    #[arg(long, global = true, value_enum, value_name = "LEVEL")]
    pub fail_on: Option<FailOn>,
    /// Nagios plugin output and exit codes (0 ok, 1 warning, 2 critical, 3 unknown)
    #[arg(long, global = true)]
    pub nagios: bool,
    /// Work on a throwaway Postgres with a believable sick system instead of the database
    #[cfg(feature = "sandbox")]
    #[arg(long, global = true, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    pub sandbox: Option<Option<PathBuf>>,
}

/// Formats of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables for people.
    Table,
    /// One JSON document.
    Json,
    /// One page for a browser (`report` only).
    Html,
    /// Figures for the textfile collector of Prometheus (`report` only).
    Prometheus,
}

/// When tables are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal without `NO_COLOR`.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The level from which `--fail-on` fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Warnings, criticals and what could not be measured.
    Warning,
    /// Criticals only.
    Critical,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Find stuck posts, missing ids and old failures, and repair them (acts unless --dry-run)
    #[command(long_about = manual::about("heal"), after_long_help = manual::after_command("heal"))]
    Heal(Heal),
    /// Find where time is lost and what earns more, and do something about it (acts unless --dry-run)
    #[command(long_about = manual::about("optimize"), after_long_help = manual::after_command("optimize"))]
    Optimize(Optimize),
    /// Say what is really going wrong: patterns of errors, their causes, what is new, what recovered
    #[command(long_about = manual::about("analyze-errors"), after_long_help = manual::after_command("analyze-errors"))]
    AnalyzeErrors(AnalyzeErrors),
    /// Show what is wrong now and what the last runs did
    #[command(long_about = manual::about("report"), after_long_help = manual::after_command("report"))]
    Report(Report),
    /// Create or upgrade the schema `healer` (safe to repeat)
    #[command(long_about = manual::about("init"), after_long_help = manual::after_command("init"))]
    Init(Init),
    /// Say whether healer can work here, and if not why (reads only)
    #[command(long_about = manual::about("doctor"), after_long_help = manual::after_command("doctor"))]
    Doctor,
    /// Decide on a held post
    #[command(long_about = manual::about("resolve"), after_long_help = manual::after_command("resolve"))]
    Resolve(Resolve),
    /// Bring back what a run changed, where nobody has changed it since
    #[command(long_about = manual::about("undo"), after_long_help = manual::after_command("undo"))]
    Undo(Undo),
    /// Print the completion script of a shell
    #[command(long_about = manual::about("completions"), after_long_help = manual::after_command("completions"))]
    Completions {
        /// The shell to write for
        shell: clap_complete::Shell,
    },
}

/// Options of `heal`.
#[derive(Debug, Args)]
pub struct Heal {
    /// Show what would be done; write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Run only this check (may be repeated): stuck-posts, missing-ids, browser-queue, database, circuit-breaker,
    /// old-failed, job-heartbeats, silence
    #[arg(long, value_name = "CHECK")]
    pub only: Vec<String>,
    /// Change at most N posts, and let N past the brake where it holds; 0 changes none
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub max_actions: Option<u32>,
}

/// Options of `optimize`.
#[derive(Debug, Args)]
pub struct Optimize {
    /// Which part [default: both, in turn]
    #[arg(value_enum)]
    pub part: Option<OptimizePart>,
    /// Show what would be done; write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Write the indexes and settings that would help into this file, as one migration for you to review and run
    #[arg(long, value_name = "FILE")]
    pub sql_out: Option<PathBuf>,
    /// Write a page on each slow job (durations, errors, its queries and their plans) into this folder
    #[arg(long, value_name = "DIR")]
    pub dossier: Option<PathBuf>,
}

/// Parts of `optimize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OptimizePart {
    /// Jobs, posting, resources, queries, and the database.
    Performance,
    /// Weights of generators, formats and hours.
    Content,
}

/// Options of `analyze-errors`.
#[derive(Debug, Args)]
pub struct AnalyzeErrors {
    /// The window: how far back errors are counted (1m to 90d)
    #[arg(long, value_name = "TIME", default_value = "24h")]
    pub since: String,
    /// Show what was found; store nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `report`.
#[derive(Debug, Args)]
pub struct Report {
    /// Which part
    #[arg(value_enum, default_value_t = ReportPart::All)]
    pub part: ReportPart,
    /// How far back trends and the last runs go (24h, 7d)
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub since: String,
    /// Exit 4 when the last successful run of a pass is older than this [default: twice the pass's interval, for passes
    /// that were ever run; `heal` 30m]
    #[arg(long, value_name = "TIME")]
    pub max_age: Option<String>,
    /// Send a sample over a channel `[alerts.channels.CHANNEL]` of the configuration, and read no database
    #[arg(long, value_name = "CHANNEL")]
    pub test_alert: Option<String>,
}

/// Parts of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportPart {
    /// Everything: what is wrong now, alerts, trends, the parts, the last runs.
    All,
    /// Stuck, held and recovering posts, and the last runs.
    Health,
    /// Jobs, posting and what the database needs, as `optimize performance` found it last.
    Performance,
    /// The weights of generators, formats and hours, and what they stand on.
    Content,
    /// What is going wrong, as `analyze-errors` found it.
    Errors,
    /// What will fail, be late or be full, and how good such forecasts were.
    Forecast,
}

/// Options of `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Print the SQL instead of running it; needs no database
    #[arg(long)]
    pub print_sql: bool,
    /// Note every run of the system's jobs by a trigger behind the heartbeat table
    #[arg(long, conflicts_with = "untrack_jobs")]
    pub track_jobs: bool,
    /// Take that trigger away again
    #[arg(long)]
    pub untrack_jobs: bool,
}

/// Options of `resolve`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("decision").required(true).args(["posted", "queue", "fail"])))]
pub struct Resolve {
    /// Id of the held post (`healer report health` lists them)
    pub post: String,
    /// It was sent: mark it posted with this id, as the site gave it
    #[arg(long, value_name = "ID")]
    pub posted: Option<String>,
    /// It was not sent: queue it again
    #[arg(long)]
    pub queue: bool,
    /// Give it up: mark it failed
    #[arg(long)]
    pub fail: bool,
    /// Show what would be done; write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `undo`.
#[derive(Debug, Args)]
pub struct Undo {
    /// The run to take back (`healer report health` lists them)
    pub run_id: i64,
    /// Take back only what this check did (may be repeated), as `stuck-posts`
    #[arg(long, value_name = "CHECK")]
    pub only: Vec<String>,
    /// Show what would be done; write nothing
    #[arg(long)]
    pub dry_run: bool,
}
