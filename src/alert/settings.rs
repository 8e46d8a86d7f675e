//! The settings of the alerts: who hears of what, and when. The rules themselves need none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveTime, Utc};
use serde::Deserialize;

use crate::change::plan::Severity;
use crate::settings::Span;
use crate::zone::Zone;

/// Channels that a configuration may name: each costs a thread and some seconds of a pass.
const MOST_CHANNELS: usize = 20;

/// The table `[alerts]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alerts {
    /// Whether anything is sent.
    pub enabled: bool,
    /// What the system is called in messages; empty for the name of the database.
    pub instance: String,
    /// How long after the last message an alert that is still open is told again.
    pub remind_after: Span,
    /// The same for a critical one.
    pub remind_critical: Span,
    /// When nothing below critical is told: `22:00-07:00`; empty for never.
    pub quiet_hours: String,
    /// The zone of `quiet_hours`.
    pub timezone: String,
    /// The folder that remembers what was told while the database could not; empty for the usual one of the system.
    pub spool: String,
    /// The channels, by their names.
    pub channels: BTreeMap<String, ChannelSettings>,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            enabled: true,
            instance: String::new(),
            remind_after: Span::seconds(24 * 3_600),
            // An outage of days went unseen once: what is critical is told again in the same shift.
            remind_critical: Span::seconds(4 * 3_600),
            quiet_hours: String::new(),
            timezone: "UTC".into(),
            spool: String::new(),
            channels: BTreeMap::new(),
        }
    }
}

/// What a channel speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An incoming webhook of Slack.
    Slack,
    /// A webhook of Discord.
    Discord,
    /// PagerDuty's Events API v2.
    PagerDuty,
    /// Prometheus Alertmanager, API v2.
    Alertmanager,
    /// JSON to any address, signed with HMAC-SHA256.
    Webhook,
    /// E-mail by SMTP.
    Email,
    /// A ping of healthchecks.io, or of what speaks like it, for each run of one pass.
    Healthchecks,
}

impl Kind {
    /// The word of the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::Discord => "discord",
            Self::PagerDuty => "pagerduty",
            Self::Alertmanager => "alertmanager",
            Self::Webhook => "webhook",
            Self::Email => "email",
            Self::Healthchecks => "healthchecks",
        }
    }
}

/// How the connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// Plain first, then TLS, or nothing is sent.
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// None; for a server on this machine only.
    None,
}

/// One channel.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelSettings {
    /// What it speaks.
    pub kind: Kind,
    /// Alerts below this are not told here.
    #[serde(default = "warning", deserialize_with = "severity")]
    pub least: Severity,
    /// Quiet hours of this channel; the common ones where it is not given.
    pub quiet_hours: Option<String>,
    /// The address, where it is no secret.
    pub url: Option<String>,
    /// The environment variable that holds the address.
    pub url_env: Option<String>,
    /// The file that holds the address.
    pub url_file: Option<PathBuf>,
    /// The environment variable that holds the key: PagerDuty's routing key, the key that signs a webhook, the
    /// Alertmanager's bearer token, the password of the mail server.
    pub key_env: Option<String>,
    /// The file that holds the key.
    pub key_file: Option<PathBuf>,
    /// Certificates in PEM that are trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The pass that is pinged (`healthchecks`).
    pub pass: Option<String>,
    /// The mail server.
    pub host: Option<String>,
    /// Its port; by default that of `tls`.
    pub port: Option<u16>,
    /// How the connection to it is protected.
    #[serde(default = "starttls")]
    pub tls: MailTls,
    /// Who is logged in at it; nobody where it is not given.
    pub username: Option<String>,
    /// Who the mail is from.
    pub from: Option<String>,
    /// Who gets it.
    #[serde(default)]
    pub to: Vec<String>,
}

fn warning() -> Severity {
    Severity::Warning
}

fn starttls() -> MailTls {
    MailTls::StartTls
}

fn severity<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Severity, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        Info,
        Warning,
        Error,
        Critical,
    }
    Ok(match Word::deserialize(deserializer)? {
        Word::Info => Severity::Info,
        Word::Warning => Severity::Warning,
        Word::Error => Severity::Error,
        Word::Critical => Severity::Critical,
    })
}

/// Hours of a day in which only what is critical is told. From and to may lie on both sides of midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    from: NaiveTime,
    to: NaiveTime,
}

