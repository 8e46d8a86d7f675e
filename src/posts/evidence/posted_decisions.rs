//! `posted_decisions`: a view of the decisions that were posted.

use super::Shape;

pub(super) fn describe(shape: &mut Shape<'_>) -> Result<(), String> {
    let (key, matching, each) = shape.key(&["decision_id", "post_id"])?;
    shape.require(&["tweet_id"])?;
    let values = [
        ("posted_decisions", shape.relation.quoted.clone()),
        ("posted_decisions_key", key),
        ("posted_decisions_match", matching),
        ("posted_decisions_each", each.to_owned()),
        ("posted_decisions_external_id", shape.text(&["tweet_id"])),
        ("posted_decisions_at", shape.time(&["posted_at", "created_at"])),
    ];
    for (name, value) in values {
        shape.names.set(name, value);
    }
    Ok(())
}
