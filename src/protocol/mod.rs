//! The bytes on the wire: one codec a generation, and the rule that tells the generations apart.
//!
//! Pure and incremental: nothing here owns a socket, and every decoder takes what has arrived so far. Used by the
//! server's session ([`decoder::Decoder`], [`Answer::encode`]) and by the agency ([`typed`], [`batch`], [`single`]).
//! Knows nothing of claims, locks or draws. All integers are unsigned and big-endian; `docs/protocol.md` shows the bytes.
//!
//! | module | generation | encodes and decodes |
//! |---|---|---|
//! | [`echo`] | exercises 1–4 | a line of text |
//! | [`single`] | exercise 5 | one bet |
//! | [`batch`] | exercise 6; the bets of 7 and 8 | bets in one message |
//! | [`typed`] | exercises 7, 8 | messages with a type byte, and their answers |

pub mod batch;
pub mod decoder;
pub mod detect;
pub mod echo;
pub mod single;
pub mod typed;
mod wire;

use crate::bet::{Bet, InvalidBet};

pub use wire::Stop;

/// The three ways in which clients speak; the first bytes of a connection decide ([`detect`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// Text, exercises 1–4.
    Echo,
    /// One bet or one batch without a type byte, exercises 5 and 6.
    Untyped,
    /// Messages with a type byte, exercises 7 and 8.
    Typed,
}

/// How bets came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A single bet (untyped).
    Single,
    /// A batch without a type byte.
    UntypedBatch,
    /// A batch of type 1.
    TypedBatch,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Give this text back. Trailing white space is gone already.
    Echo(String),
    /// Store these bets, all or none.
    Bets {
        /// How they came.
        form: Form,
        /// The agency as sent: not checked yet.
        agency: u32,
        /// How many the message announced.
        count: u8,
        /// The bets in order, or the first defect among them.
        bets: Result<Vec<Bet>, InvalidBet>,
    },
    /// This agency has sent all its bets (a typed batch of none).
    End {
        /// The agency as sent.
        agency: u32,
    },
    /// Which bets of this agency have won?
    Winners {
        /// The agency as sent.
        agency: u32,
    },
    /// Which bets of this agency are stored?
    Received {
        /// The agency as sent.
        agency: u32,
    },
}

/// What is stored of one agency: its rows as they stand in `bets.csv`, line ends included, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holding {
    /// How many bets.
    pub count: u64,
    /// CRC-32 (zlib's) of the rows; 0 for none.
    pub crc: u32,
}

/// What the server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The text of an echo.
    Echo(String),
    /// Done, or why not.
    Confirmation(Result<(), Code>),
    /// The draw has not been held yet.
    NotDrawn,
    /// The documents of an agency's winning bets, in the order in which the bets were stored.
    Winners(Vec<u32>),
    /// What the server holds of an agency.
    Received {
        /// Whose bets.
        agency: u32,
        /// How many, and their checksum.
        holding: Holding,
        /// Whether the agency has ended.
        ended: bool,
    },
}

impl Answer {
    /// The bytes of this answer for a client of `generation`.
    ///
    /// An answer that the generation has no form for encodes to nothing: an echo that is refused is just closed.
    pub fn encode(&self, generation: Generation) -> Vec<u8> {
        match (generation, self) {
            (Generation::Echo, Self::Echo(text)) => echo::encode(text),
            (Generation::Untyped, Self::Confirmation(result)) => vec![Code::byte(*result)],
            (Generation::Typed, answer) => typed::encode_answer(answer),
            _ => Vec::new(),
        }
    }
}

/// Why a request is refused; the byte of message type 2, and the one byte of the untyped generations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub enum Code {
    /// A bet is invalid.
    #[error("invalid bet")]
    InvalidBet = 1,
    /// The agency is 0 or above the number of agencies.
    #[error("unknown agency")]
    UnknownAgency = 2,
    /// The agency has already ended, or the draw is done.
    #[error("the agency has already ended or the draw is done")]
    AlreadyEnded = 3,
    /// Nothing of the batch was stored.
    #[error("storage failed")]
    StorageFailed = 4,
    /// Another connection has claimed the agency.
    #[error("the agency is connected elsewhere")]
    ConnectedElsewhere = 5,
    /// The bytes are no message, or one that is not allowed here.
    #[error("protocol broken")]
    ProtocolBroken = 6,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping = 7,
}

impl Code {
    /// The byte on the wire of a result: 0 is success.
    pub fn byte(result: Result<(), Self>) -> u8 {
        result.map_or_else(|code| code as u8, |()| 0)
    }

    /// The result that a byte on the wire stands for; `None` for an unknown one.
    pub fn from_byte(byte: u8) -> Option<Result<(), Self>> {
        use Code::{
            AlreadyEnded, ConnectedElsewhere, InvalidBet, ProtocolBroken, Stopping, StorageFailed, UnknownAgency,
        };
        let codes =
            [InvalidBet, UnknownAgency, AlreadyEnded, StorageFailed, ConnectedElsewhere, ProtocolBroken, Stopping];
        match byte {
            0 => Some(Ok(())),
            _ => codes.into_iter().find(|&code| code as u8 == byte).map(Err),
        }
    }
}

/// Why bytes are no message (code 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A type byte that no message has.
    #[error("unknown message type {0}")]
    UnknownType(u8),
    /// A type that only the other side sends.
    #[error("message type {0} is not sent in this direction")]
    WrongDirection(u8),
    /// A text without its NUL within its length.
    #[error("a text is longer than {0} bytes or has no NUL")]
    Unterminated(usize),
    /// An echo without a line feed.
    #[error("no line feed within {} bytes", echo::MAX_TEXT)]
    EchoTooLong,
    /// An echo that is no text.
    #[error("the text is not UTF-8")]
    EchoNotUtf8,
    /// A confirmation with a code that no table has.
    #[error("unknown result code {0}")]
    UnknownCode(u8),
}
