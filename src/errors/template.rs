//! From an error message to its masked text: what stays the same when the same thing goes wrong again.
//!
//! The function is stateless: it knows nothing of the messages that came before, so the masked text of a message is the
//! same in every run and on every host. It works on bytes in one pass and stops at a bound, so a message of a megabyte
//! costs no more than one of a few kilobytes.
//!
//! What is masked, by form and never by name: numbers with their units, hexadecimal numbers, identifiers that carry
//! digits, UUIDs, addresses, host names, e-mail addresses, URLs, paths, dates and times, quoted names, empty values
//! (`key=`, `()`), `null`, `true` and `false` as values. Neighbouring variables become one, so that a list of two and a
//! list of nine read the same.
//!
//! What is reduced first: an HTML page to its title, a JSON document (also one inside a string of another) to the text
//! that it carries, a stack trace to the names of its functions without files and line numbers.
//!
//! Its limits: a variable that is a plain word (`user root`, `user guest`) cannot be told from a constant here; that is
//! what [`super::group`] is for.

use std::borrow::Cow;

/// Stands for a variable part in a masked text.
pub const VARIABLE: &str = "<*>";
/// Stands between the message and the functions of its stack trace in a masked text.
pub const TRACE: &str = " @ ";

/// Bytes of a message that are looked at. Postgres cuts nothing, browsers put whole pages into messages; what tells
/// one error from another stands in the first lines, and a stack trace of 60 frames fits as well.
pub const MAX_INPUT: usize = 16 * 1024;
/// Bytes of masked text that are kept of the message proper. Messages that agree this far are the same pattern.
pub const MAX_MASKED: usize = 512;
/// Functions of a stack trace that are kept: enough to tell call sites apart, few enough that a deeper caller does not.
pub const MAX_FRAMES: usize = 8;
/// Bytes kept of one function name of a stack trace.
const MAX_FRAME_NAME: usize = 60;
/// The longest quoted name. A longer quotation is prose, whose words are looked at one by one.
const MAX_QUOTED: usize = 256;
/// Depth to which JSON inside strings of JSON is opened: gateways wrap the answer of a service that wraps another.
const MAX_JSON_DEPTH: usize = 4;
/// Keys under which JSON error documents carry their text, in the order in which they are preferred.
const JSON_TEXT_KEYS: [&str; 12] = [
    "message",
    "error_message",
    "errorMessage",
    "error_description",
    "error",
    "errors",
    "msg",
    "detail",
    "details",
    "reason",
    "title",
    "cause",
];
/// Keys under which JSON error documents carry a short class name that tells errors apart.
const JSON_CLASS_KEYS: [&str; 4] = ["name", "type", "code", "status"];

/// A message taken apart: its masked text and, where it carried a stack trace, the functions of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Masked {
    text: String,
    message_end: usize,
}

impl Masked {
    /// The whole masked text: message, then [`TRACE`] and the function names if there was a stack trace.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The masked text of the message alone.
    pub fn message(&self) -> &str {
        &self.text[..self.message_end]
    }
}

/// Masks messages one after the other, reusing its buffers.
#[derive(Debug, Default)]
pub struct Masker {
    out: Vec<u8>,
    masked: Masked,
}

impl Masker {
    /// A masker; it holds buffers and no knowledge.
    pub fn new() -> Self {
        Self::default()
    }

    /// The masked text of `message`; it depends on nothing but `message`.
    pub fn mask(&mut self, message: &str) -> &Masked {
        self.out.clear();
        let input = cut(message, MAX_INPUT);
        let reduced = reduce(input);
        let (head, trace) = split_trace(&reduced);
        mask_text(head, &mut self.out, MAX_MASKED);
        trim_end(&mut self.out);
        let message_end = self.out.len();
        if let Some(trace) = trace {
            write_frames(trace, &mut self.out);
        }
        self.masked.text.clear();
        match std::str::from_utf8(&self.out) {
            Ok(text) => self.masked.text.push_str(text),
            // Only whole characters are copied, so this arm is for the day when somebody breaks that.
            Err(_) => self.masked.text.push_str(&String::from_utf8_lossy(&self.out)),
        }
        self.masked.message_end = floor_char(&self.masked.text, message_end);
        &self.masked
    }
}

/// `text` cut to at most `limit` bytes, at a boundary of characters.
pub fn cut(text: &str, limit: usize) -> &str {
    &text[..floor_char(text, limit)]
}

fn floor_char(text: &str, limit: usize) -> usize {
    if text.len() <= limit {
        return text.len();
    }
    let mut end = limit;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

// ---------------------------------------------------------------------------------------------------------------------
// Documents that wrap a message
// ---------------------------------------------------------------------------------------------------------------------

/// An HTML page becomes its title, a JSON document its text; anything else stays.
fn reduce(input: &str) -> Cow<'_, str> {
    let trimmed = input.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    match trimmed.as_bytes().first() {
        Some(b'<') => html_summary(trimmed).map_or(Cow::Borrowed(input), Cow::Owned),
        Some(b'{' | b'[') => json_text(trimmed).map_or(Cow::Borrowed(input), Cow::Owned),
        Some(b'"') if trimmed.len() > 1 => match serde_json::from_str::<String>(trimmed.trim_end()) {
            Ok(inner) => Cow::Owned(reduce(&inner).into_owned()),
            Err(_) => Cow::Borrowed(input),
        },
        _ => Cow::Borrowed(input),
    }
}

