//! The other side of an alert: a small HTTP server that holds each channel's real rules against what it is sent, and a
//! small SMTP server.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// With the query.
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
    /// What the receiver answered.
    pub status: u16,
}

impl Request {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What is answered instead of what the rules say.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A status and headers.
    Status(u16, &'static str),
    /// None at all, until the sender gives up.
    Silence,
    /// The rules' own answer, held back until the test lets it go.
    Held,
}

/// The rules of a channel: what its service would refuse, in words.
pub type Rules = fn(&Request) -> Result<(), String>;

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    answers: VecDeque<Answer>,
    held: bool,
}

/// A receiver on a port of its own; its threads end with the test process.
pub struct Receiver {
    pub port: u16,
    state: Arc<(Mutex<State>, Condvar)>,
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Receiver {
    /// One that answers `good` to what keeps the rules, and 400 with the broken rule to what does not.
    pub fn new(good: u16, rules: Rules) -> Self {
        Self::serve(good, rules, None)
    }

    /// The same behind TLS.
    pub fn with_tls(good: u16, rules: Rules, config: rustls::ServerConfig) -> Self {
        Self::serve(good, rules, Some(Arc::new(config)))
    }

    fn serve(good: u16, rules: Rules, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                thread::spawn(move || {
                    // A sender that gives up is part of some tests.
                    let _ = match tls {
                        None => answer(stream, good, rules, &shared),
                        Some(config) => {
                            rustls::ServerConnection::new(config).map_err(std::io::Error::other).and_then(|session| {
                                answer(rustls::StreamOwned::new(session, stream), good, rules, &shared)
                            })
                        }
                    };
                });
            }
        });
        Self { port, state }
    }

    /// Its address.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Answers that come first, in this order.
    pub fn answers(&self, answers: impl IntoIterator<Item = Answer>) {
        locked(&self.state.0).answers.extend(answers);
    }

    /// What came since the last time this was asked. Fails where a rule was broken.
    #[track_caller]
    pub fn take(&self) -> Vec<Request> {
        let taken = std::mem::take(&mut locked(&self.state.0).requests);
        for request in &taken {
            assert_ne!(request.status, 400, "a rule was broken: {}", request.text());
        }
        taken
    }

    /// Waits until so many requests have come in all, and are not yet taken.
    pub fn await_requests(&self, count: usize) {
        let (state, changed) = &*self.state;
        let mut state = locked(state);
        while state.requests.len() < count {
            state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets held answers go.
    pub fn release(&self) {
        let (state, changed) = &*self.state;
        locked(state).held = true;
        changed.notify_all();
    }
}

fn answer<S: Read + Write>(
    mut stream: S,
    good: u16,
    rules: Rules,
    shared: &(Mutex<State>, Condvar),
) -> std::io::Result<()> {
    let mut request = read(&mut stream)?;
    let (state, changed) = shared;
    let scripted = locked(state).answers.pop_front();
    let (status, headers, body) = match &scripted {
        Some(Answer::Status(status, headers)) => (*status, *headers, String::new()),
        Some(Answer::Silence | Answer::Held) | None => match rules(&request) {
            Ok(()) => (good, "", "ok".to_owned()),
            Err(broken) => (400, "", broken),
        },
    };
    request.status = status;
    if status == 400 {
        request.body = format!("{body}\n{}", request.text()).into_bytes();
    }
    let mut held = locked(state);
    held.requests.push(request);
    changed.notify_all();
    if matches!(scripted, Some(Answer::Held)) {
        while !held.held {
            held = changed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
    }
    drop(held);
    if matches!(scripted, Some(Answer::Silence)) {
        return std::io::copy(&mut stream, &mut std::io::sink()).map(drop);
    }
    let top = format!("HTTP/1.1 {status} x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n", body.len());
    stream.write_all(top.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    stream.flush()
}

fn read<S: Read>(stream: &mut S) -> std::io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default().to_owned());
    if method != "POST" {
        return Err(std::io::Error::other(format!("{line:?} is no POST")));
    }
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length") {
        body = vec![0; length.parse().map_err(std::io::Error::other)?];
        reader.read_exact(&mut body)?;
    } else {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(std::io::Error::other)?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }
    Ok(Request { path, headers, body, status: 0 })
}

/// The rules of the services, as they document them.
pub mod rules {
    use super::{Request, Value};

    fn check(holds: bool, rule: &str) -> Result<(), String> {
        if holds { Ok(()) } else { Err(rule.to_owned()) }
    }

