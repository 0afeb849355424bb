//! The client: one betting agency, which sends its bets to the national lottery and asks for its winners.
//!
//! One thread that waits in poll(2) over {socket, signals}, whatever it does; only names are resolved beside it.
//!
//! ```text
//!   agency file ─▶ reader ─▶ batches ─▶ delivery (6/7, 1/2) ─▶ winners (3/4/5)     mode draw
//!                                  └──▶ untyped (a batch a connection)             mode batch; mode bet without a file
//!                                       echo                                       mode echo
//!   all of them ─▶ retry (pauses, gives up) ─▶ connection (bytes, deadlines) ─▶ stop (every wait)
//! ```
//!
//! | module | owns |
//! |---|---|
//! | [`reader`], [`batches`] | the agency's file: its valid bets, refused rows; where batches are cut |
//! | [`draw_mode`], [`delivery`], [`winners`] | exercises 7 and 8 |
//! | [`untyped`], [`echo`] | exercises 5 and 6; 1 to 4 |
//! | [`connection`], [`resolve`], [`retry`] | sockets, names, trying again |
//! | [`stop`], [`error`], [`progress`] | signals; how it ends; the bar for somebody who watches |
//!
//! Used by `bin/client`. Everything that is opened logs its closing when it is dropped, so `?` is all that a request to
//! stop needs: it leaves each wait as [`Error::Stopped`], and ends here.

pub mod batches;
pub mod connection;
pub mod delivery;
pub mod draw_mode;
pub mod echo;
pub mod error;
pub mod progress;
pub mod reader;
pub mod resolve;
pub mod retry;
pub mod stop;
pub mod untyped;
pub mod winners;

use std::path::PathBuf;
use std::process::ExitCode;

use self::error::Error;
use self::stop::StopSignal;
use crate::cli;
use crate::config::client::{Config, Mode};
use crate::event;
use crate::exit_code::ExitStatus;
use crate::logging::{self, Targets};

/// The program. `arguments` gives the file of settings that was named, or the end of a program that was only asked for
/// help; it is called when signals are caught already.
pub fn main(arguments: impl FnOnce() -> Result<Option<PathBuf>, ExitCode>) -> ExitCode {
    let stop = StopSignal::subscribe().map_err(Error::Start);
    let named = match arguments() {
        Ok(named) => named,
        Err(end) => return end,
    };
    match stop.and_then(|stop| Ok((prepare(named)?, stop))) {
        Ok((config, stop)) => work(&config, &stop).into(),
        Err(Error::Config(error)) => cli::wrong_use("client", &error),
        Err(error) => {
            logging::complain("client", &error);
            error.exit_status().into()
        }
    }
}

/// Everything between the arguments and the first line of the log.
fn prepare(named: Option<PathBuf>) -> Result<Config, Error> {
    let config = Config::load(named.as_deref())?;
    logging::start(config.log_level, &Targets { stdout: true, syslog: None }).map_err(Error::Start)?;
    Ok(config)
}

/// Plays the agency, from the first line of the log to the last.
fn work(config: &Config, stop: &StopSignal) -> ExitStatus {
    event!(
        Info,
        "config",
        success,
        client_id = config.id,
        server_address = config.server_address,
        loop_amount = config.loop_amount,
        loop_period = config.loop_period_text,
        log_level = config.log_level.as_str(),
        mode = config.mode.as_str(),
    );
    let result = play(config, stop);
    if result.is_ok() {
        // Whoever follows the logs of many containers has them all before the first one is gone. A signal cuts it
        // short, and is looked at in the end.
        let _ = stop.pause(config.log_settle);
    }
    let code = conclude(result, stop);
    logging::finish();
    code
}

/// What the mode does; how many rows of the agency's file were refused.
fn play(config: &Config, stop: &StopSignal) -> Result<u64, Error> {
    match &config.mode {
        Mode::Echo => echo::run(config, stop).map(|()| 0),
        Mode::Bet(bet) => untyped::run_bet(bet, config, stop).map(|()| 0),
        Mode::Batch => untyped::run_batches(config, stop),
        Mode::Draw => draw_mode::run(config, stop),
    }
}

/// The last line, and the exit code that it stands for.
fn conclude(result: Result<u64, Error>, stop: &StopSignal) -> ExitStatus {
    match result {
        Err(error) if !stop.requested() => {
            event!(Critical, "exit", fail, error = error);
            error.exit_status()
        }
        Ok(refused @ 1..) if !stop.requested() => {
            let error = format_args!("{refused} rows of the file were refused, all others were sent");
            event!(Error, "exit", fail, error = error);
            ExitStatus::RowsRefused
        }
        _ => {
            event!(Info, "exit", success);
            ExitStatus::Done
        }
    }
}
