//! What is really going wrong: from thousands of error texts to the few things behind them.
//!
//! The core is pure, without database, clock and file: [`template`] masks a message, [`fingerprint`] gives it a stable
//! number, [`gather`] counts a failure once that several sources tell, [`group`] joins the fingerprints of one pattern,
//! [`tally`] is what is counted of it, [`recovery`] says how errors ended, [`causes`] what probably lies behind them and
//! whether a retry is safe, [`secrets`] makes an example fit to be shown, [`trend`] compares two windows, [`timeline`]
//! names what happened before, [`pattern`] puts all of that together, [`health`] makes a number of it, and [`analysis`]
//! the document.
//!
//! Around it: [`source`] reads, [`stored`] keeps patterns between runs, [`pass`] is the command, [`show`] its tables.
pub mod analysis;
pub mod causes;
pub mod fingerprint;
pub mod gather;
pub mod group;
pub mod health;
pub mod pass;
pub mod pattern;
pub mod recovery;
pub mod secrets;
pub mod show;
pub mod source;
pub mod stored;
pub mod tally;
pub mod template;
pub mod timeline;
pub mod trend;

use chrono::{DateTime, SecondsFormat, Utc};

/// Milliseconds since 1970 as documents write a time.
fn stamp(ms: i64) -> String {
    let time = DateTime::<Utc>::from_timestamp_millis(ms).unwrap_or(if ms < 0 {
        DateTime::<Utc>::MIN_UTC
    } else {
        DateTime::<Utc>::MAX_UTC
    });
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
