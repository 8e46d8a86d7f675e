//! A part of the report: what it must give, and the list of them. A new part is one file beside this and one line in
//! [`PARTS`].

use serde_json::{Value, json};

use super::chart::Chart;
use super::model::SCHEMA_VERSION;
use super::table::Look;
use crate::database::session::Session;
use crate::error::Error;
use crate::heal::Status;
use crate::settings::Span;
use crate::start::Start;

/// What was asked.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// How far back to look.
    pub since: Span,
    /// How old the last success of a pass may be.
    pub max_age: Option<Span>,
    /// How tables look.
    pub look: Look,
}

/// A figure for Prometheus.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Its name, without the prefix `healer_`.
    pub name: &'static str,
    /// What it says; the same wherever the name is used.
    pub help: &'static str,
    /// Its labels.
    pub labels: Vec<(&'static str, String)>,
    /// Its value; what was not measured is not told.
    pub value: Option<f64>,
}

impl Metric {
    /// A figure.
    pub fn new(name: &'static str, help: &'static str, labels: &[(&'static str, &str)], value: Option<f64>) -> Self {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { name, help, labels, value }
    }
}

/// Something on a page.
#[derive(Debug, Clone)]
pub enum Block {
    /// A line of text.
    Text(String),
    /// A table: its caption, the headings, the rows. A cell that is a status is coloured as one.
    Table(String, Vec<String>, Vec<Vec<String>>),
    /// A picture; where it holds nothing, that is said in its place.
    Chart(Chart),
    /// The title of a picture for which nothing is known, and why.
    NoChart(String, String),
}

/// A part as it was read.
#[derive(Debug)]
pub struct Part {
    /// The word of the command line.
    pub name: &'static str,
    /// One line.
    pub verdict: String,
    /// How things are, for Nagios and `--fail-on`.
    pub statuses: Vec<Status>,
    /// Whether nothing needs a look.
    pub well: bool,
    /// Whether there is anything to show: a pass that stores it ran at least once.
    pub has_data: bool,
    /// Whether a pass has not succeeded for too long.
    pub too_old: bool,
    /// The exit code that what could not be read means.
    pub exit_code: u8,
    /// The document.
    pub json: Value,
    /// The same as text.
    pub text: String,
    /// The same as figures.
    pub metrics: Vec<Metric>,
    /// The same as blocks of a page.
    pub blocks: Vec<Block>,
    /// What could not be read, and what else should be known.
    pub notes: Vec<String>,
}

impl Part {
    /// A part with a verdict and nothing to show.
    pub fn empty(name: &'static str, verdict: String) -> Self {
        let json = json!({
            "schemaVersion": SCHEMA_VERSION, "command": "report", "part": name, "status": "ok", "verdict": verdict,
        });
        Self {
            name,
            text: format!("healer report {name}: {verdict}\n"),
            verdict,
            statuses: Vec::new(),
            well: true,
            has_data: false,
            too_old: false,
            exit_code: 0,
            json,
            metrics: Vec::new(),
            blocks: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// Reads what a pass has stored. Where there is nothing yet, or it cannot be read, the part that says so comes back; only
/// what must stop the command is an error.
pub fn stored<T>(
    start: &mut Start,
    name: &'static str,
    command: &str,
    read: impl FnOnce(&mut Session) -> Result<Option<T>, Error>,
) -> Result<Result<T, Part>, Error> {
    if !start.catalog.schema_readable() {
        let mut part = Part::empty(
            name,
            "the schema healer is missing, of another version or not readable (`healer init`): nothing is known".into(),
        );
        part.statuses.push(Status::Unknown);
        return Ok(Err(part));
    }
    let found = read(&mut start.session);
    start.session.rollback();
    match found {
        Ok(Some(found)) => Ok(Ok(found)),
        Ok(None) => Ok(Err(Part::empty(name, format!("nothing is known yet; `{command}` finds it")))),
        Err(error) if error.stops_the_pass() => Err(error),
        Err(error) => {
            let mut part = Part::empty(name, format!("could not be read: {error}"));
            part.exit_code = if matches!(error.exit_code(), 75 | 77 | 78) { error.exit_code() } else { 3 };
            part.statuses.push(Status::Unknown);
            part.well = false;
            part.has_data = true;
            part.json["status"] = "partial".into();
            Ok(Err(part))
        }
    }
}

/// How a part is read.
pub type Read = fn(&mut Start, &Ask) -> Result<Part, Error>;

/// The parts, in their order.
pub const PARTS: &[(&str, Read)] = &[
    ("health", super::health::part),
    ("performance", super::performance::part),
    ("content", super::content::part),
    ("errors", super::errors::part),
    ("forecast", super::forecast::part_of_whole),
];
