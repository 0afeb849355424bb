//! The life lock: one server at a time for each `bets.csv`, whatever names the file has.
//!
//! A lock on the file itself also excludes a server that reaches it through a symbolic link, a hard link or a bind mount.
//! The parent takes the lock, and every child inherits the open file: as long as one of them lives, no other server
//! starts.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use ipc::holders;
use ipc::lock::{self, Attempt};

use super::books::Header;
use super::error::{Defect, Error, Result};
use super::files::{append_or_make, keep_owner, open_if_there, remove_if_there};
use super::identity::Identity;
use super::older;
use super::paths::Paths;
use super::record::Found;

/// How long to wait for the lock of a new file. Nobody else uses the file, so the first try succeeds.
const PATIENCE: Duration = Duration::from_secs(1);

/// The open `bets.csv`, locked. The lock ends when the last process closes it.
#[derive(Debug)]
pub struct LifeLock {
    bets: File,
    /// Locked by this process only, to exclude an older version of this server, which locks no other file.
    _older: Option<File>,
}

/// The result of [`LifeLock::try_take`].
#[derive(Debug)]
pub enum Lockout {
    /// Other servers are locked out.
    Locked(LifeLock),
    /// Another server holds the lock. The text is its pid, if it is known.
    HeldBy(String),
}

/// Whether a start may make `bets.csv` although other files of its lottery exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingBets {
    /// It may: it is about to repair or to replace the lottery.
    Make,
    /// It must not: the lottery would seem to have no bets.
    Refuse,
}

impl LifeLock {
    /// Opens `bets.csv`, or makes it, and tries once to lock it.
    ///
    /// # Errors
    /// [`Error::Damaged`] if `bets.csv` is missing, other files are there, and `missing` is [`MissingBets::Refuse`];
    /// [`Error::Io`] if a system call fails.
    pub fn try_take(paths: &Paths, missing: MissingBets) -> Result<Lockout> {
        let mut older = open_if_there(&paths.older.lock)?;
        if let Some(older) = &mut older
            && lock::try_exclusive(older).map_err(Error::io("lock", &paths.older.lock))? == Attempt::Busy
        {
            let mut pid = String::new();
            older.read_to_string(&mut pid).map_err(Error::io("read", &paths.older.lock))?;
            return Ok(Lockout::HeldBy(pid.trim().to_owned()));
        }
        let others_exist = || paths.books.exists() || paths.draw.exists() || matches!(older::found(paths), Ok(Some(_)));
        if missing == MissingBets::Refuse && !paths.bets.exists() && others_exist() {
            return Err(Error::damaged(&paths.bets, Defect::Missing));
        }
        let bets = append_or_make(&paths.bets)?;
        let attempt = lock::try_exclusive(&bets).map_err(Error::io("lock", &paths.bets))?;
        if attempt == Attempt::Busy {
            return Ok(Lockout::HeldBy(holder(&bets, paths)));
        }
        if !is_named_by(&bets, paths)? {
            // Another process has replaced the file meanwhile. The next try opens the new one.
            return Ok(Lockout::HeldBy("unknown".to_owned()));
        }
        Ok(Lockout::Locked(Self { bets, _older: older }))
    }

    /// The open file.
    pub fn bets(&self) -> &File {
        &self.bets
    }

    /// The same lock over a new file, which the caller has locked and will name `bets.csv`.
    pub(super) fn moved_to(self, bets: File) -> Self {
        Self { bets, ..self }
    }
}

/// Makes a file that will replace `bets`, and locks it before any other process can open it by that name.
///
/// # Errors
/// [`Error::Io`] if a system call fails.
pub(super) fn make_locked(new: &Path, bets: &Path) -> Result<File> {
    // The rest of a command that was killed.
    remove_if_there(new)?;
    let file = append_or_make(new)?;
    keep_owner(&file, bets);
    match lock::keep_exclusive(&file, PATIENCE).map_err(Error::io("lock", new))? {
        Attempt::Locked => Ok(file),
        Attempt::Busy => Err(Error::Locked { path: new.to_owned() }),
    }
}

fn is_named_by(bets: &File, paths: &Paths) -> Result<bool> {
    let own = bets.metadata().map_err(Error::io("stat", &paths.bets))?;
    Ok(fs::metadata(&paths.bets).is_ok_and(|named| Identity::of(&named) == Identity::of(&own)))
}

/// The pid of the server that uses the files: as the kernel knows it, or as it is in the books.
fn holder(bets: &File, paths: &Paths) -> String {
    if let Ok(Some(pid)) = holders::holder(bets) {
        return pid.to_string();
    }
    let header = open_if_there(&paths.books).ok().flatten().and_then(|books| Header::read(&books).ok());
    match header {
        Some(Found::Valid(header)) => header.parent.to_string(),
        _ => "unknown".to_owned(),
    }
}
