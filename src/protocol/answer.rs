//! The answers of the server.

use super::code::Code;
use crate::row::Tally;

/// One answer to a client. `W` stands for the winners in it: their documents in a whole answer, their number in an
/// [`AnswerStart`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<W = Vec<u32>> {
    /// The text of an echo.
    Echo(String),
    /// Done, or why not (message 2).
    Confirmation(Result<(), Code>),
    /// The draw has not been held yet (message 4).
    NotDrawn,
    /// The documents of an agency's winning bets, in the order in which the bets were stored (message 5).
    Winners(W),
    /// The committed bets of an agency (message 7).
    Tally {
        /// The agency, as the client sent it.
        agency: u32,
        /// Count and CRC-32 of its committed rows.
        tally: Tally,
        /// Whether the agency has ended.
        ended: bool,
    },
}

/// An answer whose winners still have to arrive: only their number is known.
pub type AnswerStart = Answer<u32>;
