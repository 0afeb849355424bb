//! Reading committed rows.

use super::error::{Error, Result};
use super::files::Files;
use super::tallies::Tallies;
use crate::bet::{AgencyId, Bet};
use crate::row::{self, Tally};

/// The rows in the first `len` bytes of `bets.csv`, which are committed.
#[derive(Debug, Clone, Copy)]
pub struct Committed<'a> {
    files: &'a Files,
    len: u64,
}

impl<'a> Committed<'a> {
    /// The rows in the first `len` bytes, a committed length.
    pub fn new(files: &'a Files, len: u64) -> Self {
        Self { files, len }
    }

    /// The tally of `agency`: that of `known`, and the rows after the bytes that `known` has counted.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn tally(self, agency: AgencyId, known: &Tallies) -> Result<Tally> {
        let mut tally = known.of(agency);
        let mut lines = self.files.bets_between(known.len(), self.len).lines();
        while let Some(line) = lines.next_line().map_err(Error::io("read", &self.files.paths.bets))? {
            if row::agency(line) == Some(agency) {
                tally.add(line);
            }
        }
        Ok(tally)
    }

    /// Every bet, in the order of storage. The iterator ends after its first error.
    ///
    /// # Errors
    /// Each item may be [`Error::Damaged`] or [`Error::Io`].
    pub fn bets(self) -> impl Iterator<Item = Result<Bet>> + use<'a> {
        self.bets_in(|_| true)
    }

    /// Every bet with `number`, in the order of storage. Other rows are not parsed, which saves most of the work; so damage
    /// in them is not noticed.
    ///
    /// # Errors
    /// As [`Committed::bets`].
    pub fn bets_with(self, number: u32) -> impl Iterator<Item = Result<Bet>> + use<'a> {
        let may_be = move |line: &[u8]| row::number(line).is_none_or(|other| other == number);
        self.bets_in(may_be).filter(move |bet| bet.as_ref().map_or(true, |bet| bet.number == number))
    }

    fn bets_in<F: Fn(&[u8]) -> bool>(self, wanted: F) -> impl Iterator<Item = Result<Bet>> + use<'a, F> {
        let path = &self.files.paths.bets;
        let mut lines = self.files.bets_between(0, self.len).lines();
        let mut failed = false;
        std::iter::from_fn(move || {
            while !failed {
                let offset = lines.offset();
                let bet = match lines.next_line() {
                    Ok(None) => return None,
                    Ok(Some(line)) if !wanted(line) => continue,
                    Ok(Some(line)) => row::parse(line).ok_or_else(|| Error::Damaged { path: path.clone(), offset }),
                    Err(e) => Err(Error::io("read", path)(e)),
                };
                failed = bet.is_err();
                return Some(bet);
            }
            None
        })
    }
}
