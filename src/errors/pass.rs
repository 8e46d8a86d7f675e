//! `healer analyze-errors`: reads what went wrong, and says what it was.
//!
//! A dry run and a real one read and decide the same; the real one then stores the patterns in `healer.error_pattern`, so
//! that later runs know them. It changes nothing else.
//!
//! How far back it reads: the window and the one before it. The first run, which knows nothing, reads 30 days
//! (`errors.history`), so that what is old is not called new; a run after a pause reads from where the last one ended.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::analysis::{self, Analysis, Material};
use super::causes::{Catalogue, CatalogueError};
use super::gather::{Gathered, Gatherer, Telling};
use super::pattern::{self, Known, Memory, Pattern, Patterns, Stored};
use super::recovery::Facts;
use super::source::{Failed, Sources, State, ms};
use super::stored;
use super::tally::Span;
use super::timeline::Marker;
use super::trend::Standing;
use crate::change::lease::Lease;
use crate::error::Error;
use crate::heal::CheckResult;
use crate::pass::{ERRORS, Kind, Work};
use crate::posts::mapping::Mapping;
use crate::report::model::{Counts, Findings};
use crate::settings::{self, Settings};
use crate::start::Start;

/// Shortest window: below it buckets of a second say nothing.
const SHORTEST: i64 = 60;
/// Errors that are handed over to be counted at once, and how many such handfuls may wait.
const BATCH: usize = 256;
/// See [`BATCH`].
const WAITING: usize = 4;
/// Longest window: what is stored is kept as long.
const LONGEST: i64 = 90 * 86_400;

/// The pass.
pub struct AnalyzeErrors {
    since: settings::Span,
    outcome: Option<Outcome>,
    notes: Vec<String>,
    stored: Option<u64>,
    codes: Vec<u8>,
}

struct Outcome {
    result: analysis::Result,
    /// What is stored, described or not.
    patterns: Vec<Pattern>,
    read_from: DateTime<Utc>,
}

impl AnalyzeErrors {
    /// An analysis of the last `since`.
    pub fn new(since: settings::Span) -> Result<Self, Error> {
        if !(SHORTEST..=LONGEST).contains(&since.as_seconds()) {
            return Err(Error::Usage {
                message: format!("--since {since} is no window that can be analysed"),
                hint: "give 1m to 90d, for example --since 24h".into(),
            });
        }
        Ok(Self { since, outcome: None, notes: Vec::new(), stored: None, codes: Vec::new() })
    }

    fn span(&self, start: &Start, stored: &[Stored], analysed: Option<DateTime<Utc>>, settings: &Settings) -> Span {
        // Up to and with the millisecond in which the pass began.
        let end = ms(start.catalog.server.now).saturating_add(1);
        let length = self.since.as_seconds().saturating_mul(1_000);
        let window = Span { since: end - length, start: end - length, end };
        let history = end - settings.errors.history.as_seconds().saturating_mul(1_000);
        let since = match analysed {
            Some(analysed) if !stored.is_empty() => ms(analysed).max(history).min(window.before()),
            _ => history.min(window.before()),
        };
        Span { since, ..window }
    }

