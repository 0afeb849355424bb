//! The start of a server, in four steps: lock, bind, adopt, listen.
//!
//! 1. Lock: take the life lock on `bets.csv`, so that no second server uses the same files.
//! 2. Bind: reserve the port.
//! 3. Adopt: continue the lottery that an earlier server left in the files, or make the files.
//! 4. Listen: let clients connect.
//!
//! The command `--repair` takes the same lock, repairs the files, and ends after step 3.
//!
//! Used only by the server's `main`. Until steps 1 and 2 have succeeded, the start changes no file; it only makes
//! an empty `bets.csv` for a new lottery. So a second server does not disturb a server that already runs.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ipc::descriptors::FIRST_PARKED;
use ipc::events::{self, PollFd, PollFlags};
use ipc::nursery::{MOST_HELD, Nursery};
use ipc::sandbox::Sandbox;
use ipc::signals::{Signal, SignalSource};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::error::{Error, system};
use super::listener::Listener;
use super::parent::Server;
use crate::config::server::{Config, MaxConnections, Sandboxing};
use crate::draw::Ledger;
use crate::event;
use crate::session::Common;
use crate::storage::lifelock::{LifeLock, Lockout, MissingBets};
use crate::storage::repair::{self, Settings};
use crate::storage::start::{self, Adopted};
use crate::storage::{Paths, Store, new_draw};
use crate::tls::server::Acceptor;

/// How long to wait for the life lock. If a server was just killed, its children still hold the lock for some
/// milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two attempts to take the life lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Descriptors that the parent needs in addition to one link for each child: standard streams, files, listener, epoll,
/// signals, the nursery's pipe, and one connection between accept and fork.
const OWN_DESCRIPTORS: u64 = 32;
/// More descriptor numbers, if the hard limit allows them: the low ones that stay free for new children, and the two
/// descriptors that the parent holds for each of them.
const ROOM_FOR_NEW_CHILDREN: u64 = FIRST_PARKED as u64 + 2 * MOST_HELD as u64;

/// Why the server was started, from its command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To continue the lottery in the files that it finds.
    Continue,
    /// To begin a new lottery: it first renames the files that it finds, with a time stamp.
    NewLottery,
    /// To repair the files that it finds, or to convert those of an older version, and to end.
    Repair,
}

/// Runs the four steps of the module's documentation. Returns a server that listens.
///
/// # Errors
/// [`Error::Sandbox`] if SANDBOX=require and the kernel lacks a part of the sandbox; [`Error::Descriptors`] if the hard
/// limit of descriptors is too low for MAX_CONNECTIONS, and [`Error::DescriptorsOfAgencies`] if it is too low for the
/// agencies; [`Error::StorageName`] if two files of the lottery would have the same path; [`Error::Tls`] if a file of TLS
/// cannot be used; [`Error::Locked`] if another server still holds the life lock after 5 s; [`Error::Listen`] if the port
/// cannot be used; [`Error::Storage`] if the files cannot be used; [`Error::Stopped`] after a stop signal;
/// [`Error::System`] if any other system call fails.
pub fn start(mut config: Config, purpose: Purpose, stop: SignalSource) -> Result<Server, Error> {
    let sandbox = probe_sandbox(config.sandbox)?;
    let room_for_new_children = fit_into_descriptor_limit(&mut config)?;
    let child_ended = SignalSource::subscribe(&[Signal::SIGCHLD]).map_err(system("sigaction"))?;
    let tls = config.tls.as_ref().map(|tls| Acceptor::load(&tls.files)).transpose()?;
    let paths = paths_of(&config)?;
    let missing = if purpose == Purpose::NewLottery { MissingBets::Make } else { MissingBets::Refuse };
    let mut life_lock = lock(&paths, missing, &stop)?;
    let listener = bind(&config)?;
    if purpose == Purpose::NewLottery {
        let (lock, moved) = new_draw::set_aside(&paths, life_lock)?;
        life_lock = lock;
        moved.iter().for_each(|aside| event!(Info, "new_draw", success, archivo = aside.display()));
    }
    let (store, Adopted { slots, ended, drawn, location, .. }) = adopt(&paths, &life_lock, &config, &stop)?;
    let mut ledger = Ledger::new(config.client_amount);
    ended.iter().for_each(|&agency| ledger.end(agency));
    if drawn.is_some() {
        ledger.record_draw();
    }
    let nursery = Nursery::new(room_for_new_children).map_err(system("pipe"))?;
    let common = Common { config, location, life_lock, sandbox, tls };
    // The files are made and the port is bound. No client can connect before this.
    sandbox.begin().map_err(system("seccomp"))?;
    Server::listen(common, (listener, nursery), store, (ledger, slots), [stop, child_ended])
}

