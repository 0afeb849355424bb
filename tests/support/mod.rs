//! Shared parts of the black-box tests. They start the real programs in temporary directories, and exchange raw bytes
//! with them that are written from the protocol's description, without the library's code.
//!
//! | file | owns |
//! |---|---|
//! | `programs` | which binaries are tested, how a program starts with a clean environment, skipped tests |
//! | `server` | a server process: its settings ([`Setup`]), its files, its log, its end ([`Server`]) |
//! | `client` | a client process: its settings ([`ClientSetup`]), its log, its end |
//! | `conn` | a raw connection to a server |
//! | `peer` | a server played by the test, for tests of the client |
//! | `link` | the link of a child, in the hands of an attacker |
//! | `messages`, `answers` | the bytes that clients and servers send |
//! | `rows` | rows of `bets.csv` and of agencies' files |
//! | `lines` | the form of log lines |
//! | `waiting` | how long a test waits, and for what |
//! | `processes`, `sockets`, `ports` | what `/proc` and the kernel report |
//! | `books` | the bytes of `books` and `draw` |
//! | `strace` | faults that strace injects into a process |
//! | `disk` | disks that become full, fail or lose power |
//!
//! `LOTERIA_SERVER` and `LOTERIA_CLIENT` name other binaries to test.

#![allow(dead_code, unused_imports, reason = "each test target uses a part")]

pub mod answers;
pub mod books;
mod client;
mod conn;
pub mod disk;
mod lines;
pub mod link;
mod messages;
pub mod peer;
mod ports;
mod processes;
mod programs;
mod rows;
mod server;
mod sockets;
pub mod strace;
mod waiting;

pub use client::*;
pub use conn::*;
pub use lines::*;
pub use messages::*;
pub use ports::*;
pub use processes::*;
pub use programs::*;
pub use rows::*;
pub use server::*;
pub use sockets::*;
pub use waiting::*;
