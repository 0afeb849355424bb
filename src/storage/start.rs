//! The files when a server starts: it locks other servers out, decides about the files that are there, and makes new
//! books.
//!
//! Used by the server's parent, before it listens.
//!
//! | step | remains if the process dies after this step |
//! |---|---|
//! | take the life lock | nothing |
//! | sync `bets.csv` and `draw`, drop their cached pages, read everything, decide | nothing |
//! | copy a tail to `bets.csv.rejected`, sync, cut it off, sync | the same bets; the tail may be copied twice |
//! | write the ends that only the books have; cut off a result that does not count; sync | the same ends |
//! | replace `books` by new ones | a lottery that the next start finds as this one |
//!
//! A start that is killed anywhere decides the same again.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::adoption::{self, Decision, OnDisk};
use super::books::{self, Entry, Head, Header};
use super::boot::{self, Boot};
use super::commit;
use super::draw_file::{self, ResultRecord};
use super::error::{Defect, Error, Result};
use super::files::{
    Files, Location, StopCheck, append_or_make, directory_of, drop_cache, open_if_there, replace, sync_directory,
};
use super::lifelock::LifeLock;
use super::older;
use super::paths::Paths;
use super::reader::Range;
use super::results::Terms;
use super::slots::Slots;
use super::store::Store;
use crate::bet::AgencyId;
use crate::durability::Durability;
use crate::event;

/// Bytes of a page.
const PAGE: usize = 4096;
/// Permission of everybody to write.
const WRITABLE_BY_OTHERS: u32 = 0o002;

/// The state that a start found.
#[derive(Debug)]
pub struct Adopted {
    /// The number of bets of all agencies.
    pub bets: u64,
    /// The slots of all agencies that take part, have bets, or have ended.
    pub slots: Slots,
    /// The agencies that had ended.
    pub ended: BTreeSet<AgencyId>,
    /// The terms of the draw, if it had been held.
    pub drawn: Option<Terms>,
    /// Where the files are.
    pub location: Location,
}

impl Adopted {
    /// Whether there was nothing.
    pub fn is_empty(&self) -> bool {
        self.bets == 0 && self.ended.is_empty() && self.drawn.is_none()
    }
}

/// Adopts the files that are there, and makes those that are missing. `agencies` is CLIENT_AMOUNT.
///
/// # Errors
/// [`Error::NotAStore`], [`Error::Older`] or [`Error::Damaged`] if the files cannot be adopted, and then nothing has been
/// changed; [`Error::Stopped`] if `stop` returns true; [`Error::Sync`] if a sync fails; [`Error::Io`] if another system call
/// fails.
pub fn prepare(
    paths: &Paths,
    lock: &LifeLock,
    durability: Durability,
    agencies: u32,
    stop: StopCheck<'_>,
) -> Result<(Store, Adopted)> {
    if let Some(path) = older::found(paths)? {
        return Err(Error::Older { path });
    }
    let boot = boot::current()?;
    warn(paths, lock, boot);
    // Not for appending: if `bets.csv` can only grow, no tail can be cut off, and this fails.
    open_if_there(&paths.bets)?;
    let [books, draw] = [&paths.books, &paths.draw].map(|path| open_if_there(path));
    let (books, draw) = (books?, draw?);
    sync_and_drop_cache(paths, lock, books.as_ref(), draw.as_ref())?;
    let len = lock.bets().metadata().map_err(Error::io("stat", &paths.bets))?.len();
    let on_disk = OnDisk { paths, bets: lock.bets(), len, books: books.as_ref(), draw: draw.as_ref(), boot };
    let decision = adoption::decide(&on_disk, stop)?;
    if books.is_none() && draw.is_some() {
        let aviso = "books is missing: only the ends prove that all bets are there";
        event!(Warning, "books", in_progress, archivo = paths.books.display(), aviso = aviso);
    }
    let slots = assign(paths, &decision, agencies)?;
    cut_tail(&on_disk, decision.tallies.len(), stop)?;
    complete_draw(&on_disk, &decision)?;
    let ended = decision.ended.iter().chain(decision.missing.iter().map(|(slot, _)| slot));
    let ended: BTreeSet<_> = ended.map(|slot| slot.agency).collect();
    make_books(paths, boot, &decision, &slots, &ended)?;
    let files = Files::open(paths)?;
    let adopted =
        Adopted { bets: decision.tallies.bets(), ended, drawn: decision.drawn, location: files.location()?, slots };
    Ok((Store::over(files, durability), adopted))
}

/// The slots of all agencies that take part or have bets.
fn assign(paths: &Paths, decision: &Decision, agencies: u32) -> Result<Slots> {
    let mut slots = decision.slots.clone();
    (1..=agencies).filter_map(AgencyId::new).for_each(|agency| _ = slots.assign(agency));
    match decision.tallies.agencies().into_iter().all(|agency| slots.assign(agency).is_some()) {
        true => Ok(slots),
        false => Err(Error::damaged(&paths.bets, Defect::TooManyAgencies)),
    }
}

