//! Lotería Nacional: betting agencies send bets over TCP to a server that forks one process per connection, stores the
//! bets in one CSV file under flock, and holds a draw when every agency has ended.
//!
//! # Processes
//!
//! ```text
//!  client 1 ──TCP──▶ child 1 ──flock──▶ bets.csv, books             parent: accepts, forks, keeps claims and the ledger;
//!                      ▲ │                                              never reads a client's byte, never blocks
//!               Order  │ │ Report   (socketpair)                child:  one connection; validates, stores, answers
//!                      │ ▼                                      draw child: scans the bets once, writes the result
//!  client 2 ──TCP──▶ parent ──fork──▶ draw child ──▶ draw
//! ```
//!
//! # Data
//!
//! ```text
//!  socket bytes ──▶ protocol ──▶ session ──▶ storage            Report ──▶ server (children, claims, waiters) ──▶ draw
//!  socket bytes ◀── protocol ◀── session ◀── storage            Order  ◀── server
//! ```
//!
//! # Modules, from the bottom up
//!
//! Each row of this table is a floor. A module imports only from floors below its own, and the modules of a folder follow
//! the same rule by the table in its `mod.rs`. A test reads these tables and the code: `tests/architecture.rs`.
//!
//! | module | owns |
//! |---|---|
//! | [`plain`] | names without special characters |
//! | [`bet`], [`logging`], [`tcp`], [`durability`], [`exit_code`], [`signals`] | valid bets; log lines; socket options; levels of durability; the table of exit codes; signals that stop a program |
//! | [`row`], [`messages`], [`cli`], [`tls`] | a bet as a row of `bets.csv`; messages between child and parent; command lines; certificates, and sockets with and without TLS |
//! | [`draw`], [`protocol`], [`config`], [`row_scan`] | the ledger and the winners; the bytes on the wire; settings; rows checked at speed |
//! | [`storage`] | the files: a group of bets is stored whole or not at all, and every agency's tally proves its rows |
//! | [`session`] | one connection, in its child |
//! | [`server`] | the parent: listener, children, claims, draw, orderly end |
//! | [`agency`], [`dataset`] | the client; synthetic agency files |
//!
//! The mechanisms (fork, links, signals, readiness, locks) are in the crate [`ipc`], which does not know bets. `docs/` has
//! the sequences, the bytes and the promises.

#![forbid(unsafe_code)]

pub mod agency;
pub mod bet;
pub mod cli;
pub mod config;
pub mod dataset;
pub mod draw;
pub mod durability;
pub mod exit_code;
pub mod logging;
pub mod messages;
pub mod plain;
pub mod protocol;
pub mod row;
pub mod row_scan;
pub mod server;
pub mod session;
pub mod signals;
pub mod storage;
pub mod tcp;
pub mod tls;
