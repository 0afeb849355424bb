//! The client: one betting agency, which sends its bets to the national lottery and asks for its winners.
//!
//! One thread does the work. It waits only in poll(2), for the socket and the signals. A second thread resolves the
//! server's name. Used by `bin/client`.
//!
//! ```text
//!   mode draw:   agency file ─▶ reader ─▶ batches ─▶ delivery (messages 6, 7, 1, 2) ─▶ winners (messages 3, 4, 5)
//!   mode batch:  agency file ─▶ reader ─▶ batches ─▶ untyped (one batch per connection)
//!   mode bet:    untyped (the bet of the settings)
//!   mode echo:   echo
//!
//!   every mode ─▶ retry (pauses, gives up) ─▶ connection (bytes, deadlines) ─▶ stop (every wait)
//! ```
//!
//! After a request to stop, every wait returns [`Error::Stopped`], and `?` passes it up to [`main`]. The connection and
//! the agency's file log their closing when they are dropped, so a stop needs no other code.
//!
//! # Modules, from the bottom up
//!
//! A module imports only from rows above its own in this table.
//!
//! | module | owns |
//! |---|---|
//! | [`question`], [`defect`] | names of the messages that the server must answer; why rows are not bets |
//! | `bet_line` | a line of the file as a bet |
//! | [`error`] | errors: their texts, exit codes, and which are temporary |
//! | [`stop`] | the request to stop; all waits |
//! | [`resolve`], [`socket`], [`retry`], `lines` | addresses; connected sockets; retries; the lines of the file |
//! | [`reader`] | the valid bets and refused rows of the file |
//! | [`connection`], [`batches`], [`progress`] | bytes to and from the server; the limits of a batch; the progress bar |
//! | [`echo`], [`untyped`], [`delivery`], [`winners`] | exercises 1 to 4; 5 and 6; 7 and 8: bets and end; winners |
//! | [`draw_mode`] | exercises 7 and 8 as a whole |

pub mod batches;
mod bet_line;
pub mod connection;
pub mod defect;
pub mod delivery;
pub mod draw_mode;
pub mod echo;
pub mod error;
mod lines;
pub mod progress;
pub mod question;
pub mod reader;
pub mod resolve;
pub mod retry;
pub mod socket;
pub mod stop;
pub mod untyped;
pub mod winners;

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use self::connection::Dialer;
use self::error::Error;
use self::stop::StopSignal;
use crate::cli;
use crate::config;
use crate::config::client::{Config, Mode};
use crate::event;
use crate::exit_code::ExitStatus;
use crate::logging::{self, Targets};
use crate::signals;
use crate::tls::client::Connector;

/// Runs the client. `arguments` returns the settings file from the command line, or the exit code after `--help` or
/// wrong arguments. This function subscribes to signals before it calls `arguments`.
pub fn main(arguments: impl FnOnce() -> Result<Option<PathBuf>, ExitCode>) -> ExitCode {
    let stop = signals::begin().and_then(|()| StopSignal::subscribe()).map_err(Error::Signals);
    let named = match arguments() {
        Ok(named) => named,
        Err(exit_code) => return exit_code,
    };
    match stop.and_then(|stop| Ok((prepare(named, &stop)?, stop))) {
        Ok(((config, tls), stop)) => {
            work(&config, Dialer { address: &config.server_address, tls: tls.as_ref(), stop: &stop }).into()
        }
        // No last line: the settings of the log are not known.
        Err(Error::Stopped) => ExitStatus::Done.into(),
        Err(Error::Config(error)) => cli::wrong_use("client", &error),
        Err(error) => {
            logging::complain("client", &error);
            error.exit_status().into()
        }
    }
}

/// Reads the settings and the files of TLS, and starts the log.
fn prepare(named: Option<PathBuf>, stop: &StopSignal) -> Result<(Config, Option<Connector>), Error> {
    let config = Config::load(named.as_deref(), Some(stop.as_fd())).map_err(|error| match error {
        config::Error::Stopped => Error::Stopped,
        error => Error::Config(error),
    })?;
    logging::start(config.log_level, &Targets { stdout: true, syslog: None }).map_err(Error::Log)?;
    let tls = config.tls.as_ref().map(|files| Connector::load(files, config.id)).transpose()?;
    Ok((config, tls))
}

/// Runs the configured mode between the first and the last log line. Returns the exit status.
fn work(config: &Config, dialer: Dialer<'_>) -> ExitStatus {
    let stop = dialer.stop;
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
        batch_max_amount = config.batch_max_amount,
    );
    let result = run_mode(config, dialer);
    if result.is_ok() {
        // The pause lets a reader of many containers' logs receive all lines before the first container ends. A signal
        // ends the pause; conclude checks for it.
        let _ = stop.pause(config.log_settle);
    }
    let status = conclude(result, stop);
    logging::finish();
    status
}

/// Runs the configured mode. Returns the number of rows of the agency's file that the reader refused.
fn run_mode(config: &Config, dialer: Dialer<'_>) -> Result<u64, Error> {
    match &config.mode {
        Mode::Echo => echo::run(config, dialer).map(|()| 0),
        Mode::Bet(bet) => untyped::run_bet(bet, config, dialer).map(|()| 0),
        Mode::Batch => untyped::run_batches(config, dialer),
        Mode::Draw => draw_mode::run(config, dialer),
    }
}

/// Logs the last line, and returns the matching exit status.
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
