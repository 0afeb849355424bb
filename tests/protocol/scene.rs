//! Bets with one defect, and answers on connections of their own.

use std::time::Duration;

use crate::support::*;

/// How long a server reads on after its last answer.
pub const LINGER: Duration = Duration::from_secs(1);

pub const REFUSED_BATCH: &str = "ERROR    action: apuesta_recibida | result: fail | cantidad: ";

/// Sends `bytes` on a new connection and returns all bytes until the server closes; a reset is an error.
#[track_caller]
pub fn answer(server: &Server, bytes: &[u8]) -> Vec<u8> {
    server.connect().send(bytes).rest()
}

/// The same; this side of the stream ends after `bytes`.
#[track_caller]
pub fn answer_at_end(server: &Server, bytes: &[u8]) -> Vec<u8> {
    server.connect().send(bytes).finish().rest()
}

/// The connection number `n` of a test that looks at the line of each refusal: few of them come from one source,
/// so all of them are logged.
#[track_caller]
pub fn from_many(server: &Server, n: usize) -> Conn {
    Conn::from(1 + (n / 15) as u8, server.port())
}

pub fn bet() -> Bet<'static> {
    Bet::default()
}

/// A bet with this first name.
pub fn first(first: &[u8]) -> Bet<'_> {
    Bet { first, ..bet() }
}

pub fn born(birthdate: &[u8]) -> Bet<'_> {
    Bet { birthdate, ..bet() }
}

/// How many lines of `log` report a message of a client: a refusal or an echo.
pub fn lines_of_messages(log: &str) -> usize {
    count_events(log, "ERROR ") + count_events(log, "INFO     action: receive_message | result: success")
}
