//! The commands: parse, run, print, exit code.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{CommandFactory, Parser, error::ErrorKind};
use serde_json::{Value, json};

use crate::alert::{self, Watch};
use crate::change::{resolve, undo};
use crate::cli::{Cli, Color, Command, FailOn, Format, Global, OptimizePart, ReportPart};
#[cfg(feature = "sandbox")]
use crate::database::catalog::SCHEMA_VERSION;
use crate::database::session::StopFlag;
use crate::database::url::{self, Surroundings};
use crate::doctor;
use crate::error::Error;
use crate::errors::{self, pass::AnalyzeErrors};
use crate::exit;
use crate::heal::{Status, pass};
use crate::optimize::content;
use crate::optimize::performance;
use crate::report::model::{Done, PassReport};
use crate::report::part::Ask;
use crate::report::table::{self, Look};
use crate::report::whole::{self, Whole};
use crate::report::{content as content_report, errors as errors_report, performance as performance_report};
use crate::report::{forecast, health, html, model, prometheus};
use crate::schema;
use crate::settings::Span;
use crate::start::{self, Origin, Start};

/// What a command gives to print, and the exit code.
struct Output {
    table: String,
    json: Value,
    quiet: String,
    nagios: Option<String>,
    exit_code: u8,
    /// Whether there is no result but an error.
    failed: bool,
    /// What the passes gave, for the alerts.
    outcomes: Vec<alert::rules::Outcome>,
}

impl Output {
    /// A result with exit code 0.
    fn new(table: String, json: Value, quiet: String) -> Self {
        Self { table, json, quiet, nagios: None, exit_code: 0, failed: false, outcomes: Vec::new() }
    }

    /// This result and the next one as one: one document with both in it, one after the other for people.
    fn and(self, command: &str, next: Self) -> Self {
        let (nagios, exit_code) = match (&self.nagios, &next.nagios) {
            (Some(first), Some(second)) => {
                let code = table::graver(self.exit_code, next.exit_code);
                (Some(one_line(first, second, code)), code)
            }
            _ => (None, exit::strongest([self.exit_code, next.exit_code])),
        };
        let json = json!({
            "schemaVersion": model::SCHEMA_VERSION, "command": command, "exitCode": exit_code,
            "passes": [self.json, next.json],
        });
        let table = format!("{}\n{}", self.table, next.table);
        let outcomes = self.outcomes.into_iter().chain(next.outcomes).collect();
        Self {
            nagios,
            exit_code,
            outcomes,
            failed: self.failed && next.failed,
            ..Self::new(table, json, self.quiet + &next.quiet)
        }
    }

    /// The same as a Nagios plugin says it, where that is asked for.
    fn for_nagios(mut self, global: &Global, statuses: &[Status], verdict: &str) -> Self {
        if global.nagios {
            let (line, code) = table::nagios_line(statuses.iter().copied(), verdict, self.exit_code);
            self.nagios = Some(line + "\n");
            self.exit_code = code;
        }
        self
    }
}

/// Two lines of a plugin as one, which is all that is read of it: the graver word, what both say, the figures of both.
fn one_line(first: &str, second: &str, code: u8) -> String {
    let parts = |line: &str| {
        let (said, figures) = line.trim_end().split_once(" |").unwrap_or((line.trim_end(), ""));
        let said = said.split_once(" - ").map_or(said, |(_, said)| said);
        (said.to_owned(), figures.to_owned())
    };
    let ((first, figures), (second, more)) = (parts(first), parts(second));
    format!("HEALER {} - {first}; {second} |{figures}{more}\n", table::plugin_word(code))
}

/// Runs the command line and gives the exit code.
pub fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let stop = StopFlag::default();
    logging(cli.global.verbose, cli.global.quiet);
    if let Err(error) = signals(&stop) {
        log::warn!(target: "healer", "signals cannot be caught: {error}");
    }
    let name = command_name(&cli.command);
    let output = match run(&cli, stop) {
        Ok(output) => output,
        Err(error) => failure(name, &cli.global, &error),
    };
    match print(&cli.global, &output) {
        Ok(()) => output.exit_code,
        Err(error) => {
            complain(&error);
            exit::strongest([output.exit_code, error.exit_code()])
        }
    }
}

