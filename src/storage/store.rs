//! The verbs that sessions, the draw and the parent use, and when data is made durable.

use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use ipc::sandbox;

use super::books::{self, Entry, PairOffset};
use super::commit::{self, Locked, Origin};
use super::draw_file::{self, Unit};
use super::error::{Error, Result};
use super::files::{Files, Location, LongWait};
use super::results::{self, Terms};
use super::slots::Slot;
use super::writeback;
use crate::durability::Durability;
use crate::row::{Rows, Tally};

/// The storage, as one process uses it.
#[derive(Debug)]
pub struct Store {
    files: Files,
    durability: Durability,
}

/// What is stored of one agency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its committed rows.
    pub tally: Tally,
    /// Whether it has ended.
    pub has_ended: bool,
}

impl Store {
    /// Opens the files that the parent has found.
    ///
    /// # Errors
    /// [`Error::Replaced`] if a name now refers to another file; [`Error::Io`] if a file cannot be opened.
    pub fn open(location: &Location, durability: Durability) -> Result<Self> {
        Ok(Self { files: Files::open_at(location)?, durability })
    }

    pub(super) fn over(files: Files, durability: Durability) -> Self {
        Self { files, durability }
    }

    /// Calls `report` once during each wait for the data lock that lasts longer than 1 s. The wait goes on.
    #[must_use]
    pub fn on_long_wait(mut self, report: impl Fn() + 'static) -> Self {
        self.files.long_wait = LongWait(Some(Box::new(report)));
        self
    }

    /// The file that carries the data lock.
    pub fn data_lock(&self) -> &File {
        &self.files.books
    }

