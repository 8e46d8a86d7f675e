//! PagerDuty, Events API v2: one event for each alert, told apart by its fingerprint, triggered and resolved.

use serde_json::{Value, json};

use super::channel::{Delivery, Way};
use super::http::{Failure, Post};
use super::model::{Item, Message, Why, cut, word};
use super::settings::Secret;

/// Where events go, where the settings name no other (the one of the EU).
const USUAL: &str = "https://events.pagerduty.com/v2/enqueue";
/// Characters of a summary.
const SUMMARY: usize = 1_024;
/// Events of one pass: the service takes 120 a minute; the rest goes with the next pass.
const EVENTS: usize = 30;

/// Sends the alerts of a message, one by one.
pub fn deliver(way: &Way<'_>, message: &Message) -> Delivery {
    let (client, key) = match way.client(Some(USUAL), false).and_then(|client| Ok((client, way.needed_key()?))) {
        Ok(both) => both,
        Err(failure) => return Delivery::failed(failure),
    };
    let mut delivery = Delivery::default();
    for item in message.items.iter().take(EVENTS) {
        let post = Post {
            headers: Vec::new(),
            content_type: "application/json",
            body: body(&key, message, item).to_string().into_bytes(),
        };
        match client.post("", &post) {
            Ok(()) => delivery.done.push(item.clone()),
            // The next one would fare no better: what is left goes with the next pass.
            Err(failure) => {
                delivery.failure = Some(failure);
                return delivery;
            }
        }
    }
    if message.items.len() > EVENTS {
        delivery.failure =
            Some(Failure::new(format!("{} events wait for the next pass", message.items.len() - EVENTS)));
    }
    delivery
}

fn body(key: &Secret, message: &Message, item: &Item) -> Value {
    let alert = &item.alert;
    if item.why == Why::Resolved {
        return json!({ "routing_key": key.reveal(), "event_action": "resolve", "dedup_key": alert.fingerprint });
    }
    json!({
        "routing_key": key.reveal(),
        "event_action": "trigger",
        "dedup_key": alert.fingerprint,
        "client": "healer",
        "payload": {
            "summary": cut(&format!("healer {}: {}", message.instance, alert.title), SUMMARY),
            "source": message.instance,
            "severity": word(alert.severity),
            "timestamp": message.at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            "component": alert.check.as_deref().unwrap_or(&alert.pass),
            "group": alert.pass,
            "class": alert.key,
            "custom_details": {
                "detail": alert.detail,
                "next_step": alert.next_step,
                "since": item.since(message.at),
                "run": alert.run_id,
            },
        },
    })
}
