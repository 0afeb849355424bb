//! The tallies of all agencies over the rows at the front of `bets.csv`.

use std::collections::HashMap;

use super::error::Defect;
use crate::bet::AgencyId;
use crate::row::Tally;
use crate::row_scan::{self, Run};

/// The tallies of the rows in the first [`Tallies::len`] bytes.
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

    /// The number of bets of all agencies.
    pub fn bets(&self) -> u64 {
        self.by_agency.values().map(|tally| tally.count).sum()
    }

    /// The tally of `agency`.
    pub fn of(&self, agency: AgencyId) -> Tally {
        self.by_agency.get(&agency).copied().unwrap_or_default()
    }

    /// The agencies that have rows, in ascending order.
    pub fn agencies(&self) -> Vec<AgencyId> {
        let mut agencies: Vec<_> = self.by_agency.keys().copied().collect();
        agencies.sort_unstable();
        agencies
    }

    /// Checks that the rows of `agency` are those that were `recorded`. `to` is where the counted bytes should end.
    ///
    /// # Errors
    /// [`Defect::Rows`] if they differ.
    pub(super) fn compare(&self, agency: AgencyId, recorded: Tally, to: u64) -> Result<(), Defect> {
        if self.of(agency) == recorded { Ok(()) } else { Err(self.differ(agency, recorded, to)) }
    }

    /// The rows of `agency` are not those that were `recorded`.
    pub(super) fn differ(&self, agency: AgencyId, recorded: Tally, to: u64) -> Defect {
        let valid = (self.len < to).then_some(self.len);
        Defect::Rows { agency, expected: recorded.count, found: self.of(agency).count, valid }
    }

    /// Counts the valid rows at the front of `rows`; returns their length in bytes.
    pub(super) fn add_valid(&mut self, rows: &[u8]) -> usize {
        let mut done = 0;
        while let Some(Run { agency, len, count }) = row_scan::first_run(&rows[done..]) {
            self.by_agency.entry(agency).or_default().add_rows(&rows[done..done + len], count);
            done += len;
        }
        self.len += done as u64;
        done
    }
}
