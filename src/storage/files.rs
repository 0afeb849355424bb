//! The open files of one process.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::path::Path;

use nix::errno::Errno;

use super::error::{Error, Result};
use super::identity::Identity;
use super::paths::Paths;
use super::reader::Range;
use super::tallies::Tallies;
use crate::event;

/// The mode of all files of a lottery: they hold personal data.
pub const PRIVATE: u32 = 0o600;

/// Whether to stop reading, asked after each block of rows.
pub type StopCheck<'a> = &'a dyn Fn() -> bool;

/// What a process does when it has waited for the data lock for a long time. By default it does nothing.
#[derive(Default)]
pub struct LongWait(pub Option<Box<dyn Fn()>>);

impl LongWait {
    /// Does it.
    pub fn report(&self) {
        self.0.iter().for_each(|report| report());
    }
}

impl fmt::Debug for LongWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LongWait").finish_non_exhaustive()
    }
}

/// One process's open files. Each process opens its own: see the trap of inherited locks in [`ipc::lock`].
#[derive(Debug)]
pub struct Files {
    /// Their names.
    pub paths: Paths,
    /// `bets.csv`, open for appending.
    pub bets: File,
    /// Which file `bets` is.
    pub identity: Identity,
    /// `bets.lock`.
    pub lock: File,
    /// `ends`.
    pub ends: File,
    /// `draw`.
    pub draw: File,
    /// Called by a process that waits for `lock`.
    pub long_wait: LongWait,
}

impl Files {
    /// Opens the files, which must exist.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(paths: &Paths) -> Result<Self> {
        let open = |path: &Path, append| {
            OpenOptions::new().read(true).write(true).append(append).open(path).map_err(Error::io("open", path))
        };
        let bets = open(&paths.bets, true)?;
        let identity = Identity::of(&bets.metadata().map_err(Error::io("stat", &paths.bets))?);
        Ok(Self {
            bets,
            identity,
            lock: open(&paths.lock, false)?,
            ends: open(&paths.ends, false)?,
            draw: open(&paths.draw, false)?,
            long_wait: LongWait::default(),
            paths: paths.clone(),
        })
    }

    /// The bytes of `bets.csv` from offset `from` up to offset `to`.
    pub fn bets_between(&self, from: u64, to: u64) -> Range<'_> {
        Range::new(&self.bets, from, to)
    }

    /// The tallies of the longest run of valid rows that begins at offset 0 and ends at or before offset `to`.
    ///
    /// # Errors
    /// [`Error::Io`] if pread(2) fails; [`Error::Stopped`] if `stop` returns true.
    pub fn valid_rows(&self, to: u64, stop: StopCheck<'_>) -> Result<Tallies> {
        let mut valid = Tallies::default();
        let mut lines = self.bets_between(0, to).lines();
        loop {
            match lines.next_lines().map_err(Error::io("read", &self.paths.bets))? {
                Some(_) if stop() => return Err(Error::Stopped),
                Some(rows) if valid.add_valid(rows) == rows.len() => {}
                _ => return Ok(valid),
            }
        }
    }
}

/// Makes the directory entry of `file` durable, so that a power cut does not take away a new file's name.
///
/// Some network and user-space file systems cannot sync a directory and return EINVAL. That is logged, and no error.
///
/// # Errors
/// [`Error::Io`] if open(2) or fsync(2) fails otherwise.
pub fn sync_directory(file: &Path) -> Result<()> {
    let directory = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    match File::open(directory).and_then(|directory| directory.sync_all()) {
        Err(e) if e.raw_os_error() == Some(Errno::EINVAL as i32) => {
            let aviso = "this file system cannot sync a directory: a power cut may take the name of a new file";
            event!(Warning, "sync_directory", in_progress, archivo = directory.display(), aviso = aviso);
            Ok(())
        }
        synced => synced.map_err(Error::io("sync", directory)),
    }
}