/// Asks what the kernel has for a sandbox; logs a warning if something is missing and may be.
fn probe_sandbox(wanted: Sandboxing) -> Result<Sandbox, Error> {
    if wanted == Sandboxing::Off {
        return Ok(Sandbox::OFF);
    }
    let (sandbox, missing) = Sandbox::probe();
    let missing = missing.join(", ");
    match wanted {
        Sandboxing::Require if !missing.is_empty() => return Err(Error::Sandbox { missing }),
        _ if missing.is_empty() => {}
        _ => event!(Warning, "sandbox", in_progress, missing = missing),
    }
    Ok(sandbox)
}

/// The command `--repair`: makes a plan, carries it out, and adopts the files as a start does. Binds no port.
///
/// # Errors
/// [`Error::StorageName`] and [`Error::Locked`] as for [`start`]; [`Error::Storage`] if the files cannot be repaired, and
/// then no file has changed; [`Error::Stopped`] after a stop signal; [`Error::System`] if another system call fails.
pub fn repair(config: &Config, stop: &SignalSource) -> Result<(), Error> {
    let paths = paths_of(config)?;
    let bets_are_missing = !paths.bets.exists();
    let mut life_lock = lock(&paths, MissingBets::Make, stop)?;
    let settings = Settings { agencies: config.client_amount, winning_number: config.winning_number };
    let stopped = || pause(stop, Instant::now()).is_err();
    let planned = repair::plan(&paths, &life_lock, settings, &stopped);
    if planned.is_err() && bets_are_missing && life_lock.bets().metadata().is_ok_and(|bets| bets.len() == 0) {
        // This command has made the file. If it stays, it is an empty file of the same lottery.
        let _ = std::fs::remove_file(&paths.bets);
    }
    pause(stop, Instant::now())?;
    let plan = planned?;
    plan.log(&paths);
    if bets_are_missing {
        let aviso = "the file was missing: no bet is left";
        event!(Warning, "repair", in_progress, archivo = paths.bets.display(), aviso = aviso);
    }
    let repaired = plan.carry_out(&paths, life_lock, &stopped);
    pause(stop, Instant::now())?;
    life_lock = repaired?;
    let (_, adopted) = adopt(&paths, &life_lock, config, stop)?;
    event!(
        Info,
        "repair",
        success,
        apuestas = adopted.bets,
        agencias_terminadas = adopted.ended.len(),
        sorteo = if adopted.drawn.is_some() { "held" } else { "not held" }
    );
    Ok(())
}

/// The names of the files.
fn paths_of(config: &Config) -> Result<Paths, Error> {
    let paths = Paths::around(&config.storage)?;
    if paths.are_distinct() { Ok(paths) } else { Err(Error::StorageName { path: config.storage.clone() }) }
}

/// Takes the life lock. Waits for it up to [`LOCK_PATIENCE`].
fn lock(paths: &Paths, missing: MissingBets, stop: &SignalSource) -> Result<LifeLock, Error> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    let mut logged = false;
    loop {
        let holder = match LifeLock::try_take(paths, missing)? {
            Lockout::Locked(lock) => return Ok(lock),
            Lockout::HeldBy(holder) => holder,
        };
        if Instant::now() >= deadline {
            return Err(Error::Locked { path: paths.bets.clone(), holder });
        }
        if !logged {
            event!(Warning, "lock", in_progress, archivo = paths.bets.display(), pid = holder);
            logged = true;
        }
        pause(stop, Instant::now() + LOCK_PAUSE)?;
    }
}

