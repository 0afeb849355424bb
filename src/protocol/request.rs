//! The requests of a client, as the decoder returns them. Agency numbers are still unchecked.

use super::generation::Form;
use crate::bet::InvalidBet;
use crate::row::Rows;

/// One request of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Return this text. The decoder has removed its trailing white space.
    Echo(String),
    /// Store these bets, all or none.
    Bets {
        /// The form of the message.
        form: Form,
        /// The agency as sent.
        agency: u32,
        /// The number of bets that the message announced.
        count: u8,
        /// The rows of the bets in order, or the first defect among the bets.
        rows: Result<Rows, InvalidBet>,
    },
    /// The agency has sent all its bets (a typed batch with count 0).
    End {
        /// The agency as sent.
        agency: u32,
    },
    /// Return the winners of the agency (message 3).
    Winners {
        /// The agency as sent.
        agency: u32,
    },
    /// Return the tally of the agency (message 6).
    Tally {
        /// The agency as sent.
        agency: u32,
    },
}
