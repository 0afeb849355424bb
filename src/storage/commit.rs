//! The commit protocol: all changes to `bets.csv` and `ends`, made under the data lock.
//!
//! Used by [`super::store`]. Knows neither messages nor durability: its caller syncs the files.
//!
//! SIGKILL can interrupt a write(2), even under flock. The rest of a row may be a different valid bet: if `75741` is
//! cut to `7574`, and 7574 is the winning number, it wins. So a writer records the committed length in `bets.lock`
//! ([`Record`]) after it has written the rows, under the same lock. Bytes past that length are never read as bets, and
//! the next writer cuts them off.
//!
//! | step of a batch | remains if the process dies after this step |
//! |---|---|
//! | lock | nothing; the kernel unlocks |
//! | write the rows | bytes past the committed length; the next writer cuts them off |
//! | write the record | a stored batch, acknowledged or not |
//! | unlock, sync, acknowledge | the same |

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use ipc::lock;

use super::ends;
use super::error::{Error, Result};
use super::files::{Files, PRIVATE, StopCheck, sync_directory};
use super::identity::{Identity, check_in_place};
use super::record::{self, Record};
use super::tallies::Tallies;
use crate::bet::{AgencyId, Bet};
use crate::event;

/// How long to wait for the data lock. The server's processes hold it only for microseconds, so after this time another
/// program holds it. A child that waits must still end within SHUTDOWN_GRACE, so this time is shorter than any useful
/// SHUTDOWN_GRACE.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// How long a process waits for the data lock before it reports the wait ([`super::Store::on_long_wait`]).
const LONG_WAIT: Duration = Duration::from_secs(1);

/// Most bytes that one write can leave without a valid row at their front: a batch of 255 rows with the longest names that
/// a batch can carry. A longer file of which no row is valid was never a store.
const LARGEST_GROUP: u64 = 32 * 1024;

/// The files of a process that holds the data lock. Dropping this value releases the lock.
#[derive(Debug)]
pub struct Locked<'a> {
    files: &'a Files,
    _guard: lock::Guard<'a>,
}

impl<'a> Locked<'a> {
    /// Takes the data lock.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process holds it for longer than [`LOCK_PATIENCE`]; [`Error::Replaced`] if the path
    /// of `bets.lock` now names another file; [`Error::Io`] if a system call fails.
    pub fn take(files: &'a Files) -> Result<Self> {
        let path = &files.paths.lock;
        let wait = |patience| lock::exclusive(&files.lock, patience).map_err(Error::io("lock", path));
        let mut guard = wait(LONG_WAIT)?;
        if guard.is_none() {
            files.long_wait.report();
            guard = wait(LOCK_PATIENCE - LONG_WAIT)?;
        }
        let guard = guard.ok_or_else(|| Error::Locked { path: path.clone() })?;
        check_in_place(&files.lock, path)?;
        Ok(Self { files, _guard: guard })
    }

    /// Returns the record, after it has checked that the record describes `bets.csv`. Cuts off bytes past the committed
    /// length. If the record is lost, makes a new one from the valid rows.
    ///
    /// # Errors
    /// [`Error::Sync`] if an earlier sync failed; [`Error::Replaced`] if the path of `bets.csv`, or the open file, is
    /// not the file that the record describes; [`Error::Truncated`] if `bets.csv` is shorter than the committed length;
    /// [`Error::Io`] if a system call fails.
    pub fn committed(&self) -> Result<Record> {
        let Files { identity, paths, .. } = self.files;
        let path = &paths.bets;
        // Look at the path as well as at the descriptor: this process may have a file open that was moved away.
        let found = path.metadata().map_err(Error::io("stat", path))?;
        let Some(record) = self.record()? else {
            return self.rebuild_record(found.len());
        };
        if record.doubtful {
            let source = io::Error::other("an earlier sync has failed");
            return Err(Error::Sync { path: path.clone(), source });
        }
        if [Identity::of(&found), *identity].iter().any(|&file| !record.is_of(file)) {
            return Err(Error::Replaced { path: path.clone() });
        }
        let (len, committed) = (found.len(), record.committed);
        if len < committed {
            return Err(Error::Truncated { path: path.clone(), len, committed });
        }
        if len > committed {
            self.cut(committed)?;
            event!(Warning, "descartar_cola", success, bytes = len - committed, archivo = path.display());
        }
        Ok(record)
    }

    /// Appends `rows`, the formatted rows of `bets`, all or none. The caller formats them before it takes the lock, so
    /// that it holds the lock for a shorter time.
    ///
    /// Reads the recorded ends from the file, because the parent may not know all of them: a child may have died after
    /// it recorded an end and before it reported the end.
    ///
    /// # Errors
    /// [`Error::Ended`] if the end of the agency is recorded; the errors of [`Locked::committed`]; [`Error::Io`] if a
    /// system call fails. After any error, no bet of the batch counts.
    pub fn append_bets(&self, bets: &[Bet], rows: &[u8]) -> Result<()> {
        let record = self.committed()?;
        let ended = ends::read(&self.files.ends).map_err(Error::io("read", &self.files.paths.ends))?;
        if bets.iter().any(|bet| ended.contains(&bet.agency)) {
            return Err(Error::Ended);
        }
        self.append(rows, record)
    }

    /// Records the end of `agency`; a repetition changes nothing.
    ///
    /// # Errors
    /// The errors of [`Locked::committed`]: an end must not be recorded if bets of the agency are missing. Also
    /// [`Error::Replaced`] if the path of `ends` now names another file; [`Error::Io`] if a system call fails.
    pub fn append_end(&self, agency: AgencyId) -> Result<()> {
        let Files { ends, paths, .. } = self.files;
        self.committed()?;
        check_in_place(ends, &paths.ends)?;
        ends::append(ends, agency).map_err(Error::io("write", &paths.ends))
    }

