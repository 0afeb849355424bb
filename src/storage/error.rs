//! Why the storage did not do what was asked.

use std::io;
use std::path::{Path, PathBuf};

/// Why bets were not stored, or could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// What the storage tried to do.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// A sync failed: some data may not be on the disk. Nothing may be acknowledged from now on, and the server must stop.
    #[error("sync {path}: {source}", path = path.display())]
    Sync {
        /// The file.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// Another process held the data lock for too long.
    #[error("{path} is locked by another process", path = path.display())]
    Locked {
        /// The locked file.
        path: PathBuf,
    },
    /// The path now names another file than the one that is open, or than the record describes.
    #[error("{path} was replaced by another file", path = path.display())]
    Replaced {
        /// The path.
        path: PathBuf,
    },
    /// The file exists and does not belong to a lottery. Nothing has been changed.
    #[error("{path} is not a file of a lottery: set STORAGE_FILEPATH to another path, or move the file away", path = path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// A stop was requested while the start read the bets.
    #[error("stopped on request")]
    Stopped,
    /// Committed rows are missing.
    #[error(
        "{path} has {len} bytes, but {committed} were committed: restore it, or remove bets.lock to go on with the bets that are left",
        path = path.display()
    )]
    Truncated {
        /// The file of the bets.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
        /// The committed length in bytes.
        committed: u64,
    },
    /// A committed row is not a bet.
    #[error(
        "{path} is damaged: no bet at byte {offset}: restore it, or remove bets.lock to go on with the bets before that byte",
        path = path.display()
    )]
    Damaged {
        /// The file of the bets.
        path: PathBuf,
        /// Where the row begins, in bytes.
        offset: u64,
    },
    /// The agency has ended: no more bets are stored for it.
    #[error("the agency has already ended")]
    Ended,
}

impl Error {
    /// For `map_err`: wraps the error of a system call that did `action` on `path`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// The result of every operation of the storage.
pub type Result<T> = std::result::Result<T, Error>;
