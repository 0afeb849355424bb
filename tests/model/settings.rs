//! The scope of a search: the bets to send, the level, the mechanisms that work, the faults and the damage.

/// `DURABILITY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Process,
    End,
    Batch,
}

pub const LEVELS: [Level; 3] = [Level::Process, Level::End, Level::Batch];

/// The mechanisms that keep the promises. All of them work unless a test removes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// flock on `books`.
    DataLock,
    /// A server waits until every child of the previous one has ended: flock on `bets.csv`.
    LifeLock,
    /// One typed connection of an agency at a time stores batches, until its process has been reaped.
    Claim,
    /// Message 6: a client asks first. Without it, it sends all its bets again.
    AskFirst,
    /// The rows are written before the slot and the head.
    RowsBeforeSlot,
    /// The slot is written before the head.
    SlotBeforeHead,
    /// R1: the next holder of the lock writes the head from a slot that is one commit further.
    RollForward,
    /// R3: the next holder cuts off a tail.
    CutTail,
    /// R2: a flag in the head records that a cut may not be synced.
    CutFlag,
    /// R4: a cut is synced before the next rows.
    SyncCut,
    /// A record has two halves, and a writer never overwrites the newest one.
    Halves,
    /// A group whose slot is written counts, even if the head cannot be written.
    NothingTakenBack,
    /// A session refuses a batch if it finds, under the lock, that its slot is closed.
    ClosedUnderLock,
    /// E1 comes before E2: nothing gets in between the sync and the end.
    CloseBeforeSync,
    /// E2: the bets are synced before the end is written.
    SyncBeforeEnd,
    /// E4: the end is synced before it is acknowledged.
    SyncEnd,
    /// A session that finds a closed slot without a durable end makes it durable before it reports the end.
    CompleteFoundEnd,
    /// D2: the draw child syncs the bets.
    DrawSyncsBets,
    /// D2: the draw child writes missing ends.
    DrawWritesEnds,
    /// D3: the draw child compares the rows of every agency with its end.
    DrawCompares,
    /// D4: the result is synced before the held record is written.
    SyncResult,
    /// D5: the held record is synced before the draw is announced.
    SyncHeld,
    /// D6: the mark in the head is synced before the draw is announced.
    SyncMark,
    /// A result counts as held because of a record of its own.
    HeldRecord,
    /// A start compares the rows of each agency with its end.
    CompareEnds,
    /// A start compares the rows of each agency with its slot.
    CompareSlots,
    /// Slot and head record that an end, or the draw, is durable: its absence is a damage, in another boot, too.
    Evidence,
    /// `books` names its boot.
    BootId,
    /// `books` without `draw` is a damage.
    DrawMustExist,
    /// A tail that is longer than one group is a damage.
    LongestTail,
    /// A process whose sync fails marks the head as doubtful.
    Doubt,
    /// A process that completes an end or a draw of a dead process refuses if the head is doubtful.
    DoubtStopsCompletion,
    /// A start drops the cache before it reads the files.
    ReadFromDisk,
    /// The parent reads the slot of a child that is gone.
    AdoptEnds,
    /// PR_SET_PDEATHSIG.
    DieWithParent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    KillChild,
    KillParent,
    KillDraw,
    /// The connection is cut; messages that have arrived are still served.
    CutConnection,
    /// The client is gone for good. Messages that have arrived are still served.
    LoseClient,
    NoRoom,
    PowerCut,
    /// A sync fails, and the kernel drops the data that it could not write.
    SyncFails,
}

/// All faults, except failed syncs and lost clients, which have runs of their own.
pub const FAULTS: [Fault; 6] =
    [Fault::KillChild, Fault::KillParent, Fault::KillDraw, Fault::PowerCut, Fault::NoRoom, Fault::CutConnection];

/// Damage to one file: while the server is stopped, or, for a changed row, while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    Bets,
    Draw,
    Books,
    /// The slot half of a group whose head is not written yet.
    SlotBeforeHead,
    /// An older copy is restored. The copy is made at any time.
    OldBets,
    OldDraw,
    /// An older `draw`, once the result was announced.
    OldDrawOnceHeld,
    /// An older `books` that lacks more than the last group, or that belongs to another boot.
    OldBooks,
    /// An older `books` that lacks no more than the last group.
    OldBooksByOneGroup,
    /// A row of an agency that has ended is changed while the server runs.
    ChangedRow,
}

/// The bets of an agency, and how it sends them.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub bets: u8,
    pub batch: u8,
    /// The most batches without an answer. A session stores them as one group.
    pub window: u8,
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub level: Level,
    pub plans: Vec<Plan>,
    /// The agency of each untyped sender. Each one sends one bet and does not ask.
    pub untyped: Vec<u8>,
    pub without: Vec<Mechanism>,
    pub faults: u8,
    pub kinds: Vec<Fault>,
    /// One of them happens, once.
    pub damage: Vec<Damage>,
    /// Whether a damage may come together with a reboot.
    pub reboots: bool,
    pub most_sessions: usize,
    /// Whether a process whose sync has failed marks the head in a later step, so that a fault may come in between.
    pub marks_late: bool,
    /// Whether exit code 4 is excused after the faults for which the design allows it.
    pub excuses_limits: bool,
}

impl Settings {
    pub fn has(&self, mechanism: Mechanism) -> bool {
        !self.without.contains(&mechanism)
    }

    pub fn agencies(&self) -> std::ops::Range<u8> {
        0..self.plans.len() as u8
    }

    pub fn plan(&self, agency: u8) -> Plan {
        self.plans[usize::from(agency)]
    }

    /// The rows of the largest group.
    pub fn largest_group(&self) -> usize {
        self.plans.iter().map(|plan| usize::from(plan.batch * plan.window)).max().unwrap_or(0).max(1)
    }

    pub fn makes_copies(&self) -> bool {
        use Damage::{OldBets, OldBooks, OldBooksByOneGroup, OldDraw, OldDrawOnceHeld};
        let old = [OldBets, OldDraw, OldDrawOnceHeld, OldBooks, OldBooksByOneGroup];
        self.damage.iter().any(|damage| old.contains(damage))
    }
}
