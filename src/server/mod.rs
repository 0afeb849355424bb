//! The national lottery: one process that accepts, and one child per connection that serves.
//!
//! Owns the parent: listener, table of children, claims, waiting queries, the ledger of the draw, and the order in which
//! all that ends. Used by the `server` binary. The parent never reads a client's byte, and while it serves it never
//! blocks on a child, a lock, a log reader or a sync: one wait covers everything, and costs what is ready, not what is
//! there.

mod children;
mod claims;
mod draw;
mod error;
mod listener;
mod startup;
mod waiters;

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ipc::events::Poller;
use ipc::link::Incoming;
use ipc::process::{self, Exit};
use ipc::signals::{Signal, SignalSource};

use self::children::{Child, Children, Token};
use self::claims::Claims;
use self::draw::Drawing;
pub use self::error::Error;
use self::error::system;
use self::listener::Listener;
pub use self::startup::NewDraw;
use self::waiters::Waiters;
use crate::cli;
use crate::config::server::Config;
use crate::draw::Ledger;
use crate::event;
use crate::logging;
use crate::messages::{self, ParentEnd, Report};
use crate::session::{self, Common, Given, Session};
use crate::storage::Store;

/// What ends a server, and with it every child.
pub const STOP_SIGNALS: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];

/// Tokens of what is not a child's link.
const LISTENER: Token = Token(0);
const STOP: Token = Token(1);
const CHILD_ENDED: Token = Token(2);
const LOG: Token = Token(3);
const FIRST_CHILD: Token = Token(16);

/// Connections accepted in one turn, so that a flood of them does not keep the parent from its children.
const ACCEPTS_A_TURN: usize = 16;
/// How long killed children may take to be gone; the kernel kills the rest when the parent ends.
const KILL_PATIENCE: Duration = Duration::from_millis(500);

/// The whole program: signals first, then `arguments`, settings, logging, and the server until it is told to stop.
pub fn main(arguments: impl FnOnce() -> Result<(Option<PathBuf>, NewDraw), ExitCode>) -> ExitCode {
    let prepared = process::close_inherited().and_then(|()| SignalSource::subscribe(&STOP_SIGNALS));
    let (file, new_draw) = match arguments() {
        Ok(arguments) => arguments,
        Err(exit) => return exit,
    };
    let config = match Config::load(file.as_deref()) {
        Ok(config) => config,
        Err(e) => return cli::wrong_use("server", &e),
    };
    if let Err(e) = logging::start(config.logging_level, &config.log_targets).map_err(system("log")) {
        logging::complain("server", &e);
        return ExitCode::from(e.exit_code());
    }
    let ended = prepared.map_err(system("start")).and_then(|stop| run(config, new_draw, stop));
    let exit = conclude(ended);
    logging::finish();
    exit
}

/// The last line, and the exit code.
fn conclude(ended: Result<(), Error>) -> ExitCode {
    match ended {
        Ok(()) => {
            event!(Info, "exit", success);
            ExitCode::SUCCESS
        }
        Err(e) if e.exit_code() == cli::WRONG_USE => cli::wrong_use("server", &e),
        Err(e) => {
            event!(Critical, "exit", fail, error = e);
            ExitCode::from(e.exit_code())
        }
    }
}

fn run(config: Config, new_draw: NewDraw, stop: SignalSource) -> Result<(), Error> {
    let (port, backlog, level) = (config.port, config.listen_backlog, config.logging_level.as_str());
    event!(Debug, "config", success, port = port, listen_backlog = backlog, logging_level = level);
    let Some(mut server) = Server::start(config, new_draw, stop)? else { return Ok(()) };
    logging::queue_instead_of_waiting();
    let served = server.serve();
    server.close();
    served
}

/// The parent process.
struct Server {
    common: Rc<Common>,
    store: Store,
    poller: Poller,
    listener: Option<Listener>,
    stop: SignalSource,
    child_ended: SignalSource,
    children: Children,
    claims: Claims,
    waiters: Waiters,
    ledger: Ledger,
    drawing: Drawing,
    phase: Phase,
    broken: bool,
    log_watched: bool,
}

/// Where the server is between start and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Children finish their current message.
    Stopping {
        until: Instant,
    },
    /// Children have been killed.
    Killing {
        until: Instant,
    },
}

impl Server {
    fn serve(&mut self) -> Result<(), Error> {
        let mut ready = Vec::new();
        event!(Info, "accept_connections", in_progress);
        self.hold_draw_if_due();
        while !self.is_done() {
            self.watch_log();
            self.watch_listener();
            ready.clear();
            self.poller.wait(self.next_deadline(), &mut ready).map_err(system("epoll_wait"))?;
            ready.iter().for_each(|&token| self.handle(token));
            self.expire(Instant::now());
        }
        if self.broken { Err(Error::StorageBroken) } else { Ok(()) }
    }

