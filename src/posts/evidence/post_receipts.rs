//! `post_receipts`: one row for each post that was sent, with all ids of a thread. The strongest ledger after the
//! row's own id. Its key is often a uuid where the posts' is a text.

use super::Shape;

pub(super) fn describe(shape: &mut Shape<'_>) -> Result<(), String> {
    let (key, matching, each) = shape.key(&["decision_id", "post_id"])?;
    let root = shape.text(&["root_tweet_id", "tweet_id"]);
    let ids = shape
        .column(&["tweet_ids"])
        .filter(|column| column.r#type.ends_with("[]"))
        .map_or_else(|| format!("ARRAY[{root}]"), |column| format!("r.{}::text[]", column.quoted));
    if root == "NULL::text" && ids.starts_with("ARRAY") {
        return Err(format!("columns {0}.root_tweet_id and {0}.tweet_ids are missing", shape.relation.quoted));
    }
    let at = shape.time(&["posted_at", "created_at"]);
    let relation = shape.relation.quoted.clone();
    shape.names.set("post_receipts", relation);
    shape.names.set("post_receipts_key", key);
    shape.names.set("post_receipts_match", matching);
    shape.names.set("post_receipts_each", each);
    shape.names.set("post_receipts_root", root);
    shape.names.set("post_receipts_ids", ids);
    shape.names.set("post_receipts_at", at);
    Ok(())
}
