//! The state: files, processes, clients, and the promises so far.
//!
//! Every type is a value that can be compared and hashed; the steps are in the other modules.

use super::client::{Client, Phase};
use super::disk::File;
use super::settings::{Level, Mechanism, Settings};

/// 0 and 1; printed as 1 and 2.
pub type Agency = u8;
pub const AGENCIES: [Agency; 2] = [0, 1];

/// A line of `bets.csv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Row {
    Whole { agency: Agency, number: u8 },
    Torn,
}

/// Twelve bytes of `ends`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    Whole(Agency),
    /// Fewer than twelve bytes, after a kill.
    Short,
    /// Twelve wrong bytes, after a power cut.
    Garbled(Agency),
}

/// The content of `draw`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Draw {
    Empty,
    Torn,
    /// How many bets of each agency took part.
    Result([u8; 2]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    Ask,
    Batch { first: u8, len: u8 },
    End,
    Query,
}

/// The next system call of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Next {
    /// Between messages.
    Idle,
    AppendRows {
        first: u8,
        len: u8,
    },
    WriteRecord {
        len: u8,
    },
    SyncBatch {
        len: u8,
    },
    AcknowledgeBatch {
        len: u8,
    },
    SyncBeforeEnd,
    LockForEnd,
    WriteEnd {
        at: u8,
    },
    SyncEnd,
    SyncAdoptedEnd {
        asked: bool,
    },
    AcknowledgeEnd,
    /// A sync has failed and is not reported yet.
    ReportBroken,
}

impl Next {
    fn holds_lock(self, settings: &Settings) -> bool {
        match self {
            Self::AppendRows { .. } | Self::WriteRecord { .. } => settings.has(Mechanism::DataLock),
            Self::WriteEnd { .. } => settings.has(Mechanism::EndsUnderLock),
            _ => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claim {
    None,
    Held { ended: bool },
}

/// The child of one connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session {
    pub agency: Agency,
    pub next: Next,
    /// The messages that have arrived.
    pub inbox: Vec<Message>,
    pub connected: bool,
    pub claim: Claim,
    /// Its parent is gone.
    pub orphan: bool,
    /// SIGSTOP.
    pub stopped: bool,
    /// It had the files open when a sync failed: the kernel will report that to it, too.
    pub warned: bool,
}

/// The next system call of the child that holds the draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DrawNext {
    Scan,
    SyncBets,
    SyncEnds,
    Write,
    SyncResult,
    /// Exit 0, and the parent logs and announces.
    Finish,
    /// A sync has failed and is not reported yet.
    ReportBroken {
        result: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Drawing {
    pub next: DrawNext,
    pub result: [u8; 2],
    pub orphan: bool,
    pub warned: bool,
}

/// The parent and its knowledge.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    pub up: bool,
    /// A sync has failed: it ends with exit code 4 once its children have.
    pub stopping: bool,
    pub ended: [bool; 2],
    pub drawn: bool,
}

/// The answers to clients and the log so far, and the promises that follow from them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Promised {
    pub bets: [u8; 2],
    pub ends: [bool; 2],
    pub announced: u8,
    pub result: bool,
    pub power_was_cut: bool,
}

#[derive(Debug, Clone, Hash)]
pub struct World {
    pub bets: File<Vec<Row>>,
    /// The committed length in `bets.lock`; `None` if the record is not believed.
    pub record: File<Option<u8>>,
    /// A failed sync has dropped data, and no server has started since.
    pub dropped: bool,
    pub ends: File<Vec<Slot>>,
    pub draw: File<Draw>,
    pub server: Server,
    pub sessions: Vec<Session>,
    pub drawings: Vec<Drawing>,
    pub clients: [Client; 2],
    pub promised: Promised,
    pub faults_left: u8,
}

impl World {
    /// A server that has started without files, and two clients.
    pub fn new(settings: &Settings) -> Self {
        Self {
            bets: File::new(Vec::new()),
            record: File::new(Some(0)),
            dropped: false,
            ends: File::new(Vec::new()),
            draw: File::new(Draw::Empty),
            server: Server { up: true, stopping: false, ended: [false; 2], drawn: false },
            sessions: Vec::new(),
            drawings: Vec::new(),
            clients: [(); 2].map(|()| Client::in_phase(Phase::Deliver)),
            promised: Promised { bets: [0; 2], ends: [false; 2], announced: 0, result: false, power_was_cut: false },
            faults_left: settings.faults,
        }
    }

