//! The settings of both programs: environment beats file, file beats default.
//!
//! Owns the two file formats and the meaning of every key. Used by the programs when they start; no other module reads
//! the environment. Every mistake is one [`Error`], which names the key, its value and the allowed values.
//!
//! # Modules, from the bottom up
//!
//! A module imports only from rows above its own in this table.
//!
//! | module | owns |
//! |---|---|
//! | `error`, `number`, `duration`, `ini`, `yaml` | errors; numbers; durations; the server's file format; the client's file format |
//! | `settings` | where the value of a key comes from |
//! | [`client`], [`server`] | the keys, their defaults and allowed values |

pub mod client;
mod duration;
mod error;
mod ini;
mod number;
pub mod server;
mod settings;
mod yaml;

pub use duration::parse as parse_duration;
pub use error::Error;
