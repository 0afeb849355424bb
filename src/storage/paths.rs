//! The names of the files of one lottery.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::error::{Error, Result};

/// Most symbolic links that are followed, as in the kernel.
const MOST_LINKS: usize = 40;

/// The paths of one lottery's files, all in the directory of `bets.csv`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The bets, one row each. The parent and all its children hold a lock on this file: the life lock.
    pub bets: PathBuf,
    /// The committed length and the tallies, shared by the processes of one boot; also the data lock.
    pub books: PathBuf,
    /// The ends of the agencies, and the result of the draw.
    pub draw: PathBuf,
    /// Bytes past the committed length that a start found and moved here.
    pub rejected: PathBuf,
    /// The files of an older version of this server.
    pub older: Older,
}

/// The files that only older versions of this server wrote. Their file `draw` has the same name as the present one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Older {
    /// The committed length.
    pub record: PathBuf,
    /// The agencies that have ended.
    pub ends: PathBuf,
    /// Locked by a running server.
    pub lock: PathBuf,
}

impl Paths {
    /// The paths around the file of the bets.
    pub fn beside(bets: &Path) -> Self {
        Self {
            bets: bets.to_owned(),
            books: bets.with_file_name("books"),
            draw: bets.with_file_name("draw"),
            rejected: with_suffix(bets, ".rejected"),
            older: Older {
                record: bets.with_extension("lock"),
                ends: bets.with_file_name("ends"),
                lock: bets.with_file_name("server.lock"),
            },
        }
    }

    /// The paths around the file that `bets` refers to, which need not exist. Follows symbolic links: the other files
    /// lie beside the file, not beside the link.
    ///
    /// # Errors
    /// [`Error::Io`] if a link cannot be read, or if more than 40 follow each other.
    pub fn around(bets: &Path) -> Result<Self> {
        let mut path = bets.to_owned();
        for _ in 0..MOST_LINKS {
            match path.read_link() {
                // A relative target begins at the directory of the link.
                Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
                // EINVAL: not a link.
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
                    return Ok(Self::beside(&path));
                }
                Err(e) => return Err(Error::io("read link", &path)(e)),
            }
        }
        Err(Error::io("read link", bets)(io::Error::other("too many symbolic links")))
    }

    /// Whether no two paths are the same, which depends on the name of the file of the bets.
    pub fn are_distinct(&self) -> bool {
        let Older { record, ends, lock } = &self.older;
        let paths = [&self.bets, &self.books, &self.draw, &self.rejected, record, ends, lock].map(PathBuf::to_owned);
        let temporary = [&self.bets, &self.books, &self.draw].map(|path| replacement(path));
        let all: BTreeSet<_> = paths.iter().chain(&temporary).collect();
        all.len() == paths.len() + temporary.len()
    }
}

/// The temporary name of a file that is about to replace `path`.
pub fn replacement(path: &Path) -> PathBuf {
    with_suffix(path, ".new")
}

/// `path` with `suffix` after its name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