impl QuietHours {
    /// Reads `22:00-07:00`; `None` for an empty text.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let time = |text: &str| NaiveTime::parse_from_str(text.trim(), "%H:%M").ok();
        let found = text.split_once('-').and_then(|(from, to)| Some(Self { from: time(from)?, to: time(to)? }));
        match found {
            Some(hours) if hours.from != hours.to => Ok(Some(hours)),
            _ => Err("is no span of a day; write it as 22:00-07:00".into()),
        }
    }

    /// Whether a time lies in them.
    pub fn hold(self, now: DateTime<Utc>, zone: &Zone) -> bool {
        let time = zone.local(now).time();
        if self.from < self.to { self.from <= time && time < self.to } else { self.from <= time || time < self.to }
    }
}

impl Alerts {
    /// The zone of the quiet hours.
    pub fn zone(&self) -> Zone {
        Zone::named(&self.timezone).unwrap_or(Zone::UTC)
    }

    /// Whether a channel is in its quiet hours.
    pub fn quiet(&self, channel: &ChannelSettings, now: DateTime<Utc>) -> bool {
        let text = channel.quiet_hours.as_deref().unwrap_or(&self.quiet_hours);
        QuietHours::parse(text).ok().flatten().is_some_and(|hours| hours.hold(now, &self.zone()))
    }

    /// Whether every value makes sense; the message names the setting and repeats no value.
    pub fn validate(&self) -> Result<(), String> {
        for (name, span) in [("remind_after", self.remind_after), ("remind_critical", self.remind_critical)] {
            if span.as_seconds() < 60 {
                return Err(format!("alerts.{name} must be at least 1m"));
            }
        }
        if Zone::named(&self.timezone).is_none() {
            return Err("alerts.timezone is no time zone; for example Europe/Berlin".into());
        }
        QuietHours::parse(&self.quiet_hours).map_err(|message| format!("alerts.quiet_hours {message}"))?;
        if self.channels.len() > MOST_CHANNELS {
            return Err(format!("alerts.channels: at most {MOST_CHANNELS}"));
        }
        for (name, channel) in &self.channels {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            if name.is_empty() || name.len() > 40 || !name.chars().all(plain) {
                return Err("alerts.channels: a name is 1 to 40 letters, digits, `-` and `_`".into());
            }
            channel.validate().map_err(|message| format!("alerts.channels.{name}{message}"))?;
        }
        Ok(())
    }
}

impl ChannelSettings {
    fn validate(&self) -> Result<(), String> {
        if let Some(text) = &self.quiet_hours {
            QuietHours::parse(text).map_err(|message| format!(".quiet_hours {message}"))?;
        }
        let urls = [self.url.is_some(), self.url_env.is_some(), self.url_file.is_some()];
        let url_count = urls.iter().filter(|given| **given).count();
        let key_count = usize::from(self.key_env.is_some()) + usize::from(self.key_file.is_some());
        if url_count > 1 {
            return Err(": only one of url, url_env and url_file".into());
        }
        if key_count > 1 {
            return Err(": only one of key_env and key_file".into());
        }
        let secret_url = matches!(self.kind, Kind::Slack | Kind::Discord | Kind::Healthchecks);
        if secret_url && self.url.is_some() {
            return Err(".url: this address is a secret; name url_env or url_file instead".into());
        }
        if self.url.as_deref().is_some_and(|url| url.contains('@')) {
            return Err(".url: an address with a password in it is a secret; name url_env or url_file instead".into());
        }
        let needs_url = !matches!(self.kind, Kind::PagerDuty | Kind::Email);
        if needs_url && url_count == 0 {
            return Err(if secret_url { ": url_env or url_file is missing" } else { ": url is missing" }.into());
        }
        if matches!(self.kind, Kind::PagerDuty | Kind::Webhook) && key_count == 0 {
            return Err(": key_env or key_file is missing".into());
        }
        match self.kind {
            Kind::Email => self.validate_mail(key_count),
            Kind::Healthchecks => match self.pass.as_deref() {
                Some(pass) if super::PASSES.contains(&pass) => Ok(()),
                _ => Err(format!(".pass must be one of {}", super::PASSES.join(", "))),
            },
            _ => Ok(()),
        }
    }

    fn validate_mail(&self, keys: usize) -> Result<(), String> {
        let given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.trim().is_empty());
        if !given(&self.host) || !given(&self.from) || self.to.is_empty() {
            return Err(": host, from and to are needed".into());
        }
        for address in self.from.iter().chain(&self.to) {
            if address.parse::<lettre::message::Mailbox>().is_err() {
                return Err(": from and to hold mail addresses, plain or as `Name <name@example.org>`".into());
            }
        }
        if given(&self.username) != (keys == 1) {
            return Err(": username and key_env or key_file belong together".into());
        }
        let local = self.host.as_deref().is_some_and(is_local);
        if self.tls == MailTls::None && !local {
            return Err(".tls: `none` is for a server on this machine only".into());
        }
        Ok(())
    }
}

/// Whether a host is this machine.
pub fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A secret: shown nowhere.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The value.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Longest secret that is read: a file of this length is some other file.
const LONGEST_SECRET: u64 = 16_384;

