//! The two servers that are compared.

use crate::floor;

/// A server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The project's server.
    Server,
    /// The least that a server of this architecture can do.
    Floor,
}

impl Side {
    /// Bytes to skip at the start of a frame: the real protocol has no length before its messages.
    pub(super) fn skipped(self) -> usize {
        match self {
            Self::Server => floor::PREFIX,
            Self::Floor => 0,
        }
    }
}
