//! The stable number of a message: equal in every run, on every host, whatever came before.
//!
//! A fingerprint is the FNV-1a hash (64 bits, the published offset basis and prime) of the version, the severity, the
//! component, the class, the SQLSTATE, the HTTP status and the masked text, each ended by a byte 0xff, which occurs in
//! no UTF-8 text. It depends on nothing else. It prints as 16 hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::template::{Masked, Masker, VARIABLE};

/// Version of masking and grouping together. A change of either that moves fingerprints raises it, and stored patterns
/// of an older version are matched again by masking their example, so that known errors stay known.
pub const VERSION: u16 = 1;

/// How grave an event says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For information.
    Info,
    /// Worth a look.
    Warning,
    /// Something failed. Also what an event without a severity is taken for: it was read as an error.
    #[default]
    Error,
    /// The system cannot do its work.
    Critical,
}

/// One error as a source tells it. Everything but the message may be missing.
#[derive(Debug, Clone, Copy, Default)]
pub struct ErrorEvent<'a> {
    /// How grave.
    pub severity: Severity,
    /// The part of the system that reports: a job's name, `event_data.component`.
    pub component: Option<&'a str>,
    /// The kind of the error: `event_data.error_type`, the name of an exception.
    pub class: Option<&'a str>,
    /// Five characters, as Postgres gives them.
    pub sqlstate: Option<&'a str>,
    /// Status of an HTTP answer, 100 to 599.
    pub http_status: Option<u16>,
    /// The text, at any length.
    pub message: &'a str,
}

impl<'a> ErrorEvent<'a> {
    /// An event known by its text alone; SQLSTATE and HTTP status are read from the text where it names them as such.
    pub fn from_message(message: &'a str) -> Self {
        Self { sqlstate: sqlstate_in(message), http_status: http_status_in(message), message, ..Self::default() }
    }
}

/// The hash of a fingerprint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FingerprintId(pub u64);

impl fmt::Display for FingerprintId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for FingerprintId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no fingerprint: 16 hexadecimal digits are expected")]
pub struct ParseFingerprintError {
    text: String,
}

impl ParseFingerprintError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        "copy the fingerprint from the output of `healer analyze-errors --format json`"
    }
}

impl FromStr for FingerprintId {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseFingerprintError { text: text.chars().take(40).collect() };
        if text.len() != 16 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        u64::from_str_radix(text, 16).map(FingerprintId).map_err(|_| wrong())
    }
}

// Text, not a number: JSON readers in other languages round integers above 2^53.
impl Serialize for FingerprintId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FingerprintId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What identifies an error: its number, the number of its surroundings, and its masked text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// Hash of everything.
    pub id: FingerprintId,
    /// Hash of everything but the text. Only fingerprints of one context are ever joined.
    pub context: u64,
    /// The masked text.
    pub masked: Masked,
}

/// Fingerprints events one after the other, reusing its buffers.
#[derive(Debug, Default)]
pub struct Fingerprinter {
    masker: Masker,
}

/// A fingerprint whose text is still in the buffer of its [`Fingerprinter`].
#[derive(Debug, Clone, Copy)]
pub struct FingerprintRef<'f> {
    /// Hash of everything.
    pub id: FingerprintId,
    /// Hash of everything but the text.
    pub context: u64,
    /// The masked text.
    pub masked: &'f Masked,
}

impl FingerprintRef<'_> {
    /// A copy that owns its text.
    pub fn to_owned(self) -> Fingerprint {
        Fingerprint { id: self.id, context: self.context, masked: self.masked.clone() }
    }
}

impl Fingerprinter {
    /// A fingerprinter; it holds buffers and no knowledge.
    pub fn new() -> Self {
        Self::default()
    }

