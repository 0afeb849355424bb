//! The defects that make bytes no message. The server answers each with [`Code::ProtocolBroken`](super::Code).

/// Most bytes of an echo before its line feed.
pub const ECHO_MAX: usize = 1024;

/// Why bytes are not a message, whatever follows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No message has this type byte.
    #[error("unknown message type {0}")]
    UnknownType(u8),
    /// Only the other side sends messages of this type.
    #[error("message type {0} is not sent in this direction")]
    WrongDirection(u8),
    /// A text has no NUL within its greatest length, given in bytes without the NUL.
    #[error("a text is longer than {0} bytes or has no NUL")]
    Unterminated(usize),
    /// An echo has no line feed within [`ECHO_MAX`] bytes.
    #[error("no line feed within {ECHO_MAX} bytes")]
    EchoTooLong,
    /// An echo is not UTF-8.
    #[error("the text is not UTF-8")]
    EchoNotUtf8,
    /// A confirmation holds a byte that is not a result code.
    #[error("unknown result code {0}")]
    UnknownCode(u8),
}