    fn look(&mut self, start: &mut Start, mapping: &Mapping) -> Result<(), Error> {
        let settings = start.origin.settings.clone();
        let catalogue = catalogue(&settings)?;
        let (stored, analysed) = self.known(start)?;
        let mut span = self.span(start, &stored, analysed, &settings);
        let memory = Memory::of(&stored, stored::REMEMBERED);
        let mut aside: Vec<(super::gather::Source, Error)> = Vec::new();
        // Each source may fail once, and the history may turn out to be too long once.
        let (mut sources, facts, gathered, recovery_failed) = loop {
            let mut sources = Sources::find(&settings, &start.catalog, mapping, &span)?;
            for (source, error) in &aside {
                sources.set_aside(*source, error);
            }
            let (facts, recovery_failed) = Self::facts(start, &sources)?;
            match gather(start, &mut sources, &facts, &memory, span) {
                Ok(gathered) => break (sources, facts, gathered, recovery_failed),
                Err(Failed { error, .. }) if error.stops_the_pass() => return Err(error),
                Err(Failed { source, error }) => {
                    // A statement that the deadline cut off says nothing of the source.
                    start.session.check_stop()?;
                    start.session.rollback();
                    if error.sqlstate() == Some("57014") && span.since < span.before() {
                        self.notes.push(format!("{error}: less is read of what was before"));
                        span.since = span.before();
                        continue;
                    }
                    let Some(source) = source.filter(|source| aside.iter().all(|(known, _)| known != source)) else {
                        return Err(error);
                    };
                    log::warn!(target: "healer", "{} {}: {error}", ERRORS.tag, source.name());
                    aside.push((source, error));
                }
            }
        };
        let markers = self.markers(start, &sources, &facts)?;
        self.untimed(start, &sources)?;
        self.remarks(&mut sources, start, &stored, span);
        let known = Known {
            span,
            quiet: settings.errors.quiet.as_seconds().saturating_mul(1_000),
            stored: &stored,
            memory: &memory,
            markers: &markers,
            catalogue: &catalogue,
        };
        let duplicates = gathered.duplicates;
        let jobs = gathered.jobs.clone();
        let mut patterns: Patterns = pattern::patterns(gathered, &known);
        let read_from = DateTime::<Utc>::from_timestamp_millis(span.since).unwrap_or(start.catalog.server.now);
        if !stored.is_empty() {
            patterns.recall(stored::gone(&mut start.session, read_from)?);
        }
        let since = self.since.to_string();
        let result = analysis::analyse(&Material {
            since: &since,
            span,
            patterns: &patterns,
            jobs: &jobs,
            sources: &sources,
            duplicates,
            recovery_failed: recovery_failed.as_ref(),
        });
        self.outcome = Some(Outcome { result, patterns: patterns.all, read_from });
        Ok(())
    }

    /// What earlier runs stored, and when the last one was.
    fn known(&mut self, start: &mut Start) -> Result<(Vec<Stored>, Option<DateTime<Utc>>), Error> {
        if !start.catalog.schema_readable() {
            self.notes.push(
                "the schema healer does not exist yet (or is of another version): patterns of earlier runs are not known; `healer init` creates it".into(),
            );
            return Ok((Vec::new(), None));
        }
        let window = start.catalog.server.now - chrono::Duration::seconds(self.since.as_seconds());
        start.session.read()?;
        let stored = stored::load(&mut start.session, window)?;
        let analysed = stored::summary(&mut start.session)?.map(|(_, at)| at);
        Ok((stored, analysed))
    }

    fn facts(start: &mut Start, sources: &Sources) -> Result<(Facts, Option<CheckResult>), Error> {
        match sources.facts(&mut start.session) {
            Ok(facts) => Ok((facts, None)),
            Err(Failed { error, .. }) if error.stops_the_pass() => Err(error),
            Err(Failed { error, .. }) => {
                start.session.check_stop()?;
                start.session.rollback();
                Ok((Facts::default(), Some(CheckResult::failed("error-recovery", &error))))
            }
        }
    }

    fn markers(&mut self, start: &mut Start, sources: &Sources, facts: &Facts) -> Result<Vec<Marker>, Error> {
        match sources.markers(&mut start.session, facts) {
            Ok(markers) => Ok(markers),
            Err(Failed { error, .. }) if error.stops_the_pass() => Err(error),
            Err(Failed { error, .. }) => {
                start.session.check_stop()?;
                start.session.rollback();
                self.codes.push(3);
                self.notes.push(format!("what happened beside the errors is not known: {error}"));
                Ok(Vec::new())
            }
        }
    }

    fn untimed(&mut self, start: &mut Start, sources: &Sources) -> Result<(), Error> {
        match sources.without_time(&mut start.session) {
            Ok((0, _)) => {}
            Ok((errors, more)) => {
                let more = if more { "more than " } else { "" };
                self.notes.push(format!("{more}{errors} error events have no time and belong to no window"));
            }
            Err(error) if error.stops_the_pass() => return Err(error),
            Err(error) => {
                start.session.rollback();
                log::warn!(target: "healer", "{} {error}", ERRORS.tag);
            }
        }
        Ok(())
    }

