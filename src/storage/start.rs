//! What happens to the files when a server starts: it locks them, makes those that are missing, and adopts what is there.
//!
//! Used by the server's parent, before it listens.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use ipc::lock::{self, Attempt};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::record::{BOOT_ID, Record};
use super::{Error, Files, Result, Store, Tally, Terms, results, sync_directory};
use crate::bet::AgencyId;
use crate::config::server::Durability;

/// What was there.
#[derive(Debug)]
pub struct Adopted {
    /// The bets, by agency.
    pub tally: Tally,
    /// The agencies that had ended.
    pub ended: BTreeSet<AgencyId>,
    /// The draw, if it had been held.
    pub drawn: Option<Terms>,
}

impl Adopted {
    /// Whether nothing was there.
    pub fn is_empty(&self) -> bool {
        self.tally.is_empty() && self.ended.is_empty() && self.drawn.is_none()
    }
}

/// Opens the file that one server at a time locks, made if it is missing.
///
/// # Errors
/// [`Error::Io`].
pub fn open_server_lock(files: &Files) -> Result<File> {
    open_or_make(&files.server_lock)
}

/// Locks out other servers for as long as any process has this open file: the parent, and every child that inherits it,
/// so that no old child writes beside a new server. `Some` is the pid of who is in the way, as it has noted it.
///
/// # Errors
/// [`Error::Io`].
pub fn lock_out_others(server_lock: &mut File, files: &Files) -> Result<Option<String>> {
    let failed = |action| Error::io(action, &files.server_lock);
    server_lock.rewind().map_err(failed("seek"))?;
    if lock::try_exclusive(server_lock).map_err(failed("lock"))? == Attempt::Busy {
        let mut holder = String::new();
        server_lock.read_to_string(&mut holder).map_err(failed("read"))?;
        return Ok(Some(holder.trim().to_owned()));
    }
    server_lock.set_len(0).map_err(failed("truncate"))?;
    writeln!(server_lock, "{}", std::process::id()).map_err(failed("write"))?;
    Ok(None)
}

/// Moves the files of a finished or unwanted lottery aside, with a time stamp. Call it with others locked out.
///
/// The result goes last: an interruption leaves a draw final that was held, and else a lottery whose agencies end anew.
///
/// # Errors
/// [`Error::Io`].
pub fn move_aside(files: &Files) -> Result<Vec<PathBuf>> {
    let stamp = chrono::Local::now().format("%Y%m%d-%H%M%S").to_string();
    let mut moved = Vec::new();
    for path in [&files.ends, &files.bets, &files.lock, &files.rejected, &files.draw] {
        let len = match path.metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
            found => found.map_err(Error::io("stat", path))?.len(),
        };
        if len > 0 {
            let aside = free_name(path, &stamp);
            fs::rename(path, &aside).map_err(Error::io("rename", path))?;
            moved.push(aside);
        }
    }
    Ok(moved)
}

/// Makes the files that are missing, finds out what is committed, and counts it. Call it with others locked out.
///
/// # Errors
/// [`Error`].
pub fn prepare(files: &Files, durability: Durability) -> Result<(Store, Adopted)> {
    for path in [&files.bets, &files.lock, &files.ends, &files.draw] {
        open_or_make(path)?;
    }
    sync_directory(&files.bets)?;
    let store = Store::open(files, durability)?;
    for (file, path) in [(&store.bets, &files.bets), (&store.ends, &files.ends), (&store.draw, &files.draw)] {
        store.sync(file, path)?;
        read_from_disk(file);
    }
    let tally = {
        let _guard = store.lock()?;
        adopt(&store)?
    };
    let ended = store.ended()?;
    let drawn = results::verify(&store.draw).map_err(Error::io("read", &files.draw))?;
    Ok((store, Adopted { tally, ended, drawn }))
}

/// Under the lock: what is committed. A tail behind it is kept aside; without a record of this boot and this file, the
/// longest run of whole valid rows is committed, as it is where a sync has failed since: what that has lost is not there.
fn adopt(store: &Store) -> Result<Tally> {
    let files = &store.files;
    let len = store.bets.metadata().map_err(Error::io("stat", &files.bets))?.len();
    let record = Record::read(&store.lock).map_err(Error::io("read", &files.lock))?;
    let this_boot = |record: &Record| record.is_of_this_boot().map_err(Error::io("read", Path::new(BOOT_ID)));
    let may_be_bets = match record {
        Some(record) if record.is_of(store.identity) && this_boot(&record)? => {
            if !record.doubtful {
                return adopt_committed(store, record.committed, len);
            }
            record.committed
        }
        _ => len,
    };
    store.valid_rows(store.recover(may_be_bets)?.committed)
}

fn adopt_committed(store: &Store, committed: u64, len: u64) -> Result<Tally> {
    let tally = store.valid_rows(committed)?;
    if tally.len() < committed && committed <= len {
        return Err(Error::Damaged { path: store.files.bets.clone(), offset: tally.len() });
    }
    if len > committed {
        store.keep_aside(committed, len)?;
    }
    store.committed()?;
    Ok(tally)
}

fn open_or_make(path: &Path) -> Result<File> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path).map_err(Error::io("open", path))
}

/// Drops what is cached of the file: of a server whose sync has failed, that may be more than the disk has.
fn read_from_disk(file: &File) {
    // An advice: a file system that does not know it has no cache either, or is no worse off than without.
    let _ = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
}

fn free_name(path: &Path, stamp: &str) -> PathBuf {
    let named = |suffix: String| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let plain = named(format!(".{stamp}"));
    let numbered = (2..).map(|n: u32| named(format!(".{stamp}-{n}")));
    std::iter::once(plain).chain(numbered).find(|name| !exists(name)).unwrap_or_default()
}

fn exists(path: &Path) -> bool {
    !matches!(path.symlink_metadata(), Err(e) if e.kind() == io::ErrorKind::NotFound)
}
