//! lottery
pub mod bet;
pub mod cli;
pub mod config;
pub mod dataset;
pub mod draw;
pub mod logging;
pub mod messages;
pub mod protocol;
pub mod row;
pub mod server;
pub mod session;
pub mod storage;