    fn remarks(&mut self, sources: &mut Sources, start: &Start, stored: &[Stored], span: Span) {
        if stored.is_empty() && start.catalog.schema_readable() {
            let days = (span.end - span.since) / 86_400_000;
            self.notes
                .push(format!("no earlier run has stored patterns: {days} days were read to tell new from known"));
        }
        for found in &sources.found {
            if let State::Absent(reason) = &found.state {
                log::debug!(target: "healer", "{} {}: {reason}", ERRORS.tag, found.source.name());
            }
        }
    }
}

/// The catalogue of causes with the operator's own entries before it.
pub fn catalogue(settings: &Settings) -> Result<Catalogue, Error> {
    Catalogue::with(settings.errors.cause.clone()).map_err(|error: CatalogueError| Error::Config {
        path: settings.source.clone().unwrap_or_default(),
        message: format!("errors.cause: {error}"),
        hint: error.hint().into(),
    })
}

fn gather(
    start: &mut Start,
    sources: &mut Sources,
    facts: &Facts,
    memory: &Memory,
    span: Span,
) -> Result<Gathered, Failed> {
    let mut gatherer = Gatherer::new(span, facts);
    for fingerprint in &memory.fingerprints {
        gatherer.remember(fingerprint);
    }
    // What is read is counted beside the reading: each takes about half of the time.
    std::thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::sync_channel::<Vec<Telling>>(WAITING);
        let counting = scope.spawn(move || {
            receiver.into_iter().flatten().for_each(|telling| gatherer.tell(telling));
            gatherer.finish()
        });
        let mut batch = Vec::with_capacity(BATCH);
        let read = sources.read(&mut start.session, facts, |telling| {
            batch.push(telling);
            if batch.len() == BATCH {
                // It can only fail where the counting panicked, which joining tells.
                let _ = sender.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH)));
            }
        });
        let _ = sender.send(batch);
        drop(sender);
        let found = counting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        read.map(|()| found)
    })
}

impl Work for AnalyzeErrors {
    type Body = Analysis;

    fn kind(&self) -> &'static Kind {
        &ERRORS
    }

    fn detect(&mut self, start: &mut Start, mapping: &Mapping) -> Result<(), Error> {
        self.notes.extend(mapping.warnings.iter().cloned());
        self.look(start, mapping)
    }

    fn act(&mut self, start: &mut Start, _: &Mapping, lease: &Lease) -> Result<(), Error> {
        let Some(outcome) = &self.outcome else { return Ok(()) };
        let mut summary = serde_json::to_value(&outcome.result.analysis).unwrap_or(Value::Null);
        if let Some(summary) = summary.as_object_mut() {
            // They stand in a table of their own.
            summary.remove("patterns");
            summary.insert("runId".into(), json!(lease.run));
        }
        match stored::store(&mut start.session, lease, &outcome.patterns) {
            Ok(number) => self.stored = Some(number),
            Err(error) if error.stops_the_pass() => return Err(error),
            Err(error) => {
                start.session.rollback();
                self.codes.push(3);
                self.notes.push(format!("patterns could not be stored, later runs will not know them: {error}"));
            }
        }
        stored::finish(&mut start.session, lease, &summary, outcome.read_from)
    }

    fn findings(&mut self, dry_run: bool) -> Findings<Analysis> {
        let notes = std::mem::take(&mut self.notes);
        let codes = std::mem::take(&mut self.codes);
        let mut counts = Counts { applied: (!dry_run).then_some(0), ..Counts::default() };
        let Some(outcome) = self.outcome.take() else {
            return Findings {
                body: Analysis::nothing(),
                headline: "nothing was analysed".into(),
                checks: Vec::new(),
                counts,
                notes,
                codes,
                truncated: false,
                concerns: Vec::new(),
            };
        };
        counts.held = 0;
        let result = outcome.result;
        log::info!(target: "healer", "{} {}", ERRORS.tag, result.headline);
        let gone = outcome.patterns.iter().filter(|pattern| pattern.standing == Standing::Gone).count();
        log::debug!(
            target: "healer",
            "{} {} patterns described, {gone} of them gone, {:?} stored",
            ERRORS.tag,
            outcome.patterns.len(),
            self.stored
        );
        Findings {
            body: result.analysis,
            headline: result.headline,
            checks: result.checks,
            counts,
            notes,
            codes,
            truncated: result.truncated,
            concerns: result.concerns,
        }
    }
}