/// Usage errors go to stderr with exit 2; help and version are results.
fn usage(error: &clap::Error) -> u8 {
    let text = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = write!(std::io::stdout(), "{text}");
            0
        }
        _ => {
            let _ = write!(std::io::stderr(), "{text}");
            if asks_for_json(std::env::args_os().skip(1)) {
                let plain = text.to_string();
                let mut lines = plain.lines().map(str::trim).filter(|line| !line.is_empty());
                let message = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
                let hint = lines.collect::<Vec<_>>().join(" ");
                let document = model::failure("healer", &Error::Usage { message, hint });
                let _ = writeln!(std::io::stdout(), "{document:#}");
            }
            2
        }
    }
}

/// Whether a command line that cannot be read asks for JSON all the same: whoever reads stdout expects it.
fn asks_for_json(arguments: impl Iterator<Item = std::ffi::OsString>) -> bool {
    let arguments: Vec<_> = arguments.take_while(|argument| argument != "--").collect();
    arguments.iter().any(|argument| argument == "--format=json")
        || arguments.windows(2).any(|pair| pair[0] == "--format" && pair[1] == "json")
}

fn command_name(command: &Command) -> &'static str {
    match command {
        Command::Heal(_) => "heal",
        Command::Optimize(_) => "optimize",
        Command::AnalyzeErrors(_) => "analyze-errors",
        Command::Report(_) => "report",
        Command::Init(_) => "init",
        Command::Doctor => "doctor",
        Command::Resolve(_) => "resolve",
        Command::Undo(_) => "undo",
        Command::Completions { .. } => "completions",
    }
}

/// Only healer's own targets are ever opened: the driver logs parameters.
fn logging(verbose: u8, quiet: bool) {
    let level = match (verbose, quiet) {
        (0, true) => log::LevelFilter::Error,
        (0, false) => log::LevelFilter::Warn,
        (1, _) => log::LevelFilter::Info,
        (2, _) => log::LevelFilter::Debug,
        _ => log::LevelFilter::Trace,
    };
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Off)
        .filter_module("healer", level)
        // What servers say may hold control characters, and goes to a terminal.
        .format(|out, record| {
            let text = table::clean(&record.args().to_string());
            writeln!(out, "{} {text}", record.level().as_str().to_lowercase())
        })
        .target(env_logger::Target::Stderr)
        .init();
}

fn signals(stop: &StopFlag) -> std::io::Result<()> {
    let mut arriving =
        signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])?;
    let stop = stop.clone();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in &mut arriving {
            stop.set(signal);
            log::info!(target: "healer", "signal {signal}: stopping when the running batch has ended");
        }
    })?;
    Ok(())
}

