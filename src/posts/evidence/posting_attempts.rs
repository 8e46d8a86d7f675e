//! `posting_attempts`: attempting, success or failed. Often empty, which its coverage tells.

use super::Shape;

pub(super) fn describe(shape: &mut Shape<'_>) -> Result<(), String> {
    let (key, matching, each) = shape.key(&["decision_id", "post_id"])?;
    shape.require(&["status"])?;
    let values = [
        ("posting_attempts", shape.relation.quoted.clone()),
        ("posting_attempts_key", key),
        ("posting_attempts_match", matching),
        ("posting_attempts_each", each.to_owned()),
        ("posting_attempts_external_id", shape.text(&["tweet_id", "actual_tweet_id"])),
        ("posting_attempts_status", shape.text(&["status"])),
        ("posting_attempts_at", shape.time(&["created_at", "attempted_at"])),
        ("posting_attempts_error", shape.text(&["error_message", "error"])),
    ];
    for (name, value) in values {
        shape.names.set(name, value);
    }
    Ok(())
}