    pub fn is_locked(&self, settings: &Settings) -> bool {
        self.sessions.iter().any(|session| session.next.holds_lock(settings))
    }

    /// The rows that a reader counts as bets (`queries::Committed`).
    pub fn visible(&self, settings: &Settings) -> &[Row] {
        let rows = self.bets.read();
        if !settings.has(Mechanism::CommittedLength) {
            return rows;
        }
        let committed = self.record.read().map_or_else(|| valid_run(rows), usize::from);
        &rows[..committed.min(rows.len())]
    }

    /// How many bets of each agency a reader counts.
    pub fn counted(&self, settings: &Settings) -> [u8; 2] {
        let rows = self.visible(settings);
        let of = |wanted: Agency| {
            rows.iter().filter(move |row| matches!(row, Row::Whole { agency, .. } if *agency == wanted))
        };
        AGENCIES.map(|agency| of(agency).count() as u8)
    }

    /// Under the lock: `Locked::committed`. `None` if it refuses all writes, since committed rows are or may be lost.
    pub fn repair(&mut self, settings: &Settings) -> Option<()> {
        if self.dropped && settings.has(Mechanism::DoubtRecord) {
            return None;
        }
        if !settings.has(Mechanism::CommittedLength) {
            return Some(());
        }
        let rows = self.bets.read();
        let committed = self.record.read().map_or_else(|| valid_run(rows), usize::from);
        if committed > rows.len() {
            return None;
        }
        if committed < rows.len() && settings.has(Mechanism::CutTail) {
            let kept = rows[..committed].to_vec();
            self.bets.write(kept);
        }
        self.set_record(settings, committed as u8);
        Some(())
    }

    /// `Locked::rebuild_record` within the committed length.
    pub fn shorten_record(&mut self, settings: &Settings) {
        let whole = valid_run(self.bets.read()) as u8;
        let committed = self.record.read().map_or(whole, |committed| committed.min(whole));
        self.set_record(settings, committed);
    }

    pub fn set_record(&mut self, settings: &Settings, committed: u8) {
        if settings.has(Mechanism::BootId) {
            // Every record that a power cut may leave will not be believed.
            self.record = File::new(Some(committed));
        } else {
            self.record.write(Some(committed));
        }
    }

    /// `Store::ended`.
    pub fn recorded_ends(&self, settings: &Settings) -> [bool; 2] {
        let mut ended = [false; 2];
        for slot in self.ends.read() {
            match slot {
                Slot::Whole(agency) => ended[usize::from(*agency)] = true,
                Slot::Garbled(agency) if !settings.has(Mechanism::Checksums) => ended[usize::from(1 - *agency)] = true,
                Slot::Garbled(_) | Slot::Short => {}
            }
        }
        ended
    }

    /// `Store::result`.
    pub fn result(&self, settings: &Settings) -> Option<[u8; 2]> {
        match self.draw.read() {
            Draw::Result(result) => Some(*result),
            Draw::Torn if !settings.has(Mechanism::Checksums) => Some([0; 2]),
            Draw::Torn | Draw::Empty => None,
        }
    }

    /// The promises that a power cut cancels, at this level.
    pub fn power_is_cut(&mut self, level: Level) {
        self.promised.power_was_cut = true;
        for agency in AGENCIES.map(usize::from) {
            let ended = self.promised.ends[agency];
            match level {
                Level::Process => (self.promised.bets[agency], self.promised.ends[agency]) = (0, false),
                Level::End if !ended => self.promised.bets[agency] = 0,
                Level::End | Level::Batch => {}
            }
        }
    }
}

/// `Locked::rebuild_record`: the longest run of whole rows.
fn valid_run(rows: &[Row]) -> usize {
    rows.iter().take_while(|row| **row != Row::Torn).count()
}
