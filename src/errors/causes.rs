//! What probably lies behind an error: a catalogue that is data.
//!
//! The catalogue that is shipped (`causes.toml`) goes from the special to the general; the first entry that matches
//! decides. Operators add entries of the same form in their configuration, which stand before the shipped ones. One with
//! the id of a shipped entry replaces it.
//!
//! It says what is *probable*: it matches texts, it does not know. "Perhaps posted" wins over everything, because the
//! harm of posting twice is greater than that of looking once more.

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::fingerprint::ErrorEvent;
use super::template::cut;

/// The catalogue that is shipped.
const SHIPPED: &str = include_str!("causes.toml");
/// Bytes of a message in which a cause is looked for: what tells causes apart stands at the beginning.
const MAX_SEARCHED: usize = 4 * 1024;
/// Size of a compiled pattern; refuses patterns of an operator that would eat the memory.
const MAX_PATTERN_SIZE: usize = 1 << 20;

/// Whether the failed attempt may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    /// It changed nothing.
    Yes,
    /// It would fail again, or do harm.
    No,
    /// The post may be live: never repeat it blindly.
    PerhapsPosted,
}

/// An entry as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CauseEntry {
    /// Short name, unique in the catalogue.
    pub id: String,
    /// One line for tables.
    pub title: String,
    /// SQLSTATEs of which one suffices.
    #[serde(default)]
    pub sqlstate: Vec<String>,
    /// HTTP statuses of which one suffices.
    #[serde(default)]
    pub http: Vec<u16>,
    /// Patterns of which one suffices.
    #[serde(default)]
    pub any: Vec<String>,
    /// Patterns that must all match besides.
    #[serde(default)]
    pub all: Vec<String>,
    /// Patterns of which none may match.
    #[serde(default)]
    pub none: Vec<String>,
    /// What probably happened.
    pub cause: String,
    /// What to do.
    pub action: String,
    /// Whether the failed attempt may be repeated.
    pub retry: Retry,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    cause: Vec<CauseEntry>,
}

/// A catalogue that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The text is no catalogue.
    #[error("the catalogue of causes cannot be read: {0}")]
    Format(#[from] toml::de::Error),
    /// A pattern is no regular expression, or too large.
    #[error("cause {id:?}: the pattern {pattern:?} cannot be used: {source}")]
    Pattern {
        /// The entry.
        id: String,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        source: Box<regex::Error>,
    },
    /// Two entries of one file have one id.
    #[error("cause {id:?} is given twice")]
    Twice {
        /// The id.
        id: String,
    },
    /// An entry that would match everything, or nothing.
    #[error("cause {id:?} has no sqlstate, http, any or all to match by")]
    Empty {
        /// The entry.
        id: String,
    },
}

impl CatalogueError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Format(_) => {
                "each entry is a [[cause]] with id, title, cause, action, retry (yes, no, perhaps-posted) and sqlstate, http, any, all, none"
            }
            Self::Pattern { .. } => {
                "patterns are regular expressions without look-around and back-references; put them into 'single quotes' in TOML"
            }
            Self::Twice { .. } => "give one of them another id, or put all patterns into one entry",
            Self::Empty { .. } => "add at least one pattern, for example any = ['text of the message']",
        }
    }
}

/// An entry ready to match.
#[derive(Debug, Clone)]
pub struct Cause {
    /// What is written of it.
    pub entry: CauseEntry,
    any: Vec<Regex>,
    all: Vec<Regex>,
    none: Vec<Regex>,
}

impl Cause {
    fn new(entry: CauseEntry) -> Result<Self, CatalogueError> {
        if entry.sqlstate.is_empty() && entry.http.is_empty() && entry.any.is_empty() && entry.all.is_empty() {
            return Err(CatalogueError::Empty { id: entry.id });
        }
        let compile = |patterns: &[String]| {
            patterns
                .iter()
                .map(|pattern| {
                    RegexBuilder::new(pattern).case_insensitive(true).size_limit(MAX_PATTERN_SIZE).build().map_err(
                        |source| CatalogueError::Pattern {
                            id: entry.id.clone(),
                            pattern: pattern.clone(),
                            source: Box::new(source),
                        },
                    )
                })
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self { any: compile(&entry.any)?, all: compile(&entry.all)?, none: compile(&entry.none)?, entry })
    }

