//! The tallies of all agencies over the rows up to some byte of `bets.csv`.

use std::collections::HashMap;
use std::io;

use super::reader::Lines;
use crate::bet::AgencyId;
use crate::row::Tally;
use crate::row_scan::{self, Run};

/// The tallies of the rows in the first [`Tallies::len`] bytes. The parent makes them at start; its children inherit them
/// and read only the rows that were appended later.
#[derive(Debug, Clone, Default)]
pub struct Tallies {
    len: u64,
    by_agency: HashMap<AgencyId, Tally>,
}

impl Tallies {
    /// Bytes of `bets.csv` that have been counted.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing has been counted.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of bets of all agencies.
    pub fn bets(&self) -> u64 {
        self.by_agency.values().map(|tally| tally.count).sum()
    }

    /// The tally of `agency`.
    pub fn of(&self, agency: AgencyId) -> Tally {
        self.by_agency.get(&agency).copied().unwrap_or_default()
    }

    /// Counts the valid rows at the front of `lines`, up to the first line that is not one.
    ///
    /// # Errors
    /// The error of pread(2).
    pub(super) fn add_valid(&mut self, mut lines: Lines<'_>) -> io::Result<()> {
        while let Some(mut rows) = lines.next_lines()? {
            while !rows.is_empty() {
                let Some(Run { agency, len, count }) = row_scan::first_run(rows) else { return Ok(()) };
                self.by_agency.entry(agency).or_default().add_rows(&rows[..len], count);
                self.len += len as u64;
                rows = &rows[len..];
            }
        }
        Ok(())
    }
}