fn run(cli: &Cli, stop: StopFlag) -> Result<Output, Error> {
    if matches!(cli.global.format, Format::Html | Format::Prometheus) && !matches!(cli.command, Command::Report(_)) {
        return Err(Error::Usage {
            message: "--format html and prometheus are for `report`".into(),
            hint: "healer report --format html --output report.html".into(),
        });
    }
    match &cli.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "healer", &mut script);
            return Ok(text_only(String::from_utf8_lossy(&script).into_owned()));
        }
        Command::Init(args) if args.print_sql && !args.track_jobs && !args.untrack_jobs => {
            return Ok(text_only(schema::sql()));
        }
        _ => {}
    }
    let timeout = start::span("--timeout", &cli.global.timeout)?;
    let report_spans = match &cli.command {
        Command::Report(args) => Some((
            start::span("--since", &args.since)?,
            args.max_age.as_deref().map(|text| start::span("--max-age", text)).transpose()?,
        )),
        _ => None,
    };
    let deadline = due(&cli.global, timeout, random_share(), &stop)?;
    let settings = start::settings(cli.global.config.as_deref(), is_sandboxed(&cli.global))?;
    if let Command::Report(args) = &cli.command
        && let Some(channel) = &args.test_alert
    {
        if is_sandboxed(&cli.global) {
            return Err(Error::Usage {
                message: "--test-alert calls a real channel, and the sandbox tells nobody".into(),
                hint: format!("leave --sandbox out: healer report --test-alert {channel}"),
            });
        }
        let said = alert::test(&settings, channel, &stop)?;
        return Ok(text_only(format!("{said}\n")).for_nagios(&cli.global, &[], &said));
    }
    let around = Surroundings::of_process();
    #[cfg(feature = "sandbox")]
    let sandbox = sandbox(&cli.global, &around)?;
    #[cfg(feature = "sandbox")]
    let target = match &sandbox {
        // What is set on this machine is meant for the real database.
        Some(sandbox) => url::parse(&sandbox.url(), url::UrlSource::Sandbox, &Surroundings::none()),
        None => url::resolve(cli.global.database_url_file.as_deref(), &around),
    };
    #[cfg(not(feature = "sandbox"))]
    let target = url::resolve(cli.global.database_url_file.as_deref(), &around);
    let database = target.as_ref().ok().map(|target| target.dbname.clone());
    let watch = Watch::begin(&settings, database.as_deref(), acting(&cli.command), &stop);
    let opened = target.map_err(Error::from).and_then(|target| Origin { target, deadline, stop, settings }.open());
    let mut start = match opened {
        Ok(start) => start,
        Err(error) => {
            let mut result = Err(error);
            tell(watch, None, &cli.command, &mut result);
            return result;
        }
    };
    let global = &cli.global;
    #[cfg(feature = "sandbox")]
    if sandbox.is_some() && start.catalog.server.schema.is_some_and(|found| found < SCHEMA_VERSION) {
        // A sandbox of an earlier healer: nobody runs `init` on it.
        schema::init(&mut start.session, &start.catalog)?;
        start = start.origin.open()?;
    }
    let mut result = match &cli.command {
        Command::Heal(args) => heal(&mut start, global, args),
        Command::Optimize(args) => optimize(&mut start, global, args),
        Command::AnalyzeErrors(args) => analyze_errors(&mut start, global, args),
        Command::Report(args) => report(&mut start, global, args, report_spans),
        Command::Init(args) => init(&mut start, global, args),
        Command::Doctor => examine(&mut start, global),
        Command::Resolve(args) => decide(&mut start, global, args),
        Command::Undo(args) => take_back(&mut start, global, args),
        Command::Completions { .. } => Ok(text_only(String::new())),
    };
    tell(watch, Some(&mut start), &cli.command, &mut result);
    result
}

/// The passes that a command means to act by: what is pinged when it begins, and told of when it fails before it can.
fn acting(command: &Command) -> &'static [&'static str] {
    match command {
        Command::Heal(args) if !args.dry_run => &["heal"],
        Command::Optimize(args) if !args.dry_run => match args.part {
            Some(OptimizePart::Performance) => &["optimize-performance"],
            Some(OptimizePart::Content) => &["optimize-content"],
            None => &["optimize-performance", "optimize-content"],
        },
        Command::AnalyzeErrors(args) if !args.dry_run => &["analyze-errors"],
        _ => &[],
    }
}

/// Tells by the alerts what a command found, and says which channels could not be told.
fn tell(watch: Watch, start: Option<&mut Start>, command: &Command, result: &mut Result<Output, Error>) {
    let (mut outcomes, exit_code) = match result {
        Ok(output) => (std::mem::take(&mut output.outcomes), output.exit_code),
        Err(error) => (watch.failed(error), error.exit_code()),
    };
    // A dry run tells nobody.
    outcomes.retain(|outcome| !outcome.dry_run);
    if let Command::Heal(args) = command {
        for outcome in &mut outcomes {
            outcome.all_checks &= args.only.is_empty();
        }
    }
    // A pass that failed before it began has written nothing, and its alert does not either: as without a database.
    let told = match start.filter(|_| result.is_ok()) {
        Some(start) => watch.after(start, &outcomes, exit_code),
        None => watch.without_database(&outcomes, exit_code),
    };
    for (channel, alerts) in &told.delivered {
        log::info!(target: "healer", "alert channel {channel}: {alerts} told");
    }
    for line in &told.failed {
        log::error!(target: "healer", "alert channel {line}; it is tried again in the next pass");
    }
}

fn heal(start: &mut Start, global: &Global, args: &crate::cli::Heal) -> Result<Output, Error> {
    let request = pass::Request { dry_run: args.dry_run, only: args.only.clone(), max_actions: args.max_actions };
    Ok(passed(pass::heal(start, &request)?, global, table::pass))
}