    fn matches(&self, event: &ErrorEvent<'_>, text: &str) -> bool {
        let entry = &self.entry;
        let by_code = event.sqlstate.is_some_and(|code| entry.sqlstate.iter().any(|own| own == code))
            || event.http_status.is_some_and(|status| entry.http.contains(&status));
        let has_alternatives = !(entry.sqlstate.is_empty() && entry.http.is_empty() && entry.any.is_empty());
        (!has_alternatives || by_code || self.any.iter().any(|pattern| pattern.is_match(text)))
            && self.all.iter().all(|pattern| pattern.is_match(text))
            && !self.none.iter().any(|pattern| pattern.is_match(text))
    }
}

/// All entries, in the order in which they are tried.
#[derive(Debug, Clone)]
pub struct Catalogue {
    causes: Vec<Cause>,
}

impl Catalogue {
    /// The shipped entries.
    pub fn shipped() -> Result<Self, CatalogueError> {
        Self::with(Vec::new())
    }

    /// The entries of an operator, then the shipped ones.
    pub fn with(own: Vec<CauseEntry>) -> Result<Self, CatalogueError> {
        let shipped: File = toml::from_str(SHIPPED)?;
        distinct(&own)?;
        distinct(&shipped.cause)?;
        let kept: Vec<CauseEntry> =
            shipped.cause.into_iter().filter(|entry| own.iter().all(|other| other.id != entry.id)).collect();
        let causes = own.into_iter().chain(kept).map(Cause::new).collect::<Result<_, _>>()?;
        Ok(Self { causes })
    }

    /// The entries that a text in the form of the shipped catalogue holds.
    pub fn parse(text: &str) -> Result<Vec<CauseEntry>, CatalogueError> {
        let file: File = toml::from_str(text)?;
        distinct(&file.cause)?;
        Ok(file.cause)
    }

    /// The first entry that matches `event`.
    pub fn find(&self, event: &ErrorEvent<'_>) -> Option<&CauseEntry> {
        let text = format!("{}\n{}", event.class.unwrap_or_default(), cut(event.message, MAX_SEARCHED));
        self.causes.iter().find(|cause| cause.matches(event, &text)).map(|cause| &cause.entry)
    }

    /// All entries, in the order in which they are tried.
    pub fn entries(&self) -> impl Iterator<Item = &CauseEntry> {
        self.causes.iter().map(|cause| &cause.entry)
    }
}

/// Whether the entries of an operator can be used. The error names the entry by its place, and holds nothing of what
/// stands in it.
pub fn check_entries(entries: &[CauseEntry]) -> Result<(), String> {
    for (place, entry) in entries.iter().enumerate() {
        let twice = entries[..place].iter().any(|before| before.id == entry.id);
        let wrong = match Cause::new(entry.clone()) {
            _ if twice => "has the id of another",
            Ok(_) => continue,
            Err(CatalogueError::Empty { .. }) => "has no sqlstate, http, any or all to match by",
            Err(_) => "has a pattern that is no regular expression, or too large",
        };
        return Err(format!("errors.cause, entry {}, {wrong}", place + 1));
    }
    Ok(())
}