    /// Cuts `bets.csv` to its first `len` bytes.
    ///
    /// Trap: without the sync, a power cut may bring back blocks of the tail after rows that were appended later.
    fn cut(&self, len: u64) -> Result<()> {
        let Files { bets, paths, .. } = self.files;
        bets.set_len(len).map_err(Error::io("truncate", &paths.bets))?;
        bets.sync_data().map_err(|source| {
            self.mark_doubtful();
            Error::Sync { path: paths.bets.clone(), source }
        })
    }

    /// Marks the record, if there is one, as doubtful, after a failed sync. The committed length stays in the record,
    /// so that bytes past it remain invalid.
    pub fn mark_doubtful(&self) {
        if let Ok(Some(mut record)) = Record::read(&self.files.lock) {
            record.doubtful = true;
            let _ = record.write(&self.files.lock);
        }
    }

    /// At the start of a server: finds the committed length, and counts the committed rows. Moves the bytes past it to
    /// `bets.csv.rejected`.
    ///
    /// | record | committed length |
    /// |---|---|
    /// | of this boot and this file | the length in the record |
    /// | the same, but doubtful: the failed sync may have lost rows | the longest run of valid rows within that length |
    /// | any other, or none | the longest run of valid rows |
    ///
    /// # Errors
    /// [`Error::Damaged`] if a committed row is not a bet; [`Error::Truncated`] if `bets.csv` is shorter than the
    /// committed length; [`Error::Stopped`] if `stop` returns true; [`Error::Io`] if a system call fails.
    pub fn adopt(&self, stop: StopCheck<'_>) -> Result<Tallies> {
        let Files { bets, identity, paths, .. } = self.files;
        let len = bets.metadata().map_err(Error::io("stat", &paths.bets))?.len();
        let this_boot =
            |record: &Record| record.is_of_this_boot().map_err(Error::io("read", Path::new(record::BOOT_ID)));
        let may_be_bets = match self.record()? {
            Some(record) if record.is_of(*identity) && this_boot(&record)? => {
                if !record.doubtful {
                    return self.adopt_committed(record.committed, len, stop);
                }
                record.committed
            }
            _ => len,
        };
        Ok(self.rebuild_record_counting(may_be_bets, stop)?.1)
    }

    /// Adopts the length of a valid record. `len` is the length of `bets.csv`.
    fn adopt_committed(&self, committed: u64, len: u64, stop: StopCheck<'_>) -> Result<Tallies> {
        let tallies = self.files.valid_rows(committed, stop)?;
        if tallies.len() < committed && committed <= len {
            return Err(Error::Damaged { path: self.files.paths.bets.clone(), offset: tallies.len() });
        }
        if len > committed {
            self.keep_aside(committed, len)?;
        }
        self.committed()?;
        Ok(tallies)
    }

    /// Makes a new record, because the old one is lost or doubtful. The longest run of valid rows up to offset `to`
    /// becomes committed. Moves the rest to `bets.csv.rejected`.
    fn rebuild_record(&self, to: u64) -> Result<Record> {
        Ok(self.rebuild_record_counting(to, &|| false)?.0)
    }

    /// As [`Locked::rebuild_record`]; also returns the tallies of the committed rows.
    fn rebuild_record_counting(&self, to: u64, stop: StopCheck<'_>) -> Result<(Record, Tallies)> {
        let Files { bets, identity, lock, paths, .. } = self.files;
        let found = bets.metadata().map_err(Error::io("stat", &paths.bets))?;
        let tallies = self.files.valid_rows(to, stop)?;
        let committed = tallies.len();
        if found.len() > committed {
            if committed == 0 && found.len() > LARGEST_GROUP {
                return Err(Error::NotAStore { path: paths.bets.clone() });
            }
            self.keep_aside(committed, found.len())?;
            self.cut(committed)?;
        }
        let record = Record::new(*identity, committed).map_err(Error::io("read", Path::new(record::BOOT_ID)))?;
        record.write(lock).map_err(Error::io("write", &paths.lock))?;
        Ok((record, tallies))
    }

    /// Appends the bytes of `bets.csv` from offset `from` up to offset `to` to `bets.csv.rejected`, and syncs it.
    fn keep_aside(&self, from: u64, to: u64) -> Result<()> {
        let path = &self.files.paths.rejected;
        let mut aside =
            OpenOptions::new().create(true).append(true).mode(PRIVATE).open(path).map_err(Error::io("open", path))?;
        let mut tail = self.files.bets_between(from, to);
        let copied = io::copy(&mut tail, &mut aside).map_err(Error::io("write", path))?;
        aside.sync_data().map_err(Error::io("sync", path))?;
        sync_directory(path)?;
        event!(Warning, "apartar_cola", success, bytes = copied, archivo = path.display());
        Ok(())
    }

    /// Writes the rows, then the record. If one of the two writes fails, undoes both.
    fn append(&self, rows: &[u8], record: Record) -> Result<()> {
        let Files { bets, lock, paths, .. } = self.files;
        let longer = record.grown_by(rows.len() as u64);
        (&*bets)
            .write_all(rows)
            .map_err(Error::io("write", &paths.bets))
            .and_then(|()| longer.write(lock).map_err(Error::io("write", &paths.lock)))
            .inspect_err(|_| {
                // If this fails too, the next writer finds bytes past the committed length, and cuts them off.
                let _ = record.write(lock);
                let _ = bets.set_len(record.committed);
            })
    }

    fn record(&self) -> Result<Option<Record>> {
        Record::read(&self.files.lock).map_err(Error::io("read", &self.files.paths.lock))
    }
}