/// One part, or both in turn, each with a lease and a record of its own.
fn optimize(start: &mut Start, global: &Global, args: &crate::cli::Optimize) -> Result<Output, Error> {
    match args.part {
        Some(OptimizePart::Performance) => performance_part(start, global, args),
        Some(OptimizePart::Content) => content_part(start, global, args),
        None => {
            let first = performance_part(start, global, args)?;
            // What the first one met is no reason to leave the second one out; a signal and the end of the time are. And
            // whatever becomes of the second one, what the first one did is told.
            let second = time_left(start).and_then(|()| content_part(start, global, args));
            let second = second.unwrap_or_else(|error| not_run(&crate::pass::CONTENT, global, &error));
            Ok(first.and("optimize", second))
        }
    }
}

/// Whether another pass may begin. Not the session's own deadline: a pass that ran out of time was given more of it, to
/// say so.
fn time_left(start: &Start) -> Result<(), Error> {
    start.origin.stop.check(start.origin.deadline)
}

/// The result of a pass that could not begin, beside one that has ended.
fn not_run(kind: &crate::pass::Kind, global: &Global, error: &Error) -> Output {
    let mut output = failure(kind.command, global, error);
    output.table = format!("healer {}: not run: {}\n", kind.command, table::clean(&error.to_string()));
    // Who asked it to end need not be told that it did not run.
    if !matches!(error, Error::Interrupted { .. } | Error::Timeout) {
        output.outcomes.push(alert::rules::failure(kind.lease, error));
    }
    output
}

fn performance_part(start: &mut Start, global: &Global, args: &crate::cli::Optimize) -> Result<Output, Error> {
    let done = performance::pass::optimize(start, args.dry_run)?;
    // The pass has acted and is recorded: a paper that cannot be had takes nothing of its result away.
    let (written, failed) = papers(start, &done, args);
    for error in &failed {
        complain(error);
    }
    let mut output = passed_but(done, global, performance::pass::tables, &failed);
    for path in written.iter().filter(|_| output.nagios.is_none()) {
        output.table.push_str(&format!("→ written: {}\n", table::clean(&path.display().to_string())));
    }
    Ok(output)
}

/// Writes what `--sql-out` and `--dossier` ask for; gives the files, and what went wrong.
fn papers(
    start: &mut Start,
    done: &Done<performance::pass::Body>,
    args: &crate::cli::Optimize,
) -> (Vec<PathBuf>, Vec<Error>) {
    let (mut written, mut failed) = (Vec::new(), Vec::new());
    if done.report.status == "skipped" {
        return (written, failed);
    }
    let papers = performance::pass::papers(start, done, args.sql_out.is_some(), args.dossier.is_some());
    let papers = papers.unwrap_or_else(|error| {
        failed.push(error);
        Vec::new()
    });
    for paper in papers {
        let (path, made) = match (&args.sql_out, &args.dossier, &paper.page) {
            (Some(file), _, None) => (file.clone(), Ok(())),
            (_, Some(folder), Some(page)) => (folder.join(page), std::fs::create_dir_all(folder)),
            _ => continue,
        };
        let made = made.map_err(|source| Error::Output { what: path.display().to_string(), source });
        match made.and_then(|()| write_whole(&path, &paper.text)) {
            Ok(()) => written.push(path),
            Err(error) => {
                failed.push(error);
                // All pages go into one folder: the next one would fail as this one did.
                if paper.page.is_some() {
                    break;
                }
            }
        }
    }
    (written, failed)
}

fn content_part(start: &mut Start, global: &Global, args: &crate::cli::Optimize) -> Result<Output, Error> {
    if args.part.is_some() && (args.sql_out.is_some() || args.dossier.is_some()) {
        return Err(Error::Usage {
            message: "--sql-out and --dossier belong to `optimize performance`".into(),
            hint: "run `healer optimize performance --sql-out FILE`".into(),
        });
    }
    let done = crate::pass::run(start, args.dry_run, &mut content::pass::Content::default())?;
    Ok(passed(done, global, content::show::tables))
}

fn analyze_errors(start: &mut Start, global: &Global, args: &crate::cli::AnalyzeErrors) -> Result<Output, Error> {
    let mut work = AnalyzeErrors::new(start::span("--since", &args.since)?)?;
    Ok(passed(crate::pass::run(start, args.dry_run, &mut work)?, global, errors::show::tables))
}

