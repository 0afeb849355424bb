//! The state: files, processes, clients, and the promises so far.
//!
//! Every type is a small value that can be copied, compared and hashed; the steps are in the other modules.

use std::rc::Rc;

use super::books::{Books, Head, Repair};
use super::client::Client;
use super::disk::{Bets, Record, Stored};
use super::list::{Agency, Each, List, Number, Rows, Set, UNTYPED};
use super::settings::{Level, Mechanism, Settings};

/// The rows of each agency that took part in a draw.
pub type Taken = Each<Rows>;

/// `draw`: one record for the end of each agency, the held record, the result.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DrawFile {
    pub ends: Each<Stored<Rows>>,
    pub held: Stored<Taken>,
    pub result: Stored<Taken>,
    pub removed: bool,
    /// As in [`Bets`].
    pub deaf: bool,
}

impl DrawFile {
    pub fn sync(&mut self) {
        if self.deaf {
            return;
        }
        self.ends.iter_mut().for_each(Stored::sync);
        self.held.sync();
        self.result.sync();
    }

    pub fn end(&self, agency: Agency) -> Record<Rows> {
        self.ends[usize::from(agency)].now
    }

    pub fn write_end(&mut self, agency: Agency, record: Record<Rows>) {
        self.ends[usize::from(agency)].write(record);
    }

    /// The result that counts.
    pub fn held_result(&self) -> Option<Taken> {
        self.held.now.whole().filter(|_| self.result.now == self.held.now)
    }
}

/// Bets of one agency with numbers in a row.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Batch {
    pub first: Number,
    pub len: u8,
}

impl Batch {
    pub fn numbers(self) -> std::ops::Range<Number> {
        self.first..self.first + self.len
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    #[default]
    Ask,
    Batch(Batch),
    End,
    Query,
}

/// The next system call of a session.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Next {
    /// Between messages.
    #[default]
    Idle,
    ReadSlot,
    /// Under the lock, before a group.
    Repair(Repair),
    AppendRows,
    WriteSlot,
    WriteHead,
    /// Only without `RowsBeforeSlot`.
    AppendRowsLast,
    SyncGroup,
    Acknowledge,
    /// Under the lock, before an end.
    RepairForEnd(Repair),
    Close,
    SyncBets,
    WriteEnd,
    SyncEnd,
    MarkDurable,
    AcknowledgeEnd,
    /// A sync has failed, or the head is doubtful.
    ReportBroken,
}

impl Next {
    fn holds_lock(self) -> bool {
        use Next::{AppendRows, AppendRowsLast, Close, Repair, RepairForEnd, WriteHead, WriteSlot};
        matches!(self, Repair(_) | AppendRows | WriteSlot | WriteHead | AppendRowsLast | RepairForEnd(_) | Close)
    }
}

/// The reason why a session makes an end durable.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asked {
    #[default]
    Nothing,
    ToEnd,
    /// Message 6 met a closed slot.
    ForTally,
    /// Only without `CloseBeforeSync`: it has synced the bets and has not closed its slot.
    SyncedEarly,
}

/// The child of one connection.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session {
    pub agency: Agency,
    /// The number of the untyped sender.
    pub untyped: Option<u8>,
    pub next: Next,
    pub group: List<Batch, 2>,
    /// The messages that have arrived.
    pub inbox: List<Message, 4>,
    pub connected: bool,
    pub claims: bool,
    pub asked: Asked,
    /// Its parent is gone.
    pub orphan: bool,
    /// SIGSTOP.
    pub stopped: bool,
    /// It had the files open when a sync failed: the kernel will report that to it, too.
    pub warned: bool,
}

impl Session {
    pub fn rows(&self) -> impl Iterator<Item = Number> + use<> {
        let group = self.group;
        (0..group.len()).flat_map(move |at| group[at].numbers())
    }

    pub fn rows_len(&self) -> usize {
        self.group.iter().map(|batch| usize::from(batch.len)).sum()
    }
}

/// The next system call of the draw child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DrawNext {
    Lock,
    Repair(Repair),
    SyncBets,
    WriteEnds,
    SyncEnds,
    Scan,
    WriteResult,
    SyncResult,
    WriteHeld,
    SyncHeld,
    LockToMark,
    Mark,
    /// Exit 0; the parent logs sorteo and announces.
    Exit,
    ReportBroken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Drawing {
    pub next: DrawNext,
    pub committed: u8,
    pub result: Taken,
    pub orphan: bool,
    pub warned: bool,
}

impl Drawing {
    fn holds_lock(&self) -> bool {
        matches!(self.next, DrawNext::Repair(_) | DrawNext::Mark)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    Down,
    Up,
    /// A start has ended with exit code 4.
    Refused,
}

/// The parent and its knowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Server {
    pub state: State,
    /// A sync has failed: it ends with exit code 4 once its children have.
    pub stopping: bool,
    pub ended: Set,
    pub drawn: bool,
}

impl Server {
    pub const DOWN: Self = Self { state: State::Down, stopping: false, ended: Set::EMPTY, drawn: false };

    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }
}

/// A sender of one bet that does not ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Untyped {
    Waits,
    Sent,
    Lost,
    Acknowledged,
}

