//! The national lottery: one process that accepts connections, and one child for each connection.
//!
//! Owns the parent process: the listener, the table of children, the claims, the waiting queries, the ledger of the draw,
//! and the order in which all of them end. Used by the `server` binary. The parent never reads a client's byte. While it
//! serves, it never blocks on a child, a lock, a log reader or a sync: one wait covers everything, and costs as much as is
//! ready, not as much as is watched.
//!
//! # Modules, from the bottom up
//!
//! A module imports only from rows above its own in this table.
//!
//! | module | owns |
//! |---|---|
//! | `error`, `line`, `budget`, `source`, `unread`, `listener` | how a server ends; connections that wait; how many reports of a child are read in a second; where a connection comes from; ends that could not be read; the listening sockets |
//! | `sources`, `refusals` | how many connections each source has, and its penalty; how many refusals are logged |
//! | `children`, `claims`, `newcomers`, `waiters`, `standstill`, `drawing` | the table of children; who holds which agency; who has a seat, and who must leave; who waits for the draw; whether the holder of the data lock stands still; the child that holds the draw, and the pauses between attempts |
//! | `belief`, `data_lock` | which reports are believed; looks at the data lock, and kills a child that stands still |
//! | `parent` | the event loop, and the phases of its life |
//! | `startup` | lock, bind, adopt, listen; lock, repair, adopt |

mod belief;
mod budget;
mod children;
mod claims;
mod data_lock;
mod drawing;
mod error;
mod line;
mod listener;
mod newcomers;
mod parent;
mod refusals;
mod source;
mod sources;
mod standstill;
mod startup;
mod unread;
mod waiters;

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use ipc::descriptors::Inherited;
use ipc::signals::SignalSource;

pub use self::error::Error;
use self::error::system;
pub use self::startup::Purpose;
use crate::cli;
use crate::config;
use crate::config::server::Config;
use crate::event;
use crate::exit_code::ExitStatus;
use crate::logging;
use crate::signals;

/// The whole program: signals first, then `arguments`, settings, logging, and the server until it is stopped. Descriptors
/// that the program was started with are closed after the settings are read: the file may be one of them, `/dev/fd/3`.
pub fn main(arguments: impl FnOnce() -> Result<(Option<PathBuf>, Purpose), ExitCode>) -> ExitCode {
    let begun = signals::begin();
    let inherited = Inherited::list();
    let signals = begun.and_then(|()| SignalSource::subscribe(&signals::STOP));
    let (file, purpose) = match arguments() {
        Ok(arguments) => arguments,
        Err(exit) => return exit,
    };
    let config = match Config::load(file.as_deref(), signals.as_ref().ok().map(AsFd::as_fd)) {
        Ok(config) => config,
        // No last line: the settings of the log are not known.
        Err(config::Error::Stopped) => return ExitStatus::Done.into(),
        Err(e) => return cli::wrong_use("server", &e),
    };
    let signals = inherited.and_then(|inherited| {
        inherited.close();
        signals
    });
    match logging::start(config.logging_level, &config.log_targets) {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::InvalidInput => return cli::wrong_use("server", &e),
        Err(e) => {
            let e = system("log")(e);
            logging::complain("server", &e);
            return e.exit_status().into();
        }
    }
    let ended = signals.map_err(system("start")).and_then(|signals| run(config, purpose, signals));
    let exit = conclude(ended);
    logging::finish();
    exit
}

fn run(config: Config, purpose: Purpose, signals: SignalSource) -> Result<(), Error> {
    let (port, backlog, level) = (config.port, config.listen_backlog, config.logging_level.as_str());
    event!(Debug, "config", success, port = port, listen_backlog = backlog, logging_level = level);
    if purpose == Purpose::Repair {
        return startup::repair(&config, &signals);
    }
    let mut server = startup::start(config, purpose, signals)?;
    logging::queue_instead_of_waiting();
    let served = server.serve();
    server.close();
    served
}

/// Logs the last line; returns the exit code.
fn conclude(ended: Result<(), Error>) -> ExitCode {
    match ended {
        Ok(()) | Err(Error::Stopped) => {
            event!(Info, "exit", success);
            ExitStatus::Done.into()
        }
        Err(e) if e.exit_status() == ExitStatus::WrongUse => cli::wrong_use("server", &e),
        Err(e) => {
            event!(Critical, "exit", fail, error = e);
            e.exit_status().into()
        }
    }
}
