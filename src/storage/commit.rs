//! The commit protocol: all changes to `bets.csv` and `ends`, made under the data lock.
//!
//! One write(2) under flock is not atomic against SIGKILL, and a row torn from `75741` to `7574` would win. So `bets.lock`
//! holds the committed length ([`Record`]), written after the rows and under the same lock. Bytes past that length are
//! never read as bets, and the next writer cuts them off.
//!
//! | step of a batch | left by a process that dies after it |
//! |---|---|
//! | lock | nothing; the kernel unlocks |
//! | write the rows | bytes past the committed length; the next writer cuts them off |
//! | write the record | a stored batch, acknowledged or not |
//! | unlock, sync, acknowledge | the same |

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use ipc::lock;

use super::ends;
use super::error::{Error, Result};
use super::files::{Files, sync_directory};
use super::identity::{Identity, check_in_place};
use super::record::{self, Record};
use super::tallies::Tallies;
use crate::bet::{AgencyId, Bet};
use crate::event;

/// How long to wait for the data lock. Siblings hold it for microseconds, so a longer holder is another program. Less than
/// any useful SHUTDOWN_GRACE, so that a child that waits can still end in time.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// The files while this process holds the data lock.
#[derive(Debug)]
pub struct Locked<'a> {
    files: &'a Files,
    _guard: lock::Guard<'a>,
}

impl<'a> Locked<'a> {
    /// Takes the data lock.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process holds it for longer than [`LOCK_PATIENCE`]; [`Error::Replaced`] if the path of
    /// the lock names another file by now; [`Error::Io`].
    pub fn take(files: &'a Files) -> Result<Self> {
        let path = &files.paths.lock;
        let guard = lock::exclusive(&files.lock, LOCK_PATIENCE)
            .map_err(Error::io("lock", path))?
            .ok_or_else(|| Error::Locked { path: path.clone() })?;
        check_in_place(&files.lock, path)?;
        Ok(Self { files, _guard: guard })
    }

    /// The record, after checking that it describes `bets.csv`. Cuts off bytes past the committed length; recovers a lost
    /// record.
    ///
    /// # Errors
    /// [`Error::Sync`] if an earlier sync failed; [`Error::Replaced`]; [`Error::Truncated`]; [`Error::Io`].
    pub fn committed(&self) -> Result<Record> {
        let Files { bets, identity, paths, .. } = self.files;
        let path = &paths.bets;
        // By path, not by descriptor: a file that was moved away is still open here.
        let found = path.metadata().map_err(Error::io("stat", path))?;
        let Some(record) = self.record()? else {
            return self.recover(found.len());
        };
        if record.doubtful {
            let source = io::Error::other("an earlier one has failed");
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
            bets.set_len(committed).map_err(Error::io("truncate", path))?;
            event!(Warning, "descartar_cola", success, bytes = len - committed, archivo = path.display());
        }
        Ok(record)
    }

    /// Appends `bets`, whose rows the caller formatted before it took the lock; all or none.
    ///
    /// The agency's end is looked up here, where ends are recorded: a child that died before it could report an end has
    /// recorded it all the same.
    ///
    /// # Errors
    /// [`Error::Ended`]; the errors of [`Locked::committed`]; [`Error::Io`]. No bet of the batch counts then.
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
    /// The errors of [`Locked::committed`], since the end of a file that was cut or replaced would be false;
    /// [`Error::Replaced`] for `ends` itself; [`Error::Io`].
    pub fn append_end(&self, agency: AgencyId) -> Result<()> {
        let Files { ends, paths, .. } = self.files;
        self.committed()?;
        check_in_place(ends, &paths.ends)?;
        ends::append(ends, agency).map_err(Error::io("write", &paths.ends))
    }

    /// Marks the record, if there is one, as doubtful: a sync has failed. Bytes past the committed length remain invalid.
    pub fn doubt(&self) {
        if let Ok(Some(mut record)) = Record::read(&self.files.lock) {
            record.doubtful = true;
            let _ = record.write(&self.files.lock);
        }
    }