/// What a pass gives to print: its tables, its document, and one line for each check that is not well.
fn passed<B: serde::Serialize>(
    done: Done<B>,
    global: &Global,
    tables: impl FnOnce(&PassReport<B>, Look) -> String,
) -> Output {
    passed_but(done, global, tables, &[])
}

/// The same, where after the pass something beside it failed: that is a note and an exit code, and none of the pass.
fn passed_but<B: serde::Serialize>(
    done: Done<B>,
    global: &Global,
    tables: impl FnOnce(&PassReport<B>, Look) -> String,
    failed: &[Error],
) -> Output {
    let outcome = alert::rules::Outcome::of(&done);
    let mut report = done.report;
    let found = fail_on(global.fail_on, report.checks.iter().map(|check| check.status));
    let codes = failed.iter().map(Error::exit_code);
    let exit_code = exit::strongest([done.exit_code, found].into_iter().chain(codes));
    // One line each: the note of a run that was already at work is its whole result.
    if report.status == "skipped" {
        log::info!(target: "healer", "{} {}", report.kind.tag, report.verdict);
    }
    report.notes.dedup();
    report.notes.extend(failed.iter().map(ToString::to_string));
    let (nagios, nagios_code) = table::nagios(&report, exit_code);
    Output {
        nagios: global.nagios.then_some(nagios),
        exit_code: if global.nagios { nagios_code } else { exit_code },
        outcomes: vec![outcome],
        ..Output::new(tables(&report, look(global)), report.json(exit_code, None), table::quiet(&report))
    }
}

type Spans = Option<(Span, Option<Span>)>;

fn report(start: &mut Start, global: &Global, args: &crate::cli::Report, report_spans: Spans) -> Result<Output, Error> {
    let (since, max_age) = report_spans.unwrap_or((Span::seconds(604_800), None));
    let mut look = look(global);
    if !std::io::stdout().is_terminal() || global.output.is_some() {
        // It is read in mails and logs: their usual width.
        look.width = 80;
    }
    let ask = Ask { since, max_age, look };
    let now = start.catalog.server.now.timestamp() as f64;
    let (name, whole) = match args.part {
        ReportPart::All => ("all", whole::read(start, &ask)?),
        ReportPart::Health => ("health", Whole::of(health::part(start, &ask)?, start)),
        ReportPart::Performance => ("performance", Whole::of(performance_report::part(start, &ask)?, start)),
        ReportPart::Content => ("content", Whole::of(content_report::part(start, &ask)?, start)),
        ReportPart::Errors => ("errors", Whole::of(errors_report::part(start, &ask)?, start)),
        ReportPart::Forecast => ("forecast", Whole::of(forecast::part(start, &ask)?, start)),
    };
    let exit_code = exit::strongest([
        whole.exit_code,
        if whole.too_old() { 4 } else { 0 },
        fail_on(global.fail_on, whole.statuses().into_iter()),
    ]);
    let quiet = if whole.well() { String::new() } else { format!("[SELF_HEALING] report: {}\n", whole.verdict) };
    let single = whole.parts.first().filter(|_| name != "all");
    let text = match global.format {
        Format::Html => html::page(&whole),
        Format::Prometheus => prometheus::text(&whole.metrics(now)),
        Format::Table | Format::Json => single.map_or_else(|| whole.text(look), |part| part.text.clone()),
    };
    let json = single.map_or_else(|| whole.json(), |part| part.json.clone());
    let mut output =
        Output { exit_code, ..Output::new(text, json, quiet) }.for_nagios(global, &whole.statuses(), &whole.verdict);
    if let Some(line) = &mut output.nagios {
        *line = format!("{} |{}\n", line.trim_end(), whole.performance_data());
    }
    Ok(output)
}