    /// The fingerprint of `event`.
    pub fn fingerprint(&mut self, event: &ErrorEvent<'_>) -> FingerprintRef<'_> {
        let mut hash = Fnv::new();
        hash.field(&VERSION.to_be_bytes());
        hash.field(&[event.severity as u8]);
        hash.field(event.component.unwrap_or_default().trim().as_bytes());
        hash.field(event.class.unwrap_or_default().trim().as_bytes());
        hash.field(event.sqlstate.unwrap_or_default().trim().as_bytes());
        hash.field(&event.http_status.unwrap_or_default().to_be_bytes());
        let context = hash.0;
        let masked = self.masker.mask(event.message);
        hash.field(masked.text().as_bytes());
        FingerprintRef { id: FingerprintId(hash.0), context, masked }
    }
}

/// The fingerprint of one event. For many events a [`Fingerprinter`] saves the allocations.
pub fn fingerprint(event: &ErrorEvent<'_>) -> Fingerprint {
    Fingerprinter::new().fingerprint(event).to_owned()
}

/// FNV-1a with 64 bits: <http://www.isthe.com/chongo/tech/comp/fnv/>.
pub(crate) struct Fnv(pub(crate) u64);

impl Fnv {
    pub(crate) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.0 = (self.0 ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn field(&mut self, bytes: &[u8]) {
        self.write(bytes);
        self.write(&[0xff]);
    }
}

/// An HTTP status from 400 to 599 that the text names as one (`HTTP 429`, `status code 503`, `HTTP/1.1 502`).
pub fn http_status_in(text: &str) -> Option<u16> {
    let bytes = super::template::cut(text, 2048).as_bytes();
    let mut i = 0;
    while i + 3 <= bytes.len() {
        if matches!(bytes[i], b'4' | b'5')
            && bytes[i + 1].is_ascii_digit()
            && bytes[i + 2].is_ascii_digit()
            && bytes.get(i + 3).is_none_or(|b| !b.is_ascii_alphanumeric() && *b != b'_')
            && (i == 0 || !bytes[i - 1].is_ascii_alphanumeric() && !matches!(bytes[i - 1], b'_' | b'-' | b'.' | b'/'))
        {
            let before = bytes[i.saturating_sub(16)..i].to_ascii_lowercase();
            let named = [&b"http"[..], b"status", b"response code"]
                .iter()
                .any(|name| before.windows(name.len()).any(|window| window == *name));
            if named {
                return std::str::from_utf8(&bytes[i..i + 3]).ok()?.parse().ok();
            }
        }
        i += 1;
    }
    None
}

/// A SQLSTATE that the text names as one (`SQLSTATE 23505`, `SQLSTATE[40P01]`, `code: '57014'`).
pub fn sqlstate_in(text: &str) -> Option<&str> {
    let text = super::template::cut(text, 2048);
    for name in ["SQLSTATE", "sqlstate", "code"] {
        for (at, _) in text.match_indices(name) {
            let rest = &text[at + name.len()..];
            let rest = rest.trim_start_matches([' ', ':', '=', '\'', '"', '[', '(']);
            let code = rest.as_bytes().get(..5);
            let ends = rest.as_bytes().get(5).is_none_or(|b| !b.is_ascii_alphanumeric());
            let Some(code) = code else { continue };
            let shaped = code.iter().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
            // Five digits behind the word `code` alone may be anything; classes of SQLSTATE that occur begin so.
            let known = name != "code"
                || code[..2].iter().all(u8::is_ascii_alphanumeric) && code[2..].contains(&b'0') && is_class(&code[..2]);
            if shaped && ends && known {
                return Some(&rest[..5]);
            }
        }
    }
    None
}

fn is_class(class: &[u8]) -> bool {
    matches!(
        class,
        b"08" | b"22" | b"23" | b"25" | b"28" | b"40" | b"42" | b"53" | b"54" | b"55" | b"57" | b"58" | b"P0" | b"XX"
    )
}

/// Whether a masked text says anything besides that something varied.
pub(crate) fn says_something(masked: &str) -> bool {
    masked.replace(VARIABLE, "").chars().any(char::is_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(event: &ErrorEvent<'_>) -> String {
        fingerprint(event).id.to_string()
    }

    #[test]
    fn a_fingerprint_is_the_same_number_on_every_host_and_in_every_run() {
        // Numbers that were printed once and must never change within a version.
        assert_eq!(id(&ErrorEvent::default()), "9e32146970089099");
        let event = ErrorEvent {
            severity: Severity::Critical,
            component: Some("posting"),
            class: Some("browser_queue_timeout"),
            sqlstate: Some("57014"),
            http_status: Some(429),
            message: "Timeout 30000ms exceeded waiting for selector 'div'",
        };
        assert_eq!(id(&event), "00661219e387b83a");
    }

    #[test]
    fn the_hash_is_the_published_one() {
        let mut hash = Fnv::new();
        hash.write(b"foobar");
        assert_eq!(hash.0, 0x8594_4171_f739_67e8);
    }

    #[test]
    fn everything_but_the_variables_keeps_errors_apart() {
        let event =
            ErrorEvent { component: Some("a"), class: Some("b"), message: "failed 1 time", ..ErrorEvent::default() };
        let same = ErrorEvent { message: "failed 2 time", ..event };
        assert_eq!(id(&event), id(&same));
        for other in [
            ErrorEvent { severity: Severity::Info, ..event },
            ErrorEvent { component: Some("b"), ..event },
            ErrorEvent { component: None, ..event },
            ErrorEvent { component: Some("ab"), class: None, ..event },
            ErrorEvent { class: Some("c"), ..event },
            ErrorEvent { sqlstate: Some("23505"), ..event },
            ErrorEvent { http_status: Some(500), ..event },
            ErrorEvent { message: "worked 1 time", ..event },
        ] {
            assert_ne!(id(&event), id(&other), "{other:?}");
        }
    }

    #[test]
    fn codes_are_read_from_the_text_where_it_names_them() {
        assert_eq!(http_status_in("Request failed with status code 503"), Some(503));
        assert_eq!(http_status_in("HTTP/1.1 429 Too Many Requests"), Some(429));
        assert_eq!(http_status_in("read 404 rows"), None);
        assert_eq!(http_status_in("HTTP 4290"), None);
        assert_eq!(sqlstate_in("ERROR: x (SQLSTATE 42P01)"), Some("42P01"));
        assert_eq!(sqlstate_in("SQLSTATE[23505]: y"), Some("23505"));
        assert_eq!(sqlstate_in("{ code: '57014' }"), Some("57014"));
        assert_eq!(sqlstate_in("exit code 12345"), None);
        assert_eq!(sqlstate_in("SQLSTATE"), None);
    }

    #[test]
    fn a_fingerprint_reads_back_and_a_wrong_one_says_so() {
        let own = FingerprintId(0x00ab);
        assert_eq!(own.to_string(), "00000000000000ab");
        assert_eq!(own.to_string().parse(), Ok(own));
        assert_eq!(serde_json::to_string(&own).ok().as_deref(), Some("\"00000000000000ab\""));
        assert!("ab".parse::<FingerprintId>().is_err());
        assert!("+0000000000000ab".parse::<FingerprintId>().is_err());
    }

    proptest! {
        #[test]
        fn codes_are_looked_for_in_any_text_without_panic(text in "(code|HTTP|SQLSTATE|[: '0-9A-Zé])*") {
            let event = ErrorEvent::from_message(&text);
            prop_assert!(event.http_status.is_none_or(|status| (400..600).contains(&status)));
            prop_assert!(event.sqlstate.is_none_or(|code| code.len() == 5));
        }
    }
}
