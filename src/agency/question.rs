//! The questions that an agency asks the server, as error messages name them.
//!
//! Owns their names. Used by the conversations, and by [`super::error`]. Knows no bytes.

use std::fmt;

/// A message that the server must answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// The single bet of exercise 5.
    Bet,
    /// A batch.
    Batch {
        /// Position of the batch in this run, from 1.
        number: u64,
        /// Position of its first bet among the valid rows of the file, from 1.
        first: u64,
        /// Number of bets, at least 1.
        count: u8,
    },
    /// The end of the agency.
    End,
    /// The query for the winners, message 3.
    Winners,
    /// The query for the tally of the agency, message 6.
    Tally,
    /// A line of text.
    Echo,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bet => f.write_str("the bet"),
            Self::Batch { number, first, count } => {
                write!(f, "batch {number} (bets {first} to {})", first + u64::from(*count) - 1)
            }
            Self::End => f.write_str("the end of the bets"),
            Self::Winners => f.write_str("the query for the winners (message 3)"),
            Self::Tally => f.write_str("the query for the tally (message 6)"),
            Self::Echo => f.write_str("the text"),
        }
    }
}
