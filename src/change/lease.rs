//! The lease of a pass: one row that one run holds at a time. It only saves double work; that nothing is done twice
//! rests on the guarded writes.

use std::hash::{BuildHasher, Hasher};

use crate::database::session::{Access, Param, Session};
use crate::database::statement::{self, Names};
use crate::error::Error;

/// A lease that was taken, and the run that was opened with it.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The pass.
    pub pass: &'static str,
    /// The run's id.
    pub run: i64,
    /// What tells this holder from all others: hexadecimal digits.
    pub token: String,
    /// Whether a day has passed since healer last pruned its own tables.
    pub prune: bool,
    seconds: u64,
}

/// The answer to asking for a lease.
#[derive(Debug)]
pub enum Taken {
    /// It is ours.
    Ours(Lease),
    /// Somebody else is at work: who, and since when.
    Busy(String),
}

/// Random hexadecimal digits: two runs never have the same, on whatever host.
pub fn token() -> String {
    let mut digits = String::with_capacity(32);
    for _ in 0..2 {
        // The keys of a RandomState come from the system's source of randomness.
        let number = std::collections::hash_map::RandomState::new().build_hasher().finish();
        digits.push_str(&format!("{number:016x}"));
    }
    digits
}

/// Who runs: host and process.
pub fn holder() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_else(|| "unknown host".into());
    format!("{} (pid {})", host.trim(), std::process::id())
}

impl Lease {
    /// Takes the lease of `pass` and opens the record of a run, without ever waiting.
    pub fn take(
        session: &mut Session,
        pass: &'static str,
        command: &str,
        max_actions: Option<u32>,
    ) -> Result<Taken, Error> {
        let token = token();
        // Twice the limit of a statement: a run that is alive renews it with every batch, long before.
        let seconds = (session.limits().statement.as_secs() * 2).max(2);
        let row = session.row(
            &statement::LEASE_TAKE.fill(&Names::default()),
            &[
                Param::Text(pass),
                Param::Text(&token),
                Param::Text(&holder()),
                Param::Int(i64::try_from(seconds).unwrap_or(60)),
                Param::Text(command),
                Param::Text(env!("CARGO_PKG_VERSION")),
                Param::Int(max_actions.map_or(-1, i64::from)),
                Param::Int(-1),
            ],
        )?;
        let Some(run) = row.optional_int("run")? else {
            let holder = row.optional_text("holder")?.filter(|holder| !holder.is_empty());
            let since = row.optional_time("since")?.map(|time| time.format(" since %H:%M:%S UTC").to_string());
            return Ok(Taken::Busy(format!(
                "{}{}",
                holder.as_deref().unwrap_or("another session"),
                since.unwrap_or_default()
            )));
        };
        Ok(Taken::Ours(Self { pass, run, token, prune: row.bool("prune")?, seconds }))
    }

    /// SQL that renews the lease in a batch's transaction; it changes one row, or none if the lease was lost.
    pub fn renewal(&self) -> String {
        format!(
            "UPDATE healer.lease SET expires_at = clock_timestamp() + interval '{} seconds' WHERE pass = '{}' AND token = '{}'",
            self.seconds, self.pass, self.token
        )
    }

    /// Opens the transaction of a batch with the lease renewed in it; where the lease was lost, nothing is left open.
    pub fn begin_batch(&self, session: &mut Session) -> Result<(), Error> {
        if session.begin_counting(Access::ReadWrite, &self.renewal())? == 0 {
            session.rollback();
            return Err(self.lost());
        }
        Ok(())
    }

    /// SQL that holds the lease for so many seconds: for what takes longer than a batch. A lease that was lost stays lost.
    pub fn extension(&self, seconds: i64) -> String {
        format!(
            "UPDATE healer.lease SET expires_at = clock_timestamp() + interval '{seconds} seconds' WHERE pass = '{}' AND token = '{}'",
            self.pass, self.token
        )
    }

    /// The error for a lease that was lost.
    pub fn lost(&self) -> Error {
        Error::LeaseLost { pass: self.pass }
    }
}
