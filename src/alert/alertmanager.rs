//! Prometheus Alertmanager, API v2: what is open is repeated in every pass with an end that lies beyond the next ones,
//! so that it stays firing between passes; what is gone gets its end now.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::channel::{Delivery, Way};
use super::http::{Client, Failure, Post};
use super::model::{Item, Message, Why, cut, word};
use super::settings::Secret;

/// Characters of one annotation: Alertmanager has no limit, the receivers behind it have.
const ANNOTATION: usize = 4_000;
/// Intervals of a pass after which its alert ends by itself, should no pass come to repeat or to end it.
const INTERVALS: i64 = 3;

/// Sends everything that is open or just ended.
pub fn deliver(way: &Way<'_>, message: &Message) -> Delivery {
    let (client, key) = match reach(way) {
        Ok(found) => found,
        Err(failure) => return Delivery::failed(failure),
    };
    let headers: Vec<_> = key.iter().map(|token| ("authorization", format!("Bearer {}", token.reveal()))).collect();
    let body = Value::Array(message.items.iter().flat_map(|item| alerts(way, message, item)).collect());
    let path = if way.settings.url.as_deref().is_some_and(|url| url.trim_end_matches('/').ends_with("/api/v2/alerts")) {
        ""
    } else {
        "/api/v2/alerts"
    };
    let post = Post { headers, content_type: "application/json", body: body.to_string().into_bytes() };
    Delivery::of_all(message, client.post(path, &post))
}

/// The client and the token that goes with every request. Without one nothing that is sent is a secret, and the
/// Alertmanager of a cluster is often reached by plain HTTP.
fn reach(way: &Way<'_>) -> Result<(Client, Option<Secret>), Failure> {
    let key = way.key()?;
    Ok((way.client(None, key.is_none())?, key))
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
    use crate::alert::channel::Way;
    use crate::database::session::StopFlag;
    use crate::settings::Settings;

    /// What reaching the address gives: whether a token goes with it, or why not.
    fn reached(url: &str, key: &str) -> Result<bool, String> {
        let text = format!("[alerts.channels.prom]\nkind = \"alertmanager\"\nurl_env = \"URL\"\n{key}");
        let mut settings = Settings::from_toml(&text).expect("a configuration");
        let mut channel = settings.alerts.channels.remove("prom").expect("the channel");
        (channel.url_env, channel.url) = (None, Some(url.to_owned()));
        let until = std::time::Instant::now();
        let way = Way { name: "prom", settings: &channel, all: &settings, stop: StopFlag::default(), until };
        super::reach(&way).map(|(_, key)| key.is_some()).map_err(|failure| failure.words)
    }

    #[test]
    fn a_token_goes_over_tls_or_stays_on_this_machine_and_without_one_plain_http_is_enough() {
        // A variable that is always set.
        let key = "key_env = \"PATH\"";
        assert_eq!(reached("https://alerts.example.org", key), Ok(true));
        assert_eq!(reached("http://127.0.0.1:9093", key), Ok(true));
        assert_eq!(reached("http://alerts.example.org:9093", ""), Ok(false));
        for (url, key) in [("http://alerts.example.org:9093", key), ("http://bot:hunter2@alerts.example.org", "")] {
            let words = reached(url, key).expect_err("a secret in the open");
            assert!(words.contains("https://") && !words.contains("hunter2"), "{words}");
        }
    }

    #[test]
    fn the_name_of_an_alert_is_its_kind() {
        assert_eq!(super::name("check:stuck-posts"), "HealerCheckStuckPosts");
        assert_eq!(super::name("error-pattern:ab12"), "HealerErrorPattern");
        assert_eq!(super::name("brake"), "HealerBrake");
    }
}