fn init(start: &mut Start, global: &Global, args: &crate::cli::Init) -> Result<Output, Error> {
    let jobs = (args.track_jobs || args.untrack_jobs).then(|| schema::jobs(start, args.track_jobs)).transpose()?;
    if args.print_sql {
        let trigger = jobs.map(|jobs| format!("{};\n", jobs.sql().trim_end())).unwrap_or_default();
        return Ok(text_only(format!("{}{trigger}", schema::sql())));
    }
    let made = schema::init(&mut start.session, &start.catalog)?;
    let line = match made {
        schema::Made::Already => "the schema healer is up to date\n".to_owned(),
        schema::Made::Created => "the schema healer was created\n".to_owned(),
        schema::Made::Upgraded(from) => format!("the schema healer was upgraded from version {from}\n"),
    };
    let mut line = line;
    if let Some(jobs) = &jobs {
        start.session.transaction(std::slice::from_ref(jobs))?;
        let word = if args.track_jobs {
            "every run of a job is noted from now on"
        } else {
            "runs of jobs are noted by the passes only"
        };
        line.push_str(&format!("{word}\n"));
    }
    let document =
        json!({ "schemaVersion": model::SCHEMA_VERSION, "command": "init", "status": "ok", "message": line.trim() });
    Ok(Output::new(line.clone(), document, String::new()).for_nagios(global, &[], line.trim()))
}

fn examine(start: &mut Start, global: &Global) -> Result<Output, Error> {
    let report = doctor::examine(start)?;
    let worst = report.checks.iter().map(|item| item.status);
    let exit_code = exit::strongest([report.exit_code, fail_on(global.fail_on, worst)]);
    let quiet = report
        .checks
        .iter()
        .filter(|item| item.status != Status::Ok)
        .map(|item| {
            format!("[SELF_HEALING] {} {}: {}\n", table::word(item.status), item.name, table::clean(&item.summary))
        })
        .collect();
    let statuses: Vec<Status> = report.checks.iter().map(|item| item.status).collect();
    let output = Output { exit_code, ..Output::new(doctor::tables(&report, look(global)), to_json(&report), quiet) };
    Ok(output.for_nagios(global, &statuses, &report.verdict))
}

fn decide(start: &mut Start, global: &Global, args: &crate::cli::Resolve) -> Result<Output, Error> {
    let decision = match (&args.posted, args.queue) {
        (Some(id), _) => resolve::Decision::Posted(id.clone()),
        (None, true) => resolve::Decision::Queue,
        (None, false) => resolve::Decision::Fail,
    };
    let report = resolve::resolve(start, &args.post, &decision, args.dry_run)?;
    let mode = if report.dry_run { " (dry run: nothing was written)" } else { "" };
    let take_back = report.run_id.map(|run| format!("→ take it back: healer undo {run}\n")).unwrap_or_default();
    let line = format!(
        "healer resolve{mode}: {} {} → {} (it was held: {})\n{take_back}",
        table::clean(&report.target),
        report.from,
        report.to,
        table::clean(&report.held_for)
    );
    let verdict = line.lines().next().unwrap_or_default().to_owned();
    let output = Output::new(line, to_json(&report), String::new());
    Ok(output.for_nagios(global, &[], &verdict))
}

fn take_back(start: &mut Start, global: &Global, args: &crate::cli::Undo) -> Result<Output, Error> {
    let report = undo::undo(start, args.run_id, &args.only, args.dry_run)?;
    let exit_code = if !args.dry_run && report.changed_since > 0 { 3 } else { 0 };
    let table = undo_table(&report, look(global));
    let verdict = table.lines().next().unwrap_or_default().to_owned();
    let output = Output { exit_code, ..Output::new(table, to_json(&report), String::new()) };
    Ok(output.for_nagios(global, &[], &verdict))
}

fn undo_table(report: &undo::UndoReport, look: Look) -> String {
    let mode = if report.dry_run { " (dry run: nothing was written)" } else { "" };
    let word = if report.dry_run { "would be restored" } else { "restored" };
    let mut line = format!("healer undo of run {}{mode}: {} changes {word}", report.undoes, report.restored);
    if report.changed_since > 0 {
        line.push_str(&format!(", {} changed since and left alone", report.changed_since));
    }
    if report.undone_before > 0 {
        line.push_str(&format!(", {} taken back before", report.undone_before));
    }
    line.push('\n');
    if report.items.is_empty() {
        return line;
    }
    let mut rows = table::plain(look, &["post", "what had been done", "outcome"]);
    for item in report.items.iter().take(50) {
        rows.add_row(vec![table::cut(&item.target, 36), item.action.clone(), item.outcome.to_string()]);
    }
    let mut out = format!("{line}\n{}", table::text(&rows));
    let unlisted = report.items.len().saturating_sub(50);
    if unlisted > 0 || report.truncated {
        out.push_str(&format!("… {unlisted} more are listed by --format json, all by healer.action\n"));
    }
    if !report.dry_run && report.restored > 0 {
        out.push_str("→ what was restored is held: the next heal leaves it alone\n");
    }
    out
}

