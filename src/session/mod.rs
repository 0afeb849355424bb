//! One connection, served by a process of its own: it reads requests, checks them, stores bets, answers.
//!
//! The server starts [`Session::run`] in a forked child, which ends with the returned status. The session owns the client's
//! socket, the child's end of the link, and the files that this process opened. It never reads the parent's state: it
//! knows what it inherited at the fork, and asks the parent for the rest.
//!
//! ```text
//!   receive ─▶ decode ─▶ admit ─▶ carry out ─▶ answer ─▶ send, then the next request
//!                          │          │    └────▶ Outcome: Refuse ─▶ send the code, then close
//!                          │          │                    Close
//!                          │          ├─ bets join the group, which is stored and answered before any other request
//!                          │          └─ storage; or asks the parent for the draw
//!                          └─ table of requirements; asks the parent for the claim
//! ```
//!
//! | waits for | at most | ends early |
//! |---|---|---|
//! | the first message, and the TLS handshake before it | MESSAGE_TIMEOUT from accept | stop, end of stream |
//! | the rest of a message | MESSAGE_TIMEOUT from its first byte | end of stream |
//! | the next message | IDLE_TIMEOUT | stop, end of stream |
//! | a claim | 1 s (the parent's clock) | stop |
//! | its turn to ask, without a claim | 1 s for each question that came before | stop, a reset |
//! | the draw | DRAW_WAIT (the parent's clock) | stop, a reset |
//! | the slot of a new agency | the parent's answer | stop |
//! | the data lock | 3 s | – |
//! | the parent's word on the line of a refusal | 200 ms | the parent is gone |
//! | a client that takes no byte of an answer | MESSAGE_TIMEOUT | a reset |
//!
//! Every wait but the one for the data lock also ends when the parent orders the session to leave, and every wait for the
//! client when it orders the session to yield to another connection and the client is silent.
//!
//! # Modules, from the bottom up
//!
//! A module imports only from rows above its own in this table.
//!
//! | module | owns |
//! |---|---|
//! | `outcome`, `group`, `questions`, `given` | how a request and a session end; messages that are stored together; how many questions a client may ask; what the parent hands over |
//! | `admission`, `connection`, `journal` | which request is allowed when; every wait; log lines |
//! | `serve` | one connection from its first request to its end |

mod admission;
mod connection;
mod given;
mod group;
mod journal;
mod outcome;
mod questions;
mod serve;

pub use given::{Common, Given};
pub use serve::Session;