    fn handle(&mut self, token: Token) {
        match token {
            LISTENER => self.accept(),
            STOP => self.stop_signaled(),
            CHILD_ENDED => self.reap(),
            LOG => logging::flush(),
            child => self.hear(child),
        }
    }

    fn is_done(&self) -> bool {
        match self.phase {
            Phase::Serving => false,
            Phase::Stopping { .. } => self.children.is_empty() && !self.drawing.is_running(),
            Phase::Killing { until } => {
                (self.children.is_empty() && !self.drawing.is_running()) || until <= Instant::now()
            }
        }
    }

    // ---- time ----

    fn next_deadline(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Serving => None,
            Phase::Stopping { until } | Phase::Killing { until } => Some(until),
        };
        let listener = self.listener.as_ref().and_then(Listener::deadline);
        let draw = self.drawing.deadline().filter(|_| self.phase == Phase::Serving);
        [phase, listener, draw, self.claims.deadline(), self.waiters.deadline()].into_iter().flatten().min()
    }

    fn expire(&mut self, now: Instant) {
        while let Some(token) = self.claims.expired(now) {
            self.tell(token, ParentEnd::refuse_claim);
        }
        while let Some(token) = self.waiters.expired(now) {
            self.tell(token, ParentEnd::announce_no_draw);
        }
        if matches!(self.phase, Phase::Stopping { until } if until <= now) {
            self.kill_children();
        }
        self.hold_draw_if_due();
    }

    // ---- connections ----

    fn watch_listener(&mut self) {
        let wanted = self.children.len() < self.common.config.max_connections as usize;
        if let Some(listener) = &mut self.listener {
            listener.watch(&self.poller, LISTENER, wanted);
        }
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_A_TURN {
            if self.children.len() >= self.common.config.max_connections as usize {
                return;
            }
            let Some(accepted) = self.listener.as_mut().and_then(Listener::accept) else { return };
            event!(Info, "accept_connections", success, ip = accepted.1.ip());
            if let Err((call, e)) = self.fork_session(accepted)
                && let Some(listener) = &mut self.listener
            {
                listener.back_off(call, &e);
                return;
            }
            event!(Info, "accept_connections", in_progress);
        }
    }

    /// Fails with the system call that did.
    fn fork_session(&mut self, (client, peer): (TcpStream, SocketAddr)) -> Result<(), (&'static str, io::Error)> {
        let (parent_end, link) = messages::link().map_err(|e| ("socketpair", e))?;
        let given = Given { client, peer: peer.ip(), link, common: self.common.clone(), ledger: self.ledger.clone() };
        let pid = process::spawn(given, &STOP_SIGNALS, |given, stop| {
            logging::forked();
            Session::run(given, stop)
        });
        let pid = pid.map_err(|e| ("fork", e))?;
        // One that is not heard would wait for its claim for ever.
        self.children.register(&self.poller, pid, peer.ip(), parent_end).map_err(|e| {
            process::kill(pid);
            ("epoll_ctl", e)
        })
    }

    // ---- children ----

    fn hear(&mut self, token: Token) {
        loop {
            let Some(child) = self.children.get(token) else { return };
            match child.link().next_report() {
                Ok(Incoming::Message(report)) => self.take(token, report),
                Ok(Incoming::Nothing) => return,
                Ok(Incoming::Closed) => return self.children.stop_watching(&self.poller, token),
                Err(e) => {
                    give_up(child, &e);
                    return self.children.stop_watching(&self.poller, token);
                }
            }
        }
    }

    fn take(&mut self, token: Token, report: Report) {
        match report {
            Report::Claim(agency) => {
                let Some(child) = self.children.get(token) else { return };
                if *child.agency.get_or_insert(agency) != agency {
                    return give_up(child, &io::Error::other("a second agency was claimed"));
                }
                if self.claims.claim(agency, token, Instant::now()) {
                    self.grant(token);
                }
            }
            Report::AwaitDraw(agency) => {
                if self.ledger.is_drawn() {
                    self.tell(token, ParentEnd::announce_draw);
                } else if self.common.config.client_amount == 0 || !self.waiters.wait(agency, token, Instant::now()) {
                    self.tell(token, ParentEnd::announce_no_draw);
                }
            }
            Report::Ended(agency) => self.ledger.end(agency),
            Report::StorageBroken => self.break_down(),
            Report::LinesLost(lines) => logging::add_lost(lines),
        }
    }

    fn grant(&mut self, token: Token) {
        let Some(child) = self.children.get(token) else { return };
        let ended = self.ledger.is_drawn() || child.agency.is_some_and(|agency| self.ledger.has_ended(agency));
        self.tell(token, |link| link.grant_claim(ended));
    }

    /// A child that is gone needs no telling, and its end frees its claim; one that cannot be told would wait for ever.
    fn tell(&mut self, token: Token, verb: impl Fn(&ParentEnd) -> io::Result<()>) {
        let Some(child) = self.children.get(token) else { return };
        match verb(child.link()) {
            Err(e) if !matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => give_up(child, &e),
            _ => {}
        }
    }

    fn reap(&mut self) {
        self.child_ended.drain();
        while let Some((pid, exit)) = process::reap() {
            if self.drawing.is_child(pid) {
                self.draw_child_ended(exit);
            } else if let Some(token) = self.children.token_of(pid) {
                self.session_ended(token, exit);
            }
        }
    }

    /// What it had reported is taken, what it had claimed is free, and it is forgotten.
    fn session_ended(&mut self, token: Token, exit: Exit) {
        self.hear(token);
        self.adopt_ends(token);
        let Some(child) = self.children.forget(&self.poller, token) else { return };
        self.waiters.leave(token);
        if let Some(next) = self.claims.release(child.agency, token) {
            self.grant(next);
        }
        log_exit(&child, exit);
        if exit == Exit::Code(session::STORAGE_BROKEN.into()) {
            self.break_down();
        }
    }

    /// A child may have recorded the end of its agency and died, or failed, before it could report it.
    fn adopt_ends(&mut self, token: Token) {
        let agency = self.children.get(token).and_then(|child| child.agency);
        if agency.is_none_or(|agency| self.ledger.has_ended(agency)) {
            return;
        }
        match self.store.ended() {
            Ok(ended) => ended.into_iter().for_each(|agency| self.ledger.end(agency)),
            Err(e) => event!(Error, "leer_fines", fail, error = e),
        }
    }

    // ---- the end ----

    fn stop_signaled(&mut self) {
        let mut signals = self.stop.drain();
        if signals > 0 && self.phase == Phase::Serving {
            event!(Info, "shutdown", in_progress, hijos = self.children.len());
            self.begin_stop();
            signals -= 1;
        }
        if signals > 0 {
            self.kill_children();
        }
    }

    fn break_down(&mut self) {
        if !self.broken {
            event!(Critical, "storage", fail, error = Error::StorageBroken);
        }
        self.broken = true;
        if self.phase == Phase::Serving {
            self.begin_stop();
        }
    }

    fn begin_stop(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.close(&self.poller);
        }
        self.children.stop_all();
        self.phase = Phase::Stopping { until: Instant::now() + self.common.config.shutdown_grace };
    }

    fn kill_children(&mut self) {
        if matches!(self.phase, Phase::Killing { .. }) {
            return;
        }
        if !self.children.is_empty() {
            event!(Warning, "kill_children", success, hijos = self.children.len());
        }
        self.children.kill_all();
        self.drawing.kill();
        self.phase = Phase::Killing { until: Instant::now() + KILL_PATIENCE };
    }

    fn close(self) {
        let Self { store, common, children, .. } = self;
        drop(children);
        event!(Info, "close_links", success);
        drop(store);
        event!(Info, "close_storage", success, archivo = common.files.bets.display());
    }

    fn watch_log(&mut self) {
        let wanted = logging::is_queued();
        if wanted != self.log_watched {
            let changed = match wanted {
                true => self.poller.watch_writable(io::stdout(), LOG),
                false => self.poller.remove(io::stdout()),
            };
            // What cannot be watched never blocks, or is tried again with the next line.
            self.log_watched = wanted && changed.is_ok();
        }
    }
}

/// Ends a child that no longer understands its parent, or is not understood; its client will ask anew.
fn give_up(child: &Child, why: &io::Error) {
    event!(Error, "link", fail, pid = child.pid, error = why);
    process::kill(child.pid);
}

fn log_exit(child: &Child, exit: Exit) {
    let agencia = child.agency.map_or_else(|| "-".to_owned(), |agency| agency.to_string());
    let cause = match exit {
        Exit::Code(code) if code == i32::from(session::DONE) => {
            return event!(Debug, "child_exit", success, pid = child.pid, ip = child.peer, agencia = agencia);
        }
        Exit::Code(code) if code == i32::from(process::PANICKED) => "panic".to_owned(),
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Killed(signal) => signal.to_string(),
        Exit::KilledByRealTimeSignal => "real-time signal".to_owned(),
    };
    event!(Error, "child_exit", fail, pid = child.pid, ip = child.peer, agencia = agencia, causa = cause);
}