    /// At start: finds the committed length, and counts the committed rows.
    ///
    /// Bytes past the committed length are kept aside. Without a record of this boot and this file, the longest run of
    /// valid rows is committed. With a doubtful record, the same holds up to its committed length: rows that the failed
    /// sync lost are not there.
    ///
    /// # Errors
    /// [`Error::Damaged`] if a committed row is not a bet; [`Error::Truncated`]; [`Error::Io`].
    pub fn adopt(&self) -> Result<Tallies> {
        let Files { bets, identity, paths, .. } = self.files;
        let len = bets.metadata().map_err(Error::io("stat", &paths.bets))?.len();
        let this_boot =
            |record: &Record| record.is_of_this_boot().map_err(Error::io("read", Path::new(record::BOOT_ID)));
        let may_be_bets = match self.record()? {
            Some(record) if record.is_of(*identity) && this_boot(&record)? => {
                if !record.doubtful {
                    return self.adopt_committed(record.committed, len);
                }
                record.committed
            }
            _ => len,
        };
        self.files.valid_rows(self.recover(may_be_bets)?.committed)
    }

    fn adopt_committed(&self, committed: u64, len: u64) -> Result<Tallies> {
        let tallies = self.files.valid_rows(committed)?;
        if tallies.len() < committed && committed <= len {
            return Err(Error::Damaged { path: self.files.paths.bets.clone(), offset: tallies.len() });
        }
        if len > committed {
            self.keep_aside(committed, len)?;
        }
        self.committed()?;
        Ok(tallies)
    }

    /// Makes a new record for a lost one: the longest run of valid rows up to offset `to` is committed. The rest is kept
    /// aside.
    fn recover(&self, to: u64) -> Result<Record> {
        let Files { bets, identity, lock, paths, .. } = self.files;
        let found = bets.metadata().map_err(Error::io("stat", &paths.bets))?;
        let committed = self.files.valid_rows(to)?.len();
        if found.len() > committed {
            self.keep_aside(committed, found.len())?;
            bets.set_len(committed).map_err(Error::io("truncate", &paths.bets))?;
        }
        let record = Record::new(*identity, committed).map_err(Error::io("read", Path::new(record::BOOT_ID)))?;
        record.write(lock).map_err(Error::io("write", &paths.lock))?;
        Ok(record)
    }

    /// Copies the bytes of `bets.csv` between two offsets to the end of `bets.csv.rejected`.
    fn keep_aside(&self, from: u64, to: u64) -> Result<()> {
        let path = &self.files.paths.rejected;
        let mut aside = OpenOptions::new().create(true).append(true).open(path).map_err(Error::io("open", path))?;
        let mut tail = self.files.bets_between(from, to);
        let copied = io::copy(&mut tail, &mut aside).map_err(Error::io("write", path))?;
        aside.sync_data().map_err(Error::io("sync", path))?;
        sync_directory(path)?;
        event!(Warning, "apartar_cola", success, bytes = copied, archivo = path.display());
        Ok(())
    }

    /// Writes the rows first, the record second. Undoes both if either fails.
    fn append(&self, rows: &[u8], record: Record) -> Result<()> {
        let Files { bets, lock, paths, .. } = self.files;
        let longer = record.grown_by(rows.len() as u64);
        (&*bets)
            .write_all(rows)
            .map_err(Error::io("write", &paths.bets))
            .and_then(|()| longer.write(lock).map_err(Error::io("write", &paths.lock)))
            .inspect_err(|_| {
                // If this fails too, the next writer finds the same state and repeats it.
                let _ = record.write(lock);
                let _ = bets.set_len(record.committed);
            })
    }

    fn record(&self) -> Result<Option<Record>> {
        Record::read(&self.files.lock).map_err(Error::io("read", &self.files.paths.lock))
    }
}
