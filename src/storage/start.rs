//! The files when a server starts: it locks other servers out, makes missing files, and adopts the files that are there.
//!
//! Used by the server's parent, before it listens.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ipc::lock::{self, Attempt};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::error::{Error, Result};
use super::files::{PRIVATE, StopCheck, sync_directory};
use super::paths::Paths;
use super::results::{self, Terms};
use super::store::Store;
use super::tallies::Tallies;
use super::{ends, record};
use crate::bet::AgencyId;
use crate::durability::Durability;
use crate::{event, row, row_scan};

/// The state that a start found.
#[derive(Debug)]
pub struct Adopted {
    /// The tallies of all agencies.
    pub tallies: Tallies,
    /// The agencies that had ended.
    pub ended: BTreeSet<AgencyId>,
    /// The terms of the draw, if it had been held.
    pub drawn: Option<Terms>,
}

impl Adopted {
    /// Whether there was nothing.
    pub fn is_empty(&self) -> bool {
        self.tallies.is_empty() && self.ended.is_empty() && self.drawn.is_none()
    }
}

/// Whether other servers are locked out.
#[derive(Debug, PartialEq, Eq)]
pub enum Lockout {
    /// They are.
    Locked,
    /// Another server holds the lock. The text is the pid that it wrote into the file.
    HeldBy(String),
}

/// Opens the file that one server at a time locks, and makes it if it is missing.
///
/// # Errors
/// [`Error::Io`].
pub fn open_server_lock(paths: &Paths) -> Result<File> {
    open_or_make(&paths.server_lock)
}

/// Tries to lock other servers out, for as long as any process has this open file: the parent, and every child that
/// inherits it. So no old child writes beside a new server.
///
/// # Errors
/// [`Error::Io`].
pub fn lock_out_others(server_lock: &mut File, paths: &Paths) -> Result<Lockout> {
    let failed = |action| Error::io(action, &paths.server_lock);
    server_lock.rewind().map_err(failed("seek"))?;
    if lock::try_exclusive(server_lock).map_err(failed("lock"))? == Attempt::Busy {
        let mut holder = String::new();
        server_lock.read_to_string(&mut holder).map_err(failed("read"))?;
        return Ok(Lockout::HeldBy(holder.trim().to_owned()));
    }
    server_lock.set_len(0).map_err(failed("truncate"))?;
    writeln!(server_lock, "{}", std::process::id()).map_err(failed("write"))?;
    Ok(Lockout::Locked)
}

/// Renames the files of an earlier lottery, with a time stamp; returns the new names. Call it with other servers locked
/// out.
///
/// The result goes last. After an interruption, a draw that was held is still final; otherwise the agencies end again.
///
/// # Errors
/// [`Error::Io`].
pub fn move_aside(paths: &Paths) -> Result<Vec<PathBuf>> {
    let stamp = chrono::Local::now().format("%Y%m%d-%H%M%S").to_string();
    let mut moved = Vec::new();
    for path in [&paths.ends, &paths.bets, &paths.lock, &paths.rejected, &paths.draw] {
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

/// Makes missing files, finds the committed length, and counts the committed rows. Call it with other servers locked out.
///
/// # Errors
/// [`Error::NotAStore`] if one of the files belongs to something else; [`Error::Stopped`] if `stop` returns true; the other
/// errors of [`Error`] but [`Error::Ended`].
pub fn prepare(paths: &Paths, durability: Durability, stop: StopCheck<'_>) -> Result<(Store, Adopted)> {
    refuse_foreign_files(paths)?;
    if !record::boot_is_known().map_err(Error::io("read", Path::new(record::BOOT_ID)))? {
        let aviso = "the kernel does not identify this boot: each start counts the longest run of valid rows";
        event!(Warning, "boot_id", in_progress, aviso = aviso);
    }
    for path in [&paths.bets, &paths.lock, &paths.ends, &paths.draw] {
        open_or_make(path)?;
    }
    sync_directory(&paths.bets)?;
    let store = Store::open(paths, durability)?;
    let files = store.files();
    for (file, path) in [(&files.bets, &paths.bets), (&files.ends, &paths.ends), (&files.draw, &paths.draw)] {
        store.sync(file, path)?;
        drop_cache(file);
    }
    let tallies = store.lock()?.adopt(stop)?;
    let ended = store.ended()?;
    let drawn = results::verify(&files.draw).map_err(Error::io("read", &paths.draw))?;
    Ok((store, Adopted { tallies, ended, drawn }))
}

/// A new file is private, whatever the umask. A file that is there keeps its mode.
fn open_or_make(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true).mode(PRIVATE);
    options.open(path).map_err(Error::io("open", path))
}

/// Refuses files that somebody else wrote, before anything is changed: a start cuts off, moves and overwrites bytes that do
/// not belong to a lottery.
fn refuse_foreign_files(paths: &Paths) -> Result<()> {
    let front = |path: &Path| match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        file => {
            let mut front = Vec::new();
            file.and_then(|file| file.take(row::MAX_LEN as u64).read_to_end(&mut front))
                .map_err(Error::io("read", path))?;
            Ok(front)
        }
    };
    // Without the file of the record, this server has not written the bets yet: they must begin with a valid row.
    let bets = front(&paths.bets)?;
    if !bets.is_empty() && !exists(&paths.lock) && row_scan::first_run(&bets).is_none() {
        return Err(Error::NotAStore { path: paths.bets.clone() });
    }
    for (path, is_foreign) in [(&paths.ends, ends::is_foreign as fn(&[u8]) -> bool), (&paths.draw, results::is_foreign)]
    {
        if is_foreign(&front(path)?) {
            return Err(Error::NotAStore { path: path.clone() });
        }
    }
    Ok(())
}

/// Drops the cached pages of the file, so that the next read comes from the disk: after a failed sync, the cache may hold
/// more than the disk.
fn drop_cache(file: &File) {
    // Only advice: a file system that refuses it either has no cache, or behaves as without this call.
    let _ = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
}

/// The first name of `PATH.STAMP`, `PATH.STAMP-2`, `PATH.STAMP-3`, … that is not taken.
fn free_name(path: &Path, stamp: &str) -> PathBuf {
    let named = |suffix: String| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let plain = named(format!(".{stamp}"));
    let numbered = (2_u64..).map(|n| named(format!(".{stamp}-{n}")));
    std::iter::once(plain).chain(numbered).find(|name| !exists(name)).expect("a directory holds fewer than 2^64 names")
}

fn exists(path: &Path) -> bool {
    !matches!(path.symlink_metadata(), Err(e) if e.kind() == io::ErrorKind::NotFound)
}
