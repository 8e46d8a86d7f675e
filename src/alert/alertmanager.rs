//! Prometheus Alertmanager, API v2: what is open is repeated in every pass with an end that lies beyond the next ones,
//! so that it stays firing between passes; what is gone gets its end now.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::channel::{Delivery, Way};
use super::http::Post;
use super::model::{Item, Message, Why, cut, word};

/// Characters of one annotation: Alertmanager has no limit, the receivers behind it have.
const ANNOTATION: usize = 4_000;
/// Intervals of a pass after which its alert ends by itself, should no pass come to repeat or to end it.
const INTERVALS: i64 = 3;

/// Sends everything that is open or just ended.
pub fn deliver(way: &Way<'_>, message: &Message) -> Delivery {
    let client = match way.client(None, true) {
        Ok(client) => client,
        Err(failure) => return Delivery::failed(failure),
    };
    let headers = match way.key() {
        Ok(Some(token)) => vec![("authorization", format!("Bearer {}", token.reveal()))],
        Ok(None) => Vec::new(),
        Err(failure) => return Delivery::failed(failure),
    };
    let body = Value::Array(message.items.iter().flat_map(|item| alerts(way, message, item)).collect());
    let path = if way.settings.url.as_deref().is_some_and(|url| url.trim_end_matches('/').ends_with("/api/v2/alerts")) {
        ""
    } else {
        "/api/v2/alerts"
    };
    let post = Post { headers, content_type: "application/json", body: body.to_string().into_bytes() };
    Delivery::of_all(message, client.post(path, &post))
}

/// One alert, and its end under the severity that it was told with before: other labels are another alert there.
fn alerts(way: &Way<'_>, message: &Message, item: &Item) -> Vec<Value> {
    let alert = &item.alert;
    let now = message.at;
    let end = if item.why == Why::Resolved {
        now
    } else {
        now + Duration::seconds(way.interval(&alert.pass).saturating_mul(INTERVALS))
    };
    let before = alert.channels.get(way.name).and_then(|told| told.severity.clone());
    let severity = word(alert.severity);
    let mut out = Vec::new();
    if let Some(before) = before.filter(|before| before != severity) {
        out.push(one(message, item, &before, now));
        if item.why == Why::Resolved {
            return out;
        }
    }
    out.push(one(message, item, severity, end));
    out
}

fn one(message: &Message, item: &Item, severity: &str, end: DateTime<Utc>) -> Value {
    let alert = &item.alert;
    let stamp = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
    json!({
        "labels": {
            "alertname": name(&alert.key),
            "key": alert.key,
            "pass": alert.pass,
            "severity": severity,
            "instance": message.instance,
            "job": "healer",
        },
        "annotations": {
            "summary": cut(&alert.title, ANNOTATION),
            "description": cut(&alert.detail, ANNOTATION),
            "runbook": cut(&alert.next_step, ANNOTATION),
        },
        "startsAt": stamp(alert.opened_at.min(end)),
        "endsAt": stamp(end),
    })
}

/// `check:silence` → `HealerCheckSilence`: the kind of the alert, without what varies from one to the next.
fn name(key: &str) -> String {
    let kind = if key.starts_with("check:") || key.starts_with("unmeasured:") {
        key
    } else {
        key.split_once(':').map_or(key, |(kind, _)| kind)
    };
    let mut out = String::from("Healer");
    for part in kind.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty()) {
        let (first, rest) = part.split_at(1);
        out.push_str(&first.to_ascii_uppercase());
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_name_of_an_alert_is_its_kind() {
        assert_eq!(super::name("check:stuck-posts"), "HealerCheckStuckPosts");
        assert_eq!(super::name("error-pattern:ab12"), "HealerErrorPattern");
        assert_eq!(super::name("brake"), "HealerBrake");
    }
}