fn html_summary(page: &str) -> Option<String> {
    let opening: String = page.chars().take(512).collect::<String>().to_ascii_lowercase();
    if !(opening.starts_with("<!doctype html") || opening.contains("<html") || opening.contains("<head")) {
        return None;
    }
    let lower = page.to_ascii_lowercase();
    let between = |tag: &str| {
        let start = lower.find(&format!("<{tag}"))?;
        let open = start + lower[start..].find('>')? + 1;
        let end = open + lower[open..].find('<')?;
        let text = page[open..end].trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let title = between("title").or_else(|| between("h1"));
    Some(title.map_or_else(|| "HTML page".to_owned(), |title| format!("HTML page: {title}")))
}

fn json_text(document: &str) -> Option<String> {
    let mut stream = serde_json::Deserializer::from_str(document).into_iter::<serde_json::Value>();
    let value = stream.next()?.ok()?;
    let rest = document.get(stream.byte_offset()..).unwrap_or_default();
    let mut text = String::new();
    collect_json_text(&value, 0, &mut text);
    if text.is_empty() {
        return None;
    }
    if !rest.trim().is_empty() {
        text.push(' ');
        text.push_str(rest);
    }
    Some(text)
}

fn collect_json_text(value: &serde_json::Value, depth: usize, text: &mut String) {
    use serde_json::Value;
    if depth >= MAX_JSON_DEPTH || text.len() >= MAX_INPUT {
        return;
    }
    match value {
        Value::String(inner) => {
            if !text.is_empty() {
                text.push(' ');
            }
            let nested = inner.trim_start();
            if nested.starts_with(['{', '[', '<']) {
                match serde_json::from_str::<Value>(nested) {
                    Ok(opened) => collect_json_text(&opened, depth + 1, text),
                    Err(_) => text.push_str(&html_summary(nested).unwrap_or_else(|| inner.clone())),
                }
            } else {
                text.push_str(inner);
            }
        }
        Value::Array(items) => {
            // The first item speaks for the others: how many there are is a variable.
            if let Some(first) = items.first() {
                collect_json_text(first, depth + 1, text);
            }
        }
        Value::Object(map) => {
            for key in JSON_CLASS_KEYS {
                // A number is masked in running text, so a class that is one is left to the caller's fields.
                if let Some(Value::String(class)) = map.get(key) {
                    if !text.is_empty() {
                        text.push(' ');
                    }
                    text.push_str(class);
                }
            }
            for key in JSON_TEXT_KEYS {
                if let Some(inner) = map.get(key) {
                    let before = text.len();
                    collect_json_text(inner, depth + 1, text);
                    if text.len() > before {
                        return;
                    }
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Stack traces
// ---------------------------------------------------------------------------------------------------------------------

/// Splits off a stack trace: the message before it, and the lines from its first frame on.
fn split_trace(text: &str) -> (&str, Option<&str>) {
    // Python prints the trace first and the message last.
    if let Some(start) = text.find("Traceback (most recent call last)") {
        let trace = &text[start..];
        let message_start = trace
            .match_indices('\n')
            .map(|(at, _)| at + 1)
            .rfind(|&next| trace[next..].chars().next().is_some_and(|c| !c.is_whitespace()))
            .map(|next| start + next);
        return match message_start {
            Some(at) if start == 0 || text[..start].trim().is_empty() => (&text[at..], Some(&text[start..at])),
            _ => (&text[..start], Some(trace)),
        };
    }
    // Traces come also with the line breaks written as \n, when somebody has put them through JSON twice.
    let mut at = 0;
    let bytes = text.as_bytes();
    while let Some(step) = memchr_any(&bytes[at..], b'\n', b'\\') {
        let here = at + step;
        let next = if bytes[here] == b'\n' {
            here + 1
        } else if bytes.get(here + 1) == Some(&b'n') {
            here + 2
        } else {
            at = here + 1;
            continue;
        };
        if text.is_char_boundary(next) && frame_name(first_line(&text[next..])).is_some() {
            return (&text[..here], Some(&text[next..]));
        }
        at = next;
    }
    (text, None)
}

fn memchr_any(bytes: &[u8], one: u8, other: u8) -> Option<usize> {
    bytes.iter().position(|&b| b == one || b == other)
}

fn first_line(text: &str) -> &str {
    let end = text.find('\n').unwrap_or(text.len());
    let line = &text[..end];
    line.find("\\n").map_or(line, |at| &line[..at])
}

/// The function that a line of a stack trace names: JavaScript and Java (`at f (file:1:2)`), Python (`File "x", line 1,
/// in f`), Rust and C (`  3: f`, `#3 0x… in f ()`).
fn frame_name(line: &str) -> Option<&str> {
    let indented = line.starts_with([' ', '\t']);
    let line = line.trim();
    if let Some(rest) = line.strip_prefix("at ") {
        if !indented && !rest.contains(':') && !rest.ends_with(')') {
            return None;
        }
        let rest = rest.strip_prefix("async ").unwrap_or(rest);
        let rest = rest.strip_prefix("new ").unwrap_or(rest);
        let name = rest.split(" (").next().unwrap_or(rest);
        let name = name.split('(').next().unwrap_or(name);
        // A bare place without a function: a line number, which must not count.
        return Some(if name.contains(['/', '\\']) || name.contains(':') && !name.contains("::") { "" } else { name });
    }
    if line.starts_with("File \"") {
        return Some(line.rsplit_once(", in ").map_or("", |(_, name)| name));
    }
    if let Some(rest) = line.strip_prefix('#') {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 && rest[digits..].starts_with(' ') {
            let rest = rest[digits..].trim_start();
            let rest = rest.split_once(" in ").map_or(rest, |(_, name)| name);
            return Some(rest.split([' ', '(']).next().unwrap_or(""));
        }
        return None;
    }
    if indented {
        let digits = line.bytes().take_while(u8::is_ascii_digit).count();
        if (1..=3).contains(&digits) && line[digits..].starts_with(": ") && line[digits + 2..].contains("::") {
            return Some(line[digits + 2..].trim_start());
        }
    }
    None
}

fn write_frames(trace: &str, out: &mut Vec<u8>) {
    let mut written = 0;
    let mut last = "";
    let mut rest = trace;
    while written < MAX_FRAMES && !rest.is_empty() {
        let line = first_line(rest);
        rest = rest.get(line.len()..).unwrap_or_default();
        rest = rest.strip_prefix('\n').or_else(|| rest.strip_prefix("\\n")).unwrap_or(rest);
        let Some(name) = frame_name(line) else { continue };
        let name = name.strip_prefix("Object.").unwrap_or(name);
        let name = cut(name, MAX_FRAME_NAME);
        if name.is_empty() || name == last || name == "<anonymous>" {
            continue;
        }
        last = name;
        out.extend_from_slice(if written == 0 { TRACE.as_bytes() } else { b" " });
        // Compilers number their closures and symbols; the numbers change from build to build.
        let mut in_digits = false;
        for &b in name.as_bytes() {
            if b.is_ascii_digit() {
                in_digits = true;
            } else {
                if in_digits {
                    out.push(b'0');
                }
                in_digits = false;
                out.push(if b.is_ascii_whitespace() || b.is_ascii_control() { b'_' } else { b });
            }
        }
        written += 1;
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Running text
// ---------------------------------------------------------------------------------------------------------------------

const SPACE: u8 = 0;
const LETTER: u8 = 1;
const DIGIT: u8 = 2;
/// Holds a word together: `node-7`, `a.b.c`, `/var/log`, `x_y`, `user@host`.
const JOIN: u8 = 3;
const QUOTE: u8 = 4;
const OPEN: u8 = 5;
const PUNCT: u8 = 6;
/// The first byte of a character outside ASCII.
const HIGH: u8 = 7;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [PUNCT; 256];
    let mut b = 0;
    while b < 256 {
        #[allow(clippy::cast_possible_truncation)] // b is below 256
        let c = b as u8;
        table[b] = if c <= b' ' || c == 0x7f {
            SPACE
        } else if c.is_ascii_alphabetic() {
            LETTER
        } else if c.is_ascii_digit() {
            DIGIT
        } else if c >= 0x80 {
            HIGH
        } else {
            match c {
                b'_' | b'-' | b'.' | b'/' | b'\\' | b'~' | b'@' | b'$' => JOIN,
                b'"' | b'\'' | b'`' => QUOTE,
                b'(' | b'[' | b'{' => OPEN,
                _ => PUNCT,
            }
        };
        b += 1;
    }
    table
}

/// The state of one pass: where the output stands, and where its last variable ended.
struct Writer<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    /// End of the last variable in `out`, or `usize::MAX`.
    variable_end: usize,
    /// Whether everything since the last variable may be swallowed by the next one.
    open_gap: bool,
    /// Whether the last word names a secret, so that what it is set to is a variable however it looks.
    secret: Secret,
}

/// How far the way from the name of a secret to its value was gone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Secret {
    None,
    /// `password`: a sign that sets a value may follow.
    Named,
    /// `token`: only `=` sets a value; what stands behind a colon tells what is wrong with it.
    NamedLoosely,
    /// `password=`, `Bearer`: the next word is the secret.
    Next,
}

impl Writer<'_> {
    fn space(&mut self) {
        if self.out.len() > self.start && self.out.last() != Some(&b' ') {
            self.out.push(b' ');
        }
    }

    fn variable(&mut self) {
        self.secret = Secret::None;
        if self.variable_end != usize::MAX && self.open_gap {
            self.out.truncate(self.variable_end);
            return;
        }
        self.out.extend_from_slice(VARIABLE.as_bytes());
        self.variable_end = self.out.len();
        self.open_gap = true;
    }

    fn literal(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.open_gap = false;
    }

    fn punct(&mut self, b: u8) {
        self.out.push(b);
        if (self.secret == Secret::Named && matches!(b, b'=' | b':'))
            || (self.secret == Secret::NamedLoosely && b == b'=')
        {
            self.secret = Secret::Next;
        }
        // A list, a ratio, a time: what separates two variables this way belongs to the value.
        if !matches!(
            b,
            b',' | b':'
                | b'-'
                | b'.'
                | b'/'
                | b'#'
                | b'|'
                | b';'
                | b'+'
                | b'*'
                | b'@'
                | b'_'
                | b'&'
                | b'\\'
                | b'~'
                | b'%'
        ) {
            self.open_gap = false;
        }
    }

    /// Whether what was written last of a word of which `written` bytes were read is a number and a joining character.
    fn in_number(&self, written: usize) -> bool {
        written > 0 && self.open_gap && self.variable_end != usize::MAX && self.out.len() == self.variable_end + 1
    }

    /// A list of names that differ in their numbers (`blk_1 blk_2 blk_3`) becomes one of them: takes back the word that
    /// begins at `from` if the word before it reads the same.
    fn drop_repeat(&mut self, from: usize) {
        let length = self.out.len().saturating_sub(from);
        if length == 0 {
            return;
        }
        let mut before = from;
        while before > self.start && matches!(self.out[before - 1], b' ' | b',') {
            before -= 1;
        }
        if before == from || before < self.start + length {
            return;
        }
        let begins = before - length;
        let alone = begins == self.start || matches!(self.out[begins - 1], b' ' | b',');
        if alone && self.out[begins..before] == self.out[from..] {
            self.out.truncate(before);
            let ends_variable = self.out.ends_with(VARIABLE.as_bytes());
            self.variable_end = if ends_variable { before } else { usize::MAX };
            self.open_gap = ends_variable;
        }
    }

    fn after_variable(&self) -> bool {
        self.variable_end != usize::MAX
            && self.open_gap
            && (self.out.len() == self.variable_end || self.out[self.variable_end..] == *b" ")
    }

    fn follows(&self, b: u8) -> bool {
        let mut tail = self.out[self.start..].iter().rev();
        match tail.next() {
            Some(&last) if last == b => true,
            Some(b' ') => tail.next() == Some(&b),
            _ => false,
        }
    }
}

fn trim_end(out: &mut Vec<u8>) {
    while let Some(last) = out.last() {
        if matches!(last, b' ' | b'.' | b',' | b':' | b';' | b'!') {
            out.pop();
        } else {
            break;
        }
    }
}

/// Masks running text into `out`, at most about `limit` bytes of it.
fn mask_text(text: &str, out: &mut Vec<u8>, limit: usize) {
    let bytes = text.as_bytes();
    let start = out.len();
    let mut w = Writer { out, start, variable_end: usize::MAX, open_gap: false, secret: Secret::None };
    let mut i = 0;
    while i < bytes.len() {
        if w.out.len() - start >= limit {
            break;
        }
        let b = bytes[i];
        match CLASS[b as usize] {
            SPACE => {
                w.space();
                i += 1;
            }
            LETTER | DIGIT | JOIN => i = atom(text, i, &mut w),
            HIGH => {
                let c = text[i..].chars().next().unwrap_or('\u{fffd}');
                if c.is_whitespace() || c == '\u{200b}' || c == '\u{feff}' {
                    w.space();
                    i += c.len_utf8();
                } else if matches!(c, '\u{201c}' | '\u{2018}' | '\u{ab}' | '\u{300c}') {
                    let close = match c {
                        '\u{201c}' => '\u{201d}',
                        '\u{2018}' => '\u{2019}',
                        '\u{ab}' => '\u{bb}',
                        _ => '\u{300d}',
                    };
                    let from = i + c.len_utf8();
                    let window = cut(&text[from..], MAX_QUOTED);
                    if let Some(length) = window.find(close) {
                        w.variable();
                        i = from + length + close.len_utf8();
                    } else {
                        i = from;
                    }
                } else {
                    i = atom(text, i, &mut w);
                }
            }
            QUOTE => i = quoted(bytes, i, &mut w),
            OPEN => {
                let close = match b {
                    b'(' => b')',
                    b'[' => b']',
                    _ => b'}',
                };
                if bytes.get(i + 1) == Some(&close) {
                    // `(…) from x ()`: a value that is empty is still a value; `f()` is a call.
                    let detached = i == 0 || CLASS[bytes[i - 1] as usize] == SPACE;
                    w.literal(&bytes[i..=i]);
                    if detached {
                        w.variable();
                    }
                    w.literal(&[close]);
                    i += 2;
                } else if b == b'{' && looks_like_json(bytes, i) {
                    i = embedded_json(text, i, &mut w);
                } else {
                    w.literal(&bytes[i..=i]);
                    i += 1;
                }
            }
            _ => {
                // `key=` with nothing behind it: an empty value.
                let attached = i > 0 && matches!(CLASS[bytes[i - 1] as usize], LETTER | DIGIT | JOIN);
                let bounds = matches!(b, b'<' | b'>')
                    && bytes.get(i + 1).is_some_and(|&next| next.is_ascii_digit() || next == b'=');
                if bounds {
                    // `<1 sec`, `>=5`: the comparison belongs to the value.
                    i += 1 + usize::from(bytes[i + 1] == b'=');
                    continue;
                }
                w.punct(b);
                i += 1;
                let ends =
                    bytes.get(i).is_none_or(|&next| CLASS[next as usize] == SPACE || next == b',' || next == b';');
                if b == b'=' && attached && ends {
                    w.variable();
                }
            }
        }
    }
    // A limit that fell into the middle of a word must not leave half a character behind.
    if w.out.len() - start > limit {
        let mut end = start + limit;
        while end > start && w.out[end] & 0xc0 == 0x80 {
            end -= 1;
        }
        w.out.truncate(end);
    }
}

fn looks_like_json(bytes: &[u8], open: usize) -> bool {
    let next = bytes[open + 1..].iter().find(|b| !b.is_ascii_whitespace());
    next == Some(&b'"') || (next == Some(&b'\\') && bytes[open..].get(..8).is_some_and(|head| head.contains(&b'"')))
}

fn embedded_json(text: &str, open: usize, w: &mut Writer<'_>) -> usize {
    let rest = &text[open..];
    let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<serde_json::Value>();
    if let Some(Ok(value)) = stream.next() {
        let end = open + stream.byte_offset();
        let mut inner = String::new();
        collect_json_text(&value, 0, &mut inner);
        if inner.is_empty() {
            w.variable();
        } else {
            let room = MAX_MASKED.saturating_sub(w.out.len() - w.start);
            let mut buffer = Vec::new();
            mask_text(&inner, &mut buffer, room);
            w.literal(&buffer);
        }
        return end;
    }
    // Cut off or not JSON after all: the braces and quotes are text.
    w.literal(b"{");
    open + 1
}

/// A quotation that begins at `open`: a quoted name is a variable; an apostrophe or a lone quote is nothing.
fn quoted(bytes: &[u8], open: usize, w: &mut Writer<'_>) -> usize {
    let quote = bytes[open];
    let word_before = open > 0 && matches!(CLASS[bytes[open - 1] as usize], LETTER | DIGIT | HIGH);
    if word_before {
        if quote == b'\'' {
            // can't, user's
            w.literal(b"'");
        }
        return open + 1;
    }
    let window = &bytes[open + 1..bytes.len().min(open + 1 + MAX_QUOTED)];
    let mut from = 0;
    let mut close = None;
    while let Some(step) = window[from..].iter().position(|&b| b == quote || b == b'\n') {
        let at = from + step;
        if window[at] == b'\n' {
            break;
        }
        let after = open + 1 + at + 1;
        let word_after = bytes.get(after).is_some_and(|&b| matches!(CLASS[b as usize], LETTER | DIGIT | HIGH));
        let escaped = at > 0 && window[at - 1] == b'\\';
        if !word_after && !escaped {
            close = close.or(Some(at));
            // A selector may have quotes of its own, inside its brackets.
            if is_balanced(&window[..at]) {
                close = Some(at);
                break;
            }
        }
        from = at + 1;
    }
    let Some(close) = close else { return open + 1 };
    if is_request_line(&window[..close]) {
        // "GET /x HTTP/1.1": the method is part of what happened.
        return open + 1;
    }
    w.variable();
    open + 1 + close + 1
}

fn is_balanced(inside: &[u8]) -> bool {
    let opened = inside.iter().filter(|b| matches!(b, b'(' | b'[' | b'{')).count();
    let closed = inside.iter().filter(|b| matches!(b, b')' | b']' | b'}')).count();
    opened <= closed
}

fn is_request_line(inside: &[u8]) -> bool {
    let Some(space) = inside.iter().take(8).position(|&b| b == b' ') else { return false };
    matches!(&inside[..space], b"GET" | b"POST" | b"PUT" | b"PATCH" | b"DELETE" | b"HEAD" | b"OPTIONS")
        && inside.get(space + 1).is_some_and(|&b| b == b'/' || b == b'h')
}

/// Where a secret ends of which everything before `end` was read: at a space or a bracket, whatever signs it is made of.
fn end_of_secret(bytes: &[u8], mut end: usize) -> usize {
    loop {
        while end < bytes.len()
            && !matches!(bytes[end], 0..=b' ' | b'"' | b'\'' | b'`' | b',' | b';' | b')' | b']' | b'}')
        {
            end += 1;
        }
        // Cookies come in rows: `a=b; c=d`.
        let Some(next) = bytes.get(end..).and_then(|rest| rest.strip_prefix(b"; ")) else { return end };
        let name = next.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')).count();
        if name == 0 || next.get(name) != Some(&b'=') {
            return end;
        }
        end += 2 + name;
    }
}

/// Whether a word announces a secret. Masked texts are stored and shown, so a password of letters alone, which looks like
/// any other word, must not stay in them.
fn names_a_secret(word: &[u8]) -> Secret {
    // A cheap look first: most words are short or do not end like one of these.
    if word.len() < 3 || word.len() > 64 {
        return Secret::None;
    }
    let ends = |name: &[u8]| word.len() >= name.len() && word[word.len() - name.len()..].eq_ignore_ascii_case(name);
    match word[word.len() - 1] | 0x20 {
        b'r' if ends(b"bearer") => Secret::Next,
        b'd' if ends(b"password") || ends(b"passwd") || ends(b"pwd") => Secret::Named,
        b's' if ends(b"pass") => Secret::Named,
        b'e' if ends(b"passphrase") || ends(b"cookie") => Secret::Named,
        b't' if ends(b"secret") => Secret::Named,
        b'n' if ends(b"authorization") => Secret::Named,
        b'n' if ends(b"token") => Secret::NamedLoosely,
        b'y' if ends(b"apikey")
            || ends(b"api_key")
            || ends(b"api-key")
            || ends(b"access_key")
            || ends(b"secret_key")
            || ends(b"role_key") =>
        {
            Secret::Named
        }
        _ => Secret::None,
    }
}

fn is_scheme(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"bearer") || word.eq_ignore_ascii_case(b"basic")
}

/// Whether a long word changes between capitals, small letters and digits as only random ones do.
fn is_scrambled(word: &[u8]) -> bool {
    let kind = |b: u8| match b {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    let changes = word.windows(2).filter(|pair| kind(pair[0]) != kind(pair[1])).count();
    // Words in camel case change at a third of their letters, random ones at six of ten.
    word.len() >= 16 && changes * 20 >= word.len() * 9
}

/// What one pass over a word learns of it.
#[derive(Default)]
struct Shape {
    digits: usize,
    letters: usize,
    upper: usize,
    high: usize,
    slashes: usize,
    backslashes: usize,
    dots: usize,
    at: usize,
    joins: usize,
    /// Letters that are not hexadecimal digits.
    not_hex: usize,
}

/// Reads the word that begins at `from` and writes it or a variable; returns where the next one begins.
fn atom(text: &str, from: usize, w: &mut Writer<'_>) -> usize {
    let bytes = text.as_bytes();
    let mut shape = Shape::default();
    let mut end = from;
    while end < bytes.len() {
        let b = bytes[end];
        let class = CLASS[b as usize];
        match class {
            LETTER => {
                shape.letters += 1;
                shape.upper += usize::from(b.is_ascii_uppercase());
                shape.not_hex += usize::from(!b.is_ascii_hexdigit());
            }
            DIGIT => {
                shape.digits += 1;
            }
            JOIN => {
                shape.joins += 1;
                match b {
                    b'/' => shape.slashes += 1,
                    b'\\' => {
                        // A line break written out ends a word.
                        if matches!(bytes.get(end + 1), Some(b'n' | b't' | b'r')) && shape.backslashes == 0 {
                            if end == from {
                                w.space();
                                return end + 2;
                            }
                            break;
                        }
                        shape.backslashes += 1;
                    }
                    b'.' => {
                        // An ellipsis or a dotted leader ends a word.
                        if bytes.get(end + 1) == Some(&b'.') {
                            if end == from {
                                let dots = bytes[end..].iter().take_while(|&&b| b == b'.').count();
                                w.literal(&bytes[end..end + dots]);
                                return end + dots;
                            }
                            break;
                        }
                        shape.dots += 1;
                    }
                    b'@' => shape.at += 1,
                    _ => {}
                }
            }
            HIGH => {
                let c = text[end..].chars().next().unwrap_or('\u{fffd}');
                if c.is_whitespace()
                    || matches!(c, '\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{ab}' | '\u{bb}' | '\u{300c}')
                {
                    break;
                }
                shape.high += 1;
                end += c.len_utf8() - 1;
            }
            _ => {
                if b == b':'
                    && let Some(past) = colon_value(bytes, from, end, &shape)
                {
                    w.variable();
                    return past;
                }
                break;
            }
        }
        end += 1;
    }
    if end == from {
        // A lone closing quotation mark outside ASCII.
        return from + text[from..].chars().next().map_or(1, char::len_utf8);
    }
    let mut core_end = end;
    // Full stops and dashes at the end are punctuation.
    while core_end > from && matches!(bytes[core_end - 1], b'.' | b'-' | b'@' | b'~') {
        core_end -= 1;
    }
    if core_end == from {
        for &b in &bytes[from..end] {
            w.punct(b);
        }
        return end;
    }
    let word = &bytes[from..core_end];
    if w.secret == Secret::Next {
        w.variable();
        w.secret = if is_scheme(word) { Secret::Next } else { Secret::None };
        return end_of_secret(bytes, end);
    }
    w.secret = names_a_secret(word);
    write_word(bytes, word, core_end, &shape, w);
    if w.after_variable() && bytes.get(core_end) == Some(&b'%') {
        return core_end + 1;
    }
    for &b in &bytes[core_end..end] {
        w.punct(b);
    }
    end
}

fn write_word(bytes: &[u8], word: &[u8], end: usize, shape: &Shape, w: &mut Writer<'_>) {
    if shape.digits == 0 && shape.joins == 0 && shape.high == 0 {
        let after = w.after_variable();
        let varies = (after && (is_unit(word) || is_zone(word)))
            || is_calendar_word(bytes, word, end, w)
            || (is_absent_value(word) && (after || w.follows(b'=') || w.follows(b':') || w.follows(b'(')))
            || (word.len() >= 8 && shape.not_hex == 0);
        if varies {
            w.variable();
        } else {
            w.literal(word);
        }
        return;
    }
    if shape.high == 0 && is_variable(word, shape) {
        w.variable();
    } else if shape.digits > 0 {
        let from = w.out.len();
        keep_letters(word, w);
        w.drop_repeat(from);
    } else {
        w.literal(word);
    }
}

/// Whether a word with digits or joining characters stands for a value as a whole.
fn is_variable(word: &[u8], shape: &Shape) -> bool {
    // Paths: from the root, from a drive, or of three parts and more.
    let first = word[0];
    if shape.slashes > 0 {
        let rooted = matches!(first, b'/' | b'.' | b'~') && word.len() > 1;
        if rooted || shape.slashes >= 2 {
            return true;
        }
    }
    if shape.backslashes >= 1 && word.len() > 3 {
        return true;
    }
    if shape.at > 0 && shape.letters > 0 {
        return true;
    }
    if shape.dots > 0 && shape.slashes == 0 && is_host(word) {
        return true;
    }
    if shape.upper > 0 && shape.digits > 1 && is_scrambled(word) {
        return true;
    }
    if shape.digits == 0 {
        return false;
    }
    if shape.letters == 0 {
        return true;
    }
    // Hexadecimal numbers of any length with their separators: UUIDs and pieces of them.
    shape.not_hex == 0 && shape.dots == 0 && shape.digits + shape.letters >= 4
}

/// A value with colons in it that begins at `from`: URL, path of a drive, time, MAC and IPv6 address.
fn colon_value(bytes: &[u8], from: usize, colon: usize, shape: &Shape) -> Option<usize> {
    let next = *bytes.get(colon + 1)?;
    if next == b'/' && bytes.get(colon + 2) == Some(&b'/') && shape.letters > 0 && colon - from <= 24 {
        let mut end = colon + 3;
        while end < bytes.len()
            && !matches!(bytes[end], 0..=b' ' | b'"' | b'\'' | b'`' | b'<' | b'>' | b')' | b']' | b'}' | b',')
        {
            end += 1;
        }
        while end > colon + 3 && matches!(bytes[end - 1], b'.' | b':' | b';' | b'!') {
            end -= 1;
        }
        return Some(end);
    }
    if colon - from == 1 && bytes[from].is_ascii_alphabetic() && next == b'\\' {
        let mut end = colon + 1;
        while end < bytes.len()
            && (matches!(CLASS[bytes[end] as usize], LETTER | DIGIT | JOIN | HIGH) || bytes[end] == b'*')
        {
            end += 1;
        }
        return Some(end);
    }
    // Groups of up to four hexadecimal digits, at least three of them.
    if colon - from <= 4 && shape.not_hex == 0 && shape.joins == 0 && shape.high == 0 {
        let mut groups = 1;
        let mut end = colon;
        while bytes.get(end) == Some(&b':') {
            let length = bytes[end + 1..].iter().take(5).take_while(|b| b.is_ascii_hexdigit()).count();
            if length == 0 || length > 4 {
                break;
            }
            end += 1 + length;
            groups += 1;
        }
        let cut_off = bytes.get(end).is_none_or(|&b| !matches!(CLASS[b as usize], LETTER | DIGIT));
        if groups >= 3 && cut_off {
            return Some(end);
        }
    }
    None
}

/// Copies a word, each number in it replaced by a variable, so that how many digits a number has plays no part. A part
/// between joining characters is a code as a whole where it begins with a digit, has at most two letters (`Rack_A8`), is
/// hexadecimal, or changes often between letters and digits.
fn keep_letters(word: &[u8], w: &mut Writer<'_>) {
    let mut at = 0;
    while at < word.len() {
        let b = word[at];
        if CLASS[b as usize] == JOIN {
            // `blk_-12`: a sign belongs to its number.
            let sign = b == b'-'
                && word.get(at + 1).is_some_and(u8::is_ascii_digit)
                && (at == 0 || CLASS[word[at - 1] as usize] == JOIN);
            if !sign {
                w.punct(b);
            }
            at += 1;
            continue;
        }
        let length = word[at..].iter().position(|b| CLASS[*b as usize] == JOIN).unwrap_or(word.len() - at);
        let part = &word[at..at + length];
        let between = part.len() <= 2 && word.get(at + length + 1).is_some_and(u8::is_ascii_digit) && w.in_number(at);
        // `attempt_12_m_34`: a letter or two between numbers is part of the code.
        if !between {
            keep_part(part, w);
        }
        at += length;
    }
}

fn keep_part(part: &[u8], w: &mut Writer<'_>) {
    let (mut digits, mut turns, mut hex) = (0, 0, true);
    for (i, b) in part.iter().enumerate() {
        digits += usize::from(b.is_ascii_digit());
        hex &= b.is_ascii_hexdigit();
        turns += usize::from(i > 0 && b.is_ascii_digit() != part[i - 1].is_ascii_digit());
    }
    if digits == 0 {
        w.literal(part);
        return;
    }
    let ascii = part.is_ascii();
    if ascii && (part[0].is_ascii_digit() || part.len() - digits <= 2 || turns >= 3 || (hex && part.len() >= 6)) {
        w.variable();
        return;
    }
    let mut i = 0;
    while i < part.len() {
        let run = i;
        if part[i].is_ascii_digit() {
            while i < part.len() && part[i].is_ascii_digit() {
                i += 1;
            }
            w.variable();
        } else {
            while i < part.len() && !part[i].is_ascii_digit() {
                i += 1;
            }
            w.literal(&part[run..i]);
        }
    }
}

/// Units that may follow a number; `5 s` and `5s` are the same.
fn is_unit(word: &[u8]) -> bool {
    if word.len() > 12 {
        return false;
    }
    let mut lower = [0_u8; 12];
    for (to, from) in lower.iter_mut().zip(word) {
        *to = from.to_ascii_lowercase();
    }
    matches!(
        &lower[..word.len()],
        b"ms"
            | b"us"
            | b"ns"
            | b"s"
            | b"sec"
            | b"secs"
            | b"second"
            | b"seconds"
            | b"millisecond"
            | b"milliseconds"
            | b"microseconds"
            | b"m"
            | b"min"
            | b"mins"
            | b"minute"
            | b"minutes"
            | b"h"
            | b"hr"
            | b"hrs"
            | b"hour"
            | b"hours"
            | b"d"
            | b"day"
            | b"days"
            | b"b"
            | b"byte"
            | b"bytes"
            | b"k"
            | b"kb"
            | b"mb"
            | b"gb"
            | b"tb"
            | b"kib"
            | b"mib"
            | b"gib"
            | b"tib"
            | b"khz"
            | b"mhz"
            | b"ghz"
    )
}

fn is_zone(word: &[u8]) -> bool {
    matches!(
        word,
        b"UTC"
            | b"GMT"
            | b"AM"
            | b"PM"
            | b"am"
            | b"pm"
            | b"EST"
            | b"EDT"
            | b"CST"
            | b"CDT"
            | b"MST"
            | b"MDT"
            | b"PST"
            | b"PDT"
            | b"CET"
            | b"CEST"
            | b"BST"
            | b"JST"
            | b"IST"
    )
}

fn is_day_or_month(word: &[u8]) -> bool {
    matches!(
        word,
        b"Mon"
            | b"Tue"
            | b"Wed"
            | b"Thu"
            | b"Fri"
            | b"Sat"
            | b"Sun"
            | b"Jan"
            | b"Feb"
            | b"Mar"
            | b"Apr"
            | b"May"
            | b"Jun"
            | b"Jul"
            | b"Aug"
            | b"Sep"
            | b"Oct"
            | b"Nov"
            | b"Dec"
    )
}

/// `Sat Jun 18`: names of days and months next to numbers or to each other.
fn is_calendar_word(bytes: &[u8], word: &[u8], end: usize, w: &Writer<'_>) -> bool {
    if word.len() != 3 || !is_day_or_month(word) {
        return false;
    }
    if w.after_variable() {
        return true;
    }
    let rest = &bytes[end..bytes.len().min(end + 8)];
    let skipped = rest.iter().take_while(|b| matches!(b, b' ' | b',')).count();
    let next = &rest[skipped..];
    skipped > 0 && (next.first().is_some_and(u8::is_ascii_digit) || next.get(..3).is_some_and(is_day_or_month))
}

/// Words that say that a value is not there, or is one of two.
fn is_absent_value(word: &[u8]) -> bool {
    matches!(
        word,
        b"null"
            | b"NULL"
            | b"nil"
            | b"None"
            | b"undefined"
            | b"NaN"
            | b"true"
            | b"false"
            | b"True"
            | b"False"
            | b"TRUE"
            | b"FALSE"
    )
}

/// A host name in a domain that is used for hosts; a dotted name of a class or a file is none.
fn is_host(word: &[u8]) -> bool {
    let Some(dot) = word.iter().rposition(|&b| b == b'.') else { return false };
    let (head, last) = (&word[..dot], &word[dot + 1..]);
    if head.is_empty() {
        return false;
    }
    let mut lower = [0_u8; 8];
    if last.len() > lower.len() {
        return false;
    }
    for (to, from) in lower.iter_mut().zip(last) {
        *to = from.to_ascii_lowercase();
    }
    match &lower[..last.len()] {
        b"com" | b"co" | b"net" | b"org" | b"edu" | b"gov" | b"mil" | b"info" | b"local" | b"internal" | b"lan"
        | b"localnet" | b"io" | b"dev" | b"cloud" => true,
        // A country below a second level that registries use: .co.uk, .com.cn, .edu.hk
        [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
            let second = head.iter().rposition(|&b| b == b'.').map_or(head, |at| &head[at + 1..]);
            head.contains(&b'.')
                && matches!(second, b"co" | b"com" | b"net" | b"org" | b"edu" | b"ac" | b"gov" | b"ne" | b"or" | b"go")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(message: &str) -> String {
        Masker::new().mask(message).text().to_owned()
    }

    #[test]
    fn variables_are_masked_by_their_form() {
        for (message, expected) in [
            ("took 12 ms", "took <*>"),
            ("took 12ms", "took <*>"),
            ("failed after 3.5 seconds, 99% done", "failed after <*> done"),
            ("row 550e8400-e29b-41d4-a716-446655440000 locked", "row <*> locked"),
            ("at 0xdeadbeef", "at <*>"),
            ("connect to 10.0.0.1:5432 refused", "connect to <*> refused"),
            ("peer fe80::1:2 and 00:11:43:e3:ba:c3", "peer <*> and <*>"),
            ("GET https://x.com/i/status/17?a=b failed", "GET <*> failed"),
            ("cannot open /var/log/app.log", "cannot open <*>"),
            (r"cannot open C:\Users\me\x.txt now", "cannot open <*> now"),
            ("mail to jane@example.org bounced", "mail to <*> bounced"),
            ("host db.example.com is down", "host <*> is down"),
            ("on 2026-11-25T10:20:30.123Z it broke", "on <*> it broke"),
            ("on Sat Jun 18 02:23:10 2005 it broke", "on <*> it broke"),
            ("relation \"posts\" and column 'id' and `x`", "relation <*> and column <*> and <*>"),
            ("user \u{201c}jane doe\u{201d} unknown", "user <*> unknown"),
            ("key= other=null third=true", "key=<*> other=<*> third=<*>"),
            ("worker-07 and worker-1234", "worker-<*> and worker-<*>"),
            ("HTTP2 is not ssh2", "HTTP<*> is not ssh<*>"),
            ("deleted blk_1 blk_-22 blk_333", "deleted blk_<*>"),
            ("took <1 sec", "took <*>"),
            ("can't do that, it isn't allowed", "can't do that, it isn't allowed"),
        ] {
            assert_eq!(masked(message), expected, "{message}");
        }
    }

    #[test]
    fn names_of_errors_classes_and_files_stay() {
        for message in [
            "connect ECONNREFUSED",
            "net::ERR_NAME_NOT_RESOLVED",
            "org.apache.hadoop.ipc.Client failed",
            "android.intent.action.SCREEN_ON received",
            "read/write of application/json",
        ] {
            assert_eq!(masked(message), message);
        }
    }

    #[test]
    fn the_number_of_digits_and_of_values_plays_no_part() {
        assert_eq!(masked("core.1 lost"), masked("core.123456 lost"));
        assert_eq!(masked("sizes: 1 2 3"), masked("sizes: 10"));
        assert_eq!(masked("sizes: 1, 2, 3"), masked("sizes: 10"));
    }

    #[test]
    fn an_html_page_becomes_its_title() {
        let page = "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>x</body></html>";
        assert_eq!(masked(page), "HTML page: <*> Bad Gateway");
        assert_eq!(masked("<html><body><h1>Over capacity</h1>"), "HTML page: Over capacity");
        assert_eq!(masked("<html><body>\u{fffd}"), "HTML page");
    }

    #[test]
    fn json_becomes_its_text_at_any_depth() {
        assert_eq!(masked(r#"{"error":{"message":"Rate limit reached","code":88}}"#), "Rate limit reached");
        assert_eq!(
            masked(r#"{"error":"{\"message\":\"upstream said {\\\"detail\\\":\\\"no\\\"}\"}"}"#),
            "upstream said no"
        );
        assert_eq!(
            masked(r#"Request failed: {"errors":[{"message":"Over quota"},{"message":"x"}]}"#),
            "Request failed: Over quota"
        );
        assert_eq!(masked(r#"{"a":1}"#), masked(r#"{"a":2}"#));
        assert_eq!(masked(r#""{\"message\":\"twice wrapped\"}""#), "twice wrapped");
        assert_eq!(masked(r#"broken {"message": "cut o"#), masked(r#"broken {"message": "cut o"#));
    }

    #[test]
    fn a_stack_trace_is_reduced_to_its_functions() {
        let one = "TypeError: x is undefined\n    at Poster.post (/app/src/poster.ts:12:34)\n    at async run (/app/a.js:1:2)\n    at /app/b.js:3:4";
        let other =
            "TypeError: x is undefined\n    at Poster.post (/srv/poster.ts:99:1)\n    at async run (/srv/a.js:7:7)";
        assert_eq!(masked(one), "TypeError: x is undefined @ Poster.post run");
        assert_eq!(masked(one), masked(other));
        assert_eq!(Masker::new().mask(one).message(), "TypeError: x is undefined");
        let python = "Traceback (most recent call last):\n  File \"/a/b.py\", line 3, in run\n    go()\n  File \"/a/c.py\", line 9, in go\nValueError: bad thing";
        assert_eq!(masked(python), "ValueError: bad thing @ run go");
        let rust =
            "panicked at nothing\n   0: std::panicking::begin\n             at /rustc/x.rs:1:2\n   1: healer::run";
        assert_eq!(masked(rust), "panicked at nothing @ std::panicking::begin healer::run");
        let java = "java.io.IOException: no\n\tat org.a.B.c(B.java:12)\n\tat org.a.D.e(D.java:5)";
        assert_eq!(masked(java), "java.io.IOException: no @ org.a.B.c org.a.D.e");
        let escaped = "Error: no\\n    at f (/a.js:1:2)\\n    at g (/a.js:1:2)";
        assert_eq!(masked(escaped), "Error: no @ f g");
    }

    #[test]
    fn secrets_of_letters_alone_do_not_stay_in_a_masked_text() {
        for message in [
            "login failed password=hunter for bob",
            "login failed password: 'hunter two' for bob",
            "authorization: Bearer hunter",
            "cookie: a=hunter; b=hunter",
            "SERVICE_ROLE_KEY=hunter",
            "postgres://u:hunter@host/db",
        ] {
            assert!(!masked(message).contains("hunter"), "{}", masked(message));
        }
        assert_eq!(masked("login failed password: 'a b' for bob"), "login failed password: <*> for bob");
    }

    #[test]
    fn rubbish_is_bounded_and_harmless() {
        assert_eq!(masked(""), "");
        assert_eq!(masked("\0\0\0"), "");
        assert_eq!(masked("a\0b"), "a b");
        assert!(masked(&"x ".repeat(500_000)).len() <= MAX_MASKED);
        assert!(masked(&"x".repeat(1_000_000)).len() <= MAX_MASKED);
        assert!(masked(&"é".repeat(500_000)).len() <= MAX_MASKED);
        assert!(masked(&"{".repeat(100_000)).len() <= MAX_MASKED);
        assert!(masked(&"[".repeat(100_000)).len() <= MAX_MASKED);
        assert_eq!(masked(&String::from_utf8_lossy(b"bad \xff\xfe bytes")), "bad \u{fffd}\u{fffd} bytes");
        assert_eq!(masked(r"lone \ud800 surrogate"), masked(r"lone \udfff surrogate"));
    }

    #[test]
    fn other_languages_are_read() {
        assert_eq!(masked("操作超时30000毫秒"), masked("操作超时5毫秒"));
        assert_ne!(masked("操作超时30000毫秒"), masked("连接失败30000毫秒"));
        assert_eq!(masked("Zeitüberschreitung nach 30 s"), "Zeitüberschreitung nach <*>");
    }

    proptest! {
        #[test]
        fn any_text_is_masked_within_the_bounds(text in "\\PC*") {
            let mut masker = Masker::new();
            let once = masker.mask(&text).clone();
            prop_assert!(once.message().len() <= MAX_MASKED);
            prop_assert_eq!(&once, masker.mask(&text));
        }

        #[test]
        fn signs_and_quotes_in_any_order_are_masked_without_panic(text in "[a9 é=:,.'\"`(){}<>/\\\\@#%\n_-]{0,80}") {
            let mut masker = Masker::new();
            prop_assert!(masker.mask(&text).message().len() <= MAX_MASKED);
        }

        #[test]
        fn what_came_before_plays_no_part(before in "\\PC{0,60}", text in "\\PC{0,60}") {
            let mut used = Masker::new();
            used.mask(&before);
            let fresh = Masker::new().mask(&text).clone();
            prop_assert_eq!(used.mask(&text), &fresh);
        }

        #[test]
        fn numbers_play_no_part(one in 0_u64.., other in 0_u64..) {
            prop_assert_eq!(masked(&format!("post {one} failed (job-{one}) at x={one}")), masked(&format!("post {other} failed (job-{other}) at x={other}")));
        }
    }
}
