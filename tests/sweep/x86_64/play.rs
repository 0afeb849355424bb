//! One run: a lottery in which at most one call is hit, played to its end as an operator would.
//!
//! Owns the order of events and the restart of the program that was hit. Used by the sweep; `judge` owns the checks.
//! When the second client begins, the first one has sent everything and waits for the draw, so that the calls of each
//! role come in the same order in every run.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ipc::process::Exit;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::process::Process;
use super::scene::{self, AGENCIES, AIMED, OTHER, Scene};
use super::tracer::{Aim, Role, Trace};
use crate::support::{self, Conn};

/// How long each act may take: far longer than it does, and longer than the short waits of server and client.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a stop may take. SHUTDOWN_GRACE and a second are promised; a busy machine gets some more.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
const GLANCE: Duration = Duration::from_millis(2);
/// The lines of a server that accepts connections; a fault may remove one of them.
const LISTENS: [&str; 2] = ["action: listen | result: success", "action: accept_connections | result: in_progress"];
const HAS_SENT_ALL: &str = "action: apuestas_enviadas | result: success";

/// The results of a run.
#[derive(Debug, Default)]
pub struct Played {
    pub trace: Trace,
    /// How the traced program ended.
    pub hit_exit: Option<Exit>,
    /// Its log up to then, if it is the server.
    pub hit_log: String,
    pub server_log: String,
    pub client_logs: [String; 2],
    pub bets: String,
    /// The winners that the last server answers.
    pub winners: Vec<Vec<u32>>,
    /// All other files of the store.
    pub aside: Vec<(String, String)>,
}

/// Plays `scene`.
///
/// # Errors
/// An event that did not happen, or that affected a program which was not hit.
pub fn play(scene: Scene, aim: Option<Aim>, port: u16) -> Result<Played, String> {
    let mut stage = Stage::new(scene, aim, port)?;
    let played = stage.play();
    played.map_err(|what| format!("{what}\n{}", stage.logs()))
}

struct Stage {
    dir: TempDir,
    scene: Scene,
    aim: Option<Aim>,
    port: u16,
    server: Process,
    /// Where the log of the present server begins, in bytes.
    log_start: usize,
    /// The number of descriptors of the present server when it began to listen, if no client was connected yet.
    at_first: Option<usize>,
    clients: [Option<Process>; 2],
    served: [bool; 2],
    /// Whether a repair has succeeded.
    repaired: bool,
    /// The traced program, once it has ended and another one has taken its place.
    victim: Option<Process>,
    hit_log: String,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let clients = self.clients.iter_mut().flatten();
        clients.chain([&mut self.server]).chain(&mut self.victim).for_each(Process::kill);
    }
}

