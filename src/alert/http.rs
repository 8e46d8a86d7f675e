//! Sending by HTTP: one time limit, few tries, no redirects, and no word of an address in what is said about it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::http::StatusCode;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use super::settings::{ChannelSettings, is_local, secret};
use crate::database::session::StopFlag;

/// One attempt, from the name's resolution to the last byte of the answer.
pub const LIMIT: Duration = Duration::from_secs(5);
/// Attempts after the first one.
pub const RETRIES: u32 = 2;
/// Wait before the first retry; doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest `Retry-After` that is sat out in a pass; a longer one is kept for the next pass.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Longest `Retry-After` that is believed: after a day the channel is tried again whatever it said.
const LONGEST_CLOSED: Duration = Duration::from_secs(86_400);
/// Bytes of an answer that are read: it is only looked at for its words of refusal.
const LONGEST_ANSWER: u64 = 4_096;

/// Why something was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In words, without any secret.
    pub words: String,
    /// How long the other side asked not to be called.
    pub wait: Option<Duration>,
}

impl Failure {
    /// A failure in words.
    pub fn new(words: impl Into<String>) -> Self {
        Self { words: words.into(), wait: None }
    }
}

/// One request.
#[derive(Debug)]
pub struct Post<'a> {
    /// Names and values of headers beside the content type.
    pub headers: Vec<(&'a str, String)>,
    /// `application/json` or another.
    pub content_type: &'a str,
    /// What is sent.
    pub body: Vec<u8>,
}

/// A place to send to.
pub struct Client {
    agent: ureq::Agent,
    /// The address; a secret for most channels.
    url: String,
    /// What may be said of it.
    host: String,
    stop: StopFlag,
    until: Instant,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Client {
    /// For the address of a channel, or `usual` where it names none. Plain HTTP is for this machine, and for what sends
    /// no secret (`plain`).
    pub fn new(
        channel: &ChannelSettings,
        usual: Option<&str>,
        plain: bool,
        stop: &StopFlag,
        until: Instant,
    ) -> Result<Self, Failure> {
        let hidden = secret(channel.url_env.as_deref(), channel.url_file.as_deref()).map_err(Failure::new)?;
        let url = hidden.as_ref().map(super::settings::Secret::reveal).or(channel.url.as_deref()).or(usual);
        let url = url.ok_or_else(|| Failure::new("no address"))?.to_owned();
        let (scheme, host) = scheme_and_host(&url)?;
        let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name).trim_matches(['[', ']']);
        // A name and a password in the address are a secret, whatever else is sent.
        let plain = plain && !url.split('/').nth(2).is_some_and(|authority| authority.contains('@'));
        if scheme == "http" && !plain && !is_local(name) {
            return Err(Failure::new("the address must begin with https://: it is a secret, or one is sent to it"));
        }
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(roots(channel)?)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(LIMIT))
            // An alert goes where it was meant to go, or nowhere.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("healer/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build()
            .new_agent();
        Ok(Self { agent, url, host, stop: stop.clone(), until })
    }

    /// Sends to the address with `path` behind it, with retries.
    pub fn post(&self, path: &str, post: &Post<'_>) -> Result<(), Failure> {
        let mut wait = FIRST_WAIT;
        let mut tries = 0;
        loop {
            let failed = match self.attempt(path, post) {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            let pause = failed.wait.unwrap_or(wait);
            let no_time = Instant::now() + pause + LIMIT > self.until;
            if !failed.again || tries == RETRIES || pause > LONGEST_WAIT || no_time {
                return Err(Failure { words: failed.words, wait: failed.wait });
            }
            if !self.pause(pause) {
                return Err(Failure::new("interrupted before it could be tried again"));
            }
            tries += 1;
            wait *= 2;
        }
    }

    fn pause(&self, pause: Duration) -> bool {
        let end = Instant::now() + pause;
        while Instant::now() < end {
            if self.stop.signal().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50).min(end.saturating_duration_since(Instant::now())));
        }
        self.stop.signal().is_none()
    }

    fn attempt(&self, path: &str, post: &Post<'_>) -> Result<(), Failed> {
        let url = if path.is_empty() { self.url.clone() } else { format!("{}{path}", self.url.trim_end_matches('/')) };
        let mut request = self.agent.post(url).header("content-type", post.content_type);
        for (name, value) in &post.headers {
            request = request.header(*name, value);
        }
        let mut answer = request.send(&post.body[..]).map_err(|error| self.failed(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let said = answer.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string().unwrap_or_default();
        let said: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(120).collect();
        // What a server says may repeat what it was sent.
        let said = crate::errors::secrets::mask(said.trim());
        let said = if said.is_empty() { said } else { format!(": {said}") };
        let why = if status.is_redirection() { " (redirects are not followed)" } else { "" };
        let again =
            status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        let wait = if again { answer.headers().get("retry-after").and_then(retry_after) } else { None };
        Err(Failed { words: format!("{} answered {}{why}{said}", self.host, status.as_u16()), again, wait })
    }

    /// Why there was no answer. Only fixed words: the library's own may repeat the address.
    fn failed(&self, error: &ureq::Error) -> Failed {
        let (words, again) = match error {
            ureq::Error::Timeout(_) => (format!("no answer within {} s", LIMIT.as_secs()), true),
            ureq::Error::HostNotFound => ("the host name cannot be resolved".to_owned(), true),
            ureq::Error::ConnectionFailed => ("no connection".to_owned(), true),
            ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                ("nothing listens there".to_owned(), true)
            }
            // A certificate that is not trusted is none the next moment either.
            ureq::Error::Rustls(error) => (format!("TLS: {}", plain(&error.to_string())), false),
            ureq::Error::Io(error) => match tls_error(error) {
                Some(words) => (format!("TLS: {}", plain(&words)), false),
                None => (format!("the connection broke: {}", error.kind()), true),
            },
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => ("the address cannot be used".to_owned(), false),
            ureq::Error::Protocol(_) => ("the answer is no HTTP".to_owned(), true),
            _ => ("it could not be sent".to_owned(), true),
        };
        Failed { words: format!("{}: {words}", self.host), again, wait: None }
    }
}

