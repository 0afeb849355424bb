//! From settings to a server that listens: lock, bind, adopt, listen. Each step that fails leaves the running server and
//! the files of others untouched.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ipc::events::{self, PollFd, PollFlags, Poller};
use ipc::signals::{self, Signal, SignalSource};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::children::Children;
use super::claims::Claims;
use super::draw::Drawing;
use super::error::{Error, system};
use super::listener::Listener;
use super::waiters::Waiters;
use super::{CHILD_ENDED, FIRST_CHILD, Phase, STOP, Server};
use crate::config::server::Config;
use crate::draw::Ledger;
use crate::event;
use crate::session::Common;
use crate::storage::Files;
use crate::storage::start::{self, Adopted};

/// How long to wait for the children of a server that has just been killed; they die within milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Descriptors of the parent besides one a child: standard streams, files, listener, epoll, pipes, and one connection
/// between accept and fork.
const OWN_DESCRIPTORS: u64 = 32;

/// Whether the files of an earlier lottery are moved aside first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewDraw {
    /// They are adopted.
    No,
    /// They are moved aside.
    Yes,
}

impl From<bool> for NewDraw {
    /// As the flag `--new-draw` says.
    fn from(flag: bool) -> Self {
        if flag { Self::Yes } else { Self::No }
    }
}

impl Server {
    /// `None` where the stop signal came before it listened.
    pub(super) fn start(config: Config, new_draw: NewDraw, stop: SignalSource) -> Result<Option<Self>, Error> {
        raise_descriptor_limit(config.max_connections)?;
        // A file-size limit must be an error of write(2), not the end of the process.
        signals::disarm(&[Signal::SIGXFSZ]).map_err(system("sigaction"))?;
        let child_ended = SignalSource::subscribe(&[Signal::SIGCHLD]).map_err(system("sigaction"))?;
        let files = Files::beside(&config.storage);
        if !files.are_distinct() {
            return Err(Error::StorageName { path: config.storage });
        }
        let Some(server_lock) = lock_out_others(&files, &stop)? else { return Ok(None) };
        let refused = |source| Error::Listen { port: config.port, source };
        let listener = Listener::bind(config.port).map_err(refused)?;
        if new_draw == NewDraw::Yes {
            for aside in start::move_aside(&files)? {
                event!(Info, "new_draw", success, archivo = aside.display());
            }
        }
        let prepared = start::prepare(&files, config.durability);
        if is_requested(&stop, Instant::now())? {
            return Ok(None);
        }
        let (store, adopted) = prepared?;
        let port = listener.listen(config.listen_backlog).map_err(refused)?;
        event!(Info, "listen", success, port = port);

        let mut ledger = Ledger::new(config.client_amount);
        adopted.ended.iter().for_each(|&agency| ledger.end(agency));
        if adopted.drawn.is_some() {
            ledger.hold_draw();
        }
        tell_adopted(&adopted, &ledger, &config);
        let poller = Poller::new().map_err(system("epoll_create"))?;
        poller.watch_readable(&stop, STOP).map_err(system("epoll_ctl"))?;
        poller.watch_readable(&child_ended, CHILD_ENDED).map_err(system("epoll_ctl"))?;
        Ok(Some(Self {
            store,
            poller,
            listener: Some(listener),
            stop,
            child_ended,
            children: Children::new(FIRST_CHILD),
            claims: Claims::default(),
            waiters: Waiters::new(config.draw_wait),
            ledger,
            drawing: Drawing::default(),
            phase: Phase::Serving,
            broken: false,
            log_watched: false,
            common: Rc::new(Common { config, files, tally: adopted.tally, server_lock }),
        }))
    }
}

/// Takes the server lock; `None` where the stop signal came first.
fn lock_out_others(files: &Files, stop: &SignalSource) -> Result<Option<File>, Error> {
    let mut server_lock = start::open_server_lock(files)?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    let mut told = false;
    while let Some(holder) = start::lock_out_others(&mut server_lock, files)? {
        if Instant::now() >= deadline {
            let directory = files.server_lock.parent().unwrap_or(Path::new("")).display().to_string();
            return Err(Error::Locked { directory, holder });
        }
        if !told {
            event!(Warning, "lock", in_progress, archivo = files.server_lock.display(), pid = holder);
            told = true;
        }
        if is_requested(stop, Instant::now() + LOCK_PAUSE)? {
            return Ok(None);
        }
    }
    Ok(Some(server_lock))
}

/// Whether the stop signal comes, or has come, before `deadline`.
fn is_requested(stop: &SignalSource, deadline: Instant) -> Result<bool, Error> {
    let mut stop_ready = [PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
    Ok(events::wait(&mut stop_ready, Some(deadline)).map_err(system("poll"))? > 0)
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

fn tell_adopted(adopted: &Adopted, ledger: &Ledger, config: &Config) {
    if adopted.is_empty() {
        return;
    }
    let sorteo = if ledger.is_drawn() { "held" } else { "not held" };
    let anew = "server --new-draw moves these files aside";
    let (bets, ended) = (adopted.tally.bets(), adopted.ended.len());
    event!(
        Info,
        "adopt_storage",
        success,
        apuestas = bets,
        agencias_terminadas = ended,
        sorteo = sorteo,
        otra_loteria = anew
    );
    if let Some(drawn) = &adopted.drawn
        && (drawn.agencies, drawn.winning_number) != (config.client_amount, config.winning_number)
    {
        let (agencies, number) = (drawn.agencies, drawn.winning_number);
        event!(
            Warning,
            "config",
            in_progress,
            aviso = "the draw was held with other settings and is final",
            agencias = agencies,
            numero = number
        );
    }
}
