//! Requests: what only the application can do is asked of it in `healer.request`, and it decides.

use super::lease::Lease;
use crate::database::session::{Param, Session};
use crate::database::statement::{self, Names};
use crate::error::Error;
use crate::heal::Request;

/// Leaves a request that is void after `seconds`. Gives its number, or `None` where the same one is still in force.
pub fn leave(session: &mut Session, lease: &Lease, request: &Request, seconds: i64) -> Result<Option<i64>, Error> {
    lease.begin_batch(session)?;
    let rows = session.rows(
        &statement::REQUEST.fill(&Names::default()),
        &[
            Param::Text(request.kind),
            Param::Text(&request.target),
            Param::Text(&request.reason),
            Param::Int(lease.run),
            Param::Int(seconds),
        ],
    )?;
    session.commit()?;
    rows.first().map(|row| row.int("id")).transpose()
}
