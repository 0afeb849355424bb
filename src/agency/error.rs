//! The errors of an agency: their texts, their exit codes, and which of them another connection may cure.
//!
//! Used by every module of the agency. Knows no socket and no file.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::defect::Appearance;
use super::question::Question;
use crate::config;
use crate::exit_code::ExitStatus;
use crate::protocol::{Answer, AnswerStart, Code, Malformed};
use crate::tls;

/// Why the agency did not finish its work. The last log line shows the text.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SIGTERM or SIGINT arrived. This is not a failure.
    #[error("stopped on request")]
    Stopped,
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The signal handlers could not be installed.
    #[error("cannot catch SIGTERM and SIGINT: {0}")]
    Signals(#[source] io::Error),
    /// Standard output could not be prepared for the log.
    #[error("cannot log to standard output: {0}")]
    Log(#[source] io::Error),
    /// poll(2) failed.
    #[error("cannot wait for events: {0}")]
    Wait(#[source] io::Error),
    /// The agency's file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    File {
        /// The agency's file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The path of the agency's file is a directory.
    #[error("cannot read {path}: it is a directory (Docker creates one if the source of a bind mount does not exist)", path = path.display())]
    Directory {
        /// The configured path.
        path: PathBuf,
    },
    /// The agency's file has rows, and none of them is a bet.
    #[error("no row of {path} is a bet: {appearance}; nothing is sent", path = path.display())]
    NoBets {
        /// The agency's file.
        path: PathBuf,
        /// How the file looks.
        appearance: Appearance,
    },
    /// There is no connection, or it was lost.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// A file of TLS cannot be used.
    #[error(transparent)]
    TlsFile(#[from] tls::Error),
    /// TLS failed for a reason that another connection does not change.
    #[error("no TLS with {peer}: {reason}")]
    Tls {
        /// Address of the server.
        peer: SocketAddr,
        /// The reason, and the next step for the operator.
        reason: String,
    },
    /// The server refused with a code.
    #[error("{question} was refused: {code} (code {byte}){hint}", byte = *code as u8, hint = hint(*code, question))]
    Refused {
        /// The refused message.
        question: Question,
        /// The server's reason.
        code: Code,
    },
    /// The server answered with bytes that are not a message.
    #[error("{question} was answered with bytes that are not a message: {defect}")]
    Malformed {
        /// The message that the bytes should answer.
        question: Question,
        /// The defect of the bytes.
        defect: Malformed,
    },
    /// The server answered with a message that does not fit the question.
    #[error("{question} was answered with {answer}")]
    Unexpected {
        /// The message that should be answered.
        question: Question,
        /// The answer in words.
        answer: String,
    },
    /// The server answered message 6 like a server that does not have this message. The text describes the answer.
    #[error("the server does not know message 6: set resume to false ({0})")]
    ResumeUnknown(String),
    /// The bets on the server are not the first bets of the file. The text describes the difference.
    #[error("{0}; nothing is sent")]
    Mismatch(String),
    /// The server has more winners than the agency has bets.
    #[error("the server announces {announced} winners, but the agency has only {bets} bets")]
    TooManyWinners {
        /// The count in message 5.
        announced: u32,
        /// The bets of the agency's file.
        bets: u64,
    },
    /// The time for retries is over.
    #[error("gave up after {after:?} of trying: {last}{hint}")]
    GaveUp {
        /// The configured time.
        after: Duration,
        /// The last failure.
        #[source]
        last: Box<Error>,
        /// The next step for the operator: empty, or a text that begins with `; `.
        hint: &'static str,
    },
}

impl Error {
    /// The error for an answer that does not fulfil `question`: a refusal, or a message of another kind.
    pub fn from_answer(question: Question, answer: &AnswerStart) -> Self {
        match answer {
            Answer::Confirmation(Err(code)) => Self::Refused { question, code: *code },
            other => Self::Unexpected { question, answer: describe(other).to_owned() },
        }
    }

    /// The exit status of the program after this error.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Stopped => ExitStatus::Done,
            Self::Config(_) | Self::TlsFile(_) => ExitStatus::WrongUse,
            Self::NoBets { .. } => ExitStatus::RowsRefused,
            _ => ExitStatus::Failed,
        }
    }

    /// Whether another connection may succeed: the connection was lost, or the server refused for a temporary reason.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Lost(_) => true,
            Self::Refused { code, .. } => {
                matches!(code, Code::StorageFailed | Code::ConnectedElsewhere | Code::Stopping)
            }
            _ => false,
        }
    }
}

/// Why there is no connection. All reasons are temporary.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The name of the server has no address.
    #[error("cannot resolve {address}: {source}")]
    Resolve {
        /// host:port.
        address: String,
        /// The error of the resolver.
        source: io::Error,
    },
    /// The connection could not be established.
    #[error("cannot connect to {peer}: {source}")]
    Connect {
        /// The last address that was tried.
        peer: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The server closed the connection.
    #[error("{peer} closed the connection")]
    Closed {
        /// Address of the server.
        peer: SocketAddr,
    },
    /// The connection was reset, or the server became unreachable.
    #[error("the connection to {peer} broke: {source}")]
    Broken {
        /// Address of the server.
        peer: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The server neither sent nor accepted a byte.
    #[error("{peer} was silent for {patience:?}")]
    Silent {
        /// Address of the server.
        peer: SocketAddr,
        /// Length of the silence.
        patience: Duration,
    },
}

/// An answer in words, for an error message.
pub(super) fn describe(answer: &AnswerStart) -> &'static str {
    match answer {
        Answer::Echo(_) => "a text",
        Answer::Confirmation(_) => "a confirmation (message 2)",
        Answer::NotDrawn => "\"not drawn yet\" (message 4)",
        Answer::Winners(_) => "winners (message 5)",
        Answer::Tally { .. } => "a tally (message 7)",
    }
}

/// The next step after a refusal: empty, or a text that begins with `; `.
fn hint(code: Code, question: &Question) -> &'static str {
    match (code, question) {
        (Code::AlreadyEnded, _) => {
            "; if the server's draw is over, `server --new-draw` begins a new one. Bets without a type (modes bet and batch) \
             may not follow those of mode draw"
        }
        (Code::InvalidBet, Question::Tally) => "; a server that knows only messages 1 to 5 needs resume set to false",
        (Code::ProtocolBroken, Question::Tally) => {
            "; with TLS=required the server needs tls.ca, tls.certificate and tls.key; if it knows only messages 1 to 5, it \
             needs resume set to false"
        }
        (Code::ProtocolBroken, _) => {
            "; with TLS=required the server needs tls.ca, tls.certificate and tls.key; with UNTYPED=off it refuses modes \
             bet and batch"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_names_code_batch_and_next_step() {
        let question = Question::Batch { number: 3, first: 199, count: 99 };
        assert_eq!(
            Error::Refused { question, code: Code::InvalidBet }.to_string(),
            "batch 3 (bets 199 to 297) was refused: invalid bet (code 1)"
        );
        let over = Error::Refused { question, code: Code::AlreadyEnded }.to_string();
        assert!(over.contains("(code 3)") && over.contains("server --new-draw"), "{over}");
    }

    #[test]
    fn only_codes_4_5_and_7_are_temporary() {
        for byte in 1..=7 {
            let code = Code::from_byte(byte).unwrap().unwrap_err();
            let error = Error::Refused { question: Question::End, code };
            assert_eq!(error.is_temporary(), [4, 5, 7].contains(&byte), "{byte}");
            assert_eq!(error.exit_status(), ExitStatus::Failed);
        }
    }
}
