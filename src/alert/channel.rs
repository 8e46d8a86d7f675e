//! What every channel is given and gives. A new one is a file beside this and a line in [`deliver`].

use std::time::{Duration, Instant};

use super::http::{Client, Failure, LIMIT};
use super::model::{Item, Message};
use super::settings::{ChannelSettings, Kind, Secret, secret};
use super::{alertmanager, discord, email, healthchecks, pagerduty, slack, webhook};
use crate::database::session::StopFlag;
use crate::settings::Settings;

/// A channel and what it may use.
#[derive(Debug)]
pub struct Way<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its settings.
    pub settings: &'a ChannelSettings,
    /// All settings.
    pub all: &'a Settings,
    /// The signal that may ask to stop.
    pub stop: StopFlag,
    /// When it must be done.
    pub until: Instant,
}

/// What became of a message.
#[derive(Debug, Default)]
pub struct Delivery {
    /// What was taken.
    pub done: Vec<Item>,
    /// Why the rest was not.
    pub failure: Option<Failure>,
}

impl Delivery {
    /// Nothing was delivered.
    pub fn failed(failure: Failure) -> Self {
        Self { done: Vec::new(), failure: Some(failure) }
    }

    /// All or nothing was delivered.
    pub fn of_all(message: &Message, result: Result<(), Failure>) -> Self {
        match result {
            Ok(()) => Self { done: message.items.clone(), failure: None },
            Err(failure) => Self::failed(failure),
        }
    }
}

impl Way<'_> {
    /// A client for the channel's address.
    pub fn client(&self, usual: Option<&str>, plain: bool) -> Result<Client, Failure> {
        Client::new(self.settings, usual, plain, &self.stop, self.until)
    }

    /// The channel's key, where one is named.
    pub fn key(&self) -> Result<Option<Secret>, Failure> {
        secret(self.settings.key_env.as_deref(), self.settings.key_file.as_deref()).map_err(Failure::new)
    }

    /// The channel's key, which there must be.
    pub fn needed_key(&self) -> Result<Secret, Failure> {
        self.key()?.ok_or_else(|| Failure::new("key_env or key_file is missing"))
    }

    /// How often a pass runs, in seconds.
    pub fn interval(&self, pass: &str) -> i64 {
        super::interval(self.all, pass)
    }

    /// Whether there is time to wait this long and then try once more.
    pub fn may_wait(&self, wait: Duration) -> bool {
        self.stop.signal().is_none() && Instant::now() + wait + LIMIT <= self.until
    }
}

/// Sends a message over a channel.
pub fn deliver(way: &Way<'_>, message: &Message) -> Delivery {
    match way.settings.kind {
        Kind::Slack => slack::deliver(way, message),
        Kind::Discord => discord::deliver(way, message),
        Kind::PagerDuty => pagerduty::deliver(way, message),
        Kind::Alertmanager => alertmanager::deliver(way, message),
        Kind::Webhook => webhook::deliver(way, message),
        Kind::Email => email::deliver(way, message),
        Kind::Healthchecks => healthchecks::deliver(way, message),
    }
}