/// Logs what an operator may want to change.
fn warn(paths: &Paths, lock: &LifeLock, boot: Option<Boot>) {
    if boot.is_none() {
        let aviso = "the kernel does not identify this boot: each start counts the longest run of valid rows";
        event!(Warning, "boot_id", in_progress, aviso = aviso);
    }
    let directory = directory_of(&paths.bets);
    if fs::metadata(directory).is_ok_and(|found| found.permissions().mode() & WRITABLE_BY_OTHERS != 0) {
        let aviso = "everybody may write to the directory of the bets, and so replace them";
        event!(Warning, "directory", in_progress, archivo = directory.display(), aviso = aviso);
    }
    if lock.bets().metadata().is_ok_and(|found| found.nlink() > 1) {
        let aviso = "the file of the bets has several names (hard links): use it in one directory only";
        event!(Warning, "hard_links", in_progress, archivo = paths.bets.display(), aviso = aviso);
    }
}

/// Makes the files durable, and drops their cached pages: everything that this server will report is on the disk.
pub(super) fn sync_and_drop_cache(
    paths: &Paths,
    lock: &LifeLock,
    books: Option<&File>,
    draw: Option<&File>,
) -> Result<()> {
    for (file, path) in [(Some(lock.bets()), &paths.bets), (draw, &paths.draw)] {
        let Some(file) = file else { continue };
        sync(file, path, books)?;
        drop_cache(file);
    }
    Ok(())
}

/// Makes a file durable. A failure marks `books`, which nobody else uses yet: the trap of [`Store::sync`].
fn sync(file: &File, path: &Path, books: Option<&File>) -> Result<()> {
    file.sync_data().map_err(|source| {
        books.into_iter().for_each(commit::mark_doubtful);
        Error::Sync { path: path.to_owned(), source }
    })
}

/// Moves the bytes after the committed rows to `bets.csv.rejected`, durably.
fn cut_tail(on_disk: &OnDisk<'_>, committed: u64, stop: StopCheck<'_>) -> Result<()> {
    let OnDisk { paths, bets, len, books, .. } = *on_disk;
    if len == committed {
        return Ok(());
    }
    let path = &paths.rejected;
    let mut aside = append_or_make(path)?;
    let mut valid = 0;
    let mut lines = Range::new(bets, committed, len).lines();
    while let Some(block) = lines.next_lines().map_err(Error::io("read", &paths.bets))? {
        if stop() {
            return Err(Error::Stopped);
        }
        aside.write_all(block).map_err(Error::io("write", path))?;
        let rows = block.split_inclusive(|&byte| byte == b'\n');
        valid += rows.filter(|row| crate::row::parse(row).is_some()).count();
    }
    aside.sync_data().map_err(Error::io("sync", path))?;
    sync_directory(path)?;
    let bytes = len - committed;
    event!(Warning, "apartar_cola", in_progress, bytes = bytes, filas_validas = valid, archivo = path.display());
    bets.set_len(committed).map_err(Error::io("truncate", &paths.bets))?;
    sync(bets, &paths.bets, books)
}

/// Makes `draw`, or writes the ends that only the books have, and cuts off a result that does not count.
fn complete_draw(on_disk: &OnDisk<'_>, decision: &Decision) -> Result<()> {
    let OnDisk { paths, books, draw, .. } = *on_disk;
    let write = || Error::io("write", &paths.draw);
    let Some(draw) = draw else {
        let began = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        return replace(&paths.draw, |new| draw_file::Header { began }.write(new)).map(drop);
    };
    if decision.missing.is_empty() && decision.unfinished.is_none() {
        return Ok(());
    }
    for (slot, unit) in &decision.missing {
        unit.write(draw, slot.number).map_err(write())?;
    }
    if let Some(offset) = decision.unfinished {
        draw.set_len(offset).map_err(write())?;
        // The record goes only after the result: without it, nothing would show that these bytes are not ends.
        sync(draw, &paths.draw, books)?;
        ResultRecord::clear(draw).map_err(write())?;
    }
    sync(draw, &paths.draw, books)
}

/// Replaces `books` by new ones of this boot.
fn make_books(
    paths: &Paths,
    boot: Option<Boot>,
    decision: &Decision,
    slots: &Slots,
    ended: &BTreeSet<AgencyId>,
) -> Result<()> {
    let committed = decision.tallies.len();
    let header = Header { boot, parent: std::process::id(), slots: slots.count() };
    let head = Head { is_drawn: decision.drawn.is_some(), ..Head::new(committed) };
    let entries = slots.iter().filter_map(|slot| {
        let (tally, has_ended) = (decision.tallies.of(slot.agency), ended.contains(&slot.agency));
        let seq = if tally.count > 0 { head.seq } else { 0 };
        let entry = Entry {
            seq,
            end: committed,
            tally,
            is_closed: has_ended,
            is_durable: has_ended,
            // Without proof: an untyped bet after typed ones does more harm than its refusal.
            has_typed: tally.count > 0 && !decision.untyped.contains(&slot.agency),
            ..Entry::empty(slot.agency)
        };
        (has_ended || tally.count > 0).then_some((slot.number, entry))
    });
    let books = books::new_books(&header, &head, entries);
    // Page by page: some file systems cache the bytes of one large write in large units, and later writes of 64 bytes into
    // such a unit take twice the time.
    let write =
        |new: &File| (0..).zip(books.chunks(PAGE)).try_for_each(|(n, page)| new.write_all_at(page, n * PAGE as u64));
    replace(&paths.books, write).map(drop)
}
