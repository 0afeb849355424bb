//! The commit protocol: all changes to `bets.csv` and to open slots of `books`, made under the data lock.
//!
//! Used by [`super::store`] and by a start. Knows no messages. Syncs only after it has cut off a tail; otherwise its caller
//! syncs the files.
//!
//! SIGKILL can interrupt a write(2), even under flock. The rest of a row may be a different valid bet: if `75741` is
//! cut to `7574`, and 7574 is the winning number, it wins. So a writer appends the rows first. Then it writes the
//! agency's slot, which commits them, and then the head. Bytes past the committed length are never read as bets.
//!
//! | step of a group | remains if the process dies after this step |
//! |---|---|
//! | lock | nothing; the kernel unlocks |
//! | append the rows | a tail; the next holder of the lock cuts it off |
//! | write the agency's slot | a stored group; the next holder writes the head for it |
//! | write the head | the same |
//! | unlock, sync, acknowledge | the same |

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;

use ipc::lock;

use super::books::{self, Entry, Head, Pair, PairOffset};
use super::error::{Defect, Error, Result};
use super::files::Files;
use super::slots::{Slot, Slots};
use crate::event;
use crate::row::Rows;

/// Most bytes of a group: the rows that one write appends, and so the longest tail that a killed writer leaves. A longer
/// file without a valid row was never a file of a lottery.
pub const LARGEST_GROUP: u64 = 256 * 1024;

/// How long to wait for the data lock. The server's processes hold it only for microseconds, so after this time another
/// program holds it. A child that waits must still end within SHUTDOWN_GRACE, so this time is shorter than any useful
/// SHUTDOWN_GRACE.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// Attempts to write the mark of a failed sync, and the pause after each: a fault that passes must not hide the failure.
const MARK_TRIES: u32 = 10;
const MARK_PAUSE: Duration = Duration::from_millis(100);

/// How long a process waits for the data lock before it reports the wait ([`super::Store::on_long_wait`]).
const LONG_WAIT: Duration = Duration::from_secs(1);