fn to_json<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value)
        .unwrap_or_else(|error| json!({ "status": "failed", "error": { "message": error.to_string() } }))
}

fn text_only(text: String) -> Output {
    Output::new(text.clone(), json!({ "schemaVersion": model::SCHEMA_VERSION, "text": text }), text)
}

/// The exit code that `--fail-on` adds.
fn fail_on(level: Option<FailOn>, statuses: impl Iterator<Item = Status>) -> u8 {
    let mut statuses = statuses;
    let fails = match level {
        None => false,
        Some(FailOn::Warning) => statuses.any(|status| status != Status::Ok),
        Some(FailOn::Critical) => statuses.any(|status| status == Status::Critical),
    };
    if fails { 4 } else { 0 }
}

fn look(global: &Global) -> Look {
    let terminal = std::io::stdout().is_terminal() && global.output.is_none();
    let color = match global.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    // Without a terminal: wide enough that ids stay whole in a mail or a log.
    let width = if terminal { terminal_size::terminal_size().map_or(100, |(width, _)| width.0) } else { 120 };
    Look { width: width.max(60), color }
}

/// Waits for the share of `--jitter` that fell to this run, and gives the time by which it must end: `--timeout` is for the
/// work, and what many machines wait so as not to come at once is none of it.
fn due(global: &Global, timeout: Span, share: f64, stop: &StopFlag) -> Result<Instant, Error> {
    if let Some(text) = &global.jitter {
        let most = start::span("--jitter", text)?.0.min(Duration::from_secs(3_600));
        let until = Instant::now() + most.mul_f64(share.clamp(0.0, 1.0));
        while Instant::now() < until {
            if let Some(signal) = stop.signal() {
                return Err(Error::Interrupted { signal });
            }
            std::thread::sleep(Duration::from_millis(50).min(until.saturating_duration_since(Instant::now())));
        }
    }
    Ok(start::deadline(timeout))
}

/// From 0 to 1, another one each time.
fn random_share() -> f64 {
    let token = crate::change::lease::token();
    u64::from_str_radix(&token[..8], 16).unwrap_or(0) as f64 / f64::from(u32::MAX)
}

/// Whether `--sandbox` was given.
#[cfg(feature = "sandbox")]
fn is_sandboxed(global: &Global) -> bool {
    global.sandbox.is_some()
}

/// Without the sandbox nothing can be.
#[cfg(not(feature = "sandbox"))]
fn is_sandboxed(_: &Global) -> bool {
    false
}

#[cfg(feature = "sandbox")]
fn sandbox(global: &Global, around: &Surroundings<'_>) -> Result<Option<crate::sandbox::Sandbox>, Error> {
    let Some(dir) = &global.sandbox else { return Ok(None) };
    let named = url::resolve(global.database_url_file.as_deref(), around).is_ok();
    let unused = if named { "; DATABASE_URL is not used" } else { "" };
    if !global.quiet {
        let _ = writeln!(std::io::stderr(), "healer works on its sandbox, a throwaway database{unused}");
    }
    let prepare = |client: &mut postgres::Client| {
        client.batch_execute(&schema::sql()).map_err(|error| error.to_string())?;
        crate::sandbox::seed::signals(client).map_err(|error| error.to_string())
    };
    Ok(Some(crate::sandbox::Sandbox::open(dir.as_deref(), &prepare)?))
}

fn complain(error: &Error) {
    complain_as("healer", error);
}

/// Two lines, whatever the server's words hold: the thing, and the next step.
fn complain_as(who: &str, error: &Error) {
    let (message, hint) = (table::clean(&error.to_string()), table::clean(&error.hint()));
    let _ = writeln!(std::io::stderr(), "{who}: {message}\n  hint: {hint}");
}

fn failure(command: &str, global: &Global, error: &Error) -> Output {
    if error.exit_code() == 75 && command == "heal" {
        complain_as("[SELF_HEALING] critical", error);
    } else {
        complain(error);
    }
    let nagios = global.nagios.then(|| {
        format!(
            "HEALER {} - {}\n",
            if error.exit_code() == 75 { "UNKNOWN" } else { "CRITICAL" },
            table::clean(&error.to_string()).replace('|', "/")
        )
    });
    let exit_code = match (&nagios, error.exit_code()) {
        (Some(_), 75) => 3,
        (Some(_), _) => 2,
        (None, code) => code,
    };
    Output {
        nagios,
        exit_code,
        failed: true,
        outcomes: Vec::new(),
        ..Output::new(String::new(), model::failure(command, error), String::new())
    }
}

