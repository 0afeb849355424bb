//! How a request ends that is not carried out, and how a session ends.

use std::io;

use crate::messages::{Cut, Dismissal, Reason};
use crate::protocol::Code;
use crate::tls::{Broken, server};

/// How a request ends that is not carried out.
#[derive(Debug)]
pub enum Outcome {
    /// The client gets a code, and the connection closes.
    Refuse(Refusal),
    /// The connection closes without an answer.
    Close(Close),
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

impl From<Code> for Outcome {
    fn from(code: Code) -> Self {
        Self::Refuse(code.into())
    }
}

impl From<Close> for Outcome {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

/// An error code for the client, with its reason for the log.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: Code,
    detail: Option<String>,
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self { code, detail: None }
    }
}

impl Refusal {
    /// A refusal whose reason is more precise than its code.
    pub fn because(code: Code, why: impl ToString) -> Self {
        Self { code, detail: Some(why.to_string()) }
    }

    /// The reason for the log.
    pub fn reason(&self) -> String {
        self.detail.clone().unwrap_or_else(|| self.code.to_string())
    }
}

/// Why a session ends.
#[derive(Debug)]
pub enum Close {
    /// The client closed between messages, or is gone.
    PeerClosed,
    /// The client closed, or was silent for too long, in the middle of a message or of an answer.
    Cut(Cut),
    /// The client was silent for IDLE_TIMEOUT between messages.
    Idle,
    /// The client's generation sends one message, and it has been answered.
    Spent,
    /// The client has received a code.
    Refused,
    /// The server is stopping.
    Stopping,
    /// The parent ordered a connection without a seat to leave.
    Dismissed(Dismissal),
    /// The same, and the query that waited for the draw has been answered.
    DismissedWithAnswer(Dismissal),
    /// The client was silent while another connection claimed its agency.
    Replaced,
    /// A sync failed.
    StorageBroken,
    /// A step of the sandbox failed: this process must parse no byte.
    Unsafe(io::Error),
    /// The client's bytes or its certificate are wrong, in the handshake or after it. The text is the log's reason.
    Tls(String),
    /// The handshake was not completed.
    Handshake(&'static str),
    /// The connection or the link failed.
    Failed(io::Error),
}

impl Close {
    /// The reason, if it counts as a refusal of the client.
    pub fn refusal(&self) -> Option<Reason> {
        match self {
            Self::Cut(cut) => Some(Reason::Cut(*cut)),
            Self::Tls(_) | Self::Handshake(_) => Some(Reason::Cut(Cut::Tls)),
            _ => None,
        }
    }
}

impl From<Broken> for Close {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Socket(e) => e.into(),
            Broken::Tls(e) => Self::Tls(server::reason(&e)),
            Broken::NotTls => Self::Tls("the first byte is not one of TLS".to_owned()),
        }
    }
}

impl From<io::Error> for Close {
    fn from(e: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, HostUnreachable, NetworkUnreachable, TimedOut};
        match e.kind() {
            ConnectionReset | BrokenPipe | TimedOut | HostUnreachable | NetworkUnreachable => Self::PeerClosed,
            _ => Self::Failed(e),
        }
    }
}