    fn document(request: &Request) -> Result<Value, String> {
        check(request.headers.get("content-type").is_some_and(|kind| kind == "application/json"), "content-type")?;
        serde_json::from_slice(&request.body).map_err(|error| error.to_string())
    }

    fn text<'a>(value: &'a Value, what: &str) -> Result<&'a str, String> {
        value.as_str().ok_or_else(|| format!("{what} is no text: {value}"))
    }

    fn within(text: &str, most: usize, what: &str) -> Result<(), String> {
        let length = text.encode_utf16().count();
        check(length >= 1 && length <= most, &format!("{what} has {length} characters"))
    }

    /// No call to everybody is left in a text that a chat would carry out.
    fn calls_nobody(text: &str) -> Result<(), String> {
        let calls = ["@here", "@everyone", "@channel", "<!", "<@", "<#"];
        match calls.iter().find(|call| text.contains(*call)) {
            Some(call) => Err(format!("{call} is a call")),
            None => Ok(()),
        }
    }

    /// Incoming webhooks and Block Kit.
    pub fn slack(request: &Request) -> Result<(), String> {
        let document = document(request)?;
        let mrkdwn = |value: &Value, most: usize, what: &str| {
            let text = text(value, what)?;
            within(text, most, what)?;
            calls_nobody(text)?;
            check(!text.contains(['<', '>']), &format!("{what}: < and > must be escaped"))?;
            let escaped =
                text.split('&').skip(1).all(|rest| ["amp;", "lt;", "gt;"].iter().any(|e| rest.starts_with(e)));
            check(escaped, &format!("{what}: & must be escaped"))
        };
        mrkdwn(&document["text"], 4_000, "text")?;
        let blocks = document["blocks"].as_array().ok_or("no blocks")?;
        check(blocks.len() <= 50, "more than 50 blocks")?;
        for block in blocks {
            match block["type"].as_str() {
                Some("header") => {
                    check(block["text"]["type"] == "plain_text", "a header is plain_text")?;
                    let text = text(&block["text"]["text"], "header")?;
                    within(text, 150, "header")?;
                    calls_nobody(text)?;
                }
                Some("section") => mrkdwn(&block["text"]["text"], 3_000, "section")?,
                Some("context") => {
                    let elements = block["elements"].as_array().ok_or("no elements")?;
                    check((1..=10).contains(&elements.len()), "1 to 10 elements")?;
                    for element in elements {
                        mrkdwn(&element["text"], 3_000, "element")?;
                    }
                }
                other => return Err(format!("block {other:?}")),
            }
        }
        Ok(())
    }

    /// Webhooks.
    pub fn discord(request: &Request) -> Result<(), String> {
        let document = document(request)?;
        // `\<` is a bracket and nothing more there.
        let calls_nobody = |text: &str| calls_nobody(&text.replace("\\<", ""));
        within(text(&document["content"], "content")?, 2_000, "content")?;
        calls_nobody(text(&document["content"], "content")?)?;
        check(document["allowed_mentions"]["parse"] == serde_json::json!([]), "somebody may be mentioned")?;
        let embeds = document["embeds"].as_array().ok_or("no embeds")?;
        check((1..=10).contains(&embeds.len()), "1 to 10 embeds")?;
        let mut total = 0;
        for embed in embeds {
            let (title, description) = (text(&embed["title"], "title")?, text(&embed["description"], "description")?);
            within(title, 256, "title")?;
            within(description, 4_096, "description")?;
            calls_nobody(title)?;
            calls_nobody(description)?;
            check(embed["color"].as_u64().is_some_and(|color| color <= 0x00FF_FFFF), "color")?;
            total += title.encode_utf16().count() + description.encode_utf16().count();
        }
        check(total <= 6_000, &format!("the embeds have {total} characters"))
    }

    /// Events API v2.
    pub fn pagerduty(request: &Request) -> Result<(), String> {
        let document = document(request)?;
        check(request.body.len() <= 512 * 1_024, "more than 512 KB")?;
        check(text(&document["routing_key"], "routing_key")?.len() == 32, "routing_key has 32 characters")?;
        let action = text(&document["event_action"], "event_action")?;
        within(text(&document["dedup_key"], "dedup_key")?, 255, "dedup_key")?;
        if action == "resolve" {
            return Ok(());
        }
        check(action == "trigger", "event_action")?;
        let payload = &document["payload"];
        within(text(&payload["summary"], "summary")?, 1_024, "summary")?;
        within(text(&payload["source"], "source")?, 1_024, "source")?;
        let severity = text(&payload["severity"], "severity")?;
        check(["critical", "error", "warning", "info"].contains(&severity), "severity")?;
        chrono::DateTime::parse_from_rfc3339(text(&payload["timestamp"], "timestamp")?).map_err(|e| e.to_string())?;
        Ok(())
    }

    /// API v2, `POST /api/v2/alerts`.
    pub fn alertmanager(request: &Request) -> Result<(), String> {
        check(request.path == "/api/v2/alerts", "the path is /api/v2/alerts")?;
        let document = document(request)?;
        for alert in document.as_array().ok_or("no array")? {
            let labels = alert["labels"].as_object().ok_or("no labels")?;
            check(labels.contains_key("alertname"), "no alertname")?;
            for (name, value) in labels.iter().chain(alert["annotations"].as_object().ok_or("no annotations")?) {
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
                check(name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit()), name)?;
                check(value.is_string(), &format!("{name} is no text"))?;
            }
            let time = |key: &str| {
                chrono::DateTime::parse_from_rfc3339(text(&alert[key], key)?).map_err(|error| error.to_string())
            };
            check(time("startsAt")? <= time("endsAt")?, "it ends before it starts")?;
        }
        Ok(())
    }

    /// What a receiver of the webhook does that knows the key `a key`.
    pub fn webhook(request: &Request) -> Result<(), String> {
        let time = request.headers.get("x-healer-timestamp").ok_or("no timestamp")?;
        let signature = request.headers.get("x-healer-signature").ok_or("no signature")?;
        let hex = signature.strip_prefix("sha256=").ok_or("no sha256=")?;
        let bytes: Option<Vec<u8>> =
            (0..hex.len() / 2).map(|n| u8::from_str_radix(hex.get(2 * n..2 * n + 2)?, 16).ok()).collect();
        let mut signed = format!("{time}.").into_bytes();
        signed.extend_from_slice(&request.body);
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"a key");
        ring::hmac::verify(&key, &signed, &bytes.ok_or("no hexadecimal digits")?).map_err(|_| "a wrong signature")?;
        let document = document(request)?;
        check(document["schemaVersion"] == 1, "schemaVersion")?;
        check(document["alerts"].as_array().is_some_and(|alerts| !alerts.is_empty()), "no alerts")
    }

    /// The pinging API: a UUID, what happened, and which run.
    pub fn healthchecks(request: &Request) -> Result<(), String> {
        check(request.body.len() <= 100_000, "more than 100 kB")?;
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let uuid = |text: &str| {
            let lengths: Vec<usize> = text.split('-').map(str::len).collect();
            lengths == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
        };
        check(uuid(parts[0]), "the path begins with a UUID")?;
        let what = parts.get(1).copied().unwrap_or_default();
        check(["start", "fail", "log", ""].contains(&what) || what.parse::<u8>().is_ok(), what)?;
        check(query.is_empty() || query.strip_prefix("rid=").is_some_and(uuid), "rid is a UUID")
    }
}

