//! Bets with one defect, and answers on connections of their own.

use std::time::Duration;

use crate::support::*;

/// How long a server goes on reading what is behind its last answer.
pub const LINGER: Duration = Duration::from_secs(1);

pub const REFUSED_BATCH: &str = "ERROR    action: apuesta_recibida | result: fail | cantidad: ";

/// Sends `bytes` on a connection of its own; all that is answered until the server closes, which must be no reset.
#[track_caller]
pub fn answer(server: &Server, bytes: &[u8]) -> Vec<u8> {
    server.connect().send(bytes).rest()
}

/// The same, and this side of the stream ends behind `bytes`.
#[track_caller]
pub fn answer_at_end(server: &Server, bytes: &[u8]) -> Vec<u8> {
    server.connect().send(bytes).finish().rest()
}

pub fn bet() -> Bet<'static> {
    Bet::default()
}

/// A bet of which each part makes a batch malformed or invalid.
pub fn first(first: &[u8]) -> Bet<'_> {
    Bet { first, ..bet() }
}

pub fn born(birthdate: &[u8]) -> Bet<'_> {
    Bet { birthdate, ..bet() }
}

/// How many lines of `log` tell what a client has sent: refused, or an echo.
pub fn lines_of_messages(log: &str) -> usize {
    count_events(log, "ERROR ") + count_events(log, "INFO     action: receive_message | result: success")
}
