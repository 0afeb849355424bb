//! Why a server does not run, or no longer, and the exit code that tells so.

use std::io;
use std::path::PathBuf;

use crate::{cli, storage};

/// Why a server does not run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The storage cannot be used. Exit code 4.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// A sync failed: nothing can be acknowledged any more. Exit code 4.
    #[error("data could not be made durable")]
    StorageBroken,
    /// Another server has the files.
    #[error("the files in {directory} belong to another server, pid {holder}")]
    Locked {
        /// Where they are.
        directory: String,
        /// Its pid, as it noted it.
        holder: String,
    },
    /// The port cannot be had.
    #[error("cannot listen on port {port}: {source}")]
    Listen {
        /// The port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// The process may not have as many descriptors as MAX_CONNECTIONS needs. Exit code 2.
    #[error(
        "MAX_CONNECTIONS: {max_connections} is not allowed, it needs {needed} descriptors and the hard limit is {limit}"
    )]
    Descriptors {
        /// The setting.
        max_connections: u32,
        /// What it needs.
        needed: u64,
        /// What the process may have.
        limit: u64,
    },
    /// The file of the bets would be another file of the lottery too. Exit code 2.
    #[error("STORAGE_FILEPATH: {path:?} is not allowed, it must be another file than ends, draw, *.lock and server.*")]
    StorageName {
        /// The setting.
        path: PathBuf,
    },
    /// The system refused something without which no server runs.
    #[error("{action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    /// The exit code that tells a caller what to do about it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Storage(_) | Self::StorageBroken => 4,
            Self::Descriptors { .. } | Self::StorageName { .. } => cli::WRONG_USE,
            Self::Locked { .. } | Self::Listen { .. } | Self::System { .. } => 1,
        }
    }
}

/// For `map_err` on system calls.
pub(super) fn system(action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::System { action, source }
}
