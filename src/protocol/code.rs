//! Result codes: the byte of message type 2, and the one byte that the untyped generations get.

/// Why the server refuses a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub enum Code {
    /// A bet is invalid. Nothing of its batch is stored.
    #[error("invalid bet")]
    InvalidBet = 1,
    /// The agency is 0 or above CLIENT_AMOUNT.
    #[error("unknown agency")]
    UnknownAgency = 2,
    /// The agency has already ended, or the draw has been held.
    #[error("the agency has already ended or the draw is done")]
    AlreadyEnded = 3,
    /// The storage failed. Nothing of the batch is stored.
    #[error("storage failed")]
    StorageFailed = 4,
    /// Another connection holds the agency's claim.
    #[error("the agency is connected elsewhere")]
    ConnectedElsewhere = 5,
    /// The bytes are not a message, or the message is not allowed here.
    #[error("protocol broken")]
    ProtocolBroken = 6,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping = 7,
}

impl Code {
    /// Every code, in the order of its byte.
    pub const ALL: [Self; 7] = [
        Self::InvalidBet,
        Self::UnknownAgency,
        Self::AlreadyEnded,
        Self::StorageFailed,
        Self::ConnectedElsewhere,
        Self::ProtocolBroken,
        Self::Stopping,
    ];

    /// The byte on the wire for a result: 0 for success, otherwise the code.
    pub fn byte(result: Result<(), Self>) -> u8 {
        result.map_or_else(|code| code as u8, |()| 0)
    }

    /// The result that a byte on the wire stands for; `None` for a byte above 7.
    pub fn from_byte(byte: u8) -> Option<Result<(), Self>> {
        match byte {
            0 => Some(Ok(())),
            _ => Self::ALL.into_iter().find(|&code| code as u8 == byte).map(Err),
        }
    }
}
