//! The tallies of all agencies over the rows at the front of `bets.csv`.

use std::collections::{HashMap, HashSet};

use super::error::Defect;
use crate::bet::AgencyId;
use crate::row::Tally;
use crate::row_scan::Run;

/// Finds the longest run at the front of some bytes: [`row_scan::first_run`](crate::row_scan::first_run), or
/// [`row_scan::first_likely_run`](crate::row_scan::first_likely_run).
pub type FirstRun = fn(&[u8]) -> Option<Run>;

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

    /// Checks that the rows of every agency are those that were `recorded`, and that no other agency has rows. `to` is as in
    /// [`Tallies::compare`].
    ///
    /// # Errors
    /// [`Defect::Rows`] of the first recorded agency whose rows differ, otherwise of the lowest agency that is not
    /// recorded.
    pub(super) fn compare_all(&self, recorded: &[(AgencyId, Tally)], to: u64) -> Result<(), Defect> {
        recorded.iter().try_for_each(|&(agency, tally)| self.compare(agency, tally, to))?;
        let known: HashSet<_> = recorded.iter().map(|&(agency, _)| agency).collect();
        let unknown = self.agencies().into_iter().find(|agency| !known.contains(agency));
        unknown.map_or(Ok(()), |unknown| self.compare(unknown, Tally::default(), to))
    }

    /// The rows of `agency` are not those that were `recorded`.
    pub(super) fn differ(&self, agency: AgencyId, recorded: Tally, to: u64) -> Defect {
        let valid = (self.len < to).then_some(self.len);
        Defect::Rows { agency, expected: recorded.count, found: self.of(agency).count, valid }
    }

    /// Counts the runs at the front of `rows` that `first_run` finds; returns their length in bytes.
    pub(super) fn add_runs(&mut self, rows: &[u8], first_run: FirstRun) -> usize {
        let mut done = 0;
        while let Some(Run { agency, len, count }) = first_run(&rows[done..]) {
            self.by_agency.entry(agency).or_default().add_rows(&rows[done..done + len], count);
            done += len;
        }
        self.len += done as u64;
        done
    }
}