impl Stage {
    fn new(scene: Scene, aim: Option<Aim>, port: u16) -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        scene.set(dir.path()).map_err(|e| e.to_string())?;
        let program = scene.server(dir.path(), port, false);
        let server =
            if scene.root() == Role::Parent { program.start_traced(Role::Parent, aim)? } else { program.start()? };
        let (clients, served) = ([None, None], [false; 2]);
        let (log_start, at_first, repaired, victim, hit_log) = (0, None, false, None, String::new());
        Ok(Self { dir, scene, aim, port, server, log_start, at_first, clients, served, repaired, victim, hit_log })
    }

    fn play(&mut self) -> Result<Played, String> {
        self.until("both agencies are served", |stage| {
            stage.tend_server()?;
            stage.begin_clients()?;
            stage.tend_clients()?;
            Ok(stage.served == [true; 2])
        })?;
        self.stop()?;
        self.restart_server()?;
        let hit_exit = self.victim.as_mut().and_then(Process::exit);
        self.until("all that was traced is gone", |stage| Ok(stage.victim.as_mut().is_none_or(Process::is_over)))?;
        let trace = self.victim.take().map(Process::into_trace).unwrap_or_default();
        let winners = self.ask_anew()?;
        Ok(Played { trace, hit_exit, winners, ..self.found()? })
    }

    fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> Result<bool, String>) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self)? {
            if Instant::now() > deadline {
                return Err(format!("not within {PATIENCE:?}: {what}"));
            }
            std::thread::sleep(GLANCE);
        }
        Ok(())
    }

    // ---- the server ----

    fn listens(&self) -> bool {
        let log = self.read("server.log");
        LISTENS.iter().any(|line| log.get(self.log_start..).is_some_and(|own| own.contains(line)))
    }

    /// A server that has ended is started again, as a supervisor would; a repair that has failed is repeated.
    fn tend_server(&mut self) -> Result<(), String> {
        let Some(exit) = self.server.exit() else { return Ok(()) };
        let was_repair = self.scene == Scene::Repair && !self.repaired;
        self.repaired |= was_repair && exit == Exit::Code(0);
        if !self.server.is_traced() && !self.repaired {
            return Err(format!("a server ended that was not hit: {exit:?}"));
        }
        self.restart_server()
    }

    fn restart_server(&mut self) -> Result<(), String> {
        let log = self.read("server.log");
        let again = self.repaired || LISTENS.iter().any(|line| log.contains(line));
        self.log_start = log.len();
        self.at_first = None;
        let next = self.scene.server(self.dir.path(), self.port, again).start()?;
        let ended = std::mem::replace(&mut self.server, next);
        if ended.is_traced() {
            self.hit_log = log;
            self.victim = Some(ended);
        }
        Ok(())
    }

    /// Stops the server once its children have ended by themselves.
    fn stop(&mut self) -> Result<(), String> {
        // A server that has just been started does not handle SIGTERM yet.
        self.until("the server listens", |stage| Ok(stage.server.is_traced() || stage.listens()))?;
        self.until("no child of the server is left", |stage| {
            Ok(stage.server.exit().is_some() || support::children_of(stage.server.pid()).is_empty())
        })?;
        self.until("the server has as many descriptors as when it began to listen", |stage| {
            let open = support::descriptors(stage.server.pid()).len();
            Ok(stage.server.exit().is_some() || stage.at_first.is_none_or(|at_first| open == at_first))
        })?;
        self.end_server()
    }

    fn end_server(&mut self) -> Result<(), String> {
        if self.server.exit().is_none() {
            self.server.signal(Signal::SIGTERM);
        }
        let began = Instant::now();
        self.until("the server has stopped", |stage| Ok(stage.server.exit().is_some()))?;
        if began.elapsed() > STOP_PATIENCE {
            return Err(format!("the server took {:?} to stop", began.elapsed()));
        }
        match self.server.exit() {
            Some(exit) if !self.server.is_traced() && exit != Exit::Code(0) => {
                Err(format!("a server that was not hit ended with {exit:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Asks another server on the same files for the winners, and stops it.
    fn ask_anew(&mut self) -> Result<Vec<Vec<u32>>, String> {
        self.until("another server listens", |stage| stage.tend_server().map(|()| stage.listens()))?;
        let ask = |agency| Conn::to(self.port).send(&support::ask(agency)).winners().unwrap_or_default();
        let winners = AGENCIES.map(ask).to_vec();
        self.end_server()?;
        Ok(winners)
    }

    // ---- the clients ----

    fn begin_clients(&mut self) -> Result<(), String> {
        if !self.listens() {
            return Ok(());
        }
        if self.clients[1].is_none() {
            let open = support::descriptors(self.server.pid());
            // The epoll descriptor is the last one that it opens, after the line.
            if !open.values().any(|target| target.contains("[eventpoll]")) {
                return Ok(());
            }
            self.at_first = Some(open.len());
            self.clients[1] = Some(scene::client(self.dir.path(), self.port, OTHER).start()?);
        }
        let begun = self.clients[0].is_some() || self.served[0];
        if begun || !self.read("client2.log").contains(HAS_SENT_ALL) {
            return Ok(());
        }
        if self.scene == Scene::Stopping && self.victim.is_none() {
            return self.end_server();
        }
        let client = scene::client(self.dir.path(), self.port, AIMED);
        let is_aimed = self.scene.root() == Role::Client;
        self.clients[0] = Some(if is_aimed { client.start_traced(Role::Client, self.aim)? } else { client.start()? });
        Ok(())
    }

    /// A client that was hit is started again; any other one must succeed by itself.
    fn tend_clients(&mut self) -> Result<(), String> {
        for (i, agency) in AGENCIES.into_iter().enumerate() {
            let Some(client) = self.clients[i].as_mut().filter(|_| !self.served[i]) else { continue };
            match client.exit() {
                None => {}
                Some(exit) if client.is_traced() => {
                    self.served[i] = exit == Exit::Code(0);
                    self.hit_log = self.read("client1.log");
                    let next = match self.served[i] {
                        true => None,
                        false => Some(scene::client(self.dir.path(), self.port, agency).start()?),
                    };
                    self.victim = std::mem::replace(&mut self.clients[i], next);
                }
                Some(Exit::Code(0)) => self.served[i] = true,
                Some(exit) => return Err(format!("client {agency}, which was not hit, ended with {exit:?}")),
            }
        }
        Ok(())
    }

    // ---- what is left ----

    fn found(&self) -> Result<Played, String> {
        let mut aside = Vec::new();
        for entry in fs::read_dir(self.dir.path()).map_err(|e| e.to_string())?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("bets.csv.") {
                aside.push((name.clone(), self.read(&name)));
            }
        }
        Ok(Played {
            hit_log: self.hit_log.clone(),
            server_log: self.read("server.log"),
            client_logs: AGENCIES.map(|agency| self.read(&format!("client{agency}.log"))),
            bets: self.read("bets.csv"),
            aside,
            ..Played::default()
        })
    }

    fn logs(&self) -> String {
        ["server.log", "client1.log", "client2.log"].map(|name| format!("---- {name}\n{}", self.read(name))).concat()
    }

    fn read(&self, name: &str) -> String {
        read(&self.dir.path().join(name))
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
