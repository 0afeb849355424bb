//! Why the storage did not do what was asked.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::slots;
use crate::bet::AgencyId;

/// What an operator can do about damaged files.
const WAYS: &str = "restore the file, or run server --repair, which keeps a copy of what it changes; \
                    server --new-draw begins a new lottery";

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
    /// The path now names another file than the one that the parent opened, or none.
    #[error("{path} was replaced or removed", path = path.display())]
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
    /// The files belong to an older version of this server. Nothing has been changed.
    #[error("{path} is a file of an older version: server --repair converts it, server --new-draw begins a new lottery", path = path.display())]
    Older {
        /// The file.
        path: PathBuf,
    },
    /// A file is damaged, or the files contradict each other. A start that returns this has changed no file.
    #[error("{path}: {defect}: {WAYS}", path = path.display())]
    Damaged {
        /// The file that is wrong.
        path: PathBuf,
        /// What is wrong with it.
        defect: Defect,
    },
    /// The files contradict each other, and `--repair` cannot decide which of them are right. Nothing has been changed.
    #[error(
        "{path}: {defect}: this cannot be repaired; restore the file, or begin a new lottery with server --new-draw", path = path.display()
    )]
    BeyondRepair {
        /// The file that is wrong.
        path: PathBuf,
        /// What is wrong with it.
        defect: Defect,
    },
    /// A file cannot be moved aside. Nothing has been changed.
    #[error("{path} cannot be moved aside: {source}; if it is mounted as a single file, mount its directory instead", path = path.display())]
    NotMovable {
        /// The file.
        path: PathBuf,
        /// The error of link(2).
        source: io::Error,
    },
    /// The agency has ended: no more bets are stored for it.
    #[error("the agency has already ended")]
    Ended,
    /// The bets are untyped, and the agency has bets of typed batches: its client would count bets that it has not sent, and
    /// could not resume.
    #[error(
        "the agency has bets of typed batches, and only typed batches may follow: otherwise its client cannot resume"
    )]
    HasTyped,
    /// A stop was requested while the start read the bets.
    #[error("stopped on request")]
    Stopped,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Defect {
    /// The file does not exist, but others of the same lottery do.
    Missing,
    /// The first record of the file is not valid, or the file is shorter than that record states.
    Header,
    /// No half of the head is valid.
    Head,
    /// No row at the front is valid, and the file is longer than one write can leave.
    NoRow,
    /// More agencies have bets than a lottery can have.
    TooManyAgencies,
    /// The slot of an agency is damaged, or belongs to another agency.
    Slot(AgencyId),
    /// The slots contradict the head, each other, or the rows.
    Contradiction,
    /// The file is shorter than its committed length.
    Short {
        /// Its length in bytes.
        len: u64,
        /// The committed length in bytes.
        committed: u64,
    },
    /// More bytes follow the committed length than one write can leave.
    Long {
        /// Its length in bytes.
        len: u64,
        /// The committed length in bytes.
        committed: u64,
    },
    /// The rows of an agency are not those that were counted.
    Rows {
        /// The agency.
        agency: AgencyId,
        /// The number of bets that were counted.
        expected: u64,
        /// The number of bets in the file.
        found: u64,
        /// The byte at which the valid rows end, if it is not the end of the file.
        valid: Option<u64>,
    },
    /// The end in the slot with this number is damaged.
    Unit(u32),
    /// The recorded end of an agency is gone.
    EndGone(AgencyId),
    /// The end of an agency is recorded, but the books do not know it.
    EndUnknown(AgencyId),
    /// The draw was held, but the record of it is gone or damaged.
    Held,
    /// The result of the held draw is damaged.
    Result,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "the file is missing, but other files of its lottery are there"),
            Self::Header => write!(f, "the first record is damaged"),
            Self::Head => write!(f, "the committed length is damaged"),
            Self::NoRow => write!(f, "the first row is not a bet"),
            Self::TooManyAgencies => write!(f, "more than {} agencies have bets", slots::MOST),
            Self::Slot(agency) => write!(f, "the tally of agency {agency} is damaged"),
            Self::Contradiction => write!(f, "the tallies contradict the committed length"),
            Self::Short { len, committed } => write!(f, "the file has {len} bytes, but {committed} were committed"),
            Self::Long { len, committed } => {
                write!(f, "the file has {len} bytes, but only {committed} were committed: books are from another time")
            }
            Self::Rows { agency, expected, found, valid } => {
                write!(f, "agency {agency}: {expected} bets expected, {found} found")?;
                if expected == found {
                    write!(f, ", which are not the same")?;
                }
                valid.map_or(Ok(()), |offset| write!(f, "; no bet at byte {offset}"))
            }
            Self::Unit(number) => write!(f, "the record {number} of an end is damaged"),
            Self::EndGone(agency) => write!(f, "the end of agency {agency} is missing"),
            Self::EndUnknown(agency) => write!(f, "the end of agency {agency} is not in the books"),
            Self::Held => write!(f, "the draw was held, and the record of it is missing or damaged"),
            Self::Result => write!(f, "the result of the held draw is damaged"),
        }
    }
}

impl Error {
    /// For `map_err`: wraps the error of a system call that did `action` on `path`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    pub(super) fn damaged(path: &Path, defect: Defect) -> Self {
        Self::Damaged { path: path.to_owned(), defect }
    }
}

/// The result of every operation of the storage.
pub type Result<T> = std::result::Result<T, Error>;
