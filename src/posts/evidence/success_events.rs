//! `POST_SUCCESS` and `REPLY_SUCCESS` in the event table: proof where they are, and next to nothing where they are not.

use super::Access;
use crate::database::catalog::Relation;

pub(super) fn access(events: &Relation) -> Access {
    if events.row_security {
        Access::Hidden
    } else if !events.may_select || !events.schema_usage {
        Access::Forbidden
    } else {
        Access::Readable
    }
}
