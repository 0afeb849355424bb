//! One agency of a run: its client, which is started again as often as it is killed, and the answers that its logs
//! report.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use crate::plan::Plan;
use crate::processes::{Reaper, signal};
use crate::rows;
use crate::support;

pub struct Agency {
    pub id: usize,
    dir: PathBuf,
    port: u16,
    max_amount: u8,
    window: u8,
    pub starts: Vec<Start>,
    /// Each setback, and where it was noted.
    setbacks: Vec<(Mark, Setback)>,
}

/// A place in the logs: the number of the running start, and the bytes that it had logged by then. `None` before the first
/// start.
pub type Mark = Option<(usize, usize)>;

/// An incident between two connections, after which less may be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setback {
    /// The power failed.
    PowerCut,
    /// A batch that was not acknowledged may be there in part.
    Tail,
    /// The same, and rows may be lost unless the agency has ended.
    Rows,
    /// Everything may be lost, as a repair has reported.
    All,
}

/// One process of the client.
pub struct Start {
    pub pid: i32,
    /// Whether this run killed it before it had ended.
    pub killed: bool,
}

impl Agency {
    /// Writes the agency's file.
    pub fn new(id: usize, plan: &Plan, dir: &Path, port: u16) -> Self {
        fs::write(dir.join(format!("agency-{id}.csv")), rows::file(&plan.agencies[id - 1])).unwrap();
        let (max_amount, window) = (plan.max_amount, plan.window);
        Self { id, dir: dir.to_owned(), port, max_amount, window, starts: Vec::new(), setbacks: Vec::new() }
    }

    #[expect(clippy::zombie_processes, reason = "the reaper waits for it")]
    pub fn start(&mut self, reaper: &mut Reaper) {
        let create = |path: PathBuf| File::create(path).unwrap();
        let number = self.starts.len();
        let child = support::clean_command::<&str>(&[], support::client_binary(), &self.dir)
            .env("CLI_ID", self.id.to_string())
            .env("CLI_MODE", "draw")
            .env("CLI_SERVER_ADDRESS", format!("127.0.0.1:{}", self.port))
            .env("CLI_LOG_LEVEL", "DEBUG")
            .env("CLI_BATCH_MAXAMOUNT", self.max_amount.to_string())
            .env("CLI_BATCH_WINDOW", self.window.to_string())
            .env("CLI_DATA_PATH", format!("agency-{}.csv", self.id))
            .env("CLI_RETRY_TIMEOUT", "120s")
            .stdout(create(self.path(number, "log")))
            .stderr(create(self.path(number, "err")))
            .spawn()
            .unwrap();
        let pid = child.id().try_into().unwrap();
        reaper.started(pid);
        self.starts.push(Start { pid, killed: false });
    }

    /// Kills it with SIGKILL; false if it has ended already.
    pub fn kill(&mut self, reaper: &mut Reaper) -> bool {
        let Some(start) = self.starts.last_mut() else { return false };
        if reaper.end_of(start.pid).is_some() {
            return false;
        }
        signal(start.pid, Signal::SIGKILL);
        start.killed = true;
        true
    }

    /// The pid of the last process; `None` before the first start.
    pub fn pid(&self) -> Option<i32> {
        self.starts.last().map(|start| start.pid)
    }

    pub fn is_running(&self, reaper: &mut Reaper) -> bool {
        self.pid().is_some() && self.end(reaper).is_none()
    }

    /// How its last process ended; `None` while it runs.
    pub fn end(&self, reaper: &mut Reaper) -> Option<WaitStatus> {
        reaper.end_of(self.pid()?)
    }

    /// The log of start number `start`, without a line torn by a kill.
    pub fn log(&self, start: usize) -> String {
        let mut log = fs::read_to_string(self.path(start, "log")).unwrap_or_default();
        log.truncate(log.rfind('\n').map_or(0, |end| end + 1));
        log
    }

    pub fn last_log(&self) -> String {
        self.log(self.starts.len() - 1)
    }

    /// The present place in its logs, if no existing connection gets another answer.
    pub fn mark(&self) -> Mark {
        let last = self.starts.len().checked_sub(1)?;
        Some((last, self.log(last).len()))
    }

    /// Notes a setback at a place at or after the previous ones.
    pub fn note(&mut self, mark: Mark, setback: Setback) {
        self.setbacks.push((mark, setback));
    }

    /// The answers that start number `start` got, and the setbacks in between.
    pub fn events(&self, start: usize) -> Vec<Event> {
        let log = self.log(start);
        let (mut all, mut from) = (Vec::new(), 0);
        for &(mark, setback) in &self.setbacks {
            let Some((_, to)) = mark.filter(|(of, _)| *of == start) else { continue };
            all.extend(events_in(&log[from..to]).chain([Event::Setback(setback)]));
            from = to;
        }
        all.extend(events_in(&log[from..]));
        all
    }

    pub fn errors(&self, start: usize) -> String {
        fs::read_to_string(self.path(start, "err")).unwrap_or_default()
    }

    fn path(&self, start: usize, suffix: &str) -> PathBuf {
        self.dir.join(format!("client-{}.{start}.{suffix}", self.id))
    }
}

/// An event in the log of a client, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A new connection, without any request yet.
    Connected,
    /// Answer 7.
    Counted {
        bets: u64,
        ended: bool,
    },
    /// A batch was acknowledged.
    Stored {
        bets: u64,
    },
    /// Its end is recorded, by an acknowledgement or an answer 7.
    AllSent,
    Winners {
        count: usize,
    },
    /// Not an answer. The client may log earlier answers only after it.
    Setback(Setback),
}

/// The events in the lines of `log`; a tally of zero has no line.
fn events_in(log: &str) -> impl Iterator<Item = Event> {
    log.lines().filter_map(|line| {
        let number = |key: &str| field(line, key)?.parse::<u64>().ok();
        match (field(line, "action")?, field(line, "result")?) {
            ("connect", "success") => Some(Event::Connected),
            ("consulta_recibidas", "success") => {
                Some(Event::Counted { bets: number("cantidad")?, ended: field(line, "ended")? == "true" })
            }
            ("batch_enviado", "success") => Some(Event::Stored { bets: number("cantidad")? }),
            ("apuestas_enviadas", "success") => Some(Event::AllSent),
            ("consulta_ganadores", "success") => {
                Some(Event::Winners { count: number("cant_ganadores")?.try_into().ok()? })
            }
            _ => None,
        }
    })
}

fn field<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (_, value) = line.split_once(&format!("{key}: "))?;
    value.split(" | ").next()
}