/// Reads a secret from the variable or the file that is named; `None` where neither is. The error says where, never what.
pub fn secret(variable: Option<&str>, file: Option<&Path>) -> Result<Option<Secret>, String> {
    let text = match (variable, file) {
        (None, None) => return Ok(None),
        (Some(name), _) => std::env::var(name).map_err(|error| match error {
            std::env::VarError::NotPresent => format!("the environment variable {name} is not set"),
            std::env::VarError::NotUnicode(_) => format!("the environment variable {name} is no text"),
        })?,
        (None, Some(path)) => {
            use std::io::Read as _;
            let mut text = String::new();
            std::fs::File::open(path)
                .and_then(|file| file.take(LONGEST_SECRET).read_to_string(&mut text))
                .map_err(|error| format!("{} cannot be read: {}", path.display(), error.kind()))?;
            text
        }
    };
    // Editors and `echo` end a file with a newline; people paste with quotes.
    let text = text.trim().trim_matches(['"', '\'']).trim();
    if text.is_empty() {
        let place = variable.map_or_else(|| file.unwrap_or(Path::new("")).display().to_string(), str::to_owned);
        return Err(format!("{place} is empty"));
    }
    Ok(Some(Secret(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<crate::settings::Settings, (String, String)> {
        crate::settings::Settings::from_toml(text)
    }

    #[test]
    fn quiet_hours_hold_on_both_sides_of_midnight_and_in_their_own_zone() {
        let hours = QuietHours::parse("22:00-07:00").expect("hours").expect("some");
        let at = |text: &str| DateTime::parse_from_rfc3339(text).expect("a time").to_utc();
        assert!(hours.hold(at("2026-01-01T22:00:00Z"), &Zone::UTC));
        assert!(hours.hold(at("2026-01-01T06:59:59Z"), &Zone::UTC));
        assert!(!hours.hold(at("2026-01-01T07:00:00Z"), &Zone::UTC));
        assert!(!hours.hold(at("2026-01-01T21:59:59Z"), &Zone::UTC));
        assert!(hours.hold(at("2026-01-01T21:30:00Z"), &Zone::named("Europe/Berlin").expect("a zone")));
        assert!(QuietHours::parse("22-7").is_err());
        assert!(QuietHours::parse("07:00-07:00").is_err(), "a whole day would tell nothing ever");
        assert_eq!(QuietHours::parse("  ").expect("none"), None);
    }

    #[test]
    fn a_secret_address_in_the_file_is_refused_and_never_repeated() {
        let text =
            "[alerts.channels.ops]\nkind = \"slack\"\nurl = \"https://hooks.slack.com/services/T0/B0/verysecret\"";
        let (message, hint) = read(text).expect_err("a secret in the file");
        assert!(message.contains("alerts.channels.ops.url"), "{message}");
        assert!(!format!("{message}{hint}").contains("verysecret"));
    }

    #[test]
    fn what_a_channel_lacks_is_named() {
        for (text, word) in [
            ("kind = \"slack\"", "url_env"),
            ("kind = \"pagerduty\"", "key_env"),
            ("kind = \"webhook\"\nurl = \"https://example.org\"", "key_env"),
            ("kind = \"alertmanager\"", "url is missing"),
            ("kind = \"healthchecks\"\nurl_env = \"X\"", "pass must be one of"),
            ("kind = \"email\"\nhost = \"mail.example.org\"", "host, from and to"),
            ("kind = \"email\"\nhost = \"mail.example.org\"\nfrom = \"a@b.c\"\nto = [\"x\"]", "mail addresses"),
            ("kind = \"email\"\nhost = \"m.example.org\"\nfrom = \"a@b.c\"\nto = [\"a@b.c\"]\ntls = \"none\"", "tls"),
            ("kind = \"slack\"\nurl_env = \"A\"\nurl_file = \"b\"", "only one of"),
            ("kind = \"slack\"\nurl_env = \"A\"\nquiet_hours = \"late\"", "quiet_hours"),
            ("kind = \"slack\"\nurl_env = \"A\"\nleast = \"grave\"", "`least` is not"),
            ("kind = \"slak\"\nurl_env = \"A\"", "`kind` is not"),
        ] {
            let (message, _) = read(&format!("[alerts.channels.ops]\n{text}")).expect_err(text);
            assert!(message.contains(word), "{text}: {message}");
        }
        assert!(read("[alerts]\ntimezone = \"Mars\"").is_err());
        assert!(read("[alerts]\nremind_after = \"1s\"").is_err());
        assert!(read("[alerts.channels.\"a b\"]\nkind = \"slack\"\nurl_env = \"A\"").is_err());
    }
}
