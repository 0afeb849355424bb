//! The exit codes of all processes: the three programs, and the server's children. This is the only table of them;
//! `docs/configuration.md` repeats it, and a test compares the two.

use std::process::ExitCode;

use ipc::process::{self, Exit};

/// How a process of the lottery ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// Done, or stopped on request. A child: its connection is over, for whatever reason.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong use or configuration.
    WrongUse = 2,
    /// Rows of the client's file are not bets. The client has sent all others; it sends nothing if there are none.
    RowsRefused = 3,
    /// The server's storage is broken.
    StorageBroken = 4,
    /// A child panicked.
    Panicked = process::PANICKED,
    /// A child could not be set up after its fork, or its parent was already gone.
    NotSetUp = process::NOT_SET_UP,
}

impl ExitStatus {
    /// Every status, with its meaning for an operator.
    pub const TABLE: [(Self, &'static str); 7] = [
        (Self::Done, "done, or stopped on request"),
        (Self::Failed, "failed"),
        (Self::WrongUse, "wrong use or configuration"),
        (Self::RowsRefused, "rows of the agency's file were refused (client)"),
        (Self::StorageBroken, "storage broken (server)"),
        (Self::Panicked, "panicked (child of the server)"),
        (Self::NotSetUp, "not set up after the fork (child of the server)"),
    ];

    /// The code of the process.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Whether a reaped child ended with this status.
    pub fn is_of(self, exit: Exit) -> bool {
        exit == Exit::Code(self.code().into())
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        status.code().into()
    }
}