/// The kind of messages that bets came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Typed batches. Their client counts the rows of its agency to go on after them.
    Typed,
    /// A single bet, or an untyped batch.
    Untyped,
}

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
    /// [`Error::Locked`] if another process holds it for longer than [`LOCK_PATIENCE`]; [`Error::Io`] if flock(2) fails.
    pub fn take(files: &'a Files) -> Result<Self> {
        let path = &files.paths.books;
        let wait = |patience| lock::exclusive(&files.books, patience).map_err(Error::io("lock", path));
        let mut guard = wait(LONG_WAIT)?;
        if guard.is_none() {
            files.long_wait.report();
            guard = wait(LOCK_PATIENCE - LONG_WAIT)?;
        }
        let guard = guard.ok_or_else(|| Error::Locked { path: path.clone() })?;
        Ok(Self { files, _guard: guard })
    }

    /// Returns the head, after it has checked that `bets.csv` is as long as the head records. If the last writer died, first
    /// finishes that writer's group, or cuts it off.
    ///
    /// # Errors
    /// [`Error::Sync`] if an earlier sync failed; [`Error::Replaced`] if `bets.csv` was removed; [`Error::Damaged`] if
    /// `bets.csv` is shorter than the committed length, or if the books contradict themselves; [`Error::Io`] if a system
    /// call fails.
    pub fn recovered_head(&self) -> Result<Head> {
        Ok(self.recovered()?.1)
    }

    /// As [`Locked::recovered_head`]; also returns the halves, so that the next head can be written without reading them
    /// again.
    fn recovered(&self) -> Result<(Pair<Head>, Head)> {
        let pair = read_heads(self.files)?;
        let head = not_doubtful(self.files, newest(self.files, &pair)?)?;
        let len = check_len(self.files, head.committed)?;
        if len == head.committed && !head.is_cut {
            return Ok((pair, head));
        }
        let head = self.recover(head, len)?;
        Ok((read_heads(self.files)?, head))
    }

    /// Appends `rows`, a group of bets of the agency of `slot`, all or none. They have at most [`LARGEST_GROUP`] bytes.
    /// Returns where they end in `bets.csv`.
    ///
    /// # Errors
    /// [`Error::Ended`] if the agency has ended, or the draw has been held; [`Error::HasTyped`] if the rows are untyped, and
    /// the agency has typed ones; the errors of [`Locked::recovered_head`]; [`Error::Io`] if a system call fails. After any error, no bet of the group counts.
    pub fn append(&self, slot: Slot, rows: &Rows, origin: Origin) -> Result<u64> {
        let bytes = rows.bytes();
        debug_assert!(bytes.len() as u64 <= LARGEST_GROUP);
        let (heads, head) = self.recovered()?;
        let pair = self.slot(slot)?;
        let before = pair.entry(slot.agency);
        if before.is_closed || head.is_drawn {
            return Err(Error::Ended);
        }
        if before.has_typed && origin == Origin::Untyped {
            return Err(Error::HasTyped);
        }
        let has_typed = before.has_typed || origin == Origin::Typed;
        let head_after = head.next(head.committed + bytes.len() as u64);
        let mut entry = Entry { seq: head_after.seq, end: head_after.committed, has_typed, ..before };
        entry.tally.add_rows(bytes, rows.count());
        let Files { bets, books, paths, .. } = self.files;
        let written = (&*bets)
            .write_all(bytes)
            .map_err(Error::io("write", &paths.bets))
            .and_then(|()| pair.replace(books, &entry).map_err(Error::io("write", &paths.books)));
        if let Err(e) = written {
            // The books decide whether the group counts. If they cannot be recovered now, the next holder does it.
            let counts = self.recovered_head().ok().filter(|recovered| *recovered == head_after);
            return counts.map(|head| head.committed).ok_or(e);
        }
        // The group counts from here on. If this fails, the next holder writes the head.
        let _ = heads.replace(books, &head_after);
        Ok(head_after.committed)
    }

    /// Closes `slot`: from now on, no bet of the agency is stored. Returns its entry; `None` if the draw has been held, so
    /// that nothing needs to be recorded. A repetition changes nothing.
    ///
    /// # Errors
    /// The errors of [`Locked::recovered_head`]; [`Error::Io`] if a system call fails.
    pub fn close(&self, slot: Slot) -> Result<Option<Entry>> {
        if self.recovered_head()?.is_drawn {
            return Ok(None);
        }
        let pair = self.slot(slot)?;
        let closed = Entry { is_closed: true, ..pair.entry(slot.agency) };
        if pair.newest() != Some(closed) {
            pair.replace(&self.files.books, &closed).map_err(Error::io("write", &self.files.paths.books))?;
        }
        Ok(Some(closed))
    }

    /// Records in the head that the draw has been held.
    ///
    /// # Errors
    /// The errors of [`Locked::recovered_head`]; [`Error::Io`] if pwrite(2) fails.
    pub fn record_draw(&self) -> Result<()> {
        let head = self.recovered_head()?;
        if head.is_drawn { Ok(()) } else { self.write_head(&Head { is_drawn: true, ..head }) }
    }

    // ---- recovery ----

    /// Finishes or cuts off the group of a writer that died. `len` is the length of `bets.csv`, at least the committed one.
    fn recover(&self, head: Head, len: u64) -> Result<Head> {
        let mut head = self.roll_forward(head, len)?;
        if !head.is_cut {
            if len == head.committed {
                return Ok(head);
            }
            // A process that is killed before the sync below is noticed by this flag.
            head.is_cut = true;
            self.write_head(&head)?;
        }
        self.cut(&head, len)?;
        // An empty commit clears the flag.
        let clean = head.next(head.committed);
        self.write_head(&clean)?;
        Ok(clean)
    }

    /// Writes the head for a writer that died after it had committed its group.
    fn roll_forward(&self, head: Head, len: u64) -> Result<Head> {
        let Files { books, paths, .. } = self.files;
        let counts = books::rolled_forward(books, head, len).map_err(Error::io("read", &paths.books))?;
        let counts = counts.ok_or_else(|| Error::damaged(&paths.books, Defect::Contradiction))?;
        if counts != head {
            self.write_head(&counts)?;
        }
        Ok(counts)
    }

    /// Cuts `bets.csv` to the committed length.
    ///
    /// Trap: without the sync, a power cut may bring back blocks of the tail after rows that were appended later.
    fn cut(&self, head: &Head, len: u64) -> Result<()> {
        let Files { bets, paths, .. } = self.files;
        if len > head.committed {
            bets.set_len(head.committed).map_err(Error::io("truncate", &paths.bets))?;
            let bytes = len - head.committed;
            event!(Warning, "descartar_cola", in_progress, bytes = bytes, archivo = paths.bets.display());
        }
        bets.sync_data().map_err(|source| {
            mark_doubtful(&self.files.books);
            Error::Sync { path: paths.bets.clone(), source }
        })
    }

    // ---- books ----

    fn write_head(&self, head: &Head) -> Result<()> {
        write_head(&self.files.books, head).map_err(Error::io("write", &self.files.paths.books))
    }

    fn slot(&self, slot: Slot) -> Result<Pair<Entry>> {
        read_slot(self.files, slot)
    }
}

