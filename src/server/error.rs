//! Why a server does not start, or no longer runs, and the exit code for each reason.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::exit_code::ExitStatus;
use crate::storage;
use crate::tls;

/// Why a server does not start, or no longer runs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A stop was requested before the server listened. Not a failure.
    #[error("stopped on request")]
    Stopped,
    /// The storage cannot be used.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// A sync failed, or bets are missing: nothing can be acknowledged any more.
    #[error("the storage is broken")]
    StorageBroken,
    /// Another server uses the files.
    #[error("{path} is in use by another server, pid {holder}", path = path.display())]
    Locked {
        /// The file of the bets.
        path: PathBuf,
        /// The pid of the other server, as far as it is known.
        holder: String,
    },
    /// The port of an address cannot be used.
    #[error("cannot listen on port {} of {}: {source}", .at.port(), .at.ip())]
    Listen {
        /// The address and its port.
        at: SocketAddr,
        /// The error of the system call.
        source: io::Error,
    },
    /// The hard limit of descriptors is too low for MAX_CONNECTIONS.
    #[error(
        "MAX_CONNECTIONS: {max_connections} is not allowed, it needs {needed} descriptors and the hard limit is {limit}"
    )]
    Descriptors {
        /// The setting.
        max_connections: u32,
        /// The descriptors that it needs.
        needed: u64,
        /// The hard limit of the process.
        limit: u64,
    },
    /// The hard limit of descriptors leaves no room for one connection per agency and one more.
    #[error(
        "the hard limit of {limit} descriptors is too low: one connection for each of CLIENT_AMOUNT={agencies} agencies and one more need {needed}; raise it with ulimit -Hn"
    )]
    DescriptorsOfAgencies {
        /// CLIENT_AMOUNT.
        agencies: u32,
        /// The descriptors that the server needs at least.
        needed: u64,
        /// The hard limit of the process.
        limit: u64,
    },
    /// The file of the bets would have the name of another file of the lottery.
    #[error(
        "STORAGE_FILEPATH: {path:?} is not allowed, it must be another file than books, draw, ends, *.lock and server.*"
    )]
    StorageName {
        /// The setting.
        path: PathBuf,
    },
    /// SANDBOX=require, and the kernel or the container lacks a part of the sandbox.
    #[error(
        "SANDBOX: require is not possible, this kernel or container lacks {missing}; set it to on to leave that out"
    )]
    Sandbox {
        /// The parts.
        missing: String,
    },
    /// A file of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// A system call failed that the server cannot do without.
    #[error("{action}: {source}")]
    System {
        /// The system call.
        action: &'static str,
        /// Its error.
        source: io::Error,
    },
}

impl Error {
    /// How the program ends because of this error.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Stopped => ExitStatus::Done,
            Self::Storage(_) | Self::StorageBroken => ExitStatus::StorageBroken,
            Self::Descriptors { .. }
            | Self::DescriptorsOfAgencies { .. }
            | Self::StorageName { .. }
            | Self::Tls(_)
            | Self::Sandbox { .. } => ExitStatus::WrongUse,
            Self::Locked { .. } | Self::Listen { .. } | Self::System { .. } => ExitStatus::Failed,
        }
    }
}

/// For `map_err` on system calls.
pub(super) fn system(action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::System { action, source }
}
