//! healthchecks.io, or what speaks like it: a ping when a pass begins and one with its exit code when it ends. It hears
//! also when healer is no longer started at all.

use super::channel::{Delivery, Way};
use super::http::{Failure, Post};
use super::model::{Message, cut};

/// Bytes of the text that stands beside a ping: the service keeps 100 kB.
const TEXT: usize = 10_000;

/// What is pinged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ping {
    /// The pass begins.
    Start,
    /// It ended with this exit code.
    Exit(u8),
}

/// Pings. `run`: what tells the two pings of one run from those of another.
pub fn ping(way: &Way<'_>, ping: Ping, run: &str, text: &str) -> Result<(), Failure> {
    let path = match ping {
        Ping::Start => "start".to_owned(),
        Ping::Exit(code) => code.to_string(),
    };
    send(way, &format!("/{path}?rid={run}"), text)
}

/// A message on this channel is a line in its log: that is what a test of it shows.
pub fn deliver(way: &Way<'_>, message: &Message) -> Delivery {
    Delivery::of_all(message, send(way, "/log", &message.title()))
}

fn send(way: &Way<'_>, path: &str, text: &str) -> Result<(), Failure> {
    let client = way.client(None, false)?;
    let post =
        Post { headers: Vec::new(), content_type: "text/plain; charset=utf-8", body: cut(text, TEXT).into_bytes() };
    client.post(path, &post)
}

/// A random UUID, as the service wants it for a run.
pub fn run_id() -> String {
    let digits = crate::change::lease::token();
    // Version 4 and the usual variant stand in two fixed places.
    format!("{}-{}-4{}-a{}-{}", &digits[..8], &digits[8..12], &digits[13..16], &digits[17..20], &digits[20..32])
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_run_is_told_apart_by_a_uuid() {
        let id = super::run_id();
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
        assert_ne!(id, super::run_id());
    }
}