/// The newest half of the head.
///
/// # Errors
/// [`Error::Damaged`] if no half is valid; [`Error::Io`] if pread(2) fails.
pub fn newest_head(files: &Files) -> Result<Head> {
    newest(files, &read_heads(files)?)
}

/// Checks that no sync has failed.
///
/// # Errors
/// [`Error::Sync`] if one has; [`Error::Damaged`] if the head is damaged; [`Error::Io`] if pread(2) fails.
pub fn check_not_doubtful(files: &Files) -> Result<()> {
    not_doubtful(files, newest_head(files)?).map(drop)
}

fn not_doubtful(files: &Files, head: Head) -> Result<Head> {
    let source = || io::Error::other("an earlier sync has failed");
    match head.is_doubtful {
        true => Err(Error::Sync { path: files.paths.bets.clone(), source: source() }),
        false => Ok(head),
    }
}

fn read_heads(files: &Files) -> Result<Pair<Head>> {
    Pair::read_head(&files.books).map_err(Error::io("read", &files.paths.books))
}

fn newest(files: &Files, heads: &Pair<Head>) -> Result<Head> {
    heads.newest().ok_or_else(|| Error::damaged(&files.paths.books, Defect::Head))
}

/// The length of `bets.csv`, of which `committed` bytes are bets.
///
/// # Errors
/// [`Error::Replaced`] if the file has no name any more; [`Error::Damaged`] if it is shorter; [`Error::Io`] if fstat(2)
/// fails.
pub fn check_len(files: &Files, committed: u64) -> Result<u64> {
    let path = &files.paths.bets;
    let found = files.bets.metadata().map_err(Error::io("stat", path))?;
    match found.len() {
        _ if found.nlink() == 0 => Err(Error::Replaced { path: path.clone() }),
        len if len < committed => Err(Error::damaged(path, Defect::Short { len, committed })),
        len => Ok(len),
    }
}

/// The halves of an agency's slot. Takes no lock: a group that they record is committed and is never taken back.
///
/// # Errors
/// [`Error::Damaged`] if both halves are damaged, or belong to another agency; [`Error::Io`] if pread(2) fails.
pub fn read_slot(files: &Files, slot: Slot) -> Result<Pair<Entry>> {
    let Files { books, paths, .. } = files;
    let pair = Pair::<Entry>::read(books, PairOffset::slot(slot.number)).map_err(Error::io("read", &paths.books))?;
    check_slot(files, slot, pair)
}

/// The halves of the slots of all `agencies`, by number. Reads many of them at once.
///
/// # Errors
/// As [`read_slot`].
pub fn read_slots(files: &Files, agencies: &Slots) -> Result<Vec<Pair<Entry>>> {
    let Files { books, paths, .. } = files;
    let mut pairs = Vec::new();
    books::slots(books, |_, pair| pairs.push(pair)).map_err(Error::io("read", &paths.books))?;
    let blank = |number| Pair::blank(PairOffset::slot(number));
    pairs.extend((pairs.len() as u32..agencies.count()).map(blank));
    agencies.iter().try_for_each(|slot| check_slot(files, slot, pairs[slot.number as usize]).map(drop))?;
    Ok(pairs)
}

fn check_slot(files: &Files, slot: Slot, pair: Pair<Entry>) -> Result<Pair<Entry>> {
    match pair.is_damaged() || pair.entry(slot.agency).agency != slot.agency {
        true => Err(Error::damaged(&files.paths.books, Defect::Slot(slot.agency))),
        false => Ok(pair),
    }
}

/// Marks the head of `books` as doubtful, after a failed sync. The committed length stays, so that bytes past it remain invalid.
///
/// Takes no lock, which another process may hold for as long as it likes. If the mark cannot be written, gives up after
/// [`MARK_TRIES`]: then `books` cannot be written by any process, and [`super::Store::sync_has_failed`] finds that out.
pub fn mark_doubtful(books: &File) {
    for _ in 0..MARK_TRIES {
        if books::mark(books).is_ok() {
            return;
        }
        thread::sleep(MARK_PAUSE);
    }
}

fn write_head(books: &File, head: &Head) -> io::Result<()> {
    Pair::read_head(books)?.replace(books, head)
}
