//! Lotería Nacional: betting agencies send bets over TCP to a server that forks one process per connection, stores the
//! bets in one CSV file under flock, and holds a draw once every agency has ended.
//!
//! # Processes
//!
//! ```text
//!  client 1 ──TCP──▶ child 1 ──flock──▶ bets.csv, ends          who may do what
//!                      ▲ │                                      parent: accepts, forks, keeps claims and the ledger,
//!               Order  │ │ Report   (socketpair)                        never reads a client's byte, never blocks
//!                      │ ▼                                      child:  one connection; validates, stores, answers
//!  client 2 ──TCP──▶ parent ──fork──▶ draw child ──▶ draw       draw child: scans the bets once, writes the result
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
//! | module | owns |
//! |---|---|
//! | [`bet`] | what makes a bet valid |
//! | [`row`] | a bet as a row of `bets.csv` |
//! | [`protocol`] | bytes on the wire: one codec a generation, and the rule that tells them apart |
//! | [`draw`] | who has ended, who has won; pure |
//! | [`storage`] | the files: all or nothing, up to the committed length |
//! | [`messages`] | what child and parent tell each other |
//! | [`session`] | one connection, in its child |
//! | [`server`] | the parent: listener, children, claims, draw, orderly end |
//! | [`agency`] | the client |
//! | [`config`], [`logging`], [`cli`], [`tcp`] | settings, log lines, command lines, socket options |
//! | [`dataset`] | synthetic agency files |
//!
//! Nothing points back up this list. The mechanisms (fork, links, signals, readiness, locks) are in the crate [`ipc`],
//! which knows nothing of bets. `docs/` has the sequences, the bytes and the promises.

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
pub mod protocol;
pub mod row;
pub mod server;
pub mod session;
pub mod storage;
pub mod tcp;