/// The answers to clients and the log so far, and the promises that follow from them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Promised {
    pub bets: Each<Set>,
    /// The rows with which each agency has ended.
    pub ends: Each<Option<Rows>>,
    pub result: Option<Taken>,
    pub announced: bool,
}

/// Damage, and the alarms and losses that it excuses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Harm {
    pub left: u8,
    /// A file is damaged: exit code 4 is right.
    pub done: bool,
    /// A fault has happened after which exit code 4 is allowed: a known limit.
    pub lenient: bool,
    /// Agencies whose damaged rows nothing proves.
    pub tainted: Set,
    /// An older copy of all files.
    pub copy: Option<Rc<(Bets, Books, DrawFile)>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub bets: Bets,
    pub books: Books,
    pub draw: DrawFile,
    pub server: Server,
    pub sessions: List<Session, 3>,
    pub drawing: Option<Drawing>,
    pub clients: Each<Client>,
    pub untyped: [Untyped; 2],
    pub promised: Promised,
    pub harm: Harm,
    pub faults_left: u8,
    /// A failed sync has dropped data, and no server has started since.
    pub dropped: bool,
    /// The promise that the last step has broken.
    pub broken: Option<&'static str>,
}

impl World {
    /// A server that has started without files, and its clients.
    pub fn new(settings: &Settings) -> Self {
        let head = Head { seq: 1, ..Head::default() };
        let mut untyped = [Untyped::Acknowledged; 2];
        untyped.iter_mut().take(settings.untyped.len()).for_each(|sender| *sender = Untyped::Waits);
        Self {
            bets: Bets::default(),
            books: Books::made([(); 3].map(|()| super::books::Tally { seq: 1, ..Default::default() }), head),
            draw: DrawFile::default(),
            server: Server { state: State::Up, ..Server::DOWN },
            sessions: List::default(),
            drawing: None,
            clients: [Client::default(); 3],
            untyped,
            promised: Promised::default(),
            harm: Harm {
                left: u8::from(!settings.damage.is_empty()),
                done: false,
                lenient: false,
                tainted: Set::EMPTY,
                copy: None,
            },
            faults_left: settings.faults,
            dropped: false,
            broken: None,
        }
    }

    pub fn is_locked(&self, settings: &Settings) -> bool {
        settings.has(Mechanism::DataLock)
            && (self.sessions.iter().any(|session| session.next.holds_lock())
                || self.drawing.is_some_and(|drawing| drawing.holds_lock()))
    }

    pub fn committed(&self, settings: &Settings) -> usize {
        self.books.committed(&self.bets, settings)
    }

    pub fn client(&mut self, agency: Agency) -> &mut Client {
        &mut self.clients[usize::from(agency)]
    }

    pub fn promise_bets(&mut self, agency: Agency, bets: Set) {
        let promised = &mut self.promised.bets[usize::from(agency)];
        *promised = promised.union(bets);
    }

    pub fn promise_end(&mut self, agency: Agency, rows: Rows) {
        self.promised.ends[usize::from(agency)] = Some(rows);
        self.promise_bets(agency, rows.numbers());
    }

    /// The process of a session ends, in any state: its client sees the close, and the parent reads its slot.
    pub fn end_session(&mut self, index: usize, settings: &Settings) {
        let session = self.sessions.remove(index);
        let agency = session.agency;
        let same = |other: &Session| other.agency == agency && other.connected && other.untyped.is_none();
        match session.untyped {
            None if session.connected && !self.sessions.iter().any(same) => self.client(agency).connected = false,
            None => {}
            Some(sender) => {
                let sender = &mut self.untyped[usize::from(sender)];
                *sender = if *sender == Untyped::Sent { Untyped::Lost } else { *sender };
            }
        }
        let adopts = settings.has(Mechanism::AdoptEnds) && self.server.is_up();
        if adopts && !session.orphan && self.books.is_closed(agency) {
            self.server.ended.insert(agency);
        }
    }

    /// All processes are gone.
    pub fn end_all(&mut self) {
        self.server = Server::DOWN;
        self.sessions = List::default();
        self.drawing = None;
        self.clients.iter_mut().for_each(|client| client.connected = false);
        for sender in &mut self.untyped {
            *sender = if *sender == Untyped::Sent { Untyped::Lost } else { *sender };
        }
    }

    /// A fault after which the design allows exit code 4.
    pub fn excuse(&mut self, settings: &Settings) {
        self.harm.lenient |= settings.excuses_limits;
    }

    /// Unsynced data are gone: the promises that this cancels.
    pub fn cancel_promises(&mut self, settings: &Settings) {
        let level = settings.level;
        if level == Level::Process && self.promised.result.is_none() {
            // Unsynced ends may outlive their rows.
            self.excuse(settings);
        }
        for (bets, end) in self.promised.bets.iter_mut().zip(&mut self.promised.ends) {
            match level {
                Level::Process => (*bets, *end) = (Set::EMPTY, None),
                Level::End if end.is_none() => *bets = Set::EMPTY,
                Level::End | Level::Batch => {}
            }
        }
    }
}

/// The number of the row of an untyped sender.
pub fn untyped_row(sender: u8) -> Number {
    UNTYPED + sender
}
