//! Mode draw, exercises 7 and 8: sends all bets of the agency's file and the end, then waits for the winners.
//!
//! Owns the order of the two halves, and the log line with the number of winners. Used by [`super::main`].

use super::connection::Dialer;
use super::delivery::{Delivered, Delivery};
use super::error::Error;
use super::reader::Reader;
use super::retry::Retry;
use super::winners::WinnersQuery;
use crate::config::client::Config;
use crate::event;

/// Runs the whole conversation. Returns the number of rows of the agency's file that were refused.
///
/// # Errors
/// As [`Delivery::run`] and [`WinnersQuery::run`]; [`Error::File`] or [`Error::Directory`] if the file cannot be read;
/// [`Error::NoBets`] if it has rows and none of them is a bet.
pub fn run(config: &Config, dialer: Dialer<'_>) -> Result<u64, Error> {
    let stop = dialer.stop;
    let retry = Retry::new(config.retry_timeout, stop);
    let mut reader = Reader::open(config.id, &config.data_path, stop)?;
    reader.require_bets()?;
    let Delivered { connection, bets, refused } = Delivery::new(config, reader)?.run(dialer, &retry)?;
    // Without `resume`, a batch may be stored twice, and a bet in it may win twice.
    let most = config.resume.then_some(bets);
    let winners = WinnersQuery::new(config.id, dialer, connection, most).run(&retry)?;
    // The pause lets a reader of many containers' logs see the server's lines first. The winners are known, so they are
    // logged even if a signal ends the pause.
    let _ = stop.pause(config.log_settle);
    event!(Info, "consulta_ganadores", success, cant_ganadores = winners);
    Ok(refused)
}
