//! A webhook of one's own: one JSON document, signed with HMAC-SHA256 over its time and itself.

use ring::hmac;
use serde_json::{Value, json};

use super::channel::{Delivery, Way};
use super::http::Post;
use super::model::{Message, word};

/// The version of the document.
const VERSION: u32 = 1;

/// Sends a message.
pub fn deliver(way: &Way<'_>, message: &Message) -> Delivery {
    let (client, key) = match way.client(None, true).and_then(|client| Ok((client, way.needed_key()?))) {
        Ok(both) => both,
        Err(failure) => return Delivery::failed(failure),
    };
    let body = body(message).to_string().into_bytes();
    let time = message.at.timestamp().to_string();
    let headers = vec![
        ("x-healer-timestamp", time.clone()),
        ("x-healer-signature", format!("sha256={}", sign(key.reveal(), &time, &body))),
        // The same for every attempt: a receiver that took the first one knows the second by it.
        ("x-healer-delivery", crate::change::lease::token()),
    ];
    Delivery::of_all(message, client.post("", &Post { headers, content_type: "application/json", body }))
}

/// Hexadecimal HMAC-SHA256 of `time.body`: a body cannot be replayed at another time.
pub fn sign(key: &str, time: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(time.as_bytes());
    context.update(b".");
    context.update(body);
    context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn body(message: &Message) -> Value {
    let alerts: Vec<Value> = message
        .items
        .iter()
        .map(|item| {
            let alert = &item.alert;
            json!({
                "fingerprint": alert.fingerprint,
                "key": alert.key,
                "pass": alert.pass,
                "check": alert.check,
                "why": item.why,
                "status": if alert.resolved_at.is_some() { "resolved" } else { "open" },
                "severity": word(alert.severity),
                "title": alert.title,
                "detail": alert.detail,
                "nextStep": alert.next_step,
                "openedAt": alert.opened_at,
                "resolvedAt": alert.resolved_at,
                "times": alert.times,
            })
        })
        .collect();
    json!({
        "schemaVersion": VERSION,
        "title": message.title(),
        "instance": message.instance,
        "pass": message.pass,
        "runId": message.run_id,
        "at": message.at,
        "test": message.test,
        "alerts": alerts,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_signature_is_that_of_rfc_4231() {
        // Test case 2 of the RFC, whose data is "what do ya want for nothing?", split at the dot that stands between.
        let by_hand = super::hmac::sign(
            &super::hmac::Key::new(super::hmac::HMAC_SHA256, b"Jefe"),
            b"what do ya want for nothing?",
        );
        let hex: String = by_hand.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let whole = super::hmac::sign(&super::hmac::Key::new(super::hmac::HMAC_SHA256, b"k"), b"17.{}");
        let hex: String = whole.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(super::sign("k", "17", b"{}"), hex);
    }
}