fn distinct(entries: &[CauseEntry]) -> Result<(), CatalogueError> {
    for (i, entry) in entries.iter().enumerate() {
        if entries[..i].iter().any(|before| before.id == entry.id) {
            return Err(CatalogueError::Twice { id: entry.id.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause_of(message: &str) -> (String, Retry) {
        let catalogue = Catalogue::shipped().expect("the shipped catalogue is valid");
        let found = catalogue.find(&ErrorEvent::from_message(message));
        found.map_or((String::from("none"), Retry::No), |entry| (entry.id.clone(), entry.retry))
    }

    #[test]
    fn each_kind_of_error_finds_its_cause() {
        for (message, id) in [
            ("Rate limit exceeded (429)", "rate-limit"),
            ("HTTP 429", "rate-limit"),
            ("403 Forbidden: You already said that", "duplicate-content"),
            ("Status is a duplicate.", "duplicate-content"),
            ("Redirected to https://x.com/i/flow/login", "login-expired"),
            ("cookie consent banner covers the composer", "consent-wall"),
            ("page.waitForSelector: Timeout 30000ms exceeded", "browser-timeout"),
            ("browserContext.newPage: Target page, context or browser has been closed", "browser-crash"),
            ("getaddrinfo ENOTFOUND db.example.supabase.co", "dns"),
            ("connect ECONNREFUSED 127.0.0.1:5432", "network"),
            ("sorry, too many clients already", "pool-exhausted"),
            ("FATAL: remaining connection slots are reserved", "pool-exhausted"),
            ("canceling statement due to statement timeout", "statement-timeout"),
            ("deadlock detected", "deadlock"),
            ("duplicate key value violates unique constraint \"x\"", "unique-violation"),
            ("new row violates check constraint \"status_check\"", "check-violation"),
            ("column \"foo\" of relation \"bar\" does not exist", "missing-column"),
            ("JavaScript heap out of memory", "out-of-memory"),
            ("ENOSPC: no space left on device", "disk-full"),
            ("self-signed certificate in certificate chain", "tls"),
            ("invalid input syntax for type uuid: \"abc\"", "bad-value"),
            ("Request failed with status code 502", "upstream"),
            ("Cannot read properties of undefined (reading 'id')", "defect"),
        ] {
            assert_eq!(cause_of(message).0, id, "{message}");
        }
    }

    #[test]
    fn a_time_out_after_the_submit_is_perhaps_posted_and_never_safe_to_retry() {
        for message in [
            "Timeout 30000ms exceeded after submit",
            "Timed out waiting for tweet to appear",
            "page.click: Timeout 30000ms exceeded while waiting for response of CreateTweet",
            "operation timed out after clicking the post button",
            "Whoops! You already said that.",
            "duplicate content",
            "Tweet is live but saving it failed",
        ] {
            assert_eq!(cause_of(message).1, Retry::PerhapsPosted, "{message}");
        }
    }

    #[test]
    fn a_time_out_before_the_submit_may_be_repeated() {
        assert_eq!(cause_of("page.goto: Timeout 30000ms exceeded").1, Retry::Yes);
    }

    #[test]
    fn an_unknown_text_has_no_cause() {
        assert_eq!(cause_of("the flux compensator hums").0, "none");
        assert_eq!(cause_of("").0, "none");
    }

    #[test]
    fn an_operators_entry_comes_first_and_one_of_the_same_id_replaces() {
        let text = r#"
            [[cause]]
            id = "flux"
            title = "The compensator"
            any = ['flux']
            cause = "It hums."
            action = "Oil it."
            retry = "yes"
            [[cause]]
            id = "deadlock"
            title = "Ours"
            sqlstate = ["40P01"]
            cause = "Ours."
            action = "Ours."
            retry = "no"
        "#;
        let catalogue = Catalogue::with(Catalogue::parse(text).expect("valid")).expect("valid");
        let find =
            |message| catalogue.find(&ErrorEvent::from_message(message)).map(|entry| (entry.id.as_str(), entry.retry));
        assert_eq!(find("a deadlock in the flux"), Some(("flux", Retry::Yes)));
        assert_eq!(find("deadlock detected"), None, "the replaced entry matched by text");
        let event = ErrorEvent { sqlstate: Some("40P01"), ..ErrorEvent::default() };
        assert_eq!(catalogue.find(&event).map(|entry| entry.retry), Some(Retry::No));
    }

    #[test]
    fn a_broken_catalogue_says_which_entry_and_what_to_do() {
        let entry = |any: &str| format!("[[cause]]\nid='a'\ntitle=''\nany=[{any}]\ncause=''\naction=''\nretry='no'\n");
        let error = Catalogue::with(Catalogue::parse(&entry("'('")).expect("valid TOML")).expect_err("no pattern");
        assert!(error.to_string().contains("\"a\""), "{error}");
        assert!(!error.hint().is_empty());
        assert!(matches!(Catalogue::parse(&(entry("'x'") + &entry("'y'"))), Err(CatalogueError::Twice { .. })));
        assert!(matches!(
            Catalogue::with(Catalogue::parse(&entry("")).expect("valid TOML")),
            Err(CatalogueError::Empty { .. })
        ));
        assert!(matches!(Catalogue::parse("[[cause]]\nid=1"), Err(CatalogueError::Format(_))));
        assert!(matches!(
            Catalogue::parse("[[cause]]\nid='a'\ntitle=''\ncause=''\naction=''\nretry='maybe'"),
            Err(CatalogueError::Format(_))
        ));
    }
}