    /// What a session may do to the files: append bets, cut them no shorter than they are committed now, and write to
    /// `books` and `draw`. If the committed length cannot be read, the session cuts nothing, because it recovers nothing.
    pub fn writable(&self) -> sandbox::Files<'_> {
        let Files { bets, books, draw, .. } = &self.files;
        let kept = commit::newest_head(&self.files).map_or(u64::MAX, |head| head.committed);
        sandbox::Files { appended: bets.as_fd(), kept, written: [books.as_fd(), draw.as_fd()], locked: books.as_fd() }
    }

    /// The places in `books` and `draw` to which the session of `slot` writes: the head, the mark, its slot, its unit.
    pub fn places(&self, slot: Slot) -> [(BorrowedFd<'_>, Range<u32>); 4] {
        let [books, draw] = [self.files.books.as_fd(), self.files.draw.as_fd()];
        let [head, own] = [PairOffset::HEAD, PairOffset::slot(slot.number)].map(PairOffset::place);
        [(books, head), (books, books::place_of_mark()), (books, own), (draw, Unit::place(slot.number))]
    }

    /// Stores `rows`, a group of bets of the agency of `slot`, all or none; at most
    /// [`LARGEST_GROUP`](super::LARGEST_GROUP) bytes. After it returns, a killed process loses none of
    /// them, nor does a power cut at [`Durability::Batch`].
    ///
    /// # Errors
    /// [`Error::Ended`] if the agency has ended; [`Error::HasTyped`] for untyped rows of an agency that has typed ones;
    /// [`Error::Sync`], after which the bets may be stored all the same; other
    /// errors of [`Error`], after which no bet of the group counts.
    pub fn store(&self, slot: Slot, rows: &Rows, origin: Origin) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let end = self.lock()?.append(slot, rows, origin)?;
        writeback::after_append(&self.files.bets, end - rows.bytes().len() as u64..end, self.durability);
        self.sync_from(Durability::Batch, &self.files.bets, &self.files.paths.bets)
    }

    /// Records that the agency of `slot` has ended; a repetition changes nothing. After it returns, neither a killed process
    /// nor (from [`Durability::End`] on) a power cut loses the end, or any bet of the agency.
    ///
    /// # Errors
    /// The errors of [`Error`] but [`Error::Ended`]. After [`Error::Sync`] the agency may have ended all the same.
    pub fn end(&self, slot: Slot) -> Result<()> {
        let closed = self.lock()?.close(slot)?;
        closed.map_or(Ok(()), |entry| self.complete_end(slot, entry))
    }

    /// What is stored of the agency of `slot`. Reads two records and takes no lock: its time does not depend on the number of
    /// bets or agencies. If the agency has ended, first makes the end durable: the process that closed the slot may have
    /// died before it did so.
    ///
    /// # Errors
    /// The errors of [`Error`] but [`Error::Ended`].
    pub fn stored(&self, slot: Slot) -> Result<Stored> {
        let entry = commit::read_slot(&self.files, slot)?.entry(slot.agency);
        // After the slot: a writer appends its rows before it writes the slot.
        commit::check_len(&self.files, entry.end)?;
        // The client takes the answer for an acknowledgement, perhaps of a group whose process died before its sync.
        self.sync_from(Durability::Batch, &self.files.bets, &self.files.paths.bets)?;
        match entry.is_closed {
            true => self.complete_end(slot, entry)?,
            false => commit::check_not_doubtful(&self.files)?,
        }
        Ok(Stored { tally: entry.tally, has_ended: entry.is_closed })
    }

    /// Whether the agency of `slot` has ended. The end may not be durable yet.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the slot is damaged; [`Error::Io`] if pread(2) fails.
    pub fn has_ended(&self, slot: Slot) -> Result<bool> {
        Ok(commit::read_slot(&self.files, slot)?.entry(slot.agency).is_closed)
    }

    /// The steps of an end after its slot is closed. No lock is needed, because all writers of a closed slot write the
    /// same bytes. So the ends of different agencies share the work of the disk.
    ///
    /// Trap: a process that opened the files after a failed sync gets no error from its own sync, although data may be
    /// missing. So it reads the mark that the failure left in the head.
    fn complete_end(&self, slot: Slot, closed: Entry) -> Result<()> {
        let Files { bets, books, draw, paths, .. } = &self.files;
        if closed.is_durable {
            return Ok(());
        }
        // After the slot is closed, so that no bet is stored between this sync and the unit.
        self.sync_from(Durability::End, bets, &paths.bets)?;
        let unit = Unit { agency: slot.agency, tally: closed.tally };
        unit.write(draw, slot.number).map_err(Error::io("write", &paths.draw))?;
        if self.durability >= Durability::End {
            self.sync(draw, &paths.draw)?;
            commit::check_not_doubtful(&self.files)?;
            let durable = Entry { is_durable: true, ..closed };
            let pair = commit::read_slot(&self.files, slot)?;
            pair.replace(books, &durable).map_err(Error::io("write", &paths.books))?;
        }
        Ok(())
    }

    /// The number of commits so far. While a process holds the data lock, it changes only if that process goes on.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the head is damaged; [`Error::Io`] if pread(2) fails.
    pub fn sequence(&self) -> Result<u64> {
        Ok(commit::newest_head(&self.files)?.seq)
    }

    /// Whether a sync of any process has failed. Also true if the head cannot be read or the books cannot be written: then the
    /// process that got the error could not leave its mark. Takes no lock. Costs one pread(2) if the mark is there, otherwise
    /// also a read and a write of 64 bytes, which stay as they are.
    pub fn sync_has_failed(&self) -> bool {
        commit::check_not_doubtful(&self.files).is_err() || books::rewrite_header(&self.files.books).is_err()
    }

    /// The terms of the draw, if it has been held. Does not check the winners: the start or their writer has done so.
    ///
    /// # Errors
    /// [`Error::Io`] if pread(2) fails.
    pub fn result(&self) -> Result<Option<Terms>> {
        let Files { draw, paths, .. } = &self.files;
        let terms = self.held()?.map(|extent| results::terms(draw, extent)).transpose();
        Ok(terms.map_err(Error::io("read", &paths.draw))?.flatten())
    }

    /// The documents of the winning bets of the agency of `slot`; `None` if the draw has not been held, or if this part of
    /// its result is damaged.
    ///
    /// # Errors
    /// [`Error::Io`] if pread(2) fails.
    pub fn winners(&self, slot: Slot) -> Result<Option<Vec<u32>>> {
        let Files { draw, paths, .. } = &self.files;
        let documents = self.held()?.map(|extent| results::winners(draw, extent, slot)).transpose();
        Ok(documents.map_err(Error::io("read", &paths.draw))?.flatten())
    }

    pub(super) fn held(&self) -> Result<Option<draw_file::Extent>> {
        let Files { draw, paths, .. } = &self.files;
        draw_file::held(draw).map_err(Error::io("read", &paths.draw))
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    pub(super) fn lock(&self) -> Result<Locked<'_>> {
        Locked::take(&self.files)
    }

    fn sync_from(&self, level: Durability, file: &File, path: &Path) -> Result<()> {
        if self.durability < level { Ok(()) } else { self.sync(file, path) }
    }

    /// Makes a file durable.
    ///
    /// Trap: the kernel reports a failed sync once. It keeps the unwritten data in its cache as if it were written, and the
    /// next sync succeeds. So a failure marks the head, and no process relies on the committed length until a start has
    /// read the rows from the disk again.
    pub(super) fn sync(&self, file: &File, path: &Path) -> Result<()> {
        file.sync_data().map_err(|source| {
            commit::mark_doubtful(&self.files.books);
            Error::Sync { path: path.to_owned(), source }
        })
    }
}
