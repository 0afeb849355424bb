//! How an agency's work ends early, and which exit code that is.
//!
//! Owns the texts that an operator reads in the last line, and which failures are worth another connection. Used by
//! every module of the agency; knows no socket and no file.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config;
use crate::exit_code::ExitStatus;
use crate::protocol::{Code, Malformed};

/// Why the work is not done; the text is what the last line says.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SIGTERM or SIGINT: no failure.
    #[error("stopped on request")]
    Stopped,
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// Signals or standard output cannot be had.
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
    /// Waiting itself failed.
    #[error("cannot wait for events: {0}")]
    Wait(#[source] io::Error),
    /// The agency's file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is a directory where the agency's file should be.
    #[error("cannot read {path}: it is a directory (Docker makes one where the source of a bind mount is missing)", path = path.display())]
    Directory {
        /// The path.
        path: PathBuf,
    },
    /// The single bet has a name that its form cannot carry; the settings do not let one through.
    #[error("a name has more than 255 bytes")]
    TooLong,
    /// No connection, or none any more.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The server refused, with a code.
    #[error("{question} was refused: {code} (code {byte}){hint}", byte = *code as u8, hint = hint(*code, question))]
    Refused {
        /// What was asked.
        question: Question,
        /// What the server said.
        code: Code,
    },
    /// The server answered with bytes that are no answer.
    #[error("{question} was answered with bytes that are no message: {defect}")]
    Malformed {
        /// What was asked.
        question: Question,
        /// What is wrong with the bytes.
        defect: Malformed,
    },
    /// The server answered with a message that does not fit the question.
    #[error("{question} was answered with {answer}")]
    Unexpected {
        /// What was asked.
        question: Question,
        /// What came, in words.
        answer: String,
    },
    /// Message 6 was answered as a server does that has no such message.
    #[error("the server does not know message 6: set resume to false ({0})")]
    ResumeUnknown(String),
    /// What the server holds is not what this agency would have sent.
    #[error("{0}; nothing is sent")]
    Mismatch(String),
    /// Trying again was in vain.
    #[error("gave up after {after:?} of trying: {last}{hint}")]
    GaveUp {
        /// How long it was tried, rounded.
        after: Duration,
        /// The last failure.
        #[source]
        last: Box<Error>,
        /// What might help; begins with `; `, or is empty.
        hint: &'static str,
    },
}

impl Error {
    /// How the program ends because of this error.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Stopped => ExitStatus::Done,
            Self::Config(_) => ExitStatus::WrongUse,
            _ => ExitStatus::Failed,
        }
    }

    /// Whether another connection may go better: the server was not there, fell silent, or refused for a reason that
    /// passes.
    pub fn passes(&self) -> bool {
        match self {
            Self::Lost(_) => true,
            Self::Refused { code, .. } => {
                matches!(code, Code::StorageFailed | Code::ConnectedElsewhere | Code::Stopping)
            }
            _ => false,
        }
    }
}

/// Why there is no connection, or none any more. All of it may pass.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The name has no address.
    #[error("cannot resolve {address}: {source}")]
    Resolve {
        /// host:port.
        address: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Nobody is there.
    #[error("cannot connect to {peer}: {source}")]
    Connect {
        /// The last address tried.
        peer: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The server closed.
    #[error("{peer} closed the connection")]
    Closed {
        /// The server.
        peer: SocketAddr,
    },
    /// The connection was reset, or its peer is unreachable.
    #[error("the connection to {peer} broke: {source}")]
    Broken {
        /// The server.
        peer: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The server neither answered nor took anything.
    #[error("{peer} was silent for {patience:?}")]
    Silent {
        /// The server.
        peer: SocketAddr,
        /// For how long.
        patience: Duration,
    },
}

/// What the server was asked, as its refusal names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// The single bet of exercise 5.
    Bet,
    /// A batch.
    Batch {
        /// Which one of this run, from 1.
        number: u64,
        /// Its first bet among the valid rows of the file, from 1.
        first: u64,
        /// How many bets.
        count: u8,
    },
    /// The end of an agency.
    End,
    /// Message 3.
    Winners,
    /// Message 6.
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
            Self::Tally => f.write_str("the query for the bets received (message 6)"),
            Self::Echo => f.write_str("the text"),
        }
    }
}

/// What to do about a refusal, where that is known.
fn hint(code: Code, question: &Question) -> &'static str {
    match (code, question) {
        (Code::AlreadyEnded, _) => "; the server's draw is over: `server --new-draw` begins a new one",
        (Code::InvalidBet | Code::ProtocolBroken, Question::Tally) => {
            "; a server that knows only messages 1 to 5 needs resume set to false"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_code_and_batch_and_what_to_do() {
        let question = Question::Batch { number: 3, first: 199, count: 99 };
        assert_eq!(
            Error::Refused { question, code: Code::InvalidBet }.to_string(),
            "batch 3 (bets 199 to 297) was refused: invalid bet (code 1)"
        );
        let over = Error::Refused { question, code: Code::AlreadyEnded }.to_string();
        assert!(over.contains("(code 3)") && over.contains("server --new-draw"), "{over}");
    }

    #[test]
    fn codes_4_5_and_7_pass_and_the_others_do_not() {
        for byte in 1..=7 {
            let code = Code::from_byte(byte).unwrap().unwrap_err();
            let error = Error::Refused { question: Question::End, code };
            assert_eq!(error.passes(), [4, 5, 7].contains(&byte), "{byte}");
            assert_eq!(error.exit_status(), ExitStatus::Failed);
        }
    }
}
