//! The errors of the `dataset` program, with their exit codes.

use std::io;
use std::path::PathBuf;

use crate::exit_code::ExitStatus;

/// Why not all files were written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Wrong arguments. The text is one line with the argument, its value and the allowed values. No file was written.
    #[error("{0}")]
    Usage(String),
    /// The output folder is missing and cannot be created.
    #[error("cannot create the folder {path:?}: {source}")]
    Folder {
        /// The output folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The signals to stop cannot be handled.
    #[error("cannot handle signals: {0}")]
    Signals(io::Error),
    /// A signal stopped the program. The files of the agencies before this one are complete.
    #[error("stopped, {path:?} is not written")]
    Stopped {
        /// The file of the first agency that was not written.
        path: PathBuf,
    },
    /// An agency's file cannot be written. A file that existed before is unchanged.
    #[error("cannot write {path:?}: {source}")]
    Write {
        /// The agency's file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

impl Error {
    /// The exit status of the program after this error.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Usage(_) => ExitStatus::WrongUse,
            Self::Stopped { .. } => ExitStatus::Done,
            Self::Folder { .. } | Self::Write { .. } | Self::Signals(_) => ExitStatus::Failed,
        }
    }
}
