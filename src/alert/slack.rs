//! Slack, by an incoming webhook: blocks of text, `&`, `<` and `>` escaped, calls disarmed.

use serde_json::{Value, json};

use super::channel::{Delivery, Way};
use super::http::Post;
use super::model::{Item, Message, cut, disarmed};

/// Characters of the text of a section.
const SECTION: usize = 3_000;
/// Characters of a header.
const HEADER: usize = 150;
/// Alerts that a message lists: with header and footer far below the 50 blocks that Slack takes.
const LISTED: usize = 20;

/// Sends a message.
pub fn deliver(way: &Way<'_>, message: &Message) -> Delivery {
    let client = match way.client(None, false) {
        Ok(client) => client,
        Err(failure) => return Delivery::failed(failure),
    };
    let post =
        Post { headers: Vec::new(), content_type: "application/json", body: body(message).to_string().into_bytes() };
    Delivery::of_all(message, client.post("", &post))
}

fn escaped(text: &str) -> String {
    // Escaping first would let a cut go through the middle of `&amp;`.
    disarmed(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Cuts a text so that it is within a limit when it has been escaped.
fn escaped_within(text: &str, most: usize) -> String {
    let mut keep = most;
    loop {
        let out = escaped(&cut(text, keep));
        let long = out.chars().count();
        if long <= most || keep == 0 {
            return out;
        }
        keep = keep.saturating_sub((long - most).div_ceil(5).max(1));
    }
}

fn body(message: &Message) -> Value {
    let title = message.title();
    let mut blocks = vec![json!({
        "type": "header",
        "text": { "type": "plain_text", "text": cut(&disarmed(&title), HEADER), "emoji": false },
    })];
    for item in message.items.iter().take(LISTED) {
        blocks.push(json!({ "type": "section", "text": { "type": "mrkdwn", "text": section(message, item) } }));
    }
    let mut footer = format!("{} at {}", message.pass, message.at.format("%Y-%m-%d %H:%M:%S UTC"));
    if message.items.len() > LISTED {
        footer = format!("… and {} more: healer report · {footer}", message.items.len() - LISTED);
    }
    blocks
        .push(json!({ "type": "context", "elements": [{ "type": "mrkdwn", "text": escaped_within(&footer, 1_000) }] }));
    // The text is what a notification and a screen reader show.
    json!({ "text": escaped_within(&title, SECTION), "blocks": blocks })
}

fn section(message: &Message, item: &Item) -> String {
    let alert = &item.alert;
    let head = format!("*{}*  {}\n_{}_", item.label(), escaped_within(&alert.title, 900), item.since(message.at));
    let step = if item.why == super::model::Why::Resolved || alert.next_step.is_empty() {
        String::new()
    } else {
        format!("\n→ {}", escaped_within(&alert.next_step, 700))
    };
    let detail = if item.why == super::model::Why::Resolved { "" } else { alert.detail.trim() };
    let left = SECTION.saturating_sub(head.chars().count() + step.chars().count() + 1);
    let detail = if detail.is_empty() { String::new() } else { format!("\n{}", escaped_within(detail, left)) };
    format!("{head}{detail}{step}")
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn an_escaped_text_keeps_its_limit_and_holds_no_bare_bracket(text in "[<>&@a-z ]{0,400}", most in 1_usize..200) {
            let out = escaped_within(&text, most);
            proptest::prop_assert!(out.chars().count() <= most);
            proptest::prop_assert!(!out.contains('<') && !out.contains('>'));
            proptest::prop_assert!(out.split('&').skip(1).all(|rest| ["amp;", "lt;", "gt;"].iter().any(|known| rest.starts_with(known))));
        }
    }
}
