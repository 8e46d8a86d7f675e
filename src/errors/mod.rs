//! What is really going wrong: from thousands of error texts to the few things behind them.
//!
//! Everything here is pure: no database, no clock, no file. [`template`] masks a message, [`fingerprint`] gives it a
//! stable number, [`group`] joins the fingerprints of one pattern, [`causes`] says what probably lies behind it and
//! whether a retry is safe, [`secrets`] makes an example fit to be shown, [`trend`] compares two windows.
pub mod causes;
pub mod fingerprint;
pub mod group;
pub mod secrets;
pub mod template;
pub mod trend;
