//! The open files of one process.

use std::fs::{File, OpenOptions};
use std::path::Path;

use super::error::{Error, Result};
use super::identity::Identity;
use super::paths::Paths;
use super::reader::Range;
use super::tallies::Tallies;

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
    /// [`Error::Io`].
    pub fn valid_rows(&self, to: u64) -> Result<Tallies> {
        let mut valid = Tallies::default();
        valid.add_valid(self.bets_between(0, to).lines()).map_err(Error::io("read", &self.paths.bets))?;
        Ok(valid)
    }
}

/// Makes the directory entry of `file` durable, so that a power cut does not take away a new file's name.
///
/// # Errors
/// [`Error::Io`].
pub fn sync_directory(file: &Path) -> Result<()> {
    let directory = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(Error::io("sync", directory))
}