/// A mail server on a port of its own, without TLS; it takes everything.
pub struct MailServer {
    pub port: u16,
    mails: Arc<Mutex<Vec<String>>>,
}

impl MailServer {
    /// Starts one.
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mails = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&mails);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let _ = take_mail(stream, &shared);
                });
            }
        });
        Self { port, mails }
    }

    /// What came since the last time this was asked.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.mails.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn take_mail(mut stream: TcpStream, mails: &Mutex<Vec<String>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    stream.write_all(b"220 test ESMTP\r\n")?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        // RFC 5321: a line has at most 1,000 characters, its end included.
        assert!(line.len() <= 1_000, "a line of {} bytes", line.len());
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => stream.write_all(b"250-test\r\n250 8BITMIME\r\n")?,
            "DATA" => {
                stream.write_all(b"354 go on\r\n")?;
                let mut mail = String::new();
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line)?;
                    assert!(line.len() <= 1_000, "a line of {} bytes", line.len());
                    if line == ".\r\n" || line.is_empty() {
                        break;
                    }
                    mail.push_str(&line);
                }
                mails.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
                stream.write_all(b"250 taken\r\n")?;
            }
            "QUIT" => return stream.write_all(b"221 bye\r\n"),
            _ => stream.write_all(b"250 ok\r\n")?,
        }
    }
}