fn print(global: &Global, output: &Output) -> Result<(), Error> {
    let text = match (&output.nagios, global.format, global.quiet) {
        (Some(line), _, _) => line.clone(),
        (None, Format::Json, _) => format!("{:#}\n", output.json),
        (None, Format::Table, true) => output.quiet.clone(),
        (None, _, _) => output.table.clone(),
    };
    match &global.output {
        // A failure that has nothing to say in this format: the last result stays.
        Some(_) if output.failed && text.is_empty() => Ok(()),
        Some(path) => write_whole(path, &text),
        None => {
            let mut stdout = std::io::stdout().lock();
            match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
                // Whoever read it has had enough.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
                Err(source) => Err(Error::Output { what: "stdout".into(), source }),
                Ok(()) => Ok(()),
            }
        }
    }
}

/// Writes beside the file and renames: a reader finds the old text or the new one, whole. Links are followed, and what
/// is no plain file (a terminal, a pipe, a device) is written to, never replaced.
fn write_whole(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |source| Error::Output { what: path.display().to_string(), source };
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let found = std::fs::metadata(&real).ok();
    if found.as_ref().is_some_and(|found| !found.is_file() && !found.is_dir()) {
        return std::fs::File::options()
            .write(true)
            .open(&real)
            .and_then(|mut device| device.write_all(text.as_bytes()))
            .map_err(failed);
    }
    let mut name = real.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = real.with_file_name(name);
    // What a killed run with our pid left, or a link that somebody laid there, is not written through.
    let _ = std::fs::remove_file(&beside);
    let written = std::fs::File::create_new(&beside).and_then(|mut file| {
        if let Some(found) = found.filter(std::fs::Metadata::is_file) {
            file.set_permissions(found.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, &real)
    });
    written.map_err(|source| {
        let _ = std::fs::remove_file(&beside);
        failed(source)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(line: &str, exit_code: u8) -> Output {
        let nagios = Some(format!("{line}\n"));
        Output { nagios, exit_code, ..Output::new(String::new(), Value::Null, String::new()) }
    }

    #[test]
    fn what_is_waited_before_the_start_is_none_of_the_time_for_the_work() {
        let cli = Cli::parse_from(["healer", "heal", "--jitter", "30ms"]);
        let (begun, timeout) = (Instant::now(), Span::seconds(600));
        let deadline = due(&cli.global, timeout, 1.0, &StopFlag::default()).expect("a deadline");
        assert!(deadline >= begun + Duration::from_millis(30) + timeout.0);
    }

    #[test]
    fn two_passes_are_one_line_of_a_plugin_with_the_figures_of_both() {
        let first = plugin("HEALER OK - all is well - truly | 'jobs'=0;;;0", 0);
        let second = plugin("HEALER WARNING - look at weights | 'weights'=1;;;0 'hours'=U;;;0", 1);
        let both = first.and("optimize", second);
        let line =
            "HEALER WARNING - all is well - truly; look at weights | 'jobs'=0;;;0 'weights'=1;;;0 'hours'=U;;;0\n";
        assert_eq!((both.nagios.as_deref(), both.exit_code), (Some(line), 1));
    }

    #[test]
    fn what_is_critical_outweighs_what_is_unknown_whichever_pass_says_it() {
        let critical = || plugin("HEALER CRITICAL - it broke | 'a'=1;;;0", 2);
        // One that could not begin has no figures.
        let unknown = || plugin("HEALER UNKNOWN - nobody knows", 3);
        for both in [critical().and("optimize", unknown()), unknown().and("optimize", critical())] {
            assert_eq!(both.exit_code, 2);
            let line = both.nagios.unwrap_or_default();
            assert!(line.starts_with("HEALER CRITICAL - ") && line.ends_with(" | 'a'=1;;;0\n"), "{line}");
        }
        assert_eq!(unknown().and("optimize", plugin("HEALER WARNING - a little |", 1)).exit_code, 3);
    }
}
