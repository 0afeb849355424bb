//! lottery
pub mod bet;
pub mod config;
pub mod dataset;
pub mod logging;
pub mod protocol;
pub mod row;
