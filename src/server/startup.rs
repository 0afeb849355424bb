//! From settings to a server that listens: lock, bind, adopt, listen. A step that fails leaves a running server, and the
//! files of other programs, untouched.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ipc::events::{self, PollFd, PollFlags};
use ipc::signals::{self, Signal, SignalSource};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::error::{Error, system};
use super::listener::Listener;
use super::parent::Server;
use crate::config::server::Config;
use crate::draw::Ledger;
use crate::event;
use crate::session::Common;
use crate::storage::start::{self, Adopted, Lockout};
use crate::storage::{Paths, Store};

/// How long to wait for the children of a server that has just been killed; they die within milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Descriptors of the parent besides one for each child: standard streams, files, listener, epoll, pipes, and one
/// connection between accept and fork.
const OWN_DESCRIPTORS: u64 = 32;

/// Whether the files of an earlier lottery are moved aside before the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewDraw {
    /// They are adopted.
    No,
    /// They are moved aside.
    Yes,
}

impl From<bool> for NewDraw {
    /// The meaning of the flag `--new-draw`.
    fn from(flag: bool) -> Self {
        if flag { Self::Yes } else { Self::No }
    }
}

/// Starts a server.
///
/// # Errors
/// Every variant of [`Error`] but [`Error::StorageBroken`].
pub fn start(config: Config, new_draw: NewDraw, stop: SignalSource) -> Result<Server, Error> {
    raise_descriptor_limit(config.max_connections)?;
    // A file-size limit must be an error of write(2), not the end of the process.
    signals::disarm(&[Signal::SIGXFSZ]).map_err(system("sigaction"))?;
    let child_ended = SignalSource::subscribe(&[Signal::SIGCHLD]).map_err(system("sigaction"))?;
    let paths = Paths::beside(&config.storage);
    if !paths.are_distinct() {
        return Err(Error::StorageName { path: config.storage });
    }
    let server_lock = lock(&paths, &stop)?;
    let listener = bind(&config)?;
    if new_draw == NewDraw::Yes {
        for aside in start::move_aside(&paths)? {
            event!(Info, "new_draw", success, archivo = aside.display());
        }
    }
    let (store, Adopted { tallies, ended, drawn }) = adopt(&paths, &config, &stop)?;
    let mut ledger = Ledger::new(config.client_amount);
    ended.iter().for_each(|&agency| ledger.end(agency));
    if drawn.is_some() {
        ledger.hold_draw();
    }
    listen(&listener, &config)?;
    Server::new(Common { config, paths, tallies, server_lock }, listener, store, ledger, [stop, child_ended])
}

/// Takes the server lock.
fn lock(paths: &Paths, stop: &SignalSource) -> Result<File, Error> {
    let mut server_lock = start::open_server_lock(paths)?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    let mut logged = false;
    while let Lockout::HeldBy(holder) = start::lock_out_others(&mut server_lock, paths)? {
        if Instant::now() >= deadline {
            let directory =
                paths.server_lock.parent().expect("a file name follows the directory").display().to_string();
            return Err(Error::Locked { directory, holder });
        }
        if !logged {
            event!(Warning, "lock", in_progress, archivo = paths.server_lock.display(), pid = holder);
            logged = true;
        }
        pause(stop, Instant::now() + LOCK_PAUSE)?;
    }
    Ok(server_lock)
}

/// Reserves the port. No client can connect yet.
fn bind(config: &Config) -> Result<Listener, Error> {
    Listener::bind(config.port).map_err(refused(config))
}

/// Makes missing files, adopts the others, and logs what they hold.
fn adopt(paths: &Paths, config: &Config, stop: &SignalSource) -> Result<(Store, Adopted), Error> {
    let prepared = start::prepare(paths, config.durability);
    // A stop that came meanwhile matters more than a failure.
    pause(stop, Instant::now())?;
    let (store, adopted) = prepared?;
    log_adopted(&adopted, config);
    Ok((store, adopted))
}

/// Lets clients connect.
fn listen(listener: &Listener, config: &Config) -> Result<(), Error> {
    let port = listener.listen(config.listen_backlog).map_err(refused(config))?;
    event!(Info, "listen", success, port = port);
    Ok(())
}

fn refused(config: &Config) -> impl FnOnce(std::io::Error) -> Error {
    let port = config.port;
    move |source| Error::Listen { port, source }
}

/// Lets time pass until `until`. A stop signal, also an earlier one, ends the start with [`Error::Stopped`].
fn pause(stop: &SignalSource, until: Instant) -> Result<(), Error> {
    let mut stop_ready = [PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
    match events::wait(&mut stop_ready, Some(until)).map_err(system("poll"))? {
        0 => Ok(()),
        _ => Err(Error::Stopped),
    }
}

/// Every child costs the parent one descriptor.
fn raise_descriptor_limit(max_connections: u32) -> Result<(), Error> {
    let needed = u64::from(max_connections) + OWN_DESCRIPTORS;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|e| system("getrlimit")(e.into()))?;
    if hard < needed {
        return Err(Error::Descriptors { max_connections, needed, limit: hard });
    }
    if soft < needed {
        setrlimit(Resource::RLIMIT_NOFILE, needed, hard).map_err(|e| system("setrlimit")(e.into()))?;
    }
    Ok(())
}

fn log_adopted(adopted: &Adopted, config: &Config) {
    if adopted.is_empty() {
        return;
    }
    event!(
        Info,
        "adopt_storage",
        success,
        apuestas = adopted.tallies.bets(),
        agencias_terminadas = adopted.ended.len(),
        sorteo = if adopted.drawn.is_some() { "held" } else { "not held" },
        otra_loteria = "server --new-draw moves these files aside"
    );
    if let Some(drawn) = &adopted.drawn
        && (drawn.agencies, drawn.winning_number) != (config.client_amount, config.winning_number)
    {
        event!(
            Warning,
            "config",
            in_progress,
            aviso = "the draw was held with other settings and is final",
            agencias = drawn.agencies,
            numero = drawn.winning_number
        );
    }
}
