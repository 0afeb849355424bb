//! The tallies of all agencies over the rows up to some byte of `bets.csv`.

use std::collections::HashMap;

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