/// Reserves the port. No client can connect yet.
fn bind(config: &Config) -> Result<Listener, Error> {
    Listener::bind(config.port, &config.listen_addresses).map_err(|(at, source)| Error::Listen { at, source })
}

/// Makes the missing files, reads the existing ones, and logs a summary of their content.
fn adopt(paths: &Paths, lock: &LifeLock, config: &Config, stop: &SignalSource) -> Result<(Store, Adopted), Error> {
    let stopped = || pause(stop, Instant::now()).is_err();
    let prepared = start::prepare(paths, lock, config.durability, config.client_amount, &stopped);
    // If a stop signal has arrived meanwhile, the start ends as stopped, even if the files could not be used.
    pause(stop, Instant::now())?;
    let (store, adopted) = prepared?;
    log_adopted(&adopted, config);
    Ok((store, adopted))
}

/// Waits until `until`. If a stop signal arrives during the wait, or has arrived before it, returns [`Error::Stopped`].
fn pause(stop: &SignalSource, until: Instant) -> Result<(), Error> {
    let mut stop_ready = [PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
    match events::wait(&mut stop_ready, Some(until)).map_err(system("poll"))? {
        0 => Ok(()),
        _ => Err(Error::Stopped),
    }
}

/// Raises the soft limit of descriptors as far as MAX_CONNECTIONS requires: the parent holds one descriptor for each child,
/// its end of the link. If even the hard limit is too low for the default of MAX_CONNECTIONS, lowers that default. Returns
/// how many new children may leave their two descriptors open in the parent for a moment.
fn fit_into_descriptor_limit(config: &mut Config) -> Result<usize, Error> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|e| system("getrlimit")(e.into()))?;
    let needed_for = |connections: u32| u64::from(connections) + OWN_DESCRIPTORS;
    match config.max_connections {
        MaxConnections::Set(max_connections) if hard < needed_for(max_connections) => {
            return Err(Error::Descriptors { max_connections, needed: needed_for(max_connections), limit: hard });
        }
        MaxConnections::Default(wanted) if hard < needed_for(wanted) => {
            config.max_connections = MaxConnections::Default(lowered(hard, config.client_amount)?);
        }
        _ => {}
    }
    let needed = needed_for(config.max_connections.get());
    let wanted = (needed + ROOM_FOR_NEW_CHILDREN).min(hard);
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).map_err(|e| system("setrlimit")(e.into()))?;
    }
    Ok(usize::try_from((soft.max(wanted) - needed) / 2).unwrap_or(usize::MAX))
}

/// The most connections that the hard limit allows; logs a warning. They must include one for each agency and one more.
fn lowered(hard: u64, agencies: u32) -> Result<u32, Error> {
    let room = u32::try_from(hard.saturating_sub(OWN_DESCRIPTORS)).unwrap_or(u32::MAX);
    if room <= agencies {
        let needed = u64::from(agencies) + 1 + OWN_DESCRIPTORS;
        return Err(Error::DescriptorsOfAgencies { agencies, needed, limit: hard });
    }
    event!(
        Warning,
        "config",
        in_progress,
        aviso = "the hard limit of descriptors lowers the default of MAX_CONNECTIONS",
        max_connections = room,
        descriptores = hard
    );
    Ok(room)
}

/// Logs one line about the files, unless they are empty, and a warning if their draw was held with other settings.
fn log_adopted(adopted: &Adopted, config: &Config) {
    if adopted.is_empty() {
        return;
    }
    event!(
        Info,
        "adopt_storage",
        success,
        apuestas = adopted.bets,
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
