//! The verbs that sessions, the draw and the parent use, and when data is made durable.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use super::commit::Locked;
use super::ends;
use super::error::{Error, Result};
use super::files::{Files, LongWait};
use super::paths::Paths;
use super::queries::Committed;
use super::record::Record;
use super::results::{self, Terms};
use super::tallies::Tallies;
use crate::bet::{AgencyId, Bet};
use crate::draw::Winners;
use crate::durability::Durability;
use crate::row::{self, Tally};

/// The storage, as one process uses it.
#[derive(Debug)]
pub struct Store {
    files: Files,
    durability: Durability,
}

impl Store {
    /// Opens the files, which [`super::start::prepare`] has made.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(paths: &Paths, durability: Durability) -> Result<Self> {
        Ok(Self { files: Files::open(paths)?, durability })
    }

    /// Calls `report` once during each wait for the data lock that lasts longer than 1 s. The wait goes on.
    #[must_use]
    pub fn on_long_wait(mut self, report: impl Fn() + 'static) -> Self {
        self.files.long_wait = LongWait(Some(Box::new(report)));
        self
    }

    /// The file that carries the data lock.
    pub fn data_lock(&self) -> &File {
        &self.files.lock
    }

    /// A number that grows with each commit; 0 while there is no valid record. Takes no lock.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read.
    pub fn sequence(&self) -> Result<u64> {
        let record = Record::read(&self.files.lock).map_err(Error::io("read", &self.files.paths.lock))?;
        Ok(record.map_or(0, |record| record.committed))
    }

    /// Stores `bets`, all or none. After it returns, a killed process loses none of them, nor does a power cut at
    /// [`Durability::Batch`].
    ///
    /// # Errors
    /// [`Error::Ended`] if their agency has ended; [`Error::Sync`], after which the bets may be stored all the same; other
    /// errors of [`Error`], after which no bet of the batch counts.
    pub fn store_bets(&self, bets: &[Bet]) -> Result<()> {
        let rows = row::format(bets);
        self.lock()?.append_bets(bets, &rows)?;
        self.sync_from(Durability::Batch, &self.files.bets, &self.files.paths.bets)
    }

    /// Records that `agency` has ended; a repetition changes nothing. After it returns, neither a killed process nor (from
    /// [`Durability::End`] on) a power cut loses the end, or any bet of the agency.
    ///
    /// The syncs are outside the lock, so that the ends of different agencies share the work of the disk.
    ///
    /// # Errors
    /// The errors of [`Error`] but [`Error::Ended`]. After [`Error::Sync`] the agency may have ended all the same.
    pub fn end(&self, agency: AgencyId) -> Result<()> {
        self.sync_from(Durability::End, &self.files.bets, &self.files.paths.bets)?;
        self.lock()?.append_end(agency)?;
        self.sync_ends()
    }

    /// Makes `ends` durable, from [`Durability::End`] on. Call it before a client learns of an end that another process
    /// recorded: that process may have died before its own sync.
    ///
    /// # Errors
    /// [`Error::Sync`].
    pub fn sync_ends(&self) -> Result<()> {
        self.sync_from(Durability::End, &self.files.ends, &self.files.paths.ends)
    }

    /// The agencies that have ended. Takes no lock: an end that is being recorded at this moment may be missing.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn ended(&self) -> Result<BTreeSet<AgencyId>> {
        ends::read(&self.files.ends).map_err(Error::io("read", &self.files.paths.ends))
    }

    /// The tally of `agency`'s committed rows: that of `known`, and the rows that came later.
    ///
    /// # Errors
    /// The errors of [`Error`] but [`Error::Ended`].
    pub fn tally(&self, agency: AgencyId, known: &Tallies) -> Result<Tally> {
        self.rows_up_to(self.committed_len()?).tally(agency, known)
    }

    /// Every stored bet, in the order of storage. The iterator ends after its first error.
    ///
    /// # Errors
    /// The errors of [`Error`] but [`Error::Ended`].
    pub fn load_bets(&self) -> Result<impl Iterator<Item = Result<Bet>>> {
        Ok(self.rows_up_to(self.committed_len()?).bets())
    }

    /// Every bet with `number` in the first `committed` bytes, in the order of storage. The iterator ends after its first
    /// error; damage in rows with other numbers is not noticed.
    ///
    /// # Errors
    /// Each item may be [`Error::Damaged`] or [`Error::Io`].
    pub fn load_bets_with(&self, number: u32, committed: u64) -> impl Iterator<Item = Result<Bet>> {
        self.rows_up_to(committed).bets_with(number)
    }

    /// The committed length in bytes.
    ///
    /// # Errors
    /// The errors of [`Error`] but [`Error::Ended`].
    pub fn committed_len(&self) -> Result<u64> {
        Ok(self.lock()?.committed()?.committed)
    }

    /// Writes the draw's result and makes it durable, which is final. The bets and the ends are made durable first, at any
    /// level of durability: a result must not outlive them.
    ///
    /// # Errors
    /// [`Error::Sync`], [`Error::Io`]. The caller must then discard the result.
    pub fn write_result(&self, terms: Terms, winners: &Winners) -> Result<()> {
        let Files { bets, ends, draw, paths, .. } = &self.files;
        self.sync(bets, &paths.bets)?;
        self.sync(ends, &paths.ends)?;
        results::write(draw, terms, winners).map_err(Error::io("write", &paths.draw))?;
        self.sync(draw, &paths.draw).inspect_err(|_| {
            // A result that may be lost must not be found, and adopted as final, by the next server.
            let _ = draw.set_len(0);
        })
    }

    /// Empties the result that a process left without confirming that it is durable.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn discard_result(&self) -> Result<()> {
        self.files.draw.set_len(0).map_err(Error::io("truncate", &self.files.paths.draw))
    }

    /// The terms of the draw, if it has been held. Does not check the winners: the start or their writer has done so.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn result(&self) -> Result<Option<Terms>> {
        results::terms(&self.files.draw).map_err(Error::io("read", &self.files.paths.draw))
    }

    /// The documents of the agency's winning bets; `None` if `draw` holds no valid result.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn winners(&self, agency: AgencyId) -> Result<Option<Vec<u32>>> {
        results::winners(&self.files.draw, agency).map_err(Error::io("read", &self.files.paths.draw))
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    pub(super) fn lock(&self) -> Result<Locked<'_>> {
        Locked::take(&self.files)
    }

    fn rows_up_to(&self, committed: u64) -> Committed<'_> {
        Committed::new(&self.files, committed)
    }

    fn sync_from(&self, level: Durability, file: &File, path: &Path) -> Result<()> {
        if self.durability < level { Ok(()) } else { self.sync(file, path) }
    }

    /// Makes a file durable.
    ///
    /// Trap: the kernel reports a failed sync once. It keeps the unwritten data in its cache as if it were written, and the
    /// next sync succeeds. So a failure marks the record, and nobody relies on the committed length until a start has read
    /// the rows from the disk again.
    pub(super) fn sync(&self, file: &File, path: &Path) -> Result<()> {
        file.sync_data().map_err(|source| {
            if let Ok(locked) = self.lock() {
                locked.mark_doubtful();
            }
            Error::Sync { path: path.to_owned(), source }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::start;

    #[test]
    fn bets_with_a_number_are_found_in_every_notation() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::beside(&directory.path().join("bets.csv"));
        let row = |document, number| format!("1,Ana,Paz,{document},1999-03-17,{number}\r\n");
        let numbers = ["7574", "75741", "07574", "\"7574\"", "17574", "7575"];
        let rows: String = (0..).zip(numbers).map(|(document, number)| row(document, number)).collect();
        std::fs::write(&paths.bets, rows).unwrap();
        let (store, _) = start::prepare(&paths, Durability::Process, &|| false).unwrap();
        let documents = |bets: Vec<Bet>| bets.iter().map(|bet| bet.document).collect::<Vec<_>>();
        let all: Vec<Bet> = store.load_bets().unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(documents(all), [0, 1, 2, 3, 4, 5]);
        let with: Vec<Bet> = store.load_bets_with(7574, store.committed_len().unwrap()).collect::<Result<_>>().unwrap();
        assert_eq!(documents(with), [0, 2, 3]);
    }
}
