//! `post_attempts`: an attempt is approved, used, and ends with an id or a success. One that began and has no outcome
//! leaves it open whether the post was sent.

use super::Shape;

pub(super) fn describe(shape: &mut Shape<'_>) -> Result<(), String> {
    let (key, matching, each) = shape.key(&["decision_id", "post_id"])?;
    shape.require(&["actual_tweet_id", "tweet_id"])?;
    let success = shape
        .column(&["posting_success", "success"])
        .filter(|column| column.base_type == "boolean")
        .map_or_else(|| "NULL::boolean".into(), |column| format!("r.{}", column.quoted));
    let values = [
        ("post_attempts", shape.relation.quoted.clone()),
        ("post_attempts_key", key),
        ("post_attempts_match", matching),
        ("post_attempts_each", each.to_owned()),
        ("post_attempts_external_id", shape.text(&["actual_tweet_id", "tweet_id"])),
        ("post_attempts_success", success),
        ("post_attempts_status", shape.text(&["status"])),
        ("post_attempts_approved_at", shape.time(&["approved_at"])),
        ("post_attempts_used_at", shape.time(&["used_at"])),
        ("post_attempts_expires_at", shape.time(&["expires_at"])),
        ("post_attempts_at", shape.time(&["created_at"])),
        // A day before the window of approvals: an index serves the time of creation.
        ("post_attempts_lately", shape.since("created_at", "8 days")),
        ("post_attempts_of_15_days", shape.since("created_at", "15 days")),
        ("post_attempts_of_2_days", shape.since("created_at", "2 days")),
        ("post_attempts_error", shape.text(&["error_message", "error"])),
    ];
    for (name, value) in values {
        shape.names.set(name, value);
    }
    Ok(())
}