struct Failed {
    words: String,
    again: bool,
    wait: Option<Duration>,
}

/// What rustls says, where an I/O error wraps it.
fn tls_error(error: &std::io::Error) -> Option<String> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).map(ToString::to_string)
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(120).collect()
}

/// Seconds, whole or not, as `Retry-After` and Discord say them; a date is read as its distance from now.
fn retry_after(value: &ureq::http::HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let wait = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
        Err(_) => {
            let then = chrono::DateTime::parse_from_rfc2822(text).ok()?;
            then.to_utc().signed_duration_since(chrono::Utc::now()).to_std().unwrap_or_default()
        }
    };
    Some(wait.min(LONGEST_CLOSED))
}

fn scheme_and_host(url: &str) -> Result<(&'static str, String), Failure> {
    let bad = || Failure::new("the address is no http:// or https:// address");
    let uri: ureq::http::Uri = url.parse().map_err(|_| bad())?;
    let scheme = match uri.scheme_str() {
        Some("http") => "http",
        Some("https") => "https",
        _ => return Err(bad()),
    };
    let authority = uri.authority().ok_or_else(bad)?.as_str();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.is_empty() { Err(bad()) } else { Ok((scheme, host.to_owned())) }
}

fn roots(channel: &ChannelSettings) -> Result<RootCerts, Failure> {
    let certificates: Vec<Certificate<'static>> = match &channel.ca_file {
        None => rustls_native_certs::load_native_certs()
            .certs
            .iter()
            .map(|certificate| Certificate::from_der(certificate).to_owned())
            .collect(),
        Some(path) => {
            let pem = std::fs::read(path)
                .map_err(|error| Failure::new(format!("{} cannot be read: {}", path.display(), error.kind())))?;
            ureq::tls::parse_pem(&pem)
                .filter_map(Result::ok)
                .filter_map(|item| match item {
                    ureq::tls::PemItem::Certificate(certificate) => Some(certificate),
                    _ => None,
                })
                .collect()
        }
    };
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_web_are_taken_and_never_repeated() {
        assert_eq!(
            scheme_and_host("https://user:pw@hooks.example.org:8443/x/secret").expect("fine").1,
            "hooks.example.org:8443"
        );
        for bad in ["file:///etc/passwd", "ftp://example.org", "", "https://", "hooks.slack.com/services/T/B/secret"] {
            let failure = scheme_and_host(bad).expect_err(bad);
            assert!(!failure.words.contains("secret") && !failure.words.contains("passwd"));
        }
    }

    #[test]
    fn a_wait_is_read_as_seconds_or_as_a_date_and_is_bounded() {
        let read = |text: &'static str| retry_after(&ureq::http::HeaderValue::from_static(text));
        assert_eq!(read("3"), Some(Duration::from_secs(3)));
        assert_eq!(read("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(read("99999999"), Some(LONGEST_CLOSED));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(read("soon"), None);
        assert_eq!(read("-1"), None);
        assert_eq!(read("NaN"), None);
    }
}
