//! Mode draw, exercises 7 and 8: all bets of the agency's file, their end, and the winners among them.
//!
//! Owns the order of the two halves and the line that tells the winners. Used by [`super::main`].

use super::connection::{Dialer, Use};
use super::delivery::Delivery;
use super::error::Error;
use super::reader::Reader;
use super::retry::Retry;
use super::stop::StopSignal;
use super::winners::WinnersQuery;
use crate::config::client::Config;
use crate::event;

/// Plays the agency; how many rows of its file were refused.
///
/// # Errors
/// [`Error`].
pub fn run(config: &Config, stop: &StopSignal) -> Result<u64, Error> {
    let dialer = Dialer { address: &config.server_address, used_for: Use::Conversation, stop };
    let retry = Retry::new(config.retry_timeout, stop);
    let reader = Reader::open(config.id, &config.data_path, stop)?;
    let (connection, refused) = Delivery::new(config, reader)?.run(dialer, &retry)?;
    let winners = WinnersQuery::new(config.id, dialer, connection).run(&retry)?;
    // Whoever follows the logs of many containers sees the server's lines first. What is known is told, though,
    // whether or not a signal cuts this short.
    let _ = stop.pause(config.log_settle);
    event!(Info, "consulta_ganadores", success, cant_ganadores = winners.len());
    Ok(refused)
}
