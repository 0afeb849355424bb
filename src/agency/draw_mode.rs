//! Mode draw, exercises 7 and 8: sends all bets of the agency's file and the end, then waits for the winners.
//!
//! Owns the order of the two halves, and the log line with the number of winners. Used by [`super::main`].

use super::connection::{Dialer, Use};
use super::delivery::Delivery;
use super::error::Error;
use super::reader::Reader;
use super::retry::Retry;
use super::stop::StopSignal;
use super::winners::WinnersQuery;
use crate::config::client::Config;
use crate::event;

/// Runs the whole conversation. Returns the number of rows of the agency's file that were refused.
///
/// # Errors
/// As [`Delivery::run`] and [`WinnersQuery::run`]; [`Error::File`] or [`Error::Directory`] if the file cannot be read.
pub fn run(config: &Config, stop: &StopSignal) -> Result<u64, Error> {
    let dialer = Dialer { address: &config.server_address, used_for: Use::Conversation, stop };
    let retry = Retry::new(config.retry_timeout, stop);
    let reader = Reader::open(config.id, &config.data_path, stop)?;
    let (connection, refused) = Delivery::new(config, reader)?.run(dialer, &retry)?;
    let winners = WinnersQuery::new(config.id, dialer, connection).run(&retry)?;
    // The pause lets a reader of many containers' logs see the server's lines first. The winners are known, so they are
    // logged even if a signal ends the pause.
    let _ = stop.pause(config.log_settle);
    event!(Info, "consulta_ganadores", success, cant_ganadores = winners.len());
    Ok(refused)
}
