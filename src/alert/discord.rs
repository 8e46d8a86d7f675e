//! Discord, by a webhook: embeds, markdown escaped, and nobody may be mentioned.

use serde_json::{Value, json};

use super::channel::{Delivery, Way};
use super::http::Post;
use super::model::{Item, Message, Why, cut, disarmed};
use crate::change::plan::Severity;

/// Embeds of one message.
const EMBEDS: usize = 10;
/// Characters of all embeds of a message together.
const TOTAL: usize = 6_000;
/// Characters of the title of an embed.
const TITLE: usize = 256;
/// Characters of the message's own text.
const CONTENT: usize = 2_000;

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

fn escaped(text: &str, most: usize) -> String {
    let text = disarmed(text);
    let mut out = String::new();
    let mut count = 0;
    for c in text.chars() {
        let special = matches!(c, '\\' | '*' | '_' | '~' | '`' | '|' | '>' | '<' | '[' | ']' | '#');
        let needs = 1 + usize::from(special);
        // One place is kept for the sign that something was cut.
        if count + needs > most.saturating_sub(1) {
            out.push('…');
            return out;
        }
        if special {
            out.push('\\');
        }
        out.push(c);
        count += needs;
    }
    out
}

fn colour(item: &Item) -> u32 {
    match (item.why, item.alert.severity) {
        (Why::Resolved, _) => 0x002E_7D32,
        (_, Severity::Critical) => 0x00C6_2828,
        (_, Severity::Error) => 0x00E6_5100,
        (_, Severity::Warning) => 0x00F9_A825,
        (_, Severity::Info) => 0x0015_65C0,
    }
}

fn body(message: &Message) -> Value {
    let shown = message.items.len().min(EMBEDS);
    let share = TOTAL / shown.max(1);
    let embeds: Vec<Value> = message
        .items
        .iter()
        .take(EMBEDS)
        .map(|item| {
            let alert = &item.alert;
            let title = escaped(&format!("{}  {}", item.label(), alert.title), TITLE.min(share / 2));
            let step = if item.why == Why::Resolved || alert.next_step.is_empty() {
                String::new()
            } else {
                format!("\n→ {}", escaped(&alert.next_step, share / 8))
            };
            let since = cut(&item.since(message.at), share / 8);
            let used = title.chars().count() + step.chars().count() + since.chars().count() + 2;
            let detail = if item.why == Why::Resolved { "" } else { alert.detail.trim() };
            let detail = if detail.is_empty() {
                String::new()
            } else {
                format!("{}\n", escaped(detail, share.saturating_sub(used).clamp(1, 3_500)))
            };
            json!({ "title": title, "description": format!("{detail}{since}{step}"), "color": colour(item) })
        })
        .collect();
    let mut content = escaped(&message.title(), CONTENT - 100);
    if message.items.len() > EMBEDS {
        content.push_str(&format!("\n… and {} more: healer report", message.items.len() - EMBEDS));
    }
    json!({ "content": content, "embeds": embeds, "allowed_mentions": { "parse": [] }, "username": "healer" })
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn an_escaped_text_keeps_its_limit(text in "\\PC{0,300}", most in 1_usize..120) {
            proptest::prop_assert!(escaped(&text, most).chars().count() <= most);
        }
    }
}
